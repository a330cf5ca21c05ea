/* SPDX-License-Identifier: Apache-2.0 */
/*
 * owner - what delivery sees of the user that sockets belong to: an actor that is told what
 * actors/user_proto.h says, known by its key.
 *
 * It stands at the head of struct user, as struct actor at its own.
 */
#ifndef ACTORS_DELIVER_OWNER_H
#define ACTORS_DELIVER_OWNER_H

#include <stdbool.h>
#include <stdint.h>

#include "actors/core/actor.h"
#include "actors/shard.h"
#include "actors/user_proto.h"
#include "codec/base/list.h"

struct socket;

/* Whether other users may know that it is here. The higher of what two nodes say holds. */
enum owner_shown {
    OWNER_UNKNOWN, /* the store has not said yet */
    OWNER_SHOWN,
    OWNER_HIDDEN, /* it hides */
};

struct socket_owner {
    struct actor actor;
    struct list sockets; /* socket.user_link */
    uint32_t joins; /* that rooms have not answered yet: the actor stays to undo them */
    uint16_t socket_count;
    uint16_t rules; /* shard.rules when its sockets' rights were looked at last */
    struct list presence_link; /* of presence_part, which alone uses what follows; or of none */
    uint16_t presence_seen; /* sockets that are counted there */
    uint16_t presence_told; /* sockets that Redis was told of */
    bool presence_changed; /* it is to be told */
    uint8_t presence_said; /* enum owner_shown that Redis was told */
    uint8_t shown; /* enum owner_shown */
};

/* What the floors above do for the sockets of an owner; the same for all (shard.owners). */
struct owner_ops {
    /*
     * A backend, or another node, puts a socket that has an owner into a room (wire name) or takes
     * it out; false when it is in too many rooms. No rule is asked. The others are told of one that
     * comes with `presence`, unless the room is without, and later of its going.
     */
    bool (*change_room)(struct socket *socket, struct bytes room, bool join, bool presence);
    /* The sockets that dropped and may come back, recoverable.user_link. NULL: it has had none,
     * and none is to be kept now (`make`). */
    struct list *(*kept)(struct socket_owner *owner, bool make);
    /* Whether it hides is known, or another now. */
    void (*show)(struct socket_owner *owner, bool hidden);
};

/* Its key, valid as long as it: tenant and id. */
struct bytes owner_key(const struct socket_owner *owner);

/* The user's id, without tenant. */
struct bytes owner_id(const struct socket_owner *owner);

/* The tenant in the key; empty in the common space. */
struct bytes owner_space(const struct socket_owner *owner);

/* The socket with this id that is not closing, or NULL. */
struct socket *owner_socket(const struct socket_owner *owner, uint32_t socket_id);

/* The owner with this key, or NULL: none of its sockets is here. */
static inline struct socket_owner *owner_find(const struct shard *shard, struct bytes key)
{
    return (struct socket_owner *)(void *)actor_find(shard->sched, &user_behaviour, key);
}

#endif
