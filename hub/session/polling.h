/* SPDX-License-Identifier: Apache-2.0 */
/*
 * polling - private to the session layer: HTTP long-polling as the transport of a session.
 *
 * The session's side, on the shard where the session is. Its requests may have arrived on any shard
 * (hub/session/poll_mail.h): they come here as messages, and answers go back to where they came
 * from. What waits in the outbox is WebSocket frames, as for every other session; an answer takes
 * the packets out of them, and an upgrade hands them to the WebSocket as they are.
 */
#ifndef HUB_SESSION_POLLING_H
#define HUB_SESSION_POLLING_H

#include <stdbool.h>

#include "codec/base/bytes.h"
#include "codec/base/check.h"
#include "hub/session/poll_mail.h"

struct outbox;
struct poll_session;
struct session;
struct transport;

extern const struct transport polling_transport;

/* The memory of a session that polls, with a name: for session_init. NULL: no memory. */
MUST_CHECK struct poll_session *polling_new(struct session_part *part, struct bytes remote);

/* Its transport is there from now on. */
void polling_begin(struct session *session);

/* poll_ops.take: a request, or what became of one. */
void polling_take(struct session_part *part, struct poll_message *message);

/* Whether the WebSocket `ticket` may take over: the session is polling, and waits for it. */
bool polling_is_probed(const struct session *session, struct poll_ticket ticket);

/* A WebSocket takes over: answer the held GET, give up what waits to `outbox`, and be gone. Returns
 * how often the session was held. */
unsigned polling_hand_over(struct session *session, struct outbox *outbox);

/* transport.remote of sessions that came by polling. */
void polling_remote(const struct session *session, char ret_text[46]);

#endif
