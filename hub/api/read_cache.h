/* SPDX-License-Identifier: Apache-2.0 */
/*
 * read_cache - answers to reads of inboxes, kept by a shard, each with the state of the store that
 * it shows.
 *
 * It knows nothing of what is true now: who takes an answer asks the store whether its user's
 * inbox still stands where the answer says (api_kept.h). All answers of a user show one state;
 * those of an earlier one go when a later one is kept. It is bounded by bytes and by age: where
 * there is no room, the user goes who was read longest ago, of a tenant that has most (within a
 * factor of two), so that no tenant pushes out those of others while it has more than they do. When
 * memory is asked back (mem_ask_back) all go.
 */
#ifndef HUB_API_READ_CACHE_H
#define HUB_API_READ_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/base/buf.h"
#include "codec/base/bytes.h"
#include "codec/base/check.h"
#include "sql/store_types.h"

enum {
    READ_CACHE_ANSWERS = 16, /* of a user; beyond, the one kept first goes */
    READ_CACHE_NAME_MAX = 512, /* bytes of a name; longer ones are not kept */
    READ_CACHE_PART = 8, /* no answer, and no user, takes more than this part of the whole */
};

/* Which state of the store an answer shows. */
struct read_stamp {
    uint64_t session; /* store_sessions when it was asked: behind a lost one it may be another */
    uint64_t rev; /* of the user's inbox */
};

/* What it has done and has: nothing but uint64_t. */
struct read_cache_stats {
    uint64_t hits; /* counted by read_cache_count */
    uint64_t misses;
    uint64_t evicted; /* users whose answers went for want of room */
    uint64_t answers; /* now */
    uint64_t bytes; /* now, tables included */
};

struct read_cache;

/* Make an empty one that keeps nothing until its limits are set. */
struct read_cache *read_cache_create(void);

/* Free it; NULL is allowed. */
void read_cache_destroy(struct read_cache *cache);

/* What it may have: `bytes` 0 keeps nothing; answers go `age_ms` after they were made. */
void read_cache_set_limits(struct read_cache *cache, size_t bytes, uint64_t age_ms);

/*
 * The answer of that name that was kept for `who`, if it shows a state of `session`; its stamp is
 * then in `ret_stamp`. The caller has a reference. NULL: there is none. `now_ms` is monotonic.
 */
MUST_CHECK struct buf *read_cache_get(struct read_cache *cache, struct store_user who,
    struct bytes name, uint64_t session, uint64_t now_ms, struct read_stamp *ret_stamp);

/* An answer that was made of what the store has said. */
struct read_cache_answer {
    struct store_user who;
    struct bytes name; /* of the answer among those of the user */
    struct bytes body;
    struct read_stamp stamp;
};

/*
 * Keep a copy. Nothing where it is too large, shows an earlier state than what is kept, or there is
 * no memory.
 */
void read_cache_put(
    struct read_cache *cache, const struct read_cache_answer *answer, uint64_t now_ms);

/* Count a read that was answered from what is kept, or was not. */
void read_cache_count(struct read_cache *cache, bool hit);

/* Let go of what is too old, and of all when memory was asked back; once a second. */
void read_cache_tidy(struct read_cache *cache, uint64_t now_ms);

/* Its numbers now. */
const struct read_cache_stats *read_cache_stats(struct read_cache *cache);

#endif
