/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a client does with rooms. Order of this file: joining and leaving, being there, the end. How
 * clients name rooms is in user_names.c, what is said in them in user_talk.c and user_typing.c.
 */
#include "actors/deliver/fanout.h"
#include "actors/recover/recovery.h"
#include "actors/recover/room_retained.h"
#include "actors/room_proto.h"
#include "actors/rooms/room.h"
#include "actors/user/user.h"
#include "actors/user/user_actor.h"
#include "actors/wire_name.h"
#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "codec/json_scan.h"
#include "codec/json_write.h"
#include "codec/names.h"
#include "codec/server_events.h"

enum {
    WAITING_MAX = 256,
    WAITING_MESSAGES = 4,
    WAITING_RETRY_MS = 1000,
    HELD_RETRY_MS = 10,
    HELD_MS = 5000, /* the longest that a JOIN waits for what its client has had */
};

/* The token of a JOIN: its ack's id and that there is one, or no answer; and that nobody is told.
 */
#define TOKEN_HAS_ID (UINT64_C(1) << 63)
#define TOKEN_SILENT (UINT64_C(1) << 62)
#define TOKEN_NO_PRESENCE (UINT64_C(1) << 61)

/* A JOIN that its room has not answered; leaving meanwhile is done afterwards. */
struct joining {
    struct list link; /* user_busy.joining */
    uint32_t socket_id;
    bool left;
    bool chosen; /* by a backend */
    bool asked; /* the backend whether it may be: it is sent when that has answered */
    uint32_t number; /* in the order in which they came */
    struct room_rules rules; /* of one that is asked, as the next */
    uint64_t token;
    uint64_t leave_token;
    struct user_since *since; /* what the client has; NULL: it does not say */
    struct user_joined *held; /* the answer, while this node has not read so far; else NULL */
    uint64_t held_until_ms; /* 0: it was not held yet */
    struct user *user;
    struct timer timer; /* while it is held */
    struct list waiting; /* waiting.link: what came for the room behind the JOIN, in order */
    uint32_t room_len;
    char room[]; /* wire name */
};

/* A call that speaks in a room whose JOIN is not answered yet. */
struct waiting {
    struct list link; /* joining.waiting */
    struct event *event;
    void (*again)(const struct client_call *call);
    bool has_id;
    uint64_t id;
};

/* Joining and leaving. */

/* The client asked for it: no reason is given. */
static const struct bytes not_said = {.at = NULL, .len = 0};

/* What stands before the ':', or what the configuration says of a name without one. */
static struct bytes type_of(const struct socket *socket, struct bytes client_room)
{
    const struct actor_config *config = socket->shard->config;
    const char *colon = memchr(client_room.at, ':', client_room.len);
    if (colon != NULL) {
        return bytes_of(client_room.at, (size_t)(colon - client_room.at));
    }
    return config->room_type ? config->room_type(config->context, client_room) : bytes_of("", 0);
}

static void ack_room(struct socket *socket, uint64_t id, const struct server_room *told)
{
    struct builder text = {0};
    json_write_open(&text, '{');
    json_write_bool(&text, "ok", true);
    server_events_write_room(&text, told);
    json_write_close(&text, '}');
    socket_ack(socket, id, builder_bytes(&text));
    builder_reset(&text);
}

static void tell_room(
    struct socket *socket, uint64_t token, bool joined, const struct server_room *told)
{
    call_emit(socket, joined ? server_events_room_joined(told) : server_events_room_left(told));
    if (token & TOKEN_HAS_ID) {
        ack_room(socket, token & ~TOKEN_HAS_ID, told);
    }
}

/* `reason`: why the hub does it, where the client did not ask; or empty. */
static void answer_left(
    struct socket *socket, uint64_t token, struct bytes room, struct bytes reason)
{
    struct bytes name = wire_name_client(room);
    if (!(token & TOKEN_SILENT)) {
        tell_room(socket, token, false,
            &(struct server_room){.room = name, .type = type_of(socket, name), .reason = reason});
    }
}

/* What was missed is sent first. `since` may be NULL; `fresh`: it was no member before. */
static void answer_joined(struct socket *socket, uint64_t token, struct bytes room,
    const struct user_since *since, bool fresh)
{
    char at[REPLAY_OFFSET_MAX];
    struct bytes name = wire_name_client(room);
    struct server_room told = {.room = name, .type = type_of(socket, name)};
    if (token & TOKEN_SILENT) {
        if (fresh) {
            room_retained_send(socket, room);
        }
        return;
    }
    user_since_fill(socket, room, since, fresh, at, &told);
    tell_room(socket, token, true, &told);
}

static uint64_t token_of(const struct client_call *call)
{
    return call->has_id ? TOKEN_HAS_ID | (call->id & (TOKEN_NO_PRESENCE - 1)) : 0;
}

static void on_held(struct timer *timer);
static void on_asked(struct user *user, struct joining *joining, int status);

static struct joining *add_joining(
    struct user *user, const struct socket *socket, struct bytes room, bool chosen)
{
    struct joining *joining = mem_alloc(sizeof(*joining) + room.len);
    joining->user = user;
    timer_init(&joining->timer, on_held);
    joining->socket_id = socket->id;
    joining->chosen = chosen;
    joining->number = user_busy(user)->join_count++;
    list_init(&joining->waiting);
    joining->room_len = (uint32_t)room.len;
    memcpy(joining->room, room.at, room.len);
    list_append(&user_busy(user)->joining, &joining->link);
    return joining;
}

static bool is_joining(const struct joining *joining, uint32_t socket_id, struct bytes room)
{
    return joining->socket_id == socket_id &&
           bytes_eq(bytes_of(joining->room, joining->room_len), room);
}

/* The last JOIN under way of a socket to a room; NULL: none. */
static struct joining *last_joining(struct user *user, uint32_t socket_id, struct bytes room)
{
    struct joining *found = NULL;
    list_for_each (link, &user_busy(user)->joining) {
        struct joining *joining = container_of(link, struct joining, link);
        found = is_joining(joining, socket_id, room) ? joining : found;
    }
    return found;
}

/* The first JOIN that was sent and is answered for the first time, or (`held`) was held. NULL:
 * none. */
static struct joining *first_joining(
    struct user *user, uint32_t socket_id, struct bytes room, bool held)
{
    list_for_each (link, &user_busy(user)->joining) {
        struct joining *joining = container_of(link, struct joining, link);
        if (!joining->asked && is_joining(joining, socket_id, room) &&
            (joining->held_until_ms > 0) == held) {
            return joining;
        }
    }
    return NULL;
}

/* Take the JOIN that was answered, the first one: its caller frees it. */
static struct joining *end_joining(
    struct user *user, uint32_t socket_id, struct bytes room, bool held)
{
    struct joining *joining = first_joining(user, socket_id, room, held);
    if (joining != NULL) {
        list_remove(&joining->link);
    }
    return joining;
}

/* One waits whatever its size; more, while together they are no larger than a few messages. */
static bool may_wait(const struct user *user, size_t bytes)
{
    const struct user_busy *busy = user->busy;
    uint64_t most = (uint64_t)shard_of(&user->actor)->config->message_bytes * WAITING_MESSAGES;
    return busy->waiting_count == 0 ||
           (busy->waiting_count < WAITING_MAX && busy->waiting_bytes + bytes <= most);
}

static void count_waiting(struct user *user, const struct waiting *waiting, bool comes)
{
    uint64_t bytes = mem_cost(sizeof(*waiting)) + event_cost(waiting->event);
    uint64_t *of_shard = &shard_of(&user->actor)->stats.waiting_bytes;
    *of_shard = comes ? *of_shard + bytes : *of_shard - bytes;
    user->busy->waiting_bytes += comes ? bytes : -bytes;
    user->busy->waiting_count += comes ? 1 : -1U;
}

/*
 * Keep a call that came behind the JOIN of the room, to be carried out when that is answered, or
 * refuse it where too much waits; false when there is no such JOIN.
 */
static bool wait_for_join(const struct client_call *call, struct bytes room,
    void (*again)(const struct client_call *call))
{
    struct user_busy *busy = user_of(call->socket)->busy;
    struct joining *joining =
        busy != NULL ? last_joining(user_of(call->socket), call->socket->id, room) : NULL;
    if (joining == NULL || joining->left) {
        return false;
    }
    if (!may_wait(user_of(call->socket), event_cost(call->event))) {
        call_refuse_as(call, &(struct call_refusal){.code = ERROR_RATE_LIMITED,
                                 .message = "Too much waits for rooms that are being joined",
                                 .retry_ms = WAITING_RETRY_MS});
        return true;
    }
    struct waiting *waiting = mem_alloc(sizeof(*waiting));
    waiting->event = event_ref((struct event *)(uintptr_t)call->event);
    waiting->again = again;
    waiting->has_id = call->has_id;
    waiting->id = call->id;
    list_init(&waiting->link);
    list_append(&joining->waiting, &waiting->link);
    count_waiting(user_of(call->socket), waiting, true);
    return true;
}

/* The next one that waited; NULL: none. Its caller frees it. */
static struct waiting *next_waiting(struct user *user, struct joining *joining)
{
    struct list *link = list_pop(&joining->waiting);
    if (link == NULL) {
        return NULL;
    }
    struct waiting *waiting = container_of(link, struct waiting, link);
    count_waiting(user, waiting, false);
    return waiting;
}

static void free_waiting(struct waiting *waiting)
{
    event_unref(waiting->event);
    mem_free(waiting);
}

/* The JOIN is answered: do what waited for it. It was counted against its rate when it came. */
static void carry_out(struct user *user, struct socket *socket, struct joining *joining)
{
    for (struct waiting *waiting; (waiting = next_waiting(user, joining)) != NULL;) {
        const struct client_call call = {.socket = socket,
            .event = waiting->event,
            .has_id = waiting->has_id,
            .id = waiting->id};
        waiting->again(&call);
        free_waiting(waiting);
    }
}

/*
 * `joining` is answered: do what waited for it, and, where the socket is a member now, what waits
 * for others to the same room that the backend is still asked about; in the order in which it came.
 */
static void carry_out_all(struct user *user, struct socket *socket, struct joining *joining)
{
    struct bytes room = bytes_of(joining->room, joining->room_len);
    bool own = false;
    bool member = fanout_membership(socket->fanout, socket, room) != NULL;
    list_for_each (link, &user->busy->joining) {
        struct joining *other = container_of(link, struct joining, link);
        if (member && other->asked && !other->left && is_joining(other, socket->id, room)) {
            if (!own && (int32_t)(other->number - joining->number) > 0) {
                carry_out(user, socket, joining);
                own = true;
            }
            carry_out(user, socket, other);
        }
    }
    carry_out(user, socket, joining);
}

static void free_joining(struct user *user, struct joining *joining)
{
    if (joining == NULL) {
        return;
    }
    for (struct waiting *waiting; (waiting = next_waiting(user, joining)) != NULL;) {
        free_waiting(waiting);
    }
    timer_cancel(sched_timers(user->actor.sched), &joining->timer);
    if (joining->held != NULL) {
        msg_destroy(&joining->held->base);
    }
    mem_free(joining->since);
    mem_free(joining);
}

/* A JOIN whose client has had more than this node: answered when that has come here. */

static void on_held(struct timer *timer)
{
    struct joining *joining = container_of(timer, struct joining, timer);
    struct user_joined *answer = joining->held;
    joining->held = NULL;
    msg_send(joining->user->actor.sched, joining->user->actor.self, answer);
}

/* Whether the JOIN is to wait; it is answered again then. */
static bool hold(struct user *user, const struct socket *socket, struct joining *joining,
    const struct user_joined *msg, struct bytes room)
{
    struct sched *sched = user->actor.sched;
    uint64_t now = sched_now(sched);
    bool late = joining->held_until_ms > 0 && now >= joining->held_until_ms;
    if (joining->since == NULL || late || !user_since_is_ahead(socket, room, joining->since)) {
        return false;
    }
    if (joining->held_until_ms == 0) {
        joining->held_until_ms = now + HELD_MS;
    }
    struct user_joined *answer = user_joined_new();
    answer->socket_id = msg->socket_id;
    answer->token = msg->token;
    answer->presence = msg->presence;
    answer->again = true;
    answer->room = buf_ref(msg->room);
    joining->held = answer;
    user->owner.joins++; /* as one that is not answered */
    timer_set(sched_timers(sched), &joining->timer, now + HELD_RETRY_MS);
    return true;
}

static void post_join(
    struct socket *socket, struct bytes room, const struct room_rules *rules, uint64_t token)
{
    struct room_join *msg = room_join_new();
    msg->key = room_key_new(socket_nsp(socket), room);
    msg->reply_to = socket->user->actor.self;
    msg->socket_id = socket->id;
    msg->max_members = rules->max_members;
    msg->presence = rules->presence;
    msg->token = token;
    msg_send_home(socket->shard->sched, msg);
}

/* Returns what is known of the JOIN until it is answered. */
static struct joining *begin_join(
    struct user *user, struct socket *socket, struct bytes room, bool chosen)
{
    socket->joins++;
    user->owner.joins++;
    return add_joining(user, socket, room, chosen);
}

/* The same of one that is sent at once. */
static struct joining *send_join(struct user *user, struct socket *socket, struct bytes room,
    const struct room_rules *rules, uint64_t token, bool chosen)
{
    struct joining *joining = begin_join(user, socket, room, chosen);
    post_join(socket, room, rules, token);
    return joining;
}

/* Whether the user of `socket` may join; `*ret_rules` with 0, and STATUS_AGAIN: the backend is to
 * be asked. */
static int check_access(
    const struct socket *socket, struct bytes client_room, struct room_rules *ret_rules)
{
    const struct actor_config *config = socket->shard->config;
    return config->room_access(config->context, socket->identity, client_room, ret_rules);
}

static struct user_since *copy_since(const struct user_since *since)
{
    struct user_since *copy = since->said ? mem_alloc(sizeof(*copy)) : NULL;
    if (copy != NULL) {
        *copy = *since;
    }
    return copy;
}

static void join(
    const struct client_call *call, struct bytes client_room, const struct user_since *since)
{
    struct socket *socket = call->socket;
    struct user *user = user_of(socket);
    struct room_rules rules;
    char at[WIRE_NAME_MAX];
    struct bytes room = wire_name_room(owner_space(call->socket->user), client_room, at);
    int access = check_access(socket, client_room, &rules);
    if (access != 0 && access != STATUS_AGAIN) {
        call_refuse(call, ERROR_FORBIDDEN, "Access denied to room");
    } else if (fanout_membership(socket->fanout, socket, room)) {
        answer_joined(socket, token_of(call), room, since, false);
    } else if (socket->membership_count + socket->joins >= socket->shard->config->rooms) {
        call_refuse(call, ERROR_FORBIDDEN, "Too many rooms");
    } else if (access == 0) {
        send_join(user, socket, room, &rules, token_of(call), false)->since = copy_since(since);
    } else {
        struct joining *joining = begin_join(user, socket, room, false);
        joining->asked = true;
        joining->since = copy_since(since);
        joining->rules = rules;
        joining->token = token_of(call);
        access = user_asks_join(socket, client_room, rules.hook, joining, on_asked);
        if (access != STATUS_AGAIN) {
            on_asked(user, joining, access);
        }
    }
}

void user_rooms_join(const struct client_call *call)
{
    char at[NAMES_ROOM_MAX];
    struct bytes room;
    struct user_since since;
    struct bytes argument = call_argument(call->event);
    if (user_room_want(call, user_room_read(argument, at, &room), "roomId") &&
        user_since_read(call, argument, &since)) {
        join(call, room, &since);
    }
}

void user_rooms_subscribe(const struct client_call *call)
{
    char at[NAMES_ROOM_MAX];
    struct bytes room;
    struct bytes argument = call_argument(call->event);
    int status = user_room_read_prefixed(argument, "companyId", "company:", at, &room);
    struct user_since since;
    if (user_room_want(call, status, "companyId") && user_since_read(call, argument, &since)) {
        join(call, room, &since);
    }
}

/* Leave, whatever JOINs are under way: they were asked for later. */
static void leave_now(struct socket *socket, struct bytes room, uint64_t token, struct bytes reason)
{
    const struct membership *membership = fanout_membership(socket->fanout, socket, room);
    bool presence = membership != NULL && membership->presence;
    if (fanout_leave(socket->fanout, socket, room)) {
        room_send_leave(socket->shard, socket_nsp(socket), room);
    }
    if (presence) {
        room_tell(socket, room, false);
    }
    answer_left(socket, token, room, reason);
}

bool user_rooms_expel(struct socket *socket, struct bytes room)
{
    struct room_rules rules;
    char at[WIRE_NAME_MAX];
    int access = check_access(socket, wire_name_client(room), &rules);
    if (fanout_membership(socket->fanout, socket, room)->chosen || access == 0 ||
        access == STATUS_AGAIN) { /* the backend was asked when it came */
        return false;
    }
    memcpy(at, room.at, room.len); /* its leaf may go */
    leave_now(socket, bytes_of(at, room.len), 0, BYTES("forbidden"));
    return true;
}

/* Leave; after the JOIN under way, if there is one, because it was asked for before. */
static void leave(struct socket *socket, struct bytes room, uint64_t token)
{
    struct joining *joining = last_joining(user_of(socket), socket->id, room);
    if (joining == NULL) {
        leave_now(socket, room, token, not_said);
    } else if (joining->left) {
        answer_left(socket, token, room, not_said);
    } else {
        joining->left = true;
        joining->leave_token = token;
    }
}

/* Who did not ask for the room is not told that it is not in it: it comes back, and asks again. */
static void tell_refused(struct socket *socket, struct bytes room, uint64_t token, int status)
{
    bool denied = status == STATUS_FULL || status == STATUS_DENIED;
    bool many = status == STATUS_RATE_LIMITED;
    enum error_code code = denied ? ERROR_FORBIDDEN : ERROR_UNAVAILABLE;
    const struct call_refusal refusal = {.code = many ? ERROR_RATE_LIMITED : code,
        .message = status == STATUS_FULL     ? "Room is full"
                   : status == STATUS_DENIED ? "Access denied to room"
                   : many                    ? USER_ASKS_TOO_MANY
                   : status == STATUS_NOMEM
                       ? "Out of memory, try again"
                       : "Whether this room may be joined cannot be asked now, try again",
        .retry_ms = many || status == STATUS_UNAVAILABLE ? WAITING_RETRY_MS : 0,
        .room = wire_name_client(room)};
    uint64_t id = token & ~TOKEN_HAS_ID;
    if (!(token & TOKEN_SILENT)) {
        call_refuse_event(socket, token & TOKEN_HAS_ID ? &id : NULL, BYTES("join_room"), &refusal);
    } else if (!denied) {
        socket_missed(socket);
    }
}

/* A JOIN ends without a membership. Frees `joining`. */
static void refuse_join(struct user *user, struct socket *socket, struct joining *joining,
    struct bytes room, uint64_t token, int status)
{
    socket->joins -= socket->joins > 0;
    tell_refused(socket, room, token, status);
    if (joining != NULL) {
        carry_out(user, socket, joining); /* which is refused */
    }
    if (joining != NULL && joining->left) {
        leave_now(socket, room, joining->leave_token, not_said);
    }
    free_joining(user, joining);
}

/* The backend has said whether the user may join, or cannot be asked: user_asked_fn. */
static void on_asked(struct user *user, struct joining *joining, int status)
{
    struct socket *socket = owner_socket(&user->owner, joining->socket_id);
    struct bytes room = bytes_of(joining->room, joining->room_len);
    list_remove(&joining->link);
    joining->asked = false;
    if (status == 0 && socket != NULL) {
        list_append(&user->busy->joining, &joining->link); /* behind those that were sent before */
        post_join(socket, room, &joining->rules, joining->token);
        return;
    }
    user->owner.joins--;
    if (socket != NULL) {
        refuse_join(user, socket, joining, room, joining->token, status);
    } else {
        free_joining(user, joining);
        msg_send(user->actor.sched, user->actor.self, user_detached_new()); /* is anybody left? */
    }
}

void user_rooms_joined(struct user *user, struct user_joined *msg)
{
    struct shard *shard = shard_of(&user->actor);
    struct socket *socket = owner_socket(&user->owner, msg->socket_id);
    struct bytes key = buf_bytes(msg->room);
    const char *comma = memchr(key.at, ',', key.len);
    struct bytes nsp = bytes_of(key.at, (size_t)(comma - key.at));
    struct bytes room = bytes_skip(key, nsp.len + 1);
    struct joining *joining = first_joining(user, msg->socket_id, room, msg->again);
    if (socket != NULL && joining != NULL && hold(user, socket, joining, msg, room)) {
        return;
    }
    (void)end_joining(user, msg->socket_id, room, msg->again);
    if (socket == NULL) {
        room_send_leave(shard, nsp, room);
        free_joining(user, joining);
        return;
    }
    int status = fanout_join(socket->fanout, socket, room);
    if (status == STATUS_NOMEM) {
        room_send_leave(shard, nsp, room);
        refuse_join(user, socket, joining, room, msg->token, status);
        return;
    }
    socket->joins -= socket->joins > 0;
    if (status == STATUS_EXISTS) {
        room_send_leave(shard, nsp, room); /* asked for twice at once: counted once */
    } else if (msg->presence && !(msg->token & TOKEN_NO_PRESENCE)) {
        fanout_membership(socket->fanout, socket, room)->presence = true;
        room_tell(socket, room, true);
    }
    answer_joined(socket, msg->token, room, joining != NULL ? joining->since : NULL, status == 0);
    if (joining != NULL && joining->chosen) {
        fanout_membership(socket->fanout, socket, room)->chosen = true;
    }
    recovery_changed(socket, room);
    if (joining != NULL && joining->left) {
        carry_out(user, socket, joining);
        leave_now(socket, room, joining->leave_token, not_said);
    } else {
        (void)user_rooms_expel(socket, room); /* token or rules may have changed meanwhile */
    }
    if (joining != NULL) {
        carry_out_all(user, socket, joining);
    }
    free_joining(user, joining);
}

void user_rooms_refused(struct user *user, struct user_refused *msg)
{
    struct socket *socket = owner_socket(&user->owner, msg->socket_id);
    struct bytes key = buf_bytes(msg->room);
    const char *comma = memchr(key.at, ',', key.len);
    struct bytes room = bytes_skip(key, (size_t)(comma - key.at) + 1);
    struct joining *joining = end_joining(user, msg->socket_id, room, false);
    if (socket == NULL) {
        free_joining(user, joining);
        return;
    }
    refuse_join(user, socket, joining, room, msg->token, msg->status);
}

/* Whether the socket is in the room, or about to be. */
static bool is_coming(const struct socket *socket, struct bytes room)
{
    struct user *user = user_of(socket);
    return fanout_membership(socket->fanout, socket, room) != NULL ||
           (user->busy != NULL && last_joining(user, socket->id, room) != NULL);
}

void user_auto_join(struct socket *socket)
{
    const struct actor_config *config = socket->shard->config;
    char room_at[NAMES_ROOM_MAX];
    struct bytes client_room;
    for (unsigned n = 0;
         config->auto_join(config->context, socket->identity, n, room_at, &client_room); n++) {
        struct room_rules rules = {0};
        char at[WIRE_NAME_MAX];
        struct bytes room = wire_name_room(identity_space(socket->identity), client_room, at);
        if (check_access(socket, client_room, &rules) == 0 && !is_coming(socket, room) &&
            socket->membership_count + socket->joins < config->rooms) {
            (void)send_join(user_of(socket), socket, room, &rules, TOKEN_SILENT, false);
        }
    }
}

void user_rooms_leave(const struct client_call *call)
{
    char at[NAMES_ROOM_MAX];
    char wire[WIRE_NAME_MAX];
    struct bytes room;
    if (user_room_want(call, user_room_read(call_argument(call->event), at, &room), "roomId")) {
        leave(call->socket, wire_name_room(owner_space(call->socket->user), room, wire),
            token_of(call));
    }
}

bool user_rooms_change(struct socket *socket, struct bytes room, bool join, bool presence)
{
    const struct room_rules rules = {.presence = true};
    struct user *user = user_of(socket);
    struct membership *member = fanout_membership(socket->fanout, socket, room);
    bool joining = user->busy != NULL && last_joining(user, socket->id, room) != NULL;
    bool full = socket->membership_count + socket->joins >= socket->shard->config->rooms;
    if (!join && (member || joining)) {
        leave(socket, room, TOKEN_SILENT);
    } else if (join && !member && !full) {
        (void)send_join(
            user, socket, room, &rules, TOKEN_SILENT | (presence ? 0 : TOKEN_NO_PRESENCE), true);
    } else if (join && member) {
        member->chosen = true;
        recovery_changed(socket, room);
    }
    return !join || member || !full;
}

/* Being there. */

bool user_room_is_member(const struct client_call *call, struct bytes room,
    void (*again)(const struct client_call *call))
{
    if (fanout_membership(call->socket->fanout, call->socket, room)) {
        return true;
    }
    if (!wait_for_join(call, room, again)) {
        call_refuse(call, ERROR_FORBIDDEN, "Not in this room");
    }
    return false;
}

/* The end. */

void user_rooms_stop(struct user *user)
{
    while (!list_empty(&user->busy->joining)) {
        free_joining(user, container_of(list_pop(&user->busy->joining), struct joining, link));
    }
}
