// SPDX-License-Identifier: Apache-2.0
// Jobs: adding them, and workers that lease them. A job is run at least once: what a handler does must bear being
// done twice, by the job's id.
import { randomUUID } from 'node:crypto';
import { invalid } from './peal_error.js';
import { pause, segment } from './transport.js';

const BASE = '/api/v1/jobs';
const WAIT_S = 20; // of a lease that finds nothing; the hub waits up to 30
const AGAIN_MS = 1_000; // after a hub that could not be asked
const SLACK_MS = 10_000; // for an answer, beyond the wait
const LEASE_MAX = 100;

const timed = (job) => (job.run_at instanceof Date ? { ...job, run_at: job.run_at.toISOString() } : job);
const messageOf = (error) => (String(error?.message ?? error).slice(0, 1000) || 'failed');

// A job under way, as its handler gets it.
class Task {
  #jobs;
  #job;
  #last = { percentage: 0 };
  #gone = new AbortController();
  #timer;

  constructor(jobs, job) {
    this.#jobs = jobs;
    this.#job = job;
    Object.assign(this, job);
    this.#keep();
  }

  // Aborted when the lease is lost: somebody else has the job, or it was dropped.
  get signal() {
    return this.#gone.signal;
  }

  // Say how far it is; extends the lease, and is told to the job's user. Rejects when the lease is lost.
  async progress(percentage, stage, message) {
    this.#last = { percentage: Math.round(percentage), stage, message };
    await this.say('progress', this.#last);
  }

  async say(verb, body) {
    const { id, lease } = this.#job;
    try {
      return await this.#jobs.say(id, verb, { lease, ...body });
    } catch (error) {
      if (error.status === 409 || error.status === 404) this.#gone.abort(error);
      throw error;
    }
  }

  // Half of the lease before its end the last progress is said again, until the job has ended.
  #keep() {
    const left = Math.max(100, (new Date(this.#job.until) - Date.now()) / 2);
    this.#timer = setTimeout(async () => {
      try {
        const { until } = await this.say('progress', this.#last);
        this.#job.until = until;
      } catch {
        // Lost, which the signal says; or the hub is away, which the next time shows.
      }
      if (!this.#gone.signal.aborted && this.#timer !== undefined) this.#keep();
    }, left);
  }

  end() {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }
}

// Leases jobs of a queue and has them done, `concurrency` at a time, until it is stopped.
class Worker {
  #jobs;
  #queue;
  #handler;
  #options;
  #running = new Set();
  #stop = new AbortController();
  #loop;

  constructor(jobs, queue, handler, { concurrency = 1, name, onError = () => {} } = {}) {
    if (!Number.isInteger(concurrency) || concurrency < 1) throw invalid('concurrency', 'concurrency: 1 or more');
    if (typeof handler !== 'function' && typeof handler !== 'object') throw invalid('handler', 'handler: a function, or one for each type');
    this.#jobs = jobs;
    this.#queue = queue;
    this.#handler = handler;
    this.#options = { concurrency, name, onError };
    this.#loop = this.#run();
  }

  // Lease no more, and resolve when what is under way has ended.
  async stop() {
    this.#stop.abort();
    await this.#loop;
    await Promise.all(this.#running);
  }

  async #run() {
    const { signal } = this.#stop;
    const { concurrency, name, onError } = this.#options;
    while (!signal.aborted) {
      try {
        if (this.#running.size >= concurrency) {
          await Promise.race(this.#running);
          continue;
        }
        const max = Math.min(LEASE_MAX, concurrency - this.#running.size);
        for (const job of await this.#jobs.lease([this.#queue].flat(), { max, worker: name, signal })) this.#begin(job);
      } catch (error) {
        if (signal.aborted) break;
        onError(error);
        await pause(AGAIN_MS, signal).catch(() => {});
      }
    }
  }

  #begin(job) {
    const task = new Task(this.#jobs, job);
    const work = this.#work(task).catch((error) => this.#options.onError(error, task)).finally(() => {
      task.end();
      this.#running.delete(work);
    });
    this.#running.add(work);
  }

  async #work(task) {
    const handler = typeof this.#handler === 'function' ? this.#handler : this.#handler[task.type];
    let result;
    try {
      if (typeof handler !== 'function') throw Object.assign(new Error(`unknown job type: ${task.type}`), { retry: false });
      result = await handler(task);
    } catch (error) {
      task.end();
      if (!task.signal.aborted) await task.say('fail', { error: messageOf(error), retry: error?.retry !== false });
      return;
    }
    task.end();
    await task.say('complete', result === undefined ? {} : { result });
  }
}

export class Jobs {
  #transport;

  constructor(transport) {
    this.#transport = transport;
  }

  async #ask(method, path, { signal, timeout, retries } = {}, request) {
    return (await this.#transport.ask({ method, path, ...request, signal, timeout, retries })).body;
  }

  // One job {queue, type, payload?, user?, key?, run_at?, priority?}: {id, status}; or a list of up to 1,000, all or
  // none: {items}. Those without a key get one here, so that it can be repeated.
  add(what, how) {
    const keyed = (job) => timed({ ...job, key: job.key ?? randomUUID() });
    return this.#ask('POST', BASE, how, { body: Array.isArray(what) ? what.map(keyed) : keyed(what), repeat: true });
  }

  // Jobs for a worker that does not use `worker`; none when there are none within `wait` seconds.
  async lease(queues, { max = 1, wait = WAIT_S, worker, ...how } = {}) {
    const body = { queues, max, wait, ...(worker !== undefined && { worker }) };
    const answer = await this.#ask('POST', `${BASE}/lease`, { retries: 0, timeout: wait * 1000 + SLACK_MS, ...how }, { body });
    return answer.jobs;
  }

  // What a worker says of a job: `progress`, `complete`, `fail`, with its `lease`.
  say(id, verb, body, how) {
    return this.#ask('POST', `${BASE}/${segment('id', id)}/${segment('verb', verb)}`, how, { body, repeat: verb === 'progress' });
  }

  // Have jobs of a queue, or of several, done by `handler(job)`, or by one of {type: handler}: what it returns is the result;
  // what it throws fails the attempt, for good with `retry: false` on the error. `job.progress(percentage, stage?, message?)`,
  // `job.signal`. Options: `concurrency`, `name`, `onError(error, job?)`. Resolves nothing: `await worker.stop()`.
  worker(queue, handler, options) {
    return new Worker(this, queue, handler, options);
  }

  get(id, how) {
    return this.#ask('GET', `${BASE}/${segment('id', id)}`, how, { repeat: true });
  }

  retry(id, how) {
    return this.#ask('POST', `${BASE}/${segment('id', id)}/retry`, how, {});
  }

  async drop(id, how) {
    await this.#ask('DELETE', `${BASE}/${segment('id', id)}`, how, { repeat: true, gone: true });
  }

  async queues(how) {
    return (await this.#ask('GET', '/api/v1/queues', how, { repeat: true })).queues;
  }

  // {items, next} of a state.
  list(queue, query, how) {
    return this.#ask('GET', `/api/v1/queues/${segment('queue', queue)}/jobs`, how, { query, repeat: true });
  }

  pause(queue, how) {
    return this.#ask('POST', `/api/v1/queues/${segment('queue', queue)}/pause`, how, { repeat: true });
  }

  resume(queue, how) {
    return this.#ask('POST', `/api/v1/queues/${segment('queue', queue)}/resume`, how, { repeat: true });
  }
}

