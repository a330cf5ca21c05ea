/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a poster changes of one notification, on a SQLite connection.
 */
#include "sql/sqlite_ops.h"

#include "codec/base/buf.h"
#include "codec/base/status.h"
#include "codec/notification_digest.h"
#include "codec/slot.h"
#include "sql/sqlite_audience.h"
#include "sql/sqlite_change.h"
#include "sql/sqlite_items.h"

/* STATUS_NOT_FOUND */
static int find(struct sqlite_db *db, struct store_edit *edit)
{
    struct query query;
    query_open(&query, db, SQLITE_STMT_GET);
    query_u64(&query, 1, slot_of_id(edit->id));
    query_id(&query, 2, edit->id);
    query_text(&query, 3, edit->tenant);
    int more = query_step(&query);
    if (more > 0) {
        sqlite_items_read(&query, request_result(&edit->base), &edit->item);
    }
    query_close(&query);
    return more > 0 ? 0 : more < 0 ? more : STATUS_NOT_FOUND;
}

/* What its post to many was given before comes first: of two changes the later one holds. */
static int renew(struct sqlite_db *db, struct store_edit *edit, const struct store_user *who)
{
    bool has_posts = edit->item.audience != AUDIENCE_NONE || edit->item.digest.len > 0;
    int status =
        has_posts ? sqlite_audience_renew(db, who, edit->id, request_result(&edit->base)) : 0;
    return status > 0 ? find(db, edit) : status;
}

/* What the row remembers of its newest post, which is what it shows. */
static int renew_digest(struct store_edit *edit)
{
    struct notification_item *item = &edit->item;
    const struct notification_digest_entry content = {.priority = item->priority,
        .title = item->title,
        .message = item->message,
        .data = item->data};
    struct builder out = {0};
    notification_digest_renew(item->digest, &content, &out);
    int status = builder_status(&out);
    item->digest = result_copy(request_result(&edit->base), builder_bytes(&out));
    builder_reset(&out);
    return status;
}

/* The values that the edit names, in the place of those that are there. */
static int change_item(struct store_edit *edit)
{
    struct notification_item *item = &edit->item;
    item->title = edit->fields & NOTIFICATION_EDIT_TITLE ? edit->title : item->title;
    item->message = edit->fields & NOTIFICATION_EDIT_MESSAGE ? edit->message : item->message;
    item->data = edit->fields & NOTIFICATION_EDIT_DATA ? edit->data : item->data;
    item->priority = edit->fields & NOTIFICATION_EDIT_PRIORITY ? edit->priority : item->priority;
    item->expires_at =
        edit->fields & NOTIFICATION_EDIT_EXPIRES ? edit->expires_at : item->expires_at;
    item->updated_at = edit->at;
    item->rev = edit->position.rev;
    return item->digest.len > 0 ? renew_digest(edit) : 0;
}

static int write_item(struct sqlite_db *db, const struct store_edit *edit)
{
    const struct notification_item *item = &edit->item;
    struct query query;
    query_open(&query, db, SQLITE_STMT_EDIT_APPLY);
    query_u64(&query, 1, slot_of_id(edit->id));
    query_id(&query, 2, edit->id);
    query_u64(&query, 3, item->rev);
    query_text(&query, 4, item->title);
    query_text(&query, 5, item->message);
    query_blob(&query, 6, item->data);
    query_u64(&query, 7, (uint64_t)item->priority);
    query_u64(&query, 8, item->expires_at);
    query_u64(&query, 9, item->updated_at);
    query_text(&query, 10, item->digest);
    int changed = query_run(&query);
    return changed < 0 ? changed : 0;
}

static int erase_item(struct sqlite_db *db, const struct store_edit *edit)
{
    struct query query;
    query_open(&query, db, SQLITE_STMT_EDIT_FIND);
    query_u64(&query, 1, slot_of_id(edit->id));
    query_id(&query, 2, edit->id);
    int more = query_step(&query);
    uint64_t rowid = more > 0 ? query_column_u64(&query, 0) : 0;
    query_close(&query);
    if (more < 0) {
        return more;
    }
    struct notification_change change = {.seq = edit->item.seq,
        .rev = edit->position.rev,
        .state = NOTIFICATION_ERASED,
        .at = edit->at};
    memcpy(change.id, edit->id, NOTIFICATION_ID_LEN);
    struct store_user who = {.tenant = edit->item.tenant, .user = edit->item.user};
    int changed = sqlite_make_tombstone(db, &who, rowid, &change);
    return changed < 0 ? changed : 0;
}

int sqlite_edit(struct sqlite_db *db, struct store_edit *edit)
{
    int status = find(db, edit);
    edit->delivered = status == 0 && edit->erase && edit->only_waiting;
    if (status < 0 || edit->delivered) {
        return status;
    }
    struct store_user who = {.tenant = edit->item.tenant, .user = edit->item.user};
    uint64_t floor;
    status = renew(db, edit, &who);
    if (status < 0) {
        return status;
    }
    status = sqlite_read_position(db, &who, &edit->position, &floor);
    if (status < 0) {
        return status;
    }
    edit->position.rev++;
    if (edit->erase) {
        sqlite_count_out(&edit->position, edit->item.state);
        status = erase_item(db, edit);
    } else {
        status = change_item(edit);
        status = status < 0 ? status : write_item(db, edit);
    }
    return status < 0 ? status : sqlite_change_inbox(db, &who, &edit->position);
}
