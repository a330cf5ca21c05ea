/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sweeps on both engines: what expires, what is buried, and rows that nobody remembers.
 */
#include <criterion/criterion.h>
#include <libpq-fe.h>
#include <sqlite3.h>
#include <stdio.h>

#include "codec/base/clock.h"
#include "tests/support/postgres.h"
#include "tests/unit/sql/both.h"

/* Ten rows, of which seq 1, 3, 5, 7, 9 expire at 1000, 1002 … 1008. */
static void put_expiring(struct harness *harness, const char *user)
{
    for (uint64_t i = 0; i < 10; i++) {
        struct store_row row = row_of(user_of(user), i, i);
        row.expires_at = i % 2 == 0 ? 1000 + i : 0;
        put_row(harness, &row);
    }
}

/* Sweep until there is no more, which must expire `wanted` rows. */
static void sweep_all(struct harness *harness, struct store_sweep *sweep, size_t wanted)
{
    size_t expired = 0;
    bool more;
    do {
        cr_assert_eq(harness_run(harness, 0, &sweep->base), 0);
        for (size_t i = 0; i < sweep->user_count; i++) {
            expired += sweep->users[i].change_count;
        }
        more = sweep->more;
        store_request_finish(&sweep->base);
    } while (more);
    cr_expect_eq(expired, wanted, "%zu, not %zu", expired, wanted);
}

BOTH(expiry_is_one_rev_a_user)
{
    struct harness harness;
    harness_open(&harness, url);
    static const char *names[] = {"carol", "alice", "bob"};
    for (size_t user = 0; user < ARRAY_LEN(names); user++) {
        put_expiring(&harness, names[user]);
    }
    struct store_mark mark = mark_of(user_of("bob"), NOTIFICATION_MARK_READ, 5);
    mark.up_to = 1;
    cr_assert_eq(harness_run(&harness, 0, &mark.base), 0);
    store_request_finish(&mark.base);
    struct store_sweep sweep = {
        .base.op = STORE_SWEEP, .now = 1004, .limit = 100, .tombstone_ms = 100000};
    cr_assert_eq(harness_run(&harness, 0, &sweep.base), 0);
    cr_expect_eq(sweep.user_count, 3);
    cr_expect_not(sweep.more);
    for (size_t i = 0; i < sweep.user_count; i++) {
        const struct store_swept *swept = &sweep.users[i];
        bool bob = bytes_eq_str(swept->who.user, "bob");
        cr_expect_eq(swept->change_count, 3);
        cr_expect_eq(swept->position.seq, 10);
        cr_expect_eq(swept->position.rev, bob ? 12 : 11);
        cr_expect_eq(swept->position.unread, 7);
        for (size_t j = 0; j < swept->change_count; j++) {
            cr_expect_eq(swept->changes[j].state, NOTIFICATION_EXPIRED);
            cr_expect_eq(swept->changes[j].rev, swept->position.rev, "one rev a user");
            cr_expect_eq(swept->changes[j].seq, 2 * j + 1);
        }
    }
    store_request_finish(&sweep.base);
    expect_position(&harness, user_of("bob"), 10, 12, 7);
    expect_position(&harness, user_of("alice"), 10, 11, 7);
    cr_assert_eq(harness_run(&harness, 0, &sweep.base), 0);
    cr_expect_eq(sweep.user_count, 0, "nothing is due");
    store_request_finish(&sweep.base);

    harness_close(&harness);
}

BOTH(old_tombstones_go_and_ask_for_a_resync)
{
    struct harness harness;
    harness_open(&harness, url);
    put_expiring(&harness, "alice");
    put_expiring(&harness, "bob");
    struct store_sweep sweep = {
        .base.op = STORE_SWEEP, .now = 1004, .limit = 6, .tombstone_ms = 100000};
    sweep_all(&harness, &sweep, 6);
    sweep.now = 2000;
    sweep.limit = 3;
    sweep_all(&harness, &sweep, 4);
    expect_position(&harness, user_of("alice"), 10, position_of(&harness, user_of("alice")).rev, 5);

    /* A client at rev 10 misses the expiry as long as its tombstones live, then must resync. */
    struct store_sync sync = {
        .base.op = STORE_SYNC, .who = user_of("alice"), .rev = 10, .limit = 100};
    cr_assert_eq(harness_run(&harness, 0, &sync.base), 0);
    cr_expect_not(sync.resync);
    cr_expect(sync.done);
    cr_expect_eq(sync.item_count, 0);
    cr_expect_eq(sync.change_count, 5);
    store_request_finish(&sync.base);
    sweep = (struct store_sweep){
        .base.op = STORE_SWEEP, .now = 5000, .limit = 1000, .tombstone_ms = 3996};
    cr_assert_eq(harness_run(&harness, 0, &sweep.base), 0);
    cr_expect_eq(sweep.user_count, 0, "dropping tombstones is no change");
    store_request_finish(&sweep.base);
    cr_assert_eq(harness_run(&harness, 0, &sync.base), 0);
    cr_expect(sync.resync);
    store_request_finish(&sync.base);
    sync.rev = 11;
    cr_assert_eq(harness_run(&harness, 0, &sync.base), 0);
    cr_expect_not(sync.resync, "it has seen what was dropped");
    cr_expect_eq(sync.change_count, 2);
    store_request_finish(&sync.base);
    sync.rev = 99;
    cr_assert_eq(harness_run(&harness, 0, &sync.base), 0);
    cr_expect(sync.resync, "above the head");
    store_request_finish(&sync.base);
    harness_close(&harness);
}

static const uint64_t DAY_MS = 86400000;

static void raise_witness(struct harness *harness, const char *node, uint64_t wanted)
{
    struct store_witness witness = {.base.op = STORE_WITNESS_RAISE, .node = bytes_str(node)};
    cr_assert_eq(harness_run(harness, 0, &witness.base), 0);
    cr_expect_eq(witness.number, wanted, "%s: %llu, not %llu", node,
        (unsigned long long)witness.number, (unsigned long long)wanted);
}

static void sweep_at(struct harness *harness, uint64_t now)
{
    struct store_sweep sweep = {
        .base.op = STORE_SWEEP, .now = now, .limit = 100, .tombstone_ms = DAY_MS};
    cr_assert_eq(harness_run(harness, 0, &sweep.base), 0);
    store_request_finish(&sweep.base);
}

/* Run text on the store from beside it. */
static void alter(const char *url, const char *postgres, const char *sqlite)
{
    if (!bytes_starts(bytes_str(url), BYTES("sqlite:"))) {
        cr_assert(postgres_query(url, postgres, NULL, 0));
        return;
    }
    sqlite3 *db;
    cr_assert_eq(sqlite3_open(url + sizeof("sqlite:") - 1, &db), SQLITE_OK);
    cr_assert_eq(sqlite3_exec(db, sqlite, NULL, NULL, NULL), SQLITE_OK, "%s", sqlite3_errmsg(db));
    cr_assert_eq(sqlite3_close(db), SQLITE_OK);
}

/* A number that starts again would say that the store went back. */
BOTH(a_sweep_whose_clock_is_wrong_keeps_the_witness)
{
    struct harness harness;
    harness_open(&harness, url);
    raise_witness(&harness, "n1", 1);
    raise_witness(&harness, "n2", 1);
    sweep_at(&harness, clock_wall_ms() + 3 * DAY_MS);
    raise_witness(&harness, "n1", 2);
    raise_witness(&harness, "n2", 2);
    harness_close(&harness);
}

BOTH(a_witness_that_nobody_raises_goes)
{
    struct harness harness;
    harness_open(&harness, url);
    raise_witness(&harness, "gone", 1);
    raise_witness(&harness, "here", 1);
    alter(url, "UPDATE peal.witness SET at = at - 86500000 WHERE node = 'gone'",
        "UPDATE witness SET at = at - 86500000 WHERE node = 'gone'");
    sweep_at(&harness, clock_wall_ms());
    raise_witness(&harness, "gone", 1);
    raise_witness(&harness, "here", 2);
    harness_close(&harness);
}

/* Sweep once; how many expired. */
static size_t sweep_once(
    struct harness *harness, uint64_t now, uint32_t limit, bool *ret_more, uint64_t *ret_late)
{
    struct store_sweep sweep = {
        .base.op = STORE_SWEEP, .now = now, .limit = limit, .tombstone_ms = 100000};
    cr_assert_eq(harness_run(harness, 0, &sweep.base), 0, "%d", sweep.base.status);
    size_t expired = 0;
    for (size_t i = 0; i < sweep.user_count; i++) {
        expired += sweep.users[i].change_count;
    }
    *ret_more = sweep.more;
    *ret_late = sweep.late_ms;
    store_request_finish(&sweep.base);
    return expired;
}

BOTH(a_sweep_tells_how_late_it_is)
{
    struct harness harness;
    harness_open(&harness, url);
    bool more;
    uint64_t late;
    put_expiring(&harness, "alice");
    cr_expect_eq(sweep_once(&harness, 999, 2, &more, &late), 0);
    cr_expect_eq(late, 0, "nothing is due");
    cr_expect_eq(sweep_once(&harness, 1100, 2, &more, &late), 2);
    cr_expect_eq(late, 100);
    cr_expect(more);
    cr_expect_eq(sweep_once(&harness, 1100, 10, &more, &late), 3);
    cr_expect_eq(late, 96, "the first two have gone");
    cr_expect_eq(sweep_once(&harness, 1100, 10, &more, &late), 0);
    cr_expect_eq(late, 0);
    struct store_mark snooze = mark_of(user_of("alice"), NOTIFICATION_MARK_SNOOZE, 1000);
    snooze.states = notification_mark_states(NOTIFICATION_MARK_SNOOZE, true);
    snooze.up_to = UINT64_MAX;
    snooze.until = 1200;
    cr_assert_eq(harness_run(&harness, 0, &snooze.base), 0);
    store_request_finish(&snooze.base);
    cr_expect_eq(sweep_once(&harness, 1250, 10, &more, &late), 5, "what comes back is told too");
    cr_expect_eq(late, 50);
    harness_close(&harness);
}

/* Somebody else's transaction, which has locked one inbox. */
static PGconn *lock_inbox(const char *url, const char *user)
{
    PGconn *other = PQconnectdb(url);
    char sql[128];
    (void)snprintf(
        sql, sizeof(sql), "BEGIN; SELECT 1 FROM peal.inbox WHERE user_id = '%s' FOR UPDATE", user);
    PGresult *locked = PQexec(other, sql);
    cr_assert_eq(PQresultStatus(locked), PGRES_TUPLES_OK, "%s", PQerrorMessage(other));
    PQclear(locked);
    return other;
}

/* Rows of a user that expire at `from` and up. */
static void put_due(struct harness *harness, const char *user, unsigned count, uint64_t from)
{
    for (unsigned i = 0; i < count; i++) {
        struct store_row row = row_of(user_of(user), i, i);
        row.expires_at = from + i;
        put_row(harness, &row);
    }
}

static void snooze_all(struct harness *harness, const char *user, uint64_t until)
{
    struct store_mark snooze = mark_of(user_of(user), NOTIFICATION_MARK_SNOOZE, 500);
    snooze.states = notification_mark_states(NOTIFICATION_MARK_SNOOZE, true);
    snooze.up_to = UINT64_MAX;
    snooze.until = until;
    cr_assert_eq(harness_run(harness, 0, &snooze.base), 0);
    store_request_finish(&snooze.base);
}

/* More is due first in an inbox that somebody has locked than a sweep takes. */
Test(postgres, what_is_due_in_a_locked_inbox_keeps_no_step_busy)
{
    enum { LIMIT = 5 };
    char url[URL_MAX];
    harness_url("postgres", url);
    struct harness harness;
    harness_open(&harness, url);
    bool more;
    uint64_t late;
    put_due(&harness, "alice", 4 * LIMIT + 2, 1000);
    put_due(&harness, "bob", 2 * LIMIT, 1100);
    PGconn *other = lock_inbox(url, "alice");
    cr_expect_eq(sweep_once(&harness, 2000, LIMIT, &more, &late), LIMIT, "bob's first ones");
    cr_expect(more);
    cr_expect_eq(late, 1000, "alice's");
    cr_expect_eq(sweep_once(&harness, 2000, LIMIT, &more, &late), LIMIT);
    cr_expect_eq(sweep_once(&harness, 2000, LIMIT, &more, &late), 0);
    cr_expect_not(more, "it is not tried again at once");
    PQclear(PQexec(other, "COMMIT"));
    for (unsigned i = 0; i < 4; i++) {
        cr_expect_eq(sweep_once(&harness, 2000, LIMIT, &more, &late), LIMIT);
        cr_expect(more);
    }
    cr_expect_eq(sweep_once(&harness, 2000, LIMIT, &more, &late), 2);
    PQfinish(other);
    harness_close(&harness);
}

Test(postgres, what_comes_back_and_old_tombstones_pass_locked_inboxes_too)
{
    enum { LIMIT = 3 };
    char url[URL_MAX];
    harness_url("postgres", url);
    struct harness harness;
    harness_open(&harness, url);
    bool more;
    uint64_t late;
    static const char old[] = "SELECT count(*)::text FROM peal.tombstone WHERE user_id = 'bob'";
    char left[32];
    put_due(&harness, "alice", 3 * LIMIT, 10000000);
    put_due(&harness, "bob", LIMIT, 10000000);
    snooze_all(&harness, "alice", 1000);
    snooze_all(&harness, "bob", 1100);
    PGconn *other = lock_inbox(url, "alice");
    cr_expect_eq(sweep_once(&harness, 2000, LIMIT, &more, &late), LIMIT, "bob's come back");
    PQclear(PQexec(other, "COMMIT"));
    PQfinish(other);
    while (sweep_once(&harness, 10001000, 100, &more, &late) > 0) {
    }
    cr_assert(postgres_query(
        url, "UPDATE peal.tombstone SET at = at - 50 WHERE user_id = 'alice'", NULL, 0));
    other = lock_inbox(url, "alice");
    (void)sweep_once(&harness, 20000000, LIMIT, &more, &late);
    cr_assert(postgres_query(url, old, left, sizeof(left)));
    cr_expect_str_eq(left, "0", "%s", left);
    PQclear(PQexec(other, "COMMIT"));
    PQfinish(other);
    harness_close(&harness);
}

Test(postgres, how_far_a_sweep_looks_past_locked_inboxes_is_bounded)
{
    enum { LIMIT = 2 };
    char url[URL_MAX];
    harness_url("postgres", url);
    struct harness harness;
    harness_open(&harness, url);
    bool more;
    uint64_t late;
    put_due(&harness, "alice", 8 * LIMIT, 1000);
    put_due(&harness, "bob", LIMIT, 1100);
    PGconn *other = lock_inbox(url, "alice");
    cr_expect_eq(sweep_once(&harness, 2000, LIMIT, &more, &late), 0);
    cr_expect_not(more);
    cr_expect_eq(late, 1000);
    PQclear(PQexec(other, "COMMIT"));
    PQfinish(other);
    harness_close(&harness);
}

Test(postgres, an_inbox_that_is_locked_keeps_no_other_from_expiring)
{
    char url[URL_MAX];
    harness_url("postgres", url);
    struct harness harness;
    harness_open(&harness, url);
    bool more;
    uint64_t late;
    put_expiring(&harness, "alice");
    put_expiring(&harness, "bob");
    PGconn *other = lock_inbox(url, "alice");
    cr_expect_eq(sweep_once(&harness, 1100, 100, &more, &late), 5, "bob's");
    cr_expect_not(more);
    cr_expect_eq(sweep_once(&harness, 1200, 5, &more, &late), 0);
    cr_expect_not(more, "it is not tried again at once");
    cr_expect_eq(late, 200);
    expect_position(&harness, user_of("alice"), 10, 10, 10);
    expect_position(&harness, user_of("bob"), 10, 11, 5);
    PQclear(PQexec(other, "COMMIT"));
    PQfinish(other);
    cr_expect_eq(sweep_once(&harness, 1200, 100, &more, &late), 5);
    expect_position(&harness, user_of("alice"), 10, 11, 5);
    harness_close(&harness);
}
