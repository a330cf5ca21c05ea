/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The order of the addresses of a shard goes by what the node's count was when a session of theirs
 * last came or went here. What changed elsewhere since is looked up when one is to go; an address
 * that grows elsewhere is found there (unjoined_shard).
 */
#include "hub/session/unjoined.h"

#include <stdatomic.h>

#include "codec/base/mem.h"
#include "hub/net/address.h"
#include "hub/net/name_counts.h"

enum {
    EXACT = 64, /* counts that have a rank of their own */
    EXACT_BITS = 6,
    EIGHTHS_BITS = 3,
    ADDRESS_MOST = (1 << 24) - 2,
    LOOKS = 8, /* at addresses whose count has changed elsewhere */
};

struct unjoined_node {
    struct name_counts *addresses;
    uint32_t max;
    unsigned shards;
    _Atomic uint32_t count; /* relaxed, as the next: the number itself is all that is told */
    _Atomic uint32_t highest[]; /* of each shard */
};

struct unjoined_address {
    struct list link; /* unjoined.ranked */
    struct list seats; /* unjoined_seat.link, oldest first */
    uint32_t here;
    uint32_t uncounted; /* of these; the node's table had no place */
    uint64_t name; /* in the node's table */
    struct address_key key;
};

static struct bytes key_of(const void *object)
{
    const struct unjoined_address *address = object;
    return bytes_of(address->key.at, address->key.len);
}

struct unjoined_node *unjoined_node_create(unsigned shards, uint32_t max)
{
    struct unjoined_node *node = mem_alloc(sizeof(*node) + shards * sizeof(node->highest[0]));
    node->addresses = name_counts_create(max);
    node->max = max;
    node->shards = shards;
    return node;
}

void unjoined_node_destroy(struct unjoined_node *node)
{
    if (node != NULL) {
        name_counts_destroy(node->addresses);
        mem_free(node);
    }
}

void unjoined_init(struct unjoined *unjoined, struct unjoined_node *node, unsigned shard)
{
    *unjoined = (struct unjoined){.node = node, .shard = shard};
    map_init(&unjoined->addresses, key_of);
    for (size_t i = 0; i < UNJOINED_RANKS; i++) {
        list_init(&unjoined->ranked[i]);
    }
}

void unjoined_finish(struct unjoined *unjoined)
{
    CHECK(map_count(&unjoined->addresses) == 0);
    map_finish(&unjoined->addresses);
}

/* Grows with `count`: by one up to EXACT, then by one for an eighth more. */
static unsigned rank_of(uint32_t count)
{
    if (count < EXACT) {
        return count;
    }
    unsigned bits = 31u - (unsigned)__builtin_clz(count);
    unsigned eighths = (count >> (bits - EIGHTHS_BITS)) & ((1u << EIGHTHS_BITS) - 1);
    return EXACT + ((bits - EXACT_BITS) << EIGHTHS_BITS) + eighths;
}

static uint32_t count_of(const struct unjoined *unjoined, const struct unjoined_address *address)
{
    uint32_t count = name_counts_get(unjoined->node->addresses, address->name);
    return (count < ADDRESS_MOST ? count : ADDRESS_MOST) + address->uncounted;
}

static void tell_highest(struct unjoined *unjoined, unsigned highest)
{
    if (highest != unjoined->highest) {
        unjoined->highest = highest;
        atomic_store_explicit(
            &unjoined->node->highest[unjoined->shard], highest, memory_order_relaxed);
    }
}

/* Put the address where its count says, behind those of the same rank; nowhere without any. */
static void rank(struct unjoined *unjoined, struct unjoined_address *address)
{
    unsigned highest = unjoined->highest;
    list_remove(&address->link);
    if (address->here > 0) {
        unsigned place = rank_of(count_of(unjoined, address));
        place = place > 0 ? place : 1; /* a count that others are just changing */
        list_append(&unjoined->ranked[place], &address->link);
        highest = place > highest ? place : highest;
    }
    while (highest > 0 && list_empty(&unjoined->ranked[highest])) {
        highest--;
    }
    tell_highest(unjoined, highest);
}

/* NULL: no memory. */
static struct unjoined_address *find_address(struct unjoined *unjoined, struct bytes remote)
{
    struct address_key key = address_parse(remote);
    struct unjoined_address *address = map_get(&unjoined->addresses, bytes_of(key.at, key.len));
    if (address == NULL) {
        address = mem_try_calloc(1, sizeof(*address));
        if (address == NULL) {
            return NULL;
        }
        list_init(&address->link);
        list_init(&address->seats);
        address->key = key;
        address->name = address_name(&key, ADDRESS_UNJOINED);
        if (!map_put(&unjoined->addresses, address)) {
            mem_free(address);
            return NULL;
        }
    }
    return address;
}

uint32_t unjoined_excess(const struct unjoined *unjoined, uint32_t more)
{
    const struct unjoined_node *node = unjoined->node;
    uint64_t count = (uint64_t)atomic_load_explicit(&node->count, memory_order_relaxed) + more;
    return count > node->max ? (uint32_t)(count - node->max) : 0;
}

unsigned unjoined_shard(const struct unjoined *unjoined)
{
    const struct unjoined_node *node = unjoined->node;
    unsigned best = unjoined->shard;
    uint32_t highest = unjoined->highest;
    for (unsigned i = 0; i < node->shards; i++) {
        uint32_t there = atomic_load_explicit(&node->highest[i], memory_order_relaxed);
        if (there > highest) {
            highest = there;
            best = i;
        }
    }
    return best;
}

void unjoined_add(struct unjoined *unjoined, struct unjoined_seat *seat, struct bytes remote)
{
    CHECK(seat->address == NULL);
    struct unjoined_address *address = find_address(unjoined, remote);
    if (address == NULL) {
        return;
    }
    seat->address = address;
    list_init(&seat->link);
    list_append(&address->seats, &seat->link);
    address->here++;
    if (!name_counts_take(unjoined->node->addresses, address->name, ADDRESS_MOST)) {
        address->uncounted++;
    }
    atomic_fetch_add_explicit(&unjoined->node->count, 1, memory_order_relaxed);
    rank(unjoined, address);
}

void unjoined_remove(struct unjoined *unjoined, struct unjoined_seat *seat)
{
    struct unjoined_address *address = seat->address;
    if (address == NULL) {
        return;
    }
    seat->address = NULL;
    list_remove(&seat->link);
    address->here--;
    if (address->uncounted > 0) {
        address->uncounted--;
    } else {
        name_counts_release(unjoined->node->addresses, address->name);
    }
    atomic_fetch_sub_explicit(&unjoined->node->count, 1, memory_order_relaxed);
    rank(unjoined, address);
    if (address->here == 0) {
        map_remove(&unjoined->addresses, key_of(address));
        mem_free(address);
    }
}

struct unjoined_seat *unjoined_victim(struct unjoined *unjoined, uint32_t *ret_count)
{
    struct unjoined_address *address = NULL;
    bool moved = true;
    for (unsigned i = 0; i < LOOKS && moved && unjoined->highest > 0; i++) {
        unsigned highest = unjoined->highest;
        address = container_of(unjoined->ranked[highest].next, struct unjoined_address, link);
        *ret_count = count_of(unjoined, address);
        moved = rank_of(*ret_count) < highest;
        if (moved) {
            rank(unjoined, address);
        }
    }
    return address != NULL ? container_of(address->seats.next, struct unjoined_seat, link) : NULL;
}
