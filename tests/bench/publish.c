/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Posts what is due on time, over HTTP, Redis or as a client, and counts the answers.
 */
#include "tests/bench/publish.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "codec/base/buf.h"
#include "codec/base/clock.h"
#include "codec/base/mem.h"
#include "codec/mp.h"
#include "tests/bench/marker.h"

enum {
    PENDING_MAX = 1 << 20, /* bytes waiting on one connection before the schedule falls behind */
    TEXT_MAX = 65536,
    NAME_MAX_LEN = 32,
    STATUS_TEXT = 12, /* "HTTP/1.1 202" */
};

struct line {
    int fd;
    struct builder out;
    size_t sent;
    uint64_t requests;
    uint64_t answers;
    char rest[STATUS_TEXT]; /* the end of what was read, where an answer may begin */
    size_t rest_len;
};

struct publish {
    const struct options *options;
    struct line *lines;
    uint32_t line_count;
    uint32_t targets;
    const uint32_t *receivers;
    uint32_t *numbers; /* last number of each target */
    uint64_t start_ns;
    uint64_t due_index;
    uint64_t due_count;
    struct publish_counts counts;
};

/* --- encoding --- */

static void add_text(struct publish *publish, uint32_t target, uint64_t due_ns, struct builder *out)
{
    struct marker marker = {.due_ns = due_ns, .number = ++publish->numbers[target]};
    char *at = builder_reserve(out, publish->options->size);
    CHECK(at != NULL);
    memset(at, 'x', publish->options->size);
    marker_write(&marker, at);
    builder_commit(out, publish->options->size);
    publish->counts.offered++;
    publish->counts.expected += publish->receivers[target];
}

static void add_http(
    const struct publish *publish, const char *path, struct bytes body, struct builder *out)
{
    builder_printf(out,
        "POST %s HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer %s\r\n"
        "Content-Type: application/json\r\nContent-Length: %zu\r\n\r\n",
        path, publish->options->api_key, body.len);
    builder_add(out, body);
}

static void add_event(
    struct publish *publish, uint32_t target, uint64_t due_ns, struct builder *out)
{
    struct builder body = {0};
    builder_str(&body, "{\"event\":\"update\",\"args\":[\"");
    add_text(publish, target, due_ns, &body);
    builder_printf(&body, "\"],\"to\":{\"rooms\":[\"bench:%u\"]}}", target);
    add_http(publish, "/api/v1/events", builder_bytes(&body), out);
    builder_reset(&body);
}

/*
 * User number `n`, counted round and round, of those behind `target` on its line. A user belongs to
 * one line: requests of two lines come to the hub in any order.
 */
static uint32_t user_of(const struct publish *publish, uint32_t target, uint64_t n)
{
    uint32_t lines = publish->line_count;
    uint32_t line = target % lines;
    uint32_t own = (publish->targets - line + lines - 1) / lines;
    return line + (uint32_t)((target / lines + n) % own) * lines;
}

static void add_post(struct publish *publish, uint32_t target, uint64_t due_ns, struct builder *out)
{
    struct builder body = {0};
    uint32_t posts = publish->options->posts;
    builder_str(&body, posts > 1 ? "[" : "");
    for (uint32_t i = 0; i < posts; i++) {
        uint32_t user = user_of(publish, target, i);
        builder_printf(&body,
            "%s{\"user\":\"user%u\",\"type\":\"bench\",\"title\":\"Bench\",\"priority\":\"urgent\","
            "\"message\":\"",
            i > 0 ? "," : "", user);
        add_text(publish, user, due_ns, &body);
        builder_str(&body, "\"}");
    }
    builder_str(&body, posts > 1 ? "]" : "");
    add_http(publish, "/api/v1/notifications", builder_bytes(&body), out);
    builder_reset(&body);
}

/* `[uid, {type, data, nsp}, {rooms, except, flags}]`, as stock emitters send it. */
static void add_emit(struct publish *publish, uint32_t target, uint64_t due_ns, struct builder *out)
{
    char room[NAME_MAX_LEN];
    int len = snprintf(room, sizeof(room), "bench:%u", target);
    struct builder text = {0};
    struct builder body = {0};
    add_text(publish, target, due_ns, &text);
    mp_pack_array(&body, 3);
    mp_pack_str(&body, BYTES("emitter"));
    mp_pack_map(&body, 3);
    mp_pack_str(&body, BYTES("type"));
    mp_pack_u64(&body, 2);
    mp_pack_str(&body, BYTES("data"));
    mp_pack_array(&body, 2);
    mp_pack_str(&body, BYTES("update"));
    mp_pack_str(&body, builder_bytes(&text));
    mp_pack_str(&body, BYTES("nsp"));
    mp_pack_str(&body, BYTES("/"));
    mp_pack_map(&body, 3);
    mp_pack_str(&body, BYTES("rooms"));
    mp_pack_array(&body, 1);
    mp_pack_str(&body, bytes_of(room, (size_t)len));
    mp_pack_str(&body, BYTES("flags"));
    mp_pack_map(&body, 0);
    mp_pack_str(&body, BYTES("except"));
    mp_pack_array(&body, 0);
    struct bytes payload = builder_bytes(&body);
    builder_printf(out, "*3\r\n$7\r\nPUBLISH\r\n$%d\r\nsocket.io#/#%s#\r\n$%zu\r\n", len + 13, room,
        payload.len);
    builder_add(out, payload);
    builder_str(out, "\r\n");
    builder_reset(&text);
    builder_reset(&body);
}

static void add_mark(struct publish *publish, uint32_t target, uint64_t due_ns, struct builder *out)
{
    struct builder text = {0};
    add_text(publish, target, due_ns, &text);
    builder_add(out, bytes_of(builder_bytes(&text).at, MARKER_LEN));
    builder_reset(&text);
}

/* --- connections --- */

static void watch(struct line *line, int epoll, int operation, bool write)
{
    struct epoll_event event = {.events = write ? EPOLLIN | EPOLLOUT : EPOLLIN, .data.ptr = line};
    CHECK(epoll_ctl(epoll, operation, line->fd, &event) == 0);
}

static bool line_open(struct line *line, const struct options *options, int epoll)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
        .sin_addr.s_addr = options->host,
        .sin_port = htons((uint16_t)options->publish_port)};
    int on = 1;
    line->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (line->fd < 0 || connect(line->fd, (const struct sockaddr *)&to, sizeof(to)) != 0) {
        return false;
    }
    (void)setsockopt(line->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    watch(line, epoll, EPOLL_CTL_ADD, false);
    return true;
}

struct publish *publish_open(
    const struct options *options, int epoll, uint32_t targets, const uint32_t *receivers)
{
    struct publish *publish = mem_alloc(sizeof(*publish));
    publish->options = options;
    publish->targets = targets;
    publish->receivers = receivers;
    publish->numbers = mem_alloc_array(targets, sizeof(*publish->numbers));
    publish->lines = mem_alloc_array(options->publishers, sizeof(*publish->lines));
    for (; publish->line_count < options->publishers; publish->line_count++) {
        if (!line_open(&publish->lines[publish->line_count], options, epoll)) {
            perror("peal-bench: publisher");
            publish_close(publish);
            return NULL;
        }
    }
    publish->due_count = (uint64_t)(options->rate * options->seconds);
    return publish;
}

/* Write what waits; what the kernel does not take stays. */
static void line_flush(struct publish *publish, struct line *line)
{
    struct bytes left = bytes_skip(builder_bytes(&line->out), line->sent);
    while (left.len > 0) {
        ssize_t wrote = send(line->fd, left.at, left.len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (wrote < 0) {
            publish->counts.broken = publish->counts.broken || (errno != EAGAIN && errno != EINTR);
            return;
        }
        line->sent += (size_t)wrote;
        left = bytes_skip(left, (size_t)wrote);
    }
    builder_clear(&line->out);
    line->sent = 0;
}

static void count_answers(struct publish *publish, struct line *line, struct bytes text)
{
    while (text.len >= STATUS_TEXT) {
        const char *at = memmem(text.at, text.len, "HTTP/1.1 ", 9);
        size_t left = at != NULL ? text.len - (size_t)(at - text.at) : STATUS_TEXT - 1;
        if (at == NULL || left < STATUS_TEXT) {
            text = bytes_skip(text, text.len - left);
            break;
        }
        line->answers++;
        *(at[9] == '2' ? &publish->counts.accepted : &publish->counts.refused) += 1;
        text = bytes_of(at + STATUS_TEXT, left - STATUS_TEXT);
    }
    memmove(line->rest, text.at, text.len);
    line->rest_len = text.len;
}

static void line_read(struct publish *publish, struct line *line)
{
    char buffer[STATUS_TEXT + TEXT_MAX];
    for (;;) {
        memcpy(buffer, line->rest, line->rest_len);
        ssize_t len = recv(line->fd, buffer + line->rest_len, TEXT_MAX, MSG_DONTWAIT);
        if (len <= 0) {
            publish->counts.broken =
                publish->counts.broken || len == 0 || (errno != EAGAIN && errno != EINTR);
            return;
        }
        count_answers(publish, line, bytes_of(buffer, line->rest_len + (size_t)len));
    }
}

/* --- schedule --- */

void publish_start(struct publish *publish)
{
    publish->start_ns = clock_mono_ns();
}

static void add_next(struct publish *publish, struct line *line, uint32_t target, uint64_t due_ns)
{
    switch (publish->options->publisher) {
    case PUBLISHER_HTTP:
        add_event(publish, target, due_ns, &line->out);
        break;
    case PUBLISHER_REDIS:
        add_emit(publish, target, due_ns, &line->out);
        break;
    case PUBLISHER_MARKS:
        add_mark(publish, target, due_ns, &line->out);
        break;
    case PUBLISHER_STORE:
        add_post(publish, target, due_ns, &line->out);
        break;
    }
    line->requests++;
}

/* One request under way on each connection, whose users are those with its number. */
static uint64_t run_closed(struct publish *publish, uint64_t now_ns)
{
    uint64_t end_ns = publish->start_ns + (uint64_t)(publish->options->seconds * 1e9);
    if (now_ns >= end_ns) {
        return UINT64_MAX;
    }
    for (uint32_t i = 0; i < publish->line_count && i < publish->targets; i++) {
        struct line *line = &publish->lines[i];
        if (line->answers == line->requests) {
            uint64_t before = line->requests * publish->options->posts;
            add_next(publish, line, user_of(publish, i, before), now_ns);
            line_flush(publish, line);
        }
    }
    return end_ns;
}

uint64_t publish_run(struct publish *publish)
{
    uint64_t now_ns = clock_mono_ns();
    if (publish->options->rate <= 0) {
        return run_closed(publish, now_ns);
    }
    double interval_ns = 1e9 / publish->options->rate;
    while (publish->due_index < publish->due_count) {
        uint64_t due_ns = publish->start_ns + (uint64_t)((double)publish->due_index * interval_ns);
        if (due_ns > now_ns) {
            break;
        }
        uint32_t target = (uint32_t)(publish->due_index % publish->targets);
        struct line *line = &publish->lines[target % publish->line_count];
        if (builder_bytes(&line->out).len - line->sent > PENDING_MAX) {
            break;
        }
        uint64_t late_us = (now_ns - due_ns) / 1000;
        if (late_us > publish->counts.late_us) {
            publish->counts.late_us = late_us;
        }
        add_next(publish, line, target, due_ns);
        publish->due_index++;
    }
    for (uint32_t i = 0; i < publish->line_count; i++) {
        line_flush(publish, &publish->lines[i]);
    }
    if (publish->due_index == publish->due_count) {
        return UINT64_MAX;
    }
    return publish->start_ns + (uint64_t)((double)publish->due_index * interval_ns);
}

bool publish_handle(struct publish *publish, void *tag)
{
    for (uint32_t i = 0; i < publish->line_count; i++) {
        if (tag == &publish->lines[i]) {
            line_read(publish, &publish->lines[i]);
            line_flush(publish, &publish->lines[i]);
            return true;
        }
    }
    return false;
}

bool publish_done(const struct publish *publish)
{
    bool answers = publish->options->publisher == PUBLISHER_HTTP ||
                   publish->options->publisher == PUBLISHER_STORE;
    for (uint32_t i = 0; i < publish->line_count; i++) {
        const struct line *line = &publish->lines[i];
        if (builder_bytes(&line->out).len > line->sent ||
            (answers && line->answers < line->requests)) {
            return false;
        }
    }
    return true;
}

struct publish_counts publish_counts(const struct publish *publish)
{
    return publish->counts;
}

void publish_close(struct publish *publish)
{
    if (publish == NULL) {
        return;
    }
    for (uint32_t i = 0; i < publish->line_count; i++) {
        (void)close(publish->lines[i].fd);
        builder_reset(&publish->lines[i].out);
    }
    mem_free(publish->lines);
    mem_free(publish->numbers);
    mem_free(publish);
}
