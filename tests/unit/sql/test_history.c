/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random histories: what writers and devices see must follow from one model of an inbox.
 */
#include <stdio.h>
#include <stdlib.h>

#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "codec/notification_digest.h"
#include "sql/store_edit.h"
#include "sql/store_preference.h"
#include "tests/support/seed.h"
#include "tests/unit/sql/both.h"

enum { MODEL_MAX = 600, KEYS_MAX = 2000, REPLICAS = 3, STEPS = 400 };

/*
 * One notification as the model has it; rows stay when they go, with how they went. The state
 * follows from the times, and is told by its own rule here.
 */
struct entry {
    uint8_t id[NOTIFICATION_ID_LEN];
    uint64_t seq;
    uint64_t rev; /* of the last change */
    uint64_t new_rev; /* when it last became new */
    uint64_t whole_rev; /* when devices last needed all of it */
    uint64_t expires_at;
    uint64_t snoozed_until; /* 0: not */
    bool is_seen;
    bool is_read;
    bool is_archived;
    bool is_odd; /* of type "odd" */
    char name; /* under which others take its place; 0: none does */
    uint64_t count; /* posts it stands for */
    bool gathers; /* it is a digest, */
    uint64_t began; /* since then */
    enum notification_state gone; /* EXPIRED or ERASED; else 0 */
};

struct model {
    struct entry entries[MODEL_MAX];
    size_t count;
    int64_t seqs[KEYS_MAX]; /* by key; 0: it is new, negative: it was suppressed */
    size_t keys;
    bool refuses[2]; /* the types "even" and "odd" */
    uint64_t spans[2]; /* of their digests; 0: they have none */
    uint64_t rev;
};

/* What a device has: states by seq, and whether it has the item; it forgets what is archived. */
struct replica {
    uint64_t rev;
    bool has[MODEL_MAX + 1];
    enum notification_state state[MODEL_MAX + 1];
};

struct history {
    struct harness harness;
    struct store_user who;
    struct rand rand;
    struct model model;
    struct replica replicas[REPLICAS];
    uint64_t now;
    uint64_t usual; /* span of the digest of "even" */
};

static bool is_there(const struct entry *entry)
{
    return entry->gone == 0;
}

static enum notification_state state_of(const struct entry *entry)
{
    if (entry->gone != 0) {
        return entry->gone;
    }
    if (entry->snoozed_until > 0) {
        return NOTIFICATION_SNOOZED;
    }
    if (entry->is_archived) {
        return NOTIFICATION_ARCHIVED;
    }
    if (entry->is_read) {
        return NOTIFICATION_READ;
    }
    return entry->is_seen ? NOTIFICATION_SEEN : NOTIFICATION_UNREAD;
}

static uint64_t count_states(const struct model *model, enum notification_state most)
{
    uint64_t count = 0;
    for (size_t i = 0; i < model->count; i++) {
        count += state_of(&model->entries[i]) <= most;
    }
    return count;
}

static void expect_counts(const struct model *model, const struct store_position *position)
{
    cr_assert_eq(position->rev, model->rev);
    cr_assert_eq(position->seq, model->count);
    cr_assert_eq(position->unread, count_states(model, NOTIFICATION_SEEN));
    cr_assert_eq(position->unseen, count_states(model, NOTIFICATION_UNREAD));
}

static const struct bytes collapse_names[] = {
    {.at = "", .len = 0}, {.at = "", .len = 0}, {.at = "a", .len = 1}, {.at = "b", .len = 1}};

static char name_of(const struct store_row *row)
{
    return row->collapse.len > 0 ? row->collapse.at[0] : 0;
}

/* How long after its first post a digest takes in the row; 0: it is none's. */
static uint64_t span_of(const struct model *model, const struct store_row *row)
{
    bool apart = row->collapse.len > 0 || row->priority == NOTIFICATION_URGENT;
    return apart ? 0 : model->spans[bytes_eq_str(row->type, "odd")];
}

/* The newest open digest of a row's type, while it takes in; NULL: there is none. */
static struct entry *open_digest(struct model *model, const struct store_row *row)
{
    uint64_t span = span_of(model, row);
    bool is_odd = bytes_eq_str(row->type, "odd");
    for (size_t i = model->count; i > 0 && span > 0; i--) {
        struct entry *entry = &model->entries[i - 1];
        if (entry->gathers && entry->is_odd == is_odd && state_of(entry) <= NOTIFICATION_SEEN) {
            return entry->began + span > row->created_at ? entry : NULL;
        }
    }
    return NULL;
}

static size_t count_digest(struct bytes digest)
{
    struct notification_digest_entry entry;
    size_t count = 0;
    while (notification_digest_take(&digest, &entry)) {
        count++;
    }
    return count;
}

/* The newest open entry of a name; NULL: it is none, or there is none. */
static struct entry *open_entry(struct model *model, char name)
{
    for (size_t i = model->count; i > 0 && name != 0; i--) {
        struct entry *entry = &model->entries[i - 1];
        if (entry->name == name && state_of(entry) <= NOTIFICATION_SEEN) {
            return entry;
        }
    }
    return NULL;
}

static void add_entry(struct model *model, const struct store_row *row)
{
    struct entry *entry = &model->entries[model->count++];
    *entry = (struct entry){.seq = model->count,
        .name = name_of(row),
        .gathers = span_of(model, row) > 0,
        .began = row->created_at,
        .expires_at = row->expires_at};
    memcpy(entry->id, row->id, NOTIFICATION_ID_LEN);
}

/* A row was stored: one of its own, or in the place of another that is as good as new. */
static void expect_stored(struct history *h, const struct store_row *row)
{
    struct entry *entry =
        row->collapse.len > 0 ? open_entry(&h->model, name_of(row)) : open_digest(&h->model, row);
    cr_assert_eq(row->outcome, entry ? OUTCOME_COLLAPSED : OUTCOME_STORED);
    if (entry == NULL) {
        add_entry(&h->model, row);
        entry = &h->model.entries[h->model.count - 1];
    }
    bool stays = entry->gathers && (entry->expires_at == 0 || row->expires_at == 0);
    bool longer = !entry->gathers || row->expires_at > entry->expires_at;
    entry->expires_at = stays ? 0 : longer ? row->expires_at : entry->expires_at;
    entry->rev = entry->new_rev = entry->whole_rev = ++h->model.rev;
    entry->is_odd = bytes_eq_str(row->type, "odd");
    entry->is_seen = false;
    entry->count++;
    cr_assert(memcmp(entry->id, row->id, NOTIFICATION_ID_LEN) == 0);
    cr_assert_eq(row->seq, entry->seq);
    cr_assert_eq(row->count, entry->count);
    cr_assert_eq(row->till, entry->expires_at);
    cr_assert_eq(count_digest(row->digest), !entry->gathers      ? 0
                                            : entry->count <= 10 ? entry->count
                                                                 : 10);
    cr_assert_eq(row->head, h->model.count);
    cr_assert_eq(row->rev, h->model.rev);
    cr_assert_eq(row->unread, count_states(&h->model, NOTIFICATION_SEEN));
    cr_assert_eq(row->unseen, count_states(&h->model, NOTIFICATION_UNREAD));
}

static void step_put(struct history *h)
{
    struct store_row rows[4];
    uint64_t keys[ARRAY_LEN(rows)];
    size_t count = 1 + rand_below(&h->rand, ARRAY_LEN(rows));
    for (size_t i = 0; i < count; i++) {
        uint64_t key = rand_below(&h->rand, 4) == 0 ? rand_below(&h->rand, h->model.keys + i + 1)
                                                    : h->model.keys + i;
        keys[i] = key;
        rows[i] = row_of(h->who, key, key);
        rows[i].expires_at =
            rand_below(&h->rand, 4) == 0 ? h->now + 1 + rand_below(&h->rand, 200) : 0;
        rows[i].type = key % 2 ? BYTES("odd") : BYTES("even");
        rows[i].created_at = 1700000000000 + 3000 * h->model.keys;
        give_row(&rows[i], h->who);
        rows[i].priority = key % 9 == 0 ? NOTIFICATION_URGENT : NOTIFICATION_LOW;
        rows[i].digest_ms = key % 2 ? 0 : h->usual;
        rows[i].collapse = collapse_names[rand_below(&h->rand, ARRAY_LEN(collapse_names))];
    }
    struct store_put put = {.base.op = STORE_PUT, .rows = rows, .count = count};
    cr_assert_eq(harness_run(&h->harness, rand_below(&h->rand, HARNESS_SHARDS), &put.base), 0);
    h->model.keys += count;
    for (size_t i = 0; i < count; i++) {
        int64_t *seq = &h->model.seqs[keys[i]];
        cr_assert_neq(rows[i].outcome, OUTCOME_CONFLICT);
        cr_assert_eq(rows[i].outcome == OUTCOME_DUPLICATE, *seq != 0);
        if (*seq > 0) {
            const struct entry *first = &h->model.entries[*seq - 1];
            cr_assert_eq(rows[i].seq, (uint64_t)*seq);
            cr_assert(memcmp(first->id, rows[i].id, NOTIFICATION_ID_LEN) == 0);
            cr_assert_eq(rows[i].rev != 0, is_there(first));
            continue;
        }
        bool refused = *seq < 0 || h->model.refuses[keys[i] % 2];
        if (refused) {
            cr_assert(rows[i].seq == 0 && rows[i].rev == 0);
            cr_assert(*seq < 0 || rows[i].outcome == OUTCOME_SUPPRESSED);
            *seq = -1;
            continue;
        }
        expect_stored(h, &rows[i]);
        *seq = (int64_t)rows[i].seq;
    }
    store_request_finish(&put.base);
}

/* Another choice of what the user wants. */
static void step_prefer(struct history *h)
{
    static const char *const words[] = {"true", "false"};
    static const char *const spans[] = {"null", "60000", "86400000"};
    static const uint64_t meant[] = {0, 60000, 86400000};
    char body[160];
    uint64_t span = rand_below(&h->rand, ARRAY_LEN(spans));
    h->model.spans[1] = meant[span];
    bool refuses[2] = {rand_below(&h->rand, 3) == 0, rand_below(&h->rand, 3) == 0};
    memcpy(h->model.refuses, refuses, sizeof(refuses));
    (void)sprintf(body,
        "{\"types\": {\"odd\": {\"inbox\": %s, \"digest\": %s}, \"even\": {\"inbox\": %s}}}",
        words[refuses[1]], spans[span], words[refuses[0]]);
    struct store_preference write = {
        .base.op = STORE_PREFERENCE_WRITE, .who = h->who, .body = bytes_str(body)};
    cr_assert_eq(harness_run(&h->harness, rand_below(&h->rand, HARNESS_SHARDS), &write.base), 0);
    store_request_finish(&write.base);
}

/* Pick ids, some repeated, some gone, one unknown; returns how many. */
static size_t pick(struct history *h, uint8_t (*ids)[NOTIFICATION_ID_LEN], size_t max)
{
    size_t count = 1 + rand_below(&h->rand, max);
    for (size_t i = 0; i < count; i++) {
        uint64_t at = rand_below(&h->rand, h->model.count + 1);
        if (at < h->model.count) {
            memcpy(ids[i], h->model.entries[at].id, NOTIFICATION_ID_LEN);
        } else {
            memset(ids[i], 0xee, NOTIFICATION_ID_LEN);
        }
    }
    return count;
}

static bool is_picked(
    const struct entry *entry, uint8_t (*ids)[NOTIFICATION_ID_LEN], size_t count, uint64_t up_to)
{
    for (size_t i = 0; i < count; i++) {
        if (memcmp(ids[i], entry->id, NOTIFICATION_ID_LEN) == 0) {
            return true;
        }
    }
    return count == 0 && entry->seq <= up_to;
}

/* Whether a verb does something to a row of this state, by the contract. */
static bool may_change(enum notification_verb verb, enum notification_state state, bool bulk)
{
    bool listed = state <= NOTIFICATION_READ;
    bool snoozed = state == NOTIFICATION_SNOOZED;
    switch (verb) {
    case NOTIFICATION_MARK_SEEN:
        return state == NOTIFICATION_UNREAD;
    case NOTIFICATION_MARK_READ:
        return state <= NOTIFICATION_SEEN;
    case NOTIFICATION_MARK_UNREAD:
        return state == NOTIFICATION_READ;
    case NOTIFICATION_MARK_ARCHIVE:
    case NOTIFICATION_MARK_SNOOZE:
        return listed || (snoozed && !bulk);
    case NOTIFICATION_MARK_UNARCHIVE:
        return state == NOTIFICATION_ARCHIVED;
    case NOTIFICATION_MARK_WAKE:
        return snoozed;
    case NOTIFICATION_MARK_DELETE:
        return listed || (!bulk && state <= NOTIFICATION_SNOOZED);
    case NOTIFICATION_VERB_COUNT:
        break;
    }
    return false;
}

/* Whether a verb cannot come to what was meant any more by a row that is in this state now. */
static bool has_lost(enum notification_verb verb, enum notification_state state)
{
    bool wants_list = verb <= NOTIFICATION_MARK_UNREAD || verb == NOTIFICATION_MARK_UNARCHIVE;
    bool undone = verb == NOTIFICATION_MARK_UNREAD || verb == NOTIFICATION_MARK_SNOOZE ||
                  verb == NOTIFICATION_MARK_WAKE;
    return (state == NOTIFICATION_SNOOZED && wants_list) ||
           (state == NOTIFICATION_ARCHIVED && undone);
}

static void change_entry(
    struct entry *entry, enum notification_verb verb, uint64_t until, uint64_t rev)
{
    bool wakes = verb == NOTIFICATION_MARK_WAKE;
    entry->is_seen = !wakes && (entry->is_seen || verb <= NOTIFICATION_MARK_READ);
    entry->is_read = verb == NOTIFICATION_MARK_READ ||
                     (entry->is_read && !wakes && verb != NOTIFICATION_MARK_UNREAD);
    entry->is_archived = verb == NOTIFICATION_MARK_ARCHIVE ||
                         (entry->is_archived && verb != NOTIFICATION_MARK_UNARCHIVE);
    entry->snoozed_until = verb == NOTIFICATION_MARK_SNOOZE             ? until
                           : wakes || verb == NOTIFICATION_MARK_ARCHIVE ? 0
                                                                        : entry->snoozed_until;
    entry->gone = verb == NOTIFICATION_MARK_DELETE ? NOTIFICATION_ERASED : 0;
    entry->rev = rev;
    entry->new_rev = wakes ? rev : entry->new_rev;
    entry->whole_rev = wakes || verb == NOTIFICATION_MARK_UNARCHIVE ? rev : entry->whole_rev;
}

/* What the store says it changed: each row once, with the next rev and the state it has now. */
static void expect_changes(struct history *h, const struct notification_change *changes,
    size_t count, size_t wanted, const struct store_position *position)
{
    cr_assert_eq(count, wanted, "%zu changes, not %zu", count, wanted);
    for (size_t i = 0; i < count; i++) {
        const struct entry *entry = &h->model.entries[changes[i].seq - 1];
        cr_assert_eq(changes[i].rev, entry->rev);
        cr_assert_eq(changes[i].rev, h->model.rev);
        cr_assert_eq(changes[i].state, state_of(entry), "seq %lu: %d, not %d", entry->seq,
            changes[i].state, state_of(entry));
        cr_assert(memcmp(changes[i].id, entry->id, NOTIFICATION_ID_LEN) == 0);
    }
    expect_counts(&h->model, position);
}

/* Carry out the mark on the model: what changed, and what if_rev kept. */
static void mark_model(
    struct history *h, const struct store_mark *mark, size_t *ret_changed, size_t *ret_late)
{
    bool bulk = mark->id_count == 0;
    *ret_changed = *ret_late = 0;
    for (size_t i = 0; i < h->model.count; i++) {
        struct entry *entry = &h->model.entries[i];
        bool meant = is_picked(entry, (uint8_t(*)[NOTIFICATION_ID_LEN])(uintptr_t)mark->ids,
                         mark->id_count, mark->up_to) &&
                     (mark->type.len == 0 || entry->is_odd == bytes_eq_str(mark->type, "odd"));
        bool is_late = entry->rev > mark->if_rev;
        bool counts = may_change(mark->verb, state_of(entry), bulk) ||
                      (is_late && !bulk && has_lost(mark->verb, state_of(entry)));
        if (!meant || !is_there(entry) || !counts) {
            continue;
        }
        if (is_late) {
            ++*ret_late;
            continue;
        }
        change_entry(entry, mark->verb, mark->until, h->model.rev + 1);
        ++*ret_changed;
    }
    h->model.rev += *ret_changed > 0;
}

static void step_mark(struct history *h)
{
    uint8_t ids[5][NOTIFICATION_ID_LEN];
    bool by_id = rand_below(&h->rand, 3) > 0;
    size_t count = by_id ? pick(h, ids, ARRAY_LEN(ids)) : 0;
    enum notification_verb verb =
        (enum notification_verb)rand_below(&h->rand, NOTIFICATION_VERB_COUNT);
    bool some = verb == NOTIFICATION_MARK_DELETE || rand_below(&h->rand, 20) > 0;
    struct store_mark mark = mark_of(h->who, verb, h->now);
    mark.states = notification_mark_states(verb, count == 0);
    mark.ids = (const uint8_t(*)[NOTIFICATION_ID_LEN])ids;
    mark.id_count = count;
    mark.up_to = some ? rand_below(&h->rand, h->model.count / 2 + 2) : UINT64_MAX;
    mark.type = count > 0 || rand_below(&h->rand, 2)
                    ? BYTES("")
                    : (rand_below(&h->rand, 2) ? BYTES("odd") : BYTES("even"));
    mark.if_rev =
        rand_below(&h->rand, 3) ? (uint64_t)INT64_MAX : rand_below(&h->rand, h->model.rev + 2);
    mark.until = h->now + 1 + rand_below(&h->rand, 100);
    cr_assert_eq(harness_run(&h->harness, rand_below(&h->rand, HARNESS_SHARDS), &mark.base), 0);
    size_t changed;
    size_t late;
    mark_model(h, &mark, &changed, &late);
    cr_assert_eq(mark.changed, changed > 0);
    cr_assert_eq(mark.late_count, late, "verb %d: %zu late, not %zu", verb, mark.late_count, late);
    for (size_t i = 0; i < late; i++) {
        cr_assert_gt(h->model.entries[mark.late[i].seq - 1].rev, mark.if_rev);
    }
    expect_changes(h, mark.changes, mark.change_count, changed, &mark.position);
    store_request_finish(&mark.base);
}

/* One row, by its poster: other content, or taken back. */
static void step_edit(struct history *h)
{
    struct store_edit edit = {.base.op = STORE_EDIT,
        .erase = rand_below(&h->rand, 2),
        .fields = NOTIFICATION_EDIT_TITLE | NOTIFICATION_EDIT_EXPIRES,
        .title = BYTES("edited"),
        .expires_at = rand_below(&h->rand, 2) ? h->now + 100 : 0,
        .at = h->now};
    struct entry *entry = NULL;
    uint64_t at = rand_below(&h->rand, h->model.count + 1);
    if (at < h->model.count) {
        entry = &h->model.entries[at];
        memcpy(edit.id, entry->id, NOTIFICATION_ID_LEN);
    }
    bool there = entry != NULL && is_there(entry);
    int status = harness_run(&h->harness, rand_below(&h->rand, HARNESS_SHARDS), &edit.base);
    cr_assert_eq(status, there ? 0 : STATUS_NOT_FOUND, "%d", status);
    if (there) {
        entry->rev = ++h->model.rev;
        entry->gone = edit.erase ? NOTIFICATION_ERASED : 0;
        entry->whole_rev = edit.erase ? entry->whole_rev : entry->rev;
        entry->expires_at = edit.expires_at;
        expect_counts(&h->model, &edit.position);
        cr_assert_eq(edit.item.seq, entry->seq);
    }
    store_request_finish(&edit.base);
}

/* Everything there is, whatever its state. */
static void step_erase(struct history *h)
{
    struct store_mark mark = mark_of(h->who, NOTIFICATION_MARK_DELETE, h->now);
    mark.up_to = UINT64_MAX;
    cr_assert_eq(harness_run(&h->harness, 0, &mark.base), 0);
    size_t wanted = 0;
    for (size_t i = 0; i < h->model.count; i++) {
        struct entry *entry = &h->model.entries[i];
        if (is_there(entry)) {
            change_entry(entry, NOTIFICATION_MARK_DELETE, 0, h->model.rev + 1);
            wanted++;
        }
    }
    h->model.rev += wanted > 0;
    expect_changes(h, mark.changes, mark.change_count, wanted, &mark.position);
    store_request_finish(&mark.base);
}

static void sweep_model(struct history *h, const struct store_swept *swept)
{
    cr_assert_gt(swept->change_count, 0);
    h->model.rev++;
    for (size_t j = 0; j < swept->change_count; j++) {
        struct entry *entry = &h->model.entries[swept->changes[j].seq - 1];
        cr_assert(is_there(entry));
        uint64_t due = swept->news ? entry->snoozed_until : entry->expires_at;
        cr_assert(due > 0 && due <= h->now);
        if (swept->news) {
            change_entry(entry, NOTIFICATION_MARK_WAKE, 0, h->model.rev);
        } else {
            entry->gone = NOTIFICATION_EXPIRED;
            entry->rev = h->model.rev;
        }
    }
    expect_changes(h, swept->changes, swept->change_count, swept->change_count, &swept->position);
}

static void step_sweep(struct history *h)
{
    h->now += rand_below(&h->rand, 50);
    struct store_sweep sweep = {.base.op = STORE_SWEEP,
        .now = h->now,
        .limit = 1 + (uint32_t)rand_below(&h->rand, 10),
        .tombstone_ms = 1000000};
    cr_assert_eq(harness_run(&h->harness, 0, &sweep.base), 0);
    cr_assert_leq(sweep.user_count, 2);
    size_t dues[2] = {0};
    for (size_t i = 0; i < sweep.user_count; i++) {
        dues[sweep.users[i].news] += sweep.users[i].change_count;
        sweep_model(h, &sweep.users[i]);
    }
    bool all = !sweep.more && dues[0] < sweep.limit && dues[1] < sweep.limit;
    for (size_t i = 0; all && i < h->model.count; i++) {
        const struct entry *entry = &h->model.entries[i];
        cr_assert(!is_there(entry) || entry->expires_at == 0 || entry->expires_at > h->now);
        cr_assert(!is_there(entry) || entry->snoozed_until == 0 || entry->snoozed_until > h->now);
    }
    store_request_finish(&sweep.base);
}

/* Whether a page of (rev, through] must tell the row: as a whole, or what has changed. */
static bool is_item(const struct entry *entry, uint64_t rev, uint64_t through)
{
    bool renewed = entry->new_rev > rev && entry->new_rev <= through;
    bool back = entry->new_rev <= rev && entry->whole_rev > rev && entry->whole_rev <= through;
    return is_there(entry) && (renewed || back);
}

static bool is_change(const struct entry *entry, uint64_t rev, uint64_t through)
{
    bool changed = entry->rev > rev && entry->rev <= through;
    return changed && (!is_there(entry) || (entry->new_rev <= rev && entry->whole_rev <= rev));
}

static void expect_page(struct history *h, uint64_t rev, const struct store_sync *sync)
{
    size_t items = 0;
    size_t changes = 0;
    for (size_t i = 0; i < h->model.count; i++) {
        items += is_item(&h->model.entries[i], rev, sync->through_rev);
        changes += is_change(&h->model.entries[i], rev, sync->through_rev);
    }
    cr_assert_eq(sync->item_count, items, "%zu items, not %zu", sync->item_count, items);
    cr_assert_eq(sync->change_count, changes);
    for (size_t i = 0; i < items; i++) {
        const struct entry *entry = &h->model.entries[sync->items[i].seq - 1];
        cr_assert(is_item(entry, rev, sync->through_rev));
        cr_assert_eq(sync->items[i].rev, entry->rev);
        cr_assert_eq(sync->items[i].new_rev, entry->new_rev);
        cr_assert_eq(sync->items[i].state, state_of(entry));
        cr_assert_eq(sync->items[i].snoozed_until, entry->snoozed_until);
        cr_assert_eq(sync->items[i].count, entry->count);
    }
}

/* The list goes by when a row last became new, over all pages. */
static void expect_list(struct history *h)
{
    struct store_list list = {.base.op = STORE_LIST, .who = h->who};
    list.states = rand_below(&h->rand, 2) ? 0 : NOTIFICATION_ALL_STATES;
    uint32_t states = list.states ? list.states : NOTIFICATION_LISTED_STATES;
    size_t told = 0;
    size_t wanted = 0;
    struct store_cursor last = {.new_rev = UINT64_MAX};
    do {
        list.limit = 1 + (uint32_t)rand_below(&h->rand, 30);
        cr_assert_eq(harness_run(&h->harness, 0, &list.base), 0);
        for (size_t i = 0; i < list.count; i++, told++) {
            const struct notification_item *item = &list.items[i];
            cr_assert(item->new_rev < last.new_rev ||
                      (item->new_rev == last.new_rev && item->seq < last.seq));
            cr_assert_eq(item->state, state_of(&h->model.entries[item->seq - 1]));
            cr_assert(states >> item->state & 1);
            last = (struct store_cursor){.new_rev = item->new_rev, .seq = item->seq};
        }
        list.before = list.next;
        store_request_finish(&list.base);
    } while (list.before.new_rev > 0);
    for (size_t i = 0; i < h->model.count; i++) {
        const struct entry *entry = &h->model.entries[i];
        wanted += is_there(entry) && (states >> state_of(entry) & 1);
    }
    cr_assert_eq(told, wanted, "%zu listed, not %zu", told, wanted);
}

static void apply_page(struct replica *replica, const struct store_sync *sync)
{
    uint64_t newest = replica->rev;
    for (size_t i = 0; i < sync->item_count; i++) {
        const struct notification_item *item = &sync->items[i];
        cr_assert_gt(item->rev, replica->rev);
        replica->has[item->seq] = item->state != NOTIFICATION_ARCHIVED;
        replica->state[item->seq] = item->state;
    }
    for (size_t i = 0; i < sync->change_count; i++) {
        const struct notification_change *change = &sync->changes[i];
        cr_assert_geq(change->rev, newest, "oldest change first");
        newest = change->rev;
        cr_assert_leq(change->rev, sync->through_rev);
        bool goes = change->state >= NOTIFICATION_EXPIRED || change->state == NOTIFICATION_ARCHIVED;
        cr_assert(replica->has[change->seq] || goes, "seq %lu: a change of what it has not got",
            change->seq);
        replica->has[change->seq] = replica->has[change->seq] && !goes;
        replica->state[change->seq] = change->state;
    }
    cr_assert_geq(sync->through_rev, replica->rev);
    cr_assert(sync->through_rev > replica->rev || sync->done, "no progress");
    replica->rev = sync->through_rev;
}

/* The rev at which entry `i` of a page is told, items first. */
static uint64_t key_at(const struct history *h, const struct store_sync *sync, size_t i)
{
    if (i >= sync->item_count) {
        return sync->changes[i - sync->item_count].rev;
    }
    const struct notification_item *item = &sync->items[i];
    return item->new_rev > sync->rev ? item->new_rev : h->model.entries[item->seq - 1].whole_rev;
}

/* One page; returns whether the replica is complete. */
static bool sync_page(struct history *h, struct replica *replica)
{
    struct store_sync sync = {.base.op = STORE_SYNC,
        .who = h->who,
        .rev = replica->rev,
        .limit = 1 + (uint32_t)rand_below(&h->rand, 20)};
    cr_assert_eq(harness_run(&h->harness, rand_below(&h->rand, HARNESS_SHARDS), &sync.base), 0);
    cr_assert_not(sync.resync);
    for (size_t i = 1; i < sync.item_count + sync.change_count &&
                       sync.item_count + sync.change_count > sync.limit;
         i++) {
        cr_assert_eq(
            key_at(h, &sync, i), key_at(h, &sync, 0), "only a single rev is larger than a page");
    }
    expect_page(h, sync.rev, &sync);
    apply_page(replica, &sync);
    expect_counts(&h->model, &sync.position);
    cr_assert_eq(sync.done, sync.through_rev == h->model.rev);
    bool done = sync.done;
    store_request_finish(&sync.base);
    return done;
}

static void expect_replica(struct history *h, struct replica *replica)
{
    unsigned pages = 0;
    while (!sync_page(h, replica)) {
        cr_assert_lt(++pages, 2 * MODEL_MAX, "it never ends");
    }
    for (size_t i = 0; i < h->model.count; i++) {
        const struct entry *entry = &h->model.entries[i];
        bool kept = is_there(entry) && !entry->is_archived;
        cr_assert(replica->has[entry->seq] || !kept, "seq %lu is missing", entry->seq);
        if (replica->has[entry->seq] || entry->is_archived) {
            cr_assert_eq(replica->state[entry->seq], state_of(entry), "seq %lu: %d, not %d",
                entry->seq, replica->state[entry->seq], state_of(entry));
        }
    }
}

static void run_history(const char *url, uint64_t seed)
{
    struct history *h = mem_alloc(sizeof(*h));
    h->who = user_of("alice");
    h->now = 1000;
    rand_init(&h->rand, seed);
    h->usual = h->model.spans[0] = seed % 3 == 0 ? 0 : seed % 3 == 1 ? 60000 : 86400000;
    harness_open(&h->harness, url);
    for (unsigned i = 0; i < STEPS && h->model.count + 4 < MODEL_MAX; i++) {
        uint64_t dice = rand_below(&h->rand, 20);
        if (dice < 7) {
            step_put(h);
        } else if (dice < 13) {
            step_mark(h);
        } else if (dice == 13 && i % 8 == 1) {
            step_prefer(h);
        } else if (dice == 13 && i % 8 == 0) {
            step_erase(h);
        } else if (dice == 13) {
            step_edit(h);
        } else if (dice < 15) {
            step_sweep(h);
        } else if (dice == 15) {
            expect_list(h);
        } else {
            (void)sync_page(h, &h->replicas[rand_below(&h->rand, REPLICAS - 1)]);
        }
    }
    for (unsigned i = 0; i < REPLICAS; i++) { /* the last one starts from nothing */
        expect_replica(h, &h->replicas[i]);
    }
    harness_close(&h->harness);
    mem_free(h);
}

BOTH(devices_converge_over_random_histories)
{
    const char *engine = url[0] == 's' ? "sqlite" : "postgres";
    uint64_t base = seed_draw();
    for (uint64_t i = 0; i < 6; i++) {
        char fresh[URL_MAX];
        harness_url(engine, fresh);
        (void)fprintf(stderr, "PEAL_SEED=%lu\n", base + i);
        run_history(fresh, base + i);
    }
}
