// SPDX-License-Identifier: Apache-2.0
// A Redis that comes back from an older dump with its clock behind: what is posted to it has ids below
// the position, and is stored all the same; what was stored before is not told again.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { startHub } from './support/hub.mjs';
import { freePort } from './support/ports.mjs';
import { startPostgres } from './support/postgres.mjs';
import { startRedis } from './support/redis.mjs';
import { until } from './support/wait.mjs';

const HOUR = 3_600_000;

let redis;
let postgres;
let hub;

before(async () => {
  [redis, postgres] = await Promise.all([startRedis({ durable: false }), startPostgres()]);
  hub = await startHub({ redis, postgres });
});

after(async () => {
  await hub?.stop();
  await redis?.stop();
  await postgres?.stop();
});

async function titles() {
  const { body } = await hub.api('GET', '/api/v1/users/alice/notifications?limit=100');
  return body.items.map(({ title }) => title).reverse();
}

const add = (client, id, title) => client.xadd('peal:in', id, 'user', 'alice', 'type', 't', 'title', title, 'message', 'm');

test('entries below the position are stored when Redis went back with its clock behind', { timeout: 120_000 }, async () => {
  const base = Date.now() + HOUR; // what the clock of the first server says
  const heard = [];
  const device = await hub.plain('alice', { onEvent: ([event, body]) => heard.push(event === 'notification' ? body.title : event) });
  const client = redis.client();
  for (let i = 0; i < 5; i++) await add(client, `${base + i}-0`, `a${i}`);
  await client.xadd('peal:in', `${base + 5}-0`, 'user', 'alice', 'event', 'once', 'args', '[1]');
  await client.save();
  for (let i = 0; i < 5; i++) await add(client, `${base + 10 + i}-0`, `b${i}`);
  await until(async () => (await titles()).length === 10, 'the first are stored');
  await until(() => heard.includes('b4'), 'and told');

  // The dump comes back somewhere else first, so that all is there when the hub sees it.
  const { port } = redis;
  await redis.kill();
  redis.port = await freePort();
  await redis.restart();
  const behind = redis.client();
  assert.equal(await behind.xlen('peal:in'), 6, 'what was added behind the dump is lost');
  for (let i = 0; i < 9; i++) await add(behind, `${base + 6}-${i}`, `c${i}`);
  await add(behind, `${base + HOUR}-0`, 'c9');
  await behind.save();
  await redis.kill();
  redis.port = port;
  await redis.restart();

  const letters = (name, count) => Array.from({ length: count }, (_, i) => `${name}${i}`);
  const all = [...letters('a', 5), ...letters('b', 5), ...letters('c', 10)];
  await until(async () => (await titles()).length >= all.length, 'what has come meanwhile is stored');
  assert.deepEqual(await titles(), all, 'each once, in order');
  await until(() => heard.includes('c9'), 'the device has it');
  assert.deepEqual(heard.filter((title) => /^[abc]\d$/.test(title)), all, 'told once');
  assert.equal(heard.filter((event) => event === 'once').length, 1, 'events are not published again');
  await hub.logged(/INGEST-HISTORY/);
  assert.equal(await hub.metric('peal_stream_reread'), 1);
  device.close();
});
