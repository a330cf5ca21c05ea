// SPDX-License-Identifier: Apache-2.0
// browser - the system's Chromium, without a display.
import { chromium } from 'playwright-core';

const PATHS = { executablePath: process.env.PEAL_CHROMIUM || '/usr/bin/chromium' };

// Resolves with a playwright browser; the caller closes it.
export function launchBrowser() {
  return chromium.launch({
    ...PATHS,
    headless: true,
    args: ['--no-sandbox', '--disable-dev-shm-usage', '--disable-gpu'],
    timeout: 60_000,
  });
}
