/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hub_alerts - the alerts of a node (hub/alerts): what it counts for them, on the first shard.
 */
#ifndef HUB_NODE_HUB_ALERTS_H
#define HUB_NODE_HUB_ALERTS_H

#include <stdint.h>

struct hub_shard;

/* Begin and end on the first shard. */
void hub_alerts_start(struct hub_shard *shard);
void hub_alerts_stop(struct hub_shard *shard);

/* The settings have changed. */
void hub_alerts_reload(struct hub_shard *shard);

/* How much of it is open: 0 when it was stopped and may be freed; and free it, when loops have
 * ended. */
uint64_t hub_alerts_count_open(const struct hub_shard *shard);
void hub_alerts_finish(struct hub_shard *shard);

#endif
