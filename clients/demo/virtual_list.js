// SPDX-License-Identifier: Apache-2.0
// virtual_list - a list of any length, of which only what can be seen is in the document.
//
// Rows stand at the sum of the heights above them: each is measured when it is shown, and taken for
// the mean of the measured ones before. The row at the top of the view stays where it is while rows
// above it come, go and are measured; at the very top, what is new pushes the rest down.
//
// One row is the active one: it and its controls are reached with Tab, the others with the arrows,
// Page Up and Down, Home and End. It stays in the document wherever the view is.
const BEYOND_PX = 600; // above and below the view
const GUESS_PX = 110; // the height of a row before one was measured
const SETTLE_MAX = 4; // rounds of showing and measuring at one go

export class VirtualList {
  #scroller;
  #list;
  #make;
  #paint;
  #fit;
  #onEnd;
  #fallback;
  #items = [];
  #indexes = new Map(); // id → index
  #rows = new Map(); // id → element, of what is in the document
  #heights = new Map(); // id → px, of what was measured
  #tops = [0]; // of each item, and the end of the last
  #active = null; // id
  #anchor = null; // {id, offset} of the row at the top of the view; null: the view is at the top
  #moved = true; // heights or items have changed since rows were laid out
  #width = 0;
  #total = 0; // aria-setsize; -1: not known

  // `scroller` holds `list` as the first thing that scrolls. `make(item)` returns a row, `paint(row,
  // item)` shows the item's present state, `fit(rows)` does what depends on their width. `onEnd` is
  // called while the last rows are near the view; `fallback` takes the focus when no row is left.
  constructor({ scroller, list, make, paint, fit, onEnd, fallback }) {
    this.#scroller = scroller;
    this.#list = list;
    this.#make = make;
    this.#paint = paint;
    this.#fit = fit;
    this.#onEnd = onEnd;
    this.#fallback = fallback;
    scroller.addEventListener('scroll', () => this.#onScroll(), { passive: true });
    list.addEventListener('focusin', (event) => this.#onFocus(event));
    list.addEventListener('keydown', (event) => this.#onKey(event));
    new ResizeObserver(() => this.#onResize()).observe(scroller);
  }

  // Show these items from now on; `complete`: no more will follow.
  show(items, complete = true) {
    const focused = this.#rows.get(this.#focusedId()) ?? null;
    if (this.#isShown) this.#setAnchor(); // the view may have been scrolled since it was told
    const anchor = this.#keptAnchor(items);
    const at = this.#indexes.get(this.#active) ?? 0;
    this.#items = items;
    this.#total = complete ? items.length : -1;
    this.#indexes = new Map(items.map(({ id }, index) => [id, index]));
    for (const id of this.#heights.keys()) if (!this.#indexes.has(id)) this.#heights.delete(id);
    if (!this.#indexes.has(this.#active)) this.#active = items[Math.min(at, items.length - 1)]?.id ?? null;
    this.#anchor = anchor;
    this.#list.hidden = items.length === 0; // a list of nothing is none
    this.#render(true);
    if (focused && !focused.isConnected) {
      if (this.#active === null) this.#fallback.focus();
      else this.#focusAt(this.#indexes.get(this.#active));
    }
  }

  // Begin at the top, with nothing measured.
  reset() {
    this.#heights.clear();
    this.#anchor = null;
    this.#active = null;
    this.show([]);
    this.#scroller.scrollTop = 0;
  }

  // A row has changed its height by itself.
  refit() {
    this.#render(true);
  }

  // The rows in the document.
  get rows() {
    return this.#rows.values();
  }

  itemOf(node) {
    return this.#items[this.#indexes.get(node.closest('[data-id]')?.dataset.id)];
  }

  // Else nothing has a height.
  get #isShown() {
    return this.#scroller.clientHeight > 0;
  }

  // --- where rows stand ---

  #layOut() {
    const measured = [...this.#heights.values()];
    const mean = measured.length > 0 ? measured.reduce((sum, px) => sum + px, 0) / measured.length : GUESS_PX;
    const tops = new Float64Array(this.#items.length + 1);
    this.#items.forEach(({ id }, index) => {
      tops[index + 1] = tops[index] + (this.#heights.get(id) ?? mean);
    });
    this.#tops = tops;
    this.#list.style.height = `${tops.at(-1)}px`;
  }

  // The row in which `px` lies.
  #indexAt(px) {
    let low = 0;
    let high = this.#items.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.#tops[middle] <= px) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  #setAnchor() {
    const top = this.#scroller.scrollTop;
    const index = this.#indexAt(top);
    const isTop = top <= 0 || this.#items.length === 0;
    this.#anchor = isTop ? null : { id: this.#items[index].id, offset: top - this.#tops[index] };
  }

  // The anchor, or where it has gone the nearest row below it that stays.
  #keptAnchor(items) {
    if (this.#anchor === null) return null;
    const stays = new Set(items.map(({ id }) => id));
    const from = this.#indexes.get(this.#anchor.id) ?? 0;
    if (stays.has(this.#anchor.id)) return this.#anchor;
    const next = this.#items.slice(from).find(({ id }) => stays.has(id));
    return next ? { id: next.id, offset: 0 } : null;
  }

  #restore() {
    const index = this.#anchor && this.#indexes.get(this.#anchor.id);
    if (index === null || index === undefined) return;
    const wanted = this.#tops[index] + this.#anchor.offset;
    if (Math.abs(this.#scroller.scrollTop - wanted) >= 1) this.#scroller.scrollTop = wanted;
  }

  // --- what is in the document ---

  // With `all`, rows that are there already are painted and measured too.
  #render(all) {
    this.#moved ||= all;
    if (!this.#isShown) return; // it is caught up with when it is
    for (let round = 0; round < SETTLE_MAX; round++) {
      this.#settle();
      const made = this.#fill();
      const first = all && round === 0;
      if (first) {
        for (const [id, row] of this.#rows) this.#paintRow(row, this.#items[this.#indexes.get(id)]);
      }
      const unknown = first ? [...this.#rows.values()] : made;
      if (unknown.length === 0) break;
      this.#fit(unknown);
      this.#measure(unknown);
      if (!this.#moved) break;
    }
    this.#settle();
    this.#place();
    if (this.#items.length > 0 && this.#tops.at(-1) - this.#bottom() < BEYOND_PX) this.#onEnd();
  }

  #settle() {
    if (!this.#moved) return;
    this.#moved = false;
    this.#layOut();
    this.#restore();
  }

  #bottom() {
    return this.#scroller.scrollTop + this.#scroller.clientHeight;
  }

  // Make the rows in and around the view, remove the others; returns those made.
  #fill() {
    const wanted = new Set();
    if (this.#items.length > 0) {
      const last = this.#indexAt(this.#bottom() + BEYOND_PX);
      for (let n = this.#indexAt(this.#scroller.scrollTop - BEYOND_PX); n <= last; n++) wanted.add(n);
      wanted.add(this.#indexes.get(this.#active) ?? 0);
    }
    const order = [...wanted].sort((a, b) => a - b);
    const ids = new Set(order.map((index) => this.#items[index].id));
    for (const [id, row] of this.#rows) {
      if (ids.has(id)) continue;
      row.remove();
      this.#rows.delete(id);
    }
    const made = [];
    let before = this.#list.firstElementChild;
    for (const index of order) {
      const item = this.#items[index];
      let row = this.#rows.get(item.id);
      if (!row) {
        row = this.#make(item);
        row.dataset.id = item.id;
        this.#rows.set(item.id, row);
        this.#paintRow(row, item);
        made.push(row);
      }
      if (row === before) before = before.nextElementSibling;
      else this.#list.insertBefore(row, before);
    }
    return made;
  }

  #paintRow(row, item) {
    row.setAttribute('aria-posinset', String(this.#indexes.get(item.id) + 1));
    row.setAttribute('aria-setsize', String(this.#total));
    this.#paint(row, item);
    this.#setReach(row, item.id === (this.#active ?? this.#items[0].id));
  }

  #setReach(row, isActive) {
    row.tabIndex = isActive ? 0 : -1;
    for (const button of row.querySelectorAll('button')) button.tabIndex = isActive ? 0 : -1;
  }

  #measure(rows) {
    const heights = rows.map((row) => row.getBoundingClientRect().height);
    rows.forEach(({ dataset }, n) => {
      this.#moved ||= Math.abs((this.#heights.get(dataset.id) ?? -1) - heights[n]) > 0.01;
      this.#heights.set(dataset.id, heights[n]);
    });
  }

  #place() {
    for (const [id, row] of this.#rows) row.style.top = `${this.#tops[this.#indexes.get(id)]}px`;
  }

  #onScroll() {
    if (!this.#isShown) return;
    this.#setAnchor();
    this.#render(false);
  }

  #onResize() {
    if (!this.#isShown) return;
    if (this.#width !== this.#scroller.clientWidth) this.#heights.clear();
    this.#width = this.#scroller.clientWidth;
    this.#render(true);
  }

  // --- the keyboard ---

  #focusedId() {
    const { activeElement } = document;
    return this.#list.contains(activeElement) ? activeElement.closest('[data-id]')?.dataset.id : undefined;
  }

  #onFocus({ target }) {
    const id = target.closest('[data-id]')?.dataset.id;
    if (id === undefined || id === this.#active) return;
    const former = this.#rows.get(this.#active ?? this.#items[0].id);
    if (former) this.#setReach(former, false);
    this.#active = id;
    this.#setReach(this.#rows.get(id), true);
  }

  // Bring a row into the view and the focus onto it.
  #focusAt(index) {
    const { id } = this.#items[index];
    this.#active = id;
    for (let round = 0; round < SETTLE_MAX; round++) {
      const top = this.#scroller.scrollTop;
      const view = this.#scroller.clientHeight;
      const height = this.#tops[index + 1] - this.#tops[index];
      const lowest = this.#tops[index] - Math.max(0, view - height);
      const wanted = Math.min(Math.max(top, lowest), this.#tops[index]);
      if (Math.abs(wanted - top) < 1) break;
      this.#scroller.scrollTop = wanted;
      this.#setAnchor();
      this.#render(true);
    }
    this.#render(true);
    this.#rows.get(id).focus({ preventScroll: true });
  }

  #onKey(event) {
    if (event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
    const at = this.#indexes.get(this.#focusedId());
    if (at === undefined) return;
    const page = () => Math.max(1, this.#indexAt(this.#tops[at] + this.#scroller.clientHeight) - at);
    const steps = {
      ArrowDown: () => at + 1,
      ArrowUp: () => at - 1,
      PageDown: () => at + page(),
      PageUp: () => this.#indexAt(Math.max(0, this.#tops[at] - this.#scroller.clientHeight)),
      Home: () => 0,
      End: () => this.#items.length - 1,
    };
    const step = steps[event.key];
    if (!step) return;
    event.preventDefault();
    this.#focusAt(Math.min(Math.max(step(), 0), this.#items.length - 1));
  }
}
