// SPDX-License-Identifier: Apache-2.0
// Alerts: who is to know is told once that one fires, and once that it is over; also when the node that looks is killed,
// when Redis is away, and after a start.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { startHookBackend } from './support/hook_backend.mjs';
import { startHub } from './support/hub.mjs';
import { startPostgres } from './support/postgres.mjs';
import { startRedis } from './support/redis.mjs';
import { randomSecret } from './support/tokens.mjs';
import { until } from './support/wait.mjs';

const EVERY = 'alerts { every = 200ms }\n';
const ROOM = 'public:ops';

const shown = async (hub, name) => (await hub.api('GET', '/api/v1/alerts')).body.alerts.find((alert) => alert.name === name);
const firing = (hub, name) => until(async () => (await shown(hub, name)).state === 'firing', `${name} fires: ${hub.log}`);
const over = (hub, name) => until(async () => (await shown(hub, name)).state === 'ok', () => `${name} is over: ${hub.log}`);
const told = (hubs, id, name) => [hubs].flat().reduce((sum, hub) => sum
  + hub.log.split('\n').filter((line) => line.includes(` ${id} `) && line.includes(` alert="${name}" `)).length, 0);
const toldOnce = async (hubs, id, name) => {
  await until(() => told(hubs, id, name) >= 1, `${id} of ${name}`);
  assert.equal(told(hubs, id, name), 1, [hubs].flat().map((hub) => hub.log).join('\n'));
};
const events = (client) => client.events.filter(([event]) => event === 'alert').map(([, payload]) => payload);
const inbox = async (hub, user) => (await hub.api('GET', `/api/v1/users/${user}/notifications?type=alert`)).body.items.reverse();
const looks = async (hub, count) => {
  const seen = await hub.metric('peal_store_statements_total');
  assert.ok(seen >= 0);
  const from = Date.now();
  await until(() => Date.now() - from > count * 200, 'looks go by');
};

describe('one node', () => {
  const rules = `${EVERY}alert "crowd" { when = "count(users) > 1" to = {"log", "room:${ROOM}", "user:ada"} }\n`
    + 'alert "always" { when = "count(users) < 1000" }\nalert "never" { when = "count(users) > 1000" to = {} }\n';
  let hub;

  before(async () => {
    hub = await startHub({ config: rules });
  });

  after(async () => {
    await hub?.stop();
  });

  test('the log, a room and a user are told that it fires, and that it is over', async () => {
    const ada = await hub.plain('ada');
    assert.equal((await ada.request('join_room', { roomId: ROOM })).ok, true);
    assert.equal((await shown(hub, 'crowd')).state, 'ok');
    const bob = await hub.plain('bob');
    await firing(hub, 'crowd');
    await toldOnce(hub, 'ALERT-FIRING', 'crowd');
    await until(() => events(ada).length === 1, 'the room is told');
    const [fires] = events(ada);
    assert.deepEqual({ alert: fires.alert, state: fires.state, when: fires.when, value: fires.value },
      { alert: 'crowd', state: 'firing', when: 'count(users) > 1', value: '2' });
    assert.equal(fires.since, (await shown(hub, 'crowd')).since);
    assert.match((await hub.askInternal('/metrics')).body, /^peal_alert_firing\{alert="crowd"\} 1$/m);
    assert.match((await hub.askInternal('/metrics')).body, /^peal_alert_firing\{alert="never"\} 0$/m);
    await until(async () => (await inbox(hub, 'ada')).length === 1, 'so is the user');
    bob.close();
    await over(hub, 'crowd');
    await toldOnce(hub, 'ALERT-RESOLVED', 'crowd');
    await until(() => events(ada).length === 2, 'the room, too');
    assert.equal(events(ada)[1].state, 'resolved');
    await until(async () => (await inbox(hub, 'ada')).length === 2, 'and the user');
    const items = await inbox(hub, 'ada');
    assert.deepEqual(items.map((item) => item.title), ['crowd fires', 'crowd is over']);
    assert.deepEqual(items.map((item) => item.data.since), [fires.since, fires.since]);
    ada.close();
  });

  test('what fires is known after a start, and not told again', async () => {
    await firing(hub, 'always');
    await toldOnce(hub, 'ALERT-FIRING', 'always');
    await until(async () => (await hub.metric('peal_alerts_told_total')) >= 1, 'it is told');
    const { since } = await shown(hub, 'always');
    await looks(hub, 4); // that it was told has been kept
    await hub.kill();
    await hub.restart();
    await firing(hub, 'always');
    assert.equal((await shown(hub, 'always')).since, since);
    await looks(hub, 4);
    assert.equal(told(hub, 'ALERT-FIRING', 'always'), 0, hub.log);
  });

  test('one that is switched off, or taken out of the settings, is over', async () => {
    hub.options.config = rules.replace('alert "always" { when = "count(users) < 1000" }', '');
    hub.arguments(); // writes the file
    hub.reload();
    await toldOnce(hub, 'ALERT-RESOLVED', 'always');
    assert.equal(await shown(hub, 'always'), undefined);
  });

  test('those that are there without a block have their rules', async () => {
    const { alerts } = (await hub.api('GET', '/api/v1/alerts')).body;
    assert.deepEqual(alerts.slice(0, 7).map(({ name, state }) => [name, state]),
      ['store-away', 'bus-away', 'intake-standing', 'api-slow', 'hit-rate', 'dead-letters', 'certificate'].map((name) => [name, 'ok']));
    assert.equal(alerts[3].when, 'p95(api) > 500ms for 5m');
    assert.deepEqual(alerts[3].to, ['log']);
  });
});

test('a backend is told by a signed call, again until it takes it, and after SIGHUP at its new address', async () => {
  const [first, second] = await Promise.all([startHookBackend(), startHookBackend()]);
  const config = (backend) => `${EVERY}outgoing { allow = {"127.0.0.1"} }
    hook "ops" { url = "${backend.url}" secret = "${backend.secrets[0]}" }
    alert "crowd" { when = "count(users) > 0" to = {"hook:ops"} }\n`;
  let refuse = true;
  first.answer = () => (response) => {
    response.statusCode = refuse ? 503 : 204;
    response.end();
  };
  const hub = await startHub({ config: config(first) });
  try {
    const ada = await hub.plain('ada');
    await until(() => first.questions.length >= 3, 'it is tried again and again');
    assert.equal(told(hub, 'ALERT-UNTOLD', 'crowd'), 0);
    refuse = false;
    await until(async () => (await hub.metric('peal_alerts_told_total')) >= 1, 'it was taken');
    const count = first.questions.length;
    await looks(hub, 6);
    assert.equal(first.questions.length, count, 'and not told again');
    assert.deepEqual(first.faults, []);
    const [{ type, data, id }] = first.questions;
    assert.deepEqual({ type, alert: data.alert, state: data.state, value: data.value }, { type: 'alert.firing', alert: 'crowd', state: 'firing', value: '1' });
    assert.ok(first.questions.every((question) => question.id === id), 'each time the same');
    hub.options.config = config(second);
    hub.arguments(); // writes the file
    hub.reload();
    await hub.loggedTimes('RELOAD', 1);
    ada.close();
    await until(() => second.questions.length === 1, 'it is over');
    assert.deepEqual(second.faults, []);
    assert.equal(second.questions[0].type, 'alert.resolved');
    assert.equal(second.questions[0].data.since, data.since);
    assert.equal(first.questions.length, count);
  } finally {
    await hub.stop();
    await Promise.all([first.stop(), second.stop()]);
  }
});

test('a backend that never takes it is given up', async () => {
  const backend = await startHookBackend();
  backend.answer = () => (response) => {
    response.statusCode = 500;
    response.end();
  };
  const hub = await startHub({ config: `alerts { every = 100ms } outgoing { allow = {"127.0.0.1"} }
    hook "ops" { url = "${backend.url}" secret = "${backend.secrets[0]}" }
    alert "always" { when = "count(users) < 1000" to = {"hook:ops", "log"} }\n` });
  try {
    await toldOnce(hub, 'ALERT-UNTOLD', 'always');
    assert.equal(await hub.metric('peal_alerts_untold_total'), 1);
    const count = backend.questions.length;
    assert.ok(count >= 60, `${count}`);
    await looks(hub, 4);
    assert.equal(backend.questions.length, count, 'not any more');
    assert.equal((await shown(hub, 'always')).state, 'firing');
    assert.equal(told(hub, 'ALERT-FIRING', 'always'), 1, 'others were told');
  } finally {
    await hub.stop();
    await backend.stop();
  }
});

describe('a cluster', () => {
  const config = `${EVERY}alert "crowd" { when = "count(users) > 2" to = {"log", "room:${ROOM}", "user:ada"} }\n`;
  let redis;
  let postgres;
  let hubs;

  before(async () => {
    [redis, postgres] = await Promise.all([startRedis(), startPostgres()]);
    const shared = { redis, postgres, config, secret: randomSecret(), apiKey: randomSecret() };
    hubs = await Promise.all([0, 1, 2].map(() => startHub(shared)));
  });

  after(async () => {
    await Promise.all((hubs ?? []).map((hub) => hub.stop()));
    await Promise.all([redis?.stop(), postgres?.stop()]);
  });

  test('one node looks for all, and when it is killed another goes on with what it knew', async () => {
    const users = [];
    for (const [i, user] of ['ada', 'bob', 'eve'].entries()) users.push(await hubs[i].plain(user));
    await Promise.all(hubs.map((hub) => firing(hub, 'crowd')));
    await toldOnce(hubs, 'ALERT-FIRING', 'crowd');
    await until(async () => (await inbox(hubs[0], 'ada')).length === 1, 'the user is told');
    const looking = hubs.find((hub) => told(hub, 'ALERT-FIRING', 'crowd') === 1);
    const others = hubs.filter((hub) => hub !== looking);
    await looks(hubs[0], 4); // that all were told has been kept
    const more = await Promise.all(['x', 'y', 'z'].map((user) => others[0].plain(user))); // it goes on to be so
    await looking.kill();
    const lease = () => redis.client().get('peal:alerts:{0}:lease');
    const node = async (hub) => /node="(\w+)"/.exec((await hub.askInternal('/metrics')).body)[1];
    const names = await Promise.all(others.map(node));
    await until(async () => names.includes(await lease()), 'another one looks');
    await looks(others[0], 6);
    assert.equal(told(others, 'ALERT-FIRING', 'crowd'), 0, 'it fires, as before');
    assert.equal((await shown(others[0], 'crowd')).state, 'firing');
    for (const user of [...users, ...more]) user.close();
    await Promise.all(others.map((hub) => over(hub, 'crowd')));
    await toldOnce(others, 'ALERT-RESOLVED', 'crowd');
    await until(async () => (await inbox(others[0], 'ada')).length === 2, 'so is the user');
    assert.deepEqual((await inbox(others[0], 'ada')).map((item) => item.title), ['crowd fires', 'crowd is over']);
    await looking.restart();
  });

  test('a Redis that stands still is an alert, and over when it goes on', async () => {
    await Promise.all(hubs.map((hub) => over(hub, 'bus-away')));
    redis.pause();
    await toldOnce(hubs, 'ALERT-FIRING', 'bus-away');
    redis.resume();
    await toldOnce(hubs, 'ALERT-RESOLVED', 'bus-away');
    await Promise.all(hubs.map((hub) => over(hub, 'bus-away')));
    assert.equal(told(hubs, 'ALERT-FIRING', 'bus-away'), 1);
  });

  test('a store that stands still is an alert, and over when it goes on', async () => {
    await postgres.pause();
    await toldOnce(hubs, 'ALERT-FIRING', 'store-away');
    await postgres.resume();
    await toldOnce(hubs, 'ALERT-RESOLVED', 'store-away');
    assert.equal(told(hubs, 'ALERT-FIRING', 'store-away'), 1);
  });
});
