/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Compressed bodies: there and back, in members, broken, and as bombs.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "codec/base/status.h"
#include "hub/net/gzip.h"

TestSuite(gzip, .timeout = 30);

static struct bytes compress(const char *unit, size_t times, struct builder *out)
{
    struct builder text = {0};
    for (size_t i = 0; i < times; i++) {
        builder_str(&text, unit);
    }
    builder_clear(out);
    cr_assert(gzip_compress(GZIP_GZIP, builder_bytes(&text), out));
    builder_reset(&text);
    return builder_bytes(out);
}

Test(gzip, what_was_compressed_comes_back_at_any_size)
{
    static const size_t sizes[] = {500, 65535, 65536, 65537, 200000};
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        struct builder text = {0};
        struct builder packed = {0};
        struct builder out = {0};
        uint32_t dice = 1;
        for (size_t at = 0; at < sizes[i]; at++) {
            dice = dice * 1103515245u + 12345u; /* letters: they compress a little */
            builder_byte(&text, (char)('a' + (dice >> 16) % 26));
        }
        cr_assert(gzip_compress(GZIP_GZIP, builder_bytes(&text), &packed));
        cr_expect_eq(gzip_expand(builder_bytes(&packed), sizes[i], &out), 0, "%zu", sizes[i]);
        cr_expect(bytes_eq(builder_bytes(&out), builder_bytes(&text)), "%zu", sizes[i]);
        builder_clear(&out);
        cr_expect_eq(gzip_expand(builder_bytes(&packed), sizes[i] - 1, &out), STATUS_TOO_LARGE);
        cr_expect_eq(builder_bytes(&out).len, 0);
        builder_reset(&text);
        builder_reset(&packed);
        builder_reset(&out);
    }
}

Test(gzip, members_stand_one_after_the_other)
{
    struct builder one = {0};
    struct builder both = {0};
    struct builder out = {0};
    compress("abc", 20, &one);
    builder_add(&both, builder_bytes(&one));
    builder_add(&both, builder_bytes(&one));
    cr_expect_eq(gzip_expand(builder_bytes(&both), 1000, &out), 0);
    cr_expect_eq(builder_bytes(&out).len, 120);
    builder_reset(&one);
    builder_reset(&both);
    builder_reset(&out);
}

Test(gzip, what_is_cut_broken_or_followed_by_something_is_refused)
{
    struct builder packed = {0};
    struct builder out = {0};
    struct bytes whole = compress("hello ", 50, &packed);
    for (size_t len = 0; len < whole.len; len++) {
        cr_expect_eq(gzip_expand(bytes_of(whole.at, len), 1000, &out), STATUS_INVALID, "%zu", len);
    }
    struct builder more = {0};
    builder_add(&more, whole);
    builder_byte(&more, 'x');
    cr_expect_eq(gzip_expand(builder_bytes(&more), 1000, &out), STATUS_INVALID);
    cr_expect_eq(gzip_expand(BYTES("{\"user\":1}"), 1000, &out), STATUS_INVALID);
    cr_expect_eq(builder_bytes(&out).len, 0);
    builder_reset(&more);
    builder_reset(&packed);
    builder_reset(&out);
}

/* 32 MiB of blanks in 32 KiB: refused by the ratio, long before the limit in bytes. */
Test(gzip, a_bomb_is_refused_by_its_ratio)
{
    struct builder packed = {0};
    struct builder out = {.max = 64 << 20};
    struct bytes bomb = compress("                                ", 1 << 20, &packed);
    cr_assert_lt(bomb.len, 64 << 10);
    cr_expect_eq(gzip_expand(bomb, 64 << 20, &out), STATUS_TOO_LARGE);
    struct bytes little = compress("    ", 16 << 10, &packed);
    cr_expect_eq(gzip_expand(little, 64 << 20, &out), 0, "64 KiB need no ratio");
    builder_reset(&packed);
    builder_reset(&out);
}

/* zlib asks for another call where a piece ends with the room that it was given. */
Test(gzip, a_body_in_pieces_comes_back_as_one)
{
    static const size_t sizes[] = {0, 1, 8000, 8192, 100000, 3, 70000};
    static const enum gzip_coding codings[] = {GZIP_GZIP, GZIP_DEFLATE};
    cr_expect_null(gzip_stream_create(GZIP_NONE));
    for (size_t c = 0; c < ARRAY_LEN(codings); c++) {
        struct gzip_stream *stream = gzip_stream_create(codings[c]);
        struct builder text = {0};
        struct builder packed = {0};
        struct builder out = {0};
        uint32_t dice = 7;
        cr_assert_not_null(stream);
        for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
            size_t before = builder_bytes(&text).len;
            for (size_t at = 0; at < sizes[i]; at++) { /* noise: what is packed is as large */
                dice = dice * 1103515245u + 12345u;
                builder_byte(&text, (char)(dice >> 16));
            }
            struct bytes piece = bytes_skip(builder_bytes(&text), before);
            size_t had = builder_bytes(&packed).len;
            cr_expect(gzip_stream_add(stream, piece, false, &packed));
            cr_expect(piece.len == 0 || builder_bytes(&packed).len - had >= piece.len / 2,
                "a piece of %zu is kept back", piece.len);
        }
        cr_expect(gzip_stream_add(stream, bytes_of(NULL, 0), true, &packed));
        if (codings[c] == GZIP_GZIP) {
            cr_expect_eq(gzip_expand(builder_bytes(&packed), 300000, &out), 0);
            cr_expect(bytes_eq(builder_bytes(&out), builder_bytes(&text)));
        }
        gzip_stream_destroy(stream);
        builder_reset(&text);
        builder_reset(&packed);
        builder_reset(&out);
    }
    gzip_stream_destroy(NULL);
}
