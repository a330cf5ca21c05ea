// SPDX-License-Identifier: Apache-2.0
// E11: so little memory that a flood of clients, rooms and posts uses it up. The hub refuses, says
// so and lives; what it has stored is there, and afterwards who comes is served.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { accessSync, constants, existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { PROGRAM, startHub } from './support/hub.mjs';
import { until } from './support/wait.mjs';

const MIB = 1024 * 1024;
const SANITIZED = /lib[at]san\.so/.test(readFileSync(PROGRAM, 'latin1'));
const LONG = 90_000; // sessions of the flood that nobody ends go after their ping timeout
const HELD = 400; // clients of each kind that try to stay
const QUICK = 400; // rows of a user that are posted without a pause: more than a page cache holds, together
const CONFIG = `shards = 2
bus { recheck = 500ms }
limits { connections_per_user = 1000 connections_per_tenant = 1000000 unauthenticated_per_address = 1000000
  messages_per_minute = 1000000 joins_per_minute = 1000000 api_per_minute = 1000000 refusals_per_minute = 1000000
  outbound_bytes = 4MiB slow_consumer = 10m }`;

// Everything a peer may do, by many at once, until `stop`; what it holds is in `held`.
class Flood {
  constructor(hub) {
    this.hub = hub;
    this.held = new Set();
    this.stored = new Map(); // user: keys that were answered with 201
    this.statuses = new Map();
    this.going = true;
  }

  note(status) {
    this.statuses.set(status, (this.statuses.get(status) ?? 0) + 1);
  }

  async clients(n) {
    for (let i = 0; this.going && i < HELD; i++) {
      try {
        const client = await this.hub.plain(`f${n}-${i}`);
        this.held.add(client);
        client.closed.then(({ code }) => { this.held.delete(client); this.note(code); });
        for (let room = 0; room < 10; room++) client.emit('join_room', `public:${n}-${i}-${room}-${'r'.repeat(80)}`);
        client.emit('join_room', 'public:all');
        client.socket._socket.pause(); // it reads no more
        this.note('held');
      } catch (error) {
        this.note(error.status ?? 'failed');
        await pause(2);
      }
    }
  }

  // Connections that begin a request and never end it.
  async halves() {
    for (let i = 0; this.going && i < 2 * HELD; i++) {
      const socket = connect(this.hub.address);
      const closed = new Promise((resolve) => socket.once('close', resolve));
      socket.on('error', () => {});
      socket.write(`GET /ws HTTP/1.1\r\nHost: x\r\nX: ${'h'.repeat(4000)}`);
      this.held.add({ socket, close: () => socket.destroy() });
      if (i % 50 === 0) await Promise.race([closed, pause(1)]);
    }
  }

  async polls() {
    for (let i = 0; this.going && i < 4 * HELD; i++) {
      const answer = await fetch(`${this.hub.url}/socket.io/?EIO=4&transport=polling`).catch(() => undefined);
      this.note(answer?.status ?? 'failed');
      await answer?.text().catch(() => {});
    }
  }

  async posts(n) {
    for (let i = 0; this.going; i++) {
      const user = `p${n}`;
      const key = `${n}-${i}`;
      const post = { user, type: 't', title: 'x', message: 'm'.repeat(900), data: { key, pad: 'd'.repeat(20_000) }, key };
      const answer = await this.hub.api('POST', '/api/v1/notifications', post).catch(() => undefined);
      this.note(answer?.status ?? 'failed');
      if (answer?.status !== 201) {
        await pause(2);
        continue;
      }
      const keys = this.stored.get(user) ?? [];
      this.stored.set(user, keys);
      if (keys.push(key) > QUICK) await pause(50);
    }
  }

  async events() {
    for (let i = 0; this.going; i++) {
      const event = { event: 'load', args: [i, 'e'.repeat(50_000)], to: { rooms: ['public:all'] } };
      const answer = await this.hub.api('POST', '/api/v1/events', event).catch(() => undefined);
      this.note(answer?.status ?? 'failed');
      if (answer?.status !== 202) await pause(2);
    }
  }

  // How many were told that there is no room, or cut off.
  refused() {
    return [503, 4503, 1006, 'failed'].reduce((sum, status) => sum + (this.statuses.get(status) ?? 0), 0);
  }

  start() {
    this.filling = Promise.all([this.halves(), this.polls(), ...[0, 1, 2, 3].map((n) => this.clients(n))]);
    this.running = [...[0, 1, 2].map((n) => this.posts(n)), this.events()];
  }

  async stop() {
    this.going = false;
    await Promise.all([this.filling, ...this.running]);
    for (const client of this.held) (client.socket._socket ?? client.socket).destroy();
  }
}

// What the store has of a user, row by row: what was full has holes, and pages of many rows fit into none.
async function keysOf(hub, user) {
  const keys = new Set();
  for (let after = ''; ;) {
    const query = `limit=1${after && `&after=${encodeURIComponent(after)}`}`;
    const page = await until(async () => {
      const answer = await hub.api('GET', `/api/v1/users/${user}/notifications?${query}`);
      assert.equal(answer.status, 200, JSON.stringify(answer.body)); // again: it was refused for a moment
      return answer.body;
    }, `the page of ${user} after ${after}`);
    for (const item of page.items) keys.add(item.data.key);
    if (!page.next || page.items.length === 0) return keys;
    after = page.next;
  }
}

async function survives(hub, fills) {
  const flood = new Flood(hub);
  flood.start();
  try {
    await until(() => hub.server.result !== undefined || fills(flood), 'memory is used up', LONG);
    await flood.filling;
  } finally {
    await flood.stop();
  }
  assert.equal(hub.server.result, undefined, `the hub ended: ${JSON.stringify(hub.server.result)}\n${hub.log.slice(-3000)}`);
  const client = await until(() => hub.plain('later').catch(() => undefined), 'a new client comes in', LONG);
  await until(async () => {
    const answer = await client.request('join_room', 'public:later');
    return answer.ok === true;
  }, 'it joins a room');
  await until(async () => (await hub.api('POST', '/api/v1/notifications', { user: 'later', type: 't', title: 'x' })).status === 201, 'a post is stored');
  await client.next('notification');
  for (const [user, keys] of flood.stored) {
    const found = await keysOf(hub, user);
    for (const key of keys) assert.ok(found.has(key), `${key} was stored`);
  }
  return flood;
}

const addressSpace = (hub) => Number(readFileSync(`/proc/${hub.server.pid}/statm`, 'latin1').split(' ')[0]) * 4096;

test('E11 the address space is used up by a flood', { timeout: 280_000, skip: SANITIZED && 'a sanitizer itself ends when it gets no memory' }, async () => {
  const hub = await startHub({ config: CONFIG, env: { MALLOC_ARENA_MAX: '1' } }); // no heap is kept apart for a thread
  try {
    execFileSync('prlimit', ['--pid', String(hub.server.pid), `--as=${addressSpace(hub) + 24 * MIB}`]);
    const flood = await survives(hub, () => / NO-MEMORY /.test(hub.log));
    assert.ok(flood.refused() > 0);
    await hub.logged(/ error NO-MEMORY .*total=/);
    assert.ok((await hub.metric('peal_allocation_failures_total')) > 0);
  } finally {
    await hub.stop();
  }
});

// A memory cgroup of our own, of either version: {limit, join, usage, killed, remove}; or why there is none.
function memoryGroup() {
  const line = (pattern) => pattern.exec(readFileSync('/proc/self/cgroup', 'latin1'))?.[1];
  const version1 = line(/^\d+:memory:(.*)$/m);
  const root = version1 !== undefined ? `/sys/fs/cgroup/memory${version1}` : `/sys/fs/cgroup${line(/^0::(.*)$/m)}`;
  const folder = `${root.replace(/\/$/, '')}/peal-e11-${process.pid}`;
  try {
    accessSync(root, constants.W_OK);
    mkdirSync(folder);
  } catch (error) {
    return { why: `no cgroup can be made: ${error.code}` };
  }
  const name = version1 !== undefined ? 'memory.limit_in_bytes' : 'memory.max';
  if (!existsSync(`${folder}/${name}`)) {
    rmdirSync(folder);
    return { why: 'memory is not among the controllers of cgroups here' };
  }
  return {
    limit: (bytes) => writeFileSync(`${folder}/${name}`, String(bytes)),
    join: (pid) => writeFileSync(`${folder}/cgroup.procs`, String(pid)),
    remove: () => rmdirSync(folder),
  };
}

const group = memoryGroup();
const whyNoGroup = group.why ?? (SANITIZED && 'a sanitizer needs more than 64 MB');
if (whyNoGroup && !group.why) group.remove();

test('E11 a flood in a cgroup of 64 MB', { timeout: 280_000, skip: whyNoGroup }, async () => {
  const hub = await startHub({ config: CONFIG });
  try {
    group.limit(64 * MIB);
    group.join(hub.server.pid); // what it has is counted where it was
    await until(async () => (await hub.metric('peal_memory_limit_bytes')) < 64 * MIB, 'the hub knows its limit');
    const flood = await survives(hub, () => / MEMORY-FULL /.test(hub.log));
    assert.ok(flood.refused() > 0);
    assert.ok((await hub.metric('peal_memory_refused_total')) > 0);
  } finally {
    await hub.stop();
    await until(() => { group.remove(); return true; }, 'the group is empty');
  }
});
