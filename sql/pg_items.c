/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the statements that read rows of inboxes have in common: a list's parameters, an item's
 * columns.
 */
#include "sql/pg_items.h"

#include "sql/audience.h"
#include "sql/engine.h"

void pg_items_add_list(struct pg_params *params, const struct store_list *list)
{
    uint64_t start = list->ascending ? 0 : INT64_MAX;
    bool from_start = list->before.new_rev == 0;
    pg_add_user(params, list->who.tenant, list->who.user);
    pg_add_u64(params, from_start ? start : list->before.new_rev);
    pg_add_u64(params, from_start ? start : list->before.seq);
    pg_add_i32(params, (int32_t)(list->states != 0 ? list->states : NOTIFICATION_LISTED_STATES));
    pg_add_array(params, PG_TEXT, list->type_count);
    for (size_t i = 0; i < list->type_count; i++) {
        pg_add_element(params, list->types[i]);
    }
    pg_add_i32(params, list->priorities != 0 ? (int32_t)list->priorities : -1);
    pg_add_u64(params, list->from);
    pg_add_u64(params, list->to > 0 ? list->to : INT64_MAX);
    pg_add_u64(params, (uint64_t)list->limit + 1);
    pg_add_u64(params, list->max_bytes > 0 ? list->max_bytes : INT64_MAX);
}

void pg_items_read(
    const PGresult *rows, int row, int at, struct result *arena, struct notification_item *ret_item)
{
    *ret_item = (struct notification_item){
        .seq = pg_u64(rows, row, at + 1),
        .rev = pg_u64(rows, row, at + 2),
        .state = (enum notification_state)pg_i16(rows, row, at + 3),
        .tenant = result_copy(arena, pg_bytes(rows, row, at + 4)),
        .user = result_copy(arena, pg_bytes(rows, row, at + 5)),
        .type = result_copy(arena, pg_bytes(rows, row, at + 6)),
        .title = result_copy(arena, pg_bytes(rows, row, at + 7)),
        .message = result_copy(arena, pg_bytes(rows, row, at + 8)),
        .data = result_copy(arena, pg_bytes(rows, row, at + 9)),
        .priority = (enum notification_priority)pg_i16(rows, row, at + 10),
        .created_at = pg_u64(rows, row, at + 11),
        .expires_at = pg_u64(rows, row, at + 12),
        .seen_at = pg_u64(rows, row, at + 13),
        .read_at = pg_u64(rows, row, at + 14),
        .archived_at = pg_u64(rows, row, at + 15),
        .new_rev = pg_u64(rows, row, at + 16),
        .snoozed_until = pg_u64(rows, row, at + 17),
        .resurfaced_at = pg_u64(rows, row, at + 18),
        .collapse = result_copy(arena, pg_bytes(rows, row, at + 19)),
        .count = pg_u64(rows, row, at + 20),
        .updated_at = pg_u64(rows, row, at + 21),
        .digest = result_copy(arena, pg_bytes(rows, row, at + 23)),
    };
    pg_uuid(rows, row, at, ret_item->id);
    audience_read(pg_bytes(rows, row, at + 22), arena, ret_item);
}

void pg_items_append(const PGresult *rows, int row, int at, struct result *arena,
    struct notification_item **items, size_t *count)
{
    struct notification_item *grown = result_grow(arena, *items, *count, sizeof(*grown));
    if (grown) {
        *items = grown;
        pg_items_read(rows, row, at, arena, &grown[(*count)++]);
    }
}

struct store_position pg_items_position(const PGresult *rows)
{
    return (struct store_position){
        .seq = pg_u64(rows, 0, 0),
        .rev = pg_u64(rows, 0, 1),
        .unread = pg_u64(rows, 0, 2),
        .unseen = pg_u64(rows, 0, 3),
    };
}

struct store_cursor pg_items_edge(const PGresult *rows, int at)
{
    struct store_cursor edge = {0};
    if (!PQgetisnull(rows, 0, at)) {
        edge =
            (struct store_cursor){.new_rev = pg_u64(rows, 0, at), .seq = pg_u64(rows, 0, at + 1)};
    }
    return edge;
}

void pg_items_read_list(struct store_list *list, const PGresult *rows, int at)
{
    struct result *arena = request_result(&list->base);
    list->position = pg_items_position(rows);
    for (int row = 0; row < PQntuples(rows) && !PQgetisnull(rows, row, at); row++) {
        if (list_is_full(list)) {
            list->next = cursor_of(&list->items[list->count - 1]);
            break;
        }
        pg_items_append(rows, row, at, arena, &list->items, &list->count);
    }
}
