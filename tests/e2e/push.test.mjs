// SPDX-License-Identifier: Apache-2.0
// Web Push against a push service that decrypts what it gets with another library, and answers as push services do.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { after, before, test } from 'node:test';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { PROGRAM, cleanEnvironment, startHub } from './support/hub.mjs';
import { PushService } from './support/push_service.mjs';
import { until } from './support/wait.mjs';

const SUBJECT = 'mailto:ops@example.org';

// What `peal vapid` prints.
function makeKeys() {
  const text = execFileSync(PROGRAM, ['vapid'], { env: cleanEnvironment(), encoding: 'utf8' });
  const [, publicKey, privateKey] = /^public {2}([\w-]{87})\nprivate ([\w-]{43})\n$/.exec(text);
  return { publicKey, privateKey };
}

const configOf = (service, keys, more = '') => `
  push { vapid_key = "${keys.privateKey}" ${more} subject = "${SUBJECT}" timeout = 30s }
  outgoing { allow = {"127.0.0.1"} ca = "${service.ca}" }
`;
const pathOf = (user, device, end = '') => `/api/v1/users/${user}/devices/${device}${end}`;

let service;
let keys;
let hub;
let users = 0;
before(async () => {
  keys = makeKeys();
  service = await PushService.start();
  hub = await startHub({ config: configOf(service, keys) });
});
after(async () => {
  await hub?.stop();
  await service?.stop();
});

// A user with one browser: what is asked of it.
async function newDevice(subscription = service.subscribe(keys.publicKey)) {
  const user = `reader-${++users}`;
  const id = randomUUID();
  const put = await hub.api('PUT', pathOf(user, id), { platform: 'web', subscription });
  assert.equal(put.status, 200, JSON.stringify(put.body));
  const ask = async (body) => (await hub.api('POST', pathOf(user, id, '/test'), body)).body;
  const isThere = async () => (await hub.api('GET', pathOf(user, id))).status === 200;
  return { user, id, ask, isThere };
}

async function answering(status, act) {
  service.status = status;
  try {
    return await act();
  } finally {
    service.status = 201;
  }
}

test('a message is encrypted for its browser, and says who sent it', async () => {
  const device = await newDevice();
  const { body } = await hub.api('GET', '/api/v1/push/key', undefined, { authorization: `Bearer ${hub.token(device.user)}` });
  assert.deepEqual(body, { key: keys.publicKey });
  const sent = await hub.metric('peal_push_sent_total');
  const answer = await device.ask({ title: 'Grüße', message: 'a "b"', url: '/inbox' });
  assert.deepEqual(answer, { outcome: 'sent', status: 201, removed: false }, String(service.faults));
  const { path, ...message } = service.messages.at(-1);
  assert.deepEqual(message, {
    text: { web_push: 8030, notification: { title: 'Grüße', body: 'a "b"', navigate: '/inbox', tag: 'peal:test' } },
    sub: SUBJECT,
    ttl: '60',
    urgency: 'high',
    topic: undefined,
    coding: 'aes128gcm',
    type: 'application/json',
    version: '2.0',
  });
  assert.equal((await device.ask()).outcome, 'sent');
  assert.equal(service.messages.at(-1).text.notification.title, 'Test');
  assert.equal(await hub.metric('peal_push_sent_total'), sent + 2);
  assert.deepEqual(service.faults, []);
});

test('only what means the device removes it', async () => {
  const outcomes = { 400: 'refused', 401: 'credential', 403: 'credential', 413: 'too_large', 429: 'limited', 500: 'away', 503: 'away' };
  const device = await newDevice();
  for (const [status, outcome] of Object.entries(outcomes)) {
    const answer = await answering(Number(status), () => device.ask());
    assert.deepEqual(answer, { outcome, status: Number(status), removed: false });
  }
  assert.ok(await device.isThere());
  for (const status of [404, 410]) {
    const other = await newDevice();
    assert.deepEqual(await answering(status, () => other.ask()), { outcome: 'gone', status, removed: true });
    assert.ok(!await other.isThere());
    assert.equal((await hub.api('POST', pathOf(other.user, other.id, '/test'))).status, 404);
  }
  assert.equal(await hub.metric('peal_push_gone_total'), 2);
  assert.equal(await hub.metric('peal_push_credential_refused_total'), 2);
});

test('a key that is refused is an alarm until it is taken', async () => {
  const device = await newDevice();
  const degraded = async () => (JSON.parse((await hub.askInternal('/readyz')).body).degraded ?? []).includes('push');
  assert.equal((await device.ask()).outcome, 'sent');
  await until(async () => !await degraded(), 'it is ready');
  await answering(403, () => device.ask());
  await until(degraded, 'it is degraded');
  await hub.logged(/PUSH-CREDENTIAL /);
  assert.equal((await device.ask()).outcome, 'sent');
  await until(async () => !await degraded(), 'it is ready again');
  await hub.logged(/PUSH-CREDENTIAL-TAKEN /);
});

test('a device without a provider, and one that may not be called', async () => {
  const user = `reader-${++users}`;
  const phone = randomUUID();
  await hub.api('PUT', pathOf(user, phone), { platform: 'android', token: 't' });
  assert.deepEqual((await hub.api('POST', pathOf(user, phone, '/test'))).body, { outcome: 'unconfigured', removed: false });
  const inside = await newDevice({ ...service.subscribe(keys.publicKey), endpoint: 'https://10.0.0.1/send' });
  assert.equal((await inside.ask()).outcome, 'forbidden');
  assert.ok(await inside.isThere());
});

test('two keys hold at once, and each device keeps its own', async () => {
  const before = await newDevice();
  const next = makeKeys();
  writeFileSync(join(hub.folder, 'peal.conf'), configOf(service, next, `vapid_old_key = "${keys.privateKey}"`));
  hub.reload();
  await until(async () => (await hub.api('GET', '/api/v1/push/key')).body.key === next.publicKey, 'pages subscribe with the new key');
  const behind = await newDevice({ ...service.subscribe(next.publicKey), applicationServerKey: next.publicKey });
  await until(async () => (await behind.ask()).outcome === 'sent', 'every shard has the new key');
  const said = await newDevice({ ...service.subscribe(keys.publicKey), applicationServerKey: keys.publicKey });
  for (const device of [before, behind, said]) assert.equal((await device.ask()).outcome, 'sent', String(service.faults));
  writeFileSync(join(hub.folder, 'peal.conf'), configOf(service, next));
  hub.reload();
  await until(async () => (await before.ask()).outcome === 'unconfigured', 'the old key is gone');
  assert.ok(await before.isThere());
  assert.equal((await behind.ask()).outcome, 'sent');
  assert.deepEqual(service.faults, []);
});
