/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the requests about inboxes have in common: going through rows, an item's columns, the
 * position.
 */
#include "sql/sqlite_items.h"

#include "codec/base/status.h"
#include "codec/slot.h"
#include "sql/audience.h"
#include "sql/engine.h"
#include "sql/sqlite_ops.h"

void sqlite_bind_user(struct query *query, const struct store_user *who)
{
    query_u64(query, 1, slot_of(who->tenant, who->user));
    query_text(query, 2, who->tenant);
    query_text(query, 3, who->user);
}

void sqlite_items_read(
    const struct query *query, struct result *result, struct notification_item *ret_item)
{
    *ret_item = (struct notification_item){
        .tenant = result_copy(result, query_column(query, 0)),
        .user = result_copy(result, query_column(query, 1)),
        .seq = query_column_u64(query, 2),
        .rev = query_column_u64(query, 3),
        .type = result_copy(result, query_column(query, 5)),
        .title = result_copy(result, query_column(query, 6)),
        .message = result_copy(result, query_column(query, 7)),
        .data = result_copy(result, query_column(query, 8)),
        .priority = (enum notification_priority)query_column_u64(query, 9),
        .state = (enum notification_state)query_column_u64(query, 10),
        .created_at = query_column_u64(query, 11),
        .expires_at = query_column_u64(query, 12),
        .seen_at = query_column_u64(query, 13),
        .read_at = query_column_u64(query, 14),
        .archived_at = query_column_u64(query, 15),
        .new_rev = query_column_u64(query, 16),
        .snoozed_until = query_column_u64(query, 17),
        .resurfaced_at = query_column_u64(query, 18),
        .collapse = result_copy(result, query_column(query, 19)),
        .count = query_column_u64(query, 20),
        .updated_at = query_column_u64(query, 21),
        .digest = result_copy(result, query_column(query, 23)),
    };
    query_column_id(query, 4, ret_item->id);
    audience_read(query_column(query, 22), result, ret_item);
}

int sqlite_items_append(
    struct query *query, struct result *result, struct notification_item **items, size_t *count)
{
    struct notification_item *grown = result_grow(result, *items, *count, sizeof(*grown));
    if (!grown) {
        return STATUS_NOMEM;
    }
    *items = grown;
    sqlite_items_read(query, result, &grown[(*count)++]);
    return query_step(query);
}

int sqlite_read_position(struct sqlite_db *db, const struct store_user *who,
    struct store_position *ret_position, uint64_t *ret_floor)
{
    *ret_position = (struct store_position){0};
    *ret_floor = 0;
    struct query query;
    query_open(&query, db, SQLITE_STMT_INBOX_READ);
    sqlite_bind_user(&query, who);
    int more = query_step(&query);
    if (more > 0) {
        ret_position->seq = query_column_u64(&query, 0);
        ret_position->rev = query_column_u64(&query, 1);
        ret_position->unread = query_column_u64(&query, 2);
        ret_position->unseen = query_column_u64(&query, 3);
        *ret_floor = query_column_u64(&query, 4);
        ret_position->preference_rev = query_column_u64(&query, 5);
    }
    query_close(&query);
    return more < 0 ? more : 0;
}

static bool is_of_type(const struct store_list *list, struct bytes type)
{
    for (size_t i = 0; i < list->type_count; i++) {
        if (bytes_eq(list->types[i], type)) {
            return true;
        }
    }
    return list->type_count == 0;
}

bool sqlite_items_is_meant(const struct store_list *list, const struct query *query)
{
    uint32_t states = list->states != 0 ? list->states : NOTIFICATION_LISTED_STATES;
    uint32_t priorities = list->priorities != 0 ? list->priorities : UINT32_MAX;
    uint64_t created = query_column_u64(query, PLACE_CREATED);
    return (states >> query_column_u64(query, PLACE_STATE) & 1) &&
           (priorities >> query_column_u64(query, PLACE_PRIORITY) & 1) && created >= list->from &&
           (list->to == 0 || created < list->to) &&
           is_of_type(list, query_column(query, PLACE_TYPE));
}

int sqlite_items_take(struct sqlite_db *db, struct store_list *list, const struct query *place)
{
    struct query query;
    query_open(&query, db, SQLITE_STMT_ITEM);
    query_u64(&query, 1, query_column_u64(place, PLACE_ROWID));
    int more = query_step(&query);
    if (more > 0) {
        more = sqlite_items_append(&query, request_result(&list->base), &list->items, &list->count);
    }
    query_close(&query);
    return more;
}

static void open_walk(struct query *query, struct sqlite_db *db, const struct store_list *list)
{
    uint64_t start = list->ascending ? 0 : INT64_MAX;
    bool from_start = list->before.new_rev == 0;
    query_open(query, db, list->ascending ? SQLITE_STMT_LIST_ASC : SQLITE_STMT_LIST);
    sqlite_bind_user(query, &list->who);
    query_u64(query, 4, STORE_LOOKED_MAX);
    query_u64(query, 5, from_start ? start : list->before.new_rev);
    query_u64(query, 6, from_start ? start : list->before.seq);
}

int sqlite_items_walk(struct sqlite_db *db, struct store_list *list,
    int (*take)(struct sqlite_db *db, struct store_list *list, const struct query *place))
{
    struct query query;
    struct store_cursor last = {0};
    unsigned looked = 0;
    bool full = false;
    open_walk(&query, db, list);
    int more = query_step(&query);
    while (more > 0 && !full) {
        bool meant = sqlite_items_is_meant(list, &query);
        full = meant && list_is_full(list);
        int status = meant && !full ? take(db, list, &query) : 0;
        last.new_rev = query_column_u64(&query, PLACE_NEW_REV);
        last.seq = query_column_u64(&query, PLACE_SEQ);
        looked++;
        more = status < 0 ? status : full ? 0 : query_step(&query);
    }
    query_close(&query);
    if (full) {
        list->next = cursor_of(&list->items[list->count - 1]);
    } else if (looked == STORE_LOOKED_MAX) {
        list->next = last;
    }
    return more;
}
