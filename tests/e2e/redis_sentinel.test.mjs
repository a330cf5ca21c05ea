// SPDX-License-Identifier: Apache-2.0
// Redis behind sentinels: failovers in the middle of posting, by order, by a kill, by a server that stands still
// and comes back as if it were the master. Nothing is lost or doubled; nodes and commands follow.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { after, before, test } from 'node:test';
import { PROGRAM, cleanEnvironment } from './support/hub.mjs';
import { startRig } from './support/rig.mjs';
import { startSentinels } from './support/sentinel.mjs';
import { FULL } from './support/siege.mjs';
import { randomSecret } from './support/tokens.mjs';
import { until } from './support/wait.mjs';

const ROUNDS = FULL ? 50 : 3;
const POSTS = 200;
const WAYS = ['asked', 'killed', 'paused'];
const PASSWORD = 'of-the@sentinels';

let redis;
let rig;

function run(args, env = {}) {
  const options = { encoding: 'utf8', env: cleanEnvironment({ JWT_SECRET: randomSecret(), REDIS_URL: redis.url, PEAL_BUS_SENTINEL_PASSWORD: PASSWORD, ...env }), timeout: 60_000 };
  return spawnSync(PROGRAM, args, options);
}

before(async () => {
  redis = await startSentinels({ password: PASSWORD, often: FULL });
  rig = await startRig({ nodes: 2, users: 40, redis, args: ['--bus-sentinel-password', PASSWORD] });
});

after(async () => {
  await rig?.stop();
});

test('failovers in the middle of posting lose and double nothing', { timeout: 900_000 }, async () => {
  for (let round = 0; round < ROUNDS; round++) {
    // By order most of the time, which is quick.
    const way = WAYS[FULL && round % 5 ? 0 : round % WAYS.length];
    const posting = rig.post(`round ${round}`, POSTS);
    await posting.reach(0.3);
    await redis.failOver(way);
    await posting.done;
    for (const hub of rig.hubs) {
      await until(async () => (await hub.askInternal('/readyz')).status === 200, 'the node is ready');
    }
  }
  await rig.check();
  const master = await redis.settled();
  for (const hub of rig.hubs) await hub.logged(new RegExp(`BUS-MASTER .*is="127\\.0\\.0\\.1:${master.port}"`));
});

test('events reach the other node after failovers', async () => {
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
  one.disconnect();
  two.disconnect();
});

test('commands ask the sentinels', () => {
  const dead = run(['dead', 'list']);
  assert.equal(dead.status, 0, dead.stderr);
  const checked = run(['check-config', '--connect']);
  assert.equal(checked.status, 0, checked.stderr);
});

test('what is wrong with the sentinels is told', () => {
  const other = redis.url.replace(/\/peal$/, '/other');
  const first = redis.sentinels[0].port;
  const rows = [
    [{ REDIS_URL: other }, /bus: Redis cannot be used \(redis\+sentinel:\/\/127.*\/other\/0\): .*No such master/],
    [{ PEAL_BUS_SENTINEL_PASSWORD: 'hunter2' }, /no sentinel says where the master is: .*refuses user or password/],
    [{ REDIS_URL: 'redis+sentinel://127.0.0.1:1,127.0.0.1:2/peal' }, /no sentinel says where the master is: .*refused/],
    [{ REDIS_URL: `redis://:${PASSWORD}@127.0.0.1:${first}`, PEAL_BUS_SENTINEL_PASSWORD: '' }, /this is a sentinel/],
  ];
  for (const [env, why] of rows) {
    const { status, stderr } = run(['check-config', '--connect'], env);
    assert.equal(status, 1, String(why));
    assert.match(stderr, why);
    assert.doesNotMatch(stderr, /hunter2/);
  }
});

test('without any sentinel nodes go on, and say that a failover would not be followed', { timeout: 120_000 }, async () => {
  await redis.settled();
  for (const { server } of redis.sentinels) await server.stop('SIGKILL');
  await rig.hubs[0].logged(/SENTINEL-DOWN/);
  const posting = rig.post('without sentinels', 40);
  await posting.done;
  await rig.check();
});
