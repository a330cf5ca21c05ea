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

struct hub;
struct hub_shard;
struct lease_keeper;

enum { NODE_SECRET_MAX = 1025, NODE_HOST_MAX = 256 };

/* Set once, before the shards start. */
struct node_lease {
    uint16_t tag; /* not 0 */
    uint16_t port; /* of the cluster listener */
    int reserved; /* a socket that holds the port, or -1 */
    char host[NODE_HOST_MAX]; /* that the cluster listener is bound to */
    char address[CLUSTER_ADDRESS_MAX]; /* as told to the others */
    char secret[NODE_SECRET_MAX];
};

/*
 * Reserve the port of the cluster listener, agree on the secret and claim a tag, for a node that
 * has Redis; nothing otherwise. On the main thread, before the shards start. On failure a sentence
 * is in `error`.
 */
MUST_CHECK int node_lease_claim(struct hub *hub, struct builder *error);

/* Keep what was claimed, on the first shard; nothing on the others. */
void node_lease_start(struct hub_shard *shard);

/* Give it back and end; the link is closed in a later turn. */
void node_lease_stop(struct hub_shard *shard);

/* Free it; when all shards have ended. NULL is allowed. */
void node_lease_destroy(struct node_lease *lease);

#endif
