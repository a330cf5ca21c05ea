/* SPDX-License-Identifier: Apache-2.0 */
/*
 * api - what backends, users and operators ask over HTTP: the routes.
 *
 * The context of every handler is the `struct api_shard *` of the request's shard.
 */
#ifndef HUB_API_API_H
#define HUB_API_API_H

#include <stddef.h>
#include <stdint.h>

#include "hub/net/http_server.h"

/* As max_body of a route: what limits.body_bytes says. */
#define API_BODY_CONFIGURED HTTP_BODY_CONFIGURED

/* Routes of the public listener. */
extern const struct http_route api_routes[];
extern const size_t api_route_count;

/* The route of the cluster's listener: what another node asks for its lists. */
extern const struct http_route api_roll_route;

#endif
