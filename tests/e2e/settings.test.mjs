// SPDX-License-Identifier: Apache-2.0
// Settings of a running hub: SIGHUP, limits, idle connections, namespaces, relaying, log records.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { connect as tcpConnect } from 'node:net';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { PlainClient } from './support/plain_client.mjs';
import { startHub } from './support/hub.mjs';
import { makeToken, randomSecret } from './support/tokens.mjs';
import { never, until, within } from './support/wait.mjs';

const hubs = new Set();

after(async () => {
  await Promise.all([...hubs].map((hub) => hub.stop()));
});

// A hub whose secret and API key stand in its file: what is in the environment cannot change.
async function start(config, { secret = randomSecret(), apiKey = randomSecret(), ...options } = {}) {
  const auth = `auth { secret = "${secret}" api_key = "${apiKey}" }\n`;
  const hub = await startHub({
    ...options,
    secret,
    apiKey,
    config: auth + config,
    env: { JWT_SECRET: '', PEAL_AUTH_API_KEY: '' },
  });
  hubs.add(hub);
  return hub;
}

const records = (hub, id) => hub.log.split('\n').filter((line) => line.includes(` ${id} `));

// Write `text` as the hub's file, have it loaded, and resolve with the record about it.
async function reload(hub, text, id = 'RELOAD') {
  const before = records(hub, id).length;
  writeFileSync(join(hub.folder, 'peal.conf'), text);
  hub.reload();
  return until(() => records(hub, id)[before], `a record ${id}`);
}

const auth = (secret, apiKey) => `auth { secret = "${secret}" api_key = "${apiKey}" }\n`;

// Whether /ws lets in: true, or the HTTP status of the refusal.
async function enters(hub, token, headers = {}) {
  try {
    const shown = { authorization: `Bearer ${token}`, ...headers };
    const client = await PlainClient.connect(hub.url, undefined, { headers: shown });
    client.close();
    return true;
  } catch (error) {
    return error.status ?? Promise.reject(error);
  }
}

// The same for Socket.IO: true, or the error of the CONNECT.
function connects(hub, user, options) {
  const socket = hub.socketIo(user, { reconnection: false, ...options });
  return within(
    new Promise((resolve) => {
      socket.once('connect', () => resolve(true));
      socket.once('connect_error', resolve);
    }),
    `an answer to ${user}'s CONNECT`,
  );
}

describe('SIGHUP', () => {
  test('keys change: the new ones are good, the old ones no more, who is there stays', async () => {
    const secrets = [randomSecret(), randomSecret()];
    const apiKeys = [randomSecret(), randomSecret()];
    const hub = await start('shards = 2\n', { secret: secrets[0], apiKey: apiKeys[0] });
    const tokens = secrets.map((secret) => makeToken('alice', secret));
    const ask = async (key) => {
      const headers = { authorization: `Bearer ${key}` };
      return (await fetch(`${hub.url}/api/v1/users/alice/notifications`, { headers })).status;
    };
    const stays = await hub.plain('alice');
    await stays.next('hub:ready');
    assert.deepEqual([await enters(hub, tokens[0]), await enters(hub, tokens[1])], [true, 401]);
    assert.deepEqual([await ask(apiKeys[0]), await ask(apiKeys[1])], [200, 401]);
    await reload(hub, auth(secrets[1], apiKeys[1]) + 'shards = 2\n');
    // Every shard changes over in its own turn: many connections, so that each shard has seen some.
    for (let i = 0; i < 16; i++) {
      await until(async () => (await enters(hub, tokens[1])) === true, 'the new key is good');
      await until(async () => (await enters(hub, tokens[0])) === 401, 'the old key is not');
    }
    assert.deepEqual([await ask(apiKeys[0]), await ask(apiKeys[1])], [401, 200]);
    assert.deepEqual(await stays.request('join_room', 'public:x'), {
      ok: true,
      roomId: 'public:x',
      roomType: 'public',
    });
  });

  test('origins, room rules and limits change for connections that are there', async () => {
    const hub = await start('origins = {"https://a.example"}\n');
    const origin = (name) => ({ origin: `https://${name}.example` });
    const alice = await hub.plain('alice');
    assert.equal(await enters(hub, hub.token('bob'), origin('a')), true);
    assert.equal(await enters(hub, hub.token('bob'), origin('b')), 403);
    await until(() => /ORIGIN-REFUSED .*origin="https:\/\/b\.example"/.test(hub.log), 'the log tells it');
    assert.equal((await fetch(`${hub.url}/socket.io/?EIO=3&transport=polling`)).status, 400);
    await until(() => /CLIENT-OLD/.test(hub.log), 'and of a client that is too old');
    assert.equal((await alice.request('join_room', 'project:1')).error, 'forbidden');
    const rest = 'origins = {"https://b.example"}\nroom_type "project" { access = {any} }\n';
    await reload(hub, `${auth(hub.secret, hub.apiKey)}${rest}limits { message_bytes = 8KiB }\n`);
    await until(async () => (await enters(hub, hub.token('bob'), origin('b'))) === true, 'b comes in');
    assert.equal(await enters(hub, hub.token('bob'), origin('a')), 403);
    assert.equal((await alice.request('join_room', 'project:1')).ok, true);
    alice.emit('send_message', { roomId: 'project:1', message: 'x'.repeat(9000) });
    assert.equal((await within(alice.closed, 'the large message is refused')).code, 4413);
  });

  test('the level of the log changes', async () => {
    const hub = await start('');
    assert.equal(await enters(hub, 'wrong'), 401);
    assert.equal(records(hub, 'AUTH-REFUSED').length, 0);
    writeFileSync(join(hub.folder, 'peal.conf'), `${auth(hub.secret, hub.apiKey)}log { level = debug }\n`);
    hub.reload();
    await until(async () => {
      assert.equal(await enters(hub, 'wrong'), 401);
      return records(hub, 'AUTH-REFUSED').length > 0;
    }, 'a debug record');
  });

  test('a fixed setting or a namespace refuses the whole file, and names the key', async () => {
    const hub = await start('');
    const newSecret = randomSecret();
    for (const [text, key] of [
      ['shards = 3\n', 'shards'],
      ['engine { ping_interval = 7s }\n', 'engine.ping_interval'],
      ['namespace "/new" { }\n', 'namespace'],
    ]) {
      const record = await reload(hub, auth(newSecret, hub.apiKey) + text, 'RELOAD-FIXED');
      assert.match(record, new RegExp(`key=${key}$`));
    }
    assert.equal(await enters(hub, makeToken('alice', newSecret)), 401);
    assert.equal(await enters(hub, hub.token('alice')), true);
  });

  test('a file with a mistake changes nothing and says where', async () => {
    const hub = await start('');
    const newSecret = randomSecret();
    for (const [text, part] of [
      ['lisen { }\n', 'peal.conf:2: no such option'],
      ['origins = {"https://x.example/"}\n', 'is not an origin'],
      ['origins = {"https://UPPER.example"}\n', 'UPPER'],
      ['jwt_key "k" { algorithm = RS256 file = "/nonexistent.pem" }\n', '/nonexistent.pem'],
      ['api_key "a" { key = "0123456789abcdef" }\napi_key "b" { key = "0123456789abcdef" }\n', 'reason='],
    ]) {
      const record = await reload(hub, auth(newSecret, hub.apiKey) + text, 'RELOAD-REFUSED');
      assert.ok(record.includes(part), record);
    }
    assert.equal(await enters(hub, makeToken('alice', newSecret)), 401);
    assert.equal(await enters(hub, hub.token('alice')), true);
  });

  test('under load: reloads lose no answer and end no connection', async () => {
    const hub = await start('shards = 2\nlimits { inbox_burst = 100000 inbox_per_minute = 100000 }\n');
    const clients = await Promise.all([...'abcdefgh'].map((user) => hub.plain(user)));
    let done = false;
    const work = clients.map(async (client) => {
      let count = 0;
      while (!done) {
        assert.equal((await client.request('join_room', 'public:all')).ok, true);
        assert.equal((await client.request('leave_room', 'public:all')).ok, true);
        count += 1;
      }
      return count;
    });
    const rest = 'shards = 2\nlimits { joins_burst = 1000000 joins_per_minute = 1000000 }\n';
    for (let i = 0; i < 30; i++) {
      await reload(hub, `${auth(hub.secret, hub.apiKey)}${rest}origins = {"https://o${i}.example"}\n`);
    }
    done = true;
    for (const count of await Promise.all(work)) assert.ok(count > 0);
  });
});

describe('limits', () => {
  test('a tenant has its number of connections, over all users and both ways in', async () => {
    const hub = await start('limits { connections_per_tenant = 3 }\nshards = 2\n');
    const claims = { tenant: 'acme' };
    const token = (user) => hub.token(user, claims);
    const first = await hub.plain('a', { claims });
    await hub.plain('b', { claims });
    assert.equal(await connects(hub, 'c', { claims }), true);
    assert.equal(await enters(hub, token('d')), 429);
    const error = await connects(hub, 'd', { claims });
    assert.equal(error.message, 'Too many connections');
    assert.equal(await enters(hub, hub.token('d', { tenant: 'other' })), true, 'another tenant');
    assert.equal(await enters(hub, hub.token('d')), true, 'no tenant');
    first.close();
    await until(async () => (await enters(hub, token('d'))) === true, 'there is room again');
  });

  test('a node has its number of connections; operators always get in', async () => {
    const hub = await start('limits { connections = 5 connections_per_user = 100 }\n');
    const clients = [];
    const full = await until(async () => {
      try {
        clients.push(await hub.plain('a'));
      } catch (error) {
        return error;
      }
    }, 'the node is full');
    assert.equal(full.status, 503);
    assert.ok(clients.length >= 2 && clients.length <= 5, `${clients.length} connections`);
    const refused = await new Promise((resolve, reject) => {
      let text = '';
      const peer = tcpConnect(hub.address.port, hub.address.host);
      peer.on('data', (bytes) => (text += bytes));
      peer.on('error', reject);
      peer.on('end', () => resolve(text));
    });
    assert.match(refused, /^HTTP\/1\.1 503 .*Retry-After: 1\r\n.*\r\n\r\n$/s);
    assert.equal((await fetch(`${hub.internalUrl}/readyz`)).status, 200);
    await until(() => records(hub, 'LISTEN-FULL').length > 0, 'a record LISTEN-FULL');
    clients[0].close();
    await until(async () => (await enters(hub, hub.token('a'))) === true, 'there is room again');
  });

  test('the number of namespaces of a session', async () => {
    const names = [1, 2, 3].map((n) => `namespace "/n${n}" { }\n`).join('');
    const hub = await start(`limits { namespaces = 2 }\n${names}`);
    const manager = hub.socketIo('alice', { forceNew: false });
    await until(() => manager.connected, 'the first namespace');
    const join = (nsp) => manager.io.socket(nsp, { auth: manager.auth });
    const second = join('/n1').connect();
    await until(() => second.connected, 'the second namespace');
    const third = join('/n2').connect();
    await within(new Promise((resolve) => third.once('connect_error', resolve)), 'the third is refused');
    for (const socket of [second, third]) socket.close();
  });

  test('posts over HTTP and in the stream have the same limits', async () => {
    const hub = await start('limits { title_bytes = 10 posts = 2 targets = 2 }\n');
    const post = (body) => hub.api('POST', '/api/v1/notifications', body);
    const base = { user: 'a', type: 't', message: 'm' };
    assert.equal((await post({ ...base, title: '0123456789' })).status, 201);
    assert.equal((await post({ ...base, title: '0123456789x' })).status, 413);
    assert.equal((await post([base, base, base].map((row) => ({ ...row, title: 't' })))).status, 413);
    const many = { type: 't', title: 't', message: 'm', users: ['a', 'b', 'c'] };
    assert.notEqual((await post(many)).status, 201);
  });
});

describe('silence', () => {
  test('a silent connection is closed, for a temporary cause; one that speaks is not', async () => {
    const hub = await start('idle_timeout = 2s\nidle_heartbeats = off\nengine { ping_interval = 200ms }\n');
    const silent = await hub.plain('silent');
    const talker = await hub.plain('talker');
    const talk = setInterval(() => talker.emit('leave_room', 'public:none'), 50);
    const socket = hub.socketIo('sio', { reconnection: false });
    const disconnected = new Promise((resolve) => socket.once('disconnect', resolve));
    await until(() => socket.connected, 'connected');
    const { code } = await within(silent.closed, 'the silent one is closed');
    assert.ok(code < 4000, `code ${code}`);
    const reason = await within(disconnected, 'Socket.IO too');
    assert.equal(reason, 'transport close'); // it may come back by itself
    assert.equal(talker.socket.readyState, 1);
    clearInterval(talk);
  });

  test('heartbeats count unless they are set to be ignored', async () => {
    const hub = await start('idle_timeout = 2s\nengine { ping_interval = 200ms }\n');
    const client = await hub.plain('alice');
    await never(() => client.socket.readyState !== 1, 'closed although it answers pings', 5000);
  });

  test('a timeout that comes with SIGHUP holds for those who are there', async () => {
    const hub = await start('');
    const client = await hub.plain('alice');
    await reload(hub, `${auth(hub.secret, hub.apiKey)}idle_timeout = 300ms\n`);
    await within(client.closed, 'closed');
  });
});

describe('namespaces', () => {
  test('access is decided at CONNECT', async () => {
    const hub = await start(
      'namespace "/admin" { access = {"role:admin", "role:root"} }\n' +
        'namespace "/closed" { access = {deny} }\nnamespace "/open" { }\n',
    );
    assert.equal(await connects(hub, 'a', { nsp: '/admin', claims: { role: 'admin' } }), true);
    assert.equal(await connects(hub, 'b', { nsp: '/admin', claims: { role: 'root' } }), true);
    const refused = await connects(hub, 'c', { nsp: '/admin', claims: { role: 'user' } });
    assert.equal(refused.message, 'Access denied to namespace');
    assert.equal((await connects(hub, 'c', { nsp: '/admin' })).data.code, 'forbidden');
    assert.equal((await connects(hub, 'd', { nsp: '/closed', claims: { role: 'admin' } })).data.code, 'forbidden');
    assert.equal(await connects(hub, 'e', { nsp: '/open' }), true);
  });
});

describe('events that Peal does not know', () => {
  const rooms = 'room_type "project" { access = {any} }\n';

  test('are relayed to the room they name, to its members only, except the sender', async () => {
    const hub = await start(`events { unknown = relay }\n${rooms}`);
    const [alice, bob, eve] = await Promise.all(['alice', 'bob', 'eve'].map((user) => hub.plain(user)));
    for (const member of [alice, bob]) await member.request('join_room', 'project:1');
    const move = { roomId: 'project:1', x: 3, y: ['ü', null] };
    assert.deepEqual(await alice.request('cursor:move', move, 'more'), { ok: true });
    await until(() => bob.received('cursor:move').length > 0, 'bob has it');
    assert.deepEqual(bob.received('cursor:move'), [[move, 'more']]);
    assert.equal((await eve.request('cursor:move', move)).error, 'forbidden');
    assert.equal((await alice.request('cursor:move', { x: 1 })).error, 'bad_request');
    assert.equal((await alice.request('cursor:move', 'project:1')).error, 'bad_request');
    for (const forged of ['notification', 'hub:ready', 'new_message', 'notification:state']) {
      assert.equal((await alice.request(forged, move)).error, 'bad_request', forged);
    }
    assert.equal(bob.received('cursor:move').length, 1);
    assert.equal(alice.received('cursor:move').length, 0);
    assert.equal(bob.received('new_message').length, 0);
  });

  test('are counted as messages', async () => {
    const hub = await start(`events { unknown = relay }\n${rooms}limits { messages_burst = 2 messages_per_minute = 1 }\n`);
    const alice = await hub.plain('alice');
    await alice.request('join_room', 'project:1');
    const answers = [];
    for (let i = 0; i < 3; i++) answers.push(await alice.request('x', { roomId: 'project:1' }));
    assert.deepEqual(answers.map((answer) => answer.error), [undefined, undefined, 'rate_limited']);
  });

  test('are refused unless configured', async () => {
    const hub = await start(rooms);
    const alice = await hub.plain('alice');
    await alice.request('join_room', 'project:1');
    assert.equal((await alice.request('cursor:move', { roomId: 'project:1' })).error, 'bad_request');
  });
});

describe('times of rooms', () => {
  test('typing stops by itself, a nonce is forgotten', async () => {
    const hub = await start('rooms { typing = 300ms nonce = 300ms }\n');
    const [alice, bob] = await Promise.all(['alice', 'bob'].map((user) => hub.plain(user)));
    for (const member of [alice, bob]) await member.request('join_room', 'public:1');
    await alice.request('typing:start', { roomId: 'public:1' });
    await bob.next('typing', (state) => state.typing === false);
    const message = { roomId: 'public:1', message: 'hi', nonce: 'n' };
    assert.equal((await alice.request('send_message', message)).ok, true);
    await until(async () => !(await alice.request('send_message', message)).duplicate, 'sent again');
  });
});

test('the clients of a draining node come back at one a millisecond, within drain.reconnect', async () => {
  const hub = await start('drain { reconnect = 1h deadline = 8s }\n');
  const clients = await Promise.all([...'abcdef'].map((user) => hub.plain(user)));
  hub.server.signal('SIGTERM');
  const waits = await Promise.all(clients.map(async (c) => (await c.next('hub:draining')).reconnectIn));
  assert.ok(waits.every((wait) => wait < clients.length), `${waits}`);
  assert.deepEqual(await within(hub.server.ended, 'it ends'), { code: 0, signal: null });
});

test('records are JSON objects when asked for', async () => {
  const hub = await start('log { format = json level = debug }\n');
  assert.equal(await enters(hub, 'wrong'), 401);
  const find = (id) => hub.log.split('\n').find((line) => line.includes(`"id":"${id}"`));
  const start_ = JSON.parse(await until(() => find('START'), 'the start line'));
  assert.equal(start_.level, 'info');
  assert.equal(start_.message, 'listening');
  assert.equal(typeof start_.cores, 'number');
  assert.ok(Math.abs(Date.parse(start_.time) - Date.now()) < 600_000);
  const refused = JSON.parse(await until(() => find('AUTH-REFUSED'), 'a refusal'));
  assert.equal(refused.remote, '127.0.0.1');
  for (const line of hub.log.split('\n').filter((text) => text !== '')) JSON.parse(line);
});
