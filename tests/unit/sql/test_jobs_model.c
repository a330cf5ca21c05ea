/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Jobs against a plain model: random requests one after the other, which must agree exactly, and
 * random requests of several ports at once, of which what is sure must hold.
 */
#include <string.h>

#include "codec/base/clock.h"
#include "codec/base/rand.h"
#include "tests/support/seed.h"
#include "tests/unit/sql/both.h"
#include "tests/unit/sql/jobs.h"

enum { JOBS = 120, KEYS = 40, QUEUES = 3, STEPS = 600, ROUNDS = 80 };

struct model_job {
    uint8_t id[16];
    uint8_t lease[16];
    unsigned queue;
    enum notification_priority priority;
    enum job_state state; /* JOB_STATE_COUNT: it is gone */
    uint64_t run_at;
    uint64_t ended_at;
    uint32_t attempt;
    uint32_t stalls;
};

struct model {
    struct harness harness;
    struct rand rand;
    const char *url;
    struct model_job jobs[JOBS];
    size_t count;
    int keyed[QUEUES][KEYS]; /* whose a key is, from 1; 0: nobody's */
    bool paused[QUEUES];
    struct store_job_rule rules[QUEUES];
};

static const char *const names[QUEUES] = {"a", "b", "c"};

static uint64_t below(struct model *model, uint64_t most)
{
    return rand_below(&model->rand, most);
}

static void open_model(struct model *model, const char *url, uint64_t seed)
{
    *model = (struct model){.url = url};
    rand_init(&model->rand, seed);
    harness_open(&model->harness, url);
    for (unsigned i = 0; i < QUEUES; i++) {
        model->rules[i] = rule_of(names[i]);
        model->rules[i].concurrency = 1 + i * 2;
        model->rules[i].attempts = 1 + i;
    }
}

/* --- one after the other --- */

static int job_before(const struct model_job *a, const struct model_job *b)
{
    if (a->priority != b->priority) {
        return a->priority > b->priority ? -1 : 1;
    }
    if (a->run_at != b->run_at) {
        return a->run_at < b->run_at ? -1 : 1;
    }
    return memcmp(a->id, b->id, sizeof(a->id));
}

static size_t count_in(const struct model *model, unsigned queue, enum job_state state)
{
    size_t count = 0;
    for (size_t i = 0; i < model->count; i++) {
        count += model->jobs[i].queue == queue && model->jobs[i].state == state;
    }
    return count;
}

/* The one that is to be given next of some queues, as long as they have room; NULL: none. */
static struct model_job *next_of(struct model *model, unsigned set)
{
    struct model_job *best = NULL;
    for (size_t i = 0; i < model->count; i++) {
        struct model_job *job = &model->jobs[i];
        bool open = (set & 1u << job->queue) && !model->paused[job->queue] &&
                    count_in(model, job->queue, JOB_ACTIVE) < model->rules[job->queue].concurrency;
        if (open && job->state == JOB_WAITING && (!best || job_before(job, best) < 0)) {
            best = job;
        }
    }
    return best;
}

static void model_add(struct model *model)
{
    if (model->count == JOBS) {
        return;
    }
    unsigned queue = (unsigned)below(model, QUEUES);
    unsigned key = (unsigned)below(model, KEYS);
    struct store_job_new job = job_of(names[queue], key + 1);
    job.priority = (enum notification_priority)below(model, NOTIFICATION_PRIORITY_COUNT);
    job.run_at = 1 + below(model, 20);
    uint8_t id[16];
    bool fresh = add_job(&model->harness, &job, id);
    int *first = &model->keyed[queue][key];
    cr_assert_eq(fresh, *first == 0);
    if (!fresh) {
        cr_expect_arr_eq(id, model->jobs[*first - 1].id, 16);
        return;
    }
    struct model_job *made = &model->jobs[model->count++];
    *first = (int)model->count;
    *made = (struct model_job){.queue = queue, .priority = job.priority, .run_at = job.run_at};
    memcpy(made->id, id, 16);
}

static void model_lease(struct model *model)
{
    struct store_job_rule rules[QUEUES];
    unsigned set = 1 + (unsigned)below(model, (1u << QUEUES) - 1);
    size_t count = 0;
    for (unsigned i = QUEUES; i > 0; i--) {
        if (set & 1u << (i - 1)) {
            rules[count++] = model->rules[i - 1];
        }
    }
    struct store_job_lease lease = {
        .rules = rules, .rule_count = count, .max = 1 + (uint32_t)below(model, 4)};
    lease_jobs(&model->harness, (unsigned)below(model, HARNESS_SHARDS), &lease);
    for (size_t i = 0; i < lease.max; i++) {
        struct model_job *job = next_of(model, set);
        if (!job) {
            cr_assert_eq(lease.count, i);
            break;
        }
        cr_assert_gt(lease.count, i, "too few were given");
        cr_assert_arr_eq(lease.jobs[i].id, job->id, 16, "another one is next");
        job->state = JOB_ACTIVE;
        job->attempt++;
        memcpy(job->lease, lease.lease, 16);
        cr_assert_eq(lease.jobs[i].attempt, job->attempt);
    }
    store_request_finish(&lease.base);
}

static enum job_outcome expected(const struct model_job *job, enum job_verb verb)
{
    if (job->state == JOB_STATE_COUNT) {
        return JOB_NOT_FOUND;
    }
    if (verb < JOB_RETRY) {
        return job->state == JOB_ACTIVE ? JOB_DONE : JOB_NOT_LEASED;
    }
    bool again = job->state == JOB_FAILED || job->state == JOB_DEAD;
    return verb == JOB_DROP || again ? JOB_DONE : JOB_WRONG_STATE;
}

static void apply(struct model *model, struct model_job *job, const struct store_job_step *step)
{
    switch (step->verb) {
    case JOB_COMPLETE:
        job->state = JOB_COMPLETED;
        break;
    case JOB_FAIL:
        job->state = step->final                                        ? JOB_FAILED
                     : job->attempt < model->rules[job->queue].attempts ? JOB_WAITING
                                                                        : JOB_DEAD;
        break;
    case JOB_RELEASE:
        job->state = JOB_WAITING;
        job->attempt--;
        break;
    case JOB_RETRY:
        job->state = JOB_WAITING;
        job->attempt = job->stalls = 0;
        break;
    case JOB_DROP:
        job->state = JOB_STATE_COUNT;
        return;
    case JOB_PROGRESS:
    case JOB_VERB_COUNT:
        break;
    }
    cr_expect_eq(step->job.state, job->state, "verb %d", step->verb);
    cr_expect_eq(step->job.attempt, job->attempt);
    cr_expect_eq(step->job.stalls, job->stalls);
    job->run_at = step->job.run_at; /* the database's clock */
    job->ended_at = step->job.ended_at;
    cr_expect_eq(job->ended_at > 0, job->state >= JOB_COMPLETED);
}

static void model_step(struct model *model)
{
    if (model->count == 0) {
        return;
    }
    struct model_job *job = &model->jobs[below(model, model->count)];
    for (unsigned i = 0; i < 4 && job->state != JOB_ACTIVE; i++) { /* rather one under way */
        job = &model->jobs[below(model, model->count)];
    }
    static const enum job_verb verbs[] = {JOB_PROGRESS, JOB_PROGRESS, JOB_COMPLETE, JOB_COMPLETE,
        JOB_COMPLETE, JOB_COMPLETE, JOB_FAIL, JOB_FAIL, JOB_FAIL, JOB_RELEASE, JOB_RETRY, JOB_RETRY,
        JOB_DROP};
    struct store_job_step step = {.verb = verbs[below(model, ARRAY_LEN(verbs))],
        .final = below(model, 4) == 0,
        .percentage = (uint32_t)below(model, 101)};
    memcpy(step.id, job->id, 16);
    memcpy(step.lease, job->lease, 16);
    enum job_outcome outcome = expected(job, step.verb);
    if (below(model, 10) == 0 && step.verb < JOB_RETRY && outcome == JOB_DONE) {
        step.lease[15] ^= 1;
        outcome = JOB_NOT_LEASED;
    }
    run_step(&model->harness, (unsigned)below(model, HARNESS_SHARDS), &step);
    cr_assert_eq(step.outcome, outcome, "verb %d in state %d", step.verb, job->state);
    if (outcome == JOB_DONE) {
        apply(model, job, &step);
    }
    store_request_finish(&step.base);
}

static struct model_job *find(struct model *model, const uint8_t id[16])
{
    for (size_t i = 0; i < model->count; i++) {
        if (memcmp(model->jobs[i].id, id, 16) == 0) {
            return &model->jobs[i];
        }
    }
    cr_assert_fail("a job that nobody has added");
    return NULL;
}

/* All leases end. */
static void model_stall(struct model *model)
{
    change_jobs(model->url, "UPDATE peal.job SET until = 5 WHERE state = 1");
    size_t active = 0;
    for (unsigned i = 0; i < QUEUES; i++) {
        active += count_in(model, i, JOB_ACTIVE);
    }
    struct store_job_sweep sweep = {.base.op = STORE_JOB_SWEEP, .limit = STORE_JOB_SWEEP_MAX};
    cr_assert_eq(harness_run(&model->harness, 0, &sweep.base), 0);
    cr_assert_eq(sweep.count, active);
    for (size_t i = 0; i < sweep.count; i++) {
        struct model_job *job = find(model, sweep.jobs[i].id);
        cr_assert_eq(job->state, JOB_ACTIVE);
        bool again = job->attempt < model->rules[job->queue].attempts;
        job->state = again ? JOB_WAITING : JOB_DEAD;
        job->stalls++;
        job->ended_at = sweep.jobs[i].ended_at;
        cr_expect_eq(sweep.jobs[i].state, job->state);
        cr_expect_eq(sweep.jobs[i].stalls, job->stalls);
    }
    store_request_finish(&sweep.base);
}

static bool ended_after(const struct model_job *a, const struct model_job *b)
{
    return a->ended_at != b->ended_at ? a->ended_at > b->ended_at
                                      : memcmp(a->id, b->id, sizeof(a->id)) > 0;
}

/* What is beyond the newest goes, of queues that have been leased. */
static void model_retain(struct model *model)
{
    change_jobs(model->url, "UPDATE peal.job_queue SET sweep_at = 5");
    sweep_jobs(&model->harness);
    bool goes[JOBS] = {0};
    for (size_t i = 0; i < model->count; i++) {
        const struct model_job *job = &model->jobs[i];
        if (job->state < JOB_COMPLETED || job->state > JOB_DEAD) {
            continue;
        }
        size_t newer = 0;
        for (size_t j = 0; j < model->count; j++) {
            const struct model_job *other = &model->jobs[j];
            newer +=
                other->queue == job->queue && other->state == job->state && ended_after(other, job);
        }
        const struct store_job_rule *rule = &model->rules[job->queue];
        goes[i] = newer >= (job->state == JOB_COMPLETED ? rule->keep_completed : rule->keep_failed);
    }
    for (size_t i = 0; i < model->count; i++) {
        model->jobs[i].state = goes[i] ? JOB_STATE_COUNT : model->jobs[i].state;
    }
}

static void model_pause(struct model *model)
{
    unsigned queue = (unsigned)below(model, QUEUES);
    struct store_job_pause pause = {.base.op = STORE_JOB_PAUSE,
        .queue = bytes_str(names[queue]),
        .pause = below(model, 3) == 0};
    cr_assert_eq(harness_run(&model->harness, 1, &pause.base), 0);
    cr_expect_eq(pause.changed, pause.pause != model->paused[queue]);
    model->paused[queue] = pause.pause;
    store_request_finish(&pause.base);
}

static void check_counts(struct model *model)
{
    for (unsigned i = 0; i < QUEUES; i++) {
        struct store_queue queue = queue_of(&model->harness, names[i]);
        for (enum job_state state = JOB_WAITING; state <= JOB_DEAD; state++) {
            cr_assert_eq(
                queue.counts[state], count_in(model, i, state), "%s, state %d", names[i], state);
        }
    }
}

BOTH(random_requests_agree_with_the_model)
{
    static struct model model;
    open_model(&model, url, seed_draw());
    for (unsigned i = 0; i < STEPS; i++) {
        uint64_t dice = below(&model, 100);
        if (dice < 25) {
            model_add(&model);
        } else if (dice < 50) {
            model_lease(&model);
        } else if (dice < 92) {
            model_step(&model);
        } else if (dice < 94) {
            model_stall(&model);
        } else if (dice < 96) {
            model_retain(&model);
        } else {
            model_pause(&model);
        }
        if (i % 10 == 0) {
            check_counts(&model);
        }
    }
    for (size_t i = 0; i < model.count; i++) {
        cr_expect_eq(state_of(&model.harness, model.jobs[i].id), model.jobs[i].state);
    }
    harness_close(&model.harness);
}

/* --- several at once --- */

/* What one port asks in a round. */
struct worker {
    struct store_job_lease lease;
    struct store_job_step step;
    struct model_job *job; /* whom it steps; NULL: it leases */
};

static struct model_job *held_by_nobody_else(struct model *model, const struct worker *workers)
{
    for (unsigned tries = 0; tries < 20 && model->count > 0; tries++) {
        struct model_job *job = &model->jobs[below(model, model->count)];
        bool taken = false;
        for (unsigned i = 0; i < HARNESS_SHARDS; i++) {
            taken = taken || workers[i].job == job;
        }
        if (job->state == JOB_ACTIVE && !taken) {
            return job;
        }
    }
    return NULL;
}

static void start(struct model *model, unsigned shard, struct worker *workers)
{
    struct worker *worker = &workers[shard];
    *worker = (struct worker){0};
    worker->job = below(model, 2) ? held_by_nobody_else(model, workers) : NULL;
    if (worker->job) {
        worker->step = (struct store_job_step){.base = {.op = STORE_JOB_STEP, .done = harness_done},
            .verb = below(model, 3) ? JOB_COMPLETE : JOB_FAIL};
        memcpy(worker->step.id, worker->job->id, 16);
        memcpy(worker->step.lease, worker->job->lease, 16);
        store_submit(model->harness.shards[shard].port, &worker->step.base);
        return;
    }
    worker->lease = (struct store_job_lease){.base = {.op = STORE_JOB_LEASE, .done = harness_done},
        .rules = model->rules,
        .rule_count = QUEUES,
        .max = 1 + (uint32_t)below(model, 3)};
    uuid7_make(clock_wall_ms(), 0, worker->lease.lease);
    store_submit(model->harness.shards[shard].port, &worker->lease.base);
}

/* What was answered, ends first: what a lease was given may have been given back in the same round.
 */
static void finish_step(struct model *model, struct worker *worker)
{
    cr_assert_eq(worker->step.base.status, 0);
    cr_assert_eq(worker->step.outcome, JOB_DONE, "it has the lease");
    apply(model, worker->job, &worker->step);
    store_request_finish(&worker->step.base);
}

static void finish_lease(struct model *model, struct worker *worker)
{
    cr_assert_eq(worker->lease.base.status, 0);
    for (size_t i = 0; i < worker->lease.count; i++) {
        struct model_job *job = find(model, worker->lease.jobs[i].id);
        cr_assert_eq(job->state, JOB_WAITING, "given while it is %d", job->state);
        job->state = JOB_ACTIVE;
        job->attempt++;
        cr_expect_eq(worker->lease.jobs[i].attempt, job->attempt);
        memcpy(job->lease, worker->lease.lease, 16);
    }
    store_request_finish(&worker->lease.base);
}

BOTH(workers_at_once_never_exceed_the_concurrency)
{
    static struct model model;
    struct worker workers[HARNESS_SHARDS] = {0};
    open_model(&model, url, seed_draw());
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (unsigned i = 0; i < 4; i++) {
            model_add(&model);
        }
        for (unsigned i = 0; i < HARNESS_SHARDS; i++) {
            workers[i].job = NULL;
        }
        for (unsigned i = 0; i < HARNESS_SHARDS; i++) {
            start(&model, i, workers);
        }
        for (unsigned i = 0; i < HARNESS_SHARDS; i++) {
            harness_wait_all(&model.harness, i, 1);
        }
        for (unsigned i = 0; i < HARNESS_SHARDS; i++) {
            if (workers[i].job) {
                finish_step(&model, &workers[i]);
            }
        }
        for (unsigned i = 0; i < HARNESS_SHARDS; i++) {
            if (!workers[i].job) {
                finish_lease(&model, &workers[i]);
            }
        }
        for (unsigned i = 0; i < QUEUES; i++) {
            cr_assert_leq(count_in(&model, i, JOB_ACTIVE), model.rules[i].concurrency);
        }
    }
    check_counts(&model);
    harness_close(&model.harness);
}
