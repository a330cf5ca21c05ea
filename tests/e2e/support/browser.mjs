// SPDX-License-Identifier: Apache-2.0
// browser - the system's Chromium, without a display.
import { chromium } from 'playwright-core';

const PATHS = { executablePath: process.env.PEAL_CHROMIUM || '/usr/bin/chromium' };

// Resolves with a playwright browser; the caller closes it.
export function launchBrowser() {
  return chromium.launch({
    ...PATHS,
    headless: true,
    args: [
      '--no-sandbox',
      '--disable-dev-shm-usage',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
    timeout: 60_000,
  });
}
