/* SPDX-License-Identifier: Apache-2.0 */
/*
 * job - requests about jobs, as both engines need to know them.
 */
#ifndef SQL_JOB_H
#define SQL_JOB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "sql/store_job.h"

/* Whether a request is one of store_job.h. */
bool op_is_of_jobs(enum store_op op);

/* Whether the values of a request of store_job.h are such that an engine can carry it out. */
bool job_is_valid(const struct store_request *request);

/* The slot by which it finds its connection: of its queue, so that what is asked of one keeps its
 * order, or of its id. */
uint32_t job_slot(const struct store_request *request);

/* About how many bytes it takes on the wire. */
size_t job_size(const struct store_job_add *add);

/* What a fresh job of the arrays' index has: its own id. */
bool job_is_fresh(const struct store_job_new *job, const uint8_t id[NOTIFICATION_ID_LEN]);

#endif
