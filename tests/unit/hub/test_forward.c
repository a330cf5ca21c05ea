/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Requests passed on to the node that has their session, between two loops: what arrives there,
 * what comes back, and what the client is told when the node does not answer.
 */
#include <criterion/criterion.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "actors/bus.h"
#include "codec/base/status.h"
#include "codec/bus_name.h"
#include "hub/cluster/forward.h"
#include "hub/cluster/node_directory.h"
#include "hub/net/connection.h"
#include "hub/net/http_server.h"
#include "tests/support/cluster_rig.h"

TestSuite(forward, .timeout = 120);

enum { NOBODYS_TAG = 0x0909, ANSWER_MAX = 64 << 10, OPEN_MAX = 3 };

/* A Redis that knows the one node, on loop 0: it answers in a turn of its own. */
struct question {
    bus_reply_fn fn;
    void *context;
    bool known;
};

static struct world {
    struct cluster_rig cluster; /* first: the context of what listens */
    struct bus bus;
    struct http_server_config near; /* what clients meet */
    struct node_directory *directory;
    struct forwards *forwards;
    struct forward_counts counts;
    uint32_t answer_ms;
    unsigned come; /* requests that are not answered, on loop 1 */
    unsigned gone; /* those whose client has gone */
} world;

static const struct bus_names names = {.prefix = "p", .slots = 1024};

static struct bus_link *open_link(
    struct bus *bus, const char *name, const struct bus_events *events, void *context)
{
    return (struct bus_link *)(void *)bus;
}

static void close_link(struct bus_link *link)
{
}

static void answer_question(void *arg, bool cancelled)
{
    struct question *question = arg;
    char text[64];
    snprintf(text, sizeof(text), "far %s", world.cluster.address);
    struct bus_reply reply = {
        .type = question->known ? BUS_STRING : BUS_NIL, .text = bytes_str(text)};
    if (!cancelled) {
        question->fn(question->context, 0, &reply);
    }
    free(question);
}

static void ask_redis(struct bus_link *link, const struct bytes *argv, size_t argc,
    uint32_t timeout_ms, bus_reply_fn fn, void *context)
{
    struct question *question = malloc(sizeof(*question));
    *question = (struct question){
        .fn = fn, .context = context, .known = memmem(argv[1].at, argv[1].len, "0102", 4) != NULL};
    sched_post(world.cluster.net.system, 0, answer_question, question);
}

static const struct bus_ops bus_ops = {
    .open = open_link, .close = close_link, .command = ask_redis};

/* The node that has the session. */

static void on_echo(struct http_request *request, void *context)
{
    char text[512];
    struct bytes via = {0};
    cr_assert_eq(http1_header_once(request->head, "x-via", &via), 0);
    snprintf(text, sizeof(text), "%.*s %.*s via=%.*s %.*s",
        (int)http1_method_text(request->head->method).len,
        http1_method_text(request->head->method).at, (int)request->head->target.len,
        request->head->target.at, (int)via.len, via.at, (int)request->body.len, request->body.at);
    http_authenticated(request);
    http_respond(request, 200, "text/plain", BYTES("X-Far: yes\r\n"), bytes_str(text));
}

static void on_large(struct http_request *request, void *context)
{
    static char text[ANSWER_MAX + 1];
    memset(text, 'x', sizeof(text));
    size_t len = bytes_eq(request->query, BYTES("fits")) ? ANSWER_MAX : sizeof(text);
    http_respond(request, 200, "text/plain", bytes_of(NULL, 0), bytes_of(text, len));
}

static void on_far_gone(struct http_request *request)
{
    world.gone++;
}

static void on_silence(struct http_request *request, void *context)
{
    world.come++;
    request->gone = on_far_gone;
}

static const struct http_route far_routes[] = {
    {.method = "*", .path = "/echo", .handler = on_echo, .max_body = 4096},
    {.method = "GET", .path = "/large", .handler = on_large},
    {.method = "GET", .path = "/silence", .handler = on_silence},
    {.path = NULL},
};

/* The node that clients meet. */

static void on_request(struct http_request *request, void *context)
{
    bool nobodys = bytes_eq(request->query, BYTES("nobody"));
    forward_begin(world.forwards, request, nobodys ? NOBODYS_TAG : CLUSTER_TAG);
}

static const struct http_route near_routes[] = {
    {.method = "*", .path = "/*", .handler = on_request, .max_body = 4096}, {.path = NULL}};

static void refuse(void *context, struct http_request *request, int why)
{
    http_respond(
        request, why == STATUS_NOT_FOUND ? 400 : 503, NULL, bytes_of(NULL, 0), bytes_of(NULL, 0));
}

static void on_accept(struct connection *connection, void *context)
{
    http_serve(connection, &world.near);
}

static void open_forwards(void *arg)
{
    struct shard *shard = &world.cluster.net.shards[0];
    world.directory = node_directory_open(&world.bus, shard->sched, &names);
    const struct forward_options options = {
        .loop = world.cluster.net.loops[0],
        .directory = world.directory,
        .secret = CLUSTER_SECRET,
        .refuse = refuse,
        .counts = &world.counts,
        .open_max = OPEN_MAX,
        .connect_timeout_ms = RIG_WAIT_MS,
        .answer_timeout_ms = world.answer_ms > 0 ? world.answer_ms : (uint32_t)RIG_WAIT_MS,
        .idle_ms = RIG_WAIT_MS,
        .slow_consumer_ms = RIG_WAIT_MS,
        .trust_ms = RIG_WAIT_MS,
        .answer_bytes = ANSWER_MAX,
    };
    world.forwards = forwards_create(&options);
}

static void stop_forwards(void *arg)
{
    forwards_stop(world.forwards);
}

static void close_directory(void *arg)
{
    forwards_stop(world.forwards);
    node_directory_close(world.directory);
}

static void start(void)
{
    world.bus.ops = &bus_ops;
    world.near = (struct http_server_config){.routes = near_routes,
        .max_head_bytes = 8192,
        .max_headers = 64,
        .head_timeout_ms = RIG_WAIT_MS,
        .body_timeout_ms = RIG_WAIT_MS,
        .idle_timeout_ms = RIG_WAIT_MS};
    cluster_rig_start(&world.cluster, far_routes, on_accept);
    rig_call(&world.cluster.net, 0, open_forwards, NULL);
}

static void stop(void)
{
    rig_call(&world.cluster.net, 0, close_directory, NULL);
    cluster_rig_stop(&world.cluster);
    forwards_destroy(world.forwards);
}

/* A client. */

static char answer[ANSWER_MAX + 4096];

static int send_request(const char *method, const char *target, const char *body)
{
    char text[1024];
    int fd = rig_connect(&world.cluster.net);
    snprintf(text, sizeof(text),
        "%s %s HTTP/1.1\r\nHost: h\r\nConnection: close\r\nX-Via: near\r\nContent-Length: "
        "%zu\r\n\r\n%s",
        method, target, strlen(body), body);
    cr_assert(rig_send(fd, bytes_str(text)));
    return fd;
}

static unsigned read_answer(int fd)
{
    unsigned status = 0;
    size_t len;
    cr_assert(rig_recv_all(fd, answer, sizeof(answer) - 1, &len));
    answer[len] = '\0';
    close(fd);
    cr_assert_eq(sscanf(answer, "HTTP/1.1 %u ", &status), 1, "%s", answer);
    return status;
}

static unsigned ask(const char *method, const char *target, const char *body)
{
    return read_answer(send_request(method, target, body));
}

static void expect_in(const char *text)
{
    cr_expect_not_null(strstr(answer, text), "%s in %s", text, answer);
}

static bool is_counted(void *arg)
{
    const struct forward_counts *expected = arg;
    return memcmp(expected, &world.counts, sizeof(*expected)) == 0;
}

static void expect_counts(uint64_t requests, uint64_t failed, uint64_t open)
{
    struct forward_counts expected = {.requests = requests, .failed = failed, .open = open};
    cr_expect(rig_wait(&world.cluster.net, 0, is_counted, &expected), "%llu %llu %llu",
        (unsigned long long)world.counts.requests, (unsigned long long)world.counts.failed,
        (unsigned long long)world.counts.open);
}

static bool has_come(void *arg)
{
    return world.come == *(unsigned *)arg;
}

static bool has_gone(void *arg)
{
    return world.gone == *(unsigned *)arg;
}

Test(forward, a_request_arrives_as_it_was_and_its_answer_comes_back)
{
    start();
    cr_expect_eq(ask("POST", "/echo?sid=1", "a body"), 200);
    expect_in("\r\n\r\nPOST /echo?sid=1 via=near a body");
    expect_in("X-Far: yes\r\n");
    cr_expect_null(strcasestr(answer, "Peal-Authenticated"), "that is between nodes: %s", answer);
    cr_expect_eq(ask("GET", "/echo", ""), 200);
    expect_in("GET /echo via=near ");
    cr_expect_eq(ask("HEAD", "/echo", ""), 200);
    expect_in("X-Far: yes\r\n");
    cr_expect_eq(ask("GET", "/nothing", ""), 404, "what that node says");
    expect_counts(4, 0, 0);
    cr_expect(rig_wait_connections(&world.cluster.net, 1, 1), "one connection for all of them");
    stop();
}

Test(forward, an_answer_is_as_large_as_it_may_be)
{
    start();
    cr_expect_eq(ask("GET", "/large?fits", ""), 200);
    cr_expect_gt(strlen(answer), ANSWER_MAX);
    cr_expect_eq(ask("GET", "/large", ""), 503);
    expect_counts(2, 1, 0);
    cr_expect_eq(ask("GET", "/echo", ""), 200, "over another connection");
    stop();
}

Test(forward, a_node_that_there_is_not_or_that_does_not_answer_is_told_apart)
{
    world.answer_ms = 100;
    start();
    cr_expect_eq(ask("GET", "/echo?nobody", ""), 400);
    cr_expect_eq(ask("GET", "/silence", ""), 503);
    expect_counts(2, 2, 0);
    unsigned one = 1;
    cr_expect(rig_wait(&world.cluster.net, 1, has_gone, &one), "the node is told");
    stop();
}

Test(forward, a_client_that_goes_takes_its_request_along)
{
    start();
    int fd = send_request("GET", "/silence", "");
    expect_counts(1, 0, 1);
    cr_expect(rig_wait_connections(&world.cluster.net, 1, 1));
    unsigned one = 1;
    cr_expect(rig_wait(&world.cluster.net, 1, has_come, &one), "who is away before is not told of");
    close(fd);
    cr_expect(rig_wait(&world.cluster.net, 1, has_gone, &one), "the node learns of it");
    expect_counts(1, 0, 0);
    cr_expect(rig_wait_connections(&world.cluster.net, 1, 0));
    stop();
}

Test(forward, so_many_are_under_way_and_none_when_the_node_ends)
{
    int fds[OPEN_MAX];
    start();
    for (unsigned i = 0; i < OPEN_MAX; i++) {
        fds[i] = send_request("GET", "/silence", "");
        expect_counts(i + 1, 0, i + 1);
    }
    cr_expect_eq(ask("GET", "/echo", ""), 503);
    expect_counts(OPEN_MAX, 1, OPEN_MAX);
    close(fds[0]);
    expect_counts(OPEN_MAX, 1, OPEN_MAX - 1);
    cr_expect_eq(ask("GET", "/echo", ""), 200);
    rig_call(&world.cluster.net, 0, stop_forwards, NULL);
    cr_expect_eq(ask("GET", "/echo", ""), 503);
    for (unsigned i = 1; i < OPEN_MAX; i++) {
        close(fds[i]);
    }
    expect_counts(OPEN_MAX + 1, 2, 0);
    stop();
}
