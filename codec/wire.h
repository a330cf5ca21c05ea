/* SPDX-License-Identifier: Apache-2.0 */
/*
 * wire - what goes out to a socket, by format: single messages, and windows of many events.
 *
 * A window is encoded once per leaf and format and shared by all its members:
 *
 *     head (wire_open)  item 0  separator item 1  separator item 2 …  tail (wire_close)
 *
 * In the framed formats the whole is one WebSocket message, whose header depends on the length;
 * a member that must skip the first items gets a head of its own and a later start in the same
 * items. In WIRE_SIO and WIRE_SIO_MSGPACK each item is a complete WebSocket message (in WIRE_SIO
 * several frames when it carries attachments), there is no separator, and head and tail are empty.
 */
#ifndef CODEC_WIRE_H
#define CODEC_WIRE_H

#include <stdbool.h>
#include <stdint.h>

#include "codec/base/buf.h"
#include "codec/event.h"

enum wire_format {
    WIRE_SIO, /* Socket.IO 5 text packets over WebSocket */
    WIRE_SIO_BATCH, /* the same; windows as one `batch_update` event */
    WIRE_JSON, /* plain WebSocket, peal.json.v1 */
    WIRE_SIO_MSGPACK, /* Socket.IO 5 with the MessagePack parser: binary messages */
    WIRE_MSGPACK, /* plain WebSocket, peal.msgpack.v1 */
    WIRE_FORMAT_COUNT,
};

/* Bytes between two items of a window: 1 (a comma) or 0. */
unsigned wire_separator(enum wire_format format);

/* Whether windows of `format` are one message with head and tail; else each item is one. */
bool wire_framed(enum wire_format format);

/*
 * Append `event` as one item (with the separator in front if `items` is not empty). `nsp` is the
 * namespace ("/"). An event that the format cannot carry (binary in a batch or plain JSON window is
 * carried as base64 text; never fails for that) or that does not fit gives STATUS_TOO_LARGE and
 * leaves `items` as it was.
 */
MUST_CHECK int wire_add(
    enum wire_format format, struct bytes nsp, const struct event *event, struct builder *items);

/* Append the head of a window of `count` items that are `items_len` bytes together. */
void wire_open(enum wire_format format, struct bytes nsp, size_t items_len, unsigned count,
    uint64_t wall_ms, struct builder *out);

/* Append the tail of the same window; the same `wall_ms`. */
void wire_close(enum wire_format format, uint64_t wall_ms, struct builder *out);

/*
 * Append one event as a complete message that is no window: never as `batch_update`; framed formats
 * wrap it in an array of one.
 */
MUST_CHECK int wire_event(
    enum wire_format format, struct bytes nsp, const struct event *event, struct builder *out);

/*
 * Append one event that asks for ack `id`, as wire_event. STATUS_UNSUPPORTED for the formats of the
 * plain WebSocket, whose clients are asked nothing.
 */
MUST_CHECK int wire_ask(enum wire_format format, struct bytes nsp, uint64_t id,
    const struct event *event, struct builder *out);

/*
 * Append the answer to request `id`: `result` is the JSON text of the one argument of the ack
 * (Socket.IO `43id[result]` or its map, plain `[[-id,result]]`).
 */
MUST_CHECK int wire_ack(enum wire_format format, struct bytes nsp, uint64_t id, struct bytes result,
    struct builder *out);

#endif
