/* SPDX-License-Identifier: Apache-2.0 */
/*
 * event - one ephemeral event on its way to sockets: a name and arguments, immutable, counted.
 *
 * The bytes stay in the form they arrived in (JSON text from clients and HTTP, MessagePack from
 * Socket.IO emitters); wire.h turns them into what a socket's format needs, once per window and
 * format. Shared between shards by reference.
 */
#ifndef CODEC_EVENT_H
#define CODEC_EVENT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "codec/base/buf.h"
#include "codec/base/bytes.h"
#include "codec/base/check.h"

enum event_form { EVENT_JSON, EVENT_MSGPACK };

enum event_flags {
    EVENT_VOLATILE = 1u << 0, /* not queued for a socket that is not writable now */
    EVENT_URGENT = 1u << 1, /* never windowed */
    EVENT_BINARY = 1u << 2, /* MessagePack bin inside, or attachments to JSON */
};

enum { EVENT_NAME_MAX = 128, EVENT_ATTACHMENTS_MAX = 10 };

struct event {
    uint8_t form; /* enum event_form */
    uint8_t flags; /* set of enum event_flags */
    uint16_t attachment_count; /* MessagePack: how many bins are inside (65535: or more) */
    uint32_t arg_count;
    struct bytes name; /* decoded UTF-8; a number stands as its decimal text */
    bool name_is_number; /* the first element was a number, not a string */
    struct bytes data; /* the whole array in `form`: JSON `["name",a,b]`, or MessagePack */
    struct bytes args; /* the elements behind the name: JSON `a,b` or concatenated MessagePack */
    struct buf **attachments; /* JSON form: what placeholders stand for, by number; or NULL */
    /* private */
    atomic_uint refs;
};

/* What an event takes of memory, its attachments included. */
size_t event_cost(const struct event *event);

/*
 * Make an event from the text of a JSON array whose first element is its name (checked: strict
 * JSON, depth at most DEPTH_ACCEPTED, name 1 to EVENT_NAME_MAX bytes, each placeholder within
 * `attachment_count` and there once). Copies `data`; adds references to `attachments`.
 * STATUS_INVALID, STATUS_UTF8, STATUS_TOO_LARGE (name, depth, attachments), STATUS_NOMEM;
 * STATUS_DENIED for a reserved name (names_event_reserved), however the event is made.
 */
MUST_CHECK int event_from_json(struct bytes data, struct buf *const *attachments,
    unsigned attachment_count, unsigned flags, struct event **ret_event);

/*
 * The same for the array of a packet, which sio_decode or packet_decode has checked: strict JSON,
 * no deeper than it may be, nothing around it.
 */
MUST_CHECK int event_from_packet(struct bytes data, struct buf *const *attachments,
    unsigned attachment_count, unsigned flags, struct event **ret_event);

/* Make an event from a name and the JSON text of an array of its arguments (`[a,b]`). */
MUST_CHECK int event_from_args(
    struct bytes name, struct bytes args_json, unsigned flags, struct event **ret_event);

/*
 * Make an event of Peal's own from the array that Peal has written: `["name"]` or `["name",arg]`,
 * without blanks, the name of `name_len` bytes without escapes. It is not read again, so how deep
 * it nests is up to who writes it (at most DEPTH_WIRE less what goes around an event).
 * STATUS_NOMEM, STATUS_TOO_LARGE (name, or 4 GiB), STATUS_DENIED as above.
 */
MUST_CHECK int event_from_own(
    struct bytes array, size_t name_len, unsigned flags, struct event **ret_event);

/* Make an event from a name and the JSON text of its arguments without brackets (`a,b`). */
MUST_CHECK int event_from_elements(
    struct bytes name, struct bytes elements, unsigned flags, struct event **ret_event);

/*
 * Make an event from a MessagePack array whose first element is its name (string, old raw type, or
 * integer). Sizes and depth are checked without allocation first. Sets EVENT_BINARY when there is a
 * bin inside. Statuses as above.
 */
MUST_CHECK int event_from_msgpack(struct bytes data, unsigned flags, struct event **ret_event);

/*
 * Make the same event with one argument more at the end: a value of Peal's own, as JSON that needs
 * no check. STATUS_NOMEM.
 */
MUST_CHECK int event_append_json(
    const struct event *event, struct bytes value, struct event **ret_event);

/* Add a reference and return `event`. Any thread. */
struct event *event_ref(struct event *event);

/* Drop a reference; NULL is allowed. Any thread. */
void event_unref(struct event *event);

#endif
