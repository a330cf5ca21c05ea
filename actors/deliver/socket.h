/* SPDX-License-Identifier: Apache-2.0 */
/*
 * socket - one Socket.IO socket (session x namespace), or one plain WebSocket session: what a user
 * actor and the leaves see of a client.
 *
 * Made and freed by the session layer, on the shard of its user. It belongs to a user from
 * user_attach to socket_detach, and is a member of leaves in between. Everything that is sent
 * to it goes through socket_send and the leaves, which keep one order (architecture: order on a
 * connection is order of arrival at the node).
 */
#ifndef ACTORS_DELIVER_SOCKET_H
#define ACTORS_DELIVER_SOCKET_H

#include <stdbool.h>
#include <stdint.h>

#include "actors/close.h"
#include "actors/deliver/outbox.h"
#include "actors/deliver/socket_state.h"
#include "actors/identity.h"
#include "codec/event.h"
#include "codec/wire.h"

struct recoverable;

/* What a new socket is made of. */
struct socket_options {
    const struct socket_ops *ops;
    struct shard *shard;
    struct bytes nsp;
    struct outbox *outbox;
    struct identity *identity;
    enum wire_format format;
    struct recoverable *claimed; /* which it continues (recovery.h); NULL: a new one */
};

/*
 * Prepare a socket: `sid` and `id` are drawn, the namespace's fan-out found (it exists from start).
 * Takes a reference of the identity. One that continues another has its sid and rooms, and is sent
 * what it missed. False: no memory; it takes no reference then, and `claimed` is still to be given
 * back.
 */
MUST_CHECK bool socket_init(struct socket *socket, const struct socket_options *options);

/*
 * Leave every leaf and the user; the user actor learns `reason` by message. Nothing refers to the
 * socket afterwards. The identity stays until socket_detach. May be called again.
 */
void socket_take_out(struct socket *socket, enum close_reason reason);

/* The same, and drop the identity: the end. May be called again. */
void socket_detach(struct socket *socket, enum close_reason reason);

/* The secret with which a later CONNECT can continue this socket; empty: it cannot. */
struct bytes socket_pid(const struct socket *socket);

/*
 * Append where the client of a one-way socket is when it has had all that was sent to it so far and
 * all that is pending for it, which is sent by that: with socket_pid, what a later one goes on
 * with. Nothing when that cannot be, or it is closing.
 */
void socket_place(struct socket *socket, struct builder *out);

/*
 * A ping is about to be sent to the client; or its pong has come, so that the client has had
 * everything sent before.
 */
void socket_pinged(struct socket *socket);
void socket_ponged(struct socket *socket);

/* The outbox is no longer full: what waited for that goes on. */
void socket_relieved(struct socket *socket);

/* The namespace ("/"). */
struct bytes socket_nsp(const struct socket *socket);

/*
 * Send complete wire bytes made for this socket's format (a message, an ack), after everything that
 * arrived before. Takes over no reference. Returns false when refused at the outbox's maximum.
 */
bool socket_send(struct socket *socket, struct chunk *chunk);

/* Encode and send one event to this socket alone; for many sockets share the chunk instead. */
bool socket_emit(struct socket *socket, const struct event *event);

/*
 * Encode and send the answer to request `id`: `result` is JSON text. One that the format cannot
 * carry is counted, and an error `too_large` is sent in its place.
 */
bool socket_ack(struct socket *socket, uint64_t id, struct bytes result);

/*
 * The inbox of a socket may be behind its user's: its outbox was full when a change was to be told.
 *
 * It is told nothing more of the inbox until its outbox has room again. Then it is told what the
 * store has above the rev it was told last, page by page as there is room (inbox/feed.c). When it
 * has come as far as the user it is caught up, and goes on with the others: what they are told up
 * to its own rev it knows already. So no number of notifications can fill an outbox, and who is
 * slow does not hold up the user's other sockets.
 */

/* The socket falls behind: it has been told all up to `rev`. */
void socket_lag_begin(struct socket *socket, uint64_t rev);

/* It is behind no more, or goes; nothing when it is not behind. */
void socket_lag_end(struct socket *socket);

/*
 * Whether `socket` is not to be told change `rev` of the inbox now: it is behind and will have it
 * from the store. It falls behind when its outbox is full, but not for SOCKET_REV_READ.
 */
bool socket_lag_holds(struct socket *socket, uint64_t rev);

#endif
