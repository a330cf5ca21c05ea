/* SPDX-License-Identifier: Apache-2.0 */
/*
 * queue_gauges - how the queues of jobs stood when they were last counted (queue_watch.c).
 */
#ifndef HUB_NODE_QUEUE_GAUGES_H
#define HUB_NODE_QUEUE_GAUGES_H

#include <stdatomic.h>
#include <stdint.h>

#include "sql/store_job.h"

/* The last answer; any thread reads it. */
struct queue_gauges {
    atomic_uint count; /* queues; 0: nothing was answered yet */
    struct queue_gauge {
        char name[65];
        _Atomic(uint64_t) waiting;
        _Atomic(uint64_t) active;
        _Atomic(uint64_t) dead;
        _Atomic(uint64_t) waiting_ms;
    } of[STORE_JOB_QUEUES_MAX];
};

#endif
