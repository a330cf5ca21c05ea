/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http1_chunked - incremental decoder of the chunked transfer coding (RFC 9112 section 7.1).
 *
 * Strict about the framing, with a cap on the body. Chunk extensions and trailers are skipped
 * and together limited to HTTP1_CHUNKED_EXTRA_MAX bytes per body.
 */
#ifndef CODEC_HTTP1_CHUNKED_H
#define CODEC_HTTP1_CHUNKED_H

#include <stdbool.h>
#include <stdint.h>

#include "codec/base/bytes.h"
#include "codec/base/check.h"

enum { HTTP1_CHUNKED_EXTRA_MAX = 1024 };

/* A decoder of one body; `{.max_body = n}` is one at its start. */
struct http1_chunked {
    uint64_t max_body; /* bytes of content */
    /* private */
    uint64_t total;
    uint64_t left; /* of the chunk being read */
    uint32_t extra; /* bytes of extensions and trailers so far */
    uint8_t digits; /* of the size being read */
    uint8_t state;
};

/*
 * Take framing and at most one run of content off the start of `input`. Returns how many bytes
 * were consumed, with the content among them in *ret_data (a slice of `input`, often empty), 0
 * when more input is needed or the body was complete already, STATUS_PROTO for bad framing, or
 * STATUS_TOO_LARGE above max_body (told from the size line, before the content) or above the
 * limit of extras. Call again with the rest until 0 or http1_chunked_done.
 */
MUST_CHECK int http1_chunked_feed(
    struct http1_chunked *chunked, struct bytes input, struct bytes *ret_data);

/* Whether the body is complete; what was not consumed belongs to the next request. */
bool http1_chunked_done(const struct http1_chunked *chunked);

#endif
