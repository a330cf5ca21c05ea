/* SPDX-License-Identifier: Apache-2.0 */
/*
 * jobs_stats - what a shard counts of jobs.
 */
#ifndef ACTORS_JOBS_JOBS_STATS_H
#define ACTORS_JOBS_JOBS_STATS_H

#include <stdint.h>

/* Counters of a shard. */
struct jobs_stats {
    uint64_t waiting; /* workers, now */
    uint64_t refused; /* at job_poll.most: told at once that there are none */
    uint64_t added;
    uint64_t leased;
    uint64_t completed;
    uint64_t failed; /* attempts */
    uint64_t retries; /* of these, to be tried again */
    uint64_t stalled; /* leases that ended without a word */
    uint64_t dead; /* jobs whose attempts were used up */
    uint64_t dropped; /* that had ended and were kept long enough */
    uint64_t released; /* given back because the worker had gone while it waited */
    uint64_t sweep_failures; /* looks for leases that are over, and for what is kept no longer */
    uint64_t sweep_late_ms; /* since when none of them has come through, now; 0: the last one did */
    uint64_t untold; /* announcements that Redis did not take, or that there was no memory for */
};

#endif
