/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Clients that read values on one node of several shards, while backends write them and clients
 * come and go: each answer is a value that was there meanwhile, to the one who asked, and once.
 */
#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>

#include "actors/user/user.h"
#include "actors/values/value_call.h"
#include "actors/values/value_op.h"
#include "actors/values/values.h"
#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "codec/json_scan.h"
#include "tests/support/client.h"
#include "tests/support/nodes.h"
#include "tests/support/seed.h"

TestSuite(value_reads, .timeout = 300);

enum { SHARDS = 3, DEVICES = 6, KEYS = 4, READS_MAX = 4096, STEPS = 3000, SEEDS = 50 };

/* What a device has asked. */
struct read {
    unsigned key; /* KEYS: one that nobody may read */
    uint64_t least; /* what was written and acknowledged by then; 0: nothing */
    bool answered;
};

struct device {
    struct client client; /* first */
    bool connected;
    uint64_t first; /* of its reads that are not for nothing: those of before it came back are */
    uint64_t asked;
    uint64_t answers;
    struct read reads[READS_MAX];
};

/* A put under way. */
struct put {
    struct value_call call; /* first */
    struct value_op op;
    unsigned key;
    uint64_t number;
};

static struct nodes *nodes;
static struct device devices[DEVICES];
static uint64_t begun[KEYS]; /* the number last put, or being put */
static uint64_t done[KEYS]; /* the number last acknowledged */
static uint64_t found; /* answers with a value */

static int may_read(void *context, const struct identity *who, struct bytes key)
{
    (void)context;
    (void)who;
    return bytes_starts(key, BYTES("open:")) ? 0 : STATUS_DENIED;
}

static void name_of(unsigned key, char *at, size_t size)
{
    (void)snprintf(at, size, "%s:%u", key < KEYS ? "open" : "shut", key);
}

static struct bytes error_of(struct bytes answer, char *at, size_t size)
{
    struct bytes value;
    struct bytes text = {0};
    cr_assert_eq(json_scan_get(answer, "error", &value), 0, "%.*s", (int)answer.len, answer.at);
    cr_assert_eq(json_scan_string(value, at, size, &text), 0);
    return text;
}

/* What a read was answered: a number put since it was asked, or why not. */
static void check(const struct read *read, struct bytes answer)
{
    struct bytes value;
    uint64_t number;
    char at[32];
    if (json_scan_get(answer, "value", &value) == 0) {
        cr_assert_lt(read->key, KEYS);
        cr_assert_eq(json_scan_u64(value, &number), 0);
        cr_assert(number >= read->least && number <= begun[read->key],
            "%" PRIu64 " is none of %" PRIu64 " to %" PRIu64, number, read->least,
            begun[read->key]);
        found++;
        return;
    }
    struct bytes error = error_of(answer, at, sizeof(at));
    cr_assert(bytes_eq_str(error, read->key == KEYS ? "forbidden" : "not_found"));
    cr_assert_eq(read->least, 0);
}

static void on_received(struct client *client, const struct client_packet *packet)
{
    struct device *device = (struct device *)(void *)client;
    if (!packet->is_ack) {
        return;
    }
    cr_assert(device->connected && packet->id >= device->first && packet->id < device->asked);
    struct read *read = &device->reads[packet->id % READS_MAX];
    cr_assert_not(read->answered);
    read->answered = true;
    device->answers++;
    check(read, packet->args);
}

static void connect(unsigned at)
{
    char user[16];
    struct device *device = &devices[at];
    (void)snprintf(user, sizeof(user), "user-%u", at / 2); /* two devices each */
    struct shard *shard = nodes_on(nodes, 0, nodes_user_shard(nodes, 0, user));
    device->client = (struct client){.received = on_received};
    device->connected = true;
    device->asked += device->asked == 0; /* 0 is no id on /ws */
    device->first = device->asked;
    device->answers = 0;
    client_init(&device->client, shard, "/", user, at % 2 == 0 ? WIRE_SIO : WIRE_JSON);
    cr_assert_eq(user_attach(shard, &device->client.socket), 0);
}

static void disconnect(unsigned at)
{
    struct device *device = &devices[at];
    (void)nodes_on(nodes, 0, sched_shard(device->client.socket.shard->sched));
    device->connected = false;
    client_finish(&device->client, CLOSE_NORMAL);
}

static void ask(unsigned at, unsigned key)
{
    char name[32];
    char text[96];
    struct device *device = &devices[at];
    uint64_t id = device->asked++;
    device->reads[id % READS_MAX] = (struct read){.key = key, .least = key < KEYS ? done[key] : 0};
    name_of(key, name, sizeof(name));
    (void)snprintf(text, sizeof(text),
        id % 2 == 0 ? "[\"value:get\",\"%s\"]" : "[\"value:get\",{\"key\":\"%s\"}]", name);
    (void)nodes_on(nodes, 0, sched_shard(device->client.socket.shard->sched));
    user_event(&device->client.socket, bytes_str(text), &id, NULL, 0);
}

static void on_put(struct value_call *call)
{
    struct put *put = container_of(call, struct put, call);
    cr_assert_eq(put->op.result.outcome, VALUE_DONE);
    done[put->key] = put->number > done[put->key] ? put->number : done[put->key];
    value_op_finish(&put->op);
    mem_free(put);
}

static void put_text(unsigned key, struct bytes text, unsigned shard)
{
    char name[32];
    struct put *put = mem_alloc(sizeof(*put));
    put->call = (struct value_call){.ops = &put->op, .count = 1, .done = on_put};
    put->key = key;
    put->number = ++begun[key];
    name_of(key, name, sizeof(name));
    put->op.verb = VALUE_PUT;
    put->op.ttl_ms = UINT32_MAX;
    put->op.name_len = value_name_write(BYTES(""), bytes_str(name), put->op.name).len;
    put->op.body.bytes = buf_new(text);
    cr_assert(value_call_begin(&put->call, nodes_on(nodes, 0, shard)));
}

/* One at a time of each key, so that numbers grow. */
static void write(unsigned key, unsigned shard)
{
    char text[32];
    if (begun[key] == done[key]) {
        (void)snprintf(text, sizeof(text), "%" PRIu64, begun[key] + 1);
        put_text(key, bytes_str(text), shard);
    }
}

static void open(uint64_t seed)
{
    const struct nodes_options options = {.nodes = 1, .shards = SHARDS, .partitions = 1};
    memset(devices, 0, sizeof(devices));
    memset(begun, 0, sizeof(begun));
    memset(done, 0, sizeof(done));
    nodes = nodes_create(seed, &options);
    nodes_settle(nodes);
    struct actor_config *config = &nodes->node[0].config;
    config->value_access = may_read;
    config->outbox_max = 1 << 20;
    config->values = (struct value_settings){.wanted = true,
        .prefix = "v",
        .bytes = 1 << 20,
        .stale_ms = 1000,
        .fill_ms = 1000,
        .waiting = 10,
        .drops = 2};
    for (unsigned i = 0; i < SHARDS; i++) {
        struct shard *shard = nodes_on(nodes, 0, i);
        shard->values = values_create(shard);
    }
}

static void close(void)
{
    for (unsigned i = 0; i < DEVICES; i++) {
        if (devices[i].connected) {
            disconnect(i);
        }
    }
    nodes_settle(nodes);
    for (unsigned i = 0; i < SHARDS; i++) {
        values_close(nodes_on(nodes, 0, i)->values);
    }
    nodes_settle(nodes);
    for (unsigned i = 0; i < SHARDS; i++) {
        struct shard *shard = nodes_on(nodes, 0, i);
        cr_assert_eq(values_get_stats(shard->values)->calls, 0);
        values_destroy(shard->values);
        shard->values = NULL;
    }
    nodes_destroy(nodes);
}

static void act(void)
{
    unsigned at = (unsigned)nodes_dice(nodes, DEVICES);
    uint64_t what = nodes_dice(nodes, 20);
    if (!devices[at].connected) {
        connect(at);
    } else if (what == 0) {
        disconnect(at);
    } else if (what < 4) {
        write((unsigned)nodes_dice(nodes, KEYS), (unsigned)nodes_dice(nodes, SHARDS));
    } else if (devices[at].asked - devices[at].first - devices[at].answers < READS_MAX / 2) {
        ask(at, (unsigned)nodes_dice(nodes, KEYS + 1));
    }
}

Test(value_reads, are_of_what_was_there_meanwhile)
{
    uint64_t seed = seed_draw();
    for (uint64_t i = 0; i < SEEDS; i++) {
        open(seed + i);
        found = 0;
        for (unsigned step = 0; step < STEPS; step++) {
            if (nodes_dice(nodes, 3) == 0) {
                act();
            } else {
                (void)nodes_step(nodes);
            }
        }
        nodes_settle(nodes);
        for (unsigned at = 0; at < DEVICES; at++) {
            const struct device *device = &devices[at];
            cr_assert(!device->connected || device->answers == device->asked - device->first,
                "seed %" PRIu64 ": %" PRIu64 " of %" PRIu64, seed + i, device->answers,
                device->asked - device->first);
        }
        cr_assert_gt(found, 0);
        close();
    }
}

Test(value_reads, that_are_under_way_when_all_ends_are_told_nobody)
{
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        open(seed);
        for (unsigned at = 0; at < DEVICES; at++) {
            connect(at);
        }
        for (unsigned i = 0; i < 200; i++) {
            ask((unsigned)nodes_dice(nodes, DEVICES), (unsigned)nodes_dice(nodes, KEYS));
            (void)nodes_step(nodes);
        }
        for (unsigned at = 0; at < DEVICES; at += nodes_dice(nodes, 2) + 1) {
            disconnect(at);
        }
        for (unsigned i = 0; i < SHARDS; i++) {
            values_close(nodes_on(nodes, 0, i)->values);
        }
        for (unsigned i = 0; i < SHARDS; i++) {
            struct shard *shard = nodes_on(nodes, 0, i);
            values_destroy(shard->values);
            shard->values = NULL;
        }
        for (unsigned at = 0; at < DEVICES; at++) {
            if (devices[at].connected) {
                disconnect(at);
            }
        }
        nodes_destroy(nodes);
    }
}

/* Room for answers. */

struct tally {
    unsigned values;
    unsigned too_large;
    unsigned rate_limited;
};

static void on_tallied(struct client *client, const struct client_packet *packet)
{
    struct tally *tally = client->context;
    struct bytes value;
    char at[32];
    if (!packet->is_ack) {
        return;
    }
    if (json_scan_get(packet->args, "value", &value) == 0) {
        tally->values++;
        return;
    }
    struct bytes error = error_of(packet->args, at, sizeof(at));
    tally->too_large += bytes_eq(error, BYTES("too_large"));
    tally->rate_limited += bytes_eq(error, BYTES("rate_limited"));
}

static void put_digits(unsigned key, unsigned digits)
{
    struct builder text = {0};
    builder_byte(&text, '1');
    while (builder_bytes(&text).len < digits) {
        builder_byte(&text, '0');
    }
    put_text(key, builder_bytes(&text), 0);
    builder_reset(&text);
    nodes_settle(nodes);
}

static void ask_often(unsigned key, unsigned times)
{
    for (unsigned i = 0; i < times; i++) {
        ask(0, key);
    }
    nodes_settle(nodes);
}

Test(value_reads, that_find_no_room_are_refused_and_the_connection_stays)
{
    enum { MOST = 4096, LARGE = 1500 };
    struct tally tally = {0};
    open(1);
    nodes->node[0].config.outbox_max = MOST;
    put_digits(0, LARGE);
    put_digits(1, MOST);
    connect(0);
    devices[0].client.received = on_tallied;
    devices[0].client.context = &tally;
    nodes_settle(nodes);
    ask_often(1, 1);
    cr_assert_eq(tally.too_large, 1);
    devices[0].client.stalled = true;
    ask_often(0, 10);
    devices[0].client.stalled = false;
    client_resume(&devices[0].client);
    cr_assert_eq(tally.values, 2, "%u", tally.values);
    cr_assert_eq(tally.rate_limited, 8, "%u", tally.rate_limited);
    ask_often(0, 1);
    cr_assert_eq(tally.values, 3);
    cr_assert_not(devices[0].client.ended || devices[0].client.overflowed);
    close();
}
