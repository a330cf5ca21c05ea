/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Answers that are made in pieces, over real sockets: how their end is told, who is asked for more,
 * and how they end before it.
 */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "codec/base/buf.h"
#include "codec/base/mem.h"
#include "hub/net/connection.h"
#include "hub/net/http_server.h"
#include "hub/net/http_stream.h"
#include "hub/net/loop.h"
#include "tests/support/net_rig.h"

TestSuite(http_stream, .timeout = 120);

enum { PIECE = 100000 };

/* What the test's answers are made of; on the thread of the loop, but for its beginning. */
struct server {
    struct rig rig;
    struct http_server_config config;
    struct http_stream stream;
    struct http_request *request;
    enum gzip_coding coding;
    unsigned pieces; /* that are written when asked for, then the end */
    size_t len; /* of each; 0: "piece N " */
    unsigned unasked; /* pieces written at once, at the first time */
    bool endless; /* when asked for more than `pieces` it waits */
    bool aborts; /* there instead of the end */
    bool starved; /* without memory for what is written */
    unsigned written;
    unsigned asked;
    unsigned begun;
    unsigned gone;
    uint32_t most; /* bytes that have waited at once */
    unsigned plain; /* other requests */
};

static void write_piece(struct server *server)
{
    struct builder piece = {0};
    server->written++;
    if (server->len == 0) {
        builder_printf(&piece, "piece %u ", server->written);
    }
    for (size_t i = 0; i < server->len; i++) {
        builder_byte(&piece, (char)('a' + server->written % 26));
    }
    mem_refuse(server->starved);
    http_stream_write(&server->stream, &piece);
    mem_refuse(false);
    cr_expect_eq(builder_bytes(&piece).len, 0);
    uint32_t waits = connection_outbox(server->request->connection)->bytes;
    server->most = waits > server->most ? waits : server->most;
}

static void on_more(struct http_stream *stream)
{
    struct server *server = container_of(stream, struct server, stream);
    server->asked++;
    if (server->written < server->pieces) {
        write_piece(server);
    } else if (server->aborts) {
        http_stream_abort(stream);
    } else if (!server->endless) {
        http_stream_end(stream);
    }
}

static void on_gone(struct http_stream *stream)
{
    container_of(stream, struct server, stream)->gone++;
}

static const struct http_stream_ops ops = {.more = on_more, .gone = on_gone};

static void on_stream(struct http_request *request, void *context)
{
    struct server *server = context;
    const struct http_stream_head head = {
        .content_type = "text/plain", .headers = BYTES("X-A: b\r\n"), .coding = server->coding};
    server->request = request;
    bool starved = bytes_eq(request->query, BYTES("starved"));
    mem_refuse(starved);
    bool begun = http_stream_begin(&server->stream, request, &head, &ops);
    mem_refuse(false);
    server->begun += begun;
    for (unsigned i = 0; begun && i < server->unasked; i++) {
        write_piece(server);
    }
}

static void on_plain(struct http_request *request, void *context)
{
    struct server *server = context;
    server->plain++;
    http_respond(request, 200, "text/plain", bytes_of(NULL, 0), BYTES("plain"));
}

static const struct http_route routes[] = {
    {.method = "GET", .path = "/stream", .handler = on_stream},
    {.method = "GET", .path = "/plain", .handler = on_plain},
    {.path = NULL},
};

static void on_accept(struct connection *connection, void *context)
{
    struct server *server = context;
    http_serve(connection, &server->config);
}

static struct server *start(unsigned pieces)
{
    struct server *server = calloc(1, sizeof(*server));
    server->pieces = pieces;
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

static int send_to(struct server *server, const char *input)
{
    int fd = rig_connect(&server->rig);
    cr_assert(rig_send(fd, bytes_str(input)));
    return fd;
}

/* Send, and expect exactly this before the connection's end. */
static void expect_all(struct server *server, const char *input, const char *output)
{
    char got[4096];
    size_t len;
    int fd = send_to(server, input);
    cr_expect(rig_recv_all(fd, got, sizeof(got) - 1, &len), "not closed");
    got[len] = '\0';
    cr_expect_str_eq(got, output);
    close(fd);
}

static bool is_gone(void *arg)
{
    struct server *server = arg;
    return server->gone > 0;
}

#define STREAM "GET /stream HTTP/1.1\r\nHost: h\r\n\r\n"
#define LAST "GET /stream HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
#define PLAIN_LAST "GET /plain HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
#define OK "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"
#define HEAD OK "Transfer-Encoding: chunked\r\nX-A: b\r\n\r\n"
#define PLAIN_ANSWER OK "Content-Length: 5\r\nConnection: close\r\n\r\nplain"
#define TWO "8\r\npiece 1 \r\n8\r\npiece 2 \r\n"

Test(http_stream, pieces_are_chunks_and_the_last_one_is_empty)
{
    struct server *server = start(2);
    expect_all(server, LAST,
        OK "Transfer-Encoding: chunked\r\nConnection: close\r\nX-A: b\r\n\r\n" TWO "0\r\n\r\n");
    cr_expect_eq(server->asked, 3, "behind the head and each piece, not %u times", server->asked);
    cr_expect_eq(server->gone, 0);
    stop(server);
}

Test(http_stream, the_next_request_waits_for_the_end)
{
    struct server *server = start(2);
    expect_all(server, STREAM PLAIN_LAST, HEAD TWO "0\r\n\r\n" PLAIN_ANSWER);
    server->written = 0;
    expect_all(
        server, STREAM STREAM PLAIN_LAST, HEAD TWO "0\r\n\r\n" HEAD "0\r\n\r\n" PLAIN_ANSWER);
    cr_expect_eq(server->plain, 2);
    stop(server);
}

Test(http_stream, http_1_0_gets_bytes_up_to_the_end)
{
    struct server *server = start(2);
    expect_all(server, "GET /stream HTTP/1.0\r\n\r\n",
        OK "Connection: close\r\nX-A: b\r\n\r\npiece 1 piece 2 ");
    stop(server);
}

Test(http_stream, who_asks_for_the_head_gets_no_more)
{
    struct server *server = start(2);
    expect_all(server, "HEAD /stream HTTP/1.1\r\nHost: h\r\n\r\n" PLAIN_LAST, HEAD PLAIN_ANSWER);
    expect_all(server, "HEAD /stream HTTP/1.0\r\n\r\n", OK "Connection: close\r\nX-A: b\r\n\r\n");
    cr_expect_eq(server->begun + server->asked + server->gone, 0);
    stop(server);
}

Test(http_stream, an_answer_without_pieces_is_complete)
{
    struct server *server = start(0);
    expect_all(server, STREAM PLAIN_LAST, HEAD "0\r\n\r\n" PLAIN_ANSWER);
    stop(server);
}

Test(http_stream, what_is_written_unasked_comes_in_order)
{
    struct server *server = start(3);
    server->unasked = 2;
    expect_all(server, STREAM PLAIN_LAST, HEAD TWO "8\r\npiece 3 \r\n0\r\n\r\n" PLAIN_ANSWER);
    cr_expect_eq(server->asked, 2, "once for all that was there, not %u times", server->asked);
    stop(server);
}

Test(http_stream, what_is_given_up_has_no_end)
{
    struct server *server = start(2);
    server->aborts = true;
    expect_all(server, STREAM PLAIN_LAST, HEAD TWO);
    cr_expect_eq(server->gone, 0, "who gave it up is not told");
    cr_expect_eq(server->plain, 0);
    stop(server);
}

Test(http_stream, without_memory_for_the_head_it_does_not_begin)
{
    struct server *server = start(2);
    char got[1000] = "";
    int fd = send_to(server, "GET /stream?starved HTTP/1.1\r\nHost: h\r\n\r\n");
    size_t len;
    cr_expect(rig_recv_all(fd, got, sizeof(got) - 1, &len));
    cr_expect_eq(strncmp(got, "HTTP/1.1 503 ", 13), 0, "%s", got);
    cr_expect_eq(server->begun + server->gone, 0);
    close(fd);
    stop(server);
}

Test(http_stream, without_memory_for_a_piece_it_ends)
{
    struct server *server = start(2);
    server->starved = true;
    expect_all(server, STREAM PLAIN_LAST, HEAD);
    cr_expect(rig_wait(&server->rig, 0, is_gone, server));
    cr_expect_eq(server->rig.shards[0].stats.closed[CLOSE_NO_MEMORY], 1);
    stop(server);
}

/* Receive a body of chunks to its end; how many bytes it had, SIZE_MAX when it was cut. */
static size_t receive_body(int fd)
{
    char line[4096];
    size_t total = 0;
    cr_assert_eq(rig_recv(fd, line, sizeof(HEAD) - 1), sizeof(HEAD) - 1);
    for (;;) {
        size_t at = 0;
        while (at < 12 && rig_recv(fd, line + at, 1) == 1 && line[at] != '\n') {
            at++;
        }
        line[at] = '\0';
        size_t left = strtoul(line, NULL, 16) + 2;
        if (at == 0 || left == 2) {
            return at > 0 && rig_recv(fd, line, 2) == 2 ? total : SIZE_MAX;
        }
        total += left - 2;
        while (left > 0) {
            size_t some = rig_recv(fd, line, left < sizeof(line) ? left : sizeof(line));
            if (some == 0) {
                return SIZE_MAX;
            }
            left -= some;
        }
    }
}

Test(http_stream, one_piece_at_most_waits)
{
    struct server *server = start(100);
    server->len = PIECE;
    int fd = send_to(server, STREAM);
    cr_expect_eq(receive_body(fd), (size_t)100 * PIECE);
    cr_expect_leq(server->most, PIECE + 16, "%u bytes waited", server->most);
    close(fd);
    stop(server);
}

/* A socket that holds little, so that the sender sees soon that nothing is read. */
static int connect_small(struct server *server)
{
    int size = 4096;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
    rig_connect_socket(&server->rig, fd);
    return fd;
}

Test(http_stream, who_does_not_read_is_cut_off)
{
    struct server *server = start(1000);
    server->len = PIECE;
    server->rig.config.slow_consumer_ms = 300;
    int fd = connect_small(server);
    cr_assert(rig_send(fd, BYTES(STREAM)));
    cr_expect(rig_wait(&server->rig, 0, is_gone, server));
    cr_expect_eq(server->rig.shards[0].stats.closed[CLOSE_SLOW], 1);
    cr_expect_leq(server->most, PIECE + 16, "%u bytes waited", server->most);
    cr_expect_lt(server->written, 1000);
    cr_expect_eq(server->gone, 1);
    close(fd);
    stop(server);
}

Test(http_stream, who_reads_slowly_but_enough_is_not)
{
    enum { ALL = 8 * 300000, PERIOD_MS = 2000 };
    static char some[300000];
    struct server *server = start(1);
    server->len = ALL;
    server->rig.config.slow_consumer_ms = PERIOD_MS;
    server->rig.config.outbound_bytes = 16 << 20; /* what is full has its own time */
    server->rig.config.outbox_max = 16 << 20;
    int fd = connect_small(server);
    cr_assert(rig_send(fd, BYTES(STREAM)));
    for (unsigned i = 0; i < 8; i++) { /* more than two periods in all */
        usleep(700 * 1000);
        cr_assert_eq(rig_recv(fd, some, sizeof(some)), sizeof(some), "cut at %u", i);
    }
    cr_expect_eq(server->gone, 0);
    close(fd);
    stop(server);
}

Test(http_stream, a_body_that_waits_for_its_maker_takes_its_time)
{
    struct server *server = start(1);
    server->endless = true;
    server->rig.config.slow_consumer_ms = 100;
    int fd = send_to(server, STREAM);
    char got[sizeof(HEAD "8\r\npiece 1 \r\n")];
    cr_expect_eq(rig_recv(fd, got, sizeof(got) - 1), sizeof(got) - 1);
    usleep(400 * 1000);
    server->pieces = 2; /* nobody is asked: the loop's thread is idle */
    rig_call(&server->rig, 0, (void (*)(void *))write_piece, server);
    cr_expect_eq(rig_recv(fd, got, 13), 13);
    cr_expect_eq(strncmp(got, "8\r\npiece 2 \r\n", 13), 0);
    cr_expect_eq(server->gone, 0);
    close(fd);
    cr_expect(rig_wait(&server->rig, 0, is_gone, server));
    stop(server);
}

Test(http_stream, the_peers_going_is_told_once)
{
    for (unsigned reset = 0; reset < 2; reset++) {
        struct server *server = start(1000000);
        server->len = PIECE;
        char got[1000];
        int fd = send_to(server, STREAM);
        cr_assert_eq(rig_recv(fd, got, sizeof(got)), sizeof(got));
        if (reset) {
            rig_reset(fd);
        } else {
            close(fd);
        }
        cr_expect(rig_wait(&server->rig, 0, is_gone, server));
        cr_expect(rig_wait_connections(&server->rig, 0, 0));
        cr_expect_eq(server->gone, 1);
        stop(server);
    }
}

Test(http_stream, the_end_of_the_loop_ends_it)
{
    struct server *server = start(1);
    server->endless = true;
    int fd = send_to(server, STREAM);
    char got[sizeof(HEAD "8\r\npiece 1 \r\n")];
    cr_expect_eq(rig_recv(fd, got, sizeof(got) - 1), sizeof(got) - 1);
    rig_stop(&server->rig);
    cr_expect_eq(server->gone, 1);
    cr_expect_eq(rig_recv(fd, got, 1), 0, "no last chunk");
    close(fd);
    free(server);
}

/* The body of the answer to the last request of a connection, without its chunks' frames. */
static struct bytes read_chunks(char *at, size_t len)
{
    char *to = at;
    char *from = strstr(at, "\r\n\r\n") + 4;
    char *start = to;
    for (size_t size; (size = strtoul(from, &from, 16)) > 0; from += size + 2) {
        from += 2;
        cr_assert_lt(from + size, at + len);
        memmove(to, from, size);
        to += size;
    }
    return bytes_of(start, (size_t)(to - start));
}

Test(http_stream, a_coding_covers_the_whole_body)
{
    static char got[100000];
    struct server *server = start(50);
    struct builder text = {0};
    size_t len;
    server->coding = GZIP_GZIP;
    server->len = 1000;
    int fd = send_to(server, LAST);
    cr_assert(rig_recv_all(fd, got, sizeof(got) - 1, &len));
    cr_expect_not_null(strstr(got, "Content-Encoding: gzip\r\n"));
    cr_expect_eq(gzip_expand(read_chunks(got, len), 50000, &text), 0);
    cr_expect_eq(builder_bytes(&text).len, 50000);
    for (size_t i = 0; i < builder_bytes(&text).len; i++) {
        cr_assert_eq(builder_bytes(&text).at[i], (char)('a' + (i / 1000 + 1) % 26));
    }
    builder_reset(&text);
    close(fd);
    stop(server);
}
