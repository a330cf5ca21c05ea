/* SPDX-License-Identifier: Apache-2.0 */
/*
 * routes - which requests each listener answers, from the tables of those who handle them.
 */
#ifndef HUB_NODE_ROUTES_H
#define HUB_NODE_ROUTES_H

#include "hub/net/http_server.h"

struct config;

/* The routes of the public listener; with --dev those of the demo page too. Made once, never freed.
 */
const struct http_route *routes_public(const struct config *config);

/* The routes of the internal listener. */
const struct http_route *routes_internal(const struct config *config);

/* The table of the listener for other nodes. */
const struct http_route *routes_cluster(const struct config *config);

#endif
