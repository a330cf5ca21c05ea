// SPDX-License-Identifier: Apache-2.0
// The same scenarios with stock Socket.IO clients of several languages and by every transport, on two
// nodes behind a balancer that sends every request to the next. JavaScript always; the others, which
// need a Java machine and packages of their own, where PEAL_FULL asks for them.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { createAdapter } from '@socket.io/redis-adapter';
import { Emitter } from '@socket.io/redis-emitter';
import { Server } from 'socket.io';
import { startBalancer } from './support/balancer.mjs';
import { startEchoHub } from './support/echo_hub.mjs';
import { startHub } from './support/hub.mjs';
import { startPostgres } from './support/postgres.mjs';
import { startRedis } from './support/redis.mjs';
import { FULL } from './support/siege.mjs';
import { StockClient } from './support/stock_client.mjs';
import { randomSecret } from './support/tokens.mjs';
import { until } from './support/wait.mjs';

const CLIENTS = {
  JavaScript: { language: 'javascript', parser: 'json' },
  'JavaScript with MessagePack': { language: 'javascript', parser: 'msgpack' },
  Java: { language: 'java', parser: 'json', heavy: true },
  Python: { language: 'python', parser: 'json', heavy: true },
  'Python with MessagePack': { language: 'python', parser: 'msgpack', heavy: true },
};
const TRANSPORTS = {
  'polling only': ['polling'],
  'WebSocket only': ['websocket'],
  'polling, then WebSocket': ['polling', 'websocket'],
};
const ACK_MS = 8_000; // the adapter holds the process that long
const NODES = 2; // for each parser
const CONFIG = `
  room_type "project" { access = {"any"} }
  namespace "/news" { }
  namespace "/staff" { access = {"role:admin"} }
  events { unknown = relay }
  drain { reconnect = 100ms }
  limits { unauthenticated_per_address = 100000 refusals_per_minute = 100000 }
`;
const ARGUMENTS = ['text', 'caf\u00e9 \u{1f514} "\\ \u2028', 7, -2.5, true, null, [1, ['two', {}]], { a: { b: [null, false] } }];
const BYTES = [Buffer.from([0, 1, 30, 255, 128]), randomBytes(20_000)];

let redis;
let postgres;
let emitter;
let server; // a stock one that listens nowhere; it ends with its connections to Redis
let echo;
const worlds = {}; // by parser: {hubs, balancer}, all on one Redis and one Postgres

async function startWorld(parser, shared) {
  const hubs = [];
  worlds[parser] = { hubs };
  const args = ['--shards', '2', '--socketio-parser', parser];
  while (hubs.length < NODES) hubs.push(await startHub({ ...shared, args }));
  worlds[parser].balancer = await startBalancer(hubs.map((hub) => hub.address), { everyRequest: true });
}

before(async () => {
  [redis, postgres] = await Promise.all([startRedis({ durable: false }), startPostgres()]);
  emitter = new Emitter(redis.client());
  server = new Server({ adapter: createAdapter(redis.client(), redis.client()) });
  const shared = { redis, postgres, config: CONFIG, secret: randomSecret(), apiKey: randomSecret() };
  for (const parser of ['json', 'msgpack']) await startWorld(parser, shared);
  echo = await startEchoHub({ calm: true });
});

after(async () => {
  for (const { hubs, balancer } of Object.values(worlds)) {
    await balancer?.close();
    for (const hub of hubs) await hub.stop();
  }
  await echo?.stop();
  await redis?.stop();
  await postgres?.stop();
});

let serial = 0;
const fresh = (name) => `${name}${(serial += 1)}`;
const post = ({ hubs }, body) => hubs[0].api('POST', '/api/v1/notifications', { type: 'note', ...body });

// The socket uses what it may use; one that changes its transport is asked until it has.
async function settle(socket, ask) {
  const wanted = socket.transports.at(-1);
  await until(async () => {
    await ask();
    return (await socket.transport()) === wanted;
  }, `${wanted} is used`);
}

// A socket of a new user, ready.
async function enter({ client, hubs, balancer, transports }) {
  const user = fresh('user');
  const socket = client.connect(balancer.url, { transports, auth: { token: hubs[0].token(user) } });
  Object.assign(socket, { user, transports });
  await ready(socket, 1);
  return socket;
}

// The `count`th time.
async function ready(socket, count) {
  const readies = () => socket.received('hub:ready').length;
  await until(() => socket.connects === count && readies() === count, `${socket.user} is ready`);
  await settle(socket, () => socket.request('notification:list', { limit: 1 }));
}

const SCENARIOS = {
  async 'a right token opens, a wrong one or none does not'({ client, hubs, balancer, transports }) {
    const user = fresh('user');
    const connect = (auth) => client.connect(balancer.url, { transports, auth });
    const [right, wrong, none] = [{ token: hubs[0].token(user) }, { token: 'wrong' }, {}].map(connect);
    const [{ userId, limits }] = await right.next('hub:ready');
    assert.equal(userId, user);
    assert.equal(limits.messagesPerMinute, 50);
    await until(() => wrong.refusals.length > 0 && none.refusals.length > 0, 'the refusals');
    assert.equal(wrong.refusals[0].message, 'Invalid token');
    assert.equal(none.refusals[0].message, 'Authentication required');
    assert.deepEqual([right.connects, wrong.connects, none.connects], [1, 0, 0]);
  },

  async 'rooms, with acks and without'(context) {
    const [anna, ben] = [await enter(context), await enter(context)];
    const roomId = fresh('project:');
    for (const socket of [anna, ben]) {
      const answer = await socket.request('join_room', { roomId, roomType: 'project' });
      assert.deepEqual(answer, { ok: true, roomId, roomType: 'project' });
      await socket.next('room_joined', (body) => body.roomId === roomId);
    }
    const refusal = { ok: false, error: 'forbidden', message: 'Access denied to room' };
    assert.deepEqual(await anna.request('join_room', 'admin:1'), refusal);
    anna.emit('join_room', 'admin:1');
    const error = { message: 'Access denied to room', code: 'forbidden', event: 'join_room' };
    assert.deepEqual((await anna.next('error'))[0], error);
    const message = ARGUMENTS[1];
    anna.emit('send_message', { roomId, message });
    for (const socket of [anna, ben]) {
      const [body] = await socket.next('new_message');
      assert.deepEqual([body.roomId, body.userId, body.message], [roomId, anna.user, message]);
    }
    assert.equal((await ben.request('leave_room', roomId)).ok, true);
    assert.equal((await anna.request('send_message', { roomId, message: 'alone' })).ok, true);
    await anna.next('new_message', (body) => body.message === 'alone');
    emitter.to(`user:${ben.user}`).emit('end');
    await ben.next('end');
    assert.equal(ben.received('new_message').length, 1);
  },

  async 'events of an emitter, in order'(context) {
    const socket = await enter(context);
    const roomId = fresh('public:');
    assert.equal((await socket.request('join_room', roomId)).ok, true);
    emitter.to(`user:${socket.user}`).emit('update', ...ARGUMENTS);
    assert.deepEqual(await socket.next('update'), ARGUMENTS);
    emitter.to(roomId).emit('bare');
    assert.deepEqual(await socket.next('bare'), []);
    const count = 60; // more than a client takes from one poll
    for (let i = 0; i < count; i++) emitter.to(roomId).emit('step', i);
    await until(() => socket.received('step').length >= count, 'all steps');
    assert.deepEqual(socket.received('step').flat(), Array.from({ length: count }, (_, i) => i));
  },

  async 'binary, down and up'(context) {
    const [anna, ben] = [await enter(context), await enter(context)];
    const roomId = fresh('project:');
    for (const socket of [anna, ben]) assert.equal((await socket.request('join_room', roomId)).ok, true);
    emitter.to(roomId).emit('picture', BYTES[0], { name: 'b', bytes: BYTES[1] }, 'end');
    for (const socket of [anna, ben]) {
      assert.deepEqual(await socket.next('picture'), [BYTES[0], { name: 'b', bytes: BYTES[1] }, 'end']);
    }
    const drawn = [{ roomId, bytes: BYTES[1] }, [BYTES[0]]];
    assert.deepEqual(await anna.ask('draw', ...drawn), [{ ok: true }]);
    assert.deepEqual(await ben.next('draw'), drawn);
    assert.deepEqual(anna.received('draw'), []);
  },

  async 'an ack of the client, to a server'(context) {
    const socket = await enter(context);
    const question = { text: ARGUMENTS[1], bytes: BYTES[1], list: [null, 1] };
    const answers = await server.in(`user:${socket.user}`).timeout(ACK_MS).emitWithAck('question', question);
    assert.deepEqual(answers, [question]);
    assert.deepEqual(await socket.next('question'), [question]);
  },

  async 'the inbox'(context) {
    const socket = await enter(context);
    const { status, body } = await post(context, { user: socket.user, title: 'caf\u00e9', data: { n: [1, null] } });
    assert.equal(status, 201);
    const [item] = await socket.next('notification');
    assert.deepEqual([item.id, item.seq, item.title, item.data], [body.id, 1, 'caf\u00e9', { n: [1, null] }]);
    const { items } = await socket.request('notification:list', {});
    assert.deepEqual(items.map(({ id }) => id), [item.id]);
    assert.equal((await socket.request('notification:read', item.id)).ok, true);
    const [{ unread, ids, state }] = await socket.next('notification:state');
    assert.deepEqual([unread, ids, state], [0, [item.id], 'read']);
  },

  async 'namespaces'(context) {
    const { client, hubs, balancer, transports } = context;
    const socket = await enter(context);
    const token = hubs[0].token(socket.user);
    const connect = (namespace) => client.connect(balancer.url, { namespace, transports, auth: { token } });
    const [news, staff, unknown] = ['/news', '/staff', '/unknown'].map(connect);
    await until(() => news.connects === 1, '/news is open');
    await until(() => staff.refusals.length > 0 && unknown.refusals.length > 0, 'the refusals');
    assert.equal(staff.refusals[0].message, 'Access denied to namespace');
    assert.equal(unknown.refusals[0].message, 'Invalid namespace');
    const room = fresh('public:');
    assert.equal((await news.request('join_room', room)).ok, true);
    assert.equal((await socket.request('join_room', room)).ok, true);
    emitter.of('/news').to(room).emit('headline', 1);
    assert.deepEqual(await news.next('headline'), [1]);
    emitter.to(room).emit('end');
    await socket.next('end');
    assert.deepEqual([socket.received('headline'), news.received('end')], [[], []]);
  },

  async 'a cut connection comes back, and nothing of the inbox is lost'(context) {
    const socket = await enter(context);
    const [{ epoch, rev }] = socket.received('hub:ready')[0];
    context.balancer.cut();
    assert.equal((await post(context, { user: socket.user, title: 'meanwhile' })).status, 201);
    await ready(socket, 2);
    assert.equal(socket.disconnects.length, 1);
    const { items } = await socket.request('notification:sync', { epoch, rev });
    assert.deepEqual(items.map(({ title }) => title), ['meanwhile']);
    await speak(socket);
  },

  async 'a hub that crashes is left'(context) {
    await outlive(context, (hub) => hub.kill());
  },

  async 'a hub that drains is left'(context) {
    const socket = await outlive(context, async ({ server }) => {
      assert.deepEqual(await server.stop('SIGTERM'), { code: 0, signal: null });
    });
    // One that polls may be cut off at another node before it has heard.
    if (!context.transports.includes('polling')) await socket.next('hub:draining');
  },
};

// The client of a hub that `end` ends goes to another. It may meet the first one still, and be cut
// off once more; one that was to change its transport at that moment stays with polling.
async function outlive(context, end) {
  const socket = await enter(context);
  const nodes = () => socket.received('hub:ready').map(([{ node }]) => node);
  const [node] = nodes();
  const hub = context.hubs.find(({ log }) => log.includes(`node=${node}`));
  try {
    await end(hub);
    await until(async () => {
      const isBack = socket.connected && nodes().length === socket.connects;
      return isBack && (await socket.request('notification:list', { limit: 1 })).items;
    }, `${socket.user} is back`);
    assert.ok(socket.connects > 1);
    assert.notEqual(nodes().at(-1), node);
  } finally {
    await hub.restart();
  }
  await speak(socket);
  return socket;
}

// What the hub's clients say to one another, both ways.
async function speak(socket) {
  const roomId = fresh('project:');
  assert.equal((await socket.request('join_room', roomId)).ok, true);
  emitter.to(roomId).emit('hello', roomId);
  await socket.next('hello', (room) => room === roomId);
}

// What only another application on the session layer does: it sends back what it gets, and asks.
const ECHOES = {
  async 'events and acks, text and binary'(context) {
    for (const namespace of ['/', '/custom']) {
      const socket = await meet(context, { namespace, auth: { token: 'T' } });
      assert.deepEqual(await socket.next('auth'), [{ token: 'T' }]);
      const cases = [[], ARGUMENTS, BYTES, [{ deep: [BYTES[0], { bytes: BYTES[1] }] }, null, 'end']];
      for (const [i, args] of cases.entries()) {
        socket.emit('message', ...args);
        await until(() => socket.received('message-back').length > i, 'the message comes back');
        assert.deepEqual(socket.received('message-back')[i], args);
        assert.deepEqual(await socket.ask('message-with-ack', ...args), args);
      }
    }
  },

  async 'the client answers what it is asked'(context) {
    const socket = await meet(context);
    socket.emit('ask', ...ARGUMENTS);
    assert.deepEqual(await socket.next('answer'), ARGUMENTS);
    assert.deepEqual(await socket.next('question'), ARGUMENTS);
  },

  async 'many events at once'(context) {
    const socket = await meet(context);
    socket.emit('burst', 100);
    await until(() => socket.received('one').length === 100, 'all of them');
    assert.deepEqual(socket.received('one').flat(), Array.from({ length: 100 }, (_, i) => i));
  },

  async 'one that is dropped comes back, one that is expelled does not'(context) {
    const [dropped, expelled] = [await meet(context), await meet(context)];
    expelled.emit('expel');
    await until(() => expelled.disconnects.length === 1, 'it is expelled');
    dropped.emit('drop');
    await until(() => dropped.connects === 2, 'it comes back');
    assert.deepEqual([dropped.disconnects.length, expelled.connects], [1, 1]);
  },
};

async function meet({ client, parser, transports }, options) {
  const path = parser === 'msgpack' ? '/msgpack.io/' : '/socket.io/';
  const socket = client.connect(echo.url, { path, transports, ...options });
  socket.transports = transports;
  await until(() => socket.connects === 1, 'the socket connects');
  await settle(socket, () => socket.ask('message-with-ack', 'ready'));
  return socket;
}

for (const [name, { language, parser, heavy }] of Object.entries(CLIENTS)) {
  if (heavy && !FULL) {
    test(name, { skip: 'only with PEAL_FULL=1' }, () => {});
    continue;
  }
  describe(name, () => {
    let client;
    before(() => {
      client = StockClient.start(language, [parser]);
    });
    after(() => client?.stop());

    for (const [how, transports] of Object.entries(TRANSPORTS)) {
      for (const [what, run] of [...Object.entries(SCENARIOS), ...Object.entries(ECHOES)]) {
        test(`${how}: ${what}`, async () => {
          const first = client.sockets.length;
          await run({ client, parser, transports, ...worlds[parser] });
          for (const socket of client.sockets.slice(first)) socket.close();
        });
      }
    }
  });
}

test('they have met every node, request by request', () => {
  for (const { balancer } of Object.values(worlds)) {
    const [least, most] = [Math.min(...balancer.served), Math.max(...balancer.served)];
    assert.ok(least > 100 && most < 2 * least, String(balancer.served));
  }
});
