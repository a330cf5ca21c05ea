/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Decoding reads the text in the order of its grammar: type, count, namespace, id, payload.
 * Then come the readers of payloads, then the encoders.
 */
#include "codec/sio.h"

#include "codec/base/status.h"
#include "codec/json_scan.h"
#include "codec/names.h"
#include "codec/utf8.h"

static bool is_binary(enum sio_type type)
{
    return type == SIO_BINARY_EVENT || type == SIO_BINARY_ACK;
}

/* Take the decimal digits at the start of *text. */
static struct bytes take_digits(struct bytes *text)
{
    size_t len = 0;
    while (len < text->len && text->at[len] >= '0' && text->at[len] <= '9') {
        len++;
    }
    struct bytes digits = bytes_of(text->at, len);
    *text = bytes_skip(*text, len);
    return digits;
}

/* A status of the codecs below, as one of ours. */
static int violation(int status)
{
    return status == STATUS_TOO_LARGE || status == STATUS_UTF8 ? status : STATUS_PROTO;
}

/* ---- decoding ---- */

static int read_count(struct bytes *text, struct sio_packet *packet)
{
    uint64_t count;
    int status = bytes_to_u64(take_digits(text), SIO_ATTACHMENTS_MAX, &count);
    if (status < 0) {
        return violation(status);
    }
    if (count == 0 || !bytes_starts(*text, BYTES("-"))) {
        return STATUS_PROTO;
    }
    *text = bytes_skip(*text, 1);
    packet->attachments = (unsigned)count;
    return 0;
}

/* The namespace. Control characters are refused: it is written back, and 0x1e cuts payloads. */
static int read_nsp(struct bytes *text, struct sio_packet *packet)
{
    if (!bytes_starts(*text, BYTES("/"))) {
        packet->nsp = BYTES("/");
        return 0;
    }
    const char *comma = memchr(text->at, ',', text->len);
    size_t len = comma != NULL ? (size_t)(comma - text->at) : text->len;
    if (len > SIO_NSP_MAX) {
        return STATUS_TOO_LARGE;
    }
    packet->nsp = bytes_of(text->at, len);
    for (size_t i = 0; i < len; i++) {
        if ((unsigned char)text->at[i] < 0x20 || text->at[i] == 0x7f) {
            return STATUS_PROTO;
        }
    }
    *text = bytes_skip(*text, comma != NULL ? len + 1 : len);
    return utf8_valid(packet->nsp) ? 0 : STATUS_UTF8;
}

/*
 * The id, as stock parsers read it: a number with zeros in front, and above 2^53 the nearest one
 * that JavaScript has. One above SIO_ID_MAX is passed over: what it asks for gets no answer.
 */
static void read_id(struct bytes *text, struct sio_packet *packet)
{
    struct bytes digits = take_digits(text);
    if (digits.len == 0) {
        return;
    }
    while (digits.len > 1 && digits.at[0] == '0') {
        digits = bytes_skip(digits, 1);
    }
    uint64_t id;
    if (bytes_to_u64(digits, SIO_ID_MAX, &id) == 0) {
        packet->has_id = true;
        packet->id = (uint64_t)(double)id;
    }
}

/* The first element of an event: a number, or a string that is not reserved. */
static int check_event(struct bytes payload)
{
    struct json_scan_iter iter;
    struct bytes name;
    if (json_scan_kind(payload) != JSON_SCAN_ARRAY || !json_scan_iter_init(&iter, payload) ||
        !json_scan_element(&iter, &name)) {
        return STATUS_PROTO;
    }
    if (json_scan_kind(name) == JSON_SCAN_NUMBER) {
        return 0;
    }
    if (json_scan_kind(name) != JSON_SCAN_STRING) {
        return STATUS_PROTO;
    }
    for (size_t i = 0; names_reserved[i] != NULL; i++) {
        bool may_be = name.at[1] == names_reserved[i][0] || name.at[1] == '\\'; /* an escape */
        if (may_be && json_scan_string_eq(name, bytes_str(names_reserved[i]))) {
            return STATUS_PROTO;
        }
    }
    return 0;
}

static int check_payload(const struct sio_packet *packet)
{
    enum json_scan_kind kind = json_scan_kind(packet->payload);
    bool absent = packet->payload.len == 0;
    switch (packet->type) {
    case SIO_CONNECT:
        return absent || kind == JSON_SCAN_OBJECT ? 0 : STATUS_PROTO;
    case SIO_DISCONNECT:
        return absent ? 0 : STATUS_PROTO;
    case SIO_EVENT:
    case SIO_BINARY_EVENT:
        return check_event(packet->payload);
    case SIO_ACK:
    case SIO_BINARY_ACK:
        return kind == JSON_SCAN_ARRAY && packet->has_id ? 0 : STATUS_PROTO;
    case SIO_CONNECT_ERROR:
        break;
    }
    return STATUS_PROTO;
}

static int read_payload(struct bytes text, struct sio_packet *packet)
{
    if (text.len > 0) {
        int status = json_scan_text(text, SIO_DEPTH_MAX, &packet->payload, &packet->json_flags);
        if (status < 0) {
            return violation(status);
        }
    }
    int status = check_payload(packet);
    if (status < 0 || packet->attachments == 0) {
        return status;
    }
    status = sio_placeholders_check(packet->payload, packet->attachments);
    return status < 0 ? status : 0;
}

int sio_decode(struct bytes text, struct sio_packet *ret_packet)
{
    if (text.len == 0 || text.at[0] < '0' || text.at[0] > '6') {
        return STATUS_PROTO;
    }
    struct sio_packet packet = {.type = (enum sio_type)(text.at[0] - '0')};
    text = bytes_skip(text, 1);
    int status = is_binary(packet.type) ? read_count(&text, &packet) : 0;
    if (status == 0) {
        status = read_nsp(&text, &packet);
    }
    if (status == 0) {
        read_id(&text, &packet);
        status = read_payload(text, &packet);
    }
    if (status == 0) {
        *ret_packet = packet;
    }
    return status;
}

/* ---- payloads ---- */

int sio_event_split(struct bytes payload, char at[SIO_EVENT_NAME_MAX], struct sio_event *ret_event)
{
    struct json_scan_iter iter;
    struct bytes name;
    if (json_scan_kind(payload) != JSON_SCAN_ARRAY || !json_scan_iter_init(&iter, payload) ||
        !json_scan_element(&iter, &name)) {
        return STATUS_PROTO;
    }
    struct sio_event event = {.args = json_scan_rest(&iter)};
    if (json_scan_kind(name) == JSON_SCAN_NUMBER) {
        event.name_is_number = true;
        event.name = name;
        if (name.len > SIO_EVENT_NAME_MAX) {
            return STATUS_TOO_LARGE;
        }
    } else {
        int status = json_scan_string(name, at, SIO_EVENT_NAME_MAX, &event.name);
        if (status < 0) {
            return violation(status);
        }
    }
    *ret_event = event;
    return 0;
}

/* The number of one placeholder, below `count`, which others may have, too; or STATUS_PROTO. */
static int read_placeholder(struct bytes object, unsigned count)
{
    struct bytes value;
    bool yes;
    uint64_t num;
    if (json_scan_get(object, "_placeholder", &value) < 0 || json_scan_bool(value, &yes) < 0 ||
        !yes || json_scan_get(object, "num", &value) < 0 || json_scan_u64(value, &num) < 0 ||
        num >= count) {
        return STATUS_PROTO;
    }
    return (int)num;
}

int sio_placeholders_check(struct bytes payload, unsigned count)
{
    CHECK(count <= SIO_ATTACHMENTS_MAX);
    struct json_scan_walk walk;
    struct bytes key;
    int found = 0;
    json_scan_walk_init(&walk, payload);
    while (json_scan_walk_key(&walk, &key)) {
        if (!json_scan_string_eq(key, BYTES("_placeholder"))) {
            continue;
        }
        int num = read_placeholder(json_scan_walk_object(&walk), count);
        if (num < 0 || ++found > SIO_PLACEHOLDERS_MAX) {
            return STATUS_PROTO;
        }
    }
    return found;
}

/* ---- encoding ---- */

static void write_head(struct builder *out, enum sio_type type, const struct sio_head *head)
{
    builder_byte(out, '4');
    builder_byte(out, (char)('0' + type));
    if (head->attachments > 0) {
        builder_u64(out, head->attachments);
        builder_byte(out, '-');
    }
    if (head->nsp.len > 0 && !bytes_eq(head->nsp, BYTES("/"))) {
        builder_add(out, head->nsp);
        builder_byte(out, ',');
    }
    if (head->has_id) {
        builder_u64(out, head->id);
    }
}

void sio_write_connect(struct builder *out, struct bytes nsp, struct bytes sid, struct bytes pid)
{
    write_head(out, SIO_CONNECT, &(struct sio_head){.nsp = nsp});
    builder_str(out, "{\"sid\":");
    json_scan_write_string(out, sid);
    if (pid.len > 0) {
        builder_str(out, ",\"pid\":");
        json_scan_write_string(out, pid);
    }
    builder_byte(out, '}');
}

void sio_write_connect_error(
    struct builder *out, struct bytes nsp, struct bytes message, struct bytes data)
{
    write_head(out, SIO_CONNECT_ERROR, &(struct sio_head){.nsp = nsp});
    builder_str(out, "{\"message\":");
    json_scan_write_string(out, message);
    if (data.len > 0) {
        builder_str(out, ",\"data\":");
        builder_add(out, data);
    }
    builder_byte(out, '}');
}

void sio_write_disconnect(struct builder *out, struct bytes nsp)
{
    write_head(out, SIO_DISCONNECT, &(struct sio_head){.nsp = nsp});
}

void sio_write_event(
    struct builder *out, const struct sio_head *head, const struct sio_event_out *event)
{
    write_head(out, head->attachments > 0 ? SIO_BINARY_EVENT : SIO_EVENT, head);
    builder_byte(out, '[');
    if (event->name_is_number) {
        builder_add(out, event->name);
    } else {
        json_scan_write_string(out, event->name);
    }
    if (event->args.len > 0) {
        builder_byte(out, ',');
        builder_add(out, event->args);
    }
    if (event->offset.len > 0) {
        builder_byte(out, ',');
        json_scan_write_string(out, event->offset);
    }
    builder_byte(out, ']');
}

void sio_write_ack(struct builder *out, const struct sio_head *head, struct bytes args)
{
    struct sio_head with_id = *head;
    with_id.has_id = true;
    write_head(out, head->attachments > 0 ? SIO_BINARY_ACK : SIO_ACK, &with_id);
    builder_byte(out, '[');
    builder_add(out, args);
    builder_byte(out, ']');
}
