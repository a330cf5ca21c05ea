/* SPDX-License-Identifier: Apache-2.0 */
/*
 * value_census - what the values of a node are: its numbers, and how many a tenant has in memory,
 * by the beginning of their keys.
 */
#ifndef ACTORS_VALUES_VALUE_CENSUS_H
#define ACTORS_VALUES_VALUE_CENSUS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "actors/values/value_name.h"
#include "actors/values/values.h"
#include "codec/base/check.h"
#include "codec/base/map.h"

struct shard;
struct value_census;

enum {
    VALUE_PREFIXES_MAX = 100, /* that are told; the others are counted as one without a name */
    VALUE_PREFIX_MAX = 64, /* bytes of one that are told */
};

/* Values whose key begins so, up to its first ':'. */
struct value_prefix {
    uint64_t keys;
    uint64_t bytes;
    size_t len;
    char name[VALUE_PREFIX_MAX];
};

/* All have answered. On the shard that began it, in a later turn, exactly once. */
typedef void (*value_census_fn)(struct value_census *census);

struct value_census {
    size_t tenant_len;
    char tenant[NAMES_TENANT_MAX];
    value_census_fn done;

    struct values_stats stats; /* of the node, whatever the tenant */
    struct map prefixes; /* struct value_prefix by name */
    bool redis; /* it has answered: */
    uint64_t used_bytes;
    uint64_t max_bytes; /* 0: no limit */

    /* private */
    struct shard *shard;
    size_t parts; /* shards, and Redis */
};

/* Begin; false: no memory, or the values have ended, and `done` is not called. */
MUST_CHECK bool value_census_begin(struct value_census *census, struct shard *shard);

/* Free the prefixes. */
void value_census_finish(struct value_census *census);

#endif
