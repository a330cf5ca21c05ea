// SPDX-License-Identifier: Apache-2.0
// demo - an inbox, a room and a form that posts, on Peal's own client.
//
// Order of this file: login, connection, inbox, room, posting, views, start.
import { Peal } from '/peal.js';

const ROOM = 'public:lobby';
const TYPING_ENDS_MS = 7_000; // where the hub's "stopped" got lost
const MESSAGES_MAX = 200;
const TOAST_MS = 6_000;
const TOASTS_MAX = 3;
const KINDS = new Set(['alert', 'comment', 'deploy', 'invoice']);

const byId = (id) => document.getElementById(id);
const narrow = window.matchMedia('(max-width: 960px)');

let peal = null;

function element(name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

// A text that somebody wrote: in the direction of its own language.
function written(name, className, text) {
  const made = element(name, className, text);
  made.dir = 'auto';
  return made;
}

function tone(user) {
  let sum = 0;
  for (const character of user) sum = (sum * 31 + character.codePointAt(0)) % 5;
  return String(sum);
}

function paintAvatar(avatar, user) {
  avatar.textContent = [...user][0];
  avatar.dataset.tone = tone(user);
  return avatar;
}

// --- login -------------------------------------------------------------------------------------

async function fetchToken(user) {
  const answer = await fetch(`/dev/token?user=${encodeURIComponent(user)}`);
  const body = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(body.error?.message ?? `HTTP ${answer.status}`);
  return body.token;
}

// #user=alice, or #token=… (also #?token=…).
function readHash() {
  const hash = new URLSearchParams(location.hash.replace(/^#\??/, ''));
  return { user: hash.get('user'), token: hash.get('token') };
}

function showLogin(problem = '') {
  byId('app').hidden = true;
  byId('login').hidden = false;
  byId('login-problem').textContent = problem;
  document.title = 'Peal';
}

function logIn({ user, token }) {
  byId('login').hidden = true;
  byId('app').hidden = false;
  resetInbox();
  resetRoom();
  peal = new Peal();
  follow(peal);
  peal.connect(location.origin, { token: token ?? (() => fetchToken(user)) });
  enterLobby(peal);
  if (user) showMe(user);
}

// Who is not in the room yet cannot speak in it.
async function enterLobby(own) {
  const allow = (on) => byId('composer').querySelectorAll('input, button').forEach((control) => { control.disabled = !on; });
  allow(false);
  try {
    await own.join(ROOM);
    if (own === peal) allow(true);
  } catch (error) {
    if (own === peal) addNotice(`The lobby is closed: ${error.message}`);
  }
}

function logOut() {
  peal?.close();
  peal = null;
  stopCountdown();
  location.hash = '';
}

function followHash() {
  const who = readHash();
  peal?.close();
  peal = null;
  if (who.user || who.token) logIn(who);
  else showLogin();
}

async function tryUser(user) {
  try {
    await fetchToken(user);
    location.hash = new URLSearchParams({ user });
  } catch (error) {
    byId('login-problem').textContent = error.message;
  }
}

function showMe(user) {
  byId('me').textContent = user;
  paintAvatar(byId('my-avatar'), user);
  if (!byId('post-user').value) byId('post-user').value = user;
}

// --- connection --------------------------------------------------------------------------------

const REFUSED = 4401; // the close code for a token that is not good

let countdown = null;

function stopCountdown() {
  clearInterval(countdown);
  countdown = null;
  byId('countdown').textContent = '';
}

// Beside the text that is announced, so that nobody is told each second.
function countDown(until) {
  const show = () => {
    const left = Math.max(0, Math.ceil((until - Date.now()) / 1000));
    byId('countdown').textContent = left > 0 ? `Reconnecting in ${left} s` : 'Reconnecting…';
  };
  show();
  countdown = setInterval(show, 250);
}

function describe({ state, code, reason }) {
  if (state === 'online') return 'Online';
  if (state === 'draining') return 'Moving to another node';
  if (state === 'waiting') return navigator.onLine ? 'Hub away' : 'Offline';
  if (state === 'closed' && code === REFUSED) return `Refused: ${reason || 'the token is not good'}`;
  if (state === 'closed') return `Closed: ${reason || code}`;
  return 'Connecting…';
}

// A change of text is announced, so what stays is left alone: attempts would be heard one by one.
function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

function showState(client, detail) {
  if (client !== peal) return;
  const { state, retryIn, code, reason } = detail;
  const connection = byId('connection');
  const retries = state === 'connecting' && connection.dataset.state === 'waiting';
  stopCountdown();
  if (retries) {
    byId('countdown').textContent = 'Reconnecting…';
    return;
  }
  connection.dataset.state = state;
  connection.title = state === 'online' ? `node ${client.session.node}` : (reason ?? '');
  say(byId('connection-text'), describe(detail));
  if (state === 'waiting') countDown(Date.now() + retryIn);
  byId('reconnect').hidden = state !== 'closed';
  byId('reconnect').textContent = code === REFUSED ? 'Log in again' : 'Reconnect';
  byId('reconnect').dataset.refused = String(code === REFUSED);
  showInbox(client.inbox);
}

function onReconnect() {
  if (byId('reconnect').dataset.refused === 'true') logOut();
  else followHash();
}

function follow(client) {
  client.on('client:state', (detail) => showState(client, detail));
  client.on('hub:ready', ({ userId }) => showMe(userId));
  client.inbox.on('change', (inbox) => client === peal && showInbox(inbox));
  client.inbox.on('notification', (item) => client === peal && welcome(item));
  client.on('new_message', addMessage);
  client.on('typing', setTyping);
  client.on('user_joined_room', ({ userName, userId }) => addNotice(`${userName ?? userId} came in`));
  client.on('user_left_room', ({ userName, userId }) => {
    setTyping({ userId, typing: false });
    addNotice(`${userName ?? userId} left`);
  });
}

// --- inbox -------------------------------------------------------------------------------------

const rows = new Map(); // id → li
const arrived = new Set(); // ids of those that came while the page was open
const relative = new Intl.RelativeTimeFormat('en', { numeric: 'auto', style: 'short' });

function ago(time) {
  const seconds = Math.round((new Date(time) - Date.now()) / 1000);
  if (seconds > -10) return 'now';
  if (seconds > -60) return relative.format(seconds, 'second');
  if (seconds > -3600) return relative.format(Math.round(seconds / 60), 'minute');
  if (seconds > -86_400) return relative.format(Math.round(seconds / 3600), 'hour');
  return relative.format(Math.round(seconds / 86_400), 'day');
}

function resetInbox() {
  rows.clear();
  arrived.clear();
  folds.disconnect();
  byId('items').replaceChildren();
  showInbox({ items: [], unread: 0, hasMore: false, loaded: false });
}

// Long texts are cut after some lines, and unfold. Whether one is cut depends on its width.
const folds = new ResizeObserver((entries) => {
  for (const { target } of entries) {
    const unfold = target.closest('.item, .message').querySelector('.unfold');
    if (unfold.ariaExpanded !== 'true') unfold.hidden = ![...foldedOf(unfold)].some(isCut);
  }
});
const foldedOf = (unfold) => unfold.closest('.item, .message').querySelectorAll('.clamped');
const isCut = (text) => text.scrollHeight > text.clientHeight + 1;

function unfoldTexts(unfold) {
  const open = unfold.ariaExpanded !== 'true';
  unfold.ariaExpanded = String(open);
  unfold.textContent = open ? 'Less' : 'More';
  for (const text of foldedOf(unfold)) text.classList.toggle('is-open', open);
}

function makeRow(item) {
  const row = byId('item-template').content.firstElementChild.cloneNode(true);
  row.dataset.id = item.id;
  row.dataset.priority = item.priority;
  row.querySelector('use').setAttribute('href', `#i-${KINDS.has(item.type) ? item.type : 'bell'}`);
  row.querySelector('.item-title').textContent = item.title || item.type;
  row.querySelector('.item-message').textContent = item.message;
  const chip = row.querySelector('.chip');
  chip.hidden = item.priority !== 'high' && item.priority !== 'urgent';
  chip.dataset.priority = item.priority;
  chip.textContent = item.priority === 'urgent' ? 'Urgent' : 'High';
  const time = row.querySelector('time');
  time.dateTime = item.createdAt;
  time.title = new Date(item.createdAt).toLocaleString();
  time.textContent = ago(item.createdAt);
  row.querySelector('[data-do="read"]').setAttribute('aria-label', `Mark read: ${item.title}`);
  row.querySelector('[data-do="archive"]').setAttribute('aria-label', `Archive: ${item.title}`);
  row.querySelector('.unfold').setAttribute('aria-label', `More of: ${item.title || item.type}`);
  row.classList.toggle('is-new', arrived.has(item.id));
  for (const text of row.querySelectorAll('.clamped')) folds.observe(text);
  return row;
}

function paintRow(row, item) {
  const button = row.querySelector('[data-do="read"]');
  if (item.isRead && document.activeElement === button) row.focus();
  button.hidden = item.isRead;
  row.dataset.read = String(item.isRead);
  row.classList.toggle('is-unread', !item.isRead);
  row.querySelector('.item-state').textContent = item.isRead ? 'Read' : 'Unread';
}

function removeRow(id, row) {
  if (row.contains(document.activeElement)) {
    (row.nextElementSibling ?? row.previousElementSibling ?? byId('inbox')).focus();
  }
  for (const text of row.querySelectorAll('.clamped')) folds.unobserve(text);
  row.remove();
  rows.delete(id);
}

function showItems(items) {
  const list = byId('items');
  const wanted = new Set(items.map(({ id }) => id));
  for (const [id, row] of rows) if (!wanted.has(id)) removeRow(id, row);
  let before = list.firstElementChild;
  for (const item of items) {
    if (!rows.has(item.id)) rows.set(item.id, makeRow(item));
    const row = rows.get(item.id);
    paintRow(row, item);
    if (row === before) before = before.nextElementSibling;
    else list.insertBefore(row, before);
  }
}

// What stands where no notification is: nothing is quiet before the inbox has been read.
function showGround({ items, loaded }) {
  const { state } = byId('connection').dataset;
  const away = state === 'waiting' || state === 'closed';
  byId('inbox-empty').hidden = items.length > 0 || !loaded;
  byId('inbox-loading').hidden = items.length > 0 || loaded;
  say(byId('inbox-loading'), away ? 'Not loaded: there is no connection' : 'Loading…');
}

function showInbox({ items, unread, hasMore, loaded }) {
  showItems(items);
  showGround({ items, loaded });
  const badge = byId('unread');
  badge.textContent = unread > 99 ? '99+' : String(unread);
  badge.classList.toggle('is-none', unread === 0);
  byId('bell').setAttribute('aria-label', `Inbox, ${unread === 0 ? 'nothing' : unread} unread`);
  const markAll = byId('mark-all');
  if (unread === 0 && document.activeElement === markAll) byId('inbox').focus();
  markAll.disabled = unread === 0;
  byId('more').hidden = !hasMore;
  document.title = unread > 0 ? `(${unread}) Peal` : 'Peal';
}

// A notification has just come: ring, and say so where the inbox cannot be seen.
function welcome(item) {
  arrived.add(item.id);
  const bell = byId('bell');
  bell.classList.remove('is-ringing');
  void bell.offsetWidth; // lets the animation begin again
  bell.classList.add('is-ringing');
  const hiddenInbox = narrow.matches && document.body.dataset.view !== 'inbox';
  const toast = element(hiddenInbox ? 'button' : 'p', hiddenInbox ? 'toast' : 'hidden');
  toast.append(written('strong', '', item.title || item.type), written('span', '', item.message));
  toast.addEventListener('click', () => show('inbox'));
  byId('toasts').append(toast);
  while (byId('toasts').childElementCount > TOASTS_MAX) byId('toasts').firstElementChild.remove();
  setTimeout(() => toast.remove(), TOAST_MS);
}

// Once at a time. Not with `disabled`: that would take the focus away from who uses the keyboard.
async function whileBusy(button, action) {
  if (button.ariaDisabled === 'true') return;
  button.ariaDisabled = 'true';
  try {
    await action();
  } catch (error) {
    if (error.code !== 'closed') throw error;
  } finally {
    button.ariaDisabled = null;
  }
}

function onItemClick(event) {
  const button = event.target.closest('[data-do]');
  if (!button) return;
  if (button.dataset.do === 'unfold') {
    unfoldTexts(button);
    return;
  }
  const { id } = button.closest('.item').dataset;
  const { inbox } = peal;
  void whileBusy(button, () => (button.dataset.do === 'read' ? inbox.markRead(id) : inbox.archive(id)));
}

function onMarkAll() {
  const { inbox } = peal;
  void whileBusy(byId('mark-all'), () => inbox.markAllRead());
}

function refreshTimes() {
  for (const time of byId('items').querySelectorAll('time')) time.textContent = ago(time.dateTime);
}

// --- room --------------------------------------------------------------------------------------

const shown = new Set(); // ids of messages
const typists = new Map(); // user → timer

function resetRoom() {
  shown.clear();
  for (const timer of typists.values()) clearTimeout(timer);
  typists.clear();
  byId('messages').replaceChildren(element('p', 'notice', 'What is said here stays here: nothing is stored.'));
  showTyping();
}

function append(entry) {
  const list = byId('messages');
  const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 60;
  list.append(entry);
  while (list.childElementCount > MESSAGES_MAX) list.firstElementChild.remove();
  if (atEnd) list.scrollTop = list.scrollHeight;
}

function addNotice(text) {
  append(written('p', 'notice', text));
}

function makeMessageText(message) {
  const bubble = element('div', 'message-text');
  const text = written('span', 'clamped', message);
  const unfold = element('button', 'unfold', 'More');
  unfold.type = 'button';
  unfold.ariaExpanded = 'false';
  unfold.hidden = true;
  unfold.addEventListener('click', () => unfoldTexts(unfold));
  bubble.append(text, unfold);
  folds.observe(text);
  return bubble;
}

function addMessage({ id, roomId, userId, userName, message, timestamp }) {
  if (roomId !== ROOM || shown.has(id)) return;
  shown.add(id);
  const entry = element('div', 'message');
  entry.dataset.testid = 'message';
  entry.dataset.user = userId;
  entry.title = new Date(timestamp).toLocaleTimeString();
  entry.classList.toggle('is-mine', userId === peal?.userId);
  entry.classList.toggle('is-more', byId('messages').lastElementChild?.dataset.user === userId);
  const avatar = paintAvatar(element('span', 'avatar'), userId);
  avatar.setAttribute('aria-hidden', 'true');
  const name = written('span', 'message-name', userName ?? userId);
  entry.append(avatar, name, makeMessageText(message));
  setTyping({ userId, typing: false });
  append(entry);
  byId('room-mark').hidden = !narrow.matches || document.body.dataset.view === 'room';
}

function setTyping({ roomId = ROOM, userId, typing }) {
  if (roomId !== ROOM || userId === peal?.userId) return;
  clearTimeout(typists.get(userId));
  typists.delete(userId);
  if (typing) {
    typists.set(userId, setTimeout(() => setTyping({ userId, typing: false }), TYPING_ENDS_MS));
  }
  showTyping();
}

function showTyping() {
  const users = [...typists.keys()];
  const line = byId('typing');
  line.replaceChildren();
  if (users.length === 0) return;
  const who = users.length > 2 ? 'Several people' : users.join(' and ');
  const dots = element('span', 'dots');
  dots.setAttribute('aria-hidden', 'true');
  dots.append(element('i'), element('i'), element('i'));
  line.append(dots, `${who} ${users.length > 1 ? 'are' : 'is'} typing`);
}

async function onSay(event) {
  event.preventDefault();
  const input = byId('message');
  const text = input.value.trim();
  if (!text) return;
  input.value = '';
  try {
    await peal.send(ROOM, text);
  } catch (error) {
    if (!input.value) input.value = text; // it was not sent: nothing that was typed is lost
    addNotice(`Not sent: ${error.message}`);
  }
}

// --- posting -----------------------------------------------------------------------------------

async function onPost(event) {
  event.preventDefault();
  const form = event.currentTarget;
  const result = byId('post-result');
  await whileBusy(form.querySelector('button'), () => postForm(form, result));
}

async function postForm(form, result) {
  try {
    const answer = await fetch('/dev/notifications', {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(Object.fromEntries(new FormData(form))),
    });
    const body = await answer.json().catch(() => ({}));
    if (!answer.ok) throw new Error(body.error?.message ?? `HTTP ${answer.status}`);
    result.className = 'result';
    result.textContent = `Stored for ${byId('post-user').value} as number ${body.seq}`;
    byId('post-title').value = '';
    byId('post-message').value = '';
  } catch (error) {
    result.className = 'result is-bad';
    result.textContent = `Not posted: ${error.message}`;
  }
}

// --- views -------------------------------------------------------------------------------------

function show(view) {
  document.body.dataset.view = view;
  for (const tab of document.querySelectorAll('[data-show]')) {
    if (tab.dataset.show === view) tab.setAttribute('aria-current', 'true');
    else tab.removeAttribute('aria-current');
  }
  if (view === 'room') {
    byId('room-mark').hidden = true;
    byId('messages').scrollTop = byId('messages').scrollHeight;
  }
}

function onBell() {
  show('inbox');
  byId('inbox').focus();
}

// --- start -------------------------------------------------------------------------------------

for (const button of document.querySelectorAll('[data-user]')) {
  paintAvatar(button.querySelector('.avatar'), button.dataset.user);
  button.addEventListener('click', () => tryUser(button.dataset.user));
}
for (const tab of document.querySelectorAll('[data-show]')) {
  tab.addEventListener('click', () => show(tab.dataset.show));
}
byId('login-form').addEventListener('submit', (event) => {
  event.preventDefault();
  void tryUser(byId('login-name').value.trim());
});
byId('bell').addEventListener('click', onBell);
byId('leave').addEventListener('click', logOut);
byId('reconnect').addEventListener('click', onReconnect);
document.querySelector('.skip').addEventListener('click', (event) => {
  event.preventDefault(); // the hash says who is logged in
  onBell();
});
byId('items').addEventListener('click', onItemClick);
byId('mark-all').addEventListener('click', onMarkAll);
byId('more').addEventListener('click', () => whileBusy(byId('more'), () => peal.inbox.loadMore()));
byId('composer').addEventListener('submit', onSay);
byId('message').addEventListener('input', () => peal?.typing(ROOM, byId('message').value !== ''));
byId('message').addEventListener('blur', () => peal?.typing(ROOM, false));
byId('post').addEventListener('submit', onPost);
window.addEventListener('hashchange', followHash);
setInterval(refreshTimes, 20_000);
followHash();
