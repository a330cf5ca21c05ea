/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sessions that move between shards with what they carry, and what may happen meanwhile.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "actors/deliver/socket.h"
#include "hub/session/session.h"
#include "tests/unit/hub/session_world.h"

TestSuite(session, .timeout = 60, .init = world_begin, .fini = world_end);

/* --- moving -------------------------------------------------------------------------------- */

Test(session, moves_with_its_connect_packet)
{
    unsigned peer = world_peer();
    fake_text(peer, "40/custom,{\"token\":\"move\"}");
    cr_assert_eq(fake_peer_shard(peer), 1);
    cr_assert_str_eq(fake_sent(peer), "40/custom,{\"sid\":\"SSSSSSSSSSSSSSSSSSSSSSS\"}");
    cr_assert_str_eq(world_diary(),
        "connect 0 /custom auth={\"token\":\"move\"} bearer= proto= query= from=192.0.2.7 new\n"
        "connect 1 /custom auth={\"token\":\"move\"} bearer= proto= query= from=192.0.2.7 new\n"
        "opened /custom\n");
    cr_assert_eq(session_layer_count(world_layer, fake_shard(0)), 0);
    cr_assert_eq(session_layer_count(world_layer, fake_shard(1)), 1);
    cr_assert_eq(world_verified, 1, "who it is goes along");
    fake_text(peer, "42/custom,[\"a\"]");
    cr_assert_str_eq(world_diary(), "event a data=[\"a\"] args=\n");
    fake_pass(WORLD_PING_INTERVAL);
    cr_assert_str_eq(fake_sent(peer), "2");
}

Test(session, a_token_is_verified_once_however_its_connect_goes)
{
    static const struct {
        const char *token;
        unsigned shard;
        bool waits;
    } rows[] = {{"here", 0, false}, {"move", 1, false}, {"wait", 0, true}, {"move-wait", 1, true}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        char packet[64];
        world_verified = 0;
        unsigned peer = world_peer();
        snprintf(packet, sizeof(packet), "40{\"token\":\"%s\"}", rows[i].token);
        fake_text(peer, packet);
        if (rows[i].waits) {
            cr_assert_str_eq(fake_sent(peer), "", "%s", rows[i].token);
            world_fetch.done(&world_fetch);
            fake_pass(0);
        }
        cr_assert_eq(fake_peer_shard(peer), rows[i].shard, "%s", rows[i].token);
        cr_assert_eq(strncmp(fake_sent(peer), "40{\"sid\":", 9), 0, "%s", rows[i].token);
        cr_assert_eq(world_verified, 1, "%s: %u times", rows[i].token, world_verified);
    }
}

Test(session, keeps_its_deadlines_while_it_moves)
{
    unsigned peer = world_peer();
    fake_stall(peer, true);
    fake_text(peer, "40{\"token\":\"move\"}");
    fake_pass(WORLD_CONNECT_TIMEOUT + 1);
    world_assert_open(peer);
    fake_stall(peer, false);
    cr_assert_eq(fake_peer_shard(peer), 1);
    cr_assert_str_eq(fake_sent(peer), "40{\"sid\":\"SSSSSSSSSSSSSSSSSSSSSSS\"}");
}

Test(session, may_be_lost_while_it_moves)
{
    unsigned peer = world_peer();
    fake_stall(peer, true);
    fake_text(peer, "40{\"token\":\"move\"}");
    fake_gone(peer, CLOSE_TRANSPORT);
    cr_assert_eq(session_layer_count(world_layer, fake_shard(0)), 0);

    peer = world_peer();
    fake_fail_move(peer);
    fake_text(peer, "40{\"token\":\"move\"}");
    cr_assert_eq(session_layer_count(world_layer, fake_shard(0)), 0);
    cr_assert_eq(session_layer_count(world_layer, fake_shard(1)), 0);
}

Test(session, is_ended_when_it_arrives_where_nobody_is_taken_in)
{
    unsigned peer = world_peer();
    fake_stall(peer, true);
    fake_text(peer, "40{\"token\":\"move\"}");
    session_layer_drain(world_layer, fake_shard(1), 1000, 50);
    fake_stall(peer, false);
    world_assert_closing(peer, CLOSE_DRAINING);
}

/* --- the request's tokens ------------------------------------------------------------------ */

Test(session, forgets_the_tokens_of_the_request_after_connect)
{
    unsigned peer = world_request("EIO=4&transport=websocket&token=a%2Bb",
        "Authorization: bearer one\r\nOrigin: https://o\r\n");
    fake_text(peer, "40{\"t\":\"refuse\"}");
    fake_text(peer, "40");
    fake_text(peer, "40/custom,");
    cr_assert_str_eq(world_diary(),
        "connect 0 / auth={\"t\":\"refuse\"} bearer=one proto= query=a+b from=192.0.2.7 new\n"
        "connect 0 / auth= bearer=one proto= query=a+b from=192.0.2.7 new\nopened /\n"
        "connect 0 /custom auth= bearer= proto= query= from=192.0.2.7 known\nopened /custom\n");
}

/* --- pressure ------------------------------------------------------------------------------ */

Test(session, is_not_read_while_a_line_is_at_its_bound)
{
    unsigned talker = world_joined_peer();
    unsigned silent = world_joined_peer();
    fake_press(true);
    fake_text(talker, "42[\"a\"]");
    cr_assert(fake_is_paused(talker));
    cr_assert(!fake_is_paused(silent));
    fake_pass(1);
    cr_assert(fake_is_paused(talker));
    fake_press(false);
    fake_pass(1); /* the other shard handles what waits, */
    fake_pass(1); /* and this one sees it */
    cr_assert(!fake_is_paused(talker));
}

Test(session, may_end_while_it_is_not_read)
{
    unsigned talker = world_joined_peer();
    fake_press(true);
    fake_text(talker, "42[\"a\"]");
    world_socket->ops->disconnect(world_socket, CLOSE_SLOW);
    cr_assert(!fake_is_paused(talker), "the answer to our close frame must be read");
    fake_press(false);
    fake_pass(1);
}

Test(session, pausing_by_an_actor_counts_for_itself)
{
    unsigned peer = world_joined_peer();
    world_socket->ops->pause(world_socket, true);
    fake_press(true);
    fake_text(peer, "42[\"a\"]");
    fake_press(false);
    fake_pass(1);
    fake_pass(1);
    cr_assert(fake_is_paused(peer));
    world_socket->ops->pause(world_socket, false);
    cr_assert(!fake_is_paused(peer));
}

/* --- slow clients --------------------------------------------------------------------------- */

/* Fill the outbox of a peer that does not read until something is refused; then let it read. */
static void overflow(unsigned peer)
{
    fake_stall(peer, true);
    char filler[1002];
    memset(filler, '1', sizeof(filler));
    uint64_t id;
    while (session_ask(world_socket, BYTES("q"), bytes_of(filler, sizeof(filler)), &id) == 0) {
    }
    fake_stall(peer, false);
}

Test(session, ends_who_takes_nothing_when_no_more_can_wait)
{
    unsigned peer = world_joined_peer();
    overflow(peer);
    world_assert_closing(peer, CLOSE_SLOW);
    cr_assert_str_eq(world_diary(), "closed / slow\n");
}

/* --- other settings ------------------------------------------------------------------------ */

static void reload(void)
{
    for (unsigned i = 0; i < FAKE_SHARDS; i++) {
        session_layer_reload(world_layer, fake_shard(i), &world_config);
    }
}

Test(session, limits_change_for_who_is_there)
{
    unsigned joined = world_joined_peer();
    unsigned fresh = world_peer();
    world_config.before_auth.message_bytes = 55;
    world_config.after_auth.message_bytes = 777;
    reload();
    cr_assert_eq(fake_message_limit(joined), 777);
    cr_assert_eq(fake_message_limit(fresh), 55);
    fake_text(fresh, "40{\"token\":\"move\"}");
    cr_assert_eq(fake_peer_shard(fresh), 1);
    world_config.after_auth.message_bytes = 888;
    session_layer_reload(world_layer, fake_shard(1), &world_config);
    cr_assert_eq(fake_message_limit(fresh), 888, "those of the shard it has moved to");
    cr_assert_eq(fake_message_limit(joined), 777);
}

Test(session, silence_ends_it)
{
    unsigned peer = world_joined_peer();
    world_config.idle_timeout_ms = 450;
    reload();
    fake_pass(400);
    cr_assert_str_eq(fake_sent(peer), "2");
    fake_text(peer, "3"); /* a heartbeat counts */
    fake_pass(440);
    world_assert_open(peer);
    fake_pass(15);
    world_assert_closing(peer, CLOSE_IDLE);
}

Test(session, heartbeats_are_silence_where_they_are_to_be_ignored)
{
    unsigned peer = world_joined_peer();
    unsigned plain = world_plain("peal.json.v1");
    world_config.idle_timeout_ms = 450;
    world_config.idle_ignores_heartbeats = true;
    reload();
    fake_pass(400);
    fake_text(peer, "3");
    fake_text(plain, "[[\"hub:pong\"]]");
    fake_pass(40);
    world_assert_open(peer);
    world_assert_open(plain);
    fake_text(plain, "[[\"a\"]]");
    fake_pass(15);
    world_assert_closing(peer, CLOSE_IDLE);
    world_assert_open(plain);
}

/* --- draining and stopping ----------------------------------------------------------------- */

Test(session, drains_evenly_over_the_window)
{
    unsigned peers[10];
    for (int i = 0; i < 10; i++) {
        peers[i] = world_joined_peer();
    }
    session_layer_drain(world_layer, fake_shard(0), 200, 50);
    unsigned at_half = 0;
    for (int step = 0; step < 10; step++) {
        fake_pass(20);
        enum close_reason reason;
        unsigned closing = 0;
        for (int i = 0; i < 10; i++) {
            closing += fake_is_closing(peers[i], &reason);
        }
        at_half = step == 4 ? closing : at_half;
    }
    cr_assert(at_half >= 4 && at_half <= 7, "%u", at_half);
    for (int i = 0; i < 10; i++) {
        world_assert_closing(peers[i], CLOSE_DRAINING);
        const char *text = fake_sent(peers[i]);
        unsigned reconnect_in;
        cr_assert_eq(sscanf(text, "42[\"hub:draining\",{\"reconnectIn\":%u}]", &reconnect_in), 1,
            "%s", text);
        cr_assert_lt(reconnect_in, 50);
    }
    unsigned late = world_plain("peal.json.v1");
    cr_assert_eq(fake_answer(late)->status, 503);
}

Test(session, ends_for_a_time_as_a_line_that_breaks_where_clients_do_not_see_codes)
{
    unsigned confused = world_joined_peer();
    fake_text(confused, "9");
    world_assert_closing(confused, CLOSE_PARSE);
    cr_assert_not(fake_is_cut(confused));
    unsigned joined = world_joined_peer();
    unsigned plain = world_plain("peal.json.v1");
    session_layer_stop(world_layer, fake_shard(0), CLOSE_DRAINING);
    fake_pass(0);
    world_assert_closing(joined, CLOSE_DRAINING);
    world_assert_closing(plain, CLOSE_DRAINING);
    cr_assert(fake_is_cut(joined));
    cr_assert_not(fake_is_cut(plain));
}

Test(session, stops_all_at_once)
{
    unsigned joined = world_joined_peer();
    unsigned fresh = world_peer();
    session_layer_stop(world_layer, fake_shard(0), CLOSE_DRAINING);
    fake_pass(0);
    world_assert_closing(joined, CLOSE_DRAINING);
    world_assert_closing(fresh, CLOSE_DRAINING);
    cr_assert_str_eq(world_diary(), "closed / draining\n");
}
