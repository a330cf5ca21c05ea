// SPDX-License-Identifier: Apache-2.0
// A stock Node server with the classic Redis adapter and hubs, in one cluster: each sees the clients of
// the other, broadcasts to them, moves them between rooms and asks about them.
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { after, afterEach, before, describe, test } from 'node:test';
import { encode } from '@msgpack/msgpack';
import { createAdapter, createShardedAdapter } from '@socket.io/redis-adapter';
import { Emitter } from '@socket.io/redis-emitter';
import { Server } from 'socket.io';
import { io as connectTo } from 'socket.io-client';
import { startHub } from './support/hub.mjs';
import { startPostgres } from './support/postgres.mjs';
import { startRedis } from './support/redis.mjs';
import { randomSecret } from './support/tokens.mjs';
import { until, within } from './support/wait.mjs';

// Long enough that a request which is not answered fails the test by its own error.
const REQUESTS_MS = 20_000;
const ACKS_MS = 8_000; // the adapter holds the process that long
const ROOMS = 'listen { trusted_proxies = {"127.0.0.1"} }\nroom_type "open" { access = {"any"} presence = off }';

// A Node server with its own connections to Redis; `clients` are closed with it.
async function startPeer(redis) {
  const clients = [redis.client(), redis.client(), redis.client()];
  const http = createServer();
  const io = new Server(http, {
    adapter: createAdapter(clients[0], clients[1], { requestsTimeout: REQUESTS_MS }),
    transports: ['websocket'],
  });
  io.on('connection', (socket) => socket.on('join', (room, done) => done(socket.join(room))));
  await new Promise((resolve) => http.listen(0, '127.0.0.1', resolve));
  return {
    io,
    emitter: new Emitter(clients[2]),
    connect: () => connected(connectTo(`http://127.0.0.1:${http.address().port}`, {
      forceNew: true, reconnection: false, transports: ['websocket'],
    })),
    stop: async () => {
      await io.close();
      for (const client of clients) client.disconnect();
    },
  };
}

// The events of a socket, kept.
async function connected(socket) {
  const events = [];
  socket.onAny((...args) => events.push(args));
  const ended = new Promise((resolve) => socket.once('disconnect', resolve));
  if (!socket.connected) await within(new Promise((resolve, reject) => {
    socket.once('connect', resolve);
    socket.once('connect_error', reject);
  }), 'a client connects');
  return {
    socket,
    events,
    ended,
    count: (name) => events.filter(([event]) => event === name).length,
    next: (name) => until(() => events.find(([event]) => event === name)?.slice(1), name),
    request: (...args) => socket.timeout(30_000).emitWithAck(...args),
    close: () => socket.close(),
  };
}

async function onHub(hub, user, options) {
  const client = await connected(hub.socketIo(user, { reconnection: false, ...options }));
  await client.next('hub:ready');
  return client;
}

describe('a Node server and a hub', () => {
  let redis;
  let hub;
  let peer;
  before(async () => {
    redis = await startRedis();
    hub = await startHub({ redis, config: ROOMS });
    peer = await startPeer(redis);
    await until(async () => (await peer.io.of('/').adapter.serverCount()) === 2, 'they count each other');
  });
  after(async () => {
    await peer?.stop();
    await hub?.stop();
    await redis?.stop();
  });

  // Who was there in one test is not there in the next.
  const clients = [];
  const join = async (opening) => {
    clients.push(await opening);
    return clients.at(-1);
  };
  const nobody = () =>
    until(async () => (await peer.io.fetchSockets()).length === 0, 'everyone has gone');
  afterEach(async () => {
    for (const client of clients.splice(0)) client.close();
    await nobody();
  });

  const inRoom = (room, id) =>
    until(async () => (await peer.io.in(room).fetchSockets()).some((socket) => socket.id === id), `${id} in ${room}`);

  test('events go both ways, once', async () => {
    const [ours, theirs] = [await join(onHub(hub, 'anna')), await join(peer.connect())];
    await ours.request('join_room', 'open:1');
    await theirs.request('join', 'open:1');
    await theirs.request('join', 'open:2');
    peer.io.to('open:1').emit('update', 1, 'two', { three: [3] }, null);
    assert.deepEqual(await ours.next('update'), [1, 'two', { three: [3] }, null]);
    await theirs.next('update');
    peer.io.to(['open:1', 'open:2']).emit('both', Buffer.from([1, 2, 3]));
    assert.deepEqual([...(await ours.next('both'))[0]], [1, 2, 3]);
    peer.io.except('open:1').emit('others');
    peer.io.to('user:anna').emit('private', 1);
    await ours.next('private');
    await ours.request('send_message', { roomId: 'open:1', message: 'from a client of the hub' });
    assert.equal((await theirs.next('new_message'))[0].message, 'from a client of the hub');
    const post = { event: 'posted', args: [{ a: 1 }], to: { rooms: ['open:1', 'open:2'] } };
    assert.equal((await hub.api('POST', '/api/v1/events', post)).status, 202);
    assert.deepEqual(await theirs.next('posted'), [{ a: 1 }]);
    await ours.next('posted');
    peer.io.emit('end');
    for (const client of [ours, theirs]) {
      await client.next('end');
      for (const name of ['update', 'both', 'new_message', 'posted']) {
        assert.equal(client.count(name), 1, name);
      }
    }
    assert.deepEqual([ours.count('others'), theirs.count('others')], [0, 0]);
  });

  test('fetchSockets sees the clients of the hub, and no token', async () => {
    const claims = { name: 'Ben B.', role: 'admin' };
    const extraHeaders = { 'x-forwarded-for': '198.51.100.1, 203.0.113.9' };
    const ours = await join(onHub(hub, 'ben', { claims, auth: { colour: 'red' }, extraHeaders }));
    const theirs = await join(peer.connect());
    await ours.request('join_room', 'open:f');
    const found = await peer.io.in('open:f').fetchSockets();
    assert.deepEqual(found.map(({ id }) => id), [ours.socket.id]);
    assert.deepEqual([...found[0].rooms].sort(), [ours.socket.id, 'open:f', 'user:ben'].sort());
    assert.deepEqual(found[0].data, { userId: 'ben', userName: 'Ben B.', role: 'admin' });
    assert.equal(found[0].handshake.auth.token, undefined);
    const { time, issued, address, xdomain, secure, url, query } = found[0].handshake;
    assert.deepEqual({ address, xdomain, secure, url }, {
      address: '203.0.113.9', xdomain: false, secure: false, url: '/socket.io/?EIO=4&transport=websocket',
    });
    assert.deepEqual(query, { EIO: '4', transport: 'websocket' });
    assert.equal(Math.floor(Date.parse(time) / 1000), Math.floor(issued / 1000));
    assert.ok(Math.abs(Date.now() - issued) < 3_600_000, `${issued}`);
    assert.equal(JSON.stringify(found[0].handshake).includes(ours.socket.auth.token), false);
    const all = (await peer.io.fetchSockets()).map(({ id }) => id);
    assert.deepEqual(all.sort(), [ours.socket.id, theirs.socket.id].sort());
    assert.deepEqual((await peer.io.except('open:f').fetchSockets()).map(({ id }) => id), [theirs.socket.id]);
    assert.deepEqual((await peer.io.in('user:ben').fetchSockets()).length, 1);
    assert.deepEqual((await peer.io.in(['open:f', 'user:ben', ours.socket.id]).fetchSockets()).length, 1);
    assert.deepEqual(await peer.io.in('open:none').fetchSockets(), []);
    const rooms = await peer.io.of('/').adapter.allRooms();
    for (const room of ['open:f', 'user:ben', ours.socket.id, theirs.socket.id]) assert.ok(rooms.has(room), room);
    found[0].emit('to you', 1);
    assert.deepEqual(await ours.next('to you'), [1]);
  });

  test('socketsJoin, socketsLeave and disconnectSockets act on the clients of the hub', async () => {
    const [ours, other, theirs] = [await join(onHub(hub, 'carl')), await join(onHub(hub, 'dora')), await join(peer.connect())];
    const polling = await join(onHub(hub, 'erna', { transports: ['polling'] }));
    await ours.request('join_room', 'open:a');
    peer.io.in('open:a').socketsJoin(['open:b', 'of any kind', 'user:dora', 'bad/name']);
    await inRoom('open:b', ours.socket.id);
    await inRoom('of any kind', ours.socket.id);
    const [carl] = await peer.io.in('user:carl').fetchSockets();
    assert.deepEqual([...carl.rooms].sort(), [carl.id, 'of any kind', 'open:a', 'open:b', 'user:carl'].sort());
    assert.deepEqual((await peer.io.in('open:b').fetchSockets()).length, 1);
    peer.io.to('open:b').emit('in b');
    await ours.next('in b');
    await ours.request('send_message', { roomId: 'of any kind', message: 'a member like any' });
    await ours.next('new_message');
    peer.io.except('user:dora').socketsLeave('open:b');
    await until(async () => (await peer.io.in('open:b').fetchSockets()).length === 0, 'nobody in b');
    carl.leave('open:a');
    await until(async () => (await peer.io.in('open:a').fetchSockets()).length === 0, 'nobody in a');
    assert.equal((await ours.request('send_message', { roomId: 'open:a', message: 'x' })).error, 'forbidden');
    peer.io.in('user:dora').disconnectSockets();
    assert.equal(await within(other.ended, 'dora is sent away'), 'io server disconnect');
    peer.io.in('of any kind').disconnectSockets(true);
    assert.equal(await within(ours.ended, 'carl is sent away'), 'io server disconnect');
    peer.io.in('user:erna').disconnectSockets(true);
    assert.equal(await within(polling.ended, 'erna is sent away'), 'io server disconnect');
    assert.deepEqual((await peer.io.fetchSockets()).map(({ id }) => id), [theirs.socket.id]);
  });

  test('serverSideEmit has an answer of every server', async () => {
    peer.io.serverSideEmit('without an answer', 1);
    assert.deepEqual(await within(peer.io.serverSideEmitWithAck('question', 1), 'an answer'), [null]);
  });

  test('acks of the clients of both come together', async () => {
    const polling = { transports: ['polling'] };
    const [first, second] = [await join(onHub(hub, 'emil')), await join(onHub(hub, 'frida', polling))];
    const [theirs, plain] = [await join(peer.connect()), await join(hub.plain('greta'))];
    for (const [i, client] of [first, second, theirs].entries()) {
      client.socket.on('question', (asked, answer) => answer({ asked, i, bin: Buffer.from([i]) }));
    }
    const answers = await peer.io.timeout(ACKS_MS).emitWithAck('question', 'how?');
    answers.sort((a, b) => a.i - b.i);
    assert.deepEqual(answers.map(({ asked, i }) => [asked, i]), [['how?', 0], ['how?', 1], ['how?', 2]]);
    answers.forEach(({ bin }, i) => assert.deepEqual([...bin], [i]));
    assert.deepEqual((await plain.next('question')), 'how?');
    second.socket.off('question');
    second.socket.on('question', (asked, answer) => answer());
    const some = await peer.io.in(['user:emil', 'user:frida']).timeout(ACKS_MS).emitWithAck('question', 2);
    assert.equal(some.length, 2);
    assert.ok(some.includes(null) && some.some((answer) => answer?.asked === 2));
    const [emil] = await peer.io.in('user:emil').fetchSockets();
    assert.equal((await emil.timeout(ACKS_MS).emitWithAck('question', 3)).asked, 3);
    assert.deepEqual(await peer.io.in('open:nobody').timeout(ACKS_MS).emitWithAck('question', 4), []);
  });

  test('a stock emitter moves and disconnects clients', async () => {
    const ours = await join(onHub(hub, 'hans'));
    peer.emitter.in('user:hans').socketsJoin(['open:x', 'open:y']);
    await inRoom('open:x', ours.socket.id);
    await inRoom('open:y', ours.socket.id);
    peer.emitter.to(['open:x', 'open:y']).emit('twice?');
    await ours.next('twice?');
    peer.emitter.in('open:x').except('open:none').socketsLeave('open:y');
    await until(async () => (await peer.io.in('open:y').fetchSockets()).length === 0, 'nobody in y');
    peer.emitter.serverSideEmit('hello', 1);
    peer.emitter.to('open:x').emit('end');
    await ours.next('end');
    assert.equal(ours.count('twice?'), 1);
    peer.emitter.in('open:x').disconnectSockets(true);
    assert.equal(await within(ours.ended, 'hans is sent away'), 'io server disconnect');
  });
});

test('what is no request is refused and counted, and the next is answered', async () => {
  const redis = await startRedis();
  const hub = await startHub({ redis, config: 'bus { answer_bytes = 1KiB }' });
  try {
    const [bus, listener] = [redis.client(), redis.client()];
    const answers = [];
    listener.on('message', (channel, text) => answers.push(JSON.parse(text)));
    await listener.subscribe('socket.io-response#/#');
    const ask = (text) => bus.publish('socket.io-request#/#', text);
    const bad = ['{', '{}', '[]', '', 'x', '{"type":5}', '{"type":99,"requestId":"a"}', '{"type":5,"requestId":"a"}',
      '{"type":4}', '{"type":4,"opts":{"rooms":[null]}}', '{"type":2,"opts":7,"rooms":["a"]}',
      `{"type":1,"requestId":"${'x'.repeat(200)}"}`];
    for (const text of bad) assert.equal(await ask(text), 1);
    await ask('{"type":0,"requestId":"first","rooms":[]}');
    await until(() => answers.length > 0, 'an answer');
    assert.deepEqual(answers, [{ requestId: 'first', sockets: [] }]);
    assert.equal(await hub.metric('peal_bus_requests_refused_total'), bad.length);
    for (let i = 0; i < 10; i++) await hub.plain(`user-${i}`);
    await ask('{"type":5,"requestId":"large","opts":{"rooms":[]}}');
    await ask('{"type":0,"requestId":"small"}');
    await until(() => answers.length > 1, 'the next answer');
    assert.equal(answers[1].requestId, 'small');
    assert.equal(answers[1].sockets.length, 10);
    assert.equal(await hub.metric('peal_bus_requests_refused_total'), bad.length + 1);
  } finally {
    await hub.stop();
    await redis.stop();
  }
});

// What the PHP, Python, Ruby and .NET emitters do: a message for each room, with all rooms in each.
test('an emitter that publishes once for each room reaches a client once', async () => {
  const redis = await startRedis();
  const hub = await startHub({ redis, config: ROOMS });
  try {
    const [client, other] = [await onHub(hub, 'anna'), await onHub(hub, 'ben')];
    await client.request('join_room', 'open:1');
    await client.request('join_room', 'open:2');
    await other.request('join_room', 'open:2');
    const bus = redis.client();
    const rooms = ['open:none', 'open:1', 'open:2'];
    for (const room of rooms) {
      const message = ['emitter', { type: 2, data: ['update', room], nsp: '/' }, { rooms, flags: '' }];
      await bus.publish(`socket.io#/#${room}#`, Buffer.from(encode(message)));
    }
    await bus.publish('socket.io#/#', Buffer.from(encode(['emitter', { type: 2, data: ['end'] }, null])));
    for (const one of [client, other]) {
      await one.next('end');
      assert.deepEqual(one.events.filter(([name]) => name === 'update'), [['update', 'open:1']]);
    }
  } finally {
    await hub.stop();
    await redis.stop();
  }
});

// Two equal events may be meant: they are two, though each comes once for every room.
test('two equal events of such an emitter are two', async () => {
  const redis = await startRedis();
  const hub = await startHub({ redis, config: ROOMS });
  try {
    const client = await onHub(hub, 'anna');
    for (const room of ['open:1', 'open:2']) await client.request('join_room', room);
    const bus = redis.client();
    const rooms = ['open:1', 'open:2'];
    const payload = Buffer.from(encode(['emitter', { type: 2, data: ['again', 1], nsp: '/' }, { rooms, flags: {} }]));
    for (let emit = 0; emit < 2; emit++) {
      for (const room of rooms) await bus.publish(`socket.io#/#${room}#`, payload);
    }
    await bus.publish('socket.io#/#', Buffer.from(encode(['emitter', { type: 2, data: ['end'] }, null])));
    await client.next('end');
    assert.deepEqual(client.events.filter(([name]) => name === 'again'), [['again', 1], ['again', 1]]);
  } finally {
    await hub.stop();
    await redis.stop();
  }
});

// Servers with another adapter count the subscribers of this channel, and wait for each to answer.
test('a hub is not counted on the channel that other adapters ask on', async () => {
  const redis = await startRedis();
  const hub = await startHub({ redis, config: ROOMS });
  try {
    const client = await onHub(hub, 'anna');
    const bus = redis.client();
    await bus.publish('socket.io#/#', Buffer.from(encode(['emitter', { type: 2, data: ['end'] }, null])));
    await client.next('end'); // it hears
    assert.deepEqual(await bus.call('PUBSUB', 'NUMSUB', 'socket.io#/#', 'socket.io-request#/#'), [
      'socket.io#/#', 0, 'socket.io-request#/#', 1,
    ]);
  } finally {
    await hub.stop();
    await redis.stop();
  }
});

test('a server with the sharded adapter on the same Redis is named, at start and when Redis is back', { timeout: 60_000 }, async () => {
  const redis = await startRedis();
  const bus = redis.client();
  const clients = [redis.client(), redis.client()];
  const sharded = (key) => new Server(createServer(), {
    adapter: createShardedAdapter(clients[0], clients[1], { channelPrefix: key }),
  });
  // A key whose letters mean something in patterns.
  const key = 'app[1]*';
  const hubs = [];
  const start = async (name) => {
    hubs.push(await startHub({ redis, args: ['--bus-socketio-key', name, '--bus-prefix', `p${hubs.length}`] }));
    return hubs.at(-1);
  };
  const servers = [sharded('app1x')];
  try {
    await until(async () => (await bus.call('PUBSUB', 'SHARDCHANNELS')).includes('app1x#/#'), 'it is there');
    const before = await start(key);
    servers.push(sharded(key));
    await until(async () => (await bus.call('PUBSUB', 'SHARDCHANNELS')).includes(`${key}#/#`), 'it is there');
    const after = await start(key);
    await after.logged(/ warn BUS-SHARDED .*createAdapter.* channel="?app\[1\]\*#\/#/);
    assert.equal(before.lines('BUS-SHARDED'), 0);
    const links = (await bus.client('LIST')).split('\n').filter((line) => / name=peal-roster /.test(line));
    assert.equal(links.length, 2);
    for (const link of links) await bus.client('KILL', 'ID', /id=(\d+)/.exec(link)[1]);
    await before.loggedTimes('BUS-SHARDED', 1);
    await after.loggedTimes('BUS-SHARDED', 2);
  } finally {
    for (const server of servers) await server.close();
    for (const client of clients) client.disconnect();
    for (const hub of hubs) await hub.stop();
    await redis.stop();
  }
});

test('what a backend asks one hub by HTTP happens on every node', { timeout: 120_000 }, async () => {
  const [redis, postgres] = await Promise.all([startRedis(), startPostgres()]);
  const secret = randomSecret();
  const config = `${ROOMS} namespace "/live" { access = {"any"} }
    api_key "admin" { key = "admin-0123456789abc" scopes = {admin, publish} }`;
  const start = () => startHub({ redis, postgres, secret, config });
  const hubs = await Promise.all([start(), start()]);
  const peer = await startPeer(redis);
  const post = (path, body) =>
    hubs[0].api('POST', path, body, { authorization: 'Bearer admin-0123456789abc' });
  try {
    await until(async () => (await peer.io.of('/').adapter.serverCount()) === 3, 'they count each other');
    const [here, there] = [await onHub(hubs[0], 'anna'), await onHub(hubs[1], 'anna')];
    const live = await connected(hubs[1].socketIo('anna', { nsp: '/live', reconnection: false }));
    const plain = await hubs[1].plain('anna');
    const ben = await onHub(hubs[1], 'ben');
    const onNode = await peer.connect();
    await onNode.request('join', 'user:anna');
    const count = async (room) => (await peer.io.in(room).fetchSockets()).length;
    assert.equal(await count('user:anna'), 4);
    const liveServer = peer.io.of('/live');
    await until(async () => (await liveServer.adapter.serverCount()) === 3, 'the namespace is there');
    assert.deepEqual((await liveServer.fetchSockets()).map(({ id }) => id), [live.socket.id]);
    liveServer.emit('for the namespace', 1);
    assert.deepEqual(await live.next('for the namespace'), [1]);
    liveServer.in(live.socket.id).socketsJoin('open:live');
    await until(async () => (await liveServer.in('open:live').fetchSockets()).length === 1, 'in a room of it');
    assert.equal(await count('open:live'), 0);
    assert.equal((await post('/api/v1/users/anna/rooms', { join: ['open:1', 'of the backend'] })).status, 202);
    await until(async () => (await count('open:1')) === 4, 'all are in the room');
    await until(async () => (await count('of the backend')) === 4, 'and in the other');
    const to = { rooms: ['of the backend'] };
    assert.equal((await hubs[0].api('POST', '/api/v1/events', { event: 'news', to, args: [1] })).status, 202);
    for (const client of [here, there, plain, onNode]) await client.next('news');
    assert.equal((await post('/api/v1/users/anna/rooms', { leave: ['open:1'] })).status, 202);
    await until(async () => (await count('open:1')) === 0, 'nobody is in the room');
    assert.equal((await post('/api/v1/users/anna/disconnect')).status, 202);
    for (const client of [here, there, live, onNode]) {
      assert.equal(await within(client.ended, 'sent away'), 'io server disconnect');
    }
    assert.equal((await within(plain.closed, 'the plain client is closed')).code, 4403);
    assert.deepEqual(await count('user:anna'), 0);
    assert.equal(ben.socket.connected, true);
    assert.equal(ben.count('news'), 0);
  } finally {
    await peer.stop();
    await Promise.all(hubs.map((hub) => hub.stop()));
    await Promise.all([redis.stop(), postgres.stop()]);
  }
});
