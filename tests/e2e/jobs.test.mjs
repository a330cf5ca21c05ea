// SPDX-License-Identifier: Apache-2.0
// Jobs: queues of backends and workers that lease, on one node with SQLite and on three over one
// Redis and one Postgres.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { after, before, describe, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { promisify } from 'node:util';
import { cleanEnvironment, PROGRAM, startHub } from './support/hub.mjs';
import { startPostgres } from './support/postgres.mjs';
import { startRedis } from './support/redis.mjs';
import { until, within } from './support/wait.mjs';

const FULL = process.env.PEAL_FULL === '1';
const KEY = 'jobs-0123456789abcd';
const JOBS = FULL ? 10_000 : 1000;
const WORKERS = 20;
const CONFIG = `api_key "jobs" { key = "${KEY}" scopes = {jobs} }
api_key "posts" { key = "posts-0123456789abcd" scopes = {publish} }
queue "quick" { concurrency = 50 timeout = 1s backoff = 0 }
queue "many" { concurrency = 30 timeout = 2s backoff = 0 attempts = 50 keep_completed = ${JOBS} }
queue "one" { concurrency = 1 }
limits { unauthenticated_per_address = 300 }
`;

let names = 0;
const newKey = () => `k${++names}-${randomInt(1e9)}`;

// A node as backends see it.
class Jobs {
  constructor(hub, { key = KEY, tenant = '' } = {}) {
    this.hub = hub;
    this.key = key;
    this.query = tenant && `?tenant=${tenant}`;
  }

  ask(method, path, body, options) {
    return this.hub.api(method, `/api/v1/${path}${this.query}`, body, { authorization: `Bearer ${this.key}` }, options);
  }

  async good(method, path, body, status = 200) {
    const answer = await this.ask(method, path, body);
    assert.equal(answer.status, status, `${method} ${path}: ${JSON.stringify(answer.body)}`);
    return answer.body;
  }

  async add(queue, more = {}) {
    return (await this.good('POST', 'jobs', { queue, type: 'letter', ...more }, 201)).id;
  }

  async lease(queues, { max = 1, wait = 0 } = {}) {
    return (await this.good('POST', 'jobs/lease', { queues: [queues].flat(), max, wait, worker: 'tests' })).jobs;
  }

  say({ id, lease }, verb, body = {}) {
    return this.ask('POST', `jobs/${id}/${verb}`, { lease, ...body });
  }

  get(id) {
    return this.good('GET', `jobs/${id}`);
  }

  async queue(name) {
    return (await this.good('GET', 'queues')).queues.find((queue) => queue.name === name);
  }
}

const rigs = {
  'one node with SQLite': async () => {
    const hub = await startHub({ config: CONFIG, env: { PEAL_SHARDS: '2' } });
    return { nodes: [new Jobs(hub)], stop: () => hub.stop() };
  },
  'three nodes over Redis and Postgres': async () => {
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
    return { redis, nodes: hubs.map((hub) => new Jobs(hub)), stop };
  },
};

for (const [name, make] of Object.entries(rigs)) {
  describe(name, () => {
    let rig;
    let nodes;
    const any = () => nodes[randomInt(nodes.length)];

    before(async () => {
      rig = await make();
      nodes = rig.nodes;
    });
    after(() => rig?.stop());

    test('a job is added, leased and completed, and its user is told how it goes', async () => {
      const told = [];
      const socket = any().hub.socketIo('ann');
      socket.on('task_progress', (progress) => told.push(progress));
      await within(new Promise((resolve) => socket.once('hub:ready', resolve)), 'hub:ready');
      const id = await any().add('email', { payload: { to: ['ä', 1, null] }, user: 'ann' });
      const [job] = await any().lease(['email', 'default'], { wait: 10 });
      const { lease, until: end, ...rest } = job;
      assert.deepEqual(rest, { id, queue: 'email', type: 'letter', payload: { to: ['ä', 1, null] }, attempt: 1, user: 'ann', priority: 'medium' });
      assert.ok(Date.parse(end) > Date.now());
      assert.equal((await any().say(job, 'progress', { percentage: 40, stage: 'reading', message: 'page 4' })).status, 200);
      assert.equal((await any().get(id)).percentage, 40);
      const done = await any().say(job, 'complete', { result: { pages: 9 } });
      assert.deepEqual([done.status, done.body], [200, { id, state: 'completed' }]);
      await until(() => told.length === 2, () => `two events: ${JSON.stringify(told)}`);
      const { timestamp, ...first } = told[0];
      assert.ok(Math.abs(Date.parse(timestamp) - Date.now()) < 60_000);
      assert.deepEqual(first, { taskId: id, percentage: 40, stage: 'reading', message: 'page 4' });
      assert.deepEqual([told[1].taskId, told[1].percentage, told[1].stage], [id, 100, 'completed']);
      const seen = await any().get(id);
      assert.deepEqual([seen.state, seen.result, seen.worker, seen.attempt], ['completed', { pages: 9 }, 'tests', 1]);
      assert.equal((await any().say({ id, lease }, 'complete')).status, 409);

      const lost = await any().add('email', { user: 'ann' });
      const [failing] = await any().lease('email', { wait: 10 });
      assert.equal(failing.id, lost);
      const failed = await any().say(failing, 'fail', { error: 'unknown type', retry: false });
      assert.deepEqual([failed.status, failed.body], [200, { id: lost, state: 'failed' }]);
      await until(() => told.length === 3, 'it is told that it has failed');
      assert.deepEqual([told[2].taskId, told[2].stage, told[2].message], [lost, 'failed', 'unknown type']);
      socket.close();
    });

    test('the queues that are there without settings give as many jobs at a time as promised', async () => {
      const figures = { default: 5, 'ai-processing': 2, 'file-processing': 3, email: 10 };
      for (const [queue, most] of Object.entries(figures)) {
        const body = Array.from({ length: 12 }, () => ({ queue, type: 't' }));
        const { items } = await any().good('POST', 'jobs', body, 201);
        assert.equal(items.length, 12);
        const leases = await Promise.all(nodes.concat(nodes).map((node) => node.lease(queue, { max: 100 })));
        const jobs = leases.flat();
        assert.equal(jobs.length, most, queue);
        assert.equal(new Set(jobs.map(({ id }) => id)).size, most);
        const { counts, concurrency } = await any().queue(queue);
        assert.deepEqual([counts.active, counts.waiting, concurrency], [most, 12 - most, most]);
        for (const { id } of items) assert.equal((await any().ask('DELETE', `jobs/${id}`)).status, 204);
      }
    });

    test('a failure waits 2 s, 4 s, and after three attempts the job is dead', async () => {
      const id = await any().add('default');
      for (const seconds of [2, 4, 0]) {
        const [job] = await any().lease('default', { wait: 30 });
        assert.equal(job?.id, id);
        const before = Date.now();
        const { body } = await any().say(job, 'fail', { error: 'no route' });
        if (seconds === 0) {
          assert.deepEqual(body, { id, state: 'dead' });
          break;
        }
        assert.equal(body.state, 'delayed');
        const at = Date.parse(body.runAt);
        assert.ok(at >= before + seconds * 1000 - 5 && at <= Date.now() + seconds * 1100 + 5, `${seconds} s: ${at - before} ms`);
      }
      const { state, error, attempt } = await any().get(id);
      assert.deepEqual([state, error, attempt], ['dead', 'no route', 3]);
      const { items } = await any().good('GET', 'queues/default/jobs');
      assert.deepEqual(items, []);
      assert.equal((await any().ask('POST', `jobs/${id}/retry`)).body.state, 'waiting');
      const [again] = await any().lease('default', { wait: 10 });
      assert.deepEqual([again.id, again.attempt], [id, 1]);
      assert.equal((await any().ask('POST', `jobs/${id}/retry`)).body.error.code, 'wrong_state');
      assert.equal((await any().say(again, 'complete')).status, 200);
    });

    test('a worker that waits is told when a job comes, on whatever node', async () => {
      for (let i = 0; i < 6; i++) {
        const waiting = nodes[i % nodes.length].lease(['one', 'quick'], { wait: 30 });
        await pause(20 * i);
        const id = await nodes[(i + 1) % nodes.length].add('one');
        const [job] = await within(waiting, 'the job');
        assert.equal(job.id, id);
        const second = await nodes[(i + 2) % nodes.length].add('one');
        const next = nodes[i % nodes.length].lease('one', { wait: 30 });
        assert.equal((await any().say(job, 'complete')).status, 200); // it makes room
        const [other] = await within(next, 'the next one');
        assert.equal(other.id, second);
        assert.equal((await any().say(other, 'complete')).status, 200);
      }
      const later = any().lease('one', { wait: 30 });
      const id = await any().add('one', { run_at: Date.now() + 700 });
      const [job] = await within(later, 'what was delayed');
      assert.equal(job.id, id);
      assert.equal((await any().say(job, 'complete')).status, 200);
    });

    test('a repeated key gives the first id', async () => {
      const key = newKey();
      const first = await any().good('POST', 'jobs', { queue: 'one', type: 'a', key, run_at: Date.now() + 1e7 }, 201);
      const again = await any().good('POST', 'jobs', { queue: 'one', type: 'b', key }, 200);
      assert.deepEqual([first.status, again], ['added', { id: first.id, status: 'duplicate' }]);
      const other = await any().good('POST', 'jobs', [{ queue: 'quick', type: 'a', key, run_at: Date.now() + 1e7 }, { queue: 'one', type: 'a', key }], 201);
      assert.deepEqual(other.items.map(({ status }) => status), ['added', 'duplicate']);
      assert.equal((await any().get(first.id)).type, 'a');
      for (const id of [first.id, other.items[0].id]) assert.equal((await any().ask('DELETE', `jobs/${id}`)).status, 204);
      assert.equal((await any().ask('GET', `jobs/${first.id}`)).status, 404);
    });

    test('a worker that dies gives its job back, and what it says late is refused', async () => {
      const id = await any().add('quick');
      const [job] = await any().lease('quick', { wait: 10 });
      const [again] = await within(any().lease('quick', { wait: 30 }), 'the job, given back');
      assert.deepEqual([job.id, again.id, again.attempt], [id, id, 2]);
      for (const [verb, body] of [['complete', {}], ['progress', { percentage: 1 }], ['fail', { error: 'x' }]]) {
        const late = await any().say(job, verb, body);
        assert.deepEqual([late.status, late.body.error.code, late.body.error.field], [409, 'lease_lost', 'lease'], verb);
      }
      assert.equal((await any().say(again, 'complete')).status, 200);
      const { stalled, state } = await any().get(id);
      assert.deepEqual([stalled, state], [1, 'completed']);
      const counted = await Promise.all(nodes.map(({ hub }) => hub.metric('peal_jobs_stalled_total')));
      assert.ok(counted.reduce((sum, value) => sum + value, 0) >= 1);
    });

    test('a lease that goes on for as long as its worker says progress', async () => {
      const id = await any().add('quick');
      const [job] = await any().lease('quick', { wait: 10 });
      const end = Date.now() + 3000;
      for (let percentage = 0; Date.now() < end; percentage++) {
        assert.equal((await any().say(job, 'progress', { percentage: percentage % 100 })).status, 200);
        await pause(50);
      }
      assert.equal((await any().say(job, 'complete')).status, 200);
      assert.equal((await any().get(id)).stalled, 0);
    });

    test('what a worker had been given when it went is given to the next one', async () => {
      const gone = new AbortController();
      const waits = any().ask('POST', 'jobs/lease', { queues: ['one'], wait: 30 }, { signal: gone.signal }).catch(() => {});
      await pause(100);
      gone.abort();
      await waits;
      const id = await any().add('one');
      const [job] = await within(any().lease('one', { wait: 30 }), 'the job');
      assert.equal(job.id, id);
      assert.equal((await any().say(job, 'complete')).status, 200);
    });

    test('a queue that is paused gives nothing until it goes on', async () => {
      assert.deepEqual(await any().good('POST', 'queues/one/pause'), { paused: true, changed: true });
      assert.deepEqual(await any().good('POST', 'queues/one/pause'), { paused: true, changed: false });
      const id = await any().add('one');
      assert.deepEqual(await any().lease('one', { wait: 1 }), []);
      assert.equal((await any().queue('one')).paused, true);
      const waiting = any().lease('one', { wait: 30 });
      assert.deepEqual(await any().good('POST', 'queues/one/resume'), { paused: false, changed: true });
      const [job] = await within(waiting, 'the job');
      assert.equal(job.id, id);
      assert.equal((await any().say(job, 'complete')).status, 200);
    });

    test('lists tell all jobs of a state, page by page', async () => {
      const body = Array.from({ length: 45 }, (_, n) => ({ queue: 'one', type: `t${n}`, run_at: Date.now() + 1e7, priority: ['low', 'high'][n % 2] }));
      const { items } = await any().good('POST', 'jobs', body, 201);
      const found = [];
      for (let after = ''; after !== null;) {
        const node = any();
        const { status, body: page } = await node.hub.api('GET', `/api/v1/queues/one/jobs?state=delayed&limit=20${after && `&after=${after}`}`, undefined, { authorization: `Bearer ${KEY}` });
        assert.equal(status, 200, JSON.stringify(page));
        found.push(...page.items);
        after = page.next;
      }
      assert.deepEqual(found.map(({ id }) => id).sort(), items.map(({ id }) => id).sort());
      assert.deepEqual(found.map(({ priority }) => priority), [...Array(22).fill('high'), ...Array(23).fill('low')]);
      assert.ok(found.every(({ state }) => state === 'delayed'));
      for (const { id } of items) assert.equal((await any().ask('DELETE', `jobs/${id}`)).status, 204);
    });

    test('100 of those completed and 50 of those failed are kept', async () => {
      for (let left = 230; left > 0; left -= 10) {
        await any().good('POST', 'jobs', Array.from({ length: 10 }, () => ({ queue: 'email', type: 't' })), 201);
        for (const job of await any().lease('email', { max: 10, wait: 10 })) {
          const answer = await (left > 110 ? any().say(job, 'complete') : any().say(job, 'fail', { error: 'x', retry: false }));
          assert.equal(answer.status, 200);
        }
      }
      let counts;
      await until(async () => {
        ({ counts } = await any().queue('email'));
        return counts.completed === 100 && counts.failed === 50;
      }, () => JSON.stringify(counts), 60_000);
    });

    test(`${JOBS} jobs, ${WORKERS} workers of which a third are killed: each is completed, none is active twice`, async () => {
      const ids = [];
      for (let n = 0; n < JOBS; n += 500) {
        const body = Array.from({ length: Math.min(500, JOBS - n) }, (_, i) => ({ queue: 'many', type: 't', payload: n + i }));
        ids.push(...(await any().good('POST', 'jobs', body, 201)).items.map(({ id }) => id));
      }
      const held = new Map(); // id -> when its lease ends, as its worker knows
      const completed = new Set();
      const errors = [];
      let most = 0;
      const work = async (worker) => {
        const node = nodes[worker % nodes.length];
        const dies = worker % 3 === 0;
        for (let turn = 0; completed.size < JOBS; turn++) {
          const jobs = await node.lease('many', { max: 3, wait: 2 });
          const now = Date.now();
          for (const { id, until: end } of jobs) {
            if (completed.has(id)) errors.push(`${id} was given though it is completed`);
            if (held.get(id) > now) errors.push(`${id} was given though its lease lasts for ${held.get(id) - now} ms`);
            held.set(id, Date.parse(end));
          }
          most = Math.max(most, [...held.values()].filter((end) => end > now).length);
          if (dies && turn === 2) return; // with what it has
          for (const job of jobs) {
            if (randomInt(50) === 0) await pause(20);
            const fails = randomInt(40) === 0;
            held.delete(job.id); // from here on it may be somebody else's
            const { status, body } = await node.say(job, fails ? 'fail' : 'complete', fails ? { error: 'chance' } : {});
            if (status === 200 && !fails) completed.add(job.id);
            else if (status !== 200 && status !== 409) errors.push(JSON.stringify(body));
          }
        }
      };
      await Promise.all(Array.from({ length: WORKERS }, (_, worker) => work(worker)));
      assert.deepEqual(errors, []);
      assert.equal(completed.size, JOBS);
      assert.ok(most <= 30, `${most} at a time`);
      const { counts } = await any().queue('many');
      assert.deepEqual([counts.completed, counts.active, counts.waiting, counts.dead], [JOBS, 0, 0, 0]);
      await until(async () => (await Promise.all(nodes.map(({ hub }) => hub.metric('peal_jobs_workers_waiting')))).every((count) => count === 0), 'nobody waits');
    });

    test('what is wrong is refused by its name', async () => {
      const node = any();
      const uuid = '01980000-0000-7000-8000-000000000000';
      const cases = [
        ['POST', 'jobs', {}, 422, 'queue'],
        ['POST', 'jobs', { queue: 'nobody', type: 't' }, 422, 'queue'],
        ['POST', 'jobs', { queue: 'one' }, 422, 'type'],
        ['POST', 'jobs', { queue: 'one', type: 't', user: 'a/b' }, 422, 'user'],
        ['POST', 'jobs', { queue: 'one', type: 't', key: 'ä' }, 422, 'key'],
        ['POST', 'jobs', { queue: 'one', type: 't', run_at: 'soon' }, 422, 'run_at'],
        ['POST', 'jobs', { queue: 'one', type: 't', priority: 5 }, 422, 'priority'],
        ['POST', 'jobs', { queue: 'one', type: 't', payload: 'x'.repeat(70_000) }, 413, 'payload'],
        ['POST', 'jobs', { queue: 'one', type: 't', paylaod: 1 }, 422, 'paylaod'],
        ['POST', 'jobs', [], 422, undefined],
        ['POST', 'jobs', Array(1001).fill({ queue: 'one', type: 't' }), 413, undefined],
        ['POST', 'jobs', 'nonsense', 400, undefined],
        ['POST', 'jobs/lease', {}, 422, 'queues'],
        ['POST', 'jobs/lease', { queues: [] }, 422, 'queues'],
        ['POST', 'jobs/lease', { queues: ['nobody'] }, 422, 'queues'],
        ['POST', 'jobs/lease', { queues: ['one', 'one'] }, 422, 'queues'],
        ['POST', 'jobs/lease', { queues: ['one'], max: 0 }, 422, 'max'],
        ['POST', 'jobs/lease', { queues: ['one'], max: 101 }, 422, 'max'],
        ['POST', 'jobs/lease', { queues: ['one'], wait: 31 }, 422, 'wait'],
        ['POST', 'jobs/lease', { queues: ['one'], worker: 'x'.repeat(129) }, 422, 'worker'],
        ['POST', 'jobs/lease', { queues: ['one'], qeue: 1 }, 422, 'qeue'],
        ['POST', `jobs/${uuid}/complete`, {}, 422, 'lease'],
        ['POST', `jobs/${uuid}/complete`, { lease: 'x' }, 422, 'lease'],
        ['POST', `jobs/${uuid}/complete`, { lease: uuid, result: 'x'.repeat(70_000) }, 422, 'result'],
        ['POST', `jobs/${uuid}/complete`, { lease: uuid }, 404, undefined],
        ['POST', `jobs/${uuid}/progress`, { lease: uuid }, 422, 'percentage'],
        ['POST', `jobs/${uuid}/progress`, { lease: uuid, percentage: 101 }, 422, 'percentage'],
        ['POST', `jobs/${uuid}/progress`, { lease: uuid, percentage: 1, stage: 7 }, 422, 'stage'],
        ['POST', `jobs/${uuid}/fail`, { lease: uuid }, 422, 'error'],
        ['POST', `jobs/${uuid}/fail`, { lease: uuid, error: 'x', retry: 1 }, 422, 'retry'],
        ['POST', `jobs/${uuid}/retry`, { x: 1 }, 422, 'x'],
        ['GET', 'jobs/nonsense', undefined, 404, undefined],
        ['GET', `jobs/${uuid}`, undefined, 404, undefined],
        ['DELETE', `jobs/${uuid}`, undefined, 404, undefined],
        ['GET', 'queues/nobody/jobs', undefined, 404, 'queue'],
        ['GET', 'queues/one/jobs?state=lost', undefined, 422, 'state'],
        ['GET', 'queues/one/jobs?limit=0', undefined, 422, 'limit'],
        ['GET', 'queues/one/jobs?after=1.2', undefined, 422, 'after'],
        ['POST', 'queues/nobody/pause', undefined, 404, 'queue'],
      ];
      for (const [method, path, body, status, field] of cases) {
        const answer = await node.ask(method, path, body);
        assert.deepEqual([answer.status, answer.body?.error?.field], [status, field], `${method} ${path} ${JSON.stringify(body)?.slice(0, 80)}: ${JSON.stringify(answer.body)}`);
      }
      const { body } = await node.ask('POST', 'jobs', [{ queue: 'one', type: 't' }, { queue: 'nobody', type: 't' }]);
      assert.deepEqual([body.error.field, body.error.index], ['queue', 1]);
      assert.equal((await node.queue('one')).counts.waiting, 0); // nothing of it was added
      for (const path of ['jobs', 'jobs/lease', `jobs/${uuid}/retry`, 'queues/one/pause']) {
        assert.equal((await new Jobs(node.hub, { key: 'posts-0123456789abcd' }).ask('POST', path, {})).status, 403, path);
      }
    });
  });
}

test('tenants have queues of their own', async () => {
  const hub = await startHub({ config: `${CONFIG}auth { tenants = on }\n` });
  const [a, b] = ['a', 'b'].map((tenant) => new Jobs(hub, { tenant }));
  const ids = [await a.add('one'), await a.add('one'), await b.add('one')];
  const [first] = await a.lease('one', { max: 10 });
  assert.equal(first.id, ids[0]);
  assert.deepEqual(await a.lease('one', { max: 10 }), []);
  const [other] = await b.lease('one', { max: 10 }); // its own place
  assert.equal(other.id, ids[2]);
  for (const [node, id] of [[b, ids[0]], [a, ids[2]]]) {
    assert.equal((await node.ask('GET', `jobs/${id}`)).status, 404);
    assert.equal((await node.ask('DELETE', `jobs/${id}`)).status, 404);
  }
  assert.equal((await b.say(first, 'complete')).status, 404);
  assert.deepEqual([(await a.queue('one')).counts.waiting, (await b.queue('one')).counts.waiting], [1, 0]);
  await hub.stop();
});

test('jobs outlive the end of a node', async () => {
  const hub = await startHub({ config: CONFIG });
  const node = new Jobs(hub);
  const [waits, works] = [await node.add('one'), await node.add('quick')];
  const [job] = await node.lease('quick');
  assert.equal(job.id, works);
  await hub.kill();
  await hub.restart();
  assert.equal((await node.say(job, 'complete')).status, 200);
  const [other] = await node.lease('one', { wait: 10 });
  assert.equal(other.id, waits);
  await hub.stop();
});

test('a node that ends tells workers that wait', async () => {
  const hub = await startHub({ config: CONFIG });
  const node = new Jobs(hub);
  const waits = node.ask('POST', 'jobs/lease', { queues: ['one'], wait: 30 });
  await until(async () => (await hub.metric('peal_jobs_workers_waiting')) === 1, 'it waits');
  await hub.stop();
  const { status, body } = await within(waits, 'the answer');
  assert.deepEqual([status, body], [200, { jobs: [] }]);
});

test('peal jobs shows queues and their jobs, and changes them', async () => {
  const hub = await startHub({ config: `${CONFIG}auth { tenants = on }\n` });
  const node = new Jobs(hub, { tenant: 'a b' });
  const run = async (...args) => {
    const all = ['jobs', ...args, '--url', hub.url, '--api-key', KEY, '--tenant', 'a b'];
    const { stdout } = await promisify(execFile)(PROGRAM, all, { env: cleanEnvironment({}) });
    return stdout.trim().split('\n').filter(Boolean).map((line) => JSON.parse(line));
  };
  const fails = async (code, pattern, ...args) => {
    await assert.rejects(run(...args), (error) => error.code === code && pattern.test(error.stderr), args.join(' '));
  };
  const body = Array.from({ length: 130 }, (_, n) => ({ queue: 'one', type: `t${n}` }));
  const { items } = await node.good('POST', 'jobs', body, 201);
  assert.equal((await run('list')).find(({ name }) => name === 'one').counts.waiting, 130);
  assert.deepEqual((await run('list', '--queue', 'one')).map(({ id }) => id).sort(), items.map(({ id }) => id).sort());
  assert.deepEqual(await run('list', '--queue', 'one', '--state', 'dead'), []);
  assert.deepEqual(await run('pause', '--queue', 'one'), [{ paused: true, changed: true }]);
  assert.deepEqual(await node.lease('one'), []);
  assert.deepEqual(await run('resume', '--queue', 'one'), [{ paused: false, changed: true }]);
  const [job] = await node.lease('one');
  assert.equal((await node.say(job, 'fail', { error: 'x', retry: false })).status, 200);
  assert.equal((await run('retry', '--id', job.id))[0].state, 'waiting');
  assert.deepEqual(await run('drop', '--id', job.id), []);
  assert.equal((await node.ask('GET', `jobs/${job.id}`)).status, 404);
  await fails(1, /There is no such job/, 'drop', '--id', job.id);
  await fails(1, /There is no such queue/, 'pause', '--queue', 'x/y');
  await fails(2, /say which with --id/, 'drop');
  await fails(2, /expected list, retry/, 'lst');
  await fails(2, /unknown argument/, 'list', '--qeue', 'one');
  await hub.stop();
  await fails(1, /cannot connect/, 'list');
});
