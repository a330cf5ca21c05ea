/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dev_guard - who is answered in development mode.
 */
#ifndef HUB_NODE_DEV_GUARD_H
#define HUB_NODE_DEV_GUARD_H

#include <stdbool.h>

struct config;
struct http1_request;

/*
 * Whether a request is answered (http_server_config.admits). Pages of other sites can reach a
 * loopback address, by a name that was rebound to it or by a form that they send there: Host must
 * be a loopback name, and Origin absent, a loopback one, or listed in `origins`.
 */
bool dev_guard_admits(const struct config *config, const struct http1_request *head);

#endif
