/* SPDX-License-Identifier: Apache-2.0 */
/*
 * gather - who is in a room, on all nodes.
 *
 * The question goes from shard to shard of this node, and then, as fetchSockets of a Socket.IO
 * server, to the other nodes, of which as many must answer as subscribe to requests.
 */
#ifndef ACTORS_ROOMS_GATHER_H
#define ACTORS_ROOMS_GATHER_H

#include <stdbool.h>
#include <stdint.h>

#include "codec/base/bytes.h"
#include "codec/base/map.h"

struct shard;

/* A user with sockets in the room. */
struct gather_member {
    uint64_t sockets;
    uint32_t user_len;
    char user[];
};

/* The user id of a struct gather_member. */
struct bytes gather_user(const void *member);

struct gather_result {
    int status; /* 0; STATUS_FULL: too many ask; STATUS_NOMEM; STATUS_CANCELLED: the node ends */
    bool complete; /* all nodes have answered in time */
    uint32_t nodes; /* that have a socket in the room, Socket.IO servers included */
    uint64_t sockets; /* in the room, also those of which no user is known */
    const struct map *members; /* struct gather_member by user id */
};

/* Receives what was found, exactly once; `result` is borrowed for the call. */
typedef void (*gather_done_fn)(void *context, const struct gather_result *result);

/*
 * Find who is in `room` (wire name) of the namespace "/". `done` is called on this shard's thread
 * in a later turn, within 3 s and what the shards of this node take; with STATUS_CANCELLED by who
 * destroys the actor system.
 */
void gather_start(struct shard *shard, struct bytes room, gather_done_fn done, void *context);

/*
 * End what waits for other nodes, with what was found until now, and close the connections used for
 * it. What is asked for later is answered for this node alone, as not complete.
 */
void gather_stop(struct shard *shard);

#endif
