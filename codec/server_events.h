/* SPDX-License-Identifier: Apache-2.0 */
/*
 * server_events - the events that the hub itself sends to clients: a row of server_events.def and a
 * function each.
 *
 * A function makes the event with one reference. NULL: there is no memory for it. Texts are
 * borrowed for the call; times are ms since the epoch. What is written here is not read again, so
 * it may nest as deep as codec/depth.h has it.
 */
#ifndef CODEC_SERVER_EVENTS_H
#define CODEC_SERVER_EVENTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/base/bytes.h"
#include "codec/base/check.h"
#include "codec/errors.h"
#include "codec/event.h"
#include "codec/notification_item.h"

/* Whether clients take an event of this name for one of the hub: nobody else may send it. */
bool server_events_has(struct bytes name);

/* Whether an event of this name only tells who comes, goes or types: a room does not remember it.
 */
bool server_events_is_passing(struct bytes name);

/* The inbox. */

struct server_ready {
    struct bytes user;
    struct bytes node;
    struct bytes epoch;
    uint64_t seq;
    uint64_t rev;
    uint64_t unread;
    uint64_t unseen;
    uint32_t messages_per_minute;
    uint32_t message_bytes;
    uint32_t rooms;
};

/* `up_to` 0: by ids, UINT64_MAX: every one. */
struct server_state {
    uint64_t rev;
    uint64_t unread;
    uint64_t unseen;
    const struct notification_change *changes; /* whose ids are listed, where up_to is 0 */
    size_t count;
    uint64_t up_to;
    enum notification_state state;
    uint64_t at;
    uint64_t snoozed_until; /* 0: not */
    const struct notification_item *item; /* the row, where a device needs it; NULL: it does not */
    bool updated; /* its content may have changed, too */
};

MUST_CHECK struct event *server_events_ready(const struct server_ready *ready);
MUST_CHECK struct event *server_events_notification(const struct notification_item *item);
MUST_CHECK struct event *server_events_state(const struct server_state *state);
MUST_CHECK struct event *server_events_unread(uint64_t count, uint64_t unseen, uint64_t rev);

/* `preferences` is an object; it is reset. */
MUST_CHECK struct event *server_events_preferences(struct builder *preferences);
MUST_CHECK struct event *server_events_resync(struct bytes epoch, uint64_t rev);

/* The connection. */

MUST_CHECK struct event *server_events_token_expiring(uint64_t left_ms);
MUST_CHECK struct event *server_events_draining(uint64_t reconnect_in_ms);
MUST_CHECK struct event *server_events_closing(unsigned code, struct bytes reason);
MUST_CHECK struct event *server_events_ping(void);

/* `rooms`: names, each with a '\n' behind it. */
MUST_CHECK struct event *server_events_missed(struct bytes rooms, bool inbox);

/* What a client did. */

struct server_error {
    enum error_code code;
    struct bytes message;
    struct bytes field; /* of the argument; empty: no single one is at fault */
    uint64_t retry_ms; /* 0: nothing is said of it */
    struct bytes room; /* that it is about; empty: nothing is said of it */
    struct bytes event; /* that is refused */
};

MUST_CHECK struct event *server_events_error(const struct server_error *error);
/* `room` as in server_error. */
MUST_CHECK struct event *server_events_rate_limited(
    struct bytes event, struct bytes room, uint64_t retry_ms);

/* Rooms, as clients name them. */

struct server_message {
    const uint8_t *id; /* a UUID */
    struct bytes room;
    struct bytes user;
    struct bytes name; /* of the user */
    struct bytes text; /* JSON */
    struct bytes type; /* JSON; empty: "text" */
    uint64_t at;
};

/* What a socket that has joined or left a room is told of it. */
struct server_room {
    struct bytes room;
    struct bytes type;
    struct bytes reason; /* why the hub let it leave; empty: the client asked */
    struct bytes epoch; /* where the room stands; empty: it has no memory, or the socket has left */
    struct bytes offset;
    enum server_room_since {
        SERVER_ROOM_NOT_SINCE, /* it did not say what it has */
        SERVER_ROOM_LOST, /* something that it missed is not known any more */
        SERVER_ROOM_RECOVERED /* it has been sent all that it missed */
    } since;
};

MUST_CHECK struct event *server_events_room_joined(const struct server_room *room);
MUST_CHECK struct event *server_events_room_left(const struct server_room *room);

/* Append what both carry: the answer to a call says the same. */
void server_events_write_room(struct builder *out, const struct server_room *room);

/* `name`: of the user; empty: none. */
MUST_CHECK struct event *server_events_user_joined(
    struct bytes room, struct bytes user, struct bytes name);
MUST_CHECK struct event *server_events_user_left(
    struct bytes room, struct bytes user, struct bytes name);
MUST_CHECK struct event *server_events_message(const struct server_message *message);
MUST_CHECK struct event *server_events_presence(struct bytes user, bool online);
MUST_CHECK struct event *server_events_typing(struct bytes room, struct bytes user, bool typing);

#endif
