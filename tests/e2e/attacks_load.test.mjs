// SPDX-License-Identifier: Apache-2.0
// attacks_load - slow, silent and greedy peers, storms, a bus that lies, and ends at bad moments.
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { connect, createServer } from 'node:net';
import { after, before, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { startHub } from './support/hub.mjs';
import { ENGINE, RawPeer, text, upgradeHead } from './support/raw.mjs';
import { startRedis } from './support/redis.mjs';
import { FULL, PATIENT, Siege } from './support/siege.mjs';
import { until } from './support/wait.mjs';

let siege;
let patient; // for crowds
before(async () => {
  siege = await Siege.start({
    flags: { 'limits-slow-consumer': '1s' },
    config: 'room_type "hall" { access = {"any"} presence = off }\n',
  });
  patient = await Siege.start({
    flags: PATIENT,
    config: 'room_type "hall" { access = {"any"} presence = off }\n',
  });
});
after(async (context) => {
  siege.inputs += patient.inputs;
  await patient.stop();
  await siege.stop(context);
});

const times = (count, make) => Promise.all(Array.from({ length: count }, (_, n) => make(n)));
const gone = (peers, what) => until(() => peers.every((peer) => peer.closed || peer.ended), what);
const destroyAll = (peers) => peers.forEach((peer) => peer.destroy());
const post = (path, body, key = siege.hub.apiKey) => `POST ${path} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer ${key}\r\nContent-Length: ${body.length}\r\n\r\n${body}`;

// A hub with short heartbeats, for one attack: while this process is busy with a crowd elsewhere, it
// does not answer the pings of this hub in time.
async function strikeQuick(what, attack, options) {
  const quick = await Siege.start({ flags: { ...PATIENT, 'engine-ping-interval': '1000', 'engine-ping-timeout': '4000' } });
  try {
    await quick.strike(what, () => attack(quick), options);
  } finally {
    siege.inputs += quick.inputs;
    await quick.stop();
  }
}

// Tell everybody in `rooms` something of `bytes` bytes.
const shout = (to, bytes, volatile = false, at = siege) => at.hub.api('POST', '/api/v1/events', { event: 'noise', args: ['x'.repeat(bytes)], to, volatile });

test('E1 and E2 peers that say nothing, or not enough', async () => {
  const count = FULL ? 1000 : 100;
  await siege.strike('E2', async () => {
    const peers = await times(count, async (n) => {
      const peer = await RawPeer.open(siege.address);
      if (n % 4 === 1) peer.write('GET /socket.io/ HTTP/1.1\r\nHost: h\r\n');
      if (n % 4 === 2) peer.write(upgradeHead(ENGINE));
      if (n % 4 === 3) peer.write(post('/api/v1/notifications', '{}').slice(0, -1));
      return peer;
    });
    await gone(peers.filter((_, n) => n % 4 !== 2), 'HTTP without a request is closed');
    for (const peer of peers.filter((_, n) => n % 4 === 2)) assert.equal(await peer.end(), 1006); // Socket.IO clients see no code
    destroyAll(peers);
    return count;
  }, { raised: 'peal_closed_total{reason="auth_timeout"}' });
});

test('E5 clients that stop reading are bounded, told as slow, and harm nobody', async () => {
  const count = FULL ? 300 : 16;
  const rounds = 160; // of 60 KB: 10 MB for each
  const own = await Siege.start({ flags: { 'limits-slow-consumer': '1s' } });
  try {
    await own.strike('E5', async () => {
      const peers = await times(count, (n) => RawPeer.plain(own.address, own.hub.token(`stalled${n}`)));
      await Promise.all(peers.map((peer) => peer.saw(/hub:ready/)));
      peers.forEach((peer) => peer.socket.pause());
      const idle = own.rss();
      let peak = 0;
      const users = peers.map((_, n) => `stalled${n}`);
      for (let n = 0; n < rounds; n++) {
        const { status } = await own.hub.api('POST', '/api/v1/events', { event: 'noise', args: ['x'.repeat(60_000)], to: { users } });
        assert.equal(status, 202);
        peak = Math.max(peak, own.rss() - idle);
      }
      await own.canary.check();
      const bound = count * (256 + 256) * 1024 + 64 * 2 ** 20;
      assert.ok(own.sanitized || peak < bound, `${(peak / 2 ** 20).toFixed(0)} MiB for ${count} clients`);
      await until(async () => (await own.metrics()).peal_sockets <= own.before.sockets, 'all of them are closed');
      destroyAll(peers);
      return count * rounds;
    }, { raised: 'peal_closed_total{reason="slow"}', mib: 96 });
  } finally {
    siege.inputs += own.inputs;
    await own.stop();
  }
});

test('E6 half-open peers go at the ping timeout, also with a blocked outbox', async () => {
  const count = FULL ? 500 : 60;
  await strikeQuick('E6', async (quick) => {
    const peers = [];
    while (peers.length < count) { // some at a time: this process answers pings too
      peers.push(...await times(20, (n) => (n % 2 ? RawPeer.socketIo : RawPeer.plain)(quick.address, quick.hub.token(`half${n}`))));
    }
    peers.forEach((peer) => peer.socket.pause());
    await until(async () => (await quick.metrics()).peal_sockets <= quick.before.sockets, 'all of them are closed');
    destroyAll(peers);
    return count;
  }, { raised: 'peal_closed_total{reason="ping_timeout"}' });
});

test('E7 a flood of good small events from a few clients', async () => {
  const count = FULL ? 200_000 : 30_000;
  await siege.strike('E7', async () => {
    const peers = await times(4, (n) => (n % 2 ? RawPeer.socketIo : RawPeer.plain)(siege.address, siege.hub.token(`flood${n}`)));
    const one = [text('[[1,"typing:start",{"roomId":"public"}]]'), text('421["send_message",{"roomId":"x","message":"m"}]')];
    for (const [n, peer] of peers.entries()) {
      const burst = Buffer.concat(Array.from({ length: 500 }, () => one[n % 2]));
      for (let sent = 0; sent < count / 4; sent += 500) peer.write(burst);
    }
    const early = siege.canary.answers;
    await until(() => siege.canary.answers > early + 3 || siege.canary.error, 'the canary is answered during the flood');
    await until(async () => (await siege.metrics()).peal_rate_limited_total > 1000, 'the flood is limited');
    await until(() => peers.every((peer) => peer.closed || peer.socket.writableLength === 0), 'the flood is taken in');
    destroyAll(peers);
    return count;
  }, { raised: 'peal_rate_limited_total', mib: 96 });
});

test('E8 one user with too many devices, one room with everybody', async () => {
  const devices = 40;
  await patient.strike('E8', async () => {
    const own = await startHub({ args: ['--limits-connections-per-user', '16', '--limits-unauthenticated-per-address', '1000'] });
    try {
      const peers = await times(devices, () => RawPeer.plain(own.address, own.token('hot')));
      await until(() => peers.filter((peer) => peer.over).length === devices - 16, 'those above the limit are closed');
      for (const peer of peers.filter((one) => one.over)) assert.equal(peer.closeCode(), 4429);
      destroyAll(peers);
    } finally {
      await own.stop();
    }
    return devices;
  });
  const crowd = FULL ? 1000 : 200;
  await patient.strike('E8 room', async () => {
    const peers = await times(crowd, (n) => (n % 2 ? RawPeer.socketIo : RawPeer.plain)(patient.address, patient.hub.token(`crowd${n}`)));
    for (const [n, peer] of peers.entries()) peer.write(text(n % 2 ? '421["join_room","hall:1"]' : '[[1,"join_room","hall:1"]]'));
    await Promise.all(peers.map((peer) => peer.saw(/"ok":true/, 'in the hall')));
    for (let n = 0; n < 20; n++) await shout({ rooms: ['hall:1'] }, 1000, false, patient);
    await shout({ rooms: ['hall:1'] }, 7, false, patient);
    await Promise.all(peers.map((peer) => peer.saw(/"noise","xxxxxxx"/, 'the last word in the hall')));
    destroyAll(peers);
    return crowd;
  }, { raised: 'peal_broadcasts_total', mib: 96 });
});

test('E9 everybody comes back at once', async () => {
  const count = FULL ? 5000 : 1000;
  await patient.strike('E9', async () => {
    const users = Array.from({ length: 100 }, (_, n) => `storm${n}`);
    for (const user of users) await patient.hub.api('POST', '/api/v1/notifications', Array.from({ length: 5 }, (_, n) => ({ user, type: 'x', title: `t${n}`, message: 'm' })));
    for (const round of [1, 2]) {
      const peers = await times(count, (n) => RawPeer.plain(patient.address, patient.hub.token(users[n % users.length])));
      await Promise.all(peers.map((peer) => peer.saw(/hub:ready/)));
      for (const peer of peers) peer.write(text('[[5,"notification:sync",{"rev":0}]]'));
      await Promise.all(peers.map((peer) => peer.saw(/\[-5,/, `an answer to sync, round ${round}`)));
      const answers = peers.filter((peer) => peer.texts().some((one) => /\[-5,\{"ok":true/.test(one) && /"t4"/.test(one)));
      assert.ok(answers.length >= users.length, `${answers.length} have all`);
      for (const [n, peer] of peers.entries()) n % 2 ? peer.reset() : peer.destroy();
    }
    return 2 * count;
  }, { mib: 128 });
});

test('G1 and G2 resets and closes while everything is under way', async () => {
  const count = FULL ? 5000 : 500;
  await patient.strike('G1', async () => {
    for (let at = 0; at < count; at += 50) {
      await times(50, async (n) => {
        const user = `gone${n % 5}`;
        const peer = await (n % 2 ? RawPeer.socketIo : RawPeer.plain)(patient.address, patient.hub.token(user));
        const say = (event, argument) => peer.write(text(n % 2 ? `42${JSON.stringify([event, argument])}` : JSON.stringify([[3, event, argument]])));
        say('join_room', 'hall:2');
        say('notification:sync', { rev: 0 });
        say('notification:list', {});
        say('notification:read_all');
        say('send_message', { roomId: 'hall:2', message: 'm' });
        say('typing:start', { roomId: 'hall:2' });
        if (n % 7 === 0) await patient.hub.api('POST', '/api/v1/notifications', { user, type: 'x', title: 't', message: 'm' });
        if (n % 11 === 0) await patient.hub.api('POST', `/api/v1/users/${user}/disconnect`);
        if (n % 3 === 0) peer.write(text(n % 2 ? '1' : 'x'));
        if (n % 4 === 0) peer.fin();
        else if (n % 4 === 1) peer.reset();
        else peer.destroy();
        if (n % 4 === 0) setImmediate(() => peer.destroy());
      });
    }
    return count;
  }, { mib: 96 });
});

test('SIGSTOP and SIGCONT: nobody is closed for what the hub slept through', async () => {
  await strikeQuick('SIGSTOP', async (quick) => {
    const peers = await times(20, (n) => RawPeer.socketIo(quick.address, quick.hub.token(`sleeper${n}`)));
    for (const peer of peers) {
      let pongs = 0;
      peer.watchers.add(() => {
        const pings = peer.texts().filter((one) => one === '2').length;
        for (; pongs < pings; pongs++) peer.write(text('3'));
      });
      peer.changed();
    }
    for (let n = 0; n < (FULL ? 5 : 1); n++) {
      quick.hub.pause();
      await pause(6000); // longer than interval and timeout together
      quick.hub.resume();
      for (const peer of peers) peer.write(text(`42${n + 1}["notification:received",{"upTo":0}]`));
      await Promise.all(peers.map((peer) => peer.saw(new RegExp(`^43${n + 1}\\[`), 'an answer after the sleep')));
    }
    const before = peers.map((peer) => peer.texts().filter((one) => one === '2').length);
    await until(() => peers.every((peer, n) => peer.over || peer.texts().filter((one) => one === '2').length > before[n]), 'pings go on');
    assert.deepEqual(peers.filter((peer) => peer.over).length, 0);
    destroyAll(peers);
    return peers.length;
  });
});

test('G7 settings that are loaded again under load', async () => {
  const keys = ['a', 'b'].map((tenant) => `api_key "${tenant}" { key = "${'k'.repeat(20)}-${tenant}" scopes = {"publish", "read"} tenant = "tenant-${tenant}" }\n`);
  const own = await Siege.start({ config: `auth { tenants = on }\n${keys.join('')}` });
  const count = FULL ? 2000 : 150;
  try {
    await own.strike('G7', async () => {
      let done = false;
      let reloads = 0;
      const reloading = (async () => {
        for (; !done; reloads++) {
          own.hub.reload();
          await pause(2);
        }
      })();
      for (let n = 0; n < count; n += 10) {
        await times(10, async (at) => {
          const authorization = `Bearer ${'k'.repeat(20)}-${'ab'[at % 2]}`;
          const posts = Array.from({ length: 20 }, (_, k) => ({ user: `u${at}`, type: 'x', title: `t${k}`, message: 'm' }));
          const { status, body } = await own.hub.api('POST', '/api/v1/notifications', posts, { authorization });
          assert.equal(status, 200);
          assert.deepEqual(body.results.filter((one) => one.status !== 201), []);
        });
      }
      done = true;
      await reloading;
      for (let at = 0; at < 10; at++) {
        for (const tenant of 'ab') {
          const { body } = await own.hub.api('GET', `/api/v1/users/u${at}/notifications/unread`, undefined, { authorization: `Bearer ${'k'.repeat(20)}-${tenant}` });
          assert.equal(body.unread ?? body.count, 'ab'[at % 2] === tenant ? count * 2 : 0, `u${at} of tenant-${tenant}: ${JSON.stringify(body)}`);
        }
      }
      return count + reloads;
    }, { mib: 96 });
  } finally {
    siege.inputs += own.inputs;
    await own.stop();
  }
});

test('F3 and F5 entries that are no notifications, streams that vanish', async () => {
  const redis = await startRedis();
  const own = await Siege.start({ redis });
  try {
    const client = redis.client();
    const bad = [
      ['nonsense', '1'],
      ['user', 'a/b', 'title', 't'],
      ['user', '', 'title', 't'],
      ['user', 'u'.repeat(200), 'title', 't'],
      ['user', 'x', 'users', '["y"]', 'title', 't'],
      ['users', '{"a":1}', 'title', 't'],
      ['users', '[1,null,{}]', 'title', 't'],
      ['users', '['.repeat(5000), 'title', 't'],
      ['user', 'x', 'title', 't', 'data', '{'],
      ['user', 'x', 'title', 't', 'data', '['.repeat(10_000)],
      ['user', 'x', 'title', Buffer.from([0xff, 0xfe])],
      ['user', 'x', 'title', 't'.repeat(2 << 20)],
      ['user', 'x', 'title', 't', 'expires_at', 'never'],
      ['user', 'x', 'title', 't', 'priority', 'x'],
      ['user', 'x', 'event', 'notification', 'args', '{'],
      ['room', '', 'event', 'e', 'args', '[]'],
      ['all', '1', 'event', 'connect', 'args', '[]'],
      ['json', '{'],
      ['json', '[]'],
      ['json', '{"user":{"a":1}}'],
      ['msgpack', Buffer.from('ddff000000', 'hex')],
      ['msgpack', Buffer.alloc(5000, 0x91)],
      ['msgpack', ''],
      ['', ''],
      ['user', 'x', 'user', 'y', 'title', 't'],
    ];
    await own.strike('F3', async () => {
      const reader = await own.hub.plain('reader');
      await reader.next('hub:ready');
      for (const entry of bad) await client.xadd('peal:in', '*', ...entry);
      await client.xadd('peal:in', '*', 'user', 'reader', 'type', 'x', 'title', 'after all', 'message', 'm');
      await reader.next('notification', ({ title }) => title === 'after all');
      const dead = await client.xlen('peal:dead');
      assert.ok(dead >= 18 && dead <= bad.length, `${dead} of ${bad.length} are dead letters`);
      for (const step of [() => client.del('peal:in'), () => client.flushall(), () => redis.kill().then(() => redis.restart())]) {
        await step();
        const title = `after ${randomBytes(4).toString('hex')}`;
        // What was in the stream when it vanished is lost with it; a later entry gets through.
        await until(async () => {
          await client.xadd('peal:in', '*', 'user', 'reader', 'type', 'x', 'title', title, 'message', 'm', 'key', title);
          await pause(200);
          return reader.received('notification').some(([one]) => one.title === title);
        }, `a notification ${step}`);
        assert.equal(reader.received('notification').filter(([one]) => one.title === title).length, 1);
      }
      // Rubbish on the channels of the bus.
      for (const channel of await client.pubsub('CHANNELS')) {
        for (const payload of ['', 'x', Buffer.from([0xdd, 0xff, 0, 0, 0]), Buffer.alloc(9000, 0x91), '{"', Buffer.from('93a178c0c0', 'hex')]) await client.publish(channel, payload);
      }
      reader.cut();
      own.hub.sockets.delete(reader);
      return bad.length + 30;
    }, { raised: 'peal_dead_letters_total', mib: 128 });
  } finally {
    siege.inputs += own.inputs;
    await own.stop();
    await redis.stop();
  }
});

// A way to a real Redis on which the next commands are answered with `lie`, when there is one.
async function lyingProxy(port) {
  const proxy = { lie: null, lines: new Set(), told: 0 };
  const server = createServer((line) => {
    const behind = connect({ port, host: '127.0.0.1' });
    for (const end of [line, behind]) {
      proxy.lines.add(end);
      end.on('error', () => {});
      end.on('close', () => [line, behind].forEach((other) => other.destroy()));
    }
    line.on('data', (bytes) => {
      if (proxy.lie === null) {
        behind.write(bytes);
      } else {
        line.write(proxy.lie[proxy.told % proxy.lie.length]);
        proxy.told += 1;
      }
    });
    behind.on('data', (bytes) => proxy.lie === null && line.write(bytes));
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  proxy.url = `redis://127.0.0.1:${server.address().port}/0`;
  // What was under way is out of step: the lines end with the lie.
  proxy.truth = () => {
    proxy.lie = null;
    for (const line of proxy.lines) line.destroy();
    proxy.lines.clear();
  };
  proxy.stop = () => {
    proxy.truth();
    server.close();
  };
  return proxy;
}

const LIES = ['-NOAUTH Authentication required.\r\n', '-LOADING Redis is loading\r\n', '-READONLY x\r\n', '-MOVED 1 127.0.0.1:1\r\n', '-OOM x\r\n', '-BUSY x\r\n', '-MISCONF x\r\n', '-\r\n', '*2147483648\r\n', '*9223372036854775808\r\n', '*-7\r\n', '$2147483647\r\n', '$-5\r\n', '*1\r\n'.repeat(1000), ':99999999999999999999\r\n', '+OK\r\n', '$-1\r\n', '*-1\r\n', '*0\r\n', '*2\r\n*0\r\n:1\r\n', '*1\r\n*2\r\n$7\r\npeal:in\r\n*1\r\n*2\r\n$1\r\nx\r\n*-1\r\n', '*1\r\n*2\r\n$7\r\npeal:in\r\n*1\r\n*2\r\n$3\r\n9-9\r\n*1\r\n$1\r\na\r\n', '>3\r\n$7\r\nmessage\r\n$1\r\nx\r\n:1\r\n', '*3\r\n$7\r\nmessage\r\n:1\r\n*0\r\n', 'HTTP/1.1 200 OK\r\n\r\n', '\0'.repeat(100), '%1\r\n+a\r\n+b\r\n', '\r\n', ':1\r\n'.repeat(50)];

test('F1, F2 and F7 a bus that answers nonsense', async () => {
  const redis = await startRedis();
  const proxy = await lyingProxy(redis.port);
  const own = await Siege.start({ redis: { url: proxy.url }, args: ['--bus-connect-timeout', '500ms'] });
  try {
    await own.strike('F1', async () => {
      // The pauses between attempts grow: one outage with many lies, or one for each.
      const first = randomBytes(1)[0] % LIES.length;
      console.log(`# first lie: ${first}`);
      const turned = [...LIES.slice(first), ...LIES.slice(0, first)];
      for (const lies of FULL ? LIES.map((lie) => [lie]) : [turned]) {
        const told = proxy.told;
        proxy.lie = lies;
        const enough = Math.min(8, 2 * lies.length);
        await until(() => proxy.told >= told + enough, `lies are told: ${JSON.stringify(lies[0].slice(0, 30))}`);
        await own.canary.check();
        assert.equal(own.hub.server.result, undefined, own.hub.log);
        proxy.truth();
        await until(async () => (await own.metrics()).peal_bus_up === 1, 'the bus is back');
      }
      const reader = await own.hub.plain('reader');
      await reader.next('hub:ready');
      await redis.client().xadd('peal:in', '*', 'user', 'reader', 'type', 'x', 'title', 'after all', 'message', 'm');
      await reader.next('notification', ({ title }) => title === 'after all');
      reader.cut();
      own.hub.sockets.delete(reader);
      assert.ok(own.hub.server.lines.length < 60 * LIES.length, `${own.hub.server.lines.length} lines were logged`);
      return proxy.told;
    }, { mib: 96 });
  } finally {
    siege.inputs += own.inputs;
    proxy.truth();
    await own.stop();
    proxy.stop();
    await redis.stop();
  }
});
