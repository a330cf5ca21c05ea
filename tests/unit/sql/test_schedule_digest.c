/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What was posted for later and shares a row: the window is judged, and the row found, when it is
 * delivered.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "codec/base/clock.h"
#include "codec/base/status.h"
#include "sql/store_schedule.h"
#include "tests/unit/sql/audience.h"
#include "tests/unit/sql/both.h"
#include "tests/unit/sql/sharing.h"

enum { ALL_PARTS = (1 << STORE_SCHEDULE_PARTS) - 1 };

static struct store_user ann(void)
{
    return user_of("ann");
}

/* Keep a comment whose time has come, with this title. */
static struct store_row keep_comment(struct harness *harness, uint64_t key, const char *title)
{
    struct store_row row = comment_of(ann(), key, 0);
    row.title = bytes_str(title);
    row.deliver_at = clock_wall_ms() - 1;
    give_row(&row, ann());
    put_row(harness, &row);
    cr_assert_eq(row.outcome, OUTCOME_SCHEDULED);
    return row;
}

static void find_due(struct harness *harness, struct store_due *due)
{
    *due = (struct store_due){
        .base.op = STORE_DUE, .parts = ALL_PARTS, .limit = 10, .max_bytes = INT64_MAX};
    cr_assert_eq(harness_run(harness, 0, &due->base), 0);
    cr_assert_eq(due->count, 1, "%zu", due->count);
}

/* Deliver the one row that is due, `after` ms. */
static void deliver_at(struct harness *harness, uint64_t after, struct wanted wanted)
{
    struct store_due due;
    find_due(harness, &due);
    struct store_row row = due.items[0].row;
    row.created_at = SHARING_START + after;
    row.digest_ms = SHARING_SPAN;
    put_row(harness, &row);
    expect_row(&row, wanted);
    store_request_finish(&due.base);
}

/* Deliver the one post to many that is due, `after` ms. */
static void deliver_post(struct harness *harness, uint64_t after)
{
    struct store_due due;
    find_due(harness, &due);
    const struct store_scheduled *kept = &due.items[0];
    struct store_audience_post post = {.base.op = STORE_AUDIENCE_POST,
        .kind = kept->kind,
        .name = kept->name,
        .type = kept->row.type,
        .title = kept->row.title,
        .priority = kept->row.priority,
        .created_at = SHARING_START + after,
        .digest_ms = SHARING_SPAN,
        .deliver_at = kept->row.deliver_at,
        .due = true,
        .version = kept->row.version};
    memcpy(post.id, kept->row.id, NOTIFICATION_ID_LEN);
    memcpy(post.key_hash, kept->row.key_hash, STORE_HASH_LEN);
    memcpy(post.content_hash, kept->row.content_hash, STORE_HASH_LEN);
    cr_assert_eq(harness_run(harness, 1, &post.base), 0, "%d", post.base.status);
    cr_expect_eq(post.outcome, OUTCOME_STORED);
    store_request_finish(&post.base);
    store_request_finish(&due.base);
}

BOTH(what_is_due_joins_the_digest_of_its_time)
{
    struct harness harness;
    harness_open(&harness, url);
    struct store_row later = keep_comment(&harness, 1, "later"); /* kept before the digest began */
    struct store_row first = comment_of(ann(), 2, 1000);
    first.title = BYTES("first");
    put_row(&harness, &first);
    expect_position(&harness, ann(), 1, 1, 1);
    deliver_at(&harness, 2000, (struct wanted){OUTCOME_COLLAPSED, 1, 2, 1, 1, 2});
    expect_newest(&harness, ann(), 2, 0, "later first ");
    struct store_row again = comment_of(ann(), 1, 0);
    put_row(&harness, &again);
    cr_expect_eq(again.outcome, OUTCOME_DUPLICATE);
    cr_expect_eq(again.seq, 1, "it is in the digest");
    cr_expect_eq(memcmp(again.id, first.id, NOTIFICATION_ID_LEN), 0);
    cr_expect_neq(memcmp(later.id, first.id, NOTIFICATION_ID_LEN), 0);

    (void)keep_comment(&harness, 3, "behind it"); /* kept within the window, due behind it */
    deliver_at(&harness, 1000 + SHARING_SPAN, (struct wanted){OUTCOME_STORED, 2, 3, 2, 2, 1});
    expect_newest(&harness, ann(), 1, 0, "behind it ");
    harness_close(&harness);
}

BOTH(what_is_due_for_many_joins_the_digests_of_its_time)
{
    struct harness harness;
    harness_open(&harness, url);
    cr_expect(subscribe_to(&harness, "ann", "news"));
    struct store_audience_post post = comment_to("news", 1, 0);
    post.title = BYTES("later");
    post.deliver_at = clock_wall_ms() - 1;
    post_many(&harness, &post);
    cr_expect_eq(post.outcome, OUTCOME_SCHEDULED);
    struct store_row first = comment_of(ann(), 2, 1000);
    first.title = BYTES("first");
    put_row(&harness, &first);
    deliver_post(&harness, 2000);
    expect_position(&harness, ann(), 1, 2, 1);
    expect_newest(&harness, ann(), 2, 0, "later first ");
    harness_close(&harness);
}

/* Whether it stays apart follows from what it is when it is delivered. */
BOTH(what_became_urgent_while_it_was_kept_stays_apart)
{
    struct harness harness;
    harness_open(&harness, url);
    cr_expect(subscribe_to(&harness, "ann", "news"));
    struct store_audience_post post = comment_to("news", 1, 0);
    post.deliver_at = clock_wall_ms() - 1;
    post_many(&harness, &post);
    struct store_reschedule change = {.base.op = STORE_RESCHEDULE,
        .fields = NOTIFICATION_EDIT_PRIORITY,
        .priority = NOTIFICATION_URGENT};
    memcpy(change.id, post.id, NOTIFICATION_ID_LEN);
    cr_assert_eq(harness_run(&harness, 0, &change.base), 0);
    store_request_finish(&change.base);
    struct store_row first = comment_of(ann(), 2, 1000);
    put_row(&harness, &first);
    deliver_post(&harness, 2000);
    expect_position(&harness, ann(), 2, 2, 2);

    struct store_row row = keep_comment(&harness, 3, "x");
    memcpy(change.id, row.id, NOTIFICATION_ID_LEN);
    cr_assert_eq(harness_run(&harness, 0, &change.base), 0);
    store_request_finish(&change.base);
    deliver_at(&harness, 3000, (struct wanted){OUTCOME_STORED, 3, 3, 3, 3, 1});
    harness_close(&harness);
}
