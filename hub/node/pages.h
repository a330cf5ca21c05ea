/* SPDX-License-Identifier: Apache-2.0 */
/*
 * pages - the demo page and the client library, carried in the program.
 *
 * The table is made at build time from clients/ (hub/pages/embed.py). Served with --dev only.
 */
#ifndef HUB_NODE_PAGES_H
#define HUB_NODE_PAGES_H

#include <stddef.h>

#include "codec/base/bytes.h"
#include "hub/net/http_server.h"

struct page {
    const char *path; /* "/": the demo page itself */
    const char *content_type;
    const char *etag; /* strong, of the content; with its quotes */
    struct bytes body;
};

/* Every page, in no order. Any thread. */
extern const struct page pages[];
extern const size_t page_count;

/* The page at `path` (as received, without query), or NULL. Any thread; static storage. */
const struct page *pages_find(struct bytes path);

/* A row of GET for each page. */
extern const struct http_route pages_routes[];
extern const size_t pages_route_count;

#endif
