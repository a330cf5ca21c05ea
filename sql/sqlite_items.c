/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the statements about inboxes have in common: a list's parameters, an item's columns, the
 * position.
 */
#include "sql/sqlite_items.h"

#include "codec/base/status.h"
#include "codec/slot.h"
#include "sql/audience.h"
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

bool sqlite_items_is_of_type(const struct store_list *list, struct bytes type)
{
    for (size_t i = 0; i < list->type_count; i++) {
        if (bytes_eq(list->types[i], type)) {
            return true;
        }
    }
    return list->type_count == 0;
}

void sqlite_items_bind(struct query *query, const struct store_list *list)
{
    uint64_t start = list->ascending ? 0 : INT64_MAX;
    bool from_start = list->before.new_rev == 0;
    sqlite_bind_user(query, &list->who);
    query_u64(query, 4, from_start ? start : list->before.new_rev);
    query_u64(query, 5, from_start ? start : list->before.seq);
    query_u64(query, 6, list->states != 0 ? list->states : NOTIFICATION_LISTED_STATES);
    query_u64(query, 7, list->priorities != 0 ? list->priorities : UINT32_MAX);
    query_u64(query, 8, list->from);
    query_u64(query, 9, list->to > 0 ? list->to : INT64_MAX);
}
