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

#include "hub/node/node_counts.h"

struct http_request;
struct hub;
struct hub_shard;

/* Publish what the shard counts, on its thread: loop_config.on_turn. */
void metrics_publish(void *shard);

/* Read what a shard has published. Any thread. */
void metrics_read(const struct hub_shard *shard, struct metrics_sums *ret_counts);

/* Sum what all shards have published. Any thread. */
void metrics_sum(const struct hub *hub, struct metrics_sums *ret_sums);

/* Handler: the Prometheus text. */
void metrics_show(struct http_request *request, void *context);

/* http_server_config.observe: counts answers of the API on the request's shard. */
void metrics_observe(
    void *context, const struct http_request *request, unsigned status, uint64_t took_ns);

#endif
