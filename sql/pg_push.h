/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pg_push - the statements of requests about hand-offs to devices, and what comes back of them.
 */
#ifndef SQL_PG_PUSH_H
#define SQL_PG_PUSH_H

#include "sql/pg_conn.h"
#include "sql/store_push.h"

/* Add the parameters of the request; which statement it is. */
enum pg_statement pg_push_add(struct pg_params *params, const struct store_request *request);

/* Send one that writes. */
void pg_push_send(struct pg_conn *conn, struct pg_flight *flight);

/* Take in the answer: 0, or a status. */
MUST_CHECK int pg_push_rows(struct store_request *request, const PGresult *rows);

#endif
