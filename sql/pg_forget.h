/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pg_forget - erasing a user in Postgres.
 */
#ifndef SQL_PG_FORGET_H
#define SQL_PG_FORGET_H

#include "codec/base/check.h"
#include "sql/pg_conn.h"
#include "sql/store_forget.h"

enum { PG_FORGET_RUNS = STORE_FORGOTTEN_COUNT + 2 };

/* Send the statements of a flight that has this one request: at most PG_FORGET_RUNS. */
void pg_forget_send(struct pg_conn *conn, struct pg_flight *flight);

/* Take in the rows of one of them. */
MUST_CHECK int pg_forget_read(
    struct store_forget *forget, enum pg_statement which, const PGresult *rows);

#endif
