/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_values - values of a hub, asked for by HTTP over connections that each have one request
 * under way. Started by run.py; by hand:
 *
 *   bench_values put|get|miss|mget PORT SERVER_PID CONNECTIONS KEYS BYTES SECONDS
 *
 * PEAL_BENCH_API_KEY is a key of the hub with scope `values`. `put` writes each key once, whatever
 * SECONDS says; the others choose keys at random. `mget` asks for MGET_KEYS at once.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "codec/base/buf.h"
#include "codec/base/check.h"
#include "codec/base/clock.h"
#include "codec/base/mem.h"
#include "codec/base/rand.h"
#include "codec/http1_answer.h"
#include "tests/bench/histogram.h"
#include "tests/bench/process.h"

enum {
    MGET_KEYS = 100,
    HEAD_MAX = 16 << 10,
    READ_SIZE = 256 << 10,
    EVENTS = 64,
    KEY_LEN = 32,
    DRAIN_MS = 10000,
};

enum verb { PUT, GET, MISS, MGET, VERB_COUNT };

static const char *const verbs[VERB_COUNT] = {
    [PUT] = "put", [GET] = "get", [MISS] = "miss", [MGET] = "mget"};

struct load {
    enum verb verb;
    const char *api_key;
    uint32_t keys;
    uint32_t next; /* the key that is put next */
    struct bytes value; /* JSON */
    uint64_t end_ns; /* no request after that */
    struct rand rand;
    unsigned under_way;
    uint64_t answers;
    uint64_t hits; /* X-Cache */
    uint64_t found; /* 200 */
    uint64_t absent; /* 404 */
    uint64_t failed;
    struct histogram times;
};

struct link {
    int fd;
    uint64_t asked_ns;
    struct builder out; /* the request; all of it fits into the socket, or the rest waits */
    size_t sent;
    struct builder in;
};

static void give_up(const char *what)
{
    (void)fprintf(stderr, "bench_values: %s: %s\n", what, strerror(errno));
    exit(1);
}

/* Requests. */

static void add_key(struct load *load, char *at)
{
    uint64_t number = load->verb == PUT ? load->next++ : rand_below(&load->rand, load->keys);
    snprintf(at, KEY_LEN, "%s:%" PRIu64, load->verb == MISS ? "none" : "bench", number);
}

static void write_head(const struct load *load, struct builder *out, const char *method,
    const char *path, size_t length)
{
    builder_printf(out,
        "%s /api/v1/values/%s HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer %s\r\n", method,
        path, load->api_key);
    if (length > 0) {
        builder_printf(out, "Content-Type: application/json\r\nContent-Length: %zu\r\n", length);
    }
    builder_str(out, "\r\n");
}

static void write_mget(struct load *load, struct builder *out)
{
    char key[KEY_LEN];
    struct builder body = {0};
    builder_str(&body, "{\"keys\":[");
    for (unsigned i = 0; i < MGET_KEYS; i++) {
        add_key(load, key);
        builder_printf(&body, "%s\"%s\"", i > 0 ? "," : "", key);
    }
    builder_str(&body, "]}");
    write_head(load, out, "POST", "mget", builder_bytes(&body).len);
    builder_add(out, builder_bytes(&body));
    builder_reset(&body);
}

static void write_request(struct load *load, struct builder *out)
{
    char key[KEY_LEN];
    if (load->verb == MGET) {
        write_mget(load, out);
        return;
    }
    add_key(load, key);
    if (load->verb == PUT) {
        static const char begin[] = "{\"ttl\":3600,\"value\":";
        write_head(load, out, "PUT", key, strlen(begin) + load->value.len + 1);
        builder_str(out, begin);
        builder_add(out, load->value);
        builder_byte(out, '}');
    } else {
        write_head(load, out, "GET", key, 0);
    }
}

/* Connections. */

static void send_some(int epoll, struct link *link)
{
    struct bytes left = bytes_skip(builder_bytes(&link->out), link->sent);
    ssize_t sent = left.len > 0 ? send(link->fd, left.at, left.len, MSG_NOSIGNAL) : 0;
    if (sent < 0 && errno != EAGAIN) {
        give_up("send");
    }
    link->sent += sent > 0 ? (size_t)sent : 0;
    bool waits = link->sent < builder_bytes(&link->out).len;
    struct epoll_event event = {.events = EPOLLIN | (waits ? EPOLLOUT : 0), .data.ptr = link};
    if (epoll_ctl(epoll, EPOLL_CTL_MOD, link->fd, &event) != 0) {
        give_up("epoll_ctl");
    }
}

static bool is_over(const struct load *load)
{
    return load->verb == PUT ? load->next >= load->keys : clock_mono_ns() >= load->end_ns;
}

static void ask(struct load *load, int epoll, struct link *link)
{
    if (is_over(load)) {
        return;
    }
    builder_rewind(&link->out, 0);
    link->sent = 0;
    write_request(load, &link->out);
    link->asked_ns = clock_mono_ns();
    load->under_way++;
    send_some(epoll, link);
}

static bool is_hit(struct bytes lines)
{
    struct bytes name;
    struct bytes value;
    while (http1_answer_next(&lines, &name, &value)) {
        if (bytes_eq_nocase(name, BYTES("x-cache"))) {
            return bytes_eq(value, BYTES("HIT"));
        }
    }
    return false;
}

/* Take the answer that has come whole; false: it has not. */
static bool take(struct load *load, struct link *link)
{
    struct http1_answer answer;
    struct bytes all = builder_bytes(&link->in);
    int head = http1_answer_parse(all, HEAD_MAX, &answer);
    if (head < 0) {
        give_up("an answer that is none");
    }
    if (head == 0 || all.len < (size_t)head + answer.content_length) {
        return false;
    }
    load->under_way--;
    load->answers++;
    load->hits += is_hit(answer.lines);
    load->found += answer.status == 200;
    load->absent += answer.status == 404;
    load->failed += answer.status != 200 && answer.status != 404;
    histogram_add(&load->times, (clock_mono_ns() - link->asked_ns) / 1000, 1);
    builder_rewind(&link->in, 0);
    return true;
}

static void read_some(struct load *load, int epoll, struct link *link)
{
    static char bytes[READ_SIZE];
    ssize_t got = recv(link->fd, bytes, sizeof(bytes), MSG_DONTWAIT);
    if (got < 0 && errno == EAGAIN) {
        return;
    }
    if (got <= 0) {
        give_up("the hub has closed");
    }
    builder_add(&link->in, bytes_of(bytes, (size_t)got));
    if (take(load, link)) {
        ask(load, epoll, link);
    }
}

static void open_link(struct link *link, int epoll, const char *port)
{
    struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons((uint16_t)strtoul(port, NULL, 10))};
    int on = 1;
    CHECK(inet_pton(AF_INET, "127.0.0.1", &address.sin_addr) == 1);
    link->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = link};
    if (connect(link->fd, (const struct sockaddr *)&address, sizeof(address)) != 0 ||
        setsockopt(link->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) != 0 ||
        epoll_ctl(epoll, EPOLL_CTL_ADD, link->fd, &event) != 0) {
        give_up("connect");
    }
}

/* All requests, and their answers; the nanoseconds that it took. */
static uint64_t run(struct load *load, const char *port, unsigned count, double seconds)
{
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    struct link *links = mem_alloc_array(count, sizeof(*links));
    for (unsigned i = 0; i < count; i++) {
        open_link(&links[i], epoll, port);
    }
    uint64_t begun_ns = clock_mono_ns();
    load->end_ns = begun_ns + (uint64_t)(seconds * 1e9);
    for (unsigned i = 0; i < count; i++) {
        ask(load, epoll, &links[i]);
    }
    while (load->under_way > 0) {
        struct epoll_event events[EVENTS];
        int ready = epoll_wait(epoll, events, EVENTS, DRAIN_MS);
        if (ready <= 0) {
            give_up("no answer");
        }
        for (int i = 0; i < ready; i++) {
            struct link *link = events[i].data.ptr;
            if ((events[i].events & EPOLLOUT) != 0) {
                send_some(epoll, link);
            }
            read_some(load, epoll, link);
        }
    }
    uint64_t took_ns = clock_mono_ns() - begun_ns;
    for (unsigned i = 0; i < count; i++) {
        (void)close(links[i].fd);
        builder_reset(&links[i].in);
        builder_reset(&links[i].out);
    }
    mem_free(links);
    (void)close(epoll);
    return took_ns;
}

/* A JSON string of `bytes` in all that does not deflate to nothing. */
static void make_value(struct builder *out, struct rand *rand, size_t bytes)
{
    builder_byte(out, '"');
    while (builder_bytes(out).len + 1 < bytes) {
        builder_byte(out, (char)('a' + rand_below(rand, 26)));
    }
    builder_byte(out, '"');
}

int main(int argc, char **argv)
{
    enum { VERB = 1, PORT, PID, CONNECTIONS, KEYS, BYTES_OF_EACH, SECONDS, ARGUMENTS };
    static struct load load = {.verb = VERB_COUNT};
    struct process_set server = {.count = 0};
    struct builder value = {0};
    for (unsigned i = 0; argc == ARGUMENTS && i < VERB_COUNT; i++) {
        load.verb = strcmp(argv[VERB], verbs[i]) == 0 ? (enum verb)i : load.verb;
    }
    load.api_key = getenv("PEAL_BENCH_API_KEY");
    if (load.verb == VERB_COUNT || load.api_key == NULL || !process_parse(argv[PID], &server)) {
        (void)fprintf(stderr, "usage: bench_values put|get|miss|mget PORT SERVER_PID CONNECTIONS "
                              "KEYS BYTES SECONDS\n");
        return 2;
    }
    rand_init(&load.rand, 1);
    make_value(&value, &load.rand, strtoul(argv[BYTES_OF_EACH], NULL, 10));
    load.value = builder_bytes(&value);
    load.keys = (uint32_t)strtoul(argv[KEYS], NULL, 10);
    unsigned count = (unsigned)strtoul(argv[CONNECTIONS], NULL, 10);
    uint64_t cpu_ns = process_cpu_ns(&server);
    uint64_t took_ns = run(&load, argv[PORT], count, strtod(argv[SECONDS], NULL));
    cpu_ns = process_cpu_ns(&server) - cpu_ns;
    double answers = (double)load.answers;
    printf("{\"name\":\"%s\",\"ok\":%s,\"per_s\":%.0f,\"cpu_us\":%.2f,\"p50_ms\":%.3f,"
           "\"p99_ms\":%.3f,\"answers\":%" PRIu64 ",\"hits\":%" PRIu64 ",\"found\":%" PRIu64
           ",\"absent\":%" PRIu64 ",\"failed\":%" PRIu64 "}\n",
        verbs[load.verb], load.failed == 0 && load.answers > 0 ? "true" : "false",
        answers / ((double)took_ns / 1e9), (double)cpu_ns / 1e3 / (answers > 0 ? answers : 1),
        histogram_quantile_ms(&load.times, 500), histogram_quantile_ms(&load.times, 990),
        load.answers, load.hits, load.found, load.absent, load.failed);
    builder_reset(&value);
    return load.failed == 0 && load.answers > 0 ? 0 : 1;
}
