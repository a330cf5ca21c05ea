/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http_cors - Vary goes with every answer of a route for pages, or a cache would hand one origin's
 * answer to another.
 */
#include "hub/net/http_cors.h"

#include <string.h>

#include "hub/net/http_route.h"

static bool allowed_origin(const struct http_server_config *config,
    const struct http_request *request, struct bytes *ret_value)
{
    struct bytes origin;
    if (http1_header_once(request->head, "Origin", &origin) != 0) {
        return false;
    }
    *ret_value = config->cors_value(config->context, request, origin);
    return ret_value->len > 0;
}

static void add_origin(struct bytes value, struct builder *headers)
{
    builder_str(headers, "Access-Control-Allow-Origin: ");
    builder_add(headers, value);
    builder_str(headers, "\r\n");
}

void http_cors_add(const struct http_server_config *config, const struct http_request *request,
    const struct http_route *route, struct builder *headers)
{
    struct bytes value;
    if (config->cors_value == NULL || route == NULL || !route->pages) {
        return;
    }
    builder_str(headers, "Vary: Origin\r\n");
    if (allowed_origin(config, request, &value)) {
        add_origin(value, headers);
        builder_str(headers, "Access-Control-Expose-Headers: ETag, X-Cache, X-Response-Time, "
                             "Retry-After\r\n");
    }
}

bool http_cors_preflight(const struct http_server_config *config,
    const struct http_request *request, struct builder *headers)
{
    struct bytes method;
    struct bytes value;
    if (config->cors_value == NULL || request->head->method != HTTP1_OPTIONS ||
        http1_header_once(request->head, "Access-Control-Request-Method", &method) != 0) {
        return false;
    }
    const struct http_route *route = http_route_find(config->routes, method, request->path);
    if (route == NULL || !route->pages) {
        return false;
    }
    builder_str(headers, "Vary: Origin, Access-Control-Request-Method\r\n");
    if (allowed_origin(config, request, &value)) {
        add_origin(value, headers);
        builder_str(headers, "Access-Control-Allow-Methods: ");
        builder_str(headers, route->method);
        builder_str(headers, "\r\n"
                             "Access-Control-Allow-Headers: Authorization, Content-Type, "
                             "If-None-Match, Last-Event-ID, X-No-Compression\r\n"
                             "Access-Control-Max-Age: 600\r\n");
    }
    return true;
}
