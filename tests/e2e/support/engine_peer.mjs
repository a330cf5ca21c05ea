// SPDX-License-Identifier: Apache-2.0
// engine_peer - one WebSocket that speaks Engine.IO by hand, frame by frame.
import WebSocket from 'ws';
import { within } from './wait.mjs';

export class EnginePeer {
  // Resolves when the WebSocket is open; `query` replaces EIO=4&transport=websocket.
  static async open(url, { path = '/socket.io/', query = 'EIO=4&transport=websocket', ...options } = {}) {
    const peer = new EnginePeer();
    peer.frames = [];
    peer.waiting = [];
    peer.socket = new WebSocket(`${url.replace(/^http/, 'ws')}${path}?${query}`, options.protocols ?? [], options);
    peer.socket.on('message', (data, binary) => peer.arrive(binary ? data : String(data)));
    peer.closed = new Promise((resolve) => {
      peer.socket.on('close', (code, reason) => {
        peer.arrive({ closed: code });
        resolve({ code, reason: String(reason) });
      });
    });
    await within(
      new Promise((resolve, reject) => {
        peer.socket.once('open', resolve);
        peer.socket.once('error', reject);
      }),
      `${url}${path} opens`,
    );
    peer.socket.on('error', () => {});
    return peer;
  }

  // Open, read the open packet, and answer pings from now on unless `pong` is false.
  static async handshake(url, { pong = true, ...options } = {}) {
    const peer = await EnginePeer.open(url, options);
    peer.handshake = JSON.parse((await peer.next()).slice(1));
    peer.pong = pong;
    return peer;
  }

  // The same, with a namespace joined.
  static async connect(url, { nsp = '', auth = '', ...options } = {}) {
    const peer = await EnginePeer.handshake(url, options);
    peer.send(`40${nsp}${auth}`);
    peer.reply = await peer.next();
    peer.auth = await peer.next();
    return peer;
  }

  arrive(frame) {
    if (this.pong && frame === '2') {
      this.socket.send('3');
      return;
    }
    const waiter = this.waiting.shift();
    if (waiter) waiter(frame);
    else this.frames.push(frame);
  }

  send(...frames) {
    for (const frame of frames) this.socket.send(frame);
  }

  // The next frame: a string, a Buffer, or {closed: code} at the end.
  next() {
    if (this.frames.length > 0) return Promise.resolve(this.frames.shift());
    return within(new Promise((resolve) => this.waiting.push(resolve)), 'another frame');
  }

  // Resolve with the close code; frames before it are dropped.
  async end() {
    return (await within(this.closed, 'the WebSocket is closed')).code;
  }

  close() {
    this.socket.terminate();
  }
}
