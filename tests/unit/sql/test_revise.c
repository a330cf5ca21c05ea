/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Posts to many that are given other content: everybody gets it once, with a rev and no other
 * change.
 */
#include <libpq-fe.h>
#include <stdio.h>
#include <uv.h>

#include "codec/base/status.h"
#include "codec/slot.h"
#include "sql/store_edit.h"
#include "tests/unit/sql/audience.h"
#include "tests/unit/sql/both.h"

enum { TRIES = 3000, PAUSE_MS = 5, HELD_MS = 20 };

static const struct store_revise new_title = {
    .fields = NOTIFICATION_EDIT_TITLE | NOTIFICATION_EDIT_PRIORITY,
    .title = {.at = "other", .len = 5},
    .priority = NOTIFICATION_HIGH,
    .at = 1800000000000,
};

static const struct store_revise new_message = {
    .fields = NOTIFICATION_EDIT_MESSAGE | NOTIFICATION_EDIT_DATA,
    .message = {.at = "text", .len = 4},
    .data = {.at = "{}", .len = 2},
    .at = 1800000000001,
};

static const struct store_revise newest_title = {
    .fields = NOTIFICATION_EDIT_TITLE,
    .title = {.at = "newest", .len = 6},
    .at = 1800000000002,
};

static void expect_title(struct harness *harness, const char *user, const char *title, uint64_t rev)
{
    struct store_list list = {.base.op = STORE_LIST, .who = user_of(user), .limit = 10};
    cr_assert_eq(harness_run(harness, 1, &list.base), 0);
    cr_assert_eq(list.count, 1, "%s has %zu", user, list.count);
    cr_expect(bytes_eq_str(list.items[0].title, title), "%s has %.*s", user,
        (int)list.items[0].title.len, list.items[0].title.at);
    cr_expect_eq(list.items[0].rev, rev, "%s: %llu", user, (unsigned long long)list.items[0].rev);
    cr_expect_eq(list.position.rev, rev);
    store_request_finish(&list.base);
}

/*
 * Sweep as nodes do, until `want` users were reached, and once more: how many were. In Postgres
 * this waits for transactions that were open, those of other databases too.
 */
static size_t sweep_until(struct harness *harness, size_t want)
{
    size_t reached = 0;
    for (unsigned tries = 0; tries < TRIES && reached < want; tries++) {
        reached += sweep_audiences(harness, 100, 1000);
        uv_sleep(reached < want ? PAUSE_MS : 0);
    }
    return reached + sweep_audiences(harness, 100, 1000);
}

BOTH(other_content_of_a_post_is_read_by_whoever_has_it_and_whoever_comes)
{
    struct harness harness;
    harness_open(&harness, url);
    static const char *const users[] = {"ann", "ben", "cid"};
    for (size_t i = 0; i < ARRAY_LEN(users); i++) {
        cr_expect(subscribe_to(&harness, users[i], "news"));
    }
    struct store_audience_post post = post_of("news", 1);
    post_many(&harness, &post);
    expect_position(&harness, user_of("ann"), 1, 1, 1);
    struct store_mark mark = mark_of(user_of("ben"), NOTIFICATION_MARK_READ, 5);
    mark.up_to = 1;
    cr_assert_eq(harness_run(&harness, 0, &mark.base), 0);
    store_request_finish(&mark.base);
    expect_position(&harness, user_of("ben"), 1, 2, 0);

    revise_post(&harness, &post, &new_title);
    expect_title(&harness, "ann", "other", 2);
    expect_position(&harness, user_of("ann"), 1, 2, 1);
    expect_title(&harness, "ben", "other", 3);
    expect_position(&harness, user_of("ben"), 1, 3, 0);
    expect_title(&harness, "cid", "other", 1); /* made of what the post is now */

    revise_post(&harness, &post, &new_message);
    struct store_sync sync = {.base.op = STORE_SYNC, .who = user_of("ann"), .rev = 1, .limit = 10};
    cr_assert_eq(harness_run(&harness, 0, &sync.base), 0);
    cr_assert_eq(sync.item_count, 1);
    const struct notification_item *item = &sync.items[0];
    cr_expect_eq(item->rev, 3);
    cr_expect_eq(item->new_rev, 1);
    cr_expect_eq(item->updated_at, new_message.at);
    cr_expect_eq(item->priority, NOTIFICATION_HIGH);
    cr_expect(bytes_eq_str(item->title, "other"));
    cr_expect(bytes_eq_str(item->message, "text"));
    cr_expect(bytes_eq_str(item->data, "{}"));
    cr_expect_eq(sync.position.unread, 1);
    struct store_get get = {.base.op = STORE_GET, .who = user_of("ben")};
    store_request_finish(&sync.base);
    struct store_list list = {.base.op = STORE_LIST, .who = user_of("ben"), .limit = 1};
    cr_assert_eq(harness_run(&harness, 0, &list.base), 0);
    memcpy(get.id, list.items[0].id, NOTIFICATION_ID_LEN);
    store_request_finish(&list.base);
    revise_post(&harness, &post, &newest_title);
    cr_assert_eq(harness_run(&harness, 2, &get.base), 0);
    cr_expect(bytes_eq_str(get.item.title, "newest"));
    cr_expect(bytes_eq_str(get.item.message, "text"));
    cr_expect_eq(get.item.state, NOTIFICATION_READ);
    cr_expect_eq(get.item.rev, 5);
    store_request_finish(&get.base);
    cr_expect_eq(sweep_until(&harness, 2), 2, "the others");
    expect_title(&harness, "cid", "newest", 2); /* both at once */
    cr_expect_eq(sweep_until(&harness, 0), 0);
    harness_close(&harness);
}

/* The first row of a user, read without having anything made or renewed before. */
static void find_row(struct harness *harness, const char *user, uint8_t ret_id[NOTIFICATION_ID_LEN])
{
    struct store_list list = {.base.op = STORE_LIST, .who = user_of(user), .limit = 1};
    cr_assert_eq(harness_run(harness, 0, &list.base), 0);
    cr_assert_eq(list.count, 1);
    memcpy(ret_id, list.items[0].id, NOTIFICATION_ID_LEN);
    store_request_finish(&list.base);
}

static void edit_title(struct harness *harness, const uint8_t id[NOTIFICATION_ID_LEN], uint64_t rev,
    const char *message)
{
    struct store_edit edit = {.base.op = STORE_EDIT,
        .fields = NOTIFICATION_EDIT_TITLE,
        .title = BYTES("own"),
        .priority = NOTIFICATION_LOW,
        .at = 1800000000003};
    memcpy(edit.id, id, NOTIFICATION_ID_LEN);
    cr_assert_eq(harness_run(harness, 2, &edit.base), 0);
    cr_expect_eq(edit.position.rev, rev, "%llu", (unsigned long long)edit.position.rev);
    cr_expect_eq(edit.item.rev, rev);
    cr_expect(bytes_eq_str(edit.item.title, "own"));
    cr_expect(bytes_eq_str(edit.item.message, message), "%.*s", (int)edit.item.message.len,
        edit.item.message.at);
    store_request_finish(&edit.base);
}

/* Who changes one row behind the post's change means the row as it is by then. */
BOTH(of_a_post_and_a_row_of_it_what_was_changed_last_holds)
{
    struct harness harness;
    harness_open(&harness, url);
    uint8_t id[NOTIFICATION_ID_LEN];
    cr_expect(subscribe_to(&harness, "ann", "news"));
    struct store_audience_post post = post_of("news", 1);
    post_many(&harness, &post);
    find_row(&harness, "ann", id);
    revise_post(&harness, &post, &new_title);
    revise_post(&harness, &post, &new_message);
    edit_title(&harness, id, 3, "text"); /* the post's change first: 2 */
    expect_title(&harness, "ann", "own", 3);
    (void)sweep_until(&harness, 0);
    expect_title(&harness, "ann", "own", 3);

    revise_post(&harness, &post, &new_message); /* names other fields than the one before */
    expect_title(&harness, "ann", "own", 4);
    revise_post(&harness, &post, &newest_title);
    expect_title(&harness, "ann", "newest", 5);
    edit_title(&harness, id, 6, "text");
    expect_title(&harness, "ann", "own", 6);
    harness_close(&harness);
}

enum { MANY = 20 };

static const char *name_of(unsigned i, char at[16])
{
    (void)snprintf(at, 16, "user-%02u", i);
    return at;
}

BOTH(the_sweep_gives_everybody_other_content_in_steps)
{
    struct harness harness;
    harness_open(&harness, url);
    char name[16];
    for (unsigned i = 0; i < MANY; i++) {
        cr_expect(subscribe_to(&harness, name_of(i, name), "news"));
    }
    struct store_audience_post post = post_of("news", 1);
    post_many(&harness, &post);
    for (unsigned i = 0; i < MANY; i++) {
        expect_position(&harness, user_of(name_of(i, name)), 1, 1, 1);
    }
    revise_post(&harness, &post, &new_title);
    cr_expect_eq(sweep_until(&harness, MANY), MANY);
    struct store_positions positions = {.base.op = STORE_POSITIONS, .count = 1, .current = true};
    for (unsigned i = 0; i < MANY; i++) {
        struct store_user who = user_of(name_of(i, name));
        positions.users = &who;
        cr_assert_eq(harness_run(&harness, 0, &positions.base), 0);
        cr_expect_eq(positions.positions[0].rev, 2, "%s, without being asked for", name);
        store_request_finish(&positions.base);
    }

    /* Changed again in the middle of it: it begins anew, whoever was reached. */
    revise_post(&harness, &post, &new_message);
    size_t steps = 0;
    for (unsigned tries = 0; steps == 0 && tries < TRIES; tries++) {
        struct store_sweep sweep = {
            .base.op = STORE_AUDIENCE_SWEEP, .now = 100, .limit = 3, .tombstone_ms = 1000};
        cr_assert_eq(harness_run(&harness, 0, &sweep.base), 0);
        steps = sweep.user_count;
        store_request_finish(&sweep.base);
        uv_sleep(steps == 0 ? PAUSE_MS : 0);
    }
    cr_expect_eq(steps, 3);
    revise_post(&harness, &post, &newest_title);
    cr_expect_eq(sweep_until(&harness, MANY), MANY);
    for (unsigned i = 0; i < MANY; i++) {
        expect_title(&harness, name_of(i, name), "newest", i < 3 ? 4 : 3);
    }
    cr_expect_eq(sweep_until(&harness, 0), 0);
    harness_close(&harness);
}

BOTH(what_was_changed_and_is_taken_back_goes)
{
    struct harness harness;
    harness_open(&harness, url);
    for (unsigned i = 0; i < 2; i++) {
        char name[16];
        cr_expect(subscribe_to(&harness, name_of(i, name), "news"));
    }
    struct store_audience_post post = post_of("news", 1);
    post_many(&harness, &post);
    expect_position(&harness, user_of("user-00"), 1, 1, 1);
    revise_post(&harness, &post, &new_title);
    retract_post(&harness, &post);
    expect_position(&harness, user_of("user-00"), 1, 2, 0);
    expect_position(&harness, user_of("user-01"), 0, 0, 0);
    struct store_revise late = new_title;
    late.base.op = STORE_REVISE;
    memcpy(late.id, post.id, NOTIFICATION_ID_LEN);
    cr_expect_eq(harness_run(&harness, 0, &late.base), STATUS_NOT_FOUND);
    store_request_finish(&late.base);
    late.fields = 0;
    cr_expect_eq(harness_run(&harness, 0, &late.base), STATUS_INVALID);
    store_request_finish(&late.base);
    (void)sweep_until(&harness, 0);
    harness_close(&harness);
}

BOTH(a_post_that_expires_while_its_content_is_given_out_stays_until_all_have_it)
{
    struct harness harness;
    harness_open(&harness, url);
    cr_expect(subscribe_to(&harness, "ann", "news"));
    struct store_audience_post post = post_of("news", 1);
    post_many(&harness, &post);
    expect_position(&harness, user_of("ann"), 1, 1, 1);
    struct store_revise expires = new_title;
    expires.fields |= NOTIFICATION_EDIT_EXPIRES;
    expires.expires_at = 50;
    revise_post(&harness, &post, &expires);
    cr_expect_eq(sweep_until(&harness, 1), 1); /* at 100 */
    expect_title(&harness, "ann", "other", 2);
    struct store_retract find = {.base.op = STORE_RETRACT, .only_find = true};
    memcpy(find.id, post.id, NOTIFICATION_ID_LEN);
    int status = 0;
    for (unsigned tries = 0; tries < TRIES && status == 0; tries++) {
        (void)sweep_until(&harness, 0);
        status = harness_run(&harness, 0, &find.base);
        store_request_finish(&find.base);
        uv_sleep(status == 0 ? PAUSE_MS : 0);
    }
    cr_expect_eq(status, STATUS_NOT_FOUND, "then it is dropped");
    harness_close(&harness);
}

static void expect_done(PGconn *pg, const char *sql)
{
    PGresult *result = PQexec(pg, sql);
    ExecStatusType status = PQresultStatus(result);
    cr_assert(status == PGRES_COMMAND_OK || status == PGRES_TUPLES_OK, "%s", PQerrorMessage(pg));
    PQclear(result);
}

/* For how long a sweep says that transactions of others keep it from its work. */
static uint64_t held_for(struct harness *harness)
{
    struct store_sweep sweep = {
        .base.op = STORE_AUDIENCE_SWEEP, .now = 100, .limit = 3, .tombstone_ms = 1000};
    cr_assert_eq(harness_run(harness, 0, &sweep.base), 0);
    uint64_t late_ms = sweep.late_ms;
    store_request_finish(&sweep.base);
    return late_ms;
}

Test(postgres, a_row_of_a_transaction_that_read_the_old_content_gets_the_new_one)
{
    char url[URL_MAX];
    struct harness harness;
    harness_url("postgres", url);
    harness_open(&harness, url);
    cr_expect(subscribe_to(&harness, "ann", "news"));
    struct store_audience_post post = post_of("news", 1);
    post_many(&harness, &post);
    char enter[256];
    (void)snprintf(enter, sizeof(enter),
        "SELECT peal.enter(ARRAY[%u]::smallint[], ARRAY[''], ARRAY['ann'], 10, false)",
        slot_of(BYTES(""), BYTES("ann")));
    PGconn *slow = PQconnectdb(url);
    expect_done(slow, "BEGIN");
    expect_done(slow, enter); /* it has made the row, and has not committed it */
    revise_post(&harness, &post, &new_title);
    cr_expect_eq(sweep_until(&harness, 0), 0);
    uv_sleep(HELD_MS);
    cr_expect_geq(held_for(&harness), HELD_MS, "the operator can be told");
    expect_done(slow, "COMMIT");
    PQfinish(slow);
    cr_expect_eq(sweep_until(&harness, 1), 1);
    expect_title(&harness, "ann", "other", 2);
    for (unsigned tries = 0; tries < TRIES && held_for(&harness) > 0; tries++) {
        uv_sleep(PAUSE_MS);
    }
    cr_expect_eq(held_for(&harness), 0);
    harness_close(&harness);
}

/* Who comes takes the users of lists away in another order than the sweep: neither waits. */
Test(postgres, what_is_old_is_dropped_while_its_users_come)
{
    char url[URL_MAX];
    struct harness harness;
    harness_url("postgres", url);
    harness_open(&harness, url);
    const struct bytes users[] = {BYTES("ann"), BYTES("ben")};
    struct store_audience_post post = post_of(NULL, 1);
    post.kind = AUDIENCE_LIST;
    post.users = users;
    post.user_count = ARRAY_LEN(users);
    post.expires_at = 50;
    post_many(&harness, &post);
    PGconn *comes = PQconnectdb(url);
    expect_done(comes, "BEGIN");
    expect_done(comes, "DELETE FROM peal.member WHERE user_id = 'ben'");
    cr_expect_eq(sweep_audiences(&harness, 100, 1000), 0);
    struct store_retract find = {.base.op = STORE_RETRACT, .only_find = true};
    memcpy(find.id, post.id, NOTIFICATION_ID_LEN);
    cr_expect_eq(harness_run(&harness, 0, &find.base), STATUS_NOT_FOUND, "it was dropped");
    store_request_finish(&find.base);
    expect_done(comes, "ROLLBACK");
    PQfinish(comes);
    expect_position(&harness, user_of("ben"), 0, 0, 0);
    harness_close(&harness);
}

/* Waits until the session does. */
static void await_wait(PGconn *pg, PGconn *waiting)
{
    char sql[160];
    (void)snprintf(sql, sizeof(sql),
        "SELECT wait_event_type IS NOT DISTINCT FROM 'Lock' FROM pg_stat_activity WHERE pid = %d",
        PQbackendPID(waiting));
    bool waits = false;
    for (unsigned tries = 0; tries < TRIES && !waits; tries++) {
        PGresult *result = PQexec(pg, sql);
        waits = PQntuples(result) == 1 && PQgetvalue(result, 0, 0)[0] == 't';
        PQclear(result);
        uv_sleep(waits ? 0 : PAUSE_MS);
    }
    cr_assert(waits);
}

static void expect_answered(PGconn *pg)
{
    for (PGresult *result; (result = PQgetResult(pg)) != NULL; PQclear(result)) {
        cr_assert_eq(PQresultStatus(result), PGRES_TUPLES_OK, "%s", PQerrorMessage(pg));
    }
}

/* A sweep has seen a change which another one ends before it gets there. */
Test(postgres, a_change_that_has_ended_does_not_come_again_as_a_retraction)
{
    char url[URL_MAX];
    struct harness harness;
    harness_url("postgres", url);
    harness_open(&harness, url);
    cr_expect(subscribe_to(&harness, "ann", "news"));
    struct store_audience_post posts[] = {post_of("news", 1), post_of("news", 2)};
    post_many(&harness, &posts[0]);
    post_many(&harness, &posts[1]);
    expect_position(&harness, user_of("ann"), 2, 2, 2);
    revise_post(&harness, &posts[0], &new_title);
    revise_post(&harness, &posts[1], &new_title);
    PGconn *other = PQconnectdb(url);
    PGconn *sweep = PQconnectdb(url);
    expect_done(other, "BEGIN; UPDATE peal.audience_change SET past = '' WHERE n = 1");
    cr_assert(PQsendQuery(sweep, "SELECT peal.audience_sweep(100, -1, 100)"));
    await_wait(other, sweep);
    expect_done(other, "DELETE FROM peal.audience_change WHERE n = 2; COMMIT");
    expect_answered(sweep);
    PQfinish(sweep);
    PQfinish(other);
    (void)sweep_until(&harness, 1);
    cr_expect_eq(position_of(&harness, user_of("ann")).unread, 2, "nothing was taken back");
    harness_close(&harness);
}

/* A digest is being given what a post says when the post is changed again. */
Test(postgres, a_digest_gets_a_change_that_came_while_it_got_the_one_before)
{
    char url[URL_MAX];
    struct harness harness;
    harness_url("postgres", url);
    harness_open(&harness, url);
    cr_expect(subscribe_to(&harness, "ann", "news"));
    struct store_audience_post posts[] = {post_of("news", 1), post_of("news", 2)};
    for (size_t i = 0; i < ARRAY_LEN(posts); i++) {
        posts[i].digest_ms = 1000000;
        post_many(&harness, &posts[i]);
    }
    expect_title(&harness, "ann", "Paid", 2);
    revise_post(&harness, &posts[1], &new_title);
    PGconn *other = PQconnectdb(url);
    PGconn *reader = PQconnectdb(url);
    expect_done(other, "BEGIN; SELECT FROM peal.notification FOR UPDATE");
    char enter[256];
    (void)snprintf(enter, sizeof(enter),
        "SELECT peal.enter(ARRAY[%u]::smallint[], ARRAY[''], ARRAY['ann'], 10, true)",
        slot_of(BYTES(""), BYTES("ann")));
    cr_assert(PQsendQuery(reader, enter));
    await_wait(other, reader);
    revise_post(&harness, &posts[1], &newest_title);
    expect_done(other, "COMMIT");
    expect_answered(reader);
    PQfinish(reader);
    PQfinish(other);
    expect_title(&harness, "ann", "newest", 4);
    harness_close(&harness);
}
