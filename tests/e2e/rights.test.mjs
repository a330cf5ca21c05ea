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
