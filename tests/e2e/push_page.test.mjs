// SPDX-License-Identifier: Apache-2.0
// A page that subscribes, and its service worker in Chromium: what the hub has pushed, as a push service decrypts it, is
// delivered to the worker through the DevTools protocol and shown; cleared; and opened by a click. Chromium's own push service is
// another's: here the test's is what pushManager subscribes at.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { after, before, test } from 'node:test';
import { Demo, isOnline } from './support/demo.mjs';
import { PROGRAM, cleanEnvironment, startHub } from './support/hub.mjs';
import { PushService } from './support/push_service.mjs';
import { launchBrowser } from './support/browser.mjs';
import { until } from './support/wait.mjs';

const user = 'alice';
const demo = new Demo();
let service;
let page;
let worker; // {origin, registrationId}
let devtools;
before(async () => {
  const [, privateKey] = /private ([\w-]+)/.exec(execFileSync(PROGRAM, ['vapid'], { env: cleanEnvironment(), encoding: 'utf8' }));
  service = await PushService.start();
  const config = `push { vapid_key = "${privateKey}" subject = "mailto:a@example.org" }
outgoing { allow = {"127.0.0.1"} ca = "${service.ca}" }
`;
  demo.hub = await startHub({ args: ['--dev'], config });
  demo.browser = await launchBrowser();
});
after(async () => {
  await demo.stop();
  await service?.stop();
});

// What the page's worker shows now.
const shown = () => page.evaluate(async () => {
  const all = await (await navigator.serviceWorker.ready).getNotifications();
  return all.map(({ title, body, tag, data }) => ({ title, body, tag, navigate: data.navigate }));
});

// How many notifications the worker has shown so far.
const countShown = () => page.context().serviceWorkers()[0].evaluate(() => {
  if (globalThis.shows === undefined) {
    globalThis.shows = 0;
    const show = ServiceWorkerRegistration.prototype.showNotification;
    ServiceWorkerRegistration.prototype.showNotification = async function count(...all) {
      await show.apply(this, all);
      globalThis.shows++;
    };
  }
  return globalThis.shows;
});

// Deliver it until it is seen. The worker must show it each time; but where getNotifications() is called while one is
// on its way to the screen, Chromium takes the new one for one that was closed, and forgets it.
const display = (message, isSeen, what) => until(async () => {
  const before = await countShown();
  await deliver(message);
  await until(async () => (await countShown()) === before + 1, 'the worker shows what was delivered, once');
  return isSeen(await shown());
}, what);

const deliver = (message) => devtools.send('ServiceWorker.deliverPushMessage', { ...worker, data: JSON.stringify(message) });
const path = (device, end = '') => `/api/v1/users/${user}/devices${device ? `/${device}` : ''}${end}`;

test('a page subscribes with the key of the hub, once', async () => {
  page = await demo.openPage({ hash: `#user=${user}` });
  await page.context().grantPermissions(['notifications'], { origin: demo.hub.url });
  await isOnline(page);
  devtools = await page.context().newCDPSession(page);
  devtools.on('ServiceWorker.workerRegistrationUpdated', ({ registrations }) => {
    for (const { registrationId } of registrations) worker = { origin: demo.hub.url, registrationId };
  });
  await devtools.send('ServiceWorker.enable');
  await page.exposeFunction('subscribeAt', (key) => service.subscribe(key));
  const subscribe = () => page.evaluate(async (who) => {
    let made = null; // what this browser has
    const bytes = (key) => Uint8Array.from(atob(key.replaceAll('-', '+').replaceAll('_', '/')), (one) => one.charCodeAt(0)).buffer;
    PushManager.prototype.getSubscription = async () => made;
    PushManager.prototype.subscribe = async ({ userVisibleOnly, applicationServerKey }) => {
      if (!userVisibleOnly) throw new Error('must be visible');
      const subscription = await globalThis.subscribeAt(applicationServerKey);
      made = { toJSON: () => subscription, options: { applicationServerKey: bytes(applicationServerKey) }, unsubscribe: async () => { made = null; } };
      return made;
    };
    const { Peal } = await import('/peal.js');
    const peal = new Peal();
    await peal.connect(location.origin, { token: async () => (await (await fetch(`/dev/token?user=${who}`)).json()).token });
    const first = await peal.push.subscribe();
    const second = await peal.push.subscribe();
    globalThis.own = peal;
    return [peal.push.supported, first, second];
  }, user);
  const [supported, first, second] = await subscribe();
  assert.equal(supported, true);
  assert.equal(first.id, second.id);
  assert.equal(service.browsers.size, 1);
  assert.deepEqual((await demo.hub.api('GET', path())).body.items.map(({ id, platform, origin }) => ({ id, platform, origin })), [{ id: first.id, platform: 'web', origin: service.url }]);
  await until(() => worker !== undefined, 'the worker is registered');
});

test('what the hub pushes is shown, and cleared', async () => {
  const [device] = (await demo.hub.api('GET', path())).body.items;
  const { body } = await demo.hub.api('POST', path(device.id, '/test'), { title: 'Grüße', message: 'from the hub', url: '/#user=alice' });
  assert.equal(body.outcome, 'sent', String(service.faults));
  await display(service.messages.at(-1).text, (all) => all.length === 1, 'it is shown');
  assert.deepEqual(await shown(), [{ title: 'Grüße', body: 'from the hub', tag: 'peal:test', navigate: '/#user=alice' }]);
  await display({ web_push: 8030, notification: { title: 'Again', tag: 'peal:test', navigate: '/' } },
    ([first]) => first?.title === 'Again', 'one with the same tag takes its place');
  await page.context().serviceWorkers()[0].evaluate(() => { navigator.setAppBadge = () => new Promise(() => {}); }); // what is shown waits for no badge
  await display({ web_push: 8030, app_badge: 2, notification: { title: 'Second', tag: 'two', navigate: '/' } },
    (all) => all.length === 2, 'one with another tag stands beside it');
  await deliver({ web_push: 8030, app_badge: 1, clear: ['peal:test', 'none'] });
  await until(async () => (await shown()).length === 1, 'one was read elsewhere');
  assert.equal((await shown())[0].tag, 'two');
  await deliver({ other: true });
  await deliver({ web_push: 8030, clear: ['two'], app_badge: 0 });
  await until(async () => (await shown()).length === 0, 'the other too; what is not ours is passed over');
});

test('at logout the device goes', async () => {
  await page.evaluate(() => globalThis.own.push.unsubscribe());
  assert.deepEqual((await demo.hub.api('GET', path())).body.items, []);
  await page.evaluate(() => globalThis.own.close());
  await page.context().close();
});
