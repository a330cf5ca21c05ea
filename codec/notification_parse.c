/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From what was posted to a post: several ways in, one set of checks.
 *
 * Every way in first collects each field as the text it would have in a stream entry (collect_*),
 * then `check` turns the texts into a post. MessagePack becomes JSON text first. Unescaped strings
 * live in `texts`, which has room for the whole input, so slices of it never move.
 */
#include "codec/notification_parse.h"

#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "codec/depth.h"
#include "codec/iso_time.h"
#include "codec/json_scan.h"
#include "codec/mp.h"
#include "codec/names.h"
#include "codec/utf8.h"

const struct notification_field_row notification_field_rows[FIELD_COUNT] = {
#define X(field, name, kind, places, allowed) {name, KIND_##kind, places, allowed},
#include "codec/notification_fields.def"
#undef X
};

const struct notification_limits notification_limits_default = {
    .type = 64,
    .title = 256,
    .message = 4096,
    .data = 32 << 10,
    .args = 32 << 10,
    .depth = DEPTH_CLIENT,
    .key = 255,
    .collapse = 128,
    .reply = 255,
    .retain = 128,
    .targets = 1000,
};

/* What a field may be called where one has a name that is not known there. */
static const char *known_names(unsigned place)
{
    switch (place) {
    case IN_TO:
        return "Unknown field; known in to: users, rooms, all";
    case IN_EVENT_BODY:
        return "Unknown field; known here: event, args, to, except, volatile, retain, tenant, "
               "priority";
    case IN_BODY:
        return "Unknown field of a notification; known here: user, users, topic, all, include_new, "
               "tenant, type, title, message, data, priority, key, expires_at, deliver_at, "
               "collapse";
    case IN_EDIT:
        return "Unknown field; known here: title, message, data, priority, expires_at, deliver_at";
    default:
        return "Unknown field; known here: user, users, room, topic, all, include_new, tenant, "
               "type, title, message, data, priority, key, expires_at, deliver_at, collapse, "
               "reply, event, args, retain";
    }
}

/* A field with a name that is not known: it is told as far as it is text. */
static int fail_unknown(struct parse *parse, struct bytes name, unsigned place)
{
    size_t len = name.len < NOTIFICATION_FIELD_MAX ? name.len : NOTIFICATION_FIELD_MAX;
    while (len > 0 && !utf8_valid(bytes_of(name.at, len))) {
        len--;
    }
    if (len > 0) {
        memcpy(parse->fault->field, name.at, len);
    }
    parse->fault->field[len] = '\0';
    parse->fault->message = known_names(place);
    return STATUS_NOT_FOUND;
}

/* Note a value; an empty one is as if it were absent, except where a name must stand. */
static int collect(struct parse *parse, enum field field, struct bytes value)
{
    if (has(parse, field)) {
        return fail_because(parse, field, STATUS_INVALID, "The field is there twice");
    }
    parse->seen |= 1u << field;
    parse->value[field] = value;
    return 0;
}

static enum field field_of(struct bytes name, unsigned place)
{
    unsigned field = 0;
    while (field < FIELD_COUNT && !((notification_field_rows[field].places & place) &&
                                      bytes_eq_str(name, notification_field_rows[field].name))) {
        field++;
    }
    return (enum field)field;
}

/* From JSON. */

static int collect_object(struct parse *parse, struct bytes object, unsigned place);

static int collect_bool(struct parse *parse, enum field field, struct bytes value)
{
    bool set;
    if (json_scan_bool(value, &set) < 0) {
        return fail(parse, field, STATUS_INVALID);
    }
    return set ? collect(parse, field, BYTES("true")) : 0;
}

/* Whether a field names a user or a tenant, for which a number may stand: 42 is "42". */
static bool is_name(enum field field)
{
    return field == FIELD_USER || field == FIELD_TENANT;
}

/* No value, then; of `args` it means something beside `retain`. */
static int collect_null(struct parse *parse, enum field field)
{
    if (field == FIELD_ARGS) {
        return collect(parse, field, BYTES("null"));
    }
    return parse->place == IN_EDIT ? collect(parse, field, BYTES("")) : 0;
}

static int collect_json(struct parse *parse, enum field field, struct bytes value)
{
    enum json_scan_kind kind = json_scan_kind(value);
    if (kind == JSON_SCAN_NULL) {
        return collect_null(parse, field);
    }
    if (notification_field_rows[field].kind == KIND_BOOL) {
        return collect_bool(parse, field, value);
    }
    if (notification_field_rows[field].kind == KIND_TO) {
        int status = kind == JSON_SCAN_OBJECT ? collect(parse, field, value)
                                              : fail(parse, field, STATUS_INVALID);
        return status < 0 ? status : collect_object(parse, value, IN_TO);
    }
    bool raw = notification_field_rows[field].kind == KIND_VALUE ||
               notification_field_rows[field].kind == KIND_LIST ||
               (notification_field_rows[field].kind == KIND_TIME && kind == JSON_SCAN_NUMBER);
    if (!raw && !(is_name(field) && is_integer(value))) {
        int status = unescape(parse, value, &value);
        if (status < 0) {
            return fail(parse, field, status);
        }
    }
    return collect(parse, field, value);
}

static int collect_object(struct parse *parse, struct bytes object, unsigned place)
{
    struct json_scan_iter iter;
    struct bytes key;
    struct bytes value;
    if (json_scan_kind(object) != JSON_SCAN_OBJECT || !json_scan_iter_init(&iter, object)) {
        parse->fault->message = "A post is a JSON object";
        return STATUS_INVALID;
    }
    while (json_scan_member(&iter, &key, &value)) {
        char text[NOTIFICATION_FIELD_MAX];
        struct bytes name = bytes_of(key.at + 1, key.len - 2); /* as it stands there, if too long */
        unsigned field = FIELD_COUNT;
        if (json_scan_string(key, text, sizeof(text), &name) == 0) {
            field = field_of(name, place);
        }
        if (field == FIELD_COUNT) {
            return fail_unknown(parse, name, place);
        }
        int status = collect_json(parse, (enum field)field, value);
        if (status < 0) {
            return status;
        }
    }
    return 0;
}

/* From a stream entry. */

static int collect_field(struct parse *parse, const struct notification_field *from)
{
    unsigned field = field_of(from->name, IN_STREAM);
    if (field == FIELD_COUNT) {
        return fail_unknown(parse, from->name, IN_STREAM);
    }
    if (notification_field_rows[field].kind == KIND_BOOL) {
        bool set = bytes_eq_str(from->value, "1") || bytes_eq_str(from->value, "true");
        return set ? collect(parse, (enum field)field, BYTES("true"))
                   : fail(parse, (enum field)field, STATUS_INVALID);
    }
    return collect(parse, (enum field)field, from->value);
}

/* Checks. */

/* Text of at most `max` bytes; absent is empty. */
static int check_text(struct parse *parse, enum field field, uint32_t max, struct bytes *ret_text)
{
    struct bytes text = parse->value[field];
    int status = 0;
    if (text.len > max) {
        status = STATUS_TOO_LARGE;
    } else if (!utf8_valid(text)) {
        status = STATUS_UTF8;
    } else if (text.len > 0 && memchr(text.at, 0, text.len) != NULL) {
        status = STATUS_INVALID;
    }
    *ret_text = text;
    return status < 0 ? fail(parse, field, status) : 0;
}

/* JSON text that can be stored: no NUL and no half surrogate pair, escaped or not. */
static int check_json(struct parse *parse, enum field field, uint32_t max, struct bytes *ret_json)
{
    struct bytes value = {0};
    unsigned flags = 0;
    int status = STATUS_TOO_LARGE;
    if (parse->value[field].len == 0) {
        return 0;
    }
    if (parse->value[field].len <= max) {
        status = json_scan_text(parse->value[field], parse->limits->depth, &value, &flags);
    }
    if (status == 0 && flags & JSON_SCAN_NUL) {
        status = STATUS_INVALID;
    } else if (status == 0 && flags & JSON_SCAN_SURROGATE) {
        status = STATUS_UTF8;
    }
    if (status < 0) {
        return fail(parse, field, status);
    }
    *ret_json = value;
    return 0;
}

static int check_expiry(struct parse *parse)
{
    struct bytes text = parse->value[FIELD_EXPIRES_AT];
    uint64_t *expires_at = &parse->post->expires_at;
    if (text.len == 0) {
        return 0;
    }
    const struct notification_limits *limits = parse->limits;
    bool good = bytes_to_u64(text, (uint64_t)ISO_TIME_MAX, expires_at) == 0 ||
                iso_time_parse(text, expires_at) == 0;
    if (!good || !iso_time_may_be_stored(*expires_at, limits->now_ms) ||
        *expires_at <= limits->posted_ms) {
        return fail(parse, FIELD_EXPIRES_AT, STATUS_INVALID);
    }
    return 0;
}

/* A time to come; of what is taken from elsewhere it may have passed meanwhile. */
static int check_delivery(struct parse *parse)
{
    struct bytes text = parse->value[FIELD_DELIVER_AT];
    uint64_t *deliver_at = &parse->post->deliver_at;
    if (text.len == 0) {
        return 0;
    }
    const struct notification_limits *limits = parse->limits;
    bool good = bytes_to_u64(text, (uint64_t)ISO_TIME_MAX, deliver_at) == 0 ||
                iso_time_parse(text, deliver_at) == 0;
    bool far = limits->now_ms > 0 && *deliver_at > limits->now_ms + NOTIFICATION_AHEAD_MS;
    if (!good || far || !iso_time_may_be_stored(*deliver_at, limits->now_ms) ||
        *deliver_at <= limits->deliver_after_ms) {
        return fail(parse, FIELD_DELIVER_AT, STATUS_INVALID);
    }
    return 0;
}

static const char *const priority_names[NOTIFICATION_PRIORITY_COUNT] = {
    [NOTIFICATION_LOW] = "low",
    [NOTIFICATION_MEDIUM] = "medium",
    [NOTIFICATION_HIGH] = "high",
    [NOTIFICATION_URGENT] = "urgent",
};

static int parse_priority(struct bytes name, enum notification_priority *ret_priority)
{
    for (unsigned i = 0; i < NOTIFICATION_PRIORITY_COUNT; i++) {
        if (bytes_eq_str(name, priority_names[i])) {
            *ret_priority = (enum notification_priority)i;
            return 0;
        }
    }
    return STATUS_INVALID;
}

static int check_priority(struct parse *parse)
{
    parse->post->priority = NOTIFICATION_MEDIUM;
    struct bytes name = parse->value[FIELD_PRIORITY];
    if (name.len > 0 && parse_priority(name, &parse->post->priority) < 0) {
        return fail(parse, FIELD_PRIORITY, STATUS_INVALID);
    }
    return 0;
}

static int check_notification(struct parse *parse)
{
    struct notification_post *post = parse->post;
    const struct notification_limits *limits = parse->limits;
    int status = check_text(parse, FIELD_TYPE, limits->type, &post->type);
    status = status < 0 ? status : check_text(parse, FIELD_TITLE, limits->title, &post->title);
    status =
        status < 0 ? status : check_text(parse, FIELD_MESSAGE, limits->message, &post->message);
    status = status < 0 ? status : check_json(parse, FIELD_DATA, limits->data, &post->data);
    status =
        status < 0 ? status : check_text(parse, FIELD_COLLAPSE, limits->collapse, &post->collapse);
    status = status < 0 ? status : check_expiry(parse);
    status = status < 0 ? status : check_delivery(parse);
    if (status == 0 && post->type.len == 0) {
        status = fail_because(parse, FIELD_TYPE, STATUS_INVALID, "A notification has a type");
    }
    if (status == 0 && post->collapse.len > 0 && notification_audience_of(post) != AUDIENCE_NONE) {
        status = fail_because(parse, FIELD_COLLAPSE, STATUS_INVALID,
            "Of users with a row each: not of a topic, of all or of more than 1,000");
    }
    return status;
}

/* `null` as arguments is none; of an event that is kept it takes away what was. */
static int check_args(struct parse *parse)
{
    struct notification_post *post = parse->post;
    post->args = BYTES("[]");
    int status = check_json(parse, FIELD_ARGS, parse->limits->args, &post->args);
    if (status == 0 && json_scan_kind(post->args) == JSON_SCAN_NULL) {
        post->removes = has(parse, FIELD_RETAIN);
        post->args = post->removes ? BYTES("[null]") : BYTES("[]");
    }
    if (status == 0 && json_scan_kind(post->args) != JSON_SCAN_ARRAY) {
        status = fail(parse, FIELD_ARGS, STATUS_INVALID);
    }
    return status;
}

static int check_event(struct parse *parse)
{
    struct notification_post *post = parse->post;
    post->event = parse->value[FIELD_EVENT];
    post->is_volatile = has(parse, FIELD_VOLATILE);
    int status = names_check_event(post->event);
    if (status == 0 && names_event_reserved(post->event)) {
        status = STATUS_INVALID;
    }
    if (status < 0) {
        return fail(parse, FIELD_EVENT, status);
    }
    status = check_args(parse);
    return status < 0 ? status
                      : check_text(parse, FIELD_RETAIN, parse->limits->retain, &post->retain);
}

/* A field that the other kind of post has. */
static int check_kind(struct parse *parse)
{
    unsigned place = parse->post->is_event ? IN_EVENT : IN_NOTIFICATION;
    for (unsigned field = 0; field < FIELD_COUNT; field++) {
        if (has(parse, (enum field)field) && !(notification_field_rows[field].places & place)) {
            return fail_because(parse, (enum field)field, STATUS_INVALID,
                place == IN_EVENT ? "An event has no such field"
                                  : "A notification has no such field");
        }
    }
    return 0;
}

static int check(struct parse *parse)
{
    struct notification_post *post = parse->post;
    post->is_event = has(parse, FIELD_EVENT);
    if (!post->is_event && bytes_eq_str(parse->value[FIELD_ARGS], "null")) {
        parse->seen &= ~(1u << FIELD_ARGS); /* no value, then */
    }
    int status = check_kind(parse);
    status = status < 0 ? status : notification_target_check(parse);
    post->tenant = parse->value[FIELD_TENANT];
    if (status == 0 && post->tenant.len > 0 && names_check_tenant(post->tenant) < 0) {
        status = fail(parse, FIELD_TENANT, names_check_tenant(post->tenant));
    }
    status = status < 0 ? status : check_text(parse, FIELD_KEY, parse->limits->key, &post->key);
    status =
        status < 0 ? status : check_text(parse, FIELD_REPLY, parse->limits->reply, &post->reply);
    status = status < 0 ? status : check_priority(parse);
    if (status < 0) {
        return status;
    }
    return post->is_event ? check_event(parse) : check_notification(parse);
}

static unsigned edited_fields(const struct parse *parse)
{
    return (has(parse, FIELD_TITLE) ? NOTIFICATION_EDIT_TITLE : 0u) |
           (has(parse, FIELD_MESSAGE) ? NOTIFICATION_EDIT_MESSAGE : 0u) |
           (has(parse, FIELD_DATA) ? NOTIFICATION_EDIT_DATA : 0u) |
           (has(parse, FIELD_PRIORITY) ? NOTIFICATION_EDIT_PRIORITY : 0u) |
           (has(parse, FIELD_EXPIRES_AT) ? NOTIFICATION_EDIT_EXPIRES : 0u) |
           (has(parse, FIELD_DELIVER_AT) ? NOTIFICATION_EDIT_DELIVER : 0u);
}

/* What may be changed, and something of it. */
static int check_edit(struct parse *parse)
{
    struct notification_post *post = parse->post;
    const struct notification_limits *limits = parse->limits;
    int status = check_text(parse, FIELD_TITLE, limits->title, &post->title);
    status =
        status < 0 ? status : check_text(parse, FIELD_MESSAGE, limits->message, &post->message);
    status = status < 0 ? status : check_json(parse, FIELD_DATA, limits->data, &post->data);
    status = status < 0 ? status : check_priority(parse);
    status = status < 0 ? status : check_expiry(parse);
    status = status < 0 ? status : check_delivery(parse);
    if (status == 0 && parse->seen == 0) {
        parse->fault->message =
            "Something of: title, message, data, priority, expires_at, deliver_at";
        return STATUS_INVALID;
    }
    if (status == 0 && has(parse, FIELD_DELIVER_AT) && post->deliver_at == 0) {
        return fail(parse, FIELD_DELIVER_AT, STATUS_INVALID); /* to have it at once, cancel it */
    }
    post->edited = edited_fields(parse);
    return status;
}

/* The ways in. */

/* Make room for `len` bytes of unescaped text and begin. */
static int begin(struct parse *parse, size_t len)
{
    *parse->fault = (struct notification_fault){0};
    parse->texts = mem_try_alloc(len + 1);
    parse->texts_cap = len;
    parse->post->texts = parse->texts;
    return parse->texts != NULL ? 0 : STATUS_NOMEM;
}

static int finish(struct parse *parse, int status, struct notification_post *ret_post)
{
    if (status < 0) {
        notification_post_finish(parse->post);
        return status;
    }
    *ret_post = *parse->post;
    return 0;
}

/* Parse an object into parse->post, which may hold the text already. */
static int parse_object(struct parse *parse, struct bytes object, enum place place)
{
    struct bytes value;
    parse->place = place;
    int status = begin(parse, object.len);
    /* How deep data and args may nest is checked with them, so that the field is named. */
    status = status < 0 ? status : json_scan_text(object, JSON_SCAN_DEPTH_MAX, &value, NULL);
    status = status < 0 ? status : collect_object(parse, value, place);
    if (status == 0 && place == IN_EVENT_BODY &&
        !(has(parse, FIELD_EVENT) && has(parse, FIELD_TO))) {
        status = fail(parse, has(parse, FIELD_EVENT) ? FIELD_TO : FIELD_EVENT, STATUS_INVALID);
    }
    if (status < 0) {
        return status;
    }
    return place == IN_EDIT ? check_edit(parse) : check(parse);
}

static int from_object(struct bytes object, enum place place,
    const struct notification_limits *limits, struct notification_post *ret_post,
    struct notification_fault *ret_fault)
{
    struct notification_post post = {0};
    struct parse parse = {.limits = limits, .fault = ret_fault, .post = &post};
    return finish(&parse, parse_object(&parse, object, place), ret_post);
}

int notification_from_json(struct bytes object, const struct notification_limits *limits,
    struct notification_post *ret_post, struct notification_fault *ret_fault)
{
    return from_object(object, IN_STREAM, limits, ret_post, ret_fault);
}

int notification_from_body_json(struct bytes object, const struct notification_limits *limits,
    struct notification_post *ret_post, struct notification_fault *ret_fault)
{
    return from_object(object, IN_BODY, limits, ret_post, ret_fault);
}

int notification_from_event_json(struct bytes object, const struct notification_limits *limits,
    struct notification_post *ret_post, struct notification_fault *ret_fault)
{
    return from_object(object, IN_EVENT_BODY, limits, ret_post, ret_fault);
}

int notification_from_edit_json(struct bytes object, const struct notification_limits *limits,
    struct notification_post *ret_post, struct notification_fault *ret_fault)
{
    return from_object(object, IN_EDIT, limits, ret_post, ret_fault);
}

int notification_from_msgpack(struct bytes object, const struct notification_limits *limits,
    struct notification_post *ret_post, struct notification_fault *ret_fault)
{
    struct notification_post post = {0};
    struct parse parse = {.limits = limits, .fault = ret_fault, .post = &post};
    *ret_fault = (struct notification_fault){0};
    int status = mp_check(object, MP_DEPTH_MAX, NULL);
    post.json.max = object.len * 8 + 64; /* JSON is not longer: control characters take six */
    status = status < 0 ? status : mp_to_json(object, NULL, &post.json);
    status = status < 0 ? status : parse_object(&parse, builder_bytes(&post.json), IN_STREAM);
    return finish(&parse, status, ret_post);
}

int notification_from_fields(const struct notification_field *from, size_t count,
    const struct notification_limits *limits, struct notification_post *ret_post,
    struct notification_fault *ret_fault)
{
    if (count == 1 && bytes_eq_str(from->name, "json")) {
        return notification_from_json(from->value, limits, ret_post, ret_fault);
    }
    if (count == 1 && bytes_eq_str(from->name, "msgpack")) {
        return notification_from_msgpack(from->value, limits, ret_post, ret_fault);
    }
    struct notification_post post = {0};
    struct parse parse = {.limits = limits, .fault = ret_fault, .post = &post};
    int status = 0;
    *ret_fault = (struct notification_fault){0};
    for (size_t i = 0; i < count && status == 0; i++) {
        status = collect_field(&parse, &from[i]);
    }
    /* Only the names in `users` are escaped here. */
    status = status < 0 ? status : begin(&parse, parse.value[FIELD_USERS].len);
    status = status < 0 ? status : check(&parse);
    return finish(&parse, status, ret_post);
}

void notification_post_finish(struct notification_post *post)
{
    mem_free(post->lists);
    mem_free(post->texts);
    builder_reset(&post->json);
    *post = (struct notification_post){0};
}

struct bytes notification_priority_name(enum notification_priority priority)
{
    CHECK(priority < NOTIFICATION_PRIORITY_COUNT);
    return bytes_str(priority_names[priority]);
}
