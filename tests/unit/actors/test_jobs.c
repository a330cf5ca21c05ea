/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Workers that wait for jobs, on three shards of a node without a bus: who is told, when, how often
 * the store is asked, and what becomes of a job whose worker has gone.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "actors/assembly/shard_floors.h"
#include "actors/bus.h"
#include "actors/jobs/jobs.h"
#include "actors/shard.h"
#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "tests/support/fake_store.h"
#include "tests/support/one_shard.h"

TestSuite(jobs, .timeout = 60);

enum { SHARDS = 3, START_MS = 5000, POLLS = 20, WAIT_MS = 30000, WAITS_MAX = 8 };

/* The store: how many jobs of the queue "a" are due; the next one is delayed. */
static struct {
    unsigned due;
    unsigned leases; /* asked */
    unsigned released;
    uint64_t next_in;
    int status;
    int sweeps; /* the status of a sweep */
} queue;

struct world {
    struct actor_system *system;
    struct actor_config config;
    struct fake_store *store;
    struct shard shards[SHARDS];
    uint64_t now_ms;
};

/* A worker. */
struct worker {
    struct job_poll poll;
    struct store_job_rule rules[2];
    unsigned told;
    int status;
    size_t got;
};

static int lease(struct store_job_lease *request)
{
    queue.leases++;
    if (queue.status != 0) {
        return queue.status;
    }
    request->count = queue.due < request->max ? queue.due : request->max;
    queue.due -= (unsigned)request->count;
    request->jobs = mem_alloc((request->count + 1) * sizeof(*request->jobs));
    request->base.result = request->jobs;
    request->now = 100;
    request->next_at = request->count == 0 && queue.next_in > 0 ? 100 + queue.next_in : 0;
    for (size_t i = 0; i < request->count; i++) {
        request->jobs[i] = (struct store_job){.queue = BYTES("a"), .attempt = 1};
    }
    return 0;
}

static int step(struct store_job_step *request)
{
    cr_expect_eq(request->verb, JOB_RELEASE);
    queue.released++;
    queue.due++;
    request->job = (struct store_job){.queue = BYTES("a")};
    request->outcome = JOB_DONE;
    return 0;
}

static int answer(struct store_request *request)
{
    if (request->op == STORE_JOB_LEASE) {
        return lease(container_of(request, struct store_job_lease, base));
    }
    if (request->op == STORE_JOB_STEP) {
        return step(container_of(request, struct store_job_step, base));
    }
    cr_assert_eq(request->op, STORE_JOB_SWEEP);
    return queue.sweeps;
}

static void turn(struct world *world)
{
    for (unsigned round = 0; round < 12; round++) {
        for (unsigned i = 0; i < SHARDS; i++) {
            one_shard_turn(&world->shards[i], world->now_ms);
        }
        while (fake_store_step(world->store)) {
        }
    }
}

static void move(struct world *world, uint64_t ms)
{
    world->now_ms += ms;
    turn(world);
}

/* A bus that may have no memory for a channel. */
static struct {
    unsigned refusals; /* so many times */
    unsigned listens;
} channel;

static struct bus_link *open_link(
    struct bus *bus, const char *name, const struct bus_events *events, void *context)
{
    return (struct bus_link *)bus; /* nobody looks into it */
}

static void close_link(struct bus_link *link)
{
}

static bool subscribe(struct bus_link *link, struct bytes name)
{
    if (channel.refusals > 0) {
        channel.refusals--;
        return false;
    }
    channel.listens++;
    return true;
}

static void command(struct bus_link *link, const struct bytes *argv, size_t argc,
    uint32_t timeout_ms, bus_reply_fn fn, void *context)
{
}

static const struct bus_ops bus_ops = {
    .command = command, .open = open_link, .close = close_link, .subscribe = subscribe};
static struct bus lean_bus = {.ops = &bus_ops};

static struct world *set_up_over(struct bus *bus)
{
    struct world *world = mem_alloc(sizeof(*world));
    memset(&queue, 0, sizeof(queue));
    world->now_ms = START_MS;
    world->config = (struct actor_config){.node = "n",
        .epoch = "e",
        .names = {.prefix = "peal", .slots = 64},
        .adapter_key = "socket.io"};
    world->system = actor_system_create(SHARDS);
    world->store = fake_store_create(1);
    fake_store_set_jobs(world->store, answer);
    for (unsigned i = 0; i < SHARDS; i++) {
        struct sched *sched = actor_system_sched(world->system, i);
        sched_bind(sched, one_shard_wake, NULL, &world->shards[i]);
        shard_init(&world->shards[i], sched, &world->config);
        world->shards[i].store = fake_store_port(world->store, NULL, NULL);
        world->shards[i].bus = bus;
        world->shards[i].jobs = jobs_create(&world->shards[i]);
    }
    turn(world);
    return world;
}

static struct world *set_up(void)
{
    return set_up_over(NULL);
}

static void tear_down(struct world *world)
{
    for (unsigned i = 0; i < SHARDS; i++) {
        jobs_close(world->shards[i].jobs);
    }
    turn(world);
    for (unsigned i = 0; i < SHARDS; i++) {
        cr_assert_eq(jobs_pending(world->shards[i].jobs), 0);
        cr_assert_eq(jobs_get_stats(world->shards[i].jobs)->waiting, 0);
        jobs_destroy(world->shards[i].jobs);
        world->shards[i].jobs = NULL;
    }
    actor_system_destroy(world->system);
    for (unsigned i = 0; i < SHARDS; i++) {
        shard_finish(&world->shards[i]);
    }
    fake_store_destroy(world->store);
    mem_free(world);
}

static void on_done(struct job_poll *poll, int status)
{
    struct worker *worker = container_of(poll, struct worker, poll);
    worker->told++;
    worker->status = status;
    worker->got += poll->lease.count;
    store_request_finish(&poll->lease.base);
}

static void ask(
    struct world *world, unsigned shard, struct worker *worker, uint64_t wait, const char *tenant)
{
    *worker = (struct worker){.rules = {{.queue = BYTES("a")}, {.queue = BYTES("b")}}};
    worker->poll = (struct job_poll){.done = on_done,
        .until_ms = wait > 0 ? world->now_ms + wait : 0,
        .most = WAITS_MAX,
        .lease = {.tenant = bytes_str(tenant), .rules = worker->rules, .rule_count = 2, .max = 1}};
    job_poll_begin(world->shards[shard].jobs, &worker->poll);
}

Test(jobs, who_does_not_wait_is_told_at_once)
{
    struct world *world = set_up();
    struct worker workers[2];
    queue.due = 1;
    ask(world, 1, &workers[0], 0, "");
    cr_expect_eq(workers[0].told, 0, "never before the call returns");
    ask(world, 1, &workers[1], 0, "");
    turn(world);
    cr_expect(workers[0].told == 1 && workers[0].got == 1);
    cr_expect(workers[1].told == 1 && workers[1].got == 0);
    tear_down(world);
}

Test(jobs, who_waits_is_told_when_a_job_is_added_on_another_shard)
{
    struct world *world = set_up();
    struct worker worker;
    ask(world, 1, &worker, WAIT_MS, "t");
    turn(world);
    cr_expect_eq(worker.told, 0);
    unsigned leases = queue.leases;
    jobs_ready(&world->shards[2], BYTES("t"), BYTES("c"));
    jobs_ready(&world->shards[2], BYTES("u"), BYTES("a"));
    move(world, 10);
    cr_expect_eq(queue.leases, leases, "of another queue, of another tenant");
    queue.due = 1;
    jobs_ready(&world->shards[2], BYTES("t"), BYTES("b"));
    turn(world);
    cr_expect(worker.told == 1 && worker.got == 1);
    tear_down(world);
}

Test(jobs, one_job_wakes_one_of_those_that_wait)
{
    struct world *world = set_up();
    struct worker workers[WAITS_MAX];
    for (unsigned i = 0; i < WAITS_MAX; i++) {
        ask(world, 0, &workers[i], WAIT_MS, "");
    }
    turn(world);
    unsigned before = queue.leases;
    queue.due = 2;
    jobs_ready(&world->shards[1], BYTES(""), BYTES("a"));
    turn(world);
    unsigned told = 0;
    for (unsigned i = 0; i < WAITS_MAX; i++) {
        told += workers[i].told;
        cr_expect_eq(workers[i].told, i < 2, "the first ones that came");
    }
    cr_expect_eq(told, 2);
    cr_expect_eq(queue.leases - before, 3, "and one that found nothing: %u", queue.leases - before);
    tear_down(world);
}

Test(jobs, much_that_happens_in_a_queue_is_told_seldom)
{
    struct world *world = set_up();
    struct worker worker;
    ask(world, 2, &worker, WAIT_MS, "");
    turn(world);
    unsigned before = queue.leases;
    for (unsigned i = 0; i < 1000; i++) {
        jobs_ready(&world->shards[1], BYTES(""), BYTES("a"));
    }
    turn(world);
    queue.due = 1;
    jobs_ready(&world->shards[1], BYTES(""), BYTES("a"));
    turn(world);
    cr_expect_leq(queue.leases - before, 2);
    move(world, 6);
    cr_expect_eq(worker.told, 1, "the last of all is told");
    cr_expect_leq(queue.leases - before, 3);
    tear_down(world);
}

Test(jobs, who_has_waited_long_enough_is_told_that_there_are_none)
{
    struct world *world = set_up();
    struct worker workers[2];
    ask(world, 0, &workers[0], 1000, "");
    ask(world, 0, &workers[1], 2000, "");
    move(world, 999);
    cr_expect_eq(workers[0].told, 0);
    move(world, 1);
    cr_expect(workers[0].told == 1 && workers[0].status == 0 && workers[0].got == 0);
    cr_expect_eq(workers[1].told, 0);
    move(world, 1000);
    cr_expect_eq(workers[1].told, 1);
    tear_down(world);
}

Test(jobs, what_is_delayed_is_asked_for_when_it_is_due)
{
    struct world *world = set_up();
    struct worker worker;
    queue.next_in = 700;
    ask(world, 0, &worker, WAIT_MS, "");
    turn(world);
    unsigned before = queue.leases;
    move(world, 699);
    cr_expect_eq(queue.leases, before);
    queue.due = 1;
    move(world, 1);
    cr_expect(worker.told == 1 && worker.got == 1);
    tear_down(world);
}

/* What was announced may be lost. */
Test(jobs, who_waits_asks_again_after_a_while)
{
    struct world *world = set_up();
    struct worker worker;
    ask(world, 0, &worker, WAIT_MS, "");
    turn(world);
    queue.due = 1;
    move(world, 6000);
    cr_expect(worker.told == 1 && worker.got == 1);
    tear_down(world);
}

Test(jobs, without_memory_nobody_is_woken_and_who_waits_finds_the_job)
{
    struct world *world = set_up();
    struct worker worker;
    ask(world, 0, &worker, WAIT_MS, "");
    turn(world);
    queue.due = 1;
    mem_refuse(true);
    jobs_ready(&world->shards[1], BYTES(""), BYTES("a"));
    turn(world);
    mem_refuse(false);
    cr_expect_eq(worker.told, 0);
    cr_expect_eq(jobs_get_stats(world->shards[1].jobs)->untold, 1);
    move(world, 6000);
    cr_expect(worker.told == 1 && worker.got == 1);
    tear_down(world);
}

Test(jobs, sweeps_that_fail_are_counted_and_for_how_long)
{
    struct world *world = set_up();
    const struct jobs_stats *stats = jobs_get_stats(world->shards[0].jobs);
    move(world, 1500);
    cr_expect_eq(stats->sweep_failures, 0);
    queue.sweeps = STATUS_UNAVAILABLE;
    for (unsigned i = 1; i <= 4; i++) {
        move(world, 1500);
        cr_expect_eq(stats->sweep_failures, i);
        cr_expect_eq(stats->sweep_late_ms, i * 1500);
    }
    queue.sweeps = 0;
    move(world, 1500);
    cr_expect_eq(stats->sweep_late_ms, 0);
    cr_expect_eq(stats->sweep_failures, 4);
    tear_down(world);
}

Test(jobs, a_channel_that_there_was_no_memory_for_is_asked_for_again)
{
    channel.refusals = 2;
    struct world *world = set_up_over(&lean_bus);
    cr_expect_eq(channel.listens, 0);
    for (unsigned i = 0; i < 4; i++) {
        move(world, 1500);
    }
    cr_expect_eq(channel.listens, 1, "and once");
    cr_expect_eq(channel.refusals, 0);
    tear_down(world);
}

Test(jobs, a_job_whose_worker_has_gone_is_given_back)
{
    struct world *world = set_up();
    struct worker workers[2];
    queue.due = 1;
    fake_store_hold(world->shards[1].store, true);
    ask(world, 1, &workers[0], WAIT_MS, "");
    turn(world);
    cr_assert_not(job_poll_cancel(world->shards[1].jobs, &workers[0].poll), "it asks");
    ask(world, 2, &workers[1], WAIT_MS, "");
    fake_store_hold(world->shards[1].store, false);
    queue.due = 1;
    turn(world);
    move(world, 10);
    cr_expect(workers[0].told == 1 && workers[0].status == STATUS_CANCELLED);
    cr_expect(queue.released == 1 || workers[1].got == 1);
    move(world, 10);
    cr_expect_eq(workers[1].got, 1, "somebody else has it");
    tear_down(world);
}

Test(jobs, who_goes_while_it_waits_is_forgotten)
{
    struct world *world = set_up();
    struct worker workers[2];
    ask(world, 1, &workers[0], WAIT_MS, "");
    ask(world, 1, &workers[1], WAIT_MS, "");
    turn(world);
    cr_assert(job_poll_cancel(world->shards[1].jobs, &workers[0].poll));
    queue.due = 1;
    jobs_ready(&world->shards[1], BYTES(""), BYTES("a"));
    turn(world);
    cr_expect_eq(workers[0].told, 0);
    cr_expect_eq(workers[1].got, 1);
    cr_expect_eq(jobs_get_stats(world->shards[1].jobs)->waiting, 0);
    tear_down(world);
}

Test(jobs, those_beyond_the_bound_do_not_wait)
{
    struct world *world = set_up();
    struct worker workers[POLLS];
    for (unsigned i = 0; i < POLLS; i++) {
        ask(world, 0, &workers[i], WAIT_MS, "");
    }
    turn(world);
    for (unsigned i = 0; i < POLLS; i++) {
        cr_expect_eq(workers[i].told, i >= WAITS_MAX, "%u", i);
    }
    cr_expect_eq(jobs_get_stats(world->shards[0].jobs)->refused, POLLS - WAITS_MAX);
    tear_down(world);
}

Test(jobs, a_store_that_is_away_is_told)
{
    struct world *world = set_up();
    struct worker worker;
    queue.status = STATUS_UNAVAILABLE;
    ask(world, 0, &worker, WAIT_MS, "");
    turn(world);
    cr_expect(worker.told == 1 && worker.status == STATUS_UNAVAILABLE);
    tear_down(world);
}

Test(jobs, a_node_that_ends_tells_all_that_wait)
{
    struct world *world = set_up();
    struct worker workers[4];
    for (unsigned i = 0; i < 4; i++) {
        ask(world, i % SHARDS, &workers[i], WAIT_MS, i < 2 ? "" : "t");
    }
    turn(world);
    fake_store_hold(world->shards[0].store, true);
    jobs_ready(&world->shards[1], BYTES(""), BYTES("a"));
    turn(world);
    for (unsigned i = 0; i < SHARDS; i++) {
        jobs_close(world->shards[i].jobs);
    }
    fake_store_hold(world->shards[0].store, false);
    turn(world);
    for (unsigned i = 0; i < 4; i++) {
        cr_expect(workers[i].told == 1 && workers[i].got == 0 && workers[i].status == 0, "%u", i);
    }
    for (unsigned i = 0; i < SHARDS; i++) {
        jobs_destroy(world->shards[i].jobs);
        world->shards[i].jobs = NULL;
        world->shards[i].jobs = jobs_create(&world->shards[i]);
    }
    tear_down(world);
}
