/* SPDX-License-Identifier: Apache-2.0 */
/*
 * metrics - the numbers of the node, summed over its shards, and their Prometheus text.
 *
 * Shards count for themselves, in plain words, and publish a copy twice a turn; sums are of these
 * copies, so one may be a turn older than another.
 */
#ifndef HUB_NODE_METRICS_H
#define HUB_NODE_METRICS_H

#include <stdint.h>

#include "actors/core/sched.h"
#include "actors/shard.h"
#include "codec/base/buf.h"
#include "codec/base/published.h"
#include "hub/auth/jwt.h"
#include "hub/cluster/forward.h"
#include "hub/node/memory.h"
#include "hub/node/node_counts.h"

struct http_request;
struct hub;
struct hub_shard;

/* What a shard counts, or the sum over shards: nothing but uint64_t. */
/* What the links to the bus and the port of the store refused. */
struct link_counts {
    uint64_t bus_refused;
    uint64_t bus_timeouts;
    uint64_t bus_protocol_errors;
    uint64_t store_refused;
};

struct metrics_sums {
    struct shard_stats shards;
    struct sched_stats sched;
    struct api_counts api;
    struct jwt_stats tokens;
    struct memory_use memory;
    struct forward_counts forwards;
    struct link_counts links;
};

/* What a shard has published of it. */
struct metrics_copy {
    /* shared: written by the owner */
    _Atomic(uint64_t) words[PUBLISHED_WORDS(struct metrics_sums)];
};

/* Publish what the shard counts, on its thread: loop_config.on_turn. */
void metrics_publish(void *shard);

/* Read what a shard has published. Any thread. */
void metrics_read(const struct hub_shard *shard, struct metrics_sums *ret_counts);

/* Sum what all shards have published. Any thread. */
void metrics_sum(const struct hub *hub, struct metrics_sums *ret_sums);

/* http_server_config.observe: counts answers of the API on the request's shard. */
void metrics_observe(
    void *context, const struct http_request *request, unsigned status, uint64_t took_ns);

#endif
