/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests of Socket.IO nodes and our answers, beside what a stock adapter writes.
 */
#include <criterion/criterion.h>

#include "codec/adapter_request.h"
#include "codec/base/status.h"
#include "codec/event.h"
#include "codec/mp.h"
#include "tests/support/script_feed.h"
#include "tests/support/vectors.h"

TestSuite(adapter_request, .timeout = 60);

static const char *const types[] = {
    "SOCKETS", "ALL_ROOMS", "JOIN", "LEAVE", "DISCONNECT", "FETCH", "SERVER_EMIT", "BROADCAST_ACK"};

static void show_json(const char *label, struct bytes packed, struct builder *out)
{
    struct builder json = {0};
    builder_str(out, label);
    cr_expect_eq(mp_to_json(packed, NULL, &json), 0);
    vectors_quote(out, builder_bytes(&json));
    builder_reset(&json);
}

static void show_names(const char *label, struct adapter_names names, struct builder *out)
{
    struct bytes name;
    uint32_t left = names.count;
    builder_str(out, label);
    for (const char *between = ""; adapter_names_next(&names, &name); between = ",", left--) {
        builder_str(out, between);
        vectors_quote(out, name);
    }
    builder_byte(out, ']');
    cr_expect_eq(left, 0);
}

static void show(const struct adapter_request *request, struct builder *out)
{
    builder_printf(out, "%s uid=", types[request->type]);
    vectors_quote(out, request->uid);
    if (request->id.len > 0) {
        show_json(" id=", request->id, out);
    }
    if (request->sid.len > 0) {
        builder_str(out, " sid=");
        vectors_quote(out, request->sid);
    }
    show_names(" rooms=[", request->options.rooms, out);
    show_names(" except=[", request->options.except, out);
    show_names(" targets=[", request->targets, out);
    builder_str(out, request->close ? " close" : "");
    builder_str(out, request->presence ? " presence" : "");
    if (request->options.timeout_ms > 0) {
        builder_printf(out, " timeout=%u", (unsigned)request->options.timeout_ms);
    }
    if (request->type == ADAPTER_BROADCAST_ACK) {
        builder_str(out, " nsp=");
        vectors_quote(out, request->packet.nsp);
        show_json(" ", request->packet.data, out);
    }
}

static int take_and_show(struct bytes payload, struct builder *out)
{
    struct adapter_request request;
    struct buf *packed;
    int status = adapter_request_take(payload, &packed);
    if (status < 0) {
        return status;
    }
    status = adapter_request_decode(buf_bytes(packed), &request);
    if (status == 0) {
        show(&request, out);
    }
    buf_unref(packed);
    return status;
}

static void decode(struct script_feed *feed, struct builder *out)
{
    struct bytes payload = {0};
    int status = take_and_show(payload, out);
    while (script_feed_grow(feed, &payload)) {
        builder_clear(out);
        status = take_and_show(payload, out);
    }
    if (status < 0) {
        builder_printf(out, "error %s", status_name(status));
    }
}

Test(adapter_request, vectors)
{
    script_feed_file("codec/adapter_request.txt", decode);
}

/* What a stock adapter was seen to write for the same calls; `presence` is ours. */
Test(adapter_request, writes_what_a_stock_adapter_writes)
{
    struct buf *rooms[] = {buf_new(BYTES("x")), buf_new(BYTES("\"y\""))};
    struct adapter_change change = {
        .type = ADAPTER_JOIN,
        .uid = BYTES("7r695z"),
        .room = BYTES("room1"),
        .targets = rooms,
        .target_count = 2,
    };
    struct builder out = {0};
    adapter_change_write(&change, &out);
    cr_expect(bytes_eq_str(builder_bytes(&out),
        "{\"uid\":\"7r695z\",\"type\":2,\"opts\":{\"rooms\":[\"room1\"],\"except\":[]},"
        "\"rooms\":[\"x\",\"\\\"y\\\"\"],\"presence\":true}"));
    builder_clear(&out);
    change.type = ADAPTER_LEAVE;
    change.target_count = 1;
    adapter_change_write(&change, &out);
    cr_expect(bytes_eq_str(builder_bytes(&out),
        "{\"uid\":\"7r695z\",\"type\":3,\"opts\":{\"rooms\":[\"room1\"],\"except\":[]},"
        "\"rooms\":[\"x\"]}"));
    builder_clear(&out);
    change.type = ADAPTER_DISCONNECT;
    adapter_change_write(&change, &out);
    cr_expect(bytes_eq_str(builder_bytes(&out),
        "{\"uid\":\"7r695z\",\"type\":4,\"opts\":{\"rooms\":[\"room1\"],\"except\":[]},"
        "\"close\":true}"));
    builder_reset(&out);
    buf_unref(rooms[0]);
    buf_unref(rooms[1]);
}

Test(adapter_request, answers_are_as_stock_nodes_expect)
{
    static const char ack[] = "\x83\xa4type\x09\xa9requestId\xa2id\xa6packet\x92\x01\xc0";
    struct bytes id = BYTES("\xa2id");
    struct bytes number = BYTES("\x07");
    struct builder out = {0};
    cr_expect_eq(adapter_answer_list(id, "sockets", BYTES("\"a\",\"b\""), &out), 0);
    cr_expect(
        bytes_eq_str(builder_bytes(&out), "{\"requestId\":\"id\",\"sockets\":[\"a\",\"b\"]}"));
    builder_clear(&out);
    cr_expect_eq(adapter_answer_list(number, "rooms", bytes_of(NULL, 0), &out), 0);
    cr_expect(bytes_eq_str(builder_bytes(&out), "{\"requestId\":7,\"rooms\":[]}"));
    builder_clear(&out);
    cr_expect_eq(adapter_answer_done(id, &out), 0);
    cr_expect(bytes_eq_str(builder_bytes(&out), "{\"requestId\":\"id\"}"));
    builder_clear(&out);
    cr_expect_eq(adapter_answer_server(id, &out), 0);
    cr_expect(bytes_eq_str(builder_bytes(&out), "{\"type\":6,\"requestId\":\"id\",\"data\":null}"));
    builder_clear(&out);
    cr_expect_eq(adapter_answer_count(id, 12, &out), 0);
    cr_expect(
        bytes_eq_str(builder_bytes(&out), "{\"type\":8,\"requestId\":\"id\",\"clientCount\":12}"));
    builder_clear(&out);
    cr_expect_eq(adapter_answer_ack(id, BYTES("\x92\x01\xc0"), &out), 0);
    cr_expect(bytes_eq(builder_bytes(&out), bytes_of(ack, sizeof(ack) - 1)));
    builder_reset(&out);
    out.max = 10;
    cr_expect_eq(adapter_answer_done(id, &out), STATUS_TOO_LARGE);
    builder_reset(&out);
}

Test(adapter_request, answers_to_our_own_question_are_read)
{
    static const struct {
        const char *payload;
        int status;
        const char *users; /* one after the other, "-" for none */
    } cases[] = {
        {"{\"requestId\":\"n1\",\"sockets\":[]}", 0, ""},
        {"{\"requestId\":\"n1\",\"sockets\":[{\"id\":\"a\",\"data\":{\"userId\":\"\\u0061\"}},"
         "{\"data\":{\"userId\":\"b\"}},{},7,{\"data\":null},{\"data\":{\"userId\":7}},"
         "{\"data\":{\"userId\":\"x/y\"}},{\"data\":{\"userId\":\"\"}}]}",
            0, "ab------"},
        {"{\"requestId\":\"n2\",\"sockets\":[]}", STATUS_NOT_FOUND, ""},
        {"{\"requestId\":\"n11\",\"sockets\":[]}", STATUS_NOT_FOUND, ""},
        {"{\"type\":8,\"requestId\":\"n1\",\"clientCount\":1}", STATUS_NOT_FOUND, ""},
        {"{\"requestId\":\"n1\",\"rooms\":[]}", STATUS_INVALID, ""},
        {"{\"requestId\":\"n1\",\"sockets\":{}}", STATUS_INVALID, ""},
        {"{\"requestId\":\"n1\",\"sockets\":[}", STATUS_INVALID, ""},
        {"{\"requestId\":\"n1", STATUS_INVALID, ""},
        {"\x83", STATUS_NOT_FOUND, ""},
        {"", STATUS_NOT_FOUND, ""},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct json_scan_iter sockets;
        struct builder users = {0};
        char at[NAMES_USER_MAX];
        struct bytes user;
        int status = adapter_fetched_begin(bytes_str(cases[i].payload), BYTES("n1"), &sockets);
        cr_expect_eq(status, cases[i].status, "%s: %d", cases[i].payload, status);
        while (status == 0 && adapter_fetched_next(&sockets, at, &user)) {
            builder_add(&users, user.len > 0 ? user : BYTES("-"));
        }
        cr_expect(bytes_eq_str(builder_bytes(&users), cases[i].users), "%zu", i);
        builder_reset(&users);
    }
    struct builder out = {0};
    adapter_fetch_write(BYTES("n"), BYTES("n1"), BYTES("a\"b"), &out);
    cr_expect(bytes_eq_str(builder_bytes(&out),
        "{\"uid\":\"n\",\"requestId\":\"n1\",\"type\":5,\"opts\":{\"rooms\":[\"a\\\"b\"],"
        "\"except\":[]}}"));
    builder_reset(&out);
}

Test(adapter_request, a_socket_is_told_with_its_rooms)
{
    struct adapter_socket socket = {
        .sid = BYTES("sid"), .user = BYTES("4\"2"), .role = BYTES("admin")};
    struct builder out = {0};
    adapter_socket_begin(&socket, &out);
    adapter_socket_room(BYTES("a"), &out);
    adapter_socket_end(&out);
    cr_expect(bytes_eq_str(builder_bytes(&out),
        "{\"id\":\"sid\",\"handshake\":{\"headers\":{},\"query\":{},\"auth\":{}},"
        "\"data\":{\"userId\":\"4\\\"2\",\"role\":\"admin\"},\"rooms\":[\"sid\",\"a\"]}"));
    builder_reset(&out);
}

Test(adapter_request, a_socket_is_told_with_how_it_came)
{
    struct adapter_socket socket = {.sid = BYTES("sid"),
        .user = BYTES("42"),
        .address = BYTES("::1"),
        .issued_ms = 1795974120123,
        .transport = "polling",
        .cross_domain = true};
    struct builder out = {0};
    adapter_socket_begin(&socket, &out);
    adapter_socket_end(&out);
    cr_expect(bytes_eq_str(builder_bytes(&out),
        "{\"id\":\"sid\",\"handshake\":{\"headers\":{},\"query\":{\"EIO\":\"4\",\"transport\":"
        "\"polling\"},\"auth\":{},\"url\":\"/socket.io/?EIO=4&transport=polling\",\"secure\":"
        "false,\"xdomain\":true,\"issued\":1795974120123,\"time\":\"Sun Nov 29 2026 17:42:00 "
        "GMT+0000 (Coordinated Universal Time)\",\"address\":\"::1\"},\"data\":{\"userId\":"
        "\"42\"},\"rooms\":[\"sid\"]}"));
    builder_reset(&out);
}
