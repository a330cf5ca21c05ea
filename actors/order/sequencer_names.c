/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Where the sockets are that a name stands for, and what becomes of them when they miss something.
 */
#include "actors/deliver/fanout_proto.h"
#include "actors/order/sequencer_actor.h"
#include "actors/wire_name.h"

uint64_t sequencer_shards_of_name(struct sequencer *sequencer, struct bytes name)
{
    struct actor_system *system = sched_system(sequencer->actor.sched);
    uint64_t shards = 0;
    const struct interest *interest = map_get(&sequencer->interests, name);
    if (interest != NULL) {
        shards = interest->shards;
    }
    char at[WIRE_KEY_MAX];
    struct bytes key;
    unsigned shard;
    if (wire_name_user_key(name, at, &key)) {
        shards |= UINT64_C(1) << actor_system_shard_of(system, key);
    } else if (wire_sid_shard(name, &shard) && shard < actor_system_shards(system)) {
        shards |= UINT64_C(1) << shard;
    }
    return shards;
}

void sequencer_lose_here(struct sequencer *sequencer, struct bytes name, uint64_t shards)
{
    for (unsigned i = 0; i < ARRAY_LEN(sequencer->fanouts); i++) {
        if (shards & UINT64_C(1) << i && ref_is_set(sequencer->fanouts[i])) {
            struct fanout_lost *msg = fanout_lost_new();
            msg->name = buf_new_name(name);
            msg_send(sequencer->actor.sched, sequencer->fanouts[i], msg);
        }
    }
}

void sequencer_remember(const struct sequencer *sequencer, struct broadcast *broadcast)
{
    const struct actor_config *config = shard_of(&sequencer->actor)->config;
    for (uint32_t i = 0; sequencer->remembers && i < broadcast->room_count; i++) {
        struct room_memory_rules rules = {0};
        config->room_memory(
            config->context, wire_name_client(broadcast_rooms(broadcast)[i]), &rules);
        broadcast->remembered = broadcast->remembered || rules.events > 0;
    }
}
