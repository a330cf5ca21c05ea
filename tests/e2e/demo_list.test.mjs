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
  // In full no further at a time than what is there beyond the view, else several screens; returns what
  // was in the document at most, and how often the view had a hole or rows that do not follow each other.
  const found = await page.evaluate(async ({ last, full }) => {
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
    const most = { steps: 0, rows: 0, nodes: 0, holes: 0 };
    for (let still = 0; !places.has(last) && still < 2_000; ) {
      const top = body.scrollTop;
      note(); // what has come since the last step
      body.scrollTop += full ? body.clientHeight + 1_000 : 6_000;
      await frame(); // the list hears of it
      await frame(); // and it is painted
      most.rows = Math.max(most.rows, note());
      const view = body.getBoundingClientRect();
      const point = document.elementFromPoint(view.left + 30, view.top + view.height / 2);
      if (!point.closest('[data-testid=item]')) most.holes += 1;
      most.nodes = Math.max(most.nodes, document.querySelectorAll('*').length);
      most.steps += 1;
      still = body.scrollTop > top ? 0 : still + 1;
      if (still > 0) await new Promise((resolve) => setTimeout(resolve, 15));
    }
    return { ...most, places: places.size };
  }, { last: total, full: FULL });
  const tasks = await page.evaluate(() => globalThis.tasks);
  const each = (1000 * ((await worked()) - before)) / found.steps;
  t.diagnostic(`longest task ${Math.round(Math.max(0, ...tasks))} ms, ${tasks.length} of ${found.steps} steps over 50 ms; ${each.toFixed(1)} ms of the processor a step; at most ${found.rows} rows and ${found.nodes} elements`);
  if (FULL) assert.equal(found.places, total, 'each row was shown');
  assert.ok(found.rows <= ROWS_MAX, `${found.rows} rows in the document`);
  assert.ok(found.nodes <= NODES_MAX, `${found.nodes} elements in the document`);
  assert.equal(found.holes, 0, 'the view is never empty, nor its rows out of order');

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
