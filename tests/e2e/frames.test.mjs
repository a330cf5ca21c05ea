// SPDX-License-Identifier: Apache-2.0
// RFC 6455 frame by frame against /echo of the conformance program, one test a group: what is sent
// back, in which order, at which byte a bad one is refused, with which close code, and that the
// connection then ends. There is no leniency: anything else than the one right outcome fails.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { constants, deflateRawSync, inflateRawSync } from 'node:zlib';
import { startEchoHub } from './support/echo_hub.mjs';
import { RawPeer, frame } from './support/raw.mjs';
import { FULL } from './support/siege.mjs';

const AT_ONCE = 16; // cases that run at a time
const LIMIT = 16 << 20;
const FRAGMENTS = 65_537;
const [CONT, TEXT, BINARY, CLOSE, PING, PONG] = [0, 1, 2, 8, 9, 10];

let echo;
let address;

before(async () => {
  echo = await startEchoHub();
  const { hostname, port, protocol } = new URL(echo.url);
  address = { host: hostname, port: Number(port), scheme: protocol.slice(0, -1) };
});
after(async () => {
  assert.deepEqual(await echo.stop(), { code: 0, signal: null });
});

const bytes = (...values) => Buffer.concat(values.map((one) => (typeof one === 'number' ? Buffer.from([one]) : Buffer.from(one))));
const closing = (code, reason = '') => bytes(code >> 8, code & 255, reason);
const hex = (text) => Buffer.from(text.replace(/ /g, ''), 'hex');
const fragments = (opcode, parts) => parts.map((part, i) => frame(i === 0 ? opcode : CONT, part, { fin: i === parts.length - 1 }));
const pieces = (data, size) => {
  const parts = [];
  for (let at = 0; at < data.length; at += size) parts.push(data.subarray(at, at + size));
  return parts.length > 0 ? parts : [data];
};

// What a peer sends, by `chop` bytes at a time (0: in one write), and what must come back: `back`,
// pairs of opcode and payload, then a close frame with `code` (1005: an empty one). Without `code`
// the peer closes with 1000 when it has everything.
async function run({ what, send, back = [], code, chop = 0, headers = [] }) {
  const peer = await RawPeer.upgrade(address, '/echo', { headers });
  try {
    const all = Buffer.concat(send.flat());
    if (chop > 0) await peer.drip(all, chop);
    else peer.write(all);
    const expected = back.map(([opcode, payload]) => [opcode, Buffer.from(payload)]);
    const whole = expected.reduce((sum, [, payload]) => sum + payload.length, 0);
    if (code === undefined) {
      const isThere = () => peer.received >= whole && (peer.over || peer.frames().length >= expected.length);
      await peer.until(() => peer.closed || peer.ended || isThere(), `${what}: everything`);
      peer.write(frame(CLOSE, closing(1000)));
    }
    const got = await peer.end(`${what}: the end`);
    const frames = peer.frames();
    const last = frames.pop();
    assert.equal(got, code ?? 1000, what);
    assert.equal(last.opcode, CLOSE, `${what}: nothing behind the close frame`);
    assert.deepEqual(frames.map(({ first }) => first & 0x70), frames.map(() => 0), `${what}: reserved bits`);
    assert.equal(frames.length, expected.length, `${what}: ${frames.length} frames came back`);
    frames.forEach(({ opcode, payload }, i) => {
      assert.equal(opcode, expected[i][0], `${what}: opcode ${i}`);
      assert.ok(payload.equals(expected[i][1]), `${what}: payload ${i}`);
    });
  } finally {
    peer.destroy();
  }
}

// A group of cases; its line says how many there were.
function group(name, makeCases) {
  test(name, async (context) => {
    const cases = makeCases();
    const waiting = [...cases];
    const workers = Array.from({ length: AT_ONCE }, async () => {
      for (let one = waiting.shift(); one; one = waiting.shift()) await (one.run ?? run)(one);
    });
    await Promise.all(workers);
    context.diagnostic(`${name}: ${cases.length} cases, 0 failures`);
  });
}

const text = (payload, options) => frame(TEXT, payload, options);
const chopped = (one, sizes = [0, 1]) => sizes.map((chop) => ({ ...one, chop, what: `${one.what}, by ${chop || 'all'}` }));
const echoes = (what, opcode, payload, chops) => chopped({ what, send: [frame(opcode, payload)], back: [[opcode, payload]] }, chops);

group('1 framing', () =>
  [0, 1, 125, 126, 127, 128, 65_535, 65_536].flatMap((length) => [
    ...echoes(`text of ${length}`, TEXT, Buffer.alloc(length, '*'), length > 1000 ? [0, 997] : [0, 1]),
    ...echoes(`binary of ${length}`, BINARY, Buffer.alloc(length, 0xfe), length > 1000 ? [0, 997] : [0, 1]),
  ]),
);

group('2 pings and pongs', () => {
  const ping = (what, payload) => chopped({ what: `ping ${what}`, send: [frame(PING, payload)], back: [[PONG, payload]] });
  const ten = Array.from({ length: 10 }, (_, i) => `payload-${i}`);
  return [
    ...ping('without payload', ''),
    ...ping('with text', 'Hello, world!'),
    ...ping('with bytes', hex('00 ff fe fd fc fb 00 ff')),
    ...ping('of 125 bytes', Buffer.alloc(125, 0xfe)),
    ...chopped({ what: 'ping of 126 bytes', send: [frame(PING, Buffer.alloc(126, 0xfe))], code: 1002 }),
    ...chopped({ what: 'pong nobody asked for', send: [frame(PONG, ''), frame(PONG, 'unsolicited')] }),
    ...chopped({ what: 'such a pong, then a ping', send: [frame(PONG, 'unsolicited'), frame(PING, 'ping')], back: [[PONG, 'ping']] }),
    ...chopped({ what: 'ten pings', send: ten.map((one) => frame(PING, one)), back: ten.map((one) => [PONG, one]) }),
  ];
});

group('3 reserved bits', () => {
  const cases = [];
  for (let bits = 1; bits <= 7; bits += 1) {
    for (const [opcode, payload] of [[TEXT, 'Hello'], [TEXT, ''], [BINARY, hex('00ff')], [PING, 'Hello'], [PONG, ''], [CLOSE, closing(1000)]]) {
      const bad = frame(opcode, payload, { first: 0x80 | (bits << 4) | opcode });
      const what = `bits ${bits} of opcode ${opcode}`;
      cases.push({ what, send: [bad], code: 1002 });
      cases.push(...chopped({ what: `a message, then ${what}`, send: [text('Hello'), bad, frame(PING, '')], back: [[TEXT, 'Hello']], code: 1002 }));
    }
  }
  return cases;
});

group('4 opcodes', () =>
  [3, 4, 5, 6, 7, 11, 12, 13, 14, 15].flatMap((opcode) =>
    ['', 'reserved'].flatMap((payload) => [
      { what: `opcode ${opcode}`, send: [frame(opcode, payload)], code: 1002 },
      { what: `opcode ${opcode}, not final`, send: [frame(opcode, payload, { fin: false })], code: 1002 },
      ...chopped({ what: `a message, then opcode ${opcode}`, send: [text('Hello'), frame(opcode, payload), frame(PING, '')], back: [[TEXT, 'Hello']], code: 1002 }),
    ]),
  ),
);

group('5 fragmentation', () => {
  const parts = ['fragment1', 'fragment2', 'fragment3', '', 'fragment5'];
  const whole = parts.join('');
  const cut = fragments(TEXT, parts);
  const pinged = cut.flatMap((one, i) => (i < 4 ? [one, frame(PING, `pongme ${i}`)] : [one]));
  const pongs = [0, 1, 2, 3].map((i) => [PONG, `pongme ${i}`]);
  const chops = [0, 1, 3];
  return [
    ...[PING, PONG, CLOSE].flatMap((opcode) => chopped({ what: `control ${opcode} in fragments`, send: fragments(opcode, ['ab', 'cd']), code: 1002 })),
    ...chopped({ what: 'two fragments', send: fragments(TEXT, ['fragment1', 'fragment2']), back: [[TEXT, 'fragment1fragment2']] }, chops),
    ...chopped({ what: 'five of them, one empty', send: cut, back: [[TEXT, whole]] }, chops),
    ...chopped({ what: 'with pings between them', send: pinged, back: [...pongs, [TEXT, whole]] }, chops),
    ...chopped({ what: 'binary', send: fragments(BINARY, [hex('00'), hex('ff'), hex('')]), back: [[BINARY, hex('00ff')]] }, chops),
    ...chopped({ what: 'all of them empty', send: fragments(TEXT, ['', '', '']), back: [[TEXT, '']] }, chops),
    ...chopped({ what: 'a first and a last one that are empty', send: fragments(TEXT, ['', 'x', '']), back: [[TEXT, 'x']] }, chops),
    ...[true, false].flatMap((fin) =>
      chopped({ what: 'a continuation of nothing', send: [frame(CONT, 'non-continuation payload', { fin }), text('Hello')], code: 1002 })),
    ...chopped({ what: 'a continuation behind a message', send: [text('Hello'), frame(CONT, 'x', { fin: false }), text('Hello')], back: [[TEXT, 'Hello']], code: 1002 }),
    ...chopped({ what: 'a continuation behind the last', send: [...fragments(TEXT, ['a', 'b']), frame(CONT, 'c')], back: [[TEXT, 'ab']], code: 1002 }),
    ...[TEXT, BINARY].flatMap((opcode) =>
      chopped({ what: `opcode ${opcode} inside a message`, send: [frame(TEXT, 'fragment1', { fin: false }), frame(opcode, 'fragment2'), frame(CONT, 'x')], code: 1002 })),
    ...chopped({ what: 'a close inside a message', send: [frame(TEXT, 'a', { fin: false }), frame(CLOSE, closing(1000)), frame(CONT, 'b')], code: 1000 }),
    { what: `${FRAGMENTS} fragments`, send: fragments(BINARY, Array.from({ length: FRAGMENTS }, () => hex('aa'))), back: [[BINARY, Buffer.alloc(FRAGMENTS, 0xaa)]] },
    { what: 'one more than that', send: fragments(BINARY, Array.from({ length: FRAGMENTS + 1 }, () => hex('aa'))), code: 1008 },
  ];
});

// Sequences by what they are; each valid one alone, between text, in fragments and in chops.
const VALID = {
  Greek: 'ce ba e1 bd b9 cf 83 ce bc ce b5',
  'the first of each length': '00|7f|c2 80|df bf|e0 a0 80|ef bf bf|f0 90 80 80',
  'the last of each length': 'f4 8f bf bf|ef bf bf|df bf|7f',
  'around the surrogates': 'ed 9f bf|ee 80 80|ef bf bd',
  'non-characters': 'ef bf be|ef bf bf|f0 9f bf be|f0 9f bf bf|f3 bf bf bf|f4 8f bf be|ef b7 90|ef b7 af',
};
// Each begins with what is good so far; the byte behind `!` is the first that is bad.
const INVALID = {
  'lonely continuations': '!80|!bf|!80 bf|!80 bf 80 bf 80 bf|41 !80|e1 80 80 !80',
  'starts without the rest': 'c2 !20|df !20|e0 !20|e1 !20|ef a0 !20|f0 !20|f1 80 !20|f4 80 80 !20|c2 !c2 80',
  'overlong': '!c0 80|!c0 af|!c1 bf|e0 !80 80|e0 !80 af|e0 !9f bf|f0 !80 80 80|f0 !80 80 af|f0 !8f bf bf',
  'surrogates': 'ed !a0 80|ed !ad bf|ed !ae 80|ed !af bf|ed !b0 80|ed !be 80|ed !bf bf|ed !a0 80 ed b0 80',
  'beyond U+10FFFF': 'f4 !90 80 80|!f5 80 80 80|!f7 bf bf bf',
  'five and six bytes': '!f8 88 80 80 80|!fb bf bf bf bf|!fc 84 80 80 80 80|!fd bf bf bf bf bf',
  'bytes that never occur': '!fe|!ff|!fe fe ff ff',
};
// What ends inside a character is refused where the message ends.
const CUT = ['c2', 'df', 'e0', 'e0 a0', 'ef bf', 'f0', 'f0 90', 'f0 90 80', 'f4 8f bf', 'ce ba e1 bd'];

group('6 UTF-8', () => {
  const cases = [];
  for (const [what, list] of Object.entries(VALID)) {
    for (const one of list.split('|').map(hex)) {
      const within = bytes('aé', one, '€z');
      cases.push(...echoes(`${what} ${one.toString('hex')}`, TEXT, one), ...echoes(`${what} inside`, TEXT, within));
      cases.push(...chopped({ what: `${what} in fragments`, send: fragments(TEXT, pieces(within, 1)), back: [[TEXT, within]] }));
      cases.push({ what: `${what} with pings inside characters`, send: fragments(TEXT, pieces(within, 1)).flatMap((part, i) => (i === 0 ? [part] : [frame(PING, `${i}`), part])), back: [...pieces(within, 1).slice(1).map((_, i) => [PONG, `${i + 1}`]), [TEXT, within]] });
    }
  }
  for (const [what, list] of Object.entries(INVALID)) {
    for (const row of list.split('|')) {
      const good = hex(row.slice(0, row.indexOf('!')));
      const rest = hex(row.slice(row.indexOf('!') + 1));
      const title = `${what}: ${row}`;
      for (const before of ['', 'κόσμε']) {
        const head = bytes(before, good);
        const all = bytes(head, rest, 'edited');
        cases.push(...chopped({ what: title, send: [text(all), text('behind')], code: 1007 }));
        cases.push(...chopped({ what: `${title}, in fragments`, send: [...fragments(TEXT, pieces(all, 1)), text('behind')], code: 1007 }, [0, 3]));
        cases.push({ what: `${title}, behind a message`, send: [text('Hello'), text(all)], back: [[TEXT, 'Hello']], code: 1007 });
        cases.push({ what: `${title}, first bad byte of a frame`, run: failFast, frame: text(all), good: head.length });
        cases.push({ what: `${title}, first bad byte of a fragment`, run: failFast, frame: frame(TEXT, all, { fin: false }), good: head.length });
      }
      cases.push({ what: `${title} as binary`, send: [frame(BINARY, bytes(good, rest))], back: [[BINARY, bytes(good, rest)]] });
    }
  }
  for (const one of CUT.map(hex)) {
    const all = bytes('abc', one);
    cases.push(...chopped({ what: `cut ${one.toString('hex')}`, send: [text(all)], code: 1007 }));
    cases.push(...chopped({ what: `cut ${one.toString('hex')}, an empty last fragment`, send: fragments(TEXT, [all, '']), code: 1007 }));
  }
  return cases;
});

// Everything before the bad byte is taken, and it alone ends the connection, wherever it stands.
async function failFast({ what, frame: all, good }) {
  const head = all.length - (all[1] & 0x7f);
  const peer = await RawPeer.upgrade(address, '/echo');
  try {
    await peer.drip(all.subarray(0, head + good), head + good);
    // No frame may come between; that the hub has read so far, another connection shows.
    const other = await RawPeer.upgrade(address, '/echo');
    other.write(frame(PING, 'turn'));
    await other.until(() => other.frames().length > 0, `${what}: a turn of the hub`);
    other.destroy();
    assert.equal(peer.over, false, `${what}: closed before the bad byte`);
    peer.write(all.subarray(head + good, head + good + 1));
    assert.equal(await peer.end(`${what}: closed at the bad byte`), 1007, what);
    assert.equal(peer.frames().length, 1, what);
  } finally {
    peer.destroy();
  }
}

group('7 closing', () => {
  const good = [1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 1012, 1013, 1014, 3000, 3999, 4000, 4999];
  const bad = [0, 1, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65_535];
  const payload = (code, reason) => frame(CLOSE, closing(code, reason));
  const behind = [text('Hello'), frame(PING, 'x'), payload(1001), hex('ff ff ff')];
  const large = Buffer.alloc(256 << 10, 'B');
  return [
    ...chopped({ what: 'a message, then close', send: [text('Hello'), payload(1000)], back: [[TEXT, 'Hello']], code: 1000 }),
    ...chopped({ what: 'close twice', send: [payload(1000), payload(1001)], code: 1000 }, [0, 3]),
    ...chopped({ what: 'nothing is answered behind a close', send: [payload(1000), ...behind], code: 1000 }, [0, 3]),
    { what: 'a large message, then close', send: [text(large), payload(1000), frame(PING, 'x')], back: [[TEXT, large]], code: 1000 },
    ...chopped({ what: 'without payload', send: [frame(CLOSE, '')], code: 1005 }),
    ...chopped({ what: 'one byte', send: [frame(CLOSE, hex('03'))], code: 1002 }),
    ...chopped({ what: 'a reason', send: [payload(1000, 'Hello World!')], code: 1000 }),
    ...chopped({ what: 'a reason of 123 bytes', send: [payload(1000, '*'.repeat(123))], code: 1000 }),
    ...chopped({ what: 'a reason of 124 bytes', send: [payload(1000, '*'.repeat(124))], code: 1002 }),
    ...chopped({ what: 'a reason in Greek', send: [payload(1000, 'κόσμε')], code: 1000 }),
    ...chopped({ what: 'a reason that is not UTF-8', send: [payload(1000, hex('ce ba ed a0 80 65'))], code: 1007 }),
    ...chopped({ what: 'a reason that is cut', send: [payload(1000, hex('ce ba e1 bd'))], code: 1007 }),
    ...good.flatMap((code) => chopped({ what: `code ${code}`, send: [payload(code)], code })),
    ...good.map((code) => ({ what: `code ${code} with a reason`, send: [payload(code, 'reason')], code })),
    ...bad.flatMap((code) => chopped({ what: `code ${code}`, send: [payload(code)], code: 1002 })),
    ...bad.map((code) => ({ what: `code ${code} with a reason`, send: [payload(code, 'reason')], code: 1002 })),
    // The valid messages of one read are answered before the close that a later frame causes.
    ...[['no mask', text('x', { mask: null }), 1002], ['a length that could be shorter', text('x', { size: 2 }), 1002], ['a bad opcode', frame(3, ''), 1002], ['bad text', text(hex('ff')), 1007], ['a close', payload(4000), 4000]]
      .map(([what, one, code]) => ({ what: `messages, then ${what}`, send: [text('a'), frame(BINARY, 'b'), frame(PING, 'c'), text('d'), one, text('e')], back: [[TEXT, 'a'], [BINARY, 'b'], [PONG, 'c'], [TEXT, 'd']], code })),
  ];
});

group('9 limits', () => {
  const sizes = FULL ? [64, 256, 1024, 4096, 8192, 16_384].map((kib) => kib << 10) : [65_536, 1 << 20];
  const of = (length, opcode) => Buffer.alloc(length, opcode === TEXT ? 'BAsd7&jh23' : hex('00fe7f80'));
  const four = (opcode) => of(4 << 20, opcode);
  const cuts = FULL ? [64, 256, 1024, 4096, 16_384, 65_536, 262_144, 1_048_576, 4_194_304] : [64, 4096, 1_048_576];
  const chops = FULL ? [64, 128, 256, 512, 1024, 2048] : [2048];
  const largest = of(LIMIT, BINARY);
  const whole = { what: 'as long as may be', send: [frame(BINARY, largest)], back: [[BINARY, largest]] };
  return [whole, ...[TEXT, BINARY].flatMap((opcode) => [
    ...sizes.map((length) => ({ what: `opcode ${opcode}, ${length} bytes`, send: [frame(opcode, of(length, opcode))], back: [[opcode, of(length, opcode)]] })),
    ...cuts.map((size) => ({ what: `opcode ${opcode}, 4 MiB in fragments of ${size}`, send: fragments(opcode, pieces(four(opcode), size)), back: [[opcode, four(opcode)]] })),
    ...chops.map((chop) => ({ what: `opcode ${opcode}, 1 MiB by ${chop}`, send: [frame(opcode, of(1 << 20, opcode))], back: [[opcode, of(1 << 20, opcode)]], chop })),
    { what: `opcode ${opcode}, one byte above the limit`, send: [frame(opcode, '', { length: LIMIT + 1, size: 8 })], code: 4413 },
    { what: `opcode ${opcode}, above it in fragments`, send: [frame(opcode, of(LIMIT - 1, opcode), { fin: false }), frame(CONT, 'ab')], code: 4413 },
  ])];
});

group('10 fragments of a sender', () =>
  [TEXT, BINARY].map((opcode) => {
    const data = Buffer.alloc(65_536, '*');
    return { what: `opcode ${opcode}, 64 KiB by 1300`, send: fragments(opcode, pieces(data, 1300)), back: [[opcode, data]] };
  }),
);

// Compressed messages of all sizes under all parameters: what was sent comes back.
const TAIL = hex('0000ffff');
const flush = { finishFlush: constants.Z_SYNC_FLUSH };

async function runPacked({ what, offer, windowBits = 15, length, opcode, cut }) {
  const peer = await RawPeer.upgrade(address, '/echo', { headers: [`Sec-WebSocket-Extensions: ${offer}`] });
  try {
    const count = length > 10_000 ? 3 : 10;
    const sent = Array.from({ length: count }, (_, i) => Buffer.alloc(length, `${i} {"type":"chat","n":${i * 7919}} é `).subarray(0, length));
    const messages = sent.map((one) => (opcode === TEXT ? Buffer.from(one.toString('latin1')) : one));
    for (const [i, one] of messages.entries()) {
      const body = deflateRawSync(one, { ...flush, level: 1 + (i % 9) }).subarray(0, -4);
      const parts = cut ? pieces(body, cut) : [body];
      const frames = parts.map((part, n) => frame(n ? CONT : opcode, part, { first: (n === parts.length - 1 ? 0x80 : 0) | (n ? 0 : 0x40 | opcode) }));
      peer.write(Buffer.concat(frames));
    }
    await peer.until(() => peer.over || peer.frames().length === count, what);
    peer.write(frame(CLOSE, closing(1000)));
    assert.equal(await peer.end(what), 1000, what);
    peer.frames().slice(0, count).forEach(({ first, payload }, i) => {
      const got = first & 0x40 ? inflateRawSync(Buffer.concat([payload, TAIL]), { ...flush, windowBits }) : payload;
      assert.equal(first & 0x3f, opcode, what);
      assert.ok(got.equals(messages[i]), `${what}: message ${i}`);
    });
  } finally {
    peer.destroy();
  }
}

const SIZES = [0, 16, 64, 256, 1024, 4096, 8192, 32_768, 131_072];

group('12 compression by size', () =>
  [TEXT, BINARY].flatMap((opcode) =>
    SIZES.flatMap((length) =>
      [0, 256].map((cut) => ({ run: runPacked, what: `opcode ${opcode}, ${length} bytes, cut ${cut}`, offer: 'permessage-deflate', length, opcode, cut })),
    ),
  ),
);

group('13 compression by parameters', () =>
  [
    ['permessage-deflate; client_no_context_takeover; client_max_window_bits', 15],
    ['permessage-deflate; server_no_context_takeover', 15],
    ['permessage-deflate; server_max_window_bits=9; client_max_window_bits=9', 9],
    ['permessage-deflate; server_max_window_bits=15', 15],
    ['permessage-deflate; server_no_context_takeover; server_max_window_bits=9', 9],
    ['permessage-deflate; server_no_context_takeover; server_max_window_bits=12; client_max_window_bits=12', 12],
    ['permessage-deflate; server_max_window_bits=99, permessage-deflate; server_max_window_bits=9, permessage-deflate', 9],
  ].flatMap(([offer, windowBits]) => SIZES.map((length) => ({ run: runPacked, what: `${offer}, ${length} bytes`, offer, windowBits, length, opcode: TEXT, cut: 0 }))),
);
