// SPDX-License-Identifier: Apache-2.0
// Last values (`retain`): who connects or joins is told them first, once, on any node, after the death of one and a
// restart of Redis; what was removed is told nobody.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { io } from 'socket.io-client';
import WebSocket from 'ws';
import { Peal } from '../../clients/js/peal.js';
import { startHub } from './support/hub.mjs';
import { startPostgres } from './support/postgres.mjs';
import { startRedis } from './support/redis.mjs';
import { StreamClient } from './support/stream_client.mjs';
import { randomSecret } from './support/tokens.mjs';
import { until } from './support/wait.mjs';

const CONFIG = `room_type "public" { access = {"any"} presence = off }
                room_type "chat" { access = {"any"} replay = 100 presence = off }
                room_type "bare" { access = {"any"} retain = off }
                namespace "/" { recovery = on }
                limits { event_bytes = 32KiB }
                api_key "values" { key = "values-0123456789abcdef" scopes = {values} }
`;
const started = []; // what is stopped at the end, the last first
let redis;
let options;
let hubs;

const begin = async (starting) => {
  const one = await starting;
  started.push(one);
  return one;
};

before(async () => {
  redis = await begin(startRedis());
  const postgres = await begin(startPostgres());
  options = { redis, postgres, config: CONFIG, secret: randomSecret(), apiKey: randomSecret() };
  hubs = await Promise.all([begin(startHub(options)), begin(startHub(options))]);
});

after(async () => {
  for (const one of started.reverse()) await one.stop();
});

async function keep(to, name, args, hub = hubs[0], event = 'banner') {
  const { status, body } = await hub.api('POST', '/api/v1/events', { event, args, to, retain: name });
  assert.equal(status, 202, JSON.stringify(body));
}

// How many of them a hub has: they are there before anybody is told.
const count = (hub) => hub.metric('peal_retained_values');
const has = (hub, number) => until(async () => (await count(hub)) === number, `${number} are kept`);

// Each kind of client: what it was told so far as [event, ...args], without marks of recovery, and its end.
const KINDS = {
  async 'socket.io-client'(t, hub, user, rooms = []) {
    const socket = io(hub.url, {
      forceNew: true,
      transports: ['websocket'],
      reconnection: false,
      auth: { token: hub.token(user, { rooms: ['*'] }) },
    });
    t.after(() => socket.close());
    const events = [];
    socket.onAny((name, ...args) => {
      events.push([name, ...args.filter((arg, at) => at === 0 || typeof arg !== 'string')]);
    });
    await until(() => events.some(([name]) => name === 'hub:ready'), `${user} is in`);
    for (const roomId of rooms) await socket.timeout(30_000).emitWithAck('join_room', { roomId });
    return events;
  },
  async '/ws'(t, hub, user, rooms = []) {
    const client = await hub.plain(user, {});
    t.after(() => client.close());
    await client.ready;
    for (const roomId of rooms) await client.request('join_room', { roomId });
    return client.events;
  },
  async '/ws in MessagePack'(t, hub, user, rooms = []) {
    const client = await hub.plain(user, { encoding: 'msgpack' });
    t.after(() => client.close());
    await client.ready;
    for (const roomId of rooms) await client.request('join_room', { roomId });
    return client.events;
  },
  async 'server-sent events'(t, hub, user, rooms = []) {
    const query = rooms.length > 0 ? `rooms=${rooms.join(',')}` : '';
    const client = new StreamClient([hub.url], { token: hub.token(user), query }).open();
    t.after(() => client.close());
    await client.has('hub:ready');
    if (rooms.length > 0) await until(() => client.of('room_joined').length === rooms.length, 'it has joined');
    return client.packets;
  },
};

const only = (events, name = 'banner') => events.filter(([event]) => event === name);
const at = (events, name) => events.findIndex(([event]) => event === name);

for (const [kind, connect] of Object.entries(KINDS)) {
  test(`${kind}: a banner is the first that is seen, once; removed, it is gone`, async (t) => {
    await keep({ all: true }, 'banner', [{ text: 'down at 22' }]);
    await keep({ users: ['ada'] }, 'progress', [{ done: 5 }], hubs[0], 'progress');
    await has(hubs[1], 2);
    const events = await connect(t, hubs[1], 'ada');
    assert.deepEqual(only(events), [['banner', { text: 'down at 22' }, { _peal: { retained: true } }]]);
    assert.deepEqual(only(events, 'progress'), [['progress', { done: 5 }, { _peal: { retained: true } }]]);
    assert.equal(at(events, 'banner'), 0, JSON.stringify(events));
    assert.ok(at(events, 'progress') < at(events, 'hub:ready'));
    const other = await connect(t, hubs[0], 'bob');
    assert.equal(only(other).length, 1);
    assert.equal(only(other, 'progress').length, 0, 'that of another user');
    await keep({ all: true }, 'banner', [{ text: 'down at 23' }], hubs[1]);
    await until(() => only(events).length === 2 && only(other).length === 2, 'who is there is told of a new one');
    assert.deepEqual(only(events)[1][1], { text: 'down at 23' });
    assert.equal(only(events)[1][2]?._peal?.retained, undefined);
    await keep({ all: true }, 'banner', null, hubs[1]);
    await keep({ users: ['ada'] }, 'progress', null, hubs[1], 'progress');
    await until(() => only(events).length === 3, 'who is there is told of its end');
    assert.equal(only(events)[2][1], null);
    await Promise.all(hubs.map((hub) => has(hub, 0)));
    assert.equal(only(await connect(t, hubs[0], 'cyd')).length, 0);
  });

  test(`${kind}: who joins a room is told what is kept there`, async (t) => {
    await keep({ rooms: ['public:r', 'chat:r'] }, 'n', [1], hubs[0], 'n');
    await has(hubs[1], 2);
    const events = await connect(t, hubs[1], 'eve', ['public:r', 'chat:r']);
    assert.equal(only(events, 'n').length, 2, JSON.stringify(events));
    const of = (name) => only(events, 'n').find(([, , { _peal: mark }]) => mark.room === name);
    assert.deepEqual(of('public:r'), ['n', 1, { _peal: { retained: true, room: 'public:r' } }]);
    assert.deepEqual([of('chat:r')[1], typeof of('chat:r')[2]._peal.offset], [1, 'string']);
    await keep({ rooms: ['public:r', 'chat:r'] }, 'n', null, hubs[0], 'n');
    await until(() => only(events, 'n').some(([, value]) => value === null), 'it is told of the end');
    await has(hubs[1], 0);
  });
}

test('peal.js says that a value is a kept one, and goes on with its rooms', async (t) => {
  await keep({ rooms: ['chat:p'] }, 'n', [{ n: 1 }], hubs[0], 'n');
  await has(hubs[1], 1);
  const peal = new Peal({ WebSocket, inbox: false });
  t.after(() => peal.close());
  const had = [];
  peal.on('n', (...args) => had.push(args));
  await peal.connect(hubs[1].url, { token: hubs[1].token('pia', { rooms: ['*'] }) });
  await peal.join('chat:p');
  await until(() => had.length === 1, 'it is told');
  assert.deepEqual(had, [[{ n: 1 }, { retained: true }]]);
  await keep({ rooms: ['chat:p'] }, 'n', null, hubs[0], 'n');
  await until(() => had.length === 2, 'and of the end');
  assert.deepEqual(had[1], [null]);
});

test('a stream entry keeps, and removes', async (t) => {
  const client = redis.client();
  await client.xadd('peal:in', '*', 'all', '1', 'event', 'banner', 'args', '[7]', 'retain', 'b');
  await Promise.all(hubs.map((hub) => has(hub, 1)));
  const events = await KINDS['/ws'](t, hubs[1], 'flo');
  assert.deepEqual(only(events), [['banner', 7, { _peal: { retained: true } }]]);
  await client.xadd('peal:in', '*', 'all', '1', 'event', 'banner', 'args', 'null', 'retain', 'b');
  await Promise.all(hubs.map((hub) => has(hub, 0)));
  await client.xadd('peal:in', '*', 'room', 'bare:x', 'event', 'e', 'retain', 'b');
  const dead = await until(async () => (await client.xrevrange('peal:dead', '+', '-')).at(0)?.[1], 'it is refused');
  const field = (name) => dead[dead.indexOf(name) + 1];
  assert.deepEqual([field('dead:reason'), field('dead:field')], ['invalid_field', 'retain']);
});

test('what may not be kept is refused, and nothing is sent', async () => {
  const post = (body) => hubs[0].api('POST', '/api/v1/events', { event: 'e', args: [1], retain: 'x', ...body });
  const bare = await post({ to: { rooms: ['bare:x'] } });
  assert.deepEqual([bare.status, bare.body.error.field], [422, 'retain']);
  const long = await post({ to: { all: true }, retain: 'x'.repeat(129) });
  assert.deepEqual([long.status, long.body.error.field], [413, 'retain']);
  assert.equal((await post({ to: { rooms: ['bare:x'] }, args: null })).status, 422);
});

describe('after a death', () => {
  test('of the node that it was posted on, and of Redis', async (t) => {
    const third = await begin(startHub(options));
    await keep({ all: true }, 'banner', [{ text: 'kept' }], third);
    await has(hubs[0], 1);
    await third.kill();
    assert.equal(only(await KINDS['/ws'](t, hubs[0], 'gil')).length, 1);
    await redis.kill();
    await redis.restart();
    await until(async () => (await hubs[0].metric('peal_bus_up')) === 1, 'it is back');
    const fourth = await begin(startHub(options));
    await has(fourth, 1);
    // A shard that has just heard of Redis may not have read it yet: it tells who came before as soon as it has.
    for (const events of [await KINDS['socket.io-client'](t, fourth, 'hal'), await KINDS['/ws'](t, hubs[0], 'ida')]) {
      await until(() => only(events).length === 1, 'what Redis kept is told');
    }
    await keep({ all: true }, 'banner', null, fourth);
    await Promise.all([...hubs, fourth].map((hub) => has(hub, 0)));
  });

  test('what Redis could not keep is kept when it is back, and told once', async (t) => {
    const here = await KINDS['/ws'](t, hubs[0], 'jon');
    const there = await KINDS['/ws'](t, hubs[1], 'kim');
    await redis.kill();
    await until(async () => (await hubs[0].metric('peal_bus_up')) === 0, 'Redis is away');
    await keep({ all: true }, 'banner', [{ text: 'late' }]);
    await until(() => only(here).length === 1, 'this node is told at once');
    assert.equal(only(there).length, 0);
    await redis.restart();
    await until(() => only(there).length === 1, 'the other node is told');
    await Promise.all(hubs.map((hub) => has(hub, 1)));
    assert.equal(only(here).length, 1);
    assert.equal(only(await KINDS['/ws'](t, hubs[1], 'lou')).length, 1);
    await keep({ all: true }, 'banner', null);
    await Promise.all(hubs.map((hub) => has(hub, 0)));
    assert.equal(only(there).length, 2);
  });
});

test('a room says how it is, over the cluster', async (t) => {
  const room = async (name, hub) => {
    const { status, body } = await hub.api('GET', `/api/v1/rooms/${encodeURIComponent(name)}`);
    assert.equal(status, 200);
    return body;
  };
  await until(async () => (await room('public:s', hubs[0])).complete, 'all nodes answer'); // who was killed is forgotten
  const nobody = { members: 0, connections: 0, nodes: 0, offset: null, retained: [], complete: true };
  assert.deepEqual(await room('public:s', hubs[0]), nobody);
  await keep({ rooms: ['public:s', 'chat:s'] }, 'one', [1]);
  await keep({ rooms: ['public:s'] }, 'two', [2]);
  await has(hubs[1], 3);
  for (const hub of [...hubs, hubs[1]]) await KINDS['/ws'](t, hub, 'ola', ['public:s', 'chat:s']);
  await KINDS['/ws'](t, hubs[1], 'pam', ['public:s']);
  for (const hub of hubs) {
    const told = { members: 2, connections: 4, nodes: 2, offset: null, retained: ['one', 'two'], complete: true };
    assert.deepEqual(await room('public:s', hub), told);
    const { epoch, offset, ...chat } = await room('chat:s', hub);
    assert.deepEqual([typeof epoch, typeof offset], ['string', 'string']);
    assert.deepEqual(chat, { members: 1, connections: 3, nodes: 2, retained: ['one'], complete: true });
  }
  await keep({ rooms: ['public:s', 'chat:s'] }, 'one', null);
  await keep({ rooms: ['public:s'] }, 'two', null);
  await Promise.all(hubs.map((hub) => has(hub, 0)));
});

test('a value that is shown in a room', async (t) => {
  const value = (method, path, body, hub = hubs[0]) => hub.api(method, `/api/v1/values/${path}`, body, { authorization: 'Bearer values-0123456789abcdef' });
  const put = async (body, hub) => {
    const answer = await value('PUT', 'dash', body, hub);
    assert.equal(answer.status, 200, JSON.stringify(answer.body));
    return answer.body;
  };
  const there = await KINDS['socket.io-client'](t, hubs[1], 'quy', ['public:v']);
  const { version, expiresAt } = await put({ value: { a: 1 }, room: 'public:v', tags: ['t'] });
  await until(() => only(there, 'value').length === 1, 'it is told');
  assert.deepEqual(only(there, 'value')[0], ['value', { key: 'dash', value: { a: 1 }, version, expiresAt }]);
  await has(hubs[1], 1);
  const later = await KINDS['/ws'](t, hubs[1], 'rob', ['public:v']);
  assert.deepEqual(only(later, 'value'), [['value', { key: 'dash', value: { a: 1 }, version, expiresAt }, { _peal: { retained: true, room: 'public:v' } }]]);
  assert.equal((await value('POST', 'invalidate', { tags: ['t'] }, hubs[1])).body.invalidated, 1);
  await until(() => only(there, 'value').length === 2, 'and of its end');
  assert.deepEqual(only(there, 'value')[1], ['value', { key: 'dash', value: null }]);
  await Promise.all(hubs.map((hub) => has(hub, 0)));
  assert.equal(only(await KINDS['/ws'](t, hubs[0], 'sue', ['public:v']), 'value').length, 0);
  await put({ value: 'x'.repeat(5000), room: 'public:v' });
  await until(() => only(there, 'value').at(-1)[1].value?.length === 5000, 'a value that lies packed');
  assert.equal((await value('DELETE', 'dash')).status, 204);
  await Promise.all(hubs.map((hub) => has(hub, 0)));
  const bare = await value('PUT', 'dash', { value: 1, room: 'bare:v' });
  assert.deepEqual([bare.status, bare.body.error.field], [422, 'room']);
  const large = await value('PUT', 'dash', { value: 'x'.repeat(40_000), room: 'public:v' });
  assert.deepEqual([large.status, large.body.error.field], [413, 'value']);
});

test('without Redis the node keeps it', async (t) => {
  const alone = await begin(startHub({ config: CONFIG }));
  await keep({ all: true }, 'banner', [1], alone);
  await has(alone, 1);
  assert.equal(only(await KINDS['/ws'](t, alone, 'mia')).length, 1);
  await keep({ all: true }, 'banner', null, alone);
  await has(alone, 0);
  assert.equal(only(await KINDS['/ws'](t, alone, 'ned')).length, 0);
});
