// SPDX-License-Identifier: Apache-2.0
// attacks_crowd - sessions that are opened and left, connections by the thousand, a session that must
// end on every node, and a Redis whose replica takes over.
import assert from 'node:assert/strict';
import { get } from 'node:http';
import { connect } from 'node:net';
import { after, before, test } from 'node:test';
import { startHub } from './support/hub.mjs';
import { startLine } from './support/line.mjs';
import { startPostgres } from './support/postgres.mjs';
import { promised } from './support/promised.mjs';
import { startRedis } from './support/redis.mjs';
import { startRig } from './support/rig.mjs';
import { FULL, Siege } from './support/siege.mjs';
import { randomSecret } from './support/tokens.mjs';
import { until } from './support/wait.mjs';

let siege;

before(async () => {
  siege = await Siege.start({ flags: { 'engine-ping-interval': '1000', 'engine-ping-timeout': '1500' } });
});

after(async (context) => {
  await siege.stop(context);
});

const owned = (metrics) => metrics['peal_memory_bytes{owner="session"}'];

test('C13 polling sessions that are opened and left', { timeout: 280_000 }, async () => {
  const count = FULL ? 100_000 : 3000;
  const before = await until(async () => owned(await siege.metrics()), 'the session of the canary is counted');
  await siege.strike('C13', async () => {
    const url = new URL('/socket.io/?EIO=4&transport=polling', siege.hub.url);
    const open = () => new Promise((resolve, reject) => {
      get(url, { agent: false }, (answer) => {
        answer.resume();
        answer.once('end', () => resolve(answer.statusCode));
      }).once('error', reject);
    });
    const statuses = new Map();
    for (let at = 0; at < count; at += 100) {
      for (const status of await Promise.all(Array.from({ length: 100 }, open))) {
        statuses.set(status, (statuses.get(status) ?? 0) + 1);
      }
    }
    assert.ok(statuses.get(200) > 0, JSON.stringify([...statuses]));
    await until(async () => owned(await siege.metrics()) <= before, 'all are gone after the ping timeout', 60_000);
    return count;
  });
});

test('E4 connections in their thousands, half of them reset at once', { timeout: 280_000 }, async () => {
  const count = FULL ? 100_000 : 5000;
  const files = siege.files();
  await siege.strike('E4', async () => {
    const one = (n) => new Promise((resolve) => {
      const peer = connect(siege.address);
      peer.once('connect', () => {
        if (n % 2) return peer.resetAndDestroy();
        peer.end('GET /nothing HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n');
      });
      peer.resume();
      peer.once('error', () => {});
      peer.once('close', resolve);
    });
    for (let at = 0; at < count; at += 500) {
      await Promise.all(Array.from({ length: 500 }, (_, n) => one(n)));
    }
    await until(() => siege.files() <= files + 2, 'every descriptor is given back');
    return count;
  }, { raised: 'peal_connections_accepted_total' });
});

test('D11 a token that ends, and a user who is sent away, on each of three nodes', { timeout: 120_000 }, async () => {
  const [redis, postgres] = await Promise.all([startRedis(), startPostgres()]);
  const admin = randomSecret();
  const config = `api_key "admin" { key = "${admin}" scopes = {"admin"} }\n`;
  const shared = { redis, postgres, config, secret: randomSecret() };
  const hubs = [];
  for (let n = 0; n < 3; n++) hubs.push(await startHub(shared));
  try {
    const claims = { exp: Math.floor(Date.now() / 1000) + 5 };
    const clients = [];
    for (const hub of hubs) {
      clients.push(await hub.plain('ends', { claims }), await hub.plain('leaves'));
    }
    for (const client of clients) {
      client.closed.then((end) => (client.end = end));
      await client.next('hub:ready');
    }
    const [ends, leaves] = [0, 1].map((odd) => clients.filter((_, n) => n % 2 === odd));
    await until(() => Date.now() >= claims.exp * 1000, 'the token ends');
    await promised(() => ends.every(({ end }) => end), 'the token ends on every node', 1000, hubs);
    assert.deepEqual(leaves.map(({ end }) => end), [undefined, undefined, undefined]);
    const away = promised(() => leaves.every(({ end }) => end), 'the user is sent away on every node', 1000, [...hubs, redis]);
    const headers = { authorization: `Bearer ${admin}` };
    assert.equal((await hubs[1].api('POST', '/api/v1/users/leaves/disconnect', undefined, headers)).status, 202);
    await away;
  } finally {
    for (const hub of hubs) await hub.stop();
    await redis.stop();
    await postgres.stop();
  }
});

test('F6 the replica of Redis takes over: what it had is stored once, WAIT lets nothing be lost', { timeout: 280_000 }, async () => {
  let line;
  const rig = await startRig({
    users: 10,
    redisUrl: async (redis) => {
      line = await startLine({ host: '127.0.0.1', port: redis.port });
      return line.url.replace('http', 'redis');
    },
  });
  const replica = await startRedis({ settings: { appendfsync: 'always', replicaof: `127.0.0.1 ${rig.redis.port}` } });
  const other = replica.client();
  try {
    await until(async () => /master_link_status:up/.test(await other.info('replication')), 'the replica follows');
    const waited = []; // XADD that the replica has too
    const fields = (post) => Object.entries({ ...post, data: JSON.stringify(post.data) }).flat();
    for (let n = 0; n < 200; n++) {
      const post = rig.ledger.make('waited', `f${n % 10}`);
      await rig.bus.xadd('peal:in', '*', ...fields(post));
      assert.equal(await rig.bus.wait(1, 10_000), 1);
      rig.ledger.accept(post.key);
      waited.push(post.key);
    }
    replica.pause(); // what comes from now on it does not have
    for (let n = 0; n < 50; n++) {
      await rig.bus.xadd('peal:in', '*', ...fields(rig.ledger.make('unwaited', `f${n % 10}`)));
    }
    await rig.redis.kill();
    replica.resume();
    await other.replicaof('NO', 'ONE');
    line.target = { host: '127.0.0.1', port: replica.port };
    line.cut();
    const posts = [];
    for (let n = 0; n < 100; n++) posts.push(rig.ledger.make('after', `f${n % 10}`));
    await until(async () => {
      for (const post of posts.splice(0)) {
        await other.xadd('peal:in', '*', ...fields(post));
        rig.ledger.accept(post.key);
      }
      return true;
    }, 'the new one takes entries');
    // Nothing that was waited for is missing, nothing is there twice; the rest may be there or not.
    await rig.check();
  } finally {
    await rig.stop().catch(() => {});
    await replica.stop();
    await line.close();
  }
});
