// SPDX-License-Identifier: Apache-2.0
// redis - a real redis-server of a test's own.
import { connect } from 'node:net';
import { createInterface } from 'node:readline';
import { Redis } from 'ioredis';
import { freePort } from './ports.mjs';
import { Server, temporaryFolder } from './process.mjs';

const STARTS = 5; // another port each time one was taken in between

export class RedisServer {
  // `durable`: with an append-only file. `settings`: further redis.conf settings by name. `tls`: {cert, key, ca} as
  // files, clients: whether they must show a certificate, too; then there is `tlsUrl` besides.
  static async start({ durable = true, settings = {}, tls } = {}) {
    const redis = new RedisServer();
    redis.folder = temporaryFolder('redis');
    redis.settings = { appendonly: durable ? 'yes' : 'no', save: '', ...settings };
    redis.tls = tls;
    redis.clients = new Set();
    for (let left = STARTS; ; left--) {
      redis.port = await freePort();
      if (tls) redis.tlsPort = await freePort();
      try {
        await redis.launch();
        return redis;
      } catch (error) {
        if (left === 1 || !/Address already in use/.test(error.message)) throw error;
      }
    }
  }

  get url() {
    return `redis://127.0.0.1:${this.port}/0`;
  }

  get tlsUrl() {
    return `rediss://127.0.0.1:${this.tlsPort}/0`;
  }

  async launch() {
    const { tls } = this;
    const settings = {
      port: this.port,
      bind: '127.0.0.1',
      dir: this.folder,
      daemonize: 'no',
      ...(tls && {
        'tls-port': this.tlsPort,
        'tls-cert-file': tls.cert,
        'tls-key-file': tls.key,
        'tls-ca-cert-file': tls.ca,
        'tls-auth-clients': tls.clients ? 'yes' : 'no',
      }),
      ...this.settings,
    };
    const args = Object.entries(settings).flatMap(([name, value]) => [`--${name}`, String(value)]);
    this.server = new Server('redis', 'redis-server', args);
    await this.server.ready(() => /Ready to accept connections/.test(this.server.output));
  }

  // A client that is closed with the server; subscribers need one of their own.
  client(options = {}) {
    const client = new Redis(this.port, '127.0.0.1', { maxRetriesPerRequest: null, ...options });
    client.on('error', () => {}); // outages are part of the tests
    this.clients.add(client);
    return client;
  }

  // The commands that the server carries out from now on, each a list of its words, until stop(). Not by a
  // client: that of ioredis takes what comes together with the answer to MONITOR for answers.
  async monitor() {
    const told = [];
    const socket = connect(this.port, '127.0.0.1');
    socket.on('error', () => {});
    socket.write('MONITOR\r\n');
    await new Promise((resolve) => {
      createInterface({ input: socket }).on('line', (line) => {
        if (line === '+OK') resolve();
        else told.push(Array.from(line.matchAll(/"((?:[^"\\]|\\.)*)"/g), ([, word]) => word));
      }).on('close', resolve);
    });
    return { told, stop: () => socket.destroy() };
  }

  // Come back on the same port, after stop or kill, with what the append-only file holds.
  async restart() {
    await this.server.ended;
    await this.launch();
  }

  pause() {
    this.server.signal('SIGSTOP');
  }

  resume() {
    this.server.signal('SIGCONT');
  }

  async kill() {
    await this.server.stop('SIGKILL');
  }

  async shutdown() {
    await this.server.stop('SIGTERM');
  }

  // The end: clients too.
  async stop() {
    for (const client of this.clients) client.disconnect();
    this.resume();
    await this.server.stop('SIGTERM');
  }
}

export const startRedis = (options) => RedisServer.start(options);
