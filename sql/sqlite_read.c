/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading requests on a SQLite connection, each in one snapshot.
 */
#include "sql/sqlite_ops.h"

#include <stdio.h>

#include "codec/base/status.h"
#include "codec/slot.h"
#include "sql/audience.h"
#include "sql/sqlite_audience.h"
#include "sql/sqlite_device.h"
#include "sql/sqlite_history.h"
#include "sql/sqlite_items.h"
#include "sql/sqlite_job.h"
#include "sql/sqlite_page.h"
#include "sql/sqlite_push.h"
#include "sql/sqlite_search.h"
#include "sql/sqlite_summary.h"
#include "sql/sqlite_topics.h"

int sqlite_read_meta(struct sqlite_db *db, const char *name, size_t size, char *ret_value)
{
    struct query query;
    query_open(&query, db, SQLITE_STMT_META_READ);
    query_text(&query, 1, bytes_str(name));
    int more = query_step(&query);
    if (more > 0) {
        struct bytes value = query_column(&query, 0);
        (void)snprintf(ret_value, size, "%.*s", (int)value.len, value.len > 0 ? value.at : "");
    }
    query_close(&query);
    return more < 0 ? more : more > 0 ? 0 : STATUS_NOT_FOUND;
}

static int run_list(struct sqlite_db *db, struct store_list *list)
{
    uint64_t floor;
    int status = sqlite_read_position(db, &list->who, &list->position, &floor);
    return status < 0 ? status : sqlite_items_walk(db, list, sqlite_items_take);
}

static int run_rows(struct sqlite_db *db, struct store_list *list)
{
    uint64_t floor;
    int status = sqlite_read_position(db, &list->who, &list->position, &floor);
    if (status < 0) {
        return status;
    }
    struct query query;
    query_open(&query, db, SQLITE_STMT_ROWS);
    sqlite_bind_user(&query, &list->who);
    query_u64(&query, 4, (uint64_t)list->limit + 1);
    query_u64(&query, 5, list->before.seq);
    int more = query_step(&query);
    while (more > 0 && !list_is_full(list)) {
        more = sqlite_items_append(&query, request_result(&list->base), &list->items, &list->count);
    }
    query_close(&query);
    if (more > 0) {
        list->next = cursor_of(&list->items[list->count - 1]);
    }
    return more > 0 ? 0 : more;
}

static int run_counts(struct sqlite_db *db, struct store_counts *counts)
{
    struct result *result = request_result(&counts->base);
    uint64_t floor;
    int status = sqlite_read_position(db, &counts->who, &counts->position, &floor);
    if (status < 0) {
        return status;
    }
    struct query query;
    query_open(
        &query, db, counts->by_priority ? SQLITE_STMT_COUNTS_PRIORITY : SQLITE_STMT_COUNTS_TYPE);
    sqlite_bind_user(&query, &counts->who);
    int more = query_step(&query);
    while (more > 0 && counts->group_count < STORE_GROUPS_MAX) {
        struct store_group *grown =
            result_grow(result, counts->groups, counts->group_count, sizeof(*grown));
        if (!grown) {
            more = STATUS_NOMEM;
            break;
        }
        counts->groups = grown;
        grown[counts->group_count++] = (struct store_group){
            .type = result_copy(result, query_column(&query, 0)),
            .priority = (enum notification_priority)query_column_u64(&query, 1),
            .unread = query_column_u64(&query, 2),
            .unseen = query_column_u64(&query, 3),
        };
        more = query_step(&query);
    }
    query_close(&query);
    return more > 0 ? 0 : more;
}

/* The rev at which entry `offset` above sync->rev is told; 0 when there are not so many. */
static int read_key(
    struct sqlite_db *db, const struct store_sync *sync, uint64_t offset, uint64_t *ret_key)
{
    *ret_key = 0;
    struct query query;
    query_open(&query, db, SQLITE_STMT_SYNC_KEY);
    sqlite_bind_user(&query, &sync->who);
    query_u64(&query, 4, sync->rev);
    query_u64(&query, 5, offset);
    int more = query_step(&query);
    if (more > 0) {
        *ret_key = query_column_u64(&query, 0);
    }
    query_close(&query);
    return more < 0 ? more : 0;
}

/*
 * Where the page ends: before the rev that does not fit, so that no rev is cut; with that rev
 * when it is the first and larger than a page.
 */
static int cut_page(struct sqlite_db *db, struct store_sync *sync)
{
    uint64_t first;
    uint64_t beyond;
    int status = read_key(db, sync, sync->limit, &beyond);
    if (status < 0 || beyond == 0) {
        sync->through_rev = sync->position.rev;
        return status;
    }
    status = read_key(db, sync, 0, &first);
    sync->through_rev = first < beyond ? beyond - 1 : beyond;
    if (status < 0 || first < beyond) {
        return status;
    }
    status = read_key(db, sync, STORE_REV_MAX, &beyond);
    sync->resync = beyond == first;
    return status;
}

static int read_changes(struct sqlite_db *db, struct store_sync *sync)
{
    struct result *result = request_result(&sync->base);
    struct query query;
    query_open(&query, db, SQLITE_STMT_SYNC_CHANGES);
    sqlite_bind_user(&query, &sync->who);
    query_u64(&query, 4, sync->rev);
    query_u64(&query, 5, sync->through_rev);
    int more = query_step(&query);
    while (more > 0) {
        struct notification_change change = {
            .seq = query_column_u64(&query, 1),
            .rev = query_column_u64(&query, 2),
            .state = (enum notification_state)query_column_u64(&query, 3),
            .at = query_column_u64(&query, 4),
            .snoozed_until = query_column_u64(&query, 5),
        };
        query_column_id(&query, 0, change.id);
        change_append(result, &sync->changes, &sync->change_count, &change);
        more = query_step(&query);
    }
    query_close(&query);
    return more;
}

/* Rows of the page that are told as a whole. */
struct part {
    struct query query;
    enum sqlite_statement which;
    uint64_t first; /* of all entries: a page tells at least this rev */
    size_t begin; /* of the items of rev `key` */
    uint64_t key;
    uint64_t bytes;
};

/* Keep the row: 1, or 0 where it is too much, and the page ends before its rev. */
static int take_item(struct store_sync *sync, struct part *part)
{
    struct result *result = request_result(&sync->base);
    int behind = sqlite3_column_count(part->query.stmt) - 1; /* the item */
    uint64_t key = query_column_u64(&part->query, behind);
    if (key != part->key) {
        part->begin = sync->item_count;
        part->key = key;
    }
    struct notification_item *grown =
        result_grow(result, sync->items, sync->item_count, sizeof(*grown));
    if (grown == NULL) {
        return STATUS_NOMEM;
    }
    sync->items = grown;
    struct notification_item *item = &grown[sync->item_count++];
    sqlite_items_read(&part->query, result, item);
    part->bytes += item->title.len + item->message.len + item->data.len + item->digest.len;
    if (sync->max_bytes == 0 || part->bytes <= sync->max_bytes || key <= part->first) {
        return 1;
    }
    sync->item_count = part->begin;
    sync->through_rev = key - 1;
    return 0;
}

static int read_part(struct sqlite_db *db, struct store_sync *sync, struct part *part)
{
    part->key = 0;
    query_open(&part->query, db, part->which);
    sqlite_bind_user(&part->query, &sync->who);
    query_u64(&part->query, 4, sync->rev);
    query_u64(&part->query, 5, sync->through_rev);
    int more = query_step(&part->query);
    while (more > 0) {
        more = take_item(sync, part);
        more = more > 0 ? query_step(&part->query) : more;
    }
    query_close(&part->query);
    return more;
}

/* What is new, then what is back; where the second ends the page, the first tells less. */
static int read_whole(struct sqlite_db *db, struct store_sync *sync)
{
    struct part part = {.which = SQLITE_STMT_SYNC_ITEMS};
    int status = sync->max_bytes > 0 ? read_key(db, sync, 0, &part.first) : 0;
    status = status < 0 ? status : read_part(db, sync, &part);
    size_t news = sync->item_count;
    part.which = SQLITE_STMT_SYNC_WHOLE;
    status = status < 0 ? status : read_part(db, sync, &part);
    size_t told = news;
    while (told > 0 && sync->items[told - 1].new_rev > sync->through_rev) {
        told--;
    }
    if (told < news) {
        memmove(&sync->items[told], &sync->items[news],
            (sync->item_count - news) * sizeof(*sync->items));
        sync->item_count -= news - told;
    }
    return status;
}

static int run_sync(struct sqlite_db *db, struct store_sync *sync)
{
    uint64_t floor;
    int status = sqlite_read_position(db, &sync->who, &sync->position, &floor);
    if (status < 0) {
        return status;
    }
    if (sync->rev > sync->position.rev || sync->rev < floor) {
        sync->resync = true;
        sync->through_rev = sync->position.rev;
        return 0;
    }
    status = cut_page(db, sync);
    if (status < 0 || sync->resync) {
        sync->through_rev = sync->position.rev;
        return status;
    }
    status = read_whole(db, sync);
    sync->done = sync->through_rev == sync->position.rev;
    return status < 0 ? status : read_changes(db, sync);
}

static int run_get(struct sqlite_db *db, struct store_get *get)
{
    struct query query;
    query_open(&query, db, SQLITE_STMT_GET);
    query_u64(&query, 1, slot_of_id(get->id));
    query_id(&query, 2, get->id);
    query_text(&query, 3, get->who.tenant);
    int more = query_step(&query);
    if (more > 0) {
        sqlite_items_read(&query, request_result(&get->base), &get->item);
    }
    query_close(&query);
    return more < 0 ? more : more > 0 ? 0 : STATUS_NOT_FOUND;
}

static int run_positions(struct sqlite_db *db, struct store_positions *positions)
{
    size_t size = positions->count * sizeof(struct store_position);
    positions->positions = result_alloc(request_result(&positions->base), size);
    if (!positions->positions) {
        return STATUS_NOMEM;
    }
    for (size_t i = 0; i < positions->count; i++) {
        uint64_t floor;
        int status =
            sqlite_read_position(db, &positions->users[i], &positions->positions[i], &floor);
        if (status < 0) {
            return status;
        }
    }
    return 0;
}

/* A transaction of the writer is told though it began this long before it commits. */
enum { CHANGED_OVERLAP = 60000 / STORE_CHANGED_UNIT_MS };

static int read_next(struct sqlite_db *db, struct store_changed *changed)
{
    struct query query;
    query_open(&query, db, SQLITE_STMT_CHANGED_NEXT);
    int more = query_step(&query);
    if (more > 0) {
        changed->next = query_column_u64(&query, 0);
    }
    query_close(&query);
    return more < 0 ? more : changed->next > 0 ? 0 : STATUS_UNAVAILABLE;
}

static int run_changed(struct sqlite_db *db, struct store_changed *changed)
{
    struct result *arena = request_result(&changed->base);
    int status = read_next(db, changed);
    if (status < 0 || changed->since == 0) {
        return status;
    }
    struct query query;
    query_open(&query, db, SQLITE_STMT_CHANGED);
    query_u64(&query, 1, changed->since > CHANGED_OVERLAP ? changed->since - CHANGED_OVERLAP : 0);
    query_u64(&query, 2, (uint64_t)changed->limit + 1);
    int more = query_step(&query);
    while (more > 0 && !changed->more) {
        struct store_moved *grown =
            result_grow(arena, changed->users, changed->user_count, sizeof(*grown));
        if (!grown) {
            more = STATUS_NOMEM;
            break;
        }
        changed->users = grown;
        grown[changed->user_count++] = (struct store_moved){
            .who.tenant = result_copy(arena, query_column(&query, 0)),
            .who.user = result_copy(arena, query_column(&query, 1)),
            .position.seq = query_column_u64(&query, 2),
            .position.rev = query_column_u64(&query, 3),
            .position.unread = query_column_u64(&query, 4),
            .position.unseen = query_column_u64(&query, 5),
            .position.preference_rev = query_column_u64(&query, 6),
        };
        more = query_step(&query);
        changed->more = more > 0 && changed->user_count == changed->limit;
    }
    query_close(&query);
    return more < 0 ? more : 0;
}

static int run_witness(struct sqlite_db *db, struct store_witness *witness)
{
    struct query query;
    query_open(&query, db, SQLITE_STMT_WITNESS_READ);
    query_text(&query, 1, witness->node);
    int more = query_step(&query);
    if (more > 0) {
        witness->number = query_column_u64(&query, 0);
    }
    query_close(&query);
    return more < 0 ? more : 0;
}

static int run_ping(struct sqlite_db *db)
{
    struct query query;
    query_open(&query, db, SQLITE_STMT_PING);
    int changed = query_run(&query);
    return changed < 0 ? changed : 0;
}

static int run_read(struct sqlite_db *db, struct store_request *request)
{
    switch ((unsigned)request->op) {
    case STORE_LIST:
        return run_list(db, (struct store_list *)request);
    case STORE_PAGE:
        return sqlite_page_run(db, (struct store_page *)request);
    case STORE_ROWS:
        return run_rows(db, (struct store_list *)request);
    case STORE_TEXTS:
        return sqlite_search_texts(db, (struct store_list *)request);
    case STORE_PICK:
        return sqlite_search_pick(db, (struct store_pick *)request);
    case STORE_COUNTS:
        return run_counts(db, (struct store_counts *)request);
    case STORE_SYNC:
        return run_sync(db, (struct store_sync *)request);
    case STORE_GET:
        return run_get(db, (struct store_get *)request);
    case STORE_POSITIONS:
        return run_positions(db, (struct store_positions *)request);
    case STORE_CHANGED:
        return run_changed(db, (struct store_changed *)request);
    case STORE_PREFERENCE_READ:
        return sqlite_preference_read(db, (struct store_preference *)request);
    case STORE_DEVICE_LIST:
        return sqlite_device_list(db, (struct store_devices *)request);
    case STORE_PUSH_LOOK:
        return sqlite_push_look(db, (struct store_push_look *)request);
    case STORE_WITNESS_READ:
        return run_witness(db, (struct store_witness *)request);
    case STORE_PING:
        return run_ping(db);
    case STORE_SUMMARY:
        return sqlite_summary_read(db, (struct store_summary *)request);
    case STORE_POSTED:
    case STORE_SUBSCRIBERS:
    case STORE_TOPICS:
        return sqlite_topics_read(db, request);
    case STORE_JOB_GET:
    case STORE_JOB_LIST:
    case STORE_QUEUES:
        return sqlite_job_read(db, request);
    case STORE_HISTORY_LIST:
        return sqlite_history_read(db, (struct store_history_list *)request);
    default:
        break;
    }
    return STATUS_INVALID;
}

int sqlite_read(struct sqlite_db *db, struct store_request *request)
{
    int status = sqlite_db_exec(db, "BEGIN");
    if (status < 0) {
        return status;
    }
    status = audience_is_asked(request) ? sqlite_audience_ask(db, request) : 0;
    if (status == 0 && request->lacking_count == 0) {
        status = run_read(db, request);
    }
    int ended = sqlite_db_exec(db, "COMMIT");
    if (ended < 0 && !sqlite3_get_autocommit(db->handle)) {
        (void)sqlite3_exec(db->handle, "ROLLBACK", NULL, NULL, NULL);
    }
    if (status == STATUS_NOMEM || (request->result && result_failed(request->result))) {
        return STATUS_NOMEM;
    }
    if (status == STATUS_NOT_FOUND || status == 0) {
        return ended < 0 ? STATUS_UNAVAILABLE : status;
    }
    return STATUS_UNAVAILABLE;
}
