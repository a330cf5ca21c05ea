/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hub_outboxes - the outboxes of the settings, spread over the shards of a node.
 */
#ifndef HUB_NODE_HUB_OUTBOXES_H
#define HUB_NODE_HUB_OUTBOXES_H

#include <stdbool.h>
#include <stdint.h>

struct builder;
struct hub;
struct hub_shard;

/* The service of a shard: start, stop, how much is open; and what is left of it when it ended. */
void hub_outboxes_start(struct hub_shard *shard);
void hub_outboxes_stop(struct hub_shard *shard);
uint64_t hub_outboxes_count_open(const struct hub_shard *shard);
void hub_outboxes_finish(struct hub_shard *shard);

/* Whether one that this node reads is late, or its database away. Any thread. */
bool hub_outboxes_are_late(const struct hub *hub);

/* Append the metrics of all. */
void hub_outboxes_write(const struct hub *hub, struct builder *out);

#endif
