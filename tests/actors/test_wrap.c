/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What was accepted comes back: every extreme that a backend may post is told live, listed and
 * synced in every format, on the node that stored it and on another one, and equals what was
 * posted. Ways out that are added later add their line to `ways`.
 */
#include <criterion/criterion.h>
#include <stdio.h>

#include "actors/inbox/post.h"
#include "actors/user/user.h"
#include "codec/base/mem.h"
#include "codec/depth.h"
#include "codec/json_scan.h"
#include "codec/mp.h"
#include "tests/support/client.h"
#include "tests/support/nodes.h"

TestSuite(wrap, .timeout = 300);

enum { NODES = 2, DEVICES = NODES * WIRE_FORMAT_COUNT, TEXT_CAP = 64 << 10 };

#define USER "ann"

/* The ways an item comes to a device. */
enum way { LIVE, LISTED, SYNCED, WAY_COUNT };

static const char *const ways[WAY_COUNT] = {"live", "by list", "by sync"};

struct device {
    struct client client; /* first */
    unsigned node;
    struct shard *shard;
    struct builder items[WAY_COUNT]; /* the last one that came this way */
    struct builder event; /* the arguments of the last `update` */
};

static struct device devices[DEVICES];

static void keep(struct builder *at, struct bytes text)
{
    builder_clear(at);
    builder_add(at, text);
}

/* The first item of an answer's list, which is the newest (of a sync: the only one asked for). */
static void keep_first(struct builder *at, struct bytes answer)
{
    struct bytes items;
    struct bytes item;
    struct json_scan_iter iter;
    builder_clear(at);
    if (json_scan_get(answer, "items", &items) == 0 && json_scan_iter_init(&iter, items) &&
        json_scan_element(&iter, &item)) {
        builder_add(at, item);
    }
}

static void on_received(struct client *client, const struct client_packet *packet)
{
    struct device *device = (struct device *)(void *)client;
    if (packet->is_ack) {
        keep_first(&device->items[packet->id], packet->args);
    } else if (bytes_eq_str(packet->name, "notification")) {
        keep(&device->items[LIVE], packet->args);
    } else if (bytes_eq_str(packet->name, "update")) {
        keep(&device->event, packet->args);
    }
}

static struct nodes *start(void)
{
    const struct nodes_options options = {.nodes = NODES, .shards = 2, .bus = true};
    struct nodes *nodes = nodes_create(1, &options);
    nodes_settle(nodes);
    memset(devices, 0, sizeof(devices));
    for (unsigned i = 0; i < DEVICES; i++) {
        struct device *device = &devices[i];
        device->node = i / WIRE_FORMAT_COUNT;
        device->client.received = on_received;
        device->shard = nodes_on(nodes, device->node, nodes_user_shard(nodes, device->node, USER));
        client_init(
            &device->client, device->shard, "/", USER, (enum wire_format)(i % WIRE_FORMAT_COUNT));
        cr_assert_eq(user_attach(device->shard, &device->client.socket), 0);
    }
    nodes_settle(nodes);
    return nodes;
}

static void act_as(struct nodes *nodes, const struct device *device)
{
    nodes_on(nodes, device->node, sched_shard(device->shard->sched));
}

static void stop(struct nodes *nodes)
{
    for (unsigned i = 0; i < DEVICES; i++) {
        act_as(nodes, &devices[i]);
        client_finish(&devices[i].client, CLOSE_NORMAL);
        for (unsigned way = 0; way < WAY_COUNT; way++) {
            builder_reset(&devices[i].items[way]);
        }
        builder_reset(&devices[i].event);
    }
    nodes_settle(nodes);
    nodes_destroy(nodes);
}

static const struct notification_limits *limits(void)
{
    static struct notification_limits widest;
    widest = notification_limits_default;
    widest.depth = DEPTH_ACCEPTED;
    return &widest;
}

/* A post as a backend makes it, stored and announced. */
struct posting {
    struct store_put put; /* first */
    struct store_row row;
    struct shard *shard;
    bool done;
};

static void on_stored(struct store_request *request)
{
    struct posting *posting = container_of(request, struct posting, put.base);
    cr_assert_eq(request->status, 0);
    post_announce(posting->shard, &posting->row, 1);
    posting->done = true;
}

static void post(struct nodes *nodes, struct bytes object)
{
    static unsigned serial;
    char key[32];
    struct notification_fault fault;
    struct notification_post parsed;
    int status = notification_from_json(object, limits(), &parsed, &fault);
    cr_assert_eq(status, 0, "%s: %.200s", fault.field, object.at);
    struct posting posting = {.shard = nodes_on(nodes, 0, 0)};
    int len = snprintf(key, sizeof(key), "k%u", ++serial);
    cr_assert_eq(post_rows(posting.shard, &parsed, bytes_of(key, (size_t)len), &posting.row), 0);
    posting.put = (struct store_put){
        .base = {.op = STORE_PUT, .done = on_stored}, .rows = &posting.row, .count = 1};
    store_submit(posting.shard->store, &posting.put.base);
    nodes_settle(nodes);
    cr_assert(posting.done);
    notification_post_finish(&parsed);
}

/* Ask for what is newest, by list and by sync. */
static void ask(struct nodes *nodes, struct device *device, uint64_t rev)
{
    char text[64];
    uint64_t listed = LISTED;
    uint64_t synced = SYNCED;
    act_as(nodes, device);
    user_event(
        &device->client.socket, BYTES("[\"notification:list\",{\"limit\":1}]"), &listed, NULL, 0);
    int len = snprintf(
        text, sizeof(text), "[\"notification:sync\",{\"rev\":%llu}]", (unsigned long long)rev);
    user_event(&device->client.socket, bytes_of(text, (size_t)len), &synced, NULL, 0);
}

/* One text for equal values: without blanks, and numbers as MessagePack and back leaves them. */
static void normalize(struct bytes json, struct builder *out)
{
    struct builder packed = {0};
    builder_clear(out);
    cr_assert_eq(mp_from_json(json, NULL, 0, &packed), 0, "%.*s", (int)json.len, json.at);
    cr_assert_eq(mp_to_json(builder_bytes(&packed), NULL, out), 0);
    builder_reset(&packed);
}

static void expect_member(
    const struct device *device, enum way way, const char *member, struct bytes posted)
{
    struct bytes item = builder_bytes(&device->items[way]);
    struct bytes came = {0};
    struct builder left = {0};
    struct builder right = {0};
    cr_assert_gt(item.len, 0, "format %u, node %u: nothing came %s (%.60s)",
        device->client.socket.format, device->node, ways[way], posted.at);
    cr_assert_eq(json_scan_get(item, member, &came), 0);
    normalize(posted, &left);
    normalize(came, &right);
    cr_expect(bytes_eq(builder_bytes(&left), builder_bytes(&right)),
        "format %u, node %u, %s %s: %.*s", device->client.socket.format, device->node, member,
        ways[way], (int)came.len, came.at);
    builder_reset(&left);
    builder_reset(&right);
}

static uint64_t unencoded(const struct nodes *nodes)
{
    return nodes_stat(nodes, 0, offsetof(struct shard_stats, unencoded)) +
           nodes_stat(nodes, 1, offsetof(struct shard_stats, unencoded));
}

/* Post `value` as `member`, JSON text, and see it come back by every way. */
static void check(struct nodes *nodes, const char *member, struct bytes value)
{
    static uint64_t rev;
    struct builder object = {0};
    bool typed = strcmp(member, "type") == 0;
    builder_printf(
        &object, "{\"user\":\"" USER "\",%s\"%s\":", typed ? "" : "\"type\":\"t\",", member);
    builder_add(&object, value);
    builder_byte(&object, '}');
    const struct fake_inbox *inbox = fake_store_inbox(nodes->store, USER);
    rev = inbox != NULL ? inbox->position.rev : 0;
    for (unsigned i = 0; i < DEVICES; i++) {
        for (unsigned way = 0; way < WAY_COUNT; way++) {
            builder_clear(&devices[i].items[way]);
        }
    }
    post(nodes, builder_bytes(&object));
    for (unsigned i = 0; i < DEVICES; i++) {
        ask(nodes, &devices[i], rev);
    }
    nodes_settle(nodes);
    for (unsigned i = 0; i < DEVICES; i++) {
        for (unsigned way = 0; way < WAY_COUNT; way++) {
            expect_member(&devices[i], (enum way)way, member, value);
        }
    }
    builder_reset(&object);
}

/* `depth` containers, arrays and objects by turns. */
static void nest(struct builder *out, unsigned depth)
{
    builder_clear(out);
    for (unsigned i = 0; i < depth; i++) {
        builder_str(out, i % 2 == 0 ? "[" : "{\"a\":");
    }
    builder_str(out, "1");
    for (unsigned i = depth; i > 0; i--) {
        builder_str(out, (i - 1) % 2 == 0 ? "]" : "}");
    }
}

static void fill(struct builder *out, const char *unit, size_t bytes)
{
    builder_clear(out);
    builder_byte(out, '"');
    for (size_t len = 0; len + strlen(unit) <= bytes; len += strlen(unit)) {
        builder_str(out, unit);
    }
    builder_byte(out, '"');
}

Test(wrap, every_depth_comes_back)
{
    struct nodes *nodes = start();
    struct builder data = {0};
    for (unsigned depth = 1; depth <= DEPTH_ACCEPTED; depth++) {
        nest(&data, depth);
        check(nodes, "data", builder_bytes(&data));
    }
    cr_expect_eq(unencoded(nodes), 0);
    builder_reset(&data);
    stop(nodes);
}

Test(wrap, the_longest_texts_come_back)
{
    static const char *const units[] = {
        "a", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x94\x94", "\xe2\x80\xa8", "\xef\xbb\xbf"};
    struct nodes *nodes = start();
    struct builder text = {0};
    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        fill(&text, units[i], limits()->type);
        check(nodes, "type", builder_bytes(&text));
        fill(&text, units[i], limits()->title);
        check(nodes, "title", builder_bytes(&text));
        fill(&text, units[i], limits()->message);
        check(nodes, "message", builder_bytes(&text));
        fill(&text, units[i], limits()->data - 2);
        check(nodes, "data", builder_bytes(&text));
    }
    cr_expect_eq(unencoded(nodes), 0);
    builder_reset(&text);
    stop(nodes);
}

Test(wrap, odd_values_come_back)
{
    static const char *const values[] = {"null", "true", "0", "-0", "-1", "127", "128", "-32",
        "-33", "65536", "4294967296", "9007199254740991", "9007199254740993",
        "18446744073709551615", "18446744073709551616", "-9223372036854775808",
        "-9223372036854775809", "0.1", "1e-7", "1E+2", "5e-324", "1.7976931348623157e308", "[]",
        "{}", "\"\"", "[[],{}]", "{\"\":{\"\":\"\"}}", "\"\\u0001\\b\\f\\n\\r\\t\\\"\\\\\\/\"",
        "\"\\ud83d\\udd14\"", "\"\\u007f\\u0080\"", "\"\xe2\x80\xa8\xe2\x80\xa9\"",
        "{\"_placeholder\":true,\"num\":0}", "{\"type\":2,\"data\":[\"x\"],\"nsp\":\"/\"}",
        "[1 , 2 ]"};
    struct nodes *nodes = start();
    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        check(nodes, "data", bytes_str(values[i]));
    }
    cr_expect_eq(unencoded(nodes), 0);
    stop(nodes);
}

Test(wrap, every_depth_of_an_event_comes_back)
{
    struct nodes *nodes = start();
    struct builder args = {0};
    for (unsigned depth = 1; depth <= DEPTH_ACCEPTED; depth++) {
        nest(&args, depth);
        struct bytes user = BYTES(USER);
        struct notification_post event = {.is_event = true,
            .target = NOTIFICATION_USERS,
            .targets = &user,
            .target_count = 1,
            .event = BYTES("update"),
            .args = builder_bytes(&args)};
        for (unsigned i = 0; i < DEVICES; i++) {
            builder_clear(&devices[i].event);
        }
        cr_assert_eq(post_event(nodes_on(nodes, 0, 0), &event), 0);
        nodes_settle(nodes);
        struct bytes sent = json_scan_inside(builder_bytes(&args));
        for (unsigned i = 0; i < DEVICES; i++) {
            cr_assert(bytes_eq(builder_bytes(&devices[i].event), sent),
                "depth %u, format %u, node %u", depth, devices[i].client.socket.format,
                devices[i].node);
        }
    }
    cr_expect_eq(unencoded(nodes), 0);
    builder_reset(&args);
    stop(nodes);
}

/* Something deeper than anything accepted, as a faulty store could hold it. */
Test(wrap, an_answer_that_cannot_be_written_is_an_error_and_counted)
{
    struct nodes *nodes = start();
    struct builder result = {0};
    nest(&result, DEPTH_WIRE + 1);
    static const enum wire_format formats[] = {WIRE_SIO_MSGPACK, WIRE_MSGPACK};
    for (unsigned at = 0; at < ARRAY_LEN(formats); at++) {
        unsigned i = formats[at];
        act_as(nodes, &devices[i]);
        uint64_t before = devices[i].client.received_count;
        cr_expect(socket_ack(&devices[i].client.socket, LISTED, builder_bytes(&result)));
        nodes_settle(nodes);
        cr_expect_eq(devices[i].client.received_count, before + 1);
    }
    cr_expect_eq(unencoded(nodes), ARRAY_LEN(formats));
    builder_reset(&result);
    stop(nodes);
}
