/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asks for the days of a tenant, has old ones dropped, and added up what was counted since.
 * Statements that store or mark count (PG_TALLY of pg.def).
 */
#include "sql/pg_summary.h"

#include "codec/base/status.h"
#include "sql/engine.h"
#include "sql/pg_wire.h"

enum { DAY_MS = 86400000 };

enum pg_statement pg_summary_add(struct pg_params *params, const struct store_summary *summary)
{
    pg_add_text(params, summary->tenant);
    pg_add_u64(params, summary->from);
    pg_add_u64(params, summary->to);
    pg_add_u64(params, summary->types);
    return PG_STMT_SUMMARY;
}

int pg_summary_read(struct store_summary *summary, const PGresult *rows)
{
    enum { DAY, TYPE, POSTED, READ };
    struct result *arena = request_result(&summary->base);
    size_t count = (size_t)PQntuples(rows);
    summary->rows = result_alloc(arena, count * sizeof(*summary->rows));
    if (!summary->rows) {
        return STATUS_UNAVAILABLE;
    }
    for (int row = 0; row < (int)count; row++) {
        summary->rows[row] = (struct store_summary_row){
            .day = pg_u64(rows, row, DAY),
            .type = result_copy(arena, pg_bytes(rows, row, TYPE)),
            .posted = pg_u64(rows, row, POSTED),
            .read = pg_u64(rows, row, READ),
        };
    }
    summary->count = count;
    return 0;
}

enum pg_statement pg_summary_add_sweep(struct pg_params *params, const struct store_sweep *sweep)
{
    uint64_t keep_ms = sweep->tombstone_ms < sweep->now ? sweep->tombstone_ms : sweep->now;
    pg_add_u64(params, (sweep->now - keep_ms) / DAY_MS);
    pg_add_u64(params, sweep->limit);
    return PG_STMT_SUMMARY_SWEEP;
}

int pg_summary_read_sweep(struct store_sweep *sweep, const PGresult *rows)
{
    if (PQntuples(rows) != 1) {
        return STATUS_UNAVAILABLE;
    }
    sweep->more = pg_bool(rows, 0, 0);
    return 0;
}
