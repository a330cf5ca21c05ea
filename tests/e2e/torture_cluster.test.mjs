// SPDX-License-Identifier: Apache-2.0
// The same as torture, on a node with Redis and Postgres beside another one: each allocation of a step
// that may fail does once, and then all from it on for as long as the step takes. Whom it was for is
// refused, the hub lives, and what it has said it stored is there.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { PROGRAM, startHub } from './support/hub.mjs';
import { send } from './support/poll_peer.mjs';
import { startPostgres } from './support/postgres.mjs';
import { startRedis } from './support/redis.mjs';
import { makeToken, randomSecret } from './support/tokens.mjs';
import { Torture } from './support/torture.mjs';
import { until, within } from './support/wait.mjs';

const TEXT = 'ж'.repeat(900); // in bytes above what small allocations are (BUILDER_SMALL), which abort
const CONFIG = `shards = 1
bus { recheck = 200ms }
namespace "/" { recovery = on }
events { unknown = relay }
limits { messages_per_minute = 1000000 inbox_per_minute = 1000000 joins_per_minute = 1000000 api_per_minute = 1000000 }`;
const SANITIZED = /lib[at]san\.so/.test(readFileSync(PROGRAM, 'latin1')); // and slow
const HEAVY = process.env.PEAL_FULL === '1' && !SANITIZED;
const MOST = HEAVY ? 25 : 8; // from here on only each STEP-th: a step that reaches two nodes makes many
const STEP = HEAVY ? 11 : 29;
const FOR_A_WHILE = 1_000_000;

const refused = (promise) => promise.then((value) => value, (error) => ({ error }));

describe('allocations that fail in a cluster', { timeout: 290_000 }, () => {
  let redis;
  let postgres;
  let torture;
  let hub; // whose allocations fail
  let other;
  const stored = new Map(); // user: the keys of posts that were answered with 201

  before(async () => {
    [redis, postgres] = await Promise.all([startRedis(), startPostgres()]);
    const shared = { redis, postgres, config: CONFIG, secret: randomSecret(), apiKey: randomSecret() };
    torture = await Torture.start(shared);
    hub = torture.hub;
    other = await startHub(shared);
  });
  after(async () => {
    await torture?.stop();
    await other?.stop();
    await redis?.stop();
    await postgres?.stop();
  });

  const gone = (at, client) => {
    client?.close?.();
    at.sockets.delete(client);
  };

  async function lives(name) {
    assert.equal(hub.server.result, undefined, `the hub ended in ${name}\n${hub.log.slice(-2000)}`);
    const client = await until(() => refused(hub.plain('witness')).then((one) => !one.error && one), `${name}: who comes is served`);
    await until(async () => (await client.request('join_room', 'public:a')).ok, name);
    gone(hub, client);
  }

  // Run `step` with each of its allocations failing, once and for a while.
  async function torment(name, step) {
    let failures = 0;
    for (let nth = 1; nth < 1000; nth += nth < MOST ? 1 : STEP) {
      let any = false;
      for (const count of [1, FOR_A_WHILE]) {
        torture.arm(nth, count);
        await step(nth, count);
        any = torture.disarm(count) || any;
        await lives(`${name} ${nth} ${count}`);
      }
      if (!any) break;
      failures++;
    }
    assert.ok(failures > 0, name);
  }

  const keysOf = async (user) => {
    const answer = await other.api('GET', `/api/v1/users/${user}/notifications?limit=100`);
    assert.equal(answer.status, 200);
    const keys = new Set(answer.body.items.map((item) => item.data?.key));
    let { next } = answer.body;
    while (next) {
      const page = await other.api('GET', `/api/v1/users/${user}/notifications?limit=100&after=${encodeURIComponent(next)}`);
      for (const item of page.body.items) keys.add(item.data?.key);
      next = page.body.items.length > 0 ? page.body.next : undefined;
    }
    return keys;
  };

  test('of a post that goes to Postgres and to another node', async () => {
    const reader = await other.plain('ben');
    await torment('a post', async (nth, count) => {
      const key = `post-${nth}-${count}`;
      const answer = await refused(hub.api('POST', '/api/v1/notifications', { user: 'ben', type: 't', title: 'x', message: TEXT, data: { key }, key }));
      assert.ok([201, 503, 504, undefined].includes(answer.status), `${answer.status} ${JSON.stringify(answer.body)}`);
      if (answer.status === 201) stored.set('ben', [...(stored.get('ben') ?? []), key]);
    });
    const found = await keysOf('ben');
    for (const key of stored.get('ben')) assert.ok(found.has(key), `${key} was stored`);
    const told = () => new Set(reader.received('notification').map(([item]) => item.data?.key));
    await until(() => stored.get('ben').every((key) => told().has(key)), 'the other node hears of all, at the latest with the recheck');
    gone(other, reader);
  });

  test('of an entry of the stream, which is stored in the end', async () => {
    const bus = redis.client();
    const keys = [];
    await torment('an entry', async (nth, count) => {
      const key = `entry-${nth}-${count}`;
      keys.push(key);
      await bus.xadd('peal:in', '*', 'user', 'eve', 'type', 't', 'title', 'x', 'message', TEXT, 'key', key, 'data', JSON.stringify({ key }));
      await until(async () => (await keysOf('eve')).has(key), 'it is stored', count > 1 ? 300 : 3000).catch(() => {}); // or later
    });
    await until(async () => { const found = await keysOf('eve'); return keys.every((key) => found.has(key)); }, 'all entries are stored');
    bus.disconnect?.();
  });

  test('of clients in MessagePack and of attachments', async () => {
    await torment('a conversation in MessagePack', async () => {
      const client = await refused(within(hub.plain('cat', { encoding: 'msgpack' }), 'an answer'));
      if (client.error) return;
      await refused(Promise.race([client.request('join_room', 'public:m'), client.closed]));
      await refused(Promise.race([client.request('send_message', { roomId: 'public:m', message: TEXT }), client.closed]));
      gone(hub, client);
    });
    const socket = hub.socketIo('dan', { reconnectionDelay: 20, reconnectionDelayMax: 50 });
    const joined = () => until(async () => {
      if (!socket.connected) return false;
      const answer = await refused(socket.timeout(1000).emitWithAck('join_room', 'public:x'));
      return answer.ok === true;
    }, 'in the room');
    await joined();
    await torment('an event with attachments', async () => {
      const answer = await refused(socket.timeout(300).emitWithAck('pictures', { roomId: 'public:x', a: Buffer.alloc(2000, 1), b: Buffer.alloc(3000, 2) }));
      assert.ok(answer.error !== undefined || answer.ok !== undefined);
    });
    await joined();
    gone(hub, socket);
  });

  test('of a socket that comes back', async () => {
    const socket = hub.socketIo('fay', { reconnectionDelay: 20, reconnectionDelayMax: 50 });
    let seen = new Set();
    let missing = false; // it was not recovered: what came meanwhile is not to be expected
    socket.on('connect', () => { missing = missing || !socket.recovered; });
    socket.on('tick', (n) => seen.add(n));
    await until(() => socket.connected, 'connected');
    let n = 0;
    await torment('a recovery', async () => {
      missing = false;
      seen = new Set();
      const first = ++n;
      const sent = await other.api('POST', '/api/v1/events', { event: 'tick', args: [first, TEXT], to: { users: ['fay'] } });
      assert.equal(sent.status, 202);
      socket.io.engine.close();
      const second = ++n;
      await other.api('POST', '/api/v1/events', { event: 'tick', args: [second, TEXT], to: { users: ['fay'] } });
      if (!socket.active && !socket.connected) socket.connect(); // it was told not to come back
      await until(() => (seen.has(first) && seen.has(second)) || missing || !socket.connected, 'all of it, or a new beginning', 3000).catch(() => {});
    });
    await until(() => socket.connected, 'it is there again');
    const last = ++n;
    await until(async () => {
      await other.api('POST', '/api/v1/events', { event: 'tick', args: [last], to: { users: ['fay'] } });
      return seen.has(last);
    }, 'it is served');
    gone(hub, socket);
  });

  test('of requests for a session of the other node', async () => {
    await torment('a request that is passed on', async (nth, count) => {
      const opened = await send(`${other.url}/socket.io/?EIO=4&transport=polling`).answer;
      const { sid } = JSON.parse(opened.body.slice(1));
      const url = `${hub.url}/socket.io/?EIO=4&transport=polling&sid=${sid}`;
      const token = makeToken('gus', hub.secret);
      const answer = await refused(send(url, { method: 'POST', body: `40${JSON.stringify({ token, pad: 'x'.repeat(3000) })}` }).answer);
      assert.ok([200, 400, 413, 502, 503, 504, undefined].includes(answer.status), `${nth} ${count}: ${answer.status}`);
      const got = await refused(send(url).answer);
      assert.ok([200, 400, 502, 503, undefined].includes(got.status), `${nth} ${count}: ${got.status}`);
    });
  });
});
