// SPDX-License-Identifier: Apache-2.0
// A store that refuses: its disk is full, it may only be read, its file is damaged. What was accepted
// is there, nothing is acknowledged that is not, and the hub goes on when the store does.
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, closeSync, mkdirSync, openSync, rmSync, statSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { startHub } from './support/hub.mjs';
import { PostgresServer, startPostgres } from './support/postgres.mjs';
import { temporaryFolder } from './support/process.mjs';
import { startRedis } from './support/redis.mjs';
import { until } from './support/wait.mjs';

const MIB = 1 << 20;

// A file system of its own, of so many bytes.
function mountSmall(bytes) {
  const folder = temporaryFolder('small');
  execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${bytes},mode=777`, 'tmpfs', folder]);
  return { folder, unmount: () => execFileSync('umount', ['-l', folder]) };
}

function whyNoMount() {
  if (process.getuid() !== 0) return 'only root may mount a file system';
  const folder = temporaryFolder('try');
  const tried = spawnSync('mount', ['-t', 'tmpfs', 'tmpfs', folder], { encoding: 'utf8' });
  if (tried.status !== 0) return `no file system can be mounted here: ${tried.stderr}`;
  execFileSync('umount', [folder]);
  return false;
}

const skip = whyNoMount();

// Take all the room there is in `folder`; returns what gives it back.
function fill(folder) {
  const path = join(folder, 'filler');
  const file = openSync(path, 'w');
  for (const size of [MIB, 4096, 1]) {
    const bytes = Buffer.alloc(size);
    try {
      for (;;) writeSync(file, bytes);
    } catch (error) {
      if (error.code !== 'ENOSPC') throw error;
    }
  }
  closeSync(file);
  return () => rmSync(path);
}

// A poster that keeps what was answered with 201, and what was refused.
class Poster {
  constructor(hub, user) {
    Object.assign(this, { hub, user, stored: [], refusals: [], n: 0 });
  }

  async post(bytes = 20_000) {
    this.n += 1;
    const body = { user: this.user, type: 'x', title: `t${this.n}`, message: 'm', data: { filler: 'x'.repeat(bytes) }, key: `${this.user}-${this.n}` };
    const answer = await this.hub.api('POST', '/api/v1/notifications', body);
    if (answer.status === 201) this.stored.push(answer.body.id);
    else this.refusals.push(answer.status);
    return answer.status;
  }

  // Until one is refused, or taken again.
  until(accepted, bytes) {
    return until(async () => {
      let same = false;
      for (let n = 0; n < 20 && !same; n++) same = ((await this.post(bytes)) === 201) === accepted;
      return same;
    }, `posts are ${accepted ? 'taken again' : 'refused'}`, 90_000);
  }

  // Everything that was answered with 201 is there, in order, and refusals said so.
  async check(hub = this.hub) {
    const found = [];
    let next = '';
    do { // a page ends where an outbox would be full, or at 100
      const { body } = await hub.api('GET', `/api/v1/users/${this.user}/notifications?limit=100${next && `&after=${next}`}`);
      found.push(...body.items);
      next = body.next ?? '';
    } while (next);
    const ids = found.map(({ id }) => id);
    for (const id of this.stored) assert.ok(ids.includes(id), `${id} was accepted and is not there`);
    assert.equal(new Set(ids).size, ids.length);
    for (const status of this.refusals) assert.ok([503, 504].includes(status), `refused with ${status}`);
  }
}

test('F10 SQLite on a disk that is full: refused, and taken again when there is room', { skip, timeout: 120_000 }, async () => {
  const small = mountSmall(24 * MIB);
  const hub = await startHub({ folder: small.folder });
  try {
    const poster = new Poster(hub, 'full');
    for (let n = 0; n < 5; n++) assert.equal(await poster.post(), 201);
    const free = fill(small.folder);
    await poster.until(false);
    assert.equal((await fetch(`${hub.internalUrl}/healthz`)).status, 200);
    free();
    await poster.until(true);
    await poster.check();
    await hub.kill();
    await hub.restart();
    await poster.check();
  } finally {
    await hub.stop();
    small.unmount();
  }
});

test('F10 a damaged SQLite file: told at the start, or answered with 503; never silent', { timeout: 120_000 }, async () => {
  const hub = await startHub();
  const poster = new Poster(hub, 'damaged');
  for (let n = 0; n < 40; n++) assert.equal(await poster.post(), 201);
  await hub.stop();
  const path = join(hub.folder, 'peal.db');
  const { size } = statSync(path);
  const file = openSync(path, 'r+');
  for (let at = 8 * 4096; at < size; at += 4096) writeSync(file, Buffer.alloc(4096, 0xa5), 0, 4096, at);
  closeSync(file);
  try {
    await hub.restart();
  } catch (error) {
    assert.match(error.message, /peal\.db.*(malformed|not a database|corrupt)/i);
    return;
  }
  const list = await hub.api('GET', '/api/v1/users/damaged/notifications?limit=100');
  const post = await poster.post();
  assert.ok(list.status === 503 || post === 503, `damage that nobody is told: ${list.status} and ${post}`);
  await hub.kill();
});

test('F10 a SQLite file that may only be read is told at the start', { timeout: 60_000 }, async () => {
  const folder = temporaryFolder('folder');
  mkdirSync(join(folder, 'peal.db')); // also root cannot write to it
  await assert.rejects(startHub({ folder }), /peal\.db/);
  rmSync(join(folder, 'peal.db'), { recursive: true });
  writeFileSync(join(folder, 'peal.db'), 'this is no database, but a text of more than a hundred bytes, so that its head would be there: it is not.');
  chmodSync(join(folder, 'peal.db'), 0o600);
  await assert.rejects(startHub({ folder }), /peal\.db.*not a database/);
});

test('F8 Postgres that may only be read: 503, and taken again afterwards', { timeout: 120_000 }, async () => {
  const postgres = await startPostgres();
  const hub = await startHub({ postgres });
  try {
    const poster = new Poster(hub, 'readonly');
    assert.equal(await poster.post(), 201);
    await postgres.shutdown();
    writeFileSync(join(postgres.data, 'standby.signal'), '');
    await postgres.restart();
    await poster.until(false);
    await until(async () => (await hub.api('GET', '/api/v1/users/readonly/notifications')).status === 200, 'reading goes on');
    assert.notEqual(await poster.post(), 201);
    await postgres.query('SELECT pg_promote()');
    await poster.until(true);
    await poster.check();
  } finally {
    await hub.stop();
    await postgres.stop();
  }
});

test('an inbox that the store refuses to change is told of: nothing expires meanwhile', { timeout: 60_000 }, async () => {
  const postgres = await startPostgres();
  const hub = await startHub({ postgres, config: 'store { sweep = 200ms }' });
  try {
    const post = (user, ms) => hub.api('POST', '/api/v1/notifications', { user, type: 'x', title: 't', message: 'm', expires_at: Date.now() + ms });
    assert.equal((await post('odd', 3000)).status, 201);
    await postgres.query("UPDATE peal.inbox SET unread = 0, unseen = 0 WHERE user_id = 'odd'"); // by hand: one less would be -1
    await hub.logged(/SWEEP-REFUSED .*status=INVALID reason="23514: /);
    await postgres.query("UPDATE peal.inbox SET unread = 1, unseen = 1 WHERE user_id = 'odd'");
    await hub.logged(/SWEEP-ACCEPTED/);
    assert.equal(hub.log.match(/SWEEP-REFUSED/g).length, 1);
    const [{ left }] = await postgres.query('SELECT count(*)::int AS left FROM peal.notification');
    assert.equal(left, 0);
  } finally {
    await hub.stop();
    await postgres.stop();
  }
});

test('a transaction that is left open holds up what is changed of a post to many, which is told and ends with it', { timeout: 90_000 }, async (t) => {
  const postgres = await startPostgres();
  let hub;
  t.after(async () => {
    await hub?.stop();
    await postgres.stop();
  });
  hub = await startHub({ postgres, config: 'store { sweep = 200ms }' });
  const text = { type: 'x', title: 'before', message: 'm' };
  assert.equal((await hub.api('POST', '/api/v1/notifications', { user: 'away', ...text })).status, 201);
  const { status, body: post } = await hub.api('POST', '/api/v1/notifications', { all: true, ...text });
  assert.equal(status, 201);
  assert.equal((await hub.api('GET', '/api/v1/users/away/notifications')).body.items.length, 2); // has its row by now
  const client = await postgres.pool().connect();
  await client.query('BEGIN');
  await client.query('SELECT pg_current_xact_id()');
  assert.equal((await hub.api('PATCH', `/api/v1/notifications/${post.id}`, { title: 'after' })).status, 200);
  await hub.logged(/AUDIENCE-HELD .*held_ms=\d{5}/);
  const titles = async () => (await postgres.query('SELECT title FROM peal.notification ORDER BY seq')).map(({ title }) => title);
  assert.deepEqual(await titles(), ['before', 'before']);
  await client.query('ROLLBACK');
  client.release();
  await hub.logged(/AUDIENCE-FREE/);
  await until(async () => (await titles())[1] === 'after', 'the row has the other content');
  assert.equal(hub.log.match(/AUDIENCE-HELD/g).length, 1);
});

test('F8 Postgres on a disk that is full: refused, and taken again when there is room', { skip, timeout: 180_000 }, async () => {
  const small = mountSmall(160 * MIB);
  const postgres = await PostgresServer.start({ folder: small.folder, settings: { fsync: 'on', max_wal_size: '32MB', min_wal_size: '32MB' } });
  const hub = await startHub({ postgres });
  try {
    const poster = new Poster(hub, 'full');
    for (let n = 0; n < 5; n++) assert.equal(await poster.post(), 201);
    const free = fill(small.folder);
    await poster.until(false, 50_000);
    free();
    if (postgres.server.result) await postgres.restart(); // no room for its log ends it
    await poster.until(true);
    await poster.check();
  } finally {
    await hub.stop();
    await postgres.stop();
    small.unmount();
  }
});

test('of a post in several parts, one part that is stored is told though those around it are not', { timeout: 120_000 }, async (t) => {
  const postgres = await startPostgres();
  let hub;
  t.after(async () => {
    await hub?.stop();
    await postgres.stop();
  });
  hub = await startHub({ postgres, config: 'limits {\n  data_bytes = 4MiB\n  body_bytes = 16MiB\n}' });
  const item = (user, title) => ({ user, type: 'x', title, message: 'm', data: 'x'.repeat(2.5 * MIB) });
  for (const user of ['held', 'free']) {
    assert.equal((await hub.api('POST', '/api/v1/notifications', item(user, 'before'))).status, 201);
  }
  // What is left of the five seconds when the first part has waited for its lock is enough for the second, or is not.
  const outcomes = [];
  for (let n = 0; n < 5 && outcomes.at(-1)?.[1] !== 201; n++) {
    const client = await postgres.pool().connect();
    await client.query('BEGIN');
    await client.query("SELECT 1 FROM peal.inbox WHERE user_id = 'held' FOR UPDATE");
    const parts = [item('held', `first ${n}`), item('free', `second ${n}`), item('held', `third ${n}`)];
    const { status, body } = await hub.api('POST', '/api/v1/notifications', parts);
    await client.query('ROLLBACK');
    client.release();
    outcomes.push(status === 200 ? body.results.map((result) => result.status) : [status, status, status]);
    const rows = await postgres.query('SELECT title FROM peal.notification WHERE title LIKE $1', [`% ${n}`]);
    assert.deepEqual(rows.map(({ title }) => title), parts.map(({ title }) => title).filter((_, i) => outcomes[n][i] === 201));
  }
  assert.deepEqual(outcomes.at(-1), [503, 201, 503]);
});

test('a row that somebody locks keeps its partition waiting, which is told once and ends by itself', { timeout: 120_000 }, async (t) => {
  const [postgres, redis] = await Promise.all([startPostgres(), startRedis()]);
  let hub;
  t.after(async () => {
    await hub?.stop();
    await Promise.all([postgres.stop(), redis.stop()]);
  });
  hub = await startHub({ postgres, redis, config: 'shards = 1' });
  assert.equal((await hub.api('POST', '/api/v1/notifications', { user: 'held', type: 't', title: 'before' })).status, 201);
  const client = await postgres.pool().connect();
  await client.query('BEGIN');
  await client.query("SELECT 1 FROM peal.inbox WHERE user_id = 'held' FOR UPDATE");
  await redis.client().xadd('peal:in', '*', 'user', 'held', 'type', 't', 'title', 'behind');
  await hub.logged(/ error INGEST-REFUSED .*what=lock error="?held/);
  assert.equal((await fetch(`${hub.internalUrl}/readyz`)).status, 200, 'the store is not away');
  await pause(5000); // another attempt in vain
  await client.query('ROLLBACK');
  client.release();
  await hub.logged(/ info INGEST-ACCEPTED .*what=lock/);
  await until(async () => (await hub.api('GET', '/api/v1/users/held/notifications')).body.items.length === 2, 'it is stored');
  assert.equal(hub.lines('INGEST-REFUSED'), 1);
});
