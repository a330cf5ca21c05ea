// SPDX-License-Identifier: Apache-2.0
// A Redis Cluster of three masters and three replicas: slots that move and masters that fail in the middle of posting.
// Nothing is lost or doubled; events, presence and recovery work over it, and commands know it.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createServer } from 'node:http';
import { after, before, test } from 'node:test';
import { createAdapter } from '@socket.io/redis-adapter';
import { Emitter } from '@socket.io/redis-emitter';
import { Cluster } from 'ioredis';
import { Server } from 'socket.io';
import { io } from 'socket.io-client';
import { Certs } from './support/certs.mjs';
import { PROGRAM, cleanEnvironment } from './support/hub.mjs';
import { startLine } from './support/line.mjs';
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
  rig = await startRig({ nodes: 2, users: 40, redis, config: 'bus { recheck = 3s }\nnamespace "/" { recovery = on }' });
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

test('a socket is recovered at the other node, with what it missed', async () => {
  const line = await startLine(rig.hubs[0].address);
  const socket = io(line.url, { forceNew: true, transports: ['websocket'], reconnectionDelay: 1, reconnectionDelayMax: 50, auth: { token: rig.hubs[0].token('e4') } });
  const [got, welcomes] = [[], []];
  const post = async (hub, n) => assert.equal((await hub.api('POST', '/api/v1/events', { event: 'n', args: [n], to: { users: ['e4'] } })).status, 202);
  socket.on('n', (n) => got.push(n));
  socket.on('connect', () => welcomes.push(socket.recovered));
  let readies = 0;
  socket.on('hub:ready', () => (readies += 1));
  for (let round = 0; round < 4; round++) {
    await until(() => readies > round && socket.connected, 'the client is ready');
    await post(rig.hubs[0], 2 * round);
    await until(() => got.includes(2 * round), 'an event arrives');
    socket.io.reconnection(false);
    await until(() => (line.cut(), socket.disconnected), 'the client is gone');
    await post(rig.hubs[0], 2 * round + 1);
    line.target = rig.hubs[(round + 1) % 2].address;
    socket.io.reconnection(true);
    socket.connect();
    await until(() => got.includes(2 * round + 1), 'what was missed arrives');
  }
  assert.deepEqual(got, [0, 1, 2, 3, 4, 5, 6, 7]);
  assert.deepEqual(welcomes, [false, true, true, true, true]);
  socket.close();
  await line.close();
});

test('a cluster over TLS', async () => {
  const certs = new Certs();
  const tls = { ...certs.make('redis.example'), ca: certs.ca.cert };
  const secured = await startRedisCluster({ tls });
  try {
    const env = { REDIS_URL: secured.url, PEAL_BUS_TLS_CA: certs.ca.cert };
    const checked = run(['check-config', '--connect'], env);
    assert.equal(checked.status, 0, checked.stderr);
    assert.match(checked.stdout, /a cluster of 3 masters/);
    for (const user of ['a', 'b', 'c']) {
      const posted = run(['publish', '--user', user, '--type', 't', '--title', 'x'], env);
      assert.equal(posted.status, 0, posted.stderr);
    }
    const named = run(['check-config', '--connect'], { ...env, PEAL_BUS_TLS_NAME: 'other.example' });
    assert.equal(named.status, 1);
    assert.match(named.stderr, /hostname mismatch/);
  } finally {
    await secured.stop();
  }
});

test('a Node server with the classic adapter over the cluster is a member', async () => {
  const clients = Array.from({ length: 3 }, () => new Cluster(redis.servers.map(({ port }) => ({ host: '127.0.0.1', port }))));
  for (const client of clients) client.on('error', () => {});
  const http = createServer();
  const peer = new Server(http, { adapter: createAdapter(clients[0], clients[1], { requestsTimeout: 20_000 }) });
  try {
    await until(async () => (await peer.of('/').adapter.serverCount()) === 3, 'they count each other', 60_000);
    const ours = [rig.hubs[0].socketIo('p1'), rig.hubs[1].socketIo('p2')];
    const heard = [[], []];
    const readies = [0, 0];
    ours.forEach((socket, i) => socket.on('from-node', (n) => heard[i].push(n)).on('hub:ready', () => (readies[i] += 1)));
    await until(() => readies.every((n) => n > 0), 'both are ready');
    peer.emit('from-node', 1);
    await until(() => heard.every((list) => list.includes(1)), () => `an event of the Node server: ${JSON.stringify(heard)}`);
    new Emitter(clients[2]).to('user:p2').emit('from-node', 2);
    await until(() => heard[1].includes(2), 'an event of an emitter');
    assert.deepEqual(heard, [[1], [1, 2]]);
    const ids = (await peer.fetchSockets()).map(({ id }) => id);
    for (const { id } of ours) assert.ok(ids.includes(id), 'a socket of each node is known');
    ours[0].on('question', (done) => done('one'));
    ours[1].on('question', (done) => done('two'));
    const answers = await peer.in(['user:p1', 'user:p2']).timeout(10_000).emitWithAck('question');
    assert.deepEqual(answers.sort(), ['one', 'two']);
    for (const socket of ours) socket.disconnect();
  } finally {
    await peer.close();
    for (const client of clients) client.disconnect();
  }
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
  // Of any master, and once.
  const { server } = await redis.ownerOf(0);
  await server.talk.config('SET', 'timeout', '7');
  const looked = run(['doctor'], { PEAL_AUTH_API_KEY: randomSecret() });
  assert.equal((looked.stdout + looked.stderr).match(/^BUS-TIMEOUT: /gm)?.length, 1, looked.stdout + looked.stderr);
  await server.talk.config('SET', 'timeout', '0');
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
