// SPDX-License-Identifier: Apache-2.0
// torture - a hub of which allocations can be made to fail (tests/torture/torture.c).
import { closeSync, openSync, readSync, writeSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { PROGRAM, startHub } from './hub.mjs';
import { temporaryFolder } from './process.mjs';

export const TORTURED = join(dirname(PROGRAM), 'tests/torture/peal-torture');

export class Torture {
  static async start(options = {}) {
    const torture = new Torture();
    const path = join(temporaryFolder('torture'), 'state');
    torture.file = openSync(path, 'w+');
    torture.write(0n, 0n);
    const env = { ...options.env, PEAL_TORTURE: path };
    torture.hub = await startHub({ ...options, program: TORTURED, env });
    return torture;
  }

  write(left, failing) {
    const state = Buffer.alloc(16);
    state.writeBigInt64LE(left, 0);
    state.writeBigInt64LE(failing, 8);
    writeSync(this.file, state, 0, 16, 0);
  }

  // Let the nth allocation from now on fail, and `count` in all.
  arm(nth, count = 1) {
    this.write(BigInt(nth), BigInt(count));
  }

  // Let none fail any more; whether one has.
  disarm(count = 1) {
    const state = Buffer.alloc(16);
    readSync(this.file, state, 0, 16, 0);
    this.write(0n, 0n);
    return state.readBigInt64LE(8) < BigInt(count);
  }

  async stop() {
    try {
      await this.hub.stop();
    } finally {
      closeSync(this.file);
    }
  }
}
