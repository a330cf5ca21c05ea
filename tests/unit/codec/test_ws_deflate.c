/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Compressed messages: vectors, bombs, and frames of ours packed.
 */
#include <criterion/criterion.h>

#include "codec/base/rand.h"
#include "codec/base/status.h"
#include "codec/ws_deflate.h"
#include "codec/ws_frame.h"
#include "tests/support/random_value.h"
#include "tests/support/script_feed.h"
#include "tests/support/vectors.h"

TestSuite(ws_deflate, .timeout = 60);

enum { LIMIT = 1000 };

static void decode(struct script_feed *feed, struct builder *out)
{
    struct ws_inflater *inflater = NULL;
    struct builder message = {.max = LIMIT};
    struct bytes piece;
    int status = ws_inflater_begin(&inflater);
    while (script_feed_piece(feed, &piece)) {
        status = status < 0 ? status : ws_inflate(inflater, piece, false, &message);
    }
    status = status < 0 ? status : ws_inflate(inflater, bytes_of(NULL, 0), true, &message);
    if (status < 0) {
        builder_printf(out, "error %s", status_name(status));
    } else {
        builder_byte(out, '"');
        vectors_quote(out, builder_bytes(&message));
        builder_byte(out, '"');
    }
    builder_reset(&message);
    ws_inflater_destroy(inflater);
}

Test(ws_deflate, inflates_the_vectors)
{
    script_feed_file("codec/ws_deflate.txt", decode);
}

/* A small message that stands for a large one costs no more than the limit. */
Test(ws_deflate, a_bomb_is_left_at_the_limit)
{
    enum { ZEROS = 1 << 20, ROOM = 10000 };
    struct ws_deflater *deflater = ws_deflater_create(9, 9);
    struct ws_inflater *inflater = NULL;
    struct builder frame = {0};
    struct builder packed = {0};
    struct builder message = {.max = ROOM};
    char head[WS_FRAME_HEAD_MAX];
    builder_add(&frame, bytes_of(head, ws_frame_write_head(head, WS_BINARY, false, ZEROS)));
    memset(builder_reserve(&frame, ZEROS), 0, ZEROS);
    builder_commit(&frame, ZEROS);
    cr_assert_eq(ws_deflate_frames(deflater, builder_bytes(&frame), 1, &packed), 1);
    cr_expect_lt(builder_bytes(&packed).len, ZEROS / 900);
    struct bytes payload = bytes_skip(builder_bytes(&packed), 4);
    for (unsigned again = 0; again < 3; again++) {
        builder_clear(&message);
        cr_assert_eq(ws_inflater_begin(&inflater), 0);
        cr_expect_eq(ws_inflate(inflater, payload, true, &message), STATUS_TOO_LARGE);
        cr_expect_leq(message.cap, 2 * ROOM);
    }
    cr_assert_eq(ws_inflater_begin(&inflater), 0);
    builder_clear(&message);
    cr_expect_eq(ws_inflate(inflater, BYTES("\xf2\x48\xcd\xc9\xc9\x07\0"), true, &message), 0);
    cr_expect(bytes_eq(builder_bytes(&message), BYTES("Hello")), "it is as good as new");
    ws_deflater_destroy(deflater);
    ws_inflater_destroy(inflater);
    builder_reset(&frame);
    builder_reset(&packed);
    builder_reset(&message);
}

static void add_frame(struct builder *out, enum ws_opcode opcode, struct bytes payload)
{
    char head[WS_FRAME_HEAD_MAX];
    builder_add(out, bytes_of(head, ws_frame_write_head(head, opcode, false, payload.len)));
    builder_add(out, payload);
}

/* Frames of every kind: what is inflated again is what was there. */
Test(ws_deflate, packs_messages_and_nothing_else)
{
    enum { LEAST = 100, SIZE_MOST = 3000 };
    static const enum ws_opcode opcodes[] = {WS_TEXT, WS_BINARY, WS_PING, WS_CLOSE};
    uint64_t seed = random_value_seed();
    struct rand rand;
    rand_init(&rand, seed);
    struct ws_deflater *deflater = ws_deflater_create(1, 8);
    struct ws_inflater *inflater = NULL;
    unsigned packed_some = 0;
    for (unsigned round = 0; round < 300; round++) {
        struct builder frames = {0};
        struct builder packed = {0};
        unsigned count = (unsigned)rand_below(&rand, 5);
        for (unsigned i = 0; i < count; i++) {
            char payload[SIZE_MOST];
            bool random = rand_below(&rand, 4) == 0;
            enum ws_opcode opcode = opcodes[rand_below(&rand, 4)];
            size_t most = opcode >= WS_CLOSE ? WS_FRAME_CONTROL_MAX : SIZE_MOST;
            size_t len = (size_t)rand_below(&rand, most);
            for (size_t k = 0; k < len; k++) {
                payload[k] = (char)rand_below(&rand, random ? 256 : 3);
            }
            add_frame(&frames, opcode, bytes_of(payload, len));
        }
        int made = ws_deflate_frames(deflater, builder_bytes(&frames), LEAST, &packed);
        cr_assert_geq(made, 0);
        struct bytes before = builder_bytes(&frames);
        struct bytes after = builder_bytes(&packed);
        cr_assert_leq(after.len, before.len);
        for (unsigned i = 0; i < count; i++) {
            struct ws_frame old;
            struct ws_frame new;
            int old_len = ws_frame_read_own(before, &old);
            int new_len = ws_frame_read_own(after, &new);
            cr_assert(old_len > 0 && new_len > 0 && old.opcode == new.opcode &&new.fin);
            struct bytes payload = bytes_of(after.at + new.head_len, (size_t) new.payload_len);
            struct builder message = {0};
            if (new.compressed) {
                cr_assert(old.payload_len >= LEAST && old.opcode < WS_CLOSE);
                cr_assert_eq(ws_inflater_begin(&inflater), 0);
                cr_assert_eq(ws_inflate(inflater, payload, true, &message), 0);
                payload = builder_bytes(&message);
                made--;
                packed_some++;
            }
            cr_assert(
                bytes_eq(payload, bytes_of(before.at + old.head_len, (size_t)old.payload_len)),
                "PEAL_SEED=%llu", (unsigned long long)seed);
            builder_reset(&message);
            before = bytes_skip(before, (size_t)old_len);
            after = bytes_skip(after, (size_t)new_len);
        }
        cr_assert(made == 0 && before.len == 0 && after.len == 0);
        builder_reset(&frames);
        builder_reset(&packed);
    }
    cr_expect_gt(packed_some, 50);
    ws_deflater_destroy(deflater);
    ws_inflater_destroy(inflater);
}

Test(ws_deflate, refuses_what_is_no_frame_of_ours)
{
    static const struct {
        const char *at;
        size_t len;
    } cases[] = {{"\x81", 1}, {"\x81\x02x", 3}, {"\x81\x82xxxxab", 8}, {"\x81\x7e\x01", 3},
        {"\x81\x7f\xff\xff\xff\xff\xff\xff\xff\xff", 10}, {"\x81\x01x\x81\x02x", 6}};
    struct ws_deflater *deflater = ws_deflater_create(1, 1);
    struct builder out = {0};
    builder_str(&out, "kept");
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        cr_expect_eq(ws_deflate_frames(deflater, bytes_of(cases[i].at, cases[i].len), 1, &out),
            STATUS_PROTO);
        cr_expect(bytes_eq(builder_bytes(&out), BYTES("kept")), "case %zu", i);
    }
    struct builder small = {.max = 2};
    cr_expect_eq(ws_deflate_frames(deflater, BYTES("\x81\x01x"), 1, &small), STATUS_TOO_LARGE);
    cr_expect_eq(builder_bytes(&small).len, 0);
    ws_deflater_destroy(deflater);
    builder_reset(&out);
    builder_reset(&small);
}
