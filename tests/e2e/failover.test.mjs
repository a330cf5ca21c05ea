// SPDX-License-Identifier: Apache-2.0
// A failover to a Postgres standby: one that has everything resyncs nobody; one that was behind is found
// out by the node itself, which makes a new epoch, so that no device keeps numbers that are given again.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Device } from './support/device.mjs';
import { startHub } from './support/hub.mjs';
import { startLine } from './support/line.mjs';
import { startPostgres } from './support/postgres.mjs';
import { startRedis } from './support/redis.mjs';
import { randomSecret } from './support/tokens.mjs';
import { until } from './support/wait.mjs';

const servers = [];
const devices = []; // left at the end, whatever became of their tests
let line;
let hub;
let primary;

const count = (id) => hub.lines(id);
const address = (server) => ({ host: '127.0.0.1', port: server.port });
const post = (title) => hub.api('POST', '/api/v1/notifications', { user: 'alice', type: 't', title });
const rows = (server) => server.query("SELECT rev, seq FROM peal.inbox WHERE user_id = 'alice'");

async function stored(title) {
  await until(async () => (await post(title)).status === 201, `${title} is stored`);
}

// What a device is told when it comes back: {epoch, rev}.
async function comeBack(where = hub) {
  return await until(async () => {
    let ready;
    const client = await where.plain('alice', { onEvent: ([event, body]) => event === 'hub:ready' && (ready = body) });
    await until(() => ready, 'ready', 2000);
    client.close();
    return ready;
  }, 'the device is back');
}

// Also that the standby hears what is new: all that there was until now, its copy may have brought.
async function caughtUp(standby) {
  const streams = "SELECT 1 FROM pg_stat_replication WHERE state = 'streaming'";
  await until(async () => (await primary.query(streams)).length === 1, 'the standby streams');
  await until(async () => {
    const [{ at }] = await primary.query('SELECT pg_current_wal_lsn()::text AS at');
    const [{ behind }] = await standby.query('SELECT pg_last_wal_replay_lsn() < $1::pg_lsn AS behind', [at]);
    return behind === false;
  }, 'the standby has everything');
}

async function promote(standby) {
  line.target = address(standby);
  line.cut();
  await standby.query('SELECT pg_promote()');
  primary = standby;
}

before(async () => {
  primary = await startPostgres();
  servers.push(primary);
  line = await startLine(address(primary));
  const url = `postgres://peal@${new URL(line.url).host}/postgres`;
  hub = await startHub({ postgres: { url } });
});

after(async () => {
  for (const device of devices) await device.leave();
  await hub?.stop();
  await line?.close();
  for (const server of servers) await server.stop();
});

test('a standby that has everything: no new epoch', async () => {
  const standby = await primary.standby();
  servers.push(standby);
  await stored('one');
  const before = await comeBack();
  await caughtUp(standby);
  await primary.shutdown(); // sends the rest first
  await promote(standby);
  await stored('two');
  const after = await comeBack();
  assert.equal(after.epoch, before.epoch);
  assert.ok(after.rev > before.rev);
  assert.equal(count('STORE-WENT-BACK'), 0);
});

test('a standby that was behind: an alarm, a new epoch, and devices agree with the store', async () => {
  const standby = await primary.standby();
  servers.push(standby);
  const before = await comeBack();
  await caughtUp(standby);
  await standby.query("ALTER SYSTEM SET primary_conninfo = ''");
  await standby.query('SELECT pg_reload_conf()');
  await until(async () => (await primary.query('SELECT 1 FROM pg_stat_replication')).length === 0, 'replication stands');
  for (let i = 0; i < 5; i++) await stored(`lost ${i}`);
  const [{ number }] = await primary.query('SELECT max(number)::int AS number FROM peal.witness');
  await until(async () => (await primary.query('SELECT max(number)::int AS number FROM peal.witness'))[0].number > number + 3, 'the witness is raised');
  const ahead = await comeBack();
  assert.equal(ahead.rev, before.rev + 5);
  await primary.kill();
  await promote(standby);
  await until(() => count('STORE-WENT-BACK') === 1, 'the loss is found out');
  await until(() => count('STORE-NEW-EPOCH') === 1, 'there is a new epoch');
  const after = await until(async () => {
    const ready = await comeBack();
    return ready.epoch !== before.epoch && ready;
  }, 'devices are told the new epoch');
  const [{ rev }] = await rows(standby);
  assert.equal(after.rev, Number(rev));
  assert.equal(after.rev, before.rev);
  await stored('again');
  const { body } = await hub.api('GET', '/api/v1/users/alice/notifications');
  assert.deepEqual(body.items.map(({ title }) => title), ['again', 'two', 'one']);
  assert.equal(count('STORE-WENT-BACK'), 1);
});

// Loses what `post` has stored, in a way that the witness does not tell.
async function lose(post) {
  const standby = await primary.standby();
  servers.push(standby);
  await caughtUp(standby);
  await standby.query("ALTER SYSTEM SET primary_conninfo = ''");
  await standby.query('SELECT pg_reload_conf()');
  await until(async () => (await primary.query('SELECT 1 FROM pg_stat_replication')).length === 0, 'replication stands');
  await post();
  await primary.kill();
  await standby.query('SELECT pg_promote()');
  await until(async () => (await standby.query('SELECT pg_is_in_recovery() AS yes'))[0].yes === false, 'promoted');
  await standby.query('UPDATE peal.witness SET number = number + 1000');
  primary = standby;
  line.target = address(standby);
  line.cut();
}

// Loses a post by HTTP that a device on `where` was told.
async function loseLast(where, title, via) {
  const device = new Device('alice', [where]).start();
  devices.push(device);
  await lose(async () => {
    const body = { user: 'alice', type: 't', title };
    await until(async () => (await via.api('POST', '/api/v1/notifications', body)).status === 201, `${title} is stored`);
    await until(() => [...device.items.values()].some((item) => item.title === title), 'the device has it');
  });
  return device;
}

const another = (epoch, where) => until(async () => {
  const ready = await comeBack(where);
  return ready.epoch !== epoch && ready;
}, 'devices are told the new epoch');

test('what was lost between two raises of the witness: a device that is there has more than the store', async () => {
  const alarms = hub.lines('STORE-WENT-BACK');
  const before = await comeBack();
  const device = await loseLast(hub, 'lost', hub);
  await hub.loggedTimes('STORE-WENT-BACK', alarms + 1);
  await hub.logged(/STORE-WENT-BACK .*proof=(position|write) was=\d+ is=\d+/);
  assert.equal((await another(before.epoch)).rev, before.rev);
  await device.leave();
});

test('what was lost for a user who is away: the node that wrote it has more than the store', async () => {
  const alarms = hub.lines('STORE-WENT-BACK');
  const before = await comeBack();
  await lose(() => stored('lost unseen'));
  await hub.loggedTimes('STORE-WENT-BACK', alarms + 1);
  await hub.logged(/STORE-WENT-BACK .*proof=write was=\d+ is=\d+/);
  assert.equal((await another(before.epoch)).rev, before.rev);
});

test('a standby that has everything, but has not replayed it yet, is not written to: no new epoch', async () => {
  const alarms = hub.lines('STORE-WENT-BACK');
  const standby = await primary.standby();
  servers.push(standby);
  const before = await comeBack();
  await caughtUp(standby);
  await standby.query('SELECT pg_wal_replay_pause()');
  const device = new Device('alice', [hub]).start();
  devices.push(device);
  await stored('three');
  await until(() => [...device.items.values()].some(({ title }) => title === 'three'), 'the device has it');
  const outages = hub.lines('STORE-DOWN');
  await primary.shutdown();
  line.target = address(standby);
  line.cut();
  await until(() => hub.lines('STORE-DOWN') > outages, 'the node cannot write');
  assert.equal((await rows(standby))[0].rev, String(before.rev));
  await standby.query('SELECT pg_wal_replay_resume()');
  await promote(standby);
  await stored('four');
  assert.equal((await comeBack()).epoch, before.epoch);
  assert.equal(hub.lines('STORE-WENT-BACK'), alarms);
  await device.leave();
});

test('two nodes: the loss is found, both take the new epoch over, and a stream is stored again', { timeout: 120_000 }, async () => {
  await hub.stop();
  const redis = await startRedis();
  const shared = { redis, postgres: { url: hub.options.postgres.url }, secret: randomSecret(), apiKey: randomSecret() };
  const nodes = [await startHub(shared), await startHub(shared)];
  let device;
  try {
    const before = await comeBack(nodes[0]);
    device = await loseLast(nodes[1], 'lost again', nodes[0]);
    // Either node may be first, by what it wrote, the device's position or the token of the stream: the other takes the epoch over.
    await until(() => nodes.some((node) => node.lines('STORE-WENT-BACK') > 0), () => nodes.map(({ log }) => log).join('\n'));
    const told = await Promise.all(nodes.map((node) => another(before.epoch, node)));
    assert.equal(told[0].epoch, told[1].epoch);
    assert.deepEqual(told.map(({ rev }) => rev), [before.rev, before.rev]);
    for (const node of nodes) await node.loggedTimes('STORE-NEW-EPOCH', 1);
    await device.leave();
    await nodes.pop().stop(); // who is alone owns the stream, also afterwards
    await nodes[0].logged(/STORE-NEW-EPOCH[^]*INGEST-OWNER/);
    const titles = async () => {
      const { body } = await nodes[0].api('GET', '/api/v1/users/bob/notifications');
      return body.items?.map(({ title }) => title).join();
    };
    const alarms = nodes[0].lines('STORE-WENT-BACK');
    await lose(async () => {
      const bus = redis.client();
      await bus.xadd('peal:in', '*', 'user', 'bob', 'type', 't', 'title', 'by stream', 'reply', 'answers');
      await until(() => bus.xlen('answers'), 'the node knows that the post is stored');
    });
    await nodes[0].loggedTimes('STORE-WENT-BACK', alarms + 1); // by what it wrote, or by the stream
    await until(async () => (await titles()) === 'by stream', 'what Redis has kept is stored again', 60_000);
  } finally {
    await device?.leave();
    for (const node of nodes) await node.stop();
    await redis.stop();
  }
});
