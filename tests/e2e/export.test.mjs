// SPDX-License-Identifier: Apache-2.0
// GET …/export: all that there is of an inbox, in every state, as lines that come as they are taken; what cannot be
// completed has no end.
import assert from 'node:assert/strict';
import { Agent, request } from 'node:http';
import { after, before, describe, test } from 'node:test';
import { unzipSync as unzip } from 'node:zlib';
import { startHub } from './support/hub.mjs';
import { ADMIN } from './support/inbox.mjs';
import { startPostgres } from './support/postgres.mjs';
import { RawPeer } from './support/raw.mjs';
import { startRedis } from './support/redis.mjs';
import { until } from './support/wait.mjs';

const ORIGIN = 'https://shop.example';
const CONFIG = `
auth { tenants = on }
origins = {"${ORIGIN}"}
limits { slow_consumer = 10m exports = 2 }
store { sweep = 100ms }
api_key "admin" { key = "admin-0123456789abc" scopes = {admin} }
notification_type "muted" { inbox = on }
`;
const STATES = ['unread', 'seen', 'read', 'archived', 'snoozed'];
const ROWS = 5000;
const BIG = { rows: 1500, bytes: 8000 }; // more than kernels take
const PATIENT = { timeout: 240_000 };

const stores = {
  SQLite: async () => {
    const hub = await startHub({ config: CONFIG, env: { PEAL_SHARDS: '1' } });
    return { hub, stop: () => hub.stop() };
  },
  Postgres: async () => {
    const [redis, postgres] = await Promise.all([startRedis(), startPostgres()]);
    const hub = await startHub({ redis, postgres, config: CONFIG, env: { PEAL_SHARDS: '1' } });
    const stop = async () => {
      await hub.stop();
      await redis.stop();
      await postgres.stop();
    };
    return { hub, postgres, stop };
  },
};

const pathOf = (user, tenant = 'a') => `/api/v1/users/${user}/export?tenant=${tenant}`;
const linesOf = (text) => text.trimEnd().split('\n').map((line) => JSON.parse(line));
const ofType = (lines, type) => lines.filter((line) => line.type === type);

// What a chunked answer holds: {head, body, whole}.
function unchunk(bytes) {
  const end = bytes.indexOf('\r\n\r\n');
  const parts = [];
  let at = end + 4;
  for (;;) {
    const line = bytes.indexOf('\r\n', at);
    if (line < 0) break;
    const size = parseInt(bytes.toString('latin1', at, line), 16);
    if (size === 0) return { head: bytes.toString('latin1', 0, end), body: Buffer.concat(parts), whole: true, after: line + 4 };
    if (bytes.length < line + 2 + size) break;
    parts.push(bytes.subarray(line + 2, line + 2 + size));
    at = line + 2 + size + 2;
  }
  return { head: bytes.toString('latin1', 0, end), body: Buffer.concat(parts), whole: false };
}

for (const [name, start] of Object.entries(stores)) {
  describe(name, () => {
    let rig;
    let hub;
    before(async () => {
      rig = await start();
      hub = rig.hub;
      const text = 'x'.repeat(BIG.bytes);
      for (let n = 0; n < BIG.rows; n += 100) {
        await post(Array.from({ length: 100 }, (_, i) => ({ user: 'big', type: 'note', title: `b${n + i}`, data: { text } })));
      }
    });
    after(() => rig?.stop());

    async function post(posts, tenant = 'a') {
      const { status, body } = await hub.api('POST', '/api/v1/notifications', posts.map((each) => ({ tenant, ...each })));
      assert.equal(status, 200, JSON.stringify(body));
      for (const result of body.results) assert.equal(result.status, 201, JSON.stringify(result));
      return body.results.map(({ id }) => id);
    }

    async function mark(user, verb, body, tenant = 'a') {
      const answer = await hub.api('POST', `/api/v1/users/${user}/notifications/${verb}?tenant=${tenant}`, body);
      assert.equal(answer.status, 200, JSON.stringify(answer.body));
    }

    async function listed(user, state, tenant = 'a') {
      const items = [];
      for (let next = ''; next !== null;) {
        const { body } = await hub.api('GET', `/api/v1/users/${user}/notifications?tenant=${tenant}&state=${state}&limit=100${next && `&after=${next}`}`);
        items.push(...body.items);
        ({ next } = body);
      }
      return items.sort((a, b) => a.seq - b.seq);
    }

    const exported = async (user, tenant) => {
      const { status, body } = await hub.api('GET', pathOf(user, tenant));
      assert.equal(status, 200, body);
      return linesOf(body);
    };
    const idle = () => until(async () => (await hub.metric('peal_exports')) === 0, 'no export is under way');
    const counter = (what) => hub.metric(`peal_exports_${what}`);

    const head = (user, { version = '1.1', rows = '', method = 'GET' } = {}) =>
      `${method} ${pathOf(user)} HTTP/${version}\r\nHost: h\r\nAuthorization: Bearer ${hub.apiKey}\r\n${rows}\r\n`;

    // An export of the big inbox, of which nothing is read yet: the hub waits for its reader.
    async function stalled(options) {
      await idle();
      const peer = await RawPeer.open(hub.address);
      const first = await pages();
      peer.socket.pause();
      peer.write(head('big', options));
      await stands(first);
      return peer;
    }

    // A page more was read than at `first`, and for a while no other: the kernels take no more.
    async function stands(first) {
      let last = first;
      let same = 0;
      await until(async () => {
        const now = await pages();
        same = now > first && now === last ? same + 1 : 0;
        last = now;
        return same === 20;
      }, 'the export waits for its reader');
      return last - first;
    }

    // How often a page of rows was read.
    const pages = async () => (await hub.metric('peal_store_statements_total{statement="rows"}')) ?? 0;

    // All states, posts to many, and the rest of what there is of a user.
    async function fill(user, tenant, rows) {
      const ids = [];
      for (let n = 0; n < rows; n += 1000) {
        const count = Math.min(1000, rows - n);
        ids.push(...(await post(Array.from({ length: count }, (_, i) => ({ user, type: `t${i % 7}`, title: `${n + i} ü "q"`, message: `m${i}`.repeat(i % 20), data: { n: n + i } })), tenant)));
      }
      const part = (k) => ids.slice((k * rows) / 10, ((k + 1) * rows) / 10);
      const marked = async (k, verb, more = {}) => mark(user, verb, { ids: part(k), ...more }, tenant);
      await marked(1, 'seen');
      await marked(2, 'read');
      await marked(3, 'archive');
      await marked(4, 'snooze', { until: Date.now() + 86_400_000 });
      await marked(5, 'read');
      await marked(5, 'archive');
      await marked(6, 'seen');
      await marked(6, 'snooze', { until: Date.now() + 86_400_000 });
      await marked(7, 'delete');
      await post([{ user, type: 'short', title: 'expires', expires_at: Date.now() + 300 }], tenant);
      await post([{ user, type: 'c', title: 'first', collapse: 'one' }], tenant);
      const again = await hub.api('POST', '/api/v1/notifications', { tenant, user, type: 'c', title: 'second', collapse: 'one' });
      assert.equal(again.body.status, 'collapsed');
      for (const topic of ['news', 'sport']) {
        const { status } = await hub.api('PUT', `/api/v1/topics/${topic}/subscribers?tenant=${tenant}`, { users: [user] });
        assert.equal(status, 200);
      }
      const { status } = await hub.api('PUT', `/api/v1/users/${user}/preferences?tenant=${tenant}`, { timezone: 'Europe/Berlin', types: { muted: { inbox: false } } }, { authorization: `Bearer ${hub.token(user, { tenant })}` });
      assert.equal(status, 200);
      await until(async () => (await listed(user, STATES.join(), tenant)).every(({ type }) => type !== 'short'), 'what expires has gone');
      await post([{ topic: 'news', type: 'news', title: 'to a topic' }], tenant);
      await post([{ all: true, type: 'all', title: 'to everybody' }], tenant); // not made a row yet: the export does
    }

    test('is all that lists, counts, preferences and topics say, by seq', PATIENT, async () => {
      await fill('ann', 'a', ROWS);
      await fill('ann', 'b', 50);
      for (const [tenant, rows] of [['a', ROWS], ['b', 50]]) {
        const lines = await exported('ann', tenant);
        const notifications = ofType(lines, 'notification');
        assert.equal(notifications.length, rows - rows / 10 + 3);
        for (const state of STATES) {
          const found = notifications.filter((line) => line.state === state || (state === 'unread' && line.state === 'seen'));
          assert.ok(found.some((line) => line.state === state), state);
          assert.deepEqual(found.map(({ notification }) => notification), await listed('ann', state, tenant), state);
        }
        const seqs = notifications.map(({ notification: { seq } }) => seq);
        assert.deepEqual(seqs, [...seqs].sort((x, y) => x - y));
        assert.equal(new Set(seqs).size, seqs.length);
        assert.deepEqual(notifications.slice(-2).map(({ notification: { audience: { kind } } }) => kind), ['topic', 'all']);
        const { body: counts } = await hub.api('GET', `/api/v1/users/ann/notifications/unread?tenant=${tenant}`);
        const { exportedAt, ...inbox } = lines[0];
        assert.ok(Math.abs(Date.parse(exportedAt) - Date.now()) < 600_000, exportedAt);
        assert.deepEqual(inbox, { type: 'inbox', user: 'ann', tenant, seq: seqs.at(-1), rev: counts.rev, unread: counts.count, unseen: counts.unseen });
        const { body: preferences } = await hub.api('GET', `/api/v1/users/ann/preferences?tenant=${tenant}`);
        assert.deepEqual(lines[1], { type: 'preferences', preferences });
        assert.deepEqual(ofType(lines, 'topic'), [{ type: 'topic', topic: 'news' }, { type: 'topic', topic: 'sport' }]);
        assert.deepEqual(lines.at(-1), { type: 'end', notifications: notifications.length });
        assert.equal(lines.length, notifications.length + 5);
      }
    });

    test('says that a user hides, until that is erased with all else', PATIENT, async () => {
      const client = await hub.plain('shy', { claims: { tenant: 'a' } });
      assert.deepEqual(await client.request('presence:set', { visible: false }), { ok: true, visible: false });
      client.close();
      assert.equal((await exported('shy', 'a'))[1].hidden, true);
      const { status } = await hub.api('DELETE', '/api/v1/users/shy?tenant=a', undefined, ADMIN);
      assert.equal(status, 200);
      assert.equal((await exported('shy', 'a'))[1].hidden, undefined);
    });

    test('of one who never had anything has an inbox and an end', async () => {
      const lines = await exported('nobody');
      assert.deepEqual(lines.map(({ type }) => type), ['inbox', 'preferences', 'end']);
      assert.deepEqual([lines[0].seq, lines[0].rev, lines[0].unread, lines.at(-1).notifications], [0, 0, 0, 0]);
    });

    test('is for its user, for a key that may read, and for pages of listed origins', async () => {
      await post([{ user: 'own', type: 'note', title: 'mine' }]);
      const as = (user, tenant) => ({ authorization: `Bearer ${hub.token(user, { tenant })}` });
      const path = '/api/v1/users/own/export';
      const own = await hub.api('GET', path, undefined, { ...as('own', 'a'), origin: ORIGIN });
      assert.equal(own.status, 200);
      assert.equal(own.headers.get('access-control-allow-origin'), ORIGIN);
      assert.equal(own.headers.get('content-type'), 'application/x-ndjson');
      assert.equal(own.headers.get('cache-control'), 'private, no-store');
      assert.equal(ofType(linesOf(own.body), 'notification')[0].notification.title, 'mine');
      const anothers = linesOf((await hub.api('GET', path, undefined, as('own', 'b'))).body);
      assert.equal(anothers.at(-1).notifications, 0, 'of another tenant');
      assert.equal((await hub.api('GET', path, undefined, as('other', 'a'))).status, 403);
      assert.equal((await hub.api('GET', `${path}?tenant=a`, undefined, ADMIN)).status, 403);
      assert.equal((await hub.api('GET', path, undefined, { authorization: 'Bearer wrong-0123456789abcdef' })).status, 401);
      const preflight = await hub.api('OPTIONS', path, undefined, { origin: ORIGIN, 'access-control-request-method': 'GET', 'access-control-request-headers': 'authorization' });
      assert.equal(preflight.status, 204);
      assert.equal(preflight.headers.get('access-control-allow-origin'), ORIGIN);
      const unknown = await hub.api('GET', `${path}?tenant=a&limit=1`);
      assert.deepEqual([unknown.status, unknown.body.error.field], [400, 'limit']);
    });

    // One request over a connection that is kept: {response, bytes, reused}.
    function ask(agent, path, { method = 'GET', headers = {} } = {}) {
      return new Promise((resolve, reject) => {
        const call = request(hub.url + path, { agent, method, headers: { authorization: `Bearer ${hub.apiKey}`, ...headers } }, (response) => {
          const parts = [];
          response.on('data', (part) => parts.push(part));
          response.on('end', () => resolve({ response, bytes: Buffer.concat(parts), reused: call.reusedSocket }));
          response.on('error', reject);
        });
        call.on('error', reject);
        call.end();
      });
    }

    test('leaves the connection as it was, also behind HEAD and compressed', PATIENT, async () => {
      const agent = new Agent({ keepAlive: true, maxSockets: 1 });
      const plain = await ask(agent, pathOf('big'));
      assert.equal(plain.response.headers['transfer-encoding'], 'chunked');
      assert.equal(plain.response.headers['content-encoding'], undefined);
      const only = await ask(agent, pathOf('big'), { method: 'HEAD' });
      assert.deepEqual([only.response.statusCode, only.bytes.length, only.reused], [200, 0, true]);
      assert.equal(only.response.headers['content-type'], 'application/x-ndjson');
      for (const coding of ['gzip', 'gzip;q=0, deflate']) {
        const packed = await ask(agent, pathOf('big'), { headers: { 'accept-encoding': coding } });
        assert.equal(packed.reused, true);
        assert.equal(packed.response.headers['content-encoding'], coding === 'gzip' ? 'gzip' : 'deflate');
        assert.equal(packed.response.headers.vary.includes('Accept-Encoding'), true);
        assert.ok(packed.bytes.length < plain.bytes.length / 5, `${packed.bytes.length} of ${plain.bytes.length}`);
        const text = unzip(packed.bytes).toString();
        assert.deepEqual(linesOf(text).slice(1), linesOf(plain.bytes.toString()).slice(1));
      }
      const refused = await ask(agent, pathOf('big'), { headers: { 'accept-encoding': 'gzip', 'x-no-compression': '1' } });
      assert.equal(refused.response.headers['content-encoding'], undefined);
      assert.deepEqual([refused.reused, refused.bytes.length], [true, plain.bytes.length]);
      agent.destroy();
    });

    test('to HTTP/1.0 ends with the connection', PATIENT, async () => {
      const peer = await RawPeer.open(hub.address);
      peer.write(head('big', { version: '1.0' }));
      await peer.until(() => peer.ended, 'the end');
      const at = peer.input.indexOf('\r\n\r\n');
      assert.match(peer.input.toString('latin1', 0, at), /^HTTP\/1\.1 200 OK\r\n(?![^]*Transfer-Encoding)[^]*Connection: close/);
      const lines = linesOf(peer.input.toString('utf8', at + 4));
      assert.equal(lines.at(-1).notifications, ofType(lines, 'notification').length);
      assert.ok(lines.length > BIG.rows);
    });

    test('waits for who reads it, with one page; what is asked behind it comes behind it', PATIENT, async () => {
      await idle();
      const peer = await RawPeer.open(hub.address);
      const first = await pages();
      peer.socket.pause();
      peer.write(head('big') + head('nobody', { rows: 'Connection: close\r\n' }));
      const read = await stands(first);
      assert.ok(read < (BIG.rows * BIG.bytes) / 65_536 / 2, `${read} pages were read for nobody`);
      peer.socket.resume();
      await peer.until(() => peer.ended, 'both');
      const big = unchunk(peer.input);
      assert.equal(big.whole, true);
      const lines = linesOf(big.body.toString());
      assert.equal(lines.at(-1).notifications, ofType(lines, 'notification').length);
      assert.ok(lines.at(-1).notifications >= BIG.rows);
      const second = unchunk(peer.input.subarray(big.after));
      assert.equal(second.whole, true);
      assert.deepEqual(linesOf(second.body.toString()).at(-1), { type: 'end', notifications: 0 });
    });

    test('of a user is one at a time, and of a shard limits.exports', PATIENT, async () => {
      const peer = await stalled();
      const refused = await counter('refused_total');
      const again = await hub.api('GET', pathOf('big'));
      assert.deepEqual([again.status, again.body.error.code, again.headers.get('retry-after')], [429, 'rate_limited', '1']);
      assert.equal((await hub.api('GET', pathOf('big', 'b'))).status, 200, 'of another tenant');
      const other = await RawPeer.open(hub.address);
      other.socket.pause();
      await post(Array.from({ length: 100 }, (_, n) => ({ user: 'second', type: 'note', title: `${n}`, data: { text: 'y'.repeat(9000) } })));
      const before = await pages();
      other.write(head('second').repeat(60)); // one after the other, until the kernels take no more
      await stands(before);
      assert.equal(await hub.metric('peal_exports'), 2);
      const third = await hub.api('GET', pathOf('nobody'));
      assert.deepEqual([third.status, third.body.error.code, third.headers.get('retry-after')], [503, 'unavailable', '1']);
      assert.equal(await counter('refused_total'), refused + 2);
      peer.destroy();
      other.destroy();
      await idle();
      assert.equal((await hub.api('GET', pathOf('nobody'))).status, 200);
    });

    test('whose client leaves is given up and counted', PATIENT, async () => {
      const [broken, done] = [await counter('broken_total'), await counter('total')];
      for (const leave of ['reset', 'destroy', 'fin']) {
        const peer = await stalled();
        peer[leave]();
        peer.socket.resume();
        await idle();
      }
      assert.equal(await counter('broken_total'), broken + 3);
      assert.equal(await counter('total'), done);
      await exported('nobody');
      assert.equal(await counter('total'), done + 1);
    });

    test('of a user who is erased meanwhile has what was read, and an end', PATIENT, async () => {
      const text = 'z'.repeat(BIG.bytes);
      for (let n = 0; n < BIG.rows; n += 100) {
        await post(Array.from({ length: 100 }, (_, i) => ({ user: 'gone', type: 'note', title: `${n + i}`, data: { text } })));
      }
      await idle();
      const peer = await RawPeer.open(hub.address);
      const first = await pages();
      peer.socket.pause();
      peer.write(head('gone'));
      await stands(first);
      const erased = await hub.api('DELETE', '/api/v1/users/gone?tenant=a', undefined, ADMIN);
      assert.equal(erased.status, 200);
      assert.ok(erased.body.erased.notifications >= BIG.rows);
      peer.socket.resume();
      const answer = await peer.until(() => {
        const found = unchunk(peer.input);
        return found.whole && found;
      }, 'the end');
      const lines = linesOf(answer.body.toString());
      const { notifications } = lines.at(-1);
      assert.equal(notifications, ofType(lines, 'notification').length);
      assert.ok(notifications > 0 && notifications < BIG.rows, `${notifications}`);
      peer.destroy();
      assert.equal((await exported('gone')).at(-1).notifications, 0);
    });

    const stops = async () => {
      const broken = await counter('broken_total');
      const peer = await stalled();
      await rig.postgres.kill();
      peer.socket.resume();
      await peer.until(() => peer.ended, 'the connection ends');
      const answer = unchunk(peer.input);
      assert.equal(answer.whole, false);
      const lines = answer.body.toString().split('\n').filter((line) => line).map((line) => JSON.parse(line));
      assert.ok(ofType(lines, 'notification').length > 0);
      assert.equal(ofType(lines, 'end').length, 0);
      await hub.logged(/EXPORT-BROKEN .*tenant="?a"? user="?big"? rows=\d+ why=/);
      assert.equal(await counter('broken_total'), broken + 1);
      const away = await hub.api('GET', pathOf('big'));
      assert.equal(away.status, 503);
      await rig.postgres.restart();
      await until(async () => (await exported('big')).at(-1).notifications >= BIG.rows, 'the store is back');
    };
    if (name === 'Postgres') test('whose store stops has no end, and the log says so', PATIENT, stops);
  });
}

const slow = [
  ['who does not read is cut off after slow_consumer', '1s', async (hub, peer) => {
    await hub.logged(/SLOW-CLOSED .*transport=http .*ms=1000/);
    await until(async () => (await hub.metric('peal_exports')) === 0, 'it is given up');
    assert.ok((await hub.metric('peal_closed_total{reason="slow"}')) > 0);
    peer.socket.resume();
    await peer.until(() => peer.closed, 'it learns');
  }],
  ['a node that ends ends its exports', '10m', async (hub, peer) => {
    await hub.stop(); // throws where it does not end well
    peer.socket.resume(); // before it has ended the export could still be taken whole
    await peer.until(() => peer.ended || peer.closed, 'it learns');
  }],
];
for (const [what, patience, end] of slow) {
  test(what, PATIENT, async () => {
    const hub = await startHub({ args: ['--limits-slow-consumer', patience] });
    try {
      const data = { text: 'x'.repeat(BIG.bytes) };
      for (let n = 0; n < BIG.rows; n += 100) {
        const posts = Array.from({ length: 100 }, (_, i) => ({ user: 'big', type: 'note', title: `${n + i}`, data }));
        assert.equal((await hub.api('POST', '/api/v1/notifications', posts)).status, 200);
      }
      const peer = await RawPeer.open(hub.address);
      peer.socket.pause();
      peer.write(`GET /api/v1/users/big/export HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer ${hub.apiKey}\r\n\r\n`);
      await until(async () => (await hub.metric('peal_exports')) === 1, 'it has begun');
      await end(hub, peer);
      const { whole } = unchunk(peer.input);
      assert.equal(whole, false);
    } finally {
      await hub.stop();
    }
  });
}
