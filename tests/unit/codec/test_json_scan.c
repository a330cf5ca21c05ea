/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The JSON scanner: vectors, depth, walking, strings there and back.
 */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "codec/base/rand.h"
#include "codec/base/status.h"
#include "codec/json_scan.h"
#include "codec/utf8.h"
#include "tests/support/script_feed.h"
#include "tests/support/vectors.h"

TestSuite(json_scan, .timeout = 60);

/* A text is checked when it is complete; every beginning of it must be harmless. */
static void check(struct script_feed *feed, struct builder *out)
{
    struct bytes so_far;
    while (script_feed_grow(feed, &so_far)) {
        struct bytes value;
        unsigned flags;
        int status = json_scan_text(so_far, JSON_SCAN_DEPTH_DEFAULT, &value, &flags);
        builder_clear(out);
        if (status < 0) {
            builder_str(out, status_name(status));
            continue;
        }
        vectors_quote(out, value);
        builder_str(out, flags & JSON_SCAN_NUL ? " nul" : "");
        builder_str(out, flags & JSON_SCAN_SURROGATE ? " surrogate" : "");
    }
}

Test(json_scan, checks_the_vectors)
{
    script_feed_file("codec/json_scan.txt", check);
}

static struct bytes repeated(struct builder *out, const char *part, size_t count)
{
    builder_clear(out);
    for (size_t i = 0; i < count; i++) {
        builder_str(out, part);
    }
    return builder_bytes(out);
}

/* C9: a depth costs nothing, whatever it is. */
Test(json_scan, limits_the_depth)
{
    struct builder text = {0};
    cr_expect_eq(json_scan_text(BYTES(""), 1, NULL, NULL), STATUS_INVALID);
    cr_expect_eq(json_scan_text(BYTES("[]"), 1, NULL, NULL), 0);
    cr_expect_eq(json_scan_text(BYTES("[{}]"), 1, NULL, NULL), STATUS_TOO_LARGE);
    cr_expect_eq(json_scan_text(BYTES("[{},{},[]]"), 2, NULL, NULL), 0);
    static const size_t depths[] = {33, 10000, 1000000};
    for (size_t i = 0; i < ARRAY_LEN(depths); i++) {
        struct bytes deep = repeated(&text, "[", depths[i]);
        cr_expect_eq(json_scan_text(deep, 32, NULL, NULL), STATUS_TOO_LARGE);
        deep = repeated(&text, "{\"a\":", depths[i]);
        cr_expect_eq(json_scan_text(deep, 32, NULL, NULL), STATUS_TOO_LARGE);
    }
    repeated(&text, "[", JSON_SCAN_DEPTH_MAX);
    for (int i = 0; i < JSON_SCAN_DEPTH_MAX; i++) {
        builder_byte(&text, ']');
    }
    cr_expect_eq(json_scan_text(builder_bytes(&text), JSON_SCAN_DEPTH_MAX, NULL, NULL), 0);
    builder_reset(&text);
}

/* A special byte at each offset of a long string, so that all lanes of the fast path are seen. */
Test(json_scan, finds_special_bytes_at_every_offset)
{
    char text[40];
    for (size_t at = 1; at < sizeof(text) - 1; at++) {
        for (int c = 1; c < 256; c++) {
            memset(text, 'a', sizeof(text));
            text[0] = '"';
            text[sizeof(text) - 1] = '"';
            text[at] = (char)c;
            int expected = 0;
            if (c < 0x20 || c == '"' || c == '\\') {
                expected = STATUS_INVALID;
            } else if (c >= 0x80) {
                expected = STATUS_UTF8;
            }
            if (c == '\\' && at == sizeof(text) - 2) {
                expected = STATUS_INVALID;
            }
            int status = json_scan_text(bytes_of(text, sizeof(text)), 1, NULL, NULL);
            cr_assert_eq(status, expected, "byte %d at %zu: %d", c, at, status);
        }
    }
}

Test(json_scan, iterates_arrays_and_objects)
{
    struct json_scan_iter iter;
    struct bytes key;
    struct bytes value;
    struct bytes array = BYTES("[ 1 , \"a,]\\\"\" ,[2,[3]], {\"b\":[]} ,null ]");
    static const char *const elements[] = {"1", "\"a,]\\\"\"", "[2,[3]]", "{\"b\":[]}", "null"};
    cr_assert(json_scan_iter_init(&iter, array));
    for (size_t i = 0; i < ARRAY_LEN(elements); i++) {
        cr_assert(json_scan_element(&iter, &value));
        cr_expect(bytes_eq_str(value, elements[i]), "%s", elements[i]);
        cr_expect(i != 2 || bytes_eq(json_scan_rest(&iter), BYTES("{\"b\":[]} ,null")));
    }
    cr_expect_not(json_scan_element(&iter, &value));
    cr_expect_eq(json_scan_rest(&iter).len, 0);
    cr_assert(json_scan_iter_init(&iter, BYTES("{ \"a\" : {\"x\":1} ,\"b\":2}")));
    cr_assert(json_scan_member(&iter, &key, &value));
    cr_expect(bytes_eq(key, BYTES("\"a\"")) && bytes_eq(value, BYTES("{\"x\":1}")));
    cr_assert(json_scan_member(&iter, &key, &value));
    cr_expect(bytes_eq(key, BYTES("\"b\"")) && bytes_eq(value, BYTES("2")));
    cr_expect_not(json_scan_member(&iter, &key, &value));
    cr_expect_not(json_scan_iter_init(&iter, BYTES("1")));
    cr_expect_not(json_scan_element(&iter, &value));
    cr_expect(bytes_eq(json_scan_inside(BYTES("[ 1, 2 ]")), BYTES("1, 2")));
    cr_expect_eq(json_scan_inside(BYTES("[ ]")).len, 0);
    cr_expect_eq(json_scan_inside(BYTES("1")).len, 0);
}

Test(json_scan, finds_members_and_refuses_repeated_ones)
{
    static const struct {
        const char *object;
        int status;
        const char *value;
    } cases[] = {
        {"{\"k\":1}", 0, "1"},
        {"{\"a\":{\"k\":2},\"k\":[1]}", 0, "[1]"},
        {"{\"\\u006b\":true}", 0, "true"},
        {"{\"a\":1}", STATUS_NOT_FOUND, ""},
        {"{}", STATUS_NOT_FOUND, ""},
        {"{\"kk\":1,\"K\":2,\"\":3}", STATUS_NOT_FOUND, ""},
        {"{\"k\":1,\"k\":1}", STATUS_INVALID, ""},
        {"{\"k\":1,\"\\u006B\":1}", STATUS_INVALID, ""},
        {"{\"a\":1,\"a\":2,\"k\":3}", 0, "3"},
        {"[\"k\"]", STATUS_INVALID, ""},
        {"null", STATUS_INVALID, ""},
        {"", STATUS_INVALID, ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct bytes value = BYTES("");
        int status = json_scan_get(bytes_str(cases[i].object), "k", &value);
        cr_expect_eq(status, cases[i].status, "%s", cases[i].object);
        cr_expect(bytes_eq_str(value, cases[i].value), "%s", cases[i].object);
    }
}

Test(json_scan, finds_several_members_in_one_walk)
{
    struct json_scan_wanted wanted[] = {{.key = "a"}, {.key = "b"}, {.key = "c"}, {.key = "d"}};
    json_scan_get_all(
        BYTES("{\"b\":{\"a\":1},\"c\":1,\"\\u0061\":[2],\"x\":0,\"c\":2,\"c\":3}"), wanted, 4);
    cr_expect_eq(wanted[0].status, 0);
    cr_expect(bytes_eq_str(wanted[0].value, "[2]"));
    cr_expect_eq(wanted[1].status, 0);
    cr_expect(bytes_eq_str(wanted[1].value, "{\"a\":1}"));
    cr_expect_eq(wanted[2].status, STATUS_INVALID, "three times");
    cr_expect_eq(wanted[3].status, STATUS_NOT_FOUND);
    json_scan_get_all(BYTES("[\"a\",1]"), wanted, 4);
    for (size_t i = 0; i < ARRAY_LEN(wanted); i++) {
        cr_expect_eq(wanted[i].status, STATUS_INVALID);
    }
}

Test(json_scan, walks_all_keys_with_their_objects)
{
    struct json_scan_walk walk;
    struct bytes key;
    json_scan_walk_init(&walk, BYTES("[{\"a\":[\"x\",{\"b\" :1}]},\"c\",{\"d\":\"e\"}]"));
    static const char *const expected[][2] = {
        {"\"a\"", "{\"a\":[\"x\",{\"b\" :1}]}"},
        {"\"b\"", "{\"b\" :1}"},
        {"\"d\"", "{\"d\":\"e\"}"},
    };
    for (size_t i = 0; i < ARRAY_LEN(expected); i++) {
        cr_assert(json_scan_walk_key(&walk, &key));
        cr_expect(bytes_eq_str(key, expected[i][0]), "%zu", i);
        cr_expect(bytes_eq_str(json_scan_walk_object(&walk), expected[i][1]), "%zu", i);
    }
    cr_expect_not(json_scan_walk_key(&walk, &key));
}

Test(json_scan, unescapes_strings)
{
    const struct {
        const char *string;
        int status;
        struct bytes text;
    } cases[] = {
        {"\"\"", 0, BYTES("")},
        {"\"plain\"", 0, BYTES("plain")},
        {"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", 0, BYTES("\"\\/\b\f\n\r\t")},
        {"\"a\\u00e9\\u20AC\\ud83d\\ude00z\"", 0, BYTES("a\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80z")},
        {"\"\\u0000\"", 0, BYTES("\0")},
        {"\"\\ud83d\"", STATUS_UTF8, BYTES("")},
        {"\"\\ude00\\ud83d\"", STATUS_UTF8, BYTES("")},
        {"\"\\ud83d\\u0041\"", STATUS_UTF8, BYTES("")},
        {"\"12345678901234567\"", STATUS_TOO_LARGE, BYTES("")},
        {"\"1234567890123456\\n\"", STATUS_TOO_LARGE, BYTES("")},
        {"\"123456789012345\\n\"", 0, BYTES("123456789012345\n")},
        {"1", STATUS_INVALID, BYTES("")},
        {"\"", STATUS_INVALID, BYTES("")},
        {"\"\\\"", STATUS_INVALID, BYTES("")},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char at[16];
        struct bytes text = BYTES("");
        struct builder out = {.max = 16};
        struct bytes string = bytes_str(cases[i].string);
        cr_expect_eq(json_scan_string(string, at, sizeof(at), &text), cases[i].status, "%zu", i);
        cr_expect(bytes_eq(text, cases[i].text), "%s", cases[i].string);
        cr_expect_eq(json_scan_string_add(string, &out), cases[i].status, "%zu", i);
        cr_expect(cases[i].status < 0 || bytes_eq(builder_bytes(&out), cases[i].text));
        cr_expect_eq(json_scan_string_eq(string, cases[i].text), cases[i].status == 0, "%zu", i);
        builder_reset(&out);
    }
    cr_expect_not(json_scan_string_eq(BYTES("\"ab\""), BYTES("a")));
    cr_expect_not(json_scan_string_eq(BYTES("\"a\""), BYTES("ab")));
}

Test(json_scan, writes_strings_as_json_stringify_does)
{
    struct builder out = {0};
    json_scan_write_string(&out, BYTES("\"\\/\b\f\n\r\t\v\x1e\x7f\0\xc3\xa9\xe2\x80\xa8"));
    cr_expect(bytes_eq(builder_bytes(&out),
        BYTES("\"\\\"\\\\/\\b\\f\\n\\r\\t\\u000b\\u001e\x7f\\u0000\xc3\xa9\xe2\x80\xa8\"")));
    builder_reset(&out);
}

Test(json_scan, strings_round_trip)
{
    struct rand rand;
    rand_init(&rand, 11);
    for (int round = 0; round < 2000; round++) {
        char text[64];
        char back[64];
        size_t len = 0;
        size_t wanted = rand_below(&rand, sizeof(text) - UTF8_MAX_LEN);
        while (len < wanted) {
            uint32_t c = (uint32_t)rand_below(&rand, rand_below(&rand, 4) == 0 ? 0x110000 : 0x80);
            len += c < 0xd800 || c > 0xdfff ? utf8_put(c, text + len) : 0;
        }
        struct builder out = {0};
        json_scan_write_string(&out, bytes_of(text, len));
        struct bytes got;
        cr_assert_eq(json_scan_text(builder_bytes(&out), 1, NULL, NULL), 0);
        cr_assert_eq(json_scan_string(builder_bytes(&out), back, sizeof(back), &got), 0);
        cr_assert(bytes_eq(got, bytes_of(text, len)));
        builder_reset(&out);
    }
}

Test(json_scan, reads_integers_exactly)
{
    static const struct {
        const char *number;
        int as_u64;
        uint64_t u64;
        int as_i64;
        int64_t i64;
    } cases[] = {
        {"0", 0, 0, 0, 0},
        {"-0", STATUS_INVALID, 0, 0, 0},
        {"9007199254740993", 0, 9007199254740993, 0, 9007199254740993},
        {"9223372036854775807", 0, INT64_MAX, 0, INT64_MAX},
        {"9223372036854775808", 0, (uint64_t)INT64_MAX + 1, STATUS_TOO_LARGE, 0},
        {"-9223372036854775808", STATUS_INVALID, 0, 0, INT64_MIN},
        {"-9223372036854775809", STATUS_INVALID, 0, STATUS_TOO_LARGE, 0},
        {"18446744073709551615", 0, UINT64_MAX, STATUS_TOO_LARGE, 0},
        {"18446744073709551616", STATUS_TOO_LARGE, 0, STATUS_TOO_LARGE, 0},
        {"1.0", STATUS_INVALID, 0, STATUS_INVALID, 0},
        {"1e2", STATUS_INVALID, 0, STATUS_INVALID, 0},
        {"\"1\"", STATUS_INVALID, 0, STATUS_INVALID, 0},
        {"", STATUS_INVALID, 0, STATUS_INVALID, 0},
        {"-", STATUS_INVALID, 0, STATUS_INVALID, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint64_t u64 = 0;
        int64_t i64 = 0;
        struct bytes number = bytes_str(cases[i].number);
        cr_expect_eq(json_scan_u64(number, &u64), cases[i].as_u64, "%s", cases[i].number);
        cr_expect_eq(u64, cases[i].u64, "%s", cases[i].number);
        cr_expect_eq(json_scan_i64(number, &i64), cases[i].as_i64, "%s", cases[i].number);
        cr_expect_eq(i64, cases[i].i64, "%s", cases[i].number);
    }
    bool yes = false;
    cr_expect_eq(json_scan_bool(BYTES("true"), &yes), 0);
    cr_expect(yes);
    cr_expect_eq(json_scan_bool(BYTES("false"), &yes), 0);
    cr_expect_not(yes);
    cr_expect_eq(json_scan_bool(BYTES("1"), &yes), STATUS_INVALID);
}
