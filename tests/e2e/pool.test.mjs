// SPDX-License-Identifier: Apache-2.0
// Connections to Postgres are counted by node: shards without any use those of others, and a node
// says so when the nodes could want more than the server takes.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { startHub } from './support/hub.mjs';
import { startPostgres } from './support/postgres.mjs';
import { startRedis } from './support/redis.mjs';
import { randomSecret } from './support/tokens.mjs';

const USERS = 24;

let redis;
let postgres;
let shared;
const hubs = [];

before(async () => {
  [redis, postgres] = await Promise.all([startRedis(), startPostgres({ settings: { max_connections: '24' } })]);
  shared = { redis, postgres, secret: randomSecret(), apiKey: randomSecret() };
});
after(async () => {
  for (const hub of hubs) await hub.stop();
  await redis?.stop();
  await postgres?.stop();
});

async function start(config) {
  hubs.push(await startHub({ ...shared, config }));
  return hubs.at(-1);
}

async function connections() {
  const [row] = await postgres.query("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'peal'");
  return Number(row.count);
}

test('four shards share two connections', { timeout: 60_000 }, async () => {
  const hub = await start('shards = 4 store { pool_max = 2 }');
  assert.doesNotMatch(hub.log, /STORE-CONNECTIONS/);
  const users = Array.from({ length: USERS }, (_, n) => `user ${n}`);
  const ids = await Promise.all(
    users.map(async (user) => {
      const { status, body } = await hub.api('POST', '/api/v1/notifications', { user, type: 't', title: user });
      assert.equal(status, 201);
      return body.id;
    }),
  );
  const lists = await Promise.all(
    users.map((user) => hub.api('GET', `/api/v1/users/${encodeURIComponent(user)}/notifications`)),
  );
  lists.forEach(({ body }, n) => assert.deepEqual(body.items.map(({ id }) => id), [ids[n]]));
  assert.equal(await connections(), 2);
});

test('a node that could bring the sum above max_connections warns', { timeout: 60_000 }, async () => {
  const hub = await start('shards = 1 store { pool_max = 12 }');
  await hub.logged(/STORE-CONNECTIONS.*nodes=2 pool_max=12 wanted=24 allowed=21/);
});
