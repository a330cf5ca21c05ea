// SPDX-License-Identifier: Apache-2.0
// Socket.IO with the MessagePack parser: byte by byte and with the stock client built with
// socket.io-msgpack-parser, against the echo program and a hub with socketio.parser = msgpack.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Emitter } from '@socket.io/redis-emitter';
import { io } from 'socket.io-client';
import parser from 'socket.io-msgpack-parser';
import notepack from 'notepack.io';
import { startEchoHub } from './support/echo_hub.mjs';
import { EnginePeer } from './support/engine_peer.mjs';
import { startHub } from './support/hub.mjs';
import { startLine } from './support/line.mjs';
import { PollPeer } from './support/poll_peer.mjs';
import { startRedis } from './support/redis.mjs';
import { until, within } from './support/wait.mjs';

const ECHO = { path: '/msgpack.io/' };
const TRANSPORTS = { polling: ['polling'], websocket: ['websocket'], 'with an upgrade': ['polling', 'websocket'] };

let echo;
const peers = new Set();

before(async () => {
  echo = await startEchoHub({ calm: true });
});

after(async () => {
  for (const peer of peers) peer.close();
  assert.deepEqual(await echo.stop(), { code: 0, signal: null });
});

const kept = (peer) => {
  peers.add(peer);
  return peer;
};
const hex = (text) => Buffer.from(text.replace(/ /g, ''), 'hex');
const pack = (value) => Buffer.from(notepack.encode(value));
const unpack = (bytes) => notepack.decode(bytes);
const once = (emitter, event) =>
  within(new Promise((resolve) => emitter.once(event, (...args) => resolve(args))), event);

const NO_AUTH = hex('83 a4 74797065 00 a4 64617461 d4 00 00 a3 6e7370 a1 2f');

// Packets as they came and go, whatever carries them.
async function overWebSocket() {
  const peer = kept(await EnginePeer.handshake(echo.url, ECHO));
  return {
    send: (...packets) => peer.send(...packets),
    next: async () => {
      const frame = await peer.next();
      return Buffer.isBuffer(frame) ? frame : { frame };
    },
    assertClosed: () => peer.end(),
  };
}

async function overPolling() {
  const peer = await PollPeer.handshake(echo.url, ECHO);
  const write = (packet) => (Buffer.isBuffer(packet) ? `b${packet.toString('base64')}` : packet);
  return {
    send: (...packets) => peer.post(...packets.map(write)),
    next: async () => {
      const packet = await peer.next();
      return packet[0] === 'b' ? Buffer.from(packet.slice(1), 'base64') : { packet };
    },
    assertClosed: async () => {
      for (;;) {
        const { status } = await peer.get();
        if (status !== 200) {
          assert.equal(status, 400);
          return;
        }
      }
    },
  };
}

for (const [name, open] of [['a WebSocket', overWebSocket], ['polling', overPolling]]) {
  const connect = async () => {
    const peer = await open();
    await peer.send(NO_AUTH);
    await peer.next();
    await peer.next();
    return peer;
  };

  describe(`packets over ${name}`, () => {
    test('CONNECT of the stock client, its answer, and auth', async () => {
      const peer = await open();
      await peer.send(NO_AUTH);
      const reply = await peer.next();
      const { sid } = unpack(reply).data;
      assert.match(sid, /^.{23}$/);
      assert.deepEqual(reply, Buffer.concat([hex('83 a474797065 00 a464617461 81 a3736964 b7'), Buffer.from(sid), hex('a36e7370 a12f')]));
      assert.deepEqual(unpack(await peer.next()), { type: 2, data: ['auth', {}], nsp: '/' });
      await peer.send(pack({ nsp: '/custom', data: { token: '1', deep: [null, 1.5] }, type: 0 }));
      assert.equal(unpack(await peer.next()).nsp, '/custom');
      assert.deepEqual(unpack(await peer.next()), { type: 2, data: ['auth', { token: '1', deep: [null, 1.5] }], nsp: '/custom' });
    });

    test('an event with binary and an id, as captured', async () => {
      const peer = await connect();
      const sent = { type: 2, data: ['message-with-ack', hex('01020304')], options: { compress: true }, id: 12, nsp: '/' };
      await peer.send(pack(sent));
      assert.deepEqual(await peer.next(), hex('84 a474797065 03 a26964 0c a464617461 91 c40401020304 a36e7370 a12f'));
      await peer.send(pack({ type: 2, data: ['message', { a: [hex('05')] }, new Date(1000)], nsp: '/' }));
      const { data } = unpack(await peer.next());
      assert.equal(data[0], 'message-back');
      assert.deepEqual(data[1].a[0], hex('05'));
      assert.equal(data[2], '1970-01-01T00:00:01.000Z');
    });

    test('an unknown namespace is refused, leaving one leaves the others', async () => {
      const peer = await connect();
      await peer.send(pack({ type: 0, nsp: '/random' }));
      assert.deepEqual(unpack(await peer.next()), { type: 4, data: { message: 'Invalid namespace' }, nsp: '/random' });
      await peer.send(pack({ type: 0, nsp: '/custom' }));
      assert.equal(unpack(await peer.next()).type, 0);
      assert.equal(unpack(await peer.next()).data[0], 'auth');
      await peer.send(hex('82 a474797065 01 a36e7370 a12f'), pack({ type: 2, data: ['message', 1], nsp: '/custom' }));
      assert.deepEqual(unpack(await peer.next()), { type: 2, data: ['message-back', 1], nsp: '/custom' });
    });

    test('a question and its answer', async () => {
      const peer = await connect();
      await peer.send(pack({ type: 2, data: ['ask', 'x', 2], nsp: '/' }));
      const question = unpack(await peer.next());
      assert.deepEqual(question, { type: 2, id: question.id, data: ['question', 'x', 2], nsp: '/' });
      await peer.send(pack({ type: 3, id: question.id, data: ['yes'], nsp: '/' }));
      assert.deepEqual(unpack(await peer.next()).data, ['answer', 'yes']);
    });

    test('an expelled socket is told why', async () => {
      const peer = await connect();
      await peer.send(pack({ type: 2, data: ['expel'], nsp: '/' }));
      assert.deepEqual(unpack(await peer.next()).data, ['hub:closing', { code: 4403, reason: 'not allowed' }]);
      assert.deepEqual(await peer.next(), hex('82 a474797065 01 a36e7370 a12f'));
      await peer.send(NO_AUTH);
      assert.deepEqual(unpack(await peer.next()), { type: 4, data: { message: 'not allowed', data: { code: 'forbidden' } }, nsp: '/' });
    });

    const violations = {
      'text of the other parser': '40',
      'a text event': '42["message"]',
      'no map': pack([]),
      'no MessagePack': hex('c1'),
      'half a packet': NO_AUTH.subarray(0, 9),
      'CONNECT twice': NO_AUTH,
      'a type above 4': pack({ type: 5, nsp: '/', data: ['message'] }),
      'CONNECT_ERROR': pack({ type: 4, nsp: '/', data: { message: 'x' } }),
      'no namespace': pack({ type: 2, data: ['message'] }),
      'a namespace that was not joined': pack({ type: 2, data: ['message'], nsp: '/custom' }),
      'an event that is no array': pack({ type: 2, data: {}, nsp: '/' }),
      'an event without a name': pack({ type: 2, data: [], nsp: '/' }),
      'a reserved event': pack({ type: 2, data: ['disconnect'], nsp: '/' }),
      'an id that is none': pack({ type: 2, data: ['message'], id: 'x', nsp: '/' }),
      'an ack without id': pack({ type: 3, data: [], nsp: '/' }),
      'DISCONNECT with data': pack({ type: 1, data: {}, nsp: '/' }),
      'eleven bins': pack({ type: 2, data: ['message', ...Array.from({ length: 11 }, () => hex('00'))], nsp: '/' }),
    };
    for (const [title, packet] of Object.entries(violations)) {
      test(`${title} closes`, async () => {
        const peer = await connect();
        await peer.send(packet);
        await peer.assertClosed();
      });
    }

    test('an event before CONNECT closes', async () => {
      const peer = await open();
      await peer.send(pack({ type: 2, data: ['message'], nsp: '/' }));
      await peer.assertClosed();
    });
  });
}

for (const [name, transports] of Object.entries(TRANSPORTS)) {
  describe(`the stock client, ${name}`, () => {
    const client = (nsp = '/') =>
      kept(io(echo.url + nsp, { ...ECHO, parser, forceNew: true, transports, auth: { token: 'abc', n: [1, null] }, reconnectionDelay: 10, reconnectionDelayMax: 50 }));

    test('talks both ways, with binary in its place', async () => {
      const socket = client();
      assert.deepEqual(await once(socket, 'auth'), [{ token: 'abc', n: [1, null] }]);
      socket.emit('message', 1, 'two', { three: [true, 1.5, -7] }, 'é😀');
      assert.deepEqual(await once(socket, 'message-back'), [1, 'two', { three: [true, 1.5, -7] }, 'é😀']);
      const bytes = Buffer.from([0, 1, 255]);
      const answer = await socket.timeout(30_000).emitWithAck('message-with-ack', { bytes, text: 'x' });
      assert.deepEqual(Buffer.from(answer.bytes), bytes);
      assert.equal(answer.text, 'x');
      socket.on('question', (a, b, reply) => reply(a + b));
      socket.emit('ask', 3, 4);
      assert.deepEqual(await once(socket, 'answer'), [7]);
      if (transports.length === 2) await until(() => socket.io.engine.transport.name === 'websocket', 'the upgrade');
      socket.close();
    });

    test('nothing is lost or out of order', async () => {
      const socket = client();
      const received = [];
      socket.on('message-back', (i, bytes) => received.push([i, bytes[0]]));
      for (let i = 0; i < 200; i += 1) {
        socket.emit('message', i, Buffer.from([i]));
        if (i % 20 === 0) await until(() => received.length >= i - 40, 'an echo');
      }
      await until(() => received.length === 200, 'every echo');
      assert.deepEqual(received, Array.from({ length: 200 }, (_, i) => [i, i]));
      socket.close();
    });

    test('an unknown namespace, and several of them', async () => {
      const [error] = await once(client('/random'), 'connect_error');
      assert.equal(error.message, 'Invalid namespace');
      const root = client();
      const custom = kept(root.io.socket('/custom', { auth: {} }));
      await once(custom, 'auth');
      custom.emit('message', 'c');
      assert.deepEqual(await once(custom, 'message-back'), ['c']);
      root.close();
      custom.close();
    });

    test('is sent away for good', async () => {
      const socket = client();
      await once(socket, 'auth');
      const closing = once(socket, 'hub:closing');
      const reason = once(socket, 'disconnect');
      socket.emit('expel');
      assert.deepEqual(await closing, [{ code: 4403, reason: 'not allowed' }]);
      assert.equal((await reason)[0], 'io server disconnect');
      socket.close();
    });
  });
}

describe('the hub', () => {
  let redis;
  let hub;

  before(async () => {
    redis = await startRedis({ durable: false });
    hub = await startHub({ redis, config: 'shards = 2\nsocketio { parser = msgpack }\nnamespace "/kept" { recovery = on }\n' });
  });
  after(async () => {
    await hub.stop();
    await redis.stop();
  });

  test('a dropped client gets back what it missed, binary too', async () => {
    const line = await startLine(hub.address);
    const got = [];
    const socket = kept(io(`${line.url}/kept`, {
      parser, forceNew: true, transports: ['websocket'], reconnectionDelay: 1, reconnectionDelayMax: 50, auth: { token: hub.token('dropped') },
    }));
    socket.on('blob', (body) => got.push([body.n, [...body.bytes]]));
    await once(socket, 'connect');
    const emitter = new Emitter(redis.client(), {}, '/kept');
    const emit = (n) => emitter.emit('blob', { n, bytes: Buffer.from([n, 255]) });
    await until(() => { // until the channel of the namespace is subscribed
      if (got.length === 0) emit(0);
      return got.length > 0;
    }, 'the first event');
    const before = got.length;
    socket.io.reconnection(false);
    line.cut();
    await until(() => socket.disconnected, 'the client is gone');
    for (const n of [1, 2, 3]) emit(n);
    socket.io.reconnection(true);
    const back = once(socket, 'connect');
    socket.connect();
    await back;
    assert.equal(socket.recovered, true);
    await until(() => got.some(([n]) => n === 3), 'what was missed');
    assert.deepEqual(got.slice(before).filter(([n]) => n > 0), [1, 2, 3].map((n) => [n, [n, 255]]));
    socket.close();
    await line.close();
  });

  test('rooms, notifications and emitters reach every transport; a wrong token and draining are told', async () => {
    const bus = redis.client();
    const members = await Promise.all(
      Object.values(TRANSPORTS).flatMap((transports, i) => [0, 1].map(async (n) => {
        const socket = hub.socketIo(`user-${i}-${n}`, { parser, transports, reconnection: false });
        socket.kept = [];
        socket.onAny((...args) => socket.kept.push(args));
        socket.got = (event) => socket.kept.filter(([name]) => name === event);
        await until(() => socket.got('hub:ready').length === 1, 'hub:ready');
        assert.equal((await socket.timeout(30_000).emitWithAck('join_room', 'public:m')).ok, true);
        return socket;
      })),
    );
    const [first] = members;
    assert.equal((await first.timeout(30_000).emitWithAck('send_message', { roomId: 'public:m', message: 'hi' })).ok, true);
    const emitter = new Emitter(bus);
    const when = new Date(86_400_000);
    const gone = members.map((socket) => once(socket, 'disconnect'));
    emitter.to('public:m').emit('blob', { bytes: Buffer.from([1, 2, 3]), when, nothing: null, big: 2 ** 40 });
    const posted = await hub.api('POST', '/api/v1/notifications', { users: ['user-0-0', 'user-1-1', 'user-2-0'], type: 't', title: 'T', message: 'm' });
    assert.deepEqual(posted.body.results.map((one) => one.status), [201, 201, 201]);
    for (const socket of members) {
      await until(() => socket.got('blob').length === 1, 'the event of the emitter');
      const [, body] = socket.got('blob')[0];
      assert.deepEqual(Buffer.from(body.bytes), Buffer.from([1, 2, 3]));
      assert.deepEqual(body.when, when);
      assert.deepEqual([body.nothing, body.big], [null, 2 ** 40]);
      if (socket !== first) assert.equal(socket.kept.filter(([, one]) => one?.message === 'hi').length, 1);
    }
    for (const index of [0, 3, 4]) await until(() => members[index].got('notification').length === 1, 'the notification');
    const wrong = hub.socketIo('x', { parser, auth: { token: 'no' }, reconnection: false });
    const [error] = await once(wrong, 'connect_error');
    assert.equal(error.message, 'Invalid token');
    hub.server.signal('SIGTERM');
    await Promise.all(gone);
    // One that polls may have no GET there in time.
    for (const socket of members.slice(2)) assert.ok(socket.got('hub:draining')[0][1].reconnectIn >= 0);
    assert.deepEqual(await within(hub.server.ended, 'the hub ends'), { code: 0, signal: null });
  });
});
