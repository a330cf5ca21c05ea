/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Devices of a connected user. Order of this file: for HTTP too, which socket is on which device,
 * answers, calls.
 */
#include "actors/inbox/inbox_devices.h"

#include <string.h>

#include "actors/deliver/call.h"
#include "actors/deliver/socket.h"
#include "actors/inbox/inbox.h"
#include "actors/inbox/inbox_receipts.h"
#include "actors/inbox/inbox_request.h"
#include "actors/shard.h"
#include "codec/base/log.h"
#include "codec/base/mem.h"
#include "codec/base/rand.h"
#include "codec/base/status.h"
#include "codec/device.h"
#include "codec/json_scan.h"
#include "codec/json_write.h"
#include "codec/slot.h"
#include "sql/store.h"

/* A socket of the user, and the device that it has registered. */
struct on_device {
    uint32_t socket_id;
    bool foreground;
    uint8_t id[DEVICE_ID_LEN];
};

struct inbox_devices {
    size_t count; /* one for each socket at most: limits.connections_per_user */
    struct on_device *sockets;
};

/* For HTTP, too. */

int inbox_devices_fill(struct shard *shard, const struct device *device, struct store_devices *put,
    struct buf **ret_body)
{
    struct builder body = {0};
    struct device known = *device;
    if (device->platform == DEVICE_WEB && device->server_key.len == 0) {
        known.server_key =
            bytes_str(shard->config->devices.push_key); /* each device keeps its own */
    }
    device_store(&known, &body);
    struct buf *text = builder_finish(&body);
    if (text == NULL ||
        notification_key_hash(shard->config->hash128, put->who.tenant,
            device_platform_name(device->platform), device->address, put->address_hash) != 0) {
        buf_unref(text);
        return STATUS_NOMEM;
    }
    put->body = buf_bytes(text);
    put->most = shard->config->devices.per_user;
    put->has_id = device->has_id;
    memcpy(put->id, device->id, DEVICE_ID_LEN);
    if (!device->has_id) {
        uuid7_make(sched_wall(shard->sched), slot_of(put->who.tenant, put->who.user), put->id);
    }
    *ret_body = text;
    return 0;
}

void inbox_devices_count(struct shard *shard, const struct store_devices *devices)
{
    struct device_stats *stats = &shard->stats.devices;
    stats->registered += devices->base.op == STORE_DEVICE_PUT;
    stats->removed += devices->base.op == STORE_DEVICE_REMOVE ? devices->count : 0;
    stats->moved += devices->moved;
    stats->dropped += devices->dropped;
    if (devices->moved > 0) {
        log_info("DEVICE-MOVED", "a device belongs to another user than before",
            "user=%s tenant=%s", log_quote(devices->who.user), log_quote(devices->who.tenant));
    }
}

void inbox_devices_write(const struct store_devices *devices, size_t index, struct builder *out)
{
    const struct store_device *device = &devices->devices[index];
    struct device_kept kept = {
        .stored = device->body,
        .created_at = device->created_at,
        .registered_at = device->registered_at,
        .foreground = device->foreground_at > 0 &&
                      device->foreground_at + DEVICE_FOREGROUND_MS > devices->now,
    };
    memcpy(kept.id, device->id, DEVICE_ID_LEN);
    device_write(&kept, out);
}

/* Which socket is on which device. */

static void account(struct inbox *inbox, size_t before, size_t after)
{
    struct shard_stats *stats = &shard_of(&inbox->owner.actor)->stats;
    stats->waiting_bytes += after > 0 ? mem_cost(after) : 0;
    stats->waiting_bytes -= before > 0 ? mem_cost(before) : 0;
}

static struct on_device *find(const struct inbox *inbox, uint32_t socket_id)
{
    const struct inbox_devices *known = inbox->devices;
    for (size_t i = 0; known != NULL && i < known->count; i++) {
        if (known->sockets[i].socket_id == socket_id) {
            return &known->sockets[i];
        }
    }
    return NULL;
}

/* Without memory nothing is noted: the client names the device itself, or registers it again. */
static void note(struct inbox *inbox, uint32_t socket_id, const uint8_t id[DEVICE_ID_LEN])
{
    struct on_device *at = find(inbox, socket_id);
    if (inbox->devices == NULL) {
        inbox->devices = mem_alloc(sizeof(*inbox->devices));
        account(inbox, 0, sizeof(*inbox->devices));
    }
    struct inbox_devices *known = inbox->devices;
    if (at == NULL) {
        size_t size = known->count * sizeof(*known->sockets);
        struct on_device *grown = mem_try_realloc(known->sockets, size + sizeof(*grown));
        if (grown == NULL) {
            return;
        }
        account(inbox, size, size + sizeof(*grown));
        known->sockets = grown;
        at = &grown[known->count++];
        *at = (struct on_device){.socket_id = socket_id};
    }
    memcpy(at->id, id, DEVICE_ID_LEN);
}

static void forget(struct inbox *inbox, struct on_device *at)
{
    struct inbox_devices *known = inbox->devices;
    size_t size = known->count * sizeof(*known->sockets);
    *at = known->sockets[--known->count];
    if (known->count == 0) {
        inbox_devices_drop(inbox);
    } else {
        account(inbox, size, size - sizeof(*at)); /* the rest stays for the next one */
    }
}

void inbox_devices_drop(struct inbox *inbox)
{
    struct inbox_devices *known = inbox->devices;
    if (known == NULL) {
        return;
    }
    account(inbox, (known->count > 0 ? known->count : 1) * sizeof(*known->sockets), 0);
    account(inbox, sizeof(*known), 0);
    mem_free(known->sockets);
    mem_free(known);
    inbox->devices = NULL;
}

static void on_background(struct inbox *inbox, struct inbox_request *request)
{
    (void)inbox;
    (void)request; /* where the store was away, it is believed for DEVICE_FOREGROUND_MS */
}

/* Nobody waits for it, also when the user goes with its last socket. */
static void leave_front(struct inbox *inbox, const uint8_t id[DEVICE_ID_LEN])
{
    if (shard_of(&inbox->owner.actor)->store == NULL) {
        return; /* the node ends */
    }
    struct inbox_request *request = inbox_request_create(inbox, STORE_DEVICE_STATE, on_background);
    request->store.devices.who = inbox_request_who(request);
    memcpy(request->store.devices.id, id, DEVICE_ID_LEN);
    inbox_request_submit(request);
}

static bool is_in_front(const struct inbox *inbox, const uint8_t id[DEVICE_ID_LEN])
{
    const struct inbox_devices *known = inbox->devices;
    for (size_t i = 0; known != NULL && i < known->count; i++) {
        if (known->sockets[i].foreground && memcmp(known->sockets[i].id, id, DEVICE_ID_LEN) == 0) {
            return true;
        }
    }
    return false;
}

void inbox_devices_tidy(struct inbox *inbox)
{
    for (size_t i = 0; inbox->devices != NULL && i < inbox->devices->count;) {
        struct on_device gone = inbox->devices->sockets[i];
        if (owner_socket(&inbox->owner, gone.socket_id) != NULL) {
            i++;
            continue;
        }
        forget(inbox, &inbox->devices->sockets[i]);
        if (gone.foreground && !is_in_front(inbox, gone.id)) {
            leave_front(inbox, gone.id);
        }
    }
}

/* Answers. */

static void refuse(
    struct inbox *inbox, const struct inbox_request *request, const struct call_refusal *refusal)
{
    struct socket *socket = owner_socket(&inbox->owner, request->socket_id);
    if (socket != NULL) {
        call_refuse_event(
            socket, request->has_id ? &request->id : NULL, bytes_str(request->event), refusal);
    }
}

/* Ack {"ok":true}, with the device where one is to be told. */
static void answer(struct inbox *inbox, const struct inbox_request *request, bool told)
{
    struct socket *socket = owner_socket(&inbox->owner, request->socket_id);
    struct builder text = {0};
    json_write_open(&text, '{');
    json_write_bool(&text, "ok", true);
    if (told) {
        json_write_key(&text, "device");
        inbox_devices_write(&request->store.devices, 0, &text);
    }
    json_write_close(&text, '}');
    if (socket != NULL && builder_failed(&text)) {
        refuse(inbox, request,
            &(struct call_refusal){
                .code = ERROR_UNAVAILABLE, .message = "Out of memory, try again"});
    } else if (socket != NULL && request->has_id) {
        socket_ack(socket, request->id, builder_bytes(&text));
    }
    builder_reset(&text);
}

static void on_answered(struct inbox *inbox, struct inbox_request *request)
{
    const struct store_devices *devices = &request->store.devices;
    static const struct call_refusal away = {
        .code = ERROR_UNAVAILABLE, .message = "The store is not available, try again"};
    static const struct call_refusal absent = {
        .code = ERROR_NOT_FOUND, .message = "There is no such device", .field = "id"};
    bool puts = devices->base.op == STORE_DEVICE_PUT;
    struct on_device *at = find(inbox, request->socket_id);
    if (devices->base.status != 0) {
        refuse(inbox, request, &away);
        return;
    }
    if (devices->count == 0) {
        refuse(inbox, request, &absent);
        return;
    }
    if (puts && owner_socket(&inbox->owner, request->socket_id) != NULL) {
        note(inbox, request->socket_id, devices->devices[0].id);
        inbox_receipts_begin(inbox);
    } else if (at != NULL && memcmp(at->id, devices->id, DEVICE_ID_LEN) == 0) {
        if (devices->base.op == STORE_DEVICE_REMOVE) {
            forget(inbox, at);
        } else {
            at->foreground = devices->foreground;
        }
    }
    answer(inbox, request, devices->base.op != STORE_DEVICE_REMOVE);
}

/* Calls. */

static void count(struct inbox_request *request)
{
    inbox_devices_count(request->shard, &request->store.devices);
}

static struct inbox_request *new_request(const struct client_call *call, enum store_op op)
{
    struct inbox_request *request =
        inbox_request_create(inbox_of(call->socket->user), op, on_answered);
    request->socket_id = call->socket->id;
    request->has_id = call->has_id;
    request->id = call->id;
    memcpy(request->event, call->event->name.at, call->event->name.len);
    request->store.devices.who = inbox_request_who(request);
    request->carried_out = count;
    return request;
}

static void refuse_fault(
    const struct client_call *call, int status, const struct notification_fault *fault)
{
    const struct call_refusal refusal = {
        .code = status == STATUS_TOO_LARGE ? ERROR_TOO_LARGE : ERROR_INVALID_FIELD,
        .message = fault->message,
        .field = fault->field[0] != '\0' ? fault->field : NULL,
    };
    call_refuse_event(call->socket, call->has_id ? &call->id : NULL, call->event->name, &refusal);
}

void inbox_devices_register(const struct client_call *call)
{
    struct shard *shard = call->socket->shard;
    struct device device;
    struct notification_fault fault;
    int status =
        device_parse(call_argument(call->event), true, &shard->config->zones, &device, &fault);
    if (status != 0 && status != STATUS_NOMEM) {
        refuse_fault(call, status, &fault);
        return;
    }
    struct inbox_request *request = new_request(call, STORE_DEVICE_PUT);
    if (status == 0) {
        status = inbox_devices_fill(shard, &device, &request->store.devices, &request->text);
        device_finish(&device);
    }
    if (status != 0) {
        call_refuse(call, ERROR_UNAVAILABLE, "Out of memory, try again");
        inbox_request_destroy(&request->store.base);
        return;
    }
    inbox_request_submit(request);
}

/* The device that a call names, or that its socket is on. False: it was refused. */
static bool read_id(const struct client_call *call, struct bytes value, uint8_t id[DEVICE_ID_LEN])
{
    char at[UUID_TEXT_LEN];
    struct bytes text;
    const struct on_device *known = find(inbox_of(call->socket->user), call->socket->id);
    if (value.len > 0 && json_scan_kind(value) != JSON_SCAN_NULL) {
        if (json_scan_string(value, at, sizeof(at), &text) != 0 ||
            uuid_parse(text.at, text.len, id) != 0) {
            call_refuse_field(call, "id", "A UUID: the id of a device");
            return false;
        }
        return true;
    }
    if (known == NULL) {
        call_refuse_field(call, "id", "The id of a device: none was registered here");
        return false;
    }
    memcpy(id, known->id, DEVICE_ID_LEN);
    return true;
}

/* Members of the argument: `id`, and `foreground` where it is wanted. False: it was refused. */
static bool read_argument(
    const struct client_call *call, bool *ret_foreground, uint8_t ret_id[DEVICE_ID_LEN])
{
    struct bytes argument = call_argument(call->event);
    struct json_scan_wanted wanted[] = {{.key = "id"}, {.key = "foreground"}};
    if (ret_foreground != NULL || argument.len > 0) {
        if (json_scan_kind(argument) != JSON_SCAN_OBJECT) {
            call_refuse(call, ERROR_INVALID_FIELD,
                ret_foreground != NULL ? "Expected {foreground, id?}"
                                       : "Expected {id}, or nothing");
            return false;
        }
        json_scan_get_all(argument, wanted, sizeof(wanted) / sizeof(wanted[0]));
    }
    if (ret_foreground != NULL && json_scan_bool(wanted[1].value, ret_foreground) != 0) {
        call_refuse_field(call, "foreground", "true or false");
        return false;
    }
    return read_id(call, wanted[0].value, ret_id);
}

void inbox_devices_state(const struct client_call *call)
{
    bool foreground;
    uint8_t id[DEVICE_ID_LEN];
    if (!read_argument(call, &foreground, id)) {
        return;
    }
    struct inbox_request *request = new_request(call, STORE_DEVICE_STATE);
    request->store.devices.foreground = foreground;
    memcpy(request->store.devices.id, id, DEVICE_ID_LEN);
    inbox_request_submit(request);
}

void inbox_devices_remove(const struct client_call *call)
{
    uint8_t id[DEVICE_ID_LEN];
    if (!read_argument(call, NULL, id)) {
        return;
    }
    struct inbox_request *request = new_request(call, STORE_DEVICE_REMOVE);
    memcpy(request->store.devices.id, id, DEVICE_ID_LEN);
    inbox_request_submit(request);
}
