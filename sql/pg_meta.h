/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pg_meta - requests about the table `meta` in Postgres: the epoch, and notes.
 */
#ifndef SQL_PG_META_H
#define SQL_PG_META_H

#include "codec/base/check.h"
#include "sql/pg_conn.h"

/* Send the statements of a flight that has one request, of which op_is_of_meta is true. */
void pg_meta_send(struct pg_conn *conn, struct pg_flight *flight);

/* Take in the rows of the one that reads. */
MUST_CHECK int pg_meta_rows(struct store_request *request, const PGresult *rows);

#endif
