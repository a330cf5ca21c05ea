/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pg_retention - STORE_RETAIN on Postgres; private to the engine.
 */
#ifndef SQL_PG_RETENTION_H
#define SQL_PG_RETENTION_H

#include <libpq-fe.h>

#include "codec/base/check.h"
#include "sql/pg_conn.h"
#include "sql/store_retention.h"

/* Add the parameters of a step; the statement to run. */
enum pg_statement pg_retention_add(
    struct pg_params *params, const struct store_retention *retention);

/* What the step tells of the walk, into the outputs; what is gone is read as of any sweep. */
void pg_retention_read(struct store_retention *retention, const PGresult *rows);

#endif
