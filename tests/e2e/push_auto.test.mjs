// SPDX-License-Identifier: Apache-2.0
// What nobody has received is pushed to the devices of its user, once; what was read, or received, is not, and what is
// read later is cleared. Against a push service that decrypts what it gets with another library.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { after, before, test } from 'node:test';
import { PROGRAM, cleanEnvironment, startHub } from './support/hub.mjs';
import { PushService } from './support/push_service.mjs';
import { until } from './support/wait.mjs';

const makeKeys = () => {
  const text = execFileSync(PROGRAM, ['vapid'], { env: cleanEnvironment(), encoding: 'utf8' });
  const [, publicKey, privateKey] = /^public {2}([\w-]{87})\nprivate ([\w-]{43})\n$/.exec(text);
  return { publicKey, privateKey };
};
const AFTER = 2000; // push.after, ms
const KEY = 'jobs-0123456789abcd';

let service;
let keys;
let hub;
let users = 0;
before(async () => {
  keys = makeKeys();
  service = await PushService.start();
  hub = await startHub({
    config: `
      push { vapid_key = "${keys.privateKey}" subject = "mailto:ops@example.org" after = ${AFTER}ms timeout = 30s }
      notification_type "quiet" { push = off }
      api_key "jobs" { key = "${KEY}" scopes = {jobs} }
      outgoing { allow = {"127.0.0.1"} ca = "${service.ca}" }
    `,
  });
});
after(async () => {
  await hub?.stop();
  await service?.stop();
});

// A user with browsers, what they get, and what backends do with it.
async function newUser(browsers = 1) {
  const user = `reader-${++users}`;
  const path = `/api/v1/users/${user}`;
  const devices = [];
  for (let i = 0; i < browsers; i++) {
    const subscription = service.subscribe(keys.publicKey);
    const id = randomUUID();
    const put = await hub.api('PUT', `${path}/devices/${id}`, { platform: 'web', subscription });
    assert.equal(put.status, 200, JSON.stringify(put.body));
    const got = () => service.messages.filter((message) => subscription.endpoint.endsWith(message.path));
    const shown = () => got().filter(({ text }) => text.notification).map(({ text }) => text.notification.tag);
    const cleared = () => got().flatMap(({ text }) => text.clear ?? []);
    const onScreen = () => got().reduce((screen, { text }) => {
      if (text.notification) screen.add(text.notification.tag);
      for (const tag of text.clear ?? []) screen.delete(tag);
      return screen;
    }, new Set());
    devices.push({ id, subscription, got, shown, cleared, onScreen });
  }
  const post = async (fields) => {
    const answer = await hub.api('POST', '/api/v1/notifications', { user, type: 'note', title: 'News', message: 'from here', ...fields });
    assert.equal(answer.status, 201, JSON.stringify(answer.body));
    return answer.body.id;
  };
  const mark = async (verb, ids) => assert.equal((await hub.api('POST', `${path}/notifications/${verb}`, { ids })).status, 200);
  return { user, path, devices, post, mark };
}

const jobs = async (path) => (await hub.api('GET', `/api/v1/${path}`, undefined, { authorization: `Bearer ${KEY}` })).body;

// All hand-offs that there are have been carried out.
async function handedOver() {
  await until(async () => {
    const body = await jobs('queues');
    const { counts } = body.queues.find(({ name }) => name === 'push');
    return counts.waiting + counts.delayed + counts.active === 0;
  }, 'nothing is to be pushed');
}

test('what nobody has received is pushed to each browser, with its badge and topic', async () => {
  const reader = await newUser(2);
  const id = await reader.post({ title: 'Grüße', data: { url: '/inbox?a=1' }, priority: 'high' });
  await until(() => reader.devices.every(({ shown }) => shown().length === 1), 'both have it');
  for (const device of reader.devices) {
    const { text, topic, ttl, urgency } = device.got()[0];
    const { timestamp, ...notification } = text.notification;
    assert.deepEqual(notification, {
      title: 'Grüße', body: 'from here', navigate: '/inbox?a=1', tag: id, data: { id, type: 'note' },
    });
    assert.ok(Number.isInteger(timestamp));
    assert.equal(text.app_badge, 1);
    assert.equal(text.web_push, 8030);
    assert.equal(topic, Buffer.from(id.replaceAll('-', ''), 'hex').toString('base64url'));
    assert.equal(urgency, 'high');
    assert.ok(Number(ttl) > 86_000 && Number(ttl) <= 86_400, ttl);
  }
  const next = await reader.post();
  await until(() => reader.devices.every(({ shown }) => shown().includes(next)), 'both have the next one');
  assert.equal(reader.devices[0].got().at(-1).text.app_badge, 2);
  await handedOver();
  assert.deepEqual(reader.devices.map(({ got }) => got().length), [2, 2]);
  assert.deepEqual(service.faults, []);
});

test('what was read or received by then is not pushed, nor what nobody wants', async () => {
  const reader = await newUser();
  const read = await reader.post();
  await reader.mark('read', [read]);
  await reader.post({ type: 'quiet' });
  assert.equal((await hub.api('PUT', `${reader.path}/preferences`, { types: { mine: { push: false } } })).status, 200);
  await reader.post({ type: 'mine' });
  const other = await newUser();
  const client = await hub.plain(other.user);
  await other.post();
  const { seq } = await client.next('notification');
  assert.deepEqual(await client.request('notification:received', { upTo: seq }), { ok: true });
  const muted = await newUser();
  assert.equal((await hub.api('PUT', `${muted.path}/preferences`, { muteUntil: '2099-01-01T00:00:00Z' })).status, 200);
  await muted.post();
  const urgent = await muted.post({ priority: 'urgent' });
  await until(() => muted.devices[0].shown().includes(urgent), 'what is urgent passes');
  await handedOver();
  assert.deepEqual(muted.devices[0].shown(), [urgent]);
  assert.deepEqual(reader.devices[0].got(), []);
  assert.deepEqual(other.devices[0].got(), []);
});

test('what is read elsewhere is cleared, and the badge says what is left', async () => {
  const reader = await newUser(2);
  const ids = [await reader.post(), await reader.post(), await reader.post()];
  await until(() => reader.devices.every(({ shown }) => shown().length === 3), 'all are shown');
  await reader.mark('read', ids.slice(0, 1));
  await until(() => reader.devices.every(({ cleared }) => cleared().includes(ids[0])), 'it is cleared on both');
  for (const { got } of reader.devices) assert.equal(got().find(({ text }) => text.clear).text.app_badge, 2, JSON.stringify(got()));
  assert.equal((await hub.api('DELETE', `/api/v1/notifications/${ids[1]}`)).status, 204);
  await until(() => reader.devices.every(({ cleared }) => cleared().includes(ids[1])), 'what was taken back, too');
  for (const { onScreen } of reader.devices) assert.deepEqual([...onScreen()], [ids[2]]);
});

test('read here, gone there', async (t) => {
  const [samples, user] = [process.env.PEAL_FULL === '1' ? 200 : 10, await newUser(2)];
  const took = [];
  for (let n = 0; n < samples; n++) {
    const id = await user.post({ key: `sample-${n}` });
    await until(() => user.devices.every(({ shown }) => shown().includes(id)), 'it is shown');
    await handedOver();
    const cleared = (device) => service.arrived((message) => device.subscription.endpoint.endsWith(message.path) && message.text.clear?.includes(id));
    const gone = Promise.all(user.devices.map(cleared));
    const since = performance.now();
    await user.mark('read', [id]);
    await gone;
    took.push(performance.now() - since);
  }
  took.sort((one, other) => one - other);
  const at = (share) => took[Math.min(samples - 1, Math.floor(samples * share))].toFixed(0);
  t.diagnostic(`read here, gone there (from the request that marks to the second of two push services' requests, ${samples} times): p50 ${at(0.5)} ms, p95 ${at(0.95)} ms, most ${at(1)} ms`);
  for (const { onScreen } of user.devices) assert.deepEqual([...onScreen()], []);
});

test('a limit holds for pushes of a type', async () => {
  const reader = await newUser();
  const types = { note: { limit: { count: 2, per: '1h' } } };
  assert.equal((await hub.api('PUT', `${reader.path}/preferences`, { types })).status, 200);
  for (const key of ['a', 'b']) {
    const id = await reader.post({ key });
    await until(() => reader.devices[0].shown().includes(id), 'it is shown');
  }
  const capped = await hub.metric('peal_push_capped_total');
  await reader.post({ key: 'c' });
  const other = await reader.post({ key: 'd', type: 'other' });
  await until(() => reader.devices[0].shown().includes(other), 'another type is shown');
  await until(async () => await hub.metric('peal_push_capped_total') === capped + 1, 'the third is not');
  assert.equal(reader.devices[0].shown().length, 3);
});

test('a device in front is left alone, one that is gone goes', async () => {
  const reader = await newUser(2);
  const [front, gone] = reader.devices;
  const client = await hub.plain(reader.user);
  const acked = await client.request('device:state', { id: front.id, foreground: true });
  assert.ok(acked.ok, JSON.stringify(acked));
  service.browsers.delete(new URL(gone.subscription.endpoint).pathname);
  await reader.post();
  await until(async () => (await hub.api('GET', `${reader.path}/devices/${gone.id}`)).status === 404, 'it is removed');
  await handedOver();
  assert.deepEqual(front.got(), []);
});

test('a push service that is away, or asks to wait, gets it later; one that does not like it three times', async () => {
  const reader = await newUser();
  const answered = [];
  service.answer = (path) => {
    if (!reader.devices[0].subscription.endpoint.endsWith(path)) return undefined;
    answered.push(Date.now());
    return [{ status: 503 }, { status: 429, headers: { 'retry-after': '3' } }][answered.length - 1];
  };
  const id = await reader.post();
  await until(() => reader.devices[0].shown().includes(id), 'it is shown in the end');
  assert.equal(answered.length, 3);
  assert.ok(answered[2] - answered[1] >= 2900, `waited ${answered[2] - answered[1]} ms`);
  const refused = [];
  service.answer = (path) => (reader.devices[0].subscription.endpoint.endsWith(path) ? { status: 400, note: refused.push(path) } : undefined);
  await reader.post();
  await until(async () => {
    const body = await jobs('queues/push/jobs?state=dead');
    return body.items.some(({ error }) => error === 'refused, status 400');
  }, 'it is dead');
  assert.equal(refused.length, 3);
  service.answer = undefined;
});
