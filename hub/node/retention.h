/* SPDX-License-Identifier: Apache-2.0 */
/*
 * retention - what the settings say is kept of inboxes, and how the walk over them goes.
 *
 * One of each sweeper, on its shard's thread.
 */
#ifndef HUB_NODE_RETENTION_H
#define HUB_NODE_RETENTION_H

#include <stdbool.h>
#include <stdint.h>

#include "sql/store.h"

struct config;
struct shard_stats;

struct retention_walk {
    struct store_retention request;
    /* private */
    /* One for each tenant that has a block; with copies of the names, because the settings may
     * change while a request is under way. */
    struct store_retention_rule *rules;
    uint64_t since_ms; /* when it began here, monotonic; 0: nothing is taken */
    uint64_t late_ms; /* since when the walk is late, as the operator was told; 0: it is not */
};

/* Whether anything is taken of any inbox. */
bool retention_is_on(const struct config *config);

/* How long posts to many are kept for users who do not come, in ms. */
uint64_t retention_keep_posts_ms(const struct config *config);

/* Fill in what is kept of whom, as the settings are now; not the sweep in it. */
void retention_ask(struct retention_walk *walk, const struct config *config);

/* A step has been answered: count it, and tell the operator when the walk falls behind. */
void retention_tell(struct retention_walk *walk, struct shard_stats *stats);

/* Nothing is taken of any inbox now: nothing is late. */
void retention_rest(struct retention_walk *walk, struct shard_stats *stats);

/* Free what retention_ask has made. */
void retention_finish(struct retention_walk *walk);

#endif
