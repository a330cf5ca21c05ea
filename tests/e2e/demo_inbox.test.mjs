// SPDX-License-Identifier: Apache-2.0
// The inbox of the demo page, in a real browser: what is done to rows and undone, what comes back, what
// is new.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import {
  Demo, PHONE, closePage, isAccessible, isSound, picture, rowOf, titles, unread,
} from './support/demo.mjs';
import { never, until } from './support/wait.mjs';

const HOUR = 3_600_000;

const demo = new Demo();
before(() => demo.start());
after(() => demo.stop());

const inboxOf = (user) => `/api/v1/users/${user}/notifications`;

// What the hub has of a user, by title: the rows of a state, or of the list.
async function stored(user, query = '') {
  const { body } = await demo.hub.api('GET', `${inboxOf(user)}?limit=100${query}`);
  return body.items;
}
const storedTitles = async (user, query) => (await stored(user, query)).map(({ title }) => title);

async function postTitles(user, names, fields) {
  for (const title of names) await demo.post(user, { title, ...fields });
}

// A way back stays 12 s on the page, and as long as the test needs in a test.
const keepBars = (page) => page.addInitScript(() => {
  const { setTimeout } = globalThis;
  globalThis.setTimeout = (task, ms, ...more) => setTimeout(task, ms === 12_000 ? 600_000 : ms, ...more);
});

async function openAs(user, { prepare, ...options } = {}) {
  const both = async (page) => {
    await keepBars(page);
    await prepare?.(page);
  };
  return demo.openAs(user, { ...options, prepare: both });
}

async function openWith(user, count, options) {
  const page = await openAs(user, options);
  await until(async () => (await titles(page)).length === count, `${count} rows are shown`);
  return page;
}

const shows = (page, names) => until(
  async () => JSON.stringify(await titles(page)) === JSON.stringify(names), `the list shows ${names}`);
const press = (page, title, control) => rowOf(page, title).getByTestId(control).click();
const bar = (page, text) => page.test('undo-bar').filter({ hasText: text });
const undo = (page, text) => bar(page, text).getByTestId('undo').click();
const counts = (page, count) => until(async () => (await unread(page)) === String(count), `${count} are unread`);
const focused = (page) => page.evaluate(() => document.activeElement.dataset.testid ?? document.activeElement.id);
const nobodyLooks = (page) => until(() => page.test('unseen').isHidden(), 'all has been looked at');

test('what is marked, archived and deleted can be undone', async () => {
  await postTitles('anna', ['first', 'second', 'third']);
  const page = await openWith('anna', 3);
  await press(page, 'second', 'mark-read');
  await counts(page, 2);
  await undo(page, 'Marked read: second');
  await counts(page, 3);
  assert.equal(await rowOf(page, 'second').getAttribute('data-state'), 'seen');

  await press(page, 'third', 'archive');
  await shows(page, ['second', 'first']);
  await undo(page, 'Archived: third');
  await shows(page, ['third', 'second', 'first']);

  await press(page, 'first', 'delete');
  await shows(page, ['third', 'second']);
  assert.equal((await storedTitles('anna')).length, 3, 'it is not deleted yet');
  await isSound(page, 'with a way back');
  await undo(page, 'Deleted: first');
  await shows(page, ['third', 'second', 'first']);

  await press(page, 'first', 'delete');
  await bar(page, 'Deleted: first').getByRole('button', { name: 'Dismiss' }).click();
  await until(async () => (await storedTitles('anna')).length === 2, 'it is deleted now');
  await press(page, 'second', 'delete');
  await page.test('logout').click();
  await until(async () => (await storedTitles('anna')).length === 1, 'who leaves has decided');
  await closePage(page);
});

test('the keyboard alone reaches rows, their controls and the way back', async () => {
  await postTitles('bert', ['one', 'two', 'three', 'four']);
  const page = await openWith('bert', 4);
  await page.test('search').focus();
  await page.keyboard.press('Tab');
  assert.equal(await focused(page), 'item');
  const title = () => page.evaluate(() => document.activeElement.querySelector('[data-testid=item-title]').textContent);
  assert.equal(await title(), 'four');
  const walk = [['ArrowDown', 'three'], ['ArrowDown', 'two'], ['End', 'one'], ['ArrowDown', 'one'], ['Home', 'four'],
    ['PageDown', 'one'], ['PageUp', 'four'], ['ArrowUp', 'four'], ['ArrowDown', 'three']];
  for (const [key, wanted] of walk) {
    await page.keyboard.press(key);
    assert.equal(await title(), wanted, key);
  }
  for (const control of ['mark-read', 'snooze', 'archive', 'delete']) {
    await page.keyboard.press('Tab');
    assert.equal(await focused(page), control);
  }
  await page.keyboard.press('Shift+Tab');
  await page.keyboard.press('Enter');
  await shows(page, ['four', 'two', 'one']);
  assert.equal(await title(), 'two', 'the focus goes to the row that follows');
  for (let n = 0; (await focused(page)) !== 'undo'; n++) {
    assert.ok(n < 8, 'Tab leads to the way back');
    await page.keyboard.press('Tab');
  }
  await page.keyboard.press('Enter');
  await shows(page, ['four', 'three', 'two', 'one']);
  await rowOf(page, 'one').getByTestId('delete').focus();
  await page.keyboard.press('Enter');
  await shows(page, ['four', 'three', 'two']);
  await page.keyboard.press('Control+z');
  await shows(page, ['four', 'three', 'two', 'one']);
  await closePage(page);
});

test('what is snoozed leaves, is listed, and wakes', async () => {
  await postTitles('cleo', ['early', 'late']);
  const page = await openWith('cleo', 2, { timezoneId: 'Europe/Berlin' });
  await press(page, 'early', 'snooze');
  await page.getByRole('menu', { name: 'Snooze until' }).waitFor();
  await isSound(page, 'with the menu');
  await page.keyboard.press('Escape');
  await page.test('snooze-menu').waitFor({ state: 'hidden' });
  assert.equal(await focused(page), 'snooze');
  await page.keyboard.press('Enter');
  await page.getByRole('menuitem', { name: 'In an hour' }).waitFor();
  await page.keyboard.press('End');
  await page.keyboard.press('ArrowUp');
  await page.keyboard.press('Enter');
  await shows(page, ['late']);
  await counts(page, 1);
  const [{ snoozedUntil }] = await stored('cleo', '&state=snoozed');
  const berlin = new Intl.DateTimeFormat('en', { timeZone: 'Europe/Berlin', hour: '2-digit', minute: '2-digit', hour12: false });
  assert.equal(berlin.format(new Date(snoozedUntil)), '09:00', 'tomorrow begins on the clock of the user');
  const ahead = Date.parse(snoozedUntil) - Date.now();
  assert.ok(ahead > 0 && ahead < 34 * HOUR, snoozedUntil);

  await page.test('view-snoozed').click();
  await shows(page, ['early']);
  assert.match(await rowOf(page, 'early').getByTestId('item-state').textContent(), /^Until .*09:00/);
  await isSound(page, 'snoozed');
  await press(page, 'early', 'wake');
  await page.getByText('Nothing sleeps').waitFor();
  await page.test('view-inbox').click();
  await shows(page, ['early', 'late']);
  assert.equal(await rowOf(page, 'early').getByTestId('item-state').textContent(), 'New');
  await counts(page, 2);

  await press(page, 'late', 'snooze');
  await page.getByRole('menuitem', { name: 'Next week' }).click();
  await shows(page, ['early']);
  await bar(page, ': late').getByRole('button', { name: 'Wake now' }).click();
  await shows(page, ['late', 'early']);
  await closePage(page);
});

test('what is archived is listed, and comes back where it stood', async () => {
  await postTitles('dora', ['one', 'two', 'three']);
  const page = await openWith('dora', 3);
  await press(page, 'two', 'archive');
  await shows(page, ['three', 'one']);
  await page.test('view-archived').click();
  await shows(page, ['two']);
  await demo.hub.api('POST', `${inboxOf('dora')}/archive`, { ids: (await stored('dora')).map(({ id }) => id) });
  await shows(page, ['three', 'two', 'one']);
  await press(page, 'two', 'unarchive');
  await shows(page, ['three', 'one']);
  await press(page, 'one', 'delete');
  await shows(page, ['three']);
  await page.test('view-inbox').click();
  await shows(page, ['two']);
  await closePage(page);
});

test('words are searched for in each view, and what is found can be worked with', async () => {
  await demo.post('elsa', { title: 'Order shipped', message: 'to Zürich' });
  await demo.post('elsa', { title: 'Café', message: 'order a table' });
  await demo.post('elsa', { title: 'Weather', message: 'in Zurich' });
  const page = await openWith('elsa', 3);
  await page.test('search').fill('zurich');
  await shows(page, ['Weather', 'Order shipped']);
  await page.test('found').filter({ hasText: '2 found' }).waitFor({ state: 'attached' });
  await isSound(page, 'found');
  await press(page, 'Weather', 'archive');
  await shows(page, ['Order shipped']);
  await demo.post('elsa', { title: 'Zürich again' });
  await shows(page, ['Zürich again', 'Order shipped']);
  await page.test('view-archived').click();
  await shows(page, ['Weather']);
  await page.test('search').fill('cafe');
  await page.getByText('Nothing found').waitFor();
  await page.test('view-inbox').click();
  await shows(page, ['Café']);
  await page.test('search').fill('- -');
  await page.locator('#empty-text').filter({ hasText: /word/ }).waitFor();
  await isSound(page, 'nothing found');
  await page.test('search').fill('');
  await shows(page, ['Zürich again', 'Café', 'Order shipped']);
  await closePage(page);
});

test('what nobody has looked at stands above a line, and looking is told', async () => {
  await postTitles('emil', ['old', 'older']);
  const first = await openWith('emil', 2);
  assert.equal(await first.test('line').filter({ visible: true }).count(), 0, 'all of it is new');
  await nobodyLooks(first);
  await closePage(first);
  assert.deepEqual((await stored('emil')).map(({ seenAt }) => Boolean(seenAt)), [true, true]);

  await postTitles('emil', ['new', 'newer']);
  const page = await openWith('emil', 4);
  const below = () => page.test('line').filter({ visible: true }).evaluateAll(
    (lines) => lines.map((line) => line.closest('article').querySelector('[data-testid=item-title]').textContent));
  assert.deepEqual(await below(), ['older']);
  await isSound(page, 'with a line');
  await nobodyLooks(page);
  assert.deepEqual(await below(), ['older'], 'the line stays while the page is open');
  await demo.post('emil', { title: 'newest' });
  await shows(page, ['newest', 'newer', 'new', 'older', 'old']);
  await nobodyLooks(page);
  await press(page, 'older', 'archive');
  await shows(page, ['newest', 'newer', 'new', 'old']);
  assert.deepEqual(await below(), ['old']);
  await counts(page, 4);
  await page.reload();
  await shows(page, ['newest', 'newer', 'new', 'old']);
  assert.deepEqual(await below(), [], 'nothing is new');
  await closePage(page);
});

test('what is behind another tab of the page has not been looked at', async () => {
  const page = await openAs('fritz', { viewport: PHONE, hasTouch: true, isMobile: true });
  await page.test('tab-room').tap();
  await demo.post('fritz', { title: 'unlooked' });
  await counts(page, 1);
  await never(async () => (await stored('fritz'))[0].seenAt, 'it is seen though nobody looked', 2_500);
  await page.test('tab-inbox').tap();
  await until(async () => (await stored('fritz'))[0].seenAt, 'it is seen now');
  await closePage(page);
});

test('marking all read is undone for those that it marked', async () => {
  await postTitles('gina', Array.from({ length: 25 }, (_, n) => `n${n + 1}`));
  const [{ id }] = await stored('gina');
  await demo.hub.api('POST', `${inboxOf('gina')}/read`, { ids: [id] });
  const page = await openAs('gina');
  await counts(page, 24);
  await page.test('mark-all').click();
  await counts(page, 0);
  await undo(page, 'Marked read: 24');
  await counts(page, 24);
  assert.deepEqual(await storedTitles('gina', '&state=read'), ['n25'], 'what was read before stays so');
  await closePage(page);
});

test('more than can be undone is asked about first', async () => {
  await demo.postMany('hugo', 1_001);
  const page = await openAs('hugo');
  await until(async () => (await unread(page)) === '99+', 'all are unread');
  await page.test('mark-all').click();
  await bar(page, '1001 are more than can be undone').getByRole('button', { name: 'Mark them read' }).click();
  await counts(page, 0);
  await closePage(page);
});

test('a change made without a connection that has lost is told', async () => {
  await postTitles('ina', ['kept', 'lost']);
  let away = false;
  const sockets = new Set();
  const route = (socket) => {
    if (away) {
      socket.close({ code: 1013 });
      return;
    }
    socket.connectToServer();
    sockets.add(socket);
  };
  const page = await openWith('ina', 2, { prepare: (own) => own.routeWebSocket(/\/ws/, route) });
  await nobodyLooks(page);
  away = true;
  for (const socket of sockets) await socket.close({ code: 1013 });
  await page.locator('[data-testid=connection][data-state=waiting]').waitFor();
  for (const title of ['kept', 'lost']) {
    await press(page, title, 'mark-read');
    await until(async () => (await rowOf(page, title).getByTestId('item-state').textContent()) === 'Waits for the connection', 'it waits');
  }
  const { id } = (await stored('ina')).find(({ title }) => title === 'lost');
  for (const mark of ['read', 'unread']) await demo.hub.api('POST', `${inboxOf('ina')}/${mark}`, { ids: [id] });
  away = false;
  await bar(page, 'Another device has changed this meanwhile, and it stays so: lost').waitFor();
  await bar(page, 'Marked read: kept').waitFor();
  await until(async () => (await rowOf(page, 'lost').getByTestId('item-state').textContent()) === 'Unread', 'it stays unread');
  assert.equal(await rowOf(page, 'kept').getByTestId('item-state').textContent(), 'Read');
  assert.deepEqual(await storedTitles('ina', '&state=read'), ['kept']);
  await isAccessible(page, 'told');
  await closePage(page);
});

test('a digest says how many it gathers, and unfolds', async () => {
  const { hub } = demo;
  const { status } = await hub.api('PUT', '/api/v1/users/gitte/preferences', { types: { comment: { digest: '1h' } } });
  assert.equal(status, 200);
  await postTitles('gitte', ['alone'], { type: 'deploy' });
  await postTitles('gitte', Array.from({ length: 12 }, (_, n) => `comment ${n + 1}`));
  const page = await openWith('gitte', 2);
  const row = rowOf(page, 'comment 12');
  const button = row.getByTestId('gathered');
  assert.equal(await button.textContent(), '12 comments');
  assert.equal(await button.getAttribute('aria-expanded'), 'false');
  assert.equal(await row.getByTestId('digest').isHidden(), true);
  assert.equal(await rowOf(page, 'alone').getByTestId('gathered').isHidden(), true);
  await button.click();
  await isSound(page, 'a digest that is open');
  const lines = row.getByTestId('digest').locator('li');
  assert.equal(await lines.count(), 11);
  assert.match(await lines.first().textContent(), /^comment 12/);
  assert.equal(await lines.last().textContent(), 'and 2 before');
  await demo.post('gitte', { title: 'one more' });
  await shows(page, ['one more', 'alone']);
  await until(async () => (await rowOf(page, 'one more').getByTestId('gathered').textContent()) === '13 comments', 'it counts on');
  await rowOf(page, 'one more').getByTestId('gathered').click();
  await until(() => rowOf(page, 'one more').getByTestId('digest').isHidden(), 'it folds');
  await closePage(page);
});

test('right to left, with texts of all lengths, on a phone and a desk', async () => {
  const long = 'A title that does not want to end, and goes on. '.repeat(4).slice(0, 190);
  const word = 'Donaudampfschifffahrtsgesellschaft'.repeat(5);
  await demo.post('karim', { title: word, message: word.repeat(3), type: 'alert', priority: 'urgent' });
  await demo.post('karim', { title: long, message: long.repeat(8), type: 'invoice', priority: 'high' });
  await demo.post('karim', { title: 'تم دفع الفاتورة رقم 2041', message: 'مبلغ 1240 يورو من شركة نوردويند', type: 'invoice' });
  await demo.post('karim', { title: 'בן הגיב על „מהדורת האביב”', message: 'נראה לי טוב. שאלה אחת.' });
  const looks = [
    ['phone-light', { viewport: PHONE, deviceScaleFactor: 2, hasTouch: true, isMobile: true, colorScheme: 'light' }],
    ['phone-dark', { viewport: PHONE, deviceScaleFactor: 2, hasTouch: true, isMobile: true, colorScheme: 'dark' }],
    ['desktop-light', { colorScheme: 'light' }],
    ['desktop-dark', { colorScheme: 'dark' }],
  ];
  for (const [name, options] of looks) {
    const page = await openWith('karim', 4, options);
    for (const dir of ['ltr', 'rtl']) {
      await page.evaluate((way) => { document.documentElement.dir = way; }, dir);
      await isSound(page, `${name} ${dir}`);
      const outside = await page.evaluate(() => [...document.querySelectorAll('.item *')]
        .filter((node) => node.checkVisibility() && node.getBoundingClientRect().width > 0)
        .filter((node) => {
          const { left, right } = node.closest('.item').getBoundingClientRect();
          const own = node.getBoundingClientRect();
          return own.left < left - 1 || own.right > right + 1;
        }).map((node) => node.outerHTML.slice(0, 120)));
      assert.deepEqual(outside, [], `${name} ${dir}`);
      await picture(page, `demo-inbox-${name}-${dir}.png`);
    }
    await closePage(page);
  }
});
