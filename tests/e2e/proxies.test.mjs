// SPDX-License-Identifier: Apache-2.0
// proxies - a hub behind proxies that it trusts sees the clients: limits by address, logs and
// handshakes go by the address that the nearest proxy names, never by what a client says.
import assert from 'node:assert/strict';
import { request } from 'node:http';
import { connect as connectTcp } from 'node:net';
import { after, afterEach, before, describe, test } from 'node:test';
import { io } from 'socket.io-client';
import WebSocket from 'ws';
import { startHub } from './support/hub.mjs';
import { proxyHeader, startPassage, startProxy } from './support/proxy.mjs';
import { ENGINE } from './support/raw.mjs';
import { until, within } from './support/wait.mjs';

const CAP = 3;
const CONFIG = `shards = 1
auth { timeout = 60s }
listen { trusted_proxies = {"127.0.0.1", "127.0.9.0/24"} }
limits { unauthenticated_per_address = ${CAP} refusals_per_minute = 4 }`;

const opened = new Set();

// An Engine.IO WebSocket that has shown no token, opened from `from`; its refusal's HTTP status.
function knock(port, from, headers = {}) {
  return new Promise((resolve, reject) => {
    const socket = new WebSocket(`ws://127.0.0.1:${port}${ENGINE}`, { localAddress: from, headers });
    opened.add(socket);
    socket.once('open', () => resolve(socket));
    socket.once('unexpected-response', (_, answer) => {
      answer.resume();
      resolve(answer.statusCode);
    });
    socket.once('error', reject);
    socket.on('error', () => {});
  });
}

// The status of a request of the API, with a wrong token unless told otherwise.
function ask(port, from, headers = { authorization: 'Bearer wrong' }, path = '/api/v1/notifications') {
  return new Promise((resolve, reject) => {
    const call = request({ host: '127.0.0.1', port, path, localAddress: from, headers, method: 'POST', agent: false });
    call.on('response', (answer) => answer.resume().on('end', () => resolve(answer.statusCode)));
    call.on('error', reject);
    call.end();
  });
}

for (const header of ['x-forwarded-for', 'forwarded']) {
  describe(`behind a proxy that writes ${header}`, () => {
    let hub;
    let proxy;
    let outer;
    before(async () => {
      hub = await startHub({ config: CONFIG });
      proxy = await startProxy(hub.address, { header });
      outer = await startProxy({ host: '127.0.0.1', port: proxy.port }, { header, from: '127.0.9.4' });
    });
    afterEach(() => {
      for (const socket of opened) socket.terminate();
      opened.clear();
    });
    after(async () => {
      await outer.stop();
      await proxy.stop();
      await hub.stop();
    });

    test('connections without a token count by client, through one proxy or two', async () => {
      for (let i = 0; i < CAP; i++) assert.equal(typeof (await knock(i % 2 ? outer.port : proxy.port, '127.0.0.2')), 'object');
      assert.equal(await knock(proxy.port, '127.0.0.2'), 429);
      assert.equal(await knock(outer.port, '127.0.0.2'), 429);
      await hub.logged(/LISTEN-ADDRESS .*remote="?127\.0\.0\.2"?/);
      assert.ok((await hub.metric('peal_address_refused_total')) >= 2);
      // Whatever a client says of itself stands to the left of what the proxy saw.
      const said = header === 'forwarded' ? 'for=198.51.100.1' : '198.51.100.1';
      assert.equal(await knock(proxy.port, '127.0.0.2', { [header]: said }), 429);
      assert.equal(typeof (await knock(proxy.port, '127.0.0.3')), 'object', 'others get in');
      assert.equal(typeof (await knock(outer.port, '127.0.0.4')), 'object');
      // The first of them goes: its place is free again.
      [...opened][0].terminate();
      await until(async () => typeof (await knock(proxy.port, '127.0.0.2')) === 'object', 'a place');
    });

    test('a connection that the proxy keeps counts for nobody between requests', async () => {
      const refused = await hub.metric('peal_address_refused_total');
      for (let i = 0; i < 4 * CAP; i++) assert.equal(await ask(proxy.port, '127.0.0.5', {}), 401);
      for (let i = 0; i < CAP; i++) assert.equal(typeof (await knock(proxy.port, '127.0.0.5')), 'object');
      assert.equal(await hub.metric('peal_address_refused_total'), refused);
    });

    test('refusals count by client, and are logged with its address', async () => {
      const answers = [];
      for (let i = 0; i < 6; i++) answers.push(await ask(proxy.port, '127.0.0.6'));
      assert.deepEqual(answers, [401, 401, 401, 401, 429, 429]);
      await hub.logged(/API-REFUSED .*remote="?127\.0\.0\.6"?/);
      assert.equal(await ask(proxy.port, '127.0.0.7'), 401);
    });

    test('who is no trusted proxy is believed nothing', async () => {
      const headers = { authorization: 'Bearer wrong', 'x-forwarded-for': '127.0.0.8', forwarded: 'for=127.0.0.8' };
      const { port } = hub.address;
      const answers = [];
      for (let i = 0; i < 5; i++) answers.push(await ask(port, '127.0.0.10', headers));
      assert.deepEqual(answers, [401, 401, 401, 401, 429]);
      assert.equal(await ask(port, '127.0.0.8'), 401);
      await hub.logged(/API-REFUSED .*remote="?127\.0\.0\.10"?/);
    });
  });
}

test('long-polling sessions without a token are dropped by the clients that have most', { timeout: 60_000 }, async () => {
  const hub = await startHub({ config: CONFIG, args: ['--limits-unjoined', '1024'] });
  const count = 9000;
  const head = (address) => `GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: h\r\nX-Forwarded-For: ${address}\r\n\r\n`;
  const socket = connectTcp(hub.address.port, hub.address.host);
  let answers = '';
  socket.setEncoding('latin1').on('error', () => {}).on('data', (text) => { answers += text; });
  try {
    socket.write(head('198.51.100.1').repeat(5) + head('203.0.113.9').repeat(count));
    const sessions = () => answers.match(/HTTP\/1\.1 200 [^]*?"sid"/g)?.length ?? 0;
    await until(() => sessions() === count + 5, 'all of the flood is answered', 50_000);
    await until(async () => (await hub.metric('peal_polling_dropped_total')) >= 800, 'the flood is dropped');
    await hub.logged(/POLLING-FLOOD .*address="?203\.0\.113\.9"?/);
    assert.doesNotMatch(hub.log, /POLLING-FLOOD .*address="?(198\.51\.100\.1|127\.0\.0\.1)"?/);
  } finally {
    socket.destroy();
    await hub.stop();
  }
});

test('a proxy is trusted and mistrusted by a reload; what is no network is refused', async () => {
  const config = (proxies) => `shards = 1\nlimits { refusals_per_minute = 1 }\nlisten { trusted_proxies = {${proxies}} }\n`;
  const hub = await startHub({ config: config('') });
  const reload = async (text) => {
    hub.options.config = text;
    hub.arguments(); // writes the file
    const before = hub.log.split(/RELOAD/).length;
    hub.reload();
    await until(() => hub.log.split(/RELOAD/).length > before, 'it was loaded');
  };
  const proxy = await startProxy(hub.address);
  try {
    assert.equal(await ask(proxy.port, '127.0.0.2'), 401);
    assert.equal(await ask(proxy.port, '127.0.0.3'), 429, 'everybody is the proxy');
    await reload(config('"127.0.0.1"'));
    assert.equal(await ask(proxy.port, '127.0.0.3'), 401);
    assert.equal(await ask(proxy.port, '127.0.0.3'), 429);
    await reload(config('"127.0.0.1/8"'));
    await hub.logged(/listen\.trusted_proxies: .*127\.0\.0\.1\/8.*bits behind the prefix/);
    assert.equal(await ask(proxy.port, '127.0.0.4'), 401, 'as before');
    await reload(config(''));
    assert.equal(await ask(proxy.port, '127.0.0.5'), 429, 'the proxy again');
  } finally {
    await proxy.stop();
    await hub.stop();
  }
});

describe('behind a proxy that passes connections on', () => {
  const BALANCER = '127.0.9.4'; // others, the tests too, connect for themselves
  const config = (on, proxies = '"127.0.9.0/24", "127.0.8.1"') => `shards = 1
auth { timeout = 60s }
listen { trusted_proxies = {${proxies}} proxy_protocol = ${on} }
limits { unauthenticated_per_address = ${CAP} refusals_per_minute = 4 }`;
  let hub;
  let passage;
  before(async () => {
    hub = await startHub({ config: config('on') });
    passage = await startPassage(hub.address, { from: BALANCER });
  });
  afterEach(() => {
    for (const socket of opened) socket.terminate();
    opened.clear();
  });
  after(async () => {
    await passage.stop();
    await hub.stop();
  });

  // What comes back on a connection of the balancer that begins with `bytes`, up to its end or to `enough`.
  function speak(bytes, enough) {
    return new Promise((resolve) => {
      const socket = connectTcp({ ...hub.address, localAddress: BALANCER });
      let got = '';
      const end = () => { socket.destroy(); resolve(got); };
      socket.setEncoding('latin1').on('error', () => {}).on('close', end);
      socket.on('data', (text) => { got += text; if (enough?.test(got)) end(); });
      for (const part of bytes) socket.write(part);
    });
  }

  test('a stock client connects, and limits and logs go by its address', async () => {
    for (const transports of [['websocket'], ['polling']]) {
      const client = io(`http://127.0.0.1:${passage.port}`, { auth: { token: hub.token('ann') }, transports, forceNew: true });
      await within(new Promise((resolve) => client.once('connect', resolve)), 'a stock client connects');
      client.close();
    }
    for (let i = 0; i < CAP; i++) assert.equal(typeof (await knock(passage.port, '127.0.0.2')), 'object');
    await assert.rejects(knock(passage.port, '127.0.0.2'), 'a fourth is closed before it has asked');
    await hub.logged(/LISTEN-ADDRESS .*remote="?127\.0\.0\.2"?/);
    assert.equal(typeof (await knock(passage.port, '127.0.0.3')), 'object', 'others get in');
    const answers = [];
    for (let i = 0; i < 6; i++) answers.push(await ask(passage.port, '127.0.0.6'));
    assert.deepEqual(answers, [401, 401, 401, 401, 429, 429]);
    await hub.logged(/API-REFUSED .*remote="?127\.0\.0\.6"?/);
  });

  test('a proxy behind it may name the client of a request, others may not', async () => {
    const wrong = (forwarded) => `POST /api/v1/notifications HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer wrong\r\n`
      + `X-Forwarded-For: ${forwarded}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n`;
    const inner = { address: '127.0.8.1', port: 4000 };
    assert.match(await speak([proxyHeader(inner), wrong('198.51.100.20')]), /^HTTP\/1\.1 401 /);
    await hub.logged(/API-REFUSED .*remote="?198\.51\.100\.20"?/);
    assert.match(await speak([proxyHeader({ address: '198.51.100.21', port: 1 }), wrong('198.51.100.22')]), /^HTTP\/1\.1 401 /);
    await hub.logged(/API-REFUSED .*remote="?198\.51\.100\.21"?/);
    assert.doesNotMatch(hub.log, /198\.51\.100\.22/);
  });

  test('its own checks are its own', async () => {
    const text = await speak([proxyHeader(null), 'GET /healthz HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n']);
    assert.match(text, /^HTTP\/1\.1 \d+ /);
  });

  test('what does not begin so is closed, logged and counted; others need no header', async () => {
    const request = 'GET / HTTP/1.1\r\nHost: h\r\n\r\n';
    assert.equal(await speak([request]), '');
    assert.equal(await speak(['PROXY TCP4 198.51.100.7 127.0.0.1 54321 3000\r\n', request]), '');
    await hub.logged(/LISTEN-PROXY .*remote=127\.0\.9\.4/);
    assert.equal(await hub.metric('peal_proxy_headers_refused_total'), 2);
    assert.equal(await ask(hub.address.port, '127.0.0.30'), 401);
  });

  test('it is switched on and off by a reload, and needs to know whose connections', async () => {
    const own = await startHub({ config: config('off') });
    const reload = async (text) => {
      own.options.config = text;
      own.arguments(); // writes the file
      const lines = own.log.split(/RELOAD/).length;
      own.reload();
      await until(() => own.log.split(/RELOAD/).length > lines, 'it was loaded');
    };
    const front = await startPassage(own.address, { from: BALANCER });
    try {
      assert.equal(await ask(own.address.port, BALANCER), 401);
      await reload(config('on'));
      assert.equal(await ask(front.port, '127.0.0.40'), 401);
      await own.logged(/API-REFUSED .*remote="?127\.0\.0\.40"?/);
      await reload(config('on', ''));
      await own.logged(/listen\.proxy_protocol: listen\.trusted_proxies must say/);
      assert.equal(await ask(front.port, '127.0.0.41'), 401, 'as before');
    } finally {
      await front.stop();
      await own.stop();
    }
  });
});
