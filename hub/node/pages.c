/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Serves the embedded files with their types, tags and policies.
 */
#include "hub/node/pages.h"

#include "codec/base/buf.h"
#include "hub/net/etag.h"

static const char fixed_headers[] =
    "Cache-Control: no-cache\r\n"
    "Content-Security-Policy: default-src 'self'; connect-src 'self' ws: wss:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'; object-src 'none'\r\n"
    "Cross-Origin-Opener-Policy: same-origin\r\n"
    "Referrer-Policy: no-referrer\r\n"
    "X-Content-Type-Options: nosniff\r\n";

const struct page *pages_find(struct bytes path)
{
    for (size_t i = 0; i < page_count; i++) {
        if (bytes_eq_str(path, pages[i].path)) {
            return &pages[i];
        }
    }
    return NULL;
}

static void pages_handle(struct http_request *request, void *context)
{
    (void)context;
    const struct page *page = pages_find(request->path);
    if (page == NULL) {
        http_respond_error(request, ERROR_NOT_FOUND, "No such page", NULL);
        return;
    }
    struct builder headers = {0};
    builder_printf(&headers, "ETag: %s\r\n", page->etag);
    builder_str(&headers, fixed_headers);
    if (etag_is_known(request->head, page->etag)) {
        http_respond(request, 304, NULL, builder_bytes(&headers), bytes_of(NULL, 0));
    } else {
        http_respond_lasting(request, page->content_type, builder_bytes(&headers), page->body);
    }
    builder_reset(&headers);
}

const struct http_route pages_routes[] = {
    {.method = "GET", .path = "/", .handler = pages_handle},
    {.method = "GET", .path = "/demo.css", .handler = pages_handle},
    {.method = "GET", .path = "/demo.js", .handler = pages_handle},
    {.method = "GET", .path = "/dom.js", .handler = pages_handle},
    {.method = "GET", .path = "/icon.svg", .handler = pages_handle},
    {.method = "GET", .path = "/inbox.js", .handler = pages_handle},
    {.method = "GET", .path = "/peal-sw.js", .handler = pages_handle},
    {.method = "GET", .path = "/peal.js", .handler = pages_handle},
    {.method = "GET", .path = "/snooze.js", .handler = pages_handle},
    {.method = "GET", .path = "/undo.js", .handler = pages_handle},
    {.method = "GET", .path = "/virtual_list.js", .handler = pages_handle},
};
const size_t pages_route_count = sizeof(pages_routes) / sizeof(pages_routes[0]);
