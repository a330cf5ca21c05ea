/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pg_edit - STORE_EDIT as statements; private to the Postgres engine.
 */
#ifndef SQL_PG_EDIT_H
#define SQL_PG_EDIT_H

#include "codec/base/check.h"
#include "sql/pg_port.h"
#include "sql/store_edit.h"

/* Send the statements of a flight whose one request is a STORE_EDIT. */
void pg_edit_send(struct pg_conn *conn, struct pg_flight *flight);

/* Take in the answer of one of them. STATUS_NOT_FOUND. */
MUST_CHECK int pg_edit_read(struct store_edit *edit, enum pg_statement which, const PGresult *rows);

#endif
