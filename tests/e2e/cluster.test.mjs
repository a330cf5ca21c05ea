// SPDX-License-Identifier: Apache-2.0
// Nodes among themselves: who may call whom, what is passed on, and nodes that go.
import assert from 'node:assert/strict';
import { createHmac, randomBytes } from 'node:crypto';
import { Agent } from 'node:http';
import { connect } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { io } from 'socket.io-client';
import { startBalancer } from './support/balancer.mjs';
import { nodeKey } from './support/bus_names.mjs';
import { EnginePeer } from './support/engine_peer.mjs';
import { findAddress, startHub } from './support/hub.mjs';
import { PollPeer, send } from './support/poll_peer.mjs';
import { startPostgres } from './support/postgres.mjs';
import { RawPeer } from './support/raw.mjs';
import { startRedis } from './support/redis.mjs';
import { randomSecret } from './support/tokens.mjs';
import { until } from './support/wait.mjs';

let redis;
let postgres;
let shared;
const cleanups = [];

async function startNode({ args = [], ...options } = {}) {
  const hub = await startHub({ ...shared, ...options, args: [...shared.args, ...args] });
  cleanups.push(() => hub.stop());
  hub.cluster = findAddress(hub.log, 'cluster');
  return hub;
}

before(async () => {
  [redis, postgres] = await Promise.all([startRedis(), startPostgres()]);
  shared = { redis, postgres, args: ['--shards', '2', '--drain-deadline', '2s'], secret: randomSecret() };
});

after(async () => {
  for (const cleanup of cleanups.reverse()) await cleanup();
  await redis.stop();
  await postgres.stop();
});

const tagOf = (sid) => Buffer.from(sid, 'base64url').readUInt16BE(0);
const pollUrl = (hub, sid) => `${hub.url}/socket.io/?EIO=4&transport=polling&sid=${sid}`;
const sidWith = (tag) => {
  const raw = randomBytes(19);
  raw.writeUInt16BE(tag, 0);
  return raw.toString('base64url');
};

// What a node says to another that it calls, as cluster_auth.h has it.
function proof(role, tag, secret, called, caller) {
  const text = Buffer.concat([Buffer.from('peal cluster 1\0'), Buffer.from([role, tag >> 8, tag & 255]), called, caller]);
  return createHmac('sha256', secret).update(text).digest();
}

// Call the cluster listener of `hub` as one who believes that `secret` is its secret.
async function call(hub, tag, secret) {
  const peer = await RawPeer.open(hub.cluster);
  const greeting = await peer.until(() => peer.input.length >= 23 && peer.input, 'the greeting');
  assert.equal(greeting.subarray(0, 7).toString(), 'PEAL/1\n');
  const called = greeting.subarray(7, 23);
  const caller = randomBytes(16);
  peer.input = peer.input.subarray(23);
  peer.write(Buffer.concat([caller, proof(2, tag, secret, called, caller)]));
  await peer.until(() => peer.closed || peer.ended || peer.input.length >= 32, 'the welcome, or the end');
  peer.welcome = peer.input.subarray(0, 32).equals(proof(1, tag, secret, called, caller));
  peer.input = peer.input.subarray(32);
  return peer;
}

async function ask(peer, target) {
  peer.write(`GET ${target} HTTP/1.1\r\nHost: peal\r\n\r\n`);
  return peer.answer();
}

describe('the cluster listener', () => {
  let hub;
  let sid;
  let tag;
  let secret;

  before(async () => {
    hub = await startNode();
    sid = (await PollPeer.handshake(hub.url)).handshake.sid;
    tag = tagOf(sid);
    secret = await redis.client().get('peal:secret:{0}');
  });

  test('is told to the others in the lease of the node', async () => {
    const lease = await redis.client().get(nodeKey(tag));
    assert.match(lease, new RegExp(`^[0-9a-z]{12} ${hub.cluster.host}:${hub.cluster.port}$`));
    assert.match(secret, /^[0-9a-f]{64}$/);
  });

  test('answers a node for the sessions it has, and for no others', async () => {
    const peer = await call(hub, tag, secret);
    assert.ok(peer.welcome);
    const [foreign, none] = [sidWith(tag ^ 1), sidWith(tag)];
    for (const other of [foreign, none]) {
      const node = await call(hub, tag, secret);
      const answer = await ask(node, `/socket.io/?EIO=4&transport=polling&sid=${other}`);
      assert.deepEqual([answer.status, JSON.parse(answer.body).code], [400, 1]);
    }
    assert.equal(await hub.metric('peal_forwards_total'), 0, 'nothing is passed on once more');
    const own = await ask(peer, `/socket.io/?EIO=4&transport=polling&sid=${sid}&transport=none`);
    assert.deepEqual([own.status, JSON.parse(own.body).code], [400, 0]);
  });

  test('makes no sessions and serves no other path', async () => {
    for (const [target, status] of [
      ['/socket.io/?EIO=4&transport=polling', 400],
      ['/ws', 404],
      ['/metrics', 404],
      ['/api/v1/health/performance', 404],
    ]) {
      assert.equal((await ask(await call(hub, tag, secret), target)).status, status, target);
    }
  });

  test('hangs up on who does not know the secret, or means another node', async () => {
    const refused = await hub.metric('peal_cluster_refused_total');
    for (const [wanted, known] of [[tag, randomSecret()], [tag, ''], [tag ^ 1, secret]]) {
      const peer = await call(hub, wanted, known);
      assert.equal(peer.welcome, false);
      await peer.until(() => peer.closed, 'the end');
      assert.equal(peer.input.length, 0);
    }
    const client = await RawPeer.open(hub.cluster);
    client.write(`GET /socket.io/?EIO=4&transport=polling&sid=${sid} HTTP/1.1\r\nHost: h\r\n\r\n`);
    await client.until(() => client.closed, 'the end');
    assert.equal(client.input.length, 23, 'the greeting and no more');
    assert.equal(await hub.metric('peal_cluster_refused_total'), refused + 4);
    await hub.logged(/CLUSTER-REFUSED/);
  });

  test('waits for a caller only so long', async () => {
    const own = await startNode({ args: ['--cluster-connect-timeout', '100ms'] });
    const silent = await RawPeer.open(own.cluster);
    await silent.until(() => silent.closed, 'the end');
    assert.equal(silent.input.length, 23);
  });
});

describe('a node that cannot be asked', () => {
  test('with another secret: 503, and the session goes on where it is', async () => {
    const hub = await startNode();
    const stranger = await startNode({ args: ['--cluster-secret', randomSecret()] });
    const { handshake } = await PollPeer.handshake(hub.url);
    assert.equal((await send(pollUrl(stranger, handshake.sid)).answer).status, 503);
    assert.ok((await stranger.metric('peal_forward_failures_total')) > 0);
    assert.equal(await hub.metric('peal_cluster_refused_total'), 1);
    const answer = await send(pollUrl(hub, handshake.sid), { method: 'POST', body: '40{}' }).answer;
    assert.equal(answer.body, 'ok');
  });

  test('a lease that leads to another node, or nowhere: 503', async () => {
    const [hub, other] = [await startNode(), await startNode()];
    const addresses = [`${other.cluster.host}:${other.cluster.port}`, '127.0.0.1:1', 'nowhere', '[::1:5', '127.0.0.1:0'];
    for (const [i, address] of addresses.entries()) {
      const tag = 0x7e00 + i;
      await redis.client().set(nodeKey(tag), `somebody ${address}`);
      assert.equal((await send(pollUrl(hub, sidWith(tag))).answer).status, 503, address);
    }
    await redis.client().set(nodeKey(0x7eff), 'no-address');
    assert.equal((await send(pollUrl(hub, sidWith(0x7eff))).answer).status, 400);
    assert.equal(await hub.metric('peal_forwards'), 0);
  });

  test('stopped: what waits for it is bounded, the rest gets 503', async () => {
    const [hub, other] = [await startNode({ args: ['--cluster-connections', '1', '--shards', '1'] }), await startNode()];
    const { handshake } = await PollPeer.handshake(other.url);
    const held = send(pollUrl(hub, handshake.sid));
    await until(async () => (await hub.metric('peal_forwards')) === 1, 'one is under way');
    assert.equal((await send(pollUrl(hub, handshake.sid)).answer).status, 503);
    await other.kill();
    assert.equal((await held.answer).status, 503);
    assert.equal(await hub.metric('peal_forwards'), 0);
  });
});

// Whether something listens at `host`.
const listens = (host, port) =>
  new Promise((resolve) => {
    const socket = connect({ host, port });
    socket.on('connect', () => resolve(true)).on('error', () => resolve(false));
    socket.on('close', () => socket.destroy());
    socket.once('connect', () => socket.destroy());
  });

test('the cluster listener is where Redis is reached from, unless it is told', async () => {
  const hub = await startNode();
  await hub.logged(new RegExp(`cluster_bound=127\\.0\\.0\\.1:${hub.cluster.port} `));
  assert.equal(await listens('127.0.0.1', hub.cluster.port), true);
  assert.equal(await listens('127.0.0.9', hub.cluster.port), false, 'no other address of this machine');
  const wide = await startNode({ args: ['--listen-cluster-host', '0.0.0.0'] });
  await wide.logged(new RegExp(`cluster_bound=0\\.0\\.0\\.0:${wide.cluster.port} `));
  assert.equal(await listens('127.0.0.9', wide.cluster.port), true);
});

test('callers of one address that prove nothing are bounded, counted and logged; others get in', async () => {
  const hub = await startNode({ args: ['--shards', '1', '--cluster-connect-timeout', '60s'] });
  const greeted = (localAddress) =>
    new Promise((resolve) => {
      const socket = connect({ host: hub.cluster.host, port: hub.cluster.port, localAddress });
      peers.push(socket);
      socket.once('data', () => resolve(true));
      socket.on('error', () => {}).once('close', () => resolve(false));
    });
  const peers = [];
  const answers = await Promise.all(Array.from({ length: 300 }, () => greeted('127.0.0.1')));
  assert.equal(answers.filter(Boolean).length, 256);
  assert.equal(await hub.metric('peal_cluster_refused_total'), 44);
  await until(() => / CLUSTER-FULL .*address="127\.0\.0\.1"/.test(hub.log), 'the log says so');
  assert.equal(await greeted('127.0.0.7'), true);
  for (const peer of peers.splice(0)) peer.destroy();
  await until(() => greeted('127.0.0.1'), 'there is room again');
  for (const peer of peers) peer.destroy();
});

test('a node that is killed: its clients come back by themselves, those of the others stay', async () => {
  const pair = [await startNode(), await startNode()];
  const balancer = await startBalancer(pair.map((hub) => hub.address), { everyRequest: true });
  cleanups.push(() => balancer.close());
  const sockets = ['polling', 'websocket', 'polling', 'websocket', 'polling'].map((transport, i) => {
    const token = pair[0].token(`survivor-${i}`);
    const options = { forceNew: true, transports: [transport], reconnectionDelay: 20, reconnectionDelayMax: 100, auth: { token } };
    const socket = io(balancer.url, options);
    cleanups.push(() => socket.close());
    return socket;
  });
  for (const socket of sockets) await until(() => socket.connected, 'every client is connected');
  const before = await Promise.all(pair.map((hub) => hub.metric('peal_sockets')));
  assert.deepEqual([before[0] > 0, before[1] > 0, before[0] + before[1]], [true, true, sockets.length]);
  await pair[0].kill();
  await until(async () => (await pair[1].metric('peal_sockets')) === sockets.length, 'all are at the other node');
  for (const socket of sockets) {
    await until(() => socket.connected, 'every client is connected again');
    const answer = await socket.timeout(30_000).emitWithAck('join_room', 'public:after');
    assert.equal(answer.ok, true, JSON.stringify(answer));
  }
});

test('a node that drains still passes on', async () => {
  const [hub, draining] = [await startNode(), await startNode({ args: ['--drain-deadline', '20s'] })];
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const peer = await PollPeer.handshake(hub.url);
  const url = pollUrl(draining, peer.handshake.sid);
  const post = (body) => send(url, { method: 'POST', body, agent }).answer;
  assert.equal((await post(`40{"token":"${hub.token('traveller')}"}`)).body, 'ok');
  const stayers = Array.from({ length: 20 }, (_, i) => draining.socketIo(`stayer-${i}`, { reconnection: false }));
  for (const socket of stayers) await until(() => socket.connected, 'the clients of the node');
  draining.server.signal('SIGTERM');
  await until(() => /DRAIN/.test(draining.log), 'the node drains');
  assert.equal((await post('42["join_room","public:x"]')).body, 'ok');
  agent.destroy();
  draining.closeSockets();
  assert.deepEqual(await draining.server.ended, { code: 0, signal: null });
  const lease = await redis.client().keys(`peal:node:*`);
  for (const key of lease) assert.doesNotMatch((await redis.client().get(key)) ?? '', new RegExp(`:${draining.cluster.port}$`));
});

test('a node without members of a room hears nothing of it', async () => {
  const [near, far] = [await startNode(), await startNode()];
  const admin = redis.client();
  const listeners = async () => Number((await admin.call('PUBSUB', 'NUMSUB', 'socket.io#/#public:sole#'))[1]);
  const clients = [near.socketIo('one'), far.socketIo('two')];
  for (const client of clients) await until(() => client.connected, 'connected');
  const heard = [];
  clients[0].on('word', (body) => heard.push(body));
  assert.equal(await listeners(), 0);
  assert.equal((await clients[0].timeout(30_000).emitWithAck('join_room', 'public:sole')).ok, true);
  await until(async () => (await listeners()) === 1, 'the node of the member listens');
  const event = { event: 'word', args: [1], to: { rooms: ['public:sole'] } };
  assert.equal((await far.api('POST', '/api/v1/events', event)).status, 202);
  await until(() => heard.length === 1, 'the member has it');
  assert.equal(await listeners(), 1);
  assert.equal((await clients[0].timeout(30_000).emitWithAck('leave_room', 'public:sole')).ok, true);
  await until(async () => (await listeners()) === 0, 'nobody listens');
});

test('an outage of Redis does not stop what is passed on', async () => {
  const own = await startRedis();
  cleanups.push(() => own.stop());
  const pair = [await startNode({ redis: own }), await startNode({ redis: own, args: ['--shards', '1'] })];
  const peer = await PollPeer.handshake(pair[0].url);
  const url = pollUrl(pair[1], peer.handshake.sid);
  const post = (body) => send(url, { method: 'POST', body }).answer;
  assert.equal((await post(`40{"token":"${pair[0].token('patient')}"}`)).body, 'ok');
  await own.kill();
  await until(async () => (await pair[1].metric('peal_bus_up')) === 0, 'the outage is seen');
  for (let i = 0; i < 3; i++) assert.equal((await post('42["join_room","public:x"]')).body, 'ok');
  await own.restart();
});

describe('connections of clients that another node has authenticated', () => {
  let hub;
  let edge;

  before(async () => {
    hub = await startNode();
    edge = await startNode({ args: ['--shards', '1', '--limits-unauthenticated-per-address', '2', '--auth-timeout', '300ms'] });
  });

  const joined = async (user) => {
    const peer = await PollPeer.handshake(hub.url);
    assert.equal((await peer.post(`40{"token":"${hub.token(user)}"}`)).body, 'ok');
    while (!/^42\["hub:ready"/.test(await peer.next()));
    return peer.handshake.sid;
  };

  // Whether `edge` takes one more connection.
  const takes = async () => {
    const peer = await RawPeer.open(edge.address);
    peer.write('GET /socket.io/ HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n');
    return (await peer.answer()).status === 400;
  };

  test('do not count against their address: those that poll', async () => {
    const peers = [];
    for (let i = 0; i < 4; i++) {
      const sid = await joined(`known-${i}`);
      const peer = await RawPeer.open(edge.address);
      peer.write(`POST ${new URL(pollUrl(edge, sid)).pathname}${new URL(pollUrl(edge, sid)).search} HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n3`);
      assert.equal((await peer.answer()).body, 'ok');
      assert.equal(peer.closed, false);
      peers.push(peer);
    }
    await until(takes, 'one more is taken');
    for (const peer of peers) peer.socket.destroy();
  });

  test('strangers do count', async () => {
    const strangers = []; // those before have not quite gone yet
    await until(async () => {
      strangers.push(await RawPeer.open(edge.address));
      return strangers.length > 1 && !(await takes());
    }, 'no more are taken');
    for (const peer of strangers) peer.socket.destroy();
    await until(takes, 'they have gone');
  });

  test('and neither do WebSockets that last', async () => {
    const sockets = [];
    for (let i = 0; i < 2; i++) {
      const query = `EIO=4&transport=websocket&sid=${await joined(`lasting-${i}`)}`;
      const socket = await EnginePeer.open(edge.url, { query });
      socket.send('2probe');
      assert.equal(await socket.next(), '3probe');
      socket.send('5');
      sockets.push(socket);
    }
    await until(takes, 'they are trusted');
    for (const socket of sockets) socket.close();
  });
});
