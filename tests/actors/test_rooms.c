/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What one client may do in rooms, one rule a test: speaking behind a join, who may speak, how many
 * rooms, what is said twice.
 */
#include <criterion/criterion.h>
#include <stdio.h>

#include "actors/user/user.h"
#include "codec/base/mem.h"
#include "codec/json_scan.h"
#include "tests/support/client.h"
#include "tests/support/nodes.h"

TestSuite(rooms, .timeout = 60);

enum { SHARDS = 3, ROOMS_MAX = 3, HEARD_MAX = 600 };

struct person {
    struct client client; /* first */
    uint64_t asked; /* the id of the last request */
    unsigned answers;
    unsigned refusals;
    char last[256]; /* the last refusal, or answer to what is said twice */
    unsigned heard; /* new_message */
    unsigned order[HEARD_MAX]; /* what they say, a number each */
};

struct world {
    struct nodes *nodes;
    struct person ann;
    struct person bob;
};

static void on_received(struct client *client, const struct client_packet *packet)
{
    struct person *person = (struct person *)(void *)client;
    struct bytes value;
    if (packet->is_ack) {
        bool ok = false;
        person->answers++;
        cr_assert_eq(json_scan_get(packet->args, "ok", &value), 0);
        cr_assert_eq(json_scan_bool(value, &ok), 0);
        person->refusals += !ok;
        if (!ok || json_scan_get(packet->args, "duplicate", &value) == 0) {
            snprintf(
                person->last, sizeof(person->last), "%.*s", (int)packet->args.len, packet->args.at);
        }
    } else if (bytes_eq_str(packet->name, "new_message")) {
        char at[64];
        struct bytes text;
        cr_assert_eq(json_scan_get(packet->args, "message", &value), 0);
        cr_assert_eq(json_scan_string(value, at, sizeof(at), &text), 0);
        uint64_t number;
        cr_assert_eq(bytes_to_u64(text, HEARD_MAX, &number), 0);
        cr_assert_lt(person->heard, HEARD_MAX);
        person->order[person->heard++] = (unsigned)number;
    }
}

static void enter(struct world *world, struct person *person, const char *user)
{
    struct nodes *nodes = world->nodes;
    struct shard *shard = nodes_on(nodes, 0, nodes_user_shard(nodes, 0, user));
    memset(person, 0, sizeof(*person));
    person->client.received = on_received;
    client_init(&person->client, shard, "/", user, WIRE_SIO);
    cr_assert_eq(user_attach(shard, &person->client.socket), 0);
}

static struct world *begin(uint64_t seed)
{
    static struct world world;
    world.nodes = nodes_create(seed, &(struct nodes_options){.nodes = 1, .shards = SHARDS});
    enter(&world, &world.ann, "ann");
    enter(&world, &world.bob, "bob");
    nodes_settle(world.nodes);
    return &world;
}

static void act_as(const struct world *world, const struct person *person)
{
    nodes_on(world->nodes, 0, sched_shard(person->client.socket.shard->sched));
}

static void end(struct world *world)
{
    struct person *people[] = {&world->ann, &world->bob};
    for (size_t i = 0; i < ARRAY_LEN(people); i++) {
        act_as(world, people[i]);
        client_finish(&people[i]->client, CLOSE_NORMAL);
    }
    nodes_settle(world->nodes);
    cr_assert_eq(nodes_stat(world->nodes, 0, offsetof(struct shard_stats, users)), 0);
    cr_assert_eq(nodes_stat(world->nodes, 0, offsetof(struct shard_stats, rooms)), 0);
    nodes_destroy(world->nodes);
}

/* An event with one argument, to be acknowledged. */
static void ask(struct world *world, struct person *person, const char *event, const char *argument)
{
    char text[256];
    uint64_t id = ++person->asked;
    snprintf(text, sizeof(text), "[\"%s\",%s]", event, argument);
    act_as(world, person);
    user_event(&person->client.socket, bytes_str(text), &id, NULL, 0);
}

static void say(struct world *world, struct person *person, const char *room, unsigned number)
{
    char text[128];
    snprintf(text, sizeof(text), "{\"roomId\":\"%s\",\"message\":\"%u\"}", room, number);
    ask(world, person, "send_message", text);
}

/* Bob never asked for batches; his room's type has them, another room of his has not. */
Test(rooms, windows_of_a_type_leave_as_one_event)
{
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct world *world = begin(seed);
        static const char *const names[] = {"batch:r", "any:r"};
        for (size_t i = 0; i < ARRAY_LEN(names); i++) {
            char quoted[40];
            snprintf(quoted, sizeof(quoted), "\"%s\"", names[i]);
            ask(world, &world->ann, "join_room", quoted);
            ask(world, &world->bob, "join_room", quoted);
        }
        nodes_advance(world->nodes, 200); /* that ann is there has been told */
        nodes_settle(world->nodes);
        uint64_t before = world->bob.client.batches;
        for (unsigned i = 0; i < 5; i++) {
            say(world, &world->ann, "batch:r", i);
        }
        nodes_settle(world->nodes);
        cr_assert_eq(world->bob.heard, 0, "it waits for the tick");
        nodes_advance(world->nodes, 200);
        nodes_settle(world->nodes);
        cr_assert_eq(world->bob.heard, 5);
        cr_assert_eq(world->bob.client.batches, before + 1);
        say(world, &world->ann, "any:r", 5);
        nodes_settle(world->nodes);
        cr_assert_eq(world->bob.heard, 6, "at once");
        cr_assert_eq(world->bob.client.batches, before + 1, "as it is");
        say(world, &world->ann, "batch:r", 6);
        nodes_settle(world->nodes);
        say(world, &world->ann, "any:r", 7);
        nodes_settle(world->nodes);
        cr_assert_eq(world->bob.heard, 8, "what waited goes in front");
        for (unsigned i = 0; i < 8; i++) {
            cr_assert_eq(world->bob.order[i], i);
        }
        end(world);
    }
}

/* Rooms lie on any shard: each is joined and spoken in without waiting for the answer. */
Test(rooms, what_follows_a_join_waits_for_it)
{
    for (uint64_t seed = 1; seed <= 50; seed++) {
        struct world *world = begin(seed);
        char room[32];
        char quoted[40];
        snprintf(room, sizeof(room), "any:%llu", (unsigned long long)seed);
        snprintf(quoted, sizeof(quoted), "\"%s\"", room);
        ask(world, &world->bob, "join_room", quoted);
        nodes_settle(world->nodes);
        ask(world, &world->ann, "join_room", quoted);
        for (unsigned i = 0; i < 5; i++) {
            say(world, &world->ann, room, i);
        }
        ask(world, &world->ann, "leave_room", quoted);
        say(world, &world->ann, room, 99);
        nodes_settle(world->nodes);
        cr_assert_eq(world->ann.answers, 8, "seed %llu", (unsigned long long)seed);
        cr_assert_eq(world->ann.refusals, 1, "seed %llu: only what came behind the leave: %s",
            (unsigned long long)seed, world->ann.last);
        cr_assert_eq(world->bob.heard, 5);
        for (unsigned i = 0; i < 5; i++) {
            cr_assert_eq(world->bob.order[i], i);
        }
        end(world);
    }
}

Test(rooms, what_waits_for_a_join_is_bounded)
{
    struct world *world = begin(1);
    ask(world, &world->ann, "join_room", "\"any:many\"");
    for (unsigned i = 0; i < 300; i++) {
        say(world, &world->ann, "any:many", i);
    }
    nodes_settle(world->nodes);
    nodes_advance(world->nodes, 200);
    nodes_settle(world->nodes);
    cr_assert_eq(world->ann.answers, 301);
    cr_assert_eq(world->ann.heard + world->ann.refusals, 300);
    cr_assert_geq(world->ann.heard, 256);
    end(world);
}

/* What waits is counted, and is no more than a few of the largest messages. */
Test(rooms, what_waits_for_a_join_is_bounded_in_bytes)
{
    enum { LARGEST = 500, COUNT = 60 };
    struct world *world = begin(2);
    const struct shard_stats *stats = &world->ann.client.socket.shard->stats;
    world->nodes->node[0].config.message_bytes = LARGEST;
    ask(world, &world->ann, "join_room", "\"any:large\"");
    for (unsigned i = 0; i < COUNT; i++) {
        say(world, &world->ann, "any:large", i);
    }
    uint64_t most = 0;
    while (nodes_step(world->nodes)) {
        most = stats->waiting_bytes > most ? stats->waiting_bytes : most;
    }
    cr_expect_gt(most, 2 * LARGEST, "%llu", (unsigned long long)most);
    cr_expect_lt(most, 5 * LARGEST, "%llu", (unsigned long long)most);
    nodes_settle(world->nodes);
    nodes_advance(world->nodes, 200);
    nodes_settle(world->nodes);
    cr_expect_eq(stats->waiting_bytes, 0);
    cr_expect_eq(world->ann.heard + world->ann.refusals, COUNT);
    cr_expect_gt(world->ann.heard, 4);
    cr_expect_gt(world->ann.refusals, COUNT / 2);
    end(world);
}

Test(rooms, what_waits_for_a_full_room_is_refused)
{
    struct world *world = begin(2);
    struct person others[3];
    for (unsigned i = 0; i < ARRAY_LEN(others); i++) {
        char name[16];
        snprintf(name, sizeof(name), "other%u", i);
        enter(world, &others[i], name);
        ask(world, &others[i], "join_room", "\"small:1\"");
        nodes_settle(world->nodes);
    }
    ask(world, &world->ann, "join_room", "\"small:1\"");
    say(world, &world->ann, "small:1", 1);
    nodes_settle(world->nodes);
    cr_assert_eq(world->ann.refusals, 2);
    cr_assert_eq(others[0].heard, 0);
    for (unsigned i = 0; i < ARRAY_LEN(others); i++) {
        act_as(world, &others[i]);
        client_finish(&others[i].client, CLOSE_NORMAL);
    }
    end(world);
}

/* Who goes takes what waited along. */
Test(rooms, who_goes_while_a_join_is_asked_leaves_nothing)
{
    struct world *world = begin(3);
    for (unsigned i = 0; i < 20; i++) {
        struct person other;
        enter(world, &other, "other");
        ask(world, &other, "join_room", "\"any:1\"");
        say(world, &other, "any:1", 1);
        for (unsigned steps = 0; steps < i; steps++) {
            (void)nodes_step(world->nodes);
        }
        act_as(world, &other);
        client_finish(&other.client, CLOSE_NORMAL);
        nodes_settle(world->nodes);
    }
    end(world);
}

static bool denies(void *context, const struct identity *who, struct bytes room)
{
    (void)context;
    (void)who;
    return !bytes_starts(room, BYTES("mute:"));
}

Test(rooms, a_type_that_forbids_speaking_forbids_all_of_it)
{
    struct world *world = begin(4);
    world->nodes->node[0].config.may_send = denies;
    world->nodes->node[0].config.relay_unknown = true;
    ask(world, &world->ann, "join_room", "\"mute:1\"");
    ask(world, &world->bob, "join_room", "\"mute:1\"");
    nodes_settle(world->nodes);
    uint64_t before = world->bob.client.received_count;
    say(world, &world->ann, "mute:1", 1);
    ask(world, &world->ann, "typing:start", "{\"roomId\":\"mute:1\"}");
    ask(world, &world->ann, "own", "{\"roomId\":\"mute:1\"}");
    nodes_settle(world->nodes);
    cr_assert_eq(world->ann.refusals, 3, "%s", world->ann.last);
    cr_assert_eq(world->bob.client.received_count, before);
    end(world);
}

Test(rooms, a_socket_is_in_so_many_rooms_at_most)
{
    struct world *world = begin(5);
    world->nodes->node[0].config.rooms = ROOMS_MAX;
    ask(world, &world->ann, "join_room", "\"any:1\"");
    nodes_settle(world->nodes);
    ask(world, &world->ann, "join_room", "\"any:2\"");
    ask(world, &world->ann, "join_room", "\"any:3\"");
    ask(world, &world->ann, "join_room", "\"any:4\"");
    nodes_settle(world->nodes);
    cr_assert_eq(world->ann.refusals, 1, "those that are asked count, too");
    cr_assert_not_null(strstr(world->ann.last, "Too many rooms"), "%s", world->ann.last);
    cr_assert_eq(world->ann.client.socket.membership_count, ROOMS_MAX);
    ask(world, &world->ann, "leave_room", "\"any:1\"");
    ask(world, &world->ann, "join_room", "\"any:4\"");
    nodes_settle(world->nodes);
    cr_assert_eq(world->ann.refusals, 1);
    end(world);
}

static void say_once(struct world *world, struct person *person, unsigned number, const char *nonce)
{
    char text[128];
    snprintf(text, sizeof(text), "{\"roomId\":\"any:1\",\"message\":\"%u\",\"nonce\":%s}", number,
        nonce);
    ask(world, person, "send_message", text);
    nodes_settle(world->nodes);
}

Test(rooms, a_nonce_is_good_for_one_message)
{
    struct world *world = begin(6);
    world->nodes->node[0].config.nonce_ms = 60000;
    ask(world, &world->ann, "join_room", "\"any:1\"");
    ask(world, &world->bob, "join_room", "\"any:1\"");
    nodes_settle(world->nodes);
    say_once(world, &world->ann, 1, "\"n1\"");
    say_once(world, &world->ann, 2, "\"n1\"");
    cr_assert_not_null(strstr(world->ann.last, "\"duplicate\":true"), "%s", world->ann.last);
    say_once(world, &world->bob, 3, "\"n1\""); /* each user has nonces of its own */
    say_once(world, &world->ann, 4, "\"n2\"");
    nodes_advance(world->nodes, 61000);
    say_once(world, &world->ann, 5, "\"n1\""); /* forgotten */
    nodes_settle(world->nodes);
    static const unsigned expected[] = {1, 3, 4, 5};
    cr_assert_eq(world->bob.heard, ARRAY_LEN(expected));
    cr_assert_eq(memcmp(world->bob.order, expected, sizeof(expected)), 0);
    end(world);
}
