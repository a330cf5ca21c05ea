/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stream_request - GET /api/v1/stream: a request that becomes a session over server-sent events.
 */
#ifndef HUB_SESSION_STREAM_REQUEST_H
#define HUB_SESSION_STREAM_REQUEST_H

struct http_request;
struct session_layer;

/* The parameters of its query, as a route lists them. */
#define STREAM_REQUEST_QUERY "rooms, inbox, events, last_event_id, token"

/* Handle such a request; it is answered, or its connection has become a session's. */
void stream_request(struct session_layer *layer, struct http_request *request);

#endif
