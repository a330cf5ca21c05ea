// SPDX-License-Identifier: Apache-2.0
// What happens when memory is short: nobody new comes in, then the slowest go; the others stay.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { chmodSync, statSync, writeFileSync } from 'node:fs';
import { connect as connectTcp } from 'node:net';
import { join } from 'node:path';
import { test } from 'node:test';
import { cleanEnvironment, PROGRAM, startHub } from './support/hub.mjs';
import { temporaryFolder } from './support/process.mjs';
import { until } from './support/wait.mjs';

const MIB = 1024 * 1024;
const text = (limit, more = '') => `shards = 1\nlimits { memory = ${Math.round(limit)} ${more} }\n`;

// A sanitizer keeps what is freed, to see who uses it later: here it must give it back.
const GIVING = { ASAN_OPTIONS: `${process.env.ASAN_OPTIONS ?? ''}:quarantine_size_mb=1:allocator_release_to_os_interval_ms=100` };

const status = async (hub, path) => (await fetch(hub.url + path)).status;

test('above limits.memory handshakes are refused with 503, and not below it', async () => {
  const hub = await startHub({ config: text(0) });
  try {
    const client = await hub.plain('ann');
    assert.doesNotMatch(hub.log, /MEMORY-RESERVE/, 'OpenSSL has one, too');
    await until(async () => (await hub.metric('peal_memory_limit_bytes')) > 64 * MIB, 'a default of this machine');
    writeFileSync(join(hub.folder, 'peal.conf'), text(MIB));
    hub.reload();
    await until(async () => (await status(hub, '/socket.io/?EIO=4&transport=polling')) === 503, 'handshakes are refused');
    assert.equal(await status(hub, '/ws'), 503);
    assert.ok((await hub.metric('peal_memory_refused_total')) >= 2);
    await hub.logged(/ warn MEMORY-FULL .*limit=1048576/);
    assert.equal((await client.request('join_room', 'public:a')).ok, true, 'who is there stays');
    assert.equal((await hub.api('POST', '/api/v1/notifications', { user: 'ann', type: 't', title: 'x' })).status, 201);
    writeFileSync(join(hub.folder, 'peal.conf'), text(0));
    hub.reload();
    await until(() => / info MEMORY-OK /.test(hub.log), 'there is room again');
    assert.equal(await status(hub, '/socket.io/?EIO=4&transport=polling'), 200);
  } finally {
    await hub.stop();
  }
});

test('those with the most waiting go, and who reads stays', { timeout: 180_000 }, async () => {
  const more = 'outbound_bytes = 16MiB slow_consumer = 10m message_bytes = 1MiB';
  const hub = await startHub({ config: text(0, more), env: GIVING });
  try {
    const resident = await hub.metric('peal_process_resident_memory_bytes');
    writeFileSync(join(hub.folder, 'peal.conf'), text(resident + 24 * MIB, more));
    hub.reload();
    await until(async () => Math.abs((await hub.metric('peal_memory_limit_bytes')) - resident - 24 * MIB) < 2, 'the limit');
    const reader = await hub.plain('reader');
    const slow = [];
    for (let i = 0; i < 8; i++) slow.push(await hub.plain(`slow-${i}`));
    for (const client of slow) client.socket._socket.pause();
    const body = 'x'.repeat(60_000);
    await until(async () => {
      for (let i = 0; i < slow.length; i++) { // each its own, so that none shares what waits
        const post = { event: 'load', args: [`${i}${body}`], to: { users: [`slow-${i}`] } };
        assert.equal((await hub.api('POST', '/api/v1/events', post)).status, 202);
      }
      return / warn MEMORY-SHED /.test(hub.log);
    }, 'the slowest are closed');
    assert.ok((await hub.metric('peal_memory_shed_total')) >= 1);
    await hub.api('POST', '/api/v1/events', { event: 'still', args: [1], to: { users: ['reader'] } });
    await reader.next('still');
    for (const client of slow) client.socket.terminate();
    await until(async () => {
      // A sanitizer gives memory back when more of that size is freed.
      await hub.api('POST', '/api/v1/events', { event: 'load', args: [body], to: { users: ['nobody'] } });
      await hub.metric('peal_sockets');
      return / info MEMORY-OK /.test(hub.log);
    }, 'memory is given back');
  } finally {
    await hub.stop();
  }
});

test('who does not take the answers to requests goes too, and who reads gets them', { timeout: 180_000 }, async () => {
  const more = 'outbound_bytes = 16MiB slow_consumer = 10m';
  const hub = await startHub({ config: text(0, more), env: GIVING });
  try {
    const rows = Array.from({ length: 16 }, () => ({ user: 'heavy', type: 'note', title: 't', data: { d: 'd'.repeat(60_000) } }));
    for (let n = 0; n < 6; n++) assert.equal((await hub.api('POST', '/api/v1/notifications', rows)).status, 200);
    const path = '/api/v1/users/heavy/notifications?limit=96'; // 5.8 MB
    for (let n = 0; n < 3; n++) assert.equal((await hub.api('GET', path)).body.items.length, 96);
    const resident = await hub.metric('peal_process_resident_memory_bytes');
    writeFileSync(join(hub.folder, 'peal.conf'), text(resident + 48 * MIB, more));
    hub.reload();
    await until(async () => Math.abs((await hub.metric('peal_memory_limit_bytes')) - resident - 48 * MIB) < 2, 'the limit');
    const head = `GET ${path} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer ${hub.apiKey}\r\n\r\n`;
    const sockets = Array.from({ length: 30 }, () => {
      const socket = connectTcp(hub.address.port, hub.address.host, () => socket.write(head));
      socket.on('error', () => {});
      return socket.pause();
    });
    await hub.logged(/ warn MEMORY-SHED /);
    assert.ok((await hub.metric('peal_closed_total{reason="slow"}')) >= 1);
    assert.equal((await hub.api('GET', path)).body.items.length, 96);
    for (const socket of sockets) socket.destroy();
  } finally {
    await hub.stop();
  }
});

// The kernel gives the files of a process that may not be dumped to root.
async function ownerOf(args) {
  const cwd = temporaryFolder('core');
  chmodSync(cwd, 0o777);
  const uid = process.getuid() === 0 ? 65534 : process.getuid();
  const flags = ['serve', '--listen-host', '127.0.0.1', '--listen-port', '0', '--listen-internal-port', '0', ...args];
  const env = cleanEnvironment({ JWT_SECRET: 'x'.repeat(32) });
  const hub = spawn(PROGRAM, flags, { cwd, env, uid, gid: process.getuid() === 0 ? 65534 : process.getgid(), stdio: ['ignore', 'ignore', 'pipe'] });
  let log = '';
  hub.stderr.on('data', (part) => (log += part));
  const ended = new Promise((resolve) => hub.once('exit', resolve));
  try {
    await until(() => / START /.test(log), 'the start line');
    return statSync(`/proc/${hub.pid}/environ`).uid === 0 ? 'root' : 'own';
  } finally {
    hub.kill('SIGTERM');
    await ended;
  }
}

test('the process may leave no core file, unless it is told or in development', async () => {
  assert.equal(await ownerOf([]), 'root');
  assert.equal(await ownerOf(['--core-dumps']), 'own');
  assert.equal(await ownerOf(['--dev']), 'own');
  assert.equal(await ownerOf(['--dev', '--core-dumps', 'off']), 'root');
});
