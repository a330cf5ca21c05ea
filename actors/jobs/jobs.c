/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Lines of workers that wait. Order of this file: lines, asking, what was leased for nobody, polls,
 * life.
 */
#include "actors/jobs/jobs.h"

#include "actors/jobs/jobs_state.h"
#include "actors/shard.h"
#include "codec/base/buf.h"
#include "codec/base/mem.h"
#include "codec/base/rand.h"
#include "codec/base/status.h"
#include "codec/slot.h"
#include "sql/store.h"

enum {
    RECHECK_MS = 5000, /* what was announced may be lost */
    RECHECK_JITTER_MS = 1000,
};

/* Workers that ask for the same queues of a tenant. */
struct job_line {
    struct jobs *jobs;
    struct buf *key; /* tenant, and queues as they were named */
    struct list polls; /* job_poll.link, the first one first */
    struct job_poll *asking; /* the one whose question is under way */
    bool ready; /* there may be something */
    struct timer timer; /* when there may be next */
};

/* --- lines --- */

static struct bytes line_key(const void *line)
{
    return buf_bytes(((const struct job_line *)line)->key);
}

void jobs_init_lines(struct jobs *jobs)
{
    map_init(&jobs->lines, line_key);
}

static void write_key(const struct store_job_lease *lease, struct builder *out)
{
    builder_add(out, lease->tenant);
    for (size_t i = 0; i < lease->rule_count; i++) {
        builder_byte(out, '/');
        builder_add(out, lease->rules[i].queue);
    }
}

static void free_line(struct job_line *line)
{
    timer_cancel(sched_timers(line->jobs->shard->sched), &line->timer);
    (void)map_remove(&line->jobs->lines, line_key(line));
    buf_unref(line->key);
    mem_free(line);
}

static void pump(struct job_line *line);

static void on_line_timer(struct timer *timer)
{
    struct job_line *line = container_of(timer, struct job_line, timer);
    line->ready = true;
    pump(line);
}

/* NULL: no memory. */
static struct job_line *line_of(struct jobs *jobs, const struct store_job_lease *lease)
{
    struct builder key = {0};
    write_key(lease, &key);
    struct job_line *line =
        builder_failed(&key) ? NULL : map_get(&jobs->lines, builder_bytes(&key));
    if (line != NULL || builder_failed(&key)) {
        builder_reset(&key);
        return line;
    }
    line = mem_try_calloc(1, sizeof(*line));
    struct buf *name = builder_finish(&key);
    if (line == NULL || name == NULL) {
        mem_free(line);
        buf_unref(name);
        return NULL;
    }
    line->jobs = jobs;
    line->key = name;
    list_init(&line->polls);
    timer_init(&line->timer, on_line_timer);
    if (!map_put(&jobs->lines, line)) {
        buf_unref(line->key);
        mem_free(line);
        return NULL;
    }
    return line;
}

/* Whether the line's key, behind its tenant, names the queue. */
static bool is_for(const struct job_line *line, struct bytes tenant, struct bytes queue)
{
    struct bytes key = line_key(line);
    if (!bytes_starts(key, tenant) || key.len <= tenant.len || key.at[tenant.len] != '/') {
        return false;
    }
    struct bytes rest = bytes_skip(key, tenant.len + 1);
    while (true) {
        const char *slash = memchr(rest.at, '/', rest.len);
        size_t len = slash != NULL ? (size_t)(slash - rest.at) : rest.len;
        if (queue.len == 0 || bytes_eq(bytes_of(rest.at, len), queue)) {
            return true;
        }
        if (slash == NULL) {
            return false;
        }
        rest = bytes_skip(rest, len + 1);
    }
}

/* --- what was leased for nobody --- */

/* A job that is given back. */
struct return_step {
    struct store_job_step step;
    struct jobs *jobs;
    struct buf *tenant;
};

static void on_returned(struct store_request *request)
{
    struct return_step *given = container_of(request, struct return_step, step.base);
    if (request->status == 0 && given->step.outcome == JOB_DONE) {
        given->jobs->stats.released++;
        jobs_ready(given->jobs->shard, given->step.job.tenant, given->step.job.queue);
    }
    given->jobs->pending--;
    store_request_finish(request);
    buf_unref(given->tenant);
    mem_free(given);
}

/* Without memory, or a store that answers, its lease ends by itself. */
static void give_back(struct jobs *jobs, const struct store_job_lease *lease)
{
    for (size_t i = 0; i < lease->count && jobs->shard->store != NULL; i++) {
        struct return_step *given = mem_try_calloc(1, sizeof(*given));
        struct buf *tenant = buf_new(lease->tenant);
        if (given == NULL || tenant == NULL) {
            mem_free(given);
            buf_unref(tenant);
            return;
        }
        given->jobs = jobs;
        given->tenant = tenant;
        given->step = (struct store_job_step){
            .base = {.op = STORE_JOB_STEP, .done = on_returned},
            .verb = JOB_RELEASE,
            .tenant = buf_bytes(tenant),
        };
        memcpy(given->step.id, lease->jobs[i].id, sizeof(given->step.id));
        memcpy(given->step.lease, lease->lease, sizeof(given->step.lease));
        jobs->pending++;
        store_submit(jobs->shard->store, &given->step.base);
    }
}

/* --- asking --- */

static void finish(struct job_poll *poll, int status)
{
    struct jobs *jobs = poll->line->jobs;
    timer_cancel(sched_timers(jobs->shard->sched), &poll->timer);
    list_remove(&poll->link);
    poll->line = NULL;
    jobs->stats.waiting--;
    poll->done(poll, status);
}

static bool is_over(const struct job_poll *poll)
{
    return sched_now(poll->line->jobs->shard->sched) >= poll->until_ms;
}

/* When there may be something next; a while later in any case. */
static void arm(struct job_line *line, const struct store_job_lease *lease)
{
    struct sched *sched = line->jobs->shard->sched;
    uint64_t wait = RECHECK_MS + rand_below(&line->jobs->shard->rand, RECHECK_JITTER_MS);
    if (lease->next_at > lease->now && lease->next_at - lease->now < wait) {
        wait = lease->next_at - lease->now;
    }
    timer_set(sched_timers(sched), &line->timer, sched_now(sched) + wait);
}

/* Those that do not wait any longer have the same answer as who has asked: there are none. */
static void finish_over(struct job_line *line)
{
    for (struct list *link = line->polls.next; link != &line->polls;) {
        struct job_poll *poll = container_of(link, struct job_poll, link);
        link = link->next;
        if (poll != line->asking && is_over(poll)) {
            finish(poll, 0);
        }
    }
}

static void on_leased(struct store_request *request)
{
    struct job_poll *poll = container_of(request, struct job_poll, lease.base);
    struct job_line *line = poll->line;
    struct jobs *jobs = line->jobs;
    jobs->pending--;
    line->asking = NULL;
    int status = request->status;
    bool none = status == 0 && poll->lease.count == 0;
    jobs->stats.leased += poll->lease.count;
    if (status == 0 && poll->lease.count > 0) {
        line->ready = true; /* there may be more */
    } else {
        arm(line, &poll->lease);
    }
    if (poll->cancelled) {
        give_back(jobs, &poll->lease);
        finish(poll, STATUS_CANCELLED);
    } else if (status != 0 || poll->lease.count > 0 || is_over(poll) || jobs->closing) {
        finish(poll, status);
    } else {
        store_request_finish(request);
    }
    if (none) {
        finish_over(line);
    }
    pump(line);
}

/* The first of the line asks, where there may be something and nobody asks; frees it when nobody
 * waits. */
static void pump(struct job_line *line)
{
    struct jobs *jobs = line->jobs;
    if (line->asking != NULL) {
        return;
    }
    if (list_empty(&line->polls)) {
        free_line(line);
        return;
    }
    if (!line->ready || jobs->shard->store == NULL) {
        return;
    }
    line->ready = false;
    struct job_poll *poll = container_of(line->polls.next, struct job_poll, link);
    line->asking = poll;
    poll->lease.base = (struct store_request){.op = STORE_JOB_LEASE, .done = on_leased};
    uuid7_make(sched_wall(jobs->shard->sched), SLOT_NONE, poll->lease.lease);
    jobs->pending++;
    store_submit(jobs->shard->store, &poll->lease.base);
}

/* --- polls --- */

/* It has waited long enough; one whose question is under way ends with that. */
static void on_over(struct timer *timer)
{
    struct job_poll *poll = container_of(timer, struct job_poll, timer);
    struct job_line *line = poll->line;
    if (line->asking != poll) {
        finish(poll, 0);
        pump(line);
    }
}

/* There is no line for it, or no place to wait: it has its answer in a later turn. */
static void on_refused(struct timer *timer)
{
    struct job_poll *poll = container_of(timer, struct job_poll, timer);
    poll->done(poll, poll->line == NULL ? STATUS_UNAVAILABLE : 0);
}

void job_poll_begin(struct jobs *jobs, struct job_poll *poll)
{
    struct sched *sched = jobs->shard->sched;
    poll->cancelled = false;
    poll->lease.jobs = NULL;
    poll->lease.count = 0;
    list_init(&poll->link);
    poll->line = jobs->closing ? NULL : line_of(jobs, &poll->lease);
    if (poll->line == NULL) {
        timer_init(&poll->timer, on_refused);
        timer_set(sched_timers(sched), &poll->timer, 0);
        return;
    }
    timer_init(&poll->timer, on_over);
    if (jobs->stats.waiting >= poll->most) {
        jobs->stats.refused++;
        poll->until_ms = 0; /* it asks once */
    }
    jobs->stats.waiting++;
    list_append(&poll->line->polls, &poll->link);
    poll->line->ready = true;
    if (poll->until_ms > sched_now(sched)) {
        timer_set(sched_timers(sched), &poll->timer, poll->until_ms);
    }
    pump(poll->line);
}

bool job_poll_cancel(struct jobs *jobs, struct job_poll *poll)
{
    struct job_line *line = poll->line;
    timer_cancel(sched_timers(jobs->shard->sched), &poll->timer);
    if (line == NULL) {
        return true;
    }
    if (line->asking == poll) {
        poll->cancelled = true;
        return false;
    }
    list_remove(&poll->link);
    poll->line = NULL;
    jobs->stats.waiting--;
    pump(line);
    return true;
}

void jobs_wake(struct jobs *jobs, struct bytes tenant, struct bytes queue)
{
    size_t cursor = 0;
    for (struct job_line *line; (line = map_next(&jobs->lines, &cursor)) != NULL;) {
        if ((tenant.len == 0 && queue.len == 0) || is_for(line, tenant, queue)) {
            line->ready = true;
            pump(line); /* somebody waits in it, so it stays */
        }
    }
}

/* --- life --- */

/* Tell all that wait that there is nothing; those that ask end with their answer. */
void jobs_end_lines(struct jobs *jobs)
{
    for (size_t cursor = 0; map_count(&jobs->lines) > 0; cursor = 0) {
        struct job_line *line = map_next(&jobs->lines, &cursor);
        while (line != NULL && line->asking != NULL) {
            line = map_next(&jobs->lines, &cursor);
        }
        if (line == NULL) {
            return;
        }
        while (!list_empty(&line->polls)) {
            finish(container_of(line->polls.next, struct job_poll, link), 0);
        }
        free_line(line);
    }
}
