// SPDX-License-Identifier: Apache-2.0
// Connection state recovery byte by byte, against the echo program: what a client is told, and in
// which order. With stock clients: recovery.test.mjs.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { startEchoHub } from './support/echo_hub.mjs';
import { ENGINE, RawPeer, text } from './support/raw.mjs';

const frames = (messages) => Buffer.concat([messages].flat().map((one) => text(one)));
let echo;
let address;

before(async () => {
  echo = await startEchoHub({ calm: true, recovery: true });
  const { protocol, port } = new URL(echo.url);
  address = { host: '127.0.0.1', port: Number(port), scheme: protocol.slice(0, -1) };
});
after(() => echo?.stop());

// A session on which `connect` was said; `peer.replies` waits for the CONNECT to be answered.
async function join(connect, nsp = '') {
  const peer = await RawPeer.upgrade(address, ENGINE);
  await peer.saw(/^0\{/);
  peer.write(frames(`40${nsp}${connect}`));
  await peer.until(() => peer.texts().some((one) => one.startsWith(`40${nsp}{`)), 'CONNECT is answered');
  const index = peer.texts().findIndex((one) => one.startsWith(`40${nsp}{`));
  return { peer, before: peer.texts().slice(1, index), welcome: JSON.parse(peer.texts()[index].slice(2 + nsp.length)) };
}

// The offset at the end of the first event of this name.
async function offsetOf(peer, name) {
  const is = (one) => /^42/.test(one) && one.includes(`["${name}"`);
  await peer.until(() => peer.texts().some(is), `${name} comes`);
  return JSON.parse(peer.texts().find(is).replace(/^42[^[]*/, '')).at(-1);
}

for (const nsp of ['', '/custom,']) {
  const head = `42${nsp}`;

  test(`what was missed comes before the answer to CONNECT${nsp && ', in a further namespace'}`, async () => {
    const first = await join('{"token":"x"}', nsp);
    assert.deepEqual(Object.keys(first.welcome), ['sid', 'pid']);
    assert.match(first.welcome.sid, /^[\w-]{23}$/);
    assert.match(first.welcome.pid, /^[\w-]{23}$/);
    assert.notEqual(first.welcome.sid, first.welcome.pid);
    const offset = await offsetOf(first.peer, 'auth');
    assert.equal(typeof offset, 'string');
    first.peer.write(frames(`${head}["burst",5]`));
    await first.peer.until(() => first.peer.texts().filter((one) => one.includes('["one",')).length === 5, 'five events');
    const sent = first.peer.texts().filter((one) => one.includes('["one",'));
    first.peer.reset();

    const again = await join(JSON.stringify({ pid: first.welcome.pid, offset }), nsp);
    assert.deepEqual(again.before, sent);
    assert.deepEqual(again.welcome, first.welcome);
    again.peer.write(frames(`${head}7["message-with-ack","still here"]`));
    await again.peer.saw(/^43.*7\["still here"\]$/); // an ack carries no offset
    again.peer.reset();

    const third = await join(JSON.stringify({ pid: first.welcome.pid, offset: JSON.parse(sent[2].slice(head.length)).at(-1) }), nsp);
    assert.deepEqual(third.before.slice(0, 2), sent.slice(3), 'again, from where the client says');
    assert.deepEqual(third.welcome, first.welcome);
    third.peer.destroy();
  });
}

test('without an offset everything since the beginning comes', async () => {
  const first = await join('{}');
  await offsetOf(first.peer, 'auth');
  const sent = first.peer.texts().filter((one) => one.startsWith('42'));
  first.peer.reset();
  const again = await join(JSON.stringify({ pid: first.welcome.pid }));
  assert.deepEqual(again.before, sent);
  assert.deepEqual(again.welcome, first.welcome);
  again.peer.destroy();
});

test('the connection before it is ended, however alive it is', async () => {
  const first = await join('{}');
  const offset = await offsetOf(first.peer, 'auth');
  const again = await join(JSON.stringify({ pid: first.welcome.pid, offset }));
  assert.deepEqual(again.welcome, first.welcome);
  await first.peer.end();
  again.peer.destroy();
});

for (const [what, [continued, secret]] of Object.entries({
  'a pid that nobody had': [false, () => ({ pid: 'x'.repeat(20), offset: '1' })],
  'an offset of before': [true, ({ pid }) => ({ pid, offset: 'nothing' })], // as if there were none
  'an offset that is no text': [true, ({ pid }) => ({ pid, offset: 7 })],
  'a pid that is no text': [false, () => ({ pid: { $gt: '' }, offset: '1' })],
  'a pid of 60,000 bytes': [false, () => ({ pid: 'x'.repeat(60_000), offset: '1' })],
})) {
  test(`${what}: ${continued ? 'continued from the beginning' : 'begins anew'}`, async () => {
    const first = await join('{}');
    await offsetOf(first.peer, 'auth');
    first.peer.reset();
    const again = await join(JSON.stringify(secret(first.welcome)));
    assert.equal(again.welcome.sid === first.welcome.sid, continued);
    assert.equal(again.welcome.pid === first.welcome.pid, continued);
    await offsetOf(again.peer, 'auth');
    again.peer.destroy();
  });
}

for (const what of ['41', '42["expel"]']) {
  test(`who has left is not continued: ${what}`, async () => {
    const first = await join('{}');
    const offset = await offsetOf(first.peer, 'auth');
    first.peer.write(frames([what, '40/custom,{}']));
    await first.peer.until(() => first.peer.over || first.peer.texts().some((one) => /^4[04]\/custom,/.test(one)), 'it has left');
    first.peer.reset();
    const again = await join(JSON.stringify({ pid: first.welcome.pid, offset }));
    assert.notEqual(again.welcome.sid, first.welcome.sid);
    assert.notEqual(again.welcome.pid, first.welcome.pid);
    again.peer.destroy();
  });
}
