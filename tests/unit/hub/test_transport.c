/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The border between sessions and their transports: whoever begins the end of a session and however
 * it is hurried, its transport says once that nothing holds it, and never from inside a call.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "actors/identity.h"
#include "hub/session/polling_state.h"
#include "hub/session/session_life.h"
#include "hub/session/upgrade.h"
#include "tests/unit/hub/session_world.h"

enum { SID_AT = 8 /* behind `0{"sid":"` */ };

static struct transport_events events;
static unsigned closed; /* said by the transports of a row */
static unsigned lost;
static unsigned moved;

static void on_closed(struct session *session, enum close_reason reason)
{
    closed++;
    session_events.closed(session, reason);
}

static void on_moved(struct session *session, struct session_part *part)
{
    *(part ? &moved : &lost) += 1;
    session_events.moved(session, part);
}

static void listen_in(void)
{
    closed = 0;
    lost = 0;
    moved = 0;
    events = session_events;
    events.closed = on_closed;
    events.moved = on_moved;
    for (unsigned i = 0; i < FAKE_SHARDS; i++) {
        session_layer_part(world_layer, fake_shard(i))->events = &events;
    }
}

static void begin(void)
{
    world_begin();
    listen_in();
}

static void begin_again(void)
{
    world_end();
    begin();
}

TestSuite(transport, .timeout = 120, .init = begin, .fini = world_end);

/* --- clients ------------------------------------------------------------------------------- */

struct client {
    enum transport_kind kind;
    unsigned peer; /* the WebSocket, or the GET that is held */
    char sid[SID_LEN + 1];
};

static unsigned ask(const struct client *client, const char *method, const char *body)
{
    char head[300];
    snprintf(head, sizeof(head),
        "%s /socket.io/?EIO=4&transport=polling%s%s HTTP/1.1\r\nHost: h\r\n"
        "Content-Length: %zu\r\n\r\n",
        method, client->sid[0] ? "&sid=" : "", client->sid, strlen(body));
    return fake_post(world_layer, upgrade_engine, head, body);
}

static void take_over(struct client *client)
{
    char query[100];
    snprintf(query, sizeof(query), "EIO=4&transport=websocket&sid=%s", client->sid);
    client->peer = world_request(query, "");
    fake_text(client->peer, "2probe");
    cr_assert_str_eq(fake_sent(client->peer), "3probe");
    fake_text(client->peer, "5");
}

/* Open a session; it has joined nothing. */
static struct client open_client(enum transport_kind kind)
{
    struct client client = {.kind = kind};
    if (kind == TRANSPORT_WEBSOCKET) {
        client.peer = world_peer();
        return client;
    }
    cr_assert_neq(kind, TRANSPORT_STREAM, "it joins as it opens");
    const char *open = fake_answer(ask(&client, "GET", ""))->body;
    cr_assert_eq(strncmp(open, "0{\"sid\":\"", SID_AT + 1), 0, "%s", open);
    memcpy(client.sid, open + SID_AT + 1, SID_LEN);
    if (kind == TRANSPORT_UPGRADED) {
        take_over(&client);
    }
    return client;
}

static void say(struct client *client, const char *packet)
{
    if (client->kind != TRANSPORT_POLLING) {
        fake_text(client->peer, packet);
        return;
    }
    cr_assert_str_eq(fake_answer(ask(client, "POST", packet))->body, "ok");
}

static struct client open_joined(enum transport_kind kind)
{
    if (kind == TRANSPORT_STREAM) {
        return (struct client){.kind = kind, .peer = world_stream("", "")};
    }
    struct client client = open_client(kind);
    say(&client, "40");
    if (kind == TRANSPORT_POLLING) {
        cr_assert_eq(strncmp(fake_answer(ask(&client, "GET", ""))->body, "40{", 3), 0);
        client.peer = ask(&client, "GET", "");
        cr_assert_eq(fake_answer(client.peer)->status, 0, "it is held");
    }
    return client;
}

static struct session *session_on(unsigned shard)
{
    struct session_part *part = session_layer_part(world_layer, fake_shard(shard));
    cr_assert(!list_empty(&part->open));
    struct session *session = container_of(part->open.prev, struct session, link);
    return session;
}

/* Ask to join with a token; a stream does so as it opens. */
static struct client open_with(enum transport_kind kind, const char *token)
{
    char text[100];
    if (kind == TRANSPORT_STREAM) {
        snprintf(text, sizeof(text), "token=%s", token);
        return (struct client){.kind = kind, .peer = world_stream(text, "")};
    }
    struct client client = open_client(kind);
    snprintf(text, sizeof(text), "40{\"token\":\"%s\"}", token);
    say(&client, text);
    return client;
}

/* --- ends ---------------------------------------------------------------------------------- */

enum end { END_FINAL, END_FOR_A_TIME, END_NORMAL, END_LOST, END_STOP, END_COUNT };

static void end(struct client *client, struct session *session, enum end how)
{
    static const enum close_reason reasons[END_COUNT] = {
        [END_FINAL] = CLOSE_FORBIDDEN,
        [END_FOR_A_TIME] = CLOSE_DRAINING,
        [END_NORMAL] = CLOSE_NORMAL,
    };
    switch (how) {
    case END_FINAL:
    case END_FOR_A_TIME:
    case END_NORMAL: {
        unsigned before = closed;
        session_end(session, reasons[how]);
        cr_expect_eq(closed, before, "from inside a call");
        break;
    }
    case END_LOST:
        if (client->kind != TRANSPORT_POLLING || fake_answer(client->peer)->status == 0) {
            fake_gone(client->peer, CLOSE_TRANSPORT);
        }
        break;
    case END_STOP:
        session_layer_stop(world_layer, fake_shard(0), CLOSE_DRAINING);
        break;
    case END_COUNT:
        break;
    }
}

Test(transport, closed_is_said_once_in_every_order_of_ends)
{
    for (unsigned row = 0; row < TRANSPORT_COUNT * END_COUNT * END_COUNT; row++) {
        enum transport_kind kind = row % TRANSPORT_COUNT;
        enum end first = row / TRANSPORT_COUNT % END_COUNT;
        enum end second = row / TRANSPORT_COUNT / END_COUNT;
        begin_again();
        struct client client = open_joined(kind);
        struct session *session = session_on(0);
        cr_assert_eq(session->transport, kind);
        end(&client, session, first);
        if (closed == 0) {
            end(&client, session, second);
        }
        fake_pass(POLLING_LINGER_MS + 1);
        fake_pass(1);
        if (fake_has_owner(client.peer)) { /* one that is being closed goes with its connection */
            fake_gone(client.peer, CLOSE_TRANSPORT);
        }
        cr_expect_eq(closed, 1, "%u times: transport %u, %u then %u", closed, kind, first, second);
        cr_expect_eq(lost + moved, 0);
        cr_expect_eq(session_layer_count(world_layer, fake_shard(0)), 0);
    }
}

Test(transport, who_moves_arrives_and_ends_once)
{
    for (unsigned kind = 0; kind < TRANSPORT_COUNT; kind++) {
        begin_again();
        struct client client = open_with(kind, "move");
        cr_expect_eq(moved, 1, "transport %u", kind);
        session_end(session_on(1), CLOSE_PARSE);
        cr_expect_eq(closed, 0, "from inside a call");
        fake_pass(1);
        if (kind != TRANSPORT_POLLING) {
            fake_gone(client.peer, CLOSE_TRANSPORT);
        }
        cr_expect_eq(closed, 1, "transport %u", kind);
        cr_expect_eq(lost, 0, "transport %u", kind);
        cr_expect_eq(world_verified, 1);
    }
}

Test(transport, who_has_waited_may_move)
{
    for (unsigned kind = 0; kind < TRANSPORT_STREAM; kind++) { /* which has nothing to wait for */
        begin_again();
        (void)open_with(kind, "later");
        cr_expect_eq(moved, 0, "transport %u", kind);
        world_fetch.done(&world_fetch);
        fake_pass(0);
        cr_expect_eq(moved, 1, "transport %u", kind);
        struct session *session = session_on(1);
        cr_assert(session->has_first);
        cr_expect_eq(session->identity->refs, 2, "of the session and of its socket");
        cr_expect_eq(world_verified, 1);
    }
}

Test(transport, who_is_lost_on_the_way_is_told_once_as_lost)
{
    for (unsigned kind = 0; kind < TRANSPORT_COUNT; kind++) {
        begin_again();
        if (kind == TRANSPORT_STREAM) {
            fake_fail_moves();
            (void)open_with(kind, "move");
            cr_expect_eq(lost, 1, "transport %u", kind);
            cr_expect_eq(closed + moved, 0, "transport %u", kind);
            continue;
        }
        struct client client = open_client(kind);
        if (kind == TRANSPORT_POLLING) { /* it arrives where all has stopped */
            session_layer_stop(world_layer, fake_shard(1), CLOSE_DRAINING);
            (void)ask(&client, "POST", "40{\"token\":\"move\"}");
        } else {
            fake_fail_move(client.peer);
            fake_text(client.peer, "40{\"token\":\"move\"}");
        }
        fake_pass(1);
        cr_expect_eq(lost, 1, "transport %u", kind);
        cr_expect_eq(closed + moved, 0, "transport %u", kind);
    }
}

/* --- phases -------------------------------------------------------------------------------- */

Test(transport, phases_follow_one_another_only_as_drawn)
{
    static const char *const drawn[SESSION_PHASE_COUNT] = {
        /*            NEW OPEN MOVING ENDING GONE */
        [SESSION_NEW] = "-x--x",
        [SESSION_OPEN] = "--xxx",
        [SESSION_MOVING] = "-x--x",
        [SESSION_ENDING] = "----x",
        [SESSION_GONE] = "-----",
    };
    for (unsigned phase = 0; phase < SESSION_PHASE_COUNT; phase++) {
        for (unsigned next = 0; next < SESSION_PHASE_COUNT; next++) {
            cr_expect_eq(session_may_become(phase, next), drawn[phase][next] == 'x',
                "from %u to %u", phase, next);
        }
    }
}
