// SPDX-License-Identifier: Apache-2.0
// sentinel - a master with two replicas and three sentinels: real servers of a test's own.
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { freePort } from './ports.mjs';
import { Server, temporaryFolder } from './process.mjs';
import { startRedis } from './redis.mjs';
import { until } from './wait.mjs';

const NAME = 'peal';
const SENTINELS = 3;
const REPLICAS = 2;
const PATIENCE = 90_000;

export class Sentinels {
  // `password`: of the sentinels; `settings`: of the servers; `often`: sentinels look at servers more often than they do.
  static async start({ password, often = false, settings = {} } = {}) {
    const all = new Sentinels();
    all.password = password;
    all.often = often;
    all.clients = new Set();
    all.servers = [];
    for (let i = 0; i <= REPLICAS; i++) {
      all.servers.push(await startRedis({ settings: { 'repl-diskless-sync-delay': 0, ...settings } }));
    }
    const [master, ...replicas] = all.servers;
    for (const replica of replicas) await replica.client().replicaof('127.0.0.1', master.port);
    all.sentinels = [];
    for (let i = 0; i < SENTINELS; i++) all.sentinels.push(await all.startSentinel(master.port));
    await all.settled();
    return all;
  }

  async startSentinel(masterPort) {
    const folder = temporaryFolder('sentinel');
    const port = await freePort();
    const rules = [
      `port ${port}`, 'bind 127.0.0.1', `dir ${folder}`,
      `sentinel monitor ${NAME} 127.0.0.1 ${masterPort} 2`,
      `sentinel down-after-milliseconds ${NAME} 1000`,
      `sentinel failover-timeout ${NAME} 2000`,
      `sentinel parallel-syncs ${NAME} ${REPLICAS}`,
      ...(this.password ? [`requirepass ${this.password}`, `sentinel sentinel-pass ${this.password}`] : []),
    ];
    const file = join(folder, 'sentinel.conf');
    writeFileSync(file, `${rules.join('\n')}\n`);
    const server = new Server('sentinel', 'redis-server', [file, '--sentinel']);
    await server.ready(() => /Sentinel ID is/.test(server.output));
    const client = new Redis(port, '127.0.0.1', { maxRetriesPerRequest: null, password: this.password });
    client.on('error', () => {});
    this.clients.add(client);
    // It looks at servers each 10 s, and takes one that comes back for a replica four hellos later: a failover takes 10 s then, and 3 where both are more often.
    if (this.often) await client.call('SENTINEL', 'DEBUG', 'INFO-PERIOD', 500, 'PUBLISH-PERIOD', 250);
    return { port, server, client };
  }

  get url() {
    return `redis+sentinel://${this.sentinels.map(({ port }) => `127.0.0.1:${port}`).join()}/${NAME}`;
  }

  // A client that follows the master.
  client(options = {}) {
    const sentinels = this.sentinels.map(({ port }) => ({ host: '127.0.0.1', port }));
    const client = new Redis({
      sentinels, name: NAME, sentinelPassword: this.password, maxRetriesPerRequest: null, sentinelRetryStrategy: () => 100,
      failoverDetector: true, ...options,
    });
    client.on('error', () => {});
    this.clients.add(client);
    return client;
  }

  // XADD as a poster does that must not lose anything: until a replica has the entry, too.
  durable() {
    let client = this.client();
    return {
      xadd: async (...words) => {
        for (;;) {
          const id = await client.xadd(...words).catch(() => null);
          if (id && (await client.wait(1, 2000).catch(() => 0)) > 0) return id;
          client.disconnect();
          await pause(50);
          client = this.client();
        }
      },
    };
  }

  // What a sentinel says: the port of the master.
  async ask({ client }) {
    const [, port] = await client.call('SENTINEL', 'GET-MASTER-ADDR-BY-NAME', NAME);
    return Number(port);
  }

  // All sentinels agree on a master, whose replicas all follow it.
  settled() {
    return until(async () => {
      const ports = await Promise.all(this.sentinels.map((one) => this.ask(one)));
      if (new Set(ports).size !== 1) return false;
      for (const { client } of this.sentinels) {
        const rows = await client.call('SENTINEL', 'REPLICAS', NAME);
        const fields = rows.map((row) => Object.fromEntries(row.map((word, i) => [word, row[i + 1]]).filter((_, i) => i % 2 === 0)));
        const good = fields.filter((one) => one.flags === 'slave' && one['master-link-status'] === 'ok' && Number(one['master-port']) === ports[0]);
        if (good.length !== REPLICAS) return false;
      }
      return this.servers.find(({ port }) => port === ports[0]);
    }, 'the sentinels agree', PATIENCE);
  }

  // Tell a sentinel to fail over; the one before may not be over yet for it.
  order() {
    return until(() => this.sentinels[0].client.call('SENTINEL', 'FAILOVER', NAME).catch((error) => {
      if (!/INPROG|NOGOODSLAVE/.test(error.message)) throw error;
      return false;
    }), 'the sentinel fails over', PATIENCE);
  }

  // Another server becomes the master; by `way`: `asked` the sentinels do it, the one there was is `killed` or
  // `paused`, and comes back afterwards.
  async failOver(way) {
    const master = await this.settled();
    if (way === 'killed') await master.kill();
    else if (way === 'paused') master.pause();
    else await this.order();
    await until(async () => (await this.ask(this.sentinels[0])) !== master.port, 'there is another master', PATIENCE);
    if (way === 'killed') await master.restart();
    else if (way === 'paused') master.resume();
  }

  async stop() {
    for (const client of this.clients) client.disconnect();
    for (const { server } of this.sentinels) await server.stop('SIGTERM');
    for (const server of this.servers) await server.stop();
  }
}

export const startSentinels = (options) => Sentinels.start(options);
