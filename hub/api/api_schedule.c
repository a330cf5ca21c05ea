/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads a post for later; users do not see it before it is due.
 */
#include "hub/api/api_schedule.h"

#include "actors/shard.h"
#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "codec/json_write.h"
#include "codec/names.h"
#include "codec/notification.h"
#include "hub/api/api_answer.h"
#include "hub/api/api_shard.h"
#include "sql/store.h"

/* A read under way. It outlives its request when the peer goes. */
struct schedule_call {
    struct api_call api; /* first */
    struct store_reschedule read;
    char tenant[NAMES_TENANT_MAX];
};

static void write_audience(const struct store_scheduled *item, struct builder *out)
{
    json_write_key(out, "audience");
    json_write_open(out, '{');
    json_write_text(out, "kind", notification_audience_name(item->kind));
    if (item->kind == AUDIENCE_TOPIC) {
        json_write_text(out, "name", item->name);
    } else {
        json_write_json(out, "name", bytes_of(NULL, 0));
    }
    json_write_close(out, '}');
}

void api_schedule_write(const struct store_scheduled *item, struct builder *out)
{
    const struct store_row *row = &item->row;
    json_write_open(out, '{');
    json_write_uuid(out, "id", row->id);
    json_write_text(out, "status", BYTES("scheduled"));
    json_write_time(out, "deliverAt", row->deliver_at);
    if (item->kind == AUDIENCE_NONE) {
        json_write_text(out, "userId", row->who.user);
    } else {
        write_audience(item, out);
    }
    json_write_text(out, "type", row->type);
    json_write_text(out, "title", row->title);
    json_write_text(out, "message", row->message);
    json_write_json(out, "data", row->data);
    json_write_text(out, "priority", notification_priority_name(row->priority));
    if (row->expires_at > 0) {
        json_write_time(out, "expiresAt", row->expires_at);
    }
    if (row->collapse.len > 0) {
        json_write_text(out, "collapse", row->collapse);
    }
    json_write_close(out, '}');
}

static void on_overdue(struct api_call *api)
{
    api_refuse_status(api->request, STATUS_UNAVAILABLE);
}

static void on_read(struct store_request *request)
{
    struct schedule_call *call = container_of(request, struct schedule_call, read.base);
    if (call->api.request != NULL && request->status == 0) {
        struct builder out = {0};
        api_schedule_write(&call->read.item, &out);
        api_answer(call->api.request, 200, BYTES("Cache-Control: private, no-store\r\n"), &out);
    } else if (call->api.request != NULL) {
        api_refuse_status(call->api.request, request->status);
    }
    store_request_finish(request);
    api_call_end(&call->api);
    mem_free(call);
}

void api_schedule_get(
    struct http_request *request, struct bytes tenant, const uint8_t id[NOTIFICATION_ID_LEN])
{
    struct shard *shard = api_shard(request)->shard;
    if (shard->store == NULL) {
        api_refuse_unavailable(request);
        return;
    }
    struct schedule_call *call = mem_alloc(sizeof(*call));
    size_t len = tenant.len < sizeof(call->tenant) ? tenant.len : sizeof(call->tenant);
    if (len > 0) {
        memcpy(call->tenant, tenant.at, len);
    }
    call->read = (struct store_reschedule){
        .base = {.op = STORE_RESCHEDULE, .done = on_read}, .tenant = bytes_of(call->tenant, len)};
    memcpy(call->read.id, id, NOTIFICATION_ID_LEN);
    api_call_hold_store(&call->api, request, on_overdue);
    store_submit(shard->store, &call->read.base);
}
