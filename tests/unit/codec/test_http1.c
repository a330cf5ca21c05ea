/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Heads and bodies of HTTP/1.1, by vectors, with their limits, and hostile ones in linear time.
 */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "codec/base/status.h"
#include "codec/http1.h"
#include "codec/http1_answer.h"
#include "codec/http1_chunked.h"
#include "tests/support/script_feed.h"
#include "tests/support/vectors.h"

TestSuite(http1, .timeout = 60);
TestSuite(http1_answer, .timeout = 60);
TestSuite(http1_chunked, .timeout = 60);

static void show_field(struct builder *out, const char *name, struct bytes value)
{
    builder_str(out, name);
    vectors_quote(out, value);
}

static void show_request(struct builder *out, const struct http1_request *request)
{
    builder_add(out, http1_method_text(request->method));
    show_field(out, " path=", request->path);
    show_field(out, " query=", request->query);
    show_field(out, " host=", request->host);
    builder_printf(out, " headers=%zu", request->header_count);
    if (request->has_content_length) {
        builder_str(out, " length=");
        builder_u64(out, request->content_length);
    }
    builder_str(out, request->minor == 0 ? " http/1.0" : "");
    builder_str(out, request->chunked ? " chunked" : "");
    builder_str(out, request->expect_100 ? " expect" : "");
    builder_str(out, request->keep_alive ? " keep-alive" : "");
    builder_str(out, request->has_upgrade ? " upgrade" : "");
}

static void parse(struct script_feed *feed, struct builder *out)
{
    struct http1_parser parser = {0};
    struct http1_request request;
    struct bytes input = {0};
    int len = 0;
    while (len == 0 && script_feed_grow(feed, &input)) {
        len = http1_parse(&parser, input, &request);
    }
    if (len < 0) {
        builder_u64(out, parser.refusal);
    } else if (len == 0) {
        builder_str(out, "more");
    } else {
        show_request(out, &request);
        while (script_feed_grow(feed, &input)) {
        }
        if ((size_t)len < input.len) {
            show_field(out, " rest=", bytes_skip(input, (size_t)len));
        }
    }
}

Test(http1, parses_the_vectors)
{
    script_feed_file("codec/http1.txt", parse);
}

/* A9: one header more than the limit, and far more. */
Test(http1, limits_the_number_of_headers)
{
    static const struct {
        size_t count;
        const char *result;
    } cases[] = {
        {64, "GET path=/ query= host=h headers=64 keep-alive"},
        {65, "431"},
        {2500, "431"},
        {100000, "431"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct builder head = {0};
        builder_str(&head, "GET / HTTP/1.1\r\nHost: h\r\n");
        for (size_t n = 1; n < cases[i].count; n++) {
            builder_str(&head, "a:\r\n");
        }
        builder_str(&head, "\r\n");
        struct bytes input = builder_bytes(&head);
        input.len = input.len < 12000 ? input.len : 12000; /* more would never be read */
        script_feed_input("headers", input, bytes_str(cases[i].result), parse);
        builder_reset(&head);
    }
}

/* A10: a head of exactly the limit passes, one byte more does not; an endless line is 414. */
Test(http1, limits_the_size_of_the_head)
{
    static const struct {
        const char *before;
        size_t total;
        unsigned refusal;
    } cases[] = {
        {"GET / HTTP/1.1\r\nHost: h\r\nX: ", HTTP1_HEAD_MAX, 0},
        {"GET / HTTP/1.1\r\nHost: h\r\nX: ", HTTP1_HEAD_MAX + 1, 431},
        {"GET / HTTP/1.1\r\nHost: h\r\nX: ", 65536, 431},
        {"GET /", 1 << 20, 414},
        {"", HTTP1_HEAD_MAX + 4, 414},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char *text = malloc(cases[i].total);
        memset(text, 'a', cases[i].total);
        memcpy(text, cases[i].before, strlen(cases[i].before));
        memcpy(text + cases[i].total - 4, "\r\n\r\n", 4);
        struct http1_parser parser = {0};
        struct http1_request request;
        int len = http1_parse(&parser, bytes_of(text, cases[i].total), &request);
        cr_expect_eq(parser.refusal, cases[i].refusal, "%zu: %u", i, parser.refusal);
        cr_expect(cases[i].refusal ? len == STATUS_TOO_LARGE : (size_t)len == cases[i].total);
        free(text);
    }
}

Test(http1, obeys_its_parameters)
{
    struct http1_request request;
    struct http1_parser parser = {.max_headers = 1};
    cr_expect_lt(http1_parse(&parser, BYTES("GET / HTTP/1.1\r\nHost: h\r\na: b\r\n"), &request), 0);
    cr_expect_eq(parser.refusal, 431);
    parser = (struct http1_parser){.max_head = 27};
    cr_expect_gt(http1_parse(&parser, BYTES("GET / HTTP/1.1\r\nHost: h\r\n\r\n"), &request), 0);
    parser = (struct http1_parser){.max_head = 26};
    cr_expect_lt(http1_parse(&parser, BYTES("GET / HTTP/1.1\r\nHost: h\r\n\r\n"), &request), 0);
    cr_expect_eq(parser.refusal, 431);
}

Test(http1, finds_headers_and_list_elements)
{
    struct http1_parser parser = {0};
    struct http1_request request;
    struct bytes head =
        BYTES("GET / HTTP/1.1\r\nHost: h\r\nX-List: a, \"b,\\\",c\" ,\r\nx-list: D\r\n\r\n");
    cr_assert_gt(http1_parse(&parser, head, &request), 0);
    struct bytes value;
    cr_expect_eq(http1_header_once(&request, "HOST", &value), 0);
    cr_expect(bytes_eq(value, BYTES("h")));
    cr_expect_eq(http1_header_once(&request, "X-List", &value), STATUS_INVALID);
    cr_expect_eq(http1_header_once(&request, "X-Lis", &value), STATUS_NOT_FOUND);
    cr_expect(http1_has_token(&request, "X-List", "d"));
    cr_expect(http1_has_token(&request, "X-List", "A"));
    cr_expect_not(http1_has_token(&request, "X-List", "c\""));
    size_t cursor = 0;
    cr_assert(http1_header_next(&request, "x-LIST", &cursor, &value));
    static const char *const elements[] = {"a", "\"b,\\\",c\"", ""};
    for (size_t i = 0; i < ARRAY_LEN(elements); i++) {
        struct bytes element;
        cr_assert(http1_list_next(&value, &element));
        cr_expect(bytes_eq_str(element, elements[i]), "%zu: %.*s", i, (int)element.len, element.at);
    }
    cr_expect_not(http1_list_next(&value, &value));
}

/* A12: a list of 8 KiB of commas or quotes is walked once. */
Test(http1, walks_hostile_lists_in_one_pass)
{
    char text[8192];
    static const char fills[] = {',', '"', ' ', '\\'};
    for (size_t i = 0; i < sizeof(fills); i++) {
        memset(text, fills[i], sizeof(text));
        struct bytes list = bytes_of(text, sizeof(text));
        struct bytes element;
        size_t count = 0;
        while (http1_list_next(&list, &element)) {
            count++;
        }
        cr_expect_eq(count, fills[i] == ',' ? sizeof(text) + 1 : 1);
    }
}

/* A14: nothing that holds a control character gets into a head. */
Test(http1, never_writes_an_injected_line)
{
    const struct http1_header bad[] = {
        {BYTES("X"), BYTES("a\r\nSet-Cookie: b")},
        {BYTES("X"), BYTES("a\nb")},
        {BYTES("X"), BYTES("a\rb")},
        {BYTES("X"), BYTES("a\0b")},
        {BYTES("X\r\nY"), BYTES("a")},
        {BYTES("X:"), BYTES("a")},
        {BYTES(""), BYTES("a")},
    };
    struct builder out = {0};
    http1_write_status_line(&out, 204);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        cr_expect_eq(http1_write_header(&out, bad[i].name, bad[i].value), STATUS_INVALID, "%zu", i);
    }
    cr_expect_eq(http1_write_header(&out, BYTES("Cache-Control"), BYTES("no-store")), 0);
    cr_expect(bytes_eq(
        builder_bytes(&out), BYTES("HTTP/1.1 204 No Content\r\nCache-Control: no-store\r\n")));
    builder_reset(&out);
    out.max = 20;
    cr_expect_eq(
        http1_write_header(&out, BYTES("Cache-Control"), BYTES("no-store")), STATUS_TOO_LARGE);
    builder_reset(&out);
}

static void decode_chunked(struct script_feed *feed, struct builder *out)
{
    struct http1_chunked chunked = {.max_body = 1024};
    struct bytes piece;
    struct bytes data;
    struct builder rest = {0};
    while (script_feed_piece(feed, &piece)) {
        int used;
        while ((used = http1_chunked_feed(&chunked, piece, &data)) > 0) {
            vectors_quote(out, data);
            piece = bytes_skip(piece, (size_t)used);
        }
        if (used < 0) {
            builder_printf(out, " error %s", status_name(used));
            builder_reset(&rest);
            return;
        }
        builder_add(&rest, piece);
    }
    builder_str(out, http1_chunked_done(&chunked) ? " done" : " more");
    if (builder_bytes(&rest).len > 0) {
        show_field(out, " rest=", builder_bytes(&rest));
    }
    builder_reset(&rest);
}

Test(http1_chunked, decodes_the_vectors)
{
    script_feed_file("codec/chunked.txt", decode_chunked);
}

Test(http1_chunked, limits_extensions_and_trailers)
{
    struct builder body = {0};
    for (int i = 0; i < 600; i++) {
        builder_str(&body, "1;a\r\nx\r\n");
    }
    struct http1_chunked chunked = {.max_body = 1024};
    struct bytes input = builder_bytes(&body);
    struct bytes data;
    int used;
    while ((used = http1_chunked_feed(&chunked, input, &data)) > 0) {
        input = bytes_skip(input, (size_t)used);
    }
    cr_expect_eq(used, 0, "one byte of extension per chunk is within the limit");
    chunked = (struct http1_chunked){.max_body = 1024};
    builder_clear(&body);
    builder_str(&body, "0\r\n");
    for (int i = 0; i < 600; i++) {
        builder_str(&body, "a:\r\n");
    }
    cr_expect_eq(http1_chunked_feed(&chunked, builder_bytes(&body), &data), STATUS_TOO_LARGE);
    builder_reset(&body);
}

static void show_answer(struct builder *out, const struct http1_answer *answer)
{
    struct bytes lines = answer->lines;
    struct bytes name;
    struct bytes value;
    builder_printf(out, "%u length=%u", answer->status, (unsigned)answer->content_length);
    builder_str(out, answer->keep_alive ? " keep-alive" : "");
    while (http1_answer_next(&lines, &name, &value)) {
        builder_str(out, " ");
        builder_add(out, name);
        show_field(out, "=", value);
    }
}

static void parse_answer(struct script_feed *feed, struct builder *out)
{
    struct http1_answer answer;
    struct bytes input = {0};
    int len = 0;
    while (len == 0 && script_feed_grow(feed, &input)) {
        len = http1_answer_parse(input, 1024, &answer);
    }
    if (len < 0) {
        builder_printf(out, "error %s", status_name(len));
    } else if (len == 0) {
        builder_str(out, "more");
    } else {
        show_answer(out, &answer);
        while (script_feed_grow(feed, &input)) {
        }
        if ((size_t)len < input.len) {
            show_field(out, " rest=", bytes_skip(input, (size_t)len));
        }
    }
}

Test(http1_answer, parses_the_vectors)
{
    script_feed_file("codec/http1_answer.txt", parse_answer);
}

Test(http1_answer, limits_the_head)
{
    struct http1_answer answer;
    struct bytes head = BYTES("HTTP/1.1 204 No Content\r\n\r\n");
    cr_expect_eq(http1_answer_parse(head, head.len, &answer), (int)head.len);
    cr_expect_eq(http1_answer_parse(head, head.len - 1, &answer), STATUS_TOO_LARGE);
}
