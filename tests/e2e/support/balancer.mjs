// SPDX-License-Identifier: Apache-2.0
// balancer - a plain TCP balancer in front of several hubs: connections go round, nothing sticks.
import { connect, createServer } from 'node:net';

const HEAD_END = '\r\n\r\n';

// The first request head of a connection, with `Connection: close` unless it is an upgrade; null
// while it is not complete.
function closingHead(input) {
  const end = input.indexOf(HEAD_END);
  if (end < 0) return null;
  const lines = input.subarray(0, end).toString('latin1').split('\r\n');
  if (lines.some((line) => /^upgrade:/i.test(line))) return input;
  const kept = lines.filter((line) => !/^connection:/i.test(line));
  const head = [...kept, 'Connection: close'].join('\r\n') + HEAD_END;
  return Buffer.concat([Buffer.from(head, 'latin1'), input.subarray(end + HEAD_END.length)]);
}

export class Balancer {
  // `targets`: addresses of hubs, {host, port}; a target that refuses is passed over.
  // `everyRequest`: each request comes over a connection of its own, so that also clients that
  // keep their connections meet another hub with every poll; WebSockets are left alone.
  static async start(targets, { everyRequest = false } = {}) {
    const balancer = new Balancer();
    balancer.targets = [...targets];
    balancer.everyRequest = everyRequest;
    balancer.turn = 0;
    balancer.served = targets.map(() => 0); // connections by target
    balancer.sockets = new Set();
    balancer.server = createServer({ allowHalfOpen: true }, (client) => balancer.accept(client));
    await new Promise((resolve) => balancer.server.listen(0, '127.0.0.1', resolve));
    return balancer;
  }

  get address() {
    return { host: '127.0.0.1', port: this.server.address().port };
  }

  get url() {
    return `http://127.0.0.1:${this.address.port}`;
  }

  accept(client) {
    client.setNoDelay(true);
    this.watch(client);
    if (!this.everyRequest) {
      this.dial(client, this.turn++);
      return;
    }
    let input = Buffer.alloc(0);
    const onData = (bytes) => {
      input = Buffer.concat([input, bytes]);
      const head = closingHead(input);
      if (!head) return;
      client.off('data', onData);
      client.off('end', onEnd);
      client.pause();
      this.dial(client, this.turn++, head);
    };
    const onEnd = () => client.destroy();
    client.on('data', onData);
    client.on('end', onEnd);
  }

  // Connect `client` to the target whose turn it is, or to the next that takes it, and say `first`.
  dial(client, turn, first, refused = 0) {
    if (refused === this.targets.length || client.destroyed) {
      client.destroy();
      return;
    }
    const index = turn % this.targets.length;
    const target = connect({ ...this.targets[index], allowHalfOpen: true });
    const tryNext = () => this.dial(client, turn + 1, first, refused + 1);
    this.watch(target);
    target.once('error', tryNext);
    target.once('connect', () => {
      target.off('error', tryNext);
      this.served[index]++;
      if (first) target.write(first);
      this.join(client, target);
    });
  }

  // pipe() keeps what either side may send in bounds; an end that breaks breaks the other.
  join(client, target) {
    target.setNoDelay(true);
    client.pipe(target);
    target.pipe(client);
    client.once('close', () => target.destroy());
    target.once('close', () => client.destroy());
    if (client.destroyed) target.destroy();
  }

  watch(socket) {
    this.sockets.add(socket);
    socket.on('error', () => socket.destroy());
    socket.once('close', () => this.sockets.delete(socket));
  }

  // Break every connection there is; new ones are taken.
  cut() {
    for (const socket of this.sockets) socket.destroy();
  }

  async close() {
    this.cut();
    await new Promise((resolve) => this.server.close(resolve));
  }
}

export const startBalancer = (targets, options) => Balancer.start(targets, options);
