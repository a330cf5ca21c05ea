// SPDX-License-Identifier: Apache-2.0
// peal.js where WebSockets do not pass, against a real hub: a client that only listens and one of a WebSocket agree.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { WebSocket } from 'ws';
import { Peal } from '../../clients/js/peal.js';
import { startHub } from './support/hub.mjs';
import { until } from './support/wait.mjs';

const FAST = { backoffMin: 5, backoffMax: 20, gapDelay: 5 };

// A WebSocket that no proxy lets through.
class Blocked {
  readyState = 0;
  constructor() {
    setImmediate(() => {
      this.readyState = 3;
      this.onclose?.({ code: 1006, reason: '' });
    });
  }
  close() {}
}

let hub;
const clients = [];
before(async () => {
  hub = await startHub({ config: 'origins = {"*"}' });
});
after(async () => {
  for (const client of clients) client.close();
  await hub?.stop();
});

async function connect(user, options) {
  const client = new Peal({ ...FAST, ...options });
  clients.push(client);
  await client.connect(hub.url, { token: hub.token(user) });
  return client;
}

test('two devices of a user agree, one of which only listens', async () => {
  const here = await connect('both', { WebSocket: Blocked });
  const there = await connect('both', { WebSocket });
  assert.deepEqual([here.oneWay, there.oneWay], [true, false]);
  const told = [];
  here.on('notification', ({ title }) => told.push(title));
  await until(() => here.inbox.loaded && there.inbox.loaded, 'both have read the list');
  for (const title of ['a', 'b', 'c']) {
    await hub.api('POST', '/api/v1/notifications', { user: 'both', type: 't', title });
  }
  await until(() => here.inbox.unread === 3 && there.inbox.unread === 3, 'both have them');
  assert.deepEqual(told, ['a', 'b', 'c']);
  await here.inbox.markRead(here.inbox.items[0].id);
  await until(() => there.inbox.unread === 2, 'the other is told');
  await there.inbox.archive(there.inbox.items[1].id);
  await until(() => here.inbox.items.length === 2, 'and the one that listens');
  assert.deepEqual(here.inbox.items, there.inbox.items);
});

test('rooms are joined, left and heard', async () => {
  const here = await connect('rooms', { WebSocket: Blocked });
  const there = await connect('other', { WebSocket });
  const heard = [];
  here.on('new_message', ({ message }) => heard.push(message));
  await here.join('public:x');
  await there.join('public:x');
  await there.send('public:x', 'hello');
  await until(() => heard.length === 1, 'it is heard');
  await assert.rejects(here.join('secret:x'), { code: 'forbidden' });
  assert.deepEqual(here.rooms, ['public:x']);
  await there.send('public:x', 'again');
  await until(() => heard.length === 2, 'it is heard still');
});
