/* SPDX-License-Identifier: Apache-2.0 */
/*
 * value_call - one or many things asked of values, each brought to the shard that its key lives on.
 */
#ifndef ACTORS_VALUES_VALUE_CALL_H
#define ACTORS_VALUES_VALUE_CALL_H

#include <stdbool.h>
#include <stddef.h>

#include "codec/base/check.h"

struct shard;
struct value_call;
struct value_op;

/* All has been answered. On the shard that began it, in a later turn, exactly once. */
typedef void (*value_call_fn)(struct value_call *call);

/* Embedded by who asks; it and `ops` live until `done`. */
struct value_call {
    struct value_op *ops;
    size_t count; /* 1 or more */
    value_call_fn done;
    /* private */
    struct shard *shard;
    size_t pending; /* parcels */
};

/*
 * Begin. Nothing is said of the order of ops. False: there is no memory for it, or the values have
 * ended, and `done` is not called.
 */
MUST_CHECK bool value_call_begin(struct value_call *call, struct shard *shard);

#endif
