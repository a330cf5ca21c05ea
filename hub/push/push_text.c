/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads jobs and writes messages. Order of this file: as just said.
 */
#include "hub/push/push_text.h"

#include <string.h>

#include "codec/base/mem.h"
#include "codec/base/rand.h"
#include "codec/base/status.h"
#include "codec/base64.h"
#include "codec/json_scan.h"
#include "codec/json_write.h"
#include "codec/utf8.h"

enum { DEPTH = 3, TITLE_BYTES = 512, BODY_BYTES = 2048, URL_BYTES = 512, BADGE_MAX = 1000000 };

/* Jobs. */

static int read_id(struct bytes value, uint8_t ret_id[NOTIFICATION_ID_LEN])
{
    char at[UUID_TEXT_LEN];
    struct bytes text;
    bool good = value.len > 0 && json_scan_string(value, at, sizeof(at), &text) == 0 &&
                uuid_parse(text.at, text.len, ret_id) == 0;
    return good ? 0 : STATUS_INVALID;
}

static int read_ids(struct bytes value, struct push_job *job)
{
    struct json_scan_iter iter;
    struct bytes one;
    if (json_scan_kind(value) != JSON_SCAN_ARRAY || !json_scan_iter_init(&iter, value)) {
        return STATUS_INVALID;
    }
    job->clears = true;
    while (json_scan_element(&iter, &one)) {
        if (job->count == STORE_PUSH_CLEAR_MAX || read_id(one, job->ids[job->count]) != 0) {
            return STATUS_INVALID;
        }
        job->count++;
    }
    return 0;
}

/* Copy a string to `at`, where there is room for it. */
static int keep_name(struct bytes value, char *at, struct bytes *ret_name)
{
    struct bytes text;
    if (value.len == 0 || json_scan_string(value, at, value.len, &text) != 0) {
        return STATUS_INVALID;
    }
    memmove(at, text.at, text.len); /* what has no escapes stands where it was */
    *ret_name = bytes_of(at, text.len);
    return 0;
}

static int read_names(struct bytes tenant, struct bytes user, struct push_job *job)
{
    job->texts = mem_try_alloc(tenant.len + user.len + 1);
    if (job->texts == NULL) {
        return STATUS_NOMEM;
    }
    int status = keep_name(tenant, job->texts, &job->tenant);
    status = status != 0 ? status : keep_name(user, job->texts + tenant.len, &job->user);
    if (status != 0) {
        push_job_finish(job);
    }
    return status;
}

int push_job_read(struct bytes payload, struct push_job *job)
{
    struct bytes object;
    unsigned flags;
    struct json_scan_wanted wanted[] = {{.key = "tenant"}, {.key = "user"}, {.key = "device"},
        {.key = "id"}, {.key = "rev"}, {.key = "clear"}};
    enum { TENANT, USER, DEVICE, ID, REV, CLEAR };
    *job = (struct push_job){.count = 0};
    if (json_scan_text(payload, DEPTH, &object, &flags) != 0 ||
        json_scan_kind(object) != JSON_SCAN_OBJECT) {
        return STATUS_INVALID;
    }
    json_scan_get_all(object, wanted, sizeof(wanted) / sizeof(wanted[0]));
    int status = read_id(wanted[DEVICE].value, job->device);
    if (status == 0 && wanted[CLEAR].status == 0) {
        status = read_ids(wanted[CLEAR].value, job);
    } else if (status == 0) {
        status = read_id(wanted[ID].value, job->ids[0]);
        status = status != 0 ? status : json_scan_u64(wanted[REV].value, &job->rev);
        job->count = 1;
    }
    return status != 0 ? STATUS_INVALID : read_names(wanted[TENANT].value, wanted[USER].value, job);
}

void push_job_finish(struct push_job *job)
{
    mem_free(job->texts);
    job->texts = NULL;
}

/* Messages. */

static struct bytes cut(struct bytes text, size_t max)
{
    return bytes_of(text.at, utf8_fit(text, max));
}

static void write_badge(struct builder *out, uint64_t unread)
{
    json_write_u64(out, "app_badge", unread < BADGE_MAX ? unread : BADGE_MAX);
}

/* What a click opens: `url` of the notification's data, where it is a text. */
static void write_navigate(const struct notification_item *item, struct builder *out)
{
    char at[URL_BYTES];
    struct bytes object;
    struct bytes value;
    struct bytes url = BYTES("/");
    unsigned flags;
    if (json_scan_text(item->data, JSON_SCAN_DEPTH_MAX, &object, &flags) == 0 &&
        json_scan_kind(object) == JSON_SCAN_OBJECT && json_scan_get(object, "url", &value) == 0 &&
        json_scan_kind(value) == JSON_SCAN_STRING) {
        struct bytes text;
        url = json_scan_string(value, at, sizeof(at), &text) == 0 && text.len > 0 ? text : url;
    }
    json_write_text(out, "navigate", url);
}

static void write_show(const struct notification_item *item, enum push_content content,
    uint64_t unread, size_t most, struct builder *out)
{
    size_t title = most < TITLE_BYTES ? most : TITLE_BYTES;
    json_write_open(out, '{');
    json_write_u64(out, "web_push", 8030);
    json_write_key(out, "notification");
    json_write_open(out, '{');
    json_write_text(out, "title",
        content == PUSH_CONTENT_ID ? BYTES("New notification") : cut(item->title, title));
    if (content == PUSH_CONTENT_FULL) {
        json_write_text(out, "body", cut(item->message, most));
    }
    write_navigate(item, out);
    json_write_uuid(out, "tag", item->id);
    json_write_u64(out, "timestamp", item->updated_at > 0 ? item->updated_at : item->created_at);
    json_write_key(out, "data");
    json_write_open(out, '{');
    json_write_uuid(out, "id", item->id);
    if (content != PUSH_CONTENT_ID) {
        json_write_text(out, "type", item->type);
    }
    json_write_close(out, '}');
    json_write_close(out, '}');
    write_badge(out, unread);
    json_write_close(out, '}');
}

void push_text_show(const struct notification_item *item, enum push_content content,
    uint64_t unread, size_t max, struct builder *out)
{
    size_t before = builder_bytes(out).len;
    for (size_t most = BODY_BYTES; most > 0; most /= 2) { /* escapes make texts longer */
        write_show(item, content, unread, most, out);
        if (builder_failed(out) || builder_bytes(out).len - before <= max) {
            return;
        }
        builder_rewind(out, before);
    }
    write_show(item, PUSH_CONTENT_ID, unread, 0, out);
}

void push_text_clear(
    const uint8_t (*ids)[NOTIFICATION_ID_LEN], size_t count, uint64_t unread, struct builder *out)
{
    json_write_open(out, '{');
    json_write_u64(out, "web_push", 8030);
    json_write_key(out, "clear");
    json_write_open(out, '[');
    for (size_t i = 0; i < count; i++) {
        json_write_uuid_item(out, ids[i]);
    }
    json_write_close(out, ']');
    write_badge(out, unread);
    json_write_close(out, '}');
}

void push_text_topic(const uint8_t id[NOTIFICATION_ID_LEN], char ret_topic[PUSH_TOPIC_LEN + 1])
{
    size_t len = base64url_encode(bytes_of(id, NOTIFICATION_ID_LEN), ret_topic);
    ret_topic[len] = '\0';
}
