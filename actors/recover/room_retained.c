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

/* All values of `target` (empty: all); `room`: as whose they are marked, or empty. */
static void show_all(struct socket *socket, struct bytes target, struct bytes room)
{
    const struct retained *retained = socket->fanout->retained;
    const struct retained_value *value = NULL;
    char at[REPLAY_OFFSET_MAX];
    while ((value = retained_next(retained, target, value)) != NULL && !socket->closing) {
        struct bytes offset = bytes_of(NULL, 0);
        if (room_replay_is_excepted(socket, value->broadcast)) {
            continue;
        }
        if (room.len > 0) {
            offset = room_replay_position(socket->fanout, room, at);
        }
        show(socket, value, room, offset);
    }
}

void room_retained_send_own(struct socket *socket)
{
    char at[WIRE_NAME_MAX];
    if (socket->fanout == NULL || socket->fanout->retained == NULL || socket->returned) {
        return;
    }
    show_all(socket, bytes_of(NULL, 0), bytes_of(NULL, 0));
    show_all(socket, wire_name_user(identity_key(socket->identity), at), bytes_of(NULL, 0));
}

void room_retained_send(struct socket *socket, struct bytes room)
{
    if (socket->fanout != NULL && socket->fanout->retained != NULL) {
        show_all(socket, room, room);
    }
}
