// SPDX-License-Identifier: Apache-2.0
// docs/reference against what a hub shows: its metrics and its settings, row for row.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { promisify } from 'node:util';
import { cleanEnvironment, PROGRAM, startHub } from './support/hub.mjs';
import { startRedis } from './support/redis.mjs';

const run = promisify(execFile);
const readPage = (name) =>
  readFileSync(new URL(`../../docs/reference/${name}.md`, import.meta.url), 'utf8');

// The first cells of the table rows of a page, without their quotes, and what the others hold.
function rowsOf(page) {
  const lines = page.split('\n').filter((line) => line.startsWith('| `'));
  return new Map(lines.map((line) => [line.split('`')[1], line]));
}

let redis;
let hub;

before(async () => {
  redis = await startRedis();
  hub = await startHub({ redis });
});

after(async () => {
  await hub?.stop();
  await redis?.stop();
});

test('every metric of a hub stands in metrics.md with its help and labels, and no other', async () => {
  const rows = rowsOf(readPage('metrics'));
  const text = await (await fetch(`${hub.internalUrl}/metrics`)).text();
  const shown = [...text.matchAll(/^# HELP (\S+) (.*)$/gm)];
  assert.ok(shown.length > 40);
  for (const [, name, help] of shown) {
    const row = rows.get(name);
    assert.ok(row, `${name} is not in metrics.md`);
    assert.ok(row.includes(help), `${name}: ${row}`);
    const [, labels] = new RegExp(`^${name}(?:_bucket)?\\{(.*)\\}`, 'm').exec(text) ?? [null, ''];
    for (const [, label] of labels.matchAll(/(\w+)="/g)) {
      assert.ok(row.includes(`\`${label}\``), `${name}: the label ${label} is not in its row`);
    }
  }
  const names = new Set(shown.map(([, name]) => name));
  const listed = [...rows.keys()].filter((name) => name.startsWith('peal_'));
  assert.deepEqual(listed.filter((name) => !names.has(name)), [], 'rows that no hub shows');
});

test('the members of events and answers are those of their sections', async () => {
  const page = readPage('events');
  const section = (title) => page.split(/^###? /m).find((text) => text.startsWith(`${title}\n`));
  const names = (value) => Object.entries(value).flatMap(([name, inner]) =>
    (inner !== null && typeof inner === 'object' && name !== 'data' ? [name, ...names(inner)] : [name]));
  const isTold = (title, value) => {
    for (const name of names(value).filter((one) => one !== 'ok' && !/^\d+$/.test(one))) {
      assert.match(section(title), new RegExp(`\\b${name}\\b`), `${title}: ${name}`);
    }
  };
  const client = await hub.plain('reader');
  const other = await hub.plain('other');
  isTold('hub:ready', await client.next('hub:ready'));
  const fields = { user: 'reader', type: 't', title: 'a', message: 'b', data: { x: 1 }, expires_at: Date.now() + 1e9 };
  assert.equal((await hub.api('POST', '/api/v1/notifications', fields)).status, 201);
  const item = await client.next('notification');
  isTold('notification', item);
  isTold('notification:seen', await client.request('notification:seen', item.id));
  isTold('notification:state', await client.next('notification:state'));
  isTold('unread', await client.next('unread'));
  isTold('join_room', await client.request('join_room', 'public:x'));
  isTold('room_joined', await client.next('room_joined'));
  await other.request('join_room', 'public:x');
  isTold('user_joined_room', await client.next('user_joined_room'));
  isTold('send_message', await client.request('send_message', { roomId: 'public:x', message: 'm', nonce: 'n' }));
  isTold('send_message', await client.request('send_message', { roomId: 'public:x', message: 'm', nonce: 'n' }));
  isTold('new_message', await other.next('new_message'));
  client.emit('typing:start', { roomId: 'public:x' });
  isTold('typing', await other.next('typing'));
  client.emit('no_such_event');
  isTold('error', await client.next('error'));
  const list = await client.request('notification:list', { limit: 1 });
  isTold('notification:list', { ...list, items: [] });
  isTold('notification:sync', { ...(await client.request('notification:sync', { epoch: 'x', rev: 0 })), items: [] });
});

test('every setting of the sample stands in settings.md with its meaning', async () => {
  const rows = rowsOf(readPage('settings'));
  const { stdout } = await run(PROGRAM, ['check-config', '--sample'], { env: cleanEnvironment() });
  const variables = new Map(
    [...rows].map(([name, row]) => [`PEAL_${name.replace(/\./g, '_').toUpperCase()}`, row]));
  const shown = [...stdout.matchAll(/^ *# (.*)\n *# .*; (PEAL_[A-Z_]+)$/gm)];
  assert.ok(shown.length > 100);
  for (const [, meaning, variable] of shown) {
    assert.ok(variables.get(variable)?.includes(meaning.replace(/\|/g, '\\|')), `${variable}: ${meaning}`);
  }
});
