// SPDX-License-Identifier: Apache-2.0
// peal - client of a Peal hub over its plain WebSocket, or, where that does not pass, a stream of server-sent
// events; for browsers and Node.
//
// Order of this file: emitter, errors, notifications and their states, the inbox, a stream instead of a
// WebSocket, the connection.
//
// Invariants of the inbox:
// - everything up to #rev has been applied; what comes ahead of #rev + 1 is held, and after a
//   moment the hub is asked for everything above #rev (notification:sync);
// - an item has the rev of its last change, so that repeats and late answers change nothing;
// - a stream brings each change once and in order, behind #rev: there what comes is applied;
// - `notification` is emitted once per seq, in the order of seq: #toldSeq is the last one.

const PROTOCOL = 'peal.json.v1';
const FRAME_CHARS = 16_384; // packets of one turn share frames of about this size
const FRAME_PACKETS = 64; // more in one frame are too many for the hub
const IDS_MAX = 1_000; // ids in one request
const HELD_MAX = 1_000; // events held while the inbox catches up; the rest is asked for
const TYPING_MS = 3_000; // the hub stops typing after 5 s: say it again before
const TOO_MANY_MS = 5_000; // the least pause after a refusal for too many requests
const STEADY_MS = 5_000; // a connection that lasted so long was a good one
const CLOSE_UNAUTHORIZED = 4401;
const CLOSE_DRAINING = 4503;
const CLOSE_TOO_MANY = 4429;
const BLOCKED = 2; // WebSockets in a row that do not open though the hub answers; then a stream is tried
const STREAM_MS = 300_000; // a stream that lasted so long is followed by another try of a WebSocket
const STREAM_ROOMS = 32; // of one stream
const RETURNS_ON = new Set([4408, CLOSE_TOO_MANY, CLOSE_DRAINING, 4508]);
const TEMPORARY = new Set(
  ['disconnected', 'timeout', 'unavailable', 'unknown', 'rate_limited', 'queue_full']);

const DEFAULTS = {
  backoffMin: 500, // ms before the first attempt to return; doubles with each
  backoffMax: 30_000,
  openTimeout: 15_000, // ms for a connection to open
  silence: 60_000, // ms without a word of the hub, after which the connection is dead
  requestTimeout: 10_000,
  gapDelay: 50, // ms that an announcement may be out of order before the hub is asked
  pendingMax: 10_000, // notifications whose changes wait for an answer
  pageSize: 20, // notifications read at the start and by inbox.loadMore()
  inbox: true, // false: rooms and events only, no inbox is read
  stream: 'auto', // a stream of server-sent events: where WebSockets do not open; true: always; false: never
};

const EMIT = Symbol('emit');
const READY = Symbol('ready');
const RECEIVE = Symbol('receive');
const OFFLINE = Symbol('offline');
const PERSIST = Symbol('persist');
const ONLINE = Symbol('online');
const FETCH = Symbol('fetch');
const ALL = Symbol('all'); // the turn of a change that names no ids

// Does not keep a Node process alive by itself.
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms).unref?.());

// Unique among the messages of a user. randomUUID is missing on pages without TLS, and all of
// `crypto` in Node 18.
function makeNonce() {
  const { crypto } = globalThis;
  const words = Array.from({ length: 4 }, () => Math.floor(Math.random() * 2 ** 32));
  return [...(crypto?.getRandomValues?.(new Uint32Array(4)) ?? words)]
    .map((word) => word.toString(16).padStart(8, '0'))
    .join('');
}

function grow(attempt, min, max) {
  return Math.min(max, min * 2 ** Math.min(attempt, 30)) * (0.5 + Math.random() / 2);
}

// --- emitter ---------------------------------------------------------------------------------

class Emitter {
  #listeners = new Map();

  // Call `listener` at each `event`; returns a function that stops it.
  on(event, listener) {
    if (typeof listener !== 'function') throw new TypeError('a listener is a function');
    if (!this.#listeners.has(event)) this.#listeners.set(event, []);
    this.#listeners.get(event).push({ listener, once: false });
    return () => this.off(event, listener);
  }

  once(event, listener) {
    const stop = this.on(event, listener);
    this.#listeners.get(event).at(-1).once = true;
    return stop;
  }

  // Stop one listener, or all of an event.
  off(event, listener) {
    const left = (this.#listeners.get(event) ?? []).filter(
      (entry) => listener !== undefined && entry.listener !== listener,
    );
    if (left.length > 0) this.#listeners.set(event, left);
    else this.#listeners.delete(event);
    return this;
  }

  // A listener that throws stops neither the others nor the client: the error is reported.
  [EMIT](event, ...args) {
    for (const entry of [...(this.#listeners.get(event) ?? [])]) {
      if (entry.once) this.#remove(event, entry);
      try {
        entry.listener(...args);
      } catch (error) {
        queueMicrotask(() => {
          throw error;
        });
      }
    }
  }

  #remove(event, entry) {
    const list = this.#listeners.get(event) ?? [];
    const left = list.filter((other) => other !== entry);
    if (left.length > 0) this.#listeners.set(event, left);
    else this.#listeners.delete(event);
  }
}

// --- errors ----------------------------------------------------------------------------------

// `code` is one of the hub's ("forbidden", "invalid_field", "rate_limited", …) or one of ours:
// "timeout", "disconnected" (the answer was lost with the connection), "closed", "queue_full" (too
// many changes wait for an answer), "one_way" (a stream cannot send it).
export class PealError extends Error {
  constructor(code, message, detail = {}) {
    super(message ?? code);
    this.name = 'PealError';
    this.code = code;
    Object.assign(this, detail);
  }

  // Whether the same request may succeed a little later.
  get temporary() {
    return TEMPORARY.has(this.code);
  }
}

// What the event `error` says of one.
const what = ({ code, message, field }) => ({ code, message, ...(field && { field }) });

// --- notifications and their states -----------------------------------------------------------

const RANK = { unread: 0, seen: 1, read: 2, archived: 3, snoozed: 4, expired: 5, erased: 6 };
const isGone = (state) => RANK[state] >= RANK.archived; // from the list

function stateOf(item) {
  if (item.snoozedUntil) return 'snoozed';
  if (item.archivedAt) return 'archived';
  if (item.isRead) return 'read';
  return item.seenAt ? 'seen' : 'unread';
}

const toItem = (wire) => ({ ...wire, state: stateOf(wire) });

function changeItem(item, { state, at, rev }) {
  const isRead = RANK[state] >= RANK.read;
  const seenAt = item.seenAt ?? at;
  return {
    ...item,
    rev,
    state,
    isRead,
    readAt: isRead ? (item.readAt ?? (state === 'read' ? at : null)) : null,
    ...((state === 'seen' || state === 'read') && seenAt && { seenAt }),
  };
}

// The order of lists: by the rev at which one last became new, newest first.
const inOrder = (a, b) => b.newRev - a.newRev || b.seq - a.seq;

// Whether `change` is news to `item`: "everything up to seq" concerns what can get that state.
function concerns(change, item) {
  if (change.rev <= item.rev) return false;
  if (change.upTo === undefined) return change.ids.includes(item.id);
  return item.seq <= change.upTo && RANK[change.state] > RANK[item.state];
}

// --- the inbox -------------------------------------------------------------------------------

// Events: `change` (inbox) when items or unread changed; `notification` (item) once for each new
// one; `resync` when the position was lost and the items were read anew.
export class Inbox extends Emitter {
  #peal;
  #options;
  #items = new Map();
  #sorted = null;
  #next = null; // where loadMore goes on; null: nothing older
  #user = null;
  #epoch = null;
  #rev = 0;
  #toldSeq = 0;
  #unread = 0;
  #unseen = 0;
  #unreadRev = -1;
  #news = 0; // the highest rev heard of
  #held = [];
  #gap = false; // the hub must be asked for what is above #rev
  #unlisted = false; // the first page must be read
  #stale = null; // ids from before a resync, dropped when the first page has come
  #session = null; // one object per connection that is ready; null: offline
  #ordered = false; // it is a stream
  #restarts = 0;
  #working = null;
  #gapTimer = null;
  #turns = new Map(); // id or ALL → when the last change of it has been answered
  #pending = 0; // how many notifications those concern
  #ownRevs = new Map(); // id → rev of a change of ours that others of ours wait behind
  #journals = new Set(); // changes while an answer to a list is under way
  #receivedSeq = 0;
  #receivedTimer = null;
  #dirty = false;

  constructor(peal, options) {
    super();
    this.#peal = peal;
    this.#options = options;
  }

  // What is loaded, newest first: everything but what is archived or snoozed, without holes.
  get items() {
    this.#sorted ??= Object.freeze([...this.#items.values()].sort(inOrder));
    return this.#sorted;
  }

  get unread() {
    return this.#unread;
  }

  // What nobody has looked at yet; the rest of `unread` was seen and not read.
  get unseen() {
    return this.#unseen;
  }

  // Whether `items` are those of the hub: false until the first page has been read, and again after
  // a resync until it has been read anew.
  get loaded() {
    return this.#epoch !== null && !this.#unlisted;
  }

  // Whether older notifications than `items` exist.
  get hasMore() {
    return this.#next !== null;
  }

  // Where this device stands; null before the first hub:ready.
  get position() {
    return this.#epoch === null ? null : { epoch: this.#epoch, rev: this.#rev, seq: this.#toldSeq };
  }

  // One page as the hub has it, {items, next}, with `page` {items, pagination}; `items` of the inbox stay
  // as they are. What is given as a list of some may be an array, or a text with commas.
  async list({ after, page, limit, sort, order, search, state, type, priority, from, to } = {}) {
    const query = { after, page, limit, sort, order, search, state, type, priority, from, to };
    const { items, next, pagination } = await this.#peal.request('notification:list', query);
    return pagination ? { items: items.map(toItem), pagination } : { items: items.map(toItem), next };
  }

  // Add the next page of older notifications to `items`.
  async loadMore({ limit = this.#options.pageSize } = {}) {
    const after = this.#next;
    if (after === null) return;
    const page = await this.#read({ after, limit });
    if (page === null || after !== this.#next) return; // read anew, or asked twice, meanwhile
    this.#merge(page);
    this.#changed();
  }

  // Each takes an id, a list of ids, or an object as the hub has it: {ids}, {upTo: seq}, {all: true,
  // type?}, each with ifRev: rows that have changed since stay. They wait for the connection where
  // there is none, and are repeated until the hub has answered: the same change twice is one change.
  // So `all` is what this device knew of when it was asked for: what comes meanwhile stays.
  // Resolve with {changed, conflict}: ids, or (with upTo and all) how many; ids that ifRev kept. What
  // this device itself changed since is no conflict, where it named the ids.
  markRead(which) {
    return this.#mark('notification:read', which);
  }

  markSeen(which) {
    return this.#mark('notification:seen', which);
  }

  // The way back from markRead, to seen.
  markUnread(which) {
    return this.#mark('notification:unread', which);
  }

  archive(which) {
    return this.#mark('notification:archive', which);
  }

  // Back into the list, where it stood and as it was.
  unarchive(which) {
    return this.#mark('notification:unarchive', which);
  }

  // Out of the list until a time (a Date, ms or ISO 8601), when it comes back as new; null: now.
  snooze(which, until) {
    const time = until instanceof Date ? until.toISOString() : until;
    return this.#mark('notification:snooze', which, { until: time });
  }

  // Erase it for this user.
  delete(which) {
    return this.#mark('notification:delete', which);
  }

  // Everything this device knows of: what arrives while the request travels stays unread.
  async markAllRead() {
    if (this.#toldSeq > 0) await this.markRead({ upTo: this.#toldSeq });
  }

  async markAllSeen() {
    if (this.#toldSeq > 0) await this.markSeen({ upTo: this.#toldSeq });
  }

  // Changes of one row go one after another, in the order in which they were made; those of different
  // rows do not wait for each other.
  async #mark(event, which, more = {}) {
    const target = typeof which === 'string' || Array.isArray(which) ? { ids: [which].flat() } : which;
    const { ids } = target;
    const weight = ids?.length ?? 1;
    const known = this.#epoch !== null ? this.#toldSeq : null;
    const { pendingMax } = this.#options;
    if (this.#pending + weight > pendingMax) {
      throw new PealError('queue_full', `more than ${pendingMax} changes wait for an answer`);
    }
    this.#pending += weight;
    const former = ids ? [...ids, ALL].map((id) => this.#turns.get(id)) : [...this.#turns.values()];
    const before = new Set(former.filter(Boolean));
    const send = () => this.#send(event, { ...target, ...more }, known);
    const answered = before.size > 0 ? Promise.all(before).then(send) : send();
    const turn = answered.then(() => {}, () => {});
    for (const key of ids ?? [ALL]) this.#turns.set(key, turn);
    try {
      return await answered;
    } finally {
      this.#pending -= weight;
      for (const key of ids ?? [ALL]) {
        if (this.#turns.get(key) !== turn) continue;
        this.#turns.delete(key);
        this.#ownRevs.delete(key);
      }
    }
  }

  // The requests of one change: at most IDS_MAX ids each, and with ifRev those of one rev, which is
  // raised where the last change since was our own.
  #partsOf(target) {
    const { ids, ifRev } = target;
    if (!ids) return [target];
    const byRev = new Map();
    for (const id of ids) {
      const rev = ifRev === undefined ? undefined : Math.max(ifRev, this.#ownRevs.get(id) ?? 0);
      if (!byRev.has(rev)) byRev.set(rev, []);
      byRev.get(rev).push(id);
    }
    const parts = [];
    for (const [rev, list] of byRev) {
      for (let at = 0; at < list.length; at += IDS_MAX) {
        const part = { ...target, ids: list.slice(at, at + IDS_MAX) };
        parts.push(rev === undefined ? part : { ...part, ifRev: rev });
      }
    }
    return parts;
  }

  // `all` by the highest seq that was known when it was asked for, so that it may be repeated; `known`
  // null: nothing was yet. Without an inbox nothing ever is.
  async #boundOf({ all, ...target }, known) {
    if (!all || !this.#options.inbox) return { ...target, ...(all && { all }) };
    if (known === null) await this.#peal[ONLINE]();
    return { ...target, upTo: known ?? this.#toldSeq };
  }

  async #send(event, wanted, known) {
    const target = await this.#boundOf(wanted, known);
    const { ids } = target;
    if (wanted.all && target.upTo === 0) return { changed: 0, conflict: [] };
    const done = { changed: ids ? [] : 0, conflict: [] };
    for (const part of this.#partsOf(target)) {
      const { rev, changed = [], conflict = [] } = await this.#peal[PERSIST](event, part);
      if (ids) for (const id of changed) this.#ownRevs.set(id, rev);
      done.changed = ids ? done.changed.concat(changed) : changed;
      done.conflict.push(...conflict);
      this.#heard(rev);
    }
    return done;
  }

  // --- from the connection ---

  [READY](ready, ordered) {
    this.#session = {};
    this.#ordered = ordered;
    this.#working = null;
    this.#held = [];
    this.#receivedSeq = 0;
    if (this.#user !== ready.userId) {
      this.#forget();
      this.#user = ready.userId;
      this.#toldSeq = ready.seq;
      this.#restart(ready);
    } else if (this.#epoch !== ready.epoch) {
      this.#toldSeq = ready.seq;
      this.#restart(ready);
      this[EMIT]('resync');
    } else {
      this.#news = Math.max(this.#rev, ready.rev);
      this.#gap = ready.rev !== this.#rev && !ordered;
    }
    this.#count(ready, ready.rev);
    this.#scheduleReceived();
    this.#work();
  }

  [OFFLINE]() {
    this.#session = null;
    clearTimeout(this.#gapTimer);
    clearTimeout(this.#receivedTimer);
    this.#gapTimer = null;
    this.#receivedTimer = null;
  }

  [RECEIVE](event, body) {
    if (this.#session === null || typeof body !== 'object' || body === null) return;
    if (event === 'hub:resync') {
      this.#restart(body);
      this[EMIT]('resync');
      this.#release();
      this.#work();
    } else if (event === 'unread') {
      this.#count({ unread: body.count, unseen: body.unseen }, body.rev);
      this.#heard(body.rev);
    } else {
      this.#order({ event, body });
    }
  }

  // --- order ---

  #order(held) {
    const { rev } = held.body;
    if (this.#ordered) {
      this.#apply(held);
      return;
    }
    // One that was changed since it was made comes from a node that fills a gap of its own: other
    // changes of the same rev may follow.
    const patched = held.event === 'notification' && stateOf(held.body) !== 'unread';
    if (patched && rev > this.#rev) {
      this.#news = Math.max(this.#news, rev);
      this.#gap = true;
      this.#work();
    } else if (this.#gap || rev > this.#rev + 1) {
      if (this.#held.length < HELD_MAX) this.#held.push(held);
      this.#heard(rev);
    } else {
      this.#apply(held);
      this.#release();
    }
  }

  // Apply what has become next, forget what is older.
  #release() {
    this.#held.sort((a, b) => a.body.rev - b.body.rev);
    while (this.#held.length > 0 && this.#held[0].body.rev <= this.#rev + 1) {
      this.#apply(this.#held.shift());
    }
    if (this.#news <= this.#rev) {
      clearTimeout(this.#gapTimer);
      this.#gapTimer = null;
    }
    this.#heard(this.#rev);
  }

  // Something up to `rev` exists: when it has not come in a moment, ask for it.
  #heard(rev) {
    if (!(rev >= 0) || this.#session === null) return;
    this.#news = Math.max(this.#news, rev);
    if (this.#news <= this.#rev || this.#gap || this.#gapTimer !== null || this.#ordered) return;
    this.#gapTimer = setTimeout(() => {
      this.#gapTimer = null;
      if (this.#session === null || this.#news <= this.#rev) return;
      this.#gap = true;
      this.#work();
    }, this.#options.gapDelay);
  }

  #apply({ event, body }) {
    // Those that come back together have one rev.
    const isNew = body.rev > this.#rev || (body.resurfaced === true && body.rev === this.#rev);
    if (event === 'notification') this.#put(body, isNew);
    else this.#change(body);
    if (body.unread !== undefined) this.#count(body, body.rev);
    this.#rev = Math.max(this.#rev, body.rev);
    this.#news = Math.max(this.#news, this.#rev);
  }

  // A notification with its present state. One that is not loaded and not new is left out: it is
  // older than what is loaded, or has gone.
  #put(wire, isNew) {
    const known = this.#items.get(wire.id);
    const item = toItem(wire);
    const fresh = wire.seq > this.#toldSeq;
    const isNews = known ? known.rev < item.rev : isNew || fresh;
    if (isGone(item.state)) {
      this.#items.delete(item.id);
    } else if (isNews) {
      this.#items.set(item.id, item);
    }
    this.#tell(item, isNews && (item.resurfaced || item.count > 1) && item.newRev === item.rev);
    this.#changed();
  }

  // Once for each new one; one that came back, or took the place of others, is `again`.
  #tell(item, again = false) {
    if (item.seq <= this.#toldSeq && !again) return;
    this.#toldSeq = Math.max(this.#toldSeq, item.seq);
    this.#scheduleReceived();
    if (isGone(item.state)) return;
    this[EMIT]('notification', item);
    this.#peal[EMIT]('notification', item);
  }

  // Whether the loaded part of the list reaches down to where an item stands.
  #reaches(item) {
    return this.#next === null || item.newRev >= Number.parseInt(this.#next, 10);
  }

  // {rev, ids or upTo, state, at, items?, updated?}
  #change(change) {
    if (RANK[change.state] === undefined) return; // of a newer hub
    for (const journal of this.#journals) journal.push(change);
    this.#applyChange(change);
    if (change.rev > this.#rev) this.#peal[EMIT]('notification:state', change);
  }

  #applyChange(change) {
    for (const wire of [...(change.items ?? []), ...(change.updated ?? [])]) {
      const known = this.#items.get(wire.id);
      if (known ? known.rev >= wire.rev : change.rev < this.#rev || !this.#reaches(wire)) continue;
      const item = toItem(wire); // it may have left the list again since the change
      if (isGone(item.state)) this.#items.delete(item.id);
      else this.#items.set(item.id, item);
      this.#changed();
    }
    const ids = change.upTo === undefined ? change.ids : [...this.#items.keys()];
    for (const id of ids) {
      const item = this.#items.get(id);
      if (!item || !concerns(change, item)) continue;
      if (isGone(change.state)) this.#items.delete(id);
      else this.#items.set(id, changeItem(item, change));
      this.#changed();
    }
  }

  #count({ unread, unseen = unread }, rev) {
    if (!(rev >= this.#unreadRev)) return;
    this.#unreadRev = rev;
    if (unread === this.#unread && unseen === this.#unseen) return;
    this.#unread = unread;
    this.#unseen = unseen;
    this.#peal[EMIT]('unread', { count: unread, unseen, rev });
    this.#changed();
  }

  #changed() {
    this.#sorted = null;
    if (this.#dirty) return;
    this.#dirty = true;
    queueMicrotask(() => {
      this.#dirty = false;
      this[EMIT]('change', this);
    });
  }

  // --- catching up ---

  // Begin again at {epoch, rev}: the first page replaces what is there when it comes.
  #restart({ epoch, rev }) {
    if (this.#epoch !== epoch) this.#held = [];
    this.#restarts += 1;
    this.#epoch = epoch;
    this.#rev = rev;
    this.#news = rev;
    this.#unreadRev = -1;
    this.#gap = false;
    this.#unlisted = true;
    this.#stale = new Set(this.#items.keys());
  }

  #forget() {
    this.#items.clear();
    this.#next = null;
    this.#unread = 0;
    this.#unseen = 0;
    this.#changed();
  }

  // Sync, then list, until nothing is left to do; one at a time, until the connection ends.
  async #work() {
    const session = this.#session;
    if (session === null || this.#working === session) return;
    this.#working = session;
    for (let failures = 0; session === this.#session && (this.#gap || this.#unlisted); ) {
      try {
        await (this.#gap ? this.#syncPage() : this.#listFirst());
        failures = 0;
      } catch (error) {
        if (session !== this.#session) break;
        failures += 1;
        const { backoffMin, backoffMax } = this.#options;
        await pause(error.retryAfter ?? grow(failures, backoffMin, backoffMax));
      }
    }
    if (this.#working === session) this.#working = null;
  }

  async #syncPage() {
    const rev = this.#rev;
    const restarts = this.#restarts;
    const page = await this.#peal.request('notification:sync', { epoch: this.#epoch, rev });
    if (restarts !== this.#restarts) { // hub:resync came before the answer
      if (page.rev === this.#rev) this.#count(page, page.rev);
      return;
    }
    if (!page.done && !(page.rev > rev)) throw new PealError('bad_request', 'a page without end');
    for (const item of page.items) this.#put(item, item.newRev > rev || this.#reaches(item));
    for (const { id, rev: at, ...rest } of page.states) this.#change({ ...rest, ids: [id], rev: at });
    this.#rev = Math.max(this.#rev, page.rev);
    if (!page.done) return;
    this.#gap = false;
    this.#count(page, page.rev);
    this.#release();
    this.#scheduleReceived();
  }

  async #listFirst() {
    const page = await this.#read({ limit: this.#options.pageSize });
    if (page === null) return;
    for (const id of this.#stale ?? []) this.#items.delete(id);
    this.#stale = null;
    this.#unlisted = false;
    this.#merge(page);
    for (const { id } of [...page.items].sort((a, b) => a.seq - b.seq)) {
      if (this.#items.has(id)) this.#tell(this.#items.get(id));
    }
    this.#changed();
  }

  // A page, and the changes that came while it travelled; null when it is worth nothing any more.
  async #read(query) {
    const restarts = this.#restarts;
    const journal = [];
    this.#journals.add(journal);
    try {
      const answer = await this.#peal.request('notification:list', query);
      return restarts === this.#restarts ? { ...answer, journal } : null;
    } finally {
      this.#journals.delete(journal);
    }
  }

  #merge({ items, next, journal }) {
    for (const wire of items) {
      const known = this.#stale?.has(wire.id) ? undefined : this.#items.get(wire.id);
      if (!known || known.rev < wire.rev) this.#items.set(wire.id, toItem(wire));
    }
    for (const change of journal) this.#applyChange(change);
    this.#next = next ?? null;
  }

  // Tell the hub what this device has, a moment after the last of it came.
  #scheduleReceived() {
    if (this.#session === null || this.#receivedTimer !== null) return;
    this.#receivedTimer = setTimeout(() => {
      this.#receivedTimer = null;
      if (this.#gap || this.#toldSeq <= this.#receivedSeq) return;
      this.#receivedSeq = this.#toldSeq;
      this.#peal.emit('notification:received', { upTo: this.#toldSeq });
    }, 250);
  }
}

// --- a stream instead of a WebSocket ---------------------------------------------------------

const CLOSE_OF_STATUS = { 204: 4401, 400: 4400, 401: 4401, 403: 4403, 429: CLOSE_TOO_MANY, 503: CLOSE_DRAINING };

function asQuery(argument = {}) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(argument)) {
    if (value !== undefined && value !== null) query.set(name, [value].flat().join(','));
  }
  const text = String(query);
  return text === '' ? '' : `?${text}`;
}

// What the HTTP API has of what a client asks: method, path below the user, body.
const OVER_HTTP = {
  'notification:list': (argument) => ['GET', `notifications${asQuery(argument)}`],
  'preferences:get': () => ['GET', 'preferences'],
  'preferences:set': (argument) => ['PUT', 'preferences', argument],
  'topic:list': (argument) => ['GET', `topics${asQuery(argument)}`],
};
for (const verb of ['read', 'unread', 'seen', 'archive', 'unarchive', 'snooze', 'delete']) {
  OVER_HTTP[`notification:${verb}`] = (argument) => ['POST', `notifications/${verb}`, argument];
}

// Looks like a WebSocket to Peal: what comes is a stream, what it sends are requests over HTTP. Rooms are part of the
// stream's address: another room is another stream, which goes on behind the last id.
class Stream {
  #url;
  #token;
  #inbox;
  #id; // of the last event
  #rooms; // wanted, name → ids of requests that wait for it
  #joined = new Map(); // name → what room_joined said
  #refusals = new Map(); // name → what error said of rooms that nobody has asked for yet
  #user = null;
  #epoch = null;
  #closing = null; // what hub:closing said
  #abort = null; // of the request under way
  #again = false; // another stream is to be opened
  #later = null; // the timer of one that is to be opened when rooms can be joined again
  #limits = 0; // streams in a row of which some rooms were too many
  readyState = 0;
  onopen = null;
  onmessage = null;
  onclose = null;
  onerror = null;

  constructor(url, { token, inbox, place, rooms }) {
    this.#url = url;
    this.#token = token;
    this.#inbox = inbox;
    this.#id = place;
    this.#rooms = new Map(rooms.slice(0, STREAM_ROOMS).map((room) => [room, []]));
    this.#open();
  }

  send(frame) {
    for (const [id, event, argument] of JSON.parse(frame)) this.#ask(id, event, argument);
  }

  close(code = 1000) {
    this.#end(code, 'closed by this client');
  }

  // Where this client is: the id of the last event.
  get place() {
    return this.#id;
  }

  #end(code, reason) {
    if (this.readyState === 3) return;
    this.readyState = 3;
    clearTimeout(this.#later);
    this.#abort?.abort();
    this.onclose?.(this.#closing ?? { code, reason });
  }

  #say(...packets) {
    if (this.readyState === 1) this.onmessage?.({ data: JSON.stringify(packets) });
  }

  // --- asking ---

  #ask(id, event, argument) {
    if (event === 'join_room') this.#join(id, argument.roomId);
    else if (event === 'leave_room') this.#leave(id, argument.roomId);
    else if (event === 'auth:refresh') this.#refresh(id, argument.token);
    else if (OVER_HTTP[event]) this.#call(id, ...OVER_HTTP[event](argument));
    else this.#refuse(id, 'one_way', `${event} cannot be sent: WebSockets do not pass here`);
  }

  #refuse(id, error, message, detail) {
    queueMicrotask(() => this.#say([-id, { ok: false, error, message, ...detail }]));
  }

  async #call(id, method, path, body) {
    const url = new URL(`users/${encodeURIComponent(this.#user)}/${path}`, this.#url);
    try {
      const answer = await fetch(url, {
        method,
        headers: {
          ...(this.#token && { authorization: `Bearer ${this.#token}` }),
          ...(body !== undefined && { 'content-type': 'application/json' }),
        },
        body: body === undefined ? undefined : JSON.stringify(body),
      });
      const said = await answer.json();
      if (answer.ok) {
        this.#say([-id, { ok: true, ...said }]);
        return;
      }
      const { code, ...detail } = said.error;
      const seconds = Number(answer.headers.get('retry-after'));
      this.#refuse(id, code, detail.message, { ...detail, ...(seconds > 0 && { retryAfter: seconds * 1000 }) });
    } catch (error) {
      this.#refuse(id, 'unavailable', error.message);
    }
  }

  #join(id, room) {
    if (this.#joined.has(room)) {
      const said = this.#joined.get(room);
      queueMicrotask(() => this.#say([-id, { ok: true, ...said }]));
    } else if (this.#rooms.has(room)) {
      this.#rooms.get(room).push(id);
    } else if (this.#refusals.has(room)) {
      const { code, message } = this.#refusals.get(room);
      this.#refusals.delete(room); // who asks again is told anew
      this.#refuse(id, code, message);
    } else if (this.#rooms.size >= STREAM_ROOMS) {
      this.#refuse(id, 'forbidden', 'Too many rooms');
    } else {
      this.#rooms.set(room, [id]);
      this.#reopen();
    }
  }

  #leave(id, room) {
    const known = this.#rooms.delete(room);
    this.#joined.delete(room);
    queueMicrotask(() => this.#say([-id, { ok: true, roomId: room }]));
    if (known) this.#reopen();
  }

  #refresh(id, token) {
    this.#token = token;
    queueMicrotask(() => this.#say([-id, { ok: true }]));
    this.#reopen();
  }

  // Once for all that a turn has changed.
  #reopen() {
    if (this.#again) return;
    this.#again = true;
    setTimeout(() => {
      this.#again = false;
      if (this.readyState !== 3) this.#open();
    });
  }

  // --- the stream ---

  async #open() {
    this.#abort?.abort();
    const abort = new AbortController();
    this.#abort = abort;
    this.#joined.clear();
    this.#refusals.clear();
    clearTimeout(this.#later);
    this.#later = null;
    const rooms = [...this.#rooms.keys()].map(encodeURIComponent).join(',');
    const headers = { accept: 'text/event-stream' };
    if (this.#token) headers.authorization = `Bearer ${this.#token}`;
    if (this.#id) headers['last-event-id'] = this.#id;
    try {
      const url = `${this.#url}${this.#url.includes('?') ? '&' : '?'}inbox=${this.#inbox ? 1 : 0}&rooms=${rooms}`;
      const answer = await fetch(url, { headers, signal: abort.signal, cache: 'no-store' });
      if (answer.status !== 200) {
        if (abort === this.#abort) this.#end(CLOSE_OF_STATUS[answer.status] ?? 1006, `answered ${answer.status}`);
        return;
      }
      await this.#read(answer.body.getReader(), abort);
      if (abort === this.#abort) this.#end(1006, 'the stream ended');
    } catch (error) {
      if (abort === this.#abort) this.#end(1006, error.message);
    }
  }

  async #read(reader, abort) {
    const decoder = new TextDecoder();
    const event = { data: [], id: this.#id };
    let text = '';
    if (this.readyState === 0) {
      this.readyState = 1;
      this.onopen?.();
    }
    for (;;) {
      const { done, value } = await reader.read();
      if (done || abort !== this.#abort) return;
      const lines = (text + decoder.decode(value, { stream: true })).split('\n');
      text = lines.pop();
      this.#say(); // also a comment says that the hub is there
      for (const line of lines) {
        if (abort !== this.#abort) return;
        this.#line(event, line);
      }
    }
  }

  // The fields that the hub writes; `retry` is for those that have no pauses of their own.
  #line(event, line) {
    if (line.startsWith('data: ')) event.data.push(line.slice(6));
    else if (line.startsWith('id: ')) event.id = line.slice(4);
    else if (line === '') {
      const data = event.data.splice(0).join('\n');
      this.#id = event.id;
      if (data !== '') this.#take(JSON.parse(data));
    }
  }

  #take(packets) {
    this.#say(...packets.filter((packet) => this.#look(packet)));
  }

  // Whether a packet is for others, too.
  #look([event, said]) {
    if (event === 'hub:ready') {
      const goesOn = this.#epoch === said.epoch;
      this.#epoch = said.epoch;
      this.#user = said.userId;
      return !goesOn;
    }
    if (event === 'hub:closing') this.#closing = { code: said.code, reason: said.reason };
    if (event === 'room_joined') this.#entered(said);
    if (event === 'error' && said.event === 'join_room') return this.#denied(said);
    if (event === 'rate_limited' && said.event === 'join_room') this.#limited(said);
    return true;
  }

  #entered(said) {
    if (!this.#rooms.has(said.roomId)) return;
    this.#joined.set(said.roomId, said);
    if (this.#joined.size === this.#rooms.size) this.#limits = 0;
    for (const id of this.#rooms.get(said.roomId).splice(0)) this.#say([-id, { ok: true, ...said }]);
  }

  // A room cannot be joined. Who waits for it is told, or who asks for it once the client is online; a room that was
  // lost later is told as an event. Whether it is told so.
  #denied(said) {
    const waiting = this.#rooms.get(said.roomId) ?? [];
    this.#rooms.delete(said.roomId);
    for (const id of waiting) this.#say([-id, { ok: false, error: said.code, message: said.message }]);
    if (this.#user === null) this.#refusals.set(said.roomId, said);
    return this.#user !== null && waiting.length === 0;
  }

  // Too many rooms were joined within a while: who waits for one is told; one that there was before is asked for again.
  #limited({ roomId, retryAfter }) {
    const waiting = this.#rooms.get(roomId) ?? [];
    const answer = { ok: false, error: 'rate_limited', message: 'Too many requests, wait', retryAfter };
    for (const id of waiting.splice(0)) this.#say([-id, answer]);
    // All rooms of a stream are joined anew: it may need more than the one that can be joined by then.
    this.#later ??= setTimeout(() => this.#reopen(), retryAfter * 2 ** Math.min(this.#limits++, 8));
  }
}

// --- the connection --------------------------------------------------------------------------

function endpoint(url) {
  const base = globalThis.location?.href;
  const target = new URL(url ?? '/', base);
  target.protocol = target.protocol.replace(/^http/, 'ws');
  if (target.pathname === '/') target.pathname = '/ws';
  target.hash = '';
  return target.href;
}

// Where the stream of a hub is whose plain WebSocket is at `url`.
function streamOf(url) {
  const target = new URL(url);
  target.protocol = target.protocol.replace(/^ws/, 'http');
  target.pathname = target.pathname.replace(/(\/ws)?\/?$/, '/api/v1/stream');
  return target.href;
}

// --- push --------------------------------------------------------------------------------------

// The key that a subscription was made with, in base64url.
function keyOf(subscription) {
  const bytes = new Uint8Array(subscription.options.applicationServerKey ?? []);
  return btoa(String.fromCharCode(...bytes)).replaceAll('+', '-').replaceAll('/', '_').replace(/=+$/, '');
}

// Push to this browser, for when no page of it is open. The page's own origin serves the worker, peal-sw.js.
class Push {
  #peal;

  constructor(peal) {
    this.#peal = peal;
  }

  // Whether there can be any here: service workers need https, or a loopback address.
  get supported() {
    return Boolean(globalThis.navigator?.serviceWorker && globalThis.PushManager);
  }

  // Subscribe this browser and register it as a device. The first time the browser asks the user, so call it from a
  // click; later at each start: what is registered anew is believed to be there.
  async subscribe({ worker = '/peal-sw.js', ...device } = {}) {
    if (!this.supported) throw new PealError('unsupported', 'no push here: it needs a service worker, and https');
    await navigator.serviceWorker.register(worker);
    const { pushManager } = await navigator.serviceWorker.ready;
    const { key } = await this.#peal[FETCH]('push/key');
    let subscription = await pushManager.getSubscription();
    if (subscription && keyOf(subscription) !== key) {
      await subscription.unsubscribe();
      subscription = null;
    }
    subscription ??= await pushManager.subscribe({ userVisibleOnly: true, applicationServerKey: key });
    return this.#peal.registerDevice({
      locale: navigator.language,
      timezone: Intl.DateTimeFormat().resolvedOptions().timeZone,
      ...device,
      platform: 'web',
      subscription: { ...subscription.toJSON(), applicationServerKey: key },
    });
  }

  // At logout: nothing is pushed to this browser any more.
  async unsubscribe() {
    const registration = await globalThis.navigator?.serviceWorker?.getRegistration();
    const subscription = await registration?.pushManager.getSubscription();
    await this.#peal.removeDevice();
    await subscription?.unsubscribe();
  }
}

// Emits every event of the hub under its own name with its arguments, and `client:state`
// ({state, …}) with the state of the connection: "connecting", "online", "waiting" ({retryIn,
// attempt, code}), "draining" ({reconnectIn}), "closed" ({code, reason}).
export class Peal extends Emitter {
  #options;
  #WebSocket;
  #url;
  #token;
  #state = 'idle';
  #ready = null;
  #link = null;
  #attempts = 0;
  #place = ''; // of the last connection, when that was a stream
  #blocked = 0; // WebSockets in a row that did not open though the hub was there
  #retryTimer = null;
  #drainTimer = null;
  #returnAt = 0; // when a draining hub wants this client back
  #refused = false; // the last token was, and another one is asked for
  #end = null; // why it is closed
  #lives = 0; // how often it was
  #waiters = new Set();
  #rooms = new Map(); // roomId → argument of join_room
  #wanted = new Map(); // the same, with those that are being joined
  #places = new Map(); // roomId → {epoch, offset, live}: what this client has of a room with a memory
  #typing = new Map();
  #device = null; // as it was registered, with its id
  #foreground = null; // as it was said last
  #followed = new Map(); // userId → what was said of it last; null: nothing yet
  #lastId = 0;
  #onNetwork = () => this.#retryNow();

  constructor({ WebSocket = globalThis.WebSocket, ...options } = {}) {
    super();
    this.#WebSocket = WebSocket;
    this.#options = { ...DEFAULTS, ...options };
    this.inbox = new Inbox(this, this.#options);
    this.push = new Push(this);
  }

  get state() {
    return this.#state;
  }

  get userId() {
    return this.#ready?.userId ?? null;
  }

  // What hub:ready said of this connection: node, limits; null while not online.
  get session() {
    return this.#state === 'online' || this.#state === 'draining' ? this.#ready : null;
  }

  // Whether what connects this client is a stream of server-sent events: it hears all, and can send what the HTTP
  // API takes (marks, lists, preferences, rooms); the rest is refused with "one_way".
  get oneWay() {
    return this.session !== null && this.#link.oneWay;
  }

  get rooms() {
    return [...this.#rooms.keys()];
  }

  // Connect and stay connected until close(), or until the hub says not to return. `token` is a
  // string, or a function that is asked for one at each connection (and before it expires), and
  // once more when the hub refuses what it gave. Resolves when online for the first time; rejects
  // with "closed" when that will not happen.
  connect(url, { token } = {}) {
    if (!this.#WebSocket && this.#options.stream !== true) throw new TypeError('no WebSocket here: pass one, new Peal({ WebSocket })');
    if (this.#state !== 'idle' && this.#state !== 'closed') this.close();
    this.#url = endpoint(url);
    this.#token = token;
    this.#ready = null; // somebody else may come
    this.#attempts = 0;
    this.#returnAt = 0;
    this.#refused = false;
    globalThis.addEventListener?.('online', this.#onNetwork);
    this.#open();
    const online = this.#whenOnline().then(() => this);
    online.catch(() => {}); // who does not await it listens to client:state
    return online;
  }

  // End the connection and stay away.
  close() {
    if (this.#state === 'idle' || this.#state === 'closed') return;
    if (this.#link) this.#flush(this.#link);
    const socket = this.#drop('closed');
    this.#finish(1000, 'closed by this client');
    socket?.close(1000);
  }

  // --- asking and telling ---

  // Send an event and resolve with the hub's answer; rejects with a PealError.
  request(event, argument, { timeout = this.#options.requestTimeout } = {}) {
    const link = this.#link;
    if (!this.session) return Promise.reject(new PealError('disconnected', 'not connected'));
    this.#lastId += 1;
    const id = this.#lastId;
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        link.pending.delete(id);
        reject(new PealError('timeout', `no answer to ${event} within ${timeout} ms`));
      }, timeout);
      link.pending.set(id, { resolve, reject, timer, event });
      this.#write(argument === undefined ? [id, event] : [id, event, argument]);
    });
  }

  // Send an event without waiting for an answer; false when there is no connection, or one that cannot send it.
  emit(event, ...args) {
    if (!this.session || this.#link.oneWay) return false;
    this.#write([event, ...args]);
    return true;
  }

  // Enter a room and stay in it across connections; waits for the connection.
  // `since` {epoch, offset}: what has been seen of it already; else what is missed later comes by itself.
  async join(roomId, { roomType, since } = {}) {
    const places = this.#places;
    if (since) places.set(roomId, { epoch: since.epoch, offset: since.offset, live: false });
    const argument = {
      roomId,
      ...(roomType !== undefined && { roomType }),
      get since() { // as it is when this is written
        const place = places.get(roomId);
        return place && { epoch: place.epoch, offset: place.offset };
      },
    };
    this.#wanted.set(roomId, argument);
    try {
      return await this.#enter(roomId, argument);
    } catch (error) {
      if (this.#wanted.get(roomId) === argument) this.#wanted.delete(roomId);
      throw error;
    }
  }

  // Join a room that is still wanted; who has left it before there was an answer is not in it.
  async #enter(roomId, argument) {
    const answer = await this[PERSIST]('join_room', argument, () => this.#wanted.has(roomId));
    if (!this.#wanted.has(roomId)) return answer;
    this.#rooms.set(roomId, argument);
    if (answer.offset === undefined) this.#places.delete(roomId);
    return answer;
  }

  // The answer to a join, in the order in which it came: what was missed is here, what is new follows.
  #placed({ roomId, epoch, offset, recovered }) {
    if (offset !== undefined) this.#places.set(roomId, { epoch, offset, live: true });
    if (recovered === false) this[EMIT]('room:resync', { roomId, epoch, offset });
  }

  // An event with its offset has come. Of rooms that are being joined it is what was missed, and older than
  // what has come of others; with all of them joined, who has it has all before it, of every room.
  #advance({ room, offset }) {
    const own = this.#places.get(room);
    if (own) own.offset = offset;
    const alone = room === undefined && [...this.#places.values()].some(({ live }) => !live);
    if (alone || (own && !own.live)) return;
    for (const place of this.#places.values()) {
      if (place.live) place.offset = offset;
    }
  }

  async leave(roomId) {
    this.#wanted.delete(roomId);
    this.#rooms.delete(roomId);
    this.#places.delete(roomId);
    this.#typing.delete(roomId);
    if (this.session) await this.request('leave_room', { roomId });
  }

  // Get the notifications of a topic on all devices from now on, where its type lets users subscribe themselves;
  // kept by the hub until unsubscribe(). Resolves with {topic, changed}.
  async subscribe(topic) {
    const { ok, ...answer } = await this[PERSIST]('topic:subscribe', { topic });
    return answer;
  }

  async unsubscribe(topic) {
    const { ok, ...answer } = await this[PERSIST]('topic:unsubscribe', { topic });
    return answer;
  }

  // All topics of the user, by name.
  async topics() {
    const all = [];
    for (let after; after !== null;) {
      const { items, next } = await this.request('topic:list', { limit: 1000, ...(after !== undefined && { after }) });
      all.push(...items);
      after = next;
    }
    return all;
  }

  // What a backend keeps under that key, where the hub's settings open it to clients: {value, version, expiresAt, stale?}.
  // It rejects with `not_found` where nothing is kept.
  async value(key) {
    const { ok, ...answer } = await this.request('value:get', { key });
    return answer;
  }

  // What was said in a room that this client is in, where its type keeps it: {messages, next}, the oldest first;
  // `before: next` for the page before it.
  async history(roomId, { before, limit } = {}) {
    const page = { ...(before !== undefined && { before }), ...(limit !== undefined && { limit }) };
    const { messages, next } = await this.request('room:history', { roomId, ...page });
    return { messages, next };
  }

  // Resolves with {ok, id}. With the same `nonce`, a message that was sent is not sent again.
  send(roomId, message, { type, nonce = makeNonce() } = {}) {
    this.typing(roomId, false);
    return this.request('send_message', { roomId, message, type, nonce });
  }

  // Call it at each key: it is said as often as the hub needs it.
  typing(roomId, isTyping = true) {
    const last = this.#typing.get(roomId);
    const now = Date.now();
    if (isTyping && last !== undefined && now - last < TYPING_MS) return;
    if (!isTyping && last === undefined) return;
    if (!this.emit(isTyping ? 'typing:start' : 'typing:stop', { roomId })) return;
    if (isTyping) this.#typing.set(roomId, now);
    else this.#typing.delete(roomId);
  }

  // {userId: {online, lastSeen}}
  async presence(users) {
    return (await this.request('presence:query', { users })).users;
  }

  // Hide from other users, or no more; it is kept until it is changed.
  async setVisible(visible) {
    await this.request('presence:set', { visible });
  }

  // Follow users: `presence` says how each of them is, and again when that changes; kept across connections, at most 500.
  async follow(users) {
    const fresh = users.filter((user) => !this.#followed.has(user));
    for (const user of fresh) this.#followed.set(user, null);
    try {
      await this[PERSIST]('presence:subscribe', { users }, () => users.some((user) => this.#followed.has(user)));
    } catch (error) {
      for (const user of fresh) this.#followed.delete(user);
      throw error;
    }
  }

  async unfollow(users) {
    for (const user of users) this.#followed.delete(user);
    if (this.session) await this.request('presence:unsubscribe', { users });
  }

  // Whether what is said of a user is another than what was said before: each connection begins with how all are.
  #isNews(said) {
    const text = JSON.stringify(said);
    const before = this.#followed.get(said.userId);
    if (before !== undefined) this.#followed.set(said.userId, text);
    return before !== text;
  }

  async #refollow() {
    const users = [...this.#followed.keys()];
    if (users.length === 0) return;
    try {
      await this[PERSIST]('presence:subscribe', { users }, () => this.#followed.size > 0);
    } catch (error) {
      if (error.code !== 'closed') this[EMIT]('error', { ...what(error), event: 'presence:subscribe' });
    }
  }

  // What the user wants of notifications, on all devices: as the hub has it. Setting replaces it all, and
  // is repeated until it is answered, as marks are.
  async preferences() {
    const { ok, ...preferences } = await this.request('preferences:get');
    return preferences;
  }

  async setPreferences(preferences) {
    const { ok, ...set } = await this[PERSIST]('preferences:set', preferences);
    return set;
  }

  // Where notifications may be pushed to when nobody is here: {platform, subscription | token, locale?, timezone?, id?}.
  // It is said again on each connection. Keep the `id` of the answer and name it the next time.
  async registerDevice(device) {
    const { device: known } = await this[PERSIST]('device:register', device);
    this.#device = { ...device, id: known.id };
    return known;
  }

  // Whether the app is in front: then nothing is pushed to this device.
  async setForeground(foreground) {
    this.#foreground = foreground;
    const { device } = await this[PERSIST]('device:state', { foreground }, () => this.#foreground === foreground);
    return device;
  }

  // At logout: nothing is pushed to this device any more; with `id` to that one.
  async removeDevice(id = this.#device?.id) {
    if (id === this.#device?.id) this.#device = this.#foreground = null;
    await this[PERSIST]('device:remove', { id });
  }

  async #sayDevice() {
    const device = this.#device;
    if (device === null) return;
    try {
      await this[PERSIST]('device:register', device, () => this.#device === device);
      const foreground = this.#foreground;
      if (foreground) await this[PERSIST]('device:state', { foreground }, () => this.#foreground === foreground);
    } catch (error) {
      if (error.code !== 'closed') this[EMIT]('error', { ...what(error), event: 'device:register' });
    }
  }

  // What the HTTP API says at `path`.
  async [FETCH](path) {
    const token = typeof this.#token === 'function' ? await this.#token() : this.#token;
    const headers = token ? { authorization: `Bearer ${token}` } : {};
    let answer;
    let said;
    try {
      answer = await fetch(new URL(path, streamOf(this.#url)), { headers });
      said = await answer.json();
    } catch (error) {
      throw new PealError('unavailable', error.message);
    }
    if (answer.ok) return said;
    const { code, message, ...detail } = said.error;
    throw new PealError(code, message, detail);
  }

  [ONLINE]() {
    return this.#whenOnline();
  }

  // Ask until there is an answer that is not temporary, as long as it is `wanted`. Only for what may be
  // asked twice, and not of another user, nor behind close().
  async [PERSIST](event, argument, wanted = () => true) {
    const lives = this.#lives;
    let who = this.userId;
    for (let attempt = 0; ; attempt++) {
      if (lives !== this.#lives) throw this.#end;
      await this.#whenOnline();
      who ??= this.userId;
      if (lives !== this.#lives || who !== this.userId || !wanted()) {
        throw new PealError('closed', `${event} is of no use any more`);
      }
      try {
        return await this.request(event, argument);
      } catch (error) {
        if (!error.temporary) throw error;
        const { backoffMin, backoffMax } = this.#options;
        if (this.session) await pause(error.retryAfter ?? grow(attempt, backoffMin, backoffMax));
      }
    }
  }

  #whenOnline() {
    if (this.session) return Promise.resolve();
    if (this.#state === 'idle' || this.#state === 'closed') {
      return Promise.reject(this.#end ?? new PealError('closed', 'not connected: call connect()'));
    }
    return new Promise((resolve, reject) => this.#waiters.add({ resolve, reject }));
  }

  #write(packet) {
    const link = this.#link;
    const text = JSON.stringify(packet);
    const isFull = link.queue.length === FRAME_PACKETS || link.queued + text.length > FRAME_CHARS;
    if (isFull) this.#flush(link);
    link.queue.push(text);
    link.queued += text.length;
    if (link.queue.length === 1) queueMicrotask(() => this.#flush(link));
  }

  // What one turn has to say leaves as one message.
  #flush(link) {
    if (link.queue.length === 0) return;
    const frame = `[${link.queue.join(',')}]`;
    link.queue = [];
    link.queued = 0;
    if (link === this.#link && link.socket.readyState === 1) link.socket.send(frame);
  }

  // --- opening ---

  #set(state, detail) {
    this.#state = state;
    this[EMIT]('client:state', { state, ...detail });
  }

  async #open() {
    const link = { socket: null, pending: new Map(), queue: [], queued: 0, timer: null };
    link.oneWay = this.#needsStream();
    link.heard = 0; // when the hub last said something
    link.since = Infinity; // when it was ready
    clearTimeout(this.#retryTimer);
    this.#retryTimer = null;
    this.#link = link;
    link.timer = setTimeout(() => this.#lost(link, 0, 'there is no token yet'), this.#options.openTimeout);
    this.#set('connecting');
    try {
      const token = typeof this.#token === 'function' ? await this.#token() : this.#token;
      if (link !== this.#link) return;
      if (!token && !new URL(this.#url).searchParams.has('token')) {
        this.#lost(link, CLOSE_UNAUTHORIZED, 'there is no token');
        return;
      }
      link.token = token;
      link.socket = link.oneWay ? this.#stream(token) : this.#webSocket(token);
    } catch (error) {
      this.#lost(link, 0, `cannot connect: ${error.message}`);
      return;
    }
    this.#watch(link);
  }

  #webSocket(token) {
    const protocols = token ? [PROTOCOL, `peal.token.${token}`] : [PROTOCOL];
    return new this.#WebSocket(this.#url, protocols);
  }

  // It goes on with the inbox where this client has it, whatever brought it so far.
  #stream(token) {
    const { inbox } = this.#options;
    const position = inbox ? this.inbox.position : null;
    const known = position ? `1;${position.epoch};${position.rev}` : this.#ready ? '1;;' : '';
    const goesOn = known !== '' && this.#place.startsWith(`${known};`); // it says more: of the rooms, too
    return new Stream(streamOf(this.#url), { token, inbox, place: goesOn ? this.#place : known, rooms: this.rooms });
  }

  #needsStream() {
    const { stream } = this.#options;
    return stream === true || (stream === 'auto' && this.#blocked >= BLOCKED);
  }

  // What the end of a connection says of the way to the hub.
  #learn(link) {
    this.#place = link.oneWay ? link.socket.place : '';
    const opened = link.heard > 0;
    if (!link.oneWay && !opened) this.#probe(link.token);
    else if (!link.oneWay || !opened) this.#blocked = 0; // also when the hub itself is away
    else if (Date.now() - link.since > STREAM_MS) this.#blocked = BLOCKED - 1;
  }

  // A WebSocket did not open: only where the hub answers just now it is WebSockets that do not pass. It shows the token,
  // since browsers write a line of error for what is refused.
  async #probe(token) {
    if (this.#options.stream !== 'auto' || typeof fetch !== 'function') return;
    const headers = token ? { authorization: `Bearer ${token}` } : {};
    try {
      const { status } = await fetch(streamOf(this.#url), { method: 'HEAD', headers, cache: 'no-store' });
      this.#blocked = status < 500 ? this.#blocked + 1 : 0;
    } catch {
      this.#blocked = 0;
    }
  }

  #watch(link) {
    const { socket } = link;
    const { openTimeout, silence } = this.#options;
    clearTimeout(link.timer);
    link.timer = setTimeout(() => this.#lost(link, 0, 'the connection did not open'), openTimeout);
    socket.onopen = () => {
      clearTimeout(link.timer);
      link.heard = Date.now();
      link.timer = setTimeout(() => this.#listen(link), silence);
    };
    socket.onmessage = ({ data }) => this.#message(link, data);
    socket.onerror = () => {}; // a close follows
    socket.onclose = ({ code, reason }) => this.#lost(link, code, reason);
  }

  // The hub says hub:ping every 25 s: a connection that is silent for long is dead, whatever the
  // network stack thinks of it.
  #listen(link) {
    const left = link.heard + this.#options.silence - Date.now();
    if (left <= 0) this.#lost(link, 0, 'the hub has fallen silent');
    else link.timer = setTimeout(() => this.#listen(link), left);
  }

  // --- packets ---

  #message(link, data) {
    if (link !== this.#link) return;
    link.heard = Date.now();
    let packets;
    try {
      packets = JSON.parse(data);
      if (!Array.isArray(packets) || !packets.every(Array.isArray)) throw new TypeError('no packets');
    } catch {
      this.#lost(link, 0, 'a message that is not understood');
      return;
    }
    for (const packet of packets) {
      if (link !== this.#link) return; // a listener has closed it
      if (packet[0] < 0) this.#answer(link, -packet[0], packet[1]);
      else if (typeof packet[0] === 'number') this.#event(link, packet.slice(1));
      else this.#event(link, packet);
    }
  }

  #answer(link, id, answer) {
    const asked = link.pending.get(id);
    if (!asked) return; // it came too late
    link.pending.delete(id);
    clearTimeout(asked.timer);
    if (answer?.ok === false) {
      const { error, message, ok, ...detail } = answer;
      asked.reject(new PealError(error, message, { ...detail, event: asked.event }));
    } else {
      asked.resolve(answer);
    }
  }

  #event(link, [event, ...args]) {
    const mark = args[args.length - 1]?._peal;
    if (mark) {
      args.pop();
      if (mark.offset !== undefined) this.#advance(mark);
      if (mark.retained) args.push({ retained: true }); // a last value, told because we came
    }
    switch (event) {
      case 'hub:ping':
        this.#write(['hub:pong']);
        return;
      case 'hub:ready':
        this.#online(link, args[0]);
        break;
      case 'hub:draining':
        this.#draining(link, args[0]);
        break;
      case 'hub:token_expiring':
        this.#refresh();
        break;
      case 'notification':
      case 'notification:state':
      case 'unread':
        if (this.#options.inbox) this.inbox[RECEIVE](event, args[0]);
        return;
      case 'hub:resync':
        if (this.#options.inbox) this.inbox[RECEIVE](event, args[0]);
        break;
      case 'presence':
        if (!this.#isNews(args[0])) return;
        break;
      case 'room_joined':
        this.#placed(args[0]);
        break;
      case 'room_left':
        this.#rooms.delete(args[0].roomId);
        this.#places.delete(args[0].roomId);
        break;
      case 'batch_update':
        for (const { event: name, args: list } of args[0].messages) {
          if (link === this.#link) this.#event(link, [name, ...list]);
        }
        return;
    }
    this[EMIT](event, ...args);
  }

  #online(link, ready) {
    link.since = Date.now();
    this.#returnAt = 0;
    this.#refused = false;
    this.#ready = ready;
    this.#set('online', { node: ready.node, userId: ready.userId });
    if (this.#options.inbox) this.inbox[READY](ready, link.oneWay);
    for (const place of this.#places.values()) place.live = false;
    for (const [roomId, argument] of this.#rooms) this.#rejoin(roomId, argument);
    if (!link.oneWay) this.#refollow();
    if (!link.oneWay) this.#sayDevice();
    const waiters = [...this.#waiters];
    this.#waiters.clear();
    for (const { resolve } of waiters) resolve();
  }

  async #rejoin(roomId, argument) {
    try {
      await this.#enter(roomId, argument);
    } catch (error) {
      if (error.code === 'closed') return;
      this.#rooms.delete(roomId);
      this.#wanted.delete(roomId);
      this[EMIT]('error', { ...what(error), event: 'join_room', roomId });
    }
  }

  async #refresh() {
    if (typeof this.#token !== 'function') return;
    try {
      await this.request('auth:refresh', { token: await this.#token() });
    } catch (error) {
      this[EMIT]('error', { ...what(error), event: 'auth:refresh' });
    }
  }

  // --- losing it and coming back ---

  #draining(link, { reconnectIn = 0 } = {}) {
    this.#returnAt = Date.now() + reconnectIn;
    this.#set('draining', { reconnectIn });
    clearTimeout(this.#drainTimer); // the hub closes; when that is lost, leave by ourselves
    this.#drainTimer = setTimeout(() => {
      this.#lost(link, CLOSE_DRAINING, 'the hub is draining');
    }, reconnectIn + 1_000);
  }

  // Let go of the connection; returns its socket. What was asked on it has no answer any more.
  #drop(why) {
    const link = this.#link;
    this.#link = null;
    clearTimeout(this.#retryTimer);
    clearTimeout(this.#drainTimer);
    if (!link) return null;
    clearTimeout(link.timer);
    this.inbox[OFFLINE]();
    this.#typing.clear();
    for (const { reject, timer, event } of link.pending.values()) {
      clearTimeout(timer);
      reject(new PealError(why, `the connection ended before ${event} was answered`));
    }
    return link.socket;
  }

  #lost(link, code, reason) {
    if (link !== this.#link) return;
    if (link.socket) this.#learn(link);
    // A connection that ends soon after it began counts as a failed attempt.
    if (Date.now() - link.since > STEADY_MS) this.#attempts = 0;
    const socket = this.#drop('disconnected');
    if (socket && socket.readyState < 2) socket.close();
    if (code < 4000 || RETURNS_ON.has(code) || this.#mayAskAgain(code)) this.#wait(code, reason);
    else this.#finish(code, reason);
  }

  // A token may have expired on its way: who can give another one is asked once.
  #mayAskAgain(code) {
    const first = code === CLOSE_UNAUTHORIZED && typeof this.#token === 'function' && !this.#refused;
    this.#refused = first;
    return first;
  }

  #wait(code, reason) {
    const { backoffMin, backoffMax } = this.#options;
    let retryIn = grow(this.#attempts, backoffMin, backoffMax);
    if (code === CLOSE_TOO_MANY) retryIn = Math.max(retryIn, TOO_MANY_MS * (1 + Math.random()));
    if (this.#returnAt > 0) retryIn = Math.max(0, this.#returnAt - Date.now());
    this.#returnAt = 0;
    this.#attempts += 1;
    retryIn = Math.round(retryIn);
    this.#retryTimer = setTimeout(() => this.#open(), retryIn);
    this.#set('waiting', { retryIn, attempt: this.#attempts, code, reason });
  }

  #finish(code, reason) {
    globalThis.removeEventListener?.('online', this.#onNetwork);
    const waiters = [...this.#waiters];
    this.#waiters.clear();
    this.#lives += 1;
    this.#end = new PealError('closed', reason || `closed with ${code}`, { closeCode: code });
    this.#set('closed', { code, reason });
    for (const { reject } of waiters) reject(this.#end);
  }

  // The network is back: do not sit out the pause.
  #retryNow() {
    if (this.#state === 'waiting') this.#open();
  }
}

export default Peal;
