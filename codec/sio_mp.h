/* SPDX-License-Identifier: Apache-2.0 */
/*
 * sio_mp - Socket.IO revision 5 with the MessagePack parser (socket.io-msgpack-parser).
 *
 * A packet is one MessagePack map, `{type, nsp, data?, id?}` in any order, in one binary message;
 * binary stands where it belongs and there are no attachments. Decoding gives what sio.h gives,
 * with data as JSON text, so that a session knows one kind of packet. The writers append packets
 * without frames.
 */
#ifndef CODEC_SIO_MP_H
#define CODEC_SIO_MP_H

#include "codec/base/buf.h"
#include "codec/base/bytes.h"
#include "codec/base/check.h"
#include "codec/mp.h"
#include "codec/sio.h"

/*
 * Read a packet as a server does. Its data is appended to `text` as JSON, which the payload refers
 * to; each bin of an EVENT or ACK becomes a placeholder there and a slice in `bins` (room for at
 * most SIO_ATTACHMENTS_MAX), `attachments` counts them. In a CONNECT bin is base64 text. An ext
 * that stands for "undefined" counts as absent. Returns 0, or what ends the connection:
 * STATUS_PROTO for anything but such a map, the wrong data for its type, reserved event names, and
 * types only servers send; STATUS_TOO_LARGE for depth, name, id, bins or text; STATUS_UTF8.
 */
MUST_CHECK int sio_mp_decode(struct bytes message, struct builder *text, struct mp_bins *bins,
    struct sio_packet *ret_packet);

/* Append the answer to a CONNECT; without `pid` when that is empty. */
void sio_mp_write_connect(
    struct builder *out, struct bytes nsp, struct bytes sid, struct bytes pid);

/* Append a CONNECT_ERROR; without "data" (JSON) when that is empty. */
MUST_CHECK int sio_mp_write_connect_error(
    struct builder *out, struct bytes nsp, struct bytes message, struct bytes data);

/* Append a DISCONNECT. */
void sio_mp_write_disconnect(struct builder *out, struct bytes nsp);

/*
 * Append what stands before the data of an EVENT, or of an ACK of head->id, and what stands behind
 * it; in between, the caller appends an array.
 */
void sio_mp_begin(struct builder *out, enum sio_type type, const struct sio_head *head);
void sio_mp_end(struct builder *out, const struct sio_head *head);

/* Append an EVENT. Fails as mp_from_json_elements does; `out` is then of no use. */
MUST_CHECK int sio_mp_write_event(
    struct builder *out, const struct sio_head *head, const struct sio_event_out *event);

/* Append an ACK with JSON elements "a,b,c" and head->attachments bins. Fails as above. */
MUST_CHECK int sio_mp_write_ack(struct builder *out, const struct sio_head *head, struct bytes args,
    struct buf *const *attachments);

/* Append the name of an event: a string, or a number by its digits. */
MUST_CHECK int sio_mp_add_name(struct builder *out, struct bytes name, bool is_number);

/*
 * Append checked MessagePack values as clients with this parser understand them: a date is an ext
 * of their own, and they do not know the timestamp of the specification.
 */
void sio_mp_add_values(struct builder *out, struct bytes values);

#endif
