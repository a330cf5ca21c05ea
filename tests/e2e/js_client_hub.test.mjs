// SPDX-License-Identifier: Apache-2.0
// clients/js against a real hub: devices of one user agree, whatever happens to their connections.
import assert from 'node:assert/strict';
import { after, afterEach, before, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import WebSocket from 'ws';
import { Peal } from '../../clients/js/peal.js';
import { startHub } from './support/hub.mjs';
import { makeToken } from './support/tokens.mjs';
import { until } from './support/wait.mjs';

let hub;
let clients = [];

before(async () => {
  hub = await startHub();
});

afterEach(() => {
  for (const client of clients) client.close();
  clients = [];
});

after(() => hub?.stop());

// A device whose connections the test can cut.
async function device(user, options) {
  const sockets = [];
  class Watched extends WebSocket {
    constructor(...args) {
      super(...args);
      sockets.push(this);
    }
  }
  const client = new Peal({ WebSocket: Watched, backoffMin: 20, backoffMax: 200, ...options });
  clients.push(client);
  client.count = () => sockets.length;
  client.cut = () => sockets.at(-1).terminate();
  client.told = [];
  client.on('notification', ({ seq }) => client.told.push(seq));
  await client.connect(hub.url, { token: () => hub.token(user) });
  return client;
}

async function post(user, fields, at = hub) {
  const answer = await at.api('POST', '/api/v1/notifications', { user, type: 'note', title: 't', message: 'm', ...fields });
  assert.equal(answer.status, 201, JSON.stringify(answer.body));
  return answer.body;
}

const seqs = (client) => client.inbox.items.map(({ seq }) => seq);
const states = (client) => client.inbox.items.map(({ seq, state }) => `${seq} ${state}`).join();
const counting = (from, to) => Array.from({ length: to - from + 1 }, (_, n) => from + n);

test('what is posted arrives on both devices, and what one reads is read on the other', async () => {
  const [phone, desk] = [await device('ann'), await device('ann')];
  const first = await post('ann');
  await post('ann', { title: 'second', data: { n: 7 }, priority: 'high' });
  for (const client of [phone, desk]) {
    await until(() => client.inbox.unread === 2 && client.inbox.items.length === 2, 'both are there');
    assert.deepEqual(client.told, [1, 2]);
    const [newest] = client.inbox.items;
    assert.deepEqual([newest.title, newest.data, newest.priority], ['second', { n: 7 }, 'high']);
  }
  await phone.inbox.markSeen([first.id]);
  await until(() => states(desk) === '2 unread,1 seen', 'seen there too');
  await desk.inbox.markRead(first.id);
  await until(() => states(phone) === '2 unread,1 read' && phone.inbox.unread === 1, 'read here too');
  await phone.inbox.markAllRead();
  await until(() => states(desk) === '2 read,1 read' && desk.inbox.unread === 0, 'all read');
  await desk.inbox.archive({ upTo: 1 });
  await until(() => states(phone) === '2 read', 'archived');
  const archived = await phone.inbox.list({ state: 'archived' });
  assert.deepEqual(archived.items.map(({ seq, state }) => [seq, state]), [[1, 'archived']]);
});

test('what is said in one turn is as much as it likes', async () => {
  const client = await device('abe');
  const { id } = await post('abe');
  await Promise.all(Array.from({ length: 80 }, (_, n) => client.inbox.list({ limit: n + 1 })));
  assert.deepEqual(await client.inbox.markRead(id), { changed: [id], conflict: [] });
  assert.equal(client.count(), 1, 'on one connection');
});

test('a device that was away catches up: news, read ones, and not what was archived meanwhile', async () => {
  const [here, away] = [await device('ben'), await device('ben', { backoffMin: 300, backoffMax: 300 })];
  await post('ben');
  await until(() => away.inbox.items.length === 1 && here.inbox.items.length === 1, 'the first');
  away.cut();
  await until(() => away.state === 'waiting', 'it is away');
  const ids = [];
  for (let n = 0; n < 5; n++) ids.push((await post('ben')).id);
  await here.inbox.archive(ids[1]);
  await here.inbox.markRead({ upTo: 3 });
  await until(() => away.state === 'online' && away.inbox.items.length === 5, 'it is back');
  await until(() => states(here) === states(away), 'they agree');
  assert.equal(states(away), '6 unread,5 unread,4 unread,2 read,1 read');
  assert.equal(away.inbox.unread, 3);
  assert.equal(new Set(away.told).size, away.told.length);
});

test('connections that are cut at random lose nothing and show nothing twice', async () => {
  const COUNT = 200;
  const devices = await Promise.all([device('cat'), device('cat'), device('cat')]);
  const connections = () => devices.reduce((sum, { count }) => sum + count(), 0);
  const marks = [];
  for (let n = 0; n < COUNT; n += 5) {
    const posts = counting(1, 5).map(() => post('cat'));
    await pause(Math.random() * 20);
    devices[(n / 5) % 3].cut();
    if (n % 40 === 0) marks.push(devices[n % 3].inbox.markRead({ upTo: n / 2 + 1 }));
    await Promise.all(posts);
  }
  await Promise.all(marks);
  await devices[0].inbox.markRead({ upTo: COUNT / 2 });
  assert.ok(connections() > 10, `${connections()} connections`);
  for (const client of devices) {
    await until(() => client.told.at(-1) === COUNT && client.inbox.unread === COUNT / 2, 'the last one');
    assert.deepEqual(client.told, counting(1, COUNT));
    assert.deepEqual(seqs(client), counting(1, COUNT).reverse());
    const unread = client.inbox.items.filter(({ isRead }) => !isRead).map(({ seq }) => seq);
    assert.deepEqual(unread, counting(COUNT / 2 + 1, COUNT).reverse());
  }
});

test('a hub that ends and starts again: the devices return, nothing is missing', async () => {
  const own = await startHub();
  try {
    const { port } = own.address;
    const client = new Peal({ WebSocket, backoffMin: 20, backoffMax: 200 });
    clients.push(client);
    const told = [];
    const seen = [];
    client.on('notification', ({ seq }) => told.push(seq));
    client.on('client:state', ({ state }) => seen.push(state));
    await client.connect(own.url, { token: () => own.token('dan') });
    await client.join('public:lobby');
    await post('dan', {}, own);
    await until(() => told.length === 1, 'the first');
    await own.server.stop('SIGTERM');
    assert.ok(seen.includes('draining'));
    own.options.args = ['--listen-port', String(port)];
    await own.restart();
    await post('dan', {}, own);
    await until(() => told.length === 2, 'the second');
    await own.kill();
    await own.restart();
    await post('dan', {}, own);
    await until(() => told.length === 3, 'the third');
    assert.deepEqual(told, [1, 2, 3]);
    assert.deepEqual(seqs(client), [3, 2, 1]);
    assert.ok((await client.send('public:lobby', 'still here')).id);
  } finally {
    for (const client of clients) client.close();
    await own.stop();
  }
});

test('a token that is refused ends the client with the reason, one that expired is replaced', async () => {
  const refused = () => hub.metric('peal_closed_total{reason="unauthorized"}');
  const before = await refused();
  const forged = makeToken('gus', 'another secret of some length.....');
  const client = new Peal({ WebSocket, backoffMin: 20, backoffMax: 200 });
  clients.push(client);
  const states = [];
  client.on('client:state', ({ state, code }) => states.push([state, code]));
  await assert.rejects(client.connect(hub.url, { token: forged }), {
    name: 'PealError', code: 'closed', closeCode: 4401, message: 'Invalid token',
  });
  assert.deepEqual(states, [['connecting', undefined], ['closed', 4401]]);
  const tokens = [hub.token('gus', { exp: 1 }), hub.token('gus')];
  await client.connect(hub.url, { token: () => tokens.shift() });
  assert.equal(client.userId, 'gus');
  await until(async () => (await refused()) === before + 2, 'both are counted');
});

test('rooms: messages, typing, coming and going, refusals', async () => {
  const quiet = { inbox: false };
  const [eve, fay] = [await device('eve', quiet), await device('fay', quiet)];
  const heard = [];
  for (const event of ['user_joined_room', 'new_message', 'typing', 'user_left_room']) {
    eve.on(event, ({ userId, message, typing }) => heard.push([event, userId, message ?? typing]));
  }
  assert.equal((await eve.join('public:lobby')).roomType, 'public');
  await fay.join('public:lobby');
  fay.typing('public:lobby');
  const { id } = await fay.send('public:lobby', 'hello', { nonce: 'n1' });
  assert.match(id, /^[0-9a-f-]{36}$/);
  assert.equal((await fay.send('public:lobby', 'hello', { nonce: 'n1' })).duplicate, true);
  await fay.leave('public:lobby');
  await until(() => heard.some(([event]) => event === 'user_left_room'), 'she left');
  assert.deepEqual(heard.map(([event, user, what]) => [event, user, what]), [
    ['user_joined_room', 'fay', undefined],
    ['typing', 'fay', true],
    ['typing', 'fay', false],
    ['new_message', 'fay', 'hello'],
    ['user_left_room', 'fay', undefined],
  ]);
  await assert.rejects(fay.send('public:lobby', 'x'), { code: 'forbidden' });
  await assert.rejects(fay.join('admin:secrets'), { code: 'forbidden', message: 'Access denied to room' });
  await assert.rejects(fay.request('no:such:event', {}), { name: 'PealError' });
  const lost = new Promise((resolve) => eve.once('client:state', resolve));
  eve.cut();
  assert.equal((await lost).state, 'waiting');
  await until(() => eve.session, 'back');
  await fay.join('public:lobby');
  await until(async () => (await fay.send('public:lobby', 'again')).id && heard.at(-1)?.[2] === 'again', 'heard after a cut');
});

test('each device follows, there and back', async () => {
  const [phone, desk] = [await device('lea'), await device('lea')];
  for (const seq of [1, 2, 3]) await post('lea', { title: `n${seq}` });
  const both = (wanted) => until(
    () => [phone, desk].every((client) => states(client) === wanted), `both show ${wanted}`);
  await both('3 unread,2 unread,1 unread');
  const [third, second, first] = phone.inbox.items.map(({ id }) => id);
  assert.deepEqual(await phone.inbox.markRead(third), { changed: [third], conflict: [] });
  await desk.inbox.markAllSeen();
  await both('3 read,2 seen,1 seen');
  assert.deepEqual([desk.inbox.unread, desk.inbox.unseen], [2, 0]);
  await desk.inbox.markUnread(third);
  await phone.inbox.archive(second);
  await both('3 seen,1 seen');
  await desk.inbox.unarchive(second);
  await both('3 seen,2 seen,1 seen');
  await phone.inbox.snooze(first, new Date(Date.now() + 3_600_000));
  await both('3 seen,2 seen');
  assert.deepEqual((await desk.inbox.list({ state: 'snoozed' })).items.map(({ seq, state }) => [seq, state]), [[1, 'snoozed']]);
  await desk.inbox.snooze(first, null);
  await both('1 unread,3 seen,2 seen');
  assert.deepEqual([phone.told, desk.told], [[1, 2, 3, 1], [1, 2, 3, 1]]);
  const { rev } = phone.inbox.position;
  await desk.inbox.delete([second]);
  await desk.inbox.markRead(first);
  await both('1 read,3 seen');
  assert.deepEqual(await phone.inbox.archive({ ids: [first, second, third], ifRev: rev }), { changed: [third], conflict: [first] });
  await both('1 read');
});
