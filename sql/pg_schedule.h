/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pg_schedule - the statements about what is posted for later, and their answers; private to the
 * Postgres engine.
 */
#ifndef SQL_PG_SCHEDULE_H
#define SQL_PG_SCHEDULE_H

#include "codec/base/check.h"
#include "sql/pg_conn.h"
#include "sql/store_schedule.h"

/* Send what takes away, before the rows of a put are stored, or a post to many, what was kept. */
void pg_schedule_take(struct pg_conn *conn, struct pg_flight *flight);

/* Send what gives a post to a list, which is stored now, its users. */
void pg_schedule_list(struct pg_conn *conn, struct pg_flight *flight);

/* Send the statement of a STORE_DUE or STORE_RESCHEDULE, alone in its flight. */
void pg_schedule_send(struct pg_conn *conn, struct pg_flight *flight);

/* Take in its rows. STATUS_NOT_FOUND. */
MUST_CHECK int pg_schedule_rows(struct store_request *request, const PGresult *rows);

#endif
