// SPDX-License-Identifier: Apache-2.0
// permessage-deflate (RFC 7692): what is negotiated, frames by hand, and stock clients, against the
// echo program and a hub with websocket.deflate = on.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { constants, deflateRawSync, inflateRawSync } from 'node:zlib';
import { io } from 'socket.io-client';
import { startEchoHub } from './support/echo_hub.mjs';
import { startHub } from './support/hub.mjs';
import { RawPeer, frame, text, upgradeHead } from './support/raw.mjs';
import { until, within } from './support/wait.mjs';

const OFFER = 'Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits';
const ANSWER = 'permessage-deflate; server_no_context_takeover; client_no_context_takeover';
const TAIL = Buffer.from([0, 0, 0xff, 0xff]);
const DEFLATE = '/deflate.io/?EIO=4&transport=websocket';
const PLAIN_TEXT = 0x81;
const PACKED_TEXT = 0xc1;
const PACKED_BINARY = 0xc2;

let echo;
let address;
const peers = new Set();

before(async () => {
  echo = await startEchoHub({ calm: true });
  const { hostname, port } = new URL(echo.url);
  address = { host: hostname, port: Number(port) };
});

after(async () => {
  for (const peer of peers) (peer.close ?? peer.destroy).call(peer);
  assert.deepEqual(await echo.stop(), { code: 0, signal: null });
});

const kept = (peer) => {
  peers.add(peer);
  return peer;
};
const open = async (target = '/echo', headers = [OFFER]) => kept(await RawPeer.upgrade(address, target, { headers }));
const pack = (data, options) => deflateRawSync(data, { finishFlush: constants.Z_SYNC_FLUSH, ...options }).subarray(0, -4);
const unpack = ({ first, payload }, options) =>
  first & 0x40 ? inflateRawSync(Buffer.concat([payload, TAIL]), { finishFlush: constants.Z_SYNC_FLUSH, ...options }) : payload;
const packed = (data, { opcode = 1, ...options } = {}) => frame(opcode, pack(data, options), { first: 0xc0 | opcode });

// A Socket.IO session with "/" joined, which answers pings; `echoes` are the frames behind that.
async function openSession() {
  const peer = await open(DEFLATE);
  let pings = 0;
  const isPing = ({ opcode, payload }) => opcode === 1 && String(payload) === '2';
  peer.watchers.add(() => {
    for (const all = peer.frames().filter(isPing).length; pings < all; pings += 1) peer.write(text('3'));
  });
  peer.write(text('40'));
  await peer.saw(/^42\["auth"/);
  peer.echoes = () => peer.frames().filter((one) => one.opcode === 1 && !isPing(one)).slice(3);
  return peer;
}

// The n-th frame of the peer, which must not have ended.
const received = (peer, n = 0) =>
  peer.until(() => {
    if (peer.over) throw new Error(`closed: ${peer.closeCode()}`);
    return peer.frames()[n];
  }, `frame ${n}`);

describe('negotiation', () => {
  const offers = [
    ['permessage-deflate', ANSWER],
    ['permessage-deflate; client_max_window_bits', ANSWER],
    ['permessage-deflate; client_max_window_bits=10', ANSWER],
    ['permessage-deflate; client_max_window_bits="10"', ANSWER],
    ['permessage-deflate; client_no_context_takeover; server_no_context_takeover', ANSWER],
    ['permessage-deflate; server_max_window_bits=15', `${ANSWER}; server_max_window_bits=15`],
    ['permessage-deflate; server_max_window_bits=8', `${ANSWER}; server_max_window_bits=8`],
    ['Permessage-Deflate', ANSWER],
    ['permessage-foo, permessage-deflate; x=1, permessage-deflate; server_max_window_bits=10, permessage-deflate', `${ANSWER}; server_max_window_bits=10`],
    ['', undefined],
    ['permessage-foo', undefined],
    ['x-webkit-deflate-frame', undefined],
    ['permessage-deflate; server_max_window_bits', undefined],
    ['permessage-deflate; server_max_window_bits=7', undefined],
    ['permessage-deflate; server_max_window_bits=16', undefined],
    ['permessage-deflate; server_max_window_bits=08', undefined],
    ['permessage-deflate; client_max_window_bits=7', undefined],
    ['permessage-deflate; client_no_context_takeover=1', undefined],
    ['permessage-deflate; client_no_context_takeover; client_no_context_takeover', undefined],
    ['permessage-deflate; unknown', undefined],
  ];
  for (const [offer, answer] of offers) {
    test(`${offer || 'an empty list'} ${answer ? 'is taken' : 'is passed over'}`, async () => {
      for (const target of ['/echo', DEFLATE]) {
        const peer = await open(target, [`Sec-WebSocket-Extensions: ${offer}`]);
        assert.equal(peer.parse().headers['sec-websocket-extensions'], answer, target);
      }
    });
  }

  test('a malformed list is refused', async () => {
    for (const offer of ['permessage-deflate;', 'permessage-deflate; =1', 'per message', 'permessage-deflate; a="b']) {
      for (const target of ['/echo', DEFLATE]) {
        await assert.rejects(open(target, [`Sec-WebSocket-Extensions: ${offer}`]), { status: 400 });
      }
    }
  });

  test('two header lines are one list', async () => {
    const peer = kept(await RawPeer.open(address));
    peer.write(upgradeHead('/echo', { headers: ['Sec-WebSocket-Extensions: foo', OFFER] }));
    assert.equal((await peer.answer()).headers['sec-websocket-extensions'], ANSWER);
  });

  test('where it is off, it is not', async () => {
    const peer = await open('/socket.io/?EIO=4&transport=websocket');
    assert.equal(peer.parse().headers['sec-websocket-extensions'], undefined);
    peer.write(packed('3'));
    assert.equal(await peer.end(), 1002);
  });
});

describe('frames', () => {
  const messages = {
    'one byte': 'x',
    'nothing': '',
    'text': 'Hello '.repeat(20),
    'all of UTF-8': 'aé€😀'.repeat(100),
    '64 KiB': 'x'.repeat(65_536),
    '4 MiB': 'compress me '.repeat((4 << 20) / 12),
    '100 KiB that do not compress': randomBytes(100 << 10),
  };
  for (const [title, data] of Object.entries(messages)) {
    test(`${title} comes back`, async () => {
      const opcode = Buffer.isBuffer(data) ? 2 : 1;
      for (const level of [1, 9]) {
        const peer = await open();
        peer.write(packed(data, { opcode, level }));
        const answer = await received(peer);
        assert.equal(answer.opcode, opcode);
        assert.ok(unpack(answer).equals(Buffer.from(data)));
        peer.write(frame(opcode, data)); // not compressed is fine as well
        assert.ok(unpack(await received(peer, 1)).equals(Buffer.from(data)));
        peer.destroy();
      }
    });
  }

  test('what is long enough leaves compressed, the rest does not', async () => {
    const peer = await openSession();
    const event = (length) => `42["message","${'x'.repeat(length)}"]`;
    peer.write(text(event(1)));
    peer.write(packed(event(100)));
    await peer.until(() => peer.echoes().length === 2, 'two echoes');
    const [short, long] = peer.echoes();
    assert.deepEqual([short.first, long.first], [PLAIN_TEXT, PACKED_TEXT]);
    assert.equal(String(unpack(long)), `42["message-back","${'x'.repeat(100)}"]`);
    assert.ok(long.payload.length < 50);
  });

  test('a small window is respected', async () => {
    for (const bits of [8, 9, 12, 15]) {
      const peer = await open('/echo', [`Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=${bits}`]);
      const noise = randomBytes(4096).toString('hex');
      const far = `${noise}${'-'.repeat(3000)}${noise}`; // its second half is far behind the first
      peer.write(text(far));
      const answer = await received(peer);
      const windowBits = Math.max(bits, 9); // the least that zlib knows
      assert.equal(String(unpack(answer, { windowBits })), far, `${bits} bits`);
      peer.write(text('y'.repeat(200)));
      assert.equal((await received(peer, 1)).first, PACKED_TEXT);
    }
  });

  test('fragments, with a ping between them, cut anywhere', async () => {
    const data = 'fragment me, é€😀, '.repeat(30);
    const bytes = pack(data);
    for (const size of [1, 2, 7]) {
      const parts = [];
      for (let at = 0; at < bytes.length; at += size) {
        const last = at + size >= bytes.length;
        parts.push(frame(at === 0 ? 1 : 0, bytes.subarray(at, at + size), { first: (last ? 0x80 : 0) | (at === 0 ? 0x41 : 0) }));
        if (at === 0) parts.push(frame(9, 'here'));
      }
      const peer = await open();
      await peer.drip(Buffer.concat(parts), 3);
      const [pong, answer] = [await received(peer), await received(peer, 1)];
      assert.equal(String(pong.payload), 'here');
      assert.equal(String(unpack(answer)), data);
    }
  });

  test('an empty last fragment', async () => {
    const peer = await open();
    peer.write(Buffer.concat([frame(1, pack('abc'), { first: 0x41 }), frame(0, '')]));
    assert.equal(String(unpack(await received(peer))), 'abc');
  });

  test('messages do not know each other', async () => {
    const peer = await open();
    for (let i = 0; i < 50; i += 1) peer.write(packed(`the same text ${i % 2}`));
    for (let i = 0; i < 50; i += 1) assert.equal(String(unpack(await received(peer, i))), `the same text ${i % 2}`);
  });

  const refused = [
    ['RSV1 on a continuation', Buffer.concat([frame(1, pack('abc'), { first: 0x41 }), frame(0, 'x', { first: 0xc0 })]), 1002],
    ['RSV1 on a ping', frame(9, 'x', { first: 0xc9 }), 1002],
    ['RSV1 on a close', frame(8, '', { first: 0xc8 }), 1002],
    ['RSV2 beside it', frame(1, pack('x'), { first: 0xe1 }), 1002],
    ['no deflate stream', frame(2, Buffer.from([7]), { first: 0xc2 }), 1002],
    ['a cut one', frame(2, pack('x'.repeat(1000)).subarray(0, 5), { first: 0xc2 }), 1002],
    ['nothing at all', frame(1, '', { first: 0xc1 }), 1002],
    ['text that is not UTF-8', packed(Buffer.from([0xc3, 0x28])), 1007],
    ['text that ends inside a character', packed(Buffer.from([0xe2, 0x82])), 1007],
    ['a bomb', packed(Buffer.alloc(17 << 20), { opcode: 2, level: 9 }), 4413],
  ];
  for (const [title, bytes, code] of refused) {
    test(`${title} closes with ${code}`, async () => {
      const peer = await open();
      peer.write(Buffer.concat([packed('before'), bytes, packed('behind')]));
      assert.equal(await peer.end(), code);
      assert.deepEqual(peer.frames().filter(({ opcode }) => opcode !== 8).map((one) => String(unpack(one))), ['before']);
    });
  }

  test('the limit counts what a message stands for', async () => {
    const LIMIT = 16 << 20;
    const peer = await open();
    peer.write(packed(Buffer.alloc(LIMIT), { opcode: 2, level: 0 })); // stored: longer on its way
    peer.write(packed(Buffer.alloc(LIMIT), { opcode: 2 }));
    assert.equal(unpack(await received(peer, 0)).length, LIMIT);
    assert.equal(unpack(await received(peer, 1)).length, LIMIT);
    peer.write(packed(Buffer.alloc(LIMIT + 1), { opcode: 2 }));
    assert.equal(await peer.end(), 4413);
    const plain = await open();
    plain.write(frame(2, Buffer.alloc(LIMIT + 1)));
    assert.equal(await plain.end(), 4413);
  });
});

for (const [name, transports] of Object.entries({ websocket: ['websocket'], 'with an upgrade': ['polling', 'websocket'] })) {
  test(`the stock client, ${name}`, async () => {
    const socket = kept(io(echo.url, { path: '/deflate.io/', forceNew: true, transports, perMessageDeflate: { threshold: 0 }, reconnectionDelay: 10, reconnectionDelayMax: 50 }));
    const got = [];
    socket.on('message-back', (i, filler, bytes) => got.push([i, filler.length, bytes.length]));
    for (let i = 0; i < 100; i += 1) socket.emit('message', i, 'x'.repeat(i * 10), Buffer.alloc(i * 10));
    await until(() => got.length === 100, 'every echo');
    assert.deepEqual(got, Array.from({ length: 100 }, (_, i) => [i, i * 10, i * 10]));
    await until(() => socket.io.engine.transport.name === 'websocket', 'the WebSocket');
    assert.match(socket.io.engine.transport.ws.extensions, /^permessage-deflate/);
    socket.close();
  });
}

test('a hub: one broadcast reaches those who take it compressed, and the others', async () => {
  const hub = await startHub({ config: 'shards = 2\nwebsocket { deflate = on deflate_bytes = 256 }\n' });
  const body = 'said to everybody, '.repeat(50);
  const clients = [];
  for (const perMessageDeflate of [true, false]) {
    for (const batch of [true, false]) clients.push(hub.socketIo(`io-${perMessageDeflate}-${batch}`, { perMessageDeflate, auth: { batch } }));
    clients.push(hub.socketIo(`poll-${perMessageDeflate}`, { perMessageDeflate, transports: ['polling', 'websocket'] }));
  }
  const heard = new Map(clients.map((client) => [client, []]));
  for (const client of clients) {
    client.onAny((name, first) => {
      const events = name === 'batch_update' ? first.messages.map(({ event, args }) => [event, args[0]]) : [[name, first]];
      heard.get(client).push(...events.filter(([, one]) => one?.message === body).map(([event]) => event));
    });
    assert.equal((await client.timeout(30_000).emitWithAck('join_room', 'public:d')).ok, true);
  }
  const plain = [];
  for (const protocol of ['peal.json.v1', 'peal.msgpack.v1']) {
    const peer = await RawPeer.plain(hub.address, hub.token(`raw-${protocol}`), { protocol, headers: [OFFER] });
    const join = protocol.includes('json') ? text('[[1,"join_room","public:d"]]') : frame(2, Buffer.from('919301a96a6f696e5f726f6f6da87075626c69633a64', 'hex'));
    peer.write(join);
    await peer.until(() => peer.frames().some((one) => unpack(one).includes('public:d')), 'joined');
    plain.push([peer, protocol.includes('json') ? PACKED_TEXT : PACKED_BINARY]);
  }
  const sender = hub.socketIo('sender');
  assert.equal((await sender.timeout(30_000).emitWithAck('join_room', 'public:d')).ok, true);
  assert.equal((await sender.timeout(30_000).emitWithAck('send_message', { roomId: 'public:d', message: body })).ok, true);
  for (const client of clients) await until(() => heard.get(client).length === 1, 'the message');
  for (const [peer, first] of plain) {
    const found = await peer.until(() => peer.frames().find((one) => unpack(one).includes(body)), 'the message');
    assert.equal(found.first, first);
    assert.ok(found.payload.length < 400);
    peer.destroy();
  }
  sender.close();
  const ended = clients.map((client) => within(new Promise((resolve) => client.once('disconnect', resolve)), 'the end'));
  for (const client of clients) client.io.reconnection(false);
  hub.server.signal('SIGTERM');
  await Promise.all(ended);
  assert.deepEqual(await within(hub.server.ended, 'the hub ends'), { code: 0, signal: null });
});
