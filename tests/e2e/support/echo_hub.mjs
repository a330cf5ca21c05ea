// SPDX-License-Identifier: Apache-2.0
// echo_hub - a process of tests/conformance/echo_hub.c; ECHO_HUB names the program.
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { SCHEME, TLS_CERT, TLS_KEY } from './certs.mjs';
import { PROGRAM, findAddress } from './hub.mjs';
import { Server } from './process.mjs';

const beside = join(dirname(PROGRAM), 'tests/conformance/echo-hub');
const built = fileURLToPath(new URL('../../../build/tests/conformance/echo-hub', import.meta.url));
const ECHO_HUB = process.env.ECHO_HUB || (process.env.PEAL_BIN ? beside : built);

// Resolves with the running server, its `url` set. `calm`: with the deadlines of the stock server;
// `recovery`: clients that drop are continued.
export async function startEchoHub({ calm = false, recovery = false } = {}) {
  const flags = [calm && '--calm', recovery && '--recovery'].filter(Boolean);
  if (TLS_CERT) flags.push('--tls', TLS_CERT, TLS_KEY);
  const server = new Server('echo-hub', ECHO_HUB, ['--port', '0', ...flags]);
  await server.ready(() => findAddress(server.output, 'public'));
  server.url = `${SCHEME}://127.0.0.1:${findAddress(server.output, 'public').port}`;
  return server;
}
