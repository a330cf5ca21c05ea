/* SPDX-License-Identifier: Apache-2.0 */
/*
 * jobs - a shard's part of the jobs: workers that wait for some, and who tells them.
 *
 * A worker that asks for jobs of which there are none is kept here. It asks the store again when
 * its queue may have something: a job was added, is due, was given back, or another one of a full
 * queue has ended, here or on another node. Workers that ask for the same queues of a tenant wait
 * in one line, the first of which asks; so an event costs a question for each that gets something,
 * and one more.
 */
#ifndef ACTORS_JOBS_JOBS_H
#define ACTORS_JOBS_JOBS_H

#include <stdbool.h>
#include <stdint.h>

#include "actors/core/timer.h"
#include "actors/jobs/jobs_stats.h"
#include "codec/base/bytes.h"
#include "codec/base/check.h"
#include "codec/base/list.h"
#include "sql/store.h"

struct job_line;
struct jobs;
struct shard;

/* A worker that asks. The caller's memory, until it is done. */
struct job_poll {
    /* Once: with jobs in `lease`, none after `until_ms`, or a status; not after job_poll_cancel. */
    void (*done)(struct job_poll *poll, int status);
    uint64_t until_ms; /* by sched_now; not ahead: it does not wait */
    uint32_t most; /* that may wait on the shard: one more is told at once what there is */
    struct store_job_lease lease; /* tenant, rules, max, worker; borrowed until it is done */
    /* private */
    struct job_line *line;
    struct list link; /* job_line.polls */
    struct timer timer;
    bool cancelled;
};

/* Make the part of `shard`, with its store; of shard 0 also what sweeps and tells other nodes. */
MUST_CHECK struct jobs *jobs_create(struct shard *shard);

/* Begin to end: all that wait are told that there are none. */
void jobs_close(struct jobs *jobs);

/* How much is under way. */
uint64_t jobs_pending(const struct jobs *jobs);

/* Free it, closed and with nothing under way. NULL is allowed. */
void jobs_destroy(struct jobs *jobs);

/* Ask for jobs. `poll->done` is called later, never before this returns. */
void job_poll_begin(struct jobs *jobs, struct job_poll *poll);

/*
 * Its worker has gone. True: the caller may free it. False: a question is under way; `done` is
 * called behind it with STATUS_CANCELLED, and what was leased was given back.
 */
MUST_CHECK bool job_poll_cancel(struct jobs *jobs, struct job_poll *poll);

/* Something of a queue may be had: tell who waits, on all shards and nodes. */
void jobs_ready(struct shard *shard, struct bytes tenant, struct bytes queue);

/* The same of another shard or node: who waits here asks. An empty queue: all of them. */
void jobs_wake(struct jobs *jobs, struct bytes tenant, struct bytes queue);

/* Count what a worker has said of a job, tell its user (task_progress), and who waits. */
void jobs_stepped(struct shard *shard, const struct store_job_step *step);

/* Its numbers now. */
struct jobs_stats *jobs_get_stats(struct jobs *jobs);

#endif
