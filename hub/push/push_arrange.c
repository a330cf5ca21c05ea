/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asks the store for one step after the other, and begins the next pass a fifth of a second later:
 * so long what was read elsewhere stays on a lock screen. Later where a pass takes long, so that it
 * is at work a fifth of the time at most.
 */
#include "hub/push/push_arrange.h"

#include "actors/jobs/jobs.h"
#include "actors/shard.h"
#include "codec/base/buf.h"
#include "codec/base/rand.h"
#include "codec/base/status.h"
#include "sql/store.h"

enum { EVERY_MS = 200, AGAIN_MS = 100, JITTER_MS = 40, REST = 4 };

static void ask(struct push_arranger *arranger);

static void arm(struct push_arranger *arranger, uint64_t wait_ms)
{
    struct sched *sched = arranger->shard->sched;
    uint64_t jitter = rand_below(&arranger->shard->rand, JITTER_MS);
    timer_set(sched_timers(sched), &arranger->timer, sched_now(sched) + wait_ms + jitter);
}

/* The next step begins behind what the last one has looked at. */
static void keep_place(struct push_arranger *arranger)
{
    const struct store_push_place *next = &arranger->step.next;
    struct buf *tenant = buf_new_name(next->tenant);
    struct buf *user = buf_new_name(next->user);
    buf_unref(arranger->tenant);
    buf_unref(arranger->user);
    arranger->tenant = tenant;
    arranger->user = user;
    arranger->step.from = (struct store_push_place){.changed_at = next->changed_at,
        .slot = next->slot,
        .tenant = buf_bytes(tenant),
        .user = buf_bytes(user)};
}

static void end_pass(struct push_arranger *arranger)
{
    uint64_t took = sched_now(arranger->shard->sched) - arranger->began_ms;
    bool held = arranger->held > 0;
    arranger->low = held && arranger->held < arranger->begin ? arranger->held : arranger->begin;
    arm(arranger, held ? AGAIN_MS : REST * took > EVERY_MS ? REST * took : EVERY_MS);
}

static void take_step(struct push_arranger *arranger)
{
    const struct store_push_arrange *step = &arranger->step;
    arranger->arranged += step->jobs + step->clears;
    arranger->came_ms = sched_now(arranger->shard->sched);
    arranger->late_ms = 0;
    if (arranger->first) {
        arranger->begin = step->begin;
        arranger->held = 0;
    }
    if (step->held_at > 0 && (arranger->held == 0 || step->held_at < arranger->held)) {
        arranger->held = step->held_at;
    }
    if (step->jobs + step->clears > 0) {
        jobs_ready(arranger->shard, bytes_of(NULL, 0), BYTES(STORE_PUSH_QUEUE));
    }
}

static void note_failure(struct push_arranger *arranger, int status)
{
    unsigned suppressed;
    arranger->failures++;
    arranger->late_ms = sched_now(arranger->shard->sched) - arranger->came_ms;
    if (log_allow(&arranger->log, &suppressed)) {
        log_warn("PUSH-ARRANGE", "what is to be pushed could not be looked for, trying again",
            "error=%s late_ms=%llu suppressed=%u", status_name(status),
            (unsigned long long)arranger->late_ms, suppressed);
    }
}

static void on_step(struct store_request *request)
{
    struct push_arranger *arranger = container_of(request, struct push_arranger, step.base);
    int status = request->status;
    bool more = status == 0 && arranger->step.more;
    arranger->busy = false;
    if (status == 0) {
        take_step(arranger);
    }
    if (more) {
        keep_place(arranger);
    }
    store_request_finish(request);
    if (arranger->closed) {
        return;
    }
    if (status != 0) {
        note_failure(arranger, status);
        arm(arranger, EVERY_MS);
    } else if (more && arranger->wanted) {
        arranger->first = false;
        ask(arranger);
    } else if (more) {
        arm(arranger, EVERY_MS);
    } else {
        end_pass(arranger);
    }
}

static void ask(struct push_arranger *arranger)
{
    struct shard *shard = arranger->shard;
    if (shard->store == NULL) {
        return;
    }
    arranger->busy = true;
    arranger->step.base = (struct store_request){.op = STORE_PUSH_ARRANGE, .done = on_step};
    arranger->step.after_ms = arranger->after_ms;
    store_submit(shard->store, &arranger->step.base);
}

static void on_timer(struct timer *timer)
{
    struct push_arranger *arranger = container_of(timer, struct push_arranger, timer);
    if (!arranger->wanted) {
        arranger->came_ms = sched_now(arranger->shard->sched);
        arm(arranger, EVERY_MS);
        return;
    }
    arranger->began_ms = sched_now(arranger->shard->sched);
    arranger->first = true;
    arranger->step.from = (struct store_push_place){.changed_at = arranger->low};
    ask(arranger);
}

void push_arranger_start(struct push_arranger *arranger, struct shard *shard)
{
    arranger->shard = shard;
    arranger->came_ms = sched_now(shard->sched);
    timer_init(&arranger->timer, on_timer);
    arm(arranger, AGAIN_MS);
}

void push_arranger_set(struct push_arranger *arranger, bool wanted, uint64_t after_ms)
{
    arranger->wanted = wanted;
    arranger->after_ms = after_ms;
}

void push_arranger_stop(struct push_arranger *arranger)
{
    if (arranger->shard != NULL && !arranger->closed) {
        arranger->closed = true;
        timer_cancel(sched_timers(arranger->shard->sched), &arranger->timer);
    }
}

bool push_arranger_is_busy(const struct push_arranger *arranger)
{
    return arranger->busy;
}

void push_arranger_finish(struct push_arranger *arranger)
{
    buf_unref(arranger->tenant);
    buf_unref(arranger->user);
}
