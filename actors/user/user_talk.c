/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a client says in rooms: messages, and events of its own that are relayed.
 */
#include <stdio.h>

#include "actors/order/sequencer.h"
#include "actors/user/user_actor.h"
#include "actors/wire_name.h"
#include "codec/base/mem.h"
#include "codec/base/rand.h"
#include "codec/base/status.h"
#include "codec/json_scan.h"
#include "codec/json_write.h"
#include "codec/names.h"
#include "codec/server_events.h"
#include "codec/slot.h"
#include "codec/utf8.h"

enum { NONCES_MAX = 1024, TYPE_MAX = 64, MESSAGE_MAX = 64 };

struct nonce {
    uint64_t hash;
    uint64_t at_ms;
};

/* Messages. */

/* Forget those that are old, and the oldest of too many. */
static void forget_nonces(struct user_busy *busy, uint64_t keep_ms, uint64_t now)
{
    uint32_t old = 0;
    while (old < busy->nonce_count &&
           (busy->nonces[old].at_ms + keep_ms <= now || busy->nonce_count - old >= NONCES_MAX)) {
        old++;
    }
    busy->nonce_count -= old;
    if (old > 0) {
        memmove(busy->nonces, busy->nonces + old, busy->nonce_count * sizeof(*busy->nonces));
    }
}

static int make_room(struct user_busy *busy)
{
    if (busy->nonce_count < busy->nonce_cap) {
        return 0;
    }
    uint32_t cap = busy->nonce_cap ? busy->nonce_cap * 2 : 8;
    struct nonce *nonces = mem_try_realloc(busy->nonces, cap * sizeof(*nonces));
    if (nonces == NULL) {
        return STATUS_NOMEM;
    }
    busy->nonces = nonces;
    busy->nonce_cap = cap;
    return 0;
}

/*
 * Whether a nonce was not used within nonce_ms, and there is room to remember it: 0; else
 * STATUS_EXISTS, STATUS_NOMEM.
 */
static int check_nonce(struct user *user, uint64_t hash)
{
    struct user_busy *busy = user_busy(user);
    forget_nonces(busy, shard_of(&user->actor)->config->nonce_ms, sched_now(user->actor.sched));
    for (uint32_t i = 0; i < busy->nonce_count; i++) {
        if (busy->nonces[i].hash == hash) {
            return STATUS_EXISTS;
        }
    }
    return make_room(busy);
}

/* What it belongs to was sent: what was not may be sent again. */
static void remember_nonce(struct user *user, uint64_t hash)
{
    struct user_busy *busy = user_busy(user);
    busy->nonces[busy->nonce_count++] =
        (struct nonce){.hash = hash, .at_ms = sched_now(user->actor.sched)};
}

struct message {
    struct bytes room; /* wire name */
    struct bytes text; /* JSON string, as it came */
    struct bytes type; /* JSON string, or empty */
    struct bytes nonce; /* JSON value, or empty */
};

static int read_text(const struct client_call *call, struct bytes value)
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

/* The text as it may be said; refuses the call and returns false when it may not. */
static bool check_text(const struct client_call *call, const struct json_scan_wanted *text)
{
    int status = text->status == 0 ? read_text(call, text->value) : text->status;
    if (status == STATUS_NOMEM) {
        call_refuse(call, ERROR_UNAVAILABLE, "Out of memory, try again");
    } else if (status != 0) {
        char allowed[MESSAGE_MAX];
        snprintf(allowed, sizeof(allowed), "A text of 1 to %u characters",
            call->socket->shard->config->message_chars);
        call_refuse_field(call, "message", allowed);
    }
    return status == 0;
}

/* Read {roomId, message, type?, nonce?}; the room's wire name goes to `wire`. Refuses what is
 * wrong. */
static bool read_message(const struct client_call *call, char *wire, struct message *ret_message)
{
    enum { ROOM, TEXT, TYPE, NONCE };
    struct json_scan_wanted wanted[] = {[ROOM] = {.key = "roomId"},
        [TEXT] = {.key = "message"},
        [TYPE] = {.key = "type"},
        [NONCE] = {.key = "nonce"}};
    char at[NAMES_ROOM_MAX];
    struct bytes room;
    struct bytes argument = call_argument(call->event);
    json_scan_get_all(argument, wanted, ARRAY_LEN(wanted));
    if (json_scan_kind(argument) == JSON_SCAN_STRING) { /* the room, and no message */
        wanted[ROOM].status = 0;
        wanted[ROOM].value = argument;
    }
    int status = wanted[ROOM].status;
    status = status != 0 ? status : user_room_check(wanted[ROOM].value, at, &room);
    if (!user_room_want(call, status, "roomId") || !check_text(call, &wanted[TEXT])) {
        return false;
    }
    const struct bytes type = wanted[TYPE].value;
    if (wanted[TYPE].status == 0 &&
        (json_scan_kind(type) != JSON_SCAN_STRING || type.len > TYPE_MAX)) {
        call_refuse_field(call, "type", "A text of at most 62 bytes");
        return false;
    }
    *ret_message = (struct message){
        .room = wire_name_room(owner_space(call->socket->user), room, wire),
        .text = wanted[TEXT].value,
        .type = wanted[TYPE].status == 0 ? type : bytes_of(NULL, 0),
        .nonce = wanted[NONCE].status == 0 ? wanted[NONCE].value : bytes_of(NULL, 0),
    };
    return true;
}

static struct event *make_message(
    const struct client_call *call, const struct message *message, const uint8_t id[16])
{
    const struct claims *claims = identity_claims(call->socket->identity);
    return server_events_message(&(struct server_message){
        .id = id,
        .room = wire_name_client(message->room),
        .user = claims_user(claims),
        .name = claims->name_len > 0 ? claims_name(claims) : claims_user(claims),
        .text = message->text,
        .type = message->type,
        .at = sched_wall(call->socket->shard->sched),
    });
}

static void answer_sent(const struct client_call *call, const uint8_t id[16])
{
    struct builder text = {0};
    json_write_open(&text, '{');
    json_write_bool(&text, "ok", true);
    json_write_uuid(&text, "id", id);
    json_write_close(&text, '}');
    call_answer(call, builder_bytes(&text));
    builder_reset(&text);
}

static int send_message(
    const struct client_call *call, const struct message *message, const uint8_t id[16])
{
    struct event *event = make_message(call, message, id);
    return sequencer_send(call->socket->shard, socket_nsp(call->socket),
        broadcast_new(event, &message->room, 1, NULL, 0));
}

void user_talk_send(const struct client_call *call)
{
    char wire[WIRE_NAME_MAX];
    struct message message;
    if (!read_message(call, wire, &message) ||
        !user_room_may_speak(call, message.room, user_talk_send)) {
        return;
    }
    struct user *user = user_of(call->socket);
    uint64_t hash = hash_bytes(message.nonce); /* of its JSON text */
    int status = message.nonce.len > 0 ? check_nonce(user, hash) : 0;
    if (status == STATUS_EXISTS) {
        call_answer(call, BYTES("{\"ok\":true,\"duplicate\":true}"));
        return;
    }
    uint8_t id[16];
    uuid7_make(sched_wall(call->socket->shard->sched), SLOT_NONE, id);
    status = status != 0 ? status : send_message(call, &message, id);
    if (status != 0) {
        call_refuse(call, ERROR_UNAVAILABLE, "Out of memory, try again");
        return;
    }
    if (message.nonce.len > 0) {
        remember_nonce(user, hash);
    }
    answer_sent(call, id);
}

/* Relaying. */

void user_talk_relay(const struct client_call *call)
{
    struct bytes argument = call_argument(call->event);
    char at[NAMES_ROOM_MAX];
    char wire[WIRE_NAME_MAX];
    struct bytes room;
    if (server_events_has(call->event->name) || json_scan_kind(argument) != JSON_SCAN_OBJECT ||
        json_scan_get(argument, "roomId", &room) != 0) {
        call_refuse(call, ERROR_BAD_REQUEST, "Unknown event");
        return;
    }
    if (!user_room_want(call, user_room_read(argument, at, &room), "roomId")) {
        return;
    }
    room = wire_name_room(owner_space(call->socket->user), room, wire);
    if (!user_room_may_speak(call, room, user_talk_relay)) {
        return;
    }
    struct bytes except = bytes_of(call->socket->sid, SOCKET_SID_LEN);
    struct event *event = event_ref((struct event *)(uintptr_t)call->event);
    if (sequencer_send(call->socket->shard, socket_nsp(call->socket),
            broadcast_new(event, &room, 1, &except, 1)) != 0) {
        call_refuse(call, ERROR_UNAVAILABLE, "Out of memory, try again");
        return;
    }
    call_answer(call, BYTES("{\"ok\":true}"));
}

void user_talk_stop(struct user *user)
{
    mem_free(user->busy->nonces);
}
