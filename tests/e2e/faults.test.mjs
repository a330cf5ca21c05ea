// SPDX-License-Identifier: Apache-2.0
// Nodes, Redis and Postgres go away in the middle of posting. Whatever happens, in the end the
// store has what was accepted, once and in order, and every device has what the store has.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Device } from './support/device.mjs';
import { startHub } from './support/hub.mjs';
import { ALL_GOOD, Ledger, readPostgres } from './support/ledger.mjs';
import { startPostgres } from './support/postgres.mjs';
import { startRedis } from './support/redis.mjs';
import { randomSecret } from './support/tokens.mjs';
import { until } from './support/wait.mjs';

const USERS = 50;
const POSTS = 10_000; // a test, where not fewer show the same
const POSTERS = 4; // two through the stream, two over HTTP: one by one, and ten in a request
const LIST = 10;
const DEADLINE = 120_000;

let redis;
let postgres;
let bus;
let hubs;
let devices;
const ledger = new Ledger();

before(async () => {
  // What Redis has answered to must outlive it.
  const durable = { settings: { appendfsync: 'always' } };
  [redis, postgres] = await Promise.all([startRedis(durable), startPostgres()]);
  const config = 'bus { recheck = 3s }'; // a lost last announcement is found by this
  const shared = { redis, postgres, config, secret: randomSecret(), apiKey: randomSecret() };
  hubs = [await startHub(shared), await startHub(shared)];
  bus = redis.client();
  devices = [];
  for (let i = 0; i < USERS; i++) {
    // The first device of a user starts on the one node, the second on the other.
    devices.push(new Device(`f${i}`, [hubs[0], hubs[1]], { via: i % 5 ? 'ws' : 'io' }).start());
    const encoding = i % 2 ? 'json' : 'msgpack';
    devices.push(new Device(`f${i}`, [hubs[1], hubs[0]], { encoding }).start());
  }
  await until(() => devices.every(({ ready }) => ready), 'all devices are ready', 60_000);
});

after(async () => {
  await Promise.all((devices ?? []).map((device) => device.leave()));
  for (const hub of hubs ?? []) await hub.stop();
  await redis?.stop();
  await postgres?.stop();
});

// Post `count` times; `share()` is the part of it that was accepted.
function post(round, count) {
  const each = count / POSTERS;
  let accepted = 0;
  // A poster's users follow a line of their own, so that neighbours are mixed.
  const make = (poster, n) => ledger.make(`${round}-${poster}`, `f${(n * 7 + poster) % USERS}`);
  const stream = async (poster) => {
    for (let n = 0; n < each; n++, accepted++) await ledger.addToStream(bus, make(poster, n));
  };
  const single = async (poster) => {
    for (let n = 0; n < each; n++, accepted++) {
      await ledger.postByHttp([hubs[n % 2], hubs[(n + 1) % 2]], make(poster, n));
    }
  };
  const list = async (poster) => {
    for (let n = 0; n < each; n += LIST, accepted += LIST) {
      const posts = Array.from({ length: Math.min(LIST, each - n) }, (_, i) => make(poster, n + i));
      await ledger.postByHttp(hubs, posts);
    }
  };
  const done = Promise.all([stream(0), stream(1), single(2), list(3)]);
  done.catch(() => {}); // told by who awaits it
  return { done, share: () => accepted / count };
}

async function check() {
  const verdict = await ledger.settle(() => readPostgres(postgres), devices, 90_000);
  assert.deepEqual(verdict, ALL_GOOD);
  await until(() => devices.every(({ ready }) => ready), 'all devices are back');
}

const reach = (posting, share) => until(() => posting.share() >= share, `${share} are posted`, DEADLINE);

// Which node drains the partition, by its own words: the last that took it over.
async function ownerOf(partition = 0) {
  const [row] = await postgres.query('SELECT owner, token FROM peal.ingest WHERE partition = $1', [partition]);
  const hub = hubs.find(({ log }) => new RegExp(`node=${row.owner}\\b`).test(log.split('\n').findLast((line) => /START/.test(line)) ?? ''));
  return { hub, owner: row.owner, token: Number(row.token) };
}

test('a node is killed in the middle of 10,000 posts', { timeout: 300_000 }, async () => {
  const posting = post('kill', POSTS);
  await reach(posting, 0.3);
  const { hub } = await until(async () => {
    const found = await ownerOf();
    return found.hub && found;
  }, 'a node owns the partition');
  await hub.kill(); // the one that drains the stream
  await reach(posting, 0.45);
  await hub.restart();
  await reach(posting, 0.6);
  const other = hubs.find((each) => each !== hub);
  await other.kill();
  await reach(posting, 0.7);
  await other.restart();
  await posting.done;
  await check();
});

test('Redis is killed and comes back with its file', { timeout: 300_000 }, async () => {
  const posting = post('redis', POSTS);
  for (const share of [0.3, 0.6]) {
    await reach(posting, share);
    await redis.kill();
    await redis.restart();
  }
  await posting.done;
  await check();
});

test('Postgres crashes and comes back', { timeout: 300_000 }, async () => {
  const posting = post('postgres', POSTS);
  for (const share of [0.3, 0.6]) {
    await reach(posting, share);
    await postgres.kill();
    await postgres.restart();
  }
  await posting.done;
  await check();
});

test('every database session is ended, again and again', { timeout: 200_000 }, async () => {
  const posting = post('sessions', 3000);
  for (const share of [0.1, 0.25, 0.4, 0.55, 0.7, 0.85]) {
    await reach(posting, share);
    await postgres.query(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity
      WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'`);
  }
  await posting.done;
  await check();
});

test('the owner of the partition stands still until another has it', { timeout: 300_000 }, async () => {
  const posting = post('owner', POSTS);
  await reach(posting, 0.3);
  const before = await ownerOf();
  assert.ok(before.hub, 'the owner is one of the nodes');
  before.hub.pause();
  const next = await until(async () => {
    const now = await ownerOf();
    return now.token > before.token && now.owner !== before.owner && now;
  }, 'another node takes over', 60_000);
  assert.notEqual(next.hub, before.hub);
  await until(() => posting.share() > 0.5, 'it goes on', DEADLINE);
  before.hub.resume();
  await posting.done;
  await check();
});

test('Redis and both nodes stand still for a while', { timeout: 200_000 }, async () => {
  const posting = post('still', 2000);
  await reach(posting, 0.3);
  redis.pause();
  for (const hub of hubs) hub.pause();
  await new Promise((resolve) => setTimeout(resolve, 3000)); // longer than a lease
  for (const hub of hubs) hub.resume();
  redis.resume();
  await posting.done;
  await check();
});
