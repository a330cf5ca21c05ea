/* SPDX-License-Identifier: Apache-2.0 */
/*
 * bench_floor - the least a server can do: what every figure of Peal is compared with.
 *
 * One epoll loop, an array of sockets, one frame that was recorded from Peal. A connection that
 * sends an HTTP head gets a constant answer and is a subscriber from then on; one that begins with
 * a marker is the publisher: each marker is put into the frame, which goes to every subscriber.
 * Variants: `message`, one send() each; `adaptive`, everything pending leaves at the end of the
 * turn; `window`, every 100 ms. With `echo`, every frame of a subscriber is answered by the frame.
 * Nobody is ever slow here: what the kernel does not take at once is waited for.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "codec/base/buf.h"
#include "codec/base/check.h"
#include "codec/base/clock.h"
#include "codec/base/mem.h"
#include "tests/bench/marker.h"

enum {
    READ_SIZE = 65536,
    FRAME_MAX = 65536,
    EVENTS_MAX = 256,
    WINDOW_NS = 100000000,
    PEERS = 20000
};

enum variant { VARIANT_MESSAGE, VARIANT_ADAPTIVE, VARIANT_WINDOW, VARIANT_ECHO };

struct peer {
    int fd;
    uint32_t place; /* in subscribers */
    bool subscriber;
    bool publisher;
    uint32_t rest_len;
    char rest[MARKER_LEN]; /* of a marker, or how much of a frame is to come */
};

static struct {
    enum variant variant;
    int epoll;
    int listener;
    char frame[FRAME_MAX];
    size_t frame_len;
    size_t marker_at;
    struct peer **subscribers;
    uint32_t count;
    struct builder pending;
    uint64_t flush_ns; /* of a window */
} floor_state;

static void close_peer(struct peer *peer)
{
    if (peer->subscriber) {
        struct peer *last = floor_state.subscribers[--floor_state.count];
        floor_state.subscribers[peer->place] = last;
        last->place = peer->place;
    }
    (void)close(peer->fd);
    mem_free(peer);
}

static void send_all(const struct peer *peer, struct bytes bytes)
{
    while (bytes.len > 0) {
        ssize_t wrote = send(peer->fd, bytes.at, bytes.len, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (wrote < 0) {
            struct pollfd ready = {.fd = peer->fd, .events = POLLOUT};
            if (errno != EAGAIN || poll(&ready, 1, 1000) != 1) {
                return; /* gone: epoll tells */
            }
            continue;
        }
        bytes = bytes_skip(bytes, (size_t)wrote);
    }
}

static void send_to_everybody(struct bytes bytes)
{
    for (uint32_t i = 0; i < floor_state.count; i++) {
        send_all(floor_state.subscribers[i], bytes);
    }
}

static void flush(void)
{
    if (builder_bytes(&floor_state.pending).len > 0) {
        send_to_everybody(builder_bytes(&floor_state.pending));
        builder_clear(&floor_state.pending);
    }
    floor_state.flush_ns = 0;
}

static void on_marker(const char *marker)
{
    memcpy(floor_state.frame + floor_state.marker_at, marker, MARKER_LEN);
    struct bytes frame = bytes_of(floor_state.frame, floor_state.frame_len);
    if (floor_state.variant == VARIANT_MESSAGE) {
        send_to_everybody(frame);
        return;
    }
    builder_add(&floor_state.pending, frame);
    if (floor_state.flush_ns == 0 && floor_state.variant == VARIANT_WINDOW) {
        floor_state.flush_ns = (clock_mono_ns() / WINDOW_NS + 1) * WINDOW_NS;
    }
}

static void on_markers(struct peer *peer, struct bytes bytes)
{
    while (bytes.len > 0) {
        size_t want = MARKER_LEN - peer->rest_len;
        size_t take = bytes.len < want ? bytes.len : want;
        memcpy(peer->rest + peer->rest_len, bytes.at, take);
        peer->rest_len += (uint32_t)take;
        bytes = bytes_skip(bytes, take);
        if (peer->rest_len == MARKER_LEN) {
            on_marker(peer->rest);
            peer->rest_len = 0;
        }
    }
}

static void on_head(struct peer *peer, struct bytes bytes)
{
    static const char answer[] =
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Accept: jV0PVexHKKUtJIBFNnZzNZto49s=\r\n\r\n";
    if (bytes_starts(bytes, BYTES("pb:"))) {
        peer->publisher = true;
        on_markers(peer, bytes);
        return;
    }
    if (memmem(bytes.at, bytes.len, "\r\n\r\n", 4) == NULL) {
        return;
    }
    send_all(peer, bytes_of(answer, sizeof(answer) - 1));
    peer->subscriber = true;
    peer->place = floor_state.count;
    floor_state.subscribers[floor_state.count++] = peer;
}

/* Requests are short frames, one at a time. */
static void on_request(const struct peer *peer)
{
    if (floor_state.variant == VARIANT_ECHO) {
        send_all(peer, bytes_of(floor_state.frame, floor_state.frame_len));
    }
}

static void on_readable(struct peer *peer)
{
    static char buffer[READ_SIZE];
    ssize_t len = recv(peer->fd, buffer, sizeof(buffer), MSG_DONTWAIT);
    if (len < 0 && errno == EAGAIN) {
        return;
    }
    if (len <= 0) {
        close_peer(peer);
        return;
    }
    struct bytes bytes = bytes_of(buffer, (size_t)len);
    if (peer->publisher) {
        on_markers(peer, bytes);
    } else if (peer->subscriber) {
        on_request(peer);
    } else {
        on_head(peer, bytes);
    }
}

static void watch(int fd, void *tag)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = tag};
    CHECK(epoll_ctl(floor_state.epoll, EPOLL_CTL_ADD, fd, &event) == 0);
}

static void on_connections(void)
{
    int fd;
    while ((fd = accept4(floor_state.listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        int on = 1;
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        if (floor_state.count == PEERS) {
            (void)close(fd);
            continue;
        }
        struct peer *peer = mem_alloc(sizeof(*peer));
        peer->fd = fd;
        watch(fd, peer);
    }
}

static void listen_here(void)
{
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t len = sizeof(at);
    floor_state.listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    CHECK(floor_state.listener >= 0);
    CHECK(bind(floor_state.listener, (const struct sockaddr *)&at, len) == 0);
    CHECK(listen(floor_state.listener, 4096) == 0);
    CHECK(getsockname(floor_state.listener, (struct sockaddr *)&at, &len) == 0);
    printf("%u\n", ntohs(at.sin_port));
    (void)fflush(stdout);
    watch(floor_state.listener, &floor_state.listener);
}

static int timeout_ms(void)
{
    uint64_t now_ns = clock_mono_ns();
    if (floor_state.flush_ns == 0) {
        return -1;
    }
    return floor_state.flush_ns > now_ns ? (int)((floor_state.flush_ns - now_ns) / 1000000) : 0;
}

static void run(void)
{
    struct epoll_event events[EVENTS_MAX];
    for (;;) {
        int count = epoll_wait(floor_state.epoll, events, EVENTS_MAX, timeout_ms());
        for (int i = 0; i < count; i++) {
            if (events[i].data.ptr == &floor_state.listener) {
                on_connections();
            } else {
                on_readable(events[i].data.ptr);
            }
        }
        if (floor_state.variant == VARIANT_ADAPTIVE ||
            (floor_state.flush_ns > 0 && clock_mono_ns() >= floor_state.flush_ns)) {
            flush();
        }
    }
}

static bool read_frame(const char *path)
{
    FILE *file = fopen(path, "re");
    if (file == NULL) {
        return false;
    }
    floor_state.frame_len = fread(floor_state.frame, 1, sizeof(floor_state.frame), file);
    (void)fclose(file);
    floor_state.marker_at = marker_find(bytes_of(floor_state.frame, floor_state.frame_len));
    return floor_state.frame_len > 0;
}

int main(int argc, char **argv)
{
    static const char *const variants[] = {"message", "adaptive", "window", "echo"};
    bool known = false;
    for (unsigned i = 0; argc == 3 && i < ARRAY_LEN(variants); i++) {
        if (strcmp(argv[1], variants[i]) == 0) {
            floor_state.variant = (enum variant)i;
            known = true;
        }
    }
    if (!known || !read_frame(argv[2])) {
        (void)fputs("usage: bench_floor message|adaptive|window|echo FRAME-FILE\n", stderr);
        return 2;
    }
    floor_state.epoll = epoll_create1(EPOLL_CLOEXEC);
    CHECK(floor_state.epoll >= 0);
    floor_state.subscribers = mem_alloc_array(PEERS, sizeof(struct peer *));
    listen_here();
    run();
}
