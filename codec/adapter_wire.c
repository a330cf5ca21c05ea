/* SPDX-License-Identifier: Apache-2.0 */
/*
 * adapter_wire - channel names, then decoding, then encoding.
 */
#include "codec/adapter_wire.h"

#include "codec/base/status.h"

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

int adapter_broadcast_decode(struct bytes payload, struct adapter_broadcast *ret_broadcast)
{
    struct mp_reader reader = {.rest = payload};
    struct adapter_packet packet;
    struct adapter_options options;
    struct mp_value uid;
    struct bytes field;
    uint32_t count;
    int status = mp_check(payload, ADAPTER_DEPTH_MAX, NULL);
    if (status < 0) {
        return status;
    }
    if (mp_array(&reader, &count) < 0 || count != 3 || mp_next(&reader, &uid) < 0 ||
        !adapter_fields_is_text(&uid)) {
        return STATUS_INVALID;
    }
    status = mp_slice(&reader, ADAPTER_DEPTH_MAX, &field);
    status = status < 0 ? status : adapter_fields_packet(field, &packet);
    status = status < 0 ? status : mp_slice(&reader, ADAPTER_DEPTH_MAX, &field);
    status = status < 0 ? status : adapter_fields_options(field, &options);
    if (status == 0) {
        *ret_broadcast = (struct adapter_broadcast){
            .uid = uid.bytes,
            .nsp = packet.nsp,
            .data = packet.data,
            .rooms = options.rooms,
            .except = options.except,
            .flags = options.flags,
        };
    }
    return status;
}

static void encode_names(struct builder *out, const struct bytes *names, uint32_t count)
{
    mp_pack_array(out, count);
    for (uint32_t i = 0; i < count; i++) {
        mp_pack_str(out, names[i]);
    }
}

static void encode_flags(struct builder *out, unsigned flags)
{
    static const struct {
        unsigned flag;
        const char *name;
    } names[] = {
        {ADAPTER_VOLATILE, "volatile"},
        {ADAPTER_LOCAL, "local"},
        {ADAPTER_URGENT, "urgent"},
        {ADAPTER_REPLAYED, "replayed"},
    };
    uint32_t count = 0;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        count += (flags & names[i].flag) != 0;
    }
    mp_pack_map(out, count);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (flags & names[i].flag) {
            mp_pack_str(out, bytes_str(names[i].name));
            mp_pack_bool(out, true);
        }
    }
}

static void encode_options(struct builder *out, const struct adapter_emit *emit)
{
    mp_pack_map(out, 3);
    mp_pack_str(out, BYTES("rooms"));
    encode_names(out, emit->rooms, emit->room_count);
    mp_pack_str(out, BYTES("except"));
    encode_names(out, emit->except, emit->except_count);
    mp_pack_str(out, BYTES("flags"));
    encode_flags(out, emit->flags);
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
        return builder_status(out);
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
        status = status < 0 ? status : builder_status(out);
        builder_rewind(out, start);
        return status;
    }
    return 0;
}

void adapter_emit_channel(const struct adapter_emit *emit, struct bytes key, struct builder *out)
{
    struct bytes room = emit->room_count == 1 ? emit->rooms[0] : bytes_of(NULL, 0);
    adapter_channel_write(ADAPTER_BROADCAST, key, emit->nsp, room, out);
}
