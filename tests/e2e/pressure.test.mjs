// SPDX-License-Identifier: Apache-2.0
// pressure - bursts that are larger than an outbox, and peers that take nothing: who reads gets
// everything, who does not is closed after limits.slow_consumer and told to the operator.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { connect as connectTcp } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { PROGRAM, startHub } from './support/hub.mjs';
import { until, within } from './support/wait.mjs';

const PATIENT = 60_000;
const SANITIZED = /lib[at]san\.so/.test(readFileSync(PROGRAM, 'latin1'));

// A client of each kind as {user, received(event), ready(), ended}.
async function stock(hub, user, transports) {
  const socket = hub.socketIo(user, { reconnection: false, transports, upgrade: false });
  const events = [];
  socket.onAny((...args) => events.push(args));
  const client = { user, events, ended: undefined };
  socket.on('disconnect', (reason) => (client.ended = reason));
  client.received = (event) => events.filter(([name]) => name === event).map(([, ...args]) => args);
  await until(() => client.received('hub:ready').length > 0, `${user} is ready`);
  return client;
}

async function plain(hub, user, encoding) {
  const client = await hub.plain(user, { encoding });
  await client.next('hub:ready');
  client.closed.then(({ code }) => (client.ended = code));
  return { user, received: (event) => client.received(event), get ended() { return client.ended; } };
}

// One POST; each is stored.
async function post(hub, posts) {
  const { status, body } = await hub.api('POST', '/api/v1/notifications', posts);
  assert.equal(status, 200);
  assert.deepEqual(new Set(body.results.map((result) => result.status)), new Set([201]));
}

const KINDS = {
  'Socket.IO over WebSocket': (hub, user) => stock(hub, user, ['websocket']),
  'Socket.IO over polling': (hub, user) => stock(hub, user, ['polling']),
  '/ws with JSON': (hub, user) => plain(hub, user, 'json'),
  '/ws with MessagePack': (hub, user) => plain(hub, user, 'msgpack'),
};

describe('a client that reads', () => {
  let hub;
  before(async () => {
    hub = await startHub();
  });
  after(async () => {
    await hub.stop();
  });

  for (const [n, [kind, connect]] of Object.entries(KINDS).entries()) {
    test(`gets 1,000 notifications of one POST, whole and in order: ${kind}`, { timeout: PATIENT }, async () => {
      const client = await connect(hub, `inbox${n}`);
      const posts = Array.from({ length: 1000 }, (_, n) => ({ user: client.user, type: 'note', title: `t${n}`, message: `m${n}`.padEnd(900, '.') }));
      await post(hub, posts);
      await until(() => client.ended !== undefined || client.received('notification').length >= 1000, 'everything', PATIENT);
      assert.equal(client.ended, undefined);
      assert.deepEqual(client.received('notification').map(([{ title }]) => title), posts.map(({ title }) => title));
      await until(() => client.received('unread').at(-1)?.[0].count === 1000, 'the count');
    });

    test(`gets 8 MB of events that come at once: ${kind}`, { timeout: PATIENT }, async () => {
      const client = await connect(hub, `burst${n}`);
      const count = 4000;
      const to = { users: [client.user] };
      const send = async (n) => {
        const { status } = await hub.api('POST', '/api/v1/events', { event: 'burst', args: [n, 'b'.repeat(2000)], to });
        assert.equal(status, 202);
      };
      for (let n = 0; n < count; n += 20) await Promise.all(Array.from({ length: 20 }, (_, i) => send(n + i)));
      await until(() => client.ended !== undefined || client.received('burst').length >= count, 'everything', PATIENT);
      assert.equal(client.ended, undefined);
      assert.equal(client.received('burst').length, count);
    });
  }
});

describe('a client that does not read', () => {
  // Small bounds: what the kernel takes is not the hub's.
  const start = (flags) => startHub({ args: ['--limits-outbound-bytes', '64KiB', ...flags] });

  async function flood(hub, user, stop) {
    const event = { event: 'flood', args: ['f'.repeat(60_000)], to: { users: [user] } };
    await until(async () => {
      assert.equal((await hub.api('POST', '/api/v1/events', event)).status, 202);
      return stop();
    }, 'the flood does its work', 60_000);
  }

  const closed = (hub) => hub.metric('peal_closed_total{reason="slow"}');
  const isClosed = async (hub) => (await hub.metric('peal_sockets')) === 0;

  test('is closed after slow_consumer, which is logged and counted', { timeout: PATIENT }, async () => {
    const hub = await start(['--limits-slow-consumer', '1s']);
    try {
      const client = await hub.plain('stalled');
      client.socket.pause();
      await flood(hub, 'stalled', () => isClosed(hub));
      await hub.logged(/SLOW-CLOSED .*user="?stalled"? transport=websocket remote="?127\.0\.0\.1"? bytes=\d+ ms=1000/);
      assert.ok((await closed(hub)) > 0);
      client.socket.resume();
      await within(client.closed, 'it learns');
    } finally {
      await hub.stop();
    }
  });

  test('is not closed before slow_consumer, and has everything when it reads again', { timeout: PATIENT }, async () => {
    const hub = await start(['--limits-slow-consumer', '10m']);
    try {
      const client = await hub.plain('paused');
      await client.next('hub:ready');
      client.socket.pause();
      let sent = 0;
      await flood(hub, 'paused', async () => {
        sent += 1;
        if (sent % 20 === 0) await post(hub, [{ user: 'paused', type: 'note', title: 't', message: `early ${sent}` }]);
        return (await hub.metric('peal_inbox_lags_total')) > 0;
      });
      const posts = Array.from({ length: 500 }, (_, n) => ({ user: 'paused', type: 'note', title: 't', message: `n${n}` }));
      await post(hub, posts);
      client.socket.resume();
      const messages = () => client.received('notification').map(([{ message }]) => message);
      await until(() => messages().length >= 500 + Math.floor(sent / 20), 'the inbox', 60_000);
      assert.equal(client.received('flood').length, sent);
      assert.deepEqual(messages().slice(-500), posts.map(({ message }) => message));
    } finally {
      await hub.stop();
    }
  });

  test('is closed at once when outbound_max waits', { timeout: PATIENT }, async () => {
    const hub = await start(['--limits-slow-consumer', '10m', '--limits-outbound-max', '1MiB']);
    try {
      const client = await hub.plain('greedy');
      client.socket.pause();
      await flood(hub, 'greedy', () => isClosed(hub));
      await hub.logged(/SLOW-CLOSED .*user="?greedy"?/);
      assert.ok((await hub.metric('peal_outbox_refused_total')) > 0);
      client.socket.resume();
      await within(client.closed, 'it learns');
    } finally {
      await hub.stop();
    }
  });

  test('over polling: the same', { timeout: PATIENT }, async () => {
    const hub = await start(['--limits-slow-consumer', '1s']);
    try {
      const open = await (await fetch(`${hub.url}/socket.io/?EIO=4&transport=polling`)).text();
      const { sid } = JSON.parse(open.slice(1));
      const url = `${hub.url}/socket.io/?EIO=4&transport=polling&sid=${sid}`;
      const joined = await fetch(url, { method: 'POST', body: `40${JSON.stringify({ token: hub.token('polls') })}` });
      assert.equal(joined.status, 200);
      await until(async () => (await hub.metric('peal_sockets')) === 1, 'it is there');
      await flood(hub, 'polls', () => isClosed(hub));
      await hub.logged(/SLOW-CLOSED .*user="?polls"? transport=polling/);
    } finally {
      await hub.stop();
    }
  });
});

const PAGE_ROWS = 96;

async function fillInbox(hub, user) {
  const rows = Array.from({ length: 16 }, () => ({ user, type: 'note', title: 't', message: 'm', data: { d: 'd'.repeat(60_000) } }));
  for (let n = 0; n < PAGE_ROWS; n += rows.length) await post(hub, rows);
}

// Connections that have asked for a page and do not read.
function askWithoutReading(hub, user, count) {
  const head = `GET /api/v1/users/${user}/notifications?limit=${PAGE_ROWS} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer ${hub.apiKey}\r\n\r\n`;
  return Array.from({ length: count }, () => {
    const socket = connectTcp(hub.address.port, hub.address.host, () => socket.write(head));
    socket.on('error', () => {});
    socket.pause();
    return socket;
  });
}

test('who does not take the answer to a request is closed after slow_consumer, and logged', { timeout: PATIENT }, async () => {
  // One notification is more than there is room for, and than the kernel takes.
  const flags = ['--limits-data-bytes', '12MiB', '--limits-body-bytes', '16MiB', '--limits-outbound-bytes', '64KiB'];
  const hub = await startHub({ args: ['--limits-slow-consumer', '1s', ...flags] });
  try {
    await post(hub, [{ user: 'reads', type: 'note', title: 't', message: 'm', data: { d: 'd'.repeat(10_000_000) } }]);
    const sockets = askWithoutReading(hub, 'reads', 4);
    await hub.logged(/SLOW-CLOSED .*user="?"? transport=http .*bytes=\d+ ms=1000/);
    await until(async () => (await hub.metric('peal_closed_total{reason="slow"}')) >= 4, 'all are closed');
    for (const socket of sockets) socket.destroy();
  } finally {
    await hub.stop();
  }
});

// The answer that comes on `socket`, whole: {head, body}.
async function readAnswer(socket) {
  let text = '';
  socket.setEncoding('latin1');
  socket.on('data', (data) => (text += data));
  socket.resume();
  const answer = () => {
    const end = text.indexOf('\r\n\r\n');
    const length = Number(/content-length: (\d+)/i.exec(text)?.[1]);
    const body = end < 0 ? '' : text.slice(end + 4);
    return end >= 0 && body.length >= length && { length, body };
  };
  await until(() => answer(), 'the whole answer');
  return answer();
}

test('an answer that nobody reads holds no more than outbound_bytes, and is whole when it is read', { timeout: PATIENT }, async () => {
  const room = 256 << 10;
  const readers = 50;
  const hub = await startHub({ args: ['--limits-slow-consumer', '10m', '--limits-outbound-bytes', String(room)] });
  try {
    await fillInbox(hub, 'heavy');
    const answered = () => hub.metric('peal_api_requests_total{class="2xx"}');
    const before = { answers: await answered(), resident: await hub.metric('peal_process_resident_memory_bytes') };
    const sockets = askWithoutReading(hub, 'heavy', readers);
    await until(async () => (await answered()) >= before.answers + readers, 'all are answered');
    // Pages were 5.8 MB each; what the allocator keeps of reading them comes on top of what waits.
    const grown = (await hub.metric('peal_process_resident_memory_bytes')) - before.resident;
    if (!SANITIZED) assert.ok(grown < 2 * readers * room + (64 << 20), `${grown} bytes more`);
    for (const socket of sockets) {
      const { length, body } = await readAnswer(socket);
      assert.ok(length <= room, `${length} bytes`);
      const page = JSON.parse(body);
      assert.deepEqual(page.items.map(({ seq }) => seq), [96, 95, 94, 93]);
      assert.equal(page.next, '93');
      socket.destroy();
    }
    const seqs = [];
    for (let next = ''; next !== null;) {
      const { status, body } = await hub.api('GET', `/api/v1/users/heavy/notifications?limit=${PAGE_ROWS}${next && `&after=${next}`}`);
      assert.equal(status, 200);
      seqs.push(...body.items.map(({ seq }) => seq));
      next = body.next;
    }
    assert.deepEqual(seqs, Array.from({ length: PAGE_ROWS }, (_, n) => PAGE_ROWS - n));
  } finally {
    await hub.stop();
  }
});

test('the answer to a long poll ends where an outbox is full, and the next ones have the rest', { timeout: PATIENT }, async () => {
  const room = 64 << 10;
  const size = 20_000;
  const count = 40;
  const hub = await startHub({ args: ['--limits-outbound-bytes', String(room), '--limits-slow-consumer', '10m'] });
  try {
    const { sid } = JSON.parse((await (await fetch(`${hub.url}/socket.io/?EIO=4&transport=polling`)).text()).slice(1));
    const url = `${hub.url}/socket.io/?EIO=4&transport=polling&sid=${sid}`;
    const joined = await fetch(url, { method: 'POST', body: `40${JSON.stringify({ token: hub.token('polls') })}` });
    assert.equal(joined.status, 200);
    const packets = [];
    const poll = async () => {
      const text = await (await fetch(url)).text();
      packets.push(...text.split('\x1e'));
      return text.length;
    };
    while (!packets.some((packet) => packet.startsWith('42["hub:ready"'))) await poll();
    const to = { users: ['polls'] };
    const events = Array.from({ length: count }, (_, n) => ({ event: 'large', args: [n, 'l'.repeat(size)], to }));
    assert.equal((await hub.api('POST', '/api/v1/events', events)).status, 202);
    await until(async () => (await hub.metric('peal_deliveries_total')) >= count, 'all wait for the next GET');
    const larges = () => packets.filter((packet) => packet.startsWith('42["large"')).map((packet) => JSON.parse(packet.slice(2))[1]);
    const sizes = [];
    while (larges().length < count) sizes.push(await poll());
    assert.deepEqual(larges(), Array.from({ length: count }, (_, n) => n));
    for (const length of sizes) assert.ok(length < room + 2 * size, `an answer of ${length} bytes`);
  } finally {
    await hub.stop();
  }
});

// So many handshakes without a token, one after the other on one connection from `localAddress`: their sids.
function shakeHands(hub, count, localAddress = '127.0.0.1') {
  const head = 'GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: h\r\n\r\n';
  return new Promise((resolve, reject) => {
    let text = '';
    const { host, port } = hub.address;
    const socket = connectTcp({ host, port, localAddress }, () => socket.write(head.repeat(count)));
    socket.setEncoding('latin1');
    socket.on('data', (data) => {
      text += data;
      const sids = [...text.matchAll(/"sid":"([\w-]+)"/g)].map(([, sid]) => sid);
      if (sids.length === count) resolve({ socket, sids });
    });
    socket.on('error', reject);
  });
}

test('sessions that join nothing have one bound on all shards, and the address with most gives way', { timeout: PATIENT }, async () => {
  const hub = await startHub({ args: ['--shards', '4', '--limits-unjoined', '200', '--auth-timeout', '60s'] });
  try {
    // More than the flood has on any shard, fewer than it has on all.
    const quiet = await shakeHands(hub, 60, '127.0.0.2');
    const floods = await Promise.all(Array.from({ length: 8 }, () => shakeHands(hub, 100)));
    await until(async () => (await hub.metric('peal_polling_dropped_total')) >= 650, 'nearly all beyond 200 are dropped');
    await hub.logged(/POLLING-FLOOD .*address="?127\.0\.0\.1"?/);
    const join = async (sid, n) => {
      const url = `${hub.url}/socket.io/?EIO=4&transport=polling&sid=${sid}`;
      return (await fetch(url, { method: 'POST', body: `40${JSON.stringify({ token: hub.token(`quiet${n}`) })}` })).status;
    };
    for (const [n, sid] of quiet.sids.entries()) assert.equal(await join(sid, n), 200);
    assert.ok((await hub.metric('peal_polling_dropped_total')) <= 670);
    for (const { socket } of [quiet, ...floods]) socket.destroy();
  } finally {
    await hub.stop();
  }
});

// As fast as one connection can, 500 in flight: handshakes that never show a token.
function floodHandshakes(hub, count) {
  const head = 'GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: h\r\n\r\n';
  return new Promise((resolve, reject) => {
    let asked = 0;
    let answers = 0;
    const socket = connectTcp(hub.address.port, hub.address.host, () => ask());
    const ask = () => {
      const more = Math.min(500, count - asked);
      asked += more;
      socket.write(head.repeat(more));
    };
    socket.setEncoding('latin1');
    socket.on('data', (data) => {
      answers += data.split('"sid"').length - 1; // one that is cut in two is missed
      if (answers >= count * 0.99) resolve(socket);
      else if (answers >= asked * 0.99 && asked < count) ask();
    });
    socket.on('error', reject);
    socket.on('close', () => reject(new Error(`closed after ${answers}`)));
  });
}

test('a flood of polling handshakes without a token keeps nobody out', { timeout: PATIENT }, async () => {
  const hub = await startHub({ args: ['--shards', '1', '--limits-unjoined', '8192'] });
  try {
    const flood = await floodHandshakes(hub, 10_000);
    assert.ok((await hub.metric('peal_polling_dropped_total')) > 0);
    await hub.logged(/POLLING-FLOOD .*address="?127\.0\.0\.1"?/);
    const client = await stock(hub, 'after', ['polling']);
    const again = floodHandshakes(hub, 9000);
    const during = await stock(hub, 'during', ['polling']);
    (await again).destroy();
    for (const each of [client, during]) assert.equal(each.ended, undefined);
    flood.destroy();
  } finally {
    await hub.stop();
  }
});
