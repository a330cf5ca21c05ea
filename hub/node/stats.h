/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stats - routes by which an operator asks about the node's own work, with an API key.
 */
#ifndef HUB_NODE_STATS_H
#define HUB_NODE_STATS_H

#include <stddef.h>

#include "hub/net/http_server.h"

extern const struct http_route stats_routes[];
extern const size_t stats_route_count;

#endif
