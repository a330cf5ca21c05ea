/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What rooms remember, one rule a test: how much and for how long, of what, and what is told of it.
 */
#include <criterion/criterion.h>
#include <stdio.h>

#include "actors/deliver/broadcast.h"
#include "actors/order/sequencer.h"
#include "actors/user/user.h"
#include "tests/support/room_world.h"

TestSuite(room_rules, .timeout = 60);

enum { SEEDS = 40 };

static void rejoin(struct guest *guest, unsigned node)
{
    guest_enter(guest, node);
    guest_join(guest, 0, true);
    nodes_settle(guest->world->nodes);
}

/* A node that was cut off delivered something to its own clients: the others cannot have it. */
Test(room_rules, what_a_node_that_was_cut_off_sent_alone_is_no_secret)
{
    static struct room_world world;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        room_world_begin(&world, seed,
            &(struct nodes_options){.nodes = 2, .shards = 2, .bus = true, .replay = 100});
        struct guest *guest = &world.guests[1];
        guest_drop(guest);
        rejoin(guest, 1);
        cr_assert(guest->had[0].joined);
        room_world_post(&world, 1, 0);
        nodes_settle(world.nodes);
        guest_drop(guest);
        fake_redis_reach(world.nodes->redis, 1, false);
        fake_redis_drop(world.nodes->redis, 1, 1);
        nodes_settle(world.nodes);
        room_world_post(&world, 1, 0);
        nodes_settle(world.nodes);
        fake_redis_reach(world.nodes->redis, 1, true);
        nodes_advance(world.nodes, 10000);
        nodes_settle(world.nodes);
        unsigned lost = guest->lost;
        rejoin(guest, 0);
        cr_expect_eq(guest->lost, lost + 1, "seed %u", (unsigned)seed);
        guest_drop(guest);
        rejoin(guest, 1); /* where it is known, with the position that it has from node 0 */
        room_world_end(&world);
    }
}

static void post_text(struct room_world *world, const char *text, const struct bytes *names,
    uint32_t rooms_count, const struct bytes *except, uint32_t except_count)
{
    struct event *event;
    cr_assert_eq(event_from_json(bytes_str(text), NULL, 0, 0, &event), 0);
    struct shard *shard = nodes_on(world->nodes, 0, 0);
    cr_assert_eq(sequencer_send(shard, BYTES("/"),
                     broadcast_new(event, names, rooms_count, except, except_count)),
        0);
    nodes_settle(world->nodes);
}

static struct room_world *alone(uint32_t replay, uint32_t memory_bytes)
{
    static struct room_world world;
    room_world_begin(&world, 1,
        &(struct nodes_options){
            .nodes = 1, .shards = 2, .replay = replay, .memory_bytes = memory_bytes});
    return &world;
}

static struct guest *absent(struct room_world *world)
{
    struct guest *guest = &world->guests[1];
    guest_drop(guest);
    rejoin(guest, 0);
    guest_drop(guest);
    return guest;
}

static uint64_t stat(const struct room_world *world, size_t offset)
{
    return nodes_stat(world->nodes, 0, offset);
}

Test(room_rules, what_is_older_than_its_age_is_forgotten)
{
    struct room_world *world = alone(100, 0);
    struct guest *guest = absent(world);
    room_world_post(world, 0, 0);
    nodes_settle(world->nodes);
    cr_expect_eq(stat(world, offsetof(struct shard_stats, memory_events)), 1);
    nodes_advance(world->nodes, 59000);
    rejoin(guest, 0);
    cr_expect_eq(guest->recovered, 1, "within a minute");
    cr_expect_eq(guest->had[0].count, 1);
    guest_drop(guest);
    room_world_post(world, 0, 0);
    nodes_settle(world->nodes);
    nodes_advance(world->nodes, 63000);
    nodes_settle(world->nodes);
    cr_expect_eq(stat(world, offsetof(struct shard_stats, memory_events)), 0);
    cr_expect_eq(stat(world, offsetof(struct shard_stats, memory_rooms)), 0);
    cr_expect_eq(stat(world, offsetof(struct shard_stats, memory_bytes)), 0);
    rejoin(guest, 0);
    cr_expect_eq(guest->lost, 1, "behind it");
    guest_drop(guest);
    rejoin(guest, 0);
    cr_expect_eq(guest->recovered, 2, "nothing was sent since");
    room_world_end(world);
}

Test(room_rules, what_is_too_much_for_an_outbox_is_not_sent)
{
    struct room_world *world = alone(100, 0);
    static char text[400 << 10];
    const struct bytes name = BYTES("mem:red");
    memset(text, 'x', sizeof(text));
    struct guest *guest = absent(world);
    memcpy(text, "[\"big\",\"", 8);
    memcpy(text + sizeof(text) - 3, "\"]", 3);
    for (unsigned i = 0; i < 2; i++) {
        post_text(world, text, &name, 1, NULL, 0);
    }
    rejoin(guest, 0);
    cr_expect_eq(guest->recovered, 1, "two fit into 7/8 of 1 MiB");
    guest_drop(guest);
    for (unsigned i = 0; i < 3; i++) {
        post_text(world, text, &name, 1, NULL, 0);
    }
    guest->had[0].position[0] = '\0';
    rejoin(guest, 0); /* where it stands now is behind all of them */
    guest_drop(guest);
    for (unsigned i = 0; i < 3; i++) {
        post_text(world, text, &name, 1, NULL, 0);
    }
    rejoin(guest, 0);
    cr_expect_eq(guest->lost, 1, "three do not");
    cr_expect_eq(stat(world, offsetof(struct shard_stats, rejoins_lost)), 1);
    room_world_end(world);
}

Test(room_rules, the_most_silent_room_goes_when_all_are_too_large)
{
    struct room_world *world = alone(100, 6000);
    struct guest *guest = absent(world);
    room_world_post(world, 0, 0);
    nodes_settle(world->nodes);
    for (unsigned i = 0; i < 40; i++) {
        room_world_post(world, 0, 1);
        nodes_settle(world->nodes);
    }
    cr_expect_gt(stat(world, offsetof(struct shard_stats, memory_evicted)), 0);
    cr_expect_leq(stat(world, offsetof(struct shard_stats, memory_bytes)), 6000);
    rejoin(guest, 0);
    cr_expect_eq(guest->lost, 1, "what it lacks is not there");
    room_world_end(world);
}

static struct {
    char first[512];
    unsigned events;
} plain;

static void on_plain(struct client *client, const struct client_packet *packet)
{
    (void)client;
    if (!packet->is_ack && bytes_eq_str(packet->name, "own")) {
        plain.events++;
        snprintf(plain.first, sizeof(plain.first), "%.*s", (int)packet->args.len, packet->args.at);
    }
}

/* A client of /ws in both rooms. */
static void enter_plain(struct room_world *world, struct client *client, const char *user)
{
    memset(client, 0, sizeof(*client));
    client->received = on_plain;
    client_init(client, nodes_on(world->nodes, 0, nodes_user_shard(world->nodes, 0, user)), "/",
        user, WIRE_JSON);
    cr_assert_eq(user_attach(client->socket.shard, &client->socket), 0);
    for (unsigned i = 0; i < ROOM_NAMES; i++) {
        char text[64];
        snprintf(text, sizeof(text), "[\"join_room\",\"%s\"]", room_world_rooms[i]);
        user_event(&client->socket, bytes_str(text), NULL, NULL, 0);
    }
    nodes_settle(world->nodes);
}

Test(room_rules, an_offset_names_no_room_that_its_reader_may_not_know)
{
    struct room_world *world = alone(100, 0);
    struct client client;
    enter_plain(world, &client, "zoe");
    const struct bytes both[] = {BYTES("mem:red"), BYTES("mem:secret")};
    post_text(world, "[\"own\",1]", both, 1, NULL, 0);
    cr_expect_not_null(
        strstr(plain.first, "{\"_peal\":{\"room\":\"mem:red\",\"offset\":\""), "%s", plain.first);
    post_text(world, "[\"own\",2]", both, 2, NULL, 0);
    cr_expect_not_null(strstr(plain.first, "2,{\"_peal\":{\"offset\":\""), "%s", plain.first);
    const struct bytes other = BYTES("any:one");
    post_text(world, "[\"own\",3]", &other, 1, NULL, 0);
    cr_expect_eq(plain.events, 2);
    nodes_on(world->nodes, 0, sched_shard(client.socket.shard->sched));
    client_finish(&client, CLOSE_NORMAL);
    room_world_end(world);
}

Test(room_rules, who_an_event_was_not_for_does_not_get_it_later)
{
    struct room_world *world = alone(100, 0);
    struct guest *guest = absent(world);
    const struct bytes name = BYTES("mem:red");
    const struct bytes but[] = {BYTES("user:u1"), BYTES("someone")};
    post_text(world, "[\"e\",{\"room\":\"mem:red\",\"v\":0}]", &name, 1, but, 2);
    world->next_value[0] = 1;
    room_world_post(world, 0, 0);
    nodes_settle(world->nodes);
    rejoin(guest, 0);
    cr_expect_eq(guest->recovered, 1);
    cr_assert_eq(guest->had[0].count, 1);
    cr_expect_eq(guest->had[0].values[0], 1);
    room_world_end(world);
}

Test(room_rules, who_comes_goes_or_types_is_not_remembered)
{
    struct room_world *world = alone(100, 0);
    const struct bytes name = BYTES("mem:red");
    uint64_t before = stat(world, offsetof(struct shard_stats, memory_events));
    cr_expect_eq(before, 0, "that the first guest has joined is nothing to remember");
    post_text(world, "[\"typing\",{}]", &name, 1, NULL, 0);
    post_text(world, "[\"user_left_room\",{}]", &name, 1, NULL, 0);
    cr_expect_eq(stat(world, offsetof(struct shard_stats, memory_events)), 0);
    post_text(world, "[\"new_message\",{}]", &name, 1, NULL, 0);
    cr_expect_eq(stat(world, offsetof(struct shard_stats, memory_events)), 1);
    room_world_end(world);
}
