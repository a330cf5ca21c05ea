// SPDX-License-Identifier: Apache-2.0
// Tokens that expire or are refreshed while a session goes on.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startHub } from './support/hub.mjs';
import { RawPeer, text } from './support/raw.mjs';
import { never, until } from './support/wait.mjs';

const NOW = () => Math.floor(Date.now() / 1000);

async function withHub(config, work) {
  const hub = await startHub({ config });
  try {
    await work(hub);
  } finally {
    await hub.stop();
  }
}

test('a session without sockets does not outlive its token', () => withHub('', async (hub) => {
  const exp = NOW() + 5;
  const peer = await RawPeer.socketIo(hub.address, hub.token('mallory', { exp }));
  peer.write(text('41'));
  await until(() => Date.now() >= exp * 1000, 'the token has expired');
  peer.write(text('40'));
  await peer.saw(/^44\{"message":"Invalid token","data":\{"code":"token_expired"\}\}/);
  peer.write(text(`40${JSON.stringify({ token: hub.token('mallory') })}`));
  await peer.saw(/^40\{/);
  peer.destroy();
}));

test('a session without sockets is not kept', () => withHub('auth { timeout = 1s }', async (hub) => {
  const peer = await RawPeer.socketIo(hub.address, hub.token('mallory'));
  peer.write(text('41'));
  peer.write(text('40')); // once more, in time
  await peer.until(() => peer.texts().filter((row) => /^40\{/.test(row)).length === 2, 'it is back');
  peer.write(text('41'));
  await peer.end();
}));

test('further namespaces are joined with the newest token', () => withHub('namespace "/staff" { access = {"role:admin"} }', async (hub) => {
  const peer = await RawPeer.socketIo(hub.address, hub.token('fay', { role: 'admin' }));
  peer.write(text(`421["auth:refresh",${JSON.stringify({ token: hub.token('fay') })}]`));
  await peer.saw(/^431\[\{"ok":true/);
  peer.write(text('40/staff,'));
  await peer.saw(/^44\/staff,\{/);
  peer.write(text(`422["auth:refresh",${JSON.stringify({ token: hub.token('fay', { role: 'admin' }) })}]`));
  await peer.saw(/^432\[\{"ok":true/);
  peer.write(text('40/staff,'));
  await peer.saw(/^40\/staff,\{/);
  peer.destroy();
}));

test('whom the leeway lets in stays for as long', () => withHub('auth { leeway = 60s }', async (hub) => {
  const peer = await RawPeer.socketIo(hub.address, hub.token('gus', { exp: NOW() - 5 }));
  await peer.saw(/"hub:token_expiring",\{"in":\d+\}/); // the look that is taken once a second
  let closed = false;
  const end = peer.saw(/"hub:closing"/).then(() => { closed = true; }, () => {});
  await never(() => closed, 'it is sent away', 1500);
  peer.write(text('421["notification:received",{}]'));
  await peer.saw(/^431\[/);
  peer.destroy();
  await end;
}));

test('each socket is told before its token expires, whoever was told before', () => withHub('auth { expiry_notice = 17s }\nshards = 1', async (hub) => {
  const token = hub.token('ida', { exp: NOW() + 20 });
  const first = await RawPeer.socketIo(hub.address, token);
  await first.saw(/"hub:token_expiring"/);
  const second = await RawPeer.socketIo(hub.address, token);
  await second.saw(/"hub:token_expiring"/);
  for (const peer of [first, second]) peer.destroy();
}));
