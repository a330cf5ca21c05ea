/* SPDX-License-Identifier: Apache-2.0 */
/*
 * room_proto - what a room is told.
 *
 * One per room with members on this node, on shard_of(room), made by the first JOIN. It counts
 * members by shard, keeps the maximum, tells the others who comes and goes, and holds the interest
 * in the room's events: a JOIN is answered when events are certain to come. Access was decided by
 * the user actor.
 */
#ifndef ACTORS_ROOM_PROTO_H
#define ACTORS_ROOM_PROTO_H

#include "actors/core/protocol.h"
#include "codec/base/buf.h"

struct shard;
struct socket;

/* Who joins or leaves, in one counted buffer of names. */
struct room_who {
    uint32_t socket_id; /* on the user's shard */
    char sid[20];
    struct buf *user; /* id, without tenant */
    struct buf *name; /* display name; NULL: none */
};

struct room_join {
    struct msg base;
    struct buf *key; /* room_key_new */
    struct actor_ref reply_to; /* the user actor: user_joined or user_refused */
    struct room_who who;
    uint32_t max_members; /* 0: no limit */
    bool quiet; /* tell nobody */
    uint64_t token; /* returned in the reply */
};

struct room_leave {
    struct msg base;
    struct buf *key;
    uint32_t shard;
    bool quiet; /* do not tell the others */
    struct room_who who;
};

/* From the sequencer: events for `shard` are certain to come now. */
struct room_interested {
    struct msg base;
    uint32_t shard;
    uint32_t serial; /* of the request that is answered */
};

#define ROOM_PROTOCOL(X, A, a)                                                                     \
    X(A, a, JOIN, join, CONTROL, CREATES, OWNS, "add a member")                                    \
    X(A, a, LEAVE, leave, CONTROL, NAMED, OWNS, "forget a member")                                 \
    X(A, a, INTERESTED, interested, CONTROL, REF, PLAIN, "the bus has confirmed the channel")
PROTOCOL_DECLARE(ROOM, room)

/* The key of the actor of `room` (wire name) in namespace `nsp`; one reference. */
MUST_CHECK struct buf *room_key_new(struct bytes nsp, struct bytes room);

/* Tell the others in `room` that `socket` has come. */
void room_tell_joined(struct shard *shard, const struct socket *socket, struct bytes room);

/* Send LEAVE for a socket that is, or was, a member of `room`; `quiet`: the others are not told. */
void room_send_leave(
    struct shard *shard, const struct socket *socket, struct bytes room, bool quiet);

/* Send LEAVE for a socket that went before its JOIN was answered. */
void room_send_leave_gone(
    struct shard *shard, struct bytes nsp, struct bytes room, struct bytes user);

#endif
