/* SPDX-License-Identifier: Apache-2.0 */
/*
 * UTF-8 in any chunks, beside the encoder on every code point.
 */
#include <criterion/criterion.h>

#include "codec/base/status.h"
#include "codec/utf8.h"
#include "tests/support/script_feed.h"

TestSuite(utf8, .timeout = 60);

/* How many bytes were taken before the first bad one, and whether the text may end there. */
static void feed_all(struct script_feed *feed, struct builder *out)
{
    struct utf8 utf8 = {0};
    struct bytes piece;
    while (script_feed_piece(feed, &piece)) {
        if (utf8_feed(&utf8, piece) < 0) {
            builder_str(out, "bad");
            return;
        }
    }
    builder_str(out, utf8_complete(&utf8) ? "ok" : "cut");
}

Test(utf8, validates_in_any_chunks)
{
    const struct {
        struct bytes text;
        const char *result;
    } cases[] = {
        {BYTES(""), "ok"},
        {BYTES("plain ASCII, longer than eight bytes\0with NUL"), "ok"},
        {BYTES("h\xc3\xa9llo \xe2\x82\xac \xf0\x9f\x98\x80 \xc2\x80 \xed\x9f\xbf \xee\x80\x80"),
            "ok"},
        {BYTES("\xf4\x8f\xbf\xbf\xf0\x90\x80\x80\xe0\xa0\x80\xdf\xbf"), "ok"},
        {BYTES("12345678\xc3"), "cut"},
        {BYTES("\xe2\x82"), "cut"},
        {BYTES("\xf0\x9f\x98"), "cut"},
        {BYTES("\x80"), "bad"},
        {BYTES("12345678\xbf"), "bad"},
        {BYTES("\xc0\x80"), "bad"},
        {BYTES("\xc1\xbf"), "bad"},
        {BYTES("\xe0\x9f\xbf"), "bad"},
        {BYTES("\xed\xa0\x80"), "bad"},
        {BYTES("\xf0\x8f\xbf\xbf"), "bad"},
        {BYTES("\xf4\x90\x80\x80"), "bad"},
        {BYTES("\xf5\x80\x80\x80"), "bad"},
        {BYTES("\xfe"), "bad"},
        {BYTES("\xff"), "bad"},
        {BYTES("\xc3 "), "bad"},
        {BYTES("\xe2\x82 "), "bad"},
        {BYTES("\xf0\x9f\x98 "), "bad"},
        {BYTES("\xe2\x82\xac\xac"), "bad"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        script_feed_input("utf8", cases[i].text, bytes_str(cases[i].result), feed_all);
        cr_expect_eq(utf8_valid(cases[i].text), strcmp(cases[i].result, "ok") == 0, "%zu", i);
    }
}

/* The whole alphabet: every code point round-trips, every surrogate is refused. */
Test(utf8, agrees_with_the_encoder_on_every_code_point)
{
    for (uint32_t c = 0; c <= 0x10ffff; c++) {
        char at[UTF8_MAX_LEN];
        size_t len = utf8_put(c, at);
        bool surrogate = c >= 0xd800 && c <= 0xdfff;
        bool right = utf8_valid(bytes_of(at, len)) == !surrogate &&
                     utf8_char_len(bytes_of(at, len)) == (surrogate ? 0 : len) &&
                     utf8_char_len(bytes_of(at, len - 1)) == 0;
        cr_assert(right, "U+%04X", c);
    }
}

Test(utf8, fails_at_the_first_bad_byte)
{
    struct utf8 utf8 = {0};
    cr_expect_eq(utf8_feed(&utf8, BYTES("abc\xe0")), 0);
    cr_expect_eq(utf8_feed(&utf8, BYTES("\x80")), STATUS_UTF8, "overlong is known at byte 2");
    utf8 = (struct utf8){0};
    cr_expect_eq(utf8_feed(&utf8, BYTES("\xf4")), 0);
    cr_expect_eq(utf8_feed(&utf8, BYTES("\x90")), STATUS_UTF8, "too high is known at byte 2");
}

Test(utf8, counts_and_cuts_at_characters)
{
    struct bytes text = BYTES("a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80");
    static const size_t fits[] = {0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10, 10};
    cr_expect_eq(utf8_count(text), 4);
    cr_expect_eq(utf8_count(BYTES("")), 0);
    for (size_t max = 0; max < ARRAY_LEN(fits); max++) {
        cr_expect_eq(utf8_fit(text, max), fits[max], "%zu", max);
    }
}
