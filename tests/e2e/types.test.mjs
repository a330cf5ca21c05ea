// SPDX-License-Identifier: Apache-2.0
// The types of clients/js as users' compilers see them, and the package as npm would pack it.
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

// The complaints of the compiler about types/use.ts, as "line: message".
function compile(options) {
  const program = ts.createProgram([join(HERE, 'types/use.ts')], {
    noEmit: true,
    strict: true,
    target: ts.ScriptTarget.ES2022,
    types: [],
    lib: ['lib.es2022.d.ts', 'lib.dom.d.ts'],
    paths: { 'peal-client': [join(CLIENT, 'peal.d.ts')] },
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
    assert.deepEqual(compile(options), []);
  });
}

test('every member of the classes has a type, and every typed one exists', async () => {
  const { Inbox, Peal, PealError } = await import('../../clients/js/peal.js');
  const types = readFileSync(join(CLIENT, 'peal.d.ts'), 'utf8');
  const source = ts.createSourceFile('peal.d.ts', types, ts.ScriptTarget.ES2022);
  const typed = new Map();
  source.forEachChild((node) => {
    if (!ts.isClassDeclaration(node)) return;
    const names = node.members.filter(({ name }) => name).map(({ name }) => name.text);
    typed.set(node.name.text, new Set(names));
  });
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

test('the package holds the client, its types, the licence, and names its folder', () => {
  const require = createRequire(import.meta.url);
  const manifest = require(join(CLIENT, 'package.json'));
  const [packed] = JSON.parse(execFileSync('npm', ['pack', '--dry-run', '--json'], { cwd: CLIENT, stdio: ['ignore', 'pipe', 'ignore'] }));
  const files = packed.files.map(({ path }) => path).sort();
  assert.deepEqual(files, ['LICENSE', 'README.md', 'package.json', 'peal.d.ts', 'peal.js']);
  assert.equal(readFileSync(join(CLIENT, 'LICENSE'), 'utf8'), readFileSync(join(CLIENT, '../../LICENSE'), 'utf8'));
  assert.equal(manifest.repository.directory, 'clients/js');
  for (const field of ['keywords', 'description', 'license']) assert.ok(manifest[field], field);
});
