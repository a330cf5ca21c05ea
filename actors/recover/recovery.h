/* SPDX-License-Identifier: Apache-2.0 */
/*
 * recovery - sockets that come back after a drop as who they were (Socket.IO's connection state
 * recovery), in the namespaces that are configured so.
 *
 * Part of a shard's fan-out. Every event for a Socket.IO socket carries one string more, its offset
 * in the shard's replay; one that is one way is told its place now and then (socket_place). A
 * socket that ends uncleanly is kept for a while: its sid, its user, its rooms with their seats. A
 * CONNECT of the same user with its pid gets the sid, the rooms, and what was sent behind the
 * offset; or, when that is not exact, nothing of it: a new sid and pid. Everything happens on the
 * user's shard, where each CONNECT of the user comes to.
 */
#ifndef ACTORS_RECOVER_RECOVERY_H
#define ACTORS_RECOVER_RECOVERY_H

#include <stdbool.h>
#include <stdint.h>

#include "codec/base/bytes.h"
#include "codec/base/check.h"

struct event;
struct fanout;
struct identity;
struct recoverable;
struct shard;
struct socket;
struct socket_owner;

/* Give the fan-out a watch when its namespace recovers sockets. */
void recovery_watch(struct fanout *fanout);

/* The end of a turn: write what other nodes need to know. */
void recovery_flush(struct fanout *fanout);

/* Add an event to what every kept socket of `user` in `nsp` will want. */
void recovery_note_all(struct socket_owner *user, struct bytes nsp, const struct event *event);

/* Who returns: what a CONNECT says. */
struct recovery_claim {
    struct bytes nsp;
    const struct identity *identity;
    struct bytes pid;
    struct bytes offset; /* empty: the client has seen no event */
    bool one_way; /* it was a socket that is one way: of another kind it cannot be continued */
};

/*
 * The socket that `claim` names, if it can be continued exactly; the one before it is ended if it
 * is still there. It goes into socket_options, or to recovery_drop. NULL: there is none, and
 * nothing is left of it.
 */
MUST_CHECK struct recoverable *recovery_claim(
    struct shard *shard, const struct recovery_claim *claim);

/* Give up a socket that was kept; NULL is allowed. */
void recovery_drop(struct recoverable *recoverable);

/* What is known of the socket's membership of `room` changed: presence, chosen. */
void recovery_changed(struct socket *socket, struct bytes room);

/* What the user actor tells. */

/* Whether the user has kept sockets. */
bool recovery_has_kept(struct socket_owner *user);

/* The user actor ends. */
void recovery_end_user(struct socket_owner *user);

/* A backend takes the user's sockets out of `room`, or (empty) ends them: kept ones, too. */
void recovery_expel(struct socket_owner *user, struct bytes room);

#endif
