/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What has changed since: every change of an inbox is told, and none is missed that was not
 * committed when the time was read.
 */
#include <libpq-fe.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>

#include "codec/base/status.h"
#include "codec/slot.h"
#include "tests/support/postgres.h"
#include "tests/unit/sql/both.h"

TestSuite(changed, .timeout = 120);

/* Make all inboxes look as if nothing had changed in a long time. */
static void forget_changes(const char *url)
{
    if (strncmp(url, "sqlite:", 7) != 0) {
        cr_assert(postgres_query(url, "UPDATE peal.inbox SET changed_at = 1", NULL, 0));
        return;
    }
    sqlite3 *db;
    cr_assert_eq(sqlite3_open(url + 7, &db), SQLITE_OK);
    cr_assert_eq(sqlite3_busy_timeout(db, 10000), SQLITE_OK);
    cr_assert_eq(sqlite3_exec(db, "UPDATE inbox SET changed_at = 1", NULL, NULL, NULL), SQLITE_OK);
    cr_assert_eq(sqlite3_close(db), SQLITE_OK);
}

static uint64_t next_of(struct harness *harness)
{
    struct store_changed changed = {.base.op = STORE_CHANGED, .limit = 10};
    cr_assert_eq(harness_run(harness, 1, &changed.base), 0);
    cr_expect_eq(changed.user_count, 0, "only the time was asked for");
    uint64_t next = changed.next;
    cr_assert_gt(next, 0);
    store_request_finish(&changed.base);
    return next;
}

/* Expect that alice's inbox alone has changed, and is at `rev`; then forget it. */
static void expect_changed(struct harness *harness, const char *url, uint64_t since, uint64_t rev)
{
    struct store_changed changed = {.base.op = STORE_CHANGED, .since = since, .limit = 10};
    cr_assert_eq(harness_run(harness, 1, &changed.base), 0);
    cr_assert_eq(changed.user_count, rev > 0, "%zu users", changed.user_count);
    if (rev > 0) {
        cr_expect(bytes_eq_str(changed.users[0].who.user, "alice"));
        cr_expect(bytes_eq_str(changed.users[0].who.tenant, "acme"));
        cr_expect_eq(changed.users[0].position.rev, rev);
    }
    cr_expect_geq(changed.next, since);
    cr_expect_not(changed.more);
    store_request_finish(&changed.base);
    forget_changes(url);
}

BOTH(every_change_of_an_inbox_is_told)
{
    struct harness harness;
    harness_open(&harness, url);
    uint64_t since = next_of(&harness);
    struct store_user alice = {BYTES("acme"), BYTES("alice")};
    struct store_row row = row_of(alice, 1, 1);
    struct store_row due = row_of(alice, 2, 2);
    due.expires_at = 1000;
    put_row(&harness, &row);
    put_row(&harness, &due);
    expect_changed(&harness, url, since, 2);
    expect_changed(&harness, url, since, 0);
    struct store_mark mark = mark_of(alice, NOTIFICATION_MARK_READ, 5);
    mark.up_to = 1;
    cr_assert_eq(harness_run(&harness, 0, &mark.base), 0);
    store_request_finish(&mark.base);
    expect_changed(&harness, url, since, 3);
    cr_assert_eq(harness_run(&harness, 0, &mark.base), 0);
    store_request_finish(&mark.base);
    expect_changed(&harness, url, since, 0);
    struct store_sweep sweep = {
        .base.op = STORE_SWEEP, .now = 2000, .limit = 10, .tombstone_ms = 100000};
    cr_assert_eq(harness_run(&harness, 0, &sweep.base), 0);
    store_request_finish(&sweep.base);
    expect_changed(&harness, url, since, 4);
    struct store_mark erase = erase_of(alice, 5);
    cr_assert_eq(harness_run(&harness, 0, &erase.base), 0);
    store_request_finish(&erase.base);
    expect_changed(&harness, url, since, 5);
    put_row(&harness, &row);
    expect_changed(&harness, url, since, 0); /* a repeat changes nothing */
    harness_close(&harness);
}

BOTH(more_changes_than_the_limit_are_said_to_be_more)
{
    struct harness harness;
    harness_open(&harness, url);
    uint64_t since = next_of(&harness);
    for (uint64_t i = 0; i < 4; i++) {
        char name[16];
        (void)snprintf(name, sizeof(name), "u%lu", i);
        struct store_row row = row_of(user_of(name), i, i);
        put_row(&harness, &row);
    }
    struct store_changed changed = {.base.op = STORE_CHANGED, .since = since, .limit = 4};
    cr_assert_eq(harness_run(&harness, 0, &changed.base), 0);
    cr_expect_eq(changed.user_count, 4);
    cr_expect_not(changed.more);
    store_request_finish(&changed.base);
    changed.limit = 3;
    cr_assert_eq(harness_run(&harness, 0, &changed.base), 0);
    cr_expect_eq(changed.user_count, 3);
    cr_expect(changed.more);
    store_request_finish(&changed.base);
    changed.limit = 0;
    cr_expect_eq(harness_run(&harness, 0, &changed.base), STATUS_INVALID);
    harness_close(&harness);
}

static void expect_done(PGconn *pg, const char *sql)
{
    PGresult *result = PQexec(pg, sql);
    cr_assert_eq(PQresultStatus(result), PGRES_COMMAND_OK, "%s", PQerrorMessage(pg));
    PQclear(result);
}

/* While a transaction that writes is open, `next` stays where it began, however late it is. */
Test(changed, an_open_transaction_holds_the_time_back)
{
    char url[URL_MAX];
    harness_url("postgres", url);
    struct harness harness;
    harness_open(&harness, url);
    PGconn *slow = PQconnectdb(url);
    char text[256];
    (void)snprintf(text, sizeof(text),
        "INSERT INTO peal.inbox (slot, tenant, user_id, rev, changed_at) VALUES (%u, '', 'late', "
        "1, "
        "floor(extract(epoch FROM clock_timestamp()) / 10)::integer)",
        slot_of(BYTES(""), BYTES("late")));
    expect_done(slow, "BEGIN");
    expect_done(slow, text);
    uint64_t began = next_of(&harness);
    char now[32] = "";
    do { /* until the clock has left the unit in which it began, twenty seconds at most */
        uv_sleep(100);
        cr_assert(postgres_query(url,
            "SELECT floor(extract(epoch FROM clock_timestamp()) / 10)::bigint", now, sizeof(now)));
    } while (strtoull(now, NULL, 10) < began + 2);
    cr_expect_eq(next_of(&harness), began);
    expect_done(slow, "COMMIT");
    struct store_changed changed = {.base.op = STORE_CHANGED, .since = began, .limit = 10};
    cr_assert_eq(harness_run(&harness, 0, &changed.base), 0);
    cr_expect_eq(changed.user_count, 1);
    cr_expect_gt(changed.next, began);
    store_request_finish(&changed.base);
    PQfinish(slow);
    harness_close(&harness);
}
