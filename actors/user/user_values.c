/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What clients read of the values of their tenant: those that a value_type opens to them.
 *
 * A read outlives its user: the shard of the key answers whoever asked, and what has gone by then
 * is told nothing. How many are under way is bounded by the bucket that each is taken from.
 */
#include "actors/shard.h"
#include "actors/user/user_actor.h"
#include "actors/values/value_call.h"
#include "actors/values/value_json.h"
#include "actors/values/value_op.h"
#include "codec/base/mem.h"
#include "codec/json_scan.h"
#include "codec/json_write.h"
#include "codec/names.h"

enum { ANSWER_EXTRA = 256, RETRY_MS = 1000 };

struct reading {
    struct value_call call;
    struct value_op op;
    struct shard *shard;
    struct actor_ref user;
    uint32_t socket_id;
    uint64_t id; /* of the answer */
};

static void refuse(struct socket *socket, uint64_t id, const struct call_refusal *refusal)
{
    call_refuse_event(socket, &id, BYTES("value:get"), refusal);
}

/* The answer in one piece; false: what is kept of the value is no value. */
static bool write_answer(const struct value_result *result, struct builder *text)
{
    json_write_open(text, '{');
    json_write_bool(text, "ok", true);
    if (!value_json_write(result, text)) {
        return false;
    }
    if (result->outcome == VALUE_STALE) {
        json_write_bool(text, "stale", true);
    }
    json_write_close(text, '}');
    return true;
}

static size_t length_of(const struct value_result *result)
{
    return result->body.raw > 0 ? result->body.raw : buf_bytes(result->body.bytes).len;
}

/* Whether there is room for the answer, or it was refused: a client does not lose its connection
 * because it asked for more than may wait for it. */
static bool check_room(struct socket *socket, uint64_t id, size_t bytes)
{
    size_t most = socket->shard->config->outbox_max;
    if (bytes + ANSWER_EXTRA > most) {
        refuse(socket, id,
            &(struct call_refusal){.code = ERROR_TOO_LARGE,
                .message = "The value is larger than what may wait for a client"});
        return false;
    }
    if (socket->outbox->bytes + bytes + ANSWER_EXTRA > most) {
        refuse(socket, id,
            &(struct call_refusal){.code = ERROR_RATE_LIMITED,
                .message = "Too much waits for this client already",
                .retry_ms = RETRY_MS});
        return false;
    }
    return true;
}

static void answer_value(struct socket *socket, uint64_t id, const struct value_result *result)
{
    struct builder text = {.max = UINT32_MAX};
    if (!check_room(socket, id, length_of(result))) {
        return;
    }
    if (!write_answer(result, &text)) {
        refuse(socket, id,
            &(struct call_refusal){
                .code = ERROR_INTERNAL, .message = "What is kept of the value cannot be read"});
    } else if (builder_failed(&text)) {
        refuse(socket, id,
            &(struct call_refusal){
                .code = ERROR_UNAVAILABLE, .message = "Out of memory, try again"});
    } else {
        socket_ack(socket, id, builder_bytes(&text));
    }
    builder_reset(&text);
}

static void answer(struct socket *socket, uint64_t id, const struct value_result *result)
{
    if (result->outcome == VALUE_HIT || result->outcome == VALUE_STALE) {
        answer_value(socket, id, result);
    } else if (result->outcome == VALUE_MISS) {
        refuse(socket, id,
            &(struct call_refusal){.code = ERROR_NOT_FOUND, .message = "There is no such value"});
    } else {
        refuse(socket, id,
            &(struct call_refusal){.code = ERROR_UNAVAILABLE,
                .message = "Values are not available, try again",
                .retry_ms = RETRY_MS});
    }
}

static void on_done(struct value_call *call)
{
    struct reading *reading = container_of(call, struct reading, call);
    struct user *user = (struct user *)(void *)actor_get(reading->shard->sched, reading->user);
    struct socket *socket = user != NULL ? owner_socket(&user->owner, reading->socket_id) : NULL;
    if (socket != NULL) {
        answer(socket, reading->id, &reading->op.result);
    }
    value_op_finish(&reading->op);
    mem_free(reading);
}

static void read_value(const struct client_call *call, struct bytes key)
{
    struct socket *socket = call->socket;
    struct reading *reading = mem_try_calloc(1, sizeof(*reading));
    if (reading == NULL) {
        call_refuse(call, ERROR_UNAVAILABLE, "Out of memory, try again");
        return;
    }
    reading->call = (struct value_call){.ops = &reading->op, .count = 1, .done = on_done};
    reading->op.verb = VALUE_GET;
    reading->op.name_len =
        value_name_write(identity_space(socket->identity), key, reading->op.name).len;
    reading->shard = socket->shard;
    reading->user = user_of(socket)->owner.actor.self;
    reading->socket_id = socket->id;
    reading->id = call->id;
    if (!value_call_begin(&reading->call, socket->shard)) {
        mem_free(reading);
        call_refuse(call, ERROR_UNAVAILABLE, "Values are not available, try again");
    }
}

/* The key, as text or in an object; false: it is none, and the call was refused. */
static bool read_key(const struct client_call *call, char *at, struct bytes *ret_key)
{
    struct bytes value = call_argument(call->event);
    bool object = value.len > 0 && json_scan_kind(value) == JSON_SCAN_OBJECT;
    if (object && json_scan_get(value, "key", &value) != 0) {
        value = bytes_of(NULL, 0);
    }
    if (value.len > 0 && json_scan_string(value, at, VALUE_KEY_MAX, ret_key) == 0 &&
        names_check_room(*ret_key) == 0) {
        return true;
    }
    call_refuse_field(call, "key", "A key: 1 to 200 bytes without / and control characters");
    return false;
}

void user_values_get(const struct client_call *call)
{
    const struct actor_config *config = call->socket->shard->config;
    char at[VALUE_KEY_MAX];
    struct bytes key;
    if (!read_key(call, at, &key)) {
        return;
    }
    if (config->value_access == NULL ||
        config->value_access(config->context, call->socket->identity, key) != 0) {
        call_refuse(call, ERROR_FORBIDDEN, "Access denied to value");
    } else if (call->has_id) { /* who asks for no answer is told nothing */
        read_value(call, key);
    }
}
