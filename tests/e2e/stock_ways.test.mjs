// SPDX-License-Identifier: Apache-2.0
// stock_ways - small things that a stock server does and clients rely on.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import WebSocket from 'ws';
import { startHub } from './support/hub.mjs';
import { ENGINE, RawPeer, text } from './support/raw.mjs';
import { until, within } from './support/wait.mjs';

let hub;
before(async () => {
  hub = await startHub();
});
after(async () => {
  await hub.stop();
});

const engine = (query) => `${hub.url}/socket.io/?EIO=4&${query}`;

// A WebSocket whose messages are kept; resolves when it is open.
async function open(query) {
  const socket = new WebSocket(engine(query).replace(/^http/, 'ws'));
  const peer = { socket, messages: [], closed: new Promise((resolve) => socket.on('close', (code) => resolve(code))) };
  socket.on('message', (data) => peer.messages.push(String(data)));
  await within(new Promise((resolve, reject) => socket.once('open', resolve).once('error', reject)), 'it opens');
  return peer;
}

async function handshake() {
  const body = await (await fetch(engine('transport=polling'))).text();
  return JSON.parse(body.slice(1)).sid;
}

test('a second WebSocket with the sid of an upgraded session is opened and closed without a code', async () => {
  const sid = await handshake();
  const first = await open(`transport=websocket&sid=${sid}`);
  first.socket.send('2probe');
  await until(() => first.messages.includes('3probe'), 'the probe is answered');
  const rival = await open(`transport=websocket&sid=${sid}`);
  assert.equal(await within(rival.closed, 'one that tries meanwhile'), 1005);
  first.socket.send('5');
  first.socket.send(`40${JSON.stringify({ token: hub.token('upgraded') })}`);
  await until(() => first.messages.some((message) => message.startsWith('40')), 'it has joined');
  const second = await open(`transport=websocket&sid=${sid}`);
  assert.equal(await within(second.closed, 'the second one ends'), 1005);
  assert.equal(first.socket.readyState, WebSocket.OPEN);
  first.socket.close();
});

for (const transports of [['websocket'], ['polling', 'websocket']]) {
  test(`a client that offers a subprotocol connects: ${transports}`, async () => {
    const socket = hub.socketIo('proto', { transports, protocols: ['my-proto'], reconnection: false });
    await until(() => socket.connected && socket.io.engine.transport.name === 'websocket', 'it is connected');
    assert.equal(socket.io.engine.transport.ws.protocol, 'my-proto');
    socket.close();
  });
}

test('ids of acks are answered as a stock server answers them', async () => {
  const { hostname, port } = new URL(hub.url);
  const peer = await RawPeer.upgrade({ host: hostname, port: Number(port) }, ENGINE, {});
  peer.write(text(`40${JSON.stringify({ token: hub.token('ids') })}`));
  await peer.saw(/hub:ready/);
  peer.write(text('42007["notification:list"]'));
  await peer.saw(/437\[\{"ok":true/);
  peer.write(text('429007199254740993["notification:list"]'));
  await peer.saw(/439007199254740992\[\{"ok":true/);
  peer.write(text('4299999999999999999999["notification:list"]'));
  peer.write(text('428["notification:list"]'));
  await peer.saw(/438\[\{"ok":true/);
  peer.socket.destroy();
});

test('one attachment may stand at two places', async () => {
  const relay = await startHub({ config: 'events { unknown = relay }' });
  try {
    const [a, b] = [relay.socketIo('a'), relay.socketIo('b')];
    for (const socket of [a, b]) assert.equal((await socket.timeout(30_000).emitWithAck('join_room', 'public:1')).ok, true);
    const heard = new Promise((resolve) => b.once('twice', resolve));
    const raw = a.io.engine;
    raw.write('251-["twice",{"roomId":"public:1","x":{"_placeholder":true,"num":0},"y":{"_placeholder":true,"num":0}}]'.replace(/^2/, ''));
    raw.write(Buffer.from('both'));
    const body = await within(heard, 'the other hears it');
    assert.equal(String(body.x), 'both');
    assert.equal(String(body.y), 'both');
  } finally {
    await relay.stop();
  }
});

test('a message right behind its join is not refused', async () => {
  const sender = hub.socketIo('quick');
  const answers = [];
  for (let n = 0; n < 50; n++) {
    sender.emit('join_room', `public:${n}`);
    answers.push(sender.timeout(30_000).emitWithAck('send_message', { roomId: `public:${n}`, message: 'at once' }));
    if (n % 10 === 9) await Promise.all(answers);
  }
  assert.deepEqual((await Promise.all(answers)).filter(({ ok }) => !ok), []);
});
