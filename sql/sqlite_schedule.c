/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is posted for later, on a SQLite connection. Order of this file: keeping, reading, taking,
 * what is due, changing.
 */
#include "sql/sqlite_schedule.h"

#include <stdlib.h>

#include "codec/base/clock.h"
#include "codec/base/rand.h"
#include "codec/base/status.h"
#include "codec/slot.h"

static int run(struct query *query)
{
    int changed = query_run(query);
    return changed < 0 ? changed : 0;
}

/* --- keeping --- */

static int insert(struct sqlite_db *db, const struct store_scheduled *kept)
{
    const struct store_row *row = &kept->row;
    uint32_t slot = slot_of_id(row->id);
    struct query query;
    query_open(&query, db, SQLITE_STMT_SCHEDULE_INSERT);
    query_u64(&query, 1, slot);
    query_text(&query, 2, row->who.tenant);
    query_text(&query, 3, row->who.user);
    query_id(&query, 4, row->id);
    query_u64(&query, 5, slot_part(slot, STORE_SCHEDULE_PARTS));
    query_u64(&query, 6, row->deliver_at);
    query_u64(&query, 7, (uint64_t)kept->kind);
    query_text(&query, 8, kept->name);
    query_u64(&query, 9, kept->include_new);
    query_blob(&query, 10, bytes_of(row->key_hash, STORE_HASH_LEN));
    query_blob(&query, 11, bytes_of(row->content_hash, STORE_HASH_LEN));
    query_text(&query, 12, row->type);
    query_text(&query, 13, row->title);
    query_text(&query, 14, row->message);
    query_blob(&query, 15, row->data);
    query_u64(&query, 16, (uint64_t)row->priority);
    query_u64(&query, 17, row->expires_at);
    query_text(&query, 18, row->collapse);
    return run(&query);
}

int sqlite_schedule_keep(struct sqlite_db *db, const struct store_row *row)
{
    return insert(db, &(struct store_scheduled){.row = *row});
}

int sqlite_schedule_keep_many(struct sqlite_db *db, const struct store_audience_post *post)
{
    struct store_scheduled kept = {
        .row = {.who.tenant = post->tenant,
            .type = post->type,
            .title = post->title,
            .message = post->message,
            .data = post->data,
            .priority = post->priority,
            .expires_at = post->expires_at,
            .deliver_at = post->deliver_at},
        .kind = post->kind,
        .name = post->name,
        .include_new = post->include_new,
    };
    memcpy(kept.row.id, post->id, NOTIFICATION_ID_LEN);
    memcpy(kept.row.key_hash, post->key_hash, STORE_HASH_LEN);
    memcpy(kept.row.content_hash, post->content_hash, STORE_HASH_LEN);
    return insert(db, &kept);
}

/* --- reading --- */

static void copy_hash(const struct query *query, int index, uint8_t ret_hash[STORE_HASH_LEN])
{
    struct bytes hash = query_column(query, index);
    if (hash.len == STORE_HASH_LEN) {
        memcpy(ret_hash, hash.at, STORE_HASH_LEN);
    }
}

/* KEPT_COLUMNS of sqlite_schedule.def. */
static void read_kept(
    const struct query *query, struct result *arena, struct store_scheduled *ret_item)
{
    struct store_row *kept = &ret_item->row;
    *ret_item = (struct store_scheduled){
        .kind = (enum notification_audience)query_column_u64(query, 5),
        .name = result_copy(arena, query_column(query, 6)),
        .include_new = query_column_u64(query, 7) != 0,
    };
    query_column_id(query, 0, kept->id);
    kept->who.tenant = result_copy(arena, query_column(query, 1));
    kept->who.user = result_copy(arena, query_column(query, 2));
    kept->deliver_at = query_column_u64(query, 3);
    kept->version = query_column_u64(query, 4);
    copy_hash(query, 8, kept->key_hash);
    copy_hash(query, 9, kept->content_hash);
    kept->type = result_copy(arena, query_column(query, 10));
    kept->title = result_copy(arena, query_column(query, 11));
    kept->message = result_copy(arena, query_column(query, 12));
    kept->data = result_copy(arena, query_column(query, 13));
    kept->priority = (enum notification_priority)query_column_u64(query, 14);
    kept->expires_at = query_column_u64(query, 15);
    kept->collapse = result_copy(arena, query_column(query, 16));
    kept->due = true;
}

/* STATUS_NOT_FOUND */
static int find(struct sqlite_db *db, const uint8_t id[NOTIFICATION_ID_LEN], struct result *arena,
    struct store_scheduled *ret_item)
{
    struct query query;
    query_open(&query, db, SQLITE_STMT_SCHEDULE_FIND);
    query_u64(&query, 1, slot_of_id(id));
    query_id(&query, 2, id);
    int more = query_step(&query);
    if (more > 0) {
        read_kept(&query, arena, ret_item);
    }
    query_close(&query);
    return more < 0 ? more : more == 0 ? STATUS_NOT_FOUND : result_failed(arena) ? STATUS_NOMEM : 0;
}

/* --- taking --- */

static int drop(struct sqlite_db *db, const uint8_t id[NOTIFICATION_ID_LEN])
{
    struct query query;
    query_open(&query, db, SQLITE_STMT_SCHEDULE_DROP);
    query_u64(&query, 1, slot_of_id(id));
    query_id(&query, 2, id);
    return run(&query);
}

static int free_key(struct sqlite_db *db, const struct store_scheduled *kept)
{
    const struct store_row *row = &kept->row;
    bool many = kept->kind != AUDIENCE_NONE;
    struct query query;
    query_open(&query, db, many ? SQLITE_STMT_SCHEDULE_FREE_MANY : SQLITE_STMT_SCHEDULE_FREE);
    if (many) {
        query_text(&query, 1, row->who.tenant);
        query_u64(&query, 2, (uint64_t)kept->kind);
        query_text(&query, 3, kept->name);
    } else {
        query_u64(&query, 1, slot_of_id(row->id));
        query_text(&query, 2, row->who.tenant);
        query_text(&query, 3, row->who.user);
    }
    query_blob(&query, 4, bytes_of(row->key_hash, STORE_HASH_LEN));
    query_id(&query, 5, row->id);
    return run(&query);
}

int sqlite_schedule_take(
    struct sqlite_db *db, const uint8_t id[NOTIFICATION_ID_LEN], uint64_t version)
{
    struct result arena = {0};
    struct store_scheduled kept;
    int status = find(db, id, &arena, &kept);
    if (status == STATUS_NOT_FOUND || (status == 0 && kept.row.version != version)) {
        status = STATUS_FENCED;
    }
    status = status < 0 ? status : drop(db, id);
    status = status < 0 ? status : free_key(db, &kept);
    result_reset(&arena);
    return status;
}

int sqlite_schedule_list(struct sqlite_db *db, struct bytes tenant, struct bytes name, uint64_t n)
{
    struct query query;
    query_open(&query, db, SQLITE_STMT_SCHEDULE_LIST);
    query_text(&query, 1, tenant);
    query_text(&query, 2, name);
    query_u64(&query, 3, n);
    return run(&query);
}

/* Nobody gets it: it goes, and so do the users of a list, as many as are answered. */
static int forget(struct sqlite_db *db, const struct store_scheduled *kept)
{
    int status = drop(db, kept->row.id);
    if (status < 0 || kept->kind != AUDIENCE_LIST) {
        return status;
    }
    char text[UUID_TEXT_LEN];
    uuid_format(kept->row.id, text);
    struct query query;
    query_open(&query, db, SQLITE_STMT_SCHEDULE_UNLIST);
    query_text(&query, 1, kept->row.who.tenant);
    query_text(&query, 2, bytes_of(text, UUID_TEXT_LEN));
    return query_run(&query);
}

/* --- what is due --- */

/* Append what is due of one part. */
static int collect(struct sqlite_db *db, struct store_due *due, unsigned part)
{
    struct result *arena = request_result(&due->base);
    struct query query;
    query_open(&query, db, SQLITE_STMT_SCHEDULE_DUE);
    query_u64(&query, 1, part);
    query_u64(&query, 2, due->now);
    query_u64(&query, 3, due->limit);
    int more = query_step(&query);
    for (uint64_t bytes = 0; more > 0 && bytes < due->max_bytes;) {
        struct store_scheduled *grown = result_grow(arena, due->items, due->count, sizeof(*grown));
        if (!grown) {
            more = STATUS_NOMEM;
            break;
        }
        due->items = grown;
        struct store_scheduled *item = &grown[due->count++];
        read_kept(&query, arena, item);
        bytes += item->row.title.len + item->row.message.len + item->row.data.len;
        more = query_step(&query);
    }
    query_close(&query);
    due->more = due->more || more > 0;
    return more < 0 ? more : result_failed(arena) ? STATUS_NOMEM : 0;
}

static int find_next(struct sqlite_db *db, struct store_due *due, unsigned part)
{
    struct query query;
    query_open(&query, db, SQLITE_STMT_SCHEDULE_NEXT);
    query_u64(&query, 1, part);
    query_u64(&query, 2, due->now);
    int more = query_step(&query);
    uint64_t next = more > 0 ? query_column_u64(&query, 0) : 0;
    due->next = next > 0 && (due->next == 0 || next < due->next) ? next : due->next;
    query_close(&query);
    return more < 0 ? more : 0;
}

static int compare(const void *a, const void *b)
{
    uint64_t first = ((const struct store_scheduled *)a)->row.deliver_at;
    uint64_t second = ((const struct store_scheduled *)b)->row.deliver_at;
    return first < second ? -1 : first > second;
}

/* Forget what has expired, with the users of about one list, and keep the first of the rest: as
 * many as fit. */
static int narrow(struct sqlite_db *db, struct store_due *due)
{
    size_t kept = 0;
    uint64_t bytes = 0;
    int users = 0;
    bool full = false;
    qsort(due->items, due->count, sizeof(*due->items), compare);
    for (size_t i = 0; i < due->count; i++) {
        const struct store_scheduled *item = &due->items[i];
        uint64_t expires_at = item->row.expires_at;
        if (expires_at > 0 && expires_at <= due->now) {
            bool may = item->kind != AUDIENCE_LIST || users < STORE_AUDIENCE_USERS_MAX;
            int gone = may ? forget(db, item) : 0;
            if (gone < 0) {
                return gone;
            }
            users += gone;
            due->expired += may;
            due->more = due->more || !may;
        } else if (!full) {
            bytes += item->row.title.len + item->row.message.len + item->row.data.len;
            due->items[kept++] = *item;
            full = kept == due->limit || bytes >= due->max_bytes;
        }
    }
    due->more = due->more || full || due->count >= due->limit;
    due->count = kept;
    return 0;
}

int sqlite_schedule_due(struct sqlite_db *db, struct store_due *due)
{
    int status = 0;
    due->now = clock_wall_ms();
    for (unsigned part = 0; part < STORE_SCHEDULE_PARTS && status == 0; part++) {
        if (due->parts & 1u << part) {
            status = collect(db, due, part);
            status = status < 0 ? status : find_next(db, due, part);
        }
    }
    return status < 0 || due->count == 0 ? status : narrow(db, due);
}

/* --- changing --- */

static void change_item(const struct store_reschedule *change, struct store_row *row)
{
    uint32_t fields = change->fields;
    row->title = fields & NOTIFICATION_EDIT_TITLE ? change->title : row->title;
    row->message = fields & NOTIFICATION_EDIT_MESSAGE ? change->message : row->message;
    row->data = fields & NOTIFICATION_EDIT_DATA ? change->data : row->data;
    row->priority = fields & NOTIFICATION_EDIT_PRIORITY ? change->priority : row->priority;
    row->expires_at = fields & NOTIFICATION_EDIT_EXPIRES ? change->expires_at : row->expires_at;
    row->deliver_at = fields & NOTIFICATION_EDIT_DELIVER ? change->deliver_at : row->deliver_at;
    row->version++;
}

static int write_item(struct sqlite_db *db, const struct store_row *row)
{
    struct query query;
    query_open(&query, db, SQLITE_STMT_SCHEDULE_CHANGE);
    query_u64(&query, 1, slot_of_id(row->id));
    query_id(&query, 2, row->id);
    query_text(&query, 3, row->title);
    query_text(&query, 4, row->message);
    query_blob(&query, 5, row->data);
    query_u64(&query, 6, (uint64_t)row->priority);
    query_u64(&query, 7, row->expires_at);
    query_u64(&query, 8, row->deliver_at);
    return run(&query);
}

int sqlite_schedule_change(struct sqlite_db *db, struct store_reschedule *change)
{
    int status = find(db, change->id, request_result(&change->base), &change->item);
    if (status == 0 && !bytes_eq(change->item.row.who.tenant, change->tenant)) {
        status = STATUS_NOT_FOUND;
    }
    if (status < 0) {
        return status;
    }
    if (change->cancel) {
        status = forget(db, &change->item);
        return status < 0 ? status : 0;
    }
    if (change->fields == 0) {
        return 0;
    }
    change_item(change, &change->item.row);
    return write_item(db, &change->item.row);
}
