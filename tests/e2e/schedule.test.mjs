// SPDX-License-Identifier: Apache-2.0
// Posts for later (deliver_at), on SQLite and on two nodes over Postgres and Redis: kept until they are due, then shown as
// what was posted at that moment; changed and cancelled before; delivered though a node was down, and by others where it
// stays away.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { startHub } from './support/hub.mjs';
import { ADMIN, inboxOf, newUser, overSocketIo, overWs, POSTS, stores } from './support/inbox.mjs';
import { startPostgres } from './support/postgres.mjs';
import { Delay, promised } from './support/promised.mjs';
import { startRedis } from './support/redis.mjs';
import { FULL } from './support/siege.mjs';
import { randomSecret } from './support/tokens.mjs';
import { until } from './support/wait.mjs';

const HOUR = 3_600_000;
const SOON = 400;
const later = () => Date.now() + HOUR;

// What was kept for an hour is due soon, now that all is in place; when.
async function release(hub, ...ids) {
  return until(async () => {
    const due = Date.now() + SOON;
    const answers = await Promise.all(ids.map((id) => hub.api('PATCH', `${POSTS}/${id}`, { deliver_at: due })));
    return answers.every(({ status }) => status === 200 || status === 409) && due; // 409: by the try before
  }, 'it is due soon');
}

for (const [name, start] of Object.entries(stores)) {
  describe(name, () => {
    let rig;
    before(async () => {
      rig = await start();
    });
    after(() => rig?.stop());

    const post = (body, hub = 0) => rig.hubs[hub].api('POST', POSTS, { type: 'note', ...body });
    const one = (id) => `${POSTS}/${id}`;
    async function keep(body, hub) {
      const answer = await post(body, hub);
      assert.equal(answer.status, 201, JSON.stringify(answer.body));
      assert.equal(answer.body.status, 'scheduled');
      assert.equal(answer.body.seq, undefined);
      return answer.body.id;
    }
    const items = async (user) => (await rig.hubs[1].api('GET', inboxOf(user))).body.items;
    const titles = async (user) => (await items(user)).map(({ title }) => title);
    const shown = (user, title) => until(async () => (await titles(user)).includes(title), `${title} is shown`);

    test('it is in no list before it is due, then it is shown to every device, once', async () => {
      const user = newUser();
      const devices = [await overSocketIo(rig.hubs[0], user), await overWs(rig.hubs[1], user, 'json')];
      const due = later();
      const content = { user, title: 'later', message: 'm', data: { n: 1 }, priority: 'high', key: 'k', deliver_at: due };
      const first = await post(content);
      assert.deepEqual([first.status, first.body], [201, { id: first.body.id, duplicate: false, status: 'scheduled' }]);
      const { id } = first.body;
      const again = await post(content, 1);
      assert.deepEqual([again.status, again.body], [200, { id, duplicate: true, status: 'scheduled' }]);
      assert.equal((await post({ ...content, title: 'other' })).status, 409);
      const { body } = await rig.hubs[1].api('GET', one(id));
      assert.deepEqual(body, {
        id, status: 'scheduled', deliverAt: new Date(due).toISOString(), userId: user, type: 'note', title: 'later', message: 'm',
        data: { n: 1 }, priority: 'high',
      });
      const bearer = { authorization: `Bearer ${rig.hubs[0].token(user)}` };
      assert.equal((await rig.hubs[0].api('GET', one(id), undefined, bearer)).status, 404, 'not for its user');
      await post({ user, title: 'now' });
      assert.deepEqual(await titles(user), ['now']);
      const released = await release(rig.hubs[1], id);
      await until(() => Date.now() >= released, 'it is due');
      await promised(() => devices.every((each) => each.items.some((item) => item.id === id)), 'it is shown', 1000, rig.hubs);
      for (const device of devices) {
        const told = device.items.filter((item) => item.id === id);
        assert.equal(told.length, 1);
        assert.deepEqual([told[0].seq, told[0].rev, told[0].title, told[0].data], [2, 2, 'later', { n: 1 }]);
        assert.ok(Date.parse(told[0].createdAt) >= released - 50, 'it counts from its delivery');
      }
      assert.deepEqual(await titles(user), ['later', 'now']);
      const last = await post(content, 1);
      assert.deepEqual([last.status, last.body], [200, { id, seq: 2, duplicate: true }]);
    });

    test('lists say what became of each, and bad times are named', async () => {
      const users = [newUser(), newUser()];
      const at = new Date(Date.now() + HOUR).toISOString();
      const several = await post({ users, title: 'l', deliver_at: at });
      assert.deepEqual(several.body.results.map((row) => [row.status, row.outcome, row.seq, row.user]),
        users.map((user) => [201, 'scheduled', undefined, user]));
      const mixed = [{ user: users[0], title: 'a' }, { user: users[0], title: 'b', deliver_at: at }, { topic: 'none:1', title: 'c', deliver_at: at },
        { user: users[0], title: 'd' }, { user: users[0], title: 'e', deliver_at: 1 }];
      const { body } = await rig.hubs[0].api('POST', POSTS, mixed.map((row) => ({ type: 'note', ...row })));
      assert.deepEqual(body.results.map((row) => [row.status, row.outcome, row.seq, row.error?.field]),
        [[201, undefined, 1, undefined], [201, 'scheduled', undefined, undefined], [201, 'scheduled', undefined, undefined],
          [201, undefined, 2, undefined], [422, undefined, undefined, 'deliver_at']]);
      const bad = [Date.now() - 1000, Date.now() + 401 * 24 * HOUR, 'tomorrow', -1, '2020-01-01T00:00:00Z', true, {}];
      for (const deliver_at of bad) {
        const answer = await post({ user: users[0], deliver_at });
        assert.deepEqual([answer.status, answer.body.error.field], [422, 'deliver_at'], JSON.stringify(deliver_at));
        assert.match(answer.body.error.message, /400 days/);
      }
      assert.equal((await post({ user: users[0], deliver_at: Date.now() + 399 * 24 * HOUR })).status, 201);
      assert.equal((await post({ user: users[0], title: 'none', deliver_at: null })).body.seq, 3, 'null is none');
    });

    test('it can be changed and cancelled before, not moved behind', async () => {
      const user = newUser();
      const id = await keep({ user, title: 'one', expires_at: Date.now() + 2 * HOUR, deliver_at: Date.now() + HOUR });
      const patch = (body, hub = 1) => rig.hubs[hub].api('PATCH', one(id), body);
      const changed = await patch({ title: 'two', priority: 'urgent', expires_at: null });
      assert.deepEqual([changed.status, changed.body.status, changed.body.title, changed.body.priority, changed.body.expiresAt],
        [200, 'scheduled', 'two', 'urgent', undefined]);
      assert.deepEqual((await patch({ deliver_at: 5 })).body.error.field, 'deliver_at');
      assert.deepEqual((await patch({ deliver_at: null })).body.error.field, 'deliver_at');
      const gone = await keep({ user, title: 'gone', key: 'gone', deliver_at: later() }, 1);
      assert.equal((await rig.hubs[0].api('DELETE', `${one(gone)}?if=undelivered`)).status, 204);
      assert.equal((await rig.hubs[1].api('DELETE', one(gone))).status, 404);
      assert.equal((await rig.hubs[1].api('GET', one(gone))).status, 404);
      const repeat = await post({ user, title: 'other', key: 'gone' });
      assert.equal(repeat.status, 409, 'the key stays');
      const due = await release(rig.hubs[1], id);
      await shown(user, 'two');
      assert.ok(Date.now() >= due);
      assert.deepEqual(await titles(user), ['two']);
      const moved = await patch({ deliver_at: Date.now() + HOUR });
      assert.deepEqual([moved.status, moved.body.error.code], [409, 'already_delivered']);
      assert.equal((await rig.hubs[0].api('DELETE', `${one(id)}?if=undelivered`)).status, 409);
      assert.equal((await patch({ title: 'three' })).body.title, 'three');
      assert.equal((await rig.hubs[0].api('DELETE', one(id))).status, 204);
      assert.deepEqual(await titles(user), []);
      assert.equal((await patch({ deliver_at: Date.now() + HOUR })).status, 404);
    });

    test('what expires before is never shown; collapsing and preferences are those of the moment', async () => {
      const user = newUser();
      const device = await overWs(rig.hubs[1], user, 'msgpack');
      const expired = await keep({ user, title: 'expired', deliver_at: later() });
      const ids = [await keep({ user, title: 'new', collapse: 'build', deliver_at: later() }),
        await keep({ user, type: 'ad', title: 'unwanted', deliver_at: later() })];
      await post({ user, title: 'old', collapse: 'build' });
      const types = { ad: { inbox: false } };
      assert.equal((await rig.hubs[0].api('PUT', `/api/v1/users/${user}/preferences`, { types })).status, 200);
      const soon = await until(async () => {
        const due = Date.now() + 2 * SOON;
        const { status } = await rig.hubs[0].api('PATCH', one(expired), { deliver_at: due, expires_at: due - 5 });
        return status === 200 && due;
      }, 'it expires before it is due');
      await until(() => Date.now() > soon, 'it has expired');
      await release(rig.hubs[1], ...ids);
      await shown(user, 'new');
      await release(rig.hubs[1], await keep({ user, title: 'behind', deliver_at: later() }));
      await shown(user, 'behind');
      assert.deepEqual((await items(user)).map(({ title, count }) => [title, count]), [['behind', undefined], ['new', 2]]);
      await until(() => device.items.some(({ title }) => title === 'behind'), 'the device has the last');
      assert.ok(!device.items.some(({ title }) => ['expired', 'unwanted'].includes(title)));
      const hubs = [...new Set(rig.hubs)];
      const sum = async (metric) => (await Promise.all(hubs.map((hub) => hub.metric(metric)))).reduce((a, b) => a + b);
      await until(async () => (await sum('peal_schedule_expired_total')) > 0, 'it is counted');
      assert.ok((await sum('peal_schedule_delivered_total')) > 0 && (await sum('peal_notifications_scheduled_total')) > 3);
    });

    test('a topic, all and a long list reach who is meant when it is due', async () => {
      const [early, late, gone] = [newUser(), newUser(), newUser()];
      const device = await overWs(rig.hubs[1], late, 'json');
      const topic = `later:${early}`;
      const members = (users, method = 'PUT') => rig.hubs[0].api(method, `/api/v1/topics/${encodeURIComponent(topic)}/subscribers`, { users });
      await members([early, gone]);
      const due = later();
      const { body } = await post({ topic, title: 'topic', key: 't', deliver_at: due });
      assert.deepEqual(body, { id: body.id, audience: { kind: 'topic', name: topic }, duplicate: false, status: 'scheduled' });
      const { audience, status } = (await rig.hubs[1].api('GET', one(body.id))).body;
      assert.deepEqual([audience, status], [{ kind: 'topic', name: topic }, 'scheduled']);
      const all = await keep({ all: true, title: 'all', deliver_at: due }, 1);
      const crowd = Array.from({ length: 1100 }, (_, i) => `crowd-${early}-${i}`);
      const list = await keep({ users: [...crowd, early, late], title: 'list', deliver_at: due });
      const cancelled = await keep({ users: [...crowd, early, late], title: 'cancelled', deliver_at: due });
      assert.equal((await rig.hubs[1].api('DELETE', one(cancelled))).status, 204);
      await members([late]);
      await members([gone], 'DELETE');
      await release(rig.hubs[0], body.id, all, list);
      await until(() => ['topic', 'all', 'list'].every((title) => device.items.some((item) => item.title === title)), 'all are shown');
      assert.deepEqual((await titles(early)).sort(), ['all', 'list', 'topic']);
      assert.deepEqual((await titles(late)).sort(), ['all', 'list', 'topic']);
      assert.deepEqual(await titles(crowd[500]), ['list'], 'who had no inbox is not everybody');
      assert.deepEqual((await titles(gone)).filter((title) => title === 'topic'), []);
      const again = await post({ topic, title: 'topic', key: 't', deliver_at: due + HOUR });
      assert.equal(again.status, 409, 'another time is other content');
    });

    test('it is erased with its user', async () => {
      const user = newUser();
      const erased = await keep({ user, title: 'erased', deliver_at: later() });
      await keep({ user, title: 'erased too', deliver_at: later() });
      const { body } = await rig.hubs[1].api('DELETE', `/api/v1/users/${user}`, undefined, ADMIN);
      assert.equal(body.erased.scheduled, 2);
      assert.equal((await rig.hubs[0].api('PATCH', one(erased), { deliver_at: later() })).status, 404);
      await release(rig.hubs[0], await keep({ user, title: 'behind', deliver_at: later() }));
      await shown(user, 'behind');
      assert.deepEqual(await titles(user), ['behind']);
    });
  });
}

test('what was due while the node was down is delivered when it starts', async () => {
  const hub = await startHub();
  try {
    const user = newUser();
    const { body } = await hub.api('POST', POSTS, { user, type: 'note', title: 'missed', deliver_at: later() });
    assert.equal(body.status, 'scheduled');
    const due = await release(hub, body.id);
    await hub.kill();
    await until(() => Date.now() > due, 'its time has passed');
    await hub.restart();
    const device = await overWs(hub, user, 'json');
    await until(() => device.items.length > 0 || device.ready.seq > 0, 'it is there');
    const { items } = (await hub.api('GET', inboxOf(user))).body;
    assert.deepEqual(items.map(({ id, title, seq }) => [id, title, seq]), [[body.id, 'missed', 1]]);
  } finally {
    await hub.stop();
  }
});

// A stream of one partition, and one that routes to several.
for (const partitions of [1, 4]) {
  test(`stream entries for later are kept, and bad ones are dead letters (${partitions} partitions)`, async () => {
    const [redis, postgres] = await Promise.all([startRedis(), startPostgres()]);
    const hub = await startHub({ redis, postgres, config: `bus { partitions = ${partitions} }` });
    try {
      const bus = redis.client();
      const user = newUser();
      const due = Date.now() + 5 * SOON; // also when it has passed before the entries are read
      const add = (...fields) => bus.xadd('peal:in', '*', 'type', 'note', 'reply', 'answers', ...fields);
      await add('user', user, 'title', 'one', 'key', 'a', 'deliver_at', String(due));
      await add('user', user, 'title', 'now', 'key', 'b');
      await add('all', '1', 'title', 'everybody', 'key', 'c', 'deliver_at', new Date(due).toISOString());
      await add('all', '1', 'title', 'everybody', 'key', 'c', 'deliver_at', new Date(due).toISOString());
      await add('user', user, 'title', 'bad', 'key', 'd', 'deliver_at', '1000000000000');
      const answers = await until(async () => {
        const rows = await bus.xrange('answers', '-', '+');
        return rows.length >= 5 && rows.map(([, fields]) => [fields[fields.indexOf('key') + 1], fields[fields.indexOf('status') + 1]]);
      }, 'all are answered');
      assert.deepEqual(answers.sort(), [['a', 'scheduled'], ['b', 'stored'], ['c', 'duplicate'], ['c', 'scheduled'], ['d', 'rejected']]);
      const [[, dead]] = await bus.xrange('peal:dead', '-', '+');
      assert.equal(dead[dead.indexOf('dead:field') + 1], 'deliver_at');
      const list = async () => (await hub.api('GET', inboxOf(user))).body.items.map(({ title }) => title);
      await until(async () => (await list()).length === 3, 'all are shown');
      assert.ok(Date.now() >= due);
      assert.deepEqual((await list()).sort(), ['everybody', 'now', 'one']);
    } finally {
      await hub.stop();
      await redis.stop();
      await postgres.stop();
    }
  });
}

// Without Redis nobody holds a part: each node looks, and each row is taken by one.
test('while Redis is away everything is delivered, once', async () => {
  const [redis, postgres] = await Promise.all([startRedis(), startPostgres()]);
  const first = await startHub({ redis, postgres });
  const second = await startHub({ redis, postgres, secret: first.secret, apiKey: first.apiKey });
  try {
    const users = Array.from({ length: 40 }, newUser);
    await redis.stop();
    const { body } = await first.api('POST', POSTS, { users, type: 'note', title: 'x', deliver_at: later() });
    assert.ok(body.results.every(({ outcome }) => outcome === 'scheduled'), JSON.stringify(body.results[0]));
    await release(first, ...body.results.map(({ id }) => id));
    await until(async () => Number((await postgres.query('SELECT count(*) AS n FROM peal.notification'))[0].n) === users.length, 'all are stored');
    const [{ left }] = await postgres.query('SELECT count(*) AS left FROM peal.schedule');
    assert.equal(Number(left), 0);
    const rows = await postgres.query('SELECT seq, rev FROM peal.inbox');
    assert.ok(rows.every(({ seq, rev }) => Number(seq) === 1 && Number(rev) === 1));
  } finally {
    await first.kill();
    await second.kill();
    await postgres.stop();
  }
});

const [ROWS, WITHIN, ONLINE] = FULL ? [10_000, 60_000, 200] : [600, 6000, 30];

test(`${ROWS} due within ${WITHIN / 1000} s over three nodes, one of which is killed: each once, in time`, async (context) => {
  const [redis, postgres] = await Promise.all([startRedis(), startPostgres()]);
  const shared = { redis, postgres, secret: randomSecret(), apiKey: randomSecret() };
  const hubs = [];
  for (let i = 0; i < 3; i++) hubs.push(await startHub(shared));
  const delay = new Delay([...hubs, redis].map(({ server }) => server.pid));
  try {
    const bus = redis.client();
    const holders = async () => Promise.all(Array.from({ length: 8 }, (_, part) => bus.get(`peal:schedule:{${part}}`)));
    await until(async () => (await holders()).every(Boolean), 'each part has an owner');
    const users = Array.from({ length: ROWS / 4 }, (_, i) => `due-${i}`);
    const devices = [];
    const watched = users.slice(0, ONLINE);
    const begin = Date.now() + (FULL ? 20_000 : 15_000); // ahead of the last post
    for (let i = 0; i < ROWS; i += 500) {
      const posts = Array.from({ length: Math.min(500, ROWS - i) }, (_, j) => {
        const at = begin + Math.floor(((i + j) * WITHIN) / ROWS);
        return { user: users[(i + j) % users.length], type: 'note', title: `n${i + j}`, data: { at }, key: `k${i + j}`, deliver_at: at };
      });
      const { body } = await hubs[(i / 500) % 3].api('POST', POSTS, posts);
      assert.ok(body.results.every(({ outcome }) => outcome === 'scheduled'), JSON.stringify(body.results[0]));
    }
    const parts = await holders();
    const name = ({ log }) => /node=(\S+)/.exec(log.split('\n').find((line) => /START/.test(line)))[1];
    const victim = hubs.find((hub) => parts.includes(name(hub)));
    const others = hubs.filter((hub) => hub !== victim);
    for (const [i, user] of watched.entries()) devices.push(await overWs(others[i % 2], user, 'json'));
    const count = async (sql) => Number((await postgres.query(`SELECT count(*) AS n FROM ${sql}`))[0].n);
    await until(async () => (await count('peal.notification')) >= ROWS / 3, 'a third is delivered', WITHIN + 60_000);
    const lost = parts.flatMap((holder, part) => (holder === name(victim) ? [part] : []));
    const killed = Date.now();
    await victim.kill();
    await until(async () => (await count('peal.notification')) >= ROWS, 'all are delivered', WITHIN + 60_000);
    assert.equal(await count('peal.notification'), ROWS);
    assert.equal(await count('peal.schedule'), 0);
    assert.equal(await count('(SELECT DISTINCT user_id, title FROM peal.notification) x'), ROWS, 'each once');
    assert.equal(await count('peal.inbox WHERE seq <> 4 OR rev <> 4 OR unread <> 4'), 0);
    await until(() => devices.every(({ items }) => new Set(items.map(({ title }) => title)).size === 4), 'who is online was told of all');
    const rows = await postgres.query("SELECT slot % 8 AS part, created_at AS stored, convert_from(data, 'UTF8') AS data FROM peal.notification");
    const late = rows.map(({ part, stored, data }) => {
      const { at } = JSON.parse(data);
      const orphan = lost.includes(Number(part)) && at > killed - 1000 && at < killed + 5000;
      return { orphan, ms: Number(stored) - at };
    });
    const most = (orphan) => Math.max(0, ...late.filter((row) => row.orphan === orphan).map(({ ms }) => ms));
    assert.ok(late.every(({ ms }) => ms >= 0), 'none is early');
    const told = `late by at most ${most(false)} ms; those of the node that was killed by ${most(true)} ms (${lost.length} of 8 parts); `
      + `delays of the machine ${delay.ms.toFixed(0)} ms`;
    context.diagnostic(told);
    assert.ok(most(false) <= 1000 + delay.ms && most(true) <= 5000 + delay.ms, told);
  } finally {
    delay.stop();
    for (const hub of hubs) await hub.stop().catch(() => {});
    await redis.stop();
    await postgres.stop();
  }
});
