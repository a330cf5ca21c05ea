/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sqlite_job - requests about jobs on a SQLite connection; private to the SQLite engine.
 */
#ifndef SQL_SQLITE_JOB_H
#define SQL_SQLITE_JOB_H

#include "codec/base/check.h"
#include "sql/engine.h"
#include "sql/sqlite_db.h"
#include "sql/store_job.h"

/* Carry out a writing request of store_job.h, in an open transaction. STATUS_FENCED. */
MUST_CHECK int sqlite_job_write(struct sqlite_db *db, struct store_request *request);

/* Carry out a reading one, in a snapshot (sqlite_job_read.c). STATUS_NOT_FOUND. */
MUST_CHECK int sqlite_job_read(struct sqlite_db *db, struct store_request *request);

/* Add a job, whose key is not looked at; `now` is when it was made. */
MUST_CHECK int sqlite_job_insert(
    struct sqlite_db *db, const struct store_job_new *job, uint64_t now);

/* Read the columns JOB_COLUMNS of sqlite_job.def; texts are copied to `arena`. `now` tells what is
 * delayed. */
void sqlite_job_row(
    const struct query *query, struct result *arena, uint64_t now, struct store_job *ret_job);

/* Read one job. STATUS_NOT_FOUND, also when it is another tenant's. */
MUST_CHECK int sqlite_job_find(struct sqlite_db *db, struct bytes tenant,
    const uint8_t id[NOTIFICATION_ID_LEN], struct result *arena, struct store_job *ret_job,
    uint8_t ret_lease[STORE_JOB_LEASE_LEN]);

#endif
