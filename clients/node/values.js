// SPDX-License-Identifier: Apache-2.0
// Values: the hub's cache and counters, and what is built on them for the code of an application.
//
// Two kinds of calls. What asks the hub for something to be done rejects when it was not: set, delete,
// mset, increment, invalidate, lease. What only wants to be faster never fails because of the hub: get, mget,
// cacheAside and what is made of it. For these a hub that is away is a miss, as for the hub a Redis that is away.
import { createHash } from 'node:crypto';
import { PealError, invalid, refusal } from './peal_error.js';
import { segment } from './transport.js';

const TAGS_MAX = 16; // of one call
const OWED_MAX = 100_000; // tags that wait for a hub that is away
const PAY_MS = 1_000;
const PROBE = 'peal.probe'; // a name that nobody puts
const BASE = '/api/v1/values';

export const CLAIM = Symbol('claim');
export const DEFAULTS = Symbol('defaults');
export const FILL = Symbol('fill');
export const GIVE_UP = Symbol('give up');
export const SETTLE = Symbol('settle');
export const TELL = Symbol('tell');

// Resolve as `promise`, or reject with the reason of `signal`.
function orAborted(promise, signal) {
  if (signal === undefined) return promise;
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(signal.reason);
    signal.addEventListener('abort', onAbort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}

export const digest = (text) => createHash('sha256').update(text).digest('base64url');

// A text that two lists of arguments share only if they are the same.
function canonical(value) {
  if (value === undefined) return 'u';
  if (typeof value === 'bigint') return `n${value}`;
  if (typeof value === 'number' && !Number.isFinite(value)) return `f${value}`;
  if (Object.is(value, -0)) return 'f-0';
  if (value === null || ['boolean', 'number', 'string'].includes(typeof value)) return JSON.stringify(value);
  if (Array.isArray(value)) return `[${Array.from(value, canonical).join()}]`;
  if (value instanceof Date) return `d${value.getTime()}`;
  const prototype = typeof value === 'object' ? Object.getPrototypeOf(value) : undefined;
  if (prototype === Object.prototype || prototype === null) {
    return `{${Object.keys(value).sort().map((name) => `${JSON.stringify(name)}:${canonical(value[name])}`).join()}}`;
  }
  throw new TypeError('cacheable: these arguments make no key; give options.key');
}

const normal = (options) => (typeof options === 'number' ? { ttl: options } : (options ?? {}));

export class Values {
  #transport;
  #fuse;
  #tell;
  #defaults;
  #flights = new Map(); // name → a lease that is asked for, for all who want it at this moment
  #owed = new Set(); // tags that the hub has not let go yet
  #paying = false;
  #counts = { hits: 0, misses: 0, stale: 0, fills: 0, lost: 0, failed: 0, passed: 0 };

  // `makeFuse({probe, onBlown})`; `tell(error)`: the hub has refused what a cache asked.
  constructor(transport, { prefix = '', ttl, timeout = 1_000, wait = 5 }, makeFuse, tell) {
    if (!(timeout > 0)) throw new TypeError('values.timeout: milliseconds above 0');
    if (!Number.isInteger(wait) || wait < 0) throw new TypeError('values.wait: whole seconds');
    this.#transport = transport;
    this.#defaults = { prefix, ttl, timeout, wait };
    this.#tell = tell;
    this.#fuse = makeFuse({ probe: () => this.#probe(), onBlown: () => this.#endWaits() });
  }

  // What this process asked and was told, since its start.
  get counts() {
    return { ...this.#counts, owed: this.#owed.size, away: this.#fuse.isBlown };
  }

  // What middleware goes by where nothing else is said.
  get [DEFAULTS]() {
    return { ...this.#defaults };
  }

  // --- reads ---

  // The value, or null where there is none; a hub that is away has none.
  async get(key, options) {
    const entry = await this.#read(() => this.#entry(key, { retries: 0, timeout: this.#defaults.timeout, ...options }), null);
    return this.#count(entry, 1)?.value ?? null;
  }

  // {value, version, expiresAt, stale}, or null where there is none.
  entry(key, options) {
    return this.#entry(key, options);
  }

  async #entry(key, options = {}) {
    try {
      const { body, headers } = await this.#transport.ask({
        method: 'GET', path: this.#path(key, options), repeat: true, ...this.#how(options),
      });
      return this.#found(body, headers);
    } catch (error) {
      if (error instanceof PealError && error.status === 404 && error.code === 'not_found') return null;
      throw error;
    }
  }

  // The values in the order of the keys, null where there is none.
  async mget(keys, options = {}) {
    if (keys.length === 0) return [];
    const items = await this.#read(async () => {
      const names = keys.map((key) => this.#name(key, options));
      const { body } = await this.#transport.ask({
        method: 'POST', path: `${BASE}/mget`, body: { keys: names }, repeat: true,
        ...this.#how({ retries: 0, timeout: this.#defaults.timeout, ...options }),
      });
      return body.items;
    }, keys.map(() => null));
    for (const item of items) this.#count(item, 1);
    return items.map((item) => item?.value ?? null);
  }

  // --- changes ---

  // Resolves with {version, expiresAt}. `ifVersion`: only if that is its version now, 0: only if it is not
  // there. `lease`: of who fills it.
  async set(key, value, options) {
    const { ttl, tags, ifVersion, lease, compress, ...how } = normal(options);
    const content = this.#content(value, { ttl, tags, if_version: ifVersion, lease, compress });
    const { body } = await this.#transport.ask({
      method: 'PUT', path: this.#path(key, how), text: content,
      repeat: ifVersion === undefined && lease === undefined, ...this.#how(how),
    });
    return body;
  }

  async delete(key, options = {}) {
    await this.#transport.ask({ method: 'DELETE', path: this.#path(key, options), repeat: true, ...this.#how(options) });
  }

  // Each of `items` ({key, value, ttl?, tags?, ifVersion?, lease?, compress?}) is put by itself: a list of
  // {version, expiresAt}, or {error}, in their order.
  async mset(items, options = {}) {
    if (items.length === 0) return [];
    const contents = items.map(({ key, value, ifVersion, ...more }) => {
      const { ttl = this.#defaults.ttl } = more;
      if (value === undefined) throw invalid('value', 'value: what JSON can be made of');
      return { key: this.#name(key, options), value, ...more, ttl, if_version: ifVersion };
    });
    const once = items.some(({ ifVersion, lease }) => ifVersion !== undefined || lease !== undefined);
    const { body } = await this.#transport.ask({
      method: 'POST', path: `${BASE}/mset`, body: { items: contents }, repeat: !once, ...this.#how(options),
    });
    return body.items.map((item) => (item.error ? { error: refusal(undefined, item) } : item));
  }

  // What the counter is then. `ttl` is of one that begins.
  async increment(key, options) {
    const { by, ttl, ...how } = typeof options === 'number' ? { by: options } : (options ?? {});
    const { body } = await this.#transport.ask({
      method: 'POST', path: `${this.#path(key, how)}/increment`, body: { by, ttl }, ...this.#how(how),
    });
    return body.value;
  }

  // Let go what has one of the tags, or what begins with a pattern ({pattern: 'a:*'}); how many there were.
  async invalidate(what, options = {}) {
    const { pattern, tags } = typeof what === 'string' ? { tags: [what] } : Array.isArray(what) ? { tags: what } : what;
    if ((pattern === undefined) === (tags === undefined)) throw invalid('tags', 'invalidate: tags, or a pattern');
    const ask = async (body) => {
      const answer = await this.#transport.ask({
        method: 'POST', path: `${BASE}/invalidate`, body, repeat: true, ...this.#how(options),
      });
      return answer.body.invalidated;
    };
    if (pattern !== undefined) return ask({ pattern: this.#name(pattern, options) });
    let count = 0;
    for (let at = 0; at < tags.length; at += TAGS_MAX) count += await ask({ tags: tags.slice(at, at + TAGS_MAX) });
    return count;
  }

  // --- leases ---

  // {value, version, expiresAt, stale} when it is there; {fill: token} to one of all who ask, who sets it with
  // `lease: token`; {fill: null}: compute it, and do not set it. `wait`: seconds to wait for who fills.
  async lease(key, options = {}) {
    const { wait = 0, timeout = this.#defaults.timeout, ...how } = options;
    const { body, headers } = await this.#transport.ask({
      method: 'POST', path: `${this.#path(key, how)}/lease`, body: { wait },
      ...this.#how({ ...how, timeout: timeout + wait * 1000 }),
    });
    return 'fill' in body ? body : this.#found(body, headers);
  }

  // Who fills cannot: the turn of the next one.
  async release(key, lease, options = {}) {
    await this.#transport.ask({
      method: 'POST', path: `${this.#path(key, options)}/release`, body: { lease }, repeat: true, ...this.#how(options),
    });
  }

  // What the hub's node has done, and the tenant's keys by their beginning.
  async stats(options = {}) {
    const { body } = await this.#transport.ask({ method: 'GET', path: `${BASE}/stats`, repeat: true, ...this.#how(options) });
    return body;
  }

  // --- caching ---

  // The value of `key`; where there is none, what `fetch` makes, and of all who ask for it at the same time, in
  // all processes, one fetches. `options`: seconds to live, or {ttl, tags, prefix, compress, serialize, deserialize,
  // wait, timeout, signal}; `tags` may be a function of the value. What it resolves with is what a later hit
  // will be: made of JSON. What fetch throws is thrown; what is undefined, or no JSON can be made of, is not kept.
  async cacheAside(key, fetch, options) {
    const settings = normal(options);
    const { signal } = settings;
    const name = this.#name(key, settings);
    const claim = await this[CLAIM](name, settings);
    const { deserialize = (value) => value } = settings;
    if (claim.found) return deserialize(claim.value);
    let value;
    try {
      signal?.throwIfAborted();
      value = await fetch();
    } catch (error) {
      this[GIVE_UP](name, claim);
      throw error;
    }
    const text = this.#textOf(value, settings);
    if (text === undefined) {
      this[GIVE_UP](name, claim);
      return value;
    }
    const { ttl, tags, compress } = settings;
    const content = () => ({ ttl, compress, tags: typeof tags === 'function' ? tags(value) : tags });
    await this[FILL](name, claim, text, content, settings);
    return deserialize(JSON.parse(text));
  }

  // The JSON of a value, or undefined where it has none.
  #textOf(value, { serialize = (same) => same }) {
    try {
      return JSON.stringify(serialize(value));
    } catch (error) {
      this.#tell(new PealError('invalid_field', `no JSON can be made of the value: ${error.message}`, { field: 'value', cause: error }));
      return undefined;
    }
  }

  // The same by its other name.
  getOrSet(key, fetch, options) {
    return this.cacheAside(key, fetch, options);
  }

  // A function like `fn` whose results are kept by its arguments. `options`: as for cacheAside, `name` (default: that of
  // `fn`), `key(...args)` in place of name and arguments, `tags`: a list, or of (result, ...args). Of the
  // function: key(...args), and forget(...args).
  cacheable(fn, options) {
    const { name = fn.name, key, tags, ...settings } = normal(options);
    if (typeof fn !== 'function') throw new TypeError('cacheable: a function');
    if (key === undefined && !name) throw new TypeError('cacheable: a function without a name needs options.name or options.key');
    const keyOf = (...args) => (key ? key(...args) : `${name}:${digest(canonical(args))}`);
    const values = this;
    async function cached(...args) {
      return values.cacheAside(keyOf(...args), () => fn.apply(this, args), {
        ...settings,
        tags: typeof tags === 'function' ? (result) => tags(result, ...args) : tags,
      });
    }
    cached.key = keyOf;
    cached.forget = async (...args) => values.delete(keyOf(...args), { prefix: settings.prefix });
    return cached;
  }

  // Who gets {found, value, stale}, {fill: token} to put it, or {fill: null}. Never rejects because of the hub.
  async [CLAIM](name, { wait = this.#defaults.wait, timeout = this.#defaults.timeout, signal }) {
    signal?.throwIfAborted();
    const end = performance.now() + wait * 1000;
    for (let left = 0; ; left = Math.ceil((end - performance.now()) / 1000)) {
      if (this.#owed.size > 0 || !this.#fuse.allows()) return this.#pass();
      const flight = this.#fly(name, left, timeout);
      flight.sharers += 1;
      let answer;
      try {
        answer = await orAborted(flight.answer, signal);
      } catch (error) {
        flight.sharers -= 1;
        throw error;
      }
      if (answer.failed) return this.#pass();
      if (answer.found) return this.#count(answer, 1);
      if (answer.fill !== null && !flight.taken) {
        flight.taken = true;
        this.#counts.fills += 1;
        return this.#count(answer, 1);
      }
      // With `fill` another of us fills it now. Without, who waited did so in vain, or Redis is away.
      const last = answer.fill === null && flight.wait > 0;
      if (last || end - performance.now() <= 0) return this.#pass();
    }
  }

  #pass() {
    this.#counts.passed += 1;
    this.#counts.misses += 1;
    return { fill: null };
  }

  // Put what was made, if the claim says so. Never rejects: what was made is good, whatever the hub says.
  async [FILL](name, { fill }, text, content, { timeout = this.#defaults.timeout } = {}) {
    if (fill === null) return;
    try {
      const { ttl = this.#defaults.ttl, tags, compress } = content();
      await this.#transport.ask({
        method: 'PUT', path: `${BASE}/${segment('key', name)}`, timeout, retries: 0,
        text: `{"value":${text},${JSON.stringify({ ttl, tags, compress, lease: fill }).slice(1)}`,
      });
      this.#fuse.succeeded();
    } catch (error) {
      if (error?.code === 'lease_lost') this.#counts.lost += 1;
      else this.#failed(error);
      this[GIVE_UP](name, { fill }); // also a lease that is lost only because one of the tags was let go
    }
  }

  // Nothing was made: the turn of the next one. Nobody waits for that.
  [GIVE_UP](name, { fill }) {
    if (!fill) return;
    this.#transport
      .ask({
        method: 'POST', path: `${BASE}/${segment('key', name)}/release`, body: { lease: fill }, repeat: true,
        timeout: this.#defaults.timeout,
      })
      .then(() => this.#fuse.succeeded(), (error) => this.#failed(error));
  }

  // The question of all who want `name` now. It resolves with {found, value, stale}, {fill} or {failed}.
  #fly(name, wait, timeout) {
    const under = this.#flights.get(name);
    if (under !== undefined) return under;
    const flight = { wait, taken: false, sharers: 0, controller: new AbortController() };
    flight.answer = this.#askLease(name, { wait, timeout, signal: flight.controller.signal }).then((answer) => {
      this.#flights.delete(name);
      if (flight.sharers === 0) this[GIVE_UP](name, answer); // all of them have gone
      return answer;
    });
    this.#flights.set(name, flight);
    return flight;
  }

  async #askLease(name, how) {
    try {
      const answer = await this.lease(name, { ...how, retries: 0, prefix: '' });
      this.#fuse.succeeded();
      return 'fill' in answer ? answer : { found: true, ...answer };
    } catch (error) {
      if (!how.signal.aborted) this.#failed(error);
      return { failed: true };
    }
  }

  // The hub is away: who waits for another one to fill goes on.
  #endWaits() {
    for (const { controller } of this.#flights.values()) controller.abort();
  }

  // --- what the hub has not let go yet ---

  // Let go what has one of `tags`: now or, where the hub is away, as soon as it is back; until then this process
  // shows nothing that a cache has. Never rejects.
  async [SETTLE](tags) {
    if (tags.length === 0) return;
    if (this.#owed.size === 0 && this.#fuse.allows()) {
      try {
        await this.#letGo(tags, { timeout: this.#defaults.timeout, retries: 0 });
        return;
      } catch (error) {
        this.#failed(error);
      }
    }
    for (const tag of tags) {
      if (this.#owed.size < OWED_MAX) this.#owed.add(tag);
      else this.#tell(new PealError('queue_full', 'too many tags wait for the hub: what has them ends by its ttl'));
    }
    this.#payLater();
  }

  #payLater() {
    if (this.#owed.size === 0 || this.#paying) return;
    this.#paying = true;
    setTimeout(async () => {
      if (this.#fuse.isBlown) this.#fuse.look({ due: true });
      else await this.#pay();
      this.#paying = false;
      this.#payLater();
    }, PAY_MS).unref();
  }

  async #pay() {
    while (this.#owed.size > 0) {
      const tags = [...this.#owed].slice(0, TAGS_MAX);
      try {
        await this.#letGo(tags, { retries: 0 });
      } catch (error) {
        this.#failed(error);
        return;
      }
      for (const tag of tags) this.#owed.delete(tag);
    }
  }

  // Rejects where the same may succeed later. A refusal stays one, and a tag that is none holds no other back.
  async #letGo(tags, how) {
    try {
      await this.invalidate(tags, how);
      this.#fuse.succeeded();
    } catch (error) {
      if (error.temporary) throw error;
      this.#failed(error);
      if (error.code !== 'invalid_field' || tags.length === 1) return;
      for (const tag of tags) await this.#letGo([tag], how);
    }
  }

  // --- small things ---

  [TELL](error) {
    this.#tell(error);
  }

  #name(key, { prefix = this.#defaults.prefix } = {}) {
    if (typeof key !== 'string' || key === '') throw invalid('key', 'key: a text that is not empty');
    return prefix ? `${prefix}:${key}` : key;
  }

  #path(key, options) {
    return `${BASE}/${segment('key', this.#name(key, options))}`;
  }

  #how({ signal, timeout, retries }) {
    return { signal, timeout, retries };
  }

  #content(value, { ttl = this.#defaults.ttl, ...more }) {
    if (value === undefined) throw invalid('value', 'value: what JSON can be made of');
    return JSON.stringify({ value, ttl, ...more });
  }

  #found(body, headers) {
    return { ...body, stale: headers.get('x-cache') === 'STALE' };
  }

  #count(answer, by) {
    const found = answer !== null && 'value' in answer;
    if (found && answer.stale) this.#counts.stale += by;
    else if (found) this.#counts.hits += by;
    else this.#counts.misses += by;
    return answer;
  }

  // What `call` resolves with; `otherwise` when the hub is away.
  async #read(call, otherwise) {
    if (!this.#fuse.allows()) {
      this.#counts.passed += 1;
      return otherwise;
    }
    try {
      const answer = await call();
      this.#fuse.succeeded();
      return answer;
    } catch (error) {
      if (!(error instanceof PealError) || !error.temporary) throw error;
      this.#failed(error);
      return otherwise;
    }
  }

  // A cache goes on without the hub: it is counted, and told once.
  #failed(error) {
    this.#counts.failed += 1;
    if (error?.temporary) this.#fuse.failed(error);
    else this.#tell(error);
  }

  async #probe() {
    try {
      await this.#entry(PROBE, { prefix: '', retries: 0, timeout: this.#defaults.timeout });
    } catch (error) {
      if (error.temporary) throw error;
    }
  }
}
