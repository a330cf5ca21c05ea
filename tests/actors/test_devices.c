/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a client says of its device reaches the store, and the end of its connection takes it from
 * the front.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "actors/inbox/announce.h"
#include "actors/user/user.h"
#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "codec/json_scan.h"
#include "sql/store_device.h"
#include "tests/support/client.h"
#include "tests/support/nodes.h"

TestSuite(devices, .timeout = 60);

enum { CLIENTS = 3 };

static const char user[] = "ann";
static const char other_id[] = "01000000-0000-7000-8000-000000000009";

/* A store with one device. */
static struct {
    bool away;
    bool absent;
    uint8_t id[NOTIFICATION_ID_LEN];
    char body[256];
    uint64_t foreground_at;
    unsigned asked[STORE_DEVICE_LIST + 1];
    bool deviceless;
    unsigned receipts;
    uint64_t received;
} kept;

static int take_receipt(struct store_push_received *request)
{
    cr_assert(bytes_eq_str(request->who.user, user));
    kept.receipts++;
    kept.received = request->seq;
    request->known = !kept.deviceless;
    return kept.away ? STATUS_UNAVAILABLE : 0;
}

static int answer(struct store_devices *request)
{
    kept.asked[request->base.op]++;
    if (kept.away) {
        return STATUS_UNAVAILABLE;
    }
    if (request->base.op == STORE_DEVICE_PUT) {
        cr_assert(bytes_eq_str(request->who.user, user));
        cr_assert_eq(request->most, 20);
        memcpy(kept.id, request->id, sizeof(kept.id));
        snprintf(kept.body, sizeof(kept.body), "%.*s", (int)request->body.len, request->body.at);
    } else if (kept.absent || memcmp(kept.id, request->id, sizeof(kept.id)) != 0) {
        return 0;
    } else if (request->base.op == STORE_DEVICE_STATE) {
        kept.foreground_at = request->foreground ? 1000 : 0;
    } else {
        kept.absent = true;
    }
    struct store_device *device = mem_alloc(sizeof(*device));
    *device = (struct store_device){.body = bytes_str(kept.body),
        .created_at = 1,
        .registered_at = 2,
        .foreground_at = kept.foreground_at};
    memcpy(device->id, kept.id, sizeof(kept.id));
    request->base.result = (void *)device;
    request->devices = device;
    request->count = 1;
    request->now = 1000;
    return 0;
}

struct device {
    struct client client; /* first */
    bool ready;
    unsigned acks;
    char last[512]; /* ack */
};

struct world {
    struct nodes *nodes;
    struct device devices[CLIENTS];
};

static void on_received(struct client *client, const struct client_packet *packet)
{
    struct device *device = (struct device *)(void *)client;
    if (packet->is_ack) {
        device->acks++;
        snprintf(
            device->last, sizeof(device->last), "%.*s", (int)packet->args.len, packet->args.at);
    } else if (bytes_eq_str(packet->name, "hub:ready")) {
        device->ready = true;
    }
}

static struct shard *act_on(struct world *world)
{
    return nodes_on(world->nodes, 0, nodes_user_shard(world->nodes, 0, user));
}

static void settle(struct world *world)
{
    nodes_advance(world->nodes, 100);
    nodes_settle(world->nodes);
}

static struct device *connect(struct world *world, unsigned at)
{
    struct device *device = &world->devices[at];
    struct shard *shard = act_on(world);
    device->client.received = on_received;
    client_init(&device->client, shard, "/", user, WIRE_SIO);
    cr_assert_eq(user_attach(shard, &device->client.socket), 0);
    settle(world);
    cr_assert(device->ready);
    return device;
}

static void open(struct world *world)
{
    static const struct nodes_options options = {.nodes = 1, .shards = 2};
    memset(&kept, 0, sizeof(kept));
    *world = (struct world){.nodes = nodes_create(1, &options)};
    fake_store_set_devices(world->nodes->store, answer);
    fake_store_set_received(world->nodes->store, take_receipt);
    nodes_settle(world->nodes);
}

static void end(struct world *world, struct device *device)
{
    (void)act_on(world);
    client_finish(&device->client, CLOSE_NORMAL);
    *device = (struct device){0};
    settle(world);
}

static void close(struct world *world)
{
    for (unsigned i = 0; i < CLIENTS; i++) {
        if (world->devices[i].client.received != NULL) {
            end(world, &world->devices[i]);
        }
    }
    cr_expect_eq(nodes_stat(world->nodes, 0, offsetof(struct shard_stats, waiting_bytes)), 0);
    nodes_destroy(world->nodes);
}

/* Ask and see what the answer holds. */
static void ask(struct world *world, struct device *device, const char *text, const char *holds)
{
    uint64_t id = 7;
    unsigned acks = device->acks;
    (void)act_on(world);
    user_event(&device->client.socket, bytes_str(text), &id, NULL, 0);
    settle(world);
    cr_expect_eq(device->acks, acks + 1, "%s", text);
    cr_expect(strstr(device->last, holds) != NULL, "%s: %s", text, device->last);
}

#define REGISTER "[\"device:register\",{\"platform\":\"other\",\"token\":\"t\"}]"
#define IN_FRONT "[\"device:state\",{\"foreground\":true}]"
#define BEHIND "[\"device:state\",{\"foreground\":false}]"
#define REMOVE "[\"device:remove\"]"

Test(devices, are_in_front_until_their_connection_ends)
{
    static struct world world;
    open(&world);
    struct device *one = connect(&world, 0);
    ask(&world, one, IN_FRONT, "\"field\":\"id\"");
    ask(&world, one, REGISTER, "\"platform\":\"other\",\"foreground\":false");
    cr_expect_str_eq(kept.body, "{\"platform\":\"other\",\"token\":\"t\"}");
    ask(&world, one, IN_FRONT, "\"foreground\":true");
    cr_expect_eq(kept.asked[STORE_DEVICE_STATE], 1);
    end(&world, one);
    cr_expect_eq(kept.asked[STORE_DEVICE_STATE], 2);
    cr_expect_eq(kept.foreground_at, 0);
    one = connect(&world, 0);
    ask(&world, one, REGISTER, "\"ok\":true");
    end(&world, one);
    cr_expect_eq(kept.asked[STORE_DEVICE_STATE], 2, "it was not in front");
    close(&world);
}

Test(devices, stay_in_front_while_another_connection_says_so)
{
    static struct world world;
    char text[128];
    open(&world);
    struct device *one = connect(&world, 0);
    struct device *two = connect(&world, 1);
    ask(&world, one, REGISTER, "\"ok\":true");
    ask(&world, two, REGISTER, "\"ok\":true"); /* the store says another id: that of the last */
    snprintf(text, sizeof(text), "%s",
        "[\"device:register\",{\"platform\":\"other\",\"token\":\"t\",\"id\":"
        "\"01000000-0000-7000-8000-000000000001\"}]");
    ask(&world, one, text, "\"id\":\"01000000-0000-7000-8000-000000000001\"");
    ask(&world, two, text, "\"id\":\"01000000-0000-7000-8000-000000000001\"");
    ask(&world, one, IN_FRONT, "\"ok\":true");
    ask(&world, two, IN_FRONT, "\"ok\":true");
    end(&world, one);
    cr_expect_eq(kept.asked[STORE_DEVICE_STATE], 2);
    ask(&world, two, BEHIND, "\"foreground\":false");
    end(&world, two);
    cr_expect_eq(kept.asked[STORE_DEVICE_STATE], 3, "nothing is left to say");
    close(&world);
}

Test(devices, are_removed_and_then_unknown)
{
    static struct world world;
    char text[128];
    open(&world);
    struct device *one = connect(&world, 0);
    ask(&world, one, REMOVE, "\"field\":\"id\"");
    ask(&world, one, REGISTER, "\"ok\":true");
    snprintf(text, sizeof(text), "[\"device:remove\",{\"id\":\"%s\"}]", other_id);
    ask(&world, one, text, "not_found");
    ask(&world, one, REMOVE, "{\"ok\":true}");
    ask(&world, one, IN_FRONT, "\"field\":\"id\"");
    cr_expect_eq(nodes_stat(world.nodes, 0, offsetof(struct shard_stats, devices.removed)), 1);
    cr_expect_eq(nodes_stat(world.nodes, 0, offsetof(struct shard_stats, devices.registered)), 1);
    close(&world);
}

Test(devices, a_store_that_is_away_is_told)
{
    static struct world world;
    open(&world);
    struct device *one = connect(&world, 0);
    kept.away = true;
    ask(&world, one, REGISTER, "unavailable");
    kept.away = false;
    ask(&world, one, REGISTER, "\"ok\":true");
    ask(&world, one, IN_FRONT, "\"ok\":true");
    kept.away = true;
    ask(&world, one, REMOVE, "unavailable");
    end(&world, one); /* nobody hears of it, and it is believed for a while */
    cr_expect_eq(kept.foreground_at, 1000);
    close(&world);
}

static void expect_receipts(unsigned receipts, uint64_t seq)
{
    cr_expect_eq(kept.receipts, receipts, "%u", kept.receipts);
    cr_expect_eq(kept.received, seq, "%llu", (unsigned long long)kept.received);
}

static void post(struct world *world)
{
    struct store_row row = fake_store_post(world->nodes->store, user, "news");
    announce_row(act_on(world), &row);
    settle(world);
}

#define RECEIVED(seq) "[\"notification:received\",{\"upTo\":" seq "}]"

Test(devices, what_a_client_has_is_told_to_the_store)
{
    static struct world world;
    open(&world);
    struct device *one = connect(&world, 0);
    post(&world);
    post(&world);
    ask(&world, one, RECEIVED("1"), "\"ok\":true");
    expect_receipts(1, 1);
    ask(&world, one, RECEIVED("1"), "\"ok\":true");
    expect_receipts(1, 1);
    ask(&world, one, RECEIVED("99"), "\"ok\":true"); /* nobody has what there is not */
    expect_receipts(2, 2);
    ask(&world, one, RECEIVED("1"), "\"ok\":true");
    expect_receipts(2, 2);
    post(&world);
    kept.away = true;
    ask(&world, one, RECEIVED("3"), "\"ok\":true");
    kept.away = false;
    post(&world);
    ask(&world, one, RECEIVED("4"), "\"ok\":true");
    expect_receipts(4, 4);
    close(&world);
}

Test(devices, nothing_is_told_of_who_has_none)
{
    static struct world world;
    open(&world);
    struct device *one = connect(&world, 0);
    kept.deviceless = true;
    post(&world);
    post(&world);
    ask(&world, one, RECEIVED("1"), "\"ok\":true");
    ask(&world, one, RECEIVED("2"), "\"ok\":true");
    expect_receipts(1, 1);
    kept.deviceless = false;
    ask(&world, one, REGISTER, "\"ok\":true"); /* now it has one */
    expect_receipts(2, 2);
    close(&world);
}
