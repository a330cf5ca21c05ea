// SPDX-License-Identifier: Apache-2.0
// check-config refuses what serve would refuse.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { cleanEnvironment, PROGRAM } from './support/hub.mjs';
import { freePort } from './support/ports.mjs';
import { startPostgres } from './support/postgres.mjs';
import { temporaryFolder } from './support/process.mjs';
import { startRedis } from './support/redis.mjs';

const folder = temporaryFolder('check');
const secret = 'x'.repeat(32);

function run(args, env = {}) {
  const options = { encoding: 'utf8', cwd: folder, env: cleanEnvironment(env), timeout: 60_000 };
  const { status, stdout, stderr } = spawnSync(PROGRAM, args, options);
  return { status, stdout, stderr };
}

const file = (name, content) => {
  writeFileSync(join(folder, name), content);
  return join(folder, name);
};

const pem = (type, options, which) => {
  const pair = generateKeyPairSync(type, options);
  return which === 'public'
    ? pair.publicKey.export({ type: 'spki', format: 'pem' })
    : pair.privateKey.export({ type: 'pkcs8', format: 'pem' });
};

test('keys are looked at as serve does', () => {
  mkdirSync(join(folder, 'dir.pem'));
  const ec = { namedCurve: 'P-256' };
  const jwk = (which) => {
    const pair = generateKeyPairSync('ec', ec);
    return { ...pair[`${which}Key`].export({ format: 'jwk' }), alg: 'ES256', kid: 'k' };
  };
  const good = file('good.pem', pem('rsa', { modulusLength: 2048 }, 'public'));
  const rows = [
    ['', /no key to verify tokens with/],
    [`jwt_key "k" { algorithm = RS256 file = "${join(folder, 'nowhere.pem')}" }`, /nowhere\.pem: No such file/],
    [`jwt_key "k" { algorithm = RS256 file = "${join(folder, 'dir.pem')}" }`, /dir\.pem: Is a directory/],
    [`jwt_key "k" { algorithm = RS256 file = "${file('text.pem', 'no key')}" }`, /"k": no PEM key in the file/],
    [`jwt_key "k" { algorithm = ES256 file = "${good}" }`, /"k": its type does not fit its algorithm/],
    [`jwt_key "k" { algorithm = RS256 file = "${file('small.pem', pem('rsa', { modulusLength: 1024 }, 'public'))}" }`, /2048/],
    [`jwt_key "k" { algorithm = RS256 file = "${file('private.pem', pem('rsa', { modulusLength: 2048 }, 'private'))}" }`, /private\.pem holds a private key/],
    [`jwt_key "k" { algorithm = ES256 file = "${file('private.jwk', JSON.stringify(jwk('private')))}" }`, /private\.jwk holds a private key/],
    [`jwt_key "k" { algorithm = ES256 file = "${file('set.jwks', JSON.stringify({ keys: [jwk('public'), jwk('private')] }))}" }`, /set\.jwks holds a private key/],
    [`jwt_key "k" { algorithm = RS256 file = "${good}" }`, null],
    [`jwt_key "k" { algorithm = ES256 file = "${file('public.jwk', JSON.stringify(jwk('public')))}" }`, null],
    [`auth { secret = "${secret}" }`, null],
  ];
  for (const [text, why] of rows) {
    const config = file('peal.conf', `${text}\n`);
    const checked = run(['check-config', '--config', config]);
    assert.equal(checked.status, why === null ? 0 : 1, `${text}\n${checked.stderr}`);
    if (why !== null) {
      assert.match(checked.stderr, why, text);
      const served = run(['serve', '--config', config, '--listen-port', '0', '--listen-internal-port', '0']);
      assert.equal(served.status, 1, text);
      assert.match(served.stderr, why, text);
    }
  }
});

test('--connect asks Redis and the store, changes nothing, and names who does not answer', async () => {
  const [redis, postgres, port] = [await startRedis(), await startPostgres(), await freePort()];
  try {
    const good = run(['check-config', '--connect'], { JWT_SECRET: secret, REDIS_URL: redis.url, DATABASE_URL: postgres.url });
    assert.equal(good.status, 0, good.stderr);
    assert.match(good.stdout, /# bus: Redis \d.* answers\n# store: Postgres answers\n# outbox store: it is made when a node starts\n$/);
    const bad = run(['check-config', '--connect'], {
      JWT_SECRET: secret, REDIS_URL: `redis://127.0.0.1:${port}`, DATABASE_URL: `postgres://peal:hunter2@127.0.0.1:${port}/x`,
    });
    assert.equal(bad.status, 1);
    assert.match(bad.stderr, new RegExp(`bus: Redis cannot be used \\(redis://127\\.0\\.0\\.1:${port}/0\\): .+`));
    assert.match(bad.stderr, new RegExp(`store: Postgres: .*"127\\.0\\.0\\.1".* ${port} `));
    assert.doesNotMatch(bad.stderr, /hunter2/);
    const alone = run(['check-config', '--connect', '--store-path', join(folder, 'none', 'peal.db')], { JWT_SECRET: secret });
    assert.equal(alone.status, 1);
    assert.match(alone.stderr, /store\.path: .*none\/peal\.db/);
    assert.equal(run(['check-config', '--connect'], { JWT_SECRET: secret }).status, 0);
    assert.ok(!readdirSync(folder).some((name) => name.startsWith('peal.db')), 'no database was made');
  } finally {
    await redis.stop();
    await postgres.stop();
  }
});
