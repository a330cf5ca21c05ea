// SPDX-License-Identifier: Apache-2.0
// Each allocation whose size a peer chooses fails once, while a hub works: whom it was for is
// refused, the hub lives, and what it has said it stored is there.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { until, within } from './support/wait.mjs';
import { Torture } from './support/torture.mjs';

const MOST = 200; // allocations of one step: far more than any makes
const TEXT = 'ж'.repeat(900); // in bytes above what small allocations are (BUILDER_SMALL), which abort
const CONFIG = 'shards = 1\nbus { recheck = 200ms }\nlimits { messages_per_minute = 100000 inbox_per_minute = 100000 joins_per_minute = 100000 api_per_minute = 100000 }';

// A step that is refused in any way the protocol has is no failure; what it resolves with is judged.
const refused = (promise) => promise.then((value) => value, (error) => ({ error }));

describe('allocations that fail', { timeout: 300_000 }, () => {
  let torture;
  let hub;
  const stored = new Map(); // user: the keys of posts that were answered with 201
  before(async () => {
    torture = await Torture.start({ config: CONFIG });
    hub = torture.hub;
  });
  after(() => torture?.stop());

  // The hub does what it did before.
  async function lives(name) {
    assert.equal(hub.server.result, undefined, `the hub ended in ${name}\n${hub.log.slice(-2000)}`);
    const client = await hub.plain('witness');
    assert.equal((await client.request('join_room', 'public:a')).ok, true, name);
    client.close();
    hub.sockets.delete(client);
  }

  // Run `step` again and again, each time with another of its allocations failing.
  async function torment(name, step) {
    let failures = 0;
    for (let nth = 1; nth <= MOST; nth++) {
      torture.arm(nth);
      await step(nth);
      if (!torture.disarm()) break;
      failures++;
      await lives(`${name} ${nth}`);
    }
    assert.ok(failures > 0 && failures < MOST, `${name}: ${failures}`);
    return failures;
  }

  const post = async (user, key, body = {}) => {
    const answer = await refused(hub.api('POST', '/api/v1/notifications', { user, type: 't', title: 'x', message: TEXT, key, ...body }));
    if (answer.status === 201) stored.set(user, [...(stored.get(user) ?? []), key]);
    return answer;
  };

  const list = async (user) => {
    const client = await hub.plain(user);
    const titles = new Set();
    for (let after; ;) {
      const page = await client.request('notification:list', { limit: 100, ...(after && { after }) });
      assert.equal(page.ok, true);
      for (const item of page.items) titles.add(item.data?.key);
      if (!page.next || page.items.length === 0) break;
      after = page.next;
    }
    client.close();
    hub.sockets.delete(client);
    return titles;
  };

  const gone = (client) => {
    client?.close?.();
    hub.sockets.delete(client);
  };

  test('of a handshake, by WebSocket and by polling', async () => {
    await torment('a handshake on /ws', async () => {
      const client = await refused(within(hub.plain('ann', { claims: { name: 'A'.repeat(500) } }), 'an answer'));
      if (client.error === undefined) gone(client);
    });
    await torment('a handshake of Socket.IO', async () => {
      const socket = hub.socketIo('ann', { reconnection: false, timeout: 5000 });
      await within(new Promise((resolve) => {
        socket.once('connect', resolve);
        socket.once('connect_error', resolve);
        socket.once('disconnect', resolve);
      }), 'an end of the handshake');
      gone(socket);
    });
    await torment('a handshake by polling', () =>
      refused(fetch(`${hub.url}/socket.io/?EIO=4&transport=polling`).then((answer) => answer.text())));
  });

  test('of a post, which is stored when it was answered so, and reaches who is there', async () => {
    let reader = await hub.plain('ben');
    await torment('a post', async (nth) => {
      const key = `post-${nth}`;
      const answer = await post('ben', key, { data: { key } });
      assert.ok([201, 503, 504, undefined].includes(answer.status), `${answer.status} ${JSON.stringify(answer.body)}`);
      if (answer.status !== 201) return;
      // It comes, or the client is closed and finds it when it comes back.
      const came = () => reader.received('notification').some(([item]) => item.data?.key === key);
      await until(() => came() || reader.socket.readyState > 1, key);
      if (reader.socket.readyState > 1) reader = await hub.plain('ben');
    });
    const found = await list('ben');
    for (const key of stored.get('ben')) assert.ok(found.has(key), `${key} was stored`);
    gone(reader);
  });

  test('of a change of rooms by a backend, which is done as a whole or not at all', async () => {
    let client = await hub.plain('eva');
    const rooms = Array.from({ length: 50 }, (_, i) => `public:r${i}-${'r'.repeat(90)}`);
    const change = (body) => refused(hub.api('POST', '/api/v1/users/eva/rooms', body));
    const hears = async (number) => {
      await refused(hub.api('POST', '/api/v1/events', { event: 'still', args: [number], to: { rooms: ['public:stay'] } }));
      return client.received('still').some(([one]) => one === number);
    };
    const stay = (number) => until(async () => {
      if (client.socket.readyState > 1) client = await hub.plain('eva');
      await change({ join: ['public:stay'], leave: rooms });
      return hears(number);
    }, 'it is in the room');
    await stay(0);
    let unchanged = 0;
    for (let nth = 1, failed = true; failed; nth++) {
      torture.arm(nth);
      const answer = await change({ leave: ['public:stay'], join: rooms });
      failed = torture.disarm();
      assert.ok([202, 503, 504, undefined].includes(answer.status), `${answer.status} ${JSON.stringify(answer.body)}`);
      // A client that is closed, because what failed was its own, has left every room with that.
      if (answer.status === 503) await until(async () => client.socket.readyState > 1 || hears(nth), `${nth}: it has not left`);
      if (answer.status !== 503 || client.socket.readyState > 1) await stay(MOST + nth);
      unchanged += answer.status === 503;
      await lives(`a change of rooms ${nth}`);
    }
    assert.ok(unchanged > 0);
    gone(client);
  });

  test('of many posts in one body', async () => {
    await torment('an array of posts', async (nth) => {
      const posts = [0, 1, 2].map((n) => ({ users: [`eve-${n}`, 'eve'], type: 't', title: 'x', message: TEXT, key: `many-${nth}-${n}` }));
      const answer = await refused(hub.api('POST', '/api/v1/notifications', posts));
      assert.ok([200, 201, 207, 503, 504, undefined].includes(answer.status), String(answer.status));
    });
  });

  test('of a broadcast', async () => {
    const members = [await hub.plain('cat'), await hub.plain('dan')];
    const come = async () => { // also while an allocation is to fail: whom that hits tries again
      for (const [i, user] of ['cat', 'dan'].entries()) {
        await until(async () => {
          if (members[i].socket.readyState !== 1) members[i] = await hub.plain(user);
          const answer = await Promise.race([members[i].request('join_room', 'public:b'), members[i].closed]);
          return answer.ok === true;
        }, `${user} in the room`);
      }
    };
    await come();
    await torment('a broadcast over HTTP', async (nth) => {
      const rooms = ['public:b', ...Array.from({ length: 40 }, (_, n) => `public:other-${n}`)];
      const answer = await refused(hub.api('POST', '/api/v1/events', { event: 'news', args: [nth, TEXT], to: { rooms } }));
      assert.ok([202, 503, 504, undefined].includes(answer.status), String(answer.status));
    });
    await come();
    await torment('a message to a room', async () => {
      const answer = await refused(Promise.race([
        members[0].request('send_message', { roomId: 'public:b', message: TEXT }),
        members[0].closed,
      ]));
      assert.ok(answer.ok === true || ['unavailable', undefined].includes(answer.error) || answer.code !== undefined, JSON.stringify(answer));
      await come();
    });
    for (const member of members) gone(member);
  });

  test('of a list and a sync, whose answers are whole or refused', async () => {
    for (let n = 0; n < 12; n++) assert.equal((await post('fay', `fay-${n}`, { data: { key: `fay-${n}` } })).status, 201);
    let client = await hub.plain('fay');
    for (const [event, argument] of [['notification:list', { limit: 100 }], ['notification:sync', { rev: 0 }]]) {
      await torment(event, async () => {
        const answer = await refused(Promise.race([client.request(event, argument), client.closed]));
        if (answer.ok === undefined) client = await hub.plain('fay'); // closed
        else if (answer.ok) assert.equal(answer.items.length, 12);
        else assert.equal(answer.error, 'unavailable');
      });
    }
    await torment('a list over HTTP', async () => {
      const answer = await refused(hub.api('GET', '/api/v1/users/fay/notifications?limit=100', undefined, { 'accept-encoding': 'gzip' }));
      if (answer.status === 200) assert.equal(answer.body.items.length, 12);
      else assert.ok([503, undefined].includes(answer.status), String(answer.status));
    });
    gone(client);
  });

  test('it is counted and told', async () => {
    assert.ok((await hub.metric('peal_allocation_failures_total')) > 0);
    await until(() => / error NO-MEMORY .*total=/.test(hub.log), 'the record');
  });
});
