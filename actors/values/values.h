/* SPDX-License-Identifier: Apache-2.0 */
/*
 * values - a shard's part of the values: those that live on it.
 *
 * Others ask by value_call.h, which brings each op to its shard. What is known here is answered at
 * once, of what is asked of Redis one read serves all who read meanwhile, and who waits for a value
 * that somebody fills is told when it is there.
 */
#ifndef ACTORS_VALUES_VALUES_H
#define ACTORS_VALUES_VALUES_H

#include <stdbool.h>
#include <stdint.h>

#include "codec/base/check.h"

struct shard;
struct value_names;
struct value_op;
struct values;

/* What a shard has done: nothing but uint64_t. */
struct values_stats {
    uint64_t hits; /* reads and leases that found a value, in memory or in Redis */
    uint64_t misses;
    uint64_t stale; /* that were shown what it was */
    uint64_t local; /* hits that were answered from memory */
    uint64_t fills; /* callers that were told to fill */
    uint64_t lost; /* that came too late with it */
    uint64_t writes;
    uint64_t dropped; /* values that tags and prefixes let go */
    uint64_t waiting; /* for who fills, now */
    uint64_t failed; /* what Redis did not answer, or refused */
    uint64_t evicted; /* from memory, for want of room */
    uint64_t items; /* in memory, now */
    uint64_t bytes; /* in memory, now, tables included */
    uint64_t deaf; /* 1: changes of other nodes are not heard, so that each read asks Redis, or
                      Redis refuses what it is asked */
    uint64_t calls; /* begun on this shard and not answered, now */
};

/* Make the part of `shard`, whose bus is open. */
MUST_CHECK struct values *values_create(struct shard *shard);

/* Begin to end: nobody waits any more, nothing is asked. What is under way is answered. */
void values_close(struct values *values);

/* Free it, closed, with no call under way. NULL is allowed. */
void values_destroy(struct values *values);

/* How much memory it may have, from the shard's settings, which have changed. */
void values_reload(struct values *values);

/* Once a second. */
void values_tidy(struct values *values);

/* Its numbers now. */
const struct values_stats *values_get_stats(struct values *values);

/* How its values are called. */
const struct value_names *values_names(const struct values *values);

/* A call was begun on this shard, or has been answered. */
void values_count_call(struct values *values, bool begun);

/* Have all who wait on this shard ask again: something was let go. */
void values_wake_all(struct values *values);

/* Begin `op`, whose key lives here; value_call_answered is told, perhaps before this returns. */
void values_begin(struct values *values, struct value_op *op);

#endif
