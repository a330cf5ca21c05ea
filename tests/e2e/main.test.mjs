// SPDX-License-Identifier: Apache-2.0
// Two nodes, Redis and Postgres, stock Socket.IO clients and the stock emitter: notifications come
// to every device exactly once whatever way they were posted, and events to every member.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { after, before, test } from 'node:test';
import { Emitter } from '@socket.io/redis-emitter';
import { Device } from './support/device.mjs';
import { PROGRAM, cleanEnvironment, startHub } from './support/hub.mjs';
import { ALL_GOOD, Ledger, readPostgres } from './support/ledger.mjs';
import { startPostgres } from './support/postgres.mjs';
import { startRedis } from './support/redis.mjs';
import { randomSecret } from './support/tokens.mjs';
import { until } from './support/wait.mjs';

const USERS = 50;
const POSTS = 1000; // every tenth of them twice
const ROOMS = ['project:1', 'project:2'];

let redis;
let postgres;
let bus;
let hubs;
let devices; // of user i: 2 i on the first node, 2 i + 1 on the second
const ledger = new Ledger();
const user = (i) => `user ${i}`; // not a word: names travel through channels, paths and SQL
const of = (i) => [devices[2 * i], devices[2 * i + 1]];

before(async () => {
  [redis, postgres] = await Promise.all([startRedis(), startPostgres()]);
  const shared = { redis, postgres, secret: randomSecret(), apiKey: randomSecret() };
  hubs = [await startHub(shared), await startHub(shared)];
  bus = redis.client();
  const claims = { rooms: ['project:*'] };
  devices = [];
  for (let i = 0; i < USERS; i++) {
    for (const hub of hubs) devices.push(new Device(user(i), [hub], { via: 'io', claims }).start());
  }
  await until(() => devices.every(({ ready }) => ready), 'all devices are ready', 60_000);
});

after(async () => {
  await Promise.all((devices ?? []).map((device) => device.leave()));
  for (const hub of hubs ?? []) await hub.stop();
  await redis?.stop();
  await postgres?.stop();
});

// `peal publish`, as a backend's script would run it.
async function publish(post) {
  const args = ['publish', '--user', post.user, '--type', post.type, '--title', post.title];
  args.push('--message', post.message, '--data', JSON.stringify(post.data));
  args.push('--priority', post.priority, '--key', post.key);
  const env = cleanEnvironment({ REDIS_URL: redis.url });
  const child = spawn(PROGRAM, args, { env, stdio: ['ignore', 'pipe', 'pipe'] });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (text) => (output += text));
  const [code] = await once(child, 'close');
  assert.equal(code, 0, output);
  ledger.accept(post.key);
}

const WAYS = [
  { name: 'stream', post: (post) => ledger.addToStream(bus, post) },
  { name: 'http', post: (post, n) => ledger.postByHttp([hubs[n % 2]], post) },
  { name: 'publish', post: publish },
];

// Posts number `from` to `to`; the second time a key is used, it goes another way.
async function postMany(from, to) {
  const run = async (way) => {
    for (let n = from + way; n < to; n += WAYS.length) {
      const post = ledger.make(WAYS[way].name, user(n % USERS));
      await WAYS[way].post(post, n);
      if (n % 10 === 0) await WAYS[(way + 1) % 2].post(post, n);
    }
  };
  await Promise.all(WAYS.map((_, way) => run(way)));
}

test('1,000 posts by three ways come to 100 devices, repeats once', { timeout: 180_000 }, async () => {
  await postMany(0, POSTS / 2);
  const away = devices.filter((_, i) => i % 5 === 0);
  await until(() => away.every((device) => device.items.size > 0), 'they have the first ones');
  await Promise.all(away.map((device) => device.leave()));
  await postMany(POSTS / 2, POSTS);
  for (const device of away) device.start();
  assert.deepEqual(await ledger.settle(() => readPostgres(postgres), devices), ALL_GOOD);
  const here = devices.filter((_, i) => i % 5 !== 0);
  assert.equal(here.reduce((sum, device) => sum + device.gaps, 0), 0, 'live events had no holes');
  assert.ok(away.every((device) => device.syncs > 0), 'what they missed was asked for');
  const [{ count }] = await postgres.query('SELECT count(*) FROM peal.notification');
  assert.equal(Number(count), POSTS);
});

test('the unread count is what the database counts', async () => {
  const rows = await postgres.query(
    'SELECT user_id, count(*) FROM peal.notification WHERE state < 2 GROUP BY user_id',
  );
  assert.equal(rows.length, USERS);
  for (const { user_id: id, count } of rows) {
    const i = Number(id.split(' ')[1]);
    assert.deepEqual(of(i).map(({ unread }) => unread), [Number(count), Number(count)]);
  }
});

test('what is read on one device is read on the other, on another node', async () => {
  for (let i = 0; i < 10; i++) {
    const [first, second] = of(i);
    const ids = [...first.items.keys()].slice(0, 3 + i);
    const answer = await first.read(i % 2 ? ids : ids.slice(0, 1));
    assert.equal(answer.ok, true);
    const read = i % 2 ? ids : ids.slice(0, 1);
    await until(() => read.every((id) => second.stateOf(id) === 'read'), 'the other device knows');
    assert.equal(second.rev, answer.rev);
    await until(() => second.unread === answer.unread, 'and the count');
    for (const id of read) ledger.read.add(id);
    const again = await second.read(read);
    assert.deepEqual([again.ok, again.rev, again.unread], [true, answer.rev, answer.unread]);
  }
  const [last] = of(10);
  assert.equal((await last.ask('notification:read', { upTo: 5 })).ok, true);
  const [box] = of(11);
  assert.equal((await box.ask('notification:read_all')).unread, 0);
  assert.deepEqual(await ledger.settle(() => readPostgres(postgres), devices), ALL_GOOD);
  assert.equal(of(10)[1].unread, of(10)[1].items.size - 5);
});

test('the reply stream tells what became of a post', async () => {
  const fields = ['user', 'reply user', 'type', 'test', 'title', 'a', 'key', 'r-1', 'reply', 'answers'];
  await bus.xadd('peal:in', '*', ...fields);
  await bus.xadd('peal:in', '*', ...fields);
  await bus.xadd('peal:in', '*', 'type', 'test', 'title', 'for nobody', 'key', 'r-2', 'reply', 'answers');
  const answers = await until(async () => {
    const entries = await bus.xrange('answers', '-', '+');
    return entries.length >= 3 && entries.map(([, list]) => {
      const pairs = list.flatMap((name, i) => (i % 2 ? [] : [[name, list[i + 1]]]));
      return Object.fromEntries(pairs);
    });
  }, 'three answers');
  const statuses = answers.map(({ key, status }) => [key, status]);
  assert.deepEqual(statuses.filter(([key]) => key === 'r-1'), [['r-1', 'stored'], ['r-1', 'duplicate']]);
  assert.deepEqual(statuses.filter(([key]) => key === 'r-2'), [['r-2', 'rejected']]);
  const [first, again] = answers.filter(({ key }) => key === 'r-1'); // the refusal may come between
  assert.ok(first.ids);
  assert.equal(again.ids, first.ids);
  await until(async () => (await bus.xlen('peal:dead')) === 1, 'the bad entry is kept');
});

// Emit as `send` says and resolve with the numbers of the devices that got it, one entry for
// each copy. What follows it to everyone shows that nothing more is to come.
let serial = 0;
async function reach(send) {
  serial += 1;
  const id = serial;
  for (const device of devices) device.others.length = 0;
  const emitter = new Emitter(bus);
  await Promise.all([send(emitter, (target) => target.emit('update', { id })), bus.ping()]);
  emitter.emit('end', id);
  const has = (device) => device.others.some(([event, value]) => event === 'end' && value === id);
  await until(() => devices.every(has), 'what was sent afterwards has come');
  return devices.flatMap((device, i) => {
    const copies = device.others.filter(([event, body]) => event === 'update' && body.id === id);
    return copies.map(() => i);
  });
}

const numbers = (condition) => devices.flatMap((_, i) => (condition(i) ? [i] : []));
const inFirst = (i) => i % 4 < 2; // of project:1: half of the users, on both nodes
const inSecond = (i) => i % 4 === 1 || i % 4 === 3; // of project:2: all devices of one node
const ofUser = (i, n) => Math.floor(i / 2) === n;

test('the stock emitter reaches every member on both nodes once', { timeout: 120_000 }, async () => {
  const join = async (device, i) => {
    if (inFirst(i)) assert.equal((await device.ask('join_room', { roomId: ROOMS[0] })).ok, true);
    if (inSecond(i)) assert.equal((await device.ask('join_room', ROOMS[1])).ok, true);
  };
  await Promise.all(devices.map(join));
  const cases = {
    'a room': [(e, send) => send(e.to(ROOMS[0])), inFirst],
    'a room of one node': [(e, send) => send(e.to(ROOMS[1])), inSecond],
    'several rooms': [(e, send) => send(e.to(ROOMS[0]).to(ROOMS[1])), (i) => inFirst(i) || inSecond(i)],
    'a list of rooms': [(e, send) => send(e.in([...ROOMS, 'project:9'])), (i) => inFirst(i) || inSecond(i)],
    'a user': [(e, send) => send(e.to(`user:${user(7)}`)), (i) => ofUser(i, 7)],
    'users and a room': [
      (e, send) => send(e.to([`user:${user(7)}`, `user:${user(8)}`, ROOMS[0]])),
      (i) => ofUser(i, 7) || ofUser(i, 8) || inFirst(i),
    ],
    'a room but a user': [
      (e, send) => send(e.to(ROOMS[0]).except(`user:${user(4)}`)),
      (i) => inFirst(i) && !ofUser(i, 4),
    ],
    'a room but another': [
      (e, send) => send(e.to(ROOMS[0]).except(ROOMS[1])),
      (i) => inFirst(i) && !inSecond(i),
    ],
    'a socket': [(e, send) => send(e.to(devices[33].socket.id)), (i) => i === 33],
    'volatile': [(e, send) => send(e.volatile.to(ROOMS[0])), inFirst],
    'everyone': [(e, send) => send(e), () => true],
    'everyone but a room': [(e, send) => send(e.except(ROOMS[0])), (i) => !inFirst(i)],
    'a room without members': [(e, send) => send(e.to('project:9')), () => false],
  };
  for (const [name, [send, expected]] of Object.entries(cases)) {
    assert.deepEqual(await reach(send), numbers(expected), name);
  }
});

test('arguments of every kind arrive as they were emitted', async () => {
  const [device] = devices;
  device.others.length = 0;
  const emitter = new Emitter(bus);
  const args = [1, -2.5, true, null, 'caf\u00e9 \u{1f514} "\\', [[]], { a: { b: [1, {}] } }, 2 ** 53 - 1];
  emitter.to(`user:${user(0)}`).emit('values', ...args);
  emitter.to(`user:${user(0)}`).emit('none');
  emitter.to(`user:${user(0)}`).emit('bytes', Buffer.from([0, 1, 255]), { at: Buffer.from('x') });
  await until(() => device.others.length === 3, 'three events');
  assert.deepEqual(device.others.slice(0, 2), [['values', ...args], ['none']]);
  const [, bytes, object] = device.others[2];
  assert.deepEqual([...Buffer.from(bytes)], [0, 1, 255]);
  assert.equal(String(Buffer.from(object.at)), 'x');
});
