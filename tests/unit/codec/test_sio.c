/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Socket.IO packets as text, by vectors and to the byte of stock servers.
 */
#include <criterion/criterion.h>
#include <stdlib.h>

#include "codec/base/status.h"
#include "codec/json_scan.h"
#include "codec/sio.h"
#include "tests/support/script_feed.h"
#include "tests/support/vectors.h"

TestSuite(sio, .timeout = 60);

static const char *const type_names[] = {
    "connect", "disconnect", "event", "ack", "connect_error", "binary_event", "binary_ack"};

static void show_event(struct bytes payload, struct builder *out)
{
    char at[SIO_EVENT_NAME_MAX];
    struct sio_event event;
    int status = sio_event_split(payload, at, &event);
    cr_expect_eq(status, 0);
    if (status == 0) {
        builder_str(out, event.name_is_number ? " name=#" : " name=");
        vectors_quote(out, event.name);
        builder_str(out, " args=");
        vectors_quote(out, event.args);
    }
}

static void show_packet(const struct sio_packet *packet, struct builder *out)
{
    builder_str(out, type_names[packet->type]);
    if (packet->attachments > 0) {
        builder_printf(out, " attachments=%u", packet->attachments);
    }
    builder_str(out, " nsp=");
    vectors_quote(out, packet->nsp);
    if (packet->has_id) {
        builder_str(out, " id=");
        builder_u64(out, packet->id);
    }
    if (packet->payload.len > 0) {
        builder_str(out, " payload=");
        vectors_quote(out, packet->payload);
    }
    if (packet->type == SIO_EVENT || packet->type == SIO_BINARY_EVENT) {
        show_event(packet->payload, out);
    } else if (packet->type == SIO_ACK || packet->type == SIO_BINARY_ACK) {
        builder_str(out, " args=");
        vectors_quote(out, json_scan_inside(packet->payload));
    }
    builder_str(out, packet->json_flags & JSON_SCAN_NUL ? " nul" : "");
    builder_str(out, packet->json_flags & JSON_SCAN_SURROGATE ? " surrogate" : "");
}

/* A packet is decoded when it is complete; every beginning of it must be harmless. */
static void decode(struct script_feed *feed, struct builder *out)
{
    struct bytes so_far;
    while (script_feed_grow(feed, &so_far)) {
        struct sio_packet packet;
        int status = sio_decode(so_far, &packet);
        builder_clear(out);
        if (status < 0) {
            builder_printf(out, "error %s", status_name(status));
        } else {
            show_packet(&packet, out);
        }
    }
}

Test(sio, decodes_the_vectors)
{
    script_feed_file("codec/sio.txt", decode);
}

Test(sio, refuses_the_empty_text)
{
    struct sio_packet packet;
    cr_expect_eq(sio_decode(BYTES(""), &packet), STATUS_PROTO);
}

/* C3, C5, C9: long things are refused at their limit. */
Test(sio, limits_lengths)
{
    static const struct {
        const char *before;
        char fill;
        size_t count;
        const char *after;
        int status;
    } cases[] = {
        {"0/", 'n', SIO_NSP_MAX - 1, ",", 0},
        {"0/", 'n', SIO_NSP_MAX, ",", STATUS_TOO_LARGE},
        {"0/", 'n', 65536, "", STATUS_TOO_LARGE},
        {"3", '9', 400, "[]", STATUS_PROTO}, /* of nothing that was asked */
        {"5", '1', 400, "-[\"a\"]", STATUS_TOO_LARGE},
        {"2[\"a\",", '[', 65536, "", STATUS_TOO_LARGE},
        {"2", '[', 1000000, "", STATUS_TOO_LARGE},
        {"2[\"", 'a', 65536, "\"]", 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct builder text = {0};
        builder_str(&text, cases[i].before);
        for (size_t n = 0; n < cases[i].count; n++) {
            builder_byte(&text, cases[i].fill);
        }
        builder_str(&text, cases[i].after);
        struct sio_packet packet;
        int status = sio_decode(builder_bytes(&text), &packet);
        cr_expect_eq(status, cases[i].status, "%zu: %d", i, status);
        builder_reset(&text);
    }
}

Test(sio, splits_names_with_escapes_and_limits_them)
{
    char at[SIO_EVENT_NAME_MAX];
    struct sio_event event;
    cr_expect_eq(sio_event_split(BYTES("[\"\\u00e9\\n\"]"), at, &event), 0);
    cr_expect(bytes_eq(event.name, BYTES("\xc3\xa9\n")));
    cr_expect_eq(event.name.at, at);
    cr_expect_eq(sio_event_split(BYTES("[\"\\ud800\"]"), at, &event), STATUS_UTF8);
    static const char *const bad[] = {"[]", "{}", "[{}]", "[null]", "\"a\"", ""};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        cr_expect_eq(sio_event_split(bytes_str(bad[i]), at, &event), STATUS_PROTO, "%s", bad[i]);
    }
    char text[SIO_EVENT_NAME_MAX + 6];
    memset(text, 'a', sizeof(text));
    memcpy(text, "[\"", 2);
    memcpy(text + SIO_EVENT_NAME_MAX + 2, "\"]", 2);
    cr_expect_eq(sio_event_split(bytes_of(text, SIO_EVENT_NAME_MAX + 4), at, &event), 0);
    memcpy(text + SIO_EVENT_NAME_MAX + 2, "a\"]", 3);
    cr_expect_eq(
        sio_event_split(bytes_of(text, SIO_EVENT_NAME_MAX + 5), at, &event), STATUS_TOO_LARGE);
}

static void expect_text(struct builder *out, const char *expected)
{
    struct bytes got = builder_bytes(out);
    cr_expect(bytes_eq_str(got, expected), "%.*s instead of %s", (int)got.len, got.at, expected);
    builder_clear(out);
}

Test(sio, writes_what_stock_servers_write)
{
    struct builder out = {0};
    struct bytes none = BYTES("");
    struct bytes sid = BYTES("wZX3oN0bSVIhsaknAAAI");
    sio_write_connect(&out, BYTES("/"), sid, none);
    expect_text(&out, "40{\"sid\":\"wZX3oN0bSVIhsaknAAAI\"}");
    sio_write_connect(&out, BYTES("/admin"), sid, BYTES("p"));
    expect_text(&out, "40/admin,{\"sid\":\"wZX3oN0bSVIhsaknAAAI\",\"pid\":\"p\"}");
    sio_write_connect_error(&out, BYTES("/random"), BYTES("Invalid namespace"), none);
    expect_text(&out, "44/random,{\"message\":\"Invalid namespace\"}");
    sio_write_connect_error(
        &out, BYTES("/mw"), BYTES("not authorized"), BYTES("{\"code\":\"E1\"}"));
    expect_text(&out, "44/mw,{\"message\":\"not authorized\",\"data\":{\"code\":\"E1\"}}");
    sio_write_disconnect(&out, none);
    expect_text(&out, "41");
    sio_write_disconnect(&out, BYTES("/admin"));
    expect_text(&out, "41/admin,");

    struct sio_event_out event = {.name = BYTES("foo")};
    sio_write_event(&out, &(struct sio_head){.nsp = BYTES("/")}, &event);
    expect_text(&out, "42[\"foo\"]");
    sio_write_event(&out, &(struct sio_head){.has_id = true, .id = 12}, &event);
    expect_text(&out, "4212[\"foo\"]");
    event = (struct sio_event_out){.name = BYTES("hi"), .offset = BYTES("Q7uAB0N")};
    sio_write_event(&out, &(struct sio_head){.nsp = none}, &event);
    expect_text(&out, "42[\"hi\",\"Q7uAB0N\"]");
    event = (struct sio_event_out){
        .name = BYTES("message-back"), .args = BYTES("1,\"2\",{\"3\":[true]}")};
    sio_write_event(&out, &(struct sio_head){.nsp = none}, &event);
    expect_text(&out, "42[\"message-back\",1,\"2\",{\"3\":[true]}]");
    event = (struct sio_event_out){.name = BYTES("7"),
        .name_is_number = true,
        .args = BYTES("{\"_placeholder\":true,\"num\":0}")};
    sio_write_event(&out, &(struct sio_head){.nsp = BYTES("/admin"), .attachments = 1}, &event);
    expect_text(&out, "451-/admin,[7,{\"_placeholder\":true,\"num\":0}]");

    sio_write_ack(&out, &(struct sio_head){.id = 456}, BYTES("1,\"2\",{\"3\":[false]}"));
    expect_text(&out, "43456[1,\"2\",{\"3\":[false]}]");
    sio_write_ack(&out, &(struct sio_head){.nsp = BYTES("/admin"), .id = 13}, none);
    expect_text(&out, "43/admin,13[]");
    sio_write_ack(&out, &(struct sio_head){.id = 789, .attachments = 2}, BYTES("1"));
    expect_text(&out, "462-789[1]");
    builder_reset(&out);
}

Test(sio, counts_placeholders)
{
    cr_expect_eq(sio_placeholders_check(BYTES("[\"a\"]"), 1), 0);
    cr_expect_eq(sio_placeholders_check(BYTES("[{\"a\":{\"_placeholder\":true,\"num\":1}},"
                                              "{\"num\":0,\"_placeholder\":true}]"),
                     2),
        2);
    cr_expect_eq(sio_placeholders_check(BYTES("[{\"_placeholder\":true,\"num\":0},"
                                              "{\"_placeholder\":true,\"num\":0}]"),
                     1),
        2, "one attachment at two places");
    struct builder many = {0};
    builder_byte(&many, '[');
    for (unsigned i = 0; i <= SIO_PLACEHOLDERS_MAX; i++) {
        builder_str(&many, i > 0 ? "," : "");
        builder_str(&many, "{\"_placeholder\":true,\"num\":0}");
    }
    builder_byte(&many, ']');
    cr_expect_eq(sio_placeholders_check(builder_bytes(&many), 1), STATUS_PROTO);
    builder_reset(&many);
}

Test(sio, ids_are_read_as_stock_parsers_read_them)
{
    static const struct {
        const char *text;
        bool has_id;
        uint64_t id;
    } rows[] = {
        {"2007[\"a\"]", true, 7},
        {"2000[\"a\"]", true, 0},
        {"2/nsp,0012[\"a\"]", true, 12},
        {"3007[]", true, 7},
        {"29007199254740993[\"a\"]", true, UINT64_C(9007199254740992)},
        {"29007199254740995[\"a\"]", true, UINT64_C(9007199254740996)},
        {"21152921504606846976[\"a\"]", true, SIO_ID_MAX},
        {"21152921504606846977[\"a\"]", false, 0},
        {"2999999999999999999999999[\"a\"]", false, 0},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct sio_packet packet;
        cr_assert_eq(sio_decode(bytes_str(rows[i].text), &packet), 0, "%s", rows[i].text);
        cr_expect_eq(packet.has_id, rows[i].has_id, "%s", rows[i].text);
        cr_expect_eq(packet.id, rows[i].id, "%s", rows[i].text);
    }
}
