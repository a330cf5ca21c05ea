/* SPDX-License-Identifier: Apache-2.0 */
/*
 * fanout - a shard's part of one namespace: which sockets are in which rooms, and when windows
 * leave.
 *
 * Stage 7 of the data path. An actor, because numbered broadcasts reach it by message from the
 * namespace's sequencer; joining, leaving and catching up are calls from the same shard. When a
 * window leaves: at the end of the turn, unless its leaf was sent `events_per_tick` events
 * within the current tick (adaptive), then at the tick; urgent events always at the end of the
 * turn.
 */
#ifndef ACTORS_DELIVER_FANOUT_H
#define ACTORS_DELIVER_FANOUT_H

#include <stdbool.h>
#include <stdint.h>

#include "actors/core/actor.h"
#include "actors/core/timer.h"
#include "actors/deliver/leaf.h"
#include "actors/deliver/watch.h"
#include "actors/shard.h"
#include "codec/base/buf.h"
#include "codec/base/list.h"

enum { FANOUT_SHED_BOUND = 8192 }; /* events of the bus that wait for a shard */

struct acks;
struct fanout;
struct fanout_ask;
struct retained;

/* What a fan-out leaves to the floor above it (rooms/): never once a delivery. */
struct fanout_ops {
    /* A socket goes while it is in a room; unless `kept`, its seat there is free. */
    void (*gone)(struct socket *socket, const struct membership *membership, bool kept);
    /* Carry out a slice of another node's request, and tell the sequencer. */
    void (*ask)(struct fanout *fanout, struct fanout_ask *msg);
    /* The fan-out ends: forget the broadcasts that wait for acks. */
    void (*finish)(struct fanout *fanout);
};

struct fanout {
    struct actor actor;
    struct shard *shard;
    struct list shard_link; /* shard.fanouts */
    struct deliver_watch *watch; /* NULL: neither sockets nor rooms of the namespace come back */
    const struct fanout_ops *ops;
    struct retained *retained; /* what is kept for who joins and connects; NULL: nothing */
    struct leaves leaves;
    struct list due; /* leaf.dirty_link: flushed at the end of this turn */
    struct list waiting; /* leaf.dirty_link: flushed at the tick */
    struct timer tick;
    struct acks
        *acks; /* broadcasts that clients have not all acknowledged (rooms/acks.c); or NULL */
    uint32_t nsp_len;
    char nsp_at[];
};

/*
 * Start the fan-out of namespace `nsp` on `shard`. shard_open_nsp calls it, and gives it its ops, a
 * watch and its sequencer.
 */
struct fanout *fanout_start(struct shard *shard, struct bytes nsp);

/* Return the fan-out of `nsp` on `shard`, or NULL. */
struct fanout *fanout_find(struct shard *shard, struct bytes nsp);

/*
 * Tell the sequencer of `nsp` that `name` (of a user, a sid) is here, or not any more, so that the
 * bus brings what is for it. Nothing on a single node.
 */
void fanout_register(struct shard *shard, struct bytes nsp, struct bytes name, bool on);

/* The namespace. */
static inline struct bytes fanout_nsp(const struct fanout *fanout)
{
    return bytes_of(fanout->nsp_at, fanout->nsp_len);
}

/* Take a new socket in (everyone's leaf); false: no memory. */
MUST_CHECK bool fanout_enter(struct fanout *fanout, struct socket *socket);

/* Whether the user of `socket` is in `room` with another socket here, and the others know it. */
bool fanout_has_company(const struct socket *socket, struct bytes room);

/*
 * Let a socket go: what is pending for it is dropped, and it leaves every room; unless `kept`, it
 * gives up its seats there.
 */
void fanout_exit(struct fanout *fanout, struct socket *socket, bool kept);

/* Make `socket` a member of `room`; STATUS_EXISTS when it is one already, STATUS_NOMEM. */
MUST_CHECK int fanout_join(struct fanout *fanout, struct socket *socket, struct bytes room);

/* Let `socket` leave `room`, after what was pending; false when it was no member. */
bool fanout_leave(struct fanout *fanout, struct socket *socket, struct bytes room);

/* The membership of `socket` in `room`, valid until it joins or leaves one; NULL: it is no member.
 */
struct membership *fanout_membership(
    const struct fanout *fanout, const struct socket *socket, struct bytes room);

/* Everything that is pending for `socket` goes to its outbox, so that something may follow. */
static inline void fanout_catch_up(struct fanout *fanout, struct socket *socket)
{
    leaf_catch_up(&fanout->leaves, socket);
}

/* Flush the leaves that are due; at the end of each turn. */
void fanout_flush(struct fanout *fanout);

typedef void (*fanout_visit_fn)(struct fanout *fanout, struct socket *socket, void *context);

/*
 * Visit the sockets that a name stands for in the registry: a sid's, or all of a user's here.
 * Returns whether it is such a name. The members of a room of that name are not visited.
 */
bool fanout_visit_name(
    struct fanout *fanout, struct bytes name, fanout_visit_fn visit, void *context);

#endif
