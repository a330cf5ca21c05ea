/* SPDX-License-Identifier: Apache-2.0 */
/*
 * network - addresses and networks of them as settings name them. Pure functions: any thread.
 *
 * IPv4 is written as IPv4 in IPv6 (RFC 4291 section 2.5.5.2), so that both forms of one address are
 * the same.
 */
#ifndef HUB_NET_NETWORK_H
#define HUB_NET_NETWORK_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/base/bytes.h"

struct sockaddr;

struct network {
    struct in6_addr address;
    uint8_t prefix; /* bits: 96 more for IPv4 */
};

/* Read an address without anything around it, as inet_pton does; false: it is none. */
bool network_read_address(struct bytes text, struct in6_addr *ret_address);

/* The address of a peer; false: it is none of the internet. */
bool network_read_peer(const struct sockaddr *peer, struct in6_addr *ret_address);

/* Read `10.0.0.7` or `10.0.0.0/8`. Returns what is wrong with it; NULL: nothing. */
const char *network_read(struct bytes text, struct network *ret_network);

/* Whether `address` is in one of `count` networks. */
bool network_has(const struct network *networks, size_t count, const struct in6_addr *address);

#endif
