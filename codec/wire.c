/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wire - events as items of windows and as messages of their own.
 *
 * An event in the form that a format speaks is copied as it is; the other form is transcoded
 * straight into the builder, and a frame's head is then moved in front of it. Whatever fails is
 * taken back with builder_rewind. The order: frames, items by format, windows, single messages.
 */
#include "codec/wire.h"

#include <assert.h>

#include "codec/base/status.h"
#include "codec/json_scan.h"
#include "codec/mp.h"
#include "codec/sio_mp.h"
#include "codec/ws_frame.h"

/* Bytes in front of a Socket.IO packet's array: Engine.IO 4, the type, attachments. */
enum { PREFIX_MAX = 8 };

static size_t length(const struct builder *out)
{
    return builder_bytes(out).len;
}

/* Append the head of a frame whose payload of `len` bytes follows. */
static void begin_frame(struct builder *out, enum ws_opcode opcode, size_t len)
{
    char *at = builder_reserve(out, WS_FRAME_HEAD_MAX);
    if (at != NULL) {
        builder_commit(out, ws_frame_write_head(at, opcode, false, len));
    }
}

/* Make a frame of what stands behind `start`. */
static void wrap_frame(struct builder *out, size_t start, enum ws_opcode opcode)
{
    char head[WS_FRAME_HEAD_MAX];
    size_t len = length(out) - start;
    size_t head_len = ws_frame_write_head(head, opcode, false, len);
    char *tail = builder_reserve(out, head_len);
    if (tail != NULL) {
        char *at = tail - len;
        memmove(at + head_len, at, len);
        memcpy(at, head, head_len);
        builder_commit(out, head_len);
    }
}

/* Take back what was appended behind `start` unless all of it went well. */
static int conclude(struct builder *out, size_t start, int status)
{
    if (status >= 0 && !builder_failed(out)) {
        return 0;
    }
    status = status < 0 ? status : builder_status(out);
    builder_rewind(out, start);
    return status;
}

/* The part of a packet that names its namespace: nothing for "/". */
static struct bytes shown_nsp(struct bytes nsp)
{
    return bytes_eq(nsp, BYTES("/")) ? bytes_of(NULL, 0) : nsp;
}

static size_t count_digits(uint64_t value)
{
    size_t digits = 1;
    for (; value > 9; value /= 10) {
        digits++;
    }
    return digits;
}

static void add_nsp(struct builder *out, struct bytes nsp)
{
    struct bytes shown = shown_nsp(nsp);
    builder_add(out, shown);
    if (shown.len > 0) {
        builder_byte(out, ',');
    }
}

static size_t nsp_len(struct bytes nsp)
{
    struct bytes shown = shown_nsp(nsp);
    return shown.len > 0 ? shown.len + 1 : 0;
}

/* Socket.IO: "42[…]", or "45n-[…]" and n binary messages; the id of an ack in front of the array.
 */

static void add_head(struct builder *out, const struct sio_head *head)
{
    add_nsp(out, head->nsp);
    if (head->has_id) {
        builder_u64(out, head->id);
    }
}

static size_t head_len(const struct sio_head *head)
{
    return nsp_len(head->nsp) + (head->has_id ? count_digits(head->id) : 0);
}

static size_t sio_prefix(const struct event *event, char at[PREFIX_MAX])
{
    if (event->attachment_count == 0) {
        memcpy(at, "42", 2);
        return 2;
    }
    size_t len = 2;
    memcpy(at, "45", 2);
    if (event->attachment_count == EVENT_ATTACHMENTS_MAX) {
        at[len++] = '1';
    }
    at[len++] = (char)('0' + event->attachment_count % 10);
    at[len++] = '-';
    return len;
}

static void add_binary_frame(struct builder *out, struct bytes bin)
{
    begin_frame(out, WS_BINARY, bin.len);
    builder_add(out, bin);
}

static int add_sio_msgpack(struct bytes prefix, const struct sio_head *head,
    const struct event *event, struct builder *out)
{
    struct bytes found[EVENT_ATTACHMENTS_MAX];
    struct mp_bins bins = {.at = found, .max = EVENT_ATTACHMENTS_MAX};
    size_t start = length(out);
    builder_add(out, prefix);
    add_head(out, head);
    int status = mp_to_json(event->data, &bins, out);
    wrap_frame(out, start, WS_TEXT);
    for (uint32_t i = 0; i < bins.count && status == 0; i++) {
        add_binary_frame(out, found[i]);
    }
    return status;
}

static int add_sio(const struct sio_head *head, const struct event *event, struct builder *out)
{
    static_assert(EVENT_ATTACHMENTS_MAX == 10, "sio_prefix knows no three digits");
    if (event->attachment_count > EVENT_ATTACHMENTS_MAX) {
        return STATUS_TOO_LARGE;
    }
    char text[PREFIX_MAX];
    struct bytes prefix = bytes_of(text, sio_prefix(event, text));
    if (event->form == EVENT_MSGPACK) {
        return add_sio_msgpack(prefix, head, event, out);
    }
    begin_frame(out, WS_TEXT, prefix.len + head_len(head) + event->data.len);
    builder_add(out, prefix);
    add_head(out, head);
    builder_add(out, event->data);
    for (unsigned i = 0; i < event->attachment_count; i++) {
        add_binary_frame(out, buf_bytes(event->attachments[i]));
    }
    return 0;
}

/* Socket.IO with the MessagePack parser: one binary message, binary in its place. */

static int add_sio_map(const struct sio_head *head, const struct event *event, struct builder *out)
{
    size_t start = length(out);
    sio_mp_begin(out, SIO_EVENT, head);
    mp_pack_array(out, event->arg_count + 1);
    int status = sio_mp_add_name(out, event->name, event->name_is_number);
    if (event->form == EVENT_MSGPACK) {
        sio_mp_add_values(out, event->args);
    } else if (status == 0) {
        status =
            mp_from_json_elements(event->args, event->attachments, event->attachment_count, out);
    }
    sio_mp_end(out, head);
    wrap_frame(out, start, WS_BINARY);
    return status;
}

/* JSON: batch items and plain packets. Here binary is base64 text. */

/* By way of MessagePack, where attachments have a place; rare: a binary event in a JSON format. */
static int add_args_inlined(const struct event *event, struct builder *out)
{
    struct builder packed = {0};
    int status =
        mp_from_json_elements(event->args, event->attachments, event->attachment_count, &packed);
    if (status >= 0) {
        status = mp_to_json_elements(builder_bytes(&packed), (uint32_t)status, NULL, out);
    }
    builder_reset(&packed);
    return status;
}

static int add_args_json(const struct event *event, struct builder *out)
{
    if (event->form == EVENT_MSGPACK) {
        return mp_to_json_elements(event->args, event->arg_count, NULL, out);
    }
    if (event->attachment_count > 0) {
        return add_args_inlined(event, out);
    }
    builder_add(out, event->args);
    return 0;
}

static int add_batch_item(const struct event *event, struct builder *out)
{
    builder_add(out, BYTES("{\"event\":"));
    json_scan_write_string(out, event->name);
    builder_add(out, BYTES(",\"args\":["));
    int status = add_args_json(event, out);
    builder_add(out, BYTES("]}"));
    return status;
}

/* A number in front would be a request id, so on the plain WebSocket a name is always a string. */
static bool is_plain_as_is(const struct event *event, enum event_form form)
{
    return event->form == form && !event->name_is_number &&
           (form == EVENT_MSGPACK || event->attachment_count == 0);
}

static int add_json_packet(const struct event *event, struct builder *out)
{
    if (is_plain_as_is(event, EVENT_JSON)) {
        builder_add(out, event->data);
        return 0;
    }
    builder_byte(out, '[');
    json_scan_write_string(out, event->name);
    if (event->arg_count > 0) {
        builder_byte(out, ',');
    }
    int status = add_args_json(event, out);
    builder_byte(out, ']');
    return status;
}

/* MessagePack packets. */

static int add_msgpack_packet(const struct event *event, struct builder *out)
{
    if (is_plain_as_is(event, EVENT_MSGPACK)) {
        builder_add(out, event->data);
        return 0;
    }
    mp_pack_array(out, event->arg_count + 1);
    mp_pack_str(out, event->name);
    if (event->form == EVENT_MSGPACK) {
        builder_add(out, event->args);
        return 0;
    }
    return mp_from_json_elements(event->args, event->attachments, event->attachment_count, out);
}

static int add_item(
    enum wire_format format, struct bytes nsp, const struct event *event, struct builder *out)
{
    switch (format) {
    case WIRE_SIO:
        return add_sio(&(struct sio_head){.nsp = nsp}, event, out);
    case WIRE_SIO_BATCH:
        return add_batch_item(event, out);
    case WIRE_SIO_MSGPACK:
        return add_sio_map(&(struct sio_head){.nsp = nsp}, event, out);
    case WIRE_JSON:
        return add_json_packet(event, out);
    case WIRE_MSGPACK:
        return add_msgpack_packet(event, out);
    case WIRE_FORMAT_COUNT:
        break;
    }
    return STATUS_UNSUPPORTED;
}

unsigned wire_separator(enum wire_format format)
{
    return format == WIRE_SIO_BATCH || format == WIRE_JSON;
}

bool wire_framed(enum wire_format format)
{
    return format != WIRE_SIO && format != WIRE_SIO_MSGPACK;
}

int wire_add(
    enum wire_format format, struct bytes nsp, const struct event *event, struct builder *items)
{
    if (builder_failed(items)) {
        return builder_status(items);
    }
    size_t start = length(items);
    if (start > 0 && wire_separator(format) > 0) {
        builder_byte(items, ',');
    }
    return conclude(items, start, add_item(format, nsp, event, items));
}

/* Windows. */

#define BATCH_HEAD "[\"batch_update\",{\"messages\":["
#define BATCH_MIDDLE "],\"timestamp\":"
#define BATCH_TAIL "}]"

/* Bytes of the head that mp_pack_array writes. */
static size_t array_head_len(uint32_t count)
{
    if (count < 16) {
        return 1;
    }
    return count <= UINT16_MAX ? 3 : 5;
}

void wire_open(enum wire_format format, struct bytes nsp, size_t items_len, unsigned count,
    uint64_t wall_ms, struct builder *out)
{
    size_t head_len;
    switch (format) {
    case WIRE_SIO_BATCH:
        head_len = 2 + nsp_len(nsp) + BYTES(BATCH_HEAD).len;
        begin_frame(out, WS_TEXT,
            head_len + items_len + BYTES(BATCH_MIDDLE BATCH_TAIL).len + count_digits(wall_ms));
        builder_add(out, BYTES("42"));
        add_nsp(out, nsp);
        builder_add(out, BYTES(BATCH_HEAD));
        return;
    case WIRE_JSON:
        begin_frame(out, WS_TEXT, items_len + 2);
        builder_byte(out, '[');
        return;
    case WIRE_MSGPACK:
        begin_frame(out, WS_BINARY, array_head_len(count) + items_len);
        mp_pack_array(out, count);
        return;
    case WIRE_SIO:
    case WIRE_SIO_MSGPACK:
    case WIRE_FORMAT_COUNT:
        return;
    }
}

void wire_close(enum wire_format format, uint64_t wall_ms, struct builder *out)
{
    if (format == WIRE_SIO_BATCH) {
        builder_add(out, BYTES(BATCH_MIDDLE));
        builder_u64(out, wall_ms);
        builder_add(out, BYTES(BATCH_TAIL));
    } else if (format == WIRE_JSON) {
        builder_byte(out, ']');
    }
}

/* Single messages. */

static int add_single(enum wire_format format, const struct event *event, struct builder *out)
{
    size_t start = length(out);
    if (format == WIRE_MSGPACK) {
        mp_pack_array(out, 1);
        int status = add_msgpack_packet(event, out);
        wrap_frame(out, start, WS_BINARY);
        return status;
    }
    builder_byte(out, '[');
    int status = add_json_packet(event, out);
    builder_byte(out, ']');
    wrap_frame(out, start, WS_TEXT);
    return status;
}

/* An event behind `head`; what is no Socket.IO has no place for an id. */
static int add_event(enum wire_format format, const struct sio_head *head,
    const struct event *event, struct builder *out)
{
    switch (format) {
    case WIRE_SIO:
    case WIRE_SIO_BATCH:
        return add_sio(head, event, out);
    case WIRE_SIO_MSGPACK:
        return add_sio_map(head, event, out);
    case WIRE_JSON:
    case WIRE_MSGPACK:
    case WIRE_FORMAT_COUNT:
        break;
    }
    return head->has_id ? STATUS_UNSUPPORTED : add_single(format, event, out);
}

static int conclude_event(enum wire_format format, const struct sio_head *head,
    const struct event *event, struct builder *out)
{
    if (builder_failed(out)) {
        return builder_status(out);
    }
    size_t start = length(out);
    return conclude(out, start, add_event(format, head, event, out));
}

int wire_event(
    enum wire_format format, struct bytes nsp, const struct event *event, struct builder *out)
{
    return conclude_event(format, &(struct sio_head){.nsp = nsp}, event, out);
}

int wire_ask(enum wire_format format, struct bytes nsp, uint64_t id, const struct event *event,
    struct builder *out)
{
    const struct sio_head head = {.nsp = nsp, .has_id = true, .id = id};
    return conclude_event(format, &head, event, out);
}

static int add_ack_msgpack(uint64_t id, struct bytes result, struct builder *out)
{
    mp_pack_array(out, 1);
    mp_pack_array(out, 2);
    mp_pack_i64(out, -(int64_t)id);
    return mp_from_json(result, NULL, 0, out);
}

int wire_ack(enum wire_format format, struct bytes nsp, uint64_t id, struct bytes result,
    struct builder *out)
{
    if (builder_failed(out) || id > INT64_MAX) {
        return STATUS_TOO_LARGE;
    }
    size_t start = length(out);
    if (format == WIRE_MSGPACK || format == WIRE_SIO_MSGPACK) {
        struct sio_head head = {.nsp = nsp, .id = id};
        int status = format == WIRE_MSGPACK ? add_ack_msgpack(id, result, out)
                                            : sio_mp_write_ack(out, &head, result, NULL);
        wrap_frame(out, start, WS_BINARY);
        return conclude(out, start, status);
    }
    bool plain = format == WIRE_JSON;
    size_t around = plain ? BYTES("[[-,]]").len : BYTES("43[]").len + nsp_len(nsp);
    begin_frame(out, WS_TEXT, around + count_digits(id) + result.len);
    builder_add(out, plain ? BYTES("[[-") : BYTES("43"));
    if (!plain) {
        add_nsp(out, nsp);
    }
    builder_u64(out, id);
    builder_byte(out, plain ? ',' : '[');
    builder_add(out, result);
    builder_add(out, plain ? BYTES("]]") : BYTES("]"));
    return conclude(out, start, 0);
}
