// SPDX-License-Identifier: Apache-2.0
// A stream of several partitions: entries are routed to them or posted straight to them, a node
// that owns some is killed, and in the end there are fewer partitions than before.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { after, before, test } from 'node:test';
import { Device } from './support/device.mjs';
import { PROGRAM, cleanEnvironment, startHub } from './support/hub.mjs';
import { ALL_GOOD, Ledger, readPostgres } from './support/ledger.mjs';
import { startPostgres } from './support/postgres.mjs';
import { startRedis } from './support/redis.mjs';
import { randomSecret } from './support/tokens.mjs';
import { until } from './support/wait.mjs';

const PARTITIONS = 4;
const USERS = 24;
const POSTS = 600;

let redis;
let postgres;
let bus;
let shared;
let hubs;
let devices;
const ledger = new Ledger();

function crc32(bytes) {
  let crc = ~0;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return ~crc >>> 0;
}

// Where a poster that knows of partitions puts what is for `user`: CRC-32 of tenant, NUL, user.
const partitionOf = (user) => crc32(Buffer.from(`\0${user}`)) % PARTITIONS;
const streamOf = (user) => `peal:in:${partitionOf(user)}`;
const inRouter = (n) => `r${n % USERS}`; // their entries go to the plain stream
const known = (n) => `k${n % USERS}`; // and theirs to their partition

before(async () => {
  [redis, postgres] = await Promise.all([startRedis(), startPostgres()]);
  shared = { redis, postgres, secret: randomSecret(), apiKey: randomSecret() };
  const several = { ...shared, config: `bus { partitions = ${PARTITIONS} recheck = 3s }` };
  hubs = [await startHub(several), await startHub(several)];
  bus = redis.client();
  devices = [];
  for (let n = 0; n < USERS; n++) {
    devices.push(new Device(inRouter(n), hubs).start(), new Device(known(n), hubs).start());
  }
  await until(() => devices.every(({ ready }) => ready), 'all devices are ready', 60_000);
});

after(async () => {
  await Promise.all((devices ?? []).map((device) => device.leave()));
  for (const hub of hubs ?? []) await hub.stop();
  await redis?.stop();
  await postgres?.stop();
});

async function postSome(count) {
  for (let n = 0; n < count; n += 2) {
    await ledger.addToStream(bus, ledger.make('router', inRouter(n / 2)));
    await ledger.addToStream(bus, ledger.make('known', known(n / 2)), streamOf(known(n / 2)));
  }
}

const settle = () => ledger.settle(() => readPostgres(postgres), devices, 90_000);

test('every partition is drained, also after a node that owned some was killed', { timeout: 200_000 }, async () => {
  assert.equal(new Set(devices.map(({ user }) => partitionOf(user))).size, PARTITIONS);
  await postSome(POSTS);
  await hubs[0].kill();
  await postSome(POSTS);
  assert.deepEqual(await settle(), ALL_GOOD);
  await hubs[0].restart();
});

test('one entry for many users is split, and keeps its key', { timeout: 120_000 }, async () => {
  const users = Array.from({ length: USERS }, (_, n) => known(n));
  const fields = ['users', JSON.stringify(users), 'type', 'test', 'title', 'for all', 'key', 'once'];
  await bus.xadd('peal:in', '*', ...fields);
  await bus.xadd('peal:in', '*', ...fields);
  await bus.xadd('peal:in', '*', 'user', 'last', 'type', 'test', 'title', 'last');
  const count = async (title) => {
    const text = 'SELECT count(*), count(DISTINCT user_id) AS users FROM peal.notification WHERE title = $1';
    const [row] = await postgres.query(text, [title]);
    return [Number(row.count), Number(row.users)];
  };
  await until(async () => (await count('last'))[0] === 1, 'what came behind is stored');
  await until(async () => (await count('for all'))[0] === USERS, 'each user has it');
  const repeats = async () => Promise.all(hubs.map((hub) => hub.metric('peal_notifications_duplicate_total')));
  await until(async () => (await repeats()).reduce((a, b) => a + b) >= USERS, 'the repeat was seen');
  assert.deepEqual(await count('for all'), [USERS, USERS]);
});

test('with one partition what waits in the others is stored too', { timeout: 120_000 }, async () => {
  await Promise.all(devices.map((device) => device.leave()));
  for (const hub of hubs) await hub.stop();
  const waiting = ['lone 1', 'lone 2', 'lone 3', 'lone 4', 'lone 5', 'lone 6'];
  for (const user of waiting) {
    await ledger.addToStream(bus, ledger.make('waiting', user), streamOf(user));
    await ledger.addToStream(bus, ledger.make('plain', user));
  }
  const environment = cleanEnvironment({ REDIS_URL: redis.url, DATABASE_URL: postgres.url });
  const one = (...args) => spawnSync(PROGRAM, args, { env: environment, encoding: 'utf8', timeout: 60_000 });
  const refused = one('serve', '--auth-secret', randomSecret());
  assert.equal(refused.status, 1);
  assert.match(refused.stderr, /bus\.partitions is 1 here and 4 on the nodes.*peal migrate --set-bus/);
  assert.equal(one('migrate', '--set-bus').status, 0);
  hubs = [await startHub(shared)];
  const count = async () => {
    const [row] = await postgres.query(`SELECT count(*) FROM peal.notification WHERE user_id LIKE 'lone %'`);
    return Number(row.count);
  };
  await until(async () => (await count()) === 2 * waiting.length, 'all of it is stored');
  await hubs[0].logged(/INGEST-LEFT/);
});
