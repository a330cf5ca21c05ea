/* SPDX-License-Identifier: Apache-2.0 */
/*
 * hub_shard - the shards of a node: started on their own threads, drained, stopped.
 *
 * Called on the main thread by hub.c.
 */
#ifndef HUB_NODE_HUB_SHARD_H
#define HUB_NODE_HUB_SHARD_H

#include <stdbool.h>
#include <stdint.h>

#include "codec/base/check.h"

struct hub;
struct hub_settings;

/* Start all shards; the first picks the ports. On failure those that run are stopped by
 * hub_shards_stop. */
MUST_CHECK int hub_shards_start(struct hub *hub);

/* Have every shard change over to `settings` in a turn of its own. Returns at once. */
void hub_shards_change(struct hub *hub, struct hub_settings *settings);

/* Stop accepting and send the clients away over the configured time. Returns at once. */
void hub_shards_drain(struct hub *hub);

/*
 * End what is left and wait for the threads. STATUS_TIMEOUT when a service does not end, which is
 * logged by name (SHUTDOWN-LEFT): threads run then, nothing may be freed, and the caller ends the
 * process.
 */
MUST_CHECK int hub_shards_stop(struct hub *hub);

/* Free what the shards had; after the actors have been destroyed. */
void hub_shards_finish(struct hub *hub);

/* store_config.post: run `fn` on the thread of a shard. */
void hub_store_post(void *context, unsigned port, void (*fn)(void *arg, bool cancelled), void *arg);

/* How many sessions the node still has. Any thread. */
uint64_t hub_sessions(const struct hub *hub);

#endif
