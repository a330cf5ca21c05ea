/* SPDX-License-Identifier: Apache-2.0 */
/*
 * inbox_mark - from what a caller wants marked to a request of the store, and from its answer to
 * the caller's. Behind sockets and HTTP.
 */
#ifndef ACTORS_INBOX_INBOX_MARK_H
#define ACTORS_INBOX_INBOX_MARK_H

#include "codec/base/buf.h"
#include "codec/notification_mark.h"
#include "sql/store.h"

/* Fill in `mark`, which borrows from `marking` and `who` until it has completed; `at` is epoch ms.
 */
void inbox_mark_fill(struct store_mark *mark, struct store_user who,
    const struct notification_marking *marking, uint64_t at);

/* Append the answer to a mark that was carried out. Failure is the builder's. */
void inbox_mark_answer(const struct store_mark *mark, struct builder *out);

#endif
