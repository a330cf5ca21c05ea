// SPDX-License-Identifier: Apache-2.0
// What was accepted comes back: every extreme that may be posted is told live, listed, synced, read
// over HTTP and recovered, to stock clients of both parsers and to /ws in both formats, from both
// stores, equal to what was posted.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import parser from 'socket.io-msgpack-parser';
import { startHub } from './support/hub.mjs';
import { startPostgres } from './support/postgres.mjs';
import { until } from './support/wait.mjs';

const DEPTH = 64; // the most that limits.json_depth may say
const nest = (depth) => {
  let value = 1;
  for (let level = depth; level > 0; level--) value = level % 2 ? [value] : { a: value };
  return value;
};
const HOUR = 3_600_000;
const iso = (ms) => new Date(ms).toISOString();
const fill = (unit, bytes) => unit.repeat(Math.floor(bytes / Buffer.byteLength(unit)));

// What is posted beside `user`, and the fields of a notification that it must become.
function extremes() {
  const list = [];
  const add = (fields, becomes = fields) => list.push([{ type: 't', ...fields }, { type: 't', ...becomes }]);
  for (const depth of [1, 28, 29, 30, 31, 32, 33, 40, 63, DEPTH]) add({ data: nest(depth) });
  // A BOM does not come first: the TextDecoder of one client library takes that one away.
  for (const unit of ['a', 'é', '€', '🔔', '\u2028', 'a\ufeff']) {
    add({ type: fill(unit, 64), title: fill(unit, 256), message: fill(unit, 4096) });
    add({ data: fill(unit, (32 << 10) - 2) });
  }
  add({ data: [0, -1, 127, 128, 255, 256, -32, -33, 2 ** 53, -(2 ** 53), 2 ** 64, 0.1, 1e-7, 5e-324, Number.MAX_VALUE] });
  add({ data: { '': { 'a b': null }, '\u0001"\\/': '\u0001\b\f\n\r\t"\\/', e: [], o: {}, yes: true, no: false } });
  add({ data: { _placeholder: true, num: 0 } });
  const soon = Date.now() + HOUR;
  const late = Date.now() + 99 * 365 * 24 * HOUR;
  add({ expires_at: soon }, { expiresAt: iso(soon) });
  add({ expires_at: iso(late) }, { expiresAt: iso(late) });
  for (const priority of ['low', 'medium', 'high', 'urgent']) add({ priority });
  return list;
}

const USERS = ['u', 'n'.repeat(128), 'é🔔 %?#&+\\"\''];

for (const store of ['SQLite', 'Postgres']) {
  describe(`over ${store}`, () => {
    let postgres;
    const hubs = [];
    before(async () => {
      if (store === 'Postgres') postgres = await startPostgres();
      const config = (kind) => `shards = 2
limits { json_depth = ${DEPTH} refusals_per_minute = 100000 joins_burst = 100000 inbox_burst = 100000 outbound_bytes = 16MiB }
namespace "/" { recovery = on }
notification_type "gathered" { digest = 1h }
socketio { parser = ${kind} }`;
      hubs.push(await startHub({ postgres, config: config('json') }));
      if (store === 'SQLite') hubs.push(await startHub({ config: config('msgpack') }));
    });
    after(async () => {
      for (const hub of hubs) await hub.stop();
      await postgres?.stop();
    });

    test('what is deepest comes back out of a digest', async () => {
      for (const [number, hub] of hubs.entries()) await checkDigest(hub, `gatherer ${number}`, number === 1 ? { parser } : {});
    });

    for (const [at, name] of [...USERS.entries()].map(([i, user]) => [i, `${user.slice(0, 8)} (${user.length})`])) {
      test(`everything that was accepted for ${name} comes back by every way`, async () => {
        for (const [number, hub] of hubs.entries()) await checkAll(hub, USERS[at], number === 1 ? { parser } : {});
      });
    }
  });
}

async function checkAll(hub, user, options) {
  const stock = hub.socketIo(user, options);
  const cut = hub.socketIo(user, { ...options, reconnectionDelay: 1, reconnectionDelayMax: 20 });
  const live = [];
  const recovered = [];
  const ready = [];
  for (const socket of [stock, cut]) socket.on('hub:ready', (body) => ready.push(body));
  stock.on('notification', (item) => live.push(item));
  cut.on('notification', (item) => recovered.push(item));
  const plain = { json: await hub.plain(user), msgpack: await hub.plain(user, { encoding: 'msgpack' }) };
  await until(() => ready.length >= 2, 'hub:ready of both');
  const before = ready[0];
  const position = { epoch: before.epoch, rev: before.rev };

  // One device loses its line at once and again, and gets by recovery what it missed.
  cut.io.reconnection(false);
  cut.io.engine.close();
  await until(() => !cut.connected, 'the line is cut');
  const posts = extremes();
  const answer = await hub.api('POST', '/api/v1/notifications', posts.map(([post]) => ({ user, ...post })));
  assert.equal(answer.status, 200);
  for (const [i, result] of answer.body.results.entries()) {
    assert.equal(result.status, 201, `${JSON.stringify(posts[i][0]).slice(0, 100)}: ${JSON.stringify(result)}`);
  }
  const check = (items, way) => {
    assert.equal(items.length, posts.length, way);
    for (const [i, [, becomes]] of posts.entries()) {
      const got = Object.fromEntries(Object.keys(becomes).map((key) => [key, items[i][key]]));
      assert.deepEqual(got, becomes, `${way}: ${JSON.stringify(becomes).slice(0, 100)}`);
      assert.equal(items[i].userId, user, way);
      assert.equal(items[i].id, answer.body.results[i].id, way);
    }
  };
  await until(() => live.length === posts.length, 'every notification live');
  check(live, 'live');
  for (const [format, client] of Object.entries(plain)) {
    await until(() => client.received('notification').length === posts.length, `live in ${format}`);
    check(client.received('notification').map(([item]) => item), `live in ${format}`);
  }
  const ask = {
    stock: (event, body) => stock.timeout(30_000).emitWithAck(event, body),
    json: (event, body) => plain.json.request(event, body),
    msgpack: (event, body) => plain.msgpack.request(event, body),
  };
  for (const [way, request] of Object.entries(ask)) {
    check(await listAll((after) => request('notification:list', { limit: 10, after })), `list by ${way}`);
    check(await syncAll((rev) => request('notification:sync', { ...position, rev }), position.rev), `sync by ${way}`);
  }
  const path = `/api/v1/users/${encodeURIComponent(user)}/notifications?limit=10`;
  check(await listAll(async (after) => (await hub.api('GET', path + (after ? `&after=${after}` : ''))).body), 'HTTP');
  const one = await hub.api('GET', `/api/v1/notifications/${answer.body.results[0].id}`);
  assert.deepEqual(one.body.data, posts[0][1].data);

  cut.io.reconnection(true);
  cut.connect();
  await until(() => cut.connected && recovered.length >= posts.length, 'what was missed');
  assert.equal(cut.recovered, true);
  check(recovered, 'by recovery');
  assert.equal(await hub.metric('peal_unencoded_total'), 0);
  hub.closeSockets();
}

// The deepest data that fits lies deeper still in a digest: live, listed, synced, and in a change that carries the row.
async function checkDigest(hub, user, options) {
  const stock = hub.socketIo(user, options);
  const live = [];
  let ready;
  stock.on('hub:ready', (body) => (ready = body));
  stock.on('notification', (item) => live.push(item));
  stock.on('notification:state', (state) => live.push(...(state.updated ?? [])));
  await until(() => ready, 'hub:ready');
  const plain = {};
  for (const encoding of ['json', 'msgpack']) plain[encoding] = await hub.plain(user, { encoding });
  const posts = extremes().map(([post]) => ({ user, ...post, type: 'gathered' })).filter(({ priority }) => priority !== 'urgent');
  posts.push(...[1, DEPTH].map((depth) => ({ user, type: 'gathered', data: nest(depth) })));
  const answer = await hub.api('POST', '/api/v1/notifications', posts);
  const ids = new Set(answer.body.results.map(({ id }) => id));
  assert.deepEqual([answer.status, ids.size], [200, 1]);
  await until(() => live.at(-1)?.count === posts.length, 'the last one live');
  const { silent, ...last } = live.at(-1);
  assert.equal(silent, true);
  assert.deepEqual(last.digest.slice(0, 2).map(({ data }) => data), [nest(DEPTH), nest(1)]);
  for (const [format, client] of Object.entries(plain)) {
    await until(() => client.received('notification').at(-1)?.[0].count === posts.length, `live in ${format}`);
    assert.deepEqual(client.received('notification').at(-1)[0], live.at(-1), `live in ${format}`);
    assert.deepEqual((await client.request('notification:list', {})).items, [last], `list in ${format}`);
  }
  assert.deepEqual((await stock.emitWithAck('notification:list', {})).items, [last]);
  assert.deepEqual((await stock.emitWithAck('notification:sync', { epoch: ready.epoch, rev: ready.rev })).items, [last]);
  const [id] = ids;
  assert.equal((await hub.api('PATCH', `/api/v1/notifications/${id}`, { title: 'changed' })).status, 200);
  await until(() => live.at(-1).title === 'changed', 'the change');
  assert.deepEqual(live.at(-1).digest[0].data, nest(DEPTH));
  const { body } = await hub.api('GET', `/api/v1/notifications/${id}`);
  assert.deepEqual(body, live.at(-1));
  assert.equal(await hub.metric('peal_unencoded_total'), 0);
  hub.closeSockets();
}

// Everything, oldest first.
async function listAll(page) {
  const items = [];
  for (let after; ; ) {
    const body = await page(after);
    assert.ok(body.items, JSON.stringify(body));
    items.push(...body.items);
    if (body.next === null) return items.reverse();
    after = body.next;
  }
}

async function syncAll(page, from) {
  const items = [];
  for (let rev = from; ; ) {
    const body = await page(rev);
    assert.equal(body.ok, true, JSON.stringify(body));
    items.push(...body.items);
    if (body.done) return items;
    rev = body.rev;
  }
}
