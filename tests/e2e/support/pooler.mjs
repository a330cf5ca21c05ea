// SPDX-License-Identifier: Apache-2.0
// pooler - a real pgbouncer before a Postgres of a test, in transaction mode.
import { execFileSync } from 'node:child_process';
import { chownSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { freePort } from './ports.mjs';
import { Server, temporaryFolder } from './process.mjs';

const isRoot = process.getuid() === 0; // it refuses to run as root

export async function startPooler(postgres, { mode = 'transaction', size = 2 } = {}) {
  const folder = temporaryFolder('pooler');
  const port = await freePort();
  const file = join(folder, 'pgbouncer.ini');
  writeFileSync(file, `[databases]
postgres = host=127.0.0.1 port=${postgres.port} user=peal
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${port}
unix_socket_dir =
auth_type = any
pool_mode = ${mode}
default_pool_size = ${size}
max_client_conn = 200
`);
  if (isRoot) {
    const id = (flag) => Number(execFileSync('id', [flag, 'postgres']));
    for (const path of [folder, file]) chownSync(path, id('-u'), id('-g'));
  }
  const server = new Server('pgbouncer', '/usr/sbin/pgbouncer', [file], { user: isRoot ? 'postgres' : undefined, cwd: '/' });
  await server.ready(() => /process up/.test(server.output));
  return { url: `postgres://peal@127.0.0.1:${port}/postgres`, port, server, stop: () => server.stop('SIGINT') };
}
