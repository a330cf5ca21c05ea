/* SPDX-License-Identifier: Apache-2.0 */
/*
 * slow_log - a line of log for statements that took longer than store.slow_query.
 */
#ifndef HUB_NODE_SLOW_LOG_H
#define HUB_NODE_SLOW_LOG_H

struct hub_shard;

/*
 * Log what was slow up to a second ago, and was not looked at before: at most ten lines in ten
 * seconds. Once a second on the first shard.
 */
void slow_log_look(struct hub_shard *shard);

#endif
