/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Erasing a user: what goes, what stays, who is told, and that no table is forgotten.
 */
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

#include "tests/support/postgres.h"
#include "tests/unit/sql/both.h"

enum { MANY = STORE_FORGET_STEP + 500, BATCH = 500 };

static void put_many(struct harness *harness, struct store_user who, size_t count)
{
    static struct store_row rows[BATCH];
    for (size_t i = 0; i < count; i += BATCH) {
        for (size_t j = 0; j < BATCH; j++) {
            rows[j] = row_of(who, i + j, i + j);
        }
        struct store_put put = {.base.op = STORE_PUT, .rows = rows, .count = BATCH};
        cr_assert_eq(harness_run(harness, 0, &put.base), 0);
        store_request_finish(&put.base);
    }
}

static void mark_up_to(
    struct harness *harness, struct store_user who, enum notification_verb verb, uint64_t up_to)
{
    struct store_mark mark = mark_of(who, verb, 5000);
    mark.up_to = up_to;
    cr_assert_eq(harness_run(harness, 0, &mark.base), 0);
    store_request_finish(&mark.base);
}

static void forget(struct harness *harness, struct store_forget *forget)
{
    forget->base.op = STORE_FORGET;
    cr_assert_eq(harness_run(harness, 1, &forget->base), 0);
}

static size_t count_of(struct harness *harness, struct store_user who)
{
    struct store_list list = {
        .base.op = STORE_LIST, .who = who, .limit = 100, .states = NOTIFICATION_ALL_STATES};
    cr_assert_eq(harness_run(harness, 0, &list.base), 0);
    size_t count = list.count;
    store_request_finish(&list.base);
    return count;
}

BOTH(a_user_is_erased_and_the_position_stays)
{
    struct harness harness;
    struct store_user who = user_of("alice");
    struct store_user other = user_of("bob");
    struct store_forget step = {.who = who};
    harness_open(&harness, url);
    put_many(&harness, who, BATCH);
    put_many(&harness, other, BATCH);
    mark_up_to(&harness, who, NOTIFICATION_MARK_DELETE, 10);
    mark_up_to(&harness, who, NOTIFICATION_MARK_ARCHIVE, 20);
    mark_up_to(&harness, who, NOTIFICATION_MARK_SEEN, 30);
    struct store_position before = position_of(&harness, who);
    forget(&harness, &step);
    cr_expect_eq(step.erased[STORE_FORGOTTEN_NOTIFICATIONS], BATCH - 10);
    cr_expect_eq(step.erased[STORE_FORGOTTEN_TOMBSTONES], 10);
    cr_expect_eq(step.erased[STORE_FORGOTTEN_KEYS], BATCH);
    cr_expect_not(step.more);
    cr_expect(step.position.seq == before.seq && step.position.rev == before.rev + 1);
    cr_expect(step.position.unread == 0 && step.position.unseen == 0);
    cr_expect_eq(count_of(&harness, who), 0);
    expect_position(&harness, who, before.seq, before.rev + 1, 0);
    cr_expect_eq(count_of(&harness, other), 100);
    expect_position(&harness, other, BATCH, BATCH, BATCH);
    struct store_sync sync = {.base.op = STORE_SYNC, .who = who, .rev = before.rev, .limit = 10};
    cr_assert_eq(harness_run(&harness, 0, &sync.base), 0);
    cr_expect(sync.resync, "a device that was away lists again");
    store_request_finish(&sync.base);
    struct store_row row = row_of(who, 1, 1);
    put_row(&harness, &row);
    cr_expect_eq(row.outcome, OUTCOME_STORED, "the key was forgotten");
    cr_expect_eq(row.seq, before.seq + 1, "a number is not given twice");
    struct store_row repeat = row_of(other, 1, 1);
    put_row(&harness, &repeat);
    cr_expect_eq(repeat.outcome, OUTCOME_DUPLICATE);
    harness_close(&harness);
}

BOTH(much_is_erased_in_steps_with_right_counters)
{
    struct harness harness;
    struct store_user who = user_of("alice");
    struct store_forget step = {.who = who};
    harness_open(&harness, url);
    put_many(&harness, who, MANY);
    mark_up_to(&harness, who, NOTIFICATION_MARK_READ, 100);
    forget(&harness, &step);
    cr_expect(step.more);
    cr_expect_eq(step.erased[STORE_FORGOTTEN_NOTIFICATIONS], STORE_FORGET_STEP);
    cr_expect_eq(step.position.unread, MANY - STORE_FORGET_STEP);
    cr_expect_eq(step.position.unseen, MANY - STORE_FORGET_STEP);
    forget(&harness, &step);
    cr_expect_not(step.more);
    cr_expect_eq(step.erased[STORE_FORGOTTEN_NOTIFICATIONS], MANY - STORE_FORGET_STEP);
    expect_position(&harness, who, MANY, MANY + 3, 0);
    harness_close(&harness);
}

BOTH(who_has_no_inbox_gets_none)
{
    struct harness harness;
    struct store_forget step = {.who = user_of("nobody")};
    harness_open(&harness, url);
    forget(&harness, &step);
    cr_expect(step.position.rev == 0 && !step.more);
    cr_expect_eq(step.erased[STORE_FORGOTTEN_NOTIFICATIONS], 0);
    expect_position(&harness, step.who, 0, 0, 0);
    harness_close(&harness);
}

/* What forget.def names, sorted as the schema is asked for it. */

static bool is_named(const char *table)
{
    static const char *const named[] = {
        "inbox", /* keeps the position */
#define X(name, label, table) table,
#include "sql/forget.def"
#undef X
    };
    for (size_t i = 0; i < ARRAY_LEN(named); i++) {
        if (strcmp(named[i], table) == 0) {
            return true;
        }
    }
    return false;
}

static void expect_named(char *tables)
{
    size_t count = 0;
    for (char *table = strtok(tables, ","); table != NULL; table = strtok(NULL, ",")) {
        cr_expect(is_named(table), "%s holds rows of users and is not in forget.def", table);
        count++;
    }
    cr_expect_eq(count, STORE_FORGOTTEN_COUNT + 1, "forget.def names a table that is not there");
}

Test(postgres, every_table_with_rows_of_users_is_erased)
{
    char url[URL_MAX];
    char tables[1024];
    struct harness harness;
    harness_url("postgres", url);
    harness_open(&harness, url);
    harness_close(&harness);
    cr_assert(postgres_query(url,
        "SELECT string_agg(table_name, ',') FROM information_schema.columns "
        "WHERE table_schema = 'peal' AND column_name = 'user_id'",
        tables, sizeof(tables)));
    expect_named(tables);
}

Test(sqlite, every_table_with_rows_of_users_is_erased)
{
    char url[URL_MAX];
    char tables[1024] = "";
    struct harness harness;
    sqlite3 *db;
    sqlite3_stmt *stmt;
    harness_url("sqlite", url);
    harness_open(&harness, url);
    harness_close(&harness);
    cr_assert_eq(sqlite3_open(url + strlen("sqlite:"), &db), SQLITE_OK);
    cr_assert_eq(
        sqlite3_prepare_v2(db,
            "SELECT group_concat(m.name) FROM sqlite_master m, pragma_table_info(m.name) c "
            "WHERE m.type = 'table' AND c.name = 'user_id'",
            -1, &stmt, NULL),
        SQLITE_OK);
    cr_assert_eq(sqlite3_step(stmt), SQLITE_ROW);
    (void)snprintf(tables, sizeof(tables), "%s", (const char *)sqlite3_column_text(stmt, 0));
    (void)sqlite3_finalize(stmt);
    cr_assert_eq(sqlite3_close(db), SQLITE_OK);
    expect_named(tables);
}
