// SPDX-License-Identifier: Apache-2.0
// attacks_protocol - hostile Engine.IO, Socket.IO, JSON and MessagePack inside good frames.
import assert from 'node:assert/strict';
import { encode } from '@msgpack/msgpack';
import { randomBytes } from 'node:crypto';
import { after, before, test } from 'node:test';
import { ENGINE, RawPeer, binary, text } from './support/raw.mjs';
import { FULL, Siege } from './support/siege.mjs';

let siege;
before(async () => {
  siege = await Siege.start({ args: ['--limits-messages-burst', '1000000', '--limits-inbox-burst', '1000000'] });
});
after((context) => siege.stop(context));

let users = 0;
const someone = () => siege.hub.token(`mallory${users++ % 50}`);
const ASK = '421["notification:received",{"upTo":0}]';
const ANSWER = /^431\[\{"ok":true\}\]$/;
const quote = JSON.stringify;
const place = (num) => `{"_placeholder":true,"num":${num}}`;
const CLOSED = 'closed';
const OPEN = 'open';
const EITHER = 'either';

// Frames: a string is a text message, a Buffer a binary one.
const frames = (list) => Buffer.concat([list].flat().map((one) => (Buffer.isBuffer(one) ? binary(one) : text(one))));

// [what, messages, OPEN (the next question is answered) or CLOSED or EITHER, what must come]
const C = {
  'C2 packets': [
    ...['7', '8', '9', 'a', '', ' ', '\0', '4', '47', '48["x"]', '4a', '4 2["x"]', '00', '\u0664', '-1', '44{"message":"x"}', '44'].map((one) => [`text ${quote(one)}`, one, EITHER]),
    ['unknown packet', '7', CLOSED],
    ['empty', '', CLOSED],
    ['letter', 'x', CLOSED],
    ['message of nothing', '4', CLOSED],
    ['unknown Socket.IO type', '47["x"]', CLOSED],
    ['error of a client', '44{"message":"x"}', CLOSED],
    ['binary without a text before', Buffer.from('x'), CLOSED],
    ['empty binary', Buffer.alloc(0), CLOSED],
    ['only b', 'b', CLOSED],
    ['base64', 'bAQID', CLOSED],
    ['close', '1', CLOSED],
    ['noop and open', ['6', '0{}'], OPEN],
  ],
  'C3 acks': [
    ['400 digits', `42${'9'.repeat(400)}["x"]`, OPEN],
    ['negative', '42-1["x"]', CLOSED],
    ['2^53 + 1', '429007199254740993["notification:received",{"upTo":0}]', OPEN, /^439007199254740992\[/],
    ['2^53', '429007199254740992["notification:received",{"upTo":0}]', OPEN, /^439007199254740992\[/],
    ['2^53 - 1', '429007199254740991["notification:received",{"upTo":0}]', OPEN, /^439007199254740991\[/],
    ['2^64', '4218446744073709551616["x"]', OPEN],
    ['leading zeros', `42${'0'.repeat(300)}1["notification:received",{"upTo":0}]`, OPEN, /^431\[/],
    ['of nothing', '43999[]', OPEN],
    ['twice', ['430[]', '430[]'], OPEN],
    ['without id', '43[]', CLOSED],
    ['of an object', '431{}', CLOSED],
    ['the largest id of a join', '429007199254740991["join_room","public"]', OPEN, /^439007199254740991\[\{"ok":/],
  ],
  'C4 names of events': [
    ...['{}', '[]', 'null', '[{}]', '[null]', '[[]]', '[true]', '"x"', '1', '', '["x"', '["x"]]', '[,]', '["connect"]', '["connect_error"]', '["disconnect"]', '["disconnecting"]', '["newListener"]', '["removeListener"]', '["__proto__"]', '["con\\u006eect"]', `["${'n'.repeat(256)}"]`, `["${'n'.repeat(60_000)}"]`].map((payload) => [`payload ${payload.slice(0, 20)}`, `42${payload}`, CLOSED]),
    ['a number', '42[1]', EITHER],
    ['empty name', '42[""]', EITHER],
    ['constructor', '421["constructor"]', OPEN, /"ok":false/],
    ['hasOwnProperty', '421["hasOwnProperty",{"__proto__":{"x":1}}]', OPEN, /"ok":false/],
    ['events of the hub', '421["notification",{"id":1}]', OPEN, /"ok":false/],
    ['255 bytes', `421["${'n'.repeat(255)}"]`, OPEN, /"ok":false/],
    ['NUL in the name', '421["a\\u0000b"]', OPEN, /"ok":false/],
    ['format directives', '421["%s%n%x%99999999d"]', OPEN, /"ok":false/],
  ],
  'C5 namespaces': [
    ['60 KiB', `40/${'n'.repeat(60_000)},`, CLOSED],
    ['unknown', '40/unknown,', OPEN, /^44\/unknown,/],
    ['with a query', '40/admin?token=x,', OPEN, /^44\//],
    ['dots', '40/../admin,', OPEN, /^44\//],
    ['event in a namespace never joined', '42/admin,["x"]', CLOSED],
    ['many', Array.from({ length: 10_000 }, (_, n) => `40/n${n},`), CLOSED],
  ],
  'C6 number of attachments': [
    ...['11', '1000000000', '-1', '1.5', '1e3', '', '99999999999999999999', '01x', ' 1', '+1'].map((count) => [`${count} attachments`, `45${count}-["x",${place(0)}]`, CLOSED]),
    ['no dash', `451["x",${place(0)}]`, CLOSED],
    ['none', '450-["notification:received",{"upTo":0}]', EITHER],
    ['ack with 11', `4611-1[${place(0)}]`, CLOSED],
  ],
  'C7 attachments': [
    ['text in between', [`451-["x",${place(0)}]`, '42["x"]'], CLOSED],
    ['connect in between', [`451-["x",${place(0)}]`, '40/x,'], CLOSED],
    ['one too many', [`451-1["x",${place(0)}]`, Buffer.from('a'), Buffer.from('b')], CLOSED],
    ['as announced', [`452-1["x",${place(0)},${place(1)}]`, Buffer.from('a'), Buffer.alloc(60_000)], OPEN, /"ok":false/],
    ['empty ones', [`452-1["x",${place(0)},${place(1)}]`, Buffer.alloc(0), Buffer.alloc(0)], OPEN, /"ok":false/],
    ['disconnect in between', [`451-["x",${place(0)}]`, '41', Buffer.from('a')], CLOSED],
  ],
  'C8 placeholders': [
    ...['-1', '1', '1.5', '"0"', 'null', '1e9', '99999999999999999999', '[0]', '0.0', '-0'].map((num) => [`num ${num}`, [`451-["x",${place(num)}]`, Buffer.from('a')], EITHER]),
    ['num above the count', [`451-["x",${place(7)}]`, Buffer.from('a')], CLOSED],
    ['negative', [`451-["x",${place(-1)}]`, Buffer.from('a')], CLOSED],
    ['text', [`451-["x",${place('"0"')}]`, Buffer.from('a')], CLOSED],
    ['the same twice', [`452-["x",${place(0)},${place(0)}]`, Buffer.from('a'), Buffer.from('b')], OPEN],
    ['32 times', [`451-["x"${`,${place(0)}`.repeat(32)}]`, Buffer.from('a')], OPEN],
    ['33 times', [`451-["x"${`,${place(0)}`.repeat(33)}]`, Buffer.from('a')], CLOSED],
    ['as a key', [`451-1["x",{"_placeholder":{"_placeholder":true,"num":0}}]`, Buffer.from('a')], EITHER],
    ['without num', [`451-1["x",{"_placeholder":true}]`, Buffer.from('a')], EITHER],
    ['in the name', [`451-1[${place(0)}]`, Buffer.from('connect')], EITHER],
    ['in text events', `421["x",${place(0)}]`, EITHER],
  ],
  'C9 JSON': [
    ['depth 33', `421["x",${'['.repeat(33)}${']'.repeat(33)}]`, CLOSED],
    ['depth 20', `421["x",${'['.repeat(20)}${']'.repeat(20)}]`, OPEN, /"ok":false/],
    ['depth 10,000', `42["x",${'['.repeat(10_000)}${']'.repeat(10_000)}]`, CLOSED],
    ['60 KiB of [', `42${'['.repeat(60_000)}`, CLOSED],
    ['60 KiB of {"a":', `42["x",${'{"a":'.repeat(12_000)}`, CLOSED],
    ['30,000 empty arrays', `421["x"${',[]'.repeat(20_000)}]`, OPEN, /"ok":false/],
    ['doubled keys', '421["notification:received",{"upTo":0,"upTo":"x"}]', EITHER],
    ['1e400', '421["notification:received",{"upTo":1e400}]', OPEN, /"ok":false/],
    ['-1', '421["notification:received",{"upTo":-1}]', OPEN, /"ok":false/],
    ['2^64', '421["notification:received",{"upTo":18446744073709551616}]', OPEN, /"ok":false/],
    ['lone surrogate', '421["x","\\ud800"]', EITHER],
    ['raw control byte', '421["x","\u0001"]', CLOSED],
    ['bad escape', '421["x","\\x41"]', CLOSED],
    ['cut escape', '421["x","\\u00"]', CLOSED],
    ['single quotes', "421['x']", CLOSED],
    ['comment', '421["x"/**/]', CLOSED],
    ['NaN', '421["x",NaN]', CLOSED],
    ['leading zero', '421["x",01]', CLOSED],
    ['trailing comma', '421["x",]', CLOSED],
    ['mark of byte order', '421\ufeff["x"]', CLOSED],
    ['number of 60,000 digits', `421["x",${'9'.repeat(60_000)}]`, OPEN, /"ok":false/],
  ],
  'C10 order': [
    ['CONNECT twice', '40{}', CLOSED],
    ['CONNECT twice at once', ['40/,{}', '40{}'], CLOSED],
    ['DISCONNECT, then events', ['41', '42["x"]'], CLOSED],
    ['DISCONNECT twice', ['41', '41'], CLOSED],
    ['DISCONNECT with a payload', '41{"x":1}', EITHER],
    ['DISCONNECT, CONNECT again', ['41', '40{}'], EITHER],
  ],
  'C11 Engine.IO': [
    ['ping of a client', '2', CLOSED],
    ['probe', '2probe', CLOSED],
    ['pongs nobody asked for', Array.from({ length: 2000 }, () => '3'), OPEN],
    ['pong with data', '3probe', OPEN],
    ['upgrade', '5', OPEN],
    ['upgrade twice', ['5', '5'], OPEN],
  ],
};

async function tryRow(title, [what, messages, expected, pattern]) {
  const name = `${title}: ${what}`;
  const peer = await RawPeer.socketIo(siege.address, someone());
  peer.write(frames(messages));
  if (pattern) await peer.saw(pattern, `${name}: ${pattern}`);
  if (expected === OPEN) {
    peer.write(text(ASK));
    await peer.saw(ANSWER, `${name}: an answer`);
  } else if (expected === CLOSED) {
    const code = await peer.end(name);
    assert.ok([1005, 1000, 1002, 1006, 4413].includes(code), `${name}: close ${code}`);
  } else {
    peer.write(text(ASK));
    await peer.until(() => peer.over || peer.texts().some((one) => ANSWER.test(one)), `${name}: an answer or the end`);
  }
  peer.destroy();
}

for (const [title, rows] of Object.entries(C)) {
  test(title, () =>
    siege.strike(title, async () => {
      for (const row of rows) await tryRow(title, row);
      return rows.length;
    }, { raised: 'peal_connections_accepted_total' }),
  );
}

test('C2 to C10 before a token is shown', async () => {
  const rows = ['42["x"]', '421["join_room","public"]', '41', '43[]', '451-["x",{"_placeholder":true,"num":0}]', '40', '40{', '40[]', '40null', '40"x"', '401', `40{"token":"${'x'.repeat(3000)}"}`, '40{"token":1}', '40{"token":null}', '40{"token":{"$gt":""}}', '40{"token":["a"]}', `40${'{"a":'.repeat(600)}`, `40/${'n'.repeat(255)},`, '40{"token":"a.b.c"}', '40{"token":"\\u0000"}', '40{"token":"' + '\\u00e9'.repeat(500) + '"}'];
  await siege.strike('before', async () => {
    for (const row of rows) {
      const peer = await RawPeer.upgrade(siege.address, ENGINE);
      await peer.saw(/^0\{/);
      peer.write(frames(row));
      await peer.until(() => peer.over || peer.texts().some((one) => /^44/.test(one)), `${row.slice(0, 40)} is refused`);
      assert.doesNotMatch(peer.text, /40\{"sid"/, row);
      peer.destroy();
    }
    const peer = await RawPeer.upgrade(siege.address, ENGINE);
    peer.write(frames(Array.from({ length: 1000 }, () => '40{"token":"x"}')));
    assert.equal(await peer.end(), 1006); // too many refusals: for a time, so without a code
    assert.ok(peer.texts().filter((one) => /^44/.test(one)).length <= 16);
    return rows.length + 1;
  }, { raised: ['peal_tokens_refused_total', 'peal_closed_total{reason="too_many"}'] });
});

test('an event is counted once, however it came', async () => {
  await siege.strike('count', async () => {
    await siege.canary.pause();
    const peer = await RawPeer.socketIo(siege.address, someone());
    const before = (await siege.metrics()).peal_events_received_total;
    peer.write(frames(Array.from({ length: 25 }, (_, n) => `42${n + 10}["notification:received",{"upTo":0}]`)));
    await peer.until(() => peer.texts().filter((one) => /^43/.test(one)).length === 25, '25 answers');
    assert.equal((await siege.metrics()).peal_events_received_total - before, 25);
    siege.canary.resume();
    peer.destroy();
    return 1;
  });
});

// Their deadline is 10 s.
test('C7 attachments that never come', { skip: !FULL && 'only with PEAL_FULL=1' }, async () => {
  const count = 100;
  await siege.strike('C7', async () => {
    const peers = [];
    for (let n = 0; n < count; n++) {
      const peer = await RawPeer.socketIo(siege.address, someone());
      peer.write(frames([`4510-["x",${Array.from({ length: 10 }, (_, at) => place(at))}]`, Buffer.alloc(60_000)]));
      peers.push(peer);
    }
    // Pongs keep the heartbeat happy; only the packet's own deadline ends them.
    for (const peer of peers) assert.equal(await peer.end(), 1005);
    return count;
  }, { raised: 'peal_closed_total{reason="parse"}' });
});

test('C7 attachments above what a packet may have', async () => {
  await siege.strike('C7', async () => {
    const peer = await RawPeer.socketIo(siege.address, someone());
    peer.write(frames([`4510-1["x",${Array.from({ length: 10 }, (_, at) => place(at))}]`, ...Array.from({ length: 10 }, () => Buffer.alloc(65_536))]));
    await peer.until(() => peer.over || peer.texts().some((one) => /^431/.test(one)), 'the end or an answer');
    peer.destroy();
    return 1;
  });
});

const pack = (...values) => Buffer.concat(values.map((value) => (Buffer.isBuffer(value) ? value : Buffer.from(encode(value)))));
const hex = (value) => Buffer.from(value.replaceAll(' ', ''), 'hex');
const P = {
  json: [
    ...['', ' ', 'x', '[]', '{}', 'null', '"x"', '1', '[1]', '[[]]', '[[null]]', '[[1]]', '[[0,"x"]]', '[["x"],]', '[["x"]', '[[7]]', '[[{}]]', '[[1.5,"x"]]', '[[1e3,"x"]]', '[[9007199254740993,"x"]]', '[[18446744073709551616,"x"]]', '[["x"]]x', `[${'['.repeat(60_000)}`, `[["x",${'['.repeat(40)}${']'.repeat(40)}]]`, `[["${'n'.repeat(256)}"]]`, '[["connect"]]', '[["__proto__"]]', '[["\\ud800"]]', '\0', '[["x"\0]]', '[[-1]]', '[[-0,"x"]]', `[${'["x"],'.repeat(9000)}["x"]]`].map((message) => [message, text(message)]),
    ['binary', binary('[["x"]]')],
  ],
  msgpack: [
    ...['dd ff00 0000', 'dd ffff ffff', 'dc ffff', 'df ffff ffff', 'de ffff', 'db ffff ffff 61', 'c6 ffff ffff', 'c9 ffff ffff 01', 'c1', '', 'c0', '90', '80', '91', '91 90', '91 91', '91 91 c0', '91 91 01', '91 92 01', '91 92 cf ffff ffff ffff ffff a178', '91 92 d3 8000 0000 0000 0000 a178', '91 92 cb 7ff8 0000 0000 0000 a178', '91 92 a178 cb 7ff0 0000 0000 0000', '91 92 a178 81 cb 7ff8 0000 0000 0000 01', '91 92 a178 81 c0 01', '91 92 a178 81 90 01', '91 92 a178 d4 01 00', '91 92 a178 c7 00 ff', '91 92 a178 d6 ff 0000 0000', '91 92 a178 82 a161 01 a161 02', '91 91 a2 c3 28', '91 91 a1 ff', '91 91 a178 00', '91 91 a0', '91 92 a178 c4 03 010203', 'd9 ff'].map((bytes) => [bytes || 'empty', binary(hex(bytes))]),
    ['60,000 nested arrays', binary(Buffer.alloc(60_000, 0x91))],
    ['60,000 nested maps', binary(Buffer.alloc(60_000, 0x81))],
    ['60,000 array heads', binary(Buffer.alloc(60_000, 0xdd))],
    ['reserved name', binary(pack([['connect']]))],
    ['name of 300 bytes', binary(pack([['n'.repeat(300)]]))],
    ['depth 40', binary(Buffer.concat([hex('91 92 a178'), Buffer.alloc(40, 0x91), hex('c0')]))],
    ['array of 2^32-256 nils in 60 KiB', binary(Buffer.concat([hex('dd ffffff00'), Buffer.alloc(60_000, 0xc0)]))],
    ['text', text('[["x"]]')],
  ],
};

for (const [encoding, rows] of Object.entries(P)) {
  test(`C14 plain WebSocket, ${encoding}`, async () => {
    const ask = encoding === 'json' ? text('[[7,"notification:received",{"upTo":0}]]') : binary(pack([[7, 'notification:received', { upTo: 0 }]]));
    const answered = encoding === 'json' ? /\[-7,/ : /\x92\xf9/;
    await siege.strike(encoding, async () => {
      for (const [what, bytes] of rows) {
        const peer = await RawPeer.plain(siege.address, someone(), { protocol: `peal.${encoding}.v1` });
        peer.write(Buffer.concat([bytes, ask]));
        await peer.until(() => peer.over || answered.test(peer.text), `${what.slice(0, 40)}: an answer or the end`);
        if (peer.over) assert.ok([1005, 1007, 4400, 4413, 4429].includes(peer.closeCode()), `${what.slice(0, 40)}: ${peer.closeCode()}`);
        peer.destroy();
      }
      return rows.length;
    });
  });
}

test('random packets', async () => {
  const seed = randomBytes(4).toString('hex');
  const count = FULL ? 20_000 : 1000;
  const pieces = ['40', '41', '42', '43', '45', '46', '1-', '/x,', '["x"]', '["join_room","public"]', '["leave_room","public"]', '{}', '[', ']', place(0), '1', '-', '"', '2', '3', '5', '6', '0', ',', '["typing:start",{"roomId":"public"}]', '["send_message",{"roomId":"public","message":"m"}]', '["auth:refresh",{"token":"x"}]', '["notification:read",["a"]]'];
  let state = Number.parseInt(seed, 16) || 1;
  const draw = (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % below;
  };
  await siege.strike(`noise ${seed}`, async () => {
    let tried = 0;
    while (tried < count) {
      const peer = await RawPeer.socketIo(siege.address, someone());
      for (let n = 0; n < 20 && !peer.over; n++, tried++) {
        const one = Array.from({ length: 1 + draw(4) }, () => pieces[draw(pieces.length)]).join('');
        peer.write(draw(8) ? text(one) : binary(one));
      }
      peer.write(text('1'));
      await peer.end();
      peer.destroy();
    }
    return tried;
  });
});

test('the events of the hub with arguments of every kind', async () => {
  const events = ['join_room', 'leave_room', 'send_message', 'typing:start', 'typing:stop', 'notification:read', 'notification:seen', 'notification:archive', 'notification:read_all', 'notification:list', 'notification:sync', 'notification:received', 'presence:query', 'subscribe', 'auth:refresh', 'hub:pong', 'hub:ping'];
  const big = ['-1', '9223372036854775807', '9223372036854775808', '18446744073709551615', '18446744073709551616', '1.5', '1e400', '"1"', '""', 'null', 'true', '[]', '{}', '"\' OR 1=1 --"', '"\\u0000"', `"${'x'.repeat(5000)}"`, '"../x"', '"a/b"'];
  const keys = ['roomId', 'upTo', 'after', 'limit', 'state', 'type', 'rev', 'epoch', 'companyId', 'customerId', 'users', 'token', 'message', 'ids', 'id', 'nonce'];
  await siege.strike('arguments', async () => {
    let tried = 0;
    for (const event of events) {
      const peer = await RawPeer.socketIo(siege.address, siege.hub.token(`args-${event}`));
      const arguments_ = [...big, ...keys.flatMap((key) => big.map((value) => `{"${key}":${value}}`)), '{"roomId":"public","message":5}', '{"roomId":"public","message":"\\ud800"}'];
      const wide = FULL ? arguments_ : arguments_.filter((_, n) => n < 18 || n % 3 === tried % 3);
      peer.write(Buffer.concat(wide.map((argument, n) => text(`42${n + 10}["${event}",${argument}]`))));
      tried += wide.length;
      await peer.until(() => peer.over || peer.texts().filter((one) => /^43/.test(one)).length >= wide.length, `${event}: an answer to each`);
      assert.equal(peer.closed, false, `${event}: closed ${peer.closeCode()}`);
      peer.destroy();
    }
    return tried;
  }, { raised: 'peal_events_received_total' });
});
