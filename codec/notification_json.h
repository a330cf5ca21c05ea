/* SPDX-License-Identifier: Apache-2.0 */
/*
 * notification_json - the payloads of Peal's own events and answers about inboxes, as JSON text.
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
 * `notification`, and an item of every list: {id, seq, rev, userId, type, …}; with seenAt and
 * archivedAt only where it was, so that a device that was away does not show what has gone.
 */
void notification_json_item(const struct notification_item *item, struct builder *out);

/* What `notification:state` says; `up_to` 0: by ids, UINT64_MAX: every one. */
struct notification_state_body {
    uint64_t rev;
    uint64_t unread;
    const struct notification_change *changes; /* whose ids are listed, where up_to is 0 */
    size_t count;
    uint64_t up_to;
    enum notification_state state;
    uint64_t at;
};

/* `notification:state`: {rev, unread, ids or upTo, state, at}. */
void notification_json_state(const struct notification_state_body *body, struct builder *out);

/* `unread`: {count, rev}. */
void notification_json_unread(uint64_t count, uint64_t rev, struct builder *out);

struct notification_ready {
    struct bytes user;
    struct bytes node;
    struct bytes epoch;
    uint64_t seq;
    uint64_t rev;
    uint64_t unread;
    uint32_t messages_per_minute;
    uint32_t message_bytes;
    uint32_t rooms;
};

/* `hub:ready`: {userId, node, epoch, seq, rev, unread, limits}. */
void notification_json_ready(const struct notification_ready *ready, struct builder *out);

/* `hub:resync`: {epoch, rev}. */
void notification_json_resync(struct bytes epoch, uint64_t rev, struct builder *out);

struct notification_sync_body {
    const struct notification_item *items;
    size_t item_count;
    const struct notification_change *changes;
    size_t change_count;
    uint64_t through_rev;
    uint64_t unread;
    bool done;
};

/* The ack of `notification:sync`: {ok, items, states, rev, unread, done}. */
void notification_json_sync(const struct notification_sync_body *body, struct builder *out);

/* A page of an inbox, newest first. */
struct notification_page {
    const struct notification_item *items;
    size_t count;
    uint64_t next_seq; /* the cursor of the next page; 0: there is none */
    uint32_t fields; /* set by notification_json_add_field; 0: items are whole */
    uint32_t max_bytes; /* of the text; 0: any number */
    bool ack; /* `"ok":true` in front */
};

/*
 * Append a page: {items, next}. `next` is the decimal cursor of the next page as text, null where
 * there is none. What does not fit into `max_bytes` is left to the next page; one item is given
 * whatever its size.
 */
void notification_json_list(const struct notification_page *page, struct builder *out);

/* Members of an item that may be asked for. */
#define NOTIFICATION_JSON_FIELDS                                                                   \
    "id, seq, rev, userId, type, title, message, data, priority, isRead, readAt, createdAt, "      \
    "expiresAt"

/* Add the member `name` of an item to the set; STATUS_INVALID: items have no such member. */
MUST_CHECK int notification_json_add_field(struct bytes name, uint32_t *fields);

/* Append an item with the members of the set only, 0 for all. */
void notification_json_fields(
    const struct notification_item *item, uint32_t fields, struct builder *out);

/* The state of a name; STATUS_INVALID for none. */
MUST_CHECK int notification_state_parse(struct bytes name, enum notification_state *ret_state);

#endif
