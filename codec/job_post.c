/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Values are collected by their names, as text, and checked then.
 */
#include "codec/job_post.h"

#include <stdio.h>
#include <string.h>

#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "codec/iso_time.h"
#include "codec/json_scan.h"
#include "codec/names.h"
#include "codec/utf8.h"

enum field { QUEUE, TYPE, PAYLOAD, USER, KEY, RUN_AT, PRIORITY, TENANT, FIELD_COUNT };

static const char *const names[FIELD_COUNT] = {
    "queue", "type", "payload", "user", "key", "run_at", "priority", "tenant"};

struct parse {
    struct job_post *post;
    const struct job_limits *limits;
    struct notification_fault *fault;
    struct bytes values[FIELD_COUNT];
    bool there[FIELD_COUNT];
    bool stream;
    size_t used; /* of post->texts */
};

static int fail(struct parse *parse, struct bytes field, const char *message, int status)
{
    snprintf(parse->fault->field, sizeof(parse->fault->field), "%.*s", (int)field.len, field.at);
    parse->fault->message = message;
    return status;
}

static int fail_field(struct parse *parse, enum field field, const char *message)
{
    const char *name = parse->stream && field == QUEUE ? "job" : names[field];
    return fail(parse, bytes_str(name), message, STATUS_INVALID);
}

/* FIELD_COUNT: no such. */
static enum field field_of(const struct parse *parse, struct bytes name)
{
    for (unsigned i = 0; i < FIELD_COUNT; i++) {
        const char *known = parse->stream && i == QUEUE ? "job" : names[i];
        if (bytes_eq_str(name, known) && (parse->stream || i != TENANT)) {
            return (enum field)i;
        }
    }
    return FIELD_COUNT;
}

static int collect(struct parse *parse, struct bytes name, struct bytes value)
{
    enum field field = field_of(parse, name);
    if (field == FIELD_COUNT) {
        return fail(parse, name,
            parse->stream
                ? "Unknown field; known here: job, type, payload, user, key, run_at, priority, "
                  "tenant"
                : "Unknown field; known here: queue, type, payload, user, key, run_at, priority",
            STATUS_INVALID);
    }
    if (parse->there[field]) {
        return fail_field(parse, field, "It is there twice");
    }
    parse->there[field] = true;
    parse->values[field] = value;
    return 0;
}

/* --- checking --- */

static bool is_key(struct bytes key)
{
    bool good = key.len <= JOB_KEY_MAX;
    for (size_t i = 0; good && i < key.len; i++) {
        good = key.at[i] > ' ' && key.at[i] < 0x7f;
    }
    return good;
}

static bool is_type(struct bytes type)
{
    return type.len > 0 && type.len <= JOB_TYPE_MAX && names_check_event(type) == 0;
}

static bool is_queue(struct bytes name)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    bool good = name.len > 0 && name.len <= JOB_QUEUE_MAX;
    for (size_t i = 0; good && i < name.len; i++) {
        good = name.at[i] != '\0' && strchr(allowed, name.at[i]) != NULL;
    }
    return good;
}

static int check_payload(struct parse *parse)
{
    struct job_post *post = parse->post;
    post->payload = parse->there[PAYLOAD] ? parse->values[PAYLOAD] : BYTES("null");
    unsigned flags = 0;
    if (parse->stream &&
        json_scan_text(post->payload, parse->limits->depth, &post->payload, NULL) != 0) {
        return fail_field(parse, PAYLOAD, "JSON, no deeper than limits.json_depth");
    }
    if (post->payload.len > parse->limits->payload_bytes) {
        return fail(
            parse, bytes_str(names[PAYLOAD]), "At most limits.data_bytes", STATUS_TOO_LARGE);
    }
    if (json_scan_text(post->payload, parse->limits->depth, NULL, &flags) != 0 ||
        (flags & JSON_SCAN_NUL) != 0) {
        return fail_field(
            parse, PAYLOAD, "JSON, no deeper than limits.json_depth and without \\u0000");
    }
    return 0;
}

static int check_run_at(struct parse *parse)
{
    struct bytes text = parse->values[RUN_AT];
    uint64_t *run_at = &parse->post->run_at;
    if (!parse->there[RUN_AT]) {
        return 0;
    }
    bool good = bytes_to_u64(text, (uint64_t)ISO_TIME_MAX, run_at) == 0 ||
                iso_time_parse(text, run_at) == 0;
    if (!good || !iso_time_may_be_stored(*run_at, parse->limits->now_ms) ||
        *run_at > parse->limits->now_ms + NOTIFICATION_AHEAD_MS) {
        return fail_field(
            parse, RUN_AT, "A time in ISO 8601 or in ms since 1970, at most 400 days ahead");
    }
    return 0;
}

static int check_priority(struct parse *parse)
{
    parse->post->priority = NOTIFICATION_MEDIUM;
    for (unsigned i = 0; parse->there[PRIORITY] && i < NOTIFICATION_PRIORITY_COUNT; i++) {
        enum notification_priority priority = (enum notification_priority)i;
        if (bytes_eq(parse->values[PRIORITY], notification_priority_name(priority))) {
            parse->post->priority = priority;
            return 0;
        }
    }
    return parse->there[PRIORITY] ? fail_field(parse, PRIORITY, "low, medium, high or urgent") : 0;
}

static int check(struct parse *parse)
{
    struct job_post *post = parse->post;
    post->queue = parse->values[QUEUE];
    post->type = parse->values[TYPE];
    post->user = parse->values[USER];
    post->key = parse->values[KEY];
    post->tenant = parse->values[TENANT];
    if (!is_queue(post->queue)) {
        return fail_field(parse, QUEUE, "The name of a queue");
    }
    if (!is_type(post->type)) {
        return fail_field(parse, TYPE, "1 to 128 bytes without control characters");
    }
    if (parse->there[USER] && names_check_user(post->user) != 0) {
        return fail_field(
            parse, USER, "A user id: 1 to 128 bytes without / and control characters");
    }
    if (parse->there[KEY] && (post->key.len == 0 || !is_key(post->key))) {
        return fail_field(parse, KEY, "1 to 255 printable characters of ASCII without blanks");
    }
    if (parse->there[TENANT] && names_check_tenant(post->tenant) != 0) {
        return fail_field(
            parse, TENANT, "A tenant: 1 to 128 bytes without / and control characters");
    }
    int status = check_payload(parse);
    status = status != 0 ? status : check_run_at(parse);
    return status != 0 ? status : check_priority(parse);
}

/* --- JSON --- */

/* The value of a member as text; of the payload as it stands there. */
static int collect_member(struct parse *parse, struct bytes key, struct bytes value, size_t cap)
{
    struct bytes name;
    struct bytes text = value;
    char at[NOTIFICATION_FIELD_MAX];
    if (json_scan_string(key, at, sizeof(at), &name) != 0) {
        name = bytes_of(key.at + 1, key.len - 2);
    }
    enum field field = field_of(parse, name);
    enum json_scan_kind kind = json_scan_kind(value);
    bool number = kind == JSON_SCAN_NUMBER && (field == USER || field == RUN_AT);
    if (field != FIELD_COUNT && field != PAYLOAD && !number) {
        char *to = parse->post->texts + parse->used;
        if (kind != JSON_SCAN_STRING ||
            json_scan_string(value, to, cap - parse->used, &text) != 0) {
            return fail_field(parse, field, "A string");
        }
        parse->used += text.at == to ? text.len : 0;
    }
    return collect(parse, name, text);
}

static int finish(struct parse *parse, int status)
{
    status = status != 0 ? status : check(parse);
    if (status != 0) {
        job_post_finish(parse->post);
    }
    return status;
}

int job_post_from_json(struct bytes object, const struct job_limits *limits, struct job_post *post,
    struct notification_fault *ret_fault)
{
    struct parse parse = {.post = post, .limits = limits, .fault = ret_fault};
    struct json_scan_iter iter;
    struct bytes key;
    struct bytes value;
    int status = 0;
    *post = (struct job_post){.texts = mem_try_alloc(object.len + 1)};
    *ret_fault = (struct notification_fault){0};
    if (post->texts == NULL) {
        return STATUS_NOMEM;
    }
    json_scan_iter_init(&iter, object);
    while (status == 0 && json_scan_member(&iter, &key, &value)) {
        status = collect_member(&parse, key, value, object.len + 1);
    }
    return finish(&parse, status);
}

int job_post_from_fields(const struct notification_field *fields, size_t count,
    const struct job_limits *limits, struct job_post *post, struct notification_fault *ret_fault)
{
    struct parse parse = {.post = post, .limits = limits, .fault = ret_fault, .stream = true};
    int status = 0;
    *post = (struct job_post){0};
    *ret_fault = (struct notification_fault){0};
    for (size_t i = 0; status == 0 && i < count; i++) {
        status = collect(&parse, fields[i].name, fields[i].value);
    }
    return finish(&parse, status);
}

void job_post_finish(struct job_post *post)
{
    mem_free(post->texts);
    post->texts = NULL;
}
