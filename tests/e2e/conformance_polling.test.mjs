// SPDX-License-Identifier: Apache-2.0
// Engine.IO 4 over HTTP long-polling, request by request and with the stock client, and the change
// of transport, against the session layer with an echo on top (tests/conformance/echo_hub.c).
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { gunzipSync, inflateSync } from 'node:zlib';
import { io } from 'socket.io-client';
import WebSocket from 'ws';
import { connectAs } from './support/certs.mjs';
import { startEchoHub } from './support/echo_hub.mjs';
import { EnginePeer } from './support/engine_peer.mjs';
import { PollPeer, send } from './support/poll_peer.mjs';
import { BEFORE_CONNECT, VIOLATIONS } from './support/violations.mjs';
import { until, within } from './support/wait.mjs';

const RS = '\x1e';
const UNKNOWN = { code: 1, message: 'Session ID unknown' };
const ENGINE = { path: '/engine.io/' };

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
const client = (transports, nsp = '/', options = {}) =>
  kept(io(url + nsp, { forceNew: true, ...(transports && { transports }), ...options }));
const once = (emitter, event) =>
  within(new Promise((resolve) => emitter.once(event, (...args) => resolve(args))), event);

// Assert that the session of `peer` is unknown now.
async function assertGone(peer) {
  const { status, body } = await peer.get();
  assert.equal(status, 400);
  assert.deepEqual(JSON.parse(body), UNKNOWN);
}

// A GET that the server holds: sent, and one turn of the server later.
async function held(peer) {
  const get = peer.hold();
  await once(get.request, 'socket').then(async ([socket]) => {
    if (socket.connecting) await once(socket, 'connect');
  });
  // Another request of the same client is answered behind it.
  await send(`${url}/socket.io/`).answer;
  return get;
}

// A POST whose head is sent and whose body is not.
async function begun(peer, length = 10) {
  const { protocol, port, pathname, search } = new URL(peer.url);
  const socket = connectAs(protocol.slice(0, -1), { host: '127.0.0.1', port: Number(port) });
  const received = [];
  socket.on('data', (bytes) => received.push(bytes));
  socket.on('error', () => {});
  const closed = new Promise((resolve) => socket.on('close', resolve));
  await once(socket, 'connect');
  await new Promise((resolve) => {
    socket.write(`POST ${pathname}${search} HTTP/1.1\r\nHost: h\r\nContent-Length: ${length}\r\n\r\n4`, resolve);
  });
  await send(`${url}/socket.io/`).answer;
  return { socket, closed, text: () => String(Buffer.concat(received)) };
}

// Open a WebSocket for the session of `peer`.
const probe = async (peer, path = '/socket.io/') =>
  kept(await EnginePeer.open(url, { path, query: `EIO=4&transport=websocket&sid=${peer.handshake.sid}` }));

// The whole change of transport; resolves with the WebSocket, which answers pings.
async function upgrade(peer, path) {
  const socket = await probe(peer, path);
  socket.send('2probe');
  assert.equal(await socket.next(), '3probe');
  socket.pong = true;
  socket.send('5');
  return socket;
}

describe('handshake', () => {
  briskly('the open packet offers the upgrade', async () => {
    const peer = await PollPeer.handshake(url);
    assert.equal(peer.opened.status, 200);
    assert.equal(peer.opened.headers['content-type'], 'text/plain; charset=UTF-8');
    assert.equal(peer.opened.headers['cache-control'], 'no-store');
    assert.deepEqual(Object.keys(peer.handshake), ['sid', 'upgrades', 'pingInterval', 'pingTimeout', 'maxPayload']);
    assert.match(peer.handshake.sid, /^[A-Za-z0-9_-]{26}$/);
    assert.deepEqual({ ...peer.handshake, sid: 0 }, { sid: 0, upgrades: ['websocket'], pingInterval: 300, pingTimeout: 200, maxPayload: 1000000 });
    const other = await PollPeer.handshake(url);
    assert.notEqual(peer.handshake.sid, other.handshake.sid);
  });

  test('requests are refused with code and message', async () => {
    const { sid } = (await PollPeer.handshake(url)).handshake;
    const cases = [
      ['GET', '?EIO=4&transport=poll', 0, 'Transport unknown'],
      ['GET', '?EIO=4&transport=polling&sid=abc', 1, 'Session ID unknown'],
      ['GET', `?EIO=4&transport=polling&sid=${'A'.repeat(20)}`, 1, 'Session ID unknown'],
      ['GET', `?EIO=4&transport=polling&sid=${'_'.repeat(20)}`, 1, 'Session ID unknown'],
      ['GET', `?EIO=4&transport=polling&sid=${'A'.repeat(200)}`, 1, 'Session ID unknown'],
      ['POST', '?EIO=4&transport=polling&sid=abc', 1, 'Session ID unknown'],
      ['POST', '?EIO=4&transport=polling', 2, 'Bad handshake method'],
      ['PUT', '?EIO=4&transport=polling', 2, 'Bad handshake method'],
      ['GET', `?EIO=4&transport=websocket&sid=${sid}`, 3, 'Bad request'],
      ['GET', `?EIO=3&transport=polling&sid=${sid}`, 3, 'Bad request'],
      ['GET', '?transport=polling', 5, 'Unsupported protocol version'],
      ['GET', '?EIO=3&transport=polling', 5, 'Unsupported protocol version'],
      ['GET', '?EIO=abc&transport=polling', 5, 'Unsupported protocol version'],
    ];
    for (const [method, query, code, message] of cases) {
      const answer = await send(`${url}/socket.io/${query}`, { method }).answer;
      assert.equal(answer.status, 400, query);
      assert.match(answer.headers['content-type'], /^application\/json/);
      assert.equal(answer.headers['cache-control'], undefined);
      assert.deepEqual(JSON.parse(answer.body), { code, message }, query);
    }
  });

  test('an upgrade with the wrong transport is refused before the 101', async () => {
    const { sid } = (await PollPeer.handshake(url)).handshake;
    for (const query of ['EIO=4&transport=polling', `EIO=4&transport=polling&sid=${sid}`, `EIO=3&transport=websocket&sid=${sid}`]) {
      await assert.rejects(EnginePeer.open(url, { query }), /400/, query);
    }
  });

  briskly('who joins nothing is told at the next GET', async () => {
    const peer = await PollPeer.handshake(url);
    let last;
    while (typeof (last = await peer.next()) === 'string' && last !== '1' && last !== '6');
    if (last === '6') assert.equal(await peer.next(), '1');
    await assertGone(peer);
  });
});

describe('GET and POST', () => {
  test('packets come back in one body', async () => {
    const peer = await PollPeer.handshake(url, ENGINE);
    const answer = await peer.post('4test1', '4test2', '4test3');
    assert.equal(answer.status, 200);
    assert.equal(answer.body, 'ok');
    assert.equal(answer.headers['content-type'], 'text/html');
    assert.equal(answer.headers['content-length'], '2');
    assert.equal(answer.headers['cache-control'], 'no-store');
    const { body, headers } = await peer.get();
    assert.equal(body, ['4test1', '4test2', '4test3'].join(RS));
    assert.equal(headers['content-type'], 'text/plain; charset=UTF-8');
    assert.equal(headers['cache-control'], 'no-store');
  });

  test('text and binary', async () => {
    const peer = await PollPeer.handshake(url, ENGINE);
    await peer.post('4hello', 'bAQIDBA==', 'b', '4\u00e9\ud83d\ude00');
    assert.equal((await peer.get()).body, ['4hello', 'bAQIDBA==', 'b', '4\u00e9\ud83d\ude00'].join(RS));
  });

  test('a GET is held until there is something', async () => {
    const peer = await PollPeer.handshake(url, ENGINE);
    const get = await held(peer);
    await peer.post('4late');
    assert.equal((await get.answer).body, '4late');
  });

  test('a chunked body is read', async () => {
    const peer = await PollPeer.handshake(url, ENGINE);
    const request = send(peer.url, { method: 'POST', body: null });
    request.request.write('4a');
    request.request.end(`b${RS}4c`);
    assert.equal((await request.answer).body, 'ok');
    assert.equal((await peer.get()).body, `4ab${RS}4c`);
  });

  test('at most 16 packets come in a body', async () => {
    const peer = await PollPeer.connect(url);
    await peer.post('42["burst",40]');
    const packets = [];
    const sizes = [];
    while (packets.length < 40) {
      const part = (await peer.get()).body.split(RS).filter((packet) => packet !== '2');
      sizes.push(part.length);
      packets.push(...part);
    }
    assert.deepEqual(packets, Array.from({ length: 40 }, (_, i) => `42["one",${i}]`));
    assert.ok(Math.max(...sizes) <= 16, String(sizes));
  });

  test('maxPayload is exact: 413 above it, and the session stays', async () => {
    const peer = await PollPeer.handshake(url, ENGINE);
    assert.equal((await peer.post(`4${'x'.repeat(999_999)}`)).status, 200);
    assert.equal((await peer.next()).length, 1_000_000);
    const refused = await peer.post(`4${'x'.repeat(1_000_000)}`);
    assert.equal(refused.status, 413);
    assert.equal(refused.body, '');
    assert.equal(refused.headers['access-control-allow-origin'], '*');
    await peer.post('4still');
    assert.equal(await peer.next(), '4still');
  });

  test('a chunked body above maxPayload is a 413 too, and another POST is welcome', async () => {
    const peer = await PollPeer.handshake(url, ENGINE);
    const request = send(peer.url, { method: 'POST', body: null });
    request.request.write(`4${'x'.repeat(600_000)}`);
    request.request.write('x'.repeat(600_000));
    request.request.end();
    assert.equal((await request.answer).status, 413);
    await peer.post('4still');
    assert.equal(await peer.next(), '4still');
  });

  test('no method of this protocol: 500, and the session stays', async () => {
    const peer = await PollPeer.handshake(url, ENGINE);
    for (const method of ['PUT', 'DELETE', 'PATCH']) {
      const answer = await send(peer.url, { method }).answer;
      assert.equal(answer.status, 500, method);
      assert.equal(answer.body, '');
    }
    await peer.post('4still');
    assert.equal(await peer.next(), '4still');
  });

  for (const body of ['', 'abc', '7', `4a${RS}`, 'b=', 'bAQ', '2', '2probe']) {
    test(`${JSON.stringify(body)} closes`, async () => {
      const peer = await PollPeer.handshake(url, ENGINE);
      const get = await held(peer);
      assert.equal((await peer.post(body)).status, 400);
      assert.equal((await get.answer).body, '1');
      await assertGone(peer);
    });
  }

  test('text that is not UTF-8 closes', async () => {
    const peer = await PollPeer.handshake(url, ENGINE);
    const answer = await send(peer.url, { method: 'POST', body: Buffer.from([0x34, 0xff]) }).answer;
    assert.equal(answer.status, 400);
    await assertGone(peer);
  });

  test('what follows a bad packet is not taken', async () => {
    const peer = await PollPeer.connect(url);
    const get = await held(peer);
    await peer.post('42["message",1]', 'abc', '42["message",2]');
    const { body } = await get.answer;
    assert.ok(body === '1' || body === '42["message-back",1]', body);
    await assertGone(peer);
  });

  test('binary content type is refused', async () => {
    const peer = await PollPeer.handshake(url, ENGINE);
    const headers = { 'content-type': 'application/octet-stream' };
    const answer = await send(peer.url, { method: 'POST', headers, body: '4x' }).answer;
    assert.equal(answer.status, 400);
    assert.equal(answer.body, '');
    await assertGone(peer);
  });

  test('0, 5, 6 and 3 are ignored', async () => {
    const peer = await PollPeer.handshake(url, ENGINE);
    await peer.post('0', '5', '6', '3', '3x', '4still');
    assert.equal(await peer.next(), '4still');
  });

  test('large answers are compressed where the client takes it', async () => {
    const peer = await PollPeer.handshake(url, ENGINE);
    const text = `4${'compress me '.repeat(200)}`;
    const headers = { 'accept-encoding': 'gzip, deflate' };
    await peer.post(text);
    const packed = await peer.get({ headers });
    assert.equal(packed.headers['content-encoding'], 'gzip');
    assert.ok(packed.bytes.length < text.length);
    assert.equal(String(gunzipSync(packed.bytes)), text);
    await peer.post(text);
    const plain = await peer.get();
    assert.equal(plain.headers['content-encoding'], undefined);
    assert.equal(plain.body, text);
    await peer.post(text);
    const deflated = await peer.get({ headers: { 'accept-encoding': 'gzip;q=0, deflate' } });
    assert.equal(deflated.headers['content-encoding'], 'deflate');
    assert.equal(String(inflateSync(deflated.bytes)), text);
    await peer.post(text.slice(0, 1023));
    const small = await peer.get({ headers });
    assert.equal(small.headers['content-encoding'], undefined);
  });

  test('old Internet Explorers are told what text is', async () => {
    const headers = { 'user-agent': 'Mozilla/5.0 (Windows NT 10.0; Trident/7.0; rv:11.0)' };
    const peer = await PollPeer.handshake(url, { headers });
    assert.equal(peer.opened.headers['x-xss-protection'], '0');
  });
});

describe('two at a time, and clients that go', () => {
  test('a second GET ends the session', async () => {
    const peer = await PollPeer.handshake(url, ENGINE);
    const first = await held(peer);
    const second = await peer.get();
    assert.equal(second.status, 400);
    assert.equal(second.body, '');
    const answer = await first.answer;
    assert.equal(answer.status, 200);
    assert.equal(answer.body, '1');
    await assertGone(peer);
  });

  test('a second POST ends the session', async () => {
    const peer = await PollPeer.handshake(url, ENGINE);
    const get = await held(peer);
    const first = await begun(peer);
    const second = await peer.post('4x');
    assert.equal(second.status, 400);
    assert.equal(second.body, '');
    assert.equal((await get.answer).body, '1');
    await within(first.closed, 'the first POST is cut off');
    assert.doesNotMatch(first.text(), / 200 /);
    await assertGone(peer);
  });

  test('a GET that is cut off ends the session', async () => {
    const peer = await PollPeer.handshake(url, ENGINE);
    const get = await held(peer);
    get.request.destroy();
    await until(async () => (await peer.get()).status === 400, 'the session has ended');
    await assertGone(peer);
  });

  test('a POST that is cut off ends the session', async () => {
    const peer = await PollPeer.handshake(url, ENGINE);
    const get = await held(peer);
    const post = await begun(peer);
    post.socket.destroy();
    assert.equal((await get.answer).body, '1');
    await assertGone(peer);
  });
});

describe('heartbeat', () => {
  briskly('a held GET brings the ping', async () => {
    const peer = await PollPeer.handshake(url, ENGINE);
    for (let round = 0; round < 3; round += 1) {
      assert.equal((await peer.get()).body, '2');
      assert.equal((await peer.post('3')).status, 200);
    }
  });

  briskly('without a pong the session ends', async () => {
    const peer = await PollPeer.handshake(url, ENGINE);
    assert.equal((await peer.get()).body, '2');
    assert.equal((await peer.get()).body, '1');
    await assertGone(peer);
  });

  briskly('packets that are no pongs do not keep it', async () => {
    const peer = await PollPeer.connect(url);
    let last = '';
    while (typeof last === 'string') {
      await peer.post('42["message"]');
      last = await peer.next(false);
    }
    assert.equal(last.status, 400);
  });

  briskly('without a GET it ends as well', async () => {
    const peer = await PollPeer.handshake(url, ENGINE);
    const other = await PollPeer.handshake(url, ENGINE);
    for (let round = 0; round < 3; round += 1) {
      assert.equal(await other.next(false), '2');
      await other.post('3');
    }
    await assertGone(peer);
  });

  briskly('the deadline is kept across an upgrade', async () => {
    const peer = await PollPeer.handshake(url, ENGINE);
    assert.equal((await peer.get()).body, '2');
    const socket = await probe(peer, ENGINE.path);
    socket.send('2probe');
    assert.equal(await socket.next(), '3probe');
    socket.send('5'); // no pong, neither here nor there
    await socket.end();
  });
});

describe('closing', () => {
  test('packet 1 ends the session, and a held GET gets a noop', async () => {
    const peer = await PollPeer.handshake(url, ENGINE);
    const get = await held(peer);
    const answer = await peer.post('1');
    assert.equal(answer.status, 200);
    assert.equal(answer.body, 'ok');
    assert.equal((await get.answer).body, '6');
    await assertGone(peer);
  });

  // A `1` is for ever to the Python client; an error is not, to any.
  const assertToReturn = ({ status, body }) =>
    assert.deepEqual([status, JSON.parse(body)], [400, { code: 1, message: 'Session ID unknown' }]);

  test('the server ends it for a time: a held GET gets an error', async () => {
    const peer = await PollPeer.connect(url);
    const get = await held(peer);
    assert.equal((await peer.post('42["drop"]')).status, 200);
    assertToReturn(await get.answer);
    await assertGone(peer);
  });

  test('the server ends it for a time: the next GET gets an error', async () => {
    const peer = await PollPeer.connect(url);
    await peer.post('42["drop"]');
    assertToReturn(await peer.get());
    await assertGone(peer);
  });

  test('what waits comes before the end', async () => {
    const peer = await PollPeer.connect(url);
    await peer.post('42["message",1]', '42["drop"]');
    assert.equal((await peer.get()).body, '42["message-back",1]');
    assertToReturn(await peer.get());
    await assertGone(peer);
  });

  test('a socket is expelled, the session stays a while', async () => {
    const peer = await PollPeer.connect(url);
    await peer.post('42["expel"]');
    assert.equal(await peer.next(), '42["hub:closing",{"code":4403,"reason":"not allowed"}]');
    assert.equal(await peer.next(), '41');
  });
});

describe('Socket.IO over polling', () => {
  test('connects, echoes, acknowledges, binary too', async () => {
    const peer = await PollPeer.connect(url);
    assert.match(peer.reply, /^40\{"sid":"[^"]{23}"\}$/);
    assert.equal(peer.auth, '42["auth",{}]');
    const placeholder = '{"_placeholder":true,"num":0}';
    await peer.post('42["message",1]', '429["message-with-ack",[2]]', `451-["message",${placeholder}]`, 'bAQIDBA==', '40/custom,{"a":1}');
    assert.equal(await peer.next(), '42["message-back",1]');
    assert.equal(await peer.next(), '439[[2]]');
    assert.equal(await peer.next(), `451-["message-back",${placeholder}]`);
    assert.equal(await peer.next(), 'bAQIDBA==');
    assert.match(await peer.next(), /^40\/custom,\{"sid"/);
    assert.equal(await peer.next(), '42/custom,["auth",{"a":1}]');
  });

  test('attachments may come in POSTs of their own', async () => {
    const peer = await PollPeer.connect(url);
    const placeholder = '{"_placeholder":true,"num":0}';
    await peer.post(`451-["message",${placeholder}]`);
    await peer.post('bAQID');
    assert.equal(await peer.next(), `451-["message-back",${placeholder}]`);
    assert.equal(await peer.next(), 'bAQID');
  });

  test('who breaks the protocol is closed', async () => {
    await Promise.all(VIOLATIONS.map(async (packet) => {
      const peer = await PollPeer.connect(url);
      await peer.post(packet);
      await assertGone(peer);
    }));
  });

  test('so is who does anything before CONNECT', async () => {
    for (const packet of BEFORE_CONNECT) {
      const peer = await PollPeer.handshake(url);
      await peer.post(packet);
      await assertGone(peer);
    }
  });

  briskly('attachments: none expected, interrupted, missing, too many', async () => {
    const packet = '451-["message",{"_placeholder":true,"num":0}]';
    for (const packets of [['bAQ=='], [packet, '42["message"]'], [packet, 'bAQ==', 'bAQ=='], [packet]]) {
      const peer = await PollPeer.connect(url);
      await peer.post(...packets);
      let last = '';
      while (typeof last === 'string') last = await peer.next();
      assert.equal(last.status, 400);
    }
    const list = Array.from({ length: 10 }, (_, num) => `{"_placeholder":true,"num":${num}}`);
    const peer = await PollPeer.connect(url);
    await peer.post(`4510-["message",${list}]`, ...list.map(() => 'bAQ=='));
    assert.equal(await peer.next(), `4510-["message-back",${list}]`);
    for (let i = 0; i < 10; i += 1) assert.equal(await peer.next(), 'bAQ==');
  });
});

describe('upgrade', () => {
  test('probe, noop, upgrade; the WebSocket goes on, polling is refused', async () => {
    const peer = await PollPeer.handshake(url, ENGINE);
    const get = await held(peer);
    const socket = await probe(peer, ENGINE.path);
    socket.send('2probe');
    assert.equal(await socket.next(), '3probe');
    assert.equal((await get.answer).body, '6');
    socket.send('5', '4hello', Buffer.from([1, 2]));
    assert.equal(await socket.next(), '4hello');
    assert.deepEqual(await socket.next(), Buffer.from([1, 2]));
    for (const method of ['GET', 'POST']) {
      const answer = await send(peer.url, { method, body: '4x' }).answer;
      assert.equal(answer.status, 400);
      assert.deepEqual(JSON.parse(answer.body), { code: 3, message: 'Bad request' });
    }
    socket.pong = true;
    await (await probe(peer, ENGINE.path)).end(); // 101, and closed at once
    socket.send('4still');
    let frame;
    while ((frame = await socket.next()) === '2') socket.send('3');
    assert.equal(frame, '4still');
    socket.close();
    await until(async () => JSON.parse((await peer.get()).body).code === 1, 'the sid is forgotten');
  });

  test('what waits is sent on the WebSocket, in order', async () => {
    const peer = await PollPeer.connect(url);
    const socket = await probe(peer);
    socket.send('2probe');
    assert.equal(await socket.next(), '3probe');
    socket.pong = true;
    await peer.post('42["burst",30]');
    socket.send('5', '42["message","after"]');
    for (let i = 0; i < 30; i += 1) assert.equal(await socket.next(), `42["one",${i}]`);
    assert.equal(await socket.next(), '42["message-back","after"]');
  });

  test('messages go by polling while it is probed', async () => {
    const peer = await PollPeer.handshake(url, ENGINE);
    const socket = await probe(peer, ENGINE.path);
    socket.send('2probe');
    assert.equal(await socket.next(), '3probe');
    await peer.post('4by polling');
    assert.equal((await peer.get()).body, '4by polling');
  });

  test('a GET during the probe is not held for long', async () => {
    const peer = await PollPeer.handshake(url, ENGINE);
    const socket = await probe(peer, ENGINE.path);
    socket.send('2probe');
    assert.equal(await socket.next(), '3probe');
    assert.match((await peer.get()).body, /^[62]$/);
    assert.match((await peer.get()).body, /^[62]$/);
  });

  test('a GET held at the switch gets 1', async () => {
    const peer = await PollPeer.handshake(url, ENGINE);
    const socket = await probe(peer, ENGINE.path);
    const get = await held(peer);
    socket.send('5');
    assert.match((await get.answer).body, /^[12]$/);
    socket.send('4x');
    let frame;
    while ((frame = await socket.next()) === '2') socket.send('3');
    assert.equal(frame, '4x');
  });

  for (const frame of ['4hello', '3probe', '2', 'abc', '', Buffer.from([1])]) {
    test(`${JSON.stringify(frame)} instead of the probe closes the WebSocket only`, async () => {
      const peer = await PollPeer.handshake(url, ENGINE);
      const socket = await probe(peer, ENGINE.path);
      socket.send(frame);
      assert.equal(await socket.end(), 1005);
      await peer.post('4still');
      assert.equal(await peer.next(), '4still');
      const again = await upgradeWhenFree(peer);
      again.close();
    });
  }

  // The server learns in a turn of its own that the first WebSocket has gone.
  async function upgradeWhenFree(peer) {
    const socket = await until(() => probe(peer, ENGINE.path), 'another probe is welcome');
    socket.send('2probe');
    assert.equal(await socket.next(), '3probe');
    return socket;
  }

  test('a WebSocket lost during the probe leaves the session', async () => {
    const peer = await PollPeer.handshake(url, ENGINE);
    const socket = await probe(peer, ENGINE.path);
    socket.send('2probe');
    assert.equal(await socket.next(), '3probe');
    socket.close();
    await peer.post('4still');
    let packet;
    while ((packet = await peer.next()) === '6');
    assert.equal(packet, '4still');
  });

  briskly('without 5 in time the WebSocket is closed, the session goes on', async () => {
    const peer = await PollPeer.handshake(url, ENGINE);
    const socket = await probe(peer, ENGINE.path);
    socket.send('2probe');
    assert.equal(await socket.next(), '3probe');
    const posted = socket.end().then(async (code) => {
      assert.equal(code, 1005);
      await peer.post('4still');
    });
    let packet;
    while ((packet = await peer.next()) === '6');
    assert.equal(packet, '4still');
    await posted;
  });

  test('a second WebSocket is closed at once while one probes', async () => {
    const peer = await PollPeer.handshake(url, ENGINE);
    const socket = await probe(peer, ENGINE.path);
    await (await probe(peer, ENGINE.path)).end();
    socket.send('2probe');
    assert.equal(await socket.next(), '3probe');
  });

  test('a session that ends closes the WebSocket that probes', async () => {
    const peer = await PollPeer.handshake(url, ENGINE);
    const socket = await probe(peer, ENGINE.path);
    await peer.post('1');
    assert.equal(await socket.end(), 1005);
  });

  test('an unknown sid is refused', async () => {
    await assert.rejects(probe({ handshake: { sid: 'A'.repeat(20) } }), /400/);
  });

  test('a WebSocket session is not found by its sid', async () => {
    const peer = kept(await EnginePeer.handshake(url));
    await assert.rejects(probe(peer), /400/);
  });
});

describe('CORS', () => {
  test('every answer may be read by any page', async () => {
    const headers = { origin: 'https://a.example' };
    const peer = await PollPeer.handshake(url, { headers });
    const answers = [peer.opened, await peer.post('4abc'), await peer.get({ headers }), await send(`${url}/socket.io/`).answer];
    for (const answer of answers) assert.equal(answer.headers['access-control-allow-origin'], '*');
  });

  test('so may the 101', async () => {
    const peer = await PollPeer.handshake(url);
    for (const query of ['', `&sid=${peer.handshake.sid}`]) {
      const socket = kept(new WebSocket(`${url.replace('http', 'ws')}/socket.io/?EIO=4&transport=websocket${query}`));
      const [response] = await once(socket, 'upgrade');
      assert.equal(response.headers['access-control-allow-origin'], '*');
    }
  });

  test('preflight', async () => {
    const headers = { origin: 'https://a.example', 'access-control-request-method': 'POST', 'access-control-request-headers': 'x-one, x-two' };
    const answer = await send(`${url}/socket.io/?EIO=4&transport=polling`, { method: 'OPTIONS', headers }).answer;
    assert.equal(answer.status, 204);
    assert.equal(answer.headers['access-control-allow-origin'], '*');
    assert.equal(answer.headers['access-control-allow-methods'], 'GET,HEAD,PUT,PATCH,POST,DELETE');
    assert.equal(answer.headers['access-control-allow-headers'], 'x-one, x-two');
    assert.match(answer.headers.vary, /Access-Control-Request-Headers/);
    assert.equal(answer.headers['content-length'], '0');
  });
});

for (const [name, transports] of [['polling only', ['polling']], ['with its own transports', undefined]]) {
  describe(`the stock client ${name}`, () => {
    test('talks both ways, in text and binary', async () => {
      const socket = client(transports, '/', { auth: { token: 'abc' } });
      assert.deepEqual(await once(socket, 'auth'), [{ token: 'abc' }]);
      socket.emit('message', 1, 'two', { three: [null] });
      assert.deepEqual(await once(socket, 'message-back'), [1, 'two', { three: [null] }]);
      const bytes = Buffer.from([0, 1, 255]);
      const answer = await socket.timeout(30_000).emitWithAck('message-with-ack', { bytes, text: '\u00e9' });
      assert.deepEqual(Buffer.from(answer.bytes), bytes);
      assert.equal(answer.text, '\u00e9');
      socket.on('question', (a, b, reply) => reply(a + b));
      socket.emit('ask', 3, 4);
      assert.deepEqual(await once(socket, 'answer'), [7]);
      socket.close();
    });

    test('nothing is lost or out of order on the way', async () => {
      const socket = client(transports);
      const received = [];
      socket.on('message-back', (i) => received.push(i));
      for (let i = 0; i < 300; i += 1) {
        socket.emit('message', i);
        if (i % 20 === 0) await until(() => received.length >= i - 40, 'an echo');
      }
      await until(() => received.length === 300, 'every echo');
      assert.deepEqual(received, Array.from({ length: 300 }, (_, i) => i));
      const transport = socket.io.engine.transport.name;
      if (transports) assert.equal(transport, 'polling');
      else await until(() => socket.io.engine.transport.name === 'websocket', 'the upgrade');
      socket.close();
    });

    briskly('stays connected through pings, and leaves', async () => {
      // A busy machine may miss the 200 ms that this program allows: then it counts anew.
      const socket = client(transports, '/', { reconnectionDelay: 10, reconnectionDelayMax: 50 });
      let pings = 0;
      socket.on('disconnect', () => { pings = 0; });
      socket.io.on('ping', () => { pings += 1; });
      await until(() => pings >= 4 && socket.connected, 'four pings in one connection');
      socket.removeAllListeners('disconnect');
      socket.close();
    });

    test('an unknown namespace, and several of them', async () => {
      const [error] = await once(client(transports, '/random'), 'connect_error');
      assert.equal(error.message, 'Invalid namespace');
      const root = client(transports);
      const custom = kept(root.io.socket('/custom', { auth: {} }));
      await once(custom, 'auth');
      custom.emit('message', 'c');
      assert.deepEqual(await once(custom, 'message-back'), ['c']);
      root.close();
      custom.close();
    });

    test('is sent away and comes back', async () => {
      const socket = client(transports, '/', { reconnectionDelay: 10, reconnectionDelayMax: 50 });
      await once(socket, 'auth');
      const reason = once(socket, 'disconnect');
      socket.emit('drop');
      assert.match((await reason)[0], /^transport (close|error)$/);
      await once(socket, 'auth');
      const closing = once(socket, 'hub:closing');
      const final = once(socket, 'disconnect');
      socket.emit('expel');
      assert.deepEqual(await closing, [{ code: 4403, reason: 'not allowed' }]);
      assert.equal((await final)[0], 'io server disconnect');
    });
  });
}
