// SPDX-License-Identifier: Apache-2.0
// What a call rejects with: the hub's refusal, or that there is no answer.

const TEMPORARY = new Set(
  ['unreachable', 'disconnected', 'timeout', 'rate_limited', 'unavailable', 'unknown', 'internal']);

// Codes by HTTP status, for answers that are not of the hub's form: those of a proxy in front of it.
const BY_STATUS = {
  400: 'bad_request', 401: 'unauthorized', 403: 'forbidden', 404: 'not_found', 408: 'timeout', 413: 'too_large',
  429: 'rate_limited', 500: 'internal', 502: 'unknown', 503: 'unavailable', 504: 'unknown',
};

// `code` is one of the hub's ("forbidden", "invalid_field", …) or one of ours: "unreachable" (nothing was
// sent), "disconnected" and "timeout" (there was no answer: it may be done or not), "bad_answer" (it is
// not the hub's).
export class PealError extends Error {
  constructor(code, message, { cause, ...detail } = {}) {
    super(message ?? code, cause === undefined ? undefined : { cause });
    this.name = 'PealError';
    this.code = code;
    Object.assign(this, detail);
  }

  // Whether the same call may succeed a little later.
  get temporary() {
    return TEMPORARY.has(this.code);
  }

  // Whether it may have been done all the same.
  get uncertain() {
    if (this.status === undefined) return this.code === 'disconnected' || this.code === 'timeout';
    return this.status >= 500 && this.status !== 503;
  }
}

// Of an answer with `status`; `body` is its JSON, or undefined where it has none.
export function refusal(status, body, detail) {
  const { code, message, ...more } = body?.error ?? {};
  return new PealError(
    code ?? BY_STATUS[status] ?? (status >= 500 ? 'unknown' : 'bad_answer'),
    message ?? `the answer was ${status}`,
    { status, ...more, ...detail },
  );
}

// A mistake that is seen before the hub is asked.
export const invalid = (field, message) => new PealError('invalid_field', message, { field });
