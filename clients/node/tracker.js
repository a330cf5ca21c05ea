// SPDX-License-Identifier: Apache-2.0
// How long what an application does takes, by name: counts, means and quantiles of this process, bounded in
// memory whatever the names are.
const NAMES_MAX = 1_000;
const TOLD_NAMES_MAX = 200; // that are told one by one
const OTHERS = '(others)'; // what comes under further names
const SLOW_MAX = 100;
const STEPS = 16; // buckets from one power of two to the next: a quantile is 4.4 % off at most
const LEAST_MS = 2 ** -10;
const BUCKETS = 32 * STEPS;

const round = (ms) => Math.round(ms * 1000) / 1000;

class Series {
  count = 0;
  errors = 0;
  total = 0;
  min = Infinity;
  max = 0;
  #buckets = new Uint32Array(BUCKETS);

  add(ms, isError) {
    this.count += 1;
    this.errors += isError ? 1 : 0;
    this.total += ms;
    this.min = Math.min(this.min, ms);
    this.max = Math.max(this.max, ms);
    const bucket = Math.floor(Math.log2(Math.max(ms, LEAST_MS) / LEAST_MS) * STEPS);
    this.#buckets[Math.min(BUCKETS - 1, bucket)] += 1;
  }

  // The middle of the bucket in which the quantile lies, within what there was.
  #quantile(share) {
    let left = Math.ceil(this.count * share);
    const at = this.#buckets.findIndex((count) => (left -= count) <= 0);
    return Math.min(this.max, Math.max(this.min, LEAST_MS * 2 ** ((at + 0.5) / STEPS)));
  }

  get summary() {
    const { count, errors } = this;
    return {
      count,
      errors,
      avgTime: round(this.total / count),
      minTime: round(this.min),
      maxTime: round(this.max),
      p50: round(this.#quantile(0.5)),
      p95: round(this.#quantile(0.95)),
      p99: round(this.#quantile(0.99)),
    };
  }
}

export class Tracker {
  #slow;
  #onSlow;
  #now;
  #onTracked;
  #names = new Set(); // that were told
  #series = new Map();
  #slowest = []; // the slowest one first
  #slowCount = 0;

  // `slow`: from so many ms on something is slow; `onSlow({name, executionTime, threshold, timestamp})`; `now()`: ms;
  // `onTracked(name, ms, success)`: of each, beyond TOLD_NAMES_MAX names as one.
  constructor(slow, onSlow, now = () => performance.now(), onTracked = undefined) {
    if (!(slow >= 0)) throw new TypeError('slow: milliseconds');
    this.#slow = slow;
    this.#onSlow = onSlow;
    this.#now = now;
    this.#onTracked = onTracked;
  }

  // What `fn` returns, or throws; of a promise the time until it is settled.
  track(name, fn) {
    const start = this.#now();
    let result;
    try {
      result = fn();
    } catch (error) {
      this.#add(name, start, true);
      throw error;
    }
    if (typeof result?.then !== 'function') {
      this.#add(name, start, false);
      return result;
    }
    return result.then(
      (value) => {
        this.#add(name, start, false);
        return value;
      },
      (error) => {
        this.#add(name, start, true);
        throw error;
      },
    );
  }

  #add(name, start, isError) {
    const ms = this.#now() - start;
    const known = this.#series.has(name) || this.#series.size < NAMES_MAX;
    const key = known ? name : OTHERS;
    if (!this.#series.has(key)) this.#series.set(key, new Series());
    this.#series.get(key).add(ms, isError);
    if (this.#onTracked) {
      if (this.#names.size < TOLD_NAMES_MAX) this.#names.add(name);
      this.#onTracked(this.#names.has(name) ? name : OTHERS, ms, !isError);
    }
    if (ms < this.#slow) return;
    const told = { name, executionTime: round(ms), threshold: this.#slow, timestamp: new Date().toISOString() };
    this.#slowCount += 1;
    const at = this.#slowest.findIndex(({ executionTime }) => executionTime < told.executionTime);
    this.#slowest.splice(at < 0 ? this.#slowest.length : at, 0, told);
    this.#slowest.length = Math.min(this.#slowest.length, SLOW_MAX);
    this.#onSlow(told);
  }

  // In the form of the hub's own `query-stats`.
  get stats() {
    const all = [...this.#series.values()];
    const count = all.reduce((sum, series) => sum + series.count, 0);
    const total = all.reduce((sum, series) => sum + series.total, 0);
    return {
      totalQueries: count,
      slowQueries: this.#slowCount,
      averageExecutionTime: count === 0 ? 0 : round(total / count),
      queryBreakdown: Object.fromEntries([...this.#series].map(([name, series]) => [name, series.summary])),
      slowestQueries: [...this.#slowest],
    };
  }
}
