/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The JSON tree that tokens are read with: members by type, and ambiguous texts refused.
 */
#include <criterion/criterion.h>

#include "codec/base/status.h"
#include "codec/json_tree.h"

TestSuite(json_tree, .timeout = 60);

Test(json_tree, reads_members_by_type)
{
    struct json_tree *claims;
    struct bytes text = BYTES("{\"sub\":\"42\",\"exp\":1700000000,\"ok\":true,\"x\":1.5,"
                              "\"rooms\":[\"a\",\"b\"],\"none\":null}");
    cr_assert_eq(json_tree_parse(text, 1000, &claims), 0);
    struct bytes sub;
    int64_t number;
    double real;
    cr_expect_eq(json_tree_string(json_tree_get(claims, "sub"), &sub), 0);
    cr_expect(bytes_eq(sub, BYTES("42")));
    cr_expect_eq(json_tree_integer(json_tree_get(claims, "exp"), &number), 0);
    cr_expect_eq(number, 1700000000);
    cr_expect_eq(json_tree_type(json_tree_get(claims, "ok")), JSON_TREE_BOOL);
    cr_expect_eq(json_tree_string(json_tree_get(claims, "exp"), &sub), STATUS_INVALID);
    cr_expect_eq(json_tree_integer(json_tree_get(claims, "x"), &number), STATUS_INVALID);
    cr_expect_null(json_tree_get(claims, "missing"));
    cr_expect_eq(json_tree_number(json_tree_get(claims, "x"), &real), 0);
    cr_expect_float_eq(real, 1.5, 0);
    const struct json_tree *rooms = json_tree_get(claims, "rooms");
    cr_expect_eq(json_tree_count(rooms), 2);
    cr_expect_eq(json_tree_string(json_tree_at(rooms, 1), &sub), 0);
    cr_expect(bytes_eq(sub, BYTES("b")));
    cr_expect_null(json_tree_at(rooms, 2));
    cr_expect_null(json_tree_get(rooms, "a"));
    cr_expect_eq(json_tree_type(json_tree_get(claims, "none")), JSON_TREE_NULL);
    cr_expect_eq(json_tree_type(claims), JSON_TREE_OBJECT);
    json_tree_destroy(claims);
}

Test(json_tree, refuses_what_is_ambiguous)
{
    static const struct {
        const char *text;
        int status;
    } cases[] = {
        {"{\"a\":1,\"a\":2}", STATUS_INVALID},
        {"{\"a\":9223372036854775808}", STATUS_INVALID},
        {"\"a\\u0000\"", STATUS_INVALID},
        {"{\"a\":1}x", STATUS_INVALID},
        {"", STATUS_INVALID},
        {"\"\xff\"", STATUS_UTF8},
        {"[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]", STATUS_TOO_LARGE},
        {"                                                                          1",
            STATUS_TOO_LARGE},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct json_tree *document = NULL;
        int status = json_tree_parse(bytes_str(cases[i].text), 70, &document);
        cr_expect_eq(status, cases[i].status, "%s: %d", cases[i].text, status);
        cr_expect_null(document);
    }
}
