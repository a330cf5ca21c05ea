/* SPDX-License-Identifier: Apache-2.0 */
/*
 * server_events - each function writes the array `["name",{…}]` of its row, which is the event.
 */
#include "codec/server_events.h"

#include <string.h>

#include "codec/json_scan.h"
#include "codec/json_write.h"
#include "codec/notification_json.h"

enum row {
#define X(symbol, name, carries, text) symbol,
#define SERVER_FAMILY(prefix)
#include "codec/server_events.def"
#undef X
#undef SERVER_FAMILY
};

static const struct bytes names[] = {
#define X(symbol, name, carries, text) [symbol] = {name, sizeof(name) - 1},
#define SERVER_FAMILY(prefix)
#include "codec/server_events.def"
#undef X
#undef SERVER_FAMILY
};

static const char *const families[] = {
#define X(symbol, name, carries, text)
#define SERVER_FAMILY(prefix) prefix,
#include "codec/server_events.def"
#undef X
#undef SERVER_FAMILY
};

bool server_events_has(struct bytes name)
{
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (bytes_eq(name, names[i])) {
            return true;
        }
    }
    for (size_t i = 0; i < ARRAY_LEN(families); i++) {
        if (bytes_starts(name, bytes_str(families[i]))) {
            return true;
        }
    }
    return false;
}

bool server_events_is_passing(struct bytes name)
{
    static const enum row passing[] = {USER_JOINED_ROOM, USER_LEFT_ROOM, TYPING};
    for (size_t i = 0; i < ARRAY_LEN(passing); i++) {
        if (bytes_eq(name, names[passing[i]])) {
            return true;
        }
    }
    return false;
}

/* Writing one. */

/* Write `["name"`. */
static void begin(struct builder *out, enum row row)
{
    builder_add(out, BYTES("[\""));
    builder_add(out, names[row]);
    builder_byte(out, '"');
}

/* The same, and the object that carries something is open. */
static void begin_object(struct builder *out, enum row row)
{
    begin(out, row);
    builder_add(out, BYTES(",{"));
}

/* Make the event; resets the builder. */
static struct event *end(struct builder *out, enum row row, unsigned flags)
{
    struct event *event = NULL;
    builder_byte(out, ']');
    if (builder_failed(out) ||
        event_from_own(builder_bytes(out), names[row].len, flags, &event) != 0) {
        event = NULL;
    }
    builder_reset(out);
    return event;
}

static struct event *end_object(struct builder *out, enum row row, unsigned flags)
{
    builder_byte(out, '}');
    return end(out, row, flags);
}

/* The inbox. */

struct event *server_events_ready(const struct server_ready *ready)
{
    struct builder out = {0};
    begin_object(&out, HUB_READY);
    json_write_text(&out, "userId", ready->user);
    json_write_text(&out, "node", ready->node);
    json_write_text(&out, "epoch", ready->epoch);
    json_write_u64(&out, "seq", ready->seq);
    json_write_u64(&out, "rev", ready->rev);
    json_write_u64(&out, "unread", ready->unread);
    json_write_u64(&out, "unseen", ready->unseen);
    json_write_key(&out, "limits");
    json_write_open(&out, '{');
    json_write_u64(&out, "messagesPerMinute", ready->messages_per_minute);
    json_write_u64(&out, "messageBytes", ready->message_bytes);
    json_write_u64(&out, "rooms", ready->rooms);
    json_write_close(&out, '}');
    return end_object(&out, HUB_READY, 0);
}

struct event *server_events_notification(const struct notification_item *item)
{
    struct builder out = {0};
    begin(&out, NOTIFICATION);
    builder_byte(&out, ',');
    notification_json_item(item, &out);
    return end(&out, NOTIFICATION, 0);
}

struct event *server_events_preferences(struct builder *preferences)
{
    struct builder out = {0};
    begin(&out, PREFERENCES_CHANGED);
    builder_byte(&out, ',');
    builder_add(&out, builder_bytes(preferences));
    if (builder_failed(preferences)) {
        builder_reset(&out);
        builder_reset(preferences);
        return NULL;
    }
    builder_reset(preferences);
    return end(&out, PREFERENCES_CHANGED, 0);
}

struct event *server_events_state(const struct server_state *state)
{
    /* "Every one" is a number that JavaScript keeps exactly. */
    const uint64_t highest = (UINT64_C(1) << 53) - 1;
    struct builder out = {0};
    begin_object(&out, NOTIFICATION_STATE);
    json_write_u64(&out, "rev", state->rev);
    json_write_u64(&out, "unread", state->unread);
    json_write_u64(&out, "unseen", state->unseen);
    if (state->up_to > 0) {
        json_write_u64(&out, "upTo", state->up_to < highest ? state->up_to : highest);
    } else {
        json_write_key(&out, "ids");
        json_write_open(&out, '[');
        for (size_t i = 0; i < state->count; i++) {
            json_write_uuid_item(&out, state->changes[i].id);
        }
        json_write_close(&out, ']');
    }
    json_write_text(&out, "state", notification_state_name(state->state));
    json_write_time(&out, "at", state->at);
    if (state->snoozed_until > 0) {
        json_write_time(&out, "snoozedUntil", state->snoozed_until);
    }
    if (state->item != NULL) {
        json_write_key(&out, state->updated ? "updated" : "items");
        json_write_open(&out, '[');
        notification_json_item(state->item, &out);
        json_write_close(&out, ']');
    }
    return end_object(&out, NOTIFICATION_STATE, 0);
}

struct event *server_events_unread(uint64_t count, uint64_t unseen, uint64_t rev)
{
    struct builder out = {0};
    begin_object(&out, UNREAD);
    json_write_u64(&out, "count", count);
    json_write_u64(&out, "unseen", unseen);
    json_write_u64(&out, "rev", rev);
    return end_object(&out, UNREAD, 0);
}

struct event *server_events_resync(struct bytes epoch, uint64_t rev)
{
    struct builder out = {0};
    begin_object(&out, HUB_RESYNC);
    json_write_text(&out, "epoch", epoch);
    json_write_u64(&out, "rev", rev);
    return end_object(&out, HUB_RESYNC, 0);
}

/* The connection. */

struct event *server_events_token_expiring(uint64_t left_ms)
{
    struct builder out = {0};
    begin_object(&out, HUB_TOKEN_EXPIRING);
    json_write_u64(&out, "in", left_ms);
    return end_object(&out, HUB_TOKEN_EXPIRING, 0);
}

struct event *server_events_draining(uint64_t reconnect_in_ms)
{
    struct builder out = {0};
    begin_object(&out, HUB_DRAINING);
    json_write_u64(&out, "reconnectIn", reconnect_in_ms);
    return end_object(&out, HUB_DRAINING, 0);
}

struct event *server_events_missed(struct bytes rooms, bool inbox)
{
    struct builder out = {0};
    begin_object(&out, HUB_MISSED);
    json_write_key(&out, "rooms");
    json_write_open(&out, '[');
    for (const char *end; rooms.len > 0; rooms = bytes_skip(rooms, (size_t)(end - rooms.at) + 1)) {
        end = memchr(rooms.at, '\n', rooms.len);
        CHECK(end != NULL);
        json_write_next(&out);
        json_scan_write_string(&out, bytes_of(rooms.at, (size_t)(end - rooms.at)));
    }
    json_write_close(&out, ']');
    json_write_bool(&out, "inbox", inbox);
    return end_object(&out, HUB_MISSED, 0);
}

struct event *server_events_closing(unsigned code, struct bytes reason)
{
    struct builder out = {0};
    begin_object(&out, HUB_CLOSING);
    json_write_u64(&out, "code", code);
    json_write_text(&out, "reason", reason);
    return end_object(&out, HUB_CLOSING, 0);
}

struct event *server_events_ping(void)
{
    struct builder out = {0};
    begin(&out, HUB_PING);
    return end(&out, HUB_PING, 0);
}

/* What a client did. */

struct event *server_events_error(const struct server_error *error)
{
    struct builder out = {0};
    begin_object(&out, ERROR);
    json_write_text(&out, "code", bytes_str(errors_text(error->code)));
    json_write_text(&out, "message", error->message);
    if (error->field.len > 0) {
        json_write_text(&out, "field", error->field);
    }
    if (error->room.len > 0) {
        json_write_text(&out, "roomId", error->room);
    }
    if (error->retry_ms > 0) {
        json_write_u64(&out, "retryAfter", error->retry_ms);
    }
    json_write_text(&out, "event", error->event);
    return end_object(&out, ERROR, 0);
}

struct event *server_events_rate_limited(struct bytes event, struct bytes room, uint64_t retry_ms)
{
    struct builder out = {0};
    begin_object(&out, RATE_LIMITED);
    json_write_text(&out, "event", event);
    if (room.len > 0) {
        json_write_text(&out, "roomId", room);
    }
    json_write_u64(&out, "retryAfter", retry_ms);
    return end_object(&out, RATE_LIMITED, 0);
}

/* Rooms. */

void server_events_write_room(struct builder *out, const struct server_room *room)
{
    json_write_text(out, "roomId", room->room);
    json_write_text(out, "roomType", room->type);
    if (room->reason.len > 0) {
        json_write_text(out, "reason", room->reason);
    }
    if (room->offset.len > 0) {
        json_write_text(out, "epoch", room->epoch);
        json_write_text(out, "offset", room->offset);
    }
    if (room->since != SERVER_ROOM_NOT_SINCE) {
        json_write_bool(out, "recovered", room->since == SERVER_ROOM_RECOVERED);
    }
}

static struct event *make_own_room(enum row row, const struct server_room *room)
{
    struct builder out = {0};
    begin_object(&out, row);
    server_events_write_room(&out, room);
    return end_object(&out, row, 0);
}

struct event *server_events_room_joined(const struct server_room *room)
{
    return make_own_room(ROOM_JOINED, room);
}

struct event *server_events_room_left(const struct server_room *room)
{
    return make_own_room(ROOM_LEFT, room);
}

static struct event *make_company(
    enum row row, struct bytes room, struct bytes user, struct bytes name)
{
    struct builder out = {0};
    begin_object(&out, row);
    json_write_text(&out, "roomId", room);
    json_write_text(&out, "userId", user);
    if (name.len > 0) {
        json_write_text(&out, "userName", name);
    } else {
        json_write_json(&out, "userName", name);
    }
    return end_object(&out, row, 0);
}

struct event *server_events_user_joined(struct bytes room, struct bytes user, struct bytes name)
{
    return make_company(USER_JOINED_ROOM, room, user, name);
}

struct event *server_events_user_left(struct bytes room, struct bytes user, struct bytes name)
{
    return make_company(USER_LEFT_ROOM, room, user, name);
}

struct event *server_events_message(const struct server_message *message)
{
    struct builder out = {0};
    begin_object(&out, NEW_MESSAGE);
    json_write_uuid(&out, "id", message->id);
    json_write_text(&out, "roomId", message->room);
    json_write_text(&out, "userId", message->user);
    json_write_text(&out, "userName", message->name);
    json_write_json(&out, "message", message->text);
    json_write_json(&out, "type", message->type.len > 0 ? message->type : BYTES("\"text\""));
    json_write_time(&out, "timestamp", message->at);
    return end_object(&out, NEW_MESSAGE, 0);
}

struct event *server_events_typing(struct bytes room, struct bytes user, bool typing)
{
    struct builder out = {0};
    begin_object(&out, TYPING);
    json_write_text(&out, "roomId", room);
    json_write_text(&out, "userId", user);
    json_write_bool(&out, "typing", typing);
    return end_object(&out, TYPING, EVENT_VOLATILE);
}

struct event *server_events_presence(struct bytes user, bool online)
{
    struct builder out = {0};
    begin_object(&out, PRESENCE);
    json_write_text(&out, "userId", user);
    json_write_bool(&out, "online", online);
    json_write_json(&out, "lastSeen", bytes_of(NULL, 0));
    return end_object(&out, PRESENCE, 0);
}
