/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Texts that are searched go a piece at a time; what was found is read by seq.
 */
#include "sql/sqlite_search.h"

#include "codec/base/status.h"
#include "sql/engine.h"
#include "sql/sqlite_items.h"
#include "sql/sqlite_ops.h"

/* Keep the texts of the row; what query_step says of the next, or STATUS_NOMEM. */
static int append_texts(struct query *query, struct store_list *texts)
{
    enum { NEW_REV, SEQ, TYPE, TITLE, MESSAGE };
    struct result *result = request_result(&texts->base);
    struct notification_item *grown =
        result_grow(result, texts->items, texts->count, sizeof(*grown));
    if (!grown) {
        return STATUS_NOMEM;
    }
    texts->items = grown;
    grown[texts->count++] = (struct notification_item){
        .new_rev = query_column_u64(query, NEW_REV),
        .seq = query_column_u64(query, SEQ),
        .title = result_copy(result, query_column(query, TITLE)),
        .message = result_copy(result, query_column(query, MESSAGE)),
    };
    return query_step(query);
}

int sqlite_search_texts(struct sqlite_db *db, struct store_list *texts)
{
    enum { TYPE = 2, CHARS = 10 };
    uint64_t floor;
    int status = sqlite_read_position(db, &texts->who, &texts->position, &floor);
    if (status < 0) {
        return status;
    }
    struct query query;
    query_open(&query, db, SQLITE_STMT_TEXTS);
    sqlite_items_bind(&query, texts);
    query_u64(&query, CHARS, STORE_TEXTS_CHARS);
    int more = query_step(&query);
    while (more > 0) {
        if (!sqlite_items_is_of_type(texts, query_column(&query, TYPE))) {
            more = query_step(&query);
        } else if (list_is_full(texts)) {
            texts->next = cursor_of(&texts->items[texts->count - 1]);
            break;
        } else {
            more = append_texts(&query, texts);
        }
    }
    query_close(&query);
    return more > 0 ? 0 : more;
}

static int pick_row(struct sqlite_db *db, struct store_pick *pick, uint64_t seq)
{
    struct query query;
    query_open(&query, db, SQLITE_STMT_PICK);
    sqlite_bind_user(&query, &pick->who);
    query_u64(&query, 4, seq);
    int more = query_step(&query);
    if (more > 0) {
        more = sqlite_items_append(&query, request_result(&pick->base), &pick->items, &pick->count);
    }
    query_close(&query);
    return more;
}

int sqlite_search_pick(struct sqlite_db *db, struct store_pick *pick)
{
    uint64_t floor;
    int status = sqlite_read_position(db, &pick->who, &pick->position, &floor);
    for (size_t i = 0; status == 0 && i < pick->seq_count; i++) {
        status = pick_row(db, pick, pick->seqs[i]);
    }
    return status;
}
