/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Loops on threads: timers, tasks, turns, starts that fail, and waking each other.
 */
#include <criterion/criterion.h>
#include <unistd.h>

#include "actors/assembly/shard_floors.h"
#include "codec/base/status.h"
#include "tests/support/net_rig.h"

TestSuite(loop, .timeout = 60);

struct work {
    struct rig *rig;
    struct timer timer;
    struct loop_task task;
    unsigned fired;
    unsigned ran;
    uint64_t turn_deferred;
    uint64_t turn_ran;
    uint64_t due;
    uint64_t fired_at;
};

static void on_due(struct timer *timer)
{
    struct work *work = container_of(timer, struct work, timer);
    work->fired++;
    work->fired_at = sched_now(work->rig->shards[0].sched);
}

static void on_task(struct loop_task *task)
{
    struct work *work = container_of(task, struct work, task);
    work->turn_ran = loop_turn(work->rig->loops[0]);
    if (++work->ran < 3) {
        loop_defer(work->rig->loops[0], task);
        loop_defer(work->rig->loops[0], task);
    }
}

static void arm(void *arg)
{
    struct work *work = arg;
    timer_init(&work->timer, on_due);
    work->due = sched_now(work->rig->shards[0].sched) + 30;
    timer_set(sched_timers(work->rig->shards[0].sched), &work->timer, work->due);
    loop_task_init(&work->task, on_task);
    work->turn_deferred = loop_turn(work->rig->loops[0]);
    loop_defer(work->rig->loops[0], &work->task);
}

static bool has_fired(void *arg)
{
    struct work *work = arg;
    return work->fired == 1 && work->ran == 3;
}

Test(loop, timers_and_tasks_run_in_their_turn)
{
    static struct rig rig;
    rig_start(&rig, 2, NULL, NULL);
    struct work work = {.rig = &rig};
    cr_expect_eq(loop_of(&rig.shards[1]), rig.loops[1]);
    cr_expect_eq(loop_shard(rig.loops[1]), &rig.shards[1]);
    rig_call(&rig, 0, arm, &work);
    cr_expect(rig_wait(&rig, 0, has_fired, &work));
    cr_expect_geq(work.fired_at, work.due, "never early");
    cr_expect_gt(work.turn_ran, work.turn_deferred, "not in the turn that deferred it");
    rig_stop(&rig);
}

static void read_turn(void *arg)
{
    struct work *work = arg;
    work->turn_ran = loop_turn(work->rig->loops[0]);
}

Test(loop, a_loop_with_nothing_to_do_does_not_turn)
{
    static struct rig rig;
    rig_start(&rig, 1, NULL, NULL);
    struct work work = {.rig = &rig};
    rig_call(&rig, 0, read_turn, &work);
    uint64_t before = work.turn_ran;
    usleep(300000);
    rig_call(&rig, 0, read_turn, &work);
    cr_expect_leq(work.turn_ran - before, 8, "%lu turns", (unsigned long)(work.turn_ran - before));
    rig_stop(&rig);
}

static int refuse_start(struct loop *loop, void *context)
{
    return STATUS_DENIED;
}

static void must_not_stop(struct loop *loop, void *context)
{
    *(bool *)context = true;
}

Test(loop, a_failed_start_is_returned_and_can_be_destroyed)
{
    bool stopped = false;
    struct actor_system *system = actor_system_create(1);
    struct actor_config actors = {0};
    struct shard shard;
    shard_init(&shard, actor_system_sched(system, 0), &actors);
    struct loop *loop;
    struct loop_config config = {.system = system,
        .shard = &shard,
        .on_start = refuse_start,
        .on_stop = must_not_stop,
        .context = &stopped};
    cr_assert_eq(loop_create(&config, &loop), 0);
    cr_expect_eq(loop_start(loop), STATUS_DENIED);
    loop_join(loop);
    loop_destroy(loop);
    cr_expect_not(stopped);
    actor_system_destroy(system);
    shard_finish(&shard);
}

struct ball {
    struct rig *rig;
    unsigned shard;
    unsigned left;
};

static void throw_ball(void *arg, bool cancelled)
{
    struct ball *ball = arg;
    if (cancelled || ball->left == 0) {
        return;
    }
    ball->left--;
    ball->shard = !ball->shard;
    sched_post(ball->rig->system, ball->shard, throw_ball, ball);
}

static bool has_landed(void *arg)
{
    return ((struct ball *)arg)->left == 0;
}

Test(loop, loops_wake_each_other_and_stop_in_between)
{
    static struct rig rig;
    rig_start(&rig, 2, NULL, NULL);
    struct ball ball = {.rig = &rig, .left = 2000};
    sched_post(rig.system, 0, throw_ball, &ball);
    cr_expect(rig_wait(&rig, 0, has_landed, &ball));
    struct ball late = {.rig = &rig, .left = 1000000};
    sched_post(rig.system, 0, throw_ball, &late);
    rig_stop(&rig);
}
