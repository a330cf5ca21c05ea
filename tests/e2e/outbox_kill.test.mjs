// SPDX-License-Identifier: Apache-2.0
// Fifty applications post within their transactions, a third of which they roll back, while hubs and Postgres are killed
// at random: what committed is in the inboxes, all of it, once, in the order of the commits, and nothing else.
import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import { after, before, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import pg from 'pg';
import { startHub } from './support/hub.mjs';
import { startPostgres } from './support/postgres.mjs';
import { startRedis } from './support/redis.mjs';
import { FULL } from './support/siege.mjs';
import { until } from './support/wait.mjs';

const seed = Number(process.env.PEAL_SEED ?? randomInt(1, 0x7fffffff));
const POSTS = FULL ? 100_000 : 4_000;
const APPLICATIONS = 50;
const USERS = 20;
const MOST = FULL ? 20 : 8; // posts of a transaction
const KILLS = FULL ? 12 : 3; // of each kind

// The same numbers for the same seed (xorshift).
function makeRandom(start) {
  let state = start >>> 0 || 1;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
}

let redis;
let postgres;
let hubs;
before(async () => {
  [redis, postgres] = await Promise.all([startRedis(), startPostgres()]);
  const first = await startHub({ redis, postgres });
  hubs = [first, await startHub({ redis, postgres, secret: first.secret, apiKey: first.apiKey })];
  await postgres.query('CREATE TABLE orders (id int PRIMARY KEY)');
});
after(async () => {
  for (const hub of hubs ?? []) await hub.stop();
  await redis?.stop();
  await postgres?.stop();
});

const transactions = []; // {asked, answered, posts: [{user, title}]}, by number; times in order
let posted = 0;
let clock = 0; // counts what happens
let killed = false; // whether all kills are over

// One transaction of an application: whether it may have committed is what `orders` says.
async function transact(client, random) {
  const id = transactions.length;
  const posts = Array.from({ length: 1 + random(MOST) }, (_, n) => ({ user: `user-${random(USERS)}`, title: `${id}.${n}` }));
  const own = { asked: Infinity, answered: Infinity, posts };
  transactions.push(own);
  const keeps = random(3) > 0;
  await client.query('BEGIN');
  await client.query('INSERT INTO orders VALUES ($1)', [id]);
  for (const { user, title } of posts) await client.query(`SELECT peal.post($1, 'order', $2)`, [user, title]);
  if (!keeps) {
    await client.query('ROLLBACK');
    return;
  }
  own.asked = ++clock;
  await client.query('COMMIT');
  own.answered = ++clock;
  posted += posts.length;
}

// Until enough is posted and nobody kills any more; a connection that was lost is had again.
async function apply(number) {
  const random = makeRandom(seed + number);
  while (posted < POSTS || !killed) {
    const client = new pg.Client({ connectionString: postgres.url });
    client.on('error', () => {});
    try {
      await client.connect();
      while (posted < POSTS || !killed) {
        await transact(client, random);
        if (posted >= POSTS) await pause(20); // only the kills are waited for
      }
    } catch {
      await pause(20);
    }
    await client.end().catch(() => {});
  }
}

async function killAll() {
  const random = makeRandom(seed);
  for (let round = 0; round < KILLS; round++) {
    const next = posted + POSTS / (KILLS + 1) / 2;
    await until(() => posted >= next || posted >= POSTS, 'some more is posted', 120_000);
    await pause(random(50));
    const hub = hubs[random(2)];
    await hub.kill();
    await pause(random(50));
    await hub.restart();
    await pause(random(50));
    await postgres.kill();
    await postgres.restart();
  }
  killed = true;
}

// What stands in the inboxes, in order: of each user titles.
async function stored() {
  const rows = await postgres.query('SELECT user_id, title FROM peal.notification ORDER BY user_id, seq');
  const inboxes = new Map();
  for (const { user_id, title } of rows) inboxes.set(user_id, [...(inboxes.get(user_id) ?? []), title]);
  return inboxes;
}

const numberOf = (title) => Number(title.split('.')[0]);

// The order of a user: of two transactions the one whose COMMIT was answered before the other's was sent is in front.
function checkOrder(user, inbox) {
  let lastAsked = 0; // the latest that a transaction before this one was asked to commit
  let current = -1;
  let before = 0;
  for (const title of inbox) {
    const number = numberOf(title);
    const { asked, answered } = transactions[number];
    if (number !== current) {
      lastAsked = Math.max(lastAsked, before);
      assert.ok(answered > lastAsked, `${user}: ${title} had committed before one in front of it was asked to (PEAL_SEED=${seed})`);
      current = number;
      before = asked === Infinity ? 0 : asked;
    }
  }
}

test(`${POSTS} posts of ${APPLICATIONS} applications`, { timeout: FULL ? 1_200_000 : 280_000 }, async (t) => {
  t.diagnostic(`PEAL_SEED=${seed}`);
  await Promise.all([killAll(), ...Array.from({ length: APPLICATIONS }, (_, n) => apply(n))]);
  const left = async () => Number((await postgres.query('SELECT count(*) FROM peal.outbox'))[0].count);
  let last;
  await until(async () => (last = await left()) === 0, () => `all is taken, ${last} are left\n${hubs[0].log}\n${hubs[1].log}`, FULL ? 300_000 : 60_000);
  const committed = new Set((await postgres.query('SELECT id FROM orders')).map(({ id }) => id));
  const wanted = new Map();
  for (const id of committed) {
    for (const { user, title } of transactions[id].posts) wanted.set(user, [...(wanted.get(user) ?? []), title]);
  }
  const inboxes = await stored();
  for (const [user, titles] of wanted) {
    assert.deepEqual([...(inboxes.get(user) ?? [])].sort(), titles.sort(), `${user} has what committed, once (PEAL_SEED=${seed})`);
  }
  assert.equal(inboxes.size, wanted.size);
  for (const [user, inbox] of inboxes) checkOrder(user, inbox);
  for (const id of committed) { // within a transaction as posted
    for (const user of new Set(transactions[id].posts.map((post) => post.user))) {
      const own = transactions[id].posts.filter((post) => post.user === user).map(({ title }) => title);
      const there = inboxes.get(user).filter((title) => numberOf(title) === id);
      assert.deepEqual(there, own, `as posted (PEAL_SEED=${seed})`);
    }
  }
  const count = [...inboxes.values()].reduce((sum, { length }) => sum + length, 0);
  t.diagnostic(`${count} stored of ${transactions.length} transactions, ${committed.size} of which committed`);
  assert.ok(count >= POSTS);
  const dead = await postgres.query('SELECT * FROM peal.outbox_dead');
  assert.deepEqual(dead, []);
  const { body } = await hubs[0].api('GET', '/api/v1/users/user-0/notifications?limit=1');
  assert.equal(body.items[0].title, inboxes.get('user-0').at(-1));
});
