/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What passes a fan-out is numbered, kept, and given its offset; and sent again, as one chunk.
 */
#include "actors/deliver/broadcast.h"
#include "actors/recover/recovery_state.h"
#include "actors/wire_name.h"
#include "codec/json_write.h"

static struct event *append(const struct event *event, struct bytes value)
{
    struct event *longer;
    return event_append_json(event, value, &longer) == 0 ? longer : NULL;
}

struct event *recovery_mark_text(
    const struct recovery *recovery, const struct event *event, struct replay_at at)
{
    char value[REPLAY_OFFSET_MAX + 2];
    struct bytes offset = replay_write_offset(recovery->replay, at, value + 1);
    value[0] = '"';
    value[offset.len + 1] = '"';
    return append(event, bytes_of(value, offset.len + 2));
}

/* The one room of `broadcast` that has a memory, as clients name it; empty: several have. */
static struct bytes only_room(const struct recovery *recovery, const struct broadcast *broadcast)
{
    const struct actor_config *config = recovery->fanout->shard->config;
    struct bytes only = {0};
    for (uint32_t i = 0; i < broadcast->room_count; i++) {
        struct bytes room = wire_name_client(broadcast_rooms(broadcast)[i]);
        struct room_memory_rules rules = {0};
        config->room_memory(config->context, room, &rules);
        if (rules.events > 0 && only.len > 0 && !bytes_eq(only, room)) {
            return bytes_of(NULL, 0);
        }
        only = rules.events > 0 ? room : only;
    }
    return only;
}

struct event *recovery_mark_plain(
    const struct recovery *recovery, const struct broadcast *broadcast, struct replay_at at)
{
    char text[REPLAY_OFFSET_MAX];
    struct bytes room = only_room(recovery, broadcast);
    struct builder value = {0};
    json_write_open(&value, '{');
    json_write_key(&value, "_peal");
    json_write_open(&value, '{');
    if (room.len > 0) {
        json_write_text(&value, "room", room);
    }
    json_write_text(&value, "offset", replay_write_offset(recovery->replay, at, text));
    json_write_close(&value, '}');
    json_write_close(&value, '}');
    struct event *marked =
        builder_failed(&value) ? NULL : append(broadcast->event, builder_bytes(&value));
    builder_reset(&value);
    return marked;
}

/* What is numbered here: all that is sent where sockets are recovered, else what rooms remember. */
unsigned recovery_number(struct recovery *recovery, struct broadcast *broadcast)
{
    bool remembered = recovery->rooms != NULL && broadcast->remembered;
    if (broadcast->late) {
        recovery->late_at = replay_last(recovery->replay).number + 1;
        return 0;
    }
    if (recovery->recovers) {
        replay_add(recovery->replay, broadcast, sched_now(recovery->fanout->shard->sched));
    } else if (remembered) {
        replay_number(recovery->replay, broadcast);
    } else {
        return 0;
    }
    if (remembered) {
        room_memory_add(recovery->rooms, broadcast);
    }
    return DELIVER_SOCKETIO | (remembered ? DELIVER_PLAIN : 0u);
}

struct event *recovery_mark(
    const struct recovery *recovery, const struct broadcast *broadcast, enum deliver_kind kind)
{
    struct replay_at at = replay_last(recovery->replay);
    return kind == DELIVER_PLAIN ? recovery_mark_plain(recovery, broadcast, at)
                                 : recovery_mark_text(recovery, broadcast->event, at);
}

void recovery_send(
    struct socket *socket, struct builder *out, uint64_t count, bool starved, uint64_t *counter)
{
    struct shard *shard = socket->shard;
    struct chunk *chunk = count > 0 && !starved ? chunk_take(out) : NULL;
    builder_reset(out);
    if (chunk == NULL) {
        if (count > 0 || starved) {
            socket_missed(socket);
        }
        return;
    }
    if (outbox_append(socket->outbox, &shard->dirty_outboxes, chunk, 0, chunk->len)) {
        shard->stats.deliveries += count;
        *counter += count;
    } else {
        shard->stats.refused++;
    }
    chunk_unref(chunk);
}
