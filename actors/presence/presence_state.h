/* SPDX-License-Identifier: Apache-2.0 */
/*
 * presence_state - what the files of a shard's part share, and what questions ask of it.
 */
#ifndef ACTORS_PRESENCE_PRESENCE_STATE_H
#define ACTORS_PRESENCE_PRESENCE_STATE_H

#include <stdbool.h>
#include <stdint.h>

#include "actors/presence/presence_part.h"
#include "actors/presence/presence_stats.h"
#include "codec/base/check.h"

struct presence_redis;
struct presence_view;
struct presence_watch;
struct shard;

struct presence {
    struct shard *shard;
    struct presence_parts parts; /* redis NULL: without a bus, or it has ended */
    struct presence_stats stats;
    struct presence_watch *watch;
    uint64_t good_ms; /* when all parts were fresh last, or Redis was not there */
    struct presence_part part[PRESENCE_PARTS_MAX];
};

/* Its connection to Redis; NULL: there is none, or it is down. */
struct presence_redis *presence_state_redis(const struct presence *presence);

/*
 * The sums over all parts and nodes, as nodes told last; `*ret_complete`: no place that has ended
 * is counted. False: they are not known now.
 */
MUST_CHECK bool presence_state_sum(
    const struct presence *presence, struct presence_view *ret_sums, bool *ret_complete);

#endif
