// SPDX-License-Identifier: Apache-2.0
// TLS on every listener: stock clients over wss, certificates by name and after a reload, who is refused
// and what is said of it, tickets that other nodes accept, nodes among themselves.
import assert from 'node:assert/strict';
import { execFile, execFileSync, spawnSync } from 'node:child_process';
import { copyFileSync, existsSync, writeFileSync } from 'node:fs';
import { Agent } from 'node:https';
import { connect as connectTcp } from 'node:net';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { connect as connectTls } from 'node:tls';
import { launchBrowser } from './support/browser.mjs';
import { Certs, ask } from './support/certs.mjs';
import { PROGRAM, cleanEnvironment, findAddress, startHub } from './support/hub.mjs';
import { startPostgres } from './support/postgres.mjs';
import { startRedis } from './support/redis.mjs';
import { FULL } from './support/siege.mjs';
import { StockClient } from './support/stock_client.mjs';
import { randomSecret } from './support/tokens.mjs';
import { until, within } from './support/wait.mjs';

let certs;
let node; // the certificate of most hubs
const cleanups = [];

async function start({ config = '', args = [], shown = node, ...options } = {}) {
  const tls = ['--listen-tls-cert', shown.cert, '--listen-tls-key', shown.key];
  const all = { scheme: 'https', ...options, config: config || 'room_type "project" { access = {"any"} }', args: [...tls, ...args] };
  const hub = await startHub(all);
  cleanups.push(() => hub.stop());
  return hub;
}

before(() => {
  certs = new Certs();
  node = certs.make('localhost');
});

after(async () => {
  for (const cleanup of cleanups.reverse()) await cleanup();
});

const trust = () => ({ ca: certs.ca.pem });
const once = (emitter, event) =>
  within(new Promise((resolve) => emitter.once(event, (...args) => resolve(args))), event);

// A TLS connection; resolves when the handshake is done. `session`: to come back with.
function dial(hub, options = {}) {
  const socket = connectTls({ host: hub.address.host, port: hub.address.port, servername: 'localhost', ...trust(), ...options });
  socket.on('error', (error) => (socket.failure = error));
  socket.ticket = new Promise((resolve) => socket.once('session', resolve)); // with TLS 1.2 before the end of the handshake
  return within(
    new Promise((resolve, reject) => {
      socket.once('secureConnect', () => resolve(socket));
      socket.once('error', reject);
      socket.once('close', () => reject(new Error('closed')));
    }),
    'a TLS handshake',
  );
}

const failures = async (hub, reason) => {
  const rows = (await hub.askInternal('/metrics')).body.split('\n');
  const row = rows.find((one) => one.startsWith(`peal_tls_handshakes_failed_total{reason="${reason}"}`));
  return Number(row.slice(row.lastIndexOf(' ')));
};

describe('clients', () => {
  let hub;

  before(async () => {
    hub = await start({ args: ['--shards', '2'] });
  });

  for (const transports of [['websocket'], ['polling'], ['polling', 'websocket']]) {
    test(`the stock client by ${transports.join(', then ')}`, async () => {
      const socket = hub.socketIo('alice', { ...trust(), transports });
      await once(socket, 'hub:ready'); // it may not hear what is posted before
      const heard = once(socket, 'notification');
      const posted = await ask(`${hub.url}/api/v1/notifications`, {
        tls: trust(),
        method: 'POST',
        headers: { authorization: `Bearer ${hub.apiKey}`, 'content-type': 'application/json' },
        body: JSON.stringify({ user: 'alice', type: 'note', title: `by ${transports}` }),
      });
      assert.equal(posted.status, 201, posted.body);
      assert.equal((await heard)[0].title, `by ${transports}`);
      if (transports.length === 2) {
        await until(() => socket.io.engine.transport.name === 'websocket', 'the change to WebSocket');
        const answer = await socket.timeout(20_000).emitWithAck('notification:list', { limit: 1 });
        assert.ok(answer.ok, JSON.stringify(answer));
      }
      socket.close();
    });
  }

  test('/ws in both encodings', async () => {
    for (const encoding of ['json', 'msgpack']) {
      const client = await hub.plain(`bob-${encoding}`, { encoding, tls: trust() });
      const answer = await client.request('notification:list', { limit: 5 });
      assert.equal(answer.ok, true);
      client.close();
    }
  });

  test('large requests and answers, many on one connection', async () => {
    const agent = new Agent({ keepAlive: true, maxSockets: 1, ...trust() });
    const headers = { authorization: `Bearer ${hub.apiKey}`, 'content-type': 'application/json' };
    const list = Array.from({ length: 200 }, (_, i) => ({ user: 'carol', type: 'note', title: `${i}`, message: 'x'.repeat(900) }));
    const posted = await ask(`${hub.url}/api/v1/notifications`, {
      tls: trust(), agent, method: 'POST', headers, body: JSON.stringify(list),
    });
    assert.ok([200, 201, 207].includes(posted.status), posted.body.slice(0, 300));
    for (let i = 0; i < 20; i++) {
      const answer = await ask(`${hub.url}/api/v1/users/carol/notifications?limit=100`, { tls: trust(), agent, headers });
      assert.equal(answer.status, 200);
      assert.equal(JSON.parse(answer.body).items.length, 100);
      assert.ok(answer.body.length > 90_000);
    }
    agent.destroy();
  });

  test('what speaks no TLS is told so in one line', async () => {
    const before = await failures(hub, 'plain');
    const answer = await fetch(hub.url.replace('https', 'http'));
    assert.equal(answer.status, 400);
    assert.equal(await answer.text(), 'This port speaks TLS only');
    await until(async () => (await failures(hub, 'plain')) === before + 1, 'it is counted');
  });

  test('handshakes are counted, and when the certificate ends', async () => {
    const full = await hub.metric('peal_tls_handshakes_full_total');
    const socket = await dial(hub);
    await until(async () => (await hub.metric('peal_tls_handshakes_full_total')) > full, 'one more');
    await until(async () => (await hub.metric('peal_tls_connections')) >= 1, 'a connection');
    socket.destroy();
    const days = await hub.metric('peal_tls_certificate_days');
    assert.ok(days > 58 && days < 61, `${days}`);
  });

  test('HTTP/1.1 is chosen, and a client that wants another protocol alone is refused', async () => {
    const socket = await dial(hub, { ALPNProtocols: ['h2', 'http/1.1'] });
    assert.equal(socket.alpnProtocol, 'http/1.1');
    socket.destroy();
    await assert.rejects(dial(hub, { ALPNProtocols: ['h2'] }));
    await until(async () => (await failures(hub, 'protocol')) > 0, 'it is counted');
  });

  test('TLS 1.2 is taken, and 1.1 is not', async () => {
    const socket = await dial(hub, { minVersion: 'TLSv1.2', maxVersion: 'TLSv1.2' });
    assert.equal(socket.getProtocol(), 'TLSv1.2');
    assert.match(socket.getCipher().name, /^ECDHE-/);
    socket.destroy();
    await assert.rejects(dial(hub, { minVersion: 'TLSv1.1', maxVersion: 'TLSv1.1', ciphers: 'DEFAULT@SECLEVEL=0' }));
  });
});

test('a page in Chromium speaks wss to where it came from', async () => {
  const hub = await start({ args: ['--dev'] });
  const browser = await launchBrowser();
  cleanups.push(() => browser.close());
  const context = await browser.newContext({ ignoreHTTPSErrors: true }); // it does not know the CA
  const page = await context.newPage();
  const sockets = [];
  page.on('websocket', (socket) => sockets.push(socket.url()));
  await page.goto(`${hub.url}/#user=alice`);
  await page.locator('[data-testid=connection][data-state=online]').waitFor({ timeout: 30_000 });
  assert.ok(sockets.length > 0 && sockets.every((url) => url.startsWith(`wss://${hub.address.host}:`)), `${sockets}`);
  await context.close();
});

describe('stock clients of other languages', () => {
  const store = () => {
    const path = certs.path('trust.p12');
    if (!existsSync(path)) execFileSync('keytool', ['-importcert', '-noprompt', '-alias', 'ca', '-file', certs.ca.cert, '-keystore', path, '-storetype', 'PKCS12', '-storepass', 'changeit'], { stdio: 'ignore' });
    return path;
  };
  const trusting = {
    javascript: () => ({ NODE_EXTRA_CA_CERTS: certs.ca.cert }),
    java: () => ({ JAVA_TOOL_OPTIONS: `-Djavax.net.ssl.trustStore=${store()} -Djavax.net.ssl.trustStorePassword=changeit` }),
    python: () => ({ SSL_CERT_FILE: certs.ca.cert, REQUESTS_CA_BUNDLE: certs.ca.cert }),
  };

  for (const [language, env] of Object.entries(trusting)) {
    const skip = language !== 'javascript' && !FULL && 'with PEAL_FULL';
    test(`${language}, by each transport`, { skip }, async () => {
      const hub = await start({ args: ['--shards', '2'] });
      const client = StockClient.start(language, [], env());
      cleanups.push(() => client.stop());
      for (const transports of [['polling'], ['websocket'], ['polling', 'websocket']]) {
        const user = `${language}-${transports.join('-')}`;
        const socket = client.connect(hub.url, { auth: { token: hub.token(user) }, transports });
        await until(() => socket.connected, () => `${user} connects: ${JSON.stringify(socket.refusals)}`);
        const posted = await ask(`${hub.url}/api/v1/notifications`, {
          tls: trust(), method: 'POST', headers: { authorization: `Bearer ${hub.apiKey}`, 'content-type': 'application/json' },
          body: JSON.stringify({ user, type: 'note', title: 'hello' }),
        });
        assert.equal(posted.status, 201, posted.body);
        assert.equal((await socket.next('notification'))[0].title, 'hello');
        assert.equal((await socket.request('notification:list', { limit: 1 })).ok, true);
        socket.close();
      }
    });
  }
});

describe('who sends no request', () => {
  test('a handshake that does not end is ended with limits.head_timeout', async () => {
    const hub = await start({ args: ['--limits-head-timeout', '300ms'] });
    const silent = connectTcp(hub.address.port, hub.address.host);
    const shaken = await dial(hub); // all of TLS, and no byte of HTTP
    const half = connectTcp(hub.address.port, hub.address.host);
    half.write(Buffer.from('160301020001', 'hex'));
    await Promise.all([silent, shaken, half].map((socket) => once(socket, 'close')));
    await until(async () => (await failures(hub, 'gone')) === 2, 'two handshakes are counted as gone');
    await until(async () => (await hub.metric('peal_tls_connections')) === 0, 'nothing is left');
  });

  test('a flood of them keeps nobody out', async () => {
    const hub = await start({ args: ['--limits-half-open', '64', '--limits-unauthenticated-per-address', '100000', '--shards', '1'] });
    const flood = Array.from({ length: 400 }, () => {
      const socket = connectTcp(hub.address.port, hub.address.host);
      socket.on('error', () => {});
      socket.write(Buffer.from('1603010200010001fc0303', 'hex'));
      return socket;
    });
    const socket = hub.socketIo('alice', trust());
    await once(socket, 'connect');
    await until(async () => {
      (await dial(hub)).destroy(); // with each that comes some of the oldest are looked at
      return (await hub.metric('peal_connections_half_open_dropped_total')) > 0;
    }, 'some of the flood went');
    for (const one of flood) one.destroy();
  });
});

describe('certificates', () => {
  test('the one for the name that is asked for is shown', async () => {
    const [one, two] = [certs.make('one.example'), certs.make(['two.example', '*.two.example'], { rsa: true })];
    const config = `listen { tls_cert = {"${one.cert}", "${two.cert}"} tls_key = {"${one.key}", "${two.key}"} }\n`;
    const hub = await startHub({ scheme: 'https', config });
    cleanups.push(() => hub.stop());
    for (const [name, shown] of [['one.example', 'one.example'], ['two.example', 'two.example'], ['a.two.example', 'two.example'], ['other.example', 'one.example']]) {
      const socket = await dial(hub, { servername: name, checkServerIdentity: () => undefined });
      assert.equal(socket.getPeerCertificate().subject.CN, shown, name);
      socket.destroy();
    }
  });

  test('a new one is taken by HUP while clients are served, and none of them is lost', async () => {
    const [cert, key] = ['served.crt', 'served.key'].map((name) => certs.path(name));
    const use = (made) => {
      copyFileSync(made.cert, cert);
      copyFileSync(made.key, key);
    };
    use(node);
    const hub = await start({ shown: { cert, key }, args: ['--shards', '2'] });
    const users = Array.from({ length: 24 }, (_, i) => `load${i}`);
    const clients = await Promise.all(users.map((user) => hub.plain(user, { tls: trust() })));
    const lost = [];
    for (const client of clients) client.closed.then((why) => lost.push(why));
    let going = true;
    let posted = 0;
    const posting = (async () => {
      while (going) {
        const body = JSON.stringify({ user: users[posted % users.length], type: 'note', title: `${posted}` });
        const headers = { authorization: `Bearer ${hub.apiKey}`, 'content-type': 'application/json' };
        const answer = await ask(`${hub.url}/api/v1/notifications`, { tls: trust(), method: 'POST', headers, body });
        assert.equal(answer.status, 201, answer.body);
        posted += 1;
      }
    })();
    const seen = new Set();
    for (let round = 1; round <= 4; round++) {
      const next = certs.make('localhost');
      use(next);
      hub.reload();
      await hub.loggedTimes('RELOAD', round);
      const fingerprint = await until(async () => {
        const answer = await ask(`${hub.url}/nowhere`, { tls: trust() });
        return !seen.has(answer.fingerprint) && answer.fingerprint;
      }, 'another certificate is shown');
      seen.add(fingerprint);
    }
    going = false;
    await posting;
    assert.ok(posted > 0);
    await until(() => clients.reduce((sum, { events }) => sum + events.filter(([name]) => name === 'notification').length, 0) === posted, 'all was told');
    assert.deepEqual(lost, []);
    for (const client of clients) client.close();
  });

  test('files that do not fit leave the old one in use, and are named', async () => {
    const [cert, key] = ['kept.crt', 'kept.key'].map((name) => certs.path(name));
    copyFileSync(node.cert, cert);
    copyFileSync(node.key, key);
    const hub = await start({ shown: { cert, key } });
    copyFileSync(certs.make('localhost').key, key);
    hub.reload();
    await hub.logged(/RELOAD-REFUSED .*listen\.tls_key: \S+kept\.key: is not the key of its certificate/);
    (await dial(hub)).destroy();
    writeFileSync(cert, 'nothing\n');
    hub.reload();
    await hub.logged(/RELOAD-REFUSED .*listen\.tls_cert: \S+kept\.crt: holds no PEM certificate/);
    (await dial(hub)).destroy();
  });

  test('TLS comes and goes with a reload', async () => {
    const folderConfig = (tls) => `${tls ? `listen { tls_cert = {"${node.cert}"} tls_key = {"${node.key}"} }` : ''}\nlog { level = info }\n`;
    const hub = await startHub({ scheme: 'https', config: folderConfig(true) });
    cleanups.push(() => hub.stop());
    const stays = await hub.plain('alice', { tls: trust() });
    writeFileSync(join(hub.folder, 'peal.conf'), folderConfig(false));
    hub.reload();
    await hub.loggedTimes('RELOAD', 1);
    await until(async () => (await fetch(hub.url.replace('https', 'http'))).status === 404, 'plain HTTP is answered');
    assert.equal((await stays.request('notification:list', {})).ok, true, 'who is there stays');
    writeFileSync(join(hub.folder, 'peal.conf'), folderConfig(true));
    hub.reload();
    await hub.loggedTimes('RELOAD', 2);
    await until(async () => (await ask(`${hub.url}/nowhere`, { tls: trust() })).status === 404, 'TLS is back');
  });

  test('clients show one where it is wanted', async () => {
    const [mine, strange] = [certs.make('a client'), certs.make('a stranger', { issuer: null })];
    const read = ({ pem, key }) => ({ cert: pem, key: certs.read(key) });
    const hub = await start({ args: ['--listen-tls-client-ca', certs.ca.cert] });
    const good = await ask(`${hub.url}/nowhere`, { tls: { ...trust(), ...read(mine) } });
    assert.equal(good.status, 404);
    await assert.rejects(ask(`${hub.url}/nowhere`, { tls: { ...trust(), ...read(strange) } }));
    await assert.rejects(ask(`${hub.url}/nowhere`, { tls: trust() }));
    await until(async () => (await failures(hub, 'certificate')) === 2, 'both are counted');
  });

  test('mistakes stop the start with a line that names the setting', () => {
    const other = certs.make('other');
    const rows = [
      [['--listen-tls-cert', '/nowhere.crt', '--listen-tls-key', node.key], /^peal: listen\.tls_cert: \/nowhere\.crt: No such file or directory$/m],
      [['--listen-tls-cert', node.cert, '--listen-tls-key', '/nowhere.key'], /^peal: listen\.tls_key: \/nowhere\.key: No such file or directory$/m],
      [['--listen-tls-cert', node.cert, '--listen-tls-key', other.key], /^peal: listen\.tls_key: \S+: is not the key of its certificate/m],
      [['--listen-internal-tls-cert', node.cert, '--listen-internal-tls-key', other.key], /^peal: listen\.internal_tls_key: \S+: is not the key/m],
      [['--cluster-tls-cert', node.cert, '--cluster-tls-key', node.key, '--cluster-tls-ca', '/nowhere'], /^peal: cluster\.tls_ca: \/nowhere: No such/m],
      [['--listen-tls-cert', node.cert], /listen\.tls_key: 0 for 1 of listen\.tls_cert/],
    ];
    const env = cleanEnvironment({ JWT_SECRET: 'x'.repeat(32) });
    for (const [args, line] of rows) {
      for (const command of [['check-config'], ['serve', '--listen-port', '0', '--listen-internal-port', '0']]) {
        const { status, stderr } = spawnSync(PROGRAM, [...command, ...args], { encoding: 'utf8', env, cwd: certs.folder, timeout: 60_000 });
        assert.notEqual(status, 0, `${command[0]} ${args}`);
        assert.match(stderr, line);
      }
    }
    const ended = certs.make('self', { issuer: null, days: 1 });
    const checked = spawnSync(PROGRAM, ['check-config', '--listen-tls-cert', ended.cert, '--listen-tls-key', ended.key], { encoding: 'utf8', env, cwd: certs.folder });
    assert.equal(checked.status, 0, checked.stderr);
    assert.match(checked.stderr, /TLS-CERTIFICATE .*listen\.tls_cert: \S+: the certificate ends in [01] days/);
    assert.match(checked.stderr, /TLS-CERTIFICATE .*listen\.tls_cert: \S+: the certificate is self-signed/);
  });
});

describe('tickets', () => {
  // Shake hands with `hub`, take the ticket, and resolve with it.
  async function ticket(hub, options = {}) {
    const socket = await dial(hub, options);
    const session = await within(socket.ticket, 'a ticket');
    socket.end();
    return session;
  }

  const comesBack = async (hub, session, options = {}) => {
    const socket = await dial(hub, { session, ...options });
    const reused = socket.isSessionReused();
    socket.write('GET /nowhere HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n');
    await once(socket, 'data'); // with TLS 1.3 the hub is done later than the client
    socket.destroy();
    return reused;
  };

  test('are good on every node with the same cluster.secret', async () => {
    const secret = randomSecret();
    const [one, two, other] = await Promise.all(
      [secret, secret, randomSecret()].map((known) => start({ args: ['--cluster-secret', known] })),
    );
    for (const options of [{}, { maxVersion: 'TLSv1.2' }]) {
      const session = await ticket(one, options);
      assert.equal(await comesBack(one, session, options), true, 'the same node');
      assert.equal(await comesBack(two, await ticket(one, options), options), true, 'another node');
      assert.equal(await comesBack(other, await ticket(one, options), options), false, 'of another cluster');
    }
    await until(async () => (await two.metric('peal_tls_handshakes_resumed_total')) >= 2, 'both are counted');
    assert.equal(await other.metric('peal_tls_handshakes_resumed_total'), 0);
  });

  test('without a secret they are good for the process, over a reload', async () => {
    const [one, two] = await Promise.all([start(), start()]);
    const session = await ticket(one);
    assert.equal(await comesBack(two, session), false);
    one.reload();
    await one.loggedTimes('RELOAD', 1);
    assert.equal(await comesBack(one, await ticket(one)), true);
  });
});

test('the internal listener speaks TLS, too', async () => {
  const internal = ['--listen-internal-tls-cert', node.cert, '--listen-internal-tls-key', node.key];
  const hub = await startHub({ args: internal, internalTls: { ca: certs.ca.pem }, scheme: 'http' });
  cleanups.push(() => hub.stop());
  assert.equal((await ask(`${hub.internalUrl}/healthz`, { tls: trust() })).status, 200);
  assert.ok((await hub.metric('peal_tls_handshakes_full_total')) > 0);
  assert.equal((await fetch(`${hub.internalUrl.replace('https', 'http')}/healthz`)).status, 400);
  assert.equal((await fetch(`${hub.url}/nowhere`)).status, 404, 'the public one is plain');
});

describe('commands and packages', () => {
  let hub;
  const run = (args, env = {}) =>
    new Promise((resolve) => {
      execFile(PROGRAM, args, { env: cleanEnvironment(env), cwd: certs.folder }, (error, stdout, stderr) =>
        resolve({ code: error?.code ?? 0, stdout, stderr }));
    });

  before(async () => {
    const internal = ['--listen-internal-tls-cert', node.cert, '--listen-internal-tls-key', node.key];
    hub = await start({ args: internal, internalTls: trust() });
  });

  test('peal publish trusts the CA that it is given, and no other', async () => {
    const post = ['--api-key', hub.apiKey, '--user', 'pub', '--type', 'note', '--title', 'over TLS'];
    const good = await run(['publish', '--url', hub.url, '--ca', certs.ca.cert, ...post]);
    assert.equal(good.code, 0, good.stderr);
    assert.match(good.stdout, /^[0-9a-f-]{36}\n$/);
    const other = certs.make('another ca', { ca: true });
    for (const args of [['--ca', other.cert], ['--ca', '/nowhere.crt'], []]) {
      const { code, stderr } = await run(['publish', '--url', hub.url, ...args, ...post]);
      assert.equal(code, 1, `${args}`);
      assert.match(stderr, /^peal publish: 127\.0\.0\.1:\d+: .*(certificate|CA cert)/, stderr);
    }
    const local = await run(['publish', '--ca', certs.ca.cert, ...post], {
      PEAL_LISTEN_PORT: String(hub.address.port), PEAL_LISTEN_TLS_CERT: node.cert, PEAL_LISTEN_TLS_KEY: node.key,
    });
    assert.equal(local.code, 0, local.stderr);
  });

  test('peal top asks the internal listener over TLS', async () => {
    const { code, stdout, stderr } = await run(['top', '--once', '--url', hub.internalUrl, '--ca', certs.ca.cert]);
    assert.equal(code, 0, stderr);
    assert.match(stdout, /tls/);
  });

  test('@peal/server goes by NODE_EXTRA_CA_CERTS', async () => {
    const script = `
      import { PealServer } from ${JSON.stringify(new URL('../../clients/node/index.js', import.meta.url).href)};
      const peal = new PealServer({ url: process.argv[1], key: process.argv[2], retries: 0 });
      try { console.log(JSON.stringify(await peal.post({ user: 'srv', type: 'note', title: 'x' }))); }
      catch (error) { console.log(error.code); }
      peal.close?.();`;
    const ask = (env) =>
      new Promise((resolve, reject) => {
        const args = ['--input-type=module', '-e', script, hub.url, hub.apiKey];
        execFile(process.execPath, args, { env: cleanEnvironment(env), timeout: 30_000 }, (error, stdout) =>
          error ? reject(error) : resolve(stdout.trim()));
      });
    assert.match(await ask({ NODE_EXTRA_CA_CERTS: certs.ca.cert }), /"id":/);
    assert.equal(await ask({}), 'unreachable');
  });
});

describe('nodes among themselves', () => {
  let redis;
  let postgres;
  let shared;

  before(async () => {
    [redis, postgres] = await Promise.all([startRedis(), startPostgres()]);
    shared = { redis, postgres, secret: randomSecret(), scheme: 'http' };
  });

  after(async () => {
    for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
    await redis.stop();
    await postgres.stop();
  });

  async function startNode(made, ca = certs.ca) {
    const flags = ['--cluster-tls-cert', made.cert, '--cluster-tls-key', made.key, '--cluster-tls-ca', ca.cert];
    const hub = await startHub({ ...shared, args: ['--shards', '2', '--drain-deadline', '2s', ...(made ? flags : [])] });
    cleanups.push(() => hub.stop());
    hub.cluster = findAddress(hub.log, 'cluster');
    return hub;
  }

  const poll = (hub, sid) => fetch(`${hub.url}/socket.io/?EIO=4&transport=polling${sid ? `&sid=${sid}` : ''}`);

  test('what one passes on to the other is inside of TLS, and both are certified', async () => {
    const [one, two] = [await startNode(certs.make('node-1')), await startNode(certs.make('node-2'))];
    const opened = await poll(one);
    const { sid } = JSON.parse((await opened.text()).slice(1));
    const posted = await fetch(`${two.url}/socket.io/?EIO=4&transport=polling&sid=${sid}`, { method: 'POST', body: `40{"token":"${two.token('alice')}"}` });
    assert.deepEqual([posted.status, await posted.text()], [200, 'ok']);
    const answer = await poll(two, sid);
    assert.equal(answer.status, 200);
    assert.match(await answer.text(), /^40\{"sid"/);
    assert.ok((await one.metric('peal_tls_handshakes_full_total')) > 0, 'it was called over TLS');
    assert.ok((await two.metric('peal_tls_handshakes_full_total')) > 0, 'it called over TLS');
    const plain = await fetch(`http://${one.cluster.host}:${one.cluster.port}/`);
    assert.equal(plain.status, 400, 'the cluster listener speaks TLS only');
    const strange = certs.make('node-3', { issuer: null });
    await assert.rejects(ask(`https://${one.cluster.host}:${one.cluster.port}/`, { tls: { ...trust(), cert: strange.pem, key: certs.read(strange.key) } }));
    const upgrade = await within(
      new Promise((resolve, reject) => {
        const socket = two.socketIo('bob', { transports: ['websocket'] });
        socket.once('connect', () => resolve(socket));
        socket.once('connect_error', reject);
      }),
      'a WebSocket',
    );
    upgrade.close();
  });

  test('a node that is certified by somebody else is not called', async () => {
    const strangeCa = certs.make('another ca', { ca: true });
    const one = await startNode(certs.make('node-4'));
    const two = await startNode(certs.make('node-5', { issuer: strangeCa }), strangeCa);
    const { sid } = JSON.parse((await (await poll(one)).text()).slice(1));
    assert.equal((await poll(two, sid)).status, 503);
    assert.ok((await two.metric('peal_forward_failures_total')) > 0);
  });
});
