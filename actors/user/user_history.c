/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What clients read of what was said in the rooms that they are in.
 *
 * A read outlives its user, as one of values does; how many are under way is bounded by the bucket
 * that each is taken from.
 */
#include "actors/history/history_json.h"
#include "actors/history/room_history.h"
#include "actors/user/user_actor.h"
#include "actors/wire_name.h"
#include "codec/base/mem.h"
#include "codec/base/rand.h"
#include "codec/base/status.h"
#include "codec/json_scan.h"
#include "codec/json_write.h"
#include "codec/names.h"

enum {
    LIMIT_DEFAULT = 50,
    PAGE_BYTES = 256 << 10, /* of what was said, in one answer; one message whatever its size */
    RETRY_MS = 1000
};

struct reading {
    struct store_history_list list;
    struct shard *shard;
    struct actor_ref user;
    uint32_t socket_id;
    uint64_t id; /* of the answer */
    char room_at[WIRE_NAME_MAX];
};

static void refuse(const struct reading *reading, struct socket *socket, int status, bool full)
{
    bool unknown = status == STATUS_NOT_FOUND;
    const struct call_refusal refusal = {.code = unknown ? ERROR_INVALID_FIELD
                                                 : full  ? ERROR_RATE_LIMITED
                                                         : ERROR_UNAVAILABLE,
        .field = unknown ? "before" : NULL,
        .message = unknown ? "No message that is kept of this room"
                   : full  ? "Too much waits for this client already"
                           : "What was said cannot be read now, try again",
        .retry_ms = unknown ? 0 : RETRY_MS,
        .room = reading->list.room};
    call_refuse_event(socket, &reading->id, BYTES("room:history"), &refusal);
}

static void answer(const struct reading *reading, struct socket *socket)
{
    struct builder text = {.max = UINT32_MAX};
    json_write_open(&text, '{');
    json_write_bool(&text, "ok", true);
    json_write_text(&text, "roomId", reading->list.room);
    history_json_write(&reading->list, &text);
    json_write_close(&text, '}');
    size_t most = socket->shard->config->outbox_max;
    if (builder_failed(&text)) {
        refuse(reading, socket, STATUS_NOMEM, false);
    } else if (socket->outbox->bytes + builder_bytes(&text).len > most) {
        refuse(reading, socket, 0, true);
    } else {
        socket_ack(socket, reading->id, builder_bytes(&text));
    }
    builder_reset(&text);
}

static void on_read(struct store_request *request)
{
    struct reading *reading = container_of(request, struct reading, list.base);
    struct user *user = (struct user *)(void *)actor_get(reading->shard->sched, reading->user);
    struct socket *socket = user != NULL ? owner_socket(&user->owner, reading->socket_id) : NULL;
    if (socket != NULL && request->status == 0) {
        answer(reading, socket);
    } else if (socket != NULL) {
        refuse(reading, socket, request->status, false);
    }
    store_request_finish(request);
    mem_free(reading);
}

/* {limit?, before?} of the argument; refuses the call and returns false. */
static bool read_page(
    const struct client_call *call, struct bytes argument, struct store_history_list *list)
{
    struct bytes value;
    struct bytes text;
    char id_at[UUID_TEXT_LEN];
    uint64_t limit = LIMIT_DEFAULT;
    bool object = json_scan_kind(argument) == JSON_SCAN_OBJECT;
    if (object && json_scan_get(argument, "limit", &value) == 0 &&
        (json_scan_u64(value, &limit) != 0 || limit < 1 || limit > STORE_HISTORY_LIST_MAX)) {
        call_refuse_field(call, "limit", "1 to 100 messages");
        return false;
    }
    list->limit = (uint32_t)limit;
    if (object && json_scan_get(argument, "before", &value) == 0 &&
        json_scan_kind(value) != JSON_SCAN_NULL) {
        list->before = true;
        if (json_scan_string(value, id_at, sizeof(id_at), &text) != 0 ||
            uuid_parse(text.at, text.len, list->id) != 0) {
            call_refuse_field(call, "before", "The id of a message, as it was told");
            return false;
        }
    }
    return true;
}

static void read_history(const struct client_call *call, struct bytes room, struct bytes argument)
{
    struct socket *socket = call->socket;
    struct reading *reading = mem_try_calloc(1, sizeof(*reading));
    if (reading == NULL) {
        call_refuse(call, ERROR_UNAVAILABLE, "Out of memory, try again");
        return;
    }
    if (!read_page(call, argument, &reading->list)) {
        mem_free(reading);
        return;
    }
    memcpy(reading->room_at, room.at, room.len);
    struct bytes copy = bytes_of(reading->room_at, room.len);
    reading->list.base = (struct store_request){.op = STORE_HISTORY_LIST, .done = on_read};
    reading->list.tenant = room_history_space(copy);
    reading->list.room = wire_name_client(copy);
    reading->list.max_bytes = PAGE_BYTES;
    reading->shard = socket->shard;
    reading->user = user_of(socket)->owner.actor.self;
    reading->socket_id = socket->id;
    reading->id = call->id;
    store_submit(socket->shard->store, &reading->list.base);
}

void user_history_read(const struct client_call *call)
{
    char at[NAMES_ROOM_MAX];
    char wire[WIRE_NAME_MAX];
    struct bytes room;
    struct bytes argument = call_argument(call->event);
    if (!user_room_want(call, user_room_read(argument, at, &room), "roomId")) {
        return;
    }
    room = wire_name_room(owner_space(call->socket->user), room, wire);
    if (!user_room_is_member(call, room, user_history_read)) {
        return;
    }
    bool kept = bytes_eq(socket_nsp(call->socket), BYTES("/"));
    if (!kept || !room_history_keeps(call->socket->shard, room)) {
        call_refuse(call, ERROR_NOT_FOUND,
            "What is said in rooms of this type is not kept (history of its room_type)");
    } else if (call->socket->shard->store == NULL) { /* the node ends */
        call_refuse(call, ERROR_UNAVAILABLE, "What was said cannot be read now, try again");
    } else if (call->has_id) { /* who asks for no answer is told nothing */
        read_history(call, room, argument);
    }
}
