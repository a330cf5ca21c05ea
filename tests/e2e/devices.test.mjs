// SPDX-License-Identifier: Apache-2.0
// Devices: registered by every way and seen by all, one user's at a time, in front while their connection says so;
// on SQLite and on two nodes over Postgres and Redis.
import assert from 'node:assert/strict';
import { randomBytes, randomUUID, createECDH } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import WebSocket from 'ws';
import { Peal } from '../../clients/js/peal.js';
import { startHub } from './support/hub.mjs';
import { ADMIN, storesWith } from './support/inbox.mjs';
import { until } from './support/wait.mjs';

const pathOf = (user, device) => `/api/v1/users/${user}/devices${device === undefined ? '' : `/${device}`}`;

let users = 0;
const newUser = () => `owner-${++users}`;

function subscription() {
  const keys = { p256dh: createECDH('prime256v1').generateKeys('base64url'), auth: randomBytes(16).toString('base64url') };
  return { endpoint: `https://push.example/send/${randomUUID()}`, expirationTime: null, keys };
}
const token = () => ({ platform: 'android', token: randomUUID() });

async function overSocketIo(hub, user) {
  const socket = hub.socketIo(user);
  let ready = false;
  socket.on('hub:ready', () => { ready = true; });
  await until(() => ready, 'hub:ready on Socket.IO');
  return { ask: (event, ...argument) => socket.emitWithAck(event, ...argument), end: () => socket.disconnect() };
}

async function overWs(hub, user) {
  let ready = false;
  const client = await hub.plain(user, { encoding: 'msgpack', onEvent: ([event]) => { ready ||= event === 'hub:ready'; } });
  await until(() => ready, 'hub:ready on /ws');
  return { ask: (event, argument) => client.request(event, argument), end: () => client.close() };
}

const stores = storesWith('limits { devices = 3 }\n');

for (const [store, start] of Object.entries(stores)) {
  describe(`devices, ${store}`, () => {
    let rig;
    const api = async (method, path, body, hub = rig.hubs[0]) => {
      const answer = await hub.api(method, path, body);
      return answer.status === 204 ? 204 : answer.status >= 400 ? answer.status : answer.body;
    };
    const listed = async (user) => (await api('GET', pathOf(user))).items;
    const ids = async (user) => (await listed(user)).map(({ id }) => id).sort();
    before(async () => { rig = await start(); });
    after(() => rig?.stop());

    test('are registered by Socket.IO, /ws and HTTP, and told without their secrets', async () => {
      const user = newUser();
      const said = subscription();
      const client = await overSocketIo(rig.hubs[0], user);
      const { ok, device } = await client.ask('device:register', { platform: 'web', subscription: said, locale: 'de-DE', timezone: 'Europe/Berlin' });
      assert.equal(ok, true);
      const { id, createdAt, registeredAt, ...rest } = device;
      assert.match(id, /^[0-9a-f]{8}-[0-9a-f]{4}-7/);
      assert.deepEqual(rest, { platform: 'web', origin: 'https://push.example', locale: 'de-DE', timezone: 'Europe/Berlin', foreground: false });
      assert.ok(Date.parse(createdAt) <= Date.parse(registeredAt));
      const plain = await overWs(rig.hubs[1], user);
      const phone = await plain.ask('device:register', { ...token(), id: randomUUID() });
      const third = randomUUID();
      const put = await api('PUT', pathOf(user, third), { platform: 'ios', token: 'ab'.repeat(32) }, rig.hubs[1]);
      assert.equal(put.id, third);
      assert.deepEqual(await ids(user), [id, phone.device.id, third].sort());
      assert.deepEqual(await api('GET', pathOf(user, id)), device);
      const text = JSON.stringify(await listed(user));
      for (const secret of [said.endpoint, said.keys.auth, said.keys.p256dh, 'abab']) assert.ok(!text.includes(secret), secret);
      assert.equal(await api('GET', pathOf(user, randomUUID())), 404);
      assert.equal(await api('GET', pathOf(user, 'x')), 404);
      assert.equal(await api('DELETE', pathOf(user, third)), 204);
      assert.equal(await api('DELETE', pathOf(user, third)), 404);
      client.end();
      plain.end();
    });

    test('keep their id when they register again, and one of each address is kept', async () => {
      const user = newUser();
      const said = token();
      const client = await overWs(rig.hubs[0], user);
      const first = (await client.ask('device:register', said)).device;
      const again = (await client.ask('device:register', { ...said, locale: 'fr' })).device;
      assert.deepEqual([again.id, again.createdAt, again.locale], [first.id, first.createdAt, 'fr']);
      const renewed = (await client.ask('device:register', { ...token(), id: first.id })).device;
      assert.equal(renewed.id, first.id);
      const chosen = randomUUID();
      await client.ask('device:register', { ...said, id: chosen });
      assert.deepEqual(await ids(user), [chosen, first.id].sort());
      client.end();
    });

    test('belong to who registered last', async () => {
      const [ann, bob] = [newUser(), newUser()];
      const said = token();
      const moved = await rig.hubs[0].metric('peal_devices_moved_total');
      await api('PUT', pathOf(ann, randomUUID()), said);
      const bobs = randomUUID();
      await api('PUT', pathOf(bob, bobs), said);
      assert.deepEqual([await ids(ann), await ids(bob)], [[], [bobs]]);
      await api('PUT', pathOf(ann, bobs), token()); // an id is its user's
      assert.deepEqual([await ids(ann), await ids(bob)], [[bobs], [bobs]]);
      assert.equal(await rig.hubs[0].metric('peal_devices_moved_total'), moved + 1);
      await until(() => rig.hubs[0].log.includes('DEVICE-MOVED'), 'the operator is told');
    });

    test('more than limits.devices: the oldest goes', async () => {
      const user = newUser();
      const names = Array.from({ length: 4 }, () => randomUUID());
      const dropped = await rig.hubs[0].metric('peal_devices_dropped_total');
      for (const name of names) await api('PUT', pathOf(user, name), token());
      assert.deepEqual(await ids(user), names.slice(1).sort());
      assert.equal(await rig.hubs[0].metric('peal_devices_dropped_total'), dropped + 1);
    });

    test('are in front while the connection that said so is there', async () => {
      const user = newUser();
      const [one, two] = [await overSocketIo(rig.hubs[0], user), await overWs(rig.hubs[1], user)];
      const unknown = await one.ask('device:state', { foreground: true });
      assert.deepEqual([unknown.ok, unknown.error.code ?? unknown.error, unknown.field ?? unknown.error.field], [false, 'invalid_field', 'id']);
      const { device } = await one.ask('device:register', token());
      assert.equal((await one.ask('device:state', { foreground: true })).device.foreground, true);
      assert.equal((await listed(user))[0].foreground, true);
      assert.equal((await two.ask('device:state', { id: device.id, foreground: false })).device.foreground, false);
      assert.equal((await one.ask('device:state', { foreground: true })).device.foreground, true);
      const other = await two.ask('device:state', { id: randomUUID(), foreground: true });
      assert.equal(other.ok, false);
      one.end();
      await until(async () => !(await listed(user))[0].foreground, 'it is in front no more');
      assert.deepEqual(await two.ask('device:remove', { id: device.id }), { ok: true });
      assert.equal((await two.ask('device:remove', { id: device.id })).ok, false);
      assert.deepEqual(await listed(user), []);
      two.end();
    });

    test('peal.js says them again on each connection', async () => {
      const user = newUser();
      const sockets = [];
      class Watched extends WebSocket {
        constructor(...args) {
          super(...args);
          sockets.push(this);
        }
      }
      const peal = new Peal({ WebSocket: Watched, backoffMin: 20, backoffMax: 200 });
      await peal.connect(rig.hubs[0].url, { token: () => rig.hubs[0].token(user) });
      const { id } = await peal.registerDevice({ platform: 'web', subscription: subscription() });
      assert.equal((await peal.setForeground(true)).foreground, true);
      const registered = await rig.hubs[0].metric('peal_devices_registered_total');
      sockets[0].terminate();
      await until(async () => await rig.hubs[0].metric('peal_devices_registered_total') === registered + 1, 'the next connection registers it');
      await until(async () => (await listed(user))[0].foreground, 'and says that it is in front');
      assert.deepEqual(await ids(user), [id]);
      await peal.removeDevice();
      assert.deepEqual(await listed(user), []);
      peal.close();
    });

    test('are exported and erased with their user', async () => {
      const [user, other] = [newUser(), newUser()];
      const id = randomUUID();
      await api('PUT', pathOf(user, id), { platform: 'web', subscription: subscription() });
      await api('PUT', pathOf(other, randomUUID()), token());
      const response = await fetch(`${rig.hubs[0].url}/api/v1/users/${user}/export`, { headers: { authorization: `Bearer ${rig.hubs[0].token(user)}` } });
      const lines = (await response.text()).trim().split('\n').map((line) => JSON.parse(line));
      assert.deepEqual(lines.filter(({ type }) => type === 'device'), [{ type: 'device', device: (await listed(user))[0] }]);
      const { body: { erased } } = await rig.hubs[0].api('DELETE', `/api/v1/users/${user}`, undefined, ADMIN);
      assert.equal(erased.devices, 1);
      assert.deepEqual([await ids(user), (await ids(other)).length], [[], 1]);
    });
  });
}

test('devices of a user in another tenant are another user\'s', async () => {
  const hub = await startHub({ config: 'auth { tenants = on }\n' });
  try {
    const said = token();
    for (const tenant of ['a', 'b']) {
      const { status } = await hub.api('PUT', `${pathOf('ann', randomUUID())}?tenant=${tenant}`, said, { authorization: `Bearer ${hub.token('ann', { tenant })}` });
      assert.equal(status, 200);
    }
    for (const tenant of ['a', 'b']) {
      const { body } = await hub.api('GET', `${pathOf('ann')}?tenant=${tenant}`, undefined, { authorization: `Bearer ${hub.token('ann', { tenant })}` });
      assert.equal(body.items.length, 1, tenant);
    }
    const { status } = await hub.api('GET', `${pathOf('bob')}?tenant=a`, undefined, { authorization: `Bearer ${hub.token('ann', { tenant: 'a' })}` });
    assert.equal(status, 403);
  } finally {
    await hub.stop();
  }
});
