// SPDX-License-Identifier: Apache-2.0
// Two hubs behind a balancer that sticks to nothing: stock clients poll, upgrade and come back.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { Emitter } from '@socket.io/redis-emitter';
import { io } from 'socket.io-client';
import { startBalancer } from './support/balancer.mjs';
import { EnginePeer } from './support/engine_peer.mjs';
import { startHub } from './support/hub.mjs';
import { PollPeer, send } from './support/poll_peer.mjs';
import { startPostgres } from './support/postgres.mjs';
import { startRedis } from './support/redis.mjs';
import { randomSecret } from './support/tokens.mjs';
import { until, within } from './support/wait.mjs';

const ORIGIN = 'https://app.example';
const UNKNOWN_SID = { code: 1, message: 'Session ID unknown' };
const SHARDS = 2;
const CONFIG = `
events { unknown = relay }
room_type "public" { access = {any} send = {member} }
namespace "/side" { access = {any} }
limits { messages_burst = 10000 messages_per_minute = 100000 unauthenticated_per_address = 10000 outbound_bytes = 4MiB }
origins = {"${ORIGIN}"}
`;

let redis;
let postgres;
let hubs;
let shared;
const cleanups = [];

async function startNode(options = {}) {
  const hub = await startHub({ ...shared, ...options });
  cleanups.push(() => hub.stop());
  const status = async () => (await (await fetch(`${hub.internalUrl}/readyz`)).json()).status;
  await until(async () => (await status()) === 'ready', 'its links are up: it can ask where other nodes are');
  return hub;
}

async function balance(targets, options) {
  const balancer = await startBalancer(targets.map((hub) => hub.address), options);
  cleanups.push(() => balancer.close());
  return balancer;
}

before(async () => {
  [redis, postgres] = await Promise.all([startRedis(), startPostgres()]);
  shared = { redis, postgres, config: CONFIG, args: ['--shards', String(SHARDS), '--drain-deadline', '1s'], secret: randomSecret(), apiKey: randomSecret() };
  hubs = [await startNode(), await startNode()];
});

after(async () => {
  for (const cleanup of cleanups.reverse()) await cleanup();
  await redis.stop();
  await postgres.stop();
});

const sum = async (name, list = hubs) =>
  (await Promise.all(list.map((hub) => hub.metric(name)))).reduce((total, value) => total + value, 0);

// A stock client behind `balancer` whose events are kept.
function client(balancer, user, options = {}) {
  const { nsp = '/', ...rest } = options;
  const socket = io(balancer.url + nsp, {
    forceNew: true,
    reconnectionDelay: 20,
    reconnectionDelayMax: 200,
    auth: { token: hubs[0].token(user) },
    ...rest,
  });
  cleanups.push(() => socket.close());
  socket.ends = []; // why the connection ended, each time
  socket.on('disconnect', (reason, details) => socket.ends.push([reason, String(details?.description?.message ?? ''), details?.context?.status]));
  socket.kept = [];
  socket.onAny((...args) => socket.kept.push(args));
  socket.got = (event) => socket.kept.filter(([name]) => name === event).map(([, ...args]) => args);
  socket.request = (...args) => socket.timeout(30_000).emitWithAck(...args);
  return socket;
}

async function connect(balancer, user, options) {
  const socket = client(balancer, user, options);
  await until(() => socket.got('hub:ready').length > 0, `${user} is ready`);
  return socket;
}

const KINDS = [
  ['polling alone', { transports: ['polling'] }, {}],
  ['polling alone, each request through the next node', { transports: ['polling'] }, { everyRequest: true }],
  ['WebSocket alone', { transports: ['websocket'] }, {}],
  ['polling, then WebSocket', { transports: ['polling', 'websocket'] }, {}],
  ['polling, then WebSocket, each request through the next node', { transports: ['polling', 'websocket'] }, { everyRequest: true }],
];

for (const [name, options, balancing] of KINDS) {
  describe(name, () => {
    let balancer;
    let sockets;
    let forwards;
    const USERS = 6;
    const room = `public:${name}`.slice(0, 40);

    before(async () => {
      balancer = await balance(hubs, balancing);
      forwards = await sum('peal_forwards_total');
      const users = Array.from({ length: USERS }, (_, i) => `${name}-${i}`.replace(/[ ,]/g, '-'));
      sockets = await Promise.all(users.map((user) => connect(balancer, user, options)));
      for (const [i, socket] of sockets.entries()) socket.user = users[i];
    });
    after(() => sockets.forEach((socket) => socket.close()));

    test('both nodes have clients, and requests go from one to the other', async () => {
      for (const hub of hubs) assert.ok((await hub.metric('peal_sockets')) > 0);
      if (options.transports[0] === 'polling') assert.ok((await sum('peal_forwards_total')) > forwards);
      if (options.transports.length === 2) {
        for (const socket of sockets) {
          await until(() => socket.io.engine.transport.name === 'websocket', `${socket.user} upgrades`);
        }
      }
    });

    test('acknowledgements, rooms, text and binary events both ways', async () => {
      for (const socket of sockets) assert.equal((await socket.request('join_room', room)).ok, true);
      const answers = await Promise.all(
        sockets.map((socket, i) => socket.request('send_message', { roomId: room, message: `m${i} ü` })),
      );
      for (const answer of answers) assert.equal(answer.ok, true, JSON.stringify(answer));
      const bytes = Buffer.from([0, 1, 2, 127, 128, 255]);
      assert.deepEqual(await sockets[0].request('draw', { roomId: room, bytes }, bytes), { ok: true });
      new Emitter(redis.client()).to(room).emit('picture', { bytes, n: 7 });
      for (const [i, socket] of sockets.entries()) {
        const heard = () => socket.got('new_message').map(([{ message }]) => message);
        await until(() => heard().length >= USERS, `${socket.user} hears everybody`);
        assert.deepEqual(heard().sort(), sockets.map((_, n) => `m${n} ü`));
        if (i > 0) {
          const [[event, second]] = await until(() => socket.got('draw').length > 0 && socket.got('draw'), 'the drawing');
          assert.equal(event.roomId, room);
          assert.deepEqual([Buffer.from(event.bytes), Buffer.from(second)], [bytes, bytes]);
        }
        await until(() => socket.got('picture').length > 0, 'what the emitter sent');
        const [[picture]] = socket.got('picture');
        assert.deepEqual({ ...picture, bytes: Buffer.from(picture.bytes) }, { bytes, n: 7 });
      }
    });

    test('events and notifications of backends, from either node', async () => {
      for (const [i, socket] of sockets.entries()) {
        const hub = hubs[i % hubs.length];
        const event = { event: 'update', args: [{ i }], to: { users: [socket.user] } };
        assert.equal((await hub.api('POST', '/api/v1/events', event)).status, 202);
        const note = { user: socket.user, type: 'greeting', title: `hello ${i}` };
        assert.equal((await hub.api('POST', '/api/v1/notifications', note)).status, 201);
        await until(() => socket.got('update').length > 0 && socket.got('notification').length > 0, 'both arrive');
        assert.deepEqual(socket.got('update'), [[{ i }]]);
        assert.equal(socket.got('notification')[0][0].title, `hello ${i}`);
      }
    });

    test('a second namespace on the same connection', async () => {
      const side = sockets[0].io.socket('/side', { auth: { token: hubs[0].token(sockets[0].user) } });
      await until(() => side.connected, 'the namespace is joined');
      const answer = await side.timeout(30_000).emitWithAck('join_room', room);
      assert.equal(answer.ok, true, JSON.stringify(answer));
      side.disconnect();
    });

    test('a wrong token is refused', async () => {
      const socket = client(balancer, 'nobody', { ...options, reconnection: false, auth: { token: 'wrong' } });
      const error = await within(new Promise((resolve) => socket.once('connect_error', resolve)), 'the refusal');
      assert.equal(error.message, 'Invalid token');
      socket.close();
    });

    test('a connection that breaks is made anew', async () => {
      for (const socket of sockets) assert.deepEqual(socket.ends, [], socket.user);
      for (const socket of sockets) socket.io.engine.close();
      for (const socket of sockets) {
        await until(() => socket.got('hub:ready').length > 1, `${socket.user} is back`);
        assert.equal((await socket.request('join_room', room)).ok, true);
      }
    });
  });
}

// The sid of a session at `owner`, joined by `user`, all whose later requests go to `other`.
async function strayPeer(owner, other, user, options) {
  const peer = await PollPeer.handshake(owner.url, options);
  peer.own = peer.url;
  peer.url = `${other.url}/socket.io/?EIO=4&transport=polling&sid=${peer.handshake.sid}`;
  if (user) {
    const posted = await peer.post(`40{"token":"${owner.token(user)}"}`);
    assert.deepEqual([posted.status, posted.body], [200, 'ok']);
    while (!/^42\["hub:ready"/.test(await peer.next()));
  }
  return peer;
}

const isUnknown = ({ status, body }) => status === 400 && JSON.parse(body).code === 1;

describe('a request at the other node', () => {
  test('is answered as by the node that has the session, and refused the same', async () => {
    const peer = await strayPeer(hubs[0], hubs[1], 'same');
    const cases = [
      ['transport=flash', {}],
      ['transport=websocket', {}],
      ['EIO=3', {}],
      ['', { method: 'PUT', body: '' }],
      ['', { method: 'POST', body: 'x'.repeat(1_000_001) }],
      [`transport=polling&sid=${'A'.repeat(26)}`, {}],
      [`transport=polling&sid=${'A'.repeat(25)}`, {}],
      ['transport=polling&sid=short', {}],
    ];
    for (const [query, options] of cases) {
      const [own, stray] = await Promise.all(
        [peer.own, peer.url].map((url) => send(`${url}&${query}`, options).answer),
      );
      assert.deepEqual([stray.status, stray.body], [own.status, own.body], `${query} ${options.method}`);
      assert.equal(stray.headers['content-type'], own.headers['content-type']);
    }
    await peer.post('42["join_room","public:same"]');
    assert.equal((await send(peer.own).answer).status, 200);
  });

  test('a second GET beside a held one ends the session', async () => {
    const peer = await strayPeer(hubs[0], hubs[1], 'twice');
    await until(async () => (await sum('peal_forwards')) === 0, 'nothing else is under way');
    const first = peer.hold();
    await until(async () => (await hubs[1].metric('peal_forwards')) > 0, 'the GET is held');
    const second = await peer.get();
    assert.equal(second.status, 400);
    assert.equal((await first.answer).body, '1');
    assert.ok(isUnknown(await send(peer.own).answer));
  });

  test('a held GET that is cut off ends the session', async () => {
    const peer = await strayPeer(hubs[0], hubs[1], 'cut');
    await until(async () => (await sum('peal_forwards')) === 0, 'nothing else is under way');
    const get = peer.hold();
    await until(async () => (await hubs[1].metric('peal_forwards')) > 0, 'the GET is held');
    get.request.destroy();
    await until(async () => isUnknown(await send(peer.own).answer), 'the session has ended');
    assert.ok(isUnknown(await peer.get()));
    await until(async () => (await sum('peal_forwards')) === 0, 'nothing is left');
  });

  test('CORS and compression are applied once', async () => {
    const headers = { origin: ORIGIN, 'accept-encoding': 'gzip' };
    const peer = await strayPeer(hubs[0], hubs[1], 'large', { headers });
    await peer.post('42["join_room","public:large"]');
    await until(async () => /room_joined/.test((await peer.get()).body), 'the room is joined');
    const text = 'large '.repeat(10_000);
    const event = { event: 'update', args: [text], to: { rooms: ['public:large'] } };
    assert.equal((await hubs[1].api('POST', '/api/v1/events', event)).status, 202);
    const answer = await until(async () => {
      const got = await send(peer.url, { headers }).answer;
      if (got.headers['content-encoding']) return got;
      if (got.body === '2') await peer.post('3');
      return null;
    }, 'the large answer');
    assert.equal(answer.headers['content-encoding'], 'gzip');
    assert.equal(gunzipSync(answer.bytes).toString(), `42["update",${JSON.stringify(text)}]`);
    assert.equal(answer.headers['access-control-allow-origin'], ORIGIN);
    assert.equal(answer.headers.vary, 'Origin');
    assert.equal(answer.headers['cache-control'], 'no-store');
    assert.equal(answer.headers['peal-authenticated'], undefined);
  });

  test('bodies at the limit pass in both directions', async () => {
    const peer = await strayPeer(hubs[0], hubs[1], 'up');
    const listener = await connect({ url: hubs[1].url }, 'down', { transports: ['polling'] });
    await listener.request('join_room', 'public:big');
    await peer.post('42["join_room","public:big"]');
    await until(async () => /room_joined/.test((await peer.get()).body), 'the room is joined');
    const text = 'b'.repeat(60_000);
    const packets = Array.from({ length: 16 }, (_, i) => `42["blob",{"roomId":"public:big","i":${i}},"${text}"]`);
    assert.equal((await peer.post(...packets)).body, 'ok');
    await until(() => listener.got('blob').length === packets.length, 'every blob');
    for (const [i, [, got]] of listener.got('blob').entries()) assert.equal(got, text, `blob ${i}`);
    listener.close();
  });

  test('a sid that nobody has costs Redis at most one question a tag, shard and second', async () => {
    const monitor = await redis.monitor();
    const asked = () => monitor.told.filter(([command, key]) => /^get$/i.test(command) && /:node:/.test(key)).map(([, key]) => key);
    const began = Date.now();
    const url = `${hubs[1].url}/socket.io/?EIO=4&transport=polling&sid=__9`;
    for (let i = 0; i < 300; i++) {
      const sid = String(i).padStart(23, 'A');
      assert.ok(isUnknown(await send(url + sid).answer));
    }
    await until(() => asked().length > 0, 'a question');
    const seconds = Math.ceil((Date.now() - began) / 1000);
    monitor.stop();
    const keys = asked();
    const unknown = [...new Set(keys)].map((key) => keys.filter((other) => other === key).length);
    assert.ok(Math.max(...unknown) <= SHARDS * (seconds + 1), `${Math.max(...unknown)} in ${seconds} s`);
  });
});

describe('a WebSocket at the other node', () => {
  const upgrade = async (peer, node) => {
    const socket = await EnginePeer.open(node.url, { query: `EIO=4&transport=websocket&sid=${peer.handshake.sid}` });
    socket.send('2probe');
    assert.equal(await socket.next(), '3probe');
    return socket;
  };

  test('takes the session over, and its end is the end of the session', async () => {
    const peer = await strayPeer(hubs[0], hubs[1], 'over');
    const socket = await upgrade(peer, hubs[1]);
    socket.pong = true;
    socket.send('5', '421["join_room","public:over"]');
    let answer;
    while (!/^431\[/.test((answer = await socket.next())));
    assert.match(answer, /"ok":true/);
    assert.equal((await peer.get()).body, JSON.stringify({ code: 3, message: 'Bad request' }));
    socket.close();
    await until(async () => isUnknown(await send(peer.own).answer), 'the session has ended');
    await until(async () => (await sum('peal_forwards')) === 0, 'nothing is left');
  });

  test('is refused where it cannot take over', async () => {
    const peer = await strayPeer(hubs[0], hubs[1], 'refused');
    const socket = await upgrade(peer, hubs[1]);
    const rival = await EnginePeer.open(hubs[1].url, { query: `EIO=4&transport=websocket&sid=${peer.handshake.sid}` });
    await rival.end();
    socket.send('what');
    await socket.end();
    await peer.post('42["join_room","public:refused"]');
    await until(async () => /room_joined/.test((await peer.get()).body), 'polling goes on');
  });

  test('that nobody reads is held back, and closed by the node that has the session', async () => {
    const pair = [await startNode({ args: [...shared.args, '--limits-slow-consumer', '1s', '--limits-outbound-max', '256KiB'] }), await startNode()];
    const peer = await strayPeer(pair[0], pair[1], 'slow');
    const socket = await upgrade(peer, pair[1]);
    socket.send('5', '421["join_room","public:slow"]');
    while (!/^431\[/.test(await socket.next()));
    socket.socket.pause();
    const event = { event: 'flood', args: ['f'.repeat(60_000)], to: { rooms: ['public:slow'] } };
    await until(async () => {
      // What the kernel takes on two connections is megabytes.
      const answers = await Promise.all(Array.from({ length: 10 }, () => pair[0].api('POST', '/api/v1/events', event)));
      for (const { status } of answers) assert.equal(status, 202);
      return (await pair[0].metric('peal_closed_total{reason="slow"}')) > 0; // at its maximum, or after slow_consumer
    }, 'the node that has the session sees that nothing is taken');
    await until(async () => (await sum('peal_sockets', pair)) === 0, 'the session is closed');
    socket.socket.resume();
    socket.close();
    await until(async () => (await sum('peal_forwards', pair)) === 0, 'nothing is left');
  });
});
