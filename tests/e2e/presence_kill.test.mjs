// SPDX-License-Identifier: Apache-2.0
// Who is online, of three nodes of which one is killed again and again, and stopped; and what they leave in Redis.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { PROGRAM, startHub } from './support/hub.mjs';
import { startPostgres } from './support/postgres.mjs';
import { connectAll, counted, Follower, online } from './support/presence.mjs';
import { promised } from './support/promised.mjs';
import { startRedis } from './support/redis.mjs';
import { randomSecret } from './support/tokens.mjs';
import { until } from './support/wait.mjs';

const FULL = process.env.PEAL_FULL === '1';
const SANITIZED = /lib[at]san\.so/.test(readFileSync(PROGRAM, 'latin1')); // which takes its time to connect
const ROUNDS = FULL ? 15 : 2;
const EACH = FULL && !SANITIZED ? 2000 : 50; // users of a node
const FOLLOWED = Math.min(100, EACH); // of them
const DEAD_MS = 15_000; // promised of a node that was killed
const LEFT_MS = 60_000; // and of what nodes leave in Redis
const STOPPED_MS = 30_000;
const CONFIG = `presence { visibility = tenant }
  limits { unauthenticated_per_address = 100000 api_per_minute = 100000 }`;

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const names = (prefix) => Array.from({ length: EACH }, (_, i) => `${prefix}.${i}`);

let redis, postgres, hubs;

before(async () => {
  [redis, postgres] = await Promise.all([startRedis(), startPostgres()]);
  const shared = { redis, postgres, config: CONFIG, secret: randomSecret(), apiKey: randomSecret() };
  hubs = await Promise.all([0, 1, 2].map(() => startHub(shared)));
});

after(async () => {
  await Promise.all((hubs ?? []).map((hub) => hub.stop()));
  await Promise.all([redis?.stop(), postgres?.stop()]);
});

// Resolve when nobody of these is online, which is promised of those of a node that was just killed. They are looked for
// now and then: other rounds go on meanwhile.
const gone = (users) => promised(async () => {
  await pause(300);
  return (await online(hubs[1], users)).size === 0;
}, 'nobody of it is online', DEAD_MS, [hubs[1], redis]);

test('of a node that is killed nobody is online after 15 s', { timeout: 280_000 }, async () => {
  const stay = [names('b'), names('c')];
  for (const [i, users] of stay.entries()) await connectAll(hubs[i + 1], users);
  await counted(hubs[0], 2 * EACH, 2 * EACH, 3);
  await until(async () => (await online(hubs[0], stay.flat())).size === 2 * EACH, 'the store has said that none of them hides', 60_000);
  const alive = [...stay[0].slice(0, FOLLOWED), ...stay[1].slice(0, FOLLOWED)];
  const first = names('a1').slice(0, FOLLOWED);
  let follower;
  const waits = [];
  for (let round = 1; round <= ROUNDS; round++) {
    const users = names(`a${round}`);
    const clients = await connectAll(hubs[0], users);
    await until(async () => (await online(hubs[1], users)).size === EACH, 'all are there', 60_000);
    follower ??= await Follower.start(hubs[2], 'follower', [...first, ...alive]);
    await hubs[0].kill();
    waits.push(gone(users));
    waits.at(-1).catch(() => {}); // told by who awaits it
    for (const client of clients) client.close();
    await hubs[0].restart();
  }
  await Promise.all(waits);
  await until(() => first.every((user) => follower.last(user) === false), 'who follows was told', 60_000);
  assert.equal(follower.events, 3 * FOLLOWED + FOLLOWED, 'of those who are dead, and of nobody else');
  for (const hub of hubs) await counted(hub, 2 * EACH + 1, 2 * EACH + 1, 3);
  for (const users of stay) assert.equal((await online(hubs[0], users)).size, EACH);
  for (const hub of hubs) hub.closeSockets();
  for (const hub of hubs) await counted(hub, 0, 0, 3);
});

test('a node that was stopped is believed again', { skip: !FULL && 'with PEAL_FULL=1', timeout: 240_000 }, async () => {
  const users = ['s0', 's1', 's2'];
  await Promise.all(hubs.map((hub, i) => hub.plain(users[i])));
  for (const hub of hubs) await counted(hub, 3, 3, 3);
  const follower = await Follower.start(hubs[1], 'follower', users);
  hubs[0].pause();
  const stopped = pause(STOPPED_MS); // what is tried is a stop of so long
  await until(async () => (await online(hubs[1], users)).size === 2, 'its user is not online', 60_000);
  await stopped;
  hubs[0].resume();
  await hubs[0].plain('s0');
  await until(async () => (await online(hubs[1], users)).size === 3, 'it is again', 60_000);
  await until(() => follower.last('s0') && follower.told.get('s0').length === 3, 'who follows was told');
  assert.equal(follower.events, 5);
  for (const hub of hubs) hub.closeSockets();
  for (const hub of hubs) await counted(hub, 0, 0, 3);
});

test('nothing is left in Redis after a minute', { timeout: 240_000 }, async () => {
  await Promise.all([hubs[0].plain('last'), hubs[1].plain('last')]);
  const client = redis.client();
  const keys = async () => (await client.call('KEYS', '*:presence:*')).length;
  assert.ok(await keys() > 0);
  await Promise.all(hubs.map((hub) => hub.kill()));
  await promised(async () => await keys() === 0, 'nothing is left', LEFT_MS, [redis]);
});
