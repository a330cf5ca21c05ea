// SPDX-License-Identifier: Apache-2.0
// What is posted while Redis is away: the devices on other nodes have it when it is back, without
// the recheck that finds what was lost (which is an hour here).
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Device } from './support/device.mjs';
import { startHub } from './support/hub.mjs';
import { startPostgres } from './support/postgres.mjs';
import { startRedis } from './support/redis.mjs';
import { randomSecret } from './support/tokens.mjs';
import { until } from './support/wait.mjs';

const USERS = 20;
const ROUNDS = 3;


let redis;
let postgres;
let hubs;
let devices;

before(async () => {
  [redis, postgres] = await Promise.all([startRedis(), startPostgres()]);
  const env = { PEAL_BUS_RECHECK: '1h' };
  const shared = { redis, postgres, secret: randomSecret(), apiKey: randomSecret(), env };
  hubs = [await startHub(shared), await startHub(shared)];
  devices = [];
  for (let i = 0; i < USERS; i++) {
    for (const hub of hubs) devices.push(new Device(`user-${i}`, [hub], { via: 'io' }).start());
  }
  await until(() => devices.every(({ ready }) => ready), 'all devices are ready', 60_000);
});

after(async () => {
  await Promise.all((devices ?? []).map((device) => device.leave()));
  for (const hub of hubs ?? []) await hub.stop();
  await redis?.stop();
  await postgres?.stop();
});

// Each node's connections come back one by one: some post when another node hears again already.
test('what was posted around an outage of Redis comes to devices of other nodes', { timeout: 240_000 }, async () => {
  let posted = 0;
  let going = true;
  const post = async (hub) => {
    while (going) {
      const number = posted++;
      const body = { user: `user-${number % USERS}`, type: 't', title: `${number}`, message: 'm', key: `k${number}` };
      assert.equal((await hub.api('POST', '/api/v1/notifications', body)).status, 201);
    }
  };
  const posting = Promise.all(hubs.map(post));
  for (let round = 0; round < ROUNDS; round++) {
    await redis.kill();
    const mark = posted;
    await until(() => posted > mark + 2 * USERS, 'posts are accepted without Redis');
    await redis.restart();
    for (const hub of hubs) { // a line each, whatever the number of shards and connections
      await hub.loggedTimes('BUS-UP', round + 1);
      await hub.loggedTimes('BUS-DOWN', round + 1);
    }
  }
  going = false;
  await posting;
  const has = ({ user, items }) => items.size === Math.floor((posted - 1 - Number(user.slice(5))) / USERS) + 1;
  await until(() => devices.every(has), 'all devices have everything');
  assert.ok((await hubs[0].metric('peal_announcements_late_total')) > 0);
});
