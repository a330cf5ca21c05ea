/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes and reads the posts that a row stands for. Order of this file: parts, writing, reading.
 */
#include "codec/notification_digest.h"

#include <string.h>

#include "codec/base/rand.h"
#include "codec/depth.h"
#include "codec/json_scan.h"
#include "codec/notification.h"
#include "codec/utf8.h"

enum { RECORD = 0x1e, UNIT = 0x1f, FIELDS = 6 };

static const char ellipsis[] = "\xe2\x80\xa6";

/* Parts. */

/* What lies behind the last `mark`; *left is what lies before it, or nothing. */
static struct bytes take_last(struct bytes *left, char mark)
{
    size_t at = left->len;
    while (at > 0 && left->at[at - 1] != mark) {
        at--;
    }
    struct bytes last = bytes_skip(*left, at);
    *left = bytes_of(left->at, at > 0 ? at - 1 : 0);
    return last;
}

/* What lies before the first `mark`; *left is what lies behind it. False: there is no mark. */
static bool take_first(struct bytes *left, char mark, struct bytes *ret_first)
{
    const char *at = left->len > 0 ? memchr(left->at, mark, left->len) : NULL;
    if (at == NULL) {
        return false;
    }
    *ret_first = bytes_of(left->at, (size_t)(at - left->at));
    *left = bytes_skip(*left, ret_first->len + 1);
    return true;
}

/* The posts behind the first `count` ones. */
static struct bytes skip(struct bytes list, size_t count)
{
    struct bytes passed;
    while (count > 0 && take_first(&list, RECORD, &passed)) {
        count--;
    }
    return list;
}

static size_t count_posts(struct bytes list)
{
    size_t count = list.len > 0;
    for (size_t i = 0; i < list.len; i++) {
        count += list.at[i] == RECORD;
    }
    return count;
}

/* Writing. */

/* The first `most` characters; separators are spaces. */
static void write_brief(struct builder *out, struct bytes text, size_t most)
{
    bool cut = utf8_count(text) > most;
    for (size_t left = cut ? most - 1 : most; left > 0 && text.len > 0; left--) {
        size_t len = utf8_char_len(text);
        len = len > 0 ? len : 1; /* it was checked when it was posted */
        bool separates = text.at[0] == RECORD || text.at[0] == UNIT;
        builder_add(out, separates ? BYTES(" ") : bytes_of(text.at, len));
        text = bytes_skip(text, len);
    }
    if (cut) {
        builder_str(out, ellipsis);
    }
}

static void write_post(struct builder *out, const struct notification_digest_entry *entry)
{
    char id[UUID_TEXT_LEN + 1] = {0};
    uuid_format(entry->id, id);
    builder_add(out, bytes_of(id, UUID_TEXT_LEN));
    builder_byte(out, UNIT);
    builder_u64(out, entry->at);
    builder_byte(out, UNIT);
    builder_u64(out, (uint64_t)entry->priority);
    builder_byte(out, UNIT);
    write_brief(out, entry->title, NOTIFICATION_DIGEST_TITLE);
    builder_byte(out, UNIT);
    write_brief(out, entry->message, NOTIFICATION_DIGEST_MESSAGE);
    builder_byte(out, UNIT);
    if (entry->data.len <= NOTIFICATION_DIGEST_DATA) {
        builder_add(out, entry->data);
    }
}

void notification_digest_add(
    struct bytes list, const struct notification_digest_entry *entry, struct builder *out)
{
    size_t count = count_posts(list);
    if (count >= NOTIFICATION_DIGEST_MAX) {
        list = skip(list, count + 1 - NOTIFICATION_DIGEST_MAX);
    }
    builder_add(out, list);
    if (list.len > 0) {
        builder_byte(out, RECORD);
    }
    write_post(out, entry);
}

void notification_digest_renew(
    struct bytes list, const struct notification_digest_entry *content, struct builder *out)
{
    struct notification_digest_entry newest;
    struct bytes left = list;
    if (!notification_digest_take(&left, &newest)) {
        builder_add(out, list);
        return;
    }
    newest.priority = content->priority;
    newest.title = content->title;
    newest.message = content->message;
    newest.data = content->data;
    notification_digest_add(left, &newest, out);
}

/* The first post of *list, which is what is left behind it. */
static struct bytes take_oldest(struct bytes *list)
{
    struct bytes post;
    if (!take_first(list, RECORD, &post)) {
        post = *list;
        *list = bytes_of(NULL, 0);
    }
    return post;
}

static bool is_of(struct bytes post, const uint8_t id[NOTIFICATION_ID_LEN])
{
    struct notification_digest_entry entry;
    return notification_digest_take(&post, &entry) &&
           memcmp(entry.id, id, NOTIFICATION_ID_LEN) == 0;
}

void notification_digest_without(
    struct bytes list, const uint8_t id[NOTIFICATION_ID_LEN], struct builder *out)
{
    for (bool any = false; list.len > 0;) {
        struct bytes post = take_oldest(&list);
        if (is_of(post, id)) {
            continue;
        }
        if (any) {
            builder_byte(out, RECORD);
        }
        builder_add(out, post);
        any = true;
    }
}

static void write_changed(struct builder *out, struct bytes post, uint32_t fields,
    const struct notification_digest_entry *content)
{
    struct notification_digest_entry entry;
    if (!notification_digest_take(&post, &entry)) {
        return;
    }
    entry.title = fields & NOTIFICATION_EDIT_TITLE ? content->title : entry.title;
    entry.message = fields & NOTIFICATION_EDIT_MESSAGE ? content->message : entry.message;
    entry.data = fields & NOTIFICATION_EDIT_DATA ? content->data : entry.data;
    entry.priority = fields & NOTIFICATION_EDIT_PRIORITY ? content->priority : entry.priority;
    write_post(out, &entry);
}

void notification_digest_change(struct bytes list, const uint8_t id[NOTIFICATION_ID_LEN],
    uint32_t fields, const struct notification_digest_entry *content, struct builder *out)
{
    for (bool any = false; list.len > 0; any = true) {
        struct bytes post = take_oldest(&list);
        if (any) {
            builder_byte(out, RECORD);
        }
        if (is_of(post, id)) {
            write_changed(out, post, fields, content);
        } else {
            builder_add(out, post);
        }
    }
}

/* Reading. */

bool notification_digest_take(struct bytes *list, struct notification_digest_entry *ret_entry)
{
    struct bytes fields[FIELDS];
    uint64_t priority;
    if (list->len == 0) {
        return false;
    }
    struct bytes post = take_last(list, RECORD);
    for (unsigned i = 0; i + 1 < FIELDS; i++) {
        if (!take_first(&post, UNIT, &fields[i])) {
            return false;
        }
    }
    *ret_entry =
        (struct notification_digest_entry){.title = fields[3], .message = fields[4], .data = post};
    if (uuid_parse(fields[0].at, fields[0].len, ret_entry->id) != 0 ||
        bytes_to_u64(fields[1], INT64_MAX, &ret_entry->at) != 0 ||
        bytes_to_u64(fields[2], NOTIFICATION_PRIORITY_COUNT - 1, &priority) != 0) {
        return false;
    }
    ret_entry->priority = (enum notification_priority)priority;
    return true;
}

bool notification_digest_is_valid(struct bytes list)
{
    struct notification_digest_entry entry;
    size_t count = 0;
    for (; list.len > 0; count++) {
        bool good =
            notification_digest_take(&list, &entry) && entry.data.len <= NOTIFICATION_DIGEST_DATA &&
            (entry.data.len == 0 || json_scan_text(entry.data, DEPTH_ACCEPTED, NULL, NULL) == 0);
        if (!good) {
            return false;
        }
    }
    return count <= NOTIFICATION_DIGEST_MAX;
}
