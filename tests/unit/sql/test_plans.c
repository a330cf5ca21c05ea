/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How statements find rows: by the index that is meant, whatever the planner knows of the tables.
 *
 * Order of this file: Postgres' plans, what Postgres has read, a million rows, SQLite's plans.
 */
#include <criterion/criterion.h>
#include <libpq-fe.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "codec/slot.h"
#include "sql/sqlite_db.h"
#include "tests/support/postgres.h"
#include "tests/unit/sql/harness.h"
#include "tests/unit/sql/reads.h"

TestSuite(plans, .timeout = 600);

enum { TEXT_MAX = 16384, PARAMS_MAX = 20 };

/* Postgres' plans. */
static const struct statement {
    const char *name;
    const char *text;
} pg_statements[] = {
#define X(name, label, text) {label, text},
#include "sql/pg.def"
#undef X
};

/*
 * The indexes a statement may read, and the last column its condition must name. The sweep and the
 * fence are functions, whose plans EXPLAIN does not show: see what Postgres has read.
 */
static const struct {
    const char *name;
    struct {
        const char *index;
        const char *column;
    } reads[8];
} wanted[] = {
    {"changed", {{"inbox_changed", "changed_at"}}},
    {"changed.next", {{"pg_database_datname_index", "datname"}}},
    {"claim", {{0}}},
    {"counts.priority", {{"inbox_pkey", "user_id"}, {"notification_open", "(state, seq) >"}}},
    {"counts.type", {{"inbox_pkey", "user_id"}, {"notification_open", "(state, seq) >"}}},
    {"edit.change", {{"notification_id", "id <"}, {"audience_change_pkey", "(n ="}}},
    {"edit.erase", {{"notification_id", "id <"}, {"audience_change_pkey", "(n ="}}},
    {"edit.find", {{"notification_id", "id <"}, {"audience_change_pkey", "(n ="}}},
    {"edit.lock", {{0}}},
    {"epoch.read", {{"meta_pkey", "name"}}},
    {"epoch.replace", {{"meta_pkey", "name"}}},
    {"erase.ids", {{"notification_id", "id <"}, {"inbox_pkey", "user_id"}}},
    {"erase.up_to", {{"notification_pkey", "seq <"}, {"inbox_pkey", "user_id"}}},
    {"fence", {{0}}},
    {"follow", {{0}}},
    {"forget.devices", {{"device_pkey", "user_id"}}},
    {"forget.digests", {{"digest_post_pkey", "user_id"}}},
    {"forget.inbox", {{"inbox_pkey", "user_id"}}},
    {"forget.jobs", {{"job_pkey", "user_id"}}},
    {"forget.keys", {{"dedup_pkey", "user_id"}}},
    {"forget.lock", {{"inbox_pkey", "user_id"}}},
    {"forget.messages", {{"room_message_user", "user_id"}}},
    {"forget.notifications", {{"notification_pkey", "user_id"}, {"inbox_pkey", "user_id"},
                                 {"audience_head_pkey", "tenant"}}},
    {"forget.preferences", {{"preference_pkey", "user_id"}, {"inbox_pkey", "user_id"}}},
    {"forget.pushes", {{"push_pkey", "user_id"}}},
    {"forget.push_places", {{"push_reach_pkey", "user_id"}}},
    {"forget.scheduled", {{"schedule_pkey", "user_id"}}},
    {"forget.tombstones", {{"tombstone_pkey", "user_id"}}},
    {"forget.topics", {{"member_pkey", "user_id"}}},
    {"get", {{"notification_id", "id <"}, {"audience_change_pkey", "(n ="}}},
    {"list", {{"inbox_pkey", "user_id"}, {"notification_new", "new_rev, "}}},
    {"list.asc", {{"inbox_pkey", "user_id"}, {"notification_new", "new_rev, "}}},
    {"mark.ids", {{"notification_id", "id <"}, {"inbox_pkey", "user_id"}}},
    {"mark.up_to", {{"notification_pkey", "seq <"}, {"inbox_pkey", "user_id"}}},
    {"mark.up_to.open", {{"notification_open", "(state, seq) <"}, {"inbox_pkey", "user_id"}}},
    {"note.read", {{"meta_pkey", "name"}}},
    {"note.replace", {{0}}},
    {"page", {{"inbox_pkey", "user_id"}, {"notification_new", "new_rev, "}}},
    {"page.asc", {{"inbox_pkey", "user_id"}, {"notification_new", "new_rev, "}}},
    {"pick", {{"inbox_pkey", "user_id"}, {"notification_pkey", "seq <"}}},
    {"ping", {{"meta_pkey", "name"}}},
    {"positions", {{"inbox_pkey", "user_id"}}},
    {"preference.hide", {{"inbox_pkey", "user_id"}}},
    {"preference.read", {{"inbox_pkey", "user_id"}, {"preference_pkey", "user_id"}}},
    {"preference.write", {{"inbox_pkey", "user_id"}}},
    {"priority", {{"inbox_pkey", "user_id"}, {"notification_new", "new_rev, "}}},
    {"priority.asc", {{"inbox_pkey", "user_id"}, {"notification_new", "new_rev, "}}},
    {"put",
        {{"dedup_pkey", "key_hash"}, {"inbox_pkey", "user_id"}, {"notification_pkey", "seq <"}}},
    {"put.collapse",
        {{"dedup_pkey", "key_hash"}, {"inbox_pkey", "user_id"}, {"notification_pkey", "seq <"},
            {"notification_collapse", "collapse <"}, {"notification_digest", "(type <"}}},
    {"retain", {{0}}},
    {"rows", {{"inbox_pkey", "user_id"}, {"notification_pkey", "seq >"}}},
    {"summary", {{"tally_pkey", "day <="}, {"tally_entry_xact", "xact >"}, {"meta_pkey", "name"}}},
    {"summary.sweep", {{0}}},
    {"sweep", {{0}}},
    {"sync", {{"notification_new", "new_rev >"}, {"notification_changed", "(rev >"},
                 {"notification_whole", "whole_rev >"}, {"tombstone_rev", "(rev >"},
                 {"inbox_pkey", "user_id"}}},
    {"texts", {{"inbox_pkey", "user_id"}, {"notification_new", "new_rev, "}}},
    {"unblock", {{"pg_database_datname_index", "datname"}, {"pg_authid_rolname_index", "rolname"}}},
    {"witness.raise", {{0}}},
    {"witness.read", {{"witness_pkey", "node"}}},
    {"audience.behind",
        {{"inbox_pkey", "user_id"}, {"audience_head_pkey", "tenant"},
            {"audience_post_name", "(n <="}, {"member_pkey", "user_id"},
            {"audience_change_pkey", "tenant"}, {"notification_audience", "user_id <="},
            {"digest_post_n", "user_id <="}}},
    {"audience.by_id", {{"audience_post_id", "(id"}}},
    {"audience.mend", {{0}}},
    {"audience.post", {{0}}},
    {"audience.posted", {{"audience_head_pkey", "tenant"}, {"audience_post_pkey", "(n <="}}},
    {"audience.retract", {{0}}},
    {"audience.revise", {{0}}},
    {"audience.sweep", {{0}}},
    {"enter", {{0}}},
    {"subscribe", {{0}}},
    {"subscribers", {{"member_open", "user_id >"}}},
    {"topics", {{"member_open", "(name >"}}},
    {"topics.of_user", {{"member_pkey", "(name >"}}},
    {"unsubscribe", {{0}}},
    {"schedule", {{"dedup_pkey", "key_hash"}, {"notification_pkey", "seq <"}}},
    {"schedule.change", {{0}}},
    {"schedule.due", {{0}}},
    {"schedule.list", {{"audience_post_id", "(id"}, {"member_list", "user_id >"}}},
    {"schedule.many", {{0}}},
    {"schedule.take", {{0}}},
#include "tests/unit/sql/plans_jobs.def"
};

/* What a session of the engine is like (pg_conn.c). */
static const char session[] = "SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off; "
                              "SET enable_bitmapscan = off; SET enable_sort = off; SET jit = off";

static PGresult *run(PGconn *pg, const char *sql)
{
    PGresult *result = PQexec(pg, sql);
    ExecStatusType status = PQresultStatus(result);
    cr_assert(
        status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK, "%s: %s", sql, PQerrorMessage(pg));
    return result;
}

static int count_params(const char *text)
{
    int most = 0;
    for (int i = 1; i <= PARAMS_MAX; i++) {
        char param[8];
        (void)snprintf(param, sizeof(param), "$%d", i);
        most = strstr(text, param) ? i : most;
    }
    return most;
}

static PGresult *explain(PGconn *pg, const struct statement *statement)
{
    static char text[TEXT_MAX];
    (void)snprintf(text, sizeof(text), "PREPARE \"%s\" AS %s", statement->name, statement->text);
    PQclear(run(pg, text));
    int len = snprintf(text, sizeof(text), "EXPLAIN EXECUTE \"%s\"", statement->name);
    int count = count_params(statement->text);
    for (int i = 0; i < count; i++) {
        len += snprintf(text + len, sizeof(text) - (size_t)len, "%s", i == 0 ? "(NULL" : ", NULL");
    }
    (void)snprintf(text + len, sizeof(text) - (size_t)len, "%s", count > 0 ? ")" : "");
    return run(pg, text);
}

static const char *wanted_column(const char *name, const char *index, size_t len)
{
    for (size_t i = 0; i < ARRAY_LEN(wanted); i++) {
        for (size_t j = 0; strcmp(wanted[i].name, name) == 0 && wanted[i].reads[j].index; j++) {
            const char *other = wanted[i].reads[j].index;
            if (strlen(other) == len && memcmp(other, index, len) == 0) {
                return wanted[i].reads[j].column;
            }
        }
    }
    return NULL;
}

/* The line of a plan that scans a table by an index, and the line behind it. */
static void check_index(const char *name, const char *line, const char *next)
{
    const char *index = strstr(line, " using ") + strlen(" using ");
    size_t len = strcspn(index, " ");
    const char *column = wanted_column(name, index, len);
    cr_expect_not_null(column, "%s may not read %.*s", name, (int)len, index);
    bool cond = next && strstr(next, "Index Cond:") && column && strstr(next, column);
    cr_expect(cond, "%s: %s without %s: %s", name, line, column ? column : "?", next ? next : "");
}

static void check_plan(const char *name, const PGresult *plan, const char *state)
{
    for (int i = 0; i < PQntuples(plan); i++) {
        const char *line = PQgetvalue(plan, i, 0);
        cr_expect_null(strstr(line, "Seq Scan"), "%s, %s: %s", state, name, line);
        cr_expect_null(strstr(line, "Bitmap"), "%s, %s: %s", state, name, line);
        if (strstr(line, "Index") && strstr(line, " using ")) {
            check_index(name, line, i + 1 < PQntuples(plan) ? PQgetvalue(plan, i + 1, 0) : NULL);
        }
    }
}

static void check_plans(const char *url, const char *state)
{
    PGconn *pg = PQconnectdb(url);
    PQclear(run(pg, session));
    cr_assert_eq(ARRAY_LEN(pg_statements), ARRAY_LEN(wanted), "a statement without an expectation");
    for (size_t i = 0; i < ARRAY_LEN(pg_statements); i++) {
        cr_assert_str_eq(pg_statements[i].name, wanted[i].name);
        PGresult *plan = explain(pg, &pg_statements[i]);
        check_plan(pg_statements[i].name, plan, state);
        PQclear(plan);
    }
    PQfinish(pg);
}

Test(plans, use_their_index_on_tables_without_statistics)
{
    char url[URL_MAX];
    harness_url("postgres", url);
    struct harness harness;
    harness_open(&harness, url);
    harness_close(&harness);
    check_plans(url, "never analyzed");
    cr_assert(postgres_query(url, "VACUUM ANALYZE", NULL, 0));
    check_plans(url, "known to be empty");
}

/* What Postgres has read. */

/* Of an index lookups read up to 25,000 entries, and as many dead ones where a snapshot stays open
 * beside them; the crowd's inbox, read once a round, would be 120,000. */
static void expect_little_read(const char *url)
{
    reads_expect(url, 15 * (uint64_t)READS_CROWD);
}

Test(plans, read_no_table_without_statistics)
{
    char url[URL_MAX];
    harness_url("postgres", url);
    reads_make(url, (struct upkeep){0});
    expect_little_read(url);
}

/* The size of a table becomes known, and nothing about what is in it; plans are made anew. Or a
 * snapshot stays open, and nothing that is dead leaves an index. */
Test(plans, read_no_table_whatever_is_done_beside)
{
    static const struct upkeep upkeep[] = {
        {"BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT FROM peal.meta", 0}, {"VACUUM", 1},
        {"VACUUM", 5}, {"VACUUM", 15}, {"ANALYZE", 1}, {"ANALYZE", 5}};
    for (size_t i = 0; i < ARRAY_LEN(upkeep); i++) {
        char url[URL_MAX];
        harness_url("postgres", url);
        reads_make(url, upkeep[i]);
        expect_little_read(url);
    }
}

Test(plans, read_no_table_that_was_known_to_be_empty)
{
    char url[URL_MAX];
    harness_url("postgres", url);
    struct harness harness;
    harness_open(&harness, url);
    harness_close(&harness);
    cr_assert(postgres_query(url, "VACUUM ANALYZE", NULL, 0));
    reads_make(url, (struct upkeep){0});
    expect_little_read(url);
}

/* A million rows of ten thousand users, with PEAL_FULL=1. */

enum { MILLION = 1000000, MANY_USERS = 10000 };

static void copy(PGconn *pg, const char *sql, void (*line)(unsigned, char[256]), unsigned count)
{
    PQclear(PQexec(pg, sql));
    for (unsigned i = 0; i < count; i++) {
        char text[256];
        line(i, text);
        cr_assert_eq(PQputCopyData(pg, text, (int)strlen(text)), 1);
    }
    cr_assert_eq(PQputCopyEnd(pg, NULL), 1);
    PGresult *result = PQgetResult(pg);
    cr_assert_eq(PQresultStatus(result), PGRES_COMMAND_OK, "%s", PQerrorMessage(pg));
    PQclear(result);
    cr_assert_null(PQgetResult(pg));
}

static unsigned slot_of_number(unsigned user)
{
    char name[16];
    (void)snprintf(name, sizeof(name), "u%u", user);
    return slot_of(BYTES(""), bytes_str(name));
}

static void inbox_line(unsigned i, char text[256])
{
    (void)snprintf(text, 256, "%u\t\tu%u\t100\t100\t50\t50\t0\t%u\n", slot_of_number(i), i, i);
}

/* Each user has 100 rows; half are read, one expires at 1000 and 10 later. */
static void notification_line(unsigned i, char text[256])
{
    unsigned user = i % MANY_USERS;
    unsigned seq = i / MANY_USERS + 1;
    unsigned expires = seq == 7 ? 1000 : seq % 10 == 0 ? 2000000 + i : 0;
    (void)snprintf(text, 256,
        "%u\t\tu%u\t%u\t%u\t%u\t%u\t00000000-0000-7%03x-8000-%012x\tt\ttitle\tmessage\t\\\\x\t1\t"
        "%u\t1\t%u\n",
        slot_of_number(user), user, seq, seq, seq, seq, slot_of_number(user), i, seq % 2 * 2,
        expires);
}

static void dedup_line(unsigned i, char text[256])
{
    unsigned user = i % MANY_USERS;
    (void)snprintf(text, 256,
        "%u\t\tu%u\t00000000-0000-4000-8000-%012x\t00000000-0000-4000-8000-%012x\t%u\t"
        "00000000-0000-7%03x-8000-%012x\n",
        slot_of_number(user), user, i, i, i / MANY_USERS + 1, slot_of_number(user), i);
}

static void load_million(const char *url)
{
    PGconn *pg = PQconnectdb(url);
    copy(pg,
        "COPY peal.inbox (slot, tenant, user_id, seq, rev, unread, unseen, tombstone_floor, "
        "changed_at) FROM STDIN",
        inbox_line, MANY_USERS);
    copy(pg,
        "COPY peal.notification (slot, tenant, user_id, seq, new_rev, whole_rev, rev, id, type, "
        "title, message, data, priority, state, created_at, expires_at) FROM STDIN",
        notification_line, MILLION);
    copy(pg, "COPY peal.dedup FROM STDIN", dedup_line, MILLION);
    PQfinish(pg);
}

Test(plans, use_their_index_on_a_million_rows)
{
    const char *full = getenv("PEAL_FULL");
    if (!full || strcmp(full, "1") != 0) {
        cr_skip("only with PEAL_FULL=1");
    }
    char url[URL_MAX];
    harness_url("postgres", url);
    struct harness harness;
    harness_open(&harness, url);
    harness_close(&harness);
    load_million(url);
    check_plans(url, "a million rows, never analyzed");
    cr_assert(postgres_query(url, "VACUUM ANALYZE", NULL, 0));
    check_plans(url, "a million rows");
    reads_wait(url);
    cr_assert(postgres_query(url, "SELECT pg_stat_reset()", NULL, 0));
    reads_make(url, (struct upkeep){0});
    reads_expect(url, MILLION / 2); /* each user has 100 rows, which lists walk */
}

/* SQLite's plans. */

static const struct statement sqlite_statements[] = {
#define X(name, label, text) {label, text},
#include "sql/sqlite_db.def"
#undef X
};

/* "SCAN" is a walk over a table or an index; only what was put together in memory may be walked. */
Test(plans, sqlite_searches)
{
    char url[URL_MAX];
    harness_url("sqlite", url);
    struct harness harness;
    harness_open(&harness, url);
    harness_close(&harness);
    sqlite3 *db;
    cr_assert_eq(sqlite3_open(url + strlen("sqlite:"), &db), SQLITE_OK);
    for (size_t i = 0; i < ARRAY_LEN(sqlite_statements); i++) {
        const struct statement *statement = &sqlite_statements[i];
        static char text[TEXT_MAX];
        (void)snprintf(text, sizeof(text), "EXPLAIN QUERY PLAN %s", statement->text);
        sqlite3_stmt *plan;
        cr_assert_eq(sqlite3_prepare_v2(db, text, -1, &plan, NULL), SQLITE_OK, "%s", text);
        while (sqlite3_step(plan) == SQLITE_ROW) {
            const char *step = (const char *)sqlite3_column_text(plan, 3);
            bool small = strstr(step, "SCAN (") || strstr(step, "SCAN witness") ||
                         strcmp(step, "SCAN CONSTANT ROW") == 0;
            cr_expect(!strstr(step, "SCAN") || small, "%s: %s", statement->name, step);
            bool partial = strstr(step, "(slot=?)") || strstr(step, "(slot=? AND tenant=?)");
            cr_expect(!partial, "%s: %s", statement->name, step);
        }
        (void)sqlite3_finalize(plan);
    }
    cr_assert_eq(sqlite3_close(db), SQLITE_OK);
}
