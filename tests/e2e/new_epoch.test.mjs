// SPDX-License-Identifier: Apache-2.0
// A new epoch of the store while its nodes run (peal migrate --new-epoch): each takes it over by itself,
// so that they hear each other again, and devices that come back read their inboxes anew.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { promisify } from 'node:util';
import { PROGRAM, cleanEnvironment, startHub } from './support/hub.mjs';
import { startPostgres } from './support/postgres.mjs';
import { startRedis } from './support/redis.mjs';
import { randomSecret } from './support/tokens.mjs';
import { until } from './support/wait.mjs';

let redis;
let postgres;
let hubs;

before(async () => {
  [redis, postgres] = await Promise.all([startRedis(), startPostgres()]);
  const env = { PEAL_BUS_RECHECK: '1h' };
  const shared = { redis, postgres, secret: randomSecret(), apiKey: randomSecret(), env };
  hubs = [await startHub(shared), await startHub(shared)];
});

after(async () => {
  for (const hub of hubs ?? []) await hub.stop();
  await redis?.stop();
  await postgres?.stop();
});

const post = (hub, title) => hub.api('POST', '/api/v1/notifications', { user: 'alice', type: 't', title, message: 'm', key: title });

// A device that has just come: what it was told, and what it hears.
async function come(hub) {
  const heard = [];
  const client = await hub.plain('alice', { onEvent: (event) => heard.push(event) });
  const find = (name) => heard.find(([event]) => event === name)?.[1];
  return { client, heard, ready: await until(() => find('hub:ready'), 'ready', 5000) };
}

test('two nodes take over a new epoch that is made while they run', { timeout: 120_000 }, async () => {
  const old = await come(hubs[1]);
  const { epoch } = old.ready;
  assert.equal((await post(hubs[0], 'one')).status, 201);
  await until(() => old.heard.some(([event, body]) => event === 'notification' && body.title === 'one'), 'told by the other');

  const env = { ...cleanEnvironment(), DATABASE_URL: postgres.url };
  const { stdout } = await promisify(execFile)(PROGRAM, ['migrate', '--new-epoch'], { env });
  const [, next] = /epoch (\S+)$/m.exec(stdout);
  assert.notEqual(next, epoch);
  for (const hub of hubs) {
    await until(async () => {
      const device = await come(hub).catch(() => undefined);
      device?.client.close();
      return device?.ready.epoch === next;
    }, 'each node tells the new epoch');
  }

  const back = await come(hubs[1]);
  const answer = await back.client.request('notification:sync', { epoch, rev: old.ready.rev });
  assert.match(JSON.stringify([answer, back.heard]), new RegExp(`"resync".*${next}|notification:resync.*${next}`), 'it reads anew');
  assert.equal((await post(hubs[0], 'two')).status, 201);
  await until(() => back.heard.some(([event, body]) => event === 'notification' && body.title === 'two'), 'the nodes hear each other');
  for (const hub of hubs) await hub.loggedTimes('STORE-NEW-EPOCH', 1);
});

test('a node that starts anew goes on with the settings that SIGHUP has loaded', { timeout: 120_000 }, async () => {
  const other = randomSecret();
  const hub = await startHub({ postgres, config: 'log { level = info }\n' });
  try {
    writeFileSync(join(hub.folder, 'peal.conf'), `api_key later { key = "${other}" scopes = {publish} }\n`);
    hub.reload();
    await hub.loggedTimes('RELOAD', 1);
    const posts = () => hub.api('POST', '/api/v1/notifications', { user: 'bob', type: 't', title: 'x' }, { authorization: `Bearer ${other}` });
    assert.equal((await posts()).status, 201);
    const env = { ...cleanEnvironment(), DATABASE_URL: postgres.url };
    for (let times = 1; times <= 2; times++) {
      await promisify(execFile)(PROGRAM, ['migrate', '--new-epoch'], { env });
      await until(() => hub.lines('START') === times + 1, 'it has started anew');
      await until(async () => (await posts()).status === 201, 'the key that came later is known');
    }
  } finally {
    await hub.stop();
  }
});

// Between its two lives there was nobody to take signals: SIGHUP ended it, and SIGTERM was no good end.
test('signals that come while a node starts anew', { timeout: 120_000 }, async () => {
  const env = { ...cleanEnvironment(), DATABASE_URL: postgres.url };
  for (const [round, ms] of [0, 5, 20, 60, 120].entries()) {
    const hub = await startHub({ postgres });
    try {
      await promisify(execFile)(PROGRAM, ['migrate', '--new-epoch'], { env });
      await hub.loggedTimes('STORE-NEW-EPOCH', 1);
      for (; hub.lines('START') < 2; await pause(2)) {
        assert.equal(hub.server.result, undefined, `round ${round}: SIGHUP has ended it\n${hub.log}`);
        hub.reload();
      }
      await promisify(execFile)(PROGRAM, ['migrate', '--new-epoch'], { env });
      await hub.loggedTimes('STORE-NEW-EPOCH', 2);
      await pause(ms);
    } finally {
      await hub.stop(); // throws where it does not end by itself, with 0
    }
  }
});
