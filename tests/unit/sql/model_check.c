/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is read of a store must be what the model says. Order of this file: one row, lists, devices,
 * what else is read, checkpoints.
 */
#include <string.h>

#include "codec/base/status.h"
#include "codec/notification_digest.h"
#include "codec/slot.h"
#include "sql/store_audience.h"
#include "sql/store_preference.h"
#include "tests/unit/sql/model_run.h"

/* --- one row --- */

void run_expect_position(
    struct run *run, const struct model_inbox *inbox, const struct store_position *position)
{
    uint64_t unread = model_count(inbox, NOTIFICATION_SEEN);
    uint64_t unseen = model_count(inbox, NOTIFICATION_UNREAD);
    MUST(run, position->seq == inbox->count, "%s: seq %lu, not %zu", inbox->user, position->seq,
        inbox->count);
    MUST(run, position->rev == inbox->rev, "%s: rev %lu, not %lu", inbox->user, position->rev,
        inbox->rev);
    MUST(run, position->unread == unread, "%s: unread %lu, not %lu", inbox->user, position->unread,
        unread);
    MUST(run, position->unseen == unseen, "%s: unseen %lu, not %lu", inbox->user, position->unseen,
        unseen);
}

/* A row keeps the id that it was first told with, which names its user's slot. */
static struct model_row *expect_id(
    struct run *run, struct model_inbox *inbox, uint64_t seq, const uint8_t *id)
{
    MUST(run, seq >= 1 && seq <= inbox->count, "%s: seq %lu", inbox->user, seq);
    struct model_row *row = &inbox->rows[seq - 1];
    if (!row->id_known) {
        struct store_user who = run_user(inbox);
        MUST(run, slot_of_id(id) == slot_of(who.tenant, who.user), "%s: seq %lu", inbox->user, seq);
        memcpy(row->id, id, NOTIFICATION_ID_LEN);
        row->id_known = true;
    }
    MUST(run, memcmp(row->id, id, NOTIFICATION_ID_LEN) == 0, "%s: seq %lu: another id", inbox->user,
        seq);
    return row;
}

void run_expect_change(
    struct run *run, struct model_inbox *inbox, const struct notification_change *change)
{
    const struct model_row *row = expect_id(run, inbox, change->seq, change->id);
    enum notification_state state = model_state(row);
    MUST(
        run, change->rev == row->rev, "seq %lu: rev %lu, not %lu", row->seq, change->rev, row->rev);
    MUST(run, change->state == state, "seq %lu: %d, not %d", row->seq, change->state, state);
    MUST(run, state != NOTIFICATION_SNOOZED || change->snoozed_until == row->snoozed_until,
        "seq %lu: until %lu, not %lu", row->seq, change->snoozed_until, row->snoozed_until);
}

static void expect_times(
    struct run *run, const struct model_row *row, const struct notification_item *item)
{
    const uint64_t times[][2] = {
        {item->created_at, row->created_at},
        {item->updated_at, row->updated_at},
        {item->expires_at, row->expires_at},
        {item->snoozed_until, row->snoozed_until},
        {item->seen_at, row->seen_at},
        {item->read_at, row->read_at},
        {item->archived_at, row->archived_at},
        {item->resurfaced_at, row->resurfaced_at},
    };
    for (size_t i = 0; i < ARRAY_LEN(times); i++) {
        MUST(run, times[i][0] == times[i][1], "seq %lu: time %zu is %lu, not %lu", row->seq, i,
            times[i][0], times[i][1]);
    }
}

static void expect_content(
    struct run *run, const struct model_row *row, const struct notification_item *item)
{
    const struct model_content *content = &row->content;
    MUST(run, bytes_eq(item->type, run_type(content->type)), "seq %lu: type", row->seq);
    MUST(run, bytes_eq(item->title, run_title(content->title)), "seq %lu: title", row->seq);
    MUST(run, bytes_eq(item->message, run_message(content->message)), "seq %lu: message", row->seq);
    MUST(run, bytes_eq(item->data, run_data(content->data)), "seq %lu: data", row->seq);
    MUST(run, item->priority == content->priority, "seq %lu: %d", row->seq, item->priority);
}

/* What a digest remembers: the last posts, each with what it said. */
void run_expect_digest(struct run *run, const struct model_row *row, struct bytes digest)
{
    MUST(run, digest.len == 0 || notification_digest_is_valid(digest), "seq %lu", row->seq);
    for (size_t i = row->digest_count; i > 0; i--) {
        struct notification_digest_entry told;
        const struct model_gathered *wanted = &row->digest[i - 1];
        const struct model_content *content = &wanted->content;
        MUST(run, notification_digest_take(&digest, &told), "seq %lu lacks %zu", row->seq, i);
        MUST(run, memcmp(told.id, wanted->id, NOTIFICATION_ID_LEN) == 0 && told.at == wanted->at,
            "seq %lu: another post at %zu", row->seq, i);
        bool same = told.priority == content->priority &&
                    bytes_eq(told.title, run_title(content->title)) &&
                    bytes_eq(told.message, run_message(content->message)) &&
                    bytes_eq(told.data, run_data(content->data));
        MUST(run, same, "seq %lu: other content at %zu", row->seq, i);
    }
    MUST(run, digest.len == 0, "seq %lu: more than %zu posts", row->seq, row->digest_count);
}

/* What a row says of the post to many that it shows. */
static void expect_audience(
    struct run *run, const struct model_row *row, const struct notification_item *item)
{
    if (row->shown == 0) {
        MUST(run, item->audience == AUDIENCE_NONE, "seq %lu: %d", row->seq, item->audience);
        return;
    }
    const struct model_post *post = &run->model.posts[row->shown - 1];
    struct bytes name = post->kind == AUDIENCE_TOPIC ? run_topic(post->topic) : BYTES("");
    MUST(run, item->audience == post->kind, "seq %lu: %d", row->seq, item->audience);
    MUST(run, memcmp(item->audience_id, post->id, NOTIFICATION_ID_LEN) == 0,
        "seq %lu: another post", row->seq);
    MUST(run, bytes_eq(item->audience_name, name), "seq %lu: another topic", row->seq);
}

void run_expect_item(
    struct run *run, struct model_inbox *inbox, const struct notification_item *item)
{
    const struct model_row *row = expect_id(run, inbox, item->seq, item->id);
    MUST(run, row->presence == MODEL_IS_THERE, "seq %lu has gone", row->seq);
    MUST(run, item->state == model_state(row), "seq %lu: %d, not %d", row->seq, item->state,
        model_state(row));
    MUST(run, item->rev == row->rev && item->new_rev == row->new_rev,
        "seq %lu: rev %lu new at %lu, not %lu at %lu", row->seq, item->rev, item->new_rev, row->rev,
        row->new_rev);
    MUST(
        run, item->count == row->count, "seq %lu: %lu, not %lu", row->seq, item->count, row->count);
    char name = item->collapse.len > 0 ? item->collapse.at[0] : '\0';
    MUST(run, name == row->name, "seq %lu", row->seq);
    expect_times(run, row, item);
    expect_content(run, row, item);
    expect_audience(run, row, item);
    run_expect_digest(run, row, item->digest);
}

/* --- lists --- */

/* A filter, and the same as a store is asked. */
static void draw_filter(struct run *run, struct model_filter *ret_filter,
    struct bytes ret_types[MODEL_TYPES], struct store_list *ret_list)
{
    struct model_filter *filter = ret_filter;
    uint64_t now = run->model.now;
    *filter = (struct model_filter){.ascending = run_draw(run, 3) == 0};
    filter->states = run_draw(run, 2) ? 0 : (uint32_t)run_draw(run, NOTIFICATION_ALL_STATES + 1);
    filter->states = run_draw(run, 4) ? filter->states : NOTIFICATION_ALL_STATES;
    filter->priorities = run_draw(run, 3) ? 0 : (uint32_t)run_draw(run, 16);
    filter->types = run_draw(run, 3) ? 0 : (uint32_t)run_draw(run, 1u << MODEL_TYPES);
    filter->from = run_draw(run, 4) ? 0 : now - run_draw(run, 5000);
    filter->to = run_draw(run, 4) ? 0 : now - run_draw(run, 5000);
    ret_list->ascending = filter->ascending;
    ret_list->states = filter->states;
    ret_list->priorities = filter->priorities;
    ret_list->from = filter->from;
    ret_list->to = filter->to;
    ret_list->types = ret_types;
    for (unsigned i = 0; i < MODEL_TYPES; i++) {
        if (filter->types >> i & 1) {
            ret_types[ret_list->type_count++] = run_type(i);
        }
    }
}

void run_check_list(struct run *run, struct model_inbox *inbox)
{
    struct store_list list = {.base.op = STORE_LIST, .who = run_user(inbox)};
    struct model_filter filter;
    struct bytes types[MODEL_TYPES];
    const struct model_row *rows[MODEL_ROWS_MAX];
    size_t told = 0;
    model_read(&run->model, inbox, false);
    draw_filter(run, &filter, types, &list);
    size_t wanted = model_list(inbox, &filter, rows);
    do {
        list.limit = 1 + (uint32_t)run_draw(run, 100);
        run_ask(run, &list.base);
        for (size_t i = 0; i < list.count; i++, told++) {
            MUST(run, told < wanted, "%zu are listed", wanted);
            MUST(run, list.items[i].seq == rows[told]->seq, "place %zu: seq %lu, not %lu", told,
                list.items[i].seq, rows[told]->seq);
            run_expect_item(run, inbox, &list.items[i]);
        }
        MUST(run, list.next.new_rev == 0 || list.count == list.limit, "a page of %zu", list.count);
        run_expect_position(run, inbox, &list.position);
        struct store_cursor next = list.next;
        store_request_finish(&list.base);
        list.before = next;
    } while (list.before.new_rev > 0);
    MUST(run, told == wanted, "%zu listed, not %zu", told, wanted);
}

/* A page that has a number, in one of the two orders. */
static void check_page(struct run *run, struct model_inbox *inbox)
{
    struct store_page page = {.list.base.op = STORE_PAGE,
        .list.who = run_user(inbox),
        .list.limit = 1 + (uint32_t)run_draw(run, 30),
        .by_priority = run_draw(run, 2) == 0,
        .skip = (uint32_t)run_draw(run, 40),
        .counted = run_draw(run, 2) == 0};
    struct model_filter filter;
    struct bytes types[MODEL_TYPES];
    const struct model_row *rows[MODEL_ROWS_MAX];
    model_read(&run->model, inbox, false);
    draw_filter(run, &filter, types, &page.list);
    filter.by_priority = page.by_priority;
    size_t total = model_list(inbox, &filter, rows);
    size_t left = total > page.skip ? total - page.skip : 0;
    size_t wanted = left < page.list.limit ? left : page.list.limit;
    run_ask(run, &page.list.base);
    MUST(run, page.list.count == wanted, "%zu on the page, not %zu", page.list.count, wanted);
    MUST(run, !page.counted || (page.total == total && !page.more), "%lu, not %zu", page.total,
        total);
    for (size_t i = 0; i < wanted; i++) {
        MUST(run, page.list.items[i].seq == rows[page.skip + i]->seq, "place %zu: seq %lu, not %lu",
            i, page.list.items[i].seq, rows[page.skip + i]->seq);
        run_expect_item(run, inbox, &page.list.items[i]);
    }
    run_expect_position(run, inbox, &page.list.position);
    store_request_finish(&page.list.base);
}

/* --- devices --- */

/* A page tells each row that it must, and no other. */
static void expect_page(struct run *run, struct model_inbox *inbox, const struct store_sync *sync)
{
    size_t items = 0;
    size_t changes = 0;
    for (size_t i = 0; i < inbox->count; i++) {
        items += model_is_item(&inbox->rows[i], sync->rev, sync->through_rev);
        changes += model_is_change(&inbox->rows[i], sync->rev, sync->through_rev);
    }
    MUST(run, sync->item_count == items, "%zu items, not %zu", sync->item_count, items);
    MUST(run, sync->change_count == changes, "%zu changes, not %zu", sync->change_count, changes);
    for (size_t i = 0; i < items; i++) {
        run_expect_item(run, inbox, &sync->items[i]);
        const struct model_row *row = &inbox->rows[sync->items[i].seq - 1];
        MUST(run, model_is_item(row, sync->rev, sync->through_rev), "seq %lu", row->seq);
    }
    for (size_t i = 0; i < changes; i++) {
        run_expect_change(run, inbox, &sync->changes[i]);
        const struct model_row *row = &inbox->rows[sync->changes[i].seq - 1];
        MUST(run, model_is_change(row, sync->rev, sync->through_rev), "seq %lu", row->seq);
    }
}

/* The rev at which entry `i` of a page is told, items first. */
static uint64_t told_at(const struct model_inbox *inbox, const struct store_sync *sync, size_t i)
{
    if (i >= sync->item_count) {
        return sync->changes[i - sync->item_count].rev;
    }
    const struct model_row *row = &inbox->rows[sync->items[i].seq - 1];
    return row->new_rev > sync->rev ? row->new_rev : row->whole_rev;
}

/* No rev is cut in two, and only a single one makes a page larger than it was asked for. */
static void expect_size(
    struct run *run, const struct model_inbox *inbox, const struct store_sync *sync)
{
    size_t count = sync->item_count + sync->change_count;
    for (size_t i = 1; i < count && count > sync->limit; i++) {
        MUST(run, told_at(inbox, sync, i) == told_at(inbox, sync, 0), "%zu in a page of %u", count,
            sync->limit);
    }
    MUST(run, sync->through_rev > sync->rev || sync->done, "no progress");
    MUST(run, sync->done == (sync->through_rev == inbox->rev), "through %lu of %lu",
        sync->through_rev, inbox->rev);
}

static void apply_page(struct run *run, struct replica *replica, const struct store_sync *sync)
{
    uint64_t newest = replica->rev;
    for (size_t i = 0; i < sync->item_count; i++) {
        const struct notification_item *item = &sync->items[i];
        replica->has[item->seq] = item->state != NOTIFICATION_ARCHIVED;
        replica->state[item->seq] = item->state;
    }
    for (size_t i = 0; i < sync->change_count; i++) {
        const struct notification_change *change = &sync->changes[i];
        bool goes = change->state >= NOTIFICATION_EXPIRED || change->state == NOTIFICATION_ARCHIVED;
        MUST(run, change->rev >= newest, "oldest change first");
        MUST(run, replica->has[change->seq] || goes, "seq %lu: a change of what it has not got",
            change->seq);
        newest = change->rev;
        replica->has[change->seq] = replica->has[change->seq] && !goes;
        replica->state[change->seq] = change->state;
    }
    replica->rev = sync->through_rev;
}

/* The device lists again: what it had is nothing. */
static void start_again(
    struct replica *replica, const struct model_inbox *inbox, const struct store_sync *sync)
{
    memset(replica, 0, sizeof(*replica));
    for (size_t i = 0; i < inbox->count; i++) {
        const struct model_row *row = &inbox->rows[i];
        replica->has[row->seq] = row->presence == MODEL_IS_THERE && row->archived_at == 0;
        replica->state[row->seq] = model_state(row);
    }
    replica->rev = sync->position.rev;
}

bool run_sync_page(struct run *run, struct model_inbox *inbox, struct replica *replica)
{
    struct store_sync sync = {.base.op = STORE_SYNC,
        .who = run_user(inbox),
        .rev = replica->rev,
        .limit = 1 + (uint32_t)run_draw(run, 40)};
    model_read(&run->model, inbox, false);
    run_ask(run, &sync.base);
    bool resyncs = model_resyncs(inbox, sync.rev);
    MUST(run, sync.resync == resyncs, "%s from %lu", inbox->user, sync.rev);
    run_expect_position(run, inbox, &sync.position);
    bool done = sync.done;
    if (resyncs) {
        start_again(replica, inbox, &sync);
        done = true;
    } else {
        expect_page(run, inbox, &sync);
        expect_size(run, inbox, &sync);
        apply_page(run, replica, &sync);
    }
    store_request_finish(&sync.base);
    return done;
}

/* To the end of a sync; then the device has what there is, as it is. */
static void expect_replica(struct run *run, struct model_inbox *inbox, struct replica *replica)
{
    for (size_t pages = 0; !run_sync_page(run, inbox, replica); pages++) {
        MUST(run, pages < 10 * MODEL_ROWS_MAX, "it never ends");
    }
    for (size_t i = 0; i < inbox->count; i++) {
        const struct model_row *row = &inbox->rows[i];
        bool kept = row->presence == MODEL_IS_THERE && row->archived_at == 0;
        MUST(run, replica->has[row->seq] == kept, "%s seq %lu", inbox->user, row->seq);
        MUST(run, !kept || replica->state[row->seq] == model_state(row), "seq %lu: %d, not %d",
            row->seq, replica->state[row->seq], model_state(row));
    }
}

/* From a rev at which the device may never have stood: only what is told is looked at. */
static void check_sync(struct run *run, struct model_inbox *inbox)
{
    uint64_t rev = run_draw(run, inbox->rev + 2);
    struct store_sync sync = {.base.op = STORE_SYNC,
        .who = run_user(inbox),
        .rev = rev,
        .limit = 1 + (uint32_t)run_draw(run, STORE_PAGE_MAX)};
    model_read(&run->model, inbox, false);
    run_ask(run, &sync.base);
    MUST(run, sync.resync == model_resyncs(inbox, rev), "%s from %lu", inbox->user, rev);
    if (!sync.resync) {
        expect_page(run, inbox, &sync);
        expect_size(run, inbox, &sync);
    }
    store_request_finish(&sync.base);
}

/* --- what else is read --- */

void run_check_position(struct run *run, struct model_inbox *inbox)
{
    struct store_user who = run_user(inbox);
    struct store_positions positions = {.base.op = STORE_POSITIONS, .users = &who, .count = 1};
    model_read(&run->model, inbox, false);
    run_ask(run, &positions.base);
    run_expect_position(run, inbox, &positions.positions[0]);
    store_request_finish(&positions.base);
}

/* The group that a row counts in. */
static unsigned group_of(const struct model_row *row, bool by_priority)
{
    return by_priority ? (unsigned)row->content.priority : row->content.type;
}

static void expect_group(struct run *run, const struct model_inbox *inbox,
    const struct store_group *group, bool by_priority)
{
    uint64_t unread = 0;
    uint64_t unseen = 0;
    for (size_t i = 0; i < inbox->count; i++) {
        const struct model_row *row = &inbox->rows[i];
        bool mine = by_priority ? group->priority == row->content.priority
                                : bytes_eq(group->type, run_type(row->content.type));
        bool there = mine && row->presence == MODEL_IS_THERE;
        unread += there && model_state(row) <= NOTIFICATION_SEEN;
        unseen += there && model_state(row) == NOTIFICATION_UNREAD;
    }
    MUST(run, group->unread == unread && unread > 0, "%lu, not %lu", group->unread, unread);
    MUST(run, group->unseen == unseen, "%lu, not %lu", group->unseen, unseen);
}

static void check_counts(struct run *run, struct model_inbox *inbox)
{
    enum { GROUPS_MAX = 8 };
    struct store_counts counts = {
        .base.op = STORE_COUNTS, .who = run_user(inbox), .by_priority = run_draw(run, 2) == 0};
    bool open[GROUPS_MAX] = {0};
    size_t wanted = 0;
    model_read(&run->model, inbox, false);
    run_ask(run, &counts.base);
    for (size_t i = 0; i < inbox->count; i++) {
        const struct model_row *row = &inbox->rows[i];
        unsigned group = group_of(row, counts.by_priority);
        bool is_open = row->presence == MODEL_IS_THERE && model_state(row) <= NOTIFICATION_SEEN;
        wanted += is_open && !open[group];
        open[group] |= is_open;
    }
    MUST(run, counts.group_count == wanted, "%zu groups, not %zu", counts.group_count, wanted);
    for (size_t i = 0; i < counts.group_count; i++) {
        expect_group(run, inbox, &counts.groups[i], counts.by_priority);
        MUST(run, i == 0 || counts.groups[i].unread <= counts.groups[i - 1].unread,
            "the largest first");
    }
    run_expect_position(run, inbox, &counts.position);
    store_request_finish(&counts.base);
}

/* One row by its id: not of another tenant, nor what was taken back. */
static void check_get(struct run *run, struct model_inbox *inbox)
{
    const struct model_row *row =
        inbox->count > 0 ? &inbox->rows[run_draw(run, inbox->count)] : NULL;
    if (row == NULL || !row->id_known) {
        return;
    }
    bool elsewhere = run_draw(run, 8) == 0;
    struct store_get get = {.base.op = STORE_GET,
        .who.tenant = run_tenant(elsewhere ? 1 - inbox->tenant : inbox->tenant)};
    memcpy(get.id, row->id, NOTIFICATION_ID_LEN);
    bool found =
        row->presence == MODEL_IS_THERE && !elsewhere && !model_is_retracted(&run->model, row);
    int status = run_try(run, &get.base);
    MUST(run, status == (found ? 0 : STATUS_NOT_FOUND), "seq %lu: %d", row->seq, status);
    if (found) {
        run_expect_item(run, inbox, &get.item);
    }
    store_request_finish(&get.base);
}

static void check_preferences(struct run *run, const struct model_inbox *inbox)
{
    struct store_preference read = {.base.op = STORE_PREFERENCE_READ, .who = run_user(inbox)};
    run_ask(run, &read.base);
    if (inbox->preferences[0] == '\0') {
        MUST(run, read.body.len == 0, "%s has preferences", inbox->user);
    } else {
        MUST(run, read.rev == inbox->preference_rev && read.body.len > 0, "%s: rev %lu, not %lu",
            inbox->user, read.rev, inbox->preference_rev);
    }
    store_request_finish(&read.base);
}

static void check_topics_of(struct run *run, const struct model_inbox *inbox)
{
    struct store_topics topics = {.base.op = STORE_TOPICS,
        .tenant = run_tenant(inbox->tenant),
        .of_user = true,
        .user = bytes_str(inbox->user),
        .limit = 10};
    size_t told = 0;
    run_ask(run, &topics.base);
    for (unsigned i = 0; i < MODEL_TOPICS; i++) { /* which are in the order of their names */
        if (inbox->topics[i]) {
            MUST(run, told < topics.count && bytes_eq(topics.names[told], run_topic(i)),
                "%s lacks topic %u", inbox->user, i);
            told++;
        }
    }
    MUST(run, topics.count == told && !topics.more, "%zu, not %zu", topics.count, told);
    store_request_finish(&topics.base);
}

static void check_subscribers(struct run *run, unsigned tenant, unsigned topic)
{
    struct store_subscribers subscribers = {.base.op = STORE_SUBSCRIBERS,
        .tenant = run_tenant(tenant),
        .topic = run_topic(topic),
        .limit = 10};
    size_t told = 0;
    run_ask(run, &subscribers.base);
    for (size_t i = 0; i < MODEL_INBOXES; i++) { /* in the order of their names */
        const struct model_inbox *inbox = &run->model.inboxes[i];
        if (inbox->tenant == tenant && inbox->topics[topic]) {
            MUST(run,
                told < subscribers.count && bytes_eq_str(subscribers.names[told], inbox->user),
                "topic %u lacks %s", topic, inbox->user);
            told++;
        }
    }
    MUST(run, subscribers.count == told && !subscribers.more, "%zu, not %zu", subscribers.count,
        told);
    store_request_finish(&subscribers.base);
}

/* The posts to many above a number, for nodes that were not told. */
static void check_posted(struct run *run, unsigned tenant)
{
    struct store_posted_from from = {
        .tenant = run_tenant(tenant), .after = run_draw(run, run->model.heads[tenant] + 1)};
    struct store_posted posted = {
        .base.op = STORE_POSTED, .tenants = &from, .tenant_count = 1, .limit = STORE_PAGE_MAX};
    size_t told = 0;
    run_ask(run, &posted.base);
    for (size_t i = 0; i < run->model.post_count; i++) {
        const struct model_post *post = &run->model.posts[i];
        if (post->tenant == tenant && post->n > from.after && !post->dropped) {
            MUST(run, told < posted.post_count && posted.posts[told].n == post->n, "post %lu",
                post->n);
            MUST(run, posted.posts[told].kind == post->kind, "post %lu", post->n);
            told++;
        }
    }
    MUST(run, posted.post_count == told, "%zu, not %zu", posted.post_count, told);
    uint64_t last = told > 0 ? posted.posts[told - 1].n : from.after;
    MUST(run,
        posted.heads[0] >= last && posted.heads[0] <= run->model.heads[tenant] && !posted.more,
        "head %lu", posted.heads[0]);
    store_request_finish(&posted.base);
}

/* --- checkpoints --- */

void run_checkpoint(struct run *run, bool last)
{
    for (size_t i = 0; i < MODEL_INBOXES; i++) {
        struct model_inbox *inbox = &run->model.inboxes[i];
        check_get(run, inbox); /* before anything reads: what was taken back may be there yet */
        run_check_position(run, inbox);
        run_check_list(run, inbox);
        check_page(run, inbox);
        check_counts(run, inbox);
        check_sync(run, inbox);
        check_get(run, inbox);
        check_preferences(run, inbox);
        check_topics_of(run, inbox);
        for (size_t j = 0; last && j < RUN_REPLICAS; j++) {
            expect_replica(run, inbox, &run->replicas[i][j]);
        }
    }
    for (unsigned i = 0; i < MODEL_TENANTS; i++) {
        check_posted(run, i);
        check_subscribers(run, i, (unsigned)run_draw(run, MODEL_TOPICS));
    }
}
