// SPDX-License-Identifier: Apache-2.0
// Who reads the log may stand still: nobody else notices.
import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { closeSync, constants, openSync, readSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { cleanEnvironment, findAddress, PROGRAM, startHub } from './support/hub.mjs';
import { temporaryFolder } from './support/process.mjs';
import { startPostgres } from './support/postgres.mjs';
import { StreamClient } from './support/stream_client.mjs';
import { randomSecret } from './support/tokens.mjs';
import { until, within } from './support/wait.mjs';

// A pipe with both of its ends: what is in it, more of it, and full.
class Pipe {
  constructor(folder) {
    const path = join(folder, 'log');
    execFileSync('mkfifo', [path]);
    this.reading = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    this.writing = openSync(path, constants.O_WRONLY | constants.O_NONBLOCK);
    this.given = openSync(path, constants.O_WRONLY); // a description of its own, which blocks
    this.text = '';
  }

  read() {
    const part = Buffer.alloc(65536);
    try {
      for (let got; (got = readSync(this.reading, part)) > 0;) this.text += part.toString('latin1', 0, got);
    } catch (error) {
      if (error.code !== 'EAGAIN') throw error;
    }
    return this.text;
  }

  fill() {
    for (const size of [4096, 1]) {
      try {
        for (;;) writeSync(this.writing, '\n'.repeat(size));
      } catch (error) {
        if (error.code !== 'EAGAIN') throw error;
      }
    }
  }

  close() {
    for (const fd of [this.reading, this.writing, this.given]) closeSync(fd);
  }
}

test('a log that nobody reads stops nothing, and goes on when it is read', async () => {
  const folder = temporaryFolder('log');
  const pipe = new Pipe(folder);
  const args = ['serve', '--listen-host', '127.0.0.1', '--listen-port', '0', '--listen-internal-port', '0', '--shards', '1'];
  const env = cleanEnvironment({ JWT_SECRET: randomSecret(), PEAL_LOG_LEVEL: 'debug' });
  const hub = spawn(PROGRAM, args, { cwd: folder, env, stdio: ['ignore', 'ignore', pipe.given] });
  const ended = new Promise((resolve) => hub.once('exit', (code) => resolve(code)));
  try {
    await until(() => /START .*internal=/.test(pipe.read()), 'the start line');
    const at = findAddress(pipe.text, 'public');
    const internal = findAddress(pipe.text, 'internal');
    const refused = async () => {
      const answer = await fetch(`http://${at.host}:${at.port}/socket.io/?EIO=4&transport=polling`);
      const { sid } = JSON.parse((await answer.text()).slice(1));
      const url = `http://${at.host}:${at.port}/socket.io/?EIO=4&transport=polling&sid=${sid}`;
      await fetch(url, { method: 'POST', body: '40{"token":"nonsense"}' });
      return (await fetch(url)).text();
    };
    pipe.fill();
    for (let i = 0; i < 5; i++) { // each writes a record
      assert.match(await within(refused(), 'the hub answers'), /^44/);
    }
    hub.kill('SIGHUP');
    const metrics = await within(fetch(`http://${internal.host}:${internal.port}/metrics`), 'so does /metrics');
    assert.match(await metrics.text(), /^peal_log_lost_total 0$/m);
    await until(() => (pipe.read().match(/ AUTH-REFUSED | TOKEN-REFUSED /g) ?? []).length >= 5, 'what waited is written');
    await until(() => / RELOAD /.test(pipe.read()), 'the reload, too');
    pipe.fill();
    hub.kill('SIGTERM');
    assert.equal(await within(ended, 'the hub ends although nobody reads'), 0);
  } finally {
    hub.kill('SIGKILL');
    await ended;
    pipe.close();
  }
});

test('who comes and who goes is a line each, with how and why', async () => {
  const hub = await startHub({ config: 'log { connections = 1 }\n' });
  try {
    const line = (id, user) => hub.log.split('\n').find((row) => row.includes(` ${id} `) && row.includes(` user="${user}" `));
    const come = (user) => until(() => line('CONNECT', user), () => `${user} came: ${hub.log}`);
    const gone = (user) => until(() => line('CLOSED', user), () => `${user} is gone: ${hub.log}`);
    const ada = hub.socketIo('ada');
    const bob = await hub.plain('bob');
    const eve = new StreamClient([hub.url], { token: hub.token('eve') }).open();
    const node = / node=(\S+) /.exec(await come('ada'))[1];
    assert.match(await come('ada'), /transport=websocket nsp="\/" remote="127\.0\.0\.1" socket="\S{23}" resumed=0 suppressed=0$/);
    assert.match(await come('bob'), new RegExp(` node=${node} transport=plain `));
    assert.match(await come('eve'), new RegExp(` node=${node} transport=stream `));
    bob.close();
    assert.match(await gone('bob'), / transport=plain nsp="\/" reason=\w+ ms=\d+ socket="\S{23}" suppressed=0$/);
    ada.close();
    assert.match(await gone('ada'), new RegExp(` node=${node} transport=websocket nsp="/" reason=peer ms=\\d+ `));
    eve.close();
    assert.match(await gone('eve'), / transport=stream /);
    hub.options.config = 'log { connections = 0 }\n';
    hub.arguments(); // writes the file
    hub.reload();
    await hub.loggedTimes('RELOAD', 1);
    const zoe = await hub.plain('zoe');
    zoe.close();
    await hub.stop();
    assert.equal(hub.log.includes('zoe'), false, hub.log);
  } finally {
    await hub.stop();
  }
});

test('a statement that was slow is a line with its name and its time, and none of its values', async () => {
  const postgres = await startPostgres();
  const hub = await startHub({ postgres, config: 'store { slow_query = 100ms }\n' });
  try {
    assert.equal(hub.lines('SLOW-QUERY'), 0, hub.log);
    const other = await postgres.pool().connect();
    await other.query('BEGIN');
    await other.query('LOCK TABLE peal.notification IN ACCESS EXCLUSIVE MODE');
    const posted = hub.api('POST', '/api/v1/notifications', { user: 'ada', type: 't', title: 'a secret' });
    const waits = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND clock_timestamp() - query_start > interval '200 ms'";
    await until(async () => (await postgres.query(waits)).length > 0, 'it waits for longer than that');
    await other.query('COMMIT');
    other.release();
    assert.equal((await posted).status, 201);
    await hub.logged(/ warn SLOW-QUERY .* name=[\w.]+ ms=\d+\.\d threshold=100 suppressed=\d+$/m);
    assert.doesNotMatch(hub.log, /SLOW-QUERY .*(ada|secret)/);
  } finally {
    await hub.stop();
    await postgres.stop();
  }
});
