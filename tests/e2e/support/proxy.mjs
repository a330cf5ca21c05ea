// SPDX-License-Identifier: Apache-2.0
// proxy - an HTTP proxy in front of a hub that adds the address it was called from on the right of
// X-Forwarded-For or Forwarded, and keeps its connections to the hub.
import { Agent, createServer, request } from 'node:http';

export class Proxy {
  // `target`: {host, port}; `header`: 'x-forwarded-for' or 'forwarded'; `from`: its own address.
  static async start(target, { header = 'x-forwarded-for', from = '127.0.0.1' } = {}) {
    const proxy = new Proxy();
    Object.assign(proxy, { target, header, from });
    proxy.agent = new Agent({ keepAlive: true });
    proxy.sockets = new Set();
    proxy.server = createServer((asked, answer) => proxy.pass(asked, answer));
    proxy.server.on('connection', (socket) => proxy.watch(socket));
    proxy.server.on('upgrade', (asked, socket) => proxy.join(asked, socket));
    await new Promise((resolve) => proxy.server.listen(0, '0.0.0.0', resolve));
    proxy.port = proxy.server.address().port;
    return proxy;
  }

  watch(socket) {
    this.sockets.add(socket);
    socket.on('error', () => {});
    socket.on('close', () => this.sockets.delete(socket));
  }

  dial(asked, options) {
    const address = asked.socket.remoteAddress.replace(/^::ffff:/, '');
    const before = asked.headers[this.header];
    const hop = this.header === 'forwarded' ? `for="${address}:${asked.socket.remotePort}"` : address;
    return request({
      ...this.target,
      method: asked.method,
      path: asked.url,
      localAddress: this.from,
      headers: { ...asked.headers, [this.header]: before ? `${before}, ${hop}` : hop },
      ...options,
    });
  }

  pass(asked, answer) {
    const call = this.dial(asked, { agent: this.agent });
    call.on('response', (got) => {
      answer.writeHead(got.statusCode, got.headers);
      got.pipe(answer);
    });
    call.on('error', () => answer.destroy());
    answer.on('close', () => call.destroy());
    asked.pipe(call);
  }

  join(asked, socket) {
    const call = this.dial(asked, { agent: false });
    const lines = ({ statusCode, statusMessage, rawHeaders }) => {
      const rows = [`HTTP/1.1 ${statusCode} ${statusMessage}`];
      for (let i = 0; i < rawHeaders.length; i += 2) rows.push(`${rawHeaders[i]}: ${rawHeaders[i + 1]}`);
      return `${rows.join('\r\n')}\r\n\r\n`;
    };
    call.on('upgrade', (got, upstream, head) => {
      this.watch(upstream);
      socket.write(lines(got));
      socket.write(head);
      upstream.pipe(socket).pipe(upstream);
      upstream.on('close', () => socket.destroy());
      socket.on('close', () => upstream.destroy());
    });
    call.on('response', (got) => {
      socket.write(lines(got));
      got.pipe(socket);
    });
    call.on('error', () => socket.destroy());
    call.end();
  }

  async stop() {
    this.agent.destroy();
    for (const socket of this.sockets) socket.destroy();
    await new Promise((resolve) => this.server.close(resolve));
  }
}

export const startProxy = (target, options) => Proxy.start(target, options);
