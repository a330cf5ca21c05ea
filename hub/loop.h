/* SPDX-License-Identifier: Apache-2.0 */
/*
 * loop - the thread of one shard: a uv loop that drives the shard's sched, timers and outboxes.
 *
 * A turn: (1) libuv callbacks (reads, writes, timers, wake-ups) parse and send messages; (2)
 * messages are handled (sched_run); (3) leaves that are due are flushed; (4) every dirty outbox is
 * written once; (5) messages to other shards are handed over (sched_flush). Steps 2 to 5 run in the
 * loop's check phase, and in its prepare phase for what timers caused; while messages are left, the
 * loop does not block.
 */
#ifndef HUB_LOOP_H
#define HUB_LOOP_H

#include <stdbool.h>
#include <uv.h>

#include "actors/core/sched.h"
#include "codec/base/check.h"

struct loop;
struct shard;

/* Called on the loop's own thread before its first turn, and after its last. */
typedef int (*loop_start_fn)(struct loop *loop, void *context);
typedef void (*loop_stop_fn)(struct loop *loop, void *context);

struct loop_config {
    struct actor_system *system;
    unsigned index; /* shard number */
    struct shard *shard; /* the services its actors see (sched_user) */
    loop_start_fn on_start; /* open listeners, store port …; non-zero: loop_start fails with it */
    loop_stop_fn on_stop;
    void *context;
};

/* Start the thread; returns when on_start has returned, with its status. */
MUST_CHECK int loop_start(const struct loop_config *config, struct loop **ret_loop);

/*
 * Ask the thread to end: on_stop is called on it (it closes what it opened), then the loop runs
 * until no handle is left. Any thread; returns at once.
 */
void loop_stop(struct loop *loop);

/* Wait for the thread's end and free the loop. */
void loop_join(struct loop *loop);

/* The uv loop; its own thread only. */
struct uv_loop_s *loop_uv(struct loop *loop);

/* The shard. */
struct shard *loop_shard(struct loop *loop);

/* The loop that drives `shard`. */
struct loop *loop_of(struct shard *shard);

#endif
