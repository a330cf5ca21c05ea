// SPDX-License-Identifier: Apache-2.0
// The end of a node: it waits for what it has open, and ends all the same when that does not end.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { startHub } from './support/hub.mjs';
import { startPostgres } from './support/postgres.mjs';
import { promised } from './support/promised.mjs';
import { startRedis } from './support/redis.mjs';
import { until } from './support/wait.mjs';

const DEADLINE = 4000; // of the services
const SLACK = 500; // draining, and writing the log

let redis;
let postgres;

before(async () => {
  [redis, postgres] = await Promise.all([startRedis(), startPostgres()]);
});

after(async () => {
  await redis?.stop();
  await postgres?.stop();
});

const start = () => startHub({ redis, postgres, env: { PEAL_SHARDS: '2', PEAL_BUS_PARTITIONS: '4' } });

async function ready(hub) {
  const body = { user: 'alice', type: 't', title: 'one', message: 'm' };
  assert.equal((await hub.api('POST', '/api/v1/notifications', body)).status, 201);
  const owned = async () => (await hub.metric('peal_stream_owner')) > 0;
  await until(owned, 'its streams are owned', 60_000);
}

test('with servers that answer, all of it ends, also with clients there', { timeout: 120_000 }, async () => {
  const hub = await start();
  await ready(hub);
  for (let i = 0; i < 20; i++) await hub.plain(`user-${i}`);
  const { code } = await hub.server.stop('SIGTERM');
  assert.equal(code, 0, hub.log);
  assert.match(hub.server.output, / STOP /);
  assert.doesNotMatch(hub.server.output, /SHUTDOWN-LEFT/);
});

const rows = [
  ['Redis', () => [redis], /left="[^"]*node lease 1/],
  ['Postgres', () => [postgres], /left="[^"]*store [1-9]/],
  ['Redis and Postgres', () => [redis, postgres], /left="[^"]*node lease 1[^"]*store [1-9]/],
];

for (const [name, servers, left] of rows) {
  test(`${name} standing still: it ends in time, says what is left, and the exit code tells`, { timeout: 120_000 }, async () => {
    const hub = await start();
    await ready(hub);
    for (const server of servers()) server.pause();
    try {
      const body = { user: 'bob', type: 't', title: 'unanswered', message: 'm' };
      const posted = hub.api('POST', '/api/v1/notifications', body).catch(() => undefined);
      hub.server.signal('SIGTERM');
      const result = await promised(() => hub.server.result, 'the node has ended', DEADLINE + SLACK, [hub]);
      assert.equal(result.code, 3, hub.log);
      assert.match(hub.server.output, /SHUTDOWN-LEFT /);
      assert.match(hub.server.output, left);
      await posted;
    } finally {
      for (const server of servers()) server.resume();
    }
  });
}
