/* SPDX-License-Identifier: Apache-2.0 */
/*
 * loop - the thread of one shard: a uv loop that drives the shard's sched, timers and outboxes.
 *
 * A turn: (1) libuv callbacks (reads, writes, timers, wake-ups) parse and send messages; (2)
 * messages are handled (sched_run); (3) leaves that are due are flushed; (4) every dirty outbox is
 * written once; (5) messages to other shards are handed over (sched_flush). Steps 2 to 5 run in the
 * loop's check phase, and in its prepare phase for what timers, tasks and close callbacks caused;
 * while messages are left, the loop does not block.
 *
 * Life: all loops of a system are created, then started, stopped, joined and destroyed, so that a
 * running loop can always wake every other one.
 */
#ifndef HUB_NET_LOOP_H
#define HUB_NET_LOOP_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "actors/core/sched.h"
#include "codec/base/check.h"
#include "codec/base/list.h"

struct loop;
struct shard;

/* Called on the loop's own thread before its first turn, and when it was asked to stop. */
typedef int (*loop_start_fn)(struct loop *loop, void *context);
typedef void (*loop_stop_fn)(struct loop *loop, void *context);

/* Called when messages were handled and before anything is written, and again before the loop
 * waits. */
typedef void (*loop_turn_fn)(void *context);

struct loop_config {
    struct actor_system *system;
    unsigned index; /* shard number */
    struct shard *shard; /* the services its actors see (sched_user); its `loop` is set to this */
    loop_start_fn on_start; /* open listeners, store port …; non-zero: loop_start fails with it */
    loop_stop_fn on_stop; /* not when on_start failed, unless lasting; may be NULL, as on_start */
    loop_turn_fn on_turn; /* may be NULL */
    loop_turn_fn on_end; /* the last thing that its thread does; may be NULL */
    void *context;
    bool lasting; /* it runs until loop_end, also when on_start failed: for who ends in steps */
};

/*
 * Make a loop and bind the sched to it (sched_bind). Before any loop of the system is started.
 * STATUS_IO when the kernel refuses (descriptors).
 */
MUST_CHECK int loop_create(const struct loop_config *config, struct loop **ret_loop);

/* Start the thread; returns when on_start has returned, with its status (unless it is 0 or the loop
 * is lasting, the thread has ended then). */
MUST_CHECK int loop_start(struct loop *loop);

/*
 * Ask the thread to end: on_stop is called on it (it closes what it opened), then connections that
 * are left are closed (CLOSE_DRAINING), and the loop runs until no handle is left. Any thread;
 * returns at once.
 */
void loop_stop(struct loop *loop);

/* Let a lasting loop that was stopped end, as soon as no handle is left. Any thread; returns at
 * once. */
void loop_end(struct loop *loop);

/* Wait for the thread's end; nothing when it was not started or failed to. */
void loop_join(struct loop *loop);

/* Free the loop, when every loop of the system was joined and nobody posts to it any more. */
void loop_destroy(struct loop *loop);

/* The uv loop; its own thread only. */
struct uv_loop_s *loop_uv(struct loop *loop);

/* The shard. */
struct shard *loop_shard(struct loop *loop);

/* The loop that drives `shard`. */
struct loop *loop_of(struct shard *shard);

/*
 * Bring the shard's time up to date and take in what other shards have sent: first thing in every
 * libuv callback of hub/. What a peer does because of an answer that another shard gave it comes
 * behind what that shard had sent before it answered.
 */
void loop_begin(struct loop *loop);

/* A number that is another one in every turn. */
uint64_t loop_turn(const struct loop *loop);

/* Something to do in the loop's next turn; embedded by who defers. */
struct loop_task {
    void (*fn)(struct loop_task *task);
    /* private */
    struct list link; /* loop.tasks */
};

/* Make a task; once, before any other call on it. */
void loop_task_init(struct loop_task *task, void (*fn)(struct loop_task *task));

/* Call `task->fn` in the next turn, not in this one; nothing when it waits already. */
void loop_defer(struct loop *loop, struct loop_task *task);

/* Do not call it. */
void loop_task_cancel(struct loop_task *task);

/* What a module of hub/ keeps for each loop; embedded first. */
enum loop_slot {
    LOOP_CONNECTIONS,
    LOOP_WEBSOCKETS,
    LOOP_DEFLATE,
    LOOP_HTTP,
    LOOP_TLS,
    LOOP_SLOT_COUNT
};
struct loop_local {
    void (*stop)(struct loop_local *local); /* the loop stops: close handles; may be NULL */
    void (*destroy)(struct loop_local *local); /* the loop has ended: free it */
};

/* Set, or get (NULL before), the module's part; on the loop's thread. */
void loop_set_local(struct loop *loop, enum loop_slot slot, struct loop_local *local);
struct loop_local *loop_get_local(const struct loop *loop, enum loop_slot slot);

#endif
