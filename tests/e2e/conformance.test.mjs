// SPDX-License-Identifier: Apache-2.0
// Engine.IO 4 and Socket.IO 5 over WebSocket, byte by byte and with the stock client, against the
// session layer with an echo on top (tests/conformance/echo_hub.c).
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { io } from 'socket.io-client';
import WebSocket from 'ws';
import { connectAs } from './support/certs.mjs';
import { startEchoHub } from './support/echo_hub.mjs';
import { EnginePeer } from './support/engine_peer.mjs';
import { PlainClient } from './support/plain_client.mjs';
import { BEFORE_CONNECT, VIOLATIONS } from './support/violations.mjs';
import { until, within } from './support/wait.mjs';

let calm; // with the deadlines of the stock server
let brisk; // with short ones, which a busy machine may miss: for the tests of deadlines
let url;
const peers = new Set();

before(async () => {
  [calm, brisk] = await Promise.all([startEchoHub({ calm: true }), startEchoHub()]);
  url = calm.url;
});

after(async () => {
  for (const peer of peers) peer.close();
  for (const server of [calm, brisk]) assert.deepEqual(await server.stop(), { code: 0, signal: null });
});

// A test of deadlines: against the program where they are short.
const briskly = (name, body) => test(name, async (context) => {
  url = brisk.url;
  try {
    await body(context);
  } finally {
    url = calm.url;
  }
});

const kept = (peer) => {
  peers.add(peer);
  return peer;
};
const handshake = async (options) => kept(await EnginePeer.handshake(url, options));
const connect = async (options) => kept(await EnginePeer.connect(url, options));
const client = (nsp = '/', options = {}) =>
  kept(io(url + nsp, { forceNew: true, transports: ['websocket'], ...options }));
const once = (emitter, event) =>
  within(new Promise((resolve) => emitter.once(event, (...args) => resolve(args))), event);

describe('handshake', () => {
  briskly('the open packet has exactly the five keys, in order', async () => {
    const peer = await handshake();
    assert.deepEqual(Object.keys(peer.handshake), ['sid', 'upgrades', 'pingInterval', 'pingTimeout', 'maxPayload']);
    assert.match(peer.handshake.sid, /^[A-Za-z0-9_-]{26}$/);
    assert.deepEqual({ ...peer.handshake, sid: 0 }, { sid: 0, upgrades: [], pingInterval: 300, pingTimeout: 200, maxPayload: 1000000 });
  });

  test('the path is a prefix with its slash', async () => {
    kept(await EnginePeer.handshake(url, { path: '/socket.io/anything' }));
    await assert.rejects(EnginePeer.open(url, { path: '/socket.io' }), /404/);
  });

  test('requests without upgrade are refused with code and message', async () => {
    const cases = [
      ['GET', '', 0, 'Transport unknown'],
      ['GET', '?EIO=4', 0, 'Transport unknown'],
      ['GET', '?EIO=4&transport=abc', 0, 'Transport unknown'],
      ['GET', '?EIO=4&transport=webtransport', 0, 'Transport unknown'],
      ['GET', '?EIO=4&transport=websocket&sid=abc', 1, 'Session ID unknown'],
      ['POST', '?EIO=4&transport=websocket', 2, 'Bad handshake method'],
      ['PUT', '?EIO=4&transport=websocket', 2, 'Bad handshake method'],
      ['GET', '?EIO=4&transport=websocket', 3, 'Bad request'],
    ];
    for (const [method, query, code, message] of cases) {
      const answer = await fetch(`${url}/socket.io/${query}`, { method });
      assert.equal(answer.status, 400, query);
      assert.match(answer.headers.get('content-type'), /^application\/json/);
      assert.deepEqual(await answer.json(), { code, message }, query);
    }
  });

  test('upgrades are refused before the 101', async () => {
    for (const query of ['transport=websocket', 'EIO=abc&transport=websocket', 'EIO=3&transport=websocket', 'EIO=4', 'EIO=4&transport=abc', 'EIO=4&transport=websocket&sid=abc']) {
      await assert.rejects(EnginePeer.open(url, { query }), /400/, query);
    }
  });

  test('compression is not negotiated', async () => {
    const peer = await handshake({ perMessageDeflate: true });
    assert.equal(peer.socket.extensions, '');
  });
});

describe('heartbeat', () => {
  briskly('the server pings, and goes on as long as it is answered', async () => {
    const peer = await connect({ pong: false });
    for (let round = 0; round < 3; round += 1) {
      assert.equal(await peer.next(), '2');
      peer.send('3');
    }
    assert.equal(peer.socket.readyState, WebSocket.OPEN);
  });

  briskly('without a pong it is closed', async () => {
    const peer = await connect({ pong: false });
    assert.equal(await peer.next(), '2');
    await peer.end();
  });

  briskly('another packet is no pong', async () => {
    const peer = await connect({ pong: false });
    assert.equal(await peer.next(), '2');
    peer.send('42["message"]');
    assert.equal(await peer.next(), '42["message-back"]');
    await peer.end();
  });

  briskly('nor are many', async () => {
    const peer = await connect({ pong: false });
    assert.equal(await peer.next(), '2');
    for (let last = ''; typeof last === 'string'; last = await peer.next()) peer.send('42["message"]');
  });

  briskly('who joins nothing is closed', async () => {
    const peer = await handshake();
    await peer.end();
  });
});

describe('Engine.IO packets', () => {
  for (const frame of ['0', '5', '6', '3', '3x']) {
    test(`${JSON.stringify(frame)} is ignored`, async () => {
      const peer = await connect();
      peer.send(frame, '42["message",1]');
      assert.equal(await peer.next(), '42["message-back",1]');
    });
  }
  for (const frame of ['2', '2probe', '1', '7', '9', 'abc', 'bAQIDBA==']) {
    test(`${JSON.stringify(frame)} closes`, async () => {
      const peer = await connect();
      peer.send(frame, '42["message",1]');
      assert.deepEqual(Object.keys(await peer.next()), ['closed']);
    });
  }

  test('maxPayload is exact: 4413 above it', async () => {
    const frame = (length) => `42["message","${'x'.repeat(length - 16)}"]`;
    const peer = await connect();
    const largest = frame(1_000_000);
    assert.equal(largest.length, 1_000_000);
    peer.send(largest);
    assert.equal((await peer.next()).length, 1_000_005);
    peer.send(frame(1_000_001));
    assert.equal(await peer.end(), 4413);
  });

  test('a frame that breaks RFC 6455 closes with 1002', async () => {
    const { protocol, port } = new URL(url);
    const socket = connectAs(protocol.slice(0, -1), { host: '127.0.0.1', port: Number(port) });
    const received = [];
    socket.on('data', (bytes) => received.push(bytes));
    const ended = new Promise((resolve) => socket.on('close', resolve));
    socket.write(
      'GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n',
    );
    await until(() => Buffer.concat(received).includes('maxPayload'), 'the open packet');
    assert.match(String(Buffer.concat(received)), /Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK\+xOo=\r\n/);
    socket.write(Buffer.from([0x81, 0x02, 0x34, 0x30])); // not masked
    await within(ended, 'the connection is closed');
    const close = Buffer.concat(received).subarray(-32);
    const at = close.indexOf(Buffer.from([0x03, 0xea]));
    assert.ok(at > 0 && close[at - 2] === 0x88, 'a close frame with 1002');
  });
});

describe('Socket.IO packets', () => {
  test('CONNECT is answered, and then comes auth', async () => {
    const cases = [
      ['40', '40', '42["auth",{}]'],
      ['40{"token":"123"}', '40', '42["auth",{"token":"123"}]'],
      ['40/,{"b":2,"a":1}', '40', '42["auth",{"b":2,"a":1}]'],
      ['40/custom,', '40/custom,', '42/custom,["auth",{}]'],
      ['40/custom', '40/custom,', '42/custom,["auth",{}]'],
      ['40/custom,{"token":"abc"}', '40/custom,', '42/custom,["auth",{"token":"abc"}]'],
    ];
    for (const [packet, prefix, auth] of cases) {
      const peer = await handshake();
      peer.send(packet);
      const reply = await peer.next();
      assert.ok(reply.startsWith(`${prefix}{`), reply);
      const object = JSON.parse(reply.slice(prefix.length));
      assert.deepEqual(Object.keys(object), ['sid']);
      assert.match(object.sid, /^.{23}$/);
      assert.notEqual(object.sid, peer.handshake.sid);
      assert.equal(await peer.next(), auth);
    }
  });

  test('an unknown namespace is refused, and the connection goes on', async () => {
    const peer = await handshake();
    peer.send('40/random');
    assert.equal(await peer.next(), '44/random,{"message":"Invalid namespace"}');
    peer.send('40/custom?x=1,');
    assert.equal(await peer.next(), '44/custom?x=1,{"message":"Invalid namespace"}');
    peer.send('40');
    assert.match(await peer.next(), /^40\{"sid"/);
  });

  const echoes = [
    ['42["message"]', '42["message-back"]'],
    ['42["message",1,"2",{"3":[true]}]', '42["message-back",1,"2",{"3":[true]}]'],
    ['42["message",{"z":1,"a":{"y":2,"b":null}}]', '42["message-back",{"z":1,"a":{"y":2,"b":null}}]'],
    ['42["message","\\u00e9 \u00fc \ud83d\ude00",1.50,1e2]', '42["message-back","\\u00e9 \u00fc \ud83d\ude00",1.50,1e2]'],
    ['42456["message-with-ack",1,"2",{"3":[false]}]', '43456[1,"2",{"3":[false]}]'],
    ['420["message-with-ack"]', '430[]'],
    ['429007199254740991["message-with-ack",1]', '439007199254740991[1]'],
  ];
  test('events and acks are compact and keep the order of keys', async () => {
    const peer = await connect();
    for (const [sent, expected] of echoes) {
      peer.send(sent);
      assert.equal(await peer.next(), expected);
    }
  });

  test('binary events and acks', async () => {
    const peer = await connect();
    const placeholder = (num) => `{"_placeholder":true,"num":${num}}`;
    peer.send(`452-["message",${placeholder(0)},${placeholder(1)}]`, Buffer.from([1, 2, 3]), Buffer.from([4, 5]));
    assert.equal(await peer.next(), `452-["message-back",${placeholder(0)},${placeholder(1)}]`);
    assert.deepEqual(await peer.next(), Buffer.from([1, 2, 3]));
    assert.deepEqual(await peer.next(), Buffer.from([4, 5]));
    peer.send(`452-789["message-with-ack",{"a":[${placeholder(0)}]},${placeholder(1)}]`, Buffer.from([1]), Buffer.alloc(0));
    assert.equal(await peer.next(), `462-789[{"a":[${placeholder(0)}]},${placeholder(1)}]`);
    assert.deepEqual(await peer.next(), Buffer.from([1]));
    assert.deepEqual(await peer.next(), Buffer.alloc(0));
  });

  test('ten attachments pass', async () => {
    const peer = await connect();
    const list = Array.from({ length: 10 }, (_, num) => `{"_placeholder":true,"num":${num}}`);
    peer.send(`4510-["message",${list}]`);
    for (let i = 0; i < 10; i += 1) peer.send(Buffer.from([i]));
    assert.equal(await peer.next(), `4510-["message-back",${list}]`);
    for (let i = 0; i < 10; i += 1) assert.deepEqual(await peer.next(), Buffer.from([i]));
  });

  test('leaving a namespace is not answered and leaves the others', async () => {
    const peer = await connect();
    peer.send('40/custom');
    assert.match(await peer.next(), /^40\/custom,/);
    assert.match(await peer.next(), /^42\/custom,\["auth"/);
    peer.send('41/custom', '42["message","still"]');
    assert.equal(await peer.next(), '42["message-back","still"]');
    peer.send('40/custom');
    assert.match(await peer.next(), /^40\/custom,/);
  });

  briskly('who has left every namespace still gets pings', async () => {
    const peer = await connect({ pong: false });
    peer.send('41');
    for (let round = 0; round < 5; round += 1) {
      assert.equal(await peer.next(), '2');
      peer.send('3');
    }
  });

  for (const frame of VIOLATIONS) {
    test(`${frame} closes`, async () => {
      const peer = await connect();
      peer.send(frame, '42["message",1]');
      assert.deepEqual(Object.keys(await peer.next()), ['closed']);
    });
  }

  test('anything before CONNECT closes', async () => {
    for (const frame of BEFORE_CONNECT) {
      const peer = await handshake();
      peer.send(frame);
      await peer.end();
    }
  });

  briskly('attachments: none expected, interrupted, missing', async () => {
    const unexpected = await connect();
    unexpected.send(Buffer.from([1]));
    await unexpected.end();
    const packet = '451-["message",{"_placeholder":true,"num":0}]';
    const interrupted = await connect();
    interrupted.send(packet, '42["message"]');
    await interrupted.end();
    const missing = await connect();
    missing.send(packet);
    await missing.end();
  });

  // The Java client waits for its ping timeout when it gets a close frame.
  test('one that is to come back has what waits for it, and no close frame', async () => {
    const peer = await connect();
    peer.send('42["message",1]', '42["drop"]');
    assert.equal(await peer.next(), '42["message-back",1]');
    assert.equal(await peer.end(), 1006);
  });

  test('an expelled socket is told why, and stays away', async () => {
    const peer = await connect();
    peer.send('42["expel"]', '42["message"]', '431[]');
    assert.equal(await peer.next(), '42["hub:closing",{"code":4403,"reason":"not allowed"}]');
    assert.equal(await peer.next(), '41');
    peer.send('42["message"]', '41', '40');
    assert.equal(await peer.next(), '44{"message":"not allowed","data":{"code":"forbidden"}}');
  });

  test('a hundred events in one write are answered in order', async () => {
    const peer = await connect();
    for (let i = 0; i < 100; i += 1) peer.send(`42${i}["message-with-ack",${i}]`);
    for (let i = 0; i < 100; i += 1) assert.equal(await peer.next(), `43${i}[${i}]`);
  });
});

describe('the stock client', () => {
  test('connects with auth and talks both ways', async () => {
    const socket = client('/', { auth: { token: 'abc', n: [1] } });
    const [auth] = await once(socket, 'auth');
    assert.deepEqual(auth, { token: 'abc', n: [1] });
    assert.equal(socket.connected, true);
    socket.emit('message', 1, 'two', { three: [null] });
    assert.deepEqual(await once(socket, 'message-back'), [1, 'two', { three: [null] }]);
    const answer = await socket.timeout(30_000).emitWithAck('message-with-ack', { a: 1 });
    assert.deepEqual(answer, { a: 1 });
    socket.close();
  });

  test('binary events and acks', async () => {
    const socket = client();
    const bytes = Buffer.from([0, 1, 255]);
    socket.emit('message', { deep: [bytes] }, bytes);
    const [first, second] = await once(socket, 'message-back');
    assert.deepEqual(Buffer.from(first.deep[0]), bytes);
    assert.deepEqual(Buffer.from(second), bytes);
    const answer = await socket.timeout(30_000).emitWithAck('message-with-ack', { bytes });
    assert.deepEqual(Buffer.from(answer.bytes), bytes);
    socket.close();
  });

  test('answers what the server asks', async () => {
    const socket = client();
    socket.on('question', (a, b, answer) => answer({ sum: a + b }));
    socket.emit('ask', 3, 4);
    assert.deepEqual(await once(socket, 'answer'), [{ sum: 7 }]);
    socket.close();
  });

  test('several namespaces share a connection', async () => {
    const root = kept(io(url, { transports: ['websocket'], forceNew: true }));
    const custom = kept(root.io.socket('/custom', { auth: {} }));
    await once(root, 'auth');
    if (!custom.connected) await once(custom, 'connect');
    assert.notEqual(root.id, custom.id);
    custom.emit('message', 'c');
    assert.deepEqual(await once(custom, 'message-back'), ['c']);
    custom.disconnect();
    root.emit('message', 'r');
    assert.deepEqual(await once(root, 'message-back'), ['r']);
    custom.connect();
    await once(custom, 'auth');
    root.close();
    custom.close();
  });

  test('an unknown namespace is a connect_error', async () => {
    const [error] = await once(client('/random'), 'connect_error');
    assert.equal(error.message, 'Invalid namespace');
  });

  test('comes back after a temporary end', async () => {
    const socket = client('/', { reconnectionDelay: 10, reconnectionDelayMax: 50 });
    await once(socket, 'auth');
    const { id } = socket;
    const reason = once(socket, 'disconnect');
    socket.emit('drop');
    assert.equal((await reason)[0], 'transport close');
    await once(socket, 'auth');
    assert.notEqual(socket.id, id);
    socket.close();
  });

  test('stays away after a final end, and knows why', async () => {
    const socket = client();
    await once(socket, 'auth');
    const closing = once(socket, 'hub:closing');
    const reason = once(socket, 'disconnect');
    socket.emit('expel');
    assert.deepEqual(await closing, [{ code: 4403, reason: 'not allowed' }]);
    assert.equal((await reason)[0], 'io server disconnect');
    assert.equal(socket.active, false);
  });

  briskly('stays connected through pings', async () => {
    // A busy machine may miss the 200 ms that this program allows: then it counts anew.
    const socket = client('/', { reconnection: true, reconnectionDelay: 10, reconnectionDelayMax: 50 });
    let pings = 0;
    socket.io.on('ping', () => { pings += 1; });
    socket.on('disconnect', () => { pings = 0; });
    await until(() => pings >= 4 && socket.connected, 'four pings in one connection');
    socket.close();
  });
});

describe('the plain WebSocket', () => {
  for (const encoding of ['json', 'msgpack']) {
    test(`packets in ${encoding}`, async () => {
      const peer = kept(await PlainClient.connect(url, 'abc', { encoding }));
      assert.equal(peer.socket.protocol, `peal.${encoding}.v1`);
      peer.emit('message', 1, 'two', { three: [true] });
      await until(() => peer.received('message-back').length > 0, 'message-back');
      assert.deepEqual(peer.received('message-back'), [[1, 'two', { three: [true] }]]);
      assert.deepEqual(await peer.request('message-with-ack', { a: 1 }), { a: 1 });
    });
  }

  briskly('it must answer hub:ping', async () => {
    const peer = kept(await PlainClient.connect(url, 'abc', { pong: false }));
    await within(peer.closed, 'closed');
  });

  test('what is no array of packets closes with 4400', async () => {
    const peer = kept(await PlainClient.connect(url, 'abc'));
    peer.socket.send('{"event":"message"}');
    assert.equal((await within(peer.closed, 'closed')).code, 4400);
  });

  test('close codes tell the reason', async () => {
    const final = kept(await PlainClient.connect(url, 'abc'));
    final.emit('expel');
    assert.equal((await within(final.closed, 'closed')).code, 4403);
    const temporary = kept(await PlainClient.connect(url, 'abc'));
    temporary.emit('drop');
    assert.equal((await within(temporary.closed, 'closed')).code, 4508);
  });

  test('a subprotocol is needed', async () => {
    const answer = await new Promise((resolve) => {
      const socket = new WebSocket(`${url.replace('http', 'ws')}/ws`);
      socket.on('unexpected-response', (request, response) => {
        resolve(response.statusCode);
        request.destroy();
      });
      socket.on('error', () => {});
    });
    assert.equal(answer, 400);
  });
});

describe('/echo', () => {
  test('sends back text and binary of any size', async () => {
    const peer = kept(await EnginePeer.open(url, { path: '/echo', query: '' }));
    const large = Buffer.alloc(4 << 20, 7);
    peer.send('hello', '', Buffer.from([1]), large);
    assert.equal(await peer.next(), 'hello');
    assert.equal(await peer.next(), '');
    assert.deepEqual(await peer.next(), Buffer.from([1]));
    assert.ok((await peer.next()).equals(large));
    peer.socket.close(1000);
    assert.equal(await peer.end(), 1000);
  });
});
