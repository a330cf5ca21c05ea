/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Query strings: which value counts, decoding, and many parameters in linear time.
 */
#include <criterion/criterion.h>

#include "codec/base/buf.h"
#include "codec/base/status.h"
#include "codec/query.h"

TestSuite(query, .timeout = 60);

Test(query, finds_the_last_of_a_name)
{
    static const struct {
        const char *query;
        int status;
        const char *value;
    } cases[] = {
        {"EIO=4&transport=polling", 0, "4"},
        {"EIO=3&x=1&EIO=4", 0, "4"},
        {"x&EIO&y", 0, ""},
        {"EIO=", 0, ""},
        {"&&EIO=4&&", 0, "4"},
        {"EIO=a=b", 0, "a=b"},
        {"%45I%4f=4", 0, "4"},
        {"EIO=a+b%20c%2B", 0, "a b c+"},
        {"EIO=%C3%a9", 0, "\xc3\xa9"},
        {"", STATUS_NOT_FOUND, NULL},
        {"eio=4", STATUS_NOT_FOUND, NULL},
        {"EIOX=4&XEIO=4", STATUS_NOT_FOUND, NULL},
        {"%4=4&%EIO=1", STATUS_NOT_FOUND, NULL},
        {"EIO=%", STATUS_INVALID, NULL},
        {"EIO=%4", STATUS_INVALID, NULL},
        {"EIO=%4g", STATUS_INVALID, NULL},
        {"EIO=a%00", STATUS_INVALID, NULL},
        {"EIO=%c0%af", STATUS_UTF8, NULL},
        {"EIO=%ff", STATUS_UTF8, NULL},
        {"EIO=123456789", STATUS_TOO_LARGE, NULL},
        {"EIO=12345678", 0, "12345678"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char at[8];
        struct bytes value = BYTES("untouched");
        int status = query_get(bytes_str(cases[i].query), "EIO", at, sizeof(at), &value);
        cr_expect_eq(status, cases[i].status, "%s: %d", cases[i].query, status);
        const char *expected = cases[i].value ? cases[i].value : "untouched";
        cr_expect(bytes_eq_str(value, expected), "%s", cases[i].query);
    }
}

Test(query, decodes_paths_without_touching_plus)
{
    char at[16];
    struct bytes text;
    cr_expect_eq(query_decode_path(BYTES("a+b%2Fc"), at, sizeof(at), &text), 0);
    cr_expect(bytes_eq(text, BYTES("a+b/c")));
    cr_expect_eq(query_decode_path(BYTES("%00"), at, sizeof(at), &text), STATUS_INVALID);
    cr_expect_eq(query_decode_path(BYTES("%e0%80%af"), at, sizeof(at), &text), STATUS_UTF8);
}

/* A16 */
Test(query, walks_ten_thousand_parameters)
{
    struct builder query = {0};
    for (int i = 0; i < 10000; i++) {
        builder_printf(&query, "a=%d&", i);
    }
    char at[8];
    struct bytes value;
    cr_expect_eq(query_get(builder_bytes(&query), "a", at, sizeof(at), &value), 0);
    cr_expect(bytes_eq(value, BYTES("9999")));
    builder_reset(&query);
}
