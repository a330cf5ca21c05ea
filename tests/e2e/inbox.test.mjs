// SPDX-License-Identifier: Apache-2.0
// What a user does to the inbox, there and back: by Socket.IO, /ws and HTTP, on SQLite and on two nodes
// over Postgres and Redis. Whichever way it is done, every device of the user is told the same.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { startHub } from './support/hub.mjs';
import { ADMIN, inboxOf, newUser, overHttp, overSocketIo, overWs, POSTS, stores } from './support/inbox.mjs';
import { until } from './support/wait.mjs';

const HOUR = 3_600_000;

for (const [name, start] of Object.entries(stores)) {
  describe(name, () => {
    let rig;
    before(async () => {
      rig = await start();
    });
    after(() => rig?.stop());

    // `count` notifications of a new user, and three devices of theirs on both nodes.
    async function open(count, more = () => ({})) {
      const user = newUser();
      const [first, second] = rig.hubs;
      const posts = Array.from({ length: count }, (_, i) => ({ user, type: 'note', title: `n${i + 1}`, ...more(i) }));
      const { status, body } = await first.api('POST', POSTS, posts);
      assert.equal(status, 200, JSON.stringify(body));
      const devices = [
        await overSocketIo(first, user), await overWs(second, user, 'json'), await overWs(first, user, 'msgpack'),
      ];
      const ways = [...devices.map(({ ask }) => ask), overHttp(second, user)];
      return { user, ids: body.results.map(({ id }) => id), devices, ways };
    }

    const at = (devices, rev) => until(() => devices.every((one) => one.rev === rev), `all devices are at ${rev}`);
    const list = async (user, query = '') => (await rig.hubs[0].api('GET', `${inboxOf(user)}${query}`)).body.items;

    test('each mark goes there and back by each way, and every device is told', async () => {
      const { user, ids, devices, ways } = await open(4);
      assert.deepEqual(devices.map(({ ready }) => [ready.unread, ready.unseen]), Array(3).fill([4, 4]));
      let rev = 4;
      for (const [i, ask] of ways.entries()) {
        const id = ids[i];
        const steps = [
          ['notification:seen', { ids: [id] }, 'seen', 4, 3 - i],
          ['notification:read', id, 'read', 3, 3 - i],
          ['notification:unread', [id], 'seen', 4, 3 - i],
          ['notification:read', { id }, 'read', 3, 3 - i],
          ['notification:archive', { ids: [id] }, 'archived', 3, 3 - i],
          ['notification:unarchive', { ids: [id] }, 'read', 3, 3 - i],
          ['notification:unread', { ids: [id] }, 'seen', 4, 3 - i],
        ];
        for (const [event, argument, state, unread, unseen] of steps) {
          rev += 1;
          const answer = await ask(event, argument);
          assert.deepEqual(answer, { ok: true, rev, unread, unseen, changed: [id] }, event);
          await at(devices, rev);
          for (const device of devices) {
            const told = device.states.find((one) => one.rev === rev);
            assert.deepEqual(told.ids, [id]);
            assert.deepEqual([told.state, told.unread, told.unseen], [state, unread, unseen], event);
            const back = event === 'notification:unarchive';
            assert.deepEqual(told.items?.map((item) => [item.id, item.isRead]), back ? [[id, true]] : undefined);
          }
          const again = await ask(event, argument);
          assert.deepEqual(again, { ok: true, rev, unread, unseen, changed: [] }, `${event} again`);
        }
      }
      assert.deepEqual((await list(user)).map(({ seq }) => seq), [4, 3, 2, 1]);
    });

    test('what is snoozed comes back by itself, new and on top', async () => {
      const { user, ids, devices, ways } = await open(3);
      await ways[0]('notification:read', ids[0]);
      const until400 = Date.now() + 400 * 24 * HOUR - 60_000;
      const long = await ways[3]('notification:snooze', { ids: [ids[0]], until: until400 });
      assert.deepEqual([long.rev, long.unread, long.unseen], [5, 2, 2]);
      await at(devices, 5);
      for (const { states } of devices) {
        const { state, snoozedUntil } = states.at(-1);
        assert.deepEqual([state, snoozedUntil], ['snoozed', new Date(until400).toISOString()]);
      }
      assert.deepEqual((await list(user)).map(({ seq }) => seq), [3, 2]);
      assert.deepEqual((await list(user, '?state=snoozed')).map(({ seq }) => seq), [1]);
      assert.deepEqual((await ways[1]('notification:read', ids[0])).changed, [], 'it is not in the list');
      const soon = new Date(Date.now() + 1500).toISOString();
      await ways[2]('notification:snooze', { ids: [ids[0], ids[1]], until: soon });
      await at(devices, 7);
      for (const { items } of devices) {
        assert.deepEqual(items.map((item) => [item.seq, item.resurfaced, item.isRead, item.newRev]), [[1, true, false, 7], [2, true, false, 7]]);
      }
      assert.deepEqual((await list(user)).map(({ seq }) => seq), [2, 1, 3]);
      const page = (await rig.hubs[1].api('GET', `${inboxOf(user)}?limit=1`)).body;
      assert.deepEqual((await list(user, `?limit=1&after=${page.next}`)).map(({ seq }) => seq), [1]);
      const { count, unseen } = (await rig.hubs[0].api('GET', `${inboxOf(user)}/unread`)).body;
      assert.deepEqual([count, unseen], [3, 3]);
      await ways[0]('notification:snooze', { id: ids[2], until: soon.replace(/^\d{4}/, (year) => Number(year) + 1) });
      const woken = await ways[1]('notification:snooze', { id: ids[2], until: null });
      assert.deepEqual([woken.rev, woken.unread, woken.changed], [9, 3, [ids[2]]]);
      await at(devices, 9);
      assert.deepEqual((await list(user)).map(({ seq }) => seq), [3, 2, 1]);
    });

    test('bulk calls take one type, or all, and leave alone what is not in the list', async () => {
      const { user, ids, devices, ways } = await open(6, (i) => ({ type: i % 2 ? 'odd' : 'even' }));
      const seen = await ways[0]('notification:seen_all', { type: 'odd' });
      assert.deepEqual(seen, { ok: true, rev: 7, unread: 6, unseen: 3, changed: 3 });
      await at(devices, 7);
      for (const { states } of devices) {
        assert.deepEqual([...states.at(-1).ids].sort(), [ids[1], ids[3], ids[5]].sort());
      }
      assert.equal((await ways[1]('notification:archive', { upTo: 1 })).changed, 1);
      assert.equal((await ways[2]('notification:snooze', { upTo: 2, until: Date.now() + HOUR })).changed, 1);
      const read = await ways[3]('notification:read_all');
      assert.deepEqual(read, { ok: true, rev: 10, unread: 0, unseen: 0, changed: 4 });
      await at(devices, 10);
      for (const { states } of devices) assert.equal(states.at(-1).upTo, 6);
      assert.equal((await ways[0]('notification:unread', { all: true, type: 'even' })).changed, 2);
      assert.equal((await ways[1]('notification:delete', { all: true })).changed, 4);
      assert.deepEqual(await list(user), []);
      assert.equal((await ways[2]('notification:unarchive', { all: true })).changed, 1);
      assert.deepEqual((await list(user)).map(({ seq }) => seq), [1]);
      assert.deepEqual((await ways[3]('notification:delete', { ids: [ids[1]] })).changed, [ids[1]]);
      assert.deepEqual(await list(user, '?state=snoozed'), []);
    });

    test('a mark made offline changes nothing that has changed since', async () => {
      const { user, ids, devices, ways } = await open(4);
      const ifRev = devices[0].ready.rev;
      await ways[1]('notification:archive', ids[0]);
      await ways[2]('notification:seen', ids[1]);
      await ways[3]('notification:read', ids[2]);
      const late = await ways[0]('notification:read', { ids, ifRev });
      assert.deepEqual(late.changed, [ids[3]]);
      assert.deepEqual(late.conflict, [ids[1]], 'what is archived or read already has lost nothing');
      assert.deepEqual([late.rev, late.unread, late.unseen], [8, 1, 0]);
      await at(devices, 8);
      for (const { states } of devices) assert.deepEqual(states.at(-1).ids, [ids[3]]);
      const all = await ways[3]('notification:read_all', { ifRev });
      assert.deepEqual([all.changed, all.conflict], [0, [ids[1]]]);
      assert.deepEqual((await ways[3]('notification:read', { ids, ifRev: late.rev })).changed, [ids[1]]);
      assert.equal((await list(user, '?state=read')).length, 3);
    });

    test('lists are filtered and ordered, counts and the overview say what is open', async () => {
      const more = (i) => ({ type: ['a', 'b', 'c'][i % 3], priority: i % 2 ? 'low' : 'urgent', ...(i % 2 && { data: { i } }) });
      const { user, ids, devices, ways } = await open(6, more);
      await ways[0]('notification:seen', ids[0]);
      await ways[0]('notification:read', ids[1]);
      await ways[0]('notification:archive', ids[2]);
      const seqs = (items) => items.map(({ seq }) => seq);
      const cases = [
        [{}, [6, 5, 4, 2, 1]],
        [{ order: 'asc' }, [1, 2, 4, 5, 6]],
        [{ type: 'a,c' }, [6, 4, 1]],
        [{ type: 'c', state: 'archived,unread', order: 'asc' }, [3, 6]],
        [{ priority: 'urgent' }, [5, 1]],
        [{ priority: 'low', state: 'read' }, [2]],
        [{ from: Date.now() + HOUR }, []],
        [{ to: new Date(Date.now() + HOUR).toISOString(), limit: 2 }, [6, 5]],
      ];
      for (const [query, wanted] of cases) {
        const text = JSON.stringify(query);
        assert.deepEqual(seqs(await list(user, `?${new URLSearchParams(query)}`)), wanted, text);
        for (const { ask } of devices) assert.deepEqual(seqs((await ask('notification:list', query)).items), wanted, text);
      }
      const pages = [];
      for (let after; after !== null;) {
        const query = new URLSearchParams({ order: 'asc', limit: 2, ...(after && { after }) });
        const { body } = await rig.hubs[1].api('GET', `${inboxOf(user)}?${query}`);
        pages.push(seqs(body.items));
        after = body.next;
      }
      assert.deepEqual(pages, [[1, 2], [4, 5], [6]]);
      const [newest] = await list(user, '?nulls=omit&limit=1&fields=seq,data,readAt');
      assert.deepEqual(newest, { seq: 6, data: { i: 5 } });
      const fields = { fields: ['seq', 'data'], nulls: 'omit', limit: 1, state: ['seen'] };
      assert.deepEqual((await ways[1]('notification:list', fields)).items, [{ seq: 1 }]);
      const get = async (what) => (await rig.hubs[1].api('GET', `/api/v1/users/${user}/${what}`)).body;
      const head = { unread: 4, unseen: 3, rev: 9 };
      const types = { a: { unread: 2, unseen: 1 }, b: { unread: 1, unseen: 1 }, c: { unread: 1, unseen: 1 } };
      assert.deepEqual(await get('counts'), { ...head, by: types });
      assert.deepEqual(await get('counts?by=priority'),
        { ...head, by: { urgent: { unread: 2, unseen: 1 }, low: { unread: 2, unseen: 2 } } });
      const { items, ...overview } = await get('overview');
      assert.deepEqual(overview, { ...head, types });
      assert.deepEqual(items, await list(user, '?limit=5'));
    });

    test('pages have numbers, and the urgent ones come first on request', async () => {
      const { user, devices } = await open(7, (i) => ({ priority: ['low', 'urgent', 'medium'][i % 3] }));
      const seqs = (items) => items.map(({ seq }) => seq);
      const block = (page, limit, total, pages) =>
        ({ page, limit, total, pages, hasNext: page < pages, hasPrev: page > 1 });
      const cases = [
        [{ page: 1, limit: 3 }, [7, 6, 5], block(1, 3, 7, 3)],
        [{ page: 3, limit: 3 }, [1], block(3, 3, 7, 3)],
        [{ page: 4, limit: 3 }, [], { ...block(4, 3, 7, 3), hasNext: false }],
        [{ page: 1, sort: 'priority' }, [5, 2, 6, 3, 7, 4, 1], block(1, 20, 7, 1)],
        [{ page: 2, limit: 4, sort: 'priority', order: 'asc' }, [6, 2, 5], block(2, 4, 7, 2)],
        [{ page: 1, priority: 'urgent,low', order: 'asc' }, [1, 2, 4, 5, 7], block(1, 20, 5, 1)],
        [{ page: 1, type: 'none' }, [], block(1, 20, 0, 0)],
      ];
      for (const [query, wanted, pagination] of cases) {
        const text = JSON.stringify(query);
        const { body } = await rig.hubs[1].api('GET', `${inboxOf(user)}?${new URLSearchParams(query)}`);
        assert.deepEqual([seqs(body.items), body.pagination, 'next' in body], [wanted, pagination, false], text);
        for (const { ask } of devices) {
          const answer = await ask('notification:list', query);
          assert.deepEqual([answer.ok, seqs(answer.items), answer.pagination], [true, wanted, pagination], text);
        }
      }
      const walked = [];
      for (let after; after !== null;) {
        const query = { sort: 'priority', limit: 2, ...(after && { after }) };
        const answer = await devices[0].ask('notification:list', query);
        walked.push(seqs(answer.items));
        after = answer.next;
      }
      assert.deepEqual(walked, [[5, 2], [6, 3], [7, 4], [1]]);
    });

    test('words are found whatever their case and accents, the best match first', async () => {
      const texts = [['Order shipped', 'to Zürich'], ['Shipment', 'your ORDER is on its way'], ['Café', 'order a table'],
        ['Zurich', 'weather'], ['Nothing', 'of that']];
      const { user, ids, devices, ways } = await open(texts.length, (i) => ({ title: texts[i][0], message: texts[i][1] }));
      const seqs = (items) => items.map(({ seq }) => seq);
      const cases = [
        [{ search: 'order' }, [1, 3, 2]],
        [{ search: 'ORDER ship' }, [1, 2]],
        [{ search: 'ship order' }, []],
        [{ search: 'cafe' }, [3]],
        [{ search: 'zurich' }, [4, 1]],
        [{ search: 'ZÜRICH', limit: 1 }, [4]],
        [{ search: 'order', type: 'none' }, []],
        [{ search: 'lost' }, []],
      ];
      for (const [query, wanted] of cases) {
        const text = JSON.stringify(query);
        assert.deepEqual(seqs(await list(user, `?${new URLSearchParams(query)}`)), wanted, text);
        for (const { ask } of devices) assert.deepEqual(seqs((await ask('notification:list', query)).items), wanted, text);
      }
      const first = await devices[0].ask('notification:list', { search: 'order', limit: 2, fields: 'seq' });
      assert.deepEqual(first.items, [{ seq: 1 }, { seq: 3 }]);
      const second = await devices[1].ask('notification:list', { search: 'order', limit: 2, after: first.next });
      assert.deepEqual([seqs(second.items), second.next], [[2], null]);
      const { body } = await rig.hubs[1].api('GET', `${inboxOf(user)}?search=order&page=2&limit=2`);
      assert.deepEqual([seqs(body.items), body.pagination],
        [[2], { page: 2, limit: 2, total: 3, pages: 2, hasNext: false, hasPrev: true }]);
      await ways[0]('notification:archive', ids[0]);
      assert.deepEqual(seqs(await list(user, '?search=order')), [3, 2]);
      assert.deepEqual(seqs(await list(user, '?search=order&state=archived')), [1]);
    });

    test('a search goes through thousands of notifications in pieces', async () => {
      const user = newUser();
      for (let i = 0; i < 3; i++) {
        const posts = Array.from({ length: 1000 }, (_, j) =>
          ({ user, type: 'note', title: j === 7 ? `Needle ${i}` : 'Straw', message: 'häy '.repeat(100) }));
        const { status } = await rig.hubs[0].api('POST', POSTS, posts);
        assert.ok(status < 300, `${status}`);
      }
      const found = await list(user, '?search=NEEDLE');
      assert.deepEqual(found.map(({ title }) => title), ['Needle 2', 'Needle 1', 'Needle 0']);
      const { body } = await rig.hubs[0].api('GET', `${inboxOf(user)}?search=hay&page=30&limit=100`);
      assert.deepEqual([body.items.length, body.pagination.total, body.items.at(-1).seq], [100, 3000, 1]);
    });

    test('a user who is erased begins again, with numbers that go on', async () => {
      const { user, devices } = await open(3);
      const key = 'first';
      const post = () => rig.hubs[0].api('POST', POSTS, { user, type: 'note', key });
      assert.equal((await post()).status, 201);
      const { status, body } = await rig.hubs[1].api('DELETE', `/api/v1/users/${user}`, undefined, ADMIN);
      assert.equal(status, 200);
      assert.deepEqual([body.erased.notifications, body.erased.keys], [4, 4]);
      await rig.hubs[1].logged(new RegExp(`USER-ERASED .*user="?${user}"?`));
      assert.deepEqual(await list(user), []);
      await until(() => devices.every(({ resyncs }) => resyncs.includes(5)), 'all devices are told to list again');
      for (const { ask } of devices) {
        const answer = await ask('notification:sync', { rev: 4 });
        assert.deepEqual([answer.resync, answer.rev, answer.unread], [true, 5, 0]);
      }
      const again = await post();
      assert.deepEqual([again.status, again.body.seq], [201, 5], 'the key was forgotten, the number was not');
      await at(devices, 6);
      for (const { items } of devices) assert.equal(items.at(-1).seq, 5);
      const none = await rig.hubs[0].api('DELETE', `/api/v1/users/${newUser()}`, undefined, ADMIN);
      assert.equal((await rig.hubs[0].api('DELETE', `/api/v1/users/${user}`)).status, 403);
      assert.deepEqual([none.status, none.body.erased.notifications], [200, 0]);
    });

    test('a device that was away converges, whatever it missed', async () => {
      const { user, ids, ways } = await open(6);
      const [ask] = ways;
      const before = (await ask('notification:sync', { rev: 0 })).rev;
      await ask('notification:archive', ids[0]);
      await ask('notification:read', ids[1]);
      const between = (await ask('notification:sync', { rev: before })).rev;
      await ask('notification:unarchive', ids[0]);
      await ask('notification:unread', ids[1]);
      await ask('notification:delete', ids[2]);
      await ask('notification:snooze', { id: ids[3], until: Date.now() + HOUR });
      await ask('notification:snooze', { id: ids[4], until: Date.now() + HOUR });
      await ask('notification:snooze', { id: ids[4], until: null });
      for (const ask of ways.slice(0, 3)) {
        const page = await ask('notification:sync', { rev: between });
        assert.equal(page.done, true);
        assert.deepEqual(page.items.map(({ id }) => id).sort(), [ids[0], ids[4]].sort());
        const states = Object.fromEntries(page.states.map(({ id, state }) => [id, state]));
        assert.deepEqual(states, { [ids[1]]: 'seen', [ids[2]]: 'erased', [ids[3]]: 'snoozed' });
        assert.ok(Date.parse(page.states.find(({ id }) => id === ids[3]).snoozedUntil) > Date.now());
        assert.deepEqual([page.unread, page.unseen], [4, 3]);
      }
      assert.deepEqual((await list(user)).map(({ id }) => id), [ids[4], ids[5], ids[1], ids[0]]);
    });
  });
}

describe('what is refused', () => {
  let hub;
  before(async () => {
    hub = await startHub();
  });
  after(() => hub?.stop());

  test('names the member at fault, the same by every way', async () => {
    const user = newUser();
    const { body } = await hub.api('POST', POSTS, { user, type: 'note' });
    const device = await overWs(hub, user, 'json');
    const { id } = body;
    const cases = [
      ['notification:read', { ids: [] }, 'invalid_field', 'ids'],
      ['notification:read', { ids: ['x'] }, 'invalid_field', 'ids'],
      ['notification:read', { upTo: 0 }, 'invalid_field', 'upTo'],
      ['notification:read', { all: 1 }, 'invalid_field', 'all'],
      ['notification:read', { id, type: 'note' }, 'invalid_field', 'type'],
      ['notification:read', { id, ifRev: 'x' }, 'invalid_field', 'ifRev'],
      ['notification:read', { id, until: null }, 'invalid_field', 'until'],
      ['notification:read', { ids: Array(1001).fill(id) }, 'too_large', 'ids'],
      ['notification:read_all', { ids: [id] }, 'invalid_field', 'ids'],
      ['notification:snooze', { id }, 'invalid_field', 'until'],
      ['notification:snooze', { id, until: Date.now() - 1000 }, 'invalid_field', 'until'],
      ['notification:snooze', { id, until: Date.now() + 401 * 24 * HOUR }, 'invalid_field', 'until'],
      ['notification:snooze', { id, until: 'tomorrow' }, 'invalid_field', 'until'],
      ['notification:delete', {}, 'invalid_field', 'ids'],
    ];
    for (const [event, argument, code, field] of cases) {
      const answer = await device.ask(event, argument);
      assert.deepEqual([answer.ok, answer.error, answer.field], [false, code, field], JSON.stringify(argument).slice(0, 99));
      const { error } = await overHttp(hub, user)(event, argument);
      assert.deepEqual([error.code, error.field, error.message], [code, field, answer.message]);
    }
    const reads = [['limit', 0], ['state', 'lost'], ['priority', 'huge'], ['type', ''], ['from', 'soon'], ['to', 'x'],
      ['order', 'up'], ['search', '- -'], ['sort', 'title'], ['page', 0], ['nulls', 'keep'], ['fields', 'secret'], ['after', 'x']];
    for (const [field, value] of reads) {
      const answer = await device.ask('notification:list', { [field]: value });
      assert.deepEqual([answer.error, answer.field], ['invalid_field', field]);
      const { status, body: { error } } = await hub.api('GET', `${inboxOf(user)}?${field}=${value}`);
      assert.deepEqual([status, error.code, error.field, error.message], [422, 'invalid_field', field, answer.message]);
    }
    assert.equal((await device.ask('notification:list', { sorted: 'title' })).field, 'sorted');
    const order = await hub.api('GET', `${inboxOf(user)}?search=a&order=asc`);
    assert.deepEqual([order.status, order.body.error.field], [400, 'order']);
    const both = await hub.api('GET', `${inboxOf(user)}?page=2&after=1`);
    assert.deepEqual([both.status, both.body.error.field], [400, 'after']);
    assert.equal((await device.ask('notification:list', { page: 2, after: 1 })).field, 'after');
    const rank = await device.ask('notification:list', { sort: 'priority', after: '1.1.4' });
    assert.deepEqual([rank.error, rank.field], ['invalid_field', 'after'], 'nothing to be tried again');
    const by = await hub.api('GET', `/api/v1/users/${user}/counts?by=title`);
    assert.deepEqual([by.status, by.body.error.field], [422, 'by']);
    assert.equal((await hub.api('POST', `${inboxOf(user)}/forget`, { id })).status, 404);
    const strange = await overHttp(hub, newUser())('notification:delete', { ids: [id] });
    assert.deepEqual(strange, { ok: true, rev: 0, unread: 0, unseen: 0, changed: [] }, 'ids of others are not there');
    assert.equal((await hub.api('GET', `${inboxOf(user)}/unread`)).body.rev, 1);
  });
});

test('more searches than may be under way are refused, and counted', async () => {
  const hub = await startHub({ env: { PEAL_LIMITS_SEARCHES: '1', PEAL_SHARDS: '1' } });
  try {
    const user = newUser();
    const posts = Array.from({ length: 1000 }, () => ({ user, type: 'note', title: 'Straw', message: 'hay '.repeat(100) }));
    for (let i = 0; i < 3; i++) assert.ok((await hub.api('POST', POSTS, posts)).status < 300);
    const search = () => hub.api('GET', `${inboxOf(user)}?search=hay&limit=1&fields=seq`);
    const refused = await until(async () => {
      const answers = await Promise.all(Array.from({ length: 20 }, search));
      const others = answers.filter(({ status }) => status !== 200);
      assert.ok(others.length < 20, 'one is carried out');
      return others.length > 0 && others;
    }, 'a search that is refused');
    for (const { status, body, headers } of refused) {
      assert.deepEqual([status, body.error.code, headers.get('retry-after')], [503, 'unavailable', '1']);
    }
    assert.deepEqual((await search()).body.items, [{ seq: 3000 }], 'the place is free again');
  } finally {
    await hub.stop();
  }
});
