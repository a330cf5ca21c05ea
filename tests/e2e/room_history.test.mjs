// SPDX-License-Identifier: Apache-2.0
// What was said in rooms: kept before it is told, read by members and backends, on any node.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { io } from 'socket.io-client';
import WebSocket from 'ws';
import { Peal } from '../../clients/js/peal.js';
import { PealServer } from '../../clients/node/index.js';
import { startHub } from './support/hub.mjs';
import { startPostgres } from './support/postgres.mjs';
import { startRedis } from './support/redis.mjs';
import { randomSecret } from './support/tokens.mjs';
import { until } from './support/wait.mjs';

const KEY = 'history-0123456789abcdef';
const CONFIG = `api_key "server" { key = "${KEY}" scopes = {publish, read, admin} }
                room_type "chat" { access = {"any"} history = store presence = off }
                room_type "short" { access = {"any"} history = store history_age = 1s }
                room_type "plain" { access = {"any"} }
                limits { joins_burst = 100000 messages_burst = 100000 messages_per_minute = 1000000 inbox_burst = 100000 }
`;

const emit = (hub, event, args, room) => hub.api('POST', '/api/v1/events', { event, args, to: { rooms: [room] } });

async function connectSocketIo(hub, user) {
  const socket = io(hub.url, {
    forceNew: true, transports: ['websocket'], reconnection: false, auth: { token: hub.token(user, { rooms: ['*'] }) },
  });
  const client = {
    events: [],
    request: (...args) => socket.timeout(30_000).emitWithAck(...args),
    close: () => socket.close(),
  };
  socket.onAny((...event) => client.events.push(event));
  await until(() => client.events.some(([name]) => name === 'hub:ready'), `${user} is in`);
  return client;
}

const KINDS = {
  'Socket.IO': connectSocketIo,
  '/ws in JSON': (hub, user) => hub.plain(user, { encoding: 'json' }),
  '/ws in MessagePack': (hub, user) => hub.plain(user, { encoding: 'msgpack' }),
};

async function ask(client, event, argument) {
  const answer = await client.request(event, argument);
  assert.equal(answer.ok, true, JSON.stringify(answer));
  return answer;
}

const told = (client, event) => client.events.filter(([name]) => name === event).map(([, body]) => body);

// All pages, the newest first; what they have, the oldest first.
async function readAll(read) {
  const all = [];
  for (let before; before !== null;) {
    const { messages, next } = await read(before === undefined ? {} : { before });
    all.unshift(...messages);
    before = next;
  }
  return all;
}

describe('two nodes', () => {
  let redis;
  let postgres;
  let hubs;
  before(async () => {
    [redis, postgres] = await Promise.all([startRedis(), startPostgres()]);
    const secret = randomSecret();
    const start = () => startHub({ redis, postgres, secret, config: CONFIG });
    hubs = await Promise.all([start(), start()]);
  });
  after(async () => {
    await Promise.all((hubs ?? []).map((hub) => hub.stop()));
    await Promise.all([redis?.stop(), postgres?.stop()]);
  });

  for (const [kind, connect] of Object.entries(KINDS)) {
    test(`${kind}: what was said is read as it was told, on any node, in pages`, async () => {
      const room = `chat:${kind.length}`;
      const [ann, bob] = await Promise.all([connect(hubs[0], 'ann'), connect(hubs[1], 'bob')]);
      for (const client of [ann, bob]) await ask(client, 'join_room', { roomId: room });
      const sent = [];
      for (let n = 0; n < 6; n++) sent.push((await ask(n % 2 ? bob : ann, 'send_message', { roomId: room, message: `m${n}` })).id);
      assert.equal((await emit(hubs[1], 'price', [{ of: 'tea' }, [1, 2]], room)).status, 202);
      await until(() => told(ann, 'price').length === 1 && told(ann, 'new_message').length === 6, 'all of it');
      const { messages, next } = await ask(bob, 'room:history', { roomId: room });
      assert.equal(next, null);
      assert.deepEqual(messages.slice(0, 6).map(({ id }) => id), sent);
      const byId = (bodies) => bodies.toSorted((a, b) => (a.id < b.id ? -1 : 1)); // two posters have no common order on the way
      assert.deepEqual(byId(messages.slice(0, 6).map(({ args: [body] }) => body)), byId(told(ann, 'new_message')), 'as it was told');
      assert.deepEqual(messages.map(({ event }) => event), [...Array(6).fill('new_message'), 'price']);
      assert.deepEqual(messages.map(({ userId }) => userId), ['ann', 'bob', 'ann', 'bob', 'ann', 'bob', undefined]);
      assert.deepEqual(messages[6].args, [{ of: 'tea' }, [1, 2]]);
      assert.ok(Math.abs(Date.parse(messages[0].at) - Date.now()) < 600_000);
      const pages = await readAll((page) => ask(ann, 'room:history', { roomId: room, limit: 2, ...page }));
      assert.deepEqual(pages, messages);
      const body = await readAll(async ({ before }) => {
        const query = before === undefined ? '' : `&before=${before}`;
        const answer = await hubs[0].api('GET', `/api/v1/rooms/${encodeURIComponent(room)}/history?limit=3${query}`);
        assert.equal(answer.status, 200);
        return answer.body;
      });
      assert.deepEqual(body, messages);
      for (const client of [ann, bob]) client.close();
    });
  }

  test('who joins and then reads has all of it: nothing lies between', async () => {
    const room = 'chat:between';
    const speakers = await Promise.all([0, 1].map((i) => hubs[i].plain(`speaker-${i}`)));
    for (const speaker of speakers) await ask(speaker, 'join_room', { roomId: room });
    let over = false;
    const said = [];
    const speak = speakers.map(async (speaker, i) => {
      for (let n = 0; !over; n++) {
        await ask(speaker, 'send_message', { roomId: room, message: `${i}-${n}` });
        said.push(`${i}-${n}`);
      }
    });
    const listeners = [];
    for (let turn = 0; turn < 10; turn++) {
      const listener = await hubs[turn % 2].plain(`listener-${turn}`);
      await ask(listener, 'join_room', { roomId: room });
      const read = await readAll((page) => ask(listener, 'room:history', { roomId: room, limit: 100, ...page }));
      listeners.push({ listener, read: read.map(({ args: [{ message }] }) => message) });
    }
    over = true;
    await Promise.all(speak);
    for (const { listener, read } of listeners) {
      const had = () => new Set([...read, ...told(listener, 'new_message').map(({ message }) => message)]);
      await until(() => said.every((text) => had().has(text)), `all ${said.length}: of these ${had().size}`);
      assert.equal(new Set(read).size, read.length, 'each once');
      for (const i of [0, 1]) {
        const own = read.filter((text) => text.startsWith(`${i}-`)).map((text) => Number(text.slice(2)));
        assert.deepEqual(own, own.map((_, n) => n), 'in the order in which it was said');
      }
      listener.close();
    }
    for (const speaker of speakers) speaker.close();
  });

  test('what streams bring, and arrays, are in it; what is volatile is not', async () => {
    const room = 'chat:ways';
    await (await redis.client()).xadd('peal:in', '*', 'room', room, 'event', 'tick', 'args', '[1]');
    const read = () => hubs[0].api('GET', `/api/v1/rooms/${encodeURIComponent(room)}/history`).then(({ body }) => body.messages);
    await until(async () => (await read()).length === 1, 'the entry of the stream');
    const to = { rooms: [room, 'plain:x', 'chat:more'] };
    const events = Array.from({ length: 150 }, (_, n) => ({ event: 'tick', args: [n + 2], to, volatile: n === 7 }));
    assert.equal((await hubs[1].api('POST', '/api/v1/events', events)).status, 202);
    const all = await readAll(({ before }) => hubs[0].api('GET',
      `/api/v1/rooms/${encodeURIComponent(room)}/history?limit=100${before ? `&before=${before}` : ''}`).then(({ body }) => body));
    const numbers = Array.from({ length: 151 }, (_, n) => n + 1).filter((n) => n !== 9);
    assert.deepEqual(all.map(({ args: [n] }) => n), numbers);
    const other = await hubs[0].api('GET', '/api/v1/rooms/chat%3Amore/history?limit=100');
    assert.equal(other.body.messages.length, 100);
    assert.notEqual(other.body.next, null);
  });

  test('who may not is refused', async () => {
    const client = await hubs[0].plain('eve');
    const refused = async (argument) => (await client.request('room:history', argument)).error;
    assert.equal(await refused({ roomId: 'chat:3' }), 'forbidden', 'it is not in the room');
    await ask(client, 'join_room', { roomId: 'plain:a' });
    assert.equal(await refused({ roomId: 'plain:a' }), 'not_found', 'nothing is kept there');
    await ask(client, 'join_room', { roomId: 'chat:3' });
    const { id } = await ask(client, 'send_message', { roomId: 'chat:3', message: 'x' });
    await ask(client, 'join_room', { roomId: 'chat:4' });
    const strange = await client.request('room:history', { roomId: 'chat:4', before: id });
    assert.deepEqual([strange.error, strange.field], ['invalid_field', 'before']);
    await ask(client, 'leave_room', { roomId: 'chat:3' });
    assert.equal(await refused({ roomId: 'chat:3' }), 'forbidden');
    client.close();
  });

  test('peal.js and @peal/server read it', async (t) => {
    const peal = new Peal({ WebSocket, inbox: false });
    t.after(() => peal.close());
    await peal.connect(hubs[0].url, { token: hubs[0].token('gus') });
    await peal.join('chat:clients');
    for (const text of ['one', 'two', 'three']) await peal.send('chat:clients', text);
    const texts = ({ messages }) => messages.map(({ args: [{ message }] }) => message);
    const last = await peal.history('chat:clients', { limit: 2 });
    assert.deepEqual(texts(last), ['two', 'three']);
    assert.deepEqual(texts(await peal.history('chat:clients', { before: last.next })), ['one']);
    const server = new PealServer({ url: hubs[1].url, key: KEY });
    const page = await server.history('chat:clients', { limit: 2 });
    assert.deepEqual(page, last);
    assert.deepEqual(texts(await server.history('chat:clients', { before: page.next })), ['one']);
    await assert.rejects(server.history('plain:a'), { code: 'not_found', field: 'room' });
  });

  test('what a user said is erased with the user, and what is over goes', async () => {
    const client = await hubs[0].plain('fay');
    for (const roomId of ['chat:erase', 'short:a']) {
      await ask(client, 'join_room', { roomId });
      await ask(client, 'send_message', { roomId, message: 'x' });
    }
    await emit(hubs[0], 'stays', [], 'chat:erase');
    await until(async () => (await ask(client, 'room:history', { roomId: 'short:a' })).messages.length === 0, 'it is over');
    const { status, body } = await hubs[1].api('DELETE', '/api/v1/users/fay', undefined, { authorization: `Bearer ${KEY}` });
    assert.equal(status, 200, JSON.stringify(body));
    assert.ok(body.erased.messages >= 1, JSON.stringify(body));
    const { messages } = await ask(client, 'room:history', { roomId: 'chat:erase' });
    assert.deepEqual(messages.map(({ event }) => event), ['stays']);
    await until(async () => (await postgres.query('SELECT count(*)::int AS n FROM peal.room_message WHERE room = $1', ['short:a']))[0].n === 0,
      'it is dropped');
    client.close();
  });

  test('while the store is away nothing is told, and who speaks is told so', async () => {
    const room = 'chat:away';
    const [ann, bob] = await Promise.all([hubs[0].plain('ann'), hubs[1].plain('bob')]);
    for (const client of [ann, bob]) await ask(client, 'join_room', { roomId: room });
    await postgres.shutdown();
    const refusal = await ann.request('send_message', { roomId: room, message: 'lost', nonce: 'n1' });
    assert.ok(['unavailable', 'unknown'].includes(refusal.error), JSON.stringify(refusal));
    const post = await emit(hubs[1], 'price', [1], room);
    assert.ok([503, 504].includes(post.status), `${post.status}`);
    await postgres.restart();
    await until(async () => (await ann.request('send_message', { roomId: room, message: 'found', nonce: 'n1' })).ok, 'it is back');
    await until(() => told(bob, 'new_message').some(({ message }) => message === 'found'), 'it is told');
    const { messages } = await ask(bob, 'room:history', { roomId: room });
    for (const { message } of told(bob, 'new_message')) assert.ok(messages.some(({ args: [said] }) => said.message === message));
    assert.ok((await hubs[0].metric('peal_room_history_refused_total')) >= 1);
    for (const client of [ann, bob]) client.close();
  });
});

describe('a node alone with SQLite, and tenants', () => {
  let hub;
  before(async () => (hub = await startHub({ config: `${CONFIG} auth { tenants = on }` })));
  after(() => hub?.stop());

  test('tenants do not read each other, and what was said outlives the node', async () => {
    const say = async (tenant, text) => {
      const client = await hub.plain('ann', { claims: { tenant } });
      await ask(client, 'join_room', { roomId: 'chat:a' });
      await ask(client, 'send_message', { roomId: 'chat:a', message: text });
      return client;
    };
    const [red, blue] = [await say('red', 'of red'), await say('blue', 'of blue')];
    const texts = ({ messages }) => messages.map(({ args: [{ message }] }) => message);
    assert.deepEqual(texts(await ask(red, 'room:history', { roomId: 'chat:a' })), ['of red']);
    const { body: lines } = await hub.api('GET', '/api/v1/users/ann/export?tenant=red');
    const told = lines.trim().split('\n').map(JSON.parse).filter(({ type }) => type === 'message');
    assert.deepEqual(told.map(({ roomId, args: [{ message }] }) => [roomId, message]), [['chat:a', 'of red']]);
    for (const client of [red, blue]) client.close();
    await hub.kill();
    await hub.restart();
    const { body } = await hub.api('GET', '/api/v1/rooms/chat%3Aa/history?tenant=blue');
    assert.deepEqual(texts(body), ['of blue']);
    assert.deepEqual(texts((await hub.api('GET', '/api/v1/rooms/chat%3Aa/history')).body), [], 'of no tenant');
  });
});
