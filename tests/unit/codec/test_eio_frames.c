/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Frames turned into a payload of long-polling: all lengths, and where a payload ends.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "codec/base/status.h"
#include "codec/eio_frames.h"
#include "codec/ws_frame.h"

TestSuite(eio_frames, .timeout = 60);

static void add_frame(struct builder *out, enum ws_opcode opcode, struct bytes body)
{
    char head[WS_FRAME_HEAD_MAX];
    builder_add(out, bytes_of(head, ws_frame_write_head(head, opcode, false, body.len)));
    builder_add(out, body);
}

Test(eio_frames, packets_come_out_of_their_frames)
{
    static const struct {
        const char *frames;
        size_t len;
        const char *payload;
    } cases[] = {
        {"", 0, ""},
        {"\x81\x01"
         "2",
            3, "2"},
        {"\x81\x03"
         "4hi"
         "\x82\x04\x01\x02\x03\x04",
            11,
            "4hi\x1e"
            "bAQIDBA=="},
        {"\x82\x00"
         "\x81\x02"
         "41",
            6,
            "b\x1e"
            "41"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct builder out = {0};
        struct eio_encoder encoder = {.out = &out};
        int used = eio_frames_append(&encoder, bytes_of(cases[i].frames, cases[i].len));
        cr_assert_eq(used, (int)cases[i].len);
        cr_assert(bytes_eq_str(builder_bytes(&out), cases[i].payload), "%s", cases[i].payload);
        builder_reset(&out);
    }
}

Test(eio_frames, lengths_of_every_form)
{
    static const size_t lengths[] = {1, 125, 126, 127, 65535, 65536, 200000};
    for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
        struct builder body = {0};
        for (size_t n = 0; n < lengths[i]; n++) {
            builder_byte(&body, (char)('a' + n % 26));
        }
        struct builder frames = {0};
        struct builder out = {0};
        struct eio_encoder encoder = {.out = &out};
        add_frame(&frames, WS_TEXT, builder_bytes(&body));
        int used = eio_frames_append(&encoder, builder_bytes(&frames));
        cr_assert_eq(used, (int)builder_bytes(&frames).len);
        cr_assert(bytes_eq(builder_bytes(&out), builder_bytes(&body)));
        builder_reset(&body);
        builder_reset(&frames);
        builder_reset(&out);
    }
}

Test(eio_frames, a_payload_has_room_for_sixteen)
{
    struct builder frames = {0};
    struct builder out = {0};
    for (int i = 0; i < 20; i++) {
        add_frame(&frames, WS_TEXT, BYTES("4x"));
    }
    struct eio_encoder encoder = {.out = &out};
    cr_assert_eq(eio_frames_append(&encoder, builder_bytes(&frames)), 16 * 4);
    cr_assert_eq(builder_bytes(&out).len, 16 * 3 - 1);
    cr_assert_eq(eio_frames_append(&encoder, builder_bytes(&frames)), 0);
    builder_reset(&frames);
    builder_reset(&out);
}

Test(eio_frames, a_payload_ends_at_its_size)
{
    enum { FULL = 70000 };
    struct builder body = {0};
    struct builder frames = {0};
    struct builder out = {0};
    for (int i = 0; i < FULL; i++) {
        builder_byte(&body, 'x');
    }
    add_frame(&frames, WS_TEXT, builder_bytes(&body));
    size_t first = builder_bytes(&frames).len;
    add_frame(&frames, WS_TEXT, BYTES("4x"));
    struct eio_encoder encoder = {.out = &out, .full_bytes = FULL};
    cr_assert_eq(eio_frames_append(&encoder, builder_bytes(&frames)), (int)first);
    builder_reset(&body);
    builder_reset(&frames);
    builder_reset(&out);
}

Test(eio_frames, what_is_no_whole_message_is_refused)
{
    static const struct {
        const char *at;
        size_t len;
    } cases[] = {
        {"\x81", 1},
        {"\x81\x02"
         "4",
            3}, /* cut */
        {"\x81\x7e\x01", 3},
        {"\x81\x7f\xff\xff\xff\xff\xff\xff\xff\xff", 10},
        {"\x81\x81\x00\x00\x00\x00"
         "2",
            7}, /* masked */
        {"\x01\x01"
         "2",
            3}, /* a fragment */
        {"\xc1\x01"
         "2",
            3}, /* compressed */
        {"\x88\x00", 2}, /* a close frame */
        {"\x80\x01"
         "2",
            3},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct builder out = {0};
        struct eio_encoder encoder = {.out = &out};
        cr_assert_eq(eio_frames_append(&encoder, bytes_of(cases[i].at, cases[i].len)), STATUS_PROTO,
            "case %zu", i);
        builder_reset(&out);
    }
}

Test(eio_frames, memory_has_an_end)
{
    struct builder out = {.max = 3};
    struct eio_encoder encoder = {.out = &out};
    cr_assert_eq(eio_frames_append(&encoder, BYTES("\x81\x04"
                                                   "4abc")),
        STATUS_TOO_LARGE);
    builder_reset(&out);
}
