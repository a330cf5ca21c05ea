// SPDX-License-Identifier: Apache-2.0
// The ways to a Redis: TLS with certificates of both sides, users and passwords of any characters, a unix socket,
// IPv6, host and port in variables of their own; nodes, commands and check-config take all of them.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { copyFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { Certs } from './support/certs.mjs';
import { PROGRAM, cleanEnvironment, startHub } from './support/hub.mjs';
import { freePort } from './support/ports.mjs';
import { startPostgres } from './support/postgres.mjs';
import { temporaryFolder } from './support/process.mjs';
import { startRedis } from './support/redis.mjs';
import { randomSecret } from './support/tokens.mjs';
import { until } from './support/wait.mjs';

const secret = randomSecret();
const apiKey = randomSecret();
const cleanups = [];
const folder = temporaryFolder('ways');
let certs;
let redis; // speaks TLS with those who show a certificate
let postgres;

function run(args, env = {}) {
  const options = { encoding: 'utf8', cwd: folder, env: cleanEnvironment({ JWT_SECRET: secret, ...env }), timeout: 60_000 };
  return spawnSync(PROGRAM, args, options);
}

async function start(options) {
  const hub = await startHub({ secret, apiKey, ...options });
  cleanups.push(() => hub.stop());
  return hub;
}

before(async () => {
  certs = new Certs();
  const own = certs.make('redis.example');
  redis = await startRedis({ tls: { ...own, ca: certs.ca.cert, clients: true } });
  cleanups.push(() => redis.stop());
  postgres = await startPostgres();
  cleanups.push(() => postgres.stop());
});

after(async () => {
  for (const cleanup of cleanups.reverse()) await cleanup();
});

const tlsEnv = (shown) => ({
  REDIS_URL: redis.tlsUrl,
  PEAL_BUS_TLS_CA: certs.ca.cert,
  ...(shown && { PEAL_BUS_TLS_CERT: shown.cert, PEAL_BUS_TLS_KEY: shown.key }),
});

// Post at `from`; the device of alice at `at` gets it.
async function carries(from, at, title) {
  const socket = at.socketIo('alice');
  const titles = [];
  let ready = false;
  socket.on('hub:ready', () => (ready = true));
  socket.on('notification', (one) => titles.push(one.title));
  await until(() => ready, 'the device is told of what comes');
  await until(async () => {
    const answer = await from.api('POST', '/api/v1/notifications', { user: 'alice', type: 't', title, key: title });
    return answer.status === 201 || answer.status === 200;
  }, 'a post is accepted');
  await until(() => titles.includes(title), () => `${title} arrives: ${titles}`);
  assert.equal(titles.filter((one) => one === title).length, 1);
  socket.disconnect();
}

test('nodes over TLS: posts, an outage, and a certificate that is renewed', async () => {
  const shown = certs.make('peal');
  const [cert, key] = [join(folder, 'node.crt'), join(folder, 'node.key')];
  const show = ({ cert: one, key: other }) => [copyFileSync(one, cert), copyFileSync(other, key)];
  show(shown);
  const env = tlsEnv({ cert, key });
  const nodes = [await start({ postgres, env }), await start({ postgres, env })];
  await carries(nodes[0], nodes[1], 'over TLS');
  const names = await redis.client().client('LIST');
  assert.match(names, /peal/, 'they are connected');

  const before = await nodes[0].askInternal('/metrics');
  const days = (text) => Number(/peal_tls_certificate_days\{listener="bus",certificate="1"\} ([\d.]+)/.exec(text)[1]);
  assert.ok(Math.abs(days(before.body) - 60) < 1.5);

  // One that Redis does not know: connections to come are refused, which the log says; then a good one.
  show(new Certs().make('peal'));
  nodes[0].reload();
  await nodes[0].logged(/RELOAD/);
  await redis.kill();
  await redis.restart();
  await nodes[0].logged(/BUS-DOWN .*rediss:\/\/127\.0\.0\.1:\d+\/0.*why=/);
  await carries(nodes[1], nodes[1], 'at the one that has kept its own');
  show(certs.make('peal', { days: 90 }));
  nodes[0].reload();
  await until(async () => Math.abs(days((await nodes[0].askInternal('/metrics')).body) - 90) < 1.5, 'the new one is in use');
  await until(async () => (await nodes[0].askInternal('/readyz')).status === 200, 'the node is back');
  await carries(nodes[1], nodes[0], 'with a new certificate');
});

test('commands speak TLS', async () => {
  const env = tlsEnv(certs.make('peal'));
  const posted = run(['publish', '--user', 'bob', '--type', 't', '--title', 'by a command'], env);
  assert.equal(posted.status, 0, posted.stderr);
  assert.equal(run(['publish', '--redis', redis.tlsUrl, '--user', 'bob', '--type', 't', '--title', 'x'], { ...env, REDIS_URL: '' }).status, 0);
  const dead = run(['dead', 'list'], env);
  assert.equal(dead.status, 0, dead.stderr);
  const checked = run(['check-config', '--connect'], env);
  assert.equal(checked.status, 0, checked.stderr);
  assert.match(checked.stdout, /# bus: Redis \d.* answers/);
});

test('who is not let in is told why, with the address and without a password', async () => {
  const port = redis.tlsPort;
  const address = new RegExp(`bus: Redis cannot be used \\(rediss://127\\.0\\.0\\.1:${port}/0\\): `);
  const rows = [
    [tlsEnv(null), /certificate required/],
    [{ ...tlsEnv(certs.make('peal')), PEAL_BUS_TLS_CA: '' }, /its certificate is not accepted/],
    [{ ...tlsEnv(certs.make('peal')), PEAL_BUS_TLS_NAME: 'other.example' }, /hostname mismatch/],
  ];
  for (const [env, why] of rows) {
    const { status, stderr } = run(['check-config', '--connect'], { ...env, REDIS_URL: `rediss://:hunter2@127.0.0.1:${port}` });
    assert.equal(status, 1);
    assert.match(stderr, address);
    assert.match(stderr, why);
    assert.doesNotMatch(stderr, /hunter2/);
  }
  const named = run(['check-config', '--connect'], { ...tlsEnv(certs.make('peal')), PEAL_BUS_TLS_NAME: 'redis.example' });
  assert.equal(named.status, 0, named.stderr);
});

test('check-config looks at the files, as serve does', () => {
  const own = certs.make('peal');
  writeFileSync(join(folder, 'text.pem'), 'no PEM');
  const rows = [
    [{ PEAL_BUS_TLS_CA: join(folder, 'none.pem') }, /bus\.tls_ca: .*none\.pem: No such file/],
    [{ PEAL_BUS_TLS_CA: join(folder, 'text.pem') }, /bus\.tls_ca: .*text\.pem: holds no PEM certificate/],
    [{ PEAL_BUS_TLS_KEY: certs.make('peal').key }, /bus\.tls_key: .* is not the key of its certificate/],
    [{ PEAL_BUS_TLS_CERT: '' }, /bus\.tls_key: goes with bus\.tls_cert/],
    [{ REDIS_URL: redis.url }, /bus\.tls_ca: bus\.url is not one with TLS/],
    [{ REDIS_URL: 'rediss://:hunter2@127.0.0.1:0' }, /the port must be a number/],
  ];
  for (const [env, why] of rows) {
    for (const args of [['check-config'], ['serve', '--listen-port', '0', '--listen-internal-port', '0']]) {
      const { status, stderr } = run(args, { ...tlsEnv(own), ...env });
      assert.equal(status, 1, `${args[0]} ${why}`);
      assert.match(stderr, why, args[0]);
      assert.doesNotMatch(stderr, /hunter2/);
    }
  }
});

test('a user of the ACL with any characters, by a unix socket, IPv6, and variables of their own', async () => {
  const password = 'a b@:/?#%41';
  const port = await freePort();
  const socket = join(folder, 's');
  const other = await startRedis({ settings: { bind: '127.0.0.1 ::1', unixsocket: socket } });
  cleanups.push(() => other.stop());
  const client = other.client();
  await client.acl('SETUSER', 'us@er:%', `>${password}`, 'on', '~*', '&*', '+@all');
  await client.acl('SETUSER', 'default', 'on', 'resetpass', `>${password}`);
  const login = `${encodeURIComponent('us@er:%')}:${encodeURIComponent(password)}`;
  const ways = [
    { REDIS_URL: `unix://${login}@${socket}` },
    { REDIS_URL: `unix://${socket}`, PEAL_BUS_USER: 'us@er:%', PEAL_BUS_PASSWORD: password },
    { REDIS_URL: `redis://${login}@[::1]:${other.port}/2` },
    { REDIS_HOST: '::1', REDIS_PORT: String(other.port), REDIS_DB: '3', REDIS_PASSWORD: password },
    { REDIS_HOST: '127.0.0.1', REDIS_PORT: String(other.port), REDIS_PASSWORD: password },
  ];
  for (const env of ways) {
    const hub = await start({ env: { PEAL_LISTEN_CLUSTER_HOST: '127.0.0.1', ...env } });
    await carries(hub, hub, 'by this way');
    await hub.stop();
  }
  for (const env of [{ REDIS_HOST: '127.0.0.1', REDIS_PORT: String(other.port), REDIS_PASSWORD: 'hunter2' }, { REDIS_HOST: '127.0.0.1', REDIS_PORT: String(port), REDIS_PASSWORD: 'hunter2' }]) {
    const { status, stderr } = run(['check-config', '--connect'], env);
    assert.equal(status, 1);
    assert.match(stderr, new RegExp(`bus: Redis cannot be used \\(redis://127\\.0\\.0\\.1:${env.REDIS_PORT}/0\\): .+`));
    assert.doesNotMatch(stderr, /hunter2/);
  }
  // What Kubernetes tells of a service called redis is no setting.
  assert.equal(run(['check-config'], { REDIS_PORT: 'tcp://10.0.0.1:6379' }).status, 0);
});
