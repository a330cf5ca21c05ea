// SPDX-License-Identifier: Apache-2.0
// Answers to reads of an inbox that are kept: X-Cache says which were, and none is older than what was committed
// before it was asked for, through whatever node and way.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { startHub } from './support/hub.mjs';
import { ADMIN, inboxOf, newUser, overWs, POSTS } from './support/inbox.mjs';
import { startPostgres } from './support/postgres.mjs';
import { startRedis } from './support/redis.mjs';
import { until } from './support/wait.mjs';

const CONFIG = 'api_key "admin" { key = "admin-0123456789abc" scopes = {admin} }\nstore { sweep = 100ms }\n';

const stores = {
  SQLite: async () => {
    const hub = await startHub({ config: CONFIG, env: { PEAL_SHARDS: '1' } });
    return { hubs: [hub, hub], stop: () => hub.stop() };
  },
  'Postgres, two nodes': async () => {
    const [redis, postgres] = await Promise.all([startRedis(), startPostgres()]);
    const options = { redis, postgres, config: CONFIG, env: { PEAL_SHARDS: '1' } };
    const first = await startHub(options);
    const second = await startHub({ ...options, secret: first.secret, apiKey: first.apiKey });
    const stop = async () => {
      await first.stop();
      await second.stop();
      await redis.stop();
      await postgres.stop();
    };
    return { hubs: [first, second], stop };
  },
};

const pathOf = {
  list: (user) => inboxOf(user),
  all: (user) => `${inboxOf(user)}?limit=100`,
  archived: (user) => `${inboxOf(user)}?state=archived&limit=100`,
  pages: (user) => `${inboxOf(user)}?page=1&limit=100`,
  search: (user) => `${inboxOf(user)}?search=title&limit=100`,
  unread: (user) => `${inboxOf(user)}/unread`,
  counts: (user) => `/api/v1/users/${user}/counts?by=type`,
  overview: (user) => `/api/v1/users/${user}/overview`,
};

const ids = (items) => items.map(({ id }) => id).sort();

let never = 0;
// The same list under a name that no answer was ever kept by.
const fresh = async (hub, user, more = '') => (await hub.api('GET', `${inboxOf(user)}?limit=100${more}&from=${++never}`)).body.items;

for (const [name, start] of Object.entries(stores)) {
  describe(name, () => {
    let rig;
    before(async () => {
      rig = await start();
    });
    after(() => rig?.stop());

    const cacheOf = async (hub, path, headers) => (await hub.api('GET', path, undefined, headers)).headers.get('x-cache');
    async function post(user, more = {}, hub = rig.hubs[0]) {
      const { status, body } = await hub.api('POST', POSTS, { user, type: 'note', title: 'title', ...more });
      assert.equal(status, 201, JSON.stringify(body));
      return body.id;
    }

    test('the second of two equal reads is a HIT, until something changes', async () => {
      const [hub] = rig.hubs;
      for (const [kind, path] of Object.entries(pathOf)) {
        const user = newUser();
        const id = await post(user);
        const first = await hub.api('GET', path(user));
        const second = await hub.api('GET', path(user));
        assert.deepEqual([first.headers.get('x-cache'), second.headers.get('x-cache')], ['MISS', 'HIT'], kind);
        assert.deepEqual(second.body, first.body);
        assert.equal(second.headers.get('etag'), first.headers.get('etag'));
        await hub.api('POST', `${inboxOf(user)}/read`, { ids: [id] });
        const third = await hub.api('GET', path(user));
        assert.equal(third.headers.get('x-cache'), 'MISS');
        assert.notEqual(third.headers.get('etag'), first.headers.get('etag'));
        assert.equal(await cacheOf(hub, path(user)), 'HIT');
      }
    });

    test('an answer is kept by its query and its user', async () => {
      const [hub] = rig.hubs;
      const [user, other] = [newUser(), newUser()];
      await post(user);
      assert.equal(await cacheOf(hub, pathOf.list(user)), 'MISS');
      assert.equal(await cacheOf(hub, pathOf.all(user)), 'MISS');
      assert.equal(await cacheOf(hub, pathOf.list(other)), 'MISS');
      assert.deepEqual((await hub.api('GET', pathOf.list(other))).body.items, []);
      assert.equal(await cacheOf(hub, pathOf.list(user)), 'HIT');
      const own = { authorization: `Bearer ${hub.token(user)}` };
      assert.equal(await cacheOf(hub, pathOf.list(user), own), 'HIT');
      assert.equal((await hub.api('GET', pathOf.list(user), undefined, { authorization: `Bearer ${hub.token(other)}` })).status, 403);
    });

    test('304 is a HIT also where no answer was kept', async () => {
      const [first, second] = rig.hubs;
      const user = newUser();
      await post(user);
      const etag = (await first.api('GET', pathOf.all(user))).headers.get('etag');
      const known = await second.api('GET', pathOf.all(user), undefined, { 'if-none-match': etag });
      assert.deepEqual([known.status, known.headers.get('x-cache'), known.headers.get('etag')], [304, 'HIT', etag]);
      await post(user);
      const changed = await second.api('GET', pathOf.all(user), undefined, { 'if-none-match': etag });
      assert.deepEqual([changed.status, changed.headers.get('x-cache'), changed.body.items.length], [200, 'MISS', 2]);
    });

    // What all kept answers must say, made of a list that was not kept, and is asked for behind them: it makes what the
    // user lacks.
    async function check(user, what) {
      const kept = [];
      for (const hub of rig.hubs) {
        const answers = {};
        for (const kind of Object.keys(pathOf)) answers[kind] = (await hub.api('GET', pathOf[kind](user))).body;
        kept.push(answers);
      }
      const items = await fresh(rig.hubs[0], user);
      const archived = await fresh(rig.hubs[0], user, '&state=archived');
      const open = items.filter(({ readAt }) => !readAt);
      const unseen = open.filter(({ seenAt }) => !seenAt).length;
      const types = {};
      for (const { type, seenAt } of open) {
        types[type] ??= { unread: 0, unseen: 0 };
        types[type].unread += 1;
        types[type].unseen += !seenAt ? 1 : 0;
      }
      for (const answers of kept) {
        assert.deepEqual(answers.list.items, items.slice(0, 20), what);
        assert.deepEqual(answers.all.items, items, what);
        assert.deepEqual(answers.archived.items, archived, what);
        assert.deepEqual(answers.pages.items, items, what);
        assert.deepEqual(ids(answers.search.items), ids(items.filter(({ title }) => /\btitle/.test(title))), what);
        assert.deepEqual([answers.unread.count, answers.unread.unseen], [open.length, unseen], what);
        assert.deepEqual(answers.counts.by, types, what);
        const { overview } = answers;
        assert.deepEqual([overview.unread, overview.unseen, overview.types], [open.length, unseen, types], what);
        assert.deepEqual(overview.items, items.slice(0, 5), what);
      }
    }

    test('no answer is older than a change that was acknowledged, by whatever way and node', async () => {
      const user = newUser();
      const topic = `cache:${user}`;
      const posted = [];
      const device = await overWs(rig.hubs[1], user);
      const mark = (verb, body) => (hub) => hub.api('POST', `${inboxOf(user)}/${verb}`, body ?? { ids: [posted.at(-1)] });
      const add = (more) => async (hub) => posted.push(await post(user, more, hub));
      let many;
      const changes = {
        post: add({}),
        'post of another type': add({ type: 'other' }),
        'post of several': (hub) => hub.api('POST', POSTS, [0, 1, 2].map((n) => ({ user, type: 'note', title: `title ${n}` }))),
        'post to users': (hub) => hub.api('POST', POSTS, { users: [user, newUser()], type: 'note', title: 'title' }),
        read: mark('read'),
        unread: mark('unread'),
        seen: mark('seen'),
        archive: mark('archive'),
        unarchive: mark('unarchive'),
        snooze: (hub) => mark('snooze', { ids: [posted.at(-1)], until: Date.now() + 3_600_000 })(hub),
        wake: (hub) => mark('snooze', { ids: [posted.at(-1)], until: null })(hub),
        collapse: add({ collapse: 'c' }),
        'collapse again': add({ collapse: 'c', message: 'again' }),
        'read over a socket': () => device.ask('notification:read', { ids: [posted.at(-1)] }),
        change: (hub) => hub.api('PATCH', `${POSTS}/${posted.at(-1)}`, { title: 'title of another kind' }),
        'take back': (hub) => hub.api('DELETE', `${POSTS}/${posted.at(-1)}`),
        'seen all': mark('seen-all', {}),
        subscribe: (hub) => hub.api('PUT', `/api/v1/topics/${encodeURIComponent(topic)}/subscribers`, { users: [user] }),
        'post to a topic': async (hub) => {
          many = (await hub.api('POST', POSTS, { topic, type: 'many', title: 'title' })).body.id;
        },
        'change a post to a topic': (hub) => hub.api('PATCH', `${POSTS}/${many}`, { title: 'title of many' }),
        'post to all': (hub) => hub.api('POST', POSTS, { all: true, type: 'many', title: 'title' }),
        'take back from a topic': (hub) => hub.api('DELETE', `${POSTS}/${many}`),
        delete: mark('delete', { upTo: 2 }),
        'read all': mark('read-all', {}),
        'erase the inbox': (hub) => hub.api('DELETE', inboxOf(user), undefined, ADMIN),
        'post behind that': add({}),
        'erase the user': (hub) => hub.api('DELETE', `/api/v1/users/${user}`, undefined, ADMIN),
        'post again': add({}),
      };
      let turn = 0;
      for (const [what, change] of Object.entries(changes)) {
        const answer = await change(rig.hubs[turn++ % 2]);
        assert.ok((answer?.status ?? 200) < 300, `${what}: ${JSON.stringify(answer?.body)}`);
        await check(user, what);
      }
    });

    test('what time changes is not kept past it', async () => {
      const user = newUser();
      const ids = [await post(user), await post(user, { expires_at: Date.now() + 1500 })];
      await rig.hubs[0].api('POST', `${inboxOf(user)}/snooze`, { ids: [ids[0]], until: Date.now() + 1500 });
      await check(user, 'before');
      for (const hub of rig.hubs) {
        await until(async () => {
          const { body } = await hub.api('GET', pathOf.list(user));
          return body.items.length === 1 && body.items[0].id === ids[0];
        }, 'one is back, one has expired');
      }
      await check(user, 'behind');
    });

    test('readers never see an inbox go back while it is written through both nodes', async () => {
      const user = newUser();
      let acknowledged = 0;
      let writing = true;
      const write = async (hub) => {
        for (let n = 0; n < 40; n++) {
          const { status } = await hub.api('POST', POSTS, { user, type: 'note', title: 'title' });
          assert.equal(status, 201);
          acknowledged += 1;
        }
      };
      const read = async (hub, kind) => {
        let last = 0;
        while (writing) {
          const least = acknowledged;
          const { body } = await hub.api('GET', pathOf[kind](user));
          const found = body.items?.length ?? body.count;
          assert.ok(found >= least && found >= last, `${kind}: ${found} of ${least}, ${last} before`);
          last = found;
        }
      };
      const readers = rig.hubs.flatMap((hub) => ['all', 'pages', 'unread'].map((kind) => read(hub, kind)));
      await Promise.all([...rig.hubs.map(write), new Promise((resolve) => setImmediate(resolve))]).finally(() => {
        writing = false;
      });
      await Promise.all(readers);
      await check(user, 'in the end');
    });
  });
}

describe('one node', () => {
  test('hits and misses are counted, and the rate is told', async () => {
    const hub = await startHub({ env: { PEAL_SHARDS: '1' } });
    try {
      const user = newUser();
      await hub.api('POST', POSTS, { user, type: 'note', title: 'title' });
      for (let n = 0; n < 20; n++) await hub.api('GET', pathOf.list(user));
      assert.equal(await hub.metric('peal_read_cache_misses_total'), 1);
      assert.equal(await hub.metric('peal_read_cache_hits_total'), 19);
      assert.equal(await hub.metric('peal_read_cache_answers'), 1);
      const { body } = await hub.api('GET', '/api/v1/health/performance');
      assert.equal(body.metrics.cacheHitRate, 95);
      const { headers } = await hub.api('GET', `/api/v1/users/${user}/preferences`);
      assert.equal(headers.get('x-cache'), null, 'what is not kept does not say so');
      assert.equal(headers.get('cache-control'), 'private, no-cache');
    } finally {
      await hub.stop();
    }
  });

  test('cache.bytes bounds what is kept, and 0 keeps nothing', async () => {
    const hub = await startHub({ config: 'cache { bytes = 64KiB }', env: { PEAL_SHARDS: '1' } });
    try {
      const users = Array.from({ length: 60 }, newUser);
      await hub.api('POST', POSTS, { users, type: 'note', title: 'title', message: 'm'.repeat(3000) });
      for (const user of users) await hub.api('GET', pathOf.list(user));
      assert.ok((await hub.metric('peal_read_cache_evictions_total')) >= 40);
      assert.ok((await hub.metric('peal_read_cache_answers')) <= 20);
      const owners = await (await fetch(`${hub.internalUrl}/metrics`)).text();
      assert.ok(Number(/peal_memory_bytes\{owner="cache"\} (\d+)/.exec(owners)[1]) <= 65_536);
      assert.equal((await hub.api('GET', pathOf.list(users.at(-1)))).headers.get('x-cache'), 'HIT');
    } finally {
      await hub.stop();
    }
    const off = await startHub({ config: 'cache { bytes = 0 }' });
    try {
      const user = newUser();
      for (let n = 0; n < 3; n++) {
        assert.equal((await off.api('GET', pathOf.list(user))).headers.get('x-cache'), 'MISS');
      }
      assert.equal(await off.metric('peal_read_cache_answers'), 0);
    } finally {
      await off.stop();
    }
  });

  test('every answer of the API says how long it took, and Cache-Control is a setting', async () => {
    const hub = await startHub({ config: 'cache { control = "private, max-age=5" }' });
    try {
      const user = newUser();
      const { headers } = await hub.api('GET', pathOf.list(user));
      assert.equal(headers.get('cache-control'), 'private, max-age=5');
      const answers = await Promise.all([
        hub.api('GET', pathOf.overview(user)),
        hub.api('POST', POSTS, { user, type: 'note', title: 'title' }),
        hub.api('POST', POSTS, { user }),
        hub.api('GET', '/api/v1/nowhere'),
        hub.api('GET', pathOf.list(user), undefined, { authorization: 'Bearer wrong' }),
        hub.api('GET', '/api/v1/health/performance'),
      ]);
      assert.deepEqual(answers.map(({ status }) => status), [200, 201, 422, 404, 401, 200]);
      for (const answer of answers) {
        const [, ms] = /^(\d+\.\d{3})ms$/.exec(answer.headers.get('x-response-time')) ?? [];
        assert.ok(Number(ms) < 60_000, answer.headers.get('x-response-time'));
      }
      assert.equal((await fetch(`${hub.internalUrl}/metrics`)).headers.get('x-response-time'), null);
    } finally {
      await hub.stop();
    }
  });
});
