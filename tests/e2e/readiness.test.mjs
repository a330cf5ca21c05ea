// SPDX-License-Identifier: Apache-2.0
// What /readyz says is right within 3 s, both ways, whatever it is that is away; the log says what
// and why, once; and a post is answered within 5 s.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import pg from 'pg';
import { startHub } from './support/hub.mjs';
import { startPostgres } from './support/postgres.mjs';
import { temporaryFolder } from './support/process.mjs';
import { promised } from './support/promised.mjs';
import { startRedis } from './support/redis.mjs';
import { until } from './support/wait.mjs';

const SOON = 3000;

async function readiness(hub) {
  const answer = await fetch(`${hub.internalUrl}/readyz`);
  const { status, degraded = [] } = await answer.json();
  return { code: answer.status, status, degraded };
}

const isReady = async (hub) => (await readiness(hub)).status === 'ready';
const lacks = async (hub, name) => {
  const { code, degraded } = await readiness(hub);
  assert.equal(code, 200);
  return degraded.includes(name);
};

async function becomes(hub, name) {
  await promised(() => lacks(hub, name), `${name} is degraded`, SOON);
}

async function recovers(hub, ms = SOON) {
  let last;
  const ready = async () => (last = await readiness(hub)).status === 'ready';
  await promised(ready, 'ready again', ms).catch((error) => {
    throw new Error(`${error.message}; still ${JSON.stringify(last)}`);
  });
}

// Postgres itself serves a connection that is new: from then on a hub has its time.
async function answers(postgres) {
  await until(async () => {
    const client = new pg.Client({ connectionString: postgres.url, connectionTimeoutMillis: 1000 });
    await client.connect();
    await client.query('SELECT 1');
    await client.end();
    return true;
  }, 'Postgres answers');
}

const post = (hub, body = {}) =>
  hub.api('POST', '/api/v1/notifications', { user: 'alice', type: 't', title: 'x', ...body });

// A line to a server whose packets can be lost without either end being told.
async function startTunnel(port) {
  const tunnel = { sockets: new Set(), dark: false };
  tunnel.server = createServer((near) => {
    const far = connect(port, '127.0.0.1');
    for (const [from, to] of [[near, far], [far, near]]) {
      tunnel.sockets.add(from);
      from.on('error', () => {});
      from.on('close', () => { tunnel.sockets.delete(from); to.destroy(); });
      from.on('data', (bytes) => { if (!tunnel.dark) to.write(bytes); });
    }
  });
  await new Promise((resolve) => tunnel.server.listen(0, '127.0.0.1', resolve));
  tunnel.port = tunnel.server.address().port;
  tunnel.close = () => {
    for (const socket of tunnel.sockets) socket.destroy();
    return new Promise((resolve) => tunnel.server.close(resolve));
  };
  return tunnel;
}

describe('Postgres', () => {
  let redis;
  let postgres;
  let tunnel;
  let hub; // straight to Postgres
  let far; // through the tunnel

  before(async () => {
    [redis, postgres] = await Promise.all([startRedis(), startPostgres()]);
    tunnel = await startTunnel(postgres.port);
    hub = await startHub({ redis, postgres });
    const url = `postgres://peal@127.0.0.1:${tunnel.port}/postgres`;
    far = await startHub({ redis, postgres: { url }, secret: hub.secret, apiKey: hub.apiKey });
    await until(() => isReady(hub), 'ready');
    await until(() => isReady(far), 'ready');
  });

  after(async () => {
    postgres?.server.signal('SIGCONT');
    await hub?.stop();
    await far?.stop();
    await tunnel?.close();
    await redis?.stop();
    await postgres?.stop();
  });

  test('stopped: a post is 504 with a key, or 503, within 5 s, and the log tells both ways', async () => {
    assert.equal((await post(hub)).status, 201);
    postgres.pause();
    const posted = promised(async () => {
      const answer = await post(hub);
      assert.ok([503, 504].includes(answer.status), String(answer.status));
      if (answer.status === 504) {
        assert.equal(answer.body.error?.code, 'unknown');
        assert.match(answer.body.key ?? answer.body.error.key, /^[0-9a-f]{32}$/);
      } else {
        assert.equal(answer.body.error.code, 'unavailable');
      }
      return answer;
    }, 'answered', 5500);
    await becomes(hub, 'store');
    await posted;
    postgres.resume();
    await answers(postgres);
    await recovers(hub);
    await hub.loggedTimes('STORE-DOWN', 1);
    await hub.loggedTimes('STORE-UP', 1);
    assert.ok((await hub.metric('peal_store_outages_total')) >= 1);
    await until(async () => (await post(hub)).status === 201, 'posts are stored');
  });

  test('cut off from one node: that node leaves the stream to the other', async () => {
    await until(async () => (await hub.metric('peal_stream_owner')) + (await far.metric('peal_stream_owner')) === 1, 'owned');
    if (await hub.metric('peal_stream_owner')) { // have the far one own it
      await hub.stop();
      await until(() => far.metric('peal_stream_owner'), 'the far node owns the stream');
      await hub.launch();
    }
    const before = far.lines('STORE-DOWN');
    tunnel.dark = true;
    for (let i = 0; i < 20; i++) await redis.client().xadd('peal:in', '*', 'user', 'bob', 'type', 't', 'title', `n${i}`);
    await becomes(far, 'store');
    await until(() => hub.metric('peal_stream_owner'), 'the other node owns the stream', 15_000);
    await until(async () => {
      const { body } = await hub.api('GET', '/api/v1/users/bob/notifications?limit=100');
      return body.items.length === 20;
    }, 'all are stored');
    await far.loggedTimes('STORE-DOWN', before + 1);
    tunnel.dark = false;
    await recovers(far, 8000); // connections that were cut off end by themselves first
    await until(async () => (await hub.metric('peal_stream_waiting')) === 0, 'nothing waits');
  });

  test('ended and started again: the engine is quoted', async () => {
    const before = hub.lines('STORE-DOWN');
    await postgres.kill();
    await becomes(hub, 'store');
    await until(() => hub.lines('STORE-DOWN') > before, 'the outage is logged');
    assert.match(hub.log.slice(hub.log.lastIndexOf('STORE-DOWN')), /reason="(?:connection|server|terminating|57P0|no answer|could not|FATAL).*/);
    await postgres.restart();
    await answers(postgres);
    await recovers(hub);
    await until(async () => (await post(hub)).status === 201, 'posts are stored');
  });

  test('stopped after another outage: the words of that one are not told again', async () => {
    const before = hub.lines('STORE-DOWN');
    postgres.pause();
    await until(() => hub.lines('STORE-DOWN') > before, 'the outage is logged');
    postgres.resume();
    assert.match(hub.log.slice(hub.log.lastIndexOf('STORE-DOWN')), /reason="no answer within 2 s"/);
    await answers(postgres);
    await recovers(hub);
  });
});

const isRoot = process.getuid() === 0;

// A file system of its own that can be filled.
function mountSmall(name, size) {
  const folder = temporaryFolder(name);
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${size}`, 'tmpfs', folder]);
  return folder;
}

describe('a full disk', { skip: isRoot ? false : 'only root can mount a small file system' }, () => {
  test('SQLite', async () => {
    const folder = mountSmall('full', '8m');
    const hub = await startHub({ folder });
    try {
      await until(() => isReady(hub), 'ready');
      try { writeFileSync(join(folder, 'ballast'), Buffer.alloc(16 << 20)); } catch { /* it is full */ }
      const big = { data: { text: 'x'.repeat(30_000) } };
      await until(async () => (await post(hub, big)).status === 503, 'posts are refused');
      await becomes(hub, 'store');
      await hub.logged(/STORE-DOWN .*full/);
      for (let i = 0; i < 20; i++) { // it does not flap while posts fail
        assert.equal((await post(hub, big)).status, 503);
        assert.ok(await lacks(hub, 'store'));
      }
      rmSync(join(folder, 'ballast'));
      await until(async () => (await post(hub, big)).status === 201, 'posts are stored');
      await recovers(hub);
      await hub.loggedTimes('STORE-DOWN', 1);
      await hub.loggedTimes('STORE-UP', 1);
    } finally {
      await hub.stop();
      execFileSync('umount', ['-l', folder]);
    }
  });

  test('Postgres', async () => {
    const folder = mountSmall('pgfull', '120m');
    const postgres = await startPostgres({ folder, settings: { max_wal_size: '32MB', min_wal_size: '32MB' } });
    const hub = await startHub({ postgres });
    try {
      await until(() => isReady(hub), 'ready');
      try { writeFileSync(join(folder, 'ballast'), Buffer.alloc(200 << 20)); } catch { /* it is full */ }
      const big = { data: { text: 'x'.repeat(3000) } };
      const many = Array.from({ length: 50 }, (_, i) => ({ user: `u${i}`, type: 't', title: 'x', ...big }));
      await until(async () => (await hub.api('POST', '/api/v1/notifications', many)).status >= 503, 'posts are refused', 60_000);
      await becomes(hub, 'store');
      await hub.logged(/STORE-DOWN .*(?:53100|space|connection|server)/);
      rmSync(join(folder, 'ballast'));
      await until(async () => (await post(hub)).status === 201, 'posts are stored', 60_000);
      await recovers(hub);
    } finally {
      await hub.stop();
      await postgres.stop();
      execFileSync('umount', ['-l', folder]);
    }
  });
});

describe('SQLite', () => {
  test('a file that was moved away, and put back', async () => {
    const hub = await startHub();
    try {
      await until(() => isReady(hub), 'ready');
      const path = join(hub.folder, 'peal.db');
      renameSync(path, `${path}.away`);
      await becomes(hub, 'store');
      renameSync(`${path}.away`, path);
      await recovers(hub);
      await hub.loggedTimes('STORE-DOWN', 1);
      await hub.logged(/STORE-DOWN .*removed or replaced/);
    } finally {
      await hub.stop();
    }
  });
});

describe('streams', () => {
  let redis;
  let hub;

  before(async () => {
    redis = await startRedis({ settings: { 'enable-protected-configs': 'yes' } });
    hub = await startHub({ redis });
    await until(() => hub.metric('peal_stream_owner'), 'the stream has an owner');
  });

  after(async () => {
    await hub?.stop();
    await redis?.stop();
  });

  test('NOREPLICAS: nobody can hold the lease', async () => {
    await redis.client().config('SET', 'min-replicas-to-write', '1');
    await becomes(hub, 'ingest');
    await hub.logged(/INGEST-REFUSED .*what=lease error="NOREPLICAS/);
    await redis.client().config('SET', 'min-replicas-to-write', '0');
    await recovers(hub);
  });

  test('MISCONF: Redis cannot save', async () => {
    const client = redis.client();
    const before = (await client.config('GET', 'dir'))[1];
    const folder = join(redis.folder, 'gone');
    mkdirSync(folder);
    await client.config('SET', 'save', '3600 1000000');
    await client.config('SET', 'dir', folder);
    rmSync(folder, { recursive: true });
    await client.bgsave().catch(() => {});
    await becomes(hub, 'ingest');
    await hub.logged(/INGEST-REFUSED .*error="MISCONF/);
    await client.config('SET', 'dir', before);
    await client.config('SET', 'stop-writes-on-bgsave-error', 'no');
    await recovers(hub);
  });

  test('WRONGTYPE: the stream is something else', async () => {
    const client = redis.client();
    await client.del('peal:in');
    await client.set('peal:in', 'no stream');
    await becomes(hub, 'ingest');
    await hub.logged(/INGEST-REFUSED .*what=read error="WRONGTYPE/);
    await client.del('peal:in');
    await recovers(hub);
  });

  test('NOPERM: the stream may not be read', async () => {
    const client = redis.client();
    await client.acl('SETUSER', 'default', '-xread');
    await becomes(hub, 'ingest');
    await hub.logged(/INGEST-REFUSED .*what=read error="NOPERM/);
    await client.acl('SETUSER', 'default', '+xread');
    await recovers(hub);
  });

  test('a stream that has used its last id', async () => {
    const client = redis.client();
    await client.xadd('peal:in', '18446744073709551615-18446744073709551615', 'user', 'eve', 'type', 't', 'title', 'last');
    await becomes(hub, 'ingest');
    await hub.logged(/INGEST-REFUSED .*what=ids/);
    await until(async () => (await hub.api('GET', '/api/v1/users/eve/notifications')).body.items.length === 1, 'it is stored');
    await client.del('peal:in');
    await recovers(hub);
    await client.xadd('peal:in', '*', 'user', 'eve', 'type', 't', 'title', 'next');
    await until(async () => (await hub.api('GET', '/api/v1/users/eve/notifications')).body.items.length === 2, 'intake goes on');
  });
});
