/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What clients ask about who is online, and whom their sockets follow: those whom
 * presence.visibility lets them see.
 *
 * A question outlives its user, as in user_values.c. How many are under way is bounded by the
 * bucket that each is taken from. Order of this file: the users of a call, questions, hiding,
 * following.
 */
#include <stdio.h>

#include "actors/deliver/fanout.h"
#include "actors/deliver/leaf.h"
#include "actors/inbox/inbox_preferences.h"
#include "actors/presence/presence.h"
#include "actors/presence/presence_call.h"
#include "actors/presence/presence_watch.h"
#include "actors/rooms/room.h"
#include "actors/shard.h"
#include "actors/user/user_actor.h"
#include "actors/wire_name.h"
#include "codec/base/map.h"
#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "codec/json_scan.h"
#include "codec/json_write.h"
#include "codec/names.h"
#include "codec/server_events.h"

enum { RETRY_MS = 1000, FIELD_MAX = 65, FOLLOWED_MAX = 500 /* by a socket */ };

/* The users of a call. */

/* Whether the object has no member but `known`; else the call was refused. */
static bool check_members(const struct client_call *call, struct bytes object, const char *known)
{
    struct json_scan_iter iter;
    struct bytes key;
    struct bytes value;
    json_scan_iter_init(&iter, object);
    while (json_scan_member(&iter, &key, &value)) {
        if (!json_scan_string_eq(key, bytes_str(known))) {
            char field[FIELD_MAX];
            char message[FIELD_MAX];
            names_write_field(key, field, sizeof(field));
            snprintf(message, sizeof(message), "Unknown field; known here: %s", known);
            call_refuse_field(call, field, message);
            return false;
        }
    }
    return true;
}

/* The array of users in the argument, which is that or {users}; false: the call was refused. */
static bool read_users(const struct client_call *call, const char *allowed, struct bytes *ret_array)
{
    struct bytes argument = call_argument(call->event);
    bool object = json_scan_kind(argument) == JSON_SCAN_OBJECT;
    *ret_array = argument;
    if (object && !check_members(call, argument, "users")) {
        return false;
    }
    if ((object && json_scan_get(argument, "users", ret_array) != 0) ||
        json_scan_kind(*ret_array) != JSON_SCAN_ARRAY) {
        call_refuse_field(call, "users", allowed);
        return false;
    }
    return true;
}

/* Questions. */

struct asking {
    struct presence_call call; /* first */
    struct shard *shard;
    struct actor_ref user;
    uint32_t socket_id;
    uint64_t id; /* of the answer */
};

static void free_asking(struct asking *asking)
{
    presence_call_finish(&asking->call);
    mem_free(asking);
}

static void refuse_later(
    struct socket *socket, const struct asking *asking, const struct call_refusal *refusal)
{
    call_refuse_event(socket, &asking->id, BYTES("presence:query"), refusal);
}

static void answer(struct socket *socket, const struct asking *asking)
{
    struct builder text = {0};
    json_write_open(&text, '{');
    json_write_bool(&text, "ok", true);
    presence_call_write(&asking->call, &text);
    json_write_close(&text, '}');
    if (builder_failed(&text) || asking->call.starved) {
        refuse_later(socket, asking,
            &(struct call_refusal){
                .code = ERROR_UNAVAILABLE, .message = "Out of memory, try again"});
    } else if (socket->outbox->bytes + builder_bytes(&text).len >
               socket->shard->config->outbox_max) {
        refuse_later(socket, asking,
            &(struct call_refusal){.code = ERROR_RATE_LIMITED,
                .message = "Too much waits for this client already",
                .retry_ms = RETRY_MS});
    } else {
        socket_ack(socket, asking->id, builder_bytes(&text));
    }
    builder_reset(&text);
}

static void on_done(struct presence_call *call)
{
    struct asking *asking = container_of(call, struct asking, call);
    struct user *user = (struct user *)(void *)actor_get(asking->shard->sched, asking->user);
    struct socket *socket = user != NULL ? owner_socket(&user->owner, asking->socket_id) : NULL;
    if (socket != NULL) {
        answer(socket, asking);
    }
    free_asking(asking);
}

/* Add the users of the array; false: the call was refused. */
static bool add_users(
    const struct client_call *call, struct presence_call *asked, struct bytes array)
{
    const struct socket *socket = call->socket;
    struct bytes viewer = identity_key(socket->identity);
    struct json_scan_iter iter;
    struct bytes element;
    int status = 0;
    json_scan_iter_init(&iter, array);
    while (status == 0 && json_scan_element(&iter, &element)) {
        char at[NAMES_USER_MAX];
        struct bytes user;
        status = json_scan_string(element, at, sizeof(at), &user) != 0
                     ? STATUS_INVALID
                     : presence_call_add(
                           asked, socket->shard, identity_space(socket->identity), user, &viewer);
    }
    if (status == STATUS_NOMEM) {
        call_refuse(call, ERROR_UNAVAILABLE, "Out of memory, try again");
    } else if (status == STATUS_TOO_LARGE) {
        call_refuse_as(
            call, &(struct call_refusal){
                      .code = ERROR_TOO_LARGE, .message = "At most 1000 users", .field = "users"});
    } else if (status != 0 || list_empty(&asked->asks)) {
        call_refuse_field(call, "users", "1 to 1000 user ids");
        status = STATUS_INVALID;
    }
    return status == 0;
}

void user_presence_query(const struct client_call *call)
{
    struct socket *socket = call->socket;
    struct bytes array;
    if (!read_users(call, "1 to 1000 user ids", &array)) {
        return;
    }
    struct asking *asking = mem_try_calloc(1, sizeof(*asking));
    if (asking == NULL) {
        call_refuse(call, ERROR_UNAVAILABLE, "Out of memory, try again");
        return;
    }
    presence_call_init(&asking->call, on_done);
    asking->shard = socket->shard;
    asking->user = socket->user->actor.self;
    asking->socket_id = socket->id;
    asking->id = call->id;
    if (!add_users(call, &asking->call, array) || !call->has_id) { /* nobody asks for an answer */
        free_asking(asking);
    } else if (!presence_call_begin(&asking->call, socket->shard)) {
        free_asking(asking);
        call_refuse(call, ERROR_UNAVAILABLE, "Out of memory, try again");
    }
}

/* Hiding. */

void user_presence_set(const struct client_call *call)
{
    struct bytes argument = call_argument(call->event);
    struct bytes value;
    bool visible;
    if (json_scan_kind(argument) != JSON_SCAN_OBJECT) {
        call_refuse_field(call, "visible", "true or false");
    } else if (!check_members(call, argument, "visible")) {
        return;
    } else if (json_scan_get(argument, "visible", &value) != 0 ||
               json_scan_bool(value, &visible) != 0) {
        call_refuse_field(call, "visible", "true or false");
    } else {
        inbox_preferences_set_hidden(call, !visible);
    }
}

/* Whether a socket before that of `link` is in the room, too. */
static bool is_told_before(const struct user *user, const struct list *link, struct bytes room)
{
    list_for_each (before, &user->owner.sockets) {
        if (before == link) {
            break;
        }
        struct socket *socket = container_of(before, struct socket, user_link);
        const struct membership *membership = fanout_membership(socket->fanout, socket, room);
        if (membership != NULL && membership->presence) {
            return true;
        }
    }
    return false;
}

/* The others in its rooms that tell who comes and goes are told so of it. */
static void tell_rooms(struct user *user, bool joined)
{
    list_for_each (link, &user->owner.sockets) {
        const struct socket *socket = container_of(link, struct socket, user_link);
        for (unsigned i = 0; i < socket->membership_count; i++) {
            const struct membership *membership = &socket->memberships[i];
            struct bytes room = leaf_name(membership->leaf);
            if (membership->presence && !is_told_before(user, link, room)) {
                room_tell_user(socket, room, joined);
            }
        }
    }
}

void user_presence_show(struct socket_owner *owner, bool hidden)
{
    uint8_t shown = hidden ? OWNER_HIDDEN : OWNER_SHOWN;
    struct user *user = (struct user *)(void *)owner;
    if (owner->shown == shown) {
        return;
    }
    if (owner->shown == OWNER_SHOWN) {
        user_typing_tell_end(user);
        tell_rooms(user, false);
    }
    owner->shown = shown;
    if (!hidden) {
        tell_rooms(user, true);
    }
    presence_show(shard_of(&owner->actor)->presence, owner);
}

/* Following. */

/* A socket that is told of a user. */
struct following {
    struct presence_follow follow; /* first */
    struct list link; /* user_busy.following */
    struct user *user;
    uint32_t socket_id;
    bool told; /* something */
    bool online; /* as it was told last */
};

static void tell(struct socket *socket, struct bytes user, bool online)
{
    presence_count_event(socket->shard->presence);
    call_emit(socket, server_events_presence(user, online));
}

static bool is_own(const struct socket *socket, struct bytes user)
{
    return bytes_eq(owner_id(socket->user), user);
}

/* Whether `socket` may still see the user: the settings may have changed since it subscribed. */
static bool sees(const struct socket *socket, struct bytes user)
{
    char at[WIRE_KEY_MAX];
    struct bytes key = wire_key_user(identity_space(socket->identity), user, at);
    return presence_call_may_see(socket->shard, identity_key(socket->identity), key);
}

static void on_follow(struct presence_follow *follow, enum presence_shown how)
{
    struct following *following = container_of(follow, struct following, follow);
    struct socket *socket = owner_socket(&following->user->owner, following->socket_id);
    if (socket == NULL || socket->shard->presence == NULL) {
        return;
    }
    struct bytes user = presence_follow_user(follow);
    bool online = how == SHOWN_ONLINE || (how == SHOWN_HIDDEN && is_own(socket, user));
    bool shown = online && sees(socket, user);
    if (!following->told || following->online != shown) {
        following->told = true;
        following->online = shown;
        tell(socket, user, shown);
    }
}

static void free_following(struct following *following)
{
    struct user *user = following->user;
    presence_follow_end(presence_get_watch(shard_of(&user->actor)->presence), &following->follow);
    list_remove(&following->link);
    mem_free(following);
}

static struct bytes followed_user(const void *object)
{
    return presence_follow_user(&((const struct following *)object)->follow);
}

/* Those that `socket` follows, by their ids: struct following. False: no memory. */
static bool index_followed(const struct socket *socket, struct map *ret_index)
{
    map_init(ret_index, followed_user);
    list_for_each (link, &user_busy(user_of(socket))->following) {
        struct following *following = container_of(link, struct following, link);
        if (following->socket_id == socket->id && following->follow.watched != NULL &&
            !map_put(ret_index, following)) {
            map_finish(ret_index);
            return false;
        }
    }
    return true;
}

/* Follow one who is not in `index`; false: no memory. */
static bool follow(struct socket *socket, struct map *index, struct bytes user)
{
    struct shard *shard = socket->shard;
    char at[WIRE_KEY_MAX];
    struct bytes key = wire_key_user(identity_space(socket->identity), user, at);
    if (!sees(socket, user)) {
        tell(socket, user, false);
        return true;
    }
    struct following *following = mem_try_calloc(1, sizeof(*following));
    if (following == NULL) {
        return false;
    }
    following->follow.tell = on_follow;
    following->user = user_of(socket);
    following->socket_id = socket->id;
    if (!presence_follow_begin(presence_get_watch(shard->presence), &following->follow, key)) {
        mem_free(following);
        return false;
    }
    list_append(&user_busy(following->user)->following, &following->link);
    return map_put(index, following);
}

/* Whether all of the array are ids, and not too many with `before`; else the call was refused. */
static bool check_users(const struct client_call *call, struct bytes array, size_t before)
{
    struct json_scan_iter iter;
    struct bytes element;
    size_t count = 0;
    bool good = true;
    json_scan_iter_init(&iter, array);
    while (good && json_scan_element(&iter, &element)) {
        char at[NAMES_USER_MAX];
        struct bytes user;
        good = json_scan_string(element, at, sizeof(at), &user) == 0 && names_check_user(user) == 0;
        count++;
    }
    if (!good || count == 0) {
        call_refuse_field(call, "users", "1 to 500 user ids");
        return false;
    }
    if (before + count > FOLLOWED_MAX) {
        call_refuse_as(call, &(struct call_refusal){.code = ERROR_TOO_LARGE,
                                 .message = "A socket follows at most 500 users",
                                 .field = "users"});
        return false;
    }
    return true;
}

void user_presence_subscribe(const struct client_call *call)
{
    struct socket *socket = call->socket;
    struct json_scan_iter iter;
    struct bytes array;
    struct bytes element;
    struct map index;
    bool good = true;
    if (!read_users(call, "1 to 500 user ids", &array)) {
        return;
    }
    if (socket->shard->presence == NULL || !index_followed(socket, &index)) {
        call_refuse(call, ERROR_UNAVAILABLE, "Not now, try again");
        return;
    }
    if (!check_users(call, array, map_count(&index))) {
        map_finish(&index);
        return;
    }
    call_answer(call, BYTES("{\"ok\":true}"));
    json_scan_iter_init(&iter, array);
    while (good && json_scan_element(&iter, &element)) {
        char at[NAMES_USER_MAX];
        struct bytes user;
        good = json_scan_string(element, at, sizeof(at), &user) != 0 ||
               map_get(&index, user) != NULL || follow(socket, &index, user);
    }
    map_finish(&index);
    if (!good) {
        socket_missed(socket); /* rather than wait for what never comes */
    }
}

void user_presence_unsubscribe(const struct client_call *call)
{
    struct socket *socket = call->socket;
    struct json_scan_iter iter;
    struct bytes array;
    struct bytes element;
    struct map index;
    if (!read_users(call, "1 to 500 user ids", &array) || !check_users(call, array, 0)) {
        return;
    }
    if (!index_followed(socket, &index)) {
        call_refuse(call, ERROR_UNAVAILABLE, "Not now, try again");
        return;
    }
    json_scan_iter_init(&iter, array);
    while (json_scan_element(&iter, &element)) {
        char at[NAMES_USER_MAX];
        struct bytes user;
        struct following *found =
            json_scan_string(element, at, sizeof(at), &user) == 0 ? map_remove(&index, user) : NULL;
        if (found != NULL) {
            free_following(found);
        }
    }
    map_finish(&index);
    call_answer(call, BYTES("{\"ok\":true}"));
}

void user_presence_tidy(struct user *user)
{
    if (user->busy == NULL) {
        return;
    }
    list_for_each_safe (link, next, &user->busy->following) {
        struct following *following = container_of(link, struct following, link);
        if (owner_socket(&user->owner, following->socket_id) == NULL) {
            free_following(following);
        }
    }
}

void user_presence_stop(struct user *user)
{
    list_for_each_safe (link, next, &user->busy->following) {
        free_following(container_of(link, struct following, link));
    }
}
