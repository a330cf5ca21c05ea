/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Puts as one statement, and what became of each row: by the statement for rows of their own, or by
 * that for rows that may share one.
 */
#include "sql/pg_put.h"

#include "codec/base/clock.h"
#include "codec/base/status.h"
#include "codec/slot.h"

/* The columns of a put in the order of the statement's parameters. */
enum put_column {
    PUT_SLOT,
    PUT_TENANT,
    PUT_USER,
    PUT_KEY,
    PUT_CONTENT,
    PUT_ID,
    PUT_TYPE,
    PUT_TITLE,
    PUT_MESSAGE,
    PUT_DATA,
    PUT_PRIORITY,
    PUT_CREATED,
    PUT_EXPIRES,
    PUT_UNWANTED,
    PUT_COLLAPSE, /* these only where rows may share one */
    PUT_SPAN,
    PUT_DELIVER, /* only of what is kept */
    PUT_COLUMNS,
};

static const enum pg_type put_types[PUT_COLUMNS] = {PG_INT2, PG_TEXT, PG_TEXT, PG_UUID, PG_UUID,
    PG_UUID, PG_TEXT, PG_TEXT, PG_TEXT, PG_BYTEA, PG_INT2, PG_INT8, PG_INT8, PG_INT2, PG_TEXT,
    PG_INT8, PG_INT8};

static void add_put_element(
    struct pg_params *params, enum put_column column, const struct store_row *row)
{
    switch (column) {
    case PUT_SLOT:
        pg_add_element_i16(params, (int16_t)slot_of_id(row->id));
        break;
    case PUT_TENANT:
        pg_add_element(params, row->who.tenant);
        break;
    case PUT_USER:
        pg_add_element(params, row->who.user);
        break;
    case PUT_KEY:
        pg_add_element(params, bytes_of(row->key_hash, STORE_HASH_LEN));
        break;
    case PUT_CONTENT:
        pg_add_element(params, bytes_of(row->content_hash, STORE_HASH_LEN));
        break;
    case PUT_ID:
        pg_add_element(params, bytes_of(row->id, NOTIFICATION_ID_LEN));
        break;
    case PUT_TYPE:
        pg_add_element(params, row->type);
        break;
    case PUT_TITLE:
        pg_add_element(params, row->title);
        break;
    case PUT_MESSAGE:
        pg_add_element(params, row->message);
        break;
    case PUT_DATA:
        pg_add_element(params, row->data);
        break;
    case PUT_PRIORITY:
        pg_add_element_i16(params, (int16_t)row->priority);
        break;
    case PUT_CREATED:
        pg_add_element_i64(params, row->created_at);
        break;
    case PUT_EXPIRES:
        pg_add_element_i64(params, row->expires_at);
        break;
    case PUT_UNWANTED:
        pg_add_element_i16(params, row->unwanted);
        break;
    case PUT_COLLAPSE:
        pg_add_element(params, row->collapse);
        break;
    case PUT_SPAN:
        pg_add_element_i64(params, row->digest_ms);
        break;
    case PUT_DELIVER:
        pg_add_element_i64(params, row->deliver_at);
        break;
    case PUT_COLUMNS:
        break;
    }
}

/* Whether any of the rows may share one; only the database knows of users who want that. */
static bool any_shares(const struct pg_flight *flight, size_t first, size_t count)
{
    for (size_t i = first; i < first + count; i++) {
        const struct store_put *put = (const struct store_put *)flight->requests[i];
        for (size_t row = 0; row < put->count; row++) {
            if (put->rows[row].collapse.len > 0 || put->rows[row].digest_ms > 0) {
                return true;
            }
        }
    }
    return false;
}

/* One statement for the puts from `first` on, `count` of them. */
void pg_put_send(struct pg_conn *conn, struct pg_flight *flight, size_t first, size_t count)
{
    const struct pg_port *port = conn->owner;
    size_t rows = 0;
    for (size_t i = first; i < first + count; i++) {
        rows += ((const struct store_put *)flight->requests[i])->count;
    }
    bool keeps = store_put_keeps((const struct store_put *)flight->requests[first]);
    bool shares = clock_mono_ms() < port->shares_until_ms || any_shares(flight, first, count);
    unsigned columns = keeps ? PUT_COLUMNS : shares ? PUT_DELIVER : PUT_COLLAPSE;
    struct pg_params *params = pg_conn_params(conn);
    for (unsigned column = 0; column < columns; column++) {
        pg_add_array(params, put_types[column], rows);
        for (size_t i = first; i < first + count; i++) {
            const struct store_put *put = (const struct store_put *)flight->requests[i];
            for (size_t row = 0; row < put->count; row++) {
                add_put_element(params, (enum put_column)column, &put->rows[row]);
            }
        }
    }
    enum pg_statement which = keeps    ? PG_STMT_SCHEDULE
                              : shares ? PG_STMT_PUT_COLLAPSE
                                       : PG_STMT_PUT;
    pg_conn_send(conn, flight, (struct pg_run){.which = which, .first = first, .count = count});
}

/* The row of a put; what only some statements tell is that of a row of its own. */
static void read_put_row(const PGresult *rows, int row, const struct store_row *stored,
    enum pg_statement which, struct result *arena, struct put_result *ret_result)
{
    bool told = which == PG_STMT_PUT_COLLAPSE;
    *ret_result = (struct put_result){
        .outcome = (enum store_outcome)pg_i16(rows, row, 0),
        .seq = pg_u64(rows, row, 2),
        .rev = pg_u64(rows, row, 3),
        .unread = pg_u64(rows, row, 4),
        .unseen = pg_u64(rows, row, 5),
        .head = pg_u64(rows, row, told ? 6 : 2),
        .count = told ? pg_u64(rows, row, 7) : 1,
        .first_at = told ? pg_u64(rows, row, 8) : stored->created_at,
        .till = told ? pg_u64(rows, row, 9) : stored->expires_at,
        .digest = told ? result_copy(arena, pg_bytes(rows, row, 10)) : (struct bytes){0},
    };
    pg_uuid(rows, row, 1, ret_result->id);
}

int pg_put_read(struct pg_flight *flight, const struct pg_run *run, const PGresult *rows)
{
    int row = 0;
    for (size_t i = run->first; i < run->first + run->count; i++) {
        struct store_put *put = (struct store_put *)flight->requests[i];
        struct result *arena = request_result(&put->base);
        struct put_result *results = result_alloc(arena, put->count * sizeof(*results));
        if (!results || (size_t)(PQntuples(rows) - row) < put->count) {
            return STATUS_UNAVAILABLE;
        }
        flight->results[i] = results;
        for (size_t j = 0; j < put->count; j++, row++) {
            read_put_row(rows, row, &put->rows[j], run->which, arena, &results[j]);
        }
    }
    return 0;
}
