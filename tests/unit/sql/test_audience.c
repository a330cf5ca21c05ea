/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Posts to many: who gets them, in what order, once; keys, taking back, dropping.
 */
#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "codec/base/clock.h"
#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "codec/slot.h"
#include "sql/audience.h"
#include "sql/store_forget.h"
#include "tests/unit/sql/audience.h"
#include "tests/unit/sql/both.h"

static void expect_rows(struct harness *harness, const char *user, uint64_t rows)
{
    expect_position(harness, user_of(user), rows, rows, rows);
}

BOTH(a_post_to_everybody_is_in_each_inbox_that_there_was)
{
    struct harness harness;
    harness_open(&harness, url);
    struct store_row row = row_of(user_of("ann"), 1, 1);
    put_row(&harness, &row);
    cr_expect_eq(post_to(&harness, NULL, 1), 1);
    cr_expect_eq(post_to(&harness, NULL, 2), 2);
    struct store_list list = {.base.op = STORE_LIST, .who = user_of("ann"), .limit = 10};
    cr_assert_eq(harness_run(&harness, 0, &list.base), 0);
    cr_assert_eq(list.count, 3);
    cr_expect_eq(list.position.unread, 3);
    cr_expect_eq(list.items[0].seq, 3);
    cr_expect_eq(list.items[0].audience, AUDIENCE_ALL);
    cr_expect_eq(list.items[0].audience_name.len, 0);
    cr_expect_eq(slot_of_id(list.items[0].id), slot_of(BYTES(""), BYTES("ann")));
    cr_expect_eq(list.items[1].created_at, 1700000000001);
    cr_expect_eq(list.items[2].audience, AUDIENCE_NONE);
    store_request_finish(&list.base);
    expect_rows(&harness, "ben", 0);
    row = row_of(user_of("ben"), 1, 1);
    put_row(&harness, &row);
    cr_expect_eq(row.seq, 1);
    expect_rows(&harness, "ben", 1);
    harness_close(&harness);
}

BOTH(an_inbox_begins_when_its_user_comes)
{
    struct harness harness;
    harness_open(&harness, url);
    struct store_user who = user_of("ann");
    struct store_positions positions = {
        .base.op = STORE_POSITIONS, .users = &who, .count = 1, .begin = true};
    cr_assert_eq(harness_run(&harness, 1, &positions.base), 0);
    cr_expect_eq(positions.positions[0].rev, 0);
    store_request_finish(&positions.base);
    expect_rows(&harness, "ben", 0); /* asking is not coming */
    (void)post_to(&harness, NULL, 1);
    expect_rows(&harness, "ann", 1);
    expect_rows(&harness, "ben", 0);
    harness_close(&harness);
}

BOTH(a_list_that_is_kept_for_later_begins_no_inbox)
{
    struct harness harness;
    harness_open(&harness, url);
    const struct bytes users[] = {BYTES("ann")};
    struct store_audience_post post = post_of(NULL, 1);
    post.kind = AUDIENCE_LIST;
    post.users = users;
    post.user_count = ARRAY_LEN(users);
    post.deliver_at = clock_wall_ms() + 100000000;
    post_many(&harness, &post);
    expect_rows(&harness, "ann", 0); /* a look is not the first post */
    (void)post_to(&harness, NULL, 2);
    expect_rows(&harness, "ann", 0);
    harness_close(&harness);
}

BOTH(who_comes_before_it_expires_gets_what_is_for_new_ones_too)
{
    struct harness harness;
    harness_open(&harness, url);
    struct store_audience_post post = post_of(NULL, 1);
    post.include_new = true;
    post.expires_at = clock_wall_ms() + 100000000;
    post_many(&harness, &post);
    struct store_audience_post gone = post_of(NULL, 2);
    gone.include_new = true;
    gone.expires_at = clock_wall_ms() - 100000;
    post_many(&harness, &gone);
    expect_rows(&harness, "ann", 0); /* who has no inbox is not made one by a look */
    struct store_row row = row_of(user_of("ann"), 1, 1);
    put_row(&harness, &row);
    cr_expect_eq(row.seq, 2, "the post comes first");
    cr_expect_eq(row.rev, 2);
    cr_expect_eq(row.unread, 2);
    expect_rows(&harness, "ann", 2);
    harness_close(&harness);
}

BOTH(a_topic_is_for_who_is_subscribed_at_the_moment)
{
    struct harness harness;
    harness_open(&harness, url);
    struct store_audience_post first = post_of("news", 1);
    post_many(&harness, &first);
    cr_expect(first.nobody);
    cr_expect(subscribe_to(&harness, "ann", "news"));
    cr_expect_not(subscribe_to(&harness, "ann", "news"));
    struct store_audience_post second = post_of("news", 2);
    post_many(&harness, &second);
    cr_expect_not(second.nobody);
    (void)post_to(&harness, "weather", 3);
    cr_expect(subscribe_to(&harness, "ben", "news"));
    expect_rows(&harness, "ann", 1);
    expect_rows(&harness, "ben", 0);
    struct store_list list = {.base.op = STORE_LIST, .who = user_of("ann"), .limit = 10};
    cr_assert_eq(harness_run(&harness, 2, &list.base), 0);
    cr_expect_eq(list.items[0].audience, AUDIENCE_TOPIC);
    cr_expect(bytes_eq_str(list.items[0].audience_name, "news"));
    cr_expect(memcmp(list.items[0].audience_id, second.id, NOTIFICATION_ID_LEN) == 0);
    store_request_finish(&list.base);
    harness_close(&harness);
}

BOTH(who_leaves_and_comes_back_has_two_intervals)
{
    struct harness harness;
    harness_open(&harness, url);
    uint64_t key = 0;
    for (unsigned round = 0; round < 3; round++) {
        cr_expect(subscribe_to(&harness, "ann", "news"));
        (void)post_to(&harness, "news", ++key);
        (void)post_to(&harness, "news", ++key);
        cr_expect(unsubscribe_from(&harness, "ann", "news"));
        cr_expect_not(unsubscribe_from(&harness, "ann", "news"));
        (void)post_to(&harness, "news", ++key);
    }
    expect_rows(&harness, "ann", 6);
    struct store_list list = {
        .base.op = STORE_LIST, .who = user_of("ann"), .limit = 10, .ascending = true};
    static const uint64_t keys[] = {1, 2, 4, 5, 7, 8};
    cr_assert_eq(harness_run(&harness, 0, &list.base), 0);
    cr_assert_eq(list.count, 6);
    for (size_t i = 0; i < list.count; i++) {
        cr_expect_eq(list.items[i].created_at, 1700000000000 + keys[i], "in the order of posts");
    }
    store_request_finish(&list.base);
    harness_close(&harness);
}

static void post_list(struct harness *harness, const char *const *users, size_t count,
    struct store_audience_post *post)
{
    struct bytes *names = mem_alloc_array(count, sizeof(*names));
    for (size_t i = 0; i < count; i++) {
        names[i] = bytes_str(users[i]);
    }
    post->kind = AUDIENCE_LIST;
    post->users = names;
    post->user_count = count;
    post_many(harness, post);
    mem_free(names);
}

BOTH(a_list_is_for_whom_it_names)
{
    static const char *const users[] = {"ann", "ben", "ann", "cid"};
    struct harness harness;
    harness_open(&harness, url);
    struct store_audience_post post = post_of(NULL, 1);
    post_list(&harness, users, ARRAY_LEN(users), &post);
    expect_rows(&harness, "ann", 1); /* who has had no inbox, too */
    expect_rows(&harness, "ben", 1);
    expect_rows(&harness, "dan", 0);
    struct store_topics topics = {.base.op = STORE_TOPICS, .limit = 10};
    cr_assert_eq(harness_run(&harness, 0, &topics.base), 0);
    cr_expect_eq(topics.count, 0, "a list is no topic");
    store_request_finish(&topics.base);
    struct store_audience_post again = post_of(NULL, 1);
    post_list(&harness, users, ARRAY_LEN(users), &again);
    cr_expect_eq(again.outcome, OUTCOME_DUPLICATE);
    expect_rows(&harness, "ann", 1);
    harness_close(&harness);
}

BOTH(a_key_is_used_once_by_audience)
{
    struct harness harness;
    harness_open(&harness, url);
    struct store_audience_post first = post_of("news", 1);
    post_many(&harness, &first);
    struct store_audience_post again = post_of("news", 1);
    post_many(&harness, &again);
    cr_expect_eq(again.outcome, OUTCOME_DUPLICATE);
    cr_expect_eq(again.n, first.n);
    cr_expect(memcmp(again.id, first.id, NOTIFICATION_ID_LEN) == 0);
    struct store_audience_post other = post_of("news", 1);
    other.content_hash[0] ^= 1;
    post_many(&harness, &other);
    cr_expect_eq(other.outcome, OUTCOME_CONFLICT);
    struct store_audience_post topic = first;
    uuid7_make(1, SLOT_NONE, topic.id);
    topic.name = BYTES("weather");
    post_many(&harness, &topic);
    cr_expect_eq(topic.outcome, OUTCOME_STORED);
    cr_expect_eq(topic.n, first.n + 1, "repeats take no number");
    struct store_audience_post all = first;
    uuid7_make(1, SLOT_NONE, all.id);
    all.kind = AUDIENCE_ALL;
    all.name = (struct bytes){0};
    post_many(&harness, &all);
    cr_expect_eq(all.outcome, OUTCOME_STORED);
    harness_close(&harness);
}

BOTH(what_is_written_comes_behind_what_was_posted)
{
    struct harness harness;
    harness_open(&harness, url);
    cr_expect(subscribe_to(&harness, "ann", "news"));
    (void)post_to(&harness, "news", 1);
    struct store_row rows[2] = {row_of(user_of("ann"), 1, 1), row_of(user_of("ben"), 1, 1)};
    struct store_put put = {.base.op = STORE_PUT, .rows = rows, .count = 2};
    cr_assert_eq(harness_run(&harness, 0, &put.base), 0);
    store_request_finish(&put.base);
    cr_expect_eq(rows[0].seq, 2);
    cr_expect_eq(rows[0].unread, 2);
    cr_expect_eq(rows[1].seq, 1);
    (void)post_to(&harness, "news", 2);
    struct store_mark mark = mark_of(user_of("ann"), NOTIFICATION_MARK_READ, 5);
    mark.up_to = UINT64_MAX;
    cr_assert_eq(harness_run(&harness, 0, &mark.base), 0);
    cr_expect_eq(mark.change_count, 3, "up to now: %zu", mark.change_count);
    cr_expect_eq(mark.position.seq, 3);
    cr_expect_eq(mark.position.rev, 4);
    cr_expect_eq(mark.position.unread, 0);
    store_request_finish(&mark.base);
    harness_close(&harness);
}

/* So many that they are made in several transactions. */
enum { BACKLOG = 2300 };

static void post_backlog(struct harness *harness)
{
    cr_expect(subscribe_to(harness, "ann", "news"));
    for (uint64_t key = 1; key <= BACKLOG; key++) {
        (void)post_to(harness, key % 2 ? "news" : NULL, key);
    }
}

BOTH(what_was_missed_is_made_in_steps)
{
    struct harness harness;
    harness_open(&harness, url);
    post_backlog(&harness);
    struct store_sync sync = {.base.op = STORE_SYNC, .who = user_of("ann"), .limit = 1000};
    cr_assert_eq(harness_run(&harness, 3, &sync.base), 0);
    cr_expect_eq(sync.position.seq, BACKLOG);
    cr_expect_eq(sync.position.unseen, BACKLOG);
    cr_assert_eq(sync.item_count, 1000);
    for (size_t i = 0; i < sync.item_count; i++) {
        cr_assert_eq(sync.items[i].created_at, 1700000000001 + i);
        cr_assert_eq(sync.items[i].seq, i + 1);
    }
    store_request_finish(&sync.base);
    harness_close(&harness);
}

BOTH(a_write_waits_for_all_that_was_missed)
{
    struct harness harness;
    harness_open(&harness, url);
    post_backlog(&harness);
    struct store_row rows[2] = {row_of(user_of("ann"), 1, 1), row_of(user_of("ben"), 1, 1)};
    struct store_put puts[2] = {
        {.base = {.op = STORE_PUT, .done = harness_done}, .rows = &rows[0], .count = 1},
        {.base = {.op = STORE_PUT, .done = harness_done}, .rows = &rows[1], .count = 1}};
    struct store_mark mark = mark_of(user_of("ann"), NOTIFICATION_MARK_READ, 5);
    mark.up_to = UINT64_MAX;
    mark.base.done = harness_done;
    store_submit(harness.shards[0].port, &puts[0].base);
    store_submit(harness.shards[0].port, &puts[1].base);
    store_submit(harness.shards[0].port, &mark.base);
    harness_wait_all(&harness, 0, 3);
    cr_assert_eq(puts[0].base.status, 0);
    cr_assert_eq(puts[1].base.status, 0);
    cr_assert_eq(mark.base.status, 0);
    cr_expect_eq(rows[0].seq, BACKLOG + 1);
    cr_expect_eq(rows[0].rev, BACKLOG + 1);
    cr_expect_eq(rows[1].seq, 1);
    cr_expect_eq(mark.total, BACKLOG + 1, "in the order in which they were asked");
    store_request_finish(&puts[0].base);
    store_request_finish(&puts[1].base);
    store_request_finish(&mark.base);
    harness_close(&harness);
}

BOTH(what_is_taken_back_is_in_no_inbox)
{
    struct harness harness;
    harness_open(&harness, url);
    cr_expect(subscribe_to(&harness, "ann", "news"));
    cr_expect(subscribe_to(&harness, "ben", "news"));
    cr_expect(subscribe_to(&harness, "cid", "news"));
    struct store_audience_post post = post_of("news", 1);
    post_many(&harness, &post);
    (void)post_to(&harness, "news", 2);
    expect_rows(&harness, "ann", 2); /* has it; the others do not yet */
    expect_rows(&harness, "ben", 2);
    struct store_list list = {.base.op = STORE_LIST, .who = user_of("ann"), .limit = 10};
    cr_assert_eq(harness_run(&harness, 0, &list.base), 0);
    struct store_get get = {.base.op = STORE_GET};
    memcpy(get.id, list.items[1].id, NOTIFICATION_ID_LEN);
    store_request_finish(&list.base);
    cr_expect(unsubscribe_from(&harness, "ann", "news")); /* who has left loses it too */
    retract_post(&harness, &post);
    cr_expect_eq(harness_run(&harness, 0, &get.base), STATUS_NOT_FOUND);
    store_request_finish(&get.base);
    expect_position(&harness, user_of("ann"), 2, 3, 1); /* at once when read */
    expect_position(&harness, user_of("cid"), 1, 1, 1); /* never had it */
    cr_expect_eq(sweep_audiences(&harness, 100, 1000), 1, "the sweep takes it from ben");
    expect_position(&harness, user_of("ben"), 2, 3, 1);
    struct store_retract twice = {.base.op = STORE_RETRACT};
    memcpy(twice.id, post.id, NOTIFICATION_ID_LEN);
    cr_expect_eq(harness_run(&harness, 0, &twice.base), STATUS_NOT_FOUND);
    struct store_sync sync = {.base.op = STORE_SYNC, .who = user_of("ben"), .rev = 2, .limit = 10};
    cr_assert_eq(harness_run(&harness, 0, &sync.base), 0);
    cr_assert_eq(sync.change_count, 1);
    cr_expect_eq(sync.changes[0].state, NOTIFICATION_ERASED);
    cr_expect_eq(sync.changes[0].seq, 1);
    store_request_finish(&sync.base);
    cr_expect_eq(sweep_audiences(&harness, 100, 1000), 0);
    cr_expect_eq(sweep_audiences(&harness, 100, 1000), 0);
    harness_close(&harness);
}

BOTH(what_is_old_or_has_expired_is_dropped_and_rows_stay)
{
    static const char *const users[] = {"ann", "ben", "cid", "dan", "eve"};
    struct harness harness;
    harness_open(&harness, url);
    cr_expect(subscribe_to(&harness, "ann", "news"));
    (void)post_to(&harness, "news", 1);
    expect_rows(&harness, "ann", 1);
    struct store_audience_post late = post_of("news", 2);
    late.expires_at = 5;
    post_many(&harness, &late); /* expired before anybody had it */
    expect_rows(&harness, "ann", 1);
    struct store_audience_post list = post_of(NULL, 3);
    post_list(&harness, users, ARRAY_LEN(users), &list);
    expect_rows(&harness, "ann", 2);
    cr_expect_eq(sweep_audiences(&harness, 1700000000003 + 1000, 1000), 0);
    expect_rows(&harness, "ann", 2);
    expect_rows(&harness, "ben", 0);
    struct store_posted_from from = {.after = 0};
    struct store_posted posted = {
        .base.op = STORE_POSTED, .tenants = &from, .tenant_count = 1, .limit = 10};
    cr_assert_eq(harness_run(&harness, 0, &posted.base), 0);
    cr_expect_eq(posted.post_count, 0, "%zu are left", posted.post_count);
    cr_expect_eq(posted.heads[0], 3);
    store_request_finish(&posted.base);
    (void)post_to(&harness, "news", 4);
    expect_rows(&harness, "ann", 3);
    harness_close(&harness);
}

BOTH(a_cursor_finds_posts_of_several_tenants)
{
    struct harness harness;
    harness_open(&harness, url);
    for (uint64_t i = 0; i < 5; i++) {
        struct store_audience_post post = post_of(i % 2 ? "news" : NULL, i + 1);
        post.tenant = i == 4 ? BYTES("b") : BYTES("a");
        post_many(&harness, &post);
        cr_expect_eq(post.n, i == 4 ? 1 : i + 1);
    }
    struct store_posted_from from[] = {
        {.tenant = BYTES("a"), .after = 1}, {.tenant = BYTES("b")}, {.tenant = BYTES("c")}};
    struct store_posted posted = {
        .base.op = STORE_POSTED, .tenants = from, .tenant_count = 3, .limit = 2};
    cr_assert_eq(harness_run(&harness, 0, &posted.base), 0);
    cr_assert_eq(posted.post_count, 2);
    cr_expect(posted.more);
    cr_expect_eq(posted.posts[0].n, 2);
    cr_expect_eq(posted.posts[0].kind, AUDIENCE_TOPIC);
    cr_expect(bytes_eq_str(posted.posts[0].name, "news"));
    cr_expect_eq(posted.posts[1].kind, AUDIENCE_ALL);
    cr_expect_eq(posted.heads[0], 3);
    cr_expect_eq(posted.heads[1], 0);
    from[0].after = posted.heads[0];
    store_request_finish(&posted.base);
    cr_assert_eq(harness_run(&harness, 0, &posted.base), 0);
    cr_assert_eq(posted.post_count, 2);
    cr_expect_eq(posted.posts[1].tenant, 1);
    cr_expect_eq(posted.heads[0], 4);
    cr_expect_eq(posted.heads[1], 1);
    store_request_finish(&posted.base);
    from[0].after = 1;
    posted.tenant_count = 1; /* of one tenant alone there are more, too */
    cr_assert_eq(harness_run(&harness, 0, &posted.base), 0);
    cr_expect_eq(posted.post_count, 2);
    cr_expect(posted.more);
    store_request_finish(&posted.base);
    posted.tenant_count = 3;
    from[0].after = UINT64_MAX;
    from[1].after = 1;
    cr_assert_eq(harness_run(&harness, 0, &posted.base), 0);
    cr_expect_eq(posted.post_count, 0);
    cr_expect_not(posted.more);
    cr_expect_eq(posted.heads[0], 4);
    store_request_finish(&posted.base);
    harness_close(&harness);
}

BOTH(topics_and_subscribers_are_listed_by_name)
{
    static const char *const topics_of_ann[] = {"a", "b", "c"};
    struct harness harness;
    harness_open(&harness, url);
    struct bytes users[] = {BYTES("ann"), BYTES("ben"), BYTES("cid"), BYTES("ben")};
    struct store_subscribe subscribe = {.base.op = STORE_SUBSCRIBE,
        .topic = BYTES("b"),
        .users = users,
        .user_count = ARRAY_LEN(users)};
    cr_assert_eq(harness_run(&harness, 0, &subscribe.base), 0);
    cr_expect_eq(subscribe.changed, 3);
    cr_expect(subscribe_to(&harness, "ann", "c"));
    cr_expect(subscribe_to(&harness, "ann", "a"));
    struct store_subscribers subscribers = {
        .base.op = STORE_SUBSCRIBERS, .topic = BYTES("b"), .limit = 2};
    cr_assert_eq(harness_run(&harness, 0, &subscribers.base), 0);
    cr_assert_eq(subscribers.count, 2);
    cr_expect(subscribers.more);
    cr_expect(bytes_eq_str(subscribers.names[1], "ben"));
    store_request_finish(&subscribers.base);
    subscribers.after = BYTES("ben");
    cr_assert_eq(harness_run(&harness, 0, &subscribers.base), 0);
    cr_assert_eq(subscribers.count, 1);
    cr_expect_not(subscribers.more);
    store_request_finish(&subscribers.base);
    for (int of_user = 0; of_user < 2; of_user++) {
        struct store_topics topics = {
            .base.op = STORE_TOPICS, .of_user = of_user == 1, .user = BYTES("ann"), .limit = 3};
        cr_assert_eq(harness_run(&harness, 0, &topics.base), 0);
        cr_assert_eq(topics.count, 3);
        cr_expect_not(topics.more);
        for (size_t i = 0; i < topics.count; i++) {
            cr_expect(bytes_eq_str(topics.names[i], topics_of_ann[i]));
        }
        store_request_finish(&topics.base);
        topics.limit = 2;
        topics.after = BYTES("a");
        cr_assert_eq(harness_run(&harness, 0, &topics.base), 0);
        cr_expect_eq(topics.count, 2);
        cr_expect_not(topics.more);
        store_request_finish(&topics.base);
    }
    subscribe.remove = true;
    cr_assert_eq(harness_run(&harness, 0, &subscribe.base), 0);
    cr_expect_eq(subscribe.changed, 3);
    subscribers.after = (struct bytes){0};
    cr_assert_eq(harness_run(&harness, 0, &subscribers.base), 0);
    cr_expect_eq(subscribers.count, 0);
    store_request_finish(&subscribers.base);
    harness_close(&harness);
}

BOTH(a_user_has_so_many_topics_and_no_more)
{
    struct harness harness;
    harness_open(&harness, url);
    for (unsigned i = 0; i < STORE_TOPICS_MAX; i++) {
        char name[16];
        (void)snprintf(name, sizeof(name), "t%u", i);
        cr_assert(subscribe_to(&harness, "ann", name));
    }
    cr_expect_not(subscribe_to(&harness, "ann", "one more"));
    struct bytes user = BYTES("ann");
    struct store_subscribe subscribe = {
        .base.op = STORE_SUBSCRIBE, .topic = BYTES("one more"), .users = &user, .user_count = 1};
    cr_assert_eq(harness_run(&harness, 0, &subscribe.base), 0);
    cr_expect_eq(subscribe.full, 1);
    cr_expect_not(subscribe_to(&harness, "ann", "t7"));
    cr_expect(unsubscribe_from(&harness, "ann", "t7"));
    cr_expect(subscribe_to(&harness, "ann", "one more"));
    (void)post_to(&harness, "one more", 1);
    (void)post_to(&harness, "t7", 2);
    expect_rows(&harness, "ann", 1);
    harness_close(&harness);
}

BOTH(a_fenced_post_moves_the_position_or_is_nothing)
{
    struct harness harness;
    harness_open(&harness, url);
    struct store_claim claim = {.base.op = STORE_CLAIM, .partition = 0, .owner = BYTES("n")};
    cr_assert_eq(harness_run(&harness, 0, &claim.base), 0);
    struct store_audience_post post = post_of(NULL, 1);
    post.fenced = true;
    post.token = claim.token;
    post.last_id = BYTES("7-0");
    store_request_finish(&claim.base);
    post_many(&harness, &post);
    cr_expect_eq(post.n, 1);
    cr_assert_eq(harness_run(&harness, 0, &claim.base), 0);
    cr_expect(bytes_eq_str(claim.last_id, "7-0"));
    store_request_finish(&claim.base);
    struct store_audience_post late = post_of(NULL, 2);
    late.fenced = true;
    late.token = post.token;
    late.last_id = BYTES("8-0");
    cr_expect_eq(harness_run(&harness, 0, &late.base), STATUS_FENCED);
    store_request_finish(&late.base);
    cr_expect_eq(post_to(&harness, NULL, 2), 2);
    harness_close(&harness);
}

BOTH(who_is_erased_is_in_no_audience_and_lacks_nothing)
{
    struct harness harness;
    harness_open(&harness, url);
    cr_expect(subscribe_to(&harness, "ann", "news"));
    (void)post_to(&harness, "news", 1);
    expect_rows(&harness, "ann", 1);
    (void)post_to(&harness, "news", 2);
    struct store_forget forget = {.base.op = STORE_FORGET, .who = user_of("ann")};
    cr_assert_eq(harness_run(&harness, 0, &forget.base), 0);
    cr_expect_eq(forget.erased[STORE_FORGOTTEN_TOPICS], 1);
    cr_expect_eq(forget.erased[STORE_FORGOTTEN_NOTIFICATIONS], 1);
    store_request_finish(&forget.base);
    expect_position(&harness, user_of("ann"), 1, 2, 0);
    (void)post_to(&harness, "news", 3);
    expect_position(&harness, user_of("ann"), 1, 2, 0);
    (void)post_to(&harness, NULL, 4); /* who is there again is part of everybody */
    expect_position(&harness, user_of("ann"), 2, 3, 1);
    harness_close(&harness);
}

/* What the connections of this process to SQLite do, as the hooks of SQLite tell. */
static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER; /* held: nothing is committed */
static _Atomic unsigned rows_now;
static _Atomic unsigned rows_most; /* put into inboxes by one transaction */

static void on_change(
    void *context, int what, const char *database, const char *table, sqlite3_int64 rowid)
{
    bool made = what == SQLITE_INSERT && strcmp(table, "notification") == 0;
    rows_now += made;
    rows_most = rows_now > rows_most ? rows_now : rows_most;
}

static int on_commit(void *context)
{
    pthread_mutex_lock(&gate);
    rows_now = 0;
    pthread_mutex_unlock(&gate);
    return 0;
}

static void on_rollback(void *context)
{
    rows_now = 0;
}

static int watch(sqlite3 *db, char **ret_error, const void *unused)
{
    (void)sqlite3_update_hook(db, on_change, NULL);
    (void)sqlite3_commit_hook(db, on_commit, NULL);
    (void)sqlite3_rollback_hook(db, on_rollback, NULL);
    return 0;
}

enum { MISSED = 6000, SERVED_MAX = 8 };

/* Post to everybody and two topics of ann's; every seventh has expired. How many are for her. */
static uint64_t post_much(struct harness *harness)
{
    static const char *const topics[] = {NULL, "news", "weather"};
    struct store_audience_post *posts = mem_alloc_array(MISSED, sizeof(*posts));
    uint64_t due = 0;
    for (uint64_t i = 0; i < MISSED; i++) {
        posts[i] = post_of(topics[i % 3], i + 1);
        posts[i].expires_at = i % 7 == 0 ? 1 : 0;
        posts[i].base.done = harness_done;
        due += i % 7 != 0;
        store_submit(harness->shards[0].port, &posts[i].base);
    }
    harness_wait_all(harness, 0, MISSED);
    for (uint64_t i = 0; i < MISSED; i++) {
        cr_assert_eq(posts[i].base.status, 0);
        store_request_finish(&posts[i].base);
    }
    mem_free(posts);
    return due;
}

/* Requests in the order in which they were answered. */
static const struct store_request *served[SERVED_MAX];
static size_t served_count;

static void note_served(struct store_request *request)
{
    served[served_count++] = request;
    harness_done(request);
}

Test(sqlite, others_are_served_between_the_steps_of_what_was_missed)
{
    char url[URL_MAX];
    struct harness harness;
    harness_url("sqlite", url);
    cr_assert_eq(sqlite3_auto_extension((void (*)(void))watch), SQLITE_OK);
    harness_open(&harness, url);
    cr_expect(subscribe_to(&harness, "ann", "news"));
    cr_expect(subscribe_to(&harness, "ann", "weather"));
    uint64_t due = post_much(&harness);
    static const char *const names[] = {"cid", "ann", "ben"};
    struct store_row rows[ARRAY_LEN(names)];
    struct store_put puts[ARRAY_LEN(names)];
    rows_most = 0;
    pthread_mutex_lock(&gate); /* until all are queued */
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        rows[i] = row_of(user_of(names[i]), 1, 1);
        puts[i] = (struct store_put){
            .base = {.op = STORE_PUT, .done = note_served}, .rows = &rows[i], .count = 1};
        store_submit(harness.shards[0].port, &puts[i].base);
    }
    struct store_mark mark = mark_of(user_of("ann"), NOTIFICATION_MARK_READ, 5);
    mark.up_to = UINT64_MAX;
    mark.base.done = note_served;
    store_submit(harness.shards[0].port, &mark.base);
    pthread_mutex_unlock(&gate);
    harness_wait_all(&harness, 0, 4);
    cr_expect_eq(served[0], &puts[0].base);
    cr_expect_eq(served[1], &puts[2].base, "who lacks nothing does not wait");
    cr_expect_eq(served[2], &puts[1].base);
    cr_expect_eq(served[3], &mark.base, "one user's are in the order in which they were asked");
    cr_expect_leq(
        rows_most, AUDIENCE_INLINE_MAX + ARRAY_LEN(names), "%u rows in one transaction", rows_most);
    cr_expect_eq(rows[1].seq, due + 1);
    cr_expect_eq(rows[2].seq, 1);
    cr_expect_eq(mark.total, due + 1);
    for (size_t i = 1; i < mark.change_count; i++) {
        cr_assert_eq(mark.changes[i].seq, mark.changes[i - 1].seq + 1);
    }
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        cr_expect_eq(puts[i].base.status, 0);
        store_request_finish(&puts[i].base);
    }
    store_request_finish(&mark.base);
    struct store_list list = {
        .base.op = STORE_LIST, .who = user_of("ann"), .limit = 100, .ascending = true};
    cr_assert_eq(harness_run(&harness, 0, &list.base), 0);
    for (uint64_t i = 0, n = 0; i < list.count; i++, n++) {
        n += n % 7 == 0;
        cr_assert_eq(list.items[i].created_at, 1700000000001 + n, "in the order of posts");
    }
    store_request_finish(&list.base);
    harness_close(&harness);
}
