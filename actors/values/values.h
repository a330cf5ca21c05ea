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

#include "actors/values/values_stats.h"
#include "codec/base/check.h"

struct shard;
struct value_names;
struct value_op;
struct values;

/* Make the part of `shard`, whose bus is open. */
MUST_CHECK struct values *values_create(struct shard *shard);

/* Begin to end: nobody waits any more, nothing is asked. What is under way is answered. */
void values_close(struct values *values);

/* Free it, closed, with no call under way. NULL is allowed. */
void values_destroy(struct values *values);

/* The shard's settings have changed: how much memory it may have, and whether it is wanted. */
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

/* Whether nothing can be asked: Redis is away, or nobody was to use values until now. */
bool values_are_away(const struct values *values);

/* Begin `op`, whose key lives here; op->answered is called, perhaps before this returns. */
void values_begin(struct values *values, struct value_op *op);

#endif
