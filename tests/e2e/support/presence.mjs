// SPDX-License-Identifier: Apache-2.0
// presence - who is online, as hubs say, and clients that follow users.
import assert from 'node:assert/strict';
import { until } from './wait.mjs';

export const BASE = '/api/v1/presence';

const good = async (hub, path) => {
  const { status, body } = await hub.api('GET', path);
  assert.equal(status, 200, JSON.stringify(body));
  return body;
};
export const count = (hub) => good(hub, `${BASE}/count`);
export const show = (hub, user) => good(hub, `/api/v1/users/${encodeURIComponent(user)}/presence`);

// Which of the users are online, as `hub` says, a thousand at a time.
export async function online(hub, users) {
  const found = new Set();
  for (let at = 0; at < users.length; at += 1000) {
    const slice = users.slice(at, at + 1000);
    const { status, body } = await hub.api('POST', `${BASE}/query`, { users: slice });
    assert.equal(status, 200, JSON.stringify(body));
    assert.deepEqual(Object.keys(body.users), slice);
    for (const user of slice) if (body.users[user].online) found.add(user);
  }
  return found;
}

// Connect them all, some at a time.
export async function connectAll(hub, users) {
  const clients = [];
  for (let at = 0; at < users.length; at += 100) {
    clients.push(...await Promise.all(users.slice(at, at + 100).map((user) => hub.plain(user))));
  }
  return clients;
}

export const counted = (hub, users, connections, nodes) => until(async () => {
  const sums = await count(hub);
  return sums.complete && sums.users === users && sums.connections === connections && sums.nodes === nodes && sums;
}, `${users} users, ${connections} connections, ${nodes} nodes`, 60_000);

// A client that follows users: what it was told of each, in order.
export class Follower {
  static async start(hub, user, users) {
    const follower = new Follower();
    follower.told = new Map(users.map((name) => [name, []]));
    follower.client = hub.socketIo(user);
    follower.client.on('presence', ({ userId, online }) => follower.told.get(userId).push(online));
    assert.deepEqual(await follower.client.emitWithAck('presence:subscribe', { users }), { ok: true });
    await follower.has(users, 1);
    return follower;
  }

  last(user) {
    return this.told.get(user).at(-1);
  }

  // Wait until so many events of each of them have come.
  has(users, count) {
    return until(() => users.every((user) => this.told.get(user).length >= count), `${count} events of each`, 60_000);
  }

  get events() {
    return [...this.told.values()].reduce((sum, { length }) => sum + length, 0);
  }
}
