/* SPDX-License-Identifier: Apache-2.0 */
/*
 * event - one allocation: the struct, the attachments, the bytes of the array, and a name that
 * is no slice of them.
 */
#include "codec/event.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "codec/depth.h"
#include "codec/json_scan.h"
#include "codec/mp.h"
#include "codec/names.h"
#include "codec/sio.h"

enum { NUMBER_TEXT_MAX = 24 };

static_assert((int)MP_DEPTH_MAX >= (int)DEPTH_WIRE && (int)JSON_SCAN_DEPTH_MAX >= (int)DEPTH_WIRE,
    "what an event holds can be encoded wherever Peal puts it");

/* What an event is made of; slices point into `data`, or the name elsewhere. */
struct parts {
    enum event_form form;
    unsigned flags;
    struct bytes data;
    struct bytes name;
    bool name_is_number;
    struct bytes args;
    uint32_t arg_count;
    struct buf *const *attachments;
    unsigned attachment_count;
};

/* Where a slice of `from` lies in its copy at `to`. */
static struct bytes moved(struct bytes slice, struct bytes from, const char *to)
{
    return slice.len == 0 ? bytes_of(to, 0) : bytes_of(to + (slice.at - from.at), slice.len);
}

static bool is_within(struct bytes slice, struct bytes whole)
{
    uintptr_t at = (uintptr_t)slice.at;
    uintptr_t start = (uintptr_t)whole.at;
    return at >= start && at < start + whole.len;
}

static int make(const struct parts *parts, struct event **ret_event)
{
    if (parts->name.len == 0) {
        return STATUS_INVALID;
    }
    if (!parts->name_is_number && names_event_reserved(parts->name)) {
        return STATUS_DENIED;
    }
    if (parts->name.len > EVENT_NAME_MAX || parts->data.len > UINT32_MAX) {
        return STATUS_TOO_LARGE;
    }
    unsigned held = parts->attachments != NULL ? parts->attachment_count : 0;
    size_t pointers = held * sizeof(struct buf *);
    bool name_inside = is_within(parts->name, parts->data);
    struct event *event = mem_try_alloc(
        sizeof(*event) + pointers + parts->data.len + (name_inside ? 0 : parts->name.len));
    if (event == NULL) {
        return STATUS_NOMEM;
    }
    struct buf **attachments = (struct buf **)(void *)(event + 1);
    for (unsigned i = 0; i < held; i++) {
        attachments[i] = buf_ref(parts->attachments[i]);
    }
    char *data = (char *)(event + 1) + pointers;
    memcpy(data, parts->data.at, parts->data.len);
    struct bytes name = moved(parts->name, parts->data, data);
    if (!name_inside) {
        memcpy(data + parts->data.len, parts->name.at, parts->name.len);
        name = bytes_of(data + parts->data.len, parts->name.len);
    }
    *event = (struct event){
        .form = (uint8_t)parts->form,
        .flags = (uint8_t)parts->flags,
        .attachment_count = (uint16_t)parts->attachment_count,
        .arg_count = parts->arg_count,
        .name = name,
        .name_is_number = parts->name_is_number,
        .data = bytes_of(data, parts->data.len),
        .args = moved(parts->args, parts->data, data),
        .attachments = held > 0 ? attachments : NULL,
    };
    atomic_init(&event->refs, 1);
    *ret_event = event;
    return 0;
}

/* Split a checked JSON array into name and arguments; an escaped name is decoded to `at`. */
static int split_json(struct parts *parts, char at[EVENT_NAME_MAX])
{
    struct json_scan_iter iter;
    struct bytes first;
    if (json_scan_kind(parts->data) != JSON_SCAN_ARRAY ||
        !json_scan_iter_init(&iter, parts->data) || !json_scan_element(&iter, &first)) {
        return STATUS_INVALID;
    }
    parts->name_is_number = json_scan_kind(first) == JSON_SCAN_NUMBER;
    parts->name = first;
    if (!parts->name_is_number) {
        int status = json_scan_string(first, at, EVENT_NAME_MAX, &parts->name);
        if (status < 0) {
            return status;
        }
    }
    struct bytes inside = json_scan_inside(parts->data);
    struct bytes arg;
    for (; json_scan_element(&iter, &arg); parts->arg_count++) {
        if (parts->arg_count == 0) {
            parts->args = bytes_of(arg.at, (size_t)(inside.at + inside.len - arg.at));
        }
    }
    return 0;
}

int event_from_packet(struct bytes data, struct buf *const *attachments, unsigned attachment_count,
    unsigned flags, struct event **ret_event)
{
    struct parts parts = {
        .form = EVENT_JSON,
        .flags = flags | (attachment_count > 0 ? (unsigned)EVENT_BINARY : 0),
        .data = data,
        .attachments = attachments,
        .attachment_count = attachment_count,
    };
    if (attachment_count > EVENT_ATTACHMENTS_MAX) {
        return STATUS_TOO_LARGE;
    }
    char name[EVENT_NAME_MAX];
    int status = split_json(&parts, name);
    if (status < 0) {
        return status;
    }
    if (attachment_count > 0 && sio_placeholders_check(parts.data, attachment_count) < 0) {
        return STATUS_INVALID;
    }
    return make(&parts, ret_event);
}

int event_from_json(struct bytes data, struct buf *const *attachments, unsigned attachment_count,
    unsigned flags, struct event **ret_event)
{
    struct bytes array;
    int status = json_scan_text(data, DEPTH_ACCEPTED, &array, NULL);
    return status < 0 ? status
                      : event_from_packet(array, attachments, attachment_count, flags, ret_event);
}

int event_from_elements(
    struct bytes name, struct bytes elements, unsigned flags, struct event **ret_event)
{
    if (name.len > EVENT_NAME_MAX) {
        return STATUS_TOO_LARGE;
    }
    elements = bytes_trim(elements, " \t\r\n");
    struct builder text = {.max = elements.len + name.len * 6 + 8};
    builder_byte(&text, '[');
    json_scan_write_string(&text, name);
    if (elements.len > 0) {
        builder_byte(&text, ',');
        builder_add(&text, elements);
    }
    builder_byte(&text, ']');
    int status = STATUS_NOMEM;
    if (!builder_failed(&text)) {
        status = event_from_json(builder_bytes(&text), NULL, 0, flags, ret_event);
    }
    builder_reset(&text);
    return status;
}

int event_from_args(
    struct bytes name, struct bytes args_json, unsigned flags, struct event **ret_event)
{
    /* Only brackets are taken off here; what is between them is checked as part of the whole. */
    struct bytes array = bytes_trim(args_json, " \t\r\n");
    if (array.len < 2 || array.at[0] != '[' || array.at[array.len - 1] != ']') {
        return STATUS_INVALID;
    }
    return event_from_elements(name, bytes_of(array.at + 1, array.len - 2), flags, ret_event);
}

int event_from_own(struct bytes array, size_t name_len, unsigned flags, struct event **ret_event)
{
    static const size_t before = sizeof("[\"") - 1, between = sizeof("\",") - 1;
    struct bytes args = bytes_of(array.at + array.len, 0);
    if (array.len > before + name_len + between) {
        args = bytes_skip(array, before + name_len + between);
        args.len -= 1; /* the bracket */
    }
    const struct parts parts = {
        .form = EVENT_JSON,
        .flags = flags,
        .data = array,
        .name = bytes_of(array.at + before, name_len),
        .args = args,
        .arg_count = args.len > 0,
    };
    return make(&parts, ret_event);
}

/* The name of a MessagePack event; numbers are written to `at`. */
static int split_msgpack(struct parts *parts, char at[NUMBER_TEXT_MAX])
{
    struct mp_reader reader = {.rest = parts->data};
    uint32_t count;
    struct mp_value name;
    if (mp_array(&reader, &count) < 0 || count == 0 || mp_next(&reader, &name) < 0) {
        return STATUS_INVALID;
    }
    parts->args = reader.rest;
    parts->arg_count = count - 1;
    if (name.type == MP_STR) {
        parts->name = name.bytes;
        return 0;
    }
    if (name.type != MP_UINT && name.type != MP_INT) {
        return STATUS_INVALID;
    }
    parts->name_is_number = true;
    int len = name.type == MP_UINT ? snprintf(at, NUMBER_TEXT_MAX, "%" PRIu64, name.number.u)
                                   : snprintf(at, NUMBER_TEXT_MAX, "%" PRId64, name.number.i);
    parts->name = bytes_of(at, (size_t)len);
    return 0;
}

int event_from_msgpack(struct bytes data, unsigned flags, struct event **ret_event)
{
    struct parts parts = {.form = EVENT_MSGPACK, .data = data};
    struct mp_summary summary;
    char number[NUMBER_TEXT_MAX];
    int status = mp_check(data, DEPTH_ACCEPTED, &summary);
    status = status < 0 ? status : split_msgpack(&parts, number);
    if (status < 0) {
        return status;
    }
    parts.flags = flags | (summary.bins > 0 ? (unsigned)EVENT_BINARY : 0);
    parts.attachment_count = summary.bins < UINT16_MAX ? summary.bins : UINT16_MAX;
    return make(&parts, ret_event);
}

/* Write the array with `value` (JSON) behind its last element; returns by how much the others
 * moved.
 */
static size_t append_json(const struct event *event, struct bytes value, struct builder *out)
{
    builder_add(out, bytes_of(event->data.at, event->data.len - 1));
    builder_byte(out, ',');
    builder_add(out, value);
    builder_byte(out, ']');
    return 0;
}

static size_t append_msgpack(const struct event *event, struct bytes value, struct builder *out)
{
    struct mp_reader reader = {.rest = event->data};
    uint32_t count;
    int status = mp_array(&reader, &count);
    CHECK(status == 0); /* it was read once, when the event was made */
    mp_pack_array(out, count + 1);
    size_t shift = builder_bytes(out).len - (event->data.len - reader.rest.len);
    builder_add(out, reader.rest);
    status = mp_from_json(value, NULL, 0, out);
    CHECK(status == 0 || builder_failed(out)); /* it is Peal's own */
    return shift;
}

int event_append_json(const struct event *event, struct bytes value, struct event **ret_event)
{
    bool json = event->form == EVENT_JSON;
    struct builder out = {.max = event->data.len + value.len + 16};
    size_t shift = (json ? append_json : append_msgpack)(event, value, &out);
    struct bytes data = builder_bytes(&out);
    size_t tail = json ? 1 : 0; /* what stands behind the last element */
    size_t args = event->data.len; /* without arguments, the value is the first one */
    if (event->arg_count > 0) {
        args = (size_t)(event->args.at - event->data.at);
    }
    struct parts parts = {
        .form = (enum event_form)event->form,
        .flags = event->flags,
        .data = data,
        .name = event->name,
        .name_is_number = event->name_is_number,
        .arg_count = event->arg_count + 1,
        .attachments = event->attachments,
        .attachment_count = event->attachment_count,
    };
    int status = STATUS_NOMEM;
    if (!builder_failed(&out)) {
        if (is_within(event->name, event->data)) {
            parts.name.at = data.at + shift + (event->name.at - event->data.at);
        }
        parts.args = bytes_of(data.at + shift + args, data.len - tail - shift - args);
        status = make(&parts, ret_event);
    }
    builder_reset(&out);
    return status;
}

struct event *event_ref(struct event *event)
{
    /* Relaxed: the caller already holds a reference, so nothing needs to be ordered before. */
    atomic_fetch_add_explicit(&event->refs, 1, memory_order_relaxed);
    return event;
}

size_t event_cost(const struct event *event)
{
    unsigned held = event->attachments != NULL ? event->attachment_count : 0;
    size_t cost = mem_cost(sizeof(*event) + held * sizeof(struct buf *) + event->data.len);
    for (unsigned i = 0; i < held; i++) {
        cost += mem_cost(buf_bytes(event->attachments[i]).len);
    }
    return cost;
}

void event_unref(struct event *event)
{
    if (event == NULL) {
        return;
    }
    /* Release pairs with acquire here: every holder's reads happen before the free. */
    if (atomic_fetch_sub_explicit(&event->refs, 1, memory_order_acq_rel) == 1) {
        unsigned held = event->attachments != NULL ? event->attachment_count : 0;
        for (unsigned i = 0; i < held; i++) {
            buf_unref(event->attachments[i]);
        }
        mem_free(event);
    }
}
