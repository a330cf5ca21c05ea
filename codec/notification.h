/* SPDX-License-Identifier: Apache-2.0 */
/*
 * notification - what a backend may post: a notification, or an ephemeral event.
 *
 * One set of checks behind all ways in: the fields of a stream entry, a JSON object, a
 * MessagePack object. After a successful parse every text is UTF-8 without NUL and within its
 * limit, `data` and `args` are JSON, and there is exactly one target.
 */
#ifndef CODEC_NOTIFICATION_H
#define CODEC_NOTIFICATION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/base/buf.h"
#include "codec/base/bytes.h"
#include "codec/base/check.h"
#include "codec/notification_item.h"

enum notification_target {
    NOTIFICATION_USERS,
    NOTIFICATION_ROOMS, /* events */
    NOTIFICATION_ALL,
    NOTIFICATION_TOPIC, /* notifications */
};

/* Of one notification: more users than the first are an audience, which is stored once. */
enum { NOTIFICATION_ROWS_MAX = 1000, NOTIFICATION_USERS_MAX = 10000 };

/* Bytes, unless it says otherwise. */
struct notification_limits {
    uint32_t type;
    uint32_t title;
    uint32_t message;
    uint32_t data; /* JSON text */
    uint32_t args; /* JSON text; an emitter's event has the same limit */
    uint32_t depth; /* nesting of data and args */
    uint32_t key;
    uint32_t collapse;
    uint32_t reply; /* name of a stream */
    uint32_t retain;
    uint32_t targets; /* users, or rooms, of one post */
    uint64_t now_ms; /* what expires must do so within 100 years from now; 0: by the year 9999 */
    uint64_t posted_ms; /* and after it was posted, which is before now where it waited */
    uint64_t deliver_after_ms; /* what is posted for later is for a time after this one */
};

/* How far ahead a post may be for: 400 days. */
#define NOTIFICATION_AHEAD_MS (UINT64_C(400) * 86400000)

/* type 64, title 256, message 4096, data and args 32 KiB, depth 32, key 255, collapse 128,
 * targets 1000. */
extern const struct notification_limits notification_limits_default;

/* What of a notification a poster changes. In requests to the store as numbers: the order stays. */
enum notification_edit {
    NOTIFICATION_EDIT_TITLE = 1u << 0,
    NOTIFICATION_EDIT_MESSAGE = 1u << 1,
    NOTIFICATION_EDIT_DATA = 1u << 2,
    NOTIFICATION_EDIT_PRIORITY = 1u << 3,
    NOTIFICATION_EDIT_EXPIRES = 1u << 4,
    NOTIFICATION_EDIT_ALL = (1u << 5) - 1,
    NOTIFICATION_EDIT_DELIVER = 1u << 5, /* of what is not delivered yet */
    NOTIFICATION_RESCHEDULE_ALL = NOTIFICATION_EDIT_ALL | NOTIFICATION_EDIT_DELIVER,
};

/* What was posted; absent texts are empty. Slices are borrowed from the input or owned by it. */
struct notification_post {
    bool is_event; /* `event` and `args`, else a notification */
    enum notification_target target;
    const struct bytes *targets; /* user ids, room names or the topic, `target_count` of them */
    uint32_t target_count; /* at least 1, or 0 with NOTIFICATION_ALL */
    bool include_new; /* with NOTIFICATION_ALL: also who comes before it expires */
    const struct bytes *except; /* room names; events over HTTP */
    uint32_t except_count;
    struct bytes tenant;
    struct bytes key;
    struct bytes reply;
    /* a notification */
    struct bytes type; /* never empty */
    struct bytes title;
    struct bytes message;
    struct bytes data; /* JSON text */
    enum notification_priority priority; /* also of an event; default medium */
    uint64_t expires_at; /* epoch ms; 0: never */
    uint64_t deliver_at; /* epoch ms; 0: at once */
    struct bytes collapse; /* takes the place of the user's newest open one of this name */
    /* an event */
    struct bytes event;
    struct bytes args; /* JSON text of an array; `[]` where absent */
    struct bytes retain; /* the name under which it is kept; empty: it is not */
    bool removes; /* `args` was null: what is kept by that name goes, and `args` is `[null]` */
    bool is_volatile;
    unsigned edited; /* set of enum notification_edit: what notification_from_edit_json has found */
    /* private */
    struct bytes *lists;
    char *texts;
    struct builder json;
};

enum { NOTIFICATION_FIELD_MAX = 64 };

/* What is wrong with a post. */
struct notification_fault {
    char field[NOTIFICATION_FIELD_MAX + 1]; /* the poster's name of it; empty: no single one */
    const char *message; /* what is allowed; static; NULL: nothing more to say */
};

/* A field of a stream entry. */
struct notification_field {
    struct bytes name;
    struct bytes value;
};

/*
 * Parse the fields of a stream entry, or its one field `json` or `msgpack`. `post` borrows from
 * the values until notification_post_finish, which it needs only after success.
 *
 * `ret_fault` says what is at fault. STATUS_INVALID (value, field
 * twice, no target or several, type or event missing), STATUS_NOT_FOUND (no field has that name),
 * STATUS_UTF8, STATUS_TOO_LARGE, STATUS_NOMEM.
 */
MUST_CHECK int notification_from_fields(const struct notification_field *fields, size_t count,
    const struct notification_limits *limits, struct notification_post *ret_post,
    struct notification_fault *ret_fault);

/* The same from the text of a JSON object. */
MUST_CHECK int notification_from_json(struct bytes object, const struct notification_limits *limits,
    struct notification_post *ret_post, struct notification_fault *ret_fault);

/*
 * The same from a body of POST /api/v1/notifications: fields of events, and `reply`, are unknown
 * there.
 */
MUST_CHECK int notification_from_body_json(struct bytes object,
    const struct notification_limits *limits, struct notification_post *ret_post,
    struct notification_fault *ret_fault);

/* The same from a MessagePack map. */
MUST_CHECK int notification_from_msgpack(struct bytes object,
    const struct notification_limits *limits, struct notification_post *ret_post,
    struct notification_fault *ret_fault);

/*
 * The body of POST /api/v1/events: `{event, args, to:{users,rooms,all}, except, volatile, retain}`
 * (also `tenant`, `priority`). Errors inside `to` name it.
 */
MUST_CHECK int notification_from_event_json(struct bytes object,
    const struct notification_limits *limits, struct notification_post *ret_post,
    struct notification_fault *ret_fault);

/* Whom a notification is for that is stored once, in whose name; AUDIENCE_NONE: a row for each. */
enum notification_audience notification_audience_of(const struct notification_post *post);

/* What an audience is called: "all", "topic", "list". */
struct bytes notification_audience_name(enum notification_audience audience);

/*
 * The body of PATCH /api/v1/notifications/{id}: some of title, message, data, priority, expires_at,
 * and of what is not delivered yet deliver_at.
 * `edited` says which are there; null takes a value away (a priority: medium). No target.
 */
MUST_CHECK int notification_from_edit_json(struct bytes object,
    const struct notification_limits *limits, struct notification_post *ret_post,
    struct notification_fault *ret_fault);

/* Free what a parse made. */
void notification_post_finish(struct notification_post *post);

/* A collision-resistant hash of `content`, cut to 16 bytes; keys are chosen by posters. */
typedef void (*notification_hash_fn)(struct bytes content, uint8_t ret_hash[16]);

/* Hash the key of one user: tenant, user and key, each with its length. */
MUST_CHECK int notification_key_hash(notification_hash_fn hash, struct bytes tenant,
    struct bytes user, struct bytes key, uint8_t ret_hash[16]);

/*
 * Hash the content of a notification, equal for two posts exactly when type, title, message, data,
 * priority, expiry and collapse are, and of a list of many whom it names. Blanks between the tokens
 * of data do not count, the order of its keys does. STATUS_NOMEM.
 */
MUST_CHECK int notification_content_hash(
    notification_hash_fn hash, const struct notification_post *post, uint8_t ret_hash[16]);

/* The name of a priority ("medium"). */
struct bytes notification_priority_name(enum notification_priority priority);

#endif
