/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fanout_proto - what a shard's fan-out of a namespace is told.
 *
 * One per shard and namespace, made at start, known by its ref to the namespace's sequencer, which
 * is the only sender: one line, so broadcasts arrive in the order of their numbers.
 */
#ifndef ACTORS_FANOUT_PROTO_H
#define ACTORS_FANOUT_PROTO_H

#include "actors/broadcast.h"
#include "actors/core/protocol.h"

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

#define FANOUT_PROTOCOL(X, A, a)                                                                   \
    X(A, a, EVENT, event, NORMAL, REF, OWNS, "deliver to the sockets of this shard")               \
    X(A, a, BUS_EVENT, bus_event, SHED, REF, OWNS, "the same, from another node or an emitter")
PROTOCOL_DECLARE(FANOUT, fanout)

#endif
