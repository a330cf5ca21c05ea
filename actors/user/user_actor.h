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
#include "actors/core/timer.h"
#include "actors/deliver/owner.h"
#include "actors/deliver/socket.h"
#include "actors/rate.h"
#include "actors/shard.h"
#include "actors/user/user_refusal.h"
#include "actors/user_proto.h"
#include "codec/announce.h"
#include "codec/errors.h"
#include "sql/store.h"

enum user_bucket { BUCKET_MESSAGES, BUCKET_JOINS, BUCKET_TYPING, BUCKET_INBOX, BUCKET_COUNT };

enum user_phase {
    USER_WAITS_FEED, /* for the bus to confirm the channel */
    USER_WAITS_POSITION, /* for the store to say where the inbox stands */
    USER_READY,
};

/* What an idle user needs not. */
struct user_rare {
    struct user *user;
    struct timer timer; /* gap deadline, or retry of the store */
    struct rate_bucket buckets[BUCKET_COUNT];
    struct list joining; /* rooms asked that have not answered yet, in this order */
    struct list kept; /* recoverable.user_link: sockets that dropped and may come back */
    struct list typing; /* rooms in which the user types */
    uint32_t typing_count;
    uint32_t waiting_count; /* calls behind JOINs that are not answered */
    uint64_t waiting_bytes; /* of these */
    uint32_t nonce_count;
    uint32_t nonce_cap;
    struct nonce *nonces; /* of messages sent, oldest first */
    struct user_held *held; /* announcements ahead of rev, by rev */
};

struct user {
    union {
        struct actor actor;
        struct socket_owner owner; /* begins with it */
    };
    struct list shard_link; /* shard.users */
    struct list unread_link; /* shard.unread_dirty */
    uint64_t seq;
    uint64_t rev;
    uint64_t unread;
    uint64_t news; /* the highest rev heard of */
    struct user_rare *rare; /* NULL before user_rare */
    uint8_t phase; /* enum user_phase */
    bool reading; /* a read of what changed above rev is under way */
    bool asked; /* in the queue of shard.positions */
    uint32_t key_len;
    char key_at[];
};

/* A request that is being handled: who asked, and where the answer goes. */
struct user_call {
    struct user *user;
    struct socket *socket;
    const struct event *event;
    bool has_id;
    uint64_t id;
};

/* A store request of a user actor: what is asked, for whom, and what becomes of the answer. */
struct user_request {
    union {
        struct store_request base;
        struct store_list list;
        struct store_mark mark;
        struct store_sync sync;
    } store;
    void (*answered)(struct user *user, struct user_request *request);
    void (*carried_out)(struct user_request *request); /* also when the user has gone; or NULL */
    struct shard *shard;
    struct actor_ref user;
    struct buf *key; /* what store_user points into */
    struct buf *text; /* another text it points into; NULL: none */
    uint8_t (*ids)[STORE_ID_LEN]; /* NULL: none */
    uint32_t socket_id;
    bool has_id;
    uint64_t id;
    char event[EVENT_NAME_MAX + 1];
};

static inline struct bytes user_key(const struct user *user)
{
    return bytes_of(user->key_at, user->key_len);
}

/* The user of a socket that has one. */
static inline struct user *user_of(const struct socket *socket)
{
    return (struct user *)(void *)socket->user;
}

/* What is done for users as owners of sockets (shard.owners). */
extern const struct owner_ops user_owner_ops;

/* The user's rare part, made when it is first asked for. */
struct user_rare *user_rare(struct user *user);

/* The user's id, without tenant. */
struct bytes user_id(const struct user *user);

/* The tenant in the key; empty in the common space. */
struct bytes user_space(const struct user *user);

/* The user's socket with this id, or NULL. */
struct socket *user_socket(const struct user *user, uint32_t socket_id);

/* The first argument of a JSON event, or an empty slice. */
struct bytes user_argument(const struct event *event);

/* Answers (user_reply.c). */

/* Ack with `result` (JSON object text) if an ack was asked for. */
void user_answer(const struct user_call *call, struct bytes result);

/* user_refuse_event for the call: no single member of its argument is at fault. */
void user_refuse(const struct user_call *call, enum error_code code, const char *message);

/* The same with `invalid_field`: `field` of the argument is missing or not what is `allowed`. */
void user_refuse_field(const struct user_call *call, const char *field, const char *allowed);

/* Send an event of Peal's own, with the JSON text of its one argument, to one socket. */
void user_emit(struct socket *socket, const char *name, struct bytes argument);

/* What `only` (NULL: all sockets of the user) was to be told, there is no memory for. */
void user_miss(struct user *user, struct socket *only);

/*
 * The same to every socket of the user in namespace "/" that is open and may be told of change
 * `rev` of the inbox now (socket_lag_holds; 0: all may); encoded once per format.
 */
void user_emit_all(struct user *user, const char *name, struct bytes argument, uint64_t rev);

/* The live feed (user_feed.c): where the inbox stands, announcements, gaps. */

void user_feed_start(struct user *user);
void user_feed_stop(struct user *user);
void user_feed_on(struct user *user, bool on);
void user_feed_position(struct user *user, const struct user_position *position);

/* The store says that the inbox has got as far as `rev`, at least. */
void user_feed_moved(struct user *user, uint64_t rev);
void user_feed_apply(struct user *user, struct buf *payload);
void user_feed_timeout(struct user *user);

/* Tell a socket hub:ready: the user's feed is certain to be on. */
void user_feed_ready(struct user *user, struct socket *socket);

/* Tell the sockets `unread`: called by the shard at the end of the turn. */
void user_feed_tell_unread(struct user *user);

/* The outbox of a socket that is behind (socket.h) has room again. */
void user_feed_relieved(struct user *user, uint32_t socket_id);

/* Inbox calls of a client (user_inbox.c). */
enum user_inbox_what {
    INBOX_ARCHIVE,
    INBOX_LIST,
    INBOX_READ,
    INBOX_READ_ALL,
    INBOX_RECEIVED,
    INBOX_SEEN,
    INBOX_SYNC,
};
void user_inbox_call(const struct user_call *call, enum user_inbox_what what);

/* A request for the store with the user's names; submitted with user_request_submit. */
MUST_CHECK struct user_request *user_request_new(struct user *user, enum store_op op,
    void (*answered)(struct user *user, struct user_request *request));
struct store_user user_request_who(const struct user_request *request);
void user_request_submit(struct user_request *request);
void user_request_free(struct store_request *request);

/* Rooms and messages (user_rooms.c). */

void user_rooms_join(const struct user_call *call);
void user_rooms_leave(const struct user_call *call);
void user_rooms_subscribe(const struct user_call *call);
void user_rooms_joined(struct user *user, struct user_joined *msg);
void user_rooms_refused(struct user *user, struct user_refused *msg);

/*
 * Let `socket` leave `room` (wire name), of which it is a member, if its user may not be there any
 * more and no backend put it there; the client is told the reason. Whether it left.
 */
bool user_rooms_expel(struct socket *socket, struct bytes room);

/*
 * A backend, or another node, puts a socket of a user into a room (wire name) or takes it out;
 * false when the socket is in too many rooms. No rule is asked. The others are told of one that
 * comes `loud`, unless the room is quiet, and later of its going.
 */
bool user_rooms_change(struct socket *socket, struct bytes room, bool join, bool loud);

/* Forget what a user that has a rare part was about to do in rooms. */
void user_rooms_stop(struct user *user);

/* A room as a client names it: a string, or {roomId}. `at` has NAMES_ROOM_MAX bytes. */
MUST_CHECK int user_room_read(struct bytes argument, char *at, struct bytes *ret_room);

/* The room `prefix`:<value of `key`>, as user_room_read. */
MUST_CHECK int user_room_read_prefixed(
    struct bytes argument, const char *key, const char *prefix, char *at, struct bytes *ret_room);

/* Whether `status` is 0; else `call` is refused: `field` names no room. */
bool user_room_want(const struct user_call *call, int status, const char *field);

/*
 * Whether the caller may speak in `room` (wire name): a member, and the room's type lets this one
 * speak. Else the call is refused.
 */
bool user_room_may_speak(const struct user_call *call, struct bytes room);

/* Typing (user_typing.c). */

void user_typing_call(const struct user_call *call, bool typing);

/* Tell the rooms in which the user is still typing that it does no more. */
void user_typing_hush(struct user *user);

/* Tell nobody; the user has a rare part. */
void user_typing_stop(struct user *user);

/* What is said (user_talk.c). */

void user_talk_send(const struct user_call *call);
void user_talk_relay(const struct user_call *call);
void user_talk_stop(struct user *user);

#endif
