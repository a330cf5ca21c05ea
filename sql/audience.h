/* SPDX-License-Identifier: Apache-2.0 */
/*
 * audience - what both engines have in common about posts to many; private to sql/.
 */
#ifndef SQL_AUDIENCE_H
#define SQL_AUDIENCE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/base/check.h"
#include "sql/engine.h"
#include "sql/store_audience.h"

/*
 * How many rows a transaction makes that was begun for another purpose, and one that makes rows and
 * does nothing else: the inboxes are locked as long.
 */
enum { AUDIENCE_INLINE_MAX = 1000, AUDIENCE_STEP_MAX = 500 };

/* Whether a request of store_audience.h can be kept by either engine. */
bool audience_is_valid(const struct store_request *request);

/* Clear its outputs that are pointers, counts or flags. */
void audience_clear(struct store_request *request);

/* Whose inboxes a request reads or changes: how many, and one of them; none of other requests. */
size_t audience_user_count(const struct store_request *request);
const struct store_user *audience_user(const struct store_request *request, size_t index);

/*
 * Whether rows that its users lack must be there before a request that reads is answered. What is
 * asked of the connection that writes is not: it compares what there is.
 */
bool audience_is_asked(const struct store_request *request);

/* About how many bytes it takes on the wire. */
size_t audience_size(const struct store_audience_post *post);

/* Note that user `index` lacks rows, or that all do; and that this has been mended. */
void audience_lack(struct store_request *request, uint32_t index);
void audience_lack_all(struct store_request *request);
void audience_forget(struct store_request *request);

/*
 * Whether a request must not be carried out before an earlier one that waits for rows: of the same
 * port, unless both change inboxes alone, without a fence, and none that they share.
 */
bool audience_follows(const struct store_request *request, const struct store_request *earlier);

/* Give a post what has been committed. */
void audience_apply(struct store_audience_post *post, const struct put_result *result);

/*
 * What a row says of the post it was made from: a digit for the kind, the id as text, and the
 * topic; empty where it was for its user. What does not read so is taken for that.
 */
void audience_read(struct bytes text, struct result *arena, struct notification_item *item);

#endif
