/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Nodes that compete for the partitions of a stream, while they are killed, stopped and cut off and
 * the store fails: in the end every entry is stored once, and each user's in their order.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "actors/ingest/ingest_proto.h"
#include "codec/base/log.h"
#include "tests/support/nodes.h"

TestSuite(ingest, .timeout = 300);

enum { USERS = 5, ENTRIES = 60, SEEDS = 60, PATIENCE_MS = 120000, MAX_WANTED = 4 * ENTRIES };

#define SEED_TEXT "seed %llu"
#define SEED(world) (unsigned long long)(world)->nodes->seed

struct world {
    struct nodes *nodes;
    unsigned posted;
    unsigned bad; /* entries that cannot be stored */
    unsigned refused; /* entries that only the database refuses */
    unsigned jobs; /* that are to be added, of payloads 0, 1, 2 … */
    unsigned wanted_count[USERS];
    char wanted[USERS][MAX_WANTED][16]; /* messages, in order */
    bool chaos;
};

static void ignore_line(enum log_level level, const char *line, size_t len)
{
    (void)level;
    (void)line;
    (void)len;
}

static void want(struct world *world, unsigned user, const char *message)
{
    cr_assert_lt(world->wanted_count[user], MAX_WANTED);
    snprintf(world->wanted[user][world->wanted_count[user]++], 16, "%s", message);
}

/* Post one entry to the plain stream, for one user or several. */
static void post_good(struct world *world)
{
    char message[16];
    char users[64] = "[\"u0\"";
    unsigned first = (unsigned)nodes_dice(world->nodes, USERS);
    unsigned count =
        nodes_dice(world->nodes, 4) == 0 ? 1 + (unsigned)nodes_dice(world->nodes, 3) : 1;
    snprintf(message, sizeof(message), "m%u", world->posted);
    int len = 0;
    for (unsigned i = 0; i < count; i++) {
        unsigned user = (first + i) % USERS;
        len += snprintf(users + len, sizeof(users) - (size_t)len, "%s\"u%u\"", i ? "," : "[", user);
        want(world, user, message);
    }
    snprintf(users + len, sizeof(users) - (size_t)len, "]");
    const struct bytes fields[] = {BYTES("users"), bytes_str(users), BYTES("type"), BYTES("t"),
        BYTES("message"), bytes_str(message), BYTES("reply"), BYTES("answers")};
    fake_data_add(fake_redis_data(world->nodes->redis), "peal:in", fields, ARRAY_LEN(fields));
}

/* The same key again, with the same content: stored once. */
static void post_keyed(struct world *world)
{
    char key[16];
    snprintf(key, sizeof(key), "k%u", world->posted);
    const struct bytes fields[] = {BYTES("user"), BYTES("u1"), BYTES("type"), BYTES("t"),
        BYTES("message"), bytes_str(key), BYTES("key"), bytes_str(key)};
    want(world, 1, key);
    fake_data_add(fake_redis_data(world->nodes->redis), "peal:in", fields, ARRAY_LEN(fields));
    fake_data_add(fake_redis_data(world->nodes->redis), "peal:in", fields, ARRAY_LEN(fields));
}

/* A field that there is not, or one that nothing carries out. */
static void post_bad(struct world *world)
{
    const struct bytes unknown[] = {
        BYTES("user"), BYTES("u2"), BYTES("colour"), BYTES("red"), BYTES("message"), BYTES("bad")};
    const struct bytes retained[] = {
        BYTES("room"), BYTES("r"), BYTES("event"), BYTES("e"), BYTES("retain"), BYTES("bad")};
    const struct bytes *fields = nodes_dice(world->nodes, 2) ? unknown : retained;
    fake_data_add(fake_redis_data(world->nodes->redis), "peal:in", fields, ARRAY_LEN(unknown));
    world->bad++;
}

static void post_refused(struct world *world)
{
    const struct bytes fields[] = {
        BYTES("user"), BYTES("u3"), BYTES("type"), BYTES("t"), BYTES("message"), BYTES("refused")};
    fake_data_add(fake_redis_data(world->nodes->redis), "peal:in", fields, ARRAY_LEN(fields));
    world->refused++;
}

static void post_event_entry(struct world *world)
{
    const struct bytes fields[] = {
        BYTES("room"), BYTES("r"), BYTES("event"), BYTES("e"), BYTES("args"), BYTES("[1]")};
    fake_data_add(fake_redis_data(world->nodes->redis), "peal:in", fields, ARRAY_LEN(fields));
}

/* A job, and sometimes again with the same key: added once. */
static void post_job(struct world *world)
{
    char payload[16];
    char key[16];
    snprintf(payload, sizeof(payload), "%u", world->jobs++);
    snprintf(key, sizeof(key), "j%u", world->jobs - 1);
    const struct bytes fields[] = {BYTES("job"), BYTES("email"), BYTES("type"), BYTES("t"),
        BYTES("payload"), bytes_str(payload), BYTES("user"), BYTES("u1"), BYTES("key"),
        bytes_str(key)};
    bool keyed = nodes_dice(world->nodes, 2);
    for (unsigned i = keyed ? 2 : 1; i > 0; i--) {
        fake_data_add(fake_redis_data(world->nodes->redis), "peal:in", fields,
            keyed ? ARRAY_LEN(fields) : ARRAY_LEN(fields) - 2);
    }
}

static void post(struct world *world)
{
    switch (nodes_dice(world->nodes, 14)) {
    case 0:
        post_bad(world);
        break;
    case 1:
        post_refused(world);
        break;
    case 2:
        post_keyed(world);
        break;
    case 3:
        post_event_entry(world);
        break;
    case 4:
    case 5:
        post_job(world);
        break;
    default:
        post_good(world);
        break;
    }
    world->posted++;
}

static void disturb(struct world *world)
{
    struct nodes *nodes = world->nodes;
    unsigned number = (unsigned)nodes_dice(nodes, nodes->options.nodes);
    struct node *node = &nodes->node[number];
    switch (nodes_dice(nodes, 6)) {
    case 0:
        if (node->det == NULL) {
            nodes_start(nodes, number);
        } else {
            nodes_stop(nodes, number);
        }
        break;
    case 1:
        if (node->frozen) {
            nodes_thaw(nodes, number);
        } else if (node->det != NULL) {
            nodes_freeze(nodes, number);
        }
        break;
    case 2:
    case 3:
        if (node->det != NULL && !node->frozen) {
            fake_redis_drop(nodes->redis, number, 2);
        }
        break;
    case 4:
        fake_store_set_failures(nodes->store, (unsigned)nodes_dice(nodes, 5));
        break;
    default:
        fake_redis_reach(nodes->redis, number, nodes_dice(nodes, 3) != 0);
        break;
    }
}

static void heal(struct world *world)
{
    struct nodes *nodes = world->nodes;
    fake_store_set_failures(nodes->store, 0);
    for (unsigned i = 0; i < nodes->options.nodes; i++) {
        fake_redis_reach(nodes->redis, i, true);
        if (nodes->node[i].det == NULL) {
            nodes_start(nodes, i);
        } else if (nodes->node[i].frozen) {
            nodes_thaw(nodes, i);
        }
    }
}

static size_t stored_count(const struct world *world, unsigned user)
{
    char key[8];
    snprintf(key, sizeof(key), "u%u", user);
    const struct fake_inbox *inbox = fake_store_inbox(world->nodes->store, key);
    return inbox ? inbox->count : 0;
}

static unsigned dead_with(const struct world *world, const char *text)
{
    const struct fake_data *data = fake_redis_data(world->nodes->redis);
    unsigned count = 0;
    for (size_t i = 0; i < fake_data_length(data, "peal:dead"); i++) {
        count += bytes_eq_str(fake_data_field(data, "peal:dead", i, "message"), text) ||
                 bytes_eq_str(fake_data_field(data, "peal:dead", i, "retain"), text);
    }
    return count;
}

static bool is_done(const struct world *world)
{
    for (unsigned user = 0; user < USERS; user++) {
        if (stored_count(world, user) < world->wanted_count[user]) {
            return false;
        }
    }
    if (fake_store_jobs(world->nodes->store, NULL) < world->jobs) {
        return false;
    }
    return dead_with(world, "bad") >= world->bad && dead_with(world, "refused") >= world->refused;
}

static void wait_until_done(struct world *world)
{
    for (uint64_t waited = 0; waited < PATIENCE_MS && !is_done(world); waited += 500) {
        nodes_advance(world->nodes, 500);
    }
    nodes_advance(world->nodes, 3000); /* anything more would be too much */
    nodes_settle(world->nodes);
}

static void check(struct world *world)
{
    for (unsigned user = 0; user < USERS; user++) {
        char key[8];
        snprintf(key, sizeof(key), "u%u", user);
        const struct fake_inbox *inbox = fake_store_inbox(world->nodes->store, key);
        cr_assert_eq(stored_count(world, user), world->wanted_count[user],
            SEED_TEXT ": %s has %zu of %u", SEED(world), key, stored_count(world, user),
            world->wanted_count[user]);
        for (size_t i = 0; inbox != NULL && i < inbox->count; i++) {
            cr_assert(bytes_eq_str(inbox->rows[i].item.message, world->wanted[user][i]),
                SEED_TEXT ": %s at %zu is %.*s, not %s", SEED(world), key, i,
                (int)inbox->rows[i].item.message.len, inbox->rows[i].item.message.at,
                world->wanted[user][i]);
        }
    }
    for (unsigned i = 0; i < world->jobs; i++) {
        char payload[16];
        snprintf(payload, sizeof(payload), "%u", i);
        cr_assert_eq(
            fake_store_jobs(world->nodes->store, payload), 1, SEED_TEXT ": job %u", SEED(world), i);
    }
    unsigned bad = dead_with(world, "bad");
    unsigned refused = dead_with(world, "refused");
    cr_assert_geq(bad, world->bad, SEED_TEXT, SEED(world));
    cr_assert_geq(refused, world->refused, SEED_TEXT, SEED(world));
    if (!world->chaos) {
        cr_assert_eq(bad, world->bad, SEED_TEXT ": each once", SEED(world));
        cr_assert_eq(refused, world->refused, SEED_TEXT ": each once", SEED(world));
    }
}

static uint64_t hash_of(const struct nodes *nodes)
{
    uint64_t hash = 0;
    for (unsigned i = 0; i < nodes->options.nodes; i++) {
        hash = hash * 31 + (nodes->node[i].det ? det_sched_hash(nodes->node[i].det) : 0);
    }
    return hash;
}

static uint64_t run(uint64_t seed, uint32_t partitions, bool chaos)
{
    static struct world world;
    const struct nodes_options options = {
        .nodes = 2, .shards = 1 + seed % 2, .bus = true, .ingest = true, .partitions = partitions};
    memset(&world, 0, sizeof(world));
    log_set_sink(ignore_line);
    world.chaos = chaos;
    world.nodes = nodes_create(seed, &options);
    fake_store_refuse(world.nodes->store, "refused");
    fake_redis_set_lag(world.nodes->redis, chaos ? 100 : 0);
    while (world.posted < ENTRIES) {
        uint64_t burst = 1 + nodes_dice(world.nodes, 6);
        while (burst-- > 0) {
            post(&world);
        }
        nodes_advance(world.nodes, 1 + nodes_dice(world.nodes, 700));
        if (chaos) {
            disturb(&world);
        }
    }
    heal(&world);
    wait_until_done(&world);
    check(&world);
    uint64_t hash = hash_of(world.nodes);
    nodes_destroy(world.nodes);
    return hash;
}

static uint64_t seeds(uint64_t usual)
{
    const char *more = getenv("PEAL_SEEDS");
    return more ? strtoull(more, NULL, 10) : usual;
}

Test(ingest, calm)
{
    for (uint64_t seed = 1; seed <= 6; seed++) {
        run(seed, seed % 2 ? 1 : 4, false);
    }
}

Test(ingest, one_partition_in_a_storm)
{
    for (uint64_t seed = 1; seed <= seeds(SEEDS); seed++) {
        run(seed, 1, true);
    }
}

Test(ingest, router_and_partitions_in_a_storm)
{
    for (uint64_t seed = 1; seed <= seeds(SEEDS); seed++) {
        run(seed, 4, true);
    }
}

Test(ingest, same_seed_same_hash)
{
    cr_assert_eq(run(7, 4, true), run(7, 4, true));
}

static void post_numbered(struct world *world, unsigned count)
{
    while (count-- > 0) {
        post_good(world);
        world->posted++;
    }
}

/* So many nodes over one stream, in a world that is begun anew. */
static struct nodes *begin(struct world *world, uint64_t seed, unsigned nodes)
{
    const struct nodes_options options = {
        .nodes = nodes, .shards = 1, .bus = true, .ingest = true, .partitions = 1};
    memset(world, 0, sizeof(*world));
    log_set_sink(ignore_line);
    world->nodes = nodes_create(seed, &options);
    return world->nodes;
}

/* The owner stops before its batch is committed; the batch arrives at the database much later. */
Test(ingest, stale_owner_is_fenced)
{
    static struct world world;
    struct nodes *nodes = begin(&world, 3, 2);
    world.chaos = true;
    nodes_advance(nodes, 2000);
    uint64_t stored[2];
    post_numbered(&world, 5);
    nodes_advance(nodes, 2000);
    for (unsigned i = 0; i < 2; i++) {
        stored[i] = nodes_stat(nodes, i, offsetof(struct shard_stats, stored));
    }
    unsigned owner = stored[0] > 0 ? 0 : 1;
    cr_assert(stored[owner] > 0 && stored[1 - owner] == 0, "one owner");
    fake_store_hold(nodes->node[owner].shards[0].shard.store, true);
    post_numbered(&world, 5);
    nodes_advance(nodes, 1000); /* it reads, and asks the store in vain */
    nodes_freeze(nodes, owner);
    nodes_advance(nodes, 5000);
    cr_assert_gt(nodes_stat(nodes, 1 - owner, offsetof(struct shard_stats, stored)), 0);
    post_numbered(&world, 5);
    nodes_thaw(nodes, owner);
    wait_until_done(&world);
    check(&world);
    cr_assert_gt(fake_store_fenced(nodes->store), 0);
    nodes_destroy(nodes);
}

/* A server that lost the stream, and whose clock is behind: what it says now has lower ids. */
Test(ingest, stream_behind_the_position_is_read_again)
{
    for (uint64_t seed = 1; seed <= 20; seed++) {
        static struct world world;
        (void)begin(&world, seed, 1);
        fake_data_set_ahead(fake_redis_data(world.nodes->redis), 1000000);
        nodes_advance(world.nodes, 2000);
        post_numbered(&world, 10);
        if (seed % 2) {
            nodes_advance(world.nodes, 2000);
            cr_assert(is_done(&world));
        } else {
            nodes_advance(world.nodes, 1 + nodes_dice(world.nodes, 50));
            while (!is_done(&world) && nodes_step(world.nodes)) {
            }
            nodes_advance(world.nodes, 1000);
        }
        fake_data_delete_stream(fake_redis_data(world.nodes->redis), "peal:in");
        fake_data_set_ahead(fake_redis_data(world.nodes->redis), 0);
        post_numbered(&world, 10);
        wait_until_done(&world);
        check(&world);
        post_numbered(&world, 10);
        wait_until_done(&world);
        check(&world);
        nodes_destroy(world.nodes);
    }
}

static unsigned owner_of(struct nodes *nodes)
{
    for (unsigned i = 0; i < nodes->options.nodes; i++) {
        if (nodes->node[i].det != NULL && !nodes->node[i].frozen &&
            nodes_stat(nodes, i, offsetof(struct shard_stats, stored)) > 0) {
            return i;
        }
    }
    return NODES_MAX;
}

/* An owner that ends announces what it commits and gives the lease back, it does not let it run
 * out. */
Test(ingest, an_owner_that_ends_gives_the_stream_back_at_once)
{
    for (uint64_t seed = 1; seed <= 40; seed++) {
        static struct world world;
        struct nodes *nodes = begin(&world, seed, 2);
        nodes_advance(nodes, 2000);
        post_numbered(&world, 5);
        nodes_advance(nodes, 1000);
        unsigned owner = owner_of(nodes);
        cr_assert_lt(owner, NODES_MAX);
        post_numbered(&world, 5);
        nodes_advance(nodes, nodes_dice(nodes, 30)); /* perhaps while these are committed */
        ingest_stop(nodes_on(nodes, owner, 0));
        nodes_settle(nodes);
        char key[BUS_NAME_MAX];
        bus_name_lease(&nodes->node[owner].config.names, 0, key);
        const char *holder = fake_data_key(fake_redis_data(nodes->redis), key);
        cr_assert(holder == NULL || strcmp(holder, nodes->node[owner].name) != 0,
            SEED_TEXT ": the lease was kept", SEED(&world));
        nodes_advance(nodes, 1000);
        cr_assert(is_done(&world), SEED_TEXT ": not stored", SEED(&world));
        check(&world);
        nodes_destroy(nodes);
    }
}

/* An owner whose store is away, and whose Redis is not, leaves the stream to a node that can store.
 */
Test(ingest, an_owner_that_cannot_store_leaves_the_stream_to_another)
{
    for (uint64_t seed = 1; seed <= 40; seed++) {
        static struct world world;
        struct nodes *nodes = begin(&world, seed, 2);
        nodes_advance(nodes, 2000);
        post_numbered(&world, 5);
        nodes_advance(nodes, 1000);
        unsigned owner = owner_of(nodes);
        cr_assert_lt(owner, NODES_MAX);
        fake_store_cut(nodes->node[owner].shards[0].shard.store, true);
        post_numbered(&world, 5);
        nodes_advance(nodes, 2000);
        cr_assert(is_done(&world), SEED_TEXT ": not stored", SEED(&world));
        cr_assert_gt(nodes_stat(nodes, 1 - owner, offsetof(struct shard_stats, stored)), 0);
        cr_assert_eq(ingest_gauge_get(&nodes->node[owner].streams.of[0].owner), 0);
        cr_assert_eq(ingest_gauge_get(&nodes->node[1 - owner].streams.of[0].owner), 1);
        /* It does not claim again, though its lease would be granted, until it can store. */
        nodes_stop(nodes, 1 - owner);
        nodes_advance(nodes, 8000);
        cr_assert_eq(ingest_gauge_get(&nodes->node[owner].streams.of[0].owner), 0);
        cr_assert(ingest_gauges_stand(&nodes->node[owner].streams, nodes->now_ms));
        fake_store_cut(nodes->node[owner].shards[0].shard.store, false);
        post_numbered(&world, 5);
        nodes_advance(nodes, 2000);
        cr_assert(is_done(&world), SEED_TEXT ": not stored again", SEED(&world));
        cr_assert_not(ingest_gauges_stand(&nodes->node[owner].streams, nodes->now_ms));
        check(&world);
        nodes_destroy(nodes);
    }
}

/* What comes after an owner's death, or while it stands still, is stored within two seconds. */
Test(ingest, no_stream_is_claimed_beside_nodes_with_another_store)
{
    static struct world world;
    static atomic_bool strangers = true;
    struct nodes *nodes = begin(&world, 1, 2);
    nodes_advance(nodes, 2000);
    post_numbered(&world, 5);
    nodes_advance(nodes, 2000);
    unsigned owner = owner_of(nodes);
    cr_assert_lt(owner, NODES_MAX);
    nodes_on(nodes, 1 - owner, 0)->strangers = &strangers;
    nodes_stop(nodes, owner);
    post_numbered(&world, 5);
    nodes_advance(nodes, 5000);
    cr_assert_eq(owner_of(nodes), NODES_MAX, "it would drain what is another store's");
    atomic_store(&strangers, false);
    nodes_advance(nodes, 2000);
    cr_assert_eq(owner_of(nodes), 1 - owner);
    cr_assert(is_done(&world));
    nodes_destroy(nodes);
}

Test(ingest, another_node_takes_over_within_two_seconds)
{
    for (uint64_t seed = 1; seed <= 40; seed++) {
        static struct world world;
        struct nodes *nodes = begin(&world, seed, 2);
        nodes_advance(nodes, 2000);
        post_numbered(&world, 5);
        nodes_advance(nodes, 1000 + nodes_dice(nodes, 1500)); /* anywhere in the lease */
        unsigned owner = owner_of(nodes);
        cr_assert_lt(owner, NODES_MAX);
        if (seed % 2) {
            nodes_stop(nodes, owner);
        } else {
            nodes_freeze(nodes, owner);
        }
        post_numbered(&world, 5);
        nodes_advance(nodes, 2000);
        cr_assert_eq(owner_of(nodes), 1 - owner, SEED_TEXT ": nobody took over", SEED(&world));
        cr_assert(is_done(&world), SEED_TEXT ": not stored", SEED(&world));
        check(&world);
        nodes_destroy(nodes);
    }
}

/* Post for `user` to `stream`, as posters do that know of partitions. */
static void post_to(struct world *world, const char *stream, unsigned user)
{
    char name[8];
    char message[16];
    snprintf(name, sizeof(name), "u%u", user);
    snprintf(message, sizeof(message), "m%u", world->posted++);
    want(world, user, message);
    const struct bytes fields[] = {BYTES("user"), bytes_str(name), BYTES("type"), BYTES("t"),
        BYTES("message"), bytes_str(message)};
    fake_data_add(fake_redis_data(world->nodes->redis), stream, fields, ARRAY_LEN(fields));
}

static void restart_with(struct nodes *nodes, uint32_t partitions)
{
    nodes_stop(nodes, 0);
    nodes->options.partitions = partitions;
    nodes_start(nodes, 0);
}

/* What waits in any stream is stored, whatever the number of partitions was and becomes. */
Test(ingest, another_number_of_partitions_skips_nothing)
{
    static const uint32_t changes[][2] = {{1, 4}, {4, 1}, {4, 2}, {2, 4}};
    for (size_t i = 0; i < ARRAY_LEN(changes); i++) {
        static struct world world;
        const struct nodes_options options = {
            .nodes = 1, .shards = 2, .bus = true, .ingest = true, .partitions = changes[i][0]};
        memset(&world, 0, sizeof(world));
        log_set_sink(ignore_line);
        world.nodes = nodes_create(9, &options);
        struct nodes *nodes = world.nodes;
        nodes_advance(nodes, 3000);
        post_to(&world, "peal:in:0", 0);
        nodes_advance(nodes, 1000);
        post_to(&world, "peal:in", 4);
        nodes_advance(nodes, 1000);
        nodes_stop(nodes, 0);
        post_to(&world, "peal:in", 4);
        nodes_advance(nodes, 1000);
        post_to(&world, "peal:in:0", 0);
        post_to(&world, "peal:in:3", 3);
        restart_with(nodes, changes[i][1]);
        wait_until_done(&world);
        check(&world);
        nodes_destroy(nodes);
    }
}

/* Posters that asked are told what became of their entry. */
Test(ingest, posters_are_told)
{
    static struct world world;
    const struct nodes_options options = {
        .nodes = 2, .shards = 2, .bus = true, .ingest = true, .partitions = 1};
    memset(&world, 0, sizeof(world));
    world.nodes = nodes_create(5, &options);
    nodes_advance(world.nodes, 2000);
    post_numbered(&world, 20);
    wait_until_done(&world);
    check(&world);
    const struct fake_data *data = fake_redis_data(world.nodes->redis);
    cr_assert_eq(fake_data_length(data, "answers"), 20);
    for (size_t i = 0; i < 20; i++) {
        cr_assert(bytes_eq_str(fake_data_field(data, "answers", i, "status"), "stored"));
    }
    nodes_destroy(world.nodes);
}

/* The end of a reader does not wait for a store that is away. */
Test(ingest, an_owner_that_ends_while_it_cannot_store_is_gone)
{
    unsigned cut_off = 0;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        static struct world world;
        struct nodes *nodes = begin(&world, seed, 1);
        nodes_advance(nodes, 2000);
        cr_assert_eq(ingest_gauge_get(&nodes->node[0].streams.of[0].owner), 1);
        size_t links = fake_redis_links(nodes->redis);
        post_numbered(&world, 5);
        nodes_advance(nodes, nodes_dice(nodes, 30)); /* perhaps while these are committed */
        fake_store_cut(nodes->node[0].shards[0].shard.store, true);
        ingest_stop(nodes_on(nodes, 0, 0));
        nodes_advance(nodes, 3000);
        nodes_settle(nodes);
        size_t left = fake_redis_links(nodes->redis);
        cr_assert_eq(left, links - 2, SEED_TEXT ": %zu links of %zu", SEED(&world), left, links);
        cut_off += !is_done(&world);
        nodes_destroy(nodes);
    }
    cr_expect_gt(cut_off, 0, "entries were being committed");
}

/* What stands in the place of Redis may say anything: it is asked again later, and told. */
Test(ingest, a_reading_that_is_answered_with_nonsense_is_repeated_slowly)
{
    static const char *const refusals[] = {NULL, "BUSY Redis is busy running a script."};
    for (size_t i = 0; i < ARRAY_LEN(refusals); i++) {
        static struct world world;
        struct nodes *nodes = begin(&world, 1, 1);
        nodes_advance(nodes, 2000);
        struct fake_data *data = fake_redis_data(nodes->redis);
        data->refused = "XREAD";
        data->refusal = refusals[i];
        post_numbered(&world, 5);
        nodes_advance(nodes, 3000);
        cr_expect_gt(data->refusals, 0);
        unsigned before = data->refusals;
        for (unsigned steps = 0; steps < 2000 && nodes_step(nodes); steps++) {
        }
        cr_expect_leq(data->refusals, before + 2, "%u times at once", data->refusals - before);
        cr_expect(ingest_gauges_stand(&nodes->node[0].streams, nodes->now_ms), "nobody is told");
        data->refused = NULL;
        wait_until_done(&world);
        check(&world);
        nodes_destroy(nodes);
    }
}

/* A partition that takes nothing does not have the others' entries written again and again. */
Test(ingest, what_was_routed_is_not_routed_again)
{
    static struct world world;
    const struct nodes_options options = {
        .nodes = 1, .shards = 1, .bus = true, .ingest = true, .partitions = 2};
    memset(&world, 0, sizeof(world));
    log_set_sink(ignore_line);
    world.nodes = nodes_create(1, &options);
    struct nodes *nodes = world.nodes;
    nodes_advance(nodes, 2000);
    struct fake_data *data = fake_redis_data(nodes->redis);
    data->refused = "XADD";
    data->refused_key = "peal:in:1";
    data->refusal = "OOM command not allowed when used memory > 'maxmemory'.";
    const struct bytes event[] = {
        BYTES("room"), BYTES("r0"), BYTES("event"), BYTES("e"), BYTES("args"), BYTES("[1]")};
    fake_data_add(data, "peal:in", event, ARRAY_LEN(event));
    post_numbered(&world, 20); /* of users of both partitions */
    nodes_advance(nodes, 5000);
    cr_expect_gt(data->refusals, 1);
    size_t routed = fake_data_added(data, "peal:in:0");
    cr_expect_gt(routed, 1);
    cr_expect_leq(routed, 21, "%zu entries were written for 21", routed);
    data->refused = NULL;
    wait_until_done(&world);
    check(&world);
    nodes_destroy(nodes);
}
