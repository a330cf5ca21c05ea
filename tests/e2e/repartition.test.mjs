// SPDX-License-Identifier: Apache-2.0
// Another number of partitions, again and again while posts go on: nodes end by SIGKILL and SIGTERM,
// `peal migrate --set-bus` replaces what the store keeps, and nodes with the new value go on with what
// waits in the streams of the old one. Nothing is lost or doubled. A user's entries may change their
// order where two numbers meet (actors/ingest/README.md).
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { after, before, test } from 'node:test';
import { PROGRAM, cleanEnvironment } from './support/hub.mjs';
import { startRig } from './support/rig.mjs';

const FULL = process.env.PEAL_FULL === '1';
const POSTS = FULL ? 4000 : 1000; // a test
const config = (partitions) => `bus { partitions = ${partitions} recheck = 3s }`;

let rig;

before(async () => {
  rig = await startRig({ users: 20, config: config(1) });
});

after(async () => {
  await rig?.stop();
});

const ends = {
  kill: (hub) => hub.kill(),
  TERM: async (hub) => assert.equal((await hub.server.stop('SIGTERM')).code, 0, hub.log), // its clients come back
};

// The store keeps the new number; nodes that start from now on have it.
function setPartitions(partitions) {
  rig.shared.config = config(partitions);
  const env = cleanEnvironment({ REDIS_URL: rig.redis.url, DATABASE_URL: rig.postgres.url, PEAL_BUS_PARTITIONS: String(partitions) });
  const { status, stderr } = spawnSync(PROGRAM, ['migrate', '--set-bus'], { env, encoding: 'utf8', timeout: 60_000 });
  assert.equal(status, 0, stderr);
}

// From the number before to `partitions`: the nodes end as `ways` say, and so does one of the new ones.
async function change(partitions, ways) {
  const posting = rig.post(`to ${partitions} by ${ways.join()}`, POSTS);
  await posting.reach(0.2);
  for (const [n, way] of ways.entries()) await ends[way](rig.hubs[n]);
  setPartitions(partitions);
  await Promise.all(rig.hubs.map((hub) => hub.restart()));
  await posting.reach(0.5);
  for (const [n, way] of ways.entries()) {
    await ends[way](rig.hubs[n]);
    await rig.hubs[n].restart();
    await posting.reach(0.6 + 0.2 * n);
  }
  await posting.done;
  await rig.check({ anyOrder: true });
}

const ROUNDS = [[2, ['kill', 'TERM']], [4, ['kill', 'kill']], [8, ['TERM', 'kill']], [4, ['TERM', 'TERM']], [1, ['kill', 'TERM']]];

for (const [partitions, ways] of ROUNDS) {
  test(`to ${partitions} partitions while posts go on: ${ways.join(' and ')}`, { timeout: 250_000 }, async () => {
    await change(partitions, ways);
  });
}

// Not what operators are told to do (all nodes end first), and nothing is lost by it either.
test('to 2 partitions one node after the other', { timeout: 250_000 }, async () => {
  const posting = rig.post('rolling', POSTS);
  await posting.reach(0.2);
  await ends.kill(rig.hubs[0]);
  setPartitions(2);
  await rig.hubs[0].restart();
  await posting.reach(0.6);
  await ends.TERM(rig.hubs[1]);
  await rig.hubs[1].restart();
  await posting.done;
  await rig.check({ anyOrder: true });
});

test('each of the streams had an owner, and there are no dead letters', async () => {
  assert.equal(await rig.bus.xlen('peal:dead'), 0);
  const rows = await rig.postgres.query('SELECT partition FROM peal.ingest ORDER BY partition');
  assert.deepEqual(rows.map(({ partition }) => Number(partition)), [0, 1, 2, 3, 4, 5, 6, 7, 8]);
});
