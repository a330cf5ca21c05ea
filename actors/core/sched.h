/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sched - a shard's run queue and its inbox from other threads.
 *
 * One sched per shard, driven by one thread (the shard's loop, or a test): sched_run handles
 * messages, sched_flush hands what was sent to other shards over, with at most one wake-up
 * per destination and turn. The rules at the bounds, in order:
 *  1. The FIFO of a message is its sender shard's line to the receiving shard (a shard has a line
 *     to itself too). Messages of a line for one actor are handled in the order they were sent,
 *     whichever actors sent them, whatever their lanes, by ref or by name.
 *  2. A line counts sent minus handled messages. At SCHED_LINE_BOUND, sched_pressured says so: who
 *     routes peer packets stops reading the peer until it says no again (SCHED_LINE_LOW). The
 *     receiving shard wakes the asking one when it is time to ask again.
 *  3. A mailbox that holds more SHED messages than its behaviour's bound loses the oldest of them,
 *     counted, at the latest when they would be handled.
 *  4. CONTROL messages are never refused or dropped.
 *  5. An actor handles at most SCHED_ACTOR_BATCH messages before the next one's turn.
 */
#ifndef ACTORS_CORE_SCHED_H
#define ACTORS_CORE_SCHED_H

#include <stdbool.h>
#include <stdint.h>

#include "actors/core/actor.h"
#include "actors/core/sched_types.h"
#include "actors/core/timer.h"
#include "codec/base/check.h"

struct sched;
struct actor_system;

/* Make a system of `shard_count` (1 to SHARD_MAX) shards; destroyed after its scheds' threads
 * ended. */
MUST_CHECK struct actor_system *actor_system_create(unsigned shard_count);

/*
 * Destroy the system: every actor is stopped and destroyed, every message in flight dropped. No
 * shard thread may be running, and no thread may send or post any more.
 */
void actor_system_destroy(struct actor_system *system);

/* Return the number of shards. Any thread. */
unsigned actor_system_shards(const struct actor_system *system);

/* Return the sched of `shard`. Any thread, but what it is used for then decides. */
struct sched *actor_system_sched(struct actor_system *system, unsigned shard);

/* Return the shard that `key` (user, room, namespace …) lives on; the same on every thread. */
unsigned actor_system_shard_of(const struct actor_system *system, struct bytes key);

/* Set who sees the shard's messages; NULL: nobody. */
TEST_SEAM void sched_set_trace(struct sched *sched, sched_trace_fn fn, void *context);

/* Set how to wake the thread of `sched`, and an arbitrary pointer for the actors (sched_user). */
void sched_bind(struct sched *sched, sched_wake_fn wake, void *wake_context, void *user);

/* Return the pointer set with sched_bind: the shard's services as the actors see them. */
void *sched_user(const struct sched *sched);

/* Return the shard number. */
unsigned sched_shard(const struct sched *sched);

/* Return the system. */
struct actor_system *sched_system(const struct sched *sched);

/* Set the shard's time for the turn that begins: monotonic and wall clock in milliseconds. */
void sched_set_time(struct sched *sched, uint64_t mono_ms, uint64_t wall_ms);

/* The time of the current turn, monotonic: for deadlines. */
uint64_t sched_now(const struct sched *sched);

/* The time of the current turn, wall clock in ms since 1970: for what users see. */
uint64_t sched_wall(const struct sched *sched);

/* The shard's timing wheel. */
struct timer_wheel *sched_timers(struct sched *sched);

/*
 * Send `msg` to `to`; takes it. From the thread of `sched` (the sender's shard). A stale or
 * all-zero ref drops it.
 */
void msg_send(struct sched *sched, struct actor_ref to, void *msg);

/*
 * Send `msg` by name: to the actor of the kind's behaviour whose key is kind->key(msg), on
 * `shard`. Without such an actor it is dropped, or the actor is spawned if the kind creates.
 */
void msg_send_named(struct sched *sched, unsigned shard, void *msg);

/* The same to the shard that the key lives on (actor_system_shard_of). */
void msg_send_home(struct sched *sched, void *msg);

/* Send from a thread that is no shard (store writer, signal thread); delivered with one wake-up. */
TEST_SEAM void msg_send_foreign(struct actor_system *system, struct actor_ref to, void *msg);

/*
 * Call `fn(arg)` on the thread of `shard` within its next turn; posts are called in the order of
 * sched_post, a foreign message sent before one may be handled after it. Any thread. What `arg`
 * owns must survive a system that is destroyed first: then `cancelled` is true.
 */
void sched_post(
    struct actor_system *system, unsigned shard, void (*fn)(void *arg, bool cancelled), void *arg);

/* Whether the line from this shard to `shard` is at its bound, or not yet back to the low mark. */
bool sched_pressured(struct sched *sched, unsigned shard);

/*
 * Take in what other threads sent and handle at most `budget` messages. Returns whether there is
 * more to do at once. Not from inside a handler.
 */
bool sched_run(struct sched *sched, unsigned budget);

/*
 * Take in what other threads have sent so far, without handling it: what is sent on this shard from
 * now on comes behind it. Before anything is read from outside, so that what follows from a message
 * does not overtake it. The shard's thread.
 */
void sched_take_in(struct sched *sched);

/*
 * Hand over what was sent to other shards since the last call; wakes each at most once. Wakes the
 * own shard if something was sent to it after sched_run, by a timer's function for example.
 */
void sched_flush(struct sched *sched);

/* Bytes of the tables that name the actors of `behaviour`, which are known by key. */
uint64_t sched_actor_tables(const struct sched *sched, const struct behaviour *behaviour);

/* How many actors of `behaviour` live here that are known by key. */
uint64_t sched_actors_of(const struct sched *sched, const struct behaviour *behaviour);

/* The counters as they are now. */
const struct sched_stats *sched_stats(const struct sched *sched);

/* Read the counters as they were at the end of the shard's last turn. Any thread. */
TEST_SEAM void sched_stats_read(const struct sched *sched, struct sched_stats *ret_stats);

#endif
