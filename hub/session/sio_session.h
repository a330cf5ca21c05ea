/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sio_session - private to the session layer: Socket.IO revision 5 on an Engine.IO session.
 */
#ifndef HUB_SESSION_SIO_SESSION_H
#define HUB_SESSION_SIO_SESSION_H

#include <stdbool.h>

#include "actors/close.h"
#include "codec/base/bytes.h"

struct chunk;
struct session;
struct sio_event_out;
struct socket;

/* The text of an Engine.IO message arrived. */
void sio_session_text(struct session *session, struct bytes text);

/* A binary Engine.IO message arrived: an attachment, or a packet of the MessagePack parser. */
void sio_session_binary(struct session *session, struct bytes data);

/* What follows is of struct protocol. A session goes on when it is refused, unless it does nothing
 * but ask. */
bool sio_session_welcome(struct session *session, struct bytes nsp, struct socket *socket);
void sio_session_refuse(
    struct session *session, struct bytes nsp, struct bytes message, const char *code);
struct chunk *sio_session_question(
    const struct session *session, struct socket *socket, const struct sio_event_out *event);

/*
 * Tell every socket of a session that is about to end why, by hub:closing, and that it is not to
 * come back by itself, by DISCONNECT.
 */
void sio_session_tell_closing(struct session *session, enum close_reason reason);

/*
 * Send one socket away for good: hub:closing, DISCONNECT; it is dropped soon, and no namespace can
 * be joined on this session any more.
 */
void sio_session_expel(struct session *session, struct socket *socket, enum close_reason reason);

#endif
