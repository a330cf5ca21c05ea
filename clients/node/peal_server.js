// SPDX-License-Identifier: Apache-2.0
// PealServer: the routes of a hub that an API key may use.
import { EventEmitter } from 'node:events';
import { randomUUID } from 'node:crypto';
import { makeCacheMiddleware, makeInvalidateMiddleware } from './answer_cache.js';
import { Fuse } from './fuse.js';
import { Jobs } from './jobs.js';
import { Metrics } from './metrics.js';
import { PealError, invalid } from './peal_error.js';
import { Tracker } from './tracker.js';
import { Transport, pause, segment } from './transport.js';
import { DEFAULTS, Values } from './values.js';

const SLOW_MS = 100;
const TOLD_MAX = 100; // kinds of refusals that are told, once each
const AGAIN_MS = 200; // before posts of a list that were not accepted are repeated

// Marks that may be repeated: those by ids or up to a seq. What is for all would also mark what came meanwhile.
const isBounded = (which) => which !== undefined && !(typeof which === 'object' && 'all' in which);

const isOpen = ({ status, results }) => status === 503 || status === 504 || results?.some(isOpen) === true;

export class PealServer {
  #transport;
  #events = new EventEmitter();
  #told = new Set();
  #tracker;
  #retries;
  #values;
  #jobs;
  #metrics;

  // `url` of the hub, API `key`; `tenant` for a key that is bound to none; `timeout` ms of one attempt, `retries`;
  // `values`: {prefix, ttl (s), timeout (ms), wait (s)} of caches; `slow` ms; `metrics`: {every (ms), track}; `fetch`.
  constructor({ values = {}, slow = SLOW_MS, metrics = {}, ...options }) {
    this.#transport = new Transport(options);
    this.#retries = options.retries ?? 2;
    this.#jobs = new Jobs(this.#transport);
    this.#metrics = new Metrics(this.#transport, metrics, (error) => this.#refused(error));
    const onTracked = (name, ms, success) => this.#metrics.time('query', ms, { name: String(name).slice(0, 40), success });
    this.#tracker = new Tracker(slow, (told) => this.#emit('slow', told), undefined, metrics.track ? onTracked : undefined);
    const makeFuse = ({ probe, onBlown }) => new Fuse({
      probe,
      onAway: (detail) => {
        onBlown();
        this.#say('away', detail, `the hub is away: caches go on without it (${detail.error.message})`);
      },
      onBack: (detail) => this.#emit('back', detail),
    });
    this.#values = new Values(this.#transport, values, makeFuse, (error) => this.#refused(error));
  }

  get values() {
    return this.#values;
  }

  // Scope `jobs`.
  get jobs() {
    return this.#jobs;
  }

  // Scope `metrics`: counters, gauges, timers of the application.
  get metrics() {
    return this.#metrics;
  }

  // What all nodes have counted in a range, {range: '1h', points, series}; scope `read`.
  metricsSummary(query, how) {
    return this.#read('/api/v1/metrics/summary', query, how);
  }

  // Events: `away` ({error}): caches go on without the hub; `back` ({since, passed}); `refused` ({error}): what a
  // cache asked, or metrics posted, once for each kind; `slow`: of `track`. Nobody listens to the first or third: a process warning.
  on(event, listener) {
    this.#events.on(event, listener);
    return () => this.off(event, listener);
  }

  off(event, listener) {
    this.#events.off(event, listener);
    return this;
  }

  // Whether anybody listens. A listener that throws stops neither the others nor the client: the error is reported.
  #emit(event, detail) {
    const listeners = this.#events.listeners(event);
    for (const listener of listeners) {
      try {
        listener(detail);
      } catch (error) {
        queueMicrotask(() => {
          throw error;
        });
      }
    }
    return listeners.length > 0;
  }

  #say(event, detail, text) {
    if (!this.#emit(event, detail)) process.emitWarning(text, { type: 'PealWarning', code: `PEAL_${event.toUpperCase()}` });
  }

  // `thrown` by the hub, or by a function of the options, which may throw anything.
  #refused(thrown) {
    const error = thrown instanceof Error ? thrown : new Error(String(thrown));
    const kind = `${error.code}:${error.field ?? ''}:${error.status ?? error.message}`;
    if (this.#told.has(kind) || this.#told.size >= TOLD_MAX) return;
    this.#told.add(kind);
    this.#say('refused', { error }, `the hub refused: ${error.message}`);
  }

  // Any route: what its answer is. `repeat`: whether it is the same when it is done twice.
  async request(method, path, { query, body, headers, repeat = method === 'GET', ...how } = {}) {
    if (typeof path !== 'string' || !path.startsWith('/')) throw invalid('path', 'path: begins with /');
    const answer = await this.#transport.ask({ method, path, query, body, headers, repeat, ...how });
    return answer.body;
  }

  // --- posts ---

  // One notification, or a list of up to 1,000; what the hub answers: {id, seq, duplicate}, or {results}. It is
  // repeated until it is answered: each has a key, its own or one made here, by which the hub stores it once.
  // Of a list the posts that the store did not take are repeated, the others are not.
  async post(what, { idempotencyKey = randomUUID(), ...how } = {}) {
    const { tenant } = this.#transport;
    const inTenant = (post) => (tenant === undefined || post.tenant !== undefined ? post : { ...post, tenant });
    const keyed = (post, key) => ({ ...inTenant(post), key: post.key ?? key });
    const posts = [what].flat().map((post, i) => keyed(post, Array.isArray(what) ? `${idempotencyKey}/${i}` : idempotencyKey));
    if (Array.isArray(what)) return { results: await this.#repeatOpen(posts, await this.#post(posts, how), how) };
    const answer = await this.#post(posts[0], how);
    // To several users each has a result: to repeat it changes only those that have none.
    const isWhole = !answer.results?.some(isOpen);
    return isWhole ? answer : { results: (await this.#repeatOpen(posts, [answer], how))[0].results };
  }

  async #post(body, how) {
    const { body: answer } = await this.#transport.ask({
      method: 'POST', path: '/api/v1/notifications', body, repeat: true, tenant: false,
      accept: (status, it) => status === 504 && Array.isArray(it?.results), ...how,
    });
    return Array.isArray(body) ? answer.results : answer;
  }

  async #repeatOpen(posts, results, how) {
    for (let left = how.retries ?? this.#retries; left > 0; left--) {
      const open = results.flatMap((result, i) => (isOpen(result) ? [i] : []));
      if (open.length === 0) break;
      await pause(AGAIN_MS, how.signal);
      let answer;
      try {
        answer = await this.#post(open.map((i) => posts[i]), { ...how, retries: 0 });
      } catch (error) {
        if (!(error instanceof PealError)) throw error;
        continue; // what is known of them is still true
      }
      open.forEach((i, n) => {
        results[i] = answer[n];
      });
    }
    return results;
  }

  // Give a notification that was posted other content; what it is then.
  update(id, changes, how) {
    return this.#ask('PATCH', `/api/v1/notifications/${segment('id', id)}`, how, { body: changes, repeat: true });
  }

  // Take it back from all who have it. `undelivered`: only where nobody has it yet.
  async takeBack(id, { undelivered = false, ...how } = {}) {
    const query = { if: undelivered ? 'undelivered' : undefined };
    await this.#ask('DELETE', `/api/v1/notifications/${segment('id', id)}`, how, { query, repeat: true, gone: true });
  }

  // One notification; {status: 'scheduled', …} of one that is not delivered yet.
  notification(id, query, how) {
    return this.#read(`/api/v1/notifications/${segment('id', id)}`, query, how);
  }

  // An event that is not kept ({event, args, to: {users | rooms | all}, except?, volatile?, priority?}), or a
  // list of up to 1,000, in order and all or none. It is repeated only when it was surely not published.
  async publish(what, how) {
    const { tenant } = this.#transport;
    const inTenant = (event) => (tenant === undefined || event.tenant !== undefined ? event : { ...event, tenant });
    const body = Array.isArray(what) ? what.map(inTenant) : inTenant(what);
    return this.#ask('POST', '/api/v1/events', how, { body, tenant: false });
  }

  // --- topics ---

  // {added}; {full} where some have as many topics as they may.
  subscribe(topic, users, how) {
    return this.#ask('PUT', `/api/v1/topics/${segment('topic', topic)}/subscribers`, how, { body: { users }, repeat: true });
  }

  unsubscribe(topic, users, how) {
    return this.#ask('POST', `/api/v1/topics/${segment('topic', topic)}/subscribers/remove`, how, { body: { users }, repeat: true });
  }

  subscribers(topic, query, how) {
    return this.#read(`/api/v1/topics/${segment('topic', topic)}/subscribers`, query, how);
  }

  topics(query, how) {
    return this.#read('/api/v1/topics', query, how);
  }

  topicsOf(user, query, how) {
    return this.#read(`${this.#user(user)}/topics`, query, how);
  }

  // --- inboxes ---

  notifications(user, query, how) {
    return this.#read(`${this.#user(user)}/notifications`, query, how);
  }

  counts(user, query, how) {
    return this.#read(`${this.#user(user)}/counts`, query, how);
  }

  overview(user, how) {
    return this.#read(`${this.#user(user)}/overview`, undefined, how);
  }

  unread(user, how) {
    return this.#read(`${this.#user(user)}/notifications/unread`, undefined, how);
  }

  // `name`: read, unread, seen, archive, unarchive, snooze, delete, read-all or seen-all; `which`: an id, a list of
  // ids, {ids}, {upTo: seq} or {all: true, type?}, of snooze with `until`.
  mark(user, name, which, how) {
    const body = typeof which === 'string' ? { ids: [which] } : Array.isArray(which) ? { ids: which } : which;
    const path = `${this.#user(user)}/notifications/${segment('mark', name)}`;
    return this.#ask('POST', path, how, { body, repeat: isBounded(which) && !/-all$/.test(name) });
  }

  preferences(user, how) {
    return this.#read(`${this.#user(user)}/preferences`, undefined, how);
  }

  setPreferences(user, preferences, how) {
    return this.#ask('PUT', `${this.#user(user)}/preferences`, how, { body: preferences, repeat: true });
  }

  async devices(user, how) {
    return (await this.#read(`${this.#user(user)}/devices`, undefined, how)).items;
  }

  // `id`: a UUID of yours; `device`: {platform, subscription | token, locale?, timezone?}.
  setDevice(user, id, device, how) {
    return this.#ask('PUT', `${this.#user(user)}/devices/${segment('device', id)}`, how, { body: device, repeat: true });
  }

  removeDevice(user, id, how) {
    return this.#ask('DELETE', `${this.#user(user)}/devices/${segment('device', id)}`, how);
  }

  // All that is stored of the inbox, an object a line, as it is read. It throws `incomplete` where the end is missing.
  async *export(user, how) {
    for await (const line of this.#transport.lines({ method: 'GET', path: `${this.#user(user)}/export`, ...how })) {
      let entry;
      try {
        entry = JSON.parse(line);
      } catch {
        break;
      }
      yield entry;
      if (entry.type === 'end') return;
    }
    throw new PealError('incomplete', 'the export ended before it was whole: repeat it');
  }

  eraseInbox(user, how) {
    return this.#ask('DELETE', `${this.#user(user)}/notifications`, how, { repeat: true });
  }

  eraseUser(user, how) {
    return this.#ask('DELETE', this.#user(user), how, { repeat: true });
  }

  // --- connected users ---

  // Put the connected sockets of a user into rooms ({join, leave}).
  moveUser(user, rooms, how) {
    return this.#ask('POST', `${this.#user(user)}/rooms`, how, { body: rooms, repeat: true });
  }

  // End the user's connections; they stay away.
  disconnect(user, how) {
    return this.#ask('POST', `${this.#user(user)}/disconnect`, how, { repeat: true });
  }

  members(room, query, how) {
    return this.#read(`/api/v1/rooms/${segment('room', room)}/members`, query, how);
  }

  // Rooms in which somebody is, and who is connected, on all nodes: {items, next, complete}.
  rooms(query, how) {
    return this.#read('/api/v1/rooms', query, how);
  }

  connections(query, how) {
    return this.#read('/api/v1/connections', query, how);
  }

  // End one connection, wherever it is; rejects with not_found where there is none. Not repeated: a second one would say so.
  disconnectOne(sid, how) {
    return this.#ask('POST', `/api/v1/connections/${segment('sid', sid)}/disconnect`, how);
  }

  // What was said in a room whose type keeps it: {messages, next}, the oldest first; `before: next` for the page before.
  history(room, query, how) {
    return this.#read(`/api/v1/rooms/${segment('room', room)}/history`, query, how);
  }

  // --- figures ---

  summary(query, how) {
    return this.#read('/api/v1/summary', query, how);
  }

  async stats(how) {
    return (await this.#read('/api/ws/stats', undefined, how, false)).stats;
  }

  performance(how) {
    return this.#read('/api/v1/health/performance', undefined, how, false);
  }

  // Every item of what has pages with `next`: `peal.all((page) => peal.subscribers('news', page))`.
  async *all(read, query = {}) {
    for (let after = query.after; ; ) {
      const page = await read({ ...query, after });
      yield* page.items;
      if (page.next === null || page.next === undefined) return;
      after = page.next;
    }
  }

  // --- for the code of an application ---

  // Middleware that keeps the answers of GET routes, of each user apart. `options`: seconds to live, or {ttl, user,
  // shared, key, vary, resource, tags, skip, most, wait, timeout, prefix}.
  cacheMiddleware(options) {
    return makeCacheMiddleware(this.#values, options, this.#values[DEFAULTS]);
  }

  // Middleware that lets answers go once a write is answered: those of the user, and those about `resource` (default:
  // what the path names; a name, a list, or a function of (req, res)).
  invalidateCacheMiddleware(resource, options) {
    return makeInvalidateMiddleware(this.#values, resource, options);
  }

  cacheable(fn, options) {
    return this.#values.cacheable(fn, options);
  }

  // What `fn` returns; how long it took is in `tracked`, by name.
  track(name, fn) {
    return this.#tracker.track(name, fn);
  }

  get tracked() {
    return this.#tracker.stats;
  }

  #user(user) {
    return `/api/v1/users/${segment('user', user)}`;
  }

  #read(path, query, how, tenant = true) {
    return this.#ask('GET', path, how, { query, repeat: true, tenant });
  }

  async #ask(method, path, { signal, timeout, retries } = {}, request) {
    return (await this.#transport.ask({ method, path, ...request, signal, timeout, retries })).body;
  }
}
