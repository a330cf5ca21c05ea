/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is older, or more, than a tenant keeps, on both engines. Order of this file: what goes of an
 * inbox, the walk, posts to many.
 */
#include <criterion/criterion.h>
#include <libpq-fe.h>
#include <stdio.h>

#include "codec/base/clock.h"
#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "sql/store_edit.h"
#include "tests/unit/sql/audience.h"
#include "tests/unit/sql/both.h"

static const uint64_t NOW = 1700000100000;
static const uint64_t DAY = 86400000;

static struct store_retention keep_rows(uint32_t rows)
{
    return (struct store_retention){
        .sweep = {.base.op = STORE_RETAIN, .now = NOW, .limit = 100}, .usual.rows = rows};
}

static struct store_retention keep_age(uint64_t age_ms)
{
    return (struct store_retention){
        .sweep = {.base.op = STORE_RETAIN, .now = NOW, .limit = 100}, .usual.age_ms = age_ms};
}

/* Rows that a step took; of each user all have one rev, and are told in their order. */
static size_t count_taken(const struct store_sweep *sweep)
{
    size_t taken = 0;
    for (size_t i = 0; i < sweep->user_count; i++) {
        const struct store_swept *swept = &sweep->users[i];
        taken += swept->change_count;
        cr_expect_not(swept->news);
        for (size_t j = 0; j < swept->change_count; j++) {
            cr_expect_eq(swept->changes[j].rev, swept->position.rev);
            cr_expect_eq(swept->changes[j].state, NOTIFICATION_EXPIRED);
            cr_expect_eq(swept->changes[j].at, sweep->now);
        }
    }
    return taken;
}

/* Step until each part has been looked through; how many rows went. */
static size_t walk(struct harness *harness, struct store_retention retention)
{
    enum { STEPS_MAX = 1000 };
    size_t taken = 0;
    unsigned done = 0;
    for (unsigned steps = 0; done != (1u << STORE_RETENTION_PARTS) - 1; steps++) {
        cr_assert_lt(steps, STEPS_MAX, "it never ends");
        cr_assert_eq(
            harness_run(harness, 0, &retention.sweep.base), 0, "%d", retention.sweep.base.status);
        size_t step = count_taken(&retention.sweep);
        cr_assert_leq(step, retention.sweep.limit);
        cr_assert_leq(retention.looked, retention.sweep.limit);
        taken += step;
        done |= retention.done ? 1u << retention.part : 0;
        store_request_finish(&retention.sweep.base);
    }
    return taken;
}

/* Rows of `who`, created a second after each other, the last one at `last`. */
static void put_rows(struct harness *harness, struct store_user who, unsigned count, uint64_t last)
{
    for (unsigned i = 0; i < count; i++) {
        struct store_row row = row_of(who, last * 1000 + i, i);
        row.created_at = last - (count - 1 - i) * UINT64_C(1000);
        give_row(&row, who);
        put_row(harness, &row);
    }
}

/* The rows that are there, whatever their state: how many, and the lowest seq. */
static size_t count_rows(struct harness *harness, struct store_user who, uint64_t *ret_lowest)
{
    struct store_list list = {.base.op = STORE_LIST, .who = who, .limit = 100, .states = 0xff};
    cr_assert_eq(harness_run(harness, 0, &list.base), 0);
    size_t count = list.count;
    *ret_lowest = UINT64_MAX;
    for (size_t i = 0; i < count; i++) {
        *ret_lowest = list.items[i].seq < *ret_lowest ? list.items[i].seq : *ret_lowest;
    }
    store_request_finish(&list.base);
    return count;
}

static void expect_rows(struct harness *harness, const char *user, size_t count, uint64_t lowest)
{
    uint64_t found;
    cr_expect_eq(count_rows(harness, user_of(user), &found), count);
    cr_expect_eq(found, lowest, "%lu, not %lu", found, lowest);
}

/* What goes of an inbox. */

BOTH(beyond_the_newest_rows_the_oldest_go)
{
    struct harness harness;
    harness_open(&harness, url);
    put_rows(&harness, user_of("alice"), 10, NOW);
    put_rows(&harness, user_of("bob"), 4, NOW);
    struct store_mark read = mark_of(user_of("alice"), NOTIFICATION_MARK_READ, 5);
    read.up_to = 2;
    cr_assert_eq(harness_run(&harness, 0, &read.base), 0);
    store_request_finish(&read.base);
    cr_expect_eq(walk(&harness, keep_rows(4)), 6);
    expect_position(&harness, user_of("alice"), 10, 12, 4);
    expect_position(&harness, user_of("bob"), 4, 4, 4);
    expect_rows(&harness, "alice", 4, 7);
    cr_expect_eq(walk(&harness, keep_rows(4)), 0);
    cr_expect_eq(walk(&harness, keep_rows(0)), 0, "0 is any number");
    struct store_sync sync = {
        .base.op = STORE_SYNC, .who = user_of("alice"), .rev = 11, .limit = 100};
    cr_assert_eq(harness_run(&harness, 0, &sync.base), 0);
    cr_expect_eq(sync.change_count, 6, "they have tombstones");
    cr_expect_eq(sync.item_count, 0);
    store_request_finish(&sync.base);
    struct store_row again = row_of(user_of("alice"), NOW * 1000, 0);
    put_row(&harness, &again);
    cr_expect_eq(again.outcome, OUTCOME_DUPLICATE, "its key is kept");
    harness_close(&harness);
}

BOTH(holes_do_not_count_as_rows)
{
    struct harness harness;
    harness_open(&harness, url);
    put_rows(&harness, user_of("alice"), 10, NOW);
    struct store_mark erase = erase_of(user_of("alice"), 5);
    erase.up_to = 9;
    erase.states = notification_mark_states(NOTIFICATION_MARK_DELETE, true);
    cr_assert_eq(harness_run(&harness, 0, &erase.base), 0);
    store_request_finish(&erase.base);
    put_rows(&harness, user_of("alice"), 3, NOW + 50000);
    cr_expect_eq(walk(&harness, keep_rows(4)), 0);
    cr_expect_eq(walk(&harness, keep_rows(3)), 1);
    expect_rows(&harness, "alice", 3, 11);
    harness_close(&harness);
}

BOTH(what_is_older_goes_read_or_not)
{
    struct harness harness;
    harness_open(&harness, url);
    put_rows(&harness, user_of("alice"), 10, NOW);
    struct store_mark archive = mark_of(user_of("alice"), NOTIFICATION_MARK_ARCHIVE, 5);
    archive.up_to = 3;
    cr_assert_eq(harness_run(&harness, 0, &archive.base), 0);
    store_request_finish(&archive.base);
    cr_expect_eq(walk(&harness, keep_age(5000)), 5, "it is as old, so it goes");
    expect_rows(&harness, "alice", 5, 6);
    expect_position(&harness, user_of("alice"), 10, 12, 5);
    cr_expect_eq(walk(&harness, keep_age(5000)), 0);
    cr_expect_eq(walk(&harness, keep_age(NOW + 1)), 0, "older than all time");
    harness_close(&harness);
}

BOTH(what_is_snoozed_stays_until_it_is_back_and_is_new_then)
{
    struct harness harness;
    harness_open(&harness, url);
    put_rows(&harness, user_of("alice"), 10, NOW - DAY);
    struct store_mark snooze = mark_of(user_of("alice"), NOTIFICATION_MARK_SNOOZE, 5);
    snooze.states = notification_mark_states(NOTIFICATION_MARK_SNOOZE, true);
    snooze.up_to = 3;
    snooze.until = NOW - 10;
    cr_assert_eq(harness_run(&harness, 0, &snooze.base), 0);
    store_request_finish(&snooze.base);
    cr_expect_eq(walk(&harness, keep_age(1000)), 7);
    expect_rows(&harness, "alice", 3, 1);
    cr_expect_eq(walk(&harness, keep_rows(1)), 0);
    struct store_sweep sweep = {
        .base.op = STORE_SWEEP, .now = NOW - 10, .limit = 100, .tombstone_ms = NOW};
    cr_assert_eq(harness_run(&harness, 0, &sweep.base), 0);
    store_request_finish(&sweep.base);
    expect_position(&harness, user_of("alice"), 10, 13, 3);
    cr_expect_eq(walk(&harness, keep_age(1000)), 0, "it came back a moment ago");
    cr_expect_eq(walk(&harness, keep_rows(2)), 1, "and is on top of the list");
    expect_rows(&harness, "alice", 2, 2);
    harness_close(&harness);
}

BOTH(what_shares_a_row_is_as_old_as_its_last_post)
{
    struct harness harness;
    harness_open(&harness, url);
    struct store_row row = row_of(user_of("alice"), 1, 1);
    row.created_at = NOW - DAY;
    row.collapse = BYTES("likes");
    give_row(&row, user_of("alice"));
    put_row(&harness, &row);
    put_rows(&harness, user_of("alice"), 3, NOW - DAY / 2);
    struct store_row other = row_of(user_of("alice"), 2, 2);
    other.created_at = NOW - 500;
    other.collapse = BYTES("likes");
    give_row(&other, user_of("alice"));
    put_row(&harness, &other);
    cr_assert_eq(other.outcome, OUTCOME_COLLAPSED);
    cr_expect_eq(walk(&harness, keep_age(1000)), 3);
    expect_rows(&harness, "alice", 1, 1);
    put_rows(&harness, user_of("alice"), 1, NOW);
    cr_expect_eq(walk(&harness, keep_rows(2)), 0);
    cr_expect_eq(walk(&harness, keep_age(500)), 1);
    harness_close(&harness);
}

/* Its place in the list is that of before, and so is its age. */
BOTH(other_content_makes_nothing_younger)
{
    struct harness harness;
    harness_open(&harness, url);
    put_rows(&harness, user_of("alice"), 1, NOW - DAY);
    put_rows(&harness, user_of("alice"), 1, NOW);
    struct store_row row = row_of(user_of("alice"), 7, 7);
    row.created_at = NOW - DAY;
    give_row(&row, user_of("bob"));
    put_row(&harness, &row);
    struct store_edit edit = {.base.op = STORE_EDIT,
        .fields = NOTIFICATION_EDIT_TITLE,
        .item.title = BYTES("new"),
        .at = NOW};
    memcpy(edit.id, row.id, NOTIFICATION_ID_LEN);
    cr_assert_eq(harness_run(&harness, 0, &edit.base), 0);
    store_request_finish(&edit.base);
    cr_expect_eq(walk(&harness, keep_age(1000)), 2);
    harness_close(&harness);
}

/* The walk. */

BOTH(each_tenant_has_its_own_rule)
{
    struct harness harness;
    harness_open(&harness, url);
    static const char *const tenants[] = {"acme", "zoo", "", "other"};
    struct store_retention retention = keep_rows(5);
    const struct store_retention_rule rules[] = {
        {.tenant = BYTES("acme"), .rows = 2}, {.tenant = BYTES("zoo"), .age_ms = 3000}};
    retention.rules = rules;
    retention.rule_count = ARRAY_LEN(rules);
    for (size_t i = 0; i < ARRAY_LEN(tenants); i++) {
        struct store_user who = {.tenant = bytes_str(tenants[i]), .user = BYTES("u")};
        put_rows(&harness, who, 10, NOW);
    }
    cr_expect_eq(walk(&harness, retention), 8 + 7 + 5 + 5);
    uint64_t lowest;
    static const uint64_t left[] = {2, 3, 5, 5};
    for (size_t i = 0; i < ARRAY_LEN(tenants); i++) {
        struct store_user who = {.tenant = bytes_str(tenants[i]), .user = BYTES("u")};
        cr_expect_eq(count_rows(&harness, who, &lowest), left[i], "%s", tenants[i]);
        cr_expect_eq(lowest, 11 - left[i]);
    }
    harness_close(&harness);
}

BOTH(it_goes_in_steps_also_within_an_inbox)
{
    struct harness harness;
    harness_open(&harness, url);
    static const char *const users[] = {"alice", "bob", "carol", "dave", "eve"};
    for (size_t i = 0; i < ARRAY_LEN(users); i++) {
        put_rows(&harness, user_of(users[i]), 10, NOW);
    }
    struct store_mark snooze = mark_of(user_of("bob"), NOTIFICATION_MARK_SNOOZE, 5);
    snooze.states = notification_mark_states(NOTIFICATION_MARK_SNOOZE, true);
    snooze.up_to = 4;
    snooze.until = NOW + DAY;
    cr_assert_eq(harness_run(&harness, 0, &snooze.base), 0);
    store_request_finish(&snooze.base);
    struct store_retention retention = keep_rows(2);
    retention.sweep.limit = 3;
    cr_expect_eq(walk(&harness, retention), 4 * 8 + 4, "bob's first four are passed by");
    for (size_t i = 0; i < ARRAY_LEN(users); i++) {
        bool bob = i == 1;
        expect_rows(&harness, users[i], bob ? 6 : 2, bob ? 1 : 9);
        struct store_position position = position_of(&harness, user_of(users[i]));
        cr_expect_eq(position.unread, 2);
        cr_expect_gt(position.rev, bob ? 12 : 11, "it took more than one step");
    }
    harness_close(&harness);
}

/* As often as it is told to; who asks in between finds nothing to do. */
BOTH(all_is_looked_through_so_often)
{
    struct harness harness;
    harness_open(&harness, url);
    put_rows(&harness, user_of("alice"), 3, NOW);
    (void)walk(&harness, keep_rows(1));
    struct store_retention retention = keep_rows(1);
    retention.every_ms = DAY;
    put_rows(&harness, user_of("alice"), 3, NOW + 9000);
    cr_assert_eq(harness_run(&harness, 0, &retention.sweep.base), 0);
    cr_expect_not(retention.sweep.more);
    cr_expect_not(retention.done);
    cr_expect_eq(retention.looked, 0);
    cr_expect_eq(retention.sweep.late_ms, 0);
    cr_expect_eq(retention.sweep.user_count, 0);
    store_request_finish(&retention.sweep.base);
    cr_expect_eq(walk(&harness, keep_rows(1)), 3);
    harness_close(&harness);
}

/* A clock of whoever asks is none of the store's: 0 stands for that. */
BOTH(the_time_is_the_stores)
{
    struct harness harness;
    harness_open(&harness, url);
    uint64_t now = clock_wall_ms();
    put_rows(&harness, user_of("alice"), 1, now - DAY);
    put_rows(&harness, user_of("alice"), 1, now);
    struct store_retention retention = keep_age(DAY / 2);
    retention.sweep.now = 0;
    cr_expect_eq(walk(&harness, retention), 1);
    harness_close(&harness);
}

/* Two stores of one database at once: each row goes once, and all go. */
Test(postgres, nodes_share_a_walk)
{
    enum { USERS = 60, ROWS = 6 };
    char url[URL_MAX];
    harness_url("postgres", url);
    struct harness *nodes = mem_alloc_array(2, sizeof(*nodes));
    harness_open(&nodes[0], url);
    harness_open(&nodes[1], url);
    for (unsigned i = 0; i < USERS; i++) {
        char name[16];
        (void)snprintf(name, sizeof(name), "u%u", i);
        put_rows(&nodes[0], user_of(name), ROWS, NOW);
    }
    size_t taken[2] = {0};
    unsigned done = 0;
    struct store_retention steps[2] = {keep_rows(1), keep_rows(1)};
    while (done != (1u << STORE_RETENTION_PARTS) - 1) {
        for (size_t i = 0; i < 2; i++) {
            steps[i].sweep.limit = 7;
            steps[i].sweep.base.done = harness_done;
            store_submit(nodes[i].shards[0].port, &steps[i].sweep.base);
        }
        for (unsigned i = 0; i < 2; i++) {
            harness_wait_all(&nodes[i], 0, 1);
            cr_assert_eq(steps[i].sweep.base.status, 0);
            taken[i] += count_taken(&steps[i].sweep);
            done |= steps[i].done ? 1u << steps[i].part : 0;
            store_request_finish(&steps[i].sweep.base);
        }
    }
    cr_expect_eq(taken[0] + taken[1], USERS * (ROWS - 1), "%zu and %zu", taken[0], taken[1]);
    cr_expect_gt(taken[0], 0);
    cr_expect_gt(taken[1], 0);
    harness_close(&nodes[0]);
    harness_close(&nodes[1]);
    mem_free(nodes);
}

/* Posts to many. */

static struct store_audience_post post_at(uint64_t created_at, uint64_t key)
{
    struct store_audience_post post = post_of(NULL, key);
    post.created_at = created_at;
    return post;
}

static size_t count_of(struct harness *harness, const char *user)
{
    uint64_t lowest;
    return count_rows(harness, user_of(user), &lowest);
}

/* Who comes back late gets what is kept, in numbers without holes. */
BOTH(posts_as_old_are_not_made_any_more)
{
    struct harness harness;
    harness_open(&harness, url);
    put_rows(&harness, user_of("here"), 1, NOW);
    put_rows(&harness, user_of("away"), 1, NOW);
    for (uint64_t i = 0; i < 5; i++) {
        struct store_audience_post post = post_at(NOW - (5 - i) * DAY, i);
        post_many(&harness, &post);
    }
    cr_expect_eq(count_of(&harness, "here"), 6);
    struct store_retention retention = keep_age(3 * DAY);
    cr_expect_eq(walk(&harness, retention), 0, "they lie behind what is younger");
    cr_expect_eq(count_of(&harness, "away"), 3);
    expect_position(&harness, user_of("away"), 3, 3, 3);
    retention.sweep.now = NOW + 4 * DAY;
    cr_expect_eq(walk(&harness, retention), 6 + 3);
    cr_expect_eq(count_of(&harness, "here"), 0);
    expect_position(&harness, user_of("here"), 6, 7, 0);
    harness_close(&harness);
}

/* A post is there as long as anybody has a row of it: to be taken back, and changed. */
BOTH(a_post_is_kept_as_long_as_rows_of_it)
{
    struct harness harness;
    harness_open(&harness, url);
    put_rows(&harness, user_of("alice"), 1, NOW);
    struct store_audience_post first = post_at(NOW - 2 * DAY, 1);
    struct store_audience_post second = post_at(NOW - 2 * DAY, 2);
    post_many(&harness, &first);
    post_many(&harness, &second);
    cr_expect_eq(count_of(&harness, "alice"), 3);
    for (uint32_t i = 0; i < 3; i++) {
        struct store_retention retention = keep_age(DAY);
        retention.sweep.limit = 3 - i; /* each step comes further, however small */
        cr_expect_eq(walk(&harness, retention), 0);
    }
    retract_post(&harness, &first);
    cr_expect_eq(count_of(&harness, "alice"), 2);
    struct store_retract find = {.base.op = STORE_RETRACT, .only_find = true};
    memcpy(find.id, second.id, NOTIFICATION_ID_LEN);
    cr_expect_eq(harness_run(&harness, 0, &find.base), 0);
    store_request_finish(&find.base);
    struct store_mark erase = erase_of(user_of("alice"), 5);
    cr_assert_eq(harness_run(&harness, 0, &erase.base), 0);
    store_request_finish(&erase.base);
    (void)walk(&harness, keep_age(DAY));
    cr_expect_eq(harness_run(&harness, 0, &find.base), STATUS_NOT_FOUND, "nobody has a row of it");
    store_request_finish(&find.base);
    harness_close(&harness);
}

BOTH(a_list_goes_with_its_post)
{
    enum { MEMBERS = 25 };
    struct harness harness;
    harness_open(&harness, url);
    char names[MEMBERS][16];
    struct bytes users[MEMBERS];
    for (unsigned i = 0; i < MEMBERS; i++) {
        (void)snprintf(names[i], sizeof(names[i]), "u%u", i);
        users[i] = bytes_str(names[i]);
    }
    struct store_audience_post post = post_at(NOW - 2 * DAY, 1);
    post.kind = AUDIENCE_LIST;
    post.users = users;
    post.user_count = MEMBERS;
    post_many(&harness, &post);
    struct store_retention retention = keep_age(DAY);
    retention.sweep.limit = 10;
    (void)walk(&harness, retention);
    struct store_retract find = {.base.op = STORE_RETRACT, .only_find = true};
    memcpy(find.id, post.id, NOTIFICATION_ID_LEN);
    cr_expect_eq(harness_run(&harness, 0, &find.base), 0, "it has ended, with this walk");
    store_request_finish(&find.base);
    cr_expect_eq(count_of(&harness, "u3"), 0);
    (void)walk(&harness, retention);
    cr_expect_eq(harness_run(&harness, 0, &find.base), STATUS_NOT_FOUND);
    store_request_finish(&find.base);
    harness_close(&harness);
}
