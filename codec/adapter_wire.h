/* SPDX-License-Identifier: Apache-2.0 */
/*
 * adapter_wire - the messages of the classic Socket.IO Redis adapter and its emitters.
 *
 * Channels are `<key>#<nsp>#` and `<key>#<nsp>#<room>#`, with `-request` or `-response` behind the
 * key for those; a broadcast is MessagePack `[uid, {type, data, nsp}, {rooms, except, flags}]`. The
 * decoder takes what emitters in other languages send (rooms as nil, "", one string; numbers as
 * rooms; flags that are false); the encoder writes what a stock Node adapter reads.
 */
#ifndef CODEC_ADAPTER_WIRE_H
#define CODEC_ADAPTER_WIRE_H

#include <stdint.h>

#include "codec/adapter_fields.h"
#include "codec/base/buf.h"
#include "codec/base/bytes.h"
#include "codec/base/check.h"
#include "codec/event.h"

enum adapter_channel { ADAPTER_BROADCAST, ADAPTER_REQUEST, ADAPTER_RESPONSE };

/* Append a channel name. `key` is "socket.io" by default; `room` empty: the namespace's channel. */
void adapter_channel_write(enum adapter_channel channel, struct bytes key, struct bytes nsp,
    struct bytes room, struct builder *out);

/*
 * Take a channel name apart; a missing last `#` is forgiven, a room may contain `#`. The namespace
 * is never empty. STATUS_NOT_FOUND when it is no channel of `key`.
 */
MUST_CHECK int adapter_channel_parse(struct bytes key, struct bytes name,
    enum adapter_channel *ret_channel, struct bytes *ret_nsp, struct bytes *ret_room);

/* A decoded broadcast; all slices point into the payload. */
struct adapter_broadcast {
    struct bytes uid;
    struct bytes nsp; /* "/" where absent */
    struct bytes data; /* the MessagePack array for event_from_msgpack */
    struct adapter_names rooms;
    struct adapter_names except;
    unsigned flags; /* set of enum adapter_flags */
};

/*
 * Decode a broadcast. Sizes, counts and depth are checked without allocation. STATUS_INVALID for no
 * MessagePack or another shape, STATUS_UTF8, STATUS_TOO_LARGE for nesting.
 */
MUST_CHECK int adapter_broadcast_decode(
    struct bytes payload, struct adapter_broadcast *ret_broadcast);

/* What adapter_broadcast_encode writes. */
struct adapter_emit {
    struct bytes uid;
    struct bytes nsp;
    const struct event *event;
    const struct bytes *rooms;
    uint32_t room_count;
    const struct bytes *except;
    uint32_t except_count;
    unsigned flags; /* set of enum adapter_flags */
};

/*
 * Append a broadcast. JSON events are transcoded, attachments become bin. STATUS_TOO_LARGE when it
 * does not fit.
 */
MUST_CHECK int adapter_broadcast_encode(const struct adapter_emit *emit, struct builder *out);

/* The channel to publish `emit` on: exactly one room has its own, else the namespace's. */
void adapter_emit_channel(const struct adapter_emit *emit, struct bytes key, struct builder *out);

#endif
