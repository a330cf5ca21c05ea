/* SPDX-License-Identifier: Apache-2.0 */
/*
 * inbox_page - from what a caller wants to read of a list to a request of the store, and from its
 * answer to the caller's. Behind sockets and HTTP.
 */
#ifndef ACTORS_INBOX_INBOX_PAGE_H
#define ACTORS_INBOX_INBOX_PAGE_H

#include "codec/base/buf.h"
#include "codec/base/check.h"
#include "codec/notification_query.h"
#include "sql/store.h"

/* What is said of a page for which inbox_page_answer is false; static. */
extern const char inbox_page_too_large[];

/*
 * Fill in `page`, STORE_LIST or STORE_PAGE, which borrows from `query` and `who` until it has
 * completed. `max_bytes` is what an answer may have.
 */
void inbox_page_fill(struct store_page *page, struct store_user who,
    const struct notification_query *query, uint32_t max_bytes);

/*
 * Append the answer to what was read; `ack`: with `"ok":true`. False: a numbered page does not fit
 * into `max_bytes`; `limit` is to be smaller. Failure is the builder's.
 */
MUST_CHECK bool inbox_page_answer(const struct store_page *page,
    const struct notification_query *query, uint32_t max_bytes, bool ack, struct builder *out);

#endif
