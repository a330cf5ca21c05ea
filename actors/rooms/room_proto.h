/* SPDX-License-Identifier: Apache-2.0 */
/*
 * room_proto - what a room is told.
 *
 * One per room with members on this node, on shard_of(room), made by the first JOIN. It counts
 * members by shard, keeps the maximum, and holds the interest in the room's events: a JOIN is
 * answered when events are certain to come. Access was decided by the user actor, which also tells
 * the others who comes and goes: so they hear it in the order of that user's messages.
 */
#ifndef ACTORS_ROOMS_ROOM_PROTO_H
#define ACTORS_ROOMS_ROOM_PROTO_H

#include "actors/core/protocol.h"
#include "codec/base/buf.h"

struct shard;
struct socket;

struct room_join {
    struct msg base;
    struct buf *key; /* room_key_new */
    struct actor_ref reply_to; /* the user actor: user_joined or user_refused */
    uint32_t socket_id; /* returned in the reply, as `token` */
    uint32_t max_members; /* 0: no limit */
    bool quiet; /* nobody is told who comes and goes */
    bool seat; /* the socket is a member already: it is only counted */
    uint64_t token;
};

struct room_leave {
    struct msg base;
    struct buf *key;
    uint32_t shard;
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

/* What the actor of a room takes of the memory of a node with `shards`, without its name. */
size_t room_cost(unsigned shards);

/* Send LEAVE: a socket of this shard whose JOIN was answered is no member, or no more. */
void room_send_leave(struct shard *shard, struct bytes nsp, struct bytes room);

/* Have a socket of this shard counted as a member of `room`, whatever its maximum. */
void room_take_seat(struct shard *shard, struct bytes nsp, struct bytes room);

/* Tell the others in `room` of the user of `socket`, who does not hear it: `event` is
 * user_joined_room or user_left_room. */
void room_tell(
    struct shard *shard, const struct socket *socket, struct bytes room, const char *event);

#endif
