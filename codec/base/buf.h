/* SPDX-License-Identifier: Apache-2.0 */
/*
 * buf - immutable counted bytes, and the builder that makes them.
 *
 * A buf is the only memory that two shards may hold at once: its count is atomic and its
 * content never changes after buf_new or builder_finish. A builder belongs to one thread.
 */
#ifndef CODEC_BASE_BUF_H
#define CODEC_BASE_BUF_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/base/bytes.h"
#include "codec/base/check.h"

struct buf {
    /* private */
    atomic_uint refs;
    uint32_t len;
    char at[];
};

/* A new buf with a copy of `content` (under 4 GiB) and one reference; NULL when out of memory. */
MUST_CHECK struct buf *buf_new(struct bytes content);

/* The same for a name or a key, whose length is limited: aborts when out of memory. */
MUST_CHECK struct buf *buf_new_name(struct bytes name);

/* Add a reference and return `buf`. Any thread. */
struct buf *buf_ref(struct buf *buf);

/* Drop a reference, freeing the buf with the last one; NULL is allowed. Any thread. */
void buf_unref(struct buf *buf);

/* The content; valid while the caller holds a reference. */
static inline struct bytes buf_bytes(const struct buf *buf)
{
    return bytes_of(buf->at, buf->len);
}

/*
 * A growable byte string with a limit. Failure is sticky: after the limit or memory ran out,
 * appends do nothing, and builder_failed or builder_finish tells. `{.max = n}` or all zero
 * (limit 64 MiB) is a valid empty builder. As long as the content is a name (BUILDER_SMALL bytes)
 * memory does not fail: that aborts, so that half a key is never taken for one.
 */
enum { BUILDER_SMALL = 1024 };

struct builder {
    size_t max;
    /* private */
    char *at;
    size_t len;
    size_t cap;
    bool failed;
    bool starved; /* failed for want of memory */
};

/* Free what the builder holds and make it empty again, keeping `max`. */
void builder_reset(struct builder *builder);

/* Forget the content but keep the memory for the next use. */
void builder_clear(struct builder *builder);

/* Whether an append did not fit. */
bool builder_failed(const struct builder *builder);

/* The same with the reason: 0; STATUS_TOO_LARGE: beyond `max`; STATUS_NOMEM. */
int builder_status(const struct builder *builder);

/* What was appended so far; valid until the next call on the builder. */
struct bytes builder_bytes(const struct builder *builder);

/* Append bytes, a C string, one byte, a decimal number, or formatted text. */
void builder_add(struct builder *builder, struct bytes content);
void builder_str(struct builder *builder, const char *str);
void builder_byte(struct builder *builder, char byte);
void builder_u64(struct builder *builder, uint64_t value);
void builder_i64(struct builder *builder, int64_t value);
void builder_printf(struct builder *builder, const char *format, ...) PRINTF_LIKE(2, 3);

/* Make room for `len` bytes and return where to write them (then builder_commit), or NULL. */
MUST_CHECK char *builder_reserve(struct builder *builder, size_t len);

/* Count `len` bytes written at what builder_reserve returned. */
void builder_commit(struct builder *builder, size_t len);

/* Cut the content back to its first `len` bytes. */
void builder_truncate(struct builder *builder, size_t len);

/*
 * Give the memory with the content to the caller, who frees it with mem_free, and reset the
 * builder, also on failure. NULL when an append had failed or nothing was appended.
 */
MUST_CHECK char *builder_take(struct builder *builder, size_t *ret_len);

/*
 * Cut the content back to `len` bytes and forget a failure since then: takes back what was begun
 * when builder_bytes had that length and builder_failed was false.
 */
void builder_rewind(struct builder *builder, size_t len);

/*
 * Turn the content into a buf and reset the builder, also on failure. NULL when an append had
 * failed or memory ran out.
 */
MUST_CHECK struct buf *builder_finish(struct builder *builder);

#endif
