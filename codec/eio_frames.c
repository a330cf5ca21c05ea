/* SPDX-License-Identifier: Apache-2.0 */
#include "codec/eio_frames.h"

#include <limits.h>
#include <stdint.h>

#include "codec/base/status.h"
#include "codec/ws_frame.h"

enum { FIN = 0x80, LENGTH_16 = 126, LENGTH_64 = 127 };

static uint64_t read_length(const uint8_t *at, size_t bytes)
{
    uint64_t length = 0;
    for (size_t i = 0; i < bytes; i++) {
        length = length << 8 | at[i];
    }
    return length;
}

/* Read the head at the start of `frames`: its length, or STATUS_PROTO. */
static int read_head(struct bytes frames, enum ws_opcode *ret_opcode, uint64_t *ret_len)
{
    const uint8_t *at = (const uint8_t *)frames.at;
    if (frames.len < 2 || (at[0] != (FIN | WS_TEXT) && at[0] != (FIN | WS_BINARY)) ||
        at[1] > LENGTH_64) {
        return STATUS_PROTO;
    }
    *ret_opcode = (enum ws_opcode)(at[0] & ~FIN);
    *ret_len = at[1];
    size_t more = at[1] == LENGTH_16 ? 2 : at[1] == LENGTH_64 ? 8 : 0;
    if (frames.len < 2 + more) {
        return STATUS_PROTO;
    }
    if (more > 0) {
        *ret_len = read_length(at + 2, more);
    }
    return *ret_len <= frames.len - 2 - more ? (int)(2 + more) : STATUS_PROTO;
}

static bool is_full(const struct eio_encoder *encoder)
{
    return encoder->count >= EIO_ENCODER_PACKETS_MAX ||
           builder_bytes(encoder->out).len >= EIO_FRAMES_BODY_MAX;
}

int eio_frames_append(struct eio_encoder *encoder, struct bytes frames)
{
    size_t used = 0;
    if (frames.len > INT_MAX) {
        return STATUS_TOO_LARGE;
    }
    while (used < frames.len && !is_full(encoder)) {
        struct bytes rest = bytes_skip(frames, used);
        enum ws_opcode opcode;
        uint64_t len;
        int head = read_head(rest, &opcode, &len);
        if (head < 0) {
            return head;
        }
        struct bytes payload = bytes_of(rest.at + head, (size_t)len);
        int status = opcode == WS_TEXT ? eio_encoder_text(encoder, payload)
                                       : eio_encoder_binary(encoder, payload);
        if (status != 0) {
            return STATUS_TOO_LARGE;
        }
        used += (size_t)head + payload.len;
    }
    return (int)used;
}
