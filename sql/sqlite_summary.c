/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Counts what is stored, reads the days of a tenant, and drops old ones. What is read is counted by
 * a trigger of the schema.
 */
#include "sql/sqlite_summary.h"

#include "codec/base/status.h"
#include "sql/engine.h"

enum { DAY_MS = 86400000 };

int sqlite_summary_count(
    struct sqlite_db *db, struct bytes tenant, struct bytes type, uint64_t posted)
{
    struct query query;
    query_open(&query, db, SQLITE_STMT_TALLY_POSTED);
    query_text(&query, 1, tenant);
    query_text(&query, 2, type);
    query_u64(&query, 3, posted);
    int changed = query_run(&query);
    return changed < 0 ? changed : 0;
}

int sqlite_summary_run(struct sqlite_db *db, struct query *query, struct bytes tenant)
{
    int status = 0;
    int more = query_step(query);
    if (more > 0) {
        status = sqlite_summary_count(db, tenant, query_column(query, 0), 1);
        more = query_step(query);
    }
    query_close(query);
    return more < 0 ? more : status;
}

int sqlite_summary_read(struct sqlite_db *db, struct store_summary *summary)
{
    struct result *arena = request_result(&summary->base);
    struct query query;
    query_open(&query, db, SQLITE_STMT_SUMMARY);
    query_text(&query, 1, summary->tenant);
    query_u64(&query, 2, summary->from);
    query_u64(&query, 3, summary->to);
    query_u64(&query, 4, summary->types);
    int more = query_step(&query);
    while (more > 0) {
        struct store_summary_row *grown =
            result_grow(arena, summary->rows, summary->count, sizeof(*grown));
        if (!grown) {
            more = STATUS_NOMEM;
            break;
        }
        summary->rows = grown;
        grown[summary->count++] = (struct store_summary_row){
            .day = query_column_u64(&query, 0),
            .type = result_copy(arena, query_column(&query, 1)),
            .posted = query_column_u64(&query, 2),
            .read = query_column_u64(&query, 3),
        };
        more = query_step(&query);
    }
    query_close(&query);
    return more < 0 ? more : 0;
}

int sqlite_summary_sweep(struct sqlite_db *db, struct store_sweep *sweep)
{
    uint64_t keep_ms = sweep->tombstone_ms < sweep->now ? sweep->tombstone_ms : sweep->now;
    struct query query;
    query_open(&query, db, SQLITE_STMT_SUMMARY_DROP);
    query_u64(&query, 1, (sweep->now - keep_ms) / DAY_MS);
    query_u64(&query, 2, sweep->limit);
    int dropped = query_run(&query);
    sweep->more = dropped > 0 && (uint32_t)dropped == sweep->limit;
    return dropped < 0 ? dropped : 0;
}
