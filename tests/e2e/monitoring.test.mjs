// SPDX-License-Identifier: Apache-2.0
// What Prometheus itself says of /metrics and of the rules of docs/monitoring.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { startHub } from './support/hub.mjs';
import { startRedis } from './support/redis.mjs';

const RULES = fileURLToPath(new URL('../../docs/monitoring/peal-rules.yml', import.meta.url));
const promtool = (args, input) => spawnSync('promtool', args, { input, encoding: 'utf8' });
const skip = promtool(['--version']).error && 'there is no promtool (package prometheus)';

let redis;
let hub;

before(async () => {
  redis = await startRedis();
  hub = await startHub({ redis });
});

after(async () => {
  await hub?.stop();
  await redis?.stop();
});

// As promtool would find some of it, where there is none.
test('each metric has its help and kind once, before its rows, and units that Prometheus knows', async () => {
  const { body } = await hub.askInternal('/metrics');
  const kinds = new Map();
  let current;
  for (const line of body.trimEnd().split('\n')) {
    const [, what, name, rest] = /^# (HELP|TYPE) (\S+) (.+)$/.exec(line) ?? [];
    if (what === 'HELP') {
      assert.equal(kinds.has(name), false, `${name} comes twice`);
      current = name;
    } else if (what === 'TYPE') {
      assert.equal(name, current, line);
      kinds.set(name, rest);
    } else {
      const row = /^([a-z_][a-z0-9_]*)(?:\{(?:[a-z_]+="[^"]*",?)+\})? -?[0-9.e+]+$/.exec(line);
      assert.ok(row, line);
      const series = kinds.get(current) === 'histogram' ? row[1].replace(/_(bucket|sum|count)$/, '') : row[1];
      assert.equal(series, current, `${line} stands below ${current}`);
    }
  }
  for (const [name, kind] of kinds) {
    assert.equal(name.endsWith('_total'), kind === 'counter', `${name}: ${kind}`);
    assert.doesNotMatch(name, /(milli|micro|nano)seconds|_ms$|kilobytes|minutes/, 'base units');
  }
});

test('promtool check metrics has nothing to say', { skip }, async () => {
  const { status, stdout, stderr } = promtool(['check', 'metrics'], (await hub.askInternal('/metrics')).body);
  assert.deepEqual({ status, stdout, stderr }, { status: 0, stdout: '', stderr: '' });
});

test('promtool check rules takes the rules', { skip }, () => {
  const { status, stdout, stderr } = promtool(['check', 'rules', RULES]);
  assert.equal(status, 0, stdout + stderr);
});
