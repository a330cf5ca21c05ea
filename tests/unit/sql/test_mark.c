/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a user does to notifications that are there: every verb, there and back, with the counters.
 */
#include "codec/base/status.h"
#include "tests/unit/sql/both.h"

enum { ROWS = 6 };

struct inbox {
    struct harness harness;
    struct store_user who;
    struct store_row rows[ROWS];
};

static void open_inbox(struct inbox *inbox, const char *url)
{
    harness_open(&inbox->harness, url);
    inbox->who = user_of("alice");
    for (size_t i = 0; i < ROWS; i++) {
        inbox->rows[i] = row_of(inbox->who, i, i);
        inbox->rows[i].type = i % 2 == 0 ? BYTES("even") : BYTES("odd");
        put_row(&inbox->harness, &inbox->rows[i]);
    }
}

static void close_inbox(struct inbox *inbox)
{
    harness_close(&inbox->harness);
}

/* Mark the row of `seq`; how many changed. */
static size_t mark_one(
    struct inbox *inbox, enum notification_verb verb, uint64_t seq, uint64_t at, uint64_t until)
{
    struct store_mark mark = mark_of(inbox->who, verb, at);
    mark.ids = (const uint8_t(*)[NOTIFICATION_ID_LEN]) & inbox->rows[seq - 1].id;
    mark.id_count = 1;
    mark.until = until;
    cr_assert_eq(harness_run(&inbox->harness, 0, &mark.base), 0);
    size_t count = mark.change_count;
    store_request_finish(&mark.base);
    return count;
}

/* Mark all, of a type or any; how many changed. */
static size_t mark_bulk(struct inbox *inbox, enum notification_verb verb, const char *type)
{
    struct store_mark mark = mark_of(inbox->who, verb, 50);
    mark.states = notification_mark_states(verb, true);
    mark.up_to = UINT64_MAX;
    mark.until = 1000;
    mark.type = bytes_str(type);
    cr_assert_eq(harness_run(&inbox->harness, 0, &mark.base), 0);
    size_t count = mark.change_count;
    store_request_finish(&mark.base);
    return count;
}

static struct notification_item item_of(struct inbox *inbox, uint64_t seq)
{
    struct store_get get = {.base.op = STORE_GET};
    memcpy(get.id, inbox->rows[seq - 1].id, NOTIFICATION_ID_LEN);
    cr_assert_eq(harness_run(&inbox->harness, 0, &get.base), 0);
    struct notification_item item = get.item;
    store_request_finish(&get.base);
    return item; /* its texts are gone */
}

static void expect_counts(struct inbox *inbox, uint64_t rev, uint64_t unread, uint64_t unseen)
{
    struct store_position position = position_of(&inbox->harness, inbox->who);
    cr_expect_eq(position.rev, rev, "rev %lu, not %lu", position.rev, rev);
    cr_expect_eq(position.unread, unread, "unread %lu, not %lu", position.unread, unread);
    cr_expect_eq(position.unseen, unseen, "unseen %lu, not %lu", position.unseen, unseen);
}

BOTH(marks_by_id)
{
    struct harness harness;
    harness_open(&harness, url);
    struct store_user who = user_of("alice");
    struct store_row rows[4];
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        rows[i] = row_of(who, i, i);
        put_row(&harness, &rows[i]);
    }
    uint8_t ids[3][NOTIFICATION_ID_LEN] = {{0}};
    memcpy(ids[0], rows[1].id, NOTIFICATION_ID_LEN);
    memcpy(ids[1], rows[1].id, NOTIFICATION_ID_LEN); /* named twice; the third is unknown */
    struct store_mark mark = mark_of(who, NOTIFICATION_MARK_READ, 77);
    mark.ids = (const uint8_t(*)[NOTIFICATION_ID_LEN])ids;
    mark.id_count = 3;
    cr_assert_eq(harness_run(&harness, 0, &mark.base), 0);
    cr_expect(mark.changed);
    cr_assert_eq(mark.change_count, 1);
    cr_expect(memcmp(mark.changes[0].id, rows[1].id, NOTIFICATION_ID_LEN) == 0);
    cr_expect_eq(mark.changes[0].seq, 2);
    cr_expect_eq(mark.changes[0].rev, 5);
    cr_expect_eq(mark.changes[0].state, NOTIFICATION_READ);
    cr_expect_eq(mark.changes[0].at, 77);
    cr_expect_eq(mark.position.rev, 5);
    cr_expect_eq(mark.position.seq, 4);
    cr_expect_eq(mark.position.unread, 3);
    store_request_finish(&mark.base);

    cr_assert_eq(harness_run(&harness, 0, &mark.base), 0);
    cr_expect_not(mark.changed, "again");
    cr_expect_eq(mark.position.rev, 5);
    cr_expect_eq(mark.position.unread, 3);
    store_request_finish(&mark.base);

    harness_close(&harness);
}

BOTH(reading_goes_both_ways)
{
    struct inbox inbox;
    open_inbox(&inbox, url);
    expect_counts(&inbox, 6, 6, 6);
    cr_expect_eq(mark_one(&inbox, NOTIFICATION_MARK_SEEN, 1, 10, 0), 1);
    cr_expect_eq(mark_one(&inbox, NOTIFICATION_MARK_SEEN, 1, 11, 0), 0, "again");
    expect_counts(&inbox, 7, 6, 5);
    cr_expect_eq(mark_one(&inbox, NOTIFICATION_MARK_READ, 1, 12, 0), 1);
    cr_expect_eq(mark_one(&inbox, NOTIFICATION_MARK_READ, 2, 13, 0), 1);
    expect_counts(&inbox, 9, 4, 4);
    struct notification_item item = item_of(&inbox, 1);
    cr_expect_eq(item.state, NOTIFICATION_READ);
    cr_expect_eq(item.seen_at, 10, "the first time holds");
    cr_expect_eq(item.read_at, 12);
    cr_expect_eq(item_of(&inbox, 2).seen_at, 13, "what is read was seen");
    cr_expect_eq(mark_one(&inbox, NOTIFICATION_MARK_UNREAD, 2, 14, 0), 1);
    cr_expect_eq(mark_one(&inbox, NOTIFICATION_MARK_UNREAD, 2, 15, 0), 0);
    expect_counts(&inbox, 10, 5, 4);
    item = item_of(&inbox, 2);
    cr_expect_eq(item.state, NOTIFICATION_SEEN, "nothing becomes unseen again");
    cr_expect_eq(item.read_at, 0);
    cr_expect_eq(item.new_rev, 2, "it is where it was");
    cr_expect_eq(mark_one(&inbox, NOTIFICATION_MARK_READ, 2, 16, 0), 1);
    expect_counts(&inbox, 11, 4, 4);
    close_inbox(&inbox);
}

BOTH(what_is_archived_comes_back_as_it_was)
{
    struct inbox inbox;
    open_inbox(&inbox, url);
    (void)mark_one(&inbox, NOTIFICATION_MARK_READ, 1, 10, 0);
    (void)mark_one(&inbox, NOTIFICATION_MARK_SEEN, 2, 11, 0);
    expect_counts(&inbox, 8, 5, 4);
    cr_expect_eq(mark_bulk(&inbox, NOTIFICATION_MARK_ARCHIVE, ""), 6);
    expect_counts(&inbox, 9, 0, 0);
    cr_expect_eq(mark_bulk(&inbox, NOTIFICATION_MARK_READ, ""), 0, "they are out of the list");
    cr_expect_eq(mark_one(&inbox, NOTIFICATION_MARK_UNREAD, 1, 12, 0), 0);
    struct store_sync sync = {
        .base.op = STORE_SYNC, .who = inbox.who, .rev = 9, .limit = STORE_PAGE_MAX};
    cr_expect_eq(mark_bulk(&inbox, NOTIFICATION_MARK_UNARCHIVE, ""), 6);
    expect_counts(&inbox, 10, 5, 4);
    cr_expect_eq(item_of(&inbox, 1).state, NOTIFICATION_READ);
    cr_expect_eq(item_of(&inbox, 2).state, NOTIFICATION_SEEN);
    cr_expect_eq(item_of(&inbox, 3).state, NOTIFICATION_UNREAD);
    cr_expect_eq(item_of(&inbox, 3).new_rev, 3, "not new: it stands where it stood");
    cr_assert_eq(harness_run(&inbox.harness, 0, &sync.base), 0);
    cr_expect_eq(sync.item_count, 6, "a device that never had them gets them whole");
    cr_expect_eq(sync.change_count, 0);
    store_request_finish(&sync.base);
    (void)mark_one(&inbox, NOTIFICATION_MARK_READ, 3, 13, 0);
    sync.rev = 10;
    cr_assert_eq(harness_run(&inbox.harness, 0, &sync.base), 0);
    cr_expect_eq(sync.item_count, 0);
    cr_expect_eq(sync.change_count, 1, "who has the row hears of its state only");
    store_request_finish(&sync.base);
    close_inbox(&inbox);
}

/* Whether a device at `rev`, turning pages of two, is given the row of `seq` as a whole. */
static bool is_given(struct inbox *inbox, uint64_t rev, uint64_t seq)
{
    struct store_sync sync = {.base.op = STORE_SYNC, .who = inbox->who, .rev = rev, .limit = 2};
    bool given = false;
    bool done = false;
    while (!done) {
        cr_assert_eq(harness_run(&inbox->harness, 0, &sync.base), 0);
        for (size_t i = 0; i < sync.item_count; i++) {
            given |= sync.items[i].seq == seq;
        }
        done = sync.done;
        sync.rev = sync.through_rev;
        store_request_finish(&sync.base);
    }
    return given;
}

BOTH(what_is_taken_out_of_the_archive_is_told_as_a_whole_on_whatever_page)
{
    struct inbox inbox;
    open_inbox(&inbox, url);
    cr_expect_eq(mark_one(&inbox, NOTIFICATION_MARK_ARCHIVE, 1, 50, 0), 1);
    uint64_t rev = position_of(&inbox.harness, inbox.who).rev;
    cr_expect_eq(mark_one(&inbox, NOTIFICATION_MARK_UNARCHIVE, 1, 51, 0), 1);
    cr_expect_eq(mark_one(&inbox, NOTIFICATION_MARK_READ, 2, 52, 0), 1);
    cr_expect_eq(mark_one(&inbox, NOTIFICATION_MARK_READ, 3, 53, 0), 1);
    cr_expect_eq(mark_one(&inbox, NOTIFICATION_MARK_READ, 1, 54, 0), 1, "behind the first page");
    cr_expect(is_given(&inbox, rev, 1));
    close_inbox(&inbox);
}

BOTH(what_is_snoozed_comes_back_new)
{
    struct inbox inbox;
    open_inbox(&inbox, url);
    (void)mark_one(&inbox, NOTIFICATION_MARK_READ, 1, 10, 0);
    cr_expect_eq(mark_one(&inbox, NOTIFICATION_MARK_SNOOZE, 1, 11, 500), 1);
    cr_expect_eq(mark_one(&inbox, NOTIFICATION_MARK_SNOOZE, 2, 11, 400), 1);
    cr_expect_eq(mark_one(&inbox, NOTIFICATION_MARK_SNOOZE, 2, 11, 500), 1, "another time");
    expect_counts(&inbox, 10, 4, 4);
    cr_expect_eq(mark_one(&inbox, NOTIFICATION_MARK_READ, 2, 12, 0), 0, "it is not in the list");
    cr_expect_eq(mark_bulk(&inbox, NOTIFICATION_MARK_ARCHIVE, "odd"), 2, "bulk leaves it alone");
    expect_counts(&inbox, 11, 2, 2);
    struct store_list list = {.base.op = STORE_LIST, .who = inbox.who, .limit = 10};
    list.states = 1u << NOTIFICATION_SNOOZED;
    cr_assert_eq(harness_run(&inbox.harness, 0, &list.base), 0);
    cr_assert_eq(list.count, 2);
    cr_expect_eq(list.items[0].snoozed_until, 500);
    store_request_finish(&list.base);
    struct store_sweep sweep = {
        .base.op = STORE_SWEEP, .now = 499, .limit = 10, .tombstone_ms = 100000};
    cr_assert_eq(harness_run(&inbox.harness, 0, &sweep.base), 0);
    cr_expect_eq(sweep.user_count, 0, "not yet");
    store_request_finish(&sweep.base);
    sweep.now = 500;
    cr_assert_eq(harness_run(&inbox.harness, 0, &sweep.base), 0);
    cr_assert_eq(sweep.user_count, 1);
    cr_expect(sweep.users[0].news);
    cr_expect_eq(sweep.users[0].change_count, 2, "both in one rev");
    cr_expect_eq(sweep.users[0].position.unseen, 4);
    store_request_finish(&sweep.base);
    expect_counts(&inbox, 12, 4, 4);
    struct notification_item item = item_of(&inbox, 1);
    cr_expect_eq(item.state, NOTIFICATION_UNREAD, "also what was read");
    cr_expect(item.seen_at == 0 && item.read_at == 0 && item.snoozed_until == 0);
    cr_expect_eq(item.resurfaced_at, 500);
    list.states = 0;
    list.limit = 1;
    static const uint64_t order[] = {2, 1, 5, 3};
    for (size_t i = 0; i < ARRAY_LEN(order); i++) {
        cr_assert_eq(harness_run(&inbox.harness, 0, &list.base), 0);
        cr_assert_eq(list.count, 1);
        cr_expect_eq(list.items[0].seq, order[i], "place %zu: %lu", i, list.items[0].seq);
        list.before = list.next;
        store_request_finish(&list.base);
    }
    cr_expect_eq(list.before.new_rev, 0, "the last page");
    close_inbox(&inbox);
}

BOTH(a_snooze_ends_by_waking_archiving_deleting_and_expiry)
{
    struct inbox inbox;
    open_inbox(&inbox, url);
    struct store_row due = row_of(inbox.who, 99, 99);
    due.expires_at = 300;
    put_row(&inbox.harness, &due);
    cr_expect_eq(mark_bulk(&inbox, NOTIFICATION_MARK_SNOOZE, ""), 7);
    expect_counts(&inbox, 8, 0, 0);
    cr_expect_eq(mark_one(&inbox, NOTIFICATION_MARK_WAKE, 1, 60, 0), 1);
    expect_counts(&inbox, 9, 1, 1);
    cr_expect_eq(mark_one(&inbox, NOTIFICATION_MARK_ARCHIVE, 2, 60, 0), 1);
    cr_expect_eq(mark_one(&inbox, NOTIFICATION_MARK_UNARCHIVE, 2, 61, 0), 1);
    cr_expect_eq(item_of(&inbox, 2).state, NOTIFICATION_UNREAD, "not snoozed any more");
    expect_counts(&inbox, 11, 2, 2);
    cr_expect_eq(mark_one(&inbox, NOTIFICATION_MARK_DELETE, 3, 62, 0), 1);
    struct store_sweep sweep = {
        .base.op = STORE_SWEEP, .now = 400, .limit = 10, .tombstone_ms = 100000};
    cr_assert_eq(harness_run(&inbox.harness, 0, &sweep.base), 0);
    cr_assert_eq(sweep.user_count, 1);
    cr_expect_not(sweep.users[0].news);
    cr_expect_eq(sweep.users[0].changes[0].state, NOTIFICATION_EXPIRED);
    store_request_finish(&sweep.base);
    expect_counts(&inbox, 13, 2, 2);
    cr_expect_eq(mark_bulk(&inbox, NOTIFICATION_MARK_WAKE, "odd"), 2);
    cr_expect_eq(mark_bulk(&inbox, NOTIFICATION_MARK_WAKE, ""), 1);
    expect_counts(&inbox, 15, 5, 5);
    close_inbox(&inbox);
}

BOTH(bulk_calls_change_one_type)
{
    struct inbox inbox;
    open_inbox(&inbox, url);
    cr_expect_eq(mark_bulk(&inbox, NOTIFICATION_MARK_SEEN, "none"), 0);
    cr_expect_eq(mark_bulk(&inbox, NOTIFICATION_MARK_SEEN, "odd"), 3);
    expect_counts(&inbox, 7, 6, 3);
    cr_expect_eq(mark_bulk(&inbox, NOTIFICATION_MARK_READ, "even"), 3);
    expect_counts(&inbox, 8, 3, 0);
    cr_expect_eq(mark_bulk(&inbox, NOTIFICATION_MARK_UNREAD, ""), 3);
    expect_counts(&inbox, 9, 6, 0);
    cr_expect_eq(mark_one(&inbox, NOTIFICATION_MARK_ARCHIVE, 1, 20, 0), 1);
    cr_expect_eq(mark_bulk(&inbox, NOTIFICATION_MARK_DELETE, "even"), 2, "not the archived one");
    cr_expect_eq(mark_one(&inbox, NOTIFICATION_MARK_DELETE, 1, 21, 0), 1, "by its id it goes");
    expect_counts(&inbox, 12, 3, 0);
    close_inbox(&inbox);
}

BOTH(what_has_changed_since_stays)
{
    struct inbox inbox;
    open_inbox(&inbox, url);
    (void)mark_one(&inbox, NOTIFICATION_MARK_SEEN, 2, 10, 0); /* rev 7 */
    (void)mark_one(&inbox, NOTIFICATION_MARK_READ, 4, 10, 0); /* rev 8 */
    uint8_t ids[5][NOTIFICATION_ID_LEN];
    for (size_t i = 0; i < 4; i++) {
        memcpy(ids[i], inbox.rows[i].id, NOTIFICATION_ID_LEN);
    }
    memcpy(ids[4], inbox.rows[1].id, NOTIFICATION_ID_LEN); /* named twice */
    struct store_mark mark = mark_of(inbox.who, NOTIFICATION_MARK_READ, 20);
    mark.ids = (const uint8_t(*)[NOTIFICATION_ID_LEN])ids;
    mark.id_count = 5;
    mark.if_rev = 6;
    cr_assert_eq(harness_run(&inbox.harness, 0, &mark.base), 0);
    cr_expect_eq(mark.change_count, 2, "1 and 3");
    cr_assert_eq(mark.late_count, 1, "2; 4 is read already, so nothing was lost");
    cr_expect_eq(mark.late[0].seq, 2);
    cr_expect_eq(mark.position.rev, 9);
    cr_expect_eq(mark.position.unread, 3);
    store_request_finish(&mark.base);
    mark.ids = (const uint8_t(*)[NOTIFICATION_ID_LEN])ids[1];
    mark.id_count = 1;
    cr_assert_eq(harness_run(&inbox.harness, 0, &mark.base), 0);
    cr_expect_not(mark.changed);
    cr_expect_eq(mark.late_count, 1);
    cr_expect_eq(mark.position.rev, 9, "no rev is used");
    cr_expect_eq(mark.position.unread, 3);
    store_request_finish(&mark.base);
    mark.if_rev = 7;
    cr_assert_eq(harness_run(&inbox.harness, 0, &mark.base), 0);
    cr_expect_eq(mark.change_count, 1);
    store_request_finish(&mark.base);
    struct store_mark erase = erase_of(inbox.who, 30);
    erase.if_rev = 8;
    cr_assert_eq(harness_run(&inbox.harness, 0, &erase.base), 0);
    cr_expect_eq(erase.change_count, 3, "4, 5, 6");
    cr_expect_eq(erase.late_count, 3);
    store_request_finish(&erase.base);
    expect_counts(&inbox, 11, 0, 0);
    close_inbox(&inbox);
}

/* How many of the rows 1 to 3 a verb says it has lost, because they have changed since rev 6. */
static size_t count_lost(struct inbox *inbox, enum notification_verb verb)
{
    uint8_t ids[3][NOTIFICATION_ID_LEN];
    for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
        memcpy(ids[i], inbox->rows[i].id, NOTIFICATION_ID_LEN);
    }
    struct store_mark mark = mark_of(inbox->who, verb, 20);
    mark.ids = (const uint8_t(*)[NOTIFICATION_ID_LEN])ids;
    mark.id_count = ARRAY_LEN(ids);
    mark.if_rev = 6;
    mark.until = 1000;
    cr_assert_eq(harness_run(&inbox->harness, 0, &mark.base), 0);
    cr_expect_not(mark.changed);
    size_t count = mark.late_count;
    store_request_finish(&mark.base);
    return count;
}

BOTH(who_comes_too_late_is_told_what_is_lost)
{
    struct inbox inbox;
    open_inbox(&inbox, url);
    (void)mark_one(&inbox, NOTIFICATION_MARK_ARCHIVE, 1, 10, 0);
    (void)mark_one(&inbox, NOTIFICATION_MARK_SNOOZE, 2, 10, 1000);
    (void)mark_one(&inbox, NOTIFICATION_MARK_READ, 3, 10, 0);
    cr_expect_eq(count_lost(&inbox, NOTIFICATION_MARK_SEEN), 1, "2 will come back");
    cr_expect_eq(count_lost(&inbox, NOTIFICATION_MARK_READ), 1, "2 will come back");
    cr_expect_eq(count_lost(&inbox, NOTIFICATION_MARK_UNREAD), 3);
    cr_expect_eq(count_lost(&inbox, NOTIFICATION_MARK_ARCHIVE), 2, "1 is where it was to go");
    cr_expect_eq(count_lost(&inbox, NOTIFICATION_MARK_UNARCHIVE), 2, "3 is in the list");
    cr_expect_eq(count_lost(&inbox, NOTIFICATION_MARK_SNOOZE), 3);
    cr_expect_eq(count_lost(&inbox, NOTIFICATION_MARK_WAKE), 2, "3 is in the list");
    cr_expect_eq(count_lost(&inbox, NOTIFICATION_MARK_DELETE), 3);
    expect_counts(&inbox, 9, 3, 3);
    close_inbox(&inbox);
}

/* Mark rows up to `seq`; how many changed. */
static size_t mark_up_to(
    struct harness *harness, struct store_user who, enum notification_verb verb, uint64_t seq)
{
    struct store_mark mark = mark_of(who, verb, 50);
    mark.states = notification_mark_states(verb, true);
    mark.up_to = seq;
    cr_assert_eq(harness_run(harness, 0, &mark.base), 0);
    size_t count = mark.total;
    store_request_finish(&mark.base);
    return count;
}

/* How many changes a device at `rev` is told; 0: it is to list again. */
static size_t count_told(struct harness *harness, struct store_user who, uint64_t rev)
{
    struct store_sync sync = {.base.op = STORE_SYNC, .who = who, .rev = rev, .limit = 500};
    size_t count = 0;
    bool done = false;
    while (!done) {
        cr_assert_eq(harness_run(harness, 0, &sync.base), 0);
        count += sync.change_count + sync.item_count;
        done = sync.done || sync.resync;
        cr_expect(!sync.resync || count == 0, "in the middle of what was told");
        sync.rev = sync.through_rev;
        store_request_finish(&sync.base);
    }
    return count;
}

static uint64_t rev_of(struct harness *harness, struct store_user who)
{
    return position_of(harness, who).rev;
}

BOTH(a_mark_that_is_larger_than_a_list_is_not_told_row_by_row)
{
    enum { MANY = STORE_MARK_TOLD_MAX + 1 };
    struct harness harness;
    harness_open(&harness, url);
    struct store_user who = user_of("hoarder");
    static struct store_row rows[STORE_PAGE_MAX];
    for (size_t stored = 0; stored < MANY;) {
        size_t count = MANY - stored < STORE_PAGE_MAX ? MANY - stored : STORE_PAGE_MAX;
        for (size_t i = 0; i < count; i++) {
            rows[i] = row_of(who, stored + i, stored + i);
        }
        struct store_put put = {.base.op = STORE_PUT, .rows = rows, .count = count};
        cr_assert_eq(harness_run(&harness, 0, &put.base), 0);
        store_request_finish(&put.base);
        stored += count;
    }
    uint64_t rev = rev_of(&harness, who);
    cr_expect_eq(mark_up_to(&harness, who, NOTIFICATION_MARK_SEEN, MANY - 1), MANY - 1);
    cr_expect_eq(count_told(&harness, who, rev), MANY - 1);
    rev = rev_of(&harness, who);
    cr_expect_eq(mark_up_to(&harness, who, NOTIFICATION_MARK_ARCHIVE, MANY), MANY);
    cr_expect_eq(count_told(&harness, who, rev), 0);
    rev = rev_of(&harness, who);
    cr_expect_eq(mark_up_to(&harness, who, NOTIFICATION_MARK_UNARCHIVE, MANY), MANY);
    uint64_t last = rev_of(&harness, who);
    cr_expect_eq(mark_up_to(&harness, who, NOTIFICATION_MARK_READ, 1), 1);
    cr_expect_eq(count_told(&harness, who, rev), 0, "whole rows, one of them changed since");
    cr_expect_eq(count_told(&harness, who, last), 1);
    rev = rev_of(&harness, who);
    cr_expect_eq(mark_up_to(&harness, who, NOTIFICATION_MARK_DELETE, MANY), MANY);
    cr_expect_eq(count_told(&harness, who, rev), 0, "tombstones");
    harness_close(&harness);
}

/* Another user's ids, and a user without an inbox. */
BOTH(nobody_marks_what_is_not_theirs)
{
    struct inbox inbox;
    open_inbox(&inbox, url);
    for (enum notification_verb verb = NOTIFICATION_MARK_SEEN; verb < NOTIFICATION_VERB_COUNT;
         verb++) {
        struct store_mark mark = mark_of(user_of("mallory"), verb, 10);
        mark.ids = (const uint8_t(*)[NOTIFICATION_ID_LEN]) & inbox.rows[0].id;
        mark.id_count = 1;
        mark.until = 20;
        cr_assert_eq(harness_run(&inbox.harness, 0, &mark.base), 0);
        cr_expect_not(mark.changed);
        cr_expect_eq(mark.position.rev, 0);
        store_request_finish(&mark.base);
    }
    expect_counts(&inbox, 6, 6, 6);
    struct store_mark bad = mark_of(inbox.who, NOTIFICATION_MARK_SNOOZE, 10);
    bad.up_to = 1;
    cr_expect_eq(harness_run(&inbox.harness, 0, &bad.base), STATUS_INVALID, "until when?");
    bad.until = (uint64_t)INT64_MAX + 1;
    cr_expect_eq(harness_run(&inbox.harness, 0, &bad.base), STATUS_INVALID);
    close_inbox(&inbox);
}
