/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The end of a stream's owner while what it waits for does not come, and what is left of its term.
 */
#include <criterion/criterion.h>

#include "actors/ingest/ingest_gauges.h"
#include "actors/ingest/ingest_proto.h"
#include "codec/base/log.h"
#include "tests/support/nodes.h"

TestSuite(ingest_end, .timeout = 300);

enum { SEEDS = 40, POSTS = 5 };

static void ignore_line(enum log_level level, const char *line, size_t len)
{
    (void)level;
    (void)line;
    (void)len;
}

static void post(struct nodes *nodes)
{
    const struct bytes fields[] = {
        BYTES("user"), BYTES("u"), BYTES("type"), BYTES("t"), BYTES("message"), BYTES("m")};
    for (unsigned i = 0; i < POSTS; i++) {
        fake_data_add(fake_redis_data(nodes->redis), "peal:in", fields, ARRAY_LEN(fields));
        nodes_advance(nodes, nodes_dice(nodes, 10));
    }
}

static uint64_t readers(const struct shard *shard)
{
    return sched_actors_of(shard->sched, &ingest_behaviour);
}

/* Whose last batch fails has nobody left that would wake it. */
Test(ingest_end, it_does_not_wait_for_a_store_that_is_away)
{
    const struct nodes_options options = {
        .nodes = 1, .shards = 1, .bus = true, .ingest = true, .partitions = 1};
    log_set_sink(ignore_line);
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct nodes *nodes = nodes_create(seed, &options);
        struct shard *shard = nodes_on(nodes, 0, 0);
        nodes_advance(nodes, 2000);
        fake_store_hold(shard->store, true);
        post(nodes);
        nodes_advance(nodes, 100);
        ingest_stop(shard);
        nodes_advance(nodes, 100);
        cr_assert_gt(readers(shard), 0, "the batch is out");
        fake_store_cut(shard->store, true);
        fake_store_hold(shard->store, false);
        nodes_advance(nodes, 1000);
        cr_assert_eq(readers(shard), 0, "seed %llu", (unsigned long long)seed);
        nodes_destroy(nodes);
    }
}

/* While it looks for streams of more partitions, one after the other: none of them begins later. */
Test(ingest_end, what_it_finds_while_it_ends_is_not_begun)
{
    const struct nodes_options options = {
        .nodes = 1, .shards = 2, .bus = true, .ingest = true, .partitions = 2};
    const struct bytes fields[] = {
        BYTES("user"), BYTES("u"), BYTES("type"), BYTES("t"), BYTES("message"), BYTES("m")};
    log_set_sink(ignore_line);
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct nodes *nodes = nodes_create(seed, &options);
        char stream[BUS_NAME_MAX];
        for (uint32_t number = 1; number <= 16; number++) {
            bus_name_in(&nodes->node[0].config.names, number, stream);
            fake_data_add(fake_redis_data(nodes->redis), stream, fields, ARRAY_LEN(fields));
        }
        while (ingest_gauge_get(&nodes->node[0].streams.of[0].owner) == 0) {
            nodes_advance(nodes, 1);
        }
        fake_store_hold(nodes_on(nodes, 0, 0)->store, true); /* its last batch takes a while */
        post(nodes);
        nodes_advance(nodes, nodes_dice(nodes, 60));
        ingest_stop(nodes_on(nodes, 0, 0));
        nodes_advance(nodes, 100);
        fake_store_hold(nodes_on(nodes, 0, 0)->store, false);
        nodes_advance(nodes, 3000);
        uint64_t left = readers(nodes_on(nodes, 0, 0)) + readers(nodes_on(nodes, 0, 1));
        cr_assert_eq(
            left, 0, "seed %llu: %llu", (unsigned long long)seed, (unsigned long long)left);
        nodes_destroy(nodes);
    }
}

/* What Redis refused an owner is the next owner's to tell: who has let go is not degraded by it. */
Test(ingest_end, who_is_no_owner_any_more_complains_of_nothing)
{
    static const char *const refused[] = {"XREAD", "XADD"};
    for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
        const struct nodes_options options = {
            .nodes = 2, .shards = 1, .bus = true, .ingest = true, .partitions = 1};
        log_set_sink(ignore_line);
        struct nodes *nodes = nodes_create(1, &options);
        nodes_advance(nodes, 2000);
        unsigned owner = ingest_gauge_get(&nodes->node[0].streams.of[0].owner) == 1 ? 0 : 1;
        struct ingest_gauges *gauges = &nodes->node[owner].streams;
        struct ingest_gauges *others = &nodes->node[1 - owner].streams;
        struct fake_data *data = fake_redis_data(nodes->redis);
        data->refused = refused[i];
        data->refusal = "OOM command not allowed when used memory > 'maxmemory'.";
        const struct bytes bad[] = {BYTES("user"), BYTES("u1"), BYTES("title"), BYTES("no type")};
        fake_data_add(data, "peal:in", bad, ARRAY_LEN(bad)); /* whose dead letter is written */
        nodes_advance(nodes, 2000);
        cr_assert(ingest_gauges_stand(gauges, nodes->now_ms), "%s", refused[i]);
        fake_store_cut(nodes->node[owner].shards[0].shard.store, true);
        nodes_advance(nodes, 2000);
        cr_assert_eq(ingest_gauge_get(&others->of[0].owner), 1, "%s", refused[i]);
        fake_store_cut(nodes->node[owner].shards[0].shard.store, false);
        data->refused = NULL;
        nodes_advance(nodes, 3000);
        cr_expect_not(ingest_gauges_stand(gauges, nodes->now_ms), "%s", refused[i]);
        cr_expect_not(ingest_gauges_stand(others, nodes->now_ms), "%s", refused[i]);
        nodes_destroy(nodes);
    }
}
