/* SPDX-License-Identifier: Apache-2.0 */
/*
 * address - how many unauthenticated connections each peer address has on this loop.
 *
 * IPv4 addresses count one by one, IPv6 addresses by their /64. One table per listener.
 */
#ifndef HUB_NET_ADDRESS_H
#define HUB_NET_ADDRESS_H

#include <stdint.h>

#include "codec/base/check.h"
#include "codec/base/map.h"

enum { ADDRESS_TEXT_MAX = 46 };

struct sockaddr;

struct address_table {
    struct map map; /* struct address by key */
};

struct address;

/* Make an empty table. */
void address_table_init(struct address_table *table);

/* Free the table, which must be empty. */
void address_table_finish(struct address_table *table);

/* Count one more connection from `peer` and return its entry; NULL when it has `cap` already. */
MUST_CHECK struct address *address_take(
    struct address_table *table, const struct sockaddr *peer, uint32_t cap);

/* Write an address as text, IPv4 in IPv6 as IPv4; empty for one of another family. */
void address_write(const struct sockaddr *peer, char ret_text[ADDRESS_TEXT_MAX]);

/* Count one less; NULL is allowed. */
void address_release(struct address *address);

#endif
