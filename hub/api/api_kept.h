/* SPDX-License-Identifier: Apache-2.0 */
/*
 * api_kept - reads of a user's inbox that the shard has answered before: what is asked of the store
 * then is only where the inbox stands.
 *
 * The store says it in every case (STORE_POSITIONS), so an answer that was kept shows all that was
 * committed before the request came, by whichever node. A read begins with api_kept_begin. Where
 * that is true, the position is asked for, and api_kept_answer answers if nothing has changed. Else
 * the rows are read, and api_kept_fill answers with what was made of them.
 *
 * Every change of an inbox uses a rev, so epoch and rev name what an answer shows: that is its
 * ETag. It is weak, because the same content is sent compressed and not.
 */
#ifndef HUB_API_API_KEPT_H
#define HUB_API_API_KEPT_H

#include <stdbool.h>
#include <stdint.h>

#include "codec/base/buf.h"
#include "codec/base/check.h"
#include "hub/api/read_cache.h"
#include "hub/net/http_server.h"

/* What a read keeps while it is under way; all zero: it is none of these. */
struct api_kept {
    /* private */
    struct store_user who;
    struct builder name; /* of the answer: what is read, and its query */
    struct buf *body; /* that was kept; NULL: none */
    struct read_stamp stamp; /* of `body` */
    uint64_t session; /* store_sessions when it was begun */
};

/*
 * Begin a read of `kind` for `who`, whose texts last as long as `kept`. True: ask where the inbox
 * stands first, because an answer was kept, or the caller has one (If-None-Match).
 */
MUST_CHECK bool api_kept_begin(struct api_kept *kept, const struct http_request *request,
    struct store_user who, const char *kind);

/* The inbox stands at `rev`: whether the request was answered, by what was kept or 304. */
MUST_CHECK bool api_kept_answer(struct api_kept *kept, struct http_request *request, uint64_t rev);

/* Answer with what the rows say at `rev`, or 304, and keep it; resets `json`. */
void api_kept_fill(
    struct api_kept *kept, struct http_request *request, uint64_t rev, struct builder *json);

/* Answer with what shows no rev of the inbox, and is not kept; resets `json`. */
void api_kept_pass(struct http_request *request, struct builder *json);

/* Answer with something of the inbox that is not kept, and was changed last at `rev`, or 304;
 * resets `json`. */
void api_kept_one(struct http_request *request, uint64_t rev, struct builder *json);

/* End it. */
void api_kept_finish(struct api_kept *kept);

#endif
