// SPDX-License-Identifier: Apache-2.0
// proxy - an HTTP proxy in front of a hub that adds the address it was called from on the right of
// X-Forwarded-For or Forwarded, and keeps its connections to the hub.
import { Agent, createServer, request } from 'node:http';
import { connect, createServer as createTcpServer, isIPv4 } from 'node:net';

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

const SIGNATURE = Buffer.from('0d0a0d0a000d0a515549540a', 'hex');

// A header of the PROXY protocol, version 2, for a connection from `source` ({address, port}, both of IPv4); null: of the
// proxy itself. `added`: what proxies add behind the addresses.
export function proxyHeader(source, added = Buffer.alloc(0)) {
  const rest = Buffer.alloc(source ? 12 : 0);
  if (source) {
    source.address.split('.').forEach((part, at) => rest.writeUInt8(Number(part), at));
    rest.set([127, 0, 0, 1], 4);
    rest.writeUInt16BE(source.port, 8);
  }
  const head = Buffer.from([source ? 0x21 : 0x20, source ? 0x11 : 0, 0, 0]);
  head.writeUInt16BE(rest.length + added.length, 2);
  return Buffer.concat([SIGNATURE, head, rest, added]);
}

// A proxy that passes bytes on, and begins each connection, from its own address `from`, with such a header.
export async function startPassage(target, { from }) {
  const sockets = new Set();
  const server = createTcpServer((client) => {
    const address = client.remoteAddress.replace(/^::ffff:/, '');
    const upstream = connect({ ...target, localAddress: from });
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.setNoDelay(true).on('error', () => {});
      socket.on('close', () => {
        sockets.delete(socket);
        (socket === client ? upstream : client).destroy();
      });
    }
    upstream.write(proxyHeader(isIPv4(address) ? { address, port: client.remotePort } : null));
    client.pipe(upstream).pipe(client);
  });
  await new Promise((resolve) => server.listen(0, '0.0.0.0', resolve));
  return {
    port: server.address().port,
    async stop() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
