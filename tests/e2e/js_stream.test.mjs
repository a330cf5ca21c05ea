// SPDX-License-Identifier: Apache-2.0
// peal.js where WebSockets do not pass: it reads server-sent events and asks over HTTP, here of a scripted fetch, for
// orders that a real hub seldom produces.
import assert from 'node:assert/strict';
import { afterEach, describe, test } from 'node:test';
import { Peal } from '../../clients/js/peal.js';
import { item } from './support/scripted_hub.mjs';
import { until } from './support/wait.mjs';

const READY = {
  userId: 'alice', node: 'n1', epoch: 'e1', seq: 0, rev: 0, unread: 0, unseen: 0,
  limits: { messagesPerMinute: 50, messageBytes: 65_536, rooms: 128 },
};
const FAST = { backoffMin: 5, backoffMax: 20, gapDelay: 5 };

const denied = (roomId) => ({ code: 'forbidden', message: 'Access denied to room', roomId, event: 'join_room' });

// A WebSocket that no proxy lets through.
class Blocked {
  static tried = 0;
  readyState = 0;
  constructor() {
    Blocked.tried++;
    setImmediate(() => {
      this.readyState = 3;
      this.onclose?.({ code: 1006, reason: '' });
    });
  }
  close() {}
}

// Takes the place of fetch: streams that a test writes to, and calls that it answers.
class Script {
  streams = []; // {url, headers, say(...packets), text(raw), end(), ended}
  calls = []; // {method, url, body}
  answers = { 'GET notifications': { items: [], next: null } };
  refusals = []; // statuses of the next streams

  constructor() {
    this.real = globalThis.fetch;
    globalThis.fetch = (url, options) => this.fetch(new URL(url), options);
  }

  restore() {
    globalThis.fetch = this.real;
  }

  async fetch(url, { method = 'GET', headers = {}, signal, body } = {}) {
    if (method === 'HEAD') return new Response(null, { status: 401 }); // it is there
    if (url.pathname === '/api/v1/stream') return this.open(url, headers, signal);
    const path = decodeURIComponent(url.pathname.replace('/api/v1/users/alice/', ''));
    this.calls.push({ method, path, search: url.search, headers, body: body && JSON.parse(body) });
    const answer = this.answers[`${method} ${path}`];
    return answer
      ? new Response(JSON.stringify(answer), { status: 200 })
      : new Response('{"error":{"code":"not_found","message":"nothing"}}', { status: 404 });
  }

  open(url, headers, signal) {
    if (this.refusals.length > 0) return new Response(null, { status: this.refusals.shift() });
    const stream = { url, headers, ended: false };
    const encoder = new TextEncoder();
    const body = new ReadableStream({
      start: (controller) => {
        stream.text = (text) => stream.ended || controller.enqueue(encoder.encode(text));
        stream.say = (id, ...packets) => stream.text(`id: ${id}\ndata: ${JSON.stringify(packets)}\n\n`);
        stream.end = () => {
          if (!stream.ended) controller.close();
          stream.ended = true;
        };
        signal?.addEventListener('abort', () => {
          if (!stream.ended) controller.error(new Error('aborted'));
          stream.ended = true;
        });
      },
    });
    this.streams.push(stream);
    return new Response(body, { status: 200, headers: { 'content-type': 'text/event-stream' } });
  }

  stream(n) {
    return until(() => this.streams[n], `stream ${n}`);
  }
}

describe('over a scripted fetch', () => {
  let script;
  let peal;

  afterEach(() => {
    peal?.close();
    script?.restore();
  });

  function begin(options = {}) {
    script = new Script();
    Blocked.tried = 0;
    peal = new Peal({ WebSocket: Blocked, ...FAST, ...options });
    peal.connect('ws://hub.example/ws', { token: 'tok' }).catch(() => {});
    return script;
  }

  async function online(rev = 0, options) {
    begin(options);
    const stream = await script.stream(0);
    stream.say(`1;e1;${rev}`, ['hub:ready', { ...READY, rev, seq: rev }]);
    await until(() => peal.state === 'online', 'online');
    return stream;
  }

  test('two WebSockets that do not open, then a stream with the token in its head', async () => {
    const stream = await online();
    assert.ok(Blocked.tried >= 2, String(Blocked.tried));
    assert.equal(peal.oneWay, true);
    assert.equal(stream.url.href, 'http://hub.example/api/v1/stream?inbox=1&rooms=');
    assert.equal(stream.headers.authorization, 'Bearer tok');
    assert.equal(stream.headers['last-event-id'], undefined);
  });

  test('never, where that is said', async () => {
    begin({ stream: false });
    await until(() => Blocked.tried > 4, 'only WebSockets are tried');
    assert.equal(script.streams.length, 0);
  });

  test('always, without a WebSocket', async () => {
    await online(0, { WebSocket: null, stream: true });
    assert.equal(Blocked.tried, 0);
    assert.throws(() => new Peal({ WebSocket: null }).connect('ws://hub.example/ws'), TypeError);
  });

  test('the inbox is applied as it comes, revs that are passed over among it', async () => {
    const stream = await online();
    const told = [];
    peal.on('notification', ({ title }) => told.push(title));
    await until(() => peal.inbox.loaded, 'the list was read');
    stream.say('1;e1;1', ['notification', item(1)]);
    stream.say('1;e1;9', ['notification', item(2, { rev: 5, newRev: 5 })], ['notification', item(3, { rev: 9, newRev: 9 })]);
    await until(() => told.length === 3, 'all are told');
    assert.deepEqual(told, ['title 1', 'title 2', 'title 3']);
    assert.equal(peal.inbox.position.rev, 9);
    assert.deepEqual(script.calls.map(({ path }) => path), ['notifications'], 'nothing is asked for');
  });

  test('an event in pieces is one; a comment is none', async () => {
    const stream = await online();
    const told = [];
    peal.on('update', (argument) => told.push(argument));
    for (const piece of [':\n', '\nda', 'ta: [["upd', 'ate",{"a":"é"}]]\n', '\n']) stream.text(piece);
    await until(() => told.length === 1, 'it is told');
    assert.deepEqual(told, [{ a: 'é' }]);
  });

  test('it comes back behind what it has, and hears what is above', async () => {
    const stream = await online();
    await until(() => peal.inbox.loaded, 'the list was read');
    stream.say('1;e1;4', ['notification', item(1, { rev: 4, newRev: 4 })]);
    await until(() => peal.inbox.items.length === 1, 'it is there');
    stream.end();
    const second = await script.stream(1);
    assert.equal(second.headers['last-event-id'], '1;e1;4');
    second.say('1;e1;4', ['hub:ready', { ...READY, rev: 6, seq: 2 }]);
    second.say('1;e1;6', ['notification', item(2, { rev: 6, newRev: 6 })]);
    await until(() => peal.inbox.items.length === 2, 'what was missed');
    assert.equal(script.calls.length, 1, 'nothing is asked for again');
  });

  test('it comes back as who it was, where the hub says so', async () => {
    const stream = await online();
    await until(() => peal.inbox.loaded, 'the list was read');
    stream.say('1;e1;4;pid;log-7;sum', ['notification', item(1, { rev: 4, newRev: 4 })]);
    await until(() => peal.inbox.items.length === 1, 'it is there');
    stream.end();
    const second = await script.stream(1);
    assert.equal(second.headers['last-event-id'], '1;e1;4;pid;log-7;sum');
  });

  test('marks go over HTTP, and what a stream cannot send is refused', async () => {
    await online();
    script.answers['POST notifications/read'] = { rev: 2, unread: 0, changed: ['id-1'], conflict: [] };
    assert.deepEqual(await peal.inbox.markRead('id-1'), { changed: ['id-1'], conflict: [] });
    const call = script.calls.find(({ path }) => path === 'notifications/read');
    assert.deepEqual([call.method, call.body, call.headers.authorization], ['POST', { ids: ['id-1'] }, 'Bearer tok']);
    await assert.rejects(peal.send('public:a', 'hello'), { code: 'one_way' });
    await assert.rejects(peal.inbox.archive('id-2'), { code: 'not_found' });
    assert.equal(peal.emit('typing:start', {}), false);
  });

  test('rooms are of the next stream, which goes on behind the last id', async () => {
    const stream = await online(3);
    const joins = [peal.join('public:a'), peal.join('public:b,c')];
    const second = await script.stream(1);
    assert.equal(second.url.searchParams.get('rooms'), 'public:a,public:b,c');
    assert.match(second.url.search, /rooms=public%3Aa,public%3Ab%2Cc$/);
    assert.equal(second.headers['last-event-id'], '1;e1;3');
    assert.equal(stream.ended, true);
    second.say('1;e1;3', ['hub:ready', { ...READY, rev: 3, seq: 3 }], ['room_joined', { roomId: 'public:a', roomType: 'public' }]);
    second.say('1;e1;3', ['error', denied('public:b,c')]);
    assert.deepEqual(await joins[0], { ok: true, roomId: 'public:a', roomType: 'public' });
    await assert.rejects(joins[1], { code: 'forbidden' });
    assert.deepEqual(peal.rooms, ['public:a']);
    await peal.leave('public:a');
    assert.equal((await script.stream(2)).url.searchParams.get('rooms'), '');
  });

  test('a room that is refused when it comes back is told once, and not asked for again', async () => {
    await online();
    const joined = peal.join('public:a');
    const second = await script.stream(1);
    second.say('1;e1;0', ['room_joined', { roomId: 'public:a', roomType: 'public' }]);
    await joined;
    const told = [];
    peal.on('error', ({ code, event, roomId }) => told.push([code, event, roomId]));
    second.end();
    const third = await script.stream(2);
    assert.equal(third.url.searchParams.get('rooms'), 'public:a');
    third.say('1;e1;0', ['error', denied('public:a')]); // before hub:ready, as a hub says it
    third.say('1;e1;0', ['hub:ready', READY]);
    await until(() => told.length > 0, 'it is told');
    assert.deepEqual(peal.rooms, []);
    const again = peal.join('public:b'); // what is asked for next is that alone
    const fourth = await script.stream(3);
    assert.equal(fourth.url.searchParams.get('rooms'), 'public:b');
    fourth.say('1;e1;0', ['room_joined', { roomId: 'public:b', roomType: 'public' }]);
    await again;
    assert.deepEqual(told, [['forbidden', 'join_room', 'public:a']]);
  });

  test('a room over the rate of joins is asked for again when it may be', async () => {
    await online();
    const joins = [peal.join('public:a'), peal.join('public:b')];
    const second = await script.stream(1);
    second.say('1;e1;0', ['room_joined', { roomId: 'public:a', roomType: 'public' }]);
    second.say('1;e1;0', ['rate_limited', { event: 'join_room', roomId: 'public:b', retryAfter: 20 }]);
    const third = await script.stream(2);
    assert.equal(third.url.searchParams.get('rooms'), 'public:a,public:b');
    for (const roomId of ['public:a', 'public:b']) third.say('1;e1;0', ['room_joined', { roomId, roomType: 'public' }]);
    assert.deepEqual((await Promise.all(joins)).map(({ roomId }) => roomId), ['public:a', 'public:b']);
    assert.deepEqual(peal.rooms, ['public:a', 'public:b']);
    assert.equal(script.streams.length, 3);
  });

  test('an end that says why is final, or not', async () => {
    const stream = await online();
    const ends = [];
    peal.on('client:state', ({ state, code }) => ends.push([state, code]));
    stream.say('1;e1;0', ['hub:closing', { code: 4503, reason: 'node is draining' }]);
    stream.end();
    const second = await script.stream(1);
    assert.deepEqual(ends[0], ['waiting', 4503]);
    second.say('1;e1;0', ['hub:ready', READY]);
    await until(() => peal.state === 'online', 'online');
    second.say('1;e1;0', ['hub:closing', { code: 4403, reason: 'not allowed' }]);
    second.end();
    await until(() => peal.state === 'closed', 'closed');
    assert.deepEqual(ends.at(-1), ['closed', 4403]);
  });

  for (const [what, answer] of [
    ['does not answer', () => Promise.reject(new TypeError('fetch failed'))],
    ['is away, as a proxy says', () => new Response(null, { status: 502 })],
  ]) {
    test(`a hub that ${what} is waited for with WebSockets`, async () => {
      const asked = [];
      script = new Script();
      script.fetch = (url, { method = 'GET', headers = {} } = {}) => {
        asked.push(`${method} ${headers.authorization}`);
        return answer();
      };
      Blocked.tried = 0;
      peal = new Peal({ WebSocket: Blocked, ...FAST });
      peal.connect('ws://hub.example/ws', { token: 'tok' }).catch(() => {});
      await until(() => Blocked.tried >= 6, 'WebSockets again and again');
      assert.deepEqual([...new Set(asked)], ['HEAD Bearer tok']); // what is refused would be an error of the page
    });
  }

  test('204 is a token that has ended', async () => {
    begin();
    script.refusals = [204];
    await until(() => peal.state === 'closed', 'closed');
  });
});
