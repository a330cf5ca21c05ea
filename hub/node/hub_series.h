/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hub_series - the metrics of applications of a node (hub/series), and what it counts of itself for
 * them: on the first shard.
 */
#ifndef HUB_NODE_HUB_SERIES_H
#define HUB_NODE_HUB_SERIES_H

#include <stdint.h>

struct hub_shard;

/* Begin and end on the first shard. */
void hub_series_start(struct hub_shard *shard);
void hub_series_stop(struct hub_shard *shard);

/* How much of it is open: 0 when it was stopped and may be freed; and free it, when loops have
 * ended. */
uint64_t hub_series_count_open(const struct hub_shard *shard);
void hub_series_finish(struct hub_shard *shard);

#endif
