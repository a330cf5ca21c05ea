/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Hand-offs in Postgres: the statements of each request, and what comes back of them.
 */
#include "sql/pg_push.h"

#include "codec/base/status.h"
#include "sql/engine.h"
#include "sql/pg_items.h"

static enum pg_statement add_arrange(
    struct pg_params *params, const struct store_push_arrange *arrange)
{
    if (arrange->who.user.len > 0) {
        pg_add_user(params, arrange->who.tenant, arrange->who.user);
        pg_add_u64(params, arrange->after_ms);
        return PG_STMT_PUSH_ARRANGE_USER;
    }
    pg_add_i32(params, (int32_t)arrange->from.changed_at);
    pg_add_i16(params, (int16_t)arrange->from.slot);
    pg_add_text(params, arrange->from.tenant);
    pg_add_text(params, arrange->from.user);
    pg_add_u64(params, arrange->after_ms);
    return PG_STMT_PUSH_ARRANGE;
}

static enum pg_statement add_look(struct pg_params *params, const struct store_push_look *look)
{
    pg_add_user(params, look->who.tenant, look->who.user);
    pg_add_uuid(params, look->id);
    pg_add_uuid(params, look->device_id);
    pg_add_u64(params, look->recent_ms);
    return PG_STMT_PUSH_LOOK;
}

static enum pg_statement add_note(struct pg_params *params, const struct store_push_note *note)
{
    pg_add_user(params, note->who.tenant, note->who.user);
    pg_add_uuid(params, note->id);
    pg_add_uuid(params, note->device_id);
    pg_add_u64(params, note->rev);
    pg_add_text(params, note->type);
    pg_add_i16(params, note->failed ? PUSH_STATE_FAILED : PUSH_STATE_SHOWN);
    pg_add_text(params, note->error);
    return PG_STMT_PUSH_NOTE;
}

enum pg_statement pg_push_add(struct pg_params *params, const struct store_request *request)
{
    switch ((unsigned)request->op) {
    case STORE_PUSH_ARRANGE:
        return add_arrange(params, (const struct store_push_arrange *)request);
    case STORE_PUSH_NOTE:
        return add_note(params, (const struct store_push_note *)request);
    case STORE_PUSH_LOOK:
        return add_look(params, (const struct store_push_look *)request);
    default:
        break;
    }
    const struct store_push_received *received = (const struct store_push_received *)request;
    pg_add_user(params, received->who.tenant, received->who.user);
    pg_add_u64(params, received->seq);
    return PG_STMT_PUSH_RECEIVED;
}

void pg_push_send(struct pg_conn *conn, struct pg_flight *flight)
{
    enum pg_statement which = pg_push_add(pg_conn_params(conn), flight->requests[0]);
    pg_conn_send(conn, flight, (struct pg_run){.which = which, .count = 1});
}

static int read_arrange(struct store_push_arrange *arrange, const PGresult *rows)
{
    enum { JOBS, CLEARS, MORE, AT, SLOT, TENANT, USER, HELD, BEGIN };
    struct result *arena = request_result(&arrange->base);
    if (PQntuples(rows) != 1) {
        return STATUS_UNAVAILABLE;
    }
    arrange->clears = pg_u64(rows, 0, CLEARS);
    arrange->jobs = pg_u64(rows, 0, JOBS);
    arrange->more = pg_bool(rows, 0, MORE);
    if (arrange->who.user.len == 0) {
        arrange->next = (struct store_push_place){
            .changed_at = pg_u64(rows, 0, AT),
            .slot = (uint32_t)pg_i16(rows, 0, SLOT),
            .tenant = result_copy(arena, pg_bytes(rows, 0, TENANT)),
            .user = result_copy(arena, pg_bytes(rows, 0, USER)),
        };
        arrange->held_at = pg_u64(rows, 0, HELD);
        arrange->begin = pg_u64(rows, 0, BEGIN);
    }
    return 0;
}

static int read_note(struct store_push_note *note, const PGresult *rows)
{
    if (PQntuples(rows) != 1) {
        return STATUS_UNAVAILABLE;
    }
    note->closed = pg_bool(rows, 0, 0);
    note->unread = pg_u64(rows, 0, 1);
    return 0;
}

static int read_look(struct store_push_look *look, const PGresult *rows)
{
    enum { NOW, HAS_ROW, HAS_DEVICE, SEQ, REV, UNREAD, UNSEEN, BODY, RECEIVED, STATE, RECENT };
    enum { DEVICE_BODY = RECENT + 1, CREATED, REGISTERED, FOREGROUND, ADDRESS, ITEM };
    struct result *arena = request_result(&look->base);
    if (PQntuples(rows) == 0) {
        return 0; /* there is no inbox */
    }
    look->now = pg_u64(rows, 0, NOW);
    look->has_row = pg_bool(rows, 0, HAS_ROW);
    look->has_device = pg_bool(rows, 0, HAS_DEVICE);
    look->position = (struct store_position){.seq = pg_u64(rows, 0, SEQ),
        .rev = pg_u64(rows, 0, REV),
        .unread = pg_u64(rows, 0, UNREAD),
        .unseen = pg_u64(rows, 0, UNSEEN)};
    look->preferences = result_copy(arena, pg_bytes(rows, 0, BODY));
    look->received = pg_u64(rows, 0, RECEIVED);
    look->state = (enum store_push_state)pg_i16(rows, 0, STATE);
    look->recent = pg_u64(rows, 0, RECENT);
    if (look->has_row) {
        pg_items_read(rows, 0, ITEM, arena, &look->item);
    }
    if (look->has_device) {
        look->device = (struct store_device){
            .body = result_copy(arena, pg_bytes(rows, 0, DEVICE_BODY)),
            .created_at = pg_u64(rows, 0, CREATED),
            .registered_at = pg_u64(rows, 0, REGISTERED),
            .foreground_at = pg_u64(rows, 0, FOREGROUND),
        };
        memcpy(look->device.id, look->device_id, NOTIFICATION_ID_LEN);
        pg_uuid(rows, 0, ADDRESS, look->device.address_hash);
    }
    return 0;
}

int pg_push_rows(struct store_request *request, const PGresult *rows)
{
    switch ((unsigned)request->op) {
    case STORE_PUSH_ARRANGE:
        return read_arrange((struct store_push_arrange *)request, rows);
    case STORE_PUSH_NOTE:
        return read_note((struct store_push_note *)request, rows);
    case STORE_PUSH_LOOK:
        return read_look((struct store_push_look *)request, rows);
    default:
        ((struct store_push_received *)request)->known = PQntuples(rows) > 0;
        return 0;
    }
}
