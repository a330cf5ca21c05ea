/* SPDX-License-Identifier: Apache-2.0 */
/*
 * value_drop - all values of a tenant let go that have one of some tags, or whose key begins so.
 *
 * With Redis the shard that is asked does it there, some at a time, and all nodes are told by what
 * the scripts announce. Without, each shard goes through its own.
 */
#ifndef ACTORS_VALUES_VALUE_DROP_H
#define ACTORS_VALUES_VALUE_DROP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "actors/values/value_op.h"
#include "codec/base/check.h"

struct shard;
struct value_batch;
struct value_drop;
struct values;

/* It has ended. On the shard that began it, in a later turn, exactly once. */
typedef void (*value_drop_fn)(struct value_drop *drop);

struct value_drop {
    size_t tenant_len;
    char tenant[NAMES_TENANT_MAX];
    struct buf *tags; /* one reference; as value_op.tags. NULL: `prefix` counts */
    size_t prefix_len;
    char prefix[VALUE_KEY_MAX];
    value_drop_fn done;

    enum value_outcome outcome; /* DONE; UNAVAILABLE: Redis is away; UNKNOWN: some went */
    uint64_t count; /* values that went */

    /* private */
    struct list link; /* values.drops */
    struct values *values;
    struct bytes left; /* tags that are still to come */
    struct bytes tag; /* the one under way */
    char cursor[32]; /* of the scan */
    struct value_batch *batch; /* what one step of it found */
    size_t parts; /* shards, or commands, without an answer */
};

/* How a drop begins. */
enum value_drop_start {
    VALUE_DROP_BEGUN,
    VALUE_DROP_BUSY, /* as many as may be are under way */
    VALUE_DROP_AWAY, /* Redis is away, or the values have ended */
};

/* Begin; unless it says BEGUN `done` is not called. */
MUST_CHECK enum value_drop_start value_drop_begin(struct value_drop *drop, struct shard *shard);

#endif
