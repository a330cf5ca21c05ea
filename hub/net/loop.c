/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A libuv loop on a thread of its own, and what one turn of it does for its shard.
 *
 * Invariants: the wake handle keeps the loop alive until it stops and is closed by loop_destroy
 * only, so that other threads may always send to it; all other handles of this file are
 * unreferenced, so that a stopped loop ends when those of connections and listeners are closed.
 * The idle handle is active exactly while there is something to do at once: it keeps the loop from
 * blocking.
 */
#include "hub/net/loop.h"

#include <string.h>

#include "actors/assembly/shard_floors.h"
#include "actors/shard.h"
#include "codec/base/clock.h"
#include "codec/base/mem.h"
#include "codec/base/status.h"

enum { TURN_BUDGET = 1024 }; /* messages handled before the kernel is asked again */

struct loop {
    uv_loop_t uv;
    uv_async_t wake;
    uv_prepare_t prepare;
    uv_check_t check;
    uv_idle_t idle;
    uv_timer_t timer; /* armed for the wheel's next deadline */
    uv_thread_t thread;
    uv_sem_t started;
    struct loop_config config;
    struct sched *sched;
    struct list tasks;
    struct loop_local *locals[LOOP_SLOT_COUNT];
    uint64_t turn;
    uint64_t armed_ms; /* what `timer` is set to; UINT64_MAX: stopped */
    int start_status;
    bool running; /* the thread exists */
    bool stopping;
};

/* --- a turn --- */

void loop_begin(struct loop *loop)
{
    uint64_t now = uv_now(&loop->uv);
    if (now != sched_now(loop->sched)) {
        sched_set_time(loop->sched, now, clock_wall_ms());
    }
    sched_take_in(loop->sched);
}

/* The prepare phase that follows does the work. */
static void on_timer(uv_timer_t *timer)
{
    container_of(timer, struct loop, timer)->armed_ms = UINT64_MAX;
}

/* Being active is all its work. */
static void on_idle(uv_idle_t *idle)
{
}

static void arm_timer(struct loop *loop)
{
    uint64_t next = timer_wheel_next(sched_timers(loop->sched));
    if (next == loop->armed_ms) {
        return;
    }
    loop->armed_ms = next;
    if (next == UINT64_MAX) {
        uv_timer_stop(&loop->timer);
        return;
    }
    uint64_t now = uv_now(&loop->uv);
    CHECK(uv_timer_start(&loop->timer, on_timer, next > now ? next - now : 0, 0) == 0);
}

static void stay_awake(struct loop *loop, bool awake)
{
    if (awake == (bool)uv_is_active((uv_handle_t *)&loop->idle)) {
        return;
    }
    if (awake) {
        uv_idle_start(&loop->idle, on_idle);
    } else {
        uv_idle_stop(&loop->idle);
    }
}

static void tell_turn(struct loop *loop)
{
    if (loop->config.on_turn != NULL) {
        loop->config.on_turn(loop->config.context);
    }
}

static void run_turn(struct loop *loop)
{
    struct shard *shard = loop->config.shard;
    loop_begin(loop);
    timer_wheel_advance(sched_timers(loop->sched), sched_now(loop->sched));
    bool more = sched_run(loop->sched, TURN_BUDGET);
    tell_turn(loop);
    sched_flush(loop->sched); /* before anybody outside can be answered: see loop_begin */
    shard_flush(shard);
    sched_flush(loop->sched);
    loop->turn++;
    arm_timer(loop);
    stay_awake(loop, more || !list_empty(&shard->dirty_outboxes) || !list_empty(&loop->tasks));
}

static void run_tasks(struct loop *loop)
{
    struct list due;
    list_init(&due);
    list_splice(&due, &loop->tasks);
    struct list *link;
    while ((link = list_pop(&due)) != NULL) {
        struct loop_task *task = container_of(link, struct loop_task, link);
        task->fn(task);
    }
}

static void on_prepare(uv_prepare_t *prepare)
{
    struct loop *loop = container_of(prepare, struct loop, prepare);
    loop_begin(loop);
    run_tasks(loop);
    run_turn(loop);
    tell_turn(loop);
}

static void on_check(uv_check_t *check)
{
    run_turn(container_of(check, struct loop, check));
}

/* Waking up is all its work: the check phase drains the inbox. */
static void on_wake(uv_async_t *wake)
{
}

static void wake_loop(void *context)
{
    struct loop *loop = context;
    CHECK(uv_async_send(&loop->wake) == 0);
}

/* --- life --- */

int loop_create(const struct loop_config *config, struct loop **ret_loop)
{
    struct loop *loop = mem_alloc(sizeof(*loop));
    loop->config = *config;
    loop->sched = actor_system_sched(config->system, config->index);
    loop->armed_ms = UINT64_MAX;
    list_init(&loop->tasks);
    if (uv_loop_init(&loop->uv) != 0) {
        mem_free(loop);
        return STATUS_IO;
    }
    loop->uv.data = loop;
    if (uv_async_init(&loop->uv, &loop->wake, on_wake) != 0) {
        CHECK(uv_loop_close(&loop->uv) == 0);
        mem_free(loop);
        return STATUS_IO;
    }
    CHECK(uv_sem_init(&loop->started, 0) == 0);
    uv_prepare_init(&loop->uv, &loop->prepare);
    uv_check_init(&loop->uv, &loop->check);
    uv_idle_init(&loop->uv, &loop->idle);
    uv_timer_init(&loop->uv, &loop->timer);
    uv_prepare_start(&loop->prepare, on_prepare);
    uv_check_start(&loop->check, on_check);
    uv_unref((uv_handle_t *)&loop->prepare);
    uv_unref((uv_handle_t *)&loop->check);
    uv_unref((uv_handle_t *)&loop->idle);
    uv_unref((uv_handle_t *)&loop->timer);
    config->shard->loop = loop;
    sched_bind(loop->sched, wake_loop, loop, config->shard);
    *ret_loop = loop;
    return 0;
}

static void stop_here(struct loop *loop)
{
    if (loop->stopping) {
        return;
    }
    loop->stopping = true;
    if (loop->config.on_stop != NULL && (loop->start_status == 0 || loop->config.lasting)) {
        loop->config.on_stop(loop, loop->config.context);
    }
    for (unsigned slot = 0; slot < LOOP_SLOT_COUNT; slot++) {
        if (loop->locals[slot] != NULL && loop->locals[slot]->stop != NULL) {
            loop->locals[slot]->stop(loop->locals[slot]);
        }
    }
    if (!loop->config.lasting) {
        uv_unref((uv_handle_t *)&loop->wake);
    }
}

static void free_locals(struct loop *loop)
{
    for (unsigned slot = 0; slot < LOOP_SLOT_COUNT; slot++) {
        if (loop->locals[slot] != NULL) {
            loop->locals[slot]->destroy(loop->locals[slot]);
            loop->locals[slot] = NULL;
        }
    }
}

static void run_thread(void *context)
{
    struct loop *loop = context;
    uv_update_time(&loop->uv);
    loop_begin(loop);
    timer_wheel_advance(sched_timers(loop->sched), sched_now(loop->sched));
    if (loop->config.on_start != NULL) {
        loop->start_status = loop->config.on_start(loop, loop->config.context);
    }
    bool runs = loop->start_status == 0 || loop->config.lasting;
    if (runs) {
        uv_sem_post(&loop->started);
    } else {
        stop_here(loop);
    }
    uv_run(&loop->uv, UV_RUN_DEFAULT);
    free_locals(loop);
    if (!runs) {
        uv_sem_post(&loop->started);
    }
    if (loop->config.on_end != NULL) {
        loop->config.on_end(loop->config.context);
    }
}

int loop_start(struct loop *loop)
{
    CHECK(!loop->running);
    if (uv_thread_create(&loop->thread, run_thread, loop) != 0) {
        return STATUS_IO;
    }
    loop->running = true;
    uv_sem_wait(&loop->started);
    if (loop->start_status != 0 && !loop->config.lasting) {
        loop_join(loop);
    }
    return loop->start_status;
}

static void stop_posted(void *context, bool cancelled)
{
    if (!cancelled) {
        stop_here(context);
    }
}

void loop_stop(struct loop *loop)
{
    sched_post(loop->config.system, loop->config.index, stop_posted, loop);
}

static void end_posted(void *context, bool cancelled)
{
    struct loop *loop = context;
    if (!cancelled) {
        uv_unref((uv_handle_t *)&loop->wake);
    }
}

void loop_end(struct loop *loop)
{
    sched_post(loop->config.system, loop->config.index, end_posted, loop);
}

void loop_join(struct loop *loop)
{
    if (loop->running) {
        uv_thread_join(&loop->thread);
        loop->running = false;
    }
}

void loop_destroy(struct loop *loop)
{
    if (loop == NULL) {
        return;
    }
    CHECK(!loop->running);
    uv_close((uv_handle_t *)&loop->wake, NULL);
    uv_close((uv_handle_t *)&loop->prepare, NULL);
    uv_close((uv_handle_t *)&loop->check, NULL);
    uv_close((uv_handle_t *)&loop->idle, NULL);
    uv_close((uv_handle_t *)&loop->timer, NULL);
    uv_run(&loop->uv, UV_RUN_DEFAULT);
    CHECK(uv_loop_close(&loop->uv) == 0);
    uv_sem_destroy(&loop->started);
    mem_free(loop);
}

/* --- access --- */

struct uv_loop_s *loop_uv(struct loop *loop)
{
    return &loop->uv;
}

struct shard *loop_shard(struct loop *loop)
{
    return loop->config.shard;
}

struct loop *loop_of(struct shard *shard)
{
    return shard->loop;
}

uint64_t loop_turn(const struct loop *loop)
{
    return loop->turn;
}

void loop_task_init(struct loop_task *task, void (*fn)(struct loop_task *task))
{
    task->fn = fn;
    list_init(&task->link);
}

void loop_defer(struct loop *loop, struct loop_task *task)
{
    if (list_empty(&task->link)) {
        list_append(&loop->tasks, &task->link);
        stay_awake(loop, true);
    }
}

void loop_task_cancel(struct loop_task *task)
{
    list_remove(&task->link);
}

void loop_set_local(struct loop *loop, enum loop_slot slot, struct loop_local *local)
{
    loop->locals[slot] = local;
}

struct loop_local *loop_get_local(const struct loop *loop, enum loop_slot slot)
{
    return loop->locals[slot];
}
