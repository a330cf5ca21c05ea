// SPDX-License-Identifier: Apache-2.0
// hook_backend - a backend that hooks ask: each question is verified with the package standardwebhooks, and
// answered as the test says.
import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createSecureServer } from 'node:http2';
import { join } from 'node:path';
import { Webhook } from 'standardwebhooks';
import { temporaryFolder } from './process.mjs';

export const newSecret = () => `whsec_${randomBytes(24).toString('base64')}`;

// A certificate of its own, for localhost and 127.0.0.1: {cert, key, file}.
export function makeCertificate() {
  const folder = temporaryFolder('certificate');
  const file = join(folder, 'cert.pem');
  const made = spawnSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-days', '2',
    '-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1', '-keyout', join(folder, 'key.pem'), '-out', file]);
  if (made.status !== 0) throw new Error(`openssl: ${made.error ?? made.stderr}`);
  return { cert: readFileSync(file), key: readFileSync(join(folder, 'key.pem')), file };
}

export class HookBackend {
  // `tls`: of makeCertificate, HTTP/2 and 1.1 over it.
  static async start({ secrets = [newSecret()], tls, port = 0 } = {}) {
    const backend = new HookBackend();
    Object.assign(backend, { secrets, questions: [], faults: [], connections: 0, versions: new Set(), open: new Set() });
    backend.answer = () => ({ allow: true }); // (question) → JSON, or a function of (request, response)
    const onRequest = (request, response) => backend.onRequest(request, response);
    backend.server = tls ? createSecureServer({ cert: tls.cert, key: tls.key, allowHTTP1: true }, onRequest) : createServer(onRequest);
    backend.server.on(tls ? 'secureConnection' : 'connection', (socket) => {
      backend.connections++;
      backend.open.add(socket);
      socket.on('close', () => backend.open.delete(socket));
      socket.on('error', () => {});
    });
    await new Promise((resolve) => backend.server.listen(port, '127.0.0.1', resolve));
    backend.port = backend.server.address().port;
    backend.url = `${tls ? 'https' : 'http'}://127.0.0.1:${backend.port}/hook`;
    return backend;
  }

  // Whether each of the secrets proves it: the package knows one at a time.
  verify(body, headers) {
    const signed = Object.fromEntries(['webhook-id', 'webhook-timestamp', 'webhook-signature'].map((name) => [name, headers[name]]));
    for (const secret of this.secrets) new Webhook(secret).verify(body, signed);
  }

  async onRequest(request, response) {
    let body = '';
    for await (const piece of request) body += piece;
    this.versions.add(request.httpVersion);
    try {
      this.verify(body, request.headers);
      if (request.method !== 'POST' || request.headers['content-type'] !== 'application/json') throw new Error('no POST of JSON');
    } catch (error) {
      this.faults.push(`${error.message}: ${JSON.stringify(request.headers)} ${body}`);
    }
    const question = { path: request.url, id: request.headers['webhook-id'], ...JSON.parse(body) };
    this.questions.push(question);
    const answer = await this.answer(question);
    if (typeof answer === 'function') {
      answer(response, request);
      return;
    }
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify(answer));
  }

  // Its end, and the end of all connections; it may come back on the same port.
  async stop() {
    this.server.close();
    for (const socket of this.open) socket.destroy();
    await new Promise((resolve) => setImmediate(resolve));
  }
}

export const startHookBackend = (options) => HookBackend.start(options);
