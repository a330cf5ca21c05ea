/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Migrations: once, all or none, and what is refused.
 */
#include <criterion/criterion.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

#include "codec/base/status.h"
#include "sql/migrate.h"
#include "tests/support/postgres.h"
#include "tests/unit/sql/both.h"

TestSuite(migrate, .timeout = 30);

/* A target in memory, whose commits and undoing are real. */
struct ledger {
    const struct migration *applied[8]; /* committed */
    size_t count;
    const struct migration *pending[8];
    size_t pending_count;
    int fail_at; /* number of the step that fails; 0: none */
    unsigned begun;
    unsigned ended;
};

static int begin(void *context)
{
    struct ledger *ledger = context;
    ledger->begun++;
    memcpy(ledger->pending, ledger->applied, sizeof(ledger->applied));
    ledger->pending_count = ledger->count;
    return 0;
}

static int newest(void *context, unsigned *ret_number)
{
    struct ledger *ledger = context;
    *ret_number = 0;
    for (size_t i = 0; i < ledger->count; i++) {
        *ret_number = ledger->applied[i]->number;
    }
    return 0;
}

static int checksum(void *context, unsigned number, char ret_text[MIGRATION_CHECKSUM_LEN + 1])
{
    struct ledger *ledger = context;
    for (size_t i = 0; i < ledger->count; i++) {
        if (ledger->applied[i]->number == number) {
            (void)snprintf(
                ret_text, MIGRATION_CHECKSUM_LEN + 1, "%s", ledger->applied[i]->checksum);
            return 0;
        }
    }
    return STATUS_NOT_FOUND;
}

static int apply(void *context, const struct migration *step)
{
    struct ledger *ledger = context;
    if ((int)step->number == ledger->fail_at) {
        return STATUS_UNAVAILABLE;
    }
    ledger->pending[ledger->pending_count++] = step;
    return 0;
}

static int end(void *context, bool commit)
{
    struct ledger *ledger = context;
    ledger->ended++;
    if (commit) {
        memcpy(ledger->applied, ledger->pending, sizeof(ledger->applied));
        ledger->count = ledger->pending_count;
    }
    return 0;
}

static const char *reason(void *context)
{
    return "the disk is full";
}

static const struct migration steps[] = {
    {1, "one", "aa", ""}, {2, "two", "bb", ""}, {3, "three", "cc", ""}};

static int run(struct ledger *ledger, const struct migration *list, size_t count, char error[200])
{
    const struct migrate_target target = {.context = ledger,
        .begin = begin,
        .newest = newest,
        .checksum = checksum,
        .apply = apply,
        .end = end,
        .reason = reason};
    error[0] = '\0';
    int status = migrate_run(&target, list, count, error, 200);
    cr_expect_eq(ledger->begun, ledger->ended);
    cr_expect_eq(status < 0, error[0] != '\0');
    return status;
}

Test(migrate, applies_what_is_missing_once)
{
    struct ledger ledger = {0};
    char error[200];
    cr_expect_eq(run(&ledger, steps, 1, error), 0);
    cr_expect_eq(ledger.count, 1);
    cr_expect_eq(run(&ledger, steps, 3, error), 0);
    cr_expect_eq(run(&ledger, steps, 3, error), 0);
    cr_assert_eq(ledger.count, 3);
    for (size_t i = 0; i < 3; i++) {
        cr_expect_eq(ledger.applied[i]->number, i + 1);
    }
}

Test(migrate, applies_all_or_none)
{
    struct ledger ledger = {.fail_at = 3};
    char error[200];
    cr_expect_eq(run(&ledger, steps, 3, error), STATUS_UNAVAILABLE);
    cr_expect_eq(ledger.count, 0);
    cr_expect_not_null(strstr(error, "three"));
    cr_expect_not_null(strstr(error, "the disk is full"));
}

Test(migrate, refuses_a_changed_step_and_a_newer_database)
{
    struct ledger ledger = {0};
    char error[200];
    cr_assert_eq(run(&ledger, steps, 3, error), 0);
    const struct migration changed[] = {steps[0], {2, "two", "b0", ""}, steps[2]};
    cr_expect_eq(run(&ledger, changed, 3, error), STATUS_CONFLICT);
    cr_expect_not_null(strstr(error, "migration 2"), "%s", error);
    cr_expect_eq(run(&ledger, steps, 2, error), STATUS_CONFLICT);
    cr_expect_not_null(strstr(error, "newer"), "%s", error);
    cr_expect_eq(ledger.count, 3);
}

Test(migrate, both_engines_have_the_same_steps)
{
    cr_assert_gt(migrations_count, 0);
    for (size_t i = 0; i < migrations_count; i++) {
        cr_expect_eq(migrations_pg[i].number, i + 1);
        cr_expect_eq(migrations_sqlite[i].number, i + 1);
        cr_expect_str_eq(migrations_pg[i].name, migrations_sqlite[i].name);
        cr_expect_eq(strlen(migrations_pg[i].checksum), MIGRATION_CHECKSUM_LEN);
        cr_expect_str_neq(migrations_pg[i].checksum, migrations_sqlite[i].checksum);
    }
}

static void no_post(void *context, unsigned port, void (*fn)(void *arg, bool cancelled), void *arg)
{
}

static int open_store(const char *url, struct store **ret_store, char *error, size_t error_size)
{
    struct store_config config = {.url = bytes_str(url), .port_count = 1, .post = no_post};
    return store_open(&config, ret_store, error, error_size);
}

/* Make the database one that a build with other tables has left. */
static void make_strange(const char *url)
{
    if (strncmp(url, "sqlite:", 7) != 0) {
        static const char change[] = "UPDATE peal.migration SET checksum = repeat('0', 64)";
        cr_assert(postgres_query(url, change, NULL, 0));
        return;
    }
    sqlite3 *db;
    cr_assert_eq(sqlite3_open(url + 7, &db), SQLITE_OK);
    static const char change[] = "UPDATE migration SET checksum = 'other'";
    cr_assert_eq(sqlite3_exec(db, change, NULL, NULL, NULL), SQLITE_OK);
    cr_assert_eq(sqlite3_close(db), SQLITE_OK);
}

BOTH(a_database_of_another_build_is_refused_in_one_clear_line)
{
    struct store *store;
    char error[512] = "";
    cr_assert_eq(open_store(url, &store, error, sizeof(error)), 0, "%s", error);
    store_close(store);
    make_strange(url);
    cr_assert_eq(open_store(url, &store, error, sizeof(error)), STATUS_CONFLICT);
    cr_expect_not_null(strstr(error, "another build of Peal"), "%s", error);
    cr_expect_not_null(strstr(error, "start with an empty database"), "%s", error);
    cr_expect_null(strstr(error, "checksum"), "%s", error);
    cr_expect_null(strchr(error, '\n'), "%s", error);
}
