/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Texts that are searched go a piece at a time; what was found is read by seq.
 */
#include "sql/sqlite_search.h"

#include "codec/base/status.h"
#include "sql/engine.h"
#include "sql/sqlite_items.h"
#include "sql/sqlite_ops.h"

/* Append the texts of a row; what query_step says behind it. */
static int append_texts(
    const struct query *query, const struct query *place, struct store_list *texts)
{
    enum { TITLE, MESSAGE };
    struct result *result = request_result(&texts->base);
    struct notification_item *grown =
        result_grow(result, texts->items, texts->count, sizeof(*grown));
    if (!grown) {
        return STATUS_NOMEM;
    }
    texts->items = grown;
    grown[texts->count++] = (struct notification_item){
        .new_rev = query_column_u64(place, PLACE_NEW_REV),
        .seq = query_column_u64(place, PLACE_SEQ),
        .title = result_copy(result, query_column(query, TITLE)),
        .message = result_copy(result, query_column(query, MESSAGE)),
    };
    return 0;
}

static int take_texts(struct sqlite_db *db, struct store_list *texts, const struct query *place)
{
    struct query query;
    query_open(&query, db, SQLITE_STMT_TEXTS);
    query_u64(&query, 1, query_column_u64(place, PLACE_ROWID));
    query_u64(&query, 2, STORE_TEXTS_CHARS);
    int more = query_step(&query);
    if (more > 0) {
        more = append_texts(&query, place, texts);
    }
    query_close(&query);
    return more;
}

int sqlite_search_texts(struct sqlite_db *db, struct store_list *texts)
{
    uint64_t floor;
    int status = sqlite_read_position(db, &texts->who, &texts->position, &floor);
    return status < 0 ? status : sqlite_items_walk(db, texts, take_texts);
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
