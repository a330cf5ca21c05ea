/* SPDX-License-Identifier: Apache-2.0 */
/*
 * probe - private to the session layer: a WebSocket that wants to take over a polling session
 * (socketio-wire.md 1.9).
 *
 * It lives on the shard where its request came in until the client says `5`; then it moves to the
 * shard of the session and becomes its transport. Whatever goes wrong before that ends the
 * WebSocket, never the session.
 */
#ifndef HUB_SESSION_PROBE_H
#define HUB_SESSION_PROBE_H

#include <stdint.h>

#include "codec/base/bytes.h"

struct http_request;
struct session_part;
struct transport;

/* What the WebSocket is to the session that it has taken over. */
extern const struct transport upgraded_transport;

/* The session on shard `owner` has agreed: answer 101 and wait for `2probe` and `5`. */
void probe_begin(struct session_part *part, struct http_request *request, struct bytes sid,
    uint64_t number, unsigned owner);

/* The session has a WebSocket, or another one is trying: answer 101 and close at once, as stock
 * servers do. */
void probe_refuse(struct session_part *part, struct http_request *request);

/* poll_ops.end_probe. The session has ended: close the WebSocket `number`, if it is still here. */
void probe_end(struct session_part *part, uint64_t number);

/* The key of the map of probes. */
struct bytes probe_key(const void *probe);

#endif
