/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One value over HTTP: get, put, delete, increment, lease, release. Order of this file: answers,
 * calls, requests.
 */
#include "hub/api/api_values.h"

#include <inttypes.h>

#include "actors/values/value_call.h"
#include "actors/values/value_json.h"
#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "codec/json_scan.h"
#include "codec/json_write.h"
#include "hub/api/api_auth.h"
#include "hub/api/api_fields.h"
#include "hub/api/api_handlers.h"
#include "hub/api/api_shard.h"
#include "hub/config/config.h"

#define NO_STORE "Cache-Control: private, no-store\r\n"

enum { SECOND_MS = 1000 };

/* A call under way. It outlives its request when the peer goes. */
struct single_call {
    struct api_call api; /* first */
    struct value_call call;
    struct api_who who;
    struct value_op op;
};

/* Answers. */

static struct bytes cache_header(enum value_outcome outcome)
{
    return outcome == VALUE_HIT     ? BYTES(NO_STORE "X-Cache: HIT\r\n")
           : outcome == VALUE_STALE ? BYTES(NO_STORE "X-Cache: STALE\r\n")
                                    : BYTES(NO_STORE "X-Cache: MISS\r\n");
}

static void answer_value(struct http_request *request, const struct value_op *op)
{
    struct builder out = {.max = UINT32_MAX};
    json_write_open(&out, '{');
    bool whole = value_json_write(&op->result, &out);
    json_write_close(&out, '}');
    if (whole) {
        api_answer(request, 200, cache_header(op->result.outcome), &out);
        return;
    }
    builder_reset(&out);
    api_refuse(request, &(struct api_error){.code = ERROR_INTERNAL,
                            .message = "What Redis has of the value cannot be read: put it again"});
}

static void answer_absent(struct http_request *request)
{
    struct builder out = {0};
    const struct api_error error = {.code = ERROR_NOT_FOUND, .message = "There is no such value"};
    json_write_open(&out, '{');
    api_error_write(&error, &out);
    builder_byte(&out, '}');
    json_write_close(&out, '}');
    api_answer(request, 404, cache_header(VALUE_MISS), &out);
}

/* The caller fills, or computes it for itself. */
static void answer_fill(struct http_request *request, const struct value_op *op)
{
    struct builder out = {0};
    json_write_open(&out, '{');
    if (op->result.outcome == VALUE_FILL) {
        json_write_text(&out, "fill", bytes_str(op->result.token));
    } else {
        json_write_json(&out, "fill", bytes_of(NULL, 0));
    }
    json_write_close(&out, '}');
    api_answer(request, 200, cache_header(VALUE_MISS), &out);
}

static void answer_done(struct http_request *request, const struct value_op *op)
{
    struct builder out = {0};
    if (op->verb == VALUE_DELETE || op->verb == VALUE_RELEASE) {
        http_respond(request, 204, NULL, BYTES(NO_STORE), bytes_of(NULL, 0));
        return;
    }
    json_write_open(&out, '{');
    if (op->verb == VALUE_INCREMENT) {
        json_write_json(&out, "value", buf_bytes(op->result.body.bytes));
    }
    json_write_u64(&out, "version", op->result.version);
    json_write_time(&out, "expiresAt", op->result.expires_ms);
    json_write_close(&out, '}');
    api_answer(request, 200, BYTES(NO_STORE), &out);
}

static void refuse(struct http_request *request, const struct value_op *op)
{
    struct api_error error = api_values_outcome(op);
    if (op->result.outcome != VALUE_CONFLICT) {
        api_refuse(request, &error);
        return;
    }
    struct builder out = {0};
    json_write_open(&out, '{');
    api_values_write_error(op, &out);
    json_write_close(&out, '}');
    api_answer(request, errors_status(error.code), BYTES(NO_STORE), &out);
}

static void answer(struct http_request *request, const struct value_op *op)
{
    switch ((int)op->result.outcome) {
    case VALUE_HIT:
    case VALUE_STALE:
        answer_value(request, op);
        break;
    case VALUE_FILL:
        answer_fill(request, op);
        break;
    case VALUE_MISS:
        if (op->verb == VALUE_LEASE) {
            answer_fill(request, op);
        } else if (op->verb != VALUE_GET) {
            answer_done(request, op);
        } else {
            answer_absent(request);
        }
        break;
    case VALUE_DONE:
        answer_done(request, op);
        break;
    default:
        refuse(request, op);
        break;
    }
}

/* Calls. */

static void free_single(struct single_call *call)
{
    value_op_finish(&call->op);
    mem_free(call);
}

static void on_done(struct value_call *values)
{
    struct single_call *call = container_of(values, struct single_call, call);
    if (call->api.request != NULL) {
        answer(call->api.request, &call->op);
    }
    free_single(call);
}

/* NULL: the request was answered. */
static struct single_call *make_single(struct http_request *request, enum value_verb verb)
{
    struct single_call *call = mem_alloc(sizeof(*call));
    char at[VALUE_KEY_MAX];
    struct bytes key;
    call->call = (struct value_call){.ops = &call->op, .count = 1, .done = on_done};
    call->op.verb = verb;
    if (!api_auth_backend(request, APIKEY_VALUES, &call->who)) {
        free_single(call);
        return NULL;
    }
    bool read = http_param(request, 0, at, sizeof(at), &key) == 0;
    struct api_error error =
        api_values_name(&call->op, call->who.tenant, read ? key : bytes_of(NULL, 0));
    if (error.code != ERROR_NONE) {
        api_refuse(request, &error);
        free_single(call);
        return NULL;
    }
    return call;
}

static void begin(struct http_request *request, struct single_call *call)
{
    if (!value_call_begin(&call->call, api_shard(request)->shard)) {
        api_refuse_memory(request);
        free_single(call);
        return;
    }
    api_call_hold(&call->api, request);
}

/* Requests. */

bool api_values_head(struct http_request *request, void *context)
{
    (void)context;
    uint32_t most = api_values_body(api_shard(request)->settings->config);
    if (api_auth_key(request, APIKEY_VALUES) == NULL) {
        return false;
    }
    if (request->head->has_content_length && request->head->content_length > most) {
        api_refuse(request, &(struct api_error){.code = ERROR_TOO_LARGE,
                                .message = "The value is larger than limits.value_bytes",
                                .field = "value"});
        return false;
    }
    return true;
}

void api_values_get(struct http_request *request, void *context)
{
    (void)context;
    struct single_call *call = make_single(request, VALUE_GET);
    if (call != NULL) {
        begin(request, call);
    }
}

void api_values_erase(struct http_request *request, void *context)
{
    (void)context;
    struct single_call *call = make_single(request, VALUE_DELETE);
    if (call != NULL) {
        begin(request, call);
    }
}

void api_values_put(struct http_request *request, void *context)
{
    (void)context;
    struct bytes object;
    struct single_call *call = make_single(request, VALUE_PUT);
    if (call == NULL) {
        return;
    }
    if (!api_values_read_object(request, false, API_VALUES_PUT_FIELDS, &object)) {
        free_single(call);
        return;
    }
    struct api_error error =
        api_values_read_put(api_shard(request)->settings->config, object, &call->op);
    if (error.code == ERROR_NONE) {
        error = api_values_check_room(api_shard(request)->shard, &call->op);
    }
    if (error.code != ERROR_NONE) {
        api_refuse(request, &error);
        free_single(call);
        return;
    }
    begin(request, call);
}

/* What is added, and for how long it lives; false: the request was answered. */
static bool read_increment(struct http_request *request, struct value_op *op)
{
    struct bytes object;
    struct bytes by;
    struct bytes ttl;
    op->by = 1;
    if (!api_values_read_object(request, true, "by, ttl", &object) ||
        !api_values_read_member(request, object, "by", &by) ||
        !api_values_read_member(request, object, "ttl", &ttl)) {
        return false;
    }
    if (by.len > 0 && json_scan_i64(by, &op->by) != 0) {
        api_refuse_field(request, "by", "by: a whole number of 64 bits");
        return false;
    }
    struct api_error error = api_values_read_ttl(api_shard(request)->settings->config, ttl, op);
    if (error.code != ERROR_NONE) {
        api_refuse(request, &error);
        return false;
    }
    return true;
}

void api_values_increment(struct http_request *request, void *context)
{
    (void)context;
    struct single_call *call = make_single(request, VALUE_INCREMENT);
    if (call == NULL) {
        return;
    }
    if (read_increment(request, &call->op)) {
        begin(request, call);
    } else {
        free_single(call);
    }
}

/* How long the caller waits for who fills; false: the request was answered. */
static bool read_wait(struct http_request *request, struct value_op *op)
{
    uint64_t most = api_shard(request)->settings->config->values_wait_ms / SECOND_MS;
    uint64_t seconds = 0;
    struct bytes object;
    struct bytes wait;
    if (!api_values_read_object(request, true, "wait", &object) ||
        !api_values_read_member(request, object, "wait", &wait)) {
        return false;
    }
    if (wait.len > 0 && (json_scan_u64(wait, &seconds) != 0 || seconds > most)) {
        api_refuse_field(request, "wait", "wait: whole seconds, 0 to values.wait");
        return false;
    }
    op->wait_ms = seconds * SECOND_MS;
    return true;
}

void api_values_lease(struct http_request *request, void *context)
{
    (void)context;
    struct single_call *call = make_single(request, VALUE_LEASE);
    if (call == NULL) {
        return;
    }
    if (read_wait(request, &call->op)) {
        begin(request, call);
    } else {
        free_single(call);
    }
}

/* Who does not fill; false: the request was answered. */
static bool read_lease(struct http_request *request, struct value_op *op)
{
    struct bytes object;
    struct bytes lease;
    if (!api_values_read_object(request, false, "lease", &object) ||
        !api_values_read_member(request, object, "lease", &lease)) {
        return false;
    }
    struct api_error error = api_values_read_lease(lease, op);
    if (error.code != ERROR_NONE) {
        api_refuse(request, &error);
        return false;
    }
    return true;
}

void api_values_release(struct http_request *request, void *context)
{
    (void)context;
    struct single_call *call = make_single(request, VALUE_RELEASE);
    if (call == NULL) {
        return;
    }
    if (read_lease(request, &call->op)) {
        begin(request, call);
    } else {
        free_single(call);
    }
}
