// SPDX-License-Identifier: Apache-2.0
// stock_client - Socket.IO clients in any language, driven by the commands of clients/README.md.
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { Server } from './process.mjs';
import { until } from './wait.mjs';

const source = (path) => fileURLToPath(new URL(`../clients/${path}`, import.meta.url));
const built = (path) => fileURLToPath(new URL(`../../../artifacts/clients/${path}`, import.meta.url));

// What `./dev setup --full` makes for a client, and how the client is started.
const LANGUAGES = {
  javascript: { needs: [], command: [process.execPath, source('javascript/client.mjs')] },
  java: {
    needs: [built('java/classes/Client.class')],
    command: ['java', '-XX:TieredStopAtLevel=1', '-cp', `${built('java/classes')}:${built('java/lib')}/*`, 'Client'],
  },
  python: {
    needs: [built('python/bin/python')],
    command: [built('python/bin/python'), source('python/client.py')],
  },
};

// Bytes are {"$bytes": base64} in a line.
function encode(value) {
  if (Buffer.isBuffer(value)) return { $bytes: value.toString('base64') };
  if (Array.isArray(value)) return value.map(encode);
  if (value === null || typeof value !== 'object') return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, encode(item)]));
}

const decode = (key, value) => (value?.$bytes === undefined ? value : Buffer.from(value.$bytes, 'base64'));

// One socket in the client program.
class StockSocket {
  constructor(program, number) {
    Object.assign(this, { program, number, events: [], connects: 0, refusals: [], disconnects: [] });
  }

  onConnect() {
    this.connects += 1;
    this.connected = true;
  }

  // JavaScript says so also when the transport opened and nothing was joined.
  onDisconnect(reason) {
    this.disconnects.push(reason);
    this.connected = false;
  }

  say(what, fields) {
    this.program.say({ do: what, number: this.number, ...fields });
  }

  emit(event, ...args) {
    this.say('emit', { event, args });
  }

  // The arguments of the ack; rejects when the connection ends before it comes.
  ask(event, ...args) {
    const ends = this.disconnects.length;
    const isOver = () => this.disconnects.length > ends;
    return this.program.answer((question) => this.say('ask', { question, event, args }), isOver);
  }

  // The first argument of the ack.
  async request(...event) {
    return (await this.ask(...event))[0];
  }

  async transport() {
    return (await this.program.answer((question) => this.say('transport', { question })))[0];
  }

  // The arguments of all events of that name.
  received(event) {
    return this.events.filter(([name]) => name === event).map(([, ...args]) => args);
  }

  // The first event of that name that `accept` takes, come or yet to come.
  next(event, accept = () => true) {
    return until(() => this.received(event).find((args) => accept(...args)), `${event} comes`);
  }

  close() {
    this.say('close');
  }
}

export class StockClient {
  // `args`: `msgpack` for Socket.IO's MessagePack parser, where the client has one; `env`: further variables.
  static start(language, args = [], env = {}) {
    const { needs, command } = LANGUAGES[language];
    for (const path of needs) {
      if (!existsSync(path)) throw new Error(`${path} is missing; run ./dev setup --full`);
    }
    const client = new StockClient();
    client.sockets = [];
    client.questions = [];
    const onLine = (line) => client.hear(JSON.parse(line, decode));
    client.server = new Server(`client-${language}`, command[0], [...command.slice(1), ...args], { onLine, env: { ...process.env, ...env } });
    return client;
  }

  say(command) {
    this.server.child.stdin.write(`${JSON.stringify(encode(command))}\n`);
  }

  hear({ what, number, args }) {
    if (what === 'answer') this.questions[number](args);
    else {
      const socket = this.sockets[number];
      if (what === 'event') socket.events.push(args);
      else if (what === 'connect') socket.onConnect();
      else if (what === 'refused') socket.refusals.push(args[0]);
      else socket.onDisconnect(args[0]);
    }
  }

  // Resolves with what the client answers to the question that `ask` puts, rejects once `isOver`.
  async answer(ask, isOver = () => false) {
    const question = this.questions.length;
    let answer;
    this.questions.push((args) => (answer = args));
    ask(question);
    await until(() => answer || isOver(), 'an answer');
    if (!answer) throw new Error('the connection ended before the answer');
    return answer;
  }

  // A socket that begins to connect. `transports`: as the client takes them.
  connect(url, { path = '/socket.io/', namespace = '/', auth = {}, transports }) {
    const socket = new StockSocket(this, this.sockets.length);
    this.sockets.push(socket);
    socket.say('connect', { url, path, namespace, auth, transports });
    return socket;
  }

  async stop() {
    this.server.child.stdin.end();
    const { code, signal } = await this.server.ended;
    if (code !== 0) throw new Error(`client ended with ${code ?? signal}\n${this.server.output}`);
  }
}
