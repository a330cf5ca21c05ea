/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Compares the resident set with the limit, tells the log, and says how much is to go.
 */
#include "hub/node/memory_guard.h"

#include <stdio.h>

#include <uv.h>

#include "codec/base/log.h"
#include "codec/base/mem.h"

enum {
    HYSTERESIS_PERCENT = 5,
    RESERVE_BYTES = 1 << 20, /* address space of each thread, for what is under way when it ends */
    EXCESSES_MAX = 10, /* by then all outboxes go */
    SECOND_MS = 1000,
    STEP_MIN = 256 << 10,
    STEP_PART = 8,
};

void memory_guard_start(void)
{
    /* libuv ends the process when a small allocation fails. */
    CHECK(uv_replace_allocator(mem_lib_malloc, mem_lib_realloc, mem_lib_calloc, mem_free) == 0);
    if (!mem_keep_reserve(RESERVE_BYTES)) {
        log_warn(
            "MEMORY-RESERVE", "there is no address space for a reserve", "bytes=%d", RESERVE_BYTES);
    }
}

void memory_guard_keep(void)
{
    bool kept = mem_keep_reserve(RESERVE_BYTES);
    (void)kept; /* mem_is_low says so as long as it is not */
}

void memory_guard_init(struct memory_guard *guard, const char *root)
{
    CHECK(pthread_mutex_init(&guard->lock, NULL) == 0);
    memory_limits_init(&guard->limits, root);
    trimmer_init(&guard->trimmer, &guard->limits);
}

void memory_guard_run(struct memory_guard *guard)
{
    if (!trimmer_start(&guard->trimmer)) {
        log_warn("MEMORY-TRIM", "there is no thread that gives free memory back to the kernel",
            "bytes=%llu", (unsigned long long)memory_limits_resident(&guard->limits));
    }
}

void memory_guard_finish(struct memory_guard *guard)
{
    trimmer_finish(&guard->trimmer);
    memory_limits_finish(&guard->limits);
    pthread_mutex_destroy(&guard->lock);
}

uint64_t memory_guard_resident(const struct memory_guard *guard)
{
    return memory_limits_resident(&guard->limits);
}

/* What a look sees, with the lock. */
struct view {
    struct memory_level process;
    struct memory_level group;
    struct memory_level nearest; /* of the two, the one with less room */
};

static int64_t room_of(const struct memory_level *level)
{
    return (int64_t)(level->limit - level->used);
}

static struct view view_all(const struct memory_guard *guard)
{
    struct view view = {
        .process = memory_limits_process(&guard->limits, guard->configured),
        .group = memory_limits_group(&guard->limits),
    };
    bool group = view.group.end != 0 && room_of(&view.group) < room_of(&view.process);
    view.nearest = group ? view.group : view.process;
    return view;
}

static void begin(struct memory_guard *guard, const struct memory_level *level)
{
    atomic_store_explicit(&guard->full, true, memory_order_relaxed);
    const char *what = level->used <= level->limit ? "allocations fail"
                       : level->end != 0           ? "the cgroup is nearly full"
                                                   : "limits.memory is passed";
    char text[96];
    snprintf(text, sizeof(text), "%s: refusing new clients, then the slowest go", what);
    log_warn("MEMORY-FULL", text, "bytes=%llu limit=%llu end=%llu", (unsigned long long)level->used,
        (unsigned long long)level->limit, (unsigned long long)level->end);
}

static void end_below(struct memory_guard *guard, const struct memory_level *level)
{
    if (level->used > level->limit - level->limit / 100 * HYSTERESIS_PERCENT) {
        return;
    }
    atomic_store_explicit(&guard->full, false, memory_order_relaxed);
    log_info("MEMORY-OK", "memory is below its limit again",
        "bytes=%llu limit=%llu refused=%llu ended=%llu", (unsigned long long)level->used,
        (unsigned long long)level->limit,
        (unsigned long long)atomic_load_explicit(&guard->refused, memory_order_relaxed),
        (unsigned long long)atomic_load_explicit(&guard->shed, memory_order_relaxed));
}

/*
 * Half way from the limit of the group to its end, all that may be refused is: requests, messages
 * and answers too. What is let go since the limit was passed was not enough, or not fast enough.
 */
static void refuse_at_end(struct memory_guard *guard, const struct memory_level *group)
{
    bool past = group->used > group->limit + (group->end - group->limit) / 2;
    bool below = group->used <= group->limit;
    if (!guard->refusing && past) {
        guard->refusing = true;
        mem_refuse(true);
        log_error("MEMORY-END", "the cgroup is at its end: whatever needs memory is refused",
            "bytes=%llu limit=%llu end=%llu", (unsigned long long)group->used,
            (unsigned long long)group->limit, (unsigned long long)group->end);
    } else if (guard->refusing && below) {
        guard->refusing = false;
        mem_refuse(false);
    }
}

/* Whom it hit was refused; here the operator is told. */
static void tell_failures(struct memory_guard *guard, uint64_t used)
{
    uint64_t failures = mem_failures();
    if (failures != guard->failures) {
        log_error("NO-MEMORY", "allocations failed, whom they were for was refused",
            "count=%llu total=%llu bytes=%llu", (unsigned long long)(failures - guard->failures),
            (unsigned long long)failures, (unsigned long long)used);
        guard->failures = failures;
    }
}

/* More go each time, until it helps: they may share what waits, and leave holes in the heap. */
static uint64_t excess_of(const struct memory_guard *guard, const struct memory_level *level)
{
    uint64_t excess = level->used > level->limit ? level->used - level->limit
                      : mem_is_low()             ? RESERVE_BYTES
                                                 : 0;
    return excess << guard->excesses;
}

uint64_t memory_guard_excess(struct memory_guard *guard)
{
    pthread_mutex_lock(&guard->lock);
    struct view view = view_all(guard);
    uint64_t excess = excess_of(guard, &view.nearest);
    pthread_mutex_unlock(&guard->lock);
    return excess;
}

static void note_excess(struct memory_guard *guard, bool excess, uint64_t now_ms)
{
    if (!excess) {
        guard->excesses = 0;
        guard->over_ms = 0;
    } else if (guard->over_ms == 0) {
        guard->over_ms = now_ms;
    } else if (now_ms - guard->over_ms >= MEMORY_FREED_MS && guard->excesses < EXCESSES_MAX) {
        guard->excesses++;
        guard->over_ms = now_ms;
    }
}

/* How many clients may come and how much a shard may take until the next look. */
static void make_room(struct memory_guard *guard, const struct memory_level *level)
{
    uint64_t room = level->used < level->limit ? level->limit - level->used : 0;
    uint64_t step = room / STEP_PART > STEP_MIN ? room / STEP_PART : STEP_MIN;
    atomic_store_explicit(
        &guard->room, (long long)(room / MEMORY_CLIENT_BYTES), memory_order_relaxed);
    atomic_store_explicit(&guard->step, step, memory_order_relaxed);
}

/*
 * Whether what is free in the heap is being given back to the kernel, and will have been in a
 * moment: nobody need go before that, unless the kernel is about to run out of memory.
 */
static bool waits_for_trim(struct memory_guard *guard, const struct memory_level *group)
{
    bool waits = trimmer_ask(&guard->trimmer);
    bool near_end = group->used > group->limit + (group->end - group->limit) / 4;
    return waits && !near_end && !mem_is_low();
}

static void publish(struct memory_guard *guard, const struct view *view)
{
    atomic_store_explicit(&guard->limit, view->process.limit, memory_order_relaxed);
    atomic_store_explicit(&guard->group_bytes, view->group.used, memory_order_relaxed);
    atomic_store_explicit(&guard->group_limit, view->group.limit, memory_order_relaxed);
}

/* `second`: it is a second since this was so last. */
static uint64_t look(struct memory_guard *guard, bool second, uint64_t now_ms)
{
    struct view view = view_all(guard);
    bool was_full = atomic_load_explicit(&guard->full, memory_order_relaxed);
    bool over = view.nearest.used > view.nearest.limit || mem_is_low();
    if (over) {
        mem_ask_back();
    }
    bool waits = (over || (was_full && second)) && waits_for_trim(guard, &view.group);
    bool low = mem_is_low();
    bool too_much = over && !waits;
    if (too_much && !was_full) {
        begin(guard, &view.nearest);
    } else if (was_full && !low) {
        end_below(guard, &view.nearest);
    }
    note_excess(guard, too_much, now_ms);
    refuse_at_end(guard, &view.group);
    make_room(guard, &view.nearest);
    publish(guard, &view);
    return too_much ? excess_of(guard, &view.nearest) : 0;
}

uint64_t memory_guard_look(struct memory_guard *guard, uint64_t configured, uint64_t now_ms)
{
    pthread_mutex_lock(&guard->lock);
    guard->configured = configured;
    bool second = now_ms - guard->second_ms >= SECOND_MS || guard->second_ms == 0;
    if (second) {
        guard->second_ms = now_ms;
        memory_limits_find(&guard->limits);
        tell_failures(guard, memory_limits_resident(&guard->limits));
    }
    uint64_t excess = look(guard, second, now_ms);
    pthread_mutex_unlock(&guard->lock);
    return excess;
}

uint64_t memory_guard_step(const struct memory_guard *guard)
{
    return atomic_load_explicit(&guard->step, memory_order_relaxed);
}

bool memory_guard_refuses(struct memory_guard *guard)
{
    bool full = atomic_load_explicit(&guard->full, memory_order_relaxed) || mem_is_low();
    if (!full && atomic_load_explicit(&guard->limit, memory_order_relaxed) > 0) {
        full = atomic_fetch_sub_explicit(&guard->room, 1, memory_order_relaxed) <= 0;
    }
    if (full) {
        atomic_fetch_add_explicit(&guard->refused, 1, memory_order_relaxed);
    }
    return full;
}
