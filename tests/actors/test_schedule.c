/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who delivers what was posted for later: parts are dealt to the nodes that live and can store, are
 * taken over, and are everybody's where nothing is heard of anybody.
 *
 * What is told of a part is its lease in Redis, and what each node asks the store for.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "actors/inbox/schedule.h"
#include "codec/base/mem.h"
#include "codec/bus_name.h"
#include "sql/store_schedule.h"
#include "tests/support/fake_inbox.h"
#include "tests/support/nodes.h"

TestSuite(schedule, .timeout = 120);

enum { PARTS = STORE_SCHEDULE_PARTS, ALL = (1 << PARTS) - 1, LEASE_MS = 1500, BEAT_MS = 400 };

static uint32_t asked; /* set of all parts that were asked for since it was set to 0 */

static int answer_due(struct store_due *request)
{
    asked |= request->parts;
    return 0;
}

static void start(struct nodes *nodes, unsigned node)
{
    schedule_start(nodes_on(nodes, node, 0));
}

static struct nodes *start_nodes(uint64_t seed, unsigned count)
{
    const struct nodes_options options = {.nodes = count, .shards = 1, .bus = true};
    struct nodes *nodes = nodes_create(seed, &options);
    fake_store_set_due(nodes->store, answer_due);
    for (unsigned i = 0; i < count; i++) {
        start(nodes, i);
    }
    return nodes;
}

/* As a node ends: what it has is given back. */
static void stop(struct nodes *nodes, unsigned node)
{
    struct shard *shard = nodes_on(nodes, node, 0);
    schedule_stop(shard);
    for (unsigned i = 0; i < 500 && shard->schedule != NULL; i++) {
        nodes_advance(nodes, 20);
    }
    cr_assert_null(shard->schedule);
}

static void finish(struct nodes *nodes)
{
    for (unsigned i = 0; i < nodes->options.nodes; i++) {
        if (nodes->node[i].det != NULL && nodes_on(nodes, i, 0)->schedule != NULL) {
            stop(nodes, i);
        }
    }
    nodes_destroy(nodes);
}

/* The node that has a part, by its number; NODES_MAX: nobody. */
static unsigned holder_of(struct nodes *nodes, unsigned part)
{
    char key[BUS_NAME_MAX];
    bus_name_schedule(&nodes->node[0].config.names, part, key);
    const char *holder = fake_data_key(fake_redis_data(nodes->redis), key);
    for (unsigned i = 0; holder != NULL && i < nodes->options.nodes; i++) {
        if (strcmp(holder, nodes->node[i].name) == 0) {
            return i;
        }
    }
    return NODES_MAX;
}

static void count_parts(struct nodes *nodes, unsigned ret_counts[NODES_MAX + 1])
{
    memset(ret_counts, 0, (NODES_MAX + 1) * sizeof(*ret_counts));
    for (unsigned part = 0; part < PARTS; part++) {
        ret_counts[holder_of(nodes, part)]++;
    }
}

/* Whether each of the nodes of `those` has as many parts as the others, but for one, and all. */
static bool is_even(struct nodes *nodes, unsigned those)
{
    unsigned counts[NODES_MAX + 1];
    unsigned sum = 0;
    unsigned least = PARTS;
    unsigned most = 0;
    count_parts(nodes, counts);
    for (unsigned i = 0; i < NODES_MAX; i++) {
        if (those & 1u << i) {
            sum += counts[i];
            least = counts[i] < least ? counts[i] : least;
            most = counts[i] > most ? counts[i] : most;
        }
    }
    return sum == PARTS && most <= least + 1;
}

/* How long it takes; fails when that is more than `most_ms`. */
static void expect_even(struct nodes *nodes, unsigned those, uint64_t most_ms, const char *what)
{
    uint64_t began = nodes->now_ms;
    while (!is_even(nodes, those) && nodes->now_ms - began < most_ms) {
        nodes_advance(nodes, 20);
    }
    unsigned counts[NODES_MAX + 1];
    count_parts(nodes, counts);
    cr_assert(is_even(nodes, those), "%s, seed %llu: %u, %u, %u parts, nobody's %u", what,
        (unsigned long long)nodes->seed, counts[0], counts[1], counts[2], counts[NODES_MAX]);
}

/* Nothing moves once it is even. */
static void expect_calm(struct nodes *nodes, uint64_t for_ms)
{
    unsigned before[PARTS];
    for (unsigned part = 0; part < PARTS; part++) {
        before[part] = holder_of(nodes, part);
    }
    for (uint64_t until = nodes->now_ms + for_ms; nodes->now_ms < until;) {
        nodes_advance(nodes, 20);
        for (unsigned part = 0; part < PARTS; part++) {
            cr_assert_eq(holder_of(nodes, part), before[part], "part %u", part);
        }
    }
}

Test(schedule, parts_are_dealt_evenly_and_stay_where_they_are)
{
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct nodes *nodes = start_nodes(seed, 3);
        nodes_advance(
            nodes, 3000); /* they may happen to be even before anybody knows of the others */
        expect_even(nodes, 7, 0, "of three that start together");
        expect_calm(nodes, 20000);
        finish(nodes);
    }
}

Test(schedule, a_node_that_comes_or_goes_is_given_its_share)
{
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct nodes *nodes = start_nodes(seed, 3);
        stop(nodes, 2);
        expect_even(nodes, 3, 2000, "of two that are left");
        expect_calm(nodes, 5000);
        start(nodes, 2);
        expect_even(nodes, 7, 2000, "of three again");
        stop(nodes, 0);
        stop(nodes, 1);
        expect_even(nodes, 4, 2000, "of one alone");
        expect_calm(nodes, 5000);
        finish(nodes);
    }
}

Test(schedule, the_parts_of_a_node_that_stands_still_are_taken_over)
{
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct nodes *nodes = start_nodes(seed, 3);
        expect_even(nodes, 7, 3000, "at the start");
        nodes_freeze(nodes, 1);
        expect_even(nodes, 5, LEASE_MS + 2 * BEAT_MS + 500, "without the one that stands still");
        nodes_thaw(nodes, 1);
        expect_even(nodes, 7, 3000, "when it goes on");
        expect_calm(nodes, 5000);
        finish(nodes);
    }
}

Test(schedule, a_node_that_cannot_store_has_none)
{
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct nodes *nodes = start_nodes(seed, 2);
        expect_even(nodes, 3, 3000, "at the start");
        struct shard *shard = nodes_on(nodes, 0, 0);
        fake_store_cut(shard->store, true);
        expect_even(nodes, 2, 3000, "of the one that can");
        expect_calm(nodes, 5000);
        fake_store_cut(shard->store, false);
        expect_even(nodes, 3, 3000, "when both can");
        finish(nodes);
    }
}

Test(schedule, who_hears_of_nobody_looks_in_all_parts)
{
    for (uint64_t seed = 1; seed <= 10; seed++) {
        struct nodes *nodes = start_nodes(seed, 2);
        expect_even(nodes, 3, 3000, "at the start");
        nodes_freeze(nodes, 1); /* what is asked for is asked by the other */
        fake_redis_reach(nodes->redis, 0, false);
        fake_redis_drop(nodes->redis, 0, 1);
        asked = 0;
        nodes_advance(nodes, 3000);
        cr_assert_neq(asked, ALL, "what another has is its own for some time");
        nodes_advance(nodes, 4000);
        cr_assert_eq(asked, ALL, "%x", asked);
        fake_redis_reach(nodes->redis, 0, true);
        nodes_thaw(nodes, 1);
        expect_even(nodes, 3, 10000, "when Redis is back");
        nodes_freeze(nodes, 1);
        nodes_advance(nodes, 100);
        asked = 0;
        nodes_advance(nodes, 1000);
        cr_assert_neq(asked, ALL, "%x", asked);
        nodes_thaw(nodes, 1);
        finish(nodes);
    }
}

static uint64_t next_due; /* what is answered */
static unsigned questions;

static int answer_locked(struct store_due *request)
{
    questions++;
    request->now = 2000000;
    request->next = next_due;
    return 0;
}

/* Nobody tells when it is free: without a bus too it is asked for again soon, and it counts as
 * late. */
Test(schedule, what_is_due_in_a_locked_inbox_is_asked_for_again_and_late)
{
    const struct nodes_options options = {.nodes = 1, .shards = 1};
    struct nodes *nodes = nodes_create(5, &options);
    fake_store_set_due(nodes->store, answer_locked);
    next_due = 2000000 - 7000;
    questions = 0;
    start(nodes, 0);
    nodes_advance(nodes, 2000);
    cr_expect(questions >= 4 && questions <= 10, "%u", questions);
    cr_expect_eq(nodes_on(nodes, 0, 0)->stats.schedule_late_ms, 7000);
    next_due = 0;
    nodes_advance(nodes, 500);
    cr_expect_eq(nodes_on(nodes, 0, 0)->stats.schedule_late_ms, 0);
    finish(nodes);
}

/* The clock of the database is a year ahead of the node's. */
enum { AHEAD_DAYS = 365 };

static uint64_t database_now(void)
{
    return FAKE_WALL_MS + AHEAD_DAYS * UINT64_C(86400000);
}

static int answer_one_due(struct store_due *request)
{
    request->now = database_now();
    if (questions++ == 0) {
        struct store_scheduled item = {.row = {
                                           .who = {.user = BYTES("ann")},
                                           .type = BYTES("note"),
                                           .title = BYTES("Now"),
                                           .deliver_at = database_now() - 1,
                                       }};
        request->base.result = request->items = mem_alloc(sizeof(item));
        request->items[0] = item;
        request->count = 1;
    }
    return 0;
}

Test(schedule, what_is_due_is_as_old_as_the_database_says)
{
    const struct nodes_options options = {.nodes = 1, .shards = 1};
    struct nodes *nodes = nodes_create(6, &options);
    fake_store_set_due(nodes->store, answer_one_due);
    questions = 0;
    start(nodes, 0);
    nodes_advance(nodes, 2000);
    const struct fake_inbox *inbox = fake_store_inbox(nodes->store, "ann");
    cr_assert_not_null(inbox);
    cr_assert_eq(inbox->count, 1);
    cr_expect_eq(inbox->rows[0].item.created_at, database_now());
    finish(nodes);
}

/* One alone has all at once: a post is not late because nobody is known yet. */
Test(schedule, a_node_alone_looks_in_all_parts_at_once)
{
    struct nodes *nodes = start_nodes(3, 1);
    asked = 0;
    nodes_advance(nodes, 1000);
    cr_assert_eq(asked, ALL, "%x", asked);
    expect_even(nodes, 1, 0, "alone");
    finish(nodes);
}
