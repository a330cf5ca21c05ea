// SPDX-License-Identifier: Apache-2.0
// raw - a TCP connection that says exactly the bytes a test wants, and frames made by hand.
import { randomBytes } from 'node:crypto';
import { connectAs } from './certs.mjs';
import { within } from './wait.mjs';

const bytesOf = (text) => (typeof text === 'string' ? Buffer.from(text, 'latin1') : text);

export class RawPeer {
  static async open({ host, port, scheme = 'http' }, { allowHalfOpen = true } = {}) {
    const peer = new RawPeer();
    peer.parts = [];
    peer.received = 0; // bytes
    peer.ended = false; // the hub said FIN
    peer.closed = false;
    peer.socket = connectAs(scheme, { host, port, allowHalfOpen });
    peer.socket.setNoDelay(true);
    peer.watchers = new Set();
    peer.socket.on('data', (bytes) => {
      peer.parts.push(bytes);
      peer.received += bytes.length;
      peer.changed();
    });
    peer.socket.on('end', () => {
      peer.ended = true;
      peer.socket.end();
      peer.changed();
    });
    peer.socket.on('error', (error) => {
      peer.error = error;
    });
    peer.socket.on('close', () => {
      peer.closed = true;
      peer.changed();
    });
    peer.socket.once(scheme === 'https' ? 'secureConnect' : 'connect', () => {
      peer.open = true;
      peer.changed();
    });
    await peer.until(() => peer.closed || peer.open, 'the connection opens');
    return peer;
  }

  // All that was received; put together only when somebody looks.
  get input() {
    if (this.parts.length !== 1) this.parts = [Buffer.concat(this.parts)];
    return this.parts[0];
  }

  set input(rest) {
    this.parts = [rest];
  }

  changed() {
    for (const watcher of this.watchers) watcher();
  }

  // Resolve with the first truthy value of `condition`, looked at whenever something arrives.
  async until(condition, what) {
    let watcher;
    const found = new Promise((resolve, reject) => {
      watcher = () => {
        try {
          const value = condition();
          if (value) resolve(value);
        } catch (error) {
          reject(error);
        }
      };
      this.watchers.add(watcher);
      watcher();
    });
    try {
      return await within(found, what);
    } finally {
      this.watchers.delete(watcher);
    }
  }

  // Give `bytes` to the kernel; a peer that is closed already takes nothing.
  write(bytes) {
    if (this.closed || this.socket.destroyed) return;
    this.socket.write(bytesOf(bytes));
  }

  // The same in pieces of `size` bytes, each in a segment of its own as far as the kernel agrees.
  async drip(bytes, size) {
    const whole = bytesOf(bytes);
    for (let at = 0; at < whole.length && !this.closed; at += size) {
      const piece = whole.subarray(at, at + size);
      await new Promise((resolve) => {
        if (this.closed || this.socket.destroyed) resolve();
        else this.socket.write(piece, () => setImmediate(resolve));
      });
    }
  }

  get text() {
    return this.input.toString('latin1');
  }

  // The first answer: {status, head, headers, body}, once its body is whole or the hub has ended.
  async answer(what = 'an HTTP answer') {
    await this.until(() => this.parse() || this.closed, what);
    return this.parse() ?? { status: 0, head: '', headers: {}, body: '' };
  }

  parse() {
    const end = this.text.indexOf('\r\n\r\n');
    if (end < 0) return null;
    const head = this.text.slice(0, end);
    const [line, ...rows] = head.split('\r\n');
    const headers = {};
    for (const row of rows) headers[row.slice(0, row.indexOf(':')).toLowerCase()] = row.slice(row.indexOf(':') + 1).trim();
    const status = Number(/^HTTP\/1\.1 (\d{3})/.exec(line)?.[1]);
    const body = this.input.subarray(end + 4);
    if (body.length < Number(headers['content-length'] ?? 0) && !this.ended) return null;
    return { status, head, headers, body: body.toString('latin1'), after: end + 4 };
  }

  // Frames of the hub after the 101 answer: [{opcode, payload}].
  frames() {
    const list = [];
    let at = this.parse()?.after ?? 0;
    while (this.input.length >= at + 2) {
      let length = this.input[at + 1] & 0x7f;
      let head = 2;
      if (length === 126) {
        if (this.input.length < at + 4) break;
        length = this.input.readUInt16BE(at + 2);
        head = 4;
      } else if (length === 127) {
        if (this.input.length < at + 10) break;
        length = Number(this.input.readBigUInt64BE(at + 2));
        head = 10;
      }
      if (this.input.length < at + head + length) break;
      list.push({ opcode: this.input[at] & 15, first: this.input[at], payload: this.input.subarray(at + head, at + head + length) });
      at += head + length;
    }
    return list;
  }

  // The texts received so far.
  texts() {
    return this.frames()
      .filter(({ opcode }) => opcode === 1)
      .map(({ payload }) => payload.toString());
  }

  async saw(pattern, what = `the text ${pattern}`) {
    return this.until(() => {
      const found = this.texts().find((text) => pattern.test(text));
      if (found === undefined && this.closed) throw new Error(`closed: ${this.closeCode()}`);
      return found;
    }, what);
  }

  // The code of the hub's close frame: 1005 when it has none, 1006 without a close frame.
  closeCode() {
    const last = this.frames().find(({ opcode }) => opcode === 8);
    if (!last) return 1006;
    return last.payload.length >= 2 ? last.payload.readUInt16BE(0) : 1005;
  }

  // Whether the hub has closed, or says that it does.
  get over() {
    return this.closed || this.ended || this.closeCode() !== 1006;
  }

  // Until the hub has closed, its close frame answered; resolves with the close code.
  async end(what = 'the hub closes the connection') {
    await this.until(() => this.over, what);
    if (!this.closed && !this.ended) this.write(frame(8));
    await this.until(() => this.closed || this.ended, what);
    return this.closeCode();
  }

  fin() {
    this.socket.end();
  }

  reset() {
    this.socket.raw.resetAndDestroy();
  }

  destroy() {
    this.socket.destroy();
  }

  // Upgrade to a WebSocket at `target`; resolves when 101 came, else throws with the status.
  static async upgrade(address, target, { headers = [], ...options } = {}) {
    const peer = await RawPeer.open(address, options);
    peer.write(upgradeHead(target, { headers }));
    const { status } = await peer.answer(`101 of ${target}`);
    if (status !== 101) {
      peer.destroy();
      throw Object.assign(new Error(`refused with HTTP ${status}`), { status });
    }
    return peer;
  }

  // A Socket.IO session with the namespace "/" joined.
  static async socketIo(address, token, options) {
    const peer = await RawPeer.upgrade(address, ENGINE, options);
    await peer.saw(/^0\{/);
    peer.write(text(`40${JSON.stringify({ token })}`));
    await peer.saw(/^40\{/);
    return peer;
  }

  // A session of /ws.
  static plain(address, token, { protocol = 'peal.json.v1', headers = [], ...options } = {}) {
    const row = `Sec-WebSocket-Protocol: ${protocol}, peal.token.${token}`;
    return RawPeer.upgrade(address, '/ws', { headers: [row, ...headers], ...options });
  }
}

export const ENGINE = '/socket.io/?EIO=4&transport=websocket';

// The head of an upgrade; `without` drops the rows of these names, `headers` are added.
export function upgradeHead(target = ENGINE, { headers = [], without = [], method = 'GET', version = 'HTTP/1.1' } = {}) {
  const rows = [
    'Host: hub.example',
    'Upgrade: websocket',
    'Connection: Upgrade',
    `Sec-WebSocket-Key: ${randomBytes(16).toString('base64')}`,
    'Sec-WebSocket-Version: 13',
  ].filter((row) => !without.some((name) => row.toLowerCase().startsWith(`${name.toLowerCase()}:`)));
  return `${method} ${target} ${version}\r\n${[...rows, ...headers].map((row) => `${row}\r\n`).join('')}\r\n`;
}

// One client frame. `first`: the first byte, else made of fin and opcode; `length`: what the head
// says, `size`: how many bytes it says it in (0, 2, 8); `mask: null` sends it unmasked.
export function frame(opcode, payload = '', { fin = true, first, mask, length, size } = {}) {
  const body = Buffer.from(typeof payload === 'string' ? Buffer.from(payload) : payload);
  const key = mask === undefined ? randomBytes(4) : mask;
  const said = BigInt(length ?? body.length);
  const wide = size ?? (said < 126n ? 0 : said < 65536n ? 2 : 8);
  const head = Buffer.alloc(2 + wide);
  head[0] = first ?? ((fin ? 0x80 : 0) | opcode);
  head[1] = (key ? 0x80 : 0) | (wide === 0 ? Number(said) : wide === 2 ? 126 : 127);
  if (wide === 2) head.writeUInt16BE(Number(said), 2);
  if (wide === 8) head.writeBigUInt64BE(BigInt.asUintN(64, said), 2);
  if (!key) return Buffer.concat([head, body]);
  for (let i = 0; i < body.length; i++) body[i] ^= key[i % 4];
  return Buffer.concat([head, key, body]);
}

export const text = (payload, options) => frame(1, payload, options);
export const binary = (payload, options) => frame(2, payload, options);
