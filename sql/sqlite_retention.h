/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sqlite_retention - STORE_RETAIN on a SQLite connection; private to the engine.
 */
#ifndef SQL_SQLITE_RETENTION_H
#define SQL_SQLITE_RETENTION_H

#include "codec/base/check.h"
#include "sql/sqlite_db.h"
#include "sql/store_retention.h"

/* Carry out a step; a status. */
MUST_CHECK int sqlite_retention_step(struct sqlite_db *db, struct store_retention *retention);

#endif
