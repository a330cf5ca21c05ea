/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a client does with rooms. Order of this file: arguments, joining and leaving, messages,
 * relaying, the end.
 */
#include "actors/fanout.h"
#include "actors/recovery.h"
#include "actors/room_proto.h"
#include "actors/sequencer_proto.h"
#include "actors/user.h"
#include "actors/user_actor.h"
#include "actors/wire_name.h"
#include "codec/base/mem.h"
#include "codec/base/rand.h"
#include "codec/base/status.h"
#include "codec/iso_time.h"
#include "codec/json_scan.h"
#include "codec/names.h"
#include "codec/slot.h"
#include "codec/utf8.h"

enum { NONCES_MAX = 1024, TYPE_MAX = 64 };

/* The token of a JOIN: its ack's id and that there is one, or no answer; and that nobody is told.
 */
#define TOKEN_HAS_ID (UINT64_C(1) << 63)
#define TOKEN_SILENT (UINT64_C(1) << 62)
#define TOKEN_QUIET (UINT64_C(1) << 61)

/* A JOIN that its room has not answered; leaving meanwhile is done afterwards. */
struct joining {
    struct list link; /* user_rare.joining */
    uint32_t socket_id;
    bool left;
    bool chosen; /* by a backend */
    uint64_t leave_token;
    uint32_t room_len;
    char room[]; /* wire name */
};

struct nonce {
    uint64_t hash;
    uint64_t at_ms;
};

/* Arguments. */

/* A room as a client names it: a string, or {roomId}. `at` has NAMES_ROOM_MAX bytes. */
int user_room_read(struct bytes argument, char *at, struct bytes *ret_room)
{
    struct bytes value = argument;
    int status = 0;
    if (json_scan_kind(argument) == JSON_SCAN_OBJECT) {
        status = json_scan_get(argument, "roomId", &value);
    }
    if (status == 0) {
        status = json_scan_string(value, at, NAMES_ROOM_MAX, ret_room);
    }
    return status != 0 ? status : names_check_room(*ret_room);
}

/* The room `prefix`:<value of `key`>. */
int user_room_read_prefixed(
    struct bytes argument, const char *key, const char *prefix, char *at, struct bytes *ret_room)
{
    size_t len = strlen(prefix);
    struct bytes value;
    struct bytes id;
    memcpy(at, prefix, len);
    if (json_scan_kind(argument) != JSON_SCAN_OBJECT || json_scan_get(argument, key, &value) != 0) {
        return STATUS_INVALID;
    }
    if (json_scan_kind(value) == JSON_SCAN_NUMBER) {
        id = value;
    } else if (json_scan_string(value, at + len, NAMES_ROOM_MAX - len, &id) != 0) {
        return STATUS_INVALID;
    }
    if (id.len > NAMES_ROOM_MAX - len) {
        return STATUS_TOO_LARGE;
    }
    memmove(at + len, id.at, id.len);
    *ret_room = bytes_of(at, len + id.len);
    return names_check_room(*ret_room);
}

/* A room named in `call`; refuses the call and returns false when it is none. */
bool user_room_want(const struct user_call *call, int status)
{
    if (status != 0) {
        user_refuse(call, "invalid_field", "roomId must be 1 to 200 bytes without '/' or controls");
    }
    return status == 0;
}

/* Joining and leaving. */

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

/* `reason`: why the hub does it, where the client did not ask; or NULL. */
static void answer_room(
    struct socket *socket, uint64_t token, const char *event, struct bytes room, const char *reason)
{
    if (token & TOKEN_SILENT) {
        return;
    }
    struct bytes name = wire_name_client(room);
    struct builder fields = {0};
    builder_str(&fields, "\"roomId\":");
    json_scan_write_string(&fields, name);
    builder_str(&fields, ",\"roomType\":");
    json_scan_write_string(&fields, type_of(socket, name));
    if (reason != NULL) {
        builder_printf(&fields, ",\"reason\":\"%s\"", reason);
    }
    struct builder text = {0};
    builder_byte(&text, '{');
    builder_add(&text, builder_bytes(&fields));
    builder_byte(&text, '}');
    user_emit(socket, event, builder_bytes(&text));
    if (token & TOKEN_HAS_ID) {
        builder_clear(&text);
        builder_str(&text, "{\"ok\":true,");
        builder_add(&text, builder_bytes(&fields));
        builder_byte(&text, '}');
        socket_ack(socket, token & ~TOKEN_HAS_ID, builder_bytes(&text));
    }
    builder_reset(&fields);
    builder_reset(&text);
}

static uint64_t token_of(const struct user_call *call)
{
    return call->has_id ? TOKEN_HAS_ID | (call->id & (TOKEN_QUIET - 1)) : 0;
}

static void add_joining(
    struct user *user, const struct socket *socket, struct bytes room, bool chosen)
{
    struct joining *joining = mem_alloc(sizeof(*joining) + room.len);
    joining->socket_id = socket->id;
    joining->chosen = chosen;
    joining->room_len = (uint32_t)room.len;
    memcpy(joining->room, room.at, room.len);
    list_append(&user_rare(user)->joining, &joining->link);
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
    list_for_each (link, &user_rare(user)->joining) {
        struct joining *joining = container_of(link, struct joining, link);
        found = is_joining(joining, socket_id, room) ? joining : found;
    }
    return found;
}

/* Take the JOIN that was answered, the first one: its caller frees it. */
static struct joining *end_joining(struct user *user, uint32_t socket_id, struct bytes room)
{
    list_for_each (link, &user_rare(user)->joining) {
        struct joining *joining = container_of(link, struct joining, link);
        if (is_joining(joining, socket_id, room)) {
            list_remove(link);
            return joining;
        }
    }
    return NULL;
}

static void send_join(struct user *user, struct socket *socket, struct bytes room,
    const struct room_rules *rules, uint64_t token, bool chosen)
{
    struct shard *shard = shard_of(&user->actor);
    socket->joins++;
    user->joins++;
    add_joining(user, socket, room, chosen);
    struct room_join *msg = room_join_new();
    msg->key = room_key_new(socket_nsp(socket), room);
    msg->reply_to = user->actor.self;
    msg->socket_id = socket->id;
    msg->max_members = rules->max_members;
    msg->quiet = rules->quiet;
    msg->token = token;
    unsigned home = actor_system_shard_of(sched_system(shard->sched), buf_bytes(msg->key));
    msg_send_named(shard->sched, home, msg);
}

/* Whether the user of `socket` may join; `*ret_rules` on success. */
static int check_access(
    const struct socket *socket, struct bytes client_room, struct room_rules *ret_rules)
{
    const struct actor_config *config = socket->shard->config;
    return config->room_access(config->context, socket->identity, client_room, ret_rules);
}

static void join(const struct user_call *call, struct bytes client_room)
{
    struct socket *socket = call->socket;
    struct room_rules rules;
    char at[WIRE_NAME_MAX];
    struct bytes room = wire_name_room(user_space(call->user), client_room, at);
    if (check_access(socket, client_room, &rules) != 0) {
        user_refuse(call, "forbidden", "Access denied to room");
    } else if (fanout_membership(socket->fanout, socket, room)) {
        answer_room(socket, token_of(call), "room_joined", room, NULL);
    } else if (socket->membership_count + socket->joins >=
               socket->shard->config->rooms_per_socket) {
        user_refuse(call, "forbidden", "Too many rooms");
    } else {
        send_join(call->user, socket, room, &rules, token_of(call), false);
    }
}

void user_rooms_join(const struct user_call *call)
{
    char at[NAMES_ROOM_MAX];
    struct bytes room;
    if (user_room_want(call, user_room_read(user_argument(call->event), at, &room))) {
        join(call, room);
    }
}

void user_rooms_subscribe(const struct user_call *call)
{
    char at[NAMES_ROOM_MAX];
    struct bytes room;
    struct bytes argument = user_argument(call->event);
    if (user_room_want(
            call, user_room_read_prefixed(argument, "companyId", "company:", at, &room))) {
        join(call, room);
    }
}

/* Leave, whatever JOINs are under way: they were asked for later. */
static void leave_now(struct socket *socket, struct bytes room, uint64_t token, const char *reason)
{
    const struct membership *membership = fanout_membership(socket->fanout, socket, room);
    bool loud = membership != NULL && membership->loud;
    if (fanout_leave(socket->fanout, socket, room)) {
        room_send_leave(socket->shard, socket_nsp(socket), room);
    }
    if (loud) {
        fanout_tell(socket, room, "user_left_room");
    }
    answer_room(socket, token, "room_left", room, reason);
}

bool user_rooms_expel(struct socket *socket, struct bytes room)
{
    struct room_rules rules;
    char at[WIRE_NAME_MAX];
    if (fanout_membership(socket->fanout, socket, room)->chosen ||
        check_access(socket, wire_name_client(room), &rules) == 0) {
        return false;
    }
    memcpy(at, room.at, room.len); /* its leaf may go */
    leave_now(socket, bytes_of(at, room.len), 0, "forbidden");
    return true;
}

/* Leave; after the JOIN under way, if there is one, because it was asked for before. */
static void leave(struct socket *socket, struct bytes room, uint64_t token)
{
    struct joining *joining = last_joining(socket->user, socket->id, room);
    if (joining == NULL) {
        leave_now(socket, room, token, NULL);
    } else if (joining->left) {
        answer_room(socket, token, "room_left", room, NULL);
    } else {
        joining->left = true;
        joining->leave_token = token;
    }
}

void user_rooms_joined(struct user *user, struct user_joined *msg)
{
    struct shard *shard = shard_of(&user->actor);
    struct socket *socket = user_socket(user, msg->socket_id);
    struct bytes key = buf_bytes(msg->room);
    const char *comma = memchr(key.at, ',', key.len);
    struct bytes nsp = bytes_of(key.at, (size_t)(comma - key.at));
    struct bytes room = bytes_skip(key, nsp.len + 1);
    struct joining *joining = end_joining(user, msg->socket_id, room);
    if (socket == NULL) {
        room_send_leave(shard, nsp, room);
        mem_free(joining);
        return;
    }
    socket->joins -= socket->joins > 0;
    if (!fanout_join(socket->fanout, socket, room)) {
        room_send_leave(shard, nsp, room); /* asked for twice at once: counted once */
    } else if (!msg->quiet && !(msg->token & TOKEN_QUIET)) {
        fanout_membership(socket->fanout, socket, room)->loud = true;
        fanout_tell(socket, room, "user_joined_room");
    }
    answer_room(socket, msg->token, "room_joined", room, NULL);
    if (joining != NULL && joining->chosen) {
        fanout_membership(socket->fanout, socket, room)->chosen = true;
    }
    recovery_changed(socket, room);
    if (joining != NULL && joining->left) {
        leave_now(socket, room, joining->leave_token, NULL);
    } else {
        (void)user_rooms_expel(socket, room); /* token or rules may have changed meanwhile */
    }
    mem_free(joining);
}

void user_rooms_refused(struct user *user, struct user_refused *msg)
{
    struct socket *socket = user_socket(user, msg->socket_id);
    struct bytes key = buf_bytes(msg->room);
    const char *comma = memchr(key.at, ',', key.len);
    struct bytes room = bytes_skip(key, (size_t)(comma - key.at) + 1);
    struct joining *joining = end_joining(user, msg->socket_id, room);
    if (socket == NULL) {
        mem_free(joining);
        return;
    }
    socket->joins -= socket->joins > 0;
    if (!(msg->token & TOKEN_SILENT)) {
        user_refuse_later(socket, (msg->token & TOKEN_HAS_ID) != 0, msg->token & ~TOKEN_HAS_ID,
            "join_room", "forbidden", "Room is full");
    }
    if (joining != NULL && joining->left) {
        leave_now(socket, room, joining->leave_token, NULL);
    }
    mem_free(joining);
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
        if (check_access(socket, client_room, &rules) == 0 &&
            socket->joins < config->rooms_per_socket) {
            struct bytes space = identity_space(socket->identity);
            send_join(socket->user, socket, wire_name_room(space, client_room, at), &rules,
                TOKEN_SILENT, false);
        }
    }
}

void user_rooms_leave(const struct user_call *call)
{
    char at[NAMES_ROOM_MAX];
    char wire[WIRE_NAME_MAX];
    struct bytes room;
    if (user_room_want(call, user_room_read(user_argument(call->event), at, &room))) {
        leave(call->socket, wire_name_room(user_space(call->user), room, wire), token_of(call));
    }
}

bool user_rooms_change(struct socket *socket, struct bytes room, bool join, bool loud)
{
    const struct room_rules rules = {0};
    struct user *user = socket->user;
    struct membership *member = fanout_membership(socket->fanout, socket, room);
    bool joining = user->rare != NULL && last_joining(user, socket->id, room) != NULL;
    bool full = socket->membership_count + socket->joins >= socket->shard->config->rooms_per_socket;
    if (!join && (member || joining)) {
        leave(socket, room, TOKEN_SILENT);
    } else if (join && !member && !full) {
        send_join(user, socket, room, &rules, TOKEN_SILENT | (loud ? 0 : TOKEN_QUIET), true);
    } else if (join && member) {
        member->chosen = true;
        recovery_changed(socket, room);
    }
    return !join || member || !full;
}

/* Messages. */

/* Whether `nonce` (its JSON text) was used within nonce_ms; remembers it. */
static bool is_repeat(struct user *user, struct bytes nonce)
{
    struct user_rare *rare = user_rare(user);
    uint64_t keep_ms = shard_of(&user->actor)->config->nonce_ms;
    uint64_t now = sched_now(user->actor.sched);
    uint64_t hash = hash_bytes(nonce);
    uint32_t old = 0;
    while (old < rare->nonce_count &&
           (rare->nonces[old].at_ms + keep_ms <= now || rare->nonce_count - old >= NONCES_MAX)) {
        old++;
    }
    rare->nonce_count -= old;
    if (old > 0) {
        memmove(rare->nonces, rare->nonces + old, rare->nonce_count * sizeof(*rare->nonces));
    }
    for (uint32_t i = 0; i < rare->nonce_count; i++) {
        if (rare->nonces[i].hash == hash) {
            return true;
        }
    }
    if (rare->nonce_count == rare->nonce_cap) {
        rare->nonce_cap = rare->nonce_cap ? rare->nonce_cap * 2 : 8;
        rare->nonces = mem_realloc_array(rare->nonces, rare->nonce_cap, sizeof(*rare->nonces));
    }
    rare->nonces[rare->nonce_count++] = (struct nonce){.hash = hash, .at_ms = now};
    return false;
}

struct message {
    struct bytes room; /* wire name */
    struct bytes text; /* JSON string, as it came */
    struct bytes type; /* JSON string, or empty */
    struct bytes nonce; /* JSON value, or empty */
};

static int read_text(const struct user_call *call, struct bytes value)
{
    uint32_t max = call->socket->shard->config->message_chars;
    struct builder text = {.max = (size_t)max * 4};
    int status = json_scan_string_add(value, &text);
    size_t chars = status == 0 ? utf8_count(builder_bytes(&text)) : 0;
    builder_reset(&text);
    if (status != 0) {
        return status;
    }
    return chars >= 1 && chars <= max ? 0 : STATUS_INVALID;
}

/* Read {roomId, message, type?, nonce?}; the room's wire name goes to `wire`. Refuses what is
 * wrong. */
static bool read_message(const struct user_call *call, char *wire, struct message *ret_message)
{
    struct bytes argument = user_argument(call->event);
    char at[NAMES_ROOM_MAX];
    struct bytes room;
    if (!user_room_want(call, user_room_read(argument, at, &room))) {
        return false;
    }
    struct message message = {.room = wire_name_room(user_space(call->user), room, wire)};
    if (json_scan_kind(argument) != JSON_SCAN_OBJECT ||
        json_scan_get(argument, "message", &message.text) != 0 ||
        read_text(call, message.text) != 0) {
        user_refuse(call, "invalid_field", "message must be 1 to 1000 characters");
        return false;
    }
    struct bytes value;
    if (json_scan_get(argument, "type", &value) == 0) {
        if (json_scan_kind(value) != JSON_SCAN_STRING || value.len > TYPE_MAX) {
            user_refuse(call, "invalid_field", "type must be a short string");
            return false;
        }
        message.type = value;
    }
    if (json_scan_get(argument, "nonce", &value) == 0) {
        message.nonce = value;
    }
    *ret_message = message;
    return true;
}

static void write_message(const struct user_call *call, const struct message *message,
    const char *id, struct builder *out)
{
    const struct claims *claims = identity_claims(call->socket->identity);
    builder_printf(out, "{\"id\":\"%.*s\",\"roomId\":", UUID_TEXT_LEN, id);
    json_scan_write_string(out, wire_name_client(message->room));
    builder_str(out, ",\"userId\":");
    json_scan_write_string(out, claims_user(claims));
    builder_str(out, ",\"userName\":");
    json_scan_write_string(out, claims->name_len > 0 ? claims_name(claims) : claims_user(claims));
    builder_str(out, ",\"message\":");
    builder_add(out, message->text);
    builder_str(out, ",\"type\":");
    builder_add(out, message->type.len > 0 ? message->type : BYTES("\"text\""));
    builder_str(out, ",\"timestamp\":\"");
    if (iso_time_write((int64_t)sched_wall(call->user->actor.sched), out) != 0) {
        builder_str(out, "1970-01-01T00:00:00.000Z");
    }
    builder_str(out, "\"}");
}

/* Whether the caller may speak in `room`: a member, and the room's type lets this one speak. */
bool user_room_may_speak(const struct user_call *call, struct bytes room)
{
    const struct actor_config *config = call->socket->shard->config;
    if (!fanout_membership(call->socket->fanout, call->socket, room)) {
        user_refuse(call, "forbidden", "Not in this room");
        return false;
    }
    if (!config->may_send(config->context, call->socket->identity, wire_name_client(room))) {
        user_refuse(call, "forbidden", "Sending is not allowed in this room");
        return false;
    }
    return true;
}

void user_rooms_send(const struct user_call *call)
{
    char wire[WIRE_NAME_MAX];
    struct message message;
    if (!read_message(call, wire, &message) || !user_room_may_speak(call, message.room)) {
        return;
    }
    if (message.nonce.len > 0 && is_repeat(call->user, message.nonce)) {
        user_answer(call, BYTES("{\"ok\":true,\"duplicate\":true}"));
        return;
    }
    uint8_t uuid[16];
    char id[UUID_TEXT_LEN];
    uuid7_make(sched_wall(call->user->actor.sched), SLOT_NONE, uuid);
    uuid_format(uuid, id);
    struct builder text = {0};
    write_message(call, &message, id, &text);
    struct shard *shard = call->socket->shard;
    struct event *event = shard_event(shard, "new_message", builder_bytes(&text), 0);
    if (event == NULL) {
        user_refuse(call, "unavailable", "Out of memory, try again");
        builder_reset(&text);
        return;
    }
    sequencer_send(
        shard, socket_nsp(call->socket), broadcast_new(event, &message.room, 1, NULL, 0));
    builder_clear(&text);
    builder_printf(&text, "{\"ok\":true,\"id\":\"%.*s\"}", UUID_TEXT_LEN, id);
    user_answer(call, builder_bytes(&text));
    builder_reset(&text);
}

/* Relaying. */

/* Whether clients take an event of this name for one of ours: none may be forged. */
static bool is_ours(struct bytes name)
{
    static const char *const names[] = {"batch_update", "error", "new_message", "notification",
        "rate_limited", "room_joined", "room_left", "typing", "unread", "user_joined_room",
        "user_left_room"};
    static const char *const prefixes[] = {"auth:", "hub:", "notification:", "presence:"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (bytes_eq_str(name, names[i])) {
            return true;
        }
    }
    for (size_t i = 0; i < ARRAY_LEN(prefixes); i++) {
        if (bytes_starts(name, bytes_str(prefixes[i]))) {
            return true;
        }
    }
    return false;
}

void user_rooms_relay(const struct user_call *call)
{
    struct bytes argument = user_argument(call->event);
    char at[NAMES_ROOM_MAX];
    char wire[WIRE_NAME_MAX];
    struct bytes room;
    if (is_ours(call->event->name) || json_scan_kind(argument) != JSON_SCAN_OBJECT ||
        user_room_read(argument, at, &room) != 0) {
        user_refuse(call, "bad_request", "Unknown event");
        return;
    }
    room = wire_name_room(user_space(call->user), room, wire);
    if (!user_room_may_speak(call, room)) {
        return;
    }
    struct bytes except = bytes_of(call->socket->sid, SOCKET_SID_LEN);
    struct event *event = event_ref((struct event *)(uintptr_t)call->event);
    sequencer_send(
        call->socket->shard, socket_nsp(call->socket), broadcast_new(event, &room, 1, &except, 1));
    user_answer(call, BYTES("{\"ok\":true}"));
}

/* The end. */

void user_rooms_stop(struct user *user)
{
    if (user->rare == NULL) {
        return;
    }
    while (!list_empty(&user->rare->joining)) {
        mem_free(container_of(list_pop(&user->rare->joining), struct joining, link));
    }
    user_typing_stop(user);
    mem_free(user->rare->nonces);
}
