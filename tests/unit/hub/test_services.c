/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The order in which parts of a node start and stop, and what is said of one that does not end.
 */
#include <criterion/criterion.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "actors/assembly/shard_floors.h"
#include "codec/base/clock.h"
#include "codec/base/status.h"
#include "hub/net/loop.h"
#include "hub/node/node.h"
#include "hub/node/services.h"

TestSuite(services, .timeout = 60);

enum { SHARDS = 2, NOTES_MAX = 64, SOON_MS = 100, LONG_MS = 20000 };

/* Loops with services, and what these wrote down. Shards tell each other apart by their place. */
static struct world {
    struct actor_system *system;
    struct services *services;
    struct actor_config config;
    struct hub_shard shards[SHARDS];
    struct loop *loops[SHARDS];
    atomic_uint open[SHARDS]; /* of the service that tests hold open */
    uv_timer_t stray; /* a handle that no service knows */
    uv_mutex_t lock;
    char notes[NOTES_MAX][32];
    unsigned noted;
} world;

static unsigned index_of(const struct hub_shard *shard)
{
    return (unsigned)(shard - world.shards);
}

static void note(const char *what, const struct hub_shard *shard)
{
    uv_mutex_lock(&world.lock);
    cr_assert_lt(world.noted, NOTES_MAX);
    snprintf(world.notes[world.noted++], sizeof(world.notes[0]), "%s %u", what, index_of(shard));
    uv_mutex_unlock(&world.lock);
}

/* When that was noted; NOTES_MAX: never. */
static unsigned when(const char *what)
{
    unsigned i = 0;
    uv_mutex_lock(&world.lock);
    while (i < world.noted && strcmp(world.notes[i], what) != 0) {
        i++;
    }
    i = i < world.noted ? i : NOTES_MAX;
    uv_mutex_unlock(&world.lock);
    return i;
}

static void start_ground(struct hub_shard *shard)
{
    note("+ground", shard);
}

static void stop_ground(struct hub_shard *shard)
{
    note("-ground", shard);
}

static void start_held(struct hub_shard *shard)
{
    note("+held", shard);
}

static void stop_held(struct hub_shard *shard)
{
    note("-held", shard);
}

static uint64_t count_held(const struct hub_shard *shard)
{
    return atomic_load(&world.open[index_of(shard)]);
}

static void start_top(struct hub_shard *shard)
{
    note("+top", shard);
}

static void stop_top(struct hub_shard *shard)
{
    note("-top", shard);
}

static bool is_first(const struct hub_shard *shard)
{
    return index_of(shard) == 0;
}

static const struct service rows[] = {
    {.name = "ground", .start = start_ground, .stop = stop_ground, .last = true},
    {.name = "held", .start = start_held, .stop = stop_held, .open = count_held},
    {.name = "top", .wanted = is_first, .start = start_top, .stop = stop_top},
};

static int on_start(struct loop *loop, void *context)
{
    struct hub_shard *shard = context;
    return services_start(world.services, index_of(shard), shard, loop);
}

static void on_stop(struct loop *loop, void *context)
{
    services_stop(world.services, index_of(context));
}

static void on_turn(void *context)
{
    services_turn(world.services, index_of(context));
}

static void on_end(void *context)
{
    services_ended(world.services, index_of(context));
}

static int begin(const struct service *table, size_t count)
{
    uv_mutex_init(&world.lock);
    world.system = actor_system_create(SHARDS);
    world.services = services_create(table, count, world.system);
    int status = 0;
    for (unsigned i = 0; i < SHARDS; i++) {
        struct shard *shard = &world.shards[i].shard;
        shard_init(shard, actor_system_sched(world.system, i), &world.config);
        struct loop_config config = {.system = world.system,
            .index = i,
            .shard = shard,
            .on_start = on_start,
            .on_stop = on_stop,
            .on_turn = on_turn,
            .on_end = on_end,
            .context = &world.shards[i],
            .lasting = true};
        cr_assert_eq(loop_create(&config, &world.loops[i]), 0);
    }
    for (unsigned i = 0; i < SHARDS && status == 0; i++) {
        status = loop_start(world.loops[i]);
    }
    return status;
}

static void stop_all(void)
{
    for (unsigned i = 0; i < SHARDS; i++) {
        loop_stop(world.loops[i]);
    }
}

static void finish(void)
{
    for (unsigned i = 0; i < SHARDS; i++) {
        loop_end(world.loops[i]);
    }
    cr_expect_eq(services_wait_ended(world.services, clock_mono_ms() + LONG_MS), 0);
    for (unsigned i = 0; i < SHARDS; i++) {
        loop_join(world.loops[i]);
    }
    for (unsigned i = 0; i < SHARDS; i++) {
        loop_destroy(world.loops[i]);
    }
    actor_system_destroy(world.system);
    for (unsigned i = 0; i < SHARDS; i++) {
        shard_finish(&world.shards[i].shard);
    }
    services_destroy(world.services);
    uv_mutex_destroy(&world.lock);
}

static void expect_left(const char *text)
{
    struct builder left = {0};
    services_write_left(world.services, &left);
    struct bytes got = builder_bytes(&left);
    cr_expect(bytes_eq_str(got, text), "left is \"%.*s\"", (int)got.len, got.len > 0 ? got.at : "");
    builder_reset(&left);
}

static int wait_ms(unsigned ms)
{
    return services_wait(world.services, clock_mono_ms() + ms);
}

/* A turn of the shard, as what a service waits for would make. */
static void on_nothing(void *arg, bool cancelled)
{
}

static void let_go(unsigned shard)
{
    atomic_store(&world.open[shard], 0);
    sched_post(world.system, shard, on_nothing, NULL);
}

Test(services, start_in_order_and_stop_in_reverse)
{
    cr_assert_eq(begin(rows, ARRAY_LEN(rows)), 0);
    cr_expect_lt(when("+ground 0"), when("+held 0"));
    cr_expect_lt(when("+held 0"), when("+top 0"));
    cr_expect_eq(when("+top 1"), NOTES_MAX, "the first shard only");
    stop_all();
    cr_expect_eq(wait_ms(LONG_MS), 0);
    cr_expect_lt(when("-top 0"), when("-held 0"));
    cr_expect_lt(when("-held 0"), when("-ground 0"));
    cr_expect_lt(when("-ground 1"), NOTES_MAX);
    cr_expect_eq(when("-top 1"), NOTES_MAX);
    finish();
}

Test(services, the_last_one_waits_for_what_is_open_on_any_shard)
{
    atomic_store(&world.open[1], 3);
    cr_assert_eq(begin(rows, ARRAY_LEN(rows)), 0);
    stop_all();
    cr_expect_eq(wait_ms(SOON_MS), STATUS_TIMEOUT);
    cr_expect_lt(when("-held 1"), NOTES_MAX);
    cr_expect_eq(when("-ground 0"), NOTES_MAX, "what is open is on the other shard");
    let_go(1);
    cr_expect_eq(wait_ms(LONG_MS), 0);
    cr_expect_lt(when("-ground 0"), NOTES_MAX);
    finish();
}

Test(services, one_that_never_ends_is_named_when_the_time_is_up)
{
    atomic_store(&world.open[0], 2);
    atomic_store(&world.open[1], 5);
    cr_assert_eq(begin(rows, ARRAY_LEN(rows)), 0);
    stop_all();
    uint64_t before = clock_mono_ms();
    cr_expect_eq(wait_ms(SOON_MS), STATUS_TIMEOUT);
    cr_expect_geq(clock_mono_ms() - before, SOON_MS);
    cr_expect_eq(when("-ground 0"), NOTES_MAX);
    expect_left("held 7, ground 2");
    let_go(0);
    let_go(1);
    cr_expect_eq(wait_ms(LONG_MS), 0);
    expect_left("loops 2");
    finish();
}

static int must_fail(struct hub_shard *shard)
{
    note("+failing", shard);
    return STATUS_DENIED;
}

static void stop_failing(struct hub_shard *shard)
{
    note("-failing", shard);
}

Test(services, a_start_that_fails_stops_what_was_started)
{
    static const struct service failing[] = {
        {.name = "ground", .start = start_ground, .stop = stop_ground, .last = true},
        {.name = "failing", .try_start = must_fail, .stop = stop_failing},
        {.name = "top", .start = start_top, .stop = stop_top},
    };
    cr_assert_eq(begin(failing, ARRAY_LEN(failing)), STATUS_DENIED);
    cr_expect_eq(when("+top 0"), NOTES_MAX);
    stop_all();
    cr_expect_eq(wait_ms(LONG_MS), 0, "the shard that was not started is not waited for");
    cr_expect_lt(when("-failing 0"), when("-ground 0"));
    cr_expect_eq(when("-top 0"), NOTES_MAX);
    finish();
}

static void on_stray(uv_timer_t *timer)
{
}

static void open_stray(struct hub_shard *shard)
{
    uv_timer_init(loop_uv(loop_of(&shard->shard)), &world.stray);
    uv_timer_start(&world.stray, on_stray, LONG_MS, LONG_MS);
}

static void close_stray(void *arg, bool cancelled)
{
    if (!cancelled) {
        uv_close((uv_handle_t *)&world.stray, NULL);
    }
}

Test(services, a_thread_that_does_not_end_is_told_from_a_service)
{
    static const struct service stray[] = {
        {.name = "stray", .wanted = is_first, .start = open_stray},
    };
    cr_assert_eq(begin(stray, ARRAY_LEN(stray)), 0);
    stop_all();
    cr_expect_eq(wait_ms(LONG_MS), 0);
    loop_end(world.loops[0]);
    cr_expect_eq(services_wait_ended(world.services, clock_mono_ms() + SOON_MS), STATUS_TIMEOUT);
    expect_left("loops 2");
    sched_post(world.system, 0, close_stray, NULL);
    finish();
}

static void bring_back(struct hub_shard *shard)
{
    if (when("-held 0") == NOTES_MAX) {
        atomic_store(&world.open[0], 1); /* as an event that was on its way would do */
    } else {
        atomic_store(&world.open[0], 0);
    }
    note("-held", shard);
}

Test(services, what_comes_back_is_stopped_again)
{
    static const struct service again[] = {
        {.name = "held",
            .wanted = is_first,
            .stop = bring_back,
            .open = count_held,
            .last = true,
            .again = true},
    };
    cr_assert_eq(begin(again, ARRAY_LEN(again)), 0);
    stop_all();
    cr_expect_eq(wait_ms(LONG_MS), 0);
    finish();
}
