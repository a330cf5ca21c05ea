/* SPDX-License-Identifier: Apache-2.0 */
/*
 * dev_guard - who is answered in development mode.
 */
#ifndef HUB_NODE_DEV_GUARD_H
#define HUB_NODE_DEV_GUARD_H

struct config;
struct http_refusal;
struct http1_request;

/*
 * Why a request is refused (http_server_config.refuse), static, or NULL. Pages of other sites can
 * reach a loopback address, by a name that was rebound to it or by a form that they send there:
 * Host must be a loopback name, and Origin absent, a loopback one, or listed in `origins`.
 */
const struct http_refusal *dev_guard_refuse(
    const struct config *config, const struct http1_request *head);

#endif
