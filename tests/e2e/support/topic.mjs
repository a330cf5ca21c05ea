// SPDX-License-Identifier: Apache-2.0
// topic - two nodes over one Redis and one Postgres, and topics with many subscribers: what a post costs,
// who has it, and whether counters and rows are right.
import assert from 'node:assert/strict';
import { Device } from './device.mjs';
import { startHub } from './hub.mjs';
import { inboxOf, newUser, POSTS } from './inbox.mjs';
import { startPostgres } from './postgres.mjs';
import { startRedis } from './redis.mjs';
import { until } from './wait.mjs';

const CALL = 10_000; // users of a call
const AT_ONCE = 50; // devices that connect at a time
const DEADLINE = 120_000;
// What a post may write; nothing else of a store grows with it.
const TABLES = ['audience_post', 'audience_key', 'audience_head', 'audience_change', 'member', 'inbox', 'notification'];

// Some of [0, count), each once, the same for the same arguments.
function pick(count, some, seed = 1) {
  const chosen = new Set();
  for (let state = seed >>> 0; chosen.size < some; ) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    chosen.add(Math.floor((state / 2 ** 32) * count));
  }
  return [...chosen];
}

export class TopicRig {
  static async start() {
    const rig = new TopicRig();
    [rig.redis, rig.postgres] = await Promise.all([startRedis(), startPostgres()]);
    const { redis, postgres } = rig;
    const first = await startHub({ redis, postgres, config: 'bus { recheck = 2s }' });
    const second = await startHub({ ...first.options, secret: first.secret, apiKey: first.apiKey });
    rig.hubs = [first, second];
    rig.topics = 0;
    rig.subscribed = 0;
    rig.posted = 0;
    return rig;
  }

  // A topic with so many new subscribers.
  async subscribe(count) {
    const topic = { name: `large:${++this.topics}`, prefix: newUser(), count, devices: [], posts: [] };
    const path = `/api/v1/topics/${encodeURIComponent(topic.name)}/subscribers`;
    for (let from = 0; from < count; from += CALL) {
      const users = Array.from({ length: Math.min(CALL, count - from) }, (_, i) => this.user(topic, from + i));
      const { status, body } = await this.hubs[0].api('PUT', path, { users });
      assert.deepEqual([status, body], [200, { added: users.length }]);
      this.subscribed += users.length;
    }
    return topic;
  }

  user(topic, n) {
    return `${topic.prefix}-${n}`;
  }

  // Those of the numbers come online, half on each node; where theirs has gone they come to the other.
  async connect(topic, numbers) {
    for (let from = 0; from < numbers.length; from += AT_ONCE) {
      const some = numbers.slice(from, from + AT_ONCE).map((n, i) => {
        const hubs = i % 2 ? [...this.hubs].reverse() : this.hubs;
        return new Device(this.user(topic, n), hubs, { encoding: n % 3 ? 'json' : 'msgpack' }).start();
      });
      topic.devices.push(...some);
      await until(() => some.every(({ ready }) => ready), 'they are online', DEADLINE);
    }
  }

  async disconnect(topic) {
    await Promise.all(topic.devices.map((device) => device.leave()));
  }

  // Post once; where a node does not answer, the other is asked, with the same key.
  async post(topic, title, hubs = this.hubs) {
    const body = { topic: topic.name, type: 'note', title, key: title };
    for (let n = 0; ; n++) {
      const answer = await hubs[n % hubs.length].api('POST', POSTS, body).catch(() => undefined);
      if (answer && answer.status < 300) {
        topic.posts.push(title);
        this.posted += 1;
        return answer.body.id;
      }
      assert.ok(n < 100, `nobody takes ${title}: ${JSON.stringify(answer?.body)}`);
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }

  // Wait until all who are online have all posts, once and in order, and are told how many are unread.
  async allHave(topic) {
    const titles = topic.posts.join();
    const has = (device) => device.items.size === topic.posts.length && device.unread === topic.posts.length;
    await until(() => topic.devices.every(has), () => {
      const lacking = topic.devices.filter((device) => !has(device));
      return `${lacking.length} of ${topic.devices.length} lack some: ${lacking[0]?.items.size} of ${topic.posts.length}, ${lacking[0]?.unread} unread`;
    }, DEADLINE);
    for (const device of topic.devices) {
      assert.equal([...device.items.values()].map(({ title }) => title).join(), titles);
      assert.deepEqual(device.errors, []);
    }
  }

  // What those of the numbers, who are away, have when they come: the newest first, and the counters.
  async comeAndSee(topic, numbers, titles) {
    for (let from = 0; from < numbers.length; from += AT_ONCE) {
      await Promise.all(numbers.slice(from, from + AT_ONCE).map(async (n, i) => {
        const user = this.user(topic, n);
        const hub = this.hubs[i % 2];
        const client = await hub.plain(user);
        const ready = client.events.find(([event]) => event === 'hub:ready')[1];
        assert.deepEqual([ready.unread, ready.unseen], [titles.length, titles.length], user);
        const { items } = await client.request('notification:list', { limit: 100 });
        assert.deepEqual(items.map(({ title }) => title).reverse(), titles, user);
        client.close();
        await client.closed;
        hub.sockets.delete(client);
      }));
    }
  }

  // What the database has done for these tables since it was started.
  async work() {
    const [rows] = await this.postgres.query(
      `SELECT sum(n_tup_ins + n_tup_upd + n_tup_del)::bigint AS rows FROM pg_stat_user_tables
       WHERE schemaname = 'peal' AND relname = ANY ($1)`, [TABLES]);
    const [blocks] = await this.postgres.query(
      `SELECT sum(heap_blks_read + heap_blks_hit + idx_blks_read + idx_blks_hit)::bigint AS blocks
       FROM pg_statio_user_tables WHERE schemaname = 'peal' AND relname = ANY ($1)`, [TABLES]);
    return { rows: Number(rows.rows), blocks: Number(blocks.blocks) };
  }

  // Once its connections have told all that they did: some do so when they have been idle for ten seconds.
  async settledWork() {
    await until(async () => {
      const rows = await this.postgres.query(
        "SELECT relname, n_tup_ins::int AS made FROM pg_stat_user_tables WHERE schemaname = 'peal'");
      const made = Object.fromEntries(rows.map((row) => [row.relname, row.made]));
      return made.member >= this.subscribed && made.audience_post >= this.posted;
    }, 'the database has counted', DEADLINE);
    return this.work();
  }

  // What a post to the topic costs while nobody is online, on average of some: rows, blocks, milliseconds.
  async cost(topic, times = 20) {
    const before = await this.settledWork();
    const begun = performance.now();
    for (let n = 0; n < times; n++) await this.post(topic, `cost ${n}`, [this.hubs[0]]);
    const ms = (performance.now() - begun) / times;
    const after = await this.settledWork();
    topic.posts = [];
    return { rows: (after.rows - before.rows) / times, blocks: (after.blocks - before.blocks) / times, ms };
  }

  // Users whose inbox does not say what its rows do; rows of which there are two.
  async faults(topic) {
    const [{ wrong }] = await this.postgres.query(
      `SELECT count(*)::int AS wrong FROM peal.inbox i LEFT JOIN LATERAL (
         SELECT count(*) FILTER (WHERE n.state < 2) AS unread, count(*) FILTER (WHERE n.state = 0) AS unseen,
           count(*) - count(DISTINCT n.audience_n) FILTER (WHERE n.audience_n > 0) AS twice
         FROM peal.notification n WHERE n.slot = i.slot AND n.tenant = i.tenant AND n.user_id = i.user_id
       ) r ON true
       WHERE i.user_id LIKE $1 AND (i.unread, i.unseen, 0) IS DISTINCT FROM (r.unread, r.unseen, r.twice)`,
      [`${topic.prefix}-%`]);
    return wrong;
  }

  // Rows that users have of the topic's posts.
  async rows(topic) {
    const [{ rows }] = await this.postgres.query(
      'SELECT count(*)::int AS rows FROM peal.notification WHERE user_id LIKE $1', [`${topic.prefix}-%`]);
    return rows;
  }

  async takeBack(topic, id, title) {
    const { status } = await this.hubs[0].api('DELETE', `${POSTS}/${id}`);
    assert.equal(status, 204);
    topic.posts = topic.posts.filter((one) => one !== title);
    const left = topic.posts.length;
    await until(() => topic.devices.every((device) => device.unread === left && device.countUnread() === left),
      'those who are online have lost it', DEADLINE);
  }

  async list(topic, n) {
    const { body } = await this.hubs[1].api('GET', `${inboxOf(this.user(topic, n))}?limit=100`);
    return body.items.map(({ title }) => title).reverse();
  }

  async stop() {
    for (const hub of this.hubs ?? []) await hub.stop();
    await this.redis?.stop();
    await this.postgres?.stop();
  }
}

// All that a topic of `count` subscribers must do, `online` of them online.
export async function tryTopic(t, rig, { count, online, away }) {
  const topic = await rig.subscribe(count);
  const numbers = pick(count, Math.min(count, online + away));
  const here = numbers.slice(0, online);
  const gone = numbers.slice(online);
  await rig.connect(topic, here);
  const begun = performance.now();
  const wrong = await rig.post(topic, 'wrong');
  const posted = performance.now();
  await rig.allHave(topic);
  const told = performance.now();
  t.diagnostic(`${count} subscribers: posted in ${Math.round(posted - begun)} ms, ${online} online have it after ${Math.round(told - begun)} ms`);
  assert.equal(await rig.rows(topic), online, 'a row for each who is online, and no other');

  // A node is killed in the middle of posts; those of its users come to the other.
  const half = gone.slice(0, gone.length / 2);
  const [, second] = rig.hubs;
  for (let n = 0; n < 10; n++) {
    const asked = rig.post(topic, `post ${n}`, n % 2 ? [second, rig.hubs[0]] : rig.hubs);
    if (n === 5) await second.kill();
    await asked;
  }
  await rig.allHave(topic);
  await second.restart();
  await rig.comeAndSee(topic, half, topic.posts);
  assert.equal(await rig.faults(topic), 0, 'counters are those of rows, and none is there twice');
  assert.equal(await rig.rows(topic), (online + half.length) * topic.posts.length);

  await rig.takeBack(topic, wrong, 'wrong');
  await rig.comeAndSee(topic, gone.slice(gone.length / 2), topic.posts);
  for (const n of half.slice(0, 20)) assert.deepEqual(await rig.list(topic, n), topic.posts);
  const left = (online + gone.length) * topic.posts.length;
  await until(async () => (await rig.rows(topic)) === left, 'nobody has it any more, whoever came', DEADLINE);
  assert.equal(await rig.faults(topic), 0, 'counters are those of rows');
  await rig.disconnect(topic);
}

// A post to a large topic costs what one to a small topic does: by rows and by blocks of the database.
export async function compareCosts(t, rig, counts) {
  const costs = [];
  for (const count of counts) {
    const cost = await rig.cost(await rig.subscribe(count));
    costs.push(cost);
    t.diagnostic(`${count} subscribers: ${cost.rows.toFixed(2)} rows, ${cost.blocks.toFixed(1)} blocks, ${cost.ms.toFixed(2)} ms a post`);
  }
  const [least, ...others] = costs;
  assert.ok(least.rows >= 2, 'the post and its number at least');
  for (const cost of others) {
    assert.ok(cost.rows <= 2 * least.rows, `${cost.rows} rows, ${least.rows} of the smallest topic`);
    assert.ok(cost.blocks <= 2 * least.blocks, `${cost.blocks} blocks, ${least.blocks} of the smallest topic`);
  }
}
