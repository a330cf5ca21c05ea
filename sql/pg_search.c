/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Texts that are searched go a piece at a time; what was found is read by seq.
 */
#include "sql/pg_search.h"

#include "codec/base/status.h"
#include "sql/engine.h"
#include "sql/pg_items.h"

enum pg_statement pg_search_add_texts(struct pg_params *params, const struct store_list *texts)
{
    pg_items_add_list(params, texts);
    pg_add_i32(params, STORE_TEXTS_CHARS);
    pg_add_u64(params, STORE_LOOKED_MAX);
    return PG_STMT_TEXTS;
}

enum pg_statement pg_search_add_pick(struct pg_params *params, const struct store_pick *pick)
{
    pg_add_user(params, pick->who.tenant, pick->who.user);
    pg_add_array(params, PG_INT8, pick->seq_count);
    for (size_t i = 0; i < pick->seq_count; i++) {
        pg_add_element_i64(params, pick->seqs[i]);
    }
    return PG_STMT_PICK;
}

int pg_search_read_texts(struct store_list *texts, const PGresult *rows)
{
    enum { NEW_REV = 4, SEQ, TITLE, MESSAGE, EDGE };
    struct result *arena = request_result(&texts->base);
    if (PQntuples(rows) == 0) {
        return STATUS_UNAVAILABLE;
    }
    texts->position = pg_items_position(rows);
    texts->next = pg_items_edge(rows, EDGE);
    for (int row = 0; row < PQntuples(rows) && !PQgetisnull(rows, row, NEW_REV); row++) {
        if (list_is_full(texts)) {
            texts->next = cursor_of(&texts->items[texts->count - 1]);
            break;
        }
        struct notification_item *grown =
            result_grow(arena, texts->items, texts->count, sizeof(*grown));
        if (!grown) {
            break;
        }
        texts->items = grown;
        grown[texts->count++] = (struct notification_item){
            .new_rev = pg_u64(rows, row, NEW_REV),
            .seq = pg_u64(rows, row, SEQ),
            .title = result_copy(arena, pg_bytes(rows, row, TITLE)),
            .message = result_copy(arena, pg_bytes(rows, row, MESSAGE)),
        };
    }
    return 0;
}

int pg_search_read_pick(struct store_pick *pick, const PGresult *rows)
{
    enum { ITEM = 4 };
    struct result *arena = request_result(&pick->base);
    if (PQntuples(rows) == 0) {
        return STATUS_UNAVAILABLE;
    }
    pick->position = pg_items_position(rows);
    for (int row = 0; row < PQntuples(rows) && !PQgetisnull(rows, row, ITEM); row++) {
        pg_items_append(rows, row, ITEM, arena, &pick->items, &pick->count);
    }
    return 0;
}
