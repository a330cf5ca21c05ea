/* SPDX-License-Identifier: Apache-2.0 */
/*
 * values_state - what the files of a shard's part share.
 */
#ifndef ACTORS_VALUES_VALUES_STATE_H
#define ACTORS_VALUES_VALUES_STATE_H

#include "actors/core/timer.h"
#include "actors/values/value_name.h"
#include "actors/values/values_stats.h"
#include "codec/base/list.h"
#include "codec/base/map.h"

struct value_link;
struct value_local;
struct value_memory;
struct value_op;
struct value_redis;

struct values {
    struct shard *shard;
    struct value_names names;
    struct value_memory *memory;
    struct value_local *local; /* NULL: with Redis */
    struct value_redis *redis; /* NULL: without, as the next */
    struct value_link *link;
    struct map flights; /* struct value_flight by name */
    struct list drops; /* value_drop.link: under way */
    uint32_t drop_count;
    uint64_t good_ms; /* when changes were last known to be heard */
    bool closing;
    struct values_stats stats;
};

#endif
