/* SPDX-License-Identifier: Apache-2.0 */
/*
 * adapter_request - reading requests, then writing Peal's own, then answers.
 */
#include "codec/adapter_request.h"

#include <time.h>

#include "codec/base/status.h"
#include "codec/json_scan.h"
#include "codec/json_write.h"
#include "codec/mp.h"

/* Reading. */

int adapter_request_take(struct bytes payload, struct buf **ret_packed)
{
    struct buf *packed;
    if (payload.len > 0 && payload.at[0] == '{') {
        struct builder out = {0};
        int status = mp_from_json(payload, NULL, 0, &out);
        packed = builder_finish(&out);
        if (status < 0) {
            buf_unref(packed);
            return status;
        }
    } else {
        packed = buf_new(payload);
    }
    if (packed == NULL) {
        return STATUS_NOMEM;
    }
    *ret_packed = packed;
    return 0;
}

static int read_type(struct bytes field, enum adapter_request_type *ret_type)
{
    struct mp_reader reader = {.rest = field};
    uint64_t type;
    if (mp_u64(&reader, &type) < 0 || type >= ADAPTER_REQUEST_TYPES) {
        return STATUS_INVALID;
    }
    *ret_type = (enum adapter_request_type)type;
    return 0;
}

/* Text, or nothing. */
static int read_text(struct bytes field, struct bytes *ret_text)
{
    struct mp_reader reader = {.rest = field};
    struct mp_value value;
    if (mp_next(&reader, &value) < 0 || (value.type != MP_NIL && !adapter_fields_is_text(&value))) {
        return STATUS_INVALID;
    }
    *ret_text = value.type == MP_NIL ? bytes_of(NULL, 0) : value.bytes;
    return 0;
}

/* A string or a number, kept as it is; nil is none. */
static int read_id(struct bytes field, struct bytes *ret_id)
{
    struct mp_reader reader = {.rest = field};
    struct mp_value value;
    int status = mp_next(&reader, &value);
    if (status < 0 || value.type == MP_NIL) {
        return status;
    }
    if (field.len > ADAPTER_ID_MAX ||
        (value.type != MP_STR && value.type != MP_UINT && value.type != MP_INT)) {
        return STATUS_INVALID;
    }
    *ret_id = field;
    return 0;
}

/* What the members say besides the request itself: which of them mean something, its type tells. */
struct fields {
    struct bytes options;
    struct bytes rooms;
    struct bytes room;
    struct bytes packet;
};

static int read_field(
    struct bytes key, struct bytes value, struct adapter_request *request, struct fields *fields)
{
    if (bytes_eq_str(key, "type")) {
        return read_type(value, &request->type);
    }
    if (bytes_eq_str(key, "uid")) {
        return read_text(value, &request->uid);
    }
    if (bytes_eq_str(key, "requestId")) {
        return read_id(value, &request->id);
    }
    if (bytes_eq_str(key, "sid")) {
        return read_text(value, &request->sid);
    }
    if (bytes_eq_str(key, "close")) {
        request->close = bytes_eq(value, BYTES("\xc3"));
    } else if (bytes_eq_str(key, "presence")) {
        request->presence = bytes_eq(value, BYTES("\xc3"));
    } else if (bytes_eq_str(key, "opts")) {
        fields->options = bytes_eq(value, BYTES("\xc0")) ? bytes_of(NULL, 0) : value;
    } else if (bytes_eq_str(key, "rooms")) {
        fields->rooms = value;
    } else if (bytes_eq_str(key, "room")) {
        fields->room = value;
    } else if (bytes_eq_str(key, "packet")) {
        fields->packet = value;
    }
    return 0;
}

/* An optional list. */
static int read_names(struct bytes field, struct adapter_names *ret_names)
{
    return field.len > 0 ? adapter_fields_names(field, ret_names) : 0;
}

/* The one room of the old form, text or a number. */
static int read_room(struct bytes field, struct adapter_names *ret_names)
{
    struct mp_reader reader = {.rest = field};
    struct mp_value value;
    if (mp_next(&reader, &value) < 0 ||
        (!adapter_fields_is_text(&value) && value.type != MP_UINT && value.type != MP_INT)) {
        return STATUS_INVALID;
    }
    *ret_names = (struct adapter_names){.count = 1, .reader = {.rest = field}};
    return 0;
}

/* Whom a change is about: options, or (the old form) one socket. */
static int read_change(const struct fields *fields, struct adapter_request *request)
{
    bool old = fields->options.len == 0;
    if (old && request->sid.len == 0) {
        return STATUS_INVALID;
    }
    if (!old) {
        request->sid = bytes_of(NULL, 0);
    }
    int status = old ? 0 : adapter_fields_options(fields->options, &request->options);
    if (status < 0 || request->type == ADAPTER_DISCONNECT) {
        return status;
    }
    return old ? read_room(fields->room, &request->targets)
               : read_names(fields->rooms, &request->targets);
}

/* A question: it can be answered, and says what it is about. */
static int read_question(const struct fields *fields, struct adapter_request *request)
{
    request->sid = bytes_of(NULL, 0);
    if (request->id.len == 0 || fields->options.len == 0) {
        return STATUS_INVALID;
    }
    int status = adapter_fields_options(fields->options, &request->options);
    if (status < 0 || request->type == ADAPTER_FETCH) {
        return status;
    }
    return fields->packet.len > 0 ? adapter_fields_packet(fields->packet, &request->packet)
                                  : STATUS_INVALID;
}

static int complete(const struct fields *fields, struct adapter_request *request)
{
    switch (request->type) {
    case ADAPTER_JOIN:
    case ADAPTER_LEAVE:
    case ADAPTER_DISCONNECT:
        return read_change(fields, request);
    case ADAPTER_FETCH:
    case ADAPTER_BROADCAST_ACK:
        return read_question(fields, request);
    case ADAPTER_SOCKETS:
    case ADAPTER_ALL_ROOMS:
        request->sid = bytes_of(NULL, 0);
        return request->id.len > 0 ? read_names(fields->rooms, &request->options.rooms)
                                   : STATUS_INVALID;
    case ADAPTER_SERVER_EMIT:
        return 0;
    case ADAPTER_REQUEST_TYPES:
    case ADAPTER_CLIENT_ACK:
        break;
    }
    return STATUS_INVALID;
}

int adapter_request_decode(struct bytes packed, struct adapter_request *ret_request)
{
    struct mp_reader reader = {.rest = packed};
    struct adapter_request request = {.type = ADAPTER_REQUEST_TYPES};
    struct fields fields = {0};
    uint32_t pairs;
    int status = mp_check(packed, ADAPTER_DEPTH_MAX, NULL);
    status = status < 0 ? status : mp_map(&reader, &pairs);
    for (; status == 0 && pairs > 0; pairs--) {
        struct bytes key;
        struct bytes value;
        status = adapter_fields_next(&reader, &key, &value);
        if (status == 0) {
            status = read_field(key, value, &request, &fields);
        }
    }
    status = status < 0 ? status : complete(&fields, &request);
    if (status == 0) {
        *ret_request = request;
    }
    return status;
}

/* Peal's own requests. */

/* Open a request about the sockets of one room. */
static void begin_request(struct bytes uid, struct bytes id, unsigned type, struct builder *out)
{
    json_write_open(out, '{');
    json_write_text(out, "uid", uid);
    if (id.len > 0) {
        json_write_text(out, "requestId", id);
    }
    json_write_u64(out, "type", type);
}

static void write_opts(struct bytes room, struct builder *out)
{
    json_write_key(out, "opts");
    json_write_open(out, '{');
    json_write_key(out, "rooms");
    json_write_open(out, '[');
    json_scan_write_string(out, room);
    json_write_close(out, ']');
    json_write_json(out, "except", BYTES("[]"));
    json_write_close(out, '}');
}

static void write_targets(const struct adapter_change *change, struct builder *out)
{
    json_write_key(out, "rooms");
    json_write_open(out, '[');
    for (uint32_t i = 0; i < change->target_count; i++) {
        json_write_next(out);
        json_scan_write_string(out, buf_bytes(change->targets[i]));
    }
    json_write_close(out, ']');
}

void adapter_change_write(const struct adapter_change *change, struct builder *out)
{
    begin_request(change->uid, bytes_of(NULL, 0), (unsigned)change->type, out);
    write_opts(change->room, out);
    if (change->type == ADAPTER_DISCONNECT) {
        json_write_bool(out, "close", true);
    } else {
        write_targets(change, out);
    }
    if (change->type == ADAPTER_JOIN) {
        json_write_bool(out, "presence", true);
    }
    json_write_close(out, '}');
}

/* Peal's own question. */

void adapter_fetch_write(struct bytes uid, struct bytes id, struct bytes room, struct builder *out)
{
    begin_request(uid, id, ADAPTER_FETCH, out);
    write_opts(room, out);
    json_write_close(out, '}');
}

int adapter_fetched_begin(struct bytes payload, struct bytes id, struct json_scan_iter *ret_sockets)
{
    /* Every answer says first to what; only those to us are worth being checked. */
    struct bytes start = BYTES("{\"requestId\":\"");
    struct bytes value;
    if (!bytes_starts(payload, start) || !bytes_starts(bytes_skip(payload, start.len), id)) {
        return STATUS_NOT_FOUND;
    }
    int status = json_scan_text(payload, JSON_SCAN_DEPTH_DEFAULT, NULL, NULL);
    status = status < 0 ? status : json_scan_get(payload, "requestId", &value);
    if (status < 0) {
        return status;
    }
    if (!json_scan_string_eq(value, id)) {
        return STATUS_NOT_FOUND;
    }
    if (json_scan_get(payload, "sockets", &value) < 0 || json_scan_kind(value) != JSON_SCAN_ARRAY) {
        return STATUS_INVALID;
    }
    json_scan_iter_init(ret_sockets, value);
    return 0;
}

bool adapter_fetched_next(struct json_scan_iter *sockets, char *at, struct bytes *ret_user)
{
    struct bytes socket;
    struct bytes data;
    struct bytes user;
    if (!json_scan_element(sockets, &socket)) {
        return false;
    }
    if (json_scan_get(socket, "data", &data) < 0 || json_scan_get(data, "userId", &user) < 0 ||
        json_scan_string(user, at, NAMES_USER_MAX, ret_user) < 0 ||
        names_check_user(*ret_user) < 0) {
        *ret_user = bytes_of(NULL, 0);
    }
    return true;
}

/* Answers. */

static int write_id(struct bytes id, struct builder *out)
{
    json_write_key(out, "requestId");
    return mp_to_json(id, NULL, out);
}

static int conclude(int status, const struct builder *out)
{
    return status == 0 ? builder_status(out) : status;
}

int adapter_answer_list(
    struct bytes id, const char *key, struct bytes elements, struct builder *out)
{
    json_write_open(out, '{');
    int status = write_id(id, out);
    json_write_key(out, key);
    json_write_open(out, '[');
    builder_add(out, elements);
    json_write_close(out, ']');
    json_write_close(out, '}');
    return conclude(status, out);
}

int adapter_answer_done(struct bytes id, struct builder *out)
{
    json_write_open(out, '{');
    int status = write_id(id, out);
    json_write_close(out, '}');
    return conclude(status, out);
}

int adapter_answer_server(struct bytes id, struct builder *out)
{
    json_write_open(out, '{');
    json_write_u64(out, "type", ADAPTER_SERVER_EMIT);
    int status = write_id(id, out);
    json_write_json(out, "data", bytes_of(NULL, 0));
    json_write_close(out, '}');
    return conclude(status, out);
}

int adapter_answer_count(struct bytes id, uint32_t count, struct builder *out)
{
    json_write_open(out, '{');
    json_write_u64(out, "type", ADAPTER_CLIENT_COUNT);
    int status = write_id(id, out);
    json_write_u64(out, "clientCount", count);
    json_write_close(out, '}');
    return conclude(status, out);
}

int adapter_answer_ack(struct bytes id, struct bytes ack, struct builder *out)
{
    mp_pack_map(out, 3);
    mp_pack_str(out, BYTES("type"));
    mp_pack_u64(out, ADAPTER_CLIENT_ACK);
    mp_pack_str(out, BYTES("requestId"));
    builder_add(out, id);
    mp_pack_str(out, BYTES("packet"));
    builder_add(out, ack);
    return conclude(0, out);
}

static void write_fact(struct builder *out, const char *name, struct bytes value)
{
    if (value.len > 0) {
        json_write_text(out, name, value);
    }
}

/* As JavaScript writes a Date: "Sun Nov 29 2026 17:42:00 GMT+0000 (Coordinated Universal Time)". */
static void write_date(uint64_t ms, struct builder *out)
{
    time_t seconds = (time_t)(ms / 1000);
    struct tm parts;
    char text[64] = "";
    if (gmtime_r(&seconds, &parts) != NULL) {
        strftime(text, sizeof(text), "%a %b %d %Y %H:%M:%S", &parts);
    }
    builder_str(out, text);
    builder_str(out, " GMT+0000 (Coordinated Universal Time)");
}

static void write_query(const struct adapter_socket *socket, struct builder *out)
{
    json_write_key(out, "query");
    json_write_open(out, '{');
    if (socket->transport != NULL) {
        json_write_text(out, "EIO", BYTES("4"));
        json_write_text(out, "transport", bytes_str(socket->transport));
    }
    json_write_close(out, '}');
    json_write_json(out, "auth", BYTES("{}"));
}

static void write_peer(const struct adapter_socket *socket, struct builder *out)
{
    bool plain = socket->transport == NULL;
    json_write_key(out, "url");
    builder_byte(out, '"');
    builder_str(out, plain ? "/ws" : "/socket.io/?EIO=4&transport=");
    builder_str(out, plain ? "" : socket->transport);
    builder_byte(out, '"');
    json_write_bool(out, "secure", false);
    json_write_bool(out, "xdomain", socket->cross_domain);
    json_write_u64(out, "issued", socket->issued_ms);
    json_write_key(out, "time");
    builder_byte(out, '"');
    write_date(socket->issued_ms, out);
    builder_byte(out, '"');
    json_write_text(out, "address", socket->address);
}

void adapter_socket_begin(const struct adapter_socket *socket, struct builder *out)
{
    json_write_open(out, '{');
    json_write_text(out, "id", socket->sid);
    json_write_key(out, "handshake");
    json_write_open(out, '{');
    json_write_json(out, "headers", BYTES("{}"));
    write_query(socket, out);
    if (socket->address.len > 0) {
        write_peer(socket, out);
    }
    json_write_close(out, '}');
    json_write_key(out, "data");
    json_write_open(out, '{');
    json_write_text(out, "userId", socket->user);
    write_fact(out, "userName", socket->name);
    write_fact(out, "role", socket->role);
    write_fact(out, "tenant", socket->tenant);
    json_write_close(out, '}');
    json_write_key(out, "rooms");
    json_write_open(out, '[');
    adapter_socket_room(socket->sid, out);
}

void adapter_socket_room(struct bytes room, struct builder *out)
{
    json_write_next(out);
    json_scan_write_string(out, room);
}

void adapter_socket_end(struct builder *out)
{
    json_write_close(out, ']');
    json_write_close(out, '}');
}
