// SPDX-License-Identifier: Apache-2.0
// certs - certificates made by openssl while a test runs, and connections over TLS. With
// PEAL_TLS_CERT and PEAL_TLS_KEY (client_tests.py --tls) the programs under test speak TLS, too.
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import https from 'node:https';
import { connect } from 'node:net';
import { join } from 'node:path';
import { connect as connectTls } from 'node:tls';
import { temporaryFolder } from './process.mjs';
import { within } from './wait.mjs';

export const TLS_CERT = process.env.PEAL_TLS_CERT;
export const TLS_KEY = process.env.PEAL_TLS_KEY;
export const SCHEME = TLS_CERT ? 'https' : 'http';

// A socket to a program under test, as plain as it speaks; `raw` is that of TCP.
export function connectAs(scheme, options) {
  const raw = connect(options);
  const socket = scheme === 'https' ? connectTls({ socket: raw, servername: 'localhost' }) : raw;
  return Object.assign(socket, { raw });
}

const openssl = (...args) => execFileSync('openssl', args, { stdio: ['ignore', 'pipe', 'pipe'] });

export class Certs {
  constructor() {
    this.folder = temporaryFolder('certs');
    this.count = 0;
    this.ca = this.make('the ca', { ca: true });
  }

  path(name) {
    return join(this.folder, name);
  }

  read(path) {
    return readFileSync(path, 'utf8');
  }

  // A key and its certificate, {cert, key, pem}: for the name `name` (a list: of all of them) and 127.0.0.1, by
  // `issuer` (null: by itself), good for `days`; `rsa`: with an RSA key.
  make(name, { ca = false, issuer = ca ? null : this.ca, days = 60, rsa = false } = {}) {
    this.count += 1;
    const [cert, key, request, rules] = ['crt', 'key', 'csr', 'ext'].map((end) => this.path(`${this.count}.${end}`));
    const kind = rsa ? ['-algorithm', 'RSA', '-pkeyopt', 'rsa_keygen_bits:2048'] : ['-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-256'];
    const names = [name].flat();
    openssl('genpkey', ...kind, '-out', key);
    openssl('req', '-new', '-key', key, '-subj', `/CN=${names[0]}`, '-out', request);
    const told = names.map((one) => `DNS:${one}`).join(',');
    writeFileSync(rules, ca ? 'basicConstraints=critical,CA:TRUE\n' : `subjectAltName=${told},IP:127.0.0.1\n`);
    const by = issuer ? ['-CA', issuer.cert, '-CAkey', issuer.key, '-CAcreateserial'] : ['-signkey', key];
    openssl('x509', '-req', '-in', request, ...by, '-days', String(days), '-extfile', rules, '-out', cert);
    return { cert, key, pem: readFileSync(cert, 'utf8') };
  }
}

// A request over TLS; resolves with {status, headers, body, fingerprint} of the answer and the certificate that was
// shown. `tls`: options of the connection (ca, servername, cert, key, …).
export function ask(url, { tls, method = 'GET', headers = {}, body, agent = false } = {}) {
  const answered = new Promise((resolve, reject) => {
    const request = https.request(url, { ...tls, method, headers, agent }, (response) => {
      const shown = response.socket.getPeerCertificate().fingerprint256;
      const parts = [];
      response.on('data', (part) => parts.push(part));
      response.on('error', reject);
      response.on('end', () => {
        const text = Buffer.concat(parts).toString();
        resolve({ status: response.statusCode, headers: response.headers, body: text, fingerprint: shown });
      });
    });
    request.on('error', reject);
    request.end(body);
  });
  return within(answered, `${method} ${url}`);
}
