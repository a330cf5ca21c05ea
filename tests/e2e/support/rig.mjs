// SPDX-License-Identifier: Apache-2.0
// rig - nodes over one Redis and one Postgres, users with two devices each, and posters: for faults in
// the middle of posting. Whatever happened, check() sees that in the end the store has what was
// accepted, once and in order, and every device has what the store has.
import assert from 'node:assert/strict';
import { Device } from './device.mjs';
import { startHub } from './hub.mjs';
import { ALL_GOOD, Ledger, readPostgres } from './ledger.mjs';
import { startPostgres } from './postgres.mjs';
import { startRedis } from './redis.mjs';
import { randomSecret } from './tokens.mjs';
import { until } from './wait.mjs';

const POSTERS = 4; // two through the stream, two over HTTP: one by one, and ten in a request
const LIST = 10;
const DEADLINE = 120_000;

export class Rig {
  // `nodes` hubs, `users` users; `config` and `args` of the hubs; `redisUrl`: by which they reach
  // Redis, if not its own; `redis`: several servers, as of sentinel.mjs; `claims` of the devices' tokens.
  static async start({ nodes = 2, users = 50, config = '', args = [], redis, redisUrl, claims, redisSettings } = {}) {
    const rig = new Rig();
    // What Redis has answered to must outlive it.
    const durable = { settings: { appendfsync: 'always', ...redisSettings } };
    [rig.redis, rig.postgres] = await Promise.all([redis ?? startRedis(durable), startPostgres()]);
    rig.shared = {
      redis: redisUrl ? { url: await redisUrl(rig.redis) } : rig.redis,
      postgres: rig.postgres,
      config: config || 'bus { recheck = 3s }', // a lost last announcement is found by this
      secret: randomSecret(),
      apiKey: randomSecret(),
      args,
    };
    rig.users = users;
    rig.ledger = new Ledger();
    rig.hubs = [];
    for (let n = 0; n < nodes; n++) rig.hubs.push(await startHub(rig.shared));
    rig.bus = redis ? redis.durable() : rig.redis.client();
    rig.devices = [];
    for (let i = 0; i < users; i++) {
      // The first device of a user starts on the one node, the second on the next.
      const order = (first) => rig.hubs.map((_, n) => rig.hubs[(n + first) % nodes]);
      rig.devices.push(new Device(`f${i}`, order(i), { via: i % 5 ? 'ws' : 'io', claims }).start());
      const encoding = i % 2 ? 'json' : 'msgpack';
      rig.devices.push(new Device(`f${i}`, order(i + 1), { encoding, claims }).start());
    }
    await rig.everybodyReady();
    return rig;
  }

  everybodyReady() {
    return until(() => this.devices.every(({ ready }) => ready), 'all devices are ready', 60_000);
  }

  // Post `count` times; `share()` is the part of it that was accepted, `done` ends with the last.
  post(round, count) {
    const each = count / POSTERS;
    let accepted = 0;
    // A poster's users follow a line of their own, so that neighbours are mixed.
    const make = (poster, n) => this.ledger.make(`${round}-${poster}`, `f${(n * 7 + poster) % this.users}`);
    const stream = async (poster) => {
      for (let n = 0; n < each; n++, accepted++) await this.ledger.addToStream(this.bus, make(poster, n));
    };
    const from = (n) => this.hubs.map((_, i) => this.hubs[(n + i) % this.hubs.length]);
    const single = async (poster) => {
      for (let n = 0; n < each; n++, accepted++) await this.ledger.postByHttp(from(n), make(poster, n));
    };
    const list = async (poster) => {
      for (let n = 0; n < each; n += LIST, accepted += LIST) {
        const posts = Array.from({ length: Math.min(LIST, each - n) }, (_, i) => make(poster, n + i));
        await this.ledger.postByHttp(this.hubs, posts);
      }
    };
    const done = Promise.all([stream(0), stream(1), single(2), list(3)]);
    done.catch(() => {}); // told by who awaits it
    const share = () => accepted / count;
    const reach = (part) => until(() => share() >= part, `${part} are posted`, DEADLINE);
    return { done, share, reach };
  }

  // `anyOrder`: what one poster posted to a user may be stored in another order.
  async check({ anyOrder = false } = {}) {
    const verdict = await this.ledger.settle(() => readPostgres(this.postgres), this.devices, 90_000, { anyOrder });
    assert.deepEqual(verdict, ALL_GOOD);
    await this.everybodyReady();
  }

  // Which node drains the partition, by its own words: the last that took it over.
  async ownerOf(partition = 0) {
    const [row] = await this.postgres.query('SELECT owner, token FROM peal.ingest WHERE partition = $1', [partition]);
    const started = ({ log }) => log.split('\n').filter((line) => /START/.test(line)).pop() ?? '';
    const hub = this.hubs.find((each) => new RegExp(`node=${row.owner}\\b`).test(started(each)));
    return { hub, owner: row.owner, token: Number(row.token) };
  }

  owner() {
    return until(async () => {
      const found = await this.ownerOf();
      return found.hub && found;
    }, 'a node owns the partition');
  }

  async stop() {
    await Promise.all(this.devices.map((device) => device.leave()));
    for (const hub of this.hubs) await hub.stop();
    await this.redis.stop();
    await this.postgres.stop();
  }
}

export const startRig = (options) => Rig.start(options);
