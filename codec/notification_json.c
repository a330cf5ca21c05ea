/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/notification_json.h"

#include "codec/base/rand.h"
#include "codec/base/status.h"
#include "codec/http1.h"
#include "codec/iso_time.h"
#include "codec/json_scan.h"

static const char *const state_names[NOTIFICATION_STATE_COUNT] = {
    [NOTIFICATION_UNREAD] = "unread",
    [NOTIFICATION_SEEN] = "seen",
    [NOTIFICATION_READ] = "read",
    [NOTIFICATION_ARCHIVED] = "archived",
    [NOTIFICATION_EXPIRED] = "expired",
    [NOTIFICATION_ERASED] = "erased",
};

static struct bytes notification_state_name(enum notification_state state)
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

/* Append `prefix`, which ends in the name of a member and its colon, and then the value. */

static void add_string(struct builder *out, const char *prefix, struct bytes text)
{
    builder_str(out, prefix);
    json_scan_write_string(out, text);
}

static void add_u64(struct builder *out, const char *prefix, uint64_t value)
{
    builder_str(out, prefix);
    builder_u64(out, value);
}

static void add_bool(struct builder *out, const char *prefix, bool value)
{
    builder_str(out, prefix);
    builder_str(out, value ? "true" : "false");
}

static void add_time(struct builder *out, const char *prefix, uint64_t ms)
{
    builder_str(out, prefix);
    if (ms == 0 || ms > (uint64_t)ISO_TIME_MAX) {
        builder_str(out, "null");
        return;
    }
    builder_byte(out, '"');
    if (iso_time_write((int64_t)ms, out) < 0) {
        CHECK(!"the range was checked");
    }
    builder_byte(out, '"');
}

static void add_id(struct builder *out, const char *prefix, const uint8_t id[NOTIFICATION_ID_LEN])
{
    char text[UUID_TEXT_LEN];
    uuid_format(id, text);
    builder_str(out, prefix);
    builder_byte(out, '"');
    builder_add(out, bytes_of(text, sizeof(text)));
    builder_byte(out, '"');
}

/* Archived rows are no longer unread, also where nobody read them. */
static bool is_read(const struct notification_item *item)
{
    return item->state >= NOTIFICATION_READ || item->read_at > 0;
}

void notification_json_item(const struct notification_item *item, struct builder *out)
{
    add_id(out, "{\"id\":", item->id);
    add_u64(out, ",\"seq\":", item->seq);
    add_u64(out, ",\"rev\":", item->rev);
    add_string(out, ",\"userId\":", item->user);
    add_string(out, ",\"type\":", item->type);
    add_string(out, ",\"title\":", item->title);
    add_string(out, ",\"message\":", item->message);
    builder_str(out, ",\"data\":");
    builder_add(out, item->data.len > 0 ? item->data : BYTES("null"));
    add_string(out, ",\"priority\":", notification_priority_name(item->priority));
    add_bool(out, ",\"isRead\":", is_read(item));
    add_time(out, ",\"readAt\":", item->read_at);
    add_time(out, ",\"createdAt\":", item->created_at);
    if (item->expires_at > 0) {
        add_time(out, ",\"expiresAt\":", item->expires_at);
    }
    if (item->seen_at > 0) {
        add_time(out, ",\"seenAt\":", item->seen_at);
    }
    if (item->archived_at > 0) {
        add_time(out, ",\"archivedAt\":", item->archived_at);
    }
    builder_byte(out, '}');
}

static void add_items(
    struct builder *out, const char *prefix, const struct notification_item *items, size_t count)
{
    builder_str(out, prefix);
    builder_byte(out, '[');
    for (size_t i = 0; i < count; i++) {
        if (i > 0) {
            builder_byte(out, ',');
        }
        notification_json_item(&items[i], out);
    }
    builder_byte(out, ']');
}

static void add_which(struct builder *out, const struct notification_state_body *body)
{
    if (body->up_to > 0) {
        /* "Every one" is a number that JavaScript keeps exactly. */
        uint64_t highest = (UINT64_C(1) << 53) - 1;
        add_u64(out, ",\"upTo\":", body->up_to < highest ? body->up_to : highest);
        return;
    }
    builder_str(out, ",\"ids\":[");
    for (size_t i = 0; i < body->count; i++) {
        add_id(out, i > 0 ? "," : "", body->changes[i].id);
    }
    builder_byte(out, ']');
}

void notification_json_state(const struct notification_state_body *body, struct builder *out)
{
    add_u64(out, "{\"rev\":", body->rev);
    add_u64(out, ",\"unread\":", body->unread);
    add_which(out, body);
    add_string(out, ",\"state\":", notification_state_name(body->state));
    add_time(out, ",\"at\":", body->at);
    builder_byte(out, '}');
}

void notification_json_unread(uint64_t count, uint64_t rev, struct builder *out)
{
    add_u64(out, "{\"count\":", count);
    add_u64(out, ",\"rev\":", rev);
    builder_byte(out, '}');
}

void notification_json_ready(const struct notification_ready *ready, struct builder *out)
{
    add_string(out, "{\"userId\":", ready->user);
    add_string(out, ",\"node\":", ready->node);
    add_string(out, ",\"epoch\":", ready->epoch);
    add_u64(out, ",\"seq\":", ready->seq);
    add_u64(out, ",\"rev\":", ready->rev);
    add_u64(out, ",\"unread\":", ready->unread);
    add_u64(out, ",\"limits\":{\"messagesPerMinute\":", ready->messages_per_minute);
    add_u64(out, ",\"messageBytes\":", ready->message_bytes);
    add_u64(out, ",\"rooms\":", ready->rooms);
    builder_str(out, "}}");
}

void notification_json_resync(struct bytes epoch, uint64_t rev, struct builder *out)
{
    add_string(out, "{\"epoch\":", epoch);
    add_u64(out, ",\"rev\":", rev);
    builder_byte(out, '}');
}

static void add_change(struct builder *out, const struct notification_change *change)
{
    add_id(out, "{\"id\":", change->id);
    add_u64(out, ",\"seq\":", change->seq);
    add_u64(out, ",\"rev\":", change->rev);
    add_string(out, ",\"state\":", notification_state_name(change->state));
    add_time(out, ",\"at\":", change->at);
    builder_byte(out, '}');
}

void notification_json_sync(const struct notification_sync_body *body, struct builder *out)
{
    builder_str(out, "{\"ok\":true,");
    add_items(out, "\"items\":", body->items, body->item_count);
    builder_str(out, ",\"states\":[");
    for (size_t i = 0; i < body->change_count; i++) {
        if (i > 0) {
            builder_byte(out, ',');
        }
        add_change(out, &body->changes[i]);
    }
    add_u64(out, "],\"rev\":", body->through_rev);
    add_u64(out, ",\"unread\":", body->unread);
    add_bool(out, ",\"done\":", body->done);
    builder_byte(out, '}');
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
    const struct notification_item *item, uint32_t fields, struct builder *out)
{
    struct builder whole = {0};
    struct json_scan_iter iter;
    struct bytes key;
    struct bytes value;
    const char *comma = "";
    if (fields == 0) {
        notification_json_item(item, out);
        return;
    }
    notification_json_item(item, &whole);
    builder_byte(out, '{');
    json_scan_iter_init(&iter, builder_bytes(&whole));
    while (json_scan_member(&iter, &key, &value)) {
        if (is_wanted(fields, key)) {
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

/* How many items fit; the first always does. */
static size_t add_fitting(const struct notification_page *page, struct builder *out)
{
    enum { TAIL = sizeof("],\"next\":\"18446744073709551615\"}") - 1 };
    size_t start = builder_bytes(out).len;
    for (size_t i = 0; i < page->count; i++) {
        size_t before = builder_bytes(out).len;
        builder_str(out, i > 0 ? "," : "");
        notification_json_fields(&page->items[i], page->fields, out);
        size_t len = builder_bytes(out).len - start + TAIL;
        if (i > 0 && page->max_bytes > 0 && len > page->max_bytes) {
            builder_truncate(out, before);
            return i;
        }
    }
    return page->count;
}

void notification_json_list(const struct notification_page *page, struct builder *out)
{
    builder_str(out, page->ack ? "{\"ok\":true,\"items\":[" : "{\"items\":[");
    size_t count = add_fitting(page, out);
    uint64_t next = count < page->count ? page->items[count - 1].seq : page->next_seq;
    if (next == 0) {
        builder_str(out, "],\"next\":null}");
        return;
    }
    builder_str(out, "],\"next\":\"");
    builder_u64(out, next);
    builder_str(out, "\"}");
}
