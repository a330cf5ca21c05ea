/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sequencer_proto - what the sequencer of a namespace is told.
 *
 * One per namespace on this node, on shard_of(namespace), made by the first message. It owns the
 * one order of broadcasts: everything published by local users, HTTP, the stream and the bus gets
 * its number here and leaves to every shard with interest as one FIFO. It also owns the Redis
 * connection on which all broadcast channels of the namespace are subscribed, so that a poster's
 * order survives; and on it the requests of other nodes arrive, which it lets the fan-outs carry
 * out, one after the other.
 */
#ifndef ACTORS_SEQUENCER_PROTO_H
#define ACTORS_SEQUENCER_PROTO_H

#include "actors/core/protocol.h"
#include "codec/base/buf.h"

struct broadcast;

/* The fan-out of a shard is there. Sent once by each, before anything else. */
struct sequencer_attach {
    struct msg base;
    struct buf *nsp;
    struct actor_ref fanout;
};

/* Number and deliver; published on the bus unless `broadcast->local`. */
struct sequencer_publish {
    struct msg base;
    struct buf *nsp;
    struct broadcast *broadcast;
};

/*
 * A shard begins or ends to hold members of a room. The room is told when events are certain to
 * come (the bus has confirmed the channel): room_interested.
 */
struct sequencer_interest {
    struct msg base;
    struct buf *nsp;
    struct buf *room;
    struct actor_ref reply_to; /* the room; used with `on` */
    uint32_t shard;
    uint32_t serial; /* returned in the reply */
    bool on;
};

/* A name in the registry (a user, a sid) comes or goes: only the bus must know. */
struct sequencer_name {
    struct msg base;
    struct buf *nsp;
    struct buf *name;
    bool on;
};

/* There is no memory for a room of which a shard has members. */
struct sequencer_lost {
    struct msg base;
    struct buf *nsp;
    struct buf *name;
    uint32_t shard;
};

/* Ask something of the other nodes: published as it is. */
struct sequencer_request {
    struct msg base;
    struct buf *nsp;
    struct buf *payload; /* codec/adapter_request.h */
};

/* What a fan-out did of a request (fanout_ask): all of it, or a slice. */
struct sequencer_part {
    struct msg base;
    uint32_t shard;
    uint32_t serial; /* of the fanout_ask */
    uint32_t found; /* sockets */
    bool failed; /* it cannot be done: no answer is better than a wrong one */
    uint32_t next; /* of `picked`, when there is more */
    struct buf *picked; /* sids; NULL when the shard is done */
    struct buf *text; /* elements of the answer, `a,b`, or NULL */
};

/* A client has acknowledged a broadcast of another node. */
struct sequencer_acked {
    struct msg base;
    struct buf *id; /* of the request, as it was decoded */
    struct buf *ack; /* MessagePack value */
};

/* Close the bus link and stop: the node ends. */
struct sequencer_close {
    struct msg base;
    struct buf *nsp;
};

#define SEQUENCER_PROTOCOL(X, A, a)                                                                \
    X(A, a, ATTACH, attach, CONTROL, CREATES(nsp), PLAIN, "a shard's fan-out is there")            \
    X(A, a, PUBLISH, publish, NORMAL, CREATES(nsp), OWNS(broadcast_unref(msg->broadcast)),         \
        "number a broadcast and deliver it")                                                       \
    X(A, a, INTEREST, interest, CONTROL, CREATES(nsp), OWNS(buf_unref(msg->room)),                 \
        "a shard has (no) members of a room")                                                      \
    X(A, a, NAME, name, CONTROL, CREATES(nsp), OWNS(buf_unref(msg->name)),                         \
        "a user or sid is (not) here")                                                             \
    X(A, a, LOST, lost, CONTROL, NAMED(nsp), OWNS(buf_unref(msg->name)),                           \
        "a shard misses what comes for a room")                                                    \
    X(A, a, REQUEST, request, NORMAL, NAMED(nsp), OWNS(buf_unref(msg->payload)),                   \
        "publish a request to the other nodes")                                                    \
    X(A, a, PART, part, CONTROL, REF, OWNS(buf_unref(msg->picked); buf_unref(msg->text)),          \
        "a shard did its part of another node's request")                                          \
    X(A, a, ACKED, acked, NORMAL, REF, OWNS(buf_unref(msg->id); buf_unref(msg->ack)),              \
        "a client acknowledged another node's broadcast")                                          \
    X(A, a, CLOSE, close, CONTROL, NAMED(nsp), PLAIN, "the node ends")
PROTOCOL_DECLARE(SEQUENCER, sequencer)

#endif
