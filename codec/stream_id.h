/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stream_id - the id of an entry in a Redis stream: "1795164798844-0".
 */
#ifndef CODEC_STREAM_ID_H
#define CODEC_STREAM_ID_H

#include <stdint.h>
#include <string.h>

#include "codec/base/buf.h"
#include "codec/base/bytes.h"
#include "codec/base/check.h"
#include "codec/base/status.h"

struct stream_id {
    uint64_t ms;
    uint64_t seq;
};

/* Negative, 0 or positive. */
static inline int stream_id_cmp(struct stream_id a, struct stream_id b)
{
    if (a.ms != b.ms) {
        return a.ms < b.ms ? -1 : 1;
    }
    return (a.seq > b.seq) - (a.seq < b.seq);
}

static inline void stream_id_write(struct stream_id id, struct builder *out)
{
    builder_u64(out, id.ms);
    builder_byte(out, '-');
    builder_u64(out, id.seq);
}

/* STATUS_INVALID for anything else than two numbers. */
MUST_CHECK static inline int stream_id_read(struct bytes text, struct stream_id *ret_id)
{
    const char *dash = text.len > 0 ? memchr(text.at, '-', text.len) : NULL;
    struct stream_id id;
    if (dash == NULL ||
        bytes_to_u64(bytes_of(text.at, (size_t)(dash - text.at)), UINT64_MAX, &id.ms) != 0 ||
        bytes_to_u64(bytes_skip(text, (size_t)(dash - text.at) + 1), UINT64_MAX, &id.seq) != 0) {
        return STATUS_INVALID;
    }
    *ret_id = id;
    return 0;
}

/* The id in a text of ours; 0-0, which is below all others, where it holds none. */
static inline struct stream_id stream_id_of(const char *text)
{
    struct stream_id id = {0};
    return stream_id_read(bytes_str(text), &id) == 0 ? id : (struct stream_id){0};
}

#endif
