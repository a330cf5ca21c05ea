// SPDX-License-Identifier: Apache-2.0
// Who is in a room, asked over HTTP: of one hub, and of a cluster of hubs and a Node server.
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { test } from 'node:test';
import { createAdapter } from '@socket.io/redis-adapter';
import { Server } from 'socket.io';
import { startHub } from './support/hub.mjs';
import { startPostgres } from './support/postgres.mjs';
import { startRedis } from './support/redis.mjs';
import { randomSecret } from './support/tokens.mjs';
import { until } from './support/wait.mjs';

const ROOMS = 'room_type "open" { access = {"any"} }';

async function join(hub, user, room, options) {
  const client = await hub.plain(user, options);
  assert.equal((await client.request('join_room', room)).ok, true);
  return client;
}

const ask = async (hub, room, query = '') =>
  (await hub.api('GET', `/api/v1/rooms/${encodeURIComponent(room)}/members${query}`)).body;

test('the members of a room, in pages', async () => {
  const hub = await startHub({ config: `${ROOMS}
    api_key "poster" { key = "poster-0123456789abc" scopes = {publish} }` });
  try {
    assert.deepEqual(await ask(hub, 'open:1'), { items: [], next: null, complete: true });
    for (const user of ['carl', 'anna', 'ben', 'anna', 'anna b']) await join(hub, user, 'open:1');
    await join(hub, 'dora', 'open:2');
    const items = [
      { userId: 'anna', sockets: 2 }, { userId: 'anna b', sockets: 1 },
      { userId: 'ben', sockets: 1 }, { userId: 'carl', sockets: 1 },
    ];
    assert.deepEqual(await ask(hub, 'open:1'), { items, next: null, complete: true });
    const first = await ask(hub, 'open:1', '?limit=2');
    assert.deepEqual(first, { items: items.slice(0, 2), next: 'anna b', complete: true });
    const rest = await ask(hub, 'open:1', `?limit=2&after=${encodeURIComponent(first.next)}`);
    assert.deepEqual(rest, { items: items.slice(2), next: null, complete: true });
    assert.deepEqual((await ask(hub, 'user:dora')).items, [{ userId: 'dora', sockets: 1 }]);
    for (const query of ['?limit=0', '?limit=101', '?limit=x', `?after=${'x'.repeat(200)}`]) {
      assert.equal((await ask(hub, 'open:1', query)).error.code, 'invalid_field', query);
    }
    assert.equal((await ask(hub, 'a/b')).error.code, 'invalid_field');
    const path = '/api/v1/rooms/open:1/members';
    const poster = { authorization: 'Bearer poster-0123456789abc' };
    assert.equal((await hub.api('GET', path, undefined, poster)).status, 403);
    assert.equal((await hub.api('GET', path, undefined, { authorization: 'Bearer nobody' })).status, 401);
  } finally {
    await hub.stop();
  }
});

test('a tenant has rooms of its own', async () => {
  const hub = await startHub({ config: `${ROOMS} auth { tenants = on }
    api_key "acme" { key = "acme-0123456789abcdef" scopes = {read} tenant = "acme" }` });
  try {
    await join(hub, 'anna', 'open:1', { claims: { tenant: 'acme' } });
    await join(hub, 'ben', 'open:1', { claims: { tenant: 'other' } });
    await join(hub, 'carl', 'open:1');
    const members = async (query) => (await ask(hub, 'open:1', query)).items.map(({ userId }) => userId);
    assert.deepEqual(await members(''), ['carl']);
    assert.deepEqual(await members('?tenant=acme'), ['anna']);
    const path = '/api/v1/rooms/open:1/members';
    const acme = { authorization: 'Bearer acme-0123456789abcdef' };
    const own = await hub.api('GET', path, undefined, acme);
    assert.deepEqual(own.body.items, [{ userId: 'anna', sockets: 1 }]);
    assert.equal((await hub.api('GET', `${path}?tenant=other`, undefined, acme)).status, 403);
  } finally {
    await hub.stop();
  }
});

test('the members on every node, and whether all have answered', { timeout: 120_000 }, async () => {
  const [redis, postgres] = await Promise.all([startRedis(), startPostgres()]);
  const start = (secret, apiKey) => startHub({ redis, postgres, secret, apiKey, config: ROOMS });
  const keys = [randomSecret(), randomSecret()];
  const hubs = await Promise.all([start(...keys), start(...keys)]);
  const clients = [redis.client(), redis.client()];
  const io = new Server(createServer(), { adapter: createAdapter(...clients) });
  try {
    await until(async () => (await io.of('/').adapter.serverCount()) === 3, 'they count each other');
    await join(hubs[0], 'anna', 'open:1');
    await join(hubs[1], 'anna', 'open:1');
    await join(hubs[1], 'ben', 'open:1');
    await join(hubs[1], 'carl', 'open:2');
    const items = [{ userId: 'anna', sockets: 2 }, { userId: 'ben', sockets: 1 }];
    for (const hub of hubs) {
      const answers = await Promise.all([1, 2, 3].map(() => ask(hub, 'open:1')));
      for (const answer of answers) assert.deepEqual(answer, { items, next: null, complete: true });
    }
    hubs[1].pause();
    const partial = await ask(hubs[0], 'open:1');
    assert.deepEqual(partial, { items: [{ userId: 'anna', sockets: 1 }], next: null, complete: false });
    hubs[1].resume();
    await until(async () => (await ask(hubs[0], 'open:1')).items.length === 2, 'it answers again');
  } finally {
    await io.close();
    for (const client of clients) client.disconnect();
    await Promise.all(hubs.map((hub) => hub.stop()));
    await Promise.all([redis.stop(), postgres.stop()]);
  }
});
