/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Walks the frames that were made for WebSockets and appends the packets in them to a payload.
 */
#include "codec/eio_frames.h"

#include <limits.h>

#include "codec/base/status.h"
#include "codec/ws_frame.h"

/* Read the head at the start of `frames`, a whole message: its frame's length, or STATUS_PROTO. */
static int read_message(struct bytes frames, struct ws_frame *ret_frame)
{
    int len = ws_frame_read_own(frames, ret_frame);
    bool message = len > 0 && ret_frame->fin && !ret_frame->compressed &&
                   (ret_frame->opcode == WS_TEXT || ret_frame->opcode == WS_BINARY);
    return message ? len : STATUS_PROTO;
}

static bool is_full(const struct eio_encoder *encoder)
{
    return encoder->count >= EIO_ENCODER_PACKETS_MAX ||
           (encoder->full_bytes > 0 && builder_bytes(encoder->out).len >= encoder->full_bytes);
}

int eio_frames_append(struct eio_encoder *encoder, struct bytes frames)
{
    size_t used = 0;
    if (frames.len > INT_MAX) {
        return STATUS_TOO_LARGE;
    }
    while (used < frames.len && !is_full(encoder)) {
        struct bytes rest = bytes_skip(frames, used);
        struct ws_frame frame;
        int len = read_message(rest, &frame);
        if (len < 0) {
            return len;
        }
        struct bytes payload = bytes_of(rest.at + frame.head_len, (size_t)frame.payload_len);
        int status = frame.opcode == WS_TEXT ? eio_encoder_text(encoder, payload)
                                             : eio_encoder_binary(encoder, payload);
        if (status != 0) {
            return STATUS_TOO_LARGE;
        }
        used += (size_t)len;
    }
    return (int)used;
}
