// SPDX-License-Identifier: Apache-2.0
// clients/node against real hubs: every route that it has a name for, posts over an outage, and values.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { PealServer } from '../../clients/node/index.js';
import { startHub } from './support/hub.mjs';
import { startPostgres } from './support/postgres.mjs';
import { startRedis } from './support/redis.mjs';
import { until, within } from './support/wait.mjs';

const FULL = process.env.PEAL_FULL === '1';
const KEY = 'node-server-0123456789';
const CONFIG = `api_key "server" { key = "${KEY}" scopes = {publish, read, write, values, metrics, admin} }\n`;
const make = (hub, options = {}) => new PealServer({ url: hub.url, key: KEY, ...options });

async function take(list) {
  const items = [];
  for await (const item of list) items.push(item);
  return items;
}

describe('routes', () => {
  let hub;
  let peal;
  before(async () => {
    hub = await startHub({ config: CONFIG });
    peal = make(hub);
  });
  after(() => hub?.stop());

  test('notifications are posted, once for each key, changed, read and taken back', async () => {
    const post = { user: 'ann', type: 'invoice', title: 'Paid', data: { invoice: 7 }, key: 'inv-7' };
    const { id, seq, duplicate } = await peal.post(post);
    assert.deepEqual([seq, duplicate], [1, false]);
    assert.deepEqual(await peal.post(post), { id, seq: 1, duplicate: true });
    await assert.rejects(peal.post({ ...post, title: 'other' }), { code: 'key_conflict', status: 409, field: 'key', id, seq: 1 });
    await assert.rejects(peal.post({ user: 'ann', type: 't', colour: 'red' }), { code: 'invalid_field', field: 'colour' });
    const { results } = await peal.post([{ user: 'ann', type: 'a' }, { user: 'ann' }, { users: ['ann', 'ben'], type: 'b', expires_at: new Date(Date.now() + 60_000) }]);
    assert.deepEqual(results.map(({ status }) => status), [201, 422, 200]);
    assert.deepEqual(results[2].results.map(({ user, status }) => [user, status]), [['ann', 201], ['ben', 201]]);
    assert.equal(results[1].error.field, 'type');
    assert.equal((await peal.update(id, { title: 'Paid twice' })).title, 'Paid twice');
    assert.equal((await peal.notification(id, { fields: ['title'] })).title, 'Paid twice');
    await peal.takeBack(id);
    await assert.rejects(peal.notification(id), { code: 'not_found' });
    const later = await peal.post({ user: 'ann', type: 'a', deliver_at: new Date(Date.now() + 3_600_000) });
    assert.equal(later.status, 'scheduled');
    assert.equal((await peal.notification(later.id)).status, 'scheduled');
    await peal.takeBack(later.id, { undelivered: true });
    await assert.rejects(peal.takeBack(results[0].id, { undelivered: true }), { code: 'already_delivered' });
  });

  test('metrics are posted, and summed up', async () => {
    const timed = make(hub, { metrics: { track: true } });
    timed.metrics.count('orders', 3, { shop: 'north' });
    timed.metrics.gauge('queue.length', 4);
    timed.track('orders.find', () => 1);
    await timed.metrics.flush();
    assert.deepEqual(timed.metrics.counts, { posted: 3, dropped: 0, refused: 0, failed: 0, unsure: 0, waiting: 0 });
    const { app, peal: own, complete } = await peal.metricsSummary({ range: '5m', points: 5 });
    assert.deepEqual(app.series.map(({ name, tags }) => [name, tags]),
      [['orders', { shop: 'north' }], ['queue_length', {}], ['query', { name: 'orders.find', success: 'true' }]]);
    assert.deepEqual([app.now.queries, app.points.length, complete], [1, 5, true]);
    assert.ok(own.now.requests > 0);
  });

  test('inboxes are listed, counted, marked, exported and erased', async () => {
    await peal.post(Array.from({ length: 25 }, (_, i) => ({ user: 'cat', type: i % 2 ? 'odd' : 'even', title: `title ${i}`, priority: i ? 'low' : 'high' })));
    const page = await peal.notifications('cat', { limit: 10, type: ['odd', 'even'] });
    assert.equal(page.items.length, 10);
    assert.equal((await take(peal.all((query) => peal.notifications('cat', query), { limit: 10 }))).length, 25);
    assert.equal((await peal.notifications('cat', { page: 2, limit: 20 })).pagination.total, 25);
    assert.equal((await peal.notifications('cat', { search: 'title 13' })).items[0].title, 'title 13');
    const ids = page.items.map(({ id }) => id);
    assert.deepEqual((await peal.mark('cat', 'read', ids[0])).changed, [ids[0]]);
    assert.equal((await peal.mark('cat', 'archive', ids.slice(1, 3))).changed.length, 2);
    assert.equal((await peal.mark('cat', 'snooze', { ids: [ids[4]], until: new Date(Date.now() + 60_000) })).changed.length, 1);
    assert.equal((await peal.mark('cat', 'read', { upTo: 5 })).changed, 5);
    const { unread, by } = await peal.counts('cat');
    assert.equal(unread, 16);
    assert.equal(by.odd.unread + by.even.unread, 16);
    assert.equal((await peal.counts('cat', { by: 'priority' })).by.high, undefined);
    assert.equal((await peal.overview('cat')).items.length, 5);
    assert.equal((await peal.mark('cat', 'read-all')).changed, 16);
    assert.equal((await peal.unread('cat')).count, 0);
    const lines = await take(peal.export('cat'));
    assert.deepEqual([lines[0].type, lines.at(-1)], ['inbox', { type: 'end', notifications: 25 }]);
    assert.equal(lines.filter(({ type }) => type === 'notification').length, 25);
    const device = 'b0000000-0000-4000-8000-00000000000b';
    assert.equal((await peal.setDevice('cat', device, { platform: 'other', token: 't' })).id, device);
    assert.deepEqual((await peal.devices('cat')).map(({ id }) => id), [device]);
    await peal.removeDevice('cat', device);
    await assert.rejects(peal.removeDevice('cat', device), { status: 404 });
    const stored = await peal.setPreferences('cat', { timezone: 'Europe/Berlin', types: { odd: { inbox: false } } });
    assert.equal((await peal.preferences('cat')).rev, stored.rev);
    assert.equal((await peal.post({ user: 'cat', type: 'odd' })).status, 'suppressed');
    assert.ok((await peal.eraseInbox('cat')).changed > 0);
    assert.ok((await peal.eraseUser('cat')).erased.keys > 0);
    assert.deepEqual((await peal.notifications('cat')).items, []);
  });

  test('topics, rooms and connections', async () => {
    const users = Array.from({ length: 30 }, (_, i) => `u${String(i).padStart(2, '0')}`);
    assert.deepEqual(await peal.subscribe('news', users), { added: 30 });
    assert.deepEqual(await peal.unsubscribe('news', ['u00']), { removed: 1 });
    assert.deepEqual(await take(peal.all((page) => peal.subscribers('news', page), { limit: 7 })), users.slice(1));
    assert.deepEqual((await peal.topics()).items, ['news']);
    assert.deepEqual((await peal.topicsOf('u01')).items, ['news']);
    assert.equal((await peal.post({ topic: 'news', type: 'a' })).audience.name, 'news');
    const client = await hub.plain('dan');
    await peal.moveUser('dan', { join: ['public:a'] });
    await until(async () => (await peal.members('public:a')).items[0]?.userId === 'dan', 'dan is in the room');
    await peal.publish({ event: 'update', args: [{ n: 1 }], to: { rooms: ['public:a'] } });
    await peal.publish([{ event: 'update', args: [{ n: 2 }], to: { users: ['dan'] } }, { event: 'update', args: [{ n: 3 }], to: { all: true } }]);
    const updates = () => client.events.filter(([name]) => name === 'update').map(([, { n }]) => n);
    await until(() => updates().length === 3, 'the events are there');
    assert.deepEqual(updates(), [1, 2, 3]);
    await assert.rejects(peal.publish({ event: 'connect', to: { all: true } }), { code: 'invalid_field', field: 'event' });
    await assert.rejects(peal.publish([{ event: 'a', to: { all: true } }, { event: 'b', to: {} }]), { field: 'to', index: 1 });
    await peal.disconnect('dan');
    await within(client.closed, 'dan is sent away');
  });

  test('figures', async () => {
    const { days, posted } = await peal.summary({ days: 2 });
    assert.equal(days.length, 2);
    assert.ok(posted > 0);
    assert.ok((await peal.stats()).uptime >= 0);
    assert.equal((await peal.performance()).status, 'healthy');
    assert.deepEqual((await peal.request('GET', '/api/v1/topics', { query: { limit: 1 } })).items, ['news']);
    await assert.rejects(peal.request('GET', '/api/v1/topics', { query: { colour: 'red' } }), { code: 'bad_request', field: 'colour' });
  });

  test('a key that is none, or may not, is told so', async () => {
    await assert.rejects(make(hub, { key: 'wrong-0123456789abcdef' }).unread('ann'), { code: 'unauthorized', status: 401 });
    const publisher = new PealServer({ url: hub.url, key: hub.apiKey });
    await assert.rejects(publisher.values.set('a', 1), { code: 'forbidden', status: 403 });
  });
});

test('of tenants the named one is meant, in all that is asked', async () => {
  const hub = await startHub({ config: `${CONFIG}auth { tenants = on }\n` });
  const [one, two] = ['one', 'two'].map((tenant) => make(hub, { tenant }));
  await one.post({ user: 'ann', type: 'a' });
  await one.post([{ user: 'ann', type: 'a' }, { user: 'ann', type: 'a' }]);
  await one.values.set('k', 1);
  const client = await hub.plain('ann', { claims: { tenant: 'one' } });
  await two.publish({ event: 'not', args: [], to: { users: ['ann'] } });
  await one.publish({ event: 'yes', args: [], to: { users: ['ann'] } });
  await until(() => client.events.some(([name]) => name === 'yes'), 'the event is there');
  assert.ok(!client.events.some(([name]) => name === 'not'));
  assert.deepEqual([(await one.unread('ann')).count, (await two.unread('ann')).count], [3, 0]);
  assert.deepEqual([await one.values.get('k'), await two.values.get('k')], [1, null]);
  await hub.stop();
});

test('posts over a hub that is killed are stored once, and values say what was not done', async () => {
  const hub = await startHub({ config: CONFIG });
  const peal = make(hub, { retries: 100, timeout: 2_000 });
  const count = FULL ? 400 : 60;
  let done = 0;
  const posts = Array.from({ length: count }, async (_, i) => {
    await until(() => done >= i - 20, 'its turn', 120_000);
    const posted = await peal.post(i % 3 ? { user: 'ann', type: 'a', title: `p${i}` } : [{ user: 'ann', type: 'a', title: `p${i}` }]);
    done += 1;
    return posted;
  });
  await until(() => done >= count / 3, 'a third is posted');
  await hub.kill();
  await assert.rejects(peal.values.increment('n', { retries: 0 }), ({ code }) => code === 'unreachable' || code === 'disconnected');
  await hub.restart();
  await Promise.all(posts);
  const titles = (await take(peal.all((page) => peal.notifications('ann', page), { limit: 100 }))).map(({ title }) => title);
  assert.deepEqual(titles.sort(), Array.from({ length: count }, (_, i) => `p${i}`).sort());
  await hub.stop();
});

const rigs = {
  'one node without Redis': async () => {
    const hub = await startHub({ config: CONFIG, env: { PEAL_SHARDS: '2' } });
    return { hubs: [hub], stop: () => hub.stop() };
  },
  'two nodes over Redis': async () => {
    const [redis, postgres] = await Promise.all([startRedis(), startPostgres()]);
    const first = await startHub({ redis, postgres, config: CONFIG, env: { PEAL_SHARDS: '2' } });
    const second = await startHub({ redis, postgres, config: CONFIG, secret: first.secret, apiKey: first.apiKey, env: { PEAL_SHARDS: '2' } });
    const stop = async () => {
      for (const hub of [first, second]) await hub.stop();
      await redis.stop();
      await postgres.stop();
    };
    return { hubs: [first, second], redis, stop };
  },
};

for (const [name, start] of Object.entries(rigs)) {
  describe(`values of ${name}`, () => {
    let rig;
    let one; // two processes of an application, each at a node where there are two
    let two;
    before(async () => {
      rig = await start();
      [one, two] = [rig.hubs[0], rig.hubs.at(-1)].map((hub) => make(hub, { values: { prefix: 'app', timeout: 20_000 } }).values);
    });
    after(() => rig?.stop());
    // Whether somebody waits at one of the nodes for who fills.
    const isWaiting = async () => (await Promise.all([one.stats(), two.stats()])).some(({ node }) => node.waiting > 0);

    test('are set, read, counted and let go', async () => {
      const { version } = await one.set('a', { x: [1, null, 'ä'] }, { ttl: 60, tags: ['t'] });
      assert.deepEqual(await two.get('a'), { x: [1, null, 'ä'] });
      const entry = await two.entry('a');
      assert.deepEqual([entry.version, entry.stale], [version, false]);
      await assert.rejects(one.set('a', 2, { ifVersion: 0 }), { code: 'version_conflict', status: 409, version });
      const next = await one.set('a', 2, { ifVersion: version });
      assert.ok(next.version > version);
      assert.equal(await one.get('none'), null);
      assert.equal(await one.entry('none'), null);
      const put = await one.mset([{ key: 'b', value: 1, tags: ['t'] }, { key: 'c', value: null }, { key: 'a', value: 0, ifVersion: 1 }]);
      assert.equal(put[2].error.code, 'version_conflict');
      assert.ok(put[0].version > 0 && put[0].error === undefined);
      await until(async () => (await two.mget(['c', 'b', 'none', 'a'])).join() === ',1,,2', 'the other sees it');
      assert.equal(await one.increment('n', { by: 5, ttl: 60 }), 5);
      assert.equal(await two.increment('n'), 6);
      assert.equal(await two.increment('n', -2), 4);
      await one.delete('a');
      await until(async () => (await two.get('a')) === null, 'it is gone');
      assert.equal(await one.invalidate('t'), 1);
      assert.equal(await one.invalidate(['t', ...Array.from({ length: 40 }, (_, i) => `t${i}`)]), 0);
      for (let i = 0; i < 3; i++) await one.set(`p:${i}`, i);
      assert.equal(await one.invalidate({ pattern: 'p:*' }), 3);
      await assert.rejects(async () => one.invalidate({}), { field: 'tags' });
      await assert.rejects(one.set('a/b', 1), { code: 'invalid_field', field: 'key', status: 422 });
      await assert.rejects(one.set('a', undefined), { field: 'value' });
      await assert.rejects(one.set('a', 'x'.repeat(1 << 20)), { code: 'too_large', field: 'value' });
      assert.ok((await one.stats()).prefixes.some(({ prefix }) => prefix === 'app:'));
    });

    test('one of many fetches, in two processes, and all have what it made', async () => {
      let fetched = 0;
      const fetch = async () => {
        fetched += 1;
        await until(isWaiting, 'others wait');
        return { made: fetched };
      };
      const callers = FULL ? 5_000 : 500;
      const all = await Promise.all(Array.from({ length: callers }, (_, i) => (i % 2 ? one : two).cacheAside('many', fetch, { ttl: 60, wait: 30 })));
      assert.equal(fetched, 1);
      assert.ok(all.every(({ made }) => made === 1));
      assert.deepEqual(await two.get('many'), { made: 1 });
    });

    test('a fetch that fails gives the turn to who waits', async () => {
      const order = [];
      const failing = one.cacheAside('turn', async () => {
        order.push('first');
        await until(isWaiting, 'another one waits');
        throw new Error('no database');
      });
      failing.catch(() => {});
      await until(() => order.length === 1, 'the first fills');
      const next = two.cacheAside('turn', () => order.push('second'), { wait: 30 });
      await assert.rejects(failing, /no database/);
      assert.equal(await next, 2);
      assert.deepEqual(order, ['first', 'second']);
      const { fill } = await one.lease('free');
      await one.release('free', fill);
      await one.release('free', fill); // nothing to release any more
      const again = await two.lease('free');
      assert.equal(typeof again.fill, 'string');
      await assert.rejects(one.set('free', 1, { lease: fill }), { code: 'lease_lost', field: 'lease' });
      await two.set('free', 2, { lease: again.fill });
      assert.equal(await two.get('free'), 2);
    });

    test('what was let go while it was fetched is not kept', async () => {
      const made = await one.cacheAside('raced', async () => {
        await two.invalidate('customers');
        return 'old';
      }, { tags: ['customers'] });
      assert.equal(made, 'old');
      assert.equal(one.counts.lost, 1);
      assert.equal(await one.cacheAside('raced', () => 'new', { tags: ['customers'] }), 'new');
    });

    // seeds: C16
    test('a function that is cached is called once for its arguments, whoever calls it', async () => {
      const calls = [];
      const load = async (id, { deep }) => {
        calls.push(id);
        return { id, deep };
      };
      const options = { name: 'load', ttl: 60, tags: (result, id) => [`customer:${id}`] };
      const [here, there] = [one.cacheable(load, options), two.cacheable(load, options)];
      assert.deepEqual(await here('7', { deep: true }), { id: '7', deep: true });
      assert.deepEqual(await there('7', { deep: true }), { id: '7', deep: true });
      await there('7', { deep: false });
      await there('8', { deep: true });
      assert.deepEqual(calls, ['7', '7', '8']);
      assert.equal(await two.invalidate('customer:7'), 2);
      await until(async () => {
        await here('7', { deep: true });
        return calls.length === 4;
      }, 'it is called again');
      await here.forget('8', { deep: true });
      await here('8', { deep: true });
      assert.equal(calls.at(-1), '8');
    });
  });
}
