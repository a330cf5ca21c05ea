/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Preferences in Postgres: their statements, and what comes back.
 */
#include "codec/base/status.h"
#include "sql/pg_port.h"

enum pg_statement pg_preference_add(
    struct pg_params *params, const struct store_preference *preference)
{
    pg_add_user(params, preference->who.tenant, preference->who.user);
    if (preference->base.op == STORE_PREFERENCE_READ) {
        return PG_STMT_PREFERENCE_READ;
    }
    if (preference->hides) {
        pg_add_i16(params, preference->hidden);
        return PG_STMT_PREFERENCE_HIDE;
    }
    pg_add_text(params, preference->body);
    return PG_STMT_PREFERENCE_WRITE;
}

int pg_preference_rows(struct store_preference *preference, const PGresult *rows)
{
    bool reads = preference->base.op == STORE_PREFERENCE_READ;
    if (PQntuples(rows) == 0) {
        return reads ? 0 : STATUS_UNAVAILABLE; /* no inbox yet */
    }
    preference->rev = pg_u64(rows, 0, 0);
    if (reads) {
        preference->body = result_copy(request_result(&preference->base), pg_bytes(rows, 0, 1));
        preference->hidden = pg_bool(rows, 0, 2);
    }
    return 0;
}
