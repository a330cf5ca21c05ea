/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who is told: the users of jobs, and who waits for a queue. Order of this file: users, waking a
 * node, telling of a queue, steps.
 *
 * What is told of a queue goes over shard 0, at once the first time, and then once in TELL_MS at
 * most, however much happens in it.
 */
#include "actors/inbox/post.h"
#include "actors/jobs/jobs.h"
#include "actors/jobs/jobs_bus.h"
#include "actors/jobs/jobs_state.h"
#include "actors/shard.h"
#include "actors/webhook_note.h"
#include "codec/base/log.h"
#include "codec/base/mem.h"
#include "codec/json_write.h"

enum { TELL_MS = 5 };

/* --- users --- */

void jobs_tell_user(struct shard *shard, const struct store_job *job, struct bytes stage,
    struct bytes message, uint64_t at)
{
    if (job->user.len == 0) {
        return;
    }
    struct builder args = {0};
    json_write_open(&args, '[');
    json_write_next(&args);
    json_write_open(&args, '{');
    json_write_uuid(&args, "taskId", job->id);
    json_write_u64(&args, "percentage", job->percentage);
    json_write_text(&args, "stage", stage);
    if (message.len > 0) {
        json_write_text(&args, "message", message);
    }
    json_write_time(&args, "timestamp", at);
    json_write_close(&args, '}');
    json_write_close(&args, ']');
    const struct notification_post post = {
        .is_event = true,
        .target = NOTIFICATION_USERS,
        .targets = &job->user,
        .target_count = 1,
        .tenant = job->tenant,
        .event = BYTES("task_progress"),
        .args = builder_bytes(&args),
        .priority = NOTIFICATION_MEDIUM,
    };
    int status = builder_failed(&args) ? builder_status(&args) : post_event(shard, &post);
    if (status != 0) {
        shard_count_unencoded(shard, post.event, WIRE_FORMAT_COUNT, status);
    }
    builder_reset(&args);
}

/* --- waking a node --- */

/* What one shard tells another. */
struct note {
    struct sched *sched; /* the other's */
    size_t tenant;
    size_t queue;
    char text[]; /* both */
};

static struct bytes note_tenant(const struct note *note)
{
    return bytes_of(note->text, note->tenant);
}

static struct bytes note_queue(const struct note *note)
{
    return bytes_of(note->text + note->tenant, note->queue);
}

/* Without memory nobody is woken: who waits asks again by itself (jobs.c). */
static void post_note(struct shard *shard, unsigned to, struct bytes tenant, struct bytes queue,
    void (*fn)(void *arg, bool cancelled))
{
    struct actor_system *system = sched_system(shard->sched);
    struct note *note = mem_try_alloc(sizeof(*note) + tenant.len + queue.len);
    if (note == NULL) {
        if (shard->jobs != NULL) {
            shard->jobs->stats.untold++;
        }
        return;
    }
    note->sched = actor_system_sched(system, to);
    note->tenant = tenant.len;
    note->queue = queue.len;
    memcpy(note->text, tenant.len > 0 ? tenant.at : "", tenant.len);
    memcpy(note->text + tenant.len, queue.len > 0 ? queue.at : "", queue.len);
    sched_post(system, to, fn, note);
}

static void on_wake(void *arg, bool cancelled)
{
    struct note *note = arg;
    const struct shard *shard = cancelled ? NULL : sched_user(note->sched);
    if (shard != NULL && shard->jobs != NULL) {
        shard->jobs->wake(shard->jobs, note_tenant(note), note_queue(note));
    }
    mem_free(note);
}

void jobs_wake_node(struct jobs *jobs, struct bytes tenant, struct bytes queue)
{
    unsigned count = actor_system_shards(sched_system(jobs->shard->sched));
    for (unsigned i = 0; i < count; i++) {
        post_note(jobs->shard, i, tenant, queue, on_wake);
    }
}

/* --- telling of a queue --- */

/* A queue that was told of just now. */
struct job_told {
    struct jobs *jobs;
    struct timer timer;
    bool again; /* there is more to tell */
    size_t tenant;
    size_t len;
    char text[]; /* tenant, '/', queue */
};

static struct bytes told_key(const void *told)
{
    return bytes_of(((const struct job_told *)told)->text, ((const struct job_told *)told)->len);
}

void jobs_init_told(struct jobs *jobs)
{
    map_init(&jobs->told, told_key);
}

static void tell(struct job_told *told)
{
    struct jobs *jobs = told->jobs;
    struct sched *sched = jobs->shard->sched;
    struct bytes tenant = bytes_of(told->text, told->tenant);
    struct bytes queue = bytes_skip(told_key(told), told->tenant + 1);
    told->again = false;
    jobs_wake_node(jobs, tenant, queue);
    jobs_bus_tell(jobs->bus, tenant, queue);
    timer_set(sched_timers(sched), &told->timer, sched_now(sched) + TELL_MS);
}

static void on_told_timer(struct timer *timer)
{
    struct job_told *told = container_of(timer, struct job_told, timer);
    if (told->again) {
        tell(told);
        return;
    }
    (void)map_remove(&told->jobs->told, told_key(told));
    mem_free(told);
}

/* Without memory to remember that. */
static void tell_at_once(struct jobs *jobs, struct bytes tenant, struct bytes queue)
{
    jobs_wake_node(jobs, tenant, queue);
    jobs_bus_tell(jobs->bus, tenant, queue);
}

static void tell_of(struct jobs *jobs, struct bytes tenant, struct bytes queue)
{
    struct job_told *told = mem_try_calloc(1, sizeof(*told) + tenant.len + 1 + queue.len);
    if (told == NULL) {
        tell_at_once(jobs, tenant, queue);
        return;
    }
    told->jobs = jobs;
    told->tenant = tenant.len;
    told->len = tenant.len + 1 + queue.len;
    memcpy(told->text, tenant.len > 0 ? tenant.at : "", tenant.len);
    told->text[tenant.len] = '/';
    memcpy(told->text + tenant.len + 1, queue.at, queue.len);
    struct job_told *known = map_get(&jobs->told, told_key(told));
    if (known != NULL) {
        known->again = true;
        mem_free(told);
        return;
    }
    timer_init(&told->timer, on_told_timer);
    if (map_put(&jobs->told, told)) {
        tell(told);
        return;
    }
    mem_free(told);
    tell_at_once(jobs, tenant, queue);
}

void jobs_end_told(struct jobs *jobs)
{
    size_t cursor = 0;
    for (struct job_told *told; (told = map_next(&jobs->told, &cursor)) != NULL;) {
        timer_cancel(sched_timers(jobs->shard->sched), &told->timer);
        mem_free(told);
    }
    map_finish(&jobs->told);
}

static void on_ready(void *arg, bool cancelled)
{
    struct note *note = arg;
    const struct shard *shard = cancelled ? NULL : sched_user(note->sched);
    if (shard != NULL && shard->jobs != NULL && !shard->jobs->closing) {
        tell_of(shard->jobs, note_tenant(note), note_queue(note));
    }
    mem_free(note);
}

void jobs_ready(struct shard *shard, struct bytes tenant, struct bytes queue)
{
    post_note(shard, 0, tenant, queue, on_ready);
}

/* --- steps --- */

static void log_end(struct shard *shard, const struct store_job *job)
{
    char id[UUID_TEXT_LEN + 1] = "";
    unsigned suppressed;
    uuid_format(job->id, id);
    if (log_allow(&shard->jobs->failed_log, &suppressed)) {
        log_warn("JOB-FAILED", "a job has failed for good",
            "queue=%s type=%s id=%s attempt=%u state=%s error=%s suppressed=%u",
            log_quote(job->queue), log_quote(job->type), id, job->attempt,
            job->state == JOB_DEAD ? "dead" : "failed", log_quote(job->error), suppressed);
    }
}

static void count_failure(struct shard *shard, const struct store_job *job, uint64_t now)
{
    struct jobs_stats *stats = &shard->jobs->stats;
    stats->failed++;
    if (job->state == JOB_WAITING || job->state == JOB_DELAYED) {
        stats->retries++;
        return;
    }
    stats->dead += job->state == JOB_DEAD;
    log_end(shard, job);
    if (job->state == JOB_DEAD) {
        webhook_note_job(shard, job);
    }
    jobs_tell_user(shard, job, BYTES("failed"), job->error, now);
}

void jobs_stepped(struct shard *shard, const struct store_job_step *step)
{
    uint64_t now = sched_wall(shard->sched);
    const struct store_job *job = &step->job;
    if (step->outcome != JOB_DONE || shard->jobs == NULL) {
        return;
    }
    if (step->verb == JOB_PROGRESS) {
        jobs_tell_user(shard, job, job->stage, job->message, now);
        return;
    }
    if (step->verb == JOB_COMPLETE) {
        shard->jobs->stats.completed++;
        jobs_tell_user(shard, job, job->stage, bytes_of(NULL, 0), now);
    } else if (step->verb == JOB_FAIL) {
        count_failure(shard, job, now);
    }
    jobs_ready(shard, job->tenant, job->queue);
}
