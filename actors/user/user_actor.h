/* SPDX-License-Identifier: Apache-2.0 */
/*
 * user_actor - the user actor's state and the calls between its files (user*.c); private to
 * actors/.
 */
#ifndef ACTORS_USER_USER_ACTOR_H
#define ACTORS_USER_USER_ACTOR_H

#include <stdbool.h>
#include <stdint.h>

#include "actors/core/actor.h"
#include "actors/deliver/call.h"
#include "actors/deliver/owner.h"
#include "actors/deliver/socket.h"
#include "actors/inbox/inbox.h"
#include "actors/rate.h"
#include "actors/recover/replay.h"
#include "actors/shard.h"
#include "actors/user_proto.h"
#include "codec/errors.h"
#include "codec/server_events.h"

enum user_bucket { BUCKET_MESSAGES, BUCKET_JOINS, BUCKET_TYPING, BUCKET_INBOX, BUCKET_COUNT };

/* What an idle user needs not. */
struct user_busy {
    struct rate_bucket buckets[BUCKET_COUNT];
    struct list joining; /* rooms asked that have not answered yet, in this order */
    struct list kept; /* recoverable.user_link: sockets that dropped and may come back */
    struct list typing; /* rooms in which the user types */
    struct list following; /* of users whom its sockets follow (user_presence.c) */
    uint32_t typing_count;
    uint32_t join_count; /* so far */
    uint32_t waiting_count; /* calls behind JOINs that are not answered */
    uint64_t waiting_bytes; /* of these */
    uint32_t nonce_count;
    uint32_t nonce_cap;
    struct nonce *nonces; /* of messages sent, oldest first */
};

struct user {
    union {
        struct actor actor;
        struct socket_owner owner; /* begins with the actor */
        struct inbox inbox; /* begins with the owner */
    };
    struct user_busy *busy; /* NULL before user_busy */
    uint32_t key_len;
    char key_at[];
};

/* The user of a socket that has one. */
static inline struct user *user_of(const struct socket *socket)
{
    return (struct user *)(void *)socket->user;
}

/* What is done for users as owners of sockets (shard.owners). */
extern const struct owner_ops user_owner_ops;

/* The user's busy part, made when it is first asked for. */
struct user_busy *user_busy(struct user *user);

/* Rooms and messages (user_rooms.c). */

void user_rooms_join(const struct client_call *call);
void user_rooms_leave(const struct client_call *call);
void user_rooms_subscribe(const struct client_call *call);
void user_rooms_joined(struct user *user, struct user_joined *msg);
void user_rooms_refused(struct user *user, struct user_refused *msg);

struct joining; /* of user_rooms.c: a room that has not answered yet */

/* A backend has said whether: 0, STATUS_DENIED, STATUS_UNAVAILABLE, STATUS_RATE_LIMITED. */
typedef void (*user_asked_fn)(struct user *user, struct joining *joining, int status);

/*
 * Ask `hook` whether the user of `socket` may join the room of `joining` (user_asks.c).
 * STATUS_AGAIN: `then` is called in a later turn, if the user is there. Else it is not: 0,
 * STATUS_DENIED; STATUS_UNAVAILABLE, STATUS_NOMEM; STATUS_RATE_LIMITED:
 * USER_ASKS_TOO_MANY.
 */
#define USER_ASKS_TOO_MANY "Too many of your questions to the backend are open, try again"
MUST_CHECK int user_asks_join(struct socket *socket, struct bytes client_room, unsigned hook,
    struct joining *joining, user_asked_fn then);

/* Tell the hook that warms values, if there is one, of the user of `socket`, who comes. */
void user_asks_warm(const struct socket *socket);

/* Ask `hook` what the event of `call`, which is none of ours, comes to; that is the ack. */
void user_asks_event(const struct client_call *call, unsigned hook);

/*
 * Let `socket` leave `room` (wire name), of which it is a member, if its user may not be there any
 * more and no backend put it there; the client is told the reason. Whether it left.
 */
bool user_rooms_expel(struct socket *socket, struct bytes room);

/*
 * A backend, or another node, puts a socket of a user into a room (wire name) or takes it out;
 * false when the socket is in too many rooms. No rule is asked. The others are told of one that
 * comes with `presence`, unless the room is without, and later of its going.
 */
bool user_rooms_change(struct socket *socket, struct bytes room, bool join, bool presence);

/* What a client that joins a room says it has (user_since.c). */

struct user_since {
    bool said;
    bool of_store; /* of the epoch of this store; else nothing is known of it */
    uint8_t len;
    char at[REPLAY_OFFSET_MAX];
};

/* Read {since: {epoch, offset}} of a call's argument; refuses the call and returns false. */
MUST_CHECK bool user_since_read(
    const struct client_call *call, struct bytes argument, struct user_since *ret_since);

/* Whether this node has not read yet as far as the client of `socket` has come in `room`. */
bool user_since_is_ahead(
    const struct socket *socket, struct bytes room, const struct user_since *since);

/*
 * `socket` is a member of `room` now, or was already (`fresh` is false). Send it what it missed,
 * and say in `room_told` where the room stands; `at` has REPLAY_OFFSET_MAX bytes.
 */
void user_since_fill(struct socket *socket, struct bytes room, const struct user_since *since,
    bool fresh, char *at, struct server_room *room_told);

/* Forget what a user that has a busy part was about to do in rooms. */
void user_rooms_stop(struct user *user);

/* How rooms are named (user_names.c). */

/* A room as a client names it: a string, or {roomId}. `at` has NAMES_ROOM_MAX bytes. */
MUST_CHECK int user_room_read(struct bytes argument, char *at, struct bytes *ret_room);

/* The same of the text that names it, as JSON. */
MUST_CHECK int user_room_check(struct bytes value, char *at, struct bytes *ret_room);

/* The room `prefix`:<value of `key`>, as user_room_read. */
MUST_CHECK int user_room_read_prefixed(
    struct bytes argument, const char *key, const char *prefix, char *at, struct bytes *ret_room);

/* Whether `status` is 0; else `call` is refused: `field` names no room. */
bool user_room_want(const struct client_call *call, int status, const char *field);

/*
 * Whether the caller is in `room` (wire name). Else the call is refused, or it waits for the answer
 * to a JOIN, and comes `again` when there is one.
 */
bool user_room_is_member(const struct client_call *call, struct bytes room,
    void (*again)(const struct client_call *call));

/* The same, and the room's type lets this one speak (user_talk.c). */
bool user_room_may_speak(const struct client_call *call, struct bytes room,
    void (*again)(const struct client_call *call));

/* Typing (user_typing.c). */

void user_typing_start(const struct client_call *call);
void user_typing_end(const struct client_call *call);

/* Tell the rooms in which the user is still typing that it does no more. */
void user_typing_tell_end(struct user *user);

/* Tell nobody; the user has a busy part. */
void user_typing_stop(struct user *user);

/* Values (user_values.c). */

void user_values_get(const struct client_call *call);

/* Who is online (user_presence.c). */

void user_presence_query(const struct client_call *call);
void user_presence_set(const struct client_call *call);

/* Whether it hides is known, or another now: owner_ops.show. */
void user_presence_show(struct socket_owner *owner, bool hidden);
void user_presence_subscribe(const struct client_call *call);
void user_presence_unsubscribe(const struct client_call *call);

/* A socket of the user has gone: it follows nobody any more. */
void user_presence_tidy(struct user *user);

/* Nobody is followed any more; the user has a busy part. */
void user_presence_stop(struct user *user);

/* What was said (user_history.c). */

void user_history_read(const struct client_call *call);

/* What is said (user_talk.c). */

void user_talk_send(const struct client_call *call);
void user_talk_relay(const struct client_call *call);
void user_talk_stop(struct user *user);

#endif
