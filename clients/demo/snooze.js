// SPDX-License-Identifier: Apache-2.0
// snooze - until when: a menu at the button that asks for it.
import { byId, element } from '/dom.js';

const MORNING = 9;
const EVENING = 20;
const HOUR_MS = 3_600_000;

const menu = () => byId('snooze-menu');
const weekday = new Intl.DateTimeFormat('en', { weekday: 'short', hour: '2-digit', minute: '2-digit' });
const clock = new Intl.DateTimeFormat('en', { hour: '2-digit', minute: '2-digit' });

function atHour(now, days, hour) {
  return new Date(now.getFullYear(), now.getMonth(), now.getDate() + days, hour);
}

// The times that are offered: those of this user's own clock, which may change meanwhile.
function times(now = new Date()) {
  const evening = atHour(now, 0, EVENING);
  const toMonday = (8 - now.getDay()) % 7 || 7;
  return [
    { name: 'In an hour', until: new Date(now.getTime() + HOUR_MS), format: clock },
    ...(evening - now > HOUR_MS ? [{ name: 'Tonight', until: evening, format: clock }] : []),
    { name: 'Tomorrow', until: atHour(now, 1, MORNING), format: weekday },
    { name: 'Next week', until: atHour(now, toMonday, MORNING), format: weekday },
  ];
}

function place(button) {
  const from = button.getBoundingClientRect();
  const { offsetWidth, offsetHeight } = menu();
  const below = from.bottom + 4 + offsetHeight <= window.innerHeight;
  const left = Math.min(Math.max(8, from.right - offsetWidth), window.innerWidth - offsetWidth - 8);
  menu().style.left = `${left}px`;
  menu().style.top = `${Math.max(8, below ? from.bottom + 4 : from.top - 4 - offsetHeight)}px`;
}

// Open the menu at `button`; `take(until)` is called with the Date that is chosen.
export function askUntil(button, take) {
  const items = times().map(({ name, until, format }) => {
    const item = element('button', 'menu-item');
    item.type = 'button';
    item.role = 'menuitem';
    item.tabIndex = -1;
    item.append(element('span', '', name), element('span', 'menu-time', format.format(until)));
    item.addEventListener('click', () => {
      menu().hidePopover();
      take(until);
    });
    return item;
  });
  menu().replaceChildren(...items);
  menu().showPopover();
  place(button);
  button.ariaExpanded = 'true';
  menu().addEventListener('toggle', function closed({ newState }) {
    if (newState !== 'closed') return;
    menu().removeEventListener('toggle', closed);
    button.ariaExpanded = 'false';
    if (document.activeElement === document.body) button.focus();
  });
  items[0].focus();
}

export function followKeys() {
  menu().addEventListener('keydown', (event) => {
    const items = [...menu().children];
    const at = items.indexOf(document.activeElement);
    const next = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: items.length - 1 }[event.key];
    if (event.key === 'Tab') menu().hidePopover();
    if (next === undefined) return;
    event.preventDefault();
    items.at(next % items.length).focus();
  });
}
