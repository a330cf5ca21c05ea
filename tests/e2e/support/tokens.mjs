// SPDX-License-Identifier: Apache-2.0
// tokens - HS256 tokens, good and bad ones.
import { createHmac, randomBytes } from 'node:crypto';

const encode = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');

export const randomSecret = () => randomBytes(32).toString('base64url');

// A token with exactly these claims and header fields.
export function signToken(claims, secret, header = {}) {
  const content = `${encode({ alg: 'HS256', typ: 'JWT', ...header })}.${encode(claims)}`;
  return `${content}.${createHmac('sha256', secret).update(content).digest('base64url')}`;
}

// A token of user `sub`, good for an hour unless `claims` say otherwise.
export function makeToken(sub, secret, claims = {}) {
  const now = Math.floor(Date.now() / 1000);
  return signToken({ sub, iat: now, exp: now + 3600, ...claims }, secret);
}
