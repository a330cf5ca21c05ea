// SPDX-License-Identifier: Apache-2.0
// What clients do with rooms and tokens, and what they are refused.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { io } from 'socket.io-client';
import { PlainClient } from './support/plain_client.mjs';
import { startHub } from './support/hub.mjs';
import { makeToken, signToken } from './support/tokens.mjs';
import { until, within } from './support/wait.mjs';

const ISO = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;
const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

// A connected Socket.IO client whose events are kept in `events`, with the plain client's methods.
async function connect(hub, user, options) {
  const socket = hub.socketIo(user, { reconnection: false, ...options });
  const client = {
    socket,
    events: [],
    emit: (...args) => socket.emit(...args),
    request: (...args) => socket.timeout(30_000).emitWithAck(...args),
    received: (event) => client.events.filter(([name]) => name === event).map(([, ...args]) => args),
    next: async (event, accept = () => true) =>
      (await until(() => client.received(event).find((args) => accept(...args)), `${event}`))[0],
    close: () => socket.close(),
  };
  socket.onAny((...args) => client.events.push(args));
  client.ended = new Promise((resolve) => socket.once('disconnect', resolve));
  await within(
    new Promise((resolve, reject) => {
      socket.once('connect', resolve);
      socket.once('connect_error', reject);
    }),
    `${user} connects`,
  );
  let end; // of one that is connected and then one too many: nothing more is to come
  client.ended.then((reason) => (end = reason));
  await until(() => end || client.received('hub:ready').length, 'hub:ready');
  if (end) throw new Error(`ended: ${end}`);
  [client.ready] = client.received('hub:ready')[0];
  return client;
}

// Everything `from` did before has come to all of `clients`, who are in `room` with it: the hub
// keeps the order of one sender.
async function settled(from, room, ...clients) {
  settled.count = (settled.count ?? 0) + 1;
  const message = `settled ${settled.count}`;
  await from.request('send_message', { roomId: room, message });
  for (const client of clients) await client.next('new_message', (body) => body.message === message);
}

const refused = (answer, error, message) => {
  assert.equal(answer.ok, false);
  assert.equal(answer.error, error);
  if (message !== undefined) assert.equal(answer.message, message);
};

// Show `token` as a subprotocol, as pages must; resolves with the close that refuses it.
async function closing(hub, token) {
  const client = await PlainClient.connect(hub.url, token);
  return within(client.closed, 'the refusal on /ws');
}

// CONNECT as `auth` says; resolves with the error.
function refusal(hub, auth, options = {}) {
  const socket = io(hub.url, { forceNew: true, reconnection: false, transports: ['websocket'], auth, ...options });
  const result = new Promise((resolve, reject) => {
    socket.once('connect_error', resolve);
    socket.once('connect', () => reject(new Error('connected')));
  });
  return within(result, 'a refusal').finally(() => socket.close());
}

describe('rooms', () => {
  let hub;
  before(async () => {
    hub = await startHub({
      config: `room_type "watched" { access = {"any"} presence = on }
               room_type "quiet" { access = {"any"} presence = off }
               room_type "news" { access = {"any"} send = {"nobody"} }
               room_type "small" { access = {"any"} max_members = 2 }
               room_type "customer" { access = {"pattern:customer:{sub}"} auto_join = {"customer:{sub}"} }
               events { alias = {"chat:message=send_message"} }`,
    });
  });
  after(() => hub?.stop());

  test('joining tells the caller, and the others where presence is on', async () => {
    const anna = await connect(hub, 'anna', { claims: { name: 'Anna A.' } });
    const ben = await connect(hub, 'ben');
    const plain = await hub.plain('carl');
    const room = { roomId: 'watched:1', roomType: 'watched' };
    assert.deepEqual(await anna.request('join_room', { roomId: 'watched:1' }), { ok: true, ...room });
    assert.deepEqual(await anna.next('room_joined'), room);
    ben.emit('join_room', { roomId: 'watched:1', roomType: 'of no weight' });
    assert.deepEqual(await ben.next('room_joined'), room);
    assert.deepEqual(await anna.next('user_joined_room'), {
      roomId: 'watched:1', userId: 'ben', userName: null,
    });
    assert.deepEqual(await plain.request('join_room', 'watched:1'), { ok: true, ...room });
    await anna.next('user_joined_room', ({ userId }) => userId === 'carl');
    await ben.next('user_joined_room', ({ userId }) => userId === 'carl');
    assert.deepEqual(plain.received('user_joined_room'), []);
    assert.deepEqual(await anna.request('leave_room', { roomId: 'watched:1' }), { ok: true, ...room });
    assert.deepEqual(await anna.next('room_left'), room);
    assert.deepEqual(await ben.next('user_left_room'), {
      roomId: 'watched:1', userId: 'anna', userName: 'Anna A.',
    });
    ben.close();
    await plain.next('user_left_room', ({ userId }) => userId === 'ben');
    assert.deepEqual(anna.received('user_left_room'), []);
  });

  test('the devices of one user are one arrival and one departure', async () => {
    const watcher = await connect(hub, 'watcher');
    await watcher.request('join_room', 'watched:tabs');
    const tabs = [await connect(hub, 'tabs'), await hub.plain('tabs'), await connect(hub, 'tabs')];
    for (const tab of tabs) assert.equal((await tab.request('join_room', 'watched:tabs')).ok, true);
    await settled(tabs[2], 'watched:tabs', watcher);
    assert.equal(watcher.received('user_joined_room').length, 1);
    for (const tab of tabs) assert.deepEqual(tab.received('user_joined_room'), []);
    assert.equal((await tabs[0].request('leave_room', 'watched:tabs')).ok, true);
    tabs[1].close();
    await tabs[1].closed;
    await settled(tabs[2], 'watched:tabs', watcher);
    assert.deepEqual(watcher.received('user_left_room'), []);
    tabs[2].close();
    assert.equal((await watcher.next('user_left_room')).userId, 'tabs');
    assert.equal((await tabs[0].request('join_room', 'watched:tabs')).ok, true);
    await until(() => watcher.received('user_joined_room').length === 2, 'the user is back');
  });

  test('joining twice is joining once', async () => {
    const client = await connect(hub, 'twice');
    const other = await connect(hub, 'once');
    await other.request('join_room', 'watched:2');
    const answers = await Promise.all([1, 2, 3].map(() => client.request('join_room', 'watched:2')));
    assert.ok(answers.every(({ ok }) => ok));
    await settled(other, 'watched:2', client, other);
    assert.equal(other.received('user_joined_room').length, 1);
    assert.equal(client.received('new_message').length, 1);
    await client.request('leave_room', 'watched:2');
    refused(await client.request('send_message', { roomId: 'watched:2', message: 'x' }), 'forbidden');
    assert.equal((await client.request('leave_room', 'watched:2')).ok, true);
  });

  test('what comes last counts, also when nothing was waited for', async () => {
    const client = await connect(hub, 'hasty');
    const other = await connect(hub, 'patient');
    await other.request('join_room', 'watched:3');
    const ask = (event) => client.request(event, 'watched:3');
    const answers = await Promise.all([ask('join_room'), ask('leave_room')]);
    assert.ok(answers.every(({ ok }) => ok));
    refused(await client.request('send_message', { roomId: 'watched:3', message: 'x' }), 'forbidden');
    await Promise.all([ask('join_room'), ask('leave_room'), ask('join_room')]);
    await settled(client, 'watched:3', client, other);
    await Promise.all([ask('leave_room'), ask('join_room'), ask('leave_room')]);
    refused(await client.request('send_message', { roomId: 'watched:3', message: 'x' }), 'forbidden');
    await settled(other, 'watched:3', other);
    const told = other.events.map(([name]) => name).filter((name) => /^user_/.test(name));
    const expected = Array.from({ length: 8 }, (_, i) => (i % 2 ? 'user_left_room' : 'user_joined_room'));
    assert.deepEqual(told, expected);
  });

  test('a room without presence is quiet', async () => {
    const [dora, emil] = [await connect(hub, 'dora'), await connect(hub, 'emil')];
    await dora.request('join_room', 'quiet:1');
    await emil.request('join_room', 'quiet:1');
    await settled(emil, 'quiet:1', dora, emil);
    assert.deepEqual(dora.received('user_joined_room'), []);
  });

  test('access is denied by default, whatever the client says of the type', async () => {
    const claims = { rooms: ['project:7', 'team:*'], companyId: 'acme' };
    const client = await connect(hub, 'frida', { claims });
    const allowed = ['public:a', 'public', 'project:7', 'team:x', 'team:', 'company:acme', 'tenant:acme'];
    for (const room of allowed) assert.equal((await client.request('join_room', room)).ok, true, room);
    const denied = [
      'project:8', 'project:70', 'project', 'teams', 'company:other', 'company', 'admin', 'admin:1',
      'user:anna', 'user:', client.socket.id, 'customer:anna', 'lobby', 'Public:a', 'toString',
    ];
    for (const roomId of denied) {
      const answer = await client.request('join_room', { roomId, roomType: 'public' });
      assert.deepEqual([roomId, answer.error], [roomId, 'forbidden']);
      refused(answer, 'forbidden', 'Access denied to room');
    }
    client.emit('join_room', 'project:8');
    assert.deepEqual(await client.next('error'), {
      message: 'Access denied to room', code: 'forbidden', event: 'join_room',
    });
    const admin = await connect(hub, 'root', { claims: { role: 'admin' } });
    assert.equal((await admin.request('join_room', 'admin')).roomType, 'admin');
    assert.equal((await admin.request('join_room', 'admin:1')).ok, true);
    assert.equal((await client.request('subscribe', { companyId: 'acme' })).ok, true);
    refused(await client.request('subscribe', { companyId: 'other' }), 'forbidden');
  });

  test('one who joins its own user room gets what is sent to the user once', async () => {
    const client = await connect(hub, 'twofold');
    assert.equal((await client.request('join_room', 'user:twofold')).ok, true);
    await client.request('join_room', 'public:twofold');
    const to = { users: ['twofold'] };
    const post = (event) => hub.api('POST', '/api/v1/events', { event, args: [1], to });
    assert.equal((await post('update')).status, 202);
    assert.equal((await post('end')).status, 202);
    await client.next('end');
    assert.equal(client.received('update').length, 1);
  });

  test('bad names are told as such', async () => {
    const client = await connect(hub, 'greta');
    const bad = ['', 'a/b', 'public:a\u0000', 'public:\n', `public:${'x'.repeat(200)}`, 7, null, {}, { roomId: [] }];
    for (const room of bad) refused(await client.request('join_room', room), 'invalid_field');
    refused(await client.request('join_room'), 'invalid_field');
    const long = `public:${'x'.repeat(193)}`;
    assert.equal((await client.request('join_room', long)).roomId, long);
    assert.equal((await client.request('join_room', 'public:caf\u00e9 \u{1f514}"\\')).ok, true);
  });

  test('a message reaches everyone in the room, the sender too', async () => {
    const hans = await connect(hub, 'hans', { claims: { name: 'Hans' } });
    const ida = await connect(hub, 'ida');
    const plain = await hub.plain('jon', { encoding: 'msgpack' });
    const outside = await connect(hub, 'kim');
    for (const client of [hans, ida, plain]) await client.request('join_room', 'public:talk');
    const text = 'Hej "du" \\ \u{1f514} caf\u00e9 <b>';
    const answer = await hans.request('send_message', { roomId: 'public:talk', message: text });
    assert.equal(answer.ok, true);
    for (const client of [hans, ida, plain]) {
      const message = await client.next('new_message');
      assert.match(message.id, UUID);
      assert.match(message.timestamp, ISO);
      assert.deepEqual(message, {
        id: answer.id, roomId: 'public:talk', userId: 'hans', userName: 'Hans', message: text,
        type: 'text', timestamp: message.timestamp,
      });
    }
    const image = { roomId: 'public:talk', message: 'see', type: 'image' };
    await plain.request('send_message', image);
    assert.equal((await ida.next('new_message', ({ type }) => type === 'image')).userName, 'jon');
    ida.emit('chat:message', { roomId: 'public:talk', message: 'by another name' });
    await hans.next('new_message', ({ message }) => message === 'by another name');
    refused(await outside.request('send_message', image), 'forbidden', 'Not in this room');
    assert.deepEqual(outside.received('new_message'), []);
  });

  test('a message has 1 to 1000 characters', async () => {
    const client = await connect(hub, 'liv');
    await client.request('join_room', 'public:len');
    const send = (message) => client.request('send_message', { roomId: 'public:len', message });
    for (const message of ['', 'x'.repeat(1001), '\u{1f514}'.repeat(1001), 7, null, ['x'], undefined]) {
      refused(await send(message), 'invalid_field');
    }
    for (const message of ['x', '\u{1f514}'.repeat(1000), '\\'.repeat(1000)]) {
      assert.equal((await send(message)).ok, true);
      await client.next('new_message', (body) => body.message === message);
    }
    client.emit('send_message', { roomId: 'public:len' });
    assert.equal((await client.next('error')).event, 'send_message');
  });

  test('how long a message may be is a setting', async () => {
    const short = await startHub({ args: ['--limits-message-chars', '5'] });
    try {
      const client = await connect(short, 'liv');
      await client.request('join_room', 'public:len');
      const send = (message) => client.request('send_message', { roomId: 'public:len', message });
      assert.equal((await send('five!')).ok, true);
      const longer = await send('six...');
      refused(longer, 'invalid_field', 'A text of 1 to 5 characters');
      assert.equal(longer.field, 'message');
    } finally {
      await short.stop();
    }
  });

  test('a nonce is sent once', async () => {
    const [mia, noa] = [await connect(hub, 'mia'), await connect(hub, 'noa')];
    for (const client of [mia, noa]) await client.request('join_room', 'public:nonce');
    const message = { roomId: 'public:nonce', message: 'once', nonce: 'n-1' };
    assert.equal((await mia.request('send_message', message)).ok, true);
    const again = await mia.request('send_message', message);
    assert.deepEqual([again.ok, again.duplicate], [true, true]);
    const sameUser = await connect(hub, 'mia');
    await sameUser.request('join_room', 'public:nonce');
    assert.equal((await sameUser.request('send_message', message)).duplicate, true);
    assert.equal((await noa.request('send_message', message)).duplicate, undefined);
    await settled(mia, 'public:nonce', mia, noa);
    const times = (client) => client.received('new_message').filter(([m]) => m.message === 'once').length;
    assert.deepEqual([times(mia), times(noa)], [2, 2]);
  });

  test('who may send is said by the type', async () => {
    const client = await connect(hub, 'olaf');
    await client.request('join_room', 'news:1');
    refused(await client.request('send_message', { roomId: 'news:1', message: 'x' }), 'forbidden');
  });

  test('typing reaches the others and stops by itself', async () => {
    const [pia, quin] = [await connect(hub, 'pia'), await connect(hub, 'quin')];
    for (const client of [pia, quin]) await client.request('join_room', 'public:typing');
    assert.deepEqual(await pia.request('typing:start', { roomId: 'public:typing' }), { ok: true });
    const start = { roomId: 'public:typing', userId: 'pia', typing: true };
    assert.deepEqual(await quin.next('typing'), start);
    assert.deepEqual(await quin.next('typing', ({ typing }) => !typing), { ...start, typing: false });
    await pia.request('typing:start', { roomId: 'public:typing' });
    await pia.request('typing:stop', { roomId: 'public:typing' });
    await until(() => quin.received('typing').length === 4, 'started and stopped again');
    assert.deepEqual(pia.received('typing'), []);
    refused(await pia.request('typing:start', { roomId: 'public:elsewhere' }), 'forbidden');
    refused(await pia.request('typing:start', {}), 'invalid_field');
  });

  test('a room may be joined by itself, and typing names its customer', async () => {
    const first = await connect(hub, 'c1');
    const second = await connect(hub, 'c1');
    const typed = () => first.request('typing:start', { customerId: 'c1' });
    await until(async () => (await typed()).ok, 'the room was joined');
    assert.equal((await second.next('typing')).roomId, 'customer:c1');
  });

  test('a full room refuses', async () => {
    const clients = [await connect(hub, 's1'), await connect(hub, 's2'), await connect(hub, 's3')];
    assert.equal((await clients[0].request('join_room', 'small:1')).ok, true);
    assert.equal((await clients[1].request('join_room', 'small:1')).ok, true);
    refused(await clients[2].request('join_room', 'small:1'), 'forbidden', 'Room is full');
    await clients[0].request('leave_room', 'small:1');
    const joined = () => clients[2].request('join_room', 'small:1');
    await until(async () => (await joined()).ok, 'there is place again');
  });

  test('after 50 messages a user is limited, on all devices, and nobody else', async () => {
    const [rosa, device] = [await connect(hub, 'rosa'), await connect(hub, 'rosa')];
    const other = await connect(hub, 'sven');
    for (const client of [rosa, device, other]) await client.request('join_room', 'public:rate');
    const answers = [];
    for (let i = 0; i < 60; i++) {
      const from = i % 2 ? device : rosa;
      answers.push(await from.request('send_message', { roomId: 'public:rate', message: `m${i}` }));
    }
    const passed = answers.findIndex(({ ok }) => !ok);
    assert.ok(passed >= 50 && passed < 60, `${passed} passed`); // refilled at 50 a minute
    refused(answers[passed], 'rate_limited');
    assert.ok(answers[passed].retryAfter > 0, JSON.stringify(answers[passed]));
    const limited = await (passed % 2 ? device : rosa).next('rate_limited');
    assert.equal(limited.event, 'send_message');
    assert.ok(limited.retryAfter > 0 && limited.retryAfter <= 1200, String(limited.retryAfter));
    await settled(other, 'public:rate', other);
    const count = answers.filter(({ ok }) => ok).length;
    assert.equal(other.received('new_message').length, count + 1);
  });

  test('unknown and reserved events are refused', async () => {
    const client = await connect(hub, 'tove');
    for (const event of ['nothing', 'notification', 'hub:ready', 'new_message', 'a'.repeat(128)]) {
      refused(await client.request(event, {}), 'bad_request');
    }
    const plain = await hub.plain('tove');
    refused(await plain.request('nothing'), 'bad_request');
    plain.emit('room_joined', {});
    assert.equal((await plain.next('error')).event, 'room_joined');
    for (const name of ['connect', 'disconnect', 'connect_error', '__proto__', 'newListener']) {
      const raw = await connect(hub, 'ulf');
      raw.socket.io.engine.write(`2["${name}"]`);
      assert.equal(await within(raw.ended, `${name} ends the connection`), 'transport close');
    }
  });

  test('a socket is in at most 128 rooms, those it joined by itself too', async () => {
    const client = await connect(hub, 'vera');
    for (let i = 1; i < 128; i++) {
      assert.equal((await client.request('join_room', `public:${i}`)).ok, true, `room ${i}`);
    }
    refused(await client.request('join_room', 'public:128'), 'forbidden', 'Too many rooms');
    await client.request('leave_room', 'public:1');
    assert.equal((await client.request('join_room', 'public:128')).ok, true);
    assert.equal(client.ready.limits.rooms, 128);
  });

  test('limits.excess = replace: the oldest of a user goes, and does not come back by itself', async () => {
    const own = await startHub({ config: 'room_type "public" { access = {"any"} }\nlimits { connections_per_user = 2 excess = replace }' });
    try {
      const first = await own.plain('wim');
      const second = own.socketIo('wim');
      const reason = new Promise((resolve) => second.on('hub:closing', resolve));
      const left = new Promise((resolve) => second.on('disconnect', resolve));
      await within(new Promise((resolve) => second.on('hub:ready', resolve)), 'hub:ready');
      const third = await own.plain('wim');
      assert.equal((await within(first.closed, 'the first one ends')).code, 4409);
      const fourth = await own.plain('wim');
      assert.equal((await within(reason, 'the second one is told')).code, 4409);
      assert.equal(await within(left, 'and sent away'), 'io server disconnect');
      const other = await own.plain('xia');
      for (const client of [third, fourth, other]) assert.equal((await client.request('join_room', 'public:w')).ok, true);
      await until(async () => /peal_closed_total\{reason="replaced"\} [1-9]/.test((await own.askInternal('/metrics')).body), 'it is counted');
    } finally {
      await own.stop();
    }
  });

  test('a user has at most 16 connections', async () => {
    const clients = [];
    for (let i = 0; i < 15; i++) clients.push(await connect(hub, 'wim'));
    const last = await hub.plain('wim');
    const extra = await PlainClient.connect(hub.url, hub.token('wim')).catch((error) => ({ error }));
    if (extra.error) assert.equal(extra.error.status, 429);
    else assert.equal((await within(extra.closed, 'one too many is closed')).code, 4429);
    const socket = hub.socketIo('wim', { reconnection: false });
    const end = new Promise((resolve) => {
      socket.on('disconnect', resolve);
      socket.on('connect_error', resolve);
    });
    await within(end, 'one too many on Socket.IO ends');
    assert.equal((await last.request('join_room', 'public:w')).ok, true);
    clients[0].close();
    const again = () => connect(hub, 'wim');
    assert.ok(await until(again, 'there is place again'));
  });

  test('a client that asked for it gets windows as batch_update', async () => {
    const batch = await connect(hub, 'xena', { auth: { batch: true } });
    const single = await connect(hub, 'yara');
    const sender = await connect(hub, 'zoe');
    for (const client of [batch, single, sender]) await client.request('join_room', 'public:batch');
    for (let i = 0; i < 40; i++) sender.emit('send_message', { roomId: 'public:batch', message: `b${i}` });
    const flat = (client) =>
      client.events.flatMap(([name, body]) =>
        name === 'batch_update' ? body.messages.map(({ event, args }) => [event, ...args]) : [[name, body]]);
    const texts = (client) => flat(client).filter(([name]) => name === 'new_message').map(([, m]) => m.message);
    const expected = Array.from({ length: 40 }, (_, i) => `b${i}`);
    for (const client of [batch, single, sender]) {
      await until(() => texts(client).length === 40, 'all messages');
      assert.deepEqual(texts(client), expected);
    }
    assert.deepEqual(single.received('batch_update'), []);
    assert.equal(single.received('new_message').length, 40);
    const windows = batch.received('batch_update').map(([window]) => window);
    assert.ok(windows.every(({ timestamp }) => Number.isInteger(timestamp)));
    assert.ok(windows.some(({ messages }) => messages.length > 1));
  });
});

describe('tokens', () => {
  let hub;
  before(async () => {
    hub = await startHub({ config: 'auth { expiry_notice = 1m }' });
  });
  after(() => hub?.stop());

  test('a missing token and a bad one are told apart', async () => {
    const missing = await refusal(hub, {});
    assert.equal(missing.message, 'Authentication required');
    const now = Math.floor(Date.now() / 1000);
    const bad = {
      'no token': 'nonsense',
      'another secret': makeToken('a', 'another secret of some length.....'),
      'no user': signToken({ exp: now + 60 }, hub.secret),
      'no expiry': signToken({ sub: 'a' }, hub.secret),
      'not yet': makeToken('a', hub.secret, { nbf: now + 600 }),
      'alg none': `${signToken({ sub: 'a', exp: now + 60 }, hub.secret, { alg: 'none' }).replace(/[^.]+$/, '')}`,
      'another alg': signToken({ sub: 'a', exp: now + 60 }, hub.secret, { alg: 'HS512' }),
      'a slash': makeToken('a/b', hub.secret),
      'expired and forged': signToken({ sub: 'a', exp: now - 60 }, 'another secret of some length.....'),
    };
    for (const [name, token] of Object.entries(bad)) {
      const error = await refusal(hub, { token });
      assert.deepEqual([error.message, error.data], ['Invalid token', undefined], name);
      assert.deepEqual(await closing(hub, token), { code: 4401, reason: 'Invalid token' }, name);
      const headers = { authorization: `Bearer ${token}` };
      await assert.rejects(PlainClient.connect(hub.url, undefined, { headers }), { status: 401 }, name);
    }
    await assert.rejects(PlainClient.connect(hub.url, undefined), { status: 401 });
    const expired = await refusal(hub, { token: makeToken('a', hub.secret, { exp: now - 1 }) });
    assert.deepEqual([expired.message, expired.data], ['Invalid token', { code: 'token_expired' }]);
  });

  test('a token comes as header, subprotocol or auth', async () => {
    const token = hub.token('dave');
    const header = io(hub.url, {
      forceNew: true, reconnection: false, transports: ['websocket'],
      extraHeaders: { authorization: `Bearer ${token}` },
    });
    await within(new Promise((resolve) => header.once('hub:ready', resolve)), 'ready by header');
    header.close();
    const plain = await PlainClient.connect(hub.url, undefined, { headers: { authorization: `Bearer ${token}` } });
    assert.equal((await plain.next('hub:ready')).userId, 'dave');
    plain.close();
    await assert.rejects(PlainClient.connect(`${hub.url}?token=${token}`, undefined));
    const byUserId = signToken({ userId: 'eve', exp: Math.floor(Date.now() / 1000) + 60 }, hub.secret);
    const client = await PlainClient.connect(hub.url, byUserId);
    assert.equal((await client.next('hub:ready')).userId, 'eve');
    client.close();
  });

  test('a connection ends with its token, unless it has a newer one', async () => {
    const exp = () => Math.floor(Date.now() / 1000) + 4;
    const short = { claims: { exp: exp() } };
    const [gone, plain] = [await connect(hub, 'fay', short), await hub.plain('fay', short)];
    const [stays, other] = [await connect(hub, 'fay', short), await hub.plain('fay', short)];
    const notice = await stays.next('hub:token_expiring');
    assert.ok(notice.in > 0 && notice.in <= 4000, String(notice.in));
    await other.next('hub:token_expiring');
    refused(await stays.request('auth:refresh', { token: 'nonsense' }), 'unauthorized');
    refused(await stays.request('auth:refresh', { token: hub.token('gus') }), 'forbidden');
    assert.deepEqual(await stays.request('auth:refresh', { token: hub.token('fay') }), { ok: true });
    assert.deepEqual(await other.request('auth:refresh', { token: hub.token('fay') }), { ok: true });
    assert.equal((await gone.next('hub:closing')).code, 4401);
    assert.equal(await within(gone.ended, 'the Socket.IO client is sent away'), 'io server disconnect');
    assert.equal((await within(plain.closed, 'the plain client is closed')).code, 4401);
    assert.equal((await stays.request('join_room', 'public:a')).ok, true);
    assert.equal((await other.request('join_room', 'public:a')).ok, true);
  });
});

describe('tenants', () => {
  const config = `room_type "project" { access = {"any"} }`;
  const both = async (hub) => {
    const [a, b] = [
      await connect(hub, 'sam', { claims: { tenant: 'one' } }),
      await connect(hub, 'sam', { claims: { tenant: 'two' } }),
    ];
    for (const client of [a, b]) assert.equal((await client.request('join_room', 'project:1')).roomId, 'project:1');
    return [a, b];
  };

  test('on: the same names of two tenants never meet', async () => {
    const hub = await startHub({ config: `${config} auth { tenants = on }` });
    try {
      const [a, b] = await both(hub);
      await a.request('send_message', { roomId: 'project:1', message: 'of one' });
      await b.request('send_message', { roomId: 'project:1', message: 'of two' });
      await a.request('typing:start', { roomId: 'project:1' });
      await settled(a, 'project:1', a);
      await settled(b, 'project:1', b);
      assert.deepEqual(a.received('new_message').map(([m]) => m.message).includes('of two'), false);
      assert.deepEqual(b.received('new_message').map(([m]) => m.message).includes('of one'), false);
      assert.deepEqual(b.received('typing'), []);
      const post = (tenant) => hub.api('POST', '/api/v1/notifications', { tenant, user: 'sam', type: 'test', title: tenant });
      assert.equal((await post('one')).status, 201);
      assert.equal((await post('two')).status, 201);
      for (const [client, tenant] of [[a, 'one'], [b, 'two']]) {
        const item = await client.next('notification');
        assert.deepEqual([item.title, item.seq, item.rev], [tenant, 1, 1]);
      }
      const items = (await a.request('notification:list', {})).items;
      assert.deepEqual(items.map(({ title }) => title), ['one']);
      const other = (await b.request('notification:list', {})).items[0];
      const answer = await a.request('notification:read', other.id);
      assert.deepEqual([answer.ok, answer.unread], [true, 1]);
      const event = { event: 'update', args: [1], to: { rooms: ['project:1'] }, tenant: 'one' };
      assert.equal((await hub.api('POST', '/api/v1/events', event)).status, 202);
      await a.next('update');
      await settled(b, 'project:1', b);
      assert.deepEqual(b.received('update'), []);
    } finally {
      await hub.stop();
    }
  });

  test('off: all share one space', async () => {
    const hub = await startHub({ config });
    try {
      const [a, b] = await both(hub);
      await a.request('send_message', { roomId: 'project:1', message: 'of one' });
      await b.next('new_message', ({ message }) => message === 'of one');
      await a.close();
    } finally {
      await hub.stop();
    }
  });
});

test('a client that stops reading is bounded and sent away, and nobody else notices', { timeout: 120_000 }, async () => {
  const hub = await startHub({
    config: `room_type "watched" { access = {"any"} presence = on }
             limits { slow_consumer = 1s messages_per_minute = 1000000 messages_burst = 1000000 }`,
  });
  try {
    const sender = await connect(hub, 'fast');
    const reader = await hub.plain('reader');
    const slow = await hub.plain('slow');
    for (const client of [sender, reader, slow]) await client.request('join_room', 'watched:1');
    slow.socket.pause();
    const message = '\u{1f514}'.repeat(1000);
    const gone = () => reader.received('user_left_room').some(([{ userId }]) => userId === 'slow');
    let sent = 0;
    // What the kernel buffers is not the hub's: only when it takes no more, the hub's own bound counts.
    await until(async () => {
      const burst = Array.from({ length: 10 }, () => sender.request('send_message', { roomId: 'watched:1', message }));
      for (const answer of await Promise.all(burst)) assert.equal(answer.ok, true);
      sent += burst.length;
      return gone();
    }, 'the slow client is given up', 60_000);
    const isWhole = (client) => client.received('new_message').length === sent;
    await until(() => isWhole(reader) && isWhole(sender), 'the others have everything');
    slow.socket.resume();
    const end = await within(slow.closed, 'the slow client learns');
    assert.ok([4508, 1006].includes(end.code), String(end.code)); // the close itself may not have fitted
    assert.ok(slow.received('new_message').length < sent, 'what did not fit was dropped');
  } finally {
    await hub.stop();
  }
});

test('a node that is told to end sends its clients away in time and exits with 0', async () => {
  const hub = await startHub({ config: 'drain { reconnect = 2s }' });
  const clients = [];
  for (let i = 0; i < 5; i++) {
    clients.push(await connect(hub, `d${i}`));
    clients.push(await hub.plain(`d${i}`));
  }
  const ends = clients.map((client) => client.ended ?? client.closed);
  hub.server.signal('SIGTERM');
  for (const client of clients) assert.ok((await client.next('hub:draining')).reconnectIn >= 0);
  const waits = clients.map((client) => client.received('hub:draining')[0][0].reconnectIn);
  assert.ok(new Set(waits).size > 1, `different for each: ${waits}`);
  const reasons = await within(Promise.all(ends), 'all are sent away');
  reasons.forEach((reason, i) => {
    if (i % 2) assert.equal(reason.code, 4503);
    else assert.equal(reason, 'transport close'); // a Socket.IO client returns after this
  });
  assert.deepEqual(await within(hub.server.ended, 'the hub ends'), { code: 0, signal: null });
  await assert.rejects(PlainClient.connect(hub.url, hub.token('late')));
});
