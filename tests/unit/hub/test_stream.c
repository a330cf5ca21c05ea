/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sessions over server-sent events: what they ask for, how events and ids are written, and ends.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "actors/deliver/socket.h"
#include "codec/wire.h"
#include "hub/session/session_layer.h"
#include "tests/unit/hub/session_world.h"

#define STREAM "Accept: text/event-stream\r\n"
#define CLOSING(code, reason)                                                                      \
    "data: [[\"hub:closing\",{\"code\":" code ",\"reason\":\"" reason "\"}]]\n\n"

TestSuite(stream, .timeout = 60, .init = world_begin, .fini = world_end);

/* A stream whose first bytes are read. */
static unsigned open_stream(const char *query)
{
    unsigned peer = world_stream(query, STREAM);
    cr_assert_eq(fake_answer(peer)->status, 200, "%s", fake_answer(peer)->body);
    unsigned retry;
    cr_assert_eq(sscanf(fake_body(peer), "retry: %u\n\n", &retry), 1);
    cr_assert(retry >= 1000 && retry < 3000, "%u", retry);
    world_diary();
    return peer;
}

static void emit(const char *json)
{
    struct event *event;
    cr_assert_eq(event_from_json(bytes_str(json), NULL, 0, 0, &event), 0);
    cr_assert(socket_emit(world_socket, event));
    event_unref(event);
}

static void expect_body(unsigned peer, const char *body)
{
    fake_pass(0);
    cr_expect_str_eq(fake_body(peer), body);
}

/* --- requests ------------------------------------------------------------------------------ */

Test(stream, is_answered_with_events_for_nobody_to_keep)
{
    unsigned peer = world_stream("token=abc", STREAM);
    cr_assert_eq(fake_answer(peer)->status, 200);
    cr_assert_str_eq(fake_answer(peer)->type, "text/event-stream");
    cr_assert(strstr(fake_answer(peer)->head, "Cache-Control: no-store\r\n"));
    cr_assert(strstr(fake_answer(peer)->head, "X-Accel-Buffering: no\r\n"));
    cr_assert_str_eq(world_diary(),
        "connect 0 / auth= bearer= proto= query=abc from=192.0.2.7 new\nopened /\n"
        "listen rooms= events= place= inbox=0\n");
    cr_assert(fake_is_authenticated(peer));
    cr_assert_eq(fake_shard(0)->stats.streams, 1);
    cr_assert_eq(fake_shard(0)->stats.streams_resumed, 0);
    fake_gone(peer, CLOSE_PEER);
    cr_assert_eq(fake_shard(0)->stats.streams, 0);
}

Test(stream, the_query_token_is_read_whatever_other_ways_do)
{
    world_config.query_token = false;
    session_layer_reload(world_layer, fake_shard(0), &world_config);
    world_stream("token=abc", "Authorization: Bearer xyz\r\n");
    cr_assert(strstr(world_diary(), "bearer=xyz proto= query=abc"));
}

Test(stream, asks_for_rooms_events_and_the_inbox_from_a_place)
{
    world_stream("rooms=a,b%2Cc,,d%2B&events=x,y%20z&inbox=1", STREAM "Last-Event-ID: 1;e;7\r\n");
    cr_assert(
        strstr(world_diary(), "listen rooms=a\nb,c\nd+\n events=x\ny z\n place=1;e;7 inbox=1\n"));
    cr_assert_eq(fake_shard(0)->stats.streams_resumed, 1);
    world_stream("%72ooms=a&inbo%78=1", STREAM);
    cr_assert(strstr(world_diary(), "listen rooms=a\n events= place= inbox=1\n"));
    world_stream("inbox=0&last_event_id=1%3Be%3B8", STREAM);
    cr_assert(strstr(world_diary(), "listen rooms= events= place=1;e;8 inbox=0\n"));
    world_stream("last_event_id=1%3Be%3B8", STREAM "Last-Event-ID: 9\r\n");
    cr_assert(strstr(world_diary(), "place=9 inbox=0\n"), "the header is newer");
}

Test(stream, what_cannot_be_asked_for_is_refused)
{
    static char many[200];
    static char long_name[400];
    static char long_event[400];
    static char long_place[4300];
    for (size_t i = 0; i < 33; i++) {
        strcat(many, i == 0 ? "rooms=r" : ",r");
    }
    snprintf(long_name, sizeof(long_name), "rooms=%0201d", 1);
    snprintf(long_event, sizeof(long_event), "events=%0129d", 1);
    snprintf(long_place, sizeof(long_place), "Last-Event-ID: %04097d\r\n", 1);
    const struct {
        const char *query;
        const char *headers;
        const char *named;
    } cases[] = {
        {many, "", "rooms is a list"},
        {"rooms=a%0Ab", "", "rooms is a list"},
        {"rooms=%zz", "", "rooms is a list"},
        {long_name, "", "rooms is a list of at most 32 names of at most 200 bytes"},
        {long_event, "", "events is a list of at most 32 names of at most 128 bytes"},
        {"inbox=yes", "", "inbox is 1 or 0"},
        {"last_event_id=a%0Ab", "", "last_event_id is the last id"},
        {"", long_place, "Last-Event-ID is the last id"},
        {"", "Last-Event-ID: 1;e;7\r\nLast-Event-ID: 1;e;8\r\n", "Last-Event-ID is the last id"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        unsigned peer = world_stream(cases[i].query, cases[i].headers);
        cr_expect_eq(fake_answer(peer)->status, 400, "%s", cases[i].query);
        cr_expect(strstr(fake_answer(peer)->body, cases[i].named), "%s", fake_answer(peer)->body);
    }
    cr_assert_str_eq(world_diary(), "");
}

Test(stream, refusals)
{
    static const struct {
        const char *query;
        const char *headers;
        unsigned status;
        const char *body;
    } cases[] = {
        {"token=refuse", STREAM, 401, "\"unauthorized\""},
        {"token=refuse", STREAM "Last-Event-ID: 1;;\r\n", 204, ""},
        {"token=forbidden", STREAM, 403, "\"forbidden\""},
        {"token=flood", "", 429, "\"rate_limited\""},
        {"token=flood", STREAM, 200, "\"code\":4429"},
        {"token=starved", "", 503, "\"unavailable\""},
        {"token=starved", STREAM, 200, "\"code\":4503"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        unsigned peer = world_stream(cases[i].query, cases[i].headers);
        cr_expect_eq(fake_answer(peer)->status, cases[i].status, "%s", cases[i].query);
        cr_expect(strstr(fake_answer(peer)->body, cases[i].body), "%s", fake_answer(peer)->body);
        bool again = strncmp(fake_answer(peer)->body, "retry: ", 7) == 0;
        cr_expect_eq(again, cases[i].status == 200, "%s", fake_answer(peer)->body);
        cr_expect(!fake_has_owner(peer));
    }
    world_allow_origin = false;
    cr_assert_eq(fake_answer(world_stream("", "Origin: https://evil.example\r\n"))->status, 403);
    cr_assert_eq(session_layer_count(world_layer, fake_shard(0)), 0, "a session was made");
}

Test(stream, a_node_that_drains_sends_an_event_source_elsewhere)
{
    session_layer_drain(world_layer, fake_shard(0), 0, 100);
    unsigned peer = world_stream("", STREAM);
    cr_assert_eq(fake_answer(peer)->status, 200);
    cr_assert(strstr(fake_answer(peer)->body, CLOSING("4503", "node is draining")));
    cr_assert_eq(fake_answer(world_stream("", ""))->status, 503);
}

/* --- events -------------------------------------------------------------------------------- */

Test(stream, all_of_a_turn_is_one_event_with_one_id)
{
    unsigned peer = open_stream("");
    world_place = 5;
    emit("[\"a\",1]");
    emit("[\"b\",{\"x\":[2]}]");
    expect_body(peer, "id: 5\ndata: [[\"a\",1],[\"b\",{\"x\":[2]}]]\n\n");
    emit("[\"c\"]");
    expect_body(peer, "data: [[\"c\"]]\n\n");
    world_place = 6;
    emit("[\"d\"]");
    expect_body(peer, "id: 6\ndata: [[\"d\"]]\n\n");
}

Test(stream, line_ends_between_tokens_end_no_line)
{
    unsigned peer = open_stream("");
    emit("[\"a\",{\r\n\"x\":\n\r\"\\n\"}]");
    expect_body(peer, "id: 1\ndata: [[\"a\",{  \"x\":  \"\\n\"}]]\n\n");
}

Test(stream, only_what_is_wanted_is_sent_and_the_place_is_told_in_silence)
{
    unsigned peer = open_stream("events=wanted");
    emit("[\"other\",1]");
    emit("[\"wanted\",2]");
    expect_body(peer, "id: 1\ndata: [[\"wanted\",2]]\n\n");
    world_place = 2;
    emit("[\"other\",3]");
    expect_body(peer, ":\nid: 2\n\n");
}

Test(stream, a_comment_comes_every_interval_and_nothing_is_expected_of_the_client)
{
    unsigned peer = open_stream("");
    emit("[\"a\"]");
    expect_body(peer, "id: 1\ndata: [[\"a\"]]\n\n");
    for (unsigned i = 0; i < 3; i++) {
        fake_pass(14999);
        cr_expect_str_eq(fake_body(peer), "");
        fake_pass(1);
        fake_pass(0);
        cr_expect_str_eq(fake_body(peer), ":\n\n");
        world_assert_open(peer);
    }
    cr_assert_eq(
        fake_acks_ms(peer), WORLD_PING_INTERVAL + WORLD_PING_TIMEOUT, "its kernel answers for it");
}

Test(stream, who_may_be_silent_for_a_time_is_not_ended_for_that)
{
    world_config.idle_timeout_ms = 20000;
    world_config.idle_ignores_heartbeats = true;
    session_layer_reload(world_layer, fake_shard(0), &world_config);
    unsigned peer = open_stream("");
    for (unsigned i = 0; i < 10; i++) {
        fake_pass(15000);
    }
    world_assert_open(peer);
}

Test(stream, who_talks_to_it_is_not_heard_and_not_for_ever)
{
    static char request[1000];
    memset(request, 'x', sizeof(request));
    unsigned peer = open_stream("");
    for (unsigned i = 0; i < 65; i++) {
        fake_bytes(peer, bytes_of(request, sizeof(request)));
        world_assert_open(peer);
    }
    fake_bytes(peer, bytes_of(request, 536)); /* 64 KiB */
    world_assert_open(peer);
    emit("[\"a\"]");
    expect_body(peer, "id: 1\ndata: [[\"a\"]]\n\n");
    fake_bytes(peer, bytes_of(request, 1));
    world_assert_closing(peer, CLOSE_PROTOCOL);
    expect_body(peer, CLOSING("1002", "protocol violation"));
}

/* --- who is slow --------------------------------------------------------------------------- */

Test(stream, one_event_waits_in_the_connection_and_the_rest_is_the_next)
{
    unsigned peer = open_stream("");
    fake_stall(peer, true);
    emit("[\"a\"]");
    fake_pass(0);
    world_place = 2;
    emit("[\"b\"]");
    fake_pass(0);
    emit("[\"c\"]");
    fake_pass(1);
    world_place = 3;
    fake_stall(peer, false);
    fake_pass(1);
    fake_pass(1);
    cr_expect_str_eq(
        fake_body(peer), "id: 1\ndata: [[\"a\"]]\n\nid: 3\ndata: [[\"b\"],[\"c\"]]\n\n");
}

Test(stream, who_takes_nothing_is_ended)
{
    char big[1000];
    unsigned peer = open_stream("");
    fake_stall(peer, true);
    snprintf(big, sizeof(big), "[\"a\",\"%0900d\"]", 1);
    for (unsigned i = 0; i < 5; i++) { /* more than half of what may wait, less than all */
        emit(big);
        fake_pass(0);
    }
    fake_pass(29000);
    world_assert_open(peer);
    fake_pass(2000);
    world_assert_closing(peer, CLOSE_SLOW);
    cr_assert(fake_is_cut(peer));
}

Test(stream, who_has_more_waiting_than_may_gets_no_id_for_what_is_missing)
{
    char big[1000];
    unsigned peer = open_stream("");
    emit("[\"a\"]");
    expect_body(peer, "id: 1\ndata: [[\"a\"]]\n\n");
    fake_stall(peer, true);
    snprintf(big, sizeof(big), "[\"b\",\"%0900d\"]", 1);
    struct event *event;
    cr_assert_eq(event_from_json(bytes_str(big), NULL, 0, 0, &event), 0);
    emit("[\"first\"]"); /* is in the connection */
    fake_pass(0);
    world_place = 99;
    for (unsigned i = 0; i < 30; i++) {
        (void)socket_emit(world_socket, event);
    }
    event_unref(event);
    world_assert_closing(peer, CLOSE_SLOW);
    fake_stall(peer, false);
    cr_expect_str_eq(fake_body(peer),
        "data: [[\"first\"]]\n\n" CLOSING("4508", "slow consumer, resume from your position"));
}

static void emit_big(unsigned times, bool turns)
{
    char big[1000];
    snprintf(big, sizeof(big), "[\"b\",\"%0900d\"]", 1);
    struct event *event;
    cr_assert_eq(event_from_json(bytes_str(big), NULL, 0, 0, &event), 0);
    for (unsigned i = 0; i < times; i++) {
        (void)socket_emit(world_socket, event);
        if (turns) {
            fake_pass(0);
        }
    }
    event_unref(event);
    fake_pass(0);
}

/* 16 KiB may wait: 13 of these, no 18, wherever they wait. */
Test(stream, the_event_in_the_connection_counts_as_waiting)
{
    for (unsigned turns = 0; turns < 2; turns++) {
        unsigned peer = open_stream("");
        fake_stall(peer, true);
        emit_big(8, false); /* one event, which the kernel does not take */
        world_assert_open(peer);
        emit_big(5, turns);
        world_assert_open(peer);
        emit_big(5, turns);
        world_assert_closing(peer, CLOSE_SLOW);
    }
    unsigned peer = open_stream("");
    fake_stall(peer, true);
    emit_big(8, false);
    emit_big(10, false); /* before the first was seen to wait */
    world_assert_closing(peer, CLOSE_SLOW);
}

Test(stream, an_event_that_was_taken_counts_no_more)
{
    unsigned peer = open_stream("");
    for (unsigned i = 0; i < 3; i++) {
        fake_stall(peer, true);
        emit_big(8, false);
        emit_big(5, true);
        fake_stall(peer, false);
        fake_pass(1);
        fake_pass(1);
        emit_big(14, false);
        world_assert_open(peer);
    }
}

Test(stream, one_that_ends_while_its_place_is_asked_says_nothing_behind_its_end)
{
    unsigned peer = open_stream("");
    world_end_on_place = true;
    emit("[\"a\"]");
    fake_pass(0);
    fake_pass(1);
    world_assert_closing(peer, CLOSE_SLOW);
    cr_expect_str_eq(fake_body(peer), CLOSING("4508", "slow consumer, resume from your position"));
}

/* --- ends ---------------------------------------------------------------------------------- */

Test(stream, an_end_is_told_behind_what_waits)
{
    unsigned peer = open_stream("events=wanted");
    world_place = 4;
    emit("[\"wanted\"]");
    world_socket->ops->disconnect(world_socket, CLOSE_UNAUTHORIZED);
    fake_pass(0);
    world_assert_closing(peer, CLOSE_UNAUTHORIZED);
    cr_expect_str_eq(fake_body(peer),
        "id: 4\ndata: [[\"wanted\"],[\"hub:closing\",{\"code\":4401,\"reason\":\"token missing, "
        "wrong or expired\"}]]\n\n");
    cr_assert_str_eq(world_diary(), "closed / unauthorized\n");
}

Test(stream, a_drain_says_when_to_come_back)
{
    unsigned peer = open_stream("");
    session_layer_drain(world_layer, fake_shard(0), 0, 500);
    fake_pass(0);
    fake_pass(0);
    world_assert_closing(peer, CLOSE_DRAINING);
    unsigned told;
    unsigned retry;
    const char *body = fake_body(peer);
    cr_assert_eq(sscanf(body,
                     "retry: %u\nid: 1\ndata: [[\"hub:draining\",{\"reconnectIn\":%u}],"
                     "[\"hub:closing\",{\"code\":4503,",
                     &retry, &told),
        2, "%s", body);
    cr_assert_eq(told, retry);
    cr_assert_lt(retry, 500);
}

Test(stream, moves_to_the_shard_of_its_user)
{
    unsigned peer = world_stream("token=move&rooms=a", STREAM);
    cr_assert_eq(fake_peer_shard(peer), 1);
    cr_assert_eq(world_verified, 1, "who it is goes along");
    cr_assert(strstr(world_diary(), "opened /\nlisten rooms=a\n events= place= inbox=0\n"));
    cr_assert_eq(fake_shard(0)->stats.streams, 0);
    cr_assert_eq(fake_shard(1)->stats.streams, 1);
    fake_body(peer);
    emit("[\"a\"]");
    expect_body(peer, "id: 1\ndata: [[\"a\"]]\n\n");
    fake_gone(peer, CLOSE_PEER);
    cr_assert_eq(fake_shard(1)->stats.streams, 0);
}

Test(stream, is_ended_when_its_token_expires_on_the_way)
{
    unsigned peer = world_stream("token=move-expires", STREAM);
    world_assert_closing(peer, CLOSE_UNAUTHORIZED);
    cr_assert(strstr(fake_body(peer), "\"code\":4401"));
}

Test(stream, one_that_is_sent_away_as_it_opens_asks_for_nothing)
{
    world_kick_on_open = true;
    unsigned peer = world_stream("rooms=a", STREAM);
    world_assert_closing(peer, CLOSE_FORBIDDEN);
    cr_assert(!strstr(world_diary(), "listen"));
}
