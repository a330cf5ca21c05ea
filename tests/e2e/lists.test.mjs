// SPDX-License-Identifier: Apache-2.0
// Rooms and connections of all nodes, in pages; and the end of one connection, wherever it is.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { PealServer } from '../../clients/node/index.js';
import { startHub } from './support/hub.mjs';
import { startRedis } from './support/redis.mjs';
import { startPostgres } from './support/postgres.mjs';
import { StreamClient } from './support/stream_client.mjs';
import { randomSecret } from './support/tokens.mjs';
import { until } from './support/wait.mjs';

const KEY = 'lists-0123456789abcdef';
const CONFIG = `api_key "ops" { key = "${KEY}" scopes = {read, admin} }
                room_type "chat" { access = {"any"} presence = off }
                limits { joins_burst = 100000 rooms = 200 }
`;

const good = async (hub, path) => {
  const { status, body } = await hub.api('GET', path);
  assert.equal(status, 200, JSON.stringify(body));
  return body;
};

// All pages of a list, `limit` rows each.
async function readAll(hub, path, limit) {
  const rows = [];
  for (let after = ''; after !== null;) {
    const body = await good(hub, `${path}${path.includes('?') ? '&' : '?'}limit=${limit}${after && `&after=${encodeURIComponent(after)}`}`);
    assert.equal(body.complete, true);
    assert.ok(body.items.length <= limit);
    rows.push(...body.items);
    after = body.next;
  }
  return rows;
}

const joinAll = async (client, rooms) => {
  for (const roomId of rooms) assert.equal((await client.request('join_room', { roomId })).ok, true);
};
const end = (hub, sid, query = '') =>
  hub.api('POST', `/api/v1/connections/${sid}/disconnect${query}`, undefined, { authorization: `Bearer ${KEY}` });

describe('three nodes', () => {
  let redis, postgres, hubs;
  before(async () => {
    [redis, postgres] = await Promise.all([startRedis(), startPostgres()]);
    const shared = { redis, postgres, config: CONFIG, secret: randomSecret(), apiKey: randomSecret() };
    hubs = await Promise.all([0, 1, 2].map(() => startHub(shared)));
  });
  after(async () => {
    await Promise.all((hubs ?? []).map((hub) => hub.stop()));
    await Promise.all([redis?.stop(), postgres?.stop()]);
  });

  test('rooms are listed once, with what all nodes have, in pages from any of them', async () => {
    const names = Array.from({ length: 50 }, (_, n) => `chat:${String(n).padStart(2, '0')}`);
    const clients = await Promise.all(hubs.map((hub, i) => hub.plain(`ann-${i}`)));
    await joinAll(clients[0], names);
    await joinAll(clients[1], names.filter((_, n) => n % 2 === 0));
    await joinAll(clients[2], ['chat:00', 'public:z']);
    const expected = names.map((roomId, n) => {
      const nodes = 1 + (n % 2 === 0) + (n === 0);
      return { roomId, connections: nodes, nodes };
    });
    for (const hub of hubs) {
      for (const limit of [7, 100]) assert.deepEqual(await readAll(hub, '/api/v1/rooms?prefix=chat:', limit), expected);
    }
    const all = await readAll(hubs[0], '/api/v1/rooms', 20);
    assert.deepEqual(all, [...expected, { roomId: 'public:z', connections: 1, nodes: 1 }]);
    for (const client of clients) client.close();
    await until(async () => (await good(hubs[0], '/api/v1/rooms')).items.length === 0, 'nobody is in any');
  });

  test('connections are listed with what is known of them', async () => {
    const stream = new StreamClient([hubs[1].url], { token: hubs[1].token('cat'), query: 'rooms=chat:c' }).open();
    const [plain, socket] = [await hubs[0].plain('ann'), hubs[2].socketIo('ann')];
    await joinAll(plain, ['chat:a', 'chat:c']);
    await until(() => socket.connected, 'it is connected');
    await stream.has('room_joined');
    const rows = await until(async () => {
      const found = await readAll(hubs[1], '/api/v1/connections', 2);
      return found.length === 3 && found;
    }, 'all three');
    assert.deepEqual(rows.map(({ sid }) => sid), rows.map(({ sid }) => sid).toSorted());
    const kinds = Object.fromEntries(rows.map((row) => [row.transport, row]));
    assert.deepEqual(Object.keys(kinds).sort(), ['plain', 'stream', 'websocket']);
    assert.deepEqual(kinds.plain.rooms, ['chat:a', 'chat:c']);
    assert.equal(kinds.plain.roomCount, 2);
    assert.equal(kinds.websocket.sid, socket.id);
    assert.equal(new Set(rows.map(({ node }) => node)).size, 3);
    for (const { address, namespace, since, lastHeard } of rows) {
      assert.equal(address, '127.0.0.1');
      assert.equal(namespace, '/');
      assert.ok(Date.parse(since) <= Date.parse(lastHeard) && Math.abs(Date.parse(since) - Date.now()) < 600_000);
    }
    const only = async (query) => (await readAll(hubs[2], `/api/v1/connections?${query}`, 5)).map(({ sid }) => sid);
    assert.deepEqual(await only('user=cat'), [kinds.stream.sid]);
    assert.deepEqual((await only('room=chat:c')).toSorted(), [kinds.plain.sid, kinds.stream.sid].toSorted());
    assert.deepEqual(await only(`node=${kinds.websocket.node}`), [socket.id]);
    assert.deepEqual(await only('user=nobody'), []);
    await stream.close();
    plain.close();
    socket.close();
  });

  test('one connection is ended, wherever it is, and who asks is told whether there was one', async () => {
    const [one, two] = [await hubs[0].plain('dan'), await hubs[0].plain('dan')];
    const rows = await readAll(hubs[2], '/api/v1/connections?user=dan', 5);
    assert.equal(rows.length, 2);
    const ended = await end(hubs[1], rows[0].sid);
    assert.equal(ended.status, 202, JSON.stringify(ended.body));
    assert.equal(ended.body.connections, 1);
    assert.equal(ended.body.connection.userId, 'dan');
    const { code } = await Promise.race([one.closed, two.closed]);
    assert.equal(code, 4403);
    await until(async () => (await readAll(hubs[2], '/api/v1/connections?user=dan', 5)).length === 1, 'the other one stays');
    const again = await end(hubs[1], rows[0].sid);
    assert.deepEqual([again.status, again.body.error.field], [404, 'sid']);
    assert.equal((await end(hubs[0], rows[1].sid)).status, 202, 'here');
    const wrong = await end(hubs[0], 'nonsense');
    assert.deepEqual([wrong.status, wrong.body.error.field], [422, 'sid']);
  });

  test('@peal/server has them', async () => {
    const server = new PealServer({ url: hubs[1].url, key: KEY });
    const client = await hubs[0].plain('fay');
    await joinAll(client, ['chat:fay']);
    assert.deepEqual((await server.rooms({ prefix: 'chat:fay' })).items, [{ roomId: 'chat:fay', connections: 1, nodes: 1 }]);
    const { items: [{ sid, rooms }] } = await server.connections({ user: 'fay' });
    assert.deepEqual(rooms, ['chat:fay']);
    assert.equal((await server.disconnectOne(sid)).connections, 1);
    assert.equal((await client.closed).code, 4403);
    await assert.rejects(server.disconnectOne(sid), { code: 'not_found', field: 'sid' });
  });

  test('what is wrong in a question is named', async () => {
    for (const [path, field] of [
      ['/api/v1/rooms?limit=0', 'limit'], ['/api/v1/rooms?limit=101', 'limit'], ['/api/v1/rooms?prefix=a%2Fb', 'prefix'],
      ['/api/v1/rooms?after=a%00', 'after'], ['/api/v1/connections?user=a%2Fb', 'user'], ['/api/v1/connections?room=a%2Fb', 'room'],
    ]) {
      const { status, body } = await hubs[0].api('GET', path);
      assert.deepEqual([status, body.error.field], [422, field], path);
    }
  });

  test('a node that stands still is missed, and said to be', async () => {
    const client = await hubs[0].plain('eve');
    const far = await hubs[2].plain('eve');
    await joinAll(client, ['chat:still']);
    await joinAll(far, ['chat:still']);
    hubs[2].pause();
    const body = await good(hubs[0], '/api/v1/rooms?prefix=chat:still');
    const lost = await end(hubs[0], 'A'.repeat(23));
    hubs[2].resume();
    assert.deepEqual(body.items, [{ roomId: 'chat:still', connections: 1, nodes: 1 }]);
    assert.equal(body.complete, false);
    assert.ok([404, 422, 503].includes(lost.status));
    assert.notEqual(lost.status, 404, 'that is not known');
    await until(async () => (await good(hubs[0], '/api/v1/rooms?prefix=chat:still')).items[0].connections === 2, 'it is back');
    await hubs[2].kill();
    await until(async () => {
      const { items, complete } = await good(hubs[0], '/api/v1/rooms?prefix=chat:still');
      return complete && items[0].connections === 1;
    }, 'one that is dead is not missed for long', 60_000);
  });
});

test('a node alone, and tenants apart', async (t) => {
  const hub = await startHub({ config: `${CONFIG} auth { tenants = on }` });
  t.after(() => hub.stop());
  const clients = await Promise.all(['red', 'blue'].map((tenant) => hub.plain('ann', { claims: { tenant } })));
  for (const client of clients) await joinAll(client, ['chat:a']);
  for (const tenant of ['red', 'blue']) {
    assert.deepEqual(await readAll(hub, `/api/v1/rooms?tenant=${tenant}`, 5), [{ roomId: 'chat:a', connections: 1, nodes: 1 }]);
    assert.equal((await readAll(hub, `/api/v1/connections?tenant=${tenant}`, 5)).length, 1);
  }
  assert.deepEqual(await readAll(hub, '/api/v1/rooms', 5), [], 'of no tenant');
  const [{ sid }] = await readAll(hub, '/api/v1/connections?tenant=red', 5);
  assert.equal((await end(hub, sid, '?tenant=blue')).status, 404, 'another tenant has none of that name');
  assert.equal((await end(hub, sid)).status, 404);
  assert.equal((await end(hub, sid, '?tenant=red')).status, 202);
  assert.equal((await clients[0].closed).code, 4403);
});
