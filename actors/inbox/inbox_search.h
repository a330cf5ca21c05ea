/* SPDX-License-Identifier: Apache-2.0 */
/*
 * inbox_search - a search through a user's newest notifications: it reads them from the store in
 * small pieces, folds and compares one piece at a time, and reads whole what matched best.
 * Behind sockets and HTTP.
 *
 * What changes while a search is under way may be found as it was or as it is; what becomes new
 * meanwhile is not found.
 */
#ifndef ACTORS_INBOX_INBOX_SEARCH_H
#define ACTORS_INBOX_INBOX_SEARCH_H

#include <stdbool.h>

#include "codec/base/buf.h"
#include "codec/base/check.h"
#include "codec/notification_query.h"
#include "sql/store.h"

struct inbox_search;
struct shard;

/* What is said where inbox_search_create is NULL; static. */
extern const char inbox_search_busy[];

/* What the store is asked, one after another. */
union inbox_search_request {
    struct store_request base;
    struct store_list texts;
    struct store_pick pick;
};

/*
 * Begin: fills in the first request but for its `done`. `query` stays the caller's. NULL:
 * as many as may be are under way on the shard, which is counted, or there is no memory.
 */
MUST_CHECK struct inbox_search *inbox_search_create(struct shard *shard,
    const struct notification_query *query, struct store_user who,
    union inbox_search_request *request);

/* NULL is nothing. */
void inbox_search_destroy(struct inbox_search *search);

/*
 * Take in a request that was carried out. True: it is filled in anew, with the same `done`, to be
 * submitted; false: it was the last one.
 */
MUST_CHECK bool inbox_search_step(struct inbox_search *search, union inbox_search_request *request);

/*
 * Append the answer, as inbox_page_answer, from the last request. `*ret_rev` is the rev that it
 * shows, 0 where the inbox has changed meanwhile.
 */
MUST_CHECK bool inbox_search_answer(const struct inbox_search *search,
    const union inbox_search_request *request, uint32_t max_bytes, bool ack, struct builder *out,
    uint64_t *ret_rev);

#endif
