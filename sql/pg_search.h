/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pg_search - the texts that are searched, and the rows that were found, from Postgres.
 */
#ifndef SQL_PG_SEARCH_H
#define SQL_PG_SEARCH_H

#include "codec/base/check.h"
#include "sql/pg_conn.h"
#include "sql/store_list.h"

/* Add the parameters; each returns its statement. */
enum pg_statement pg_search_add_texts(struct pg_params *params, const struct store_list *texts);
enum pg_statement pg_search_add_pick(struct pg_params *params, const struct store_pick *pick);

/* Read the statement's rows. */
MUST_CHECK int pg_search_read_texts(struct store_list *texts, const PGresult *rows);
MUST_CHECK int pg_search_read_pick(struct store_pick *pick, const PGresult *rows);

#endif
