/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What backends do to the connected sockets of a user: rooms, and the end.
 *
 * A message goes to the user's actor of this node, if the user is connected here, and a request to
 * the other nodes, hubs and Socket.IO servers: there it is for the sockets in the user's room.
 */
#include "actors/order/bus_origin.h"
#include "actors/order/sequencer.h"
#include "actors/user_proto.h"
#include "actors/wire_name.h"
#include "codec/adapter_request.h"
#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "codec/json_scan.h"
#include "hub/api/api_answer.h"
#include "hub/api/api_auth.h"
#include "hub/api/api_fields.h"
#include "hub/api/api_handlers.h"
#include "hub/api/api_shard.h"
#include "hub/config/config.h"

enum { BODY_DEPTH = 3, ROOMS_MAX = 128 };

/* The rooms of one list, as they were checked. */
struct room_list {
    struct buf *names[ROOMS_MAX]; /* wire names */
    uint32_t count;
};

static void finish_list(struct room_list *list)
{
    for (uint32_t i = 0; i < list->count; i++) {
        buf_unref(list->names[i]);
    }
}

static int add_room(struct room_list *list, struct bytes tenant, struct bytes value)
{
    char at[NAMES_ROOM_MAX];
    char wire_at[WIRE_NAME_MAX];
    struct bytes room;
    if (list->count == ROOMS_MAX) {
        return STATUS_TOO_LARGE;
    }
    /* Nobody joins another user's room, and one's own is never left. */
    if (json_scan_string(value, at, sizeof(at), &room) != 0 || names_check_room(room) != 0 ||
        bytes_starts(room, BYTES("user:"))) {
        return STATUS_INVALID;
    }
    list->names[list->count++] = buf_new_name(wire_name_room(tenant, room, wire_at));
    return 0;
}

static int read_list(
    struct bytes body, const char *key, struct bytes tenant, struct room_list *list)
{
    struct bytes value;
    struct bytes element;
    struct json_scan_iter iter;
    int status = json_scan_get(body, key, &value);
    if (status == STATUS_NOT_FOUND) {
        return 0;
    }
    if (status != 0 || json_scan_kind(value) != JSON_SCAN_ARRAY) {
        return STATUS_INVALID;
    }
    json_scan_iter_init(&iter, value);
    while (status == 0 && json_scan_element(&iter, &element)) {
        status = add_room(list, tenant, element);
    }
    return status;
}

/* Tell the user's actor; `room` may be NULL. */
static void tell(struct shard *shard, const struct api_who *who, int what, struct buf *room)
{
    char at[WIRE_KEY_MAX];
    struct bytes key = wire_key_user(who->tenant, who->user, at);
    struct user_admin *msg = user_admin_new();
    msg->key = buf_new_name(key);
    msg->room = room != NULL ? buf_ref(room) : NULL;
    msg->what = what;
    msg_send_home(shard->sched, msg);
}

/* Ask the other nodes for the same, in every namespace. STATUS_NOMEM. */
static int tell_others(struct api_shard *shard, const struct api_who *who,
    enum adapter_request_type type, const struct room_list *list)
{
    const struct config *config = shard->settings->config;
    char key_at[WIRE_KEY_MAX];
    char room_at[WIRE_NAME_MAX];
    struct builder uid = {0};
    struct builder text = {0};
    bus_origin_write_uid(shard->shard, &uid);
    adapter_change_write(
        &(struct adapter_change){
            .type = type,
            .uid = builder_bytes(&uid),
            .room = wire_name_user(wire_key_user(who->tenant, who->user, key_at), room_at),
            .targets = list->names,
            .target_count = list->count,
        },
        &text);
    builder_reset(&uid);
    struct buf *payload = builder_finish(&text);
    if (payload == NULL) {
        return STATUS_NOMEM;
    }
    for (size_t i = 0; i < config->namespace_count; i++) {
        struct bytes nsp = bytes_str(config->namespaces[i].name);
        if (!bytes_eq(nsp, BYTES("/"))) {
            sequencer_ask(shard->shard, nsp, buf_ref(payload));
        }
    }
    sequencer_ask(shard->shard, BYTES("/"), payload);
    return 0;
}

/* The other nodes first: what fails has done nothing. */
static int tell_all(
    struct api_shard *shard, const struct api_who *who, int what, const struct room_list *list)
{
    if (list->count == 0) {
        return 0;
    }
    int status =
        tell_others(shard, who, what == USER_ADMIN_JOIN ? ADAPTER_JOIN : ADAPTER_LEAVE, list);
    for (uint32_t i = 0; status == 0 && i < list->count; i++) {
        tell(shard->shard, who, what, list->names[i]);
    }
    return status;
}

static void accept_request(struct http_request *request)
{
    struct builder out = {0};
    builder_str(&out, "{\"accepted\":true}");
    api_answer(request, 202, bytes_of(NULL, 0), &out);
}

static void refuse_list(struct http_request *request, int status, const char *field)
{
    bool large = status == STATUS_TOO_LARGE;
    api_refuse(request,
        &(struct api_error){.code = large ? ERROR_TOO_LARGE : ERROR_INVALID_FIELD,
            .message = large ? "At most 128 rooms in one request" : "Expected a list of room names",
            .field = field});
}

void api_rooms_change(struct http_request *request, void *context)
{
    (void)context;
    struct api_who who;
    struct bytes body;
    if (!api_auth_user(request, APIKEY_PUBLISH, false, &who)) {
        return;
    }
    if (json_scan_text(request->body, BODY_DEPTH, &body, NULL) != 0 ||
        json_scan_kind(body) != JSON_SCAN_OBJECT) {
        api_refuse(request, &(struct api_error){.code = ERROR_BAD_REQUEST,
                                .message = "The body is no JSON object"});
        return;
    }
    if (!api_fields_check(request, body, "join, leave")) {
        return;
    }
    struct room_list join = {0};
    struct room_list leave = {0};
    int bad_join = read_list(body, "join", who.tenant, &join);
    int bad_leave = read_list(body, "leave", who.tenant, &leave);
    if (bad_join != 0 || bad_leave != 0) {
        refuse_list(
            request, bad_join != 0 ? bad_join : bad_leave, bad_join != 0 ? "join" : "leave");
    } else if (join.count + leave.count == 0) {
        refuse_list(request, STATUS_INVALID, "join");
    } else {
        struct api_shard *shard = api_shard(request);
        if (tell_all(shard, &who, USER_ADMIN_LEAVE, &leave) == 0 &&
            tell_all(shard, &who, USER_ADMIN_JOIN, &join) == 0) {
            accept_request(request);
        } else {
            api_refuse_memory(request);
        }
    }
    finish_list(&join);
    finish_list(&leave);
}

void api_rooms_disconnect(struct http_request *request, void *context)
{
    (void)context;
    struct api_who who;
    if (api_auth_user(request, APIKEY_ADMIN, false, &who) && api_fields_check_none(request)) {
        static const struct room_list no_rooms;
        tell(api_shard(request)->shard, &who, USER_ADMIN_DISCONNECT, NULL);
        /* It names no rooms: too short to fail. */
        (void)tell_others(api_shard(request), &who, ADAPTER_DISCONNECT, &no_rooms);
        accept_request(request);
    }
}
