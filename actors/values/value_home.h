/* SPDX-License-Identifier: Apache-2.0 */
/*
 * value_home - which shard of a node a value lives on: its slot, modulo the shards.
 */
#ifndef ACTORS_VALUES_VALUE_HOME_H
#define ACTORS_VALUES_VALUE_HOME_H

#include <stdbool.h>
#include <stdint.h>

#include "actors/core/sched.h"
#include "actors/shard.h"

/* The shard of `slot`. */
static inline unsigned value_home_of(const struct shard *shard, uint32_t slot)
{
    return slot % actor_system_shards(sched_system(shard->sched));
}

/* Whether that is `shard`. */
static inline bool value_home_lives_here(const struct shard *shard, uint32_t slot)
{
    return value_home_of(shard, slot) == sched_shard(shard->sched);
}

#endif
