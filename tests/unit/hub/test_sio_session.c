/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Socket.IO sessions: CONNECT, namespaces, events, acks, attachments and refusals.
 */
#include <criterion/criterion.h>
#include <string.h>

#include "actors/deliver/socket.h"
#include "hub/session/session.h"
#include "tests/unit/hub/session_world.h"

TestSuite(sio_session, .timeout = 60, .init = world_begin, .fini = world_end);

#define SID "SSSSSSSSSSSSSSSSSSSSSSS"
#define CONNECT_LINE(nsp, auth, who)                                                               \
    "connect 0 " nsp " auth=" auth " bearer= proto= query= from=192.0.2.7 " who "\n"

/* --- CONNECT ------------------------------------------------------------------------------- */

Test(sio_session, connects_and_answers_before_the_application_may_send)
{
    unsigned peer = world_peer();
    cr_assert(!fake_is_authenticated(peer));
    cr_assert_eq(fake_message_limit(peer), 100);
    fake_text(peer, "40{\"token\":\"1\"}");
    cr_assert_str_eq(fake_sent(peer), "40{\"sid\":\"" SID "\"}");
    cr_assert_str_eq(world_diary(), CONNECT_LINE("/", "{\"token\":\"1\"}", "new") "opened /\n");
    cr_assert(fake_is_authenticated(peer));
    cr_assert_eq(fake_message_limit(peer), 1000);
}

Test(sio_session, refusals)
{
    static const struct {
        const char *packet;
        const char *answer;
    } cases[] = {
        {"40/random", "44/random,{\"message\":\"Invalid namespace\"}"},
        {"40/random,{\"a\":1}", "44/random,{\"message\":\"Invalid namespace\"}"},
        {"40/?x=1", "44/?x=1,{\"message\":\"Invalid namespace\"}"},
        {"40{\"token\":\"refuse\"}",
            "44{\"message\":\"Invalid token\",\"data\":{\"code\":\"token_expired\"}}"},
        {"40/custom,{\"token\":\"refuse\"}",
            "44/custom,{\"message\":\"Invalid token\",\"data\":{\"code\":\"token_expired\"}}"},
    };
    unsigned peer = world_peer();
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        fake_text(peer, cases[i].packet);
        cr_assert_str_eq(fake_sent(peer), cases[i].answer);
        world_assert_open(peer);
    }
    fake_text(peer, "40");
    cr_assert_str_eq(fake_sent(peer), "40{\"sid\":\"" SID "\"}");
}

/* A stock client takes a CONNECT_ERROR for final; a transport that ends lets it come back. */
Test(sio_session, who_finds_no_memory_comes_back)
{
    unsigned peer = world_peer();
    fake_text(peer, "40{\"token\":\"starved\"}");
    cr_assert_str_eq(fake_sent(peer), "");
    world_assert_closing(peer, CLOSE_NO_MEMORY);
}

Test(sio_session, who_only_asks_to_be_refused_is_ended)
{
    unsigned peer = world_peer();
    for (int i = 0; i < 15; i++) {
        fake_text(peer, "40/random");
        world_assert_open(peer);
    }
    fake_text(peer, "40/random");
    world_assert_closing(peer, CLOSE_TOO_MANY);
}

/* The application should refuse both; a session does not rely on it. */
Test(sio_session, a_session_of_two_users_ends)
{
    static const char *const packets[] = {
        "40/custom,{\"token\":\"bob\"}", "40/custom,{\"token\":\"move\"}"};
    for (size_t i = 0; i < sizeof(packets) / sizeof(packets[0]); i++) {
        unsigned peer = world_joined_peer();
        world_diary();
        fake_text(peer, packets[i]);
        world_assert_closing(peer, CLOSE_PARSE);
        cr_assert_str_eq(fake_sent(peer), "");
    }
}

Test(sio_session, several_namespaces_on_one_session)
{
    unsigned peer = world_joined_peer();
    fake_text(peer, "40/custom,");
    cr_assert_str_eq(fake_sent(peer), "40/custom,{\"sid\":\"" SID "\"}");
    cr_assert_str_eq(world_diary(), CONNECT_LINE("/custom", "", "known") "opened /custom\n");
    fake_text(peer, "42/custom,[\"a\",1]");
    cr_assert_str_eq(world_diary(), "event a data=[\"a\",1] args=1\n");
    fake_text(peer, "41/custom");
    cr_assert_str_eq(world_diary(), "closed /custom peer\n");
    fake_text(peer, "42[\"b\"]");
    cr_assert_str_eq(world_diary(), "event b data=[\"b\"] args=\n");
    fake_text(peer, "40/custom,");
    cr_assert_str_eq(fake_sent(peer), "40/custom,{\"sid\":\"" SID "\"}");
    fake_text(peer, "41");
    fake_text(peer, "40");
    world_diary();
    fake_gone(peer, CLOSE_TRANSPORT);
    cr_assert_str_eq(world_diary(), "closed / transport\nclosed /custom transport\n");
}

Test(sio_session, a_connect_may_wait_once)
{
    unsigned peer = world_joined_peer();
    fake_text(peer, "40/custom,{\"token\":\"wait\"}");
    fake_text(peer, "40/third,");
    cr_assert_str_eq(fake_sent(peer), "40/third,{\"sid\":\"" SID "\"}");
    world_fetch.done(&world_fetch);
    fake_pass(0);
    cr_assert_str_eq(fake_sent(peer), "40/custom,{\"sid\":\"" SID "\"}");
    world_assert_open(peer);
}

Test(sio_session, a_connect_that_waited_is_no_attachment_of_another_namespace)
{
    unsigned peer = world_joined_peer();
    fake_text(peer, "40/custom,{\"token\":\"wait\"}");
    fake_text(peer, "451-[\"a\",{\"_placeholder\":true,\"num\":0}]");
    world_diary();
    world_fetch.done(&world_fetch);
    fake_pass(0);
    world_assert_open(peer);
    cr_assert_str_eq(fake_sent(peer), "40/custom,{\"sid\":\"" SID "\"}");
    world_diary();
    fake_message(peer, true, BYTES("xyz"));
    cr_assert_str_eq(world_diary(), "event a data=[\"a\",{\"_placeholder\":true,\"num\":0}] "
                                    "args={\"_placeholder\":true,\"num\":0} bin=xyz\n");
}

Test(sio_session, one_connect_of_a_namespace_waits_at_a_time)
{
    unsigned peer = world_peer();
    fake_text(peer, "40{\"token\":\"wait\"}");
    world_assert_open(peer);
    fake_text(peer, "40{\"token\":\"wait\"}");
    world_assert_closing(peer, CLOSE_PARSE);
    cr_assert_not_null(world_fetch.done);
    world_fetch.done(&world_fetch);
    fake_pass(0);
    cr_assert_str_eq(fake_sent(peer), "", "it has ended");
}

/* --- what ends the session ----------------------------------------------------------------- */

Test(sio_session, violations_end_the_session)
{
    static const char *const packets[] = {
        "40",
        "40{\"a\":1}",
        "40[]",
        "40null",
        "41{}",
        "42{}",
        "42[]",
        "42[null]",
        "42[{}]",
        "42[\"connect\"]",
        "42[\"disconnect\"]",
        "42[\"newListener\"]",
        "42[\"a\"",
        "42abc[\"message-with-ack\",1]",
        "42/custom,[\"a\"]",
        "43/custom,1[]",
        "41/custom",
        "431{}",
        "43[]",
        "44{\"message\":\"x\"}",
        "450-[\"a\"]",
        "4511-[\"a\"]",
        "45[\"a\"]",
        "451[\"a\"]",
        "451-/custom,[\"a\",{\"_placeholder\":true,\"num\":0}]",
        "451-[\"a\",{\"_placeholder\":true,\"num\":1}]",
        "451-[\"a\",{\"_placeholder\":true,\"num\":\"0\"}]",
        "47",
        "4\xc3\xa9",
    };
    for (size_t i = 0; i < sizeof(packets) / sizeof(packets[0]); i++) {
        unsigned peer = world_joined_peer();
        fake_text(peer, packets[i]);
        enum close_reason reason;
        cr_assert(fake_is_closing(peer, &reason), "%s", packets[i]);
        cr_assert_eq(reason, CLOSE_PARSE, "%s: %s", packets[i], close_name(reason));
        cr_assert_str_eq(world_diary(), "closed / parse\n", "%s", packets[i]);
    }
}

Test(sio_session, events_before_connect_end_the_session)
{
    unsigned peer = world_peer();
    fake_text(peer, "42[\"a\"]");
    world_assert_closing(peer, CLOSE_PARSE);
    cr_assert_str_eq(world_diary(), "");
}

/* --- EVENT and ACK ------------------------------------------------------------------------- */

Test(sio_session, events_reach_the_application)
{
    static const struct {
        const char *packet;
        const char *told;
    } cases[] = {
        {"42[\"a\"]", "event a data=[\"a\"] args=\n"},
        {"42[\"a\",1,\"2\",{\"3\":[true]}]",
            "event a data=[\"a\",1,\"2\",{\"3\":[true]}] args=1,\"2\",{\"3\":[true]}\n"},
        {"4212[\"a\"]", "event a data=[\"a\"] args= id=12\n"},
        {"42[7,1]", "event 7 data=[7,1] args=1\n"},
        {"42[\"\\u00e9\"]", "event \xc3\xa9 data=[\"\\u00e9\"] args=\n"},
        {"434[1,2]", "ack 4 [1,2]\n"},
        {"434[]", "ack 4 []\n"},
    };
    unsigned peer = world_joined_peer();
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        fake_text(peer, cases[i].packet);
        cr_assert_str_eq(world_diary(), cases[i].told);
    }
    world_assert_open(peer);
}

Test(sio_session, asks_with_ids_of_the_session)
{
    unsigned peer = world_joined_peer();
    uint64_t id;
    cr_assert_eq(session_ask(world_socket, BYTES("q"), BYTES("1,2"), &id), 0);
    cr_assert_eq(id, 1);
    cr_assert_eq(session_ask(world_socket, BYTES("q"), BYTES(""), &id), 0);
    fake_pass(0);
    cr_assert_str_eq(fake_sent(peer), "421[\"q\",1,2]");
    cr_assert_str_eq(fake_sent(peer), "422[\"q\"]");
    fake_text(peer, "432[true]");
    cr_assert_str_eq(world_diary(), "ack 2 [true]\n");
}

/* --- attachments --------------------------------------------------------------------------- */

#define TWO "452-[\"a\",{\"_placeholder\":true,\"num\":0},{\"_placeholder\":true,\"num\":1}]"

Test(sio_session, attachments_complete_an_event)
{
    unsigned peer = world_joined_peer();
    fake_text(peer, TWO);
    fake_message(peer, true, BYTES("AB"));
    fake_text(peer, "3"); /* Engine.IO packets may stand between */
    fake_text(peer, "6");
    cr_assert_str_eq(world_diary(), "");
    fake_message(peer, true, BYTES(""));
    cr_assert_str_eq(world_diary(),
        "event a data=[\"a\",{\"_placeholder\":true,\"num\":0},{\"_placeholder\":true,\"num\":1}] "
        "args={\"_placeholder\":true,\"num\":0},{\"_placeholder\":true,\"num\":1} bin=AB bin=\n");
    fake_text(peer, "461-9[{\"_placeholder\":true,\"num\":0}]");
    fake_message(peer, true, BYTES("C"));
    cr_assert_str_eq(world_diary(), "ack 9 [{\"_placeholder\":true,\"num\":0}] +1\n");
    fake_text(peer, "42[\"b\"]");
    world_assert_open(peer);
}

Test(sio_session, attachments_must_be_asked_for_and_must_not_be_interrupted)
{
    unsigned peer = world_joined_peer();
    fake_message(peer, true, BYTES("AB"));
    world_assert_closing(peer, CLOSE_PARSE);

    peer = world_joined_peer();
    fake_text(peer, TWO);
    fake_message(peer, true, BYTES("AB"));
    fake_text(peer, "42[\"b\"]");
    world_assert_closing(peer, CLOSE_PARSE);
    cr_assert_str_eq(world_diary(), "closed / parse\n");
}

Test(sio_session, attachments_are_bounded_in_time)
{
    unsigned peer = world_joined_peer();
    fake_text(peer, TWO);
    fake_pass(WORLD_ATTACHMENTS_TIMEOUT - 1);
    fake_message(peer, true, BYTES("AB"));
    world_assert_open(peer);
    fake_pass(1);
    world_assert_closing(peer, CLOSE_PARSE);
}

Test(sio_session, attachments_are_bounded_in_bytes)
{
    unsigned peer = world_joined_peer();
    fake_text(peer, TWO);
    fake_message(peer, true, BYTES("0123456789"));
    world_assert_open(peer);
    fake_message(peer, true, BYTES("01234567890"));
    world_assert_closing(peer, CLOSE_FRAME_TOO_LARGE);
    cr_assert_str_eq(
        fake_sent(peer), "42[\"hub:closing\",{\"code\":4413,\"reason\":\"message too large\"}]");
    cr_assert_str_eq(fake_sent(peer), "41");
}

Test(sio_session, a_session_may_end_amid_attachments)
{
    unsigned peer = world_joined_peer();
    fake_text(peer, TWO);
    fake_message(peer, true, BYTES("AB"));
    fake_gone(peer, CLOSE_TRANSPORT);
    cr_assert_str_eq(world_diary(), "closed / transport\n");
}

/* --- disconnecting ------------------------------------------------------------------------- */

#define CLOSING "42[\"hub:closing\",{\"code\":4403,\"reason\":\"not allowed\"}]"

Test(sio_session, a_final_reason_sends_the_socket_away_and_is_remembered)
{
    unsigned peer = world_joined_peer();
    world_socket->ops->disconnect(world_socket, CLOSE_FORBIDDEN);
    cr_assert_str_eq(world_diary(), "", "the application is not told inside of its own call");
    world_socket->ops->disconnect(world_socket, CLOSE_FORBIDDEN);
    fake_pass(0);
    cr_assert_str_eq(fake_sent(peer), CLOSING);
    cr_assert_str_eq(fake_sent(peer), "41");
    cr_assert_str_eq(fake_sent(peer), "");
    cr_assert_str_eq(world_diary(), "closed / forbidden\n");
    world_assert_open(peer);
    /* In flight when we sent DISCONNECT. */
    fake_text(peer, "42[\"a\"]");
    fake_text(peer, "431[]");
    fake_text(peer, TWO);
    fake_message(peer, true, BYTES("A"));
    fake_message(peer, true, BYTES("B"));
    fake_text(peer, "41");
    cr_assert_str_eq(world_diary(), "");
    world_assert_open(peer);
    fake_text(peer, "40");
    cr_assert_str_eq(
        fake_sent(peer), "44{\"message\":\"not allowed\",\"data\":{\"code\":\"forbidden\"}}");
    fake_text(peer, "40/custom,");
    cr_assert_str_eq(world_diary(), "");
    cr_assert_str_eq(fake_sent(peer),
        "44/custom,{\"message\":\"not allowed\",\"data\":{\"code\":\"forbidden\"}}");
    fake_pass(WORLD_PING_INTERVAL);
    fake_text(peer, "3");
    fake_pass(WORLD_PING_INTERVAL);
    fake_text(peer, "3");
    fake_pass(WORLD_PING_INTERVAL);
    fake_text(peer, "3");
    world_assert_open(peer);
    fake_pass(WORLD_PING_INTERVAL);
    world_assert_closing(peer, CLOSE_FORBIDDEN);
}

Test(sio_session, other_namespaces_live_on_when_one_socket_is_sent_away)
{
    unsigned peer = world_joined_peer();
    struct socket *first = world_socket;
    fake_text(peer, "40/custom,");
    world_diary();
    first->ops->disconnect(first, CLOSE_REPLACED);
    fake_pass(0);
    cr_assert_str_eq(world_diary(), "closed / replaced\n");
    fake_text(peer, "42/custom,[\"a\"]");
    cr_assert_str_eq(world_diary(), "event a data=[\"a\"] args=\n");
    fake_pass(WORLD_PING_INTERVAL);
    fake_text(peer, "3");
    fake_pass(WORLD_CONNECT_TIMEOUT / 4);
    world_assert_open(peer);
}

Test(sio_session, the_whole_session_may_be_sent_away)
{
    unsigned peer = world_joined_peer();
    struct socket *first = world_socket;
    fake_text(peer, "40/custom,");
    world_diary();
    while (*fake_sent(peer) != '\0') {
    }
    first->ops->end(first, CLOSE_FORBIDDEN);
    first->ops->end(first, CLOSE_FORBIDDEN);
    cr_assert_str_eq(world_diary(), "", "the application is not told inside of its own call");
    fake_pass(0);
    cr_assert_str_eq(fake_sent(peer), CLOSING);
    cr_assert_str_eq(fake_sent(peer), "41");
    cr_assert_str_eq(
        fake_sent(peer), "42/custom,[\"hub:closing\",{\"code\":4403,\"reason\":\"not allowed\"}]");
    cr_assert_str_eq(fake_sent(peer), "41/custom,");
    cr_assert_str_eq(fake_sent(peer), "");
    world_assert_closing(peer, CLOSE_FORBIDDEN);
    cr_assert_str_eq(world_diary(), "closed / forbidden\nclosed /custom forbidden\n");
}

Test(sio_session, a_temporary_reason_closes_the_transport)
{
    unsigned peer = world_joined_peer();
    fake_text(peer, "40/custom,");
    world_diary();
    world_socket->ops->disconnect(world_socket, CLOSE_SLOW);
    cr_assert_str_eq(world_diary(), "");
    fake_pass(0);
    world_assert_closing(peer, CLOSE_SLOW);
    cr_assert_str_eq(world_diary(), "closed / slow\nclosed /custom slow\n");
}

Test(sio_session, may_be_sent_away_while_it_is_being_opened)
{
    world_kick_on_open = true;
    unsigned peer = world_peer();
    fake_text(peer, "40");
    cr_assert_str_eq(fake_sent(peer), "40{\"sid\":\"" SID "\"}");
    cr_assert_str_eq(fake_sent(peer), CLOSING);
    cr_assert_str_eq(fake_sent(peer), "41");
    world_diary();
    world_assert_open(peer);
}

/* A peer that takes nothing, and whose outbox has no room for anything more. */
static unsigned full_peer(void)
{
    unsigned peer = world_joined_peer();
    uint64_t id;
    fake_stall(peer, true);
    cr_assert_eq(session_ask(world_socket, BYTES("q"), BYTES("1"), &id), 0);
    world_socket->outbox->limits.max = world_socket->outbox->bytes;
    return peer;
}

Test(sio_session, who_cannot_be_told_is_ended)
{
    unsigned peer = full_peer();
    world_socket->ops->disconnect(world_socket, CLOSE_FORBIDDEN);
    fake_pass(0);
    world_assert_closing(peer, CLOSE_SLOW);
    cr_assert_str_eq(world_diary(), "closed / slow\n");
}

Test(sio_session, who_cannot_be_welcomed_begins_again)
{
    unsigned peer = full_peer();
    world_diary();
    fake_text(peer, "40/custom,");
    fake_pass(0);
    world_assert_closing(peer, CLOSE_SLOW);
    const char *diary = world_diary();
    cr_assert_not_null(strstr(diary, "closed / slow\n"), "%s", diary);
}
