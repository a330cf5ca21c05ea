// SPDX-License-Identifier: Apache-2.0
// `peal top` and peal_memory_bytes: what a node says of itself while real clients use it.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createServer } from 'node:http';
import { after, before, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { PROGRAM, cleanEnvironment, startHub } from './support/hub.mjs';
import { temporaryFolder } from './support/process.mjs';
import { startRedis } from './support/redis.mjs';
import { until, within } from './support/wait.mjs';

const OWNERS = ['connection', 'tls', 'session', 'socket', 'user', 'room', 'timer', 'token', 'bus', 'cache', 'value'];
const folder = temporaryFolder('top');

let redis;
let hub; // alone
let node; // with Redis
before(async () => {
  redis = await startRedis();
  hub = await startHub({ config: 'room_type "chat" { access = { any } }' });
  node = await startHub({ redis });
});
after(async () => {
  await hub?.stop();
  await node?.stop();
  await redis?.stop();
});

function start(args) {
  const child = spawn(PROGRAM, ['top', ...args], { cwd: folder, env: cleanEnvironment() });
  const output = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr']) {
    child[name].setEncoding('utf8').on('data', (text) => {
      output[name] += text;
    });
  }
  const ended = new Promise((resolve) => child.once('close', (code) => resolve(code)));
  return { child, output, ended };
}

async function top(...args) {
  const run = start(args);
  const code = await within(run.ended, 'peal top');
  return { code, ...run.output, rows: readTable(run.output.stdout) };
}

// A table as {name: first word of its value}.
function readTable(text) {
  const rows = text.split('\n').map((line) => /^(.*?)\s{2,}(\S+)/.exec(line));
  return Object.fromEntries(rows.filter(Boolean).map(([, name, value]) => [name, value]));
}

async function memory(of) {
  const text = await (await fetch(`${of.internalUrl}/metrics`)).text();
  const rows = [...text.matchAll(/^peal_memory_bytes\{owner="(\w+)"\} (\d+)$/gm)];
  return Object.fromEntries(rows.map(([, owner, bytes]) => [owner, Number(bytes)]));
}

test('every owner of memory is told, and what clients cost goes with them', async () => {
  const idle = await memory(hub);
  assert.deepEqual(Object.keys(idle), OWNERS);
  const sockets = await Promise.all(Array.from({ length: 40 }, (_, i) => hub.plain(`m${i}`)));
  // A connection is 160 bytes or so: what is counted is neither nothing nor a multiple of that.
  const within = (bytes, least, most) => bytes >= 40 * least && bytes <= 40 * most;
  await until(async () => {
    const now = await memory(hub);
    const more = (owner) => now[owner] - idle[owner];
    return (
      within(more('connection'), 100, 400) &&
      within(more('session'), 100, 400) &&
      within(more('socket'), 100, 400) &&
      within(more('user'), 100, 500) &&
      within(more('timer'), 20, 100)
    );
  }, 'memory of 40 clients');
  for (const socket of sockets) socket.close();
  await until(async () => {
    const now = await memory(hub);
    // Who asks for metrics keeps a few connections too.
    return now.session === idle.session && now.connection <= idle.connection + 10 * 400;
  }, 'memory given back');
});

test('channels of the bus are counted', async () => {
  const idle = await memory(node);
  const clients = await Promise.all(Array.from({ length: 20 }, (_, i) => node.plain(`b${i}`)));
  await until(async () => (await memory(node)).bus >= idle.bus + 20 * 150, 'channels of 20 users');
  for (const client of clients) await client.next('hub:ready'); // its channel is there
  await pause(2000); // memory is measured once a second
  const used = (await memory(node)).bus;
  for (const client of clients) client.close();
  await until(async () => (await memory(node)).bus < used - 20 * 100, 'channels given back');
  assert.equal((await memory(hub)).bus, 0, 'without Redis there are none');
});

test('one table for scripts', async () => {
  const client = await hub.plain('alice');
  await hub.plain('alice');
  await client.request('join_room', { roomId: 'chat:1' });
  await until(async () => (await hub.metric('peal_users')) === 1, 'users of earlier tests are gone');
  const { code, rows, stdout, stderr } = await top('--once', '--url', hub.internalUrl);
  assert.equal(code, 0, stderr);
  assert.equal(stderr, '');
  assert.equal(rows.users, '1');
  assert.equal(rows.sockets, '2');
  assert.equal(rows.rooms, '1');
  assert.equal(rows.store, 'up');
  assert.equal(rows.bus, 'none');
  assert.match(stdout, /^store p99 +\d+\.\d+ ms \([^)]+\)$/m);
  assert.match(stdout, /^cache hits +\d+\.\d %$/m);
  assert.match(stdout, /^processor +\d+\.\d %$/m);
  for (const owner of OWNERS) {
    assert.match(stdout, new RegExp(`^memory ${owner} +\\d+ B +\\d+ a connection$`, 'm'));
  }
  const all = Number(rows['memory all']);
  const owned = OWNERS.reduce((sum, owner) => sum + Number(rows[`memory ${owner}`]), 0);
  assert.equal(all, owned + Number(rows['memory rest']));
});

test('a table says which node it is of, and when it was made', async () => {
  const before = Date.now();
  const { rows } = await top('--once', '--url', hub.internalUrl);
  const text = await (await fetch(`${hub.internalUrl}/metrics`)).text();
  const [, version, name] = /^peal_build_info\{version="([^"]+)",node="([^"]+)"/m.exec(text);
  assert.deepEqual([rows.node, rows.version], [name, version]);
  assert.ok(Date.parse(rows.time) >= before && Date.parse(rows.time) <= Date.now());
});

// A terminal is one that script(1) makes; what it shows arrives on stdout, keys go to stdin.
function startOnTerminal(of) {
  const command = `${PROGRAM} top --url ${of.internalUrl}`;
  const child = spawn('script', ['-qec', command, '/dev/null'], {
    cwd: folder,
    env: { ...cleanEnvironment(), TERM: 'xterm' },
  });
  const output = { text: '' };
  child.stdout.setEncoding('utf8').on('data', (text) => {
    output.text += text;
  });
  const ended = new Promise((resolve) => child.once('close', (code) => resolve(code)));
  return { child, output, ended };
}

test('on a terminal it shows units, and q ends it', async () => {
  const { child, output, ended } = startOnTerminal(hub);
  await until(() => output.text.includes('q ends it'), 'a table');
  assert.ok(output.text.includes('\u001b[2J'), 'a screen is cleared');
  assert.match(output.text, /^uptime +(?:\d+d )?\d\d:\d\d:\d\d\r?$/m);
  assert.match(output.text, /^memory all +\d+(?:\.\d)? [KMG]iB\r?$/m);
  assert.match(output.text, /^bytes out +\d+(?:\.\d)? (?:[KMG]i)?B\/s\r?$/m);
  child.stdin.write('x');
  const tables = () => output.text.split('q ends it').length;
  const shown = tables();
  await until(() => tables() > shown, 'another key ends nothing');
  child.stdin.write('q');
  assert.equal(await within(ended, 'the end'), 0);
});

test('on a terminal a signal ends it, and the terminal is as before', async () => {
  const command = `trap : INT; stty -a > before; ${PROGRAM} top --url ${hub.internalUrl}; echo "code $?"; stty -a > after; cmp before after && echo same`;
  const child = spawn('script', ['-qec', command, '/dev/null'], { cwd: folder, env: { ...cleanEnvironment(), TERM: 'xterm', SHELL: '/bin/sh' } });
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (more) => {
    text += more;
  });
  const ended = new Promise((resolve) => child.once('close', resolve));
  await until(() => text.includes('q ends it'), 'a table');
  child.stdin.write('\u0003');
  await within(ended, 'the end');
  assert.match(text, /same\r?\n/);
});

test('the node of the settings is asked, and the bus is told', async () => {
  const { code, rows, stderr } = await top('--once', '--listen-internal-port', String(node.internal.port));
  assert.equal(code, 0, stderr);
  assert.equal(rows.bus, 'up');
});

test('tables go on until the node does not answer, with the rates of each interval', async () => {
  const other = await startHub({ config: 'room_type "chat" { access = { any } }' });
  const client = await other.plain('alice');
  await client.request('join_room', { roomId: 'chat:1' });
  const run = start(['--every', '1', '--url', other.internalUrl]);
  const table = () => readTable(run.output.stdout.split('\n\n').at(-2) ?? '');
  await until(async () => {
    await client.request('leave_room', { roomId: 'chat:2' });
    return Number(table()['events in']) > 0;
  }, 'a rate of events');
  await until(() => Number(table()['events in']) === 0 && table().users === '1', 'quiet again');
  assert.ok(!run.output.stdout.includes('\u001b'), 'a pipe is no screen');
  await other.stop();
  assert.equal(await within(run.ended, 'the end of peal top'), 1);
  assert.match(run.output.stderr, /^peal top: 127\.0\.0\.1:\d+: /);
});

test('what is no node, and what is no argument', async () => {
  const stranger = createServer((request, response) => response.end('hello'));
  await new Promise((resolve) => stranger.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${stranger.address().port}`;
  const answer = await top('--once', '--url', url);
  assert.equal(answer.code, 1);
  assert.match(answer.stderr, /without metrics of Peal/);
  await new Promise((resolve) => {
    stranger.close(resolve);
    stranger.closeAllConnections();
  });
  const nobody = await top('--once', '--url', url);
  assert.equal(nobody.code, 1);
  assert.match(nobody.stderr, /cannot connect/);
  for (const args of [['--twice'], ['--every', '0'], ['--every'], ['--every', '2.5'], ['--url', 'ftp://x']]) {
    assert.equal((await top(...args)).code, 2, args.join(' '));
  }
  assert.match((await top('--every', '0')).stderr, /^peal top: --every: "0"; allowed is a number of seconds from 1 to 3600\n$/);
});
