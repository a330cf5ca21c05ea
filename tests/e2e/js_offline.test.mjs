// SPDX-License-Identifier: Apache-2.0
// Changes of an inbox made without a connection (clients/js, ifRev), against what a plain model says of them:
// what another device has changed meanwhile holds, and who lost is told exactly which. On both engines.
import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import { after, afterEach, before, describe, test } from 'node:test';
import WebSocket from 'ws';
import { Peal } from '../../clients/js/peal.js';
import { startHub } from './support/hub.mjs';
import { startPostgres } from './support/postgres.mjs';
import { startRedis } from './support/redis.mjs';
import { until } from './support/wait.mjs';

const seed = Number(process.env.PEAL_SEED ?? randomInt(1, 0x7fffffff));
const ROWS = 120;
const MARKS = 200;
const LATER = Date.now() + 30 * 24 * 3_600_000;

// What each verb changes, and from which states it has lost besides when the row was changed elsewhere.
const VERBS = {
  markSeen: { from: ['unread'], lost: ['snoozed'], apply: (row) => { row.seen = true; } },
  markRead: { from: ['unread', 'seen'], lost: ['snoozed'], apply: (row) => { row.seen = row.read = true; } },
  markUnread: { from: ['read'], lost: ['archived', 'snoozed'], apply: (row) => { row.read = false; } },
  archive: { from: ['unread', 'seen', 'read', 'snoozed'], lost: [], apply: (row) => { row.archived = true; row.snoozed = false; } },
  unarchive: { from: ['archived'], lost: ['snoozed'], apply: (row) => { row.archived = false; } },
  snooze: { from: ['unread', 'seen', 'read', 'snoozed'], lost: ['archived'], more: [LATER], apply: (row) => { row.snoozed = true; } },
  wake: { from: ['snoozed'], lost: ['archived'], method: 'snooze', more: [null], apply: (row) => { row.snoozed = row.seen = row.read = false; } },
};

function stateOf({ seen, read, archived, snoozed }) {
  if (snoozed) return 'snoozed';
  if (archived) return 'archived';
  if (read) return 'read';
  return seen ? 'seen' : 'unread';
}

// The rows as they must be, changed by devices one after another.
class Model {
  constructor(ids) {
    this.rows = new Map(ids.map((id) => [id, {}]));
  }

  // `late(row)`: somebody else has changed it since the caller knew it.
  mark(name, ids, device, late = () => false) {
    const { from, lost, apply } = VERBS[name];
    const done = { changed: [], conflict: [] };
    for (const id of new Set(ids)) {
      const row = this.rows.get(id);
      const state = stateOf(row);
      if (late(row)) {
        if (from.includes(state) || lost.includes(state)) done.conflict.push(id);
      } else if (from.includes(state)) {
        apply(row);
        row.by = device;
        done.changed.push(id);
      }
    }
    return done;
  }

  states(wanted) {
    return new Map([...this.rows].map(([id, row]) => [id, stateOf(row)]).filter(([, state]) => wanted.includes(state)));
  }
}

// The same numbers for the same seed.
function makeRandom(seed) {
  let state = seed >>> 0;
  return (below) => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

const stores = {
  SQLite: async () => {
    const hub = await startHub({ args: ['--limits-inbox-per-minute', '100000'] });
    return { hub, stop: () => hub.stop() };
  },
  Postgres: async () => {
    const [redis, postgres] = await Promise.all([startRedis(), startPostgres()]);
    const hub = await startHub({ redis, postgres, args: ['--limits-inbox-per-minute', '100000'] });
    const stop = async () => {
      await hub.stop();
      await redis.stop();
      await postgres.stop();
    };
    return { hub, stop };
  },
};

for (const [engine, start] of Object.entries(stores)) {
  describe(engine, () => {
    let rig;
    let clients = [];
    before(async () => {
      rig = await start();
    });
    afterEach(() => {
      for (const client of clients) client.close();
      clients = [];
    });
    after(() => rig?.stop());

    // A device that can be without a network, with all of its inbox loaded.
    async function device(user) {
      let away = false;
      let socket;
      class Network extends WebSocket {
        constructor(...args) {
          if (away) throw new Error('no network');
          super(...args);
          socket = this;
        }
      }
      const client = new Peal({ WebSocket: Network, backoffMin: 20, backoffMax: 200, pageSize: 100 });
      clients.push(client);
      client.leave = async () => {
        away = true;
        socket.terminate();
        await until(() => client.state === 'waiting', 'the device has no network');
      };
      client.comeBack = () => { away = false; };
      await client.connect(rig.hub.url, { token: () => rig.hub.token(user) });
      await until(() => client.inbox.loaded, 'the first page is there');
      while (client.inbox.hasMore) await client.inbox.loadMore({ limit: 100 });
      return client;
    }

    async function post(user, count) {
      const posts = Array.from({ length: count }, (_, n) => ({ user, type: 'note', title: `n${n + 1}` }));
      const { status, body } = await rig.hub.api('POST', '/api/v1/notifications', posts);
      assert.equal(status, 200, JSON.stringify(body));
      return body.results.map(({ id }) => id);
    }

    const call = (client, name, ids, ifRev) => {
      const { method = name, more = [] } = VERBS[name];
      return client.inbox[method]({ ids, ...(ifRev !== undefined && { ifRev }) }, ...more);
    };

    const byId = (items) => new Map([...items].map(({ id, state }) => [id, state]).sort());

    // What the hub has in each view, and both devices in theirs, is what the model says.
    async function agrees(model, devices, user) {
      const { rev } = (await rig.hub.api('GET', `/api/v1/users/${user}/notifications/unread`)).body;
      await until(() => devices.every(({ inbox }) => inbox.position.rev === rev), 'both devices are at the last rev');
      const listed = new Map([...model.states(['unread', 'seen', 'read'])].sort());
      for (const { inbox } of devices) {
        assert.deepEqual(byId(inbox.items), listed);
        for (const state of ['archived', 'snoozed']) {
          const items = [];
          for (let next; next !== null;) {
            const page = await inbox.list({ state, limit: 100, after: next });
            items.push(...page.items);
            next = page.next;
          }
          assert.deepEqual(byId(items), new Map([...model.states([state])].sort()), state);
        }
        assert.deepEqual([inbox.unread, inbox.unseen], [model.states(['unread', 'seen']).size, model.states(['unread']).size]);
      }
      const [first, second] = devices.map(({ inbox }) => inbox.items.map(({ id }) => id));
      assert.deepEqual(first, second, 'in one order');
    }

    test('two devices, one of them without a network for 200 marks', async (t) => {
      t.diagnostic(`PEAL_SEED=${seed}`);
      const random = makeRandom(seed);
      const user = 'offline';
      const ids = await post(user, ROWS);
      const model = new Model(ids);
      const [phone, desk] = [await device(user), await device(user)];
      const names = Object.keys(VERBS);
      const some = () => Array.from({ length: random(3) === 0 ? 1 + random(5) : 1 }, () => ids[random(ROWS)]);
      for (let n = 0; n < MARKS; n++) {
        const [name, rows] = [names[random(names.length)], some()];
        model.mark(name, rows, 'before');
        await call(n % 2 ? phone : desk, name, rows);
      }
      await agrees(model, [phone, desk], user);

      await phone.leave();
      const { rev } = phone.inbox.position;
      const made = [];
      for (let n = 0; n < MARKS; n++) made.push([names[random(names.length)], some()]);
      const answers = made.map(([name, rows]) => call(phone, name, rows, rev));
      const wrong = [];
      for (let n = 0; n < MARKS / 2; n++) {
        const [name, rows] = [names[random(names.length)], some()];
        const { changed } = model.mark(name, rows, 'desk');
        const answer = await call(desk, name, rows);
        assert.deepEqual([...answer.changed].sort(), changed.sort(), `desk: ${name}`);
      }
      phone.comeBack();
      let lost = 0;
      let held = 0;
      for (const [n, answer] of (await Promise.all(answers)).entries()) {
        const [name, rows] = made[n];
        const { changed, conflict } = model.mark(name, rows, 'phone', ({ by }) => by === 'desk');
        const same = JSON.stringify([changed.sort(), conflict.sort()])
          === JSON.stringify([[...answer.changed].sort(), [...answer.conflict].sort()]);
        if (!same) wrong.push({ n, name, rows, changed, conflict, answer });
        lost += conflict.length;
        held += changed.length;
      }
      assert.deepEqual(wrong, []);
      t.diagnostic(`${held} rows changed by the returning device, ${lost} conflicts`);
      assert.ok(lost > 20 && held > 20, 'both happened');
      await agrees(model, [phone, desk], user);
    });

    test('both at once converge on what the highest rev says', async () => {
      const random = makeRandom(seed + 1);
      const user = 'racing';
      const ids = await post(user, 20);
      const devices = [await device(user), await device(user)];
      const names = Object.keys(VERBS);
      const calls = [];
      for (let n = 0; n < MARKS; n++) calls.push(call(devices[n % 2], names[random(names.length)], [ids[random(20)]]));
      await Promise.all(calls);
      const { rev } = (await rig.hub.api('GET', `/api/v1/users/${user}/notifications/unread`)).body;
      await until(() => devices.every(({ inbox }) => inbox.position.rev === rev), 'both are at the last rev');
      const { items } = (await rig.hub.api('GET', `/api/v1/users/${user}/notifications?limit=100`)).body;
      for (const { inbox } of devices) {
        assert.deepEqual(inbox.items.map(({ id, rev: at, isRead }) => [id, at, isRead]), items.map(({ id, rev: at, isRead }) => [id, at, isRead]));
      }
    });
  });
}
