// SPDX-License-Identifier: Apache-2.0
// The types of clients/js and clients/node as users' compilers see them, and the packages as npm would pack them.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';

const HERE = dirname(fileURLToPath(import.meta.url));
const CLIENT = join(HERE, '../../clients/js');
const SERVER = join(HERE, '../../clients/node');

// The complaints of the compiler about a file of types/, as "line: message".
function compile(file, options) {
  const program = ts.createProgram([join(HERE, 'types', file)], {
    noEmit: true,
    strict: true,
    target: ts.ScriptTarget.ES2022,
    types: [],
    lib: ['lib.es2022.d.ts', 'lib.dom.d.ts'],
    paths: { 'peal-client': [join(CLIENT, 'peal.d.ts')], '@peal/server': [join(SERVER, 'index.d.ts')] },
    ...options,
  });
  return ts.getPreEmitDiagnostics(program).map(({ file, start, messageText }) => {
    const line = file ? file.getLineAndCharacterOfPosition(start).line + 1 : 0;
    return `${line}: ${ts.flattenDiagnosticMessageText(messageText, ' ')}`;
  });
}

for (const [name, options] of Object.entries({
  'a bundler': { module: ts.ModuleKind.ESNext, moduleResolution: ts.ModuleResolutionKind.Bundler },
  'Node': { module: ts.ModuleKind.NodeNext, moduleResolution: ts.ModuleResolutionKind.NodeNext },
})) {
  test(`what users write compiles for ${name}, and mistakes do not`, () => {
    assert.deepEqual(compile('use.ts', options), []);
  });

  test(`what servers write compiles for ${name}, beside the types of Express and Node`, () => {
    assert.deepEqual(compile('use_server.ts', { ...options, esModuleInterop: true }), []);
  });
}

// The names of the members of each class in a file of types.
function membersOf(path) {
  const source = ts.createSourceFile(path, readFileSync(path, 'utf8'), ts.ScriptTarget.ES2022);
  const typed = new Map();
  source.forEachChild((node) => {
    if (!ts.isClassDeclaration(node)) return;
    const names = node.members.filter(({ name }) => name).map(({ name }) => name.text);
    typed.set(node.name.text, new Set(names));
  });
  return typed;
}

test('every member of the classes has a type, and every typed one exists', async () => {
  const { Inbox, Peal, PealError } = await import('../../clients/js/peal.js');
  const typed = membersOf(join(CLIENT, 'peal.d.ts'));
  const made = new Peal({ WebSocket: class {} });
  for (const [name, instance] of Object.entries({ Peal: made, Inbox: made.inbox })) {
    const { prototype } = { Peal, Inbox }[name];
    const own = new Set([...Object.getOwnPropertyNames(prototype), ...Object.keys(instance)]);
    own.delete('constructor');
    assert.deepEqual([...own].sort(), [...typed.get(name)].sort(), name);
  }
  for (const name of ['on', 'once', 'off']) assert.ok(typed.get('Emitter').has(name) && name in made);
  assert.ok('temporary' in PealError.prototype);
});

test('every member of the classes of clients/node has a type, and every typed one exists', async () => {
  const { PealError, PealServer } = await import('../../clients/node/index.js');
  const typed = membersOf(join(SERVER, 'index.d.ts'));
  const made = new PealServer({ url: 'http://127.0.0.1:1', key: 'k' });
  for (const [name, instance] of Object.entries({ PealServer: made, Values: made.values })) {
    const own = new Set([...Object.getOwnPropertyNames(Object.getPrototypeOf(instance)), ...Object.keys(instance)]);
    own.delete('constructor');
    assert.deepEqual([...own].sort(), [...typed.get(name)].sort(), name);
  }
  for (const name of ['temporary', 'uncertain']) assert.ok(name in PealError.prototype && typed.get('PealError').has(name));
});

const PACKAGES = {
  js: [CLIENT, ['LICENSE', 'README.md', 'package.json', 'peal-sw.js', 'peal.d.ts', 'peal.js']],
  node: [SERVER, ['LICENSE', 'README.md', 'answer_cache.js', 'answer_recorder.js', 'fuse.js', 'index.d.ts', 'index.js', 'jobs.js', 'metrics.js', 'package.json',
    'peal_error.js', 'peal_server.js', 'tracker.js', 'transport.js', 'values.js']],
};

for (const [name, [folder, wanted]] of Object.entries(PACKAGES)) {
  test(`the package clients/${name} holds the client, its types, the licence, and names its folder`, () => {
    const require = createRequire(import.meta.url);
    const manifest = require(join(folder, 'package.json'));
    const [packed] = JSON.parse(execFileSync('npm', ['pack', '--dry-run', '--json'], { cwd: folder, stdio: ['ignore', 'pipe', 'ignore'] }));
    const files = packed.files.map(({ path }) => path).sort();
    assert.deepEqual(files, wanted);
    assert.equal(readFileSync(join(folder, 'LICENSE'), 'utf8'), readFileSync(join(folder, '../../LICENSE'), 'utf8'));
    assert.equal(manifest.repository.directory, `clients/${name}`);
    assert.equal(manifest.dependencies, undefined);
    for (const field of ['keywords', 'description', 'license']) assert.ok(manifest[field], field);
  });
}
