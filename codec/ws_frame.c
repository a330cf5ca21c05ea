/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Writes and reads heads of frames, and follows a client's frames without keeping their payload.
 */
#include "codec/ws_frame.h"

#include <limits.h>

#include "codec/base/status.h"
#include "codec/utf8.h"

enum {
    BIT_FIN = 0x80,
    BIT_RSV1 = 0x40,
    BITS_RSV23 = 0x30,
    BITS_OPCODE = 0x0f,
    BIT_CONTROL = 0x08,
    BIT_MASK = 0x80,
    LEN_16 = 126, /* in the 7 bits of the length: 2 bytes follow */
    LEN_64 = 127, /* 8 bytes follow */
};

/* ---- writing ---- */

size_t ws_frame_write_head(
    char at[WS_FRAME_HEAD_MAX], enum ws_opcode opcode, bool compressed, uint64_t len)
{
    at[0] = (char)(BIT_FIN | (compressed ? BIT_RSV1 : 0) | (unsigned)opcode);
    if (len < LEN_16) {
        at[1] = (char)len;
        return 2;
    }
    size_t bytes = len <= UINT16_MAX ? 2 : 8;
    at[1] = bytes == 2 ? LEN_16 : LEN_64;
    for (size_t i = 0; i < bytes; i++) {
        at[2 + i] = (char)(len >> 8 * (bytes - 1 - i) & 0xff);
    }
    return 2 + bytes;
}

static uint64_t read_number(const char *at, size_t bytes)
{
    uint64_t number = 0;
    for (size_t i = 0; i < bytes; i++) {
        number = number << 8 | (unsigned char)at[i];
    }
    return number;
}

int ws_frame_read_own(struct bytes frames, struct ws_frame *ret_frame)
{
    if (frames.len < 2 || frames.len > INT_MAX) {
        return STATUS_PROTO;
    }
    unsigned char first = (unsigned char)frames.at[0];
    unsigned char len = (unsigned char)frames.at[1];
    if ((first & BITS_RSV23) != 0 || (len & BIT_MASK) != 0) {
        return STATUS_PROTO;
    }
    size_t extended = len == LEN_16 ? 2 : len == LEN_64 ? 8 : 0;
    if (frames.len < 2 + extended) {
        return STATUS_PROTO;
    }
    *ret_frame = (struct ws_frame){
        .opcode = (enum ws_opcode)(first & BITS_OPCODE),
        .fin = (first & BIT_FIN) != 0,
        .compressed = (first & BIT_RSV1) != 0,
        .head_len = (uint8_t)(2 + extended),
        .payload_len = extended > 0 ? read_number(frames.at + 2, extended) : len,
    };
    size_t rest = frames.len - ret_frame->head_len;
    return ret_frame->payload_len <= rest ? (int)(ret_frame->head_len + ret_frame->payload_len)
                                          : STATUS_PROTO;
}

size_t ws_frame_write_close(char at[WS_FRAME_CONTROL_MAX], unsigned code, struct bytes reason)
{
    if (code == WS_CLOSE_NO_STATUS) {
        return 0;
    }
    at[0] = (char)(code >> 8 & 0xff);
    at[1] = (char)(code & 0xff);
    size_t len = utf8_fit(reason, WS_FRAME_REASON_MAX);
    if (len > 0) {
        memcpy(at + 2, reason.at, len);
    }
    return 2 + len;
}

/* ---- close frames of a client ---- */

int ws_frame_read_close(struct bytes payload, unsigned *ret_code, struct bytes *ret_reason)
{
    if (payload.len == 0) {
        *ret_code = WS_CLOSE_NO_STATUS;
        *ret_reason = bytes_of(NULL, 0);
        return 0;
    }
    if (payload.len == 1) {
        return STATUS_PROTO;
    }
    unsigned code = (unsigned)(unsigned char)payload.at[0] << 8 | (unsigned char)payload.at[1];
    bool allowed = (code >= 1000 && code <= 1003) || (code >= 1007 && code <= 1014) ||
                   (code >= 3000 && code <= 4999);
    if (!allowed) {
        return STATUS_PROTO;
    }
    struct bytes reason = bytes_skip(payload, 2);
    if (!utf8_valid(reason)) {
        return STATUS_UTF8;
    }
    *ret_code = code;
    *ret_reason = reason;
    return 0;
}

/* ---- scanning ---- */

static bool is_control(const struct ws_frame *frame)
{
    return ((unsigned)frame->opcode & BIT_CONTROL) != 0;
}

/* The first byte: FIN, RSV and the opcode, which must fit what came before. */
static int scan_first(const struct ws_scanner *scanner, unsigned char byte, struct ws_frame *frame)
{
    unsigned opcode = byte & BITS_OPCODE;
    bool known = opcode <= WS_BINARY || (opcode >= WS_CLOSE && opcode <= WS_PONG);
    if (!known || (byte & BITS_RSV23) != 0) {
        return STATUS_PROTO;
    }
    frame->opcode = (enum ws_opcode)opcode;
    frame->fin = (byte & BIT_FIN) != 0;
    frame->compressed = (byte & BIT_RSV1) != 0;
    bool starts = opcode == WS_TEXT || opcode == WS_BINARY;
    if (frame->compressed && !(starts && scanner->allow_compressed)) {
        return STATUS_PROTO;
    }
    if (is_control(frame)) {
        return frame->fin ? 0 : STATUS_PROTO;
    }
    return starts == scanner->in_message ? STATUS_PROTO : 0;
}

/* The length in its extended form of 2 or 8 bytes, which must be the shortest possible. */
static int scan_extended(const char *at, size_t bytes, uint64_t *ret_len)
{
    uint64_t len = read_number(at, bytes);
    uint64_t least = bytes == 2 ? LEN_16 : (uint64_t)UINT16_MAX + 1;
    if (len < least || len > INT64_MAX) {
        return STATUS_PROTO;
    }
    *ret_len = len;
    return 0;
}

/* Whether this frame keeps the message within its limits. */
static int check_limits(const struct ws_scanner *scanner, const struct ws_frame *frame)
{
    if (is_control(frame)) {
        return 0;
    }
    if (scanner->message_len > scanner->max_message ||
        frame->payload_len > scanner->max_message - scanner->message_len ||
        frame->payload_len > INT_MAX - WS_FRAME_CLIENT_HEAD_MAX) {
        return STATUS_TOO_LARGE;
    }
    bool full = scanner->max_fragments > 0 && scanner->fragments >= scanner->max_fragments;
    return full ? STATUS_FULL : 0;
}

/* The second byte and the extended length. Leaves frame->need at what it lacks. */
static int scan_length(const struct ws_scanner *scanner, struct bytes input, struct ws_frame *frame)
{
    unsigned char byte = (unsigned char)input.at[1];
    unsigned len = byte & ~(unsigned)BIT_MASK;
    if ((byte & BIT_MASK) == 0 || (is_control(frame) && len > WS_FRAME_CONTROL_MAX)) {
        return STATUS_PROTO;
    }
    size_t extended = len == LEN_16 ? 2 : len == LEN_64 ? 8 : 0;
    frame->payload_len = len;
    frame->need = 2 + extended + sizeof(frame->mask);
    if (input.len < 2 + extended) {
        return 0;
    }
    if (extended > 0) {
        int status = scan_extended(input.at + 2, extended, &frame->payload_len);
        if (status < 0) {
            return status;
        }
    }
    return check_limits(scanner, frame);
}

static void count(struct ws_scanner *scanner, const struct ws_frame *frame)
{
    if (is_control(frame)) {
        return;
    }
    scanner->in_message = !frame->fin;
    scanner->fragments = frame->fin ? 0 : scanner->fragments + 1;
    scanner->message_len = frame->fin ? 0 : scanner->message_len + frame->payload_len;
}

int ws_frame_scan(struct ws_scanner *scanner, struct bytes input, struct ws_frame *ret_frame)
{
    struct ws_frame *frame = ret_frame;
    *frame = (struct ws_frame){.need = 2};
    if (input.len == 0) {
        return 0;
    }
    int status = scan_first(scanner, (unsigned char)input.at[0], frame);
    if (status < 0 || input.len == 1) {
        return status;
    }
    status = scan_length(scanner, input, frame);
    if (status < 0 || input.len < frame->need) {
        return status;
    }
    frame->head_len = (uint8_t)frame->need;
    memcpy(frame->mask, input.at + frame->head_len - sizeof(frame->mask), sizeof(frame->mask));
    frame->need += frame->payload_len;
    if (input.len < frame->need) {
        return 0;
    }
    count(scanner, frame);
    return (int)frame->need;
}
