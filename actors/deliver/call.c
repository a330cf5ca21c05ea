/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Order of this file: the argument, answers, refusals, events of our own.
 */
#include "actors/deliver/call.h"

#include "actors/deliver/socket.h"
#include "actors/shard.h"
#include "codec/json_scan.h"

struct bytes call_argument(const struct event *event)
{
    struct json_scan_iter iter;
    struct bytes value = {0};
    json_scan_iter_init(&iter, event->data);
    if (!json_scan_element(&iter, &value) || !json_scan_element(&iter, &value)) {
        return bytes_of(NULL, 0);
    }
    return value;
}

void call_answer(const struct client_call *call, struct bytes result)
{
    if (call->has_id) {
        socket_ack(call->socket, call->id, result);
    }
}

/* Append the members of a refusal behind the first, without the last brace. */
static void write_refusal(const struct call_refusal *refusal, struct builder *out)
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

void call_refuse_event(struct socket *socket, const uint64_t *id, struct bytes event,
    const struct call_refusal *refusal)
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
        call_emit(socket, "error", builder_bytes(&text));
    }
    builder_reset(&text);
}

static void refuse(const struct client_call *call, const struct call_refusal *refusal)
{
    call_refuse_event(call->socket, call->has_id ? &call->id : NULL, call->event->name, refusal);
}

void call_refuse(const struct client_call *call, enum error_code code, const char *message)
{
    refuse(call, &(struct call_refusal){.code = code, .message = message});
}

void call_refuse_field(const struct client_call *call, const char *field, const char *allowed)
{
    refuse(call,
        &(struct call_refusal){.code = ERROR_INVALID_FIELD, .message = allowed, .field = field});
}

void call_emit(struct socket *socket, const char *name, struct bytes argument)
{
    struct event *event = shard_event(socket->shard, name, argument, 0);
    if (event != NULL) {
        socket_emit(socket, event);
        event_unref(event);
    } else {
        socket_missed(socket);
    }
}
