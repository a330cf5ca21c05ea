/* SPDX-License-Identifier: Apache-2.0 */
/*
 * notification_json - what answers about inboxes say, as JSON text; events are in server_events.h.
 *
 * Each function appends one JSON object; failure is the builder's. Times are epoch ms, 0 = null.
 */
#ifndef CODEC_NOTIFICATION_JSON_H
#define CODEC_NOTIFICATION_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/base/buf.h"
#include "codec/base/bytes.h"
#include "codec/notification.h"
#include "codec/notification_item.h"

/*
 * `notification`, and an item of every list: {id, seq, rev, userId, type, …}; with
 * expiresAt, seenAt, archivedAt, snoozedUntil, resurfaced, collapse, digest, count with either of
 * these, and updatedAt only where it is so.
 */
void notification_json_item(const struct notification_item *item, struct builder *out);

struct notification_sync_body {
    const struct notification_item *items;
    size_t item_count;
    const struct notification_change *changes;
    size_t change_count;
    uint64_t through_rev;
    uint64_t unread;
    uint64_t unseen;
    bool done;
};

/* The ack of `notification:sync`: {ok, items, states, rev, unread, unseen, done}. */
void notification_json_sync(const struct notification_sync_body *body, struct builder *out);

/* A page of an inbox, newest first. */
struct notification_page {
    const struct notification_item *items;
    size_t count;
    bool more; /* rows come behind these */
    uint64_t next_rev; /* with `more`: where, when it is not behind the last item; 0: it is */
    uint64_t next_seq;
    bool omit_nulls; /* members that are null are left out */
    uint32_t fields; /* set by notification_json_add_field; 0: items are whole */
    uint32_t max_bytes; /* of the text; 0: any number */
    bool ack; /* `"ok":true` in front */
    bool by_priority; /* the cursor says the priority too, or */
    const uint32_t *ranks; /* what each item has of what they are sorted by; or NULL */
    uint32_t page; /* its number, from 1, with the two below; 0: the answer ends with a cursor */
    uint32_t limit;
    uint64_t total; /* rows of all pages; above `total_max` there are more */
    uint64_t total_max;
    bool partial; /* not all rows were looked at */
};

/*
 * Append a page: {items, next}, or of numbered pages {items, pagination}. `next` is the cursor of
 * the next page as text, null where there is none. What does not fit into `max_bytes` is left to
 * the next page; one item is given whatever its size. Returns how many were given.
 */
size_t notification_json_list(const struct notification_page *page, struct builder *out);

/* A place in a list: what the row in front of it has. */
struct notification_cursor {
    uint64_t new_rev;
    uint64_t seq;
    uint32_t rank; /* what the list is sorted by before that */
    bool ranked; /* it is sorted by something else */
};

/* Read a cursor. STATUS_INVALID. */
MUST_CHECK int notification_cursor_parse(struct bytes text, struct notification_cursor *ret_cursor);

/* Members of an item that may be asked for. */
#define NOTIFICATION_JSON_FIELDS                                                                   \
    "id, seq, rev, newRev, userId, type, title, message, data, priority, isRead, readAt, "         \
    "createdAt, expiresAt, seenAt, archivedAt, snoozedUntil, resurfaced, collapse, count, "        \
    "updatedAt, digest"

/* Add the member `name` of an item to the set; STATUS_INVALID: items have no such member. */
MUST_CHECK int notification_json_add_field(struct bytes name, uint32_t *fields);

/* Append an item with the members of the set only, 0 for all; `omit_nulls`: without those that are
 * null. */
void notification_json_fields(
    const struct notification_item *item, uint32_t fields, bool omit_nulls, struct builder *out);

/* The name of a state, static; and the state of a name, STATUS_INVALID for none. */
struct bytes notification_state_name(enum notification_state state);
MUST_CHECK int notification_state_parse(struct bytes name, enum notification_state *ret_state);

#endif
