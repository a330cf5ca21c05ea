/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dev - what exists with --dev only: a secret and an API key made at start, ready tokens, the demo
 * page's own requests.
 */
#ifndef HUB_NODE_DEV_H
#define HUB_NODE_DEV_H

#include "hub/net/http_server.h"

struct hub;

/* Make the secret and the API key of this run, if --dev was given. Before the shards start. */
void dev_make_secrets(struct hub *hub);

/*
 * Print the demo page's address, tokens of alice and bob, and a request that posts to this hub, if
 * --dev was given.
 */
void dev_print(const struct hub *hub);

/* The routes: GET /dev/token?user=NAME, POST /dev/notifications. */
extern const struct http_route dev_routes[];
extern const size_t dev_route_count;

#endif
