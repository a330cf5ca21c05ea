/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The list of origins: what it lets in, and what is answered to pages.
 */
#include <criterion/criterion.h>

#include "codec/base/status.h"
#include "hub/net/origin.h"

TestSuite(origin, .timeout = 30);

static struct origin_list *make(const struct bytes *origins, size_t count)
{
    struct builder error = {.max = 1000};
    struct origin_list *list = NULL;
    cr_assert_eq(origin_list_create(origins, count, &error, &list), 0, "%.*s",
        (int)builder_bytes(&error).len, builder_bytes(&error).at);
    builder_reset(&error);
    return list;
}

static bool allows(const struct origin_list *list, const char *value)
{
    struct bytes origin = bytes_str(value);
    return origin_allows(list, &origin, 1, true);
}

Test(origin, lets_in_exactly_what_is_listed)
{
    const struct bytes listed[] = {BYTES("https://app.example.com"), BYTES("http://localhost:5173"),
        BYTES("http://[::1]:8080"), BYTES("capacitor://localhost")};
    struct origin_list *list = make(listed, 4);
    for (size_t i = 0; i < ARRAY_LEN(listed); i++) {
        cr_expect(origin_allows(list, &listed[i], 1, false));
    }
    static const char *const refused[] = {"", "null", "*", "https://app.example.com.evil.tld",
        "https://evilapp.example.com", "https://app.example.com:443",
        "https://app.example.com:8443", "http://app.example.com", "https://user@app.example.com",
        "https://APP.example.com", "HTTPS://app.example.com", "https://app.example.com.",
        "https://app.example.com/", " https://app.example.com",
        "https://app.example.com https://x.tld", "https://example.com",
        "https://\xd0\xb0pp.example.com", "http://localhost", "http://localhost:51730"};
    for (size_t i = 0; i < ARRAY_LEN(refused); i++) {
        cr_expect_not(allows(list, refused[i]), "%s", refused[i]);
    }
    origin_list_destroy(list);
}

Test(origin, of_the_host_that_was_called_is_known_as_such)
{
    static const char *const same[][2] = {{"http://h", "h"}, {"https://h", "h"},
        {"http://127.0.0.1:3000", "127.0.0.1:3000"}, {"https://hub.example:444", "HUB.example:444"},
        {"http://[::1]:3000", "[::1]:3000"}, {"https://shop.example", "shop.example:443"},
        {"http://shop.example", "shop.example:80"}, {"http://h:80", "h"}, {"https://h:443", "H"},
        {"http://[::1]", "[::1]:80"}};
    static const char *const other[][2] = {{"", ""}, {"h", "h"}, {"http://", ""}, {"//h", "h"},
        {"null", "null"}, {"file://h", "h"}, {"https://h", "h:80"}, {"http://h", "h:443"},
        {"https://h:80", "h"}, {"http://", ":80"}, {"http://h", "h:3000"}, {"http://h", "h:8080"},
        {"http://h.evil.tld", "h"}, {"http://evil.tld", "h"}, {"http://u@h", "h"},
        {"http://h/", "h"}, {"http://h http://h", "h"}, {"HTTP://h", "h"}, {"http://", "http://"}};
    for (size_t i = 0; i < ARRAY_LEN(same); i++) {
        cr_expect(origin_is_host(bytes_str(same[i][0]), bytes_str(same[i][1])), "%s", same[i][0]);
    }
    for (size_t i = 0; i < ARRAY_LEN(other); i++) {
        cr_expect_not(
            origin_is_host(bytes_str(other[i][0]), bytes_str(other[i][1])), "%s", other[i][0]);
    }
}

Test(origin, may_be_absent_only_with_a_token)
{
    const struct bytes listed[] = {BYTES("https://app.example.com")};
    const struct bytes any[] = {BYTES("*")};
    const struct bytes twice[] = {listed[0], listed[0]};
    struct origin_list *lists[] = {make(listed, 1), make(NULL, 0), make(any, 1)};
    for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
        cr_expect(origin_allows(lists[i], NULL, 0, true));
        cr_expect_not(origin_allows(lists[i], NULL, 0, false));
        cr_expect_not(origin_allows(lists[i], twice, 2, true), "two Origin headers");
        origin_list_destroy(lists[i]);
    }
}

Test(origin, reflects_credentials_to_listed_origins_only)
{
    const struct bytes listed[] = {BYTES("*"), BYTES("https://app.example.com")};
    bool credentials = true;
    struct origin_list *all = make(listed, 2);
    cr_expect(bytes_eq_str(origin_cors_value(all, BYTES("https://x.tld"), &credentials), "*"));
    cr_expect_not(credentials);
    cr_expect(bytes_eq_str(origin_cors_value(all, BYTES("*"), &credentials), "*"));
    cr_expect_not(credentials);
    cr_expect(bytes_eq(origin_cors_value(all, listed[1], &credentials), listed[1]));
    cr_expect(credentials);
    cr_expect_eq(origin_cors_value(all, BYTES(""), &credentials).len, 0);
    cr_expect(allows(all, "null"), "with * every origin is let in, without credentials");
    origin_list_destroy(all);

    struct origin_list *one = make(listed + 1, 1);
    cr_expect_eq(origin_cors_value(one, BYTES("https://x.tld"), &credentials).len, 0);
    cr_expect_not(credentials);
    cr_expect_eq(origin_cors_value(one, BYTES("null"), &credentials).len, 0);
    cr_expect_not(credentials);
    origin_list_destroy(one);
}

Test(origin, refuses_what_no_browser_sends)
{
    static const char *const wrong[] = {"", "null", "app.example.com", "https://", "://host",
        "https://App.example.com", "https://app.example.com/", "https://app.example.com/path",
        "https://app.example.com?x", "https://app.example.com#x", "https://u@app.example.com",
        "https://app.example.com.", "https://.example.com", "https://a..b", "https://*.example.com",
        "HTTPS://app.example.com", "https://app.example.com:", "https://app.example.com:0",
        "https://app.example.com:65536", "https://app.example.com:x", "https://app.example.com:443",
        "http://app.example.com:80",
        ("https://b\xc3\xbc"
         "cher.tld"),
        "https://a b", "https://[::1", "https://[::g]", "1https://a"};
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        struct builder error = {.max = 1000};
        struct origin_list *list = NULL;
        struct bytes origin = bytes_str(wrong[i]);
        int status = origin_list_create(&origin, 1, &error, &list);
        cr_expect_eq(status, STATUS_INVALID, "%s", wrong[i]);
        cr_expect_gt(builder_bytes(&error).len, 0);
        builder_reset(&error);
    }
}
