/* SPDX-License-Identifier: Apache-2.0 */
/*
 * session_sockets - private to the session layer: the sockets of a session, one per namespace.
 *
 * The first lives inside the session; further ones are allocations of their own.
 */
#ifndef HUB_SESSION_SESSION_SOCKETS_H
#define HUB_SESSION_SESSION_SOCKETS_H

#include <stdbool.h>

#include "actors/close.h"
#include "codec/base/bytes.h"
#include "codec/base/check.h"

struct outbox;
struct session;
struct socket;

/* Whether the session has one at all, and how many; the one of `nsp`, or NULL. */
bool session_has_socket(const struct session *session);
unsigned session_count_sockets(const struct session *session);
struct socket *session_find_socket(struct session *session, struct bytes nsp);

/* Zeroed memory for one more, NULL without; and given back, unless the application knows it. */
MUST_CHECK struct socket *session_place_socket(struct session *session);
void session_remove_socket(struct session *session, struct socket *socket);

/* Call `tell`, or `fn` with more, for each. */
void session_tell_sockets(struct session *session, void (*tell)(struct socket *socket));
typedef void (*session_socket_fn)(struct session *session, struct socket *socket, void *context);
void session_each_socket(struct session *session, session_socket_fn fn, void *context);

/* Tell the application that `socket` has ended, and free it. Not from a call of an actor. The same
 * for all sockets, or those marked `closing`. */
void session_drop_socket(struct session *session, struct socket *socket, enum close_reason reason);
void session_drop_sockets(struct session *session, bool only_closing, enum close_reason reason);

/* Their outbox is that of the transport from now on; nothing is sent to them any more. */
void session_set_outbox(struct session *session);
void session_mark_closing(struct session *session);

#endif
