/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Devices in Postgres: the statements of each request, and what comes back of them.
 */
#include "sql/pg_device.h"

#include "codec/base/status.h"
#include "sql/engine.h"
#include "sql/pg_audience.h"

enum pg_statement pg_device_add(struct pg_params *params, const struct store_devices *devices)
{
    pg_add_user(params, devices->who.tenant, devices->who.user);
    if (devices->base.op == STORE_DEVICE_LIST) {
        return PG_STMT_DEVICE_LIST;
    }
    pg_add_uuid(params, devices->id);
    if (devices->base.op == STORE_DEVICE_REMOVE) {
        pg_add_i16(params, devices->has_address);
        pg_add_uuid(params, devices->address_hash);
        return PG_STMT_DEVICE_REMOVE;
    }
    if (devices->base.op == STORE_DEVICE_STATE) {
        pg_add_i16(params, devices->foreground);
        return PG_STMT_DEVICE_STATE;
    }
    pg_add_i16(params, devices->has_id);
    pg_add_uuid(params, devices->address_hash);
    pg_add_text(params, devices->body);
    pg_add_i32(params, (int32_t)devices->most);
    return PG_STMT_DEVICE_PUT;
}

bool pg_device_writes(enum store_op op)
{
    return op >= STORE_DEVICE_PUT && op < STORE_DEVICE_LIST;
}

void pg_device_send(struct pg_conn *conn, struct pg_flight *flight)
{
    const struct store_devices *devices = (const struct store_devices *)flight->requests[0];
    if (devices->base.op == STORE_DEVICE_PUT) {
        pg_audience_enter(conn, flight);
    }
    enum pg_statement which = pg_device_add(pg_conn_params(conn), devices);
    pg_conn_send(conn, flight, (struct pg_run){.which = which, .count = 1});
}

int pg_device_rows(struct store_devices *devices, const PGresult *rows)
{
    enum { NOW, MOVED, DROPPED, ID, BODY, CREATED, REGISTERED, FOREGROUND, ADDRESS };
    struct result *arena = request_result(&devices->base);
    for (int row = 0; row < PQntuples(rows); row++) {
        struct store_device *grown =
            result_grow(arena, devices->devices, devices->count, sizeof(*grown));
        if (grown == NULL) {
            return STATUS_UNAVAILABLE;
        }
        devices->now = pg_u64(rows, row, NOW);
        devices->moved = pg_u64(rows, row, MOVED);
        devices->dropped = pg_u64(rows, row, DROPPED);
        devices->devices = grown;
        struct store_device *device = &grown[devices->count++];
        *device = (struct store_device){
            .body = result_copy(arena, pg_bytes(rows, row, BODY)),
            .created_at = pg_u64(rows, row, CREATED),
            .registered_at = pg_u64(rows, row, REGISTERED),
            .foreground_at = pg_u64(rows, row, FOREGROUND),
        };
        pg_uuid(rows, row, ID, device->id);
        pg_uuid(rows, row, ADDRESS, device->address_hash);
    }
    return 0;
}
