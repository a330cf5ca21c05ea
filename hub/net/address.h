/* SPDX-License-Identifier: Apache-2.0 */
/*
 * address - what one peer is, to limits: an IPv4 address, or a /64 of IPv6.
 *
 * Everything that is counted by address is counted by this key, over all shards of the node:
 * connections that are not authenticated (address_take), refusals (address_name with name_rates),
 * sessions that have joined nothing (session/unjoined).
 */
#ifndef HUB_NET_ADDRESS_H
#define HUB_NET_ADDRESS_H

#include <stdbool.h>
#include <stdint.h>

#include "codec/base/bytes.h"
#include "codec/base/check.h"

enum { ADDRESS_TEXT_MAX = 46, ADDRESS_KEY_MAX = 8 };

struct name_counts;
struct sockaddr;

/* What is counted; addresses of different kinds are counted apart. */
enum address_kind { ADDRESS_CLIENT, ADDRESS_NODE, ADDRESS_REFUSED, ADDRESS_UNJOINED };

/* A key; empty for what is no internet address: all of these count together. */
struct address_key {
    uint8_t len;
    char at[ADDRESS_KEY_MAX];
};

/* One connection that is counted; all zero: none. */
struct address_claim {
    struct name_counts *counts;
    uint64_t name;
};

/* The key of an address, or of its text without a port. IPv4 in IPv6 is IPv4. */
struct address_key address_read(const struct sockaddr *peer);
struct address_key address_parse(struct bytes text);

/* The name of a key for name_counts and name_rates. */
uint64_t address_name(const struct address_key *key, enum address_kind kind);

/*
 * Count one more connection from `peer`; false when there are `cap` (above 0) already. Where the
 * table has no place for another address it is let in uncounted. Any thread, as the next.
 */
MUST_CHECK bool address_take(struct name_counts *counts, const struct sockaddr *peer,
    enum address_kind kind, uint32_t cap, struct address_claim *ret_claim);

/* Count it no more; twice is harmless. */
void address_release(struct address_claim *claim);

/* Write an address as text, IPv4 in IPv6 as IPv4; empty for one of another family. */
void address_write(const struct sockaddr *peer, char ret_text[ADDRESS_TEXT_MAX]);

#endif
