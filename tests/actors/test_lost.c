/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a replay stream loses: entries that were added, and trimmed before they were read, under
 * many seeds.
 */
#include <criterion/criterion.h>
#include <stdio.h>

#include "actors/deliver/broadcast.h"
#include "actors/order/sequencer.h"
#include "actors/user/user.h"
#include "codec/bus_name.h"
#include "codec/json_scan.h"
#include "tests/support/client.h"
#include "tests/support/nodes.h"

TestSuite(lost, .timeout = 120);

/* The name of the replay stream; good until the next call. */
static const char *replay_name_of(const struct nodes *nodes)
{
    static char name[BUS_NAME_MAX];
    struct builder out = {0};
    bus_name_replay(&nodes->node[0].config.names, BYTES("/"), &out);
    snprintf(name, sizeof(name), "%.*s", (int)builder_bytes(&out).len, builder_bytes(&out).at);
    builder_reset(&out);
    return name;
}

enum { POSTED = 6, STREAM_SEEDS = 200 };

struct counter {
    struct client client; /* first */
    unsigned got[POSTED];
};

static void on_counted(struct client *client, const struct client_packet *packet)
{
    struct counter *counter = (struct counter *)(void *)client;
    if (!packet->is_ack && bytes_eq_str(packet->name, "e")) {
        uint64_t number;
        cr_assert_eq(json_scan_u64(packet->args, &number), 0);
        cr_assert_lt(number, POSTED);
        counter->got[number]++;
    }
}

static void emit(struct nodes *nodes, unsigned number)
{
    char text[64];
    struct event *event;
    struct bytes name = BYTES("r0");
    snprintf(text, sizeof(text), "[\"e\",%u]", number);
    cr_assert_eq(event_from_json(bytes_str(text), NULL, 0, 0, &event), 0);
    sequencer_send(nodes_on(nodes, 0, 0), BYTES("/"), broadcast_new(event, &name, 1, NULL, 0));
}

/* Two nodes that read one replay stream, each with a member of r0. */
struct pair {
    struct nodes *nodes;
    struct counter counter[2];
    struct shard *shard[2];
};

static void open_pair(struct pair *pair, unsigned seed)
{
    const struct nodes_options options = {
        .nodes = 2, .shards = 2, .bus = true, .partitions = 1, .recovers = true};
    *pair = (struct pair){.nodes = nodes_create(seed, &options)};
}

static void join_pair(struct pair *pair)
{
    for (unsigned i = 0; i < 2; i++) {
        struct client *client = &pair->counter[i].client;
        client->received = on_counted;
        pair->shard[i] = nodes_on(pair->nodes, i, nodes_user_shard(pair->nodes, i, "u0"));
        client_init(client, pair->shard[i], "/", "u0", WIRE_JSON);
        cr_assert_eq(user_attach(pair->shard[i], &client->socket), 0);
        user_event(&client->socket, BYTES("[\"join_room\",\"r0\"]"), &(uint64_t){1}, NULL, 0);
    }
    nodes_settle(pair->nodes);
}

static void close_pair(struct pair *pair)
{
    for (unsigned i = 0; i < 2; i++) {
        nodes_on(pair->nodes, i, sched_shard(pair->shard[i]->sched));
        client_finish(&pair->counter[i].client, CLOSE_NORMAL);
    }
    nodes_settle(pair->nodes);
    nodes_destroy(pair->nodes);
}

/* Each member has got events [0, count) once. */
static void expect_all(const struct pair *pair, unsigned seed, unsigned count)
{
    for (unsigned i = 0; i < 2; i++) {
        for (unsigned number = 0; number < count; number++) {
            unsigned got = pair->counter[i].got[number];
            cr_assert_eq(
                got, 1, "seed %u: event %u came %u times to node %u", seed, number, got, i);
        }
    }
}

/* Post to the stream, and lose it at a moment that the seed decides; whether entries were in it. */
static bool post_and_lose(struct nodes *nodes)
{
    struct fake_data *data = fake_redis_data(nodes->redis);
    const char *replay = replay_name_of(nodes);
    size_t before = fake_data_length(data, replay);
    cr_assert_gt(before, 0);
    for (unsigned number = 1; number < POSTED; number++) {
        emit(nodes, number);
    }
    for (uint64_t steps = nodes_dice(nodes, 60); steps > 0 && nodes_step(nodes); steps--) {
    }
    bool added = fake_data_length(data, replay) > before;
    fake_data_delete_oldest(data, replay, fake_data_length(data, replay));
    return added;
}

/*
 * What was added to the replay stream and dropped from it before it was read is delivered by the
 * node that has it, once.
 */
Test(lost, what_the_replay_stream_loses_is_delivered_here)
{
    const struct nodes_options options = {
        .nodes = 1, .shards = 2, .bus = true, .partitions = 1, .recovers = true};
    unsigned lost = 0;
    for (unsigned seed = 1; seed <= STREAM_SEEDS; seed++) {
        struct counter counter = {0};
        struct nodes *nodes = nodes_create(seed, &options);
        nodes_settle(nodes);
        struct shard *shard = nodes_on(nodes, 0, nodes_user_shard(nodes, 0, "u0"));
        counter.client.received = on_counted;
        client_init(&counter.client, shard, "/", "u0", WIRE_JSON);
        cr_assert_eq(user_attach(shard, &counter.client.socket), 0);
        user_event(
            &counter.client.socket, BYTES("[\"join_room\",\"r0\"]"), &(uint64_t){1}, NULL, 0);
        nodes_settle(nodes);
        emit(nodes, 0);
        nodes_advance(nodes, 200);
        nodes_settle(nodes);
        lost += post_and_lose(nodes);
        fake_redis_drop(nodes->redis, 0, 1);
        nodes_advance(nodes, 10000);
        nodes_settle(nodes);
        for (unsigned number = 0; number < POSTED; number++) {
            cr_assert_eq(counter.got[number], 1, "seed %u: event %u came %u times", seed, number,
                counter.got[number]);
        }
        nodes_on(nodes, 0, sched_shard(shard->sched));
        client_finish(&counter.client, CLOSE_NORMAL);
        nodes_settle(nodes);
        nodes_destroy(nodes);
    }
    cr_assert_gt(lost, STREAM_SEEDS / 10, "entries were lost: %u", lost);
}

enum { PAIR_SEEDS = 50 };

/* A Redis without room for entries still passes messages on: nobody waits for the entry. */
Test(lost, what_the_stream_refuses_reaches_other_nodes_as_well)
{
    for (unsigned seed = 1; seed <= PAIR_SEEDS; seed++) {
        struct pair pair;
        open_pair(&pair, seed);
        nodes_advance(pair.nodes, 200);
        nodes_settle(pair.nodes);
        join_pair(&pair);
        struct fake_data *data = fake_redis_data(pair.nodes->redis);
        for (unsigned number = 0; number < POSTED; number++) {
            bool full = number == 1 || number == 2 || number == 4;
            data->refused = full ? "XADD" : NULL;
            data->refusal = "OOM command not allowed when used memory > 'maxmemory'.";
            emit(pair.nodes, number);
            nodes_settle(pair.nodes);
        }
        nodes_advance(pair.nodes, 500);
        nodes_settle(pair.nodes);
        cr_assert_eq(data->refusals, 3);
        expect_all(&pair, seed, POSTED);
        close_pair(&pair);
    }
}

/* What Redis cannot say now it can say later; meanwhile messages come as in other namespaces. */
Test(lost, a_stream_that_cannot_be_read_is_asked_for_again)
{
    for (unsigned seed = 1; seed <= PAIR_SEEDS; seed++) {
        struct pair pair;
        open_pair(&pair, seed);
        struct fake_data *data = fake_redis_data(pair.nodes->redis);
        data->refused = "XINFO";
        data->refusal = "BUSY Redis is busy running a script.";
        nodes_advance(pair.nodes, 100);
        nodes_settle(pair.nodes);
        join_pair(&pair);
        emit(pair.nodes, 0);
        nodes_settle(pair.nodes);
        expect_all(&pair, seed, 1);
        data->refused = NULL;
        nodes_advance(pair.nodes, 3000);
        nodes_settle(pair.nodes);
        for (unsigned number = 1; number < POSTED; number++) {
            emit(pair.nodes, number);
            nodes_settle(pair.nodes);
        }
        cr_assert_eq(fake_data_length(data, replay_name_of(pair.nodes)), POSTED - 1,
            "seed %u: the stream is used", seed);
        expect_all(&pair, seed, POSTED);
        close_pair(&pair);
    }
}

/* One asks again later, not at once for ever. */
Test(lost, a_reading_that_is_refused_is_repeated_slowly)
{
    struct pair pair;
    open_pair(&pair, 1);
    nodes_advance(pair.nodes, 200);
    nodes_settle(pair.nodes);
    join_pair(&pair);
    struct fake_data *data = fake_redis_data(pair.nodes->redis);
    data->refused = "XREAD";
    data->refusal = "BUSY Redis is busy running a script.";
    nodes_advance(pair.nodes, 5000);
    cr_expect_leq(data->refusals, 20, "of two nodes in 5 s: %u", data->refusals);
    emit(pair.nodes, 0);
    data->refused = NULL;
    nodes_advance(pair.nodes, 3000);
    nodes_settle(pair.nodes);
    expect_all(&pair, 1, 1);
    close_pair(&pair);
}
