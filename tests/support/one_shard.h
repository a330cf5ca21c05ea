/* SPDX-License-Identifier: Apache-2.0 */
/*
 * one_shard - the turns of a shard that a test drives by itself, without a loop.
 */
#ifndef TESTS_SUPPORT_ONE_SHARD_H
#define TESTS_SUPPORT_ONE_SHARD_H

#include <stdint.h>

struct shard;

/* For sched_bind: nobody has to be woken. */
void one_shard_wake(void *context);

/* A whole turn at `now_ms`: timers, all messages there are, and what leaves at its end. */
void one_shard_turn(struct shard *shard, uint64_t now_ms);

#endif
