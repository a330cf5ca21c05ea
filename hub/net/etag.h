/* SPDX-License-Identifier: Apache-2.0 */
/*
 * etag - what a browser has already, by the tags it sends (RFC 9110 8.8.3, 13.1.2).
 */
#ifndef HUB_NET_ETAG_H
#define HUB_NET_ETAG_H

#include <stdbool.h>

#include "codec/base/bytes.h"

struct http1_request;

/* Whether `header`, the value of an If-None-Match, names `etag` (strong, with its quotes) or
 * anything. Any thread. */
bool etag_is_named(struct bytes header, const char *etag);

/* The same for all the If-None-Match headers of a request. Any thread. */
bool etag_is_known(const struct http1_request *head, const char *etag);

#endif
