// SPDX-License-Identifier: Apache-2.0
// The helpers of the other tests, tried on real servers.
import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { Agent, createServer, get } from 'node:http';
import { after, before, describe, test } from 'node:test';
import { Emitter } from '@socket.io/redis-emitter';
import { decode, encode } from '@msgpack/msgpack';
import { WebSocketServer } from 'ws';
import { startBalancer } from './support/balancer.mjs';
import { launchBrowser } from './support/browser.mjs';
import { findAddress } from './support/hub.mjs';
import { ALL_GOOD, Ledger } from './support/ledger.mjs';
import { PlainClient } from './support/plain_client.mjs';
import { startPostgres } from './support/postgres.mjs';
import { Server } from './support/process.mjs';
import { Delay, promised } from './support/promised.mjs';
import { startRedis } from './support/redis.mjs';
import { makeToken } from './support/tokens.mjs';
import { never, until } from './support/wait.mjs';

test('waiting ends with the value, or says what did not happen', async () => {
  let count = 0;
  assert.equal(await until(() => ++count > 2 && count, 'counted'), 3);
  await assert.rejects(until(() => false, 'the impossible', 50), /not within 50 ms: the impossible/);
  await assert.rejects(until(() => { throw new Error('why'); }, 'x', 20), /x: why/);
  await never(() => false, 'nothing', 30);
  await assert.rejects(never(() => true, 'something', 30), /happened: something/);
});

test('a promised time has what the machine delays on top, and no more', async () => {
  assert.equal(await promised(() => 'at once', 'a promise', 1000), 'at once');
  const begin = performance.now();
  const late = promised(() => performance.now() - begin > 4000, 'what is late', 100, [{ pid: process.pid }]);
  await assert.rejects(late, /what is late: \d{4,} ms, promised 100, with delays of the machine \d+/);
  const delay = new Delay([process.pid, 2 ** 30]); // one of them is nobody
  const busy = performance.now();
  await until(() => performance.now() - busy > 30, 'a moment');
  while (performance.now() - busy < 330);
  await until(() => delay.ms > 200, 'a timer that was held up');
  delay.stop();
});

test('a process that ends before it is ready is told with its output', async () => {
  const server = new Server('sh', 'sh', ['-c', 'echo first words; exit 3']);
  await assert.rejects(server.ready(() => false), /ended: \{"code":3.*first words/s);
  assert.deepEqual(await server.stop(), { code: 3, signal: null });
});

test('a process that ignores SIGTERM is killed, and that is an error', async () => {
  const server = new Server('sh', 'sh', ['-c', 'trap "" TERM; echo up; while :; do sleep 0.05; done']);
  await server.ready(() => /up/.test(server.output));
  await assert.rejects(server.stop('SIGTERM', 200), /sh ends after SIGTERM/);
  assert.equal(server.result.signal, 'SIGKILL');
});

test('redis comes back with what it had, and an emitter publishes', async () => {
  const redis = await startRedis();
  try {
    const client = redis.client();
    await client.set('a', '1');
    await redis.kill();
    await redis.restart();
    assert.equal(await client.get('a'), '1');
    const subscriber = redis.client();
    const heard = [];
    subscriber.on('pmessageBuffer', (pattern, channel) => heard.push(String(channel)));
    await subscriber.psubscribe('socket.io#*');
    new Emitter(client).to('user:42').emit('update', { a: 1 });
    await until(() => heard.includes('socket.io#/#user:42#'), 'the emit is published');
  } finally {
    await redis.stop();
  }
});

test('postgres survives a crash', async () => {
  const postgres = await startPostgres();
  try {
    await postgres.query('create table t (a int)');
    await postgres.query('insert into t values ($1)', [7]);
    await postgres.kill();
    await postgres.restart();
    const rows = await until(() => postgres.query('select a from t'), 'the database answers');
    assert.deepEqual(rows, [{ a: 7 }]);
  } finally {
    await postgres.stop();
  }
});

// What the servers behind `balancer` answer to `count` requests of one client that keeps its
// connection.
async function askedOneByOne(balancer, count) {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const bodies = [];
  for (let i = 0; i < count; i++) {
    const answer = await new Promise((resolve, reject) => {
      get(balancer.url, { agent }, resolve).on('error', reject);
    });
    answer.setEncoding('utf8');
    for await (const text of answer) bodies.push(text);
  }
  agent.destroy();
  return bodies.join('');
}

test('a balancer goes round, by connection or by request, and passes over the dead', async () => {
  const servers = ['a', 'b'].map((name) => createServer((request, response) => response.end(name)));
  for (const server of servers) await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const targets = servers.map((server) => ({ host: '127.0.0.1', port: server.address().port }));
  const plain = await startBalancer(targets);
  const keen = await startBalancer(targets, { everyRequest: true });
  try {
    assert.equal(await askedOneByOne(plain, 4), 'aaaa');
    assert.equal(await askedOneByOne(plain, 3), 'bbb');
    assert.equal(await askedOneByOne(keen, 4), 'abab');
    assert.deepEqual(keen.served, [2, 2]);
    servers[0].closeAllConnections();
    await new Promise((resolve) => servers[0].close(resolve));
    assert.equal(await askedOneByOne(keen, 3), 'bbb');
  } finally {
    await plain.close();
    await keen.close();
    servers[1].close();
  }
});

test('tokens are signed as RFC 7515 says', () => {
  const [header, claims, signature] = makeToken('alice', 'secret', { role: 'admin' }).split('.');
  assert.deepEqual(JSON.parse(Buffer.from(header, 'base64url')), { alg: 'HS256', typ: 'JWT' });
  const { sub, role, exp, iat } = JSON.parse(Buffer.from(claims, 'base64url'));
  assert.deepEqual([sub, role, exp - iat], ['alice', 'admin', 3600]);
  const expected = createHmac('sha256', 'secret').update(`${header}.${claims}`).digest('base64url');
  assert.equal(signature, expected);
});

test('addresses are found in the start line', () => {
  const line = 'info START ready public=127.0.0.1:4000 internal="[::1]:4001" store=sqlite';
  assert.deepEqual(findAddress(line, 'public'), { host: '127.0.0.1', port: 4000 });
  assert.deepEqual(findAddress(line, 'internal'), { host: '[::1]', port: 4001 });
  assert.equal(findAddress(line, 'cluster'), null);
});

describe('the plain client', () => {
  const kinds = {
    'peal.json.v1': { read: (bytes) => JSON.parse(bytes), write: JSON.stringify },
    'peal.msgpack.v1': { read: (bytes) => decode(bytes), write: (value) => encode(value) },
  };
  let server;
  let offered;
  let heard;

  before(async () => {
    server = new WebSocketServer({
      port: 0,
      host: '127.0.0.1',
      verifyClient: ({ req }, done) => done(!req.url.includes('bad'), 401),
      handleProtocols: (protocols) => {
        offered = [...protocols];
        return offered[0];
      },
    });
    heard = [];
    server.on('connection', (socket) => {
      const { read, write } = kinds[socket.protocol];
      socket.on('message', (bytes) => {
        for (const packet of read(bytes)) {
          heard.push(packet);
          if (typeof packet[0] === 'number') {
            socket.send(write([['first', 1], ['second', 2], ['hub:ping'], [-packet[0], { ok: true }]]));
          }
        }
      });
    });
    await until(() => server.address(), 'the server listens');
  });

  after(() => server.close());

  for (const encoding of ['json', 'msgpack']) {
    test(`speaks ${encoding}`, async () => {
      heard.length = 0;
      const url = `http://127.0.0.1:${server.address().port}`;
      const client = await PlainClient.connect(url, 'abc', { encoding });
      assert.deepEqual(offered, [`peal.${encoding}.v1`, 'peal.token.abc']);
      assert.deepEqual(await client.request('join_room', { roomId: 'a' }), { ok: true });
      assert.equal(await client.next('second'), 2);
      assert.deepEqual(client.events.map(([name]) => name), ['first', 'second']);
      await until(() => heard.some(([name]) => name === 'hub:pong'), 'the ping is answered');
      client.close();
      assert.equal((await client.closed).code, 1005);
    });
  }

  test('rejects with the status of a refusal', async () => {
    const url = `http://127.0.0.1:${server.address().port}/bad`;
    await assert.rejects(PlainClient.connect(url, 'abc'), { status: 401 });
  });
});

test('the ledger finds what is lost, doubled, out of order, or on no device', () => {
  const make = () => {
    const ledger = new Ledger();
    const rows = [0, 1, 2, 3].map((n) => {
      const post = ledger.make('p', 'u');
      ledger.accept(post.key);
      const row = { user: 'u', seq: n + 1, title: post.title, state: 0, id: `id ${n}` };
      return { ...row, sign: post.data.sign };
    });
    const items = new Map(rows.map((row) => [row.id, { ...row, data: { sign: row.sign } }]));
    const device = { user: 'u', via: 'ws', items, errors: [], rev: 4, unread: 4, countUnread: () => 4 };
    return { ledger, rows, box: { seq: 4, rev: 4, unread: 4 }, device };
  };
  const damages = {
    lost: ({ rows }) => rows.pop(),
    doubled: ({ rows }) => rows.push({ ...rows[3], seq: 5, id: 'another' }),
    phantom: ({ rows }) => (rows[1].sign = rows[2].sign),
    gaps: ({ rows }) => (rows[3].seq = 5),
    inversions: ({ rows }) => {
      [rows[1].title, rows[2].title] = [rows[2].title, rows[1].title];
      [rows[1].sign, rows[2].sign] = [rows[2].sign, rows[1].sign];
    },
    missing: ({ device }) => device.items.delete('id 2'),
    wrong: ({ device }) => (device.items.get('id 2').data = { sign: 'mangled' }),
    unread: ({ device }) => (device.unread = 3),
    unreadAgain: ({ ledger }) => ledger.read.add('id 1'),
  };
  const verdict = ({ ledger, rows, box, device }) =>
    ledger.verdict({ rows, inboxes: new Map([['u', box]]) }, [device]);
  assert.deepEqual(verdict(make()), ALL_GOOD);
  assert.deepEqual(Object.keys(damages), Object.keys(ALL_GOOD));
  for (const [name, damage] of Object.entries(damages)) {
    const state = make();
    damage(state);
    assert.notDeepEqual(verdict(state)[name], [], name);
  }
});

test('a browser runs pages', async () => {
  const browser = await launchBrowser();
  try {
    const page = await browser.newPage();
    await page.setContent('<p id="a"></p><script>a.textContent = 6 * 7</script>');
    assert.equal(await page.textContent('#a'), '42');
  } finally {
    await browser.close();
  }
});
