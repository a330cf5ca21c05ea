// SPDX-License-Identifier: Apache-2.0
// GET /api/v1/stream: a client that only listens gets what a socket gets; on whatever node it comes back, its
// inbox goes on where it was: nothing is missing, nothing comes twice.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { startBalancer } from './support/balancer.mjs';
import { launchBrowser } from './support/browser.mjs';
import { startHub } from './support/hub.mjs';
import { startPostgres } from './support/postgres.mjs';
import { startRedis } from './support/redis.mjs';
import { StreamClient } from './support/stream_client.mjs';
import { randomSecret } from './support/tokens.mjs';
import { until } from './support/wait.mjs';

const CONFIG = `
origins = {"https://shop.example"}
log { level = debug }
bus { recheck = 1s }
room_type "kept" { access = {"any"} replay = 1000 }
`;
// Closed and stopped at the end, whatever became of their tests:
const clients = [];
const started = []; // hubs, and what else a test starts
let redis;
let postgres;
let shared;
let hubs;

before(async () => {
  [redis, postgres] = await Promise.all([startRedis(), startPostgres()]);
  shared = { redis, postgres, config: CONFIG, secret: randomSecret(), apiKey: randomSecret() };
  hubs = [await start(), await start()];
});

after(async () => {
  for (const client of clients) await client.close();
  for (const one of started.reverse()) await one.stop();
  await redis?.stop();
  await postgres?.stop();
});

async function start(options = shared) {
  const hub = await startHub(options);
  started.push(hub);
  return hub;
}

function listen(at, user, { claims, ...options } = {}) {
  const urls = [at].flat().map((hub) => hub.url);
  const client = new StreamClient(urls, { token: hubs[0].token(user, claims), ...options }).open();
  clients.push(client);
  return client;
}

async function post(user, title, at = hubs[0]) {
  const { status, body } = await at.api('POST', '/api/v1/notifications', { user, type: 't', title });
  assert.equal(status, 201, JSON.stringify(body));
}

const emit = (room, event, args, at = hubs[0]) =>
  at.api('POST', '/api/v1/events', { event, args, to: { rooms: [room] } });
const numbers = (count, from = 0) => Array.from({ length: count }, (_, n) => `n${from + n}`);

describe('one stream', () => {
  test('has what a socket has, in the same order', async () => {
    const heard = [];
    const socket = await hubs[0].plain('same', { onEvent: (packet) => heard.push(packet) });
    const stream = listen(hubs[0], 'same', { query: 'inbox=1&rooms=public:same' });
    await stream.has('room_joined');
    await socket.request('join_room', { roomId: 'public:same' });
    for (const title of numbers(20)) await post('same', title, hubs[1]);
    await emit('public:same', 'update', [{ a: [1, 'é\n'] }, 2]);
    await hubs[0].api('POST', '/api/v1/users/same/notifications/read-all');
    await until(() => stream.of('notification:state').length > 0 && stream.of('update').length > 0, 'all of it');
    const names = ['notification', 'notification:state'];
    const of = (packets) => packets.filter(([name]) => names.includes(name));
    await until(() => of(heard).length === of(stream.packets).length, 'the socket has as much');
    assert.deepEqual(of(stream.packets), of(heard));
    const update = ([name]) => name === 'update';
    assert.deepEqual(stream.packets.find(update), ['update', { a: [1, 'é\n'] }, 2]);
    await until(async () => (await hubs[0].metric('peal_streams')) === 1, 'it is counted');
    await stream.close();
    socket.close();
    await until(async () => (await hubs[0].metric('peal_streams')) === 0, 'it is counted no more');
  });

  test('is never compressed, and kept by nobody', async () => {
    const stream = listen(hubs[0], 'plain', { headers: { 'accept-encoding': 'gzip, deflate, br' } });
    await stream.has('hub:ready');
    const [{ headers }] = stream.streams;
    assert.equal(headers['content-encoding'], undefined);
    assert.equal(headers['content-type'], 'text/event-stream');
    assert.equal(headers['cache-control'], 'no-store');
    await stream.close();
  });

  test('is kept open by comments', async () => {
    const stream = listen(hubs[0], 'quiet');
    await stream.has('hub:ready');
    await until(() => stream.comments > 0, 'a comment');
    assert.equal(stream.streams[0].ended, false);
    await stream.close();
  });

  test('takes the token in the query, and the log has it nowhere', async () => {
    const token = hubs[0].token('query');
    const stream = new StreamClient(hubs[0].url, { query: `inbox=1&token=${token}` }).open();
    clients.push(stream);
    await stream.has('hub:ready');
    const wrong = new StreamClient(hubs[0].url, { query: 'token=not-a-token-at-all' }).open();
    clients.push(wrong);
    await until(() => wrong.streams.length === 1, 'it is answered');
    assert.equal(wrong.streams[0].status, 401);
    await hubs[0].logged(/AUTH-REFUSED/);
    assert.ok(!hubs[0].log.includes(token) && !hubs[0].log.includes('not-a-token-at-all'));
    await stream.close();
  });

  test('ends with its token: an event, then 204', async () => {
    const exp = Math.floor(Date.now() / 1000) + 3;
    const stream = listen(hubs[0], 'brief', { claims: { exp }, returns: true });
    await stream.has('hub:ready');
    await stream.has('hub:token_expiring');
    // auth.leeway lets a token live a little longer.
    await until(() => stream.of('hub:closing').length > 0, 'the end is told', 120_000);
    assert.equal(stream.of('hub:closing')[0].code, 4401);
    await until(() => stream.streams.length === 2, 'it comes back', 60_000);
    assert.equal(stream.streams[1].status, 204);
    await stream.close();
  });
});

describe('coming back', () => {
  for (const [where, next] of [['the same node', 0], ['another node', 1]]) {
    test(`to ${where}, each change comes once`, async () => {
      const user = `back${next}`;
      const first = listen(hubs[0], user);
      await first.has('hub:ready');
      await post(user, 'n0');
      await first.has('notification');
      await until(() => first.lastId !== '', 'it has a place');
      await first.close();
      for (const title of numbers(120, 1)) await post(user, title, hubs[1]);
      await hubs[1].api('POST', `/api/v1/users/${user}/notifications/read`, { upTo: 1 });
      const second = listen(hubs[next], user, { lastId: first.lastId });
      await second.has('hub:missed', ({ rooms, inbox }) => rooms.length === 0 && inbox === false);
      await second.has('unread', ({ count }) => count === 120);
      await post(user, 'last', hubs[0]);
      await second.has('notification', ({ title }) => title === 'last');
      assert.deepEqual([...first.titles(), ...second.titles()], [...numbers(121), 'last']);
      assert.equal(second.of('notification:state').length, 1);
      await until(async () => (await hubs[next].metric('peal_streams_resumed_total')) >= 1, 'it is counted');
      await second.close();
    });
  }

  test('after kill -9 of its node, nothing is missing and nothing comes twice', async () => {
    const victim = await start();
    const stream = listen([victim, hubs[0]], 'killed', { query: 'inbox=1&rooms=public:k', returns: true });
    await stream.has('hub:ready');
    const posting = (async () => {
      for (const title of numbers(200)) await post('killed', title, hubs[1]);
    })();
    await until(() => stream.titles().length > 20, 'some have come');
    await victim.kill();
    await posting;
    await until(() => stream.titles().includes('n199'), 'all have come');
    assert.deepEqual(stream.titles(), numbers(200));
    assert.equal(stream.streams.at(-1).url.startsWith(hubs[0].url), true);
    await stream.has('hub:missed', ({ rooms }) => rooms.includes('public:k'));
    await until(() => stream.of('room_joined').length === 2, 'it is in its room again');
    await emit('public:k', 'here', []);
    await until(() => stream.packets.some(([name]) => name === 'here'), 'the room is heard');
    await stream.close();
  });

  test('rooms with a memory go on, too, on another node, after kill -9', async () => {
    const victim = await start();
    const stream = new StreamClient([victim.url, hubs[1].url], {
      token: victim.token('kept'), query: 'rooms=kept:r,kept:q', returns: true,
    }).open();
    clients.push(stream);
    await until(() => stream.of('room_joined').length === 2, 'both are joined');
    const heard = () => stream.of('update').map(({ n }) => n);
    let sent = 0;
    const send = async (count) => {
      for (let i = 0; i < count; i++) {
        const { status } = await emit(i % 3 ? 'kept:r' : 'kept:q', 'update', [{ n: sent++ }], hubs[1]);
        assert.equal(status, 202);
      }
    };
    await send(50);
    await until(() => heard().length === 50, 'all have come');
    const sending = send(200);
    await until(() => heard().length > 80, 'some have come');
    await victim.kill();
    await sending;
    await until(() => new Set(heard()).size === 250, () => `all have come: ${heard().length}`);
    assert.equal(heard().length, 250, 'nothing twice');
    for (const rest of [[0], [1, 2]]) { // of each room, in order
      const own = heard().filter((n) => rest.includes((n < 50 ? n : n - 50) % 3));
      assert.deepEqual(own, own.toSorted((a, b) => a - b));
    }
    assert.deepEqual(stream.of('hub:missed').map(({ rooms }) => rooms), [[]], 'no room: what went to the user or all');
    assert.deepEqual(stream.of('room_joined').map(({ recovered }) => recovered), [undefined, undefined, true, true]);
    await stream.close();
  });

  test('from a node that drains, when that says, elsewhere', async () => {
    const victim = await start();
    const stream = listen([victim, hubs[0]], 'drained', { returns: true });
    await stream.has('hub:ready');
    await post('drained', 'n0', hubs[1]);
    await stream.has('notification');
    const stopped = victim.stop();
    await stream.has('hub:draining');
    const { reconnectIn } = stream.of('hub:draining')[0];
    assert.equal(stream.of('hub:closing')[0].code, 4503);
    assert.match(stream.streams[0].text, new RegExp(`retry: ${reconnectIn}\n`));
    await post('drained', 'n1', hubs[1]);
    await stream.has('notification', ({ title }) => title === 'n1');
    assert.deepEqual(stream.titles(), ['n0', 'n1']);
    await stopped;
    await stream.close();
  });
});

describe('where sockets recover', () => {
  test('rooms go on, too, on another node, after kill -9', async () => {
    const bus = await startRedis();
    started.push(bus);
    const config = `${CONFIG}namespace "/" { recovery = on }\n`;
    const own = { ...shared, redis: bus, config };
    const [victim, other] = [await start(own), await start(own)];
    const stream = new StreamClient([victim.url, other.url], {
      token: victim.token('rooms'), query: 'inbox=1&rooms=public:r', returns: true,
    }).open();
    clients.push(stream);
    await stream.has('hub:ready');
    await stream.has('room_joined');
    const heard = () => stream.of('update').map(({ n }) => n);
    let sent = 0;
    const send = async (count) => {
      for (let i = 0; i < count; i++) {
        const { status } = await emit('public:r', 'update', [{ n: sent++ }], other);
        assert.equal(status, 202);
        if (i % 10 === 0) await post('rooms', `t${sent}`, other);
      }
    };
    await send(50);
    await until(() => heard().length === 50, 'all have come');
    const sending = send(200);
    await until(() => heard().length > 80, 'some have come');
    await victim.kill();
    await sending;
    await until(() => heard().includes(249), 'all have come');
    assert.deepEqual(heard(), Array.from({ length: 250 }, (_, n) => n));
    await until(() => stream.titles().length >= 25, 'the inbox, too, whose page comes for itself');
    assert.equal(new Set(stream.titles()).size, 25, 'no notification twice');
    assert.equal(stream.titles().length, 25);
    assert.equal(stream.of('hub:missed').length, 0);
    await stream.close();
  });
});

describe('who is slow', () => {
  test('is ended, and has its inbox whole when it comes back', async () => {
    const limits = 'limits { slow_consumer = 1s outbound_bytes = 64KiB outbound_max = 256KiB }';
    const hub = await start({ ...shared, config: `${CONFIG}${limits}` });
    const stream = listen(hub, 'slow', { query: 'inbox=1&rooms=public:slow' });
    await stream.has('room_joined');
    await stream.has('hub:ready'); // what was posted before is in its `unread`
    await post('slow', 'n0');
    await stream.has('notification');
    stream.answer.pause();
    const big = 'x'.repeat(30_000);
    for (const title of numbers(10, 1)) await post('slow', title);
    await until(async () => {
      await emit('public:slow', 'big', [big]);
      return /SLOW-CLOSED.*transport=stream/.test(hub.log);
    }, 'it is closed as slow');
    stream.answer.resume();
    await stream.ended();
    const back = listen(hub, 'slow', { lastId: stream.lastId });
    await until(() => back.of('unread').length > 0, 'it has caught up');
    const titles = [...stream.titles(), ...back.titles()];
    assert.deepEqual(titles, numbers(11), 'nothing is missing, nothing twice');
    await back.close();
  });
});

describe('Chromium', () => {
  const balancers = [];
  let browser;
  before(async () => {
    browser = await launchBrowser();
  });
  after(async () => {
    await browser?.close();
    for (const balancer of balancers) await balancer.close();
  });

  async function balance(hub) {
    const balancer = await startBalancer([hub.address], { everyRequest: true });
    balancers.push(balancer);
    return balancer;
  }

  // A page whose EventSource of `user` listens through `balancer`; its inbox is known.
  async function open(balancer, user, rooms = '') {
    const page = await browser.newPage();
    await page.goto(`${balancer.url}/api/v1/nothing`); // any page of that origin
    await page.evaluate((query) => {
      globalThis.packets = [];
      globalThis.opened = 0;
      const source = new EventSource(`/api/v1/stream?${query}`);
      globalThis.source = source;
      source.onopen = () => globalThis.opened++;
      source.onmessage = ({ data }) => globalThis.packets.push(...JSON.parse(data));
    }, `inbox=1&rooms=${rooms}&token=${hubs[0].token(user)}`);
    const hasBegun = () => page.evaluate(() => globalThis.packets.some(([name]) => name === 'hub:ready'));
    await until(hasBegun, 'its inbox is known'); // what was posted before is in its `unread`
    return page;
  }

  const titles = (page) =>
    page.evaluate(() => globalThis.packets.filter(([name]) => name === 'notification').map(([, item]) => item.title));

  test('EventSource goes on over the death of a node: nothing missing, nothing twice', async () => {
    const victim = await start();
    const balancer = await balance(victim);
    const page = await open(balancer, 'chrome', 'kept:page');
    assert.equal(await victim.metric('peal_streams'), 1, 'it listens to the one that dies');
    const seen = (name) => page.evaluate((which) => globalThis.packets.filter(([event]) => event === which).map(([, body]) => body), name);
    await until(async () => (await seen('room_joined')).length === 1, 'it is in the room');
    const posting = (async () => {
      for (const title of numbers(150)) {
        await post('chrome', title, hubs[1]);
        await emit('kept:page', 'update', [title], hubs[1]);
      }
    })();
    await until(async () => (await titles(page)).length > 10, 'some have come');
    balancer.targets = [hubs[0].address];
    await victim.kill();
    await posting;
    await until(async () => (await titles(page)).includes('n149'), 'all have come');
    assert.deepEqual(await titles(page), numbers(150));
    await until(async () => (await seen('update')).includes('n149'), 'of the room, too');
    assert.deepEqual(await seen('update'), numbers(150));
    assert.equal(await page.evaluate(() => globalThis.opened), 2);
    await page.evaluate(() => globalThis.source.close());
    await page.close();
  });

  test('EventSource leaves a node that drains, when that says, and goes on elsewhere', async () => {
    const victim = await start();
    const balancer = await balance(victim);
    const page = await open(balancer, 'chrome-drained');
    let posting = true;
    let posted = 0;
    const posts = (async () => {
      while (posting && posted < 500) await post('chrome-drained', `n${posted++}`, hubs[1]);
    })();
    await until(async () => (await titles(page)).length > 10, 'some have come');
    balancer.targets = [hubs[0].address];
    await victim.stop(); // it ends by itself: the page has left
    await until(() => page.evaluate(() => globalThis.opened === 2), 'it is back');
    posting = false;
    await posts;
    await until(async () => (await titles(page)).includes(`n${posted - 1}`), 'all have come');
    assert.deepEqual(await titles(page), numbers(posted));
    const told = await page.evaluate(() => globalThis.packets.map(([name]) => name).filter((name) => /^hub:(dr|cl)/.test(name)));
    assert.deepEqual(told, ['hub:draining', 'hub:closing']);
    await page.evaluate(() => globalThis.source.close());
    await page.close();
  });

  test('a token that has ended ends an EventSource', async () => {
    const page = await browser.newPage();
    await page.goto(`${hubs[0].url}/api/v1/nothing`);
    const token = hubs[0].token('ended', { exp: Math.floor(Date.now() / 1000) - 3600 });
    const ended = await page.evaluate(async (query) => {
      const source = new EventSource(`/api/v1/stream?${query}`);
      await new Promise((resolve) => {
        source.onerror = resolve;
      });
      return source.readyState === EventSource.CLOSED;
    }, `last_event_id=1;;&token=${token}`);
    assert.equal(ended, true);
    await page.close();
  });
});
