/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Digests: posts of a type that share a row for a time, what it remembers of them, and who is left
 * alone.
 */
#include <pthread.h>

#include "codec/base/status.h"
#include "codec/notification_digest.h"
#include "sql/store_edit.h"
#include "tests/unit/sql/both.h"
#include "tests/unit/sql/sharing.h"

enum { SPAN = SHARING_SPAN };
static const uint64_t start = SHARING_START;

BOTH(posts_of_a_type_share_a_row_until_the_window_is_over)
{
    struct harness harness;
    harness_open(&harness, url);
    struct store_user who = user_of("alice");
    struct store_row rows[] = {comment_of(who, 1, 0), comment_of(who, 2, 60000),
        comment_of(who, 3, SPAN - 1), comment_of(who, 4, SPAN), comment_of(who, 5, SPAN + 1)};
    rows[1].title = BYTES("Second");
    rows[1].data = BYTES("");
    rows[2].title = BYTES("Third");
    put_row(&harness, &rows[0]);
    expect_row(&rows[0], (struct wanted){OUTCOME_STORED, 1, 1, 1, 1, 1});
    expect_newest(&harness, who, 1, 0, "Paid ");
    mark_row(&harness, &rows[0], NOTIFICATION_MARK_SEEN);
    uint8_t own[NOTIFICATION_ID_LEN];
    memcpy(own, rows[1].id, sizeof(own));
    struct store_put put = {.base.op = STORE_PUT, .rows = &rows[1], .count = 1};
    cr_assert_eq(harness_run(&harness, 0, &put.base), 0);
    expect_row(&rows[1], (struct wanted){OUTCOME_COLLAPSED, 1, 3, 1, 1, 2});
    cr_expect(memcmp(rows[1].id, rows[0].id, NOTIFICATION_ID_LEN) == 0, "the id stays");
    cr_expect_eq(rows[1].first_at, start);
    struct bytes digest = rows[1].digest;
    struct notification_digest_entry entry;
    cr_assert(notification_digest_take(&digest, &entry));
    cr_expect(memcmp(entry.id, own, NOTIFICATION_ID_LEN) == 0, "each has an id");
    cr_expect_eq(entry.at, start + 60000);
    cr_expect_eq(entry.priority, NOTIFICATION_HIGH);
    cr_expect(bytes_eq_str(entry.message, "It is d\xc3\xb6ne"));
    cr_expect_eq(entry.data.len, 0);
    cr_assert(notification_digest_take(&digest, &entry));
    cr_expect(memcmp(entry.id, rows[0].id, NOTIFICATION_ID_LEN) == 0, "of the first the row's");
    cr_expect(bytes_eq_str(entry.data, "{\"id\": 7}"));
    store_request_finish(&put.base);
    put_row(&harness, &rows[2]);
    expect_newest(&harness, who, 3, 0, "Third Second Paid ");
    put_row(&harness, &rows[3]);
    expect_row(&rows[3], (struct wanted){OUTCOME_STORED, 2, 5, 2, 2, 1});
    put_row(&harness, &rows[4]);
    expect_row(&rows[4], (struct wanted){OUTCOME_COLLAPSED, 2, 6, 2, 2, 2});
    expect_position(&harness, who, 2, 6, 2);
    harness_close(&harness);
}

BOTH(what_a_user_prefers_holds_before_what_is_usual)
{
    struct harness harness;
    harness_open(&harness, url);
    struct store_user ann = user_of("ann");
    struct store_user ben = user_of("ben");
    struct store_row rows[] = {comment_of(ann, 1, 0), comment_of(ann, 2, 1), comment_of(ben, 1, 0),
        comment_of(ben, 2, 1), comment_of(ann, 3, 2)};
    rows[0].digest_ms = rows[1].digest_ms = rows[4].digest_ms = 0;
    prefer(&harness, ann, SHARING_HOURLY);
    prefer(&harness, ben, SHARING_NEVER);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        put_row(&harness, &rows[i]);
    }
    cr_expect_eq(rows[1].outcome, OUTCOME_COLLAPSED);
    cr_expect_eq(rows[3].outcome, OUTCOME_STORED);
    cr_expect_eq(rows[3].digest.len, 0);
    expect_row(&rows[4], (struct wanted){OUTCOME_COLLAPSED, 1, 3, 1, 1, 3});
    expect_position(&harness, ben, 2, 2, 2);
    struct store_row last = comment_of(ann, 4, 3);
    last.digest_ms = 0;
    prefer(&harness, ann, SHARING_NEVER);
    put_row(&harness, &last);
    cr_expect_eq(last.outcome, OUTCOME_STORED, "the preference has changed");
    harness_close(&harness);
}

BOTH(urgent_named_and_other_posts_stay_apart)
{
    struct harness harness;
    harness_open(&harness, url);
    struct store_user who = user_of("alice");
    struct store_row rows[6];
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        rows[i] = comment_of(who, i + 1, i);
    }
    rows[1].priority = NOTIFICATION_URGENT;
    rows[2].collapse = BYTES("comment");
    rows[3].type = BYTES("other");
    rows[4].type = BYTES("plain");
    rows[4].digest_ms = 0;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        put_row(&harness, &rows[i]);
        cr_expect_eq(rows[i].outcome, i < 5 ? OUTCOME_STORED : OUTCOME_COLLAPSED, "%zu", i);
    }
    cr_expect_eq(rows[5].seq, 1);
    expect_position(&harness, who, 5, 6, 5);
    harness_close(&harness);
}

BOTH(a_digest_that_is_read_archived_or_snoozed_is_left_alone)
{
    static const enum notification_verb verbs[] = {
        NOTIFICATION_MARK_READ, NOTIFICATION_MARK_ARCHIVE, NOTIFICATION_MARK_SNOOZE};
    struct harness harness;
    harness_open(&harness, url);
    struct store_user who = user_of("alice");
    for (size_t i = 0; i < ARRAY_LEN(verbs); i++) {
        struct store_row first = comment_of(who, i + 1, i);
        put_row(&harness, &first);
        cr_expect_eq(first.outcome, OUTCOME_STORED);
        mark_row(&harness, &first, verbs[i]);
    }
    expect_position(&harness, who, 3, 6, 0);
    harness_close(&harness);
}

BOTH(the_last_ten_are_remembered_and_cut)
{
    struct harness harness;
    harness_open(&harness, url);
    struct store_user who = user_of("alice");
    char data[NOTIFICATION_DIGEST_DATA + 2];
    memset(data, ' ', sizeof(data));
    data[0] = '7';
    struct builder text = {0};
    for (unsigned i = 0; i < 300; i++) {
        builder_str(&text, i % 50 == 7 ? "\x1e" : "\xe2\x82\xac");
    }
    struct store_row rows[12];
    char titles[12][4];
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        rows[i] = comment_of(who, i + 1, i);
        (void)snprintf(titles[i], sizeof(titles[i]), "%zu", i);
        rows[i].title = bytes_str(titles[i]);
    }
    rows[11].message = builder_bytes(&text);
    rows[11].data = bytes_of(data, NOTIFICATION_DIGEST_DATA + 1);
    rows[10].data = bytes_of(data, NOTIFICATION_DIGEST_DATA);
    struct store_put put = {.base.op = STORE_PUT, .rows = rows, .count = ARRAY_LEN(rows)};
    cr_assert_eq(harness_run(&harness, 0, &put.base), 0);
    expect_titles(rows[8].digest, "8 7 6 5 4 3 2 1 0 ");
    expect_titles(rows[11].digest, "11 10 9 8 7 6 5 4 3 2 ");
    struct bytes digest = rows[11].digest;
    struct notification_digest_entry entry;
    cr_assert(notification_digest_take(&digest, &entry));
    cr_expect_eq(entry.data.len, 0, "it is too large");
    cr_expect_eq(
        entry.message.len, 3 * NOTIFICATION_DIGEST_MESSAGE - 5 * 2, "%zu", entry.message.len);
    cr_expect(bytes_eq_str(bytes_skip(entry.message, entry.message.len - 3), "\xe2\x80\xa6"));
    cr_expect(memchr(entry.message.at, '\x1e', entry.message.len) == NULL);
    cr_assert(notification_digest_take(&digest, &entry));
    cr_expect_eq(entry.data.len, NOTIFICATION_DIGEST_DATA);
    store_request_finish(&put.base);
    expect_newest(&harness, who, 12, 0, "11 10 9 8 7 6 5 4 3 2 ");
    builder_reset(&text);
    harness_close(&harness);
}

BOTH(digests_of_one_batch_keep_their_order)
{
    struct harness harness;
    harness_open(&harness, url);
    struct store_user who = user_of("alice");
    struct store_row old = comment_of(who, 1, 0);
    put_row(&harness, &old);
    struct store_row rows[] = {comment_of(who, 2, 5), row_of(who, 3, 3), comment_of(who, 4, 5),
        comment_of(user_of("bob"), 5, 5), comment_of(who, 2, 5), comment_of(who, 6, 5),
        comment_of(who, 7, 5), comment_of(user_of("bob"), 8, 5)};
    rows[2].type = rows[6].type = BYTES("other");
    rows[5].title = BYTES("Last");
    struct store_put put = {.base.op = STORE_PUT, .rows = rows, .count = ARRAY_LEN(rows)};
    cr_assert_eq(harness_run(&harness, 0, &put.base), 0);
    expect_row(&rows[0], (struct wanted){OUTCOME_COLLAPSED, 1, 2, 1, 1, 2});
    expect_row(&rows[1], (struct wanted){OUTCOME_STORED, 2, 3, 2, 2, 1});
    expect_row(&rows[2], (struct wanted){OUTCOME_STORED, 3, 4, 3, 3, 1});
    expect_row(&rows[3], (struct wanted){OUTCOME_STORED, 1, 1, 1, 1, 1});
    cr_expect_eq(rows[4].outcome, OUTCOME_DUPLICATE);
    expect_row(&rows[5], (struct wanted){OUTCOME_COLLAPSED, 1, 5, 3, 3, 3});
    expect_row(&rows[6], (struct wanted){OUTCOME_COLLAPSED, 3, 6, 3, 3, 2});
    expect_row(&rows[7], (struct wanted){OUTCOME_COLLAPSED, 1, 2, 1, 1, 2});
    expect_titles(rows[0].digest, "Paid Paid ");
    expect_titles(rows[1].digest, "");
    expect_titles(rows[5].digest, "Last Paid Paid ");
    store_request_finish(&put.base);
    expect_position(&harness, who, 3, 6, 3);
    harness_close(&harness);
}

BOTH(a_repeat_is_none_of_a_digest_again)
{
    struct harness harness;
    harness_open(&harness, url);
    struct store_user who = user_of("alice");
    struct store_row rows[] = {comment_of(who, 1, 0), comment_of(who, 2, 1)};
    struct store_row again[] = {rows[1], rows[0], comment_of(who, 2, 2)};
    put_row(&harness, &rows[0]);
    put_row(&harness, &rows[1]);
    memset(again[2].content_hash, 7, STORE_HASH_LEN);
    for (size_t i = 0; i < ARRAY_LEN(again); i++) {
        put_row(&harness, &again[i]);
        cr_expect_eq(again[i].outcome, i == 2 ? OUTCOME_CONFLICT : OUTCOME_DUPLICATE);
        cr_expect_eq(again[i].seq, 1);
        cr_expect(memcmp(again[i].id, rows[0].id, NOTIFICATION_ID_LEN) == 0);
    }
    expect_newest(&harness, who, 2, 0, "Paid Paid ");
    expect_position(&harness, who, 1, 2, 1);
    harness_close(&harness);
}

BOTH(a_digest_ends_with_the_last_of_its_posts)
{
    struct harness harness;
    harness_open(&harness, url);
    struct store_user who = user_of("alice");
    static const uint64_t ends[] = {5000, 9000, 7000, 0, 8000};
    static const uint64_t wanted[] = {5000, 9000, 9000, 0, 0};
    struct store_row rows[ARRAY_LEN(ends)];
    struct store_row others[ARRAY_LEN(ends)];
    for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
        rows[i] = comment_of(who, i + 1, i);
        rows[i].expires_at = ends[i];
        others[i] = rows[i];
        give_row(&others[i], user_of("bob"));
        put_row(&harness, &rows[i]);
        cr_expect_eq(rows[i].till, wanted[i]);
        expect_newest(&harness, who, i + 1, wanted[i], &"Paid Paid Paid Paid Paid "[5 * (4 - i)]);
    }
    struct store_put put = {.base.op = STORE_PUT, .rows = others, .count = ARRAY_LEN(others)};
    cr_assert_eq(harness_run(&harness, 0, &put.base), 0);
    for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
        cr_expect_eq(others[i].till, wanted[i], "%zu of a batch: %lu", i, others[i].till);
    }
    store_request_finish(&put.base);
    harness_close(&harness);
}

BOTH(an_edit_changes_what_a_digest_shows)
{
    struct harness harness;
    harness_open(&harness, url);
    struct store_user who = user_of("alice");
    struct store_row rows[] = {comment_of(who, 1, 0), comment_of(who, 2, 1)};
    put_row(&harness, &rows[0]);
    put_row(&harness, &rows[1]);
    struct store_edit edit = {.base.op = STORE_EDIT,
        .fields = NOTIFICATION_EDIT_TITLE | NOTIFICATION_EDIT_DATA,
        .title = BYTES("Edited"),
        .data = BYTES("8"),
        .at = 5};
    memcpy(edit.id, rows[1].id, NOTIFICATION_ID_LEN);
    cr_assert_eq(harness_run(&harness, 0, &edit.base), 0);
    expect_titles(edit.item.digest, "Edited Paid ");
    struct bytes digest = edit.item.digest;
    struct notification_digest_entry entry;
    cr_assert(notification_digest_take(&digest, &entry));
    cr_expect_eq(entry.at, start + 1);
    cr_expect(bytes_eq_str(entry.data, "8"));
    cr_expect(bytes_eq_str(entry.message, "It is d\xc3\xb6ne"));
    store_request_finish(&edit.base);
    expect_newest(&harness, who, 2, 0, "Edited Paid ");
    harness_close(&harness);
}

/* One of several that post the same type to one user, each on a thread and a port of its own. */
struct poster {
    struct harness *harness;
    unsigned shard;
    bool prefers;
    unsigned stored;
    unsigned collapsed;
};

enum { POSTERS = 4, POSTS = 8 };

static void *run_poster(void *arg)
{
    struct poster *poster = arg;
    for (unsigned i = 0; i < POSTS; i++) {
        struct store_row row =
            comment_of(user_of("alice"), poster->shard * POSTS + i + 1, poster->shard);
        row.digest_ms = poster->prefers ? 0 : SPAN;
        struct store_put put = {.base.op = STORE_PUT, .rows = &row, .count = 1};
        int status = STATUS_UNAVAILABLE;
        for (unsigned tries = 20; status != 0 && tries > 0; tries--) { /* a busy machine */
            store_request_finish(&put.base);
            status = harness_run(poster->harness, poster->shard, &put.base);
        }
        cr_assert_eq(status, 0, "%d", status);
        poster->stored += row.outcome == OUTCOME_STORED;
        poster->collapsed += row.outcome == OUTCOME_COLLAPSED;
        store_request_finish(&put.base);
    }
    return NULL;
}

static void post_at_once(const char *url, bool prefers)
{
    struct harness harness;
    harness_open(&harness, url);
    struct poster posters[POSTERS];
    pthread_t threads[POSTERS];
    unsigned stored = 0;
    unsigned collapsed = 0;
    if (prefers) {
        prefer(&harness, user_of("alice"), SHARING_HOURLY);
    }
    for (unsigned i = 0; i < POSTERS; i++) {
        posters[i] = (struct poster){.harness = &harness, .shard = i, .prefers = prefers};
        cr_assert_eq(pthread_create(&threads[i], NULL, run_poster, &posters[i]), 0);
    }
    for (unsigned i = 0; i < POSTERS; i++) {
        cr_assert_eq(pthread_join(threads[i], NULL), 0);
        stored += posters[i].stored;
        collapsed += posters[i].collapsed;
    }
    cr_expect_eq(stored, 1, "%u rows", stored);
    cr_expect_eq(collapsed, POSTERS * POSTS - 1);
    expect_position(&harness, user_of("alice"), 1, POSTERS * POSTS, 1);
    expect_newest(&harness, user_of("alice"), POSTERS * POSTS, 0,
        "Paid Paid Paid Paid Paid Paid Paid Paid Paid Paid ");
    harness_close(&harness);
}

BOTH(ports_that_post_at_once_make_one_digest)
{
    post_at_once(url, false);
}

BOTH(ports_that_post_at_once_make_the_digest_that_is_preferred)
{
    post_at_once(url, true);
}

BOTH(devices_get_a_digest_as_an_item)
{
    struct harness harness;
    harness_open(&harness, url);
    struct store_user who = user_of("alice");
    struct store_row rows[] = {comment_of(who, 1, 0), row_of(who, 2, 2), comment_of(who, 3, 2)};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        put_row(&harness, &rows[i]);
    }
    struct store_sync sync = {.base.op = STORE_SYNC, .who = who, .rev = 2, .limit = 10};
    cr_assert_eq(harness_run(&harness, 0, &sync.base), 0);
    cr_expect_eq(sync.change_count, 0);
    cr_assert_eq(sync.item_count, 1);
    cr_expect_eq(sync.items[0].seq, 1);
    cr_expect_eq(sync.items[0].count, 2);
    expect_titles(sync.items[0].digest, "Paid Paid ");
    store_request_finish(&sync.base);
    struct store_get get = {.base.op = STORE_GET};
    memcpy(get.id, rows[0].id, NOTIFICATION_ID_LEN);
    cr_assert_eq(harness_run(&harness, 0, &get.base), 0);
    expect_titles(get.item.digest, "Paid Paid ");
    store_request_finish(&get.base);
    harness_close(&harness);
}
