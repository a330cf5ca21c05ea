/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Bulk marks of large inboxes: others are served between their steps, and each step is exact.
 *
 * Order of this file: an inbox and a mark, who is served, what is left alone, who waits, ends.
 */
#include <stdlib.h>

#include "codec/base/status.h"
#include "sql/store_edit.h"
#include "tests/unit/sql/both.h"

/* An inbox and a mark. */

enum { LARGE = 4500, STEPS = 5, COLLAPSED = 2600, LAST = LARGE - 1, INDEX_OF_LATE = 1500 };

/* A mark of the inbox of `large`, and what is done between its first two steps. */
struct marking {
    struct store_mark mark;
    struct harness *harness;
    unsigned steps; /* without the last one */
    unsigned prefixes; /* of them */
    uint64_t changed; /* by them */
    uint64_t rev; /* of the last of them */
    struct store_put *between;
    bool close;
    bool done;
};

static struct store_row rows[LARGE];

static void open_large(struct harness *harness, const char *url)
{
    harness_open(harness, url);
    for (size_t i = 0; i < LARGE; i++) {
        rows[i] = row_of(user_of("large"), i, i);
        rows[i].type = i % 10 == 0 ? BYTES("tenth") : BYTES("other");
        rows[i].collapse = i == COLLAPSED ? BYTES("name") : BYTES("");
    }
    for (size_t i = 0; i < LARGE; i += 500) {
        struct store_put put = {.base.op = STORE_PUT, .rows = &rows[i], .count = 500};
        cr_assert_eq(harness_run(harness, 0, &put.base), 0);
        store_request_finish(&put.base);
    }
}

static struct marking *marking_of(struct store_mark *mark)
{
    return container_of(mark, struct marking, mark);
}

static void on_step(struct store_mark *mark)
{
    struct marking *marking = marking_of(mark);
    cr_expect_leq(mark->change_count, STORE_MARK_STEP);
    cr_expect_eq(mark->total, marking->changed + mark->change_count);
    marking->steps++;
    marking->prefixes += mark->prefix;
    marking->changed += mark->change_count;
    marking->rev = mark->position.rev;
    if (marking->steps == 1 && marking->between != NULL) {
        store_submit(marking->harness->shards[0].port, &marking->between->base);
    }
    if (marking->steps == 1 && marking->close) {
        struct shard *shard = &marking->harness->shards[0];
        store_port_close(shard->port, harness_closed, &shard->closed);
    }
}

static void on_marked(struct store_request *request)
{
    container_of(request, struct marking, mark.base)->done = true;
}

static void begin(struct marking *marking, struct harness *harness, enum notification_verb verb)
{
    struct store_mark mark = mark_of(user_of("large"), verb, 50);
    mark.states = notification_mark_states(verb, true);
    mark.up_to = UINT64_MAX;
    mark.until = 1000;
    mark.stepped = on_step;
    mark.base.done = on_marked;
    *marking = (struct marking){.mark = mark, .harness = harness};
}

static void submit(struct marking *marking)
{
    store_submit(marking->harness->shards[0].port, &marking->mark.base);
}

static void finish(struct marking *marking)
{
    harness_wait(marking->harness, 0, &marking->done);
    cr_assert_eq(marking->mark.base.status, 0, "%d", marking->mark.base.status);
}

/* The counters are what the rows say. */
static void expect_exact(struct harness *harness, uint64_t unread, uint64_t unseen)
{
    struct store_counts counts = {.base.op = STORE_COUNTS, .who = user_of("large")};
    cr_assert_eq(harness_run(harness, 0, &counts.base), 0);
    uint64_t counted[2] = {0, 0};
    for (size_t i = 0; i < counts.group_count; i++) {
        counted[0] += counts.groups[i].unread;
        counted[1] += counts.groups[i].unseen;
    }
    cr_expect_eq(counts.position.unread, unread, "unread %lu", counts.position.unread);
    cr_expect_eq(counts.position.unseen, unseen, "unseen %lu", counts.position.unseen);
    cr_expect_eq(counted[0], unread, "rows unread %lu", counted[0]);
    cr_expect_eq(counted[1], unseen, "rows unseen %lu", counted[1]);
    store_request_finish(&counts.base);
}

/* Who is served. */

static bool mark_was_done; /* when the put was */
static bool put_was_done;
static const bool *mark_done;

static void on_put(struct store_request *request)
{
    cr_expect_eq(request->status, 0);
    mark_was_done = *mark_done;
    put_was_done = true;
}

/* A post that comes behind the mark is stored before its last step. */
static void expect_served(struct harness *harness, const char *name, enum notification_verb verb)
{
    struct marking marking;
    begin(&marking, harness, verb);
    struct store_row row = row_of(user_of(name), 100000 + (uint64_t)verb, 1);
    struct store_put put = {.base = {.op = STORE_PUT, .done = on_put}, .rows = &row, .count = 1};
    mark_done = &marking.done;
    put_was_done = false;
    submit(&marking);
    store_submit(harness->shards[0].port, &put.base);
    finish(&marking);
    harness_wait(harness, 0, &put_was_done);
    cr_expect_not(mark_was_done, "%s waited for all of the mark", name);
    cr_expect_eq(marking.steps, STEPS - 1);
    cr_expect_eq(marking.mark.total, LARGE);
    store_request_finish(&put.base);
    store_request_finish(&marking.mark.base);
}

BOTH(others_are_served_between_the_steps_of_a_mark)
{
    struct harness harness;
    open_large(&harness, url);
    expect_served(&harness, "bob", NOTIFICATION_MARK_SEEN);
    expect_exact(&harness, LARGE, 0);
    expect_served(&harness, "bob", NOTIFICATION_MARK_READ);
    expect_exact(&harness, 0, 0);
    expect_served(&harness, "bob", NOTIFICATION_MARK_UNREAD);
    expect_exact(&harness, LARGE, 0);
    expect_served(&harness, "bob", NOTIFICATION_MARK_ARCHIVE);
    expect_served(&harness, "bob", NOTIFICATION_MARK_UNARCHIVE);
    expect_served(&harness, "bob", NOTIFICATION_MARK_SNOOZE);
    expect_exact(&harness, 0, 0);
    expect_served(&harness, "bob", NOTIFICATION_MARK_WAKE);
    expect_exact(&harness, LARGE, LARGE);
    expect_served(&harness, "bob", NOTIFICATION_MARK_DELETE);
    expect_exact(&harness, 0, 0);
    expect_position(&harness, user_of("bob"), 8, 8, 8);
    harness_close(&harness);
}

BOTH(each_step_of_a_mark_takes_a_rev)
{
    struct harness harness;
    open_large(&harness, url);
    struct marking marking;
    begin(&marking, &harness, NOTIFICATION_MARK_READ);
    submit(&marking);
    finish(&marking);
    cr_expect_eq(marking.mark.position.rev, LARGE + STEPS);
    cr_expect_eq(marking.rev, LARGE + STEPS - 1);
    cr_expect_eq(marking.prefixes, STEPS - 1, "nobody came between");
    cr_expect(marking.mark.prefix);
    cr_expect_eq(marking.mark.through, LARGE);
    store_request_finish(&marking.mark.base);
    begin(&marking, &harness, NOTIFICATION_MARK_READ);
    submit(&marking);
    finish(&marking);
    cr_expect_eq(marking.steps, 0, "what is read is not looked at again");
    cr_expect_eq(marking.mark.total, 0);
    cr_expect_eq(marking.mark.position.rev, LARGE + STEPS);
    store_request_finish(&marking.mark.base);
    harness_close(&harness);
}

/* What is left alone. */

BOTH(a_mark_is_not_for_what_came_while_it_was_done)
{
    struct harness harness;
    open_large(&harness, url);
    struct store_row news[2] = {
        row_of(user_of("large"), 200000, 1), row_of(user_of("large"), 200001, 1)};
    news[1].collapse = BYTES("name"); /* takes the place of a row that the mark has not reached */
    struct store_put put = {
        .base = {.op = STORE_PUT, .done = on_put}, .rows = news, .count = ARRAY_LEN(news)};
    struct marking marking;
    begin(&marking, &harness, NOTIFICATION_MARK_READ);
    marking.between = &put;
    mark_done = &marking.done;
    put_was_done = false;
    submit(&marking);
    finish(&marking);
    cr_assert(put_was_done);
    cr_expect_eq(news[1].outcome, OUTCOME_COLLAPSED);
    cr_expect_eq(marking.mark.total, LARGE - 1);
    cr_expect_eq(marking.prefixes, 1, "a row below has changed since the first step");
    cr_expect_not(marking.mark.prefix);
    expect_exact(&harness, 2, 2);
    store_request_finish(&put.base);
    store_request_finish(&marking.mark.base);
    harness_close(&harness);
}

BOTH(a_mark_of_a_type_goes_through_all_rows_in_steps)
{
    struct harness harness;
    open_large(&harness, url);
    struct marking marking;
    begin(&marking, &harness, NOTIFICATION_MARK_READ);
    marking.mark.type = BYTES("tenth");
    submit(&marking);
    finish(&marking);
    cr_expect_eq(marking.mark.total, LARGE / 10);
    cr_expect_eq(marking.steps, STEPS - 1);
    expect_exact(&harness, LARGE - LARGE / 10, LARGE - LARGE / 10);
    store_request_finish(&marking.mark.base);
    harness_close(&harness);
}

BOTH(what_has_changed_since_is_told_of_all_steps)
{
    struct harness harness;
    open_large(&harness, url);
    uint8_t ids[2][NOTIFICATION_ID_LEN];
    memcpy(ids[0], rows[3].id, NOTIFICATION_ID_LEN);
    memcpy(ids[1], rows[INDEX_OF_LATE].id, NOTIFICATION_ID_LEN);
    struct store_mark seen = mark_of(user_of("large"), NOTIFICATION_MARK_SEEN, 40);
    seen.ids = (const uint8_t(*)[NOTIFICATION_ID_LEN])ids;
    seen.id_count = 2;
    cr_assert_eq(harness_run(&harness, 0, &seen.base), 0);
    store_request_finish(&seen.base);
    struct marking marking;
    begin(&marking, &harness, NOTIFICATION_MARK_READ);
    marking.mark.if_rev = LARGE;
    submit(&marking);
    finish(&marking);
    cr_expect_eq(marking.mark.total, LARGE - 2);
    cr_assert_eq(marking.mark.late_count, 2);
    cr_expect_eq(marking.mark.late[0].seq, 4);
    cr_expect_eq(marking.mark.late[1].seq, INDEX_OF_LATE + 1);
    expect_exact(&harness, 2, 0);
    store_request_finish(&marking.mark.base);
    harness_close(&harness);
}

/* Who waits. */

static void expect_one(struct store_request *request, const struct marking *marking)
{
    cr_expect_eq(request->status, 0);
    cr_expect(marking->done, "op %d came between the steps", request->op);
}

static struct marking ahead;

static void on_unread(struct store_request *request)
{
    const struct store_mark *mark = container_of(request, struct store_mark, base);
    expect_one(request, &ahead);
    cr_expect_eq(mark->change_count, 1, "the mark before has not read it yet");
    harness_done(request);
}

static void on_behind(struct store_request *request)
{
    expect_one(request, &ahead);
    harness_done(request);
}

BOTH(what_changes_the_same_rows_comes_behind_the_mark)
{
    struct harness harness;
    open_large(&harness, url);
    begin(&ahead, &harness, NOTIFICATION_MARK_READ);
    struct store_mark unread = mark_of(user_of("large"), NOTIFICATION_MARK_UNREAD, 60);
    unread.ids = (const uint8_t(*)[NOTIFICATION_ID_LEN]) & rows[LAST].id;
    unread.id_count = 1;
    unread.base.done = on_unread;
    struct store_mark archive = mark_of(user_of("large"), NOTIFICATION_MARK_ARCHIVE, 61);
    archive.states = notification_mark_states(NOTIFICATION_MARK_ARCHIVE, true);
    archive.up_to = LARGE - 10;
    archive.base.done = on_behind;
    struct store_edit edit = {.base = {.op = STORE_EDIT, .done = on_behind},
        .fields = NOTIFICATION_EDIT_TITLE,
        .title = BYTES("new"),
        .at = 62};
    memcpy(edit.id, rows[0].id, NOTIFICATION_ID_LEN);
    submit(&ahead);
    store_submit(harness.shards[0].port, &unread.base);
    store_submit(harness.shards[0].port, &archive.base);
    store_submit(harness.shards[0].port, &edit.base);
    finish(&ahead);
    harness_wait_all(&harness, 0, 3);
    cr_expect_eq(archive.total, LARGE - 10);
    cr_expect_eq(edit.item.state, NOTIFICATION_ARCHIVED);
    expect_exact(&harness, 1, 0);
    store_request_finish(&unread.base);
    store_request_finish(&archive.base);
    store_request_finish(&edit.base);
    store_request_finish(&ahead.mark.base);
    harness_close(&harness);
}

/* Both are large, and neither is known to be when the other is asked. */
BOTH(bulk_marks_of_one_user_do_not_mix)
{
    struct harness harness;
    open_large(&harness, url);
    struct marking first;
    struct marking second;
    struct marking third;
    begin(&first, &harness, NOTIFICATION_MARK_READ);
    begin(&second, &harness, NOTIFICATION_MARK_UNREAD);
    begin(&third, &harness, NOTIFICATION_MARK_ARCHIVE);
    third.mark.up_to = LAST;
    submit(&first);
    submit(&second);
    submit(&third);
    finish(&first);
    finish(&second);
    finish(&third);
    cr_expect_eq(first.mark.total, LARGE);
    cr_expect_eq(second.mark.total, LARGE, "%lu", second.mark.total);
    cr_expect_eq(third.mark.total, LAST, "%lu", third.mark.total);
    cr_expect_not(second.mark.prefix);
    expect_exact(&harness, 1, 0);
    store_request_finish(&first.mark.base);
    store_request_finish(&second.mark.base);
    store_request_finish(&third.mark.base);
    harness_close(&harness);
}

/* Ends. */

BOTH(a_mark_that_is_cut_off_leaves_whole_steps)
{
    struct harness harness;
    open_large(&harness, url);
    struct marking marking;
    begin(&marking, &harness, NOTIFICATION_MARK_READ);
    marking.close = true;
    submit(&marking);
    harness_wait(&harness, 0, &marking.done);
    cr_expect_eq(marking.mark.base.status, STATUS_UNKNOWN, "%d", marking.mark.base.status);
    store_request_finish(&marking.mark.base);
    harness_close(&harness);
    harness_open(&harness, url);
    expect_exact(&harness, LARGE - STORE_MARK_STEP, LARGE - STORE_MARK_STEP);
    begin(&marking, &harness, NOTIFICATION_MARK_READ);
    submit(&marking);
    finish(&marking);
    cr_expect_eq(marking.mark.total, LARGE - STORE_MARK_STEP, "again does the rest");
    expect_exact(&harness, 0, 0);
    store_request_finish(&marking.mark.base);
    harness_close(&harness);
}
