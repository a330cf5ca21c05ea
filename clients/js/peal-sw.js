// SPDX-License-Identifier: Apache-2.0
// peal-sw - the service worker of a page that Peal reaches when it is closed: it shows what is pushed, takes away what
// was read elsewhere, sets the badge, and opens the page of what is clicked. Served by the page's own origin.

const DECLARATIVE = 8030; // the form that browsers may show by themselves: {web_push: 8030, notification, app_badge}

// What was pushed, or null: another one's.
function read(data) {
  try {
    const message = data?.json();
    return message?.web_push === DECLARATIVE ? message : null;
  } catch {
    return null;
  }
}

// Notifications with these tags go: they were read on another device.
async function clear(tags) {
  for (const shown of await self.registration.getNotifications()) {
    if (tags.includes(shown.tag)) shown.close();
  }
}

async function setBadge(count) {
  if (count === undefined || !self.navigator.setAppBadge) return;
  try {
    await (count > 0 ? self.navigator.setAppBadge(count) : self.navigator.clearAppBadge());
  } catch {
    // where the app is not installed there is no badge
  }
}

async function take(data) {
  const message = read(data);
  if (message === null) return;
  if (Array.isArray(message.clear)) await clear(message.clear);
  if (message.notification) {
    const { title, navigate, ...options } = message.notification;
    await self.registration.showNotification(title, { ...options, data: { ...options.data, navigate } });
  }
  await setBadge(message.app_badge); // last: what is to be seen waits for no badge
}

// The window that is there already is brought to the front.
async function open(navigate = '/') {
  const target = new URL(navigate, self.registration.scope);
  if (!/^https?:$/.test(target.protocol)) return;
  const windows = await self.clients.matchAll({ type: 'window', includeUncontrolled: true });
  const there = windows.find(({ url }) => url === target.href);
  await (there ? there.focus() : self.clients.openWindow(target.href));
}

self.addEventListener('push', (event) => event.waitUntil(take(event.data)));
self.addEventListener('notificationclick', (event) => {
  event.notification.close();
  event.waitUntil(open(event.notification.data?.navigate));
});
