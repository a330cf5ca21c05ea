// SPDX-License-Identifier: Apache-2.0
// attacks_ws - hostile WebSocket frames: the right close code, no memory, nobody else disturbed.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, test } from 'node:test';
import { ENGINE, RawPeer, binary, frame, text, upgradeHead } from './support/raw.mjs';
import { FULL, Siege } from './support/siege.mjs';
import { until } from './support/wait.mjs';

let siege;
before(async () => {
  siege = await Siege.start();
});
after((context) => siege.stop(context));

const open = (user = 'mallory') => RawPeer.plain(siege.address, siege.hub.token(user));
const CLOSED = (reason) => `peal_closed_total{reason="${reason}"}`;
const close = (code, reason = '') => {
  const body = Buffer.alloc(2 + Buffer.byteLength(reason, 'latin1'));
  body.writeUInt16BE(code);
  body.write(reason, 2, 'latin1');
  return frame(8, body);
};
const utf8 = (...values) => Buffer.from(values);
const ask = text('[[7,"notification:received",{"upTo":0}]]');
const ANSWER = /\[-7,\{"ok":true\}\]/;
// JSON of exactly `length` bytes that is an answer to nothing.
const filler = (length) => `[[-1,"${'x'.repeat(length - 9)}"]]`;

// [what, bytes, close code]; a code of 0: the session goes on, and `ask` is answered.
const B = {
  B2: [
    ['unmasked', text('[["x"]]', { mask: null }), 1002],
    ['unmasked ping', frame(9, '', { mask: null }), 1002],
    ['mask of zeros', text('[[-1,1]]', { mask: Buffer.alloc(4) }), 0],
  ],
  B3: [
    ...[0x40, 0x20, 0x10, 0x70].map((bits) => [`reserved bits ${bits}`, frame(1, 'x', { first: 0x81 | bits }), 1002]),
    ...[0x40, 0x20, 0x10].map((bits) => [`reserved bits ${bits} of a ping`, frame(9, '', { first: 0x89 | bits }), 1002]),
    ...[3, 4, 5, 6, 7, 11, 12, 13, 14, 15].map((opcode) => [`opcode ${opcode}`, frame(opcode, 'x'), 1002]),
  ],
  B4: [
    ...[8, 9, 10].flatMap((opcode) => [
      [`control ${opcode} of 126 bytes`, frame(opcode, Buffer.alloc(126, 97)), 1002],
      [`control ${opcode} of 64 KiB`, frame(opcode, '', { length: 65_536, size: 8 }), 1002],
      [`control ${opcode} in fragments`, frame(opcode, '', { fin: false }), 1002],
    ]),
  ],
  B5: [
    ['2^63-1', text('', { length: (1n << 63n) - 1n, size: 8 }), [1002, 4413]],
    ['2^63', text('', { length: 1n << 63n, size: 8 }), [1002, 4413]],
    ['2^64-1', text('', { length: (1n << 64n) - 1n, size: 8 }), [1002, 4413]],
    ['2^64-4', text('', { length: 0xfffffffffffffffcn, size: 8 }), [1002, 4413]],
    ['2^32', text('', { length: 1n << 32n, size: 8 }), 4413],
    ['2^31', text('', { length: 1n << 31n, size: 8 }), 4413],
  ],
  B6: [
    ['4 GiB announced', text('', { length: 0xffffffffn, size: 8 }), 4413],
    ['one byte above the limit', text('', { length: 65_537n, size: 8 }), 4413],
    ['the limit itself', text(filler(65_536)), 0],
  ],
  B7: [
    ['5 in 16 bits', text('hello', { size: 2 }), 1002],
    ['125 in 64 bits', text(filler(125), { size: 8 }), 1002],
    ['300 in 64 bits', text(filler(300), { size: 8 }), 1002],
    ['empty ping in 16 bits', frame(9, '', { size: 2 }), 1002],
  ],
  B8: [
    ['fragments above the limit', [text('x'.repeat(40_000), { fin: false }), frame(0, 'x'.repeat(40_000))], 4413],
    ['a last one that wraps 64 bits', [text('x'.repeat(1000), { fin: false }), frame(0, '', { length: (1n << 64n) - 900n, size: 8 })], [1002, 4413]],
    ['a last one that wraps 63 bits', [text('x'.repeat(1000), { fin: false }), frame(0, '', { length: (1n << 63n) - 900n, size: 8 })], [1002, 4413]],
    ['a last one that wraps 32 bits', [text('x'.repeat(1000), { fin: false }), frame(0, '', { length: (1n << 32n) - 900n, size: 8 })], 4413],
  ],
  B9: [
    ['continuation of nothing', frame(0, 'x'), 1002],
    ['continuation of nothing, more to come', frame(0, 'x', { fin: false }), 1002],
    ['text inside a text', [text('[', { fin: false }), text(']')], 1002],
    ['binary inside a text', [text('[', { fin: false }), binary(']')], 1002],
    ['continuation after the end', [text('[[-1,1]]'), frame(0, 'x')], 1002],
  ],
  B10: [
    ['control frames between fragments', [text('[', { fin: false }), ...Array.from({ length: 1000 }, () => frame(9, 'p')), frame(0, ']')], 1008],
    ['some control frames between fragments', [text('[[-1,', { fin: false }), frame(9, 'p'), frame(10), frame(9), frame(0, '1]]')], 0],
  ],
  B11: [
    ['empty fragments', [text('', { fin: false }), ...Array.from({ length: FULL ? 1_000_000 : 20_000 }, () => frame(0, '', { fin: false, mask: Buffer.alloc(4) }))], [1008, 4413]],
  ],
  B12: [
    ['one-byte fragments', [text('[', { fin: false }), ...Array.from({ length: 65_536 }, () => frame(0, ' ', { fin: false, mask: Buffer.alloc(4) }))], [1008, 4413]],
    ['64 fragments', [text('[[-1,', { fin: false }), ...Array.from({ length: 62 }, () => frame(0, ' ', { fin: false })), frame(0, '1]]')], 0],
    ['65 fragments', [text('[[-1,', { fin: false }), ...Array.from({ length: 63 }, () => frame(0, ' ', { fin: false })), frame(0, '1]]')], 1008],
  ],
  B14: [['unsolicited pongs', Array.from({ length: FULL ? 1_000_000 : 20_000 }, () => frame(10, '', { mask: Buffer.alloc(4) })), 1008]],
  B15: [
    ...[
      ['stray continuation', utf8(0x5b, 0x80)],
      ['byte FE', utf8(0xfe)],
      ['overlong slash', utf8(0xc0, 0xaf)],
      ['overlong NUL of three bytes', utf8(0xe0, 0x80, 0x80)],
      ['overlong of four bytes', utf8(0xf0, 0x80, 0x80, 0xaf)],
      ['high surrogate', utf8(0xed, 0xa0, 0x80)],
      ['low surrogate', utf8(0xed, 0xbf, 0xbf)],
      ['above U+10FFFF', utf8(0xf4, 0x90, 0x80, 0x80)],
      ['five bytes', utf8(0xf8, 0x88, 0x80, 0x80, 0x80)],
      ['cut at the end', utf8(0x22, 0xe2, 0x82)],
    ].map(([what, bytes]) => [what, text(bytes), 1007]),
    ['bad byte of a message that never ends', text(utf8(0x5b, 0xff), { fin: false }), 1007],
    ['bad byte at the start of 60,000', text(Buffer.concat([utf8(0xff), Buffer.alloc(10)]), { length: 60_000, size: 2 }), 1007],
    ['character across fragments', [text(utf8(0x5b, 0x5b, 0x2d, 0x31, 0x2c, 0x22, 0xe2), { fin: false }), frame(0, utf8(0x82, 0xac, 0x22, 0x5d, 0x5d))], 0],
    ['half a character, then another text', [text(utf8(0x22, 0xe2), { fin: false }), frame(0, utf8(0x22))], 1007],
  ],
  B16: [
    ['close of one byte', frame(8, 'x'), 1002],
    ...[0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535].map((code) => [`close ${code}`, close(code), 1002]),
    ['close with a bad reason', close(1000, '\xff\xfe'), 1007],
    ['close with a cut reason', close(1000, '\xe2\x82'), 1007],
    ...[1000, 1001, 1003, 1007, 1011, 1012, 1014, 3000, 4999].map((code) => [`close ${code}`, close(code), code]),
    ['close with 123 bytes', close(1000, 'r'.repeat(123)), 1000],
    ['close with 124 bytes', frame(8, Buffer.concat([utf8(3, 232), Buffer.alloc(124, 97)])), 1002],
    ['empty close', frame(8), 1005],
  ],
  B17: [
    ['data after close', [close(1000), ask, frame(9, 'late'), close(1001)], 1000],
    ['garbage after close', [close(1000), randomBytes(5000)], 1000],
  ],
};

const joined = (bytes) => Buffer.concat([bytes].flat());

async function expectEnd(peer, what, expected) {
  if (expected === 0) {
    peer.write(ask);
    await peer.saw(ANSWER, `${what}: an answer`);
    peer.destroy();
    return;
  }
  const code = await peer.end(what);
  assert.ok([expected].flat().includes(code), `${what}: close ${code} instead of ${expected}`);
  const closes = peer.frames().filter(({ opcode }) => opcode === 8);
  assert.equal(closes.length, 1, `${what}: one close frame`);
  const reason = closes[0].payload.subarray(2).toString();
  assert.match(reason, /^[\x20-\x7e]*$/, `${what}: nothing uninitialised in the reason`);
  assert.doesNotMatch(peer.text, /late/, what);
  peer.destroy();
}

const REASON = { B2: 'protocol', B3: 'protocol', B4: 'protocol', B6: 'frame_too_large', B7: 'protocol', B9: 'protocol', B10: 'policy', B11: 'policy', B12: 'policy', B14: 'policy', B15: 'not_utf8', B16: 'protocol', B17: 'peer' };

for (const [title, rows] of Object.entries(B)) {
  test(title, () =>
    siege.strike(
      title,
      async () => {
        for (const [what, bytes, expected] of rows) {
          const peer = await open();
          peer.write(joined(bytes));
          await expectEnd(peer, `${title} ${what}`, expected);
        }
        return rows.length;
      },
      { raised: REASON[title] ? [CLOSED(REASON[title])] : [] },
    ),
  );
}

test('B6 before a token is shown, messages are small', async () => {
  await siege.strike('B6', async () => {
    for (const [length, expected] of [[4096, 1005], [4097, 4413]]) {
      const peer = await RawPeer.upgrade(siege.address, ENGINE);
      peer.write(text('4'.padEnd(length, 'x')));
      assert.equal(await peer.end(), expected, `${length} bytes`);
      peer.destroy();
    }
    return 2;
  });
});

test('B13 pings of one that does not read', async () => {
  await siege.strike(
    'B13',
    async () => {
      const peer = await open();
      peer.socket.pause();
      const flood = joined(Array.from({ length: FULL ? 1_000_000 : 50_000 }, (_, n) => frame(9, `${n}`.padStart(100), { mask: Buffer.alloc(4) })));
      peer.write(flood);
      await until(async () => (await siege.metrics())[CLOSED('policy')] >= 1, 'the flood is cut off');
      peer.socket.resume();
      assert.ok([1008, 1006].includes(await peer.end()));
      const pongs = peer.frames().filter(({ opcode }) => opcode === 10);
      assert.ok(pongs.length <= 40, `${pongs.length} pongs`);
      peer.destroy();
      return 1;
    },
    { raised: CLOSED('policy'), mib: 24 },
  );
});

test('B17 a close that is not followed by FIN', async () => {
  const count = FULL ? 500 : 50;
  await siege.strike('B17', async () => {
    const peers = await Promise.all(Array.from({ length: count }, (_, n) => open(`user${n % 10}`)));
    for (const peer of peers) {
      peer.socket.removeAllListeners('end'); // never answers FIN
      peer.write(close(1000));
    }
    await until(async () => (await siege.metrics()).peal_connections <= siege.before.metrics.peal_connections + 1, 'the hub has dropped them');
    for (const peer of peers) peer.destroy();
    return count;
  });
});

test('B18 offers of compression are not taken', async () => {
  const offers = ['', '; server_max_window_bits=0', '; server_max_window_bits=7', '; server_max_window_bits=16', '; server_max_window_bits=text', '; client_max_window_bits', '; client_max_window_bits=99999999999999999999', '; server_no_context_takeover', '; client_no_context_takeover; client_no_context_takeover', '; x=1', '; =', ', permessage-deflate', '; server_max_window_bits="10"', '; server_max_window_bits="', '; client_max_window_bits=-1', '; a; b; c; d'];
  await siege.strike('B18', async () => {
    for (const offer of offers) {
      const peer = await RawPeer.open(siege.address);
      peer.write(upgradeHead(ENGINE, { headers: [`Sec-WebSocket-Extensions: permessage-deflate${offer}`] }));
      const { status, head } = await peer.answer(offer);
      assert.ok([101, 400].includes(status), `${offer}: ${status}`);
      assert.doesNotMatch(head, /Extensions/i, offer);
      if (status === 101) {
        peer.write(frame(1, 'x', { first: 0xc1 }));
        assert.equal(await peer.end(offer), 1002, offer);
      }
      peer.destroy();
    }
    return offers.length;
  });
});

test('B20 frames that arrive in pieces', async () => {
  const whole = Object.entries(B)
    .flatMap(([title, rows]) => rows.map((row) => [title, ...row]))
    .filter(([, , bytes]) => joined(bytes).length < 600);
  const sizes = FULL ? [1, 2, 3, 5, 11, 50] : [1];
  await siege.strike('B20', async () => {
    for (const size of sizes) {
      const attempts = whole.map(async ([title, what, bytes, expected], n) => {
        const peer = await open(`user${n % 10}`);
        await peer.drip(joined(bytes), size);
        await expectEnd(peer, `${title} ${what} by ${size}`, expected);
      });
      await Promise.all(attempts);
    }
    return whole.length * sizes.length;
  });
});

test('B20 one message cut at every byte', async () => {
  const bytes = joined([text('[[7,"notification:received",', { fin: false }), frame(9, 'ping'), frame(0, '{"upTo":0}]]')]);
  await siege.strike('B20 cuts', async () => {
    const cuts = Array.from({ length: bytes.length - 1 }, (_, n) => n + 1);
    await Promise.all(cuts.map(async (at) => {
      const peer = await open(`user${at % 10}`);
      await peer.drip(bytes.subarray(0, at), at);
      await new Promise((resolve) => setImmediate(resolve));
      peer.write(bytes.subarray(at));
      await peer.saw(ANSWER, `an answer, cut at ${at}`);
      assert.deepEqual(peer.frames().filter(({ opcode }) => opcode === 10).map(({ payload }) => String(payload)), ['ping']);
      peer.destroy();
    }));
    return cuts.length;
  });
});

test('random frames', async () => {
  const seed = randomBytes(4).toString('hex');
  const count = FULL ? 5000 : 200;
  await siege.strike(`noise ${seed}`, async () => {
    for (let n = 0; n < count; n++) {
      const peer = await open(`user${n % 10}`);
      const part = () => frame(randomBytes(1)[0] % 11, randomBytes(randomBytes(1)[0] % 60), { fin: n % 3 > 0 });
      peer.write(n % 2 ? joined(Array.from({ length: 5 }, part)) : randomBytes(200));
      peer.write(close(1000));
      peer.fin();
      await peer.end();
      peer.destroy();
    }
    return count;
  });
});
