/* SPDX-License-Identifier: Apache-2.0 */
/*
 * jobs_sweep - leases that are over, and what is kept too long; once a second, on each node.
 */
#ifndef ACTORS_JOBS_JOBS_SWEEP_H
#define ACTORS_JOBS_JOBS_SWEEP_H

#include "codec/base/check.h"

struct job_sweep;
struct jobs;

/* Begin, on shard 0. */
MUST_CHECK struct job_sweep *job_sweep_create(struct jobs *jobs);

/* End: nothing is asked any more; it is freed when what is under way was answered. NULL is allowed.
 */
void job_sweep_destroy(struct job_sweep *sweep);

#endif
