/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/session/unjoined.h"

#include "codec/base/mem.h"
#include "hub/net/address.h"

struct unjoined_address {
    struct list link; /* unjoined.by_count[count] */
    struct list seats; /* unjoined_seat.link, oldest first */
    uint32_t count;
    struct address_key key;
};

static struct bytes key_of(const void *object)
{
    const struct unjoined_address *address = object;
    return bytes_of(address->key.at, address->key.len);
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
    struct address_key key = address_parse(remote);
    struct unjoined_address *address = map_get(&unjoined->addresses, bytes_of(key.at, key.len));
    if (address == NULL) {
        address = mem_alloc(sizeof(*address));
        list_init(&address->link);
        list_init(&address->seats);
        address->key = key;
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
