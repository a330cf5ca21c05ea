/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A store that lost commits is found out by what users were told; one that is only read late, from
 * a standby that is behind, is not blamed.
 */
#include <criterion/criterion.h>

#include "actors/inbox/positions.h"
#include "actors/user/user.h"
#include "codec/base/log.h"
#include "tests/support/client.h"
#include "tests/support/nodes.h"

TestSuite(went_back, .timeout = 120);

enum { SEEDS = 20, POSTS = 3 };

struct world {
    struct nodes *nodes;
    struct client client;
    struct shard *shard; /* of the user */
};

static void ignore_line(enum log_level level, const char *line, size_t len)
{
    (void)level;
    (void)line;
    (void)len;
}

static void ignore_packet(struct client *client, const struct client_packet *packet)
{
    (void)client;
    (void)packet;
}

/* A user is online on the second node, and was told what came by the stream. */
static void begin(struct world *world, uint64_t seed)
{
    const struct nodes_options options = {
        .nodes = 2, .shards = 2, .bus = true, .ingest = true, .partitions = 1};
    const struct bytes fields[] = {
        BYTES("user"), BYTES("u0"), BYTES("type"), BYTES("t"), BYTES("message"), BYTES("m")};
    log_set_sink(ignore_line);
    *world = (struct world){.nodes = nodes_create(seed, &options)};
    nodes_advance(world->nodes, 2000);
    world->shard = nodes_on(world->nodes, 1, nodes_user_shard(world->nodes, 1, "u0"));
    world->client.received = ignore_packet;
    client_init(&world->client, world->shard, "/", "u0", WIRE_JSON);
    cr_assert_eq(user_attach(world->shard, &world->client.socket), 0);
    for (unsigned i = 0; i < POSTS; i++) {
        fake_data_add(fake_redis_data(world->nodes->redis), "peal:in", fields, ARRAY_LEN(fields));
    }
    nodes_advance(world->nodes, 2000);
    const struct fake_inbox *inbox = fake_store_inbox(world->nodes->store, "u0");
    cr_assert(inbox != NULL && inbox->count == POSTS);
}

static void end(struct world *world)
{
    nodes_destroy(world->nodes);
}

Test(went_back, a_user_who_was_told_more_proves_it)
{
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        static struct world world;
        begin(&world, seed);
        positions_compare(nodes_on(world.nodes, 1, 0));
        nodes_advance(world.nodes, 2000); /* the store aborts when it is blamed */
        fake_store_forget(world.nodes->store, "u0");
        positions_compare(nodes_on(world.nodes, 0, 0));
        nodes_advance(world.nodes, 2000);
        cr_assert_eq(fake_store_loss(world.nodes->store)->told, 0, "nobody is there who knows");
        positions_compare(nodes_on(world.nodes, 1, 0));
        nodes_advance(world.nodes, 2000);
        cr_assert_gt(fake_store_loss(world.nodes->store)->told, 0);
        end(&world);
    }
}

Test(went_back, a_standby_that_is_read_late_proves_nothing)
{
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        static struct world world;
        begin(&world, seed);
        fake_store_loss(world.nodes->store)->late = true;
        positions_compare(nodes_on(world.nodes, 1, 0));
        nodes_advance(world.nodes, 120000); /* and the recheck, which reads */
        cr_assert_eq(fake_store_loss(world.nodes->store)->told, 0);
        end(&world);
    }
}

/* The node that owns the stream. */
static void forget_stream(bool token)
{
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        static struct world world;
        begin(&world, seed);
        struct fake_store *store = world.nodes->store;
        fake_store_loss(store)->sessions++; /* with the same server: it is looked at, and is well */
        nodes_advance(world.nodes, 3000);
        fake_store_forget_stream(store, 0, token);
        nodes_advance(world.nodes, 3000);
        cr_assert_eq(fake_store_loss(store)->told, 0, "nobody has looked");
        fake_store_loss(store)->sessions++;
        nodes_advance(world.nodes, 3000);
        cr_assert_gt(fake_store_loss(store)->told, 0, "seed %llu", (unsigned long long)seed);
        end(&world);
    }
}

Test(went_back, the_position_of_a_stream_below_what_was_committed_proves_it)
{
    forget_stream(false);
}

Test(went_back, a_token_that_is_given_again_proves_it)
{
    forget_stream(true);
}

Test(went_back, it_is_asked_again_when_the_store_was_away)
{
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        static struct world world;
        begin(&world, seed);
        fake_store_forget(world.nodes->store, "u0");
        fake_store_cut(world.shard->store, true);
        positions_compare(nodes_on(world.nodes, 1, 0));
        nodes_advance(world.nodes, 3000);
        cr_assert_eq(fake_store_loss(world.nodes->store)->told, 0);
        fake_store_cut(world.shard->store, false);
        nodes_advance(world.nodes, 2000);
        cr_assert_gt(fake_store_loss(world.nodes->store)->told, 0);
        end(&world);
    }
}
