/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections between nodes over loopback: who is taken in by the node that is called, whom a
 * caller believes, and what is kept between requests.
 */
#include <criterion/criterion.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "codec/base/clock.h"
#include "hub/cluster/cluster_auth.h"
#include "hub/cluster/cluster_link.h"
#include "hub/net/connection.h"
#include "hub/net/tls_context.h"
#include "tests/support/cluster_rig.h"
#include "tests/support/test_certs.h"

TestSuite(cluster_link, .timeout = 120);

#define WRONG_SECRET BYTES("the secret of another one")
#define REQUEST "GET /hello HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"

static struct cluster_rig rig;

static void on_hello(struct http_request *request, void *context)
{
    http_respond(request, 200, "text/plain", bytes_of(NULL, 0), BYTES("hello"));
}

static const struct http_route routes[] = {
    {.method = "GET", .path = "/hello", .handler = on_hello}, {.path = NULL}};

/* Whether what comes until the end is the answer of the route. */
static bool is_served(int fd)
{
    char text[1024];
    size_t len;
    bool ended = rig_recv_all(fd, text, sizeof(text) - 1, &len);
    text[len] = '\0';
    return ended && strstr(text, "HTTP/1.1 200 ") != NULL && strstr(text, "hello") != NULL;
}

/* Whether it ends without a byte more. */
static bool is_ended(int fd)
{
    char byte;
    return recv(fd, &byte, 1, 0) <= 0;
}

/* A request right behind the proof, all in one, is served too. */
Test(cluster_link, who_knows_the_secret_is_served)
{
    char greeting[CLUSTER_GREETING_LEN];
    char welcome[CLUSTER_WELCOME_LEN];
    char all[CLUSTER_PROOF_LEN + sizeof(REQUEST) - 1];
    struct cluster_auth auth;
    cluster_rig_start(&rig, routes, NULL);
    for (size_t piece = 1; piece <= sizeof(all); piece += sizeof(all) - 1) {
        int fd = cluster_rig_dial(&rig);
        cr_assert_eq(rig_recv(fd, greeting, sizeof(greeting)), sizeof(greeting));
        cr_assert(cluster_auth_answer(&auth, CLUSTER_TAG, CLUSTER_SECRET,
            bytes_of(greeting, sizeof(greeting)), (uint8_t *)all));
        memcpy(all + CLUSTER_PROOF_LEN, REQUEST, sizeof(REQUEST) - 1);
        for (size_t at = 0; at < sizeof(all); at += piece) {
            size_t len = piece < sizeof(all) - at ? piece : sizeof(all) - at;
            cr_assert(rig_send(fd, bytes_of(all + at, len)));
        }
        cr_assert_eq(rig_recv(fd, welcome, sizeof(welcome)), sizeof(welcome));
        cr_expect(cluster_auth_confirm(&auth, CLUSTER_SECRET, bytes_of(welcome, sizeof(welcome))));
        cr_expect(is_served(fd), "in pieces of %zu", piece);
        close(fd);
    }
    cr_expect(cluster_rig_wait_refused(&rig, 0));
    cluster_rig_stop(&rig);
}

Test(cluster_link, who_does_not_is_refused_and_counted)
{
    char zeros[CLUSTER_PROOF_LEN] = {0};
    cluster_rig_start(&rig, routes, NULL);
    int fds[3];
    for (size_t i = 0; i < 3; i++) {
        fds[i] = cluster_rig_dial(&rig);
    }
    cr_assert(cluster_rig_prove(fds[0], CLUSTER_TAG, WRONG_SECRET));
    cr_assert(cluster_rig_prove(fds[1], CLUSTER_TAG + 1, CLUSTER_SECRET), "another node is meant");
    cr_assert_eq(rig_recv(fds[2], zeros, CLUSTER_GREETING_LEN), CLUSTER_GREETING_LEN);
    cr_assert(rig_send(fds[2], bytes_of(zeros, sizeof(zeros))));
    for (size_t i = 0; i < 3; i++) {
        cr_expect(is_ended(fds[i]), "%zu is told nothing", i);
        close(fds[i]);
    }
    cr_expect(cluster_rig_wait_refused(&rig, 3));
    int fd = cluster_rig_dial(&rig);
    cr_assert(cluster_rig_prove(fd, CLUSTER_TAG, CLUSTER_SECRET));
    cr_expect_eq(rig_recv(fd, zeros, CLUSTER_WELCOME_LEN), CLUSTER_WELCOME_LEN);
    close(fd);
    cluster_rig_stop(&rig);
}

Test(cluster_link, who_proves_nothing_is_ended_in_time)
{
    char greeting[CLUSTER_GREETING_LEN];
    char half[CLUSTER_PROOF_LEN / 2] = {0};
    rig.timeout_ms = 100;
    cluster_rig_start(&rig, routes, NULL);
    int silent = cluster_rig_dial(&rig);
    int slow = cluster_rig_dial(&rig);
    cr_assert_eq(rig_recv(silent, greeting, sizeof(greeting)), sizeof(greeting));
    cr_assert_eq(rig_recv(slow, greeting, sizeof(greeting)), sizeof(greeting));
    cr_assert(rig_send(slow, bytes_of(half, sizeof(half))));
    cr_expect(is_ended(silent));
    cr_expect(is_ended(slow));
    close(silent);
    close(slow);
    cr_expect(rig_wait_connections(&rig.net, 1, 0));
    cluster_rig_stop(&rig);
}

Test(cluster_link, callers_of_an_address_that_prove_nothing_are_bounded)
{
    int fds[CLUSTER_STRANGERS_OF_ADDRESS];
    char greeting[CLUSTER_GREETING_LEN];
    cluster_rig_start(&rig, routes, NULL);
    for (size_t i = 0; i < CLUSTER_STRANGERS_OF_ADDRESS; i++) {
        fds[i] = cluster_rig_dial(&rig);
        cr_assert_eq(rig_recv(fds[i], greeting, sizeof(greeting)), sizeof(greeting));
    }
    int more = cluster_rig_dial(&rig);
    cr_expect(is_ended(more), "one more");
    close(more);
    cr_expect(cluster_rig_wait_refused(&rig, 1));
    close(fds[0]);
    cr_expect(rig_wait_connections(&rig.net, 1, CLUSTER_STRANGERS_OF_ADDRESS - 1));
    fds[0] = cluster_rig_dial(&rig);
    cr_expect(cluster_rig_prove(fds[0], CLUSTER_TAG, CLUSTER_SECRET), "its place is free again");
    cr_assert_eq(rig_recv(fds[0], greeting, sizeof(greeting)), sizeof(greeting));
    more = cluster_rig_dial(&rig); /* who has proved itself takes no place */
    cr_expect_eq(rig_recv(more, greeting, sizeof(greeting)), sizeof(greeting));
    close(more);
    for (size_t i = 0; i < CLUSTER_STRANGERS_OF_ADDRESS; i++) {
        close(fds[i]);
    }
    cluster_rig_stop(&rig);
}

/* Calls, on loop 0. */

struct call {
    struct cluster_link_options options;
    struct cluster_link *link;
    struct connection *connection;
    bool failed_at_once;
    bool cancel;
    unsigned told;
};

static size_t on_kept_bytes(struct connection *connection, struct bytes bytes)
{
    return bytes.len;
}

static void on_kept_closed(struct connection *connection, enum close_reason reason)
{
    ((struct call *)connection_owner(connection))->connection = NULL;
}

static const struct connection_ops kept_ops = {
    .on_bytes = on_kept_bytes, .on_closed = on_kept_closed};

static void on_ready(void *context, struct connection *connection)
{
    struct call *call = context;
    call->told++;
    call->connection = connection;
    if (connection != NULL) {
        connection_own(connection, &kept_ops, call);
    }
}

static void open_link(void *arg)
{
    struct call *call = arg;
    call->options.loop = rig.net.loops[0];
    call->options.ready = on_ready;
    call->options.context = call;
    call->link = cluster_link_open(&call->options);
    call->failed_at_once = call->link == NULL;
    if (call->cancel && call->link != NULL) {
        cluster_link_cancel(call->link);
    }
}

static bool is_told(void *arg)
{
    return ((struct call *)arg)->told > 0;
}

static void close_connection(void *arg)
{
    struct call *call = arg;
    if (call->connection != NULL) {
        connection_close(call->connection, CLOSE_NORMAL, false);
    }
}

static struct call call_of(uint16_t tag, struct bytes secret)
{
    return (struct call){.options = {
                             .address = rig.address,
                             .node = tag,
                             .secret = secret,
                             .timeout_ms = RIG_WAIT_MS,
                         }};
}

/* Whether the call comes to a connection; it is closed again. */
static bool is_reached(struct call *call)
{
    rig_call(&rig.net, 0, open_link, call);
    cr_assert(rig_wait(&rig.net, 0, is_told, call));
    bool reached = call->connection != NULL;
    rig_call(&rig.net, 0, close_connection, call);
    cr_expect(rig_wait_connections(&rig.net, 0, 0));
    cr_expect_eq(call->told, 1, "once");
    return reached;
}

Test(cluster_link, a_call_is_ready_when_both_have_proved_themselves)
{
    cluster_rig_start(&rig, routes, NULL);
    struct call good = call_of(CLUSTER_TAG, CLUSTER_SECRET);
    struct call stranger = call_of(CLUSTER_TAG, WRONG_SECRET);
    struct call other = call_of(CLUSTER_TAG + 1, CLUSTER_SECRET);
    cr_expect(is_reached(&good));
    cr_expect_not(is_reached(&stranger));
    cr_expect_not(is_reached(&other), "another node has that address now");
    cr_expect(cluster_rig_wait_refused(&rig, 2));
    cluster_rig_stop(&rig);
}

static struct tls_context *make_tls(
    const struct test_cert *cert, const struct test_cert *ca, bool calls)
{
    const char *certs[] = {cert->cert};
    const char *keys[] = {cert->key};
    struct builder error = {0};
    struct tls_context *context = NULL;
    const struct tls_options options = {
        .names = {"cluster.tls_cert", "cluster.tls_key", "cluster.tls_ca"},
        .certs = certs,
        .keys = keys,
        .count = 1,
        .ca = ca->cert,
        .calls = calls,
        .ticket_secret = CLUSTER_SECRET};
    cr_assert_eq(tls_context_new(&options, &error, &context), 0);
    return context;
}

static struct call sealed_call(const struct test_cert *cert, const struct test_cert *ca)
{
    struct call call = call_of(CLUSTER_TAG, CLUSTER_SECRET);
    call.options.tls = cert != NULL ? make_tls(cert, ca, true) : NULL;
    return call;
}

static bool is_sealed_reached(struct call call)
{
    bool reached = is_reached(&call);
    tls_context_unref(call.options.tls);
    return reached;
}

/* Both show a certificate of the cluster's own, and know the secret besides. */
Test(cluster_link, over_tls_both_are_certified_and_know_the_secret)
{
    struct test_certs certs;
    test_certs_begin(&certs);
    const struct test_cert *ca =
        test_certs_make(&certs, &(struct test_cert_options){.name = "ca", .ca = true});
    const struct test_cert *other_ca =
        test_certs_make(&certs, &(struct test_cert_options){.name = "other", .ca = true});
    const struct test_cert *node =
        test_certs_make(&certs, &(struct test_cert_options){.name = "node-1", .issuer = ca});
    const struct test_cert *stranger =
        test_certs_make(&certs, &(struct test_cert_options){.name = "node-2", .issuer = other_ca});
    rig.tls = make_tls(node, ca, false);
    cluster_rig_start(&rig, routes, NULL);
    cr_expect(is_sealed_reached(sealed_call(node, ca)));
    cr_expect_not(is_sealed_reached(sealed_call(stranger, ca)), "it is not certified");
    cr_expect_not(is_sealed_reached(sealed_call(node, other_ca)), "it does not trust the node");
    cr_expect(cluster_rig_wait_refused(&rig, 0), "what is no TLS of a node counts as such");
    struct call liar = sealed_call(node, ca);
    liar.options.secret = WRONG_SECRET;
    cr_expect_not(is_sealed_reached(liar), "a certificate alone is not enough");
    cr_expect(cluster_rig_wait_refused(&rig, 1));
    struct call plain = sealed_call(NULL, NULL);
    plain.options.timeout_ms = 300; /* it waits for a greeting, and the node for a handshake */
    cr_expect_not(is_sealed_reached(plain));
    cluster_rig_stop(&rig);
    tls_context_unref(rig.tls);
    rig.tls = NULL;
    test_certs_end(&certs);
}

/* A listener that says what it likes, in place of a node. */
static int listen_as_node(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t len = sizeof(at);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    cr_assert_eq(bind(fd, (struct sockaddr *)&at, sizeof(at)), 0);
    cr_assert_eq(listen(fd, 8), 0);
    cr_assert_eq(getsockname(fd, (struct sockaddr *)&at, &len), 0);
    snprintf(rig.address, sizeof(rig.address), "127.0.0.1:%u", (unsigned)ntohs(at.sin_port));
    return fd;
}

/* Greet, take the proof, and say `welcome` behind it; with `ends` hang up instead. */
static void act_as_node(int listener, const char *welcome, bool ends)
{
    uint8_t greeting[CLUSTER_GREETING_LEN];
    char proof[CLUSTER_PROOF_LEN];
    struct cluster_auth auth;
    int fd = accept(listener, NULL, NULL);
    cr_assert_geq(fd, 0);
    cluster_auth_greet(&auth, CLUSTER_TAG, greeting);
    if (!ends) {
        cr_assert(rig_send(fd, bytes_of(greeting, sizeof(greeting))));
        cr_assert_eq(rig_recv(fd, proof, sizeof(proof)), sizeof(proof));
        (void)rig_send(fd, bytes_of(welcome, CLUSTER_WELCOME_LEN));
        cr_expect(is_ended(fd));
    }
    close(fd);
}

Test(cluster_link, who_cannot_prove_to_be_the_node_is_not_believed)
{
    static const char nonsense[CLUSTER_WELCOME_LEN] = "anything of thirty-two bytes....";
    cluster_rig_start(&rig, routes, NULL);
    int listener = listen_as_node();
    for (unsigned ends = 0; ends < 2; ends++) {
        struct call call = call_of(CLUSTER_TAG, CLUSTER_SECRET);
        rig_call(&rig.net, 0, open_link, &call);
        cr_assert_not(call.failed_at_once);
        act_as_node(listener, nonsense, ends == 1);
        cr_assert(rig_wait(&rig.net, 0, is_told, &call));
        cr_expect_null(call.connection);
        cr_expect_eq(call.told, 1);
    }
    close(listener);
    cluster_rig_stop(&rig);
}

Test(cluster_link, a_call_ends_in_time_or_when_it_is_taken_back)
{
    cluster_rig_start(&rig, routes, NULL);
    int listener = listen_as_node(); /* takes connections in, and says nothing */
    struct call call = call_of(CLUSTER_TAG, CLUSTER_SECRET);
    call.options.timeout_ms = 50;
    cr_expect_not(is_reached(&call));
    struct call taken_back = call_of(CLUSTER_TAG, CLUSTER_SECRET);
    taken_back.cancel = true;
    rig_call(&rig.net, 0, open_link, &taken_back);
    cr_expect(rig_wait_connections(&rig.net, 0, 0));
    cr_expect_eq(taken_back.told, 0, "nobody waits for it");
    close(listener);
    struct call refused = call_of(CLUSTER_TAG, CLUSTER_SECRET);
    rig_call(&rig.net, 0, open_link, &refused);
    if (!refused.failed_at_once) {
        cr_assert(rig_wait(&rig.net, 0, is_told, &refused));
        cr_expect_null(refused.connection, "nobody listens there");
    }
    cluster_rig_stop(&rig);
}

Test(cluster_link, what_is_no_address_is_not_called)
{
    static const char *const addresses[] = {"", "x", "127.0.0.1", "127.0.0.1:", "127.0.0.1:0",
        "127.0.0.1:65536", "127.0.0.1:80x", "localhost:80", "::1:80", "[::1]", "[::1:80",
        "[127.0.0.1]:80", "256.0.0.1:80", "[0000:0000:0000:0000:0000:0000:0000:0000:0001]:80"};
    cluster_rig_start(&rig, routes, NULL);
    for (size_t i = 0; i < ARRAY_LEN(addresses); i++) {
        struct call call = call_of(CLUSTER_TAG, CLUSTER_SECRET);
        call.options.address = addresses[i];
        rig_call(&rig.net, 0, open_link, &call);
        cr_expect(call.failed_at_once, "%s", addresses[i]);
        cr_expect_eq(call.told, 0, "%s", addresses[i]);
    }
    cluster_rig_stop(&rig);
}

/* What is kept between requests, on loop 0. */

static struct cluster_pool pool;
static struct connection *taken;

static void on_pooled(void *context, struct connection *connection)
{
    struct call *call = context;
    call->told++;
    cr_assert_not_null(connection);
    cluster_pool_put(&pool, call->options.node, connection);
}

static void begin_pool(void *arg)
{
    cluster_pool_init(&pool, *(uint32_t *)arg);
}

static void fill_pool(void *arg)
{
    struct call *call = arg;
    call->options.loop = rig.net.loops[0];
    call->options.ready = on_pooled;
    call->options.context = call;
    cr_assert_not_null(cluster_link_open(&call->options));
}

static void take(void *arg)
{
    taken = cluster_pool_take(&pool, *(uint16_t *)arg);
    if (taken != NULL) {
        static struct call owner;
        connection_own(taken, &kept_ops, &owner);
        owner.connection = taken;
    }
}

static void close_taken(void *arg)
{
    connection_close(taken, CLOSE_NORMAL, false);
}

static bool holds(void *arg)
{
    return pool.count == *(unsigned *)arg;
}

static void put_one(struct call *call, unsigned then)
{
    *call = call_of(CLUSTER_TAG, CLUSTER_SECRET);
    rig_call(&rig.net, 0, fill_pool, call);
    cr_assert(rig_wait(&rig.net, 0, is_told, call));
    cr_assert(rig_wait(&rig.net, 0, holds, &then));
}

static void start_pool(uint32_t idle_ms)
{
    cluster_rig_start(&rig, routes, NULL);
    rig_call(&rig.net, 0, begin_pool, &idle_ms);
}

Test(cluster_link, a_connection_is_kept_for_its_node)
{
    struct call call;
    uint16_t other = CLUSTER_TAG + 1;
    uint16_t node = CLUSTER_TAG;
    unsigned none = 0;
    start_pool(RIG_WAIT_MS);
    put_one(&call, 1);
    rig_call(&rig.net, 0, take, &other);
    cr_expect_null(taken, "it was proved for another node");
    rig_call(&rig.net, 0, take, &node);
    cr_assert_not_null(taken);
    cr_expect(rig_wait(&rig.net, 0, holds, &none), "it is used by one alone");
    rig_call(&rig.net, 0, close_taken, NULL);
    cr_expect(rig_wait_connections(&rig.net, 0, 0));
    cluster_rig_stop(&rig);
}

Test(cluster_link, what_is_kept_ends_by_time_and_by_number)
{
    static struct call calls[CLUSTER_POOL_MAX + 1];
    unsigned none = 0;
    start_pool(50);
    put_one(&calls[0], 1);
    cr_expect(rig_wait(&rig.net, 0, holds, &none), "nobody needed it in time");
    cr_expect(rig_wait_connections(&rig.net, 0, 0));
    uint32_t idle_ms = RIG_WAIT_MS;
    rig_call(&rig.net, 0, begin_pool, &idle_ms);
    for (unsigned i = 0; i < CLUSTER_POOL_MAX; i++) {
        put_one(&calls[i], i + 1);
    }
    put_one(&calls[CLUSTER_POOL_MAX], CLUSTER_POOL_MAX);
    cr_expect(rig_wait_connections(&rig.net, 0, CLUSTER_POOL_MAX), "one too many was closed");
    cluster_rig_stop(&rig);
}

/* A node that proves itself, and then hangs up or speaks without being asked. */
static void misbehave(int listener, bool speaks)
{
    uint8_t greeting[CLUSTER_GREETING_LEN];
    uint8_t welcome[CLUSTER_WELCOME_LEN];
    char proof[CLUSTER_PROOF_LEN];
    unsigned one = 1;
    struct cluster_auth auth;
    int fd = accept(listener, NULL, NULL);
    cr_assert_geq(fd, 0);
    cluster_auth_greet(&auth, CLUSTER_TAG, greeting);
    cr_assert(rig_send(fd, bytes_of(greeting, sizeof(greeting))));
    cr_assert_eq(rig_recv(fd, proof, sizeof(proof)), sizeof(proof));
    cr_assert(cluster_auth_accept(&auth, CLUSTER_SECRET, bytes_of(proof, sizeof(proof)), welcome));
    cr_assert(rig_send(fd, bytes_of(welcome, sizeof(welcome))));
    cr_assert(rig_wait(&rig.net, 0, holds, &one));
    if (speaks) {
        cr_assert(rig_send(fd, BYTES("HTTP/1.1 200 OK\r\n\r\n")));
        cr_expect(is_ended(fd));
    }
    close(fd);
}

Test(cluster_link, who_hangs_up_or_speaks_unasked_is_not_kept)
{
    unsigned none = 0;
    start_pool(RIG_WAIT_MS);
    int listener = listen_as_node();
    for (unsigned speaks = 0; speaks < 2; speaks++) {
        struct call call = call_of(CLUSTER_TAG, CLUSTER_SECRET);
        rig_call(&rig.net, 0, fill_pool, &call);
        misbehave(listener, speaks == 1);
        cr_expect(rig_wait(&rig.net, 0, holds, &none));
        cr_expect(rig_wait_connections(&rig.net, 0, 0));
    }
    close(listener);
    cluster_rig_stop(&rig);
}
