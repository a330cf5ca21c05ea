/* SPDX-License-Identifier: Apache-2.0 */
/*
 * notification_parse - a post while it is read: its fields as texts, and what is said of one that
 * is at fault. Private to notification_parse.c and notification_target.c.
 */
#ifndef CODEC_NOTIFICATION_PARSE_H
#define CODEC_NOTIFICATION_PARSE_H

#include <stdio.h>

#include "codec/base/status.h"
#include "codec/json_scan.h"
#include "codec/notification.h"

enum field {
#define X(field, name, kind, places, allowed) FIELD_##field,
#include "codec/notification_fields.def"
#undef X
    FIELD_COUNT,
};

/* What the value of a field is in JSON. */
enum kind { KIND_TEXT, KIND_VALUE, KIND_LIST, KIND_BOOL, KIND_TIME, KIND_TO };

/* Where a field may stand. */
enum place {
    IN_NOTIFICATION = 1u << 0,
    IN_EVENT = 1u << 1,
    IN_STREAM = 1u << 2, /* a stream entry, or the object in its place */
    IN_EVENT_BODY = 1u << 3, /* POST of an event */
    IN_TO = 1u << 4, /* inside its `to` */
    IN_BODY = 1u << 5, /* POST of notifications */
    IN_EDIT = 1u << 6, /* PATCH of one */
    IN_BOTH = IN_NOTIFICATION | IN_EVENT,
    IN_ANY_BODY = IN_BODY | IN_EVENT_BODY,
};

/* A row of notification_fields.def. */
struct notification_field_row {
    const char *name;
    enum kind kind;
    unsigned places;
    const char *allowed; /* what a caller is told who gave something else */
};
extern const struct notification_field_row notification_field_rows[FIELD_COUNT];

/* A parse under way. */
struct parse {
    const struct notification_limits *limits;
    struct notification_fault *fault;
    enum place place;
    unsigned seen; /* set of 1u << enum field */
    struct bytes value[FIELD_COUNT];
    char *texts;
    size_t texts_used;
    size_t texts_cap;
    struct notification_post *post;
    size_t lists_used;
};

static inline int fail_because(
    struct parse *parse, enum field field, int status, const char *message)
{
    snprintf(parse->fault->field, sizeof(parse->fault->field), "%s",
        notification_field_rows[field].name);
    parse->fault->message = message;
    return status;
}

static inline int fail(struct parse *parse, enum field field, int status)
{
    const char *message = notification_field_rows[field].allowed;
    if (status == STATUS_TOO_LARGE) {
        message = "Longer, more, or nested deeper than the limit";
    } else if (status == STATUS_UTF8) {
        message = "Not valid UTF-8";
    }
    return fail_because(parse, field, status, message);
}

static inline bool has(const struct parse *parse, enum field field)
{
    return parse->seen & 1u << field;
}

/* Unescape a JSON string into the texts of the post. */
static inline int unescape(struct parse *parse, struct bytes string, struct bytes *ret_text)
{
    int status = json_scan_string(
        string, parse->texts + parse->texts_used, parse->texts_cap - parse->texts_used, ret_text);
    if (status == 0 && ret_text->at == parse->texts + parse->texts_used) {
        parse->texts_used += ret_text->len;
    }
    return status;
}

static inline bool is_integer(struct bytes value)
{
    uint64_t positive;
    int64_t negative;
    return json_scan_u64(value, &positive) == 0 || json_scan_i64(value, &negative) == 0;
}

/* Check that there is one target, and fill in whom it names. Statuses of notification_from_fields.
 */
MUST_CHECK int notification_target_check(struct parse *parse);

#endif
