/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a poster changes of a notification afterwards, or takes back.
 */
#include "codec/base/status.h"
#include "sql/store_edit.h"
#include "tests/unit/sql/both.h"

static struct store_edit edit_of(const struct store_row *row)
{
    struct store_edit edit = {
        .base.op = STORE_EDIT, .tenant = row->who.tenant, .priority = NOTIFICATION_LOW, .at = 77};
    memcpy(edit.id, row->id, NOTIFICATION_ID_LEN);
    return edit;
}

BOTH(a_change_keeps_state_and_place)
{
    struct harness harness;
    harness_open(&harness, url);
    struct store_user who = user_of("alice");
    struct store_row rows[] = {row_of(who, 1, 1), row_of(who, 2, 2)};
    put_row(&harness, &rows[0]);
    put_row(&harness, &rows[1]);
    mark_row(&harness, &rows[0], NOTIFICATION_MARK_READ); /* rev 3 */
    struct store_edit edit = edit_of(&rows[0]);
    edit.fields = NOTIFICATION_EDIT_TITLE | NOTIFICATION_EDIT_EXPIRES;
    edit.title = BYTES("Paid, again");
    edit.message = BYTES("not meant");
    edit.expires_at = 1900000000000;
    cr_assert_eq(harness_run(&harness, 0, &edit.base), 0);
    cr_expect_eq(edit.position.rev, 4);
    cr_expect_eq(edit.position.unread, 1);
    cr_expect(bytes_eq_str(edit.item.user, "alice"));
    cr_expect(bytes_eq_str(edit.item.title, "Paid, again"));
    cr_expect(bytes_eq(edit.item.message, rows[0].message));
    cr_expect_eq(edit.item.expires_at, 1900000000000);
    cr_expect_eq(edit.item.priority, rows[0].priority);
    cr_expect_eq(edit.item.state, NOTIFICATION_READ);
    cr_expect_eq(edit.item.rev, 4);
    cr_expect_eq(edit.item.new_rev, 1);
    cr_expect_eq(edit.item.updated_at, 77);
    store_request_finish(&edit.base);
    struct store_sync sync = {.base.op = STORE_SYNC, .who = who, .rev = 3, .limit = 10};
    cr_assert_eq(harness_run(&harness, 0, &sync.base), 0);
    cr_expect_eq(sync.change_count, 0);
    cr_assert_eq(sync.item_count, 1, "devices need the whole row");
    cr_expect_eq(sync.items[0].seq, 1);
    store_request_finish(&sync.base);
    struct store_list list = {.base.op = STORE_LIST, .who = who, .limit = 10};
    cr_assert_eq(harness_run(&harness, 0, &list.base), 0);
    cr_assert_eq(list.count, 2);
    cr_expect_eq(list.items[1].seq, 1, "its place stays");
    store_request_finish(&list.base);
    expect_position(&harness, who, 2, 4, 1);
    harness_close(&harness);
}

BOTH(every_field_can_be_changed)
{
    struct harness harness;
    harness_open(&harness, url);
    struct store_row row = row_of(user_of("alice"), 1, 1);
    put_row(&harness, &row);
    struct store_edit edit = edit_of(&row);
    edit.fields = NOTIFICATION_EDIT_ALL;
    edit.message = BYTES("m");
    edit.data = BYTES("[1]");
    edit.priority = NOTIFICATION_URGENT;
    cr_assert_eq(harness_run(&harness, 0, &edit.base), 0);
    cr_expect_eq(edit.item.title.len, 0);
    cr_expect(bytes_eq_str(edit.item.message, "m"));
    cr_expect(bytes_eq_str(edit.item.data, "[1]"));
    cr_expect_eq(edit.item.priority, NOTIFICATION_URGENT);
    cr_expect_eq(edit.item.expires_at, 0);
    store_request_finish(&edit.base);
    harness_close(&harness);
}

BOTH(what_is_taken_back_leaves_a_tombstone_and_right_counters)
{
    static const enum notification_verb verbs[] = {NOTIFICATION_MARK_SEEN, NOTIFICATION_MARK_READ,
        NOTIFICATION_MARK_ARCHIVE, NOTIFICATION_MARK_SNOOZE};
    struct harness harness;
    harness_open(&harness, url);
    struct store_user who = user_of("alice");
    struct store_row rows[ARRAY_LEN(verbs) + 1];
    uint64_t rev = 0;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        rows[i] = row_of(who, i, i);
        put_row(&harness, &rows[i]);
        rev++;
        if (i < ARRAY_LEN(verbs)) {
            mark_row(&harness, &rows[i], verbs[i]);
            rev++;
        }
    }
    static const uint64_t unread[] = {1, 1, 1, 1, 0}; /* after each */
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct store_edit edit = edit_of(&rows[i]);
        edit.erase = true;
        cr_assert_eq(harness_run(&harness, 0, &edit.base), 0);
        cr_expect_eq(edit.position.rev, ++rev);
        cr_expect_eq(edit.position.unread, unread[i], "%zu: %lu", i, edit.position.unread);
        cr_expect_eq(edit.item.seq, i + 1);
        store_request_finish(&edit.base);
        cr_expect_eq(harness_run(&harness, 0, &edit.base), STATUS_NOT_FOUND, "once");
        store_request_finish(&edit.base);
    }
    struct store_sync sync = {.base.op = STORE_SYNC, .who = who, .rev = 9, .limit = 10};
    cr_assert_eq(harness_run(&harness, 0, &sync.base), 0);
    cr_expect_eq(sync.item_count, 0);
    cr_assert_eq(sync.change_count, ARRAY_LEN(rows));
    cr_expect_eq(sync.changes[0].state, NOTIFICATION_ERASED);
    store_request_finish(&sync.base);
    struct store_row again = row_of(who, 0, 0);
    put_row(&harness, &again);
    cr_expect_eq(again.outcome, OUTCOME_DUPLICATE, "keys are for ever");
    expect_position(&harness, who, ARRAY_LEN(rows), rev, 0);
    harness_close(&harness);
}

BOTH(what_is_not_there_or_delivered_is_not_changed)
{
    struct harness harness;
    harness_open(&harness, url);
    struct store_row row = row_of(user_of("alice"), 1, 1);
    struct store_row other = row_of(user_of("alice"), 2, 2); /* not stored */
    put_row(&harness, &row);
    struct store_edit edit = edit_of(&other);
    edit.fields = NOTIFICATION_EDIT_TITLE;
    cr_expect_eq(harness_run(&harness, 0, &edit.base), STATUS_NOT_FOUND);
    store_request_finish(&edit.base);
    edit = edit_of(&row);
    edit.fields = NOTIFICATION_EDIT_TITLE;
    edit.tenant = BYTES("another");
    cr_expect_eq(harness_run(&harness, 0, &edit.base), STATUS_NOT_FOUND);
    store_request_finish(&edit.base);
    edit = edit_of(&row);
    cr_expect_eq(harness_run(&harness, 0, &edit.base), STATUS_INVALID, "nothing to change");
    store_request_finish(&edit.base);
    edit.erase = true;
    edit.only_waiting = true;
    cr_expect_eq(harness_run(&harness, 0, &edit.base), 0);
    cr_expect(edit.delivered);
    store_request_finish(&edit.base);
    expect_position(&harness, row.who, 1, 1, 1);
    harness_close(&harness);
}
