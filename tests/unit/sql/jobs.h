/* SPDX-License-Identifier: Apache-2.0 */
/*
 * jobs - jobs as the tests add, lease and end them.
 */
#ifndef TESTS_UNIT_SQL_JOBS_H
#define TESTS_UNIT_SQL_JOBS_H

#include "sql/store_job.h"
#include "tests/unit/sql/harness.h"

/* A rule of `queue`: 2 at a time, 3 attempts, no pause between them, 60 s, 3 and 2 kept. */
struct store_job_rule rule_of(const char *queue);

/* A job of `queue` without tenant or user, with a key that follows from the number. */
struct store_job_new job_of(const char *queue, uint64_t key);

/* Give it to a user: a new id of his slot. */
void give_job(struct store_job_new *job, struct bytes tenant, const char *user);

/* Add one; its id, or the first one's. Tells whether it is new. */
bool add_job(struct harness *harness, const struct store_job_new *job, uint8_t ret_id[16]);

/* Lease, with a new lease; to be finished. */
void lease_jobs(struct harness *harness, unsigned shard, struct store_job_lease *lease);

/* The same of one queue and one job, which is copied as far as it is no text: whether there was
 * one. */
bool lease_one(struct harness *harness, const struct store_job_rule *rule,
    struct store_job *ret_job, uint8_t ret_lease[16]);

/* Carry out a verb; to be finished where `step` is given back. */
enum job_outcome step_job(
    struct harness *harness, enum job_verb verb, const uint8_t id[16], const uint8_t lease[16]);
void run_step(struct harness *harness, unsigned shard, struct store_job_step *step);

/* The state of a job; JOB_STATE_COUNT: there is none. */
enum job_state state_of(struct harness *harness, const uint8_t id[16]);

/* Sweep until there is nothing more; how many leases were over. */
size_t sweep_jobs(struct harness *harness);

/* How a queue stands. */
struct store_queue queue_of(struct harness *harness, const char *queue);

/* Every request about jobs, with `many` of them; beside thousands of another queue. */
void use_jobs(struct harness *harness, uint64_t round, unsigned many);

/* Set a number of a job, or of all rows of a table of jobs, behind the store's back. */
void change_jobs(const char *url, const char *sql);

#endif
