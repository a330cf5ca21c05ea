/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Many values over HTTP: mget, mset, invalidate. Order of this file: calls, mget, mset, invalidate.
 *
 * Both go in slices of SLICE values, one after the other, so that what is under way of one request
 * is bounded: by the body of an mset, and of an mget by the largest answer and a slice.
 */
#include <stdlib.h>

#include "actors/values/value_call.h"
#include "actors/values/value_drop.h"
#include "actors/values/value_json.h"
#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "codec/json_scan.h"
#include "codec/json_write.h"
#include "hub/api/api_auth.h"
#include "hub/api/api_fields.h"
#include "hub/api/api_handlers.h"
#include "hub/api/api_shard.h"
#include "hub/api/api_values.h"
#include "hub/config/config.h"

enum { SLICE = 64, MESSAGE_RETRY_S = 1 };

/* A call under way. It outlives its request when the peer goes. */
struct many_call {
    struct api_call api; /* first */
    struct value_call call; /* the slice under way */
    struct api_who who;
    struct shard *shard;
    struct value_op *ops;
    size_t count;
    size_t begun;
    uint64_t bytes; /* of the values found so far, as they are answered */
    uint64_t most;
};

/* Calls. */

static void free_many(struct many_call *call)
{
    for (size_t i = 0; call->ops != NULL && i < call->count; i++) {
        value_op_finish(&call->ops[i]);
    }
    mem_free(call->ops);
    mem_free(call);
}

static void refuse(struct http_request *request, size_t index, const struct api_error *error)
{
    struct api_error told = *error;
    told.in_array = true;
    told.index = (uint32_t)index;
    api_refuse(request, &told);
}

/* How many elements the array has; false: the request was answered. */
static bool count_elements(
    struct http_request *request, struct bytes array, const char *field, size_t *ret_count)
{
    struct json_scan_iter iter;
    struct bytes element;
    size_t most = api_shard(request)->settings->config->limits_value_keys;
    size_t count = 0;
    if (array.len == 0 || json_scan_kind(array) != JSON_SCAN_ARRAY) {
        api_refuse_field(request, field, "An array of 1 to limits.value_keys elements");
        return false;
    }
    json_scan_iter_init(&iter, array);
    while (count <= most && json_scan_element(&iter, &element)) {
        count++;
    }
    if (count == 0 || count > most) {
        api_refuse(
            request, &(struct api_error){.code = count == 0 ? ERROR_INVALID_FIELD : ERROR_TOO_LARGE,
                         .message = "An array of 1 to limits.value_keys elements",
                         .field = field});
        return false;
    }
    *ret_count = count;
    return true;
}

/* A call with the array `field` of the body, and as many ops; NULL: the request was answered. */
static struct many_call *make_many(
    struct http_request *request, const char *field, struct bytes *ret_array)
{
    struct many_call *call = mem_alloc(sizeof(*call));
    struct bytes object;
    call->shard = api_shard(request)->shard;
    call->most = api_shard(request)->settings->config->limits_value_answer_bytes;
    if (!api_auth_backend(request, APIKEY_VALUES, &call->who) ||
        !api_values_read_object(request, false, field, &object) ||
        !api_values_read_member(request, object, field, ret_array) ||
        !count_elements(request, *ret_array, field, &call->count)) {
        free_many(call);
        return NULL;
    }
    call->ops = mem_try_calloc(call->count, sizeof(*call->ops));
    if (call->ops == NULL) {
        api_refuse_memory(request);
        free_many(call);
        return NULL;
    }
    return call;
}

/* Begin the next slice; false: there is none, or no memory for it. */
static bool begin_slice(struct many_call *call)
{
    size_t left = call->count - call->begun;
    call->call.ops = call->ops + call->begun;
    call->call.count = left < SLICE ? left : SLICE;
    if (left == 0 || !value_call_begin(&call->call, call->shard)) {
        return false;
    }
    call->begun += call->call.count;
    return true;
}

static void begin(struct http_request *request, struct many_call *call, value_call_fn done)
{
    call->call.done = done;
    if (!begin_slice(call)) {
        api_refuse_memory(request);
        free_many(call);
        return;
    }
    api_call_hold(&call->api, request);
}

bool api_values_many_head(struct http_request *request, void *context)
{
    (void)context;
    return api_auth_key(request, APIKEY_VALUES) != NULL;
}

/* mget. */

static void write_found(const struct value_op *op, struct builder *out)
{
    bool found = op->result.outcome == VALUE_HIT || op->result.outcome == VALUE_STALE;
    json_write_next(out);
    size_t behind = builder_bytes(out).len;
    if (found) {
        json_write_open(out, '{');
        found = value_json_write(&op->result, out);
        json_write_close(out, '}');
    }
    if (!found) {
        builder_truncate(out, behind);
        builder_str(out, "null");
    }
}

static void answer_found(const struct many_call *call)
{
    struct builder out = {.max = UINT32_MAX};
    json_write_open(&out, '{');
    json_write_key(&out, "items");
    json_write_open(&out, '[');
    for (size_t i = 0; i < call->count; i++) {
        write_found(&call->ops[i], &out);
    }
    json_write_close(&out, ']');
    json_write_close(&out, '}');
    api_answer(call->api.request, 200, BYTES("Cache-Control: private, no-store\r\n"), &out);
}

/* Count what the slice has found; false: it is more than an answer may have. */
static bool count_bytes(struct many_call *call)
{
    for (size_t i = 0; i < call->call.count; i++) {
        const struct value_body *body = &call->call.ops[i].result.body;
        uint64_t len = body->bytes != NULL ? buf_bytes(body->bytes).len : 0;
        call->bytes += body->raw != 0 ? body->raw : len;
    }
    return call->bytes <= call->most;
}

static void on_got(struct value_call *values)
{
    struct many_call *call = container_of(values, struct many_call, call);
    bool fits = count_bytes(call);
    if (call->api.request == NULL) {
        free_many(call);
        return;
    }
    if (!fits) {
        api_refuse(call->api.request,
            &(struct api_error){.code = ERROR_TOO_LARGE,
                .message = "The values have more than limits.value_answer_bytes: ask for fewer",
                .field = "keys"});
    } else if (call->begun == call->count) {
        answer_found(call);
    } else if (begin_slice(call)) {
        return;
    } else {
        api_refuse_memory(call->api.request);
    }
    free_many(call);
}

void api_values_mget(struct http_request *request, void *context)
{
    (void)context;
    struct json_scan_iter iter;
    struct bytes array;
    struct bytes key;
    struct many_call *call = make_many(request, "keys", &array);
    if (call == NULL) {
        return;
    }
    json_scan_iter_init(&iter, array);
    for (size_t i = 0; i < call->count && json_scan_element(&iter, &key); i++) {
        call->ops[i].verb = VALUE_GET;
        struct api_error error = api_values_name_json(&call->ops[i], call->who.tenant, key);
        if (error.code != ERROR_NONE) {
            refuse(request, i, &error);
            free_many(call);
            return;
        }
    }
    begin(request, call, on_got);
}

/* mset. */

static void write_put(const struct value_op *op, struct builder *out)
{
    json_write_next(out);
    json_write_open(out, '{');
    if (op->result.outcome == VALUE_DONE) {
        json_write_u64(out, "version", op->result.version);
        json_write_time(out, "expiresAt", op->result.expires_ms);
    } else {
        api_values_write_error(op, out);
    }
    json_write_close(out, '}');
}

/* When nothing was done at all, the answer says so as a whole: 503. */
static bool is_away(const struct many_call *call)
{
    for (size_t i = 0; i < call->count; i++) {
        if (call->ops[i].result.outcome != VALUE_UNAVAILABLE) {
            return false;
        }
    }
    return true;
}

static void answer_put(const struct many_call *call)
{
    struct builder out = {0};
    if (is_away(call)) {
        struct api_error error = api_values_outcome(&call->ops[0]);
        api_refuse(call->api.request, &error);
        return;
    }
    json_write_open(&out, '{');
    json_write_key(&out, "items");
    json_write_open(&out, '[');
    for (size_t i = 0; i < call->count; i++) {
        write_put(&call->ops[i], &out);
    }
    json_write_close(&out, ']');
    json_write_close(&out, '}');
    api_answer(call->api.request, 200, BYTES("Cache-Control: private, no-store\r\n"), &out);
}

/* What is left of an mset is put, even when its caller has gone. */
static void on_put(struct value_call *values)
{
    struct many_call *call = container_of(values, struct many_call, call);
    if (call->begun < call->count && begin_slice(call)) {
        return;
    }
    for (size_t i = call->begun; i < call->count; i++) {
        call->ops[i].result.outcome = VALUE_NO_MEMORY;
    }
    if (call->api.request != NULL) {
        answer_put(call);
    }
    free_many(call);
}

/* One of the items; a code where it is none. */
static struct api_error read_item(
    struct api_shard *api, const struct many_call *call, struct bytes object, struct value_op *op)
{
    struct bytes key;
    op->verb = VALUE_PUT;
    if (json_scan_get(object, "key", &key) != 0) {
        return (struct api_error){.code = ERROR_INVALID_FIELD,
            .message = "A key: 1 to 200 bytes without / and control characters",
            .field = "key"};
    }
    struct api_error error = api_values_name_json(op, call->who.tenant, key);
    if (error.code == ERROR_NONE) {
        error = api_values_read_put(api->settings->config, object, op);
    }
    return error.code == ERROR_NONE ? api_values_check_room(api->shard, op) : error;
}

static int compare_names(const void *left, const void *right)
{
    const struct value_op *a = *(const struct value_op *const *)left;
    const struct value_op *b = *(const struct value_op *const *)right;
    size_t len = a->name_len < b->name_len ? a->name_len : b->name_len;
    int order = memcmp(a->name, b->name, len);
    return order != 0 ? order : (a->name_len > b->name_len) - (a->name_len < b->name_len);
}

/* Whether a key is there twice: then nothing would say which of the two is put last. */
static bool check_twice(struct http_request *request, const struct many_call *call)
{
    const struct value_op **sorted = mem_try_calloc(call->count, sizeof(*sorted));
    if (sorted == NULL) {
        api_refuse_memory(request);
        return false;
    }
    for (size_t i = 0; i < call->count; i++) {
        sorted[i] = &call->ops[i];
    }
    qsort(sorted, call->count, sizeof(*sorted), compare_names);
    const struct value_op *twice = NULL;
    for (size_t i = 1; i < call->count && twice == NULL; i++) {
        twice = compare_names(&sorted[i - 1], &sorted[i]) == 0 ? sorted[i] : NULL;
    }
    mem_free(sorted);
    if (twice != NULL) {
        const struct api_error error = {
            .code = ERROR_INVALID_FIELD, .message = "The key is there twice", .field = "key"};
        refuse(request, (size_t)(twice - call->ops), &error);
    }
    return twice == NULL;
}

/* All items; false: the request was answered. */
static bool read_items(struct http_request *request, struct many_call *call, struct bytes array)
{
    struct json_scan_iter iter;
    struct bytes object;
    json_scan_iter_init(&iter, array);
    for (size_t i = 0; i < call->count && json_scan_element(&iter, &object); i++) {
        struct api_error error = {.code = ERROR_INVALID_FIELD,
            .message = "An item is an object with key and value",
            .field = "items"};
        if (json_scan_kind(object) == JSON_SCAN_OBJECT) {
            if (!api_fields_check(request, object, "key, " API_VALUES_PUT_FIELDS)) {
                return false;
            }
            error = read_item(api_shard(request), call, object, &call->ops[i]);
        }
        if (error.code != ERROR_NONE) {
            refuse(request, i, &error);
            return false;
        }
    }
    return check_twice(request, call);
}

void api_values_mset(struct http_request *request, void *context)
{
    (void)context;
    struct bytes array;
    struct many_call *call = make_many(request, "items", &array);
    if (call == NULL) {
        return;
    }
    if (read_items(request, call, array)) {
        begin(request, call, on_put);
    } else {
        free_many(call);
    }
}

/* Invalidate. */

struct drop_call {
    struct api_call api; /* first */
    struct value_drop drop;
    struct api_who who;
};

static void answer_dropped(struct http_request *request, const struct value_drop *drop)
{
    struct builder out = {0};
    if (drop->outcome != VALUE_DONE) {
        api_refuse(request, &(struct api_error){.code = ERROR_UNKNOWN,
                                .message = "Redis went away meanwhile: repeat it",
                                .retry_s = MESSAGE_RETRY_S});
        return;
    }
    json_write_open(&out, '{');
    json_write_u64(&out, "invalidated", drop->count);
    json_write_close(&out, '}');
    api_answer(request, 200, BYTES("Cache-Control: no-store\r\n"), &out);
}

static void on_dropped(struct value_drop *drop)
{
    struct drop_call *call = container_of(drop, struct drop_call, drop);
    if (call->api.request != NULL) {
        answer_dropped(call->api.request, drop);
    }
    mem_free(call);
}

/* The pattern: the beginning of keys, and an asterisk. */
static bool read_pattern(struct bytes pattern, struct value_drop *drop)
{
    char at[VALUE_KEY_MAX + 1];
    struct bytes text;
    if (json_scan_string(pattern, at, sizeof(at), &text) != 0 || text.len < 2 ||
        text.at[text.len - 1] != '*' || names_check_room(bytes_of(text.at, text.len - 1)) != 0) {
        return false;
    }
    drop->prefix_len = text.len - 1;
    memcpy(drop->prefix, text.at, drop->prefix_len);
    return true;
}

/* Tags or a pattern; false: the request was answered. */
static bool read_drop(struct http_request *request, struct value_drop *drop)
{
    struct bytes object;
    struct bytes tags;
    struct bytes pattern;
    if (!api_values_read_object(request, false, "tags, pattern", &object) ||
        !api_values_read_member(request, object, "tags", &tags) ||
        !api_values_read_member(request, object, "pattern", &pattern)) {
        return false;
    }
    if ((tags.len > 0) == (pattern.len > 0)) {
        api_refuse_field(request, "tags", "Either tags or a pattern");
        return false;
    }
    if (tags.len == 0) {
        if (!read_pattern(pattern, drop)) {
            api_refuse_field(request, "pattern",
                "pattern: the beginning of keys, 1 to 200 bytes, and * as its last character");
            return false;
        }
        return true;
    }
    struct api_error error = api_values_read_tags(tags, &drop->tags);
    if (error.code == ERROR_NONE && drop->tags == NULL) {
        error = (struct api_error){
            .code = ERROR_INVALID_FIELD, .message = "tags: 1 to 16 of them", .field = "tags"};
    }
    if (error.code != ERROR_NONE) {
        api_refuse(request, &error);
    }
    return error.code == ERROR_NONE;
}

static void refuse_start(struct http_request *request, enum value_drop_start start)
{
    bool busy = start == VALUE_DROP_BUSY;
    api_refuse(
        request, &(struct api_error){.code = busy ? ERROR_RATE_LIMITED : ERROR_UNAVAILABLE,
                     .message = busy ? "As many invalidations as limits.value_drops are under way"
                                     : "Redis is away, nothing was changed: try again",
                     .retry_s = MESSAGE_RETRY_S});
}

void api_values_invalidate(struct http_request *request, void *context)
{
    (void)context;
    struct drop_call *call = mem_alloc(sizeof(*call));
    call->drop.done = on_dropped;
    if (!api_auth_backend(request, APIKEY_VALUES, &call->who) || !read_drop(request, &call->drop)) {
        mem_free(call);
        return;
    }
    call->drop.tenant_len = call->who.tenant.len;
    if (call->who.tenant.len > 0) {
        memcpy(call->drop.tenant, call->who.tenant.at, call->who.tenant.len);
    }
    enum value_drop_start start = value_drop_begin(&call->drop, api_shard(request)->shard);
    if (start != VALUE_DROP_BEGUN) {
        refuse_start(request, start);
        buf_unref(call->drop.tags);
        mem_free(call);
        return;
    }
    api_call_hold(&call->api, request);
}
