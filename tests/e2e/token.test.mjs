// SPDX-License-Identifier: Apache-2.0
// Why a token is refused: told to the operator, not to whoever shows it.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { after, before, test } from 'node:test';
import { cleanEnvironment, PROGRAM, startHub } from './support/hub.mjs';
import { makeToken, randomSecret } from './support/tokens.mjs';
import { until } from './support/wait.mjs';

let hub;
before(async () => {
  hub = await startHub();
});
after(() => hub?.stop());

const records = () => hub.log.split('\n').filter((line) => line.includes(' info TOKEN-REFUSED '));
const show = (token) =>
  hub.api('GET', '/api/v1/users/eve/notifications', undefined, { authorization: `Bearer ${token}` });

test('the log says why, with claims of proven tokens only, and a bounded number of times', async () => {
  const expired = makeToken('ann', hub.secret, { exp: 1_000_000 });
  assert.equal((await show(expired)).status, 401);
  const line = await until(() => records()[0], 'a record');
  assert.match(line, /reason="exp has passed" kid="" sub="ann"/);
  const forged = makeToken('canary', randomSecret());
  const answer = await show(forged);
  assert.equal(answer.status, 401);
  assert.doesNotMatch(JSON.stringify(answer.body), /signature|key of the hub/);
  await until(() => records().some((row) => /reason="its signature is not by a key of the hub" .*sub=""/.test(row)), 'another');
  const socket = hub.socketIo('eve', { auth: { token: 'a.b.c' }, reconnection: false });
  const error = await new Promise((resolve) => socket.once('connect_error', resolve));
  assert.equal(error.message, 'Invalid token');
  await until(() => records().some((row) => /its header is no JSON object.*remote="127\.0\.0\.1"/.test(row)), 'its address');
  for (let i = 0; i < 60; i++) await show(makeToken('canary', randomSecret()));
  assert.ok(records().length <= 10 * 4 * 2, `${records().length} records`); // ten a thread in ten seconds
  assert.ok(!hub.log.includes('canary') && !hub.log.includes(expired) && !hub.log.includes(forged), 'nothing of a token');
});

test('peal token --check explains one', () => {
  const check = (token, secret = hub.secret) => {
    const { status, stdout } = spawnSync(PROGRAM, ['token', '--check', token], {
      env: cleanEnvironment({ JWT_SECRET: secret }), encoding: 'utf8',
    });
    return { status, stdout };
  };
  const good = check(hub.token('ann', { role: 'clerk' }));
  assert.equal(good.status, 0);
  assert.match(good.stdout, /^accepted\n[^]*user +"ann"\n[^]*role +"clerk"/);
  const bad = check(makeToken('ann', hub.secret, { exp: undefined }));
  assert.equal(bad.status, 1);
  assert.match(bad.stdout, /^refused: exp is missing\n[^]*user +"ann"/);
  assert.match(check(hub.token('ann'), randomSecret()).stdout, /^refused: its signature is not by a key of the hub\n$/);
});
