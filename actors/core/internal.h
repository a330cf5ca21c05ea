/* SPDX-License-Identifier: Apache-2.0 */
/*
 * internal - what actor_life.c, sched.c and system.c share. Private to actors/core.
 */
#ifndef ACTORS_CORE_INTERNAL_H
#define ACTORS_CORE_INTERNAL_H

#include <stdalign.h>
#include <stdbool.h>
#include <stdint.h>

#include "actors/core/mailbox.h"
#include "actors/core/registry.h"
#include "actors/core/sched_types.h"
#include "actors/core/timer.h"
#include "codec/base/list.h"
#include "codec/base/published.h"

/* Stands where msg.to holds the sender's shard; such a message travels in no line. */
enum { SHARD_FOREIGN = 255 };

/* struct actor.flags */
enum actor_flags {
    ACTOR_QUEUED = 1u << 0, /* in sched.run_queue */
    ACTOR_STOPPED = 1u << 1, /* in sched.stopped, or being destroyed */
};

struct sched {
    /* shared */
    struct inbox inbox;
    alignas(CACHE_LINE) _Atomic(uint64_t) published[PUBLISHED_WORDS(struct sched_stats)];
    /* set once */
    alignas(CACHE_LINE) struct actor_system *system;
    unsigned shard;
    sched_wake_fn wake;
    void *wake_context;
    void *user;
    sched_trace_fn trace;
    void *trace_context;
    /* owner only */
    bool calling; /* inside a handler, a spawn or a posted function */
    bool running; /* inside sched_run */
    bool unseen; /* since the last sched_run, work has come up for the next one */
    uint64_t mono_ms;
    uint64_t wall_ms;
    uint64_t dirty; /* bit by shard: lines from here that have a chain to hand over */
    uint64_t credited; /* bit by shard: `handled` is not zero */
    uint32_t handled[SHARD_MAX]; /* by sender's shard, since the last turn's end */
    struct fifo arrived; /* drained, sent to the own shard: not yet in a mailbox */
    struct list run_queue; /* of actor.run */
    struct list stopped; /* of actor.run: to be destroyed when the current call has returned */
    struct sched_stats stats;
    struct timer_wheel timers;
    struct registry registry;
};

struct actor_system {
    /* set once */
    unsigned shard_count;
    bool closing; /* set when no other thread is left */
    struct sched *scheds; /* by shard */
    struct line *lines; /* [sender's shard * shard_count + receiver's shard] */
};

/* The line from one shard to another. */
static inline struct line *system_line(
    const struct actor_system *system, unsigned from, unsigned to)
{
    return &system->lines[from * system->shard_count + to];
}

/* Count and end a message that found nobody; a posted function is cancelled. */
void sched_drop_msg(struct sched *sched, struct msg *msg);

/* Destroy what was stopped, unless a call is going on. */
void sched_destroy_stopped(struct sched *sched);

#endif
