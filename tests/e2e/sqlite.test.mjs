// SPDX-License-Identifier: Apache-2.0
// One node that has nothing but a file: the same promises, also when it is killed.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { Device } from './support/device.mjs';
import { startHub } from './support/hub.mjs';
import { ALL_GOOD, Ledger, readSqlite } from './support/ledger.mjs';
import { until } from './support/wait.mjs';

const USERS = 50;
const POSTS = 1000;

let hub;
let devices;
const ledger = new Ledger();
const user = (i) => `u${i}`;
const readTruth = () => readSqlite(join(hub.folder, 'peal.db'));

before(async () => {
  hub = await startHub();
  devices = [];
  for (let i = 0; i < USERS; i++) {
    devices.push(new Device(user(i), [hub], { via: i % 5 === 0 ? 'io' : 'ws' }).start());
    const encoding = i % 2 ? 'msgpack' : 'json';
    devices.push(new Device(user(i), [hub], { via: 'ws', encoding }).start());
  }
  await until(() => devices.every(({ ready }) => ready), 'all devices are ready', 60_000);
});

after(async () => {
  await Promise.all((devices ?? []).map((device) => device.leave()));
  await hub?.stop();
});

// Two posters, one at a time and twenty in a request; both say every tenth once more.
async function postMany(from, to) {
  const middle = Math.floor((from + to) / 2);
  const poster = async (name, first, end, size) => {
    for (let n = first; n < end; n += size) {
      const numbers = Array.from({ length: Math.min(size, end - n) }, (_, i) => n + i);
      const posts = numbers.map((number) => ledger.make(name, user(number % USERS)));
      const stored = await ledger.postByHttp([hub], size === 1 ? posts[0] : posts);
      for (const [i, number] of numbers.entries()) {
        if (number % 10 !== 0) continue;
        const [again] = await ledger.postByHttp([hub], posts[i]);
        assert.deepEqual([again.duplicate, again.id, again.seq], [true, stored[i].id, stored[i].seq]);
      }
    }
  };
  await Promise.all([poster('single', from, middle, 1), poster('list', middle, to, 20)]);
}

test('1,000 posts come to 100 devices, and to those that were away', { timeout: 120_000 }, async () => {
  await postMany(0, POSTS / 2);
  const away = devices.filter((_, i) => i % 5 === 0);
  await Promise.all(away.map((device) => device.leave()));
  await postMany(POSTS / 2, POSTS);
  for (const device of away) device.start();
  assert.deepEqual(await ledger.settle(readTruth, devices), ALL_GOOD);
  assert.equal(devices.reduce((sum, device) => sum + device.gaps, 0), 0);
});

test('what is read on one device is read on the other', async () => {
  for (let i = 0; i < 5; i++) {
    const [first, second] = [devices[2 * i], devices[2 * i + 1]];
    const ids = [...first.items.keys()].slice(0, 4);
    const answer = await first.read(ids);
    assert.equal(answer.ok, true);
    await until(() => ids.every((id) => second.stateOf(id) === 'read'), 'the other device knows');
    for (const id of ids) ledger.read.add(id);
  }
  assert.deepEqual(await ledger.settle(readTruth, devices), ALL_GOOD);
});

test('killed between two posts and started again, nothing is lost', { timeout: 180_000 }, async () => {
  const posting = postMany(0, 2000);
  const count = () => devices.reduce((sum, device) => sum + device.items.size, 0);
  for (const share of [0.25, 0.6]) {
    await until(() => count() > 2 * (POSTS + 2000 * share), 'a part of the posts has come', 60_000);
    await hub.kill();
    await hub.restart();
  }
  await posting;
  assert.deepEqual(await ledger.settle(readTruth, devices), ALL_GOOD);
});

test('the same key with other content is refused, with the first id', async () => {
  const post = { user: 'keys', type: 'test', title: 'first', key: 'k' };
  const first = await hub.api('POST', '/api/v1/notifications', post);
  assert.equal(first.status, 201);
  const other = await hub.api('POST', '/api/v1/notifications', { ...post, title: 'second' });
  assert.deepEqual([other.status, other.body.error.code], [409, 'key_conflict']);
  assert.equal(other.body.error.id, first.body.id);
});
