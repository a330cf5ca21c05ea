// SPDX-License-Identifier: Apache-2.0
// inbox - the pane of the inbox: its list and those of what is snoozed, archived and searched for, what
// is done to rows and undone, and what was new when it was opened.
//
// Order of this file: rows, the line, views, looking, doing, start.
import { byId, element, fitFolds, narrow, say, unfoldTexts, whileBusy, written } from '/dom.js';
import { askUntil, followKeys } from '/snooze.js';
import { offer, settle } from '/undo.js';
import { VirtualList } from '/virtual_list.js';

const PAGE = 100; // rows asked for at a time; the hub gives no more
const SHELF_PAGES = 10; // pages of another view that are read anew when something changes
const UNDO_MAX = 1_000; // rows of one call: more are not marked with a way back
const LOOK_MS = 1_500; // a list that was in view so long has been looked at
const RETRY_MS = 2_000;
const TYPING_MS = 200; // a pause in typing that is long enough to search
const TOAST_MS = 6_000;
const TOASTS_MAX = 3;
const KINDS = new Set(['alert', 'comment', 'deploy', 'invoice']);
const STATES = { unread: 'New', seen: 'Unread', read: 'Read', archived: 'Archived', snoozed: 'Snoozed' };
const CONTROLS = {
  unread: ['read', 'snooze', 'archive', 'delete'],
  seen: ['read', 'snooze', 'archive', 'delete'],
  read: ['unread', 'snooze', 'archive', 'delete'],
  archived: ['unarchive', 'delete'],
  snoozed: ['wake', 'delete'],
};
const EMPTY = {
  inbox: ['All quiet', 'Notifications appear here the moment they are stored.'],
  snoozed: ['Nothing sleeps', 'What you snooze waits here, and comes back as new.'],
  archived: ['Nothing is archived', 'What you archive is kept here.'],
};
const NOT_FOUND = 'All words must be there; the last one may be a beginning.';

let client = null; // the Peal whose inbox is shown; null: nobody is logged in
let view = 'inbox';
let words = ''; // that are searched for in the view
let list; // VirtualList
const arrived = new Set(); // ids of those that came while the page was open
const going = new Set(); // ids that are deleted unless it is undone
const waiting = new Set(); // ids of changes that wait for the connection

const relative = new Intl.RelativeTimeFormat('en', { numeric: 'auto', style: 'short' });
const moment = new Intl.DateTimeFormat('en', { weekday: 'short', day: 'numeric', month: 'short', hour: '2-digit', minute: '2-digit' });

function ago(time) {
  const seconds = Math.round((new Date(time) - Date.now()) / 1000);
  if (seconds > -10) return 'now';
  if (seconds > -60) return relative.format(seconds, 'second');
  if (seconds > -3600) return relative.format(Math.round(seconds / 60), 'minute');
  if (seconds > -86_400) return relative.format(Math.round(seconds / 3600), 'hour');
  return relative.format(Math.round(seconds / 86_400), 'day');
}

const nameOf = (item) => item.title || item.type;

// --- rows --------------------------------------------------------------------------------------

function makeRow(item) {
  const row = byId('item-template').content.firstElementChild.cloneNode(true);
  const title = row.querySelector('.item-title');
  title.id = `title-${item.id}`;
  row.setAttribute('aria-labelledby', title.id);
  for (const button of row.querySelectorAll('.item-actions button')) {
    button.setAttribute('aria-label', `${button.title}: ${nameOf(item)}`);
  }
  row.querySelector('.unfold').setAttribute('aria-label', `More of: ${nameOf(item)}`);
  row.classList.toggle('is-new', arrived.delete(item.id));
  return row;
}

// What does not change while the row is shown, unless the notification itself is changed.
function fillRow(row, item) {
  row.dataset.priority = item.priority;
  row.querySelector('use').setAttribute('href', `#i-${KINDS.has(item.type) ? item.type : 'bell'}`);
  say(row.querySelector('.item-title'), nameOf(item));
  say(row.querySelector('.item-message'), item.message);
  const chip = row.querySelector('.chip');
  chip.hidden = item.priority !== 'high' && item.priority !== 'urgent';
  chip.dataset.priority = item.priority;
  chip.textContent = item.priority === 'urgent' ? 'Urgent' : 'High';
  const time = row.querySelector('time');
  time.dateTime = item.createdAt;
  time.title = new Date(item.createdAt).toLocaleString();
  time.textContent = ago(item.createdAt);
}

// What a row stands for that gathers: how many of its type, and the last of them.
function fillDigest(row, item) {
  const button = row.querySelector('.gathered');
  const shown = item.digest !== undefined && item.count > 1;
  if (!shown && document.activeElement === button) row.focus();
  button.hidden = !shown;
  row.querySelector('.digest').hidden = !shown || button.ariaExpanded !== 'true';
  if (!shown) return;
  const name = `${item.count} ${KINDS.has(item.type) ? item.type : 'notification'}s`;
  say(button, name);
  button.setAttribute('aria-label', `${name}: ${nameOf(item)}`);
  const lines = item.digest.map(({ title, message, createdAt }) => {
    const line = element('li', '');
    line.append(written('strong', '', title || item.type), ` · ${ago(createdAt)}`);
    if (message) line.append(written('p', '', message));
    return line;
  });
  const before = item.count - item.digest.length;
  if (before > 0) lines.push(element('li', '', `and ${before} before`));
  row.querySelector('.digest').replaceChildren(...lines);
}

function unfoldDigest(button) {
  const open = button.ariaExpanded !== 'true';
  button.ariaExpanded = String(open);
  button.parentElement.querySelector('.digest').hidden = !open;
  list.refit();
}

function stateText(item) {
  if (waiting.has(item.id)) return 'Waits for the connection';
  if (item.state === 'snoozed') return `Until ${moment.format(new Date(item.snoozedUntil))}`;
  return STATES[item.state];
}

function paintRow(row, item) {
  fillRow(row, item);
  fillDigest(row, item);
  const controls = CONTROLS[item.state];
  for (const button of row.querySelectorAll('.item-actions button')) {
    const shown = controls.includes(button.dataset.do);
    if (!shown && document.activeElement === button) row.focus();
    button.hidden = !shown;
  }
  row.dataset.read = String(item.isRead);
  row.dataset.state = item.state;
  row.classList.toggle('is-unread', item.state === 'unread' || item.state === 'seen');
  row.classList.toggle('is-seen', item.state !== 'unread');
  row.querySelector('.line').hidden = item.id !== lineAbove;
  say(row.querySelector('.item-state'), stateText(item));
}

const fitRows = (rows) => fitFolds(rows.map((row) => row.querySelector('.unfold')));

// --- the line ----------------------------------------------------------------------------------

// What nobody had looked at when the inbox was opened stands above a line; what comes later too.
let line = null; // {rev, unseen, newRev}: as of the opening; newRev of the row below, once it is known
let lineAbove = null; // id of the row that carries it

function openLine(inbox) {
  line = { rev: inbox.position.rev, unseen: inbox.unseen, newRev: null };
  const seen = inbox.items.find(({ state }) => state !== 'unread');
  if (seen) line.newRev = seen.newRev;
}

function placeLine(items) {
  lineAbove = null;
  if (shelf || !line || line.unseen === 0) return;
  line.newRev ??= items.filter(({ newRev }) => newRev <= line.rev)[line.unseen]?.newRev ?? null;
  const at = line.newRev === null ? -1 : items.findIndex(({ newRev }) => newRev <= line.newRev);
  if (at > 0) lineAbove = items[at].id;
}

// --- views -------------------------------------------------------------------------------------

// The rows of another view, or of a search: as the hub has them, read anew when something has changed.
let shelf = null; // {query, items, next, stale, reading, problem}

function openShelf() {
  const query = { ...(view !== 'inbox' && { state: view }), ...(words && { search: words }), limit: PAGE };
  const isInbox = view === 'inbox' && !words;
  shelf = isInbox ? null : { query, items: [], next: undefined, stale: true, reading: false, problem: '' };
  void readShelf();
}

async function readShelf() {
  const own = shelf;
  if (!own?.stale || own.reading || !client?.session) return;
  own.reading = true;
  try {
    while (own.stale) {
      own.stale = false;
      const wanted = Math.min(Math.max(own.items.length, PAGE), SHELF_PAGES * PAGE);
      let page = { items: [], next: undefined };
      const items = [];
      while (page.next !== null && items.length < wanted) {
        page = await client.inbox.list({ ...own.query, after: page.next });
        items.push(...page.items);
      }
      if (own === shelf) Object.assign(own, { items, next: page.next, problem: '' });
    }
  } catch (error) {
    own.stale = error.temporary || error.code === 'closed';
    if (error.temporary) setTimeout(() => own === shelf && void readShelf(), error.retryAfter ?? RETRY_MS);
    else Object.assign(own, { items: [], next: null, problem: error.message });
  } finally {
    own.reading = false;
  }
  if (own === shelf) show();
}

async function readOn() {
  const own = shelf;
  if (!own.next || own.reading || own.stale) return;
  own.reading = true;
  try {
    const { items, next } = await client.inbox.list({ ...own.query, after: own.next });
    const known = new Set(own.items.map(({ id }) => id));
    Object.assign(own, { items: [...own.items, ...items.filter(({ id }) => !known.has(id))], next });
  } catch {
    own.stale = true; // it is read anew when the hub is back
  } finally {
    own.reading = false;
  }
  if (own === shelf) show();
}

let older = false; // older rows of the inbox are under way

// The end of the list is near.
async function onEnd() {
  if (!client?.session) return;
  if (shelf) {
    void readOn();
    return;
  }
  const { inbox } = client;
  if (older || !inbox.hasMore) return;
  older = true;
  byId('items').ariaBusy = 'true';
  try {
    await inbox.loadMore({ limit: PAGE });
  } catch (error) {
    await new Promise((resolve) => setTimeout(resolve, error.retryAfter ?? RETRY_MS));
  }
  older = false;
  byId('items').ariaBusy = 'false';
  if (client?.inbox === inbox) show();
}

let typing = null;

function onSearch() {
  clearTimeout(typing);
  typing = setTimeout(() => {
    const text = byId('search').value.trim();
    if (text === words) return;
    words = text;
    list.reset();
    openShelf();
    show();
  }, TYPING_MS);
}

function showView(name) {
  view = name;
  for (const button of document.querySelectorAll('[data-view-of]')) {
    button.ariaPressed = String(button.dataset.viewOf === name);
  }
  list.reset();
  openShelf();
  show();
}

// What stands where no notification is: nothing is quiet before the inbox has been read.
function showGround(empty, loaded) {
  const { state } = byId('connection').dataset;
  const away = state === 'waiting' || state === 'closed';
  byId('inbox-empty').hidden = !empty || !loaded;
  byId('inbox-loading').hidden = !empty || loaded;
  byId('empty-title').textContent = words ? 'Nothing found' : EMPTY[view][0];
  byId('empty-text').textContent = words ? shelf.problem || NOT_FOUND : EMPTY[view][1];
  say(byId('inbox-loading'), away ? 'Not loaded: there is no connection' : 'Loading…');
}

function showCounts({ unread, unseen }) {
  const badge = byId('unread');
  badge.textContent = unread > 99 ? '99+' : String(unread);
  badge.classList.toggle('is-none', unread === 0);
  byId('bell').setAttribute('aria-label', `Inbox, ${unread === 0 ? 'nothing' : unread} unread`);
  byId('unseen').hidden = unseen === 0;
  byId('unseen').textContent = `${unseen > 999 ? '999+' : unseen} new`;
  const markAll = byId('mark-all');
  if (unread === 0 && document.activeElement === markAll) byId('inbox').focus();
  markAll.disabled = unread === 0;
  document.title = unread > 0 ? `(${unread}) Peal` : 'Peal';
}

const NOTHING = { items: [], unread: 0, unseen: 0, hasMore: false, loaded: false };

function show() {
  const inbox = client?.inbox ?? NOTHING;
  if (inbox.loaded && line === null) openLine(inbox);
  const all = shelf ? shelf.items : inbox.items;
  const items = going.size === 0 ? all : all.filter(({ id }) => !going.has(id));
  placeLine(items);
  list.show(items, shelf ? shelf.next === null : inbox.loaded && !inbox.hasMore);
  showGround(items.length === 0, shelf ? shelf.next !== undefined : inbox.loaded);
  showCounts(inbox);
  const isFound = words && shelf.next !== undefined;
  say(byId('found'), isFound ? `${items.length}${shelf.next ? ' and more' : ''} found` : '');
  look();
}

// --- looking -----------------------------------------------------------------------------------

let looking = null;

const isInView = () => document.visibilityState === 'visible' && shelf === null
  && (!narrow.matches || document.body.dataset.view === 'inbox');

// What was in view for a moment has been seen. Rows are marked by the highest seq that this page
// knows: what comes meanwhile has its own moment.
export function look() {
  const due = isInView() && client?.session && client.inbox.loaded && client.inbox.unseen > 0;
  if (!due) {
    clearTimeout(looking);
    looking = null;
  } else {
    looking ??= setTimeout(() => {
      looking = null;
      if (isInView() && client?.session) client.inbox.markAllSeen().catch(() => {});
    }, LOOK_MS);
  }
}

function onVisibility() {
  if (document.visibilityState === 'visible' && client?.inbox.loaded) {
    openLine(client.inbox);
    show();
  }
  look();
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
  toast.append(written('strong', '', nameOf(item)), written('span', '', item.message));
  toast.addEventListener('click', () => document.querySelector('[data-show="inbox"]').click());
  byId('toasts').append(toast);
  while (byId('toasts').childElementCount > TOASTS_MAX) byId('toasts').firstElementChild.remove();
  setTimeout(() => toast.remove(), TOAST_MS);
}

// --- doing -------------------------------------------------------------------------------------

// Change rows by `name` of the inbox's methods. A change made without a connection holds only for what
// has not changed since, and who loses one is told.
async function change(name, items, ...more) {
  const { inbox, session } = client;
  const ids = items.map(({ id }) => id);
  const which = session ? { ids } : { ids, ifRev: inbox.position?.rev };
  if (!session) {
    for (const id of ids) waiting.add(id);
    show();
  }
  try {
    const { changed, conflict } = await inbox[name](which, ...more);
    const lost = items.filter(({ id }) => conflict.includes(id));
    if (lost.length === 1) offer('Another device has changed this meanwhile, and it stays so', { title: nameOf(lost[0]) });
    if (lost.length > 1) offer(`Another device has changed ${lost.length} of them meanwhile, and they stay so`);
    return items.filter(({ id }) => changed.includes(id));
  } catch (error) {
    if (error.code !== 'closed') offer(`Not done: ${error.message}`);
    return [];
  } finally {
    for (const id of ids) waiting.delete(id);
    if (client?.inbox === inbox) {
      if (shelf) shelf.stale = true;
      void readShelf();
      show();
    }
  }
}

// Change rows, and offer the way back for those that were changed.
async function changeWithUndo(text, items, [name, ...more], [back, ...moreBack], label) {
  const done = await change(name, items, ...more);
  if (done.length === 0) return;
  const title = items.length === 1 ? nameOf(items[0]) : undefined;
  offer(items.length === 1 ? text : `${text}: ${done.length}`, { title, label, run: () => void change(back, done, ...moreBack) });
}

// Nothing brings back what was deleted: it is deleted when nobody has undone it.
function deleteLater(item) {
  going.add(item.id);
  const stay = () => {
    going.delete(item.id);
    show();
  };
  offer('Deleted', { title: nameOf(item), run: stay, commit: () => void change('delete', [item]).finally(stay) });
  show();
}

const DOES = {
  read: (item) => changeWithUndo('Marked read', [item], ['markRead'], ['markUnread']),
  unread: (item) => change('markUnread', [item]),
  archive: (item) => changeWithUndo('Archived', [item], ['archive'], ['unarchive']),
  unarchive: (item) => changeWithUndo('Moved to the inbox', [item], ['unarchive'], ['archive']),
  wake: (item) => change('snooze', [item], null),
  delete: deleteLater,
};

function snooze(button, item) {
  askUntil(button, (until) => {
    const text = `Snoozed until ${moment.format(until)}`;
    void whileBusy(button, () => changeWithUndo(text, [item], ['snooze', until], ['snooze', null], 'Wake now'));
  });
}

function onItemClick(event) {
  const button = event.target.closest('[data-do]');
  if (!button || button.ariaDisabled === 'true') return;
  const item = list.itemOf(button);
  if (button.dataset.do === 'unfold') {
    unfoldTexts(button);
    list.refit();
  } else if (button.dataset.do === 'gathered') {
    unfoldDigest(button);
  } else if (button.dataset.do === 'snooze') {
    snooze(button, item);
  } else {
    void whileBusy(button, async () => DOES[button.dataset.do](item));
  }
}

// By the ids of what is unread, so that the way back touches nothing that was read before. Of more
// than one call takes nobody knows the ids: that is asked about first, and cannot be undone.
async function markAll() {
  const { inbox } = client;
  const { seq } = inbox.position;
  if (inbox.unread > UNDO_MAX) {
    const run = () => void inbox.markRead({ upTo: seq }).catch((error) => offer(`Not done: ${error.message}`));
    offer(`${inbox.unread} are more than can be undone`, { label: 'Mark them read', run });
    return;
  }
  const items = [];
  for (let after; after !== null;) {
    const page = await inbox.list({ state: 'unread,seen', limit: PAGE, after });
    items.push(...page.items.filter((item) => item.seq <= seq));
    after = page.next;
  }
  if (items.length > 0) await changeWithUndo('Marked read', items, ['markRead'], ['markUnread']);
}

async function onMarkAll() {
  try {
    await markAll();
  } catch (error) {
    offer(`Not done: ${error.message}`);
  }
}

// --- start -------------------------------------------------------------------------------------

export function refreshTimes() {
  for (const row of list.rows) {
    const time = row.querySelector('time');
    time.textContent = ago(time.dateTime);
  }
}

// What waits to be deleted is deleted, and nothing of one user is shown to the next.
export function closeInbox() {
  settle();
  client = null;
  line = null;
  for (const set of [arrived, going, waiting]) set.clear();
  byId('search').value = '';
  words = '';
  showView('inbox');
}

export function openInbox(peal) {
  client = peal;
  const isOwn = (task) => (value) => client === peal && task(value);
  peal.on('client:state', isOwn(() => {
    void readShelf();
    show();
  }));
  peal.inbox.on('change', isOwn(() => {
    if (shelf) shelf.stale = true;
    void readShelf();
    show();
  }));
  peal.inbox.on('notification', isOwn(welcome));
}

list = new VirtualList({
  scroller: byId('inbox-body'),
  list: byId('items'),
  make: makeRow,
  paint: paintRow,
  fit: fitRows,
  onEnd,
  fallback: byId('inbox'),
});
byId('items').addEventListener('click', onItemClick);
byId('mark-all').addEventListener('click', () => void whileBusy(byId('mark-all'), onMarkAll));
for (const button of document.querySelectorAll('[data-view-of]')) {
  button.addEventListener('click', () => showView(button.dataset.viewOf));
}
byId('search').addEventListener('input', onSearch);
document.addEventListener('visibilitychange', onVisibility);
followKeys();
setInterval(refreshTimes, 20_000);
