// SPDX-License-Identifier: Apache-2.0
// What happens to notifications as time goes by, and what posters change about them: collapsing. On SQLite and on two
// nodes over Postgres and Redis; every device of a user is told the same.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { inboxOf, newUser, overSocketIo, overWs, POSTS, stores } from './support/inbox.mjs';
import { until } from './support/wait.mjs';

for (const [name, start] of Object.entries(stores)) {
  describe(name, () => {
    let rig;
    before(async () => {
      rig = await start();
    });
    after(() => rig?.stop());

    const post = (body, hub = 0) => rig.hubs[hub].api('POST', POSTS, { type: 'note', ...body });
    const list = async (user) => (await rig.hubs[1].api('GET', inboxOf(user))).body.items;
    const at = (devices, rev) => until(() => devices.every((one) => one.rev === rev), `all devices are at ${rev}`);
    const devicesOf = async (user) => [
      await overSocketIo(rig.hubs[0], user), await overWs(rig.hubs[1], user, 'json'), await overWs(rig.hubs[0], user, 'msgpack'),
    ];

    test('a post takes the place of an open one of its name, on every device', async () => {
      const user = newUser();
      const devices = await devicesOf(user);
      const first = await post({ user, title: 'one', collapse: 'build', key: 'a' });
      assert.deepEqual([first.status, first.body.status], [201, undefined]);
      await post({ user, title: 'other' });
      await devices[0].ask('notification:seen', { ids: [first.body.id] });
      const second = await post({ user, title: 'two', collapse: 'build', key: 'b', data: { n: 2 } }, 1);
      assert.deepEqual([second.status, second.body], [201, { id: first.body.id, seq: 1, duplicate: false, status: 'collapsed' }]);
      await at(devices, 4);
      for (const { items, counts } of devices) {
        const item = items.at(-1);
        assert.deepEqual([item.id, item.seq, item.rev, item.newRev], [first.body.id, 1, 4, 4]);
        assert.deepEqual([item.title, item.data, item.collapse, item.count, item.isRead], ['two', { n: 2 }, 'build', 2, false]);
        assert.ok(item.updatedAt >= item.createdAt);
        await until(() => counts.at(-1)?.unseen === 2, 'the counter is back');
        assert.equal(counts.at(-1).count, 2);
      }
      assert.deepEqual((await list(user)).map(({ title, count }) => [title, count]), [['two', 2], ['other', undefined]]);
      const again = await post({ user, title: 'two', collapse: 'build', key: 'b', data: { n: 2 } });
      assert.deepEqual([again.status, again.body], [200, { id: first.body.id, seq: 1, duplicate: true }]);
      const { items, rev } = await devices[1].ask('notification:sync', { rev: 2 });
      assert.deepEqual([items.map(({ count }) => count), rev], [[2], 4]);
      await devices[2].ask('notification:read', first.body.id);
      const third = await post({ user, title: 'three', collapse: 'build' });
      assert.deepEqual([third.body.seq, third.body.status], [3, undefined], 'what was read is left alone');
      await at(devices, 6); // a node whose user is online knows what has been announced to it
      const ready = (await overWs(rig.hubs[1], user, 'json')).ready;
      assert.deepEqual([ready.seq, ready.unread, ready.unseen], [3, 2, 2]);
    });

    test('a list of results says what became of each, and a bad name is named', async () => {
      const user = newUser();
      const posts = ['a', 'a', ''].map((collapse, i) => ({ user, type: 'note', title: `n${i}`, collapse }));
      const { body } = await rig.hubs[0].api('POST', POSTS, posts);
      assert.deepEqual(body.results.map(({ status, seq, outcome }) => [status, seq, outcome]),
        [[201, 1, undefined], [201, 1, 'collapsed'], [201, 2, undefined]]);
      for (const collapse of ['x'.repeat(129), 'a\0b', 7, ['a']]) {
        const refused = await post({ user, collapse });
        assert.ok([413, 422].includes(refused.status), `${refused.status}`);
        assert.equal(refused.body.error.field, 'collapse');
      }
    });

    const one = (method, id, body, query = '') => rig.hubs[1].api(method, `${POSTS}/${id}${query}`, body);

    test('a poster changes what it has posted: every device shows it, and hears nothing', async () => {
      const user = newUser();
      const devices = await devicesOf(user);
      const { id } = (await post({ user, title: 'one', message: 'm', data: { n: 1 } })).body;
      await post({ user, title: 'other' });
      await devices[0].ask('notification:read', id);
      const { status, body } = await one('PATCH', id, { title: 'two', data: null, priority: 'high' });
      assert.deepEqual([status, body.title, body.message, body.data, body.priority, body.rev], [200, 'two', 'm', null, 'high', 4]);
      await at(devices, 4);
      for (const { states, items } of devices) {
        const { state, updated, ids, unread } = states.at(-1);
        assert.deepEqual([state, ids, unread, updated.length], ['read', [id], 1, 1]);
        const [item] = updated;
        assert.deepEqual([item.title, item.rev, item.newRev, item.seq, item.isRead], ['two', 4, 1, 1, true]);
        assert.equal(items.length, 2, 'no notification event');
      }
      assert.deepEqual((await list(user)).map(({ title }) => title), ['other', 'two'], 'its place stays');
      const { items } = await devices[1].ask('notification:sync', { rev: 3 });
      assert.deepEqual(items.map(({ title }) => title), ['two']);
      const later = new Date(Date.now() + 60_000).toISOString();
      assert.equal((await one('PATCH', id, { expires_at: later })).body.expiresAt, later);
      assert.equal((await one('PATCH', id, { expires_at: null })).body.expiresAt, undefined);
    });

    test('a poster takes back what it has posted', async () => {
      const user = newUser();
      const devices = await devicesOf(user);
      const { id } = (await post({ user, title: 'one', key: 'k' })).body;
      await post({ user, title: 'other' });
      await at(devices, 2);
      const refused = await one('DELETE', id, undefined, '?if=undelivered');
      assert.deepEqual([refused.status, refused.body.error.code], [409, 'already_delivered']);
      assert.equal((await one('DELETE', id)).status, 204);
      await at(devices, 3);
      for (const { states, counts } of devices) {
        const { state, ids, unread, unseen } = states.at(-1);
        assert.deepEqual([state, ids, unread, unseen], ['erased', [id], 1, 1]);
        await until(() => counts.at(-1)?.count === 1, 'the counter is right');
      }
      assert.deepEqual((await list(user)).map(({ title }) => title), ['other']);
      assert.equal((await one('DELETE', id)).status, 404);
      assert.equal((await one('PATCH', id, { title: 'x' })).status, 404);
      const again = await post({ user, title: 'one', key: 'k' });
      assert.deepEqual([again.status, again.body.id], [200, id], 'its key is used for ever');
    });

    test('what is wrong with a change is named, and only posters make one', async () => {
      const user = newUser();
      const { id } = (await post({ user, title: 'one' })).body;
      const wrong = [[{ nope: 1 }, 'nope'], [{ type: 'x' }, 'type'], [{ title: 7 }, 'title'], [{ priority: 'x' }, 'priority'],
        [{ expires_at: 1 }, 'expires_at'], [{}, undefined], [{ title: 'a', title2: 'b' }, 'title2']];
      for (const [body, field] of wrong) {
        const refused = await one('PATCH', id, body);
        assert.deepEqual([refused.status, refused.body.error.field], [422, field], JSON.stringify(body));
      }
      assert.equal((await one('PATCH', id, [1])).status, 400);
      const oddly = await one('DELETE', id, undefined, '?if=never');
      assert.deepEqual([oddly.status, oddly.body.error.field], [422, 'if']);
      assert.equal((await one('DELETE', 'no-id')).status, 404);
      for (const [method, body] of [['DELETE'], ['PATCH', { title: 'x' }]]) {
        const theirs = await rig.hubs[0].api(method, `${POSTS}/${id}`, body, { authorization: `Bearer ${rig.hubs[0].token(user)}` });
        assert.ok([401, 403].includes(theirs.status), `${theirs.status}`);
      }
      assert.equal((await list(user)).length, 1);
    });
  });
}
