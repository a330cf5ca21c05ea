// SPDX-License-Identifier: Apache-2.0
// demo - the demo page of a hub with --dev, in a browser: pages of users, and what must hold on them.
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { launchBrowser } from './browser.mjs';
import { startHub } from './hub.mjs';
import { until } from './wait.mjs';

const PICTURES =
  process.env.PEAL_ARTIFACTS ?? fileURLToPath(new URL('../../../artifacts/e2e', import.meta.url));
const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');
export const DESKTOP = { width: 1280, height: 860 };
export const PHONE = { width: 390, height: 844 };

export const isOnline = (page) => page.locator('[data-testid=connection][data-state=online]').waitFor();
export const unread = (page) => page.test('unread').textContent();
export const titles = (page) => page.test('item-title').allTextContents();
export const rowOf = (page, title) => page.test('item').filter({ has: page.getByText(title, { exact: true }) });

const isStill = (page) => page.evaluate(() => Promise.all(document.getAnimations()
  .filter((animation) => animation.effect.getTiming().iterations !== Infinity)
  .map((animation) => animation.finished.catch(() => {}))));

// Nothing that axe knows of is wrong with what is shown now, best practices included.
export async function isAccessible(page, what) {
  await isStill(page);
  await page.evaluate(AXE); // the page's policy allows no script of others: this is none of its own
  const { violations, passes } = await page.evaluate(() => globalThis.axe.run({ resultTypes: ['violations', 'passes'] }));
  assert.ok(passes.length > 10, `${what}: axe looked at the page`);
  const found = violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html, any }) => `${html} ${any[0]?.message ?? ''}`).join('; ')}`);
  assert.deepEqual(found, [], what);
}

// Nothing sticks out sideways, every control has a name, and axe has no objection.
export async function isSound(page, what) {
  await isAccessible(page, what);
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - innerWidth);
  assert.ok(wide <= 0, `${what}: ${wide} px too wide`);
  const nameless = await page.evaluate(() => [...document.querySelectorAll('button, input, select, textarea')]
    .filter((control) => control.checkVisibility())
    .filter((control) => !control.getAttribute('aria-label') && !control.textContent.trim() && !control.labels?.length)
    .map((control) => control.outerHTML));
  assert.deepEqual(nameless, []);
}

// Loaded, painted and still.
export async function picture(page, name) {
  await isStill(page);
  await page.screenshot({ path: join(PICTURES, name) });
}

// The page is closed; what went wrong in it is an error of the test.
export async function closePage(page) {
  await page.context().close();
  assert.deepEqual(page.problems, []);
}

export class Demo {
  async start() {
    mkdirSync(PICTURES, { recursive: true });
    this.hub = await startHub({ args: ['--dev'] });
    this.browser = await launchBrowser();
    return this;
  }

  async stop() {
    await this.browser?.close();
    await this.hub?.stop();
  }

  // A page of its own browser context.
  async openPage({ viewport = DESKTOP, hash = '', prepare, ...options } = {}) {
    const context = await this.browser.newContext({ viewport, ...options });
    const page = await context.newPage();
    page.setDefaultTimeout(30_000);
    page.problems = [];
    page.on('pageerror', (error) => page.problems.push(String(error)));
    page.on('console', (message) => {
      if (message.type() === 'error') page.problems.push(message.text());
    });
    page.test = (id) => page.getByTestId(id);
    await prepare?.(page);
    await page.goto(`${this.hub.url}/${hash}`);
    return page;
  }

  async openAs(user, options) {
    const page = await this.openPage({ ...options, hash: `#user=${user}` });
    await isOnline(page);
    await until(() => page.test('message-input').isEnabled(), `${user} is in the lobby`);
    return page;
  }

  async post(user, fields, at = this.hub) {
    const answer = await fetch(`${at.url}/dev/notifications`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ user, type: 'comment', priority: 'medium', message: 'm', ...fields }),
    });
    assert.equal(answer.status, 201, await answer.clone().text());
    return answer.json();
  }

  // "Number 1" to "Number <count>", some of them with more lines than others; or with other titles.
  async postMany(user, count, titleOf = (n) => `Number ${n}`) {
    for (let from = 0; from < count; from += 1_000) {
      const posts = Array.from({ length: Math.min(1_000, count - from) }, (_, n) => {
        const message = (from + n) % 7 === 0 ? 'A longer message that takes some lines of the row. '.repeat(4) : 'A message';
        return { user, type: 'comment', title: titleOf(from + n + 1), message };
      });
      const { status, body } = await this.hub.api('POST', '/api/v1/notifications', posts);
      assert.equal(status, 200, JSON.stringify(body).slice(0, 200));
    }
  }
}
