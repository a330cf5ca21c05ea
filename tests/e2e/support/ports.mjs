// SPDX-License-Identifier: Apache-2.0
// ports - a free TCP port for servers that cannot choose one themselves.
import { randomInt } from 'node:crypto';
import { createServer } from 'node:net';

// Below the ports that systems give to outgoing connections (32768 on, on Linux): a server that
// is away for a moment must find its port free when it comes back, and a client that calls it
// meanwhile must not meet itself.
// A port that was given is given again only after all others of this process: who still calls a
// server that has gone must not meet another one. Test files that run beside each other have
// ports of their own, as far as their process ids tell them apart.
const FIRST = 15_000;
const SPAN = 500;
const SPANS = 34;
const first = FIRST + (process.pid % SPANS) * SPAN;
let turn = randomInt(SPAN);

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
    turn = (turn + 1) % SPAN;
    const port = first + turn;
    if (await isFree(port, host)) return port;
  }
}
