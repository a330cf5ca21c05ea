/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Engine.IO packets and payloads, by vectors and to the byte of stock servers.
 */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "codec/base/status.h"
#include "codec/eio.h"
#include "tests/support/script_feed.h"
#include "tests/support/vectors.h"

TestSuite(eio, .timeout = 60);

static const char *const type_names[] = {
    "open", "close", "ping", "pong", "message", "upgrade", "noop"};

static void show_payload(struct bytes body, struct builder *out)
{
    struct eio_payload payload;
    struct eio_packet packet;
    int status;
    char *copy = malloc(body.len);
    if (body.len > 0) {
        memcpy(copy, body.at, body.len);
    }
    eio_payload_init(&payload, copy, body.len, 8);
    while ((status = eio_payload_next(&payload, &packet)) > 0) {
        cr_expect(!packet.binary || packet.type == EIO_MESSAGE);
        builder_str(out, builder_bytes(out).len > 0 ? " " : "");
        builder_str(out, packet.binary ? "binary" : type_names[packet.type]);
        builder_byte(out, '"');
        vectors_quote(out, packet.payload);
        builder_byte(out, '"');
    }
    if (status < 0) {
        builder_str(out, builder_bytes(out).len > 0 ? " " : "");
        builder_printf(out, "error %s", status_name(status));
    }
    free(copy);
}

/* A body is decoded when it is complete; every beginning of it must be harmless. */
static void decode(struct script_feed *feed, struct builder *out)
{
    struct bytes so_far;
    while (script_feed_grow(feed, &so_far)) {
        builder_clear(out);
        show_payload(so_far, out);
    }
}

Test(eio, decodes_the_vectors)
{
    script_feed_file("codec/eio_payload.txt", decode);
}

Test(eio, refuses_an_empty_body_and_an_empty_packet)
{
    struct eio_payload payload;
    struct eio_packet packet;
    eio_payload_init(&payload, NULL, 0, 8);
    cr_expect_eq(eio_payload_next(&payload, &packet), STATUS_PROTO);
    cr_expect_eq(eio_decode_text(BYTES(""), &packet), STATUS_PROTO);
}

Test(eio, decodes_text_of_a_websocket)
{
    static const char *const bad[] = {
        "7", "9x", "/", ":", "b", "bAQ==", "abc", " 4", "\x1e", "\xff"};
    struct eio_packet packet;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        cr_expect_eq(eio_decode_text(bytes_str(bad[i]), &packet), STATUS_PROTO, "%s", bad[i]);
    }
    cr_expect_eq(eio_decode_text(BYTES("2probe"), &packet), 0);
    cr_expect_eq(packet.type, EIO_PING);
    cr_expect(bytes_eq(packet.payload, BYTES("probe")));
    cr_expect_eq(eio_decode_text(BYTES("4"), &packet), 0);
    cr_expect_eq(packet.payload.len, 0);
    cr_expect_not(packet.binary);
}

Test(eio, encodes_payloads)
{
    struct builder out = {0};
    struct eio_encoder encoder = {.out = &out};
    cr_expect_eq(eio_encoder_text(&encoder, BYTES("4hi")), 0);
    cr_expect_eq(eio_encoder_binary(&encoder, BYTES("\x01\x02\x03\x04")), 0);
    cr_expect_eq(eio_encoder_binary(&encoder, BYTES("")), 0);
    cr_expect(bytes_eq(builder_bytes(&out), BYTES("4hi\x1e"
                                                  "bAQIDBA==\x1e"
                                                  "b")));
    builder_reset(&out);
}

Test(eio, encoder_leaves_out_what_does_not_fit)
{
    struct builder out = {0};
    struct eio_encoder encoder = {.out = &out};
    for (int i = 0; i < EIO_ENCODER_PACKETS_MAX; i++) {
        cr_assert_eq(eio_encoder_text(&encoder, BYTES("6")), 0);
    }
    size_t len = builder_bytes(&out).len;
    cr_expect_eq(eio_encoder_text(&encoder, BYTES("6")), STATUS_FULL);
    cr_expect_eq(eio_encoder_binary(&encoder, BYTES("x")), STATUS_FULL);
    cr_expect_eq(builder_bytes(&out).len, len);
    builder_reset(&out);
    out.max = 10;
    encoder = (struct eio_encoder){.out = &out};
    cr_expect_eq(eio_encoder_text(&encoder, BYTES("412345")), 0);
    cr_expect_eq(eio_encoder_text(&encoder, BYTES("4567")), STATUS_FULL, "6 + 1 + 4 > 10");
    cr_expect_eq(eio_encoder_text(&encoder, BYTES("456")), 0);
    cr_expect_not(builder_failed(&out), "the builder is still good");
    cr_expect(bytes_eq(builder_bytes(&out), BYTES("412345\x1e"
                                                  "456")));
    builder_reset(&out);
}

Test(eio, writes_the_open_packet_exactly)
{
    struct builder out = {0};
    struct eio_open open = {.sid = BYTES("tkazrA_7BjG6jEKLAAAA"),
        .upgrades = true,
        .ping_interval_ms = 25000,
        .ping_timeout_ms = 20000,
        .max_payload = 1000000};
    eio_write_open(&out, &open);
    cr_expect(bytes_eq(builder_bytes(&out),
        BYTES("0{\"sid\":\"tkazrA_7BjG6jEKLAAAA\",\"upgrades\":[\"websocket\"],"
              "\"pingInterval\":25000,\"pingTimeout\":20000,\"maxPayload\":1000000}")));
    cr_expect_eq(builder_bytes(&out).len, 118, "as captured");
    builder_clear(&out);
    open.upgrades = false;
    eio_write_open(&out, &open);
    builder_byte(&out, '\0');
    cr_expect_not_null(strstr(builder_bytes(&out).at, "\"upgrades\":[],"));
    builder_reset(&out);
}

Test(eio, has_the_known_errors)
{
    static const struct {
        enum eio_error error;
        unsigned http;
        const char *body;
    } cases[] = {
        {EIO_ERROR_TRANSPORT_UNKNOWN, 400, "{\"code\":0,\"message\":\"Transport unknown\"}"},
        {EIO_ERROR_SID_UNKNOWN, 400, "{\"code\":1,\"message\":\"Session ID unknown\"}"},
        {EIO_ERROR_BAD_METHOD, 400, "{\"code\":2,\"message\":\"Bad handshake method\"}"},
        {EIO_ERROR_BAD_REQUEST, 400, "{\"code\":3,\"message\":\"Bad request\"}"},
        {EIO_ERROR_FORBIDDEN, 403, "{\"code\":4,\"message\":\"Forbidden\"}"},
        {EIO_ERROR_BAD_VERSION, 400, "{\"code\":5,\"message\":\"Unsupported protocol version\"}"},
    };
    struct builder out = {0};
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        builder_clear(&out);
        eio_write_error(&out, cases[i].error, BYTES(""));
        cr_expect(bytes_eq_str(builder_bytes(&out), cases[i].body), "%s", cases[i].body);
        cr_expect_eq(eio_error_http(cases[i].error), cases[i].http);
    }
    builder_clear(&out);
    eio_write_error(&out, EIO_ERROR_FORBIDDEN, BYTES("no \"entry\""));
    cr_expect(bytes_eq_str(builder_bytes(&out), "{\"code\":4,\"message\":\"no \\\"entry\\\"\"}"));
    builder_reset(&out);
}
