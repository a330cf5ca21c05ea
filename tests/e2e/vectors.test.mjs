// SPDX-License-Identifier: Apache-2.0
// The golden vectors of Engine.IO and Socket.IO, given to the parsers of stock clients: they read
// what the hub sends, and write what it reads, as tests/unit/codec says.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { decodePacket, decodePayload, encodePayload } from 'engine.io-parser';
import msgpack from 'socket.io-msgpack-parser';
import { Decoder, Encoder } from 'socket.io-parser';

const RS = '\x1e';
const BIN = Buffer.from([1, 2, 3, 4]); // what every placeholder stands for here

function unescape(text) {
  const codes = { r: '\r', n: '\n', t: '\t', '\\': '\\' };
  return Buffer.from(text.replace(/\\(x..|.)/g, (_, code) => codes[code] ?? String.fromCharCode(Number(`0${code}`))), 'latin1');
}

const quote = (data) =>
  [...Buffer.from(data)].map((byte) => (byte === 0x5c ? '\\\\' : byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : `\\x${byte.toString(16).padStart(2, '0')}`)).join('');

// The cases of a file: {title, input, expected}, the result as it stands.
function vectors(name) {
  const text = readFileSync(fileURLToPath(new URL(`../data/codec/${name}`, import.meta.url)), 'latin1');
  const cases = [];
  let title;
  let input = '';
  for (const line of text.split('\n')) {
    if (line.startsWith('# ')) title = line.slice(2);
    else if (line.startsWith('< ')) input += line.slice(2);
    else if (line.startsWith('> ')) {
      cases.push({ title: `${title}: ${input.slice(0, 60)}`, input: unescape(input), expected: line.slice(2) });
      input = '';
    }
  }
  assert.ok(cases.length > 0);
  return cases;
}

const good = (name) => vectors(name).filter(({ expected }) => !/(^|\s)error /.test(expected));

// `value` with a placeholder for each buffer, depth first, or the reverse.
function withPlaceholders(value, count = { n: 0 }) {
  if (value instanceof Uint8Array) return { _placeholder: true, num: count.n++ };
  if (value instanceof Date) return value.toISOString();
  if (Array.isArray(value)) return value.map((one) => withPlaceholders(one ?? null, count));
  if (value === null || typeof value !== 'object') return value;
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, withPlaceholders(one, count)]));
}

function withBuffers(value) {
  if (value === null || typeof value !== 'object') return value;
  if (value._placeholder === true) return BIN;
  if (Array.isArray(value)) return value.map(withBuffers);
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, withBuffers(one)]));
}

// Have a stock decoder read a packet and the buffers behind it.
function decode(decoder, packet, attachments = 0) {
  const found = [];
  decoder.on('decoded', (one) => found.push(one));
  decoder.add(packet);
  for (let i = 0; i < attachments; i += 1) decoder.add(BIN);
  decoder.destroy();
  assert.equal(found.length, 1, 'one packet');
  return found[0];
}

describe('Engine.IO', () => {
  test('payloads are read, and written again, as stock clients do', async () => {
    for (const { title, input, expected } of good('eio_payload.txt')) {
      const body = input.toString('utf8');
      const packets = decodePayload(body, 'nodebuffer');
      const shown = packets.map(({ type, data }) => `${Buffer.isBuffer(data) ? 'binary' : type}"${quote(data ?? '')}"`);
      assert.equal(shown.join(' '), expected, title);
      const again = await new Promise((resolve) => encodePayload(packets, resolve));
      assert.equal(again, body.replace(/[\r\n]/g, ''), title);
    }
  });

  test('what is refused is refused by them, or is more than they check', () => {
    const bad = vectors('eio_payload.txt').filter(({ expected }) => /error PROTO$/.test(expected));
    const refused = bad.filter(({ input }) => decodePayload(input.toString('utf8'), 'nodebuffer').some(({ type }) => type === 'error'));
    assert.ok(refused.length > 0 && bad.length > refused.length);
  });

  test('handshakes', () => {
    for (const { title, input, expected } of vectors('eio_sent.txt').filter((one) => String(one.input).startsWith('open'))) {
      const [, sid, upgrades, pingInterval, pingTimeout, maxPayload] = String(input).split('|');
      const { type, data } = decodePacket(expected, 'nodebuffer');
      assert.equal(type, 'open', title);
      assert.equal(data, JSON.stringify({ sid, upgrades: upgrades === '1' ? ['websocket'] : [], pingInterval: Number(pingInterval), pingTimeout: Number(pingTimeout), maxPayload: Number(maxPayload) }), title);
    }
  });
});

const ID_MAX = 2 ** 60; // SIO_ID_MAX of codec/sio.h
const TYPES = { connect: 0, disconnect: 1, event: 2, ack: 3, refuse: 4, binary_event: 5, binary_ack: 6 };

// The result of sio.txt and sio_msgpack.txt as an object.
function readResult(expected) {
  const [, type, attachments, nsp, id, payload] = /^(\w+)(?: attachments=(\d+))? nsp=(\S*)(?: id=(\d+))?(?: payload=(.*?))?(?: (?:name|args)=.*)?$/.exec(expected);
  const text = payload === undefined ? undefined : unescape(payload).toString('utf8');
  return { type: TYPES[type], attachments: Number(attachments ?? 0), nsp, id: id === undefined ? undefined : Number(id), text, data: text === undefined ? undefined : JSON.parse(text) };
}

// The packet that a command of sio_sent.txt asks for, as an application would give it to a server.
function readCommand(command) {
  const [kind, nsp, ...rest] = command.split('|');
  const packet = { type: TYPES[kind], nsp };
  const list = (text) => withBuffers(JSON.parse(`[${text}]`));
  if (kind === 'connect') packet.data = { sid: rest[0], ...(rest[1] && { pid: rest[1] }) };
  if (kind === 'refuse') packet.data = { message: rest[0], ...(rest[1] && { data: JSON.parse(rest[1]) }) };
  if (kind === 'ack') Object.assign(packet, { id: Number(rest[0]), data: list(rest[1]) });
  if (kind === 'event') {
    const [id, name, args, offset] = rest;
    if (id) packet.id = Number(id);
    packet.data = [name[0] === '#' ? Number(name.slice(1)) : name, ...list(args), ...(offset ? [offset] : [])];
  }
  return packet;
}

describe('Socket.IO', () => {
  test('what stock decoders read is what the hub reads', () => {
    let count = 0;
    for (const { title, input, expected } of good('sio.txt')) {
      const text = input.toString('utf8');
      const result = readResult(expected);
      if (/^\d[^[{]*\s/.test(text)) continue; // blanks in front of JSON: stock decoders take them for an id
      const got = decode(new Decoder(), text, result.attachments);
      assert.equal(got.type, result.attachments > 0 ? result.type - 3 : result.type, title);
      assert.equal(got.nsp, result.nsp, title);
      const isAnswered = !(got.id > ID_MAX); // a number that nothing counts up to: the hub passes over it
      assert.equal(isAnswered ? got.id : undefined, result.id, title);
      assert.deepEqual(got.data, result.attachments > 0 ? withBuffers(result.data) : result.data, title);
      count += 1;
    }
    assert.ok(count > 15);
  });

  test('what the hub sends is what stock servers send', () => {
    for (const { title, input, expected } of vectors('sio_sent.txt')) {
      const packet = readCommand(input.toString('utf8'));
      const [text, ...buffers] = new Encoder().encode({ ...packet });
      assert.equal(`4${text}`, expected, title);
      const got = decode(new Decoder(), expected.slice(1), buffers.length);
      assert.deepEqual(got.data, packet.data, title);
      assert.equal(got.id, packet.id, title);
    }
  });

  test('packets of the MessagePack parser', () => {
    for (const { title, input, expected } of good('sio_msgpack.txt')) {
      const result = readResult(expected);
      if (/base64|look|without id/.test(title)) continue; // bin is text there; not a case of this parser
      const got = decode(new msgpack.Decoder(), input);
      assert.equal(got.type, result.type, title);
      assert.equal(got.nsp, result.nsp, title);
      assert.equal(got.id, result.id, title);
      assert.deepEqual(withPlaceholders(got.data), result.data, title);
    }
  });

  test('what the hub sends to that parser', () => {
    for (const { title, input, expected } of vectors('sio_msgpack_sent.txt')) {
      const packet = readCommand(input.toString('utf8'));
      const got = decode(new msgpack.Decoder(), unescape(expected));
      assert.deepEqual(got, packet, title);
      const [again] = new msgpack.Encoder().encode(packet);
      assert.equal(again.length, unescape(expected).length, title);
    }
  });

  test('on polling, packets are joined as stock clients take them apart', () => {
    const body = ['451-["bin",{"_placeholder":true,"num":0}]', `b${BIN.toString('base64')}`].join(RS);
    const [text, bin] = decodePayload(body, 'nodebuffer');
    assert.deepEqual(decode(new Decoder(), text.data, 1).data, ['bin', bin.data]);
  });
});
