/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sqlite_summary - what was counted by day and type, on a SQLite connection.
 */
#ifndef SQL_SQLITE_SUMMARY_H
#define SQL_SQLITE_SUMMARY_H

#include "codec/base/check.h"
#include "sql/sqlite_db.h"
#include "sql/store_summary.h"

/* Count `posted` rows of a type that were stored in the open transaction; a status. */
MUST_CHECK int sqlite_summary_count(
    struct sqlite_db *db, struct bytes tenant, struct bytes type, uint64_t posted);

/* Run a statement that stores a post and returns its type, close it and count the post; a status.
 */
MUST_CHECK int sqlite_summary_run(struct sqlite_db *db, struct query *query, struct bytes tenant);

/* Carry out STORE_SUMMARY; a status. */
MUST_CHECK int sqlite_summary_read(struct sqlite_db *db, struct store_summary *summary);

/* Carry out STORE_SUMMARY_SWEEP; a status. */
MUST_CHECK int sqlite_summary_sweep(struct sqlite_db *db, struct store_sweep *sweep);

#endif
