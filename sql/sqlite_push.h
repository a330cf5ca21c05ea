/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sqlite_push - hand-offs to devices on a SQLite connection.
 */
#ifndef SQL_SQLITE_PUSH_H
#define SQL_SQLITE_PUSH_H

#include "codec/base/check.h"
#include "sql/sqlite_db.h"
#include "sql/store_push.h"

/* A user has a device: its hand-offs are arranged from now on. */
MUST_CHECK int sqlite_push_begin(struct sqlite_db *db, const struct store_user *who);

/* Carry out a request that writes. */
MUST_CHECK int sqlite_push_write(struct sqlite_db *db, struct store_request *request);

/* Carry out STORE_PUSH_LOOK. */
MUST_CHECK int sqlite_push_look(struct sqlite_db *db, struct store_push_look *look);

#endif
