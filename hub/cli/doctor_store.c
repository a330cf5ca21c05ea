/* SPDX-License-Identifier: Apache-2.0 */
/*
 * doctor_store - Postgres as Peal needs it. Of SQLite there is the file alone (doctor_machine.c).
 */
#include "codec/base/bytes.h"
#include "codec/base/clock.h"
#include "hub/cli/doctor.h"
#include "hub/config/config.h"
#include "sql/store.h"

enum { ERROR_MAX = 512, VERSION_LEAST = 130000 };

static void look_at_rights(struct doctor *doctor, const struct store_examination *store)
{
    if (store->version < VERSION_LEAST) {
        doctor_find(doctor, "STORE-OLD", "use Postgres 13 or newer", "Postgres %u is too old",
            store->version / 10000);
    }
    if (store->read_only) {
        doctor_find(doctor, "STORE-READ-ONLY",
            "give the address of the primary; target_session_attrs=read-write finds it among "
            "several",
            "nothing can be written there: it is a standby");
    } else if (!store->may_create) {
        doctor_find(doctor, "STORE-SCHEMA",
            "GRANT CREATE ON DATABASE to the role, or run peal migrate as a role that may",
            "the schema peal is not there, and the role may not make it");
    }
}

static void look_at_server(struct doctor *doctor, const struct store_examination *store)
{
    uint32_t wanted = doctor->config->store_pool_max;
    uint32_t left = store->connections > store->connections_used
                        ? store->connections - store->connections_used
                        : 0;
    if (!store->fsync) {
        doctor_find(doctor, "STORE-FSYNC", "set fsync = on",
            "fsync is off: what was accepted may be gone when the machine stops");
    }
    if (store->pooled) {
        doctor_find(doctor, "STORE-POOLED",
            "give the address of Postgres itself, or a pool of mode session",
            "a pooler changes sessions between transactions: prepared statements and locks of "
            "sessions do not hold there");
    } else if (left < wanted) {
        doctor_find(doctor, "STORE-CONNECTIONS", "raise max_connections, or lower store.pool_max",
            "of %u connections %u are left, and a node may want %u (store.pool_max)",
            store->connections, left, wanted);
    }
}

void doctor_look_at_store(struct doctor *doctor)
{
    char error[ERROR_MAX] = "";
    struct store_examination store;
    const char *url = doctor->config->store_url;
    if (url[0] == '\0') {
        return;
    }
    uint64_t before = clock_wall_ms();
    if (store_examine(bytes_str(url), &store, error, sizeof(error)) != 0) {
        doctor_find(doctor, "STORE",
            "look at store.url (DATABASE_URL), and at the server: a node does not start with it",
            "%s", error);
        return;
    }
    doctor_compare_clocks(
        doctor, "CLOCK-STORE", "Postgres", store.clock_ms, before, clock_wall_ms());
    look_at_rights(doctor, &store);
    look_at_server(doctor, &store);
}
