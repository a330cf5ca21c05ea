/* SPDX-License-Identifier: Apache-2.0 */
/*
 * room_proto - what a room is told.
 *
 * One per room with members on this node, on shard_of(room), made by the first JOIN. It counts
 * members by shard, keeps the maximum, and holds the interest in the room's events: a JOIN is
 * answered when events are certain to come. Access was decided by the user actor, which also tells
 * the others who comes and goes: so they hear it in the order of that user's messages.
 */
#ifndef ACTORS_ROOM_PROTO_H
#define ACTORS_ROOM_PROTO_H

#include "actors/core/protocol.h"
#include "codec/base/buf.h"

struct room_join {
    struct msg base;
    struct buf *key; /* room_key_new */
    struct actor_ref reply_to; /* the user actor: user_joined or user_refused */
    uint32_t socket_id; /* returned in the reply, as `token` */
    uint32_t max_members; /* 0: no limit */
    bool presence; /* the others are told who comes and goes */
    bool recount; /* the socket is a member already: it is only counted */
    uint64_t token;
};

struct room_leave {
    struct msg base;
    struct buf *key;
    uint32_t shard;
};

/* From the sequencer: events for `shard` are certain to come now, or cannot. */
struct room_interested {
    struct msg base;
    bool failed; /* there is no memory: nothing will come */
    uint32_t shard;
    uint32_t serial; /* of the request that is answered */
};

#define ROOM_PROTOCOL(X, A, a)                                                                     \
    X(A, a, JOIN, join, CONTROL, CREATES(key), PLAIN, "add a member")                              \
    X(A, a, LEAVE, leave, CONTROL, NAMED(key), PLAIN, "forget a member")                           \
    X(A, a, INTERESTED, interested, CONTROL, REF, PLAIN, "the bus has confirmed, or cannot")
PROTOCOL_DECLARE(ROOM, room)

#endif
