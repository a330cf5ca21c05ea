/* SPDX-License-Identifier: Apache-2.0 */
/*
 * plain_session - private to the session layer: the plain WebSocket (`/ws`), arrays of packets.
 */
#ifndef HUB_SESSION_PLAIN_SESSION_H
#define HUB_SESSION_PLAIN_SESSION_H

#include <stdbool.h>

#include "codec/base/bytes.h"
#include "hub/session/app.h"
#include "hub/session/session_core.h"

struct session;

/* A message arrived. */
void plain_session_message(struct session *session, bool binary, struct bytes message);

/* Make the ping message of a kind: `[["hub:ping"]]`. */
MUST_CHECK struct chunk *plain_session_ping(enum session_kind kind);

#endif
