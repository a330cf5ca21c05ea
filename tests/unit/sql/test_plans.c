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
#include "sql/store_edit.h"
#include "sql/store_preference.h"
#include "tests/support/postgres.h"
#include "tests/unit/sql/audience.h"
#include "tests/unit/sql/jobs.h"

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
    {"forget.notifications", {{"notification_pkey", "user_id"}, {"inbox_pkey", "user_id"},
                                 {"audience_head_pkey", "tenant"}}},
    {"forget.preferences", {{"preference_pkey", "user_id"}, {"inbox_pkey", "user_id"}}},
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

/* What Postgres has read: the counters of its tables, when all sessions have ended. */

enum { USERS = 40, ROUNDS = 30, CROWD = 4000 };

static void run_done(struct harness *harness, struct store_request *request)
{
    cr_assert_eq(harness_run(harness, 0, request), 0, "op %d: %d", request->op, request->status);
    store_request_finish(request);
}

static void put_some(struct harness *harness, const char *user, uint64_t from, unsigned count)
{
    static struct store_row rows[STORE_PAGE_MAX];
    for (unsigned i = 0; i < count; i++) {
        rows[i] = row_of(user_of(user), from + i, from + i);
        rows[i].expires_at = (from + i) % 3 == 0 ? 1000 : 0;
    }
    struct store_put put = {.base.op = STORE_PUT, .rows = rows, .count = count};
    run_done(harness, &put.base);
    run_done(harness, &put.base); /* all of them repeats */
}

/* A row that is changed, looked for, and taken back. */
static void use_edits(struct harness *harness, const struct store_row *like)
{
    struct store_row row = *like;
    memset(row.key_hash, 0xed, sizeof(row.key_hash));
    row.key_hash[0] = like->id[15];
    row.key_hash[1] = like->id[14];
    give_row(&row, row.who);
    put_row(harness, &row);
    struct store_edit edit = {
        .base.op = STORE_EDIT, .fields = NOTIFICATION_EDIT_TITLE, .title = BYTES("new"), .at = 5};
    memcpy(edit.id, row.id, NOTIFICATION_ID_LEN);
    run_done(harness, &edit.base);
    edit.erase = edit.only_waiting = true;
    run_done(harness, &edit.base);
    edit.only_waiting = false;
    run_done(harness, &edit.base);
}

/* Every change and every read of one user. */
static void use_inbox(struct harness *harness, const char *user, uint64_t round)
{
    struct store_user who = user_of(user);
    put_some(harness, user, round * 10, 6);
    struct store_row row = row_of(who, round * 10 + 8, round * 10 + 8);
    row.collapse = BYTES("name");
    put_row(harness, &row);
    row = row_of(who, round * 10 + 9, round * 10 + 9);
    row.digest_ms = 1000;
    put_row(harness, &row);
    row = row_of(who, round * 10, round * 10);
    put_row(harness, &row); /* a repeat: its id */
    uint8_t ids[1][NOTIFICATION_ID_LEN];
    memcpy(ids[0], row.id, NOTIFICATION_ID_LEN);
    for (enum notification_verb verb = NOTIFICATION_MARK_SEEN; verb < NOTIFICATION_MARK_DELETE;
         verb++) {
        struct store_mark mark = mark_of(who, verb, 5);
        mark.until = 900;
        mark.ids = (const uint8_t(*)[NOTIFICATION_ID_LEN])ids;
        mark.id_count = 1;
        run_done(harness, &mark.base);
        mark.id_count = 0;
        mark.up_to = round * 6 > 2 ? round * 6 - 2 : 0;
        run_done(harness, &mark.base);
    }
    struct store_get get = {.base.op = STORE_GET};
    memcpy(get.id, row.id, NOTIFICATION_ID_LEN);
    run_done(harness, &get.base);
    static const enum store_op ops[] = {STORE_TEXTS, STORE_ROWS, STORE_LIST, STORE_LIST};
    for (size_t i = 0; i < ARRAY_LEN(ops); i++) {
        struct store_list list = {.base.op = ops[i], .who = who, .limit = 20, .ascending = i == 3};
        run_done(harness, &list.base);
    }
    struct store_page page = {
        .list = {.base.op = STORE_PAGE, .who = who, .limit = 20}, .counted = true, .skip = 2};
    for (unsigned i = 0; i < 4; i++) {
        page.list.ascending = i & 1;
        page.by_priority = i & 2;
        run_done(harness, &page.list.base);
    }
    struct store_pick pick = {
        .base.op = STORE_PICK, .who = who, .seqs = (const uint64_t[]){2, 1}, .seq_count = 2};
    run_done(harness, &pick.base);
    struct store_counts counts = {.base.op = STORE_COUNTS, .who = who};
    run_done(harness, &counts.base);
    counts.by_priority = true;
    run_done(harness, &counts.base);
    struct store_sync sync = {.base.op = STORE_SYNC, .who = who, .rev = round, .limit = 5};
    run_done(harness, &sync.base);
    struct store_positions positions = {.base.op = STORE_POSITIONS, .users = &who, .count = 1};
    run_done(harness, &positions.base);
    use_edits(harness, &row);
    struct store_mark erase = erase_of(who, 5);
    erase.ids = (const uint8_t(*)[NOTIFICATION_ID_LEN])ids;
    erase.id_count = 1;
    run_done(harness, &erase.base);
}

/* Two that leave together, while another is under way. */
static void use_round(struct harness *harness)
{
    struct store_claim claims[3];
    for (uint32_t i = 0; i < ARRAY_LEN(claims); i++) {
        claims[i] = (struct store_claim){
            .base = {.op = STORE_CLAIM, .done = harness_done}, .partition = i, .owner = BYTES("r")};
        store_submit(harness->shards[0].port, &claims[i].base);
    }
    harness_wait_all(harness, 0, ARRAY_LEN(claims));
    for (size_t i = 0; i < ARRAY_LEN(claims); i++) {
        store_request_finish(&claims[i].base);
    }
}

static void use_the_rest(struct harness *harness)
{
    use_round(harness);
    struct store_user who = user_of("gone");
    put_some(harness, "gone", 0, 5);
    struct store_mark erase = erase_of(who, 5);
    run_done(harness, &erase.base);
    struct store_forget forget = {.base.op = STORE_FORGET, .who = who};
    run_done(harness, &forget.base);
    struct store_claim claim = {.base.op = STORE_CLAIM, .partition = 1, .owner = BYTES("n")};
    cr_assert_eq(harness_run(harness, 0, &claim.base), 0);
    struct store_put put = {.base.op = STORE_PUT,
        .fenced = true,
        .partition = 1,
        .token = claim.token,
        .last_id = BYTES("1-0")};
    store_request_finish(&claim.base);
    run_done(harness, &put.base);
    struct store_witness witness = {.base.op = STORE_WITNESS_RAISE, .node = BYTES("n")};
    run_done(harness, &witness.base);
    witness.base.op = STORE_WITNESS_READ;
    run_done(harness, &witness.base);
    struct store_renewal renewal = {.base.op = STORE_EPOCH};
    run_done(harness, &renewal.base);
    renewal.from = bytes_of(store_epoch(harness->store), STORE_EPOCH_LEN);
    run_done(harness, &renewal.base);
    struct store_note note = {.base.op = STORE_NOTE, .name = BYTES("n"), .to = BYTES("text")};
    run_done(harness, &note.base);
    struct store_preference preference = {
        .base.op = STORE_PREFERENCE_WRITE, .who = who, .body = BYTES("{}")};
    run_done(harness, &preference.base);
    preference.hides = true;
    run_done(harness, &preference.base);
    preference.base.op = STORE_PREFERENCE_READ;
    run_done(harness, &preference.base);
    struct store_changed changed = {.base.op = STORE_CHANGED, .since = INT32_MAX, .limit = 10};
    run_done(harness, &changed.base);
    run_done(harness, &(struct store_summary){.base.op = STORE_SUMMARY, .to = 9, .types = 9}.base);
    run_done(harness,
        &(struct store_sweep){.base.op = STORE_SUMMARY_SWEEP, .now = 1001, .limit = 50}.base);
    run_done(harness, &(struct store_request){.op = STORE_PING});
}

/* Kept, changed, due, put; also for a list. */
static void use_schedule(struct harness *harness, const char *user, uint64_t round)
{
    struct store_row row = row_of(user_of(user), 500000 + round, round);
    row.deliver_at = 1000;
    put_row(harness, &row);
    struct store_reschedule change = {
        .base.op = STORE_RESCHEDULE, .fields = NOTIFICATION_EDIT_TITLE, .title = BYTES("new")};
    memcpy(change.id, row.id, NOTIFICATION_ID_LEN);
    run_done(harness, &change.base);
    const struct bytes name = bytes_str(user);
    struct store_audience_post post = post_of(NULL, 500000 + round);
    post.kind = AUDIENCE_LIST;
    post.users = &name;
    post.user_count = 1;
    post.deliver_at = 1001;
    post_many(harness, &post);
    struct store_due due = {.base.op = STORE_DUE, .parts = 255, .limit = 10, .max_bytes = 1000000};
    cr_assert_eq(harness_run(harness, 0, &due.base), 0);
    cr_assert_eq(due.count, 2);
    struct store_put put = {.base.op = STORE_PUT, .rows = &due.items[0].row, .count = 1};
    run_done(harness, &put.base);
    post.due = true;
    post.user_count = 0;
    post_many(harness, &post);
    store_request_finish(&due.base);
}

/* Posts to everybody and a topic that some have: read, written behind, changed, taken back. */
static void use_audiences(struct harness *harness, const char *user, uint64_t round)
{
    (void)subscribe_to(harness, user, round % 2 ? "odd" : "even");
    struct store_audience_post post = post_of(round % 3 ? "odd" : NULL, round);
    post.digest_ms = round % 2 ? 1000 : 0;
    post_many(harness, &post);
    (void)position_of(harness, user_of(user));
    if (round % 10 == 0) {
        retract_post(harness, &post);
    } else if (round % 10 == 5) {
        revise_post(harness, &post,
            &(struct store_revise){.fields = NOTIFICATION_EDIT_TITLE, .title = BYTES("other")});
    }
    (void)post_to(harness, "even", round);
    (void)unsubscribe_from(harness, user, "even");
    (void)sweep_audiences(harness, 1001, 1000000);
    struct store_subscribers subscribers = {
        .base.op = STORE_SUBSCRIBERS, .topic = BYTES("odd"), .limit = 5};
    run_done(harness, &subscribers.base);
    struct store_topics topics = {.base.op = STORE_TOPICS, .user = bytes_str(user), .limit = 5};
    run_done(harness, &topics.base);
    topics.of_user = true;
    run_done(harness, &topics.base);
    struct store_posted_from from = {.after = 2 * round};
    struct store_posted posted = {
        .base.op = STORE_POSTED, .tenants = &from, .tenant_count = 1, .limit = 5};
    run_done(harness, &posted.base);
}

/* All but the one that runs only when a write is blocked (test_pg.c). */
static void expect_all_ran(const struct harness *harness)
{
    static struct store_statement_stats stats[ARRAY_LEN(pg_statements)];
    size_t count = store_statements(harness->store, stats, ARRAY_LEN(stats));
    for (size_t i = 0; i < ARRAY_LEN(pg_statements); i++) {
        bool ran = strcmp(pg_statements[i].name, "unblock") == 0;
        for (size_t j = 0; j < count; j++) {
            ran |= strcmp(stats[j].name, pg_statements[i].name) == 0;
        }
        cr_expect(ran, "%s was never run: its reads are not counted", pg_statements[i].name);
    }
}

static uint64_t ask(const char *url, const char *sql)
{
    char text[64] = "0";
    cr_assert(postgres_query(url, sql, text, sizeof(text)));
    return strtoull(text, NULL, 10);
}

/* A session tells its counters when it ends. */
static void wait_for_sessions(const char *url)
{
    while (ask(url, "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
                    "AND pid <> pg_backend_pid()") > 0) {
        uv_sleep(20);
    }
}

/* What is done beside, or by Postgres itself, and when: before that round; NULL: nothing. */
struct upkeep {
    const char *sql;
    uint64_t round;
};

/* Everything at once; the statements prepared while the tables are empty. */
static void use_everything(const char *url, struct upkeep upkeep)
{
    struct harness harness;
    harness_open(&harness, url);
    PGconn *beside = PQconnectdb(url);
    for (unsigned i = 0; i < CROWD / 500; i++) {
        put_some(&harness, "crowd", 100000 + i * 500, 500);
    }
    for (uint64_t round = 0; round < ROUNDS; round++) {
        char name[16];
        if (upkeep.sql != NULL && round == upkeep.round) {
            PQclear(run(beside, upkeep.sql));
        }
        (void)snprintf(name, sizeof(name), "u%lu", round % USERS);
        use_audiences(&harness, name, round);
        use_inbox(&harness, name, round);
        use_schedule(&harness, name, round);
        use_jobs(&harness, round, 8);
        sweep_some(&harness);
    }
    use_the_rest(&harness);
    expect_all_ran(&harness);
    harness_close(&harness);
    PQfinish(beside);
    wait_for_sessions(url);
}

/* `most` entries of one index; to walk through the largest once would be more. */
static void expect_nothing_read_whole(const char *url, uint64_t most)
{
    static const char rows[] =
        "SELECT coalesce(sum(seq_tup_read), 0) FROM pg_stat_user_tables WHERE schemaname = 'peal' "
        "AND relname NOT IN ('meta', 'migration')";
    cr_expect_eq(ask(url, rows), 0, "%lu rows by sequential scans", ask(url, rows));
    char over[1024] = "";
    char sql[512];
    (void)snprintf(sql, sizeof(sql),
        "SELECT coalesce(string_agg(indexrelname || ': ' || idx_tup_read || ' in ' || idx_scan "
        "|| ' scans', ', '), '') FROM pg_stat_user_indexes WHERE schemaname = 'peal' "
        "AND idx_tup_read > %lu",
        most);
    cr_assert(postgres_query(url, sql, over, sizeof(over)));
    cr_expect_str_empty(over, "%s", over);
}

/* Of an index lookups read up to 25,000 entries, and as many dead ones where a snapshot stays open
 * beside them; the crowd's inbox, read once a round, would be 120,000. */
static void expect_little_read(const char *url)
{
    expect_nothing_read_whole(url, 15 * (uint64_t)CROWD);
}

Test(plans, read_no_table_without_statistics)
{
    char url[URL_MAX];
    harness_url("postgres", url);
    use_everything(url, (struct upkeep){0});
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
        use_everything(url, upkeep[i]);
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
    use_everything(url, (struct upkeep){0});
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
    wait_for_sessions(url);
    cr_assert(postgres_query(url, "SELECT pg_stat_reset()", NULL, 0));
    use_everything(url, (struct upkeep){0});
    expect_nothing_read_whole(url, MILLION / 2); /* each user has 100 rows, which lists walk */
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
