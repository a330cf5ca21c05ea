// SPDX-License-Identifier: Apache-2.0
// Digests: what comes of a type while the window lasts is one row, the same by every way; on SQLite and on two
// nodes over Postgres and Redis.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { startHub } from './support/hub.mjs';
import { inboxOf, newUser, overSocketIo, overWs, POSTS, storesWith } from './support/inbox.mjs';
import { startRedis } from './support/redis.mjs';
import { until } from './support/wait.mjs';

const CONFIG = 'notification_type "reply" { digest = 1h }\n';
const HOURLY = { types: { note: { digest: '1h' } } };
const pathOf = (user) => `/api/v1/users/${user}/preferences`;

// What is kept of a notification, without what depends on how and when it was told.
const kept = ({ silent, state, ...item }) => item;

for (const [name, start] of Object.entries(storesWith(CONFIG))) {
  describe(name, () => {
    let rig;
    before(async () => {
      rig = await start();
    });
    after(() => rig?.stop());

    const prefer = async (user, preferences) => {
      const { status, body } = await rig.hubs[0].api('PUT', pathOf(user), preferences);
      assert.equal(status, 200, JSON.stringify(body));
    };
    const post = (user, title, more = {}, hub = 0) => rig.hubs[hub].api('POST', POSTS, { user, title, type: 'note', ...more });
    const list = async (user, query = '') => (await rig.hubs[1].api('GET', `${inboxOf(user)}${query}`)).body.items;
    const at = (devices, rev) => until(() => devices.every((one) => one.rev === rev), `all devices are at ${rev}`);
    const devicesOf = async (user) => [
      await overSocketIo(rig.hubs[0], user), await overWs(rig.hubs[1], user, 'json'), await overWs(rig.hubs[0], user, 'msgpack'),
    ];

    test('posts of a type are one row, the same by every way', async () => {
      const user = newUser();
      await prefer(user, HOURLY);
      const devices = await devicesOf(user);
      const titles = Array.from({ length: 12 }, (_, n) => `number ${n + 1}`);
      const first = await post(user, titles[0], { key: titles[0], data: { n: 1 } });
      assert.deepEqual([first.status, first.body.seq, first.body.status], [201, 1, undefined]);
      for (const [n, title] of titles.entries()) {
        if (n === 0) continue;
        const { status, body } = await post(user, title, { key: title, data: { n: n + 1 }, message: `m${n + 1}` }, n % 2);
        assert.deepEqual([status, body], [201, { id: first.body.id, seq: 1, duplicate: false, status: 'collapsed' }]);
      }
      await at(devices, 12);
      const last = kept(devices[0].items.at(-1));
      assert.deepEqual([last.id, last.seq, last.rev, last.newRev, last.title, last.data, last.count, last.isRead],
        [first.body.id, 1, 12, 12, 'number 12', { n: 12 }, 12, false]);
      assert.deepEqual(last.digest.map(({ title }) => title), titles.slice(2).reverse());
      assert.deepEqual(Object.keys(last.digest[0]).sort(), ['createdAt', 'data', 'id', 'message', 'priority', 'title']);
      assert.deepEqual([last.digest[0].data, last.digest[0].message, last.digest[0].priority], [{ n: 12 }, 'm12', 'medium']);
      assert.equal(new Set(last.digest.map(({ id }) => id)).size, 10);
      assert.equal(last.digest[0].createdAt, last.updatedAt);
      assert.equal('collapse' in last, false);
      for (const device of devices) {
        assert.deepEqual(kept(device.items.at(-1)), last);
        assert.deepEqual(device.items[0].silent, undefined, 'the first one is heard');
        assert.equal(device.items.slice(1).every(({ silent }) => silent), true, 'the others are not');
        await until(() => device.counts.at(-1)?.count === 1, 'one is unread');
        const { items } = await device.ask('notification:list', { limit: 5 });
        assert.deepEqual(items, [last], 'list');
        const sync = await device.ask('notification:sync', { rev: 5 });
        assert.deepEqual([sync.items, sync.rev, sync.done], [[last], 12, true], 'sync');
      }
      assert.deepEqual(await list(user), [last], 'HTTP');
      assert.deepEqual(await list(user, '?page=1&sort=priority'), [last], 'a numbered page');
      assert.deepEqual(await list(user, '?search=number+12'), [last], 'search');
      assert.deepEqual(await list(user, '?fields=id,count,digest'), [{ id: last.id, count: 12, digest: last.digest }], 'fields');
      assert.deepEqual((await rig.hubs[0].api('GET', `/api/v1/users/${user}/overview`)).body.items, [last], 'overview');
      const one = await rig.hubs[1].api('GET', `${POSTS}/${last.id}`);
      assert.deepEqual(one.body, last, 'by its id');
      for (const n of [0, 5]) {
        const again = await post(user, titles[n], { key: titles[n], data: { n: n + 1 }, ...(n > 0 && { message: `m${n + 1}` }) }, n % 2);
        assert.deepEqual([again.status, again.body], [200, { id: last.id, seq: 1, duplicate: true }], 'its key stays used');
      }
    });

    test('what was read begins anew, and urgent and named ones stay apart', async () => {
      const user = newUser();
      await prefer(user, HOURLY);
      const devices = await devicesOf(user);
      const { id } = (await post(user, 'one')).body;
      await post(user, 'two');
      await devices[0].ask('notification:seen', { ids: [id] });
      await post(user, 'three');
      await at(devices, 4);
      for (const { counts } of devices) await until(() => counts.at(-1)?.unseen === 1, 'it is new again');
      await devices[1].ask('notification:read', id);
      assert.equal((await post(user, 'anew')).body.seq, 2);
      await at(devices, 6);
      for (const { items } of devices) assert.equal(items.at(-1).silent, undefined, 'it is heard');
      assert.equal((await post(user, 'urgent', { priority: 'urgent' })).body.seq, 3);
      assert.equal((await post(user, 'named', { collapse: 'note' })).body.seq, 4);
      assert.equal((await post(user, 'other', { type: 'other' })).body.seq, 5);
      const results = (await rig.hubs[1].api('POST', POSTS,
        ['a', 'b'].map((title) => ({ user, type: 'note', title })))).body.results;
      assert.deepEqual(results.map(({ status, seq, outcome }) => [status, seq, outcome]), [[201, 2, 'collapsed'], [201, 2, 'collapsed']]);
      assert.deepEqual((await list(user)).map(({ title, count }) => [title, count]),
        [['b', 3], ['other', undefined], ['named', 1], ['urgent', undefined], ['three', 3]]);
      await prefer(user, { types: { note: { digest: null } } });
      assert.equal((await post(user, 'apart')).body.seq, 6);
      await at(devices, 12);
      for (const { counts } of devices) await until(() => counts.at(-1)?.count === 5, 'all that is unread counts');
    });

    test('what the configuration says holds of who says nothing', async () => {
      const [user, other] = [newUser(), newUser()];
      await prefer(other, { types: { reply: { digest: null } } });
      for (const title of ['one', 'two']) {
        const { body } = await rig.hubs[0].api('POST', POSTS, { users: [user, other], type: 'reply', title });
        assert.deepEqual(body.results.map(({ outcome }) => outcome), [title === 'two' ? 'collapsed' : undefined, undefined]);
      }
      assert.deepEqual((await list(user)).map(({ title, count }) => [title, count]), [['two', 2]]);
      assert.deepEqual((await list(other)).map(({ title, count }) => [title, count]), [['two', undefined], ['one', undefined]]);
    });

    test('posts to many join, are taken back and changed, the same for who was there and who comes later', async () => {
      const [user, later, topic] = [newUser(), newUser(), `topic-${newUser()}`];
      const subscribed = await rig.hubs[0].api('PUT', `/api/v1/topics/${topic}/subscribers`, { users: [user, later] });
      assert.equal(subscribed.status, 200);
      const devices = await devicesOf(user);
      const say = async (title, more = {}, hub = 0) => {
        const { status, body } = await rig.hubs[hub].api('POST', POSTS, { topic, type: 'reply', title, ...more });
        assert.deepEqual([status, body.audience], [201, { kind: 'topic', name: topic }]);
        return body.id;
      };
      const ids = [await say('one')];
      await at(devices, 1);
      ids.push(await say('two', { data: { n: 2 }, message: 'm'.repeat(300) }, 1));
      await at(devices, 2);
      assert.equal((await post(user, 'mine', { type: 'reply' }, 1)).body.status, 'collapsed');
      await at(devices, 3);
      ids.push(await say('three'));
      await at(devices, 4);
      const [item] = await list(user);
      assert.deepEqual([item.title, item.count, item.digest.map(({ title }) => title)], ['three', 4, ['three', 'mine', 'two', 'one']]);
      assert.deepEqual([item.audience.id, item.audience.name, item.digest[3].id], [ids[2], topic, ids[0]]);
      for (const { items } of devices) {
        assert.deepEqual(kept(items.at(-1)), item);
        assert.deepEqual([items[0].silent, items.slice(1).every(({ silent }) => silent)], [undefined, true], 'only the first one is heard');
      }
      assert.equal((await rig.hubs[1].api('DELETE', `${POSTS}/${ids[2]}`)).status, 204);
      await at(devices, 5);
      assert.equal((await rig.hubs[0].api('PATCH', `${POSTS}/${ids[0]}`, { title: 'ONE' })).status, 200);
      await at(devices, 6);
      const [left] = await list(user);
      assert.deepEqual([left.id, left.title, left.count, left.newRev, left.digest.map(({ title }) => title)],
        [item.id, 'mine', 3, 4, ['mine', 'two', 'ONE']]);
      for (const { states, items } of devices) {
        assert.equal(items.length, 4, 'no sound of what was taken back');
        assert.deepEqual(states.at(-1).updated, [left]);
      }
      const [seen] = await list(later);
      assert.deepEqual([seen.title, seen.message.length, seen.data, seen.count, seen.digest.map(({ title }) => title)],
        ['two', 300, { n: 2 }, 2, ['two', 'ONE']]);
      for (const id of ids.slice(0, 2)) assert.equal((await rig.hubs[1].api('DELETE', `${POSTS}/${id}`)).status, 204);
      await until(async () => (await list(later)).length === 0, 'nothing is left');
      assert.deepEqual((await list(user)).map(({ title, count }) => [title, count]), [['mine', 1]]);
      const { body } = await rig.hubs[1].api('GET', `/api/v1/users/${user}/counts`);
      assert.deepEqual([body.unread, body.unseen], [1, 1]);
    });

    test('what comes at once is heard once', async () => {
      const [user, topic] = [newUser(), `topic-${newUser()}`];
      await rig.hubs[0].api('PUT', `/api/v1/topics/${topic}/subscribers`, { users: [user] });
      const devices = await devicesOf(user);
      await Promise.all(Array.from({ length: 10 }, (_, n) => rig.hubs[n % 2].api('POST', POSTS, { topic, type: 'reply', title: `post ${n}` })));
      await at(devices, 10);
      for (const { items } of devices) {
        assert.equal(items.at(-1).count, 10);
        assert.equal(items.filter(({ silent }) => !silent).length, 1, JSON.stringify(items));
      }
    });

    test('what is due joins the digest of its delivery', async () => {
      const [user, topic] = [newUser(), `topic-${newUser()}`];
      await rig.hubs[0].api('PUT', `/api/v1/topics/${topic}/subscribers`, { users: [user] });
      const devices = await devicesOf(user);
      const soon = new Date(Date.now() + 1500).toISOString();
      const kinds = [{ user }, { topic }];
      for (const [n, target] of kinds.entries()) {
        const { body } = await rig.hubs[n].api('POST', POSTS, { ...target, type: 'reply', title: `late ${n}`, deliver_at: soon });
        assert.equal(body.status, 'scheduled');
      }
      assert.equal((await post(user, 'now', { type: 'reply' })).body.seq, 1);
      await at(devices, 3);
      const [item] = await list(user);
      assert.deepEqual([item.count, item.seq, item.digest.at(-1).title], [3, 1, 'now']);
      assert.deepEqual(item.digest.slice(0, 2).map(({ title }) => title).sort(), ['late 0', 'late 1']);
      assert.ok(item.digest.every(({ createdAt }) => createdAt >= item.createdAt), 'the times of delivery');
      assert.ok(item.digest[0].createdAt >= soon);
      for (const { items } of devices) assert.equal(items.filter(({ silent }) => !silent).length, 1);
    });

    test('two nodes that post at once make one row', async () => {
      const user = newUser();
      await prefer(user, HOURLY);
      const devices = await devicesOf(user);
      const answers = await Promise.all(Array.from({ length: 40 }, (_, n) => post(user, `post ${n}`, {}, n % 2)));
      assert.deepEqual(new Set(answers.map(({ status }) => status)), new Set([201]));
      assert.equal(answers.filter(({ body }) => body.status === 'collapsed').length, 39);
      assert.deepEqual(new Set(answers.map(({ body }) => body.id)).size, 1);
      await at(devices, 40);
      const [item] = await list(user);
      assert.deepEqual([item.count, item.digest.length, item.rev], [40, 10, 40]);
      for (const { items } of devices) assert.deepEqual(kept(items.at(-1)), item);
    });

    test('a change of the newest changes what the digest shows of it', async () => {
      const user = newUser();
      await prefer(user, HOURLY);
      const devices = await devicesOf(user);
      const { id } = (await post(user, 'one')).body;
      await post(user, 'two', { data: 2 });
      const { status, body } = await rig.hubs[1].api('PATCH', `${POSTS}/${id}`, { title: 'changed', data: null });
      assert.deepEqual([status, body.digest.map(({ title, data }) => [title, data])], [200, [['changed', undefined], ['one', undefined]]]);
      await at(devices, 3);
      for (const { states } of devices) {
        assert.deepEqual(states.at(-1).updated.map(({ digest }) => digest), [body.digest]);
      }
      assert.equal((await rig.hubs[0].api('DELETE', `${POSTS}/${id}`)).status, 204);
      assert.deepEqual(await list(user), [], 'all of it is taken back');
    });
  });
}

test('entries of the stream join a digest, and the reply says so', async () => {
  const redis = await startRedis();
  const hub = await startHub({ redis, config: CONFIG });
  const client = redis.client();
  try {
    for (const title of ['one', 'two', 'three']) {
      await client.xadd('peal:in', '*', 'user', 'ann', 'type', 'reply', 'title', title, 'reply', 'answers');
    }
    const replies = await until(async () => {
      const entries = await client.xrange('answers', '-', '+');
      return entries.length === 3 && entries.map(([, fields]) => fields[fields.indexOf('status') + 1]);
    }, 'three replies');
    assert.deepEqual(replies, ['stored', 'collapsed', 'collapsed']);
    const { body: { items } } = await hub.api('GET', inboxOf('ann'));
    assert.deepEqual(items.map(({ title, count, digest }) => [title, count, digest.map((one) => one.title)]),
      [['three', 3, ['three', 'two', 'one']]]);
  } finally {
    client.disconnect();
    await hub.stop();
    await redis.stop();
  }
});

test('a digest is bounded whatever was posted', async () => {
  const hub = await startHub({ config: CONFIG });
  try {
    const title = '\u0001'.repeat(256);
    const data = { text: 'x'.repeat(30_000) };
    for (let n = 0; n < 12; n++) {
      const { status } = await hub.api('POST', POSTS, { user: 'ann', type: 'reply', title, message: '🔔'.repeat(1000), data });
      assert.equal(status, 201);
    }
    const { body: { items: [item] } } = await hub.api('GET', inboxOf('ann'));
    assert.deepEqual([item.title, item.data.text.length, item.count, item.digest.length], [title, 30_000, 12, 10]);
    for (const one of item.digest) {
      assert.deepEqual([one.title, one.message, 'data' in one], [`${'\u0001'.repeat(119)}…`, `${'🔔'.repeat(239)}…`, false]);
    }
  } finally {
    await hub.stop();
  }
});
