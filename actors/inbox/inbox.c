/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Tells all sockets of a user something, encoded once for each format, and those that dropped that
 * it was there.
 */
#include "actors/inbox/inbox.h"

#include "actors/deliver/socket.h"
#include "actors/recover/recovery.h"
#include "actors/shard.h"
#include "codec/base/status.h"

static void miss_all(struct inbox *inbox)
{
    list_for_each (link, &inbox->owner.sockets) {
        struct socket *socket = container_of(link, struct socket, user_link);
        if (bytes_eq(socket_nsp(socket), BYTES("/"))) {
            socket_missed(socket);
        }
    }
    recovery_expel(&inbox->owner, bytes_of(NULL, 0)); /* those that dropped, too */
}

void inbox_miss(struct inbox *inbox, struct socket *only)
{
    if (only != NULL) {
        socket_missed(only);
    } else {
        miss_all(inbox);
    }
}

void inbox_tell(struct inbox *inbox, struct event *event, uint64_t rev)
{
    struct shard *shard = shard_of(&inbox->owner.actor);
    if (event == NULL) {
        miss_all(inbox);
        return;
    }
    recovery_note_all(&inbox->owner, BYTES("/"), event);
    struct chunk *chunks[WIRE_FORMAT_COUNT] = {NULL};
    list_for_each (link, &inbox->owner.sockets) {
        struct socket *socket = container_of(link, struct socket, user_link);
        if (!bytes_eq(socket_nsp(socket), BYTES("/")) ||
            (rev > 0 && socket_lag_holds(socket, rev))) {
            continue;
        }
        if (socket_pid(socket).len > 0) {
            socket_emit(socket, event); /* its offset is its own */
            continue;
        }
        struct chunk **chunk = &chunks[socket->format];
        if (*chunk == NULL) {
            struct builder out = {0};
            int status = wire_event(socket->format, BYTES("/"), event, &out);
            if (status != 0) {
                shard_count_unencoded(shard, event->name, socket->format, status);
                builder_reset(&out);
                if (status == STATUS_NOMEM) {
                    socket_missed(socket);
                }
                continue;
            }
            *chunk = chunk_take(&out);
        }
        if (*chunk != NULL) {
            socket_send(socket, *chunk);
        } else {
            socket_missed(socket);
        }
    }
    for (unsigned format = 0; format < WIRE_FORMAT_COUNT; format++) {
        if (chunks[format] != NULL) {
            chunk_unref(chunks[format]);
        }
    }
    event_unref(event);
}
