/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Brings a SQLite file to the newest migration.
 */
#include <stdio.h>

#include "codec/base/clock.h"
#include "codec/base/status.h"
#include "sql/migrate.h"
#include "sql/sqlite_ops.h"

static int begin_migration(void *context)
{
    struct sqlite_db *db = context;
    return sqlite_db_exec(db, "BEGIN IMMEDIATE; CREATE TABLE IF NOT EXISTS migration ("
                              "number INTEGER PRIMARY KEY, name TEXT NOT NULL, "
                              "checksum TEXT NOT NULL, applied_at INTEGER NOT NULL)");
}

static int newest_migration(void *context, unsigned *ret_number)
{
    struct query query;
    query_open(&query, context, SQLITE_STMT_MIGRATION_NEWEST);
    int more = query_step(&query);
    if (more > 0) {
        *ret_number = (unsigned)query_column_u64(&query, 0);
    }
    query_close(&query);
    return more < 0 ? more : 0;
}

static int find_migration(void *context, unsigned number, char ret_text[MIGRATION_CHECKSUM_LEN + 1])
{
    struct query query;
    query_open(&query, context, SQLITE_STMT_MIGRATION_FIND);
    query_u64(&query, 1, number);
    int more = query_step(&query);
    if (more > 0) {
        struct bytes text = query_column(&query, 0);
        (void)snprintf(
            ret_text, MIGRATION_CHECKSUM_LEN + 1, "%.*s", (int)text.len, text.len ? text.at : "");
    }
    query_close(&query);
    return more < 0 ? more : more > 0 ? 0 : STATUS_NOT_FOUND;
}

static int apply_migration(void *context, const struct migration *step)
{
    struct sqlite_db *db = context;
    int status = sqlite_db_exec(db, step->sql);
    if (status < 0) {
        return status;
    }
    struct query query;
    query_open(&query, db, SQLITE_STMT_MIGRATION_INSERT);
    query_u64(&query, 1, step->number);
    query_text(&query, 2, bytes_str(step->name));
    query_text(&query, 3, bytes_str(step->checksum));
    query_u64(&query, 4, clock_wall_ms());
    int changed = query_run(&query);
    return changed < 0 ? changed : 0;
}

static int end_migration(void *context, bool commit)
{
    struct sqlite_db *db = context;
    int status = commit ? sqlite_db_exec(db, "COMMIT") : 0;
    sqlite_db_roll_back(db);
    return status;
}

static const char *migration_reason(void *context)
{
    return sqlite_db_reason(context);
}

int sqlite_migrate(struct sqlite_db *db, char *ret_error, size_t error_size)
{
    const struct migrate_target target = {
        .context = db,
        .begin = begin_migration,
        .newest = newest_migration,
        .checksum = find_migration,
        .apply = apply_migration,
        .end = end_migration,
        .reason = migration_reason,
    };
    return migrate_run(&target, migrations_sqlite, migrations_count, ret_error, error_size);
}
