/* SPDX-License-Identifier: Apache-2.0 */
/*
 * queue_watch - how the queues of jobs stand, for the metrics of a node: asked of the store every
 * 15 s, by shard 0.
 */
#ifndef HUB_NODE_QUEUE_WATCH_H
#define HUB_NODE_QUEUE_WATCH_H

#include <stdint.h>

struct hub_shard;

/* Begin and end on the first shard. */
void queue_watch_start(struct hub_shard *shard);
void queue_watch_stop(struct hub_shard *shard);

/* How much is under way. */
uint64_t queue_watch_pending(const struct hub_shard *shard);

#endif
