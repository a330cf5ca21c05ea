// SPDX-License-Identifier: Apache-2.0
// A pooler in transaction mode gives sessions to others, and with them what Peal has prepared. It is
// found out at start, and named when it comes between later; one in session mode serves.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { startHub } from './support/hub.mjs';
import { startLine } from './support/line.mjs';
import { startPooler } from './support/pooler.mjs';
import { startPostgres } from './support/postgres.mjs';
import { until } from './support/wait.mjs';

const REMEDY = /a pooler stands between.*the database itself, or a pool in session mode/;

let postgres;
let pooler;

before(async () => {
  postgres = await startPostgres();
  pooler = await startPooler(postgres, { mode: 'transaction' });
});

after(async () => {
  await pooler?.stop();
  await postgres?.stop();
});

const post = (hub, title) => hub.api('POST', '/api/v1/notifications', { user: 'alice', type: 't', title });
const readiness = async (hub) => (await fetch(`${hub.internalUrl}/readyz`)).json();

test('in transaction mode: a node does not start, and says what to do', async () => {
  await assert.rejects(startHub({ postgres: { url: pooler.url } }), REMEDY);
});

test('in session mode: a node stores', async () => {
  const session = await startPooler(postgres, { mode: 'session', size: 50 });
  const hub = await startHub({ postgres: { url: session.url } });
  assert.equal((await post(hub, 'one')).status, 201);
  assert.equal((await readiness(hub)).status, 'ready');
  await hub.stop();
  await session.stop();
});

test('that comes between later: the log names it once, readiness says degraded, both ways', async () => {
  const line = await startLine({ host: '127.0.0.1', port: postgres.port });
  const hub = await startHub({ postgres: { url: `postgres://peal@${new URL(line.url).host}/postgres` } });
  try {
    assert.equal((await post(hub, 'two')).status, 201);
    line.target = { host: '127.0.0.1', port: pooler.port };
    line.cut();
    await hub.loggedTimes('STORE-POOLER', 1);
    assert.match(hub.log.split('\n').find((text) => text.includes('STORE-POOLER')), REMEDY);
    await until(async () => (await readiness(hub)).degraded?.includes('store'), 'degraded');
    line.target = { host: '127.0.0.1', port: postgres.port };
    line.cut();
    await until(async () => (await readiness(hub)).status === 'ready', 'ready again');
    assert.equal((await post(hub, 'three')).status, 201);
    await hub.loggedTimes('STORE-POOLER', 1);
  } finally {
    await hub.stop();
    await line.close();
  }
});
