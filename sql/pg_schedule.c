/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is posted for later as statements: finding what is due, taking it, changing it.
 */
#include "sql/pg_schedule.h"

#include "codec/base/status.h"
#include "codec/slot.h"
#include "sql/engine.h"
#include "sql/store_audience.h"

/* --- sending --- */

static void take(struct pg_conn *conn, struct pg_flight *flight, const struct store_put *put)
{
    struct pg_params *params = pg_conn_params(conn);
    pg_add_array(params, PG_INT2, put->count);
    for (size_t i = 0; i < put->count; i++) {
        pg_add_element_i16(params, (int16_t)slot_of_id(put->rows[i].id));
    }
    pg_add_array(params, PG_UUID, put->count);
    for (size_t i = 0; i < put->count; i++) {
        pg_add_element(params, bytes_of(put->rows[i].id, NOTIFICATION_ID_LEN));
    }
    pg_add_array(params, PG_INT8, put->count);
    for (size_t i = 0; i < put->count; i++) {
        pg_add_element_i64(params, put->rows[i].version);
    }
    pg_conn_send(conn, flight, (struct pg_run){.which = PG_STMT_SCHEDULE_TAKE});
}

void pg_schedule_take(struct pg_conn *conn, struct pg_flight *flight)
{
    const struct store_request *request = flight->requests[0];
    if (request->op == STORE_PUT) {
        take(conn, flight, (const struct store_put *)request);
        return;
    }
    const struct store_audience_post *post = (const struct store_audience_post *)request;
    struct store_row row = {.version = post->version};
    memcpy(row.id, post->id, NOTIFICATION_ID_LEN);
    take(conn, flight, &(struct store_put){.rows = &row, .count = 1});
}

void pg_schedule_list(struct pg_conn *conn, struct pg_flight *flight)
{
    const struct store_audience_post *post =
        (const struct store_audience_post *)flight->requests[0];
    pg_add_uuid(pg_conn_params(conn), post->id);
    pg_conn_send(conn, flight, (struct pg_run){.which = PG_STMT_SCHEDULE_LIST});
}

static enum pg_statement add_due(struct pg_params *params, const struct store_due *due)
{
    pg_add_array(params, PG_INT2, (size_t)__builtin_popcount(due->parts));
    for (unsigned part = 0; part < STORE_SCHEDULE_PARTS; part++) {
        if (due->parts & 1u << part) {
            pg_add_element_i16(params, (int16_t)part);
        }
    }
    pg_add_u64(params, due->limit);
    pg_add_u64(params, due->max_bytes);
    return PG_STMT_SCHEDULE_DUE;
}

static enum pg_statement add_change(struct pg_params *params, const struct store_reschedule *change)
{
    pg_add_i16(params, (int16_t)slot_of_id(change->id));
    pg_add_uuid(params, change->id);
    pg_add_text(params, change->tenant);
    pg_add_i16(params, change->cancel);
    pg_add_i32(params, (int32_t)change->fields);
    pg_add_text(params, change->title);
    pg_add_text(params, change->message);
    pg_add_text(params, change->data);
    pg_add_i16(params, (int16_t)change->priority);
    pg_add_u64(params, change->expires_at);
    pg_add_u64(params, change->deliver_at);
    return PG_STMT_SCHEDULE_CHANGE;
}

void pg_schedule_send(struct pg_conn *conn, struct pg_flight *flight)
{
    const struct store_request *request = flight->requests[0];
    struct pg_params *params = pg_conn_params(conn);
    enum pg_statement which = request->op == STORE_DUE
                                  ? add_due(params, (const struct store_due *)request)
                                  : add_change(params, (const struct store_reschedule *)request);
    pg_conn_send(conn, flight, (struct pg_run){.which = which, .count = 1});
}

/* --- taking in the answers --- */

/* PG_KEPT of pg_schedule.def, from column `at`. */
static void read_kept(
    const PGresult *rows, int row, int at, struct result *arena, struct store_scheduled *ret_item)
{
    struct store_row *kept = &ret_item->row;
    *ret_item = (struct store_scheduled){
        .kind = (enum notification_audience)pg_i16(rows, row, at + 5),
        .name = result_copy(arena, pg_bytes(rows, row, at + 6)),
        .include_new = pg_i16(rows, row, at + 7) != 0,
    };
    pg_uuid(rows, row, at, kept->id);
    kept->who.tenant = result_copy(arena, pg_bytes(rows, row, at + 1));
    kept->who.user = result_copy(arena, pg_bytes(rows, row, at + 2));
    kept->deliver_at = pg_u64(rows, row, at + 3);
    kept->version = pg_u64(rows, row, at + 4);
    pg_uuid(rows, row, at + 8, kept->key_hash);
    pg_uuid(rows, row, at + 9, kept->content_hash);
    kept->type = result_copy(arena, pg_bytes(rows, row, at + 10));
    kept->title = result_copy(arena, pg_bytes(rows, row, at + 11));
    kept->message = result_copy(arena, pg_bytes(rows, row, at + 12));
    kept->data = result_copy(arena, pg_bytes(rows, row, at + 13));
    kept->priority = (enum notification_priority)pg_i16(rows, row, at + 14);
    kept->expires_at = pg_u64(rows, row, at + 15);
    kept->collapse = result_copy(arena, pg_bytes(rows, row, at + 16));
    kept->due = true;
}

static int read_due(struct store_due *due, const PGresult *rows)
{
    enum { NOW, NEXT, MORE, KEPT };
    struct result *arena = request_result(&due->base);
    int count = PQntuples(rows);
    if (count == 0) {
        return STATUS_UNAVAILABLE;
    }
    for (int row = 0; row < count; row++) {
        if (PQgetisnull(rows, row, NOW)) {
            due->expired = pg_u64(rows, row, NEXT);
        } else if (!PQgetisnull(rows, row, NEXT)) {
            due->now = pg_u64(rows, row, NOW);
            due->next = pg_u64(rows, row, NEXT);
            due->more = pg_bool(rows, row, MORE);
        } else {
            struct store_scheduled *grown =
                result_grow(arena, due->items, due->count, sizeof(*grown));
            if (!grown) {
                return STATUS_UNAVAILABLE;
            }
            due->items = grown;
            read_kept(rows, row, KEPT, arena, &grown[due->count++]);
        }
    }
    return 0;
}

int pg_schedule_rows(struct store_request *request, const PGresult *rows)
{
    if (request->op == STORE_DUE) {
        return read_due((struct store_due *)request, rows);
    }
    struct store_reschedule *change = (struct store_reschedule *)request;
    if (PQntuples(rows) == 0) {
        return STATUS_NOT_FOUND;
    }
    read_kept(rows, 0, 0, request_result(request), &change->item);
    return 0;
}
