/* SPDX-License-Identifier: Apache-2.0 */
/*
 * poll_call - private to the session layer: requests with a sid, on the shard where they arrived.
 */
#ifndef HUB_SESSION_POLL_CALL_H
#define HUB_SESSION_POLL_CALL_H

#include <stdbool.h>

#include "codec/base/bytes.h"

struct http_request;
struct poll_answer;
struct session_part;

/*
 * Send on a request that names a session; it is answered later, perhaps within the call. `polling`:
 * its transport is polling. A WebSocket upgrade is to be accepted or refused.
 */
void poll_call_begin(
    struct session_part *part, struct http_request *request, struct bytes sid, bool polling);

/* The body of a POST does not come with its head. */
void poll_call_waiting(struct session_part *part, struct http_request *request, struct bytes sid);

/* The server refuses the body of a request: answer it. */
void poll_call_refused(struct session_part *part, struct http_request *request, unsigned status);

/* poll_ops.answered. */
void poll_call_answered(struct session_part *part, const struct poll_answer *answer);

/* The key of the map of calls. */
struct bytes poll_call_key(const void *call);

#endif
