// SPDX-License-Identifier: Apache-2.0
// The browser builds of the stock client, served where pages load them from a stock server.
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { gunzipSync } from 'node:zlib';
import { launchBrowser } from './support/browser.mjs';
import { PROGRAM, cleanEnvironment, startHub } from './support/hub.mjs';
import { Server, temporaryFolder } from './support/process.mjs';
import { within } from './support/wait.mjs';

const DIST = fileURLToPath(new URL('./node_modules/socket.io-client/dist', import.meta.url));
const NAMES = ['socket.io.js', 'socket.io.min.js', 'socket.io.esm.min.js', 'socket.io.msgpack.min.js'];
const settings = (folder, more = '') => `engine { bundles = "${folder}" }\n${more}`;

let hub;

before(async () => {
  hub = await startHub({ config: settings(DIST) });
});

after(async () => {
  await hub?.stop();
});

// As it is on the wire: fetch would unpack it.
function get(path, headers = {}, method = 'GET') {
  return new Promise((resolve, reject) => {
    const call = request(`${hub.url}/socket.io/${path}`, { method, headers }, async (answer) => {
      const parts = await answer.toArray();
      resolve({ status: answer.statusCode, headers: answer.headers, body: Buffer.concat(parts) });
    });
    call.on('error', reject).end();
  });
}

for (const name of NAMES.flatMap((build) => [build, `${build}.map`])) {
  test(`${name} with its type and tag`, async () => {
    const content = readFileSync(join(DIST, name));
    const plain = await get(`${name}?v=1`);
    assert.equal(plain.status, 200);
    assert.deepEqual(plain.body, content);
    const type = name.endsWith('.map') ? 'application/json' : 'application/javascript';
    assert.equal(plain.headers['content-type'], `${type}; charset=utf-8`);
    assert.equal(plain.headers['cache-control'], 'public, max-age=0');
    assert.equal(plain.headers.vary, 'Accept-Encoding');
    assert.match(plain.headers.etag, /^W\/"[0-9a-f]{32}"$/);

    const packed = await get(name, { 'accept-encoding': 'gzip, br' });
    assert.equal(packed.headers['content-encoding'], 'gzip');
    assert.ok(packed.body.length < content.length / 2);
    assert.deepEqual(gunzipSync(packed.body), content);

    const known = await get(name, { 'if-none-match': plain.headers.etag });
    assert.deepEqual([known.status, known.body.length], [304, 0]);
    assert.equal((await get(name, { 'if-none-match': '"other"' })).status, 200);
    const head = await get(name, {}, 'HEAD');
    assert.deepEqual([head.status, head.body.length], [200, 0]);
    assert.equal(Number(head.headers['content-length']), content.length);
  });
}

test('what is no build is a request for a session', async () => {
  for (const path of ['', 'socket.io.jsx', 'socket.io.esm.js', '../socket.io.js', 'other/socket.io.js', '%73ocket.io.js']) {
    const answer = await fetch(`${hub.url}/socket.io/${path}`);
    assert.equal(answer.status, path.startsWith('..') ? 404 : 400, path);
    if (answer.status === 400) assert.deepEqual(await answer.json(), { code: 0, message: 'Transport unknown' });
  }
  assert.equal((await get('socket.io.js', {}, 'POST')).status, 400);
});

test('without the setting there is none', async () => {
  const bare = await startHub();
  try {
    assert.equal((await fetch(`${bare.url}/socket.io/socket.io.js`)).status, 400);
  } finally {
    await bare.stop();
  }
});

test('a folder with some of them serves those, one with none ends the start', async () => {
  const folder = temporaryFolder('bundles');
  const serve = async () => {
    const file = join(folder, 'peal.conf');
    writeFileSync(file, settings(folder));
    const args = ['serve', '--listen-port', '0', '--listen-internal-port', '0', '--config', file];
    const options = { cwd: folder, env: cleanEnvironment({ JWT_SECRET: 's'.repeat(40) }) };
    const server = new Server('serve', PROGRAM, args, options);
    const { code } = await within(server.ended, 'it ends');
    assert.equal(code, 1);
    assert.equal(server.output.trimEnd().split('\n').length, 1, server.output);
    return server.output;
  };
  assert.match(await serve(), /engine\.bundles: .*has no socket\.io\.js/);
  mkdirSync(join(folder, 'socket.io.js'));
  assert.match(await serve(), /engine\.bundles: .*socket\.io\.js: /);

  const some = temporaryFolder('bundles');
  writeFileSync(join(some, 'socket.io.min.js'), 'x');
  const own = await startHub({ config: settings(some) });
  try {
    assert.equal(await (await fetch(`${own.url}/socket.io/socket.io.min.js`)).text(), 'x');
    const missing = await fetch(`${own.url}/socket.io/socket.io.js`);
    assert.deepEqual([missing.status, (await missing.json()).error.code], [404, 'not_found']);
  } finally {
    await own.stop();
  }
});

// Open a page of the hub's own address, made of `head`; resolves with the title it receives.
async function receiveInPage(browser, own, head) {
  const page = await browser.newPage();
  const body = `<!doctype html><head>${head}</head>`;
  await page.route('**/shop', (route) => route.fulfill({ contentType: 'text/html', body }));
  await page.goto(`${own.url}/shop`);
  await page.waitForFunction(() => globalThis.io);
  await page.evaluate((token) => new Promise((resolve, reject) => {
    const socket = globalThis.io({ auth: { token } });
    globalThis.received = new Promise((take) => socket.on('notification', take));
    socket.on('connect_error', reject);
    socket.on('hub:ready', resolve);
  }), own.token('alice'));
  const post = { user: 'alice', type: 't', title: 'Shipped' };
  assert.equal((await own.api('POST', '/api/v1/notifications', post)).status, 201);
  return page.evaluate(async () => (await globalThis.received).title);
}

const MODULE = 'import { io } from "/socket.io/socket.io.esm.min.js"; globalThis.io = io;';
for (const [what, parser, head] of [
  ['a script', 'json', '<script src="/socket.io/socket.io.js"></script>'],
  ['a module', 'json', `<script type="module">${MODULE}</script>`],
  ['MessagePack', 'msgpack', '<script src="/socket.io/socket.io.msgpack.min.js"></script>'],
]) {
  test(`a page that loads its client from the hub: ${what}`, { timeout: 120_000 }, async () => {
    const own = await startHub({ config: settings(DIST, `socketio { parser = ${parser} }`) });
    const browser = await launchBrowser();
    try {
      assert.equal(await within(receiveInPage(browser, own, head), 'it is received'), 'Shipped');
    } finally {
      await browser.close();
      await own.stop();
    }
  });
}
