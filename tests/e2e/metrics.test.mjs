// SPDX-License-Identifier: Apache-2.0
// Metrics of applications: what is posted anywhere is what a summary tells everywhere, also when Redis was killed
// meanwhile and when a node has ended; what can be none is refused by its field; Prometheus reads them.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { after, before, describe, test } from 'node:test';
import { startHub } from './support/hub.mjs';
import { startPostgres } from './support/postgres.mjs';
import { startRedis } from './support/redis.mjs';
import { until } from './support/wait.mjs';

const KEY = 'metrics-metrics-metrics';
const config = (more = '') => `api_key "apps" { key = "${KEY}" scopes = {metrics} }\nmetrics { flush = 200ms ${more} }\n`;
const WITH = { authorization: `Bearer ${KEY}` };
const PATH = '/api/v1/metrics';

const post = (hub, body, headers = {}) => hub.api('POST', PATH, body, { ...WITH, ...headers });
const summary = async (hub, query = '') => {
  const { status, body } = await hub.api('GET', `${PATH}/summary${query}`);
  assert.equal(status, 200, JSON.stringify(body));
  return body;
};
const seriesOf = (body, name, whose = 'app') => body[whose].series.filter((one) => one.name === name);
const sumOf = (body, name) => seriesOf(body, name).reduce((sum, one) => sum + one.sum, 0);
const counter = (name, value = 1, tags = undefined) => ({ name, type: 'counter', value, tags });
const timer = (name, value, tags) => ({ name, type: 'timer', value, tags });
const accepted = async (answer) => assert.equal((await answer).status, 202, JSON.stringify((await answer).body));

describe('two nodes over one Redis', () => {
  let redis;
  let postgres;
  let hubs;

  before(async () => {
    [redis, postgres] = await Promise.all([startRedis(), startPostgres()]);
    const first = await startHub({ redis, postgres, config: config('series = 20') });
    const { secret, apiKey } = first;
    hubs = [first, await startHub({ redis, postgres, config: config('series = 20'), secret, apiKey })];
  });

  after(async () => {
    await Promise.all((hubs ?? []).map((hub) => hub.stop()));
    await Promise.all([redis?.stop(), postgres?.stop()]);
  });

  const everywhere = (name, sum) => Promise.all(hubs.map((hub) =>
    until(async () => sumOf(await summary(hub), name) === sum, async () => JSON.stringify(await summary(hub)))));

  test('what was posted to any node is told by all, once', async () => {
    for (let i = 0; i < 20; i++) await accepted(post(hubs[i % 2], [counter('sold', i), timer('checkout', i)]));
    await everywhere('sold', 190);
    for (const hub of hubs) {
      const body = await summary(hub);
      const [checkout] = seriesOf(body, 'checkout');
      assert.deepEqual([checkout.count, checkout.sum, checkout.min, checkout.max], [20, 190, 0, 19]);
      assert.ok(Math.abs(checkout.p95 - 18) <= 18 * 0.02, `${checkout.p95}`);
      assert.equal(body.complete, true);
      assert.deepEqual([checkout.before.count, checkout.before.sum], [0, 0]);
    }
  });

  test('a Redis that is killed loses nothing of it: what was not written is written again', async () => {
    await accepted(post(hubs[0], counter('steady')));
    await everywhere('steady', 1);
    await redis.kill();
    await until(async () => (await summary(hubs[0])).complete === false, 'Redis is away');
    for (let i = 0; i < 10; i++) await accepted(post(hubs[i % 2], counter('steady')).then(async (answer) => {
      if (i % 2 === 0) return answer; // the other node has not met it
      assert.equal(answer.status, 503, JSON.stringify(answer.body));
      return post(hubs[0], counter('steady'));
    }));
    assert.equal(sumOf(await summary(hubs[0]), 'steady'), 11, 'what this node has is told meanwhile');
    await until(async () => (await hubs[0].metric('peal_metrics_write_failures_total')) > 0, 'it was tried');
    await hubs[0].logged(/ METRICS-UNWRITTEN /);
    await redis.restart();
    await everywhere('steady', 11);
    await everywhere('sold', 190);
    assert.equal((await hubs[0].metric('peal_metrics_lost_total')), 0);
  });

  test('no tenant has more series than it may, on all nodes together', async () => {
    const answers = [];
    for (let i = 0; i < 30; i++) answers.push(await post(hubs[i % 2], counter('many', 1, { place: i })));
    const refused = answers.filter(({ status }) => status === 422);
    assert.equal(refused[0]?.body.error.field, 'name');
    const { app } = await summary(hubs[0]);
    await until(async () => (await summary(hubs[0])).app.series.length === 20, () => JSON.stringify(app.series));
    assert.equal(answers.filter(({ status }) => status === 202).length + 3, 20, 'sold, checkout, steady, and these');
    await Promise.any(hubs.map((hub) => hub.logged(/ METRICS-OVER .*many/)));
    assert.ok((await hubs[0].metric('peal_metrics_over_total')) + (await hubs[1].metric('peal_metrics_over_total')) >= 13);
    await accepted(post(hubs[0], counter('many', 1, { place: 0 })));
  });

  test('a node that ends leaves what it has, at once', async () => {
    const [first, second] = hubs;
    await accepted(post(second, counter('sold', 1000)));
    await second.stop();
    await until(async () => sumOf(await summary(first), 'sold') === 1190, 'the other one tells of it');
    await second.restart();
    await everywhere('sold', 1190);
  });

  test('what is kept in Redis has an end, lies in one slot and says its version', async () => {
    const client = redis.client();
    const keys = await client.keys('peal:series:*');
    assert.ok(keys.length > 0);
    for (const key of keys) {
      assert.match(key, /^peal:series:\{\d+\}:[0-9a-f-]+\//);
      const ms = await client.pttl(key);
      assert.ok(ms > 0 && ms <= 86_700_000, `${key}: ${ms}`);
    }
    const bucket = keys.find((key) => /\/\d+$/.test(key));
    for (const text of Object.values(await client.hgetall(bucket))) assert.match(text, /^\d+ [cgt]/);
  });
});

describe('one node', () => {
  let hub;

  before(async () => {
    hub = await startHub({ config: config() });
  });

  after(() => hub?.stop());

  test('what can be none is refused by its field, and its place in an array', async () => {
    const good = counter('a');
    const now = Date.now();
    const bad = [
      [{ ...good, name: undefined }, 'name'], [{ ...good, name: 7 }, 'name'], [{ ...good, name: '' }, 'name'],
      [{ ...good, name: '1a' }, 'name'], [{ ...good, name: 'a b' }, 'name'], [{ ...good, name: 'x'.repeat(65) }, 'name'],
      [{ ...good, type: 'gauge', name: 'a_total' }, 'name'], [{ ...good, type: 'timer', name: 'a_bucket' }, 'name'],
      [{ ...good, type: 'histogram' }, 'type'], [{ ...good, type: undefined }, 'type'],
      [{ ...good, value: '1' }, 'value'], [{ ...good, value: undefined }, 'value'], [{ ...good, value: -1 }, 'value'],
      [{ ...good, value: 1e300 }, 'value'], [{ ...timer('a', -1) }, 'value'],
      [{ ...timer('a', 1), unit: 'min' }, 'unit'], [{ ...good, unit: 'x'.repeat(17) }, 'unit'], [{ ...good, unit: 1 }, 'unit'],
      [counter('a', 1, []), 'tags'], [counter('a', 1, { b: null }), 'tags'], [counter('a', 1, { b: {} }), 'tags'],
      [counter('a', 1, { 'b-c': 1 }), 'tags'], [counter('a', 1, { le: 1 }), 'tags'], [counter('a', 1, { userId: 1 }), 'tags'],
      [counter('a', 1, { b: 'x'.repeat(129) }), 'tags'], [counter('a', 1, { b: 'a\nb' }), 'tags'],
      [counter('a', 1, Object.fromEntries([...'abcdefghi'].map((name) => [name, 1]))), 'tags'],
      [{ ...good, timestamp: now - 400_000 }, 'timestamp'], [{ ...good, timestamp: now + 120_000 }, 'timestamp'],
      [{ ...good, timestamp: 'soon' }, 'timestamp'], [{ ...good, vaule: 1 }, 'vaule'],
    ];
    for (const [body, field] of bad) {
      const { status, body: answer } = await post(hub, body);
      assert.deepEqual([status, answer.error?.code, answer.error?.field], [422, 'invalid_field', field], JSON.stringify(body));
      const many = await post(hub, [good, body]);
      assert.deepEqual([many.status, many.body.error.field], [422, field]);
      if (field !== 'vaule') assert.equal(many.body.error.index, 1);
    }
    for (const body of [7, 'text', null]) assert.equal((await post(hub, body)).status, 400);
    assert.equal((await post(hub, [])).status, 422);
    assert.equal((await post(hub, [7])).status, 422);
    assert.equal((await post(hub, Array.from({ length: 1001 }, () => good))).status, 413);
    assert.equal((await hub.api('POST', PATH, good)).status, 403, 'a key without the scope');
    assert.equal((await hub.api('GET', `${PATH}/summary`, undefined, WITH)).status, 403);
    assert.equal(seriesOf(await summary(hub), 'a').length, 0, 'nothing of it was counted');
    for (const [query, field] of [['range=1x', 'range'], ['range=25h', 'range'], ['range=45s', 'range'], ['range=h', 'range'],
      ['points=289', 'points'], ['points=x', 'points'], ['series=no', 'series']]) {
      const { status, body } = await hub.api('GET', `${PATH}/summary?${query}`);
      assert.deepEqual([status, body.error.field], [422, field], query);
    }
  });

  test('figures are made of series by their names, as for Peal itself', async () => {
    await accepted(post(hub, [
      ...Array.from({ length: 9 }, (_, i) => timer('request', i + 1, { status: 200 })), timer('request', 10, { status: 503 }),
      counter('cache.hit', 3), counter('cache.miss', 1), counter('job', 2), timer('query', 5, { success: true }),
      timer('query', 7, { success: false }), { name: 'connections', type: 'gauge', value: 12, tags: { server: 'a' } },
      { name: 'connections', type: 'gauge', value: 30, tags: { server: 'b' } }, { ...timer('slow', 1.5), unit: 's' },
      { ...counter('late'), timestamp: new Date(Date.now() - 60_000).toISOString() },
    ]));
    const body = await summary(hub, '?range=1h&points=60');
    const { requests, mean, errorRate, hitRate, jobs, queries, queryMean, queriesFailed, connections } = body.app.now;
    assert.deepEqual({ requests, mean, errorRate, hitRate, jobs, queries, queryMean, queriesFailed, connections },
      { requests: 10, mean: 5.5, errorRate: 10, hitRate: 75, jobs: 2, queries: 2, queryMean: 6, queriesFailed: 1, connections: 42 });
    assert.equal(seriesOf(body, 'slow')[0].sum, 1500);
    assert.deepEqual([body.step, body.app.points.length], [60, 60]);
    assert.equal(body.app.points.reduce((sum, point) => sum + point.requests, 0), 10);
    assert.equal(body.app.before.requests, 0);
    assert.equal((await summary(hub, '?range=24h')).app.before, null, 'it is not kept for so long');
    assert.equal((await summary(hub, '?series=false')).app.series, undefined);
    const refused = seriesOf(body, 'request', 'peal').find(({ tags }) => tags.route === PATH && tags.class === '4xx');
    assert.ok(refused.count > 50, JSON.stringify(refused));
    assert.ok(body.peal.now.requests > 50 && body.peal.now.queries > 0 && body.peal.now.connections > 0, JSON.stringify(body.peal.now));
    assert.ok(seriesOf(body, 'query', 'peal').some(({ tags }) => tags.statement.length > 0));
  });

  test('Prometheus reads them', async () => {
    await accepted(post(hub, [timer('page.load', 30, { page: 'a "b" \\c' }), { ...counter('paid', 2.5), unit: 'EUR' },
      { name: 'queue.length', type: 'gauge', value: 7 }]));
    const text = (await hub.askInternal('/metrics')).body;
    assert.match(text, /^# TYPE peal_app_page_load_seconds histogram$/m);
    assert.match(text, /^peal_app_page_load_seconds_bucket\{page="a \\"b\\" \\\\c",le="0\.025"\} 0$/m);
    assert.match(text, /^peal_app_page_load_seconds_bucket\{page="a \\"b\\" \\\\c",le="0\.05"\} 1$/m);
    assert.match(text, /^peal_app_page_load_seconds_sum\{page="a \\"b\\" \\\\c"\} 0\.03$/m);
    assert.match(text, /^peal_app_paid_total\{unit="EUR"\} 2\.5$/m);
    assert.match(text, /^peal_app_queue_length 7$/m);
    const { error, status, stdout, stderr } = spawnSync('promtool', ['check', 'metrics'], { input: text, encoding: 'utf8' });
    if (!error) assert.equal(status, 0, stdout + stderr);
    const helps = [...text.matchAll(/^# TYPE (\S+)/gm)].map(([, name]) => name);
    assert.equal(new Set(helps).size, helps.length, 'each once');
  });
});

test('tenants see their own, and nobody Peal\'s', async () => {
  const key = (tenant) => `key-of-${tenant}-key-of-${tenant}`;
  const hub = await startHub({ config: `auth { tenants = on }\nmetrics { flush = 200ms series = 1 }\n${['red', 'blue'].map((tenant) =>
    `api_key "${tenant}" { key = "${key(tenant)}" scopes = {metrics, read} tenant = "${tenant}" }`).join('\n')}\n` });
  try {
    const as = (tenant) => ({ authorization: `Bearer ${key(tenant)}` });
    await accepted(hub.api('POST', PATH, counter('sold', 1), as('red')));
    await accepted(hub.api('POST', PATH, counter('sold', 2), as('blue')));
    assert.equal((await hub.api('POST', PATH, counter('more'), as('red'))).status, 422, 'each has its bound');
    for (const [tenant, sum] of [['red', 1], ['blue', 2]]) {
      const { body } = await hub.api('GET', `${PATH}/summary`, undefined, as(tenant));
      assert.equal(sumOf(body, 'sold'), sum);
      assert.equal(body.peal, undefined);
    }
    assert.equal((await hub.api('GET', `${PATH}/summary?tenant=blue`, undefined, as('red'))).status, 403);
    const text = (await hub.askInternal('/metrics')).body;
    assert.match(text, /^peal_app_sold_total\{tenant="red"\} 1$/m);
    assert.match(text, /^peal_app_sold_total\{tenant="blue"\} 2$/m);
  } finally {
    await hub.stop();
  }
});
