/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connects once and says why that fails, or how the server is: what `check-config --connect` and
 * `doctor` ask.
 */
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "codec/base/status.h"
#include "sql/store.h"

enum { URL_MAX = 4097 };

/* Of one row, in the order of enum column. Sessions of others are counted as far as they are shown.
 */
#define EXAMINE                                                                                    \
    "SELECT pg_is_in_recovery()::int, "                                                            \
    "(current_setting('fsync') = 'on')::int, pg_backend_pid(), "                                   \
    "(to_regnamespace('peal') IS NOT NULL OR "                                                     \
    "has_database_privilege(current_database(), 'CREATE'))::int, "                                 \
    "current_setting('max_connections')::int - "                                                   \
    "current_setting('superuser_reserved_connections')::int, "                                     \
    "(SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'), "              \
    "(extract(epoch FROM clock_timestamp()) * 1000)::bigint, "                                     \
    "current_setting('server_version_num')"

enum column { READ_ONLY, FSYNC, PID, MAY_CREATE, CONNECTIONS, USED, CLOCK, VERSION, COLUMN_COUNT };

static int fail(PGconn *pg, char *ret_error, size_t error_size)
{
    const char *message = pg != NULL ? PQerrorMessage(pg) : "out of memory";
    (void)snprintf(ret_error, error_size, "Postgres: %.*s", (int)strcspn(message, "\n"), message);
    PQfinish(pg);
    return STATUS_UNAVAILABLE;
}

static PGconn *open_once(struct bytes url)
{
    char text[URL_MAX];
    snprintf(text, sizeof(text), "%.*s", (int)url.len, url.len > 0 ? url.at : "");
    const char *const keys[] = {"connect_timeout", "fallback_application_name", "dbname", NULL};
    const char *const values[] = {"5", "peal", text, NULL};
    return PQconnectdbParams(keys, values, 1);
}

int store_probe(struct bytes url, char *ret_error, size_t error_size)
{
    PGconn *pg = open_once(url);
    if (pg == NULL || PQstatus(pg) != CONNECTION_OK) {
        return fail(pg, ret_error, error_size);
    }
    PQfinish(pg);
    return 0;
}

int store_probe_outbox(struct bytes url, char *ret_error, size_t error_size)
{
    PGconn *pg = open_once(url);
    PGresult *rows = NULL;
    if (pg != NULL && PQstatus(pg) == CONNECTION_OK) {
        rows = PQexec(pg, "SELECT to_regclass('peal.outbox') IS NOT NULL");
    }
    if (PQresultStatus(rows) != PGRES_TUPLES_OK) {
        PQclear(rows);
        return fail(pg, ret_error, error_size);
    }
    bool there = PQgetvalue(rows, 0, 0)[0] == 't';
    PQclear(rows);
    PQfinish(pg);
    if (!there) {
        (void)snprintf(ret_error, error_size, "there is no peal.outbox in this database yet");
    }
    return there ? 0 : STATUS_NOT_FOUND;
}

/* Whether a second connection has the same session: a pooler gives it to others between. */
static bool shares_session(struct bytes url, const char *pid)
{
    PGconn *other = open_once(url);
    PGresult *rows = NULL;
    if (other != NULL && PQstatus(other) == CONNECTION_OK) {
        rows = PQexec(other, "SELECT pg_backend_pid()");
    }
    bool same = PQresultStatus(rows) == PGRES_TUPLES_OK && strcmp(PQgetvalue(rows, 0, 0), pid) == 0;
    PQclear(rows);
    PQfinish(other);
    return same;
}

static uint64_t number_of(const PGresult *rows, enum column column)
{
    return strtoull(PQgetvalue(rows, 0, (int)column), NULL, 10);
}

int store_examine(
    struct bytes url, struct store_examination *ret_examination, char *ret_error, size_t error_size)
{
    PGconn *pg = open_once(url);
    PGresult *rows = NULL;
    if (pg != NULL && PQstatus(pg) == CONNECTION_OK) {
        rows = PQexec(pg, EXAMINE);
    }
    if (PQresultStatus(rows) != PGRES_TUPLES_OK || PQnfields(rows) != COLUMN_COUNT) {
        PQclear(rows);
        return fail(pg, ret_error, error_size);
    }
    *ret_examination = (struct store_examination){
        .read_only = number_of(rows, READ_ONLY) != 0,
        .fsync = number_of(rows, FSYNC) != 0,
        .pooled = shares_session(url, PQgetvalue(rows, 0, PID)),
        .may_create = number_of(rows, MAY_CREATE) != 0,
        .connections = (uint32_t)number_of(rows, CONNECTIONS),
        .connections_used = (uint32_t)number_of(rows, USED),
        .clock_ms = number_of(rows, CLOCK),
        .version = (uint32_t)number_of(rows, VERSION),
    };
    PQclear(rows);
    PQfinish(pg);
    return 0;
}
