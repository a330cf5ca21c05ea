/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How much was posted and read, by day and type: counted with what is stored and marked.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "codec/base/clock.h"
#include "sql/store_preference.h"
#include "sql/store_summary.h"
#include "tests/support/postgres.h"
#include "tests/unit/sql/audience.h"
#include "tests/unit/sql/both.h"

enum { DAY_MS = 86400000, MANY = 150 };

static uint64_t today(void)
{
    return clock_wall_ms() / DAY_MS;
}

static struct store_row typed(struct store_user who, uint64_t key, const char *type)
{
    struct store_row row = row_of(who, key, key);
    row.type = bytes_str(type);
    return row;
}

static void put_typed(
    struct harness *harness, struct store_user who, uint64_t key, const char *type)
{
    struct store_row row = typed(who, key, type);
    put_row(harness, &row);
}

/* Yesterday too: the tests may run over midnight. */
static struct store_summary read_summary(
    struct harness *harness, struct bytes tenant, uint32_t named)
{
    struct store_summary summary = {.base.op = STORE_SUMMARY,
        .tenant = tenant,
        .from = today() - 1,
        .to = today() + 1,
        .types = named};
    cr_assert_eq(harness_run(harness, 2, &summary.base), 0);
    return summary;
}

static void expect_type(
    struct harness *harness, const char *tenant, const char *type, uint64_t posted, uint64_t read)
{
    struct store_summary summary = read_summary(harness, bytes_str(tenant), STORE_SUMMARY_TYPES);
    uint64_t found[2] = {0};
    for (size_t i = 0; i < summary.count; i++) {
        const struct store_summary_row *row = &summary.rows[i];
        if (bytes_eq_str(row->type, type)) {
            found[0] += row->posted;
            found[1] += row->read;
        }
    }
    store_request_finish(&summary.base);
    cr_expect_eq(found[0], posted, "%s: posted %" PRIu64 ", not %" PRIu64, type, found[0], posted);
    cr_expect_eq(found[1], read, "%s: read %" PRIu64 ", not %" PRIu64, type, found[1], read);
}

static void mark_all(struct harness *harness, struct store_user who, enum notification_verb verb)
{
    struct store_mark mark = mark_of(who, verb, 5);
    mark.up_to = UINT64_MAX;
    mark.until = 900;
    cr_assert_eq(harness_run(harness, 0, &mark.base), 0);
    store_request_finish(&mark.base);
}

BOTH(what_is_stored_and_read_is_counted_by_type)
{
    struct harness harness;
    harness_open(&harness, url);
    struct store_user alice = user_of("alice");
    put_typed(&harness, alice, 1, "a");
    put_typed(&harness, alice, 2, "a");
    put_typed(&harness, user_of("bob"), 1, "b");
    expect_type(&harness, "", "a", 2, 0);
    expect_type(&harness, "", "b", 1, 0);
    struct store_row again = typed(alice, 1, "a");
    put_row(&harness, &again);
    cr_assert_eq(again.outcome, OUTCOME_DUPLICATE);
    expect_type(&harness, "", "a", 2, 0);
    mark_all(&harness, alice, NOTIFICATION_MARK_READ);
    expect_type(&harness, "", "a", 2, 2);
    mark_all(&harness, alice, NOTIFICATION_MARK_READ);
    expect_type(&harness, "", "a", 2, 2);
    expect_type(&harness, "", "b", 1, 0);
    harness_close(&harness);
}

BOTH(only_reading_counts_as_reading)
{
    struct harness harness;
    harness_open(&harness, url);
    struct store_user who = user_of("alice");
    put_typed(&harness, who, 1, "a");
    mark_all(&harness, who, NOTIFICATION_MARK_SEEN);
    mark_all(&harness, who, NOTIFICATION_MARK_SNOOZE);
    mark_all(&harness, who, NOTIFICATION_MARK_WAKE);
    expect_type(&harness, "", "a", 1, 0);
    mark_all(&harness, who, NOTIFICATION_MARK_READ);
    mark_all(&harness, who, NOTIFICATION_MARK_ARCHIVE);
    mark_all(&harness, who, NOTIFICATION_MARK_UNARCHIVE);
    expect_type(&harness, "", "a", 1, 1);
    mark_all(&harness, who, NOTIFICATION_MARK_UNREAD);
    mark_all(&harness, who, NOTIFICATION_MARK_READ);
    expect_type(&harness, "", "a", 1, 2);
    struct store_mark erase = erase_of(who, 6);
    cr_assert_eq(harness_run(&harness, 0, &erase.base), 0);
    store_request_finish(&erase.base);
    struct store_forget forget = {.base.op = STORE_FORGET, .who = who};
    cr_assert_eq(harness_run(&harness, 0, &forget.base), 0);
    store_request_finish(&forget.base);
    expect_type(&harness, "", "a", 1, 2);
    harness_close(&harness);
}

BOTH(each_post_that_collapses_counts)
{
    struct harness harness;
    harness_open(&harness, url);
    struct store_user who = user_of("alice");
    struct store_row rows[4];
    for (unsigned i = 0; i < 4; i++) {
        rows[i] = typed(who, i, i < 3 ? "a" : "b");
        rows[i].collapse = BYTES("name");
    }
    put_row(&harness, &rows[0]);
    struct store_put put = {.base.op = STORE_PUT, .rows = rows + 1, .count = 2};
    cr_assert_eq(harness_run(&harness, 1, &put.base), 0);
    store_request_finish(&put.base);
    expect_type(&harness, "", "a", 3, 0);
    put_row(&harness, &rows[3]);
    cr_assert_eq(rows[3].outcome, OUTCOME_COLLAPSED);
    expect_type(&harness, "", "a", 3, 0);
    expect_type(&harness, "", "b", 1, 0);
    harness_close(&harness);
}

BOTH(what_a_user_does_not_want_is_not_counted)
{
    struct harness harness;
    harness_open(&harness, url);
    struct store_user who = user_of("alice");
    struct store_preference write = {.base.op = STORE_PREFERENCE_WRITE,
        .who = who,
        .body = BYTES("{\"types\": {\"a\": {\"inbox\": false}}}")};
    cr_assert_eq(harness_run(&harness, 1, &write.base), 0);
    store_request_finish(&write.base);
    put_typed(&harness, who, 1, "a");
    put_typed(&harness, who, 2, "b");
    expect_type(&harness, "", "a", 0, 0);
    expect_type(&harness, "", "b", 1, 0);
    harness_close(&harness);
}

BOTH(posts_to_many_count_for_each_inbox_that_has_them)
{
    struct harness harness;
    harness_open(&harness, url);
    cr_assert(subscribe_to(&harness, "alice", "news"));
    cr_assert(subscribe_to(&harness, "bob", "news"));
    struct store_audience_post post = post_of("news", 1);
    post.type = BYTES("many");
    post_many(&harness, &post);
    (void)position_of(&harness, user_of("alice"));
    expect_type(&harness, "", "many", 1, 0);
    (void)position_of(&harness, user_of("bob"));
    (void)position_of(&harness, user_of("bob"));
    expect_type(&harness, "", "many", 2, 0);
    harness_close(&harness);
}

BOTH(tenants_are_counted_apart)
{
    struct harness harness;
    harness_open(&harness, url);
    put_typed(&harness, (struct store_user){BYTES("t"), BYTES("alice")}, 1, "a");
    put_typed(&harness, (struct store_user){BYTES("u"), BYTES("alice")}, 1, "a");
    put_typed(&harness, (struct store_user){BYTES("u"), BYTES("alice")}, 2, "a");
    expect_type(&harness, "t", "a", 1, 0);
    expect_type(&harness, "u", "a", 2, 0);
    expect_type(&harness, "", "a", 0, 0);
    harness_close(&harness);
}

/* Rows of the table now, through any connection. */
static void count_types(struct harness *harness, size_t *ret_named, uint64_t *ret_posted)
{
    struct store_summary summary = read_summary(harness, BYTES(""), STORE_SUMMARY_TYPES);
    *ret_named = 0;
    *ret_posted = 0;
    for (size_t i = 0; i < summary.count; i++) {
        *ret_named += summary.rows[i].type.len > 0;
        *ret_posted += summary.rows[i].posted;
    }
    store_request_finish(&summary.base);
}

BOTH(types_beyond_the_bound_are_counted_together)
{
    static struct store_row rows[MANY];
    static char names[2 * MANY][16];
    struct harness harness;
    harness_open(&harness, url);
    size_t named;
    uint64_t posted;
    for (unsigned part = 0; part < 2; part++) {
        for (unsigned i = 0; i < MANY; i++) {
            char *name = names[part * MANY + i];
            snprintf(name, sizeof(names[0]), "type%u", part * MANY + i);
            rows[i] = typed(user_of("alice"), part * MANY + i, name);
        }
        struct store_put put = {.base.op = STORE_PUT, .rows = rows, .count = MANY};
        cr_assert_eq(harness_run(&harness, 0, &put.base), 0);
        store_request_finish(&put.base);
        count_types(&harness, &named, &posted);
        cr_expect_leq(named, 2 * STORE_SUMMARY_TYPES, "two days, over midnight");
        cr_expect_geq(named, STORE_SUMMARY_TYPES);
        cr_expect_eq(posted, (part + 1) * MANY);
    }
    put_typed(&harness, user_of("bob"), 1, names[0]); /* whether counted by name or not */
    count_types(&harness, &named, &posted);
    cr_expect_eq(posted, 2 * MANY + 1);
    struct store_summary summary = read_summary(&harness, BYTES(""), 3);
    cr_expect_geq(summary.count, 4);
    cr_expect_eq(summary.rows[summary.count - 1].type.len, 0, "all others are last");
    cr_expect_gt(summary.rows[summary.count - 1].posted, MANY);
    store_request_finish(&summary.base);
    harness_close(&harness);
}

static bool sweep_summary(struct harness *harness, uint64_t now, uint64_t keep_ms, uint32_t limit)
{
    struct store_sweep sweep = {
        .base.op = STORE_SUMMARY_SWEEP, .now = now, .limit = limit, .tombstone_ms = keep_ms};
    cr_assert_eq(harness_run(harness, 3, &sweep.base), 0);
    bool more = sweep.more;
    store_request_finish(&sweep.base);
    return more;
}

BOTH(old_days_go)
{
    struct harness harness;
    harness_open(&harness, url);
    put_typed(&harness, user_of("alice"), 1, "a");
    put_typed(&harness, user_of("alice"), 2, "b");
    cr_expect(!sweep_summary(&harness, clock_wall_ms(), 2 * (uint64_t)DAY_MS, 100));
    expect_type(&harness, "", "a", 1, 0);
    uint64_t later = clock_wall_ms() + 3 * (uint64_t)DAY_MS;
    cr_expect(sweep_summary(&harness, later, DAY_MS, 1));
    cr_expect(sweep_summary(&harness, later, DAY_MS, 1));
    cr_expect(!sweep_summary(&harness, later, DAY_MS, 1));
    expect_type(&harness, "", "a", 0, 0);
    expect_type(&harness, "", "b", 0, 0);
    harness_close(&harness);
}

static uint64_t number_of(const char *url, const char *sql)
{
    char text[32] = "";
    cr_assert(postgres_query(url, sql, text, sizeof(text)), "%s", sql);
    return strtoull(text, NULL, 10);
}

/* Shards have connections of their own. */
Test(postgres, what_connections_counted_of_a_day_is_added_up_when_it_is_over)
{
    static const char rows[] = "SELECT count(*)::text FROM peal.tally";
    static const char sums[] = "SELECT (sum(posted) * 100 + sum(read))::text FROM peal.tally";
    char url[URL_MAX];
    harness_url("postgres", url);
    struct harness harness;
    harness_open(&harness, url);
    struct store_user who = user_of("alice");
    for (unsigned shard = 0; shard < HARNESS_SHARDS; shard++) {
        struct store_row row = typed(who, shard, "a");
        struct store_put put = {.base.op = STORE_PUT, .rows = &row, .count = 1};
        cr_assert_eq(harness_run(&harness, shard, &put.base), 0);
        store_request_finish(&put.base);
    }
    mark_all(&harness, who, NOTIFICATION_MARK_READ);
    cr_assert_eq(number_of(url, rows), HARNESS_SHARDS);
    cr_assert_eq(number_of(url, sums), 404);
    cr_assert(!sweep_summary(&harness, clock_wall_ms(), 9 * (uint64_t)DAY_MS, 100));
    cr_assert_eq(number_of(url, rows), HARNESS_SHARDS, "the day is not over");
    cr_assert(postgres_query(url, "UPDATE peal.tally SET day = day - 5", NULL, 0));
    cr_assert(sweep_summary(&harness, clock_wall_ms(), 9 * (uint64_t)DAY_MS, 3));
    cr_assert(!sweep_summary(&harness, clock_wall_ms(), 9 * (uint64_t)DAY_MS, 3));
    cr_assert_eq(number_of(url, rows), 1);
    cr_assert_eq(number_of(url, sums), 404);
    harness_close(&harness);
}
