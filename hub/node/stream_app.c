/* SPDX-License-Identifier: Apache-2.0 */
/*
 * stream_app - what Peal's application gives to clients that only listen.
 *
 * A place is "1;EPOCH;REV", where the inbox stands in which store, or "1;;", where that is not
 * asked for or not known yet. It comes back from whoever likes to make one up, so it gives no
 * right.
 */
#include "hub/node/stream_app.h"

#include <string.h>

#include "actors/deliver/call.h"
#include "actors/inbox/feed.h"
#include "actors/shard.h"
#include "actors/user/user.h"
#include "codec/json_scan.h"
#include "codec/json_write.h"
#include "codec/server_events.h"

#define PLACE_FORM "1;"

/* --- places -------------------------------------------------------------------------------- */

struct place {
    struct bytes epoch;
    uint64_t rev;
};

/* Whether `text` says where an inbox stood. */
static bool read_place(struct bytes text, struct place *ret_place)
{
    struct bytes form = BYTES(PLACE_FORM);
    if (!bytes_starts(text, form)) {
        return false;
    }
    struct bytes rest = bytes_skip(text, form.len);
    const char *end = rest.len > 0 ? memchr(rest.at, ';', rest.len) : NULL;
    if (end == NULL) {
        return false;
    }
    size_t len = (size_t)(end - rest.at);
    ret_place->epoch = bytes_of(rest.at, len);
    return len > 0 && json_scan_u64(bytes_skip(rest, len + 1), &ret_place->rev) == 0;
}

void stream_app_place(void *context, const struct socket *socket, const struct app_wishes *wishes,
    struct builder *out)
{
    uint64_t rev;
    (void)context;
    if (wishes->inbox && feed_place(socket, &rev)) {
        builder_printf(
            out, PLACE_FORM "%s;%llu", socket->shard->config->epoch, (unsigned long long)rev);
    } else {
        builder_str(out, PLACE_FORM ";");
    }
}

/* --- what is asked for --------------------------------------------------------------------- */

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

/* As a client of /ws asks for it. */
static void join(struct socket *socket, struct bytes room)
{
    struct builder call = {0};
    builder_str(&call, "[\"join_room\",{\"roomId\":");
    json_scan_write_string(&call, room);
    builder_str(&call, "}]");
    if (builder_failed(&call)) {
        socket_missed(socket);
    } else {
        user_event(socket, builder_bytes(&call), NULL, NULL, 0);
    }
    builder_reset(&call);
}

/* Go on with the inbox where the client left it. */
static void resume(struct socket *socket, const struct place *place)
{
    bool ours = bytes_eq_str(place->epoch, socket->shard->config->epoch);
    feed_resume(socket, ours && place->rev < FEED_NOWHERE ? place->rev : FEED_NOWHERE);
}

void stream_app_listen(void *context, struct socket *socket, const struct app_wishes *wishes)
{
    struct place place;
    (void)context;
    if (wishes->place.len > 0) {
        bool known = read_place(wishes->place, &place);
        call_emit(socket, server_events_missed(wishes->rooms, wishes->inbox && !known));
        if (wishes->inbox && known && !socket->closing) {
            resume(socket, &place);
        }
    }
    struct bytes rooms = wishes->rooms;
    for (struct bytes room; !socket->closing && next_name(&rooms, &room);) {
        join(socket, room);
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
        bytes_eq(name, BYTES("error"))) {
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
