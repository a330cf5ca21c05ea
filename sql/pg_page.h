/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pg_page - numbered pages, and pages by priority, from Postgres.
 */
#ifndef SQL_PG_PAGE_H
#define SQL_PG_PAGE_H

#include "codec/base/check.h"
#include "sql/pg_conn.h"
#include "sql/store_list.h"

/* Add the parameters; returns the statement. */
enum pg_statement pg_page_add(struct pg_params *params, const struct store_page *page);

/* Read the statement's rows. */
MUST_CHECK int pg_page_read(struct store_page *page, const PGresult *rows);

#endif
