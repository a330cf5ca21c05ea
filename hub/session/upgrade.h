/* SPDX-License-Identifier: Apache-2.0 */
/*
 * upgrade - HTTP requests that become sessions: Engine.IO's path, and the plain WebSocket's.
 *
 * Stage 3 of the data path. Handlers of a route table (hub/net/http_server.h) pass requests on to
 * here; requests of a long-polling session are answered later.
 */
#ifndef HUB_SESSION_UPGRADE_H
#define HUB_SESSION_UPGRADE_H

struct http_request;
struct session_layer;

/* Handle a request to the Engine.IO path (`/socket.io/` and everything below); any method. */
void upgrade_engine(struct session_layer *layer, struct http_request *request);

/* The route's `waiting` and `refuse` (hub/net/http_server.h) for the same requests. */
void upgrade_engine_waiting(struct session_layer *layer, struct http_request *request);
void upgrade_engine_refuse(
    struct session_layer *layer, struct http_request *request, unsigned status);

/* Handle a request to the plain WebSocket's path (`/ws`). */
void upgrade_plain(struct session_layer *layer, struct http_request *request);

#endif
