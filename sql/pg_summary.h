/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pg_summary - what was counted by day and type, on a Postgres connection.
 */
#ifndef SQL_PG_SUMMARY_H
#define SQL_PG_SUMMARY_H

#include "codec/base/check.h"
#include "sql/pg_conn.h"
#include "sql/store_summary.h"

/* Append the parameters of a read; returns its statement. */
enum pg_statement pg_summary_add(struct pg_params *params, const struct store_summary *summary);

/* Take in the rows of a read; a status. */
MUST_CHECK int pg_summary_read(struct store_summary *summary, const PGresult *rows);

/* The same of a sweep. */
enum pg_statement pg_summary_add_sweep(struct pg_params *params, const struct store_sweep *sweep);
MUST_CHECK int pg_summary_read_sweep(struct store_sweep *sweep, const PGresult *rows);

#endif
