/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Push over HTTP: the key that pages subscribe with, and trying whether a device is reached.
 *
 * A test reads the user's devices, sends, waits for what the provider says, and takes the device
 * away where that means it; unless it was registered anew meanwhile.
 */
#include <string.h>

#include "actors/inbox/inbox_devices.h"
#include "codec/base/mem.h"
#include "codec/base/rand.h"
#include "codec/base/status.h"
#include "codec/json_scan.h"
#include "codec/json_write.h"
#include "hub/api/api_answer.h"
#include "hub/api/api_auth.h"
#include "hub/api/api_fields.h"
#include "hub/api/api_handlers.h"
#include "hub/api/api_shard.h"
#include "hub/push/push.h"
#include "sql/store.h"

enum { TEXT_MAX = 256, DEPTH = 2, TTL_S = 60 };

struct test_call {
    struct api_call api; /* first */
    struct shard *shard;
    struct api_who who;
    struct store_devices op;
    struct push_call push;
    struct builder plain;
    uint8_t id[NOTIFICATION_ID_LEN];
};

static void free_call(struct test_call *call)
{
    api_call_end(&call->api);
    builder_reset(&call->plain);
    mem_free(call);
}

/* The key. */

void api_push_key(struct http_request *request, void *context)
{
    struct api_who who;
    struct builder out = {0};
    const struct push *push = api_shard(request)->shard->push;
    const char *key = push != NULL ? push_public_key(push) : NULL;
    (void)context;
    if (!api_auth_any(request, APIKEY_READ, &who)) {
        return;
    }
    if (key == NULL) {
        api_refuse(request, &(struct api_error){.code = ERROR_NOT_FOUND,
                                .message = "Web Push is not configured: push.vapid_key"});
        return;
    }
    json_write_open(&out, '{');
    json_write_text(&out, "key", bytes_str(key));
    json_write_close(&out, '}');
    api_answer(request, 200, BYTES("Cache-Control: private, no-cache\r\n"), &out);
}

/* A test. */

static void on_overdue(struct api_call *api)
{
    api_refuse_status(api->request, STATUS_UNAVAILABLE);
}

static void answer(const struct test_call *call)
{
    struct builder out = {0};
    json_write_open(&out, '{');
    json_write_text(&out, "outcome", bytes_str(push_outcome_name(call->push.outcome)));
    if (call->push.status > 0) {
        json_write_u64(&out, "status", call->push.status);
    }
    json_write_bool(&out, "removed", call->op.base.op == STORE_DEVICE_REMOVE && call->op.count > 0);
    json_write_close(&out, '}');
    api_answer(call->api.request, 200, bytes_of(NULL, 0), &out);
}

static void end(struct test_call *call)
{
    if (call->api.request != NULL) {
        answer(call);
    }
    store_request_finish(&call->op.base);
    free_call(call);
}

static void on_removed(struct store_request *request)
{
    struct test_call *call = container_of(request, struct test_call, op.base);
    if (request->status == 0) {
        inbox_devices_count(call->shard, &call->op);
    }
    end(call);
}

/* The device is gone: so it goes here, unless it is another by now. */
static void take_away(struct test_call *call)
{
    uint8_t address[STORE_HASH_LEN];
    memcpy(address, call->op.address_hash, sizeof(address));
    if (call->shard->store == NULL) { /* the node ends */
        end(call);
        return;
    }
    store_request_finish(&call->op.base);
    call->op = (struct store_devices){.base = {.op = STORE_DEVICE_REMOVE, .done = on_removed},
        .who = {.tenant = call->who.tenant, .user = call->who.user},
        .has_address = true};
    memcpy(call->op.id, call->id, sizeof(call->id));
    memcpy(call->op.address_hash, address, sizeof(address));
    api_call_renew(&call->api);
    store_submit(call->shard->store, &call->op.base);
}

static void on_pushed(struct push_call *push)
{
    struct test_call *call = container_of(push, struct test_call, push);
    if (push->outcome == PUSH_GONE) {
        take_away(call);
    } else {
        end(call);
    }
}

static void refuse(struct test_call *call, int status)
{
    if (call->api.request != NULL && status == STATUS_NOT_FOUND) {
        api_refuse(call->api.request,
            &(struct api_error){.code = ERROR_NOT_FOUND, .message = "There is no such device"});
    } else if (call->api.request != NULL) {
        api_refuse_status(call->api.request, status);
    }
    store_request_finish(&call->op.base);
    free_call(call);
}

static void send(struct test_call *call, const struct store_device *kept)
{
    struct device device;
    struct notification_fault fault;
    int status = device_parse(kept->body, false, NULL, &device, &fault);
    if (status != 0 || call->shard->push == NULL) {
        refuse(call, STATUS_UNAVAILABLE);
        return;
    }
    memcpy(call->op.address_hash, kept->address_hash, STORE_HASH_LEN);
    call->push = (struct push_call){.device = &device,
        .plain = builder_bytes(&call->plain),
        .urgency = "high",
        .ttl_s = TTL_S,
        .done = on_pushed};
    api_call_pause(&call->api); /* the provider has push.timeout */
    status = push_begin(call->shard->push, &call->push);
    device_finish(&device);
    if (status == STATUS_INVALID) {
        end(call);
    } else if (status != 0) {
        refuse(call, STATUS_UNAVAILABLE);
    }
}

static void on_listed(struct store_request *request)
{
    struct test_call *call = container_of(request, struct test_call, op.base);
    if (request->status != 0 || call->api.request == NULL) {
        refuse(call, request->status);
        return;
    }
    for (size_t i = 0; i < call->op.count; i++) {
        if (memcmp(call->op.devices[i].id, call->id, sizeof(call->id)) == 0) {
            send(call, &call->op.devices[i]);
            return;
        }
    }
    refuse(call, STATUS_NOT_FOUND);
}

/* A member of the body as text; false: the request was refused. */
static bool read_text(struct http_request *request, struct bytes object, const char *name, char *at,
    struct bytes *text)
{
    struct bytes value;
    int status = json_scan_get(object, name, &value);
    if (status == STATUS_NOT_FOUND) {
        return true;
    }
    if (status != 0 || json_scan_string(value, at, TEXT_MAX, text) != 0) {
        api_refuse_field(request, name, "A string of at most 256 bytes, once");
        return false;
    }
    return true;
}

/* What the browser shows, in the declarative form; false: the request was refused. */
static bool write_plain(struct http_request *request, struct builder *out)
{
    char at[3][TEXT_MAX];
    unsigned flags;
    struct bytes object = BYTES("{}");
    struct bytes title = BYTES("Test");
    struct bytes message = BYTES("");
    struct bytes url = BYTES("/");
    if (request->body.len > 0 &&
        (json_scan_text(request->body, DEPTH, &object, &flags) != 0 ||
            json_scan_kind(object) != JSON_SCAN_OBJECT || (flags & JSON_SCAN_NUL) != 0)) {
        api_refuse(request, &(struct api_error){.code = ERROR_BAD_REQUEST,
                                .message = "The body is neither empty nor a JSON object"});
        return false;
    }
    if (!api_fields_check(request, object, "title, message, url") ||
        !read_text(request, object, "title", at[0], &title) ||
        !read_text(request, object, "message", at[1], &message) ||
        !read_text(request, object, "url", at[2], &url)) {
        return false;
    }
    json_write_open(out, '{');
    json_write_u64(out, "web_push", 8030);
    json_write_key(out, "notification");
    json_write_open(out, '{');
    json_write_text(out, "title", title);
    json_write_text(out, "body", message);
    json_write_text(out, "navigate", url);
    json_write_text(out, "tag", BYTES("peal:test"));
    json_write_close(out, '}');
    json_write_close(out, '}');
    return true;
}

void api_push_test(struct http_request *request, void *context)
{
    (void)context;
    struct test_call *call = mem_alloc(sizeof(*call));
    call->shard = api_shard(request)->shard;
    if (!api_auth_user(request, APIKEY_WRITE, true, &call->who) ||
        !write_plain(request, &call->plain)) {
        free_call(call);
        return;
    }
    if (!api_fields_path_id(request, 1, call->id)) {
        api_refuse(request,
            &(struct api_error){.code = ERROR_NOT_FOUND, .message = "There is no such device"});
        free_call(call);
        return;
    }
    if (call->shard->store == NULL) {
        api_refuse_unavailable(request);
        free_call(call);
        return;
    }
    call->op = (struct store_devices){.base = {.op = STORE_DEVICE_LIST, .done = on_listed},
        .who = {.tenant = call->who.tenant, .user = call->who.user}};
    api_call_hold_store(&call->api, request, on_overdue);
    store_submit(call->shard->store, &call->op.base);
}
