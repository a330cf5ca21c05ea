/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Devices over HTTP: a user's, all or one; registering one, and taking it away.
 */
#include <string.h>

#include "actors/inbox/inbox_devices.h"
#include "codec/base/mem.h"
#include "codec/base/rand.h"
#include "codec/base/status.h"
#include "codec/device.h"
#include "codec/json_write.h"
#include "hub/api/api_answer.h"
#include "hub/api/api_auth.h"
#include "hub/api/api_fields.h"
#include "hub/api/api_handlers.h"
#include "hub/api/api_shard.h"
#include "sql/store.h"

/* A call under way. It outlives its request when the peer goes. */
struct device_call {
    struct api_call api; /* first */
    struct shard *shard;
    struct api_who who;
    struct buf *body; /* what a PUT keeps */
    struct store_devices op;
    bool one; /* of a list, the one with op.id is asked for */
};

static void free_call(struct device_call *call)
{
    api_call_end(&call->api);
    buf_unref(call->body);
    mem_free(call);
}

static void on_overdue(struct api_call *api)
{
    const struct device_call *call = container_of(api, struct device_call, api);
    bool reads = call->op.base.op == STORE_DEVICE_LIST;
    api_refuse_status(call->api.request, reads ? STATUS_UNAVAILABLE : STATUS_UNKNOWN);
}

/* Answers. */

static void refuse_absent(struct http_request *request)
{
    api_refuse(request,
        &(struct api_error){.code = ERROR_NOT_FOUND, .message = "There is no such device"});
}

static void answer_json(const struct device_call *call, struct builder *out)
{
    api_answer(call->api.request, 200, BYTES("Cache-Control: private, no-cache\r\n"), out);
}

static void answer_list(const struct device_call *call)
{
    struct builder out = {0};
    json_write_open(&out, '{');
    json_write_key(&out, "items");
    json_write_open(&out, '[');
    for (size_t i = 0; i < call->op.count; i++) {
        json_write_next(&out);
        inbox_devices_write(&call->op, i, &out);
    }
    json_write_close(&out, ']');
    json_write_close(&out, '}');
    answer_json(call, &out);
}

static void answer_one(const struct device_call *call)
{
    for (size_t i = 0; i < call->op.count; i++) {
        if (!call->one || memcmp(call->op.devices[i].id, call->op.id, DEVICE_ID_LEN) == 0) {
            struct builder out = {0};
            inbox_devices_write(&call->op, i, &out);
            answer_json(call, &out);
            return;
        }
    }
    refuse_absent(call->api.request);
}

static void answer(const struct device_call *call)
{
    bool removes = call->op.base.op == STORE_DEVICE_REMOVE;
    if (call->op.base.status != 0) {
        api_refuse_status(call->api.request, call->op.base.status);
    } else if (removes && call->op.count > 0) {
        http_respond(call->api.request, 204, NULL, bytes_of(NULL, 0), bytes_of(NULL, 0));
    } else if (call->op.base.op == STORE_DEVICE_LIST && !call->one) {
        answer_list(call);
    } else {
        answer_one(call);
    }
}

static void on_done(struct store_request *request)
{
    struct device_call *call = container_of(request, struct device_call, op.base);
    if (request->status == 0) {
        inbox_devices_count(call->shard, &call->op);
    }
    if (call->api.request != NULL) {
        answer(call);
    }
    store_request_finish(request);
    free_call(call);
}

/* Calls. */

/* NULL: the request was answered. */
static struct device_call *new_call(struct http_request *request, enum store_op op, unsigned scopes)
{
    struct device_call *call = mem_alloc(sizeof(*call));
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
static void submit(struct http_request *request, struct device_call *call)
{
    if (call->shard->store == NULL) {
        api_refuse_unavailable(request);
        free_call(call);
        return;
    }
    api_call_hold_store(&call->api, request, on_overdue);
    store_submit(call->shard->store, &call->op.base);
}

void api_devices_list(struct http_request *request, void *context)
{
    (void)context;
    struct device_call *call = new_call(request, STORE_DEVICE_LIST, APIKEY_READ);
    if (call != NULL) {
        submit(request, call);
    }
}

/* What is asked of the device in the path, which may be absent. */
static void ask_one(struct http_request *request, enum store_op op, unsigned scopes)
{
    struct device_call *call = new_call(request, op, scopes);
    if (call == NULL) {
        return;
    }
    call->one = true;
    if (api_fields_path_id(request, 1, call->op.id)) {
        submit(request, call);
    } else {
        refuse_absent(request);
        free_call(call);
    }
}

void api_devices_get(struct http_request *request, void *context)
{
    (void)context;
    ask_one(request, STORE_DEVICE_LIST, APIKEY_READ);
}

void api_devices_remove(struct http_request *request, void *context)
{
    (void)context;
    ask_one(request, STORE_DEVICE_REMOVE, APIKEY_WRITE);
}

/* Whether the body describes a device; else the request is answered. */
static bool read_body(struct http_request *request, struct device_call *call)
{
    struct device device;
    struct notification_fault fault;
    uint8_t id[DEVICE_ID_LEN];
    if (!api_fields_path_id(request, 1, id)) {
        api_refuse_field(request, "id", "A UUID");
        return false;
    }
    int status = device_parse(request->body, false, &call->shard->config->zones, &device, &fault);
    if (status == STATUS_INVALID || status == STATUS_TOO_LARGE) {
        bool object = fault.field[0] != '\0';
        api_refuse(request, &(struct api_error){.code = status == STATUS_TOO_LARGE ? ERROR_TOO_LARGE
                                                        : object ? ERROR_INVALID_FIELD
                                                                 : ERROR_BAD_REQUEST,
                                .message = fault.message,
                                .field = object ? fault.field : NULL});
        return false;
    }
    if (status == 0) {
        device.has_id = true;
        memcpy(device.id, id, DEVICE_ID_LEN);
        status = inbox_devices_fill(call->shard, &device, &call->op, &call->body);
        device_finish(&device);
    }
    if (status != 0) {
        api_refuse_memory(request);
    }
    return status == 0;
}

void api_devices_put(struct http_request *request, void *context)
{
    (void)context;
    struct device_call *call = new_call(request, STORE_DEVICE_PUT, APIKEY_WRITE);
    if (call == NULL) {
        return;
    }
    if (read_body(request, call)) {
        submit(request, call);
    } else {
        free_call(call);
    }
}
