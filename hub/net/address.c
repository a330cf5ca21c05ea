/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/net/address.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include "codec/base/mem.h"

enum { V4_LEN = 4, V6_PREFIX_LEN = 8 };

struct address {
    struct address_table *table;
    uint32_t count;
    uint8_t len;
    uint8_t key[V6_PREFIX_LEN];
};

static struct bytes key_of(const void *object)
{
    const struct address *address = object;
    return bytes_of(address->key, address->len);
}

void address_table_init(struct address_table *table)
{
    map_init(&table->map, key_of);
}

void address_table_finish(struct address_table *table)
{
    CHECK(map_count(&table->map) == 0);
    map_finish(&table->map);
}

static struct bytes read_key(const struct sockaddr *peer)
{
    if (peer->sa_family == AF_INET6) {
        const struct in6_addr *in6 = &((const struct sockaddr_in6 *)(const void *)peer)->sin6_addr;
        if (IN6_IS_ADDR_V4MAPPED(in6)) {
            return bytes_of(in6->s6_addr + sizeof(*in6) - V4_LEN, V4_LEN);
        }
        return bytes_of(in6->s6_addr, V6_PREFIX_LEN);
    }
    if (peer->sa_family == AF_INET) {
        return bytes_of(&((const struct sockaddr_in *)(const void *)peer)->sin_addr, V4_LEN);
    }
    return bytes_of(NULL, 0);
}

struct address *address_take(struct address_table *table, const struct sockaddr *peer, uint32_t cap)
{
    CHECK(cap > 0);
    struct bytes key = read_key(peer);
    struct address *address = map_get(&table->map, key);
    if (address == NULL) {
        address = mem_alloc(sizeof(*address));
        address->table = table;
        address->len = (uint8_t)key.len;
        if (key.len > 0) {
            memcpy(address->key, key.at, key.len);
        }
        map_put(&table->map, address);
    }
    if (address->count >= cap) {
        return NULL;
    }
    address->count++;
    return address;
}

void address_release(struct address *address)
{
    if (address == NULL || --address->count > 0) {
        return;
    }
    map_remove(&address->table->map, key_of(address));
    mem_free(address);
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
