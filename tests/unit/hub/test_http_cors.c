/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which pages may read answers, and what a preflight is told.
 */
#include <criterion/criterion.h>
#include <stdio.h>

#include "codec/base/buf.h"
#include "codec/http1.h"
#include "hub/net/http_cors.h"

TestSuite(http_cors, .timeout = 30);

static const char shop[] = "https://shop.example";

static struct bytes cors_value(
    void *context, const struct http_request *request, struct bytes origin)
{
    return bytes_eq_str(origin, shop) ? bytes_str(shop) : bytes_of(NULL, 0);
}

static void answer(struct http_request *request, void *context)
{
}

static const struct http_route routes[] = {
    {.method = "GET", .path = "/api/v1/users/{}/inbox", .handler = answer, .pages = true},
    {.method = "POST", .path = "/api/v1/notifications", .handler = answer},
    {0},
};

static const struct http_server_config open = {.routes = routes, .cors_value = cors_value};
static const struct http_server_config closed = {.routes = routes};

struct asked {
    const char *method;
    const char *path;
    const char *lines;
};

/* The header lines for a request; `preflight`: as it is answered, or "-" when it is none. */
static const char *lines_for(
    const struct http_server_config *config, struct asked asked, bool preflight)
{
    static char result[1000];
    char text[500];
    struct http1_request head;
    struct builder lines = {0};
    struct http1_parser parser = {.max_head = HTTP1_HEAD_MAX, .max_headers = HTTP1_HEADERS_DEFAULT};
    snprintf(text, sizeof(text), "%s %s HTTP/1.1\r\nHost: h\r\n%s\r\n", asked.method, asked.path,
        asked.lines);
    cr_assert_gt(http1_parse(&parser, bytes_str(text), &head), 0, "%s", text);
    struct http_request request = {.head = &head, .path = bytes_str(asked.path)};
    bool is_one = preflight && http_cors_preflight(config, &request, &lines);
    if (!preflight) {
        bool pages = strstr(asked.path, "/inbox") != NULL;
        http_cors_add(config, &request, &routes[pages ? 0 : 1], &lines);
    }
    snprintf(result, sizeof(result), "%.*s", (int)builder_bytes(&lines).len,
        builder_bytes(&lines).len > 0 ? builder_bytes(&lines).at : "");
    builder_reset(&lines);
    return preflight && !is_one ? "-" : result;
}

#define INBOX "/api/v1/users/u1/inbox"
#define POSTS "/api/v1/notifications"
#define SHOP "Origin: https://shop.example\r\n"
#define EVIL "Origin: https://evil.example\r\n"
#define ASKS_GET "Access-Control-Request-Method: GET\r\n"
#define ASKS_POST "Access-Control-Request-Method: POST\r\n"

Test(http_cors, an_answer_may_be_read_by_listed_pages_on_routes_for_pages)
{
    static const char vary[] = "Vary: Origin\r\n";
    static const char good[] =
        "Vary: Origin\r\nAccess-Control-Allow-Origin: https://shop.example\r\n"
        "Access-Control-Expose-Headers: ETag, X-Cache, X-Response-Time, Retry-After\r\n";
    const struct {
        const struct http_server_config *config;
        struct asked asked;
        const char *lines;
    } cases[] = {
        {&open, {"GET", INBOX, SHOP}, good},
        {&open, {"GET", INBOX, EVIL}, vary},
        {&open, {"GET", INBOX, ""}, vary}, /* caches keep them apart */
        {&open, {"GET", INBOX, "Origin: null\r\n"}, vary},
        {&open, {"GET", INBOX, SHOP EVIL}, vary}, /* two are none */
        {&open, {"GET", INBOX, SHOP SHOP}, vary},
        {&open, {"POST", POSTS, SHOP}, ""}, /* API keys are not for pages */
        {&closed, {"GET", INBOX, SHOP}, ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const char *lines = lines_for(cases[i].config, cases[i].asked, false);
        cr_expect_str_eq(lines, cases[i].lines, "%zu: %s", i, lines);
        cr_expect_null(strstr(lines, "Credentials"), "cookies are never asked for");
    }
}

Test(http_cors, a_preflight_is_told_what_the_route_takes)
{
    static const char vary[] = "Vary: Origin, Access-Control-Request-Method\r\n";
    static const char good[] =
        "Vary: Origin, Access-Control-Request-Method\r\n"
        "Access-Control-Allow-Origin: https://shop.example\r\nAccess-Control-Allow-Methods: GET\r\n"
        "Access-Control-Allow-Headers: Authorization, Content-Type, If-None-Match, "
        "Last-Event-ID, X-No-Compression\r\nAccess-Control-Max-Age: 600\r\n";
    const struct {
        const struct http_server_config *config;
        struct asked asked;
        const char *lines;
    } cases[] = {
        {&open, {"OPTIONS", INBOX, SHOP ASKS_GET}, good},
        {&open, {"OPTIONS", INBOX, EVIL ASKS_GET}, vary},
        {&open, {"OPTIONS", INBOX, ASKS_GET}, vary},
        {&open, {"OPTIONS", INBOX, SHOP ASKS_POST}, "-"}, /* no such route */
        {&open, {"OPTIONS", INBOX, SHOP}, "-"}, /* asks for nothing */
        {&open, {"OPTIONS", INBOX, SHOP ASKS_GET ASKS_GET}, "-"},
        {&open, {"GET", INBOX, SHOP ASKS_GET}, "-"},
        {&open, {"OPTIONS", POSTS, SHOP ASKS_POST}, "-"},
        {&open, {"OPTIONS", "/api/v1/nothing", SHOP ASKS_GET}, "-"},
        {&closed, {"OPTIONS", INBOX, SHOP ASKS_GET}, "-"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        const char *lines = lines_for(cases[i].config, cases[i].asked, true);
        cr_expect_str_eq(lines, cases[i].lines, "%zu: %s", i, lines);
    }
}
