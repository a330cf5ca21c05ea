/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Makes posts that share a row, and expects what comes of them.
 */
#include "tests/unit/sql/sharing.h"

#include <criterion/criterion.h>

#include "codec/base/buf.h"
#include "codec/notification_digest.h"
#include "sql/store_preference.h"
#include "tests/unit/sql/audience.h"

void prefer(struct harness *harness, struct store_user who, const char *body)
{
    struct store_preference write = {
        .base.op = STORE_PREFERENCE_WRITE, .who = who, .body = bytes_str(body)};
    cr_assert_eq(harness_run(harness, 1, &write.base), 0);
    store_request_finish(&write.base);
}

struct store_row comment_of(struct store_user who, uint64_t key, uint64_t after)
{
    struct store_row row = row_of(who, key, key);
    row.type = BYTES("comment");
    row.created_at = SHARING_START + after;
    row.digest_ms = SHARING_SPAN;
    return row;
}

struct store_audience_post comment_to(const char *topic, uint64_t key, uint64_t after)
{
    struct store_audience_post post = post_of(topic, key);
    post.type = BYTES("comment");
    post.created_at = SHARING_START + after;
    post.digest_ms = SHARING_SPAN;
    return post;
}

void expect_row(const struct store_row *row, struct wanted wanted)
{
    cr_expect_eq(row->outcome, wanted.outcome, "outcome %d", row->outcome);
    cr_expect_eq(row->seq, wanted.seq, "seq %lu", row->seq);
    cr_expect_eq(row->rev, wanted.rev, "rev %lu", row->rev);
    cr_expect_eq(row->unread, wanted.unread, "unread %lu", row->unread);
    cr_expect_eq(row->unseen, wanted.unseen, "unseen %lu", row->unseen);
    cr_expect_eq(row->count, wanted.count, "count %lu", row->count);
}

void expect_titles(struct bytes digest, const char *titles)
{
    struct notification_digest_entry entry;
    struct builder out = {0};
    cr_expect(notification_digest_is_valid(digest));
    while (notification_digest_take(&digest, &entry)) {
        builder_add(&out, entry.title);
        builder_byte(&out, ' ');
    }
    cr_expect(bytes_eq_str(builder_bytes(&out), titles), "%.*s, not %s",
        (int)builder_bytes(&out).len, builder_bytes(&out).at, titles);
    builder_reset(&out);
}

void expect_newest(struct harness *harness, struct store_user who, uint64_t count,
    uint64_t expires_at, const char *titles)
{
    struct store_list list = {.base.op = STORE_LIST, .who = who, .limit = 1};
    cr_assert_eq(harness_run(harness, 2, &list.base), 0);
    cr_assert_eq(list.count, 1);
    cr_expect_eq(list.items[0].count, count, "count %lu", list.items[0].count);
    cr_expect_eq(list.items[0].expires_at, expires_at, "expires %lu", list.items[0].expires_at);
    expect_titles(list.items[0].digest, titles);
    store_request_finish(&list.base);
}
