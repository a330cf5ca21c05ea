/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sqlite_page - numbered pages, and pages by priority, from SQLite.
 */
#ifndef SQL_SQLITE_PAGE_H
#define SQL_SQLITE_PAGE_H

#include "codec/base/check.h"
#include "sql/sqlite_db.h"
#include "sql/store_list.h"

/* Run the request in the snapshot that is open. */
MUST_CHECK int sqlite_page_run(struct sqlite_db *db, struct store_page *page);

#endif
