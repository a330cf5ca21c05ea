/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How clients' events are answered and refused: the one shape of acks and of `error`.
 *
 * Order of this file: the argument, answers, refusals, events of our own.
 */
#include "actors/deliver/call.h"

#include "actors/deliver/socket.h"
#include "actors/shard.h"
#include "codec/json_scan.h"
#include "codec/json_write.h"
#include "codec/names.h"
#include "codec/server_events.h"

struct bytes call_argument(const struct event *event)
{
    if (event->arg_count <= 1) {
        return event->args;
    }
    struct json_scan_iter iter;
    struct bytes value = {0};
    json_scan_iter_init(&iter, event->data);
    while (value.at != event->args.at && json_scan_element(&iter, &value)) {
    }
    return value;
}

void call_answer(const struct client_call *call, struct bytes result)
{
    if (call->has_id) {
        socket_ack(call->socket, call->id, result);
    }
}

static void ack_refusal(struct socket *socket, uint64_t id, const struct call_refusal *refusal)
{
    struct builder text = {0};
    json_write_open(&text, '{');
    json_write_bool(&text, "ok", false);
    json_write_text(&text, "error", bytes_str(errors_text(refusal->code)));
    json_write_text(&text, "message", bytes_str(refusal->message));
    if (refusal->field != NULL) {
        json_write_text(&text, "field", bytes_str(refusal->field));
    }
    if (refusal->retry_ms > 0) {
        json_write_u64(&text, "retryAfter", refusal->retry_ms);
    }
    json_write_close(&text, '}');
    socket_ack(socket, id, builder_bytes(&text));
    builder_reset(&text);
}

void call_refuse_event(struct socket *socket, const uint64_t *id, struct bytes event,
    const struct call_refusal *refusal)
{
    if (id != NULL) {
        ack_refusal(socket, *id, refusal);
        return;
    }
    call_emit(socket, server_events_error(&(struct server_error){.code = refusal->code,
                          .message = bytes_str(refusal->message),
                          .field = bytes_str(refusal->field),
                          .retry_ms = refusal->retry_ms,
                          .room = socket->ops->one_way ? refusal->room : bytes_of(NULL, 0),
                          .event = event}));
}

struct bytes call_room(const struct event *event, char *at)
{
    struct bytes argument = call_argument(event);
    struct bytes value;
    struct bytes room;
    bool named = json_scan_kind(argument) == JSON_SCAN_OBJECT &&
                 json_scan_get(argument, "roomId", &value) == 0 &&
                 json_scan_string(value, at, NAMES_ROOM_MAX, &room) == 0;
    return named ? room : bytes_of(NULL, 0);
}

void call_refuse_as(const struct client_call *call, const struct call_refusal *refusal)
{
    char at[NAMES_ROOM_MAX];
    struct call_refusal whole = *refusal;
    whole.room = call->has_id ? bytes_of(NULL, 0) : call_room(call->event, at);
    call_refuse_event(call->socket, call->has_id ? &call->id : NULL, call->event->name, &whole);
}

void call_refuse(const struct client_call *call, enum error_code code, const char *message)
{
    call_refuse_as(call, &(struct call_refusal){.code = code, .message = message});
}

void call_refuse_field(const struct client_call *call, const char *field, const char *allowed)
{
    call_refuse_as(call,
        &(struct call_refusal){.code = ERROR_INVALID_FIELD, .message = allowed, .field = field});
}

void call_emit(struct socket *socket, struct event *event)
{
    if (event != NULL) {
        socket_emit(socket, event);
        event_unref(event);
    } else {
        socket_missed(socket);
    }
}
