// SPDX-License-Identifier: Apache-2.0
// ledger - what was posted, and whether the store and the devices have exactly that.
import { execFileSync } from 'node:child_process';
import { createHmac, randomBytes } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import { until } from './wait.mjs';

const STATE_READ = 2; // in the store: below it, a notification is unread
const ANSWER_MS = 10_000; // a node that does not answer is left for another
const RETRY_MS = 100;
const SETTLE_MS = 250;

export class Ledger {
  constructor() {
    this.secret = randomBytes(16);
    this.posts = new Map(); // by key
    this.counts = new Map(); // by poster
    this.read = new Set(); // ids whose reading was acknowledged
  }

  sign(user, key) {
    return createHmac('sha256', this.secret).update(`${user}\0${key}`).digest('base64url');
  }

  // A new post to `user`; posts of one poster are numbered as they are made.
  make(poster, user) {
    const n = this.counts.get(poster) ?? 0;
    this.counts.set(poster, n + 1);
    const key = `${poster}-${n}`;
    this.posts.set(key, { key, poster, n, user, accepted: false });
    return {
      user,
      type: 'test',
      title: key,
      message: `for ${user}, "quoted" \u00e9\u{1f514}`,
      data: { sign: this.sign(user, key) },
      priority: n % 4 === 0 ? 'urgent' : 'medium',
      key,
    };
  }

  accept(key) {
    this.posts.get(key).accepted = true;
  }

  get users() {
    return [...new Set([...this.posts.values()].map(({ user }) => user))];
  }

  countOf(user) {
    return [...this.posts.values()].filter((post) => post.user === user && post.accepted).length;
  }

  // Post through the stream; resolves when Redis has it. The client repeats what it has no answer to.
  async addToStream(redis, post, stream = 'peal:in') {
    const fields = { ...post, data: JSON.stringify(post.data) };
    await redis.xadd(stream, '*', ...Object.entries(fields).flat());
    this.accept(post.key);
  }

  // Post one, or a list in one request, to the first of `hubs` that takes it, with the same keys
  // until one does. Resolves with the answers in their order.
  async postByHttp(hubs, posts) {
    for (let turn = 0; ; turn++) {
      const { status, body } = await this.tryHttp(hubs[turn % hubs.length], posts);
      if (status === 200 || status === 201) {
        for (const post of [posts].flat()) this.accept(post.key);
        return body.results ?? [body];
      }
      // 503: it was not taken, or not all of it; 504: it may be stored. Both are to be repeated.
      if (status !== 503 && status !== 504 && status !== 0) {
        throw new Error(`posting was answered with ${status} ${JSON.stringify(body)}`);
      }
      await pause(RETRY_MS);
    }
  }

  async tryHttp(hub, posts) {
    try {
      const signal = AbortSignal.timeout(ANSWER_MS);
      const answer = await hub.api('POST', '/api/v1/notifications', posts, {}, { signal });
      const bad = answer.body.results?.find(({ status }) => status !== 200 && status !== 201);
      return bad ? { status: bad.status ?? -1, body: bad } : answer;
    } catch (error) {
      return { status: 0, body: error.message }; // no answer: it may have been stored or not
    }
  }

  // The invariants; every list of the result must be empty. `rows` and `inboxes` as the store
  // has them, `devices` as they ended.
  verdict({ rows, inboxes }, devices) {
    const found = {
      lost: [], // I1: accepted, not stored
      doubled: [], // I2
      phantom: [], // I2: stored, never posted like that
      gaps: [], // I3: seq is not 1..n
      inversions: [], // I4
      missing: [], // I5: a device lacks it
      wrong: [], // I6, I7, I8: what devices noticed themselves
      unread: [], // I9
      unreadAgain: [], // I10
    };
    const stored = new Map();
    const last = new Map(); // poster and user → n
    const byUser = new Map();
    for (const row of rows) {
      const post = this.posts.get(row.title);
      if (stored.has(row.title)) found.doubled.push(row.title);
      stored.set(row.title, row);
      if (!post || post.user !== row.user || row.sign !== this.sign(row.user, row.title)) {
        found.phantom.push(row.title);
        continue;
      }
      const list = byUser.get(row.user) ?? [];
      byUser.set(row.user, list);
      list.push(row);
      if (row.seq !== list.length) found.gaps.push(`${row.user}: ${row.seq} as ${list.length}`);
      const line = `${post.poster} ${row.user}`;
      if ((last.get(line) ?? -1) > post.n) found.inversions.push(`${line}: ${post.n}`);
      last.set(line, post.n);
      if (this.read.has(row.id) && row.state < STATE_READ) found.unreadAgain.push(row.title);
    }
    for (const post of this.posts.values()) {
      if (post.accepted && !stored.has(post.key)) found.lost.push(post.key);
    }
    for (const [user, list] of byUser) this.checkInbox(user, list, inboxes.get(user), found);
    for (const device of devices) this.checkDevice(device, byUser.get(device.user) ?? [], inboxes, found);
    return found;
  }

  checkInbox(user, list, inbox, found) {
    const unread = list.filter(({ state }) => state < STATE_READ).length;
    if (inbox?.seq !== list.length) found.gaps.push(`${user}: inbox at seq ${inbox?.seq}`);
    if (inbox?.unread !== unread) found.unread.push(`${user}: ${inbox?.unread} for ${unread}`);
  }

  checkDevice(device, list, inboxes, found) {
    found.wrong.push(...device.errors);
    const items = [...device.items.values()];
    const where = `${device.user} (${device.via})`;
    list.forEach((row, i) => {
      const item = items[i];
      if (item?.id !== row.id || item.seq !== row.seq) found.missing.push(`${where}: ${row.title}`);
      else if (item.title !== row.title || item.data.sign !== row.sign) {
        found.wrong.push(`${where}: ${row.title} differs`);
      }
    });
    if (items.length > list.length) found.wrong.push(`${where}: more than is stored`);
    const inbox = inboxes.get(device.user) ?? { rev: 0, unread: 0 };
    if (device.rev !== inbox.rev) found.missing.push(`${where}: rev ${device.rev} of ${inbox.rev}`);
    if (device.unread !== inbox.unread) {
      found.unread.push(`${where}: told ${device.unread}, stored ${inbox.unread}`);
    }
    if (device.countUnread() !== inbox.unread) {
      found.unread.push(`${where}: counts ${device.countUnread()}, stored ${inbox.unread}`);
    }
  }

  // Wait until everything accepted is stored and told; `readTruth` reads the database, as below.
  // Resolves with the verdict, also when the time is over: it then says what is missing. With
  // `anyOrder` it says nothing of order.
  async settle(readTruth, devices, deadline = 60_000, { anyOrder = false } = {}) {
    const counts = new Map(this.users.map((user) => [user, this.countOf(user)]));
    const has = (device) => device.items.size >= (counts.get(device.user) ?? 0);
    await until(() => devices.every(has), 'devices have as much as was posted', deadline).catch(() => {});
    const end = performance.now() + deadline / 2;
    for (;;) {
      const verdict = this.verdict(await readTruth(), devices);
      if (anyOrder) verdict.inversions = [];
      const isGood = Object.values(verdict).every((list) => list.length === 0);
      for (const name of Object.keys(verdict)) verdict[name] = verdict[name].slice(0, 20);
      if (isGood || performance.now() > end) return verdict;
      await pause(SETTLE_MS);
    }
  }
}

// What a verdict must be.
export const ALL_GOOD = {
  lost: [],
  doubled: [],
  phantom: [],
  gaps: [],
  inversions: [],
  missing: [],
  wrong: [],
  unread: [],
  unreadAgain: [],
};

const NOTIFICATIONS = `SELECT n.user_id AS "user", n.seq AS seq, n.title AS title, n.state AS state,`;

function collect(rows, inboxes) {
  const number = (row) => ({ ...row, seq: Number(row.seq), state: Number(row.state) });
  return {
    rows: rows.map((row) => number({ ...row, sign: JSON.parse(row.data).sign })),
    inboxes: new Map(
      inboxes.map((box) => [
        box.user,
        { seq: Number(box.seq), rev: Number(box.rev), unread: Number(box.unread) },
      ]),
    ),
  };
}

// The truth, straight from a database.
export async function readPostgres(postgres) {
  const rows = await postgres.query(`${NOTIFICATIONS}
    n.id::text AS id, convert_from(n.data, 'UTF8') AS data FROM peal.notification n ORDER BY 1, 2`);
  const inboxes = await postgres.query('SELECT user_id AS "user", seq, rev, unread FROM peal.inbox');
  return collect(rows, inboxes);
}

const asUuid = (hex) => hex.toLowerCase().replace(/^(.{8})(.{4})(.{4})(.{4})/, '$1-$2-$3-$4-');

export function readSqlite(file) {
  const query = (text) => {
    const args = ['-readonly', '-json', '-cmd', '.timeout 10000', file, text];
    const options = { encoding: 'utf8', maxBuffer: 256 * 1024 * 1024 };
    return JSON.parse(execFileSync('sqlite3', args, options) || '[]');
  };
  const rows = query(`${NOTIFICATIONS} hex(n.id) AS id, CAST(n.data AS TEXT) AS data
    FROM notification n ORDER BY 1, 2`);
  const inboxes = query('SELECT user_id AS "user", seq, rev, unread FROM inbox');
  return collect(rows.map((row) => ({ ...row, id: asUuid(row.id) })), inboxes);
}
