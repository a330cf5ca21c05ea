/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asks the store for a step until there is nothing more, and again a second later.
 */
#include "actors/jobs/jobs_sweep.h"

#include "actors/jobs/jobs.h"
#include "actors/jobs/jobs_bus.h"
#include "actors/jobs/jobs_state.h"
#include "actors/shard.h"
#include "actors/webhook_note.h"
#include "codec/base/log.h"
#include "codec/base/mem.h"
#include "codec/base/rand.h"
#include "codec/base/status.h"
#include "sql/store.h"

enum { SWEEP_MS = 1000, JITTER_MS = 200 };

struct job_sweep {
    struct jobs *jobs;
    struct timer timer;
    struct store_job_sweep step;
    uint64_t came_ms; /* when the last one came through, or the first was armed */
    bool busy;
    bool over;
};

static void free_sweep(struct job_sweep *sweep)
{
    timer_cancel(sched_timers(sweep->jobs->shard->sched), &sweep->timer);
    mem_free(sweep);
}

static void arm(struct job_sweep *sweep, uint64_t wait)
{
    struct sched *sched = sweep->jobs->shard->sched;
    timer_set(sched_timers(sched), &sweep->timer, sched_now(sched) + wait);
}

/* A lease was over: who waits may have the job, and its user is told when it is dead. */
static void tell(struct jobs *jobs, const struct store_job *job)
{
    struct shard *shard = jobs->shard;
    char id[UUID_TEXT_LEN + 1] = "";
    unsigned suppressed;
    bool dead = job->state == JOB_DEAD;
    uuid_format(job->id, id);
    jobs->stats.stalled++;
    jobs->stats.dead += dead;
    if (log_allow(&jobs->stalled_log, &suppressed)) {
        log_warn("JOB-STALLED", "a worker said nothing until its lease was over",
            "queue=%s id=%s attempt=%u worker=%s state=%s suppressed=%u", log_quote(job->queue), id,
            job->attempt, log_quote(job->worker), dead ? "dead" : "waiting", suppressed);
    }
    if (dead) {
        webhook_note_job(shard, job);
        jobs_tell_user(shard, job, BYTES("failed"), job->error, sched_wall(shard->sched));
    }
    jobs_ready(shard, job->tenant, job->queue);
}

static void ask(struct job_sweep *sweep);

/* Whoever looks at the node is to know when jobs of dead workers are not given again. */
static void note_end(struct job_sweep *sweep, int status)
{
    struct jobs *jobs = sweep->jobs;
    uint64_t now = sched_now(jobs->shard->sched);
    unsigned suppressed;
    if (status == 0) {
        sweep->came_ms = now;
        jobs->stats.sweep_late_ms = 0;
        return;
    }
    jobs->stats.sweep_failures++;
    jobs->stats.sweep_late_ms = now - sweep->came_ms;
    if (log_allow(&jobs->sweep_log, &suppressed)) {
        log_warn("JOB-SWEEP", "leases that are over could not be looked for, trying again",
            "error=%s late_ms=%llu suppressed=%u", status_name(status),
            (unsigned long long)jobs->stats.sweep_late_ms, suppressed);
    }
}

static void on_swept(struct store_request *request)
{
    struct job_sweep *sweep = container_of(request, struct job_sweep, step.base);
    struct jobs *jobs = sweep->jobs;
    bool more = request->status == 0 && sweep->step.more;
    jobs->pending--;
    sweep->busy = false;
    note_end(sweep, request->status);
    for (size_t i = 0; request->status == 0 && i < sweep->step.count; i++) {
        tell(jobs, &sweep->step.jobs[i]);
    }
    jobs->stats.dropped += request->status == 0 ? sweep->step.dropped : 0;
    store_request_finish(request);
    if (sweep->over) {
        free_sweep(sweep);
    } else if (more) {
        ask(sweep);
    } else {
        arm(sweep, SWEEP_MS + rand_below(&jobs->shard->rand, JITTER_MS));
    }
}

static void ask(struct job_sweep *sweep)
{
    struct jobs *jobs = sweep->jobs;
    if (jobs->shard->store == NULL) {
        return;
    }
    sweep->busy = true;
    sweep->step = (struct store_job_sweep){
        .base = {.op = STORE_JOB_SWEEP, .done = on_swept}, .limit = STORE_JOB_SWEEP_MAX};
    jobs->pending++;
    store_submit(jobs->shard->store, &sweep->step.base);
}

static void on_timer(struct timer *timer)
{
    struct job_sweep *sweep = container_of(timer, struct job_sweep, timer);
    jobs_bus_listen(sweep->jobs->bus);
    ask(sweep);
}

struct job_sweep *job_sweep_create(struct jobs *jobs)
{
    struct job_sweep *sweep = mem_alloc(sizeof(*sweep));
    sweep->jobs = jobs;
    sweep->came_ms = sched_now(jobs->shard->sched);
    timer_init(&sweep->timer, on_timer);
    arm(sweep, SWEEP_MS);
    return sweep;
}

void job_sweep_destroy(struct job_sweep *sweep)
{
    if (sweep == NULL) {
        return;
    }
    sweep->over = true;
    if (!sweep->busy) {
        free_sweep(sweep);
    }
}
