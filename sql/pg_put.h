/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pg_put - the puts of a flight as one statement, and its answer. On the shard's thread.
 */
#ifndef SQL_PG_PUT_H
#define SQL_PG_PUT_H

#include "codec/base/check.h"
#include "sql/pg_port.h"

/* Send one statement for the puts of a flight from `first` on, `count` of them. */
void pg_put_send(struct pg_conn *conn, struct pg_flight *flight, size_t first, size_t count);

/* Take in its rows, in the arenas of the requests. STATUS_UNAVAILABLE: they are not what was asked.
 */
MUST_CHECK int pg_put_read(
    struct pg_flight *flight, const struct pg_run *run, const PGresult *rows);

#endif
