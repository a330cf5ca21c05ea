// SPDX-License-Identifier: Apache-2.0
// line - the line between one client and a hub: it can be cut, and left half open, and lead to
// another hub from the next connection on.
import { connect, createServer } from 'node:net';

export class Line {
  // `target`: the address of a hub, {host, port}.
  static async start(target) {
    const line = new Line();
    line.target = target;
    line.pairs = new Set();
    line.strays = new Set(); // ends that hubs still hold, though the client has gone
    line.server = createServer((client) => line.accept(client));
    await new Promise((resolve) => line.server.listen(0, '127.0.0.1', resolve));
    return line;
  }

  get url() {
    return `http://127.0.0.1:${this.server.address().port}`;
  }

  accept(client) {
    const hub = connect(this.target);
    const pair = { client, hub };
    this.pairs.add(pair);
    const end = () => {
      if (!this.pairs.delete(pair)) return;
      client.destroy();
      hub.destroy();
    };
    for (const socket of [client, hub]) {
      socket.setNoDelay(true);
      socket.on('error', end);
      socket.once('close', end);
    }
    client.pipe(hub);
    hub.pipe(client);
  }

  // Both ends see their connections break.
  cut() {
    for (const { client, hub } of this.pairs) {
      client.destroy();
      hub.destroy();
    }
  }

  // The client sees its connections break, the hub sees nothing at all.
  abandon() {
    for (const pair of this.pairs) {
      const { client, hub } = pair;
      this.pairs.delete(pair);
      client.unpipe(hub);
      hub.unpipe(client);
      hub.resume(); // what the hub still says is lost
      this.strays.add(hub);
      hub.once('close', () => this.strays.delete(hub));
      client.destroy();
    }
  }

  async close() {
    this.cut();
    for (const hub of this.strays) hub.destroy();
    await new Promise((resolve) => this.server.close(resolve));
  }
}

export const startLine = (target) => Line.start(target);
