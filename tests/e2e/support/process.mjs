// SPDX-License-Identifier: Apache-2.0
// process - a server under test: started, watched, its output kept, stopped by its pid.
import { spawn } from 'node:child_process';
import { mkdirSync, createWriteStream, mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { readLines } from './lines.mjs';
import { until, within } from './wait.mjs';

const running = new Set();
const folders = new Set();
let serial = 0;

process.once('exit', () => {
  for (const child of running) child.kill('SIGKILL');
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
});
for (const signal of ['SIGINT', 'SIGTERM']) process.once(signal, () => process.exit(130));

// A new folder that goes when this process does. Short, because it holds Unix sockets.
export function temporaryFolder(name) {
  const folder = mkdtempSync(join(tmpdir(), `peal-${name}-`));
  folders.add(folder);
  return folder;
}

function openLog(name) {
  const folder = process.env.PEAL_ARTIFACTS;
  if (!folder) return null;
  mkdirSync(folder, { recursive: true });
  serial += 1;
  return createWriteStream(join(folder, `${name}-${process.pid}-${serial}.log`));
}

export class Server {
  // `user`: run as that user (needs root). `onLine`: what gets its standard output, line by line,
  // in place of `output`; its standard input is then ours. The child dies with us, however we die.
  constructor(name, program, args, { env = process.env, cwd, user, onLine } = {}) {
    this.name = name;
    this.lines = [];
    this.rest = '';
    this.log = openLog(name);
    const drop = user ? ['--reuid', user, '--regid', user, '--init-groups'] : [];
    this.child = spawn('setpriv', ['--pdeathsig', 'KILL', ...drop, '--', program, ...args], {
      env,
      cwd,
      stdio: [onLine ? 'pipe' : 'ignore', 'pipe', 'pipe'],
    });
    running.add(this.child);
    this.ended = new Promise((resolve) => {
      this.child.once('error', (error) => this.end({ error }, resolve));
      this.child.once('close', (code, signal) => this.end({ code, signal }, resolve));
    });
    this.child.stderr.on('data', (bytes) => this.keep(bytes));
    if (onLine) readLines(this.child.stdout, onLine);
    else this.child.stdout.on('data', (bytes) => this.keep(bytes));
  }

  get pid() {
    return this.child.pid;
  }

  // What it printed so far.
  get output() {
    return [...this.lines, this.rest].join('\n');
  }

  keep(bytes) {
    this.log?.write(bytes);
    const parts = (this.rest + bytes).split('\n');
    this.rest = parts.pop();
    this.lines.push(...parts);
  }

  end(result, resolve) {
    running.delete(this.child);
    this.result ??= result;
    this.log?.end();
    resolve(this.result);
  }

  // Resolve when `condition` holds; reject at once, with the output, when the process ends first.
  async ready(condition, deadline) {
    try {
      await until(() => this.result || condition(), `${this.name} is ready`, deadline);
    } catch (error) {
      await this.stop('SIGKILL');
      throw new Error(`${error.message}\n${this.output}`);
    }
    if (this.result) {
      throw new Error(`${this.name} ended: ${JSON.stringify(this.result)}\n${this.output}`);
    }
  }

  signal(name) {
    if (this.result) return;
    process.kill(this.pid, name);
    while (name === 'SIGSTOP' && !this.isStopped()); // its threads stop one after the other
  }

  isStopped() {
    try {
      const tasks = `/proc/${this.pid}/task`;
      const state = (id) => readFileSync(`${tasks}/${id}/stat`, 'utf8').replace(/^.*\) /s, '')[0];
      return readdirSync(tasks).every((id) => 'TtZX'.includes(state(id)));
    } catch {
      return true; // it has ended
    }
  }

  // Ask it to end and wait; resolves with {code, signal}. One that does not end is killed, and
  // that is an error.
  async stop(signal = 'SIGTERM', deadline = 60_000) {
    this.signal(signal);
    try {
      return await within(this.ended, `${this.name} ends after ${signal}`, deadline);
    } catch (error) {
      this.signal('SIGKILL');
      await this.ended;
      throw new Error(`${error.message}\n${this.output}`);
    }
  }
}
