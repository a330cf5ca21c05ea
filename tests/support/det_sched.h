/* SPDX-License-Identifier: Apache-2.0 */
/*
 * det_sched - all shards of a system on one thread, interleaved by one seed, under a fake clock.
 *
 * The seed decides which shard runs, how many messages it handles, when it hands over what it
 * has sent, and when time moves: orders that threads take once in a million turns. A shard runs
 * only when its thread would: it was woken, has more to do, or a timer is due. So a lost wake-up
 * shows as a message that never arrives. The same seed gives the same order, in every process:
 * a failure is repeated with its seed. One det_sched at a time.
 */
#ifndef TESTS_SUPPORT_DET_SCHED_H
#define TESTS_SUPPORT_DET_SCHED_H

#include <stdbool.h>
#include <stdint.h>

#include "actors/core/sched.h"

struct det_sched;

/* When the fake clock starts: monotonic, and wall clock. */
enum { DET_MONO_START_MS = 1000000 };
#define DET_WALL_START_MS UINT64_C(1700000000000)

/* Make a system of `shards` shards. Before anything in the process was hashed. */
struct det_sched *det_sched_create(uint64_t seed, unsigned shards);

/* Destroy it with its system, whatever is under way. */
void det_sched_destroy(struct det_sched *det);

/* Return the system. */
struct actor_system *det_sched_system(struct det_sched *det);

/* Set the pointer that actors on `shard` get from sched_user. */
void det_sched_set_user(struct det_sched *det, unsigned shard, void *user);

/*
 * Set what the host of a shard does in each turn besides running actors (flush outboxes …): called
 * with `context` after every sched_run of any shard.
 */
void det_sched_set_turn_end(
    struct det_sched *det, void (*fn)(void *context, struct sched *sched), void *context);

/*
 * Return the sched of `shard` for the test to act as something on its thread, a socket that was
 * read for example: start an actor, send. The shard will run.
 */
struct sched *det_sched_on(struct det_sched *det, unsigned shard);

/* A number below `bound` out of the seed, for what the test itself decides. */
uint64_t det_sched_dice(struct det_sched *det, uint64_t bound);

/*
 * Do one thing that the seed decides, without moving time. Returns false when nobody has anything
 * to do.
 */
bool det_sched_step(struct det_sched *det);

/*
 * Step until nobody has anything to do, without moving time; aborts after ten million steps: then
 * actors keep each other busy for ever.
 */
void det_sched_run_until_idle(struct det_sched *det);

/*
 * Move time on by `ms`, in pieces that the seed decides, with some steps between. Messages may be
 * under way and timers not yet called when it returns: det_sched_run_until_idle does the rest.
 */
void det_sched_advance(struct det_sched *det, uint64_t ms);

/* The fake clock now, monotonic. */
uint64_t det_sched_now(const struct det_sched *det);

/* A hash of all that was handled, dropped and shed so far: where, what, by whom, in order. */
uint64_t det_sched_hash(const struct det_sched *det);

#endif
