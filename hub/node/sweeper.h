/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sweeper - expires what is due, one request at a time, and announces what changed.
 *
 * On one shard of each node; several nodes may sweep one database at once, each row is swept by one
 * of them.
 */
#ifndef HUB_NODE_SWEEPER_H
#define HUB_NODE_SWEEPER_H

struct hub_shard;

/* Start, once the store port is open; on one shard of a node. */
void hub_sweeper_start(struct hub_shard *shard);

/* Stop; a request under way is let finish. */
void hub_sweeper_stop(struct hub_shard *shard);

#endif
