/* SPDX-License-Identifier: Apache-2.0 */
/*
 * metrics - the numbers of the node, summed over its shards, and their Prometheus text.
 *
 * Shards count for themselves, without atomics; the sums are read while they go on, so one may be a
 * turn older than another.
 */
#ifndef HUB_METRICS_H
#define HUB_METRICS_H

#include <stdint.h>

#include "actors/core/sched.h"
#include "actors/shard.h"
#include "codec/base/buf.h"
#include "hub/forward.h"
#include "hub/jwt.h"
#include "hub/memory.h"
#include "hub/node_counts.h"

struct http_request;
struct hub;

struct metrics_sums {
    struct shard_stats shards;
    struct sched_stats sched;
    struct api_counts api;
    struct jwt_stats tokens;
    struct memory_use memory;
    struct forward_counts forwards;
};

/* Sum the counters of all shards. Any shard's thread. */
void metrics_sum(const struct hub *hub, struct metrics_sums *ret_sums);

/* Append all metrics in the Prometheus text format, version 0.0.4. */
void metrics_write(const struct hub *hub, struct builder *out);

/* The resident memory of the process, in bytes; 0 when it cannot be read. Any thread. */
uint64_t metrics_memory_bytes(void);

/* http_server_config.observe: counts answers of the API on the request's shard. */
void metrics_observe(
    void *context, const struct http_request *request, unsigned status, uint64_t took_ns);

#endif
