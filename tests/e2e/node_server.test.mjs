// SPDX-License-Identifier: Apache-2.0
// clients/node with a fetch that the test plays: what is repeated and what is not, deadlines, and caches
// that go on without the hub.
import assert from 'node:assert/strict';
import { inspect } from 'node:util';
import { describe, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { PealError, PealServer } from '../../clients/node/index.js';
import { until, within } from './support/wait.mjs';

const KEY = 'a-secret-key-0123456789';
const json = (status, body, headers = {}) => new Response(body === undefined ? null : JSON.stringify(body), { status, headers });
const refused = (status, code, more = {}, headers = {}) => json(status, { error: { code, message: code, ...more } }, headers);
const lost = (code, message = 'fetch failed') => {
  throw Object.assign(new TypeError(message), { cause: Object.assign(new Error(code), { code }) });
};

// The hub never answers; it is only given up.
const never = ({ signal }) => new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason)));

// A fetch that answers in turn as `answers` say, functions of what was asked; the last one for ever. What was asked
// is in `asked`.
function play(...answers) {
  const asked = [];
  const fetch = async (address, { method, headers, body, signal, redirect }) => {
    assert.equal(redirect, 'manual'); // or the key goes wherever an answer says
    const url = new URL(address);
    const request = { method, url, path: decodeURIComponent(url.pathname), headers, signal, body: body === undefined ? undefined : JSON.parse(body) };
    asked.push(request);
    const answer = answers[Math.min(asked.length, answers.length) - 1];
    return Promise.race([answer(request), never(request)]);
  };
  return { fetch, asked };
}

function make(hub, options = {}) {
  const peal = new PealServer({ url: 'http://hub.example', key: KEY, fetch: hub.fetch, ...options });
  peal.told = [];
  for (const event of ['away', 'back', 'refused']) peal.on(event, (detail) => peal.told.push([event, detail]));
  peal.heard = (event) => peal.told.filter(([name]) => name === event).length;
  return peal;
}

// The values of a hub, as far as leases go: one fills, who waits gets it, or the turn.
function playValues() {
  const values = new Map();
  const leases = new Map();
  const waiting = new Map();
  const state = { values, leases, waiting, released: [], puts: [], invalidated: [], down: null };
  let tokens = 0;
  const give = (name) => {
    const token = `t${++tokens}`;
    leases.set(name, token);
    return json(200, { fill: token });
  };
  const hit = (name) => json(200, { value: values.get(name), version: 1, expiresAt: 'x' }, { 'x-cache': 'HIT' });
  const wake = (name) => {
    const list = waiting.get(name) ?? [];
    waiting.delete(name);
    for (const resolve of list) resolve();
  };
  const lease = async (name, wait) => {
    for (;;) {
      if (values.has(name)) return hit(name);
      if (!leases.has(name)) return give(name);
      if (!wait) return json(200, { fill: null });
      await new Promise((resolve) => waiting.set(name, [...(waiting.get(name) ?? []), resolve]));
    }
  };
  const routes = {
    lease: (name, { wait }) => lease(name, wait),
    release(name, body) {
      state.released.push([name, body.lease]);
      if (leases.get(name) === body.lease) leases.delete(name);
      wake(name);
      return json(204);
    },
  };
  const hub = play((request) => {
    const down = state.down?.(request);
    if (down !== undefined) return down;
    const [name, verb] = request.path.split('/').slice(4);
    if (name === 'invalidate') {
      state.invalidated.push(request.body.tags);
      return json(200, { invalidated: 1 });
    }
    if (verb) return routes[verb](name, request.body);
    if (request.method === 'GET') return values.has(name) ? hit(name) : refused(404, 'not_found');
    if (leases.get(name) !== request.body.lease) return refused(409, 'lease_lost', { field: 'lease' });
    state.puts.push([name, request.body]);
    values.set(name, request.body.value);
    leases.delete(name);
    wake(name);
    return json(200, { version: 1, expiresAt: 'x' });
  });
  return Object.assign(state, hub);
}

const posted = () => json(201, { id: 'i', seq: 1, duplicate: false });
const of = (asked) => asked.map(({ method, path }) => `${method} ${path}`);

describe('requests', () => {
  test('what they need is checked, and nobody is shown the key', () => {
    const good = { url: 'http://hub.example', key: KEY };
    for (const bad of [{ url: 'hub' }, { url: 'ftp://hub' }, { url: 'http://a:b@hub' }, { key: '' }, { key: undefined }, { timeout: 0 },
      { retries: -1 }, { retries: 1.5 }, { slow: NaN }, { values: { timeout: -1 } }, { values: { wait: 0.5 } }]) {
      assert.throws(() => new PealServer({ ...good, ...bad }), TypeError, inspect(bad));
    }
    assert.ok(!inspect(new PealServer(good), { depth: 9, showHidden: true }).includes(KEY));
  });

  test('carry the key, keep the path of the address, and name the tenant where the route has it', async () => {
    const hub = play(() => json(200, { items: [], next: null }));
    const peal = make(hub, { url: 'https://one.example/peal/', tenant: 't 1' });
    await peal.notifications('a/b?', { state: ['seen', 'read'], from: new Date(0), after: undefined, limit: 5 });
    await peal.publish([{ event: 'e', to: { all: true } }, { event: 'f', to: { all: true }, tenant: 'other' }]);
    await peal.post({ user: 'u', type: 't' });
    const [read, publish, post] = hub.asked;
    assert.equal(read.url.href, 'https://one.example/peal/api/v1/users/a%2Fb%3F/notifications?state=seen%2Cread&from=1970-01-01T00%3A00%3A00.000Z&limit=5&tenant=t+1');
    assert.equal(read.headers.authorization, `Bearer ${KEY}`);
    assert.deepEqual([publish.url.search, publish.body.map(({ tenant }) => tenant)], ['', ['t 1', 'other']]);
    assert.deepEqual([post.url.search, post.body.tenant], ['', 't 1']);
  });

  test('never go to another path than was meant', async () => {
    const hub = play(posted);
    const peal = make(hub);
    for (const name of ['.', '..', '', undefined, null, {}]) {
      await assert.rejects(async () => peal.takeBack(name), { code: 'invalid_field', field: 'id' }, inspect(name));
      await assert.rejects(async () => peal.eraseUser(name), { code: 'invalid_field', field: 'user' });
    }
    await assert.rejects(async () => peal.values.delete('..'), { code: 'invalid_field', field: 'key' });
    assert.equal(hub.asked.length, 0);
  });

  test('that are refused say what is wrong, and are not repeated', async () => {
    const hub = play(() => refused(422, 'invalid_field', { field: 'type', index: 3 }));
    const error = await make(hub).post({ user: 'u', type: '' }).catch((it) => it);
    assert.ok(error instanceof PealError);
    const { code, status, field, index, method, path, temporary, uncertain } = error;
    assert.deepEqual({ code, status, field, index, method, path, temporary, uncertain }, {
      code: 'invalid_field', status: 422, field: 'type', index: 3, method: 'POST', path: '/api/v1/notifications', temporary: false, uncertain: false,
    });
    assert.equal(hub.asked.length, 1);
  });

  test('are given up after their time, and at once when the caller wants it', async () => {
    const hub = play(never);
    const peal = make(hub, { timeout: 30, retries: 1 });
    await assert.rejects(within(peal.unread('u'), 'its end'), { code: 'timeout', temporary: true, uncertain: true });
    assert.equal(hub.asked.length, 2);
    const controller = new AbortController();
    const reason = new Error('enough');
    const call = make(hub, { timeout: 60_000 }).unread('u', { signal: controller.signal });
    await until(() => hub.asked.length === 3, 'it is asked');
    controller.abort(reason);
    await assert.rejects(within(call, 'its end'), reason);
    await assert.rejects(make(hub).unread('u', { signal: controller.signal }), reason);
    assert.equal(hub.asked.length, 3);
    const waits = new AbortController();
    const again = make(play(() => refused(503, 'unavailable', {}, { 'retry-after': '9' }))).unread('u', { signal: waits.signal });
    setTimeout(() => waits.abort(reason), 20);
    await assert.rejects(within(again, 'the end of the pause'), reason);
  });

  test('whose answer is not the hub\'s say so', async () => {
    const html = (status) => () => new Response('<h1>hello</h1>', { status });
    for (const [answer, code] of [[html(200), 'bad_answer'], [html(302), 'bad_answer'], [html(502), 'unknown'], [html(403), 'forbidden'], [html(599), 'unknown']]) {
      await assert.rejects(make(play(answer), { retries: 0 }).unread('u'), { code }, code);
    }
    const circle = {};
    circle.circle = circle;
    await assert.rejects(make(play(posted)).post({ user: 'u', type: 't', data: circle }), TypeError);
  });
});

describe('repeats', () => {
  const cases = {
    'a post': [(peal) => peal.post({ user: 'u', type: 't' }), true],
    'an event': [(peal) => peal.publish({ event: 'e', to: { all: true } }), false],
    'a read': [(peal) => peal.counts('u'), true],
    'a mark by ids': [(peal) => peal.mark('u', 'read', ['i']), true],
    'a mark up to': [(peal) => peal.mark('u', 'read', { upTo: 4 }), true],
    'a mark of all': [(peal) => peal.mark('u', 'read', { all: true }), false],
    'read-all': [(peal) => peal.mark('u', 'read-all'), false],
    'read-all of a type': [(peal) => peal.mark('u', 'read-all', { type: 't' }), false],
    'a change': [(peal) => peal.update('i', { title: 't' }), true],
    'subscribers': [(peal) => peal.subscribe('t', ['u']), true],
    'a value': [(peal) => peal.values.set('k', 1), true],
    'a value on a version': [(peal) => peal.values.set('k', 1, { ifVersion: 1 }), false],
    'a fill': [(peal) => peal.values.set('k', 1, { lease: 't' }), false],
    'values': [(peal) => peal.values.mset([{ key: 'k', value: 1 }]), true],
    'values, one on a version': [(peal) => peal.values.mset([{ key: 'j', value: 1 }, { key: 'k', value: 1, ifVersion: 0 }]), false],
    'an increment': [(peal) => peal.values.increment('k'), false],
    'a lease': [(peal) => peal.values.lease('k'), false],
    'an invalidation': [(peal) => peal.values.invalidate('t'), true],
    'another route': [(peal) => peal.request('POST', '/api/v1/x'), false],
    'another read': [(peal) => peal.request('GET', '/api/v1/x'), true],
  };
  const ok = () => json(200, { value: 1, items: [], results: [], invalidated: 0, fill: null });

  for (const [name, [call, safe]] of Object.entries(cases)) {
    test(`${name} is repeated ${safe ? 'whatever was lost' : 'only when it was surely not done'}`, async () => {
      const undone = [() => lost('ECONNREFUSED'), () => refused(503, 'unavailable'), () => refused(429, 'rate_limited', {}, { 'retry-after': '0' })];
      const doubtful = [() => lost('ECONNRESET'), () => refused(504, 'unknown'), () => refused(500, 'internal')];
      for (const first of undone) {
        const hub = play(first, ok);
        await call(make(hub));
        assert.equal(hub.asked.length, 2);
        assert.deepEqual(hub.asked[1].body, hub.asked[0].body);
      }
      for (const first of doubtful) {
        const hub = play(first, ok);
        if (safe) await call(make(hub));
        else await assert.rejects(call(make(hub)), { uncertain: true });
        assert.equal(hub.asked.length, safe ? 2 : 1);
        if (safe) assert.deepEqual(hub.asked[1].body, hub.asked[0].body);
      }
    });
  }

  test('end: so many, and not when the hub wants a longer pause', async () => {
    const hub = play(() => refused(503, 'unavailable'));
    await assert.rejects(make(hub, { retries: 3 }).unread('u'), { code: 'unavailable', status: 503 });
    assert.equal(hub.asked.length, 4);
    await assert.rejects(make(hub).unread('u', { retries: 0 }), { code: 'unavailable' });
    assert.equal(hub.asked.length, 5);
    const busy = play(() => refused(429, 'rate_limited', {}, { 'retry-after': '60' }));
    await assert.rejects(make(busy).unread('u'), { code: 'rate_limited', retryAfter: 60_000 });
    assert.equal(busy.asked.length, 1);
  });

  test('of taking back take "not found" for done, a first answer does not', async () => {
    const gone = () => refused(404, 'not_found');
    await make(play(() => lost('ECONNRESET'), gone)).takeBack('i');
    await assert.rejects(make(play(() => refused(503, 'unavailable'), gone)).takeBack('i'), { code: 'not_found' });
    await assert.rejects(make(play(gone)).takeBack('i'), { code: 'not_found' });
  });

  test('of posts have the same key, that of the caller or one of their own', async () => {
    const hub = play(() => lost('ECONNRESET'), posted, posted);
    const peal = make(hub);
    await peal.post({ user: 'u', type: 't' });
    const keys = hub.asked.map(({ body }) => body.key);
    assert.equal(keys[0], keys[1]);
    assert.ok(keys[0].length >= 32);
    await peal.post({ user: 'u', type: 't', key: 'mine' });
    assert.equal(hub.asked[2].body.key, 'mine');
    await peal.post({ user: 'u', type: 't' }, { idempotencyKey: 'other' });
    assert.equal(hub.asked[3].body.key, 'other');
  });

  test('of a list are of what the store did not take', async () => {
    const bad = (status) => ({ status, error: { code: 'x', message: 'x' } });
    const good = (id) => ({ status: 201, id });
    const hub = play(
      () => json(504, { results: [good('a'), bad(504), bad(422), bad(503), { status: 200, results: [good('e'), bad(503)] }] }),
      () => refused(503, 'unavailable'),
      () => json(200, { results: [good('b'), bad(503), { status: 200, results: [good('e'), good('f')] }] }),
      () => json(200, { results: [good('d')] }),
    );
    const posts = ['a', 'b', 'c', 'd', 'e'].map((user) => ({ user, type: 't' }));
    const { results } = await make(hub, { retries: 3 }).post(posts, { idempotencyKey: 'k' });
    assert.deepEqual(results.map(({ status, id }) => id ?? status), ['a', 'b', 422, 'd', 200]);
    assert.deepEqual(results[4].results.map(({ id }) => id), ['e', 'f']);
    assert.deepEqual(hub.asked.map(({ body }) => body.map(({ user, key }) => user + key)),
      [['ak/0', 'bk/1', 'ck/2', 'dk/3', 'ek/4'], ['bk/1', 'dk/3', 'ek/4'], ['bk/1', 'dk/3', 'ek/4'], ['dk/3']]);
    const several = play(() => json(504, { results: [good('a'), bad(504)] }), () => json(200, { results: [{ status: 200, results: [good('a'), good('b')] }] }));
    assert.deepEqual((await make(several).post({ users: ['a', 'b'], type: 't' })).results.map(({ id }) => id), ['a', 'b']);
    const vain = play(() => json(200, { results: [bad(503)] }));
    assert.equal((await make(vain).post(posts.slice(0, 1))).results[0].status, 503);
  });
});

describe('long answers', () => {
  const text = ['{"type":"inbox"}', '{"type":"notification","notification":{"title":"ä\u{1f600}"}}', '{"type":"end","notifications":1}'].join('\n') + '\n';
  const cutAt = (sizes) => () => {
    const bytes = Buffer.from(text);
    const body = new ReadableStream({
      start(controller) {
        for (let at = 0; at < bytes.length; at += sizes) controller.enqueue(new Uint8Array(bytes.subarray(at, at + sizes)));
        controller.close();
      },
    });
    return new Response(body);
  };
  const take = async (lines) => {
    const types = [];
    for await (const { type } of lines) types.push(type);
    return types;
  };

  test('of an export come line by line, however they are cut', async () => {
    for (const size of [1, 7, 1000]) {
      const lines = [];
      for await (const line of make(play(cutAt(size))).export('u')) lines.push(line);
      assert.deepEqual(lines, text.trim().split('\n').map((line) => JSON.parse(line)));
    }
    await assert.rejects(take(make(play(() => refused(403, 'forbidden'))).export('u')), { code: 'forbidden', status: 403 });
  });

  test('of an export that is not whole are told', async () => {
    for (const part of [text.slice(0, -34), text.slice(0, 30), '']) {
      await assert.rejects(take(make(play(() => new Response(part))).export('u')), { code: 'incomplete' });
    }
  });

  test('of pages come one after another', async () => {
    const hub = play(({ url }) => json(200, url.searchParams.has('after') ? { items: [3], next: null } : { items: [1, 2], next: 'n' }));
    const peal = make(hub);
    const all = [];
    for await (const item of peal.all((page) => peal.subscribers('t', page), { limit: 2 })) all.push(item);
    assert.deepEqual(all, [1, 2, 3]);
    assert.deepEqual(hub.asked.map(({ url }) => url.search), ['?limit=2', '?limit=2&after=n']);
  });
});

describe('caches', () => {
  test('keep what was fetched, with its tags and its time, and give it as JSON has it', async () => {
    const hub = playValues();
    const peal = make(hub, { values: { prefix: 'shop', ttl: 77 } });
    let fetched = 0;
    const fetch = async () => {
      fetched += 1;
      return { at: new Date(0), gone: undefined };
    };
    const made = await peal.values.cacheAside('k', fetch, { tags: ({ at }) => [`at:${at.getTime()}`] });
    assert.deepEqual(made, { at: '1970-01-01T00:00:00.000Z' });
    assert.deepEqual(await peal.values.getOrSet('k', fetch), made);
    assert.equal(fetched, 1);
    assert.deepEqual(hub.puts, [['shop:k', { value: made, ttl: 77, tags: ['at:0'], lease: 't1' }]]);
    await peal.values.cacheAside('n', () => null, 5);
    assert.equal(await peal.values.cacheAside('n', () => 'no', 5), null);
    const dates = { serialize: Number, deserialize: (ms) => new Date(ms), prefix: '' };
    for (let i = 0; i < 2; i++) assert.deepEqual(await peal.values.cacheAside('d', () => new Date(5), dates), new Date(5));
    const { hits, misses, fills, failed } = peal.values.counts;
    assert.deepEqual({ hits, misses, fills, failed }, { hits: 3, misses: 3, fills: 3, failed: 0 });
    assert.deepEqual(peal.told, []);
  });

  test('free the turn where nothing was made, or nothing of it can be kept', async () => {
    const hub = playValues();
    const peal = make(hub);
    const circle = {};
    circle.circle = circle;
    await assert.rejects(peal.values.cacheAside('a', async () => { throw new Error('no database'); }), /no database/);
    await assert.rejects(peal.values.cacheAside('b', () => { throw new Error('at once'); }), /at once/);
    assert.equal(await peal.values.cacheAside('c', () => undefined), undefined);
    assert.equal(await peal.values.cacheAside('d', () => circle), circle);
    assert.equal(await peal.values.cacheAside('e', () => 1, { tags: () => { throw new Error('tags'); } }), 1);
    await until(() => hub.released.length === 5, 'all are freed');
    assert.deepEqual(hub.released.map(([name]) => name).sort(), ['a', 'b', 'c', 'd', 'e']);
    assert.equal(hub.leases.size, 0);
    assert.equal(peal.heard('refused'), 2); // of d and of e
  });

  test('have one fetch for all who want a thing at once, and the next one fetches when that fails', async () => {
    const hub = playValues();
    const peal = make(hub);
    let fetched = 0;
    const fetch = async () => {
      fetched += 1;
      await pause(5);
      if (fetched < 3) throw new Error(`no ${fetched}`);
      return fetched;
    };
    const results = await Promise.allSettled(Array.from({ length: 1000 }, () => peal.values.cacheAside('k', fetch, { wait: 30 })));
    assert.equal(fetched, 3);
    const bad = results.filter(({ status }) => status === 'rejected').map(({ reason }) => reason.message);
    assert.deepEqual(bad.sort(), ['no 1', 'no 2']);
    assert.ok(results.every(({ status, value }) => status === 'rejected' || value === 3));
    assert.ok(hub.asked.length < 20, `${hub.asked.length} questions for a thousand callers`);
  });

  test('let one caller go without the others, and free the turn when all have gone', async () => {
    const hub = playValues();
    const peal = make(hub);
    const [one, two] = [new AbortController(), new AbortController()];
    hub.leases.set('k', 'elsewhere');
    const calls = [one, two].map(({ signal }) => peal.values.cacheAside('k', () => 'mine', { signal, wait: 30 }));
    await until(() => hub.waiting.has('k'), 'they wait');
    one.abort(new Error('gone'));
    await assert.rejects(calls[0], /gone/);
    const free = () => peal.values.release('k', 'elsewhere');
    await free();
    assert.equal(await calls[1], 'mine');
    hub.values.clear();
    hub.leases.set('k', 'elsewhere');
    const third = new AbortController();
    const call = peal.values.cacheAside('k', () => 'never', { signal: third.signal, wait: 30 });
    await until(() => hub.waiting.has('k'), 'it waits');
    third.abort(new Error('gone, too'));
    await assert.rejects(call, /gone, too/);
    await free();
    await until(() => hub.leases.size === 0, 'nobody fills');
  });

  test('go on without a hub that is away, tell it once, and use it when it is back', async () => {
    const hub = playValues();
    const peal = make(hub, { values: { timeout: 50 } });
    let fetched = 0;
    const read = () => peal.values.cacheAside('k', async () => ++fetched);
    hub.down = () => lost('ECONNREFUSED');
    for (let i = 1; i <= 50; i++) assert.equal(await read(), i);
    assert.equal(await peal.values.get('k'), null);
    assert.deepEqual(await peal.values.mget(['a', 'b']), [null, null]);
    assert.equal(peal.heard('away'), 1);
    const { failed, passed, away } = peal.values.counts;
    assert.deepEqual([failed, away, peal.heard('away')], [3, true, 1]);
    assert.ok(passed >= 50, String(passed));
    assert.equal(hub.asked.length, 3);
    assert.equal(peal.told[0][1].error.code, 'unreachable');
    await assert.rejects(peal.values.set('k', 1, { retries: 0 }), { code: 'unreachable' });
    hub.down = null;
    await until(async () => {
      await read();
      return peal.heard('back') === 1;
    }, 'it is back');
    const { since, passed: told } = peal.told[1][1];
    assert.ok(since instanceof Date && told >= 48, String(told));
    await read();
    const now = fetched;
    await read();
    assert.equal(fetched, now);
    assert.equal(peal.heard('away'), 1);
  });

  test('do not wait for who fills any more when the hub is away', async () => {
    const hub = playValues();
    const peal = make(hub);
    hub.leases.set('k', 'elsewhere');
    const call = peal.values.cacheAside('k', () => 'mine', { wait: 1000 });
    await until(() => hub.waiting.has('k'), 'it waits');
    hub.down = () => lost('ECONNREFUSED');
    for (let i = 0; i < 3; i++) await peal.values.get('other');
    assert.equal(await within(call, 'its value'), 'mine');
    assert.deepEqual([peal.values.counts.failed, peal.heard('away'), peal.heard('refused')], [3, 1, 0]);
  });

  test('wait for a hub that hangs a few times, and then no more', async () => {
    const hub = playValues();
    const peal = make(hub, { values: { timeout: 40 } });
    hub.down = never;
    for (let i = 0; i < 200; i++) assert.equal(await within(peal.values.cacheAside(`k${i}`, () => i), 'an answer'), i);
    // The others went on at once; only who looks whether it is back asks it.
    assert.ok(hub.asked.length <= 5, String(hub.asked.length));
    assert.equal(peal.told[0][1].error.code, 'timeout');
    assert.equal(peal.heard('away'), 1);
  });

  test('are not told of a failure now and then, and once of many at a time', async () => {
    const hub = playValues();
    const peal = make(hub);
    for (let i = 0; i < 5; i++) {
      hub.down = () => lost('ECONNRESET');
      for (let j = 0; j < 2; j++) assert.equal(await peal.values.get('k'), null);
      hub.down = null;
      await peal.values.get('k');
    }
    assert.equal(peal.values.counts.failed, 10);
    assert.deepEqual(peal.told, []);
    hub.down = () => lost('ECONNRESET');
    await Promise.all(Array.from({ length: 10 }, () => peal.values.get('k')));
    assert.equal(peal.values.counts.failed, 20);
    assert.equal(peal.heard('away'), 1);
  });

  test('show nothing while the hub has not let go what was written, and tell it as soon as they can', async () => {
    const hub = playValues();
    const peal = make(hub);
    hub.values.set('k', 'old');
    assert.equal(await peal.values.cacheAside('k', () => 'new'), 'old');
    hub.down = ({ path }) => (path.endsWith('/invalidate') ? refused(503, 'unavailable') : undefined);
    const middleware = peal.invalidateCacheMiddleware(['t', 'u'], { user: () => undefined });
    let ends = 0;
    const res = { statusCode: 200, end: () => (ends += 1) };
    middleware({ method: 'POST', url: '/x', headers: {} }, res, () => res.end());
    assert.equal(ends, 0);
    await until(() => ends === 1, 'the answer ends');
    assert.equal(peal.values.counts.owed, 2);
    assert.equal(await peal.values.cacheAside('k', () => 'new'), 'new');
    assert.equal(hub.puts.length, 0);
    hub.down = null;
    await until(() => peal.values.counts.owed === 0, 'it is told');
    assert.deepEqual(hub.invalidated, [['t', 'u']]);
    assert.equal(await peal.values.cacheAside('k', () => 'new'), 'old'); // which the hub has not let go
  });

  test('let go by all tags that are some, whatever else is named', async () => {
    const hub = playValues();
    const peal = make(hub);
    hub.down = ({ path, body }) => (path.endsWith('/invalidate') && body.tags.includes('a/b') ? refused(422, 'invalid_field', { field: 'tags' }) : undefined);
    const middleware = peal.invalidateCacheMiddleware(['one', 'a/b', 'two'], { user: () => undefined });
    await new Promise((resolve) => {
      const res = { statusCode: 200, end: resolve };
      middleware({ method: 'POST', url: '/x', headers: {} }, res, () => res.end());
    });
    assert.deepEqual(hub.invalidated, [['one'], ['two']]);
    assert.deepEqual([peal.heard('refused'), peal.values.counts.owed], [1, 0]);
  });

  test('warn where nobody listens', async () => {
    const hub = playValues();
    const peal = new PealServer({ url: 'http://hub.example', key: KEY, fetch: hub.fetch });
    const warnings = [];
    const listener = (warning) => warnings.push(warning);
    process.on('warning', listener);
    hub.down = () => lost('ECONNREFUSED');
    for (let i = 0; i < 10; i++) await peal.values.get('k');
    hub.down = () => refused(403, 'forbidden');
    await until(() => warnings.length === 1, 'a warning');
    process.off('warning', listener);
    assert.deepEqual([warnings[0].name, warnings[0].code], ['PealWarning', 'PEAL_AWAY']);
  });

  test('bear listeners and functions of the options that throw', async () => {
    const hub = playValues();
    const peal = make(hub, { slow: 0 });
    const errors = [];
    const heard = [];
    const handlers = process.listeners('uncaughtException');
    process.removeAllListeners('uncaughtException');
    process.once('uncaughtException', (error) => errors.push(error.message));
    try {
      peal.on('slow', () => { throw new Error('of a listener'); });
      const stop = peal.on('slow', ({ name }) => heard.push(name));
      assert.equal(peal.track('one', () => 1), 1);
      await until(() => errors.length === 1, 'the error is reported');
      stop();
    } finally {
      process.removeAllListeners('uncaughtException');
      for (const handler of handlers) process.on('uncaughtException', handler);
    }
    assert.deepEqual([heard, errors], [['one'], ['of a listener']]);
    assert.equal(await peal.values.cacheAside('k', () => 2, { tags: () => { throw null; } }), 2);
    await until(() => hub.released.length === 1, 'the turn is free');
    assert.equal(peal.told[0][1].error.message, 'null');
  });

  test('are told once what they do wrong, and go on', async () => {
    const hub = playValues();
    const peal = make(hub);
    hub.down = () => refused(403, 'forbidden');
    for (let i = 0; i < 5; i++) assert.equal(await peal.values.cacheAside('k', () => i), i);
    assert.equal(peal.heard('refused'), 1);
    assert.equal(peal.heard('away'), 0);
    await assert.rejects(peal.values.get('k'), { code: 'forbidden' });
    hub.down = (request) => (request.method === 'PUT' ? refused(413, 'too_large', { field: 'value' }) : json(200, { fill: 't' }));
    assert.equal(await peal.values.cacheAside('large', () => 'x'), 'x');
    assert.equal(peal.told.at(-1)[1].error.field, 'value');
    await until(() => of(hub.asked).includes('POST /api/v1/values/large/release'), 'it is freed');
  });

  test('give what was made to who made it, also when it came too late to be kept', async () => {
    const hub = playValues();
    const peal = make(hub);
    const call = peal.values.cacheAside('k', async () => {
      hub.leases.set('k', 'another');
      return 'late';
    });
    assert.equal(await call, 'late');
    assert.equal(peal.values.counts.lost, 1);
    assert.deepEqual(peal.told, []);
    assert.equal(hub.leases.get('k'), 'another');
  });
});

describe('functions that are cached', () => {
  test('have a key by their arguments, which only the same ones share', async () => {
    const peal = make(playValues());
    const { key } = peal.cacheable(() => 1, { name: 'f' });
    const different = [[], [undefined], [null], ['null'], [0], [-0], ['0'], [1, 2], [[1, 2]], [[1], 2], ['1,2'], [{}], [[]], [{ a: 1 }], [{ a: '1' }],
      [{ a: undefined }], [NaN], [Infinity], [10n], [10], [new Date(1)], [1], ['d1'], [{ a: 1, b: 2 }], [{ a: { b: 1 } }], [true], ['true'], [, 1]];
    const keys = different.map((args) => key(...args));
    const same = keys.filter((one, i) => keys.indexOf(one) !== i);
    assert.deepEqual(same, []);
    assert.equal(key({ a: 1, b: 2 }), key({ b: 2, a: 1 }));
    for (const odd of [new Map(), Symbol('s'), () => 1, new (class A {})(), /x/]) assert.throws(() => key(odd), TypeError, inspect(odd));
    assert.match(key(1), /^f:[\w-]{43}$/);
    assert.throws(() => peal.cacheable(() => 1, {}), TypeError);
    assert.throws(() => peal.cacheable('f'), TypeError);
  });

  test('are called once for the same arguments, with their this, until they are forgotten', async () => {
    const hub = playValues();
    const peal = make(hub);
    const service = { calls: 0, rate: 3, times(n) { this.calls += 1; return n * this.rate; } };
    service.times = peal.cacheable(service.times, { ttl: 9, tags: (result, n) => [`${n}:${result}`] });
    assert.deepEqual([await service.times(2), await service.times(2), await service.times(5)], [6, 6, 15]);
    assert.equal(service.calls, 2);
    assert.deepEqual(hub.puts.map(([, { ttl, tags }]) => [ttl, tags]), [[9, ['2:6']], [9, ['5:15']]]);
    hub.down = ({ method, path }) => {
      hub.down = null;
      assert.equal(`${method} ${path}`, `DELETE /api/v1/values/${service.times.key(2)}`);
      hub.values.clear();
      return json(204);
    };
    await service.times.forget(2);
    await service.times(2);
    assert.equal(service.calls, 3);
    await assert.rejects(peal.cacheable(function f() {})(new Map()), TypeError);
  });
});

describe('metrics', () => {
  const counted = () => json(202, { accepted: 1 });
  const bodies = (hub) => hub.asked.map(({ body }) => body.map(({ name, value, tags }) => [name, value, tags]));

  test('what was gathered is posted together: sums of counters, the last of gauges, each time', async () => {
    const hub = play(counted);
    const { metrics } = make(hub);
    metrics.count('sold');
    metrics.count('sold', 2, { a: 1, b: 2 });
    metrics.count('sold', 3, { b: 2, a: 1 });
    metrics.gauge('queue', 5);
    metrics.gauge('queue', 3);
    metrics.time('took', 1);
    metrics.time('took', 1);
    assert.equal(metrics.counts.waiting, 5);
    await metrics.flush();
    assert.deepEqual(bodies(hub), [[['sold', 1, undefined], ['sold', 5, { a: 1, b: 2 }], ['queue', 3, undefined], ['took', 1, undefined], ['took', 1, undefined]]]);
    assert.deepEqual(metrics.counts, { posted: 5, dropped: 0, refused: 0, failed: 0, unsure: 0, waiting: 0 });
    for (const bad of [() => metrics.count('a', -1), () => metrics.gauge('a', NaN), () => metrics.time('a', '1x')]) assert.throws(bad, { code: 'invalid_field' });
  });

  test('it is posted by itself', async () => {
    const hub = play(counted);
    make(hub, { metrics: { every: 100 } }).metrics.count('sold');
    await until(() => hub.asked.length === 1, 'it is posted');
  });

  test('what was surely not counted is put back, what may have been is not', async () => {
    const hub = play(() => refused(503, 'unavailable'), () => lost('ECONNREFUSED'), counted, () => lost('ECONNRESET'), counted);
    const { metrics, told } = make(hub);
    metrics.count('first');
    await metrics.flush();
    metrics.count('first', 10);
    await metrics.flush();
    assert.deepEqual([metrics.counts.failed, metrics.counts.waiting], [2, 2]);
    await metrics.flush();
    assert.deepEqual(bodies(hub)[2], [['first', 1, undefined], ['first', 10, undefined]]);
    metrics.count('second');
    await metrics.flush();
    await metrics.flush();
    assert.equal(hub.asked.length, 4);
    assert.deepEqual([metrics.counts.posted, metrics.counts.unsure, metrics.counts.waiting], [2, 1, 0]);
    assert.deepEqual(told.map(([event]) => event), ['refused']);
  });

  test('a series that is refused goes, the others are posted at once, and it is not posted again', async () => {
    const hub = play(() => refused(422, 'invalid_field', { field: 'name', index: 1 }), counted);
    const peal = make(hub);
    peal.metrics.time('good', 1);
    peal.metrics.time('bad', 1);
    peal.metrics.time('good', 2);
    peal.metrics.time('bad', 2);
    await peal.metrics.flush();
    assert.deepEqual(bodies(hub)[1], [['good', 1, undefined], ['good', 2, undefined]]);
    peal.metrics.time('bad', 3);
    await peal.metrics.flush();
    assert.equal(hub.asked.length, 2);
    assert.deepEqual([peal.metrics.counts.posted, peal.metrics.counts.refused, peal.heard('refused')], [2, 3, 1]);
  });

  test('has bounds: of a post, of what waits, and of its age', async () => {
    const { Metrics } = await import('../../clients/node/metrics.js');
    const posts = [];
    let time = 0;
    const metrics = new Metrics({ ask: async ({ body }) => posts.push(body.length) }, { every: 1e9, now: () => time });
    for (let i = 0; i < 2500; i++) metrics.time('took', 1);
    await metrics.flush();
    assert.deepEqual(posts, [1000, 1000, 500]);
    for (let i = 0; i < 20_010; i++) metrics.time('took', i);
    assert.deepEqual([metrics.counts.dropped, metrics.counts.waiting], [10, 20_000]);
    time += 300_000;
    metrics.count('late');
    await metrics.flush();
    assert.deepEqual([metrics.counts.dropped, posts.at(-1)], [20_010, 1]);
  });

  test('what is tracked is posted where it is wanted', async () => {
    const hub = play(counted);
    const peal = make(hub, { metrics: { track: true } });
    peal.track('orders.find', () => 1);
    assert.throws(() => peal.track('orders.find', () => { throw new Error('no'); }), /no/);
    for (let i = 0; i < 300; i++) peal.track(`name ${i}`, () => 1);
    await peal.metrics.flush();
    const tags = hub.asked[0].body.map((value) => value.tags);
    assert.deepEqual(tags.slice(0, 2), [{ name: 'orders.find', success: true }, { name: 'orders.find', success: false }]);
    assert.equal(new Set(tags.map(({ name }) => name)).size, 201);
    const quiet = make(play(counted));
    quiet.track('orders.find', () => 1);
    assert.equal(quiet.metrics.counts.waiting, 0);
  });
});

describe('track', () => {
  test('counts what took how long, and what failed, and gives what the function gives', async () => {
    const peal = make(playValues(), { slow: 20 });
    const slow = [];
    peal.on('slow', (told) => slow.push(told));
    assert.equal(peal.track('sync', () => 7), 7);
    assert.throws(() => peal.track('sync', () => { throw new Error('no'); }), /no/);
    assert.equal(await peal.track('async', async () => 8), 8);
    await assert.rejects(peal.track('async', async () => { throw new Error('not'); }), /not/);
    await peal.track('slow', () => pause(25));
    const { totalQueries, slowQueries, queryBreakdown, slowestQueries } = peal.tracked;
    assert.equal(totalQueries, 5);
    assert.deepEqual(Object.entries(queryBreakdown).map(([name, { count, errors }]) => [name, count, errors]), [['sync', 2, 1], ['async', 2, 1], ['slow', 1, 0]]);
    const entry = queryBreakdown.slow;
    assert.ok(slow.some(({ name }) => name === 'slow') && slowQueries === slow.length && slowestQueries[0].threshold === 20);
    assert.ok(entry.minTime >= 20 && entry.p50 >= entry.minTime && entry.p99 <= entry.maxTime && entry.avgTime >= entry.minTime);
  });

  test('has right quantiles, and a bound', async () => {
    const { Tracker } = await import('../../clients/node/tracker.js');
    let time = 0;
    const tracker = new Tracker(1e9, () => {}, () => time);
    for (let i = 1; i <= 1000; i++) tracker.track('even', () => { time += i; });
    for (let i = 0; i < 1500; i++) tracker.track(`name ${i}`, () => { time += 1e12; });
    tracker.track('none', () => {});
    const { queryBreakdown, slowestQueries, averageExecutionTime } = tracker.stats;
    const { count, avgTime, minTime, maxTime, p50, p95, p99 } = queryBreakdown.even;
    assert.deepEqual([count, avgTime, minTime, maxTime], [1000, 500.5, 1, 1000]);
    for (const [is, should] of [[p50, 500], [p95, 950], [p99, 990]]) assert.ok(Math.abs(is / should - 1) < 0.045, `${is} for ${should}`);
    assert.equal(Object.keys(queryBreakdown).length, 1001);
    assert.equal(queryBreakdown['(others)'].count, 502);
    assert.equal(slowestQueries.length, 100);
    assert.ok(averageExecutionTime > 0);
  });
});
