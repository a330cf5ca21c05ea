// SPDX-License-Identifier: Apache-2.0
// Posts to many, on SQLite and on two nodes over Postgres and Redis: stored once, shown in each inbox. Who is
// online has it at once, on whatever node; who is not has it in the order of the posts when coming back.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { startHub } from './support/hub.mjs';
import { inboxOf, newUser, overSocketIo, overWs, POSTS } from './support/inbox.mjs';
import { startPostgres } from './support/postgres.mjs';
import { startRedis } from './support/redis.mjs';
import { FULL } from './support/siege.mjs';
import { until } from './support/wait.mjs';

const SELF = 'topic_type "open" { self = on }\nbus { recheck = 1s }';
const [ONLINE, SUBSCRIBERS] = FULL ? [2000, 100_000] : [300, 10_000];

const stores = {
  SQLite: async () => {
    const hub = await startHub({ config: SELF });
    return { hubs: [hub, hub], stop: () => hub.stop() };
  },
  'Postgres, two nodes': async () => {
    const [redis, postgres] = await Promise.all([startRedis(), startPostgres()]);
    const first = await startHub({ redis, postgres, config: SELF });
    const second = await startHub({ redis, postgres, config: SELF, secret: first.secret, apiKey: first.apiKey });
    const stop = async () => {
      await first.stop();
      await second.stop();
      await redis.stop();
      await postgres.stop();
    };
    return { hubs: [first, second], redis, postgres, stop };
  },
};

let topics = 0;
const newTopic = (type = 'news') => `${type}:${++topics}`;
const subscribersOf = (topic) => `/api/v1/topics/${encodeURIComponent(topic)}/subscribers`;

for (const [name, start] of Object.entries(stores)) {
  describe(name, () => {
    let rig;
    before(async () => {
      rig = await start();
    });
    after(() => rig?.stop());

    const titles = async (user) => {
      const { body } = await rig.hubs[1].api('GET', `${inboxOf(user)}?limit=100`);
      return body.items.map(({ title }) => title).reverse();
    };
    async function subscribe(topic, users, method = 'PUT') {
      const { status, body } = await rig.hubs[0].api(method, subscribersOf(topic), { users });
      assert.equal(status, 200, JSON.stringify(body));
      return body;
    }
    async function post(target, title, more = {}) {
      const { status, body } = await rig.hubs[0].api('POST', POSTS, { type: 'note', title, ...target, ...more });
      assert.equal(status, 201, JSON.stringify(body));
      assert.deepEqual([body.duplicate, body.seq], [false, undefined]);
      return body;
    }
    const told = (device, title) => until(() => device.items.some((item) => item.title === title), `${title} is told`);

    test('a topic reaches its subscribers online on both nodes, and the others when they come', async () => {
      const topic = newTopic();
      const [first, second, away, stranger] = Array.from({ length: 4 }, newUser);
      const devices = [await overSocketIo(rig.hubs[0], first), await overWs(rig.hubs[1], second, 'json')];
      const other = await overWs(rig.hubs[1], stranger, 'msgpack');
      assert.deepEqual(await subscribe(topic, [first, second, away, away]), { added: 3 });
      assert.deepEqual(await subscribe(topic, [first]), { added: 0 });
      const { audience, id } = await post({ topic }, 'one');
      assert.deepEqual(audience, { kind: 'topic', name: topic });
      for (const device of devices) {
        await told(device, 'one');
        const [item] = device.items;
        assert.deepEqual([item.seq, item.rev, item.isRead], [1, 1, false]);
        assert.notEqual(item.id, id, 'a row has an id of its own');
        await until(() => device.counts.at(-1)?.count === 1, 'the count is told');
      }
      const late = await overWs(rig.hubs[0], away, 'json');
      assert.deepEqual([late.ready.seq, late.ready.unread], [1, 1]);
      assert.deepEqual(await titles(away), ['one']);
      await post({ user: stranger }, 'behind').catch(() => {});
      assert.deepEqual(other.items.filter(({ title }) => title === 'one'), [], 'who is not subscribed is not told');
    });

    test('who subscribes later does not get it, who leaves keeps what came before', async () => {
      const topic = newTopic();
      const [stays, leaves, comes] = Array.from({ length: 3 }, newUser);
      await subscribe(topic, [stays, leaves]);
      await post({ topic }, 'one');
      assert.deepEqual(await subscribe(topic, [leaves], 'DELETE'), { removed: 1 });
      await subscribe(topic, [comes]);
      await post({ topic }, 'two');
      const path = `${subscribersOf(topic)}/remove`;
      assert.deepEqual((await rig.hubs[0].api('POST', path, { users: [comes] })).body, { removed: 1 });
      await subscribe(topic, [leaves, comes]);
      await post({ topic }, 'three');
      assert.deepEqual(await titles(stays), ['one', 'two', 'three']);
      assert.deepEqual(await titles(leaves), ['one', 'three']);
      assert.deepEqual(await titles(comes), ['two', 'three']);
    });

    test('subscribers, topics and the topics of a user are listed in pages', async () => {
      const topic = newTopic('pages');
      const users = Array.from({ length: 5 }, newUser).sort();
      await subscribe(topic, users);
      const page = async (path) => (await rig.hubs[0].api('GET', path)).body;
      const first = await page(`${subscribersOf(topic)}?limit=3`);
      assert.deepEqual(first, { items: users.slice(0, 3), next: users[2] });
      const rest = await page(`${subscribersOf(topic)}?limit=3&after=${first.next}`);
      assert.deepEqual(rest, { items: users.slice(3), next: null });
      const other = newTopic('pages');
      await subscribe(other, [users[0]]);
      assert.deepEqual(await page(`/api/v1/users/${users[0]}/topics`), { items: [topic, other].sort(), next: null });
      const all = await page('/api/v1/topics?after=pages:&limit=1000');
      assert.ok([topic, other].every((one) => all.items.includes(one)));
      await subscribe(other, [users[0]], 'DELETE');
      assert.deepEqual((await page(`/api/v1/users/${users[0]}/topics`)).items, [topic]);
    });

    test('more than 1,000 users are one post', async () => {
      const prefix = newUser();
      const users = Array.from({ length: 1200 }, (_, i) => `${prefix}-${i}`);
      const devices = [await overWs(rig.hubs[1], users[0], 'json'), await overWs(rig.hubs[0], users[1199], 'json')];
      const { audience } = await post({ users }, 'list');
      assert.deepEqual(audience, { kind: 'list', name: null });
      for (const device of devices) await told(device, 'list');
      for (const user of [users[1], users[600], users[1198]]) assert.deepEqual(await titles(user), ['list']);
    });

    test('a repeat is told with the first id, other content is a conflict', async () => {
      const topic = newTopic();
      await subscribe(topic, [newUser()]);
      const body = { topic, type: 'note', title: 'once', key: 'k' };
      const first = await rig.hubs[0].api('POST', POSTS, body);
      assert.equal(first.status, 201);
      const again = await rig.hubs[1].api('POST', POSTS, body);
      assert.deepEqual([again.status, again.body.id, again.body.duplicate], [200, first.body.id, true]);
      const other = await rig.hubs[1].api('POST', POSTS, { ...body, title: 'other' });
      assert.deepEqual([other.status, other.body.error.code, other.body.error.id], [409, 'key_conflict', first.body.id]);
      const elsewhere = await rig.hubs[0].api('POST', POSTS, { ...body, topic: newTopic() });
      assert.deepEqual([elsewhere.status, elsewhere.body.nobody], [201, true], 'a key is of its audience');
      const several = await rig.hubs[0].api('POST', POSTS, [body, { user: newUser(), type: 'note', title: 'row' }, { ...body, key: 'l' }]);
      assert.deepEqual(several.body.results.map(({ status }) => status), [200, 201, 201]);
    });

    test('users subscribe themselves where the type of the topic lets them', async () => {
      const user = newUser();
      const device = await overSocketIo(rig.hubs[0], user);
      const plain = await overWs(rig.hubs[1], user, 'msgpack');
      const topic = newTopic('open');
      assert.deepEqual(await device.ask('topic:subscribe', { topic }), { ok: true, topic, changed: true });
      assert.deepEqual(await plain.ask('topic:subscribe', topic), { ok: true, topic, changed: false });
      assert.deepEqual(await plain.ask('topic:list'), { ok: true, items: [topic], next: null });
      await post({ topic }, 'self');
      await told(device, 'self');
      await told(plain, 'self');
      assert.deepEqual(await device.ask('topic:unsubscribe', { topic }), { ok: true, topic, changed: true });
      assert.deepEqual((await device.ask('topic:list', { limit: 5 })).items, []);
      const denied = await device.ask('topic:subscribe', { topic: newTopic('news') });
      assert.deepEqual([denied.ok, denied.error], [false, 'forbidden']);
      const bad = await device.ask('topic:subscribe', { topic: 'a/b' });
      assert.deepEqual([bad.error, bad.field], ['invalid_field', 'topic']);
    });

    test('a post to many is taken back from who is online on either node, and from who comes', async () => {
      const topic = newTopic();
      const [first, second, away, later] = Array.from({ length: 4 }, newUser);
      await subscribe(topic, [first, second, away, later]);
      const devices = [await overSocketIo(rig.hubs[0], first), await overWs(rig.hubs[1], second, 'json')];
      const { id } = await post({ topic }, 'wrong');
      await post({ topic }, 'right');
      for (const device of devices) await told(device, 'right');
      assert.deepEqual(await titles(away), ['wrong', 'right'], 'has it, and is not online');
      const path = `${POSTS}/${id}`;
      const waiting = await rig.hubs[1].api('DELETE', `${path}?if=undelivered`);
      assert.deepEqual([waiting.status, waiting.body.error.code], [409, 'already_delivered']);
      assert.deepEqual(await titles(first), ['wrong', 'right']);
      assert.equal((await rig.hubs[1].api('DELETE', path)).status, 204);
      for (const method of ['DELETE', 'PATCH']) {
        const again = await rig.hubs[0].api(method, path, method === 'PATCH' ? { title: 'other' } : undefined);
        assert.deepEqual([again.status, again.body.error.code], [404, 'not_found']);
      }
      for (const [i, device] of devices.entries()) {
        const gone = await until(() => device.states.find(({ state }) => state === 'erased'), 'the row is gone');
        assert.deepEqual([gone.ids, gone.unread], [[device.items[0].id], 1]);
        await until(() => device.counts.at(-1)?.count === 1, 'one is unread');
        assert.deepEqual(await titles([first, second][i]), ['right']);
      }
      for (const user of [away, later]) {
        const device = await overWs(rig.hubs[0], user, 'json');
        assert.equal(device.ready.unread, 1, user);
        assert.deepEqual(await titles(user), ['right']);
      }
    });

    test('a post to many is given other content, for who has it and for who comes', async () => {
      const prefix = newUser();
      const list = Array.from({ length: 1001 }, (_, i) => `${prefix}-${i}`);
      for (const target of [{ topic: newTopic() }, { users: list }, { all: true }]) {
        const kind = { topic: 'topic', users: 'list', all: 'all' }[Object.keys(target)[0]];
        const [first, second, away, later] = list;
        if (target.topic) await subscribe(target.topic, [first, second, away, later]);
        const devices = [await overSocketIo(rig.hubs[0], first), await overWs(rig.hubs[1], second, 'msgpack')];
        const title = `${kind} before`;
        const { id, audience } = await post(target, title, { message: 'stays', data: { n: 1 } });
        for (const device of devices) await told(device, title);
        assert.equal((await titles(away)).at(-1), title, 'has it, and is not online');
        await devices[0].ask('notification:read', { upTo: devices[0].items.at(-1).seq });
        const change = { title: `${kind} after`, priority: 'high' };
        const answer = await rig.hubs[1].api('PATCH', `${POSTS}/${id}`, change);
        assert.deepEqual([answer.status, answer.body], [200, { id, audience }]);
        for (const [i, device] of devices.entries()) {
          const isIt = ({ title: one }) => one === change.title;
          const state = await until(() => device.states.find(({ updated }) => updated?.some(isIt)), 'it is told');
          const item = state.updated.find(isIt);
          assert.deepEqual([item.id, item.message, item.priority, item.isRead],
            [device.items.at(-1).id, 'stays', 'high', i === 0]);
          assert.equal(device.items.filter(({ title: one }) => one === change.title).length, 0, 'without a sound');
        }
        for (const user of [first, second, away, later]) {
          const { body: { items: [item] } } = await rig.hubs[0].api('GET', `${inboxOf(user)}?limit=1`);
          assert.deepEqual([item.title, item.message, item.data, item.priority], [change.title, 'stays', { n: 1 }, 'high']);
          const { body } = await rig.hubs[1].api('GET', `/api/v1/notifications/${item.id}`);
          assert.deepEqual([body.title, body.audience?.id], [change.title, id]);
        }
        const late = await overWs(rig.hubs[0], later, 'json');
        assert.equal((await late.ask('notification:list', { limit: 1 })).items[0].title, change.title);
        for (const { client } of [...devices, late]) client?.close?.();
      }
    });

    test('who connects while a post to many is changed shows what it is in the end', async () => {
      const topic = newTopic();
      const users = Array.from({ length: 12 }, newUser);
      await subscribe(topic, users);
      const { id } = await post({ topic }, 'edit 0');
      const last = 8;
      const changes = (async () => {
        for (let i = 1; i <= last; i++) {
          const { status } = await rig.hubs[i % 2].api('PATCH', `${POSTS}/${id}`, { title: `edit ${i}` });
          assert.equal(status, 200);
        }
      })();
      const devices = await Promise.all(users.map((user, i) => overWs(rig.hubs[i % 2], user, 'json')));
      const firsts = await Promise.all(devices.map(({ ask }) => ask('notification:list', { limit: 1 })));
      await changes;
      const shown = ({ items, states }, { items: [first] }) => [first, ...items, ...states.flatMap(({ updated = [] }) => updated)]
        .sort((a, b) => a.rev - b.rev).at(-1).title;
      await until(() => devices.every((device, i) => shown(device, firsts[i]) === `edit ${last}`), 'all show the last');
      for (const user of users) assert.deepEqual(await titles(user), [`edit ${last}`]);
    });

    test('a post to everybody, or to a list, is taken back', async () => {
      const prefix = newUser();
      const users = Array.from({ length: 1001 }, (_, i) => `${prefix}-${i}`);
      const device = await overWs(rig.hubs[1], users[0], 'msgpack');
      for (const target of [{ users }, { all: true }]) {
        const title = `wrong ${Object.keys(target)[0]}`;
        const { id } = await post(target, title);
        await told(device, title);
        await until(() => device.counts.at(-1)?.count === 1, 'it is counted');
        assert.equal((await rig.hubs[0].api('DELETE', `${POSTS}/${id}`)).status, 204);
        await until(() => device.counts.at(-1)?.count === 0, 'it is gone');
        assert.deepEqual([await titles(users[0]), await titles(users[1])], [[], []]);
      }
    });

    test('what is wrong is named', async () => {
      const topic = newTopic();
      const cases = [
        ['POST', POSTS, { type: 't', topic, user: 'u' }, 422, 'user'],
        ['POST', POSTS, { type: 't' }, 422, 'user'],
        ['POST', POSTS, { type: 't', topic: 'a/b' }, 422, 'topic'],
        ['POST', POSTS, { type: 't', topic, include_new: true }, 422, 'include_new'],
        ['POST', POSTS, { type: 't', topic, collapse: 'c' }, 422, 'collapse'],
        ['POST', '/api/v1/events', { event: 'e', topic }, 422, 'topic'],
        ['PUT', subscribersOf(topic), { users: [] }, 422, 'users'],
        ['PUT', subscribersOf(topic), { users: ['a/b'] }, 422, 'users'],
        ['PUT', subscribersOf(topic), { users: 'u' }, 422, 'users'],
        ['PUT', subscribersOf(topic), { user: 'u' }, 422, 'user'],
        ['PUT', subscribersOf(topic), { users: Array.from({ length: 10001 }, (_, i) => `u${i}`) }, 422, 'users'],
        ['PUT', subscribersOf('a/b'), { users: ['u'] }, 422, 'topic'],
        ['GET', `${subscribersOf(topic)}?limit=1001`, undefined, 422, 'limit'],
        ['GET', `${subscribersOf(topic)}?before=a`, undefined, 400, 'before'],
      ];
      for (const [method, path, body, status, field] of cases) {
        const answer = await rig.hubs[0].api(method, path, body);
        assert.deepEqual([answer.status, answer.body.error.field], [status, field], `${method} ${path} ${JSON.stringify(body)?.slice(0, 80)}`);
      }
      const own = { authorization: `Bearer ${rig.hubs[0].token('me')}` };
      assert.equal((await rig.hubs[0].api('GET', '/api/v1/users/me/topics', undefined, own)).status, 200);
      assert.equal((await rig.hubs[0].api('GET', subscribersOf(topic), undefined, own)).status, 401);
    });

    test(`${ONLINE} who are online have a post to a large topic, and others when they come`, async (t) => {
      const topic = newTopic();
      const prefix = newUser();
      const users = Array.from({ length: SUBSCRIBERS }, (_, i) => `${prefix}-${i}`);
      for (let from = 0; from < SUBSCRIBERS; from += 10_000) {
        assert.deepEqual(await subscribe(topic, users.slice(from, from + 10_000)), { added: 10_000 });
      }
      const devices = [];
      for (let i = 0; i < ONLINE; i++) devices.push(await overWs(rig.hubs[i % 2], users[i * 7], 'json'));
      const begun = performance.now();
      await post({ topic }, 'large');
      const posted = performance.now();
      await until(() => devices.every(({ items }) => items.length === 1), 'all are told');
      t.diagnostic(`posted in ${Math.round(posted - begun)} ms, all told after ${Math.round(performance.now() - begun)} ms`);
      await post({ topic }, 'next', { priority: 'high' });
      await until(() => devices.every(({ items }) => items.length >= 2), 'all are told of the next');
      assert.ok(devices.every(({ items }) => items.length === 2 && items[0].title === 'large'), 'once each, in order');
      for (const i of [1, 501, 9999]) assert.deepEqual(await titles(users[i]), ['large', 'next']);
    });

    // The last one: whoever comes to this store behind it is welcomed.
    test('everybody is who has an inbox; with include_new also who comes', async () => {
      const [online, away] = [newUser(), newUser()];
      const device = await overWs(rig.hubs[1], online, 'json');
      assert.equal((await rig.hubs[0].api('POST', POSTS, { user: away, type: 'note', title: 'first' })).status, 201);
      const title = `all ${name}`;
      const { audience } = await post({ all: true }, title);
      assert.deepEqual(audience, { kind: 'all', name: null });
      await told(device, title);
      assert.deepEqual(await titles(away), ['first', title]);
      const welcome = `welcome ${name}`;
      await post({ all: true }, welcome, { include_new: true });
      const late = newUser();
      assert.deepEqual((await overWs(rig.hubs[0], late, 'json')).ready.unread, 1);
      assert.deepEqual(await titles(late), [welcome]);
      await told(device, welcome);
      assert.deepEqual(device.items.map(({ seq }) => seq), device.items.map((_, i) => i + 1), 'without holes');
    });
  });
}

describe('nodes', () => {
  let rig;
  before(async () => {
    rig = await stores['Postgres, two nodes']();
  });
  after(() => rig?.stop());

  test('posts of the stream: a topic, all, a list', async () => {
    const [first, second] = rig.hubs;
    const topic = newTopic();
    const [member, other] = [newUser(), newUser()];
    await first.api('PUT', subscribersOf(topic), { users: [member] });
    const devices = [await overWs(first, member, 'json'), await overWs(second, other, 'json')];
    const bus = rig.redis.client();
    const many = JSON.stringify([other, ...Array.from({ length: 1100 }, (_, i) => `stream-${i}`)]);
    for (const target of [['topic', topic], ['all', '1'], ['users', many]]) {
      await bus.xadd('peal:in', '*', ...target, 'type', 'note', 'title', target[0], 'key', 'k', 'reply', 'answers');
    }
    await until(() => devices[0].items.length === 2 && devices[1].items.length === 2, 'both were told of both');
    assert.deepEqual(devices.map(({ items }) => items.map(({ title }) => title)), [['topic', 'all'], ['all', 'users']]);
    const answers = await until(async () => {
      const entries = await bus.xrange('answers', '-', '+');
      return entries.length === 3 && entries;
    }, 'the answers');
    for (const [, fields] of answers) assert.equal(fields[fields.indexOf('status') + 1], 'stored');
  });

  test('a node that dies behind its post takes nothing with it', async () => {
    const third = await startHub({ ...rig, config: SELF, secret: rig.hubs[0].secret, apiKey: rig.hubs[0].apiKey });
    const [online, away] = [newUser(), newUser()];
    const topic = newTopic();
    await rig.hubs[0].api('PUT', subscribersOf(topic), { users: [online, away] });
    const device = await overWs(rig.hubs[1], online, 'json');
    for (let i = 0; i < 50; i++) {
      third.api('POST', POSTS, { topic, type: 'note', title: `n${i}` }).catch(() => {});
    }
    await until(() => device.items.length > 0, 'the first is told');
    await third.kill();
    const stored = await until(async () => {
      const { body } = await rig.hubs[0].api('GET', `${inboxOf(away)}?limit=100`);
      return body.items.length > 0 && device.items.length === body.items.length && body.items;
    }, 'what is stored is told');
    assert.deepEqual(device.items.map(({ title }) => title), stored.map(({ title }) => title).reverse());
  });
});
