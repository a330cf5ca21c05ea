// SPDX-License-Identifier: Apache-2.0
// Who may share a Redis: environments that do not hear each other, and nodes of two versions that
// do. `versions` name programs that are linked with a later codec/bus_version.c.
import assert from 'node:assert/strict';
import { dirname, join } from 'node:path';
import { after, afterEach, before, describe, test } from 'node:test';
import { PROGRAM, cleanEnvironment, startHub } from './support/hub.mjs';
import { startPostgres } from './support/postgres.mjs';
import { Server, temporaryFolder } from './support/process.mjs';
import { startRedis } from './support/redis.mjs';
import { randomSecret } from './support/tokens.mjs';
import { never, until, within } from './support/wait.mjs';

const ahead = (versions) => join(dirname(PROGRAM), `tests/conformance/peal-ahead-${versions}`);
const QUIET_MS = 500;

let redis;
let postgres;
let other; // URL of a second database
let number = 0;
const hubs = [];

before(async () => {
  [redis, postgres] = await Promise.all([startRedis(), startPostgres()]);
  await postgres.pool().query('CREATE DATABASE other');
  other = postgres.url.replace(/postgres$/, 'other');
});

afterEach(async () => {
  for (const hub of hubs.splice(0)) await hub.stop();
});

after(async () => {
  await redis?.stop();
  await postgres?.stop();
});

async function start(options) {
  const hub = await startHub({ redis, postgres, ...options });
  hubs.push(hub);
  return hub;
}

const redisUrl = (db) => redis.url.replace(/0$/, String(db));

// Run `peal serve` beside the hubs until it ends; resolves with what it printed.
async function serve({ program = PROGRAM, env }) {
  const args = ['serve', '--listen-host', '127.0.0.1', '--listen-port', '0', '--listen-internal-port', '0'];
  const options = { cwd: temporaryFolder('environments'), env: cleanEnvironment({ JWT_SECRET: randomSecret(), ...env }) };
  const server = new Server('serve', program, args, options);
  try {
    const { code } = await within(server.ended, 'it ends');
    return { code, output: server.output.trimEnd() };
  } finally {
    await server.stop('SIGKILL').catch(() => {});
  }
}

async function post(hub, body) {
  const { status } = await hub.api('POST', '/api/v1/notifications', { type: 't', title: 't', key: `k${number++}`, ...body });
  assert.equal(status, 201);
}

async function emit(hub, room, text) {
  const body = { event: 'news', args: [text], to: { rooms: [room] } };
  assert.ok((await hub.api('POST', '/api/v1/events', body)).status < 300);
}

// A client that keeps what it is told, in a room.
async function join_(hub, user) {
  const socket = hub.socketIo(user, { claims: { rooms: ['project:*'] } });
  const heard = [];
  socket.on('notification', (item) => heard.push(item.title));
  socket.on('news', (text) => heard.push(text));
  await new Promise((resolve) => socket.once('hub:ready', resolve));
  assert.equal((await socket.emitWithAck('join_room', 'project:1')).ok, true);
  return { socket, heard };
}

describe('two environments', () => {
  test('in two databases of a Redis hear nothing of each other', async () => {
    const mine = await start();
    const theirs = await start({ env: { DATABASE_URL: other, REDIS_URL: redisUrl(1) } });
    const [a, b] = [await join_(mine, 'rosa'), await join_(theirs, 'rosa')];
    await post(mine, { user: 'rosa', title: 'from mine' });
    await emit(mine, 'project:1', 'event of mine');
    await until(() => a.heard.length === 2, 'mine has both');
    await never(() => b.heard.length > 0, 'the other hears of it', QUIET_MS);
    // Its own first one, of the same rev, is delivered at once.
    await post(theirs, { user: 'rosa', title: 'from theirs' });
    await emit(theirs, 'project:1', 'event of theirs');
    await until(() => b.heard.length === 2, 'theirs has both');
    assert.deepEqual(b.heard.sort(), ['event of theirs', 'from theirs']);
    assert.deepEqual(a.heard.sort(), ['event of mine', 'from mine']);
    // The channels of Socket.IO's adapter know no database: what came there is counted and told once.
    assert.ok((await theirs.metric('peal_bus_strange_store_total')) > 0);
    await theirs.loggedTimes('BUS-STRANGE-STORE', 1);
  });

  test('under one prefix: the second does not start, and says what to do', async () => {
    await start();
    const env = { REDIS_URL: redis.url, DATABASE_URL: other };
    const { code, output } = await serve({ env });
    assert.equal(code, 1, output);
    assert.match(output, /another store.*bus\.prefix.*migrate --new-epoch/);
    assert.equal(output.split('\n').filter((line) => line.startsWith('peal: ')).length, 1, output);
    const apart = await start({ env: { ...env, PEAL_BUS_PREFIX: 'other' } });
    assert.equal(await apart.metric('peal_bus_strange_store_total'), 0);
  });

  test('one that stands where a node was killed waits for its lease, and starts', async () => {
    const first = await start();
    await first.kill();
    await start({ env: { DATABASE_URL: other } });
  });

  test('one that came when Redis had lost its data is told of', async () => {
    const first = await start();
    first.pause();
    try {
      await redis.client().flushall();
      await start({ env: { DATABASE_URL: other } });
    } finally {
      first.resume();
    }
    await until(() => hubs.every(({ log }) => /NODE-STRANGE/.test(log)), 'both say so');
  });
});

describe('two versions', () => {
  test('a node and one of the next version work together, whichever is first', async () => {
    const shared = { secret: randomSecret(), apiKey: randomSecret() };
    for (const programs of [[PROGRAM, ahead(1)], [ahead(1), PROGRAM]]) {
      const pair = [];
      for (const program of programs) pair.push(await start({ ...shared, program }));
      const clients = [await join_(pair[0], 'rosa'), await join_(pair[1], 'rosa')];
      for (const hub of pair) {
        await post(hub, { user: 'rosa', title: 'stored' });
        await emit(hub, 'project:1', 'emitted');
      }
      for (const { heard } of clients) {
        await until(() => heard.length === 4, 'all is heard by both');
        assert.deepEqual([...heard].sort(), ['emitted', 'emitted', 'stored', 'stored']);
      }
      for (const hub of pair) {
        assert.equal(await hub.metric('peal_bus_strange_version_total'), 0);
        assert.equal(await hub.metric('peal_gaps_total'), 0); // announced, not read again
      }
      for (const hub of hubs.splice(0)) await hub.stop();
    }
  });

  test('it writes its own version when the last older node has gone', async () => {
    const [older, newer] = [await start(), await start({ program: ahead(1) })];
    const versions = [];
    const spy = redis.client();
    spy.on('messageBuffer', (channel, payload) => versions.push(/\.(\d+)\.[a-z0-9]{12}/.exec(payload.toString('latin1'))[1]));
    await spy.subscribe('socket.io#/#project:1#');
    await emit(newer, 'project:1', 'x');
    await until(() => versions.length === 1, 'it is published');
    assert.equal(versions[0], '1');
    hubs.splice(hubs.indexOf(older), 1);
    await older.stop();
    await until(async () => {
      await emit(newer, 'project:1', 'x');
      return versions.at(-1) === '2';
    }, 'the newer one is alone and writes version 2');
  });

  test('two versions apart: the second does not start, and says why', async () => {
    await start();
    const { code, output } = await serve({ program: ahead(2), env: { REDIS_URL: redis.url, DATABASE_URL: postgres.url } });
    assert.equal(code, 1, output);
    assert.match(output, /version that does not work with this one.*one version at a time/);
  });
});
