// SPDX-License-Identifier: Apache-2.0
// Whether a cache may ask the hub. A hub that is away would cost every request of the application its
// deadline: after a few failures in a row nobody asks any more, and one question that nobody waits for
// finds out, once in a while, whether it is back.
const FAILURES = 3;
const PAUSE_MS = 1_000; // between two such questions; doubles with each in vain
const PAUSE_MAX_MS = 10_000;

export class Fuse {
  #probe;
  #onAway;
  #onBack;
  #failures = 0;
  #blown = null; // {since, error, passed, pause, due, probing}

  // `probe()` asks the hub something small; it rejects while the hub is away.
  constructor({ probe, onAway, onBack }) {
    this.#probe = probe;
    this.#onAway = onAway;
    this.#onBack = onBack;
  }

  get isBlown() {
    return this.#blown !== null;
  }

  // Whether to ask. False: go on without the hub.
  allows() {
    if (this.#blown === null) return true;
    this.#blown.passed += 1;
    this.look();
    return false;
  }

  succeeded() {
    this.#failures = 0;
    if (this.#blown === null) return;
    const { since, passed } = this.#blown;
    this.#blown = null;
    this.#onBack({ since, passed });
  }

  failed(error) {
    this.#failures += 1;
    if (this.#blown !== null || this.#failures < FAILURES) return;
    this.#blown = { since: new Date(), error, passed: 0, pause: PAUSE_MS, due: performance.now() + PAUSE_MS, probing: false };
    this.#onAway({ error });
  }

  // Ask whether the hub is back, if it is time to, or `due`.
  look({ due = false } = {}) {
    const blown = this.#blown;
    if (blown === null || blown.probing || !(due || performance.now() >= blown.due)) return;
    blown.probing = true;
    this.#probe().then(
      () => this.succeeded(),
      () => {
        blown.probing = false;
        blown.pause = Math.min(PAUSE_MAX_MS, blown.pause * 2);
        blown.due = performance.now() + blown.pause;
      },
    );
  }
}
