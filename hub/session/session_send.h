/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session_send - private to the session layer: messages into the outbox of a session.
 */
#ifndef HUB_SESSION_SESSION_SEND_H
#define HUB_SESSION_SESSION_SEND_H

#include <stdbool.h>

#include "codec/base/buf.h"
#include "codec/base/check.h"

struct chunk;
struct session;

/* Make a chunk of a whole WebSocket message, with one reference; NULL when `body` had failed. */
MUST_CHECK struct chunk *session_chunk(const struct builder *body, bool binary);

/* Append one text message to the outbox and reset `text`. False when refused at the cap. */
bool session_send_text(struct session *session, struct builder *text);

/* Append a message that is shared. False when refused at the outbox's maximum. */
bool session_send_chunk(struct session *session, struct chunk *chunk);

/* The same, of a chunk that was made for this: its reference is dropped. NULL: false. */
bool session_send_made(struct session *session, struct chunk *chunk);

#endif
