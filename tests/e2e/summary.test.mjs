// SPDX-License-Identifier: Apache-2.0
// GET /api/v1/summary: how much was posted and read, by day and type, whichever node and way it came.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { startHub } from './support/hub.mjs';
import { inboxOf, newUser, overWs, POSTS, stores } from './support/inbox.mjs';

const date = (ms) => new Date(ms).toISOString().slice(0, 10);
const DAY = 86_400_000;

for (const [name, start] of Object.entries(stores)) {
  describe(name, () => {
    let rig;
    before(async () => {
      rig = await start();
    });
    after(() => rig?.stop());

    // What was counted of a type in the last two days: a test may run over midnight.
    const countsOf = async (type, hub = rig.hubs[0]) => {
      const { status, body } = await hub.api('GET', '/api/v1/summary?days=2');
      assert.equal(status, 200, JSON.stringify(body));
      const found = { posted: 0, read: 0 };
      for (const { types } of body.days) {
        found.posted += types[type]?.posted ?? 0;
        found.read += types[type]?.read ?? 0;
      }
      return found;
    };
    const post = async (body, hub = rig.hubs[0]) => (await hub.api('POST', POSTS, { title: 't', ...body })).body.id;

    test('posts and reads are counted where and as they are stored', async () => {
      const [first, second] = rig.hubs;
      const user = newUser();
      const ids = [await post({ user, type: 'comment' }), await post({ user, type: 'comment' }, second)];
      await post({ users: [user, newUser()], type: 'comment', key: 'same' });
      await post({ users: [user, newUser()], type: 'other type' });
      assert.deepEqual(await countsOf('comment'), { posted: 4, read: 0 });
      assert.deepEqual(await countsOf('comment', second), { posted: 4, read: 0 });
      await first.api('POST', `${inboxOf(user)}/read`, { ids: [ids[0]] });
      const device = await overWs(second, user);
      await device.ask('notification:read', { ids });
      assert.deepEqual(await countsOf('comment'), { posted: 4, read: 2 });
      await first.api('POST', `${inboxOf(user)}/read-all`);
      assert.deepEqual(await countsOf('comment'), { posted: 4, read: 3 });
      assert.deepEqual(await countsOf('other type'), { posted: 2, read: 1 });
    });

    test('every day is there, the last one is today', async () => {
      const from = date(Date.now() - 6 * DAY);
      const { body } = await rig.hubs[1].api('GET', '/api/v1/summary?days=7');
      const to = date(Date.now());
      assert.ok([from, date(Date.now() - 6 * DAY)].includes(body.from));
      assert.equal(body.to, body.days.at(-1).day);
      assert.ok(body.to <= to);
      assert.equal(body.days.length, 7);
      assert.deepEqual(body.days.map(({ day }) => day), body.days.map((_, n) => date(Date.parse(body.from) + n * DAY)));
      assert.deepEqual(body.days[0], { day: body.from, posted: 0, read: 0, types: {} });
      assert.equal(body.posted, body.days.reduce((sum, { posted }) => sum + posted, 0));
      assert.equal(body.read, body.days.reduce((sum, { read }) => sum + read, 0));
      assert.ok(body.posted >= 6 && body.read >= 4);
      assert.equal((await rig.hubs[0].api('GET', '/api/v1/summary')).body.days.length, 30);
      assert.equal((await rig.hubs[0].api('GET', '/api/v1/summary?days=366')).body.days.length, 366);
    });

    test('beyond the twenty types with most of a day the others stand together', async () => {
      const user = newUser();
      const posts = Array.from({ length: 40 }, (_, n) => ({ user, type: `many:${n}`, title: 't' }));
      await rig.hubs[0].api('POST', POSTS, posts);
      const { body } = await rig.hubs[0].api('GET', '/api/v1/summary?days=2');
      const last = body.days.findLast(({ posted }) => posted > 0);
      assert.equal(Object.keys(last.types).length, 20);
      const named = Object.values(last.types).reduce((sum, { posted }) => sum + posted, 0);
      assert.equal(named + last.others.posted, last.posted);
      assert.ok(last.others.posted >= 20);
    });

    test('what is wrong is refused by name, and users are not asked', async () => {
      const [hub] = rig.hubs;
      for (const days of ['0', '367', 'x', '-1', '']) {
        const { status, body } = await hub.api('GET', `/api/v1/summary?days=${days}`);
        assert.deepEqual([status, body.error.field], [422, 'days'], days);
      }
      const { status, body } = await hub.api('GET', '/api/v1/summary?day=1');
      assert.deepEqual([status, body.error.field], [400, 'day']);
      const own = { authorization: `Bearer ${hub.token(newUser())}` };
      assert.equal((await hub.api('GET', '/api/v1/summary', undefined, own)).status, 401);
    });
  });
}

test('tenants see their own', async () => {
  const config = [
    'auth { tenants = on }',
    'api_key "a" { key = "key-of-tenant-a-0123" tenant = "a" scopes = {publish, read} }',
    'api_key "b" { key = "key-of-tenant-b-0123" tenant = "b" scopes = {read} }',
  ].join('\n');
  const hub = await startHub({ config });
  try {
    const as = (tenant) => ({ authorization: `Bearer key-of-tenant-${tenant}-0123` });
    const { status } = await hub.api('POST', POSTS, { user: 'u', type: 'note', title: 't' }, as('a'));
    assert.equal(status, 201);
    assert.equal((await hub.api('GET', '/api/v1/summary?days=2', undefined, as('a'))).body.posted, 1);
    assert.equal((await hub.api('GET', '/api/v1/summary?days=2', undefined, as('b'))).body.posted, 0);
  } finally {
    await hub.stop();
  }
});
