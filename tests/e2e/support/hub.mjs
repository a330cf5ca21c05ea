// SPDX-License-Identifier: Apache-2.0
// hub - a real peal process. PEAL_BIN names the program, else it is build/peal.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { io } from 'socket.io-client';
import { SCHEME, TLS_CERT, TLS_KEY, ask } from './certs.mjs';
import { PlainClient } from './plain_client.mjs';
import { freePort } from './ports.mjs';
import { Server, temporaryFolder } from './process.mjs';
import { makeToken, randomSecret } from './tokens.mjs';
import { until, within } from './wait.mjs';

const BUILT = fileURLToPath(new URL('../../../build/peal', import.meta.url));
const STARTS = 5;
export const PROGRAM = process.env.PEAL_BIN || BUILT;

// Settings of the machine must not reach a hub under test; those of sanitizers must.
export function cleanEnvironment(extra) {
  const kept = Object.entries(process.env).filter(
    ([name]) => /^(PATH|HOME|TMPDIR|TZ|LANG|LC_ALL|[A-Z]+SAN_OPTIONS|LD_.*)$/.test(name),
  );
  return { ...Object.fromEntries(kept), ...extra };
}

// "public=127.0.0.1:4000" of the start line (or its JSON form), as {host, port}.
export function findAddress(output, name) {
  const found = new RegExp(`\\b${name}"?[=:]"?(\\[[^\\]]+\\]|[^\\s":]+):(\\d+)`).exec(output);
  return found && { host: found[1], port: Number(found[2]) };
}

export class Hub {
  // `redis`, `postgres`: servers of support/; `config`: text of a configuration file;
  // `args`: further flags; `env`: further variables; `folder`: where the SQLite file lies, to
  // start again with the same; `program`: instead of PROGRAM; `scheme`: https where its settings have a certificate;
  // `internalTls`: with what its internal listener is asked over TLS; `secret`, `apiKey`: shared by the hubs of one test.
  static async start(options = {}) {
    const hub = new Hub();
    hub.options = options;
    hub.scheme = options.scheme ?? SCHEME; // of its url
    hub.folder = options.folder ?? temporaryFolder('hub');
    hub.secret = options.secret ?? randomSecret();
    hub.apiKey = options.apiKey ?? randomSecret();
    hub.sockets = new Set();
    for (let left = STARTS; ; left--) {
      hub.firstPort = await freePort();
      try {
        await hub.launch();
        return hub;
      } catch (error) {
        if (left === 1 || !/in use/.test(error.message)) throw error;
      }
    }
  }

  arguments() {
    const { config, args = [] } = this.options;
    const port = String(this.address?.port ?? this.firstPort);
    const list = ['serve', '--listen-host', '127.0.0.1', '--listen-port', port];
    list.push('--listen-internal-port', '0', '--store-path', join(this.folder, 'peal.db'));
    if (config) {
      writeFileSync(join(this.folder, 'peal.conf'), config);
      list.push('--config', join(this.folder, 'peal.conf'));
    }
    if (TLS_CERT) list.push('--listen-tls-cert', TLS_CERT, '--listen-tls-key', TLS_KEY);
    return [...list, ...args];
  }

  environment() {
    const { redis, postgres, env = {} } = this.options;
    return cleanEnvironment({
      JWT_SECRET: this.secret,
      PEAL_AUTH_API_KEY: this.apiKey,
      ...(redis && { REDIS_URL: redis.url }),
      ...(postgres && { DATABASE_URL: postgres.url }),
      ...env,
    });
  }

  async launch() {
    const options = { env: this.environment(), cwd: this.folder };
    this.server = new Server('hub', this.options.program ?? PROGRAM, this.arguments(), options);
    await this.server.ready(async () => {
      const address = findAddress(this.server.output, 'public');
      this.internal = findAddress(this.server.output, 'internal');
      if (!address || !this.internal) return false;
      this.address = address;
      return (await this.askInternal('/readyz')).status === 200;
    });
  }

  get url() {
    return `${this.scheme}://${this.address.host}:${this.address.port}`;
  }

  get internalUrl() {
    return `${this.options.internalTls ? 'https' : 'http'}://${this.internal.host}:${this.internal.port}`;
  }

  // A request at the internal listener: {status, body}.
  async askInternal(path) {
    const { internalTls } = this.options;
    if (internalTls) return ask(this.internalUrl + path, { tls: internalTls });
    const answer = await fetch(this.internalUrl + path);
    return { status: answer.status, body: await answer.text() };
  }

  // All that was written until now. A thread of its own writes the log: what must be in it is waited for (logged).
  get log() {
    return this.server.output;
  }

  // Wait until the log holds what `pattern` says.
  logged(pattern) {
    return until(() => pattern.test(this.log), () => `the log holds ${pattern}:\n${this.log}`);
  }

  // How many lines of `id` the log holds until now.
  lines(id) {
    return this.log.split('\n').filter((line) => line.includes(` ${id} `)).length;
  }

  // Wait until the log holds `times` lines of `id`; more of them are a failure.
  async loggedTimes(id, times) {
    await until(() => this.lines(id) >= times, () => `the log holds ${times} of ${id}:\n${this.log}`);
    assert.equal(this.lines(id), times, this.log);
  }

  token(user, claims) {
    return makeToken(user, this.secret, claims);
  }

  // A Socket.IO client; `options` are socket.io-client's own. Closed with the hub.
  socketIo(user, { claims, nsp = '/', auth = {}, ...options } = {}) {
    const socket = io(this.url + nsp, {
      forceNew: true,
      transports: ['websocket'],
      ...options,
      auth: { token: this.token(user, claims), ...auth },
    });
    this.sockets.add(socket);
    return socket;
  }

  // A client of /ws that hears what is sent from now on (an open WebSocket alone may not yet), or that
  // was sent away. Closed with the hub. `ready: false`: open is enough.
  async plain(user, { claims, ready = true, ...options } = {}) {
    const client = await PlainClient.connect(this.url, this.token(user, claims), options);
    this.sockets.add(client);
    if (ready) await within(Promise.race([client.ready, client.closed]), `hub:ready for ${user}`);
    return client;
  }

  // A request with the API key; resolves with {status, headers, body}, JSON parsed.
  async api(method, path, body, headers = {}, options = {}) {
    const answer = await fetch(this.url + path, {
      ...options,
      method,
      headers: {
        authorization: `Bearer ${this.apiKey}`,
        ...(body !== undefined && { 'content-type': 'application/json' }),
        ...headers,
      },
      body: body === undefined ? undefined : JSON.stringify(body),
    });
    const text = await answer.text();
    const isJson = /\bjson\b/.test(answer.headers.get('content-type') ?? '');
    return { status: answer.status, headers: answer.headers, body: isJson ? JSON.parse(text) : text };
  }

  // The value of one metric, all its label sets added up; undefined when it is not there.
  async metric(name) {
    const text = (await this.askInternal('/metrics')).body;
    const rows = text.split('\n').filter((row) => row.startsWith(`${name} `) || row.startsWith(`${name}{`));
    if (rows.length === 0) return undefined;
    return rows.reduce((sum, row) => sum + Number(row.slice(row.lastIndexOf(' ') + 1)), 0);
  }

  closeSockets() {
    for (const socket of this.sockets) socket.close();
    this.sockets.clear();
  }

  pause() {
    this.server.signal('SIGSTOP');
  }

  resume() {
    this.server.signal('SIGCONT');
  }

  reload() {
    this.server.signal('SIGHUP');
  }

  async kill() {
    await this.server.stop('SIGKILL');
  }

  // After kill or stop: the same settings, SQLite file and public port.
  async restart() {
    await this.server.ended;
    await this.launch();
  }

  // Close the clients and end; throws when the hub does not end well.
  async stop() {
    this.closeSockets();
    if (this.server.result) return;
    this.resume();
    const { code, signal } = await this.server.stop('SIGTERM');
    if (code !== 0) throw new Error(`hub ended with ${code ?? signal}\n${this.log}`);
  }
}

export const startHub = (options) => Hub.start(options);
