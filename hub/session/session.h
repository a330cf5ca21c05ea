/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session - what an application may ask of a session: one Engine.IO session, or one plain
 * WebSocket.
 */
#ifndef HUB_SESSION_SESSION_H
#define HUB_SESSION_SESSION_H

#include <stdbool.h>
#include <stdint.h>

#include "codec/base/bytes.h"
#include "codec/base/check.h"

struct identity;
struct session;
struct socket;

/*
 * Who the session was last accepted as; borrowed; NULL before the first namespace was joined. A
 * session belongs to one user: an application refuses a CONNECT that names another one, and may
 * accept one without a token (tokens of the request are forgotten once a namespace is joined).
 */
struct identity *session_identity(const struct session *session);

/* Further namespaces of the socket's session are joined as `identity`, of the same user: a newer
 * token. */
void session_refresh(struct socket *socket, struct identity *identity);

/* Send one Engine.IO message of a session without Socket.IO (session_config.raw_message). False
 * when refused at the outbox's maximum. */
bool session_send_raw(struct session *session, bool binary, struct bytes message);

/*
 * Send an event to which the client answers (app_ops.ack, at most once, perhaps never). `args` is
 * JSON text of the arguments, `a,b`, or empty. Ids are unique among 8,191 requests of a session.
 * STATUS_FULL when refused at the outbox's maximum, STATUS_UNSUPPORTED on peal.msgpack.v1,
 * STATUS_TOO_LARGE.
 */
MUST_CHECK int session_ask(
    struct socket *socket, struct bytes name, struct bytes args, uint64_t *ret_id);

#endif
