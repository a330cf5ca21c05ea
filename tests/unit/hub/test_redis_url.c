/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Addresses of Redis: read, refused, and shown without the password.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "codec/base/status.h"
#include "hub/redis/redis_url.h"

TestSuite(redis_url, .timeout = 30);

Test(redis_url, parses_what_settings_write)
{
    static const struct {
        const char *text;
        const char *shown;
        const char *user;
        const char *password; /* NULL: none */
    } cases[] = {
        {"redis://localhost", "redis://localhost:6379/0", "", NULL},
        {"redis://localhost/", "redis://localhost:6379/0", "", NULL},
        {"redis://10.0.0.1:1234/15", "redis://10.0.0.1:1234/15", "", NULL},
        {"redis://[::1]:1234/2", "redis://[::1]:1234/2", "", NULL},
        {"redis://[::1]", "redis://[::1]:6379/0", "", NULL},
        {"redis://:pass@h:1/0", "redis://h:1/0", "", "pass"},
        {"redis://user:p%40ss%3A@h", "redis://h:6379/0", "user", "p@ss:"},
        {"redis://u:a@b@h", "redis://h:6379/0", "u", "a@b"},
        {"rediss://h", "rediss://h:6379/0", "", NULL},
        {"rediss://u:a%2Fb%3Fc%23d%25e%40f%20%C3%A9+@[fe80::1]:7/1", "rediss://[fe80::1]:7/1", "u",
            "a/b?c#d%e@f \xc3\xa9+"},
        {"redis+sentinel://a/m", "redis+sentinel://a:26379/m/0", "", NULL},
        {"redis+sentinel://u:p@a:1,[::1]:2,c/m/4", "redis+sentinel://a:1,[::1]:2,c:26379/m/4", "u",
            "p"},
        {"rediss+sentinel://a,b/m", "rediss+sentinel://a:26379,b:26379/m/0", "", NULL},
        {"unix:///run/redis.sock", "unix:///run/redis.sock?db=0", "", NULL},
        {"unix:///run/redis.sock?db=7", "unix:///run/redis.sock?db=7", "", NULL},
        {"unix://u:p@/run/re@dis", "unix:///run/re@dis?db=0", "u", "p"},
        {"unix:///run/a@b", "unix:///run/a@b?db=0", "", NULL},
        {"unix://local.sock", "unix://local.sock?db=0", "", NULL},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct builder error = {.max = 500};
        struct builder shown = {.max = 500};
        struct redis_url url;
        int status = redis_url_parse(bytes_str(cases[i].text), &error, &url);
        cr_assert_eq(status, 0, "%s", cases[i].text);
        redis_url_show(&url, &shown);
        cr_expect(bytes_eq_str(builder_bytes(&shown), cases[i].shown), "%s", cases[i].text);
        cr_expect_str_eq(url.user, cases[i].user);
        cr_expect_eq(url.tls, strncmp(cases[i].text, "rediss", 6) == 0);
        cr_expect_eq(url.has_password, cases[i].password != NULL, "%s", cases[i].text);
        cr_expect_str_eq(url.password, cases[i].password != NULL ? cases[i].password : "");
        builder_reset(&shown);
        builder_reset(&error);
    }
}

Test(redis_url, refuses_the_rest_without_showing_the_password)
{
    static const char *const cases[] = {"", "redis", "redis://", "redis:///0", "redis://h:0",
        "redis://h:65536", "redis://h:", "redis://h:x", "redis://h/x", "redis://h/0/1",
        "redis://h/-1", "redis://h/65536", "redis://[::1", "redis://[::1]x", "redis://[]:1",
        "redis://user@h", "redis://hunter2@h", "redis://user:@h", "redis://u:hunter2%@h",
        "redis://u:hunter2%zz@h", "redis://u:hunter2%00@h", "redis://u:hunter2@", "unix://",
        "unix://?db=1", "unix:///a?db=", "unix:///a?x=1", "unix:///a?db=1&x=2", "http://h",
        "rediss://u:hunter2@h:0", "rediss://u:hunter2@", "REDIS://h",
        "redis+sentinel://u:hunter2@a", "redis+sentinel://a/", "redis+sentinel://a//0",
        "redis+sentinel://a,/m", "redis+sentinel://,a/m", "redis+sentinel://a:0/m",
        "redis+sentinel://a/m%20n", "redis+sentinel://a/m/x", "redis+sentinel:///m",
        "redis+sentinel://a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a,a/m", "redis://a,b:1"};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct builder error = {.max = 500};
        struct redis_url url;
        int status = redis_url_parse(bytes_str(cases[i]), &error, &url);
        cr_expect_eq(status, STATUS_INVALID, "%s: %s", cases[i], status_name(status));
        struct bytes text = builder_bytes(&error);
        cr_expect_gt(text.len, 0, "%s", cases[i]);
        cr_expect_null(memmem(text.at, text.len, "hunter2", 7), "%s", cases[i]);
        builder_reset(&error);
    }
    static char path[200];
    memset(path, 'p', sizeof(path) - 1);
    memcpy(path, "unix:///", 8);
    struct builder error = {.max = 500};
    struct redis_url url;
    cr_expect_eq(redis_url_parse(bytes_str(path), &error, &url), STATUS_INVALID);
    builder_reset(&error);
}
