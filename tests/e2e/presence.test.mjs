// SPDX-License-Identifier: Apache-2.0
// Who is online: on three nodes over one Redis whose data go, and on one node without. What is left of nodes that
// end is in presence_kill.test.mjs.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import WebSocket from 'ws';
import { Peal } from '../../clients/js/peal.js';
import { startHub } from './support/hub.mjs';
import { startPostgres } from './support/postgres.mjs';
import { BASE, connectAll, count, counted, Follower, online, show } from './support/presence.mjs';
import { startRedis } from './support/redis.mjs';
import { makeToken, randomSecret } from './support/tokens.mjs';
import { until, within } from './support/wait.mjs';

const FULL = process.env.PEAL_FULL === '1';
const ADMIN = 'admin-0123456789abc';
const LINGER = 5; // s
const CONFIG = `presence { visibility = tenant linger = ${LINGER}s }
  api_key "admin" { key = "${ADMIN}" scopes = {admin} }
  limits { unauthenticated_per_address = 100000 api_per_minute = 100000 }`;

test('one node without Redis', async () => {
  const hub = await startHub({ config: CONFIG });
  try {
    assert.deepEqual(await count(hub), { users: 0, connections: 0, nodes: 1, complete: true });
    const anna = await hub.plain('anna');
    const again = await hub.plain('anna');
    const ben = await hub.socketIo('ben');
    await new Promise((resolve) => ben.once('hub:ready', resolve));
    const node = (await show(hub, 'anna')).nodes[0];
    assert.deepEqual(await show(hub, 'anna'), { online: true, lastSeen: null, nodes: [node], connections: 2, complete: true });
    assert.deepEqual(await show(hub, 'carl'), { online: false, lastSeen: null, nodes: [], connections: 0, complete: true });
    assert.deepEqual(await count(hub), { users: 2, connections: 3, nodes: 1, complete: true });
    const answer = await ben.emitWithAck('presence:query', { users: ['anna', 'carl', 'ben', 'anna'] });
    assert.deepEqual(answer, { ok: true,
      users: { anna: { online: true, lastSeen: null }, carl: { online: false, lastSeen: null }, ben: { online: true, lastSeen: null } },
      complete: true });
    assert.deepEqual((await anna.request('presence:query', ['ben'])).users, { ben: { online: true, lastSeen: null } });
    anna.close();
    again.close();
    ben.disconnect();
    await until(async () => (await count(hub)).users === 0, 'nobody');
    assert.equal((await show(hub, 'anna')).online, false);
    assert.equal(await hub.metric('peal_presence_users'), 0);
  } finally {
    await hub.stop();
  }
});

test('whom a user sees', async () => {
  const secret = randomSecret();
  const config = (visibility) => `presence { visibility = ${visibility} } auth { tenants = on }`;
  for (const [visibility, sees] of [['nobody', false], ['rooms', false], ['tenant', true], ['all', true]]) {
    const hub = await startHub({ config: config(visibility), secret });
    try {
      const acme = { claims: { tenant: 'acme' } };
      const [anna] = await Promise.all([hub.plain('anna', acme), hub.plain('ben', acme), hub.plain('ben', { claims: { tenant: 'other' } }),
        hub.plain('carl', { claims: { tenant: 'other' } })]);
      const users = ['anna', 'ben', 'carl'];
      const wanted = { anna: { online: true, lastSeen: null }, ben: { online: sees, lastSeen: null }, carl: { online: false, lastSeen: null } };
      assert.deepEqual((await anna.request('presence:query', { users })).users, wanted, visibility);
      const token = { authorization: `Bearer ${makeToken('anna', secret, { tenant: 'acme' })}` };
      assert.deepEqual((await hub.api('POST', `${BASE}/query`, { users }, token)).body.users, wanted, visibility);
      assert.deepEqual((await hub.api('GET', `${BASE}?users=anna,ben,carl`, undefined, token)).body.users, wanted, visibility);
      const alone = (await hub.api('GET', '/api/v1/users/ben/presence', undefined, token)).body;
      assert.deepEqual(alone, { online: sees, lastSeen: null, complete: true }, visibility);
      assert.equal((await hub.api('GET', `${BASE}?users=carl&tenant=acme`)).body.users.carl.online, false);
      assert.equal((await hub.api('GET', `${BASE}?users=carl&tenant=other`)).body.users.carl.online, true);
    } finally {
      await hub.stop();
    }
  }
});

test('who is followed, on one node', async () => {
  const hub = await startHub({ config: CONFIG });
  try {
    const ben = await hub.plain('ben');
    const follower = await Follower.start(hub, 'anna', ['ben', 'carl']);
    assert.deepEqual([...follower.told.values()], [[true], [false]]);
    const carl = await hub.plain('carl');
    await until(() => follower.last('carl'), 'carl has come');
    ben.close();
    carl.close();
    const again = await hub.plain('carl');
    await until(() => follower.last('ben') === false, 'ben has gone');
    assert.deepEqual([...follower.told.values()], [[true, false], [false, true]]);
    assert.deepEqual(await follower.client.emitWithAck('presence:unsubscribe', { users: ['carl'] }), { ok: true });
    again.close();
    await hub.plain('ben');
    await until(() => follower.last('ben'), 'ben is back');
    assert.deepEqual(follower.told.get('carl'), [false, true]);
  } finally {
    await hub.stop();
  }
});

test('peal.js follows across connections, and tells what changed', async () => {
  const hub = await startHub({ config: CONFIG });
  const peal = new Peal({ WebSocket, backoffMin: 10, backoffMax: 100 });
  try {
    const told = [];
    peal.on('presence', ({ userId, online }) => told.push([userId, online]));
    await peal.connect(`${hub.url}/ws`, { token: () => hub.token('anna') });
    await Promise.all([hub.plain('ben'), hub.plain('carl')]);
    await peal.follow(['ben', 'carl', 'dora']);
    await until(() => told.length === 3, 'how all are');
    assert.deepEqual(new Map(told), new Map([['ben', true], ['carl', true], ['dora', false]]));
    assert.deepEqual(await peal.presence(['ben']), { ben: { online: true, lastSeen: null } });
    hub.closeSockets();
    await hub.kill();
    await hub.restart();
    await hub.plain('ben');
    await until(() => told.length >= 4, 'carl is not back', 60_000);
    await until(async () => (await peal.presence(['ben']).catch(() => ({}))).ben?.online, 'connected');
    await hub.plain('dora');
    await until(() => told.some(([user, online]) => user === 'dora' && online), 'dora has come');
    assert.equal(told.filter(([user, online]) => user === 'carl' && !online).length, 1);
    await peal.setVisible(false);
    assert.deepEqual(await peal.presence(['anna']), { anna: { online: true, lastSeen: null, visible: false } });
    await assert.rejects(peal.setVisible(1), { code: 'invalid_field', field: 'visible' });
    await peal.unfollow(['dora']);
    await assert.rejects(peal.follow(['a/b']), { code: 'invalid_field', field: 'users' });
  } finally {
    peal.close();
    await hub.stop();
  }
});

describe('three nodes', () => {
  let redis, postgres, hubs, shared;

  before(async () => {
    [redis, postgres] = await Promise.all([startRedis(), startPostgres()]);
    shared = { redis, postgres, config: CONFIG, secret: randomSecret(), apiKey: randomSecret() };
    hubs = await Promise.all([0, 1, 2].map(() => startHub(shared)));
  });

  after(async () => {
    await Promise.all((hubs ?? []).map((hub) => hub.stop()));
    await Promise.all([redis?.stop(), postgres?.stop()]);
  });

  test('two devices of one user on two nodes are one user', async () => {
    await counted(hubs[2], 0, 0, 3);
    const first = await hubs[0].plain('anna');
    const second = await hubs[1].plain('anna');
    const there = await until(async () => {
      const anna = await show(hubs[2], 'anna');
      return anna.connections === 2 && anna;
    }, 'both are known');
    assert.equal(there.online, true);
    assert.equal(new Set(there.nodes).size, 2);
    for (const hub of hubs) await counted(hub, 1, 2, 3);
    first.close();
    await until(async () => (await show(hubs[2], 'anna')).nodes.length === 1, 'one has gone');
    for (const hub of hubs) await counted(hub, 1, 1, 3);
    second.close();
    await until(async () => !(await show(hubs[2], 'anna')).online, 'both have gone');
    for (const hub of hubs) await counted(hub, 0, 0, 3);
  });

  test('who ends a user is told what was reached', async () => {
    const end = (hub) => hub.api('POST', '/api/v1/users/ended/disconnect', undefined, { authorization: `Bearer ${ADMIN}` });
    const devices = await Promise.all([hubs[0].plain('ended'), hubs[1].plain('ended'), hubs[1].plain('ended')]);
    const before = await until(async () => {
      const found = await show(hubs[2], 'ended');
      return found.connections === 3 && found;
    }, 'all are known');
    const { status, body } = await end(hubs[2]);
    assert.equal(status, 202);
    assert.deepEqual({ ...body, nodes: body.nodes.sort() },
      { accepted: true, nodes: before.nodes.sort(), connections: 3, complete: true });
    await Promise.all(devices.map(({ closed }) => within(closed, 'the end')));
    await until(async () => !(await show(hubs[2], 'ended')).online, 'gone');
    const again = await end(hubs[0]);
    assert.deepEqual(again.body, { accepted: true, nodes: [], connections: 0, complete: true });
  });

  test('an empty Redis is told again', async () => {
    const users = Array.from({ length: 30 }, (_, i) => `e${i}`);
    const clients = [];
    for (const [i, hub] of hubs.entries()) clients.push(...await connectAll(hub, users.slice(i * 10, i * 10 + 10)));
    for (const hub of hubs) await counted(hub, 30, 30, 3);
    await redis.client().call('FLUSHALL');
    for (const hub of hubs) await until(async () => (await online(hub, users)).size === 30, 'all are there again');
    await redis.kill();
    const alone = await until(async () => {
      const sums = await count(hubs[0]);
      return !sums.complete && sums;
    }, 'without Redis it is not complete', 60_000);
    assert.deepEqual(alone, { users: 10, connections: 10, nodes: 1, complete: false });
    assert.equal((await show(hubs[0], 'e0')).online, true);
    assert.equal((await show(hubs[0], 'e0')).complete, false);
    assert.equal((await show(hubs[0], 'e29')).online, false);
    await redis.restart();
    for (const hub of hubs) await counted(hub, 30, 30, 3);
    for (const hub of hubs) await until(async () => (await online(hub, users)).size === 30, 'each shard has Redis again');
    for (const client of clients) client.close();
    for (const hub of hubs) await counted(hub, 0, 0, 3);
  });

  test('phones that drop again and again make no event', { timeout: 240_000 }, async () => {
    const users = Array.from({ length: FULL ? 1000 : 60 }, (_, i) => `p${i}`);
    const rounds = FULL ? 6 : 3;
    const names = users.slice(0, 500);
    let clients = [];
    for (const [i, user] of users.entries()) clients.push(await hubs[i % 3].plain(user));
    for (const hub of hubs) await counted(hub, users.length, users.length, 3);
    const followers = await Promise.all(hubs.map((hub, i) => Follower.start(hub, `follower${i}`, names)));
    const before = followers.map(({ events }) => events);
    assert.deepEqual(before, hubs.map(() => names.length));
    for (let round = 1; round <= rounds; round++) {
      for (let at = 0; at < users.length; at += 20) { // these are away for less than the time of grace
        for (const client of clients.slice(at, at + 20)) client.close();
        const back = await Promise.all(users.slice(at, at + 20).map((user, i) => hubs[(at + i + round) % 3].plain(user)));
        clients.splice(at, 20, ...back);
      }
    }
    for (const hub of hubs) await counted(hub, users.length + 3, users.length + 3, 3);
    await new Promise((resolve) => setTimeout(resolve, 2 * LINGER * 1000)); // what would be told has been by now
    assert.deepEqual(followers.map(({ events }) => events), before);
    for (const client of clients) client.close();
    for (const follower of followers) {
      await follower.has(names, 2);
      assert.equal(follower.events, 2 * names.length);
      follower.client.disconnect();
    }
    for (const hub of hubs) await counted(hub, 0, 0, 3);
  });
});
