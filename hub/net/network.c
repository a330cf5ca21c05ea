/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads addresses and networks into IPv6, and compares them bit by bit.
 */
#include "hub/net/network.h"

#include <arpa/inet.h>
#include <string.h>
#include <sys/socket.h>

enum { V4_BITS = 32, V6_BITS = 128 };

static void map_v4(struct in_addr from, struct in6_addr *ret_address)
{
    *ret_address = (struct in6_addr){.s6_addr = {[10] = 0xff, [11] = 0xff}};
    memcpy(ret_address->s6_addr + 12, &from, sizeof(from));
}

bool network_read_address(struct bytes text, struct in6_addr *ret_address)
{
    char at[INET6_ADDRSTRLEN];
    struct in_addr v4;
    if (text.len == 0 || text.len >= sizeof(at) || memchr(text.at, '\0', text.len) != NULL) {
        return false;
    }
    memcpy(at, text.at, text.len);
    at[text.len] = '\0';
    if (inet_pton(AF_INET, at, &v4) == 1) {
        map_v4(v4, ret_address);
        return true;
    }
    return inet_pton(AF_INET6, at, ret_address) == 1;
}

bool network_read_peer(const struct sockaddr *peer, struct in6_addr *ret_address)
{
    if (peer->sa_family == AF_INET) {
        map_v4(((const struct sockaddr_in *)(const void *)peer)->sin_addr, ret_address);
        return true;
    }
    if (peer->sa_family == AF_INET6) {
        *ret_address = ((const struct sockaddr_in6 *)(const void *)peer)->sin6_addr;
        return true;
    }
    return false;
}

static bool bits_equal(
    const struct in6_addr *a, const struct in6_addr *b, unsigned from, unsigned to)
{
    for (unsigned i = from; i < to; i++) {
        unsigned mask = 0x80u >> (i % 8);
        if (((a->s6_addr[i / 8] ^ b->s6_addr[i / 8]) & mask) != 0) {
            return false;
        }
    }
    return true;
}

const char *network_read(struct bytes text, struct network *ret_network)
{
    const char *slash = text.len > 0 ? memchr(text.at, '/', text.len) : NULL;
    struct bytes address = text;
    uint64_t prefix = V6_BITS;
    if (slash != NULL) {
        address.len = (size_t)(slash - text.at);
    }
    if (!network_read_address(address, &ret_network->address)) {
        return "allowed: an address such as 10.0.0.7 or ::1, or a network such as 10.0.0.0/8";
    }
    unsigned least = memchr(address.at, ':', address.len) == NULL ? V6_BITS - V4_BITS : 0;
    if (slash != NULL) {
        if (bytes_to_u64(bytes_skip(text, address.len + 1), V6_BITS - least, &prefix) != 0) {
            return "allowed behind the slash: 0 to 32 (IPv4), 0 to 128 (IPv6)";
        }
        prefix += least;
    }
    const struct in6_addr zero = IN6ADDR_ANY_INIT;
    if (!bits_equal(&ret_network->address, &zero, (unsigned)prefix, V6_BITS)) {
        return "the address has bits behind the prefix";
    }
    ret_network->prefix = (uint8_t)prefix;
    return NULL;
}

bool network_has(const struct network *networks, size_t count, const struct in6_addr *address)
{
    for (size_t i = 0; i < count; i++) {
        if (bits_equal(address, &networks[i].address, 0, networks[i].prefix)) {
            return true;
        }
    }
    return false;
}
