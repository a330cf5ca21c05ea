/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A user who has as many sockets as may be: the new one is refused, or the oldest one goes.
 */
#include <criterion/criterion.h>

#include "actors/assembly/shard_floors.h"
#include "actors/inbox/positions.h"
#include "actors/shard.h"
#include "actors/user/user.h"
#include "codec/base/status.h"
#include "tests/support/client.h"
#include "tests/support/one_shard.h"

TestSuite(excess, .timeout = 60);

enum { LIMIT = 2, CLIENTS = 6 };

struct world {
    struct actor_system *system;
    struct actor_config config;
    struct shard shard;
    struct client clients[CLIENTS];
    bool attached[CLIENTS];
    unsigned count;
};

static void set_up(struct world *world, bool replaces)
{
    *world = (struct world){.config = {.node = "n",
                                .epoch = "e",
                                .names = {.prefix = "peal", .slots = 1024},
                                .adapter_key = "socket.io",
                                .tick_ms = 100,
                                .connections_per_user = LIMIT,
                                .replaces = replaces,
                                .recheck_ms = 1000000}};
    world->system = actor_system_create(1);
    struct sched *sched = actor_system_sched(world->system, 0);
    sched_bind(sched, one_shard_wake, NULL, &world->shard);
    shard_init(&world->shard, sched, &world->config);
    one_shard_turn(&world->shard, 1000);
    world->shard.positions = positions_create(&world->shard);
    (void)shard_open_nsp(&world->shard, BYTES("/"));
}

static void tear_down(struct world *world)
{
    for (unsigned i = 0; i < world->count; i++) {
        client_finish(&world->clients[i], CLOSE_NORMAL);
    }
    one_shard_turn(&world->shard, 1000);
    positions_destroy(world->shard.positions);
    actor_system_destroy(world->system);
    shard_finish(&world->shard);
}

/* One more of ann: its status. With `outbox` of another one it is of the same connection. */
static int enter(struct world *world, const struct client *same)
{
    struct client *client = &world->clients[world->count++];
    client_init(client, &world->shard, "/", "ann", WIRE_JSON);
    struct outbox *own = client->socket.outbox;
    client->socket.outbox = same != NULL ? same->socket.outbox : own;
    int status = user_attach(&world->shard, &client->socket);
    client->socket.outbox = own;
    return status;
}

Test(excess, refuses_the_newest)
{
    static struct world world;
    set_up(&world, false);
    cr_expect_eq(enter(&world, NULL), 0);
    cr_expect_eq(enter(&world, NULL), 0);
    cr_expect_eq(enter(&world, NULL), STATUS_FULL);
    cr_expect(!world.clients[0].ended && !world.clients[1].ended);
    tear_down(&world);
}

Test(excess, replaces_the_oldest_which_stays_away)
{
    static struct world world;
    set_up(&world, true);
    cr_expect_eq(enter(&world, NULL), 0);
    cr_expect_eq(enter(&world, NULL), 0);
    cr_expect(!world.clients[0].ended);
    cr_expect_eq(enter(&world, NULL), 0);
    cr_expect(world.clients[0].ended && !world.clients[1].ended);
    cr_expect_eq(world.clients[0].reason, CLOSE_REPLACED);
    cr_expect(world.clients[0].socket.left, "it is not kept for its return");
    cr_expect_eq(enter(&world, NULL), 0);
    cr_expect(world.clients[1].ended && !world.clients[2].ended && !world.clients[3].ended);
    tear_down(&world);
}

Test(excess, those_that_leave_are_bounded_too)
{
    static struct world world;
    set_up(&world, true);
    for (unsigned i = 0; i < 2 * LIMIT; i++) {
        cr_expect_eq(enter(&world, NULL), 0);
    }
    cr_expect_eq(enter(&world, NULL), STATUS_FULL, "none of them has gone yet");
    tear_down(&world);
}

Test(excess, a_connection_does_not_replace_itself)
{
    static struct world world;
    set_up(&world, true);
    cr_expect_eq(enter(&world, NULL), 0);
    cr_expect_eq(enter(&world, &world.clients[0]), 0);
    world.clients[1].socket.outbox = world.clients[0].socket.outbox;
    cr_expect_eq(enter(&world, &world.clients[0]), STATUS_FULL);
    cr_expect(!world.clients[0].ended && !world.clients[1].ended);
    world.clients[1].socket.outbox = &world.clients[1].outbox;
    tear_down(&world);
}
