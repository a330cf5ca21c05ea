/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Connections over TLS and real sockets: every byte arrives, also past a move and a slow reader;
 * who does not speak TLS, or stops in the middle, ends; each closes once.
 */
#include <criterion/criterion.h>
#include <openssl/err.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "actors/shard.h"
#include "hub/net/connection.h"
#include "hub/net/tls_context.h"
#include "hub/net/tls_stream.h"
#include "tests/support/net_rig.h"
#include "tests/support/test_certs.h"
#include "tests/support/tls_client.h"

TestSuite(connection_tls, .timeout = 120);

enum { MUCH = 24 << 20 }; /* more than the kernel takes */

/* What the server does with a connection, and what happened; used on the loop's thread. */
struct script {
    struct rig rig;
    struct test_certs certs;
    const struct test_cert *ca;
    struct connection *connection; /* the newest */
    size_t record; /* consume in units of this */
    size_t close_at; /* close with flush when this much was echoed … */
    size_t seen;
    unsigned accepted;
    atomic_uint closed; /* where it moves, the other loop looks, too */
    unsigned drained;
    unsigned arrivals;
    enum close_reason reason;
    unsigned dialled;
    uint32_t deadline_ms;
    const char *greets;
    bool moves;
    bool pauses; /* after each unit, until resumed */
};

static bool append(struct connection *connection, const void *at, size_t len)
{
    struct builder builder = {0};
    builder_add(&builder, bytes_of(at, len));
    return connection_send(connection, &builder);
}

static void on_arrived(void *context, struct connection *connection);

static size_t on_bytes(struct connection *connection, struct bytes bytes)
{
    struct script *script = connection_owner(connection);
    size_t record = script->record > 0 ? script->record : 1;
    size_t used = bytes.len - bytes.len % record;
    if ((script->moves || script->pauses) && used > record) {
        used = record;
    }
    script->seen += used;
    if (used > 0) {
        append(connection, bytes.at, used);
    }
    if (script->close_at > 0 && script->seen >= script->close_at) {
        connection_close(connection, CLOSE_NORMAL, true);
    } else if (script->pauses && used > 0) {
        connection_pause(connection);
    } else if (script->moves && used > 0) {
        unsigned here = sched_shard(loop_shard(connection_loop(connection))->sched);
        connection_move(connection, !here, on_arrived, script);
    }
    return used;
}

static void on_closed(struct connection *connection, enum close_reason reason)
{
    struct script *script = connection_owner(connection);
    script->closed++;
    script->reason = reason;
}

static void on_drained(struct connection *connection)
{
    struct script *script = connection_owner(connection);
    script->drained++;
}

static const struct connection_ops ops = {
    .on_bytes = on_bytes, .on_closed = on_closed, .on_drained = on_drained};

static void on_accept(struct connection *connection, void *context)
{
    struct script *script = context;
    script->connection = connection;
    script->accepted++;
    connection_own(connection, &ops, script);
    connection_set_limit(connection, 1 << 20);
    if (script->deadline_ms > 0) {
        connection_expire(connection, CLOSE_HANDSHAKE_TIMEOUT, script->deadline_ms);
    }
    if (script->greets != NULL) {
        append(connection, script->greets, strlen(script->greets));
    }
}

static void on_arrived(void *context, struct connection *connection)
{
    struct script *script = context;
    script->arrivals++;
    script->connection = connection;
    if (connection != NULL) {
        connection_own(connection, &ops, script);
    }
}

static struct tls_context *make_context(const struct test_cert *cert)
{
    const char *certs[] = {cert->cert};
    const char *keys[] = {cert->key};
    struct builder error = {0};
    struct tls_context *context = NULL;
    const struct tls_options options = {.names = {"tls_cert", "tls_key", "tls_client_ca"},
        .certs = certs,
        .keys = keys,
        .count = 1,
        .ca = "",
        .http = true,
        .ticket_secret = BYTES("the secret of the test")};
    cr_assert_eq(tls_context_new(&options, &error, &context), 0);
    return context;
}

static struct script *start(unsigned loops)
{
    struct script *script = calloc(1, sizeof(*script));
    test_certs_begin(&script->certs);
    script->ca =
        test_certs_make(&script->certs, &(struct test_cert_options){.name = "ca", .ca = true});
    const struct test_cert *leaf = test_certs_make(
        &script->certs, &(struct test_cert_options){.name = "localhost", .issuer = script->ca});
    script->rig.tls = make_context(leaf);
    rig_start(&script->rig, loops, on_accept, script);
    return script;
}

static void stop(struct script *script)
{
    rig_stop(&script->rig);
    tls_context_unref(script->rig.tls);
    test_certs_end(&script->certs);
    free(script);
}

static void begin(struct script *script, struct tls_client *client, int fd)
{
    tls_client_begin(
        client, &(struct tls_client_options){.trusts = script->ca, .name = "localhost"}, fd);
}

/* With TLS 1.3 the client is done before the server has heard of it. */
static bool has_shaken(void *arg)
{
    const struct script *script = arg;
    const struct tls_counts *counts = connection_tls_counts(script->rig.loops[0]);
    return counts != NULL && counts->full >= script->dialled;
}

/* Connect, and shake hands. */
static int dial(struct script *script, struct tls_client *client)
{
    int fd = rig_connect(&script->rig);
    begin(script, client, fd);
    cr_assert(tls_client_shake(client));
    script->dialled++;
    cr_assert(rig_wait(&script->rig, 0, has_shaken, script));
    return fd;
}

static void hang_up(struct tls_client *client, int fd)
{
    tls_client_end(client);
    close(fd);
}

static bool is_closed(void *arg)
{
    return ((struct script *)arg)->closed > 0;
}

static bool is_drained(void *arg)
{
    return ((struct script *)arg)->drained > 0;
}

static char *make_text(size_t len)
{
    char *text = malloc(len);
    for (size_t i = 0; i < len; i++) {
        text[i] = (char)(i * 31 + i / 251);
    }
    return text;
}

struct counted {
    struct script *script;
    struct tls_counts counts;
};

static void read_counts(void *arg)
{
    struct counted *counted = arg;
    const struct tls_counts *counts = connection_tls_counts(counted->script->rig.loops[0]);
    if (counts != NULL) {
        counted->counts = *counts;
    }
}

static struct tls_counts count(struct script *script)
{
    struct counted counted = {.script = script};
    rig_call(&script->rig, 0, read_counts, &counted);
    return counted.counts;
}

/* --- bytes --- */

Test(connection_tls, what_is_sent_in_any_lengths_comes_back)
{
    enum { LEN = 200000 };
    struct script *script = start(1);
    struct tls_client client;
    script->record = 100;
    int fd = dial(script, &client);
    char *text = make_text(LEN);
    char *back = malloc(LEN);
    for (size_t at = 0, len = 1; at < LEN; at += len) {
        len = len * 3 % 5003 < LEN - at ? len * 3 % 5003 : LEN - at;
        cr_assert(tls_client_send(&client, bytes_of(text + at, len)));
    }
    cr_expect_eq(tls_client_recv(&client, back, LEN), LEN);
    cr_expect_eq(memcmp(text, back, LEN), 0);
    cr_expect_eq(count(script).open, 1);
    cr_expect_eq(SSL_shutdown(client.ssl), 0);
    cr_expect(rig_wait(&script->rig, 0, is_closed, script));
    cr_expect_eq(script->reason, CLOSE_PEER);
    cr_expect_eq(tls_client_recv(&client, back, 1), 0, "it says that nothing follows");
    cr_expect_neq(SSL_get_shutdown(client.ssl) & SSL_RECEIVED_SHUTDOWN, 0);
    hang_up(&client, fd);
    cr_expect(rig_wait_connections(&script->rig, 0, 0));
    cr_expect_eq(count(script).open, 0);
    cr_expect_eq(count(script).full, 1);
    free(text);
    free(back);
    stop(script);
}

static void send_much(void *arg)
{
    struct script *script = arg;
    char *text = make_text(MUCH);
    cr_expect(append(script->connection, text, MUCH));
    free(text);
}

Test(connection_tls, a_peer_that_reads_slowly_gets_every_byte)
{
    struct script *script = start(1);
    struct tls_client client;
    int fd = dial(script, &client);
    rig_call(&script->rig, 0, send_much, script);
    char *text = make_text(MUCH);
    char *back = malloc(MUCH);
    cr_expect_eq(tls_client_recv(&client, back, MUCH), MUCH);
    cr_expect_eq(memcmp(text, back, MUCH), 0);
    cr_expect(rig_wait(&script->rig, 0, is_drained, script));
    hang_up(&client, fd);
    cr_expect(rig_wait(&script->rig, 0, is_closed, script));
    cr_expect_eq(script->reason, CLOSE_PEER, "an end without close_notify is one, too");
    free(text);
    free(back);
    stop(script);
}

Test(connection_tls, a_stalled_peer_is_closed_as_slow)
{
    struct script *script = start(1);
    struct tls_client client;
    script->rig.config.slow_consumer_ms = 50;
    int fd = dial(script, &client);
    rig_call(&script->rig, 0, send_much, script);
    cr_expect(rig_wait(&script->rig, 0, is_closed, script));
    cr_expect_eq(script->reason, CLOSE_SLOW);
    hang_up(&client, fd);
    stop(script);
}

static void send_much_and_close(void *arg)
{
    struct script *script = arg;
    send_much(script);
    connection_close(script->connection, CLOSE_NORMAL, true);
}

Test(connection_tls, what_waits_is_written_before_the_end_is_said)
{
    struct script *script = start(1);
    struct tls_client client;
    int fd = dial(script, &client);
    rig_call(&script->rig, 0, send_much_and_close, script);
    char *back = malloc(MUCH + 1);
    cr_expect_eq(tls_client_recv(&client, back, MUCH + 1), MUCH);
    cr_expect_neq(SSL_get_shutdown(client.ssl) & SSL_RECEIVED_SHUTDOWN, 0);
    hang_up(&client, fd);
    cr_expect(rig_wait(&script->rig, 0, is_closed, script));
    cr_expect_eq(script->reason, CLOSE_NORMAL);
    free(back);
    stop(script);
}

Test(connection_tls, what_is_said_first_waits_for_the_handshake)
{
    struct script *script = start(1);
    struct tls_client client;
    char back[8];
    script->greets = "greeting";
    int fd = dial(script, &client);
    cr_expect_eq(tls_client_recv(&client, back, 8), 8);
    cr_expect_eq(memcmp(back, "greeting", 8), 0);
    hang_up(&client, fd);
    stop(script);
}

/* --- moves --- */

Test(connection_tls, moves_take_the_keys_and_what_was_opened_along)
{
    enum { ROUNDS = 150, RECORD = 700 };
    struct script *script = start(2);
    struct tls_client client;
    script->record = RECORD;
    script->moves = true;
    int fd = dial(script, &client);
    char *text = make_text((size_t)ROUNDS * RECORD);
    char *back = malloc((size_t)ROUNDS * RECORD);
    size_t sent = 0;
    size_t got = 0;
    for (size_t round = 0; round < ROUNDS; round++) { /* 1 to 6 records at a time, and parts */
        size_t want = (round % 6 + 1) * RECORD + round % 3 * 100;
        size_t left = (size_t)ROUNDS * RECORD - sent;
        want = want < left ? want : left;
        if (want > 0) {
            cr_assert(tls_client_send(&client, bytes_of(text + sent, want)));
            sent += want;
        }
        size_t whole = sent / RECORD * RECORD;
        got += tls_client_recv(&client, back + got, whole - got);
        cr_assert_eq(got, whole);
    }
    cr_expect_eq(sent, (size_t)ROUNDS * RECORD);
    cr_expect_eq(memcmp(text, back, sent), 0);
    cr_expect_geq(script->arrivals, ROUNDS - 1);
    hang_up(&client, fd);
    cr_expect(rig_wait(&script->rig, 0, is_closed, script), "until then it may be under way");
    cr_expect(rig_wait_connections(&script->rig, 0, 0));
    cr_expect(rig_wait_connections(&script->rig, 1, 0));
    cr_expect_eq(count(script).open, 0);
    free(text);
    free(back);
    stop(script);
}

/* --- the end in one read with what is before it --- */

/* Carry bytes of a client over memory until its handshake is done and its server knows. */
static int dial_by_hand(struct script *script, struct tls_client *client)
{
    char bytes[8192];
    int fd = rig_connect(&script->rig);
    begin(script, client, -1);
    for (bool done = false; !done;) {
        done = tls_client_shake(client);
        size_t len = tls_client_take(client, bytes, sizeof(bytes));
        cr_assert(rig_send(fd, bytes_of(bytes, len)));
        ssize_t got = done ? 0 : recv(fd, bytes, sizeof(bytes), 0);
        cr_assert_geq(got, 0);
        tls_client_give(client, bytes_of(bytes, (size_t)got));
    }
    script->dialled++;
    cr_assert(rig_wait(&script->rig, 0, has_shaken, script));
    return fd;
}

static bool has_seen(void *arg)
{
    const struct script *script = arg;
    return script->seen == 100 * script->dialled;
}

static void resume(void *arg)
{
    struct script *script = arg;
    script->dialled++; /* units that it is to have seen */
    connection_resume(script->connection);
}

/* Three requests and the end, where each is answered before the next one is looked at. */
Test(connection_tls, what_came_with_the_end_is_taken_before_it_counts)
{
    enum { UNITS = 3, LEN = 100 * UNITS };
    struct script *script = start(1);
    struct tls_client client;
    char bytes[4096];
    char back[LEN];
    char *text = make_text(LEN);
    script->record = 100;
    script->pauses = true;
    int fd = dial_by_hand(script, &client);
    cr_assert(tls_client_send(&client, bytes_of(text, LEN)));
    cr_assert_eq(SSL_shutdown(client.ssl), 0);
    size_t len = tls_client_take(&client, bytes, sizeof(bytes));
    cr_assert(rig_send(fd, bytes_of(bytes, len)));
    cr_expect(rig_wait(&script->rig, 0, has_seen, script));
    for (unsigned i = 1; i < UNITS; i++) {
        cr_assert_not(is_closed(script));
        rig_call(&script->rig, 0, resume, script);
        cr_assert(rig_wait(&script->rig, 0, has_seen, script), "unit %u", i);
    }
    rig_call(&script->rig, 0, resume, script);
    cr_expect(rig_wait(&script->rig, 0, is_closed, script));
    cr_expect_eq(script->reason, CLOSE_PEER);
    for (ssize_t got; (got = recv(fd, bytes, sizeof(bytes), 0)) > 0;) {
        tls_client_give(&client, bytes_of(bytes, (size_t)got));
    }
    cr_expect_eq(tls_client_recv(&client, back, LEN), LEN);
    cr_expect_eq(memcmp(text, back, LEN), 0);
    hang_up(&client, fd);
    free(text);
    stop(script);
}

/* --- who does not go through with it --- */

Test(connection_tls, http_without_tls_is_answered_and_closed)
{
    struct script *script = start(1);
    char back[400];
    size_t len;
    int fd = rig_connect(&script->rig);
    cr_assert(rig_send(fd, BYTES("GET / HTTP/1.1\r\nHost: a\r\n\r\n")));
    cr_expect(rig_recv_all(fd, back, sizeof(back), &len));
    cr_expect(bytes_starts(bytes_of(back, len), BYTES("HTTP/1.1 400 Bad Request\r\n")));
    close(fd);
    cr_expect(rig_wait(&script->rig, 0, is_closed, script));
    cr_expect_eq(script->seen, 0);
    cr_expect_eq(count(script).failed[TLS_FAILED_PLAIN], 1);
    stop(script);
}

Test(connection_tls, garbage_gets_an_alert_and_the_end)
{
    struct script *script = start(1);
    char back[400];
    size_t len;
    int fd = rig_connect(&script->rig);
    cr_assert(rig_send(fd, BYTES("\x16\x03\x01\x00\x05hello, this is no handshake")));
    cr_expect(rig_recv_all(fd, back, sizeof(back), &len));
    cr_assert_geq(len, 7);
    cr_expect_eq(back[0], 21, "an alert");
    close(fd);
    cr_expect(rig_wait(&script->rig, 0, is_closed, script));
    cr_expect_eq(script->reason, CLOSE_PROTOCOL);
    cr_expect_eq(count(script).failed[TLS_FAILED_MALFORMED], 1);
    stop(script);
}

/* Part of a first flight, and nothing more. */
static int stall(struct script *script)
{
    struct tls_client client;
    char hello[2048];
    int fd = rig_connect(&script->rig);
    begin(script, &client, -1);
    cr_expect_not(tls_client_shake(&client));
    size_t len = tls_client_take(&client, hello, sizeof(hello));
    cr_assert(rig_send(fd, bytes_of(hello, len / 2)));
    tls_client_end(&client);
    return fd;
}

Test(connection_tls, a_handshake_that_stops_ends_with_its_time)
{
    struct script *script = start(1);
    script->deadline_ms = 50;
    script->greets = "never sent";
    int fd = stall(script);
    cr_expect(rig_wait(&script->rig, 0, is_closed, script));
    cr_expect_eq(script->reason, CLOSE_HANDSHAKE_TIMEOUT);
    cr_expect_eq(count(script).failed[TLS_FAILED_GONE], 1);
    close(fd);
    stop(script);
}

Test(connection_tls, who_goes_in_the_middle_is_counted)
{
    struct script *script = start(1);
    close(stall(script));
    cr_expect(rig_wait(&script->rig, 0, is_closed, script));
    rig_reset(stall(script));
    rig_reset(rig_connect(&script->rig));
    cr_expect(rig_wait_connections(&script->rig, 0, 0));
    while (count(script).failed[TLS_FAILED_GONE] < 3) {
        usleep(1000);
    }
    cr_expect_eq(script->seen, 0);
    cr_expect_eq(count(script).open, 0);
    stop(script);
}

Test(connection_tls, resets_with_writes_in_flight_are_survived)
{
    enum { ROUNDS = 20 };
    struct script *script = start(1);
    for (unsigned i = 0; i < ROUNDS; i++) {
        struct tls_client client;
        int fd = dial(script, &client);
        rig_call(&script->rig, 0, send_much, script);
        tls_client_end(&client);
        rig_reset(fd);
        cr_assert(rig_wait_connections(&script->rig, 0, 0));
    }
    cr_expect_eq(script->closed, ROUNDS);
    stop(script);
}

/* --- many at once --- */

enum { CROWD = 200 };

struct visitor {
    struct script *script;
    pthread_t thread;
    bool answered;
};

static void *visit(void *arg)
{
    struct visitor *visitor = arg;
    struct tls_client client;
    char back[5];
    int fd = rig_connect(&visitor->script->rig);
    begin(visitor->script, &client, fd);
    visitor->answered = tls_client_shake(&client) && tls_client_send(&client, BYTES("hello")) &&
                        tls_client_recv(&client, back, 5) == 5 && memcmp(back, "hello", 5) == 0;
    hang_up(&client, fd);
    return NULL;
}

/* More handshakes at once than a turn has time for: each has its turn. */
Test(connection_tls, a_crowd_is_served_over_many_turns)
{
    struct script *script = start(1);
    struct visitor *visitors = calloc(CROWD, sizeof(*visitors));
    for (unsigned i = 0; i < CROWD; i++) {
        visitors[i].script = script;
        cr_assert_eq(pthread_create(&visitors[i].thread, NULL, visit, &visitors[i]), 0);
    }
    for (unsigned i = 0; i < CROWD; i++) {
        pthread_join(visitors[i].thread, NULL);
        cr_expect(visitors[i].answered);
    }
    cr_expect(rig_wait_connections(&script->rig, 0, 0));
    cr_expect_eq(count(script).full, CROWD);
    free(visitors);
    stop(script);
}

/* --- another certificate --- */

struct swap {
    struct script *script;
    struct tls_context *next;
};

static void swap_context(void *arg)
{
    const struct swap *swap = arg;
    listener_set_tls(swap->script->rig.listener, swap->next);
}

Test(connection_tls, a_new_certificate_is_for_new_connections)
{
    struct script *script = start(1);
    struct tls_client old;
    struct tls_client fresh;
    char back[4];
    int first = dial(script, &old);
    const struct test_cert *next = test_certs_make(
        &script->certs, &(struct test_cert_options){.name = "localhost", .issuer = script->ca});
    struct swap swap = {.script = script, .next = make_context(next)};
    rig_call(&script->rig, 0, swap_context, &swap);
    tls_context_unref(swap.next);
    int second = dial(script, &fresh);
    X509 *seen = SSL_get1_peer_certificate(fresh.ssl);
    cr_expect_eq(X509_cmp(seen, next->x509), 0);
    X509_free(seen);
    cr_expect(tls_client_send(&old, BYTES("here")));
    cr_expect_eq(tls_client_recv(&old, back, 4), 4);
    hang_up(&old, first);
    hang_up(&fresh, second);
    stop(script);
}
