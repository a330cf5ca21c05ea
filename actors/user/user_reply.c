/* SPDX-License-Identifier: Apache-2.0 */
#include "actors/recover/recovery.h"
#include "actors/user/user_actor.h"
#include "codec/base/status.h"
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

/* Append the members of a refusal behind the first, without the last brace. */
static void write_refusal(const struct user_refusal *refusal, struct builder *out)
{
    if (refusal->field != NULL) {
        builder_str(out, ",\"field\":");
        json_scan_write_string(out, bytes_str(refusal->field));
    }
    if (refusal->retry_ms > 0) {
        builder_str(out, ",\"retryAfter\":");
        builder_u64(out, refusal->retry_ms);
    }
}

void user_refuse_event(struct socket *socket, const uint64_t *id, struct bytes event,
    const struct user_refusal *refusal)
{
    struct builder text = {0};
    builder_str(&text, id != NULL ? "{\"ok\":false,\"error\":\"" : "{\"code\":\"");
    builder_printf(&text, "%s\",\"message\":", errors_text(refusal->code));
    json_scan_write_string(&text, bytes_str(refusal->message));
    write_refusal(refusal, &text);
    if (id == NULL) {
        builder_str(&text, ",\"event\":");
        json_scan_write_string(&text, event);
    }
    builder_byte(&text, '}');
    if (id != NULL) {
        socket_ack(socket, *id, builder_bytes(&text));
    } else {
        user_emit(socket, "error", builder_bytes(&text));
    }
    builder_reset(&text);
}

static void refuse(const struct user_call *call, const struct user_refusal *refusal)
{
    user_refuse_event(call->socket, call->has_id ? &call->id : NULL, call->event->name, refusal);
}

void user_refuse(const struct user_call *call, enum error_code code, const char *message)
{
    refuse(call, &(struct user_refusal){.code = code, .message = message});
}

void user_refuse_field(const struct user_call *call, const char *field, const char *allowed)
{
    refuse(call,
        &(struct user_refusal){.code = ERROR_INVALID_FIELD, .message = allowed, .field = field});
}

void user_emit(struct socket *socket, const char *name, struct bytes argument)
{
    struct event *event = shard_event(socket->shard, name, argument, 0);
    if (event != NULL) {
        socket_emit(socket, event);
        event_unref(event);
    } else {
        socket_missed(socket);
    }
}

static void miss_all(struct user *user)
{
    list_for_each (link, &user->owner.sockets) {
        struct socket *socket = container_of(link, struct socket, user_link);
        if (bytes_eq(socket_nsp(socket), BYTES("/"))) {
            socket_missed(socket);
        }
    }
}

void user_miss(struct user *user, struct socket *only)
{
    if (only != NULL) {
        socket_missed(only);
    } else {
        miss_all(user);
    }
}

void user_emit_all(struct user *user, const char *name, struct bytes argument, uint64_t rev)
{
    struct shard *shard = shard_of(&user->actor);
    bool wanted = !list_empty(&user->owner.sockets) || recovery_has_kept(&user->owner);
    struct event *event = wanted ? shard_event(shard, name, argument, 0) : NULL;
    if (event == NULL) {
        miss_all(user);
        return;
    }
    recovery_note_all(&user->owner, BYTES("/"), event);
    struct chunk *chunks[WIRE_FORMAT_COUNT] = {NULL};
    list_for_each (link, &user->owner.sockets) {
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
