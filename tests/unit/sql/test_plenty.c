/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What comes in plenty: nothing of it is left out, and no step does more than its share.
 */
#include "codec/base/clock.h"
#include "codec/base/mem.h"
#include "sql/store_schedule.h"
#include "tests/unit/sql/audience.h"
#include "tests/unit/sql/both.h"

enum { TAKEN_BACK = 520, LISTS = 3, TENANTS = 4, SHARED = 12 };

BOTH(all_that_was_taken_back_is_gone_however_much_it_is)
{
    struct harness harness;
    harness_open(&harness, url);
    cr_expect(subscribe_to(&harness, "ann", "news"));
    struct store_audience_post *posts = mem_alloc_array(TAKEN_BACK, sizeof(*posts));
    for (uint64_t i = 0; i < TAKEN_BACK; i++) {
        posts[i] = post_of("news", i + 1);
        post_many(&harness, &posts[i]);
    }
    expect_position(&harness, user_of("ann"), TAKEN_BACK, TAKEN_BACK, TAKEN_BACK);
    for (size_t i = 0; i < TAKEN_BACK; i++) {
        retract_post(&harness, &posts[i]);
    }
    struct store_list list = {.base.op = STORE_LIST, .who = user_of("ann"), .limit = 10};
    cr_assert_eq(harness_run(&harness, 1, &list.base), 0);
    cr_expect_eq(list.count, 0, "%zu are there", list.count);
    cr_expect_eq(list.position.unread, 0, "%llu", (unsigned long long)list.position.unread);
    store_request_finish(&list.base);
    mem_free(posts);
    harness_close(&harness);
}

/* A look that reads little still tells of each tenant where it stands. */
BOTH(a_cursor_leaves_no_tenant_out)
{
    static const struct store_posted_from from[TENANTS] = {
        {.tenant = {"a", 1}}, {.tenant = {"b", 1}}, {.tenant = {"c", 1}}, {.tenant = {"d", 1}}};
    struct store_posted_from tenants[TENANTS];
    memcpy(tenants, from, sizeof(tenants));
    struct harness harness;
    harness_open(&harness, url);
    struct store_audience_post post = post_of(NULL, 1);
    post.tenant = tenants[TENANTS - 1].tenant;
    post_many(&harness, &post);
    struct store_posted posted = {
        .base.op = STORE_POSTED, .tenants = tenants, .tenant_count = TENANTS, .limit = 1};
    cr_assert_eq(harness_run(&harness, 0, &posted.base), 0);
    cr_assert_eq(posted.post_count, 1);
    cr_expect_eq(posted.posts[0].tenant, TENANTS - 1);
    cr_expect_eq(posted.heads[TENANTS - 1], 1);
    cr_expect_not(posted.more);
    store_request_finish(&posted.base);
    harness_close(&harness);
}

/* Lists nobody gets any more go with their users: so many users, and the rest the next time. */
BOTH(what_has_expired_goes_in_steps_with_its_lists)
{
    struct harness harness;
    harness_open(&harness, url);
    char(*names)[16] = mem_alloc_array(STORE_AUDIENCE_USERS_MAX, sizeof(*names));
    struct bytes *users = mem_alloc_array(STORE_AUDIENCE_USERS_MAX, sizeof(*users));
    for (size_t i = 0; i < STORE_AUDIENCE_USERS_MAX; i++) {
        (void)snprintf(names[i], sizeof(names[i]), "user-%05zu", i);
        users[i] = bytes_str(names[i]);
    }
    for (uint64_t i = 0; i < LISTS; i++) {
        struct store_audience_post post = post_of(NULL, i + 1);
        post.kind = AUDIENCE_LIST;
        post.users = users;
        post.user_count = STORE_AUDIENCE_USERS_MAX;
        post.deliver_at = clock_wall_ms() - 1000;
        post.expires_at = post.deliver_at + 1;
        post_many(&harness, &post);
    }
    struct store_due due = {.base.op = STORE_DUE, .parts = 1, .limit = 10, .max_bytes = INT64_MAX};
    for (size_t i = 0; i < LISTS; i++) {
        cr_assert_eq(harness_run(&harness, 0, &due.base), 0);
        cr_expect_eq(due.expired, 1, "%llu at once", (unsigned long long)due.expired);
        cr_expect_eq(due.more, i + 1 < LISTS);
        store_request_finish(&due.base);
    }
    cr_assert_eq(harness_run(&harness, 0, &due.base), 0);
    cr_expect_eq(due.expired, 0);
    cr_expect_not(due.more);
    store_request_finish(&due.base);
    mem_free(users);
    mem_free(names);
    harness_close(&harness);
}

/* What a row remembers is part of what a page tells. */
BOTH(a_page_of_a_sync_counts_what_digests_remember)
{
    struct harness harness;
    harness_open(&harness, url);
    struct store_user who = user_of("ann");
    char text[200];
    memset(text, 'x', sizeof(text));
    for (uint64_t i = 0; i < 2 * SHARED; i++) {
        struct store_row row = row_of(who, i, i);
        row.type = i % 2 ? BYTES("comment") : BYTES("like");
        row.title = BYTES("short");
        row.message = bytes_of(text, i < 2 * SHARED - 2 ? sizeof(text) : 1);
        row.digest_ms = 3600000;
        put_row(&harness, &row);
    }
    struct store_sync sync = {
        .base.op = STORE_SYNC, .who = who, .limit = 10, .max_bytes = sizeof(text)};
    cr_assert_eq(harness_run(&harness, 0, &sync.base), 0);
    cr_expect_eq(sync.item_count, 1, "%zu", sync.item_count);
    cr_expect_not(sync.done);
    store_request_finish(&sync.base);
    harness_close(&harness);
}
