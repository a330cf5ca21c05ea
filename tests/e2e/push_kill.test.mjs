// SPDX-License-Identifier: Apache-2.0
// Nodes are killed at random points of hand-offs to devices, while notifications are read at random moments: none is
// lost, a repeat has the same topic and tag, and what was read is on no lock screen in the end. 10,000 with PEAL_FULL=1.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomInt, randomUUID } from 'node:crypto';
import { after, before, test } from 'node:test';
import { PROGRAM, cleanEnvironment, startHub } from './support/hub.mjs';
import { startPostgres } from './support/postgres.mjs';
import { PushService } from './support/push_service.mjs';
import { startRedis } from './support/redis.mjs';
import { randomSecret } from './support/tokens.mjs';
import { until } from './support/wait.mjs';

const FULL = process.env.PEAL_FULL === '1';
const POSTS = FULL ? 10_000 : 240; // one hand-off each
const KILLS = FULL ? 20 : 3;
const USERS = 24;
const POSTERS = 8;
const KEY = 'jobs-0123456789abcd';
const seed = Number(process.env.PEAL_SEED ?? randomInt(1, 0x7fffffff));

// A generator of our own (xorshift): what is drawn follows from the seed.
let state = seed >>> 0 || 1;
function draw(bound) {
  state ^= state << 13;
  state ^= state >>> 17;
  state ^= state << 5;
  return (state >>> 0) % bound;
}
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const topicOf = (id) => Buffer.from(id.replaceAll('-', ''), 'hex').toString('base64url');

let service;
let redis;
let postgres;
let hubs = [];
let key;
before(async () => {
  const text = execFileSync(PROGRAM, ['vapid'], { env: cleanEnvironment(), encoding: 'utf8' });
  key = { public: /public {2}(\S+)/.exec(text)[1], private: /private (\S+)/.exec(text)[1] };
  [service, redis, postgres] = await Promise.all([PushService.start(), startRedis(), startPostgres()]);
  const shared = {
    redis, postgres, secret: randomSecret(), apiKey: randomSecret(),
    config: `
      push { vapid_key = "${key.private}" subject = "mailto:ops@example.org" after = 300ms timeout = 2s }
      queue "push" { timeout = 5s attempts = 50 backoff = 500ms }
      api_key "jobs" { key = "${KEY}" scopes = {jobs} }
      outgoing { allow = {"127.0.0.1"} ca = "${service.ca}" }
    `,
  };
  hubs = [await startHub(shared), await startHub(shared)];
});
after(async () => {
  for (const hub of hubs) await hub.stop();
  await Promise.all([service?.stop(), redis?.stop(), postgres?.stop()]);
});

// Ask one node after the other until one answers so; whoever was killed meanwhile may have done it already.
async function ask(method, path, body, good) {
  let last;
  await until(async () => {
    for (const hub of hubs) {
      last = await hub.api(method, path, body).catch((error) => error);
      if (good.includes(last.status)) return true;
    }
    return false;
  }, () => `${method} ${path}: ${last?.status} ${JSON.stringify(last?.body ?? String(last))}`, 120_000);
  return last.body;
}

test('none is lost, a repeat takes the place of the first, and what was read is left nowhere', async (t) => {
  t.diagnostic(`PEAL_SEED=${seed}`);
  const readers = [];
  for (let n = 0; n < USERS; n++) {
    const user = `killed-${n}`;
    const subscription = service.subscribe(key.public);
    await ask('PUT', `/api/v1/users/${user}/devices/${randomUUID()}`, { platform: 'web', subscription }, [200]);
    readers.push({ user, path: new URL(subscription.endpoint).pathname });
  }
  const posted = new Map(); // id: {reader, read}
  const reads = [];
  const read = async (id, reader, wait) => {
    await pause(wait);
    await ask('POST', `/api/v1/users/${reader.user}/notifications/read`, { ids: [id] }, [200]);
    posted.get(id).read = true;
  };
  const poster = async (which) => {
    for (let n = which; n < POSTS; n += POSTERS) {
      const reader = readers[draw(USERS)];
      const fields = { user: reader.user, type: 'note', title: `n${n}`, message: 'm', key: `k${n}` };
      const { id } = await ask('POST', '/api/v1/notifications', fields, [200, 201]);
      posted.set(id, { reader, read: false });
      if (draw(3) === 0) reads.push(read(id, reader, draw(2500)));
      await pause(draw(FULL ? 20 : 120));
    }
  };
  const posting = Promise.all(Array.from({ length: POSTERS }, (_, which) => poster(which)));
  let done = false;
  posting.finally(() => { done = true; }).catch(() => {});
  let kills = 0;
  for (; kills < KILLS; kills++) {
    const hub = hubs[draw(hubs.length)];
    await pause(draw(done ? 400 : 1500));
    await hub.kill();
    await pause(draw(500));
    await hub.restart();
  }
  await posting;
  await Promise.all(reads);
  const jobs = async () => (await hubs[0].api('GET', '/api/v1/queues', undefined, { authorization: `Bearer ${KEY}` })).body;
  const counts = async () => (await jobs()).queues.find(({ name }) => name === 'push').counts;
  const reached = async () => {
    const { waiting, delayed, active } = await counts();
    return waiting + delayed + active === 0;
  };
  const screens = () => {
    const of = new Map(readers.map(({ path }) => [path, new Set()]));
    for (const { path, text } of service.messages) {
      if (text.notification) of.get(path).add(text.notification.tag);
      for (const tag of text.clear ?? []) of.get(path).delete(tag);
    }
    return of;
  };
  const wrong = () => {
    const now = screens();
    const found = [];
    for (const [id, { reader, read: isRead }] of posted) {
      if (now.get(reader.path).has(id) === isRead) found.push(`${id} ${isRead ? 'left' : 'lost'}`);
    }
    return found;
  };
  await until(async () => wrong().length === 0 && await reached(), () => `PEAL_SEED=${seed}: ${wrong().length} of ${posted.size}: ${wrong().slice(0, 5)}`, FULL ? 600_000 : 120_000);
  assert.equal(posted.size, POSTS);
  const times = new Map();
  for (const { text, topic } of service.messages) {
    if (!text.notification) continue;
    assert.equal(topic, topicOf(text.notification.tag));
    times.set(text.notification.tag, (times.get(text.notification.tag) ?? 0) + 1);
  }
  const repeats = [...times.values()].reduce((sum, n) => sum + n - 1, 0);
  const cleared = service.messages.filter(({ text }) => text.clear).length;
  assert.deepEqual(service.faults, []);
  assert.equal((await counts()).dead, 0);
  t.diagnostic(`${POSTS} hand-offs, ${kills} kills: ${times.size} shown, ${repeats} repeated with the same topic, ${cleared} messages that clear`);
});
