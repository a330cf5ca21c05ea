// SPDX-License-Identifier: Apache-2.0
// Counters, gauges and timers of an application: gathered here, posted to the hub every 30 s.
//
// What the hub surely did not count is put back and posted with the next; what may have been counted is not, for it
// would be counted twice. Bounds: VALUES_MAX of all, AGE_MS, for the hub takes nothing older.
import { PealError, invalid } from './peal_error.js';

const PATH = '/api/v1/metrics';
const EVERY_MS = 30_000;
const POST_MAX = 1_000; // values in one post
const VALUES_MAX = 20_000; // here; the oldest go
const BYTES_MAX = 400_000; // of one post; the hub takes 512 KiB
const STRANGE_MAX = 1_000; // series that the hub does not take, which are not posted again
const AGE_MS = 290_000;

const keyOf = ({ name, type, unit, tags }) => JSON.stringify([name, type, unit, Object.entries(tags ?? {}).sort()]);
const isUncounted = (error) => error instanceof PealError && error.temporary && !error.uncertain;

export class Metrics {
  #transport;
  #every;
  #now;
  #onRefused;
  #values = []; // what is to be posted, the oldest first
  #sums = new Map(); // the counters and gauges among them that are still open, by series
  #strange = new Set();
  #timer;
  #flushing;
  #counts = { posted: 0, dropped: 0, refused: 0, failed: 0, unsure: 0 };

  constructor(transport, { every = EVERY_MS, now = Date.now } = {}, onRefused = () => {}) {
    if (!(every >= 100)) throw invalid('metrics.every', 'metrics.every: at least 100 milliseconds');
    this.#transport = transport;
    this.#every = every;
    this.#now = now;
    this.#onRefused = onRefused;
  }

  // Something has happened `value` times more. What it is comes together until it is posted.
  count(name, value = 1, tags = undefined) {
    if (!(value >= 0)) throw invalid('value', 'value: what a counter grows by, 0 or more');
    this.#add({ name, type: 'counter', value, tags }, (open) => {
      open.value += value;
    });
  }

  // Something stands at `value`; the last one counts.
  gauge(name, value, tags = undefined) {
    if (!Number.isFinite(value)) throw invalid('value', 'value: a number');
    this.#add({ name, type: 'gauge', value, tags }, (open) => {
      open.value = value;
    });
  }

  // Something took `ms`.
  time(name, ms, tags = undefined) {
    if (!(ms >= 0)) throw invalid('ms', 'ms: 0 or more');
    this.#add({ name, type: 'timer', value: ms, tags });
  }

  #add(value, merge) {
    const key = keyOf(value);
    if (this.#strange.has(key)) {
      this.#counts.refused += 1;
      return;
    }
    const open = merge && this.#sums.get(key);
    if (open) {
      merge(open);
      return;
    }
    const entry = { ...value, timestamp: this.#now() };
    this.#values.push(entry);
    if (merge) this.#sums.set(key, entry);
    this.#bound();
    this.#arm();
  }

  // A process may end while values wait: `flush` before it does.
  #arm() {
    if (this.#timer !== undefined) return;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.flush().finally(() => {
        if (this.#values.length > 0) this.#arm();
      });
    }, this.#every);
    this.#timer.unref?.();
  }

  #bound() {
    const oldest = this.#now() - AGE_MS;
    let drop = Math.max(0, this.#values.length - VALUES_MAX);
    while (drop < this.#values.length && this.#values[drop].timestamp < oldest) drop += 1;
    for (const value of this.#values.splice(0, drop)) {
      if (this.#sums.get(keyOf(value)) === value) this.#sums.delete(keyOf(value));
    }
    this.#counts.dropped += drop;
  }

  // Post what is there; never rejects, `counts` says what came of it.
  flush() {
    this.#flushing ??= this.#flush().finally(() => {
      this.#flushing = undefined;
    });
    return this.#flushing;
  }

  async #flush() {
    this.#bound();
    this.#sums.clear();
    let left = this.#values;
    this.#values = [];
    while (left.length > 0) {
      const some = this.#take(left);
      const rest = await this.#post(some);
      left = left.slice(some.length);
      if (rest === undefined) continue;
      left = [...rest.values, ...left];
      if (rest.again) continue;
      this.#values = [...left, ...this.#values]; // put back, in front
      this.#bound();
      return;
    }
  }

  #take(values) {
    let bytes = 0;
    const end = values.findIndex((value, i) => {
      bytes += JSON.stringify(value).length + 1;
      return i >= POST_MAX || (i > 0 && bytes > BYTES_MAX);
    });
    return end < 0 ? values : values.slice(0, end);
  }

  // undefined: nothing of it is to be posted again; {values, again}: these, now or with the next flush.
  async #post(values) {
    try {
      await this.#transport.ask({ method: 'POST', path: PATH, body: values, retries: 0 });
      this.#counts.posted += values.length;
      return undefined;
    } catch (error) {
      if (isUncounted(error)) {
        this.#counts.failed += 1;
        return { values, again: false };
      }
      if (error instanceof PealError && error.status === 422 && values[error.index] !== undefined) {
        return { values: this.#without(values, values[error.index], error), again: true };
      }
      this.#counts[error instanceof PealError && error.uncertain ? 'unsure' : 'refused'] += values.length;
      this.#onRefused(error);
      return undefined;
    }
  }

  // All but those of a series that the hub does not take.
  #without(values, strange, error) {
    const key = keyOf(strange);
    if (this.#strange.size < STRANGE_MAX) this.#strange.add(key);
    const rest = values.filter((value) => keyOf(value) !== key);
    this.#counts.refused += values.length - rest.length;
    this.#onRefused(error);
    return rest;
  }

  // What became of the values so far; `waiting` are to be posted.
  get counts() {
    return { ...this.#counts, waiting: this.#values.length };
  }
}
