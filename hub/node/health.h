/* SPDX-License-Identifier: Apache-2.0 */
/*
 * health - whether the process lives, and whether the node is ready for clients.
 */
#ifndef HUB_NODE_HEALTH_H
#define HUB_NODE_HEALTH_H

struct http_request;

/* Handlers; `context` is that of the node's HTTP servers. */
void health_alive(struct http_request *request, void *context);
void health_ready(struct http_request *request, void *context);

#endif
