// SPDX-License-Identifier: Apache-2.0
// scripted_hub - the hub's side of /ws under a test's control: it says what the test says, when it
// says it, so that orders of events can be tried that a real hub seldom produces.
import { WebSocketServer } from 'ws';
import { until } from './wait.mjs';

const READY = {
  userId: 'alice',
  node: 'n1',
  epoch: 'e1',
  seq: 0,
  rev: 0,
  unread: 0,
  unseen: 0,
  limits: { messagesPerMinute: 50, messageBytes: 65_536, rooms: 128 },
};

// A notification as the hub sends it, with `rev` of its last change.
export function item(seq, fields = {}) {
  return {
    id: `id-${seq}`,
    seq,
    rev: seq,
    newRev: seq,
    userId: 'alice',
    type: 'note',
    title: `title ${seq}`,
    message: `message ${seq}`,
    data: null,
    priority: 'medium',
    isRead: false,
    readAt: null,
    createdAt: '2026-01-01T00:00:00.000Z',
    ...fields,
  };
}

// One accepted connection.
class Line {
  constructor(socket, request) {
    this.socket = socket;
    this.protocols = request.headers['sec-websocket-protocol'].split(',').map((word) => word.trim());
    this.url = request.url;
    this.frames = []; // arrays of packets, as they came
    this.requests = []; // {id, event, argument, answer(body)}, those not taken by a test
    this.answered = {}; // event → function of the argument that returns the answer
    this.closed = new Promise((resolve) => socket.on('close', (code) => resolve(code)));
    socket.on('message', (bytes) => this.onFrame(JSON.parse(bytes)));
  }

  get packets() {
    return this.frames.flat();
  }

  onFrame(frame) {
    this.frames.push(frame);
    for (const packet of frame) {
      if (typeof packet[0] !== 'number') continue;
      const [id, event, argument] = packet;
      const answer = (body) => this.say([-id, body]);
      if (this.answered[event]) answer(this.answered[event](argument));
      else this.requests.push({ id, event, argument, answer });
    }
  }

  // Answer all requests of these events from now on, and those that wait.
  script(answers) {
    Object.assign(this.answered, answers);
    this.requests = this.requests.filter(({ event, argument, answer }) => {
      if (this.answered[event]) answer(this.answered[event](argument));
      return !this.answered[event];
    });
    return this;
  }

  // All packets in one message.
  say(...packets) {
    this.socket.send(JSON.stringify(packets));
  }

  ready(fields) {
    this.say(['hub:ready', { ...READY, ...fields }]);
  }

  // The next request of `event`, come or yet to come, to be answered by the test.
  async asked(event) {
    const index = () => this.requests.findIndex((request) => request.event === event);
    await until(() => index() >= 0, `the client asks ${event}`);
    return this.requests.splice(index(), 1)[0];
  }

  // The first packet without id of `event`.
  heard(event) {
    return until(() => this.packets.find(([name]) => name === event), `the client says ${event}`);
  }

  count(event) {
    return this.packets.filter((packet) => packet.includes(event)).length;
  }

  close(code) {
    this.socket.close(code);
  }

  cut() {
    this.socket.terminate();
  }
}

export class ScriptedHub {
  static async start() {
    const hub = new ScriptedHub();
    hub.lines = [];
    hub.refuse = false;
    hub.server = new WebSocketServer({
      port: 0,
      host: '127.0.0.1',
      handleProtocols: (protocols) => [...protocols][0],
      verifyClient: (info, done) => done(!hub.refuse, 401),
    });
    hub.server.on('connection', (socket, request) => hub.lines.push(new Line(socket, request)));
    await until(() => hub.server.address(), 'the scripted hub listens');
    return hub;
  }

  get url() {
    return `http://127.0.0.1:${this.server.address().port}`;
  }

  // The n-th connection, from 0.
  async line(n) {
    await until(() => this.lines.length > n, `connection ${n} comes`);
    return this.lines[n];
  }

  stop() {
    for (const { socket } of this.lines) socket.terminate();
    this.server.close();
  }
}
