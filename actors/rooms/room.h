/* SPDX-License-Identifier: Apache-2.0 */
/*
 * room - what those above ask of rooms on their own shard; the protocol is in actors/room_proto.h.
 */
#ifndef ACTORS_ROOMS_ROOM_H
#define ACTORS_ROOMS_ROOM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/base/bytes.h"
#include "codec/base/check.h"

struct buf;
struct event;
struct membership;
struct shard;
struct socket;

/* The key of the actor of `room` (wire name) in namespace `nsp`; one reference. */
MUST_CHECK struct buf *room_key_new(struct bytes nsp, struct bytes room);

/* What the actor of a room takes of the memory of a node with `shards`, without its name. */
size_t room_cost(unsigned shards);

/* Send LEAVE: a socket of this shard whose JOIN was answered is no member, or no more. */
void room_send_leave(struct shard *shard, struct bytes nsp, struct bytes room);

/* Have a socket of this shard counted as a member of `room`, whatever its maximum. */
void room_recount(struct shard *shard, struct bytes nsp, struct bytes room);

/*
 * Send an event of the hub's own to a room (wire name), except to sockets of some names; takes
 * `event`, which NULL there was no memory for: that it is lost is counted.
 */
void room_publish(struct shard *shard, struct bytes nsp, struct bytes room, struct event *event,
    const struct bytes *except, uint32_t except_count);

/*
 * Tell the others in `room` that the user of `socket` came or went, who does not hear it. Nothing
 * while another socket of the user on this node is in it.
 */
void room_tell(const struct socket *socket, struct bytes room, bool joined);

/*
 * The same whatever its other sockets are in. Nothing while it hides, or nobody knows whether it
 * does.
 */
void room_tell_user(const struct socket *socket, struct bytes room, bool joined);

/* fanout_ops.gone: the seat is given up unless `kept`, and the others are told. */
void room_on_gone(struct socket *socket, const struct membership *membership, bool kept);

#endif
