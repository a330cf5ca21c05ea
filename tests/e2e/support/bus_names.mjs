// SPDX-License-Identifier: Apache-2.0
// The names that a hub has in Redis (codec/bus_name.h).

const SLOTS = 1024;

function crc32(bytes) {
  let crc = ~0;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return ~crc >>> 0;
}

/** The slot of a user, or of something without a tenant. */
export const slotOf = (user, tenant = '') => crc32(Buffer.from(`${tenant}\0${user}`)) % SLOTS;

export const nodeKey = (tag) => `peal:node:{${tag % SLOTS}}:${tag.toString(16).padStart(4, '0')}`;
export const sessionKey = (nsp, user, pid) => `peal:session:{${slotOf(user)}}:${nsp}:${user}:${pid}`;
export const replayKey = (nsp) => `peal:replay:{${slotOf(nsp)}}:${nsp}`;
export const userChannel = (user, db = 0) => `peal:${db}:u:{${slotOf(user)}}:${user}`;
