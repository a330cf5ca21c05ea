/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/api.h"

#include "codec/base/check.h"
#include "hub/api_handlers.h"

const struct http_route api_routes[] = {
    {"POST", "/api/v1/events", api_post_events, api_post_head, API_BODY_CONFIGURED},
    {"POST", "/api/v1/notifications", api_post_notifications, api_post_head, API_BODY_CONFIGURED},
};
const size_t api_route_count = ARRAY_LEN(api_routes);

const struct http_route internal_routes[] = {
    {"GET", "/healthz", health_alive, NULL, 0},
    {"GET", "/readyz", health_ready, NULL, 0},
};
const size_t internal_route_count = ARRAY_LEN(internal_routes);
