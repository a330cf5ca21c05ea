// SPDX-License-Identifier: Apache-2.0
// Hooks: a backend is asked who may join and what events come to, while it is there, and while it is not, is slow, or lies.
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { after, describe, test } from 'node:test';
import { makeCertificate, newSecret, startHookBackend } from './support/hook_backend.mjs';
import { startHub } from './support/hub.mjs';
import { startPostgres } from './support/postgres.mjs';
import { temporaryFolder } from './support/process.mjs';
import { startRedis } from './support/redis.mjs';
import { StreamClient } from './support/stream_client.mjs';
import { until, within } from './support/wait.mjs';

const KEY = 'values-0123456789abcdef';
const FULL = process.env.PEAL_FULL === '1';
const things = new Set();
const kept = (thing) => {
  things.add(thing);
  return thing;
};
after(() => Promise.all([...things].map((thing) => thing.stop())));

const backendWith = async (options) => kept(await startHookBackend(options));

const settings = (backend, { hook = '', allow = '"127.0.0.1"', more = '' } = {}) => `
  outgoing { allow = {${allow}} ${more} }
  hook "access" { url = "${backend.url}" secret = "${backend.secrets[0]}" ${backend.secrets[1] ? `old_secret = "${backend.secrets[1]}"` : ''} ${hook} }
  room_type "project" { join = "hook:access" }
  events { to = {"order:*=hook:access"} }
  limits { joins_burst = 1000 }
`;

const hubWith = async (config) => kept(await startHub({ config, env: { PEAL_SHARDS: '1' } }));

// One call, in each of the ways in.
const WAYS = {
  'Socket.IO': async (hub, user, claims) => {
    const socket = hub.socketIo(user, { claims });
    await within(new Promise((resolve) => socket.once('hub:ready', resolve)), 'hub:ready');
    const heard = [];
    socket.on('new_message', (message) => heard.push(message.message));
    return { call: (...args) => within(socket.emitWithAck(...args), args[0]), heard: () => heard, raw: (...args) => socket.emit(...args), errors: (fn) => socket.on('error', fn) };
  },
  '/ws': async (hub, user, claims) => {
    const client = await hub.plain(user, { claims });
    return {
      call: (...args) => client.request(...args),
      heard: () => client.received('new_message').map(([message]) => message.message),
    };
  },
};

for (const [name, connect] of Object.entries(WAYS)) {
  describe(`over ${name}`, () => {
    test('who may join is asked by a signed request, and what is said behind the join waits', async () => {
      const backend = await backendWith({ secrets: [newSecret(), newSecret()] });
      const hub = await hubWith(settings(backend));
      const ann = await connect(hub, 'ann', { role: 'staff', name: 'Ann' });
      const bob = await connect(hub, 'bob');
      assert.equal((await bob.call('join_room', { roomId: 'project:1' })).ok, true);

      let release;
      backend.answer = (question) => new Promise((resolve) => (release = () => resolve({ allow: question.data.user === 'ann' })));
      const joined = ann.call('join_room', { roomId: 'project:1' });
      const said = ['a', 'b', 'c'].map((message) => ann.call('send_message', { roomId: 'project:1', message }));
      await until(() => release, 'the backend is asked');
      assert.deepEqual(bob.heard(), []);
      release();
      assert.deepEqual(await joined, { ok: true, roomId: 'project:1', roomType: 'project' });
      for (const answer of await Promise.all(said)) assert.equal(answer.ok, true);
      await until(() => bob.heard().length === 3, 'what was said');
      assert.deepEqual(bob.heard(), ['a', 'b', 'c']);

      const [, question] = backend.questions;
      assert.equal(question.type, 'hook.join');
      assert.ok(Math.abs(Date.parse(question.timestamp) - Date.now()) < 60_000);
      assert.deepEqual(question.data, { room: 'project:1', user: 'ann', name: 'Ann', role: 'staff', namespace: '/' });
      assert.deepEqual(backend.faults, []);
    });

    test('a no is a refusal, and is known for a while', async () => {
      const backend = await backendWith();
      const hub = await hubWith(settings(backend));
      backend.answer = ({ data }) => ({ allow: data.room !== 'project:shut', ttl: data.room === 'project:asked' ? 0 : undefined });
      const ann = await connect(hub, 'ann');
      for (let i = 0; i < 3; i++) {
        const answer = await ann.call('join_room', { roomId: 'project:shut' });
        assert.deepEqual([answer.ok, answer.error], [false, 'forbidden']);
        assert.equal((await ann.call('send_message', { roomId: 'project:shut', message: 'x' })).error, 'forbidden');
        assert.equal((await ann.call('join_room', { roomId: 'project:open' })).ok, true);
        assert.equal((await ann.call('leave_room', { roomId: 'project:open' })).ok, true);
        assert.equal((await ann.call('join_room', { roomId: 'project:asked' })).ok, true);
        assert.equal((await ann.call('leave_room', { roomId: 'project:asked' })).ok, true);
      }
      const asked = (room) => backend.questions.filter(({ data }) => data.room === room).length;
      assert.deepEqual([asked('project:shut'), asked('project:open'), asked('project:asked')], [1, 1, 3]);
      assert.equal((await ann.call('join_room', { roomId: 'public:1' })).ok, true, 'other types are asked of nobody');
      assert.equal((await ann.call('join_room', { roomId: 'other:1' })).error, 'forbidden');
      assert.equal(backend.questions.length, 5);
    });

    test('what an event comes to is its ack', async () => {
      const backend = await backendWith();
      const hub = await hubWith(settings(backend));
      const ann = await connect(hub, 'ann');
      backend.answer = ({ data }) => ({ allow: data.event !== 'order:steal', result: { got: data.args } });
      assert.deepEqual(await ann.call('order:new', { id: 1, text: 'ä"\n' }), { got: [{ id: 1, text: 'ä"\n' }] });
      assert.equal((await ann.call('order:steal', 1)).error, 'forbidden');
      backend.answer = () => ({ allow: true });
      assert.deepEqual(await ann.call('order:new', 1), { ok: true });
      assert.equal((await ann.call('orders', 1)).error, 'bad_request');
      assert.deepEqual(backend.questions.map(({ type }) => type), ['hook.event', 'hook.event', 'hook.event']);
      assert.deepEqual(backend.faults, []);
    });
  });
}

// What a backend may do wrong: (response, request).
const LIES = {
  'a status that is no 2xx': (response) => response.writeHead(500).end('{"allow":true}'),
  'a 403': (response) => response.writeHead(403).end('{"allow":true}'),
  'no JSON': (response) => response.end('allow'),
  'JSON of another kind': (response) => response.end('[{"allow":true}]'),
  'an allow that is a text': (response) => response.end('{"allow":"true"}'),
  'an answer twice': (response) => response.end('{"allow":true}{"allow":true}'),
  'less than was announced': (response) => response.writeHead(200, { 'content-length': 100 }).write('{"allow":true}', () => response.destroy()),
  'more than 1 MiB announced': (response) => response.writeHead(200, { 'content-length': 2 << 20 }).write('{"allow":true}'),
  'a body without end': (response) => {
    const write = () => {
      while (!response.destroyed && response.write(' '.repeat(65536)));
      if (!response.destroyed) response.once('drain', write);
    };
    write();
  },
  'a head without end': (response) => {
    const write = () => {
      while (!response.socket?.destroyed && response.socket?.write(`X-More: ${'x'.repeat(1000)}\r\n`));
      if (response.socket && !response.socket.destroyed) response.socket.once('drain', write);
    };
    response.socket.write('HTTP/1.1 200 OK\r\n');
    write();
  },
  'no HTTP': (response) => response.socket.end('{"allow":true}\r\n\r\n'),
  'the end of the connection': (response) => response.destroy(),
  'compressed bytes': (response) => response.writeHead(200, { 'content-encoding': 'gzip' }).end(Buffer.from('1f8b08', 'hex')),
};

test('who is lied to lets nobody in', async () => {
  const backend = await backendWith();
  const hub = await hubWith(settings(backend));
  const ann = await hub.plain('ann');
  let count = 0;
  for (const [what, lie] of Object.entries(LIES)) {
    backend.answer = () => lie;
    const answer = await ann.request('join_room', { roomId: `project:${++count}` });
    assert.deepEqual([answer.ok, answer.error, answer.retryAfter], [false, 'unavailable', 1000], what);
    assert.equal((await ann.request('send_message', { roomId: `project:${count}`, message: 'x' })).error, 'forbidden', what);
    backend.answer = () => ({ allow: true, ttl: 0 }); // or the breaker opens
    assert.equal((await ann.request('join_room', { roomId: `project:good${count}` })).ok, true, what);
  }
  assert.equal(await hub.metric('peal_hook_failures_total'), count);
  assert.equal(await hub.metric('peal_breaker_state'), 0);
  await hub.logged(/HOOK-FAILED .* hook="?access"? reason="the status is not 2xx" status=500/);
  assert.ok(!hub.log.includes(backend.secrets[0]), 'no secret is in the log');
});

test('no redirect is followed', async () => {
  const target = { hits: 0 };
  const elsewhere = createServer((request, response) => {
    target.hits++;
    response.end('{"allow":true}');
  });
  await new Promise((resolve) => elsewhere.listen(0, '127.0.0.1', resolve));
  kept({ stop: () => elsewhere.close() });
  const backend = await backendWith();
  const hub = await hubWith(settings(backend));
  const ann = await hub.plain('ann');
  for (const status of [301, 302, 307, 308]) {
    backend.answer = () => (response) => response.writeHead(status, { location: `http://127.0.0.1:${elsewhere.address().port}/` }).end();
    assert.equal((await ann.request('join_room', { roomId: `project:${status}` })).error, 'unavailable');
  }
  assert.equal(target.hits, 0);
  assert.equal(backend.questions.length, 4);
});

test('a backend that is slow holds up nobody, and is given up', async () => {
  const backend = await backendWith();
  const hub = await hubWith(settings(backend, { hook: 'timeout = 300ms parallel = 1 waiting = 1' }));
  const ann = await hub.plain('ann');
  const bob = await hub.plain('bob');
  backend.answer = () => () => {};
  const joins = ['project:1', 'project:2', 'project:3'].map((roomId) => ann.request('join_room', { roomId }));
  const there = ann.request('join_room', { roomId: 'public:1' });
  assert.equal((await there).ok, true);
  assert.equal((await bob.request('join_room', { roomId: 'public:1' })).ok, true);
  for (const answer of await Promise.all(joins)) assert.equal(answer.error, 'unavailable');
  assert.equal(await hub.metric('peal_outgoing_refused_total'), 1);
  assert.equal(await hub.metric('peal_outgoing_timeouts_total'), 2);
  assert.equal(await hub.metric('peal_outgoing_under_way'), 0);
});

test('one user has so many questions open and no more, and keeps nobody else from asking', async () => {
  const backend = await backendWith();
  const hub = await hubWith(settings(backend).replace('limits { ', 'limits { hook_questions = 3 '));
  const release = [];
  backend.answer = ({ data }) => (data.user === 'bob' ? { allow: true } : new Promise((resolve) => release.push(() => resolve({ allow: true }))));
  const [ann, again, bob] = await Promise.all(['ann', 'ann', 'bob'].map((user) => hub.plain(user)));
  const joins = [ann, again, ann].map((client, i) => client.request('join_room', { roomId: `project:${i}` }));
  await until(() => release.length === 3, 'three are asked about');
  const refused = await again.request('join_room', { roomId: 'project:3' });
  assert.deepEqual([refused.ok, refused.error, refused.retryAfter], [false, 'rate_limited', 1000]);
  assert.match(refused.message, /Too many of your questions/);
  const event = await ann.request('order:new', 1);
  assert.deepEqual([event.ok, event.error], [false, 'rate_limited']);
  assert.equal((await bob.request('join_room', { roomId: 'project:1' })).ok, true);
  assert.equal(await hub.metric('peal_hook_bounded_total'), 2);
  for (const answer of release) answer();
  for (const answer of await Promise.all(joins)) assert.equal(answer.ok, true);
  assert.equal((await bob.request('join_room', { roomId: 'project:3' })).ok, true);
});

test('a Redis that is slow takes nothing of the time that the backend has', async () => {
  const redis = kept(await startRedis());
  const postgres = kept(await startPostgres());
  const backend = await backendWith();
  const hub = kept(await startHub({ redis, postgres, config: settings(backend, { hook: 'timeout = 600ms' }), env: { PEAL_SHARDS: '1' } }));
  const ann = await hub.plain('ann');
  backend.answer = () => new Promise((resolve) => setTimeout(() => resolve({ allow: true, result: 'here' }), 450));
  redis.pause();
  try {
    const answer = await ann.request('join_room', { roomId: 'project:1' });
    assert.equal(answer.ok, true, JSON.stringify(answer));
  } finally {
    redis.resume();
  }
});

test('certificates that are replaced are read again', { skip: !FULL && 'takes half a minute' }, async () => {
  const [first, second] = [makeCertificate(), makeCertificate()];
  const file = join(temporaryFolder('ca'), 'ca.pem');
  writeFileSync(file, first.cert);
  let backend = await backendWith({ tls: first });
  const hub = await hubWith(settings(backend, { more: `ca = "${file}"` }));
  const ann = await hub.plain('ann');
  assert.equal((await ann.request('join_room', { roomId: 'project:1' })).ok, true);
  await backend.stop();
  backend = await backendWith({ tls: second, secrets: backend.secrets, port: backend.port });
  assert.equal((await ann.request('join_room', { roomId: 'project:2' })).error, 'unavailable', 'it is not trusted');
  writeFileSync(file, second.cert);
  let count = 2;
  await until(async () => (await ann.request('join_room', { roomId: `project:${++count}` })).ok, 'what the file holds now is trusted', 120_000);
  assert.deepEqual(backend.faults, []);
});

test('a hook that failed and that nobody asks any more is not named for ever', { skip: !FULL && 'takes a minute' }, async () => {
  const backend = await backendWith();
  const hub = await hubWith(settings(backend));
  const ann = await hub.plain('ann');
  backend.answer = () => (response) => response.writeHead(500).end();
  for (let i = 0; i < 5; i++) assert.equal((await ann.request('join_room', { roomId: `project:${i}` })).error, 'unavailable');
  const ready = async () => (await fetch(`${hub.internalUrl}/readyz`)).json();
  assert.deepEqual(await ready(), { status: 'degraded', degraded: ['hooks'] });
  await until(async () => (await ready()).status === 'ready', 'it is forgotten', 120_000);
  await hub.logged(/HOOK-FORGOTTEN .* hook="?access"?/);
  assert.equal(await hub.metric('peal_breaker_state'), 0);
});

test('a backend that is away is not asked for a while, and is asked again', async () => {
  const backend = await backendWith();
  const hub = await hubWith(settings(backend));
  const ann = await hub.plain('ann');
  const join = (roomId) => ann.request('join_room', { roomId });
  const ready = async () => (await fetch(`${hub.internalUrl}/readyz`)).json();
  assert.equal((await join('project:known')).ok, true);
  assert.equal((await ann.request('leave_room', { roomId: 'project:known' })).ok, true);
  await backend.stop();
  for (let i = 0; i < 5; i++) {
    assert.deepEqual(await ready(), { status: 'ready' });
    assert.equal((await join(`project:${i}`)).error, 'unavailable');
  }
  await hub.logged(/HOOK-OPEN .* hook="?access"?/);
  assert.equal(await hub.metric('peal_breaker_state{name="hook:access"}') ?? await hub.metric('peal_breaker_state'), 2);
  assert.deepEqual(await ready(), { status: 'degraded', degraded: ['hooks'] });
  const failed = await hub.metric('peal_hook_failures_total');
  assert.equal((await join('project:5')).error, 'unavailable');
  assert.equal(await hub.metric('peal_hook_failures_total'), failed, 'it was not asked');
  assert.equal(await hub.metric('peal_hook_refused_total'), 1);
  assert.equal((await join('project:known')).ok, true, 'what is known holds');

  const again = await backendWith({ secrets: backend.secrets, port: backend.port });
  await until(async () => (await join('project:6')).ok, 'it is asked again');
  await hub.logged(/HOOK-CLOSED/);
  assert.equal(again.faults.length, 0);
  assert.equal(await hub.metric('peal_breaker_state'), 0);
  assert.deepEqual(await ready(), { status: 'ready' });
});

test('no address inside is called that is not listed', async () => {
  const tls = makeCertificate();
  const backend = await backendWith({ tls });
  for (const host of ['127.0.0.1', 'localhost', '127.1', '2130706433', '0x7f000001', '[::ffff:127.0.0.1]']) {
    const url = `https://${host}:${backend.port}/hook`;
    const hub = await startHub({ config: settings({ ...backend, url }, { allow: '"10.0.0.0/8"', more: `ca = "${tls.file}"` }) });
    const ann = await hub.plain('ann');
    assert.equal((await ann.request('join_room', { roomId: 'project:1' })).error, 'unavailable', host);
    assert.equal(await hub.metric('peal_outgoing_forbidden_total'), 1, `${host}: ${hub.log}`);
    await hub.logged(/HOOK-FAILED .*outgoing\.allow does not list it/);
    await hub.stop();
  }
  assert.equal(backend.connections, 0);
});

test('over TLS it is HTTP/2, by the certificates that are trusted, and as the list is now', async () => {
  const tls = makeCertificate();
  const backend = await backendWith({ tls });
  backend.answer = () => ({ allow: true, ttl: 0 });
  const config = (allow, ca = tls.file) => settings(backend, { allow, more: `ca = "${ca}"` });
  const hub = await hubWith(config('"127.0.0.1"'));
  const ann = await hub.plain('ann');
  let count = 0;
  const join = () => ann.request('join_room', { roomId: `project:${++count}` });
  for (let i = 0; i < 5; i++) assert.equal((await join()).ok, true, hub.log);
  assert.deepEqual([...backend.versions], ['2.0']);
  assert.equal(backend.connections, 1, 'it is kept');
  const load = async (text) => {
    const before = hub.lines('RELOAD');
    hub.options.config = text;
    hub.arguments(); // writes the file
    hub.reload();
    await until(() => hub.lines('RELOAD') > before, 'the settings are loaded again');
  };
  await load(config('"10.0.0.1"'));
  await until(async () => (await join()).error === 'unavailable', 'the connection that is kept is not used');
  assert.equal(await hub.metric('peal_outgoing_forbidden_total'), 1);
  await load(config('"127.0.0.1"', makeCertificate().file));
  await until(async () => {
    await join();
    return /the certificate is not trusted/.test(hub.log);
  }, () => `another authority: ${hub.log}`);
  await load(config('"127.0.0.1"'));
  await until(async () => (await join()).ok, 'as before');
  assert.deepEqual(backend.faults, []);
});

test('who goes while it is asked leaves nothing', async () => {
  const backend = await backendWith();
  const hub = await hubWith(settings(backend));
  const waiting = [];
  backend.answer = () => new Promise((resolve) => waiting.push(() => resolve({ allow: true })));
  const clients = await Promise.all(Array.from({ length: 20 }, (_, i) => hub.plain(`guest-${i}`)));
  for (const client of clients) client.emit('join_room', { roomId: 'project:1' });
  await until(() => waiting.length === 20, 'all are asked about');
  for (const client of clients) client.close();
  await until(async () => (await hub.metric('peal_connections')) <= 1, 'they have gone');
  for (const answer of waiting) answer();
  await until(async () => (await hub.metric('peal_users')) === 0, 'no user is left');
  await until(async () => (await hub.metric('peal_rooms')) === 0, 'no room is left');
  const held = await hub.plain('late');
  held.emit('join_room', { roomId: 'project:2' });
  await until(() => waiting.length === 21, 'it is asked about');
  await hub.stop(); // while it waits
});

test('a backend is told of who comes, and has its values ready', async () => {
  const backend = await backendWith();
  const hub = await hubWith(`${settings(backend)}
    values { warm = "hook:access" }
    value_type "board" { }
    api_key "board" { key = "${KEY}" scopes = {values} }`);
  backend.answer = async ({ data }) => {
    await fetch(`${hub.url}/api/v1/values/board:${data.user}`, {
      method: 'PUT', headers: { authorization: `Bearer ${KEY}`, 'content-type': 'application/json' }, body: JSON.stringify({ value: { of: data.user } }),
    });
    return { allow: true };
  };
  const ann = await hub.plain('ann');
  await until(async () => (await ann.request('value:get', 'board:ann')).value?.of === 'ann', 'it is there');
  await hub.plain('ann');
  ann.close();
  await hub.plain('bob');
  await until(() => backend.questions.length === 2, 'bob, too');
  assert.deepEqual(backend.questions.map(({ type, data }) => [type, data]), [
    ['hook.warm', { user: 'ann', namespace: '/' }],
    ['hook.warm', { user: 'bob', namespace: '/' }],
  ]);
  assert.deepEqual(backend.faults, []);
});

test('a type that is asked of a hook from now on keeps who is in, and a backend puts in whom it wants', async () => {
  const backend = await backendWith();
  const open = 'outgoing { allow = {"127.0.0.1"} } room_type "project" { access = {any} }';
  const hub = await hubWith(open);
  const [ann, bob, carl] = await Promise.all(['ann', 'bob', 'carl'].map((user) => hub.plain(user)));
  assert.equal((await ann.request('join_room', { roomId: 'project:1' })).ok, true);
  backend.answer = ({ data }) => ({ allow: data.user === 'carl' });
  const before = hub.lines('RELOAD');
  hub.options.config = settings(backend);
  hub.arguments(); // writes the file
  hub.reload();
  await until(() => hub.lines('RELOAD') > before, 'the settings are loaded again');
  await until(async () => (await bob.request('join_room', { roomId: 'project:1' })).error === 'forbidden', 'the hook is asked');
  assert.equal((await carl.request('join_room', { roomId: 'project:1' })).ok, true);
  assert.equal((await carl.request('auth:refresh', { token: hub.token('carl', { role: 'other' }) })).ok, true);
  assert.equal((await ann.request('send_message', { roomId: 'project:1', message: 'still here' })).ok, true);
  await until(() => carl.received('new_message').length === 1, 'who was let in stays with another token');
  assert.equal(backend.questions.filter(({ data }) => data.user === 'ann').length, 0, 'who is in is not asked about');
  const asked = backend.questions.length;
  assert.equal((await hub.api('POST', '/api/v1/users/bob/rooms', { join: ['project:1'] })).status, 202);
  await until(async () => {
    await ann.request('send_message', { roomId: 'project:1', message: 'for bob' });
    return bob.received('new_message').length > 0;
  }, 'bob is put in');
  assert.equal(backend.questions.length, asked);
  assert.equal((await hub.api('POST', '/api/v1/users/ann/rooms', { leave: ['project:1'] })).status, 202);
  await until(async () => (await ann.request('send_message', { roomId: 'project:1', message: 'x' })).error === 'forbidden', 'and ann is taken out');
});

test('who comes back as who it was is in its rooms without being asked about', async () => {
  const backend = await backendWith();
  const hub = await hubWith(`${settings(backend)} namespace "/" { recovery = on }`);
  const socket = hub.socketIo('ann', { reconnectionDelay: 1, reconnectionDelayMax: 20 });
  await within(new Promise((resolve) => socket.once('hub:ready', resolve)), 'hub:ready');
  const heard = [];
  socket.on('new_message', (message) => heard.push(message.message));
  assert.equal((await socket.emitWithAck('join_room', 'project:1')).ok, true);
  backend.answer = () => ({ allow: false });
  const again = new Promise((resolve) => socket.once('connect', resolve));
  socket.io.engine.close();
  await within(again, 'it is back');
  assert.equal(socket.recovered, true);
  assert.equal((await socket.emitWithAck('send_message', { roomId: 'project:1', message: 'x' })).ok, true);
  assert.equal(backend.questions.length, 1);
});

test('a stream of server-sent events gets the rooms that the hook lets it have', async () => {
  const backend = await backendWith();
  const hub = await hubWith(settings(backend));
  backend.answer = ({ data }) => ({ allow: data.room === 'project:mine' });
  const stream = kept(new StreamClient(hub.url, { token: hub.token('ann'), query: 'rooms=project:mine,project:other' }));
  stream.stop = () => stream.close();
  stream.open();
  await until(() => backend.questions.length === 2, 'both are asked about');
  const say = (room) => hub.api('POST', '/api/v1/events', { event: 'said', args: [room], to: { rooms: [room] } });
  await until(async () => {
    await say('project:other');
    await say('project:mine');
    return stream.packets.some(([event, room]) => event === 'said' && room === 'project:mine');
  }, () => `what is said in its room: ${JSON.stringify(stream.packets)}`);
  assert.ok(!stream.packets.some(([event, room]) => event === 'said' && room === 'project:other'));
  assert.ok(stream.packets.some(([event, error]) => event === 'error' && error.code === 'forbidden'), JSON.stringify(stream.packets));
});

test('settings that cannot be are refused', async () => {
  const secret = newSecret();
  const hook = (url, more = '') => `hook "a" { url = "${url}" secret = "${secret}" ${more} }`;
  const rows = [
    [hook('http://app.example/'), /http is for hosts that outgoing.allow lists/],
    [hook('ftp://app.example/'), /hook "a": url/],
    [hook('https://user:pass@app.example/'), /has a user/],
    [hook('https://app.example/', `old_secret = "${secret.slice(0, 20)}"`), /old_secret: is no secret/],
    [`outgoing { allow = {"10.0.0.1/8"} }`, /outgoing\.allow: "10\.0\.0\.1\/8"/],
    [`outgoing { ca = "/nowhere.pem" }`, /outgoing\.ca/],
  ];
  for (const [config, why] of rows) {
    await assert.rejects(startHub({ config }), (error) => why.test(error.message) && !error.message.includes(secret), config);
  }
});

test('what one node was told the others know, as long as Redis is there', async () => {
  const [redis, postgres] = await Promise.all([startRedis(), startPostgres()]);
  kept(redis);
  kept(postgres);
  const backend = await backendWith();
  const options = { redis, postgres, config: settings(backend, { hook: 'timeout = 3s' }), env: { PEAL_SHARDS: '1' } };
  const first = kept(await startHub(options));
  const second = kept(await startHub({ ...options, secret: first.secret, apiKey: first.apiKey }));
  const here = await first.plain('ann');
  const there = await second.plain('ann');
  const join = async (client, roomId) => {
    const answer = await client.request('join_room', { roomId });
    if (answer.ok) await client.request('leave_room', { roomId });
    return answer.ok ? 'ok' : answer.error;
  };
  const asked = (room) => backend.questions.filter(({ data }) => data.room === room).length;
  backend.answer = ({ data }) => ({ allow: data.room !== 'project:no', ttl: data.room === 'project:brief' ? 1 : 60 });
  for (const [room, answer] of [['project:yes', 'ok'], ['project:no', 'forbidden']]) {
    assert.equal(await join(here, room), answer);
    assert.equal(await join(there, room), answer);
    assert.equal(asked(room), 1, room);
  }
  assert.equal(await second.metric('peal_hook_nodes_total'), 2);
  assert.equal(await join(await second.plain('bob'), 'project:yes'), 'ok');
  assert.equal(asked('project:yes'), 2, 'of another user it is another question');
  await join(here, 'project:brief');
  await until(async () => (await join(there, 'project:brief')) === 'ok' && asked('project:brief') > 1, 'it ends for all');

  const client = redis.client();
  const keys = await client.keys('peal:hook:{*}:*');
  assert.ok(keys.length >= 3, `${keys}`);
  for (const key of keys) assert.match(key, /^peal:hook:\{\d+\}:[0-9a-f]{32}$/);
  for (const wrong of ['', '1', '0 1', 'x 1 y', '1 2 x', '99 1 other', '1 1 another-store', Buffer.from([0xff, 0x20, 0x31, 0x20])]) {
    const room = `project:wrong${backend.questions.length}`;
    assert.equal(await join(here, room), 'ok');
    const made = (await client.keys('peal:hook:{*}:*')).filter((key) => !keys.includes(key));
    keys.push(...made);
    assert.ok(made.length >= 1);
    for (const key of made) await client.set(key, wrong, 'PX', 60_000);
    assert.equal(await join(there, room), 'ok');
    assert.equal(asked(room), 2, `what is no answer is none: ${wrong}`);
  }

  redis.pause(); // neither there nor away
  assert.equal(await join(here, 'project:paused'), 'ok');
  redis.resume();
  await redis.kill();
  assert.equal(await join(there, 'project:away'), 'ok');
  assert.deepEqual(backend.faults, []);
  await redis.restart();
});
