/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session_life - private to the session layer: one Engine.IO session, or one plain WebSocket, from
 * its beginning to its end.
 */
#ifndef HUB_SESSION_SESSION_LIFE_H
#define HUB_SESSION_SESSION_LIFE_H

#include <stdbool.h>
#include <stdint.h>

#include "actors/close.h"
#include "codec/base/check.h"
#include "hub/session/session_core.h"

/* What transports tell their sessions. */
extern const struct transport_events session_events;

/* Make the lists and timers of a part; tell the application at once of what has ended there. */
void session_part_init(struct session_part *part);
void session_part_drop_ended(struct session_part *part);

/*
 * Make a session of `part` that will have a WebSocket. `extra` (may be NULL) is taken over. NULL:
 * no memory, and `extra` is still the caller's.
 */
MUST_CHECK struct session *session_create(
    struct session_part *part, enum session_kind kind, struct session_extra *extra);

/* The same for zeroed memory of the caller's, in which `transport` may be set. */
void session_init(struct session *session, struct session_part *part, enum session_kind kind,
    struct session_extra *extra);

/* Its transport is up: its deadlines begin. */
void session_start(struct session *session);

/* Free a new session that gets no transport. */
void session_destroy(struct session *session);

/*
 * End the session: its sockets are sent nothing any more, the transport is closed behind what
 * waits, and the application is told soon. Safe from everywhere; again: nothing.
 */
void session_end(struct session *session, enum close_reason reason);

/* End it because of a message above the limit; Socket.IO sockets are told first. */
void session_too_large(struct session *session);

/* Stop, or go on, taking what the client sends; counted. */
void session_hold(struct session *session, bool held);

/* Go to another shard, where protocol.arrived is called. One that has joined a namespace, or is
 * about to, ends: it would be two users'. */
void session_move(struct session *session, unsigned shard);

/* End the session unless it joins a namespace within `timeout_ms`; nothing while it is in one. */
void session_await_join(struct session *session, uint32_t timeout_ms);

/* Drop what is marked `closing` soon, outside of calls from actors. */
void session_drop_later(struct session *session);

/* Whether `next` may follow `phase`. */
bool session_may_become(enum session_phase phase, enum session_phase next);

#endif
