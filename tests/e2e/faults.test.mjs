// SPDX-License-Identifier: Apache-2.0
// Nodes, Redis and Postgres go away in the middle of posting. Whatever happens, in the end the
// store has what was accepted, once and in order, and every device has what the store has.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { startRig } from './support/rig.mjs';
import { until } from './support/wait.mjs';

const POSTS = 10_000; // a test, where not fewer show the same

let rig;

before(async () => {
  rig = await startRig();
});

after(async () => {
  await rig?.stop();
});

test('a node is killed in the middle of 10,000 posts', { timeout: 300_000 }, async () => {
  const posting = rig.post('kill', POSTS);
  await posting.reach(0.3);
  const { hub } = await rig.owner();
  await hub.kill(); // the one that drains the stream
  await posting.reach(0.45);
  await hub.restart();
  await posting.reach(0.6);
  const other = rig.hubs.find((each) => each !== hub);
  await other.kill();
  await posting.reach(0.7);
  await other.restart();
  await posting.done;
  await rig.check();
});

test('Redis is killed and comes back with its file', { timeout: 300_000 }, async () => {
  const posting = rig.post('redis', POSTS);
  for (const share of [0.3, 0.6]) {
    await posting.reach(share);
    await rig.redis.kill();
    await rig.redis.restart();
  }
  await posting.done;
  await rig.check();
});

test('Postgres crashes and comes back', { timeout: 300_000 }, async () => {
  const posting = rig.post('postgres', POSTS);
  for (const share of [0.3, 0.6]) {
    await posting.reach(share);
    await rig.postgres.kill();
    await rig.postgres.restart();
  }
  await posting.done;
  await rig.check();
});

test('every database session is ended, again and again', { timeout: 200_000 }, async () => {
  const posting = rig.post('sessions', 3000);
  for (const share of [0.1, 0.25, 0.4, 0.55, 0.7, 0.85]) {
    await posting.reach(share);
    await rig.postgres.query(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity
      WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'`);
  }
  await posting.done;
  await rig.check();
});

test('the owner of the partition stands still until another has it', { timeout: 300_000 }, async () => {
  const posting = rig.post('owner', POSTS);
  await posting.reach(0.3);
  const before = await rig.ownerOf();
  assert.ok(before.hub, 'the owner is one of the nodes');
  before.hub.pause();
  const next = await until(async () => {
    const now = await rig.ownerOf();
    return now.token > before.token && now.owner !== before.owner && now;
  }, 'another node takes over', 60_000);
  assert.notEqual(next.hub, before.hub);
  await until(() => posting.share() > 0.5, 'it goes on', 120_000);
  before.hub.resume();
  await posting.done;
  await rig.check();
});

test('Redis and both nodes stand still for a while', { timeout: 200_000 }, async () => {
  const posting = rig.post('still', 2000);
  await posting.reach(0.3);
  rig.redis.pause();
  for (const hub of rig.hubs) hub.pause();
  await new Promise((resolve) => setTimeout(resolve, 3000)); // longer than a lease
  for (const hub of rig.hubs) hub.resume();
  rig.redis.resume();
  await posting.done;
  await rig.check();
});
