/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What blocks: opening, migrating, meta. Everything else is in pg_port.c.
 */
#include <libpq-fe.h>
#include <stdio.h>

#include "codec/base/clock.h"
#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "sql/engine.h"
#include "sql/migrate.h"
#include "sql/pg_conn.h"
#include "sql/pg_engine.h"
#include "sql/store.h"

enum { VERSION_MIN = 130000, PID_TEXT = 16 };

/* Taken during migrations; "peal" in ASCII, so that no other program uses it by chance. */
static const char lock_text[] = "SELECT pg_advisory_xact_lock(1885692268)";

struct pg_store {
    struct store base;
    PGconn *opening; /* from start to serve */
};

static struct pg_store *as_pg(struct store *store)
{
    return container_of(store, struct pg_store, base);
}

static int create(
    const struct store_config *config, struct store **ret_store, char *ret_error, size_t error_size)
{
    if (memchr(config->url.at, '\0', config->url.len)) {
        (void)snprintf(ret_error, error_size, "the store's URL contains a NUL");
        return STATUS_INVALID;
    }
    struct pg_store *store = mem_alloc(sizeof(*store));
    *ret_store = &store->base;
    return 0;
}

/* The first line of libpq's message, which never holds the password. */
static void copy_reason(PGconn *pg, char *ret_error, size_t error_size)
{
    const char *message = PQerrorMessage(pg);
    size_t len = strcspn(message, "\n");
    (void)snprintf(ret_error, error_size, "Postgres: %.*s", (int)len, message);
}

static void ignore_notice(void *context, const PGresult *result)
{
}

static PGconn *connect_blocking(const char *url)
{
    const char *const keys[] = {
        "connect_timeout", "client_encoding", "fallback_application_name", "dbname", NULL};
    const char *const values[] = {"10", "UTF8", "peal", url, NULL};
    PGconn *pg = PQconnectdbParams(keys, values, 1);
    if (pg) {
        (void)PQsetNoticeReceiver(pg, ignore_notice, NULL);
    }
    return pg;
}

/* Run text that may be several statements. */
static int run_text(PGconn *pg, const char *sql)
{
    PGresult *result = PQexec(pg, sql);
    ExecStatusType status = PQresultStatus(result);
    PQclear(result);
    return status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK ? 0 : STATUS_UNAVAILABLE;
}

/* Run one statement with text parameters and results; NULL when it fails. */
static PGresult *run_query(PGconn *pg, const char *sql, int count, const char *const *values)
{
    PGresult *result = PQexecParams(pg, sql, count, NULL, values, NULL, NULL, 0);
    ExecStatusType status = PQresultStatus(result);
    if (status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK) {
        return result;
    }
    PQclear(result);
    return NULL;
}

/* --- migrations --- */

static int begin_migration(void *context)
{
    PGconn *pg = context;
    int status = run_text(pg, "BEGIN");
    if (status == 0) {
        status = run_text(pg, lock_text);
    }
    if (status < 0) {
        return status;
    }
    PGresult *found = run_query(pg, "SELECT to_regclass('peal.migration') IS NULL", 0, NULL);
    if (!found) {
        return STATUS_UNAVAILABLE;
    }
    bool missing = PQgetvalue(found, 0, 0)[0] == 't';
    PQclear(found);
    if (!missing) {
        return 0; /* not even the right to create is needed */
    }
    return run_text(pg, "CREATE SCHEMA IF NOT EXISTS peal; CREATE TABLE peal.migration ("
                        "number integer PRIMARY KEY, name text NOT NULL, checksum text NOT NULL, "
                        "applied_at bigint NOT NULL)");
}

static int newest_migration(void *context, unsigned *ret_number)
{
    PGresult *found =
        run_query(context, "SELECT coalesce(max(number), 0) FROM peal.migration", 0, NULL);
    if (!found) {
        return STATUS_UNAVAILABLE;
    }
    uint64_t number = 0;
    int status = bytes_to_u64(bytes_str(PQgetvalue(found, 0, 0)), INT32_MAX, &number);
    *ret_number = (unsigned)number;
    PQclear(found);
    return status;
}

static int find_migration(void *context, unsigned number, char ret_text[MIGRATION_CHECKSUM_LEN + 1])
{
    char text[16];
    (void)snprintf(text, sizeof(text), "%u", number);
    const char *const values[] = {text};
    PGresult *found = run_query(
        context, "SELECT checksum FROM peal.migration WHERE number = $1::integer", 1, values);
    if (!found) {
        return STATUS_UNAVAILABLE;
    }
    bool exists = PQntuples(found) == 1;
    if (exists) {
        (void)snprintf(ret_text, MIGRATION_CHECKSUM_LEN + 1, "%s", PQgetvalue(found, 0, 0));
    }
    PQclear(found);
    return exists ? 0 : STATUS_NOT_FOUND;
}

static int apply_migration(void *context, const struct migration *step)
{
    int status = run_text(context, step->sql);
    if (status < 0) {
        return status;
    }
    char number[16];
    char now[24];
    (void)snprintf(number, sizeof(number), "%u", step->number);
    (void)snprintf(now, sizeof(now), "%llu", (unsigned long long)clock_wall_ms());
    const char *const values[] = {number, step->name, step->checksum, now};
    PGresult *done = run_query(context,
        "INSERT INTO peal.migration (number, name, checksum, applied_at) "
        "VALUES ($1::integer, $2, $3, $4::bigint)",
        4, values);
    status = done ? 0 : STATUS_UNAVAILABLE;
    PQclear(done);
    return status;
}

static int end_migration(void *context, bool commit)
{
    /* COMMIT of a transaction that has failed is a rollback that succeeds. */
    PGresult *result = PQexec(context, commit ? "COMMIT" : "ROLLBACK");
    bool done = strcmp(PQcmdStatus(result), commit ? "COMMIT" : "ROLLBACK") == 0;
    PQclear(result);
    return done ? 0 : STATUS_UNAVAILABLE;
}

static const char *migration_reason(void *context)
{
    return PQerrorMessage(context);
}

static int migrate(PGconn *pg, char *ret_error, size_t error_size)
{
    const struct migrate_target target = {
        .context = pg,
        .begin = begin_migration,
        .newest = newest_migration,
        .checksum = find_migration,
        .apply = apply_migration,
        .end = end_migration,
        .reason = migration_reason,
    };
    int status = migrate_run(&target, migrations_pg, migrations_count, ret_error, error_size);
    ret_error[strcspn(ret_error, "\n")] = '\0';
    return status;
}

/* Make the outbox where it is not; what is there must be ours. */
static int make_outbox(PGconn *pg, char *ret_error, size_t error_size)
{
    const struct migration *step = &migrations_pg[0];
    char applied[MIGRATION_CHECKSUM_LEN + 1];
    while (strcmp(step->name, "outbox") != 0) {
        step++;
    }
    int status = begin_migration(pg);
    status = status < 0 ? status : find_migration(pg, step->number, applied);
    if (status == STATUS_NOT_FOUND) {
        status = apply_migration(pg, step);
    } else if (status == 0 && strcmp(applied, step->checksum) != 0) {
        (void)snprintf(ret_error, error_size,
            "Postgres: the outbox of this database is that of another build of Peal, and nothing "
            "converts it: drop the schema peal when it is empty");
        (void)end_migration(pg, false);
        return STATUS_CONFLICT;
    }
    if (status < 0) {
        copy_reason(pg, ret_error, error_size);
    }
    int ended = end_migration(pg, status == 0);
    if (status == 0 && ended < 0) {
        copy_reason(pg, ret_error, error_size);
    }
    return status < 0 ? status : ended;
}

/* --- opening --- */

static int check_server(PGconn *pg, char *ret_error, size_t error_size)
{
    if (PQstatus(pg) != CONNECTION_OK) {
        copy_reason(pg, ret_error, error_size);
        return STATUS_UNAVAILABLE;
    }
    if (PQserverVersion(pg) < VERSION_MIN) {
        (void)snprintf(ret_error, error_size, "Postgres: version 13 or newer is needed");
        return STATUS_UNSUPPORTED;
    }
    const char *encoding = PQparameterStatus(pg, "server_encoding");
    if (!encoding || strcmp(encoding, "UTF8") != 0) {
        (void)snprintf(ret_error, error_size,
            "Postgres: the database's encoding is %s and must be UTF8",
            encoding ? encoding : "unknown");
        return STATUS_UNSUPPORTED;
    }
    return 0;
}

int store_install_outbox(struct bytes url, char *ret_error, size_t error_size)
{
    char *text = mem_alloc(url.len + 1);
    memcpy(text, url.at, url.len);
    PGconn *pg = connect_blocking(text);
    mem_free(text);
    int status = check_server(pg, ret_error, error_size);
    status = status < 0 ? status : make_outbox(pg, ret_error, error_size);
    PQfinish(pg);
    return status;
}

/* How many connections there are for others than superusers. */
static uint32_t read_connections(PGconn *pg)
{
    PGresult *result = run_query(pg,
        "SELECT current_setting('max_connections')::integer - "
        "current_setting('superuser_reserved_connections')::integer",
        0, NULL);
    uint64_t count = 0;
    if (result && bytes_to_u64(bytes_str(PQgetvalue(result, 0, 0)), INT32_MAX, &count) < 0) {
        count = 0;
    }
    PQclear(result);
    return (uint32_t)count;
}

/* The server process that serves a connection now; "" when it does not say. */
static void read_backend(PGconn *pg, char ret_pid[PID_TEXT])
{
    PGresult *result =
        PQstatus(pg) == CONNECTION_OK ? run_query(pg, "SELECT pg_backend_pid()", 0, NULL) : NULL;
    (void)snprintf(ret_pid, PID_TEXT, "%s", result ? PQgetvalue(result, 0, 0) : "");
    PQclear(result);
}

/* Two connections that one server process serves: a pooler gives sessions to others between
 * transactions, and with them what was prepared and set. */
static int check_sessions(const struct pg_store *store, char *ret_error, size_t error_size)
{
    char first[PID_TEXT];
    char second[PID_TEXT];
    PGconn *other = connect_blocking(store->base.config.url.at);
    read_backend(store->opening, first);
    read_backend(other, second);
    PQfinish(other);
    if (first[0] == '\0' || strcmp(first, second) != 0) {
        return 0;
    }
    (void)snprintf(ret_error, error_size, "Postgres: %s", pg_pooler_text);
    return STATUS_UNSUPPORTED;
}

static int start(struct store *base, char *ret_error, size_t error_size)
{
    struct pg_store *store = as_pg(base);
    store->opening = connect_blocking(store->base.config.url.at);
    int status = check_server(store->opening, ret_error, error_size);
    if (status == 0) {
        base->connections = read_connections(store->opening);
        status = check_sessions(store, ret_error, error_size);
    }
    return status < 0 ? status : migrate(store->opening, ret_error, error_size);
}

static void reason(struct store *store, char *ret_error, size_t error_size)
{
    copy_reason(as_pg(store)->opening, ret_error, error_size);
}

static int serve(struct store *base, char *ret_error, size_t error_size)
{
    struct pg_store *store = as_pg(base);
    PQfinish(store->opening);
    store->opening = NULL;
    return 0;
}

/* --- meta --- */

static int meta_first(
    struct store *store, const char *name, const char *value, char ret_value[META_VALUE_MAX + 1])
{
    PGconn *pg = as_pg(store)->opening;
    const char *const values[] = {name, value};
    PGresult *result = run_query(pg,
        "INSERT INTO peal.meta (name, value) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING", 2,
        values);
    if (!result) {
        return STATUS_UNAVAILABLE;
    }
    PQclear(result);
    result = run_query(pg, "SELECT value FROM peal.meta WHERE name = $1", 1, values);
    if (!result) {
        return STATUS_UNAVAILABLE;
    }
    int status = PQntuples(result) == 1 ? 0 : STATUS_UNAVAILABLE;
    if (status == 0) {
        (void)snprintf(ret_value, META_VALUE_MAX + 1, "%s", PQgetvalue(result, 0, 0));
    }
    PQclear(result);
    return status;
}

static int meta_replace(struct store *base, const char *name, const char *from, const char *to)
{
    struct pg_store *store = as_pg(base);
    PGconn *pg = store->opening ? store->opening : connect_blocking(store->base.config.url.at);
    const char *const values[] = {name, from, to};
    PGresult *result =
        run_query(pg, "UPDATE peal.meta SET value = $3 WHERE name = $1 AND value = $2", 3, values);
    int status = STATUS_UNAVAILABLE;
    if (result) {
        status = strcmp(PQcmdTuples(result), "1") == 0 ? 0 : STATUS_CONFLICT;
    }
    PQclear(result);
    if (pg != store->opening) {
        PQfinish(pg);
    }
    return status;
}

/* Whether the role may call pg_control_system is asked first: a refusal would be an error. */
static int identify(struct store *store, char ret_identity[STORE_IDENTITY_MAX + 1])
{
    PGconn *pg = as_pg(store)->opening;
    PGresult *result =
        run_query(pg, "SELECT has_function_privilege('pg_control_system()', 'execute')", 0, NULL);
    if (!result) {
        return STATUS_UNAVAILABLE;
    }
    bool may = PQgetvalue(result, 0, 0)[0] == 't';
    PQclear(result);
    ret_identity[0] = '\0';
    if (!may) {
        return 0;
    }
    result = run_query(pg, "SELECT system_identifier FROM pg_control_system()", 0, NULL);
    if (!result) {
        return STATUS_UNAVAILABLE;
    }
    (void)snprintf(
        ret_identity, STORE_IDENTITY_MAX + 1, "%s/%s", PQgetvalue(result, 0, 0), PQdb(pg));
    PQclear(result);
    for (char *at = ret_identity; *at != '\0'; at++) {
        if ((unsigned char)*at <= ' ' || *at == 0x7f) {
            *at = '_'; /* it is a word of messages between nodes */
        }
    }
    return 0;
}

static void close_store(struct store *base)
{
    struct pg_store *store = as_pg(base);
    PQfinish(store->opening);
    mem_free(store);
}

const struct engine engine_postgres = {
    .name = "postgres",
    .statement_names = pg_statement_names,
    .statement_count = PG_STMT_COUNT,
    .create = create,
    .start = start,
    .serve = serve,
    .meta_first = meta_first,
    .meta_replace = meta_replace,
    .identify = identify,
    .reason = reason,
    .port_open = pg_port_open,
    .submit = pg_port_submit,
    .port_close = pg_port_close,
    .port_destroy = pg_port_destroy,
    .close = close_store,
};
