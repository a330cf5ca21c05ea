/* SPDX-License-Identifier: Apache-2.0 */
/*
 * user_proto - what a user actor is told.
 *
 * One per connected user of this node, on shard_of(user): it lives as long as the user has a socket
 * here. It owns the user's sockets, rate limits and inbox position. It sends a notification only
 * when it knows that nothing before it is missing (rev = last + 1); otherwise it reads the store
 * first.
 */
#ifndef ACTORS_USER_PROTO_H
#define ACTORS_USER_PROTO_H

#include "actors/close.h"
#include "actors/core/protocol.h"
#include "codec/base/buf.h"
#include "codec/event.h"

struct store_request;

/* A client's event, from the session layer on the same shard. */
struct user_packet {
    struct msg base;
    uint32_t socket_id;
    bool has_id;
    uint64_t id;
    struct event *event;
};

/* A socket has gone. */
struct user_detached {
    struct msg base;
    enum close_reason reason;
};

/* The outbox of a socket whose inbox is behind is no longer full. */
struct user_relieved {
    struct msg base;
    uint32_t socket_id;
};

/* The room took the socket in: it becomes a member of the leaf and is told. */
struct user_joined {
    struct msg base;
    uint32_t socket_id;
    uint64_t token;
    bool presence; /* the others are told */
    bool again; /* it was held until this node had read as far as the client */
    struct buf *room; /* its key: namespace and wire name */
};

/* The room did not take the socket in. */
struct user_refused {
    struct msg base;
    int status; /* STATUS_FULL, or STATUS_NOMEM */
    uint32_t socket_id;
    uint64_t token;
    struct buf *room;
};

/* The inbox changed: an announcement (codec/announce.h), encoded. */
struct user_announce {
    struct msg base;
    struct buf *key; /* the user's */
    struct buf *payload;
};

/* The live feed is certain to be on (again): read the inbox. */
struct user_feed {
    struct msg base;
    struct buf *key;
    bool on;
};

/* A store request of this actor has completed. */
struct user_stored {
    struct msg base;
    struct store_request *request; /* of a struct inbox_request */
};

/* The store says where the inbox stands (recheck). */
struct user_position {
    struct msg base;
    int status; /* of the query */
    uint64_t seq;
    uint64_t rev;
    uint64_t unread;
    uint64_t unseen;
    uint64_t preference_rev;
};

/* The store says that the inbox has changed (recheck). */
struct user_moved {
    struct msg base;
    struct buf *key;
    uint64_t rev; /* what it is at now, or was */
    uint64_t preference_rev; /* likewise */
};

/* A backend puts the user's sockets into rooms, takes them out, or ends them. */
struct user_admin {
    struct msg base;
    struct buf *key;
    struct buf *room; /* wire name; NULL with DISCONNECT */
    enum { USER_ADMIN_JOIN, USER_ADMIN_LEAVE, USER_ADMIN_DISCONNECT } what;
};

#define USER_PROTOCOL(X, A, a)                                                                     \
    X(A, a, PACKET, packet, NORMAL, REF, OWNS(event_unref(msg->event)), "a client's event")        \
    X(A, a, DETACHED, detached, CONTROL, REF, PLAIN, "a socket has gone")                          \
    X(A, a, RELIEVED, relieved, CONTROL, REF, PLAIN, "a full outbox has room again")               \
    X(A, a, JOINED, joined, CONTROL, REF, OWNS(buf_unref(msg->room)), "a room took a socket in")   \
    X(A, a, REFUSED, refused, CONTROL, REF, OWNS(buf_unref(msg->room)),                            \
        "a room did not take a socket in")                                                         \
    X(A, a, ANNOUNCE, announce, SHED, NAMED(key), OWNS(buf_unref(msg->payload)),                   \
        "the inbox changed")                                                                       \
    X(A, a, FEED, feed, CONTROL, NAMED(key), PLAIN, "announcements are certain to come, or not")   \
    X(A, a, STORED, stored, CONTROL, REF, OWNS(inbox_request_destroy(msg->request)),               \
        "the store has answered")                                                                  \
    X(A, a, POSITION, position, CONTROL, REF, PLAIN, "where the store says the inbox stands")      \
    X(A, a, MOVED, moved, CONTROL, NAMED(key), PLAIN, "the store says that the inbox has changed") \
    X(A, a, ADMIN, admin, CONTROL, NAMED(key), OWNS(buf_unref(msg->room)),                         \
        "a backend changes rooms or disconnects")
PROTOCOL_DECLARE(USER, user)

#endif
