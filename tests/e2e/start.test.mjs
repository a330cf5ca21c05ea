// SPDX-License-Identifier: Apache-2.0
// A node that is started with its servers waits for those that are starting themselves, and says so.
import { connect, createServer } from 'node:net';
import { test } from 'node:test';
import { startHub } from './support/hub.mjs';
import { startPostgres } from './support/postgres.mjs';
import { startRedis } from './support/redis.mjs';
import { until } from './support/wait.mjs';

test('a Redis that is loading its data', async () => {
  const redis = await startRedis();
  let loading = true;
  let asked = 0;
  const front = createServer((near) => {
    near.on('error', () => {});
    if (!loading) {
      const far = connect(redis.port, '127.0.0.1');
      far.on('error', () => near.destroy());
      near.on('close', () => far.destroy());
      near.pipe(far).pipe(near);
      return;
    }
    near.on('data', (bytes) => {
      asked += 1;
      const commands = bytes.toString().match(/\*\d+\r\n/g)?.length ?? 0;
      near.write('-LOADING Redis is loading the dataset in memory\r\n'.repeat(commands));
    });
  });
  await new Promise((resolve) => front.listen(0, '127.0.0.1', resolve));
  const { port } = front.address();
  const starting = startHub({ redis: { url: `redis://127.0.0.1:${port}/0` } });
  await until(() => asked >= 3, 'it asks again');
  loading = false;
  const hub = await starting;
  try {
    await hub.logged(new RegExp(`START-WAIT .*for=bus .*127\\.0\\.0\\.1:${port}.*LOADING`));
    await hub.loggedTimes('START-WAIT', 1);
  } finally {
    await hub.stop();
    front.close();
    await redis.stop();
  }
});

test('a Postgres that refuses connections', async () => {
  const postgres = await startPostgres();
  await postgres.shutdown();
  const starting = startHub({ postgres });
  await new Promise((resolve) => setTimeout(resolve, 1000));
  await postgres.restart();
  const hub = await starting;
  try {
    await hub.logged(/START-WAIT .*for=store .*refused/);
    await hub.loggedTimes('START-WAIT', 1);
  } finally {
    await hub.stop();
    await postgres.stop();
  }
});
