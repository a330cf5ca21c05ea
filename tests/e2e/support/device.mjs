// SPDX-License-Identifier: Apache-2.0
// device - a device of a user that keeps its inbox complete: live events while `rev` has no hole,
// notification:sync when it has one or when it comes back. On socket.io-client or on /ws.
import { setTimeout as pause } from 'node:timers/promises';
import { PlainClient } from './plain_client.mjs';

const RETRY_MS = 200;
const OPEN_STATES = new Set(['unread', 'seen']);

export class Device {
  // `hubs`: on /ws a lost connection goes to the next of them; a socket.io-client stays with the
  // first. `encoding`: of /ws.
  constructor(user, hubs, { via = 'ws', encoding = 'json', claims, onItem } = {}) {
    Object.assign(this, { user, hubs, via, encoding, claims, onItem });
    this.items = new Map(); // by id, in order of arrival
    this.states = new Map(); // id → state, where it is not "unread"
    this.errors = []; // what must never happen
    this.others = []; // [event, ...args] that are not of the inbox
    this.rev = 0;
    this.lastSeq = 0;
    this.unread = undefined; // what the hub told last
    this.unreadRev = 0;
    this.repeats = 0; // raw: sent again, to be ignored
    this.gaps = 0; // live events that came with a hole before them
    this.readies = 0;
    this.ahead = 0; // highest rev heard of
    this.told = new Map(); // by node: the highest rev it has told live
    this.started = false;
  }

  start() {
    this.started = true;
    this.run = this.via === 'io' ? this.startSocketIo() : this.runPlain();
    return this;
  }

  startSocketIo() {
    const socket = this.hubs[0].socketIo(this.user, {
      claims: this.claims,
      reconnectionDelay: 100,
      reconnectionDelayMax: 1000,
    });
    this.socket = socket;
    this.ask = (event, argument) => socket.timeout(10_000).emitWithAck(event, argument);
    socket.onAny((event, ...args) => this.onEvent(event, args));
    socket.on('disconnect', () => (this.ready = false));
    socket.on('connect_error', (error) => {
      if (!socket.active) setTimeout(() => this.started && socket.connect(), RETRY_MS);
      this.refusal = error.message;
    });
  }

  async runPlain() {
    for (let turn = 0; this.started; turn++) {
      const hub = this.hubs[turn % this.hubs.length];
      try {
        const options = { claims: this.claims, encoding: this.encoding };
        options.onEvent = ([event, ...args]) => this.onEvent(event, args);
        const client = await hub.plain(this.user, options);
        this.client = client;
        const lost = client.closed.then(() => Promise.reject(new Error('connection lost')));
        lost.catch(() => {});
        this.ask = (event, argument) => Promise.race([client.request(event, argument), lost]);
        if (!this.started) client.close();
        await client.closed;
        hub.sockets.delete(client);
      } catch (error) {
        this.refusal = error.message;
      }
      this.ready = false;
      if (this.started) await pause(RETRY_MS);
    }
  }

  // Go away; start() comes back with the position kept.
  async leave() {
    this.started = false;
    this.ready = false;
    this.socket?.close();
    if (this.via === 'ws') {
      this.client?.close();
      await this.run;
    }
  }

  fail(text) {
    if (this.errors.length < 20) this.errors.push(`${this.user} (${this.via}): ${text}`);
  }

  onEvent(event, args) {
    const [body] = args;
    if (event === 'hub:ready') this.onReady(body);
    else if (event === 'notification') this.onNotification(body);
    else if (event === 'notification:state') this.onState(body);
    else if (event === 'unread') this.tellUnread(body.count, body.rev);
    else if (event === 'hub:resync') this.fail(`hub:resync ${JSON.stringify(body)}`);
    else this.others.push([event, ...args]);
  }

  tellUnread(count, rev) {
    if (rev < this.unreadRev) return;
    this.unread = count;
    this.unreadRev = rev;
  }

  onReady(body) {
    this.readies += 1;
    this.node = body.node;
    if (this.epoch !== undefined && this.epoch !== body.epoch) this.fail('another epoch');
    this.epoch = body.epoch;
    // A node that was killed may have told its own sockets what the bus had not taken yet: another hears
    // of it at its next recheck. What a node itself has told it never goes below.
    const told = this.told.get(body.node) ?? 0;
    if (body.rev < told) this.fail(`ready at rev ${body.rev}, below ${told} of the same node`);
    this.tell(body.rev);
    if (body.userId !== this.user) this.fail(`ready as ${body.userId}`);
    this.tellUnread(body.unread, body.rev);
    this.hear(body.rev);
    this.ready = true;
  }

  // There are changes up to `rev`.
  hear(rev) {
    if (rev > this.ahead) this.ahead = rev;
    if (this.rev < this.ahead && !this.syncing) {
      this.syncing = this.sync().finally(() => (this.syncing = undefined));
    }
  }

  // The node of this connection has told `rev`.
  tell(rev) {
    this.told.set(this.node, Math.max(rev, this.told.get(this.node) ?? 0));
  }

  // Whether the live change `rev` is the next one.
  accepts(rev) {
    this.tell(rev);
    if (rev <= this.rev) {
      this.repeats += 1;
      return false;
    }
    if (rev > this.rev + 1 || this.syncing) {
      if (!this.syncing) this.gaps += 1;
      this.hear(rev);
      return false;
    }
    this.rev = rev;
    if (rev > this.ahead) this.ahead = rev;
    return true;
  }

  onNotification(item) {
    if (item.userId !== this.user) this.fail(`a notification of ${item.userId}`);
    if (this.accepts(item.rev)) this.keep(item);
  }

  onState(body) {
    this.tellUnread(body.unread, body.rev);
    if (!this.accepts(body.rev)) return;
    for (const item of this.items.values()) {
      const meant = body.ids ? body.ids.includes(item.id) : item.seq <= body.upTo;
      if (meant) this.states.set(item.id, body.state);
    }
  }

  keep(item) {
    if (this.items.has(item.id)) this.fail(`notification ${item.seq} kept twice`);
    if (item.seq !== this.lastSeq + 1) this.fail(`seq ${item.seq} after ${this.lastSeq}`);
    this.lastSeq = item.seq;
    this.items.set(item.id, item);
    if (item.isRead) this.states.set(item.id, 'read');
    this.onItem?.(item, this);
  }

  async sync() {
    while (this.started && this.rev < this.ahead) {
      const { ask } = this;
      let answer;
      try {
        answer = await ask('notification:sync', { epoch: this.epoch, rev: this.rev });
      } catch {
        answer = { ok: false };
      }
      if (answer.ok === false) {
        if (!this.started) return;
        await pause(RETRY_MS);
        continue;
      }
      if (answer.resync) return void this.fail('sync answered with a resync');
      if (answer.rev < this.rev) return void this.fail(`sync went back to ${answer.rev}`);
      if (answer.done === false && answer.rev === this.rev) return void this.fail('sync stands still');
      for (const item of answer.items) {
        if (item.userId !== undefined && item.userId !== this.user) this.fail('another user in sync');
        this.keep(item);
      }
      for (const { id, state } of answer.states) this.states.set(id, state);
      this.rev = answer.rev;
      this.tellUnread(answer.unread, answer.rev);
      this.syncs = (this.syncs ?? 0) + 1;
    }
  }

  stateOf(id) {
    return this.states.get(id) ?? 'unread';
  }

  // What this device would count itself.
  countUnread() {
    return [...this.items.keys()].filter((id) => OPEN_STATES.has(this.stateOf(id))).length;
  }

  // The ids of `items` were read here; resolves with the ack.
  read(ids) {
    return this.ask('notification:read', ids);
  }
}
