// SPDX-License-Identifier: Apache-2.0
// poll_peer - HTTP long-polling by hand, request by request, each on a connection of its own.
import http from 'node:http';
import https from 'node:https';
import { within } from './wait.mjs';

const RS = '\x1e';

// Send a request; resolves with {status, headers, body}; `request` can be destroyed meanwhile.
export function send(url, { method = 'GET', headers = {}, body, agent = false } = {}) {
  let request;
  const answer = new Promise((resolve, reject) => {
    request = (String(url).startsWith('https:') ? https : http).request(url, { method, headers, agent }, (response) => {
      const parts = [];
      response.on('data', (part) => parts.push(part));
      response.on('error', reject);
      response.on('end', () => {
        const bytes = Buffer.concat(parts);
        resolve({ status: response.statusCode, headers: response.headers, bytes, body: String(bytes) });
      });
    });
    request.on('error', reject);
    if (body === null) request.flushHeaders();
    else request.end(body);
  });
  const timely = within(answer, `${method} ${url}`);
  timely.catch(() => {}); // of one that is destroyed
  return { request, answer: timely };
}

export class PollPeer {
  // Resolves after the handshake.
  static async handshake(url, { path = '/socket.io/', headers = {} } = {}) {
    const peer = new PollPeer();
    peer.base = `${url}${path}?EIO=4&transport=polling`;
    peer.opened = await send(peer.base, { headers }).answer;
    peer.handshake = JSON.parse(peer.opened.body.slice(1));
    peer.url = `${peer.base}&sid=${peer.handshake.sid}`;
    peer.packets = [];
    return peer;
  }

  // The same, with the namespace "/" joined.
  static async connect(url, options) {
    const peer = await PollPeer.handshake(url, options);
    await peer.post('40');
    peer.reply = await peer.next();
    peer.auth = await peer.next();
    return peer;
  }

  // One GET, answered whenever.
  get(options = {}) {
    return send(this.url, options).answer;
  }

  // A GET that can be destroyed.
  hold(options = {}) {
    return send(this.url, options);
  }

  // POST packets; resolves with the answer.
  post(...packets) {
    const headers = { 'content-type': 'text/plain;charset=UTF-8' };
    return send(this.url, { method: 'POST', headers, body: packets.join(RS) }).answer;
  }

  // The next packet; pings are answered here unless `pong` is false.
  async next(pong = true) {
    while (this.packets.length === 0) {
      const { status, body } = await this.get();
      if (status !== 200) return { status, body };
      for (const packet of body.split(RS)) {
        if (packet === '2' && pong) await this.post('3');
        else this.packets.push(packet);
      }
    }
    return this.packets.shift();
  }
}
