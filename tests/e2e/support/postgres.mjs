// SPDX-License-Identifier: Apache-2.0
// postgres - a real PostgreSQL of a test's own; as the user postgres where we are root.
import { execFileSync } from 'node:child_process';
import { chownSync, existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import pg from 'pg';
import { freePort } from './ports.mjs';
import { Server, temporaryFolder } from './process.mjs';

const ROOT = '/usr/lib/postgresql';
const STARTS = 5;
const isRoot = process.getuid() === 0;
const user = isRoot ? 'postgres' : undefined;

function programs() {
  const versions = existsSync(ROOT) ? readdirSync(ROOT).map(Number).filter(Boolean) : [];
  if (versions.length === 0) throw new Error(`no PostgreSQL in ${ROOT}; run ./dev setup`);
  return join(ROOT, String(Math.max(...versions)), 'bin');
}

function giveAway(folder) {
  if (!isRoot) return;
  const id = (flag) => Number(execFileSync('id', [flag, 'postgres']));
  chownSync(folder, id('-u'), id('-g'));
}

function runAs(program, args) {
  const drop = user ? ['--reuid', user, '--regid', user, '--init-groups', '--'] : ['--'];
  const options = { stdio: 'pipe', cwd: '/', env: { ...process.env, LC_ALL: 'C' } };
  execFileSync('setpriv', [...drop, program, ...args], options);
}

export class PostgresServer {
  // `settings`: further postgresql.conf settings; fsync is off unless one says on (a killed
  // server loses nothing by it, a killed machine would). `folder`: where its data lie.
  static async start({ settings = {}, folder } = {}) {
    const server = new PostgresServer();
    server.folder = folder ?? temporaryFolder('pg');
    giveAway(server.folder);
    server.data = join(server.folder, 'data');
    server.settings = { fsync: 'off', max_connections: '200', log_statement: 'none', ...settings };
    server.pools = new Set();
    const init = ['-D', server.data, '-U', 'peal', '-A', 'trust', '-E', 'UTF8', '--locale=C'];
    runAs(join(programs(), 'initdb'), [...init, '--no-sync']);
    for (let left = STARTS; ; left--) {
      server.port = await freePort();
      try {
        await server.launch();
        break;
      } catch (error) {
        if (left === 1 || !/Address already in use/.test(error.message)) throw error;
      }
    }
    return server;
  }

  // An asynchronous standby of this server, which replays what it hears.
  async standby() {
    const other = new PostgresServer();
    other.folder = temporaryFolder('pg');
    giveAway(other.folder);
    other.data = join(other.folder, 'data');
    other.settings = { ...this.settings, hot_standby: 'on' };
    other.pools = new Set();
    const from = `host=127.0.0.1 port=${this.port} user=peal`;
    runAs(join(programs(), 'pg_basebackup'), ['-D', other.data, '-d', from, '-R', '-X', 'stream', '-c', 'fast']);
    other.port = await freePort();
    await other.launch();
    return other;
  }

  get url() {
    return `postgres://peal@127.0.0.1:${this.port}/postgres`;
  }

  async launch() {
    const settings = {
      port: this.port,
      listen_addresses: '127.0.0.1',
      unix_socket_directories: this.folder,
      ...this.settings,
    };
    const args = Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
    const options = { user, cwd: '/', env: { ...process.env, LC_ALL: 'C' } };
    this.server = new Server('postgres', join(programs(), 'postgres'), ['-D', this.data, ...args], options);
    await this.server.ready(() => /ready to accept (read-only )?connections/.test(this.server.output));
  }

  // A pool that is closed with the server.
  pool() {
    const pool = new pg.Pool({ connectionString: this.url });
    pool.on('error', () => {}); // outages are part of the tests
    this.pools.add(pool);
    return pool;
  }

  // The rows of one statement.
  async query(text, values) {
    this.own ??= this.pool();
    return (await this.own.query(text, values)).rows;
  }

  async restart() {
    await this.server.ended;
    await this.launch();
  }

  // All its processes stand still, until resume.
  pause() {
    const { pid } = this.server;
    const children = execFileSync('pgrep', ['-P', String(pid)]).toString().trim().split('\n').map(Number);
    this.paused = [pid, ...children];
    for (const each of this.paused) process.kill(each, 'SIGSTOP');
  }

  resume() {
    for (const each of (this.paused ?? []).reverse()) process.kill(each, 'SIGCONT');
    this.paused = undefined;
  }

  // End at once without a checkpoint, as after a crash.
  async kill() {
    await this.server.stop('SIGQUIT');
  }

  async shutdown() {
    await this.server.stop('SIGINT');
  }

  async stop() {
    this.resume();
    await Promise.all([...this.pools].map((pool) => pool.end()));
    await this.server.stop('SIGINT');
  }
}

export const startPostgres = (options) => PostgresServer.start(options);
