/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The handshake of WebSockets: what is asked for, what is offered, what is answered.
 */
#include <criterion/criterion.h>
#include <openssl/sha.h>
#include <stdio.h>

#include "codec/base/status.h"
#include "codec/http1.h"
#include "codec/ws_accept.h"

TestSuite(ws_accept, .timeout = 60);

#define KEY "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
#define VERSION "Sec-WebSocket-Version: 13\r\n"
#define UPGRADE "Upgrade: websocket\r\nConnection: Upgrade\r\n"
#define LINE "GET /ws HTTP/1.1\r\nHost: h\r\n"
#define GOOD LINE UPGRADE VERSION KEY

static void sha1(struct bytes data, uint8_t digest[20])
{
    SHA1((const unsigned char *)data.at, data.len, digest);
}

/* The request of head lines `head`, which stay in use. */
static void parse(struct builder *text, const char *head, struct http1_request *ret_request)
{
    struct http1_parser parser = {0};
    builder_clear(text);
    builder_str(text, head);
    builder_str(text, "\r\n");
    int len = http1_parse(&parser, builder_bytes(text), ret_request);
    cr_assert_gt(len, 0, "%s", head);
}

Test(ws_accept, checks_the_handshake)
{
    static const struct {
        const char *head;
        unsigned refusal;
    } cases[] = {
        {GOOD, 0},
        {LINE "UPGRADE: WebSocket\r\ncOnnection: keep-alive, Upgrade\r\n" VERSION KEY, 0},
        {LINE "Upgrade: h2c, websocket\r\nConnection: x\r\nConnection: ,upgrade\r\n" VERSION KEY,
            0},
        {GOOD "Sec-WebSocket-Protocol: peal.json.v1, peal.token.a.b-c_d\r\n", 0},
        {GOOD "Sec-WebSocket-Extensions: x; \"unbalanced\r\n", 0},
        /* A2 */
        {"POST /ws HTTP/1.1\r\nHost: h\r\n" UPGRADE VERSION KEY, 405},
        {"GET /ws HTTP/1.0\r\nHost: h\r\n" UPGRADE VERSION KEY, 400},
        {GOOD "Content-Length: 5\r\n", 400},
        {GOOD "Content-Length: 0\r\n", 0},
        {GOOD "Transfer-Encoding: chunked\r\n", 400},
        {LINE "Upgrade: websocket\r\n" VERSION KEY, 400},
        {LINE "Connection: upgrade\r\n" VERSION KEY, 400},
        {LINE "Connection: upgrade\r\nUpgrade: websocketx\r\n" VERSION KEY, 400},
        {LINE "Connection: upgraded\r\nUpgrade: websocket\r\n" VERSION KEY, 400},
        /* A3 */
        {LINE UPGRADE KEY, 426},
        {LINE UPGRADE KEY "Sec-WebSocket-Version: 8\r\n", 426},
        {LINE UPGRADE KEY "Sec-WebSocket-Version: 12\r\n", 426},
        {LINE UPGRADE KEY "Sec-WebSocket-Version: 14\r\n", 426},
        {LINE UPGRADE KEY "Sec-WebSocket-Version: 13, 13\r\n", 426},
        {LINE UPGRADE KEY "Sec-WebSocket-Version: 013\r\n", 426},
        {LINE UPGRADE KEY "Sec-WebSocket-Version: 13x\r\n", 400},
        {LINE UPGRADE KEY VERSION VERSION, 400},
        /* A4 */
        {LINE UPGRADE VERSION, 400},
        {LINE UPGRADE VERSION KEY KEY, 400},
        {LINE UPGRADE VERSION "Sec-WebSocket-Key:\r\n", 400},
        {LINE UPGRADE VERSION "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25j\r\n", 400},
        {LINE UPGRADE VERSION "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZWU=\r\n", 400},
        {LINE UPGRADE VERSION "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ\r\n", 400},
        {LINE UPGRADE VERSION "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZR==\r\n", 400},
        {LINE UPGRADE VERSION "Sec-WebSocket-Key: dGhlIHNhbXBsZSB!b25jZQ==\r\n", 400},
        {LINE UPGRADE VERSION "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ== x\r\n", 400},
        /* A13 */
        {GOOD "Sec-WebSocket-Protocol: a, a\r\n", 400},
        {GOOD "Sec-WebSocket-Protocol: a\r\nSec-WebSocket-Protocol: a\r\n", 400},
        {GOOD "Sec-WebSocket-Protocol: a,,b\r\n", 400},
        {GOOD "Sec-WebSocket-Protocol: a,\r\n", 400},
        {GOOD "Sec-WebSocket-Protocol:\r\n", 400},
        {GOOD "Sec-WebSocket-Protocol: \xc3\xa9\r\n", 400},
        {GOOD "Sec-WebSocket-Protocol: \"a\"\r\n", 400},
        {GOOD "Sec-WebSocket-Protocol: a b\r\n", 400},
    };
    struct builder text = {0};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct http1_request request;
        struct ws_accept accept;
        parse(&text, cases[i].head, &request);
        int status = ws_accept_check(&request, &accept);
        cr_expect_eq(accept.refusal, cases[i].refusal, "%u\n%s", accept.refusal, cases[i].head);
        cr_expect_eq(status == 0, cases[i].refusal == 0, "%s", cases[i].head);
    }
    builder_reset(&text);
}

/* A12: more protocols than the limit, and nothing but commas. */
Test(ws_accept, limits_the_protocols)
{
    static const struct {
        int count;
        unsigned refusal;
    } cases[] = {{WS_ACCEPT_PROTOCOLS_MAX, 0}, {WS_ACCEPT_PROTOCOLS_MAX + 1, 400}, {1500, 400}};
    struct builder head = {0};
    struct builder text = {0};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        builder_clear(&head);
        builder_str(&head, GOOD "Sec-WebSocket-Protocol: p");
        for (int n = 1; n < cases[i].count; n++) {
            builder_printf(&head, ",%d", n);
        }
        builder_add(&head, bytes_of("\r\n", 3)); /* with its NUL */
        struct http1_request request;
        struct ws_accept accept;
        parse(&text, builder_bytes(&head).at, &request);
        cr_expect_eq(ws_accept_check(&request, &accept) == 0, cases[i].refusal == 0);
        cr_expect_eq(accept.refusal, cases[i].refusal, "%d", cases[i].count);
    }
    builder_reset(&head);
    builder_reset(&text);
}

Test(ws_accept, walks_protocols_over_several_headers)
{
    struct builder text = {0};
    struct http1_request request;
    parse(&text, GOOD "Sec-WebSocket-Protocol: a , b\r\nX: y\r\nsec-websocket-protocol: c\r\n",
        &request);
    struct ws_accept_walk walk = {0};
    struct bytes protocol;
    static const char *const expected[] = {"a", "b", "c"};
    for (size_t i = 0; i < ARRAY_LEN(expected); i++) {
        cr_assert(ws_accept_next_protocol(&request, &walk, &protocol));
        cr_expect(bytes_eq_str(protocol, expected[i]), "%zu", i);
    }
    cr_expect_not(ws_accept_next_protocol(&request, &walk, &protocol));
    builder_reset(&text);
}

/* B18: each offer, and what is left of it: "-" none, "!" malformed, else flags, server and client
 * bits. */
Test(ws_accept, parses_offers_of_compression)
{
    static const struct {
        const char *offers;
        const char *result;
    } cases[] = {
        {"permessage-deflate", "000 0 0"},
        {"Permessage-Deflate; client_max_window_bits", "001 0 0"},
        {"permessage-deflate; client_max_window_bits=10; server_max_window_bits=\"8\"", "001 8 10"},
        {"permessage-deflate; server_no_context_takeover; client_no_context_takeover", "110 0 0"},
        {"x-webkit-deflate-frame, permessage-deflate;server_max_window_bits=15", "000 15 0"},
        {"permessage-deflate; server_max_window_bits=16, permessage-deflate", "000 0 0"},
        {"permessage-deflate; server_max_window_bits=7", "-"},
        {"permessage-deflate; server_max_window_bits=0", "-"},
        {"permessage-deflate; server_max_window_bits=010", "-"},
        {"permessage-deflate; server_max_window_bits=x", "-"},
        {"permessage-deflate; server_max_window_bits", "-"},
        {"permessage-deflate; server_no_context_takeover=1", "-"},
        {"permessage-deflate; client_max_window_bits; client_max_window_bits", "-"},
        {"permessage-deflate; server_no_context_takeover; server_no_context_takeover", "-"},
        {"permessage-deflate; unknown", "-"},
        {"foo; a=\"b,c\"", "!"},
        {",,", "-"},
        {"", "-"},
        {"permessage-deflate; a=", "!"},
        {"permessage-deflate;", "!"},
        {"permessage-deflate; =1", "!"},
        {"permessage-deflate; a=\"b", "!"},
        {"per message", "!"},
        {"\"permessage-deflate\"", "!"},
    };
    struct builder text = {0};
    struct builder head = {0};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        builder_clear(&head);
        builder_printf(&head, GOOD "Sec-WebSocket-Extensions: %s\r\n", cases[i].offers);
        builder_byte(&head, '\0');
        struct http1_request request;
        struct ws_accept_walk walk = {0};
        struct ws_accept_deflate offer;
        parse(&text, builder_bytes(&head).at, &request);
        int status = ws_accept_next_deflate(&request, &walk, &offer);
        char got[32] = "-";
        if (status < 0) {
            snprintf(got, sizeof(got), "!");
        } else if (status > 0) {
            snprintf(got, sizeof(got), "%d%d%d %d %d", offer.server_no_context_takeover,
                offer.client_no_context_takeover, offer.client_max_window_bits, offer.server_bits,
                offer.client_bits);
        }
        cr_expect_str_eq(got, cases[i].result, "%s: %s", cases[i].offers, got);
    }
    builder_reset(&text);
    builder_reset(&head);
}

/* The example of RFC 6455 section 1.3. */
Test(ws_accept, answers_with_the_known_accept_key)
{
    struct builder text = {0};
    struct builder out = {0};
    struct http1_request request;
    struct ws_accept accept;
    parse(&text, GOOD, &request);
    cr_assert_eq(ws_accept_check(&request, &accept), 0);
    struct ws_accept_answer answer = {.key = accept.key, .sha1 = sha1, .protocol = BYTES("chat")};
    cr_expect_eq(ws_accept_write(&out, &answer), 0);
    cr_expect(bytes_eq(builder_bytes(&out),
        BYTES("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
              "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
              "Sec-WebSocket-Protocol: chat\r\n\r\n")));
    builder_clear(&out);
    answer.lines = BYTES("Vary: Origin\r\n");
    cr_expect_eq(ws_accept_write(&out, &answer), 0);
    cr_expect(bytes_eq(bytes_skip(builder_bytes(&out), builder_bytes(&out).len - 22),
        BYTES("chat\r\nVary: Origin\r\n\r\n")));
    builder_clear(&out);
    answer.protocol = BYTES("a\r\nb");
    cr_expect_eq(ws_accept_write(&out, &answer), STATUS_INVALID);
    cr_expect_eq(builder_bytes(&out).len, 0);
    builder_reset(&text);
    builder_reset(&out);
}
