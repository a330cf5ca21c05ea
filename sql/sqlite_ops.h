/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sqlite_ops - what each request does on a SQLite connection; private to the SQLite engine.
 *
 * Called inside a transaction. On a negative status the caller rolls back what was written.
 */
#ifndef SQL_SQLITE_OPS_H
#define SQL_SQLITE_OPS_H

#include "codec/base/check.h"
#include "sql/engine.h"
#include "sql/sqlite_db.h"
#include "sql/store_edit.h"

struct preferences;

/* Bring the file to the newest migration (sqlite_migrate.c); 0, or what migrate_run returns. */
MUST_CHECK int sqlite_migrate(struct sqlite_db *db, char *ret_error, size_t error_size);

/* Run a writing request (sqlite_write.c). `*ret_results` is what a put returns once committed. */
MUST_CHECK int sqlite_write(
    struct sqlite_db *db, struct store_request *request, struct put_result **ret_results);

/* Store the rows of a put (sqlite_put.c). */
MUST_CHECK int sqlite_put(
    struct sqlite_db *db, struct store_put *put, struct put_result **ret_results);

/* Change one notification, or take it back (sqlite_edit.c). STATUS_NOT_FOUND. */
MUST_CHECK int sqlite_edit(struct sqlite_db *db, struct store_edit *edit);

/* Run a reading request in a snapshot of its own (sqlite_read.c). */
MUST_CHECK int sqlite_read(struct sqlite_db *db, struct store_request *request);

/* Read preferences, and write them (sqlite_preference.c). */
MUST_CHECK int sqlite_preference_read(struct sqlite_db *db, struct store_preference *preference);
MUST_CHECK int sqlite_preference_write(struct sqlite_db *db, struct store_preference *preference);

/*
 * What a user prefers, to be destroyed; NULL: there is nothing, or nothing that can be read
 * (sqlite_preference_want.c).
 */
MUST_CHECK int sqlite_preference_load(
    struct sqlite_db *db, const struct store_user *who, struct preferences **ret_preferences);

/* What the user of a row wants of its type. */
struct sqlite_wish {
    bool wanted;
    uint64_t span; /* for how long after the first one posts share its row; 0: they do not */
};

/* Replace what is usual by what the preferences of the row's user say. */
MUST_CHECK int sqlite_preference_wish(
    struct sqlite_db *db, const struct store_row *row, struct sqlite_wish *wish);

/* Bind slot, tenant and user as parameters 1 to 3 of a statement. */
void sqlite_bind_user(struct query *query, const struct store_user *who);

/* Read a value of meta, cut to `size` with its NUL. STATUS_NOT_FOUND. */
MUST_CHECK int sqlite_read_meta(
    struct sqlite_db *db, const char *name, size_t size, char *ret_value);

/* Replace a value of meta unless it is no longer `from`: 1 when it was, 0 when not. */
MUST_CHECK int sqlite_replace_meta(
    struct sqlite_db *db, const char *name, struct bytes from, const char *to);

/* Read an inbox's position, all 0 when there is none, and its tombstone floor. */
MUST_CHECK int sqlite_read_position(struct sqlite_db *db, const struct store_user *who,
    struct store_position *ret_position, uint64_t *ret_floor);

#endif
