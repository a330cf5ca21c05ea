/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asks for a step of the walk that takes what is not kept. What walks is a function of the schema.
 */
#include "sql/pg_retention.h"

#include "sql/pg_wire.h"

enum pg_statement pg_retention_add(
    struct pg_params *params, const struct store_retention *retention)
{
    const struct store_retention_rule *rules = retention->rules;
    size_t count = retention->rule_count;
    pg_add_u64(params, retention->sweep.now);
    pg_add_u64(params, retention->every_ms);
    pg_add_u64(params, retention->usual.age_ms);
    pg_add_u64(params, retention->usual.rows);
    pg_add_array(params, PG_TEXT, count);
    for (size_t i = 0; i < count; i++) {
        pg_add_element(params, rules[i].tenant);
    }
    pg_add_array(params, PG_INT8, count);
    for (size_t i = 0; i < count; i++) {
        pg_add_element_i64(params, rules[i].age_ms);
    }
    pg_add_array(params, PG_INT8, count);
    for (size_t i = 0; i < count; i++) {
        pg_add_element_i64(params, rules[i].rows);
    }
    pg_add_u64(params, retention->sweep.limit);
    return PG_STMT_RETAIN;
}

void pg_retention_read(struct store_retention *retention, const PGresult *rows)
{
    enum { USER = 1, LOOKED = 11, TOOK, PART, DONE, NOW };
    for (int row = 0; row < PQntuples(rows); row++) {
        if (PQgetisnull(rows, row, USER)) {
            retention->looked = pg_u64(rows, row, LOOKED);
            retention->took_ms = pg_u64(rows, row, TOOK);
            retention->part = (uint32_t)pg_i16(rows, row, PART);
            retention->done = pg_bool(rows, row, DONE);
            retention->sweep.now = pg_u64(rows, row, NOW);
        }
    }
}
