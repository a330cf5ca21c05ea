/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fake_jobs - jobs as fake_store keeps them: each key once.
 */
#ifndef TESTS_SUPPORT_FAKE_JOBS_H
#define TESTS_SUPPORT_FAKE_JOBS_H

#include <stddef.h>

#include "sql/store_job.h"

struct fake_jobs;

/* Add them to `*jobs`, which is made with the first; the answer is base.result. */
void fake_jobs_add(struct fake_jobs **jobs, struct store_job_add *request);

/* How many there are with this payload; NULL: with any. `jobs` may be NULL. */
size_t fake_jobs_count(const struct fake_jobs *jobs, const char *payload);

/* Free them; NULL is allowed. */
void fake_jobs_destroy(struct fake_jobs *jobs);

#endif
