/* SPDX-License-Identifier: Apache-2.0 */
/*
 * tls - what TLS costs a loop beside plain connections, in one process: bytes of an idle
 * connection, handshakes, and an event written to many connections. Prints one line of JSON.
 *
 * bench_tls CERT KEY CONNECTIONS EVENTS. CPU is that of the loop's thread alone; what a client does
 * is done on the main thread, which opens nothing of what it gets.
 *
 * Order of this file: the loop's side, clients, what is measured.
 */
#include <errno.h>
#include <malloc.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "actors/assembly/shard_floors.h"
#include "actors/shard.h"
#include "codec/base/mem.h"
#include "hub/net/connection.h"
#include "hub/net/listener.h"
#include "hub/net/loop.h"
#include "hub/net/tls_context.h"

enum { EVENT_LEN = 128, HANDSHAKES = 400, CONNECTIONS_MAX = 9000 };

/* --- the loop's side --- */

static struct actor_system *bench_system;
static struct shard shard;
static struct loop *loop;
static struct listener *listeners[2]; /* plain, TLS */
static struct tls_context *context;
static struct connection *connections[CONNECTIONS_MAX]; /* those that are open */
static size_t count;

struct owner {
    size_t index;
};

static size_t on_bytes(struct connection *connection, struct bytes bytes)
{
    (void)connection;
    return bytes.len;
}

static void on_closed(struct connection *connection, enum close_reason reason)
{
    struct owner *owner = connection_owner(connection);
    (void)reason;
    connections[owner->index] = connections[--count];
    if (owner->index < count) {
        ((struct owner *)connection_owner(connections[owner->index]))->index = owner->index;
    }
    mem_free(owner);
}

static const struct connection_ops ops = {.on_bytes = on_bytes, .on_closed = on_closed};

static void on_accept(struct connection *connection, void *unused)
{
    struct owner *owner = mem_alloc(sizeof(*owner));
    (void)unused;
    CHECK(count < CONNECTIONS_MAX);
    owner->index = count;
    connections[count++] = connection;
    connection_own(connection, &ops, owner);
}

static int on_start(struct loop *started, void *unused)
{
    (void)unused;
    for (unsigned i = 0; i < 2; i++) {
        struct listener_config config = {
            .host = "127.0.0.1", .tls = i == 1 ? context : NULL, .on_accept = on_accept};
        if (listener_open(started, &config, &listeners[i]) != 0) {
            return -1;
        }
    }
    return 0;
}

static void on_stop(struct loop *stopped, void *unused)
{
    (void)stopped;
    (void)unused;
    for (unsigned i = 0; i < 2; i++) {
        listener_close(listeners[i]);
    }
}

static void start(const char *cert, const char *key)
{
    static const struct actor_config actors = {.node = "bench", .epoch = ""};
    struct builder error = {0};
    const struct tls_options options = {.names = {"CERT", "KEY", ""},
        .certs = &cert,
        .keys = &key,
        .count = 1,
        .ca = "",
        .ticket_secret = BYTES("the secret of a benchmark")};
    CHECK(tls_context_new(&options, &error, &context) == 0);
    bench_system = actor_system_create(1);
    shard_init(&shard, actor_system_sched(bench_system, 0), &actors);
    struct loop_config config = {
        .system = bench_system, .shard = &shard, .on_start = on_start, .on_stop = on_stop};
    CHECK(loop_create(&config, &loop) == 0 && loop_start(loop) == 0);
}

static void stop(void)
{
    loop_stop(loop);
    loop_join(loop);
    loop_destroy(loop);
    actor_system_destroy(bench_system);
    shard_finish(&shard);
    tls_context_unref(context);
}

struct call {
    void (*fn)(void *arg);
    void *arg;
    sem_t done;
};

static void run_call(void *arg, bool cancelled)
{
    struct call *call = arg;
    if (!cancelled) {
        call->fn(call->arg);
    }
    sem_post(&call->done);
}

static void on_loop(void (*fn)(void *arg), void *arg)
{
    struct call call = {.fn = fn, .arg = arg};
    sem_init(&call.done, 0, 0);
    sched_post(bench_system, 0, run_call, &call);
    while (sem_wait(&call.done) != 0) {
    }
    sem_destroy(&call.done);
}

static void read_cpu(void *arg)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    *(double *)arg = (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static double cpu(void)
{
    double seconds;
    on_loop(read_cpu, &seconds);
    return seconds;
}

static void read_count(void *arg)
{
    *(size_t *)arg = count;
}

static void wait_count(size_t wanted)
{
    size_t now = SIZE_MAX;
    for (;;) {
        on_loop(read_count, &now);
        if (now == wanted) {
            return;
        }
        usleep(1000);
    }
}

/* One chunk for all, as rooms have it. */
static void fan_out(void *unused)
{
    static const char event[EVENT_LEN] = "an event of so many bytes";
    struct builder builder = {0};
    (void)unused;
    builder_add(&builder, bytes_of(event, sizeof(event)));
    struct chunk *chunk = chunk_take(&builder);
    CHECK(chunk != NULL);
    for (size_t i = 0; i < count; i++) {
        CHECK(outbox_append(
            connection_outbox(connections[i]), &shard.dirty_outboxes, chunk, 0, sizeof(event)));
    }
    chunk_unref(chunk);
}

/* --- clients --- */

static SSL_CTX *client_ctx;
static SSL_SESSION *ticket;

static int keep_ticket(SSL *ssl, SSL_SESSION *session)
{
    (void)ssl;
    SSL_SESSION_free(ticket);
    ticket = session;
    return 1;
}

static int dial(bool tls)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
        .sin_port = htons(listener_port(listeners[tls])),
        .sin_addr = {htonl(INADDR_LOOPBACK)}};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(fd >= 0 && connect(fd, (struct sockaddr *)&to, sizeof(to)) == 0);
    return fd;
}

/* Shake hands, and have a message and its ticket pass; what OpenSSL has of it is freed. */
static void shake(int fd, bool resumes)
{
    SSL *ssl = SSL_new(client_ctx);
    char byte;
    SSL_set_fd(ssl, fd);
    if (resumes) {
        CHECK(ticket != NULL && SSL_set_session(ssl, ticket) == 1);
    }
    CHECK(SSL_connect(ssl) == 1 && SSL_write(ssl, "x", 1) == 1);
    CHECK(SSL_session_reused(ssl) == (resumes ? 1 : 0));
    SSL_clear_mode(ssl, SSL_MODE_AUTO_RETRY); /* the ticket alone is enough to return */
    SSL_SESSION *before = ticket;
    while (ticket == before) {
        (void)SSL_peek(ssl, &byte, 1); /* takes the ticket in */
    }
    SSL_set_shutdown(ssl, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
    SSL_free(ssl);
}

/* --- what is measured --- */

static double handshakes_per_s(bool resumes)
{
    double before = cpu();
    for (unsigned i = 0; i < HANDSHAKES; i++) {
        int fd = dial(true);
        shake(fd, resumes);
        close(fd);
    }
    wait_count(0);
    return HANDSHAKES / (cpu() - before);
}

/* Throw away what comes until each has got `len` bytes. */
static void drain(const int *fds, size_t number, size_t len)
{
    static char scratch[4096];
    for (size_t i = 0; i < number; i++) {
        for (size_t got = 0; got < len;) {
            ssize_t n = recv(fds[i], scratch, len - got, 0);
            CHECK(n > 0 || (n < 0 && (errno == EINTR || errno == EAGAIN)));
            got += n > 0 ? (size_t)n : 0;
        }
    }
}

struct figures {
    double idle; /* bytes of one connection, on the heap */
    double us; /* CPU of one delivery */
};

static struct figures measure(bool tls, size_t number, unsigned events)
{
    enum { RECORD = 22 }; /* what TLS 1.3 adds to a message */
    struct figures figures;
    int *fds = mem_alloc_array(number, sizeof(*fds));
    size_t heap = mallinfo2().uordblks;
    for (size_t i = 0; i < number; i++) {
        fds[i] = dial(tls);
        if (tls) {
            shake(fds[i], false);
        }
    }
    wait_count(number);
    figures.idle = (double)(mallinfo2().uordblks - heap) / (double)number;
    double before = cpu();
    for (unsigned i = 0; i < events; i++) {
        on_loop(fan_out, NULL);
        drain(fds, number, EVENT_LEN + (tls ? RECORD : 0));
    }
    figures.us = (cpu() - before) * 1e6 / ((double)number * events);
    for (size_t i = 0; i < number; i++) {
        close(fds[i]);
    }
    wait_count(0);
    mem_free(fds);
    return figures;
}

int main(int argc, char **argv)
{
    struct rlimit files;
    if (argc != 5) {
        fprintf(stderr, "usage: bench_tls CERT KEY CONNECTIONS EVENTS\n");
        return 2;
    }
    mallopt(M_ARENA_MAX, 1); /* all threads in what mallinfo2 counts */
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    size_t number = strtoul(argv[3], NULL, 10);
    unsigned events = (unsigned)strtoul(argv[4], NULL, 10);
    start(argv[1], argv[2]);
    client_ctx = SSL_CTX_new(TLS_client_method());
    SSL_CTX_set_min_proto_version(client_ctx, TLS1_3_VERSION);
    SSL_CTX_set_session_cache_mode(
        client_ctx, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL_STORE);
    SSL_CTX_sess_set_new_cb(client_ctx, keep_ticket);
    struct figures plain = measure(false, number, events);
    struct figures tls = measure(true, number, events);
    double full = handshakes_per_s(false);
    double resumed = handshakes_per_s(true);
    printf("{\"plain_idle\": %.0f, \"tls_idle\": %.0f, \"plain_us\": %.4f, \"tls_us\": %.4f, "
           "\"full_per_s\": %.0f, \"resumed_per_s\": %.0f}\n",
        plain.idle, tls.idle, plain.us, tls.us, full, resumed);
    SSL_SESSION_free(ticket);
    SSL_CTX_free(client_ctx);
    stop();
    return 0;
}
