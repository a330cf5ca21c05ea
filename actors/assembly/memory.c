/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What actors take, measured by counts times sizes: nothing is walked but the fan-outs of the
 * shard.
 */
#include "actors/assembly/memory.h"

#include "actors/behaviours.h"
#include "actors/deliver/fanout.h"
#include "actors/deliver/retained.h"
#include "actors/recover/room_memory.h"
#include "actors/room_proto.h"
#include "actors/rooms/room.h"
#include "actors/shard.h"
#include "actors/user/user_actor.h"
#include "codec/base/mem.h"

enum { NAME_LEN = 8 }; /* that the id of a user is taken to have */

static void add_leaves(const struct shard *shard, struct actor_memory *memory)
{
    list_for_each (link, &shard->fanouts) {
        const struct fanout *fanout = container_of(link, struct fanout, shard_link);
        memory->rooms += map_bytes(&fanout->leaves.map) +
                         map_count(&fanout->leaves.map) * mem_cost(sizeof(struct leaf) + NAME_LEN) +
                         fanout->leaves.member_slots * sizeof(struct socket *);
    }
}

void actor_memory_measure(struct shard *shard, struct actor_memory *ret_memory)
{
    const struct shard_stats *stats = &shard->stats;
    const struct sched *sched = shard->sched;
    size_t identity = sizeof(struct identity) + offsetof(struct claims, text) + NAME_LEN;
    unsigned shards = actor_system_shards(sched_system(sched));
    *ret_memory = (struct actor_memory){
        .sockets = stats->sockets * sizeof(struct socket) + map_bytes(&shard->sockets),
        .identities = stats->sockets * mem_cost(identity),
        .users = stats->users * mem_cost(sizeof(struct user) + NAME_LEN) +
                 stats->busy_users * mem_cost(sizeof(struct user_busy)) + stats->waiting_bytes +
                 stats->audience_bytes + stats->announce_waiting_bytes +
                 stats->history.waiting_bytes + sched_actor_tables(sched, &user_behaviour),
        .rooms = stats->rooms * room_cost(shards) + sched_actor_tables(sched, &room_behaviour) +
                 room_memory_cost(stats, shards) + stats->retain.bytes +
                 stats->retain.values * mem_cost(sizeof(struct retained_value)) * shards,
        .names = stats->interest_bytes,
        .timers = sizeof(struct timer_wheel),
    };
    add_leaves(shard, ret_memory);
}
