// SPDX-License-Identifier: Apache-2.0
// @peal/server - what a Node server asks of a Peal hub. The types are in index.d.ts.
export { PealError } from './peal_error.js';
export { PealServer, PealServer as default } from './peal_server.js';
