/* SPDX-License-Identifier: Apache-2.0 */
/*
 * race_run - a round of a race: stores, workers, and what is expected when all have ended.
 */
#ifndef TESTS_UNIT_SQL_RACE_RUN_H
#define TESTS_UNIT_SQL_RACE_RUN_H

#include "tests/unit/sql/harness.h"
#include "tests/unit/sql/race.h"
#include "tests/unit/sql/race_own.h"

enum {
    WORKERS = 8,
    STORES = 3,
    SINGLES_MAX = 1000, /* rows for one user, of a worker */
    ROWS_MAX = 2000,
    REVISED_MAX = 20, /* digits of a title */
    ERASED = RACE_USERS - 1, /* who is erased now and then, and begins with an inbox */
    EXPIRED = 10, /* what expires here has, when swept */
};

/* A row for one user that was stored. */
struct single {
    unsigned user;
    uint8_t id[NOTIFICATION_ID_LEN];
    uint64_t seq;
    bool gone; /* taken back, deleted, or expires at the latest in the end */
};

/* What a device has, by seq; it drops what is archived. */
struct device {
    uint64_t rev;
    bool has[ROWS_MAX];
    enum notification_state state[ROWS_MAX];
};

struct worker {
    struct arena *arena;
    unsigned index;
    struct harness *harness;
    unsigned shard;
    struct rand rand;
    struct single singles[SINGLES_MAX];
    size_t single_count;
    uint64_t key; /* the last one it used for a user */
    struct device devices[RACE_USERS];
};

/* A round: the stores, the workers, and what is known of what they did. */
struct arena {
    struct harness harnesses[STORES];
    unsigned stores;
    struct race race;
    struct race_own *own; /* rows of single users */
    struct worker workers[WORKERS];
    unsigned operations; /* of a worker until the next checkpoint */
    uint64_t keys; /* of posts to many */
};

extern const char *const race_users[RACE_USERS];
extern const char *const race_topics[RACE_TOPICS];

/*
 * The status when it is known whether it was done: a lock that was waited for in vain, or a lost
 * answer, is tried again as the product does. What is sent has keys, or does no harm when it is
 * done twice.
 */
int race_ask(struct worker *worker, struct store_request *request);

/* A page of a sync of a worker's device; whether it has all. */
bool race_sync(struct worker *worker, unsigned user, uint32_t limit);

/* How often a row shows or, a digest, remembers a post; and which revision it says that is, 0: it
 * says what the post said first. */
unsigned race_count_in(const struct notification_item *item, const uint8_t id[NOTIFICATION_ID_LEN],
    size_t *ret_revision);

/* All have ended: everything is exact. Devices of this worker, or of all where there are no more,
 * are to have what there is. */
void race_expect_all(struct arena *arena, unsigned worker);

#endif
