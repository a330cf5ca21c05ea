/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rows of posts to many that a request makes or takes back, where it is easily left out: repeats,
 * one user twice, edits, sweeps of a single row.
 */
#include <string.h>

#include "codec/base/status.h"
#include "sql/store_edit.h"
#include "tests/unit/sql/audience.h"
#include "tests/unit/sql/both.h"

/* As it is, without making anything. */
static void expect_current(struct harness *harness, const char *user, uint64_t seq, uint64_t unread)
{
    struct store_user who = user_of(user);
    struct store_positions positions = {
        .base.op = STORE_POSITIONS, .users = &who, .count = 1, .current = true};
    cr_assert_eq(harness_run(harness, 0, &positions.base), 0);
    cr_expect_eq(positions.positions[0].seq, seq, "seq %lu", positions.positions[0].seq);
    cr_expect_eq(positions.positions[0].unread, unread, "%lu", positions.positions[0].unread);
    store_request_finish(&positions.base);
}

BOTH(a_repeat_makes_what_is_missing_as_any_post_does)
{
    struct harness harness;
    harness_open(&harness, url);
    struct store_row row = row_of(user_of("ann"), 1, 1);
    put_row(&harness, &row);
    (void)post_to(&harness, NULL, 1);
    struct store_row again = row_of(user_of("ann"), 1, 1);
    put_row(&harness, &again);
    cr_expect_eq(again.outcome, OUTCOME_DUPLICATE);
    expect_current(&harness, "ann", 2, 2);
    harness_close(&harness);
}

BOTH(a_post_that_is_not_wanted_makes_what_is_missing_too)
{
    struct harness harness;
    harness_open(&harness, url);
    struct store_row row = row_of(user_of("ann"), 1, 1);
    put_row(&harness, &row);
    (void)post_to(&harness, NULL, 1);
    struct store_row refused = row_of(user_of("ann"), 2, 2);
    refused.unwanted = true;
    refused.collapse = BYTES("name");
    put_row(&harness, &refused);
    cr_expect_eq(refused.outcome, OUTCOME_SUPPRESSED);
    expect_current(&harness, "ann", 2, 2);
    harness_close(&harness);
}

BOTH(one_user_twice_in_a_request_loses_a_row_once)
{
    struct harness harness;
    harness_open(&harness, url);
    struct store_row row = row_of(user_of("ann"), 1, 1);
    put_row(&harness, &row);
    struct store_audience_post post = post_of(NULL, 1);
    post_many(&harness, &post);
    expect_position(&harness, user_of("ann"), 2, 2, 2);
    retract_post(&harness, &post);
    struct store_user who[2] = {user_of("ann"), user_of("ann")};
    struct store_positions positions = {.base.op = STORE_POSITIONS, .users = who, .count = 2};
    cr_assert_eq(harness_run(&harness, 0, &positions.base), 0, "%d", positions.base.status);
    for (size_t i = 0; i < 2; i++) {
        cr_expect_eq(positions.positions[i].rev, 3);
        cr_expect_eq(positions.positions[i].unread, 1);
    }
    store_request_finish(&positions.base);
    harness_close(&harness);
}

BOTH(a_row_whose_post_is_taken_back_is_not_edited)
{
    struct harness harness;
    harness_open(&harness, url);
    cr_expect(subscribe_to(&harness, "ann", "news"));
    struct store_audience_post post = post_of("news", 1);
    post_many(&harness, &post);
    struct store_list list = {.base.op = STORE_LIST, .who = user_of("ann"), .limit = 10};
    cr_assert_eq(harness_run(&harness, 0, &list.base), 0);
    cr_assert_eq(list.count, 1);
    struct store_edit edit = {
        .base.op = STORE_EDIT, .fields = NOTIFICATION_EDIT_TITLE, .title = BYTES("new"), .at = 5};
    memcpy(edit.id, list.items[0].id, NOTIFICATION_ID_LEN);
    store_request_finish(&list.base);
    retract_post(&harness, &post);
    cr_expect_eq(harness_run(&harness, 0, &edit.base), STATUS_NOT_FOUND, "%d", edit.base.status);
    store_request_finish(&edit.base);
    expect_position(&harness, user_of("ann"), 1, 2, 0); /* it went, and was not changed */
    harness_close(&harness);
}

BOTH(a_sweep_of_one_row_at_a_time_comes_to_an_end)
{
    enum { STEPS_MAX = 50 };
    struct bytes users[] = {BYTES("ann"), BYTES("ben"), BYTES("cid")};
    struct harness harness;
    harness_open(&harness, url);
    struct store_audience_post list = post_of(NULL, 1);
    list.kind = AUDIENCE_LIST;
    list.users = users;
    list.user_count = ARRAY_LEN(users);
    post_many(&harness, &list);
    (void)post_to(&harness, "news", 2);
    bool more = true;
    for (unsigned steps = 0; more; steps++) {
        struct store_sweep sweep = {
            .base.op = STORE_AUDIENCE_SWEEP, .now = 1800000000000, .limit = 1, .tombstone_ms = 1};
        cr_assert_lt(steps, STEPS_MAX, "it never ends");
        cr_assert_eq(harness_run(&harness, 0, &sweep.base), 0);
        more = sweep.more;
        store_request_finish(&sweep.base);
    }
    struct store_posted_from from = {.after = 0};
    struct store_posted posted = {
        .base.op = STORE_POSTED, .tenants = &from, .tenant_count = 1, .limit = 10};
    cr_assert_eq(harness_run(&harness, 0, &posted.base), 0);
    cr_expect_eq(posted.post_count, 0, "%zu are left", posted.post_count);
    store_request_finish(&posted.base);
    expect_position(&harness, user_of("ann"), 0, 0, 0);
    harness_close(&harness);
}

/* Nobody has what was taken back first: the sweep goes on behind it. */
BOTH(a_sweep_goes_on_behind_retractions_that_nobody_has)
{
    enum { NOBODYS = 7 }; /* more than a sweep's limit */
    struct harness harness;
    harness_open(&harness, url);
    struct store_row row = row_of(user_of("ann"), 1, 1);
    put_row(&harness, &row);
    for (uint64_t i = 1; i <= NOBODYS; i++) {
        struct store_audience_post post = post_of("nobody", i);
        post_many(&harness, &post);
        retract_post(&harness, &post);
    }
    struct store_audience_post last = post_of(NULL, NOBODYS + 1);
    post_many(&harness, &last);
    expect_position(&harness, user_of("ann"), 2, 2, 2);
    retract_post(&harness, &last);
    cr_expect_eq(sweep_audiences(&harness, 100, 1000), 1, "ann's");
    expect_current(&harness, "ann", 2, 1);
    harness_close(&harness);
}
