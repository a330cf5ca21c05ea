// SPDX-License-Identifier: Apache-2.0
// demo - an inbox, a room and a form that posts, on Peal's own client.
//
// Order of this file: login, connection, room, posting, views, start.
import { byId, element, fitFolds, narrow, say, unfoldTexts, whileBusy, written } from '/dom.js';
import { closeInbox, look, openInbox } from '/inbox.js';
import { Peal } from '/peal.js';

const ROOM = 'public:lobby';
const TYPING_ENDS_MS = 7_000; // where the hub's "stopped" got lost
const MESSAGES_MAX = 200;

let peal = null;

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
  resetRoom();
  peal = new Peal();
  follow(peal);
  openInbox(peal);
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

// What the inbox still has to say leaves before the connection ends.
function leave() {
  const own = peal;
  closeInbox();
  peal = null;
  if (own) setTimeout(() => own.close());
}

function logOut() {
  leave();
  stopCountdown();
  location.hash = '';
}

function followHash() {
  const who = readHash();
  leave();
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
}

function onReconnect() {
  if (byId('reconnect').dataset.refused === 'true') logOut();
  else followHash();
}

function follow(client) {
  client.on('client:state', (detail) => showState(client, detail));
  client.on('hub:ready', ({ userId }) => showMe(userId));
  client.on('new_message', addMessage);
  client.on('typing', setTyping);
  client.on('user_joined_room', ({ userName, userId }) => addNotice(`${userName ?? userId} came in`));
  client.on('user_left_room', ({ userName, userId }) => {
    setTyping({ userId, typing: false });
    addNotice(`${userName ?? userId} left`);
  });
}

// --- room --------------------------------------------------------------------------------------

const folds = new ResizeObserver((entries) => {
  fitFolds(new Set(entries.map(({ target }) => target.closest('.message').querySelector('.unfold'))));
});
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
    const user = byId('post-user').value;
    result.textContent = body.status === 'suppressed' ? `Not stored: ${user} does not want this type`
      : `Stored for ${user} as number ${body.seq}`;
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
  look();
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
byId('composer').addEventListener('submit', onSay);
byId('message').addEventListener('input', () => peal?.typing(ROOM, byId('message').value !== ''));
byId('message').addEventListener('blur', () => peal?.typing(ROOM, false));
byId('post').addEventListener('submit', onPost);
window.addEventListener('hashchange', followHash);
followHash();
