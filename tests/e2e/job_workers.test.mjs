// SPDX-License-Identifier: Apache-2.0
// Workers as people write them: clients/node's and the example in Python, on a real hub; and jobs that
// come by a stream, once each, over the death of the node that reads it.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { PealServer } from '../../clients/node/index.js';
import { startHub } from './support/hub.mjs';
import { startPostgres } from './support/postgres.mjs';
import { startRedis } from './support/redis.mjs';
import { until, within } from './support/wait.mjs';

const KEY = 'job-workers-0123456789';
const CONFIG = `api_key "jobs" { key = "${KEY}" scopes = {jobs} }
queue "short" { timeout = 1s backoff = 0 concurrency = 5 }
queue "email" { backoff = 0 concurrency = 100 keep_completed = 10000 }
`;
const PYTHON = fileURLToPath(new URL('../../clients/python/peal_worker.py', import.meta.url));

describe('one node', () => {
  let hub;
  let peal;
  before(async () => {
    hub = await startHub({ config: CONFIG });
    peal = new PealServer({ url: hub.url, key: KEY });
  });
  after(() => hub?.stop());

  const ended = async (id) => {
    let job;
    await until(async () => {
      job = await peal.jobs.get(id);
      return ['completed', 'failed', 'dead'].includes(job.state);
    }, () => `the end of ${JSON.stringify(job)}`);
    return job;
  };

  test("a worker of clients/node does jobs, and what it cannot do fails", async () => {
    const errors = [];
    const seen = [];
    const worker = peal.jobs.worker('email', {
      letter: async (job) => {
        await job.progress(50, 'sending');
        seen.push(job.payload);
        return { sent: job.payload.n };
      },
      bad: () => {
        throw new Error('no route');
      },
      hopeless: () => {
        throw Object.assign(new Error('no such address'), { retry: false });
      },
    }, { concurrency: 4, name: 'node', onError: (error) => errors.push(error) });
    const { items } = await peal.jobs.add(Array.from({ length: 30 }, (_, n) => ({ queue: 'email', type: 'letter', payload: { n } })));
    for (const [n, { id }] of items.entries()) {
      const { state, result, percentage } = await ended(id);
      assert.deepEqual([state, result, percentage], ['completed', { sent: n }, 100]);
    }
    assert.equal(seen.length, 30);
    const bad = await ended((await peal.jobs.add({ queue: 'email', type: 'bad' })).id);
    assert.deepEqual([bad.state, bad.attempt, bad.error, bad.worker], ['dead', 3, 'no route', 'node']);
    const hopeless = await ended((await peal.jobs.add({ queue: 'email', type: 'hopeless' })).id);
    assert.deepEqual([hopeless.state, hopeless.attempt], ['failed', 1]);
    const unknown = await ended((await peal.jobs.add({ queue: 'email', type: 'unheard of' })).id);
    assert.deepEqual([unknown.state, unknown.error], ['failed', 'unknown job type: unheard of']);
    await within(worker.stop(), 'the worker');
    const left = await peal.jobs.add({ queue: 'email', type: 'letter', run_at: new Date(Date.now() + 1e7) });
    assert.equal((await peal.jobs.list('email', { state: 'delayed' })).items[0].id, left.id);
    await peal.jobs.drop(left.id);
    await assert.rejects(peal.jobs.get(left.id), { code: 'not_found' });
    assert.deepEqual(errors, []);
  });

  test('a handler that takes longer than the lease keeps its job, and a worker that stops ends it', async () => {
    let begun;
    const begins = new Promise((resolve) => {
      begun = resolve;
    });
    let finish;
    const worker = peal.jobs.worker('short', (job) => new Promise((resolve) => {
      begun(job);
      finish = resolve;
    }));
    const { id } = await peal.jobs.add({ queue: 'short', type: 'long' });
    await within(begins, 'the job');
    const first = Date.parse((await peal.jobs.get(id)).until);
    await until(async () => Date.parse((await peal.jobs.get(id)).until) > first + 2000, 'the lease is extended');
    const stops = worker.stop();
    finish('done');
    await within(stops, 'the end of the worker');
    const { state, result, stalled } = await peal.jobs.get(id);
    assert.deepEqual([state, result, stalled], ['completed', 'done', 0]);
  });

  test('the worker in Python', async () => {
    const python = spawn('python3', [PYTHON, 'email', 'default'], { env: { ...process.env, PEAL_URL: hub.url, PEAL_KEY: KEY }, stdio: ['ignore', 'inherit', 'inherit'] });
    const exits = once(python, 'exit');
    const sum = await ended((await peal.jobs.add({ queue: 'default', type: 'add_up', payload: { numbers: [1, 2, 39] }, user: 'ann' })).id);
    assert.deepEqual([sum.state, sum.result], ['completed', { sum: 42 }]);
    assert.match(sum.worker, /^python-\d+$/);
    const bad = await ended((await peal.jobs.add({ queue: 'email', type: 'add_up', payload: {} })).id);
    assert.deepEqual([bad.state, bad.attempt], ['dead', 3]);
    const unknown = await ended((await peal.jobs.add({ queue: 'default', type: 'other' })).id);
    assert.deepEqual([unknown.state, unknown.error], ['failed', 'unknown job type: other']);
    python.kill('SIGTERM');
    assert.deepEqual((await within(exits, 'its end'))[0], 0);
  });
});

for (const partitions of [1, 4]) {
  test(`jobs of a stream are added once each, with ${partitions} partitions, over the death of nodes`, async () => {
    const [redis, postgres] = await Promise.all([startRedis(), startPostgres()]);
    const options = { redis, postgres, config: `${CONFIG}bus { partitions = ${partitions} }\n` };
    const first = await startHub(options);
    const second = await startHub({ ...options, secret: first.secret, apiKey: first.apiKey });
    const client = redis.client();
    const add = (fields) => client.xadd('peal:in', '*', ...Object.entries(fields).flat());
    const count = 400;
    for (let n = 0; n < count; n++) {
      await add({ job: 'email', type: 'letter', payload: JSON.stringify({ n }), user: `u${n % 7}`, ...(n % 5 === 0 && { key: `k${n}` }) });
      if (n % 5 === 0) await add({ job: 'email', type: 'letter', payload: JSON.stringify({ n }), key: `k${n}` });
      if (n === 150) await first.kill();
      if (n === 250) await first.restart();
      if (n === 300) await second.kill();
    }
    for (const [field, entry] of [['job', { job: 'nobody', type: 't' }], ['payload', { job: 'email', type: 't', payload: '{' }], ['title', { job: 'email', type: 't', title: 'x' }]]) {
      await add(entry);
      await until(async () => (await client.xrange('peal:dead', '-', '+')).some(([, fields]) => fields[fields.indexOf('dead:field') + 1] === field), `a dead letter for ${field}`);
    }
    const peal = new PealServer({ url: first.url, key: KEY });
    const done = new Map();
    const worker = peal.jobs.worker('email', ({ payload }) => {
      done.set(payload.n, (done.get(payload.n) ?? 0) + 1);
    }, { concurrency: 20 });
    await until(async () => {
      const { counts } = (await peal.jobs.queues()).find(({ name }) => name === 'email');
      return counts.completed >= count && counts.waiting === 0 && counts.active === 0;
    }, () => `all jobs: ${done.size}`);
    await worker.stop();
    assert.deepEqual([done.size, [...done.values()].every((times) => times === 1)], [count, true]);
    await first.stop();
    await redis.stop();
    await postgres.stop();
  });
}
