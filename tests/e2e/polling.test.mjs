// SPDX-License-Identifier: Apache-2.0
// Stock clients that poll, and that change to a WebSocket, on a hub of two shards: users live on
// both, and requests come in on either.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import WebSocket from 'ws';
import { startHub } from './support/hub.mjs';
import { PollPeer, send } from './support/poll_peer.mjs';
import { until, within } from './support/wait.mjs';

const ORIGIN = 'https://app.example';
const USERS = 8; // enough for both shards

let hub;

before(async () => {
  hub = await startHub({ args: ['--shards', '2', '--origins', ORIGIN, '--limits-unauthenticated-per-address', '1000'] });
});
after(() => hub.stop());

// A connected client whose events are kept in `events`.
async function connect(user, transports) {
  const options = { reconnection: false, transports: transports ?? ['polling', 'websocket'] };
  const socket = hub.socketIo(user, options);
  socket.kept = [];
  socket.onAny((...args) => socket.kept.push(args));
  socket.got = (event) => socket.kept.filter(([name]) => name === event).map(([, body]) => body);
  socket.request = (...args) => socket.timeout(30_000).emitWithAck(...args);
  await within(
    new Promise((resolve, reject) => {
      socket.once('connect', resolve);
      socket.once('connect_error', reject);
    }),
    `${user} connects`,
  );
  await until(() => socket.got('hub:ready').length > 0, `${user} is ready`);
  return socket;
}

const users = (prefix) => Array.from({ length: USERS }, (_, i) => `${prefix}-${i}`);

for (const [name, transports] of [['polling only', ['polling']], ['the default transports', undefined]]) {
  describe(name, () => {
    test('everyone in a room gets every message in order, and their notifications', async () => {
      const room = `public:${name.length}`;
      const names = users(name.split(' ')[0]);
      const sockets = await Promise.all(names.map((user) => connect(user, transports)));
      for (const socket of sockets) {
        const answer = await socket.request('join_room', room);
        assert.equal(answer.ok, true, JSON.stringify(answer));
      }
      for (let i = 0; i < 20; i += 1) {
        const answer = await sockets[i % USERS].request('send_message', { roomId: room, message: `m${i}` });
        assert.equal(answer.ok, true, JSON.stringify(answer));
      }
      // One order for everybody, in which each sender's messages keep theirs.
      const heard = (socket) => socket.got('new_message').map(({ message }) => Number(message.slice(1)));
      for (const socket of sockets) {
        await until(() => heard(socket).length >= 20, 'every message');
        assert.deepEqual(heard(socket), heard(sockets[0]));
      }
      const order = heard(sockets[0]);
      assert.deepEqual([...order].sort((a, b) => a - b), Array.from({ length: 20 }, (_, i) => i));
      for (const i of order) {
        if (i >= USERS) assert.ok(order.indexOf(i - USERS) < order.indexOf(i), String(order));
      }
      for (const user of names) {
        const body = { user, type: 'greeting', title: `hello ${user}` };
        const { status } = await hub.api('POST', '/api/v1/notifications', body);
        assert.ok(status >= 200 && status < 300, `HTTP ${status}`);
      }
      for (const [i, socket] of sockets.entries()) {
        await until(() => socket.got('notification').length > 0, `the notification of ${names[i]}`);
        assert.match(JSON.stringify(socket.got('notification')[0]), new RegExp(`hello ${names[i]}"`));
        assert.equal(socket.got('notification').length, 1);
      }
      for (const socket of sockets) {
        if (!transports) {
          await until(() => socket.io.engine.transport.name === 'websocket', 'the upgrade');
          assert.equal(socket.connected, true);
        } else {
          assert.equal(socket.io.engine.transport.name, 'polling');
        }
        socket.close();
      }
    });

    test('a wrong token is refused', async () => {
      const socket = hub.socketIo('nobody', { transports, reconnection: false, auth: { token: 'wrong' } });
      const error = await within(new Promise((resolve) => socket.once('connect_error', resolve)), 'the refusal');
      assert.equal(error.message, 'Invalid token');
      socket.close();
    });
  });
}

describe('requests on any shard', () => {
  test('a session is found from every connection', async () => {
    for (const user of users('anyone')) {
      const peer = await PollPeer.handshake(hub.url);
      await peer.post(`40{"token":"${hub.token(user)}"}`);
      const seen = [];
      while (!seen.some((packet) => /^42\["hub:ready"/.test(packet))) {
        const packet = await peer.next();
        assert.equal(typeof packet, 'string', JSON.stringify(packet));
        seen.push(packet);
      }
      assert.match(seen[0], /^40\{"sid"/);
      for (let i = 0; i < 8; i += 1) {
        await peer.post(`42${i}["join_room","public:any"]`);
        let packet;
        while (!(packet = await peer.next()).startsWith(`43${i}[`));
        assert.match(packet, /"ok":true/);
      }
      await peer.post('1');
      await until(async () => JSON.parse((await peer.get()).body).code === 1, 'the sid is forgotten');
    }
  });

  test('many come and go at once', async () => {
    for (let round = 0; round < 3; round += 1) {
      const sockets = await Promise.all(users(`crowd-${round}`).flatMap((user) => [connect(user), connect(user, ['polling'])]));
      for (const socket of sockets) socket.close();
    }
  });

  test('a held GET that is cut off ends the session', async () => {
    for (const user of users('cut')) {
      const peer = await PollPeer.handshake(hub.url);
      await peer.post(`40{"token":"${hub.token(user)}"}`);
      while (!/^42\["hub:ready"/.test(await peer.next()));
      const get = peer.hold();
      await within(new Promise((resolve) => get.request.once('finish', resolve)), 'the GET is sent');
      await send(`${hub.url}/socket.io/`).answer;
      get.request.destroy();
      await until(async () => {
        const answer = await peer.get();
        return answer.status === 400 && JSON.parse(answer.body).code === 1;
      }, 'the session has ended');
    }
  });
});

describe('CORS', () => {
  test('a listed origin is echoed', async () => {
    const peer = await PollPeer.handshake(hub.url, { headers: { origin: ORIGIN } });
    const { headers } = peer.opened;
    assert.equal(headers['access-control-allow-origin'], ORIGIN);
    assert.equal(headers['access-control-allow-credentials'], 'true');
    assert.equal(headers.vary, 'Origin');
    const preflight = await send(peer.base, { method: 'OPTIONS', headers: { origin: ORIGIN } }).answer;
    assert.equal(preflight.status, 204);
    assert.equal(preflight.headers['access-control-allow-origin'], ORIGIN);
    assert.match(preflight.headers.vary, /Origin/);
  });

  test('another one is refused, and may not read that', async () => {
    const headers = { origin: 'https://evil.example' };
    const query = '/socket.io/?EIO=4&transport=polling';
    const answer = await send(hub.url + query, { headers }).answer;
    assert.equal(answer.status, 403);
    assert.deepEqual(JSON.parse(answer.body), { code: 4, message: 'Forbidden' });
    assert.equal(answer.headers['access-control-allow-origin'], undefined);
    const preflight = await send(hub.url + query, { method: 'OPTIONS', headers }).answer;
    assert.equal(preflight.status, 204);
    assert.equal(preflight.headers['access-control-allow-origin'], undefined);
  });
});

describe('the cookie', () => {
  test('none unless configured', async () => {
    const peer = await PollPeer.handshake(hub.url);
    assert.equal(peer.opened.headers['set-cookie'], undefined);
  });

  test('only the handshake sets it, and only the one that polls', async () => {
    const own = await startHub({ args: ['--engine-cookie', 'io'] });
    const peer = await PollPeer.handshake(own.url);
    assert.deepEqual(peer.opened.headers['set-cookie'], [`io=${peer.handshake.sid}; Path=/; HttpOnly; SameSite=Lax`]);
    const posted = await peer.post('40{}');
    assert.equal(posted.body, 'ok');
    assert.equal(posted.headers['set-cookie'], undefined);
    assert.equal((await peer.get()).headers['set-cookie'], undefined);
    let cookies;
    const socket = new WebSocket(`${own.url.replace('http', 'ws')}/socket.io/?EIO=4&transport=websocket`);
    socket.on('upgrade', (response) => { cookies = response.headers['set-cookie'] ?? []; });
    await within(new Promise((resolve) => socket.once('open', resolve)), 'the WebSocket opens');
    assert.deepEqual(cookies, []);
    socket.terminate();
    await own.stop();
  });
});

test('a draining hub lets those who poll go', async () => {
  const own = await startHub({ args: ['--shards', '2'] });
  const sockets = users('late').map((user) => own.socketIo(user, { transports: ['polling'], reconnection: false }));
  await Promise.all(sockets.map((socket) => within(new Promise((resolve) => socket.once('connect', resolve)), 'connected')));
  const gone = sockets.map((socket) => within(new Promise((resolve) => socket.once('disconnect', resolve)), 'gone'));
  own.server.signal('SIGTERM');
  await Promise.all(gone);
  assert.deepEqual(await within(own.server.ended, 'the hub ends'), { code: 0, signal: null });
});
