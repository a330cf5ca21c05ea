// SPDX-License-Identifier: Apache-2.0
// attacks_identity - origins, tokens, keys, and what one user tries to see of another.
import assert from 'node:assert/strict';
import { createHmac, createSign, generateKeyPairSync, randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { startHub } from './support/hub.mjs';
import { temporaryFolder } from './support/process.mjs';
import { ENGINE, RawPeer, frame, text, upgradeHead } from './support/raw.mjs';
import { FULL, PATIENT, Siege } from './support/siege.mjs';
import { makeToken, signToken } from './support/tokens.mjs';
import { until } from './support/wait.mjs';

const ALLOWED = 'https://app.example.com';
const NOW = () => Math.floor(Date.now() / 1000);
const folder = temporaryFolder('keys');
const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 });
const pem = rsa.publicKey.export({ type: 'spki', format: 'pem' });
writeFileSync(join(folder, 'rsa.pem'), pem);
const CONFIG = `
jwt_key "rsa" { algorithm = RS256 file = "${join(folder, 'rsa.pem')}" }
jwt_key "issued" { algorithm = HS256 secret = "${'s'.repeat(40)}" issuer = "https://good.example" }
`;

let siege;
let canary; // a server that tokens point to: nobody may ever ask it
let asked = 0;
before(async () => {
  canary = createServer((request, answer) => {
    asked += 1;
    answer.end('{"keys":[]}');
  });
  await new Promise((resolve) => canary.listen(0, '127.0.0.1', resolve));
  siege = await Siege.start({ config: CONFIG, flags: { origins: ALLOWED }, args: ['--auth-audience', '', '--limits-inbox-burst', '1000000'] });
});
after(async (context) => {
  canary.close();
  await siege.stop(context);
});

const claims = (more) => ({ sub: 'mallory', iat: NOW(), exp: NOW() + 3600, ...more });
const b64 = (value) => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url');

// What the hub says to a token: over Socket.IO the refusal, over /ws and the API the status.
async function present(token) {
  const peer = await RawPeer.upgrade(siege.address, ENGINE);
  await peer.saw(/^0\{/);
  peer.write(text(`40${JSON.stringify({ token })}`));
  const found = await peer.until(() => peer.texts().find((one) => /^4[04]\{/.test(one)) ?? (peer.over && 'closed'), 'an answer to CONNECT');
  peer.destroy();
  return found;
}

async function statusOf(head) {
  const peer = await RawPeer.open(siege.address);
  peer.write(head);
  const answer = await peer.answer();
  peer.destroy();
  return answer;
}

test('D1 and D2 origins', async () => {
  const rows = [
    [[], 101],
    [[ALLOWED], 101],
    ...['null', '', '*', 'http://app.example.com', 'https://app.example.com:444', 'https://app.example.com:443', 'https://other.example.com', 'https://app.example.com.evil.tld', 'https://evilapp.example.com', 'https://app.example.com@evil.tld', 'https://user@app.example.com', 'HTTPS://APP.EXAMPLE.COM', 'https://App.example.com', 'https://app.example.com.', 'https://app.example.com/', 'https://app.example.com/x', 'https://app.ex\u00e4mple.com', 'https://xn--app-exmple.com', 'https://app.example.com https://evil.tld', 'https://app.example.com\t', 'file://', 'chrome-extension://abc', 'app.example.com', '//app.example.com', 'https:app.example.com', 'https://%61pp.example.com', 'x'.repeat(3000)].map((origin) => [[origin], origin === 'https://app.example.com\t' ? 101 : 403]),
    // The Host of these requests is hub.example: clients that are no browsers may send it as their origin.
    ...['http://hub.example', 'https://hub.example', 'http://hub.example:80', 'https://hub.example:443'].map((origin) => [[origin], 101]),
    ...['http://hub.example.evil.tld', 'http://hub.example:443', 'https://hub.example:80', 'http://hub.example:8080', 'https://hub.example/', 'http://evil.tld@hub.example', 'ftp://hub.example', 'hub.example'].map((origin) => [[origin], 403]),
    [['http://hub.example', 'https://evil.tld'], 403],
    [[ALLOWED, 'https://evil.tld'], 403],
    [['https://evil.tld', ALLOWED], 403],
    [[ALLOWED, ALLOWED], 403],
    [['https://evil.tld', 'a', 'b', 'c', ALLOWED], 403],
  ];
  await siege.strike('D1', async () => {
    for (const [origins, expected] of rows) {
      const headers = origins.map((origin) => `Origin: ${origin}`);
      const what = origins.join(' and ').slice(0, 60);
      const engine = await statusOf(upgradeHead(ENGINE, { headers }));
      assert.equal(engine.status, expected, `Engine.IO, ${what}`);
      const protocol = `Sec-WebSocket-Protocol: peal.json.v1, peal.token.${siege.hub.token('mallory')}`;
      const plain = await statusOf(upgradeHead('/ws', { headers: [...headers, protocol] }));
      assert.equal(plain.status, expected, `/ws, ${what}`);
    }
    return 2 * rows.length;
  });
});

test('D3 and D4 cookies do not authenticate, origins are not echoed', async () => {
  await siege.strike('D3', async () => {
    const cookie = `Cookie: token=${siege.hub.token('alice')}; access_token=${siege.hub.token('alice')}; io=1`;
    const plain = await statusOf(upgradeHead('/ws', { headers: [cookie, 'Sec-WebSocket-Protocol: peal.json.v1'] }));
    assert.equal(plain.status, 401);
    const peer = await RawPeer.upgrade(siege.address, ENGINE, { headers: [cookie] });
    peer.write(text('40'));
    await peer.saw(/^44\{"message":"Authentication required"/);
    peer.destroy();
    for (const origin of ['https://evil.tld', 'null', ALLOWED]) {
      for (const [method, target] of [['GET', '/socket.io/?EIO=4&transport=polling'], ['OPTIONS', '/socket.io/?EIO=4&transport=polling'], ['GET', '/api/v1/presence/count'], ['OPTIONS', '/api/v1/notifications']]) {
        const { headers, status } = await statusOf(`${method} ${target} HTTP/1.1\r\nHost: h\r\nOrigin: ${origin}\r\nAccess-Control-Request-Method: POST\r\n\r\n`);
        const echoed = headers['access-control-allow-origin'];
        assert.ok(echoed === undefined || (echoed === ALLOWED && origin === ALLOWED), `${method} ${target} ${origin}: ${status} ${echoed}`);
      }
    }
    return 14;
  });
});

const rs256 = (header, body) => {
  const content = `${b64(header)}.${b64(body)}`;
  return `${content}.${createSign('RSA-SHA256').update(content).sign(rsa.privateKey, 'base64url')}`;
};
const hs256 = (header, body, secret) => {
  const content = `${b64(header)}.${b64(body)}`;
  return `${content}.${createHmac('sha256', secret).update(content).digest('base64url')}`;
};

function badTokens() {
  const { secret } = siege.hub;
  const url = `http://127.0.0.1:${canary.address().port}/jwks.json`;
  const good = makeToken('mallory', secret);
  const [head, body, mac] = good.split('.');
  const header = (more) => ({ alg: 'HS256', typ: 'JWT', ...more });
  const flipped = `${mac.slice(0, 5)}${mac[5] === 'A' ? 'B' : 'A'}${mac.slice(6)}`;
  return {
    'another secret': makeToken('mallory', 'x'.repeat(32)),
    'an empty secret': signToken(claims(), ''),
    'no signature': `${head}.${body}.`,
    'no third part': `${head}.${body}`,
    'four parts': `${good}.x`,
    'signature cut': `${head}.${body}.${mac.slice(0, -4)}`,
    'signature longer': `${good}AAAA`,
    'one bit of the signature': `${head}.${body}.${flipped}`,
    'claims changed': `${head}.${b64(claims({ sub: 'admin' }))}.${mac}`,
    'padding': `${good}=`,
    'blank inside': `${head}. ${body}.${mac}`,
    'alg none': `${b64({ alg: 'none' })}.${b64(claims())}.`,
    'alg None': `${b64({ alg: 'None' })}.${b64(claims())}.${mac}`,
    'alg missing': hs256({ typ: 'JWT' }, claims(), secret),
    'alg HS512': hs256(header({ alg: 'HS512' }), claims(), secret),
    'alg in lower case': hs256(header({ alg: 'hs256' }), claims(), secret),
    'alg a number': hs256(header({ alg: 256 }), claims(), secret),
    'alg a list': hs256(header({ alg: ['HS256'] }), claims(), secret),
    'alg twice': hs256('{"alg":"none","alg":"HS256"}', claims(), `${secret}x`),
    'RSA key as the secret, kid': hs256(header({ kid: 'rsa' }), claims(), pem),
    'RSA key as the secret': hs256(header(), claims(), pem),
    'RS256 without kid of the key': rs256({ alg: 'RS256', kid: 'issued' }, claims()),
    'RS256 alg with HMAC': hs256({ alg: 'RS256', kid: 'rsa' }, claims(), pem),
    'unknown crit': hs256(header({ crit: ['exp2'], exp2: 1 }), claims(), secret),
    'empty crit': hs256(header({ crit: [] }), claims(), secret),
    'kid a path': hs256(header({ kid: '../../../../dev/null' }), claims(), ''),
    'kid a longer path': hs256(header({ kid: '/proc/sys/kernel/randomize_va_space' }), claims(), '2\n'),
    'kid SQL': hs256(header({ kid: "' UNION SELECT 'x' --" }), claims(), 'x'),
    'kid NUL': hs256(header({ kid: 'rsa\0x' }), claims(), pem),
    'kid long': hs256(header({ kid: 'k'.repeat(2000) }), claims(), 'x'),
    'jku': hs256(header({ jku: url, kid: 'x' }), claims(), 'x'),
    'x5u': hs256(header({ x5u: url }), claims(), 'x'),
    'jwk in the header': hs256(header({ jwk: { kty: 'oct', k: b64('x') } }), claims(), 'x'),
    'encrypted': hs256(header({ alg: 'dir', enc: 'A256GCM' }), claims(), secret),
    'issuer that points elsewhere': hs256(header({ kid: 'issued' }), claims({ iss: url }), 's'.repeat(40)),
    'no issuer for a bound key': hs256(header({ kid: 'issued' }), claims(), 's'.repeat(40)),
    'wrong issuer for a bound key': hs256(header({ kid: 'issued' }), claims({ iss: 'https://evil.example' }), 's'.repeat(40)),
    'not yet valid': signToken(claims({ nbf: NOW() + 600 }), secret),
    'no exp': signToken({ sub: 'mallory' }, secret),
    'exp a string': signToken(claims({ exp: '9999999999' }), secret),
    'exp NaN': hs256(header(), '{"sub":"mallory","exp":1e999}', secret),
    'exp negative': signToken(claims({ exp: -1 }), secret),
    'no sub': signToken({ exp: NOW() + 60 }, secret),
    'sub empty': signToken(claims({ sub: '' }), secret),
    'sub with a slash': signToken(claims({ sub: 'a/b' }), secret),
    'sub with a control character': signToken(claims({ sub: 'a\nb' }), secret),
    'sub with NUL': signToken(claims({ sub: 'alice\0' }), secret),
    'sub of 129 bytes': signToken(claims({ sub: 's'.repeat(129) }), secret),
    'sub a number': signToken(claims({ sub: { $ne: 1 } }), secret),
    'sub a list': signToken(claims({ sub: ['alice'] }), secret),
    'claims a list': hs256(header(), '[]', secret),
    'claims null': hs256(header(), 'null', secret),
    'claims cut': hs256(header(), '{"sub":"mallory"', secret),
    'claims nested': hs256(header(), `{"sub":"mallory","exp":${NOW() + 60},"x":${'['.repeat(1000)}${']'.repeat(1000)}}`, secret),
    'claims not UTF-8': hs256(header(), Buffer.from('{"sub":"\xff"}', 'latin1').toString('latin1'), secret),
    'header not JSON': hs256('x', claims(), secret),
    'header empty': `.${body}.${mac}`,
    'only dots': '..',
    'very long': 'a'.repeat(3500),
    'words': 'Bearer x',
  };
}

test('D5 to D8 tokens that are not good', async () => {
  const tokens = Object.entries(badTokens());
  await siege.strike('D5', async () => {
    for (const [what, token] of tokens) {
      assert.equal(await present(token), '44{"message":"Invalid token"}', what);
      if (/[^\x21-\x7e]/.test(token)) continue; // does not fit into a header
      const { status, head, body } = await statusOf(upgradeHead('/ws', { headers: ['Sec-WebSocket-Protocol: peal.json.v1', `Authorization: Bearer ${token}`] }));
      assert.ok([401, 400, 429].includes(status), `${what}: ${status}`);
      if (token.length > 10) assert.ok(!`${head}${body}`.includes(token), `${what}: shown`);
      const api = await statusOf(`GET /api/v1/users/mallory/notifications HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer ${token}\r\n\r\n`);
      assert.ok([401, 400, 429].includes(api.status), `${what}: API ${api.status}`);
    }
    return 3 * tokens.length;
  }, { raised: 'peal_tokens_refused_total' });
  assert.equal(asked, 0, 'a token made the hub ask somebody');
  for (const [what, token] of tokens) if (token.length > 20) assert.ok(!siege.hub.log.includes(token.slice(0, 200)), `${what} is in the log`);
});

test('D5 expired is told only to those whose signature is good', async () => {
  await siege.strike('D5 expired', async () => {
    const old = { iat: NOW() - 100, exp: NOW() - 1 };
    const expired = await present(signToken({ sub: 'mallory', ...old }, siege.hub.secret));
    assert.equal(expired, '44{"message":"Invalid token","data":{"code":"token_expired"}}');
    assert.equal(await present(signToken({ sub: 'mallory', ...old }, 'x'.repeat(32))), '44{"message":"Invalid token"}');
    assert.equal(await present(undefined), '44{"message":"Authentication required"}');
    return 3;
  });
});

test('D6 good tokens of each key are good', async () => {
  assert.match(await present(rs256({ alg: 'RS256', kid: 'rsa' }, claims())), /^40\{/);
  assert.match(await present(hs256({ alg: 'HS256', kid: 'issued' }, claims({ iss: 'https://good.example' }), 's'.repeat(40))), /^40\{/);
});

test('D6b a token of a public key is verified once, whichever shard its user lives on', async () => {
  const hub = await startHub({ config: CONFIG, args: ['--shards', '4', '--auth-audience', ''] });
  try {
    const users = Array.from({ length: 12 }, (_, i) => `user${i}`);
    for (const user of users) {
      const token = rs256({ alg: 'RS256', kid: 'rsa' }, claims({ sub: user }));
      const peer = await RawPeer.upgrade(hub.address, ENGINE);
      await peer.saw(/^0\{/);
      peer.write(text(`40${JSON.stringify({ token })}`));
      await peer.saw(/^40\{/);
    }
    assert.equal(await hub.metric('peal_tokens_verified_total'), users.length, 'over Socket.IO');
    for (const user of users) {
      const token = rs256({ alg: 'RS256', kid: 'rsa' }, claims({ sub: user, jti: 'plain' }));
      const peer = await RawPeer.upgrade(hub.address, '/ws', { headers: ['Sec-WebSocket-Protocol: peal.json.v1', `Authorization: Bearer ${token}`] });
      await peer.saw(/hub:ready/);
    }
    assert.equal(await hub.metric('peal_tokens_verified_total'), 2 * users.length, 'over /ws');
  } finally {
    await hub.stop();
  }
});

test('D10 a token in the address is neither used nor shown', async () => {
  await siege.strike('D10', async () => {
    const token = siege.hub.token('alice');
    const peer = await RawPeer.upgrade(siege.address, `${ENGINE}&token=${token}`);
    peer.write(text('40'));
    await peer.saw(/^44\{"message":"Authentication required"/);
    peer.destroy();
    const plain = await statusOf(upgradeHead(`/ws?token=${token}`, { headers: ['Sec-WebSocket-Protocol: peal.json.v1'] }));
    assert.equal(plain.status, 401);
    const missing = await statusOf(`GET /nowhere?token=${token} HTTP/1.1\r\nHost: h\r\n\r\n`);
    assert.equal(missing.status, 404);
    assert.ok(!missing.body.includes(token) && !plain.body.includes(token));
    assert.ok(!siege.hub.log.includes(token));
    return 3;
  });
});

test('D11 a token that expires ends the connection, another user\'s does not extend it', async () => {
  await siege.strike('D11', async () => {
    const short = siege.hub.token('mallory', { exp: NOW() + 2 });
    const peer = await RawPeer.socketIo(siege.address, short);
    const plain = await RawPeer.plain(siege.address, short);
    const refresh = (token) => `421["auth:refresh",{"token":${JSON.stringify(token)}}]`;
    peer.write(text(refresh(siege.hub.token('alice'))));
    await peer.saw(/^431\[\{"ok":false,"error":"forbidden"/);
    peer.write(text(refresh('x').replace('421', '422')));
    await peer.saw(/^432\[\{"ok":false,"error":"unauthorized"/);
    assert.equal(await plain.end(), 4401);
    await peer.saw(/"hub:closing",\{"code":4401/);
    await peer.saw(/^41$/);
    peer.write(text('40'));
    await peer.saw(/^44\{/);
    peer.destroy();
    plain.destroy();
    return 4;
  }, { raised: 'peal_closed_total{reason="unauthorized"}' });
});

// Socket.IO events of mallory, each with an answer.
async function askAs(peer, id, event, argument) {
  peer.write(text(`42${id}${JSON.stringify([event, argument])}`));
  const found = await peer.saw(new RegExp(`^43${id}\\[`), `an answer to ${event}`);
  return JSON.parse(found.slice(`43${id}`.length))[0];
}

test('D12 what belongs to another user stays hers', async () => {
  const { body } = await siege.hub.api('POST', '/api/v1/notifications', { user: 'alice', type: 'note', title: 'secret-of-alice', message: 'm', key: 'd12' });
  const aliceState = async () => {
    const { body: page } = await siege.hub.api('GET', '/api/v1/users/alice/notifications');
    return JSON.stringify(page.items?.map(({ id, isRead }) => [id, isRead]));
  };
  // The key of the tests only publishes and reads.
  const was = await aliceState();
  await siege.strike('D12', async () => {
    const peer = await RawPeer.socketIo(siege.address, siege.hub.token('mallory'));
    let id = 100;
    const ids = [body.id, [body.id], { ids: [body.id] }, { id: body.id }, body.id?.toUpperCase(), `${body.id}' OR '1'='1`, '00000000-0000-0000-0000-000000000000', 1, -1, 2 ** 63, null, '', Array(501).fill(body.id), { upTo: 2 ** 53 }, { upTo: -1 }, { upTo: '1; DROP TABLE notifications' }];
    for (const event of ['notification:read', 'notification:seen', 'notification:archive']) {
      for (const argument of ids) await askAs(peer, id++, event, argument);
    }
    await askAs(peer, id++, 'notification:read_all', { userId: 'alice', user: 'alice' });
    for (const argument of [{ userId: 'alice' }, { user: 'alice' }, { after: -1 }, { after: '0' }, { after: "1' OR 1=1" }, { limit: 10_000 }, { state: "x'" }, { type: "' OR 1=1 --" }]) {
      const answer = await askAs(peer, id++, 'notification:list', argument);
      assert.doesNotMatch(JSON.stringify(answer), /secret-of-alice/);
    }
    for (const rev of [0, 1, -1, 2 ** 53, '9223372036854775808']) {
      for (const epoch of [undefined, '', 'x', siege.epoch]) {
        const answer = await askAs(peer, id++, 'notification:sync', { epoch, rev, userId: 'alice' });
        assert.doesNotMatch(JSON.stringify(answer), /secret-of-alice/);
      }
    }
    for (const room of ['user:alice', 'admin', 'admin:x', 'tenant:x', 'company:x', 'project:1', 'customer:alice', 'x', '', '/', 'a/b', 'a\u0000b', 'r'.repeat(201), 'public\n', '*', 'public*']) {
      const answer = await askAs(peer, id++, 'join_room', { roomId: room, roomType: 'public' });
      assert.equal(answer.ok, false, `joined ${JSON.stringify(room)}`);
      const said = await askAs(peer, id++, 'send_message', { roomId: room, message: 'm' });
      assert.equal(said.ok, false, `spoke in ${JSON.stringify(room)}`);
    }
    const token = siege.hub.token('mallory');
    for (const target of ['/api/v1/users/alice/notifications', '/api/v1/users/alice/notifications/unread', '/api/v1/users/%61lice/notifications/unread', `/api/v1/notifications/${body.id}`, '/api/v1/presence/count', '/api/v1/rooms/user%3aalice/members', '/api/ws/stats', '/api/diagnostics/query-stats', '/api/diagnostics/slow-queries', '/api/v1/alerts']) {
      const { status, body: shown } = await statusOf(`GET ${target} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer ${token}\r\n\r\n`);
      assert.ok([401, 403, 404].includes(status), `${target}: ${status}`);
      assert.doesNotMatch(shown, /secret-of-alice/);
    }
    // Users may ask who is online: of her, who is, it is told what is told of anybody whom one may not see.
    const alice = await RawPeer.socketIo(siege.address, siege.hub.token('alice'));
    for (const user of ['alice', 'nobody-at-all']) {
      const { status, body: shown } = await statusOf(`GET /api/v1/users/${user}/presence HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer ${token}\r\n\r\n`);
      assert.deepEqual([status, JSON.parse(shown.slice(shown.indexOf('{'))).online], [200, false]);
      assert.doesNotMatch(shown, /node|connections/);
    }
    alice.destroy();
    peer.destroy();
    return id - 100 + 11;
  });
  assert.equal(await aliceState(), was);
});

test('D13 session ids do not repeat', async () => {
  const count = FULL ? 20_000 : 500;
  await siege.strike('D13', async () => {
    const sids = new Set();
    for (let n = 0; n < count; n += 50) {
      await Promise.all(Array.from({ length: 50 }, async () => {
        const peer = await RawPeer.upgrade(siege.address, ENGINE);
        const { sid } = JSON.parse((await peer.saw(/^0\{/)).slice(1));
        assert.ok(sid.length >= 20, sid);
        sids.add(sid);
        peer.write(frame(8));
        await peer.end();
        peer.destroy();
      }));
    }
    assert.equal(sids.size, count);
    return count;
  });
});

test('D15 keys that are not good, and events only backends may send', async () => {
  await siege.strike('D15', async () => {
    const body = '{"user":"alice","type":"x","title":"t","message":"m"}';
    const { apiKey } = siege.hub;
    const rows = ['', 'Bearer', 'Bearer ', 'Bearer x', `Bearer ${apiKey}x`, `Bearer ${apiKey.slice(0, -1)}`, `Bearer  ${apiKey} x`, `Basic ${apiKey}`, apiKey, `Bearer ${apiKey}\0`, `Bearer ${'x'.repeat(2000)}`, `Bearer ${siege.hub.token('alice')}`, `Bearer ${siege.hub.token('alice', { role: 'admin' })}`];
    for (const row of rows) {
      for (const [method, target] of [['POST', '/api/v1/notifications'], ['POST', '/api/v1/events'], ['POST', '/api/v1/users/alice/disconnect'], ['GET', '/api/v1/users/alice/notifications']]) {
        const { status } = await statusOf(`${method} ${target} HTTP/1.1\r\nHost: h\r\n${row ? `Authorization: ${row}\r\n` : ''}${method === 'POST' ? `Content-Length: ${body.length}\r\n\r\n${body}` : '\r\n'}`);
        const own = method === 'GET' && /Bearer ey/.test(row) ? [200] : [];
        assert.ok([400, 401, 403, 404, 429, ...own].includes(status), `${row.slice(0, 30)} ${target}: ${status}`);
      }
    }
    const peer = await RawPeer.socketIo(siege.address, siege.hub.token('mallory'));
    let id = 1;
    for (const event of ['notification', 'notification:state', 'unread', 'hub:ready', 'hub:closing', 'system:alert', 'task_progress', 'publish', 'broadcast', 'admin']) {
      const answer = await askAs(peer, id++, event, { userId: 'alice' });
      assert.equal(answer.ok, false, event);
    }
    peer.destroy();
    return 4 * rows.length + 10;
  });
});

test('D17 text of every kind arrives byte for byte, the log stays clean', async () => {
  const texts = ['<script>alert(1)</script>', '\u202eevil\u202c', '\u0000\u0001\u001b[31m', '\r\nX-Evil: 1\r\n', '%s%n', '\u{1f600}'.repeat(50), '"\\', '\ud83d\ude00 \u2028\u2029', "'; DROP TABLE notifications; --"];
  await siege.strike('D17', async () => {
    const client = await siege.hub.plain('reader');
    await client.next('hub:ready');
    for (const [n, title] of texts.entries()) {
      const { status, body } = await siege.hub.api('POST', '/api/v1/notifications', { user: 'reader', type: 'note', title, message: title, data: { [title]: title }, key: `d17-${n}` });
      if (status === 422) continue; // refused as a whole is as good
      assert.equal(status, 201, JSON.stringify(body));
      const got = await client.next('notification', ({ id }) => id === body.id);
      assert.equal(got.title, title);
      assert.equal(got.message, title);
      assert.deepEqual(got.data, { [title]: title });
    }
    for (const [field, value] of [['title', 'x'.repeat(501)], ['title', 'x'.repeat(900_000)], ['message', 'x'.repeat(20_000)], ['data', { x: 'x'.repeat(70_000) }], ['user', 'u'.repeat(129)], ['user', 'a/b'], ['user', ''], ['type', ''], ['type', 'x'.repeat(10_000)], ['priority', 'x'], ['key', 'k'.repeat(10_000)], ['expires_at', 'never']]) {
      const { status } = await siege.hub.api('POST', '/api/v1/notifications', { user: 'reader', type: 'note', title: 't', message: 'm', [field]: value });
      assert.ok([400, 413, 422].includes(status), `${field} ${JSON.stringify(value).slice(0, 20)}: ${status}`);
    }
    client.cut();
    siege.hub.sockets.delete(client);
    return texts.length + 12;
  });
  assert.doesNotMatch(siege.hub.log, /[\0-\x08\x0b-\x1f]/);
});

test('D16 wrong tokens from one address are slowed down, good ones are not', async () => {
  const count = FULL ? 10_000 : 1500;
  const own = await Siege.start({ flags: { ...PATIENT, 'limits-refusals-per-minute': '60' } });
  try {
    await own.strike('D16', async () => {
      let limited = 0;
      let refused = 0;
      for (let n = 0; n < count; n += 50) {
        await Promise.all(Array.from({ length: 50 }, async () => {
          const peer = await RawPeer.open(own.address);
          peer.write(upgradeHead('/ws', { headers: ['Sec-WebSocket-Protocol: peal.json.v1', `Authorization: Bearer ${makeToken('x', randomBytes(8).toString('hex'))}`] }));
          const { status } = await peer.answer();
          if (status === 429) limited += 1;
          if (status === 401) refused += 1;
          peer.destroy();
        }));
      }
      assert.equal(limited + refused, count);
      assert.ok(limited > 0, 'nothing was limited');
      assert.ok(refused < count / 2, `${refused} of ${count} were looked at`);
      const peer = await RawPeer.plain(own.address, own.hub.token('mallory'));
      for (let n = 0; n < 200; n++) peer.write(text('[[1,"auth:refresh",{"token":"a.b.c"}]]'));
      assert.equal(await peer.end(), 4429);
      await until(async () => (await RawPeer.plain(own.address, own.hub.token('alice'))).destroy() ?? true, 'a good token gets in');
      return count + 200;
    }, { raised: ['peal_rate_limited_total', 'peal_closed_total{reason="too_many"}'] });
  } finally {
    siege.inputs += own.inputs;
    await own.stop();
  }
});
