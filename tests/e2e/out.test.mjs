// SPDX-License-Identifier: Apache-2.0
// Events of clients in the stream peal:out: a backend in Node takes them from Redis, and its answers are the acks of stock
// clients; no backend, a slow one, one that answers twice, one that takes nothing.
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { startHub } from './support/hub.mjs';
import { startPostgres } from './support/postgres.mjs';
import { startRedis } from './support/redis.mjs';
import { until, within } from './support/wait.mjs';

const things = new Set();
const kept = (thing) => {
  things.add(thing);
  return thing;
};
after(async () => {
  for (const thing of [...things].reverse()) await thing.stop();
});

const settings = (more = '') => `events { to = {"order:*=out"} ${more} }`;
const hubWith = async (redis, config, more = {}) => kept(await startHub({ redis, config, env: { PEAL_SHARDS: '2' }, ...more }));

async function connect(hub, user) {
  const socket = hub.socketIo(user);
  await within(new Promise((resolve) => socket.once('hub:ready', resolve)), 'hub:ready');
  return socket;
}

const fieldsOf = (list) => Object.fromEntries(list.flatMap((_, i) => (i % 2 ? [] : [[list[i], list[i + 1]]])));

// Takes what is in the stream, and does `answer` with each: what it returns, unless that is undefined, is the result.
class Backend {
  static start(redis, answer) {
    const backend = new Backend();
    Object.assign(backend, { reader: redis.client(), writer: redis.client(), answer, events: [], over: false });
    backend.done = backend.run();
    return kept(backend);
  }

  async run() {
    for (let last = '0-0'; !this.over; ) {
      const read = await this.reader.xread('COUNT', 100, 'BLOCK', 100, 'STREAMS', 'peal:out', last);
      for (const [id, list] of read?.[0][1] ?? []) {
        last = id;
        const event = fieldsOf(list);
        this.events.push(event);
        const result = await this.answer(event, this);
        if (result !== undefined) await this.reply(event, result);
      }
    }
  }

  reply({ node, id }, result) {
    return this.writer.xadd(`peal:out:reply:${node}`, '*', 'id', id, 'result', JSON.stringify(result));
  }

  async stop() {
    this.over = true;
    await this.done;
    this.reader.disconnect();
    this.writer.disconnect();
  }
}

test('what a backend answers is the ack of a stock client, whichever node has it', async () => {
  const [redis, postgres] = await Promise.all([startRedis(), startPostgres()]);
  kept(postgres);
  kept(redis);
  const one = await hubWith(redis, settings(), { postgres });
  const other = await hubWith(redis, settings(), { postgres, secret: one.secret, apiKey: one.apiKey });
  const backend = Backend.start(redis, ({ event, args, user }) => ({ ok: true, event, args: JSON.parse(args), user }));
  const [ann, bob] = await Promise.all([connect(one, 'ann'), connect(other, 'bob')]);
  const answer = await within(ann.emitWithAck('order:new', { id: 1, text: 'ä"\n' }, null), 'ack');
  assert.deepEqual(answer, { ok: true, event: 'order:new', args: [{ id: 1, text: 'ä"\n' }, null], user: 'ann' });
  const [first] = backend.events;
  assert.deepEqual(Object.keys(first), ['event', 'args', 'user', 'tenant', 'socket', 'node', 'id', 'at']);
  assert.equal(first.socket, ann.id);
  assert.ok(Math.abs(Number(first.at) - Date.now()) < 60_000);

  const many = await Promise.all(Array.from({ length: 96 }, async (_, i) => (await within((i % 2 ? ann : bob).timeout(20_000).emitWithAck('order:item', i), 'ack'))));
  const good = many.filter(({ ok }) => ok);
  assert.equal(good.length, 96, 'as many as two may have open');
  for (const [i, row] of many.entries()) assert.deepEqual([row.args, row.user], [[i], i % 2 ? 'ann' : 'bob']);

  const plain = await other.plain('carl');
  assert.deepEqual((await plain.request('order:plain', 7)).args, [7]);
  (await connect(one, 'dora')).emit('order:silent', 1); // nobody asks for the ack
  await until(() => backend.events.some(({ event }) => event === 'order:silent'), 'it is in the stream');
  assert.equal((await plain.request('orders', 1)).error, 'bad_request', 'others are not given away');
  await until(async () => (await backend.writer.xlen('peal:out')) === 0, 'what is answered goes');
  for (const name of await backend.writer.keys('peal:out:reply:*')) {
    await until(async () => (await backend.writer.xlen(name)) === 0, 'answers go');
    assert.ok((await backend.writer.ttl(name)) > 0, 'and so does their stream');
  }
  assert.equal(await one.metric('peal_out_waiting'), 0);
  assert.equal(await one.metric('peal_out_timeouts_total'), 0);
});

test('without a backend the ack says so in time, and one that comes later finds the event', async () => {
  const redis = kept(await startRedis());
  const hub = await hubWith(redis, settings('out_timeout = 300ms'));
  const ann = await connect(hub, 'ann');
  const answer = await within(ann.emitWithAck('order:new', 1), 'ack');
  assert.deepEqual([answer.ok, answer.error], [false, 'timeout']);
  await hub.logged(/OUT-FAILED .* reason="no answer in time"/);
  assert.equal(await hub.metric('peal_out_timeouts_total'), 1);
  const backend = Backend.start(redis, () => 'late');
  await until(() => backend.events.length === 1, 'it is still there');
  assert.deepEqual(await within(ann.emitWithAck('order:new', 2), 'ack'), 'late');
  assert.equal(await hub.metric('peal_out_late_total'), 1);
});

test('of two answers the first one counts, and one that is too slow does not', async () => {
  const redis = kept(await startRedis());
  const hub = await hubWith(redis, settings('out_timeout = 500ms'));
  const ann = await connect(hub, 'ann');
  const slow = [];
  const backend = Backend.start(redis, async (event, self) => {
    if (event.event === 'order:slow') {
      slow.push(event);
      return undefined;
    }
    await self.reply(event, 'first');
    return 'second';
  });
  assert.equal(await within(ann.emitWithAck('order:twice'), 'ack'), 'first');
  assert.equal(await within(ann.emitWithAck('order:twice'), 'ack'), 'first');
  assert.equal((await within(ann.emitWithAck('order:slow'), 'ack')).error, 'timeout');
  await backend.reply(slow[0], 'too late');
  assert.equal(await within(ann.emitWithAck('order:twice'), 'ack'), 'first');
  await until(async () => (await hub.metric('peal_out_late_total')) >= 3, 'those that nobody waited for');
  assert.equal(await hub.metric('peal_out_answered_total'), 3);
  await hub.logged(/OUT-LATE/);
});

test('a stream that nobody takes from is full, and has room again', async () => {
  const redis = kept(await startRedis());
  const hub = await hubWith(redis, settings('out_maxlen = 3 out_timeout = 60s'));
  const ann = await connect(hub, 'ann');
  const waiting = [1, 2, 3].map((i) => within(ann.emitWithAck('order:new', i), 'ack'));
  await until(async () => (await hub.metric('peal_out_events_total')) === 3, 'three are in');
  const refused = await within(ann.emitWithAck('order:new', 4), 'ack');
  assert.deepEqual([refused.ok, refused.error], [false, 'unavailable']);
  assert.equal(await hub.metric('peal_out_full_total'), 1);
  Backend.start(redis, ({ args }) => JSON.parse(args)[0]);
  assert.deepEqual(await Promise.all(waiting), [1, 2, 3]);
  assert.equal(await within(ann.emitWithAck('order:new', 5), 'ack'), 5);
});

test('a result that is no JSON, and a Redis that is away, are refused', async () => {
  const redis = kept(await startRedis());
  const hub = await hubWith(redis, settings());
  const ann = await connect(hub, 'ann');
  const backend = Backend.start(redis, async ({ node, id }, self) => {
    await self.writer.xadd(`peal:out:reply:${node}`, '*', 'id', id, 'result', '{"ok":');
  });
  assert.equal((await within(ann.emitWithAck('order:new', 1), 'ack')).error, 'unavailable');
  await backend.stop();
  things.delete(backend);
  await redis.kill();
  const answer = await within(ann.emitWithAck('order:new', 1), 'ack');
  assert.equal(answer.error, 'unavailable');
  await redis.restart();
  Backend.start(redis, () => 'here');
  await until(async () => (await within(ann.emitWithAck('order:new', 2), 'ack')) === 'here', 'as before');
});

test('a Redis that does not tell the answers is named, and read again', async () => {
  const redis = kept(await startRedis());
  const hub = await hubWith(redis, settings('out_timeout = 60s'), { env: { PEAL_SHARDS: '1' } });
  const ann = await connect(hub, 'ann');
  const client = redis.client();
  const backend = Backend.start(redis, () => undefined);
  const answer = within(ann.emitWithAck('order:new', 1), 'ack');
  await until(() => backend.events.length === 1, 'it is in the stream');
  const [{ node, id }] = backend.events;
  await client.set(`peal:out:reply:${node}`, 'no stream');
  const again = within(ann.emitWithAck('order:new', 2), 'ack');
  await hub.logged(/OUT-FAILED .* reason="Redis does not tell what backends have answered"/);
  await client.del(`peal:out:reply:${node}`);
  await until(() => backend.events.length === 2, 'the second one, too');
  await backend.reply(backend.events[0], id);
  await backend.reply(backend.events[1], 'two');
  assert.deepEqual([await answer, await again], [id, 'two']);
});

test('out needs a bus', async () => {
  await assert.rejects(startHub({ config: settings() }), /events\.to: .*out needs a bus\.url/);
});
