/* SPDX-License-Identifier: Apache-2.0 */
/*
 * store_job - what is to be done by workers: added to a queue, leased, and ended by whoever has the
 * lease. How requests live is said in store.h.
 *
 * A queue is one of a tenant. How many of its jobs may be under way holds over all nodes: who
 * leases locks the queue's row first. A job is given by priority, then by `run_at`, then by id.
 * It is waiting (`delayed` before its `run_at`), active while a lease is out, and ended as
 * completed, failed (its worker said that it is of no use to try again) or dead (its attempts are
 * used up). A lease that ends without a word gives the job back. All times are the database's.
 */
#ifndef SQL_STORE_JOB_H
#define SQL_STORE_JOB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/base/bytes.h"
#include "codec/notification.h"
#include "sql/store_request.h"

/* Some stand in the statements as numbers. */
enum {
    STORE_JOBS_MAX = 1000, /* of one request that adds */
    STORE_JOB_LEASE_MAX = 100,
    STORE_JOB_LIST_MAX = 100,
    STORE_JOB_QUEUES_MAX = 64,
    STORE_JOB_COUNT_MAX = 10000, /* of a state; more are not counted */
    STORE_JOB_SWEEP_MAX = 500,
    STORE_JOB_ATTEMPTS_MAX = 100,
    STORE_JOB_KEEP_MAX = 10000,
    STORE_JOB_CONCURRENCY_MAX = 10000,
    STORE_JOB_LEASE_LEN = 16,
    STORE_JOB_RATE_MS = 60000, /* the span of rates */
};
#define STORE_JOB_WAIT_MAX_MS ((uint64_t)43200000) /* between two attempts */
#define STORE_JOB_TIME_MAX_MS ((uint64_t)86400000) /* of a setting */
#define STORE_JOB_KEY_MS ((uint64_t)604800000) /* a key is kept so long, and while its job is */

enum job_state {
    JOB_WAITING,
    JOB_ACTIVE,
    JOB_COMPLETED,
    JOB_FAILED,
    JOB_DEAD,
    JOB_DELAYED, /* computed: waiting, with `run_at` ahead */
    JOB_STATE_COUNT,
};

/* One job as it is. Bytes live with the request that told it. */
struct store_job {
    uint8_t id[NOTIFICATION_ID_LEN]; /* of the slot of `user`, or of SLOT_NONE */
    struct bytes tenant;
    struct bytes queue;
    struct bytes type;
    struct bytes payload;
    struct bytes user; /* who is told of progress; empty: nobody */
    struct bytes worker; /* who has, or had, the last lease, as it called itself */
    struct bytes stage; /* of the last progress */
    struct bytes message;
    struct bytes error; /* of the last attempt that failed; "stalled" when a lease ended */
    struct bytes result;
    enum notification_priority priority;
    enum job_state state;
    uint32_t attempt; /* how many leases were given; 0: none */
    uint32_t stalls; /* how many of these ended without a word */
    uint32_t percentage;
    uint64_t created_at;
    uint64_t run_at;
    uint64_t started_at; /* of the last attempt; 0 */
    uint64_t until; /* active: the end of the lease */
    uint64_t ended_at; /* completed, failed, dead; 0 */
};

/* One job to add. Everything is checked before: sizes, UTF-8, JSON. */
struct store_job_new {
    struct bytes tenant;
    struct bytes queue;
    struct bytes type;
    struct bytes payload;
    struct bytes user;
    uint8_t key_hash[STORE_HASH_LEN]; /* of (tenant, queue, key) */
    uint8_t id[NOTIFICATION_ID_LEN]; /* proposed, of the user's slot */
    enum notification_priority priority;
    uint64_t run_at; /* 0: now */
};

/* Add jobs, all or none. Fenced as a store_put: `count` may then be 0. */
struct store_job_add {
    struct store_request base; /* STORE_JOB_ADD */
    const struct store_job_new *jobs;
    size_t count; /* to STORE_JOBS_MAX */
    bool fenced;
    uint32_t partition;
    uint64_t token;
    struct bytes last_id;
    /* out: by index */
    struct store_job_added {
        uint8_t id[NOTIFICATION_ID_LEN]; /* the first one's on a repeat */
        bool repeat; /* the key was there: nothing is added */
    } * added;
};

/* What holds for a queue. The store keeps what its last lease came with. */
struct store_job_rule {
    struct bytes queue;
    uint32_t concurrency; /* 1 to STORE_JOB_CONCURRENCY_MAX */
    uint32_t attempts; /* 1 to STORE_JOB_ATTEMPTS_MAX */
    uint32_t keep_completed; /* the newest ones; to STORE_JOB_KEEP_MAX */
    uint32_t keep_failed; /* of those that failed, and of those that are dead */
    uint64_t backoff_ms; /* before the second attempt; doubled for each further one */
    uint64_t timeout_ms; /* of a lease */
};

/* Lease up to `max` jobs of some queues of a tenant; none of a queue that is paused or full. */
struct store_job_lease {
    struct store_request base; /* STORE_JOB_LEASE */
    struct bytes tenant;
    const struct store_job_rule *rules; /* of queues that differ */
    size_t rule_count; /* 1 to STORE_JOB_QUEUES_MAX */
    uint32_t max; /* 1 to STORE_JOB_LEASE_MAX */
    struct bytes worker;
    uint8_t lease[STORE_JOB_LEASE_LEN]; /* new: the right to end what is given */
    /* out */
    struct store_job *jobs; /* in the order in which they are given */
    size_t count;
    uint64_t now;
    uint64_t next_at; /* nothing was due: when the first of what is delayed is; 0: nothing is */
};

enum job_verb {
    JOB_PROGRESS, /* these need the lease */
    JOB_COMPLETE,
    JOB_FAIL,
    JOB_RELEASE, /* nobody has begun it: it waits as before, and the attempt does not count */
    JOB_RETRY, /* these do not: a job that has failed, is dead or delayed waits, with all attempts
                */
    JOB_DROP, /* also one that is active: its worker is told when it comes back */
    JOB_VERB_COUNT,
};

enum job_outcome {
    JOB_DONE,
    JOB_NOT_FOUND,
    JOB_NOT_LEASED, /* the lease is not, or no more, the job's */
    JOB_WRONG_STATE, /* JOB_RETRY of one that waits, is active or completed */
};

struct store_job_step {
    struct store_request base; /* STORE_JOB_STEP */
    enum job_verb verb;
    struct bytes tenant;
    uint8_t id[NOTIFICATION_ID_LEN];
    uint8_t lease[STORE_JOB_LEASE_LEN];
    uint32_t percentage; /* JOB_PROGRESS: 0 to 100, and both texts; the lease is extended */
    struct bytes stage;
    struct bytes message;
    struct bytes result; /* JOB_COMPLETE */
    struct bytes error; /* JOB_FAIL; JOB_RELEASE: empty: the one before stays */
    bool final; /* JOB_FAIL: do not try again */
    uint32_t jitter; /* JOB_FAIL: thousandths of the pause that are added to it; to 1000 */
    uint64_t wait_ms; /* JOB_FAIL: the pause is not shorter; JOB_RELEASE: it waits so long; to
                         STORE_JOB_WAIT_MAX_MS */
    /* out */
    enum job_outcome outcome;
    struct store_job job; /* as it is now, or was (JOB_DROP) */
};

/* Stop giving jobs of a queue, or go on; what is active goes on. */
struct store_job_pause {
    struct store_request base; /* STORE_JOB_PAUSE */
    struct bytes tenant;
    struct bytes queue;
    bool pause;
    bool changed; /* out */
};

/*
 * Give back, or end, jobs whose lease is over; then drop what is kept too long of one queue; then
 * keys. At most `limit` of each.
 */
struct store_job_sweep {
    struct store_request base; /* STORE_JOB_SWEEP */
    uint32_t limit; /* 1 to STORE_JOB_SWEEP_MAX */
    /* out */
    struct store_job *jobs; /* whose lease was over: waiting, or dead */
    size_t count;
    uint64_t dropped;
    bool more;
};

/* STATUS_NOT_FOUND */
struct store_job_get {
    struct store_request base; /* STORE_JOB_GET */
    struct bytes tenant;
    uint8_t id[NOTIFICATION_ID_LEN];
    struct store_job job; /* out */
};

/* Where a list goes on; all 0: at its beginning. */
struct store_job_cursor {
    uint32_t priority;
    uint64_t at;
    uint8_t id[NOTIFICATION_ID_LEN];
};

/*
 * Jobs of a queue in a state: waiting and delayed ones as they would be given, active ones by the
 * end of their leases, others from the newest on.
 */
struct store_job_list {
    struct store_request base; /* STORE_JOB_LIST */
    struct bytes tenant;
    struct bytes queue;
    enum job_state state;
    uint32_t limit; /* 1 to STORE_JOB_LIST_MAX */
    struct store_job_cursor after;
    /* out */
    struct store_job *jobs;
    size_t count;
    bool more;
};

struct store_queue {
    bool paused;
    uint64_t counts[JOB_STATE_COUNT]; /* to STORE_JOB_COUNT_MAX */
    uint64_t waiting_ms; /* how long ago the first of those waiting was due; 0: none waits */
    uint64_t active_ms; /* how long ago the last attempt of the first one began */
    uint64_t next_ms; /* until the first of those delayed is due */
    uint64_t ended; /* completed in `ended_ms`, of those that are kept */
    uint64_t ended_ms; /* STORE_JOB_RATE_MS, or less where not all of it is kept */
};

/* How queues stand. */
struct store_queues {
    struct store_request base; /* STORE_QUEUES */
    struct bytes tenant;
    bool all_tenants; /* together; `paused` then says nothing */
    const struct bytes *names;
    size_t name_count; /* to STORE_JOB_QUEUES_MAX */
    struct store_queue *queues; /* out: by index */
};

/* Where a list goes on behind `job`, which it told for `state`. */
struct store_job_cursor store_job_cursor_of(const struct store_job *job, enum job_state state);

#endif
