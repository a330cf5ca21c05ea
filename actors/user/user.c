/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The actor of a user: it begins with the first socket, takes what clients and the store say, and
 * ends with the last.
 *
 * Order of this file: names, life, what the session layer calls, packets, other messages.
 */
#include "actors/user/user.h"

#include <stddef.h>

#include "actors/behaviours.h"
#include "actors/deliver/fanout.h"
#include "actors/inbox/feed.h"
#include "actors/inbox/inbox_bus.h"
#include "actors/inbox/inbox_calls.h"
#include "actors/inbox/inbox_devices.h"
#include "actors/inbox/inbox_preferences.h"
#include "actors/inbox/inbox_request.h"
#include "actors/inbox/positions.h"
#include "actors/inbox/topic_calls.h"
#include "actors/inbox/walk.h"
#include "actors/presence/presence.h"
#include "actors/recover/recovery.h"
#include "actors/recover/room_retained.h"
#include "actors/user/user_actor.h"
#include "actors/wire_name.h"
#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "codec/names.h"
#include "codec/server_events.h"
#include "sql/store.h"

enum { SHED_BOUND = 4096, HOLD_MAX = 4096 };

static void free_user(struct actor *actor);
static struct bytes key_of_user(const void *user);

PROTOCOL_DEFINE(USER, user)

const struct behaviour user_behaviour = {
    PROTOCOL_BEHAVIOUR(USER, user),
    .id = BEHAVIOUR_USER,
    .shed_bound = SHED_BOUND,
    .key_of = key_of_user,
    .destroy = free_user,
};

/* Names. */

static struct bytes key_of_user(const void *object)
{
    const struct user *user = object;
    return bytes_of(user->key_at, user->key_len);
}

/* Life. */

/* The user's room has a channel of its own, so that nodes without the user receive nothing for it.
 */
static void register_room(struct user *user, bool on)
{
    struct shard *shard = shard_of(&user->actor);
    char at[WIRE_NAME_MAX];
    fanout_register(shard, BYTES("/"), wire_name_user(key_of_user(user), at), on);
}

/* NULL: no memory. */
static struct user *make_user(struct shard *shard, struct bytes key)
{
    size_t size = offsetof(struct user, key_at) + key.len;
    struct user *user = mem_try_calloc(1, size > sizeof(*user) ? size : sizeof(*user));
    if (user == NULL) {
        return NULL;
    }
    user->key_len = (uint32_t)key.len;
    user->owner.rules = shard->rules;
    memcpy(user->key_at, key.at, key.len);
    list_init(&user->owner.sockets);
    list_init(&user->owner.presence_link);
    list_init(&user->inbox.unread_link);
    if (!actor_start(&user->actor, &user_behaviour, shard->sched)) {
        mem_free(user);
        return NULL;
    }
    return user;
}

/* NULL: no memory. */
static struct user *start_user(struct shard *shard, struct bytes key)
{
    if (shard->inbox_bus != NULL && !inbox_bus_watch(shard->inbox_bus, key)) {
        return NULL;
    }
    struct user *user = make_user(shard, key);
    if (user == NULL) {
        if (shard->inbox_bus != NULL) {
            inbox_bus_unwatch(shard->inbox_bus, key);
        }
        return NULL;
    }
    list_append(&shard->users, &user->inbox.shard_link);
    shard->stats.users++;
    register_room(user, true);
    feed_start(&user->inbox);
    return user;
}

static void stop_user(struct user *user)
{
    user_typing_tell_end(user);
    register_room(user, false);
    if (shard_of(&user->actor)->inbox_bus != NULL) {
        inbox_bus_unwatch(shard_of(&user->actor)->inbox_bus, key_of_user(user));
    }
    actor_stop(&user->actor);
}

static void free_user(struct actor *actor)
{
    struct user *user = (struct user *)(void *)actor;
    struct shard *shard = shard_of(actor);
    feed_stop(&user->inbox);
    presence_forget(shard->presence, &user->owner);
    if (user->busy != NULL) {
        user_rooms_stop(user);
        user_typing_stop(user);
        user_talk_stop(user);
        user_presence_stop(user);
    }
    recovery_end_user(&user->owner);
    if (user->busy != NULL) { /* all of them look into it */
        mem_free(user->busy);
        shard->stats.busy_users--;
    }
    list_remove(&user->inbox.unread_link);
    walk_pass(shard, &user->inbox.shard_link);
    list_remove(&user->inbox.shard_link);
    shard->stats.users--;
    mem_free(user);
}

static struct list *kept_of(struct socket_owner *owner, bool make)
{
    struct user *user = (struct user *)(void *)owner;
    return make || user->busy != NULL ? &user_busy(user)->kept : NULL;
}

const struct owner_ops user_owner_ops = {
    .change_room = user_rooms_change, .kept = kept_of, .show = user_presence_show};

/* What the session layer calls. */

unsigned user_shard(const struct shard *shard, const struct identity *identity)
{
    return actor_system_shard_of(sched_system(shard->sched), identity_key(identity));
}

/*
 * Whether the user may have one socket more, or one was sent away for it: the oldest of another
 * connection. Those that were are still there for a moment, as many as may be.
 */
static bool make_room(
    const struct actor_config *config, struct user *user, const struct socket *socket)
{
    uint32_t staying = 0;
    struct socket *oldest = NULL;
    if (user->owner.socket_count < config->connections_per_user) {
        return true;
    }
    if (!config->replaces || user->owner.socket_count >= 2 * config->connections_per_user) {
        return false;
    }
    list_for_each (link, &user->owner.sockets) {
        struct socket *other = container_of(link, struct socket, user_link);
        staying += !other->closing;
        if (oldest == NULL && !other->closing && other->outbox != socket->outbox) {
            oldest = other;
        }
    }
    if (staying < config->connections_per_user) {
        return true;
    }
    if (oldest == NULL) {
        return false;
    }
    oldest->left = true;
    oldest->ops->disconnect(oldest, CLOSE_REPLACED);
    return true;
}

int user_attach(struct shard *shard, struct socket *socket)
{
    struct bytes key = identity_key(socket->identity);
    struct user *user = (struct user *)(void *)actor_find(shard->sched, &user_behaviour, key);
    if (user != NULL && !make_room(shard->config, user, socket)) {
        return STATUS_FULL;
    }
    if (user == NULL) {
        user = start_user(shard, key);
        if (user == NULL) {
            return STATUS_NOMEM;
        }
        user_asks_warm(socket);
    }
    socket->user = &user->owner;
    list_append(&user->owner.sockets, &socket->user_link);
    user->owner.socket_count++;
    presence_note(shard->presence, &user->owner);
    room_retained_send_own(socket);
    if (user->inbox.phase == INBOX_READY) {
        feed_ready(&user->inbox, socket);
    } else if (socket->outbox->bytes <= HOLD_MAX) { /* not behind what was missed */
        positions_hold(shard->positions, socket->outbox); /* hub:ready follows */
    }
    return 0;
}

void user_event(struct socket *socket, struct bytes data, const uint64_t *id,
    struct buf *const *attachments, unsigned attachment_count)
{
    struct shard *shard = socket->shard;
    struct event *event;
    if (socket->user == NULL) {
        return;
    }
    int status = event_from_packet(data, attachments, attachment_count, 0, &event);
    if (status != 0) {
        /* Good on the wire, but no event of ours: its name is too long; or there is no memory. */
        static const struct call_refusal unknown = {
            .code = ERROR_BAD_REQUEST, .message = "Unknown event"};
        static const struct call_refusal no_memory = {
            .code = ERROR_UNAVAILABLE, .message = "Out of memory, try again"};
        call_refuse_event(
            socket, id, bytes_of("", 0), status == STATUS_NOMEM ? &no_memory : &unknown);
        return;
    }
    struct user_packet *msg = user_packet_new();
    msg->socket_id = socket->id;
    msg->event = event;
    msg->has_id = id != NULL;
    msg->id = id != NULL ? *id : 0;
    msg_send(shard->sched, socket->user->actor.self, msg);
}

/* Packets. */

static const struct rate *rate_of(const struct actor_config *config, enum user_bucket bucket)
{
    switch (bucket) {
    case BUCKET_MESSAGES:
        return &config->messages;
    case BUCKET_JOINS:
        return &config->joins;
    case BUCKET_TYPING:
        return &config->typing;
    case BUCKET_INBOX:
    case BUCKET_COUNT:
        break;
    }
    return &config->inbox;
}

static void tell_rate_limited(const struct client_call *call, uint64_t retry_ms)
{
    char at[NAMES_ROOM_MAX];
    bool listens = call->socket->ops->one_way; /* nothing else says which of its rooms it is */
    struct bytes room = listens ? call_room(call->event, at) : bytes_of(NULL, 0);
    call_emit(call->socket, server_events_rate_limited(call->event->name, room, retry_ms));
    if (call->has_id) {
        call_refuse_event(call->socket, &call->id, call->event->name,
            &(struct call_refusal){.code = ERROR_RATE_LIMITED,
                .message = "Too many requests, wait",
                .retry_ms = retry_ms});
    }
}

static bool take_token(const struct client_call *call, enum user_bucket bucket)
{
    struct user *user = user_of(call->socket);
    struct shard *shard = shard_of(&user->actor);
    uint64_t retry_ms;
    if (rate_take(&user_busy(user)->buckets[bucket], rate_of(shard->config, bucket),
            sched_now(shard->sched), &retry_ms)) {
        return true;
    }
    shard->stats.rate_limited++;
    tell_rate_limited(call, retry_ms);
    return false;
}

static void route(const struct client_call *call)
{
#define X(event_name, bucket, handle)                                                              \
    if (bytes_eq(call->event->name, BYTES(event_name))) {                                          \
        if (take_token(call, BUCKET_##bucket)) {                                                   \
            handle;                                                                                \
        }                                                                                          \
        return;                                                                                    \
    }
#include "actors/user/user_events.def"
#undef X
    if (!take_token(call, BUCKET_MESSAGES)) {
        return;
    }
    const struct actor_config *config = call->socket->shard->config;
    int hook =
        config->event_hook != NULL ? config->event_hook(config->context, call->event->name) : -1;
    if (hook >= 0) {
        user_asks_event(call, (unsigned)hook);
    } else if (config->relay_unknown) {
        user_talk_relay(call);
    } else {
        call_refuse(call, ERROR_BAD_REQUEST, "Unknown event");
    }
}

static void on_packet(struct user *user, struct user_packet *msg)
{
    struct socket *socket = owner_socket(&user->owner, msg->socket_id);
    if (socket == NULL) {
        return;
    }
    struct client_call call = {
        .socket = socket,
        .event = msg->event,
        .has_id = msg->has_id,
        .id = msg->id,
    };
    route(&call);
}

/* Other messages. */

static void on_relieved(struct user *user, struct user_relieved *msg)
{
    feed_relieved(&user->inbox, msg->socket_id);
}

/* A JOIN that is still to be answered has to be undone by us: nobody else knows of the member. A
 * socket that may come back wants to know what came meanwhile. */
static void stop_unused(struct user *user)
{
    if (user->owner.socket_count == 0 && user->owner.joins == 0 &&
        !recovery_has_kept(&user->owner)) {
        stop_user(user);
    }
}

static void on_detached(struct user *user, struct user_detached *msg)
{
    (void)msg;
    presence_note(shard_of(&user->actor)->presence, &user->owner);
    user_presence_tidy(user);
    inbox_devices_tidy(&user->inbox);
    stop_unused(user);
}

static void on_joined(struct user *user, struct user_joined *msg)
{
    user->owner.joins--;
    user_rooms_joined(user, msg);
    stop_unused(user);
}

static void on_refused(struct user *user, struct user_refused *msg)
{
    user->owner.joins--;
    user_rooms_refused(user, msg);
    stop_unused(user);
}

static void on_announce(struct user *user, struct user_announce *msg)
{
    feed_apply(&user->inbox, msg->payload);
}

static void on_feed(struct user *user, struct user_feed *msg)
{
    feed_on(&user->inbox, msg->on);
}

static void on_stored(struct user *user, struct user_stored *msg)
{
    inbox_request_take(&user->inbox, msg->request);
}

static void on_position(struct user *user, struct user_position *msg)
{
    feed_position(&user->inbox, msg);
}

static void on_moved(struct user *user, struct user_moved *msg)
{
    feed_moved(&user->inbox, msg->rev, msg->preference_rev);
}

static void on_admin(struct user *user, struct user_admin *msg)
{
    if (msg->what == USER_ADMIN_LEAVE) {
        recovery_expel(&user->owner, buf_bytes(msg->room));
    } else if (msg->what == USER_ADMIN_DISCONNECT) {
        recovery_expel(&user->owner, bytes_of(NULL, 0));
    }
    list_for_each (link, &user->owner.sockets) {
        struct socket *socket = container_of(link, struct socket, user_link);
        if (msg->what == USER_ADMIN_DISCONNECT) {
            socket->ops->disconnect(socket, CLOSE_FORBIDDEN);
        } else if (!user_rooms_change(
                       socket, buf_bytes(msg->room), msg->what == USER_ADMIN_JOIN, true)) {
            socket->shard->stats.joins_refused++;
        }
    }
}
