/* SPDX-License-Identifier: Apache-2.0 */
/*
 * room_world - nodes whose rooms have a memory, and guests who join these rooms, drop, and come
 * back with the position of the last event that they have had; everything that they get is written
 * down.
 */
#ifndef TESTS_SUPPORT_ROOM_WORLD_H
#define TESTS_SUPPORT_ROOM_WORLD_H

#include <stdbool.h>
#include <stdint.h>

#include "tests/support/client.h"
#include "tests/support/nodes.h"

enum {
    ROOM_GUESTS = 5,
    ROOM_NAMES = 2,
    ROOM_VALUES_MAX = 4096,
    ROOM_RUNS_MAX = 256,
    ROOM_POSITION_MAX = 100,
};

/* What one client had of a room: `runs` are where it began anew. */
struct had {
    uint64_t values[ROOM_VALUES_MAX];
    unsigned count;
    unsigned runs[ROOM_RUNS_MAX];
    unsigned run_count;
    bool joined; /* in this connection, and answered */
    bool asked; /* a join is under way */
    char epoch[32];
    char position[ROOM_POSITION_MAX]; /* empty: none yet */
};

struct guest {
    struct client client; /* first */
    struct room_world *world;
    unsigned number;
    bool here;
    unsigned node;
    unsigned shard;
    char user[16];
    struct had had[ROOM_NAMES];
    unsigned recovered;
    unsigned lost;
};

struct room_world {
    struct nodes *nodes;
    uint64_t seed;
    bool alive[NODES_MAX];
    uint64_t next_value[ROOM_NAMES];
    struct guest
        guests[ROOM_GUESTS]; /* the first never drops, and is on node 0, which never ends */
};

/* The names of the rooms. */
extern const char *const room_world_rooms[ROOM_NAMES];

/* Start nodes and let all guests in; the first one joins all rooms, on node 0. */
void room_world_begin(struct room_world *world, uint64_t seed, const struct nodes_options *options);

/* Let all guests go and stop the nodes. */
void room_world_end(struct room_world *world);

/* Post the next value of a room, on any shard of `node`. */
void room_world_post(struct room_world *world, unsigned node, unsigned room);

/* A node that runs. */
unsigned room_world_node(struct room_world *world);

/* Connect a guest to `node`; it joins nothing by that. */
void guest_enter(struct guest *guest, unsigned node);

/* Its connection is gone, and what it has not read with it. */
void guest_drop(struct guest *guest);

/* Ask to join; with `since` from the position that it has of the room, if any. */
void guest_join(struct guest *guest, unsigned room, bool since);

/* Act on the thread of its shard. */
void guest_act(const struct guest *guest);

/* End the test: `what` is wrong. */
void guest_fail(const struct guest *guest, const char *what, uint64_t a, uint64_t b);

#endif
