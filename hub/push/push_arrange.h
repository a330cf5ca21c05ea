/* SPDX-License-Identifier: Apache-2.0 */
/*
 * push_arrange - makes hand-offs of what was stored: on shard 0 of each node, some after the other.
 *
 * A pass looks at the inboxes of users with devices that have changed since the pass before
 * (sql/store_push.h), the first one at all. Nodes that do it at the same time pass each other by;
 * where one was locked, or had more than a step takes, the next pass begins there.
 */
#ifndef HUB_PUSH_PUSH_ARRANGE_H
#define HUB_PUSH_PUSH_ARRANGE_H

#include <stdbool.h>
#include <stdint.h>

#include "actors/core/timer.h"
#include "codec/base/log.h"
#include "sql/store_push.h"

struct shard;

/* Embedded; all zero at first. */
struct push_arranger {
    uint64_t arranged; /* jobs that were made */
    uint64_t failures; /* steps that the store did not carry out */
    uint64_t
        late_ms; /* since when none was carried out, at the last failure; 0: the last one was */
    /* private */
    struct shard *shard;
    uint64_t after_ms;
    bool wanted;
    struct timer timer;
    struct store_push_arrange step;
    struct buf *tenant; /* where the step begins */
    struct buf *user;
    uint64_t low; /* where a pass begins */
    uint64_t begin; /* where the next one may */
    uint64_t held;
    uint64_t began_ms; /* the pass, by sched_now */
    uint64_t came_ms; /* when a step was carried out last */
    bool first; /* the step is that of a pass */
    bool busy;
    bool closed;
    struct log_limit log;
};

/* Begin, in `shard`. */
void push_arranger_start(struct push_arranger *arranger, struct shard *shard);

/* Jobs are due `after_ms` behind what they are for; `wanted` false: none are made. */
void push_arranger_set(struct push_arranger *arranger, bool wanted, uint64_t after_ms);

/* Begin to end. */
void push_arranger_stop(struct push_arranger *arranger);

/* Whether a step is under way. */
bool push_arranger_is_busy(const struct push_arranger *arranger);

/* Free what it holds; stopped, and not busy. */
void push_arranger_finish(struct push_arranger *arranger);

#endif
