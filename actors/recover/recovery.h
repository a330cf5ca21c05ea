/* SPDX-License-Identifier: Apache-2.0 */
/*
 * recovery - sockets that come back after a drop as who they were (Socket.IO's connection state
 * recovery), in the namespaces that are configured so.
 *
 * Part of a shard's fan-out. Every event for a Socket.IO socket carries one string more, its offset
 * in the shard's replay. A socket that ends uncleanly is kept for a while: its sid, its user, its
 * rooms with their seats. A CONNECT of the same user with its pid gets the sid, the rooms, and what
 * was sent behind the offset; or, when that is not exact, nothing of it: a new sid and pid.
 * Everything happens on the user's shard, where each CONNECT of the user comes to.
 */
#ifndef ACTORS_RECOVER_RECOVERY_H
#define ACTORS_RECOVER_RECOVERY_H

#include <stdbool.h>
#include <stdint.h>

#include "codec/base/bytes.h"
#include "codec/base/check.h"
#include "codec/stream_id.h"
#include "codec/wire.h"

struct broadcast;
struct event;
struct fanout;
struct identity;
struct recoverable;
struct recovery;
struct shard;
struct socket;
struct user;

/* The recovery of a fan-out; NULL when its namespace has none. */
struct recovery *recovery_create(struct fanout *fanout);
void recovery_destroy(struct recovery *recovery);

/* The end of a turn: write what other nodes need to know. NULL is allowed. */
void recovery_flush(struct recovery *recovery);

/* Whether events of this format carry an offset. */
static inline bool recovery_marks(enum wire_format format)
{
    return format != WIRE_JSON && format != WIRE_MSGPACK;
}

/*
 * A broadcast passes the fan-out: it is numbered and kept. Returns one reference of its event with
 * the offset, for the formats that carry it; NULL: without memory for that, send it as it is.
 */
MUST_CHECK struct event *recovery_mark(struct recovery *recovery, struct broadcast *broadcast);

/* What is known of the replay stream begins behind `from`, or begins anew there. */
void recovery_stream_from(struct recovery *recovery, struct stream_id from);

/* The same as recovery_mark for an event to `socket` alone; NULL also when the socket is not
 * recovered. */
MUST_CHECK struct event *recovery_mark_direct(
    const struct socket *socket, const struct event *event);

/* The same for every kept socket of `user` in `nsp`: they will want it. */
void recovery_note_all(struct user *user, struct bytes nsp, const struct event *event);

/* Who returns: what a CONNECT says. */
struct recovery_claim {
    struct bytes nsp;
    const struct identity *identity;
    struct bytes pid;
    struct bytes offset; /* empty: the client has seen no event */
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

/* The secret with which `socket` can be claimed; empty: it cannot. */
struct bytes recovery_pid(const struct socket *socket);

/* The sid of a claimed socket. */
struct bytes recovery_sid(const struct recoverable *recoverable);

/* What socket.c and fanout.c tell. */

/*
 * A socket has entered: as a new one, or as the one that was claimed, which is put into its rooms
 * and gets what it missed at once.
 */
void recovery_enter(struct socket *socket, struct recoverable *claimed);

/* The socket joined or left a room. */
void recovery_joined(struct socket *socket, struct bytes room);
void recovery_left(struct socket *socket, struct bytes room);

/* What is known of the socket's membership of `room` changed: loud, chosen. */
void recovery_changed(struct socket *socket, struct bytes room);

/*
 * A ping follows what was sent to the socket so far; or its pong has come. An idle client stands
 * where it was at its last pong, however long ago its last event was.
 */
void recovery_pinged(struct socket *socket);
void recovery_ponged(struct socket *socket);

/* The socket ends. Whether it is kept: it then still has its rooms' seats, its sid and its user. */
bool recovery_keep(struct socket *socket, bool clean);

/* What the user actor tells. */

/* Whether the user has kept sockets. */
bool recovery_has_kept(const struct user *user);

/* The user actor ends. */
void recovery_user_gone(struct user *user);

/* A backend takes the user's sockets out of `room`, or (empty) ends them: kept ones, too. */
void recovery_expel(struct user *user, struct bytes room);

#endif
