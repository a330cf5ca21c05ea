/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests of ours, against a backend that misbehaves in every way that it can.
 */
#include <criterion/criterion.h>
#include <stdio.h>

#include "codec/base/clock.h"
#include "codec/base/mem.h"
#include "codec/base/status.h"
#include "hub/net/outgoing.h"
#include "hub/net/outgoing_guard.h"
#include "tests/support/http_backend.h"
#include "tests/support/net_rig.h"

TestSuite(outgoing, .timeout = 120);

enum { ASKED_MAX = 64, TIMEOUT_MS = 15000, ANSWER_MAX = 1048576 };

struct world;

struct asked {
    struct outgoing_request request; /* first */
    struct world *world;
    char url[128];
    int status; /* of outgoing_begin */
    unsigned done;
    bool early; /* done was called in outgoing_begin */
};

struct world {
    struct rig rig;
    uint16_t port;
    struct outgoing *outgoing;
    struct outgoing_guard *guard;
    struct outgoing_endpoint endpoint;
    struct asked asked[ASKED_MAX];
    unsigned count;
    unsigned ended;
    bool closed_in_done;
};

static void open_client(void *arg)
{
    struct world *world = arg;
    world->outgoing = outgoing_open(world->rig.loops[0]);
    outgoing_set(world->outgoing, world->guard, "");
}

static void start(struct world *world, const char *const *allowed, size_t count)
{
    struct builder error = {.max = 1000};
    struct bytes listed[8];
    for (size_t i = 0; i < count; i++) {
        listed[i] = bytes_str(allowed[i]);
    }
    memset(world, 0, sizeof(*world));
    cr_assert_eq(outgoing_guard_create(listed, count, &error, &world->guard), 0);
    world->port = http_backend_start();
    world->endpoint.under_way_max = 32;
    world->endpoint.waiting_max = 256;
    rig_start(&world->rig, 1, NULL, NULL);
    rig_call(&world->rig, 0, open_client, world);
}

static const char *const loopback[] = {"127.0.0.1", "one.test", "slow.test"};

static struct world *begin(void)
{
    static struct world world;
    start(&world, loopback, ARRAY_LEN(loopback));
    return &world;
}

static void close_client(void *arg)
{
    outgoing_close(((struct world *)arg)->outgoing);
}

static bool is_closed(void *arg)
{
    return outgoing_count_open(((struct world *)arg)->outgoing) == 0;
}

static void end(struct world *world)
{
    rig_call(&world->rig, 0, close_client, world);
    cr_assert(rig_wait(&world->rig, 0, is_closed, world));
    for (unsigned i = 0; i < world->count; i++) {
        cr_expect_eq(world->asked[i].done, world->asked[i].status == 0, "each ends once");
        builder_reset(&world->asked[i].request.answer);
    }
    rig_stop(&world->rig);
    outgoing_destroy(world->outgoing);
    outgoing_guard_destroy(world->guard);
    http_backend_stop();
}

static void on_done(struct outgoing_request *request)
{
    struct asked *asked = (struct asked *)(void *)request;
    asked->done++;
    asked->early = asked->status == STATUS_AGAIN;
    asked->world->ended++;
    if (asked->world->closed_in_done) {
        outgoing_close(asked->world->outgoing);
    }
}

static void begin_request(void *arg)
{
    struct asked *asked = arg;
    asked->status = STATUS_AGAIN;
    asked->status = outgoing_begin(asked->world->outgoing, &asked->request);
    cr_expect(!asked->early, "never before the call has returned");
}

/* Begin to ask; `host` with the backend's port behind it. */
static struct asked *ask_with(
    struct world *world, const char *host, const char *path, struct bytes body, uint32_t timeout_ms)
{
    static const char *const headers[] = {"Content-Type: application/json", "X-One: 1"};
    cr_assert_lt(world->count, ASKED_MAX);
    struct asked *asked = &world->asked[world->count++];
    snprintf(asked->url, sizeof(asked->url), "http://%s:%u%s", host, world->port, path);
    asked->world = world;
    asked->request.endpoint = &world->endpoint;
    asked->request.url = asked->url;
    asked->request.headers = headers;
    asked->request.header_count = ARRAY_LEN(headers);
    asked->request.body = body;
    asked->request.timeout_ms = timeout_ms;
    asked->request.answer_max = ANSWER_MAX;
    asked->request.done = on_done;
    rig_call(&world->rig, 0, begin_request, asked);
    return asked;
}

static bool has_ended(void *arg)
{
    return ((struct asked *)arg)->done > 0;
}

static bool all_ended(void *arg)
{
    const struct world *world = arg;
    unsigned begun = 0;
    for (unsigned i = 0; i < world->count; i++) {
        begun += world->asked[i].status == 0;
    }
    return world->ended == begun;
}

static struct asked *ask(struct world *world, const char *host, const char *path)
{
    struct asked *asked = ask_with(world, host, path, BYTES("{\"a\":1}"), TIMEOUT_MS);
    if (asked->status == 0) {
        cr_assert(rig_wait(&world->rig, 0, has_ended, asked), "%s", asked->url);
    }
    return asked;
}

static void expect_text(const struct asked *asked, const char *text)
{
    struct bytes answer = builder_bytes(&asked->request.answer);
    cr_expect_eq(
        asked->request.end, OUTGOING_ANSWERED, "%s", outgoing_end_text(asked->request.end));
    cr_expect_eq(asked->request.status, 200);
    cr_expect(bytes_eq_str(answer, text), "%.*s", (int)answer.len, answer.at);
}

Test(outgoing, a_request_is_sent_and_answered)
{
    struct world *world = begin();
    expect_text(ask(world, "127.0.0.1", "/answer?x=1"), "{\"a\":1}");
    char *last = http_backend_last();
    cr_expect(strncmp(last, "POST /answer?x=1 HTTP/1.1\r\n", 27) == 0, "%s", last);
    cr_expect(strstr(last, "\r\nContent-Type: application/json\r\n") != NULL, "%s", last);
    cr_expect(strstr(last, "\r\nX-One: 1\r\n") != NULL, "%s", last);
    cr_expect(strstr(last, "\r\nUser-Agent: Peal\r\n") != NULL, "%s", last);
    cr_expect(strstr(last, "\r\nContent-Length: 7\r\n") != NULL, "%s", last);
    cr_expect(strstr(last, "xpect") == NULL && strstr(last, "ccept-Encoding") == NULL, "%s", last);
    cr_expect(strstr(last, "\r\n\r\n{\"a\":1}") != NULL, "%s", last);
    mem_free(last);
    end(world);
}

Test(outgoing, connections_are_kept)
{
    struct world *world = begin();
    for (unsigned i = 0; i < 20; i++) {
        expect_text(ask(world, "127.0.0.1", "/answer"), "{\"a\":1}");
    }
    cr_expect_eq(http_backend_connections(), 1);
    cr_expect_eq(http_backend_requests(), 20);
    end(world);
}

static struct outgoing_stats stats_of(const struct world *world)
{
    return *outgoing_get_stats(world->outgoing);
}

static bool has_held(void *arg)
{
    return http_backend_held() == *(unsigned *)arg;
}

/* Two at a time, two more wait, the fifth is refused; what ends makes place. */
Test(outgoing, what_is_under_way_and_what_waits_is_bounded)
{
    struct world *world = begin();
    struct asked *asked[5];
    unsigned two = 2;
    world->endpoint.under_way_max = 2;
    world->endpoint.waiting_max = 2;
    for (unsigned i = 0; i < 5; i++) {
        asked[i] = ask_with(world, "127.0.0.1", "/held", BYTES("x"), i == 0 ? 500 : TIMEOUT_MS);
        cr_expect_eq(asked[i]->status, i < 4 ? 0 : STATUS_FULL);
    }
    cr_assert(rig_wait(&world->rig, 0, has_held, &two));
    cr_expect_eq(stats_of(world).refused, 1);
    cr_assert(rig_wait(&world->rig, 0, has_ended, asked[0])); /* late: the third begins */
    cr_expect_eq(stats_of(world).under_way, 2);
    cr_expect_eq(stats_of(world).waiting, 1);
    http_backend_release();
    cr_assert(rig_wait(&world->rig, 0, all_ended, world));
    cr_expect_eq(asked[0]->request.end, OUTGOING_TIMEOUT);
    for (unsigned i = 1; i < 4; i++) {
        expect_text(asked[i], "x");
    }
    cr_expect_eq(stats_of(world).under_way, 0);
    cr_expect_eq(stats_of(world).waiting, 0);
    end(world);
}

/* The time of what waits runs, too. */
Test(outgoing, what_waits_for_too_long_ends)
{
    struct world *world = begin();
    world->endpoint.under_way_max = 1;
    struct asked *first = ask_with(world, "127.0.0.1", "/silent", BYTES("x"), TIMEOUT_MS);
    struct asked *second = ask_with(world, "127.0.0.1", "/answer", BYTES("x"), 100);
    cr_assert(rig_wait(&world->rig, 0, has_ended, second));
    cr_expect_eq(second->request.end, OUTGOING_TIMEOUT);
    cr_expect_eq(first->done, 0);
    cr_expect_eq(stats_of(world).waiting, 0);
    end(world); /* which ends the first */
    cr_expect_eq(first->request.end, OUTGOING_CLOSED);
}

Test(outgoing, each_misbehaviour_has_its_end)
{
    static const struct {
        const char *path;
        enum outgoing_end end;
        unsigned status;
    } rows[] = {
        {"/status/503", OUTGOING_ANSWERED, 503},
        {"/status/202_Accepted", OUTGOING_ANSWERED, 202},
        {"/redirect", OUTGOING_ANSWERED, 302},
        {"/endless", OUTGOING_TOO_LARGE, 0},
        {"/heads", OUTGOING_TOO_LARGE, 0},
        {"/large", OUTGOING_TOO_LARGE, 0},
        {"/short", OUTGOING_BROKEN, 0},
        {"/noise", OUTGOING_BROKEN, 0},
        {"/hang-up", OUTGOING_BROKEN, 0},
    };
    struct world *world = begin();
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        unsigned before = http_backend_requests();
        const struct asked *asked = ask(world, "127.0.0.1", rows[i].path);
        cr_expect_eq(asked->request.end, rows[i].end, "%s: %s", rows[i].path,
            outgoing_end_text(asked->request.end));
        cr_expect_eq(asked->request.status, rows[i].status, "%s", rows[i].path);
        cr_expect_leq(builder_bytes(&asked->request.answer).len, ANSWER_MAX);
        cr_expect_eq(
            http_backend_requests(), before + 1, "%s: no redirect is followed", rows[i].path);
    }
    struct asked *silent = ask_with(world, "127.0.0.1", "/silent", BYTES("x"), 100);
    cr_assert(rig_wait(&world->rig, 0, has_ended, silent));
    cr_expect_eq(silent->request.end, OUTGOING_TIMEOUT);
    expect_text(ask(world, "127.0.0.1", "/answer"), "{\"a\":1}");
    cr_expect_eq(stats_of(world).timeouts, 1);
    cr_expect_eq(stats_of(world).failed, 6);
    end(world);
}

/* Whether the reset is there already when the answer is read, or comes later. */
Test(outgoing, an_answer_that_is_followed_by_a_reset_is_one)
{
    enum { TIMES = 20 };
    struct world *world = begin();
    for (unsigned i = 0; i < TIMES; i++) {
        const struct asked *asked = ask(world, "127.0.0.1", "/reset");
        cr_expect_eq(
            asked->request.end, OUTGOING_ANSWERED, "%s", outgoing_end_text(asked->request.end));
        expect_text(asked, "well");
    }
    expect_text(ask(world, "127.0.0.1", "/answer"), "{\"a\":1}");
    end(world);
}

/* What got its place when its time was nearly over has but waited. */
Test(outgoing, who_waited_for_most_of_its_time_was_not_asked)
{
    enum { UNDER_WAY = 2, TIMES = 6, SHORT_MS = 200 };
    struct world *world = begin();
    struct asked *asked[TIMES];
    unsigned sent = 0;
    world->endpoint.under_way_max = UNDER_WAY;
    for (unsigned i = 0; i < TIMES; i++) {
        asked[i] = ask_with(world, "127.0.0.1", "/silent", BYTES("x"), SHORT_MS);
    }
    for (unsigned i = 0; i < TIMES; i++) {
        cr_assert(rig_wait(&world->rig, 0, has_ended, asked[i]));
        cr_expect_eq(asked[i]->request.end, OUTGOING_TIMEOUT);
        sent += asked[i]->request.sent;
    }
    cr_expect_eq(sent, UNDER_WAY);
    end(world);
}

Test(outgoing, who_is_not_there_is_told_so)
{
    struct world *world = begin();
    expect_text(ask(world, "one.test", "/answer"), "{\"a\":1}");
    http_backend_stop();
    const struct asked *asked = ask(world, "127.0.0.1", "/answer");
    cr_expect_eq(
        asked->request.end, OUTGOING_NO_CONNECTION, "%s", outgoing_end_text(asked->request.end));
    world->port = http_backend_start();
    end(world);
}

/* Whatever way a URL says 127.0.0.1 or a name leads inside: nothing is connected to. */
Test(outgoing, no_address_is_called_that_is_not_allowed)
{
    static const char *const hosts[] = {"127.0.0.1", "127.1", "2130706433", "0x7f000001", "0x7f.1",
        "0177.0.0.1", "017700000001", "0", "0.0.0.0", "[::1]", "[::]", "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]", "[::127.0.0.1]", "[64:ff9b::7f00:1]", "localhost", "one.test",
        "two.test", "inside.test", "169.254.169.254", "10.0.0.1", "[fe80::1]"};
    static struct world world;
    start(&world, NULL, 0);
    for (size_t i = 0; i < ARRAY_LEN(hosts); i++) {
        struct asked *asked = &world.asked[world.count++];
        snprintf(asked->url, sizeof(asked->url), "https://%s:%u/answer", hosts[i], world.port);
        asked->world = &world;
        asked->request.endpoint = &world.endpoint;
        asked->request.url = asked->url;
        asked->request.timeout_ms = TIMEOUT_MS;
        asked->request.done = on_done;
        rig_call(&world.rig, 0, begin_request, asked);
        cr_assert_eq(asked->status, 0);
        cr_assert(rig_wait(&world.rig, 0, has_ended, asked));
        cr_expect_eq(asked->request.end, OUTGOING_FORBIDDEN, "%s: %s", asked->url,
            outgoing_end_text(asked->request.end));
        cr_expect_eq(ask(&world, hosts[i], "/answer")->status, STATUS_DENIED, "not by http at all");
    }
    cr_expect_eq(http_backend_connections(), 0);
    cr_expect_eq(stats_of(&world).forbidden, ARRAY_LEN(hosts));
    end(&world);
}

/* A name of which one address is allowed is called at that one. */
Test(outgoing, of_several_addresses_the_allowed_one_is_called)
{
    static const char *const allowed[] = {"127.0.0.1"};
    static struct world world;
    start(&world, allowed, ARRAY_LEN(allowed));
    struct asked *asked = &world.asked[world.count++];
    snprintf(asked->url, sizeof(asked->url), "https://two.test:%u/answer", world.port);
    asked->world = &world;
    asked->request.endpoint = &world.endpoint;
    asked->request.url = asked->url;
    asked->request.timeout_ms = TIMEOUT_MS;
    asked->request.done = on_done;
    rig_call(&world.rig, 0, begin_request, asked);
    cr_assert(rig_wait(&world.rig, 0, has_ended, asked));
    cr_expect_eq(asked->request.end, OUTGOING_NO_TRUST, "what is there speaks no TLS: %s",
        outgoing_end_text(asked->request.end));
    cr_expect_eq(http_backend_connections(), 1);
    end(&world);
}

static bool looks_up(void *arg)
{
    return http_backend_lookups() == *(unsigned *)arg;
}

/* A look-up that takes long holds up nobody: not other requests, not its own end. */
Test(outgoing, a_name_server_that_is_silent_blocks_nothing)
{
    struct world *world = begin();
    unsigned one = 1;
    unsigned two = 2;
    struct asked *slow = ask_with(world, "slow.test", "/answer", BYTES("x"), 300);
    cr_assert(rig_wait(&world->rig, 0, looks_up, &one));
    expect_text(ask(world, "127.0.0.1", "/answer"), "{\"a\":1}");
    cr_assert(rig_wait(&world->rig, 0, has_ended, slow), "though its name is still looked up");
    cr_expect_eq(slow->request.end, OUTGOING_TIMEOUT);
    cr_expect_eq(http_backend_lookups(), 1, "nobody waited for it");
    struct asked *last = ask_with(world, "slow.test", "/answer", BYTES("y"), TIMEOUT_MS);
    cr_assert(rig_wait(&world->rig, 0, looks_up, &two));
    http_backend_release();
    cr_assert(rig_wait(&world->rig, 0, has_ended, last));
    expect_text(last, "y");
    unsigned none = 0;
    cr_assert(rig_wait(&world->rig, 0, looks_up, &none));
    end(world);
}

Test(outgoing, a_name_without_an_address_is_told_so)
{
    static const char *const allowed[] = {"none.test"};
    static struct world world;
    start(&world, allowed, ARRAY_LEN(allowed));
    cr_expect_eq(ask(&world, "none.test", "/answer")->request.end, OUTGOING_NO_HOST);
    end(&world);
}

/* Proxies of the environment are not used. */
Test(outgoing, no_proxy_is_used)
{
    setenv("http_proxy", "http://127.0.0.1:1", 1);
    setenv("all_proxy", "socks5://127.0.0.1:1", 1);
    struct world *world = begin();
    expect_text(ask(world, "127.0.0.1", "/answer"), "{\"a\":1}");
    end(world);
}

Test(outgoing, closing_ends_all_and_begins_nothing)
{
    struct world *world = begin();
    world->endpoint.under_way_max = 2;
    for (unsigned i = 0; i < 4; i++) {
        (void)ask_with(world, "127.0.0.1", "/silent", BYTES("x"), TIMEOUT_MS);
    }
    (void)ask_with(world, "slow.test", "/answer", BYTES("x"), TIMEOUT_MS);
    rig_call(&world->rig, 0, close_client, world);
    cr_expect_eq(world->ended, 5);
    for (unsigned i = 0; i < world->count; i++) {
        cr_expect_eq(world->asked[i].request.end, OUTGOING_CLOSED);
    }
    cr_expect_eq(ask(world, "127.0.0.1", "/answer")->status, STATUS_CLOSED);
    http_backend_release();
    end(world);
}

Test(outgoing, closing_in_the_end_of_a_request_is_fine)
{
    struct world *world = begin();
    world->closed_in_done = true;
    (void)ask_with(world, "127.0.0.1", "/silent", BYTES("x"), TIMEOUT_MS);
    (void)ask(world, "127.0.0.1", "/answer");
    cr_assert(rig_wait(&world->rig, 0, all_ended, world));
    end(world);
}

/* Many at once, of every kind; each ends once. */
Test(outgoing, many_of_all_kinds_end_once)
{
    static const char *const paths[] = {
        "/answer", "/status/500", "/short", "/hang-up", "/large", "/silent", "/noise", "/redirect"};
    struct world *world = begin();
    world->endpoint.under_way_max = 7;
    for (unsigned i = 0; i < ASKED_MAX; i++) {
        (void)ask_with(world, "127.0.0.1", paths[i % ARRAY_LEN(paths)], BYTES("x"), 2000);
    }
    cr_assert(rig_wait(&world->rig, 0, all_ended, world));
    cr_expect_eq(stats_of(world).under_way, 0);
    cr_expect_eq(stats_of(world).waiting, 0);
    end(world);
}
