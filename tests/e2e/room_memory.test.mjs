// SPDX-License-Identifier: Apache-2.0
// Rooms with a memory: who comes back says what it has, and is sent the rest, by any node.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { io } from 'socket.io-client';
import WebSocket from 'ws';
import { Peal } from '../../clients/js/peal.js';
import { startHub } from './support/hub.mjs';
import { startLine } from './support/line.mjs';
import { startPostgres } from './support/postgres.mjs';
import { startRedis } from './support/redis.mjs';
import { randomSecret } from './support/tokens.mjs';
import { until } from './support/wait.mjs';

const CONFIG = `room_type "chat" { access = {"any"} replay = 5000 replay_bytes = 8MiB presence = off }
                room_type "short" { access = {"any"} replay = 50 }
                room_type "loud" { access = {"any"} }
                limits { joins_burst = 100000 messages_burst = 100000 }
`;
const ROOM = 'chat:a';

const emit = async (hub, body, room = ROOM) => {
  const { status } = await hub.api('POST', '/api/v1/events', { event: 'n', args: [body], to: { rooms: [room] } });
  assert.equal(status, 202);
};

// A client of Socket.IO with the interface of the plain one: events as [event, ...args].
async function connectSocketIo(hub, user) {
  const socket = io(hub.url, {
    forceNew: true,
    transports: ['websocket'],
    reconnection: false,
    auth: { token: hub.token(user, { rooms: ['*'] }) },
  });
  const client = {
    events: [],
    offsetOf: (args) => args.at(-1),
    request: (...args) => socket.timeout(30_000).emitWithAck(...args),
    close: () => socket.close(),
  };
  socket.onAny((...event) => client.events.push(event));
  await until(() => client.events.some(([name]) => name === 'hub:ready'), `${user} is in`);
  return client;
}

async function connectPlain(hub, user, encoding) {
  const client = await hub.plain(user, { encoding });
  client.offsetOf = (args) => {
    assert.equal(args.at(-1)._peal.room, ROOM);
    return args.at(-1)._peal.offset;
  };
  return client;
}

const KINDS = {
  'Socket.IO': connectSocketIo,
  '/ws in JSON': (hub, user) => connectPlain(hub, user, 'json'),
  '/ws in MessagePack': (hub, user) => connectPlain(hub, user, 'msgpack'),
};

const got = (client) => client.events.filter(([name]) => name === 'n');
const values = (client) => got(client).map(([, body]) => body);

async function join(client, since, room = ROOM) {
  const answer = await client.request('join_room', { roomId: room, since });
  assert.equal(answer.ok, true, JSON.stringify(answer));
  return answer;
}

// Where a client stands: behind its last event, else where it joined.
function positionOf(client, joined) {
  const last = got(client).at(-1);
  return { epoch: joined.epoch, offset: last ? client.offsetOf(last.slice(1)) : joined.offset };
}

describe('a node alone', () => {
  let hub;
  before(async () => (hub = await startHub({ config: CONFIG })));
  after(() => hub?.stop());

  for (const [kind, connect] of Object.entries(KINDS)) {
    test(`${kind}: what was missed comes first, then what is new`, async () => {
      const first = await connect(hub, `ann-${kind.length}`);
      const joined = await join(first);
      assert.equal('recovered' in joined, false, 'it did not say since when');
      await emit(hub, 'before');
      await until(() => values(first).includes('before'), 'the first event');
      first.close();
      for (const body of ['one', 'two', 'three']) await emit(hub, body);
      const second = await connect(hub, `ann-${kind.length}`);
      const again = await join(second, positionOf(first, joined));
      assert.equal(again.recovered, true);
      assert.deepEqual(values(second), ['one', 'two', 'three'], 'before the answer');
      await emit(hub, 'four');
      await until(() => values(second).includes('four'), 'the next event');
      assert.deepEqual(values(second), ['one', 'two', 'three', 'four']);
      second.close();
    });

    test(`${kind}: of what is gone it is told`, async () => {
      const first = await connect(hub, `bob-${kind.length}`);
      const joined = await join(first, undefined, 'short:a');
      first.close();
      for (let n = 0; n <= 50; n++) await emit(hub, n, 'short:a');
      const second = await connect(hub, `bob-${kind.length}`);
      const again = await join(second, { epoch: joined.epoch, offset: joined.offset }, 'short:a');
      assert.equal(again.recovered, false, '51 events, of which 50 are kept');
      assert.deepEqual(values(second), []);
      await emit(hub, 'new', 'short:a');
      await until(() => values(second).includes('new'), 'what is new');
      second.close();
    });
  }

  test('a backend reads its state at a position, and its page joins from there', async () => {
    const { status, body } = await hub.api('GET', `/api/v1/rooms/${encodeURIComponent(ROOM)}/position`);
    assert.equal(status, 200, JSON.stringify(body));
    await emit(hub, 'after');
    const client = await connectPlain(hub, 'cat', 'json');
    const answer = await join(client, body);
    assert.equal(answer.recovered, true);
    assert.deepEqual(values(client), ['after']);
    client.close();
  });

  test('a position of another store, of no room, or none at all', async () => {
    const client = await connectPlain(hub, 'dan', 'json');
    const joined = await join(client);
    await client.request('leave_room', ROOM);
    const strange = await join(client, { epoch: 'another', offset: joined.offset });
    assert.equal(strange.recovered, false);
    const plain = await client.request('join_room', { roomId: 'loud:a', since: { epoch: joined.epoch, offset: 'x' } });
    assert.equal(plain.recovered, false);
    assert.equal('offset' in plain, false, 'a room without a memory has no position');
    const wrong = await client.request('join_room', { roomId: ROOM, since: 7 });
    assert.equal(wrong.error, 'invalid_field');
    assert.equal(wrong.field, 'since');
    client.close();
  });

  test('what rooms remember, and who asked for it, is told as metrics', async () => {
    assert.equal(await hub.metric('peal_room_memory_rooms'), 2);
    assert.ok((await hub.metric('peal_room_memory_events')) > 50);
    assert.ok((await hub.metric('peal_room_memory_bytes')) > 0);
    assert.ok((await hub.metric('peal_room_rejoins_total')) >= 4);
    assert.ok((await hub.metric('peal_room_rejoins_lost_total')) >= 5);
  });

  test('peal.js comes back to where it was, and says when something is missing', async (t) => {
    const peal = new Peal({ WebSocket, inbox: false, backoffMin: 500, backoffMax: 1000 }); // away for that long
    const had = [];
    let resyncs = 0;
    peal.on('n', (...args) => had.push(args));
    peal.on('room:resync', () => (resyncs += 1));
    const line = await startLine(hub.address);
    t.after(() => {
      peal.close();
      return line.close();
    });
    await peal.connect(line.url, { token: hub.token('gus') });
    await peal.join(ROOM);
    await emit(hub, 1);
    await until(() => had.length === 1, 'the first event');
    for (const round of [1, 2, 3]) {
      line.cut();
      await until(() => peal.state !== 'online', 'it is away');
      await emit(hub, 2 * round);
      await until(() => peal.state === 'online', 'it is back');
      await emit(hub, 2 * round + 1);
      await until(() => had.length === 2 * round + 1, `what was missed in round ${round}`);
    }
    assert.deepEqual(had, [[1], [2], [3], [4], [5], [6], [7]], 'without offsets among the arguments');
    assert.equal(resyncs, 0);
    const { epoch, offset } = (await hub.api('GET', `/api/v1/rooms/${encodeURIComponent('short:b')}/position`)).body;
    for (let n = 0; n <= 50; n++) await emit(hub, n, 'short:b');
    const { recovered } = await peal.join('short:b', { since: { epoch, offset } });
    assert.equal(recovered, false);
    assert.equal(resyncs, 1);
  });

  test('a node that begins anew knows nothing of before', async () => {
    const client = await connectPlain(hub, 'hal', 'json');
    const joined = await join(client);
    client.close();
    await hub.kill();
    await hub.restart();
    const later = await connectPlain(hub, 'hal', 'json');
    const again = await join(later, { epoch: joined.epoch, offset: joined.offset });
    assert.equal(again.recovered, false);
    later.close();
  });

  test('a room has no memory where its type is none, and none begins while the node runs', async () => {
    await assert.rejects(startHub({ config: 'room_type "*" { replay = 10 }' }), /replay/);
  });
});

describe('three nodes over Redis', () => {
  let redis;
  let postgres;
  let hubs;
  before(async () => {
    [redis, postgres] = await Promise.all([startRedis(), startPostgres()]);
    const secret = randomSecret();
    const start = () => startHub({ redis, postgres, secret, config: CONFIG });
    hubs = await Promise.all([start(), start(), start()]);
  });
  after(async () => {
    await Promise.all((hubs ?? []).map((hub) => hub.stop()));
    await Promise.all([redis?.stop(), postgres?.stop()]);
  });

  test('a client goes from node to node, one of which is killed, and misses nothing', async () => {
    const seen = [];
    let posted = 0;
    let over = false;
    let alive = [0, 1, 2];
    const post = (async () => {
      for (; !over; posted++) await emit(hubs[0], posted); // one poster: its order holds
    })();
    let position;
    after(() => (over = true));
    for (let turn = 0; turn < 12; turn++) {
      if (turn === 6) {
        alive = [0, 1];
        await hubs[2].kill();
      }
      const kinds = Object.values(KINDS);
      const client = await kinds[turn % kinds.length](hubs[alive[turn % alive.length]], 'eve');
      const joined = await join(client, position);
      if (position) assert.equal(joined.recovered, true, `turn ${turn}`);
      const count = got(client).length;
      await until(() => got(client).length > count + 3, 'some events');
      const had = [...got(client)];
      client.close();
      seen.push(...had.map(([, body]) => body));
      position = { epoch: joined.epoch, offset: client.offsetOf(had.at(-1).slice(1)) };
    }
    over = true;
    await post;
    const from = seen[0];
    assert.deepEqual(seen, Array.from({ length: seen.length }, (_, n) => from + n));
  });

  test('a node that begins later knows what was before it', async () => {
    const client = await connectPlain(hubs[0], 'fay', 'json');
    const joined = await join(client);
    client.close();
    await emit(hubs[0], 'before the node');
    await hubs[2].restart();
    const later = await connectPlain(hubs[2], 'fay', 'json');
    const again = await join(later, { epoch: joined.epoch, offset: joined.offset });
    assert.equal(again.recovered, true);
    assert.deepEqual(values(later), ['before the node']);
    later.close();
  });
});
