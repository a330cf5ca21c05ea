/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What comes over a stream and joins a digest is told to devices with all that the digest
 * remembers, which the store answers in the memory of the request.
 */
#include <criterion/criterion.h>
#include <stdio.h>

#include "actors/ingest/ingest_proto.h"
#include "actors/user/user.h"
#include "codec/base/log.h"
#include "codec/json_scan.h"
#include "tests/support/client.h"
#include "tests/support/nodes.h"

TestSuite(ingest_digest, .timeout = 300);

enum { SEEDS = 40, NODES = 2, POSTS = 8 };

static const char user[] = "ann";

struct device {
    struct client client; /* first */
    unsigned told;
    unsigned last; /* the last post that was shown, from 1 */
};

static void ignore_line(enum log_level level, const char *line, size_t len)
{
    (void)level;
    (void)line;
    (void)len;
}

static void expect_text(struct bytes object, const char *key, unsigned post)
{
    char wanted[16];
    struct bytes value;
    (void)snprintf(wanted, sizeof(wanted), "\"m%u\"", post);
    cr_assert_eq(json_scan_get(object, key, &value), 0, "%s", key);
    cr_assert(bytes_eq_str(value, wanted), "%.*s, not %s", (int)value.len, value.at, wanted);
}

/* The digest remembers all posts up to the one that it shows, the newest first. */
static void expect_digest(struct bytes item, unsigned last)
{
    struct json_scan_iter iter;
    struct bytes digest;
    struct bytes entry;
    unsigned post = last;
    cr_assert_eq(json_scan_get(item, "digest", &digest), 0);
    cr_assert(json_scan_iter_init(&iter, digest));
    while (json_scan_element(&iter, &entry)) {
        expect_text(entry, "message", post--);
    }
    cr_assert_eq(post, 0, "%u of %u are not remembered", post, last);
}

static void on_received(struct client *client, const struct client_packet *packet)
{
    struct device *device = (struct device *)(void *)client;
    struct bytes count;
    uint64_t posts = 0;
    if (packet->is_ack || !bytes_eq_str(packet->name, "notification")) {
        return;
    }
    cr_assert_eq(json_scan_get(packet->args, "count", &count), 0);
    cr_assert_eq(json_scan_u64(count, &posts), 0);
    expect_text(packet->args, "message", (unsigned)posts);
    expect_digest(packet->args, (unsigned)posts);
    device->told++;
    device->last = (unsigned)posts > device->last ? (unsigned)posts : device->last;
}

static void post(struct nodes *nodes)
{
    for (unsigned i = 1; i <= POSTS; i++) {
        char message[16];
        (void)snprintf(message, sizeof(message), "m%u", i);
        const struct bytes fields[] = {BYTES("user"), bytes_str(user), BYTES("type"), BYTES("t"),
            BYTES("message"), bytes_str(message)};
        fake_data_add(fake_redis_data(nodes->redis), "peal:in", fields, ARRAY_LEN(fields));
        nodes_advance(nodes, nodes_dice(nodes, 3) ? 0 : nodes_dice(nodes, 30));
    }
}

static void play(uint64_t seed, const struct preferences *preferences)
{
    const struct nodes_options options = {
        .nodes = NODES, .shards = 2, .bus = true, .ingest = true, .partitions = 1};
    struct nodes *nodes = nodes_create(seed, &options);
    struct device devices[NODES] = {0};
    for (unsigned i = 0; i < NODES; i++) {
        nodes->node[i].config.preferences = preferences;
        struct shard *shard = nodes_on(nodes, i, nodes_user_shard(nodes, i, user));
        devices[i].client.received = on_received;
        client_init(&devices[i].client, shard, "/", user, WIRE_SIO);
        cr_assert_eq(user_attach(shard, &devices[i].client.socket), 0);
    }
    nodes_advance(nodes, 2000);
    post(nodes);
    nodes_advance(nodes, 3000);
    for (unsigned i = 0; i < NODES; i++) {
        cr_expect_gt(devices[i].told, 0, "seed %llu", (unsigned long long)seed);
        cr_expect_eq(devices[i].last, POSTS, "seed %llu: device %u", (unsigned long long)seed, i);
        (void)nodes_on(nodes, i, nodes_user_shard(nodes, i, user));
        client_finish(&devices[i].client, CLOSE_NORMAL);
    }
    nodes_settle(nodes);
    nodes_destroy(nodes);
}

Test(ingest_digest, what_a_stream_adds_to_a_digest_is_told_whole)
{
    struct preferences *preferences = NULL;
    struct preferences_fault fault;
    log_set_sink(ignore_line);
    cr_assert_eq(preferences_parse(
                     BYTES("{\"types\":{\"t\":{\"digest\":\"1h\"}}}"), NULL, &preferences, &fault),
        0);
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        play(seed, preferences);
    }
    preferences_destroy(preferences);
}
