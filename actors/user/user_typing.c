/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who types in a room: told to the others, until it stops by itself.
 */
#include "actors/rooms/room.h"
#include "actors/user/user_actor.h"
#include "actors/wire_name.h"
#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "codec/json_scan.h"
#include "codec/names.h"
#include "codec/server_events.h"

enum { TYPING_MAX = 16 }; /* rooms at a time */

/* The user types in a room, until told otherwise or typing_ms have passed. */
struct typing {
    struct list link; /* user_busy.typing */
    struct timer timer;
    struct user *user;
    char sid[SOCKET_SID_LEN];
    uint32_t room_len;
    char room[]; /* wire name */
};

static void tell_typing(struct user *user, struct bytes room, const char *sid, bool typing)
{
    struct bytes except = bytes_of(sid, SOCKET_SID_LEN);
    if (user->owner.shown != OWNER_SHOWN) {
        return;
    }
    room_publish(shard_of(&user->actor), BYTES("/"), room,
        server_events_typing(wire_name_client(room), owner_id(&user->owner), typing), &except, 1);
}

static void free_typing(struct typing *typing)
{
    timer_cancel(sched_timers(typing->user->actor.sched), &typing->timer);
    list_remove(&typing->link);
    user_busy(typing->user)->typing_count--;
    mem_free(typing);
}

static void on_typing_timer(struct timer *timer)
{
    struct typing *typing = container_of(timer, struct typing, timer);
    tell_typing(typing->user, bytes_of(typing->room, typing->room_len), typing->sid, false);
    free_typing(typing);
}

static struct typing *find_typing(struct user *user, struct bytes room)
{
    list_for_each (link, &user_busy(user)->typing) {
        struct typing *typing = container_of(link, struct typing, link);
        if (bytes_eq(bytes_of(typing->room, typing->room_len), room)) {
            return typing;
        }
    }
    return NULL;
}

static struct typing *start_typing(const struct client_call *call, struct bytes room)
{
    struct typing *typing = mem_alloc(sizeof(*typing) + room.len);
    typing->user = user_of(call->socket);
    timer_init(&typing->timer, on_typing_timer);
    memcpy(typing->sid, call->socket->sid, sizeof(typing->sid));
    typing->room_len = (uint32_t)room.len;
    memcpy(typing->room, room.at, room.len);
    list_append(&user_busy(user_of(call->socket))->typing, &typing->link);
    user_busy(user_of(call->socket))->typing_count++;
    return typing;
}

static void take(
    const struct client_call *call, bool on, void (*again)(const struct client_call *call))
{
    struct bytes argument = call_argument(call->event);
    char at[NAMES_ROOM_MAX];
    char wire[WIRE_NAME_MAX];
    struct bytes room;
    const char *field = "roomId";
    int status = user_room_read(argument, at, &room);
    if (status == STATUS_NOT_FOUND && json_scan_get(argument, "customerId", &room) == 0) {
        field = "customerId";
        status = user_room_read_prefixed(argument, field, "customer:", at, &room);
    }
    if (!user_room_want(call, status, field)) {
        return;
    }
    room = wire_name_room(owner_space(call->socket->user), room, wire);
    if (!user_room_may_speak(call, room, again)) {
        return;
    }
    struct typing *typing = find_typing(user_of(call->socket), room);
    if (on && typing == NULL && user_busy(user_of(call->socket))->typing_count < TYPING_MAX) {
        typing = start_typing(call, room);
    }
    if (on && typing != NULL) {
        struct sched *sched = call->socket->shard->sched;
        timer_set(sched_timers(sched), &typing->timer,
            sched_now(sched) + call->socket->shard->config->typing_ms);
    } else if (typing != NULL) {
        free_typing(typing);
    }
    tell_typing(user_of(call->socket), room, call->socket->sid, on);
    call_answer(call, BYTES("{\"ok\":true}"));
}

void user_typing_start(const struct client_call *call)
{
    take(call, true, user_typing_start);
}

void user_typing_end(const struct client_call *call)
{
    take(call, false, user_typing_end);
}

void user_typing_tell_end(struct user *user)
{
    if (user->busy == NULL) {
        return;
    }
    list_for_each_safe (link, following, &user->busy->typing) {
        struct typing *typing = container_of(link, struct typing, link);
        tell_typing(user, bytes_of(typing->room, typing->room_len), typing->sid, false);
        free_typing(typing);
    }
}

void user_typing_stop(struct user *user)
{
    list_for_each_safe (link, following, &user->busy->typing) {
        free_typing(container_of(link, struct typing, link));
    }
}
