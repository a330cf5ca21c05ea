/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a loop does with its shard in a turn.
 */
#include "tests/support/one_shard.h"

#include "actors/assembly/shard_floors.h"
#include "actors/core/timer.h"
#include "actors/shard.h"

enum { BUDGET = 1000 };

void one_shard_wake(void *context)
{
    (void)context;
}

void one_shard_turn(struct shard *shard, uint64_t now_ms)
{
    struct sched *sched = shard->sched;
    sched_set_time(sched, now_ms, now_ms);
    timer_wheel_advance(sched_timers(sched), now_ms);
    while (sched_run(sched, BUDGET)) {
    }
    shard_flush(shard);
    sched_flush(sched);
}
