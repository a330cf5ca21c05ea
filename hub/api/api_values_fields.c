/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Values from JSON and back. Order of this file: bodies, keys, lives, tags, bytes, what came of it.
 *
 * Bytes of a kilobyte and more are packed as they come, where that makes them smaller, and travel
 * and lie so: in Redis, in memory, between shards.
 */
#include <stdio.h>

#include "actors/values/value_room.h"
#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "codec/json_scan.h"
#include "codec/json_write.h"
#include "codec/zip.h"
#include "hub/api/api_fields.h"
#include "hub/api/api_shard.h"
#include "hub/api/api_values.h"
#include "hub/config/config.h"

enum { PACK_LEAST = 1024, BODY_EXTRA = 16 << 10, SECOND_MS = 1000 };

static struct api_error fault(const char *field, const char *message)
{
    return (struct api_error){.code = ERROR_INVALID_FIELD, .message = message, .field = field};
}

static struct api_error no_memory(void)
{
    return (struct api_error){
        .code = ERROR_UNAVAILABLE, .message = "Out of memory, try again", .retry_s = 1};
}

static struct api_error fine(void)
{
    return (struct api_error){.code = ERROR_NONE};
}

uint32_t api_values_body(const struct config *config)
{
    return (uint32_t)config->limits_value_bytes + BODY_EXTRA;
}

/* Bodies. */

bool api_values_read_object(
    struct http_request *request, bool empty, const char *known, struct bytes *ret_object)
{
    const struct config *config = api_shard(request)->settings->config;
    if (empty && request->body.len == 0) {
        *ret_object = BYTES("{}");
        return true;
    }
    if (json_scan_text(request->body, config->limits_json_depth, ret_object, NULL) != 0 ||
        json_scan_kind(*ret_object) != JSON_SCAN_OBJECT) {
        api_refuse(request, &(struct api_error){.code = ERROR_BAD_REQUEST,
                                .message = "The body is no JSON object"});
        return false;
    }
    return api_fields_check(request, *ret_object, known);
}

bool api_values_read_member(
    struct http_request *request, struct bytes object, const char *key, struct bytes *ret_value)
{
    int status = json_scan_get(object, key, ret_value);
    if (status == STATUS_INVALID) {
        api_refuse_field(request, key, "The field is there twice");
        return false;
    }
    if (status != 0) {
        *ret_value = bytes_of(NULL, 0);
    }
    return true;
}

/* Keys. */

struct api_error api_values_name(struct value_op *op, struct bytes tenant, struct bytes key)
{
    if (names_check_room(key) != 0) {
        return fault("key", "A key: 1 to 200 bytes without / and control characters");
    }
    if (bytes_eq(key, BYTES("stats"))) { /* GET tells the statistics */
        return fault("key", "stats is no key: it is the name of the statistics");
    }
    op->name_len = value_name_write(tenant, key, op->name).len;
    return fine();
}

struct api_error api_values_name_json(struct value_op *op, struct bytes tenant, struct bytes key)
{
    char at[VALUE_KEY_MAX];
    struct bytes text;
    if (json_scan_string(key, at, sizeof(at), &text) != 0) {
        return fault("key", "A key: 1 to 200 bytes without / and control characters");
    }
    return api_values_name(op, tenant, text);
}

/* Lives. */

struct api_error api_values_read_ttl(
    const struct config *config, struct bytes ttl, struct value_op *op)
{
    uint64_t seconds = 0;
    op->ttl_ms = config->values_ttl_ms;
    if (ttl.len == 0) {
        return fine();
    }
    if (json_scan_u64(ttl, &seconds) != 0 || seconds == 0 ||
        seconds > config->values_ttl_max_ms / SECOND_MS) {
        return fault("ttl", "ttl: whole seconds, 1 to values.ttl_max");
    }
    op->ttl_ms = seconds * SECOND_MS;
    return fine();
}

/* Tags. */

/* Whether the list, each between line feeds, has `tag`. */
static bool has_tag(const struct builder *list, struct bytes tag)
{
    struct bytes left = builder_bytes(list);
    while (left.len > 1) {
        left = bytes_skip(left, 1);
        const char *end = memchr(left.at, '\n', left.len);
        size_t len = (size_t)(end - left.at);
        if (bytes_eq(bytes_of(left.at, len), tag)) {
            return true;
        }
        left = bytes_skip(left, len);
    }
    return false;
}

static struct api_error tags_fault(void)
{
    return fault("tags", "tags: up to 16 texts of 1 to 200 bytes without / and control characters");
}

struct api_error api_values_read_tags(struct bytes array, struct buf **ret_tags)
{
    struct builder list = {0};
    struct json_scan_iter iter;
    struct bytes element;
    unsigned count = 0;
    bool good = json_scan_iter_init(&iter, array) && json_scan_kind(array) == JSON_SCAN_ARRAY;
    while (good && json_scan_element(&iter, &element)) {
        char at[VALUE_KEY_MAX];
        struct bytes tag;
        good = ++count <= VALUE_TAGS_MAX && json_scan_string(element, at, sizeof(at), &tag) == 0 &&
               names_check_room(tag) == 0;
        if (good && !has_tag(&list, tag)) {
            builder_str(&list, builder_bytes(&list).len == 0 ? "\n" : "");
            builder_add(&list, tag);
            builder_byte(&list, '\n');
        }
    }
    bool any = builder_bytes(&list).len > 0;
    struct buf *tags = good && any ? builder_finish(&list) : NULL; /* of nothing: bytes, not NULL */
    builder_reset(&list);
    if (!good || (any && tags == NULL)) {
        return good ? no_memory() : tags_fault();
    }
    *ret_tags = tags;
    return fine();
}

/* Bytes. */

static struct api_error read_bytes(
    const struct config *config, struct bytes value, bool compress, struct value_op *op)
{
    if (value.len > config->limits_value_bytes) {
        return (struct api_error){.code = ERROR_TOO_LARGE,
            .message = "The value is larger than limits.value_bytes",
            .field = "value"};
    }
    if (compress && value.len >= PACK_LEAST) {
        op->body.bytes = zip_pack(value);
        op->body.raw = op->body.bytes != NULL ? (uint32_t)value.len : 0;
    }
    if (op->body.bytes == NULL) {
        op->body.bytes = buf_new(value);
    }
    return op->body.bytes != NULL ? fine() : no_memory();
}

enum { VALUE, TTL, TAGS, IF_VERSION, LEASE, COMPRESS, ROOM, FIELD_COUNT };

static struct bytes optional(const struct json_scan_wanted *field)
{
    return field->status == 0 ? field->value : bytes_of(NULL, 0);
}

struct api_error api_values_read_lease(struct bytes lease, struct value_op *op)
{
    struct bytes token = {0};
    if (lease.len == 0 || json_scan_string(lease, op->token, VALUE_TOKEN_MAX, &token) != 0 ||
        token.len == 0) {
        return fault("lease", "lease: what `fill` was");
    }
    memmove(op->token, token.at, token.len);
    op->token[token.len] = '\0';
    return fine();
}

/* The condition, and who fills. */
static struct api_error read_condition(const struct json_scan_wanted *fields, struct value_op *op)
{
    struct bytes version = optional(&fields[IF_VERSION]);
    struct bytes lease = optional(&fields[LEASE]);
    op->conditional = version.len > 0;
    if (op->conditional && json_scan_u64(version, &op->if_version) != 0) {
        return fault("if_version", "if_version: the version of the value, 0 for none");
    }
    return lease.len > 0 ? api_values_read_lease(lease, op) : fine();
}

/* The first field that is there twice; NULL: none. */
static const char *find_repeated(const struct json_scan_wanted *fields)
{
    for (unsigned i = 0; i < FIELD_COUNT; i++) {
        if (fields[i].status == STATUS_INVALID) {
            return fields[i].key;
        }
    }
    return NULL;
}

/* The room in which the value is shown. */
static struct api_error read_room(struct bytes room, struct value_op *op)
{
    struct bytes text;
    if (json_scan_string(room, op->room, sizeof(op->room), &text) != 0 ||
        names_check_room(text) != 0) {
        return fault("room", "room: 1 to 200 bytes without / and control characters");
    }
    memmove(op->room, text.at, text.len);
    op->room_len = text.len;
    return fine();
}

struct api_error api_values_check_room(struct shard *shard, const struct value_op *op)
{
    size_t bytes = op->body.raw > 0 ? op->body.raw : buf_bytes(op->body.bytes).len;
    if (op->room_len == 0) {
        return fine();
    }
    switch (value_room_check(shard, op, bytes)) {
    case VALUE_ROOM_FINE:
        break;
    case VALUE_ROOM_TYPE:
        return fault("room", "room: nothing is kept for rooms of this type");
    case VALUE_ROOM_FULL:
        return fault("room", "room: more than retain.names or retain.bytes would be kept");
    case VALUE_ROOM_LARGE:
        return (struct api_error){.code = ERROR_TOO_LARGE,
            .message = "What is shown in a room is an event, of limits.event_bytes at most",
            .field = "value"};
    }
    return fine();
}

struct api_error api_values_read_put(
    const struct config *config, struct bytes object, struct value_op *op)
{
    struct json_scan_wanted fields[FIELD_COUNT] = {[VALUE] = {.key = "value"},
        [TTL] = {.key = "ttl"},
        [TAGS] = {.key = "tags"},
        [IF_VERSION] = {.key = "if_version"},
        [LEASE] = {.key = "lease"},
        [COMPRESS] = {.key = "compress"},
        [ROOM] = {.key = "room"}};
    bool compress = true;
    json_scan_get_all(object, fields, FIELD_COUNT);
    const char *repeated = find_repeated(fields);
    if (repeated != NULL) {
        return fault(repeated, "The field is there twice");
    }
    if (fields[VALUE].status != 0) {
        return fault("value", "value: any JSON");
    }
    if (fields[COMPRESS].status == 0 && json_scan_bool(fields[COMPRESS].value, &compress) != 0) {
        return fault("compress", "compress: true or false");
    }
    struct api_error error = api_values_read_ttl(config, optional(&fields[TTL]), op);
    if (error.code == ERROR_NONE) {
        error = read_condition(fields, op);
    }
    if (error.code == ERROR_NONE && fields[TAGS].status == 0) {
        error = api_values_read_tags(fields[TAGS].value, &op->tags);
    }
    if (error.code == ERROR_NONE && fields[ROOM].status == 0) {
        error = read_room(fields[ROOM].value, op);
    }
    return error.code == ERROR_NONE ? read_bytes(config, fields[VALUE].value, compress, op) : error;
}

/* What came of it. */

struct api_error api_values_outcome(const struct value_op *op)
{
    static const struct {
        enum error_code code;
        const char *message;
        const char *field;
    } errors[] = {
        [VALUE_CONFLICT] = {ERROR_VERSION_CONFLICT, "The value has another version", "if_version"},
        [VALUE_LEASE_LOST] = {ERROR_LEASE_LOST,
            "The caller does not fill the value any more: ask for the lease again", "lease"},
        [VALUE_NO_INTEGER] = {ERROR_INVALID_FIELD, "The value is no whole number of 64 bits",
            "key"},
        [VALUE_OVERFLOW] = {ERROR_INVALID_FIELD, "The sum is beyond 64 bits", "by"},
        [VALUE_UNAVAILABLE] = {ERROR_UNAVAILABLE,
            "Redis is away or refused it, nothing was changed: try again", NULL},
        [VALUE_UNKNOWN] = {ERROR_UNKNOWN, "Redis went away meanwhile: it may be done, repeat it",
            NULL},
        [VALUE_TOO_LARGE] = {ERROR_TOO_LARGE,
            "Without Redis a value has a quarter of values.bytes of a shard", "value"},
        [VALUE_NO_MEMORY] = {ERROR_UNAVAILABLE, "Out of memory, try again", NULL},
    };
    enum value_outcome outcome = op->result.outcome;
    CHECK((size_t)outcome < ARRAY_LEN(errors) && errors[outcome].message != NULL);
    bool again = errors[outcome].code == ERROR_UNAVAILABLE || outcome == VALUE_UNKNOWN;
    return (struct api_error){.code = errors[outcome].code,
        .message = errors[outcome].message,
        .field = errors[outcome].field,
        .retry_s = again ? 1 : 0};
}

void api_values_write_error(const struct value_op *op, struct builder *out)
{
    struct api_error error = api_values_outcome(op);
    api_error_write(&error, out);
    if (op->result.outcome == VALUE_CONFLICT) {
        json_write_u64(out, "version", op->result.version);
    }
    builder_byte(out, '}');
}
