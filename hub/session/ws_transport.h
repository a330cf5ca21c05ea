/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ws_transport - private to the session layer: a WebSocket as the transport of a session.
 */
#ifndef HUB_SESSION_WS_TRANSPORT_H
#define HUB_SESSION_WS_TRANSPORT_H

#include <stdbool.h>

#include "actors/close.h"

struct connection;
struct outbox;
struct session;
struct transport;
struct websocket;

extern const struct transport ws_transport;

/* Take over a connection that has been upgraded. */
void ws_transport_init(struct session *session, struct connection *connection);

/* Go on with `from`, which is empty afterwards, as one that says by `moved` when a move is over. */
void ws_transport_adopt(struct session *session, struct websocket *from);

/* Rows of struct transport, for the one that was adopted. */
struct outbox *ws_transport_outbox(const struct session *session);
void ws_transport_hold(struct session *session, bool held);
void ws_transport_authenticated(struct session *session);
void ws_transport_move(struct session *session, unsigned shard);
bool ws_transport_arrived(struct session *session);
void ws_transport_close(struct session *session, enum close_reason reason);
void ws_transport_cut(struct session *session, enum close_reason reason);

#endif
