// SPDX-License-Identifier: Apache-2.0
// What is older, or more, than is kept of inboxes: by rows, by age, by tenant, after SIGHUP, of posts to many, and with
// three nodes of which one is killed. On SQLite and on Postgres; every device of a user comes to the same.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { startHub } from './support/hub.mjs';
import { inboxOf, newUser, overSocketIo, overWs, POSTS, storesWith } from './support/inbox.mjs';
import { startPostgres } from './support/postgres.mjs';
import { startRedis } from './support/redis.mjs';
import { randomSecret } from './support/tokens.mjs';
import { until } from './support/wait.mjs';

const SOON = 'store { sweep = 100ms }\nauth { tenants = on }\n';
const ROWS = `${SOON}inbox { retention_rows = 5 retention_every = 1s }
  tenant "brief" { retention_rows = 2 }
  tenant "all" { retention_rows = 0 }
`;
const AGE = `${SOON}inbox { retention_age = 3s retention_every = 1s }\ntenant "old" { retention_age = 0 }\n`;

// What an inbox has, whatever its state, newest first.
async function itemsOf(hub, user, tenant = '') {
  const query = `?limit=100&state=unread,seen,read,archived,snoozed${tenant && `&tenant=${tenant}`}`;
  const { status, body } = await hub.api('GET', inboxOf(user) + query);
  assert.equal(status, 200, JSON.stringify(body));
  return body.items;
}
const titles = async (...of) => (await itemsOf(...of)).map(({ title }) => title);

for (const [name, start] of Object.entries(storesWith(ROWS))) {
  describe(`rows on ${name}`, () => {
    let rig;
    before(async () => {
      rig = await start();
    });
    after(() => rig?.stop());

    const post = async (user, count, more = {}) => {
      const posts = Array.from({ length: count }, (_, i) => ({ user, type: 'note', title: `n${i + 1}`, ...more }));
      const { status, body } = await rig.hubs[0].api('POST', POSTS, posts);
      assert.equal(status, 200, JSON.stringify(body));
      return body.results.map(({ id }) => id);
    };
    const sum = async (metric) => {
      const values = await Promise.all([...new Set(rig.hubs)].map((hub) => hub.metric(metric)));
      return values.reduce((a, b) => a + b);
    };

    test('the newest stay, whatever their state; both devices are told, and counters are right', async () => {
      const user = newUser();
      const devices = [await overSocketIo(rig.hubs[0], user), await overWs(rig.hubs[1], user, 'msgpack')];
      const ids = await post(user, 4);
      await devices[0].ask('notification:read', { ids: ids.slice(0, 2) });
      await devices[0].ask('notification:archive', { ids: [ids[2]] });
      await post(user, 4);
      await until(async () => (await itemsOf(rig.hubs[0], user)).length === 5, 'five are left');
      const left = await itemsOf(rig.hubs[1], user);
      assert.deepEqual(left.map(({ seq }) => seq), [8, 7, 6, 5, 4]);
      const { body } = await rig.hubs[0].api('GET', `/api/v1/users/${user}/overview`);
      assert.deepEqual([body.unread, body.unseen], [5, 5]);
      const { rev } = await devices[0].ask('notification:sync', { rev: 0 });
      await until(() => devices.every((one) => one.rev === rev), 'all devices are at the last rev');
      for (const device of devices) {
        const gone = device.states.filter(({ state }) => state === 'expired').flatMap(({ ids: which }) => which);
        assert.deepEqual(gone.sort(), ids.slice(0, 3).sort());
        await until(() => device.counts.at(-1)?.count === 5 && device.counts.at(-1).unseen === 5, 'the counters');
      }
      const again = await rig.hubs[1].api('GET', `${POSTS}/${ids[0]}`);
      assert.equal(again.status, 404);
      assert.ok((await sum('peal_retention_total')) >= 3 && (await sum('peal_retention_looked_total')) >= 1);
      assert.ok((await sum('peal_retention_lag_seconds')) >= 0 && (await sum('peal_retention_walk_seconds')) >= 0);
    });

    test('a tenant keeps what its block says', async () => {
      const user = newUser();
      for (const tenant of ['brief', 'all', 'other']) await post(user, 9, { tenant });
      await until(async () => (await titles(rig.hubs[0], user, 'brief')).length === 2, 'brief keeps two');
      await until(async () => (await titles(rig.hubs[0], user, 'other')).length === 5, 'others keep five');
      assert.deepEqual(await titles(rig.hubs[1], user, 'brief'), ['n9', 'n8']);
      assert.equal((await titles(rig.hubs[1], user, 'all')).length, 9);
    });

    test('what is snoozed stays, and is on top of the list when it is back', async () => {
      const user = newUser();
      const device = await overWs(rig.hubs[1], user, 'json');
      const [first] = await post(user, 1);
      await device.ask('notification:snooze', { ids: [first], until: Date.now() + 4000 });
      await post(user, 9);
      await until(async () => (await itemsOf(rig.hubs[0], user)).length === 6, 'five, and the one that is snoozed');
      assert.equal((await itemsOf(rig.hubs[0], user)).at(-1).id, first);
      await until(() => device.items.some(({ id, resurfaced }) => id === first && resurfaced), 'it is back');
      await until(async () => (await itemsOf(rig.hubs[0], user)).length === 5, 'five are left');
      assert.equal((await itemsOf(rig.hubs[0], user))[0].id, first);
    });

    test('posts to many count as others do', async () => {
      const [here, away] = [newUser(), newUser()];
      const topic = `kept:${here}`;
      const path = `/api/v1/topics/${encodeURIComponent(topic)}/subscribers`;
      assert.equal((await rig.hubs[0].api('PUT', path, { users: [here, away] })).status, 200);
      const device = await overWs(rig.hubs[1], here, 'json');
      const many = [];
      for (let i = 0; i < 7; i++) {
        const { status, body } = await rig.hubs[0].api('POST', POSTS, { topic, type: 'note', title: `t${i}` });
        assert.equal(status, 201);
        many.push(body.id);
      }
      await until(() => device.items.length === 7, 'the device has all');
      await until(async () => (await titles(rig.hubs[0], here)).length === 5, 'five are left');
      await until(async () => (await titles(rig.hubs[0], away)).length === 5, 'of who came later, too');
      assert.deepEqual((await itemsOf(rig.hubs[1], away)).map(({ seq }) => seq), [7, 6, 5, 4, 3]);
      assert.equal((await rig.hubs[1].api('DELETE', `${POSTS}/${many[6]}`)).status, 204);
      assert.deepEqual(await titles(rig.hubs[1], away), ['t5', 't4', 't3', 't2']);
      assert.equal((await rig.hubs[1].api('DELETE', `${POSTS}/${many[0]}`)).status, 204, 'it is there, though nobody has it');
    });
  });
}

for (const [name, start] of Object.entries(storesWith(AGE))) {
  test(`age on ${name}: what is older goes, and is not given to who comes later`, async () => {
    const rig = await start();
    try {
      const [user, away] = [newUser(), newUser()];
      const device = await overWs(rig.hubs[1], user, 'json');
      const post = (body) => rig.hubs[0].api('POST', POSTS, { type: 'note', title: 't', ...body });
      await post({ user: away, title: 'own' });
      const first = await post({ user, title: 'first' });
      const many = await post({ all: true, title: 'many' });
      assert.deepEqual([first.status, many.status], [201, 201]);
      await post({ user, title: 'kept', tenant: 'old' });
      await until(() => device.items.length === 2, 'the device has both');
      const { id } = device.items.find(({ title }) => title === 'first');
      await until(async () => (await titles(rig.hubs[0], user)).length === 0, 'both are old');
      assert.deepEqual([id, await titles(rig.hubs[1], user, 'old')], [first.body.id, ['kept']]);
      await until(() => device.counts.at(-1)?.count === 0, 'the device counts none');
      await until(async () => (await rig.hubs[0].api('DELETE', `${POSTS}/${many.body.id}`)).status === 404, 'the post goes too');
      await until(async () => (await titles(rig.hubs[0], away)).length === 0, 'what was there of another part of the walk');
      const { ready } = await overWs(rig.hubs[0], away, 'json');
      assert.deepEqual([ready.seq, ready.unread], [1, 0], 'who was away has no number of it');
      await post({ user, title: 'new' });
      assert.deepEqual(await titles(rig.hubs[0], user), ['new']);
    } finally {
      await rig.stop();
    }
  });
}

test('SIGHUP changes what is kept; what cannot be is refused and named', async () => {
  const hub = await startHub({ config: SOON });
  try {
    const user = newUser();
    const posts = Array.from({ length: 9 }, (_, i) => ({ user, type: 'note', title: `n${i}` }));
    await hub.api('POST', POSTS, posts);
    const load = (text) => {
      writeFileSync(join(hub.folder, 'peal.conf'), SOON + text);
      hub.reload();
    };
    load('inbox { retention_age = 10ms }');
    await hub.logged(/RELOAD-REFUSED .*inbox\.retention_age: too short; allowed: 0, or from 1s on/);
    load('tenant "a" { retention_rows = -1 }');
    await hub.loggedTimes('RELOAD-REFUSED', 2);
    await hub.logged(/retention_rows: .*0 to 100000 or inherit/);
    assert.equal((await titles(hub, user)).length, 9);
    load('inbox { retention_rows = 4 retention_every = 1s }');
    await until(async () => (await titles(hub, user)).length === 4, 'four are left');
    load('inbox { retention_rows = 4 retention_every = 1s }\ntenant "" { retention_rows = 1 retention_age = inherit }');
    await until(async () => (await titles(hub, user)).length === 1, 'one is left');
    assert.deepEqual(await titles(hub, user), ['n8']);
  } finally {
    await hub.stop();
  }
});

const [USERS, EACH, LEFT] = [400, 8, 3];

test('three nodes share the walk, and one of them is killed: each row goes once', async () => {
  const [redis, postgres] = await Promise.all([startRedis(), startPostgres()]);
  const shared = { redis, postgres, secret: randomSecret(), apiKey: randomSecret(), config: SOON };
  const hubs = [];
  for (let i = 0; i < 3; i++) hubs.push(await startHub(shared));
  try {
    const users = Array.from({ length: USERS }, (_, i) => `kept-${i}`);
    for (let round = 0; round < EACH; round++) {
      const posts = users.map((user) => ({ user, type: 'note', title: `n${round}` }));
      const { body } = await hubs[round % 3].api('POST', POSTS, posts);
      assert.ok(body.results.every(({ status }) => status === 201));
    }
    const devices = [];
    for (const [i, user] of users.slice(0, 20).entries()) devices.push(await overWs(hubs[1 + (i % 2)], user, 'json'));
    for (const hub of hubs) {
      writeFileSync(join(hub.folder, 'peal.conf'), `${SOON}inbox { retention_rows = ${LEFT} retention_every = 1s }`);
      hub.reload();
    }
    const count = async (sql) => Number((await postgres.query(`SELECT count(*) AS n FROM ${sql}`))[0].n);
    await until(async () => (await count('peal.tombstone')) > 0, 'the walk has begun');
    await hubs[0].kill();
    await until(async () => (await count('peal.notification')) === USERS * LEFT, 'all that is not kept has gone');
    assert.equal(await count('peal.tombstone'), USERS * (EACH - LEFT));
    assert.equal(await count(`peal.inbox WHERE seq <> ${EACH} OR unread <> ${LEFT} OR unseen <> ${LEFT}`), 0);
    assert.equal(await count(`peal.notification WHERE seq <= ${EACH - LEFT}`), 0);
    const revs = await postgres.query('SELECT user_id, rev FROM peal.inbox');
    for (const [i, device] of devices.entries()) {
      const rev = Number(revs.find(({ user_id: user }) => user === users[i]).rev);
      await until(async () => (await device.ask('notification:sync', { rev: 0 })).unread === LEFT && rev > EACH, 'it has what is left');
    }
  } finally {
    for (const hub of hubs) await hub.stop();
    await redis.stop();
    await postgres.stop();
  }
});
