/* SPDX-License-Identifier: Apache-2.0 */
/*
 * node_lease - what a node that has Redis is to the others: a tag, an address, the common secret.
 *
 * The lease is the key `<prefix>:node:<tag>`, with the node's name and the address of its cluster
 * listener, and a lifetime: it runs out when the node is killed. The tag, 16 bits in each sid, is
 * claimed at start, so that no two nodes have the same.
 */
#ifndef HUB_CLUSTER_NODE_LEASE_H
#define HUB_CLUSTER_NODE_LEASE_H

#include <stdint.h>

#include "codec/base/buf.h"
#include "codec/base/check.h"
#include "hub/cluster/cluster_link.h"

struct bus_names;
struct config;
struct lease_keeper;
struct redis_target;
struct shard;

enum { NODE_SECRET_MAX = 1025, NODE_HOST_MAX = 256 };

/* Who claims; all but `redis` must outlive the lease. */
struct node_lease_options {
    const struct config *config;
    const struct redis_target *redis;
    const struct bus_names *names;
    const char *node; /* its name */
};

/* Set once, before the shards start; `keeper` belongs to the first of them. */
struct node_lease {
    const struct config *config;
    const struct redis_target *redis; /* while it is claimed */
    const struct bus_names *names;
    const char *node; /* its name */
    struct lease_keeper *keeper; /* NULL: it is not kept */
    uint16_t tag; /* not 0 */
    uint16_t port; /* of the cluster listener */
    int reserved; /* a socket that holds the port, or -1 */
    char host[NODE_HOST_MAX]; /* that the cluster listener is bound to */
    char address[CLUSTER_ADDRESS_MAX]; /* as told to the others */
    char secret[NODE_SECRET_MAX];
};

/*
 * Reserve the port of the cluster listener, agree on the secret and claim a tag, for a node that
 * has Redis; without it `*ret_lease` stays NULL. On the main thread, before the shards
 * start. On failure a sentence is in `error`, and a lease that was made is still to be destroyed.
 */
MUST_CHECK int node_lease_claim(
    const struct node_lease_options *options, struct builder *error, struct node_lease **ret_lease);

/* Keep what was claimed, on the first shard, whose bus is open. */
void node_lease_start(struct node_lease *lease, struct shard *shard);

/* Give it back, on the same thread; lease->keeper is NULL when that is done, in a later turn. */
void node_lease_stop(struct node_lease *lease);

/* Free it; when all shards have ended. NULL is allowed. */
void node_lease_destroy(struct node_lease *lease);

#endif
