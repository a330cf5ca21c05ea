// SPDX-License-Identifier: Apache-2.0
// wait - conditions with deadlines, instead of sleeping and hoping.
import { setTimeout as pause } from 'node:timers/promises';

// Generous: only a failure ever waits this long.
export const DEADLINE = 30_000;

// Resolve with the first truthy value of `condition` (which may be async); a condition that
// throws counts as not yet. Rejects after `deadline` ms, naming `what` and the last error; `what` may
// be a function that makes the text: it is called then, and so tells what there was at the end.
export async function until(condition, what, deadline = DEADLINE) {
  const end = performance.now() + deadline;
  let last;
  for (;;) {
    try {
      const value = await condition();
      if (value) return value;
      last = undefined;
    } catch (error) {
      last = error;
    }
    if (performance.now() > end) {
      const because = last ? `: ${last.message}` : '';
      const text = typeof what === 'function' ? what() : what;
      throw new Error(`not within ${deadline} ms: ${text}${because}`);
    }
    await pause(15);
  }
}

// Resolve like `promise`, or reject after `deadline` ms, naming `what`.
export async function within(promise, what, deadline = DEADLINE) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`not within ${deadline} ms: ${what}`)), deadline);
    timer.unref(); // what nobody waits for any more must not keep the test running
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

// Watch for `ms` that `condition` stays false; throws as soon as it holds.
export async function never(condition, what, ms) {
  const end = performance.now() + ms;
  while (performance.now() < end) {
    if (await condition()) throw new Error(`happened: ${what}`);
    await pause(15);
  }
}
