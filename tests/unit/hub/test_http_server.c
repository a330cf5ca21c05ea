/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The HTTP server over real sockets: requests, attacks, deadlines, and bytes behind an upgrade.
 */
#include <criterion/criterion.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "codec/base/mem.h"
#include "hub/net/connection.h"
#include "hub/net/http_server.h"
#include "hub/net/loop.h"
#include "tests/support/net_rig.h"

TestSuite(http_server, .timeout = 120);

struct server {
    struct rig rig;
    struct http_server_config config;
    struct http_request *waiting;
    unsigned gone;
    unsigned upgraded;
    unsigned requests;
    unsigned observed; /* the status of the last answer */
};

static void on_echo(struct http_request *request, void *context)
{
    http_respond(request, 200, "text/plain", BYTES("X-A: b\r\n"), request->body);
}

static void on_param(struct http_request *request, void *context)
{
    char buffer[32];
    struct bytes value;
    if (http_param(request, 1, buffer, sizeof(buffer), &value) != 0) {
        http_respond_error(request, ERROR_INVALID_FIELD, "not a \"name\"", "name");
        return;
    }
    http_respond(request, 200, "text/plain", bytes_of(NULL, 0), value);
}

static void on_gone(struct http_request *request)
{
    struct server *server = request->user;
    server->gone++;
    server->waiting = NULL;
}

static void on_wait(struct http_request *request, void *context)
{
    struct server *server = context;
    server->waiting = request;
    request->user = server;
    request->gone = on_gone;
    server->requests++;
}

static void on_inject(struct http_request *request, void *context)
{
    http_respond(request, 200, "text/plain", BYTES("X: a\nSet-Cookie: b\r\n"), BYTES("x"));
}

/* As large as is asked: small allocations have a reserve, large ones have not. */
static void on_starved(struct http_request *request, void *context)
{
    static char body[5000];
    memset(body, 'b', sizeof(body));
    mem_refuse(true);
    http_respond(request, bytes_eq(request->query, BYTES("unknown")) ? 504 : 200, "text/plain",
        BYTES("ETag: x\r\n"),
        bytes_of(body, bytes_eq(request->query, BYTES("large")) ? sizeof(body) : 10));
    mem_refuse(false);
}

static void note_status(
    void *context, const struct http_request *request, unsigned status, uint64_t took_ns)
{
    struct server *server = context;
    server->observed = status;
}

static bool refuse_head(struct http_request *request, void *context)
{
    http_respond_error(request, ERROR_UNAUTHORIZED, "no", NULL);
    return false;
}

static size_t take_raw(struct connection *connection, struct bytes bytes)
{
    struct builder builder = {0};
    builder_add(&builder, bytes);
    struct chunk *chunk = chunk_take(&builder);
    outbox_append(connection_outbox(connection),
        &loop_shard(connection_loop(connection))->dirty_outboxes, chunk, 0, chunk->len);
    chunk_unref(chunk);
    return bytes.len;
}

static void end_raw(struct connection *connection, enum close_reason reason)
{
}

static const struct connection_ops raw_ops = {.on_bytes = take_raw, .on_closed = end_raw};

static void on_upgrade(struct http_request *request, void *context)
{
    struct server *server = context;
    struct connection *connection = request->connection;
    server->upgraded++;
    http_upgrade(request, BYTES("HTTP/1.1 101 Switching Protocols\r\n\r\n"));
    connection_own(connection, &raw_ops, server);
}

/* Answers with the number of the loop's turn. */
static void on_turn(struct http_request *request, void *context)
{
    struct server *server = context;
    char text[21];
    (void)snprintf(text, sizeof(text), "%020" PRIu64, loop_turn(server->rig.loops[0]));
    http_respond(request, 200, "text/plain", bytes_of(NULL, 0), bytes_of(text, 20));
}

static void on_close(struct http_request *request, void *context)
{
    (void)context;
    http_close(request, BYTES("any bytes"), CLOSE_UNAUTHORIZED);
}

static char lasting[300000];

/* Its body is in the outbox from where it lies. */
static void on_lasting(struct http_request *request, void *context)
{
    struct iovec ranges[3];
    const struct outbox *outbox = connection_outbox(request->connection);
    bool head = request->head->method == HTTP1_HEAD;
    http_respond_lasting(
        request, "text/plain", BYTES("X-A: b\r\n"), bytes_of(lasting, sizeof(lasting)));
    size_t count = outbox_peek(outbox, ranges, 3, SIZE_MAX);
    cr_expect_eq(count, head ? 1 : 2);
    cr_expect(head || ranges[1].iov_base == lasting);
}

static const struct http_route routes[] = {
    {.method = "GET", .path = "/lasting", .handler = on_lasting},
    {.method = "GET", .path = "/", .handler = on_echo},
    {.method = "POST", .path = "/echo", .handler = on_echo, .max_body = 100000},
    {.method = "GET", .path = "/a/{}/b/{}", .handler = on_param},
    {.method = "GET", .path = "/files/*", .handler = on_echo},
    {.method = "GET", .path = "/turn", .handler = on_turn},
    {.method = "GET", .path = "/wait", .handler = on_wait},
    {.method = "GET", .path = "/inject", .handler = on_inject},
    {.method = "GET", .path = "/starved", .handler = on_starved},
    {.method = "POST", .path = "/starved", .handler = on_starved, .max_body = 99},
    {.method = "GET", .path = "/close", .handler = on_close},
    {.method = "GET", .path = "/up", .handler = on_upgrade},
    {.method = "POST", .path = "/closed", .handler = on_echo, .head = refuse_head, .max_body = 99},
    {.path = NULL},
};

static void on_accept(struct connection *connection, void *context)
{
    struct server *server = context;
    http_serve(connection, &server->config);
}

static struct server *start(void)
{
    struct server *server = calloc(1, sizeof(*server));
    server->config = (struct http_server_config){.routes = routes,
        .context = server,
        .max_head_bytes = 8192,
        .max_headers = 64,
        .head_timeout_ms = 60000,
        .body_timeout_ms = 60000,
        .idle_timeout_ms = 60000};
    rig_start(&server->rig, 1, on_accept, server);
    return server;
}

static void stop(struct server *server)
{
    rig_stop(&server->rig);
    free(server);
}

static void let_it_read(void *arg)
{
}

/* Send and return all that comes back before the end, as a string. */
static char *ask(struct server *server, struct bytes input, bool byte_by_byte)
{
    static char got[200000];
    int fd = rig_connect(&server->rig);
    for (size_t i = 0; byte_by_byte && i < input.len; i++) {
        rig_send(fd, bytes_of(input.at + i, 1));
        rig_call(&server->rig, 0, let_it_read, NULL);
    }
    if (!byte_by_byte) {
        rig_send(fd, input);
    }
    size_t len;
    cr_expect(rig_recv_all(fd, got, sizeof(got) - 1, &len), "not closed: %.40s", input.at);
    got[len] = '\0';
    close(fd);
    return got;
}

static void expect_answer(struct server *server, const char *input, const char *start_of_answer)
{
    for (int byte_by_byte = 0; byte_by_byte < 2; byte_by_byte++) {
        char *got = ask(server, bytes_str(input), byte_by_byte);
        cr_expect(strncmp(got, start_of_answer, strlen(start_of_answer)) == 0, "%.60s -> %.200s",
            input, got);
    }
}

#define HOST "Host: h\r\n"
#define LAST HOST "Connection: close\r\n\r\n"

Test(http_server, answers_requests)
{
    struct server *server = start();
    static const struct {
        const char *input;
        const char *answer;
    } cases[] = {
        {"GET / HTTP/1.1\r\n" LAST,
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 0\r\n"
            "Connection: close\r\nX-A: b\r\n\r\n"},
        {"POST /echo HTTP/1.1\r\nContent-Length: 3\r\n" LAST "abc",
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n"
            "Connection: close\r\nX-A: b\r\n\r\nabc"},
        {"POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" LAST
         "2\r\nab\r\n1\r\nc\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 3\r\n"
            "Connection: close\r\nX-A: b\r\n\r\nabc"},
        {"POST /echo HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 1\r\n" LAST "a",
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n"},
        {"HEAD /a/x/b/y HTTP/1.1\r\n" LAST,
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 1\r\n"
            "Connection: close\r\n\r\n"},
        {"GET /a/x/b/%41%2f HTTP/1.1\r\n" LAST,
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n"
            "Connection: close\r\n\r\nA/"},
        {"GET /a/x/b/%00 HTTP/1.1\r\n" LAST, "HTTP/1.1 422 "},
        {"GET /a//b/c HTTP/1.1\r\n" LAST, "HTTP/1.1 404 "},
        {"GET /files/x/../y HTTP/1.1\r\n" LAST, "HTTP/1.1 200 "},
        {"GET /files HTTP/1.1\r\n" LAST,
            "HTTP/1.1 404 Not Found\r\nContent-Type: application/json"},
        {"POST / HTTP/1.1\r\n" LAST, "HTTP/1.1 405 Method Not Allowed\r\n"},
        {"GET / HTTP/1.0\r\n\r\n", "HTTP/1.1 200 OK\r\n"},
        {"GET / HTTP/1.1\r\n" HOST "\r\nGET /wrong HTTP/1.1\r\n" LAST,
            "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 0\r\nX-A: b\r\n\r\n"
            "HTTP/1.1 404 Not Found\r\n"},
        {"GET /inject HTTP/1.1\r\n" HOST "\r\n",
            "HTTP/1.1 500 Internal Server Error\r\nContent-Type: application/json\r\n"},
        {"POST /closed HTTP/1.1\r\nContent-Length: 5\r\n" HOST "\r\nabcde",
            "HTTP/1.1 401 Unauthorized\r\n"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        expect_answer(server, cases[i].input, cases[i].answer);
    }
    char *got = ask(server, BYTES("POST / HTTP/1.1\r\n" LAST), false);
    cr_expect_not_null(strstr(got, "\r\nAllow: GET, HEAD\r\n"), "%s", got);
    cr_expect_not_null(
        strstr(got, "{\"error\":{\"code\":\"method_not_allowed\",\"message\":"), "%s", got);
    got = ask(server, BYTES("GET /a/x/b/%zz HTTP/1.1\r\n" LAST), false);
    cr_expect_not_null(
        strstr(got, "\"message\":\"not a \\\"name\\\"\",\"field\":\"name\"}}"), "%s", got);
    stop(server);
}

Test(http_server, an_answer_without_memory_is_a_refusal_that_says_so)
{
    static const char *const inputs[] = {"GET /starved HTTP/1.1\r\n" HOST "\r\n",
        "GET /starved?large HTTP/1.1\r\n" HOST "\r\n", "HEAD /starved HTTP/1.1\r\n" HOST "\r\n"};
    struct server *server = start();
    server->config.observe = note_status;
    char body[128];
    (void)snprintf(body, sizeof(body),
        "{\"error\":{\"code\":\"%s\",\"message\":\"Out of memory, try again\"}}",
        errors_text(ERROR_UNAVAILABLE));
    for (size_t i = 0; i < ARRAY_LEN(inputs); i++) {
        server->observed = 0;
        char *got = ask(server, bytes_str(inputs[i]), false);
        cr_expect_eq(strncmp(got, "HTTP/1.1 503 ", 13), 0, "%s", got);
        cr_expect_not_null(strstr(got, "\r\nContent-Type: application/json\r\n"), "%s", got);
        cr_expect_not_null(strstr(got, "\r\nRetry-After: 1\r\n"), "%s", got);
        cr_expect_null(strstr(got, "ETag"), "%s", got);
        char *end = strstr(got, "\r\n\r\n");
        cr_assert_not_null(end, "%s", got);
        cr_expect_str_eq(end + 4, inputs[i][0] == 'H' ? "" : body, "%s", got);
        cr_expect_eq(server->observed, 503, "what was sent is counted: %u", server->observed);
    }
    static const char *const unsafe[] = {
        "POST /starved", "POST /starved?large", "POST /starved?unknown"};
    for (size_t i = 0; i < ARRAY_LEN(unsafe); i++) { /* it is done */
        char input[128];
        (void)snprintf(
            input, sizeof(input), "%s HTTP/1.1\r\nContent-Length: 0\r\n" HOST "\r\n", unsafe[i]);
        char *got = ask(server, bytes_str(input), false);
        cr_expect_eq(strncmp(got, "HTTP/1.1 504 ", 13), 0, "%s", got);
        cr_expect_not_null(strstr(got, errors_text(ERROR_UNKNOWN)), "%s", got);
        cr_expect_eq(server->observed, 504);
    }
    char *got = ask(server, BYTES("GET /inject HTTP/1.1\r\n" HOST "\r\n"), false);
    cr_expect_not_null(strstr(got, errors_text(ERROR_INTERNAL)), "%s", got);
    cr_expect_eq(server->observed, 500);
    stop(server);
}

/* The oldest goes, and is no connection any more; who has sent a whole request counts no more. */
/* What an operator sees of those without a whole request. */
struct halves {
    struct server *server;
    uint64_t now;
    uint64_t dropped;
};

static void read_halves(void *arg)
{
    struct halves *halves = arg;
    const struct shard_stats *stats = &loop_shard(halves->server->rig.loops[0])->stats;
    halves->now = stats->half_open;
    halves->dropped = stats->half_open_dropped;
}

static void expect_halves(struct server *server, uint64_t now, uint64_t dropped)
{
    struct halves halves = {.server = server};
    rig_call(&server->rig, 0, read_halves, &halves);
    cr_expect(halves.now == now && halves.dropped == dropped,
        "%" PRIu64 " now, %" PRIu64 " dropped", halves.now, halves.dropped);
}

Test(http_server, the_oldest_without_a_whole_request_goes)
{
    enum { BOUND = 3, MOST = 4 * BOUND, PATIENCE_US = 1100000, GO = 4 };
    struct server *server = start();
    server->config.half_open_max = BOUND;
    static const char head[] = "GET / HTTP/1.1\r\n" HOST;
    int whole = rig_connect(&server->rig);
    cr_expect(rig_send(whole, BYTES("GET /wait HTTP/1.1\r\n" HOST "\r\n")));
    cr_assert(rig_wait_connections(&server->rig, 0, 1));
    char byte;
    int fds[MOST + 1];
    for (unsigned i = 0; i <= MOST; i++) {
        fds[i] = rig_connect(&server->rig);
        cr_expect(rig_send(fds[i], bytes_str(head)));
        cr_assert(rig_wait_connections(&server->rig, 0, 1 + (i < MOST ? i + 1 : MOST)), "%u", i);
    }
    cr_expect_leq(recv(fds[0], &byte, 1, 0), 0, "the oldest");
    expect_halves(server, MOST, 1);
    usleep(PATIENCE_US);
    int later = rig_connect(&server->rig); /* now those go that are above the bound */
    cr_assert(rig_wait_connections(&server->rig, 0, 1 + MOST + 1 - GO));
    expect_halves(server, MOST + 1 - GO, 1 + GO);
    for (unsigned i = 1 + GO; i <= MOST; i++) {
        cr_expect(rig_send(fds[i], BYTES("\r\n")));
        cr_expect_eq(recv(fds[i], &byte, 1, 0), 1, "%u is answered", i);
    }
    /* those that were answered do not count */
    cr_expect(rig_send(later, BYTES("GET / HTTP/1.1\r\n" HOST "\r\n")));
    cr_expect_eq(recv(later, &byte, 1, 0), 1);
    cr_expect(rig_send(fds[MOST], bytes_str(head)), "its second one counts again, when it begins");
    cr_expect(rig_send(fds[MOST], BYTES("\r\n")));
    for (unsigned i = 0; i <= MOST; i++) {
        close(fds[i]);
    }
    close(later);
    close(whole);
    stop(server);
}

struct crowd {
    struct server *server;
    int fds[64];
};

static void on_crowd(void *arg)
{
    struct crowd *crowd = arg;
    for (size_t i = 0; i < ARRAY_LEN(crowd->fds); i++) {
        crowd->fds[i] = rig_connect(&crowd->server->rig);
        cr_assert(rig_send(crowd->fds[i], BYTES("GET / HTTP/1.1\r\n" LAST)));
    }
}

/* All are accepted in one turn, before a byte of them is read. */
Test(http_server, more_than_may_wait_are_served_when_they_have_sent_their_requests)
{
    struct crowd crowd = {.server = start()};
    crowd.server->config.half_open_max = 3;
    rig_call(&crowd.server->rig, 0, on_crowd, &crowd);
    for (size_t i = 0; i < ARRAY_LEN(crowd.fds); i++) {
        char byte;
        cr_expect_eq(recv(crowd.fds[i], &byte, 1, 0), 1, "%zu is answered", i);
        close(crowd.fds[i]);
    }
    stop(crowd.server);
}

Test(http_server, refuses_attacks)
{
    struct server *server = start();
    static const struct {
        const char *input;
        const char *status;
    } cases[] = {
        {"GET / HTTP/1.1\r\n\r\n", "400"}, /* A2 */
        {"GET / HTTP/1.1\r\n" HOST HOST "\r\n", "400"},
        {"GET http://other/ HTTP/1.1\r\n" HOST "\r\n", "400"},
        {"GET / HTTP/1.1\r\nHost : h\r\n\r\n", "400"}, /* A5 */
        {"GET / HTTP/1.1\r\nA\x7f: h\r\n" LAST, "400"},
        {"GET / HTTP/1.1\r\nA\x80: h\r\n" LAST, "400"},
        {"GET / HTTP/1.1\r\nA: h\r\n b\r\n" LAST, "400"}, /* A6 */
        {"GET / HTTP/1.1\nHost: h\n\n", "400"},
        {"GET / HTTP/1.1\r\nA: a\rb\r\n" LAST, "400"},
        {"POST /echo HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n" LAST, "400"},
        {"POST /echo HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n" LAST, "400"},
        {"POST /echo HTTP/1.1\r\nContent-Length: +5\r\n" LAST, "400"},
        {"POST /echo HTTP/1.1\r\nContent-Length: 0x5\r\n" LAST, "400"},
        {"POST /echo HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n" LAST, "400"},
        {"POST /echo HTTP/1.1\r\nContent-Length: 100001\r\n" LAST, "413"},
        {"POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" LAST "fffffff\r\n", "413"},
        {"POST /echo HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" LAST "x\r\n", "400"},
        {"GET / HTTP/1.1\r\nContent-Length: 1\r\n" LAST "x", "413"},
        {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "5"}, /* A15 */
        {"\x16\x03\x01\x02", "400"},
        {"GET / HTTP/2.0\r\n" LAST, "505"},
        {"TRACE / HTTP/1.1\r\n" LAST, "501"},
        {"GET /\"><script> HTTP/1.1\r\n" LAST, "4"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char start_of_answer[16];
        snprintf(start_of_answer, sizeof(start_of_answer), "HTTP/1.1 %s", cases[i].status);
        expect_answer(server, cases[i].input, start_of_answer);
        cr_expect_null(strstr(ask(server, bytes_str(cases[i].input), false), "script"));
    }
    stop(server);
}

static void add_times(struct builder *out, const char *text, unsigned times)
{
    for (unsigned i = 0; i < times; i++) {
        builder_str(out, text);
    }
}

Test(http_server, a9_a10_heads_are_bounded)
{
    struct server *server = start();
    static const struct {
        const char *before;
        const char *repeated;
        unsigned times;
        const char *answer;
    } cases[] = {
        {"GET / HTTP/1.1\r\n" HOST, "A: b\r\n", 64, "HTTP/1.1 431"},
        {"GET / HTTP/1.1\r\n" HOST, "A: b\r\n", 100000, "HTTP/1.1 431"},
        {"GET / HTTP/1.1\r\n" HOST "A: ", "aaaaaaaa", 8192, "HTTP/1.1 431"},
        {"GET /", "aaaaaaaa", 131072, "HTTP/1.1 414"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct builder input = {0};
        builder_str(&input, cases[i].before);
        add_times(&input, cases[i].repeated, cases[i].times);
        builder_str(&input, "\r\n\r\n");
        char *got = ask(server, builder_bytes(&input), false);
        cr_expect(strncmp(got, cases[i].answer, 12) == 0, "%zu: %.100s", i, got);
        builder_reset(&input);
    }
    stop(server);
}

Test(http_server, a11_slow_heads_and_bodies_end)
{
    struct server *server = start();
    server->config.head_timeout_ms = 100;
    server->config.body_timeout_ms = 100;
    server->config.idle_timeout_ms = 100;
    cr_expect_str_eq(ask(server, bytes_of(NULL, 0), false), "", "nothing was asked");
    cr_expect(strncmp(ask(server, BYTES("GET / HT"), false), "HTTP/1.1 408 ", 13) == 0);
    char *got = ask(server, BYTES("POST /echo HTTP/1.1\r\nContent-Length: 9\r\n" LAST "ab"), false);
    cr_expect(strncmp(got, "HTTP/1.1 408 ", 13) == 0, "%s", got);
    got = ask(server, BYTES("GET / HTTP/1.1\r\n" HOST "\r\n"), false);
    cr_expect(strncmp(got, "HTTP/1.1 200 ", 13) == 0, "%s", got);
    cr_expect_null(strstr(got, "408"), "keep-alive ends silently");
    stop(server);
}

static bool is_waiting(void *arg)
{
    return ((struct server *)arg)->waiting != NULL;
}

static bool is_gone(void *arg)
{
    return ((struct server *)arg)->gone == 1;
}

static void answer_waiting(void *arg)
{
    struct server *server = arg;
    struct http_request *request = server->waiting;
    server->waiting = NULL;
    http_respond(request, 200, "text/plain", bytes_of(NULL, 0), BYTES("late"));
}

Test(http_server, answers_later_and_holds_pipelined_requests_back)
{
    struct server *server = start();
    int fd = rig_connect(&server->rig);
    struct builder input = {0};
    add_times(&input, "GET /wait HTTP/1.1\r\n" HOST "\r\n", 2000);
    cr_expect(rig_send(fd, builder_bytes(&input)));
    char answer[] = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 4\r\n\r\nlate";
    for (unsigned i = 0; i < 2000; i++) {
        cr_assert(rig_wait(&server->rig, 0, is_waiting, server));
        cr_assert_eq(server->requests, i + 1, "one at a time");
        rig_call(&server->rig, 0, answer_waiting, server);
        char got[sizeof(answer)];
        cr_assert_eq(rig_recv(fd, got, sizeof(answer) - 1), sizeof(answer) - 1);
        cr_assert_eq(memcmp(got, answer, sizeof(answer) - 1), 0);
    }
    builder_reset(&input);
    rig_send(fd, BYTES("GET /wait HTTP/1.1\r\n" HOST "\r\n"));
    cr_expect(rig_wait(&server->rig, 0, is_waiting, server));
    rig_reset(fd);
    cr_expect(rig_wait(&server->rig, 0, is_gone, server), "told that the peer went");
    stop(server);
}

Test(http_server, small_answers_to_pipelined_requests_share_a_turn)
{
    struct server *server = start();
    int fd = rig_connect(&server->rig);
    struct builder input = {0};
    add_times(&input, "GET /turn HTTP/1.1\r\n" HOST "\r\n", 100);
    cr_expect(rig_send(fd, builder_bytes(&input)));
    char head[] = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 20\r\n\r\n";
    char got[sizeof(head) + 20];
    char last[21] = "";
    unsigned turns = 0;
    for (unsigned i = 0; i < 100; i++) {
        size_t len = sizeof(head) - 1 + 20;
        cr_assert_eq(rig_recv(fd, got, len), len);
        cr_assert_eq(memcmp(got, head, sizeof(head) - 1), 0);
        turns += memcmp(got + sizeof(head) - 1, last, 20) != 0;
        memcpy(last, got + sizeof(head) - 1, 20);
    }
    cr_expect_lt(turns, 20);
    builder_reset(&input);
    close(fd);
    stop(server);
}

/* More answers than the kernel takes: what is asked behind them waits, at no fault of the peer. */
Test(http_server, requests_wait_until_the_answers_before_them_are_taken)
{
    enum { LARGE = 60, SMALL = 10000, TURNS = 50 };
    static const char large[] = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
                                "Content-Length: 300000\r\nX-A: b\r\n\r\n";
    static const char small[] =
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 0\r\nX-A: b\r\n\r\n";
    struct server *server = start();
    int fd = rig_connect(&server->rig);
    struct builder input = {0};
    add_times(&input, "GET /lasting HTTP/1.1\r\n" HOST "\r\n", LARGE);
    add_times(&input, "GET / HTTP/1.1\r\n" HOST "\r\n", SMALL);
    cr_expect(rig_send(fd, builder_bytes(&input)));
    for (unsigned i = 0; i < TURNS; i++) { /* it reads what it reads before anything is taken */
        rig_call(&server->rig, 0, let_it_read, NULL);
    }
    size_t len = LARGE * (sizeof(large) - 1 + sizeof(lasting)) + SMALL * (sizeof(small) - 1);
    char *got = calloc(1, len);
    cr_assert_eq(rig_recv(fd, got, len), len, "it was closed");
    cr_expect_eq(memcmp(got, large, sizeof(large) - 1), 0);
    cr_expect_eq(memcmp(got + len - (sizeof(small) - 1), small, sizeof(small) - 1), 0);
    free(got);
    builder_reset(&input);
    rig_send(fd, BYTES("GET /wait HTTP/1.1\r\n" HOST "\r\n"));
    cr_expect(rig_wait(&server->rig, 0, is_waiting, server), "it goes on");
    close(fd);
    stop(server);
}

Test(http_server, a8_bytes_behind_an_upgrade_belong_to_the_new_owner)
{
    struct server *server = start();
    for (unsigned i = 0; i < 2; i++) {
        int fd = rig_connect(&server->rig);
        struct builder input = {0};
        builder_str(&input, i ? "GET / HTTP/1.1\r\n" HOST "\r\n" : "");
        builder_str(&input, "GET /up HTTP/1.1\r\n" HOST "\r\n");
        size_t behind = builder_bytes(&input).len;
        add_times(&input, "GET / HTTP/1.1\r\n\r\n", 3500);
        struct bytes all = builder_bytes(&input);
        cr_expect(rig_send(fd, all));
        static char got[100000];
        if (i == 1) {
            char first[] = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 0\r\n"
                           "X-A: b\r\n\r\n";
            cr_expect_eq(rig_recv(fd, got, sizeof(first) - 1), sizeof(first) - 1);
        }
        char head[] = "HTTP/1.1 101 Switching Protocols\r\n\r\n";
        cr_expect_eq(rig_recv(fd, got, sizeof(head) - 1), sizeof(head) - 1);
        cr_expect_eq(memcmp(got, head, sizeof(head) - 1), 0, "%u: %.100s", i, got);
        cr_expect_eq(rig_recv(fd, got, all.len - behind), all.len - behind);
        cr_expect_eq(memcmp(got, all.at + behind, all.len - behind), 0);
        close(fd);
        builder_reset(&input);
    }
    cr_expect_eq(server->upgraded, 2);
    stop(server);
}

Test(http_server, a_body_that_lasts_is_not_copied)
{
    static const char head[] =
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 300000"
        "\r\nConnection: close\r\nX-A: b\r\n\r\n";
    static char got[400000];
    struct server *server = start();
    memset(lasting, 'l', sizeof(lasting));
    for (int with_body = 0; with_body < 2; with_body++) {
        size_t len;
        int fd = rig_connect(&server->rig);
        rig_send(fd, with_body ? BYTES("GET /lasting HTTP/1.1\r\n" LAST)
                               : BYTES("HEAD /lasting HTTP/1.1\r\n" LAST));
        cr_assert(rig_recv_all(fd, got, sizeof(got), &len));
        close(fd);
        cr_assert_eq(len, sizeof(head) - 1 + (with_body ? sizeof(lasting) : 0));
        cr_expect_eq(memcmp(got, head, sizeof(head) - 1), 0);
        cr_expect(!with_body || memcmp(got + sizeof(head) - 1, lasting, sizeof(lasting)) == 0);
    }
    stop(server);
}

Test(http_server, a_last_answer_of_any_bytes_ends_the_connection)
{
    struct server *server = start();
    int fd = rig_connect(&server->rig);
    char got[100];
    size_t len;
    cr_expect(rig_send(fd, BYTES("GET /close HTTP/1.1\r\n" HOST "\r\nGET / HTTP/1.1\r\n\r\n")));
    cr_expect(rig_recv_all(fd, got, sizeof(got), &len), "it is not ended");
    cr_expect_eq(len, strlen("any bytes"));
    cr_expect_eq(memcmp(got, "any bytes", len), 0);
    cr_expect(rig_wait_connections(&server->rig, 0, 0));
    close(fd);
    stop(server);
}

Test(http_server, empty_connections_and_resets_leave_nothing)
{
    struct server *server = start();
    for (unsigned i = 0; i < 200; i++) {
        int fd = rig_connect(&server->rig);
        if (i % 3 == 1) {
            rig_send(fd, BYTES("POST /echo HTTP/1.1\r\nContent-Length: 9\r\n" LAST "ab"));
        }
        if (i % 2) {
            rig_reset(fd);
        } else {
            close(fd);
        }
    }
    cr_expect(rig_wait_connections(&server->rig, 0, 0));
    stop(server);
}
