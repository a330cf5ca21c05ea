/* SPDX-License-Identifier: Apache-2.0 */
/*
 * adapter_wire - channel names, then decoding (each function takes one level of the message), then
 * encoding.
 */
#include "codec/adapter_wire.h"

#include <inttypes.h>
#include <stdio.h>

#include "codec/base/status.h"

/* The event array itself may nest as deep as an event; the message adds two levels. */
enum { MESSAGE_DEPTH = MP_DEPTH_MAX };

static const char *const channel_infix[] = {
    [ADAPTER_BROADCAST] = "#",
    [ADAPTER_REQUEST] = "-request#",
    [ADAPTER_RESPONSE] = "-response#",
};

void adapter_channel_write(enum adapter_channel channel, struct bytes key, struct bytes nsp,
    struct bytes room, struct builder *out)
{
    builder_add(out, key);
    builder_str(out, channel_infix[channel]);
    builder_add(out, nsp);
    builder_byte(out, '#');
    if (room.len > 0) {
        builder_add(out, room);
        builder_byte(out, '#');
    }
}

int adapter_channel_parse(struct bytes key, struct bytes name, enum adapter_channel *ret_channel,
    struct bytes *ret_nsp, struct bytes *ret_room)
{
    if (!bytes_starts(name, key)) {
        return STATUS_NOT_FOUND;
    }
    name = bytes_skip(name, key.len);
    unsigned channel = 0;
    while (channel < ARRAY_LEN(channel_infix) &&
           !bytes_starts(name, bytes_str(channel_infix[channel]))) {
        channel++;
    }
    if (channel == ARRAY_LEN(channel_infix)) {
        return STATUS_NOT_FOUND;
    }
    name = bytes_skip(name, bytes_str(channel_infix[channel]).len);
    size_t nsp_len = 0;
    while (nsp_len < name.len && name.at[nsp_len] != '#') {
        nsp_len++;
    }
    if (nsp_len == 0) {
        return STATUS_NOT_FOUND;
    }
    struct bytes room = bytes_skip(name, nsp_len < name.len ? nsp_len + 1 : nsp_len);
    if (room.len > 0 && room.at[room.len - 1] == '#') {
        room.len--;
    }
    *ret_channel = (enum adapter_channel)channel;
    *ret_nsp = bytes_of(name.at, nsp_len);
    *ret_room = room;
    return 0;
}

static bool is_text(enum mp_type type)
{
    return type == MP_STR || type == MP_BIN;
}

/* Nothing at all, as emitters of some languages write an empty list or map. */
static bool is_nothing(const struct mp_value *value)
{
    return value->type == MP_NIL || (is_text(value->type) && value->bytes.len == 0) ||
           (value->type == MP_ARRAY && value->count == 0);
}

/* Start on `field` of a map: its text key and its value; `*ret_key` is empty for other keys. */
static int next_field(struct mp_reader *reader, struct bytes *ret_key, struct bytes *ret_value)
{
    struct bytes key;
    int status = mp_slice(reader, MESSAGE_DEPTH, &key);
    status = status < 0 ? status : mp_slice(reader, MESSAGE_DEPTH, ret_value);
    if (status < 0) {
        return status;
    }
    struct mp_reader inner = {.rest = key};
    struct mp_value value;
    status = mp_next(&inner, &value);
    *ret_key = status == 0 && is_text(value.type) ? value.bytes : bytes_of(NULL, 0);
    return status;
}

static int decode_names(struct bytes field, struct adapter_names *ret_names)
{
    struct mp_reader reader = {.rest = field};
    struct mp_value value;
    int status = mp_next(&reader, &value);
    if (status < 0) {
        return status;
    }
    *ret_names = (struct adapter_names){0};
    if (is_nothing(&value)) {
        return 0;
    }
    if (is_text(value.type)) {
        *ret_names = (struct adapter_names){.count = 1, .reader = {.rest = field}};
        return 0;
    }
    if (value.type != MP_ARRAY) {
        return STATUS_INVALID;
    }
    *ret_names = (struct adapter_names){.count = value.count, .reader = reader};
    /* A name that is none must not make an empty list of the rest: that would mean everyone. */
    for (uint32_t left = value.count; left > 0; left--) {
        struct mp_value name;
        status = mp_next(&reader, &name);
        if (status < 0 || (!is_text(name.type) && name.type != MP_UINT && name.type != MP_INT)) {
            return STATUS_INVALID;
        }
    }
    return 0;
}

/* Flags count only when true; whatever is no map has none. */
static int decode_flags(struct bytes field, unsigned *ret_flags)
{
    struct mp_reader reader = {.rest = field};
    uint32_t pairs;
    *ret_flags = 0;
    if (mp_map(&reader, &pairs) < 0) {
        return 0;
    }
    for (; pairs > 0; pairs--) {
        struct bytes key;
        struct bytes value;
        int status = next_field(&reader, &key, &value);
        if (status < 0) {
            return status;
        }
        bool set = bytes_eq(value, BYTES("\xc3"));
        if (bytes_eq_str(key, "volatile")) {
            *ret_flags |= set ? (unsigned)ADAPTER_VOLATILE : 0;
        } else if (bytes_eq_str(key, "local")) {
            *ret_flags |= set ? (unsigned)ADAPTER_LOCAL : 0;
        } else if (bytes_eq_str(key, "urgent")) {
            *ret_flags |= set ? (unsigned)ADAPTER_URGENT : 0;
        }
    }
    return 0;
}

static int decode_options(struct bytes field, struct adapter_broadcast *broadcast)
{
    struct mp_reader reader = {.rest = field};
    struct mp_value head;
    int status = mp_next(&reader, &head);
    if (status < 0 || is_nothing(&head)) {
        return status;
    }
    if (head.type != MP_MAP) {
        return STATUS_INVALID;
    }
    for (uint32_t pairs = head.count; pairs > 0 && status == 0; pairs--) {
        struct bytes key;
        struct bytes value;
        status = next_field(&reader, &key, &value);
        if (status < 0) {
            return status;
        }
        if (bytes_eq_str(key, "rooms")) {
            status = decode_names(value, &broadcast->rooms);
        } else if (bytes_eq_str(key, "except")) {
            status = decode_names(value, &broadcast->except);
        } else if (bytes_eq_str(key, "flags")) {
            status = decode_flags(value, &broadcast->flags);
        }
    }
    return status;
}

static int decode_nsp(struct bytes field, struct bytes *ret_nsp)
{
    struct mp_reader reader = {.rest = field};
    struct mp_value value;
    int status = mp_next(&reader, &value);
    if (status < 0) {
        return status;
    }
    if (is_nothing(&value)) {
        return 0;
    }
    if (!is_text(value.type)) {
        return STATUS_INVALID;
    }
    *ret_nsp = value.bytes;
    return 0;
}

/* {type, data, nsp}: an event; 5, the binary kind of other wires, is taken for 2. */
static int decode_packet(struct bytes field, struct adapter_broadcast *broadcast)
{
    struct mp_reader reader = {.rest = field};
    uint32_t pairs;
    int status = mp_map(&reader, &pairs);
    uint64_t type = 0;
    for (; pairs > 0 && status == 0; pairs--) {
        struct bytes key;
        struct bytes value;
        status = next_field(&reader, &key, &value);
        if (status < 0) {
            return status;
        }
        struct mp_reader inner = {.rest = value};
        if (bytes_eq_str(key, "type")) {
            status = mp_u64(&inner, &type);
        } else if (bytes_eq_str(key, "nsp")) {
            status = decode_nsp(value, &broadcast->nsp);
        } else if (bytes_eq_str(key, "data")) {
            uint32_t count;
            broadcast->data = value;
            status = mp_array(&inner, &count);
        }
    }
    if (status < 0) {
        return status;
    }
    return (type == 2 || type == 5) && broadcast->data.len > 0 ? 0 : STATUS_INVALID;
}

int adapter_broadcast_decode(struct bytes payload, struct adapter_broadcast *ret_broadcast)
{
    struct mp_reader reader = {.rest = payload};
    struct adapter_broadcast broadcast = {.nsp = BYTES("/")};
    uint32_t count;
    struct mp_value uid;
    struct bytes packet;
    struct bytes options;
    int status = mp_check(payload, MESSAGE_DEPTH, NULL);
    if (status < 0) {
        return status;
    }
    if (mp_array(&reader, &count) < 0 || count != 3 || mp_next(&reader, &uid) < 0 ||
        !is_text(uid.type)) {
        return STATUS_INVALID;
    }
    broadcast.uid = uid.bytes;
    status = mp_slice(&reader, MESSAGE_DEPTH, &packet);
    status = status < 0 ? status : mp_slice(&reader, MESSAGE_DEPTH, &options);
    status = status < 0 ? status : decode_packet(packet, &broadcast);
    status = status < 0 ? status : decode_options(options, &broadcast);
    if (status == 0) {
        *ret_broadcast = broadcast;
    }
    return status;
}

bool adapter_names_next(struct adapter_names *names, struct bytes *ret_name)
{
    struct mp_value value;
    if (names->count == 0 || mp_next(&names->reader, &value) < 0) {
        return false;
    }
    names->count--;
    if (is_text(value.type)) {
        *ret_name = value.bytes;
        return true;
    }
    int len = value.type == MP_UINT
                  ? snprintf(names->text, sizeof(names->text), "%" PRIu64, value.number.u)
                  : snprintf(names->text, sizeof(names->text), "%" PRId64, value.number.i);
    *ret_name = bytes_of(names->text, (size_t)len);
    return true;
}

static void encode_names(struct builder *out, const struct bytes *names, uint32_t count)
{
    mp_pack_array(out, count);
    for (uint32_t i = 0; i < count; i++) {
        mp_pack_str(out, names[i]);
    }
}

static void encode_flag(struct builder *out, const char *name)
{
    mp_pack_str(out, bytes_str(name));
    mp_pack_bool(out, true);
}

static void encode_options(struct builder *out, const struct adapter_emit *emit)
{
    bool is_volatile = emit->flags & ADAPTER_VOLATILE;
    bool is_local = emit->flags & ADAPTER_LOCAL;
    bool is_urgent = emit->flags & ADAPTER_URGENT;
    mp_pack_map(out, 3);
    mp_pack_str(out, BYTES("rooms"));
    encode_names(out, emit->rooms, emit->room_count);
    mp_pack_str(out, BYTES("except"));
    encode_names(out, emit->except, emit->except_count);
    mp_pack_str(out, BYTES("flags"));
    mp_pack_map(out, (uint32_t)is_volatile + is_local + is_urgent);
    if (is_volatile) {
        encode_flag(out, "volatile");
    }
    if (is_local) {
        encode_flag(out, "local");
    }
    if (is_urgent) {
        encode_flag(out, "urgent");
    }
}

static int encode_data(struct builder *out, const struct event *event)
{
    if (event->form == EVENT_MSGPACK) {
        builder_add(out, event->data);
        return 0;
    }
    return mp_from_json_elements(event->data, event->attachments, event->attachment_count, out);
}

int adapter_broadcast_encode(const struct adapter_emit *emit, struct builder *out)
{
    if (builder_failed(out)) {
        return STATUS_TOO_LARGE;
    }
    size_t start = builder_bytes(out).len;
    mp_pack_array(out, 3);
    mp_pack_str(out, emit->uid);
    mp_pack_map(out, 3);
    mp_pack_str(out, BYTES("type"));
    mp_pack_u64(out, 2);
    mp_pack_str(out, BYTES("data"));
    int status = encode_data(out, emit->event);
    mp_pack_str(out, BYTES("nsp"));
    mp_pack_str(out, emit->nsp);
    encode_options(out, emit);
    if (status < 0 || builder_failed(out)) {
        builder_rewind(out, start);
        return status < 0 ? status : STATUS_TOO_LARGE;
    }
    return 0;
}

void adapter_emit_channel(const struct adapter_emit *emit, struct bytes key, struct builder *out)
{
    struct bytes room = emit->room_count == 1 ? emit->rooms[0] : bytes_of(NULL, 0);
    adapter_channel_write(ADAPTER_BROADCAST, key, emit->nsp, room, out);
}
