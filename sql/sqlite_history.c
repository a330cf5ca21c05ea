/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What was said in rooms: added, listed, dropped.
 */
#include "sql/sqlite_history.h"

#include "codec/base/clock.h"
#include "codec/base/status.h"
#include "codec/slot.h"
#include "sql/engine.h"
#include "sql/history.h"

static int add_one(struct sqlite_db *db, const struct store_message *message)
{
    struct query query;
    query_open(&query, db, SQLITE_STMT_HISTORY_ADD);
    query_u64(&query, 1, slot_of_id(message->id));
    query_text(&query, 2, message->tenant);
    query_text(&query, 3, message->room);
    query_id(&query, 4, message->id);
    query_text(&query, 5, message->user);
    query_blob(&query, 6, message->event);
    query_blob(&query, 7, message->args);
    query_u64(&query, 8, message->at);
    query_u64(&query, 9, message->expires_at);
    int changed = query_run(&query);
    return changed < 0 ? changed : 0;
}

static int sweep(struct sqlite_db *db, struct store_history_sweep *request)
{
    struct query query;
    query_open(&query, db, SQLITE_STMT_HISTORY_SWEEP);
    query_u64(&query, 1, clock_wall_ms());
    query_u64(&query, 2, request->limit);
    int changed = query_run(&query);
    if (changed < 0) {
        return changed;
    }
    request->dropped = (uint64_t)changed;
    request->more = request->dropped >= request->limit;
    return 0;
}

int sqlite_history_write(struct sqlite_db *db, struct store_request *request)
{
    if (request->op == STORE_HISTORY_SWEEP) {
        return sweep(db, (struct store_history_sweep *)request);
    }
    const struct store_history_add *add = (const struct store_history_add *)request;
    int status = 0;
    for (size_t i = 0; status == 0 && i < add->count; i++) {
        status = add_one(db, &add->messages[i]);
    }
    return status;
}

/* --- a page --- */

static void open_room(struct query *query, struct sqlite_db *db, enum sqlite_statement which,
    const struct store_history_list *list)
{
    query_open(query, db, which);
    query_u64(query, 1, slot_of(list->tenant, list->room));
    query_text(query, 2, list->tenant);
    query_text(query, 3, list->room);
}

/* Where the page begins: before which number. */
static int find(struct sqlite_db *db, const struct store_history_list *list, uint64_t *ret_n)
{
    struct query query;
    if (!list->before) {
        *ret_n = INT64_MAX;
        return 0;
    }
    open_room(&query, db, SQLITE_STMT_HISTORY_FIND, list);
    query_id(&query, 4, list->id);
    int more = query_step(&query);
    if (more > 0) {
        *ret_n = query_column_u64(&query, 0);
    }
    query_close(&query);
    return more > 0 ? 0 : more < 0 ? more : STATUS_NOT_FOUND;
}

/* Take in the row; STATUS_FULL: the page ends before it. */
static int take(const struct query *query, struct store_history_list *list)
{
    enum { ID, USER, EVENT, ARGS, AT, EXPIRES, ROOM, NUMBER };
    struct result *arena = request_result(&list->base);
    struct store_message *message;
    struct bytes event = query_column(query, EVENT);
    struct bytes args = query_column(query, ARGS);
    int status = history_next(list, event.len + args.len, arena, &message);
    if (status == 0) {
        *message = (struct store_message){
            .user = result_copy(arena, query_column(query, USER)),
            .event = result_copy(arena, event),
            .args = result_copy(arena, args),
            .at = query_column_u64(query, AT),
            .expires_at = query_column_u64(query, EXPIRES),
        };
        query_column_id(query, ID, message->id);
        if (list->user.len > 0) {
            message->room = result_copy(arena, query_column(query, ROOM));
            list->last = query_column_u64(query, NUMBER);
        }
    }
    return status;
}

/* Begin the walk over what a user has said. */
static void open_said(
    struct query *query, struct sqlite_db *db, const struct store_history_list *list)
{
    query_open(query, db, SQLITE_STMT_HISTORY_SAID);
    query_text(query, 1, list->tenant);
    query_text(query, 2, list->user);
    query_u64(query, 3, list->after);
    query_u64(query, 4, clock_wall_ms());
    query_u64(query, 5, (uint64_t)list->limit + 1);
}

/* The same over what was said in a room. */
static int open_list(
    struct query *query, struct sqlite_db *db, const struct store_history_list *list)
{
    uint64_t n;
    int status = find(db, list, &n);
    if (status != 0) {
        return status;
    }
    open_room(query, db, SQLITE_STMT_HISTORY_LIST, list);
    query_u64(query, 4, n);
    query_u64(query, 5, clock_wall_ms());
    query_u64(query, 6, (uint64_t)list->limit + 1);
    return 0;
}

int sqlite_history_read(struct sqlite_db *db, struct store_history_list *list)
{
    struct query query;
    int status = 0;
    if (list->user.len > 0) {
        open_said(&query, db, list);
    } else {
        status = open_list(&query, db, list);
    }
    if (status != 0) {
        return status;
    }
    int more = query_step(&query);
    while (more > 0 && (status = take(&query, list)) == 0) {
        more = query_step(&query);
    }
    query_close(&query);
    return more < 0 ? more : status == STATUS_NOMEM ? status : 0;
}
