/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a socket missed in a room goes to its outbox as one chunk, in the turn in which it becomes a
 * member: what is numbered later comes by its leaf, and nothing is between.
 */
#include "actors/recover/room_replay.h"

#include "actors/deliver/broadcast.h"
#include "actors/deliver/fanout.h"
#include "actors/deliver/socket.h"
#include "actors/recover/recovery_state.h"
#include "actors/wire_name.h"
#include "codec/base/status.h"

/* The memory that `room` is in; NULL: it has none. */
static struct recovery *memory_of(const struct fanout *fanout, struct bytes room)
{
    const struct actor_config *config = fanout->shard->config;
    struct recovery *recovery = recovery_kept_of(fanout);
    struct room_memory_rules rules = {0};
    if (recovery == NULL || recovery->rooms == NULL) {
        return NULL;
    }
    config->room_memory(config->context, wire_name_client(room), &rules);
    return rules.events > 0 ? recovery : NULL;
}

struct bytes room_replay_position(const struct fanout *fanout, struct bytes room, char *at)
{
    const struct recovery *recovery = memory_of(fanout, room);
    return recovery != NULL
               ? replay_write_offset(recovery->replay, room_memory_here(recovery->rooms), at)
               : bytes_of(NULL, 0);
}

/* Bytes that may be sent at once: the answer has to fit behind. */
static size_t most_at_once(const struct fanout *fanout)
{
    uint32_t cap = fanout->shard->config->outbound_bytes;
    return cap - cap / 8;
}

static int find(const struct fanout *fanout, struct bytes room, struct bytes since,
    struct room_missed *ret_missed)
{
    const struct recovery *recovery = memory_of(fanout, room);
    if (recovery == NULL) {
        return STATUS_NOT_FOUND;
    }
    struct room_missed missed;
    int status = room_memory_find(recovery->rooms, room, since, &missed);
    if (status != 0) {
        return status == STATUS_AGAIN ? status : STATUS_NOT_FOUND;
    }
    if (missed.bytes > most_at_once(fanout)) {
        return STATUS_NOT_FOUND;
    }
    *ret_missed = missed;
    return 0;
}

int room_replay_check(
    const struct fanout *fanout, struct bytes room, struct bytes since, uint64_t *ret_first)
{
    struct room_missed missed;
    struct replay_at at;
    int status = find(fanout, room, since, &missed);
    if (status == 0) {
        const struct broadcast *first = room_memory_next(&missed, &at);
        *ret_first = first != NULL ? first->number : UINT64_MAX;
    }
    return status;
}

bool room_replay_is_excepted(const struct socket *socket, const struct broadcast *broadcast)
{
    char at[WIRE_NAME_MAX];
    struct bytes user = wire_name_user(identity_key(socket->identity), at);
    struct bytes sid = bytes_of(socket->sid, SOCKET_SID_LEN);
    for (uint32_t i = 0; i < broadcast->except_count; i++) {
        struct bytes name = broadcast_except(broadcast)[i];
        if (bytes_eq(name, user) || bytes_eq(name, sid) ||
            fanout_membership(socket->fanout, socket, name) != NULL) {
            return true;
        }
    }
    return false;
}

/* Append one event; whether it was, or `*ret_starved`. */
static bool add(const struct recovery *recovery, const struct socket *socket,
    const struct broadcast *broadcast, struct replay_at at, struct builder *out, bool *ret_starved)
{
    enum wire_format format = (enum wire_format)socket->format;
    struct event *marked = watch_is_socketio(format)
                               ? recovery_mark_text(recovery, broadcast->event, at)
                               : recovery_mark_plain(recovery, broadcast, at);
    const struct event *event = marked != NULL ? marked : broadcast->event;
    int status = wire_event(format, fanout_nsp(socket->fanout), event, out);
    if (status != 0) {
        shard_count_unencoded(socket->shard, event->name, format, status);
        *ret_starved = *ret_starved || status == STATUS_NOMEM;
    }
    event_unref(marked);
    return status == 0;
}

int room_replay_send(struct socket *socket, struct bytes room, struct bytes since)
{
    struct room_missed missed;
    int status = find(socket->fanout, room, since, &missed);
    if (status != 0) {
        return status;
    }
    const struct recovery *recovery = recovery_kept_of(socket->fanout);
    struct builder out = {.max = UINT32_MAX};
    const struct broadcast *broadcast;
    struct replay_at at;
    uint64_t count = 0;
    bool starved = false;
    while ((broadcast = room_memory_next(&missed, &at)) != NULL) {
        if (!room_replay_is_excepted(socket, broadcast)) {
            count += add(recovery, socket, broadcast, at, &out, &starved);
        }
    }
    recovery_send(socket, &out, count, starved, &socket->shard->stats.rejoin_events);
    return 0;
}
