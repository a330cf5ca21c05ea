// SPDX-License-Identifier: Apache-2.0
// attacks_http - hostile requests and upgrades: each is refused as it should be, and harms nobody.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, test } from 'node:test';
import { ENGINE, RawPeer, upgradeHead } from './support/raw.mjs';
import { FULL, Siege } from './support/siege.mjs';
import { until } from './support/wait.mjs';

let siege;
before(async () => {
  siege = await Siege.start();
});
after((context) => siege.stop(context));

const up = (headers, options = {}) => upgradeHead(ENGINE, { headers, ...options });
const get = (target, headers = []) =>
  `GET ${target} HTTP/1.1\r\n${['Host: hub.example', ...headers].map((row) => `${row}\r\n`).join('')}\r\n`;
const post = (headers, body = '') =>
  `POST /api/v1/notifications HTTP/1.1\r\nHost: hub.example\r\n${headers.map((row) => `${row}\r\n`).join('')}\r\n${body}`;
const key = (value, without = ['Sec-WebSocket-Key']) => up([`Sec-WebSocket-Key:${value}`], { without });
const many = (count, row = (n) => `X-H${n}: v`) => Array.from({ length: count }, (_, n) => row(n));
const protocols = (value) => upgradeHead('/ws', { headers: [`Sec-WebSocket-Protocol: ${value}`] });
const extensions = (value) => up([`Sec-WebSocket-Extensions: ${value}`]);

const ok = { status: 101 };
const bad = { status: 400 };

// [what, bytes, {status: number or list}]; `open`: the connection may stay open.
const A = {
  'A1 upgrades that are good': [
    ['upper case token', up([], {}).replace('Upgrade: websocket', 'Upgrade: WebSocket'), ok],
    ['list in Connection', up([]).replace('Connection: Upgrade', 'Connection: keep-alive, Upgrade'), ok],
    ['mixed case names', up([]).replace('Sec-WebSocket-Key', 'sEC-wEBsOCKET-kEY').replace('Host', 'HOST'), ok],
    ['blanks around values', up([]).replace('Upgrade: websocket', 'Upgrade: \t websocket \t'), ok],
  ],
  'A2 method, version, host': [
    ['POST', up([], { method: 'POST' }), { status: [400, 405] }],
    ['TRACE', up([], { method: 'TRACE' }), { status: [400, 405, 501] }],
    ['unknown method', up([], { method: 'BREW' }), { status: [400, 405, 501] }],
    ['HTTP/1.0', up([], { version: 'HTTP/1.0' }), { status: [400, 505, 426] }],
    ['HTTP/0.9', 'GET /\r\n\r\n', { status: [400, 505] }],
    ['HTTP/2.0', up([], { version: 'HTTP/2.0' }), { status: [400, 505] }],
    ['http/1.1', up([], { version: 'http/1.1' }), bad],
    ['no Host', up([], { without: ['Host'] }), bad],
    ['two Hosts', up(['Host: other.example']), bad],
    ['absolute form, other host', upgradeHead(`http://other.example${ENGINE}`), { status: [400, 404] }],
    ['authority form', upgradeHead('hub.example:80'), { status: [400, 404] }],
    ['asterisk form', upgradeHead('*'), { status: [400, 404] }],
  ],
  'A3 Sec-WebSocket-Version': [
    ...[8, 12, 14, 0, 255].map((version) => [
      `version ${version}`,
      up([`Sec-WebSocket-Version: ${version}`], { without: ['Sec-WebSocket-Version'] }),
      { status: 426, headers: { 'sec-websocket-version': '13' } },
    ]),
    ['absent', up([], { without: ['Sec-WebSocket-Version'] }), { status: [400, 426] }],
    ['13, 13', up(['Sec-WebSocket-Version: 13, 13'], { without: ['Sec-WebSocket-Version'] }), { status: [400, 426] }],
    ['twice', up(['Sec-WebSocket-Version: 13']), { status: [400, 426] }],
    ['text', up(['Sec-WebSocket-Version: x'], { without: ['Sec-WebSocket-Version'] }), { status: [400, 426] }],
  ],
  'A4 Sec-WebSocket-Key': [
    ['absent', up([], { without: ['Sec-WebSocket-Key'] }), bad],
    ['twice', up([`Sec-WebSocket-Key: ${randomBytes(16).toString('base64')}`]), bad],
    ['15 bytes', key(` ${randomBytes(15).toString('base64')}`), bad],
    ['17 bytes', key(` ${randomBytes(17).toString('base64')}`), bad],
    ['not base64', key(' !!!!!!!!!!!!!!!!!!!!!!=='), bad],
    ['blank inside', key(' AAAAAAAAAAA AAAAAAAAAAA=='), bad],
    ['empty', key(''), bad],
    ['stray bits', key(' AAAAAAAAAAAAAAAAAAAAAB=='), { status: [101, 400] }],
    ['4 KiB', key(` ${'A'.repeat(4096)}`), bad],
  ],
  'A5 names of headers': [
    ['space before colon', up(['X-A : 1']), bad],
    ['tab before colon', up(['X-A\t: 1']), bad],
    ['NUL', up(['X-\0A: 1']), bad],
    ['DEL', up(['X-\x7fA: 1']), bad],
    ['high byte', up(['X-\xc3\xa4: 1']), bad],
    ['empty', up([': 1']), bad],
    ['no colon', up(['nonsense']), bad],
    ['blank first', up([' X-A: 1']), bad],
  ],
  'A6 lines': [
    ['folded', up(['X-A: 1\r\n 2']), bad],
    ['folded with a tab', up(['X-A: 1\r\n\t2']), bad],
    ['bare LF', up(['X-A: 1\nX-B: 2']), bad],
    ['bare LF throughout', up([]).replaceAll('\r\n', '\n'), bad],
    ['bare CR', up(['X-A: 1\rX-B: 2']), bad],
    ['NUL in a value', up(['X-A: 1\x002']), bad],
    ['control byte in a value', up(['X-A: 1\x012']), bad],
    ['CR CR LF', up(['X-A: 1\r']), bad],
  ],
  'A7 length of a body': [
    ['length and chunked', post(['Content-Length: 5', 'Transfer-Encoding: chunked'], '0\r\n\r\n'), bad],
    ['two lengths', post(['Content-Length: 5', 'Content-Length: 6'], 'abcdef'), bad],
    ['list of lengths', post(['Content-Length: 5, 6'], 'abcdef'), bad],
    ...['+5', '-5', '0x5', '5 5', '', '5;', '1'.repeat(20), '18446744073709551621', '5.0', '1e1'].map((value) => [
      `length ${value || 'empty'}`,
      post([`Content-Length: ${value}`], 'abcde'),
      { status: [400, 413] },
    ]),
    ...['gzip', 'chunked, chunked', 'xchunked', 'identity', 'chunked\x0b', 'gzip, chunked', ' chunked;q=1'].map((value) => [
      `Transfer-Encoding ${JSON.stringify(value)}`,
      post([`Transfer-Encoding: ${value}`], '0\r\n\r\n'),
      { status: [400, 501] },
    ]),
    ['Transfer-Encoding twice', post(['Transfer-Encoding: chunked', 'Transfer-Encoding: identity'], '0\r\n\r\n'), { status: [400, 501] }],
    ['chunked in HTTP/1.0', post(['Transfer-Encoding: chunked'], '0\r\n\r\n').replace('HTTP/1.1', 'HTTP/1.0'), { status: [400, 505] }],
  ],
  'A9 number of headers': [
    ['65', up(many(65)), { status: 431 }],
    ['2,500 short ones', up(many(2500, () => 'a:b')), { status: 431 }],
    ['100,000', up(many(100_000, () => 'a:b')), { status: 431 }],
  ],
  'A10 length of the head': [
    ['one header of 64 KiB', up([`X-A: ${'a'.repeat(65_536)}`]), { status: 431 }],
    ['one name of 64 KiB', up([`${'a'.repeat(65_536)}: 1`]), { status: 431 }],
    ['request line of 1 MiB', get(`/${'a'.repeat(1 << 20)}`), { status: [414, 431] }],
    ['request line without end', `GET /${'a'.repeat(100_000)}`, { status: [414, 431] }],
    ['method without end', 'A'.repeat(100_000), { status: [400, 414, 431, 501] }],
    ['CR LF without end', '\r\n'.repeat(50_000), { status: [400, 431] }],
  ],
  'A12 lists of 8 KiB': [
    ...[' ', ',', '"', '"\\', ', ,', 'a,', 'a;', ';', '=', 'a;b="', '\t'].flatMap((piece) => {
      const value = piece.repeat(7000 / piece.length);
      return [
        [`protocol of ${JSON.stringify(piece)}`, protocols(value), { status: [400, 431] }],
        [`extension of ${JSON.stringify(piece)}`, extensions(value), { status: [101, 400, 431] }],
      ];
    }),
  ],
  'A13 protocols and extensions': [
    ['non-ASCII protocol', protocols('p\xe9al.json.v1'), bad],
    ['empty protocol', protocols(''), bad],
    ['unknown protocol', protocols('evil'), bad],
    ['protocol with blanks', protocols('peal json v1'), bad],
    ['doubled protocol', protocols('peal.json.v1, peal.json.v1'), { status: [400, 401] }],
    ['unknown extension', extensions('x-evil'), { status: 101, lacks: /evil/i }],
    ['unbalanced quotes', extensions('a; b="c'), { status: [101, 400] }],
    ['protocols on Engine.IO: the first, as stock servers', up(['Sec-WebSocket-Protocol: chat.v2, chat.v1']),
      { status: 101, headers: { 'sec-websocket-protocol': 'chat.v2' } }],
    ['protocol on Engine.IO that is none', up(['Sec-WebSocket-Protocol: chat v2']), bad],
  ],
  'A14 injection': [
    ['query', upgradeHead(`${ENGINE}&x=%0d%0aX-Evil:%201`), { status: [101, 400], lacks: /evil/i }],
    ['path', get('/%0d%0aX-Evil:%201'), { status: [400, 404], lacks: /evil/i }],
    ['API path', get('/api/v1/users/%0d%0aX-Evil:%201/presence'), { status: [400, 401, 404], lacks: /evil/i }],
    ['protocol', protocols('peal.json.v1%0d%0aX-Evil: 1'), { status: 400, lacks: /evil/i }],
    ['Origin', up(['Origin: http://a%0d%0aX-Evil:1']), { status: [101, 403], lacks: /evil/i }],
    ['Idempotency-Key', post(['Idempotency-Key: %0d%0aX-Evil: 1', 'Content-Length: 2'], '{}'), { status: 401, lacks: /evil/i }],
  ],
  'A15 other protocols': [
    ['TLS hello', Buffer.concat([Buffer.from('1603010200010001fc0303', 'hex'), randomBytes(400)]), bad],
    ['HTTP/2 preface', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0', { status: [400, 505] }],
    ['Redis', '*1\r\n$4\r\nPING\r\n', { status: [400, 408] }],
    ['SMTP', 'EHLO evil\r\n', { status: [400, 408] }],
    ['PROXY', 'PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\nGET / HTTP/1.1\r\n\r\n', bad],
    ['zeros', Buffer.alloc(9000), { status: [400, 431] }],
  ],
  'A16 targets': [
    ...['/..', '/../../etc/passwd', '/%00', '/%2f', '/socket.io/../api', '/\xc0\xaf', '/%c0%af', '//', '/socket.io', '/ws/', '/%', '/api/v1/users/%', '/api/v1/users/%zz/unread', '/.%2e/', '/demo/../..'].map((target) => [
      `target ${JSON.stringify(target)}`,
      get(target),
      { status: [400, 401, 404, 405] }, // 405: what a GET is not for is not looked at
    ]),
    ['10,000 parameters', get(`/socket.io/?${'a&'.repeat(3900)}`), bad],
    ['fragment', get('/socket.io/?EIO=4#x'), { status: [400] }],
    ['control byte', get('/\x01'), bad],
    ['high byte', get('/\xff'), { status: [400, 404] }],
    ['doubled EIO', upgradeHead('/socket.io/?EIO=3&EIO=4&transport=websocket'), { status: [101, 400] }],
    ['doubled sid', upgradeHead(`${ENGINE}&sid=a&sid=b`), bad],
  ],
  'A17 parameters of Engine.IO': [
    ...['EIO=3&transport=websocket', 'EIO=abc&transport=websocket', 'transport=websocket', 'EIO=4', 'EIO=4&transport=evil', 'EIO=4&transport=', `EIO=4&transport=${'w'.repeat(300)}`, 'EIO=4&transport=websocket&sid=AAAAAAAAAAAAAAAAAAAAAAAAAA', 'EIO=%34%00&transport=websocket'].map((query) => [
      query.slice(0, 60),
      upgradeHead(`/socket.io/?${query}`),
      bad,
    ]),
    ...['EIO=4&transport=evil', 'EIO=4&transport=polling&sid=AAAAAAAAAAAAAAAAAAAAAAAAAA', 'EIO=4&transport=polling&sid=..%2f', 'EIO=3&transport=polling'].map((query) => [
      `not an upgrade: ${query}`,
      get(`/socket.io/?${query}`),
      { status: 400, body: /"code":[0-9]/ },
    ]),
  ],
};

// Rows of these never get as far as a handler.
const REFUSED = /^A(2|5|6|7|9|10|15|16) /;

function judge(what, answer, expected) {
  const wanted = [expected.status].flat();
  assert.ok(wanted.includes(answer.status), `${what}: ${answer.status} instead of ${wanted}\n${answer.head}`);
  for (const [name, value] of Object.entries(expected.headers ?? {})) assert.equal(answer.headers[name], value, what);
  if (expected.lacks) assert.doesNotMatch(answer.head, expected.lacks, what);
  if (expected.body) assert.match(answer.body, expected.body, what);
  assert.doesNotMatch(answer.head, /x-evil/i, what);
}

// One row, whole or in pieces of `size` bytes.
async function tryRow([what, bytes, expected], size) {
  const peer = await RawPeer.open(siege.address);
  if (size) await peer.drip(bytes, size);
  else peer.write(bytes);
  judge(what, await peer.answer(what), expected);
  peer.destroy();
}

for (const [title, rows] of Object.entries(A)) {
  test(title, () =>
    siege.strike(title, async () => {
      for (const row of rows) await tryRow(row);
      const cut = FULL ? [1, 2, 7, 100] : [3];
      const short = rows.filter(([, bytes]) => bytes.length <= 800);
      for (const size of cut) await Promise.all(short.map((row) => tryRow(row, size)));
      return rows.length + short.length * cut.length;
    }, { raised: REFUSED.test(title) ? 'peal_http_refused_total' : [] }),
  );
}

test('A5 to A7: after a refusal nothing of the rest is read as a request', async () => {
  const smuggled = get('/api/v1/presence/count', [`Authorization: Bearer ${siege.hub.apiKey}`]);
  const rows = [
    post(['Content-Length: 5', 'Transfer-Encoding: chunked'], `0\r\n\r\n${smuggled}`),
    post(['Content-Length: 0', 'Content-Length: 50'], smuggled),
    up(['X-A: 1\r\n 2']) + smuggled,
    up(['X-A : 1']) + smuggled,
    post(['Transfer-Encoding: chunked'], `5;a=\n\r\nabcde\r\n0\r\n\r\n${smuggled}`),
    post(['Transfer-Encoding: chunked'], `-1\r\n${smuggled}`),
    post(['Transfer-Encoding: chunked'], `ffffffffffffffff\r\n${smuggled}`),
    post(['Transfer-Encoding: chunked'], `10000000000000005\r\nabcde\r\n0\r\n\r\n${smuggled}`),
    post(['Transfer-Encoding: chunked'], `5\nabcde\r\n0\r\n\r\n${smuggled}`),
    post(['Transfer-Encoding: chunked'], `5\r\nabcdef\r\n0\r\n\r\n${smuggled}`),
  ];
  await siege.strike('smuggling', async () => {
    for (const [n, bytes] of rows.entries()) {
      const peer = await RawPeer.open(siege.address);
      peer.write(bytes);
      await peer.end(`row ${n} is closed`);
      assert.doesNotMatch(peer.text, /^HTTP\/1.1 200/m, `row ${n}`);
      assert.match(peer.text, /^HTTP\/1.1 4/, `row ${n}`);
      peer.destroy();
    }
    return rows.length;
  });
});

test('A8 what follows an upgrade is frames, never a request', async () => {
  await siege.strike('A8', async () => {
    for (const after of [get('/api/v1/presence/count'), get('/').repeat(2000), 'x'.repeat(65_536)]) {
      const peer = await RawPeer.open(siege.address);
      peer.write(up([]) + after);
      assert.equal((await peer.answer()).status, 101);
      assert.equal(await peer.end(), 1002);
      assert.equal(peer.text.match(/HTTP\/1\.1/g).length, 1);
      peer.destroy();
    }
    return 3;
  }, { raised: 'peal_closed_total{reason="protocol"}' });
});

test('A11 a head that comes slowly, a body that comes slowly, nothing at all', async () => {
  const count = FULL ? 1000 : 100;
  await siege.strike('A11', async () => {
    const heads = [up([]), post(['Content-Length: 100', `Authorization: Bearer ${siege.hub.apiKey}`], 'a'), '', 'G', '\r\n'];
    const peers = [];
    for (let n = 0; n < count; n++) peers.push(await RawPeer.open(siege.address));
    const drip = (at) => {
      for (const [n, peer] of peers.entries()) {
        const head = heads[n % heads.length];
        if (at < head.length - 1) peer.write(head[at]);
      }
    };
    let at = 0;
    await until(() => {
      drip(at++);
      return peers.every((peer) => peer.closed || peer.ended);
    }, 'all slow peers are closed');
    for (const peer of peers) {
      const { status } = peer.parse() ?? { status: 0 };
      assert.ok([0, 408].includes(status), `status ${status}`);
      peer.destroy();
    }
    return count;
  });
});

test('A15 connections that come and go without a word', async () => {
  const count = FULL ? 5000 : 300;
  await siege.strike('A15', async () => {
    const lines = siege.hub.server.lines.length;
    for (let n = 0; n < count; n++) {
      const peer = await RawPeer.open(siege.address);
      if (n % 4 === 1) peer.write(randomBytes(20));
      if (n % 4 === 2) peer.write(up([]));
      if (n % 2) peer.reset();
      else peer.fin();
    }
    assert.ok(siege.hub.server.lines.length - lines < 20, 'a line a connection was logged');
    return count;
  });
});

test('bodies: too large, never ending, of odd chunks', async () => {
  const auth = `Authorization: Bearer ${siege.hub.apiKey}`;
  const chunk = (bytes) => `${bytes.length.toString(16)}\r\n${bytes}\r\n`;
  const rows = [
    ['2 MiB announced', post([auth, `Content-Length: ${2 << 20}`]), 413],
    ['2^63 announced', post([auth, 'Content-Length: 9223372036854775808']), 413],
    ['2 MiB in chunks', post([auth, 'Transfer-Encoding: chunked'], chunk('a'.repeat(65_536)).repeat(32)), 413],
    ['one-byte chunks of nothing but extension', post([auth, 'Transfer-Encoding: chunked'], `1;${'e'.repeat(70_000)}\r\na\r\n`), 400],
    ['trailers without end', post([auth, 'Transfer-Encoding: chunked'], `0\r\n${'a: b\r\n'.repeat(20_000)}`), 400],
    ['a chunk that is said to be of 4 GiB', post([auth, 'Transfer-Encoding: chunked'], '100000000\r\nabc'), 413],
  ];
  await siege.strike('bodies', async () => {
    for (const [what, bytes, status] of rows) {
      const peer = await RawPeer.open(siege.address);
      peer.write(bytes);
      const answer = await peer.answer(what);
      assert.ok([status, 400, 413, 431].includes(answer.status), `${what}: ${answer.status}`);
      await peer.end(what);
      peer.destroy();
    }
    return rows.length;
  });
});

test('random bytes after valid beginnings', async () => {
  const seed = randomBytes(4).toString('hex');
  console.log(`# seed ${seed}`);
  const count = FULL ? 5000 : 300;
  await siege.strike(`noise ${seed}`, async () => {
    const starts = ['', 'GET / HTTP/1.1\r\n', 'GET /socket.io/?', get('/').slice(0, -2), post(['Transfer-Encoding: chunked'])];
    for (let n = 0; n < count; n++) {
      const peer = await RawPeer.open(siege.address);
      peer.write(Buffer.concat([Buffer.from(starts[n % starts.length]), randomBytes(1 + (n % 300))]));
      peer.fin();
      await peer.end();
      peer.destroy();
    }
    return count;
  });
});
