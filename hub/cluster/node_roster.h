/* SPDX-License-Identifier: Apache-2.0 */
/*
 * node_roster - which nodes are alive on this Redis under this prefix: their stores and versions.
 *
 * One sorted set, `<prefix>:nodes:{0}`: a member `<tag> <version> <store> <epoch>` for each node,
 * with the time (of Redis) until which it counts as alive. A node enters itself and learns of all
 * others with one script, so of two that begin at once the second sees the first. It does not start
 * beside nodes with another store, or of a version that does not work with its own; while it runs
 * it keeps its entry, follows the lowest version alive, and tells the operator of strangers.
 */
#ifndef HUB_CLUSTER_NODE_ROSTER_H
#define HUB_CLUSTER_NODE_ROSTER_H

#include <stdatomic.h>
#include <stdint.h>

#include "codec/base/buf.h"
#include "codec/base/check.h"

struct bus_names;
struct node_roster;
struct redis_target;
struct shard;

/* Who enters; what it points to must outlive the roster. */
struct node_roster_options {
    const struct bus_names *names;
    const struct redis_target *redis; /* need not outlive node_roster_enter */
    const char *store; /* what tells this store from all others, without blanks */
    const char *epoch; /* without blanks */
    uint64_t lifetime_ms; /* of an entry that is not renewed */
    atomic_uint *lowest; /* told here: the lowest version alive; relaxed */
    atomic_bool *strangers; /* told here: whether nodes with another store live; relaxed */
    uint16_t tag;
};

/*
 * Enter this node. What is in the way may be a former self that was killed, so it is waited for as
 * long as an entry lives. STATUS_EXISTS with a sentence in `error` when the nodes alive do not work
 * with this one, STATUS_UNAVAILABLE. `*ret_alive` is how many nodes there are then, with this one.
 * Main thread, before the shards start.
 */
MUST_CHECK int node_roster_enter(
    const struct node_roster_options *options, struct builder *error, unsigned *ret_alive);

/* Keep the entry, on one shard of the node. */
MUST_CHECK struct node_roster *node_roster_start(
    struct shard *shard, const struct node_roster_options *options);

/* Take the entry back and end; the link is closed in a later turn. NULL is allowed. */
void node_roster_stop(struct node_roster *roster);

#endif
