/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames of WebSockets: scanning, limits, heads and close payloads.
 */
#include <criterion/criterion.h>

#include "codec/base/status.h"
#include "codec/ws_frame.h"
#include "tests/support/script_feed.h"
#include "tests/support/vectors.h"

TestSuite(ws_frame, .timeout = 60);

static const char *opcode_name(enum ws_opcode opcode)
{
    switch (opcode) {
    case WS_CONTINUATION:
        return "continuation";
    case WS_TEXT:
        return "text";
    case WS_BINARY:
        return "binary";
    case WS_CLOSE:
        return "close";
    case WS_PING:
        return "ping";
    case WS_PONG:
        return "pong";
    }
    return "?";
}

/* The close code that a peer is told for each refusal. */
static unsigned close_code(int status)
{
    switch (status) {
    case STATUS_UTF8:
        return 1007;
    case STATUS_FULL:
        return 1008;
    case STATUS_TOO_LARGE:
        return 1009;
    default:
        return status == STATUS_PROTO ? 1002 : 0;
    }
}

static void show(struct builder *out, const struct ws_frame *frame)
{
    builder_str(out, opcode_name(frame->opcode));
    builder_byte(out, ':');
    builder_u64(out, frame->payload_len);
    builder_str(out, frame->fin ? " " : "+ ");
}

static void scan(struct script_feed *feed, struct builder *out)
{
    struct ws_scanner scanner = {.max_message = 1000, .max_fragments = 4};
    struct ws_frame frame = {.need = 0};
    struct bytes input = {0};
    size_t used = 0;
    while (script_feed_grow(feed, &input)) {
        int len;
        while ((len = ws_frame_scan(&scanner, bytes_skip(input, used), &frame)) > 0) {
            cr_expect_eq((uint64_t)len, frame.head_len + frame.payload_len);
            show(out, &frame);
            used += (size_t)len;
        }
        if (len < 0) {
            builder_u64(out, close_code(len));
            return;
        }
        cr_expect_gt(frame.need, input.len - used, "asks for more than there is");
    }
    if (used == input.len) {
        builder_str(out, "end");
    } else {
        builder_str(out, "need=");
        builder_u64(out, frame.need);
    }
}

Test(ws_frame, scans_the_vectors)
{
    script_feed_file("codec/ws_frame.txt", scan);
}

Test(ws_frame, reports_the_mask_and_the_payload)
{
    struct ws_scanner scanner = {.max_message = 1000};
    struct ws_frame frame;
    struct bytes input = BYTES("\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58\x81");
    cr_assert_eq(ws_frame_scan(&scanner, input, &frame), 11);
    cr_expect_eq(frame.head_len, 6);
    char text[5];
    for (size_t i = 0; i < sizeof(text); i++) {
        text[i] = (char)(input.at[frame.head_len + i] ^ (char)frame.mask[i % 4]);
    }
    cr_expect(bytes_eq(bytes_of(text, sizeof(text)), BYTES("Hello")));
}

Test(ws_frame, allows_rsv1_only_where_a_compressed_message_starts)
{
    const struct {
        struct bytes input;
        int result;
    } cases[] = {
        {BYTES("\xc1\x80\x01\x02\x03\x04"), 6},
        {BYTES("\xc2\x80\x01\x02\x03\x04"), 6},
        {BYTES("\xc9\x80\x01\x02\x03\x04"), STATUS_PROTO},
        {BYTES("\xe1\x80\x01\x02\x03\x04"), STATUS_PROTO},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct ws_scanner scanner = {.max_message = 10, .allow_compressed = true};
        struct ws_frame frame;
        cr_expect_eq(ws_frame_scan(&scanner, cases[i].input, &frame), cases[i].result, "%zu", i);
    }
    struct ws_scanner scanner = {.max_message = 10, .allow_compressed = true};
    struct ws_frame frame;
    cr_expect_eq(ws_frame_scan(&scanner, BYTES("\x41\x80\x01\x02\x03\x04"), &frame), 6);
    cr_expect_eq(ws_frame_scan(&scanner, BYTES("\xc0"), &frame), STATUS_PROTO);
}

Test(ws_frame, counts_fragments_and_bytes_anew_for_each_message)
{
    struct ws_scanner scanner = {.max_message = 2, .max_fragments = 2};
    struct ws_frame frame;
    for (int i = 0; i < 100; i++) {
        cr_assert_eq(ws_frame_scan(&scanner, BYTES("\x01\x81\0\0\0\0a"), &frame), 7);
        cr_assert_eq(ws_frame_scan(&scanner, BYTES("\x89\x81\0\0\0\0a"), &frame), 7);
        cr_assert_eq(ws_frame_scan(&scanner, BYTES("\x80\x81\0\0\0\0a"), &frame), 7);
    }
    struct ws_scanner wide = {.max_message = UINT64_MAX};
    cr_expect_eq(ws_frame_scan(&wide, BYTES("\x82\xff\0\0\0\0\x7f\xff\xff\xff"), &frame),
        STATUS_TOO_LARGE, "a length that the result cannot carry");
}

Test(ws_frame, writes_the_shortest_head)
{
    const struct {
        uint64_t len;
        struct bytes head;
    } cases[] = {
        {0, BYTES("\x81\x00")},
        {125, BYTES("\x81\x7d")},
        {126, BYTES("\x81\x7e\x00\x7e")},
        {65535, BYTES("\x81\x7e\xff\xff")},
        {65536, BYTES("\x81\x7f\x00\x00\x00\x00\x00\x01\x00\x00")},
        {INT64_MAX, BYTES("\x81\x7f\x7f\xff\xff\xff\xff\xff\xff\xff")},
    };
    char at[WS_FRAME_HEAD_MAX];
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        size_t len = ws_frame_write_head(at, WS_TEXT, false, cases[i].len);
        cr_expect(bytes_eq(bytes_of(at, len), cases[i].head), "%zu", i);
    }
    cr_expect_eq(ws_frame_write_head(at, WS_BINARY, true, 1), 2);
    cr_expect_eq((unsigned char)at[0], 0xc2);
}

/* B16 */
Test(ws_frame, checks_close_payloads)
{
    const struct {
        struct bytes payload;
        int status;
        unsigned code;
    } cases[] = {
        {BYTES(""), 0, 1005},
        {BYTES("\x03\xe8"), 0, 1000},
        {BYTES("\x03\xe8 bye"), 0, 1000},
        {BYTES("\x03\xe8 \xe2\x82\xac"), 0, 1000},
        {BYTES("\x03"), STATUS_PROTO, 0},
        {BYTES("\x03\xe8\xff"), STATUS_UTF8, 0},
        {BYTES("\x03\xe8\xe2\x82"), STATUS_UTF8, 0},
        {BYTES("\xff\xff"), STATUS_PROTO, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        unsigned code = 0;
        struct bytes reason;
        int status = ws_frame_read_close(cases[i].payload, &code, &reason);
        cr_expect_eq(status, cases[i].status, "%zu", i);
        cr_expect_eq(code, cases[i].code, "%zu", i);
        cr_expect(status < 0 || reason.len + 2 == cases[i].payload.len || reason.len == 0);
    }
}

Test(ws_frame, allows_exactly_the_close_codes_that_may_be_sent)
{
    for (unsigned code = 0; code <= 65535; code++) {
        char payload[] = {(char)(code >> 8), (char)code};
        unsigned got;
        struct bytes reason;
        int status = ws_frame_read_close(bytes_of(payload, 2), &got, &reason);
        bool named = code >= 1000 && code <= 1014 && code != 1004 && code != 1005 && code != 1006;
        bool allowed = named || (code >= 3000 && code <= 4999);
        cr_assert_eq(status, allowed ? 0 : STATUS_PROTO, "%u", code);
    }
}

Test(ws_frame, cuts_a_reason_at_a_character)
{
    char at[WS_FRAME_CONTROL_MAX];
    char reason[130];
    memset(reason, 'a', sizeof(reason));
    cr_expect_eq(ws_frame_write_close(at, 4401, BYTES("token")), 7);
    cr_expect(bytes_eq(bytes_of(at, 7), BYTES("\x11\x31token")));
    cr_expect_eq(ws_frame_write_close(at, 1000, bytes_of(reason, 123)), 125);
    cr_expect_eq(ws_frame_write_close(at, 1000, bytes_of(reason, 124)), 125);
    memcpy(reason + 121, "\xe2\x82\xac", 3);
    cr_expect_eq(ws_frame_write_close(at, 1000, bytes_of(reason, 130)), 123);
    cr_expect_eq(ws_frame_write_close(at, 1000, BYTES("")), 2);
    cr_expect_eq(ws_frame_write_close(at, WS_CLOSE_NO_STATUS, BYTES("never sent")), 0);
}
