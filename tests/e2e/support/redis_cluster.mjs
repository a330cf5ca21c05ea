// SPDX-License-Identifier: Apache-2.0
// redis_cluster - a Redis Cluster of three masters and three replicas: real servers of a test's own.
import { spawnSync } from 'node:child_process';
import { setTimeout as pause } from 'node:timers/promises';
import { freePort } from './ports.mjs';
import { startRedis } from './redis.mjs';
import { until } from './wait.mjs';

const MASTERS = 3;
const SLOTS = 16384;
const PATIENCE = 90_000;
const BATCH = 100;

// CRC-16/XMODEM of what stands in the first braces of a key, or of all of it.
export function slotOf(key) {
  const tag = /\{([^}]+)\}/.exec(key)?.[1] ?? key;
  let crc = 0;
  for (const byte of Buffer.from(tag)) {
    crc ^= byte << 8;
    for (let bit = 0; bit < 8; bit++) crc = ((crc & 0x8000 ? (crc << 1) ^ 0x1021 : crc << 1) & 0xffff);
  }
  return crc % SLOTS;
}

export class RedisCluster {
  // `settings`: of the servers, `tls`: as of startRedis.
  static async start({ settings = {}, tls } = {}) {
    const cluster = new RedisCluster();
    cluster.servers = [];
    cluster.tls = tls;
    for (let i = 0; i < 2 * MASTERS; i++) {
      cluster.servers.push(await startRedis({
        tls,
        settings: {
          'cluster-enabled': 'yes', 'cluster-port': await freePort(), 'cluster-node-timeout': 1500, 'cluster-replica-validity-factor': 0,
          'cluster-allow-replica-migration': 'no', 'repl-diskless-sync-delay': 0, ...(tls && { 'tls-cluster': 'yes', 'tls-replication': 'yes' }), ...settings,
        },
      }));
    }
    for (const server of cluster.servers) server.talk = server.client();
    const places = cluster.servers.map(({ port, tlsPort }) => `127.0.0.1:${tlsPort ?? port}`);
    const way = tls ? ['--tls', '--cacert', tls.ca, '--cert', tls.cert, '--key', tls.key] : [];
    const made = spawnSync('redis-cli', [...way, '--cluster', 'create', ...places, '--cluster-replicas', '1', '--cluster-yes'], { encoding: 'utf8', timeout: PATIENCE });
    if (made.status !== 0) throw new Error(`no cluster: ${made.stdout} ${made.stderr}`);
    await cluster.settled();
    return cluster;
  }

  // Not all of them: the others are found.
  get url() {
    const [one, two] = this.servers;
    return this.tls ? `rediss+cluster://127.0.0.1:${one.tlsPort},127.0.0.1:${two.tlsPort}` : `redis+cluster://127.0.0.1:${one.port},127.0.0.1:${two.port}`;
  }

  // What a server says of all: {id, port, master, link, slots: [[first, last]…]} of each.
  async view(server) {
    const text = await server.talk.cluster('NODES');
    return text.trim().split('\n').map((line) => {
      const [id, place, flags, master, , , , link, ...ranges] = line.split(' ');
      const slots = ranges.filter((range) => !range.startsWith('[')).map((range) => range.split('-').map(Number)).map(([first, last = first]) => [first, last]);
      return { id, port: Number(/:(\d+)@/.exec(place)[1]), // of TLS, where that is spoken
         flags: flags.split(','), master: flags.includes('master'), of: master, link, slots };
    });
  }

  // All servers are up, and agree on who has which slots; each master has a replica that follows.
  settled() {
    return until(async () => {
      const views = await Promise.all(this.servers.map((server) => this.view(server).catch(() => [])));
      const text = (view) => JSON.stringify(view.filter(({ master }) => master).map(({ id, slots }) => [id, slots]).sort());
      if (views.some((view) => view.length !== this.servers.length || view.some(({ flags }) => flags.some((flag) => /fail|handshake|noaddr/.test(flag))))) return false;
      if (new Set(views.map(text)).size !== 1) return false;
      const infos = await Promise.all(this.servers.map(({ talk }) => talk.info('replication').catch(() => '')));
      const good = infos.filter((info) => /role:slave/.test(info) && /master_link_status:up/.test(info));
      return good.length === MASTERS && views[0];
    }, 'the cluster agrees', PATIENCE);
  }

  serverAt(port) {
    return this.servers.find((server) => server.port === port);
  }

  async ownerOf(slot) {
    for (const server of this.servers) {
      const view = await this.view(server).catch(() => null);
      const owner = view?.find(({ master, flags, slots }) => master && !flags.includes('fail') && slots.some(([first, last]) => first <= slot && slot <= last));
      if (owner) return { ...owner, server: this.serverAt(owner.port), view };
    }
    return null;
  }

  // The server that has `key`.
  async at(key) {
    return (await until(() => this.ownerOf(slotOf(key)), `somebody has ${key}`, PATIENCE)).server;
  }

  // XADD as a poster does that must not lose anything: until a replica has the entry, too.
  durable() {
    let owner = null;
    return {
      xadd: async (key, ...words) => {
        for (;;) {
          owner ??= (await this.at(key)).client({ maxRetriesPerRequest: 0 });
          const mine = owner;
          const id = await mine.xadd(key, ...words).catch(() => null);
          if (id && (await mine.wait(1, 2000).catch(() => 0)) > 0) return id;
          mine.disconnect();
          if (owner === mine) owner = null;
          await pause(50);
        }
      },
    };
  }

  // Another server becomes the master of the slot of `key`; by `way`: `asked` a replica does it, the master there was is
  // `killed` or `paused`, and comes back afterwards.
  async failOver(way, key = 'peal:in') {
    await this.settled();
    const { server, id, port, view } = await this.ownerOf(slotOf(key));
    const replica = this.serverAt(view.find((one) => one.of === id).port);
    if (way === 'killed') await server.kill();
    else if (way === 'paused') server.pause();
    else await replica.talk.cluster('FAILOVER');
    await until(async () => (await this.view(replica)).some((one) => one.port === replica.port && one.master), 'there is another master', PATIENCE);
    if (way === 'killed') await server.restart();
    else if (way === 'paused') server.resume();
    return port;
  }

  // The slot of `key` goes to another master, with all that lies in it.
  async moveSlot(key) {
    const slot = slotOf(key);
    const { server: from, id: fromId, view } = await this.ownerOf(slot);
    const masters = view.filter((one) => one.master && one.slots.length > 0 && one.id !== fromId);
    const chosen = masters[Math.floor(Math.random() * masters.length)];
    const to = this.serverAt(chosen.port);
    await to.talk.cluster('SETSLOT', slot, 'IMPORTING', fromId);
    await from.talk.cluster('SETSLOT', slot, 'MIGRATING', chosen.id);
    for (;;) {
      const keys = await from.talk.cluster('GETKEYSINSLOT', slot, BATCH);
      if (keys.length === 0) break;
      await from.talk.call('MIGRATE', '127.0.0.1', to.port, '', 0, 5000, 'KEYS', ...keys);
    }
    await to.talk.cluster('SETSLOT', slot, 'NODE', chosen.id);
    await from.talk.cluster('SETSLOT', slot, 'NODE', chosen.id);
  }

  async stop() {
    for (const server of this.servers) await server.stop();
  }
}

export const startRedisCluster = (options) => RedisCluster.start(options);
