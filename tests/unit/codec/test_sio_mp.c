/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Socket.IO packets of the MessagePack parser, by vectors and to the byte of stock clients.
 */
#include <criterion/criterion.h>

#include "codec/base/status.h"
#include "codec/json_scan.h"
#include "codec/sio_mp.h"
#include "tests/support/script_feed.h"
#include "tests/support/vectors.h"

TestSuite(sio_mp, .timeout = 60);

static void show_packet(const struct sio_packet *packet, struct builder *out)
{
    static const char *const names[] = {"connect", "disconnect", "event", "ack"};
    builder_str(out, names[packet->type]);
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
    if (packet->type == SIO_EVENT) {
        char at[SIO_EVENT_NAME_MAX];
        struct sio_event event;
        cr_assert_eq(sio_event_split(packet->payload, at, &event), 0);
        builder_str(out, event.name_is_number ? " name=#" : " name=");
        vectors_quote(out, event.name);
        builder_str(out, " args=");
        vectors_quote(out, event.args);
    } else if (packet->type == SIO_ACK) {
        builder_str(out, " args=");
        vectors_quote(out, json_scan_inside(packet->payload));
    }
}

/* A packet is decoded when it is complete; every beginning of it must be harmless. */
static void decode(struct script_feed *feed, struct builder *out)
{
    struct bytes so_far;
    while (script_feed_grow(feed, &so_far)) {
        struct builder text = {0};
        struct bytes found[SIO_ATTACHMENTS_MAX];
        struct mp_bins bins = {.at = found, .max = SIO_ATTACHMENTS_MAX};
        struct sio_packet packet;
        int status = sio_mp_decode(so_far, &text, &bins, &packet);
        builder_clear(out);
        if (status < 0) {
            builder_printf(out, "error %s", status_name(status));
        } else {
            show_packet(&packet, out);
        }
        builder_reset(&text);
    }
}

Test(sio_mp, decodes_the_vectors)
{
    script_feed_file("codec/sio_msgpack.txt", decode);
}

/* C9: depth is counted with the map of the packet. */
Test(sio_mp, limits_depth_and_names)
{
    for (uint32_t arrays = 30; arrays <= 32; arrays++) {
        struct builder packet = {0};
        struct builder text = {0};
        struct mp_bins bins = {0};
        struct sio_packet decoded;
        struct sio_head head = {0};
        sio_mp_begin(&packet, SIO_ACK, &head);
        for (uint32_t i = 1; i < arrays; i++) {
            mp_pack_array(&packet, 1);
        }
        mp_pack_array(&packet, 0);
        sio_mp_end(&packet, &head);
        int status = sio_mp_decode(builder_bytes(&packet), &text, &bins, &decoded);
        cr_expect_eq(status, arrays < SIO_DEPTH_MAX ? 0 : STATUS_TOO_LARGE, "%u", (unsigned)arrays);
        builder_reset(&packet);
        builder_reset(&text);
    }
    char nsp[SIO_NSP_MAX + 1];
    memset(nsp, 'n', sizeof(nsp));
    for (size_t len = SIO_NSP_MAX; len <= sizeof(nsp); len++) {
        struct builder packet = {0};
        struct builder text = {0};
        struct mp_bins bins = {0};
        struct sio_packet decoded;
        sio_mp_write_disconnect(&packet, bytes_of(nsp, len));
        int status = sio_mp_decode(builder_bytes(&packet), &text, &bins, &decoded);
        cr_expect_eq(status, len == SIO_NSP_MAX ? 0 : STATUS_TOO_LARGE);
        builder_reset(&packet);
    }
}

static void expect(struct builder *out, struct bytes expected)
{
    struct builder shown = {0};
    vectors_quote(&shown, builder_bytes(out));
    cr_expect(bytes_eq(builder_bytes(out), expected), "%.*s", (int)builder_bytes(&shown).len,
        builder_bytes(&shown).at);
    builder_reset(&shown);
    builder_clear(out);
}

Test(sio_mp, writes_what_stock_clients_read)
{
    struct builder out = {0};
    struct bytes none = BYTES("");
    struct bytes sid = BYTES("wZX3oN0bSVIhsaknAAAI");
    sio_mp_write_connect(&out, BYTES("/"), sid, none);
    expect(&out, BYTES("\x83\xa4type\0\xa4"
                       "data\x81\xa3sid\xb4wZX3oN0bSVIhsaknAAAI\xa3nsp\xa1/"));
    sio_mp_write_connect(&out, BYTES("/admin"), sid, BYTES("p"));
    expect(&out, BYTES("\x83\xa4type\0\xa4"
                       "data\x82\xa3sid\xb4wZX3oN0bSVIhsaknAAAI\xa3pid\xa1p\xa3nsp\xa6/admin"));
    cr_expect_eq(sio_mp_write_connect_error(&out, BYTES("/x"), BYTES("no"), none), 0);
    expect(&out, BYTES("\x83\xa4type\x04\xa4"
                       "data\x81\xa7message\xa2no\xa3nsp\xa2/x"));
    cr_expect_eq(
        sio_mp_write_connect_error(&out, none, BYTES("no"), BYTES("{\"code\":\"E1\"}")), 0);
    expect(&out, BYTES("\x83\xa4type\x04\xa4"
                       "data\x82\xa7message\xa2no\xa4"
                       "data\x81\xa4"
                       "code\xa2"
                       "E1\xa3nsp\xa1/"));
    sio_mp_write_disconnect(&out, BYTES("/"));
    expect(&out, BYTES("\x82\xa4type\x01\xa3nsp\xa1/"));

    struct sio_event_out event = {.name = BYTES("foo"), .args = BYTES("1,[true]")};
    struct sio_head head = {.has_id = true, .id = 12};
    cr_expect_eq(sio_mp_write_event(&out, &head, &event), 0);
    expect(&out, BYTES("\x84\xa4type\x02\xa2id\x0c\xa4"
                       "data\x93\xa3"
                       "foo\x01\x91\xc3\xa3nsp\xa1/"));
    event = (struct sio_event_out){
        .name = BYTES("7"), .name_is_number = true, .offset = BYTES("Q7uAB0N")};
    cr_expect_eq(sio_mp_write_event(&out, &(struct sio_head){.nsp = BYTES("/a")}, &event), 0);
    expect(&out, BYTES("\x83\xa4type\x02\xa4"
                       "data\x92\x07\xa7Q7uAB0N\xa3nsp\xa2/a"));
    event.args = BYTES("{");
    cr_expect_eq(sio_mp_write_event(&out, &head, &event), STATUS_INVALID);
    builder_clear(&out);

    struct buf *bin = buf_new(BYTES("\x01\x02\x03\x04"));
    head.attachments = 1;
    cr_expect_eq(
        sio_mp_write_ack(&out, &head, BYTES("{\"_placeholder\":true,\"num\":0}"), &bin), 0);
    expect(&out, BYTES("\x84\xa4type\x03\xa2id\x0c\xa4"
                       "data\x91\xc4\x04\x01\x02\x03\x04\xa3nsp\xa1/"));
    buf_unref(bin);
    builder_reset(&out);
}
