// SPDX-License-Identifier: Apache-2.0
// siege - a hub under attack: what it must keep while a test does its worst to it.
import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { get } from 'node:http';
import { setTimeout as pause } from 'node:timers/promises';
import { startHub } from './hub.mjs';
import { until } from './wait.mjs';

export const FULL = process.env.PEAL_FULL === '1';

// Short deadlines, so that a test sees them; many connections of one address, as all come from one.
const ARGS = {
  'limits-unauthenticated-per-address': '1000000',
  'limits-refusals-per-minute': '1000000',
  'limits-head-timeout': '1s',
  'limits-body-timeout': '1s',
  'auth-timeout': '2s',
  'limits-connections-per-user': '30000',
};

// For attacks by so many at once that the deadlines above would end some of them before this process
// has written what it has to: how fast it is must not matter.
export const PATIENT = {
  'limits-head-timeout': '120s',
  'limits-body-timeout': '120s',
  'auth-timeout': '120s',
};

// The body at `url`, over a connection of its own: one that is kept would be counted.
function read(url) {
  return new Promise((resolve, reject) => {
    const request = get(url, { agent: false }, async (answer) => {
      let body = '';
      for await (const part of answer.setEncoding('utf8')) body += part;
      resolve(body);
    });
    request.once('error', reject);
  });
}

// A well-behaved client that asks and is answered all the time, in steps of `pause` ms.
class Canary {
  static async start(hub) {
    const canary = new Canary();
    canary.client = await hub.plain('canary');
    canary.answers = 0;
    canary.client.closed.then((end) => {
      canary.end = end;
    });
    await canary.client.next('hub:ready');
    canary.run();
    return canary;
  }

  async run() {
    while (!this.stopped && !this.end) {
      this.quiet = this.paused;
      if (this.quiet) {
        await pause(15);
        continue;
      }
      try {
        const answer = await this.client.request('notification:received', { upTo: 0 });
        assert.equal(answer.ok, true);
        this.answers += 1;
      } catch (error) {
        this.error ??= error;
        return;
      }
      await pause(150);
    }
  }

  // Ask nothing from now on, after the answer that is under way; until resume().
  pause() {
    this.paused = true;
    return until(() => this.quiet, 'the canary pauses');
  }

  resume() {
    this.paused = false;
  }

  // It still lives, and is answered from now on too.
  async check() {
    const before = this.answers;
    await until(() => this.error || this.end || this.answers > before, 'the canary is answered');
    assert.equal(this.error, undefined, `canary: ${this.error?.message}`);
    assert.equal(this.end, undefined, `the canary was closed: ${JSON.stringify(this.end)}`);
  }
}

export class Siege {
  // `options` of startHub; `flags` override the settings above.
  static async start({ flags = {}, args = [], ...options } = {}) {
    const siege = new Siege();
    const all = Object.entries({ ...ARGS, ...flags }).flatMap(([name, value]) => [`--${name}`, value]);
    const env = { ASAN_OPTIONS: 'quarantine_size_mb=16', ...options.env };
    siege.hub = await startHub({ ...options, env, args: [...all, ...args] });
    siege.inputs = 0;
    siege.canary = await Canary.start(siege.hub);
    siege.sanitized = /lib[at]san/.test(readFileSync(`/proc/${siege.pid}/maps`, 'latin1'));
    siege.before = await siege.state();
    return siege;
  }

  get pid() {
    return this.hub.server.pid;
  }

  get address() {
    return this.hub.address;
  }

  // Memory that is in use now, in bytes.
  rss() {
    const status = readFileSync(`/proc/${this.pid}/status`, 'latin1');
    return Number(/VmRSS:\s+(\d+)/.exec(status)[1]) * 1024;
  }

  files() {
    return readdirSync(`/proc/${this.pid}/fd`).length;
  }

  // All metrics, by name with labels.
  async metrics() {
    const body = await read(`${this.hub.internalUrl}/metrics`);
    const rows = body.split('\n').filter((row) => row && !row.startsWith('#'));
    return Object.fromEntries(rows.map((row) => [row.slice(0, row.lastIndexOf(' ')), Number(row.slice(row.lastIndexOf(' ') + 1))]));
  }

  async state() {
    const metrics = await this.metrics();
    return {
      metrics,
      rss: this.rss(),
      sockets: metrics.peal_sockets,
      users: metrics.peal_users,
      rooms: metrics.peal_rooms,
    };
  }

  // Run `attack`, which tells how many inputs it tried, and see that the hub is as before.
  // `raised`: metrics that must have grown; `mib`: how much more memory it may keep.
  async strike(what, attack, { raised = [], mib = 48 } = {}) {
    const before = await this.state();
    this.inputs += await attack();
    assert.equal(this.hub.server.result, undefined, `${what}: the hub has ended\n${this.hub.log}`);
    await this.canary.check();
    await this.settle(what);
    const after = await this.metrics();
    for (const name of [raised].flat()) {
      assert.ok(after[name] > (before.metrics[name] ?? 0), `${what}: ${name} stayed ${after[name]}`);
    }
    const grown = (this.rss() - before.rss) / 2 ** 20;
    const bound = this.sanitized ? 16 * mib : mib;
    assert.ok(grown < bound, `${what}: memory grew by ${grown.toFixed(1)} MiB`);
  }

  // All that the attack opened is gone again.
  async settle(what) {
    let now;
    const gone = async () => {
      now = await this.state();
      return ['sockets', 'users', 'rooms'].every((name) => now[name] <= this.before[name]);
    };
    await until(gone, `${what}: sockets, users and rooms are as before`).catch((error) => {
      throw new Error(`${error.message}: ${JSON.stringify(now, ['sockets', 'users', 'rooms'])}`);
    });
    await until(
      async () => (await this.metrics()).peal_connections <= this.before.metrics.peal_connections + 1,
      `${what}: connections are as before`,
    );
  }

  async stop(context) {
    this.canary.stopped = true;
    await this.hub.stop();
    assert.doesNotMatch(this.hub.log, /Sanitizer|runtime error:|assertion/i);
    context?.diagnostic(`${this.inputs} inputs tried`);
  }
}
