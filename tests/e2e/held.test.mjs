// SPDX-License-Identifier: Apache-2.0
// What held when Peal was put under faults for days, kept so: leases that are lost, rows that are
// locked, entries that are nonsense, clocks that jump, descriptors and memory that run out.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { PROGRAM, startHub } from './support/hub.mjs';
import { temporaryFolder } from './support/process.mjs';
import { startRig } from './support/rig.mjs';
import { until } from './support/wait.mjs';

const FULL = process.env.PEAL_FULL === '1';
const POSTS = FULL ? 4000 : 1000; // a test
const between = (low, high) => low + Math.random() * (high - low);

let rig;

before(async () => {
  rig = await startRig({ users: 20 });
});

after(async () => {
  await rig?.stop();
});

async function keysLike(pattern) {
  const keys = [];
  let cursor = '0';
  do {
    const [next, some] = await rig.bus.scan(cursor, 'MATCH', pattern, 'COUNT', 1000);
    keys.push(...some);
    cursor = next;
  } while (cursor !== '0');
  return keys;
}

test('the owner is stopped five times for about as long as its lease', { timeout: 200_000 }, async () => {
  const posting = rig.post('stops', POSTS);
  for (let n = 0; n < 5; n++) {
    await posting.reach(0.1 + 0.15 * n);
    const { hub } = await rig.owner();
    hub.pause();
    await pause(between(1400, 1900));
    hub.resume();
  }
  await posting.done;
  await rig.check();
});

test('leases are deleted and overwritten', { timeout: 200_000 }, async () => {
  const posting = rig.post('leases', POSTS);
  for (let n = 0; n < 12; n++) {
    await posting.reach(n / 14);
    const keys = await until(() => keysLike('peal:*lease*').then((all) => all.length > 0 && all), 'there is a lease');
    const key = keys[n % keys.length];
    if (n % 3 === 0) await rig.bus.del(key);
    else if (n % 3 === 1) await rig.bus.set(key, 'somebody-else', 'PX', 700);
    else await rig.bus.set(key, '', 'PX', 300);
  }
  await posting.done;
  await rig.check();
});

test('every inbox is locked by another session', { timeout: 200_000 }, async () => {
  const posting = rig.post('locks', POSTS);
  await posting.reach(0.3);
  const client = await rig.postgres.pool().connect();
  await client.query('BEGIN');
  await client.query('SELECT 1 FROM peal.inbox FOR UPDATE');
  await pause(FULL ? 40_000 : 7_000); // longer than a statement waits for a lock
  await client.query('ROLLBACK');
  client.release();
  await posting.done;
  await rig.check();
});

// Entries of the stream that are no notifications, each as names and values.
const GARBAGE = {
  'nothing known': ['a', 'b'],
  'a user and nothing else': ['user', 'f0'],
  'no type': ['user', 'f0', 'title', 't'],
  'no user': ['user', '', 'type', 'x', 'title', 't'],
  'a user that is too long': ['user', 'u'.repeat(10_000), 'type', 'x', 'title', 't'],
  'a user with control characters': ['user', 'f\u0000\u0001', 'type', 'x', 'title', 't'],
  'a title that is no UTF-8': ['user', 'f0', 'type', 'x', 'title', Buffer.from([0xff, 0xfe, 0xc0, 0x80])],
  'a title of 2 MB': ['user', 'f0', 'type', 'x', 'title', 't'.repeat(2 << 20)],
  'data that is no JSON': ['user', 'f0', 'type', 'x', 'title', 't', 'data', '{"a":'],
  'data that is nested 1,000 deep': ['user', 'f0', 'type', 'x', 'title', 't', 'data', `${'['.repeat(1000)}${']'.repeat(1000)}`],
  'an unknown priority': ['user', 'f0', 'type', 'x', 'title', 't', 'priority', 'huge'],
  'a time that is none': ['user', 'f0', 'type', 'x', 'title', 't', 'expires_at', 'tomorrow'],
  'a key that is too long': ['user', 'f0', 'type', 'x', 'title', 't', 'key', 'k'.repeat(10_000)],
  'an event whose name is too long': ['event', 'e'.repeat(5000), 'args', '[1]', 'users', '["f0"]'],
  'an event whose arguments are no list': ['event', 'noise', 'args', '{"a":1', 'users', '["f0"]'],
  'an event for nobody': ['event', 'noise', 'args', '[1]'],
};

test('16 kinds of garbage go to the dead letters, and what comes between them is stored', { timeout: 200_000 }, async () => {
  const before = await rig.bus.xlen('peal:dead');
  const posting = rig.post('garbage', POSTS);
  for (const [n, entry] of Object.values(GARBAGE).entries()) {
    await posting.reach(n / 20);
    await rig.bus.xadd('peal:in', '*', ...entry);
  }
  await posting.done;
  await rig.check();
  const dead = await until(async () => {
    const entries = await rig.bus.xlen('peal:dead') - before;
    return entries >= Object.keys(GARBAGE).length && entries;
  }, 'all are dead letters');
  assert.equal(dead, Object.keys(GARBAGE).length);
});

test('the stream is replaced by a string', { timeout: 200_000 }, async () => {
  await rig.check(); // all that was posted is in the store
  await rig.bus.set('peal:in', 'no stream');
  await assert.rejects(rig.bus.xadd('peal:in', '*', 'user', 'f0'), /WRONGTYPE/);
  const post = rig.ledger.make('string', 'f1');
  await rig.ledger.postByHttp(rig.hubs, post); // HTTP does not need it
  await rig.bus.del('peal:in');
  const posting = rig.post('again', 200);
  await posting.done;
  await rig.check();
});

test('an entry of an hour ahead is stored, and all that come behind it', { timeout: 200_000 }, async () => {
  const post = rig.ledger.make('ahead', 'f2');
  const fields = Object.entries({ ...post, data: JSON.stringify(post.data) }).flat();
  await rig.bus.xadd('peal:in', `${Date.now() + 3_600_000}-0`, ...fields);
  rig.ledger.accept(post.key);
  const posting = rig.post('behind', 200); // Redis gives them ids of the same millisecond
  await posting.done;
  await rig.check();
});

test('descriptors run out at a node', { timeout: 200_000 }, async () => {
  const [hub] = rig.hubs;
  const files = readdirSync(`/proc/${hub.server.pid}/fd`).length;
  const limit = (value) => execFileSync('prlimit', ['--pid', String(hub.server.pid), `--nofile=${value}`]);
  const peers = [];
  try {
    limit(`${files + 4}:20000`);
    for (let n = 0; n < 50; n++) {
      const peer = connect(hub.address);
      peer.on('error', () => {});
      peers.push(peer);
    }
    await rig.post('files', 200).done;
  } finally {
    limit('20000:20000');
    for (const peer of peers) peer.destroy();
  }
  await until(async () => (await hub.plain('f0')).close() ?? true, 'it takes connections again');
  await rig.check();
});

const SANITIZED = /lib[at]san\.so/.test(readFileSync(PROGRAM, 'latin1'));
const NO_ROOM = SANITIZED && 'a sanitizer itself ends when it gets no memory';

test('the address space of a node runs out', { timeout: 200_000, skip: NO_ROOM }, async () => {
  const [hub] = rig.hubs;
  const [pages] = readFileSync(`/proc/${hub.server.pid}/statm`, 'latin1').split(' ');
  const posting = rig.post('space', POSTS);
  await posting.reach(0.2);
  execFileSync('prlimit', ['--pid', String(hub.server.pid), `--as=${Number(pages) * 4096 + (2 << 20)}`]);
  await posting.reach(0.7);
  await hub.kill(); // if it has not ended by itself
  await hub.restart();
  await posting.done;
  await rig.check();
});

// Changes what time the program is told, without a word to it.
const FAKETIME = ['x86_64', 'aarch64'].map((machine) => `/usr/lib/${machine}-linux-gnu/faketime/libfaketimeMT.so.1`).find(existsSync);
const whyNoClock = (!FAKETIME && 'libfaketime is not installed')
  || (SANITIZED && 'a sanitizer and libfaketime do not fit into one process');

test('E13 the clock of a node jumps by a day, and back', { timeout: 200_000, skip: whyNoClock }, async () => {
  const folder = temporaryFolder('clock');
  const clock = join(folder, 'clock');
  const set = (offset) => writeFileSync(clock, `${offset}\n`);
  set('+0');
  const env = { LD_PRELOAD: FAKETIME, FAKETIME_TIMESTAMP_FILE: clock, FAKETIME_NO_CACHE: '1', FAKETIME_DONT_FAKE_MONOTONIC: '1', DONT_FAKE_MONOTONIC: '1' };
  const jumping = await startHub({ ...rig.shared, env });
  rig.hubs.push(jumping);
  const claims = { exp: Math.floor(Date.now() / 1000) + 7 * 86_400 };
  const client = await jumping.plain('f5', { claims });
  try {
    for (const [offset, days] of [['+1d', 1], ['+0', 0], ['-1d', -1], ['+0', 0]]) {
      set(offset);
      const before = jumping.log.length;
      const date = new Date(Date.now() + days * 86_400_000).toISOString().slice(0, 10);
      jumping.reload(); // a line of log, with the time
      await until(() => jumping.log.slice(before).includes(`${date}T`), `the clock has jumped: ${offset}`);
      const posting = rig.post(`clock${offset}`, 200);
      await posting.done;
      assert.equal((await client.request('notification:received', { upTo: 0 })).ok, true, offset);
    }
  } finally {
    rig.hubs.pop();
  }
  await rig.check();
  assert.equal(client.socket.readyState, 1, 'no deadline follows the wall clock');
  await jumping.stop();
});

test('F4 an entry with the last id there can be ends the stream, until it is deleted', { timeout: 200_000 }, async () => {
  await rig.check();
  const post = rig.ledger.make('last', 'f3');
  const fields = Object.entries({ ...post, data: JSON.stringify(post.data) }).flat();
  await rig.bus.xadd('peal:in', '18446744073709551615-18446744073709551615', ...fields);
  rig.ledger.accept(post.key);
  await assert.rejects(rig.bus.xadd('peal:in', '*', 'user', 'f3'), /exhausted|smaller/);
  const other = rig.ledger.make('meanwhile', 'f4');
  await rig.ledger.postByHttp(rig.hubs, other);
  await rig.check(); // the last entry too is stored once
  await rig.bus.del('peal:in'); // what is stored is not lost by it, and ids begin again
  await rig.post('anew', 200).done;
  await rig.check();
});

// The last: what it posts is in no ledger, and rig.check would miss it there.
test('a lease that moves between healthy nodes costs no refusal', { timeout: 200_000 }, async () => {
  const refused = [];
  let going = true;
  let posted = 0;
  const post = async (hub, n) => {
    while (going) {
      const posts = Array.from({ length: 5 }, () => ({ user: `m${posted++ % 20}`, type: 't', title: `${n}` }));
      const { status, body } = await hub.api('POST', '/api/v1/notifications', posts);
      if (status !== 200 && status !== 201) refused.push([status, body]);
    }
  };
  const stream = async () => {
    while (going) await rig.bus.xadd('peal:in', '*', 'user', `m${posted++ % 20}`, 'type', 't', 'title', 's');
  };
  const posting = [...rig.hubs, ...rig.hubs].map(post).concat(stream());
  const tokens = new Set();
  await until(async () => {
    const { token } = await rig.owner();
    tokens.add(token);
    const [key] = await keysLike('peal:*lease*');
    if (key) await rig.bus.set(key, 'somebody-else', 'PX', 100);
    await pause(300);
    return tokens.size >= 8;
  }, 'the lease has moved', 60_000);
  going = false;
  await Promise.all(posting);
  assert.deepEqual(refused, []);
});
