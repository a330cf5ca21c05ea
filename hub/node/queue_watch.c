/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Asks, and keeps what was answered. The names are those of the node's start: a queue that is
 * loaded later is shown from the next start on.
 */
#include "hub/node/queue_watch.h"

#include <stdio.h>

#include "codec/base/mem.h"
#include "hub/config/config.h"
#include "hub/node/node.h"
#include "sql/store.h"

enum { FIRST_MS = 1000, EVERY_MS = 15000 };

struct queue_watch {
    struct hub_shard *shard;
    struct timer timer;
    struct bytes names[STORE_JOB_QUEUES_MAX];
    struct store_queues request;
    bool busy;
};

static void arm(struct queue_watch *watch, uint64_t wait)
{
    struct sched *sched = watch->shard->shard.sched;
    timer_set(sched_timers(sched), &watch->timer, sched_now(sched) + wait);
}

static void keep(struct queue_watch *watch)
{
    struct queue_gauges *gauges = &watch->shard->hub->queues;
    for (size_t i = 0; i < watch->request.name_count; i++) {
        const struct store_queue *queue = &watch->request.queues[i];
        struct queue_gauge *gauge = &gauges->of[i];
        atomic_store_explicit(&gauge->waiting, queue->counts[JOB_WAITING], memory_order_relaxed);
        atomic_store_explicit(&gauge->active, queue->counts[JOB_ACTIVE], memory_order_relaxed);
        atomic_store_explicit(&gauge->dead, queue->counts[JOB_DEAD], memory_order_relaxed);
        atomic_store_explicit(&gauge->waiting_ms, queue->waiting_ms, memory_order_relaxed);
    }
    atomic_store_explicit(
        &gauges->count, (unsigned)watch->request.name_count, memory_order_release);
}

static void on_counted(struct store_request *request)
{
    struct queue_watch *watch = container_of(request, struct queue_watch, request.base);
    watch->busy = false;
    if (request->status == 0) {
        keep(watch);
    }
    store_request_finish(request);
    if (watch->shard->queue_watch == NULL) {
        watch->shard->queues_ending = false;
        mem_free(watch);
    } else {
        arm(watch, EVERY_MS);
    }
}

static void on_timer(struct timer *timer)
{
    struct queue_watch *watch = container_of(timer, struct queue_watch, timer);
    if (watch->shard->shard.store == NULL) {
        return;
    }
    watch->busy = true;
    watch->request.base = (struct store_request){.op = STORE_QUEUES, .done = on_counted};
    store_submit(watch->shard->shard.store, &watch->request.base);
}

void queue_watch_start(struct hub_shard *shard)
{
    const struct config *config = shard->hub->config;
    struct queue_watch *watch = mem_alloc(sizeof(*watch));
    watch->shard = shard;
    for (size_t i = 0; i < config->queue_count; i++) {
        struct queue_gauge *gauge = &shard->hub->queues.of[i];
        (void)snprintf(gauge->name, sizeof(gauge->name), "%s", config->queues[i].name);
        watch->names[i] = bytes_str(gauge->name);
    }
    watch->request.names = watch->names;
    watch->request.name_count = config->queue_count;
    watch->request.all_tenants = config->auth_tenants;
    timer_init(&watch->timer, on_timer);
    shard->queue_watch = watch;
    arm(watch, FIRST_MS);
}

void queue_watch_stop(struct hub_shard *shard)
{
    struct queue_watch *watch = shard->queue_watch;
    if (watch == NULL) {
        return;
    }
    shard->queue_watch = NULL;
    timer_cancel(sched_timers(shard->shard.sched), &watch->timer);
    shard->queues_ending = watch->busy;
    if (!watch->busy) {
        mem_free(watch);
    }
}

uint64_t queue_watch_pending(const struct hub_shard *shard)
{
    return shard->queues_ending;
}
