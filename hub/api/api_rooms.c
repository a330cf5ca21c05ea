/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What backends do to the connected sockets of a user: rooms, and the end.
 *
 * A message goes to the user's actor of this node, if the user is connected here, and a request to
 * the other nodes, hubs and Socket.IO servers: there it is for the sockets in the user's room.
 */
#include "actors/order/bus_origin.h"
#include "actors/order/sequencer.h"
#include "actors/presence/presence_call.h"
#include "actors/user_proto.h"
#include "actors/wire_name.h"
#include "codec/adapter_request.h"
#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "codec/json_scan.h"
#include "codec/json_write.h"
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

/* What is done with which rooms, and what the other nodes are asked. */
struct room_change {
    int what; /* USER_ADMIN_ */
    enum adapter_request_type type; /* the same, for the others */
    struct room_list list;
    struct buf *payload; /* NULL: it is not to be carried out */
};

/* Make the payload: the same, for the other nodes. STATUS_NOMEM. */
static int prepare(struct api_shard *shard, const struct api_who *who, struct room_change *change)
{
    char key_at[WIRE_KEY_MAX];
    char room_at[WIRE_NAME_MAX];
    struct builder uid = {0};
    struct builder text = {0};
    bus_origin_write_uid(shard->shard, &uid);
    adapter_change_write(
        &(struct adapter_change){
            .type = change->type,
            .uid = builder_bytes(&uid),
            .room = wire_name_user(wire_key_user(who->tenant, who->user, key_at), room_at),
            .targets = change->list.names,
            .target_count = change->list.count,
        },
        &text);
    builder_reset(&uid);
    change->payload = builder_finish(&text);
    return change->payload != NULL ? 0 : STATUS_NOMEM;
}

/* Ask the other nodes, in every namespace, and tell the user's actor here. */
static void carry_out(
    struct api_shard *shard, const struct api_who *who, const struct room_change *change)
{
    const struct config *config = shard->settings->config;
    if (change->payload == NULL) {
        return;
    }
    for (size_t i = 0; i < config->namespace_count; i++) {
        struct bytes nsp = bytes_str(config->namespaces[i].name);
        if (!bytes_eq(nsp, BYTES("/"))) {
            sequencer_ask(shard->shard, nsp, buf_ref(change->payload));
        }
    }
    sequencer_ask(shard->shard, BYTES("/"), buf_ref(change->payload));
    for (uint32_t i = 0; i < change->list.count; i++) {
        tell(shard->shard, who, change->what, change->list.names[i]);
    }
    if (change->list.count == 0) {
        tell(shard->shard, who, change->what, NULL);
    }
}

static void finish_change(struct room_change *change)
{
    finish_list(&change->list);
    buf_unref(change->payload);
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
    struct room_change leave = {.what = USER_ADMIN_LEAVE, .type = ADAPTER_LEAVE};
    struct room_change join = {.what = USER_ADMIN_JOIN, .type = ADAPTER_JOIN};
    int bad_join = read_list(body, "join", who.tenant, &join.list);
    int bad_leave = read_list(body, "leave", who.tenant, &leave.list);
    struct api_shard *shard = api_shard(request);
    if (bad_join != 0 || bad_leave != 0) {
        refuse_list(
            request, bad_join != 0 ? bad_join : bad_leave, bad_join != 0 ? "join" : "leave");
    } else if (join.list.count + leave.list.count == 0) {
        refuse_list(request, STATUS_INVALID, "join");
    } else if ((leave.list.count > 0 && prepare(shard, &who, &leave) != 0) ||
               (join.list.count > 0 && prepare(shard, &who, &join) != 0)) {
        api_refuse_memory(request); /* nothing was done */
    } else {
        carry_out(shard, &who, &leave);
        carry_out(shard, &who, &join);
        accept_request(request);
    }
    finish_change(&leave);
    finish_change(&join);
}

/* Ending: what is asked of presence, and then told. */
struct end_call {
    struct api_call api; /* first */
    struct presence_call call;
};

static void free_end(struct end_call *call)
{
    presence_call_finish(&call->call);
    mem_free(call);
}

static void on_looked(struct presence_call *presence)
{
    struct end_call *call = container_of(presence, struct end_call, call);
    if (call->api.request != NULL) {
        struct builder out = {0};
        const struct presence_ask *ask =
            container_of(presence->asks.next, struct presence_ask, link);
        json_write_open(&out, '{');
        json_write_bool(&out, "accepted", true);
        presence_ask_write_where(ask, &out);
        json_write_bool(&out, "complete", presence->complete && !presence->starved);
        json_write_close(&out, '}');
        api_answer(call->api.request, 202, bytes_of(NULL, 0), &out);
    }
    free_end(call);
}

/* Ask where the user is. It is asked before the user's actors are told to end, and the nodes that
 * end them say so 50 ms later: the answer is of before. */
static bool begin_look(struct end_call *call, struct shard *shard, const struct api_who *who)
{
    presence_call_init(&call->call, on_looked);
    call->call.detailed = true;
    return presence_call_add(&call->call, shard, who->tenant, who->user, NULL) == 0 &&
           presence_call_begin(&call->call, shard);
}

void api_rooms_disconnect(struct http_request *request, void *context)
{
    (void)context;
    struct api_who who;
    struct api_shard *shard = api_shard(request);
    if (!api_auth_user(request, APIKEY_ADMIN, false, &who) || !api_fields_check_none(request)) {
        return;
    }
    struct room_change end = {.what = USER_ADMIN_DISCONNECT, .type = ADAPTER_DISCONNECT};
    struct end_call *call = mem_try_calloc(1, sizeof(*call));
    if (call == NULL || prepare(shard, &who, &end) != 0) {
        api_refuse_memory(request); /* nothing was done */
        mem_free(call);
        return;
    }
    bool looks = begin_look(call, shard->shard, &who);
    carry_out(shard, &who, &end);
    finish_change(&end);
    if (looks) {
        api_call_hold(&call->api, request);
    } else {
        free_end(call);
        accept_request(request);
    }
}
