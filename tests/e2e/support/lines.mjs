// SPDX-License-Identifier: Apache-2.0
// lines - text line by line, ended by LF alone. Newer readline also ends one at U+2028 and U+2029,
// which JSON has as they are.
export function readLines(stream, onLine, onEnd = () => {}) {
  let rest = '';
  stream.setEncoding('utf8');
  stream.on('data', (text) => {
    const lines = (rest + text).split('\n');
    rest = lines.pop();
    lines.forEach(onLine);
  });
  stream.on('end', onEnd);
}
