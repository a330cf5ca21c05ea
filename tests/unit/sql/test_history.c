/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Random histories: what writers and devices see must follow from one model of an inbox.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "tests/unit/sql/both.h"

enum { MODEL_MAX = 600, REPLICAS = 3, STEPS = 400 };

/* One notification as the model has it; rows stay when they go, with their last state. */
struct entry {
    uint8_t id[NOTIFICATION_ID_LEN];
    uint64_t seq;
    uint64_t expires_at;
    enum notification_state state;
};

struct model {
    struct entry entries[MODEL_MAX];
    size_t count;
    uint64_t rev;
};

/* What a device has: states by seq, and whether it has the item. */
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
};

static bool is_there(const struct entry *entry)
{
    return entry->state <= NOTIFICATION_ARCHIVED;
}

static uint64_t unread_of(const struct model *model)
{
    uint64_t unread = 0;
    for (size_t i = 0; i < model->count; i++) {
        unread += model->entries[i].state <= NOTIFICATION_SEEN;
    }
    return unread;
}

static void step_put(struct history *h)
{
    struct store_row rows[4];
    size_t count = 1 + rand_below(&h->rand, ARRAY_LEN(rows));
    for (size_t i = 0; i < count; i++) {
        uint64_t key = rand_below(&h->rand, 4) == 0 ? rand_below(&h->rand, h->model.count + 1)
                                                    : h->model.count + i;
        rows[i] = row_of(h->who, key, key);
        rows[i].expires_at =
            rand_below(&h->rand, 4) == 0 ? h->now + 1 + rand_below(&h->rand, 200) : 0;
    }
    struct store_put put = {.base.op = STORE_PUT, .rows = rows, .count = count};
    cr_assert_eq(harness_run(&h->harness, rand_below(&h->rand, HARNESS_SHARDS), &put.base), 0);
    for (size_t i = 0; i < count; i++) {
        cr_assert_neq(rows[i].outcome, OUTCOME_CONFLICT);
        if (rows[i].outcome != OUTCOME_STORED) {
            const struct entry *first = &h->model.entries[rows[i].seq - 1];
            cr_assert(memcmp(first->id, rows[i].id, NOTIFICATION_ID_LEN) == 0);
            cr_assert_eq(rows[i].rev != 0, is_there(first));
            continue;
        }
        struct entry *entry = &h->model.entries[h->model.count++];
        *entry = (struct entry){.seq = rows[i].seq, .expires_at = rows[i].expires_at};
        memcpy(entry->id, rows[i].id, NOTIFICATION_ID_LEN);
        cr_assert_eq(rows[i].seq, h->model.count);
        cr_assert_eq(rows[i].rev, ++h->model.rev);
        cr_assert_eq(rows[i].unread, unread_of(&h->model));
    }
    store_request_finish(&put.base);
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

/* What the store says it changed has one rev, the next one, and the state asked for. */
static void expect_changes(struct history *h, enum notification_state state,
    const struct notification_change *changes, size_t count, const struct store_position *position)
{
    for (size_t i = 0; i < count; i++) {
        cr_assert_eq(changes[i].rev, h->model.rev + 1);
        cr_assert_eq(changes[i].state, state);
    }
    h->model.rev += count > 0;
    cr_assert_eq(position->rev, h->model.rev);
    cr_assert_eq(position->seq, h->model.count);
}

static void step_mark(struct history *h)
{
    uint8_t ids[5][NOTIFICATION_ID_LEN];
    bool by_id = rand_below(&h->rand, 3) > 0;
    size_t count = by_id ? pick(h, ids, ARRAY_LEN(ids)) : 0;
    struct store_mark mark = {.base.op = STORE_MARK,
        .who = h->who,
        .state = (enum notification_state)(NOTIFICATION_SEEN + rand_below(&h->rand, 3)),
        .ids = (const uint8_t(*)[NOTIFICATION_ID_LEN])ids,
        .id_count = count,
        .up_to =
            rand_below(&h->rand, 20) == 0 ? UINT64_MAX : rand_below(&h->rand, h->model.count + 2),
        .at = h->now};
    cr_assert_eq(harness_run(&h->harness, rand_below(&h->rand, HARNESS_SHARDS), &mark.base), 0);
    size_t wanted = 0;
    for (size_t i = 0; i < h->model.count; i++) {
        struct entry *entry = &h->model.entries[i];
        if (entry->state < mark.state && is_picked(entry, ids, count, mark.up_to)) {
            entry->state = mark.state;
            wanted++;
        }
    }
    cr_assert_eq(mark.change_count, wanted);
    cr_assert_eq(mark.changed, wanted > 0);
    expect_changes(h, mark.state, mark.changes, mark.change_count, &mark.position);
    cr_assert_eq(mark.position.unread, unread_of(&h->model));
    store_request_finish(&mark.base);
}

static void step_erase(struct history *h)
{
    uint8_t ids[3][NOTIFICATION_ID_LEN];
    size_t count = rand_below(&h->rand, 15) == 0 ? 0 : pick(h, ids, ARRAY_LEN(ids));
    struct store_erase erase = {.base.op = STORE_ERASE,
        .who = h->who,
        .ids = (const uint8_t(*)[NOTIFICATION_ID_LEN])ids,
        .id_count = count,
        .at = h->now};
    cr_assert_eq(harness_run(&h->harness, 0, &erase.base), 0);
    size_t wanted = 0;
    for (size_t i = 0; i < h->model.count; i++) {
        struct entry *entry = &h->model.entries[i];
        if (is_there(entry) && is_picked(entry, ids, count, UINT64_MAX)) {
            entry->state = NOTIFICATION_ERASED;
            wanted++;
        }
    }
    cr_assert_eq(erase.change_count, wanted);
    cr_assert_eq(erase.changed, wanted > 0);
    expect_changes(h, NOTIFICATION_ERASED, erase.changes, erase.change_count, &erase.position);
    cr_assert_eq(erase.position.unread, unread_of(&h->model));
    store_request_finish(&erase.base);
}

static void step_sweep(struct history *h)
{
    h->now += rand_below(&h->rand, 50);
    struct store_sweep sweep = {.base.op = STORE_SWEEP,
        .now = h->now,
        .limit = 1 + (uint32_t)rand_below(&h->rand, 10),
        .tombstone_ms = 1000000};
    cr_assert_eq(harness_run(&h->harness, 0, &sweep.base), 0);
    cr_assert_leq(sweep.user_count, 1);
    for (size_t i = 0; i < sweep.user_count; i++) {
        const struct store_swept *swept = &sweep.users[i];
        cr_assert_gt(swept->change_count, 0);
        for (size_t j = 0; j < swept->change_count; j++) {
            struct entry *entry = &h->model.entries[swept->changes[j].seq - 1];
            cr_assert(is_there(entry));
            cr_assert(entry->expires_at > 0 && entry->expires_at <= h->now);
            cr_assert(memcmp(entry->id, swept->changes[j].id, NOTIFICATION_ID_LEN) == 0);
            entry->state = NOTIFICATION_EXPIRED;
        }
        expect_changes(
            h, NOTIFICATION_EXPIRED, swept->changes, swept->change_count, &swept->position);
        cr_assert_eq(swept->position.unread, unread_of(&h->model));
    }
    store_request_finish(&sweep.base);
}

static void apply_page(struct replica *replica, const struct store_sync *sync)
{
    uint64_t newest = replica->rev;
    for (size_t i = 0; i < sync->item_count; i++) {
        const struct notification_item *item = &sync->items[i];
        cr_assert_not(replica->has[item->seq], "seq %lu: an item it has", item->seq);
        replica->has[item->seq] = true;
        replica->state[item->seq] = item->state;
    }
    for (size_t i = 0; i < sync->change_count; i++) {
        const struct notification_change *change = &sync->changes[i];
        cr_assert_geq(change->rev, newest, "oldest change first");
        newest = change->rev;
        cr_assert_leq(change->rev, sync->through_rev);
        cr_assert(replica->has[change->seq] || change->state >= NOTIFICATION_EXPIRED,
            "seq %lu: a change of what it never got", change->seq);
        replica->state[change->seq] = change->state;
    }
    cr_assert_geq(sync->through_rev, replica->rev);
    cr_assert(sync->through_rev > replica->rev || sync->done, "no progress");
    replica->rev = sync->through_rev;
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
    if (sync.item_count + sync.change_count > sync.limit) {
        /* Only a single rev may be larger than a page. */
        cr_assert_eq(sync.item_count, 0);
        cr_assert_eq(sync.changes[0].rev, sync.changes[sync.change_count - 1].rev);
    }
    apply_page(replica, &sync);
    cr_assert_eq(sync.position.rev, h->model.rev);
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
        if (is_there(entry)) {
            cr_assert(replica->has[entry->seq], "seq %lu is missing", entry->seq);
        }
        if (replica->has[entry->seq]) {
            cr_assert_eq(replica->state[entry->seq], entry->state, "seq %lu: %d, not %d",
                entry->seq, replica->state[entry->seq], entry->state);
        }
    }
}

static void run_history(const char *url, uint64_t seed)
{
    struct history *h = mem_alloc(sizeof(*h));
    h->who = user_of("alice");
    h->now = 1000;
    rand_init(&h->rand, seed);
    harness_open(&h->harness, url);
    for (unsigned i = 0; i < STEPS && h->model.count + 4 < MODEL_MAX; i++) {
        uint64_t dice = rand_below(&h->rand, 20);
        if (dice < 7) {
            step_put(h);
        } else if (dice < 12) {
            step_mark(h);
        } else if (dice < 13) {
            step_erase(h);
        } else if (dice < 15) {
            step_sweep(h);
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
    uint64_t base = 0;
    rand_secret(&base, sizeof(base));
    const char *given = getenv("PEAL_TEST_SEED");
    base = given ? strtoull(given, NULL, 10) : base >> 8;
    for (uint64_t i = 0; i < 6; i++) {
        char fresh[URL_MAX];
        harness_url(engine, fresh);
        (void)fprintf(stderr, "PEAL_TEST_SEED=%lu\n", base + i);
        run_history(fresh, base + i);
    }
}

/* Several shards on threads of their own, all writing to the same few users. */

enum { WRITERS = HARNESS_SHARDS, USERS = 5, ROUNDS = 60, KEYS = 400, TRIES = 20 };

struct writer {
    struct harness *harness;
    unsigned shard;
    uint64_t seed;
    uint64_t stored[USERS]; /* by user: rows that were new */
};

static const char *const user_names[USERS] = {"ann", "ben", "cid", "dan", "eve"};

/*
 * On a machine that has other things to do, a writer may wait for a user's row until the database
 * ends its wait. Nothing was stored then, and it is tried again, as the product does.
 */
static void run_at_last(struct writer *writer, struct store_request *request)
{
    int status = STATUS_UNAVAILABLE;
    for (unsigned left = TRIES; status == STATUS_UNAVAILABLE && left > 0; left--) {
        store_request_finish(request);
        status = harness_run(writer->harness, writer->shard, request);
    }
    cr_assert_eq(status, 0, "%d", status);
}

static void write_batch(struct writer *writer, struct rand *rand)
{
    struct store_row rows[30];
    size_t count = 1 + rand_below(rand, ARRAY_LEN(rows));
    for (size_t i = 0; i < count; i++) {
        uint64_t user = rand_below(rand, USERS);
        uint64_t key = rand_below(rand, KEYS);
        rows[i] = row_of(user_of(user_names[user]), key, key);
        rows[i].expires_at = key % 10 == 0 ? 1 : 0;
    }
    struct store_put put = {.base.op = STORE_PUT, .rows = rows, .count = count};
    run_at_last(writer, &put.base);
    for (size_t i = 0; i < count; i++) {
        for (size_t user = 0; user < USERS; user++) {
            if (bytes_eq_str(rows[i].who.user, user_names[user])) {
                writer->stored[user] += rows[i].outcome == OUTCOME_STORED;
            }
        }
    }
    store_request_finish(&put.base);
}

static void *run_writer(void *arg)
{
    struct writer *writer = arg;
    struct rand rand;
    rand_init(&rand, writer->seed);
    for (unsigned round = 0; round < ROUNDS; round++) {
        write_batch(writer, &rand);
        struct store_user who = user_of(user_names[rand_below(&rand, USERS)]);
        if (round % 3 == 0) {
            struct store_mark mark = {.base.op = STORE_MARK,
                .who = who,
                .state = (enum notification_state)(NOTIFICATION_SEEN + rand_below(&rand, 3)),
                .up_to = rand_below(&rand, 100),
                .at = round + 1};
            run_at_last(writer, &mark.base);
            store_request_finish(&mark.base);
        }
        if (round % 10 == 5) {
            struct store_sweep sweep = {
                .base.op = STORE_SWEEP, .now = 10, .limit = 7, .tombstone_ms = 1000};
            run_at_last(writer, &sweep.base);
            store_request_finish(&sweep.base);
        }
    }
    return NULL;
}

/* All of a user's rows through the pages of a sync: gap-free numbers and a true count. */
static void expect_user(struct harness *harness, struct store_user who, uint64_t stored)
{
    struct store_position position = position_of(harness, who);
    cr_expect_eq(position.seq, stored, "seq %lu, %lu were stored", position.seq, stored);
    uint8_t *seen = mem_alloc(position.seq + 1);
    uint64_t unread = 0;
    struct store_sync sync = {.base.op = STORE_SYNC, .who = who, .limit = STORE_PAGE_MAX};
    bool done;
    do {
        cr_assert_eq(harness_run(harness, 0, &sync.base), 0);
        for (size_t i = 0; i < sync.item_count; i++) {
            cr_assert(sync.items[i].seq >= 1 && sync.items[i].seq <= position.seq);
            cr_expect_eq(seen[sync.items[i].seq]++, 0, "seq %lu twice", sync.items[i].seq);
            unread += sync.items[i].state <= NOTIFICATION_SEEN;
        }
        for (size_t i = 0; i < sync.change_count; i++) {
            if (sync.changes[i].state >= NOTIFICATION_EXPIRED) {
                cr_expect_eq(seen[sync.changes[i].seq]++, 0);
            }
        }
        done = sync.done;
        sync.rev = sync.through_rev;
        store_request_finish(&sync.base);
    } while (!done);
    for (uint64_t seq = 1; seq <= position.seq; seq++) {
        cr_expect_eq(seen[seq], 1, "seq %lu is missing", seq);
    }
    cr_expect_eq(unread, position.unread, "recounted %lu, not %lu", unread, position.unread);
    mem_free(seen);
}

BOTH(writers_of_several_shards_leave_no_gap)
{
    struct harness harness;
    harness_open(&harness, url);
    struct writer writers[WRITERS];
    pthread_t threads[WRITERS];
    uint64_t seed = 0;
    rand_secret(&seed, 4);
    (void)fprintf(stderr, "seed %lu\n", seed);
    for (unsigned i = 0; i < WRITERS; i++) {
        writers[i] = (struct writer){.harness = &harness, .shard = i, .seed = seed + i};
        cr_assert_eq(pthread_create(&threads[i], NULL, run_writer, &writers[i]), 0);
    }
    uint64_t stored[USERS] = {0};
    for (unsigned i = 0; i < WRITERS; i++) {
        cr_assert_eq(pthread_join(threads[i], NULL), 0);
        for (unsigned user = 0; user < USERS; user++) {
            stored[user] += writers[i].stored[user];
        }
    }
    for (unsigned user = 0; user < USERS; user++) {
        expect_user(&harness, user_of(user_names[user]), stored[user]);
    }
    harness_close(&harness);
}
