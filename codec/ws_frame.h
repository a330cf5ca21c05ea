/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ws_frame - WebSocket frames (RFC 6455 section 5): heads of the frames a server sends, close
 * payloads, and a scanner that finds where a client's frame ends.
 */
#ifndef CODEC_WS_FRAME_H
#define CODEC_WS_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/base/bytes.h"
#include "codec/base/check.h"

enum ws_opcode {
    WS_CONTINUATION = 0,
    WS_TEXT = 1,
    WS_BINARY = 2,
    WS_CLOSE = 8,
    WS_PING = 9,
    WS_PONG = 10,
};

enum {
    WS_FRAME_HEAD_MAX = 10, /* of a server's frame */
    WS_FRAME_CLIENT_HEAD_MAX = 14, /* of a client's, with the mask */
    WS_FRAME_CONTROL_MAX = 125, /* payload of a control frame */
    WS_FRAME_REASON_MAX = 123, /* reason in a close payload */
};

/* RFC 6455 section 7.4.1; never on the wire: an empty payload. Other codes are rows of close.def.
 */
enum { WS_CLOSE_NO_STATUS = 1005 };

/* One frame, as its head tells. */
struct ws_frame {
    enum ws_opcode opcode;
    bool fin;
    bool compressed; /* RSV1, only where the scanner allows it */
    uint8_t head_len;
    uint8_t mask[4];
    uint64_t payload_len;
    uint64_t need; /* bytes from the start of the frame that allow the next step */
};

/*
 * Write the head of an unmasked frame that is a whole message of `len` bytes (under 2^63) to
 * `at`; return its length: 2, 4 or 10. `compressed` sets RSV1. Any thread.
 */
size_t ws_frame_write_head(
    char at[WS_FRAME_HEAD_MAX], enum ws_opcode opcode, bool compressed, uint64_t len);

/*
 * Read the frame of a server at the start of `frames`: the fields of ret_frame but `mask` and
 * `need`. Returns its whole length, or STATUS_PROTO when it is masked or cut, or has RSV2 or RSV3.
 * Any thread.
 */
MUST_CHECK int ws_frame_read_own(struct bytes frames, struct ws_frame *ret_frame);

/*
 * Write a close payload to `at` and return its length. The reason (valid UTF-8) is cut at a
 * character boundary to fit. Code WS_CLOSE_NO_STATUS gives an empty payload. Any thread.
 */
size_t ws_frame_write_close(char at[WS_FRAME_CONTROL_MAX], unsigned code, struct bytes reason);

/*
 * Check the unmasked payload of a received close frame. Returns 0 (code WS_CLOSE_NO_STATUS for
 * an empty one), STATUS_PROTO for one byte or a code that must not be sent (allowed: 1000-1003,
 * 1007-1014, 3000-4999), or STATUS_UTF8 for a bad reason. Any thread.
 */
MUST_CHECK int ws_frame_read_close(
    struct bytes payload, unsigned *ret_code, struct bytes *ret_reason);

/* What is known between the frames of a connection; all zero at its start, with the limits. */
struct ws_scanner {
    uint64_t max_message; /* payload bytes of one message, all its fragments together */
    uint32_t max_fragments; /* frames of one message, 0 = no limit */
    bool allow_compressed; /* permessage-deflate was negotiated */
    /* private */
    bool in_message;
    uint32_t fragments;
    uint64_t message_len;
};

/*
 * Look at the client frame at the start of `input`. Returns its whole length once all of it is
 * there, and counts it; 0 when more is needed, with ret_frame->need telling how much from the
 * start of the frame (the head's fields are set once head_len is not 0); or a status as soon
 * as the bytes at hand decide: STATUS_PROTO (no mask, RSV, opcode, control frame too long or
 * fragmented, length not minimal or above 63 bits, continuation out of place), STATUS_TOO_LARGE
 * for the message, STATUS_FULL for fragments. Nothing is ever read of the payload. A length
 * beyond INT_MAX is STATUS_TOO_LARGE whatever the limit.
 */
MUST_CHECK int ws_frame_scan(
    struct ws_scanner *scanner, struct bytes input, struct ws_frame *ret_frame);

#endif
