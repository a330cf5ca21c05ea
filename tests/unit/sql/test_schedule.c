/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is posted for later: kept until it is due, stored once, changed and cancelled before.
 *
 * Order of this file: helpers, keeping, delivering, changing, posts to many, who is gone, plenty.
 */
#include <libpq-fe.h>
#include <stdio.h>
#include <string.h>

#include "codec/base/clock.h"
#include "codec/base/status.h"
#include "codec/slot.h"
#include "sql/store_forget.h"
#include "sql/store_preference.h"
#include "tests/unit/sql/audience.h"
#include "tests/unit/sql/both.h"

enum { ALL_PARTS = (1 << STORE_SCHEDULE_PARTS) - 1, HOUR = 3600000, BODY = 1000 };

static struct store_row late_row(struct store_user who, uint64_t key, int64_t in_ms)
{
    struct store_row row = row_of(who, key, key);
    row.deliver_at = (uint64_t)((int64_t)clock_wall_ms() + in_ms);
    return row;
}

static void ask_due(struct harness *harness, struct store_due *due, uint32_t limit)
{
    *due = (struct store_due){
        .base.op = STORE_DUE, .parts = ALL_PARTS, .limit = limit, .max_bytes = INT64_MAX};
    cr_assert_eq(harness_run(harness, 0, &due->base), 0, "%d", due->base.status);
}

static size_t count_due(struct harness *harness)
{
    struct store_due due;
    ask_due(harness, &due, STORE_DUE_MAX);
    size_t count = due.count;
    store_request_finish(&due.base);
    return count;
}

/* Store a post to many as it was kept. */
static int put_kept_post(
    struct harness *harness, const struct store_scheduled *kept, struct store_audience_post *ret)
{
    *ret = (struct store_audience_post){.base.op = STORE_AUDIENCE_POST,
        .tenant = kept->row.who.tenant,
        .kind = kept->kind,
        .name = kept->name,
        .include_new = kept->include_new,
        .type = kept->row.type,
        .title = kept->row.title,
        .message = kept->row.message,
        .data = kept->row.data,
        .priority = kept->row.priority,
        .created_at = clock_wall_ms(),
        .expires_at = kept->row.expires_at,
        .deliver_at = kept->row.deliver_at,
        .due = true,
        .version = kept->row.version};
    memcpy(ret->id, kept->row.id, NOTIFICATION_ID_LEN);
    memcpy(ret->key_hash, kept->row.key_hash, STORE_HASH_LEN);
    memcpy(ret->content_hash, kept->row.content_hash, STORE_HASH_LEN);
    return harness_run(harness, 1, &ret->base);
}

/* Store what was found to be due: the status; the rows stay in `rows`. */
static int put_kept(struct harness *harness, const struct store_due *due, struct store_row *rows)
{
    for (size_t i = 0; i < due->count; i++) {
        rows[i] = due->items[i].row;
        rows[i].created_at = clock_wall_ms();
    }
    struct store_put put = {.base.op = STORE_PUT, .rows = rows, .count = due->count};
    int status = harness_run(harness, 1, &put.base);
    store_request_finish(&put.base);
    return status;
}

/* Deliver the one row that is due; it is told without its texts. */
static struct store_row deliver_one(struct harness *harness)
{
    struct store_due due;
    struct store_row row;
    ask_due(harness, &due, 10);
    cr_assert_eq(due.count, 1, "%zu", due.count);
    cr_assert_eq(put_kept(harness, &due, &row), 0);
    store_request_finish(&due.base);
    return row;
}

static struct store_reschedule change_of(const uint8_t id[NOTIFICATION_ID_LEN])
{
    struct store_reschedule change = {.base.op = STORE_RESCHEDULE};
    memcpy(change.id, id, NOTIFICATION_ID_LEN);
    return change;
}

static void cancel(struct harness *harness, const uint8_t id[NOTIFICATION_ID_LEN], int expected)
{
    struct store_reschedule change = change_of(id);
    change.cancel = true;
    cr_expect_eq(harness_run(harness, 2, &change.base), expected, "%d", change.base.status);
    store_request_finish(&change.base);
}

static size_t count_rows(struct harness *harness, struct store_user who)
{
    struct store_list list = {.base.op = STORE_LIST, .who = who, .limit = 100};
    cr_assert_eq(harness_run(harness, 0, &list.base), 0);
    size_t count = list.count;
    store_request_finish(&list.base);
    return count;
}

/* --- keeping --- */

BOTH(what_is_for_later_has_no_number_and_is_in_no_list)
{
    struct harness harness;
    harness_open(&harness, url);
    struct store_user who = user_of("alice");
    struct store_row row = late_row(who, 1, HOUR);
    put_row(&harness, &row);
    cr_expect_eq(row.outcome, OUTCOME_SCHEDULED);
    cr_expect_eq(row.seq, STORE_SEQ_SCHEDULED);
    cr_expect_eq(row.rev, 0);
    expect_position(&harness, who, 0, 0, 0);
    cr_expect_eq(count_rows(&harness, who), 0);
    struct store_get get = {.base.op = STORE_GET};
    memcpy(get.id, row.id, NOTIFICATION_ID_LEN);
    cr_expect_eq(harness_run(&harness, 0, &get.base), STATUS_NOT_FOUND);
    store_request_finish(&get.base);
    struct store_due due;
    ask_due(&harness, &due, 10);
    cr_expect_eq(due.count, 0);
    cr_expect_not(due.more);
    cr_expect_eq(due.next, row.deliver_at);
    cr_expect(due.now + 60000 > clock_wall_ms() && due.now < clock_wall_ms() + 60000);
    store_request_finish(&due.base);
    harness_close(&harness);
}

BOTH(a_key_is_taken_when_it_is_posted)
{
    struct harness harness;
    harness_open(&harness, url);
    struct store_user who = user_of("alice");
    struct store_row rows[] = {
        late_row(who, 1, HOUR), late_row(who, 1, HOUR), late_row(who, 1, HOUR)};
    memset(rows[2].content_hash, 7, STORE_HASH_LEN);
    struct store_put put = {.base.op = STORE_PUT, .rows = rows, .count = ARRAY_LEN(rows)};
    cr_assert_eq(harness_run(&harness, 0, &put.base), 0);
    store_request_finish(&put.base);
    cr_expect_eq(rows[0].outcome, OUTCOME_SCHEDULED);
    cr_expect_eq(rows[1].outcome, OUTCOME_DUPLICATE);
    cr_expect_eq(rows[2].outcome, OUTCOME_CONFLICT);
    struct store_row repeat = row_of(who, 1, 1); /* one that is not for later */
    put_row(&harness, &repeat);
    cr_expect_eq(repeat.outcome, OUTCOME_DUPLICATE);
    cr_expect_eq(repeat.seq, STORE_SEQ_SCHEDULED);
    cr_expect_arr_eq(repeat.id, rows[0].id, NOTIFICATION_ID_LEN);
    struct store_row later = late_row(who, 1, HOUR);
    put_row(&harness, &later);
    cr_expect_eq(later.outcome, OUTCOME_DUPLICATE);
    cr_expect_eq(later.seq, STORE_SEQ_SCHEDULED);
    cr_expect_arr_eq(later.id, rows[0].id, NOTIFICATION_ID_LEN);
    struct store_row stored = row_of(who, 2, 2);
    put_row(&harness, &stored);
    later = late_row(who, 2, HOUR); /* a repeat of what is stored is not kept */
    put_row(&harness, &later);
    cr_expect_eq(later.outcome, OUTCOME_DUPLICATE);
    cr_expect_eq(later.seq, 1);
    cr_expect_eq(later.rev, 1);
    expect_position(&harness, who, 1, 1, 1);
    harness_close(&harness);
}

BOTH(what_is_kept_and_what_is_stored_is_not_mixed)
{
    struct harness harness;
    harness_open(&harness, url);
    struct store_row rows[] = {late_row(user_of("a"), 1, HOUR), row_of(user_of("b"), 2, 2)};
    struct store_put put = {.base.op = STORE_PUT, .rows = rows, .count = 2};
    cr_expect_eq(harness_run(&harness, 0, &put.base), STATUS_INVALID);
    harness_close(&harness);
}

BOTH(a_partition_moves_with_what_it_keeps)
{
    struct harness harness;
    harness_open(&harness, url);
    struct store_claim claim = {.base.op = STORE_CLAIM, .partition = 1, .owner = BYTES("n")};
    cr_assert_eq(harness_run(&harness, 0, &claim.base), 0);
    struct store_row row = late_row(user_of("alice"), 1, -1);
    struct store_put put = {.base.op = STORE_PUT,
        .rows = &row,
        .count = 1,
        .fenced = true,
        .partition = 1,
        .token = claim.token + 1,
        .last_id = BYTES("5-0")};
    cr_expect_eq(harness_run(&harness, 0, &put.base), STATUS_FENCED);
    cr_expect_eq(count_due(&harness), 0);
    put.token = claim.token;
    store_request_finish(&claim.base);
    cr_expect_eq(harness_run(&harness, 0, &put.base), 0);
    store_request_finish(&put.base);
    cr_expect_eq(count_due(&harness), 1);
    cr_assert_eq(harness_run(&harness, 0, &claim.base), 0);
    cr_expect(bytes_eq_str(claim.last_id, "5-0"));
    store_request_finish(&claim.base);
    harness_close(&harness);
}

/* --- delivering --- */

BOTH(what_is_due_is_stored_once)
{
    struct harness harness;
    harness_open(&harness, url);
    struct store_user who = user_of("alice");
    struct store_row row = late_row(who, 1, -1);
    row.data = BYTES("{\"a\":1}");
    row.priority = NOTIFICATION_HIGH;
    put_row(&harness, &row);
    struct store_due due;
    struct store_row stored;
    ask_due(&harness, &due, 10);
    cr_assert_eq(due.count, 1);
    cr_expect(bytes_eq(due.items[0].row.title, row.title));
    cr_expect(bytes_eq(due.items[0].row.data, row.data));
    cr_expect_eq(due.items[0].row.priority, NOTIFICATION_HIGH);
    cr_expect_eq(due.items[0].row.deliver_at, row.deliver_at);
    cr_expect_eq(put_kept(&harness, &due, &stored), 0);
    cr_expect_eq(stored.outcome, OUTCOME_STORED);
    cr_expect_eq(stored.seq, 1);
    cr_expect_eq(stored.rev, 1);
    cr_expect_arr_eq(stored.id, row.id, NOTIFICATION_ID_LEN);
    cr_expect_eq(put_kept(&harness, &due, &stored), STATUS_FENCED, "another may have told it too");
    store_request_finish(&due.base);
    cr_expect_eq(count_due(&harness), 0);
    expect_position(&harness, who, 1, 1, 1);
    struct store_row repeat = row_of(who, 1, 1);
    put_row(&harness, &repeat);
    cr_expect_eq(repeat.outcome, OUTCOME_DUPLICATE);
    cr_expect_eq(repeat.seq, 1, "the key knows the number by now");
    harness_close(&harness);
}

BOTH(of_two_who_deliver_one_does)
{
    enum { ROWS = 20, NODES = 4 };
    struct harness harness;
    harness_open(&harness, url);
    static struct store_row kept[ROWS];
    static struct store_row rows[NODES][ROWS];
    char names[ROWS][8];
    for (unsigned i = 0; i < ROWS; i++) {
        (void)snprintf(names[i], sizeof(names[i]), "u%u", i);
        kept[i] = late_row(user_of(names[i]), i, -1);
    }
    struct store_put put = {.base.op = STORE_PUT, .rows = kept, .count = ROWS};
    cr_assert_eq(harness_run(&harness, 0, &put.base), 0);
    store_request_finish(&put.base);
    struct store_due due;
    ask_due(&harness, &due, STORE_DUE_MAX);
    cr_assert_eq(due.count, ROWS);
    struct store_put puts[NODES];
    for (unsigned node = 0; node < NODES; node++) {
        for (unsigned i = 0; i < ROWS; i++) { /* each in another order */
            rows[node][i] = due.items[(i * 7 + node) % ROWS].row;
        }
        puts[node] = (struct store_put){
            .base = {.op = STORE_PUT, .done = harness_done}, .rows = rows[node], .count = ROWS};
        store_submit(harness.shards[node].port, &puts[node].base);
    }
    for (unsigned node = 0; node < NODES; node++) {
        harness_wait_all(&harness, node, 1);
    }
    unsigned stored = 0;
    for (unsigned node = 0; node < NODES; node++) {
        stored += puts[node].base.status == 0;
        int status = puts[node].base.status; /* where all are slow, a lock is waited for in vain */
        cr_expect(status == 0 || status == STATUS_FENCED || status == STATUS_TIMEOUT, "%d", status);
        store_request_finish(&puts[node].base);
    }
    cr_expect_eq(stored, 1);
    store_request_finish(&due.base);
    for (unsigned i = 0; i < ROWS; i++) {
        expect_position(&harness, user_of(names[i]), 1, 1, 1);
    }
    harness_close(&harness);
}

BOTH(what_has_expired_by_then_is_never_told)
{
    struct harness harness;
    harness_open(&harness, url);
    struct store_row rows[] = {late_row(user_of("a"), 1, -10), late_row(user_of("b"), 2, -10)};
    rows[0].expires_at = rows[0].deliver_at;
    rows[1].expires_at = rows[1].deliver_at + HOUR;
    put_row(&harness, &rows[0]);
    put_row(&harness, &rows[1]);
    struct store_due due;
    ask_due(&harness, &due, 10);
    cr_expect_eq(due.expired, 1);
    cr_assert_eq(due.count, 1);
    cr_expect(bytes_eq_str(due.items[0].row.who.user, "b"));
    cr_expect_eq(due.items[0].row.expires_at, rows[1].expires_at);
    store_request_finish(&due.base);
    ask_due(&harness, &due, 10);
    cr_expect_eq(due.expired, 0, "it has gone");
    store_request_finish(&due.base);
    cancel(&harness, rows[0].id, STATUS_NOT_FOUND);
    harness_close(&harness);
}

BOTH(collapsing_and_preferences_are_those_of_the_moment)
{
    struct harness harness;
    harness_open(&harness, url);
    struct store_user who = user_of("alice");
    struct store_row row = late_row(who, 1, -1);
    row.collapse = BYTES("thread");
    put_row(&harness, &row);
    struct store_row open = row_of(who, 2, 2);
    open.collapse = BYTES("thread");
    put_row(&harness, &open);
    cr_expect_eq(open.outcome, OUTCOME_STORED, "what is kept is not open yet");
    struct store_row stored = deliver_one(&harness);
    cr_expect_eq(stored.outcome, OUTCOME_COLLAPSED);
    cr_expect_eq(stored.seq, 1);
    cr_expect_eq(stored.count, 2);
    expect_position(&harness, who, 1, 2, 1);
    row = late_row(who, 3, -1);
    put_row(&harness, &row);
    struct store_preference write = {.base.op = STORE_PREFERENCE_WRITE,
        .who = who,
        .body = BYTES("{\"types\":{\"invoice\":{\"inbox\":false}}}")};
    char body[128];
    (void)snprintf(body, sizeof(body), "{\"types\":{\"%.*s\":{\"inbox\":false}}}",
        (int)row.type.len, row.type.at);
    write.body = bytes_str(body);
    cr_assert_eq(harness_run(&harness, 0, &write.base), 0);
    store_request_finish(&write.base);
    stored = deliver_one(&harness);
    cr_expect_eq(stored.outcome, OUTCOME_SUPPRESSED);
    expect_position(&harness, who, 1, 2, 1);
    cr_expect_eq(count_due(&harness), 0);
    harness_close(&harness);
}

/* --- changing --- */

BOTH(what_is_kept_can_be_changed)
{
    struct harness harness;
    harness_open(&harness, url);
    struct store_user who = user_of("alice");
    struct store_row row = late_row(who, 1, -1);
    put_row(&harness, &row);
    struct store_due before;
    struct store_row stored;
    ask_due(&harness, &before, 10);
    struct store_reschedule change = change_of(row.id);
    change.fields = NOTIFICATION_RESCHEDULE_ALL;
    change.title = BYTES("other");
    change.data = BYTES("[1]");
    change.priority = NOTIFICATION_URGENT;
    change.expires_at = clock_wall_ms() + 2 * HOUR;
    change.deliver_at = clock_wall_ms() + HOUR;
    cr_assert_eq(harness_run(&harness, 0, &change.base), 0);
    cr_expect(bytes_eq_str(change.item.row.title, "other"));
    cr_expect_eq(change.item.row.message.len, 0);
    cr_expect_eq(change.item.row.deliver_at, change.deliver_at);
    store_request_finish(&change.base);
    cr_expect_eq(count_due(&harness), 0, "it is due later now");
    cr_expect_eq(put_kept(&harness, &before, &stored), STATUS_FENCED, "as it was it is no more");
    store_request_finish(&before.base);
    change.fields = NOTIFICATION_EDIT_DELIVER;
    change.title = BYTES("not meant");
    change.deliver_at = clock_wall_ms() - 1;
    cr_assert_eq(harness_run(&harness, 0, &change.base), 0);
    store_request_finish(&change.base);
    struct store_due due;
    ask_due(&harness, &due, 10);
    cr_assert_eq(due.count, 1);
    cr_expect(bytes_eq_str(due.items[0].row.title, "other"));
    cr_expect(bytes_eq_str(due.items[0].row.data, "[1]"));
    cr_expect_eq(due.items[0].row.priority, NOTIFICATION_URGENT);
    cr_expect_eq(put_kept(&harness, &due, &stored), 0);
    store_request_finish(&due.base);
    cr_expect_eq(harness_run(&harness, 0, &change.base), STATUS_NOT_FOUND, "it is delivered");
    harness_close(&harness);
}

BOTH(what_is_kept_can_be_read_and_cancelled)
{
    struct harness harness;
    harness_open(&harness, url);
    struct store_user who = {.tenant = BYTES("acme"), .user = BYTES("alice")};
    struct store_row row = late_row(who, 1, -1);
    put_row(&harness, &row);
    struct store_due before;
    struct store_row stored;
    ask_due(&harness, &before, 10);
    cancel(&harness, row.id, STATUS_NOT_FOUND); /* of another tenant */
    struct store_reschedule change = change_of(row.id);
    change.tenant = who.tenant;
    cr_assert_eq(harness_run(&harness, 0, &change.base), 0);
    cr_expect(bytes_eq_str(change.item.row.who.user, "alice"));
    cr_expect_eq(change.item.row.version, 0, "it was only read");
    store_request_finish(&change.base);
    change.cancel = true;
    cr_expect_eq(harness_run(&harness, 0, &change.base), 0);
    store_request_finish(&change.base);
    cr_expect_eq(harness_run(&harness, 0, &change.base), STATUS_NOT_FOUND);
    cr_expect_eq(put_kept(&harness, &before, &stored), STATUS_FENCED);
    store_request_finish(&before.base);
    expect_position(&harness, who, 0, 0, 0);
    struct store_row repeat = row_of(who, 1, 1);
    put_row(&harness, &repeat);
    cr_expect_eq(repeat.outcome, OUTCOME_DUPLICATE, "its key stays");
    cr_expect_eq(repeat.seq, STORE_SEQ_SCHEDULED);
    harness_close(&harness);
}

/* --- posts to many --- */

static struct store_audience_post late_post(const char *topic, uint64_t key, int64_t in_ms)
{
    struct store_audience_post post = post_of(topic, key);
    post.deliver_at = (uint64_t)((int64_t)clock_wall_ms() + in_ms);
    return post;
}

/* Deliver the one post to many that is due: its number. */
static uint64_t deliver_post(struct harness *harness)
{
    struct store_due due;
    struct store_audience_post post;
    ask_due(harness, &due, 10);
    cr_assert_eq(due.count, 1, "%zu", due.count);
    cr_assert_eq(due.items[0].row.who.user.len, 0);
    cr_assert_eq(put_kept_post(harness, &due.items[0], &post), 0, "%d", post.base.status);
    cr_expect_eq(post.outcome, OUTCOME_STORED);
    uint64_t n = post.n;
    store_request_finish(&post.base);
    cr_expect_eq(put_kept_post(harness, &due.items[0], &post), STATUS_FENCED);
    store_request_finish(&due.base);
    return n;
}

BOTH(who_is_subscribed_when_it_is_due_gets_it)
{
    struct harness harness;
    harness_open(&harness, url);
    subscribe_to(&harness, "early", "news");
    subscribe_to(&harness, "gone", "news");
    struct store_audience_post post = late_post("news", 1, -1);
    post_many(&harness, &post);
    cr_expect_eq(post.outcome, OUTCOME_SCHEDULED);
    cr_expect_eq(post.n, STORE_SEQ_SCHEDULED);
    struct store_audience_post repeat = late_post("news", 1, -1);
    post_many(&harness, &repeat);
    cr_expect_eq(repeat.outcome, OUTCOME_DUPLICATE);
    cr_expect_eq(repeat.n, STORE_SEQ_SCHEDULED);
    cr_expect_arr_eq(repeat.id, post.id, NOTIFICATION_ID_LEN);
    subscribe_to(&harness, "late", "news");
    unsubscribe_from(&harness, "gone", "news");
    expect_position(&harness, user_of("early"), 0, 0, 0);
    cr_expect_eq(deliver_post(&harness), 1);
    subscribe_to(&harness, "too late", "news");
    expect_position(&harness, user_of("early"), 1, 1, 1);
    expect_position(&harness, user_of("late"), 1, 1, 1);
    expect_position(&harness, user_of("gone"), 0, 0, 0);
    expect_position(&harness, user_of("too late"), 0, 0, 0);
    post_many(&harness, &repeat);
    cr_expect_eq(repeat.outcome, OUTCOME_DUPLICATE);
    cr_expect_eq(repeat.n, 1);
    cr_expect_arr_eq(repeat.id, post.id, NOTIFICATION_ID_LEN, "its id stays");
    post.n = 1;
    retract_post(&harness, &post);
    harness_close(&harness);
}

BOTH(everybody_is_who_has_an_inbox_when_it_is_due)
{
    struct harness harness;
    harness_open(&harness, url);
    struct store_row row = row_of(user_of("early"), 1, 1);
    put_row(&harness, &row);
    struct store_audience_post post = late_post(NULL, 1, -1);
    post.include_new = true;
    post_many(&harness, &post);
    row = row_of(user_of("late"), 1, 1);
    put_row(&harness, &row);
    (void)deliver_post(&harness);
    expect_position(&harness, user_of("early"), 2, 2, 2);
    expect_position(&harness, user_of("late"), 2, 2, 2);
    row = row_of(user_of("new"), 1, 1);
    put_row(&harness, &row);
    expect_position(&harness, user_of("new"), 2, 2, 2);
    harness_close(&harness);
}

BOTH(users_of_a_list_are_kept_with_it)
{
    struct harness harness;
    harness_open(&harness, url);
    const struct bytes users[] = {BYTES("a"), BYTES("b"), BYTES("c"), BYTES("b")};
    struct store_audience_post post = late_post(NULL, 1, -1);
    post.kind = AUDIENCE_LIST;
    post.users = users;
    post.user_count = ARRAY_LEN(users);
    post_many(&harness, &post);
    cr_expect_eq(post.outcome, OUTCOME_SCHEDULED);
    expect_position(&harness, user_of("a"), 0, 0, 0);
    struct store_row row = row_of(user_of("a"), 5, 5);
    put_row(&harness, &row); /* what moves `through` leaves what is kept */
    struct store_forget forget = {.base.op = STORE_FORGET, .who = user_of("c")};
    cr_assert_eq(harness_run(&harness, 0, &forget.base), 0);
    store_request_finish(&forget.base);
    uint64_t other = post_to(&harness, NULL, 2);
    expect_position(&harness, user_of("a"), 2, 2, 2);
    cr_expect_eq(deliver_post(&harness), other + 1);
    expect_position(&harness, user_of("a"), 3, 3, 3);
    expect_position(&harness, user_of("b"), 1, 1, 1);
    expect_position(&harness, user_of("c"), 0, 0, 0);
    post = late_post(NULL, 3, -1);
    post.kind = AUDIENCE_LIST;
    post.users = users;
    post.user_count = ARRAY_LEN(users);
    post_many(&harness, &post);
    cancel(&harness, post.id, 0);
    struct store_subscribers left = {.base.op = STORE_SUBSCRIBERS, .limit = 10};
    char name[40];
    uuid_format(post.id, name);
    left.topic = bytes_of(name, UUID_TEXT_LEN);
    cr_assert_eq(harness_run(&harness, 0, &left.base), 0);
    cr_expect_eq(left.count, 0);
    store_request_finish(&left.base);
    harness_close(&harness);
}

/* --- who is gone, and plenty --- */

BOTH(what_is_kept_is_erased_with_its_user)
{
    struct harness harness;
    harness_open(&harness, url);
    struct store_user who = user_of("alice");
    struct store_row rows[] = {late_row(who, 1, -1), late_row(who, 2, HOUR)};
    put_row(&harness, &rows[0]);
    put_row(&harness, &rows[1]);
    struct store_row other = late_row(user_of("bob"), 1, -1);
    put_row(&harness, &other);
    struct store_due before;
    struct store_row stored[3];
    ask_due(&harness, &before, 10);
    cr_expect_eq(before.count, 2);
    struct store_forget forget = {.base.op = STORE_FORGET, .who = who};
    cr_assert_eq(harness_run(&harness, 0, &forget.base), 0);
    cr_expect_eq(forget.erased[STORE_FORGOTTEN_SCHEDULED], 2);
    cr_expect_not(forget.more);
    store_request_finish(&forget.base);
    cr_expect_eq(put_kept(&harness, &before, stored), STATUS_FENCED);
    store_request_finish(&before.base);
    cr_expect_eq(deliver_one(&harness).seq, 1, "the other's is there");
    struct store_position position = position_of(&harness, who);
    cr_expect_eq(position.seq, 0);
    harness_close(&harness);
}

BOTH(what_is_due_is_told_in_the_order_of_its_times)
{
    enum { ROWS = 40, LIMIT = 7 };
    struct harness harness;
    harness_open(&harness, url);
    static struct store_row rows[ROWS];
    char names[ROWS][8];
    for (unsigned i = 0; i < ROWS; i++) {
        (void)snprintf(names[i], sizeof(names[i]), "u%u", i);
        rows[i] = late_row(user_of(names[i]), i, -1000 - (int64_t)(i * 7 % ROWS));
    }
    struct store_put put = {.base.op = STORE_PUT, .rows = rows, .count = ROWS};
    cr_assert_eq(harness_run(&harness, 0, &put.base), 0);
    store_request_finish(&put.base);
    uint64_t last = 0;
    size_t count = 0;
    bool more = true;
    while (more) {
        struct store_due due;
        struct store_row stored[LIMIT];
        ask_due(&harness, &due, LIMIT);
        cr_expect_leq(due.count, LIMIT);
        for (size_t i = 0; i < due.count; i++) {
            cr_expect_geq(due.items[i].row.deliver_at, last);
            last = due.items[i].row.deliver_at;
        }
        more = due.more;
        count += due.count;
        cr_assert(due.count == 0 || put_kept(&harness, &due, stored) == 0);
        store_request_finish(&due.base);
    }
    cr_expect_eq(count, ROWS);
    harness_close(&harness);
}

/* Somebody else's transaction, which has locked one inbox. */
static PGconn *lock_inbox(const char *url, const char *user)
{
    PGconn *other = PQconnectdb(url);
    char sql[128];
    (void)snprintf(
        sql, sizeof(sql), "BEGIN; SELECT FROM peal.inbox WHERE user_id = '%s' FOR UPDATE", user);
    PGresult *locked = PQexec(other, sql);
    cr_assert_eq(PQntuples(locked), 1, "%s", PQerrorMessage(other));
    PQclear(locked);
    return other;
}

/* Who delivers would wait for them, and with them all others. */
Test(postgres, what_is_due_for_a_locked_inbox_is_left_for_the_next_time)
{
    enum { LIMIT = 4, MANY = 3 * LIMIT };
    char url[URL_MAX];
    harness_url("postgres", url);
    struct harness harness;
    harness_open(&harness, url);
    struct store_row first = row_of(user_of("alice"), 1000, 1000);
    put_row(&harness, &first);
    for (unsigned i = 0; i < MANY; i++) {
        struct store_row row = late_row(user_of("alice"), i, -2 * HOUR);
        put_row(&harness, &row);
    }
    struct store_row other = late_row(user_of("bob"), 1, -HOUR); /* he has no inbox yet */
    put_row(&harness, &other);
    PGconn *locker = lock_inbox(url, "alice");
    struct store_due due;
    ask_due(&harness, &due, LIMIT);
    cr_assert_eq(due.count, 1, "%zu", due.count);
    cr_expect(bytes_eq_str(due.items[0].row.who.user, "bob"));
    cr_expect(due.next > 0 && due.next < due.now - HOUR, "alice's are due next: now");
    struct store_row row;
    cr_expect_eq(put_kept(&harness, &due, &row), 0);
    store_request_finish(&due.base);
    ask_due(&harness, &due, LIMIT);
    cr_expect_eq(due.count, 0, "%zu", due.count);
    cr_expect_not(due.more, "it is not asked again at once");
    store_request_finish(&due.base);
    PQclear(PQexec(locker, "COMMIT"));
    PQfinish(locker);
    cr_expect_eq(count_due(&harness), MANY);
    harness_close(&harness);
}

BOTH(parts_are_told_apart_and_bytes_are_bounded)
{
    enum { ROWS = 24 };
    static char text[BODY];
    struct harness harness;
    harness_open(&harness, url);
    memset(text, 'x', sizeof(text));
    char names[ROWS][8];
    for (unsigned i = 0; i < ROWS; i++) {
        (void)snprintf(names[i], sizeof(names[i]), "u%u", i);
        struct store_row row = late_row(user_of(names[i]), i, -1);
        row.message = bytes_of(text, sizeof(text));
        put_row(&harness, &row);
    }
    size_t sum = 0;
    for (unsigned part = 0; part < STORE_SCHEDULE_PARTS; part++) {
        struct store_due due = {
            .base.op = STORE_DUE, .parts = 1u << part, .limit = 100, .max_bytes = INT64_MAX};
        cr_assert_eq(harness_run(&harness, 0, &due.base), 0);
        for (size_t i = 0; i < due.count; i++) {
            cr_expect_eq(slot_part(slot_of_id(due.items[i].row.id), STORE_SCHEDULE_PARTS), part);
        }
        sum += due.count;
        store_request_finish(&due.base);
    }
    cr_expect_eq(sum, ROWS);
    struct store_due due = {
        .base.op = STORE_DUE, .parts = ALL_PARTS, .limit = 100, .max_bytes = 3 * BODY};
    cr_assert_eq(harness_run(&harness, 0, &due.base), 0);
    cr_expect_eq(due.count, 3);
    cr_expect(due.more);
    store_request_finish(&due.base);
    due.max_bytes = 1;
    cr_assert_eq(harness_run(&harness, 0, &due.base), 0);
    cr_expect_eq(due.count, 1, "at least one");
    store_request_finish(&due.base);
    harness_close(&harness);
}
