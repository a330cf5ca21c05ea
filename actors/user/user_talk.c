/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a client says in rooms: messages, and events of its own that are relayed.
 */
#include <stdio.h>

#include "actors/deliver/broadcast.h"
#include "actors/history/room_history.h"
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

enum { NONCES_MAX = 1024, TYPE_MAX = 64, MESSAGE_MAX = 64, RETRY_MS = 1000 };

struct nonce {
    uint64_t hash;
    uint64_t at_ms;
    bool pending; /* its message is being kept, and may be refused yet */
};

/* A message that is told when it is kept, or what is told behind one. */
struct saying {
    struct history_call call; /* first */
    struct shard *shard;
    struct broadcast *broadcast;
    struct actor_ref user;
    uint32_t socket_id;
    bool has_id;
    uint64_t id; /* of the answer */
    bool has_nonce;
    uint64_t nonce;
    bool relayed; /* an event of the client's own */
    uint8_t message[16]; /* its id, if it is none */
};

bool user_room_may_speak(const struct client_call *call, struct bytes room,
    void (*again)(const struct client_call *call))
{
    const struct actor_config *config = call->socket->shard->config;
    if (!user_room_is_member(call, room, again)) {
        return false;
    }
    if (!config->may_send(config->context, call->socket->identity, wire_name_client(room))) {
        call_refuse(call, ERROR_FORBIDDEN, "Sending is not allowed in this room");
        return false;
    }
    return true;
}

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
 * STATUS_EXISTS, STATUS_AGAIN (it is not known yet whether it was used), STATUS_NOMEM.
 */
static int check_nonce(struct user *user, uint64_t hash)
{
    struct user_busy *busy = user_busy(user);
    forget_nonces(busy, shard_of(&user->actor)->config->nonce_ms, sched_now(user->actor.sched));
    for (uint32_t i = 0; i < busy->nonce_count; i++) {
        if (busy->nonces[i].hash == hash) {
            return busy->nonces[i].pending ? STATUS_AGAIN : STATUS_EXISTS;
        }
    }
    return make_room(busy);
}

/* What it belongs to was sent, or will be (`pending`): what was not may be sent again. */
static void remember_nonce(struct user *user, uint64_t hash, bool pending)
{
    struct user_busy *busy = user_busy(user);
    busy->nonces[busy->nonce_count++] =
        (struct nonce){.hash = hash, .at_ms = sched_now(user->actor.sched), .pending = pending};
}

/* It is known now whether it was used; it may have been forgotten. */
static void settle_nonce(struct user *user, uint64_t hash, bool used)
{
    struct user_busy *busy = user_busy(user);
    for (uint32_t i = 0; i < busy->nonce_count; i++) {
        struct nonce *nonce = &busy->nonces[i];
        if (nonce->hash == hash && nonce->pending) {
            nonce->pending = false;
            if (!used) {
                busy->nonce_count--;
                memmove(nonce, nonce + 1, (busy->nonce_count - i) * sizeof(*nonce));
            }
            return;
        }
    }
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

static struct bytes write_sent(const uint8_t id[16], struct builder *text)
{
    json_write_open(text, '{');
    json_write_bool(text, "ok", true);
    json_write_uuid(text, "id", id);
    json_write_close(text, '}');
    return builder_bytes(text);
}

static void answer_sent(const struct client_call *call, const uint8_t id[16])
{
    struct builder text = {0};
    call_answer(call, write_sent(id, &text));
    builder_reset(&text);
}

static struct broadcast *make_broadcast(
    const struct client_call *call, const struct message *message, const uint8_t id[16])
{
    return broadcast_new(make_message(call, message, id), &message->room, 1, NULL, 0);
}

static int send_message(
    const struct client_call *call, const struct message *message, const uint8_t id[16])
{
    return sequencer_send(
        call->socket->shard, socket_nsp(call->socket), make_broadcast(call, message, id));
}

static void refuse_saying(const struct saying *saying, struct socket *socket, int status)
{
    const struct call_refusal refusal = {
        .code = status == STATUS_UNKNOWN ? ERROR_UNKNOWN : ERROR_UNAVAILABLE,
        .message = status == STATUS_UNKNOWN
                       ? "The store has not said whether it keeps the message; it was not told"
                       : "The message cannot be kept now, try again",
        .retry_ms = RETRY_MS,
        .room = wire_name_client(broadcast_rooms(saying->broadcast)[0])};
    call_refuse_event(socket, saying->has_id ? &saying->id : NULL, BYTES("send_message"), &refusal);
}

/* It is kept, or will not be: who said it may have gone, and it is told all the same. */
static void on_kept(struct history_call *call, int status)
{
    struct saying *saying = container_of(call, struct saying, call);
    struct shard *shard = saying->shard;
    struct user *user = (struct user *)(void *)actor_get(shard->sched, saying->user);
    struct socket *socket = user != NULL ? owner_socket(&user->owner, saying->socket_id) : NULL;
    if (status == 0) {
        status = sequencer_send(shard, BYTES("/"), broadcast_ref(saying->broadcast));
    }
    if (user != NULL && saying->has_nonce) {
        settle_nonce(user, saying->nonce, status == 0);
    }
    if (socket != NULL && status != 0) {
        refuse_saying(saying, socket, status);
    } else if (socket != NULL && saying->has_id) {
        struct builder text = {0};
        socket_ack(socket, saying->id,
            saying->relayed ? BYTES("{\"ok\":true}") : write_sent(saying->message, &text));
        builder_reset(&text);
    }
    broadcast_unref(saying->broadcast);
    mem_free(saying);
}

/* Takes the reference of `broadcast`, which may be NULL, also without memory: NULL. */
static struct saying *make_saying(const struct client_call *call, struct broadcast *broadcast)
{
    struct saying *saying = broadcast != NULL ? mem_try_calloc(1, sizeof(*saying)) : NULL;
    if (saying == NULL) {
        broadcast_unref(broadcast);
        return NULL;
    }
    saying->shard = call->socket->shard;
    saying->broadcast = broadcast;
    saying->user = user_of(call->socket)->owner.actor.self;
    saying->socket_id = call->socket->id;
    saying->has_id = call->has_id;
    saying->id = call->id;
    return saying;
}

/* What it holds is told, and answered, when it is kept, or all before it. */
static void begin_saying(const struct client_call *call, struct saying *saying)
{
    struct bytes user = claims_user(identity_claims(call->socket->identity));
    history_call_begin(&saying->call, on_kept);
    if (saying->relayed) {
        history_call_follow(&saying->call, saying->shard);
    } else {
        history_call_add(&saying->call, saying->shard, saying->broadcast, user, saying->message);
    }
    int status = history_call_end(&saying->call);
    if (status != STATUS_AGAIN) {
        on_kept(&saying->call, status);
    }
}

/* STATUS_NOMEM. */
static int keep_message(const struct client_call *call, const struct message *message,
    const uint8_t id[16], uint64_t nonce)
{
    struct saying *saying = make_saying(call, make_broadcast(call, message, id));
    if (saying == NULL) {
        return STATUS_NOMEM;
    }
    memcpy(saying->message, id, sizeof(saying->message));
    saying->has_nonce = message->nonce.len > 0;
    saying->nonce = nonce;
    if (saying->has_nonce) {
        remember_nonce(user_of(call->socket), nonce, true);
    }
    begin_saying(call, saying);
    return 0;
}

/* Whether what is said there is kept: rooms of "/" alone have a history. */
static bool is_kept(const struct socket *socket, struct bytes room)
{
    return bytes_eq(socket_nsp(socket), BYTES("/")) && room_history_keeps(socket->shard, room);
}

static void say(
    const struct client_call *call, const struct message *message, uint64_t hash, bool kept)
{
    uint8_t id[16];
    uint32_t slot = SLOT_NONE;
    if (kept) {
        slot = slot_of(room_history_space(message->room), wire_name_client(message->room));
    }
    uuid7_make(sched_wall(call->socket->shard->sched), slot, id);
    int status = kept ? keep_message(call, message, id, hash) : send_message(call, message, id);
    if (status != 0) {
        call_refuse(call, ERROR_UNAVAILABLE, "Out of memory, try again");
        return;
    }
    if (kept) {
        return; /* answered when it is known */
    }
    if (message->nonce.len > 0) {
        remember_nonce(user_of(call->socket), hash, false);
    }
    answer_sent(call, id);
}

void user_talk_send(const struct client_call *call)
{
    char wire[WIRE_NAME_MAX];
    struct message message;
    if (!read_message(call, wire, &message) ||
        !user_room_may_speak(call, message.room, user_talk_send)) {
        return;
    }
    uint64_t hash = hash_bytes(message.nonce); /* of its JSON text */
    int status = message.nonce.len > 0 ? check_nonce(user_of(call->socket), hash) : 0;
    if (status == STATUS_EXISTS) {
        call_answer(call, BYTES("{\"ok\":true,\"duplicate\":true}"));
    } else if (status == STATUS_AGAIN) {
        call_refuse_as(call, &(struct call_refusal){.code = ERROR_UNAVAILABLE,
                                 .message = "The same message is being kept, try again",
                                 .retry_ms = RETRY_MS});
    } else if (status != 0) {
        call_refuse(call, ERROR_UNAVAILABLE, "Out of memory, try again");
    } else {
        say(call, &message, hash, is_kept(call->socket, message.room));
    }
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
    struct broadcast *broadcast = broadcast_new(event, &room, 1, &except, 1);
    bool behind = is_kept(call->socket, room); /* what is kept before it */
    struct saying *saying = behind ? make_saying(call, broadcast) : NULL;
    if (saying != NULL) {
        saying->relayed = true;
        begin_saying(call, saying);
    } else if (behind ||
               sequencer_send(call->socket->shard, socket_nsp(call->socket), broadcast) != 0) {
        call_refuse(call, ERROR_UNAVAILABLE, "Out of memory, try again");
    } else {
        call_answer(call, BYTES("{\"ok\":true}"));
    }
}

void user_talk_stop(struct user *user)
{
    mem_free(user->busy->nonces);
}
