/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sqlite_db - one connection to the file, its prepared statements, and the running of one.
 *
 * A connection belongs to one thread at a time. Failure of a query is sticky: binding to a failed
 * query does nothing, and query_step or query_run tells.
 */
#ifndef SQL_SQLITE_DB_H
#define SQL_SQLITE_DB_H

#include <sqlite3.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/base/bytes.h"
#include "codec/base/check.h"
#include "codec/notification_item.h"
#include "sql/stats.h"

#define ITEM_COLUMNS                                                                               \
    "tenant, user_id, seq, rev, id, type, title, message, data, priority, state, created_at, "     \
    "expires_at, seen_at, read_at, archived_at, new_rev, snoozed_until, resurfaced_at, "           \
    "collapse, count, updated_at, audience, digest"

enum sqlite_statement {
#define X(name, label, text) SQLITE_STMT_##name,
#include "sql/sqlite_db.def"
#undef X
    SQLITE_STMT_COUNT,
};

/* Names by enum sqlite_statement. */
extern const char *const sqlite_statement_names[];

struct sqlite_db {
    sqlite3 *handle; /* NULL: not open */
    sqlite3_stmt *statements[SQLITE_STMT_COUNT]; /* prepared at first use */
    struct stats *stats;
    const char *refusal; /* why it may not be used, though SQLite would; NULL */
    size_t made; /* rows of posts to many, in the open transaction */
    uint64_t asked; /* mem_asked, as last seen */
    uint64_t small_until_ms; /* until then the page cache is small; 0: it is not */
};

struct query {
    struct sqlite_db *db;
    enum sqlite_statement which;
    sqlite3_stmt *stmt;
    int status;
    uint64_t spent_ns;
};

/* Open `path`: write-ahead log, every commit on disk. Returns a status; sqlite_db_reason tells.
 * STATUS_UNSUPPORTED: there is no such log where the file is. */
MUST_CHECK int sqlite_db_open(struct sqlite_db *db, const char *path, struct stats *stats);

/* Close; also what failed to open. */
void sqlite_db_close(struct sqlite_db *db);

/* SQLite's words about the last failure. */
const char *sqlite_db_reason(const struct sqlite_db *db);

/*
 * Empty the page cache if memory was asked back (mem_ask_back) since the last call, and keep it
 * small until nobody has for a minute; then it may grow again. Between transactions, of a
 * connection that is open.
 */
void sqlite_db_give_back(struct sqlite_db *db, uint64_t now_ms);

/* Undo the open transaction, if there is one. */
void sqlite_db_roll_back(struct sqlite_db *db);

/* Run text without parameters and results (BEGIN, migrations). */
MUST_CHECK int sqlite_db_exec(struct sqlite_db *db, const char *sql);

/* Start a run of a statement; ends with query_close, or inside query_run. */
void query_open(struct query *query, struct sqlite_db *db, enum sqlite_statement which);

/* Bind parameter `index` (from 1); the bytes stay the caller's until query_close. */
void query_text(struct query *query, int index, struct bytes text);
void query_blob(struct query *query, int index, struct bytes blob);
void query_u64(struct query *query, int index, uint64_t value);
void query_id(struct query *query, int index, const uint8_t id[NOTIFICATION_ID_LEN]);

/* 1: there is a row; 0: no more; negative: a status. */
MUST_CHECK int query_step(struct query *query);

/* Column `index` (from 0) of the row; bytes are valid until the next call on the query. */
struct bytes query_column(const struct query *query, int index);
uint64_t query_column_u64(const struct query *query, int index);

/* The same of a column that holds an id; where it does not, `ret_id` stays as it is. */
void query_column_id(const struct query *query, int index, uint8_t ret_id[NOTIFICATION_ID_LEN]);

/* End the run and note its time. */
void query_close(struct query *query);

/* Run to the end without looking at rows, and close. Returns the rows changed, or a status. */
MUST_CHECK int query_run(struct query *query);

#endif
