/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opens a connection with its pragmas, prepares statements when they are first used, and runs them.
 */
#include "sql/sqlite_db.h"

#include <stdio.h>

#include "codec/base/clock.h"
#include "codec/base/mem.h"
#include "codec/base/status.h"

enum {
    BUSY_TIMEOUT_MS = 2000,
    CACHE_KIB = 16 << 10,
    CACHE_SMALL_KIB = 1 << 10, /* while memory is short */
    SMALL_MS = 60 * 1000,
};

const char *const sqlite_statement_names[] = {
#define X(name, label, text) [SQLITE_STMT_##name] = (label),
#include "sql/sqlite_db.def"
#undef X
};

static const char *const statement_texts[] = {
#define X(name, label, text) [SQLITE_STMT_##name] = (text),
#include "sql/sqlite_db.def"
#undef X
};

static int status_from_sqlite(int code)
{
    switch (code & 0xff) {
    case SQLITE_OK:
    case SQLITE_ROW:
    case SQLITE_DONE:
        return 0;
    case SQLITE_CONSTRAINT:
    case SQLITE_MISMATCH:
    case SQLITE_TOOBIG:
    case SQLITE_RANGE:
        return STATUS_INVALID;
    case SQLITE_NOMEM:
        mem_ask_back();
        return STATUS_NOMEM;
    default:
        return STATUS_UNAVAILABLE;
    }
}

/* The mode that SQLite has taken is its answer: where it cannot, it goes on with another. */
static int keep_mode(void *context, int count, char **texts, char **names)
{
    (void)names;
    *(bool *)context = count == 1 && texts[0] != NULL && strcmp(texts[0], "wal") == 0;
    return 0;
}

static int turn_to_wal(struct sqlite_db *db)
{
    bool wal = false;
    int status = status_from_sqlite(
        sqlite3_exec(db->handle, "PRAGMA journal_mode = WAL", keep_mode, &wal, NULL));
    if (status == 0 && !wal) {
        db->refusal = "this file system has no shared memory for the write-ahead log of SQLite; "
                      "use a local one (store.path), or Postgres (store.url)";
        status = STATUS_UNSUPPORTED;
    }
    return status;
}

static void set_cache(struct sqlite_db *db, int kib)
{
    char text[64];
    snprintf(text, sizeof(text), "PRAGMA cache_size = -%d", kib);
    (void)sqlite3_exec(db->handle, text, NULL, NULL, NULL); /* else it stays as large as it is */
}

int sqlite_db_open(struct sqlite_db *db, const char *path, struct stats *stats)
{
    *db = (struct sqlite_db){.stats = stats};
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
    int status = status_from_sqlite(sqlite3_open_v2(path, &db->handle, flags, NULL));
    if (status < 0) {
        return status;
    }
    (void)sqlite3_extended_result_codes(db->handle, 1);
    (void)sqlite3_busy_timeout(db->handle, BUSY_TIMEOUT_MS);
    /* 8000 pages: a checkpoint stalls the writer, so the engine also makes them when idle. */
    status = turn_to_wal(db);
    if (status < 0) {
        return status;
    }
    status = sqlite_db_exec(db, "PRAGMA synchronous = FULL; "
                                "PRAGMA wal_autocheckpoint = 8000; PRAGMA temp_store = MEMORY; "
                                "PRAGMA trusted_schema = OFF");
    set_cache(db, CACHE_KIB);
    return status;
}

void sqlite_db_close(struct sqlite_db *db)
{
    for (size_t i = 0; i < SQLITE_STMT_COUNT; i++) {
        (void)sqlite3_finalize(db->statements[i]);
    }
    CHECK(sqlite3_close(db->handle) == SQLITE_OK);
    *db = (struct sqlite_db){0};
}

const char *sqlite_db_reason(const struct sqlite_db *db)
{
    if (db->refusal != NULL) {
        return db->refusal;
    }
    return db->handle ? sqlite3_errmsg(db->handle) : "out of memory";
}

void sqlite_db_give_back(struct sqlite_db *db, uint64_t now_ms)
{
    uint64_t asked = mem_asked();
    if (asked != db->asked) {
        db->asked = asked;
        db->small_until_ms = now_ms + SMALL_MS;
        (void)sqlite3_db_release_memory(db->handle);
        set_cache(db, CACHE_SMALL_KIB);
    } else if (db->small_until_ms != 0 && now_ms >= db->small_until_ms) {
        db->small_until_ms = 0;
        set_cache(db, CACHE_KIB);
    }
}

void sqlite_db_roll_back(struct sqlite_db *db)
{
    if (!sqlite3_get_autocommit(db->handle)) {
        (void)sqlite3_exec(db->handle, "ROLLBACK", NULL, NULL, NULL);
    }
}

int sqlite_db_exec(struct sqlite_db *db, const char *sql)
{
    return status_from_sqlite(sqlite3_exec(db->handle, sql, NULL, NULL, NULL));
}

void query_open(struct query *query, struct sqlite_db *db, enum sqlite_statement which)
{
    *query = (struct query){.db = db, .which = which};
    if (!db->statements[which]) {
        int code = sqlite3_prepare_v3(db->handle, statement_texts[which], -1,
            SQLITE_PREPARE_PERSISTENT, &db->statements[which], NULL);
        query->status = status_from_sqlite(code);
    }
    query->stmt = db->statements[which];
}

static void note(struct query *query, int code)
{
    if (query->status == 0) {
        query->status = status_from_sqlite(code);
    }
}

void query_text(struct query *query, int index, struct bytes text)
{
    if (query->status == 0) {
        const char *at = text.len > 0 ? text.at : "";
        note(query,
            sqlite3_bind_text64(query->stmt, index, at, text.len, SQLITE_STATIC, SQLITE_UTF8));
    }
}

void query_blob(struct query *query, int index, struct bytes blob)
{
    if (query->status == 0) {
        const char *at = blob.len > 0 ? blob.at : "";
        note(query, sqlite3_bind_blob64(query->stmt, index, at, blob.len, SQLITE_STATIC));
    }
}

void query_u64(struct query *query, int index, uint64_t value)
{
    if (query->status == 0) {
        sqlite3_int64 number = value > INT64_MAX ? INT64_MAX : (sqlite3_int64)value;
        note(query, sqlite3_bind_int64(query->stmt, index, number));
    }
}

void query_id(struct query *query, int index, const uint8_t id[NOTIFICATION_ID_LEN])
{
    query_blob(query, index, bytes_of(id, NOTIFICATION_ID_LEN));
}

int query_step(struct query *query)
{
    if (query->status < 0) {
        return query->status;
    }
    uint64_t started = clock_mono_ns();
    int code = sqlite3_step(query->stmt);
    query->spent_ns += clock_mono_ns() - started;
    note(query, code);
    return query->status < 0 ? query->status : code == SQLITE_ROW;
}

struct bytes query_column(const struct query *query, int index)
{
    const void *at = sqlite3_column_blob(query->stmt, index);
    return bytes_of(at, (size_t)sqlite3_column_bytes(query->stmt, index));
}

uint64_t query_column_u64(const struct query *query, int index)
{
    return (uint64_t)sqlite3_column_int64(query->stmt, index);
}

void query_column_id(const struct query *query, int index, uint8_t ret_id[NOTIFICATION_ID_LEN])
{
    struct bytes id = query_column(query, index);
    if (id.len == NOTIFICATION_ID_LEN) {
        memcpy(ret_id, id.at, NOTIFICATION_ID_LEN);
    }
}

void query_close(struct query *query)
{
    if (!query->stmt) {
        return;
    }
    uint64_t started = clock_mono_ns();
    (void)sqlite3_reset(query->stmt);
    (void)sqlite3_clear_bindings(query->stmt);
    query->spent_ns += clock_mono_ns() - started;
    stats_note(query->db->stats, query->which, query->spent_ns);
    query->stmt = NULL;
}

int query_run(struct query *query)
{
    int more = query_step(query);
    while (more > 0) {
        more = query_step(query);
    }
    int changes = more == 0 ? sqlite3_changes(query->db->handle) : 0;
    query_close(query);
    return more < 0 ? more : changes;
}
