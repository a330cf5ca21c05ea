// SPDX-License-Identifier: Apache-2.0
// plain_client - a client of /ws, in JSON or MessagePack.
import { decode, encode } from '@msgpack/msgpack';
import WebSocket from 'ws';
import { until, within } from './wait.mjs';

const ENCODINGS = {
  json: { name: 'peal.json.v1', write: JSON.stringify, read: (bytes) => JSON.parse(bytes) },
  msgpack: { name: 'peal.msgpack.v1', write: (value) => encode(value), read: (bytes) => decode(bytes) },
};

export class PlainClient {
  // Resolves when the WebSocket is open; a refusal rejects with the HTTP status in `status`.
  static async connect(url, token, { encoding = 'json', headers = {}, pong = true, onEvent, tls } = {}) {
    const client = new PlainClient();
    const kind = ENCODINGS[encoding];
    client.kind = kind;
    client.pong = pong;
    client.onEvent = onEvent; // instead of keeping it in `events`
    client.events = []; // [event, ...args] in order of arrival
    client.answers = new Map();
    client.lastId = 0;
    const protocols = token === undefined ? [kind.name] : [kind.name, `peal.token.${token}`];
    client.socket = new WebSocket(`${url.replace(/^http/, 'ws')}/ws`, protocols, { headers, ...tls });
    client.closed = new Promise((resolve) => {
      client.socket.on('close', (code, reason) => resolve({ code, reason: String(reason) }));
    });
    client.ready = new Promise((resolve) => (client.isReady = resolve)); // hub:ready has come
    client.socket.on('message', (bytes) => client.onMessage(bytes));
    await within(client.opened(), `${url}/ws opens`);
    return client;
  }

  opened() {
    return new Promise((resolve, reject) => {
      this.socket.once('open', () => {
        this.socket.on('error', () => {});
        resolve();
      });
      this.socket.once('unexpected-response', (request, answer) => {
        const error = new Error(`refused with HTTP ${answer.statusCode}`);
        error.status = answer.statusCode;
        request.destroy();
        reject(error);
      });
      this.socket.once('error', reject);
    });
  }

  onMessage(bytes) {
    for (const packet of this.kind.read(bytes)) {
      if (typeof packet[0] === 'number') {
        this.answers.get(-packet[0])?.(packet[1]);
        this.answers.delete(-packet[0]);
      } else if (packet[0] === 'hub:ping') {
        if (this.pong) this.emit('hub:pong');
      } else {
        if (packet[0] === 'hub:ready') this.isReady();
        (this.onEvent ?? this.keep).call(this, packet);
      }
    }
  }

  keep(packet) {
    this.events.push(packet);
  }

  send(...packets) {
    this.socket.send(this.kind.write(packets));
  }

  emit(event, ...args) {
    this.send([event, ...args]);
  }

  // Emit and resolve with the answer.
  request(event, ...args) {
    this.lastId += 1;
    const id = this.lastId;
    const answer = new Promise((resolve) => this.answers.set(id, resolve));
    this.send([id, event, ...args]);
    return within(answer, `an answer to ${event}`);
  }

  // The arguments of all `event`s so far.
  received(event) {
    return this.events.filter(([name]) => name === event).map(([, ...args]) => args);
  }

  // Resolve with the first argument of the first `event`, come or yet to come, that `accept`s.
  async next(event, accept = () => true) {
    const find = () => this.received(event).find((args) => accept(...args));
    return (await until(find, `${event} on /ws`))[0];
  }

  close() {
    this.socket.close();
  }

  // Cut the connection without a closing handshake.
  cut() {
    this.socket.terminate();
  }
}
