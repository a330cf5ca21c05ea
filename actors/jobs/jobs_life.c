/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A shard's part begins and ends.
 */
#include "actors/jobs/jobs.h"
#include "actors/jobs/jobs_bus.h"
#include "actors/jobs/jobs_state.h"
#include "actors/jobs/jobs_sweep.h"
#include "actors/shard.h"
#include "codec/base/mem.h"

struct jobs *jobs_create(struct shard *shard)
{
    struct jobs *jobs = mem_alloc(sizeof(*jobs));
    jobs->shard = shard;
    jobs->wake = jobs_wake;
    jobs_init_lines(jobs);
    jobs_init_told(jobs);
    if (sched_shard(shard->sched) == 0) {
        jobs->bus = shard->bus != NULL ? jobs_bus_create(jobs, jobs_wake_node) : NULL;
        jobs->sweep = job_sweep_create(jobs);
    }
    return jobs;
}

struct jobs_stats *jobs_get_stats(struct jobs *jobs)
{
    return &jobs->stats;
}

void jobs_close(struct jobs *jobs)
{
    jobs->closing = true;
    job_sweep_destroy(jobs->sweep);
    jobs_bus_destroy(jobs->bus);
    jobs->sweep = NULL;
    jobs->bus = NULL;
    jobs_end_lines(jobs);
}

uint64_t jobs_pending(const struct jobs *jobs)
{
    return jobs->pending;
}

void jobs_destroy(struct jobs *jobs)
{
    if (jobs != NULL) {
        jobs_end_lines(jobs);
        jobs_end_told(jobs);
        map_finish(&jobs->lines);
        mem_free(jobs);
    }
}
