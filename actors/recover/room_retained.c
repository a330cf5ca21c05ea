/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Shows one value after the other to one socket. Nothing can come in between: the fan-out takes a
 * value and tells it in one turn, so who comes in another turn has it from here or from there.
 */
#include "actors/recover/room_retained.h"

#include "actors/deliver/fanout.h"
#include "actors/deliver/retained.h"
#include "actors/deliver/socket.h"
#include "actors/recover/room_replay.h"
#include "actors/wire_name.h"

static void show(struct socket *socket, const struct retained_value *value, struct bytes room,
    struct bytes offset)
{
    struct event *marked = retained_mark(value->broadcast->event, wire_name_client(room), offset);
    if (marked == NULL) {
        socket_missed(socket);
        return;
    }
    socket->shard->stats.retain.told += socket_emit(socket, marked);
    event_unref(marked);
}

/* Of the values of a room, which are shown to who is sent what it missed there. */
struct part {
    uint64_t first; /* the number of the first broadcast that it missed */
    bool later;
};

/* What it missed has every broadcast from the first on that a room remembers. */
static bool is_in(const struct broadcast *broadcast, const struct part *part)
{
    bool missed = broadcast->number >= part->first;
    bool sent = missed && broadcast->remembered && !broadcast->late &&
                !(broadcast->event->flags & EVENT_VOLATILE);
    return part->later ? missed && !sent : !missed;
}

/* All values of `target` (empty: all); `room`: as whose they are marked, or empty; `part` may be
 * NULL. */
static void show_all(
    struct socket *socket, struct bytes target, struct bytes room, const struct part *part)
{
    const struct retained *retained = socket->fanout->retained;
    const struct retained_value *value = NULL;
    char at[REPLAY_OFFSET_MAX];
    while ((value = retained_next(retained, target, value)) != NULL && !socket->closing) {
        struct bytes offset = bytes_of(NULL, 0);
        if (room_replay_is_excepted(socket, value->broadcast) ||
            (part != NULL && !is_in(value->broadcast, part))) {
            continue;
        }
        if (room.len > 0 && (part == NULL || part->later)) { /* else it misses something yet */
            offset = room_replay_position(socket->fanout, room, at);
        }
        show(socket, value, room, offset);
    }
}

static bool has_values(const struct socket *socket)
{
    return socket->fanout != NULL && socket->fanout->retained != NULL;
}

void room_retained_repeat_own(struct socket *socket)
{
    char at[WIRE_NAME_MAX];
    struct bytes none = bytes_of(NULL, 0);
    if (has_values(socket)) {
        show_all(socket, none, none, NULL);
        show_all(socket, wire_name_user(identity_key(socket->identity), at), none, NULL);
    }
}

void room_retained_send_own(struct socket *socket)
{
    if (!socket->returned) {
        room_retained_repeat_own(socket);
    }
}

void room_retained_send(struct socket *socket, struct bytes room)
{
    if (has_values(socket)) {
        show_all(socket, room, room, NULL);
    }
}

void room_retained_send_around(struct socket *socket, struct bytes room, uint64_t first, bool later)
{
    if (has_values(socket)) {
        show_all(socket, room, room, &(struct part){.first = first, .later = later});
    }
}
