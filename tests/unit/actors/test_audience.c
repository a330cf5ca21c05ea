/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a shard asks for posts whose hint was lost, and what it makes of the answers; and how many
 * users it goes through in one turn.
 */
#include <criterion/criterion.h>
#include <stdio.h>

#include "actors/assembly/shard_floors.h"
#include "actors/inbox/audience.h"
#include "actors/inbox/inbox.h"
#include "actors/inbox/positions.h"
#include "actors/inbox/teller.h"
#include "actors/inbox/walk.h"
#include "actors/shard.h"
#include "actors/user/user.h"
#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "codec/names.h"
#include "tests/support/client.h"
#include "tests/support/fake_store.h"
#include "tests/support/one_shard.h"

TestSuite(audience, .timeout = 60);

enum { START_MS = 5000, RECHECK_MS = 1000, HEAD = 7, MANY = WALK_USERS + 10 };

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

static void turn(struct world *world)
{
    bool more = true;
    while (more) {
        one_shard_turn(&world->shard, world->now_ms);
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
    sched_bind(world->sched, one_shard_wake, NULL, &world->shard);
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

/* Nobody has posted, for any number of tenants. */
static int answer_none(struct store_posted *request)
{
    request->heads = mem_alloc(request->tenant_count * sizeof(*request->heads));
    request->base.result = request->heads;
    for (size_t i = 0; i < request->tenant_count; i++) {
        request->heads[i] = HEAD;
    }
    return 0;
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
    audience_announce_change(world.shard.audience, BYTES("acme"), AUDIENCE_ALL, BYTES(""));
    turn(&world);
    cr_expect_eq(asked_for(&world), before + 2, "it was taken back");
    /* Whom a list was for is not told: all are asked for. */
    audience_announce_change(world.shard.audience, BYTES("acme"), AUDIENCE_LIST, BYTES(""));
    turn(&world);
    cr_expect_eq(asked_for(&world), before + 3);
    audience_announce_change(world.shard.audience, BYTES("other"), AUDIENCE_LIST, BYTES(""));
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

/* Many users. */

static struct client *attach_many(struct world *world, const char *prefix, size_t count)
{
    struct client *clients = mem_alloc_array(count, sizeof(*clients));
    memset(clients, 0, count * sizeof(*clients));
    for (size_t i = 0; i < count; i++) {
        char name[64];
        snprintf(name, sizeof(name), "%s%zu", prefix, i);
        client_init(&clients[i], &world->shard, "/", name, WIRE_SIO);
        cr_assert_eq(user_attach(&world->shard, &clients[i].socket), 0);
    }
    turn(world);
    return clients;
}

static void finish_many(struct client *clients, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        client_finish(&clients[i], CLOSE_NORMAL);
    }
    mem_free(clients);
}

static int (*fake_topics)(struct store_topics *request);

/* A world with many users of a tenant, `client` the last of them. */
static struct client *set_up_many(struct world *world)
{
    set_up(world);
    looks = 1;
    fake_store_set_posted(world->store, answer_posted);
    if (fake_topics != NULL) {
        fake_store_set_topics(world->store, fake_topics);
    }
    struct client *many = attach_many(world, "acme/", MANY - 1);
    client_init(&world->client, &world->shard, "/", "acme/z", WIRE_SIO);
    cr_assert_eq(user_attach(&world->shard, &world->client.socket), 0);
    turn(world);
    world->now_ms += RECHECK_MS;
    turn(world);
    return many;
}

static void announce_to_all(struct world *world, uint64_t n)
{
    audience_announce(world->shard.audience,
        &(struct store_audience_post){
            .tenant = BYTES("acme"), .kind = AUDIENCE_ALL, .n = n, .outcome = OUTCOME_STORED});
    while (sched_run(world->sched, 1000)) { /* the hints are heard */
    }
}

Test(audience, a_turn_goes_through_a_bounded_number_of_users)
{
    static struct world world;
    struct client *many = set_up_many(&world);
    uint64_t before = asked_for(&world);
    uint64_t walks = world.shard.stats.audience_walks;
    announce_to_all(&world, HEAD + 1);
    announce_to_all(&world, HEAD + 2);
    announce_to_all(&world, HEAD + 3);
    turn(&world);
    cr_expect_eq(asked_for(&world), before + WALK_USERS);
    world.now_ms += WALK_MS;
    turn(&world);
    cr_expect_eq(asked_for(&world), before + MANY);
    cr_expect_eq(world.shard.stats.audience_walks, walks + 1, "once for the three");
    finish_many(many, MANY - 1);
    tear_down(&world);
}

Test(audience, who_was_asked_for_before_a_post_came_is_asked_for_once_more)
{
    static struct world world;
    struct client *many = set_up_many(&world);
    uint64_t before = asked_for(&world);
    announce_to_all(&world, HEAD + 1);
    turn(&world);
    announce_to_all(&world, HEAD + 2); /* the first users are known, the others not yet */
    for (unsigned i = 0; i < 4; i++) {
        world.now_ms += WALK_MS;
        turn(&world);
    }
    cr_expect_eq(asked_for(&world), before + 2 * MANY, "%llu",
        (unsigned long long)(asked_for(&world) - before));
    finish_many(many, MANY - 1);
    tear_down(&world);
}

Test(audience, users_who_go_do_not_end_a_walk)
{
    static struct world world;
    struct client *many = set_up_many(&world);
    announce_to_all(&world, HEAD + 1);
    turn(&world);
    uint64_t before = asked_for(&world);
    for (unsigned i = WALK_USERS; i < WALK_USERS + 3; i++) {
        client_finish(&many[i], CLOSE_NORMAL); /* whom the walk comes to next */
    }
    turn(&world);
    uint64_t gone = asked_for(&world) - before;
    world.now_ms += WALK_MS;
    turn(&world);
    cr_expect_eq(asked_for(&world) - before, MANY - WALK_USERS);
    cr_expect_leq(gone, 3);
    for (unsigned i = 0; i < MANY - 1; i++) {
        if (i < WALK_USERS || i >= WALK_USERS + 3) {
            client_finish(&many[i], CLOSE_NORMAL);
        }
    }
    mem_free(many);
    announce_to_all(&world, HEAD + 2);
    turn(&world);
    tear_down(&world);
}

static bool topics_away;

static int answer_topic(struct store_topics *request)
{
    if (topics_away) {
        return STATUS_UNAVAILABLE;
    }
    topic_reads++;
    request->names = mem_alloc(sizeof(*request->names));
    request->base.result = request->names;
    request->names[0] = BYTES("sport");
    request->count = 1;
    return 0;
}

/* Whose topics are read anew leaves them for a while: a post that is being told is for them, too.
 */
Test(audience, whose_topics_are_read_anew_does_not_miss_a_post)
{
    static struct world world;
    topics_away = false;
    fake_topics = answer_topic;
    struct client *many = set_up_many(&world);
    uint64_t before = asked_for(&world);
    audience_announce(world.shard.audience, &(struct store_audience_post){.tenant = BYTES("acme"),
                                                .kind = AUDIENCE_TOPIC,
                                                .name = BYTES("sport"),
                                                .n = HEAD + 1,
                                                .outcome = OUTCOME_STORED});
    turn(&world);
    cr_expect_eq(asked_for(&world), before + WALK_USERS);
    topics_away = true;
    audience_place(world.shard.audience, inbox_of(world.client.socket.user));
    turn(&world);
    for (unsigned i = 0; i < 3; i++) {
        world.now_ms += WALK_MS;
        turn(&world);
    }
    topics_away = false;
    cr_expect_eq(
        asked_for(&world), before + MANY, "%llu", (unsigned long long)(asked_for(&world) - before));
    finish_many(many, MANY - 1);
    tear_down(&world);
}

/* Two hundred topics each. */
static int answer_many_topics(struct store_topics *request)
{
    enum { TOPICS = 200, LEN = 4 };
    static char names[TOPICS][LEN];
    request->names = mem_alloc(TOPICS * sizeof(*request->names));
    request->base.result = request->names;
    for (unsigned i = 0; i < TOPICS; i++) {
        snprintf(names[i], LEN, "%u", i);
        request->names[i] = bytes_of(names[i], strlen(names[i]));
    }
    request->count = TOPICS;
    return 0;
}

Test(audience, a_tenant_leaves_room_for_the_topics_of_others)
{
    enum { MOST = 512 << 10, HOGS = 100 };
    static struct world world;
    set_up(&world);
    world.config.topics_bytes = MOST;
    world.config.tenants = true;
    looks = 1;
    fake_store_set_posted(world.store, answer_none);
    fake_store_set_topics(world.store, answer_many_topics);
    struct client *hogs = attach_many(&world, "hog/", HOGS);
    const struct shard_stats *stats = &world.shard.stats;
    uint64_t unplaced = stats->audience_unplaced;
    cr_expect_gt(unplaced, 0);
    cr_expect_lt(unplaced, HOGS);
    cr_expect_lt(stats->audience_bytes, MOST / 2 + (HOGS << 10), "half of the room");
    client_init(&world.client, &world.shard, "/", "acme/ann", WIRE_SIO);
    cr_assert_eq(user_attach(&world.shard, &world.client.socket), 0);
    turn(&world);
    cr_expect_eq(stats->audience_unplaced, unplaced, "another tenant's user finds a place");
    uint64_t before = asked_for(&world);
    audience_announce(world.shard.audience, &(struct store_audience_post){.tenant = BYTES("hog"),
                                                .kind = AUDIENCE_TOPIC,
                                                .name = BYTES("elsewhere"),
                                                .n = HEAD + 1,
                                                .outcome = OUTCOME_STORED});
    turn(&world);
    cr_expect_eq(asked_for(&world), before + unplaced, "who has none is asked for with any topic");
    finish_many(hogs, HOGS);
    turn(&world);
    cr_expect_eq(stats->audience_unplaced, 0);
    cr_expect_eq(stats->audience_places, 200, "acme/ann's");
    tear_down(&world);
    cr_expect_eq(stats->audience_bytes, 0, "all of it was given back");
}

/* Users who are told something. */
struct crowd {
    struct telling telling;
    unsigned told;
    unsigned count;
    bool dropped;
};

static bool tell_crowd(struct telling *telling, unsigned most)
{
    struct crowd *crowd = container_of(telling, struct crowd, telling);
    unsigned left = crowd->count - crowd->told;
    crowd->told += left < most ? left : most;
    return crowd->told < crowd->count;
}

static void drop_crowd(struct telling *telling)
{
    container_of(telling, struct crowd, telling)->dropped = true;
}

Test(audience, many_are_told_some_in_a_turn_and_each_call_has_its_turn)
{
    static struct world world;
    set_up(&world);
    struct crowd large = {.telling = {.tell = tell_crowd, .drop = drop_crowd}, .count = 10000};
    struct crowd small = {.telling = {.tell = tell_crowd, .drop = drop_crowd}, .count = 3};
    teller_tell(&world.shard, &large.telling);
    teller_tell(&world.shard, &small.telling);
    turn(&world);
    cr_expect_eq(large.told, TELLER_USERS, "%u in one turn", large.told);
    for (unsigned i = 0; i < 2; i++) {
        world.now_ms += TELLER_MS;
        turn(&world);
    }
    cr_expect_eq(small.told, small.count, "who has few does not wait for who has many");
    cr_expect_eq(large.told, 2 * TELLER_USERS, "%u", large.told);
    looks = 1;
    fake_store_set_posted(world.store, answer_posted);
    client_init(&world.client, &world.shard, "/", "acme/ann", WIRE_SIO); /* to be torn down */
    cr_assert_eq(user_attach(&world.shard, &world.client.socket), 0);
    turn(&world);
    tear_down(&world);
    cr_expect(large.dropped);
    cr_expect_not(small.dropped);
}
