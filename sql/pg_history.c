/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What was said in rooms, as statements and their answers.
 */
#include "sql/pg_history.h"

#include "codec/base/status.h"
#include "codec/slot.h"
#include "sql/history.h"

static struct bytes message_bytes(const struct store_message *message, unsigned which)
{
    switch (which) {
    case 0:
        return message->tenant;
    case 1:
        return message->room;
    case 2:
        return bytes_of(message->id, NOTIFICATION_ID_LEN);
    case 3:
        return message->user;
    case 4:
        return message->event;
    default:
        return message->args;
    }
}

static enum pg_statement add_messages(struct pg_params *params, const struct store_history_add *add)
{
    static const enum pg_type types[] = {PG_TEXT, PG_TEXT, PG_UUID, PG_TEXT, PG_BYTEA, PG_BYTEA};
    pg_add_array(params, PG_INT2, add->count);
    for (size_t i = 0; i < add->count; i++) {
        pg_add_element_i16(params, (int16_t)slot_of_id(add->messages[i].id));
    }
    for (unsigned which = 0; which < sizeof(types) / sizeof(types[0]); which++) {
        pg_add_array(params, types[which], add->count);
        for (size_t i = 0; i < add->count; i++) {
            pg_add_element(params, message_bytes(&add->messages[i], which));
        }
    }
    pg_add_array(params, PG_INT8, add->count);
    for (size_t i = 0; i < add->count; i++) {
        pg_add_element_i64(params, add->messages[i].at);
    }
    pg_add_array(params, PG_INT8, add->count);
    for (size_t i = 0; i < add->count; i++) {
        pg_add_element_i64(params, add->messages[i].expires_at);
    }
    return PG_STMT_HISTORY_ADD;
}

void pg_history_send(struct pg_conn *conn, struct pg_flight *flight)
{
    const struct store_request *request = flight->requests[0];
    struct pg_params *params = pg_conn_params(conn);
    enum pg_statement which = PG_STMT_HISTORY_SWEEP;
    if (request->op == STORE_HISTORY_ADD) {
        which = add_messages(params, (const struct store_history_add *)request);
    } else {
        pg_add_u64(params, ((const struct store_history_sweep *)request)->limit);
    }
    pg_conn_send(conn, flight, (struct pg_run){.which = which, .count = 1});
}

static enum pg_statement add_said(struct pg_params *params, const struct store_history_list *list)
{
    pg_add_text(params, list->tenant);
    pg_add_text(params, list->user);
    pg_add_u64(params, list->after);
    pg_add_u64(params, (uint64_t)list->limit + 1);
    return PG_STMT_HISTORY_SAID;
}

enum pg_statement pg_history_add_read(
    struct pg_params *params, const struct store_history_list *list)
{
    if (list->user.len > 0) {
        return add_said(params, list);
    }
    pg_add_i16(params, (int16_t)slot_of(list->tenant, list->room));
    pg_add_text(params, list->tenant);
    pg_add_text(params, list->room);
    pg_add_u64(params, (uint64_t)list->limit + 1);
    if (!list->before) {
        return PG_STMT_HISTORY_LIST;
    }
    pg_add_uuid(params, list->id);
    return PG_STMT_HISTORY_BEFORE;
}

/* Where there is nothing before a message, its row stands alone and empty. */
static int read_list(struct store_history_list *list, const PGresult *rows)
{
    enum { ID, USER, EVENT, ARGS, AT, EXPIRES, ROOM, NUMBER };
    struct result *arena = request_result(&list->base);
    if (list->before && PQntuples(rows) == 0) {
        return STATUS_NOT_FOUND;
    }
    int status = 0;
    for (int row = 0; status == 0 && row < PQntuples(rows); row++) {
        struct bytes event = pg_bytes(rows, row, EVENT);
        struct bytes args = pg_bytes(rows, row, ARGS);
        struct store_message *message;
        if (event.len == 0) {
            break;
        }
        status = history_next(list, event.len + args.len, arena, &message);
        if (status == 0) {
            *message = (struct store_message){
                .user = result_copy(arena, pg_bytes(rows, row, USER)),
                .event = result_copy(arena, event),
                .args = result_copy(arena, args),
                .at = pg_u64(rows, row, AT),
                .expires_at = pg_u64(rows, row, EXPIRES),
            };
            pg_uuid(rows, row, ID, message->id);
            if (list->user.len > 0) {
                message->room = result_copy(arena, pg_bytes(rows, row, ROOM));
                list->last = pg_u64(rows, row, NUMBER);
            }
        }
    }
    return status == STATUS_NOMEM ? STATUS_UNAVAILABLE : 0;
}

int pg_history_rows(struct store_request *request, const PGresult *rows)
{
    if (request->op == STORE_HISTORY_LIST) {
        return read_list((struct store_history_list *)request, rows);
    }
    if (PQntuples(rows) != 1) {
        return STATUS_UNAVAILABLE;
    }
    if (request->op == STORE_HISTORY_SWEEP) {
        struct store_history_sweep *sweep = (struct store_history_sweep *)request;
        sweep->dropped = pg_u64(rows, 0, 0);
        sweep->more = sweep->dropped >= sweep->limit;
    }
    return 0;
}
