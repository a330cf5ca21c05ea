// SPDX-License-Identifier: Apache-2.0
// What applications post by SQL within their own transactions: there when these commit, in the order in which they do, and
// never when they are rolled back; from Peal's own database and from another one, also through a pooler.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { cleanEnvironment, PROGRAM, startHub } from './support/hub.mjs';
import { inboxOf, newUser } from './support/inbox.mjs';
import { startPooler } from './support/pooler.mjs';
import { startPostgres } from './support/postgres.mjs';
import { temporaryFolder } from './support/process.mjs';
import { startRedis } from './support/redis.mjs';
import { until } from './support/wait.mjs';

const items = async (hub, user) => (await hub.api('GET', `${inboxOf(user)}?limit=100`)).body.items ?? [];
const titles = async (hub, user) => (await items(hub, user)).map(({ title }) => title).reverse();
const have = (hub, user, wanted) => {
  let last;
  return until(async () => JSON.stringify((last = await titles(hub, user))) === JSON.stringify(wanted),
    () => `${user} has ${JSON.stringify(wanted)}, not ${JSON.stringify(last)}\n${hub.log}`);
};
const readiness = async (hub) => (await fetch(`${hub.internalUrl}/readyz`)).json();
const rowsOf = async (server, table) => Number((await server.query(`SELECT count(*) FROM peal.${table}`))[0].count);
const isEmpty = (server) => until(async () => await rowsOf(server, 'outbox') + await rowsOf(server, 'outbox_commit') === 0, 'all is taken');

// Run statements in a transaction, which ends as `end` says.
async function inTransaction(pool, end, statements) {
  const client = await pool.connect();
  try {
    await client.query('BEGIN');
    for (const [text, values] of statements) await client.query(text, values);
    await client.query(end);
  } catch (error) {
    await client.query('ROLLBACK');
    throw error;
  } finally {
    client.release();
  }
}
const post = (user, title, more = '') => [`SELECT peal.post($1, 'order', $2${more})`, [user, title]];

describe('in the store, two nodes', () => {
  let redis;
  let postgres;
  let pool;
  let hubs;
  before(async () => {
    [redis, postgres] = await Promise.all([startRedis(), startPostgres({ settings: { max_prepared_transactions: '2' } })]);
    const first = await startHub({ redis, postgres });
    hubs = [first, await startHub({ redis, postgres, secret: first.secret, apiKey: first.apiKey })];
    pool = postgres.pool();
    await postgres.query('CREATE TABLE orders (id bigint GENERATED ALWAYS AS IDENTITY, what text)');
  });
  after(async () => {
    for (const hub of hubs ?? []) await hub.stop();
    await redis?.stop();
    await postgres?.stop();
  });

  test('what commits is there with all its fields, what is rolled back is not', async () => {
    const [user, other] = [newUser(), newUser()];
    await inTransaction(pool, 'COMMIT', [
      [`INSERT INTO orders (what) VALUES ('book')`],
      [`SELECT peal.post(user_id => $1, type => 'order', title => 'shipped', message => 'today', data => '{"n": 7}',
        key => 'order-7', priority => 'high', expires_at => '2099-01-01Z', collapse => 'order:7')`, [user]],
      post(user, 'second'),
      ['SAVEPOINT a'], post(user, 'undone'), ['ROLLBACK TO a'],
      post(user, 'third'),
    ]);
    await inTransaction(pool, 'ROLLBACK', [[`INSERT INTO orders (what) VALUES ('none')`], post(other, 'never')]);
    await inTransaction(pool, 'COMMIT', [['SAVEPOINT a'], post(other, 'undone first'), ['ROLLBACK TO a'], post(other, 'only')]);
    await have(hubs[0], user, ['shipped', 'second', 'third']);
    await have(hubs[1], other, ['only']);
    const [first] = (await items(hubs[0], user)).reverse();
    assert.deepEqual([first.message, first.data, first.priority, first.expiresAt, first.type, first.seq],
      ['today', { n: 7 }, 'high', '2099-01-01T00:00:00.000Z', 'order', 1]);
    await isEmpty(postgres);
  });

  test('a device is told, a key is stored once, and is made up where there is none', async () => {
    const user = newUser();
    const told = [];
    const device = hubs[1].socketIo(user);
    let ready = false;
    device.onAny((event, body) => (event === 'hub:ready' ? (ready = true) : event === 'notification' && told.push(body.title)));
    await until(() => ready, 'hub:ready');
    const [{ post: made }] = await postgres.query(...post(user, 'one'));
    assert.match(made, /^[0-9a-f-]{36}$/);
    const same = [`SELECT peal.post($1, 'order', 'two', key => 'k')`, [user]];
    assert.equal((await postgres.query(...same))[0].post, 'k');
    await postgres.query(...same);
    await inTransaction(pool, 'COMMIT', [same, same]);
    await postgres.query(...post(user, 'three'));
    await have(hubs[0], user, ['one', 'two', 'three']);
    await until(() => told.length === 3, 'it is told');
    assert.deepEqual(told, ['one', 'two', 'three']);
    assert.equal((await hubs[0].api('POST', '/api/v1/notifications', { user, type: 'order', title: 'two', key: 'k' })).body.duplicate, true);
  });

  test('the order is that of the commits, also where nobody was there to see them', async () => {
    const user = newUser();
    const [early, late] = [await pool.connect(), await pool.connect()];
    for (const hub of hubs) await hub.kill();
    try {
      await early.query('BEGIN');
      await early.query(...post(user, 'posted first'));
      await late.query('BEGIN');
      await late.query(...post(user, 'committed first'));
      await late.query(...post(user, 'with it'));
      await late.query('COMMIT');
      await postgres.query(...post(user, 'alone'));
      await early.query(...post(user, 'at the end'));
      await early.query('COMMIT');
    } finally {
      early.release();
      late.release();
    }
    for (const hub of hubs) await hub.restart();
    await have(hubs[0], user, ['committed first', 'with it', 'alone', 'posted first', 'at the end']);
  });

  test('what is open for long holds up nobody, and comes when it commits', async () => {
    const user = newUser();
    const long = await pool.connect();
    try {
      await long.query('BEGIN');
      await long.query(...post(user, 'long'));
      await postgres.query(...post(user, 'short'));
      await have(hubs[0], user, ['short']);
      await long.query('COMMIT');
      await have(hubs[1], user, ['short', 'long']);
    } finally {
      long.release();
    }
  });

  test('an event comes to its room at the commit, once', async () => {
    const told = [];
    const member = hubs[1].socketIo(newUser());
    member.onAny((event, ...args) => event.startsWith('order:') && told.push([event, ...args]));
    await new Promise((resolve, reject) => {
      member.once('hub:ready', resolve);
      member.once('connect_error', reject);
    });
    assert.equal((await member.emitWithAck('join_room', { roomId: 'public:7' })).ok, true);
    const client = await pool.connect();
    try {
      await client.query('BEGIN');
      await client.query(`SELECT peal.publish('public:7', 'order:moved', '[{"to": "Bonn"}, 2]')`);
      await postgres.query(`SELECT peal.publish('public:7', 'order:seen')`);
      await until(() => told.length === 1, 'the other one is told');
      await client.query('COMMIT');
    } finally {
      client.release();
    }
    await inTransaction(pool, 'ROLLBACK', [[`SELECT peal.publish('public:7', 'order:never')`]]);
    await postgres.query(`SELECT peal.publish('public:7', 'order:last')`);
    await until(() => told.length >= 3, 'all are told');
    assert.deepEqual(told, [['order:seen'], ['order:moved', { to: 'Bonn' }, 2], ['order:last']]);
  });

  test('what cannot be stored is kept with the field at fault, and holds up nobody', async () => {
    const user = newUser();
    const bad = [
      [`SELECT peal.post($1, 'order', key => 'twice', title => 'a')`, [user]],
      [`SELECT peal.post($1, 'order', key => 'twice', title => 'b')`, [user]], // of these two the second
      [`SELECT peal.post('', 'order')`],
      [`SELECT peal.post(NULL, 'order')`],
      [`SELECT peal.post($1, NULL)`, [user]],
      [`SELECT peal.post($1, 'order', priority => 'now')`, [user]],
      [`SELECT peal.post($1, 'order', expires_at => '-infinity')`, [user]],
      [`SELECT peal.post($1, 'order', deliver_at => '2020-01-01Z')`, [user]],
      [`SELECT peal.post($1, 'order', title => repeat('x', 600))`, [user]],
      [`SELECT peal.publish('public:7', NULL)`],
      [`SELECT peal.publish('public:7', 'order:x', '{}')`],
      [`SELECT peal.publish('', 'order:x')`],
      [`SELECT peal.publish('public:7', 'connect')`],
    ];
    await inTransaction(pool, 'COMMIT', bad);
    await inTransaction(pool, 'COMMIT', [post(user, 'good')]);
    await have(hubs[0], user, ['a', 'good']);
    await until(async () => await rowsOf(postgres, 'outbox_dead') === 12, 'all are dead letters');
    const dead = await postgres.query(`SELECT field, reason, post FROM peal.outbox_dead ORDER BY (post->>'id')::bigint`);
    assert.deepEqual(dead.map(({ field }) => field),
      ['key', 'user', 'user', 'type', 'priority', 'expires_at', 'deliver_at', 'title', 'event', 'args', 'room', 'event'],
      JSON.stringify(dead, undefined, 1));
    assert.deepEqual([dead[0].post.target, dead[0].post.title, dead[0].post.key], [user, 'b', 'twice']);
    assert.ok(dead.every(({ reason }) => reason.length > 5));
    const counted = (await Promise.all(hubs.map((hub) => hub.metric('peal_sql_outbox_dead_total')))).reduce((a, b) => a + b);
    assert.equal(counted, 12);
    assert.match(hubs.map(({ log }) => log).join('\n'), /OUTBOX-DEAD .*outbox=store .*field="priority"/);
    await assert.rejects(postgres.query(`SELECT peal.post('u', 'order', message => repeat('x', 1100000))`), /1 MiB/);
  });

  test('a role that may use the schema may post, and see nothing', async () => {
    const user = newUser();
    await postgres.query('CREATE ROLE shop LOGIN');
    await postgres.query('GRANT USAGE ON SCHEMA peal TO shop');
    await inTransaction(pool, 'COMMIT', [['SET LOCAL ROLE shop'], post(user, 'by the shop')]);
    await have(hubs[0], user, ['by the shop']);
    const peek = (table) => inTransaction(pool, 'COMMIT', [['SET LOCAL ROLE shop'], [`SELECT * FROM peal.${table}`]]);
    for (const table of ['outbox', 'outbox_dead', 'notification']) await assert.rejects(peek(table), /permission denied/);
  });

  test('transactions in two phases', async () => {
    const user = newUser();
    await inTransaction(pool, `PREPARE TRANSACTION 'two'`, [['SET LOCAL peal.wake = off'], post(user, 'two phases')]);
    await postgres.query(...post(user, 'between'));
    await have(hubs[0], user, ['between']);
    await postgres.query(`COMMIT PREPARED 'two'`);
    await have(hubs[1], user, ['between', 'two phases']);
  });

  test('nobody looks without need: a transaction wakes who reads', async () => {
    const looks = async () => (await Promise.all(hubs.map((hub) => hub.metric('peal_sql_outbox_looks_total')))).reduce((a, b) => a + b);
    const user = newUser();
    for (let i = 0; i < 5; i++) {
      await until(async () => (await postgres.query('SELECT last_value FROM peal.outbox_armed'))[0].last_value === '1', 'it is armed');
      await postgres.query(...post(user, `${i}`));
      await have(hubs[0], user, Array.from({ length: i + 1 }, (_, n) => `${n}`));
    }
    assert.ok(await looks() > 0);
  });

  test('one node reads at a time; another one goes on where it dies', async () => {
    const owners = async () => (await Promise.all(hubs.map((hub) => hub.metric('peal_sql_outbox_owner'))));
    await until(async () => (await owners()).reduce((a, b) => a + b) === 1, 'one owns it');
    const owner = (await owners()).indexOf(1);
    const user = newUser();
    await hubs[owner].kill();
    await postgres.query(...post(user, 'meanwhile'));
    await have(hubs[1 - owner], user, ['meanwhile']);
    await hubs[owner].restart();
    await hubs[1 - owner].stop();
    await postgres.query(...post(user, 'after it'));
    await have(hubs[owner], user, ['meanwhile', 'after it']);
    await hubs[1 - owner].restart();
  });
});

describe('in another database', () => {
  let shop;
  let pooler;
  let hub;
  const peal = (args, config) => spawnSync(PROGRAM, [...args], {
    env: cleanEnvironment({ PEAL_CONFIG: config, JWT_SECRET: hub.secret }), cwd: temporaryFolder('outbox'), encoding: 'utf8', timeout: 60_000 });
  before(async () => {
    shop = await startPostgres();
    pooler = await startPooler(shop, { mode: 'transaction', size: 3 });
  });
  after(async () => {
    await hub?.stop();
    await pooler?.stop();
    await shop?.stop();
  });

  test('it is away, then it has no outbox, which is said with what to do, then posts come', async () => {
    const config = `outbox "shop" { url = "${shop.url.replace('peal@', 'peal:secretword@')}" }\n`;
    await shop.shutdown();
    hub = await startHub({ config });
    await hub.logged(/OUTBOX-AWAY .*outbox=shop/);
    await until(async () => (await readiness(hub)).degraded?.includes('outboxes'), 'degraded');
    assert.equal(await hub.metric('peal_sql_outbox_down'), 1);
    await shop.restart();
    const file = `${hub.folder}/peal.conf`;
    const before = peal(['check-config', '--connect'], file);
    assert.equal(before.status, 1, before.stdout);
    assert.match(before.stderr, /outbox "shop": there is no peal\.outbox .*peal migrate --outbox shop/);
    assert.doesNotMatch(before.stdout + before.stderr, /secretword/);
    assert.equal(peal(['migrate', '--outbox', 'other'], file).status, 1);
    for (let i = 0; i < 2; i++) {
      const made = peal(['migrate', '--outbox', 'shop'], file);
      assert.equal(made.status, 0, made.stderr);
      assert.match(made.stdout, /outbox shop: peal\.post and peal\.publish are there/);
    }
    const now = peal(['check-config', '--connect'], file);
    assert.match(now.stdout, /# outbox shop: it is there/);
    assert.equal(now.status, 0, now.stderr);
    await until(async () => (await readiness(hub)).status === 'ready', 'ready');
    const user = newUser();
    await inTransaction(shop.pool(), 'COMMIT', [post(user, 'from the shop')]);
    await have(hub, user, ['from the shop']);
  });

  test('a database that is killed and comes back', async () => {
    const user = newUser();
    await shop.query(...post(user, 'before'));
    await shop.kill();
    await shop.restart();
    await until(() => shop.query(...post(user, 'after')), 'it posts');
    await have(hub, user, ['before', 'after']);
  });

  for (const wake of ['off', 'on']) {
    test(`through a pooler in transaction mode, wake = ${wake}`, async () => {
      await hub.stop();
      hub = await startHub({ config: `outbox "shop" { url = "${pooler.url}" wake = ${wake} }\n` });
      const user = newUser();
      for (let i = 0; i < 5; i++) {
        await inTransaction(shop.pool(), 'COMMIT', [post(user, `${i}`)]);
        await have(hub, user, Array.from({ length: i + 1 }, (_, n) => `${n}`));
      }
      await isEmpty(shop);
    });
  }

  test('settings that cannot be are refused by their place', async () => {
    const refused = (text) => {
      const folder = temporaryFolder('outbox');
      writeFileSync(join(folder, 'peal.conf'), text);
      const { status, stderr } = peal(['check-config'], join(folder, 'peal.conf'));
      assert.equal(status, 1, text);
      return stderr;
    };
    assert.match(refused('outbox "shop" { }\n'), /outbox "shop": needs a url that begins with postgres/);
    assert.match(refused('outbox "A" { url = "postgres://h/d" }\n'), /outbox "A": allowed as name/);
    assert.match(refused('outbox "store" { url = "postgres://h/d" }\n'), /outbox "store": is that of store\.url/);
    assert.match(refused('outbox "store" { }\n'), /outbox "store": needs store\.url/);
  });
});
