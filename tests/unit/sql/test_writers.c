/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Several shards on threads of their own, all writing to the same few users: no gap, no wrong
 * count, and of each digest one row.
 */
#include <pthread.h>

#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "sql/store_preference.h"
#include "tests/support/seed.h"
#include "tests/unit/sql/both.h"

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
        rows[i].collapse = key % 4 == 0 ? BYTES("name") : BYTES("");
        rows[i].type = key % 4 == 1 ? BYTES("comment") : BYTES("note");
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
            struct store_mark mark = mark_of(
                who, (enum notification_verb)rand_below(&rand, NOTIFICATION_VERB_COUNT), round + 1);
            mark.states = notification_mark_states(mark.verb, true);
            mark.up_to = rand_below(&rand, 100);
            mark.until = 5 + rand_below(&rand, 10);
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
    uint64_t unseen = 0;
    struct store_sync sync = {.base.op = STORE_SYNC, .who = who, .limit = STORE_PAGE_MAX};
    bool done;
    do {
        cr_assert_eq(harness_run(harness, 0, &sync.base), 0);
        for (size_t i = 0; i < sync.item_count; i++) {
            cr_assert(sync.items[i].seq >= 1 && sync.items[i].seq <= position.seq);
            cr_expect_eq(seen[sync.items[i].seq]++, 0, "seq %lu twice", sync.items[i].seq);
            unread += sync.items[i].state <= NOTIFICATION_SEEN;
            unseen += sync.items[i].state == NOTIFICATION_UNREAD;
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
    cr_expect_eq(unseen, position.unseen, "recounted %lu, not %lu", unseen, position.unseen);
    cr_expect_eq(unread, position.unread, "recounted %lu, not %lu", unread, position.unread);
    mem_free(seen);
}

/* The last of them has a digest, which only the store knows. */
static void prefer_digest(struct harness *harness)
{
    struct store_preference write = {.base.op = STORE_PREFERENCE_WRITE,
        .who = user_of(user_names[USERS - 1]),
        .body = BYTES("{\"types\": {\"comment\": {\"digest\": 3600000}}}")};
    cr_assert_eq(harness_run(harness, 0, &write.base), 0);
    store_request_finish(&write.base);
}

BOTH(writers_of_several_shards_leave_no_gap)
{
    struct harness harness;
    harness_open(&harness, url);
    prefer_digest(&harness);
    struct writer writers[WRITERS];
    pthread_t threads[WRITERS];
    uint64_t seed = seed_draw();
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
