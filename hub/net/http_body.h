/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http_body - a request's body as its handler wants it: expanded where it is compressed (RFC 9110
 * 8.4), without the byte order mark that some tools write in front of JSON.
 */
#ifndef HUB_NET_HTTP_BODY_H
#define HUB_NET_HTTP_BODY_H

#include <stddef.h>

#include "codec/base/buf.h"

struct http1_request;

/*
 * Make `body` (complete) what its handler sees, at most `max` bytes. Returns 0, or the HTTP status
 * to refuse it with: 415 for a coding other than gzip, 400 when it is no gzip, 413 when it becomes
 * too large, 503 without memory.
 */
unsigned http_body_decode(const struct http1_request *head, size_t max, struct builder *body);

#endif
