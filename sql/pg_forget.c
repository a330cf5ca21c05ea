/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A statement a table, behind the lock of the inbox; the counters go with the notifications.
 */
#include "sql/pg_forget.h"

#include "codec/base/status.h"
#include "sql/engine.h"
#include "sql/pg_items.h"

static const enum pg_statement statements[STORE_FORGOTTEN_COUNT] = {
#define X(name, label, table) [STORE_FORGOTTEN_##name] = PG_STMT_FORGET_##name,
#include "sql/forget.def"
#undef X
};

static void send(struct pg_conn *conn, struct pg_flight *flight, enum pg_statement which, bool step)
{
    const struct store_forget *forget = (const struct store_forget *)flight->requests[0];
    struct pg_params *params = pg_conn_params(conn);
    pg_add_user(params, forget->who.tenant, forget->who.user);
    if (step) {
        pg_add_u64(params, STORE_FORGET_STEP);
    }
    pg_conn_send(conn, flight, (struct pg_run){.which = which, .count = 1});
}

void pg_forget_send(struct pg_conn *conn, struct pg_flight *flight)
{
    send(conn, flight, PG_STMT_FORGET_LOCK, false);
    for (unsigned i = 0; i < STORE_FORGOTTEN_COUNT; i++) {
        send(conn, flight, statements[i], true);
    }
    send(conn, flight, PG_STMT_FORGET_INBOX, false);
}

int pg_forget_read(struct store_forget *forget, enum pg_statement which, const PGresult *rows)
{
    if (which == PG_STMT_FORGET_INBOX && PQntuples(rows) > 0) {
        forget->position = pg_items_position(rows);
    }
    for (unsigned i = 0; i < STORE_FORGOTTEN_COUNT; i++) {
        if (which != statements[i]) {
            continue;
        }
        if (PQntuples(rows) != 1) {
            return STATUS_UNAVAILABLE;
        }
        forget->erased[i] = pg_u64(rows, 0, 0);
        forget->more |= forget->erased[i] == STORE_FORGET_STEP;
    }
    return 0;
}
