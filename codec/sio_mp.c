/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decoding checks the whole map first; then come its members, then the rules of each type, which
 * are those of sio.c but for what this parser does not know: attachments and blanks.
 */
#include "codec/sio_mp.h"

#include "codec/base/status.h"
#include "codec/json_scan.h"
#include "codec/names.h"

enum {
    UNDEFINED_EXT = 0, /* of one byte: JavaScript's undefined */
    DATE_EXT = 0, /* of eight bytes: milliseconds, signed */
};

/* A packet as it came: `data` is one value, or empty. */
struct raw {
    bool has_type;
    uint64_t type;
    struct bytes nsp;
    bool has_id;
    uint64_t id;
    struct bytes data;
};

/* ---- decoding ---- */

/* A status of the codecs below, as one of ours. */
static int violation(int status)
{
    return status == STATUS_TOO_LARGE || status == STATUS_UTF8 ? status : STATUS_PROTO;
}

static bool is_undefined(const struct mp_value *value)
{
    return value->type == MP_EXT && value->ext == UNDEFINED_EXT && value->bytes.len == 1;
}

/* Take the member `key`, whose value is `bytes` and begins with `head`. */
static int take_member(
    struct raw *raw, struct bytes key, const struct mp_value *head, struct bytes bytes)
{
    if (is_undefined(head)) {
        return 0;
    }
    if (bytes_eq(key, BYTES("type"))) {
        raw->has_type = head->type == MP_UINT;
        raw->type = head->number.u;
        return raw->has_type ? 0 : STATUS_PROTO;
    }
    if (bytes_eq(key, BYTES("nsp"))) {
        raw->nsp = head->bytes;
        return head->type == MP_STR ? 0 : STATUS_PROTO;
    }
    if (bytes_eq(key, BYTES("id"))) {
        raw->has_id = head->type == MP_UINT;
        raw->id = head->number.u;
        return raw->has_id ? 0 : STATUS_PROTO;
    }
    if (bytes_eq(key, BYTES("data"))) {
        raw->data = bytes;
    }
    return 0;
}

/* Read the members of a map that was checked, in whatever order. */
static int read_members(struct bytes message, struct raw *raw)
{
    struct mp_reader reader = {.rest = message};
    uint32_t pairs;
    if (mp_map(&reader, &pairs) < 0) {
        return STATUS_PROTO;
    }
    for (uint32_t i = 0; i < pairs; i++) {
        struct mp_value key;
        struct mp_value head;
        struct bytes value;
        if (mp_next(&reader, &key) < 0) {
            return STATUS_PROTO;
        }
        struct mp_reader ahead = reader;
        if (mp_next(&ahead, &head) < 0 || mp_slice(&reader, MP_DEPTH_MAX, &value) < 0) {
            return STATUS_PROTO;
        }
        int status = key.type == MP_STR ? take_member(raw, key.bytes, &head, value) : 0;
        if (status < 0) {
            return status;
        }
    }
    return 0;
}

/* Control characters are refused, as in sio.c. */
static int check_nsp(struct bytes nsp)
{
    if (nsp.len == 0) {
        return STATUS_PROTO;
    }
    if (nsp.len > SIO_NSP_MAX) {
        return STATUS_TOO_LARGE;
    }
    for (size_t i = 0; i < nsp.len; i++) {
        if ((unsigned char)nsp.at[i] < 0x20 || nsp.at[i] == 0x7f) {
            return STATUS_PROTO;
        }
    }
    return 0;
}

/* An array whose first element is a number, or a string that is not reserved. */
static int check_event(struct bytes data)
{
    struct mp_reader reader = {.rest = data};
    uint32_t count;
    struct mp_value name;
    if (mp_array(&reader, &count) < 0 || count == 0 || mp_next(&reader, &name) < 0) {
        return STATUS_PROTO;
    }
    if (name.type == MP_STR) {
        return names_event_reserved(name.bytes) ? STATUS_PROTO : 0;
    }
    return name.type == MP_UINT || name.type == MP_INT || name.type == MP_FLOAT ? 0 : STATUS_PROTO;
}

static bool begins(struct bytes data, enum mp_type type)
{
    struct mp_reader reader = {.rest = data};
    struct mp_value head;
    return mp_next(&reader, &head) == 0 && head.type == type;
}

/* Whether the data is of the kind that the type of the packet wants. */
static int check_data(const struct raw *raw)
{
    bool good = false;
    switch (raw->type) {
    case SIO_CONNECT:
        good = raw->data.len == 0 || begins(raw->data, MP_MAP);
        break;
    case SIO_DISCONNECT:
        good = raw->data.len == 0;
        break;
    case SIO_EVENT:
        return check_event(raw->data);
    case SIO_ACK:
        good = begins(raw->data, MP_ARRAY);
        break;
    default: /* CONNECT_ERROR: only servers send it */
        break;
    }
    return good ? 0 : STATUS_PROTO;
}

/* The data as JSON text. Objects that pretend to be placeholders are refused beside real ones. */
static int read_data(
    struct bytes data, struct builder *text, struct mp_bins *bins, struct sio_packet *packet)
{
    size_t start = builder_bytes(text).len;
    bins->count = 0;
    int status = mp_to_json(data, packet->type == SIO_CONNECT ? NULL : bins, text);
    if (status < 0) {
        return violation(status);
    }
    if (bins->count > SIO_ATTACHMENTS_MAX) {
        return STATUS_TOO_LARGE;
    }
    packet->payload = bytes_skip(builder_bytes(text), start);
    packet->attachments = bins->count;
    bool counted = bins->count == 0 ||
                   sio_placeholders_check(packet->payload, bins->count) == (int)bins->count;
    return counted ? 0 : STATUS_PROTO;
}

int sio_mp_decode(
    struct bytes message, struct builder *text, struct mp_bins *bins, struct sio_packet *ret_packet)
{
    struct raw raw = {0};
    int status = mp_check(message, SIO_DEPTH_MAX, NULL);
    status = status < 0 ? violation(status) : read_members(message, &raw);
    if (status < 0 || !raw.has_type) {
        return status < 0 ? status : STATUS_PROTO;
    }
    status = check_nsp(raw.nsp);
    status = status < 0 ? status : check_data(&raw);
    if (status < 0) {
        return status;
    }
    *ret_packet = (struct sio_packet){.type = (enum sio_type)raw.type,
        .nsp = raw.nsp,
        .has_id = raw.has_id && raw.id <= SIO_ID_MAX,
        .id = raw.id <= SIO_ID_MAX ? (uint64_t)(double)raw.id : 0};
    return raw.data.len > 0 ? read_data(raw.data, text, bins, ret_packet) : 0;
}

/* ---- encoding ---- */

static void begin(struct builder *out, enum sio_type type, uint32_t members)
{
    mp_pack_map(out, members + 2);
    mp_pack_str(out, BYTES("type"));
    mp_pack_u64(out, type);
}

static void end(struct builder *out, struct bytes nsp)
{
    mp_pack_str(out, BYTES("nsp"));
    mp_pack_str(out, nsp.len > 0 ? nsp : BYTES("/"));
}

void sio_mp_write_connect(struct builder *out, struct bytes nsp, struct bytes sid, struct bytes pid)
{
    begin(out, SIO_CONNECT, 1);
    mp_pack_str(out, BYTES("data"));
    mp_pack_map(out, pid.len > 0 ? 2 : 1);
    mp_pack_str(out, BYTES("sid"));
    mp_pack_str(out, sid);
    if (pid.len > 0) {
        mp_pack_str(out, BYTES("pid"));
        mp_pack_str(out, pid);
    }
    end(out, nsp);
}

int sio_mp_write_connect_error(
    struct builder *out, struct bytes nsp, struct bytes message, struct bytes data)
{
    int status = 0;
    begin(out, SIO_CONNECT_ERROR, 1);
    mp_pack_str(out, BYTES("data"));
    mp_pack_map(out, data.len > 0 ? 2 : 1);
    mp_pack_str(out, BYTES("message"));
    mp_pack_str(out, message);
    if (data.len > 0) {
        mp_pack_str(out, BYTES("data"));
        status = mp_from_json(data, NULL, 0, out);
    }
    end(out, nsp);
    return status;
}

void sio_mp_write_disconnect(struct builder *out, struct bytes nsp)
{
    begin(out, SIO_DISCONNECT, 0);
    end(out, nsp);
}

void sio_mp_begin(struct builder *out, enum sio_type type, const struct sio_head *head)
{
    begin(out, type, head->has_id ? 2 : 1);
    if (head->has_id) {
        mp_pack_str(out, BYTES("id"));
        mp_pack_u64(out, head->id);
    }
    mp_pack_str(out, BYTES("data"));
}

void sio_mp_end(struct builder *out, const struct sio_head *head)
{
    end(out, head->nsp);
}

int sio_mp_add_name(struct builder *out, struct bytes name, bool is_number)
{
    if (is_number) {
        return mp_from_json(name, NULL, 0, out);
    }
    mp_pack_str(out, name);
    return 0;
}

/* Append the array whose JSON text is "[", `text`, "]". */
static int add_array(
    struct builder *out, struct bytes text, struct buf *const *attachments, unsigned count)
{
    struct builder array = {0};
    builder_byte(&array, '[');
    builder_add(&array, text);
    builder_byte(&array, ']');
    int status = builder_failed(&array)
                     ? builder_status(&array)
                     : mp_from_json(builder_bytes(&array), attachments, count, out);
    builder_reset(&array);
    return status;
}

int sio_mp_write_event(
    struct builder *out, const struct sio_head *head, const struct sio_event_out *event)
{
    struct builder text = {0};
    if (event->name_is_number) {
        builder_add(&text, event->name);
    } else {
        json_scan_write_string(&text, event->name);
    }
    if (event->args.len > 0) {
        builder_byte(&text, ',');
        builder_add(&text, event->args);
    }
    if (event->offset.len > 0) {
        builder_byte(&text, ',');
        json_scan_write_string(&text, event->offset);
    }
    sio_mp_begin(out, SIO_EVENT, head);
    int status = add_array(out, builder_bytes(&text), NULL, 0);
    sio_mp_end(out, head);
    builder_reset(&text);
    return status;
}

int sio_mp_write_ack(struct builder *out, const struct sio_head *head, struct bytes args,
    struct buf *const *attachments)
{
    struct sio_head with_id = *head;
    with_id.has_id = true;
    sio_mp_begin(out, SIO_ACK, &with_id);
    int status = add_array(out, args, attachments, head->attachments);
    sio_mp_end(out, head);
    return status;
}

/* A date: ext 0 of eight bytes. */
static void add_date(struct builder *out, int64_t ms)
{
    char date[10] = {(char)0xd7, DATE_EXT};
    for (size_t i = 0; i < 8; i++) {
        date[2 + i] = (char)((uint64_t)ms >> 8 * (7 - i) & 0xff);
    }
    builder_add(out, bytes_of(date, sizeof(date)));
}

void sio_mp_add_values(struct builder *out, struct bytes values)
{
    struct mp_reader reader = {.rest = values};
    struct mp_value value;
    const char *kept = values.at; /* what is copied next begins here */
    while (reader.rest.len > 0) {
        const char *at = reader.rest.at;
        int64_t ms;
        if (mp_next(&reader, &value) < 0) {
            CHECK(!"it was checked");
        }
        if (value.type == MP_EXT && value.ext == MP_EXT_TIMESTAMP && mp_instant(&value, &ms)) {
            builder_add(out, bytes_of(kept, (size_t)(at - kept)));
            add_date(out, ms);
            kept = reader.rest.at;
        }
    }
    builder_add(out, bytes_of(kept, (size_t)(values.at + values.len - kept)));
}
