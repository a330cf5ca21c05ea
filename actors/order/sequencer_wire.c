/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a sequencer's broadcasts are on the bus: read from there, written for there.
 */
#include "actors/deliver/broadcast.h"
#include "actors/order/bus_origin.h"
#include "actors/order/sequencer_actor.h"
#include "codec/adapter_wire.h"
#include "codec/base/mem.h"
#include "codec/base/status.h"

/* Flags of an event that travel between nodes. */
static const struct {
    unsigned event;
    unsigned adapter;
} bus_flags[] = {
    {EVENT_VOLATILE, ADAPTER_VOLATILE},
    {EVENT_URGENT, ADAPTER_URGENT},
};

static unsigned to_bus_flags(unsigned flags)
{
    unsigned found = 0;
    for (size_t i = 0; i < ARRAY_LEN(bus_flags); i++) {
        found |= (flags & bus_flags[i].event) ? bus_flags[i].adapter : 0u;
    }
    return found;
}

static unsigned from_bus_flags(unsigned flags)
{
    unsigned found = 0;
    for (size_t i = 0; i < ARRAY_LEN(bus_flags); i++) {
        found |= (flags & bus_flags[i].adapter) ? bus_flags[i].event : 0u;
    }
    return found;
}

struct adapter_emit sequencer_emit_of(
    const struct sequencer *sequencer, const struct broadcast *broadcast, struct bytes uid)
{
    return (struct adapter_emit){
        .uid = uid,
        .nsp = buf_bytes(sequencer->nsp),
        .event = broadcast->event,
        .rooms = broadcast_rooms(broadcast),
        .room_count = broadcast->room_count,
        .except = broadcast_except(broadcast),
        .except_count = broadcast->except_count,
        .flags = to_bus_flags(broadcast->event->flags),
    };
}

/* Copy the names of a message: what the reader hands out is valid until the next one only. */
static uint32_t collect(struct adapter_names *from, struct broadcast_names *names)
{
    struct bytes name;
    uint32_t count = 0;
    for (; adapter_names_next(from, &name); count++) {
        broadcast_names_add(names, name);
    }
    return count;
}

/* Takes over the reference of `event`; STATUS_TOO_LARGE: too many rooms; STATUS_NOMEM. */
static int from_adapter(
    struct adapter_broadcast *message, struct event *event, struct broadcast **ret_broadcast)
{
    struct broadcast_names names;
    size_t max = (size_t)message->rooms.count + message->except.count;
    if (max > BROADCAST_NAMES_MAX) {
        event_unref(event);
        return STATUS_TOO_LARGE;
    }
    broadcast_names_init(&names, (uint32_t)max);
    uint32_t rooms = collect(&message->rooms, &names);
    (void)collect(&message->except, &names);
    *ret_broadcast = broadcast_from_names(event, &names, rooms);
    return *ret_broadcast != NULL ? 0 : STATUS_NOMEM;
}

/*
 * Whether `message`, which came on the channel of `room`, comes on the channel of another of its
 * rooms as well, where it is delivered. Some emitters publish once for each room, and name all
 * rooms each time; of the channels subscribed here the first one counts. (Others use the
 * namespace's.)
 */
static bool is_repeat(
    struct sequencer *sequencer, const struct adapter_broadcast *message, struct bytes room)
{
    struct adapter_names rooms = message->rooms;
    struct bytes name;
    bool earlier = false;
    while (room.len > 0 && adapter_names_next(&rooms, &name)) {
        if (bytes_eq(name, room)) {
            return earlier;
        }
        const struct interest *interest = map_get(&sequencer->interests, name);
        earlier = earlier || (interest != NULL && interest->confirmed);
    }
    return false;
}

/* Without memory, whoever it is for misses it. */
static void refuse_broadcast(
    struct sequencer *sequencer, const struct adapter_broadcast *message, int status)
{
    struct adapter_names rooms = message->rooms;
    struct bytes name;
    shard_count_bus_refused(shard_of(&sequencer->actor), message->uid, status);
    if (status != STATUS_NOMEM) {
        return;
    }
    if (rooms.count == 0) {
        sequencer_lose_here(sequencer, bytes_of(NULL, 0), UINT64_MAX);
    }
    while (adapter_names_next(&rooms, &name)) {
        sequencer_lose_here(sequencer, name, sequencer_shards_of_name(sequencer, name));
    }
}

int sequencer_read_broadcast(struct sequencer *sequencer, const struct adapter_broadcast *message,
    struct broadcast **ret_broadcast)
{
    struct event *event;
    if (!bytes_eq(message->nsp, buf_bytes(sequencer->nsp))) {
        return STATUS_NOT_FOUND;
    }
    const struct actor_config *config = shard_of(&sequencer->actor)->config;
    /* Other nodes pass on what clients of theirs may send, too. */
    size_t most =
        config->posts.args > config->message_bytes ? config->posts.args : config->message_bytes;
    int status = STATUS_TOO_LARGE;
    if (message->data.len <= most + EVENT_NAME_MAX) {
        status = event_from_msgpack(message->data, from_bus_flags(message->flags), &event);
    }
    if (status == 0) {
        struct adapter_broadcast names = *message;
        status = from_adapter(&names, event, ret_broadcast);
    }
    if (status == 0) {
        sequencer_remember(sequencer, *ret_broadcast);
    }
    if (status != 0) {
        refuse_broadcast(sequencer, message, status);
    }
    return status;
}

/* Whether a message is to be delivered, as far as that follows from who published it. */
static bool is_taken(struct sequencer *sequencer, const struct adapter_broadcast *message)
{
    switch (bus_origin_of(shard_of(&sequencer->actor), "broadcast", message->uid)) {
    case BUS_ORIGIN_STOCK:
        return true;
    case BUS_ORIGIN_PEER: /* where the replay stream is read, it comes from there */
        return !sequencer->reads_stream || !(message->flags & ADAPTER_REPLAYED);
    case BUS_ORIGIN_SELF:
    case BUS_ORIGIN_STRANGE:
        break;
    }
    return false;
}

bool sequencer_is_news(
    struct sequencer *sequencer, const struct adapter_broadcast *message, struct bytes room)
{
    return is_taken(sequencer, message) && !is_repeat(sequencer, message, room);
}
