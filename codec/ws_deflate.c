/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Compresses messages that were framed already, and expands those of clients step by step, up to a
 * limit.
 */
#include "codec/ws_deflate.h"

#include <limits.h>
#include <stdint.h>
#include <zlib.h>

#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "codec/ws_frame.h"

enum {
    STEP = 4096, /* bytes inflated at a time, at most */
    AT_BLOCK = 128, /* in z_stream.data_type: between two blocks */
};

/* What a sender takes off the end of a message, and a receiver puts there again. */
static const char TAIL[] = {0x00, 0x00, (char)0xff, (char)0xff};

struct ws_deflater {
    z_stream stream;
};

struct ws_inflater {
    z_stream stream;
    bool between; /* nothing is left to come of the last block */
};

static Bytef *input_of(struct bytes bytes)
{
    return (Bytef *)(uintptr_t)bytes.at; /* zlib does not write to it */
}

/* --- deflating ----------------------------------------------------------------------------- */

struct ws_deflater *ws_deflater_create(int level, int memory)
{
    struct ws_deflater *deflater = mem_try_alloc(sizeof(*deflater));
    if (deflater == NULL) {
        return NULL;
    }
    deflater->stream = (z_stream){0};
    if (deflateInit2(&deflater->stream, level, Z_DEFLATED, -WS_DEFLATE_BITS_MAX, memory,
            Z_DEFAULT_STRATEGY) != Z_OK) {
        mem_free(deflater);
        return NULL;
    }
    return deflater;
}

void ws_deflater_destroy(struct ws_deflater *deflater)
{
    if (deflater != NULL) {
        deflateEnd(&deflater->stream);
        mem_free(deflater);
    }
}

/* Deflate `payload` to `at`; returns the bytes written, or 0 when they would not be fewer. */
static size_t deflate_payload(struct ws_deflater *deflater, struct bytes payload, char *at)
{
    z_stream *stream = &deflater->stream;
    deflateReset(stream);
    stream->next_in = input_of(payload);
    stream->avail_in = (uInt)payload.len;
    stream->next_out = (Bytef *)at;
    stream->avail_out = (uInt)payload.len;
    /* A flush that has room left is complete, and then it ends with the tail. */
    bool done = deflate(stream, Z_SYNC_FLUSH) == Z_OK && stream->avail_out > 0;
    size_t len = payload.len - stream->avail_out;
    return done && len > sizeof(TAIL) ? len - sizeof(TAIL) : 0;
}

/* Append the message compressed; false when it is to be left as it is. */
static bool add_compressed(struct ws_deflater *deflater, const struct ws_frame *frame,
    struct bytes payload, struct builder *out)
{
    char *at = builder_reserve(out, WS_FRAME_HEAD_MAX + payload.len);
    if (at == NULL) {
        return false;
    }
    size_t len = deflate_payload(deflater, payload, at + WS_FRAME_HEAD_MAX);
    if (len == 0) {
        return false;
    }
    size_t head = ws_frame_write_head(at, frame->opcode, true, len);
    memmove(at + head, at + WS_FRAME_HEAD_MAX, len);
    builder_commit(out, head + len);
    return true;
}

static bool is_worth_it(const struct ws_frame *frame, size_t least)
{
    bool message = frame->opcode == WS_TEXT || frame->opcode == WS_BINARY;
    return message && frame->fin && !frame->compressed && frame->payload_len >= least;
}

int ws_deflate_frames(
    struct ws_deflater *deflater, struct bytes frames, size_t least, struct builder *out)
{
    size_t start = builder_bytes(out).len;
    int count = 0;
    while (frames.len > 0) {
        struct ws_frame frame;
        int len = ws_frame_read_own(frames, &frame);
        if (len < 0) {
            builder_rewind(out, start);
            return len;
        }
        struct bytes whole = bytes_of(frames.at, (size_t)len);
        if (is_worth_it(&frame, least) &&
            add_compressed(deflater, &frame, bytes_skip(whole, frame.head_len), out)) {
            count++;
        } else {
            builder_add(out, whole);
        }
        frames = bytes_skip(frames, (size_t)len);
    }
    if (builder_failed(out)) {
        int status = builder_status(out);
        builder_rewind(out, start);
        return status;
    }
    return count;
}

/* --- inflating ----------------------------------------------------------------------------- */

int ws_inflater_begin(struct ws_inflater **inflater)
{
    struct ws_inflater *one = *inflater;
    if (one != NULL) {
        inflateReset(&one->stream);
        one->between = true;
        return 0;
    }
    one = mem_try_alloc(sizeof(*one));
    if (one == NULL) {
        return STATUS_NOMEM;
    }
    *one = (struct ws_inflater){.between = true};
    if (inflateInit2(&one->stream, -WS_DEFLATE_BITS_MAX) != Z_OK) {
        mem_free(one);
        return STATUS_NOMEM;
    }
    *inflater = one;
    return 0;
}

void ws_inflater_destroy(struct ws_inflater *inflater)
{
    if (inflater != NULL) {
        inflateEnd(&inflater->stream);
        mem_free(inflater);
    }
}

/* Inflate once, into at most STEP bytes of `out`. Returns whether there may be more, or a status.
 */
static int inflate_step(struct ws_inflater *inflater, struct builder *out)
{
    z_stream *stream = &inflater->stream;
    char step[STEP];
    stream->next_out = (Bytef *)step;
    stream->avail_out = STEP;
    int result = inflate(stream, Z_SYNC_FLUSH);
    if (result != Z_OK && result != Z_STREAM_END && result != Z_BUF_ERROR) {
        return STATUS_INVALID;
    }
    builder_add(out, bytes_of(step, STEP - stream->avail_out));
    if (builder_failed(out)) {
        return builder_status(out);
    }
    inflater->between = result == Z_STREAM_END || (stream->data_type & AT_BLOCK) != 0;
    if (result == Z_STREAM_END) {
        inflateReset(stream); /* a final block, which need not be the last one of the message */
        return stream->avail_in > 0;
    }
    return stream->avail_in > 0 || stream->avail_out == 0;
}

static int inflate_all(struct ws_inflater *inflater, struct bytes part, struct builder *out)
{
    inflater->stream.next_in = input_of(part);
    inflater->stream.avail_in = (uInt)part.len;
    int status = part.len > 0;
    while (status > 0) {
        status = inflate_step(inflater, out);
    }
    return status;
}

int ws_inflate(struct ws_inflater *inflater, struct bytes part, bool last, struct builder *out)
{
    CHECK(part.len <= UINT_MAX);
    int status = inflate_all(inflater, part, out);
    if (status == 0 && last) {
        status = inflate_all(inflater, bytes_of(TAIL, sizeof(TAIL)), out);
        status = status == 0 && !inflater->between ? STATUS_INVALID : status;
    }
    return status;
}
