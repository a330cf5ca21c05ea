// SPDX-License-Identifier: Apache-2.0
// promised - times that the hub promises, on a machine that has other things to do.
import { readFileSync, readdirSync } from 'node:fs';
import { until } from './wait.mjs';

const STEP = 10;

// How long each thread of a process has waited for a processor so far, in ms. Empty where the kernel
// does not tell, and for a process that is gone.
function queued(pid) {
  try {
    return new Map(readdirSync(`/proc/${pid}/task`).map((thread) => {
      const [, wait] = readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'latin1').split(' ');
      return [thread, Number(wait) / 1e6];
    }));
  } catch {
    return new Map();
  }
}

// What the machine adds to every time: how late timers of this process are, and how long the thread of
// each of `pids` that waited longest has waited for a processor.
export class Delay {
  constructor(pids = []) {
    this.before = new Map(pids.map((pid) => [pid, queued(pid)]));
    this.late = 0;
    let last = performance.now();
    this.timer = setInterval(() => {
      const now = performance.now();
      this.late += Math.max(0, now - last - STEP);
      last = now;
    }, STEP);
  }

  // In ms, up to now.
  get ms() {
    let sum = this.late;
    for (const [pid, before] of this.before) {
      sum += Math.max(0, ...[...queued(pid)].map(([thread, wait]) => wait - (before.get(thread) ?? 0)));
    }
    return sum;
  }

  stop() {
    clearInterval(this.timer);
  }
}

// Resolve with the first truthy value of `condition`, which the hub promises within `ms`; what this
// machine delays meanwhile, here and in `servers` (that work for it), comes on top. Rejects with both
// figures when it took longer, and when it does not come at all.
export async function promised(condition, what, ms, servers = []) {
  const delay = new Delay(servers.map(({ server, pid }) => server?.pid ?? pid).filter(Boolean));
  const start = performance.now();
  try {
    const value = await until(condition, what, ms + 60_000);
    const took = performance.now() - start;
    const allowed = ms + delay.ms;
    if (took > allowed) throw new Error(`${what}: ${took.toFixed(0)} ms, promised ${ms}, with delays of the machine ${allowed.toFixed(0)}`);
    return value;
  } finally {
    delay.stop();
  }
}
