/* SPDX-License-Identifier: Apache-2.0 */
/*
 * unjoined - polling sessions that have joined no namespace, by address (IPv6 by /64).
 *
 * They cost no connection, so that the cap of connections does not bound them. All shards of a node
 * together have one bound and one count of each address. At the bound the oldest one of the largest
 * address is to go: a flood drives out itself, wherever its connections are, and who comes from
 * elsewhere is served. Counts above 64 are told apart by an eighth of them. All calls take the same
 * time, however many there are.
 */
#ifndef HUB_SESSION_UNJOINED_H
#define HUB_SESSION_UNJOINED_H

#include <stddef.h>
#include <stdint.h>

#include "codec/base/bytes.h"
#include "codec/base/check.h"
#include "codec/base/list.h"
#include "codec/base/map.h"

enum { UNJOINED_RANKS = 256 };

struct unjoined_address;
struct unjoined_node;

/* Where a session is counted; embedded by its owner, zeroed while it is not. */
struct unjoined_seat {
    struct list link; /* of the address, oldest first */
    struct unjoined_address *address; /* NULL: not counted */
};

/* The sessions of one shard. */
struct unjoined {
    struct unjoined_node *node;
    unsigned shard;
    struct map addresses; /* struct unjoined_address by key */
    struct list ranked[UNJOINED_RANKS]; /* unjoined_address.link */
    unsigned highest; /* the last rank that has any; 0: none has */
};

/* What the shards of a node share: room for `max` sessions; free it after the shards' parts. */
MUST_CHECK struct unjoined_node *unjoined_node_create(unsigned shards, uint32_t max);
void unjoined_node_destroy(struct unjoined_node *node);

/* Prepare the part of a shard, on its thread as all that follows; free it, when none is counted. */
void unjoined_init(struct unjoined *unjoined, struct unjoined_node *node, unsigned shard);
void unjoined_finish(struct unjoined *unjoined);

/* How many there are beyond the bound when one more is added; 0: there is room. */
uint32_t unjoined_excess(const struct unjoined *unjoined, uint32_t more);

/* The shard of which one is to go: this one where it is as good as another. */
unsigned unjoined_shard(const struct unjoined *unjoined);

/* Count a session of `remote` (an address as text; what is none counts together). Without memory it
 * is not counted: then nobody comes behind it. */
void unjoined_add(struct unjoined *unjoined, struct unjoined_seat *seat, struct bytes remote);

/* Count it no more; nothing when it is not counted. */
void unjoined_remove(struct unjoined *unjoined, struct unjoined_seat *seat);

/*
 * The oldest here of the address that has most on the node, of those that have any here; NULL: none
 * has. And how many that address has on the node.
 */
struct unjoined_seat *unjoined_victim(struct unjoined *unjoined, uint32_t *ret_count);

#endif
