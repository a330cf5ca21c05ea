/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How much was posted and read, by day and type: counted with what is stored and marked.
 */
#include <inttypes.h>
#include <libpq-fe.h>
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
    struct store_row mixed[2] = {typed(who, 8, "c"), typed(who, 9, "d")};
    mixed[0].collapse = mixed[1].collapse = BYTES("name");
    put = (struct store_put){.base.op = STORE_PUT, .rows = mixed, .count = 2};
    cr_assert_eq(harness_run(&harness, 1, &put.base), 0);
    store_request_finish(&put.base);
    expect_type(&harness, "", "c", 1, 0);
    expect_type(&harness, "", "d", 1, 0);
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

/* Sweep until nothing is left to add up: another test's transaction may be open on the server. */
static void add_up(struct harness *harness, const char *url, uint64_t keep_ms)
{
    char left[32] = "0";
    uint64_t until = clock_mono_ms() + 30000;
    do {
        while (sweep_summary(harness, clock_wall_ms(), keep_ms, 3)) {
        }
        if (bytes_starts(bytes_str(url), BYTES("postgres"))) {
            cr_assert(postgres_query(
                url, "SELECT count(*)::text FROM peal.tally_entry", left, sizeof(left)));
        }
    } while (strcmp(left, "0") != 0 && clock_mono_ms() < until);
    cr_assert_str_eq(left, "0");
}

BOTH(old_days_go)
{
    struct harness harness;
    harness_open(&harness, url);
    put_typed(&harness, user_of("alice"), 1, "a");
    put_typed(&harness, user_of("alice"), 2, "b");
    add_up(&harness, url, 2 * (uint64_t)DAY_MS);
    expect_type(&harness, "", "a", 1, 0);
    uint64_t later = clock_wall_ms() + 3 * (uint64_t)DAY_MS;
    cr_expect(sweep_summary(&harness, later, DAY_MS, 1));
    cr_expect(sweep_summary(&harness, later, DAY_MS, 1));
    cr_expect(!sweep_summary(&harness, later, DAY_MS, 1));
    expect_type(&harness, "", "a", 0, 0);
    expect_type(&harness, "", "b", 0, 0);
    harness_close(&harness);
}

BOTH(what_was_added_up_and_what_came_since_are_one_sum)
{
    static const char *types[] = {"a", "b", "c", "d"};
    struct harness harness;
    harness_open(&harness, url);
    struct store_user who = user_of("alice");
    for (unsigned i = 0; i < 40; i++) {
        put_typed(&harness, who, i, types[i % 4]);
        if (i % 10 == 9) {
            mark_all(&harness, who, NOTIFICATION_MARK_READ);
            sweep_summary(&harness, clock_wall_ms(), 9 * (uint64_t)DAY_MS, 3);
        }
        expect_type(&harness, "", types[i % 4], i / 4 + 1,
            i % 10 == 9 ? i / 4 + 1 : i / 10 * 10 / 4 + (i % 4 < 2 && i / 10 % 2 == 1));
    }
    add_up(&harness, url, 9 * (uint64_t)DAY_MS);
    for (unsigned i = 0; i < 4; i++) {
        expect_type(&harness, "", types[i], 10, 10);
    }
    harness_close(&harness);
}

static uint64_t number_of(const char *url, const char *sql)
{
    char text[32] = "";
    cr_assert(postgres_query(url, sql, text, sizeof(text)), "%s", sql);
    return strtoull(text, NULL, 10);
}

static void run_sql(PGconn *pg, const char *sql)
{
    PGresult *result = PQexec(pg, sql);
    ExecStatusType status = PQresultStatus(result);
    cr_assert(
        status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK, "%s: %s", sql, PQerrorMessage(pg));
    PQclear(result);
}

static const char entries[] = "SELECT count(*)::text FROM peal.tally_entry";

/* It has a lower number than those that were committed before it. */
Test(postgres, what_an_open_transaction_has_counted_is_added_up_when_it_is_committed)
{
    char url[URL_MAX];
    harness_url("postgres", url);
    struct harness harness;
    harness_open(&harness, url);
    PGconn *other = PQconnectdb(url);
    run_sql(other, "BEGIN; INSERT INTO peal.tally_entry (tenant, type, posted, read) "
                   "VALUES ('', 'a', 100, 1000)");
    put_typed(&harness, user_of("alice"), 1, "a");
    sweep_summary(&harness, clock_wall_ms(), 9 * (uint64_t)DAY_MS, 3);
    cr_expect_eq(number_of(url, entries), 1, "it waits for the one before it");
    expect_type(&harness, "", "a", 1, 0);
    run_sql(other, "COMMIT");
    expect_type(&harness, "", "a", 101, 1000);
    add_up(&harness, url, 9 * (uint64_t)DAY_MS);
    expect_type(&harness, "", "a", 101, 1000);
    PQfinish(other);
    harness_close(&harness);
}

/* A copy of the database on a server that has counted fewer transactions. */
Test(postgres, a_restored_database_goes_on_counting)
{
    char url[URL_MAX];
    harness_url("postgres", url);
    struct harness harness;
    harness_open(&harness, url);
    put_typed(&harness, user_of("alice"), 1, "a");
    add_up(&harness, url, 9 * (uint64_t)DAY_MS);
    cr_assert(postgres_query(url,
        "UPDATE peal.meta SET value = (value::bigint + 1000000000)::text "
        "WHERE name = 'tally_reached'",
        NULL, 0));
    put_typed(&harness, user_of("alice"), 2, "a");
    expect_type(&harness, "", "a", 2, 0);
    add_up(&harness, url, 9 * (uint64_t)DAY_MS);
    put_typed(&harness, user_of("alice"), 3, "a");
    expect_type(&harness, "", "a", 3, 0);
    harness_close(&harness);
}

/* Hot rows would make each post wait for the one before it, on other nodes too. */
Test(postgres, who_counts_waits_for_nobody)
{
    char url[URL_MAX];
    harness_url("postgres", url);
    struct harness harness;
    harness_open(&harness, url);
    put_typed(&harness, user_of("alice"), 1, "a");
    add_up(&harness, url, 9 * (uint64_t)DAY_MS);
    PGconn *other = PQconnectdb(url);
    run_sql(other, "BEGIN; SELECT FROM peal.tally FOR UPDATE; SELECT FROM peal.meta FOR UPDATE");
    put_typed(&harness, user_of("alice"), 2, "a");
    mark_all(&harness, user_of("alice"), NOTIFICATION_MARK_READ);
    expect_type(&harness, "", "a", 2, 2);
    run_sql(other, "COMMIT");
    PQfinish(other);
    harness_close(&harness);
}

/* Of 300 types in entries a hundred are kept by name, in whatever steps they are added up. */
Test(postgres, types_beyond_the_bound_are_added_up_together)
{
    static const char named[] = "SELECT count(*)::text FROM peal.tally WHERE type <> '' GROUP BY "
                                "day ORDER BY 1 DESC LIMIT 1";
    static const char all[] = "SELECT sum(posted)::text FROM peal.tally";
    static struct store_row rows[MANY];
    static char names[MANY][16];
    char url[URL_MAX];
    harness_url("postgres", url);
    struct harness harness;
    harness_open(&harness, url);
    for (unsigned part = 0; part < 2; part++) {
        for (unsigned i = 0; i < MANY; i++) {
            snprintf(names[i], sizeof(names[0]), "type%u", part * MANY + i);
            rows[i] = typed(user_of("alice"), part * MANY + i, names[i]);
        }
        struct store_put put = {.base.op = STORE_PUT, .rows = rows, .count = MANY};
        cr_assert_eq(harness_run(&harness, 0, &put.base), 0);
        store_request_finish(&put.base);
        add_up(&harness, url, 9 * (uint64_t)DAY_MS);
        cr_expect_leq(number_of(url, named), STORE_SUMMARY_TYPES);
        cr_expect_eq(number_of(url, all), (part + 1) * MANY);
    }
    harness_close(&harness);
}
