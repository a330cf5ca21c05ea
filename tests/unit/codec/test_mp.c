/* SPDX-License-Identifier: Apache-2.0 */
/*
 * MessagePack by vectors, to JSON and back, with attachments and random values.
 */
#include <criterion/criterion.h>
#include <inttypes.h>
#include <math.h>

#include "codec/base/status.h"
#include "codec/json_scan.h"
#include "codec/mp.h"
#include "tests/support/random_value.h"
#include "tests/support/script_feed.h"
#include "tests/support/vectors.h"

TestSuite(mp, .timeout = 60);

/* Every beginning of the input is decoded too; only the whole may be accepted. */
static void decode(struct script_feed *feed, struct builder *out)
{
    struct bytes data = {0};
    struct builder json = {0};
    int status = mp_check(data, MP_DEPTH_MAX, NULL);
    while (script_feed_grow(feed, &data)) {
        builder_clear(&json);
        status = mp_check(data, MP_DEPTH_MAX, NULL);
        int transcoded = mp_to_json(data, NULL, &json);
        cr_expect_eq(status == 0, transcoded == 0, "check %d, to JSON %d", status, transcoded);
        if (status == 0) {
            cr_expect_eq(json_scan_text(builder_bytes(&json), MP_DEPTH_MAX, NULL, NULL), 0);
        }
    }
    if (status < 0) {
        builder_printf(out, "error %s", status_name(status));
    } else {
        vectors_quote(out, builder_bytes(&json));
    }
    builder_reset(&json);
}

Test(mp, vectors)
{
    script_feed_file("codec/mp.txt", decode);
}

Test(mp, reads_and_skips_values_one_after_the_other)
{
    struct builder packed = {0};
    struct bytes text;
    struct bytes bin;
    struct bytes slice;
    uint64_t number;
    uint32_t count;
    mp_pack_map(&packed, 1);
    mp_pack_str(&packed, BYTES("k"));
    mp_pack_array(&packed, 2);
    mp_pack_nil(&packed);
    mp_pack_bool(&packed, true);
    mp_pack_bin(&packed, BYTES("b"));
    mp_pack_u64(&packed, UINT64_MAX);
    mp_pack_str(&packed, BYTES("end"));
    struct mp_reader reader = {.rest = builder_bytes(&packed)};
    cr_expect_eq(mp_slice(&reader, 1, &slice), STATUS_TOO_LARGE, "two levels are not one");
    cr_expect_eq(mp_slice(&reader, 2, &slice), 0);
    cr_expect(bytes_eq(slice, BYTES("\x81\xa1k\x92\xc0\xc3")));
    cr_expect_eq(mp_str(&reader, &text), STATUS_INVALID, "a bin is no string");
    cr_expect_eq(mp_bin(&reader, &bin), 0);
    cr_expect_eq(mp_array(&reader, &count), STATUS_INVALID);
    cr_expect_eq(mp_map(&reader, &count), STATUS_INVALID);
    cr_expect_eq(mp_u64(&reader, &number), 0);
    cr_expect_eq(number, UINT64_MAX);
    cr_expect_eq(mp_u64(&reader, &number), STATUS_INVALID);
    cr_expect_eq(mp_skip(&reader, 0), 0);
    cr_expect_eq(mp_skip(&reader, 0), STATUS_INVALID, "nothing is left");
    builder_reset(&packed);
}

Test(mp, packs_what_a_javascript_emitter_packs)
{
    static const struct {
        const char *json;
        struct bytes packed;
    } cases[] = {
        {"-1", {"\xff", 1}},
        {"-33", {"\xd0\xdf", 2}},
        {"128", {"\xcc\x80", 2}},
        {"65536", {"\xce\x00\x01\x00\x00", 5}},
        {"4294967296", {"\xcf\x00\x00\x00\x01\x00\x00\x00\x00", 9}},
        {"18446744073709551615", {"\xcf\xff\xff\xff\xff\xff\xff\xff\xff", 9}},
        {"18446744073709551616", {"\xcb\x43\xf0\x00\x00\x00\x00\x00\x00", 9}},
        {"-9223372036854775808", {"\xd3\x80\x00\x00\x00\x00\x00\x00\x00", 9}},
        {"-9223372036854775809", {"\xcb\xc3\xe0\x00\x00\x00\x00\x00\x00", 9}},
        {"1.5", {"\xcb\x3f\xf8\x00\x00\x00\x00\x00\x00", 9}},
        {"1e2", {"\xcb\x40\x59\x00\x00\x00\x00\x00\x00", 9}},
        {"-0", {"\xcb\x80\x00\x00\x00\x00\x00\x00\x00", 9}},
        {"1e400", {"\xcb\x7f\xf0\x00\x00\x00\x00\x00\x00", 9}},
        {" [ null , true , false ] ", {"\x93\xc0\xc3\xc2", 4}},
        {"{\"a\":{},\"b\":[]}", {"\x82\xa1\x61\x80\xa1\x62\x90", 7}},
        {"\"\"", {"\xa0", 1}},
        {"\"a\\n\\u20ac\\/\"", {"\xa6\x61\x0a\xe2\x82\xac/", 7}},
        {"\"\\ud83d\\ude00\"", {"\xa4\xf0\x9f\x98\x80", 5}},
        {"\"\\ud83d!\"", {"\xa4\xef\xbf\xbd!", 5}},
        {"\"\\ude00\\ud83d\"", {"\xa6\xef\xbf\xbd\xef\xbf\xbd", 7}},
        {"\"\\u0000\"", {"\xa1\x00", 2}},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct builder out = {0};
        int status = mp_from_json(bytes_str(cases[i].json), NULL, 0, &out);
        cr_expect_eq(status, 0, "%s: %d", cases[i].json, status);
        cr_expect(bytes_eq(builder_bytes(&out), cases[i].packed), "%s", cases[i].json);
        builder_reset(&out);
    }
}

#define OPEN_36 "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["
#define CLOSE_36 "]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]"

Test(mp, refuses_what_is_no_json)
{
    static const struct {
        const char *json;
        int status;
    } cases[] = {
        {"", STATUS_INVALID}, {"[1,]", STATUS_INVALID}, {"{\"a\"}", STATUS_INVALID},
        {"01", STATUS_INVALID}, {"nul", STATUS_INVALID}, {"\"\xff\"", STATUS_UTF8},
        {OPEN_36 OPEN_36 "[[[[[" CLOSE_36 CLOSE_36 "]]]]]",
            STATUS_TOO_LARGE}, /* MP_DEPTH_MAX + 1 */
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct builder out = {0};
        cr_expect_eq(mp_from_json(bytes_str(cases[i].json), NULL, 0, &out), cases[i].status, "%s",
            cases[i].json);
        builder_reset(&out);
    }
}

/* The elements are checked as part of an event; even so, nothing is read beyond them. */
Test(mp, elements_that_were_not_checked_do_no_harm)
{
    static const char text[] = "{\"a\\u00e9\":[1,-2.5e3,\"\\ud83d\\ude00\",null,true]},\"x\",false";
    for (size_t len = 0; len <= sizeof(text) - 1; len++) {
        struct builder out = {0};
        struct buf *exact = buf_new(bytes_of(text, len));
        cr_assert_not_null(exact);
        int count = mp_from_json_elements(buf_bytes(exact), NULL, 0, &out);
        cr_expect(len < sizeof(text) - 1 || count == 3, "%d", count);
        buf_unref(exact);
        builder_reset(&out);
    }
}

Test(mp, attachments_take_the_place_of_placeholders)
{
    struct buf *bufs[2] = {buf_new(BYTES("\x01\x02")), buf_new(BYTES(""))};
    struct builder out = {0};
    cr_assert(bufs[0] && bufs[1]);
    struct bytes json =
        BYTES("[{\"num\":1,\"_placeholder\":true},{\"_placeholder\":true,\"num\":0},"
              "{\"_placeholder\":false,\"num\":0},{\"_placeholder\":true,\"num\":2}]");
    cr_expect_eq(mp_from_json(json, bufs, 2, &out), 0);
    struct bytes found[2];
    struct mp_bins bins = {.at = found, .max = 2};
    struct builder text = {0};
    cr_expect_eq(mp_to_json(builder_bytes(&out), &bins, &text), 0);
    cr_expect_eq(bins.count, 2);
    cr_expect(bytes_eq(found[0], BYTES("")) && bytes_eq(found[1], BYTES("\x01\x02")));
    builder_clear(&text);
    bins = (struct mp_bins){.at = found, .max = 1};
    cr_expect_eq(mp_to_json(builder_bytes(&out), &bins, &text), STATUS_TOO_LARGE);
    builder_reset(&text);
    builder_reset(&out);
    buf_unref(bufs[0]);
    buf_unref(bufs[1]);
}

/* JSON made of MessagePack is valid, and MessagePack made of that JSON says the same again. */
Test(mp, random_values_survive_the_way_to_json_and_back)
{
    uint64_t seed = random_value_seed();
    struct rand rand;
    rand_init(&rand, seed);
    for (unsigned i = 0; i < 2000; i++) {
        struct builder packed = {0};
        struct builder json = {0};
        struct builder again = {0};
        struct builder last = {0};
        random_value_msgpack(&rand, 4, &packed);
        cr_assert_eq(
            mp_check(builder_bytes(&packed), MP_DEPTH_MAX, NULL), 0, "seed %" PRIu64, seed);
        cr_assert_eq(mp_to_json(builder_bytes(&packed), NULL, &json), 0, "seed %" PRIu64, seed);
        cr_assert_eq(mp_from_json(builder_bytes(&json), NULL, 0, &again), 0, "seed %" PRIu64, seed);
        cr_assert_eq(mp_to_json(builder_bytes(&again), NULL, &last), 0, "seed %" PRIu64, seed);
        cr_assert(bytes_eq(builder_bytes(&json), builder_bytes(&last)),
            "seed %" PRIu64 "\n%.*s\n%.*s", seed, (int)builder_bytes(&json).len,
            builder_bytes(&json).at, (int)builder_bytes(&last).len, builder_bytes(&last).at);
        builder_reset(&packed);
        builder_reset(&json);
        builder_reset(&again);
        builder_reset(&last);
    }
}

Test(mp, random_bytes_are_refused_or_read)
{
    uint64_t seed = random_value_seed();
    struct rand rand;
    rand_init(&rand, seed);
    for (unsigned i = 0; i < 20000; i++) {
        char data[24];
        size_t len = rand_below(&rand, sizeof(data) + 1);
        for (size_t k = 0; k < len; k++) {
            data[k] = (char)rand_u64(&rand);
        }
        struct builder json = {0};
        int status = mp_check(bytes_of(data, len), MP_DEPTH_MAX, NULL);
        int transcoded = mp_to_json(bytes_of(data, len), NULL, &json);
        cr_assert_eq(status == 0, transcoded == 0, "seed %" PRIu64, seed);
        builder_reset(&json);
    }
}
