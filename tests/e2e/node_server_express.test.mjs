// SPDX-License-Identifier: Apache-2.0
// The middleware of clients/node in applications of both Express that there are, on real hubs: what is kept of
// answers and for whom, what never is, and what happens while the hub or Redis is away.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, writeFileSync } from 'node:fs';
import { createServer, request as httpRequest } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { after, before, describe, test } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import compression from 'compression';
import express5 from 'express';
import express4 from 'express4';
import { PealServer } from '../../clients/node/index.js';
import { startHub } from './support/hub.mjs';
import { startPostgres } from './support/postgres.mjs';
import { startRedis } from './support/redis.mjs';
import { until, within } from './support/wait.mjs';

const KEY = 'express-0123456789ab';
// A lease that nobody frees holds whoever comes behind it for longer than a test may take.
const CONFIG = `api_key "app" { key = "${KEY}" scopes = {values, publish} }\nvalues { fill = 2m wait = 2m }\n`;
const PATIENT = { values: { wait: 100, timeout: 20_000 } };

class App {
  // `install(app, peal, handled)`: routes; handled(name) counts a call and returns how many there were.
  static async start(express, hub, install, options = PATIENT) {
    const it = new App();
    it.peal = new PealServer({ url: hub.url, key: KEY, ...options });
    it.told = [];
    for (const event of ['away', 'back', 'refused']) it.peal.on(event, () => it.told.push(event));
    it.calls = {};
    const app = express();
    app.use((req, res, next) => {
      const id = req.headers['x-user'];
      if (id !== undefined) req.user = { id };
      next();
    });
    install(app, it.peal, (name = 'all') => (it.calls[name] = (it.calls[name] ?? 0) + 1));
    app.use((error, req, res, next) => {
      if (res.headersSent) next(error);
      else res.status(500).json({ error: error.message });
    });
    it.server = createServer(app).listen(0, '127.0.0.1');
    await once(it.server, 'listening');
    return it;
  }

  get url() {
    return `http://127.0.0.1:${this.server.address().port}`;
  }

  // {status, cache, headers, text}, or the bytes of the answer with `bytes`.
  async ask(path, { user = 'ann', method = 'GET', headers = {}, bytes = false } = {}) {
    const response = await within(fetch(this.url + path, {
      method, redirect: 'manual', headers: { ...(user !== null && { 'x-user': user }), ...headers },
    }), `an answer to ${method} ${path}`);
    const body = Buffer.from(await within(response.arrayBuffer(), `the answer to ${path}`));
    return { status: response.status, cache: response.headers.get('x-cache'), headers: response.headers, body: bytes ? body : body.toString() };
  }

  // The answer when it comes from the cache, which may take a moment behind the one that was kept.
  async kept(path, options) {
    let answer;
    await until(async () => (answer = await this.ask(path, options)).cache === 'HIT', `${path} is kept`);
    return answer;
  }

  stop() {
    this.server.closeAllConnections?.();
    this.server.close();
  }
}

const count = (handled, name) => (req, res) => res.json({ calls: handled(name), user: req.user?.id ?? null, url: req.originalUrl });

for (const [version, express] of [['4', express4], ['5', express5]]) {
  describe(`Express ${version}`, () => {
    let hub;
    const apps = [];
    const start = async (install, options) => {
      const app = await App.start(express, hub, install, options);
      apps.push(app);
      return app;
    };
    before(async () => {
      hub = await startHub({ config: CONFIG, env: { PEAL_SHARDS: '2' } });
    });
    after(async () => {
      for (const app of apps) app.stop();
      await hub?.stop();
    });

    // seeds: A16, E22
    test('answers to a user\'s GET are kept for their time, and say so', async () => {
      const app = await start((it, peal, handled) => {
        it.get('/a16', peal.cacheMiddleware(300), count(handled));
        it.get('/a16/short', peal.cacheMiddleware(1), count(handled, 'short'));
      });
      const first = await app.ask('/a16');
      assert.deepEqual([first.status, first.cache, first.headers.get('age')], [200, 'MISS', null]);
      const second = await app.kept('/a16');
      assert.deepEqual([second.status, second.body], [200, first.body]);
      assert.match(second.headers.get('age'), /^\d+$/);
      for (const name of ['content-type', 'etag', 'content-length', 'x-powered-by']) assert.equal(second.headers.get(name), first.headers.get(name), name);
      await app.kept('/a16/short');
      await until(async () => (await app.ask('/a16/short')).cache === 'MISS', 'its time is over');
      assert.ok(app.calls.short > 1);
      assert.equal((await app.ask('/a16')).cache, 'HIT');
    });

    // seeds: A17, E20
    test('each user has an answer of its own, for a path and a query in whatever order', async () => {
      const app = await start((it, peal, handled) => {
        it.use('/a17', peal.cacheMiddleware({ ttl: 60, user: (req) => req.headers['x-user'] }));
        it.get(/^\/a17/, count(handled));
      });
      const different = ['/a17/x', '/a17/x?a=1', '/a17/x?a=2', '/a17/x?a=1&b=2', '/a17/x?a=1&a=2', '/a17/x?a=2&a=1', '/a17/x?a[]=1&a=2', '/a17/x?a=2&a[]=1',
        '/a17/x?a=1&%61=2', '/a17/x?%61=2&a=1', '/a17/X', '/a17/x/', '/a17/x%2Fy', '/a17/x?a=%20', '/a17/x?a=+', '/a17/x?a=%ff', '/a17/x?a=%fe', '/a17/x?a', '/a17/x?A=1'];
      for (const path of different) assert.equal((await app.ask(path)).cache, 'MISS', path);
      for (const path of different) assert.equal(JSON.parse((await app.kept(path)).body).url, path);
      for (const [path, same] of [['/a17/x?b=2&a=1', '/a17/x?a=1&b=2'], ['/a17/x?&a=1&', '/a17/x?a=1'], ['/a17/x?', '/a17/x']]) {
        const answer = await app.ask(path);
        assert.deepEqual([answer.cache, JSON.parse(answer.body).url], ['HIT', same]);
      }
      const users = ['ben', 'an n', 'a:b', 'a', '~x', '..', `ä${'y'.repeat(300)}`.slice(1), 'a/b', '0'];
      for (const user of users) {
        const { cache, body } = await app.ask('/a17/x', { user });
        assert.deepEqual([cache, JSON.parse(body).user], ['MISS', user]);
      }
      for (const user of users) assert.equal(JSON.parse((await app.kept('/a17/x', { user })).body).user, user);
      const { keys } = (await app.peal.values.stats()).prefixes.find(({ prefix }) => prefix === 'cache:');
      assert.ok(keys >= different.length + users.length);
    });

    // seeds: E20
    test('a function may say what an answer is kept by', async () => {
      const app = await start((it, peal, handled) => {
        it.get('/e20', peal.cacheMiddleware({ ttl: 60, key: (req) => (req.query.skip ? null : String(req.query.id)) }), count(handled));
      });
      await app.ask('/e20?id=7&noise=1');
      assert.equal((await app.kept('/e20?id=7&noise=2')).status, 200);
      assert.equal((await app.ask('/e20?id=8')).cache, 'MISS');
      assert.equal((await app.ask('/e20?id=7', { user: 'ben' })).cache, 'MISS');
      assert.equal((await app.ask('/e20?id=7&skip=1')).cache, null);
    });

    // seeds: A18
    test('other methods and callers without a user go by', async () => {
      const app = await start((it, peal, handled) => {
        it.all('/a18', peal.cacheMiddleware(60), count(handled));
        it.get('/a18/skip', peal.cacheMiddleware({ ttl: 60, skip: () => true }), count(handled));
        it.get('/a18/object', (req, res, next) => { req.user = { id: {} }; next(); }, peal.cacheMiddleware(60), count(handled));
        it.get('/a18/oid', (req, res, next) => { req.user = { id: { toString: () => 'oid' } }; next(); }, peal.cacheMiddleware(60), count(handled));
        it.get('/a18/throws', peal.cacheMiddleware({ ttl: 60, user: () => { throw new Error('user'); } }), count(handled));
      });
      for (const method of ['POST', 'PUT', 'PATCH', 'DELETE', 'HEAD', 'OPTIONS']) {
        for (let i = 0; i < 2; i++) assert.equal((await app.ask('/a18', { method })).cache, null, method);
      }
      for (const options of [{ user: null }, { user: '' }]) {
        for (let i = 0; i < 2; i++) assert.equal((await app.ask('/a18', options)).cache, null);
      }
      for (const path of ['/a18/skip', '/a18/object', '/a18/throws']) {
        for (let i = 0; i < 2; i++) assert.deepEqual([(await app.ask(path)).cache, (await app.ask(path)).status], [null, 200], path);
      }
      await app.ask('/a18/oid');
      assert.equal((await app.kept('/a18/oid')).status, 200);
      assert.deepEqual(app.told, ['refused']);
    });

    // seeds: A19, E21
    test('what was written lets go, before its answer is there, what users have about it, and all of who wrote', async () => {
      const app = await start((it, peal, handled) => {
        it.use('/api/v1', peal.cacheMiddleware(60), peal.invalidateCacheMiddleware());
        for (const path of ['/api/v1/customers', '/api/v1/customers/:id', '/api/v1/customers/:id/orders', '/api/v1/stats']) it.get(path, count(handled, path));
        it.get('/reports', peal.cacheMiddleware({ ttl: 60, resource: 'orders' }), count(handled, 'reports'));
        const write = (req, res) => res.status(Number(req.query.status ?? 200)).json({});
        it.post('/api/v1/customers/:id', write);
        it.post('/other/:id', peal.invalidateCacheMiddleware('orders'), write);
        it.post('/one/:id', peal.invalidateCacheMiddleware((req) => [`customers:${req.params.id}`], { user: () => undefined }), write);
      });
      const paths = ['/api/v1/customers', '/api/v1/customers/7', '/api/v1/customers/7/orders', '/api/v1/stats', '/reports'];
      const fill = async () => {
        for (const path of paths) for (const user of ['ann', 'ben']) await app.kept(path, { user });
      };
      // Which have to be made anew, by user; nobody fills what is only looked at.
      const gone = async () => {
        const list = [];
        for (const user of ['ann', 'ben']) {
          for (const path of paths) if ((await app.ask(path, { user })).cache !== 'HIT') list.push(`${user} ${path}`);
        }
        return list;
      };
      const all = (user) => paths.map((path) => `${user} ${path}`);
      await fill();
      assert.deepEqual(await gone(), []);
      await app.ask('/api/v1/customers/7', { method: 'POST' });
      assert.deepEqual(await gone(), [...all('ann'), 'ben /api/v1/customers', 'ben /api/v1/customers/7', 'ben /api/v1/customers/7/orders']);
      await fill();
      await app.ask('/other/3', { method: 'POST', user: 'ben' });
      assert.deepEqual(await gone(), ['ann /api/v1/customers/7/orders', 'ann /reports', ...all('ben')]);
      await fill();
      await app.ask('/one/7', { method: 'POST' });
      assert.deepEqual(await gone(), ['ann', 'ben'].flatMap((user) => [`${user} /api/v1/customers/7`, `${user} /api/v1/customers/7/orders`]));
      await fill();
      await app.ask('/api/v1/customers/7?status=422', { method: 'POST' });
      assert.deepEqual(await gone(), []); // nothing was written
      await app.ask('/api/v1/customers/7?status=500', { method: 'POST' });
      assert.ok((await gone()).length > 0); // nobody knows
    });

    test('an answer that was made before a write, and comes behind it, is not kept', async () => {
      let go;
      const gate = new Promise((resolve) => (go = resolve));
      const app = await start((it, peal, handled) => {
        it.get('/raced', peal.cacheMiddleware(60), async (req, res) => {
          const calls = handled();
          if (calls === 1) await gate;
          res.json({ calls });
        });
        it.post('/raced', peal.invalidateCacheMiddleware(), (req, res) => res.json({}));
      });
      const slow = app.ask('/raced');
      await until(() => app.calls.all === 1, 'it is being made');
      await app.ask('/raced', { method: 'POST' });
      go();
      assert.equal(JSON.parse((await slow).body).calls, 1);
      const next = await app.ask('/raced');
      assert.deepEqual([next.cache, JSON.parse(next.body).calls], ['MISS', 2]);
    });

    // seeds: E19, E24's kind
    test('what is for everybody is kept once, each route for its own time', async () => {
      const app = await start((it, peal, handled) => {
        it.get('/e19/long', peal.cacheMiddleware({ ttl: 60, shared: true }), count(handled, 'long'));
        it.get('/e19/short', peal.cacheMiddleware({ ttl: 1, shared: true }), count(handled, 'short'));
        it.get('/e19/private', peal.cacheMiddleware({ ttl: 60, shared: true }), (req, res) => res.set('Cache-Control', 'private, max-age=9').json({ calls: handled('private') }));
      });
      const first = await app.ask('/e19/long', { user: null });
      assert.equal((await app.kept('/e19/long', { user: 'ben' })).body, first.body);
      await app.kept('/e19/short');
      await until(async () => (await app.ask('/e19/short')).cache === 'MISS', 'the short one has ended');
      assert.equal((await app.ask('/e19/long')).cache, 'HIT');
      for (let i = 1; i <= 3; i++) assert.equal(JSON.parse((await app.ask('/e19/private')).body).calls, i);
    });

    test('status, headers and bytes of an answer are kept as they were', async () => {
      const folder = mkdtempSync(join(tmpdir(), 'peal-'));
      const all = Buffer.from(Array.from({ length: 256 }, (_, i) => i));
      writeFileSync(join(folder, 'picture.png'), all);
      const answers = {
        json: (req, res) => res.json({ ä: [1, null] }),
        text: (req, res) => res.type('text/plain; charset=utf-8').send('grüße\u0000 "\u{1f600}"'),
        bom: (req, res) => res.type('text/csv').send('\ufeffa;b'),
        latin: (req, res) => res.type('text/plain; charset=latin1').send(Buffer.from('grüße', 'latin1')),
        binary: (req, res) => res.type('image/png').send(all),
        large: (req, res) => res.type('application/octet-stream').send(Buffer.concat(Array.from({ length: 2000 }, () => all))),
        empty: (req, res) => res.status(204).end(),
        nothing: (req, res) => res.end(),
        created: (req, res) => res.status(201).location('/x/1').json({ id: 1 }),
        named: (req, res) => { res.statusMessage = 'Fine'; res.send('x'); },
        written: (req, res) => { res.write('a'); res.write(Buffer.from('b')); res.write('Yw==', 'base64'); res.end('d', () => {}); },
        headed: (req, res) => { res.writeHead(203, { 'Content-Type': 'text/x', 'X-One': 'b' }); res.end('headed'); },
        reason: (req, res) => { res.setHeader('X-One', 'a'); res.writeHead(200, 'Good', { 'X-Two': ['1', '2'] }); res.end('reason'); },
        pairs: (req, res) => { res.writeHead(200, ['X-One', '1', 'X-One', '2', 'Content-Type', 'text/x']); res.end('pairs'); },
        links: (req, res) => res.set('Link', ['<a>; rel=x', '<b>; rel=y']).send('links'),
        stream: (req, res) => { res.type('text/x'); Readable.from(['one ', 'two ', 'three']).pipe(res); },
        file: (req, res) => res.sendFile(join(folder, 'picture.png')),
        private: (req, res) => res.set('Cache-Control', 'private, max-age=60').json({}),
      };
      const app = await start((it, peal, handled) => {
        for (const [name, answer] of Object.entries(answers)) {
          it.get(`/kept/${name}`, peal.cacheMiddleware(60), (req, res) => { handled(name); answer(req, res); });
          it.get(`/plain/${name}`, answer);
        }
      });
      const shown = ({ status, headers, body }) => {
        const kept = [...headers].filter(([name]) => !['x-cache', 'age', 'date', 'transfer-encoding', 'content-length', 'keep-alive', 'connection'].includes(name));
        return { status, headers: kept, body: body.toString('base64') };
      };
      for (const name of Object.keys(answers)) {
        const plain = await app.ask(`/plain/${name}`, { bytes: true });
        const miss = await app.ask(`/kept/${name}`, { bytes: true });
        const hit = await app.kept(`/kept/${name}`, { bytes: true });
        // Of pairs with one name Node's versions send the last one or all.
        if (name !== 'pairs') assert.deepEqual(shown(miss), shown(plain), name);
        else assert.equal(miss.headers.get('x-one'), '1, 2');
        assert.deepEqual(shown(hit), shown(miss), name);
        assert.equal(app.calls[name], 1, name);
        const length = hit.headers.get('content-length');
        assert.equal(length, hit.status === 204 ? null : String(hit.body.length), name);
      }
    });

    test('what must not be kept never is, and nobody waits for it', async () => {
      const answers = {
        failed: (req, res) => res.status(500).json({}),
        absent: (req, res) => res.status(404).json({}),
        moved: (req, res) => res.redirect('/x'),
        thrown: () => { throw new Error('thrown'); },
        passed: (req, res, next) => next(new Error('passed on')),
        cookie: (req, res) => res.cookie('session', 'secret').json({}),
        header: (req, res) => res.set('Set-Cookie', 'a=b').json({}),
        head: (req, res) => { res.writeHead(200, { 'Set-Cookie': 'a=b' }); res.end('x'); },
        store: (req, res) => res.set('Cache-Control', 'private, no-store').json({}),
        revalidate: (req, res) => res.set('Cache-Control', 'NO-CACHE="x"').json({}),
        star: (req, res) => res.set('Vary', '*').json({}),
        varies: (req, res) => res.vary('Accept-Language').json({}),
        part: (req, res) => res.status(206).set('Content-Range', 'bytes 0-1/9').send('ab'),
        encoded: (req, res) => res.set('Content-Encoding', 'x-own').send('ab'),
        large: (req, res) => res.send(Buffer.alloc(800_000, 'x')),
        streamed: (req, res) => { for (let i = 0; i < 100; i++) res.write(Buffer.alloc(10_000, 'y')); res.end(); },
      };
      const app = await start((it, peal, handled) => {
        for (const [name, answer] of Object.entries(answers)) {
          it.get(`/never/${name}`, peal.cacheMiddleware(60), (req, res, next) => { handled(name); answer(req, res, next); });
        }
      });
      for (const name of Object.keys(answers)) {
        for (let i = 1; i <= 3; i++) {
          assert.equal((await app.ask(`/never/${name}`)).cache, 'MISS', name);
          assert.equal(app.calls[name], i, name);
        }
      }
      assert.deepEqual(app.told, []);
    });

    test('what has no end, or shows as it begins that it is not kept, holds nobody up', async () => {
      const open = [];
      const begin = (headers) => (req, res) => { res.set(headers).status(200).write('begun'); open.push(res); };
      const app = await start((it, peal) => {
        it.get('/open/events', peal.cacheMiddleware(60), begin({ 'Content-Type': 'text/event-stream' }));
        it.get('/open/cookie', peal.cacheMiddleware(60), begin({ 'Set-Cookie': 'a=b' }));
        it.get('/open/large', peal.cacheMiddleware({ ttl: 60, most: 4 }), begin({ 'X-One': 'a' }));
      });
      const answers = [];
      for (const name of ['events', 'cookie', 'large']) {
        for (let i = 0; i < 2; i++) {
          answers.push(await within(fetch(`${app.url}/open/${name}`, { headers: { 'x-user': 'ann' } }), `the beginning of ${name}`));
        }
      }
      assert.equal(open.length, 6);
      for (const res of open) res.end();
      for (const answer of answers) assert.equal(await answer.text(), 'begun');
    });

    test('an answer that breaks off, or whose client goes, is not kept, and frees the turn', async () => {
      const gates = [];
      const app = await start((it, peal, handled) => {
        it.get('/broken/off', peal.cacheMiddleware(60), (req, res) => {
          if (handled('off') > 1) return res.send('whole');
          res.write('part');
          return res.destroy();
        });
        it.get('/broken/short', peal.cacheMiddleware(60), (req, res) => {
          if (handled('short') > 1) return res.send('whole');
          res.setHeader('Content-Length', 10);
          res.write('part');
          return res.socket.end();
        });
        it.get('/broken/less', peal.cacheMiddleware(60), (req, res) => {
          if (handled('less') > 1) return res.send('whole');
          res.setHeader('Content-Length', 10);
          return res.end('part', () => req.socket.destroy());
        });
        it.get('/broken/left', peal.cacheMiddleware(60), (req, res) => {
          if (handled('left') > 1) return res.send('whole');
          return gates.push(() => res.send('nobody'));
        });
      });
      for (const name of ['off', 'short', 'less']) {
        await assert.rejects(fetch(`${app.url}/broken/${name}`, { headers: { 'x-user': 'ann' } }).then((response) => response.text()));
        assert.equal((await app.ask(`/broken/${name}`)).body, 'whole');
        assert.equal((await app.kept(`/broken/${name}`)).body, 'whole');
      }
      const leaving = httpRequest(`${app.url}/broken/left`, { headers: { 'x-user': 'ann' } }).on('error', () => {});
      leaving.end();
      await until(() => gates.length === 1, 'it is being made');
      leaving.destroy();
      assert.equal((await app.ask('/broken/left')).body, 'whole');
      gates[0]();
      assert.equal((await app.kept('/broken/left')).body, 'whole');
    });

    test('a client that has an answer is told so, by the cache and while it is filled', async () => {
      const app = await start((it, peal, handled) => {
        it.get('/fresh', peal.cacheMiddleware(60), count(handled));
        it.get('/fresh/dated', peal.cacheMiddleware(60), (req, res) => res.set('Last-Modified', new Date(86_400_000).toUTCString()).send(String(handled('dated'))));
        it.get('/fresh/part', peal.cacheMiddleware(60), (req, res) => { handled('part'); res.set('Accept-Ranges', 'bytes').send('0123456789'); });
        it.post('/fresh', peal.invalidateCacheMiddleware(), (req, res) => res.end());
      });
      const { headers, body } = await app.ask('/fresh');
      const etag = headers.get('etag');
      for (const match of [etag, `"x", ${etag}`, '*', etag.replace('W/', '')]) {
        const answer = await app.ask('/fresh', { headers: { 'if-none-match': match } });
        assert.deepEqual([answer.status, answer.cache, answer.body, answer.headers.get('etag')], [304, 'HIT', '', etag], match);
      }
      assert.equal((await app.ask('/fresh', { headers: { 'if-none-match': '"other"' } })).body, body);
      const since = (days) => ({ 'if-modified-since': new Date(days * 86_400_000).toUTCString() });
      assert.equal((await app.ask('/fresh/dated', { headers: since(2) })).status, 304); // and it is kept whole
      assert.deepEqual([(await app.kept('/fresh/dated')).body, app.calls.dated], ['1', 1]);
      assert.equal((await app.ask('/fresh/dated', { headers: since(1) })).status, 304);
      assert.equal((await app.ask('/fresh/dated', { headers: since(0) })).status, 200);
      assert.equal((await app.ask('/fresh/part', { headers: { range: 'bytes=0-1' } })).body, '0123456789');
      assert.equal((await app.kept('/fresh/part')).body, '0123456789');
      const conditional = { headers: { 'if-none-match': '"x"', 'if-range': '"x"' } };
      await app.ask('/fresh', { method: 'POST' });
      assert.equal((await app.ask('/fresh', conditional)).cache, 'MISS');
      assert.equal((await app.kept('/fresh')).status, 200);
    });

    test('what others set for each request stays theirs', async () => {
      const app = await start((it, peal, handled) => {
        it.use('/beside', compression({ threshold: 0 }), (req, res, next) => {
          res.set('Access-Control-Allow-Origin', req.headers.origin ?? 'none').vary('Origin').set('X-Request-Id', req.headers['x-id'] ?? 'none');
          next();
        });
        it.get('/beside', peal.cacheMiddleware(60), (req, res) => res.type('text').send('compress me '.repeat(200) + handled()));
        it.get('/beside/language', peal.cacheMiddleware({ ttl: 60, vary: 'Accept-Language' }), (req, res) => res.vary('Accept-Language').send(req.headers['accept-language']));
        it.get('/behind', peal.cacheMiddleware(60), compression({ threshold: 0 }), (req, res) => res.type('text').send('compress me '.repeat(200) + handled('behind')));
      });
      const first = await app.ask('/beside', { headers: { origin: 'https://a.example', 'x-id': '1' } });
      const second = await app.kept('/beside', { headers: { origin: 'https://b.example', 'x-id': '2' } });
      assert.equal(second.body, first.body);
      for (const [answer, origin, id] of [[first, 'https://a.example', '1'], [second, 'https://b.example', '2']]) {
        assert.deepEqual(['access-control-allow-origin', 'x-request-id', 'content-encoding'].map((name) => answer.headers.get(name)), [origin, id, 'gzip']);
        assert.match(answer.headers.get('vary'), /origin/i);
      }
      const identity = await app.ask('/beside', { headers: { 'accept-encoding': 'identity' } });
      assert.deepEqual([identity.cache, identity.headers.get('content-encoding'), identity.body], ['HIT', null, first.body]);
      for (const language of ['de', 'en']) await app.ask('/beside/language', { headers: { 'accept-language': language } });
      for (const language of ['de', 'en']) {
        const { body, headers } = await app.kept('/beside/language', { headers: { 'accept-language': language } });
        assert.equal(body, language);
        assert.match(headers.get('vary'), /origin.*accept-language/i);
      }
      // Compressed for one client, it is not for all.
      for (let i = 1; i <= 2; i++) {
        assert.equal((await app.ask('/behind')).cache, 'MISS');
        assert.equal(app.calls.behind, i);
      }
    });

    // seeds: E31, E38, E39
    test('a dashboard: its query is tracked, its answer kept, and a write lets it go and tells the pages', async () => {
      const app = await start((it, peal) => {
        let price = 10;
        it.get('/dashboard', peal.cacheMiddleware({ ttl: 60, resource: 'catalog' }), async (req, res) => {
          res.json(await peal.track('dashboard.prices', async () => ({ price })));
        });
        it.post('/catalog', peal.invalidateCacheMiddleware('catalog'), async (req, res) => {
          price += 1;
          await peal.publish({ event: 'catalog:update', args: [{ price }], to: { rooms: ['public:catalog'] } });
          res.json({ price });
        });
      });
      const page = await hub.plain('ann');
      await page.request('join_room', { roomId: 'public:catalog' });
      await app.ask('/dashboard');
      await app.kept('/dashboard');
      assert.equal(app.peal.tracked.queryBreakdown['dashboard.prices'].count, 1);
      await app.ask('/catalog', { method: 'POST', user: 'ben' });
      await until(() => page.events.some(([name, body]) => name === 'catalog:update' && body.price === 11), 'the page hears of it');
      assert.equal((await app.ask('/dashboard')).body, '{"price":11}');
      assert.equal(app.peal.tracked.queryBreakdown['dashboard.prices'].count, 2);
    });

    test('a value that is no answer is passed by, and what others have put there does not come out', async () => {
      const app = await start((it, peal, handled) => {
        it.get('/odd', peal.cacheMiddleware({ ttl: 60, prefix: 'odd' }), count(handled));
      });
      await app.ask('/odd');
      await app.kept('/odd');
      const { values } = app.peal;
      const redisLess = await values.stats();
      assert.ok(redisLess.redis === null);
      await values.invalidate({ pattern: 'odd:cache:*' });
      // The name of the next one is asked for as a lease: whoever puts something there before it is done.
      const seen = [];
      const spy = new PealServer({ url: hub.url, key: KEY, fetch: (url, options) => { seen.push(decodeURIComponent(new URL(url).pathname)); return fetch(url, options); } });
      const other = await App.start(express, hub, (it, peal, handled) => it.get('/odd', spy.cacheMiddleware({ ttl: 60, prefix: 'odd' }), count(handled)));
      apps.push(other);
      await other.ask('/odd');
      const [, name] = /values\/(.+)\/lease/.exec(seen[0]);
      for (const value of [null, 1, 'x', {}, { status: 200 }, { status: 200, headers: [['a b', 'c']], text: 'x', at: 1 }, { status: 200, headers: [['x', 'a\nb']], text: 'x', at: 1 },
        { status: 999, headers: [], text: 'x', at: 1 }, { status: 200, headers: {}, text: 'x', at: 1 }, { status: 200, headers: [], at: 1 }]) {
        await values.set(name, value, 60);
        const { status, cache } = await other.ask('/odd');
        assert.deepEqual([status, cache], [200, 'MISS'], JSON.stringify(value));
      }
    });
  });
}

describe('many processes', () => {
  let redis;
  let postgres;
  let hubs;
  let apps;
  before(async () => {
    [redis, postgres] = await Promise.all([startRedis(), startPostgres()]);
    const first = await startHub({ redis, postgres, config: CONFIG, env: { PEAL_SHARDS: '2' } });
    hubs = [first, await startHub({ redis, postgres, config: CONFIG, secret: first.secret, apiKey: first.apiKey, env: { PEAL_SHARDS: '2' } })];
    const install = (app, peal, handled) => {
      app.get('/many/:n', peal.cacheMiddleware(600), async (req, res) => {
        await pause(50);
        res.json({ calls: handled(), n: req.params.n });
      });
      app.get('/state', peal.cacheMiddleware(600), (req, res) => res.json({ state: apps.state, calls: handled('state') }));
      app.post('/state', peal.invalidateCacheMiddleware(), (req, res) => {
        apps.state = req.headers['x-state'];
        res.end();
      });
    };
    const options = { values: { wait: 100, timeout: 3_000 } };
    apps = [await App.start(express4, hubs[0], install, options), await App.start(express5, hubs[1], install, options)];
  });
  after(async () => {
    for (const app of apps ?? []) app.stop();
    for (const hub of hubs ?? []) await hub.stop();
    await redis?.stop();
    await postgres?.stop();
  });
  const write = (app, state) => app.ask('/state', { method: 'POST', headers: { 'x-state': state } });
  const read = async (app) => JSON.parse((await app.ask('/state')).body).state;

  test('of all who want an answer at once one makes it, and the keys say whose they are', async () => {
    const answers = await Promise.all(Array.from({ length: 200 }, (_, i) => apps[i % 2].ask('/many/1')));
    assert.equal((apps[0].calls.all ?? 0) + (apps[1].calls.all ?? 0), 1);
    assert.ok(answers.every(({ status, body }) => status === 200 && body === '{"calls":1,"n":"1"}'));
    const names = await redis.client().keys('peal:values:*:v:/cache:*');
    assert.equal(names.length, 1);
    assert.match(names[0], /v:\/cache:ann:[\w-]{43}$/);
  });

  test('a write in one process is seen in the other, a second later at the latest for good', async () => {
    await write(apps[0], 'one');
    for (const app of apps) assert.equal(await read(app), 'one');
    await write(apps[1], 'two');
    assert.equal(await read(apps[1]), 'two');
    await until(async () => (await read(apps[0])) === 'two', 'the other sees it');
    assert.equal((await apps[0].ask('/state')).cache, 'HIT');
  });

  test('without Redis requests go by, and nothing old comes out when it is back', async () => {
    await write(apps[0], 'before');
    await apps[0].kept('/state');
    await redis.kill();
    for (let i = 0; i < 20; i++) {
      await write(apps[0], `away ${i}`);
      assert.equal(await read(apps[0]), `away ${i}`);
    }
    assert.ok(apps[0].peal.values.counts.owed > 0);
    await redis.restart();
    await until(() => apps[0].peal.values.counts.owed === 0, 'the hub is told what has to go');
    await until(async () => (await read(apps[1])) === 'away 19', 'nothing old in the other');
    await apps[0].kept('/state');
    assert.equal(await read(apps[0]), 'away 19');
  });

  test('with a hub that is killed requests go by at once, which is told once; it is used again when it is back', async () => {
    const [app] = apps;
    app.told.length = 0;
    await write(app, 'before');
    await app.kept('/state');
    await hubs[0].kill();
    const { failed } = app.peal.values.counts;
    for (let i = 0; i < 50; i++) {
      if (i % 10 === 0) await write(app, `killed ${i}`);
      const answer = await app.ask('/state');
      assert.deepEqual([answer.status, answer.cache, JSON.parse(answer.body).state], [200, 'MISS', `killed ${i - (i % 10)}`]);
    }
    await until(() => app.told.length > 0, 'it is told');
    assert.deepEqual(app.told, ['away']);
    assert.ok(app.peal.values.counts.failed - failed <= 10, 'it is not asked for each');
    await hubs[0].restart();
    await until(() => app.told.length === 2 && app.peal.values.counts.owed === 0, 'it is back, and told what has to go');
    assert.deepEqual(app.told, ['away', 'back']);
    await app.kept('/state');
    assert.equal(await read(app), 'killed 40');
    await until(async () => (await read(apps[1])) === 'killed 40', 'nothing old in the other');
  });

  test('a hub that hangs is given up, and then nobody waits for it', async () => {
    const [app] = apps;
    app.told.length = 0;
    await app.kept('/state');
    hubs[0].pause();
    const { failed, passed } = app.peal.values.counts;
    await until(async () => {
      assert.equal((await app.ask('/state')).status, 200);
      return app.peal.values.counts.away;
    }, 'it is given up');
    for (let i = 0; i < 200; i++) assert.equal((await app.ask('/state')).cache, 'MISS');
    const now = app.peal.values.counts;
    assert.equal(now.failed - failed, 3);
    assert.ok(now.passed - passed >= 200);
    hubs[0].resume();
    await until(async () => {
      await app.ask('/state');
      return app.told.length === 2;
    }, 'it is back');
    assert.deepEqual(app.told, ['away', 'back']);
    await app.kept('/state');
  });
});
