/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who is answered in development mode, by host and by origin.
 */
#include <criterion/criterion.h>
#include <stdio.h>

#include "codec/base/log.h"
#include "codec/http1.h"
#include "hub/config/config.h"
#include "hub/net/http_types.h"
#include "hub/node/dev_guard.h"

TestSuite(dev_guard, .timeout = 30);

static const char *const listed[] = {"https://shop.example", "http://app.local:5173"};
static const struct config config = {.origins = {2, (const char **)listed}};

static void drop_line(enum log_level level, const char *line, size_t len)
{
}

/* The header at fault of a request with these lines, or "". */
static const char *fault_of(const char *lines)
{
    char text[500];
    struct http1_request head;
    struct http1_parser parser = {.max_head = HTTP1_HEAD_MAX, .max_headers = HTTP1_HEADERS_DEFAULT};
    snprintf(text, sizeof(text), "POST /api/v1/events HTTP/1.1\r\n%s\r\n", lines);
    cr_assert_gt(http1_parse(&parser, bytes_str(text), &head), 0, "%s", lines);
    log_set_sink(drop_line);
    const struct http_refusal *refusal = dev_guard_refuse(&config, &head);
    log_set_sink(NULL);
    cr_assert(refusal == NULL || refusal->status == 403);
    return refusal != NULL ? refusal->field : "";
}

static const char *fault_of_host(const char *host)
{
    char lines[200];
    snprintf(lines, sizeof(lines), "Host: %s\r\n", host);
    return fault_of(lines);
}

static const char *fault_of_origin(const char *origin)
{
    char lines[200];
    snprintf(lines, sizeof(lines), "Host: localhost:3000\r\nOrigin: %s\r\n", origin);
    return fault_of(lines);
}

Test(dev_guard, answers_those_who_call_it_by_a_name_of_this_machine)
{
    static const char *const good[] = {"localhost", "localhost:3000", "LOCALHOST", "127.0.0.1",
        "127.0.0.1:3000", "127.8.9.10", "[::1]", "[::1]:3000", "demo.localhost:3000"};
    static const char *const bad[] = {"shop.example", "localhost.evil.example", "evil.example:3000",
        "127.0.0.1.evil.example", "10.0.0.1", "0.0.0.0", "[::]", "[fe80::1]", "192.168.1.2:3000",
        "notlocalhost", "127.0.0.1x"};
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        cr_expect_str_eq(fault_of_host(good[i]), "", "%s", good[i]);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        cr_expect_str_eq(fault_of_host(bad[i]), "Host", "%s", bad[i]);
    }
}

Test(dev_guard, answers_pages_of_this_machine_and_listed_ones)
{
    static const char *const good[] = {"http://localhost:8080", "http://127.0.0.1",
        "https://[::1]:3000", "https://shop.example", "http://app.local:5173"};
    static const char *const bad[] = {"null", "https://evil.example", "https://shop.example:444",
        "http://shop.example", "https://shop.example.evil.example", "http://localhost.evil.example",
        "file://", "http://user@localhost", "http://app.local"};
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        cr_expect_str_eq(fault_of_origin(good[i]), "", "%s", good[i]);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        cr_expect_str_eq(fault_of_origin(bad[i]), "Origin", "%s", bad[i]);
    }
}

Test(dev_guard, one_good_origin_does_not_cover_another)
{
    cr_expect_str_eq(fault_of("Host: localhost\r\nOrigin: http://localhost\r\n"
                              "Origin: https://evil.example\r\n"),
        "Origin");
    cr_expect_str_eq(fault_of("Host: evil.example\r\nOrigin: http://localhost\r\n"), "Host");
}
