/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Turns addresses of peers into keys, and counts connections by them.
 */
#include "hub/net/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "codec/base/map.h"
#include "hub/net/name_counts.h"

enum { V4_LEN = 4, V6_PREFIX_LEN = 8 };

static struct address_key make_key(const void *at, uint8_t len)
{
    struct address_key key = {.len = len};
    memcpy(key.at, at, len);
    return key;
}

static struct address_key read_v6(const struct in6_addr *in6)
{
    if (IN6_IS_ADDR_V4MAPPED(in6)) {
        return make_key(in6->s6_addr + sizeof(*in6) - V4_LEN, V4_LEN);
    }
    return make_key(in6->s6_addr, V6_PREFIX_LEN);
}

struct address_key address_read(const struct sockaddr *peer)
{
    if (peer->sa_family == AF_INET6) {
        return read_v6(&((const struct sockaddr_in6 *)(const void *)peer)->sin6_addr);
    }
    if (peer->sa_family == AF_INET) {
        return make_key(&((const struct sockaddr_in *)(const void *)peer)->sin_addr, V4_LEN);
    }
    return (struct address_key){0};
}

struct address_key address_parse(struct bytes text)
{
    char at[ADDRESS_TEXT_MAX];
    struct in_addr in4;
    struct in6_addr in6;
    if (text.len == 0 || text.len >= sizeof(at)) {
        return (struct address_key){0};
    }
    memcpy(at, text.at, text.len);
    at[text.len] = '\0';
    if (inet_pton(AF_INET, at, &in4) == 1) {
        return make_key(&in4, V4_LEN);
    }
    return inet_pton(AF_INET6, at, &in6) == 1 ? read_v6(&in6) : (struct address_key){0};
}

uint64_t address_name(const struct address_key *key, enum address_kind kind)
{
    char name[2 + ADDRESS_KEY_MAX] = {'@', (char)kind};
    memcpy(name + 2, key->at, key->len);
    return hash_bytes(bytes_of(name, 2u + key->len));
}

bool address_take(struct name_counts *counts, const struct sockaddr *peer, enum address_kind kind,
    uint32_t cap, struct address_claim *ret_claim)
{
    struct address_key key = address_read(peer);
    uint64_t name = address_name(&key, kind);
    *ret_claim = (struct address_claim){0};
    if (name_counts_take(counts, name, cap)) {
        *ret_claim = (struct address_claim){.counts = counts, .name = name};
        return true;
    }
    return name_counts_get(counts, name) < cap;
}

void address_release(struct address_claim *claim)
{
    if (claim->counts != NULL) {
        name_counts_release(claim->counts, claim->name);
        claim->counts = NULL;
    }
}

void address_write(const struct sockaddr *peer, char ret_text[ADDRESS_TEXT_MAX])
{
    const struct sockaddr_in6 *in6 = (const void *)peer;
    const struct sockaddr_in *in = (const void *)peer;
    memset(ret_text, 0, ADDRESS_TEXT_MAX);
    if (peer->sa_family == AF_INET6 && IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr)) {
        (void)inet_ntop(AF_INET, in6->sin6_addr.s6_addr + 12, ret_text, ADDRESS_TEXT_MAX);
    } else if (peer->sa_family == AF_INET6) {
        (void)inet_ntop(AF_INET6, &in6->sin6_addr, ret_text, ADDRESS_TEXT_MAX);
    } else if (peer->sa_family == AF_INET) {
        (void)inet_ntop(AF_INET, &in->sin_addr, ret_text, ADDRESS_TEXT_MAX);
    }
}
