// SPDX-License-Identifier: Apache-2.0
// undo - what was just done, with a way back: bars at the foot of the inbox, next to the list in the
// order of Tab. Ctrl+Z (⌘Z) takes the newest.
//
// A bar stays some seconds, longer while it is pointed at or focused. When it goes unused, what was
// only announced (a deletion) is done.
import { byId, element, written } from '/dom.js';

const STAYS_MS = 12_000;
const BARS_MAX = 3;

let bars = []; // oldest first

function end(bar, undone) {
  if (!bars.includes(bar)) return;
  bars = bars.filter((other) => other !== bar);
  clearTimeout(bar.timer);
  if (bar.node.contains(document.activeElement)) byId('inbox').focus();
  bar.node.remove();
  if (undone) bar.run?.();
  else bar.commit?.();
}

const keep = (bar) => clearTimeout(bar.timer);

function expire(bar) {
  clearTimeout(bar.timer);
  bar.timer = setTimeout(() => end(bar, false), STAYS_MS);
}

// Say `text` (about `title`, which somebody wrote), with a button `label` that calls `run`; `commit`
// is called when nobody presses it in time.
export function offer(text, { title, label = 'Undo', run, commit } = {}) {
  const node = element('div', 'undo-bar');
  node.dataset.testid = 'undo-bar';
  const words = element('p', 'undo-text', title ? `${text}: ` : text);
  if (title) words.append(written('bdi', '', title));
  node.append(words);
  const bar = { node, run, commit, timer: null };
  const button = (name, className, undone) => {
    const made = element('button', className, name);
    made.type = 'button';
    made.addEventListener('click', () => end(bar, undone));
    return made;
  };
  if (run) {
    const undo = button(label, 'button small', true);
    undo.dataset.testid = 'undo';
    if (label === 'Undo') undo.setAttribute('aria-keyshortcuts', 'Control+Z Meta+Z');
    node.append(undo);
  }
  const close = button('×', 'icon-button', false);
  close.setAttribute('aria-label', 'Dismiss');
  node.append(close);
  for (const event of ['pointerenter', 'focusin']) node.addEventListener(event, () => keep(bar));
  for (const event of ['pointerleave', 'focusout']) node.addEventListener(event, () => expire(bar));
  bars.push(bar);
  byId('undo').append(node);
  while (bars.length > BARS_MAX) end(bars[0], false);
  expire(bar);
}

// Nobody will undo any more: the page is left, or somebody else comes.
export function settle() {
  while (bars.length > 0) end(bars[0], false);
}

document.addEventListener('keydown', (event) => {
  const writes = event.target.closest?.('input, textarea, select');
  if (event.key.toLowerCase() !== 'z' || !(event.ctrlKey || event.metaKey) || event.shiftKey || writes) return;
  const bar = bars.findLast(({ run }) => run);
  if (!bar) return;
  event.preventDefault();
  end(bar, true);
});
window.addEventListener('pagehide', settle);
