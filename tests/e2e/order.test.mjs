// SPDX-License-Identifier: Apache-2.0
// The order of one poster is kept across rooms, shards, windows and priorities, for every kind of
// client.
import assert from 'node:assert/strict';
import { Agent, request } from 'node:http';
import { after, before, test } from 'node:test';
import { Emitter } from '@socket.io/redis-emitter';
import { startHub } from './support/hub.mjs';
import { startPostgres } from './support/postgres.mjs';
import { startRedis } from './support/redis.mjs';
import { randomSecret } from './support/tokens.mjs';
import { until } from './support/wait.mjs';

const EVENTS = 10_000;
const PACE = 50; // events after which Redis is asked, so that the poster is not the test
const ROOMS = ['public:a', 'public:b'];
const SHARDS = ['A', 'B']; // what sids of the two shards end with
const URGENT = 7; // one in so many

let redis;
let postgres;
let hubs;
let bus;
const members = [];

// Take everything apart that came in a window.
function unfold(event, args) {
  if (event !== 'batch_update') return [[event, ...args]];
  return args[0].messages.map((message) => [message.event, ...message.args]);
}

// A socket of a user of its own on `shard`: the last character of a sid names it.
async function connectOn(hub, shard, name, options) {
  for (let n = 0; n < 100; n++) {
    const socket = hub.socketIo(`${name}-${n}`, options);
    await until(() => socket.connected, 'a member is connected');
    if (socket.id.at(-1) === SHARDS[shard]) return socket;
    socket.close();
  }
  throw new Error(`no user of ${name} lives on shard ${shard}`);
}

async function join(hub, user, rooms, kind) {
  const member = { user, rooms, kind, events: [], windows: 0 };
  const keep = (event, args) => {
    if (event === 'batch_update') member.windows += 1;
    for (const [name, body] of unfold(event, args)) {
      const isSecond = body?.again && rooms.length === 2; // it has had the entry for the other room
      if (name === 'step' && !isSecond) member.events.push(body);
    }
  };
  if (kind === 'json' || kind === 'msgpack') {
    const onEvent = ([event, ...args]) => keep(event, args);
    const client = await hub.plain(user, { encoding: kind, onEvent });
    for (const room of rooms) assert.equal((await client.request('join_room', room)).ok, true);
  } else {
    const shard = members.length % SHARDS.length;
    const socket = await connectOn(hub, shard, user, { auth: { batch: kind === 'batch' } });
    socket.onAny((event, ...args) => keep(event, args));
    for (const room of rooms) {
      assert.equal((await socket.timeout(30_000).emitWithAck('join_room', room)).ok, true);
    }
  }
  members.push(member);
}

before(async () => {
  [redis, postgres] = await Promise.all([startRedis({ durable: false }), startPostgres()]);
  const shared = { redis, postgres, config: 'shards = 2', secret: randomSecret() };
  hubs = [await startHub(shared), await startHub(shared)];
  bus = redis.client();
  // Members of one room, of another and of both, of every kind, on both nodes.
  let serial = 0;
  for (const hub of hubs) {
    for (const kind of ['single', 'batch', 'json', 'msgpack']) {
      for (const rooms of [[ROOMS[0]], [ROOMS[1]], ROOMS]) {
        serial += 1;
        await join(hub, `m${serial}`, rooms, kind);
      }
    }
  }
});

after(async () => {
  for (const hub of hubs ?? []) await hub.stop();
  await redis?.stop();
  await postgres?.stop();
});

const isForBoth = (n) => n % 100 === 99;
const roomOf = (n) => ROOMS[n % 2];

// Post numbers 0 to `count` with `send`, the last one to all, and look at what came to whom.
async function run(count, send) {
  for (const member of members) member.events.length = 0;
  for (let n = 0; n <= count; n++) {
    await send(n, n === count);
    if (n % PACE === 0) await bus.ping();
  }
  const last = (member) => member.events.at(-1)?.n === count;
  await until(() => members.every(last), 'the last event', 120_000);
  for (const member of members) {
    const expected = Array.from({ length: count + 1 }, (_, n) => n).filter(
      (n) => n === count || isForBoth(n) || member.rooms.includes(roomOf(n)),
    );
    const got = member.events.map(({ n }) => n);
    const wrong = expected.findIndex((n, i) => got[i] !== n);
    const where = `${member.user} ${member.kind} ${member.rooms}`;
    assert.equal(wrong, -1, `${where}: ${expected.slice(wrong, wrong + 9)} came as ${got.slice(wrong, wrong + 9)}`);
    assert.equal(got.length, expected.length, where);
  }
}

test('10,000 events of an emitter, alternating between two rooms, some of them urgent', { timeout: 240_000 }, async () => {
  const emitter = new Emitter(bus);
  await run(EVENTS, (n, isLast) => {
    if (isLast) return emitter.emit('step', { n });
    const to = emitter.to(isForBoth(n) ? ROOMS : roomOf(n));
    to.flags = { urgent: n % URGENT === 0 }; // as our nodes say it to each other
    return to.emit('step', { n });
  });
  const batch = members.filter(({ kind }) => kind === 'batch');
  assert.ok(batch.every(({ windows }) => windows > 0), 'there were windows');
});

test('events of the stream, some of them urgent', { timeout: 120_000 }, async () => {
  await run(2000, async (n, isLast) => {
    const target = isLast ? ['all', '1'] : ['room', roomOf(n)];
    const fields = ['event', 'step', 'args', JSON.stringify([{ n }]), ...target];
    if (n % URGENT === 0) fields.push('priority', 'urgent');
    await bus.xadd('peal:in', '*', ...fields);
    // Those for both are two entries: here a member of both gets both.
    if (isForBoth(n) && !isLast) {
      const other = ROOMS.find((room) => room !== roomOf(n));
      await bus.xadd('peal:in', '*', 'event', 'step', 'args', JSON.stringify([{ n, again: true }]), 'room', other);
    }
  });
});

// A poster that waits for each answer has one order, also over connections to several shards.
test('events by HTTP over eight connections, one after the other', { timeout: 120_000 }, async () => {
  const agents = Array.from({ length: 8 }, () => new Agent({ keepAlive: true, maxSockets: 1 }));
  const headers = { authorization: `Bearer ${hubs[0].apiKey}`, 'content-type': 'application/json' };
  const post = (agent, body) => new Promise((resolve, reject) => {
    const call = request(`${hubs[0].url}/api/v1/events`, { method: 'POST', agent, headers }, (answer) => {
      answer.resume();
      answer.on('end', () => resolve(answer.statusCode));
    });
    call.on('error', reject);
    call.end(JSON.stringify(body));
  });
  await run(2000, async (n, isLast) => {
    const rooms = isForBoth(n) ? ROOMS : [roomOf(n)];
    const body = { event: 'step', args: [{ n }], to: isLast ? { all: true } : { rooms } };
    assert.equal(await post(agents[n % agents.length], body), 202);
  });
  for (const agent of agents) agent.destroy();
});
