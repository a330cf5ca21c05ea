/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http_cors - which answers pages of other origins may read (Fetch standard, "CORS protocol"):
 * those of routes that say so, to origins that are listed. Cookies are never asked for; a page
 * sends its user's token itself.
 */
#ifndef HUB_NET_HTTP_CORS_H
#define HUB_NET_HTTP_CORS_H

#include <stdbool.h>

#include "codec/base/buf.h"
#include "hub/net/http_types.h"

/* Append the header lines of an answer of `route`, which may be NULL (then none). */
void http_cors_add(const struct http_server_config *config, const struct http_request *request,
    const struct http_route *route, struct builder *headers);

/*
 * Append the header lines that answer a preflight request (OPTIONS) for a path with routes for
 * pages; false when it is no such request.
 */
bool http_cors_preflight(const struct http_server_config *config,
    const struct http_request *request, struct builder *headers);

#endif
