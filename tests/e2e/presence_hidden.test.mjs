// SPDX-License-Identifier: Apache-2.0
// A user who hides: a table of the paths on which others could learn that it is there, on two nodes, before, while and
// after it hides, also when it comes back elsewhere and when the nodes were restarted.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { startHub } from './support/hub.mjs';
import { startPostgres } from './support/postgres.mjs';
import { BASE, count } from './support/presence.mjs';
import { startRedis } from './support/redis.mjs';
import { StreamClient } from './support/stream_client.mjs';
import { randomSecret } from './support/tokens.mjs';
import { until, within } from './support/wait.mjs';

const ADMIN = 'admin-0123456789abc';
const CONFIG = `presence { visibility = tenant linger = 600s }
  room_type "open" { access = {"any"} presence = on }
  api_key "admin" { key = "${ADMIN}" scopes = {admin} }
  limits { unauthenticated_per_address = 100000 api_per_minute = 100000 }`;
const ROOM = 'open:den';
const HIDER = 'hilda';

let redis, postgres, hubs, watchers;

// What a client is told of the hider, in the order in which it comes: a Socket.IO client, and one of SSE, that follow it or
// are in its room.
class Watcher {
  static async start(hub, user) {
    const watcher = new Watcher();
    Object.assign(watcher, { hub, user, heard: [] });
    watcher.client = hub.socketIo(user);
    watcher.client.onAny((event, said) => watcher.take(event, said));
    await new Promise((resolve) => watcher.client.once('hub:ready', resolve));
    assert.equal((await watcher.client.emitWithAck('join_room', { roomId: ROOM })).ok, true);
    assert.deepEqual(await watcher.client.emitWithAck('presence:subscribe', { users: [HIDER] }), { ok: true });
    watcher.stream = new StreamClient(hub.url, { token: hub.token(`${user}.sse`), query: `rooms=${ROOM}`,
      onPacket: ([event, said]) => watcher.take(`sse:${event}`, said) }).open();
    await watcher.stream.has('room_joined');
    await watcher.has('presence:false');
    return watcher;
  }

  take(event, said) {
    if (said?.userId !== HIDER) return;
    const state = event === 'presence' ? said.online : event.endsWith('typing') ? said.typing : '';
    this.heard.push(`${event}:${state}`);
  }

  has(...wanted) {
    return until(() => wanted.every((event) => this.heard.includes(event)), () => `${wanted} in ${this.heard} of ${this.user}`, 60_000);
  }
}

// On which it is asked whether the hider is online: what a user learns, then what a backend does.
const asUser = (hub) => ({ authorization: `Bearer ${hub.token('asker')}` });
const USER_PATHS = {
  'presence:query': async (hub, watcher) => (await watcher.client.emitWithAck('presence:query', { users: [HIDER] })).users[HIDER],
  'POST query': async (hub) => (await hub.api('POST', `${BASE}/query`, { users: [HIDER] }, asUser(hub))).body.users[HIDER],
  'GET presence?users': async (hub) => (await hub.api('GET', `${BASE}?users=${HIDER}`, undefined, asUser(hub))).body.users[HIDER],
  'GET of the user': async (hub) => {
    const { complete, ...said } = (await hub.api('GET', `/api/v1/users/${HIDER}/presence`, undefined, asUser(hub))).body;
    return complete && said;
  },
  'a new subscription': async (hub) => {
    const client = hub.socketIo('late');
    const said = await new Promise((resolve) => {
      client.once('presence', resolve);
      client.emit('presence:subscribe', { users: [HIDER] });
    });
    client.disconnect();
    const { userId, ...how } = said;
    return userId === HIDER && how;
  },
};
const BACKEND_PATHS = {
  'GET of the user': async (hub) => (await hub.api('GET', `/api/v1/users/${HIDER}/presence`)).body,
  'POST query': async (hub) => (await hub.api('POST', `${BASE}/query`, { users: [HIDER] })).body.users[HIDER],
};

async function check({ online, hidden }) {
  const offline = { online: false, lastSeen: null };
  for (const [i, hub] of hubs.entries()) {
    for (const [path, ask] of Object.entries(USER_PATHS)) {
      assert.deepEqual(await ask(hub, watchers[i]), online && !hidden ? { ...offline, online } : offline, `${path} on ${i}`);
    }
    for (const [path, ask] of Object.entries(BACKEND_PATHS)) {
      const said = await ask(hub);
      assert.equal(said.online, online, `${path} of a backend on ${i}`);
      assert.equal(said.visible, hidden && online ? false : undefined, `${path} of a backend on ${i}`);
    }
  }
}

// The hider comes to a hub, and to the room.
async function come(hub) {
  const client = await hub.plain(HIDER);
  assert.equal((await client.request('join_room', { roomId: ROOM })).ok, true);
  return client;
}

// It is known to all nodes that the hider has so many connections.
const known = (connections) => Promise.all(hubs.map((hub) => until(async () =>
  (await BACKEND_PATHS['GET of the user'](hub)).connections === connections, `${connections} connections`, 60_000)));

const forget = () => watchers.forEach((watcher) => { watcher.heard.length = 0; });
// Events of one poster come in order: with these of another user behind them, what was to come has.
async function silent() {
  for (const [i, watcher] of watchers.entries()) {
    const marker = `marker${i}.${Math.random()}`;
    const client = await watcher.hub.plain(marker);
    const told = new Promise((resolve) => { watcher.client.on('user_joined_room', ({ userId }) => userId === marker && resolve()); });
    await client.request('join_room', { roomId: ROOM });
    await within(told, 'the marker');
    await watcher.stream.has('user_joined_room', ({ userId }) => userId === marker);
    client.close();
    assert.deepEqual(watcher.heard, [], watcher.user);
  }
}

before(async () => {
  [redis, postgres] = await Promise.all([startRedis(), startPostgres()]);
  const shared = { redis, postgres, config: CONFIG, secret: randomSecret(), apiKey: randomSecret() };
  hubs = await Promise.all([0, 1].map(() => startHub(shared)));
  watchers = await Promise.all(hubs.map((hub, i) => Watcher.start(hub, `watcher${i}`)));
});

after(async () => {
  await Promise.all((watchers ?? []).map((watcher) => watcher.stream.close()));
  await Promise.all((hubs ?? []).map((hub) => hub.stop()));
  await Promise.all([redis?.stop(), postgres?.stop()]);
});

test('hidden is hidden on every path', { timeout: 240_000 }, async () => {
  let client = await come(hubs[0]);
  await known(1);
  for (const watcher of watchers) await watcher.has('presence:true', 'user_joined_room:', 'sse:user_joined_room:');
  await check({ online: true, hidden: false });
  assert.deepEqual(await client.request('presence:set', { visible: false }), { ok: true, visible: false });
  for (const watcher of watchers) { // at once: who goes would linger for ten minutes
    await watcher.has('user_left_room:', 'sse:user_left_room:');
    await until(() => watcher.heard.lastIndexOf('presence:false') > watcher.heard.lastIndexOf('presence:true'), 'is told to be offline');
  }
  await check({ online: true, hidden: true });
  assert.deepEqual((await client.request('presence:query', [HIDER])).users[HIDER], { online: true, lastSeen: null, visible: false },
    'it sees itself');

  forget();
  await client.request('typing:start', { roomId: ROOM });
  await client.request('leave_room', { roomId: ROOM });
  await client.request('join_room', { roomId: ROOM });
  client.close();
  await known(0);
  for (const hub of [hubs[1], hubs[0]]) { // it comes back, elsewhere, and with another device
    client = await come(hub);
    const second = await come(hubs[0]);
    await known(2);
    await check({ online: true, hidden: true });
    assert.equal((await count(hub)).complete, true);
    second.close();
    client.close();
    await known(0);
    await check({ online: false, hidden: true });
  }
  await silent();

  client = await come(hubs[1]);
  await known(1);
  const sums = await until(async () => {
    const found = await count(hubs[0]);
    return found.users === 5 && found;
  }, 'it is counted', 60_000);
  assert.equal(sums.complete, true);
  assert.deepEqual(await client.request('presence:set', { visible: true }), { ok: true, visible: true });
  for (const watcher of watchers) await watcher.has('presence:true', 'user_joined_room:', 'sse:user_joined_room:');
  await check({ online: true, hidden: false });
  client.close();
  await known(0);
});

test('backends see, reach and end who hides', { timeout: 120_000 }, async () => {
  const client = await come(hubs[0]);
  await client.request('presence:set', { visible: false });
  await known(1);
  const members = (await hubs[1].api('GET', `/api/v1/rooms/${ROOM}/members`)).body.items.map(({ userId }) => userId);
  assert.ok(members.includes(HIDER));
  const { status, body } = await hubs[1].api('POST', `/api/v1/users/${HIDER}/disconnect`, undefined, { authorization: `Bearer ${ADMIN}` });
  assert.equal(status, 202);
  assert.equal(body.connections, 1);
  await within(client.closed, 'the end');
  await known(0);
});

test('it is kept over a restart of all nodes', { timeout: 240_000 }, async () => {
  const client = await come(hubs[0]);
  assert.deepEqual(await client.request('presence:set', { visible: false }), { ok: true, visible: false });
  await Promise.all(hubs.map((hub) => hub.kill()));
  await Promise.all(watchers.map((watcher) => watcher.stream.close()));
  await redis.client().call('FLUSHALL');
  await Promise.all(hubs.map((hub) => hub.restart()));
  watchers = await Promise.all(hubs.map((hub, i) => Watcher.start(hub, `again${i}`)));
  forget();
  await come(hubs[1]);
  await known(1);
  await check({ online: true, hidden: true });
  await silent();
});
