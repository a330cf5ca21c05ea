/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One thread plays all shards; each step is drawn, and what was handled is mixed into a number that
 * two runs must share.
 */
#include "tests/support/det_sched.h"

#include "codec/base/map.h"
#include "codec/base/mem.h"
#include "codec/base/rand.h"
#include "tests/support/tape.h"

enum { STEPS_MAX = 10 * 1000 * 1000 };

struct det_shard {
    struct det_sched *det;
    struct sched *sched;
    bool runnable; /* woken, or its last run left something */
    bool unflushed; /* has run since its last flush */
};

struct det_sched {
    struct actor_system *system;
    unsigned shard_count;
    struct rand dice;
    uint64_t now_ms;
    uint64_t hash;
    void (*turn_end)(void *context, struct sched *sched);
    void *turn_end_context;
    struct det_shard shards[SHARD_MAX];
};

static void on_wake(void *context)
{
    struct det_shard *shard = context;
    shard->runnable = true;
}

static void mix(uint64_t *hash, uint64_t value)
{
    *hash = (*hash ^ value) * UINT64_C(0x9e3779b97f4a7c15);
    *hash ^= *hash >> 29;
}

/* What holds for every message that is handled: its actor lives, its mailbox is within its bound.
 */
static void check_handled(const struct actor *actor, const struct msg *msg)
{
    CHECK(actor_get(actor->sched, actor->self) == actor);
    CHECK(msg->kind->lane != LANE_SHED || actor->shed_queued < actor->behaviour->shed_bound);
}

static void on_trace(
    void *context, enum sched_trace event, const struct actor *actor, const struct msg *msg)
{
    struct det_shard *shard = context;
    uint64_t *hash = &shard->det->hash;
    if (event == SCHED_TRACE_HANDLED) {
        check_handled(actor, msg);
    }
    mix(hash, sched_shard(shard->sched));
    mix(hash, (uint64_t)event);
    mix(hash, actor ? actor->self.slot : 0);
    mix(hash, actor ? actor->self.generation : 0);
    mix(hash, msg->kind->behaviour->id);
    mix(hash, msg->kind->index);
    mix(hash, msg->to.shard);
}

static void set_time(struct det_sched *det, struct sched *sched)
{
    uint64_t wall_ms = det->now_ms - DET_MONO_START_MS + DET_WALL_START_MS;
    sched_set_time(sched, det->now_ms, wall_ms);
}

struct det_sched *det_sched_create(uint64_t seed, unsigned shards)
{
    hash_fix_seed(seed);
    struct det_sched *det = mem_alloc(sizeof(*det));
    det->system = actor_system_create(shards);
    det->shard_count = shards;
    det->now_ms = DET_MONO_START_MS;
    rand_init(&det->dice, seed);
    for (unsigned i = 0; i < shards; i++) {
        struct det_shard *shard = &det->shards[i];
        *shard = (struct det_shard){.det = det, .sched = actor_system_sched(det->system, i)};
        sched_bind(shard->sched, on_wake, shard, NULL);
        sched_set_trace(shard->sched, on_trace, shard);
        set_time(det, shard->sched);
        timer_wheel_advance(sched_timers(shard->sched), det->now_ms);
    }
    return det;
}

void det_sched_destroy(struct det_sched *det)
{
    if (det != NULL) {
        actor_system_destroy(det->system);
        mem_free(det);
    }
}

struct actor_system *det_sched_system(struct det_sched *det)
{
    return det->system;
}

void det_sched_set_user(struct det_sched *det, unsigned shard, void *user)
{
    CHECK(shard < det->shard_count);
    sched_bind(det->shards[shard].sched, on_wake, &det->shards[shard], user);
}

void det_sched_set_turn_end(
    struct det_sched *det, void (*fn)(void *context, struct sched *sched), void *context)
{
    det->turn_end = fn;
    det->turn_end_context = context;
}

struct sched *det_sched_on(struct det_sched *det, unsigned shard)
{
    CHECK(shard < det->shard_count);
    det->shards[shard].runnable = true;
    set_time(det, det->shards[shard].sched);
    return det->shards[shard].sched;
}

uint64_t det_sched_dice(struct det_sched *det, uint64_t bound)
{
    return tape_below(&det->dice, bound);
}

/* --- steps --- */

static bool wants_to_run(const struct det_sched *det, const struct det_shard *shard)
{
    return shard->runnable || timer_wheel_next(sched_timers(shard->sched)) <= det->now_ms;
}

/* How many messages a turn may handle: mostly few, so that turns interleave finely. */
static unsigned draw_budget(struct det_sched *det)
{
    switch (tape_below(&det->dice, 4)) {
    case 0:
        return 1;
    case 1:
        return 1 + (unsigned)tape_below(&det->dice, 1000);
    default:
        return 1 + (unsigned)tape_below(&det->dice, 10);
    }
}

static void run_turn(struct det_sched *det, struct det_shard *shard)
{
    set_time(det, shard->sched);
    timer_wheel_advance(sched_timers(shard->sched), det->now_ms);
    shard->runnable = false; /* before the run: a wake-up during it counts */
    if (sched_run(shard->sched, draw_budget(det))) {
        shard->runnable = true;
    }
    if (det->turn_end != NULL) {
        det->turn_end(det->turn_end_context, shard->sched);
    }
    shard->unflushed = true;
}

bool det_sched_step(struct det_sched *det)
{
    struct det_shard *able[SHARD_MAX];
    unsigned count = 0;
    for (unsigned i = 0; i < det->shard_count; i++) {
        struct det_shard *shard = &det->shards[i];
        if (shard->unflushed || wants_to_run(det, shard)) {
            able[count++] = shard;
        }
    }
    if (count == 0) {
        return false;
    }
    struct det_shard *shard = able[tape_below(&det->dice, count)];
    if (shard->unflushed && (tape_below(&det->dice, 2) == 0 || !wants_to_run(det, shard))) {
        sched_flush(shard->sched);
        shard->unflushed = false;
    } else {
        run_turn(det, shard);
    }
    return true;
}

void det_sched_run_until_idle(struct det_sched *det)
{
    for (unsigned steps = 0; det_sched_step(det); steps++) {
        CHECK(steps < STEPS_MAX);
    }
}

void det_sched_advance(struct det_sched *det, uint64_t ms)
{
    uint64_t target = det->now_ms + ms;
    while (det->now_ms < target) {
        det->now_ms += 1 + tape_below(&det->dice, target - det->now_ms);
        uint64_t steps = tape_below(&det->dice, 20);
        while (steps-- > 0 && det_sched_step(det)) {
        }
    }
}

uint64_t det_sched_now(const struct det_sched *det)
{
    return det->now_ms;
}

uint64_t det_sched_hash(const struct det_sched *det)
{
    return det->hash;
}
