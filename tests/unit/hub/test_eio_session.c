/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Engine.IO sessions: the handshake, heartbeats, and what ends one.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "hub/session/sid.h"
#include "tests/unit/hub/session_world.h"

TestSuite(eio_session, .timeout = 60, .init = world_begin, .fini = world_end);

Test(eio_session, packets_that_end_it_and_packets_that_do_not)
{
    static const struct {
        const char *text;
        bool ends;
        enum close_reason reason;
    } cases[] = {
        {"0", false, 0},
        {"0{}", false, 0},
        {"5", false, 0},
        {"6", false, 0},
        {"3", false, 0},
        {"3probe", false, 0},
        {"2", true, CLOSE_PARSE},
        {"2probe", true, CLOSE_PARSE},
        {"1", true, CLOSE_NORMAL},
        {"", true, CLOSE_PARSE},
        {"7", true, CLOSE_PARSE},
        {"9x", true, CLOSE_PARSE},
        {"abc", true, CLOSE_PARSE},
        {"b", true, CLOSE_PARSE},
        {"bAQID", true, CLOSE_PARSE},
        {"4", true, CLOSE_PARSE},
        {"4abc", true, CLOSE_PARSE},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        unsigned peer = world_joined_peer();
        fake_text(peer, cases[i].text);
        if (cases[i].ends) {
            world_assert_closing(peer, cases[i].reason);
            cr_assert(strncmp(world_diary(), "closed /", 8) == 0, "%s", cases[i].text);
        } else {
            world_assert_open(peer);
            cr_assert_str_eq(world_diary(), "");
        }
    }
}

Test(eio_session, open_packet_has_the_five_keys_and_a_new_sid)
{
    char text[2][200];
    for (int i = 0; i < 2; i++) {
        unsigned peer = world_fresh_peer();
        strcpy(text[i], fake_sent(peer));
    }
    cr_assert_eq(strncmp(text[0], "0{\"sid\":\"", 9), 0);
    cr_assert_str_eq(text[0] + 9 + SID_LEN,
        "\",\"upgrades\":[],\"pingInterval\":300,\"pingTimeout\":200,\"maxPayload\":1000}");
    cr_assert_neq(memcmp(text[0] + 9, text[1] + 9, 20), 0);
}

/* --- heartbeat ----------------------------------------------------------------------------- */

Test(eio_session, pings_an_interval_after_the_pong)
{
    unsigned peer = world_joined_peer();
    fake_pass(WORLD_PING_INTERVAL - 1);
    cr_assert_str_eq(fake_sent(peer), "");
    for (int round = 0; round < 4; round++) { /* the time's low 32 bits wrap on the way */
        fake_pass(1);
        cr_assert_str_eq(fake_sent(peer), "2");
        fake_pass(WORLD_PING_TIMEOUT - 1);
        world_assert_open(peer);
        fake_text(peer, "3");
        fake_pass(WORLD_PING_INTERVAL - 1);
        cr_assert_str_eq(fake_sent(peer), "");
    }
}

Test(eio_session, ends_without_a_pong)
{
    unsigned peer = world_joined_peer();
    fake_pass(WORLD_PING_INTERVAL);
    fake_pass(WORLD_PING_TIMEOUT);
    world_assert_closing(peer, CLOSE_PING_TIMEOUT);
    cr_assert_str_eq(world_diary(), "closed / ping_timeout\n");
    fake_gone(peer, CLOSE_PEER);
    cr_assert_str_eq(world_diary(), "", "closed is told once");
}

Test(eio_session, one_other_packet_prolongs_the_wait_once)
{
    unsigned peer = world_joined_peer();
    fake_pass(WORLD_PING_INTERVAL);
    fake_pass(100);
    fake_text(peer, "42[\"a\"]");
    fake_pass(150);
    world_assert_open(peer);
    fake_text(peer, "42[\"a\"]");
    fake_pass(49);
    world_assert_open(peer);
    fake_pass(1);
    world_assert_closing(peer, CLOSE_PING_TIMEOUT);
}

Test(eio_session, a_process_that_stood_still_looks_again_before_it_ends_a_session)
{
    unsigned peer = world_joined_peer();
    fake_pass(WORLD_PING_INTERVAL);
    fake_pass(WORLD_PING_TIMEOUT + 30000);
    world_assert_open(peer);
    fake_text(peer, "3");
    fake_pass(WORLD_PING_INTERVAL - 1);
    world_assert_open(peer);
}

Test(eio_session, closes_who_joins_nothing_although_it_answers_pings)
{
    unsigned peer = world_peer();
    for (int i = 0; i < 3; i++) {
        fake_pass(WORLD_PING_INTERVAL);
        fake_text(peer, "3");
    }
    fake_pass(99);
    world_assert_open(peer);
    fake_pass(1);
    world_assert_closing(peer, CLOSE_AUTH_TIMEOUT);
}

Test(eio_session, who_left_every_namespace_stays)
{
    unsigned peer = world_joined_peer();
    fake_text(peer, "41");
    cr_assert_str_eq(world_diary(), "closed / peer\n");
    fake_pass(WORLD_PING_INTERVAL);
    cr_assert_str_eq(fake_sent(peer), "2");
    for (int i = 0; i < 5; i++) {
        fake_text(peer, "3");
        fake_pass(WORLD_PING_INTERVAL);
    }
    world_assert_open(peer);
}
