/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sqlite_history - requests about what was said in rooms on a SQLite connection; private to the
 * SQLite engine.
 */
#ifndef SQL_SQLITE_HISTORY_H
#define SQL_SQLITE_HISTORY_H

#include "codec/base/check.h"
#include "sql/sqlite_db.h"
#include "sql/store_history.h"

/* Carry out a writing request of store_history.h, in an open transaction. */
MUST_CHECK int sqlite_history_write(struct sqlite_db *db, struct store_request *request);

/* Carry out the reading one, in a snapshot. STATUS_NOT_FOUND. */
MUST_CHECK int sqlite_history_read(struct sqlite_db *db, struct store_history_list *list);

#endif
