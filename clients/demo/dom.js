// SPDX-License-Identifier: Apache-2.0
// dom - what every part of the demo page does with the document.
export const byId = (id) => document.getElementById(id);
export const narrow = window.matchMedia('(max-width: 960px)');

export function element(name, className, text) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== undefined) made.textContent = text;
  return made;
}

// A text that somebody wrote: in the direction of its own language.
export function written(name, className, text) {
  const made = element(name, className, text);
  made.dir = 'auto';
  return made;
}

// A change of text is announced, so what stays is left alone: attempts would be heard one by one.
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

// Once at a time. Not with `disabled`: that would take the focus away from who uses the keyboard.
export async function whileBusy(button, action) {
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

// Long texts are cut after some lines, and unfold. Whether one is cut depends on its width.
const foldedOf = (unfold) => unfold.closest('.item, .message').querySelectorAll('.clamped');
const isCut = (text) => text.scrollHeight > text.clientHeight + 1;

export function unfoldTexts(unfold, open = unfold.ariaExpanded !== 'true') {
  unfold.ariaExpanded = String(open);
  unfold.textContent = open ? 'Less' : 'More';
  for (const text of foldedOf(unfold)) text.classList.toggle('is-open', open);
}

// Show each button that unfolds where there is something to unfold. All is read before anything is
// written: the document is laid out once.
export function fitFolds(unfolds) {
  const closed = [...unfolds].filter(({ ariaExpanded }) => ariaExpanded !== 'true');
  const cut = closed.map((unfold) => [...foldedOf(unfold)].some(isCut));
  closed.forEach((unfold, n) => { unfold.hidden = !cut[n]; });
}
