/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gzip - bodies of HTTP answers, compressed (RFC 1952, RFC 1950), and of requests, expanded; the
 * one file of hub/ that knows zlib.
 */
#ifndef HUB_NET_GZIP_H
#define HUB_NET_GZIP_H

#include <stdbool.h>

#include "codec/base/buf.h"
#include "codec/base/bytes.h"
#include "codec/base/check.h"

struct gzip_stream;
struct http1_request;

enum gzip_coding { GZIP_NONE, GZIP_GZIP, GZIP_DEFLATE };

/*
 * What the client takes, by its Accept-Encoding: gzip where gzip, x-gzip or * is there, else
 * deflate; none of weight 0. Any thread.
 */
enum gzip_coding gzip_choose(const struct http1_request *head);

/*
 * Append what `data` (gzip, RFC 1952: members one after the other) stands for, at most `max` bytes
 * and, above 64 KiB, at most 100 times as many as `data` has. STATUS_INVALID: no gzip, cut, or
 * something behind it; STATUS_TOO_LARGE; STATUS_NOMEM. Any thread.
 */
MUST_CHECK int gzip_expand(struct bytes data, size_t max, struct builder *out);

/* The header line that names the coding; not of GZIP_NONE. Any thread; static storage. */
const char *gzip_header(enum gzip_coding coding);

/*
 * Append `data` (under 4 GiB) compressed. False, with nothing appended, for GZIP_NONE, when memory
 * ran out, or when it would not become smaller. Any thread.
 */
bool gzip_compress(enum gzip_coding coding, struct bytes data, struct builder *out);

/* Begin a body that is made in pieces; some 260 KiB. NULL: GZIP_NONE, or no memory. */
MUST_CHECK struct gzip_stream *gzip_stream_create(enum gzip_coding coding);

/* Free it; NULL is allowed. */
void gzip_stream_destroy(struct gzip_stream *stream);

/*
 * Append what stands for `data` (under 4 GiB), so that all that was added so far can be expanded;
 * with `last`, also the end. False: no memory, and the body cannot go on.
 */
MUST_CHECK bool gzip_stream_add(
    struct gzip_stream *stream, struct bytes data, bool last, struct builder *out);

#endif
