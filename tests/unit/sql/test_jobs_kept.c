/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is kept of jobs that have ended, and how jobs are listed and counted.
 */
#include <string.h>

#include "codec/base/clock.h"
#include "tests/unit/sql/both.h"
#include "tests/unit/sql/jobs.h"

enum { MINUTE_MS = 60000 };

static bool same(const uint8_t a[16], const uint8_t b[16])
{
    return memcmp(a, b, 16) == 0;
}

/* No two end at one time. */
static void wait_for_clock(void)
{
    uint64_t now = clock_wall_ms();
    while (clock_wall_ms() <= now + 1) {
    }
}

BOTH(the_newest_of_what_has_ended_are_kept)
{
    struct harness harness;
    harness_open(&harness, url);
    struct store_job_rule rule = rule_of("email");
    uint8_t ids[20][16];
    for (unsigned i = 0; i < 20; i++) {
        struct store_job_new added = job_of("email", i);
        add_job(&harness, &added, NULL);
    }
    for (unsigned i = 0; i < 20; i++) {
        struct store_job job;
        uint8_t lease[16];
        cr_assert(lease_one(&harness, &rule, &job, lease));
        memcpy(ids[i], job.id, sizeof(ids[i]));
        wait_for_clock();
        if (i < 8) {
            cr_expect_eq(step_job(&harness, JOB_COMPLETE, job.id, lease), JOB_DONE);
            continue;
        }
        struct store_job_step step = {.verb = JOB_FAIL, .final = true};
        memcpy(step.id, job.id, 16);
        memcpy(step.lease, lease, 16);
        run_step(&harness, 0, &step);
        store_request_finish(&step.base);
    }
    sweep_jobs(&harness);
    struct store_queue queue = queue_of(&harness, "email");
    cr_expect(queue.counts[JOB_COMPLETED] == 8 && queue.counts[JOB_FAILED] == 12, "not yet");
    change_jobs(url, "UPDATE peal.job_queue SET sweep_at = 5");
    sweep_jobs(&harness);
    queue = queue_of(&harness, "email");
    cr_expect_eq(queue.counts[JOB_COMPLETED], 3);
    cr_expect_eq(queue.counts[JOB_FAILED], 2);
    cr_expect_eq(state_of(&harness, ids[7]), JOB_COMPLETED);
    cr_expect_eq(state_of(&harness, ids[4]), JOB_STATE_COUNT);
    cr_expect_eq(state_of(&harness, ids[19]), JOB_FAILED);
    harness_close(&harness);
}

/* Walk a list by its cursor; how many it told. */
static unsigned walk(struct harness *harness, enum job_state state, uint8_t (*ret_ids)[16])
{
    struct store_job_list list = {
        .base.op = STORE_JOB_LIST, .queue = BYTES("email"), .state = state, .limit = 3};
    unsigned count = 0;
    bool more = true;
    while (more) {
        cr_assert_eq(harness_run(harness, 1, &list.base), 0);
        for (size_t i = 0; i < list.count; i++) {
            cr_expect_eq(list.jobs[i].state, state);
            memcpy(ret_ids[count++], list.jobs[i].id, 16);
        }
        more = list.more;
        cr_assert(!more || list.count == 3);
        if (more) {
            list.after = store_job_cursor_of(&list.jobs[list.count - 1], state);
        }
        store_request_finish(&list.base);
    }
    return count;
}

BOTH(lists_tell_every_job_of_a_state_once)
{
    struct harness harness;
    harness_open(&harness, url);
    uint64_t now = clock_wall_ms();
    struct store_job_new jobs[24];
    for (unsigned i = 0; i < 24; i++) {
        jobs[i] = job_of("email", i);
        jobs[i].priority = (enum notification_priority)(i % 4);
        jobs[i].run_at = i < 12 ? 100 + i / 3 : now + MINUTE_MS + i / 3;
    }
    struct store_job_add add = {.base.op = STORE_JOB_ADD, .jobs = jobs, .count = 24};
    cr_assert_eq(harness_run(&harness, 0, &add.base), 0);
    store_request_finish(&add.base);
    uint8_t ids[24][16];
    cr_expect_eq(walk(&harness, JOB_WAITING, ids), 12);
    struct store_job_rule rule = rule_of("email");
    rule.concurrency = 7;
    struct store_job_lease lease = {.rules = &rule, .rule_count = 1, .max = 7};
    lease_jobs(&harness, 0, &lease);
    cr_assert_eq(lease.count, 7);
    for (unsigned i = 0; i < 7; i++) {
        cr_expect(same(lease.jobs[i].id, ids[i]), "as they are given");
    }
    store_request_finish(&lease.base);
    cr_expect_eq(walk(&harness, JOB_DELAYED, ids), 12);
    for (unsigned i = 0; i < 12; i++) {
        for (unsigned j = 0; j < i; j++) {
            cr_expect_not(same(ids[i], ids[j]));
        }
    }
    cr_expect_eq(walk(&harness, JOB_ACTIVE, ids), 7);
    for (unsigned i = 0; i < 4; i++) {
        cr_expect_eq(step_job(&harness, JOB_COMPLETE, ids[i], lease.lease), JOB_DONE);
    }
    uint8_t ended[24][16];
    cr_expect_eq(walk(&harness, JOB_COMPLETED, ended), 4);
    cr_expect_eq(walk(&harness, JOB_DEAD, ended), 0);
    struct store_queue queue = queue_of(&harness, "email");
    cr_expect_eq(queue.counts[JOB_WAITING], 5);
    cr_expect_eq(queue.counts[JOB_DELAYED], 12);
    cr_expect_eq(queue.counts[JOB_ACTIVE], 3);
    cr_expect_eq(queue.counts[JOB_COMPLETED], 4);
    cr_expect_eq(queue.ended, 4);
    cr_expect_gt(queue.waiting_ms, MINUTE_MS);
    cr_expect(queue.next_ms > 0 && queue.next_ms <= 2 * MINUTE_MS);
    struct bytes name = BYTES("email");
    struct store_queues all = {
        .base.op = STORE_QUEUES, .names = &name, .name_count = 1, .all_tenants = true};
    cr_assert_eq(harness_run(&harness, 0, &all.base), 0);
    cr_expect_eq(all.queues[0].counts[JOB_WAITING], 5);
    cr_expect_eq(all.queues[0].counts[JOB_DELAYED], 12);
    cr_expect_eq(all.queues[0].counts[JOB_ACTIVE], 3);
    cr_expect_eq(all.queues[0].counts[JOB_COMPLETED], 4);
    store_request_finish(&all.base);
    harness_close(&harness);
}
