/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fanout_proto - what a shard's fan-out of a namespace is told.
 *
 * One per shard and namespace, made at start, known by its ref to the namespace's sequencer, which
 * is the only sender: one line, so broadcasts arrive in the order of their numbers.
 */
#ifndef ACTORS_DELIVER_FANOUT_PROTO_H
#define ACTORS_DELIVER_FANOUT_PROTO_H

#include "actors/core/protocol.h"
#include "actors/deliver/broadcast.h"

/* A numbered broadcast; one reference. */
struct fanout_event {
    struct msg base;
    struct broadcast *broadcast;
};

/* The same from the bus: a flood may cost its own oldest events, never the shard. */
struct fanout_bus_event {
    struct msg base;
    struct broadcast *broadcast;
};

/* The namespace's replay stream is complete behind `from`, as far as this node can tell. */
struct fanout_stream {
    struct msg base;
    struct stream_id from;
    bool elsewhere; /* not so: another node has delivered something before it that is not there */
};

/* For want of memory the sockets of `name` (a room, a user, a sid; empty: all) miss something. */
struct fanout_lost {
    struct msg base;
    struct buf *name;
};

/*
 * A request of another node. Without `picked` the fan-out finds the sockets that it is about; it
 * carries it out for some of them, and answers with sequencer_part, which says where to go on: the
 * sequencer then asks again. So no request holds a shard for long, and one at a time is under way.
 */
struct fanout_ask {
    struct msg base;
    struct actor_ref reply_to; /* the sequencer */
    struct buf *request; /* MessagePack that adapter_request_decode accepted */
    uint32_t serial; /* returned in the answer */
    uint32_t next;
    struct buf *picked; /* sids, or NULL */
};

#define FANOUT_PROTOCOL(X, A, a)                                                                   \
    X(A, a, EVENT, event, NORMAL, REF, OWNS(broadcast_unref(msg->broadcast)),                      \
        "deliver to the sockets of this shard")                                                    \
    X(A, a, BUS_EVENT, bus_event, SHED, REF, OWNS(broadcast_unref(msg->broadcast)),                \
        "the same, from another node or an emitter")                                               \
    X(A, a, STREAM, stream, CONTROL, REF, PLAIN, "what follows of the replay stream is complete")  \
    X(A, a, LOST, lost, CONTROL, REF, OWNS(buf_unref(msg->name)),                                  \
        "the sockets of a name miss something")                                                    \
    X(A, a, ASK, ask, CONTROL, REF, OWNS(buf_unref(msg->request); buf_unref(msg->picked)),         \
        "carry out a slice of a request of another node")
PROTOCOL_DECLARE(FANOUT, fanout)

#endif
