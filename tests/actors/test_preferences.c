/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a user wants reaches all devices on all nodes, whatever is lost on the way, and no device is
 * ready before it is known.
 */
#include <criterion/criterion.h>
#include <stdio.h>

#include "actors/inbox/announce.h"
#include "actors/user/user.h"
#include "codec/base/mem.h"
#include "codec/json_scan.h"
#include "tests/support/client.h"
#include "tests/support/nodes.h"

TestSuite(preferences, .timeout = 300);

enum { DEVICES = 3, RECHECK_MS = 30000, LIMIT = 2 };

static const char user[] = "ann";

struct device {
    struct client client; /* first */
    bool ready;
    unsigned told; /* notifications */
    unsigned silent; /* of these */
    unsigned changes; /* of preferences */
    uint64_t rev; /* that of the last */
    bool ok; /* of the last answer */
    unsigned acks;
};

struct world {
    struct nodes *nodes;
    struct device devices[DEVICES];
};

static uint64_t number_of(struct bytes object, const char *key)
{
    struct bytes value;
    uint64_t number = 0;
    cr_assert_eq(json_scan_get(object, key, &value), 0, "%s", key);
    cr_assert_eq(json_scan_u64(value, &number), 0, "%s", key);
    return number;
}

static bool is_true(struct bytes object, const char *key)
{
    struct bytes value;
    bool on = false;
    return json_scan_get(object, key, &value) == 0 && json_scan_bool(value, &on) == 0 && on;
}

static void on_received(struct client *client, const struct client_packet *packet)
{
    struct device *device = (struct device *)(void *)client;
    if (packet->is_ack) {
        device->acks++;
        device->ok = is_true(packet->args, "ok");
    } else if (bytes_eq_str(packet->name, "hub:ready")) {
        device->ready = true;
    } else if (bytes_eq_str(packet->name, "notification")) {
        device->told++;
        device->silent += is_true(packet->args, "silent");
    } else if (bytes_eq_str(packet->name, "preferences:changed")) {
        device->changes++;
        device->rev = number_of(packet->args, "rev");
    }
}

static struct shard *act_on(struct world *world, unsigned node)
{
    return nodes_on(world->nodes, node, nodes_user_shard(world->nodes, node, user));
}

static struct device *connect(struct world *world, unsigned at, unsigned node)
{
    struct device *device = &world->devices[at];
    struct shard *shard = act_on(world, node);
    device->client.received = on_received;
    client_init(&device->client, shard, "/", user, WIRE_SIO);
    cr_assert_eq(user_attach(shard, &device->client.socket), 0);
    return device;
}

static void open(struct world *world)
{
    const struct nodes_options options = {.nodes = 2, .shards = 2, .bus = true, .partitions = 1};
    *world = (struct world){.nodes = nodes_create(1, &options)};
    nodes_settle(world->nodes);
}

static void close(struct world *world)
{
    for (unsigned i = 0; i < DEVICES; i++) {
        struct device *device = &world->devices[i];
        if (device->client.received != NULL) {
            nodes_on(world->nodes, i == 1, sched_shard(device->client.socket.shard->sched));
            client_finish(&device->client, CLOSE_NORMAL);
        }
    }
    nodes_settle(world->nodes);
    for (unsigned node = 0; node < 2; node++) {
        cr_expect_eq(
            nodes_stat(world->nodes, node, offsetof(struct shard_stats, waiting_bytes)), 0);
    }
    nodes_destroy(world->nodes);
}

static void set(struct world *world, struct device *device, const char *preferences)
{
    char text[256];
    uint64_t id = 7;
    (void)snprintf(text, sizeof(text), "[\"preferences:set\",%s]", preferences);
    (void)act_on(world, device == &world->devices[1]);
    user_event(&device->client.socket, bytes_str(text), &id, NULL, 0);
}

static void post(struct world *world, enum notification_priority priority)
{
    struct store_row row = fake_store_post(world->nodes->store, user, "news");
    row.priority = priority;
    announce_row(act_on(world, 0), &row);
    nodes_advance(world->nodes, 100);
    nodes_settle(world->nodes);
}

static const char muted[] = "{\"muteUntil\":4000000000000}";
static const char limited[] = "{\"types\":{\"t\":{\"limit\":{\"count\":2,\"per\":\"1h\"}}}}";

/* Device 1 is on the other node. */
static void open_with_two(struct world *world)
{
    open(world);
    struct device *here = connect(world, 0, 0);
    struct device *there = connect(world, 1, 1);
    nodes_advance(world->nodes, 100);
    nodes_settle(world->nodes);
    cr_assert(here->ready && there->ready);
}

Test(preferences, are_told_to_devices_on_all_nodes)
{
    static struct world world;
    open_with_two(&world);
    set(&world, &world.devices[0], muted);
    nodes_advance(world.nodes, 100);
    nodes_settle(world.nodes);
    cr_expect_eq(world.devices[0].acks, 1);
    cr_expect(world.devices[0].ok);
    for (unsigned i = 0; i < 2; i++) {
        cr_expect_eq(world.devices[i].changes, 1);
        cr_expect_eq(world.devices[i].rev, 1);
    }
    post(&world, NOTIFICATION_HIGH);
    post(&world, NOTIFICATION_URGENT);
    for (unsigned i = 0; i < 2; i++) {
        cr_expect_eq(world.devices[i].told, 2);
        cr_expect_eq(world.devices[i].silent, 1);
    }
    close(&world);
}

Test(preferences, a_change_that_nobody_announced_is_found_by_the_recheck)
{
    static struct world world;
    open_with_two(&world);
    fake_redis_lose(world.nodes->redis, 1); /* every message */
    set(&world, &world.devices[0], muted);
    nodes_advance(world.nodes, 100);
    nodes_settle(world.nodes);
    cr_assert_eq(world.devices[0].changes, 1);
    cr_assert_eq(world.devices[1].changes, 0, "it was lost");
    fake_redis_lose(world.nodes->redis, 0);
    nodes_advance(world.nodes, RECHECK_MS + 1000);
    nodes_settle(world.nodes);
    cr_expect_eq(world.devices[1].changes, 1);
    cr_expect_eq(world.devices[1].rev, 1);
    close(&world);
}

Test(preferences, a_standby_that_lags_brings_no_older_ones_back)
{
    static struct world world;
    open_with_two(&world);
    set(&world, &world.devices[0], muted);
    nodes_advance(world.nodes, 100);
    nodes_settle(world.nodes);
    fake_store_loss(world.nodes->store)->late = true;
    announce_repeat(act_on(&world, 0), (struct store_user){.user = bytes_str(user)});
    nodes_advance(world.nodes, 1000);
    nodes_settle(world.nodes);
    post(&world, NOTIFICATION_HIGH);
    for (unsigned i = 0; i < 2; i++) {
        cr_expect_eq(world.devices[i].changes, 1, "%u", world.devices[i].changes);
        cr_expect_eq(world.devices[i].rev, 1);
        cr_expect_eq(world.devices[i].silent, 1, "still muted");
    }
    fake_store_loss(world.nodes->store)->late = false;
    close(&world);
}

Test(preferences, nobody_is_ready_before_they_are_known)
{
    static struct world world;
    open_with_two(&world);
    set(&world, &world.devices[1], muted);
    nodes_advance(world.nodes, 100);
    nodes_settle(world.nodes);
    (void)act_on(&world, 0);
    client_finish(&world.devices[0].client, CLOSE_NORMAL);
    nodes_settle(world.nodes);
    world.devices[0] = (struct device){0};

    fake_store_set_failures(world.nodes->store, 1);
    struct device *again = connect(&world, 0, 0);
    nodes_advance(world.nodes, 10000);
    cr_assert_not(again->ready);
    fake_store_set_failures(world.nodes->store, 0);
    nodes_advance(world.nodes, 5000);
    nodes_settle(world.nodes);
    cr_assert(again->ready);
    post(&world, NOTIFICATION_HIGH);
    cr_expect_eq(again->silent, 1);
    cr_expect_eq(again->changes, 0, "nothing has changed since it came");
    close(&world);
}

Test(preferences, that_cannot_be_read_count_as_none)
{
    static struct world world;
    open_with_two(&world);
    fake_store_set_preferences(world.nodes->store, user, "{\"muteUntil\":\"for ever\"}");
    (void)act_on(&world, 0);
    client_finish(&world.devices[0].client, CLOSE_NORMAL);
    nodes_settle(world.nodes);
    world.devices[0] = (struct device){0};
    struct device *again = connect(&world, 0, 0);
    nodes_advance(world.nodes, 10000);
    nodes_settle(world.nodes);
    cr_assert(again->ready);
    post(&world, NOTIFICATION_HIGH);
    cr_expect_eq(again->told, 1);
    cr_expect_eq(again->silent, 0);
    set(&world, again, muted);
    nodes_advance(world.nodes, 100);
    nodes_settle(world.nodes);
    cr_expect_eq(again->rev, 2, "they can be set again");
    close(&world);
}

Test(preferences, of_several_changes_the_last_one_holds)
{
    static struct world world;
    open_with_two(&world);
    for (unsigned i = 0; i < 20; i++) {
        set(&world, &world.devices[i % 2], i % 2 == 0 ? muted : "{}");
    }
    nodes_advance(world.nodes, 3000);
    nodes_settle(world.nodes);
    for (unsigned i = 0; i < 2; i++) {
        cr_expect_eq(world.devices[i].rev, 20);
        cr_expect_eq(world.devices[i].acks, 10);
    }
    close(&world);
}

Test(preferences, a_limit_is_for_a_time_from_the_first_one)
{
    static struct world world;
    open_with_two(&world);
    set(&world, &world.devices[0], limited);
    nodes_advance(world.nodes, 100);
    nodes_settle(world.nodes);
    for (unsigned i = 0; i < 5; i++) {
        post(&world, NOTIFICATION_HIGH);
    }
    for (unsigned i = 0; i < 2; i++) {
        cr_expect_eq(world.devices[i].told, 5);
        cr_expect_eq(world.devices[i].silent, 5 - LIMIT);
    }
    close(&world);
}
