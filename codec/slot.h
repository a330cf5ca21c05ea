/* SPDX-License-Identifier: Apache-2.0 */
/*
 * slot - the part of all users that a user belongs to: one of 4096, in ids, keys and names.
 *
 * The slot of a user is CRC-32 (zlib's, that of ISO 3309) of tenant, NUL, user, modulo SLOT_COUNT.
 * It never changes, so that tables, stores and streams can be divided by it; where there are fewer
 * parts than slots their number is a power of two and slot_part tells which. It is the rand_a of
 * every id made for something of the user: an id alone names the slot. What belongs to no user
 * has SLOT_NONE.
 */
#ifndef CODEC_SLOT_H
#define CODEC_SLOT_H

#include <stdbool.h>
#include <stdint.h>

#include "codec/base/bytes.h"
#include "codec/base/check.h"

enum { SLOT_BITS = 12, SLOT_COUNT = 1 << SLOT_BITS, SLOT_NONE = 0, SLOT_ID_LEN = 16 };

/* The slot of a user; `tenant` is empty where tenants are off. Any thread. */
uint32_t slot_of(struct bytes tenant, struct bytes user);

/* The slot that an id names: its rand_a. Of any 16 bytes; what is no id of ours names any slot. */
uint32_t slot_of_id(const uint8_t id[SLOT_ID_LEN]);

/* Which of `parts` parts a slot is in; `parts` as slot_divides accepts it. */
uint32_t slot_part(uint32_t slot, uint32_t parts);

/* Whether the slots can be divided into `parts`: a power of two, 1 to SLOT_COUNT. */
bool slot_divides(uint32_t parts);

#endif
