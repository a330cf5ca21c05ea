/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a poster changes of one notification: the inbox of whom it belongs to is locked by its id.
 */
#include "sql/pg_edit.h"

#include "codec/base/status.h"
#include "codec/slot.h"
#include "sql/pg_items.h"
#include "sql/store_edit.h"

static struct pg_params *begin(struct pg_conn *conn, const struct store_edit *edit)
{
    struct pg_params *params = pg_conn_params(conn);
    pg_add_i16(params, (int16_t)slot_of_id(edit->id));
    pg_add_uuid(params, edit->id);
    pg_add_text(params, edit->tenant);
    return params;
}

static void send_change(struct pg_conn *conn, struct pg_flight *flight)
{
    const struct store_edit *edit = (const struct store_edit *)flight->requests[0];
    struct pg_params *params = begin(conn, edit);
    pg_add_u64(params, edit->at);
    if (!edit->erase) {
        pg_add_i32(params, (int32_t)edit->fields);
        pg_add_text(params, edit->title);
        pg_add_text(params, edit->message);
        pg_add_text(params, edit->data);
        pg_add_i16(params, (int16_t)edit->priority);
        pg_add_u64(params, edit->expires_at);
    }
    pg_conn_send(conn, flight,
        (struct pg_run){
            .which = edit->erase ? PG_STMT_EDIT_ERASE : PG_STMT_EDIT_CHANGE, .count = 1});
}

void pg_edit_send(struct pg_conn *conn, struct pg_flight *flight)
{
    const struct store_edit *edit = (const struct store_edit *)flight->requests[0];
    if (edit->erase && edit->only_waiting) {
        (void)begin(conn, edit);
        pg_conn_send(conn, flight, (struct pg_run){.which = PG_STMT_EDIT_FIND, .count = 1});
        return;
    }
    (void)begin(conn, edit);
    pg_conn_send(conn, flight, (struct pg_run){.which = PG_STMT_EDIT_LOCK});
    send_change(conn, flight);
}

int pg_edit_read(struct store_edit *edit, enum pg_statement which, const PGresult *rows)
{
    enum { ITEM = 4 };
    if (PQntuples(rows) == 0) {
        return STATUS_NOT_FOUND;
    }
    if (which == PG_STMT_EDIT_FIND) {
        edit->delivered = true;
        return 0;
    }
    edit->position = pg_items_position(rows);
    pg_items_read(rows, 0, ITEM, request_result(&edit->base), &edit->item);
    return 0;
}
