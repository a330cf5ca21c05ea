/* SPDX-License-Identifier: Apache-2.0 */
/*
 * URLs and hosts with ports, cut into their parts.
 */
#include <criterion/criterion.h>

#include "codec/base/check.h"
#include "codec/base/status.h"
#include "codec/url.h"

TestSuite(url, .timeout = 30);

/* NULL: not there. */
static void expect_part(
    const char *text, const char *what, bool has, struct bytes got, const char *want)
{
    cr_expect_eq(has, want != NULL, "%s: %s", text, what);
    cr_expect(bytes_eq(got, bytes_str(want)), "%s: %s is \"%.*s\"", text, what, (int)got.len,
        got.len > 0 ? got.at : "");
}

Test(url, is_split_into_its_parts)
{
    static const struct {
        const char *text;
        const char *scheme;
        const char *userinfo;
        const char *host;
        const char *path;
        const char *query;
        const char *fragment;
    } cases[] = {
        {"http://h", "http", NULL, "h", "", NULL, NULL},
        {"http://h:1/", "http", NULL, "h:1", "/", NULL, NULL},
        {"redis://u:p@h:6379/0", "redis", "u:p", "h:6379", "/0", NULL, NULL},
        {"redis://:p@ss@h", "redis", ":p@ss", "h", "", NULL, NULL},
        {"unix:///run/redis.sock?db=2", "unix", NULL, "", "/run/redis.sock", "db=2", NULL},
        {"http://h/a@b?c#d?e", "http", NULL, "h", "/a@b", "c", "d?e"},
        {"http://h?a/b@c", "http", NULL, "h", "", "a/b@c", NULL},
        {"http://h#?", "http", NULL, "h", "", NULL, "?"},
        {"http://@h?#", "http", "", "h", "", "", ""},
        {"://", "", NULL, "", "", NULL, NULL},
        {"a://b://c", "a", NULL, "b:", "//c", NULL, NULL},
        {"http://[::1]:80/x", "http", NULL, "[::1]:80", "/x", NULL, NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct url url;
        const char *text = cases[i].text;
        cr_assert_eq(url_split(bytes_str(text), &url), 0, "%s", text);
        expect_part(text, "scheme", true, url.scheme, cases[i].scheme);
        expect_part(text, "userinfo", url.has_userinfo, url.userinfo, cases[i].userinfo);
        expect_part(text, "host", true, url.host, cases[i].host);
        expect_part(text, "path", true, url.path, cases[i].path);
        expect_part(text, "query", url.has_query, url.query, cases[i].query);
        expect_part(text, "fragment", url.has_fragment, url.fragment, cases[i].fragment);
    }
    static const char *const bad[] = {"", "h", "http:/h", "http:h", "//h", ":/", "null"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct url url;
        cr_expect_eq(url_split(bytes_str(bad[i]), &url), STATUS_INVALID, "%s", bad[i]);
    }
}

Test(url, a_host_is_split_from_its_port)
{
    static const struct {
        const char *text;
        const char *name;
        const char *port_text; /* NULL: none */
        int port; /* 0: none that is valid; 7 stands for "otherwise" */
        bool bracketed;
    } cases[] = {
        {"h", "h", NULL, 7, false},
        {"", "", NULL, 7, false},
        {"h:80", "h", "80", 80, false},
        {"h:", "h", "", 0, false},
        {":80", "", "80", 80, false},
        {"h:0", "h", "0", 0, false},
        {"h:65535", "h", "65535", 65535, false},
        {"h:65536", "h", "65536", 0, false},
        {"h:080", "h", "080", 0, false},
        {"h:x", "h", "x", 0, false},
        {"h:_hidden", "h", "_hidden", 0, false},
        {"::1", "::1", NULL, 7, false},
        {"::1:80", "::1:80", NULL, 7, false},
        {"[::1]", "::1", NULL, 7, true},
        {"[::1]:80", "::1", "80", 80, true},
        {"[]", "", NULL, 7, true},
        {"[::1]:", "::1", "", 0, true},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct url_host host;
        uint16_t port = 0;
        const char *text = cases[i].text;
        cr_assert_eq(url_split_host(bytes_str(text), &host), 0, "%s", text);
        expect_part(text, "name", true, host.name, cases[i].name);
        expect_part(text, "port", host.has_port, host.port, cases[i].port_text);
        cr_expect_eq(host.is_bracketed, cases[i].bracketed, "%s", text);
        cr_expect_eq(url_port(&host, 7, &port), cases[i].port > 0 ? 0 : STATUS_INVALID, "%s", text);
        cr_expect_eq(port, cases[i].port, "%s", text);
    }
    static const char *const bad[] = {"[::1", "::1]", "[::1]x", "[::1]80", "h]:80", "["};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        struct url_host host;
        cr_expect_eq(url_split_host(bytes_str(bad[i]), &host), STATUS_INVALID, "%s", bad[i]);
    }
}
