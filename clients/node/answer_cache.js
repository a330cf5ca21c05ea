// SPDX-License-Identifier: Apache-2.0
// Middleware that keeps the answers of an application's own routes as values, and lets them go after writes.
// For Express, and for whatever else calls (req, res, next) with Node's own requests and responses.
import { beginsWell, conditionsOf, endsWell, giveAnswer, packAnswer, recordAnswer, takeConditions, unpackAnswer } from './answer_recorder.js';
import { CLAIM, FILL, GIVE_UP, SETTLE, TELL, digest } from './values.js';

const ANSWER_MAX = 700_000; // bytes; as base64 it is less than the hub's 1 MiB
const LABEL_MAX = 100; // of a user in keys and tags; longer ones are hashed
const RESOURCES_MAX = 3;
const SAFE = new Set(['GET', 'HEAD', 'OPTIONS', 'TRACE']);

// --- whose ------------------------------------------------------------------------------------

// The id of a user as a text, or null where it is none. An object is one where it says what it is as a text.
function idOf(id) {
  if (typeof id === 'string') return id === '' ? null : id;
  if (typeof id === 'bigint' || (typeof id === 'number' && Number.isFinite(id))) return String(id);
  if (typeof id !== 'object' || id === null || Array.isArray(id) || id.toString === Object.prototype.toString) return null;
  return idOf(String(id));
}

const defaultUser = (req) => req.user?.id ?? req.user?.userId ?? req.user?.sub ?? req.auth?.sub;

// A user in keys and tags.
function labelOf(user) {
  const isPlain = /^[^/\p{Cc}~][^/\p{Cc}]*$/u.test(user) && Buffer.byteLength(user) <= LABEL_MAX;
  return isPlain ? user : `~${digest(user)}`;
}

const userTag = (user) => `user:${labelOf(user)}`;

// --- what -------------------------------------------------------------------------------------

const pathOf = (req) => (req.originalUrl ?? req.url).split('?', 1)[0];

// The query with its parameters by name; those of one name stay in their order, also a[] and a[b]. A name that is
// written in another way (%61) may be one of the others: then the query is taken as it is.
function queryOf(req) {
  const url = req.originalUrl ?? req.url;
  const at = url.indexOf('?');
  const pairs = at < 0 ? [] : url.slice(at + 1).split('&').filter(Boolean);
  const nameOf = (pair) => pair.split('=', 1)[0].split('[', 1)[0];
  if (!pairs.some((pair) => /[%+.]/.test(pair.split('=', 1)[0]))) {
    pairs.sort((a, b) => (nameOf(a) < nameOf(b) ? -1 : Number(nameOf(a) > nameOf(b))));
  }
  return pairs.join('&');
}

const hostOf = (req) => req.hostname ?? String(req.headers.host ?? '').replace(/:\d+$/, '');

// The names in a path: /api/v1/customers/7/orders is about customers, customers:7 and orders.
function resourcesOf(req) {
  const pieces = pathOf(req).split('/').filter(Boolean);
  const names = pieces.filter((piece) => /^[A-Za-z][\w.~-]{0,63}$/.test(piece) && !/^(?:api|v\d+)$/.test(piece));
  return names.slice(0, RESOURCES_MAX).flatMap((name) => {
    const next = pieces[pieces.indexOf(name) + 1];
    return next !== undefined && /^[\w.~-]{1,64}$/.test(next) ? [name, `${name}:${next}`] : [name];
  });
}

function listOf(what, ...args) {
  const list = typeof what === 'function' ? what(...args) : what;
  return list === undefined || list === null || list === false ? [] : [list].flat();
}

// --- keeping answers --------------------------------------------------------------------------

// Where an answer to `req` is kept, or null: it is for nobody else.
function placeOf(req, { user: userOf = defaultUser, shared, key, vary, skip, prefix }) {
  if (req.method !== 'GET' || skip?.(req)) return null;
  const user = shared ? null : idOf(userOf(req));
  if (!shared && user === null) return null;
  const what = key ? key(req) : [pathOf(req), queryOf(req)];
  if (what === null || what === undefined || what === false) return null;
  const headers = vary.map((name) => req.headers[name] ?? null);
  const hash = digest(JSON.stringify([shared ? 'all' : 'one', user, hostOf(req), what, vary, headers]));
  const name = `cache:${user === null ? '*' : labelOf(user)}:${hash}`;
  return { user, name: prefix ? `${prefix}:${name}` : name };
}

function readOptions(options, defaults) {
  const all = { ...defaults, ...(typeof options === 'object' ? options : { ttl: options }) };
  const { ttl, shared = false, vary = [], most = ANSWER_MAX } = all;
  if (ttl !== undefined && !(Number.isInteger(ttl) && ttl > 0)) throw new TypeError('ttl: whole seconds above 0');
  if (!Number.isInteger(most) || most < 1) throw new TypeError('most: bytes above 0');
  return { ...all, ttl, shared, most, vary: [vary].flat().map((name) => name.toLowerCase()).sort() };
}

export function makeCacheMiddleware(values, options, defaults) {
  const settings = readOptions(options, defaults);
  const { shared, vary, most, ttl } = settings;

  // What the answer is found by when it is to go.
  const tagsOf = (req, res, { user }) => [...new Set([
    ...(user === null ? [] : [userTag(user)]),
    ...(settings.resource === undefined ? resourcesOf(req) : listOf(settings.resource, req, res)),
    ...listOf(settings.tags, req, res),
  ])];

  function fill(req, res, place, claim) {
    const conditions = takeConditions(req);
    // The answer is on its way, whatever becomes of this.
    const finished = (answer) => {
      const isKept = answer !== null && endsWell(answer, { shared });
      if (isKept) values[FILL](place.name, claim, packAnswer(answer), () => ({ ttl, tags: tagsOf(req, res, place) }), settings);
      else values[GIVE_UP](place.name, claim);
    };
    recordAnswer(res, { most, conditions, accepts: (head) => beginsWell(head, { shared, vary }), finished });
  }

  // Whether the request was answered.
  async function answer(req, res, place) {
    const claim = await values[CLAIM](place.name, settings);
    const kept = claim.found ? unpackAnswer(claim.value) : null;
    if (res.headersSent || res.writableEnded) return true; // by somebody else meanwhile: a timeout
    if (kept !== null) {
      giveAnswer(res, kept, { conditions: conditionsOf(req), cache: claim.stale ? 'STALE' : 'HIT' });
      return true;
    }
    res.setHeader('X-Cache', 'MISS');
    if (claim.fill) fill(req, res, place, claim);
    return false;
  }

  return function cacheAnswers(req, res, next) {
    let place = null;
    try {
      place = placeOf(req, settings);
    } catch (error) {
      values[TELL](error); // of a function of the options
    }
    if (place === null) {
      next();
      return;
    }
    answer(req, res, place).then(
      (isAnswered) => isAnswered || process.nextTick(next),
      (error) => {
        values[TELL](error);
        process.nextTick(next);
      },
    );
  };
}

// --- letting them go --------------------------------------------------------------------------

export function makeInvalidateMiddleware(values, resource, options, defaults) {
  const { user: userOf = defaultUser, tags } = { ...defaults, ...options };

  const tagsOf = (req, res) => {
    const user = idOf(userOf(req));
    const names = resource === undefined ? resourcesOf(req) : listOf(resource, req, res);
    const id = idOf(req.params?.id);
    const own = id === null || !/^[\w.~-]{1,64}$/.test(id) ? [] : names.map((name) => `${name}:${id}`);
    return [...new Set([...(user === null ? [] : [userTag(user)]), ...names, ...own, ...listOf(tags, req, res)])];
  };

  const settle = async (req, res) => {
    try {
      await values[SETTLE](tagsOf(req, res));
    } catch (error) {
      values[TELL](error);
    }
  };

  return function invalidateAnswers(req, res, next) {
    if (SAFE.has(req.method)) {
      next();
      return;
    }
    const { end } = res;
    let isHeld = false;
    // The end of the answer waits until the hub has let go: who has the answer reads what was written.
    res.end = function endOf(...args) {
      if (isHeld) return res;
      if (res.statusCode >= 400 && res.statusCode < 500) return end.apply(res, args);
      isHeld = true;
      settle(req, res).then(() => end.apply(res, args));
      return res;
    };
    next();
  };
}
