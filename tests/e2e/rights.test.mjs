// SPDX-License-Identifier: Apache-2.0
// What members may do, and where they may stay, when who let them in was a backend, or when their
// token or the rules have changed since.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { startHub } from './support/hub.mjs';
import { until } from './support/wait.mjs';

const hubs = new Set();
async function start(config) {
  const hub = await startHub({ config });
  hubs.add(hub);
  return hub;
}
after(() => Promise.all([...hubs].map((hub) => hub.stop())));

// Write `text` as the hub's file and have it loaded.
async function reload(hub, text) {
  const loaded = () => hub.log.split('\n').filter((line) => line.includes(' RELOAD ')).length;
  const before = loaded();
  writeFileSync(join(hub.folder, 'peal.conf'), text);
  hub.reload();
  await until(() => loaded() > before, 'the settings are loaded again');
}

const put = (hub, user, change) => hub.api('POST', `/api/v1/users/${user}/rooms`, change);
const say = (client, roomId) => client.request('send_message', { roomId, message: 'x' });
const refresh = (hub, client, user, claims) => client.request('auth:refresh', { token: hub.token(user, claims) });

// The backend has put `client` into `room`: what is sent to the room comes to it.
async function isIn(hub, client, room) {
  isIn.count = (isIn.count ?? 0) + 1;
  const mark = isIn.count;
  await until(async () => {
    await hub.api('POST', '/api/v1/events', { event: 'mark', args: [mark], to: { rooms: [room] } });
    return client.received('mark').some(([seen]) => seen === mark);
  }, `a member of ${room}`);
}

describe('who may speak', () => {
  test('one whom a backend put into a room speaks as the rule for sending says, whatever that for joining', async () => {
    const hub = await start(`
      room_type "closed" { access = {"role:reader"} send = {"nobody"} }
      room_type "locked" { access = {"deny"} send = {"role:host"} }
      room_type "chosen" { access = {"deny"} }`);
    const guest = await hub.plain('guest');
    const host = await hub.plain('host', { claims: { role: 'host' } });
    for (const room of ['closed:1', 'locked:1', 'chosen:1']) {
      for (const [user, client] of [['guest', guest], ['host', host]]) {
        assert.equal((await put(hub, user, { join: [room] })).status, 202);
        await isIn(hub, client, room);
      }
    }
    for (const client of [guest, host]) {
      assert.equal((await say(client, 'closed:1')).error, 'forbidden');
      assert.equal((await client.request('typing:start', { roomId: 'closed:1' })).error, 'forbidden');
      assert.equal((await say(client, 'chosen:1')).ok, true);
    }
    assert.equal((await say(guest, 'locked:1')).error, 'forbidden');
    assert.equal((await say(host, 'locked:1')).ok, true);
  });

  test('a weaker token gives no right to speak', async () => {
    const hub = await start('room_type "desk" { access = {"role:host", "role:guest"} send = {"role:host"} }');
    const client = await hub.plain('ida', { claims: { role: 'host' } });
    assert.equal((await client.request('join_room', 'desk:1')).ok, true);
    assert.equal((await say(client, 'desk:1')).ok, true);
    for (const role of ['guest', 'nobody']) {
      assert.equal((await refresh(hub, client, 'ida', { role })).ok, true);
      assert.equal((await say(client, 'desk:1')).error, 'forbidden', role);
    }
  });

  test('rules that are loaded again bind members', async () => {
    const type = (send) => `room_type "hall" { access = {"any"} send = {"${send}"} }`;
    const hub = await start(type('member'));
    const client = await hub.plain('jon');
    assert.equal((await client.request('join_room', 'hall:1')).ok, true);
    assert.equal((await say(client, 'hall:1')).ok, true);
    await reload(hub, type('nobody'));
    await until(async () => (await say(client, 'hall:1')).error === 'forbidden', 'speaking is refused');
    await reload(hub, 'room_type "hall" { access = {"deny"} send = {"nobody"} }');
    assert.equal((await say(client, 'hall:1')).error, 'forbidden');
  });
});

describe('where one may stay', () => {
  const rooms = (claims) => ({ claims: { rooms: claims } });
  const left = (client) => client.received('room_left').map(([body]) => body);

  test('a token with fewer rights leaves the rooms it does not allow, and is told; a backend\'s choice stays', async () => {
    const hub = await start('room_type "job" { access = {"role:staff"} }\nroom_type "own" { access = {"deny"} }');
    const other = await hub.plain('other', rooms(['project:*']));
    const claims = { role: 'staff', rooms: ['project:1', 'project:2'] };
    const client = await hub.plain('kim', { claims });
    for (const room of ['project:1', 'project:2', 'job:1', 'public:a']) {
      assert.equal((await client.request('join_room', room)).ok, true, room);
    }
    assert.equal((await other.request('join_room', 'project:2')).ok, true);
    for (const room of ['own:1', 'job:2', 'project:1']) { // the last one on top of the client's own join
      assert.equal((await put(hub, 'kim', { join: [room] })).status, 202);
      await isIn(hub, client, room);
    }
    assert.equal((await refresh(hub, client, 'kim', { rooms: ['project:3'] })).ok, true);
    const expected = ['job:1', 'project:2'].map((roomId) => ({
      roomId, roomType: roomId.split(':')[0], reason: 'forbidden',
    }));
    const byRoom = (a, b) => (a.roomId < b.roomId ? -1 : 1);
    assert.deepEqual([...left(client)].sort(byRoom), expected);
    assert.equal((await other.next('user_left_room')).userId, 'kim');
    for (const room of ['own:1', 'job:2', 'project:1', 'public:a']) await isIn(hub, client, room);
    assert.equal((await client.request('join_room', 'project:3')).ok, true);
    const { body } = await hub.api('GET', '/api/v1/rooms/project:2/members');
    assert.deepEqual(body.items.map((item) => item.userId ?? item.id), ['other']);
  });

  test('a newer token joins the rooms that its role joins by itself, once, and leaves those of the old one', async () => {
    const hub = await start(`room_type "desk" { access = {"role:staff", "role:boss"} auto_join = {"desk:{role}", "desk:all"} }
      limits { rooms = 2 }`);
    const other = await hub.plain('other', { claims: { role: 'staff' } });
    const client = await hub.plain('mia', { claims: { role: 'guest' } });
    await isIn(hub, other, 'desk:staff');
    assert.equal((await say(client, 'desk:all')).error, 'forbidden', 'a guest is in none');
    for (const round of [1, 2]) {
      assert.equal((await refresh(hub, client, 'mia', { role: 'staff' })).ok, true);
      for (const room of ['desk:staff', 'desk:all']) {
        assert.equal((await say(client, room)).ok, true, `${room}, round ${round}`);
      }
    }
    const members = async (room) => (await hub.api('GET', `/api/v1/rooms/${room}/members`)).body.items.map((item) => item.userId ?? item.id).sort();
    assert.deepEqual(await members('desk:staff'), ['mia', 'other']);
    assert.equal((await refresh(hub, client, 'mia', { role: 'guest' })).ok, true);
    assert.equal((await say(client, 'desk:all')).error, 'forbidden', 'a guest is in none again');
  });

  test('a backend takes out whom it put in, and a client that leaves has left', async () => {
    const hub = await start('room_type "own" { access = {"deny"} }');
    const client = await hub.plain('lea');
    await put(hub, 'lea', { join: ['own:1', 'own:2'] });
    for (const room of ['own:1', 'own:2']) await isIn(hub, client, room);
    await put(hub, 'lea', { leave: ['own:1'] });
    assert.equal((await client.request('leave_room', 'own:2')).ok, true);
    await until(async () => (await say(client, 'own:1')).message === 'Not in this room', 'out of own:1');
    assert.equal((await say(client, 'own:2')).message, 'Not in this room');
  });

  test('stricter rules take members out, also those of a join under way, and all of many', async () => {
    const type = (access) => `shards = 1\nroom_type "hall" { access = {"${access}"} }
      room_type "nook" { access = {"any"} }`;
    const hub = await start(type('any'));
    const clients = [];
    for (let i = 0; i < 12; i++) {
      const client = await hub.plain(`user-${i}`);
      const names = Array.from({ length: 100 }, (_, n) => `hall:${n}`);
      await Promise.all([...names, 'nook:1'].map((room) => client.request('join_room', room)));
      clients.push(client);
    }
    await put(hub, 'user-0', { join: ['hall:chosen'] });
    await isIn(hub, clients[0], 'hall:chosen');
    await reload(hub, type('role:nobody'));
    for (const client of clients) {
      await until(() => left(client).length === 100, 'all halls are left');
      assert.ok(left(client).every(({ roomId, reason }) => roomId.startsWith('hall:') && reason === 'forbidden'));
      await isIn(hub, client, 'nook:1');
    }
    await isIn(hub, clients[0], 'hall:chosen');
    await until(() => / RULES-APPLIED .*rooms=1200 closed=0/.test(hub.log), 'the log says what the rules did');
  });

  test('who may not be in a namespace any more is sent away', async () => {
    const type = (role) => `namespace "/staff" { access = {"role:${role}"} }`;
    const hub = await start(type('staff'));
    const connect = async (user) => {
      const socket = hub.socketIo(user, { nsp: '/staff', claims: { role: 'staff' }, reconnection: false });
      const ended = new Promise((resolve) => socket.once('hub:closing', resolve));
      await until(() => socket.connected, 'connected');
      return { socket, ended };
    };
    const [mo, ned] = [await connect('mo'), await connect('ned')];
    mo.socket.emit('auth:refresh', { token: hub.token('mo', { role: 'guest' }) });
    assert.equal((await mo.ended).code, 4403);
    await until(() => !mo.socket.connected, 'sent away');
    assert.equal(ned.socket.connected, true);
    await reload(hub, type('boss'));
    assert.equal((await ned.ended).code, 4403);
  });
});
