// SPDX-License-Identifier: Apache-2.0
// A Redis Cluster of three masters and three replicas: slots that move and masters that fail in the middle of posting.
// Nothing is lost or doubled; events, presence and recovery work over it, and commands know it.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { after, before, test } from 'node:test';
import { PROGRAM, cleanEnvironment } from './support/hub.mjs';
import { startRedisCluster } from './support/redis_cluster.mjs';
import { startRig } from './support/rig.mjs';
import { FULL } from './support/siege.mjs';
import { randomSecret } from './support/tokens.mjs';
import { until } from './support/wait.mjs';

const MOVES = FULL ? 200 : 10;
const FAILOVERS = FULL ? 20 : 3;
const POSTS = 200;
const WAYS = ['asked', 'killed', 'paused'];
const KEYS = ['peal:in', '{0}', 'peal:in', 'peal:dead', '{1}', '{2}', '{3}'];

let redis;
let rig;

const environment = (env = {}) => cleanEnvironment({ JWT_SECRET: randomSecret(), REDIS_URL: redis.url, ...env });

function run(args, env = {}) {
  return spawnSync(PROGRAM, args, { encoding: 'utf8', env: environment(env), timeout: 60_000 });
}

async function everybodyIsReady() {
  for (const hub of rig.hubs) {
    let said;
    const ask = async () => (said = JSON.stringify((await hub.askInternal('/readyz')).body));
    await until(async () => /status\W+ready/.test(await ask()), () => `the node is ready: ${said}`, 60_000);
  }
}

before(async () => {
  redis = await startRedisCluster({ settings: { appendfsync: 'always' } });
  rig = await startRig({ nodes: 2, users: 40, redis });
});

after(async () => {
  await rig?.stop();
});

test('slots that move in the middle of posting lose and double nothing', { timeout: 900_000 }, async () => {
  for (let done = 0; done < MOVES; done += KEYS.length) {
    const posting = rig.post(`moves ${done}`, POSTS);
    await posting.reach(0.1);
    for (const key of KEYS.slice(0, MOVES - done)) await redis.moveSlot(key);
    await posting.done;
  }
  await everybodyIsReady();
  await rig.check();
  const counts = await Promise.all(rig.hubs.map((hub) => hub.metric('peal_bus_moved_total')));
  assert.ok(counts.some((count) => count > 0), `MOVED was followed: ${counts}`);
  assert.equal(await rig.hubs[0].metric('peal_bus_masters'), 3);
  assert.equal(await rig.hubs[0].metric('peal_bus_slots_uncovered'), 0);
});

test('failovers in the middle of posting lose and double nothing', { timeout: 900_000 }, async () => {
  for (let round = 0; round < FAILOVERS; round++) {
    const way = WAYS[FULL && round % 4 ? 0 : round % WAYS.length];
    const posting = rig.post(`round ${round}`, POSTS);
    await posting.reach(0.3);
    await redis.failOver(way, KEYS[round % KEYS.length]);
    await posting.done;
    await everybodyIsReady();
  }
  await rig.check();
  for (const hub of rig.hubs) {
    await hub.logged(/BUS-CLUSTER .*masters=3/);
    assert.equal(await hub.metric('peal_bus_deaf'), 0);
  }
});

test('events reach the other node', async () => {
  const [one, two] = [rig.hubs[0].socketIo('e1'), rig.hubs[1].socketIo('e2')];
  const heard = [];
  two.on('news', (text) => heard.push(text));
  await until(() => one.connected && two.connected, 'both are connected');
  let n = 0;
  await until(async () => {
    n += 1;
    await rig.hubs[0].api('POST', '/api/v1/events', { event: 'news', args: [`${n}`], to: { users: ['e2'] } });
    return heard.length > 0;
  }, 'an event arrives');
  assert.equal(new Set(heard).size, heard.length);
  let told;
  const online = async () => (told = JSON.stringify((await rig.hubs[0].api('GET', '/api/v1/users/e2/presence')).body));
  await until(async () => (await online()).includes('"online":true'), () => `the other node knows: ${told}`);
  one.disconnect();
  two.disconnect();
});

test('commands know a cluster', async () => {
  const posted = run(['publish', '--user', 'f0', '--type', 't', '--title', 'by a command']);
  assert.equal(posted.status, 0, posted.stderr);
  const client = (await redis.at('peal:dead')).talk;
  await client.xadd('peal:dead', '*', 'user', 'e9', 'type', 't', 'title', 'again', 'dead:reason', 'test', 'dead:id', '1-1');
  const listed = run(['dead', 'list']);
  assert.equal(listed.status, 0, listed.stderr);
  assert.match(listed.stdout, /again/);
  const retried = run(['dead', 'retry']);
  assert.equal(retried.status, 0, retried.stderr);
  assert.match(retried.stderr, /1 posted again/);
  assert.equal(await client.xlen('peal:dead'), 0);
  await until(async () => JSON.stringify((await rig.hubs[0].api('GET', '/api/v1/users/e9/notifications')).body).includes('again'), 'it is stored');
  const checked = run(['check-config', '--connect']);
  assert.equal(checked.status, 0, checked.stderr);
  assert.match(checked.stdout, /# bus: Redis \d.* answers, a cluster of 3 masters/);
});

test('what is wrong with a cluster is told', () => {
  const [one] = redis.servers;
  const rows = [
    [{ REDIS_URL: `redis://127.0.0.1:${one.port}` }, /its address begins with redis\+cluster:\/\//],
    [{ REDIS_URL: 'redis+cluster://127.0.0.1:1,127.0.0.1:2' }, /bus: Redis cannot be used \(redis\+cluster:\/\/127.*\): .*refused/],
    [{ REDIS_URL: `redis+cluster://127.0.0.1:${one.port}/3` }, /a cluster has no database but 0/],
    [{ REDIS_URL: `redis+cluster://:hunter2@127.0.0.1:${one.port}` }, /refuses user or password/],
  ];
  for (const [env, why] of rows) {
    const { status, stderr } = run(['check-config', '--connect'], env);
    assert.equal(status, 1, String(why));
    assert.match(stderr, why);
    assert.doesNotMatch(stderr, /hunter2/);
  }
});
