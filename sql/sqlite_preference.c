/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Preferences in SQLite: read and written.
 */
#include "sql/sqlite_audience.h"
#include "sql/sqlite_ops.h"

int sqlite_preference_read(struct sqlite_db *db, struct store_preference *preference)
{
    struct query query;
    query_open(&query, db, SQLITE_STMT_PREFERENCE_READ);
    sqlite_bind_user(&query, &preference->who);
    int more = query_step(&query);
    if (more > 0) {
        preference->rev = query_column_u64(&query, 0);
        preference->body = result_copy(request_result(&preference->base), query_column(&query, 1));
        preference->hidden = query_column_u64(&query, 2) != 0;
    }
    query_close(&query);
    return more < 0 ? more : 0;
}

int sqlite_preference_write(struct sqlite_db *db, struct store_preference *preference)
{
    struct query query;
    int status =
        sqlite_audience_enter(db, &preference->who); /* makes an inbox where there is none */
    if (status < 0) {
        return status;
    }
    query_open(&query, db, SQLITE_STMT_PREFERENCE_REV);
    sqlite_bind_user(&query, &preference->who);
    int more = query_step(&query);
    if (more > 0) {
        preference->rev = query_column_u64(&query, 0);
        more = query_step(&query);
    }
    query_close(&query);
    if (more < 0) {
        return more;
    }
    query_open(
        &query, db, preference->hides ? SQLITE_STMT_PREFERENCE_HIDE : SQLITE_STMT_PREFERENCE_WRITE);
    sqlite_bind_user(&query, &preference->who);
    if (preference->hides) {
        query_u64(&query, 4, preference->hidden);
    } else {
        query_text(&query, 4, preference->body);
    }
    int changed = query_run(&query);
    return changed < 0 ? changed : 0;
}
