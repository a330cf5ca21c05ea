/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sqlite_forget - erasing a user in SQLite.
 */
#ifndef SQL_SQLITE_FORGET_H
#define SQL_SQLITE_FORGET_H

#include "codec/base/check.h"
#include "sql/sqlite_db.h"
#include "sql/store_forget.h"

/* Run the request in the transaction that is open. */
MUST_CHECK int sqlite_forget_run(struct sqlite_db *db, struct store_forget *forget);

#endif
