/* SPDX-License-Identifier: Apache-2.0 */
/*
 * watch - who keeps what the sockets of a namespace, or its rooms, are sent, so that they can come
 * back.
 *
 * A fan-out has one or none; recover/ implements it. All calls come on the shard's thread, and none
 * of them once a receiver: a broadcast is shown once a shard.
 */
#ifndef ACTORS_DELIVER_WATCH_H
#define ACTORS_DELIVER_WATCH_H

#include <stdbool.h>

#include "codec/base/bytes.h"
#include "codec/stream_id.h"
#include "codec/wire.h"

struct adapter_request;
struct broadcast;
struct builder;
struct deliver_watch;
struct event;
struct recoverable;
struct socket;

/* Kinds of clients, by how they are told the offset of an event. */
enum deliver_kind {
    DELIVER_SOCKETIO = 1u << 0, /* one argument more: a string */
    DELIVER_PLAIN = 1u << 1, /* one argument more: {"_peal":{"room","offset"}} */
};

/* An event with its offset, for each kind; NULL: without. */
struct deliver_marks {
    struct event *socketio;
    struct event *plain;
};

struct deliver_watch_ops {
    /* The fan-out ends. */
    void (*destroy)(struct deliver_watch *watch);
    /* A broadcast passes the fan-out: it is numbered and kept. Which clients get its event with the
     * offset: a set of enum deliver_kind. */
    unsigned (*numbered)(struct deliver_watch *watch, struct broadcast *broadcast);
    /* One reference of that event, for one of these kinds, while no other has been numbered; NULL:
     * there is no memory for it, send it as it is. */
    struct event *(*mark)(
        struct deliver_watch *watch, const struct broadcast *broadcast, enum deliver_kind kind);
    /* The same for an event to `socket` alone, on Socket.IO; NULL also when the socket is not
     * watched, or is one way: what it alone is told is not kept. */
    struct event *(*directed)(const struct socket *socket, const struct event *event);
    /* What is known of the replay stream begins behind `from`, or begins anew there. */
    void (*stream_from)(struct deliver_watch *watch, struct stream_id from);
    /* Something was sent on another node alone, before this place in the stream. */
    void (*strayed)(struct deliver_watch *watch, struct stream_id before);
    /* The sockets of `name` (a room, a user, a sid; empty: all) miss something for want of memory:
     * those that dropped, too. */
    void (*lost)(struct deliver_watch *watch, struct bytes name);
    /* A request of another node sends sockets away or out of rooms: those that dropped, too. */
    void (*expel)(struct deliver_watch *watch, const struct adapter_request *request);
    /* The sid that a socket gets which continues `claimed`. */
    struct bytes (*sid)(const struct recoverable *claimed);
    /*
     * A socket has entered: as a new one, or as `claimed`, which is put into its rooms and gets
     * what it missed at once.
     */
    void (*entered)(struct socket *socket, struct recoverable *claimed);
    /* It joined or left a room. */
    void (*joined)(struct socket *socket, struct bytes room);
    void (*left)(struct socket *socket, struct bytes room);
    /* A ping follows what was sent to it so far; or its pong has come. */
    void (*pinged)(struct socket *socket);
    void (*ponged)(struct socket *socket);
    /* It ends. Whether it is kept: it then still has its rooms' seats, its sid and its user. */
    bool (*ended)(struct socket *socket, bool clean);
    /* Append where a client is that has had all broadcasts that were sent to `socket`, which is
     * one way; nothing when it cannot come back. */
    void (*place)(const struct socket *socket, struct builder *out);
    /* The secret with which it can be claimed; empty: it cannot. */
    struct bytes (*pid)(const struct socket *socket);
};

struct deliver_watch {
    const struct deliver_watch_ops *ops;
};

/* Whether sockets of this format are Socket.IO's. */
static inline bool watch_is_socketio(enum wire_format format)
{
    return format != WIRE_JSON && format != WIRE_MSGPACK;
}

/* `event` as a socket of `format` is to get it. */
static inline const struct event *watch_shown(
    const struct deliver_marks *marks, const struct event *event, enum wire_format format)
{
    const struct event *marked = watch_is_socketio(format) ? marks->socketio : marks->plain;
    return marked != NULL ? marked : event;
}

#endif
