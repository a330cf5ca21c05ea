/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Posts that take the place of what has not been read yet: what stays, what is new, and what
 * counts.
 */
#include "codec/base/status.h"
#include "tests/unit/sql/both.h"
#include "tests/unit/sql/sharing.h"

/* A row of a name; `key` makes it another post. */
static struct store_row named_row(struct store_user who, uint64_t key, const char *name)
{
    struct store_row row = row_of(who, key, key);
    row.collapse = bytes_str(name);
    return row;
}

static struct notification_item item_of(struct harness *harness, const struct store_row *row)
{
    struct store_get get = {.base.op = STORE_GET, .who.tenant = row->who.tenant};
    memcpy(get.id, row->id, NOTIFICATION_ID_LEN);
    cr_assert_eq(harness_run(harness, 0, &get.base), 0);
    struct notification_item item = get.item; /* numbers and id only */
    cr_expect_str_eq(
        get.item.collapse.len > 0 ? "named" : "", row->collapse.len > 0 ? "named" : "");
    store_request_finish(&get.base);
    return item;
}

BOTH(a_post_takes_the_place_of_an_open_one_of_its_name)
{
    struct harness harness;
    harness_open(&harness, url);
    struct store_user who = user_of("alice");
    struct store_row first = named_row(who, 1, "build");
    struct store_row other = named_row(who, 2, "");
    struct store_row second = named_row(who, 3, "build");
    second.title = BYTES("Again");
    second.expires_at = 1900000000000;
    put_row(&harness, &first);
    put_row(&harness, &other);
    mark_row(&harness, &first, NOTIFICATION_MARK_SEEN); /* rev 3 */
    put_row(&harness, &second);
    expect_row(&second, (struct wanted){OUTCOME_COLLAPSED, 1, 4, 2, 2, 2});
    cr_expect(memcmp(second.id, first.id, NOTIFICATION_ID_LEN) == 0, "the id stays");
    cr_expect_eq(second.head, 2);
    cr_expect_eq(second.first_at, first.created_at);
    struct notification_item item = item_of(&harness, &second);
    cr_expect_eq(item.state, NOTIFICATION_UNREAD);
    cr_expect_eq(item.seen_at, 0);
    cr_expect_eq(item.seq, 1);
    cr_expect_eq(item.new_rev, 4);
    cr_expect_eq(item.count, 2);
    cr_expect_eq(item.created_at, first.created_at);
    cr_expect_eq(item.updated_at, second.created_at);
    cr_expect_eq(item.expires_at, second.expires_at);
    cr_expect_eq(item.title.len, second.title.len);
    expect_position(&harness, who, 2, 4, 2);
    harness_close(&harness);
}

BOTH(what_is_read_archived_or_snoozed_is_left_alone)
{
    static const enum notification_verb verbs[] = {
        NOTIFICATION_MARK_READ, NOTIFICATION_MARK_ARCHIVE, NOTIFICATION_MARK_SNOOZE};
    struct harness harness;
    harness_open(&harness, url);
    struct store_user who = user_of("alice");
    uint64_t key = 0;
    for (size_t i = 0; i < ARRAY_LEN(verbs); i++) {
        struct store_row first = named_row(who, ++key, "build");
        put_row(&harness, &first);
        cr_expect_eq(first.outcome, OUTCOME_STORED);
        mark_row(&harness, &first, verbs[i]);
    }
    struct store_row other = named_row(who, ++key, "deploy");
    struct store_row elsewhere = named_row(user_of("bob"), ++key, "build");
    put_row(&harness, &other);
    put_row(&harness, &elsewhere);
    cr_expect_eq(other.outcome, OUTCOME_STORED, "another name");
    cr_expect_eq(elsewhere.outcome, OUTCOME_STORED, "another user");
    expect_position(&harness, who, 4, 7, 1);
    harness_close(&harness);
}

BOTH(the_newest_open_one_is_replaced)
{
    struct harness harness;
    harness_open(&harness, url);
    struct store_user who = user_of("alice");
    struct store_row rows[] = {
        named_row(who, 1, "build"), named_row(who, 2, "build"), named_row(who, 3, "build")};
    put_row(&harness, &rows[0]);
    mark_row(&harness, &rows[0], NOTIFICATION_MARK_READ);
    put_row(&harness, &rows[1]);
    mark_row(&harness, &rows[0], NOTIFICATION_MARK_UNREAD);
    put_row(&harness, &rows[2]);
    expect_row(&rows[2], (struct wanted){OUTCOME_COLLAPSED, 2, 5, 2, 1, 2});
    harness_close(&harness);
}

BOTH(posts_of_one_batch_collapse_in_their_order)
{
    struct harness harness;
    harness_open(&harness, url);
    struct store_user who = user_of("alice");
    struct store_row old = named_row(who, 1, "old");
    put_row(&harness, &old);
    struct store_row rows[] = {named_row(who, 2, "new"), named_row(who, 3, ""),
        named_row(who, 4, "old"), named_row(user_of("bob"), 5, "new"), named_row(who, 6, "new"),
        named_row(who, 4, "old"), named_row(who, 7, "old"), named_row(who, 8, "")};
    rows[4].title = BYTES("The last of its name");
    struct store_put put = {.base.op = STORE_PUT, .rows = rows, .count = ARRAY_LEN(rows)};
    cr_assert_eq(harness_run(&harness, 0, &put.base), 0);
    store_request_finish(&put.base);
    expect_row(&rows[0], (struct wanted){OUTCOME_STORED, 2, 2, 2, 2, 1});
    expect_row(&rows[1], (struct wanted){OUTCOME_STORED, 3, 3, 3, 3, 1});
    expect_row(&rows[2], (struct wanted){OUTCOME_COLLAPSED, 1, 4, 3, 3, 2});
    expect_row(&rows[3], (struct wanted){OUTCOME_STORED, 1, 1, 1, 1, 1});
    expect_row(&rows[4], (struct wanted){OUTCOME_COLLAPSED, 2, 5, 3, 3, 2});
    cr_expect_eq(rows[5].outcome, OUTCOME_DUPLICATE);
    cr_expect_eq(rows[5].seq, 1);
    cr_expect(memcmp(rows[5].id, old.id, NOTIFICATION_ID_LEN) == 0);
    expect_row(&rows[6], (struct wanted){OUTCOME_COLLAPSED, 1, 6, 3, 3, 3});
    expect_row(&rows[7], (struct wanted){OUTCOME_STORED, 4, 7, 4, 4, 1});
    struct notification_item item = item_of(&harness, &rows[4]);
    cr_expect_eq(item.title.len, rows[4].title.len);
    cr_expect_eq(item.count, 2);
    cr_expect_eq(item.created_at, rows[0].created_at);
    cr_expect_eq(item.updated_at, rows[4].created_at);
    expect_position(&harness, who, 4, 7, 4);
    harness_close(&harness);
}

BOTH(a_repeated_key_does_not_count_again)
{
    struct harness harness;
    harness_open(&harness, url);
    struct store_user who = user_of("alice");
    struct store_row rows[] = {named_row(who, 1, "build"), named_row(who, 2, "build")};
    struct store_row again[] = {rows[1], rows[0], named_row(who, 2, "build")};
    put_row(&harness, &rows[0]);
    put_row(&harness, &rows[1]);
    memset(again[2].content_hash, 7, STORE_HASH_LEN);
    for (size_t i = 0; i < ARRAY_LEN(again); i++) {
        put_row(&harness, &again[i]);
        cr_expect_eq(again[i].outcome, i == 2 ? OUTCOME_CONFLICT : OUTCOME_DUPLICATE);
        cr_expect_eq(again[i].seq, 1);
        cr_expect(memcmp(again[i].id, rows[0].id, NOTIFICATION_ID_LEN) == 0);
    }
    cr_expect_eq(item_of(&harness, &rows[1]).count, 2);
    expect_position(&harness, who, 1, 2, 1);
    harness_close(&harness);
}

BOTH(devices_get_a_collapsed_row_as_an_item)
{
    struct harness harness;
    harness_open(&harness, url);
    struct store_user who = user_of("alice");
    struct store_row rows[] = {
        named_row(who, 1, "build"), named_row(who, 2, ""), named_row(who, 3, "build")};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        put_row(&harness, &rows[i]);
    }
    struct store_sync sync = {.base.op = STORE_SYNC, .who = who, .rev = 2, .limit = 10};
    cr_assert_eq(harness_run(&harness, 0, &sync.base), 0);
    cr_expect_eq(sync.change_count, 0);
    cr_assert_eq(sync.item_count, 1);
    cr_expect_eq(sync.items[0].seq, 1);
    cr_expect_eq(sync.items[0].count, 2);
    cr_expect(bytes_eq_str(sync.items[0].collapse, "build"));
    store_request_finish(&sync.base);
    struct store_list list = {.base.op = STORE_LIST, .who = who, .limit = 10};
    cr_assert_eq(harness_run(&harness, 0, &list.base), 0);
    cr_assert_eq(list.count, 2);
    cr_expect_eq(list.items[0].seq, 1, "on top");
    cr_expect_eq(list.items[1].seq, 2);
    store_request_finish(&list.base);
    harness_close(&harness);
}
