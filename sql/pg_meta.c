/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One statement that replaces, where that is wanted, and one that reads.
 */
#include "sql/pg_meta.h"

#include <string.h>

#include "codec/base/status.h"
#include "sql/engine.h"
#include "sql/pg_wire.h"

/* What the second statement reads is the first one's, or what another put before it. */
static void send_epoch(struct pg_conn *conn, struct pg_flight *flight)
{
    const struct store_renewal *renewal = (const struct store_renewal *)flight->requests[0];
    struct pg_params *params = pg_conn_params(conn);
    if (renewal->from.len > 0) {
        pg_add_text(params, renewal->from);
        pg_add_text(params, bytes_str(renewal->fresh));
        pg_conn_send(conn, flight, (struct pg_run){.which = PG_STMT_EPOCH_REPLACE});
        params = pg_conn_params(conn);
    }
    pg_conn_send(conn, flight, (struct pg_run){.which = PG_STMT_EPOCH_READ, .count = 1});
}

static void send_note(struct pg_conn *conn, struct pg_flight *flight)
{
    const struct store_note *note = (const struct store_note *)flight->requests[0];
    struct pg_params *params = pg_conn_params(conn);
    pg_add_text(params, note->name);
    if (note->to.len > 0) {
        pg_add_text(params, note->from);
        pg_add_text(params, note->to);
        pg_conn_send(conn, flight, (struct pg_run){.which = PG_STMT_NOTE_REPLACE});
        params = pg_conn_params(conn);
        pg_add_text(params, note->name);
    }
    pg_conn_send(conn, flight, (struct pg_run){.which = PG_STMT_NOTE_READ, .count = 1});
}

void pg_meta_send(struct pg_conn *conn, struct pg_flight *flight)
{
    (flight->requests[0]->op == STORE_NOTE ? send_note : send_epoch)(conn, flight);
}

static int read_epoch(struct store_renewal *renewal, const PGresult *rows)
{
    struct bytes epoch = PQntuples(rows) == 1 ? pg_bytes(rows, 0, 0) : (struct bytes){0};
    if (epoch.len != STORE_EPOCH_LEN) {
        return STATUS_UNAVAILABLE;
    }
    memcpy(renewal->epoch, epoch.at, epoch.len);
    renewal->epoch[epoch.len] = '\0';
    return 0;
}

static int read_note(struct store_note *note, const PGresult *rows)
{
    struct bytes text = PQntuples(rows) == 1 ? pg_bytes(rows, 0, 0) : (struct bytes){0};
    if (text.len > STORE_NOTE_MAX) {
        return STATUS_UNAVAILABLE;
    }
    memcpy(note->text, text.len > 0 ? text.at : "", text.len);
    note->text[text.len] = '\0';
    return 0;
}

int pg_meta_rows(struct store_request *request, const PGresult *rows)
{
    return request->op == STORE_NOTE ? read_note((struct store_note *)request, rows)
                                     : read_epoch((struct store_renewal *)request, rows);
}
