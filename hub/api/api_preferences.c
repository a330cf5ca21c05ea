/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Preferences over HTTP: GET and PUT of the whole.
 */
#include "actors/inbox/announce.h"
#include "actors/inbox/inbox_preferences.h"
#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "codec/json_write.h"
#include "codec/preferences.h"
#include "hub/api/api_answer.h"
#include "hub/api/api_auth.h"
#include "hub/api/api_handlers.h"
#include "hub/api/api_shard.h"

/* A call under way. It outlives its request when the peer goes. */
struct preference_call {
    struct api_call api; /* first */
    struct shard *shard;
    struct api_who who;
    struct builder body; /* of a PUT */
    struct store_preference op;
};

static void free_call(struct preference_call *call)
{
    api_call_end(&call->api);
    builder_reset(&call->body);
    mem_free(call);
}

static void on_overdue(struct api_call *api)
{
    const struct preference_call *call = container_of(api, struct preference_call, api);
    bool writes = call->op.base.op == STORE_PREFERENCE_WRITE;
    api_refuse_status(call->api.request, writes ? STATUS_UNKNOWN : STATUS_UNAVAILABLE);
}

static void answer(const struct preference_call *call)
{
    struct builder out = {0};
    json_write_open(&out, '{');
    int status = inbox_preferences_write(call->shard, &call->op, &out);
    json_write_close(&out, '}');
    if (status != 0) {
        builder_reset(&out);
        api_refuse_memory(call->api.request);
        return;
    }
    api_answer(call->api.request, 200, BYTES("Cache-Control: private, no-cache\r\n"), &out);
}

static void on_done(struct store_request *request)
{
    struct preference_call *call = container_of(request, struct preference_call, op.base);
    if (request->status == 0 && request->op == STORE_PREFERENCE_WRITE) {
        announce_preferences(call->shard, call->op.who);
    }
    if (call->api.request != NULL && request->status == 0) {
        answer(call);
    } else if (call->api.request != NULL) {
        api_refuse_status(call->api.request, request->status);
    }
    store_request_finish(request);
    free_call(call);
}

/* NULL: the request was answered. */
static struct preference_call *new_call(
    struct http_request *request, enum store_op op, unsigned scopes)
{
    struct preference_call *call = mem_alloc(sizeof(*call));
    call->shard = api_shard(request)->shard;
    call->op.base.op = op;
    call->op.base.done = on_done;
    if (!api_auth_user(request, scopes, true, &call->who)) {
        free_call(call);
        return NULL;
    }
    call->op.who = (struct store_user){.tenant = call->who.tenant, .user = call->who.user};
    return call;
}

/* Answers later, unless the store is closed already. */
static void submit(struct http_request *request, struct preference_call *call)
{
    if (call->shard->store == NULL) {
        api_refuse_unavailable(request);
        free_call(call);
        return;
    }
    api_call_hold_store(&call->api, request, on_overdue);
    store_submit(call->shard->store, &call->op.base);
}

void api_preferences_get(struct http_request *request, void *context)
{
    (void)context;
    struct preference_call *call = new_call(request, STORE_PREFERENCE_READ, APIKEY_READ);
    if (call != NULL) {
        submit(request, call);
    }
}

/* Whether the body can be kept; else the request is answered. */
static bool read_body(struct http_request *request, struct preference_call *call)
{
    struct preferences *own;
    struct preferences_fault fault;
    int status = preferences_parse(request->body, &call->shard->config->zones, &own, &fault);
    if (status == STATUS_NOMEM) {
        api_refuse_memory(request);
        return false;
    }
    if (status != 0) {
        bool object = status == STATUS_INVALID && fault.field[0] == '\0';
        api_refuse(
            request, &(struct api_error){.code = object                       ? ERROR_BAD_REQUEST
                                                 : status == STATUS_TOO_LARGE ? ERROR_TOO_LARGE
                                                                              : ERROR_INVALID_FIELD,
                         .message = fault.message,
                         .field = fault.field[0] != '\0' ? fault.field : NULL});
        return false;
    }
    preferences_store(own, &call->body);
    preferences_destroy(own);
    if (builder_failed(&call->body)) {
        api_refuse_memory(request);
        return false;
    }
    call->op.body = builder_bytes(&call->body);
    return true;
}

void api_preferences_put(struct http_request *request, void *context)
{
    (void)context;
    struct preference_call *call = new_call(request, STORE_PREFERENCE_WRITE, APIKEY_WRITE);
    if (call == NULL) {
        return;
    }
    if (read_body(request, call)) {
        submit(request, call);
    } else {
        free_call(call);
    }
}
