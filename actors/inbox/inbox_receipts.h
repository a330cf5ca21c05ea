/* SPDX-License-Identifier: Apache-2.0 */
/*
 * inbox_receipts - what clients of a connected user say that they have: so that it is not pushed to
 * the user's devices. Only of users with devices it is kept, by the store (sql/store_push.h).
 */
#ifndef ACTORS_INBOX_INBOX_RECEIPTS_H
#define ACTORS_INBOX_INBOX_RECEIPTS_H

#include <stdint.h>

struct inbox;

/*
 * A client has all up to `seq`. The store is told one after the other, with the highest meanwhile;
 * where it says that the user has no device, nothing for RECEIPTS_REST_MS, unless one registers
 * here.
 */
void inbox_receipts_take(struct inbox *inbox, uint64_t seq);

/* A device was registered here: the store is told what is known. */
void inbox_receipts_begin(struct inbox *inbox);

/* Forget what is known. */
void inbox_receipts_drop(struct inbox *inbox);

enum { RECEIPTS_REST_MS = 60000 };

#endif
