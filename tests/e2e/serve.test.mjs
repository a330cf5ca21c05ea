// SPDX-License-Identifier: Apache-2.0
// What `peal serve` says when it cannot start: one line that names the cause, and exit 1.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { PROGRAM, cleanEnvironment, startHub } from './support/hub.mjs';
import { freePort } from './support/ports.mjs';
import { startPostgres } from './support/postgres.mjs';
import { Server, temporaryFolder } from './support/process.mjs';
import { startRedis } from './support/redis.mjs';
import { randomSecret } from './support/tokens.mjs';
import { until, within } from './support/wait.mjs';

const folder = temporaryFolder('serve');
let redis;
let postgres;

before(async () => {
  [redis, postgres] = await Promise.all([startRedis(), startPostgres()]);
});

after(async () => {
  await redis?.stop();
  await postgres?.stop();
});

// Run `peal serve` until it ends; resolves with what it printed.
async function serve(args = [], env = {}) {
  const all = ['serve', '--listen-host', '127.0.0.1', '--listen-port', '0', '--listen-internal-port', '0'];
  all.push('--store-path', join(folder, 'peal.db'), ...args);
  const options = { cwd: folder, env: cleanEnvironment({ JWT_SECRET: randomSecret(), ...env }) };
  const server = new Server('serve', PROGRAM, all, options);
  try {
    const { code, signal } = await within(server.ended, 'it ends');
    return { code, signal, output: server.output.trimEnd() };
  } finally {
    await server.stop('SIGKILL').catch(() => {});
  }
}

// It ends with 1 after one line that matches.
async function refuses(text, args, env) {
  const { code, signal, output } = await serve(args, env);
  assert.deepEqual({ code, signal }, { code: 1, signal: null }, output);
  assert.equal(output.split('\n').length, 1, `one line: ${output}`);
  assert.match(output, text);
}

function config(name, text) {
  const file = join(folder, name);
  writeFileSync(file, text);
  return ['--config', file];
}

test('an unknown option is named with its place', async () => {
  await refuses(/unknown\.conf:2: no such option 'romms'/, config('unknown.conf', 'limits {\n  romms = 5\n}\n'));
  await refuses(/nosuch\.conf/, ['--config', join(folder, 'nosuch.conf')]);
});

test('a value out of its range is named with what is allowed', async () => {
  await refuses(/limits\.rooms.*allowed: 1 to/, ['--limits-rooms', '0']);
  await refuses(/limits\.rooms.*allowed: 1 to 65535/, ['--limits-rooms', '65536']); // what a socket can count
  await refuses(/PEAL_LIMITS_ROOMS.*many/, [], { PEAL_LIMITS_ROOMS: 'many' });
  await refuses(/batching\.mode/, config('mode.conf', 'batching { mode = sometimes }'));
  await refuses(/"x": access: unknown rule "nonsense"/, config('rule.conf', 'room_type "x" { access = {"nonsense"} }'));
});

test('a node without keys refuses to start', async () => {
  await refuses(/secret/i, [], { JWT_SECRET: '' });
});

test('a port of another hub is busy, except that nodes share the public one', async () => {
  const alone = await startHub();
  const node = await startHub({ redis, postgres });
  try {
    const args = (...ports) => ['--listen-port', String(ports[0]), '--listen-internal-port', String(ports[1] ?? 0)];
    await refuses(/LISTEN-BUSY .*port=/, args(alone.address.port));
    await refuses(/LISTEN-BUSY .*port=/, args(0, alone.internal.port));
    await refuses(/LISTEN-BUSY .*port=/, args(0, node.internal.port), { REDIS_URL: redis.url, DATABASE_URL: postgres.url });
    const options = { redis, postgres, secret: node.secret, args: ['--listen-port', String(node.address.port)] };
    const other = await startHub(options);
    assert.equal(other.address.port, node.address.port);
    await other.stop();
  } finally {
    await alone.stop();
    await node.stop();
  }
});

test('a busy port is told with its address', async () => {
  const taken = createServer().listen(0, '127.0.0.1');
  await until(() => taken.address(), 'it listens');
  const port = String(taken.address().port);
  for (const flag of ['--listen-port', '--listen-internal-port']) {
    await refuses(new RegExp(`taken.*127\\.0\\.0\\.1.*${port}.*try="${flag} PORT"`), [flag, port]);
  }
  taken.close();
});

test('an address that is not ours is told', async () => {
  await refuses(/192\.0\.2\.1/, ['--listen-host', '192.0.2.1']);
});

test('a database that cannot be reached is told, without its password', async () => {
  const port = await freePort();
  const url = `postgres://peal:hunter2@127.0.0.1:${port}/postgres`;
  const { code, output } = await serve([], { DATABASE_URL: url, PEAL_STORE_START_TIMEOUT: '0' });
  assert.equal(code, 1);
  assert.equal(output.split('\n').length, 2, output); // that it waits, and that it ends
  assert.match(output, new RegExp(`127\\.0\\.0\\.1.*${port}|refused`));
  assert.doesNotMatch(output, /hunter2/);
  await refuses(/nosuch/, [], { DATABASE_URL: postgres.url.replace(/postgres$/, 'nosuch') });
  await refuses(/store\.url|DATABASE_URL|mysql/, [], { DATABASE_URL: 'mysql://localhost/x' });
});

test('a SQLite file that cannot be opened is told', async () => {
  await refuses(/no\/such\/folder\/peal\.db/, ['--store-path', join(folder, 'no/such/folder/peal.db')]);
  writeFileSync(join(folder, 'text.db'), 'this is no database, '.repeat(100));
  await refuses(/text\.db/, ['--store-path', join(folder, 'text.db')]);
});

test('a Redis that cannot be used is told, without its password', async () => {
  const port = await freePort();
  await refuses(new RegExp(`Redis.*(${port}|refused)`, 'i'), [], { REDIS_URL: `redis://127.0.0.1:${port}/0` });
  const locked = await startRedis({ durable: false, settings: { requirepass: 'right' } });
  try {
    const url = `127.0.0.1:${locked.port}/0`;
    const { code, output } = await serve([], { REDIS_URL: `redis://:hunter2@${url}` });
    assert.deepEqual([code, output.split('\n').length], [1, 1], output);
    assert.match(output, /Redis.*(WRONGPASS|password)/i);
    assert.doesNotMatch(output, /hunter2/);
    await refuses(/Redis.*(NOAUTH|password|authentication)/i, [], { REDIS_URL: `redis://${url}` });
    await refuses(/bus\.url|REDIS_URL|scheme/, [], { REDIS_URL: `http://${url}` });
  } finally {
    await locked.stop();
  }
  const evicting = await startRedis({ durable: false, settings: { 'maxmemory-policy': 'allkeys-lru' } });
  try {
    await refuses(/allkeys-lru/, [], { REDIS_URL: evicting.url });
  } finally {
    await evicting.stop();
  }
});

test('a key file that cannot be read is told with its name', async () => {
  const block = (file) => `jwt_key "main" { algorithm = RS256 file = "${file}" }`;
  const missing = join(folder, 'missing.pem');
  await refuses(/missing\.pem/, config('missing.conf', block(missing)));
  const folderAsKey = join(folder, 'folder.pem'); // root may read every file, but no folder
  mkdirSync(folderAsKey);
  await refuses(/folder\.pem/, config('folder.conf', block(folderAsKey)));
  const text = join(folder, 'text.pem');
  writeFileSync(text, 'no key');
  chmodSync(text, 0o600);
  await refuses(/"main".*no PEM key/, config('text.conf', block(text)));
});

test('a file that another hub has is told with the ways out', async () => {
  const hub = await startHub();
  const file = join(hub.folder, 'peal.db');
  await refuses(/in use by another process.*name another file \(store\.path\)/, ['--store-path', file]);
  await hub.stop();
});

test('the request that development mode prints posts to this hub', async () => {
  const hub = await startHub({ args: ['--dev'] });
  const command = await until(() => /^ {2}(curl (?:.*\\\n)*.*)$/m.exec(hub.log)?.[1], 'a command');
  const { stdout } = await promisify(execFile)('sh', ['-c', command]);
  assert.equal(JSON.parse(stdout).seq, 1);
  const { body } = await hub.api('GET', '/api/v1/users/alice/notifications');
  assert.equal(body.items[0].title, 'Hello from curl');
  await hub.stop();
});

test('development mode listens on a loopback address only', async () => {
  await refuses(/loopback/, ['--dev', '--listen-host', '0.0.0.0']);
});

test('nothing of a refused start is left behind', async () => {
  const port = await freePort();
  await refuses(/192\.0\.2\.1/, ['--listen-port', String(port), '--listen-internal-host', '192.0.2.1']);
  const hub = await startHub({ folder });
  await hub.stop();
});

test('a Redis that takes no claim is told as that, not as another node', { timeout: 120_000 }, async () => {
  const full = await startRedis({ settings: { maxmemory: '1' } });
  try {
    await refuses(/Redis does not let .*peal:sqlite.*OOM/, [], { REDIS_URL: full.url });
    const several = { REDIS_URL: full.url, DATABASE_URL: postgres.url };
    await refuses(/no secret for the cluster.*OOM/, [], several);
    await refuses(/no lease.*OOM/, ['--cluster-secret', randomSecret()], several);
  } finally {
    await full.stop();
  }
});

test('of two nodes with SQLite on one Redis the second refuses', { timeout: 120_000 }, async () => {
  const first = await startHub({ redis });
  try {
    const second = ['--store-path', join(folder, 'second.db')];
    await refuses(/another node.*peal:sqlite.*SQLite/, second, { REDIS_URL: redis.url });
    // It may share Redis under another prefix.
    const other = await startHub({ redis, env: { PEAL_BUS_PREFIX: 'other' } });
    await other.stop();
  } finally {
    await first.stop();
  }
  const next = await startHub({ redis }); // the first one gave its claim back
  await next.kill();
  const bus = redis.client();
  const [key] = await bus.keys('peal:sqlite*');
  assert.equal(await bus.persist(key), 1); // so that waiting would not help
  await next.restart(); // the lock of the file proves that its former self is dead
  const entry = ['user', 'alice', 'type', 't', 'title', 'by stream'];
  await bus.xadd('peal:in', '*', ...entry);
  await until(async () => {
    const { body } = await next.api('GET', '/api/v1/users/alice/notifications');
    return body.items?.length === 1;
  }, 'the stream is drained again');
  await next.stop();
});

test('a Redis that is started again while a node waits for its claim lets it in', { timeout: 120_000 }, async () => {
  const own = await startRedis({ durable: false });
  let starting;
  try {
    const first = await startHub({ redis: own });
    const [key] = await own.client().keys('peal:sqlite*');
    assert.ok(key);
    await first.stop();
    await own.client().set(key, 'another one', 'PX', 600_000);
    const { told, stop } = await own.monitor();
    starting = startHub({ redis: own });
    starting.catch(() => {}); // told below
    await until(() => told.some((words) => words.includes(key)), 'it has asked');
    stop();
    await own.kill();
    await own.restart(); // with nothing in it
    await starting;
  } finally {
    await (await starting?.catch(() => {}))?.stop();
    await own.stop();
  }
});
