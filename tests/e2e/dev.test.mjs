// SPDX-License-Identifier: Apache-2.0
// Development mode hands out tokens: only to this machine, and not to pages of other sites that a
// browser here has open.
import assert from 'node:assert/strict';
import { request } from 'node:http';
import { after, before, describe, test } from 'node:test';
import { startHub } from './support/hub.mjs';
import { until } from './support/wait.mjs';

// The status and text of an answer to a request with exactly these headers.
function exchange(address, method, path, headers, body) {
  return new Promise((resolve, reject) => {
    const call = request({ host: address.host, port: address.port, method, path, headers, agent: false }, (answer) => {
      let text = '';
      answer.setEncoding('utf8').on('data', (piece) => { text += piece; });
      answer.on('end', () => resolve({ status: answer.statusCode, text }));
    });
    call.on('error', reject);
    call.end(body);
  });
}

const ask = async (...how) => (await exchange(...how)).status;

// What a refusal says: its code, the header at fault, and what is allowed.
async function assertTold(address, headers, field, allowed) {
  const { status, text } = await exchange(address, 'GET', '/dev/token?user=eve', headers);
  const { error } = JSON.parse(text);
  assert.deepEqual([status, error.code, error.field], [403, 'forbidden', field], text);
  assert.match(error.message, allowed);
}

describe('who is answered in development', () => {
  let hub;
  before(async () => {
    hub = await startHub({ args: ['--dev'], config: 'origins = {"https://app.example"}' });
  });
  after(() => hub?.stop());

  test('a name that was rebound to this machine is not', async () => {
    const token = (host, more) => ask(hub.address, 'GET', '/dev/token?user=eve', { host, ...more });
    const { port } = hub.address;
    for (const host of ['localhost', `localhost:${port}`, `127.0.0.1:${port}`, '[::1]', 'app.localhost:1']) {
      assert.equal(await token(host), 200, host);
    }
    for (const host of ['evil.example', `evil.example:${port}`, '127.0.0.1.evil.example', 'localhost.evil.example', '10.0.0.1']) {
      for (const path of ['/', '/dev/token?user=eve', '/peal.js', '/nowhere', '/socket.io/?EIO=4&transport=polling']) {
        assert.equal(await ask(hub.address, 'GET', path, { host }), 403, `${host} ${path}`);
      }
      assert.equal(await ask(hub.internal, 'GET', '/metrics', { host }), 403, `${host} /metrics`);
    }
    await assertTold(hub.address, { host: 'evil.example' }, 'Host', /--dev.*localhost/);
    await until(() => / warn DEV-REFUSED .*host="evil\.example"/.test(hub.log), 'the log says so');
  });

  test('a page of another site is not, whatever it sends without a preflight', async () => {
    const body = JSON.stringify({ user: 'alice', type: 'test', title: 'forged' });
    const post = (headers) =>
      ask(hub.address, 'POST', '/dev/notifications', { host: 'localhost', 'content-length': body.length, ...headers }, body);
    for (const origin of ['https://evil.example', 'null', 'http://localhost.evil.example', 'file://']) {
      assert.equal(await post({ origin, 'content-type': 'text/plain' }), 403, origin);
      assert.equal(await post({ origin, 'content-type': 'application/json' }), 403, origin);
      assert.equal(await ask(hub.address, 'GET', '/dev/token?user=eve', { host: 'localhost', origin }), 403, origin);
    }
    await assertTold(hub.address, { host: 'localhost', origin: 'https://evil.example' }, 'Origin', /--dev.*origins/);
    for (const origin of [undefined, 'http://localhost:5173', 'http://127.0.0.1', 'https://app.example']) {
      assert.equal(await post({ ...(origin && { origin }), 'content-type': 'application/json' }), 201, String(origin));
    }
  });
});
