/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Records of recoverable sockets on the bus: written when something changes, and there for
 * recovery.age after their node is not any more.
 *
 * Order of this file: the world, what nothing costs, nodes that end, what is lost.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "actors/deliver/broadcast.h"
#include "actors/deliver/fanout.h"
#include "actors/deliver/watch.h"
#include "actors/identity.h"
#include "actors/order/sequencer.h"
#include "actors/recover/recovery.h"
#include "actors/recover/recovery_bus.h"
#include "actors/user/user.h"
#include "tests/support/client.h"
#include "tests/support/nodes.h"

TestSuite(records, .timeout = 120);

enum {
    USERS = 12,
    AGE_MS = 3000,
    ROUND_MS = 2000, /* at most between two renewals, which a third of the age and a tick are */
    MARGIN_MS = 5000, /* that a lease lasts for longer, so that a slow node keeps it */
    SEEDS = 20,
    HEARD_MAX = 16,
};

struct guest {
    struct client client; /* first */
    unsigned node;
    unsigned shard;
    char user[16];
    char pid[SOCKET_SID_LEN];
    char sid[SOCKET_SID_LEN];
    bool one_way;
    struct builder place; /* of one that is one way, as it was told last */
    char heard[HEARD_MAX + 1]; /* first letters of the events it was sent */
};

struct world {
    struct nodes *nodes;
    struct guest guests[USERS];
};

static struct fake_records *records_of(const struct world *world)
{
    return &fake_redis_data(world->nodes->redis)->records;
}

static size_t count(const struct world *world, const char *prefix)
{
    return fake_records_count(records_of(world), prefix, world->nodes->now_ms);
}

static void on_received(struct client *client, const struct client_packet *packet)
{
    struct guest *guest = container_of(client, struct guest, client);
    size_t len = strlen(guest->heard);
    if (!packet->is_ack && guest->one_way) {
        cr_assert_lt(len, HEARD_MAX);
        guest->heard[len] = packet->name.at[0];
    }
}

static void enter(struct world *world, struct guest *guest, unsigned node, struct recoverable *as)
{
    guest->client = (struct client){.received = on_received, .one_way = guest->one_way};
    guest->node = node;
    guest->shard = nodes_user_shard(world->nodes, node, guest->user);
    struct shard *shard = nodes_on(world->nodes, node, guest->shard);
    enum wire_format format = guest->one_way ? WIRE_JSON : WIRE_SIO;
    client_continue(&guest->client, shard, "/", guest->user, format, as);
    cr_assert_eq(user_attach(shard, &guest->client.socket), 0);
}

static void connect(struct world *world, unsigned i)
{
    struct guest *guest = &world->guests[i];
    snprintf(guest->user, sizeof(guest->user), "u%u", i);
    enter(world, guest, 0, NULL);
    memcpy(guest->pid, socket_pid(&guest->client.socket).at, sizeof(guest->pid));
    memcpy(guest->sid, guest->client.socket.sid, sizeof(guest->sid));
}

/* The client answers to a ping: it has had everything so far, its welcome too. */
static void beat(struct world *world, const struct guest *guest)
{
    const struct deliver_watch_ops *ops = guest->client.socket.fanout->watch->ops;
    nodes_on(world->nodes, guest->node, guest->shard);
    ops->pinged((struct socket *)(uintptr_t)&guest->client.socket);
    ops->ponged((struct socket *)(uintptr_t)&guest->client.socket);
}

static void set_up(struct world *world, uint64_t seed)
{
    const struct nodes_options options = {.nodes = 2,
        .shards = 2,
        .bus = true,
        .partitions = 1,
        .recovers = true,
        .recovery_ms = AGE_MS};
    *world = (struct world){.nodes = nodes_create(seed, &options)};
    nodes_settle(world->nodes);
    for (unsigned i = 0; i < USERS; i++) {
        connect(world, i);
    }
    nodes_settle(world->nodes);
    for (unsigned i = 0; i < USERS; i++) {
        beat(world, &world->guests[i]);
    }
}

static void leave(struct world *world, struct guest *guest, enum close_reason reason)
{
    nodes_on(world->nodes, guest->node, guest->shard);
    client_finish(&guest->client, reason);
}

static void tear_down(struct world *world)
{
    for (unsigned i = 0; i < USERS; i++) {
        leave(world, &world->guests[i], CLOSE_NORMAL);
    }
    nodes_settle(world->nodes);
    nodes_destroy(world->nodes);
    for (unsigned i = 0; i < USERS; i++) {
        builder_reset(&world->guests[i].place);
    }
}

static void pass(struct world *world, uint64_t ms)
{
    nodes_advance(world->nodes, ms);
    nodes_settle(world->nodes);
}

/* Coming back to another node. */

struct arrival {
    struct recovery_fetch *fetch;
    bool told;
};

static void on_fetched(struct recovery_fetch *fetch)
{
    ((struct arrival *)fetch->context)->told = true;
}

/* Whether the client, which tells no offset, is continued by `node`; the socket it had is gone. */
static bool come_back(struct world *world, struct guest *guest, unsigned node)
{
    struct arrival arrival = {0};
    unsigned number = nodes_user_shard(world->nodes, node, guest->user);
    struct shard *shard = nodes_on(world->nodes, node, number);
    struct claims *claims = claims_new(&(struct claims_fields){.user = bytes_str(guest->user)});
    struct identity *identity = identity_new(claims, false);
    const struct recovery_claim claim = {.nsp = BYTES("/"),
        .identity = identity,
        .pid = bytes_of(guest->pid, sizeof(guest->pid)),
        .offset = builder_bytes(&guest->place),
        .one_way = guest->one_way};
    arrival.fetch = recovery_fetch_start(shard, &claim);
    cr_assert_not_null(arrival.fetch);
    arrival.fetch->done = on_fetched;
    arrival.fetch->context = &arrival;
    for (unsigned waited = 0; !arrival.told; waited++) {
        cr_assert_lt(waited, 1000);
        pass(world, 10);
    }
    leave(world, guest, CLOSE_TRANSPORT);
    nodes_on(world->nodes, node, number);
    struct recoverable *claimed = recovery_claim(shard, &claim);
    identity_unref(identity);
    enter(world, guest, node, claimed);
    bool same = memcmp(guest->client.socket.sid, guest->sid, sizeof(guest->sid)) == 0;
    cr_assert_eq(same, claimed != NULL);
    return claimed != NULL;
}

/* What nothing costs. */

Test(records, nothing_is_written_while_nothing_changes)
{
    for (unsigned seed = 1; seed <= SEEDS; seed++) {
        struct world world;
        set_up(&world, seed);
        pass(&world, 2 * AGE_MS);
        cr_assert_eq(count(&world, "peal:session:"), USERS);
        uint64_t written = records_of(&world)->written;
        uint64_t commands = records_of(&world)->commands;
        cr_assert_geq(written, USERS);
        pass(&world, 20 * AGE_MS);
        cr_expect_eq(records_of(&world)->written, written, "no record is written again");
        uint64_t leases = 4; /* shards; two commands each, at most once a tick */
        cr_expect_leq(records_of(&world)->commands - commands, 2 * leases * 20 * AGE_MS / 1000);
        cr_expect_eq(count(&world, "peal:session:"), USERS, "and none vanishes");
        cr_expect_eq(count(&world, "peal:recordlist:"), USERS);
        cr_expect(come_back(&world, &world.guests[0], 1), "seed %u: it counts", seed);
        tear_down(&world);
    }
}

Test(records, what_changes_is_written_once)
{
    struct world world;
    set_up(&world, 1);
    uint64_t written = records_of(&world)->written;
    struct guest *guest = &world.guests[3];
    nodes_on(world.nodes, guest->node, guest->shard);
    user_event(&guest->client.socket, BYTES("[\"join_room\",\"r\"]"), &(uint64_t){1}, NULL, 0);
    pass(&world, 10 * AGE_MS);
    uint64_t more = records_of(&world)->written - written;
    cr_expect(more == 1 || more == 2, "for the room, and for the answer, not %u", (unsigned)more);
    tear_down(&world);
}

Test(records, nothing_is_left_of_sockets_that_end)
{
    struct world world;
    set_up(&world, 1);
    for (unsigned i = 0; i < USERS; i++) {
        leave(&world, &world.guests[i], i % 2 == 0 ? CLOSE_PEER : CLOSE_TRANSPORT);
    }
    pass(&world, 2 * AGE_MS);
    cr_expect_eq(count(&world, "peal:session:"), 0);
    cr_expect_eq(count(&world, "peal:recordlist:"), 0);
    nodes_destroy(world.nodes);
}

/* Nodes that end. */

Test(records, of_a_node_that_was_killed_last_for_the_age_and_are_swept)
{
    for (unsigned seed = 1; seed <= SEEDS; seed++) {
        struct world world;
        set_up(&world, seed);
        pass(&world, 5 * AGE_MS + nodes_dice(world.nodes, ROUND_MS));
        nodes_freeze(world.nodes, 0);
        pass(&world, AGE_MS + MARGIN_MS - 500);
        cr_expect(come_back(&world, &world.guests[0], 1), "seed %u: within the age", seed);
        pass(&world, ROUND_MS + 1000);
        cr_expect_not(come_back(&world, &world.guests[1], 1), "seed %u: too late", seed);
        pass(&world, 2 * ROUND_MS + 1000);
        cr_expect_eq(count(&world, "peal:session:"), 2, "those that are here");
        cr_expect_eq(count(&world, "peal:recordlist:"), 2);
        cr_expect_eq(count(&world, "peal:recordleases:"), 2, "of the shards that are here");
        nodes_thaw(world.nodes, 0);
        pass(&world, 4 * ROUND_MS);
        cr_expect_eq(count(&world, "peal:session:"), USERS, "seed %u: what it still has", seed);
        cr_expect(come_back(&world, &world.guests[2], 1), "seed %u", seed);
        tear_down(&world);
    }
}

static void publish(struct world *world)
{
    struct event *event;
    struct bytes name = BYTES("others");
    cr_assert_eq(event_from_json(BYTES("[\"e\",1]"), NULL, 0, 0, &event), 0);
    sequencer_send(
        nodes_on(world->nodes, 0, 0), BYTES("/"), broadcast_new(event, &name, 1, NULL, 0));
    nodes_settle(world->nodes);
}

/* How far clients of a node that was killed are known to have come, by a node that began late. */
static unsigned continue_late(uint64_t seed, bool beats)
{
    struct world world;
    unsigned continued = 0;
    set_up(&world, seed);
    nodes_stop(world.nodes, 1);
    for (unsigned round = 0; round < 10; round++) {
        publish(&world);
        for (unsigned i = 0; beats && i < USERS; i++) {
            beat(&world, &world.guests[i]);
        }
        pass(&world, AGE_MS / 2);
    }
    nodes_start(world.nodes, 1);
    pass(&world, 10);
    nodes_freeze(world.nodes, 0);
    for (unsigned i = 0; i < USERS; i++) {
        continued += come_back(&world, &world.guests[i], 1);
    }
    nodes_thaw(world.nodes, 0);
    tear_down(&world);
    return continued;
}

Test(records, say_how_far_idle_clients_have_come)
{
    for (unsigned seed = 1; seed <= SEEDS; seed++) {
        cr_expect_eq(continue_late(seed, true), USERS, "seed %u", seed);
        cr_expect_eq(continue_late(seed, false), 0, "seed %u: who has not answered", seed);
    }
}

/* Clients that only listen. */

/* Guest `i` is one from now on. */
static struct guest *begin_listening(struct world *world, unsigned i)
{
    struct guest *guest = &world->guests[i];
    leave(world, guest, CLOSE_NORMAL);
    nodes_settle(world->nodes);
    guest->one_way = true;
    connect(world, i);
    nodes_settle(world->nodes);
    return guest;
}

/* It has had all that was sent to it so far. */
static void take_place(struct world *world, struct guest *guest)
{
    nodes_on(world->nodes, guest->node, guest->shard);
    builder_reset(&guest->place);
    socket_place(&guest->client.socket, &guest->place);
    cr_assert_gt(builder_bytes(&guest->place).len, 0);
}

/* Send it events through a node, named by these letters. */
static void tell(struct world *world, const struct guest *guest, unsigned node, const char *names)
{
    char text[32];
    char room[32];
    snprintf(room, sizeof(room), "user:%s", guest->user);
    struct bytes name = bytes_str(room);
    for (; *names != '\0'; names++) {
        struct event *event;
        snprintf(text, sizeof(text), "[\"%c\",1]", *names);
        cr_assert_eq(event_from_json(bytes_str(text), NULL, 0, 0, &event), 0);
        sequencer_send(
            nodes_on(world->nodes, node, 0), BYTES("/"), broadcast_new(event, &name, 1, NULL, 0));
        nodes_settle(world->nodes);
    }
}

static void tell_alone(struct world *world, struct guest *guest, const char *text)
{
    struct event *event;
    nodes_on(world->nodes, guest->node, guest->shard);
    cr_assert_eq(event_from_json(bytes_str(text), NULL, 0, 0, &event), 0);
    cr_assert(socket_emit(&guest->client.socket, event));
    event_unref(event);
    nodes_settle(world->nodes);
}

Test(records, one_that_only_listens_is_continued_from_its_last_place)
{
    for (unsigned seed = 1; seed <= SEEDS; seed++) {
        struct world world;
        set_up(&world, seed);
        struct guest *guest = begin_listening(&world, 0);
        memset(guest->heard, 0, sizeof(guest->heard));
        tell(&world, guest, 0, "abc");
        take_place(&world, guest);
        tell_alone(&world, guest, "[\"x\"]"); /* which is not for who comes back */
        tell(&world, guest, 0, "de");
        cr_expect_str_eq(guest->heard, "abcxde", "seed %u", seed);
        nodes_freeze(world.nodes, 0);
        tell(&world, guest, 1, "f");
        memset(guest->heard, 0, sizeof(guest->heard));
        cr_expect(come_back(&world, guest, 1), "seed %u", seed);
        nodes_settle(world.nodes);
        tell(&world, guest, 1, "g");
        char *ready = strchr(guest->heard, 'h'); /* hub:ready of the new node, at its place */
        if (ready != NULL) {
            memmove(ready, ready + 1, strlen(ready));
        }
        cr_expect_str_eq(guest->heard, "defg", "seed %u", seed);
        nodes_thaw(world.nodes, 0);
        tear_down(&world);
    }
}

/* What it alone was told is not kept for one that only listens: who asks for that is told so. */
Test(records, is_continued_as_the_kind_that_it_was)
{
    for (unsigned seed = 1; seed <= SEEDS; seed++) {
        struct world world;
        set_up(&world, seed);
        struct guest *guest = begin_listening(&world, 0);
        tell(&world, guest, 0, "a");
        take_place(&world, guest);
        tell_alone(&world, guest, "[\"x\"]");
        nodes_freeze(world.nodes, 0);
        guest->one_way = false;
        cr_expect_not(come_back(&world, guest, 1), "seed %u", seed);
        struct guest *other = &world.guests[1];
        other->one_way = true;
        cr_expect_not(come_back(&world, other, 1), "seed %u", seed);
        nodes_thaw(world.nodes, 0);
        tear_down(&world);
    }
}

Test(records, one_that_never_pongs_holds_up_nobody)
{
    for (unsigned seed = 1; seed <= SEEDS; seed++) {
        struct world world;
        unsigned continued = 0;
        set_up(&world, seed);
        struct guest *guest = begin_listening(&world, 0);
        nodes_stop(world.nodes, 1);
        for (unsigned round = 0; round < 10; round++) {
            publish(&world);
            for (unsigned i = 1; i < USERS; i++) {
                beat(&world, &world.guests[i]);
            }
            take_place(&world, guest);
            pass(&world, AGE_MS / 2);
        }
        nodes_start(world.nodes, 1);
        pass(&world, 10);
        nodes_freeze(world.nodes, 0);
        for (unsigned i = 1; i < USERS; i++) {
            continued += come_back(&world, &world.guests[i], 1);
        }
        cr_expect_eq(continued, USERS - 1, "seed %u", seed);
        cr_expect(come_back(&world, guest, 1), "seed %u", seed);
        nodes_thaw(world.nodes, 0);
        tear_down(&world);
    }
}

/* What is lost. */

Test(records, are_written_again_when_they_may_be_lost)
{
    for (unsigned seed = 1; seed <= SEEDS; seed++) {
        struct world world;
        set_up(&world, seed);
        fake_redis_reach(world.nodes->redis, 0, false);
        fake_redis_drop(world.nodes->redis, 0, 1);
        pass(&world, 10);
        leave(&world, &world.guests[0], CLOSE_PEER); /* its record cannot be deleted */
        pass(&world, 10);
        fake_redis_reach(world.nodes->redis, 0, true);
        pass(&world, 3 * (AGE_MS + ROUND_MS + MARGIN_MS));
        cr_expect_eq(count(&world, "peal:session:"), USERS - 1, "seed %u: no orphan stays", seed);
        cr_expect_eq(count(&world, "peal:recordlist:"), USERS - 1);
        fake_records_lose(records_of(&world));
        pass(&world, 4 * ROUND_MS);
        cr_expect_eq(count(&world, "peal:session:"), USERS - 1, "seed %u: all are back", seed);
        cr_expect(come_back(&world, &world.guests[1], 1));
        connect(&world, 0);
        tear_down(&world);
    }
}
