/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Broadcasts of the classic adapter, beside what a stock adapter and a stock emitter write.
 */
#include <criterion/criterion.h>

#include "codec/adapter_wire.h"
#include "codec/base/status.h"
#include "codec/mp.h"
#include "tests/support/script_feed.h"
#include "tests/support/vectors.h"

TestSuite(adapter_wire, .timeout = 60);

static void show_names(struct adapter_names names, struct builder *out)
{
    struct bytes name;
    const char *between = "";
    uint32_t count = names.count;
    uint32_t seen = 0;
    builder_byte(out, '[');
    for (; adapter_names_next(&names, &name); seen++) {
        builder_str(out, between);
        if (name.len == 0) {
            builder_str(out, "\"\"");
        }
        vectors_quote(out, name);
        between = ",";
    }
    builder_byte(out, ']');
    cr_expect_eq(seen, count);
}

static void show(const struct adapter_broadcast *broadcast, struct builder *out)
{
    struct event *event = NULL;
    struct builder json = {0};
    builder_str(out, "uid=");
    vectors_quote(out, broadcast->uid);
    builder_str(out, " nsp=");
    vectors_quote(out, broadcast->nsp);
    builder_str(out, " rooms=");
    show_names(broadcast->rooms, out);
    builder_str(out, " except=");
    show_names(broadcast->except, out);
    builder_str(out, " flags=");
    builder_str(out, broadcast->flags & ADAPTER_VOLATILE ? "volatile" : "");
    builder_str(out, broadcast->flags & ADAPTER_LOCAL ? "local" : "");
    builder_str(out, broadcast->flags & ADAPTER_URGENT ? "urgent" : "");
    builder_byte(out, ' ');
    cr_expect_eq(event_from_msgpack(broadcast->data, 0, &event), 0);
    cr_expect_eq(mp_to_json(event->data, NULL, &json), 0);
    vectors_quote(out, builder_bytes(&json));
    builder_reset(&json);
    event_unref(event);
}

static void decode(struct script_feed *feed, struct builder *out)
{
    struct bytes payload = {0};
    struct adapter_broadcast broadcast;
    int status = adapter_broadcast_decode(payload, &broadcast);
    while (script_feed_grow(feed, &payload)) {
        builder_clear(out);
        status = adapter_broadcast_decode(payload, &broadcast);
        if (status == 0) {
            show(&broadcast, out);
        }
    }
    if (status < 0) {
        builder_printf(out, "error %s", status_name(status));
    }
}

Test(adapter_wire, broadcast_vectors)
{
    script_feed_file("codec/adapter_broadcast.txt", decode);
}

Test(adapter_wire, channels_are_taken_apart)
{
    static const struct {
        const char *name;
        int status;
        enum adapter_channel channel;
        const char *nsp;
        const char *room;
        bool same; /* writing it again gives the same */
    } cases[] = {
        {"socket.io#/#", 0, ADAPTER_BROADCAST, "/", "", true},
        {"socket.io#/#room1#", 0, ADAPTER_BROADCAST, "/", "room1", true},
        {"socket.io#/#a#b##", 0, ADAPTER_BROADCAST, "/", "a#b#", true},
        {"socket.io#/admin#r#", 0, ADAPTER_BROADCAST, "/admin", "r", true},
        {"socket.io-request#/#", 0, ADAPTER_REQUEST, "/", "", true},
        {"socket.io-response#/x#", 0, ADAPTER_RESPONSE, "/x", "", true},
        {"socket.io-response#/#abc123#", 0, ADAPTER_RESPONSE, "/", "abc123", true},
        {"socket.io#/", 0, ADAPTER_BROADCAST, "/", "", false},
        {"socket.io#/#room", 0, ADAPTER_BROADCAST, "/", "room", false},
        {"socket.io#", STATUS_NOT_FOUND, 0, "", "", false},
        {"socket.io##", STATUS_NOT_FOUND, 0, "", "", false},
        {"socket.io", STATUS_NOT_FOUND, 0, "", "", false},
        {"socket.iox#/#", STATUS_NOT_FOUND, 0, "", "", false},
        {"socket.io-other#/#", STATUS_NOT_FOUND, 0, "", "", false},
        {"other#/#", STATUS_NOT_FOUND, 0, "", "", false},
        {"", STATUS_NOT_FOUND, 0, "", "", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        enum adapter_channel channel = ADAPTER_BROADCAST;
        struct bytes nsp = {0};
        struct bytes room = {0};
        struct bytes name = bytes_str(cases[i].name);
        int status = adapter_channel_parse(BYTES("socket.io"), name, &channel, &nsp, &room);
        cr_expect_eq(status, cases[i].status, "%s: %d", cases[i].name, status);
        cr_expect_eq(channel, cases[i].channel, "%s", cases[i].name);
        cr_expect(bytes_eq_str(nsp, cases[i].nsp), "%s", cases[i].name);
        cr_expect(bytes_eq_str(room, cases[i].room), "%s", cases[i].name);
        if (status < 0) {
            continue;
        }
        struct builder out = {0};
        adapter_channel_write(channel, BYTES("socket.io"), nsp, room, &out);
        cr_expect_eq(bytes_eq(builder_bytes(&out), name), cases[i].same, "%s", cases[i].name);
        builder_reset(&out);
    }
}

/* The bytes a stock Node adapter was seen to publish for the same emit. */
Test(adapter_wire, writes_what_a_stock_adapter_writes)
{
    static const char expected[] = "\x93\xa6"
                                   "7r695z\x83\xa4type\x02\xa4"
                                   "data\x92\xa2hi\x02\xa3nsp\xa1/\x83\xa5rooms\x91\xa5room1"
                                   "\xa6"
                                   "except\x90\xa5"
                                   "flags\x80";
    struct bytes rooms[] = {BYTES("room1")};
    struct event *event;
    cr_assert_eq(event_from_json(BYTES(" [ \"hi\" , 2 ] "), NULL, 0, 0, &event), 0);
    struct adapter_emit emit = {
        .uid = BYTES("7r695z"), .nsp = BYTES("/"), .event = event, .rooms = rooms, .room_count = 1};
    struct builder out = {0};
    cr_expect_eq(adapter_broadcast_encode(&emit, &out), 0);
    cr_expect(bytes_eq(builder_bytes(&out), bytes_of(expected, sizeof(expected) - 1)));
    builder_clear(&out);
    adapter_emit_channel(&emit, BYTES("socket.io"), &out);
    cr_expect(bytes_eq(builder_bytes(&out), BYTES("socket.io#/#room1#")));
    builder_clear(&out);
    emit.room_count = 0;
    adapter_emit_channel(&emit, BYTES("socket.io"), &out);
    cr_expect(bytes_eq(builder_bytes(&out), BYTES("socket.io#/#")));
    builder_reset(&out);
    out.max = 20;
    builder_str(&out, "keep");
    cr_expect_eq(adapter_broadcast_encode(&emit, &out), STATUS_TOO_LARGE);
    cr_expect(bytes_eq(builder_bytes(&out), BYTES("keep")), "nothing of it stays");
    builder_reset(&out);
    event_unref(event);
}

Test(adapter_wire, what_it_writes_it_reads)
{
    struct buf *attachment = buf_new(BYTES("\x01\x02"));
    struct event *event;
    struct bytes json = BYTES("[\"up\",{\"_placeholder\":true,\"num\":0},\"x\"]");
    cr_assert_eq(event_from_json(json, &attachment, 1, 0, &event), 0);
    struct bytes rooms[] = {BYTES("a"), BYTES("b#c")};
    struct bytes except[] = {BYTES("d")};
    struct adapter_emit emit = {
        .uid = BYTES("u"),
        .nsp = BYTES("/n"),
        .event = event,
        .rooms = rooms,
        .room_count = 2,
        .except = except,
        .except_count = 1,
        .flags = ADAPTER_VOLATILE | ADAPTER_LOCAL | ADAPTER_URGENT,
    };
    struct builder out = {0};
    struct builder shown = {0};
    struct adapter_broadcast broadcast;
    cr_assert_eq(adapter_broadcast_encode(&emit, &out), 0);
    cr_assert_eq(adapter_broadcast_decode(builder_bytes(&out), &broadcast), 0);
    show(&broadcast, &shown);
    cr_expect(bytes_eq(builder_bytes(&shown),
        BYTES("uid=u nsp=/n rooms=[a,b#c] except=[d] flags=volatilelocalurgent "
              "[\"up\",\"AQI=\",\"x\"]")));
    builder_reset(&shown);
    builder_reset(&out);
    event_unref(event);
    buf_unref(attachment);
}
