// SPDX-License-Identifier: Apache-2.0
// push_service - a push service of Web Push with browsers that subscribe: what comes is read by the package http_ece,
// and who sent it is proven by Node's own crypto; answered as the test says.
import { createECDH, createPublicKey, randomBytes, randomUUID, verify } from 'node:crypto';
import { createSecureServer } from 'node:http2';
import ece from 'http_ece';
import { makeCertificate } from './hook_backend.mjs';
import { within } from './wait.mjs';

const decode = (text) => Buffer.from(text, 'base64url');

export class PushService {
  static async start() {
    const service = new PushService();
    const tls = makeCertificate();
    Object.assign(service, { ca: tls.file, messages: [], faults: [], status: 201, browsers: new Map(), open: new Set(), waiters: new Set() });
    service.server = createSecureServer({ cert: tls.cert, key: tls.key, allowHTTP1: true }, (request, response) => {
      const parts = [];
      request.on('data', (part) => parts.push(part));
      request.on('end', () => service.take(request, Buffer.concat(parts), response));
    });
    service.server.on('secureConnection', (socket) => {
      service.open.add(socket);
      socket.on('close', () => service.open.delete(socket));
      socket.on('error', () => {});
    });
    await new Promise((resolve) => service.server.listen(0, '127.0.0.1', resolve));
    service.url = `https://127.0.0.1:${service.server.address().port}`;
    return service;
  }

  // What a page gets from pushManager.subscribe with this applicationServerKey.
  subscribe(key) {
    const ecdh = createECDH('prime256v1');
    const p256dh = ecdh.generateKeys('base64url');
    const auth = randomBytes(16).toString('base64url');
    const path = `/send/${randomUUID()}`;
    this.browsers.set(path, { ecdh, auth, key });
    return { endpoint: this.url + path, expirationTime: null, keys: { p256dh, auth } };
  }

  // Who sent it, by RFC 8292: the key, after its signature was proven.
  prove(header) {
    const [, token, key] = /^vapid t=([\w-]+\.[\w-]+\.[\w-]+), k=([\w-]+)$/.exec(header);
    const [head, claims, signature] = token.split('.');
    const point = decode(key);
    const [x, y] = [point.subarray(1, 33), point.subarray(33)].map((part) => part.toString('base64url'));
    const publicKey = createPublicKey({ key: { kty: 'EC', crv: 'P-256', x, y }, format: 'jwk' });
    if (!verify('sha256', `${head}.${claims}`, { key: publicKey, dsaEncoding: 'ieee-p1363' }, decode(signature))) throw new Error('not signed by its key');
    const { alg } = JSON.parse(decode(head));
    const { aud, exp, sub } = JSON.parse(decode(claims));
    const left = exp - Date.now() / 1000;
    if (alg !== 'ES256' || aud !== this.url || left <= 0 || left > 86_400) throw new Error(`bad claims: ${decode(claims)}`);
    return { key, sub };
  }

  come(message) {
    this.messages.push(message);
    for (const waiter of [...this.waiters]) {
      if (waiter.accept(message)) {
        this.waiters.delete(waiter);
        waiter.resolve(message);
      }
    }
  }

  // The next message that `accept`s.
  arrived(accept) {
    return within(new Promise((resolve) => this.waiters.add({ accept, resolve })), 'a message');
  }

  take(request, body, response) {
    try {
      const other = this.answer?.(request.url); // {status, headers} of a test, or nothing
      if (other) {
        response.writeHead(other.status, other.headers).end();
        return;
      }
      const browser = this.browsers.get(request.url);
      const { key, sub } = this.prove(request.headers.authorization);
      if (browser && this.status === 201) {
        if (browser.key !== key) throw new Error('not the key that it subscribed with');
        const plain = ece.decrypt(body, { version: 'aes128gcm', privateKey: browser.ecdh, authSecret: browser.auth });
        const { ttl, urgency, topic, 'content-encoding': coding, 'content-type': type } = request.headers;
        this.come({ path: request.url, text: JSON.parse(plain), sub, ttl, urgency, topic, coding, type, version: request.httpVersion });
      }
      response.writeHead(browser ? this.status : 404);
    } catch (error) {
      this.faults.push(error);
      response.writeHead(400);
    }
    response.end();
  }

  async stop() {
    for (const socket of this.open) socket.destroy();
    await new Promise((resolve) => this.server.close(resolve));
  }
}
