/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Devices in SQLite: listed, registered, changed and removed. There is one writer, so nothing comes
 * between the statements of a request.
 */
#include "sql/sqlite_device.h"

#include "codec/base/clock.h"
#include "codec/base/status.h"
#include "sql/engine.h"
#include "sql/sqlite_audience.h"
#include "sql/sqlite_ops.h"
#include "sql/sqlite_push.h"

/* Append the devices that a statement tells, and close it. */
static int take_rows(struct query *query, struct store_devices *devices)
{
    enum { ID, BODY, CREATED, REGISTERED, FOREGROUND, ADDRESS };
    struct result *arena = request_result(&devices->base);
    int more;
    while ((more = query_step(query)) > 0) {
        struct store_device *grown =
            result_grow(arena, devices->devices, devices->count, sizeof(*grown));
        if (grown == NULL) {
            more = STATUS_NOMEM;
            break;
        }
        devices->devices = grown;
        struct store_device *device = &grown[devices->count++];
        *device = (struct store_device){
            .body = result_copy(arena, query_column(query, BODY)),
            .created_at = query_column_u64(query, CREATED),
            .registered_at = query_column_u64(query, REGISTERED),
            .foreground_at = query_column_u64(query, FOREGROUND),
        };
        query_column_id(query, ID, device->id);
        query_column_id(query, ADDRESS, device->address_hash);
    }
    query_close(query);
    return more < 0 ? more : 0;
}

static void open_address(struct query *query, struct sqlite_db *db, enum sqlite_statement which,
    const struct store_devices *devices)
{
    query_open(query, db, which);
    query_blob(query, 1, bytes_of(devices->address_hash, STORE_HASH_LEN));
    query_text(query, 2, devices->who.user);
}

/* The id that the device has, or gets. */
static int find_id(
    struct sqlite_db *db, const struct store_devices *devices, uint8_t id[NOTIFICATION_ID_LEN])
{
    struct query query;
    memcpy(id, devices->id, NOTIFICATION_ID_LEN);
    if (devices->has_id) {
        return 0;
    }
    open_address(&query, db, SQLITE_STMT_DEVICE_FIND, devices);
    int more = query_step(&query);
    if (more > 0) {
        query_column_id(&query, 0, id);
    }
    query_close(&query);
    return more < 0 ? more : 0;
}

/* Take the address from whoever has it. */
static int take(
    struct sqlite_db *db, struct store_devices *devices, const uint8_t id[NOTIFICATION_ID_LEN])
{
    struct query query;
    int more;
    open_address(&query, db, SQLITE_STMT_DEVICE_TAKE, devices);
    query_id(&query, 3, id);
    while ((more = query_step(&query)) > 0) {
        devices->moved += query_column_u64(&query, 0);
    }
    query_close(&query);
    return more < 0 ? more : 0;
}

static int drop_oldest(
    struct sqlite_db *db, struct store_devices *devices, const uint8_t id[NOTIFICATION_ID_LEN])
{
    struct query query;
    query_open(&query, db, SQLITE_STMT_DEVICE_DROP);
    sqlite_bind_user(&query, &devices->who);
    query_id(&query, 4, id);
    query_u64(&query, 5, devices->most - 1);
    int changed = query_run(&query);
    devices->dropped = changed > 0 ? (uint64_t)changed : 0;
    return changed < 0 ? changed : 0;
}

static int put(struct sqlite_db *db, struct store_devices *devices)
{
    uint8_t id[NOTIFICATION_ID_LEN];
    struct query query;
    int status = sqlite_audience_enter(db, &devices->who);
    status = status < 0 ? status : find_id(db, devices, id);
    status = status < 0 ? status : take(db, devices, id);
    if (status < 0) {
        return status;
    }
    query_open(&query, db, SQLITE_STMT_DEVICE_PUT);
    sqlite_bind_user(&query, &devices->who);
    query_id(&query, 4, id);
    query_blob(&query, 5, bytes_of(devices->address_hash, STORE_HASH_LEN));
    query_text(&query, 6, devices->body);
    query_u64(&query, 7, devices->now);
    status = take_rows(&query, devices);
    status = status < 0 ? status : drop_oldest(db, devices, id);
    return status < 0 ? status : sqlite_push_begin(db, &devices->who);
}

int sqlite_device_write(struct sqlite_db *db, struct store_devices *devices)
{
    struct query query;
    devices->now = clock_wall_ms();
    if (devices->base.op == STORE_DEVICE_PUT) {
        return put(db, devices);
    }
    bool state = devices->base.op == STORE_DEVICE_STATE;
    query_open(&query, db, state ? SQLITE_STMT_DEVICE_STATE : SQLITE_STMT_DEVICE_REMOVE);
    sqlite_bind_user(&query, &devices->who);
    query_id(&query, 4, devices->id);
    if (state) {
        query_u64(&query, 5, devices->foreground ? devices->now : 0);
    } else {
        query_u64(&query, 5, devices->has_address);
        query_blob(&query, 6, bytes_of(devices->address_hash, STORE_HASH_LEN));
    }
    return take_rows(&query, devices);
}

int sqlite_device_list(struct sqlite_db *db, struct store_devices *devices)
{
    struct query query;
    devices->now = clock_wall_ms();
    query_open(&query, db, SQLITE_STMT_DEVICE_LIST);
    sqlite_bind_user(&query, &devices->who);
    return take_rows(&query, devices);
}
