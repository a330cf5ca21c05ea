// SPDX-License-Identifier: Apache-2.0
// `peal doctor`: what is wrong is named, with what to do and exit 1; a good set-up has nothing, and exit 0.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { chmodSync, readFileSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { Certs } from './support/certs.mjs';
import { PROGRAM, cleanEnvironment, startHub } from './support/hub.mjs';
import { startPooler } from './support/pooler.mjs';
import { freePort } from './support/ports.mjs';
import { startPostgres } from './support/postgres.mjs';
import { temporaryFolder } from './support/process.mjs';
import { startRedis } from './support/redis.mjs';
import { randomSecret } from './support/tokens.mjs';
import { within } from './support/wait.mjs';

const folder = temporaryFolder('doctor');
let redis;
let client;
let postgres;
let good; // variables of a set-up with nothing wrong
let files = 0;

before(async () => {
  [redis, postgres] = await Promise.all([startRedis(), startPostgres({ settings: { fsync: 'on' } })]);
  client = redis.client();
  good = { JWT_SECRET: randomSecret(), PEAL_AUTH_API_KEY: randomSecret(), PEAL_LISTEN_HOST: '127.0.0.1',
    PEAL_ORIGINS: 'https://app.example', REDIS_URL: redis.url, DATABASE_URL: postgres.url };
});

after(async () => {
  await Promise.all([redis?.stop(), postgres?.stop()]);
});

// Run it; resolves with {code, text, ids}. `env` changes the good set-up, undefined takes a variable away.
async function doctor(env = {}, config = '', mode = 0o600) {
  const all = Object.entries({ ...good, ...env }).filter(([, value]) => value !== undefined);
  const args = ['doctor'];
  if (config) {
    files += 1;
    args.push('--config', join(folder, `${files}.conf`));
    writeFileSync(args[2], config);
    chmodSync(args[2], mode);
  }
  const child = spawn(PROGRAM, args, { cwd: folder, env: cleanEnvironment(Object.fromEntries(all)) });
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (part) => (text += part));
  child.stderr.setEncoding('utf8').on('data', (part) => (text += part));
  const code = await within(new Promise((resolve) => child.once('close', resolve)), 'peal doctor');
  return { code, text, ids: [...text.matchAll(/^([A-Z]+(?:-[A-Z]+)*): /gm)].map(([, id]) => id) };
}

// It finds this, and nothing else, with a remedy.
async function finds(id, pattern, env, config, mode) {
  const { code, text, ids } = await doctor(env, config, mode);
  assert.deepEqual({ code, ids }, { code: 1, ids: [id] }, text);
  assert.match(text, pattern);
  assert.match(text, /^ {4}do: \S/m, 'what to do');
}

test('a good set-up has nothing, with Redis and Postgres, and without', async () => {
  assert.deepEqual(await doctor(), { code: 0, text: '', ids: [] });
  const alone = { REDIS_URL: undefined, DATABASE_URL: undefined };
  assert.deepEqual(await doctor(alone), { code: 0, text: '', ids: [] });
});

test('it also has nothing beside a node that runs there', async () => {
  const hub = await startHub({ redis, postgres });
  try {
    assert.deepEqual(await doctor(), { code: 0, text: '', ids: [] });
  } finally {
    await hub.stop();
  }
});

test('an argument it does not know is refused', async () => {
  const child = spawn(PROGRAM, ['doctor', 'now'], { cwd: folder, env: cleanEnvironment(good), stdio: 'ignore' });
  assert.equal(await within(new Promise((resolve) => child.once('close', resolve)), 'it ends'), 2);
});

test('keys, origins and listeners', async () => {
  await finds('SETTINGS', /JWT_SECRET/, { JWT_SECRET: undefined });
  await finds('NO-POSTS', /no backend can post/, { PEAL_AUTH_API_KEY: undefined, REDIS_URL: undefined });
  await finds('SETTINGS-WARN', /origins/, { PEAL_ORIGINS: '*' });
  await finds('ORIGIN-PLAIN', /http:\/\/app\.example/, { PEAL_ORIGINS: 'https://a.example, http://app.example, http://localhost:3000' });
  await finds('LISTEN-PLAIN', /0\.0\.0\.0:3000/, { PEAL_LISTEN_HOST: '0.0.0.0' });
  await finds('INTERNAL-OPEN', /0\.0\.0\.0:3001/, { PEAL_LISTEN_INTERNAL_HOST: '0.0.0.0' });
  await finds('DEVELOPMENT', /token of any user/, { PEAL_DEV: 'on' });
  await finds('SETTINGS-WARN', /\.conf/, {}, `auth { secret = "${randomSecret()}" }\n`, 0o644);
});

test('certificates', async () => {
  const certs = new Certs();
  const soon = certs.make('localhost', { days: 3 });
  const tls = (cert, key) => ({ PEAL_LISTEN_TLS_CERT: cert, PEAL_LISTEN_TLS_KEY: key });
  const fine = certs.make('localhost');
  assert.deepEqual(await doctor(tls(fine.cert, fine.key)), { code: 0, text: '', ids: [] });
  await finds('TLS-ENDS', /ends in 3 days/, tls(soon.cert, soon.key));
  await finds('SETTINGS', /nowhere\.crt/, tls(join(folder, 'nowhere.crt'), soon.key));
});

test('what the machine lets a node have', async () => {
  const somaxconn = Number(readFileSync('/proc/sys/net/core/somaxconn', 'utf8'));
  await finds('LIMIT-FILES', /limits\.connections/, { PEAL_LIMITS_CONNECTIONS: '10000000' });
  await finds('LIMIT-MEMORY', /limits\.memory/, { PEAL_LIMITS_MEMORY: '1000000GiB' });
  if (availableParallelism() < 64) await finds('LIMIT-CORES', /shards is 64/, { PEAL_SHARDS: '64' });
  if (somaxconn < 65535) await finds('LIMIT-BACKLOG', new RegExp(`keeps ${somaxconn} `), { PEAL_LISTEN_BACKLOG: '65535' });
  await finds('STORE-FILE', /nowhere/, { DATABASE_URL: undefined, PEAL_STORE_PATH: join(folder, 'nowhere', 'peal.db') });
});

test('a Redis that is not there, or not as it should be', async () => {
  await finds('BUS', /cannot be used/, { REDIS_URL: `redis://127.0.0.1:${await freePort()}/0` });
  const with_ = async (name, value, back, id, pattern) => {
    await client.config('SET', name, value);
    try {
      await finds(id, pattern);
    } finally {
      await client.config('SET', name, back);
    }
  };
  await with_('maxmemory-policy', 'allkeys-lru', 'noeviction', 'BUS', /evicts keys of its own choice/);
  await with_('maxmemory-policy', 'volatile-ttl', 'noeviction', 'BUS-EVICTS', /volatile-ttl/);
  await with_('timeout', '60', '0', 'BUS-TIMEOUT', /for 60 s/);
  await with_('appendonly', 'no', 'yes', 'BUS-FORGETS', /append-only/);
  await with_('maxmemory', '1000', '0', 'BUS-FULL', /90 %/);
  await client.acl('SETUSER', 'mute', 'on', '>mute', '~*', '&*', '+@all', '-publish');
  await finds('BUS-DENIED', /publish/i, { REDIS_URL: redis.url.replace('redis://', 'redis://mute:mute@') });
});

test('nodes that do not work together', async () => {
  const entered = async (member, id, pattern) => {
    await client.zadd('peal:nodes:{0}', Date.now() + 60000, 'aaaa 1 pg/1 epoch', Date.now() + 60000, member);
    try {
      const { code, text, ids } = await doctor();
      assert.ok(code === 1 && ids.includes(id), text);
      assert.match(text, pattern);
    } finally {
      await client.del('peal:nodes:{0}');
    }
  };
  await entered('bbbb 1 pg/2 epoch', 'CLUSTER-STORES', /pg\/1 and pg\/2/);
  await entered('bbbb 900 pg/1 epoch', 'CLUSTER-VERSION', /node bbbb speaks version 900/);
  await client.zadd('peal:nodes:{0}', Date.now() - 60000, 'cccc 900 pg/9 epoch');
  assert.deepEqual((await doctor()).ids, [], 'one that has ended');
  await client.del('peal:nodes:{0}');
});

test('a Postgres that is not there, or not as it should be', async () => {
  await finds('STORE', /Postgres: /, { DATABASE_URL: `postgres://peal@127.0.0.1:${await freePort()}/postgres` });
  await finds('STORE-CONNECTIONS', /a node may want 1024/, { PEAL_STORE_POOL_MAX: '1024' });
  const pooler = await startPooler(postgres);
  try {
    await finds('STORE-POOLED', /pooler/, { DATABASE_URL: pooler.url });
  } finally {
    await pooler.stop();
  }
  await postgres.query('CREATE ROLE poor LOGIN');
  await postgres.query('CREATE DATABASE bare');
  await finds('STORE-SCHEMA', /schema peal/, { DATABASE_URL: `postgres://poor@127.0.0.1:${postgres.port}/bare` });
  const standby = await postgres.standby();
  try {
    await finds('STORE-READ-ONLY', /standby/, { DATABASE_URL: standby.url });
  } finally {
    await standby.stop();
  }
  const lax = await startPostgres();
  try {
    await finds('STORE-FSYNC', /fsync/, { DATABASE_URL: lax.url });
  } finally {
    await lax.stop();
  }
});
