/* SPDX-License-Identifier: Apache-2.0 */
/*
 * socket_state - what the leaves and the user of a socket see of it; what is done with one is in
 * socket.h.
 */
#ifndef ACTORS_DELIVER_SOCKET_STATE_H
#define ACTORS_DELIVER_SOCKET_STATE_H

#include <stdbool.h>
#include <stdint.h>

#include "actors/close.h"
#include "actors/deliver/outbox.h"
#include "codec/base/list.h"

struct fanout;
struct identity;
struct leaf;
struct shard;
struct socket;
struct socket_lag;
struct socket_owner;

enum { SOCKET_SID_LEN = 23, SOCKET_ADDRESS_MAX = 46 };

/* What is known of the request with which a session began. */
struct socket_handshake {
    uint64_t issued_ms; /* wall clock */
    uint64_t heard_ms; /* the same: when its client last showed that it is there; 0: not known */
    const char *transport; /* "polling" or "websocket" of Engine.IO; NULL: plain WebSocket */
    bool cross_domain; /* it named an Origin */
    char address[SOCKET_ADDRESS_MAX]; /* of the client; NUL-terminated */
};

struct socket_ops {
    bool one_way; /* its client says nothing, and comes back with a place (socket_place) */
    /*
     * End this socket for `reason` after what waits was written; never frees it before the end of
     * the turn. Calling it again does nothing.
     */
    void (*disconnect)(struct socket *socket, enum close_reason reason);
    /* The same for all sockets of its session, and then the connection. */
    void (*end)(struct socket *socket, enum close_reason reason);
    /* Stop, or go on, reading from the connection (back-pressure). */
    void (*pause)(struct socket *socket, bool paused);
    /* How its session began. NULL: nothing is known. */
    void (*describe)(struct socket *socket, struct socket_handshake *ret_handshake);
};

/* A room this socket is in; leaf.members holds the other end. */
struct membership {
    struct leaf *leaf;
    uint32_t index; /* in leaf.members */
    bool presence; /* the others are told of coming and going */
    bool chosen; /* a backend put the socket here: no rule is asked */
};

struct socket {
    const struct socket_ops *ops;
    struct shard *shard;
    struct outbox *outbox; /* of the session; shared by its sockets */
    struct identity *identity; /* one reference */
    struct fanout *fanout; /* its namespace on this shard; NULL before socket_init */
    struct socket_owner *user; /* NULL before user_attach and after socket_detach */
    struct list user_link; /* socket_owner.sockets */
    struct membership *memberships;
    struct socket_lag *lag; /* its inbox is behind (below); NULL: it is not */
    uint64_t sent_through; /* broadcasts up to this number have left, or were not for it */
    uint32_t everyone_index; /* in fanout.everyone */
    uint32_t id; /* unique on the shard as long as it lives */
    uint16_t membership_count;
    uint16_t joins; /* that rooms have not answered yet */
    uint8_t format; /* enum wire_format */
    bool expiry_told; /* the client knows that its token ends soon */
    bool counted; /* among its tenant's connections */
    bool closing; /* disconnect was called: nothing is sent any more */
    bool picked; /* within one call: among those that a request is about */
    bool returned; /* it continues another, and was sent what that one missed */
    bool left; /* it or we said so: it is not to be recovered */
    char sid[SOCKET_SID_LEN];
};

/* As rev: what the store told all, or the count of unread; not for who is behind. */
#define SOCKET_REV_READ UINT64_MAX

struct socket_lag {
    uint64_t rev; /* told so far */
    bool reading; /* the store is asked */
    bool caught; /* up: rev was not below the user's */
};

/*
 * The socket misses something for want of memory: it is closed and comes back, rather than wait for
 * what never comes. As a new one, which asks for all: what it missed may be in no log.
 */
static inline void socket_missed(struct socket *socket)
{
    socket->left = true;
    if (!socket->closing) {
        socket->ops->disconnect(socket, CLOSE_NO_MEMORY);
    }
}

#endif
