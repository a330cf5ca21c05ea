// SPDX-License-Identifier: Apache-2.0
// publish, dead and migrate, against real hubs and a real Redis.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { createServer } from 'node:http';
import { createServer as createRawServer } from 'node:net';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { PROGRAM, cleanEnvironment, startHub } from './support/hub.mjs';
import { temporaryFolder } from './support/process.mjs';
import { startRedis } from './support/redis.mjs';
import { until, within } from './support/wait.mjs';

const ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const ENTRY = /^\d+-\d+$/;
const folder = temporaryFolder('commands');

let redis;
let client;
let single; // without Redis
let hub;
before(async () => {
  redis = await startRedis();
  client = redis.client();
  single = await startHub();
  hub = await startHub({ redis });
});
after(async () => {
  await single?.stop();
  await hub?.stop();
  await redis?.stop();
});

// Run the program; resolves with {code, stdout, stderr}, the outputs as lines.
async function peal(args, { env = {}, input } = {}) {
  const child = spawn(PROGRAM, args, { cwd: folder, env: cleanEnvironment(env) });
  const output = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr']) {
    child[name].setEncoding('utf8').on('data', (text) => {
      output[name] += text;
    });
  }
  child.stdin.on('error', () => {}); // it may end without reading
  child.stdin.end(input ?? '');
  const code = await within(new Promise((resolve) => child.once('close', resolve)), `peal ${args[0]}`);
  const lines = (text) => text.split('\n').filter(Boolean);
  return { code, stdout: lines(output.stdout), stderr: lines(output.stderr) };
}

const overHttp = (args, options) =>
  peal(['publish', '--url', single.url, '--api-key', single.apiKey, ...args], options);
const onRedis = (args, options) => peal(args, { ...options, env: { REDIS_URL: redis.url } });
const inbox = async (node, user) => (await node.api('GET', `/api/v1/users/${user}/notifications?limit=100`)).body.items;

test('publish posts over HTTP and prints the id', async () => {
  const args = ['--user', 'http', '--type', 'invoice', '--title', 'Bezahlt ✓', '--message', 'a "b"\n'];
  const more = ['--data', '{"n":[1,2]}', '--priority', 'high', '--key', 'k1', '--expires-at', '2099-01-01T00:00:00Z'];
  const first = await overHttp([...args, ...more]);
  assert.equal(first.code, 0, first.stderr.join());
  assert.match(first.stdout[0], ID);
  const [item] = await inbox(single, 'http');
  assert.equal(item.id, first.stdout[0]);
  assert.equal(item.title, 'Bezahlt ✓');
  assert.equal(item.message, 'a "b"\n');
  assert.deepEqual(item.data, { n: [1, 2] });
  assert.equal(item.priority, 'high');
  assert.equal(item.expiresAt, '2099-01-01T00:00:00.000Z');
  assert.deepEqual((await overHttp([...args, ...more])).stdout, first.stdout);
});

// A server of `answer(socket)` for each request; {url, requests}.
async function oddServer(t, answer) {
  const odd = { requests: 0 };
  const server = createRawServer((socket) => {
    socket.on('error', () => {});
    socket.on('data', () => {
      odd.requests++;
      answer(socket);
    });
  });
  t.after(() => server.close());
  await new Promise((resolve) => { server.listen(0, '127.0.0.1', resolve); });
  odd.url = `http://127.0.0.1:${server.address().port}`;
  return odd;
}

test('a post whose answer does not come is sent once, and said to be unknown', async (t) => {
  for (const [what, answer, text] of [
    ['closed', (socket) => socket.destroy(), /closed without an answer|Connection reset/],
    ['cut', (socket) => socket.end('HTTP/1.1 201 Created\r\nContent-Length: 10\r\n\r\n{'), /the answer was cut/],
    ['no HTTP', (socket) => socket.end('SSH-2.0-x\r\n'), /the answer is no HTTP/],
  ]) {
    const odd = await oddServer(t, answer);
    const { code, stderr } = await peal(['publish', '--url', odd.url, '--api-key', 'k'.repeat(20), '--user', 'a', '--type', 'a']);
    assert.equal(code, 1, what);
    assert.match(stderr.join('\n'), text, what);
    assert.equal(odd.requests, 1, what);
  }
  const plain = await oddServer(t, (socket) => socket.end('HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n'));
  const url = plain.url.replace('http:', 'https:');
  const secure = await peal(['publish', '--url', url, '--api-key', 'k'.repeat(20), '--user', 'a', '--type', 'a']);
  assert.equal(secure.code, 1, 'no TLS, no post');
  assert.ok(secure.stderr[0].includes(url.slice('https://'.length)), secure.stderr[0]);
});

test('publish tells what failed by its exit code and a sentence', async () => {
  await overHttp(['--user', 'fail', '--type', 'a', '--key', 'k']);
  const conflict = await overHttp(['--user', 'fail', '--type', 'b', '--key', 'k']);
  assert.equal(conflict.code, 1);
  assert.match(conflict.stderr[0], /key: .*other content/);
  const invalid = await overHttp(['--user', 'a/b', '--type', 'a']);
  assert.equal(invalid.code, 1);
  assert.match(invalid.stderr[0], /user: A user id: 1 to 128 bytes/);
  const wrong = await peal(['publish', '--url', single.url, '--api-key', 'wrong-key-0123456789', '--user', 'a', '--type', 'a']);
  assert.equal(wrong.code, 1);
  assert.match(wrong.stderr[0], /API key is not valid/);
  const away = await peal(['publish', '--url', 'http://127.0.0.1:1', '--user', 'a', '--type', 'a']);
  assert.equal(away.code, 1);
  assert.match(away.stderr[0], /cannot connect/);
  for (const args of [[], ['--user'], ['--colour', 'red'], ['--stdin', '--user', 'a'], ['--url', 'a', '--redis', 'b', '--stdin']]) {
    assert.equal((await peal(['publish', ...args])).code, 2, args.join(' '));
  }
  for (const url of ['ftp://x', 'http://u:p@x', 'http://x?a=b', 'http://x#y', 'http://', 'http://a:0', 'http://a:x', 'http://[::1', 'http://a b']) {
    assert.equal((await peal(['publish', '--url', url, '--user', 'a', '--type', 'a'])).code, 1, url);
  }
});

test('publish reads lines, and names those that are wrong', async () => {
  const lines = Array.from({ length: 2500 }, (_, i) => JSON.stringify({ user: 'lines', type: 't', title: `${i}`, key: `${i}` }));
  lines[1200] = '{"user":"lines"}';
  lines[1300] = '';
  const { code, stdout, stderr } = await overHttp(['--stdin'], { input: `${lines.join('\n')}` });
  assert.equal(code, 1);
  assert.equal(stdout.length, 2498);
  assert.ok(stdout.every((line) => ID.test(line)));
  assert.deepEqual(stderr, ['peal publish: line 1201: type: A notification has a type']);
  const { body } = await single.api('GET', '/api/v1/users/lines/notifications/unread');
  assert.equal(body.count, 2498);
});

test('publish understands answers in chunks, cut and without a length', async () => {
  const answers = [
    ['HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n{"id":"ch\r\n6\r\nunked"\r\n1\r\n}\r\n0\r\n\r\n', 0, 'chunked'],
    ['HTTP/1.0 201 Created\r\n\r\n{"id":"closed"}', 0, 'closed'],
    ['HTTP/1.1 201 Created\r\nContent-Length: 100\r\n\r\n{"id":"cut"}', 1, undefined],
    ['HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello', 1, undefined],
    ['nonsense\r\n\r\n', 1, undefined],
  ];
  let text;
  const server = createServer().on('connection', () => {});
  server.removeAllListeners('request');
  server.on('request', (request) => {
    request.resume();
    request.on('end', () => request.socket.end(text));
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  try {
    for (const [answer, code, id] of answers) {
      text = answer;
      const result = await peal(['publish', '--url', `http://127.0.0.1:${server.address().port}`, '--user', 'a', '--type', 't']);
      assert.equal(result.code, code, JSON.stringify([answer, result]));
      assert.equal(result.stdout[0], id);
    }
  } finally {
    server.close();
  }
});

test('publish adds to the stream, and the hub stores it', async () => {
  const one = await onRedis(['publish', '--user', 'stream', '--type', 't', '--title', 'one']);
  assert.equal(one.code, 0, one.stderr.join());
  assert.match(one.stdout[0], ENTRY);
  const lines = Array.from({ length: 3000 }, (_, i) => JSON.stringify({ user: `s${i % 7}`, type: 't', title: `${i}` }));
  const many = await onRedis(['publish', '--stdin'], { input: lines.join('\n') });
  assert.equal(many.code, 0, many.stderr.join());
  assert.equal(new Set(many.stdout).size, 3000);
  await until(async () => (await inbox(hub, 'stream')).length === 1, 'the first is stored');
  await until(async () => await hub.metric('peal_notifications_stored_total') >= 3001, 'all are stored');
  const wrong = await onRedis(['publish', '--user', 'stream']);
  assert.equal(wrong.code, 1, 'checked before it is added');
  const away = await peal(['publish', '--redis', 'redis://127.0.0.1:1', '--user', 'a', '--type', 't']);
  assert.equal(away.code, 1);
});

test('dead letters are listed, posted again once, and dropped', async () => {
  await client.del('peal:dead');
  await client.xadd('peal:in', '*', 'user', 'd/1', 'type', 't');
  await client.xadd('peal:in', '*', 'user', 'dead', 'type', 't', 'colour', Buffer.from([0xff, 0xfe]));
  const listed = await until(async () => {
    const { stdout } = await onRedis(['dead', 'list']);
    return stdout.length === 2 && stdout.map((line) => JSON.parse(line));
  }, 'two dead letters');
  const [first, second] = listed.sort((a, b) => (a.fields.user > b.fields.user ? 1 : -1)).reverse();
  assert.deepEqual(Object.keys(first), ['id', 'stream', 'entry', 'reason', 'field', 'fields']);
  assert.equal(first.reason, 'invalid_field');
  const binary = [first, second].find((letter) => letter.fields.colour);
  assert.deepEqual(binary.fields.colour, { base64: '//4=' });

  // Mended by hand: a letter that can be stored now.
  await client.xadd('peal:dead', '*', 'dead:stream', 'peal:in', 'dead:id', '1-1', 'dead:reason', 'unavailable', 'dead:field', '', 'user', 'mended', 'type', 't', 'title', 'again');
  const [letter] = (await onRedis(['dead', 'list'])).stdout.map((line) => JSON.parse(line)).filter((one) => one.fields.user === 'mended');
  const retried = await onRedis(['dead', 'retry', '--id', letter.id]);
  assert.equal(retried.code, 0, retried.stderr.join());
  assert.match(retried.stdout[0], ENTRY);
  await until(async () => (await inbox(hub, 'mended')).length === 1, 'the mended letter is stored');
  const again = await onRedis(['dead', 'retry', '--id', letter.id]);
  assert.equal(again.code, 1);
  assert.match(again.stderr.join(), /no entry/);
  assert.equal(await client.xlen('peal:dead'), 2);

  assert.equal((await onRedis(['dead', 'drop'])).code, 2);
  assert.equal((await onRedis(['dead', 'drop', '--id', first.id])).code, 0);
  assert.equal(await client.xlen('peal:dead'), 1);
  assert.equal((await onRedis(['dead', 'drop', '--all'])).code, 0);
  assert.equal(await client.xlen('peal:dead'), 0);
  assert.deepEqual((await onRedis(['dead', 'list'])).stdout, []);
});

test('dead walks through more entries than a page has', async () => {
  const batch = client.pipeline();
  for (let i = 0; i < 1203; i++) {
    batch.xadd('peal:dead', '*', 'dead:stream', 'peal:in', 'dead:reason', 'unavailable', 'user', 'pages', 'type', 't', 'key', `${i}`);
  }
  await batch.exec();
  assert.equal((await onRedis(['dead', 'list'])).stdout.length, 1203);
  const two = await Promise.all([onRedis(['dead', 'retry']), onRedis(['dead', 'retry'])]);
  assert.deepEqual(two.map((one) => one.code), [0, 0]);
  assert.equal(two[0].stdout.length + two[1].stdout.length, 1203);
  await until(async () => {
    const { body } = await hub.api('GET', '/api/v1/users/pages/notifications/unread');
    return body.count === 1203;
  }, 'all are stored');
  assert.equal(await client.xlen('peal:dead'), 0);
});

test('dead needs an action and a bus', async () => {
  assert.equal((await onRedis(['dead'])).code, 2);
  assert.equal((await onRedis(['dead', 'bury'])).code, 2);
  assert.equal((await onRedis(['dead', 'list', '--all'])).code, 2);
  assert.equal((await peal(['dead', 'list'])).code, 1);
  assert.equal((await peal(['dead', 'list'], { env: { REDIS_URL: 'redis://127.0.0.1:1' } })).code, 1);
});

test('migrate makes the schema, and a new epoch on request', async () => {
  const path = ['--store-path', join(folder, 'migrate.db')];
  const epoch = async (...more) => {
    const { code, stdout, stderr } = await peal(['migrate', ...more, ...path]);
    assert.equal(code, 0, stderr.join());
    return /epoch (\S+)$/.exec(stdout[0])[1];
  };
  const first = await epoch();
  assert.equal(await epoch(), first);
  const next = await epoch('--new-epoch');
  assert.notEqual(next, first);
  assert.equal(await epoch(), next);
  assert.equal((await peal(['migrate', '--store-path', '/nowhere/x.db'])).code, 1);
  assert.equal((await peal(['migrate', '--down', ...path])).code, 2);
});
