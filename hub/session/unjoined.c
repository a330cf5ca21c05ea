/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/session/unjoined.h"

#include <arpa/inet.h>
#include <string.h>
#include <sys/socket.h>

#include "codec/base/mem.h"

enum { V4_LEN = 4, V6_LEN = 16, V6_PREFIX_LEN = 8, TEXT_MAX = 46 };

struct unjoined_address {
    struct list link; /* unjoined.by_count[count] */
    struct list seats; /* unjoined_seat.link, oldest first */
    uint32_t count;
    uint8_t len;
    uint8_t key[V6_PREFIX_LEN];
};

static struct bytes key_of(const void *object)
{
    const struct unjoined_address *address = object;
    return bytes_of((const char *)address->key, address->len);
}

/* The address as a key: all of IPv4, a /64 of IPv6, nothing of what is none. */
static uint8_t read_key(struct bytes remote, uint8_t ret_key[V6_LEN])
{
    char text[TEXT_MAX];
    if (remote.len == 0 || remote.len >= sizeof(text)) {
        return 0;
    }
    memcpy(text, remote.at, remote.len);
    text[remote.len] = '\0';
    if (inet_pton(AF_INET, text, ret_key) == 1) {
        return V4_LEN;
    }
    return inet_pton(AF_INET6, text, ret_key) == 1 ? V6_PREFIX_LEN : 0;
}

void unjoined_init(struct unjoined *unjoined, uint32_t max)
{
    *unjoined = (struct unjoined){.max = max};
    map_init(&unjoined->addresses, key_of);
}

void unjoined_finish(struct unjoined *unjoined)
{
    CHECK(unjoined->count == 0);
    map_finish(&unjoined->addresses);
    mem_free(unjoined->by_count);
}

static void make_lists(struct unjoined *unjoined)
{
    if (unjoined->by_count != NULL) {
        return;
    }
    unjoined->by_count = mem_alloc_array(unjoined->max + 1, sizeof(*unjoined->by_count));
    for (uint32_t i = 0; i <= unjoined->max; i++) {
        list_init(&unjoined->by_count[i]);
    }
}

static struct unjoined_address *find_address(struct unjoined *unjoined, struct bytes remote)
{
    uint8_t key[V6_LEN];
    uint8_t len = read_key(remote, key);
    struct unjoined_address *address =
        map_get(&unjoined->addresses, bytes_of((const char *)key, len));
    if (address == NULL) {
        address = mem_alloc(sizeof(*address));
        list_init(&address->link);
        list_init(&address->seats);
        address->len = len;
        memcpy(address->key, key, len);
        map_put(&unjoined->addresses, address);
    }
    return address;
}

static void set_count(struct unjoined *unjoined, struct unjoined_address *address, uint32_t count)
{
    address->count = count;
    list_remove(&address->link);
    list_append(&unjoined->by_count[count], &address->link);
    if (count > unjoined->largest) {
        unjoined->largest = count;
    }
    while (unjoined->largest > 0 && list_empty(&unjoined->by_count[unjoined->largest])) {
        unjoined->largest--;
    }
}

void unjoined_add(struct unjoined *unjoined, struct unjoined_seat *seat, struct bytes remote)
{
    CHECK(unjoined->count < unjoined->max && seat->address == NULL);
    make_lists(unjoined);
    seat->address = find_address(unjoined, remote);
    list_init(&seat->link);
    list_append(&seat->address->seats, &seat->link);
    unjoined->count++;
    set_count(unjoined, seat->address, seat->address->count + 1);
}

void unjoined_remove(struct unjoined *unjoined, struct unjoined_seat *seat)
{
    struct unjoined_address *address = seat->address;
    if (address == NULL) {
        return;
    }
    seat->address = NULL;
    list_remove(&seat->link);
    unjoined->count--;
    set_count(unjoined, address, address->count - 1);
    if (address->count == 0) {
        list_remove(&address->link);
        map_remove(&unjoined->addresses, key_of(address));
        mem_free(address);
    }
}

struct unjoined_seat *unjoined_victim(const struct unjoined *unjoined, uint32_t *ret_count)
{
    if (unjoined->largest == 0) {
        return NULL;
    }
    const struct unjoined_address *address = container_of(
        unjoined->by_count[unjoined->largest].next, const struct unjoined_address, link);
    *ret_count = address->count;
    return container_of(address->seats.next, struct unjoined_seat, link);
}
