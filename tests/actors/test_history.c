/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A Redis that comes back with less than it had: what it has is stored, each entry once, though its
 * clock was behind; and what stays in a stream for that.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>

#include "actors/ingest/ingest_keep.h"
#include "codec/base/log.h"
#include "tests/support/nodes.h"

TestSuite(history, .timeout = 300);

enum { KEEP_MS = 5000, AHEAD_MS = 1000000, ALL = 1000, SEEDS = 40, TEXT_MAX = 16 };

#define SEED_TEXT "seed %llu"
#define SEED(nodes) (unsigned long long)(nodes)->seed

static unsigned posted;

static void ignore_line(enum log_level level, const char *line, size_t len)
{
    (void)level;
    (void)line;
    (void)len;
}

static struct nodes *begin(uint64_t seed, unsigned nodes, uint32_t partitions)
{
    const struct nodes_options options = {
        .nodes = nodes, .shards = 1, .bus = true, .ingest = true, .partitions = partitions};
    log_set_sink(ignore_line);
    posted = 0;
    struct nodes *world = nodes_create(seed, &options);
    nodes_advance(world, 2000);
    return world;
}

static struct fake_data *data_of(struct nodes *nodes)
{
    return fake_redis_data(nodes->redis);
}

/* Post notifications for one user, with keys of their own, some milliseconds apart. */
static void post(struct nodes *nodes, unsigned count)
{
    while (count-- > 0) {
        char text[TEXT_MAX];
        snprintf(text, sizeof(text), "m%u", posted++);
        const struct bytes fields[] = {BYTES("user"), BYTES("u"), BYTES("type"), BYTES("t"),
            BYTES("message"), bytes_str(text), BYTES("key"), bytes_str(text), BYTES("reply"),
            BYTES("answers")};
        fake_data_add(data_of(nodes), "peal:in", fields, ARRAY_LEN(fields));
        nodes_advance(nodes, 1 + nodes_dice(nodes, 10));
    }
}

static void post_event(struct nodes *nodes)
{
    const struct bytes fields[] = {
        BYTES("room"), BYTES("r"), BYTES("event"), BYTES("e"), BYTES("args"), BYTES("[1]")};
    fake_data_add(data_of(nodes), "peal:in", fields, ARRAY_LEN(fields));
}

static unsigned times_stored(const struct nodes *nodes, struct bytes message)
{
    const struct fake_inbox *inbox = fake_store_inbox(nodes->store, "u");
    unsigned times = 0;
    for (size_t i = 0; inbox != NULL && i < inbox->count; i++) {
        times += bytes_eq(inbox->rows[i].item.message, message);
    }
    return times;
}

static size_t stored(const struct nodes *nodes)
{
    const struct fake_inbox *inbox = fake_store_inbox(nodes->store, "u");
    return inbox ? inbox->count : 0;
}

/* Of what was posted, so many have come into the inbox, each once. */
static void check_stored(const struct nodes *nodes, size_t count)
{
    cr_assert_eq(stored(nodes), count, SEED_TEXT ": %zu of %zu", SEED(nodes), stored(nodes), count);
    for (unsigned i = 0; i < posted; i++) {
        char text[TEXT_MAX];
        snprintf(text, sizeof(text), "m%u", i);
        cr_assert_leq(times_stored(nodes, bytes_str(text)), 1, SEED_TEXT, SEED(nodes));
    }
}

static uint64_t duplicates(const struct nodes *nodes)
{
    return nodes_stat(nodes, 0, offsetof(struct shard_stats, duplicates));
}

static unsigned events_in(struct nodes *nodes, const char *stream)
{
    unsigned count = 0;
    for (size_t i = 0; i < fake_data_length(data_of(nodes), stream); i++) {
        count += fake_data_field(data_of(nodes), stream, i, "event").len > 0;
    }
    return count;
}

Test(history, ids_below_the_position_are_read_from_a_redis_that_went_back)
{
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct nodes *nodes = begin(seed, 1, 1);
        fake_data_set_ahead(data_of(nodes), AHEAD_MS);
        post(nodes, 10);
        nodes_advance(nodes, 1000);
        check_stored(nodes, 10);
        fake_data_go_back(data_of(nodes), NULL, 5, false);
        fake_data_set_ahead(data_of(nodes), 0);
        fake_redis_drop(nodes->redis, 0, 1);
        /* All at once, and the last above the position again: the tip shows nothing. */
        const struct bytes fields[] = {
            BYTES("user"), BYTES("u"), BYTES("type"), BYTES("t"), BYTES("message"), BYTES("late")};
        for (unsigned i = 0; i < 9; i++) {
            fake_data_add(data_of(nodes), "peal:in", fields, ARRAY_LEN(fields));
        }
        fake_data_set_ahead(data_of(nodes), 2 * AHEAD_MS);
        fake_data_add(data_of(nodes), "peal:in", fields, ARRAY_LEN(fields));
        nodes_advance(nodes, 3000);
        check_stored(nodes, 20);
        cr_assert_eq(ingest_gauge_get(&nodes->node[0].streams.of[0].reread), 1);
        cr_assert_eq(fake_data_length(data_of(nodes), "answers"), 5, "each was told once");
        post(nodes, 5);
        nodes_advance(nodes, 1000);
        check_stored(nodes, 25);
        nodes_destroy(nodes);
    }
}

/* Until Redis has said what it has, nothing is read: it may have gone back. */
Test(history, a_redis_that_is_busy_has_not_answered)
{
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct nodes *nodes = begin(seed, 1, 1);
        struct fake_data *data = data_of(nodes);
        fake_data_set_ahead(data, AHEAD_MS);
        post(nodes, 10);
        nodes_advance(nodes, 1000);
        check_stored(nodes, 10);
        fake_data_go_back(data, NULL, 5, false);
        data->refused = "XINFO";
        data->refusal = "BUSY Redis is busy running a script.";
        fake_redis_drop(nodes->redis, 0, 1);
        nodes_advance(nodes, 1000);
        post(nodes, 5);
        nodes_advance(nodes, 3000);
        cr_assert_gt(data->refusals, 1, "it is asked again");
        check_stored(nodes, 10);
        data->refused = NULL;
        nodes_advance(nodes, 3000);
        check_stored(nodes, 15);
        cr_assert_eq(ingest_gauge_get(&nodes->node[0].streams.of[0].reread), 1);
        nodes_destroy(nodes);
    }
}

/* The router's position has passed an entry whose copy was lost; an event is not routed again. */
Test(history, a_copy_that_was_lost_is_routed_again)
{
    struct nodes *nodes = begin(1, 1, 2);
    char lease[2][BUS_NAME_MAX];
    static const char *const streams[] = {"peal:in:0", "peal:in:1"};
    for (uint32_t p = 0; p < 2; p++) { /* another has the partitions, and does nothing */
        bus_name_lease(&nodes->node[0].config.names, p + 1, lease[p]);
        fake_data_set_key(data_of(nodes), lease[p], "other");
    }
    nodes_advance(nodes, 2000);
    post(nodes, 1);
    post_event(nodes);
    nodes_advance(nodes, 1000);
    unsigned events = events_in(nodes, streams[0]) + events_in(nodes, streams[1]);
    cr_assert_eq(events, 1);
    for (uint32_t p = 0; p < 2; p++) {
        fake_data_go_back(data_of(nodes), streams[p], ALL, p == 0);
        fake_data_set_key(data_of(nodes), lease[p], NULL);
    }
    nodes_advance(nodes, 3000);
    check_stored(nodes, 1);
    cr_assert_eq(events_in(nodes, streams[0]) + events_in(nodes, streams[1]), 0);
    nodes_destroy(nodes);
}

/* A replica that had everything continues the history: there is nothing to read again. */
Test(history, a_replica_that_has_everything_is_read_on)
{
    struct nodes *nodes = begin(1, 1, 1);
    post(nodes, 10);
    nodes_advance(nodes, 2000);
    fake_data_go_back(data_of(nodes), NULL, 0, true);
    post(nodes, 3);
    nodes_advance(nodes, 2000);
    check_stored(nodes, 13);
    cr_assert_eq(ingest_gauge_get(&nodes->node[0].streams.of[0].reread), 1, "it was noticed");
    cr_assert_leq(duplicates(nodes), 3, "what was stored long before is not read again");
    nodes_destroy(nodes);
}

/* What another history has is read by the next owner, when the one that began with it has gone. */
Test(history, reading_again_is_taken_over)
{
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct nodes *nodes = begin(seed, 2, 1);
        post(nodes, 30);
        nodes_advance(nodes, 1000);
        check_stored(nodes, 30);
        fake_store_set_failures(nodes->store, 2); /* some of the commits fail */
        fake_data_go_back(data_of(nodes), NULL, 3, false);
        post(nodes, 3);
        unsigned owner = ingest_gauge_get(&nodes->node[0].streams.of[0].owner) ? 0 : 1;
        nodes_advance(nodes, nodes_dice(nodes, 800));
        nodes_stop(nodes, owner);
        fake_store_set_failures(nodes->store, 0);
        nodes_advance(nodes, 5000);
        check_stored(nodes, 33);
        nodes_destroy(nodes);
    }
}

/* Whatever happens, what Redis has at the end is in the store, once. */
Test(history, all_that_redis_has_is_stored_in_a_storm)
{
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct nodes *nodes = begin(seed, 2, seed % 2 ? 1 : 2);
        for (unsigned round = 0; round < 12; round++) {
            unsigned number = (unsigned)nodes_dice(nodes, 2);
            post(nodes, 1 + (unsigned)nodes_dice(nodes, 6));
            fake_data_set_ahead(data_of(nodes), nodes_dice(nodes, 2) * nodes_dice(nodes, 5000));
            if (nodes_dice(nodes, 3) == 0) {
                fake_data_go_back(
                    data_of(nodes), "peal:in", nodes_dice(nodes, 6), nodes_dice(nodes, 2));
                fake_redis_drop(nodes->redis, number, 1);
            } else if (nodes->node[number].det == NULL) {
                nodes_start(nodes, number);
            } else if (nodes_dice(nodes, 3) == 0) {
                nodes_stop(nodes, number);
            }
            nodes_advance(nodes, nodes_dice(nodes, 1500));
        }
        for (unsigned i = 0; i < 2; i++) {
            if (nodes->node[i].det == NULL) {
                nodes_start(nodes, i);
            }
        }
        nodes_advance(nodes, 5000);
        const struct fake_data *data = data_of(nodes);
        for (size_t i = 0; i < fake_data_length(data, "peal:in"); i++) {
            struct bytes message = fake_data_field(data, "peal:in", i, "message");
            cr_assert_eq(times_stored(nodes, message), 1, SEED_TEXT ": %.*s", SEED(nodes),
                (int)message.len, message.at);
        }
        check_stored(nodes, stored(nodes));
        nodes_destroy(nodes);
    }
}

Test(history, entries_stay_for_a_while_behind_the_position)
{
    struct nodes *nodes = begin(1, 1, 1);
    fake_redis_reach(nodes->redis, 0, false);
    fake_redis_drop(nodes->redis, 0, 1);
    post(nodes, 10);
    nodes_advance(nodes, 2 * KEEP_MS); /* the age of one that waits does not count */
    fake_redis_reach(nodes->redis, 0, true);
    for (unsigned waited = 0; stored(nodes) < 10 && waited < 100; waited++) {
        nodes_advance(nodes, 100);
    }
    check_stored(nodes, 10);
    nodes_advance(nodes, KEEP_MS / 2);
    cr_assert_eq(fake_data_length(data_of(nodes), "peal:in"), 10);
    nodes_advance(nodes, 2 * KEEP_MS);
    cr_assert_eq(fake_data_length(data_of(nodes), "peal:in"), 1, "the position's own stays");
    nodes_destroy(nodes);
}

Test(history, entries_that_were_deleted_unread_are_an_alarm)
{
    struct nodes *nodes = begin(1, 1, 1);
    const struct ingest_gauge *gauge = &nodes->node[0].streams.of[0];
    post(nodes, 5);
    nodes_advance(nodes, 2000);
    fake_data_delete_oldest(data_of(nodes), "peal:in", 5);
    nodes_advance(nodes, 2000);
    cr_assert_eq(ingest_gauge_get(&gauge->lost), 0, "they had been read");
    fake_redis_reach(nodes->redis, 0, false);
    fake_redis_drop(nodes->redis, 0, 1);
    nodes_advance(nodes, 100);
    post(nodes, 5);
    fake_data_delete_oldest(data_of(nodes), "peal:in", 3);
    fake_redis_reach(nodes->redis, 0, true);
    nodes_advance(nodes, 5000);
    check_stored(nodes, 7);
    cr_assert_eq(ingest_gauge_get(&gauge->lost), 1, "once");
    nodes_destroy(nodes);
}

Test(history, a_stream_with_fewer_entries_is_another)
{
    struct nodes *nodes = begin(1, 1, 1);
    const struct ingest_gauge *gauge = &nodes->node[0].streams.of[0];
    post(nodes, 10);
    nodes_advance(nodes, 2000);
    fake_data_delete_stream(data_of(nodes), "peal:in");
    post(nodes, 4);
    nodes_advance(nodes, 2000);
    check_stored(nodes, 14);
    cr_assert_eq(ingest_gauge_get(&gauge->lost), 1);
    nodes_destroy(nodes);
}

static struct stream_id id_of(uint64_t ms)
{
    return (struct stream_id){.ms = ms};
}

Test(history, a_stream_is_trimmed_to_where_the_position_stood)
{
    struct ingest_keep keep = {0};
    struct stream_id id = {0};
    uint64_t trimmed = 0;
    for (uint64_t now = 1; now < 100000; now += 40) {
        if (ingest_keep_note(&keep, now, 30000, id_of(now), 1000, &id)) {
            cr_assert_gt(id.ms, trimmed);
            trimmed = id.ms;
        }
        cr_assert_leq(trimmed + 30000, now > 30000 ? now : trimmed + 30000, "kept for that long");
        cr_assert_geq(trimmed + 30000 + 2500, now, "and not for longer");
    }
    /* Nothing where it stands still; what has been passed at last goes, too. */
    uint64_t last = trimmed;
    for (uint64_t now = 100000; now < 200000; now += 40) {
        if (ingest_keep_note(&keep, now, 30000, id_of(100000), 1000, &id)) {
            last = id.ms;
        }
    }
    cr_assert_eq(last, 100000);
}

Test(history, a_stream_that_is_too_long_is_trimmed_sooner)
{
    struct ingest_keep keep = {0};
    struct stream_id id = {0};
    uint64_t now = 1;
    for (; now < 20000; now += 400) {
        cr_assert_not(ingest_keep_note(&keep, now, 300000, id_of(now), INGEST_KEEP_MAX, &id));
    }
    unsigned trims = 0;
    for (; id.ms < 20000 && trims < 100; now += 400) {
        cr_assert(ingest_keep_note(&keep, now, 300000, id_of(now), INGEST_KEEP_MAX + 1, &id));
        cr_assert_leq(id.ms, now, "never above the position");
        trims++;
    }
    cr_assert_leq(trims, INGEST_MARKS);
    ingest_keep_forget(&keep);
    cr_assert(ingest_keep_note(&keep, now, 0, id_of(7), 1, &id), "nothing is kept");
    cr_assert_eq(id.ms, 7);
    cr_assert_not(ingest_keep_note(&keep, now, 0, id_of(7), 1, &id), "once");
}

/* The hub has rights that a poster may not have, and trims what it answers to. */
Test(history, nobody_is_answered_on_a_stream_of_ours)
{
    static const char *const names[] = {"peal:in", "peal:dead", "peal:lease:{0}:0"};
    for (size_t i = 0; i < 2 * ARRAY_LEN(names); i++) {
        bool good = i % 2 == 0; /* but for its reply */
        const char *reply = names[i / 2];
        struct nodes *nodes = begin(1, 1, 1);
        struct fake_data *data = data_of(nodes);
        const struct bytes fields[] = {BYTES("user"), BYTES("u"), BYTES("type"),
            good ? BYTES("t") : BYTES(""), BYTES("reply"), bytes_str(reply)};
        fake_data_add(data, "peal:in", fields, ARRAY_LEN(fields));
        nodes_advance(nodes, 2000);
        cr_expect_eq(fake_data_added(data, "peal:in"), 1, "%s", reply);
        cr_assert_eq(fake_data_added(data, "peal:dead"), 1, "%s", reply);
        cr_expect_eq(fake_data_added(data, "peal:lease:{0}:0"), 0);
        cr_expect(bytes_eq_str(
            fake_data_field(data, "peal:dead", 0, "dead:field"), good ? "reply" : "type"));
        nodes_destroy(nodes);
    }
}
