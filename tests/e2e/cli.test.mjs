// SPDX-License-Identifier: Apache-2.0
// The command line: help, version, and what check-config accepts, prints and refuses.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { PROGRAM, cleanEnvironment } from './support/hub.mjs';
import { temporaryFolder } from './support/process.mjs';

const folder = temporaryFolder('cli');

function run(args, env = {}) {
  const options = { encoding: 'utf8', cwd: folder, env: cleanEnvironment(env), timeout: 60_000 };
  const { status, stdout, stderr } = spawnSync(PROGRAM, args, options);
  return { status, stdout, stderr };
}

test('version prints the version, whatever the settings', () => {
  const { status, stdout } = run(['version'], { PEAL_LISTEN_PORT: 'no port' });
  assert.equal(status, 0);
  assert.match(stdout, /^peal \d+\.\d+\.\d+\n$/);
  assert.equal(run(['--version']).stdout, stdout);
  assert.equal(run(['version', 'x']).status, 2);
});

test('every command the usage names has help', () => {
  const { status, stdout } = run(['--help']);
  assert.equal(status, 0);
  const names = [...stdout.matchAll(/^ {2}([a-z-]+) /gm)].map(([, name]) => name);
  assert.ok(names.includes('check-config') && names.includes('version'), stdout);
  for (const name of names) {
    const help = run([name, '--help']);
    assert.equal(help.status, 0, name);
    assert.ok(help.stdout.startsWith(`usage: peal ${name}`), help.stdout);
  }
});

test('help of a command shows its own arguments, help of settings every setting', () => {
  const own = run(['top', '--help']);
  assert.match(own.stdout, /--every N/);
  assert.ok(own.stdout.split('\n').length < 12, own.stdout);
  for (const args of [['help', 'top'], ['--help', 'top'], ['top', '-h'], ['top', '--every', '2', '--help']]) {
    assert.equal(run(args).stdout, own.stdout, args.join(' '));
  }
  const settings = run(['--help', 'settings']);
  assert.match(settings.stdout, /^ {2}--limits-rooms\n {6}Rooms of one socket\. 1 to 65535; default 128$/m);
  for (const args of [['help', 'settings'], ['serve', '--help', 'settings']]) {
    assert.equal(run(args).stdout, settings.stdout, args.join(' '));
  }
  const unknown = run(['help', 'srve']);
  assert.equal(unknown.status, 2);
  assert.match(unknown.stderr, /^peal: unknown command "srve"\n\nusage: peal/);
});

test('help is the overview, however it is asked for', () => {
  const [overview, ...others] = ['--help', '-h', 'help'].map((word) => run([word]));
  assert.equal(overview.status, 0);
  assert.match(overview.stdout, /^usage: peal \[COMMAND\]/);
  for (const { status, stdout } of others) assert.deepEqual([status, stdout], [0, overview.stdout]);
});

test('an unknown command is refused', () => {
  const { status, stderr } = run(['srve']);
  assert.equal(status, 2);
  assert.match(stderr, /^peal: unknown command "srve"\n\nusage: peal/);
});

test('a token needs a key to sign with', () => {
  const { status, stderr } = run(['token', '--user', '42']);
  assert.equal(status, 1);
  assert.equal(stderr, 'peal token: no key to sign with: set auth.secret (JWT_SECRET) as the hub has it\n');
  const named = run(['token', '--user', 'a/b'], { JWT_SECRET: 'hunter2hunter2hunter2hunter2hunter2' });
  assert.equal(named.status, 2);
  assert.equal(named.stderr, 'peal token: --user: "a/b"; allowed is a user id: 1 to 128 bytes without / and control characters\n');
});

test('a value that cannot be is told with what is allowed, for every flag of every command', () => {
  const refused = [
    [['token', '--user', 'a/b'], '--user', '"a/b"', /1 to 128 bytes/],
    [['token', '--user', 'u', '--ttl', 'x'], '--ttl', '"x"', /1s to 366d/],
    [['token', '--user', 'u', '--ttl', '0'], '--ttl', '"0"', /1s to 366d/],
    [['token', '--tenant', 'a/b'], '--tenant', '"a/b"', /1 to 128 bytes/],
    [['token', '--role', 'x'.repeat(129)], '--role', '"x', /128 bytes/],
    [['token', '--name', 'x'.repeat(257)], '--name', '"x', /256 bytes/],
    [['token', '--rooms', 'a,b/c'], '--rooms', '"a,b/c"', /1 to 200 bytes/],
    ...['--user', '--tenant', '--role', '--name', '--rooms', '--ttl', '--check', '--key'].map((flag) =>
      [['token', flag], flag, 'a value is missing', /./]),
    [['top', '--every', '0'], '--every', '"0"', /1 to 3600/],
    [['top', '--every'], '--every', 'a value is missing', /1 to 3600/],
    [['top', '--url'], '--url', 'a value is missing', /http:/],
    [['top', '--ca'], '--ca', 'a value is missing', /PEM/],
    [['dead', 'list', '--id'], '--id', 'a value is missing', /id of an entry/],
    ...['--url', '--ca', '--redis', '--api-key', '--type', '--user', '--message'].map((flag) =>
      [['publish', flag], flag, 'a value is missing', /peal publish --help/]),
  ];
  for (const [line, flag, what, allowed] of refused) {
    const { status, stderr } = run(line);
    assert.equal(status, 2, stderr);
    assert.ok(stderr.startsWith(`peal ${line[0]}: ${flag}: ${what}`), stderr);
    assert.match(stderr.split('; allowed is ')[1], allowed, stderr);
  }
});

test('check-config prints values with their origins and masks secrets', () => {
  const file = join(folder, 'good.conf');
  writeFileSync(file, 'shards = 2\n');
  const { status, stdout, stderr } = run(['check-config', '--config', file, '--port', '4000'], {
    DATABASE_URL: 'postgres://peal:hunter2@db/peal',
    JWT_SECRET: 'hunter2hunter2hunter2hunter2hunter2',
  });
  assert.equal(status, 0, stderr);
  assert.match(stdout, /^shards = 2 # .*good\.conf:1$/m);
  assert.match(stdout, /^ {4}port = 4000 # --port$/m);
  assert.match(stdout, /^ {4}url = "postgres:\/\/peal:\*{8}@db\/peal" # DATABASE_URL$/m);
  assert.doesNotMatch(stdout + stderr, /hunter2/);
});

test('a mistake stops the program and says where it is', () => {
  const file = join(folder, 'bad.conf');
  writeFileSync(file, '# a comment\n\nlimits {\n  romms = 5\n}\n');
  for (const args of [['check-config', '--config', file], ['check-config', '-c', file]]) {
    const { status, stdout, stderr } = run(args);
    assert.deepEqual([status, stdout], [1, '']);
    assert.match(stderr, /bad\.conf:4: no such option 'romms'/);
  }
  const flag = run(['check-config', '--limits-rooms', '0']);
  assert.equal(flag.status, 1);
  assert.match(flag.stderr, /--limits-rooms: limits\.rooms: "0" is out of range; allowed: 1 to 65535/);
  assert.equal(run(['check-config', '--nonsense']).status, 2);
  assert.equal(run(['check-config'], { PEAL_LIMITS_ROOMS: 'many' }).status, 1);
});

test('the sample is a file that loads', () => {
  const { status, stdout } = run(['check-config', '--sample']);
  assert.equal(status, 0);
  const file = join(folder, 'sample.conf');
  writeFileSync(file, stdout);
  const env = { JWT_SECRET: 'x'.repeat(32) };
  const loaded = run(['check-config', '--config', file], env);
  assert.equal(loaded.status, 0, loaded.stderr);
  assert.equal(loaded.stdout, run(['check-config'], env).stdout);
});
