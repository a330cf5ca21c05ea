/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the tests of jobs have in common.
 */
#include "tests/unit/sql/jobs.h"

#include <criterion/criterion.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

#include "codec/base/clock.h"
#include "codec/base/rand.h"
#include "codec/slot.h"
#include "tests/support/postgres.h"

enum { CROWD = 4000 };

struct store_job_rule rule_of(const char *queue)
{
    return (struct store_job_rule){.queue = bytes_str(queue),
        .concurrency = 2,
        .attempts = 3,
        .keep_completed = 3,
        .keep_failed = 2,
        .timeout_ms = 60000};
}

struct store_job_new job_of(const char *queue, uint64_t key)
{
    struct store_job_new job = {.queue = bytes_str(queue),
        .type = BYTES("letter"),
        .payload = BYTES("{\"n\":1}"),
        .priority = NOTIFICATION_MEDIUM};
    memcpy(job.key_hash, &key, sizeof(key));
    uuid7_make(clock_wall_ms(), SLOT_NONE, job.id);
    return job;
}

void give_job(struct store_job_new *job, struct bytes tenant, const char *user)
{
    job->tenant = tenant;
    job->user = bytes_str(user);
    uint32_t slot = job->user.len > 0 ? slot_of(tenant, job->user) : (uint32_t)SLOT_NONE;
    uuid7_make(clock_wall_ms(), slot, job->id);
}

bool add_job(struct harness *harness, const struct store_job_new *job, uint8_t ret_id[16])
{
    struct store_job_add add = {.base.op = STORE_JOB_ADD, .jobs = job, .count = 1};
    cr_assert_eq(harness_run(harness, 0, &add.base), 0, "%d", add.base.status);
    bool fresh = !add.added[0].repeat;
    if (ret_id) {
        memcpy(ret_id, add.added[0].id, sizeof(add.added[0].id));
    }
    store_request_finish(&add.base);
    return fresh;
}

void lease_jobs(struct harness *harness, unsigned shard, struct store_job_lease *lease)
{
    lease->base.op = STORE_JOB_LEASE;
    uuid7_make(clock_wall_ms(), SLOT_NONE, lease->lease);
    cr_assert_eq(harness_run(harness, shard, &lease->base), 0, "%d", lease->base.status);
}

bool lease_one(struct harness *harness, const struct store_job_rule *rule,
    struct store_job *ret_job, uint8_t ret_lease[16])
{
    struct store_job_lease lease = {
        .rules = rule, .rule_count = 1, .max = 1, .worker = BYTES("worker")};
    lease_jobs(harness, 1, &lease);
    bool any = lease.count > 0;
    if (any) {
        *ret_job = lease.jobs[0];
        memcpy(ret_lease, lease.lease, sizeof(lease.lease));
    }
    store_request_finish(&lease.base);
    return any;
}

void run_step(struct harness *harness, unsigned shard, struct store_job_step *step)
{
    step->base.op = STORE_JOB_STEP;
    cr_assert_eq(harness_run(harness, shard, &step->base), 0, "%d", step->base.status);
}

enum job_outcome step_job(
    struct harness *harness, enum job_verb verb, const uint8_t id[16], const uint8_t lease[16])
{
    struct store_job_step step = {.verb = verb, .error = BYTES("no")};
    memcpy(step.id, id, sizeof(step.id));
    if (lease) {
        memcpy(step.lease, lease, sizeof(step.lease));
    }
    run_step(harness, 2, &step);
    enum job_outcome outcome = step.outcome;
    store_request_finish(&step.base);
    return outcome;
}

enum job_state state_of(struct harness *harness, const uint8_t id[16])
{
    struct store_job_get get = {.base.op = STORE_JOB_GET};
    memcpy(get.id, id, sizeof(get.id));
    int status = harness_run(harness, 3, &get.base);
    enum job_state state = status == 0 ? get.job.state : JOB_STATE_COUNT;
    store_request_finish(&get.base);
    return state;
}

size_t sweep_jobs(struct harness *harness)
{
    size_t stalled = 0;
    bool more = true;
    while (more) {
        struct store_job_sweep sweep = {.base.op = STORE_JOB_SWEEP, .limit = 2};
        cr_assert_eq(harness_run(harness, 0, &sweep.base), 0, "%d", sweep.base.status);
        stalled += sweep.count;
        more = sweep.more;
        store_request_finish(&sweep.base);
    }
    return stalled;
}

struct store_queue queue_of(struct harness *harness, const char *queue)
{
    struct bytes name = bytes_str(queue);
    struct store_queues queues = {.base.op = STORE_QUEUES, .names = &name, .name_count = 1};
    cr_assert_eq(harness_run(harness, 3, &queues.base), 0, "%d", queues.base.status);
    struct store_queue found = queues.queues[0];
    store_request_finish(&queues.base);
    return found;
}

void change_jobs(const char *url, const char *sql)
{
    if (strncmp(url, "sqlite:", strlen("sqlite:")) != 0) {
        cr_assert(postgres_query(url, sql, NULL, 0), "%s", sql);
        return;
    }
    sqlite3 *db;
    cr_assert_eq(sqlite3_open(url + strlen("sqlite:"), &db), SQLITE_OK);
    cr_assert_eq(sqlite3_busy_timeout(db, 10000), SQLITE_OK);
    char text[512];
    (void)snprintf(text, sizeof(text), "%s", sql);
    for (char *at = strstr(text, "peal."); at; at = strstr(at, "peal.")) {
        memcpy(at, "main.", strlen("main."));
    }
    cr_assert_eq(sqlite3_exec(db, text, NULL, NULL, NULL), SQLITE_OK, "%s", sqlite3_errmsg(db));
    cr_assert_eq(sqlite3_close(db), SQLITE_OK);
}

static void list_jobs(struct harness *harness, enum job_state state)
{
    struct store_job_list list = {
        .base.op = STORE_JOB_LIST, .queue = BYTES("used"), .state = state, .limit = 5};
    cr_assert_eq(harness_run(harness, 1, &list.base), 0);
    store_request_finish(&list.base);
}

static void add_jobs(struct harness *harness, const char *queue, uint64_t round,
    struct store_job_new *jobs, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        jobs[i] = job_of(queue, round * STORE_JOBS_MAX + i);
    }
    struct store_job_add add = {.base.op = STORE_JOB_ADD, .jobs = jobs, .count = count};
    cr_assert_eq(harness_run(harness, 0, &add.base), 0);
    store_request_finish(&add.base);
}

/* Each statement about devices. */
static void run_devices(struct harness *harness, struct store_devices *devices)
{
    cr_assert_eq(harness_run(harness, 0, &devices->base), 0);
    store_request_finish(&devices->base);
}

static void use_devices(struct harness *harness)
{
    struct store_devices devices = {
        .base.op = STORE_DEVICE_PUT, .who = user_of("gone"), .body = BYTES("{}"), .most = 1};
    run_devices(harness, &devices);
    devices.has_id = true;
    run_devices(harness, &devices);
    devices.who = user_of("else");
    for (enum store_op op = STORE_DEVICE_PUT; op <= STORE_DEVICE_LIST; op++) {
        devices.base.op = op;
        run_devices(harness, &devices);
    }
}

static void run_push(struct harness *harness, struct store_request *request)
{
    cr_assert_eq(harness_run(harness, 0, request), 0);
    store_request_finish(request);
}

/* Each statement about hand-offs. */
static void use_pushes(struct harness *harness)
{
    struct store_user who = user_of("else");
    struct store_push_arrange all = {.base.op = STORE_PUSH_ARRANGE};
    struct store_push_arrange one = {.base.op = STORE_PUSH_ARRANGE, .who = who};
    struct store_push_look look = {.base.op = STORE_PUSH_LOOK, .who = who, .recent_ms = 1000};
    struct store_push_note note = {
        .base.op = STORE_PUSH_NOTE, .who = who, .rev = 1, .type = BYTES("t")};
    struct store_push_received received = {.base.op = STORE_PUSH_RECEIVED, .who = who, .seq = 1};
    run_push(harness, &all.base);
    run_push(harness, &one.base);
    run_push(harness, &look.base);
    run_push(harness, &note.base);
    run_push(harness, &received.base);
}

void use_jobs(struct harness *harness, uint64_t round, unsigned many)
{
    use_devices(harness);
    use_pushes(harness);
    static struct store_job_new jobs[STORE_JOBS_MAX];
    for (unsigned i = 0; round == 0 && i < CROWD / STORE_JOBS_MAX; i++) {
        add_jobs(harness, "crowd", i, jobs, STORE_JOBS_MAX);
    }
    add_jobs(harness, "used", round, jobs, many);
    struct store_job_rule rule = rule_of("used");
    rule.concurrency = 1000;
    struct store_job_lease lease = {.rules = &rule, .rule_count = 1, .max = 4};
    lease_jobs(harness, 0, &lease);
    cr_assert_eq(lease.count, 4);
    for (unsigned i = 0; i < 3; i++) {
        (void)step_job(harness, JOB_PROGRESS + i, lease.jobs[i].id, lease.lease);
    }
    (void)step_job(harness, JOB_RELEASE, lease.jobs[3].id, lease.lease);
    (void)step_job(harness, JOB_DROP, lease.jobs[3].id, NULL);
    store_request_finish(&lease.base);
    lease.max = 100;
    lease_jobs(harness, 1, &lease);
    for (size_t i = 0; i < lease.count; i++) {
        (void)step_job(harness, JOB_COMPLETE, lease.jobs[i].id, lease.lease);
    }
    store_request_finish(&lease.base);
    for (enum job_state state = JOB_WAITING; state < JOB_STATE_COUNT; state++) {
        list_jobs(harness, state);
    }
    (void)queue_of(harness, "used");
    struct bytes name = BYTES("used");
    struct store_queues all = {
        .base.op = STORE_QUEUES, .names = &name, .name_count = 1, .all_tenants = true};
    cr_assert_eq(harness_run(harness, 2, &all.base), 0);
    store_request_finish(&all.base);
    struct store_job_pause pause = {.base.op = STORE_JOB_PAUSE, .queue = BYTES("other")};
    cr_assert_eq(harness_run(harness, 0, &pause.base), 0);
    store_request_finish(&pause.base);
    (void)state_of(harness, jobs[0].id);
    (void)sweep_jobs(harness);
}
