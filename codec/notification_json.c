/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes items, pages and changes of inboxes; a page stops where an answer is full.
 */
#include "codec/notification_json.h"

#include "codec/base/status.h"
#include "codec/http1.h"
#include "codec/json_scan.h"
#include "codec/json_write.h"
#include "codec/notification_digest.h"

static const char *const state_names[NOTIFICATION_STATE_COUNT] = {
    [NOTIFICATION_UNREAD] = "unread",
    [NOTIFICATION_SEEN] = "seen",
    [NOTIFICATION_READ] = "read",
    [NOTIFICATION_ARCHIVED] = "archived",
    [NOTIFICATION_SNOOZED] = "snoozed",
    [NOTIFICATION_EXPIRED] = "expired",
    [NOTIFICATION_ERASED] = "erased",
};

struct bytes notification_state_name(enum notification_state state)
{
    CHECK(state < NOTIFICATION_STATE_COUNT);
    return bytes_str(state_names[state]);
}

int notification_state_parse(struct bytes name, enum notification_state *ret_state)
{
    for (unsigned i = 0; i < NOTIFICATION_STATE_COUNT; i++) {
        if (bytes_eq_str(name, state_names[i])) {
            *ret_state = (enum notification_state)i;
            return 0;
        }
    }
    return STATUS_INVALID;
}

/* Archived rows are no longer unread, also where nobody read them. */
static bool is_read(const struct notification_item *item)
{
    return item->state == NOTIFICATION_READ || item->state == NOTIFICATION_ARCHIVED ||
           item->read_at > 0;
}

/* The post that the row was made from. */
static void write_audience(const struct notification_item *item, struct builder *out)
{
    json_write_key(out, "audience");
    json_write_open(out, '{');
    json_write_uuid(out, "id", item->audience_id);
    json_write_text(out, "kind", notification_audience_name(item->audience));
    if (item->audience == AUDIENCE_TOPIC) {
        json_write_text(out, "name", item->audience_name);
    } else {
        json_write_json(out, "name", bytes_of(NULL, 0));
    }
    json_write_close(out, '}');
}

/* The posts that the row stands for, the newest first. */
static void write_digest(struct bytes digest, struct builder *out)
{
    struct notification_digest_entry entry;
    json_write_key(out, "digest");
    json_write_open(out, '[');
    while (notification_digest_take(&digest, &entry)) {
        json_write_next(out);
        json_write_open(out, '{');
        json_write_uuid(out, "id", entry.id);
        json_write_text(out, "title", entry.title);
        json_write_text(out, "message", entry.message);
        if (entry.data.len > 0) {
            json_write_json(out, "data", entry.data);
        }
        json_write_text(out, "priority", notification_priority_name(entry.priority));
        json_write_time(out, "createdAt", entry.at);
        json_write_close(out, '}');
    }
    json_write_close(out, ']');
}

void notification_json_item(const struct notification_item *item, struct builder *out)
{
    json_write_open(out, '{');
    json_write_uuid(out, "id", item->id);
    json_write_u64(out, "seq", item->seq);
    json_write_u64(out, "rev", item->rev);
    json_write_u64(out, "newRev", item->new_rev);
    json_write_text(out, "userId", item->user);
    json_write_text(out, "type", item->type);
    json_write_text(out, "title", item->title);
    json_write_text(out, "message", item->message);
    json_write_json(out, "data", item->data);
    json_write_text(out, "priority", notification_priority_name(item->priority));
    json_write_bool(out, "isRead", is_read(item));
    json_write_time(out, "readAt", item->read_at);
    json_write_time(out, "createdAt", item->created_at);
    if (item->expires_at > 0) {
        json_write_time(out, "expiresAt", item->expires_at);
    }
    if (item->seen_at > 0) {
        json_write_time(out, "seenAt", item->seen_at);
    }
    if (item->archived_at > 0) {
        json_write_time(out, "archivedAt", item->archived_at);
    }
    if (item->snoozed_until > 0) {
        json_write_time(out, "snoozedUntil", item->snoozed_until);
    }
    if (item->resurfaced_at > 0) {
        json_write_bool(out, "resurfaced", true);
    }
    if (item->collapse.len > 0) {
        json_write_text(out, "collapse", item->collapse);
    }
    if (item->collapse.len > 0 || item->digest.len > 0) {
        json_write_u64(out, "count", item->count);
    }
    if (item->digest.len > 0) {
        write_digest(item->digest, out);
    }
    if (item->updated_at > 0) {
        json_write_time(out, "updatedAt", item->updated_at);
    }
    if (item->audience != AUDIENCE_NONE) {
        write_audience(item, out);
    }
    if (item->silent) {
        json_write_bool(out, "silent", true);
    }
    json_write_close(out, '}');
}

static void add_change(struct builder *out, const struct notification_change *change)
{
    json_write_next(out);
    json_write_open(out, '{');
    json_write_uuid(out, "id", change->id);
    json_write_u64(out, "seq", change->seq);
    json_write_u64(out, "rev", change->rev);
    json_write_text(out, "state", notification_state_name(change->state));
    json_write_time(out, "at", change->at);
    if (change->snoozed_until > 0) {
        json_write_time(out, "snoozedUntil", change->snoozed_until);
    }
    json_write_close(out, '}');
}

void notification_json_sync(const struct notification_sync_body *body, struct builder *out)
{
    json_write_open(out, '{');
    json_write_bool(out, "ok", true);
    json_write_key(out, "items");
    json_write_open(out, '[');
    for (size_t i = 0; i < body->item_count; i++) {
        json_write_next(out);
        notification_json_item(&body->items[i], out);
    }
    json_write_close(out, ']');
    json_write_key(out, "states");
    json_write_open(out, '[');
    for (size_t i = 0; i < body->change_count; i++) {
        add_change(out, &body->changes[i]);
    }
    json_write_close(out, ']');
    json_write_u64(out, "rev", body->through_rev);
    json_write_u64(out, "unread", body->unread);
    json_write_u64(out, "unseen", body->unseen);
    json_write_bool(out, "done", body->done);
    json_write_close(out, '}');
}

/* Parts of items. */

int notification_json_add_field(struct bytes name, uint32_t *fields)
{
    struct bytes list = BYTES(NOTIFICATION_JSON_FIELDS);
    struct bytes known;
    for (unsigned i = 0; http1_list_next(&list, &known); i++) {
        if (bytes_eq(name, known)) {
            *fields |= 1U << i;
            return 0;
        }
    }
    return STATUS_INVALID;
}

static bool is_wanted(uint32_t fields, struct bytes key)
{
    struct bytes list = BYTES(NOTIFICATION_JSON_FIELDS);
    struct bytes known;
    for (unsigned i = 0; http1_list_next(&list, &known); i++) {
        if (json_scan_string_eq(key, known)) {
            return (fields & (1U << i)) != 0;
        }
    }
    return false;
}

void notification_json_fields(
    const struct notification_item *item, uint32_t fields, bool omit_nulls, struct builder *out)
{
    struct builder whole = {0};
    struct json_scan_iter iter;
    struct bytes key;
    struct bytes value;
    const char *comma = "";
    if (fields == 0 && !omit_nulls) {
        notification_json_item(item, out);
        return;
    }
    notification_json_item(item, &whole);
    builder_byte(out, '{');
    json_scan_iter_init(&iter, builder_bytes(&whole));
    while (json_scan_member(&iter, &key, &value)) {
        bool wanted = fields == 0 || is_wanted(fields, key);
        if (wanted && !(omit_nulls && json_scan_kind(value) == JSON_SCAN_NULL)) {
            builder_str(out, comma);
            builder_add(out, key);
            builder_byte(out, ':');
            builder_add(out, value);
            comma = ",";
        }
    }
    builder_byte(out, '}');
    builder_reset(&whole);
}

/* Pages. */

/* A cursor: new_rev, seq where it differs or a rank follows, and the rank, with dots between. */
static void add_place(struct builder *out, uint64_t new_rev, uint64_t seq, bool ranked)
{
    builder_u64(out, new_rev);
    if (seq != new_rev || ranked) {
        builder_byte(out, '.');
        builder_u64(out, seq);
    }
}

static void add_cursor(struct builder *out, const struct notification_page *page, size_t last)
{
    const struct notification_item *item = &page->items[last];
    bool ranked = page->by_priority || page->ranks != NULL;
    add_place(out, item->new_rev, item->seq, ranked);
    if (ranked) {
        builder_byte(out, '.');
        builder_u64(out, page->ranks != NULL ? page->ranks[last] : (uint64_t)item->priority);
    }
}

/* The number up to the next dot, or the end; *left is what lies behind. */
static int take_number(struct bytes *left, uint64_t max, uint64_t *ret_number, bool *ret_more)
{
    const char *dot = left->len > 0 ? memchr(left->at, '.', left->len) : NULL;
    size_t len = dot != NULL ? (size_t)(dot - left->at) : left->len;
    int status = bytes_to_u64(bytes_of(left->at, len), max, ret_number);
    *ret_more = dot != NULL;
    *left = bytes_skip(*left, dot != NULL ? len + 1 : len);
    return status;
}

int notification_cursor_parse(struct bytes text, struct notification_cursor *ret_cursor)
{
    struct notification_cursor cursor = {0};
    bool more;
    uint64_t rank = 0;
    int status = take_number(&text, INT64_MAX, &cursor.new_rev, &more);
    cursor.seq = cursor.new_rev;
    if (status == 0 && more) {
        status = take_number(&text, INT64_MAX, &cursor.seq, &more);
    }
    if (status == 0 && more) {
        cursor.ranked = true;
        status = take_number(&text, INT16_MAX, &rank, &more);
        status = status == 0 && more ? STATUS_INVALID : status;
    }
    if (status == 0) {
        cursor.rank = (uint32_t)rank;
        *ret_cursor = cursor;
    }
    return status;
}

/* How many items fit; the first always does. */
static size_t add_fitting(const struct notification_page *page, struct builder *out)
{
    enum { TAIL = sizeof("],\"next\":\"18446744073709551615.18446744073709551615.32767\"}") - 1 };
    size_t start = builder_bytes(out).len;
    for (size_t i = 0; i < page->count; i++) {
        size_t before = builder_bytes(out).len;
        builder_str(out, i > 0 ? "," : "");
        notification_json_fields(&page->items[i], page->fields, page->omit_nulls, out);
        size_t len = builder_bytes(out).len - start + TAIL;
        if (i > 0 && page->max_bytes > 0 && len > page->max_bytes) {
            builder_truncate(out, before);
            return i;
        }
    }
    return page->count;
}

static void add_pagination(const struct notification_page *page, struct builder *out)
{
    uint64_t total = page->total < page->total_max ? page->total : page->total_max;
    json_write_key(out, "pagination");
    json_write_open(out, '{');
    json_write_u64(out, "page", page->page);
    json_write_u64(out, "limit", page->limit);
    json_write_u64(out, "total", total);
    json_write_u64(out, "pages", (total + page->limit - 1) / page->limit);
    json_write_bool(out, "hasNext", (uint64_t)page->page * page->limit < total);
    json_write_bool(out, "hasPrev", page->page > 1);
    if (page->partial || page->total > page->total_max) {
        json_write_bool(out, "more", true);
    }
    json_write_close(out, '}');
}

size_t notification_json_list(const struct notification_page *page, struct builder *out)
{
    builder_str(out, page->ack ? "{\"ok\":true,\"items\":[" : "{\"items\":[");
    size_t count = add_fitting(page, out);
    builder_byte(out, ']');
    if (page->page > 0) {
        add_pagination(page, out);
    } else if (count == page->count && page->more && page->next_rev > 0) {
        builder_str(out, ",\"next\":\"");
        add_place(out, page->next_rev, page->next_seq, false);
        builder_byte(out, '"');
    } else if (count > 0 && (count < page->count || page->more)) {
        builder_str(out, ",\"next\":\"");
        add_cursor(out, page, count - 1);
        builder_byte(out, '"');
    } else {
        builder_str(out, ",\"next\":null");
    }
    builder_byte(out, '}');
    return count;
}
