// SPDX-License-Identifier: Apache-2.0
// The list of the demo page with ten thousand rows, in a real browser: what is in the document, what stays
// where it is, and what the keyboard reaches.
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { Demo, closePage, isAccessible, rowOf, titles } from './support/demo.mjs';
import { until } from './support/wait.mjs';

const ROWS_MAX = 60; // in the document, however long the list is
const NODES_MAX = 3_000; // of the whole page
const FULL = process.env.PEAL_FULL === '1'; // each row is looked at, not one of some

const demo = new Demo();
before(() => demo.start());
after(() => demo.stop());

// Scroll down until row `last` was in the document: in full no further at a time than what is there beyond
// the view, else several screens. Returns what was in the document at most, how often the view had a hole or
// rows that do not follow each other, and what of a row stood out of it sideways.
const scrollDown = (page, last) => page.evaluate(async ({ last, full }) => {
  const body = document.getElementById('inbox-body');
  const frame = () => new Promise((resolve) => requestAnimationFrame(resolve));
  const places = new Set();
  const note = () => {
    const rows = [...document.querySelectorAll('[data-testid=item]')];
    const here = rows.map((row) => Number(row.ariaPosInSet));
    for (const place of here) places.add(place);
    if (here.slice(2).some((place, n) => place !== here[n + 1] + 1)) most.holes += 1; // the first is the active one
    return rows.length;
  };
  const most = { steps: 0, rows: 0, nodes: 0, holes: 0, outside: [] };
  const noteOutside = () => {
    for (const title of document.querySelectorAll('[data-testid=item-title]')) {
      const { left, right } = title.closest('.item').getBoundingClientRect();
      const own = title.getBoundingClientRect();
      if (own.left < left - 1 || own.right > right + 1) most.outside.push(title.textContent.slice(0, 40));
    }
    const wide = document.documentElement.scrollWidth - innerWidth;
    if (wide > 0) most.outside.push(`the page, by ${wide} px`);
  };
  for (let still = 0; !places.has(last) && still < 2_000; ) {
    const top = body.scrollTop;
    note(); // what has come since the last step
    body.scrollTop += full ? body.clientHeight + 1_000 : 6_000;
    await frame(); // the list hears of it
    await frame(); // and it is painted
    most.rows = Math.max(most.rows, note());
    noteOutside();
    const view = body.getBoundingClientRect();
    const point = document.elementFromPoint(view.left + 30, view.top + view.height / 2);
    if (!point.closest('[data-testid=item]')) most.holes += 1;
    most.nodes = Math.max(most.nodes, document.querySelectorAll('*').length);
    most.steps += 1;
    still = body.scrollTop > top ? 0 : still + 1;
    if (still > 0) await new Promise((resolve) => setTimeout(resolve, 15));
  }
  return { ...most, places: places.size };
}, { last, full: FULL });

test('ten thousand rows are scrolled with a few in the document', async (t) => {
  const total = 10_000;
  await demo.postMany('jana', total);
  const page = await demo.openAs('jana');
  await until(async () => (await titles(page)).length > 0, 'the list is there');
  const devtools = await page.context().newCDPSession(page);
  await devtools.send('Performance.enable', { timeDomain: 'threadTicks' });
  const worked = async () => (await devtools.send('Performance.getMetrics')).metrics.find(({ name }) => name === 'TaskDuration').value;
  const before = await worked();
  await page.evaluate(() => {
    globalThis.tasks = [];
    new PerformanceObserver((entries) => {
      for (const { duration } of entries.getEntries()) globalThis.tasks.push(duration);
    }).observe({ type: 'longtask' });
  });
  const found = await scrollDown(page, total);
  const tasks = await page.evaluate(() => globalThis.tasks);
  const each = (1000 * ((await worked()) - before)) / found.steps;
  t.diagnostic(`longest task ${Math.round(Math.max(0, ...tasks))} ms, ${tasks.length} of ${found.steps} steps over 50 ms; ${each.toFixed(1)} ms of the processor a step; at most ${found.rows} rows and ${found.nodes} elements`);
  if (FULL) assert.equal(found.places, total, 'each row was shown');
  assert.ok(found.rows <= ROWS_MAX, `${found.rows} rows in the document`);
  assert.ok(found.nodes <= NODES_MAX, `${found.nodes} elements in the document`);
  assert.equal(found.holes, 0, 'the view is never empty, nor its rows out of order');
  assert.deepEqual(found.outside, []);

  const inView = () => page.evaluate(() => {
    const body = document.getElementById('inbox-body').getBoundingClientRect();
    return [...document.querySelectorAll('[data-testid=item]')]
      .map((row) => ({ top: row.getBoundingClientRect().top - body.top, bottom: row.getBoundingClientRect().bottom - body.top, title: row.querySelector('[data-testid=item-title]').textContent }))
      .filter(({ top, bottom }) => top > -1 && bottom < body.height + 1); // less than a pixel is not scrolled for
  });
  await page.evaluate(() => { document.getElementById('inbox-body').scrollTop = 300_000; });
  await until(async () => (await inView()).length > 1, 'rows in the middle');
  const [row] = await inView();
  await demo.post('jana', { title: 'Pushed in above' });
  await until(async () => (await page.locator('[data-testid=item]').first().getAttribute('aria-setsize')) === String(total + 1), 'it is in the list');
  const after = (await inView()).find(({ title }) => title === row.title);
  assert.ok(after && Math.abs(after.top - row.top) <= 1, `what is read stays where it is: ${row.top}, then ${after?.top}`);

  await rowOf(page, row.title).first().focus();
  await page.keyboard.press('Home');
  await until(async () => (await inView())[0]?.title === 'Pushed in above', 'the top');
  await page.keyboard.press('End');
  await until(async () => (await inView()).at(-1)?.title === 'Number 1', 'the end');
  await page.keyboard.press('ArrowUp');
  assert.equal(await page.evaluate(() => document.activeElement.ariaPosInSet), String(total));
  await isAccessible(page, 'at the end of ten thousand');
  await closePage(page);
});

// As long as a title may be, in bytes, whatever it is written in: what is cut off of the last repetition is no
// half of a character.
const TITLE_BYTES = 500;
function fill(text, number) {
  let title = `${number} `;
  for (const char of text.repeat(TITLE_BYTES)) {
    if (Buffer.byteLength(title + char) > TITLE_BYTES) break;
    title += char;
  }
  return title.padEnd(title.length + TITLE_BYTES - Buffer.byteLength(title), '.');
}
const TEXTS = [
  { text: 'Donaudampfschifffahrtsgesellschaft', dir: 'ltr' },
  { text: 'A title that does not want to end, and goes on. ', dir: 'ltr' },
  { text: 'تم دفع الفاتورة ', dir: 'rtl' },
  { text: 'דונאודמפשיפפארטסגזלשאפט', dir: 'rtl' },
  { text: '漢字仮名', dir: 'ltr' },
];
const titleOf = (n) => (n % 3 === 0 ? `Number ${n}` : fill(TEXTS[n % TEXTS.length].text, n));

test('ten thousand rows with titles at the limit, in both directions', async (t) => {
  const total = 10_000;
  const { status, body } = await demo.hub.api('POST', '/api/v1/notifications',
    { user: 'lena', type: 'comment', title: `${titleOf(1)}.`, message: 'a byte too long' });
  assert.equal(status, 413, 'they are at the limit');
  assert.equal(body.error.field, 'title');
  await demo.postMany('lena', total, titleOf);
  for (const dir of ['ltr', 'rtl']) {
    const prepare = (page) => page.addInitScript((way) => {
      document.addEventListener('DOMContentLoaded', () => { document.documentElement.dir = way; });
    }, dir);
    const page = await demo.openAs('lena', { prepare });
    await until(async () => (await titles(page)).length > 0, `${dir}: the list is there`);
    assert.equal((await titles(page))[0], titleOf(total));
    const found = await scrollDown(page, total);
    t.diagnostic(`${dir}: ${found.steps} steps, at most ${found.rows} rows and ${found.nodes} elements`);
    if (FULL) assert.equal(found.places, total, `${dir}: each row was shown`);
    assert.ok(found.rows <= ROWS_MAX, `${dir}: ${found.rows} rows in the document`);
    assert.ok(found.nodes <= NODES_MAX, `${dir}: ${found.nodes} elements in the document`);
    assert.equal(found.holes, 0, `${dir}: the view is never empty, nor its rows out of order`);
    assert.deepEqual(found.outside, [], dir);
    const shown = await page.evaluate(() => [...document.querySelectorAll('[data-testid=item]')].map((row) => {
      const title = row.querySelector('[data-testid=item-title]');
      return { text: title.textContent, dir: getComputedStyle(title).direction };
    }));
    assert.ok(shown.length > 1, dir);
    for (const { text, dir: way } of shown) {
      const n = Number.parseInt(text.replace('Number ', ''), 10);
      assert.equal(text, titleOf(n), `${dir}: row ${n} has all of its title`);
      assert.equal(way, n % 3 === 0 ? 'ltr' : TEXTS[n % TEXTS.length].dir, `${dir}: row ${n} has its own direction`);
    }
    await isAccessible(page, `${dir}: titles at the limit`);
    await closePage(page);
  }
});
