/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pg_job - the statements about jobs, and their answers; private to the Postgres engine.
 */
#ifndef SQL_PG_JOB_H
#define SQL_PG_JOB_H

#include "codec/base/check.h"
#include "sql/pg_conn.h"
#include "sql/store_job.h"

/* Send the statements of a writing request of store_job.h, alone in its flight; not its fence. */
void pg_job_send(struct pg_conn *conn, struct pg_flight *flight);

/* Take in the rows of one of them. */
MUST_CHECK int pg_job_rows(
    struct store_request *request, enum pg_statement which, const PGresult *rows);

/* Add the parameters of a reading request, and tell its statement. */
MUST_CHECK enum pg_statement pg_job_add_read(
    struct pg_params *params, const struct store_request *request);

/* Take in its rows. STATUS_NOT_FOUND. */
MUST_CHECK int pg_job_read(struct store_request *request, const PGresult *rows);

#endif
