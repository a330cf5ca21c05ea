// SPDX-License-Identifier: Apache-2.0
// What a handler answers, taken while it goes to the client, and given again to others.
import { validateHeaderName, validateHeaderValue } from 'node:http';

// What belongs to one answer or one connection alone.
const NOT_KEPT = new Set([
  'age', 'connection', 'content-length', 'date', 'keep-alive', 'proxy-authenticate', 'proxy-connection', 'set-cookie',
  'te', 'trailer', 'transfer-encoding', 'upgrade', 'x-cache',
]);
const OF_A_BODY = ['content-type', 'content-length', 'content-encoding', 'content-language', 'transfer-encoding'];

const textOf = (value) => (Array.isArray(value) ? value.join(', ') : String(value ?? ''));
const tokensOf = (value) => textOf(value).toLowerCase().split(',').map((token) => token.trim()).filter(Boolean);

// Whether a client that has `etag` or was there at `modified` has it still (RFC 9110, 13.1).
export function isFresh({ etag, modified }, conditions) {
  if (conditions.match !== undefined) {
    const plain = (tag) => tag.trim().replace(/^W\//, '');
    return conditions.match.trim() === '*' || (etag !== undefined && conditions.match.split(',').some((tag) => plain(tag) === plain(etag)));
  }
  return modified !== undefined && Date.parse(modified) <= Date.parse(conditions.since);
}

// Take the conditions of a request away, so that the handler gives the whole answer, and return them.
export function takeConditions({ headers }) {
  const conditions = { match: headers['if-none-match'], since: headers['if-modified-since'] };
  for (const name of ['if-none-match', 'if-modified-since', 'if-match', 'if-unmodified-since', 'if-range', 'range']) delete headers[name];
  return conditions;
}

export const conditionsOf = ({ headers }) => ({ match: headers['if-none-match'], since: headers['if-modified-since'] });

// A response that says by its status that the client has it.
function becomeNotModified(res) {
  res.statusCode = 304;
  if (res.statusMessage) res.statusMessage = undefined;
  for (const name of OF_A_BODY) res.removeHeader(name);
}

// What writeHead was given becomes headers as any other, as Node does it where there are some.
function takeHead(res, status, rest) {
  const [reason, headers] = typeof rest[0] === 'string' ? rest : [undefined, rest[0] ?? rest[1]];
  if (Array.isArray(headers)) {
    const pairs = Array.isArray(headers[0]) ? headers : headers.flatMap((name, i) => (i % 2 === 0 ? [[name, headers[i + 1]]] : []));
    for (const [name] of pairs) res.removeHeader(name);
    for (const [name, value] of pairs) {
      const before = res.getHeader(name);
      res.setHeader(name, before === undefined ? value : [before, value].flat());
    }
  } else {
    for (const [name, value] of Object.entries(headers ?? {})) {
      if (value !== undefined) res.setHeader(name, value);
    }
  }
  res.statusCode = status;
  return reason;
}

// The answer of one response as it is made: `finished(answer)` is called once, with {status, headers, body, final},
// or with null as soon as it is nothing to keep: `accepts({status, own, before})` says so when it begins, it is more
// than `most` bytes, or it never becomes whole. `headers` are those that were set since this call, `before` those of
// before, `own` all but what others do when they go out, `final` all. A client that has the answer by its
// `conditions` is told so.
export function recordAnswer(res, { most, conditions, accepts, finished }) {
  const { write, end, writeHead } = res;
  const before = { ...res.getHeaders() };
  let chunks = [];
  let size = 0;
  let own = null;
  let status = 0;
  let isOver = false;

  const over = (answer) => {
    if (isOver) return;
    isOver = true;
    chunks = null;
    finished(answer);
  };
  const seal = () => {
    if (own !== null) return;
    own = { ...res.getHeaders() };
    status = res.statusCode;
    if (!isOver && !accepts({ status, own, before })) over(null);
  };
  const keep = (chunk, encoding) => {
    if (isOver || chunk === undefined || chunk === null || typeof chunk === 'function') return;
    const bytes = typeof chunk === 'string' ? Buffer.from(chunk, typeof encoding === 'string' ? encoding : 'utf8') : Buffer.from(chunk);
    size += bytes.length;
    if (size > most) over(null);
    else chunks.push(bytes);
  };

  res.writeHead = function headOf(code, ...rest) {
    if (res.headersSent) return writeHead.call(res, code, ...rest);
    const reason = takeHead(res, code, rest);
    seal();
    return reason === undefined ? writeHead.call(res, code) : writeHead.call(res, code, reason);
  };
  res.write = function writeOf(chunk, encoding, ...rest) {
    seal();
    keep(chunk, encoding);
    return write.call(res, chunk, encoding, ...rest);
  };
  res.end = function endOf(...args) {
    if (isOver || res.writableEnded) return end.apply(res, args);
    const [chunk, encoding] = args;
    const isFirst = own === null && !res.headersSent;
    seal();
    keep(chunk, encoding);
    const kept = { etag: own.etag, modified: own['last-modified'] };
    const whole = isOver ? null : Buffer.concat(chunks);
    let result;
    if (isFirst && status === 200 && isFresh(kept, conditions)) {
      becomeNotModified(res);
      result = end.apply(res, args.filter((argument) => typeof argument === 'function'));
    } else {
      result = end.apply(res, args);
    }
    if (whole !== null) {
      const headers = Object.entries(own).filter(([name, value]) => !NOT_KEPT.has(name) && textOf(before[name]) !== textOf(value));
      over({ status, headers, body: whole, own, final: res.getHeaders() });
    }
    return result;
  };
  res.once('close', () => over(null));
}

// Whether headers let an answer be given to others: to the same user, or (`shared`) to everybody.
function areKeepable(headers, { shared }) {
  const control = tokensOf(headers['cache-control']).map((token) => token.split('=')[0]);
  return headers['set-cookie'] === undefined &&
    !control.some((name) => name === 'no-store' || name === 'no-cache' || (shared && name === 'private'));
}

// Whether what begins so may be kept. `vary`: the headers of requests that its key is made of.
export function beginsWell({ status, own, before }, { shared, vary }) {
  if (status < 200 || status > 299 || status === 206 || own['content-range'] !== undefined) return false;
  if (!areKeepable(own, { shared }) || own.trailer !== undefined) return false;
  if (/^(?:text\/event-stream|multipart\/x-mixed-replace)\b/i.test(textOf(own['content-type']))) return false; // it has no end
  const isEncoded = !['', 'identity'].includes(textOf(own['content-encoding']));
  if (isEncoded && !vary.includes('accept-encoding')) return false;
  const wasBefore = tokensOf(before.vary);
  return tokensOf(own.vary).every((name) => vary.includes(name) || (name === 'accept-encoding' && !isEncoded) ||
    // who sets the headers of other origins in front of the cache does so for each request
    (name === 'origin' && wasBefore.includes(name)));
}

// Whether it may be still, when it is whole.
export function endsWell({ own, final, body }, { shared }) {
  const length = own['content-length'];
  return areKeepable(final, { shared }) && (length === undefined || Number(length) === body.length);
}

// --- as a value -------------------------------------------------------------------------------

const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

// The JSON of an answer: text where its bytes are UTF-8, else base64.
export function packAnswer({ status, headers, body }) {
  let content;
  try {
    content = { text: decoder.decode(body) };
  } catch {
    content = { base64: body.toString('base64') };
  }
  return JSON.stringify({ status, headers, ...content, at: Date.now() });
}

function isHeader(entry) {
  if (!Array.isArray(entry) || entry.length !== 2) return false;
  try {
    validateHeaderName(entry[0]);
    for (const value of [entry[1]].flat()) validateHeaderValue(entry[0], value);
    return true;
  } catch {
    return false;
  }
}

// The answer of a value, or null where the value is none.
export function unpackAnswer(value) {
  const { status, headers, text, base64, at } = value ?? {};
  const good = Number.isInteger(status) && status >= 200 && status < 300 && Array.isArray(headers) && headers.every(isHeader) &&
    Number.isFinite(at) && [text, base64].some((content) => typeof content === 'string');
  if (!good) return null;
  return { status, headers, at, body: typeof text === 'string' ? Buffer.from(text) : Buffer.from(base64, 'base64') };
}

// Answer with what was kept.
export function giveAnswer(res, answer, { conditions, cache }) {
  const { status, headers, body, at } = answer;
  for (const [name, value] of headers) {
    const both = name === 'vary' ? [...new Set([...tokensOf(res.getHeader('vary')), ...tokensOf(value)])].join(', ') : value;
    res.setHeader(name, both);
  }
  res.setHeader('X-Cache', cache);
  res.setHeader('Age', String(Math.max(0, Math.floor((Date.now() - at) / 1000))));
  res.statusCode = status;
  const kept = Object.fromEntries(headers);
  if (status === 200 && isFresh({ etag: kept.etag, modified: kept['last-modified'] }, conditions)) {
    becomeNotModified(res);
    res.end();
    return;
  }
  if (status !== 204) res.setHeader('Content-Length', body.length);
  res.end(body);
}
