// SPDX-License-Identifier: Apache-2.0
// What other users of the machine can see of a hub's secrets and data.
import assert from 'node:assert/strict';
import { chmodSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { startHub } from './support/hub.mjs';
import { temporaryFolder } from './support/process.mjs';
import { RawPeer } from './support/raw.mjs';
import { randomSecret } from './support/tokens.mjs';
import { until } from './support/wait.mjs';

test('the database is readable by its owner alone', async () => {
  const mask = process.umask(0o022);
  const hub = await startHub();
  process.umask(mask);
  try {
    await hub.api('POST', '/api/v1/notifications', { user: 'a', type: 't', title: 'x' });
    const files = readdirSync(hub.folder).filter((name) => name.startsWith('peal.db'));
    assert.ok(files.length >= 2, files.join());
    for (const name of files) {
      assert.equal(statSync(join(hub.folder, name)).mode & 0o077, 0, name);
    }
  } finally {
    await hub.stop();
  }
});

test('a secret given as a flag is not in the list of processes, and SIGHUP still knows it', async () => {
  const [secret, apiKey] = [randomSecret(), randomSecret()];
  const hub = await startHub({
    secret,
    apiKey,
    args: ['--auth-secret', secret, `--auth-api-key=${apiKey}`],
    env: { JWT_SECRET: '', PEAL_AUTH_API_KEY: '' },
  });
  try {
    const shown = readFileSync(`/proc/${hub.server.pid}/cmdline`, 'latin1');
    assert.ok(shown.includes('--auth-secret\0***') && shown.includes('--auth-api-key=***'), shown);
    assert.ok(!shown.includes(secret) && !shown.includes(apiKey), 'no secret in it');
    hub.reload();
    await until(() => / RELOAD /.test(hub.log), 'the settings are loaded again');
    (await hub.plain('a')).close();
    assert.equal((await hub.api('GET', '/api/ws/stats')).status, 200);
  } finally {
    await hub.stop();
  }
});

test('a key that is taken away while a body is on its way posts nothing', async () => {
  const [first, second] = [randomSecret(), randomSecret()];
  const config = (key) => `auth { api_key = "${key}" }\n`;
  const hub = await startHub({ apiKey: first, config: config(first), env: { PEAL_AUTH_API_KEY: '' } });
  const body = JSON.stringify({ user: 'a', type: 't', title: 'x' });
  const begin = async () => {
    const peer = await RawPeer.open(hub.address);
    peer.write(`POST /api/v1/notifications HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer ${first}\r\n`);
    peer.write(`Content-Length: ${body.length}\r\nExpect: 100-continue\r\n\r\n`);
    await peer.until(() => peer.text.includes(' 100 '), 'the head is accepted');
    return peer;
  };
  const end = async (peer) => {
    peer.write(body);
    await peer.until(() => /HTTP\/1.1 [2-5]/.test(peer.text), 'the answer');
    return Number(/HTTP\/1.1 ([2-5]..)/.exec(peer.text)[1]);
  };
  try {
    assert.equal(await end(await begin()), 201);
    const late = await begin();
    writeFileSync(join(hub.folder, 'peal.conf'), config(second));
    hub.reload();
    await hub.logged(/ RELOAD /);
    await until(async () => (await hub.api('GET', '/api/ws/stats')).status === 401, 'the first key holds no more');
    assert.equal(await end(late), 401);
  } finally {
    await hub.stop();
  }
});

test('a secret in a file is read, and again after SIGHUP; who can read it is looked at', async () => {
  const path = join(temporaryFolder('secret'), 'jwt');
  const [first, second] = [randomSecret(), randomSecret()];
  writeFileSync(path, `${first}\n`);
  chmodSync(path, 0o644);
  const hub = await startHub({ secret: first, env: { JWT_SECRET: '', JWT_SECRET_FILE: path } });
  try {
    await hub.logged(/ warn CONFIG .*can be read by others/);
    writeFileSync(path, second);
    hub.reload();
    const status = async () =>
      (await hub.api('GET', '/api/v1/users/a/notifications', undefined, { authorization: `Bearer ${hub.token('a')}` })).status;
    await until(async () => (await status()) === 401, 'the old secret holds no more');
    hub.secret = second;
    assert.equal(await status(), 200);
  } finally {
    await hub.stop();
  }
});
