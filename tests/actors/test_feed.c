/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers of the store about where an inbox stands, and announcements, that pass each other.
 */
#include <criterion/criterion.h>

#include "actors/inbox/announce.h"
#include "actors/inbox/inbox.h"
#include "actors/user/user.h"
#include "actors/user_proto.h"
#include "tests/support/client.h"
#include "tests/support/nodes.h"

TestSuite(feed, .timeout = 60);

#define USER "ann"

/* A node with one client. */
struct world {
    struct nodes *nodes;
    struct client client;
    struct inbox *inbox;
};

static void on_received(struct client *client, const struct client_packet *packet)
{
    (void)client;
    (void)packet;
}

/* What follows is done on the shard of the user. */
static struct shard *act(struct world *world)
{
    return nodes_on(world->nodes, 0, nodes_user_shard(world->nodes, 0, USER));
}

static void hold_stores(struct world *world, bool held)
{
    for (unsigned i = 0; i < 2; i++) {
        fake_store_hold(world->nodes->node[0].shards[i].shard.store, held);
    }
}

static void set_up(struct world *world)
{
    const struct nodes_options options = {.nodes = 1, .shards = 2, .bus = true, .partitions = 1};
    *world = (struct world){.nodes = nodes_create(1, &options)};
    nodes_settle(world->nodes);
}

/* `held`: the inbox waits for the first answer of the store. */
static void connect_client(struct world *world, bool held)
{
    world->client.received = on_received;
    client_init(&world->client, act(world), "/", USER, WIRE_SIO);
    cr_assert_eq(user_attach(act(world), &world->client.socket), 0);
    world->inbox = inbox_of(world->client.socket.user);
    hold_stores(world, held);
    nodes_settle(world->nodes);
    cr_assert_eq(world->inbox->phase, held ? INBOX_WAITS_POSITION : INBOX_READY);
}

static void tear_down(struct world *world)
{
    (void)act(world);
    client_finish(&world->client, CLOSE_NORMAL);
    nodes_settle(world->nodes);
    nodes_destroy(world->nodes);
}

/* An answer of the store about where the inbox stands; `preference_rev` 0: no preferences. */
static void answer_position(struct world *world, uint64_t rev, uint64_t preference_rev)
{
    struct user_position *msg = user_position_new();
    msg->seq = msg->rev = rev;
    msg->preference_rev = preference_rev;
    msg_send(act(world)->sched, world->inbox->owner.actor.self, msg);
    nodes_settle(world->nodes);
}

static void announce(struct world *world, struct store_row *row, uint64_t rev)
{
    row->rev = rev;
    announce_row(act(world), row);
    nodes_settle(world->nodes);
}

Test(feed, what_is_known_to_have_changed_is_read_though_the_position_is_older)
{
    struct world world;
    set_up(&world);
    connect_client(&world, true);
    fake_store_post(world.nodes->store, USER, "after the position was read");
    struct user_moved *moved = user_moved_new();
    moved->key = buf_new_name(BYTES(USER));
    moved->rev = 1;
    msg_send_home(act(&world)->sched, moved);
    nodes_settle(world.nodes);
    answer_position(&world, 0, 0);
    cr_assert_eq(world.inbox->phase, INBOX_READY);
    cr_expect(world.inbox->reading, "not only with the next recheck");
    hold_stores(&world, false);
    nodes_settle(world.nodes);
    cr_expect_eq(world.inbox->rev, 1);
    tear_down(&world);
}

Test(feed, an_older_position_does_not_take_the_place_of_a_newer_one)
{
    struct world world;
    set_up(&world);
    connect_client(&world, true);
    fake_store_post(world.nodes->store, USER, "between the two");
    answer_position(&world, 1, 9);
    cr_assert_eq(world.inbox->phase, INBOX_WAITS_POSITION, "its preferences are being read");
    answer_position(&world, 0, 9);
    cr_expect_eq(world.inbox->rev, 1);
    hold_stores(&world, false);
    nodes_settle(world.nodes);
    tear_down(&world);
}

/* A device with another numbering is told to begin anew: what is heard meanwhile is read. */
Test(feed, what_is_announced_while_a_resync_is_read_is_read)
{
    struct world world;
    set_up(&world);
    struct store_row row = fake_store_post(world.nodes->store, USER, "one");
    connect_client(&world, false);
    world.inbox->rev = 5; /* of a store that is no more */
    hold_stores(&world, true);
    announce(&world, &row, 7);
    nodes_advance(world.nodes, 50);
    nodes_settle(world.nodes);
    cr_assert(world.inbox->reading);
    announce(&world, &row, 8);
    hold_stores(&world, false);
    nodes_settle(world.nodes);
    cr_assert_eq(world.inbox->rev, 1, "the store's");
    fake_store_post(world.nodes->store, USER, "two");
    nodes_advance(world.nodes, 100);
    nodes_settle(world.nodes);
    cr_expect_eq(world.inbox->rev, 2, "%llu", (unsigned long long)world.inbox->rev);
    cr_expect_eq(world.inbox->heard_rev, 2, "and it is over");
    tear_down(&world);
}
