/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gzip - bodies of HTTP answers, compressed (RFC 1952); the one file that knows zlib.
 */
#ifndef HUB_GZIP_H
#define HUB_GZIP_H

#include <stdbool.h>

#include "codec/base/buf.h"
#include "codec/base/bytes.h"

struct http1_request;

/* Whether the client takes gzip: an Accept-Encoding with gzip, x-gzip or *, not of weight 0. Any
 * thread. */
bool gzip_accepted(const struct http1_request *head);

/*
 * Append `data` (under 4 GiB) compressed. False, with nothing appended, when memory ran out or it
 * would not become smaller. Any thread.
 */
bool gzip_compress(struct bytes data, struct builder *out);

#endif
