/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sqlite_search - the texts that are searched, and the rows that were found, from SQLite.
 */
#ifndef SQL_SQLITE_SEARCH_H
#define SQL_SQLITE_SEARCH_H

#include "codec/base/check.h"
#include "sql/sqlite_db.h"
#include "sql/store_list.h"

/* Run the request in the snapshot that is open. */
MUST_CHECK int sqlite_search_texts(struct sqlite_db *db, struct store_list *texts);
MUST_CHECK int sqlite_search_pick(struct sqlite_db *db, struct store_pick *pick);

#endif
