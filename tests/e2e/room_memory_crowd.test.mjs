// SPDX-License-Identifier: Apache-2.0
// A crowd in rooms with a memory on three nodes, one of which is killed: each client drops again and again and comes
// back, to any node that lives, and has had everything, once and in order.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import WebSocket from 'ws';
import { startHub } from './support/hub.mjs';
import { startPostgres } from './support/postgres.mjs';
import { startRedis } from './support/redis.mjs';
import { randomSecret } from './support/tokens.mjs';
import { until } from './support/wait.mjs';

const FULL = process.env.PEAL_FULL === '1';
const CLIENTS = FULL ? 10_000 : 1000;
const ROOMS = 20;
const DROPS = FULL ? 6 : 2; // of each client
const AWAY_MS = FULL ? 2000 : 500;
const STAY_MS = FULL ? 13_000 : 3000;
const POST_MS = FULL ? 100 : 20; // between two posts
const CONFIG = `room_type "crowd" { access = {"any"} replay = 10000 replay_bytes = 16MiB presence = off }
                rooms { memory = 1GiB }
                limits { unauthenticated_per_address = 100000 joins_burst = 100000 outbound_bytes = 1MiB }
`;

let redis;
let postgres;
let hubs;
const alive = new Set([0, 1, 2]);

before(async () => {
  [redis, postgres] = await Promise.all([startRedis(), startPostgres()]);
  const secret = randomSecret();
  const start = () => startHub({ redis, postgres, secret, config: CONFIG });
  hubs = await Promise.all([start(), start(), start()]);
});
after(async () => {
  await Promise.all((hubs ?? []).map((hub) => hub.stop()));
  await Promise.all([redis?.stop(), postgres?.stop()]);
});

class Guest {
  constructor(number) {
    this.number = number;
    this.room = `crowd:${number % ROOMS}`;
    this.had = []; // numbers of events
    this.lost = 0;
    this.delays = []; // ms from the post to here, of those that came live
    this.returns = []; // ms from the connection to what was missed, all of it
  }

  // Connect to a node that lives; resolves when the room has been joined, false when the connection went before.
  enter() {
    const nodes = [...alive];
    const hub = hubs[nodes[Math.floor(Math.random() * nodes.length)]];
    this.token ??= hub.token(`crowd-${this.number}`);
    const socket = new WebSocket(`${hub.url.replace(/^http/, 'ws')}/ws`, ['peal.json.v1', `peal.token.${this.token}`]);
    this.socket = socket;
    let joined = false;
    const begun = Date.now();
    const returns = this.position !== undefined;
    return new Promise((resolve) => {
      socket.on('open', () =>
        socket.send(JSON.stringify([[1, 'join_room', { roomId: this.room, since: this.position }]])));
      socket.on('message', (text) => {
        if (this.socket !== socket) return; // it has dropped: what comes now was never had
        for (const [event, ...args] of JSON.parse(text)) {
          if (event === 'hub:ping') socket.send('[["hub:pong"]]');
          if (event === 'n') this.take(args, joined);
          if (event === -1) {
            assert.equal(args[0].ok, true, JSON.stringify(args[0]));
            this.lost += args[0].recovered === false;
            this.position = { epoch: args[0].epoch, offset: args[0].offset };
            joined = true;
            if (returns) this.returns.push(Date.now() - begun);
            resolve(true);
          }
        }
      });
      socket.on('error', () => {});
      socket.on('close', () => resolve(joined));
    });
  }

  take([number, at, { _peal: mark }], live) {
    this.had.push(number);
    this.position = { ...this.position, offset: mark.offset };
    if (live) this.delays.push(Date.now() - at);
  }

  async come() {
    while (!(await this.enter())) await pause(100 + Math.random() * 400);
  }

  drop() {
    const { socket } = this;
    this.socket = null;
    socket?.terminate();
  }

  async live() {
    for (let n = 0; n < DROPS; n++) {
      await pause(STAY_MS * (0.5 + Math.random()));
      this.drop();
      await pause(AWAY_MS);
      await this.come();
    }
  }
}

function tell(what, times) {
  const sorted = Float64Array.from(times).sort();
  const at = (part) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))];
  console.log(`${sorted.length} ${what}: p50 ${at(0.5)} ms, p95 ${at(0.95)} ms, p99 ${at(0.99)} ms, at most ${at(1)} ms`);
}

test(`${CLIENTS} clients drop ${DROPS} times each, a node is killed, and nobody misses anything`, async () => {
  const guests = Array.from({ length: CLIENTS }, (_, number) => new Guest(number));
  for (let i = 0; i < CLIENTS; i += 50) await Promise.all(guests.slice(i, i + 50).map((guest) => guest.come()));
  const posted = new Array(ROOMS).fill(0);
  let over = false;
  const post = (async () => {
    for (let n = 0; !over; n++) { // one poster: its order holds
      const room = n % ROOMS;
      const { status } = await hubs[0].api('POST', '/api/v1/events',
        { event: 'n', args: [posted[room]++, Date.now()], to: { rooms: [`crowd:${room}`] } });
      assert.equal(status, 202);
      await pause(POST_MS);
    }
  })();
  const lives = Promise.all(guests.map((guest) => guest.live()));
  await pause(STAY_MS);
  alive.delete(2);
  await hubs[2].kill(); // whose node it was comes back at its next turn
  await lives;
  over = true;
  await post;
  const back = guests.filter(({ socket }) => !socket || socket.readyState !== WebSocket.OPEN);
  await Promise.all(back.map((guest) => guest.come()));
  const isThere = (guest) => guest.had.length === posted[guest.number % ROOMS];
  await until(() => guests.every(isThere), () => `all have all: ${guests.filter((guest) => !isThere(guest)).length} have not`, 60_000);
  for (const guest of guests) {
    assert.deepEqual(guest.had, Array.from({ length: guest.had.length }, (_, n) => n), `client ${guest.number}`);
  }
  assert.equal(guests.reduce((sum, { lost }) => sum + lost, 0), 0, 'nobody was told that something is missing');
  tell('events that came live', guests.flatMap((guest) => guest.delays));
  tell('returns, until all that was missed had come', guests.flatMap((guest) => guest.returns));
});
