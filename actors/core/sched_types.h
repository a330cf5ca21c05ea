/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sched_types - the bounds of a sched, what it counts, and whom it calls.
 */
#ifndef ACTORS_CORE_SCHED_TYPES_H
#define ACTORS_CORE_SCHED_TYPES_H

#include <stdint.h>

struct actor;
struct msg;

enum { SCHED_ACTOR_BATCH = 100, SCHED_LINE_BOUND = 16384, SCHED_LINE_LOW = 8192 };

/* Make the thread of a shard call sched_run soon. Called on any thread; must coalesce cheaply. */
typedef void (*sched_wake_fn)(void *context);

/* Counters of one shard. */
struct sched_stats {
    uint64_t handled; /* messages handled */
    uint64_t dropped; /* messages to actors that are gone */
    uint64_t shed; /* SHED messages dropped at the bound */
    uint64_t sent_out; /* messages to other shards */
    uint64_t wakes; /* wake-ups of other shards */
    uint64_t actors; /* alive now */
    uint64_t run_queue; /* actors waiting for their turn now */
};

/* What became of a message. */
enum sched_trace { SCHED_TRACE_HANDLED, SCHED_TRACE_DROPPED, SCHED_TRACE_SHED };

/*
 * Sees each message of a shard before it is handled, dropped or shed; `actor` is NULL for one that
 * is dropped. It must not send, start or stop.
 */
typedef void (*sched_trace_fn)(
    void *context, enum sched_trace event, const struct actor *actor, const struct msg *msg);

#endif
