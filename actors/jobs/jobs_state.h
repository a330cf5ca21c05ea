/* SPDX-License-Identifier: Apache-2.0 */
/*
 * jobs_state - what the files of a shard's part share.
 */
#ifndef ACTORS_JOBS_JOBS_STATE_H
#define ACTORS_JOBS_JOBS_STATE_H

#include <stdbool.h>
#include <stdint.h>

#include "actors/jobs/jobs_stats.h"
#include "codec/base/bytes.h"
#include "codec/base/log.h"
#include "codec/base/map.h"
#include "sql/store.h"

struct job_sweep;
struct jobs;
struct jobs_bus;
struct shard;

struct jobs {
    struct shard *shard;
    struct map lines; /* struct job_line by key */
    uint64_t pending; /* questions to the store */
    bool closing;
    struct map told; /* struct job_told by tenant and queue: of shard 0, as the next ones */
    struct jobs_bus *bus; /* NULL without a bus */
    struct job_sweep *sweep;
    /* Somebody who waits here may have something: jobs.c. */
    void (*wake)(struct jobs *jobs, struct bytes tenant, struct bytes queue);
    struct log_limit failed_log;
    struct log_limit stalled_log;
    struct log_limit sweep_log;
    struct jobs_stats stats;
};

/* jobs.c */
void jobs_init_lines(struct jobs *jobs);
void jobs_end_lines(struct jobs *jobs);

/* jobs_tell.c */
void jobs_init_told(struct jobs *jobs);
void jobs_end_told(struct jobs *jobs);

/* Have all shards of the node wake; of shard 0. */
void jobs_wake_node(struct jobs *jobs, struct bytes tenant, struct bytes queue);

/* Tell a job's user how it is: task_progress. `stage` is what is told. */
void jobs_tell_user(struct shard *shard, const struct store_job *job, struct bytes stage,
    struct bytes message, uint64_t at);

#endif
