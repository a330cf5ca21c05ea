/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Judges a whole input of frames in one pass, with no state between calls and no concern for speed.
 */
#include "tests/support/ws_reference.h"

#include "codec/base/status.h"
#include "codec/ws_deflate.h"

enum { FIN = 0x80, RSV1 = 0x40, RSV23 = 0x30, CONTROL = 0x08, CONTROL_MAX = 125 };
enum { OP_CONT = 0, OP_TEXT = 1, OP_BINARY = 2, OP_CLOSE = 8, OP_PING = 9, OP_PONG = 10 };

#define BIT(reason) (UINT64_C(1) << (reason))

struct state {
    const struct ws_rig_options *options;
    struct ws_reference *out;
    bool over;
    bool closing; /* the hub has sent its close frame */
    bool in_message;
    bool binary;
    bool compressed;
    uint64_t wire_len; /* of the message, as it came */
    unsigned fragments;
    unsigned controls;
    struct builder message;
};

struct head {
    unsigned first;
    unsigned opcode;
    bool masked;
    bool shortest; /* the length has the form it must have */
    uint64_t len;
    size_t size; /* of the head */
};

/* Whether `c` may be byte `n` behind the first byte `first` of a character. RFC 3629 section 4. */
static bool may_follow(unsigned char first, unsigned n, unsigned char c)
{
    static const struct {
        unsigned char first, low, high;
    } narrow[] = {{0xe0, 0xa0, 0xbf}, {0xed, 0x80, 0x9f}, {0xf0, 0x90, 0xbf}, {0xf4, 0x80, 0x8f}};
    for (size_t i = 0; n == 0 && i < ARRAY_LEN(narrow); i++) {
        if (narrow[i].first == first) {
            return c >= narrow[i].low && c <= narrow[i].high;
        }
    }
    return c >= 0x80 && c <= 0xbf;
}

/* How many bytes follow `first`; -1: it is none. */
static int followers(unsigned char first)
{
    if (first < 0x80) {
        return 0;
    }
    if (first < 0xc2 || first > 0xf4) {
        return -1;
    }
    return first >= 0xf0 ? 3 : first >= 0xe0 ? 2 : 1;
}

/* How far `text` is UTF-8: 1 whole, 0 ends inside a character, -1 never will be. */
static int judge_utf8(struct bytes text)
{
    const unsigned char *at = (const unsigned char *)text.at;
    for (size_t i = 0; i < text.len;) {
        unsigned char first = at[i++];
        int more = followers(first);
        if (more < 0) {
            return -1;
        }
        for (unsigned n = 0; n < (unsigned)more; n++, i++) {
            if (i == text.len) {
                return 0;
            }
            if (!may_follow(first, n, at[i])) {
                return -1;
            }
        }
    }
    return 1;
}

static void end(struct state *state, uint64_t reasons)
{
    state->over = true;
    state->out->ends = state->closing ? BIT(CLOSE_NORMAL) : reasons;
}

/* Read the head at the start of `input`; false when it is not all there. */
static bool read_head(struct bytes input, struct head *head)
{
    const unsigned char *at = (const unsigned char *)input.at;
    if (input.len < 2) {
        return false;
    }
    unsigned len = at[1] & 0x7f;
    size_t more = len == 126 ? 2 : len == 127 ? 8 : 0;
    *head = (struct head){.first = at[0],
        .opcode = at[0] & 0x0f,
        .masked = (at[1] & 0x80) != 0,
        .shortest = true,
        .len = more > 0 ? 0 : len,
        .size = 2 + more + 4};
    if (input.len < head->size) {
        return false;
    }
    for (size_t i = 0; i < more; i++) {
        head->len = head->len << 8 | at[2 + i];
    }
    head->shortest = more == 0 || (more == 2 && head->len >= 126) ||
                     (more == 8 && head->len >= 65536 && head->len < UINT64_C(1) << 63);
    return true;
}

/* Whether the RFCs allow a frame with this head here. */
static bool is_legal(const struct state *state, const struct head *head)
{
    bool starts = head->opcode == OP_TEXT || head->opcode == OP_BINARY;
    bool control = head->opcode >= OP_CLOSE && head->opcode <= OP_PONG;
    if (!(starts || control || head->opcode == OP_CONT) || (head->first & RSV23) != 0 ||
        !head->masked || !head->shortest) {
        return false;
    }
    if ((head->first & RSV1) != 0 && !(starts && state->options->deflate_bits > 0)) {
        return false;
    }
    if (control) {
        return (head->first & FIN) != 0 && head->len <= CONTROL_MAX;
    }
    return starts != state->in_message;
}

static void deliver(struct state *state)
{
    ws_rig_add_server(
        &state->out->sent, state->binary ? 0x82 : 0x81, builder_bytes(&state->message));
    if (++state->out->delivered == state->options->close_after) {
        ws_rig_add_close(&state->out->sent, CLOSE_NORMAL);
        state->closing = true;
    }
    builder_clear(&state->message);
}

/* What is wrong with the message so far: reasons, or 0. */
static uint64_t judge_message(const struct state *state, bool whole)
{
    struct bytes message = builder_bytes(&state->message);
    uint64_t reasons = 0;
    if (message.len > state->options->limits.message_bytes) {
        reasons |= BIT(CLOSE_FRAME_TOO_LARGE);
    }
    bool text = !state->binary && (whole || !state->compressed);
    int utf8 = text ? judge_utf8(message) : 1;
    return utf8 < 0 || (whole && utf8 == 0) ? reasons | BIT(CLOSE_NOT_UTF8) : reasons;
}

/* Add what came of a data frame to the message. */
static void take_payload(struct state *state, struct bytes payload, bool whole)
{
    static struct ws_inflater *inflater;
    int status = 0;
    if (state->compressed) {
        if (state->fragments == 1 && ws_inflater_begin(&inflater) != 0) {
            CHECK(false);
        }
        state->message.max = state->options->limits.message_bytes;
        status = ws_inflate(inflater, payload, false, &state->message);
        status = status == 0 && whole
                     ? ws_inflate(inflater, bytes_of(NULL, 0), true, &state->message)
                     : status;
    } else {
        state->message.max = 0;
        builder_add(&state->message, payload);
    }
    if (status < 0) {
        end(state, BIT(CLOSE_PROTOCOL) | BIT(CLOSE_FRAME_TOO_LARGE));
        return;
    }
    uint64_t reasons = judge_message(state, whole);
    if (reasons != 0) {
        end(state, reasons);
    } else if (whole) {
        deliver(state);
    }
}

static uint64_t wire_limit(const struct state *state)
{
    uint64_t most = state->options->limits.message_bytes;
    return state->options->deflate_bits > 0 ? most + most / 8 + most / 64 + 64 : most;
}

static void unmask(struct bytes payload, const char *mask, struct builder *out)
{
    for (size_t i = 0; i < payload.len; i++) {
        builder_byte(out, (char)(payload.at[i] ^ mask[i % 4]));
    }
}

static void take_data(struct state *state, const struct head *head, struct bytes payload)
{
    bool fin = (head->first & FIN) != 0;
    bool whole = payload.len == head->len;
    if (head->opcode != OP_CONT) {
        state->binary = head->opcode == OP_BINARY;
        state->compressed = (head->first & RSV1) != 0;
        state->wire_len = 0;
        state->fragments = 0;
    }
    if (head->len > wire_limit(state) - state->wire_len) {
        end(state, BIT(CLOSE_FRAME_TOO_LARGE));
        return;
    }
    uint32_t most = state->options->limits.fragments;
    if (most > 0 && state->fragments >= most) {
        end(state, BIT(CLOSE_POLICY));
        return;
    }
    state->wire_len += head->len;
    state->fragments++;
    state->in_message = !fin;
    if (!state->closing) {
        take_payload(state, payload, whole && fin);
    }
}

static void take_close(struct state *state, struct bytes payload)
{
    const unsigned char *at = (const unsigned char *)payload.at;
    unsigned code = payload.len >= 2 ? (unsigned)at[0] << 8 | at[1] : 0;
    bool good = payload.len == 0 || (code >= 1000 && code <= 1003) ||
                (code >= 1007 && code <= 1014) || (code >= 3000 && code <= 4999);
    if (!good) {
        end(state, BIT(CLOSE_PROTOCOL));
    } else if (payload.len > 2 && judge_utf8(bytes_skip(payload, 2)) != 1) {
        end(state, BIT(CLOSE_NOT_UTF8));
    } else {
        if (!state->closing) {
            ws_rig_add_server(&state->out->sent, 0x88, bytes_of(payload.at, payload.len ? 2 : 0));
        }
        end(state, BIT(CLOSE_PEER));
    }
}

static void take_control(struct state *state, const struct head *head, struct bytes payload)
{
    if (head->opcode == OP_CLOSE) {
        take_close(state, payload);
    } else if (state->closing) {
        return;
    } else if (state->controls++ >= state->options->limits.control_frames) {
        end(state, BIT(CLOSE_POLICY));
    } else if (head->opcode == OP_PING) {
        ws_rig_add_server(&state->out->sent, 0x8a, payload);
    }
}

/* Take the frame at the start of `input`. Returns how long it is, 0 when it is not all there. */
static size_t take_frame(struct state *state, struct bytes input)
{
    struct head head;
    struct builder payload = {0};
    if (!read_head(input, &head)) {
        /* What is there may be enough to refuse it. */
        state->out->ends = BIT(CLOSE_PROTOCOL) | BIT(CLOSE_FRAME_TOO_LARGE) | BIT(CLOSE_POLICY);
        return 0;
    }
    if (!is_legal(state, &head)) {
        end(state, BIT(CLOSE_PROTOCOL));
        return 0;
    }
    struct bytes rest = bytes_skip(input, head.size);
    bool whole = rest.len >= head.len;
    bool control = (head.opcode & CONTROL) != 0;
    unmask(bytes_of(rest.at, whole ? head.len : rest.len), input.at + head.size - 4, &payload);
    if (control && whole) {
        take_control(state, &head, builder_bytes(&payload));
    } else if (!control) {
        take_data(state, &head, builder_bytes(&payload));
    }
    builder_reset(&payload);
    return whole ? head.size + head.len : 0;
}

void ws_reference_decide(
    struct ws_reference *reference, const struct ws_rig_options *options, struct bytes input)
{
    struct state state = {.options = options, .out = reference};
    *reference = (struct ws_reference){0};
    size_t len = 1;
    while (!state.over && len > 0 && input.len > 0) {
        len = take_frame(&state, input);
        input = bytes_skip(input, len);
    }
    reference->open = !state.over;
    if (!state.over && state.closing) {
        reference->ends = BIT(CLOSE_NORMAL);
    }
    builder_reset(&state.message);
}

void ws_reference_finish(struct ws_reference *reference)
{
    builder_reset(&reference->sent);
}
