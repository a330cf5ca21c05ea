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
  });
}
