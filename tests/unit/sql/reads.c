/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Users who do everything, so that each statement runs, and what that has read.
 *
 * Order of this file: inboxes, the rest, later, many, all of it, what was read.
 */
#include "tests/unit/sql/reads.h"

#include <criterion/criterion.h>
#include <libpq-fe.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sql/store_edit.h"
#include "sql/store_preference.h"
#include "tests/support/postgres.h"
#include "tests/unit/sql/audience.h"
#include "tests/unit/sql/harness.h"
#include "tests/unit/sql/jobs.h"
#include "tests/unit/sql/messages.h"

static const char *const statements[] = {
#define X(name, label, text) label,
#include "sql/pg.def"
#undef X
};

enum { USERS = 40, ROUNDS = 30 };

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
    static struct store_statement_stats stats[ARRAY_LEN(statements)];
    size_t count = store_statements(harness->store, stats, ARRAY_LEN(stats));
    for (size_t i = 0; i < ARRAY_LEN(statements); i++) {
        bool ran = strcmp(statements[i], "unblock") == 0;
        for (size_t j = 0; j < count; j++) {
            ran |= strcmp(stats[j].name, statements[i]) == 0;
        }
        cr_expect(ran, "%s was never run: its reads are not counted", statements[i]);
    }
}

static uint64_t ask(const char *url, const char *sql)
{
    char text[64] = "0";
    cr_assert(postgres_query(url, sql, text, sizeof(text)));
    return strtoull(text, NULL, 10);
}

void reads_wait(const char *url)
{
    while (ask(url, "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
                    "AND pid <> pg_backend_pid()") > 0) {
        uv_sleep(20);
    }
}

static void do_beside(PGconn *pg, const char *sql)
{
    PGresult *result = PQexec(pg, sql);
    ExecStatusType status = PQresultStatus(result);
    cr_assert(
        status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK, "%s: %s", sql, PQerrorMessage(pg));
    PQclear(result);
}

void reads_make(const char *url, struct upkeep upkeep)
{
    struct harness harness;
    harness_open(&harness, url);
    PGconn *beside = PQconnectdb(url);
    for (unsigned i = 0; i < READS_CROWD / 500; i++) {
        put_some(&harness, "crowd", 100000 + i * 500, 500);
    }
    for (uint64_t round = 0; round < ROUNDS; round++) {
        char name[16];
        if (upkeep.sql != NULL && round == upkeep.round) {
            do_beside(beside, upkeep.sql);
        }
        (void)snprintf(name, sizeof(name), "u%lu", round % USERS);
        use_audiences(&harness, name, round);
        use_inbox(&harness, name, round);
        use_schedule(&harness, name, round);
        use_jobs(&harness, round, 8);
        use_messages(&harness);
        sweep_some(&harness);
    }
    use_the_rest(&harness);
    expect_all_ran(&harness);
    harness_close(&harness);
    PQfinish(beside);
    reads_wait(url);
}

void reads_expect(const char *url, uint64_t most)
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
