// SPDX-License-Identifier: Apache-2.0
// Webhooks: a backend is told what has happened, verified with the package standardwebhooks; while it is there, and
// while it is away, slow, elsewhere or lies, and when the node that is to tell it is killed.
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import { after, describe, test } from 'node:test';
import { makeCertificate, newSecret, startHookBackend } from './support/hook_backend.mjs';
import { startHub } from './support/hub.mjs';
import { freePort } from './support/ports.mjs';
import { startPostgres } from './support/postgres.mjs';
import { startRedis } from './support/redis.mjs';
import { until } from './support/wait.mjs';

const ROUNDS = process.env.PEAL_FULL === '1' ? 40 : 5;
const KEY = 'jobs-0123456789abcd';
const INBOX = ['stored', 'seen', 'read', 'archived', 'expired'].map((name) => `"notification.${name}"`).join(', ');
const things = new Set();
const kept = (thing) => {
  things.add(thing);
  return thing;
};
after(async () => {
  for (const thing of [...things].reverse()) await thing.stop();
});

const backendWith = async (options) => kept(await startHookBackend(options));

const settings = (backend, { webhook = '', queue = '', allow = '"127.0.0.1"', events = INBOX, more = '' } = {}) => `
  api_key "jobs" { key = "${KEY}" scopes = {jobs} }
  outgoing { allow = {${allow}} }
  webhook "crm" {
    url = "${backend.url}" secret = "${backend.secrets[0]}" ${backend.secrets[1] ? `old_secret = "${backend.secrets[1]}"` : ''}
    events = {${events}} ${webhook}
  }
  ${queue && `queue "webhook.crm" { ${queue} }`}
  ${more}
`;

const hubWith = async (config, more = {}) => kept(await startHub({ config, env: { PEAL_SHARDS: '2' }, ...more }));

const post = async (hub, body) => {
  const answer = await hub.api('POST', '/api/v1/notifications', { type: 'news', title: 'Hello', message: 'World', ...body });
  assert.equal(answer.status, 201, JSON.stringify(answer.body));
  return answer.body;
};
const jobs = async (hub, method, path, body) => hub.api(method, `/api/v1/${path}`, body, { authorization: `Bearer ${KEY}` });
const inState = async (hub, state, queue = 'webhook.crm') => (await jobs(hub, 'GET', `queues/${queue}/jobs?state=${state}&limit=100`)).body.items;
const ready = async (hub) => (await fetch(`${hub.internalUrl}/readyz`)).json();

// What a backend was told, in all calls.
const told = (backend) => backend.questions.flatMap(({ data }) => data.events);
const named = (backend, type) => told(backend).filter((event) => event.type === type);

const rigs = {
  'one node with SQLite': async (config) => {
    const hub = await hubWith(config);
    return [hub, hub];
  },
  'two nodes over Redis and Postgres': async (config) => {
    const [redis, postgres] = await Promise.all([startRedis(), startPostgres()]);
    kept(postgres);
    kept(redis);
    const first = await hubWith(config, { redis, postgres });
    const { secret, apiKey } = first;
    return [first, await hubWith(config, { redis, postgres, secret, apiKey })];
  },
};

for (const [name, start] of Object.entries(rigs)) {
  describe(name, () => {
    test('a backend is told what happens to notifications', async () => {
      const backend = await backendWith({ secrets: [newSecret(), newSecret()] });
      const [one, other] = await start(settings(backend));
      const { id } = await post(one, { user: 'ann', key: 'a', data: { n: [1, 'ä'] } });
      await until(() => named(backend, 'notification.stored').length === 1, 'it is told that it is stored');
      const [stored] = named(backend, 'notification.stored');
      assert.match(stored.id, /^[0-9a-f-]{36}$/);
      assert.ok(Math.abs(Date.parse(stored.timestamp) - Date.now()) < 60_000);
      const { notification } = stored.data;
      assert.deepEqual([notification.id, notification.userId, notification.type, notification.title, notification.data, notification.isRead],
        [id, 'ann', 'news', 'Hello', { n: [1, 'ä'] }, false]);

      const ann = await other.plain('ann');
      const steps = [['notification:seen', 'seen'], ['notification:read', 'read'], ['notification:archive', 'archived']];
      for (const [call, event] of steps) {
        assert.equal((await ann.request(call, id)).ok, true);
        assert.equal((await ann.request(call, id)).ok, true, 'what it is already is not told');
        await until(() => named(backend, `notification.${event}`).length > 0, event);
        assert.deepEqual(named(backend, `notification.${event}`).map(({ data }) => data), [{ userId: 'ann', ids: [id] }]);
      }
      const soon = await post(other, { user: 'ann', expires_at: new Date(Date.now() + 1500).toISOString() });
      await until(() => named(backend, 'notification.expired').length > 0, 'it is told that it is over');
      assert.deepEqual(named(backend, 'notification.expired')[0].data, { userId: 'ann', ids: [soon.id] });

      const many = await post(one, { all: true });
      await until(() => named(backend, 'notification.stored').length === 3, 'a post to many is one event');
      const { audience, notification: shared } = named(backend, 'notification.stored')[2].data;
      assert.deepEqual([audience, shared.title], [{ id: many.id, kind: 'all' }, 'Hello']);
      const repeat = await one.api('POST', '/api/v1/notifications', { user: 'ann', key: 'a', type: 'news', title: 'Hello', message: 'World', data: { n: [1, 'ä'] } });
      assert.equal(repeat.status, 200);
      await until(async () => (await inState(one, 'completed')).length === backend.questions.length, 'all calls are done');
      assert.equal(named(backend, 'notification.stored').filter(({ data }) => data.notification.id === id).length, 1, 'a repeat is not told');
      assert.equal(new Set(told(backend).map((event) => event.id)).size, told(backend).length);
      assert.deepEqual(backend.faults, []);
      for (const { type, timestamp } of backend.questions) assert.deepEqual([type, Number.isNaN(Date.parse(timestamp))], ['events', false]);
      assert.equal(await one.metric('peal_webhook_events_lost_total'), 0);
      assert.deepEqual(await ready(one), { status: 'ready' });
    });

    test('what happens together is told in one call, of at most 100', async () => {
      const backend = await backendWith();
      const [one, other] = await start(settings(backend, { events: '"notification.stored"' }));
      const bodies = Array.from({ length: 500 }, (_, i) => ({ user: `user-${i % 7}`, type: 'news', title: `${i}`, message: '' }));
      await Promise.all([0, 1, 2, 3, 4].map((part) => (part % 2 ? one : other).api('POST', '/api/v1/notifications', bodies.slice(part * 100, part * 100 + 100))));
      await until(() => told(backend).length === 500, () => `500 events, there are ${told(backend).length}`);
      assert.equal(new Set(told(backend).map(({ data }) => data.notification.title)).size, 500);
      assert.ok(backend.questions.length < 250, `${backend.questions.length} calls`);
      for (const { data } of backend.questions) assert.ok(data.events.length <= 100);
    });

    test('a backend that was away is told all, by the same ids, and uses up no attempts', async () => {
      const backend = await backendWith();
      const [one, other] = await start(settings(backend, { queue: 'backoff = 0 attempts = 20' }));
      await backend.stop();
      const ids = [];
      for (let i = 0; i < 12; i++) ids.push((await post(i % 2 ? one : other, { user: `user-${i}` })).id);
      await Promise.any([one, other].map((hub) => hub.logged(/WEBHOOK-OPEN .* webhook="?crm"?/)));
      const away = await Promise.any([one, other].map(async (hub) => {
        await until(async () => (await ready(hub)).degraded?.includes('webhooks'), 'it is named');
        return hub;
      }));
      assert.ok([1, 2].includes(await away.metric('peal_breaker_state')));
      await away.logged(/WEBHOOK-FAILED .* reason="no connection"/);
      const again = await backendWith({ secrets: backend.secrets, port: backend.port });
      await until(() => new Set(told(again).map(({ data }) => data.notification.id)).size === ids.length, 'all of them');
      assert.deepEqual(new Set(told(again).map(({ data }) => data.notification.id)), new Set(ids));
      await until(async () => (await inState(one, 'completed')).length === new Set(again.questions.map(({ id }) => id)).size, 'each is done');
      assert.deepEqual(again.faults, []);
      await until(async () => {
        await post(away, { user: 'ann' }); // it, too, has to meet that the backend is there
        return (await ready(away)).status === 'ready';
      }, 'as before');
    });
  });
}

const lies = {
  'a status that is no 2xx': { answer: () => (response) => response.writeHead(500).end(), error: 'status 500', opens: true },
  'one that does not like it': { answer: () => (response) => response.writeHead(422).end(), error: 'status 422', opens: false },
  'a redirect': { answer: (target) => (response) => response.writeHead(307, { location: target }).end(), error: 'status 307', opens: true },
  'no answer in time': { answer: () => () => {}, error: 'no answer in time', opens: true },
  'the end of the connection': { answer: () => (response) => response.destroy(), error: 'the answer is no HTTP, or was cut', opens: true },
  'no HTTP': { answer: () => (response) => response.socket.end('{"ok":true}\r\n\r\n'), error: 'the answer is no HTTP, or was cut', opens: true },
  'an answer that is too large': { answer: () => (response) => response.writeHead(200, { 'content-length': 2 << 20 }).write('x'), error: 'the answer is too large', opens: true },
};

test('who is lied to tells it again, then keeps it as dead, and tells it once more when it is asked to', async () => {
  const backend = await backendWith();
  const elsewhere = { hits: 0 };
  const server = createServer((request, response) => {
    elsewhere.hits++;
    response.end();
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  kept({ stop: () => server.close() });
  const target = `http://127.0.0.1:${server.address().port}/`;
  const hub = await hubWith(settings(backend, { webhook: 'timeout = 400ms', queue: 'backoff = 0 attempts = 2' }));
  for (const [what, { answer, error }] of Object.entries(lies)) {
    const before = backend.questions.length;
    backend.answer = () => answer(target);
    await post(hub, { user: 'ann', title: what });
    await until(async () => (await inState(hub, 'dead')).length === 1, () => `${what}: it is dead\n${hub.log}`);
    const [job] = await inState(hub, 'dead');
    assert.deepEqual([job.error, job.attempt, job.type], [error, 2, 'webhook'], what);
    const ids = backend.questions.slice(before).map(({ id }) => id);
    assert.ok(ids.length >= 2 && new Set(ids).size === 1, `${what}: ${ids}`);
    backend.answer = () => ({});
    assert.equal((await jobs(hub, 'POST', `jobs/${job.id}/retry`)).status, 200, what);
    await until(async () => (await jobs(hub, 'GET', `jobs/${job.id}`)).body.state === 'completed', `${what}: it is told`);
    assert.equal(backend.questions.at(-1).data.events[0].data.notification.title, what);
    assert.equal(backend.questions.at(-1).id, ids[0], 'by the same id');
    assert.equal(backend.questions.at(-1).id, `msg_${job.id.replaceAll('-', '')}`);
  }
  assert.equal(elsewhere.hits, 0, 'no redirect is followed');
  assert.deepEqual(backend.faults, []);
  assert.ok(!hub.log.includes(backend.secrets[0]), 'no secret is in the log');
});

test('five answers in a row that say that it is away open the breaker, and those that say that it is there do not', async () => {
  for (const [what, { answer, opens }] of Object.entries(lies)) {
    const backend = await backendWith();
    backend.answer = () => answer('http://127.0.0.1:9/');
    const hub = await hubWith(settings(backend, { webhook: 'timeout = 200ms', queue: 'backoff = 0 attempts = 5 concurrency = 1' }));
    await post(hub, { user: 'ann' });
    await until(async () => (await inState(hub, 'dead')).length === 1, `${what}: it is dead`);
    assert.equal(await hub.metric('peal_breaker_state'), opens ? 2 : 0, what);
    assert.equal(await hub.metric('peal_webhook_failures_total'), 5, what);
    await hub.stop();
  }
});

test('no address inside is called that is not listed', async () => {
  const tls = makeCertificate();
  const backend = await backendWith({ tls });
  const hub = await hubWith(settings(backend, { allow: '"10.0.0.0/8"', queue: 'backoff = 0 attempts = 1' }));
  await post(hub, { user: 'ann' });
  await until(async () => (await inState(hub, 'dead')).length === 1, 'it is dead');
  assert.match((await inState(hub, 'dead'))[0].error, /outgoing\.allow does not list it/);
  assert.equal(await hub.metric('peal_outgoing_forbidden_total'), 1);
  assert.equal(backend.connections, 0);
  const plain = { ...backend, url: backend.url.replace('https', 'http') };
  await assert.rejects(startHub({ config: settings(plain, { allow: '"10.0.0.0/8"' }) }), /webhook "crm": url/);
});

test('what is recorded outlives the node', async () => {
  const backend = await backendWith();
  const config = settings(backend, { webhook: 'timeout = 1s' });
  const hub = await hubWith(config);
  backend.answer = () => () => {}; // it has the call, and says nothing
  const { id } = await post(hub, { user: 'ann' });
  await until(() => told(backend).length === 1, 'it is called');
  await hub.kill();
  const [call] = backend.questions;
  backend.answer = () => ({});
  await hub.restart();
  await until(async () => (await inState(hub, 'completed')).length === 1, 'it is told by the next one');
  assert.deepEqual([...new Set(backend.questions.map((question) => question.id))], [call.id]);
  const [first, ...others] = backend.questions.map(({ data }) => JSON.stringify(data));
  for (const body of others) assert.equal(body, first);
  assert.equal(told(backend)[0].data.notification.id, id);
  assert.deepEqual(backend.faults, []);
});

test('what was answered is told, whenever the node is killed behind the answer', async () => {
  const backend = await backendWith();
  const hub = await hubWith(settings(backend, { webhook: 'timeout = 100ms', events: '"notification.stored"' }));
  const posted = [];
  for (let round = 0; round < ROUNDS; round++) {
    const bodies = Array.from({ length: 5 }, (_, i) => ({ user: `user-${i}`, title: `${round}` }));
    const kill = Promise.race(bodies.map((body) => post(hub, body).then(({ id }) => posted.push(id)).catch(() => new Promise(() => {})))).then(() => hub.kill());
    await kill;
    await hub.restart();
  }
  const seen = () => new Set(told(backend).map(({ data }) => data.notification.id));
  await until(() => posted.every((id) => seen().has(id)), () => `${posted.filter((id) => !seen().has(id)).length} of ${posted.length} are not told`, 60_000);
  assert.ok(posted.length >= ROUNDS);
  const bodies = new Map();
  for (const { id, data } of backend.questions) {
    assert.deepEqual(bodies.get(id) ?? data, data, 'what is told twice is the same');
    bodies.set(id, data);
  }
  assert.deepEqual(backend.faults, []);
});

test('a node that ends gives back what it tells, and has recorded what it was told', async () => {
  const backend = await backendWith();
  const hub = await hubWith(settings(backend, { webhook: 'timeout = 20s' }));
  backend.answer = () => () => {};
  await post(hub, { user: 'ann' });
  await until(() => told(backend).length === 1, 'it is called');
  await post(hub, { user: 'bob' });
  await hub.stop();
  backend.answer = () => ({});
  await hub.restart();
  await until(async () => (await inState(hub, 'completed')).length === 2, 'both are told');
  assert.equal((await inState(hub, 'completed')).every(({ attempt }) => attempt === 1), true, 'what was given back is no attempt');
});

test('each webhook is told what it wants of its tenant, and of what is loaded later', async () => {
  const [all, acme, dead] = await Promise.all([backendWith(), backendWith(), backendWith()]);
  const block = (name, backend, rest) => `webhook "${name}" { url = "${backend.url}" secret = "${backend.secrets[0]}" ${rest} }\n`;
  const base = `auth { tenants = on }
    outgoing { allow = {"127.0.0.1"} }
    queue "short" { attempts = 1 }
    api_key "jobs" { key = "${KEY}" scopes = {jobs} tenant = "acme" }
    api_key "operators" { key = "operators-0123456789" scopes = {jobs} }
    ${block('all', all, 'events = {"notification.stored", "notification.read"}')}
    ${block('acme', acme, 'tenant = "acme" events = {"notification.stored"}')}`;
  const hub = await hubWith(base);
  for (const tenant of ['acme', 'other']) {
    assert.equal((await hub.api('POST', '/api/v1/notifications', { tenant, user: 'ann', type: 'news', title: tenant, message: '' })).status, 201);
  }
  await until(() => told(all).length === 2 && told(acme).length === 1, 'both tenants');
  assert.deepEqual(told(all).map(({ data }) => data.tenant).sort(), ['acme', 'other']);
  assert.equal(told(acme)[0].data.tenant, 'acme');
  const listed = async (key) => (await hub.api('GET', '/api/v1/queues/webhook.all/jobs?state=completed', undefined, { authorization: `Bearer ${key}` })).body.items.length;
  await until(async () => (await listed('operators-0123456789')) > 0, 'who is of no tenant looks at its calls');
  assert.equal(await listed(KEY), 0, 'and a tenant does not');

  const before = hub.lines('RELOAD');
  hub.options.config = base + block('dead', dead, 'events = {"job.dead"}');
  hub.arguments(); // writes the file
  hub.reload();
  await until(() => hub.lines('RELOAD') > before, 'the settings are loaded again');
  const added = await jobs(hub, 'POST', 'jobs', { queue: 'short', type: 'letter', payload: 1, user: 'ann' });
  assert.equal(added.status, 201, JSON.stringify(added.body));
  const leased = await jobs(hub, 'POST', 'jobs/lease', { queues: ['short'] });
  const [job] = leased.body.jobs;
  assert.equal((await jobs(hub, 'POST', `jobs/${job.id}/fail`, { lease: job.lease, error: 'no paper' })).status, 200);
  await until(() => told(dead).length === 1, 'the job is dead');
  assert.deepEqual(told(dead)[0].data, { tenant: 'acme', id: job.id, queue: 'short', type: 'letter', user: 'ann', attempt: 1, error: 'no paper' });
});

test('nobody else adds to the queue of a webhook, or leases from it', async () => {
  const backend = await backendWith();
  const hub = await hubWith(settings(backend));
  const added = await jobs(hub, 'POST', 'jobs', { queue: 'webhook.crm', type: 'x', payload: {} });
  assert.deepEqual([added.status, added.body.error.field], [422, 'queue']);
  const leased = await jobs(hub, 'POST', 'jobs/lease', { queues: ['webhook.crm'] });
  assert.deepEqual([leased.status, leased.body.error.field], [422, 'queues']);
  const { queues } = (await jobs(hub, 'GET', 'queues')).body;
  const own = queues.find(({ name }) => name === 'webhook.crm');
  assert.deepEqual([own.concurrency, own.paused], [4, false]);

  assert.equal((await jobs(hub, 'POST', 'queues/webhook.crm/pause')).status, 200);
  await post(hub, { user: 'ann' });
  await until(async () => (await inState(hub, 'waiting')).length === 1, 'it waits');
  assert.equal(backend.questions.length, 0);
  assert.equal((await jobs(hub, 'POST', 'queues/webhook.crm/resume')).status, 200);
  await until(() => told(backend).length === 1, 'it goes on');
});

test('a webhook without what it needs is refused by name', async () => {
  const port = await freePort();
  const good = `url = "http://127.0.0.1:${port}/" secret = "${newSecret()}" events = {"notification.read"}`;
  const faults = [
    [`webhook "Crm" { ${good} }`, /webhook "Crm": allowed as name/],
    [`webhook "crm" { ${good.replace(/events = .*/, '')} }`, /webhook "crm": needs a url, a secret and events/],
    [`webhook "crm" { ${good.replace('notification.read', 'notification.lost')} }`, /events: .*allowed: .*notification\.stored/],
    [`webhook "crm" { ${good.replace(/whsec_[^"]+/, 'whsec_short')} }`, /webhook "crm": secret: is no secret/],
    [`webhook "crm" { ${good.replace('127.0.0.1', '127.0.0.2')} }`, /webhook "crm": url/],
    ['queue "webhook.other" { attempts = 3 }', /queue "webhook\.other": .* webhook block/],
  ];
  for (const [text, pattern] of faults) {
    await assert.rejects(startHub({ config: `outgoing { allow = {"127.0.0.1"} }\n${text}` }), pattern);
  }
});
