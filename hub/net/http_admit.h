/* SPDX-License-Identifier: Apache-2.0 */
/*
 * http_admit - whose request it is, where a trusted proxy in front has the connection.
 */
#ifndef HUB_NET_HTTP_ADMIT_H
#define HUB_NET_HTTP_ADMIT_H

#include <stdbool.h>

#include "codec/base/check.h"

struct connection;
struct http1_request;
struct http_server_config;

/* Count the request for its client; false when that one has as many as
 * http_server_config.per_address allows. */
MUST_CHECK bool http_admit(struct connection *connection, const struct http_server_config *config,
    const struct http1_request *head);

#endif
