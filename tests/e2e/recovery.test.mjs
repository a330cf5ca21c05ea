// SPDX-License-Identifier: Apache-2.0
// Connection state recovery with stock clients, whose lines are cut again and again: every event
// comes once and in order, and `recovered` says the truth.
import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import { createServer } from 'node:http';
import { connect as tcpConnect } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { createAdapter } from '@socket.io/redis-adapter';
import { Emitter } from '@socket.io/redis-emitter';
import { Server } from 'socket.io';
import { io } from 'socket.io-client';
import { replayKey, sessionKey } from './support/bus_names.mjs';
import { startHub } from './support/hub.mjs';
import { startLine } from './support/line.mjs';
import { startPostgres } from './support/postgres.mjs';
import { startRedis } from './support/redis.mjs';
import { randomSecret } from './support/tokens.mjs';
import { until } from './support/wait.mjs';

const FULL = process.env.PEAL_FULL === '1';
const DROPS = FULL ? 200 : 10;
const CONFIG = `namespace "/" { recovery = on }
                namespace "/feed" { recovery = on }
                room_type "watched" { access = {"any"} presence = on max_members = 2 }
                limits { joins_burst = 100000 messages_burst = 100000 }
                auth { timeout = 60s }
`;

// A stock client behind a line of its own. What comes is kept with its offset, which is taken off.
class Guest {
  static async connect(hub, user, options = {}) {
    const guest = new Guest();
    guest.line = await startLine(hub.address);
    guest.events = [];
    guest.welcomes = []; // `recovered` of each connect
    guest.socket = io(guest.line.url, {
      forceNew: true,
      transports: ['websocket'],
      reconnectionDelay: 1,
      reconnectionDelayMax: 50,
      auth: { token: hub.token(user, { rooms: ['*'] }) },
      ...options,
    });
    guest.socket.onAny((event, ...args) => guest.events.push([event, ...args]));
    guest.socket.on('connect', () => guest.welcomes.push(guest.socket.recovered));
    guest.socket.on('connect_error', (error) => (guest.error = error));
    await guest.connected(1);
    return guest;
  }

  async connected(times) {
    await until(() => this.welcomes.length >= times && this.socket.connected, `connect ${times}`, 60_000);
  }

  // The bodies of an event's occurrences.
  got(event) {
    return this.events.filter(([name]) => name === event).map(([, body]) => body);
  }

  async join(room) {
    const answer = await this.socket.timeout(30_000).emitWithAck('join_room', room);
    assert.equal(answer.ok, true, JSON.stringify(answer));
  }

  // Break the line `how` (cut or abandon) and wait for the client to be back.
  async drop(how = 'cut', meanwhile = async () => {}) {
    const times = this.welcomes.length;
    this.socket.io.reconnection(false);
    const isGone = () => {
      this.line[how](); // again: one that polls may have had nothing under way
      return this.socket.disconnected;
    };
    await until(isGone, 'the client is gone');
    await meanwhile();
    this.socket.io.reconnection(true);
    this.socket.connect();
    await this.connected(times + 1);
    return this.welcomes.at(-1);
  }

  async leave() {
    this.socket.io.reconnection(false);
    this.socket.close();
    await this.line.close();
  }
}

async function emit(hub, event, body, to, more = {}) {
  const { status } = await hub.api('POST', '/api/v1/events', { event, args: [body], to, ...more });
  assert.equal(status, 202);
}

// Cut the lines of `count` clients DROPS times each, under 50 events a second from the `posters` in
// turn; `next(guest, n)` is the hub to come back to. All events come to all, once and in order.
async function survive(count, next, posters) {
  const room = 'public:storm';
  const guests = [];
  for (let i = 0; i < count; i++) {
    const transports = i % 4 === 3 ? ['polling'] : ['websocket'];
    const guest = await Guest.connect(await next(i, 0), `storm-${i}`, { transports });
    await guest.join(room);
    guests.push(guest);
  }
  let posted = 0;
  let over = false;
  const post = async () => {
    for (; !over; posted++) {
      const hubs = posters();
      await emit(hubs[posted % hubs.length], 'n', posted, { rooms: [room] });
      await pause(20);
    }
  };
  const drops = async (guest, i) => {
    for (let n = 0; n < DROPS; n++) {
      const target = await next(i, n + 1);
      const readies = guest.got('hub:ready').length;
      const recovered = await guest.drop(n % 3 === 2 ? 'abandon' : 'cut', async () => {
        guest.line.target = target.address;
        await pause(randomInt(60));
      });
      assert.equal(recovered, true, `client ${i}, drop ${n}`);
      // What went to a socket alone and did not arrive is not known to another node.
      if (posters().length > 1) await until(() => guest.got('hub:ready').length > readies, 'ready again');
      await pause(randomInt(60));
    }
  };
  const posting = post();
  try {
    await Promise.all(guests.map(drops)).finally(() => {
      over = true;
      return posting;
    });
    for (const [i, guest] of guests.entries()) {
      await until(() => guest.got('n').includes(posted - 1), `the last event for client ${i}`);
      assert.deepEqual(sorted(guest.got('n')), numbers(posted), `client ${i}`);
      assert.deepEqual(guest.got('n'), guests[0].got('n'), `one order, client ${i}`);
    }
  } finally {
    for (const guest of guests) await guest.leave();
  }
}

// Requests may come over several connections: their order is the hub's.
const sorted = (list) => [...list].sort((a, b) => a - b);

const numbers = (count, from = 0) => Array.from({ length: count }, (_, i) => from + i);

describe('on one node', () => {
  let hub;
  const guests = [];
  const connect = async (user, options) => {
    const guest = await Guest.connect(hub, user, options);
    guests.push(guest);
    return guest;
  };
  before(async () => {
    hub = await startHub({ config: CONFIG, args: ['--shards', '2'] });
  });
  after(async () => {
    for (const guest of guests) await guest.leave();
    await hub?.stop();
  });

  for (const transports of [['websocket'], ['polling']]) {
    test(`what was missed comes in order, again and again (${transports})`, async () => {
      const guest = await connect(`anna-${transports}`, { transports });
      const room = `public:${transports}`;
      await guest.join(room);
      await until(() => guest.got('hub:ready').length > 0, 'ready');
      const { id } = guest.socket;
      let next = 0;
      for (let round = 0; round < 3; round++) {
        await emit(hub, 'n', next++, { rooms: [room] });
        const recovered = await guest.drop('cut', async () => {
          await emit(hub, 'n', next++, { rooms: [room] });
          await emit(hub, 'n', next++, { users: [`anna-${transports}`] });
          await emit(hub, 'n', next++, { all: true });
          await emit(hub, 'n', -1, { rooms: ['public:other'] });
        });
        assert.equal(recovered, true);
        assert.equal(guest.socket.id, id);
        await emit(hub, 'n', next++, { rooms: [room] });
      }
      await until(() => guest.got('n').length >= next, () => `all ${next}, not ${guest.got('n')}`);
      assert.deepEqual(sorted(guest.got('n')), numbers(next));
    });
  }

  test('a client that has seen no event at all', async () => {
    const guest = await connect('ben');
    guest.socket._lastOffset = undefined; // as if hub:ready had been lost
    const recovered = await guest.drop('cut', () => emit(hub, 'late', 1, { users: ['ben'] }));
    assert.equal(recovered, true);
    await until(() => guest.got('late').length > 0, 'what was missed');
  });

  test('volatile events and strings in last place do not mislead the client', async () => {
    const guest = await connect('carl');
    await guest.join('public:carl');
    const recovered = await (async () => {
      await emit(hub, 'text', 'a string', { rooms: ['public:carl'] });
      await emit(hub, 'now', 'or never', { rooms: ['public:carl'] }, { volatile: true });
      await until(() => guest.got('now').length > 0, 'the volatile one');
      return guest.drop('cut', async () => {
        await emit(hub, 'now', 'missed', { rooms: ['public:carl'] }, { volatile: true });
        await emit(hub, 'text', 'another', { rooms: ['public:carl'] });
      });
    })();
    assert.equal(recovered, true);
    await until(() => guest.got('text').length > 1, 'what was missed');
    assert.deepEqual(guest.got('text'), ['a string', 'another']);
    assert.deepEqual(guest.got('now'), ['or never']);
  });

  test('the old connection, half open, is ended by the new one', async () => {
    const guest = await connect('dora');
    await guest.join('public:dora');
    for (let n = 0; n < 5; n++) {
      const recovered = await guest.drop('abandon', () => emit(hub, 'n', n, { rooms: ['public:dora'] }));
      assert.equal(recovered, true);
      await until(() => guest.line.strays.size === 0, 'the old connection is closed');
    }
    await until(() => guest.got('n').length >= 5, 'what was missed');
    assert.deepEqual(guest.got('n'), numbers(5));
  });

  test('the same for a client of a tenant, whose sockets are counted', async () => {
    const auth = { token: hub.token('dave', { tenant: 'acme', rooms: ['*'] }) };
    const guest = await connect('dave', { auth });
    for (let n = 0; n < 3; n++) {
      assert.equal(await guest.drop('abandon'), true);
      await until(() => guest.line.strays.size === 0, 'the old connection is closed');
    }
  });

  test('notifications that came meanwhile, and rooms joined and left', async () => {
    const guest = await connect('emil');
    await guest.join('public:before');
    await emit(hub, 'n', 0, { rooms: ['public:after'] }); // not a member yet
    await guest.join('public:after');
    await guest.socket.timeout(30_000).emitWithAck('leave_room', 'public:before');
    const recovered = await guest.drop('cut', async () => {
      await emit(hub, 'n', 1, { rooms: ['public:before'] }); // no member any more
      await emit(hub, 'n', 2, { rooms: ['public:after'] });
      const post = { user: 'emil', type: 'info', title: 'Missed', message: 'meanwhile' };
      assert.equal((await hub.api('POST', '/api/v1/notifications', post)).status, 201);
    });
    assert.equal(recovered, true);
    await until(() => guest.got('notification').length > 0 && guest.got('n').length > 0, 'both');
    assert.deepEqual(guest.got('n'), [2]);
    assert.deepEqual(guest.got('notification').map(({ title }) => title), ['Missed']);
  });

  test('others see the client go and come, and its room keeps its seat', async () => {
    const [guest, other] = [await connect('fred'), await connect('gina')];
    await other.join('watched:1');
    await guest.join('watched:1');
    assert.equal(await guest.drop('cut'), true);
    await until(() => other.got('user_joined_room').length === 2, 'coming back');
    assert.equal(other.got('user_left_room').length, 1);
    const third = await connect('hugo');
    const full = await third.socket.timeout(30_000).emitWithAck('join_room', 'watched:1');
    assert.equal(full.ok, false);
  });

  test('a client that comes back while its user has another one there is no arrival', async () => {
    const [guest, tab, other] = [await connect('kim'), await connect('kim'), await connect('lou')];
    for (const client of [other, guest, tab]) await client.join('public:tabs');
    assert.equal(await guest.drop('cut'), true);
    await emit(hub, 'n', 1, { rooms: ['public:tabs'] }); // behind all that was told of coming back
    await until(() => other.got('n').length > 0 && guest.got('n').length > 0, 'both are in the room');
    assert.deepEqual(other.got('user_joined_room').map(({ userId }) => userId), ['kim']);
    assert.deepEqual(other.got('user_left_room'), []);
    // That lou has come may be told to who came right behind.
    assert.deepEqual(tab.got('user_joined_room').filter(({ userId }) => userId === 'kim'), []);
  });

  test('who disconnects, and who is somebody else, is not recovered', async () => {
    const guest = await connect('ida');
    const { id } = guest.socket;
    guest.socket.disconnect();
    guest.socket.connect();
    await guest.connected(2);
    assert.equal(guest.welcomes.at(-1), false);
    assert.notEqual(guest.socket.id, id);

    const thief = await connect('jack');
    thief.socket._pid = guest.socket._pid;
    assert.equal(await thief.drop('cut'), false);
    assert.equal(await guest.drop('cut'), true, 'the owner still is');
  });

  test('a token with less rights than before', async () => {
    const guest = await connect('kurt');
    await guest.join('project:1');
    guest.socket.auth = { token: hub.token('kurt', { rooms: [] }) };
    assert.equal(await guest.drop('cut'), false);
  });

  test('a plain WebSocket in the same namespace gets no offset', async () => {
    const got = [];
    const plain = await hub.plain('lena', { onEvent: (event) => got.push(event) });
    assert.equal((await plain.request('join_room', 'public:lena')).ok, true);
    const guest = await connect('lena');
    await guest.join('public:lena');
    await emit(hub, 'n', 1, { rooms: ['public:lena'] });
    await until(() => got.some(([name]) => name === 'n') && guest.got('n').length > 0, 'both');
    assert.deepEqual(got.find(([name]) => name === 'n'), ['n', 1]);
    assert.equal(typeof guest.events.find(([name]) => name === 'n')[2], 'string');
  });

  test('many drops under 50 events a second', { timeout: FULL ? 900_000 : 120_000 }, async () => {
    await survive(4, async () => hub, () => [hub]);
  });
});

describe('at the bounds', () => {
  let hub;
  const guests = [];
  before(async () => {
    const config = 'engine { ping_interval = 200ms }\nrecovery { events = 16 age = 3s }';
    hub = await startHub({ config: CONFIG + config });
  });
  after(async () => {
    for (const guest of guests) await guest.leave();
    await hub?.stop();
  });
  const connect = async (user) => {
    const guest = await Guest.connect(hub, user);
    guests.push(guest);
    await until(() => guest.got('hub:ready').length > 0, 'ready');
    return guest;
  };

  test('idle for longer than the buffer reaches is exact, an overrun is not', async () => {
    const guest = await connect('anna');
    await guest.join('public:quiet');
    const { id } = guest.socket;
    let pings = 0; // the third says that the pong of the second has come
    guest.socket.io.on('ping', () => (pings += 1));
    await until(() => pings >= 3, 'heartbeats');
    for (let n = 0; n < 50; n++) await emit(hub, 'n', n, { rooms: ['public:loud'] });
    assert.equal(await guest.drop('cut', () => emit(hub, 'n', -1, { rooms: ['public:quiet'] })), true);
    assert.equal(guest.socket.id, id);
    await until(() => guest.got('n').length > 0, 'what was missed');
    const recovered = await guest.drop('cut', async () => {
      for (let n = 0; n < 50; n++) await emit(hub, 'n', n, { rooms: ['public:quiet'] });
    });
    assert.equal(recovered, false);
    assert.notEqual(guest.socket.id, id);
    assert.deepEqual(guest.got('n'), [-1]);
  });

  test('who stays away for too long comes back as somebody new', async () => {
    const guest = await connect('ben');
    const longer = async () => {
      const end = performance.now() + 3100;
      await until(() => performance.now() > end, 'the age has passed');
    };
    assert.equal(await guest.drop('cut', longer), false);
    assert.equal(await guest.drop('cut'), true);
  });
});

describe('on several nodes', () => {
  let redis;
  let postgres;
  let shared;
  let hubs;
  let server;
  const guests = [];
  const connect = async (user, hub, options) => {
    const guest = await Guest.connect(hub, user, options);
    guests.push(guest);
    await until(() => guest.got('hub:ready').length > 0, 'ready');
    return guest;
  };
  const moveTo = (guest, hub) => {
    guest.line.target = hub.address;
  };
  before(async () => {
    [redis, postgres] = await Promise.all([startRedis(), startPostgres()]);
    shared = { redis, postgres, config: CONFIG, args: ['--shards', '2'] };
    shared = { ...shared, secret: randomSecret(), apiKey: randomSecret() };
    hubs = [await startHub(shared), await startHub(shared)];
  });
  after(async () => {
    for (const guest of guests) await guest.leave();
    await server?.close();
    for (const hub of hubs ?? []) await hub.stop();
    await redis?.stop();
    await postgres?.stop();
  });

  for (const transports of [['websocket'], ['polling']]) {
    test(`to and fro between two nodes (${transports})`, async () => {
      const user = `mara-${transports}`;
      const guest = await connect(user, hubs[0], { transports });
      const room = `public:${user}`;
      await guest.join(room);
      const { id } = guest.socket;
      let next = 0;
      for (let round = 0; round < 6; round++) {
        const target = hubs[(round + 1) % 2];
        await emit(hubs[round % 2], 'n', next++, { rooms: [room] });
        await until(() => guest.got('n').includes(next - 1), 'an event');
        const recovered = await guest.drop(round % 3 === 2 ? 'abandon' : 'cut', async () => {
          await emit(hubs[0], 'n', next++, { rooms: [room] });
          await emit(hubs[1], 'n', next++, { users: [user] });
          await emit(target, 'n', next++, { all: true });
          await emit(target, 'n', -1, { rooms: ['public:other'] });
          moveTo(guest, target);
        });
        assert.equal(recovered, true, `round ${round}`);
        assert.equal(guest.socket.id, id);
        await until(() => guest.line.strays.size === 0, 'the old connection is closed');
        await emit(target, 'n', next++, { rooms: [room] });
      }
      await until(() => guest.got('n').length >= next, () => `all ${next}, not ${guest.got('n')}`);
      assert.deepEqual(sorted(guest.got('n')), numbers(next));
    });
  }

  test('who has seen no event of the node it comes from', async () => {
    const guest = await connect('nils', hubs[0]);
    await guest.join('public:nils');
    for (const [n, hub] of [hubs[1], hubs[0], hubs[1]].entries()) {
      moveTo(guest, hub);
      assert.equal(await guest.drop('cut', () => emit(hub, 'n', n, { rooms: ['public:nils'] })), true);
      await until(() => guest.got('n').length > n, 'what was missed');
    }
    assert.deepEqual(guest.got('n'), numbers(3));
  });

  test('who has the pid of another user takes nothing from that one', async () => {
    const guest = await connect('quin', hubs[0]);
    const thief = await connect('theo', hubs[1]);
    thief.socket._pid = guest.socket._pid;
    assert.equal(await thief.drop('cut'), false);
    await emit(hubs[1], 'still', 1, { users: ['quin'] });
    await until(() => guest.got('still').length > 0, 'the line to its owner');
    assert.equal(guest.welcomes.length, 1, 'its connection is left alone');
    moveTo(guest, hubs[1]);
    assert.equal(await guest.drop('cut'), true);
  });

  test('who is sent away by a backend meanwhile is not recovered', async () => {
    const guest = await connect('rosa', hubs[0]);
    await guest.join('public:rosa');
    const bus = redis.client();
    const record = () => bus.get(sessionKey('/', 'rosa', guest.socket._pid));
    const before = await hubs[0].metric('peal_sockets');
    assert.ok(await record());
    const recovered = await guest.drop('cut', async () => {
      const noticed = async () => (await hubs[0].metric('peal_sockets')) < before;
      await until(noticed, 'the hub sees that it dropped');
      new Emitter(bus).in('user:rosa').disconnectSockets();
      await until(async () => !(await record()), 'it is given up');
    });
    assert.equal(recovered, false);
  });

  test('two namespaces of one connection', async () => {
    const [guest, sender] = [await connect('tess', hubs[0]), await connect('ulf', hubs[0])];
    const auth = (user) => ({ token: hubs[0].token(user) });
    const feed = guest.socket.io.socket('/feed', { auth: auth('tess') });
    const speaker = sender.socket.io.socket('/feed', { auth: auth('ulf') });
    const ask = (socket, ...args) => socket.timeout(30_000).emitWithAck(...args);
    for (const socket of [feed, speaker]) {
      assert.equal((await ask(socket, 'join_room', 'public:feed')).ok, true);
    }
    const heard = [];
    feed.on('new_message', ({ message }) => heard.push(message));
    const recovered = await guest.drop('cut', async () => {
      const message = { roomId: 'public:feed', message: 'meanwhile' };
      assert.equal((await ask(speaker, 'send_message', message)).ok, true);
      moveTo(guest, hubs[1]);
    });
    assert.equal(recovered, true);
    await until(() => feed.connected && heard.length > 0, 'the other namespace');
    assert.equal(feed.recovered, true);
    assert.deepEqual(heard, ['meanwhile']);
    for (const socket of [feed, speaker]) socket.close();
  });

  test('a burst of more events than are kept comes to who is there', async () => {
    const small = await startHub({ ...shared, config: `${CONFIG}recovery { events = 16 }` });
    const room = 'public:burst';
    const count = 4000;
    const near = await connect('umar', small);
    const far = await connect('vera', hubs[1]);
    for (const guest of [near, far]) await guest.join(room);
    const posts = Array.from({ length: count }, (_, n) => {
      const body = JSON.stringify({ event: 'n', args: [n], to: { rooms: [room] } });
      return (
        `POST /api/v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer ${shared.apiKey}\r\n` +
        `Content-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`
      );
    });
    const line = tcpConnect(small.address);
    line.resume();
    line.write(posts.join(''));
    for (const guest of [near, far]) {
      await until(() => guest.got('n').length >= count, 'all of them', 60_000);
      assert.deepEqual(guest.got('n'), numbers(count));
    }
    line.destroy();
    await near.leave();
    await small.stop();
  });

  test('a Redis without memory for the stream still carries events', async () => {
    const [guest, other] = [await connect('tess', hubs[0]), await connect('ursa', hubs[1])];
    const bus = redis.client();
    for (const [memory, upTo] of [['1', 3], ['0', 6]]) {
      await bus.config('SET', 'maxmemory', memory);
      for (let n = upTo - 3; n < upTo; n++) await emit(hubs[0], 'full', n, { all: true });
      await until(() => guest.got('full').length === upTo && other.got('full').length === upTo, `${upTo} with maxmemory ${memory}`);
    }
    assert.deepEqual([guest.got('full'), other.got('full')], [numbers(6), numbers(6)]);
  });

  test('stock servers hear it once, and are heard once', async () => {
    const heard = [];
    const [publisher, subscriber] = [redis.client(), redis.client()];
    const http = createServer();
    const node = new Server(http, { adapter: createAdapter(publisher, subscriber) });
    server = { close: () => new Promise((resolve) => node.close(resolve)) };
    await new Promise((resolve) => http.listen(0, '127.0.0.1', resolve));
    const peer = io(`http://127.0.0.1:${http.address().port}`, { transports: ['websocket'] });
    peer.onAny((event, body) => heard.push([event, body]));
    await until(() => peer.connected, 'the client of the stock server');
    const guest = await connect('olga', hubs[0]);
    await emit(hubs[1], 'from-hub', 1, { all: true });
    node.emit('from-node', 2);
    await until(() => heard.length >= 2 && guest.got('from-node').length > 0, 'both ways');
    await emit(hubs[0], 'last', 3, { all: true });
    await until(() => heard.some(([name]) => name === 'last') && guest.got('last').length > 0, 'the last');
    assert.deepEqual(heard.filter(([name]) => name === 'from-hub'), [['from-hub', 1]]);
    assert.deepEqual(guest.got('from-hub'), [1]);
    assert.deepEqual(guest.got('from-node'), [2]);
    peer.close();
  });

  test('many drops under 50 events a second', { timeout: FULL ? 1_200_000 : 120_000 }, async () => {
    await survive(4, async (i, n) => hubs[(i + Math.floor(n / 2)) % 2], () => hubs);
  });

  test('a node that falls behind what the stream keeps does not claim to be exact', async () => {
    const guest = await connect('sven', hubs[0]);
    const watcher = await connect('tina', hubs[0]);
    const admin = redis.client();
    await emit(hubs[1], 'n', 0, { users: ['sven'] });
    await until(() => guest.got('n').length === 1, 'an event');
    const recovered = await guest.drop('cut', async () => {
      hubs[0].pause();
      try {
        for (let n = 1; n <= 1200; n += 20) {
          await Promise.all(numbers(20).map((i) => emit(hubs[1], 'n', n + i, { users: ['sven'] })));
        }
        await until(async () => (await admin.call('XLEN', replayKey('/'))) > 1200, 'all are added');
        await admin.call('XTRIM', replayKey('/'), 'MAXLEN', '600');
      } finally {
        hubs[0].resume();
      }
      await emit(hubs[1], 'last', 0, { users: ['tina'] });
      await until(() => watcher.got('last').length === 1, 'the node has read the rest');
    });
    assert.equal(recovered, false);
    assert.equal(await guest.drop(), true);
  });

  test('a node that is killed, and one that has just begun', async () => {
    const guest = await connect('paul', hubs[0]);
    await guest.join('public:paul');
    await emit(hubs[1], 'n', 0, { rooms: ['public:paul'] });
    await until(() => guest.got('n').length === 1, 'an event');
    const { id } = guest.socket;
    const recovered = await guest.drop('cut', async () => {
      await hubs[0].kill();
      await emit(hubs[1], 'n', 1, { rooms: ['public:paul'] });
      moveTo(guest, hubs[1]);
    });
    assert.equal(recovered, true);
    assert.equal(guest.socket.id, id);
    await until(() => guest.got('n').length === 2, 'what was missed');
    const late = await guest.drop('cut', async () => {
      await emit(hubs[1], 'n', 2, { rooms: ['public:paul'] });
      hubs[0] = await startHub(shared);
      await hubs[1].kill();
      moveTo(guest, hubs[0]);
    });
    assert.equal(late, true);
    await until(() => guest.got('n').length === 3, 'what was missed');
    assert.deepEqual(guest.got('n'), numbers(3));
    await emit(hubs[0], 'n', 3, { rooms: ['public:paul'] });
    await until(() => guest.got('n').length === 4, 'the room is still its own');
  });

  test('Redis goes away and comes back', async () => {
    hubs[1] = await startHub(shared);
    const guest = await connect('quin', hubs[0]);
    const other = await connect('ruth', hubs[1]);
    await guest.join('public:quin');
    await redis.kill();
    await emit(hubs[0], 'n', 0, { rooms: ['public:quin'] });
    await until(() => guest.got('n').length === 1, 'events of the node go on');
    assert.equal(await guest.drop('cut', () => emit(hubs[0], 'n', 1, { rooms: ['public:quin'] })), true);
    await until(() => guest.got('n').length === 2, 'what was missed');
    await redis.restart();
    let probes = 0;
    const crosses = async () => {
      await emit(hubs[0], 'probe', probes++, { all: true });
      return other.got('probe').length > 0;
    };
    await until(crosses, 'events come to the other node again', 60_000);
    const crossesBack = async () => {
      await emit(hubs[1], 'back', 0, { users: ['quin'] });
      return guest.got('back').length > 0;
    };
    await until(crossesBack, 'and from there', 60_000);
    await emit(hubs[1], 'n', 2, { rooms: ['public:quin'] });
    await until(() => guest.got('n').length === 3, 'every one');
    await until(() => guest.got('probe').length === probes, 'all probes');
    assert.deepEqual(guest.got('n'), numbers(3));
    assert.deepEqual(sorted(guest.got('probe')), numbers(probes), 'none twice');
  });
});

describe('records of a small age', () => {
  const age = 3000;
  let redis;
  let postgres;
  let hubs;
  let admin;
  let guest;
  const keys = (kind) => admin.keys(`peal:${kind}:*`);
  before(async () => {
    [redis, postgres] = await Promise.all([startRedis(), startPostgres()]);
    const config = `${CONFIG}recovery { age = ${age}ms }`;
    const args = ['--shards', '1'];
    const shared = { redis, postgres, config, args, secret: randomSecret(), apiKey: randomSecret() };
    hubs = [await startHub(shared), await startHub(shared)];
    admin = redis.client();
    guest = await Guest.connect(hubs[0], 'anna');
    await until(() => guest.got('hub:ready').length > 0, 'ready');
  });
  after(async () => {
    await guest?.leave();
    for (const hub of hubs ?? []) await hub.stop();
    await redis?.stop();
    await postgres?.stop();
  });

  test('are not written again while nothing changes, and stay', async () => {
    await guest.join('public:idle');
    const record = sessionKey('/', 'anna', guest.socket._pid);
    await until(async () => (await admin.get(record))?.includes('public:idle'), 'the record');
    const monitor = await redis.monitor();
    const end = performance.now() + 3 * age;
    const about = (start) => monitor.told.filter((args) => args.some((arg) => arg.startsWith(start)));
    await until(() => performance.now() > end, 'three ages have passed');
    assert.deepEqual(about('peal:session:'), []);
    await until(() => about('peal:records:').length > 6, 'leases are renewed');
    monitor.stop();
    assert.equal(await admin.pttl(record), -1);
    guest.line.target = hubs[1].address;
    assert.equal(await guest.drop('cut'), true, 'it counts');
  });

  test('of a node that was killed are swept by another one', async () => {
    const [record] = await keys('session');
    const lists = await keys('recordlist');
    assert.equal(lists.length, 1);
    guest.socket.io.reconnection(false);
    await hubs[1].kill();
    assert.equal(await admin.pttl(record), -1, 'its end is that of its lease');
    await until(async () => (await keys('session')).length === 0, 'it is gone', 60_000);
    await until(async () => (await keys('recordlist')).length === 0, 'and its list');
    const leases = async () => (await admin.zrange('peal:recordleases:{0}', 0, -1)).length;
    const namespaces = 2;
    await until(async () => (await leases()) === namespaces, 'and the leases of that node', 60_000);
  });
});
