// SPDX-License-Identifier: Apache-2.0
// The JavaScript client of Socket.IO under the commands of clients/README.md.
import { io } from 'socket.io-client';
import msgpack from 'socket.io-msgpack-parser';
import { readLines } from '../../support/lines.mjs';

const parser = process.argv[2] === 'msgpack' ? msgpack : undefined;
const sockets = new Map();

// Bytes are {"$bytes": base64} in a line.
function encode(value) {
  if (Buffer.isBuffer(value)) return { $bytes: value.toString('base64') };
  if (Array.isArray(value)) return value.map(encode);
  if (value === null || typeof value !== 'object') return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, encode(item)]));
}

function decode(value) {
  if (Array.isArray(value)) return value.map(decode);
  if (value === null || typeof value !== 'object') return value;
  if ('$bytes' in value) return Buffer.from(value.$bytes, 'base64');
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, decode(item)]));
}

const report = (what, number, ...args) => console.log(JSON.stringify({ what, number, args: encode(args) }));

function connect({ number, url, path, namespace, auth, transports }) {
  const options = { parser, path, forceNew: true, reconnectionDelay: 100, reconnectionDelayMax: 500 };
  const socket = io(url + namespace, { ...options, auth, transports });
  socket.on('connect', () => report('connect', number));
  socket.on('connect_error', ({ message, data }) => report('refused', number, { message, data }));
  socket.on('disconnect', (reason) => report('disconnect', number, reason));
  // An event that wants an answer gets its own arguments.
  socket.onAny((event, ...args) => {
    if (typeof args.at(-1) === 'function') {
      const answer = args.pop();
      answer(...args);
    }
    report('event', number, event, ...args);
  });
  return socket;
}

function obey(socket, { do: what, number, question, event, args }) {
  const answered = (...answer) => report('answer', question, ...answer);
  if (what === 'emit') socket.emit(event, ...decode(args));
  else if (what === 'ask') socket.emit(event, ...decode(args), answered);
  else if (what === 'transport') answered(socket.io.engine.transport.name);
  else if (what === 'close') {
    socket.close();
    sockets.delete(number);
  }
}

readLines(process.stdin, (line) => {
  const command = JSON.parse(line);
  if (command.do === 'connect') sockets.set(command.number, connect(command));
  else obey(sockets.get(command.number), command);
}, () => process.exit(0));
