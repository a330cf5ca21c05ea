// SPDX-License-Identifier: Apache-2.0
// ports - a free TCP port for servers that cannot choose one themselves.
import { randomInt } from 'node:crypto';
import { createServer } from 'node:net';

// Below the ports that systems give to outgoing connections (32768 on, on Linux): a server that
// is away for a moment must find its port free when it comes back, and a client that calls it
// meanwhile must not meet itself.
const FIRST = 15_000;
const LAST = 32_000;

function isFree(port, host) {
  return new Promise((resolve) => {
    const probe = createServer();
    probe.once('error', () => resolve(false));
    probe.listen(port, host, () => probe.close(() => resolve(true)));
  });
}

// The port is free now; a server that finds it taken is started again with another.
export async function freePort(host = '127.0.0.1') {
  for (;;) {
    const port = randomInt(FIRST, LAST);
    if (await isFree(port, host)) return port;
  }
}
