/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pg_audience - the statements about posts to many, and their answers; private to the Postgres
 * engine.
 */
#ifndef SQL_PG_AUDIENCE_H
#define SQL_PG_AUDIENCE_H

#include <libpq-fe.h>

#include "codec/base/check.h"
#include "sql/pg_conn.h"

/* Ask which users of the flight's request, which reads, lack rows. */
void pg_audience_ask(struct pg_conn *conn, struct pg_flight *flight);

/* Make rows for those who were found to lack some: at most AUDIENCE_STEP_MAX. */
void pg_audience_mend(struct pg_conn *conn, struct pg_flight *flight);

/* Lock the inboxes of all the flight's users, making those that are missing, and rows. */
void pg_audience_enter(struct pg_conn *conn, struct pg_flight *flight);

/* Add the statement of a request of store_audience.h, alone in its flight. */
void pg_audience_add(struct pg_conn *conn, struct pg_flight *flight);

/* Take in its rows, or those of pg_audience_ask. */
MUST_CHECK int pg_audience_rows(
    struct pg_flight *flight, const struct pg_run *run, const PGresult *rows);

#endif
