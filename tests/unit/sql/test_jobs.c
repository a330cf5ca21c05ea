/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Jobs: adding, keys, leasing in order and within the concurrency, what becomes of them, what is
 * kept.
 */
#include <libpq-fe.h>
#include <stdio.h>
#include <string.h>

#include "codec/base/clock.h"
#include "codec/base/status.h"
#include "tests/support/postgres.h"
#include "tests/unit/sql/both.h"
#include "tests/unit/sql/jobs.h"

enum { MANY = 60, MINUTE_MS = 60000 };

static bool same(const uint8_t a[16], const uint8_t b[16])
{
    return memcmp(a, b, 16) == 0;
}

BOTH(a_job_is_added_leased_and_completed)
{
    struct harness harness;
    harness_open(&harness, url);
    struct store_job_new job = job_of("email", 1);
    give_job(&job, BYTES(""), "alice");
    uint8_t id[16];
    cr_assert(add_job(&harness, &job, id));
    cr_expect(same(id, job.id));
    cr_expect_eq(state_of(&harness, id), JOB_WAITING);
    struct store_job_rule rule = rule_of("email");
    struct store_job_lease lease = {
        .rules = &rule, .rule_count = 1, .max = 5, .worker = BYTES("w1")};
    lease_jobs(&harness, 1, &lease);
    cr_assert_eq(lease.count, 1);
    const struct store_job *got = &lease.jobs[0];
    cr_expect(same(got->id, id) && bytes_eq_str(got->queue, "email"));
    cr_expect(bytes_eq_str(got->type, "letter") && bytes_eq_str(got->payload, "{\"n\":1}"));
    cr_expect(bytes_eq_str(got->user, "alice") && bytes_eq_str(got->worker, "w1"));
    cr_expect(got->attempt == 1 && got->state == JOB_ACTIVE);
    cr_expect_eq(got->until, lease.now + rule.timeout_ms);
    struct store_job_step step = {.verb = JOB_COMPLETE, .result = BYTES("[1]")};
    memcpy(step.id, id, 16);
    memcpy(step.lease, lease.lease, 16);
    run_step(&harness, 2, &step);
    cr_expect_eq(step.outcome, JOB_DONE);
    cr_expect(bytes_eq_str(step.job.user, "alice") && bytes_eq_str(step.job.result, "[1]"));
    cr_expect(step.job.state == JOB_COMPLETED && step.job.percentage == 100);
    cr_expect(bytes_eq_str(step.job.stage, "completed") && step.job.ended_at >= lease.now);
    store_request_finish(&step.base);
    run_step(&harness, 2, &step);
    cr_expect_eq(step.outcome, JOB_NOT_LEASED, "it has ended");
    store_request_finish(&step.base);
    store_request_finish(&lease.base);
    cr_expect_eq(state_of(&harness, id), JOB_COMPLETED);
    lease_jobs(&harness, 1, &lease);
    cr_expect(lease.count == 0 && lease.next_at == 0);
    store_request_finish(&lease.base);
    harness_close(&harness);
}

BOTH(a_repeated_key_gives_the_first_id)
{
    struct harness harness;
    harness_open(&harness, url);
    struct store_job_new jobs[5];
    for (unsigned i = 0; i < 5; i++) {
        jobs[i] = job_of(i == 3 ? "other" : "email", i == 2 ? 1 : 7);
    }
    give_job(&jobs[4], BYTES("t"), "");
    uint8_t first[16];
    cr_assert(add_job(&harness, &jobs[0], first));
    struct store_job_add add = {.base.op = STORE_JOB_ADD, .jobs = jobs + 1, .count = 4};
    cr_assert_eq(harness_run(&harness, 0, &add.base), 0);
    cr_expect(add.added[0].repeat && same(add.added[0].id, first));
    cr_expect(!add.added[1].repeat && same(add.added[1].id, jobs[2].id));
    cr_expect(!add.added[2].repeat, "of another queue");
    cr_expect(!add.added[3].repeat, "of another tenant");
    store_request_finish(&add.base);
    struct store_job_new twice[3] = {job_of("email", 9), job_of("email", 9), job_of("email", 8)};
    add = (struct store_job_add){.base.op = STORE_JOB_ADD, .jobs = twice, .count = 3};
    cr_assert_eq(harness_run(&harness, 1, &add.base), 0);
    cr_expect(!add.added[0].repeat && add.added[1].repeat && !add.added[2].repeat);
    cr_expect(same(add.added[1].id, twice[0].id));
    store_request_finish(&add.base);
    cr_expect_eq(queue_of(&harness, "email").counts[JOB_WAITING], 4);
    struct store_job_rule rule = rule_of("email");
    struct store_job job;
    uint8_t lease[16];
    cr_assert(lease_one(&harness, &rule, &job, lease));
    cr_assert_eq(step_job(&harness, JOB_DROP, first, NULL), JOB_DONE);
    cr_expect_eq(state_of(&harness, first), JOB_STATE_COUNT);
    uint8_t again[16];
    cr_expect_not(add_job(&harness, &jobs[1], again), "the key is kept beyond the job");
    cr_expect(same(again, first));
    harness_close(&harness);
}

BOTH(what_is_old_frees_its_key_when_its_job_is_gone)
{
    struct harness harness;
    harness_open(&harness, url);
    struct store_job_new there = job_of("email", 1);
    struct store_job_new gone = job_of("email", 2);
    add_job(&harness, &there, NULL);
    add_job(&harness, &gone, NULL);
    cr_assert_eq(step_job(&harness, JOB_DROP, gone.id, NULL), JOB_DONE);
    sweep_jobs(&harness);
    struct store_job_new again = job_of("email", 2);
    cr_expect_not(add_job(&harness, &again, NULL));
    change_jobs(url, "UPDATE peal.job_key SET at = 5");
    sweep_jobs(&harness);
    cr_expect(add_job(&harness, &again, NULL), "it is old, and its job is gone");
    again = job_of("email", 1);
    cr_expect_not(add_job(&harness, &again, NULL), "its job is there");
    harness_close(&harness);
}

BOTH(jobs_are_given_by_priority_then_time_then_id)
{
    struct harness harness;
    harness_open(&harness, url);
    struct store_job_new jobs[6];
    uint64_t now = clock_wall_ms();
    for (unsigned i = 0; i < 6; i++) {
        jobs[i] = job_of("email", i);
    }
    jobs[0].priority = NOTIFICATION_LOW;
    jobs[1].run_at = now - 10000; /* the earlier one of those below */
    jobs[2].run_at = now - 20000;
    jobs[3].priority = NOTIFICATION_URGENT;
    jobs[4].priority = NOTIFICATION_HIGH;
    jobs[5].priority = NOTIFICATION_URGENT;
    jobs[5].run_at = now + 5 * MINUTE_MS; /* is not due */
    jobs[3].run_at = jobs[4].run_at = jobs[0].run_at = 1;
    struct store_job_add add = {.base.op = STORE_JOB_ADD, .jobs = jobs, .count = 6};
    cr_assert_eq(harness_run(&harness, 0, &add.base), 0);
    store_request_finish(&add.base);
    static const unsigned order[] = {3, 4, 2, 1, 0};
    struct store_job_rule rule = rule_of("email");
    rule.concurrency = 100;
    struct store_job_lease lease = {.rules = &rule, .rule_count = 1, .max = 3};
    unsigned given = 0;
    for (unsigned turn = 0; turn < 2; turn++) {
        lease_jobs(&harness, 0, &lease);
        for (size_t i = 0; i < lease.count && given < 5; i++) {
            cr_expect(same(lease.jobs[i].id, jobs[order[given]].id), "%u", given);
            given++;
        }
        store_request_finish(&lease.base);
    }
    cr_expect_eq(given, 5);
    lease_jobs(&harness, 0, &lease);
    cr_expect_eq(lease.count, 0);
    cr_expect_eq(lease.next_at, jobs[5].run_at);
    store_request_finish(&lease.base);
    harness_close(&harness);
}

BOTH(of_one_time_the_lower_id_is_given_first)
{
    struct harness harness;
    harness_open(&harness, url);
    struct store_job_new jobs[4];
    for (unsigned i = 0; i < 4; i++) {
        jobs[i] = job_of("email", i);
        jobs[i].run_at = 5;
        jobs[i].id[15] = (uint8_t)(200 - i);
        memset(jobs[i].id, 1, 6);
        memset(jobs[i].id + 8, 1, 7);
    }
    struct store_job_add add = {.base.op = STORE_JOB_ADD, .jobs = jobs, .count = 4};
    cr_assert_eq(harness_run(&harness, 0, &add.base), 0);
    store_request_finish(&add.base);
    struct store_job_rule rule = rule_of("email");
    rule.concurrency = 100;
    struct store_job_lease lease = {.rules = &rule, .rule_count = 1, .max = 100};
    lease_jobs(&harness, 0, &lease);
    cr_assert_eq(lease.count, 4);
    for (unsigned i = 0; i < 4; i++) {
        cr_expect(same(lease.jobs[i].id, jobs[3 - i].id), "%u", i);
    }
    store_request_finish(&lease.base);
    harness_close(&harness);
}

BOTH(no_more_are_active_than_the_queue_allows)
{
    struct harness harness;
    harness_open(&harness, url);
    for (unsigned i = 0; i < 5; i++) {
        struct store_job_new job = job_of("email", i);
        add_job(&harness, &job, NULL);
    }
    struct store_job_rule rule = rule_of("email");
    struct store_job jobs[3];
    uint8_t leases[3][16];
    cr_assert(lease_one(&harness, &rule, &jobs[0], leases[0]));
    cr_assert(lease_one(&harness, &rule, &jobs[1], leases[1]));
    cr_expect_not(lease_one(&harness, &rule, &jobs[2], leases[2]));
    cr_expect_eq(step_job(&harness, JOB_COMPLETE, jobs[0].id, leases[0]), JOB_DONE);
    cr_expect(lease_one(&harness, &rule, &jobs[2], leases[2]));
    cr_expect_not(lease_one(&harness, &rule, &jobs[0], leases[0]));
    struct store_job_lease tenant = {
        .tenant = BYTES("t"), .rules = &rule, .rule_count = 1, .max = 5};
    lease_jobs(&harness, 0, &tenant);
    cr_expect_eq(tenant.count, 0, "another tenant's");
    store_request_finish(&tenant.base);
    harness_close(&harness);
}

/* Many ports at once: what is active never exceeds the bound, and nothing is given twice. */
BOTH(ports_that_lease_at_once_do_not_exceed_the_bound)
{
    enum { ROUNDS = 12 };
    struct harness harness;
    harness_open(&harness, url);
    for (unsigned i = 0; i < MANY; i++) {
        struct store_job_new job = job_of("email", i);
        add_job(&harness, &job, NULL);
    }
    struct store_job_rule rule = rule_of("email");
    rule.concurrency = 5;
    size_t ended = 0;
    for (unsigned round = 0; round < ROUNDS * 2 && ended < MANY; round++) {
        struct store_job_lease leases[HARNESS_SHARDS] = {0};
        size_t active = 0;
        for (unsigned i = 0; i < HARNESS_SHARDS; i++) {
            leases[i] =
                (struct store_job_lease){.base = {.op = STORE_JOB_LEASE, .done = harness_done},
                    .rules = &rule,
                    .rule_count = 1,
                    .max = 3};
            leases[i].lease[0] = (uint8_t)(i + 1);
            leases[i].lease[1] = (uint8_t)round;
            store_submit(harness.shards[i].port, &leases[i].base);
        }
        for (unsigned i = 0; i < HARNESS_SHARDS; i++) {
            harness_wait_all(&harness, i, 1);
            cr_assert_eq(leases[i].base.status, 0);
            active += leases[i].count;
        }
        cr_expect_leq(active, 5);
        cr_expect_gt(active, 0);
        for (unsigned i = 0; i < HARNESS_SHARDS; i++) {
            for (size_t j = 0; j < leases[i].count; j++) {
                cr_expect_eq(
                    step_job(&harness, JOB_COMPLETE, leases[i].jobs[j].id, leases[i].lease),
                    JOB_DONE);
                ended++;
            }
            store_request_finish(&leases[i].base);
        }
    }
    cr_expect_eq(ended, MANY);
    harness_close(&harness);
}

BOTH(several_queues_are_leased_at_once)
{
    struct harness harness;
    harness_open(&harness, url);
    for (unsigned i = 0; i < 8; i++) {
        struct store_job_new job = job_of(i % 2 ? "odd" : "even", i);
        job.run_at = 10 + i;
        add_job(&harness, &job, NULL);
    }
    struct store_job_rule rules[3] = {rule_of("odd"), rule_of("none"), rule_of("even")};
    rules[0].concurrency = 3;
    rules[0].timeout_ms = 5000;
    struct store_job_lease lease = {.rules = rules, .rule_count = 3, .max = 100};
    lease_jobs(&harness, 0, &lease);
    cr_assert_eq(lease.count, 5, "2 of one, 3 of the other");
    static const uint64_t order[] = {10, 11, 12, 13, 15};
    for (unsigned i = 0; i < 5; i++) {
        const struct store_job *job = &lease.jobs[i];
        cr_expect_eq(job->run_at, order[i]);
        cr_expect_eq(job->until - lease.now, job->run_at % 2 ? 5000 : 60000);
    }
    store_request_finish(&lease.base);
    harness_close(&harness);
}

BOTH(progress_extends_the_lease)
{
    struct harness harness;
    harness_open(&harness, url);
    struct store_job_new added = job_of("email", 1);
    add_job(&harness, &added, NULL);
    struct store_job_rule rule = rule_of("email");
    struct store_job job;
    uint8_t lease[16];
    cr_assert(lease_one(&harness, &rule, &job, lease));
    change_jobs(url, "UPDATE peal.job SET until = 5");
    struct store_job_step step = {.verb = JOB_PROGRESS,
        .percentage = 40,
        .stage = BYTES("reading"),
        .message = BYTES("page 4")};
    memcpy(step.id, job.id, 16);
    memcpy(step.lease, lease, 16);
    uint64_t before = clock_wall_ms();
    run_step(&harness, 0, &step);
    cr_expect_eq(step.outcome, JOB_DONE, "it was late, and nobody else had it");
    cr_expect_geq(step.job.until, before + rule.timeout_ms - 1000);
    cr_expect(step.job.percentage == 40 && bytes_eq_str(step.job.stage, "reading"));
    cr_expect(bytes_eq_str(step.job.message, "page 4"));
    store_request_finish(&step.base);
    cr_expect_eq(sweep_jobs(&harness), 0);
    step.lease[0] ^= 1;
    run_step(&harness, 0, &step);
    cr_expect_eq(step.outcome, JOB_NOT_LEASED);
    store_request_finish(&step.base);
    step.tenant = BYTES("t");
    run_step(&harness, 0, &step);
    cr_expect_eq(step.outcome, JOB_NOT_FOUND);
    store_request_finish(&step.base);
    harness_close(&harness);
}

BOTH(a_failure_waits_longer_each_time_and_then_the_job_is_dead)
{
    static const uint64_t pauses[] = {2000, 4000, 8000};
    struct harness harness;
    harness_open(&harness, url);
    struct store_job_new added = job_of("email", 1);
    add_job(&harness, &added, NULL);
    struct store_job_rule rule = rule_of("email");
    rule.attempts = 4;
    rule.backoff_ms = 2000;
    struct store_job job;
    uint8_t lease[16];
    for (unsigned i = 0; i < 4; i++) {
        cr_assert(lease_one(&harness, &rule, &job, lease), "%u", i);
        cr_expect_eq(job.attempt, i + 1);
        struct store_job_step step = {
            .verb = JOB_FAIL, .error = BYTES("no route"), .jitter = i == 1 ? 500 : 0};
        memcpy(step.id, job.id, 16);
        memcpy(step.lease, lease, 16);
        uint64_t before = clock_wall_ms();
        run_step(&harness, 0, &step);
        uint64_t after = clock_wall_ms();
        cr_expect_eq(step.outcome, JOB_DONE);
        cr_expect(bytes_eq_str(step.job.error, "no route"));
        if (i < 3) {
            uint64_t pause = pauses[i] + (i == 1 ? pauses[i] / 2 : 0);
            cr_expect_eq(step.job.state, JOB_DELAYED);
            cr_expect(
                step.job.run_at + 1000 >= before + pause && step.job.run_at <= after + pause + 1000,
                "%u", i);
            cr_expect_not(lease_one(&harness, &rule, &job, lease), "it is not due");
            cr_expect_eq(queue_of(&harness, "email").counts[JOB_DELAYED], 1);
            change_jobs(url, "UPDATE peal.job SET run_at = 5");
        } else {
            cr_expect_eq(step.job.state, JOB_DEAD);
        }
        store_request_finish(&step.base);
    }
    cr_expect_eq(queue_of(&harness, "email").counts[JOB_DEAD], 1);
    cr_expect_eq(step_job(&harness, JOB_RETRY, job.id, NULL), JOB_DONE);
    cr_assert(lease_one(&harness, &rule, &job, lease));
    cr_expect_eq(job.attempt, 1, "with all attempts");
    cr_expect_eq(step_job(&harness, JOB_RETRY, job.id, NULL), JOB_WRONG_STATE);
    harness_close(&harness);
}

BOTH(a_failure_that_is_final_is_not_tried_again)
{
    struct harness harness;
    harness_open(&harness, url);
    struct store_job_new added = job_of("email", 1);
    add_job(&harness, &added, NULL);
    struct store_job_rule rule = rule_of("email");
    struct store_job job;
    uint8_t lease[16];
    cr_assert(lease_one(&harness, &rule, &job, lease));
    struct store_job_step step = {.verb = JOB_FAIL, .error = BYTES("unknown type"), .final = true};
    memcpy(step.id, job.id, 16);
    memcpy(step.lease, lease, 16);
    run_step(&harness, 0, &step);
    cr_expect_eq(step.job.state, JOB_FAILED);
    store_request_finish(&step.base);
    cr_expect_not(lease_one(&harness, &rule, &job, lease));
    cr_expect_eq(queue_of(&harness, "email").counts[JOB_FAILED], 1);
    harness_close(&harness);
}

BOTH(a_lease_that_ends_gives_the_job_back)
{
    struct harness harness;
    harness_open(&harness, url);
    struct store_job_new added = job_of("email", 1);
    add_job(&harness, &added, NULL);
    struct store_job_rule rule = rule_of("email");
    rule.attempts = 2;
    struct store_job job;
    uint8_t old[16];
    uint8_t lease[16];
    cr_assert(lease_one(&harness, &rule, &job, old));
    cr_expect_eq(sweep_jobs(&harness), 0);
    change_jobs(url, "UPDATE peal.job SET until = 5");
    cr_expect_eq(sweep_jobs(&harness), 1);
    cr_expect_eq(sweep_jobs(&harness), 0);
    cr_expect_eq(state_of(&harness, job.id), JOB_WAITING);
    cr_expect_eq(step_job(&harness, JOB_COMPLETE, job.id, old), JOB_NOT_LEASED);
    cr_assert(lease_one(&harness, &rule, &job, lease));
    cr_expect(job.attempt == 2 && job.stalls == 1);
    cr_expect_eq(step_job(&harness, JOB_COMPLETE, job.id, old), JOB_NOT_LEASED, "an old lease");
    change_jobs(url, "UPDATE peal.job SET until = 5");
    struct store_job_sweep sweep = {.base.op = STORE_JOB_SWEEP, .limit = 10};
    cr_assert_eq(harness_run(&harness, 0, &sweep.base), 0);
    cr_assert_eq(sweep.count, 1);
    cr_expect(sweep.jobs[0].state == JOB_DEAD && sweep.jobs[0].stalls == 2);
    cr_expect(bytes_eq_str(sweep.jobs[0].error, "stalled"));
    store_request_finish(&sweep.base);
    harness_close(&harness);
}

/* One that kills its workers keeps no other waiting. */
BOTH(a_poison_job_does_not_block_its_queue)
{
    struct harness harness;
    harness_open(&harness, url);
    struct store_job_rule rule = rule_of("email");
    rule.concurrency = 1;
    struct store_job_new poison = job_of("email", 0);
    poison.priority = NOTIFICATION_URGENT;
    add_job(&harness, &poison, NULL);
    for (unsigned i = 1; i < 4; i++) {
        struct store_job_new job = job_of("email", i);
        add_job(&harness, &job, NULL);
    }
    struct store_job job;
    uint8_t lease[16];
    unsigned completed = 0;
    unsigned tries = 0;
    while (lease_one(&harness, &rule, &job, lease)) {
        cr_assert_lt(tries + completed, 10);
        if (same(job.id, poison.id)) {
            tries++;
            change_jobs(url, "UPDATE peal.job SET until = 5 WHERE state = 1");
            sweep_jobs(&harness);
        } else {
            cr_expect_eq(step_job(&harness, JOB_COMPLETE, job.id, lease), JOB_DONE);
            completed++;
        }
    }
    cr_expect_eq(tries, 3);
    cr_expect_eq(completed, 3);
    cr_expect_eq(state_of(&harness, poison.id), JOB_DEAD);
    harness_close(&harness);
}

static void pause_queue(struct harness *harness, const char *queue, bool pause, bool changes)
{
    struct store_job_pause request = {
        .base.op = STORE_JOB_PAUSE, .queue = bytes_str(queue), .pause = pause};
    cr_assert_eq(harness_run(harness, 0, &request.base), 0);
    cr_expect_eq(request.changed, changes);
    store_request_finish(&request.base);
}

BOTH(a_queue_that_is_paused_gives_nothing)
{
    struct harness harness;
    harness_open(&harness, url);
    for (unsigned i = 0; i < 2; i++) {
        struct store_job_new added = job_of("email", i);
        add_job(&harness, &added, NULL);
    }
    struct store_job_rule rule = rule_of("email");
    struct store_job job;
    uint8_t lease[16];
    cr_assert(lease_one(&harness, &rule, &job, lease));
    pause_queue(&harness, "other", false, false); /* which nobody has leased from */
    pause_queue(&harness, "email", true, true);
    pause_queue(&harness, "email", true, false);
    cr_expect(queue_of(&harness, "email").paused);
    struct store_job other;
    uint8_t unused[16];
    cr_expect_not(lease_one(&harness, &rule, &other, unused));
    cr_expect_eq(step_job(&harness, JOB_COMPLETE, job.id, lease), JOB_DONE, "it goes on");
    pause_queue(&harness, "email", false, true);
    cr_expect(lease_one(&harness, &rule, &other, unused));
    cr_expect_not(queue_of(&harness, "email").paused);
    harness_close(&harness);
}

BOTH(a_job_that_is_dropped_while_it_is_active_frees_its_place)
{
    struct harness harness;
    harness_open(&harness, url);
    struct store_job_rule rule = rule_of("email");
    rule.concurrency = 1;
    for (unsigned i = 0; i < 2; i++) {
        struct store_job_new added = job_of("email", i);
        add_job(&harness, &added, NULL);
    }
    struct store_job job;
    struct store_job other;
    uint8_t lease[16];
    uint8_t unused[16];
    cr_assert(lease_one(&harness, &rule, &job, lease));
    cr_expect_not(lease_one(&harness, &rule, &other, unused));
    cr_expect_eq(step_job(&harness, JOB_DROP, job.id, NULL), JOB_DONE);
    cr_expect(lease_one(&harness, &rule, &other, unused));
    cr_expect_eq(step_job(&harness, JOB_COMPLETE, job.id, lease), JOB_NOT_FOUND);
    harness_close(&harness);
}

BOTH(jobs_of_a_stream_are_fenced)
{
    struct harness harness;
    harness_open(&harness, url);
    struct store_claim claim = {.base.op = STORE_CLAIM, .partition = 1, .owner = BYTES("a")};
    cr_assert_eq(harness_run(&harness, 0, &claim.base), 0);
    struct store_job_new job = job_of("email", 1);
    struct store_job_add add = {.base.op = STORE_JOB_ADD,
        .jobs = &job,
        .count = 1,
        .fenced = true,
        .partition = 1,
        .token = claim.token,
        .last_id = BYTES("1-1")};
    cr_assert_eq(harness_run(&harness, 0, &add.base), 0);
    cr_expect_not(add.added[0].repeat);
    store_request_finish(&add.base);
    store_request_finish(&claim.base);
    cr_assert_eq(harness_run(&harness, 0, &claim.base), 0);
    cr_expect(bytes_eq_str(claim.last_id, "1-1"));
    store_request_finish(&claim.base);
    struct store_job_new late = job_of("email", 2);
    add.jobs = &late;
    cr_assert_eq(harness_run(&harness, 0, &add.base), STATUS_FENCED);
    store_request_finish(&add.base);
    cr_expect_eq(queue_of(&harness, "email").counts[JOB_WAITING], 1);
    harness_close(&harness);
}

BOTH(jobs_of_a_user_go_with_the_user)
{
    struct harness harness;
    harness_open(&harness, url);
    struct store_job_new mine = job_of("email", 1);
    struct store_job_new other = job_of("email", 2);
    give_job(&mine, BYTES(""), "alice");
    give_job(&other, BYTES(""), "bob");
    add_job(&harness, &mine, NULL);
    add_job(&harness, &other, NULL);
    struct store_forget forget = {.base.op = STORE_FORGET, .who = user_of("alice")};
    cr_assert_eq(harness_run(&harness, 0, &forget.base), 0);
    cr_expect_eq(forget.erased[STORE_FORGOTTEN_JOBS], 1);
    store_request_finish(&forget.base);
    cr_expect_eq(state_of(&harness, mine.id), JOB_STATE_COUNT);
    cr_expect_eq(state_of(&harness, other.id), JOB_WAITING);
    harness_close(&harness);
}

BOTH(wrong_requests_are_refused)
{
    struct harness harness;
    harness_open(&harness, url);
    struct store_job_rule rules[2] = {rule_of("email"), rule_of("email")};
    struct store_job_lease lease = {
        .base.op = STORE_JOB_LEASE, .rules = rules, .rule_count = 2, .max = 1};
    cr_expect_eq(harness_run(&harness, 0, &lease.base), STATUS_INVALID, "one queue twice");
    lease.rule_count = 1;
    lease.max = STORE_JOB_LEASE_MAX + 1;
    cr_expect_eq(harness_run(&harness, 0, &lease.base), STATUS_INVALID);
    lease.max = 1;
    rules[0].concurrency = 0;
    cr_expect_eq(harness_run(&harness, 0, &lease.base), STATUS_INVALID);
    struct store_job_new job = job_of("", 1);
    struct store_job_add add = {.base.op = STORE_JOB_ADD, .jobs = &job, .count = 1};
    cr_expect_eq(harness_run(&harness, 0, &add.base), STATUS_INVALID);
    job = job_of("email", 1);
    job.user = BYTES("alice"); /* the id is of another slot */
    cr_expect_eq(harness_run(&harness, 0, &add.base), STATUS_INVALID);
    struct store_job_step step = {
        .base.op = STORE_JOB_STEP, .verb = JOB_PROGRESS, .percentage = 101};
    cr_expect_eq(harness_run(&harness, 0, &step.base), STATUS_INVALID);
    struct store_job_get get = {.base.op = STORE_JOB_GET};
    cr_expect_eq(harness_run(&harness, 0, &get.base), STATUS_NOT_FOUND);
    harness_close(&harness);
}

/* Who stopped with the lock of a queue keeps its own queue, and no other. */
Test(postgres, a_queue_that_is_locked_keeps_no_other_waiting)
{
    char url[URL_MAX];
    harness_url("postgres", url);
    struct harness harness;
    harness_open(&harness, url);
    struct store_job_rule rules[2] = {rule_of("held"), rule_of("open")};
    for (unsigned i = 0; i < 2; i++) {
        struct store_job_new added = job_of(i ? "open" : "held", i);
        add_job(&harness, &added, NULL);
    }
    struct store_job job;
    uint8_t lease[16];
    cr_assert(lease_one(&harness, &rules[0], &job, lease));
    struct store_job_new more = job_of("held", 5);
    add_job(&harness, &more, NULL);
    PGconn *other = PQconnectdb(url);
    PGresult *result = PQexec(other, "BEGIN; SELECT FROM peal.job_queue FOR UPDATE");
    cr_assert_eq(PQresultStatus(result), PGRES_TUPLES_OK);
    PQclear(result);
    cr_expect(lease_one(&harness, &rules[1], &job, lease));
    cr_expect_eq(step_job(&harness, JOB_COMPLETE, job.id, lease), JOB_DONE);
    PQfinish(other);
    harness_close(&harness);
}
