/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sessions of the plain WebSocket: authentication before the upgrade, packets, heartbeats and ends.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "actors/deliver/socket.h"
#include "hub/session/session.h"
#include "tests/unit/hub/session_world.h"

TestSuite(plain_session, .timeout = 60, .init = world_begin, .fini = world_end);

static unsigned json_peer(void)
{
    unsigned peer = world_plain("peal.json.v1");
    cr_assert_eq(fake_answer(peer)->status, 101);
    world_diary();
    return peer;
}

Test(plain_session, is_authenticated_before_the_upgrade)
{
    unsigned peer = world_plain("peal.token.abc, peal.json.v1, peal.msgpack.v1");
    cr_assert_eq(fake_answer(peer)->status, 101);
    cr_assert(strstr(fake_answer(peer)->head, "Sec-WebSocket-Protocol: peal.json.v1\r\n"));
    cr_assert(!strstr(fake_answer(peer)->head, "abc"));
    cr_assert_str_eq(
        world_diary(), "connect 0 / auth= bearer= proto=abc query= from=192.0.2.7 new\nopened /\n");
    cr_assert(fake_is_authenticated(peer));
    cr_assert_eq(fake_message_limit(peer), 1000);
}

Test(plain_session, refusals_before_the_upgrade)
{
    static const struct {
        const char *protocols;
        unsigned status;
        const char *body;
    } cases[] = {
        {"peal.json.v1\r\nAuthorization: Bearer refuse", 401,
            "{\"error\":{\"code\":\"unauthorized\",\"message\":\"Invalid token\"}}"},
        {"peal.json.v1\r\nAuthorization: Bearer forbidden", 403,
            "{\"error\":{\"code\":\"forbidden\",\"message\":\"Not you\"}}"},
        {"other.v1", 400,
            "{\"error\":{\"code\":\"bad_request\",\"message\":"
            "\"Subprotocol peal.json.v1 or peal.msgpack.v1 is required\"}}"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        unsigned peer = world_plain(cases[i].protocols);
        cr_assert_eq(fake_answer(peer)->status, cases[i].status);
        cr_assert_str_eq(fake_answer(peer)->body, cases[i].body);
    }
    world_allow_origin = false;
    unsigned peer = world_plain("peal.json.v1");
    cr_assert_eq(fake_answer(peer)->status, 403);
}

Test(plain_session, a_token_shown_as_subprotocol_is_refused_by_a_close_code)
{
    static const struct {
        const char *protocols;
        const char *echoed;
        enum close_reason reason;
        const char *frame;
    } cases[] = {
        {"peal.json.v1, peal.token.refuse", "peal.json.v1", CLOSE_UNAUTHORIZED,
            "\x88\x0f\x11\x31Invalid token"},
        {"peal.token.forbidden, peal.msgpack.v1", "peal.msgpack.v1", CLOSE_FORBIDDEN,
            "\x88\x09\x11\x33Not you"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        unsigned peer = world_plain(cases[i].protocols);
        const struct fake_answer *answer = fake_answer(peer);
        char line[64];
        snprintf(line, sizeof(line), "Sec-WebSocket-Protocol: %s\r\n", cases[i].echoed);
        cr_assert_eq(answer->status, 101);
        cr_assert(strstr(answer->head, line));
        cr_assert(!strstr(answer->head, "token"));
        cr_assert_str_eq(answer->body, cases[i].frame);
        world_assert_closing(peer, cases[i].reason);
        cr_assert(!fake_is_authenticated(peer));
    }
    cr_assert_eq(session_layer_count(world_layer, fake_shard(0)), 0, "a session was made");
}

Test(plain_session, packets_reach_the_application)
{
    unsigned peer = json_peer();
    fake_text(peer, "[[\"a\"],[7,\"b\",{\"x\":1},2],[-3,{\"ok\":true}]]");
    cr_assert_str_eq(world_diary(), "event a data=[\"a\"] args=\n"
                                    "event b data=[\"b\",{\"x\":1},2] args={\"x\":1},2 id=7\n"
                                    "ack 3 [{\"ok\":true}]\n");
    fake_text(peer, "[[7,\"echo\",{\"x\":1}]]");
    cr_assert_str_eq(fake_sent(peer), "[[-7,{\"x\":1}]]");
    world_assert_open(peer);
}

Test(plain_session, msgpack_packets_reach_the_application_as_json)
{
    unsigned peer = world_plain("peal.msgpack.v1");
    world_diary();
    fake_message(peer, true,
        BYTES("\x91\x93\x07\xa1"
              "a\x81\xa1x\x01"));
    cr_assert_str_eq(world_diary(), "event a data=[\"a\",{\"x\":1}] args={\"x\":1} id=7\n");
    fake_pass(WORLD_PING_INTERVAL);
    cr_assert_str_eq(fake_sent(peer), "b:9191a86875623a70696e67");
    fake_message(peer, true, BYTES("\x91\x91\xa8hub:pong"));
    fake_pass(WORLD_PING_TIMEOUT);
    world_assert_open(peer);
}

Test(plain_session, bad_messages_end_it)
{
    static const struct {
        const char *text;
        enum close_reason reason;
    } cases[] = {
        {"", CLOSE_BAD_REQUEST},
        {"{}", CLOSE_BAD_REQUEST},
        {"[]", CLOSE_BAD_REQUEST},
        {"[\"a\"]", CLOSE_BAD_REQUEST},
        {"[[\"a\"]", CLOSE_BAD_REQUEST},
        {"[[0,\"a\"]]", CLOSE_BAD_REQUEST},
        {"[[\"a\"],[]]", CLOSE_BAD_REQUEST},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        unsigned peer = json_peer();
        fake_text(peer, cases[i].text);
        world_assert_closing(peer, cases[i].reason);
        cr_assert_str_eq(world_diary(), "closed / bad_request\n");
    }
    unsigned peer = json_peer();
    fake_message(peer, true, BYTES("[[\"a\"]]"));
    world_assert_closing(peer, CLOSE_BAD_REQUEST);
}

Test(plain_session, packets_behind_the_end_are_ignored)
{
    unsigned peer = world_plain("peal.json.v1");
    struct socket *socket = world_socket;
    world_diary();
    socket->ops->disconnect(socket, CLOSE_REPLACED);
    fake_text(peer, "[[\"a\"]]");
    world_assert_closing(peer, CLOSE_REPLACED);
    cr_assert_str_eq(world_diary(), "closed / replaced\n");
    cr_assert_str_eq(fake_sent(peer), "", "its reason is the close code");
}

Test(plain_session, its_end_is_that_of_the_session)
{
    unsigned peer = world_plain("peal.json.v1");
    world_diary();
    world_socket->ops->end(world_socket, CLOSE_FORBIDDEN);
    fake_pass(0);
    world_assert_closing(peer, CLOSE_FORBIDDEN);
    cr_assert_str_eq(world_diary(), "closed / forbidden\n");
}

Test(plain_session, pings_and_wants_pongs)
{
    unsigned peer = json_peer();
    fake_pass(WORLD_PING_INTERVAL);
    cr_assert_str_eq(fake_sent(peer), "[[\"hub:ping\"]]");
    fake_text(peer, "[[\"hub:pong\"]]");
    cr_assert_str_eq(world_diary(), "");
    fake_pass(WORLD_PING_INTERVAL);
    cr_assert_str_eq(fake_sent(peer), "[[\"hub:ping\"]]");
    fake_pass(WORLD_PING_TIMEOUT);
    world_assert_closing(peer, CLOSE_PING_TIMEOUT);
}

Test(plain_session, asks_with_an_id)
{
    unsigned peer = json_peer();
    uint64_t id;
    cr_assert_eq(session_ask(world_socket, BYTES("q"), BYTES("1"), &id), 0);
    fake_pass(0);
    cr_assert_str_eq(fake_sent(peer), "[[1,\"q\",1]]");
    fake_text(peer, "[[-1,true]]");
    cr_assert_str_eq(world_diary(), "ack 1 [true]\n");
}

Test(plain_session, moves_to_the_shard_of_its_user)
{
    unsigned peer = world_plain("peal.json.v1, peal.token.move");
    cr_assert_eq(fake_answer(peer)->status, 101);
    cr_assert_eq(fake_peer_shard(peer), 1);
    cr_assert_str_eq(world_diary(),
        "connect 0 / auth= bearer= proto=move query= from=192.0.2.7 new\n"
        "connect 1 / auth= bearer= proto=move query= from=192.0.2.7 new\nopened /\n");
    cr_assert_eq(world_verified, 1, "who it is goes along");
    fake_text(peer, "[[\"a\"]]");
    cr_assert_str_eq(world_diary(), "event a data=[\"a\"] args=\n");
}

Test(plain_session, is_ended_when_its_token_expires_on_the_way)
{
    unsigned peer = world_plain("peal.json.v1, peal.token.move-expires");
    world_assert_closing(peer, CLOSE_UNAUTHORIZED);
}
