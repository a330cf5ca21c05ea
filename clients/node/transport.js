// SPDX-License-Identifier: Apache-2.0
// Requests to the hub, each with a deadline, and repeated where that is safe.
//
// What may be repeated: whatever was surely not done (nothing was sent; 503 and 429, by which the hub
// says so), and else only what is the same when it is done twice (`repeat: true`).
import { PealError, invalid, refusal } from './peal_error.js';

const PAUSE_MS = 100; // before the first repeat; doubles with each
const PAUSE_MAX_MS = 2_000;
const PATIENCE_MS = 10_000; // a hub that wants a longer pause is not waited for

// What says, as the cause of a failed fetch, that no byte of the request was sent.
const UNSENT = new Set([
  'ECONNREFUSED', 'ENOTFOUND', 'EAI_AGAIN', 'EHOSTUNREACH', 'ENETUNREACH', 'EADDRNOTAVAIL', 'EMFILE', 'ENOENT',
  'EACCES', 'UND_ERR_CONNECT_TIMEOUT', 'CERT_HAS_EXPIRED', 'CERT_NOT_YET_VALID', 'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN', 'UNABLE_TO_VERIFY_LEAF_SIGNATURE', 'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'ERR_TLS_CERT_ALTNAME_INVALID',
]);

const isUnsent = ({ code, errors } = {}) => UNSENT.has(code) || errors?.some(isUnsent) === true;

// Wait, or reject with the reason of `signal`.
export function pause(ms, signal) {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) {
      reject(signal.reason);
      return;
    }
    const end = (settle, value) => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', onAbort);
      settle(value);
    };
    const onAbort = () => end(reject, signal.reason);
    const timer = setTimeout(() => end(resolve), ms);
    signal?.addEventListener('abort', onAbort);
  });
}

// A piece of a path. "." and ".." would be another path, however they are encoded.
export function segment(field, value) {
  const text = typeof value === 'number' || typeof value === 'bigint' ? String(value) : value;
  if (typeof text !== 'string' || text === '' || text === '.' || text === '..') {
    throw invalid(field, `${field}: a text that is not empty, "." or ".."`);
  }
  return encodeURIComponent(text);
}

function queryOf(query) {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query ?? {})) {
    if (value === undefined || value === null) continue;
    if (value instanceof Date) search.set(name, value.toISOString());
    else search.set(name, Array.isArray(value) ? value.join(',') : String(value));
  }
  const text = search.toString();
  return text === '' ? '' : `?${text}`;
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

const isDone = ({ status }) => status >= 200 && status < 300;

// How long to wait before `error` is answered by a repeat; null: it is not.
function pauseBefore(error, attempt, repeat) {
  if (!error.temporary || (error.uncertain && !repeat)) return null;
  const grown = Math.min(PAUSE_MAX_MS, PAUSE_MS * 2 ** attempt) * (0.5 + Math.random() / 2);
  const { retryAfter = 0 } = error;
  return retryAfter > PATIENCE_MS ? null : Math.max(retryAfter, grown);
}

// What ends a request: the caller's signal, or no word of the hub for `ms`.
class Deadline {
  #controller = new AbortController();
  #ms;
  #timer;
  #outer;
  #onAbort;
  passed = false;

  constructor(ms, outer) {
    this.#ms = ms;
    this.#outer = outer;
    this.#onAbort = () => this.#controller.abort(outer.reason);
    outer?.addEventListener('abort', this.#onAbort);
    if (outer?.aborted) this.#onAbort();
    this.extend();
  }

  get signal() {
    return this.#controller.signal;
  }

  extend() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.passed = true;
      this.#controller.abort(new Error('timeout'));
    }, this.#ms);
  }

  end() {
    clearTimeout(this.#timer);
    this.#outer?.removeEventListener('abort', this.#onAbort);
  }

  // End it before the answer is whole.
  cut() {
    this.end();
    this.#controller.abort(new Error('not wanted any more'));
  }
}

export class Transport {
  #base;
  #key;
  #tenant;
  #fetch;
  #timeout;
  #retries;

  constructor({ url, key, tenant, timeout = 10_000, retries = 2, fetch }) {
    const base = new URL(url);
    if (base.protocol !== 'http:' && base.protocol !== 'https:') throw new TypeError('url: http:// or https://');
    if (base.username || base.password) throw new TypeError('url: without a user; the key goes into `key`');
    if (typeof key !== 'string' || key === '') throw new TypeError('key: an API key of the hub');
    if (!(timeout > 0)) throw new TypeError('timeout: milliseconds above 0');
    if (!Number.isInteger(retries) || retries < 0) throw new TypeError('retries: 0 or more');
    this.#base = base.origin + base.pathname.replace(/\/+$/, '');
    this.#key = key;
    this.#tenant = tenant;
    this.#fetch = fetch ?? ((...args) => globalThis.fetch(...args));
    this.#timeout = timeout;
    this.#retries = retries;
  }

  get tenant() {
    return this.#tenant;
  }

  // One call: {status, headers, body} of an answer below 300, body parsed. `body` is sent as JSON, `text` as it
  // is. `repeat`: it is the same when it is done twice. `gone`: in a repeat, 404 says that it was done. `tenant:
  // false`: the route has no such parameter. `accept(status, body)`: which other answers are none to throw.
  async ask(request) {
    const { retries = this.#retries, repeat = false, gone = false, signal } = request;
    let uncertain = false;
    for (let attempt = 0; ; attempt++) {
      try {
        return await this.#once(request);
      } catch (error) {
        if (!(error instanceof PealError)) throw error;
        if (gone && uncertain && error.status === 404) return { status: 204, headers: null, body: undefined };
        const ms = attempt < retries ? pauseBefore(error, attempt, repeat) : null;
        if (ms === null) throw error;
        uncertain ||= error.uncertain;
        await pause(ms, signal);
      }
    }
  }

  // The lines of an answer as they come. The deadline is for each silence.
  async *lines(request) {
    const deadline = this.#deadline(request);
    try {
      const response = await this.#send(request, deadline);
      if (!isDone(response)) throw this.#refusal(response, parse(await response.text()), request);
      const decoder = new TextDecoder();
      let rest = '';
      for await (const chunk of response.body) {
        deadline.extend();
        const lines = (rest + decoder.decode(chunk, { stream: true })).split('\n');
        rest = lines.pop();
        yield* lines;
      }
      if (rest !== '') yield rest;
    } catch (error) {
      throw this.#explain(error, request, deadline);
    } finally {
      deadline.cut();
    }
  }

  #deadline({ timeout = this.#timeout, signal }) {
    signal?.throwIfAborted();
    return new Deadline(timeout, signal);
  }

  async #once(request) {
    const deadline = this.#deadline(request);
    try {
      const response = await this.#send(request, deadline);
      const { status, headers } = response;
      const text = await response.text();
      const body = text === '' ? undefined : parse(text);
      if (!isDone(response) && !request.accept?.(status, body)) throw this.#refusal(response, body, request);
      if (text !== '' && body === undefined) {
        throw new PealError('bad_answer', 'the answer is no JSON', { status, ...this.#place(request) });
      }
      return { status, headers, body };
    } catch (error) {
      throw this.#explain(error, request, deadline);
    } finally {
      deadline.end();
    }
  }

  #send(request, deadline) {
    const { method, path, query, body, text, headers, tenant = true } = request;
    const content = text ?? (body === undefined ? undefined : JSON.stringify(body));
    const all = tenant && this.#tenant !== undefined ? { ...query, tenant: this.#tenant } : query;
    return this.#fetch(this.#base + path + queryOf(all), {
      method,
      headers: {
        authorization: `Bearer ${this.#key}`,
        ...(content !== undefined && { 'content-type': 'application/json' }),
        ...headers,
      },
      body: content,
      redirect: 'manual', // the key is for this hub alone
      signal: deadline.signal,
    });
  }

  #refusal(response, body, request) {
    const seconds = Number(response.headers.get('retry-after') ?? NaN);
    return refusal(response.status, body, {
      ...(seconds >= 0 && { retryAfter: seconds * 1000 }),
      ...this.#place(request),
    });
  }

  #place({ method, path }) {
    return { method, path };
  }

  // What went wrong, in our words; what is not the network's stays as it is.
  #explain(error, request, deadline) {
    if (error instanceof PealError) return error;
    if (request.signal?.aborted) return request.signal.reason;
    const detail = { cause: error, ...this.#place(request) };
    if (deadline.passed) return new PealError('timeout', 'the hub has not answered in time', detail);
    const cause = error?.cause ?? error;
    if (isUnsent(cause)) return new PealError('unreachable', `the hub cannot be reached: ${cause.code}`, detail);
    if (error instanceof TypeError && !/^(?:fetch failed|terminated)$/.test(error.message)) return error; // no JSON can be made of it
    return new PealError('disconnected', 'the connection ended before the answer', detail);
  }
}
