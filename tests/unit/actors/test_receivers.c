/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a receiver of a broadcast costs: no allocation. As many are made for one as for fifty.
 */
#include <criterion/criterion.h>

#include "actors/assembly/shard_floors.h"
#include "actors/deliver/fanout.h"
#include "actors/deliver/fanout_proto.h"
#include "actors/inbox/positions.h"
#include "actors/user/user.h"
#include "tests/support/alloc_count.h"
#include "tests/support/client.h"
#include "tests/support/one_shard.h"

TestSuite(receivers, .timeout = 60);

enum { RECEIVERS = 50, EVENTS = 8, START_MS = 5000 };

struct world {
    struct actor_system *system;
    struct sched *sched;
    struct actor_config config;
    struct shard shard;
    struct fanout *fanout;
    uint64_t now_ms;
    uint64_t number;
    struct client clients[RECEIVERS];
    unsigned count;
    uint64_t received;
};

static void turn(struct world *world)
{
    one_shard_turn(&world->shard, world->now_ms);
}

static void on_received(struct client *client, const struct client_packet *packet)
{
    struct world *world = client->context;
    (void)packet;
    world->received++;
}

static void enter(struct world *world, enum wire_format format)
{
    struct client *client = &world->clients[world->count++];
    client->received = on_received;
    client->context = world;
    client_init(client, &world->shard, "/", "ann", format);
    cr_assert_eq(user_attach(&world->shard, &client->socket), 0);
    turn(world);
    cr_assert_eq(fanout_join(world->fanout, &client->socket, BYTES("red")), 0);
    turn(world);
}

static void set_up(struct world *world, enum batching_mode batching)
{
    *world = (struct world){.now_ms = START_MS};
    world->config = (struct actor_config){.node = "n",
        .epoch = "e",
        .names = {.prefix = "peal", .slots = 1024},
        .adapter_key = "socket.io",
        .batching = batching,
        .tick_ms = 100,
        .events_per_tick = 1000,
        .connections_per_user = RECEIVERS,
        .recheck_ms = 1000000};
    world->system = actor_system_create(1);
    world->sched = actor_system_sched(world->system, 0);
    sched_bind(world->sched, one_shard_wake, NULL, &world->shard);
    shard_init(&world->shard, world->sched, &world->config);
    turn(world);
    world->shard.positions = positions_create(&world->shard);
    world->fanout = shard_open_nsp(&world->shard, BYTES("/"));
}

static void tear_down(struct world *world)
{
    for (unsigned i = 0; i < world->count; i++) {
        client_finish(&world->clients[i], CLOSE_NORMAL);
    }
    turn(world);
    positions_destroy(world->shard.positions);
    actor_system_destroy(world->system);
    shard_finish(&world->shard);
}

static void publish(struct world *world)
{
    struct event *event = NULL;
    struct bytes red = BYTES("red");
    cr_assert_eq(event_from_json(BYTES("[\"e\",{\"text\":\"hello\"}]"), NULL, 0, 0, &event), 0);
    struct broadcast *broadcast = broadcast_new(event, &red, 1, NULL, 0);
    broadcast->number = ++world->number;
    struct fanout_event *msg = fanout_event_new();
    msg->broadcast = broadcast;
    msg_send(world->sched, world->fanout->actor.self, msg);
}

/* Allocations of a turn that brings `events` events to all, the tick included. */
static uint64_t measure(struct world *world, unsigned events)
{
    uint64_t received = world->received;
    uint64_t before = alloc_count();
    for (unsigned i = 0; i < events; i++) {
        publish(world);
    }
    turn(world);
    world->now_ms += world->config.tick_ms;
    turn(world);
    uint64_t count = alloc_count() - before;
    cr_assert_eq(world->received - received, (uint64_t)events * world->count);
    return count;
}

static void check(enum wire_format format, enum batching_mode batching, unsigned events)
{
    static struct world world;
    set_up(&world, batching);
    enter(&world, format);
    (void)measure(&world, events); /* what is kept from one turn to the next is there */
    uint64_t one = measure(&world, events);
    cr_assert_gt(one, 0, "they are counted");
    while (world.count < RECEIVERS) {
        enter(&world, format);
    }
    (void)measure(&world, events);
    uint64_t many = measure(&world, events);
    cr_expect_eq(many, one, "format %d, %u events: %u receivers cost %llu allocations, one %llu",
        (int)format, events, RECEIVERS, (unsigned long long)many, (unsigned long long)one);
    tear_down(&world);
}

Test(receivers, cost_no_allocation_in_any_format)
{
    for (unsigned format = 0; format < WIRE_FORMAT_COUNT; format++) {
        check((enum wire_format)format, BATCHING_OFF, 1);
        check((enum wire_format)format, BATCHING_OFF, EVENTS);
        check((enum wire_format)format, BATCHING_ALWAYS, EVENTS);
    }
}
