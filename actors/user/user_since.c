/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a client that joins a room has of it: it says the position at which it was, and is sent what
 * came since, or told that something is missing.
 */
#include "actors/recover/room_replay.h"
#include "actors/recover/room_retained.h"
#include "actors/shard.h"
#include "actors/user/user_actor.h"
#include "codec/base/status.h"
#include "codec/json_scan.h"

enum { EPOCH_MAX = 64 };

static int get_text(
    struct bytes object, const char *key, char *at, size_t size, struct bytes *ret_text)
{
    struct bytes value;
    int status = json_scan_get(object, key, &value);
    return status == 0 ? json_scan_string(value, at, size, ret_text) : status;
}

bool user_since_read(
    const struct client_call *call, struct bytes argument, struct user_since *ret_since)
{
    struct user_since since = {0};
    struct bytes value;
    struct bytes epoch;
    struct bytes offset;
    char epoch_at[EPOCH_MAX];
    if (json_scan_kind(argument) != JSON_SCAN_OBJECT ||
        json_scan_get(argument, "since", &value) != 0 || json_scan_kind(value) == JSON_SCAN_NULL) {
        *ret_since = since;
        return true;
    }
    if (json_scan_kind(value) != JSON_SCAN_OBJECT ||
        get_text(value, "epoch", epoch_at, sizeof(epoch_at), &epoch) != 0 ||
        get_text(value, "offset", since.at, sizeof(since.at), &offset) != 0) {
        call_refuse_field(call, "since", "A position as it was told: {epoch, offset}, both texts");
        return false;
    }
    since.said = true;
    since.of_store = bytes_eq_str(epoch, call->socket->shard->config->epoch);
    since.len = (uint8_t)offset.len;
    memmove(since.at, offset.at, offset.len);
    *ret_since = since;
    return true;
}

static struct bytes offset_of(const struct user_since *since)
{
    return bytes_of(since->at, since->len);
}

bool user_since_is_ahead(
    const struct socket *socket, struct bytes room, const struct user_since *since)
{
    uint64_t first;
    return since->of_store &&
           room_replay_check(socket->fanout, room, offset_of(since), &first) == STATUS_AGAIN;
}

/* Whether a member of the room has all that it was sent, as far as its `since` can say. */
static bool is_complete(
    const struct socket *socket, struct bytes room, const struct user_since *since)
{
    uint64_t first;
    return room_replay_check(socket->fanout, room, offset_of(since), &first) == 0 &&
           first == UINT64_MAX;
}

/*
 * Send a new member what it missed, and the last values around it: who joins is shown them, before
 * anything later, though some of them it may have had. False: something is missing.
 */
static bool catch_up(struct socket *socket, struct bytes room, const struct user_since *since)
{
    uint64_t first;
    if (room_replay_check(socket->fanout, room, offset_of(since), &first) != 0) {
        return false;
    }
    room_retained_send_around(socket, room, first, false);
    if (room_replay_send(socket, room, offset_of(since)) != 0) {
        return false;
    }
    room_retained_send_around(socket, room, first, true);
    return true;
}

void user_since_fill(struct socket *socket, struct bytes room, const struct user_since *since,
    bool fresh, char *at, struct server_room *room_told)
{
    struct shard *shard = socket->shard;
    bool recovered = false;
    if (since != NULL && since->said) {
        if (since->of_store) {
            recovered = fresh ? catch_up(socket, room, since) : is_complete(socket, room, since);
        }
        room_told->since = recovered ? SERVER_ROOM_RECOVERED : SERVER_ROOM_LOST;
        shard->stats.rejoined += recovered;
        shard->stats.rejoins_lost += !recovered;
    }
    if (fresh && !recovered) { /* else it was shown it */
        room_retained_send(socket, room);
    }
    room_told->offset = room_replay_position(socket->fanout, room, at);
    room_told->epoch = bytes_str(shard->config->epoch);
}
