/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stream_app - what Peal's application gives to clients that only listen.
 *
 * A place is "1;EPOCH;REV", where the inbox stands in which store, or "1;;", where that is not
 * asked for; none is told before it is known, and all rooms have answered. Where "/" recovers
 * sockets it goes on with ";PID;OFFSET;ROOMS": the socket, how far it was told, and a sum of the
 * rooms that were asked for, since only one with the same goes on. PID is empty where sockets are
 * not recovered but rooms have a memory, and all of them were joined: then each is joined behind
 * OFFSET, and the sum is of the store, too. It comes back from whoever likes to make one up, so it
 * gives no right.
 */
#include "hub/node/stream_app.h"

#include <stdio.h>
#include <string.h>

#include "actors/deliver/call.h"
#include "actors/deliver/fanout.h"
#include "actors/inbox/feed.h"
#include "actors/recover/recovery.h"
#include "actors/recover/room_replay.h"
#include "actors/shard.h"
#include "actors/user/user.h"
#include "actors/wire_name.h"
#include "codec/base/map.h"
#include "codec/json_scan.h"
#include "codec/json_write.h"
#include "codec/names.h"
#include "codec/server_events.h"

#define PLACE_FORM "1;"

enum { PID_MAX = 64, OFFSET_MAX = 128 }; /* as of other clients: theirs are shorter */

/* --- places -------------------------------------------------------------------------------- */

struct place {
    bool has_inbox; /* it says where the inbox stood: */
    struct bytes epoch;
    uint64_t rev;
    struct bytes pid; /* empty: it names no socket */
    struct bytes offset;
    struct bytes rooms;
};

/* Take what stands before the next semicolon. */
static struct bytes next_part(struct bytes *text)
{
    const char *end = text->len > 0 ? memchr(text->at, ';', text->len) : NULL;
    size_t len = end != NULL ? (size_t)(end - text->at) : text->len;
    struct bytes part = bytes_of(text->at, len);
    *text = bytes_skip(*text, end != NULL ? len + 1 : len);
    return part;
}

/* Read what is a place; nothing of what is none. */
static struct place read_place(struct bytes text)
{
    struct place place = {0};
    struct bytes form = BYTES(PLACE_FORM);
    if (!bytes_starts(text, form)) {
        return place;
    }
    text = bytes_skip(text, form.len);
    place.epoch = next_part(&text);
    struct bytes rev = next_part(&text);
    place.has_inbox = place.epoch.len > 0 && json_scan_u64(rev, &place.rev) == 0;
    place.pid = next_part(&text);
    place.offset = next_part(&text);
    place.rooms = next_part(&text);
    return place;
}

enum { SUM_LEN = 16 };

/* The same on every node: any of them may be the one that reads it. `epoch`: NULL, or a text. */
static struct bytes sum_rooms(struct bytes rooms, const char *epoch, char at[SUM_LEN + 1])
{
    uint64_t sum = hash_unseeded(rooms);
    if (epoch != NULL) {
        sum = sum * 31 + hash_unseeded(bytes_str(epoch));
    }
    snprintf(at, SUM_LEN + 1, "%016llx", (unsigned long long)sum);
    return bytes_of(at, SUM_LEN);
}

void stream_app_claim(const struct app_wishes *wishes, struct recovery_claim *claim)
{
    char at[SUM_LEN + 1];
    const struct place place = read_place(wishes->place);
    bool fits = place.pid.len <= PID_MAX && place.offset.len <= OFFSET_MAX;
    if (fits && bytes_eq(place.rooms, sum_rooms(wishes->rooms, NULL, at))) {
        claim->pid = place.pid;
        claim->offset = place.offset;
    }
    claim->one_way = true;
}

/* Take the next of names that have a '\n' behind each. */
static bool next_name(struct bytes *names, struct bytes *ret_name)
{
    const char *end = names->len > 0 ? memchr(names->at, '\n', names->len) : NULL;
    if (end == NULL) {
        return false;
    }
    *ret_name = bytes_of(names->at, (size_t)(end - names->at));
    *names = bytes_skip(*names, ret_name->len + 1);
    return true;
}

static struct bytes wire_of(const struct socket *socket, struct bytes room, char at[WIRE_NAME_MAX])
{
    return wire_name_room(identity_space(socket->identity), room, at);
}

/* Whether `socket` is in all rooms that were asked for; of one that it lacks no place is true. */
static bool has_rooms(const struct socket *socket, struct bytes rooms)
{
    char at[WIRE_NAME_MAX];
    for (struct bytes room; next_name(&rooms, &room);) {
        if (names_check_room(room) != 0 || socket->fanout == NULL ||
            fanout_membership(socket->fanout, socket, wire_of(socket, room, at)) == NULL) {
            return false;
        }
    }
    return true;
}

/*
 * What a later socket goes on with, or one that joins the same rooms; nothing where they do not go
 * on. False: it is not known, since `socket` is closing.
 */
static bool write_socket(
    struct socket *socket, const struct app_wishes *wishes, struct builder *out)
{
    char at[SUM_LEN + 1];
    struct bytes pid = socket_pid(socket);
    struct builder offset = {0};
    socket_place(socket, &offset);
    bool known = pid.len == 0 || builder_bytes(&offset).len > 0;
    bool goes_on = pid.len > 0 || (wishes->rooms.len > 0 && has_rooms(socket, wishes->rooms));
    if (goes_on && builder_bytes(&offset).len > 0) {
        builder_byte(out, ';');
        builder_add(out, pid);
        builder_byte(out, ';');
        builder_add(out, builder_bytes(&offset));
        builder_byte(out, ';');
        const char *epoch = pid.len > 0 ? NULL : socket->shard->config->epoch;
        builder_add(out, sum_rooms(wishes->rooms, epoch, at));
    }
    if (builder_failed(&offset)) {
        known = false;
    }
    builder_reset(&offset);
    return known;
}

void stream_app_place(
    void *context, struct socket *socket, const struct app_wishes *wishes, struct builder *out)
{
    uint64_t rev;
    (void)context;
    if (socket->joins > 0) {
        return; /* what it has of a room that has not answered is not known */
    }
    if (!wishes->inbox) {
        builder_str(out, PLACE_FORM ";");
    } else if (feed_place(socket, &rev)) {
        builder_printf(
            out, PLACE_FORM "%s;%llu", socket->shard->config->epoch, (unsigned long long)rev);
    } else {
        return; /* it keeps the one that it may have come with */
    }
    if (!write_socket(socket, wishes, out)) {
        builder_clear(out);
    }
}

/* --- what is asked for --------------------------------------------------------------------- */

/* As a client of /ws asks for it; `since`: with a place that it says it has reached. */
static void join(struct socket *socket, struct bytes room, const struct place *place, bool since)
{
    struct builder call = {0};
    builder_str(&call, "[\"join_room\",{\"roomId\":");
    json_scan_write_string(&call, room);
    if (since) {
        builder_str(&call, ",\"since\":{\"epoch\":");
        json_scan_write_string(&call, bytes_str(socket->shard->config->epoch));
        builder_str(&call, ",\"offset\":");
        json_scan_write_string(&call, place->offset);
        builder_byte(&call, '}');
    }
    builder_str(&call, "}]");
    if (builder_failed(&call)) {
        socket_missed(socket);
    } else {
        user_event(socket, builder_bytes(&call), NULL, NULL, 0);
    }
    builder_reset(&call);
}

/* Whether the place says how far the client has come in the rooms that it asks for. */
static bool names_rooms(
    const struct socket *socket, const struct place *place, const struct app_wishes *wishes)
{
    char at[SUM_LEN + 1];
    const char *epoch = socket->shard->config->epoch;
    return place->pid.len == 0 && place->offset.len > 0 && place->offset.len <= OFFSET_MAX &&
           bytes_eq(place->rooms, sum_rooms(wishes->rooms, epoch, at));
}

/* Those of the rooms of which nothing is remembered; with `since` joining says it of the others. */
static void write_forgetful(
    const struct socket *socket, struct bytes rooms, bool since, struct builder *out)
{
    char at[WIRE_NAME_MAX];
    char offset_at[REPLAY_OFFSET_MAX];
    for (struct bytes room; next_name(&rooms, &room);) {
        bool told =
            since && names_check_room(room) == 0 &&
            room_replay_position(socket->fanout, wire_of(socket, room, at), offset_at).len > 0;
        if (!told) {
            builder_add(out, room);
            builder_byte(out, '\n');
        }
    }
}

/* Go on with the inbox where the client left it. */
static void resume(struct socket *socket, const struct place *place)
{
    bool ours = bytes_eq_str(place->epoch, socket->shard->config->epoch);
    feed_resume(socket, ours && place->rev < FEED_NOWHERE ? place->rev : FEED_NOWHERE);
}

void stream_app_listen(void *context, struct socket *socket, const struct app_wishes *wishes)
{
    const struct place place = read_place(wishes->place);
    (void)context;
    bool goes_on = place.pid.len > 0 && bytes_eq(place.pid, socket_pid(socket));
    bool lacks_inbox = wishes->inbox && !place.has_inbox;
    bool since = names_rooms(socket, &place, wishes);
    if (wishes->place.len > 0 && (!goes_on || lacks_inbox)) {
        struct builder lost = {0};
        write_forgetful(socket, wishes->rooms, since, &lost);
        call_emit(socket,
            builder_failed(&lost) ? NULL : server_events_missed(builder_bytes(&lost), lacks_inbox));
        builder_reset(&lost);
    }
    if (wishes->inbox && place.has_inbox && !socket->closing) {
        resume(socket, &place);
    }
    struct bytes rooms = wishes->rooms;
    for (struct bytes room; !socket->closing && next_name(&rooms, &room);) {
        join(socket, room, &place, since);
    }
}

/* --- which events -------------------------------------------------------------------------- */

static bool is_of_inbox(struct bytes name)
{
    static const char *const names[] = {
        "notification", "unread", "preferences:changed", "hub:resync"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (bytes_eq_str(name, names[i])) {
            return true;
        }
    }
    return bytes_starts(name, BYTES("notification:"));
}

bool stream_app_wants(void *context, const struct app_wishes *wishes, struct bytes name)
{
    (void)context;
    if (!wishes->inbox && is_of_inbox(name)) {
        return false;
    }
    /* What a client must know in any case: of the stream itself, and what was refused. */
    if (wishes->events.len == 0 || bytes_starts(name, BYTES("hub:")) ||
        bytes_eq(name, BYTES("error")) || bytes_eq(name, BYTES("rate_limited"))) {
        return true;
    }
    struct bytes events = wishes->events;
    for (struct bytes event; next_name(&events, &event);) {
        if (bytes_eq(event, name)) {
            return true;
        }
    }
    return false;
}
