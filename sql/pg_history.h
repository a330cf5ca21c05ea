/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pg_history - the statements about what was said in rooms, and their answers; private to the
 * Postgres engine.
 */
#ifndef SQL_PG_HISTORY_H
#define SQL_PG_HISTORY_H

#include "codec/base/check.h"
#include "sql/pg_conn.h"
#include "sql/store_history.h"

/* Send the statement of a writing request of store_history.h, alone in its flight. */
void pg_history_send(struct pg_conn *conn, struct pg_flight *flight);

/* Add the parameters of the reading one, and tell its statement. */
MUST_CHECK enum pg_statement pg_history_add_read(
    struct pg_params *params, const struct store_history_list *list);

/* Take in the rows of any of them. STATUS_NOT_FOUND. */
MUST_CHECK int pg_history_rows(struct store_request *request, const PGresult *rows);

#endif
