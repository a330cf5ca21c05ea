/* SPDX-License-Identifier: Apache-2.0 */
/*
 * cluster_link - connections to the cluster listeners of other nodes: called, authenticated, kept.
 *
 * A connection is used for one request at a time; between requests it waits in the pool of the
 * loop, by the node that it was authenticated for.
 */
#ifndef HUB_CLUSTER_CLUSTER_LINK_H
#define HUB_CLUSTER_CLUSTER_LINK_H

#include <stdint.h>

#include "codec/base/bytes.h"
#include "codec/base/check.h"
#include "codec/base/list.h"

struct cluster_link;
struct connection;
struct loop;
struct tls_context;

enum { CLUSTER_ADDRESS_MAX = 64, CLUSTER_POOL_MAX = 64 };

/* The connection is authenticated: own it before returning. NULL: it failed. */
typedef void (*cluster_link_ready_fn)(void *context, struct connection *connection);

struct cluster_link_options {
    struct loop *loop;
    const char *address; /* "10.0.0.2:4000", "[::1]:4000" */
    uint16_t node; /* tag of the node that must answer */
    struct bytes secret; /* must outlive the call */
    struct tls_context *tls; /* NULL: none; for who calls */
    uint32_t timeout_ms; /* until it is authenticated */
    cluster_link_ready_fn ready;
    void *context;
};

/* Call a node; `ready` is called later, exactly once. NULL: it failed at once, no call follows. */
MUST_CHECK struct cluster_link *cluster_link_open(const struct cluster_link_options *options);

/* Give up; `ready` is not called. */
void cluster_link_cancel(struct cluster_link *link);

/* What is kept between requests, on one loop. */
struct cluster_pool {
    struct list idle; /* the longest waiting first */
    unsigned count; /* at most CLUSTER_POOL_MAX */
    uint32_t idle_ms; /* how long one is kept */
};

void cluster_pool_init(struct cluster_pool *pool, uint32_t idle_ms);

/* Take out a connection to `node`, to be owned at once; NULL when there is none. */
MUST_CHECK struct connection *cluster_pool_take(struct cluster_pool *pool, uint16_t node);

/* Keep a connection on which nothing is under way, or close it. */
void cluster_pool_put(struct cluster_pool *pool, uint16_t node, struct connection *connection);

#endif
