/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a shard asks for posts whose hint was lost, and what it makes of the answers.
 */
#include <criterion/criterion.h>

#include "actors/assembly/shard_floors.h"
#include "actors/inbox/audience.h"
#include "actors/inbox/positions.h"
#include "actors/shard.h"
#include "actors/user/user.h"
#include "codec/base/mem.h"
#include "codec/names.h"
#include "tests/support/client.h"
#include "tests/support/fake_store.h"

TestSuite(audience, .timeout = 60);

enum { START_MS = 5000, RECHECK_MS = 1000, HEAD = 7 };

struct world {
    struct actor_system *system;
    struct sched *sched;
    struct actor_config config;
    struct shard shard;
    struct fake_store *store;
    uint64_t now_ms;
    struct client client;
};

static unsigned looks;
static uint64_t last_after; /* of the last look: where the tenant stands, as the shard has it */

static void on_wake(void *context)
{
    (void)context;
}

static void turn(struct world *world)
{
    bool more = true;
    while (more) {
        sched_set_time(world->sched, world->now_ms, world->now_ms);
        timer_wheel_advance(sched_timers(world->sched), world->now_ms);
        while (sched_run(world->sched, 1000)) {
        }
        shard_flush(&world->shard);
        sched_flush(world->sched);
        more = fake_store_step(world->store);
    }
}

static void enter_store(void *context)
{
    (void)context;
}

static void set_up(struct world *world)
{
    *world = (struct world){.now_ms = START_MS};
    world->config = (struct actor_config){.node = "n",
        .epoch = "e",
        .names = {.prefix = "peal", .slots = 1024},
        .adapter_key = "socket.io",
        .connections_per_user = 1,
        .recheck_ms = RECHECK_MS};
    world->store = fake_store_create(1);
    world->system = actor_system_create(1);
    world->sched = actor_system_sched(world->system, 0);
    sched_bind(world->sched, on_wake, NULL, &world->shard);
    shard_init(&world->shard, world->sched, &world->config);
    world->shard.store = fake_store_port(world->store, enter_store, NULL);
    turn(world);
    world->shard.positions = positions_create(&world->shard);
    world->shard.audience = audience_create(&world->shard);
    (void)shard_open_nsp(&world->shard, BYTES("/"));
}

static void tear_down(struct world *world)
{
    client_finish(&world->client, CLOSE_NORMAL);
    turn(world);
    fake_store_drain(world->shard.store);
    audience_destroy(world->shard.audience);
    positions_destroy(world->shard.positions);
    actor_system_destroy(world->system);
    shard_finish(&world->shard);
    fake_store_destroy(world->store);
}

/* The first answer ends before it comes to the tenant: others had too many posts. */
static int answer_posted(struct store_posted *request)
{
    cr_assert_eq(request->tenant_count, 1);
    last_after = request->tenants[0].after;
    request->heads = mem_alloc(sizeof(*request->heads));
    request->base.result = request->heads;
    request->more = looks++ == 0;
    request->heads[0] = request->more ? last_after : HEAD;
    return 0;
}

/* The hints of three posts, two of them to all, were lost. */
static int answer_three(struct store_posted *request)
{
    size_t size = sizeof(*request->heads) + 3 * sizeof(*request->posts);
    request->heads = mem_alloc(size);
    request->base.result = request->heads;
    request->heads[0] = looks++ == 0 ? HEAD : HEAD + 3;
    if (request->heads[0] > HEAD && request->tenants[0].after == HEAD) {
        struct store_posted_one *posts = (struct store_posted_one *)(void *)(request->heads + 1);
        posts[0] = (struct store_posted_one){.n = HEAD + 1, .kind = AUDIENCE_ALL};
        posts[1] = (struct store_posted_one){.n = HEAD + 2, .kind = AUDIENCE_LIST};
        posts[2] = (struct store_posted_one){.n = HEAD + 3, .kind = AUDIENCE_ALL};
        request->posts = posts;
        request->post_count = 3;
    }
    return 0;
}

Test(audience, users_are_gone_through_once_for_all_posts_of_an_answer)
{
    static struct world world;
    set_up(&world);
    looks = 0;
    fake_store_set_posted(world.store, answer_three);
    client_init(&world.client, &world.shard, "/", "acme/ann", WIRE_SIO);
    cr_assert_eq(user_attach(&world.shard, &world.client.socket), 0);
    turn(&world);
    uint64_t walks = world.shard.stats.audience_walks;
    uint64_t users = world.shard.stats.audience_users;
    world.now_ms += RECHECK_MS;
    turn(&world);
    cr_expect_eq(world.shard.stats.audience_found, 3);
    cr_expect_eq(world.shard.stats.audience_users, users + 1);
    cr_expect_eq(world.shard.stats.audience_walks, walks + 1);
    tear_down(&world);
}

Test(audience, a_tenant_that_an_answer_did_not_come_to_is_asked_about_again)
{
    static struct world world;
    set_up(&world);
    looks = 0;
    fake_store_set_posted(world.store, answer_posted);
    client_init(&world.client, &world.shard, "/", "acme/ann", WIRE_SIO);
    cr_assert_eq(user_attach(&world.shard, &world.client.socket), 0);
    turn(&world);
    cr_expect_eq(looks, 2, "%u looks", looks);
    cr_expect_eq(last_after, UINT64_MAX, "where it stands is not known yet");
    world.now_ms += RECHECK_MS;
    turn(&world);
    cr_expect_eq(looks, 3, "%u looks", looks);
    cr_expect_eq(last_after, HEAD, "%llu", (unsigned long long)last_after);
    tear_down(&world);
}

/* How often users were asked for because of posts to many. */
static uint64_t asked_for(struct world *world)
{
    return world->shard.stats.audience_users;
}

Test(audience, a_post_that_is_taken_back_is_served_though_it_was_heard_of)
{
    static struct world world;
    set_up(&world);
    looks = 1;
    fake_store_set_posted(world.store, answer_posted);
    client_init(&world.client, &world.shard, "/", "acme/ann", WIRE_SIO);
    cr_assert_eq(user_attach(&world.shard, &world.client.socket), 0);
    turn(&world);
    uint64_t before = asked_for(&world);
    struct store_audience_post post = {
        .tenant = BYTES("acme"), .kind = AUDIENCE_ALL, .n = HEAD + 1, .outcome = OUTCOME_STORED};
    audience_announce(world.shard.audience, &post);
    turn(&world);
    cr_expect_eq(asked_for(&world), before + 1);
    audience_announce(world.shard.audience, &post);
    turn(&world);
    cr_expect_eq(asked_for(&world), before + 1, "it was heard of");
    struct store_retract retract = {.tenant = BYTES("acme"), .kind = AUDIENCE_ALL, .n = post.n};
    audience_announce_retract(world.shard.audience, &retract);
    turn(&world);
    cr_expect_eq(asked_for(&world), before + 2, "it was taken back");
    retract.kind = AUDIENCE_LIST; /* whom it was for is not told: all are asked for */
    audience_announce_retract(world.shard.audience, &retract);
    turn(&world);
    cr_expect_eq(asked_for(&world), before + 3);
    retract.tenant = BYTES("other");
    audience_announce_retract(world.shard.audience, &retract);
    turn(&world);
    cr_expect_eq(asked_for(&world), before + 3, "another tenant's");
    tear_down(&world);
}

static unsigned topic_reads;

/* A name as long as no API takes, which ends a page. */
static int answer_long_topic(struct store_topics *request)
{
    static char name[NAMES_ROOM_MAX + 60];
    memset(name, 't', sizeof(name));
    topic_reads++;
    request->names = mem_alloc(sizeof(*request->names));
    request->base.result = request->names;
    request->names[0] = bytes_of(name, sizeof(name));
    request->count = 1;
    request->more = request->after.len == 0;
    return 0;
}

Test(audience, a_topic_of_the_database_may_have_a_name_of_any_length)
{
    static struct world world;
    set_up(&world);
    looks = 1;
    topic_reads = 0;
    fake_store_set_posted(world.store, answer_posted);
    fake_store_set_topics(world.store, answer_long_topic);
    client_init(&world.client, &world.shard, "/", "acme/ann", WIRE_SIO);
    cr_assert_eq(user_attach(&world.shard, &world.client.socket), 0);
    turn(&world);
    cr_expect_eq(topic_reads, 1, "%u", topic_reads);
    cr_expect_eq(world.shard.stats.audience_places, 1, "asked for with each topic of the tenant");
    tear_down(&world);
}
