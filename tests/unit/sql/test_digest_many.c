/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Posts to many in digests: they join as posts to one do, whenever their rows are made; and what is
 * taken back or changed of them.
 *
 * Order of this file: helpers, joining, coming later, taking back, other content, what is dropped.
 */
#include <stdio.h>
#include <uv.h>

#include "codec/base/clock.h"
#include "codec/base/status.h"
#include "codec/notification_digest.h"
#include "sql/store_forget.h"
#include "sql/store_preference.h"
#include "tests/unit/sql/audience.h"
#include "tests/unit/sql/both.h"
#include "tests/unit/sql/sharing.h"

enum { SPAN = SHARING_SPAN, TRIES = 3000, PAUSE_MS = 5 };
static const uint64_t start = SHARING_START;

/* Store a comment to the topic that is posted `after` ms. */
static struct store_audience_post say(
    struct harness *harness, uint64_t key, uint64_t after, const char *title)
{
    struct store_audience_post post = comment_to("news", key, after);
    post.title = bytes_str(title);
    post_many(harness, &post);
    return post;
}

static void expect_unseen(struct harness *harness, struct store_user who, uint64_t unseen)
{
    cr_expect_eq(position_of(harness, who).unseen, unseen);
}

/* The newest row, whose texts are not told. */
static struct store_row newest_of(struct harness *harness, struct store_user who)
{
    struct store_list list = {.base.op = STORE_LIST, .who = who, .limit = 1};
    cr_assert_eq(harness_run(harness, 0, &list.base), 0);
    cr_assert_eq(list.count, 1);
    struct store_row row = {.who = who};
    memcpy(row.id, list.items[0].id, NOTIFICATION_ID_LEN);
    store_request_finish(&list.base);
    return row;
}

/* Sweep as nodes do until `want` were reached: in Postgres open transactions are waited for. */
static void sweep_until(struct harness *harness, size_t want)
{
    size_t reached = 0;
    for (unsigned tries = 0; tries < TRIES && reached < want; tries++) {
        reached += sweep_audiences(harness, 100, 1000);
        uv_sleep(reached < want ? PAUSE_MS : 0);
    }
    cr_expect_eq(reached, want, "%zu were reached", reached);
}

/* --- joining --- */

BOTH(posts_to_many_and_to_one_share_a_row)
{
    struct harness harness;
    harness_open(&harness, url);
    struct store_user ann = user_of("ann");
    cr_expect(subscribe_to(&harness, "ann", "news"));
    (void)say(&harness, 1, 0, "first");
    expect_position(&harness, ann, 1, 1, 1);
    expect_newest(&harness, ann, 1, 0, "first ");
    struct store_row first = newest_of(&harness, ann);
    mark_row(&harness, &first, NOTIFICATION_MARK_SEEN);
    struct store_row row = comment_of(ann, 2, 1000);
    row.title = BYTES("second");
    put_row(&harness, &row);
    expect_row(&row, (struct wanted){OUTCOME_COLLAPSED, 1, 3, 1, 1, 2});
    cr_expect(memcmp(row.id, first.id, NOTIFICATION_ID_LEN) == 0, "the id stays");
    mark_row(&harness, &first, NOTIFICATION_MARK_SEEN);
    expect_unseen(&harness, ann, 0);
    struct store_audience_post third = say(&harness, 3, SPAN - 1, "third");
    expect_position(&harness, ann, 1, 5, 1);
    expect_unseen(&harness, ann, 1);
    expect_newest(&harness, ann, 3, 0, "third second first ");
    struct store_list list = {.base.op = STORE_LIST, .who = ann, .limit = 2};
    cr_assert_eq(harness_run(&harness, 0, &list.base), 0);
    cr_assert_eq(list.count, 1);
    const struct notification_item *item = &list.items[0];
    cr_expect(bytes_eq_str(item->title, "third"));
    cr_expect_eq(item->created_at, start);
    cr_expect_eq(item->updated_at, start + SPAN - 1);
    cr_expect_eq(item->state, NOTIFICATION_UNREAD);
    cr_expect_eq(item->new_rev, 5);
    cr_expect_eq(item->audience, AUDIENCE_TOPIC);
    cr_expect(memcmp(item->audience_id, third.id, NOTIFICATION_ID_LEN) == 0, "of what is shown");
    struct bytes digest = item->digest;
    struct notification_digest_entry entry;
    cr_assert(notification_digest_take(&digest, &entry));
    cr_expect(memcmp(entry.id, third.id, NOTIFICATION_ID_LEN) == 0, "each has the post's id");
    store_request_finish(&list.base);
    (void)say(&harness, 4, SPAN, "apart");
    expect_position(&harness, ann, 2, 6, 2);
    expect_newest(&harness, ann, 1, 0, "apart ");
    row = comment_of(ann, 5, SPAN + 1);
    put_row(&harness, &row);
    expect_row(&row, (struct wanted){OUTCOME_COLLAPSED, 2, 7, 2, 2, 2});
    cr_assert_eq(harness_run(&harness, 0, &list.base), 0);
    cr_expect_eq(list.items[0].audience, AUDIENCE_NONE, "what is shown was to one");
    store_request_finish(&list.base);
    harness_close(&harness);
}

BOTH(what_a_user_prefers_holds_for_posts_to_many)
{
    struct harness harness;
    harness_open(&harness, url);
    prefer(&harness, user_of("ann"), SHARING_HOURLY);
    prefer(&harness, user_of("ben"), SHARING_NEVER);
    expect_position(&harness, user_of("cid"), 0, 0, 0);
    struct store_positions begin = {.base.op = STORE_POSITIONS, .begin = true};
    const struct store_user cid = user_of("cid");
    begin.users = &cid;
    begin.count = 1;
    cr_assert_eq(harness_run(&harness, 0, &begin.base), 0);
    store_request_finish(&begin.base);
    for (uint64_t i = 0; i < 4; i++) {
        struct store_audience_post post = comment_to(NULL, i + 1, i);
        post.digest_ms = i < 2 ? SPAN : 0; /* the default changes */
        post_many(&harness, &post);
    }
    expect_position(&harness, user_of("ann"), 1, 4, 1);
    expect_position(&harness, user_of("ben"), 4, 4, 4);
    expect_position(&harness, user_of("cid"), 3, 4, 3);
    harness_close(&harness);
}

BOTH(urgent_posts_to_many_stay_apart_whatever_they_become)
{
    struct harness harness;
    harness_open(&harness, url);
    static const struct store_revise urgent = {
        .fields = NOTIFICATION_EDIT_PRIORITY, .priority = NOTIFICATION_URGENT, .at = 1800000000000};
    static const struct store_revise low = {
        .fields = NOTIFICATION_EDIT_PRIORITY, .priority = NOTIFICATION_LOW, .at = 1800000000000};
    cr_expect(subscribe_to(&harness, "ann", "news"));
    cr_expect(subscribe_to(&harness, "ben", "news"));
    struct store_audience_post posts[3];
    for (uint64_t i = 0; i < 3; i++) {
        posts[i] = comment_to("news", i + 1, i);
        posts[i].priority = i == 1 ? NOTIFICATION_URGENT : NOTIFICATION_LOW;
        post_many(&harness, &posts[i]);
        expect_position(&harness, user_of("ann"), i == 0 ? 1 : 2, i + 1, i == 0 ? 1 : 2);
    }
    revise_post(&harness, &posts[1], &low);
    revise_post(&harness, &posts[2], &urgent);
    expect_position(&harness, user_of("ann"), 2, 4, 2);
    expect_position(&harness, user_of("ben"), 2, 3, 2);
    harness_close(&harness);
}

/* --- coming later --- */

/* What is remembered, but ids. */
static void describe_digest(struct bytes digest, struct builder *out)
{
    struct notification_digest_entry entry;
    cr_expect(notification_digest_is_valid(digest));
    while (notification_digest_take(&digest, &entry)) {
        builder_str(out, "\n  ");
        builder_u64(out, entry.at);
        builder_byte(out, ' ');
        builder_u64(out, (uint64_t)entry.priority);
        builder_byte(out, ' ');
        builder_add(out, entry.title);
        builder_byte(out, ' ');
        builder_add(out, entry.message);
        builder_add(out, entry.data);
    }
}

/* All that is told of the rows of a user, but ids. */
static void describe(struct harness *harness, struct store_user who, struct builder *out)
{
    struct store_list list = {.base.op = STORE_LIST, .who = who, .limit = 100};
    cr_assert_eq(harness_run(harness, 0, &list.base), 0);
    char numbers[256];
    (void)snprintf(numbers, sizeof(numbers), "seq %lu rev %lu unread %lu unseen %lu\n",
        list.position.seq, list.position.rev, list.position.unread, list.position.unseen);
    builder_str(out, numbers);
    for (size_t i = 0; i < list.count; i++) {
        const struct notification_item *item = &list.items[i];
        (void)snprintf(numbers, sizeof(numbers),
            "%lu %lu %lu state %d priority %d at %lu till %lu count %lu updated %lu to %d ",
            item->seq, item->rev, item->new_rev, item->state, item->priority, item->created_at,
            item->expires_at, item->count, item->updated_at, item->audience);
        builder_str(out, numbers);
        builder_add(out, item->audience_name);
        builder_byte(out, ' ');
        builder_add(out, item->type);
        builder_byte(out, ' ');
        builder_add(out, item->title);
        builder_byte(out, ' ');
        builder_add(out, item->message);
        builder_byte(out, ' ');
        builder_add(out, item->data);
        builder_byte(out, ' ');
        describe_digest(item->digest, out);
        builder_byte(out, '\n');
    }
    store_request_finish(&list.base);
}

static void expect_alike(struct harness *harness, struct store_user one, struct store_user other)
{
    struct builder texts[2] = {{0}};
    describe(harness, one, &texts[0]);
    describe(harness, other, &texts[1]);
    cr_expect(bytes_eq(builder_bytes(&texts[0]), builder_bytes(&texts[1])), "%.*s---\n%.*s",
        (int)builder_bytes(&texts[0]).len, builder_bytes(&texts[0]).at,
        (int)builder_bytes(&texts[1]).len, builder_bytes(&texts[1]).at);
    builder_reset(&texts[0]);
    builder_reset(&texts[1]);
}

BOTH(who_comes_a_day_later_sees_what_who_was_there_does)
{
    struct harness harness;
    harness_open(&harness, url);
    struct store_user online = user_of("ann");
    struct store_user later = user_of("ben");
    struct store_user between = user_of("cid");
    static const char *const titles[] = {"red", "green", "blue", "white"};
    static const char *const types[] = {"comment", "reply", "comment", "plain", "comment"};
    const struct store_user all[] = {online, later, between};
    cr_expect(subscribe_to(&harness, "ann", "news"));
    cr_expect(subscribe_to(&harness, "ben", "news"));
    cr_expect(subscribe_to(&harness, "cid", "news"));
    struct store_audience_post posts[60];
    for (uint64_t i = 0; i < ARRAY_LEN(posts); i++) {
        posts[i] = comment_to("news", i + 1, i * SPAN / 7 - (i % 6 == 5 ? SPAN / 3 : 0));
        posts[i].type = bytes_str(types[i % ARRAY_LEN(types)]);
        posts[i].title = bytes_str(titles[i % ARRAY_LEN(titles)]);
        posts[i].digest_ms = i % ARRAY_LEN(types) == 3 ? 0 : i % 11 == 3 ? SPAN / 2 : SPAN;
        posts[i].priority = i % 13 == 7 ? NOTIFICATION_URGENT : NOTIFICATION_MEDIUM;
        posts[i].expires_at = i % 4 == 1 ? UINT64_C(4000000000000) + i : 0;
        post_many(&harness, &posts[i]);
        (void)position_of(&harness, online);
        if (i % 17 == 9) {
            (void)position_of(&harness, between);
        }
        for (size_t k = 0; k < ARRAY_LEN(all) && i % 19 == 13; k++) {
            struct store_row row = comment_of(all[k], 1000 + i, i * SPAN / 7);
            put_row(&harness, &row);
        }
    }
    expect_alike(&harness, online, later);
    expect_alike(&harness, online, between);
    static const struct store_revise change = {
        .fields = NOTIFICATION_EDIT_TITLE | NOTIFICATION_EDIT_DATA,
        .title = {.at = "changed", .len = 7},
        .data = {.at = "[2]", .len = 3},
        .at = 1800000000000};
    revise_post(&harness, &posts[58], &change);
    revise_post(&harness, &posts[59], &change);
    retract_post(&harness, &posts[57]);
    expect_alike(&harness, online, later);
    harness_close(&harness);
}

BOTH(what_was_changed_before_somebody_came_is_there_as_if_it_came_after)
{
    struct harness harness;
    harness_open(&harness, url);
    static const struct store_revise change = {
        .fields = NOTIFICATION_EDIT_TITLE | NOTIFICATION_EDIT_MESSAGE,
        .title = {.at = "changed", .len = 7},
        .message = {.at = "other", .len = 5},
        .at = 1800000000000};
    struct store_user who[] = {user_of("ann"), user_of("ben")};
    cr_expect(subscribe_to(&harness, "ann", "news"));
    cr_expect(subscribe_to(&harness, "ben", "news"));
    struct store_audience_post posts[4];
    for (uint64_t i = 0; i < ARRAY_LEN(posts); i++) {
        posts[i] = say(&harness, i + 1, i, "as it was");
        (void)position_of(&harness, who[0]);
    }
    revise_post(&harness, &posts[0], &change);
    revise_post(&harness, &posts[3], &change);
    retract_post(&harness, &posts[2]);
    struct store_list lists[2];
    for (size_t i = 0; i < 2; i++) {
        lists[i] = (struct store_list){.base.op = STORE_LIST, .who = who[i], .limit = 10};
        cr_assert_eq(harness_run(&harness, 0, &lists[i].base), 0);
        cr_assert_eq(lists[i].count, 1);
        cr_expect_eq(lists[i].items[0].count, 3);
        cr_expect(bytes_eq_str(lists[i].items[0].title, "changed"));
        cr_expect(bytes_eq_str(lists[i].items[0].message, "other"));
        cr_expect_eq(lists[i].items[0].created_at, start);
        cr_expect_eq(lists[i].position.unread, 1);
    }
    cr_expect(bytes_eq(lists[0].items[0].digest, lists[1].items[0].digest));
    expect_titles(lists[1].items[0].digest, "changed as it was changed ");
    store_request_finish(&lists[0].base);
    store_request_finish(&lists[1].base);
    harness_close(&harness);
}

/* --- taking back --- */

BOTH(what_is_taken_back_leaves_the_digest)
{
    struct harness harness;
    harness_open(&harness, url);
    struct store_user ann = user_of("ann");
    cr_expect(subscribe_to(&harness, "ann", "news"));
    struct store_audience_post posts[5];
    static const char *const titles[] = {"a", "b", "c", "d", "e"};
    for (uint64_t i = 0; i < ARRAY_LEN(posts); i++) {
        posts[i] = say(&harness, i + 1, i, titles[i]);
    }
    struct store_row one = comment_of(ann, 9, 9);
    one.title = BYTES("one");
    put_row(&harness, &one);
    expect_newest(&harness, ann, 6, 0, "one e d c b a ");
    struct store_row row = newest_of(&harness, ann);
    expect_position(&harness, ann, 1, 6, 1);
    retract_post(&harness, &posts[2]);
    expect_newest(&harness, ann, 5, 0, "one e d b a ");
    expect_position(&harness, ann, 1, 7, 1);
    retract_post(&harness, &posts[0]);
    retract_post(&harness, &posts[3]);
    expect_newest(&harness, ann, 3, 0, "one e b ");
    expect_position(&harness, ann, 1, 8, 1);
    struct store_sync sync = {.base.op = STORE_SYNC, .who = ann, .rev = 7, .limit = 10};
    cr_assert_eq(harness_run(&harness, 0, &sync.base), 0);
    cr_assert_eq(sync.item_count, 1);
    cr_expect_eq(sync.items[0].new_rev, 6, "it is no news");
    cr_expect_eq(sync.items[0].created_at, start, "the window stays");
    cr_expect(memcmp(sync.items[0].id, row.id, NOTIFICATION_ID_LEN) == 0);
    cr_expect(bytes_eq_str(sync.items[0].title, "one"));
    store_request_finish(&sync.base);
    mark_row(&harness, &row, NOTIFICATION_MARK_READ);
    retract_post(&harness, &posts[1]);
    expect_newest(&harness, ann, 2, 0, "one e ");
    expect_position(&harness, ann, 1, 10, 0);
    sweep_until(&harness, 0);
    harness_close(&harness);
}

BOTH(what_is_shown_is_replaced_by_the_one_before_it)
{
    struct harness harness;
    harness_open(&harness, url);
    struct store_user ann = user_of("ann");
    cr_expect(subscribe_to(&harness, "ann", "news"));
    struct store_row one = comment_of(ann, 9, 0);
    one.title = BYTES("one");
    put_row(&harness, &one);
    char data[NOTIFICATION_DIGEST_DATA + 2];
    memset(data, ' ', sizeof(data));
    data[0] = '7';
    struct builder text = {0};
    for (unsigned i = 0; i < 300; i++) {
        builder_str(&text, "\xe2\x82\xac");
    }
    struct store_audience_post large = comment_to("news", 1, 1);
    large.title = BYTES("large");
    large.message = builder_bytes(&text);
    large.data = bytes_of(data, sizeof(data));
    large.priority = NOTIFICATION_LOW;
    post_many(&harness, &large);
    struct store_audience_post last = say(&harness, 2, 2, "last");
    expect_newest(&harness, ann, 3, 0, "last large one ");
    retract_post(&harness, &last);
    struct store_list list = {.base.op = STORE_LIST, .who = ann, .limit = 10};
    cr_assert_eq(harness_run(&harness, 0, &list.base), 0);
    cr_assert_eq(list.count, 1);
    cr_expect_eq(list.items[0].count, 2);
    cr_expect(bytes_eq_str(list.items[0].title, "large"));
    cr_expect(bytes_eq(list.items[0].message, builder_bytes(&text)), "all of it");
    cr_expect(bytes_eq(list.items[0].data, bytes_of(data, sizeof(data))));
    cr_expect_eq(list.items[0].priority, NOTIFICATION_LOW);
    cr_expect_eq(list.items[0].audience, AUDIENCE_TOPIC);
    cr_expect(memcmp(list.items[0].audience_id, large.id, NOTIFICATION_ID_LEN) == 0);
    store_request_finish(&list.base);
    retract_post(&harness, &large);
    cr_assert_eq(harness_run(&harness, 0, &list.base), 0);
    cr_expect_eq(list.items[0].count, 1);
    cr_expect(bytes_eq_str(list.items[0].title, "one"));
    cr_expect(bytes_eq_str(list.items[0].data, "{\"id\": 7}"), "a small one is remembered");
    cr_expect_eq(list.items[0].audience, AUDIENCE_NONE);
    expect_titles(list.items[0].digest, "one ");
    store_request_finish(&list.base);
    expect_position(&harness, ann, 1, 5, 1);
    builder_reset(&text);
    harness_close(&harness);
}

BOTH(a_digest_goes_when_nothing_is_left_of_it)
{
    struct harness harness;
    harness_open(&harness, url);
    static const char *const users[] = {"ann", "ben", "cid", "dan"};
    for (size_t i = 0; i < ARRAY_LEN(users); i++) {
        cr_expect(subscribe_to(&harness, users[i], "news"));
    }
    struct store_audience_post posts[3];
    for (uint64_t i = 0; i < ARRAY_LEN(posts); i++) {
        posts[i] = say(&harness, i + 1, i, "all");
    }
    for (size_t i = 0; i < 3; i++) {
        expect_position(&harness, user_of(users[i]), 1, 3, 1);
    }
    const struct store_row row = newest_of(&harness, user_of("cid"));
    struct store_mark erase = erase_of(user_of("cid"), 5); /* of its own accord */
    erase.ids = &row.id;
    erase.id_count = 1;
    cr_assert_eq(harness_run(&harness, 0, &erase.base), 0);
    store_request_finish(&erase.base);
    for (uint64_t i = 0; i < ARRAY_LEN(posts); i++) {
        retract_post(&harness, &posts[i]);
    }
    struct store_position ann = position_of(&harness, user_of("ann"));
    cr_expect_eq(ann.unread + ann.unseen, 0);
    cr_expect_eq(ann.rev, 4, "rev %lu", ann.rev);
    struct store_sync sync = {.base.op = STORE_SYNC, .who = user_of("ann"), .rev = 3, .limit = 10};
    cr_assert_eq(harness_run(&harness, 0, &sync.base), 0);
    cr_assert_eq(sync.change_count, 1);
    cr_expect_eq(sync.changes[0].state, NOTIFICATION_ERASED);
    cr_expect_eq(sync.item_count, 0);
    store_request_finish(&sync.base);
    for (unsigned tries = 0; tries < TRIES && sweep_audiences(&harness, 100, 1000) == 0; tries++) {
        uv_sleep(PAUSE_MS);
    }
    expect_position(&harness, user_of("cid"), 1, 4, 0); /* nothing is lost a second time */
    expect_position(&harness, user_of("dan"), 0, 0, 0);
    struct store_position ben = position_of(&harness, user_of("ben"));
    cr_expect_eq(ben.unread + ben.unseen, 0);
    harness_close(&harness);
}

BOTH(what_nothing_is_remembered_of_goes_with_what_is_shown)
{
    struct harness harness;
    harness_open(&harness, url);
    cr_expect(subscribe_to(&harness, "ann", "news"));
    struct store_row old = comment_of(user_of("ann"), 99, 0);
    put_row(&harness, &old);
    struct store_audience_post posts[NOTIFICATION_DIGEST_MAX + 2];
    for (uint64_t i = 0; i < ARRAY_LEN(posts); i++) {
        posts[i] = say(&harness, i + 1, i, "x");
    }
    expect_newest(&harness, user_of("ann"), 13, 0, "x x x x x x x x x x ");
    retract_post(&harness, &posts[0]); /* it is counted, and no longer remembered */
    expect_newest(&harness, user_of("ann"), 12, 0, "x x x x x x x x x x ");
    for (uint64_t i = 3; i < ARRAY_LEN(posts); i++) {
        retract_post(&harness, &posts[i]);
    }
    expect_newest(&harness, user_of("ann"), 3, 0, "x ");
    retract_post(&harness, &posts[2]);
    struct store_position ann = position_of(&harness, user_of("ann"));
    cr_expect_eq(ann.unread + ann.unseen, 0);
    retract_post(&harness, &posts[1]);
    cr_expect_eq(position_of(&harness, user_of("ann")).rev, ann.rev, "it is gone already");
    harness_close(&harness);
}

BOTH(the_sweep_takes_out_of_digests_for_those_who_do_not_read)
{
    enum { MANY = 8 };
    struct harness harness;
    harness_open(&harness, url);
    char name[16];
    for (unsigned i = 0; i < MANY; i++) {
        (void)snprintf(name, sizeof(name), "user-%02u", i);
        cr_expect(subscribe_to(&harness, name, "news"));
    }
    struct store_audience_post first = say(&harness, 1, 0, "first");
    struct store_audience_post second = say(&harness, 2, 1, "second");
    for (unsigned i = 0; i < MANY; i++) {
        (void)snprintf(name, sizeof(name), "user-%02u", i);
        expect_position(&harness, user_of(name), 1, 2, 1);
    }
    static const struct store_revise change = {.fields = NOTIFICATION_EDIT_TITLE,
        .title = {.at = "changed", .len = 7},
        .at = 1800000000000};
    revise_post(&harness, &second, &change);
    sweep_until(&harness, MANY);
    sweep_until(&harness, 0);
    retract_post(&harness, &first);
    sweep_until(&harness, MANY);
    retract_post(&harness, &second);
    sweep_until(&harness, MANY);
    for (unsigned i = 0; i < MANY; i++) {
        (void)snprintf(name, sizeof(name), "user-%02u", i);
        expect_position(&harness, user_of(name), 1, 5, 0);
    }
    harness_close(&harness);
}

/* --- other content --- */

BOTH(other_content_is_what_a_digest_remembers_and_shows)
{
    struct harness harness;
    harness_open(&harness, url);
    struct store_user ann = user_of("ann");
    cr_expect(subscribe_to(&harness, "ann", "news"));
    struct store_audience_post first = say(&harness, 1, 0, "first");
    struct store_audience_post second = say(&harness, 2, 1, "second");
    expect_newest(&harness, ann, 2, 0, "second first ");
    static const struct store_revise early = {
        .fields = NOTIFICATION_EDIT_TITLE, .title = {.at = "early", .len = 5}, .at = 1800000000000};
    static const struct store_revise late = {
        .fields = NOTIFICATION_EDIT_ALL,
        .title = {.at = "late", .len = 4},
        .message = {.at = "text", .len = 4},
        .data = {.at = "[]", .len = 2},
        .priority = NOTIFICATION_LOW,
        .expires_at = 4000000000000,
        .at = 1800000000001,
    };
    revise_post(&harness, &first, &early);
    revise_post(&harness, &second, &late);
    struct store_list list = {.base.op = STORE_LIST, .who = ann, .limit = 10};
    cr_assert_eq(harness_run(&harness, 0, &list.base), 0);
    cr_assert_eq(list.count, 1);
    cr_expect_eq(list.position.rev, 3, "one for both");
    cr_expect_eq(list.items[0].new_rev, 2);
    cr_expect_eq(list.items[0].count, 2);
    cr_expect_eq(list.items[0].updated_at, late.at);
    cr_expect_eq(list.items[0].expires_at, 0, "the first one stays");
    cr_expect_eq(list.items[0].priority, NOTIFICATION_LOW);
    cr_expect(bytes_eq_str(list.items[0].title, "late"));
    cr_expect(bytes_eq_str(list.items[0].message, "text"));
    cr_expect(bytes_eq_str(list.items[0].data, "[]"));
    expect_titles(list.items[0].digest, "late early ");
    struct bytes digest = list.items[0].digest;
    struct notification_digest_entry entry;
    cr_assert(notification_digest_take(&digest, &entry));
    cr_expect(bytes_eq_str(entry.message, "text"));
    cr_expect(bytes_eq_str(entry.data, "[]"));
    cr_expect_eq(entry.priority, NOTIFICATION_LOW);
    cr_expect_eq(entry.at, start + 1);
    store_request_finish(&list.base);
    sweep_until(&harness, 0);
    expect_position(&harness, ann, 1, 3, 1);
    harness_close(&harness);
}

BOTH(of_two_changes_of_a_digest_the_later_one_holds)
{
    struct harness harness;
    harness_open(&harness, url);
    struct store_user ann = user_of("ann");
    cr_expect(subscribe_to(&harness, "ann", "news"));
    (void)say(&harness, 1, 0, "first");
    struct store_audience_post second = say(&harness, 2, 1, "second");
    struct store_row row = newest_of(&harness, ann);
    static const struct store_revise change = {
        .fields = NOTIFICATION_EDIT_TITLE | NOTIFICATION_EDIT_MESSAGE,
        .title = {.at = "early", .len = 5},
        .message = {.at = "text", .len = 4},
        .at = 1800000000000};
    revise_post(&harness, &second, &change);
    struct store_edit edit = {.base.op = STORE_EDIT,
        .fields = NOTIFICATION_EDIT_TITLE,
        .title = BYTES("late"),
        .at = 1800000000001};
    memcpy(edit.id, row.id, NOTIFICATION_ID_LEN);
    cr_assert_eq(harness_run(&harness, 0, &edit.base), 0);
    cr_expect(bytes_eq_str(edit.item.title, "late"));
    cr_expect(bytes_eq_str(edit.item.message, "text"), "of the post's change");
    expect_titles(edit.item.digest, "late first ");
    store_request_finish(&edit.base);
    expect_newest(&harness, ann, 2, 0, "late first ");
    harness_close(&harness);
}

/* Also of one that shows what was to one user. */
BOTH(of_two_ends_of_a_digest_the_later_one_holds)
{
    enum { LATER = 1000000 };
    struct harness harness;
    harness_open(&harness, url);
    struct store_user ann = user_of("ann");
    cr_expect(subscribe_to(&harness, "ann", "news"));
    struct store_audience_post first = say(&harness, 1, 0, "first");
    expect_position(&harness, ann, 1, 1, 1);
    struct store_row row = comment_of(ann, 2, 1);
    put_row(&harness, &row);
    uint64_t end = (uint64_t)clock_wall_ms() + LATER;
    const struct store_revise change = {
        .fields = NOTIFICATION_EDIT_EXPIRES, .expires_at = end + LATER, .at = end};
    revise_post(&harness, &first, &change);
    struct store_edit edit = {
        .base.op = STORE_EDIT, .fields = NOTIFICATION_EDIT_EXPIRES, .expires_at = end, .at = end};
    memcpy(edit.id, row.id, NOTIFICATION_ID_LEN);
    cr_assert_eq(harness_run(&harness, 0, &edit.base), 0);
    cr_expect_eq(edit.position.rev, 4, "%lu", edit.position.rev);
    store_request_finish(&edit.base);
    struct store_list list = {.base.op = STORE_LIST, .who = ann, .limit = 2};
    cr_assert_eq(harness_run(&harness, 0, &list.base), 0);
    cr_assert_eq(list.count, 1);
    cr_expect_eq(list.items[0].expires_at, end, "%lu, not %lu", list.items[0].expires_at, end);
    store_request_finish(&list.base);
    harness_close(&harness);
}

/* --- what is dropped --- */

BOTH(what_a_digest_holds_of_a_post_goes_with_the_post)
{
    struct harness harness;
    harness_open(&harness, url);
    static const char *const users[] = {"ann", "ben"};
    for (size_t i = 0; i < 2; i++) {
        cr_expect(subscribe_to(&harness, users[i], "news"));
    }
    for (uint64_t i = 0; i < 4; i++) {
        (void)say(&harness, i + 1, i, "x");
    }
    for (size_t i = 0; i < 2; i++) {
        expect_position(&harness, user_of(users[i]), 1, 4, 1);
    }
    for (size_t i = 0; i < 2; i++) {
        struct store_forget forget = {.base.op = STORE_FORGET, .who = user_of(users[i])};
        cr_assert_eq(harness_run(&harness, 0, &forget.base), 0);
        cr_expect_eq(forget.erased[STORE_FORGOTTEN_NOTIFICATIONS], 1);
        cr_expect_eq(forget.erased[STORE_FORGOTTEN_DIGESTS], i == 0 ? 3 : 0, "%lu",
            forget.erased[STORE_FORGOTTEN_DIGESTS]);
        store_request_finish(&forget.base);
        cr_expect_eq(sweep_audiences(&harness, start + SPAN, 1), 0);
    }
    harness_close(&harness);
}
