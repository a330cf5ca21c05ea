/* SPDX-License-Identifier: Apache-2.0 */
#include "actors/recover/recovery.h"
#include "actors/user/user_actor.h"
#include "codec/json_scan.h"

struct bytes user_argument(const struct event *event)
{
    struct json_scan_iter iter;
    struct bytes value = {0};
    json_scan_iter_init(&iter, event->data);
    if (!json_scan_element(&iter, &value) || !json_scan_element(&iter, &value)) {
        return bytes_of(NULL, 0);
    }
    return value;
}

void user_answer(const struct user_call *call, struct bytes result)
{
    if (call->has_id) {
        socket_ack(call->socket, call->id, result);
    }
}

void user_refuse_later(struct socket *socket, bool has_id, uint64_t id, const char *event,
    const char *code, const char *message)
{
    struct builder text = {0};
    if (has_id) {
        builder_printf(&text, "{\"ok\":false,\"error\":\"%s\",\"message\":", code);
        json_scan_write_string(&text, bytes_str(message));
        builder_byte(&text, '}');
        socket_ack(socket, id, builder_bytes(&text));
    } else {
        builder_str(&text, "{\"message\":");
        json_scan_write_string(&text, bytes_str(message));
        builder_printf(&text, ",\"code\":\"%s\",\"event\":", code);
        json_scan_write_string(&text, bytes_str(event));
        builder_byte(&text, '}');
        user_emit(socket, "error", builder_bytes(&text));
    }
    builder_reset(&text);
}

void user_refuse(const struct user_call *call, const char *code, const char *message)
{
    char event[EVENT_NAME_MAX + 1];
    size_t len = call->event->name.len;
    memcpy(event, call->event->name.at, len);
    event[len] = '\0';
    user_refuse_later(call->socket, call->has_id, call->id, event, code, message);
}

void user_emit(struct socket *socket, const char *name, struct bytes argument)
{
    struct event *event = shard_event(socket->shard, name, argument, 0);
    if (event != NULL) {
        socket_emit(socket, event);
        event_unref(event);
    }
}

void user_emit_all(struct user *user, const char *name, struct bytes argument, uint64_t rev)
{
    struct shard *shard = shard_of(&user->actor);
    bool wanted = !list_empty(&user->sockets) || recovery_has_kept(user);
    struct event *event = wanted ? shard_event(shard, name, argument, 0) : NULL;
    if (event == NULL) {
        return;
    }
    recovery_note_all(user, BYTES("/"), event);
    struct chunk *chunks[WIRE_FORMAT_COUNT] = {NULL};
    list_for_each (link, &user->sockets) {
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
                continue;
            }
            *chunk = chunk_take(&out);
        }
        if (*chunk != NULL) {
            socket_send(socket, *chunk);
        }
    }
    for (unsigned format = 0; format < WIRE_FORMAT_COUNT; format++) {
        if (chunks[format] != NULL) {
            chunk_unref(chunks[format]);
        }
    }
    event_unref(event);
}
