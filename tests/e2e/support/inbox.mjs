// SPDX-License-Identifier: Apache-2.0
// What tests of inboxes share: devices of a user that keep what they are told, and the stores to try.
import { startHub } from './hub.mjs';
import { startPostgres } from './postgres.mjs';
import { startRedis } from './redis.mjs';
import { until } from './wait.mjs';

export const POSTS = '/api/v1/notifications';
export const inboxOf = (user) => `/api/v1/users/${user}/notifications`;

let users = 0;
export const newUser = () => `person-${++users}`;

// A device that keeps what it is told, in order.
class Told {
  constructor(client, ask) {
    Object.assign(this, { client, ask, states: [], items: [], counts: [], resyncs: [] });
  }

  take(event, body) {
    if (event === 'notification:state') this.states.push(body);
    if (event === 'notification') this.items.push(body);
    if (event === 'unread') this.counts.push(body);
    if (event === 'hub:resync') this.resyncs.push(body.rev);
  }

  get rev() {
    return Math.max(0, ...[...this.states, ...this.items].map(({ rev }) => rev));
  }
}

export async function overSocketIo(hub, user) {
  const socket = hub.socketIo(user);
  const told = new Told(socket, (event, argument) => socket.emitWithAck(event, argument));
  let ready = false;
  socket.onAny((event, body) => (event === 'hub:ready' ? (ready = body) : told.take(event, body)));
  told.ready = await until(() => ready, 'hub:ready on Socket.IO');
  return told;
}

export async function overWs(hub, user, encoding) {
  let ready = false;
  const onEvent = ([event, body]) => (event === 'hub:ready' ? (ready = body) : told.take(event, body));
  const told = new Told();
  const client = await hub.plain(user, { encoding, onEvent });
  told.ask = (event, argument) => client.request(event, argument);
  told.ready = await until(() => ready, 'hub:ready on /ws');
  return told;
}

export function overHttp(hub, user) {
  const path = (event) => event.replace('notification:', '').replace('_', '-');
  return async (event, body) => (await hub.api('POST', `${inboxOf(user)}/${path(event)}`, body)).body;
}

// For what the key of the environment may not do.
export const ADMIN = { authorization: 'Bearer admin-0123456789abc' };
const ADMINS = 'api_key "admin" { key = "admin-0123456789abc" scopes = {admin} }\n';

// The stores to try, by name: what starts hubs on them, with more of a configuration; `redis` where there is one.
export const storesWith = (more = '') => {
  const config = ADMINS + more;
  return {
    SQLite: async () => {
      const hub = await startHub({ config });
      return { hubs: [hub, hub], stop: () => hub.stop() };
    },
    'Postgres, two nodes': async () => {
      const [redis, postgres] = await Promise.all([startRedis(), startPostgres()]);
      const first = await startHub({ redis, postgres, config });
      const second = await startHub({ redis, postgres, config, secret: first.secret, apiKey: first.apiKey });
      const stop = async () => {
        await first.stop();
        await second.stop();
        await redis.stop();
        await postgres.stop();
      };
      return { hubs: [first, second], redis, stop };
    },
  };
};
export const stores = storesWith();
