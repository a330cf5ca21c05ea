/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What posters change of one notification afterwards, or take back, over HTTP.
 *
 * What is not delivered yet is looked for first: it becomes a row, never the other way round. The
 * id of a post to many is that of no row: it is looked for where STORE_EDIT finds none.
 */
#include "actors/inbox/announce.h"
#include "actors/inbox/audience.h"
#include "actors/inbox/schedule_hint.h"
#include "codec/base/mem.h"
#include "codec/base/rand.h"
#include "codec/base/status.h"
#include "codec/json_scan.h"
#include "codec/notification_json.h"
#include "codec/query.h"
#include "codec/slot.h"
#include "hub/api/api_answer.h"
#include "hub/api/api_auth.h"
#include "hub/api/api_handlers.h"
#include "hub/api/api_post.h"
#include "hub/api/api_schedule.h"
#include "hub/api/api_shard.h"

/* A change under way. It outlives its request when the peer goes. */
struct edit_call {
    struct api_call api; /* first */
    struct shard *shard;
    struct store_reschedule change; /* of what is not delivered yet */
    struct store_edit edit;
    struct store_retract retract; /* of a post to many */
    struct store_revise revise; /* likewise */
    struct notification_post post; /* of a change; owns its texts, but for those in `body` */
    bool parsed; /* `post` is to be finished */
    char *body;
    char tenant[NAMES_TENANT_MAX];
};

static void free_call(struct edit_call *call)
{
    api_call_end(&call->api);
    if (call->parsed) {
        notification_post_finish(&call->post);
    }
    mem_free(call->body);
    mem_free(call);
}

static void on_overdue(struct api_call *api)
{
    api_refuse_status(api->request, STATUS_UNKNOWN);
}

/* The last thing that the store was asked is done: answer, by `tell` where it went well. */
static void end_call(
    struct edit_call *call, struct store_request *request, void (*tell)(struct edit_call *call))
{
    if (call->api.request != NULL && request->status == 0) {
        tell(call);
    } else if (call->api.request != NULL) {
        api_refuse_status(call->api.request, request->status);
    }
    store_request_finish(request);
    free_call(call);
}

static void answer(struct edit_call *call)
{
    if (call->edit.delivered) {
        api_refuse(call->api.request, &(struct api_error){.code = ERROR_ALREADY_DELIVERED,
                                          .message = "The user has the notification"});
    } else if (call->edit.erase) {
        http_respond(call->api.request, 204, NULL, bytes_of(NULL, 0), bytes_of(NULL, 0));
    } else {
        struct builder out = {0};
        notification_json_item(&call->edit.item, &out);
        api_answer(call->api.request, 200, bytes_of(NULL, 0), &out);
    }
}

static void answer_retract(struct edit_call *call)
{
    struct http_request *request = call->api.request;
    if (call->retract.only_find) {
        api_refuse(request, &(struct api_error){.code = ERROR_ALREADY_DELIVERED,
                                .message = "Users may have the post to many"});
    } else {
        http_respond(request, 204, NULL, bytes_of(NULL, 0), bytes_of(NULL, 0));
    }
}

static void on_retracted(struct store_request *request)
{
    struct edit_call *call = container_of(request, struct edit_call, retract.base);
    const struct store_retract *retract = &call->retract;
    if (request->status == 0 && !retract->only_find) {
        audience_announce_change(
            call->shard->audience, retract->tenant, retract->kind, retract->name);
    }
    end_call(call, request, answer_retract);
}

static void answer_revise(struct edit_call *call)
{
    struct builder out = {0};
    builder_byte(&out, '{');
    api_post_write_id(call->revise.id, &out);
    api_post_write_target(call->revise.kind, call->revise.name, &out);
    builder_byte(&out, '}');
    api_answer(call->api.request, 200, bytes_of(NULL, 0), &out);
}

static void on_revised(struct store_request *request)
{
    struct edit_call *call = container_of(request, struct edit_call, revise.base);
    const struct store_revise *revise = &call->revise;
    if (request->status == 0) {
        audience_announce_change(call->shard->audience, revise->tenant, revise->kind, revise->name);
    }
    end_call(call, request, answer_revise);
}

static void submit_retract(struct edit_call *call)
{
    const struct store_edit *edit = &call->edit;
    call->retract = (struct store_retract){
        .base = {.op = STORE_RETRACT, .done = on_retracted},
        .tenant = edit->tenant,
        .only_find = edit->only_waiting,
    };
    memcpy(call->retract.id, edit->id, sizeof(edit->id));
    store_submit(call->shard->store, &call->retract.base);
}

static void submit_revise(struct edit_call *call)
{
    const struct store_edit *edit = &call->edit;
    call->revise = (struct store_revise){
        .base = {.op = STORE_REVISE, .done = on_revised},
        .tenant = edit->tenant,
        .fields = edit->fields,
        .title = edit->title,
        .message = edit->message,
        .data = edit->data,
        .priority = edit->priority,
        .expires_at = edit->expires_at,
        .at = edit->at,
    };
    memcpy(call->revise.id, edit->id, sizeof(edit->id));
    store_submit(call->shard->store, &call->revise.base);
}

/* There is no such row: is there such a post to many? */
static void try_many(struct edit_call *call)
{
    api_call_renew(&call->api);
    if (call->edit.erase) {
        submit_retract(call);
    } else {
        submit_revise(call);
    }
}

static void on_done(struct store_request *request)
{
    struct edit_call *call = container_of(request, struct edit_call, edit.base);
    if (request->status == STATUS_NOT_FOUND && slot_of_id(call->edit.id) == SLOT_NONE &&
        call->shard->store != NULL) {
        store_request_finish(request);
        try_many(call);
        return;
    }
    if (request->status == 0) {
        announce_edit(call->shard, &call->edit);
    }
    end_call(call, request, answer);
}

static void answer_scheduled(struct edit_call *call)
{
    struct builder out = {0};
    if (call->change.cancel) {
        http_respond(call->api.request, 204, NULL, bytes_of(NULL, 0), bytes_of(NULL, 0));
    } else {
        api_schedule_write(&call->change.item, &out);
        api_answer(call->api.request, 200, bytes_of(NULL, 0), &out);
    }
}

/* It is not kept for later: is it a notification? Another time is for what is not delivered. */
static void try_delivered(struct edit_call *call)
{
    if (call->change.fields & NOTIFICATION_EDIT_DELIVER) {
        call->edit.erase = true;
        call->edit.only_waiting = true;
    }
    api_call_renew(&call->api);
    store_submit(call->shard->store, &call->edit.base);
}

static void on_rescheduled(struct store_request *request)
{
    struct edit_call *call = container_of(request, struct edit_call, change.base);
    if (request->status == STATUS_NOT_FOUND && call->shard->store != NULL) {
        store_request_finish(request);
        try_delivered(call);
        return;
    }
    if (request->status == 0 && call->change.cancel) {
        call->shard->stats.cancelled++;
    } else if (request->status == 0) {
        schedule_hint(call->shard, call->change.item.row.deliver_at);
    }
    end_call(call, request, answer_scheduled);
}

/* Whose notifications the caller may change; false: the request was answered. */
static bool read_tenant(struct http_request *request, struct edit_call *call)
{
    char at[NAMES_TENANT_MAX];
    struct bytes named = {0};
    struct bytes tenant;
    const struct apikey *key = api_auth_key(request, APIKEY_PUBLISH);
    if (key == NULL) {
        return false;
    }
    int status = query_get(request->query, "tenant", at, sizeof(at), &named);
    if ((status != 0 && status != STATUS_NOT_FOUND) ||
        api_auth_tenant(request, key, named, &tenant) != 0) {
        api_refuse(request, &(struct api_error){.code = ERROR_FORBIDDEN,
                                .message = "The key is of another tenant",
                                .field = "tenant"});
        return false;
    }
    if (tenant.len > 0) {
        memcpy(call->tenant, tenant.at, tenant.len);
    }
    call->edit.tenant = bytes_of(call->tenant, tenant.len);
    return true;
}

/* A call about the notification of the path; NULL: the request was answered. */
static struct edit_call *new_call(struct http_request *request)
{
    char at[UUID_TEXT_LEN + 1];
    struct bytes id;
    struct edit_call *call = mem_alloc(sizeof(*call));
    call->shard = api_shard(request)->shard;
    call->edit.base = (struct store_request){.op = STORE_EDIT, .done = on_done};
    call->edit.at = sched_wall(call->shard->sched);
    if (!read_tenant(request, call)) {
        free_call(call);
        return NULL;
    }
    if (http_param(request, 0, at, sizeof(at), &id) != 0 ||
        uuid_parse(id.at, id.len, call->edit.id) != 0) {
        api_refuse_status(request, STATUS_NOT_FOUND);
        free_call(call);
        return NULL;
    }
    return call;
}

static void submit(struct http_request *request, struct edit_call *call)
{
    if (call->shard->store == NULL) {
        api_refuse_unavailable(request);
        free_call(call);
        return;
    }
    const struct store_edit *edit = &call->edit;
    call->change = (struct store_reschedule){
        .base = {.op = STORE_RESCHEDULE, .done = on_rescheduled},
        .tenant = edit->tenant,
        .cancel = edit->erase,
        .fields = call->post.edited,
        .title = edit->title,
        .message = edit->message,
        .data = edit->data,
        .priority = edit->priority,
        .expires_at = edit->expires_at,
        .deliver_at = call->post.deliver_at,
    };
    memcpy(call->change.id, edit->id, sizeof(edit->id));
    api_call_hold_store(&call->api, request, on_overdue);
    store_submit(call->shard->store, &call->change.base);
}

void api_edit_erase(struct http_request *request, void *context)
{
    (void)context;
    char at[16];
    struct bytes condition;
    struct edit_call *call = new_call(request);
    if (call == NULL) {
        return;
    }
    int status = query_get(request->query, "if", at, sizeof(at), &condition);
    call->edit.erase = true;
    call->edit.only_waiting = status == 0 && bytes_eq_str(condition, "undelivered");
    if (status != STATUS_NOT_FOUND && !call->edit.only_waiting) {
        api_refuse_field(request, "if", "undelivered");
        free_call(call);
        return;
    }
    submit(request, call);
}

/* Read the body into call->post; false: the request was answered. */
static bool read_change(struct http_request *request, struct edit_call *call)
{
    struct notification_limits limits = api_post_limits(request, api_shard(request)->settings);
    struct notification_fault fault;
    struct bytes value;
    call->body = mem_try_alloc(request->body.len + 1);
    if (call->body == NULL) {
        api_refuse_memory(request);
        return false;
    }
    memcpy(call->body, request->body.len > 0 ? request->body.at : "", request->body.len);
    struct bytes body = bytes_of(call->body, request->body.len);
    if (json_scan_text(body, JSON_SCAN_DEPTH_MAX, &value, NULL) != 0 ||
        json_scan_kind(value) != JSON_SCAN_OBJECT) {
        api_refuse(request, &(struct api_error){.code = ERROR_BAD_REQUEST,
                                .message = "The body is no JSON object"});
        return false;
    }
    int status = notification_from_edit_json(value, &limits, &call->post, &fault);
    if (status != 0) {
        struct api_error error = api_post_error(status, &fault);
        api_refuse(request, &error);
        return false;
    }
    call->parsed = true;
    return true;
}

void api_edit_change(struct http_request *request, void *context)
{
    (void)context;
    struct edit_call *call = new_call(request);
    if (call == NULL) {
        return;
    }
    if (!api_post_check_size(request, request->body.len) || !read_change(request, call)) {
        free_call(call);
        return;
    }
    call->edit.fields = call->post.edited & NOTIFICATION_EDIT_ALL;
    call->edit.title = call->post.title;
    call->edit.message = call->post.message;
    call->edit.data = call->post.data;
    call->edit.priority = call->post.priority;
    call->edit.expires_at = call->post.expires_at;
    submit(request, call);
}
