/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What only Postgres can do to us: other sessions, lost sessions, a server that goes and returns.
 */
#include <criterion/criterion.h>
#include <libpq-fe.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "codec/base/clock.h"
#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "codec/slot.h"
#include "sql/pg_conn.h"
#include "tests/support/postgres.h"
#include "tests/unit/sql/harness.h"

TestSuite(pg, .timeout = 180);

static void no_post(void *context, unsigned port, void (*fn)(void *arg, bool cancelled), void *arg)
{
}

static int open_only(const char *url, struct store **ret_store, char *error, size_t error_size)
{
    struct store_config config = {.url = bytes_str(url), .port_count = 1, .post = no_post};
    return store_open(&config, ret_store, error, error_size);
}

static const char register_text[] =
    "INSERT INTO peal.ingest (partition, owner, token, last_id) VALUES (7, 'stale', 1, '5-0')";

/* Lock the inbox of alice, as a write does. */
static const char *hold_text(void)
{
    static char text[256];
    (void)snprintf(text, sizeof(text),
        "INSERT INTO peal.inbox AS i (slot, tenant, user_id) VALUES (%u, '', 'alice') "
        "ON CONFLICT (slot, tenant, user_id) DO UPDATE SET seq = i.seq",
        slot_of(BYTES(""), BYTES("alice")));
    return text;
}

/* A session as another node's would be. */
static PGconn *connect_as_node(const char *url)
{
    const char *const keys[] = {"dbname", "application_name", NULL};
    const char *const values[] = {url, "peal", NULL};
    PGconn *pg = PQconnectdbParams(keys, values, 1);
    cr_assert_eq(PQstatus(pg), CONNECTION_OK, "%s", PQerrorMessage(pg));
    return pg;
}

static void expect_done(PGconn *pg, const char *sql)
{
    PGresult *result = PQexec(pg, sql);
    ExecStatusType status = PQresultStatus(result);
    cr_assert(status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK, "%s", PQerrorMessage(pg));
    PQclear(result);
}

/* Run the fence and the lock in a pipeline that never gets its Sync. */
static void stall_pipeline(PGconn *pg)
{
    cr_assert_eq(PQenterPipelineMode(pg), 1);
    static const char fence[] = "SELECT peal.fence(7, 1, '6-0')";
    cr_assert_eq(PQsendQueryParams(pg, fence, 0, NULL, NULL, NULL, NULL, 0), 1);
    cr_assert_eq(PQsendQueryParams(pg, hold_text(), 0, NULL, NULL, NULL, NULL, 0), 1);
    cr_assert_eq(PQsendFlushRequest(pg), 1);
    for (int i = 0; i < 2; i++) {
        PGresult *result = PQgetResult(pg);
        ExecStatusType status = PQresultStatus(result);
        cr_assert(status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK);
        PQclear(result);
        cr_assert_null(PQgetResult(pg));
    }
}

static void claim_from_stale_owner(bool in_pipeline)
{
    char url[URL_MAX];
    harness_url("postgres", url);
    struct harness harness;
    harness_open(&harness, url);
    PGconn *stale = connect_as_node(url);
    expect_done(stale, register_text);
    if (in_pipeline) {
        stall_pipeline(stale);
    } else {
        expect_done(stale, "BEGIN; SELECT peal.fence(7, 1, '6-0')");
        expect_done(stale, hold_text());
    }
    struct store_claim claim = {.base.op = STORE_CLAIM, .partition = 7, .owner = BYTES("new")};
    cr_assert_eq(harness_run(&harness, 0, &claim.base), 0);
    cr_expect_eq(claim.token, 2);
    cr_expect(bytes_eq_str(claim.last_id, "5-0"), "what the stale owner did not commit is undone");
    struct store_row row = row_of(user_of("alice"), 1, 1);
    struct store_put put = {.base.op = STORE_PUT,
        .rows = &row,
        .count = 1,
        .fenced = true,
        .partition = 7,
        .token = claim.token,
        .last_id = BYTES("6-0")};
    cr_expect_eq(harness_run(&harness, 0, &put.base), 0, "its locks are gone");
    cr_expect_eq(row.seq, 1);
    store_request_finish(&put.base);
    store_request_finish(&claim.base);
    if (in_pipeline) {
        (void)PQpipelineSync(stale);
        for (int i = 0; i < 10 && PQstatus(stale) == CONNECTION_OK; i++) {
            PQclear(PQgetResult(stale));
        }
    } else {
        PQclear(PQexec(stale, "COMMIT"));
    }
    cr_expect_eq(PQstatus(stale), CONNECTION_BAD, "its session was ended");
    PQfinish(stale);
    harness_close(&harness);
}

Test(pg, a_claim_ends_a_stale_owners_transaction)
{
    claim_from_stale_owner(false);
}

Test(pg, a_claim_ends_a_stale_owners_stalled_pipeline)
{
    claim_from_stale_owner(true);
}

/* Whether the database could not do it: it was not sent, or nobody knows. */
static bool is_outage(int status)
{
    return status == STATUS_UNAVAILABLE || status == STATUS_UNKNOWN;
}

/* An unfenced write holds locks as well: whoever is blocked by it ends the session. */
Test(pg, a_blocked_write_ends_the_stalled_session_of_another_node)
{
    char url[URL_MAX];
    harness_url("postgres", url);
    struct harness harness;
    harness_open(&harness, url);
    PGconn *stale = connect_as_node(url);
    expect_done(stale, "BEGIN");
    expect_done(stale, hold_text());
    struct store_row row = row_of(user_of("alice"), 1, 1);
    put_row(&harness, &row);
    cr_expect_eq(row.seq, 1);
    PQclear(PQexec(stale, "COMMIT"));
    cr_expect_eq(PQstatus(stale), CONNECTION_BAD, "its session was ended");
    PQfinish(stale);
    harness_close(&harness);
}

/* Whoever is no node, or works, is waited for. */
Test(pg, a_blocked_write_waits_for_sessions_that_are_not_ours)
{
    char url[URL_MAX];
    harness_url("postgres", url);
    struct harness harness;
    harness_open(&harness, url);
    PGconn *person = PQconnectdb(url);
    expect_done(person, "BEGIN");
    expect_done(person, hold_text());
    struct store_row row = row_of(user_of("alice"), 1, 1);
    struct store_put put = {.base.op = STORE_PUT, .rows = &row, .count = 1};
    cr_expect_eq(harness_run(&harness, 0, &put.base), STATUS_TIMEOUT, "the lock's timeout");
    cr_expect(harness_is_healthy(harness.store), "a row that is locked is no store that is away");
    expect_done(person, "COMMIT");
    put_row(&harness, &row);
    PQfinish(person);
    harness_close(&harness);
}

/* An inbox that comes into being beside a mark is one that the mark waits for, too. */
Test(pg, a_mark_of_an_inbox_that_is_not_there_yet_is_in_order_with_the_first_post)
{
    char url[URL_MAX];
    harness_url("postgres", url);
    struct harness harness;
    harness_open(&harness, url);
    PGconn *person = PQconnectdb(url);
    expect_done(person, "BEGIN");
    expect_done(person, hold_text());
    struct store_mark mark = mark_of(user_of("alice"), NOTIFICATION_MARK_READ, 1000);
    mark.up_to = UINT32_MAX;
    cr_expect_eq(harness_run(&harness, 0, &mark.base), STATUS_TIMEOUT, "the lock's timeout");
    store_request_finish(&mark.base);
    expect_done(person, "COMMIT");
    PQfinish(person);
    mark = mark_of(user_of("bob"), NOTIFICATION_MARK_READ, 1000);
    mark.up_to = UINT32_MAX;
    cr_assert_eq(harness_run(&harness, 0, &mark.base), 0);
    cr_expect_eq(mark.position.rev, 0, "nothing was marked");
    store_request_finish(&mark.base);
    struct store_row row = row_of(user_of("bob"), 1, 1);
    put_row(&harness, &row);
    expect_position(&harness, user_of("bob"), 1, 1, 1);
    harness_close(&harness);
}

/* The witness waits for nobody's locks. */
Test(pg, the_witness_is_raised_while_a_write_is_blocked)
{
    char url[URL_MAX];
    harness_url("postgres", url);
    struct harness harness;
    harness_open(&harness, url);
    PGconn *person = PQconnectdb(url);
    expect_done(person, "BEGIN");
    expect_done(person, hold_text());
    struct store_row row = row_of(user_of("alice"), 1, 1);
    struct store_put put = {
        .base = {.op = STORE_PUT, .done = harness_done}, .rows = &row, .count = 1};
    store_submit(harness.shards[0].port, &put.base);
    struct store_witness witness = {.base.op = STORE_WITNESS_RAISE, .node = BYTES("n1")};
    cr_assert_eq(harness_run(&harness, 0, &witness.base), 0);
    cr_expect_eq(witness.number, 1);
    expect_done(person, "COMMIT");
    harness_wait_all(&harness, 0, 1);
    cr_expect_eq(put.base.status, 0);
    store_request_finish(&put.base);
    PQfinish(person);
    harness_close(&harness);
}

/* What must be sure is asked of the session that writes, behind what it is writing. */
Test(pg, positions_that_must_be_current_come_from_who_writes)
{
    char url[URL_MAX];
    harness_url("postgres", url);
    struct harness harness;
    harness_open(&harness, url);
    PGconn *person = PQconnectdb(url);
    expect_done(person, "BEGIN");
    expect_done(person, hold_text());
    struct store_user who = user_of("alice");
    struct store_row row = row_of(who, 1, 1);
    struct store_put put = {
        .base = {.op = STORE_PUT, .done = harness_done}, .rows = &row, .count = 1};
    struct store_positions sure = {.base = {.op = STORE_POSITIONS, .done = harness_done},
        .users = &who,
        .count = 1,
        .current = true};
    struct store_positions read = {.base.op = STORE_POSITIONS, .users = &who, .count = 1};
    store_submit(harness.shards[0].port, &put.base);
    store_submit(harness.shards[0].port, &sure.base);
    cr_assert_eq(harness_run(&harness, 0, &read.base), 0);
    cr_expect_eq(read.positions[0].rev, 0, "who reads does not wait");
    expect_done(person, "COMMIT");
    harness_wait_all(&harness, 0, 2);
    cr_assert_eq(sure.base.status, 0);
    cr_expect_eq(sure.positions[0].rev, 1);
    store_request_finish(&read.base);
    store_request_finish(&sure.base);
    store_request_finish(&put.base);
    PQfinish(person);
    harness_close(&harness);
}

static const char end_sessions[] = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
                                   "WHERE datname = current_database() AND pid <> pg_backend_pid()";

/* Writers that repeat what was not acknowledged, with the same keys, while sessions are ended. */

enum { WRITERS = HARNESS_SHARDS, BATCH = 7, LOSSES_WANTED = 8 };

struct writer {
    struct harness *harness;
    unsigned shard;
    uint64_t stored; /* rows that were acknowledged */
    uint64_t repeats; /* of them, that an unanswered attempt had stored */
};

static atomic_uint losses;
static atomic_bool stop;

static void write_until_stored(struct writer *writer, uint64_t number)
{
    struct store_row rows[BATCH];
    for (unsigned i = 0; i < BATCH; i++) {
        rows[i] = row_of(
            user_of(i % 2 == 0 ? "alice" : "bob"), writer->shard * 1000000 + number * BATCH + i, 1);
    }
    struct store_put put = {.base.op = STORE_PUT, .rows = rows, .count = BATCH};
    while (harness_run(writer->harness, writer->shard, &put.base) != 0) {
        cr_assert(is_outage(put.base.status), "%d", put.base.status);
        atomic_fetch_add(&losses, 1);
    }
    for (unsigned i = 0; i < BATCH; i++) {
        cr_assert_neq(rows[i].outcome, OUTCOME_CONFLICT);
        writer->repeats += rows[i].outcome == OUTCOME_DUPLICATE;
    }
    writer->stored += BATCH;
    store_request_finish(&put.base);
}

static void *run_writer(void *arg)
{
    struct writer *writer = arg;
    for (uint64_t number = 0; !atomic_load(&stop); number++) {
        write_until_stored(writer, number);
        struct store_user who = user_of("alice");
        struct store_positions read = {.base.op = STORE_POSITIONS, .users = &who, .count = 1};
        int status = harness_run(writer->harness, writer->shard, &read.base);
        cr_assert(status == 0 || status == STATUS_UNAVAILABLE);
        store_request_finish(&read.base);
    }
    return NULL;
}

Test(pg, nothing_is_lost_or_doubled_when_sessions_are_ended)
{
    char url[URL_MAX];
    harness_url("postgres", url);
    struct harness harness;
    harness_open(&harness, url);
    struct writer writers[WRITERS];
    pthread_t threads[WRITERS];
    for (unsigned i = 0; i < WRITERS; i++) {
        writers[i] = (struct writer){.harness = &harness, .shard = i};
        cr_assert_eq(pthread_create(&threads[i], NULL, run_writer, &writers[i]), 0);
    }
    while (atomic_load(&losses) < LOSSES_WANTED) {
        cr_assert(postgres_query(url, end_sessions, NULL, 0));
        uv_sleep(30);
    }
    atomic_store(&stop, true);
    uint64_t stored = 0;
    for (unsigned i = 0; i < WRITERS; i++) {
        cr_assert_eq(pthread_join(threads[i], NULL), 0);
        stored += writers[i].stored;
    }
    static const char wrong[] =
        "SELECT count(*) FROM (SELECT i.user_id FROM peal.inbox i JOIN peal.notification n "
        "ON n.user_id = i.user_id GROUP BY i.user_id, i.seq, i.rev, i.unread "
        "HAVING i.seq <> count(*) OR i.seq <> max(n.seq) OR i.rev <> count(DISTINCT n.rev) "
        "OR i.unread <> count(*) OR i.rev <> max(n.rev)) s";
    char text[32] = "";
    cr_assert(postgres_query(url, wrong, text, sizeof(text)));
    cr_expect_str_eq(text, "0");
    cr_assert(postgres_query(url, "SELECT count(*) FROM peal.notification", text, sizeof(text)));
    cr_expect_eq(strtoull(text, NULL, 10), stored, "%s rows, %lu acknowledged", text, stored);
    cr_assert(postgres_query(url, "SELECT count(*) FROM peal.dedup", text, sizeof(text)));
    cr_expect_eq(strtoull(text, NULL, 10), stored);
    harness_close(&harness);
}

static void put_until_stored(struct harness *harness, struct store_row *row)
{
    struct store_put put = {.base.op = STORE_PUT, .rows = row, .count = 1};
    while (harness_run(harness, 0, &put.base) != 0) {
        cr_assert(is_outage(put.base.status), "%d", put.base.status);
    }
    store_request_finish(&put.base);
}

/* A promoted standby lacks the last commits: the user of the last one is enough to find that out.
 */
Test(pg, a_session_that_has_less_than_was_written_before_proves_a_loss)
{
    char url[URL_MAX];
    harness_url("postgres", url);
    struct harness harness;
    harness_open(&harness, url);
    struct store_row row = row_of(user_of("alice"), 1, 1);
    put_row(&harness, &row);
    cr_assert_eq(store_sessions(harness.store), 0, "the first one is no other");
    cr_assert(postgres_query(url, end_sessions, NULL, 0));
    struct store_row second = row_of(user_of("alice"), 2, 2);
    put_until_stored(&harness, &second);
    cr_expect_gt(store_sessions(harness.store), 0);
    struct store_row repeat = row_of(user_of("bob"), 1, 1); /* stores nothing new */
    put_row(&harness, &repeat);
    put_row(&harness, &repeat);
    struct store_health health;
    store_get_health(harness.store, &health);
    cr_assert_null(health.loss.proof, "nothing was lost");
    struct store_row last = row_of(user_of("alice"), 3, 3);
    put_row(&harness, &last);
    put_row(&harness, &repeat);
    static const char forget[] = "UPDATE peal.inbox SET rev = rev - 1 WHERE user_id = 'alice'";
    cr_assert(postgres_query(url, forget, NULL, 0));
    cr_assert(postgres_query(url, end_sessions, NULL, 0));
    struct store_row other = row_of(user_of("carol"), 4, 4);
    put_until_stored(&harness, &other);
    store_get_health(harness.store, &health);
    cr_assert_not_null(health.loss.proof);
    cr_expect_str_eq(health.loss.proof, "write");
    cr_expect_eq(health.loss.was, 3);
    cr_expect_eq(health.loss.is, 2);
    harness_close(&harness);
}

Test(pg, serves_again_when_the_server_returns)
{
    struct postgres server;
    cr_assert(postgres_start(&server));
    char url[POSTGRES_URL_MAX];
    cr_assert(postgres_create_database_in(server.directory, url));
    struct harness harness;
    harness_open(&harness, url);
    struct store_row row = row_of(user_of("alice"), 1, 1);
    put_row(&harness, &row);
    postgres_crash(&server);
    struct store_row later = row_of(user_of("alice"), 2, 2);
    struct store_put put = {.base.op = STORE_PUT, .rows = &later, .count = 1};
    for (unsigned i = 0; i < 3; i++) {
        int status = harness_run(&harness, 0, &put.base);
        /* Only what was sent may have been done. */
        cr_expect(i == 0 ? is_outage(status) : status == STATUS_UNAVAILABLE, "%u: %d", i, status);
        struct store_request ping = {.op = STORE_PING};
        cr_expect_eq(harness_run(&harness, 0, &ping), STATUS_UNAVAILABLE);
    }
    struct store_health health;
    store_get_health(harness.store, &health);
    cr_expect_not(harness_is_healthy(harness.store));
    cr_expect_geq(health.failures, 6);
    cr_expect_neq(strstr(health.reason, "failed"), NULL, "%s", health.reason);
    cr_assert(postgres_resume(&server));
    while (harness_run(&harness, 0, &put.base) != 0) {
        cr_assert(is_outage(put.base.status));
    }
    cr_expect_eq(later.seq, 2);
    struct store_request ping = {.op = STORE_PING};
    while (harness_run(&harness, 0, &ping) != 0) {
        cr_assert_eq(ping.status, STATUS_UNAVAILABLE);
    }
    cr_expect(harness_is_healthy(harness.store));
    store_request_finish(&put.base);
    harness_close(&harness);
    postgres_stop(&server);
}

/* Stop or continue the server's processes that serve the store. */
static void signal_sessions(const char *url, int number)
{
    char pids[256] = "";
    cr_assert(postgres_query(url,
        "SELECT string_agg(pid::text, ' ') FROM pg_stat_activity "
        "WHERE datname = current_database() AND application_name = 'peal'",
        pids, sizeof(pids)));
    for (char *at = pids; *at != '\0';) {
        cr_assert_eq(kill((pid_t)strtol(at, &at, 10), number), 0);
    }
}

/* What is asked meanwhile does not put off the end of a connection that does not answer. */
Test(pg, a_silent_session_is_given_up_however_much_it_is_asked)
{
    char url[URL_MAX];
    harness_url("postgres", url);
    struct harness harness;
    harness_open(&harness, url);
    struct store_request first = {.op = STORE_PING};
    cr_assert_eq(harness_run(&harness, 0, &first), 0);
    signal_sessions(url, SIGSTOP);
    enum { ASKED = 6, EVERY_MS = 2000 };
    struct store_request pings[ASKED];
    unsigned asked = 0;
    uint64_t start = clock_mono_ms();
    bool answered = false;
    while (!answered) {
        uv_sleep(5);
        uv_run(&harness.shards[0].loop, UV_RUN_NOWAIT);
        answered = asked > 0 && pings[0].status != 0;
        if (!answered && asked < ASKED && clock_mono_ms() - start >= asked * EVERY_MS) {
            pings[asked] = (struct store_request){.op = STORE_PING, .done = harness_done};
            store_submit(harness.shards[0].port, &pings[asked++]);
        }
    }
    signal_sessions(url, SIGCONT);
    cr_expect_leq(asked, 4, "given up after the one of 6 s, not before that of %u s", asked * 2);
    cr_expect_eq(pings[0].status, STATUS_UNAVAILABLE);
    harness_wait_all(&harness, 0, asked);
    harness_close(&harness);
}

Test(pg, isolates_text_that_only_postgres_refuses)
{
    char url[URL_MAX];
    harness_url("postgres", url);
    struct harness harness;
    harness_open(&harness, url);
    enum { REQUESTS = 100 };
    static struct store_row rows[REQUESTS];
    static struct store_put puts[REQUESTS];
    static struct store_mark marks[REQUESTS];
    for (unsigned i = 0; i < REQUESTS; i++) {
        rows[i] = row_of(user_of("alice"), i, 1);
        if (i % 31 == 7) {
            rows[i].title = BYTES("\xff\xfe");
        }
        puts[i] = (struct store_put){
            .base = {.op = STORE_PUT, .done = harness_done}, .rows = &rows[i], .count = 1};
        marks[i] = mark_of(user_of("alice"), NOTIFICATION_MARK_READ, 1);
        marks[i].base.done = harness_done;
        marks[i].up_to = UINT64_MAX;
        store_submit(harness.shards[0].port, &puts[i].base);
        store_submit(harness.shards[0].port, &marks[i].base);
    }
    harness_wait_all(&harness, 0, 2 * REQUESTS);
    uint64_t stored = 0;
    for (unsigned i = 0; i < REQUESTS; i++) {
        bool bad = i % 31 == 7;
        stored += !bad;
        cr_expect_eq(puts[i].base.status, bad ? STATUS_INVALID : 0, "%u", i);
        cr_expect(bad || rows[i].seq == stored);
        cr_expect_eq(marks[i].base.status, 0);
        cr_expect_eq(marks[i].changed, !bad, "each put was there for its mark, %u", i);
        store_request_finish(&puts[i].base);
        store_request_finish(&marks[i].base);
    }
    struct store_position position = position_of(&harness, user_of("alice"));
    cr_expect_eq(position.seq, stored);
    cr_expect_eq(position.rev, 2 * stored);
    cr_expect_eq(position.unread, 0);
    harness_close(&harness);
}

/* How often a statement has been run. */
static uint64_t runs_of(const struct harness *harness, const char *name)
{
    enum { MOST = 64 };
    struct store_statement_stats stats[MOST];
    size_t count = store_statements(harness->store, stats, MOST);
    for (size_t i = 0; i < count; i++) {
        if (strcmp(stats[i].name, name) == 0) {
            return stats[i].count;
        }
    }
    return 0;
}

/* A fault costs those beside it a few attempts, not one each. */
Test(pg, one_fault_is_found_by_halves)
{
    enum { REQUESTS = 200, ATTEMPTS = 20 };
    static const unsigned places[] = {0, 3, REQUESTS / 2, REQUESTS - 1};
    char url[URL_MAX];
    harness_url("postgres", url);
    struct harness harness;
    harness_open(&harness, url);
    static struct store_row rows[REQUESTS];
    static struct store_put puts[REQUESTS];
    for (size_t at = 0; at < sizeof(places) / sizeof(places[0]); at++) {
        uint64_t before = runs_of(&harness, "put");
        for (unsigned i = 0; i < REQUESTS; i++) {
            rows[i] = row_of(user_of("alice"), (unsigned)at * REQUESTS + i, 1);
            if (i == places[at]) {
                rows[i].title = BYTES("\xff\xfe");
            }
            puts[i] = (struct store_put){
                .base = {.op = STORE_PUT, .done = harness_done}, .rows = &rows[i], .count = 1};
            store_submit(harness.shards[0].port, &puts[i].base);
        }
        harness_wait_all(&harness, 0, REQUESTS);
        for (unsigned i = 0; i < REQUESTS; i++) {
            cr_expect_eq(puts[i].base.status, i == places[at] ? STATUS_INVALID : 0, "%u", i);
            store_request_finish(&puts[i].base);
        }
        uint64_t runs = runs_of(&harness, "put") - before;
        cr_expect(
            runs > 0 && runs <= ATTEMPTS, "place %u: %llu", places[at], (unsigned long long)runs);
    }
    harness_close(&harness);
}

Test(pg, without_memory_for_many_requests_they_go_one_by_one)
{
    enum { REQUESTS = 200 };
    char url[URL_MAX];
    harness_url("postgres", url);
    struct harness harness;
    harness_open(&harness, url);
    static struct store_row rows[REQUESTS];
    static struct store_put puts[REQUESTS];
    mem_refuse(true);
    cr_assert_null(pg_flight_create(REQUESTS, REQUESTS + 2));
    struct pg_flight *flight = pg_flight_create(1, 3);
    cr_assert_not_null(flight);
    pg_flight_destroy(flight);
    for (unsigned i = 0; i < REQUESTS; i++) {
        rows[i] = row_of(user_of("alice"), i, 1);
        puts[i] = (struct store_put){
            .base = {.op = STORE_PUT, .done = harness_done}, .rows = &rows[i], .count = 1};
        store_submit(harness.shards[0].port, &puts[i].base);
    }
    harness_wait_all(&harness, 0, REQUESTS);
    mem_refuse(false);
    for (unsigned i = 0; i < REQUESTS; i++) {
        cr_expect(puts[i].base.status == 0 || is_outage(puts[i].base.status), "%u", i);
        store_request_finish(&puts[i].base);
    }
    struct store_row row = row_of(user_of("alice"), REQUESTS, 1);
    put_row(&harness, &row);
    harness_close(&harness);
}

struct opener {
    const char *url;
    struct store *store;
    int status;
    char error[256];
};

static void *run_opener(void *arg)
{
    struct opener *opener = arg;
    opener->status = open_only(opener->url, &opener->store, opener->error, sizeof(opener->error));
    return NULL;
}

Test(pg, nodes_that_start_together_migrate_once)
{
    char url[URL_MAX];
    harness_url("postgres", url);
    struct opener openers[8];
    pthread_t threads[8];
    for (unsigned i = 0; i < 8; i++) {
        openers[i] = (struct opener){.url = url};
        cr_assert_eq(pthread_create(&threads[i], NULL, run_opener, &openers[i]), 0);
    }
    for (unsigned i = 0; i < 8; i++) {
        cr_assert_eq(pthread_join(threads[i], NULL), 0);
        cr_assert_eq(openers[i].status, 0, "%s", openers[i].error);
        cr_expect_str_eq(store_epoch(openers[i].store), store_epoch(openers[0].store));
    }
    for (unsigned i = 0; i < 8; i++) {
        store_close(openers[i].store);
    }
    cr_assert(postgres_query(url, "UPDATE peal.migration SET checksum = 'x'", NULL, 0));
    struct store *store;
    char error[256] = "";
    cr_expect_eq(open_only(url, &store, error, sizeof(error)), STATUS_CONFLICT);
    cr_expect_not_null(strstr(error, "migration 1"), "%s", error);
}

Test(pg, explains_why_it_cannot_be_opened)
{
    static const char *const urls[] = {
        "postgres://someone:secret@127.0.0.1:1/nowhere",
        "postgresql:///x?host=/nonexistent&password=secret",
        "postgres://[broken",
        "postgres://someone:secret@127.0.0.1:port/x",
    };
    for (size_t i = 0; i < ARRAY_LEN(urls); i++) {
        struct store *store;
        char error[256] = "";
        cr_expect_eq(open_only(urls[i], &store, error, sizeof(error)), STATUS_UNAVAILABLE);
        cr_expect_gt(strlen(error), 10);
        cr_expect_null(strstr(error, "secret"), "%s", error);
        cr_expect_null(strchr(error, '\n'));
    }
}
