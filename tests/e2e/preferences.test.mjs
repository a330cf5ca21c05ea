// SPDX-License-Identifier: Apache-2.0
// Preferences: set and read by every way, told to all devices, and what they do to notifications; on SQLite
// and on two nodes over Postgres and Redis.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { startHub } from './support/hub.mjs';
import { startPostgres } from './support/postgres.mjs';
import { startRedis } from './support/redis.mjs';
import { until } from './support/wait.mjs';

const POSTS = '/api/v1/notifications';
const HOUR = 3_600_000;
const pathOf = (user) => `/api/v1/users/${user}/preferences`;
const CONFIG = `
notification_type "digest" { inbox = off push = off }
notification_type "chatter" { limit = "2/1h" }
`;

let users = 0;
const newUser = () => `person-${++users}`;

class Told {
  constructor(ask) {
    Object.assign(this, { ask, items: [], preferences: [] });
  }

  take(event, body) {
    if (event === 'notification') this.items.push(body);
    if (event === 'preferences:changed') this.preferences.push(body);
    this.ready ||= event === 'hub:ready';
  }

  async item(title) {
    return until(() => this.items.find((one) => one.title === title), `the notification ${title}`);
  }
}

async function overSocketIo(hub, user) {
  const socket = hub.socketIo(user);
  const told = new Told((event, argument) => socket.emitWithAck(event, argument));
  socket.onAny((event, body) => told.take(event, body));
  await until(() => told.ready, 'hub:ready on Socket.IO');
  return told;
}

async function overWs(hub, user, encoding) {
  const told = new Told();
  const client = await hub.plain(user, { encoding, onEvent: ([event, body]) => told.take(event, body) });
  told.ask = (event, argument) => client.request(event, argument);
  await until(() => told.ready, 'hub:ready on /ws');
  return told;
}

const stores = {
  SQLite: async () => {
    const hub = await startHub({ config: CONFIG });
    return { hubs: [hub, hub], stop: () => hub.stop() };
  },
  'Postgres, two nodes': async () => {
    const [redis, postgres] = await Promise.all([startRedis(), startPostgres()]);
    const first = await startHub({ config: CONFIG, redis, postgres });
    const second = await startHub({ config: CONFIG, redis, postgres, secret: first.secret, apiKey: first.apiKey });
    const stop = async () => {
      await first.stop();
      await second.stop();
      await redis.stop();
      await postgres.stop();
    };
    return { hubs: [first, second], stop };
  },
};

for (const [name, start] of Object.entries(stores)) {
  describe(name, () => {
    let rig;
    before(async () => {
      rig = await start();
    });
    after(() => rig?.stop());

    const put = async (user, preferences) => {
      const { status, body } = await rig.hubs[0].api('PUT', pathOf(user), preferences);
      assert.equal(status, 200, JSON.stringify(body));
      return body;
    };
    const post = async (user, title, more = {}) => {
      const answer = await rig.hubs[1].api('POST', POSTS, { user, title, type: 'note', ...more });
      assert.ok([200, 201].includes(answer.status), JSON.stringify(answer.body));
      return answer;
    };
    const devicesOf = async (user) => [await overSocketIo(rig.hubs[0], user), await overWs(rig.hubs[1], user, 'json'),
      await overWs(rig.hubs[0], user, 'msgpack')];
    const known = (devices, rev) => until(
      () => devices.every(({ preferences }) => preferences.at(-1)?.rev === rev), `all devices know preferences ${rev}`);

    test('what is set by one way is read by every other, and told to all devices', async () => {
      const user = newUser();
      const devices = await devicesOf(user);
      const usual = {
        digest: { inbox: false, push: false, digest: null, limit: null },
        chatter: { inbox: true, push: true, digest: null, limit: { count: 2, per: '1h' } },
      };
      const nothing = { timezone: null, muteUntil: null, quiet: null, types: {}, effective: usual, rev: 0 };
      assert.deepEqual((await rig.hubs[0].api('GET', pathOf(user))).body, nothing);
      assert.deepEqual(await devices[1].ask('preferences:get'), { ok: true, ...nothing });
      const wanted = {
        timezone: 'Europe/Berlin', muteUntil: '2031-02-03T04:05:06.000Z',
        quiet: { from: '22:00', to: '07:00', days: [1, 2, 3, 4, 5] },
        types: {
          comment: { inbox: true, push: false, digest: '1h', limit: { count: 5, per: '90m' } },
          digest: { inbox: true }, 'any "text"/x': { limit: null },
        },
      };
      const effective = {
        comment: { inbox: true, push: false, digest: '1h', limit: { count: 5, per: '90m' } },
        digest: { inbox: true, push: false, digest: null, limit: null },
        'any "text"/x': { inbox: true, push: true, digest: null, limit: null },
        chatter: usual.chatter,
      };
      const ways = [
        (body) => put(user, body), ...devices.map(({ ask }) => (body) => ask('preferences:set', body)),
      ];
      let rev = 0;
      for (const set of ways) {
        rev += 1;
        const { ok, ...answer } = await set(wanted);
        assert.deepEqual(answer, { ...wanted, effective, rev });
        await known(devices, rev);
        for (const { ask, preferences } of devices) {
          assert.deepEqual(preferences.at(-1), answer);
          assert.deepEqual(await ask('preferences:get'), { ok: true, ...answer });
        }
        assert.deepEqual((await rig.hubs[1].api('GET', pathOf(user))).body, answer);
      }
      const again = await put(user, (await rig.hubs[1].api('GET', pathOf(user))).body);
      assert.deepEqual(again, { ...wanted, effective, rev: rev + 1 }, 'what was read may be given back');
      assert.deepEqual(await put(user, {}), { ...nothing, rev: rev + 2 }, 'the whole is replaced');
    });

    test('while it is quiet everything comes in silence, but what is urgent', async () => {
      const user = newUser();
      const devices = await devicesOf(user);
      const silent = async (title, more) => {
        await post(user, title, more);
        const told = [];
        for (const device of devices) told.push((await device.item(title)).silent);
        return told;
      };
      assert.deepEqual(await silent('before'), [undefined, undefined, undefined]);
      await put(user, { muteUntil: Date.now() + HOUR });
      await known(devices, 1);
      assert.deepEqual(await silent('muted'), [true, true, true]);
      assert.deepEqual(await silent('urgent', { priority: 'urgent' }), [undefined, undefined, undefined]);
      const late = await overWs(rig.hubs[1], user, 'json');
      devices.push(late);
      assert.deepEqual(await silent('to one that came later'), [true, true, true, true]);
      await put(user, { muteUntil: Date.now() - HOUR });
      await known(devices, 2);
      assert.deepEqual(await silent('over'), [undefined, undefined, undefined, undefined]);
      // Around the clock but for a minute that is hours away, in a zone half an hour off.
      const away = new Date(Date.now() + 11 * HOUR + 5.5 * HOUR).toISOString().slice(11, 15);
      const quiet = { from: `${away}1`, to: `${away}0` };
      await put(user, { timezone: 'Asia/Kolkata', quiet });
      await known(devices, 3);
      assert.deepEqual(await silent('quiet'), [true, true, true, true]);
      await put(user, { timezone: 'Asia/Kolkata', quiet: { from: quiet.to, to: quiet.from } });
      await known(devices, 4);
      assert.deepEqual(await silent('not quiet'), [undefined, undefined, undefined, undefined]);
      await put(user, { timezone: 'Asia/Kolkata', quiet: { ...quiet, days: [] } });
      await known(devices, 5);
      assert.deepEqual(await silent('on no day'), [undefined, undefined, undefined, undefined]);
      const { body: { items } } = await rig.hubs[0].api('GET', `/api/v1/users/${user}/notifications`);
      assert.deepEqual(items.filter((item) => 'silent' in item), [], 'it is not kept');
    });

    test('the first user of a connection is silent from the first notification on', async () => {
      const user = newUser();
      await put(user, { muteUntil: Date.now() + HOUR });
      const [device] = await Promise.all([overWs(rig.hubs[1], user, 'json'), post(user, 'early')]);
      await post(user, 'late');
      assert.equal((await device.item('late')).silent, true);
      assert.equal(device.items.every(({ silent }) => silent), true);
      assert.deepEqual(device.preferences, [], 'nothing has changed since it came');
    });

    test('what is not wanted is not stored, and its key stays used', async () => {
      const user = newUser();
      const [device] = await devicesOf(user);
      await put(user, { types: { note: { inbox: false } } });
      const key = `key-${user}`;
      assert.deepEqual((({ status, body }) => [status, body])(await post(user, 'no', { key })),
        [201, { status: 'suppressed', duplicate: false }]);
      assert.equal((await post(user, 'yes', { type: 'other' })).body.seq, 1);
      await put(user, { types: { digest: { inbox: true } } });
      const repeat = await post(user, 'no', { key });
      assert.deepEqual([repeat.status, repeat.body], [200, { status: 'suppressed', duplicate: true }]);
      const other = await rig.hubs[0].api('POST', POSTS, { user, key, type: 'note', title: 'other' });
      assert.deepEqual([other.status, other.body.error.code], [409, 'key_conflict']);
      assert.equal((await post(user, 'wanted all the same', { type: 'digest' })).body.seq, 2);
      const second = newUser();
      const several = await rig.hubs[0].api('POST', POSTS, { users: [user, second], type: 'digest', title: 'several' });
      assert.deepEqual(several.body.results.map(({ status, outcome, seq }) => [status, outcome, seq]),
        [[201, undefined, 3], [201, 'suppressed', undefined]]);
      await device.item('several');
      assert.deepEqual(device.items.map(({ title, seq }) => [title, seq]),
        [['yes', 1], ['wanted all the same', 2], ['several', 3]]);
      const { body } = await rig.hubs[1].api('GET', `/api/v1/users/${user}/notifications/unread`);
      assert.deepEqual([body.count, body.rev], [3, 3]);
    });

    test('a type that is not wanted comes by no post to many either', async () => {
      const [user, asks, usual] = Array.from({ length: 3 }, newUser);
      const users = [user, asks, usual];
      const others = Array.from({ length: 1000 }, (_, i) => `of-a-list-${i}`);
      const topic = `wanted-by-${user}`;
      const devices = [];
      for (const one of users) devices.push((await devicesOf(one))[1]);
      await put(user, { types: { note: { inbox: false } } });
      await put(asks, { types: { digest: { inbox: true } } });
      assert.equal((await rig.hubs[0].api('PUT', `/api/v1/topics/${topic}/subscribers`, { users })).status, 200);
      for (const [at, target] of Object.entries([{ topic }, { users: [...users, ...others] }, { all: true }])) {
        for (const type of ['note', 'digest', 'order']) {
          const { status } = await rig.hubs[1].api('POST', POSTS, { ...target, type, title: `${type} ${at}` });
          assert.equal(status, 201);
        }
      }
      const want = [['order'], ['note', 'digest', 'order'], ['note', 'order']];
      for (const [i, types] of want.entries()) {
        const titles = [0, 1, 2].flatMap((at) => types.map((type) => `${type} ${at}`));
        await devices[i].item('order 2');
        assert.deepEqual(devices[i].items.map(({ title, seq }) => [title, seq]), titles.map((title, at) => [title, at + 1]));
        await put(users[i], { types: { note: { inbox: true }, digest: { inbox: true } } });
        const { body } = await rig.hubs[1].api('GET', `/api/v1/users/${users[i]}/notifications?limit=100`);
        assert.deepEqual(body.items.map(({ title }) => title).reverse(), titles, 'what was passed does not come later');
        const unread = await rig.hubs[0].api('GET', `/api/v1/users/${users[i]}/notifications/unread`);
        assert.deepEqual([unread.body.count, unread.body.rev], [titles.length, titles.length]);
      }
    });

    test('posts to many count for a limit, and come in silence while it is quiet', async () => {
      const user = newUser();
      const topic = `limit-of-${user}`;
      const [device] = await devicesOf(user);
      await put(user, { types: { note: { limit: { count: 2, per: '1h' } } } });
      await until(() => device.preferences.length === 1, 'the device knows');
      assert.equal((await rig.hubs[0].api('PUT', `/api/v1/topics/${topic}/subscribers`, { users: [user] })).status, 200);
      const many = async (title, more) => {
        const answer = await rig.hubs[1].api('POST', POSTS, { topic, type: 'note', title, ...more });
        assert.equal(answer.status, 201);
        return (await device.item(title)).silent ?? false;
      };
      assert.equal(await many('first'), false);
      await post(user, 'second');
      assert.equal((await device.item('second')).silent, undefined);
      assert.deepEqual([await many('third'), await many('urgent', { priority: 'urgent' })], [true, false]);
      await put(user, { muteUntil: Date.now() + HOUR });
      await until(() => device.preferences.length === 2, 'the device knows');
      assert.deepEqual([await many('muted'), await many('urgent again', { priority: 'urgent' })], [true, false]);
    });

    test('more than a limit come in silence, and none is lost', async () => {
      const user = newUser();
      const [device] = await devicesOf(user);
      await put(user, { types: { note: { limit: { count: 3, per: '1h' } } } });
      await until(() => device.preferences.length === 1, 'the device knows');
      for (let i = 1; i <= 5; i++) await post(user, `note ${i}`);
      for (let i = 1; i <= 4; i++) await post(user, `chatter ${i}`, { type: 'chatter' });
      await post(user, 'urgent', { priority: 'urgent' });
      await post(user, 'other', { type: 'other' });
      await device.item('other');
      assert.deepEqual(device.items.map(({ title, silent = false }) => [title, silent]), [
        ['note 1', false], ['note 2', false], ['note 3', false], ['note 4', true], ['note 5', true],
        ['chatter 1', false], ['chatter 2', false], ['chatter 3', true], ['chatter 4', true],
        ['urgent', false], ['other', false],
      ]);
    });
  });
}

describe('what is refused', () => {
  let hub;
  before(async () => {
    hub = await startHub();
  });
  after(() => hub?.stop());

  test('names the member at fault, the same by both ways', async () => {
    const user = newUser();
    const device = await overWs(hub, user, 'json');
    const many = Object.fromEntries(Array.from({ length: 101 }, (_, i) => [`t${i}`, {}]));
    const cases = [
      [{ timezone: 'Europe/Atlantis' }, 'timezone'], [{ timezone: 'europe/berlin' }, 'timezone'],
      [{ timezone: '../../etc/passwd' }, 'timezone'], [{ timezone: 7 }, 'timezone'], [{ timezone: '' }, 'timezone'],
      [{ muteUntil: 'soon' }, 'muteUntil'], [{ muteUntil: 12 }, 'muteUntil'], [{ muteUntil: true }, 'muteUntil'],
      [{ quiet: [] }, 'quiet'], [{ quiet: {} }, 'quiet.from'], [{ quiet: { from: '24:00', to: '07:00' } }, 'quiet.from'],
      [{ quiet: { from: '22:00', to: '7:00' } }, 'quiet.to'], [{ quiet: { from: '22:00' } }, 'quiet.to'],
      [{ quiet: { from: '22:00', to: '07:00', days: [0] } }, 'quiet.days'],
      [{ quiet: { from: '22:00', to: '07:00', days: 'all' } }, 'quiet.days'],
      [{ quiet: { from: '22:00', to: '07:00', day: 1 } }, 'quiet'],
      [{ types: [] }, 'types'], [{ types: many }, 'types'], [{ types: { a: null } }, 'types.a'],
      [{ types: { a: { inbox: 1 } } }, 'types.a.inbox'], [{ types: { a: { push: 'no' } } }, 'types.a.push'],
      [{ types: { a: { digest: '1s' } } }, 'types.a.digest'], [{ types: { a: { digest: 60000 } } }, 'types.a.digest'],
      [{ types: { a: { digest: '31d' } } }, 'types.a.digest'], [{ types: { a: { limit: 5 } } }, 'types.a.limit'],
      [{ types: { a: { limit: { count: 0, per: '1h' } } } }, 'types.a.limit.count'],
      [{ types: { a: { limit: { count: 1001, per: '1h' } } } }, 'types.a.limit.count'],
      [{ types: { a: { limit: { count: 1, per: '1y' } } } }, 'types.a.limit.per'],
      [{ types: { a: { limit: { count: 1 } } } }, 'types.a.limit'], [{ types: { a: { sound: true } } }, 'types.a'],
      [{ types: { ['x'.repeat(65)]: {} } }, 'x'.repeat(65)], [{ tiemzone: 'UTC' }, 'tiemzone'],
    ];
    for (const [body, field] of cases) {
      const { status, body: { error } } = await hub.api('PUT', pathOf(user), body);
      assert.deepEqual([status, error.code, error.field], [422, 'invalid_field', field], JSON.stringify(body).slice(0, 99));
      const answer = await device.ask('preferences:set', body);
      assert.deepEqual([answer.ok, answer.error, answer.field, answer.message], [false, 'invalid_field', field, error.message]);
    }
    const raw = async (body) => {
      const headers = { authorization: `Bearer ${hub.apiKey}`, 'content-type': 'application/json' };
      const answer = await fetch(hub.url + pathOf(user), { method: 'PUT', headers, body });
      return [answer.status, (await answer.json()).error.field];
    };
    assert.deepEqual(await raw('{"types":{"a":{}},"types":{"b":{}}}'), [422, 'types']);
    assert.deepEqual(await raw('{"types":{"a":{},"a":{}}}'), [422, 'types.a']);
    assert.deepEqual(await raw('[]'), [400, undefined]);
    assert.deepEqual(await raw('{'), [400, undefined]);
    assert.deepEqual(await raw(`{}${' '.repeat(66_000)}`), [413, undefined]);
    const other = await hub.api('PUT', pathOf(user), {}, { authorization: `Bearer ${hub.token(newUser())}` });
    assert.equal(other.status, 403);
    assert.equal((await hub.api('GET', pathOf(user))).body.rev, 0, 'nothing of it was kept');
  });
});

test('a configuration that is wrong does not start', async () => {
  const wrong = [
    ['preferences { timezone = "Mars/Base" }', /preferences\.timezone/],
    ['notification_type "x" { limit = "5" }', /types\.x\.limit/],
    ['notification_type "x" { limit = "0/1h" }', /types\.x\.limit\.count/],
    ['notification_type "x" { digest = 5s }', /types\.x\.digest/],
  ];
  for (const [config, said] of wrong) await assert.rejects(startHub({ config }), said, config);
});

test('without time zones there is UTC', async () => {
  const hub = await startHub({ config: 'preferences { zoneinfo = "/nowhere" }' });
  try {
    await hub.logged(/ZONES-MISSING/);
    assert.equal((await hub.api('PUT', pathOf('ann'), { timezone: 'UTC' })).status, 200);
    assert.equal((await hub.api('PUT', pathOf('ann'), { timezone: 'Europe/Berlin' })).status, 422);
  } finally {
    await hub.stop();
  }
});
