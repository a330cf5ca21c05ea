/* SPDX-License-Identifier: Apache-2.0 */
/*
 * GET /api/v1/stream of a whole node over SQLite: what a client that only listens gets, and that it
 * goes on where it was.
 */
#include <criterion/criterion.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "codec/base/clock.h"
#include "hub/node/node.h"
#include "tests/support/net_rig.h"
#include "tests/support/node_rig.h"

TestSuite(stream_node, .timeout = 120);

#define ALL "everything-01234567"
#define KEYS                                                                                       \
    "api_key \"all\" { key = \"" ALL "\" scopes = {publish, read, write, admin} }\n"               \
    "origins = {\"https://shop.example\"}\n"
#define POSTS "/api/v1/notifications"

enum { WAIT_MS = 20000, TEXT_MAX = 16 << 20 };

static struct node_rig rig;

/* A client, and all that it was told. */
struct listener {
    int fd;
    size_t len;
    char text[TEXT_MAX];
    char id[256]; /* the last one */
};

static struct listener listener;
static const char *method = "GET";

static void post(const char *target, const char *body, unsigned status)
{
    static struct node_answer answer;
    const struct node_call call = {.method = "POST", .target = target, .key = ALL, .body = body};
    node_rig_ask(&rig, &call, &answer);
    cr_assert_eq(answer.status, status, "%s: %s", target, answer.body);
}

static void notify(const char *title)
{
    char body[200];
    snprintf(body, sizeof(body), "{\"user\":\"ann\",\"type\":\"t\",\"title\":\"%s\"}", title);
    post(POSTS, body, 201);
}

/* Ask for a stream as ann, with the last id where there is one. */
static void listen_to(const char *query, const char *headers)
{
    char token[NODE_RIG_TOKEN_MAX];
    char head[2048];
    struct rig to = {.port = rig.hub->port};
    char last[300] = "";
    node_rig_token("ann", "", token);
    if (listener.id[0] != '\0') {
        snprintf(last, sizeof(last), "Last-Event-ID: %s\r\n", listener.id);
    }
    snprintf(head, sizeof(head),
        "%s /api/v1/stream?%s HTTP/1.1\r\nHost: h\r\nAccept: text/event-stream\r\n"
        "Authorization: Bearer %s\r\n%s%s\r\n",
        method, query, token, last, headers);
    listener.fd = rig_connect(&to);
    listener.len = 0;
    listener.text[0] = '\0';
    cr_assert(rig_send(listener.fd, bytes_str(head)));
}

/* Read what comes within `ms`; false: nothing, or the end. */
static bool hear(int ms)
{
    struct pollfd poller = {.fd = listener.fd, .events = POLLIN};
    if (poll(&poller, 1, ms) <= 0) {
        return false;
    }
    ssize_t got = recv(listener.fd, listener.text + listener.len, TEXT_MAX - 1 - listener.len, 0);
    if (got <= 0) {
        return false;
    }
    listener.len += (size_t)got;
    listener.text[listener.len] = '\0';
    return true;
}

static void expect_text(const char *text)
{
    uint64_t until = clock_mono_ns() / 1000000 + WAIT_MS;
    while (strstr(listener.text, text) == NULL) {
        uint64_t now = clock_mono_ns() / 1000000;
        bool more = now < until && hear((int)(until - now));
        cr_assert(more || strstr(listener.text, text), "no %s in\n%s", text, listener.text);
    }
}

static void expect_end(void)
{
    while (hear(WAIT_MS)) {
    }
    char byte;
    cr_assert_eq(recv(listener.fd, &byte, 1, MSG_DONTWAIT), 0, "no end behind\n%s", listener.text);
}

/* HEAD instead of GET: all of the answer is its head, and nothing begins. */
static void ask_for_head(const char *query)
{
    method = "HEAD";
    listen_to(query, "");
    method = "GET";
    expect_text("HTTP/1.1 200 OK\r\n");
    expect_end();
    cr_expect_null(strstr(listener.text, "retry"), "%s", listener.text);
    close(listener.fd);
}

static unsigned count(const char *text)
{
    unsigned found = 0;
    for (const char *at = listener.text; (at = strstr(at, text)) != NULL; at++) {
        found++;
    }
    return found;
}

static void leave(void)
{
    const char *last = NULL;
    const char *at = listener.text;
    while (
        (at = strstr(at, "\nid: ")) != NULL && strstr(at, "\n\n") != NULL) { /* of a whole event */
        last = at + 5;
        at = last;
    }
    if (last != NULL) {
        snprintf(listener.id, sizeof(listener.id), "%.*s", (int)strcspn(last, "\n"), last);
    }
    close(listener.fd);
}

Test(stream_node, goes_on_with_the_inbox_where_it_was)
{
    node_rig_start(&rig, KEYS);
    listen_to("inbox=1", "");
    expect_text("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n");
    expect_text("\r\n\r\nretry: ");
    expect_text("\"hub:ready\"");
    cr_assert_eq(count("hub:missed"), 0);
    notify("first");
    expect_text("\"title\":\"first\"");
    leave();
    notify("second");
    notify("third");
    post("/api/v1/users/ann/notifications/read", "{\"upTo\":1}", 200);
    listen_to("inbox=1", "");
    expect_text("[\"hub:missed\",{\"rooms\":[],\"inbox\":false}]");
    expect_text("\"title\":\"third\"");
    expect_text("[\"unread\",{\"count\":2,");
    notify("fourth");
    expect_text("\"title\":\"fourth\"");
    static const struct {
        const char *text;
        unsigned times;
    } told[] = {{"\"title\":\"first\"", 0}, {"\"title\":\"second\"", 1}, {"\"title\":\"third\"", 1},
        {"\"title\":\"fourth\"", 1}, {"\"notification:state\"", 1}, {"hub:ready", 1}};
    for (size_t i = 0; i < sizeof(told) / sizeof(told[0]); i++) {
        cr_expect_eq(count(told[i].text), told[i].times, "%s in\n%s", told[i].text, listener.text);
    }
    leave();
    listen_to("inbox=1", "");
    expect_text("[\"unread\",{\"count\":3,");
    cr_expect_eq(count("\"title\""), 0, "%s", listener.text);
    leave();
    node_rig_stop(&rig);
}

Test(stream_node, many_that_were_missed_come_once_and_in_order)
{
    enum { MANY = 130 }; /* more than two pages */
    node_rig_start(&rig, KEYS);
    listen_to("inbox=1", "");
    expect_text("hub:ready");
    expect_text("id: ");
    leave();
    for (unsigned i = 0; i < MANY; i++) {
        char title[16];
        snprintf(title, sizeof(title), "n%03u", i);
        notify(title);
    }
    listen_to("inbox=1", "");
    expect_text("[\"unread\",");
    const char *at = listener.text;
    for (unsigned i = 0; i < MANY; i++) {
        char title[32];
        snprintf(title, sizeof(title), "\"title\":\"n%03u\"", i);
        cr_expect_eq(count(title), 1, "%s", title);
        at = strstr(at, title);
        cr_assert_not_null(at, "%s is not behind the one before", title);
    }
    leave();
    node_rig_stop(&rig);
}

Test(stream_node, a_place_that_is_none_is_told_so)
{
    static const struct {
        const char *id;
        const char *told;
    } cases[] = {
        {"1;another-store;3", "[\"hub:resync\",{"},
        {"1;;", "[\"hub:missed\",{\"rooms\":[],\"inbox\":true}]"},
        {"nonsense", "[\"hub:missed\",{\"rooms\":[],\"inbox\":true}]"},
        {"1;x;99999999999999999999999", "[\"hub:missed\",{\"rooms\":[],\"inbox\":true}]"},
        {"1;x;18446744073709551615", "[\"hub:resync\",{"},
    };
    node_rig_start(&rig, KEYS);
    notify("first");
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        snprintf(listener.id, sizeof(listener.id), "%s", cases[i].id);
        listen_to("inbox=1", "");
        expect_text(cases[i].told);
        expect_text("hub:ready"); /* what is posted before is counted in it */
        notify("live");
        expect_text("\"title\":\"live\"");
        cr_expect_eq(count("\"title\":\"live\""), 1);
        cr_expect_eq(count("\"title\":\"first\""), 0, "%s", listener.text);
        leave();
    }
    node_rig_stop(&rig);
}

Test(stream_node, a_rev_that_is_ahead_of_the_store_is_told_to_list_again)
{
    node_rig_start(&rig, KEYS);
    listen_to("inbox=1", "");
    expect_text("\nid: 1;");
    leave();
    char *rev = strrchr(listener.id, ';');
    snprintf(rev, 20, ";4711");
    listen_to("inbox=1", "");
    expect_text("[\"hub:resync\",{");
    expect_text("\nid: 1;");
    leave();
    cr_expect_null(strstr(listener.id, ";4711"), "%s", listener.id);
    node_rig_stop(&rig);
}

Test(stream_node, has_rooms_and_no_inbox_that_was_not_asked_for)
{
    node_rig_start(&rig, KEYS);
    listen_to("rooms=public:a,secret:b&events=update,room_joined", "");
    expect_text("[\"room_joined\",{\"roomId\":\"public:a\"");
    expect_text("[\"error\",{\"code\":\"forbidden\",\"message\":\"Access denied to room\","
                "\"roomId\":\"secret:b\",\"event\":\"join_room\"}]");
    notify("first");
    post("/api/v1/events", "{\"event\":\"other\",\"args\":[0],\"to\":{\"rooms\":[\"public:a\"]}}",
        202);
    post("/api/v1/events",
        "{\"event\":\"update\",\"args\":[{\n\"a\":\n1}],\"to\":{\"rooms\":[\"public:a\"]}}", 202);
    expect_text("[\"update\",{");
    cr_expect_eq(count("\"title\""), 0, "%s", listener.text);
    cr_expect_eq(count("\"other\""), 0, "%s", listener.text);
    cr_expect_eq(count("\nid: 1;;\n"), 1, "%s", listener.text);
    leave();
    listen_to("rooms=public:a", "");
    expect_text("[\"hub:missed\",{\"rooms\":[\"public:a\"],\"inbox\":false}]");
    expect_text("[\"room_joined\",{\"roomId\":\"public:a\"");
    leave();
    node_rig_stop(&rig);
}

Test(stream_node, is_told_which_of_its_rooms_it_is_not_in)
{
    node_rig_start(&rig, KEYS "room_type \"tiny\" { access = {\"any\"} max_members = 1 }\n"
                              "limits { joins_per_minute = 1 joins_burst = 3 }\n");
    listen_to("rooms=tiny:a", "");
    expect_text("[\"room_joined\",{\"roomId\":\"tiny:a\"");
    int first = listener.fd;
    listen_to("rooms=tiny:a,a%2Fb,public:b&events=nothing", "");
    expect_text("[\"error\",{\"code\":\"forbidden\",\"message\":\"Room is full\","
                "\"roomId\":\"tiny:a\",\"event\":\"join_room\"}]");
    expect_text("\"field\":\"roomId\",\"roomId\":\"a/b\",\"event\":\"join_room\"}]");
    expect_text("[\"rate_limited\",{\"event\":\"join_room\",\"roomId\":\"public:b\","
                "\"retryAfter\":");
    leave();
    close(first);
    node_rig_stop(&rig);
}

static void emit(unsigned n)
{
    char body[200];
    snprintf(body, sizeof(body),
        "{\"event\":\"update\",\"args\":[{\"n\":%u}],\"to\":{\"rooms\":[\"public:a\"]}}", n);
    post("/api/v1/events", body, 202);
}

Test(stream_node, where_sockets_recover_rooms_go_on_where_they_were)
{
    static const char *const query = "rooms=public:a&inbox=1";
    node_rig_start(&rig, KEYS "namespace \"/\" { recovery = on }\n");
    listen_to(query, "");
    expect_text("hub:ready");
    expect_text("[\"room_joined\",{\"roomId\":\"public:a\"");
    emit(1);
    notify("first");
    expect_text("{\"n\":1}");
    expect_text("\"title\":\"first\"");
    leave();
    /* The sum of "public:a\n" that every process calculates: another node takes it, too. */
    const char *sum = strrchr(listener.id, ';');
    cr_assert(sum != NULL);
    cr_expect_str_eq(sum, ";3f842435b5711874");
    for (unsigned i = 2; i < 12; i++) {
        emit(i);
    }
    notify("second");
    listen_to(query, "");
    expect_text("\"title\":\"second\"");
    emit(12);
    expect_text("{\"n\":12}");
    cr_expect_eq(count("hub:missed"), 0, "%s", listener.text);
    cr_expect_eq(count("\"title\":\"second\""), 1, "%s", listener.text);
    cr_expect_eq(count("\"title\":\"first\""), 0, "%s", listener.text);
    for (unsigned i = 1; i <= 12; i++) {
        char text[16];
        snprintf(text, sizeof(text), "{\"n\":%u}", i);
        cr_expect_eq(count(text), i == 1 ? 0 : 1, "%s in\n%s", text, listener.text);
    }
    leave();
    emit(13);
    listen_to("rooms=public:b&inbox=1", ""); /* other rooms: not the same socket */
    expect_text("[\"hub:missed\",{\"rooms\":[\"public:b\"],\"inbox\":false}]");
    expect_text("[\"room_joined\",{\"roomId\":\"public:b\"");
    cr_expect_eq(count("{\"n\":13}"), 0, "%s", listener.text);
    leave();
    node_rig_stop(&rig);
}

Test(stream_node, rooms_with_a_memory_go_on_where_they_were)
{
    static const char *const query = "rooms=public:a,chat:b";
    node_rig_start(&rig, KEYS "room_type \"public\" { access = {\"any\"} replay = 5 }\n"
                              "room_type \"chat\" { access = {\"any\"} }\n");
    listen_to(query, "");
    expect_text("[\"room_joined\",{\"roomId\":\"public:a\"");
    expect_text("[\"room_joined\",{\"roomId\":\"chat:b\"");
    emit(1);
    expect_text("{\"n\":1}");
    leave();
    for (unsigned i = 2; i < 6; i++) {
        emit(i);
    }
    listen_to(query, "");
    expect_text("[\"hub:missed\",{\"rooms\":[\"chat:b\"],\"inbox\":false}]");
    expect_text("\"recovered\":true");
    emit(6);
    expect_text("{\"n\":6}");
    for (unsigned i = 1; i <= 6; i++) {
        char text[16];
        snprintf(text, sizeof(text), "{\"n\":%u}", i);
        cr_expect_eq(count(text), i == 1 ? 0 : 1, "%s in\n%s", text, listener.text);
    }
    leave();
    for (unsigned i = 7; i < 13; i++) { /* more than are remembered */
        emit(i);
    }
    listen_to(query, "");
    expect_text("\"recovered\":false");
    cr_expect_eq(count("[\"update\""), 0, "%s", listener.text);
    leave();
    emit(13);
    listen_to("rooms=public:a", ""); /* other rooms: nothing is known of them */
    expect_text("[\"hub:missed\",{\"rooms\":[\"public:a\"],\"inbox\":false}]");
    expect_text("[\"room_joined\",{\"roomId\":\"public:a\"");
    cr_expect_eq(count("{\"n\":13}"), 0, "%s", listener.text);
    leave();
    node_rig_stop(&rig);
}

Test(stream_node, of_a_room_that_it_is_not_in_no_place_is_told)
{
    node_rig_start(&rig,
        KEYS "room_type \"public\" { access = {\"any\"} replay = 5 }\n"
             "room_type \"tiny\" { access = {\"any\"} replay = 5 max_members = 1 }\n");
    listen_to("rooms=tiny:a", "");
    expect_text("[\"room_joined\",{\"roomId\":\"tiny:a\"");
    int first = listener.fd;
    listen_to("rooms=tiny:a,public:a", "");
    expect_text("\"message\":\"Room is full\"");
    expect_text("[\"room_joined\",{\"roomId\":\"public:a\"");
    emit(1);
    expect_text("{\"n\":1}");
    leave();
    cr_expect_str_eq(listener.id, "1;;", "%s", listener.text);
    close(first);
    node_rig_stop(&rig);
}

Test(stream_node, a_request_for_the_head_takes_nothing_away)
{
    static const char *const query = "rooms=public:a";
    node_rig_start(&rig, "shards = 1\n" KEYS "namespace \"/\" { recovery = on }\n");
    listen_to(query, "");
    expect_text("[\"room_joined\",{\"roomId\":\"public:a\"");
    emit(1);
    expect_text("{\"n\":1}");
    leave();
    emit(2);
    ask_for_head(query);
    listen_to(query, "");
    expect_text("{\"n\":2}");
    cr_expect_eq(count("hub:missed"), 0, "%s", listener.text);
    leave();
    node_rig_stop(&rig);
}

Test(stream_node, what_recovers_ends_with_its_last_words)
{
    node_rig_start(&rig, KEYS "namespace \"/\" { recovery = on }\n");
    listen_to("inbox=1", "");
    expect_text("hub:ready");
    post("/api/v1/users/ann/disconnect", "{}", 202);
    expect_text("[\"hub:closing\",{\"code\":4403,");
    expect_end();
    leave();
    listen_to("inbox=1", "");
    expect_text("[\"hub:missed\",{\"rooms\":[],\"inbox\":false}]");
    leave();
    node_rig_stop(&rig);
}

Test(stream_node, who_was_slow_has_its_inbox_whole_when_it_comes_back)
{
    enum { ROUNDS = 10, EVENTS = 30 };
    static const char *const limits =
        "limits { slow_consumer = 1s outbound_bytes = 64KiB outbound_max = 256KiB }\n";
    static char body[40000];
    char settings[1024];
    unsigned times[ROUNDS] = {0};
    snprintf(settings, sizeof(settings), "%s%s", KEYS, limits);
    node_rig_start(&rig, settings);
    listen_to("inbox=1&rooms=public:a", "");
    expect_text("hub:ready");
    expect_text("room_joined");
    int len = snprintf(body, sizeof(body),
        "{\"event\":\"big\",\"args\":[\"%030000d\"],\"to\":{\"rooms\":[\"public:a\"]}}", 7);
    cr_assert_lt(len, (int)sizeof(body));
    for (unsigned i = 0; i < ROUNDS; i++) { /* more than kernels take, of which nothing is read */
        char title[16];
        snprintf(title, sizeof(title), "n%u", i);
        notify(title);
        for (unsigned n = 0; n < EVENTS; n++) {
            post("/api/v1/events", body, 202);
        }
    }
    while (hear(WAIT_MS)) {
    }
    for (unsigned i = 0; i < ROUNDS; i++) {
        char title[32];
        snprintf(title, sizeof(title), "\"title\":\"n%u\"", i);
        const char *end = NULL; /* of the last event that came as a whole */
        for (const char *at = listener.text; (at = strstr(at, "\n\n")) != NULL; at++) {
            end = at;
        }
        const char *found = strstr(listener.text, title);
        times[i] += found != NULL && found < end;
    }
    cr_assert_eq(times[ROUNDS - 1], 0, "it was ended before the last one");
    leave();
    listen_to("inbox=1", "");
    expect_text("[\"unread\",{\"count\":10,");
    for (unsigned i = 0; i < ROUNDS; i++) {
        char title[32];
        snprintf(title, sizeof(title), "\"title\":\"n%u\"", i);
        times[i] += count(title);
        cr_expect_eq(times[i], 1, "%s came %u times", title, times[i]);
    }
    leave();
    node_rig_stop(&rig);
}

Test(stream_node, connections_of_a_user_are_those_of_all_kinds)
{
    node_rig_start(&rig, KEYS "limits { connections_per_user = 1 }\n");
    listen_to("", "");
    expect_text("hub:ready");
    int first = listener.fd;
    snprintf(listener.id, sizeof(listener.id), "1;store;3");
    listen_to("inbox=1", "");
    expect_text("retry: 10000\n");
    expect_text("[\"hub:closing\",{\"code\":4429,");
    expect_end();
    cr_expect_eq(count("\nid: "), 0, "it keeps the place it came with");
    close(listener.fd);
    close(first);
    node_rig_stop(&rig);
}

Test(stream_node, a_backend_ends_it)
{
    node_rig_start(&rig, KEYS);
    listen_to("inbox=1", "");
    expect_text("hub:ready");
    post("/api/v1/users/ann/disconnect", "{}", 202);
    expect_text("[\"hub:closing\",{\"code\":4403,");
    expect_end();
    close(listener.fd);
    node_rig_stop(&rig);
}

Test(stream_node, pages_of_listed_origins_may_read_it)
{
    static struct node_answer answer;
    node_rig_start(&rig, KEYS);
    listen_to("", "Origin: https://shop.example\r\n");
    expect_text("Access-Control-Allow-Origin: https://shop.example\r\n");
    expect_text("hub:ready");
    close(listener.fd);
    listen_to("", "Origin: https://evil.example\r\n");
    expect_text("HTTP/1.1 403 ");
    close(listener.fd);
    const struct node_call call = {.method = "OPTIONS",
        .target = "/api/v1/stream",
        .headers = "Origin: https://shop.example\r\nAccess-Control-Request-Method: GET\r\n"
                   "Access-Control-Request-Headers: authorization, last-event-id\r\n"};
    node_rig_ask(&rig, &call, &answer);
    cr_expect_eq(answer.status, 204);
    cr_expect(strstr(answer.head, "Last-Event-ID"), "%s", answer.head);
    node_rig_stop(&rig);
}

Test(stream_node, who_shows_no_token_or_asks_for_what_nobody_knows_is_refused)
{
    static struct node_answer answer;
    static const struct {
        const char *target;
        unsigned status;
        const char *body;
    } cases[] = {
        {"/api/v1/stream", 401, "\"unauthorized\""},
        {"/api/v1/stream?token=nonsense", 401, "\"unauthorized\""},
        {"/api/v1/stream?room=a", 400, "\"field\":\"room\""},
        {"/api/v1/stream?inbox=2", 400, "\"field\":\"inbox\""},
        {"/api/v1/stream?rooms=%00", 400, "\"field\":\"rooms\""},
    };
    node_rig_start(&rig, KEYS);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct node_call call = {.method = "GET", .target = cases[i].target};
        node_rig_ask(&rig, &call, &answer);
        cr_expect_eq(answer.status, cases[i].status, "%s: %s", cases[i].target, answer.body);
        cr_expect(strstr(answer.body, cases[i].body), "%s: %s", cases[i].target, answer.body);
    }
    char token[NODE_RIG_TOKEN_MAX];
    node_rig_token("ann", "", token);
    const struct node_call head = {.method = "HEAD", .target = "/api/v1/stream", .key = token};
    node_rig_ask(&rig, &head, &answer);
    cr_expect_eq(answer.status, 200);
    cr_expect_str_eq(answer.body, "", "a head alone");
    node_rig_stop(&rig);
}
