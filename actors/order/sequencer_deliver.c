/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What leaves a sequencer: a broadcast with its number, to the shards with interest; and to the
 * bus what other nodes are told.
 */
#include "actors/order/sequencer_actor.h"

#include "actors/deliver/fanout_proto.h"
#include "actors/order/bus_origin.h"
#include "codec/adapter_wire.h"
#include "codec/base/status.h"

enum { CHANNEL_MAX = 1024, PUBLISH_TIMEOUT_MS = 5000 };

static uint64_t shards_of(struct sequencer *sequencer, const struct broadcast *broadcast)
{
    if (broadcast->room_count == 0 || sequencer->recovers || broadcast->remembered ||
        broadcast->retain != NULL) {
        return UINT64_MAX;
    }
    uint64_t shards = 0;
    for (uint32_t i = 0; i < broadcast->room_count; i++) {
        shards |= sequencer_shards_of_name(sequencer, broadcast_rooms(broadcast)[i]);
    }
    return shards;
}

static uint32_t counter_of(struct bytes name)
{
    return (uint32_t)hash_bytes(name) & (SEQUENCER_FLYING - 1);
}

static void count_flying(struct sequencer *sequencer, const struct broadcast *broadcast, bool more)
{
    for (uint32_t i = 0; i < broadcast->room_count; i++) {
        sequencer->flying[counter_of(broadcast_rooms(broadcast)[i])] += more ? 1U : -1U;
    }
    if (broadcast->room_count == 0) {
        sequencer->flying[counter_of(bytes_of(NULL, 0))] += more ? 1U : -1U;
    }
}

void sequencer_fly(struct sequencer *sequencer, struct broadcast *broadcast)
{
    broadcast->pending = true;
    count_flying(sequencer, broadcast, true);
}

bool sequencer_is_behind(const struct sequencer *sequencer, const struct broadcast *broadcast)
{
    if (broadcast->room_count == 0) {
        return sequencer->flying[counter_of(bytes_of(NULL, 0))] > 0;
    }
    for (uint32_t i = 0; i < broadcast->room_count; i++) {
        if (sequencer->flying[counter_of(broadcast_rooms(broadcast)[i])] > 0) {
            return true;
        }
    }
    return false;
}

void sequencer_deliver(struct sequencer *sequencer, struct broadcast *broadcast, bool from_bus)
{
    struct sched *sched = sequencer->actor.sched;
    if (broadcast->pending) {
        broadcast->pending = false;
        count_flying(sequencer, broadcast, false);
    }
    sequencer_kept_pass(sequencer, broadcast);
    uint64_t shards = shards_of(sequencer, broadcast);
    broadcast->number = ++sequencer->number;
    if ((broadcast->remembered || broadcast->retain != NULL) &&
        shard_of(&sequencer->actor)->bus == NULL) {
        broadcast->stream = (struct stream_id){.ms = sequencer->born_ms, .seq = sequencer->number};
    }
    bool sent = false;
    for (unsigned i = 0; i < actor_system_shards(sched_system(sched)); i++) {
        if (!(shards & UINT64_C(1) << i) || !ref_is_set(sequencer->fanouts[i])) {
            continue;
        }
        sent = true;
        if (from_bus) {
            struct fanout_bus_event *msg = fanout_bus_event_new();
            msg->broadcast = broadcast_ref(broadcast);
            msg_send(sched, sequencer->fanouts[i], msg);
        } else {
            struct fanout_event *msg = fanout_event_new();
            msg->broadcast = broadcast_ref(broadcast);
            msg_send(sched, sequencer->fanouts[i], msg);
        }
    }
    if (!sent) {
        shard_of(&sequencer->actor)->stats.unmatched++;
    }
    broadcast_unref(broadcast);
}

void sequencer_bus_publish(struct sequencer *sequencer, struct bytes channel, struct bytes payload)
{
    if (sequencer->sender == NULL) {
        return;
    }
    const struct bytes argv[] = {BYTES("PUBLISH"), channel, payload};
    shard_of(&sequencer->actor)
        ->bus->ops->command(
            sequencer->sender, argv, ARRAY_LEN(argv), PUBLISH_TIMEOUT_MS, NULL, NULL);
}

void sequencer_bus_broadcast(struct sequencer *sequencer, const struct broadcast *broadcast)
{
    const struct actor_config *config = shard_of(&sequencer->actor)->config;
    struct builder uid = {0};
    bus_origin_write_uid(shard_of(&sequencer->actor), &uid);
    struct adapter_emit emit = sequencer_emit_of(sequencer, broadcast, builder_bytes(&uid));
    struct builder channel = {.max = CHANNEL_MAX};
    struct builder payload = {0};
    adapter_emit_channel(&emit, bytes_str(config->adapter_key), &channel);
    if (!builder_failed(&uid) && !builder_failed(&channel) &&
        adapter_broadcast_encode(&emit, &payload) == 0) {
        sequencer_bus_publish(sequencer, builder_bytes(&channel), builder_bytes(&payload));
    } else {
        shard_count_unencoded(shard_of(&sequencer->actor), broadcast->event->name,
            WIRE_FORMAT_COUNT, STATUS_TOO_LARGE);
    }
    builder_reset(&uid);
    builder_reset(&channel);
    builder_reset(&payload);
}
