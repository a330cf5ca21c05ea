// SPDX-License-Identifier: Apache-2.0
// clients/js against a scripted hub: orders of events, losses and ends of connections.
import assert from 'node:assert/strict';
import { afterEach, beforeEach, describe, test } from 'node:test';
import WebSocket from 'ws';
import { Peal } from '../../clients/js/peal.js';
import { ScriptedHub, item } from './support/scripted_hub.mjs';
import { never, until, within } from './support/wait.mjs';

const OPTIONS = { WebSocket, backoffMin: 10, backoffMax: 40, gapDelay: 40, requestTimeout: 20_000 };

let hub;
let clients;

beforeEach(async () => {
  hub = await ScriptedHub.start();
  clients = [];
});

afterEach(() => {
  for (const client of clients) client.close();
  hub.stop();
});

function newClient(options) {
  const client = new Peal({ ...OPTIONS, ...options });
  clients.push(client);
  client.states = [];
  client.told = [];
  client.on('client:state', (detail) => client.states.push(detail));
  client.on('notification', ({ seq }) => client.told.push(seq));
  return client;
}

// A client that is online, and its connection; `ready` and `items` are what the hub says at first.
async function online({ ready, items = [], next = null, options } = {}) {
  const client = newClient(options);
  const done = client.connect(hub.url, { token: 'abc' });
  const line = await hub.line(hub.lines.length);
  line.ready(ready);
  await within(done, 'the client is online');
  if (options?.inbox !== false) {
    (await line.asked('notification:list')).answer({ ok: true, items, next });
    await until(() => client.inbox.items.length === items.length, 'the first page is there');
  }
  return { client, line };
}

const seqs = (client) => client.inbox.items.map(({ seq }) => seq);
const stateOf = (client, seq) => client.inbox.items.find((one) => one.seq === seq)?.state;
const page = (fields) => ({ ok: true, items: [], states: [], done: true, ...fields });
const empty = () => ({ ok: true, items: [], next: null });

describe('connecting', () => {
  test('offers the subprotocol and the token, and is online after hub:ready', async () => {
    const client = newClient();
    const done = client.connect(hub.url, { token: 'a.b-c_d' });
    const line = await hub.line(0);
    assert.deepEqual(line.protocols, ['peal.json.v1', 'peal.token.a.b-c_d']);
    assert.equal(line.url, '/ws');
    assert.equal(client.state, 'connecting');
    assert.equal(client.emit('update'), false);
    await assert.rejects(client.request('x'), { code: 'disconnected', temporary: true });
    line.ready();
    assert.equal(await done, client);
    assert.equal(client.state, 'online');
    assert.equal(client.userId, 'alice');
    assert.equal(client.session.limits.rooms, 128);
  });

  test('asks for a token at each connection', async () => {
    const tokens = ['one', 'two'];
    const client = newClient();
    client.connect(hub.url, { token: async () => tokens.shift() });
    const first = await hub.line(0);
    first.ready();
    await until(() => client.state === 'online', 'online');
    first.cut();
    assert.ok((await hub.line(1)).protocols.includes('peal.token.two'));
  });

  test('a token that cannot be had is tried again', async () => {
    let calls = 0;
    const client = newClient();
    client.connect(hub.url, {
      token: async () => {
        calls += 1;
        if (calls < 3) throw new Error('no network');
        return 'three';
      },
    });
    assert.ok((await hub.line(0)).protocols.includes('peal.token.three'));
    assert.match(client.states.find(({ state }) => state === 'waiting').reason, /no network/);
  });

  test('a token that never comes is asked for again', async () => {
    let asked = 0;
    const client = newClient({ openTimeout: 60 });
    const done = client.connect(hub.url, { token: () => (asked++ === 0 ? new Promise(() => {}) : 'abc') });
    (await hub.line(0)).ready();
    await within(done, 'online');
    assert.equal(asked, 2);
  });

  test('comes back after refusals, each pause longer than none and below the bound', async () => {
    hub.refuse = true;
    const client = newClient();
    client.connect(hub.url, { token: 'abc' });
    const waits = () => client.states.filter(({ state }) => state === 'waiting');
    await until(() => waits().length >= 5, 'five attempts');
    hub.refuse = false;
    (await hub.line(0)).ready();
    await until(() => client.state === 'online', 'online');
    for (const [n, { retryIn, attempt }] of waits().entries()) {
      assert.equal(attempt, n + 1);
      const whole = Math.min(40, 10 * 2 ** n);
      assert.ok(retryIn >= whole / 2 && retryIn <= whole, `${retryIn} of ${whole}`);
    }
  });

  for (const code of [1000, 1001, 1011, 3000, 4408, 4503, 4508]) {
    test(`comes back after ${code}`, async () => {
      const { client, line } = await online();
      line.close(code);
      (await hub.line(1)).ready();
      await until(() => client.state === 'online', 'online again');
      assert.equal(client.states.find(({ state }) => state === 'waiting').code, code);
    });
  }

  test('comes back after 4429, but not at once', async () => {
    const { client, line } = await online();
    line.close(4429);
    await until(() => client.state === 'waiting', 'waiting');
    assert.ok(client.states.at(-1).retryIn >= 5_000);
  });

  for (const code of [4400, 4401, 4403, 4409, 4413, 4999]) {
    test(`stays away after ${code}`, async () => {
      const { client, line } = await online();
      const lost = client.request('notification:list', {});
      const marked = client.inbox.markRead('id-1');
      await line.asked('notification:read');
      line.close(code);
      await assert.rejects(lost, { code: 'disconnected' });
      await assert.rejects(marked, { code: 'closed', closeCode: code });
      assert.equal(client.state, 'closed');
      assert.equal(client.states.at(-1).code, code);
      await never(() => hub.lines.length > 1, 'another connection', 150);
    });
  }

  test('connect rejects when the hub wants no return', async () => {
    const client = newClient();
    const done = client.connect(hub.url, { token: 'abc' });
    (await hub.line(0)).close(4401);
    await assert.rejects(done, { code: 'closed', closeCode: 4401 });
    const again = client.connect(hub.url, { token: 'def' });
    (await hub.line(1)).ready();
    await again;
  });

  test('a refused token: another one is asked for once, then connect rejects', async () => {
    const client = newClient();
    let calls = 0;
    const done = client.connect(hub.url, { token: () => `token-${(calls += 1)}` });
    (await hub.line(0)).close(4401);
    const second = await hub.line(1);
    assert.ok(second.protocols.includes('peal.token.token-2'));
    second.close(4401);
    await assert.rejects(done, { code: 'closed', closeCode: 4401 });
    await never(() => hub.lines.length > 2, 'another connection', 150);
    assert.equal(calls, 2);
  });

  test('a token that expired while online is replaced, each time', async () => {
    const tokens = ['one', 'two', 'three'];
    const client = newClient();
    const done = client.connect(hub.url, { token: () => tokens.shift() });
    for (const [n, token] of ['one', 'two', 'three'].entries()) {
      const line = await hub.line(n);
      assert.ok(line.protocols.includes(`peal.token.${token}`));
      line.ready();
      await until(() => client.state === 'online', 'online');
      if (n < 2) line.close(4401);
    }
    await done;
    assert.deepEqual(tokens, []);
  });

  test('where there is no token, none is tried', async () => {
    const client = newClient();
    await assert.rejects(client.connect(hub.url), { code: 'closed', closeCode: 4401 });
    let calls = 0;
    const none = () => void (calls += 1);
    await assert.rejects(newClient().connect(hub.url, { token: none }), { closeCode: 4401 });
    assert.equal(calls, 2);
    assert.equal(hub.lines.length, 0);
    newClient().connect(`${hub.url}/ws?token=abc`);
    assert.deepEqual((await hub.line(0)).protocols, ['peal.json.v1']);
  });

  test('a draining hub says when to return', async () => {
    const { client, line } = await online();
    const began = performance.now();
    line.say(['hub:draining', { reconnectIn: 300 }]);
    await until(() => client.state === 'draining', 'draining');
    line.close(4503);
    await until(() => client.state === 'waiting', 'waiting');
    assert.ok(client.states.at(-1).retryIn <= 300);
    assert.ok(client.states.at(-1).retryIn > 40, 'not the pause of a lost connection');
    await hub.line(1);
    assert.ok(performance.now() - began >= 295);
  });

  test('a draining hub that does not close is left', async () => {
    const { line } = await online();
    line.say(['hub:draining', { reconnectIn: 10 }]);
    await hub.line(1);
    await within(line.closed, 'the old connection is closed');
  });

  test('a silent connection is given up', async () => {
    const { client, line } = await online({ options: { silence: 200 } });
    line.socket.pause(); // nothing is answered any more, not even a close
    (await hub.line(1)).ready();
    await until(() => client.state === 'online', 'online again');
    assert.match(client.states.find(({ state }) => state === 'waiting').reason, /silent/);
  });

  test('a connection that does not open is given up', async () => {
    const client = newClient({ openTimeout: 60 });
    client.connect(hub.url.replace('http:', 'ws:'), {
      token: () => (hub.lines.length > 0 ? new Promise(() => {}) : 'abc'),
    });
    await hub.line(0);
    class Deaf {
      readyState = 0;
      close() {
        this.isClosed = true;
      }
    }
    const deaf = newClient({ openTimeout: 60, WebSocket: Deaf });
    deaf.connect(hub.url, { token: 'abc' });
    await until(() => deaf.states.some(({ reason }) => /did not open/.test(reason)), 'given up');
  });

  test('what is not understood ends the connection, not the client', async () => {
    const { line } = await online();
    line.socket.send('{"no":"packets"}');
    await hub.line(1);
  });

  test('close says goodbye and stays away', async () => {
    const { client, line } = await online();
    const asked = client.request('notification:list', {});
    client.close();
    await assert.rejects(asked, { code: 'closed' });
    assert.equal(await line.closed, 1000);
    assert.equal(client.state, 'closed');
    await assert.rejects(client.join('public:lobby'), { code: 'closed' });
    await never(() => hub.lines.length > 1, 'another connection', 100);
  });

  test('close while waiting ends the waiting', async () => {
    hub.refuse = true;
    const client = newClient({ backoffMin: 60_000, backoffMax: 60_000 });
    const done = client.connect(hub.url, { token: 'abc' });
    await until(() => client.state === 'waiting', 'waiting');
    client.close();
    await assert.rejects(done, { code: 'closed' });
  });
});

describe('packets', () => {
  test('pings are answered, before hub:ready too', async () => {
    const client = newClient();
    client.connect(hub.url, { token: 'abc' });
    const line = await hub.line(0);
    line.say(['hub:ping']);
    assert.deepEqual(await line.heard('hub:pong'), ['hub:pong']);
  });

  test('a batch is taken in order, and one turn leaves as one message', async () => {
    const { client, line } = await online();
    const heard = [];
    for (const name of ['a', 'b', 'c']) client.on(name, (...args) => heard.push([name, ...args]));
    line.say(['b', 1, { x: 2 }], ['a'], ['batch_update', {
      messages: [{ event: 'c', args: [1] }, { event: 'a', args: [2, 3] }], timestamp: 1,
    }]);
    await until(() => heard.length === 4, 'four events');
    assert.deepEqual(heard, [['b', 1, { x: 2 }], ['a'], ['c', 1], ['a', 2, 3]]);
    client.emit('one');
    client.emit('two', 1, 2);
    await line.heard('two');
    assert.deepEqual(line.frames.at(-1), [['one'], ['two', 1, 2]]);
  });

  test('more than 64 of one turn are several messages', async () => {
    const { client, line } = await online();
    const before = line.frames.length;
    for (let n = 0; n < 130; n++) client.emit('one', n);
    client.emit('last');
    await line.heard('last');
    const sent = line.frames.slice(before);
    assert.deepEqual(sent.map((frame) => frame.length), [64, 64, 3]);
    assert.deepEqual(sent.flat().slice(0, 130).map(([, n]) => n), Array.from({ length: 130 }, (_, n) => n));
  });

  test('answers find their requests in any order, refusals are errors', async () => {
    const { client, line } = await online();
    const asked = ['a', 'b', 'c'].map((event) => client.request(event, { event }));
    const [a, b, c] = await Promise.all(['a', 'b', 'c'].map((event) => line.asked(event)));
    assert.equal(new Set([a.id, b.id, c.id]).size, 3);
    c.answer({ ok: false, error: 'forbidden', message: 'Access denied to room' });
    a.answer({ ok: true, name: 'a' });
    b.answer({ ok: true, name: 'b' });
    assert.equal((await asked[0]).name, 'a');
    assert.equal((await asked[1]).name, 'b');
    await assert.rejects(asked[2], {
      name: 'PealError', code: 'forbidden', message: 'Access denied to room', temporary: false,
    });
  });

  test('a request without answer ends, and a late answer changes nothing', async () => {
    const { client, line } = await online();
    const asked = client.request('slow', {}, { timeout: 30 });
    await assert.rejects(asked, { code: 'timeout', temporary: true });
    (await line.asked('slow')).answer({ ok: true });
    const next = client.request('next');
    (await line.asked('next')).answer({ ok: true, n: 1 });
    assert.equal((await next).n, 1);
  });

  test('a request on a lost connection ends', async () => {
    const { client, line } = await online();
    const asked = client.request('slow');
    await line.asked('slow');
    line.cut();
    await assert.rejects(asked, { code: 'disconnected' });
  });

  test('listeners: once, off, and one that throws', async () => {
    const { client, line } = await online();
    const heard = [];
    const errors = [];
    const handlers = process.listeners('uncaughtException');
    process.removeAllListeners('uncaughtException');
    process.once('uncaughtException', (error) => errors.push(error.message));
    try {
      client.once('a', () => heard.push('once'));
      const stop = client.on('a', () => heard.push('stopped'));
      client.once('a', () => {
        throw new Error('of a listener');
      });
      client.on('a', () => heard.push('kept'));
      line.say(['a']);
      await until(() => heard.length === 3 && errors.length === 1, 'the first a');
      stop();
      line.say(['a']);
      await until(() => heard.length === 4, 'the second a');
      client.off('a');
      line.say(['a'], ['hub:ping']);
      await line.heard('hub:pong');
    } finally {
      process.removeAllListeners('uncaughtException');
      for (const handler of handlers) process.on('uncaughtException', handler);
    }
    assert.deepEqual(heard, ['once', 'stopped', 'kept', 'kept']);
    assert.deepEqual(errors, ['of a listener']);
  });

  test('a token that expires is refreshed where a new one can be had', async () => {
    const client = newClient();
    let calls = 0;
    client.connect(hub.url, { token: () => `t${++calls}` });
    const line = await hub.line(0);
    line.ready();
    line.say(['hub:token_expiring', { in: 60_000 }]);
    assert.deepEqual((await line.asked('auth:refresh')).argument, { token: 't2' });
  });
});

describe('the inbox', () => {
  test('reads the first page, then adds what comes, newest first', async () => {
    const { client, line } = await online({
      ready: { seq: 2, rev: 5, unread: 1 },
      items: [item(2), item(1, { rev: 5, isRead: true, readAt: 'then' })],
    });
    assert.deepEqual(seqs(client), [2, 1]);
    assert.equal(client.inbox.unread, 1);
    assert.equal(stateOf(client, 1), 'read');
    let changes = 0;
    client.inbox.on('change', () => changes++);
    line.say(['notification', item(3, { rev: 6 })], ['notification', item(4, { rev: 7 })],
      ['unread', { count: 3, rev: 7 }]);
    await until(() => client.inbox.unread === 3, 'three unread');
    assert.deepEqual(seqs(client), [4, 3, 2, 1]);
    assert.deepEqual(client.told, [3, 4]);
    assert.deepEqual(client.inbox.position, { epoch: 'e1', rev: 7, seq: 4 });
    await until(() => changes > 0, 'a change is told');
    assert.equal(changes, 1);
    assert.equal(line.count('notification:sync'), 0);
    const received = await line.heard('notification:received');
    assert.ok(received[1].upTo <= 4);
  });

  test('what the list already has and then comes live is told once', async () => {
    const client = newClient();
    client.connect(hub.url, { token: 'abc' });
    const line = await hub.line(0);
    line.ready({ seq: 1, rev: 1 });
    const list = await line.asked('notification:list');
    list.answer({ ok: true, items: [item(2), item(1)], next: null });
    line.say(['notification', item(2)], ['notification', item(3)]);
    await until(() => client.told.includes(3), 'the third');
    assert.deepEqual(client.told, [2, 3]);
    assert.deepEqual(seqs(client), [3, 2, 1]);
  });

  test('a change that overtakes an answer of the store is not undone by it', async () => {
    const client = newClient();
    client.connect(hub.url, { token: 'abc' });
    const line = await hub.line(0);
    line.ready({ seq: 3, rev: 3, unread: 3 });
    const list = await line.asked('notification:list');
    line.say(['notification:state', { rev: 4, unread: 2, ids: ['id-2'], state: 'read', at: 't' }],
      ['notification:state', { rev: 5, unread: 2, ids: ['id-1'], state: 'archived', at: 't' }]);
    list.answer({ ok: true, items: [item(3), item(2), item(1)], next: null });
    await until(() => client.inbox.items.length > 0, 'the page');
    assert.deepEqual(seqs(client), [3, 2]);
    assert.equal(stateOf(client, 2), 'read');
    assert.equal(client.inbox.unread, 2);
  });

  test('a change that an answer of the store already has is not made again', async () => {
    const client = newClient();
    client.connect(hub.url, { token: 'abc' });
    const line = await hub.line(0);
    line.ready({ seq: 1, rev: 1, unread: 1 });
    const list = await line.asked('notification:list');
    line.say(['notification:state', { rev: 2, unread: 1, ids: ['id-1'], state: 'seen', at: 's' }]);
    list.answer({ ok: true, items: [item(1, { rev: 3, isRead: true, readAt: 'r' })], next: null });
    await until(() => client.inbox.items.length > 0, 'the page');
    assert.equal(stateOf(client, 1), 'read');
    assert.equal(client.inbox.items[0].readAt, 'r');
  });

  test('repeats change nothing', async () => {
    const { client, line } = await online();
    const first = ['notification', item(1)];
    const state = ['notification:state', { rev: 2, unread: 0, ids: ['id-1'], state: 'read', at: 't' }];
    let states = 0;
    client.on('notification:state', () => states++);
    line.say(first, first, state, first, state, ['notification', item(2, { rev: 3 })], first, state);
    await until(() => client.told.includes(2), 'the second');
    assert.deepEqual(client.told, [1, 2]);
    assert.deepEqual(seqs(client), [2, 1]);
    assert.equal(stateOf(client, 1), 'read');
    assert.equal(states, 1);
  });

  test('a repeat does not bring back what has gone', async () => {
    const { client, line } = await online();
    line.say(['notification', item(1)],
      ['notification:state', { rev: 2, unread: 0, ids: ['id-1'], state: 'expired', at: 't' }],
      ['notification', item(1)], ['notification', item(2, { rev: 3 })]);
    await until(() => client.told.includes(2), 'the second');
    assert.deepEqual(seqs(client), [2]);
  });

  test('announcements out of order are put in order without asking', async () => {
    const { client, line } = await online({ options: { gapDelay: 5_000 } });
    line.say(['notification', item(2)]);
    line.say(['notification:state', { rev: 4, unread: 1, ids: ['id-1'], state: 'read', at: 't' }]);
    line.say(['unread', { count: 2, rev: 4 }], ['notification', item(3)]);
    await until(() => client.inbox.unread === 2, 'the events are there');
    assert.deepEqual(client.told, []);
    line.say(['notification', item(1)]);
    await until(() => client.told.length === 3, 'three');
    assert.deepEqual(client.told, [1, 2, 3]);
    assert.equal(stateOf(client, 1), 'read');
    assert.equal(client.inbox.position.rev, 4);
    assert.equal(line.count('notification:sync'), 0);
  });

  test('a gap is asked for, page by page, and told in order', async () => {
    const { client, line } = await online({ ready: { seq: 1, rev: 1, unread: 1 }, items: [item(1)] });
    line.say(['notification', item(6, { rev: 8 })]);
    const first = await line.asked('notification:sync');
    assert.deepEqual(first.argument, { epoch: 'e1', rev: 1 });
    line.say(['notification', item(7, { rev: 9 })]); // while the answer travels
    first.answer(page({ items: [item(2), item(3, { rev: 6, isRead: true, readAt: 't' })],
      rev: 3, unread: 9, done: false }));
    const second = await line.asked('notification:sync');
    assert.deepEqual(second.argument, { epoch: 'e1', rev: 3 });
    second.answer(page({ items: [item(4, { archivedAt: 't', isRead: true }), item(5, { rev: 5 }),
      item(6, { rev: 8 })], rev: 8, unread: 4,
    states: [{ id: 'id-1', seq: 1, rev: 7, state: 'read', at: 't' }] }));
    await until(() => client.told.includes(7), 'the seventh');
    assert.deepEqual(client.told, [2, 3, 5, 6, 7]); // 4 went before it was seen here
    assert.deepEqual(seqs(client), [7, 6, 5, 3, 2, 1]);
    assert.deepEqual([1, 3].map((seq) => stateOf(client, seq)), ['read', 'read']);
    assert.equal(client.inbox.unread, 4);
    assert.equal(client.inbox.position.rev, 9);
    assert.equal(line.count('notification:sync'), 2);
  });

  test('a count ahead of the items is a gap too', async () => {
    const { client, line } = await online();
    line.say(['unread', { count: 1, rev: 1 }]);
    (await line.asked('notification:sync')).answer(page({ items: [item(1)], rev: 1, unread: 1 }));
    await until(() => client.told.length === 1, 'the lost one');
    assert.equal(client.inbox.unread, 1);
  });

  test('a node that fills a gap of its own is not trusted to have told all of a rev', async () => {
    const { client, line } = await online({ ready: { seq: 3, rev: 3 }, items: [item(3), item(2), item(1)] });
    const read = item(3, { rev: 4, isRead: true, readAt: 't' });
    line.say(['notification', read]); // next in order, but made before: rev 4 changed more than it
    const sync = await line.asked('notification:sync');
    assert.equal(sync.argument.rev, 3);
    sync.answer(page({ rev: 4, unread: 1, states: [3, 1].map(
      (seq) => ({ id: `id-${seq}`, seq, rev: 4, state: 'read', at: 't' })) }));
    await until(() => client.inbox.position.rev === 4, 'caught up');
    assert.deepEqual([3, 2, 1].map((seq) => stateOf(client, seq)), ['read', 'unread', 'read']);
    assert.deepEqual(client.told, []);
  });

  test('"up to" is read by seq and never takes a state back', async () => {
    const { client, line } = await online({
      ready: { seq: 3, rev: 4, unread: 2 },
      items: [item(3), item(2), item(1, { rev: 4, isRead: true, readAt: 'before' })],
    });
    line.say(['notification:state', { rev: 5, unread: 2, upTo: 2, state: 'seen', at: 's' }],
      ['notification:state', { rev: 6, unread: 1, upTo: 2, state: 'read', at: 'r' }]);
    await until(() => client.inbox.position.rev === 6, 'both');
    assert.deepEqual([3, 2, 1].map((seq) => stateOf(client, seq)), ['unread', 'read', 'read']);
    assert.equal(client.inbox.items[1].readAt, 'r');
    assert.equal(client.inbox.items[2].readAt, 'before');
    assert.equal(client.inbox.unread, 1);
  });

  test('a store that does not answer is asked again', async () => {
    const { client, line } = await online();
    line.say(['unread', { count: 1, rev: 1 }]);
    (await line.asked('notification:sync')).answer({ ok: false, error: 'unavailable', message: 'x' });
    (await line.asked('notification:sync')).answer(page({ items: [item(1)], rev: 1, unread: 1 }));
    await until(() => client.told.length === 1, 'it came');
  });
});

describe('coming back', () => {
  test('asks for what changed, and shows nothing twice', async () => {
    const { client, line } = await online({ ready: { seq: 2, rev: 2, unread: 2 }, items: [item(2), item(1)] });
    line.cut();
    const again = await hub.line(1);
    again.ready({ seq: 3, rev: 4, unread: 2 });
    again.say(['notification', item(4, { rev: 5 })]); // before the answer
    const sync = await again.asked('notification:sync');
    assert.deepEqual(sync.argument, { epoch: 'e1', rev: 2 });
    sync.answer(page({ items: [item(3), item(4, { rev: 5 })], rev: 5, unread: 3,
      states: [{ id: 'id-1', seq: 1, rev: 4, state: 'read', at: 't' }] }));
    await until(() => client.told.length === 2, 'both');
    assert.deepEqual(client.told, [3, 4]);
    assert.deepEqual(seqs(client), [4, 3, 2, 1]);
    assert.equal(client.inbox.unread, 3);
    assert.equal(again.count('notification:list'), 0);
  });

  test('asks nothing where nothing changed', async () => {
    const { client, line } = await online({ ready: { seq: 1, rev: 1 }, items: [item(1)] });
    line.cut();
    const again = await hub.line(1);
    again.ready({ seq: 1, rev: 1 });
    again.say(['notification', item(2)]);
    await until(() => client.told.length === 1, 'the next one');
    assert.equal(again.count('notification:sync') + again.count('notification:list'), 0);
  });

  test('a catching up that was cut goes on where it was', async () => {
    const { client, line } = await online();
    line.say(['unread', { count: 9, rev: 9 }]);
    const first = await line.asked('notification:sync');
    first.answer(page({ items: [item(1), item(2)], rev: 2, unread: 9, done: false }));
    await line.asked('notification:sync');
    line.cut();
    const again = await hub.line(1);
    again.ready({ seq: 3, rev: 3, unread: 3 });
    const sync = await again.asked('notification:sync');
    assert.equal(sync.argument.rev, 2);
    sync.answer(page({ items: [item(3)], rev: 3, unread: 3 }));
    await until(() => client.told.length === 3, 'all three');
    assert.deepEqual(client.told, [1, 2, 3]);
  });

  test('a position that is not valid is given up: the items are read anew', async () => {
    const { client, line } = await online({ ready: { seq: 2, rev: 90, unread: 2 }, items: [item(2), item(1)] });
    let resyncs = 0;
    client.inbox.on('resync', () => resyncs++);
    line.cut();
    const again = await hub.line(1);
    again.ready({ seq: 3, rev: 5, unread: 1 });
    const sync = await again.asked('notification:sync');
    again.say(['hub:resync', { epoch: 'e1', rev: 5 }]);
    sync.answer(page({ resync: true, rev: 5, unread: 1 }));
    const list = await again.asked('notification:list');
    again.say(['notification', item(4, { rev: 6 })]);
    await until(() => client.told.includes(4), 'live again');
    assert.deepEqual(seqs(client), [4, 2, 1]); // the old ones stay until the new ones are there
    list.answer({ ok: true, items: [item(3, { rev: 5 }), item(1, { rev: 4, isRead: true })], next: null });
    await until(() => client.inbox.items.length === 3 && !seqs(client).includes(2), 'read anew');
    assert.deepEqual(seqs(client), [4, 3, 1]);
    assert.equal(stateOf(client, 1), 'read');
    assert.equal(client.inbox.unread, 1);
    assert.equal(resyncs, 1);
  });

  test('another epoch is another store', async () => {
    const { client, line } = await online({ ready: { seq: 9, rev: 90, unread: 2 }, items: [item(9), item(8)] });
    line.cut();
    const again = await hub.line(1);
    again.ready({ epoch: 'e2', seq: 1, rev: 1, unread: 1 });
    (await again.asked('notification:list')).answer({ ok: true, items: [item(1, { id: 'n' })], next: null });
    await until(() => seqs(client).join() === '1', 'the new store');
    assert.equal(client.inbox.unread, 1);
    again.say(['notification', item(2, { id: 'm' })]);
    await until(() => client.told.length === 1, 'live');
    assert.deepEqual(client.inbox.position, { epoch: 'e2', rev: 2, seq: 2 });
    assert.equal(again.count('notification:sync'), 0);
  });

  test('another user gets nothing of the first one', async () => {
    const { client, line } = await online({ ready: { seq: 2, rev: 2, unread: 2 }, items: [item(2), item(1)] });
    line.cut();
    const again = await hub.line(1);
    again.ready({ userId: 'bob', seq: 0, rev: 0, unread: 0 });
    await until(() => client.userId === 'bob', 'bob');
    assert.deepEqual([seqs(client), client.inbox.unread], [[], 0]);
    (await again.asked('notification:list')).answer(empty());
  });

  test('a resync in the middle of a connection', async () => {
    const { client, line } = await online({ ready: { seq: 2, rev: 2, unread: 2 }, items: [item(2), item(1)] });
    line.say(['hub:resync', { epoch: 'e1', rev: 40 }], ['unread', { count: 5, rev: 40 }],
      ['notification', item(9, { rev: 41 })]);
    (await line.asked('notification:list')).answer({
      ok: true, items: [item(9, { rev: 41 }), item(8, { rev: 40 }), item(2)], next: '2',
    });
    await until(() => seqs(client).includes(8), 'read anew');
    assert.deepEqual(seqs(client), [9, 8, 2]);
    assert.equal(client.inbox.unread, 5);
    assert.equal(client.inbox.hasMore, true);
    assert.equal(client.inbox.position.rev, 41);
    assert.ok(client.told.includes(9));
    assert.equal(client.told.filter((seq) => seq === 9).length, 1);
  });
});

describe('asking for changes', () => {
  test('marks wait for a connection and are repeated until they are answered', async () => {
    const { client, line } = await online();
    line.cut();
    await until(() => client.state !== 'online', 'offline');
    const marked = client.inbox.markRead(['id-1', 'id-2']);
    const second = await hub.line(1);
    second.ready();
    await second.asked('notification:read');
    second.cut();
    const third = await hub.line(2);
    third.ready();
    const asked = await third.asked('notification:read');
    assert.deepEqual(asked.argument, { ids: ['id-1', 'id-2'] });
    asked.answer({ ok: true, rev: 0, unread: 0 });
    await marked;
  });

  test('a refusal is not repeated', async () => {
    const { client, line } = await online();
    const marked = client.inbox.markRead('nonsense');
    (await line.asked('notification:read')).answer({ ok: false, error: 'invalid_field', message: 'no' });
    await assert.rejects(marked, { code: 'invalid_field' });
  });

  test('each has its event; all of it is up to what is known here', async () => {
    const { client, line } = await online({ ready: { seq: 7, rev: 7 } });
    line.script(Object.fromEntries(
      ['read', 'unread', 'seen', 'archive', 'unarchive', 'snooze', 'delete'].map(
        (name) => [`notification:${name}`, ({ ids }) => ({ ok: true, rev: 7, unread: 0, changed: ids ?? 3 })])));
    assert.deepEqual(await client.inbox.markSeen({ upTo: 3 }), { changed: 3, conflict: [] });
    await client.inbox.archive('id-1');
    await client.inbox.markAllRead();
    await client.inbox.markAllSeen();
    await client.inbox.markUnread({ ids: ['id-1'], ifRev: 4 });
    await client.inbox.unarchive(['id-1']);
    await client.inbox.snooze('id-1', new Date('2026-01-02T03:04:05.678Z'));
    await client.inbox.snooze({ all: true, type: 'note' }, null);
    await client.inbox.delete({ all: true });
    const sent = line.packets.filter(([id]) => id > 0).slice(1).map(([, ...rest]) => rest);
    assert.deepEqual(sent, [['notification:seen', { upTo: 3 }], ['notification:archive', { ids: ['id-1'] }],
      ['notification:read', { upTo: 7 }], ['notification:seen', { upTo: 7 }],
      ['notification:unread', { ids: ['id-1'], ifRev: 4 }], ['notification:unarchive', { ids: ['id-1'] }],
      ['notification:snooze', { ids: ['id-1'], until: '2026-01-02T03:04:05.678Z' }],
      ['notification:snooze', { upTo: 7, type: 'note', until: null }], ['notification:delete', { upTo: 7 }]]);
  });

  test('all is what was known when it was asked for, however late it is answered', async () => {
    const { client, line } = await online({ ready: { seq: 2, rev: 2 }, items: [item(2), item(1)] });
    const erased = client.inbox.delete({ all: true, ifRev: 2 });
    assert.deepEqual((await line.asked('notification:delete')).argument, { upTo: 2, ifRev: 2 });
    line.cut(); // it may be done
    await until(() => client.state !== 'online', 'offline');
    const read = client.inbox.markRead({ all: true, type: 'note' });
    const again = await hub.line(1);
    again.ready({ seq: 3, rev: 3 });
    (await again.asked('notification:sync')).answer(page({ rev: 3, items: [item(3)] }));
    await until(() => seqs(client).includes(3), 'what came meanwhile');
    const asked = await again.asked('notification:delete');
    assert.deepEqual(asked.argument, { upTo: 2, ifRev: 2 });
    asked.answer({ ok: true, rev: 3, changed: 2 });
    assert.deepEqual(await erased, { changed: 2, conflict: [] });
    const marked = await again.asked('notification:read');
    assert.deepEqual(marked.argument, { type: 'note', upTo: 2 });
    marked.answer({ ok: true, rev: 3, changed: 0 });
    await read;
  });

  test('all that was asked for before anything was known is what the hub has then', async () => {
    const client = newClient();
    client.connect(hub.url, { token: 'abc' });
    const done = client.inbox.archive({ all: true });
    const line = await hub.line(0);
    line.ready({ seq: 4, rev: 4 });
    const asked = await line.asked('notification:archive');
    assert.deepEqual(asked.argument, { upTo: 4 });
    asked.answer({ ok: true, rev: 4, changed: 0 });
    await done;
    const without = newClient({ inbox: false });
    without.connect(hub.url, { token: 'abc' });
    const other = await hub.line(1);
    other.ready({ seq: 4, rev: 4 });
    other.script({ 'notification:archive': () => ({ ok: true, rev: 4, changed: 0 }) });
    await without.inbox.archive({ all: true });
    assert.deepEqual(other.packets.find(([, event]) => event === 'notification:archive')[2], { all: true });
  });

  test('where nothing is known, all of it is nothing', async () => {
    const { client, line } = await online();
    const done = within(client.inbox.delete({ all: true }), 'nothing is asked');
    assert.deepEqual(await done, { changed: 0, conflict: [] });
    assert.equal(line.count('notification:delete'), 0);
  });

  test('what one user asked for is not asked of another', async () => {
    const { client, line } = await online({ ready: { seq: 2, rev: 2 }, items: [item(2), item(1)], options: { backoffMin: 40 } });
    const unavailable = { ok: false, error: 'unavailable', message: 'later' };
    line.script({ 'notification:read': () => unavailable, 'preferences:set': () => unavailable });
    const pausing = [client.inbox.markAllRead(), client.setPreferences({ muteUntil: '2030-01-01T00:00:00Z' })];
    const refused = pausing.map((one) => assert.rejects(one, { code: 'closed' }));
    await until(() => line.count('notification:read') > 0 && line.count('preferences:set') > 0, 'both are refused');
    client.close();
    client.connect(hub.url, { token: 'bob' });
    const second = await hub.line(1);
    second.ready({ userId: 'bob', seq: 9, rev: 9 });
    await within(Promise.all(refused), 'the end of what alice asked');
    second.cut(); // now by a token of somebody else
    await until(() => client.state !== 'online', 'offline');
    const waiting = assert.rejects(client.inbox.markRead({ upTo: 9 }), { code: 'closed' });
    const third = await hub.line(2);
    third.ready({ userId: 'carol', seq: 9, rev: 9 });
    await within(waiting, 'the end of what bob asked');
    for (const { packets } of [second, third]) {
      assert.ok(!packets.some(([, event]) => event === 'notification:read' || event === 'preferences:set'));
    }
  });

  test('many ids are several requests', async () => {
    const { client, line } = await online();
    const sizes = [];
    line.script({ 'notification:read': ({ ids }) => {
      sizes.push(ids.length);
      return { ok: true, rev: 0, changed: ids.slice(1), conflict: ids.slice(0, 1) };
    } });
    const marked = await client.inbox.markRead(Array.from({ length: 2_201 }, (_, n) => `id-${n}`));
    assert.deepEqual(sizes, [1000, 1000, 201]);
    assert.equal(marked.changed.length, 2_198);
    assert.deepEqual(marked.conflict, ['id-0', 'id-1000', 'id-2000']);
  });

  test('changes of one row go one after another, and our own are no conflict', async () => {
    const { client, line } = await online({ ready: { seq: 3, rev: 3 } });
    const first = client.inbox.markRead({ ids: ['id-1', 'id-2'], ifRev: 3 });
    const second = client.inbox.markUnread({ ids: ['id-1', 'id-2', 'id-3'], ifRev: 3 });
    const other = client.inbox.archive({ ids: ['id-4'], ifRev: 3 });
    const read = await line.asked('notification:read');
    (await line.asked('notification:archive')).answer({ ok: true, rev: 4, changed: ['id-4'] });
    assert.deepEqual(await other, { changed: ['id-4'], conflict: [] });
    assert.ok(!line.packets.some(([, event]) => event === 'notification:unread'), 'it waits');
    const asked = [];
    line.script({ 'notification:unread': (argument) => {
      asked.push(argument);
      return { ok: true, rev: 6, changed: argument.ids };
    } });
    read.answer({ ok: true, rev: 5, changed: ['id-1'], conflict: ['id-2'] });
    assert.deepEqual(await first, { changed: ['id-1'], conflict: ['id-2'] });
    assert.deepEqual((await second).changed, ['id-1', 'id-2', 'id-3']);
    assert.deepEqual(asked, [{ ids: ['id-1'], ifRev: 5 }, { ids: ['id-2', 'id-3'], ifRev: 3 }]);
    await client.inbox.markUnread({ ids: ['id-1'], ifRev: 4 });
    assert.deepEqual(asked.at(-1), { ids: ['id-1'], ifRev: 4 }, 'what is answered is not remembered');
  });

  test('what waits for an answer is bounded', async () => {
    const { client, line } = await online({ options: { pendingMax: 3 } });
    line.cut();
    await until(() => client.state !== 'online', 'offline');
    const waits = [client.inbox.markRead(['id-1', 'id-2']), client.inbox.archive({ upTo: 7 })];
    await assert.rejects(client.inbox.markRead('id-3'), { code: 'queue_full', temporary: true });
    const second = await hub.line(1);
    second.script({
      'notification:read': () => ({ ok: true, rev: 0, changed: [] }),
      'notification:archive': () => ({ ok: true, rev: 0, changed: 0 }),
    });
    second.ready();
    await Promise.all(waits);
    await client.inbox.markRead(['id-1', 'id-2', 'id-3']);
  });

  test('an answer that is ahead of the announcement makes the client look', async () => {
    const { client, line } = await online({ ready: { seq: 1, rev: 1, unread: 1 }, items: [item(1)] });
    line.script({ 'notification:read': () => ({ ok: true, rev: 2, unread: 0 }) });
    await client.inbox.markRead('id-1');
    (await line.asked('notification:sync')).answer(page({ rev: 2, unread: 0,
      states: [{ id: 'id-1', seq: 1, rev: 2, state: 'read', at: 't' }] }));
    await until(() => stateOf(client, 1) === 'read', 'read');
  });

  test('older ones are loaded page by page', async () => {
    const { client, line } = await online({ ready: { seq: 5, rev: 5 }, items: [item(5), item(4)], next: '4' });
    assert.equal(client.inbox.hasMore, true);
    const more = client.inbox.loadMore({ limit: 2 });
    const twice = client.inbox.loadMore({ limit: 2 });
    const asked = await line.asked('notification:list');
    assert.deepEqual(asked.argument, { after: '4', limit: 2 });
    asked.answer({ ok: true, items: [item(3), item(2)], next: '2' });
    (await line.asked('notification:list')).answer({ ok: true, items: [item(3), item(2)], next: '2' });
    await Promise.all([more, twice]);
    assert.deepEqual(seqs(client), [5, 4, 3, 2]);
    line.script({ 'notification:list': () => ({ ok: true, items: [item(1)], next: null }) });
    await client.inbox.loadMore();
    assert.deepEqual([seqs(client), client.inbox.hasMore], [[5, 4, 3, 2, 1], false]);
    assert.deepEqual(client.told, []);
  });

  test('a page of one state leaves the items alone', async () => {
    const { client, line } = await online();
    const list = client.inbox.list({ state: 'archived', limit: 5 });
    const asked = await line.asked('notification:list');
    assert.deepEqual(asked.argument, { limit: 5, state: 'archived' });
    asked.answer({ ok: true, items: [item(1, { archivedAt: 't' })], next: '1' });
    const { items, next } = await list;
    assert.deepEqual([items[0].state, next, seqs(client)], ['archived', '1', []]);
  });
});

describe('states both ways', () => {
  const state = (rev, fields) => ({ rev, unread: 1, unseen: 0, at: 't', ...fields });

  test('what is read becomes unread again, and stays seen', async () => {
    const { client, line } = await online({ ready: { seq: 1, rev: 1, unread: 1, unseen: 1 }, items: [item(1)] });
    assert.deepEqual([client.inbox.unread, client.inbox.unseen], [1, 1]);
    line.say(['notification:state', state(2, { ids: ['id-1'], state: 'read', unread: 0 })]);
    await until(() => stateOf(client, 1) === 'read', 'read');
    assert.deepEqual([client.inbox.unread, client.inbox.unseen], [0, 0]);
    line.say(['notification:state', state(3, { ids: ['id-1'], state: 'seen', at: 'u' })]);
    await until(() => stateOf(client, 1) === 'seen', 'seen');
    const [{ isRead, readAt, seenAt }] = client.inbox.items;
    assert.deepEqual([isRead, readAt, seenAt], [false, null, 't']);
    assert.equal(client.inbox.unread, 1);
  });

  test('what comes out of the archive stands where it stood, if the list reaches so far', async () => {
    const { client, line } = await online({ ready: { seq: 5, rev: 5 }, items: [item(5), item(3)], next: '3' });
    const back = (seq, rev) => state(rev, { ids: [`id-${seq}`], state: 'unread', items: [item(seq, { rev })] });
    line.say(['notification:state', back(4, 6)]);
    line.say(['notification:state', back(2, 6)]);
    line.say(['notification:state', state(7, { ids: ['id-3'], state: 'archived' })]);
    await until(() => String(seqs(client)) === '5,4', '4 came, 3 went; 2 is older than what is loaded');
    assert.deepEqual(client.told, [], 'none is new');
  });

  test('a whole row that has left the list again is not shown', async () => {
    const { client, line } = await online({ ready: { seq: 2, rev: 3, unread: 1 }, items: [item(2)] });
    const gone = item(1, { rev: 4, isRead: true, snoozedUntil: '2026-12-30T04:00:01.244Z' });
    line.say(['notification:state', { rev: 4, unread: 1, ids: ['id-1'], state: 'snoozed', at: null, items: [gone] }]);
    await until(() => client.inbox.position.rev === 4, 'it is applied');
    assert.deepEqual(seqs(client), [2]);
  });

  test('what is snoozed leaves, and is told again when it comes back, on top', async () => {
    const { client, line } = await online({ ready: { seq: 3, rev: 3 }, items: [item(3), item(2), item(1)] });
    line.say(['notification:state', state(4, { ids: ['id-1', 'id-2'], state: 'snoozed', snoozedUntil: 'u' })]);
    await until(() => seqs(client).length === 1, 'two are away');
    const again = (seq) => item(seq, { rev: 5, newRev: 5, resurfaced: true });
    for (const seq of [1, 2, 1]) line.say(['notification', again(seq)]);
    line.say(['notification', item(4, { rev: 6, newRev: 6 })]);
    await until(() => client.told.length === 3, 'all are told');
    assert.deepEqual(client.told, [1, 2, 4], 'each once');
    assert.deepEqual(seqs(client), [4, 2, 1, 3]);
    line.say(['notification:state', state(7, { ids: ['id-2'], state: 'erased' })]);
    line.say(['notification', again(2)]);
    await until(() => seqs(client).length === 3, 'it is gone');
    assert.deepEqual(client.told, [1, 2, 4]);
  });

  test('other content is shown in its place, without a word', async () => {
    const { client, line } = await online({ ready: { seq: 3, rev: 3 }, items: [item(3), item(2), item(1)] });
    const edited = (seq, rev, more) => state(rev, { ids: [`id-${seq}`], state: 'unread', at: null,
      updated: [item(seq, { rev, newRev: seq, title: 'other', ...more })] });
    line.say(['notification:state', edited(2, 4)]);
    line.say(['notification:state', edited(3, 5, { archivedAt: 'a' })]);
    await until(() => seqs(client).length === 2, 'what is archived stays away');
    assert.deepEqual([client.inbox.items.map(({ title }) => title), seqs(client), client.told], [['other', item(1).title], [2, 1], []]);
  });

  test('what takes the place of another is told again, and stands on top', async () => {
    const { client, line } = await online({ ready: { seq: 3, rev: 3 }, items: [item(3), item(2), item(1)] });
    const again = (rev, count) => item(1, { rev, newRev: rev, collapse: 'build', count, title: `t${count}` });
    for (const wire of [again(4, 2), again(4, 2), again(5, 3)]) line.say(['notification', wire]);
    line.say(['notification', item(4, { rev: 6, newRev: 6 })]);
    await until(() => client.told.length === 3, 'all are told');
    assert.deepEqual(client.told, [1, 1, 4], 'each once');
    assert.deepEqual(seqs(client), [4, 1, 3, 2]);
    assert.deepEqual(client.inbox.items[1].title, 't3');
  });

  test('a device that was away is told what came back meanwhile', async () => {
    const { client, line } = await online({ ready: { seq: 2, rev: 2 }, items: [item(2)] });
    line.cut();
    const again = await hub.line(1);
    again.ready({ seq: 3, rev: 6 });
    (await again.asked('notification:sync')).answer(page({ rev: 6, unread: 3, unseen: 2,
      items: [item(3), item(1, { rev: 5, newRev: 5, resurfaced: true })] }));
    await until(() => client.told.length === 2, 'both are told');
    assert.deepEqual([client.told, seqs(client)], [[3, 1], [1, 3, 2]]);
    assert.deepEqual([client.inbox.unread, client.inbox.unseen], [3, 2]);
  });
});

describe('rooms', () => {
  const quiet = { options: { inbox: false } };

  test('a room is entered again after each connection', async () => {
    const { client, line } = await online(quiet);
    line.script({ join_room: ({ roomId }) => ({ ok: true, roomId, roomType: 'public' }) });
    await client.join('public:lobby');
    line.cut();
    const again = await hub.line(1);
    again.ready();
    assert.deepEqual((await again.asked('join_room')).argument, { roomId: 'public:lobby' });
    assert.deepEqual(client.rooms, ['public:lobby']);
  });

  test('a room that is closed to us meanwhile is told and forgotten', async () => {
    const { client, line } = await online(quiet);
    const refusal = { ok: false, error: 'forbidden', message: 'Access denied to room' };
    line.script({ join_room: () => ({ ok: true }) });
    await client.join('public:lobby');
    const errors = [];
    client.on('error', (error) => errors.push(error));
    line.cut();
    const again = await hub.line(1);
    again.script({ join_room: () => refusal });
    again.ready();
    await until(() => errors.length === 1, 'an error');
    assert.deepEqual([errors[0].code, errors[0].roomId, client.rooms], ['forbidden', 'public:lobby', []]);
  });

  test('joining before there is a connection waits for it', async () => {
    const client = newClient(quiet.options);
    client.connect(hub.url, { token: 'abc' });
    const joined = client.join('public:lobby');
    const line = await hub.line(0);
    line.script({ join_room: () => ({ ok: true }) });
    line.ready();
    await joined;
    assert.equal(line.count('join_room'), 1);
  });

  test('a room that is left before the hub has answered is left', async () => {
    const client = newClient(quiet.options);
    client.connect(hub.url, { token: 'abc' });
    const late = assert.rejects(client.join('public:late'), { code: 'closed' });
    await client.leave('public:late');
    const line = await hub.line(0);
    line.ready();
    await within(late, 'it is not joined');
    assert.equal(line.count('join_room'), 0);
    const joined = client.join('public:lobby');
    const asked = await line.asked('join_room');
    const left = client.leave('public:lobby');
    asked.answer({ ok: true });
    (await line.asked('leave_room')).answer({ ok: true });
    await Promise.all([joined, left]);
    assert.deepEqual(client.rooms, []);
    line.cut();
    const again = await hub.line(1);
    again.ready();
    await until(() => client.state === 'online', 'online');
    client.emit('end');
    await again.heard('end');
    assert.equal(again.count('join_room'), 0);
  });

  test('messages carry a nonce also where there is no crypto', async () => {
    const { client, line } = await online({ options: { inbox: false } });
    line.script({ send_message: () => ({ ok: true, id: 'm' }) });
    const kept = Object.getOwnPropertyDescriptor(globalThis, 'crypto');
    const seen = [{}, { getRandomValues: (words) => words.fill(7) }, undefined];
    try {
      for (const value of seen) {
        Object.defineProperty(globalThis, 'crypto', { value, configurable: true });
        await client.send('public:lobby', 'hello');
      }
    } finally {
      if (kept) Object.defineProperty(globalThis, 'crypto', kept);
      else delete globalThis.crypto;
    }
    const nonces = line.packets.filter((packet) => packet[1] === 'send_message').map((packet) => packet[2].nonce);
    assert.equal(nonces.length, 3);
    assert.equal(nonces[1], '00000007'.repeat(4));
    for (const nonce of nonces) assert.match(nonce, /^[0-9a-f]{32}$/);
    assert.notEqual(nonces[0], nonces[2]);
  });

  test('messages carry a nonce, leaving ends the room', async () => {
    const { client, line } = await online(quiet);
    line.script({
      join_room: () => ({ ok: true }),
      leave_room: () => ({ ok: true }),
      send_message: () => ({ ok: true, id: 'm1' }),
    });
    await client.join('public:lobby');
    assert.equal((await client.send('public:lobby', 'hello')).id, 'm1');
    await client.send('public:lobby', 'again', { nonce: 'n1', type: 'image' });
    const [first, second] = line.packets.filter((packet) => packet[1] === 'send_message').map((p) => p[2]);
    assert.match(first.nonce, /^[0-9a-f]{32}$/);
    assert.deepEqual(second, { roomId: 'public:lobby', message: 'again', type: 'image', nonce: 'n1' });
    await client.leave('public:lobby');
    assert.deepEqual(client.rooms, []);
  });

  test('typing is said once, not at each key', async () => {
    const { client, line } = await online(quiet);
    for (let key = 0; key < 20; key++) client.typing('public:lobby');
    client.typing('public:lobby', false);
    client.typing('public:lobby', false);
    client.typing('public:lobby');
    client.emit('end');
    await line.heard('end');
    assert.deepEqual(line.packets.map(([name]) => name),
      ['typing:start', 'typing:stop', 'typing:start', 'end']);
  });
});
