// SPDX-License-Identifier: Apache-2.0
// ports - a free TCP port for servers that cannot choose one themselves.
import { createServer } from 'node:net';

// The port is free now; a server that finds it taken is started again with another.
export function freePort(host = '127.0.0.1') {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.once('error', reject);
    probe.listen(0, host, () => {
      const { port } = probe.address();
      probe.close(() => resolve(port));
    });
  });
}
