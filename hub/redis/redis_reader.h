/* SPDX-License-Identifier: Apache-2.0 */
/*
 * redis_reader - bytes from Redis (RESP2) to replies, over hiredis' reader.
 *
 * A reply is built in an arena of the reader and lives until the next call. What the server sends
 * is bounded: bytes of a reply, memory of its tree, nesting (7), length of a line.
 */
#ifndef HUB_REDIS_REDIS_READER_H
#define HUB_REDIS_REDIS_READER_H

#include <stddef.h>

#include "actors/bus.h"
#include "codec/base/bytes.h"
#include "codec/base/check.h"

struct redis_reader;

/* Make a reader that refuses replies of more than `reply_max` bytes. */
MUST_CHECK struct redis_reader *redis_reader_create(size_t reply_max);

/* Free it and its last reply; NULL is allowed. */
void redis_reader_destroy(struct redis_reader *reader);

/* Add bytes as they came; STATUS_NOMEM. The last reply stays valid. */
MUST_CHECK int redis_reader_feed(struct redis_reader *reader, struct bytes content);

/*
 * Take the next complete reply: 1 with the reply, valid until the next call; 0 when more bytes
 * are needed; STATUS_PROTO or STATUS_TOO_LARGE, after which the reader is of no more use.
 */
MUST_CHECK int redis_reader_next(struct redis_reader *reader, const struct bus_reply **ret_reply);

#endif
