// SPDX-License-Identifier: Apache-2.0
// The demo page of `peal serve --dev`, in a real browser: what a visitor sees within a minute.
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import {
  DESKTOP, Demo, PHONE, closePage, isAccessible, isOnline, isSound, picture, titles, unread,
} from './support/demo.mjs';
import { startHub } from './support/hub.mjs';
import { until } from './support/wait.mjs';

const demo = new Demo();
let hub;

before(async () => {
  await demo.start();
  hub = demo.hub;
});

after(() => demo.stop());

const get = (path, headers) => fetch(hub.url + path, { headers });
const openPage = (options) => demo.openPage(options);
const openAs = (user, options) => demo.openAs(user, options);
const post = (user, fields, at) => demo.post(user, fields, at);

describe('what the hub serves', () => {
  const pages = {
    '/': 'text/html; charset=utf-8',
    '/demo.css': 'text/css; charset=utf-8',
    '/demo.js': 'text/javascript; charset=utf-8',
    '/dom.js': 'text/javascript; charset=utf-8',
    '/icon.svg': 'image/svg+xml',
    '/inbox.js': 'text/javascript; charset=utf-8',
    '/peal-sw.js': 'text/javascript; charset=utf-8',
    '/peal.js': 'text/javascript; charset=utf-8',
    '/snooze.js': 'text/javascript; charset=utf-8',
    '/undo.js': 'text/javascript; charset=utf-8',
    '/virtual_list.js': 'text/javascript; charset=utf-8',
  };
  for (const [path, type] of Object.entries(pages)) {
    test(`${path} with its type, tag and policy`, async () => {
      const answer = await get(path);
      assert.equal(answer.status, 200);
      assert.equal(answer.headers.get('content-type'), type);
      assert.equal(answer.headers.get('cache-control'), 'no-cache');
      assert.equal(answer.headers.get('x-content-type-options'), 'nosniff');
      const policy = answer.headers.get('content-security-policy');
      assert.match(policy, /default-src 'self';/);
      assert.match(policy, /connect-src 'self' ws: wss:/);
      assert.doesNotMatch(policy, /unsafe/);
      assert.equal((await answer.arrayBuffer()).byteLength, Number(answer.headers.get('content-length')));
      const etag = answer.headers.get('etag');
      assert.match(etag, /^"[0-9a-f]{32}"$/);
      const again = await get(path, { 'if-none-match': `"other", ${etag}` });
      assert.equal(again.status, 304);
      assert.equal(await again.text(), '');
      assert.equal((await get(path, { 'if-none-match': '"other"' })).status, 200);
    });
  }

  test('none of it without --dev', async () => {
    const plain = await startHub();
    try {
      for (const path of [...Object.keys(pages), '/dev/token?user=alice']) {
        assert.equal((await fetch(plain.url + path)).status, 404, path);
      }
    } finally {
      await plain.stop();
    }
  });
});

test('a name that is none is told at the login', async () => {
  const page = await openPage();
  await page.test('login-name').fill('a/b');
  await page.test('login-go').click();
  await page.getByRole('alert').filter({ hasText: /user/ }).waitFor();
  await page.context().close(); // its console holds the refusal, as it should
});

test('two windows of one user agree, one of another sees nothing of it', async () => {
  const first = await openPage();
  await first.test('login-alice').click();
  await isOnline(first);
  assert.equal(await first.test('me').textContent(), 'alice');
  await first.test('inbox-empty').waitFor();
  const second = await openAs('alice');
  const bob = await openAs('bob');

  await post('alice', { title: 'Invoice 7 was paid', type: 'invoice', priority: 'high' });
  await post('alice', { title: 'Bob mentioned you' });
  for (const page of [first, second]) {
    await until(async () => (await unread(page)) === '2', 'the bell counts two');
    assert.deepEqual(await titles(page), ['Bob mentioned you', 'Invoice 7 was paid']);
    assert.equal(await page.title(), '(2) Peal');
    assert.equal(await page.test('bell').getAttribute('aria-label'), 'Inbox, 2 unread');
  }

  await first.test('item').filter({ hasText: 'Invoice 7' }).getByTestId('mark-read').click();
  for (const page of [first, second]) {
    await until(async () => (await unread(page)) === '1', 'the bell counts one');
    const row = page.test('item').filter({ hasText: 'Invoice 7' });
    assert.equal(await row.getAttribute('data-read'), 'true');
    assert.ok(await row.getByTestId('mark-read').isHidden());
  }

  await second.test('mark-all').click();
  for (const page of [first, second]) {
    await page.locator('[data-testid=bell][aria-label="Inbox, nothing unread"]').waitFor();
    assert.equal(await page.locator('[data-testid=item][data-read=false]').count(), 0);
    assert.ok(await page.test('mark-all').isDisabled());
  }

  await first.test('item').filter({ hasText: 'Bob mentioned' }).getByTestId('archive').click();
  for (const page of [first, second]) {
    await until(async () => (await titles(page)).length === 1, 'one is left');
    assert.deepEqual(await titles(page), ['Invoice 7 was paid']);
  }

  await second.reload();
  await isOnline(second);
  await until(async () => (await titles(second)).length === 1, 'the inbox is read again');
  assert.equal(await bob.test('item').count(), 0);
  assert.equal(await unread(bob), '0');
  for (const page of [first, second, bob]) await closePage(page);
});

// Not that it always does, which a busy machine decides: that it can, and how long it took.
test('a posted notification is on the page within a second', async (t) => {
  const page = await openAs('frank');
  await page.evaluate(() => {
    globalThis.seen = new Map();
    const look = () => {
      for (const { textContent } of document.querySelectorAll('[data-testid=item-title]')) {
        if (!globalThis.seen.has(textContent)) globalThis.seen.set(textContent, Date.now());
      }
    };
    new MutationObserver(look).observe(document.body, { childList: true, subtree: true });
  });
  let posts = 0;
  const quick = await until(async () => {
    const title = `Parcel ${++posts}`;
    const from = Date.now();
    await post('frank', { title });
    const to = await until(() => page.evaluate((key) => globalThis.seen.get(key), title), title);
    return to - from < 1000 && { ms: to - from };
  }, 'a post is shown within a second');
  t.diagnostic(`shown ${quick.ms} ms after the post was begun, post ${posts}`);
  await closePage(page);
});

test('the form posts, to oneself and to others', async () => {
  const carol = await openAs('carol');
  const dave = await openAs('dave');
  assert.equal(await carol.test('post-user').inputValue(), 'carol');
  await carol.test('post-user').fill('dave');
  await carol.test('post-title').fill('Deployed <b>v2</b>');
  await carol.test('post-message').fill('All 12 checks passed & more');
  await carol.test('post-type').selectOption('deploy');
  await carol.test('post-urgent').check();
  await carol.test('post-send').click();
  await carol.test('post-result').filter({ hasText: 'Stored for dave as number 1' }).waitFor();
  await until(async () => (await unread(dave)) === '1', 'dave is told');
  const row = dave.test('item').first();
  assert.equal(await row.getByTestId('item-title').textContent(), 'Deployed <b>v2</b>');
  assert.match(await row.textContent(), /Urgent.*All 12 checks passed & more/s);
  assert.equal(await unread(carol), '0');
  const preferences = { types: { deploy: { inbox: false } } };
  assert.equal((await hub.api('PUT', '/api/v1/users/dave/preferences', preferences)).status, 200);
  await carol.test('post-title').fill('Deployed again');
  await carol.test('post-message').fill('Once more');
  await carol.test('post-send').click();
  await carol.test('post-result').filter({ hasText: 'Not stored: dave does not want this type' }).waitFor();
  for (const page of [carol, dave]) await closePage(page);
});

test('what is said and who is typing is seen by the others', async () => {
  const alice = await openAs('alice');
  const bob = await openAs('bob');
  await alice.getByText('bob came in').waitFor();
  await bob.test('message-input').pressSequentially('Hel');
  await alice.test('typing').filter({ hasText: 'bob is typing' }).waitFor();
  assert.equal(await bob.test('typing').textContent(), '');
  await bob.test('message-input').pressSequentially('lo <i>there</i>');
  await bob.test('message-input').press('Enter');
  for (const page of [alice, bob]) {
    await page.test('message').filter({ hasText: 'Hello <i>there</i>' }).waitFor();
    assert.equal(await page.test('message').count(), 1);
  }
  await until(async () => (await alice.test('typing').textContent()) === '', 'typing ends');
  assert.equal(await bob.test('message-input').inputValue(), '');
  await closePage(bob);
  await alice.getByText('bob left').waitFor();
  await closePage(alice);
});

test('the state of the connection is shown, and what came meanwhile is there', async () => {
  const own = await startHub({ args: ['--dev'] });
  const context = await demo.browser.newContext({ viewport: DESKTOP });
  try {
    const page = await context.newPage();
    const token = own.token('frank');
    await page.goto(`${own.url}/#token=${token}`);
    await isOnline(page);
    const { port } = own.address;
    await own.server.stop('SIGTERM');
    await page.locator('[data-testid=connection][data-state=waiting]').waitFor();
    await page.getByText(/Reconnecting/).waitFor();
    assert.equal(await page.getByTestId('connection-text').textContent(), 'Hub away');
    await isAccessible(page, 'the hub is away');
    await page.evaluate(() => {
      globalThis.said = [];
      globalThis.counted = new Set();
      const text = document.querySelector('[role=status][data-testid=connection-text]');
      const countdown = document.querySelector('[aria-hidden=true][data-testid=countdown]');
      const watch = (node, seen) => new MutationObserver(() => seen(node.textContent))
        .observe(node, { childList: true, characterData: true, subtree: true });
      watch(text, (words) => globalThis.said.push(words));
      watch(countdown, (words) => globalThis.counted.add(words));
    });
    await until(() => page.evaluate(() => globalThis.counted.size >= 3), 'it counts');
    assert.deepEqual(await page.evaluate(() => globalThis.said), [], 'nothing of it is announced');
    await context.setOffline(true);
    await page.getByTestId('connection-text').filter({ hasText: 'Offline' }).waitFor();
    own.options.args = ['--dev', '--listen-port', String(port)];
    await own.restart();
    await post('frank', { title: 'While you were away' }, own);
    await context.setOffline(false);
    await isOnline(page);
    await page.getByTestId('item-title').filter({ hasText: 'While you were away' }).waitFor();
    assert.equal(await page.getByTestId('unread').textContent(), '1');
  } finally {
    await context.close();
    await own.stop();
  }
});

test('an inbox that is not read yet is not quiet', async () => {
  let release;
  const held = new Promise((resolve) => { release = resolve; });
  const hold = (socket) => {
    const server = socket.connectToServer();
    server.onMessage(async (text) => {
      if (/"items"/.test(text)) await held;
      socket.send(text);
    });
  };
  const page = await openPage({ prepare: (own) => own.routeWebSocket(/\/ws/, hold) });
  await page.test('login-name').fill('henry');
  await page.test('login-go').click();
  await isOnline(page);
  assert.equal(await page.test('inbox-loading').textContent(), 'Loading…');
  assert.ok(await page.test('inbox-loading').isVisible());
  assert.ok(await page.test('inbox-empty').isHidden());
  await isAccessible(page, 'loading');
  release();
  await page.test('inbox-empty').waitFor();
  assert.ok(await page.test('inbox-loading').isHidden());
  await isAccessible(page, 'all quiet');
  await closePage(page);
});

test('a token that is refused is told apart from a hub that is away', async () => {
  const page = await openPage({ hash: `#token=${hub.token('alice', { exp: 1 })}` });
  await page.locator('[data-testid=connection][data-state=closed]').waitFor();
  assert.equal(await page.test('connection-text').textContent(), 'Refused: Invalid token');
  assert.match(await page.test('inbox-loading').textContent(), /no connection/);
  await isAccessible(page, 'refused');
  await page.setViewportSize(PHONE);
  for (const id of ['bell', 'reconnect', 'logout']) {
    const { x, width } = await page.test(id).boundingBox();
    assert.ok(x >= 0 && x + width <= PHONE.width, `${id} is on the screen`);
  }
  await page.test('reconnect').filter({ hasText: 'Log in again' }).click();
  await page.test('login-alice').click();
  await isOnline(page);
  assert.ok(await page.test('reconnect').isHidden());
  await closePage(page);
});

test('long texts unfold, and each text has the direction of its language', async () => {
  const page = await openAs('ida');
  const long = 'A sentence that goes on for a while. '.repeat(40);
  await post('ida', { title: 'Short', message: 'One line.' });
  await post('ida', { title: 'שלום עולם', message: 'הודעה קצרה' });
  await post('ida', { title: 'Long', message: long });
  const row = (title) => page.test('item').filter({ has: page.getByText(title, { exact: true }) });
  const unfold = row('Long').getByTestId('unfold');
  await unfold.waitFor();
  assert.ok(await row('Short').getByTestId('unfold').isHidden());
  const height = async () => (await row('Long').boundingBox()).height;
  const folded = await height();
  await unfold.click();
  await unfold.filter({ hasText: 'Less' }).waitFor();
  assert.equal(await unfold.getAttribute('aria-expanded'), 'true');
  assert.ok((await height()) > folded + 40, 'all of it is shown');
  await isAccessible(page, 'unfolded');
  await unfold.click();
  await unfold.filter({ hasText: 'More' }).waitFor();
  assert.ok(Math.abs((await height()) - folded) < 1, 'as before');
  const direction = (node) => node.evaluate((one) => getComputedStyle(one).direction);
  assert.equal(await direction(row('שלום עולם').getByTestId('item-title')), 'rtl');
  assert.equal(await direction(row('Short').getByTestId('item-title')), 'ltr');
  await page.test('message-input').fill(long.slice(0, 1000));
  await page.test('message-input').press('Enter');
  await page.test('message').getByRole('button', { name: 'More' }).click();
  await page.test('message').getByRole('button', { name: 'Less' }).waitFor();
  await page.test('message-input').fill('مرحبا');
  await page.test('message-input').press('Enter');
  const greeting = page.test('message').getByText('مرحبا');
  assert.equal(await direction(greeting), 'rtl');
  await closePage(page);
});

test('windows of one user are one arrival in the room', async () => {
  const alice = await openAs('alice');
  const windows = [await openAs('jack'), await openAs('jack'), await openAs('jack')];
  const said = async (text) => (await alice.test('messages').textContent()).split(text).length - 1;
  await closePage(windows[0]);
  await windows[1].test('message-input').fill('two left');
  await windows[1].test('message-input').press('Enter');
  await alice.test('message').filter({ hasText: 'two left' }).waitFor();
  assert.deepEqual([await said('jack came in'), await said('jack left')], [1, 0]);
  await closePage(windows[1]);
  await closePage(windows[2]);
  await alice.getByText('jack left').waitFor();
  assert.deepEqual([await said('jack came in'), await said('jack left')], [1, 1]);
  await closePage(alice);
});

test('what is laid over the page hides neither the bell nor the composer', async () => {
  const page = await openAs('kate', { viewport: PHONE, hasTouch: true, isMobile: true });
  await page.test('tab-room').tap();
  for (let n = 0; n < 12; n++) await post('kate', { title: `Parcel ${n}` });
  await page.test('toasts').getByRole('button').first().waitFor();
  const box = (node) => node.boundingBox();
  const overlap = (a, b) => Math.max(0, Math.min(a.x + a.width, b.x + b.width) - Math.max(a.x, b.x))
    * Math.max(0, Math.min(a.y + a.height, b.y + b.height) - Math.max(a.y, b.y));
  assert.equal(overlap(await box(page.test('toasts')), await box(page.locator('#composer'))), 0);
  await page.test('unread').evaluate((badge) => { badge.textContent = '99+'; });
  const icon = await box(page.test('bell').locator('svg'));
  const hidden = overlap(icon, await box(page.test('unread'))) / (icon.width * icon.height);
  assert.ok(hidden < 0.3, `${Math.round(hidden * 100)} % of the bell is hidden`);
  assert.equal(overlap(await box(page.locator('#my-avatar')), await box(page.test('unread'))), 0);
  await isAccessible(page, 'with toasts');
  await closePage(page);
});

test('the link over the bar leads to the inbox, and nobody is logged out', async () => {
  const page = await openAs('lena');
  await page.keyboard.press('Tab');
  await page.keyboard.press('Enter');
  assert.equal(await page.evaluate(() => document.activeElement.id), 'inbox');
  assert.ok(await page.test('me').isVisible());
  await closePage(page);
});

describe('pictures, and what must hold on them', () => {
  async function fill() {
    await post('grace', { title: 'Welcome to Peal', message: 'Everything that happens to you arrives here.', type: 'note', priority: 'low' });
    await post('grace', { title: 'Ben commented on “Spring release”', message: 'Looks good to me. One question about the third paragraph: do we still support the old format?' });
    await post('grace', { title: 'Invoice INV-2041 was paid', message: '€ 1,240.00 by Nordwind GmbH', type: 'invoice', priority: 'high' });
    await post('grace', { title: 'Deployed to production', message: 'api v2.14.0 · 12 of 12 checks passed', type: 'deploy' });
    await post('grace', { title: 'Disk almost full on db-2', message: '94 % used, 11 GB left. At this rate it is full in about 3 hours.', type: 'alert', priority: 'urgent' });
  }

  async function talk(page) {
    const bob = await openAs('bob');
    const say = async (who, text) => {
      await who.test('message-input').fill(text);
      await who.test('message-input').press('Enter');
      await page.test('message').filter({ hasText: text }).waitFor({ state: 'attached' });
    };
    await say(bob, 'Morning! Did the release go out?');
    await say(bob, 'I see the checks are green.');
    await say(page, 'It did, ten minutes ago.');
    await bob.test('message-input').pressSequentially('Great');
    await page.test('typing').filter({ hasText: 'bob is typing' }).waitFor({ state: 'attached' });
    return bob;
  }

  before(fill);

  for (const colorScheme of ['light', 'dark']) {
    test(`desktop, ${colorScheme}`, async () => {
      const page = await openAs('grace', { colorScheme });
      await until(async () => (await titles(page)).length === 5, 'five items');
      if (colorScheme === 'light') {
        await page.test('item').nth(3).getByTestId('mark-read').click();
        await page.test('item').nth(4).getByTestId('mark-read').click();
      }
      await until(async () => (await unread(page)) === '3', 'three unread');
      const bob = await talk(page);
      await isSound(page, 'picture');
      await picture(page, `demo-desktop-${colorScheme}.png`);
      await closePage(bob);
      await closePage(page);
    });

    test(`phone, ${colorScheme}`, async () => {
      const options = { viewport: PHONE, colorScheme, deviceScaleFactor: 2, hasTouch: true, isMobile: true };
      const page = await openAs('grace', options);
      await until(async () => (await titles(page)).length === 5, 'five items');
      await isSound(page, 'picture');
      await picture(page, `demo-phone-inbox-${colorScheme}.png`);
      await page.test('tab-room').tap();
      const bob = await talk(page);
      await isSound(page, 'picture');
      await picture(page, `demo-phone-room-${colorScheme}.png`);
      await page.test('tab-post').tap();
      await isSound(page, 'picture');
      await picture(page, `demo-phone-post-${colorScheme}.png`);
      await closePage(bob);
      await closePage(page);
    });
  }

  test('login', async () => {
    const page = await openPage({ viewport: PHONE, deviceScaleFactor: 2 });
    await isSound(page, 'picture');
    await picture(page, 'demo-login.png');
    await closePage(page);
  });

  test('by keyboard alone', async () => {
    const page = await openAs('grace');
    await until(async () => (await titles(page)).length === 5, 'five items');
    const focused = () => page.evaluate(() => document.activeElement.dataset.testid ?? document.activeElement.className);
    await page.keyboard.press('Tab');
    assert.equal(await focused(), 'skip');
    const before = Number(await unread(page));
    await page.test('item').first().getByTestId('mark-read').focus();
    await page.keyboard.press('Enter');
    await until(async () => Number(await unread(page)) === before - 1, 'one less is unread');
    assert.equal(await focused(), 'item'); // its button has gone: the focus stays with the item
    await page.keyboard.press('Tab');
    assert.equal(await focused(), 'mark-unread');
    await closePage(page);
  });
});
