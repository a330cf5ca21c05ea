// SPDX-License-Identifier: Apache-2.0
// The HTTP API of a real hub with SQLite: posts, inboxes, keys, tenants, statistics, health.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { request as httpRequest } from 'node:http';
import { connect } from 'node:net';
import { after, before, test } from 'node:test';
import { gunzipSync, gzipSync } from 'node:zlib';
import { encode } from '@msgpack/msgpack';
import { Emitter } from '@socket.io/redis-emitter';
import { startHub } from './support/hub.mjs';
import { startPostgres } from './support/postgres.mjs';
import { startRedis } from './support/redis.mjs';
import { until, within } from './support/wait.mjs';

const KEYS = `
api_key "publisher" { key = "publisher-0123456789" scopes = {publish} }
api_key "reader" { key = "reader-0123456789ab" scopes = {read} }
api_key "writer" { key = "writer-0123456789ab" scopes = {write} }
api_key "admin" { key = "admin-0123456789abc" scopes = {admin} }
`;
const key = (name) => ({ authorization: `Bearer ${name}` });
const PUBLISHER = key('publisher-0123456789');
const READER = key('reader-0123456789ab');
const ADMIN = key('admin-0123456789abc');
const POSTS = '/api/v1/notifications';

let hub;
before(async () => {
  hub = await startHub({ config: KEYS });
});
after(() => hub?.stop());

let users = 0;
const newUser = () => `user-${++users}`;
const inbox = (user) => `/api/v1/users/${user}/notifications`;
const notification = (user, more = {}) => ({ user, type: 'invoice', title: 'Paid', ...more });

// A request whose body is text as it is, without the decoding of fetch.
function raw(target, method, path, { headers = {}, body } = {}) {
  return new Promise((resolve, reject) => {
    const outgoing = httpRequest(target.url + path, { method, headers }, (answer) => {
      const parts = [];
      answer.on('data', (part) => parts.push(part));
      answer.on('end', () => {
        resolve({ status: answer.statusCode, headers: answer.headers, body: Buffer.concat(parts) });
      });
    });
    outgoing.on('error', reject);
    outgoing.end(body);
  });
}

function assertError(answer, status, code, field) {
  assert.equal(answer.status, status, JSON.stringify(answer.body));
  assert.equal(answer.body.error.code, code);
  assert.equal(typeof answer.body.error.message, 'string');
  assert.equal(answer.body.error.field, field);
}

test('a post is stored, and a repeat is told with the first id', async () => {
  const user = newUser();
  const first = await hub.api('POST', POSTS, notification(user, { key: 'k1' }));
  assert.equal(first.status, 201);
  assert.deepEqual(first.body, { id: first.body.id, seq: 1, duplicate: false });
  const again = await hub.api('POST', POSTS, notification(user, { key: 'k1' }));
  assert.equal(again.status, 200);
  assert.deepEqual(again.body, { ...first.body, duplicate: true });
  assert.equal(again.headers.get('idempotency-replayed'), 'true');
  const other = await hub.api('POST', POSTS, notification(user, { key: 'k1', title: 'Unpaid' }));
  assertError(other, 409, 'key_conflict', 'key');
  assert.equal(other.body.error.id, first.body.id);
  const list = await hub.api('GET', inbox(user));
  assert.equal(list.body.items.length, 1);
  assert.equal(list.body.items[0].title, 'Paid');
});

test('the header Idempotency-Key is a key, also for each place of an array', async () => {
  const user = newUser();
  const headers = { 'idempotency-key': 'request-1' };
  const one = await hub.api('POST', POSTS, notification(user), headers);
  assert.equal(one.status, 201);
  assert.equal((await hub.api('POST', POSTS, notification(user), headers)).body.id, one.body.id);
  const list = [notification(user, { title: 'a' }), notification(user, { title: 'b' })];
  const first = await hub.api('POST', POSTS, list, headers);
  assert.deepEqual(first.body.results.map((result) => result.status), [201, 201]);
  const again = await hub.api('POST', POSTS, list, headers);
  assert.deepEqual(again.body.results.map((result) => result.status), [200, 200]);
  assert.equal((await hub.api('GET', inbox(user))).body.items.length, 3);
  const long = await hub.api('POST', POSTS, notification(user), { 'idempotency-key': 'x'.repeat(256) });
  assertError(long, 400, 'bad_request', 'Idempotency-Key');
});

test('posts without any key are never taken for repeats', async () => {
  const user = newUser();
  for (let i = 0; i < 3; i++) {
    assert.equal((await hub.api('POST', POSTS, notification(user))).status, 201);
  }
  assert.equal((await hub.api('GET', inbox(user))).body.items.length, 3);
});

test('an array answers for each of its posts', async () => {
  const user = newUser();
  const { status, body } = await hub.api('POST', POSTS, [
    notification(user, { key: 'a' }),
    notification(user, { key: 'a' }),
    notification(user, { key: 'a', title: 'other' }),
    { user, title: 'no type' },
    { type: 'x', users: [`${user}-1`, `${user}-2`] },
  ]);
  assert.equal(status, 200);
  assert.deepEqual(body.results.map((result) => result.status), [201, 200, 409, 422, 200]);
  assert.equal(body.results[1].id, body.results[0].id);
  assert.equal(body.results[2].error.id, body.results[0].id);
  assert.equal(body.results[3].error.field, 'type');
  assert.deepEqual(body.results[4].results.map((result) => result.user), [`${user}-1`, `${user}-2`]);
  assert.deepEqual((await hub.api('POST', POSTS, [])).body, { results: [] });
});

test('a thousand posts in one request, and not one more', async () => {
  const user = newUser();
  const list = Array.from({ length: 1000 }, (_, i) => notification(user, { key: `k${i}` }));
  const { body } = await hub.api('POST', POSTS, list);
  assert.ok(body.results.every((result, i) => result.status === 201 && result.seq === i + 1));
  const unread = await hub.api('GET', `${inbox(user)}/unread`);
  assert.deepEqual(unread.body, { count: 1000, unseen: 1000, rev: 1000 });
  assertError(await hub.api('POST', POSTS, [...list, notification(user)]), 413, 'too_large');
});

test('posts to more users than a transaction takes answer for each', async () => {
  const name = newUser();
  const lists = [0, 1, 2].map((list) => Array.from({ length: 900 }, (_, i) => `${name}-${list}-${i}`));
  const { status, body } = await hub.api('POST', POSTS, lists.map((users) => ({ type: 'x', users, key: 'all' })));
  assert.equal(status, 200);
  for (const [i, list] of lists.entries()) {
    assert.deepEqual(body.results[i].results.map((result) => result.user), list);
    assert.ok(body.results[i].results.every((result) => result.status === 201 && result.seq === 1));
  }
});

test('what is wrong with a post is named', async () => {
  const bad = [
    [422, 'invalid_field', 'user', { user: 'a/b', type: 'x' }],
    [422, 'invalid_field', 'type', { user: 'a' }],
    [422, 'invalid_field', 'priority', notification('a', { priority: 'huge' })],
    [422, 'invalid_field', 'expires_at', notification('a', { expires_at: 'soon' })],
    [422, 'invalid_field', 'reply', notification('a', { reply: 'stream' })],
    [422, 'invalid_field', 'event', { user: 'a', event: 'x', args: [] }],
    [422, 'invalid_field', 'room', { room: 'a', type: 'x' }],
    [422, 'invalid_field', 'mesage', notification('a', { mesage: 'x' })],
    [422, 'invalid_field', 'expires_at', notification('a', { expires_at: Math.floor(Date.now() / 1000) + 3600 })],
    [422, 'invalid_field', 'expires_at', notification('a', { expires_at: Date.now() - 1000 })],
    [422, 'invalid_field', 'expires_at', notification('a', { expires_at: '2000-12-31' })],
    [422, 'invalid_field', 'expires_at', notification('a', { expires_at: '2199-01-01T00:00:00Z' })],
    [413, 'too_large', 'data', notification('a', { data: JSON.parse('['.repeat(33) + ']'.repeat(33)) })],
    [413, 'too_large', 'title', notification('a', { title: 'x'.repeat(501) })],
    [413, 'too_large', 'users', { type: 'x', users: Array.from({ length: 10001 }, (_, i) => `u${i}`) }],
  ];
  for (const [status, code, field, body] of bad) {
    assertError(await hub.api('POST', POSTS, body), status, code, field);
  }
  const told = async (body) => (await hub.api('POST', POSTS, body)).body.error.message;
  assert.match(await told(notification('a', { mesage: 'x' })), /known here: user, users, .*message/);
  assert.doesNotMatch(await told(notification('a', { mesage: 'x' })), /room|event|args|reply|retain/);
  assert.doesNotMatch(await told({ type: 'x' }), /room/);
  assert.match((await hub.api('POST', POSTS, [7, notification('a')])).body.results[0].error.message, /JSON object/);
  assert.match(await told(notification('a', { priority: 'huge' })), /low, medium, high, urgent/);
  assert.match(await told(notification('a', { title: 'a', priority: 7 })), /low, medium, high, urgent/);
  assertError(await hub.api('POST', '/api/v1/events', { event: 'x' }), 422, 'invalid_field', 'to');
  for (const body of ['', '{', '"text"', '[1', 'null', '\xff{}']) {
    const headers = { authorization: `Bearer ${hub.apiKey}` };
    const answer = await raw(hub, 'POST', POSTS, { headers, body: Buffer.from(body, 'latin1') });
    assertError({ ...answer, body: JSON.parse(answer.body) }, 400, 'bad_request');
  }
  const large = await raw(hub, 'POST', POSTS, {
    headers: { authorization: `Bearer ${hub.apiKey}`, 'content-length': 2 ** 21 },
  }).catch((error) => error);
  assert.ok(large.status === 413 || large.code === 'ECONNRESET', JSON.stringify(large));
});

test('unknown parameters and fields are refused by name, on every route', async () => {
  const id = '01980000-0000-7000-8000-000000000000';
  const gets = [
    [inbox('a'), /after, limit, page, order, sort, search, state, type, priority, from, to, fields, nulls, tenant/],
    ['/api/v1/users/a/counts', /by, tenant/],
    ['/api/v1/users/a/overview', /tenant/],
    [`${inbox('a')}/unread`, /tenant/],
    [`/api/v1/notifications/${id}`, /fields, nulls, tenant/],
    ['/api/v1/rooms/public:a/members', /after, limit, tenant/],
    ['/api/ws/stats', /none/],
    ['/api/v1/alerts', /none/],
    ['/api/v1/metrics/summary', /points, range, series, tenant/],
    ['/api/v1/health/performance', /none/],
    ['/api/diagnostics/query-stats', /none/],
    ['/api/diagnostics/slow-queries', /limit/],
  ];
  for (const [path, known] of gets) {
    const answer = await hub.api('GET', `${path}?limt=1`);
    assertError(answer, 400, 'bad_request', 'limt');
    assert.match(answer.body.error.message, known);
    assertError(await hub.api('GET', `${path}?l%C3%AFmit=1`), 400, 'bad_request', 'lïmit');
    assertError(await hub.api('GET', `${path}?%ff=1`), 400, 'bad_request', '%ff');
  }
  const posts = [
    [POSTS, notification('a'), 422],
    ['/api/v1/events', { event: 'e', to: { all: true } }, 422],
    [`${inbox('a')}/read`, { upTo: 1 }, 422],
    [`${inbox('a')}/read-all`, {}, 422],
    ['/api/v1/users/a/rooms', { join: ['public:a'] }, 422],
    ['/api/v1/users/a/disconnect', {}, 422],
  ];
  for (const [path, body, status] of posts) {
    const admin = path.endsWith('disconnect') ? ADMIN : {};
    assertError(await hub.api('POST', `${path}?limt=1`, body, admin), 400, 'bad_request', 'limt');
    assertError(await hub.api('POST', path, { ...body, nonsense: 1 }, admin), status, 'invalid_field', 'nonsense');
    const long = { ...body, ['n'.repeat(150)]: 1 };
    assertError(await hub.api('POST', path, long, admin), status, 'invalid_field', 'n'.repeat(64));
  }
  const state = await hub.api('GET', `${inbox('a')}?state=open`);
  assertError(state, 422, 'invalid_field', 'state');
  assert.match(state.body.error.message, /unread, seen, read, archived/);
});

test('what is wrong with a part of the path is named as the reference calls it', async () => {
  const page = readFileSync(new URL('../../docs/reference/routes.md', import.meta.url), 'utf8');
  const routes = [...page.matchAll(/^### (GET|POST|DELETE) (\S*\{(?:user|room)\}\S*)$/gm)];
  assert.ok(routes.length >= 7, `${routes.length} routes`);
  for (const [, method, path] of routes) {
    const name = path.match(/\{(\w+)\}/)[1];
    const own = path.includes('/devices/'); // what their users may do
    const admin = (method === 'DELETE' && !own) || path.endsWith('/disconnect') ? ADMIN : {};
    for (const bad of ['a%2Fb', 'a%00', 'x'.repeat(201)]) {
      const answer = await hub.api(method, path.replace(`{${name}}`, bad), method === 'POST' ? {} : undefined, admin);
      assertError(answer, 422, 'invalid_field', name);
      assert.match(answer.body.error.message, /1 to \d+ bytes/);
    }
  }
});

test('a number is a user as it is in a token', async () => {
  const user = 4_200_000 + ++users;
  assert.equal((await hub.api('POST', POSTS, notification(user))).status, 201);
  assert.equal((await hub.api('POST', POSTS, { users: [user], type: 'x' })).body.results[0].status, 201);
  const token = { authorization: `Bearer ${hub.token(user)}` };
  const list = await hub.api('GET', inbox(user), undefined, token);
  assert.deepEqual(list.body.items.map((item) => item.userId), [String(user), String(user)]);
});

test('a token whose sub is null is of its userId', async () => {
  const token = { authorization: `Bearer ${hub.token(null, { userId: 'by-user-id' })}` };
  assert.equal((await hub.api('GET', inbox('by-user-id'), undefined, token)).status, 200);
});

const RESERVED = ['connect', 'connect_error', 'disconnect', 'disconnecting', 'newListener', 'removeListener', '__proto__'];

test('names that Socket.IO keeps for itself make no event, whichever way they come', async () => {
  const redis = await startRedis();
  const config = 'events { unknown = relay alias = {"chat=send_message"} }\nroom_type "any" { access = {"any"} }';
  const own = await startHub({ redis, config });
  try {
    const listener = own.socketIo('listener');
    const heard = [];
    let ends = 0;
    listener.onAny((event) => heard.push(event));
    listener.on('disconnect', () => (ends += 1));
    listener.on('hub:ready', () => heard.push('hub:ready'));
    await until(() => heard.includes('hub:ready'), 'hub:ready');
    assert.equal((await listener.timeout(9000).emitWithAck('join_room', 'any:1')).ok, true);
    const plain = await own.plain('talker');
    assert.equal((await plain.request('join_room', 'any:1')).ok, true);
    const client = redis.client();
    const emitter = new Emitter(client);
    for (const event of RESERVED) {
      assertError(await own.api('POST', '/api/v1/events', { event, args: [], to: { all: true } }), 422, 'invalid_field', 'event');
      await client.xadd('peal:in', '*', 'event', event, 'args', '[]', 'all', '1');
      const answer = await plain.request(event, { roomId: 'any:1' });
      assert.deepEqual([answer.ok, answer.error], [false, 'bad_request'], event);
    }
    const refused = () => own.metric('peal_bus_events_refused_total');
    await until(async () => (await client.xlen('peal:dead')) === RESERVED.length, 'the dead letters');
    const letter = (await client.xrange('peal:dead', '-', '+'))[0][1].join(' ');
    assert.match(letter, /dead:reason invalid_field dead:field event/);
    const before = await refused();
    for (const event of RESERVED) {
      const packet = { type: 2, data: [event, 1], nsp: '/' };
      await client.publish('socket.io#/#', Buffer.from(encode(['someone', packet, { rooms: [], except: [], flags: {} }])));
    }
    await client.publish('socket.io#/#', Buffer.from([0xc1])); // no message of an emitter
    await until(async () => (await refused()) === before + RESERVED.length + 1, 'all are counted');
    emitter.emit('after', 1);
    await until(() => heard.includes('after'), 'what came behind them');
    assert.equal(ends, 0);
    assert.deepEqual(heard.filter((event) => RESERVED.includes(event)), []);
    await own.logged(/BUS-EVENT-REFUSED/);
  } finally {
    await own.stop();
    await redis.stop();
  }
});

test('keys are checked before anything else', async () => {
  const missing = await raw(hub, 'GET', inbox('a'));
  assert.equal(missing.status, 401);
  assert.match(missing.headers['www-authenticate'], /^Bearer/);
  assertError(await hub.api('GET', inbox('a'), undefined, key('wrong-key-0123456789')), 401, 'unauthorized');
  assertError(await hub.api('POST', POSTS, notification('a'), READER), 403, 'forbidden');
  assertError(await hub.api('GET', inbox('a'), undefined, PUBLISHER), 403, 'forbidden');
  assertError(await hub.api('DELETE', inbox('a')), 403, 'forbidden');
  const mark = await hub.api('POST', `${inbox('a')}/read`, { upTo: 1 }, READER);
  assertError(mark, 403, 'forbidden');
  assert.match(mark.body.error.message, /scope write/);
  assertError(await hub.api('POST', `${inbox('a')}/read-all`, {}, READER), 403, 'forbidden');
  assert.equal((await hub.api('POST', `${inbox('a')}/read-all`, {}, key('writer-0123456789ab'))).status, 200);
  assertError(await hub.api('POST', '/api/v1/users/a/disconnect', undefined, READER), 403, 'forbidden');
  assertError(await hub.api('GET', '/api/ws/stats', undefined, PUBLISHER), 403, 'forbidden');
});

// A request over a connection of its own, so that all shards get some; from ::1 with `family` 6.
function apart(target, path, headers, family = 4) {
  return new Promise((resolve, reject) => {
    const options = { host: family === 6 ? '::1' : '127.0.0.1', port: target.address.port, path, headers, agent: false };
    httpRequest(options, (answer) => {
      answer.resume().on('end', () => resolve({ status: answer.statusCode, headers: answer.headers }));
    }).on('error', reject).end();
  });
}

const count = (answers, status) => answers.filter((one) => one.status === status).length;

test('too many wrong keys of an address are told to wait, over all shards; right ones pass', async () => {
  const own = await startHub({ args: ['--listen-host', '*', '--shards', '4'], env: { PEAL_LIMITS_REFUSALS_PER_MINUTE: '5' } });
  try {
    const path = inbox('a');
    const wrong = (family) => Promise.all(Array.from({ length: 40 }, (_, i) => apart(own, path, key(`wrong-key-0123456789-${i}`), family)));
    const answers = await wrong(4);
    assert.deepEqual([count(answers, 401), count(answers, 429)], [5, 35]);
    for (const { headers } of answers.filter(({ status }) => status === 429)) assert.ok(Number(headers['retry-after']) > 0);
    const socket = { Connection: 'Upgrade', Upgrade: 'websocket', 'Sec-WebSocket-Version': '13', 'Sec-WebSocket-Key': 'dGhlIHNhbXBsZSBub25jZQ==', 'Sec-WebSocket-Protocol': 'peal.json.v1' };
    assert.equal((await apart(own, '/ws', { ...socket, ...key('a.b.c') })).status, 429, 'those of sockets are counted with them');
    const others = await wrong(6);
    assert.deepEqual([count(others, 401), count(others, 429)], [5, 35], 'another address has its own');
    assert.equal((await apart(own, path, key(own.apiKey))).status, 200);
    assert.equal((await apart(own, path, key(own.token('a')))).status, 200);
  } finally {
    await own.stop();
  }
});

test('connections of an address that have shown nothing are counted over all shards', async () => {
  const own = await startHub({ args: ['--shards', '4', '--limits-unauthenticated-per-address', '8'] });
  const open = () => new Promise((resolve) => {
    const socket = connect(own.address.port, '127.0.0.1', () => socket.write('GET /nowhere HTTP/1.1\r\nHost: h\r\n\r\n'));
    socket.once('data', () => resolve(socket)); // answered, and kept
    socket.once('close', () => resolve(null)); // closed without a word
    socket.on('error', () => {});
  });
  try {
    await until(async () => {
      const sockets = await Promise.all(Array.from({ length: 40 }, open));
      const kept = sockets.filter(Boolean);
      for (const socket of kept) socket.destroy();
      return kept.length === 8; // the connections of the start may still count
    }, 'eight are kept');
    await own.logged(/LISTEN-ADDRESS/);
  } finally {
    await own.stop();
  }
});

test('lists go page by page and filter', async () => {
  const user = newUser();
  const posts = Array.from({ length: 25 }, (_, i) => ({ user, type: i % 5 ? 'a' : 'b', title: `${i}` }));
  await hub.api('POST', POSTS, posts);
  const first = await hub.api('GET', inbox(user), undefined, READER);
  assert.equal(first.status, 200);
  assert.deepEqual(first.body.items.map((item) => item.seq), Array.from({ length: 20 }, (_, i) => 25 - i));
  const second = await hub.api('GET', `${inbox(user)}?after=${first.body.next}`, undefined, READER);
  assert.deepEqual(second.body.items.map((item) => item.seq), [5, 4, 3, 2, 1]);
  assert.equal(second.body.next, null);
  const ofType = await hub.api('GET', `${inbox(user)}?type=b&limit=3&fields=id,title`);
  assert.deepEqual(ofType.body.items.map((item) => item.title), ['20', '15', '10']);
  assert.deepEqual(Object.keys(ofType.body.items[0]), ['id', 'title']);
  await hub.api('POST', `${inbox(user)}/read`, { upTo: 23 });
  const unread = await hub.api('GET', `${inbox(user)}?state=unread`);
  assert.deepEqual(unread.body.items.map((item) => item.seq), [25, 24]);
  for (const query of ['limit=0', 'limit=101', 'limit=x', 'after=-1', 'state=lost', 'fields=secret', 'type=%ff']) {
    assertError(await hub.api('GET', `${inbox(user)}?${query}`), 422, 'invalid_field', query.split('=')[0]);
  }
  for (const path of [inbox(user), `/api/v1/notifications/${first.body.items[0].id}`]) {
    const { body } = await hub.api('GET', `${path}?fields=secret`);
    for (const field of ['id', 'userId', 'expiresAt']) assert.match(body.error.message, new RegExp(`\\b${field}\\b`));
  }
});

test('reading by ids, up to a seq and all, and what each answers', async () => {
  const user = newUser();
  const posts = await hub.api('POST', POSTS, Array.from({ length: 5 }, () => notification(user)));
  const ids = posts.body.results.map((result) => result.id);
  const read = (body) => hub.api('POST', `${inbox(user)}/read`, body);
  const two = (await read({ ids: [ids[4], ids[3]] })).body;
  assert.deepEqual({ ...two, changed: two.changed.sort() },
    { ok: true, changed: [ids[3], ids[4]].sort(), rev: 6, unread: 3, unseen: 3 });
  assert.deepEqual((await read({ ids: [ids[4]] })).body, { ok: true, changed: [], rev: 6, unread: 3, unseen: 3 });
  assert.deepEqual((await read(ids[0])).body, { ok: true, changed: [ids[0]], rev: 7, unread: 2, unseen: 2 });
  assert.deepEqual((await read({ upTo: 2 })).body, { ok: true, changed: 1, rev: 8, unread: 1, unseen: 1 });
  const all = await hub.api('POST', `${inbox(user)}/read-all`);
  assert.deepEqual(all.body, { ok: true, changed: 1, rev: 9, unread: 0, unseen: 0 });
  const item = (await hub.api('GET', `${POSTS}/${ids[0]}`)).body;
  assert.equal(item.isRead, true);
  assert.ok(Math.abs(Date.parse(item.readAt) - Date.now()) < 60_000);
  assertError(await read({ ids: [] }), 422, 'invalid_field', 'ids');
  assertError(await read({ ids: ['x'] }), 422, 'invalid_field', 'ids');
  assertError(await read({ upTo: -1 }), 422, 'invalid_field', 'upTo');
  assertError(await read({ ids: Array(1001).fill(ids[0]) }), 413, 'too_large', 'ids');
});

test('a user sees the own inbox with a token, and no other', async () => {
  const [user, other] = [newUser(), newUser()];
  const { body } = await hub.api('POST', POSTS, notification(user));
  const own = key(hub.token(user));
  assert.equal((await hub.api('GET', inbox(user), undefined, own)).body.items.length, 1);
  assert.equal((await hub.api('GET', `${POSTS}/${body.id}`, undefined, own)).status, 200);
  assert.equal((await hub.api('POST', `${inbox(user)}/read-all`, undefined, own)).body.changed, 1);
  const stranger = key(hub.token(other));
  assertError(await hub.api('GET', inbox(user), undefined, stranger), 403, 'forbidden');
  assertError(await hub.api('GET', `${POSTS}/${body.id}`, undefined, stranger), 404, 'not_found');
  assertError(await hub.api('POST', POSTS, notification(user), own), 401, 'unauthorized');
  const expired = key(hub.token(user, { exp: 1000 }));
  assertError(await hub.api('GET', inbox(user), undefined, expired), 401, 'unauthorized');
  assertError(await hub.api('GET', `${POSTS}/no-id`), 404, 'not_found');
});

test('calls with a token have a rate of their own, over all shards', async () => {
  const own = await startHub({ env: { PEAL_LIMITS_API_PER_MINUTE: '3', PEAL_SHARDS: '4' } });
  try {
    const answers = await Promise.all(Array.from({ length: 20 }, () => apart(own, inbox('a'), key(own.token('a')))));
    assert.deepEqual([count(answers, 200), count(answers, 429)], [3, 17]);
    assert.equal((await apart(own, inbox('b'), key(own.token('b')))).status, 200);
  } finally {
    await own.stop();
  }
});

test('erasing needs the scope admin and leaves nothing to read', async () => {
  const user = newUser();
  await hub.api('POST', POSTS, [notification(user), notification(user)]);
  const { status, body } = await hub.api('DELETE', inbox(user), undefined, ADMIN);
  assert.equal(status, 200);
  assert.equal(body.changed, 2);
  assert.equal(body.unread, 0);
  assert.deepEqual((await hub.api('GET', inbox(user))).body.items, []);
});

test('an answer has an ETag that changes with the inbox', async () => {
  const user = newUser();
  await hub.api('POST', POSTS, notification(user));
  const first = await hub.api('GET', inbox(user));
  const etag = first.headers.get('etag');
  assert.equal(first.headers.get('x-cache'), 'MISS');
  const get = (tag) => hub.api('GET', inbox(user), undefined, { 'if-none-match': tag });
  const known = await get(`"other", ${etag}`);
  assert.equal(known.status, 304);
  assert.equal(known.headers.get('etag'), etag);
  assert.equal(known.body, '');
  await hub.api('POST', `${inbox(user)}/read-all`);
  const changed = await get(etag);
  assert.equal(changed.status, 200);
  assert.notEqual(changed.headers.get('etag'), etag);
});

test('large answers are compressed for who wants it', async () => {
  const user = newUser();
  await hub.api('POST', POSTS, Array.from({ length: 20 }, () => notification(user)));
  const authorization = `Bearer ${hub.apiKey}`;
  const get = (headers, path = inbox(user)) => raw(hub, 'GET', path, { headers: { authorization, ...headers } });
  const plain = await get({});
  assert.equal(plain.headers['content-encoding'], undefined);
  const packed = await get({ 'accept-encoding': 'br;q=1, GZIP;q=0.5' });
  assert.equal(packed.headers['content-encoding'], 'gzip');
  assert.ok(packed.body.length < plain.body.length / 2);
  assert.deepEqual(JSON.parse(gunzipSync(packed.body)), JSON.parse(plain.body));
  const refused = [
    { 'accept-encoding': 'gzip', 'x-no-compression': '1' },
    { 'accept-encoding': 'gzip;q=0' },
    { 'accept-encoding': 'br' },
  ];
  for (const headers of refused) {
    assert.equal((await get(headers)).headers['content-encoding'], undefined, JSON.stringify(headers));
  }
  const small = await get({ 'accept-encoding': 'gzip' }, `${inbox(user)}/unread`);
  assert.equal(small.headers['content-encoding'], undefined);
});

test('what changes over HTTP reaches the user\'s devices', async () => {
  const user = newUser();
  const socket = hub.socketIo(user);
  await within(new Promise((resolve) => socket.once('hub:ready', resolve)), 'hub:ready');
  const arrived = new Promise((resolve) => socket.once('notification', resolve));
  const { body } = await hub.api('POST', POSTS, notification(user));
  assert.equal((await within(arrived, 'notification')).id, body.id);
  const changed = new Promise((resolve) => socket.once('notification:state', resolve));
  await hub.api('POST', `${inbox(user)}/read`, { ids: [body.id] });
  assert.deepEqual((await within(changed, 'notification:state')).ids, [body.id]);
  socket.close();
});

test('events reach rooms that a backend put the user into, until it takes them out', async () => {
  const user = newUser();
  const socket = hub.socketIo(user);
  await within(new Promise((resolve) => socket.once('hub:ready', resolve)), 'hub:ready');
  const rooms = (body) => hub.api('POST', `/api/v1/users/${user}/rooms`, body, PUBLISHER);
  const event = (args) => hub.api('POST', '/api/v1/events', { event: 'progress', args, to: { rooms: ['job:7'] } });
  const seen = [];
  socket.on('progress', (value) => seen.push(value));
  assert.equal((await rooms({ join: ['job:7'] })).status, 202);
  await until(async () => {
    assert.equal((await event(['in'])).status, 202);
    return seen.includes('in');
  }, 'an event of the room');
  await rooms({ leave: ['job:7'] });
  await until(async () => {
    const before = seen.length;
    await event(['out']);
    const direct = new Promise((resolve) => socket.once('direct', resolve));
    await hub.api('POST', '/api/v1/events', { event: 'direct', args: [], to: { users: [user] } });
    await within(direct, 'direct');
    return seen.length === before;
  }, 'no more events of the room');
  assertError(await rooms({ join: ['user:1'] }), 422, 'invalid_field', 'join');
  assertError(await rooms({}), 422, 'invalid_field', 'join');
  assertError(await rooms({ leave: 'x' }), 422, 'invalid_field', 'leave');
  socket.close();
});

test('a backend ends the connections of a user', async () => {
  const user = newUser();
  const sockets = [hub.socketIo(user), hub.socketIo(user)];
  await Promise.all(sockets.map((one) => within(new Promise((resolve) => one.once('hub:ready', resolve)), 'ready')));
  const gone = sockets.map((one) => new Promise((resolve) => one.once('disconnect', resolve)));
  assert.equal((await hub.api('POST', `/api/v1/users/${user}/disconnect`, undefined, ADMIN)).status, 202);
  const reasons = await within(Promise.all(gone), 'disconnected');
  assert.deepEqual(reasons, ['io server disconnect', 'io server disconnect']);
});

test('events that cannot be published are refused', async () => {
  const bad = [
    [422, 'invalid_field', 'event', { args: [], to: { all: true } }],
    [422, 'invalid_field', 'args', { event: 'x', args: {}, to: { all: true } }],
    [422, 'invalid_field', 'retain', { event: 'x', args: [], to: { all: true }, retain: 7 }],
  ];
  for (const [status, code, field, body] of bad) {
    assertError(await hub.api('POST', '/api/v1/events', body), status, code, field);
  }
  assert.equal((await hub.api('POST', '/api/v1/events', { event: 'x', args: [] })).status, 422);
  assertError(await hub.api('POST', '/api/v1/events', '[]'), 400, 'bad_request');
});

test('an array of events is checked as a whole, then published in its order', async () => {
  const user = newUser();
  const client = await hub.plain(user);
  const others = await hub.plain(newUser());
  await Promise.all([client.next('hub:ready'), others.next('hub:ready')]);
  const send = (events) => hub.api('POST', '/api/v1/events', events);
  const event = (n, more = {}) => ({ event: 'many', args: [n], to: { users: [user] }, ...more });

  for (const [at, field, bad] of [
    [0, 'to', { event: 'many', args: [] }],
    [1, 'event', event(0, { event: 'connect' })],
    [2, 'args', event(0, { args: {} })],
    [2, 'unknown', event(0, { unknown: 1 })],
    [1, 'retain', event(0, { retain: 7 })],
    [2, undefined, [event(0)]],
    [1, undefined, null],
  ]) {
    const events = [event(-1), event(-2), event(-3)];
    events[at] = bad;
    const answer = await send(events);
    assertError(answer, 422, 'invalid_field', field);
    assert.equal(answer.body.error.index, at, JSON.stringify(answer.body));
  }
  const late = Array.from({ length: 1000 }, (_, n) => event(n, n === 999 ? { event: 'disconnect' } : {}));
  assert.equal((await send(late)).body.error.index, 999);
  assertError(await send(Array.from({ length: 1001 }, (_, n) => event(n))), 413, 'too_large');
  assert.equal((await hub.api('POST', '/api/v1/events', event(0, { event: 'connect' }))).body.error.index, undefined);

  const padding = 'p'.repeat(600); // many slices by size as well as by number
  const all = Array.from({ length: 1000 }, (_, n) => event(n, { args: [n, padding], to: n % 2 ? { users: [user] } : { all: true } }));
  const { status, body } = await send(all);
  assert.equal(status, 202);
  assert.deepEqual(body, { accepted: true });
  assert.deepEqual((await send([])).body, { accepted: true });
  const got = (one) => one.received('many').map(([n]) => n);
  await until(() => got(client).length === 1000 && got(others).length === 500, 'all of them');
  assert.deepEqual(got(client), Array.from({ length: 1000 }, (_, n) => n));
  assert.deepEqual(got(others), Array.from({ length: 500 }, (_, n) => 2 * n));
  client.close();
  others.close();
});

test('who goes while an array of events is worked on has posted all or nothing of it', async () => {
  const user = newUser();
  const client = await hub.plain(user);
  await client.next('hub:ready');
  for (let round = 0; round < 20; round++) {
    const events = Array.from({ length: 1000 }, () => ({ event: `round${round}`, args: ['p'.repeat(300)], to: { users: [user] } }));
    const body = JSON.stringify(events);
    await new Promise((resolve) => {
      const socket = connect(hub.address.port, hub.address.host, () => {
        socket.write(`POST /api/v1/events HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer ${hub.apiKey}\r\nContent-Length: ${body.length}\r\n\r\n${body}`, () => {
          setTimeout(() => socket.resetAndDestroy(), round % 10);
        });
      });
      socket.on('error', () => {});
      socket.on('close', resolve);
    });
  }
  const count = (round) => client.received(`round${round}`).length;
  const rounds = Array.from({ length: 20 }, (_, n) => n);
  await hub.api('POST', '/api/v1/events', { event: 'last', args: [], to: { users: [user] } });
  await client.next('last');
  await until(() => rounds.every((n) => [0, 1000].includes(count(n))), 'of each round all or nothing');
  client.close();
});

test('a client that goes while the store works costs nothing', async () => {
  const user = newUser();
  const body = JSON.stringify(Array.from({ length: 200 }, () => notification(user)));
  const headers = { authorization: `Bearer ${hub.apiKey}`, 'content-length': Buffer.byteLength(body) };
  for (let i = 0; i < 20; i++) {
    await new Promise((resolve) => {
      const outgoing = httpRequest(hub.url + POSTS, { method: 'POST', headers, agent: false });
      outgoing.on('error', resolve);
      outgoing.end(body, () => outgoing.destroy(new Error('gone')));
    });
  }
  const one = await hub.api('POST', POSTS, notification(user));
  assert.equal(one.status, 201);
});

test('statistics have the shapes that are promised', async () => {
  const user = newUser();
  const socket = hub.socketIo(user);
  await within(new Promise((resolve) => socket.once('hub:ready', resolve)), 'hub:ready');
  await hub.api('POST', `/api/v1/users/${user}/rooms`, { join: ['stats:1'] }, PUBLISHER);
  socket.emit('notification:list', {});
  const { stats } = await until(async () => {
    const { body } = await hub.api('GET', '/api/ws/stats', undefined, READER);
    return body.stats.rooms.includes('stats:1') && body.stats.events['notification:list'] > 0 && body;
  }, 'the room in the statistics');
  assert.ok(stats.activeConnections >= 1);
  assert.ok(stats.roomCount >= 1);
  assert.ok(Number.isInteger(stats.uptime));
  const { body: health } = await hub.api('GET', '/api/v1/health/performance', undefined, READER);
  assert.equal(health.status, 'healthy');
  for (const name of ['averageResponseTime', 'cacheHitRate', 'errorRate', 'activeConnections']) {
    assert.equal(typeof health.metrics[name], 'number', name);
  }
  assert.ok(health.metrics.averageResponseTime > 0);
  const { body: queries } = await hub.api('GET', '/api/diagnostics/query-stats', undefined, READER);
  assert.equal(queries.success, true);
  const rows = Object.values(queries.stats.queryBreakdown);
  assert.equal(rows.reduce((sum, row) => sum + row.count, 0), queries.stats.totalQueries);
  const names = ['count', 'avgTime', 'minTime', 'maxTime', 'p50', 'p95', 'p99'];
  assert.ok(rows.every((row) => names.every((name) => typeof row[name] === 'number')));
  assert.ok(Array.isArray(queries.stats.slowestQueries));
  const { body: slow } = await hub.api('GET', '/api/diagnostics/slow-queries?limit=5', undefined, READER);
  assert.equal(slow.success, true);
  assert.ok(slow.slowQueries.length <= 5);
  assertError(await hub.api('GET', '/api/diagnostics/slow-queries?limit=0'), 422, 'invalid_field', 'limit');
  socket.close();
});

test('metrics are Prometheus text in which every sample has a type', async () => {
  const answer = await fetch(`${hub.internalUrl}/metrics`);
  assert.match(answer.headers.get('content-type'), /^text\/plain; version=0\.0\.4/);
  const types = new Map();
  const samples = new Set();
  for (const line of (await answer.text()).trimEnd().split('\n')) {
    const type = /^# TYPE (peal_[a-z0-9_]+) (counter|gauge|histogram)$/.exec(line);
    const sample = /^(peal_[a-z0-9_]+)(\{[a-z]+="[^"\\]*"(?:,[a-z]+="[^"\\]*")*\})? (\d[0-9.e+]*)$/.exec(line);
    if (type) {
      assert.ok(!types.has(type[1]), `${type[1]} has two types`);
      types.set(type[1], type[2]);
    } else if (sample) {
      const name = sample[1].replace(/_(bucket|sum|count)$/, '');
      const known = types.get(sample[1]) ?? types.get(name);
      assert.ok(known, line);
      assert.equal(known === 'counter', sample[1].endsWith('_total'), line);
      assert.ok(!samples.has(sample[1] + sample[2]), `${line} twice`);
      samples.add(sample[1] + sample[2]);
    } else {
      assert.match(line, /^# HELP peal_[a-z0-9_]+ \S/);
    }
  }
  assert.ok(await hub.metric('peal_notifications_stored_total') > 0);
  assert.ok(await hub.metric('peal_process_open_fds') > 5);
  assert.ok(await hub.metric('peal_process_resident_memory_bytes') > 1e6);
  assert.equal((await fetch(`${hub.url}/metrics`)).status, 404);
});

test('tenants: a key of one acts for it alone', async () => {
  const config = `
    auth { tenants = on }
    api_key "acme" { key = "acme-0123456789abcdef" scopes = {publish, read} tenant = acme }
    api_key "every" { key = "every-0123456789abcde" scopes = {publish, read} }
  `;
  const own = await startHub({ config });
  try {
    const acme = key('acme-0123456789abcdef');
    const every = key('every-0123456789abcde');
    const post = (body, headers) => own.api('POST', POSTS, body, headers);
    const { body } = await post(notification('a'), acme);
    assert.equal((await post(notification('a', { tenant: 'acme' }), every)).body.seq, 2);
    assert.equal((await post(notification('a', { tenant: 'other' }), every)).body.seq, 1);
    assertError(await post(notification('a', { tenant: 'other' }), acme), 403, 'forbidden', 'tenant');
    const count = async (query, headers) => (await own.api('GET', `${inbox('a')}${query}`, undefined, headers)).body.items?.length;
    assert.equal(await count('', acme), 2);
    assert.equal(await count('?tenant=acme', every), 2);
    assert.equal(await count('?tenant=other', every), 1);
    assert.equal(await count('', every), 0);
    assertError(await own.api('GET', `${inbox('a')}?tenant=other`, undefined, acme), 403, 'forbidden', 'tenant');
    assert.equal((await own.api('GET', `${POSTS}/${body.id}`, undefined, acme)).status, 200);
    assertError(await own.api('GET', `${POSTS}/${body.id}?tenant=other`, undefined, every), 404, 'not_found');
    const token = key(own.token('a', { tenant: 'other' }));
    assert.equal(await count('', token), 1);
    const all = { event: 'x', args: [], to: { all: true } };
    assertError(await own.api('POST', '/api/v1/events', all, acme), 403, 'forbidden', 'all');
    assertError(await own.api('GET', '/api/ws/stats', undefined, acme), 403, 'forbidden');
  } finally {
    await own.stop();
  }
});

test('ready names a dependency that is away, and stays ready', async () => {
  const redis = await startRedis();
  const own = await startHub({ redis });
  try {
    const ready = async () => {
      const answer = await fetch(`${own.internalUrl}/readyz`);
      return { status: answer.status, body: await answer.json() };
    };
    await until(async () => (await ready()).body.status === 'ready', 'ready with Redis');
    await redis.shutdown();
    await until(async () => (await ready()).body.status === 'degraded', 'degraded without Redis');
    assert.deepEqual(await ready(), { status: 200, body: { status: 'degraded', degraded: ['bus'] } });
    assert.equal((await own.api('POST', POSTS, notification('a'))).status, 201);
    assert.equal((await fetch(`${own.internalUrl}/healthz`)).status, 200);
    await redis.restart();
    await until(async () => (await ready()).body.status === 'ready', 'ready again');
  } finally {
    await own.stop();
    await redis.stop();
  }
});

test('a node whose messages do not come back is not ready, though Redis answers', async () => {
  const redis = await startRedis();
  const own = await startHub({ redis, config: 'bus { probe = 100ms }' });
  const admin = redis.client();
  try {
    const ready = async () => {
      const answer = await fetch(`${own.internalUrl}/readyz`);
      return { status: answer.status, body: await answer.json() };
    };
    assert.equal((await ready()).status, 200);
    await admin.call('ACL', 'SETUSER', 'default', '-publish');
    const deaf = await until(async () => {
      const answer = await ready();
      return answer.status === 503 && answer;
    }, 'not ready');
    assert.deepEqual(deaf.body, { status: 'deaf', failing: ['bus'] });
    assert.ok((await own.metric('peal_bus_deaf')) > 0);
    assert.equal((await fetch(`${own.internalUrl}/healthz`)).status, 200);
    await admin.call('ACL', 'SETUSER', 'default', '+publish');
    await until(async () => (await ready()).body.status === 'ready', 'ready again');
    await own.logged(/BUS-DEAF[\s\S]*BUS-HEARS/);
  } finally {
    await own.stop();
    await redis.stop();
  }
});

test('nothing is accepted while the store is away', async () => {
  const postgres = await startPostgres();
  const own = await startHub({ postgres });
  try {
    const first = await own.api('POST', POSTS, notification('a', { key: 'k' }));
    assert.equal(first.status, 201);
    await postgres.kill();
    const refused = await own.api('POST', POSTS, notification('a', { key: 'k2' }));
    assertError(refused, 503, 'unavailable');
    assert.ok(Number(refused.headers.get('retry-after')) > 0);
    assertError(await own.api('POST', POSTS, [notification('a', { key: 'k2' })]), 503, 'unavailable');
    assertError(await own.api('GET', inbox('a')), 503, 'unavailable');
    const degraded = await until(async () => {
      const ready = await fetch(`${own.internalUrl}/readyz`);
      assert.equal(ready.status, 200);
      const body = await ready.json();
      return body.status === 'degraded' && body;
    }, 'degraded');
    assert.deepEqual(degraded, { status: 'degraded', degraded: ['store'] });
    await postgres.restart();
    const stored = await until(async () => {
      const answer = await own.api('POST', POSTS, notification('a', { key: 'k2' }));
      return answer.status < 300 && answer;
    }, 'stored again');
    assert.equal(stored.body.seq, 2);
    assert.equal((await own.api('POST', POSTS, notification('a', { key: 'k' }))).body.id, first.body.id);
  } finally {
    await own.stop();
    await postgres.stop();
  }
});

test('what is refused has a counter: connections of an address, commands for Redis', async () => {
  const redis = await startRedis();
  const own = await startHub({ redis, config: 'shards = 1\nlimits { unauthenticated_per_address = 4 }' });
  const sockets = [];
  try {
    const refused = await own.metric('peal_address_refused_total');
    assert.equal(refused, 0);
    for (let i = 0; i < 8; i++) {
      sockets.push(connect(own.address.port, own.address.host).on('error', () => {}));
    }
    await until(async () => (await own.metric('peal_address_refused_total')) >= 4, 'the metric');
    assert.equal(await own.metric('peal_connections_refused_total'), await own.metric('peal_address_refused_total'));
    await own.logged(/LISTEN-ADDRESS/);
    for (const name of ['bus_protocol_errors', 'bus_timeouts', 'store_requests_refused', 'unencoded']) {
      assert.equal(await own.metric(`peal_${name}_total`), 0, name);
    }
    // A client that joins asks for a channel, which cannot be sent to a Redis that is away.
    await redis.shutdown();
    for (const socket of sockets) socket.destroy();
    await until(async () => (await own.metric('peal_bus_up')) === 0, 'Redis is away');
    await own.api('POST', '/api/v1/events', { event: 'e', to: { all: true } });
    await until(async () => (await own.metric('peal_bus_commands_refused_total')) > 0, 'a refused command');
  } finally {
    for (const socket of sockets) socket.destroy();
    await own.stop();
    await redis.stop();
  }
});

test('an event by HTTP or stream may be as large as one of an emitter, and no larger', async () => {
  const redis = await startRedis();
  const own = await startHub({ redis, config: 'limits { event_bytes = 2MiB outbound_bytes = 32MiB }' });
  try {
    const client = redis.client();
    const listener = await own.plain('listener');
    await listener.next('hub:ready');
    const text = (bytes) => 'x'.repeat(bytes - '[""]'.length);
    const post = (size) => own.api('POST', '/api/v1/events', { event: 'http', args: [text(size)], to: { all: true } });
    assert.equal((await post(2 << 20)).status, 202);
    assertError(await post((2 << 20) + 1), 413, 'too_large', 'args');
    const add = (size) => client.xadd('peal:in', '*', 'event', 'stream', 'args', JSON.stringify([text(size)]), 'all', '1');
    await add(2 << 20);
    await add((2 << 20) + 1);
    const refused = await own.metric('peal_bus_events_refused_total');
    new Emitter(client).emit('emitter', text(2 << 20));
    new Emitter(client).emit('emitter', text((2 << 20) + 1024));
    await until(async () => (await own.metric('peal_bus_events_refused_total')) === refused + 1, 'one is refused');
    await until(async () => (await client.xlen('peal:dead')) === 1, 'one is a dead letter');
    for (const name of ['http', 'stream', 'emitter']) {
      await until(() => listener.received(name).length === 1, name);
      assert.equal(listener.received(name)[0][0].length, (2 << 20) - 4);
    }
  } finally {
    await own.stop();
    await redis.stop();
  }
});

test('a message above the limit is told to its client, which may come again', async () => {
  const socket = hub.socketIo(newUser(), { reconnection: false });
  const told = [];
  socket.on('hub:closing', (body) => told.push(body));
  socket.on('disconnect', (reason) => told.push(reason));
  await new Promise((resolve) => socket.once('hub:ready', resolve));
  socket.emit('send_message', { roomId: 'public:a', message: 'x'.repeat(1 << 20) });
  await until(() => told.length === 2, 'the end');
  assert.equal(told[0].code, 4413);
  assert.equal(told[1], 'io server disconnect');
  const again = new Promise((resolve) => socket.once('hub:ready', resolve));
  socket.connect();
  await within(again, 'the client comes again');
  const plain = await hub.plain(newUser());
  plain.emit('send_message', { roomId: 'public:a', message: 'x'.repeat(1 << 20) });
  assert.equal((await within(plain.closed, 'the close')).code, 4413);
});

test('a page of a listed origin uses the inbox of its user, and nothing else', async () => {
  const origin = 'https://shop.example';
  const own = await startHub({ config: `origins = {"${origin}"}` });
  try {
    const user = newUser();
    await own.api('POST', POSTS, notification(user));
    const token = { authorization: `Bearer ${own.token(user)}` };
    const preflight = (path, method, from = origin) => raw(own, 'OPTIONS', path, {
      headers: { origin: from, 'access-control-request-method': method, 'access-control-request-headers': 'authorization' },
    });
    const routes = [
      ['GET', inbox(user)], ['GET', `${inbox(user)}/unread`], ['POST', `${inbox(user)}/read`],
      ['POST', `${inbox(user)}/read-all`], ['GET', '/api/v1/notifications/01980000-0000-7000-8000-000000000000'],
    ];
    for (const [method, path] of routes) {
      const asked = await preflight(path, method);
      assert.equal(asked.status, 204, path);
      assert.equal(asked.headers['access-control-allow-origin'], origin);
      assert.equal(asked.headers['access-control-allow-methods'], method);
      assert.match(asked.headers['access-control-allow-headers'], /Authorization/);
      assert.match(asked.headers.vary, /Origin/);
      assert.equal(asked.headers['access-control-allow-credentials'], undefined);
      const other = await preflight(path, method, 'https://evil.example');
      assert.equal(other.headers['access-control-allow-origin'], undefined);
      assert.match(other.headers.vary, /Origin/);
    }
    const list = await raw(own, 'GET', inbox(user), { headers: { ...token, origin } });
    assert.equal(list.status, 200);
    assert.equal(list.headers['access-control-allow-origin'], origin);
    assert.match(list.headers['access-control-expose-headers'], /ETag.*X-Cache.*Retry-After/);
    assert.match(list.headers.vary, /Origin/);
    // Errors are readable too, or a page would see a broken network.
    const wrong = await raw(own, 'GET', inbox(user), { headers: { authorization: 'Bearer no', origin } });
    assert.deepEqual([wrong.status, wrong.headers['access-control-allow-origin']], [401, origin]);
    const unlisted = await raw(own, 'GET', inbox(user), { headers: { ...token, origin: 'https://evil.example' } });
    assert.equal(unlisted.headers['access-control-allow-origin'], undefined);
    assert.match(unlisted.headers.vary, /Origin/);
    const closed = [
      ['POST', POSTS], ['POST', '/api/v1/events'], ['GET', '/api/v1/rooms/a/members'], ['GET', '/api/ws/stats'],
      ['POST', `/api/v1/users/${user}/rooms`], ['POST', `/api/v1/users/${user}/disconnect`], ['DELETE', inbox(user)],
    ];
    for (const [method, path] of closed) {
      const asked = await preflight(path, method);
      assert.equal(asked.status, 405, path);
      assert.equal(asked.headers['access-control-allow-origin'], undefined);
      const answer = await raw(own, method, path, { headers: { authorization: `Bearer ${own.apiKey}`, origin }, body: method === 'POST' ? '{}' : undefined });
      assert.equal(answer.headers['access-control-allow-origin'], undefined, path);
    }
  } finally {
    await own.stop();
  }
});

test('a backend with a key may have as many connections as it needs', async () => {
  const own = await startHub({ config: 'shards = 1\nlimits { unauthenticated_per_address = 8 }' });
  const sockets = [];
  try {
    const user = newUser();
    const heads = [`Bearer ${own.apiKey}`, `Bearer ${own.token(user)}`];
    for (let i = 0; i < 40; i++) {
      const socket = connect(own.address.port, own.address.host);
      sockets.push(socket);
      socket.on('error', () => {});
      let text = '';
      socket.on('data', (data) => (text += data));
      socket.write(`GET ${inbox(user)} HTTP/1.1\r\nHost: h\r\nAuthorization: ${heads[i % 2]}\r\n\r\n`);
      await until(() => text.startsWith('HTTP/1.1 200'), `an answer on connection ${i}`);
    }
    assert.equal(await own.metric('peal_address_refused_total'), 0);
    assert.equal(sockets.filter((socket) => socket.destroyed).length, 0);
  } finally {
    for (const socket of sockets) socket.destroy();
    await own.stop();
  }
});

test('a body may be gzip, and may begin with a byte order mark', async () => {
  const user = newUser();
  const headers = { authorization: `Bearer ${hub.apiKey}`, 'content-type': 'application/json' };
  const send = (body, more = {}, path = POSTS) => raw(hub, 'POST', path, { headers: { ...headers, ...more }, body });
  const text = JSON.stringify(notification(user, { message: 'm'.repeat(3000) }));
  const gzip = { 'content-encoding': 'gzip' };
  const error = (answer) => [answer.status, JSON.parse(answer.body).error.code];
  assert.equal((await send(gzipSync(text), gzip)).status, 201);
  assert.equal((await send(gzipSync(`\ufeff${text}`), { 'content-encoding': 'X-GZIP' })).status, 201);
  assert.equal((await send(`\ufeff${text}`)).status, 201);
  assert.equal((await send(text, { 'content-encoding': 'identity' })).status, 201);
  const event = JSON.stringify({ event: 'e', to: { all: true } });
  assert.equal((await send(gzipSync(event), gzip, '/api/v1/events')).status, 202);
  const list = await hub.api('GET', inbox(user));
  assert.deepEqual(list.body.items.map((item) => item.message.length), [3000, 3000, 3000, 3000]);
  assert.deepEqual(error(await send(text, gzip)), [400, 'bad_request']);
  assert.deepEqual(error(await send(gzipSync(text).subarray(0, 40), gzip)), [400, 'bad_request']);
  for (const coding of ['br', 'deflate', 'zstd', 'gzip, gzip']) {
    assert.deepEqual(error(await send(gzipSync(text), { 'content-encoding': coding })), [415, 'unsupported_encoding']);
  }
  const bomb = gzipSync(Buffer.alloc(512 << 10, ' '), { level: 9 });
  assert.deepEqual(error(await send(bomb, gzip)), [413, 'too_large']);
  const large = gzipSync(JSON.stringify(Array.from({ length: 900 }, (_, i) => notification(user, { message: `${i}`.repeat(500) }))));
  assert.deepEqual(error(await send(large, gzip)), [413, 'too_large']);
});

test('a large post is stored in slices, in order, and every user gets it', async () => {
  const own = await startHub({ config: 'shards = 1\nlimits { data_bytes = 64KiB }' });
  try {
    const last = await own.plain('slice-1999');
    const users = Array.from({ length: 2000 }, (_, i) => `slice-${i}`);
    const commits = async () => (await own.api('GET', '/api/diagnostics/query-stats')).body.stats.queryBreakdown.commit?.count ?? 0;
    const before = await commits();
    const data = 'x'.repeat(60_000);
    const answer = await own.api('POST', POSTS, [users.slice(0, 1000), users.slice(1000)].map((part) => ({ type: 't', users: part, data })));
    assert.equal(answer.status, 200);
    const results = answer.body.results.flatMap((part) => part.results);
    assert.deepEqual(results.map((result) => result.user), users);
    assert.ok(results.every((result) => result.status === 201 && result.seq === 1));
    assert.ok((await commits()) - before >= (users.length * data.length) / (3 << 20), 'many transactions');
    assert.equal((await last.next('notification')).data, data);
    const small = await own.api('POST', POSTS, Array.from({ length: 1000 }, () => notification('slice-0')));
    assert.deepEqual(small.body.results.map((result) => result.seq), Array.from({ length: 1000 }, (_, i) => i + 2));
  } finally {
    await own.stop();
  }
});
