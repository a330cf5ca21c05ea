// SPDX-License-Identifier: Apache-2.0
// Values: the cache and the counters of backends, on three nodes over one Redis, and on one node without.
import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import WebSocket from 'ws';
import { Peal } from '../../clients/js/peal.js';
import { startHub } from './support/hub.mjs';
import { startPostgres } from './support/postgres.mjs';
import { startRedis } from './support/redis.mjs';
import { until, within } from './support/wait.mjs';

const FULL = process.env.PEAL_FULL === '1';
const KEY = 'values-0123456789ab';
const API_KEY = `api_key "values" { key = "${KEY}" scopes = {values} }\n`;
// As many callers as there are connect before one of them has shown its key.
const CALLERS = FULL ? 10_000 : 300;
// One process takes seconds to ask for all of them: who fills has longer than that.
const FILL_S = FULL ? 20 : 2;
const CONFIG = `${API_KEY}values { fill = ${FILL_S}s stale = 5s }\nlimits { unauthenticated_per_address = ${CALLERS} }\n`;
const GOOD_MS = 1000; // for so long another node may have the value of before
const BASE = '/api/v1/values';

let names = 0;
const newKey = (prefix = 'k') => `${prefix}:${++names}:${randomInt(1e9)}`;
const pick = (list) => list[randomInt(list.length)];

// A node as backends see it.
class Values {
  constructor(hub, key = KEY, tenant = '') {
    this.hub = hub;
    this.key = key;
    this.query = tenant && `?tenant=${tenant}`;
  }

  ask(method, path, body) {
    return this.hub.api(method, `${BASE}/${path}${this.query}`, body, { authorization: `Bearer ${this.key}` });
  }

  async good(method, path, body, status = 200) {
    const answer = await this.ask(method, path, body);
    assert.equal(answer.status, status, `${method} ${path}: ${JSON.stringify(answer.body)}`);
    return answer.body;
  }

  put(key, value, more = {}) {
    return this.good('PUT', key, { value, ...more });
  }

  // The value, or undefined.
  async get(key) {
    const { status, body, headers } = await this.ask('GET', key);
    assert.ok(status === 200 || status === 404, JSON.stringify(body));
    assert.equal(headers.get('x-cache') === 'MISS', status === 404);
    return status === 200 ? body.value : undefined;
  }

  remove(key) {
    return this.good('DELETE', key, undefined, 204);
  }

  invalidate(body) {
    return this.good('POST', 'invalidate', body).then(({ invalidated }) => invalidated);
  }

  lease(key, wait = 0) {
    return this.ask('POST', `${key}/lease`, { wait });
  }
}

// A node that has found its Redis: until then what is written is refused.
async function found(...args) {
  const node = new Values(...args);
  await until(async () => (await node.ask('PUT', 'begun', { value: 1 })).status === 200, 'values are written');
  return node;
}

const rigs = {
  'one node without Redis': async () => {
    const hub = await startHub({ config: CONFIG, env: { PEAL_SHARDS: '3' } });
    return { nodes: [new Values(hub)], stop: () => hub.stop() };
  },
  'three nodes over Redis': async () => {
    const [redis, postgres] = await Promise.all([startRedis(), startPostgres()]);
    const hubs = [];
    for (let i = 0; i < 3; i++) {
      const [first] = hubs;
      const same = first && { secret: first.secret, apiKey: first.apiKey };
      hubs.push(await startHub({ redis, postgres, config: CONFIG, env: { PEAL_SHARDS: '2' }, ...same }));
    }
    const stop = async () => {
      for (const hub of hubs) await hub.stop();
      await redis.stop();
      await postgres.stop();
    };
    return { redis, nodes: await Promise.all(hubs.map((hub) => found(hub))), stop };
  },
};

for (const [name, start] of Object.entries(rigs)) {
  describe(name, () => {
    let rig;
    before(async () => {
      rig = await start();
    });
    after(() => rig?.stop());
    const any = () => pick(rig.nodes);
    // On every node, at the latest a second after it was acknowledged, and then for good.
    const everywhere = async (key, value) => {
      for (const node of rig.nodes) {
        await until(async () => JSON.stringify(await node.get(key)) === JSON.stringify(value), `${key} everywhere`, GOOD_MS + 2000);
      }
    };

    test('what is put is read on every node, whatever JSON it is', async () => {
      const values = [1, -2.5, 'täxt "\\u0000', null, true, [], { a: { b: [1, 2, { c: '' }] } }, 'x'.repeat(100_000), 9007199254740991];
      for (const value of values) {
        const key = newKey();
        const { version } = await any().put(key, value);
        for (const node of rig.nodes) {
          const { body, headers } = await node.ask('GET', key);
          assert.deepEqual(body.value, value);
          assert.equal(body.version, version);
          assert.ok(Math.abs(Date.parse(body.expiresAt) - Date.now() - 300_000) < 60_000, body.expiresAt);
          assert.equal(headers.get('x-cache'), 'HIT');
        }
        await any().put(key, { now: value });
        await everywhere(key, { now: value });
        await any().remove(key);
        await everywhere(key, undefined);
      }
    });

    test('a model of writes in turn on any node: no read is older than a second', async () => {
      const keys = Array.from({ length: 12 }, () => newKey('model'));
      const history = new Map(keys.map((key) => [key, [{ value: undefined, until: Infinity }]]));
      const now = () => performance.now();
      const become = (key, value) => {
        const list = history.get(key);
        list.at(-1).until = now();
        list.push({ value, until: Infinity });
      };
      const current = (key) => history.get(key).at(-1).value;
      const tagOf = (key) => `tag${keys.indexOf(key) % 3}`;
      const versions = new Map();
      for (let i = 0; i < (FULL ? 6000 : 600); i++) {
        const key = pick(keys);
        const node = any();
        const begun = now();
        const what = randomInt(20);
        if (what < 10) {
          const value = await node.get(key);
          const may = history.get(key).filter((entry) => entry.until > begun - GOOD_MS).map((entry) => JSON.stringify(entry.value));
          assert.ok(may.includes(JSON.stringify(value)), `${key}: ${value}, not one of ${may}`);
        } else if (what < 14) {
          const { version } = await node.put(key, i, { tags: [tagOf(key), 'model'] });
          assert.ok(version > (versions.get(key) ?? 0));
          versions.set(key, version);
          become(key, i);
        } else if (what < 16) {
          const { value, version } = await node.good('POST', `${key}/increment`, { by: 7 });
          assert.equal(value, (current(key) ?? 0) + 7);
          versions.set(key, version);
          become(key, value);
        } else if (what < 17) {
          await node.remove(key);
          become(key, undefined);
        } else if (what < 18) {
          const wrong = await node.ask('PUT', key, { value: -1, if_version: 1 });
          assert.deepEqual([wrong.status, wrong.body.error.code], [409, 'version_conflict']);
          assert.equal(wrong.body.error.version, current(key) === undefined ? 0 : versions.get(key));
          const right = await node.ask('PUT', key, { value: i, if_version: wrong.body.error.version });
          assert.equal(right.status, 200, JSON.stringify(right.body));
          versions.set(key, right.body.version);
          become(key, i);
        } else if (what < 19) {
          const got = await node.good('POST', 'mget', { keys });
          got.items.forEach((item, at) => {
            const may = history.get(keys[at]).filter((entry) => entry.until > begun - GOOD_MS).map((entry) => JSON.stringify(entry.value));
            assert.ok(may.includes(JSON.stringify(item?.value)), keys[at]);
          });
        } else {
          const count = keys.filter((one) => current(one) !== undefined).length;
          assert.equal(await node.invalidate({ pattern: 'model:*' }), count);
          for (const one of keys) become(one, undefined);
        }
      }
    });

    test('increments from everywhere at once are all counted', async () => {
      const key = newKey();
      const each = FULL ? 500 : 60;
      await Promise.all(rig.nodes.flatMap((node) => Array.from({ length: each }, () => node.good('POST', `${key}/increment`, {}))));
      await everywhere(key, each * rig.nodes.length);
      const { expiresAt } = (await any().ask('GET', key)).body;
      assert.equal((await any().good('POST', `${key}/increment`, { by: -1, ttl: 1 })).expiresAt, expiresAt);
    });

    test('of many callers of one absent key one fills, and all have the value', async () => {
      const key = newKey();
      let fills = 0;
      const answers = await Promise.all(Array.from({ length: CALLERS }, async (_, i) => {
        const node = rig.nodes[i % rig.nodes.length];
        const { status, body } = await node.lease(key, 30);
        assert.equal(status, 200, JSON.stringify(body));
        if (!('fill' in body)) return body.value;
        assert.equal(typeof body.fill, 'string');
        fills++;
        await pause(50); // it takes a while to compute
        await node.put(key, 'made', { lease: body.fill });
        return 'made';
      }));
      assert.equal(fills, 1);
      assert.ok(answers.every((value) => value === 'made'));
      for (const node of [...rig.nodes, ...rig.nodes]) { // who comes later finds it, too, and it stays
        assert.equal((await node.lease(key)).body.value, 'made');
        assert.equal(await node.get(key), 'made');
      }
    });

    test('who fills too late is refused, and it is the turn of one who waits', async () => {
      const key = newKey();
      const first = (await any().lease(key)).body.fill;
      assert.equal((await any().lease(key)).body.fill, null); // does not wait: computes it
      const { body } = await any().lease(key, 30);
      assert.equal(typeof body.fill, 'string');
      const late = await any().ask('PUT', key, { value: 1, lease: first });
      assert.deepEqual([late.status, late.body.error.code, late.body.error.field], [409, 'lease_lost', 'lease']);
      await any().put(key, 2, { lease: body.fill });
      await everywhere(key, 2);
    });

    test('what is let go is not put back by who began to fill before', async () => {
      const [byName, byPrefix, byTag] = [newKey(), newKey('pre'), newKey()];
      const fill = async (key) => (await any().lease(key)).body.fill;
      const leases = [await fill(byName), await fill(byPrefix), await fill(byTag)];
      await any().remove(byName);
      await any().invalidate({ pattern: 'pre:*' });
      await any().invalidate({ tags: ['late'] });
      const put = (key, lease, more) => any().ask('PUT', key, { value: 1, lease, ...more });
      assert.equal((await put(byName, leases[0])).status, 409);
      assert.equal((await put(byPrefix, leases[1])).status, 409);
      for (const nobodys of ['nobodys', 'x:y', 'x:', 'x:-1']) {
        assert.equal((await put(byTag, nobodys, { tags: ['late'] })).status, 409, nobodys);
      }
      assert.equal((await put(byTag, leases[2], { tags: ['late'] })).status, 409);
      assert.equal((await put(byTag, leases[2], { tags: ['other'] })).status, 200);
      for (const node of rig.nodes) assert.doesNotMatch(node.hub.log, /VALUES-REFUSED/); // Redis had no fault to find
    });

    test('a value that has ended is shown while somebody fills the next one', async () => {
      const key = newKey();
      await any().put(key, 'old', { ttl: 1 });
      await until(async () => (await any().get(key)) === undefined, 'the end of it');
      const node = any();
      const { body } = await node.lease(key);
      assert.equal(typeof body.fill, 'string');
      for (const other of rig.nodes) {
        const seen = await other.ask('GET', key);
        assert.deepEqual([seen.status, seen.body.value, seen.headers.get('x-cache')], [200, 'old', 'STALE']);
        const waiting = await other.lease(key, 10);
        assert.deepEqual([waiting.body.value, waiting.headers.get('x-cache')], ['old', 'STALE']);
      }
      await node.put(key, 'new', { lease: body.fill });
      await everywhere(key, 'new');
    });

    test('tags and prefixes let go what they name, on every node, and nothing else', async () => {
      const count = 150; // more than a step of a small set
      const tag = newKey('tag');
      const put = Array.from({ length: count }, (_, i) => ({ key: `${i % 2 ? 'odd' : 'even'}:${tag}:${i}`, value: i, tags: [tag, `${tag}:${i % 3}`] }));
      const { items } = await any().good('POST', 'mset', { items: put });
      assert.ok(items.every(({ version }) => version > 0));
      const there = async (node) => (await node.good('POST', 'mget', { keys: put.map(({ key }) => key) })).items.map((item) => item !== null);
      for (const node of rig.nodes) assert.ok((await there(node)).every(Boolean));
      assert.equal(await any().invalidate({ tags: [`${tag}:1`, 'nobody'] }), count / 3);
      assert.equal(await any().invalidate({ tags: [`${tag}:1`] }), 0);
      await pause(GOOD_MS);
      for (const node of rig.nodes) assert.deepEqual(await there(node), put.map((_, i) => i % 3 !== 1));
      const even = put.filter((_, i) => i % 2 === 0 && i % 3 !== 1).length;
      assert.equal(await any().invalidate({ pattern: `even:${tag}:*` }), even);
      await pause(GOOD_MS);
      for (const node of rig.nodes) assert.deepEqual(await there(node), put.map((_, i) => i % 3 !== 1 && i % 2 === 1));
      // put again it is found by its tags again
      await any().put(put[1].key, 1, { tags: [tag] });
      assert.equal(await any().invalidate({ tags: [tag] }), put.filter((_, i) => i % 2 === 1 && i % 3 !== 1).length + 1);
    });

    test('what is asked wrongly is refused by its field', async () => {
      const node = any();
      const long = 'x'.repeat(201);
      const wrong = [
        ['PUT', long, { value: 1 }, 422, 'key'],
        ['PUT', 'stats', { value: 1 }, 422, 'key'],
        ['PUT', 'k', {}, 422, 'value'],
        ['PUT', 'k', { value: 1, room: 'public/a' }, 422, 'room'],
        ['PUT', 'k', { value: 1, room: 7 }, 422, 'room'],
        ['POST', 'mset', { items: [{ key: 'a', value: 1, room: '' }] }, 422, 'room', 0],
        ['PUT', 'k', { value: 1, ttl: 0 }, 422, 'ttl'],
        ['PUT', 'k', { value: 1, ttl: 1.5 }, 422, 'ttl'],
        ['PUT', 'k', { value: 1, ttl: 1e9 }, 422, 'ttl'],
        ['PUT', 'k', { value: 1, tags: 'a' }, 422, 'tags'],
        ['PUT', 'k', { value: 1, tags: ['a/b'] }, 422, 'tags'],
        ['PUT', 'k', { value: 1, tags: Array.from({ length: 17 }, (_, i) => `t${i}`) }, 422, 'tags'],
        ['PUT', 'k', { value: 1, if_version: '1' }, 422, 'if_version'],
        ['PUT', 'k', { value: 1, compress: 1 }, 422, 'compress'],
        ['PUT', 'k', { value: 1, lease: long }, 422, 'lease'],
        ['PUT', 'k', { value: 1, lease: 'nobodys' }, 409, 'lease'],
        ['PUT', 'k', { value: 'x'.repeat(1 << 20) }, 413, 'value'],
        ['POST', 'mget', { keys: [] }, 422, 'keys'],
        ['POST', 'mget', { keys: 'a' }, 422, 'keys'],
        ['POST', 'mget', { keys: ['a', 1] }, 422, 'key', 1],
        ['POST', 'mget', { keys: Array.from({ length: 1001 }, () => 'a') }, 413, 'keys'],
        ['POST', 'mset', { items: [{ key: 'a', value: 1 }, { key: 'a', value: 2 }] }, 422, 'key', 1],
        ['POST', 'mset', { items: [{ key: 'a', value: 1 }, { key: 'b' }] }, 422, 'value', 1],
        ['POST', 'mset', { items: [1] }, 422, 'items', 0],
        ['POST', 'k/increment', { by: 0.5 }, 422, 'by'],
        ['POST', 'k/lease', { wait: 31 }, 422, 'wait'],
        ['POST', 'invalidate', {}, 422, 'tags'],
        ['POST', 'invalidate', { tags: ['a'], pattern: 'a*' }, 422, 'tags'],
        ['POST', 'invalidate', { tags: [] }, 422, 'tags'],
        ['POST', 'invalidate', { pattern: 'a' }, 422, 'pattern'],
        ['POST', 'invalidate', { pattern: '*' }, 422, 'pattern'],
      ];
      for (const [method, path, body, status, field, index] of wrong) {
        const answer = await node.ask(method, path, body);
        assert.deepEqual([answer.status, answer.body.error?.field, answer.body.error?.index], [status, field, index], `${method} ${path} ${JSON.stringify(body).slice(0, 80)}: ${JSON.stringify(answer.body)}`);
      }
      await node.put('text', 'no number');
      const { body } = await node.ask('POST', 'text/increment', {});
      assert.equal(body.error.field, 'key');
      await node.put('large', 9007199254740991);
      await node.good('POST', 'large/increment', { by: 1 });
      assert.equal((await node.ask('GET', 'k')).status, 404);
      assert.equal((await new Values(node.hub, node.hub.apiKey).ask('GET', 'k')).status, 403);
    });

    test('statistics say what was done, and count keys by their prefix', async () => {
      const prefix = newKey('counted').replaceAll(':', '-');
      const node = any();
      const earlier = await node.good('GET', 'stats');
      for (let i = 0; i < 5; i++) await node.put(`${prefix}:${i}`, i);
      for (let i = 0; i < 5; i++) assert.equal(await node.get(`${prefix}:${i}`), i);
      assert.equal(await node.get(`${prefix}:none`), undefined);
      const { node: counts, prefixes, redis } = await node.good('GET', 'stats');
      assert.ok(counts.hits >= earlier.node.hits + 5 && counts.misses >= earlier.node.misses + 1, JSON.stringify(counts));
      assert.equal(prefixes.find((entry) => entry.prefix === `${prefix}:`)?.keys, 5, JSON.stringify(prefixes));
      assert.equal(redis !== null && redis.usedBytes > 0, rig.redis !== undefined);
    });

    test('a value of a kilobyte and more is kept deflated, unless it is told not to', async () => {
      const text = 'deflated '.repeat(20_000);
      const size = async () => (await any().good('GET', 'stats')).node.bytes;
      const [one, two] = [newKey(), newKey()];
      const sizes = [await size()];
      if (rig.nodes.length === 1) {
        await any().put(one, text);
        sizes.push(await size());
        await any().put(two, text, { compress: false });
        sizes.push(await size());
        assert.ok(sizes[1] - sizes[0] < text.length / 5, String(sizes));
        assert.ok(sizes[2] - sizes[1] > text.length, String(sizes));
      } else {
        await any().put(one, text);
        await any().put(two, text, { compress: false });
        const client = rig.redis.client();
        const lengths = await Promise.all([one, two].map(async (key) => {
          const [name] = await client.keys(`peal:values:{*}:v:/${key}`);
          return client.hstrlen(name, 'v');
        }));
        assert.ok(lengths[0] < text.length / 5 && lengths[1] > text.length, String(lengths));
      }
      await everywhere(one, text);
      await everywhere(two, text);
    });
  });
}

test('tenants do not see each other', async () => {
  const config = `${API_KEY}api_key "one" { key = "one-0123456789abcd" scopes = {values} tenant = "one" }\nauth { tenants = on }\n`;
  const hub = await startHub({ config });
  const [one, two] = [new Values(hub, KEY, 'one'), new Values(hub, KEY, 'two')];
  const bound = new Values(hub, 'one-0123456789abcd');
  await one.put('a', 1, { tags: ['t'] });
  await two.put('a', 2, { tags: ['t'] });
  assert.deepEqual([await one.get('a'), await two.get('a'), await bound.get('a')], [1, 2, 1]);
  assert.equal((await new Values(hub, 'one-0123456789abcd', 'two').ask('GET', 'a')).status, 403);
  assert.equal(await bound.invalidate({ tags: ['t'] }), 1);
  assert.deepEqual([await one.get('a'), await two.get('a')], [undefined, 2]);
  assert.equal(await bound.invalidate({ pattern: 'a*' }), 0);
  assert.deepEqual((await bound.good('GET', 'stats')).prefixes, []);
  await hub.stop();
});

test('memory is bounded, whatever is put, and the node says what went', async () => {
  const most = 4 << 20;
  const hub = await startHub({ config: `${API_KEY}values { bytes = 4MiB }\n`, env: { PEAL_SHARDS: '2' } });
  const node = new Values(hub);
  await hub.logged(/VALUES-LOCAL/);
  const value = Array.from({ length: 2000 }, () => randomInt(1e9).toString(36)).join('');
  for (let i = 0; i * value.length < 10 * most; i += 50) {
    const items = Array.from({ length: 50 }, (_, j) => ({ key: `many:${i + j}`, value }));
    await node.good('POST', 'mset', { items });
    assert.ok((await node.good('GET', 'stats')).node.bytes <= most);
  }
  await until(async () => (await hub.metric('peal_values_evictions_total')) > 0, 'evictions are told');
  const big = await node.ask('PUT', 'big', { value: 'y'.repeat(900_000), compress: false });
  assert.deepEqual([big.status, big.body.error.code], [413, 'too_large']);
  await hub.stop();
});

test('Redis away: reads miss, writes are 503, leases say to compute it; back and empty, nothing old is served', async () => {
  const redis = await startRedis({ durable: false });
  const hub = await startHub({ redis, config: CONFIG, env: { PEAL_SHARDS: '2' } });
  const node = await found(hub);
  const keys = Array.from({ length: 20 }, () => newKey('away'));
  for (const key of keys) await node.put(key, 'before');
  for (const key of keys) assert.equal(await node.get(key), 'before');
  await redis.kill();
  await until(async () => (await node.ask('PUT', keys[0], { value: 1 })).status === 503, 'writes are refused');
  for (const key of keys) assert.equal(await node.get(key), undefined);
  assert.deepEqual((await node.lease(keys[0], 5)).body, { fill: null });
  assert.equal((await node.ask('POST', 'invalidate', { pattern: 'a*' })).status, 503);
  assert.deepEqual((await node.good('POST', 'mget', { keys: keys.slice(0, 2) })).items, [null, null]);
  await redis.restart();
  await until(async () => (await node.ask('PUT', 'back', { value: 1 })).status === 200, 'writes go on');
  for (const key of keys) assert.equal(await node.get(key), undefined);
  const { localHits } = (await node.good('GET', 'stats')).node;
  await until(async () => {
    assert.equal(await node.get('back'), 1);
    return (await node.good('GET', 'stats')).node.localHits > localHits;
  }, 'memory is used again');
  await hub.stop();
  await redis.stop();
});

test('a node that does not hear what others change serves nothing from memory, and says so', async () => {
  const [redis, postgres] = await Promise.all([startRedis(), startPostgres()]);
  const deaf = await startHub({ redis, postgres, config: CONFIG, env: { PEAL_SHARDS: '1' } });
  const other = await startHub({ redis, postgres, config: CONFIG, secret: deaf.secret, apiKey: deaf.apiKey, env: { PEAL_SHARDS: '1' } });
  try {
    const [here, there] = [await found(deaf), await found(other)];
    const key = newKey();
    await here.put(key, 'old');
    await until(async () => {
      const before = (await here.good('GET', 'stats')).node.localHits;
      return (await here.get(key)) === 'old' && (await here.good('GET', 'stats')).node.localHits > before;
    }, 'it is read from memory');
    deaf.pause();
    await there.put(key, 'new');
    await pause(GOOD_MS);
    deaf.resume();
    assert.equal(await here.get(key), 'new'); // a second has passed: whatever has not come yet, Redis is asked
  } finally { // also where it fails: nothing may keep the file from its end
    await other.stop();
    await deaf.stop();
    await redis.stop();
    await postgres.stop();
  }
});

// The values that clients may read, and those that they may not.
const TYPES = `value_type "board" { }
value_type "own" { access = {"pattern:own:{sub}"} }
value_type "words" { access = {any} match = {"motd", "flag*"} }
value_type "staff" { access = {"role:staff"} }
value_type "shut" { access = {"deny"} }
`;

// One call, in each of the ways in: {ok, …} as the client is answered.
const WAYS = {
  'Socket.IO': async (hub, user, claims) => {
    const socket = hub.socketIo(user, { claims });
    await within(new Promise((resolve) => socket.once('hub:ready', resolve)), 'hub:ready');
    return (...args) => within(socket.emitWithAck('value:get', ...args), 'value:get');
  },
  '/ws': async (hub, user, claims) => {
    const client = await hub.plain(user, { claims });
    return (...args) => client.request('value:get', ...args);
  },
  '/ws in MessagePack': async (hub, user, claims) => {
    const client = await hub.plain(user, { claims, encoding: 'msgpack' });
    return (...args) => client.request('value:get', ...args);
  },
};

for (const [name, connect] of Object.entries(WAYS)) {
  test(`clients read what a value_type opens to them, over ${name}`, async () => {
    const redis = await startRedis();
    const hub = await startHub({ redis, config: CONFIG + TYPES + 'limits { outbound_bytes = 16KiB outbound_max = 64KiB }\n', env: { PEAL_SHARDS: '3' } });
    const node = new Values(hub);
    const ann = await connect(hub, 'ann', { role: 'staff' });
    const bob = await connect(hub, 'bob', {});
    const [board, large, huge] = [newKey('board'), newKey('board'), newKey('board')];
    const put = await node.put(board, { täxt: [1, null, '\u0001'] });
    await node.put(large, 'large '.repeat(6000));
    await node.put(huge, 'huge '.repeat(20_000));
    for (const key of ['own:ann', 'staff:x', 'shut:x', 'other:x', 'motd', 'flags', 'board']) await node.put(key, key);

    for (const argument of [{ key: board }, board]) {
      const { ok, value, version, expiresAt, ...rest } = await bob(argument);
      assert.deepEqual({ ok, value, version, expiresAt, rest }, { ok: true, value: { täxt: [1, null, '\u0001'] }, ...put, rest: {} });
    }
    assert.equal((await bob(large)).value, 'large '.repeat(6000));
    assert.equal((await bob(huge)).error, 'too_large'); // more than may wait for a client: it is told so, and goes on
    const many = await Promise.all(Array.from({ length: 10 }, () => bob(large))); // more than may wait at once
    assert.ok(many.every((answer) => answer.value === 'large '.repeat(6000) || answer.error === 'rate_limited'), JSON.stringify(many).slice(0, 300));
    assert.ok(many.some((answer) => answer.ok));
    const may = async (call, key) => {
      const answer = await call({ key });
      assert.ok(answer.ok ? answer.value === key : answer.error === 'forbidden', JSON.stringify(answer));
      return answer.ok;
    };
    const keys = ['own:ann', 'staff:x', 'shut:x', 'other:x', 'motd', 'flags', 'board'];
    const allowed = async (call) => {
      const list = [];
      for (const key of keys) if (await may(call, key)) list.push(key);
      return list;
    };
    assert.deepEqual(await allowed(ann), ['own:ann', 'staff:x', 'motd', 'flags']);
    assert.deepEqual(await allowed(bob), ['motd', 'flags']);
    assert.equal((await ann('own:bob')).error, 'forbidden');
    assert.equal((await bob(newKey('board'))).error, 'not_found');
    for (const wrong of ['', 'a/b', 'x'.repeat(201), 7, {}, { key: null }, ['board'], undefined]) {
      const answer = wrong === undefined ? await bob() : await bob(wrong);
      assert.deepEqual([answer.ok, answer.error, answer.field], [false, 'invalid_field', 'key'], JSON.stringify(wrong));
    }

    await node.put('board:ends', 'was', { ttl: 1 });
    await until(async () => (await bob('board:ends')).error === 'not_found', 'its end');
    const { fill } = (await node.lease('board:ends')).body;
    const stale = await bob('board:ends');
    assert.deepEqual([stale.value, stale.stale], ['was', true]);
    await node.put('board:ends', 'is', { lease: fill });
    await until(async () => (await bob('board:ends')).value === 'is', 'what was filled');
    await redis.kill();
    await until(async () => (await bob(board)).error === 'not_found', 'Redis is away: it is not there');
    await redis.restart();
    await hub.stop();
    await redis.stop();
  });
}

test('clients read values of their own tenant, and none without a value_type', async () => {
  const hub = await startHub({ config: `${API_KEY}${TYPES}auth { tenants = on }\n` });
  const [one, two, none] = [new Values(hub, KEY, 'one'), new Values(hub, KEY, 'two'), new Values(hub)];
  await one.put('board:a', 1);
  await two.put('board:a', 2);
  await none.put('board:a', 0);
  for (const [tenant, value] of [['one', 1], ['two', 2], [undefined, 0]]) {
    const client = await hub.plain('ann', { claims: tenant && { tenant } });
    assert.equal((await client.request('value:get', 'board:a')).value, value);
  }
  await hub.stop();

  const shut = await startHub({ config: API_KEY });
  await new Values(shut).put('board:a', 1);
  const client = await shut.plain('ann');
  assert.equal((await client.request('value:get', 'board:a')).error, 'forbidden');
  await shut.stop();
});

test('a value_type that is loaded again holds from then on', async () => {
  const hub = await startHub({ config: API_KEY });
  await new Values(hub).put('board:a', 1);
  const client = await hub.plain('ann');
  assert.equal((await client.request('value:get', 'board:a')).error, 'forbidden');
  hub.options.config = API_KEY + TYPES;
  hub.arguments(); // writes the file
  hub.reload();
  await until(async () => (await client.request('value:get', 'board:a')).value === 1, 'it is opened');
  await hub.stop();
});

test('peal.js reads values', async () => {
  const hub = await startHub({ config: API_KEY + TYPES });
  const { version, expiresAt } = await new Values(hub).put('board:a', { n: 1 });
  const peal = await new Peal({ WebSocket }).connect(hub.url, { token: () => hub.token('ann') });
  assert.deepEqual(await peal.value('board:a'), { value: { n: 1 }, version, expiresAt });
  await assert.rejects(peal.value('board:none'), { code: 'not_found' });
  await assert.rejects(peal.value('shut:x'), { code: 'forbidden' });
  peal.close();
  await hub.stop();
});

test('who goes before the answer is told nothing, and the node goes on', async () => {
  const redis = await startRedis();
  const hub = await startHub({ redis, config: API_KEY + TYPES, env: { PEAL_SHARDS: '3' } });
  const node = new Values(hub);
  await node.put('board:a', 'x'.repeat(10_000));
  for (let i = 0; i < 30; i++) {
    const client = await hub.plain(`user-${i}`);
    const packets = Array.from({ length: 50 }, (_, n) => [n + 1, 'value:get', `board:${n % 2 ? 'a' : n}`]);
    await new Promise((resolve) => client.socket.send(JSON.stringify(packets), resolve));
    client.cut();
  }
  await until(async () => {
    const { hits, misses } = (await node.good('GET', 'stats')).node;
    return hits > 0 && misses > 0;
  }, 'some of them were read');
  const client = await hub.plain('ann');
  assert.equal((await client.request('value:get', 'board:a')).ok, true);
  await hub.stop();
  await redis.stop();
});
